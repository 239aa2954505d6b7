//! Which of its requests an answer to IKE_SA_INIT belongs to, where cookies made several of one.
//!
//! RFC 7296 section 2.15: the initiator's AUTH covers its request "as sent", the one that was answered. With a cookie the
//! same request is sent again with that in front (section 2.6). A repetition of the plain one that is still under way may
//! be accepted all the same, when the responder ceases to ask for cookies meanwhile; and nothing in an acceptance tells
//! which octets it answers: SPIs and nonces are the responder's, the hashes of NAT detection are over SPIs and addresses
//! that both requests share, and all else must not differ between them. Only one thing does: section 2.1 has a responder
//! repeat an answer when its request is repeated. So the request with the cookie is repeated until one acceptance came
//! more often than the earlier ones could have brought it. Where that never happens (a responder that keeps the plain one
//! and passes over the other) the dial begins anew, with another SPI, so that no older request stands beside it.

use std::time::Duration;

use crate::sa::Opened;

/// How long an answer in doubt may take to prove itself.
pub(crate) const PROOF: Duration = Duration::from_secs(2);
/// The request is repeated after this, and then more slowly.
pub(crate) const STEP: Duration = Duration::from_millis(500);
/// Acceptances held at a time: a responder makes one for each request it takes for a new one.
const HELD: usize = 4;
/// Repetitions sent at once because an acceptance came, beyond those by time.
const MAX_PROBES: u8 = 8;

/// The acceptances so far, and how many of them earlier requests may have brought.
#[derive(Default)]
pub(crate) struct Doubt {
    earlier: u32,
    held: Vec<(Opened, u32)>,
    probes: u8,
}

impl Doubt {
    /// The request so far was sent so often, and each but the one that brought the cookie may still be accepted.
    pub(crate) fn add_earlier(&mut self, answers: u32) {
        self.earlier = self.earlier.saturating_add(answers);
    }

    /// One of the earlier requests was answered with a cookie, and so is not accepted.
    pub(crate) fn one_refused(&mut self) {
        self.earlier = self.earlier.saturating_sub(1);
    }

    /// The next request differs in more than its cookie: what answers an earlier one shows that.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// An acceptance came.
    pub(crate) fn hold(&mut self, message: Opened) {
        let room = self.held.len() < HELD;
        match self.held.iter_mut().find(|(held, _)| held.raw == message.raw) {
            Some((_, times)) => *times = times.saturating_add(1),
            None if room => self.held.push((message, 1)),
            None => {}
        }
    }

    /// The acceptance that answers the present request for certain.
    pub(crate) fn settled(&mut self) -> Option<Opened> {
        let index = self.held.iter().position(|(_, times)| *times > self.earlier)?;
        Some(self.held.swap_remove(index).0)
    }

    /// The likeliest one, certain or not: the first that came.
    pub(crate) fn first(&mut self) -> Option<Opened> {
        (!self.held.is_empty()).then(|| self.held.swap_remove(0).0)
    }

    /// Is there an acceptance that has not proven itself?
    pub(crate) fn is_open(&self) -> bool {
        !self.held.is_empty()
    }

    /// May the request be repeated at once?
    pub(crate) fn may_probe(&mut self) -> bool {
        self.probes = self.probes.saturating_add(1);
        self.probes <= MAX_PROBES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Path;
    use ike_wire::{ExchangeFlags, ExchangeType, Header, IkeSpi};

    fn answer(octet: u8) -> Opened {
        let flags = ExchangeFlags { initiator: false, response: true, version: false };
        let (initiator_spi, responder_spi) = (IkeSpi(1), IkeSpi(u64::from(octet)));
        let exchange = ExchangeType::IKE_SA_INIT;
        let header = Header { initiator_spi, responder_spi, exchange, flags, message_id: 0 };
        let path = Path::ike("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        Opened { header, payloads: Ok(Vec::new()), path, raw: vec![octet; 4] }
    }

    fn settled(doubt: &mut Doubt) -> Option<u8> {
        doubt.settled().map(|message| message.raw[0])
    }

    #[test]
    fn without_earlier_requests_the_first_acceptance_is_the_one() {
        let mut doubt = Doubt::default();
        doubt.hold(answer(1));
        assert_eq!(settled(&mut doubt), Some(1));
    }

    #[test]
    fn of_two_acceptances_the_one_that_comes_again_answers_what_is_sent_again() {
        let mut doubt = Doubt::default();
        doubt.add_earlier(1);
        for (octet, expected) in [(1, None), (2, None), (2, Some(2))] {
            doubt.hold(answer(octet));
            assert_eq!(settled(&mut doubt), expected);
        }
        // Two repetitions of the plain one bring its answer twice; the third cannot be theirs.
        doubt.clear();
        doubt.add_earlier(2);
        for (octet, expected) in [(1, None), (1, None), (1, Some(1))] {
            doubt.hold(answer(octet));
            assert_eq!(settled(&mut doubt), expected);
        }
    }

    #[test]
    fn a_cookie_for_the_last_earlier_request_settles_it_and_what_is_held_is_bounded() {
        let mut doubt = Doubt::default();
        doubt.add_earlier(1);
        for octet in 1..=20 {
            doubt.hold(answer(octet));
        }
        assert_eq!(doubt.held.len(), HELD);
        assert!(doubt.is_open() && settled(&mut doubt).is_none());
        doubt.one_refused();
        assert_eq!(settled(&mut doubt), Some(1));
        assert_eq!((0..20).filter(|_| doubt.may_probe()).count(), usize::from(MAX_PROBES));
    }
}
