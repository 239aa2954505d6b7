//! CHILD SAs with the same selectors, one for each resource (RFC 9611): which of them one is, and how many may be.

use std::time::{Duration, Instant};

use ike_wire::{Notify, NotifyType, Payload};

use crate::exchange::body::Body;

/// Which of the CHILD SAs with the same selectors: a number of our own, the same at both ends only by chance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource(pub u8);

impl Resource {
    /// The first CHILD SA: for every packet that has no better one, and all there is with most peers.
    pub const ANY: Self = Self(0);

    /// Is it the one for all?
    #[must_use]
    pub fn is_any(self) -> bool {
        self == Self::ANY
    }

    /// SA_RESOURCE_INFO. RFC 9611 section 5.1: what is in it is opaque and for people to read; the one for all has no
    /// name.
    pub(crate) fn notify(self) -> Payload {
        let name = if self.is_any() { Vec::new() } else { u32::from(self.0).to_be_bytes().to_vec() };
        Payload::Notify(Notify::new(NotifyType::SA_RESOURCE_INFO, name))
    }
}

/// How many CHILD SAs with the same selectors an IKE SA may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resources {
    /// One: the connection wants no more.
    One,
    /// One: the connection wants so many, and the peer did not say that it knows how.
    PeerSilent {
        /// [`Connection::resource_sas`](crate::Connection::resource_sas).
        wanted: u8,
    },
    /// Several: both said so.
    Agreed {
        /// [`Connection::resource_sas`](crate::Connection::resource_sas).
        wanted: u8,
        /// With so many the peer had enough (TS_MAX_QUEUE); `None`: it never said so.
        enough: Option<u8>,
    },
}

/// What is kept of a peer's name of a resource.
const NAME: usize = 16;

/// The peer's SA_RESOURCE_INFO: `None` without one, its name of the resource otherwise.
pub(crate) fn info(body: Body<'_>) -> Option<Vec<u8>> {
    let notify = body.notify(NotifyType::SA_RESOURCE_INFO)?;
    Some(notify.data.iter().take(NAME).copied().collect())
}

/// After a further one was lost, or could not be made, this long none is asked for, and twice as long after the next
/// time. RFC 9611 section 6: were it made anew at once, two peers could go on for ever, one making and one deleting.
const PAUSE: Duration = Duration::from_secs(10);
const DOUBLINGS: u32 = 7;
/// When nothing was lost for so many pauses after the last one, what was before is forgotten.
const CALM: u32 = 8;

/// What both ends said about further CHILD SAs when the first was made, and what became of them.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    /// The peer knows how, and said so.
    pub(crate) agreed: bool,
    /// So many further ones were enough for the peer.
    pub(crate) enough: Option<u8>,
    losses: u32,
    /// No further one is asked for before.
    pub(crate) not_before: Instant,
}

impl Pool {
    /// Who made the first asks for the others at once; the other end only for what is missing then.
    pub(crate) fn new(agreed: bool, ours: bool, now: Instant) -> Self {
        let not_before = if ours { now } else { now + PAUSE };
        Self { agreed, enough: None, losses: 0, not_before }
    }

    /// One was lost, or not to be had.
    pub(crate) fn lost(&mut self, now: Instant) {
        let pause = |losses: u32| PAUSE * 2_u32.pow(losses.min(DOUBLINGS));
        let calm = now.saturating_duration_since(self.not_before);
        if calm > CALM * pause(self.losses.saturating_sub(1)) {
            self.losses = 0;
        }
        self.not_before = self.not_before.max(now + pause(self.losses));
        self.losses = self.losses.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_with_every_loss_and_has_a_bound() {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
        let now = Instant::now();
        let mut pool = Pool::new(true, true, now);
        assert_eq!(pool.not_before, now);
        for seconds in [10, 20, 40, 80, 160, 320, 640, 1280, 1280, 1280] {
            pool.lost(now);
            assert_eq!(pool.not_before, now + Duration::from_secs(seconds));
        }
        assert_eq!(Pool::new(true, false, now).not_before, now + PAUSE);
    }

    #[test]
    fn what_was_lost_long_ago_is_forgotten() {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
        let mut now = Instant::now();
        let mut pool = Pool::new(true, true, now);
        for _day in 0..30 {
            now += Duration::from_secs(86_400);
            pool.lost(now);
            assert_eq!(pool.not_before, now + PAUSE);
        }
        // But one that is made and lost again and again is not.
        for seconds in [20, 40, 80, 160, 320, 640, 1280, 1280] {
            now = pool.not_before + Duration::from_secs(60);
            pool.lost(now);
            assert_eq!(pool.not_before, now + Duration::from_secs(seconds));
        }
        now = pool.not_before + CALM * Duration::from_secs(1280);
        pool.lost(now);
        assert_eq!(pool.not_before, now + Duration::from_secs(1280));
        now = pool.not_before + CALM * Duration::from_secs(1280) + Duration::from_secs(1);
        pool.lost(now);
        assert_eq!(pool.not_before, now + PAUSE);
    }

    #[test]
    fn the_one_for_all_has_no_name_and_a_peers_name_is_cut() {
        let data = |payload| match payload {
            Payload::Notify(notify) => notify.data,
            other => panic!("{other:?}"),
        };
        assert!(data(Resource::ANY.notify()).is_empty());
        assert_eq!(data(Resource(3).notify()), [0, 0, 0, 3]);
        for length in [0, 1, 15, 16, 17, 60_000] {
            let payload = Payload::Notify(Notify::new(NotifyType::SA_RESOURCE_INFO, vec![7; length]));
            let payloads = [payload];
            assert_eq!(info(Body(&payloads)).unwrap().len(), length.min(NAME));
        }
        assert_eq!(info(Body(&[])), None);
    }
}
