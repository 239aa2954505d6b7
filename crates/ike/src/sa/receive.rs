//! From a datagram to a message whose protection held: window, integrity, fragments.

use ike_wire::{Header, Outer, Payload, parse_chain};

use super::{Channel, IkeSa, State};
use crate::config::Path;
use crate::core::Ctx;
use crate::counters::Counter;
use crate::window::Received;

/// A message whose protection held, and whose payloads are in clear.
pub(crate) struct Opened {
    pub(crate) header: Header,
    /// What is in it, or what is wrong with it: the peer's own doing, for its integrity was checked.
    pub(crate) payloads: Result<Vec<Payload>, ike_wire::Error>,
    pub(crate) path: Path,
    /// The datagram, for IKE_SA_INIT alone: AUTH covers it.
    pub(crate) raw: Vec<u8>,
}

impl IkeSa {
    /// First half of receiving: everything that needs no knowledge of exchanges. `None`: done with, nothing changed.
    pub(crate) fn receive(
        &mut self,
        path: Path,
        outer: Outer,
        datagram: &[u8],
        ctx: &mut Ctx<'_>,
    ) -> Option<Opened> {
        let header = outer.header;
        let class = self.shell.window.classify(header.flags.response, header.message_id);
        if class == Received::Stale {
            ctx.count(Counter::OutOfWindow);
            return None;
        }
        if class == Received::Working {
            return None;
        }
        if outer.protected.is_none() {
            return self.receive_clear(path, outer, datagram, &class, ctx);
        }
        let Some(channel) = self.channel_mut() else {
            ctx.count(Counter::Unexpected);
            return None;
        };
        let Some(body) = channel.crypt.open(&outer, datagram) else {
            ctx.count(Counter::Forged);
            return None;
        };
        let protected = outer.protected?;
        if class == Received::Repeat {
            // RFC 7383 section 2.6.1: only the first fragment of a repeat brings the answer again.
            if protected.fragment.is_none_or(|place| place.number == 1) {
                self.shell.repeat_answer(path, ctx);
            }
            return None;
        }
        let (first, body) = match protected.fragment {
            None => (protected.first, body),
            Some(place) => {
                ctx.count(Counter::Fragments);
                let key = (header.flags.response, header.message_id);
                match channel.reassembly.add(key, place, protected.first, body) {
                    Ok(whole) => whole?,
                    Err(()) => {
                        ctx.count(Counter::FragmentRefused);
                        return None;
                    }
                }
            }
        };
        Some(Opened { header, payloads: parse_chain(first, &body), path, raw: Vec::new() })
    }

    /// Only an answer to our IKE_SA_INIT comes in clear.
    fn receive_clear(
        &self,
        path: Path,
        outer: Outer,
        datagram: &[u8],
        class: &Received,
        ctx: &mut Ctx<'_>,
    ) -> Option<Opened> {
        let expected = matches!(self.state, State::Initiating(_))
            && *class == Received::Answer
            && outer.header.exchange == ike_wire::ExchangeType::IKE_SA_INIT
            && path.remote.ip() == self.shell.path.remote.ip();
        if !expected {
            ctx.count(Counter::Unexpected);
            return None;
        }
        Some(Opened { header: outer.header, payloads: Ok(outer.payloads), path, raw: datagram.to_vec() })
    }

    fn channel_mut(&mut self) -> Option<&mut Channel> {
        match &mut self.state {
            State::HalfOpen(state) => Some(&mut state.channel),
            State::Authenticating(state) => Some(&mut state.channel),
            State::Up(up) => Some(&mut up.channel),
            State::Farewell(channel) | State::Lingering(channel) => Some(channel),
            State::Initiating(_) | State::Answering(_) | State::Closed => None,
        }
    }
}
