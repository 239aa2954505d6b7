//! IKE_SA_INIT at the door: repeats, cookies, bounds, and which connections it may be for.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crypto::Group;
use ike_wire::{IkeSpi, Notify, NotifyType, Outer, Payload};

use super::Engine;
use crate::config::{ConnId, Encapsulation, Path, Remote};
use crate::core::Ctx;
use crate::counters::Counter;
use crate::event::{Event, Note};
use crate::exchange::body::{Body, bare};
use crate::exchange::init_answer::{Accepted, Answering};
use crate::failure::{Exchange, Failure, NoProposal};
use crate::negotiate::{choose_ike, describe};
use crate::proposal::IkeProposal;
use crate::sa::State;

/// What is under way against floods; each beginning is told once.
#[derive(Default)]
pub(super) struct Flood {
    /// Cookies are asked for until then.
    cookies: Option<Instant>,
    full: bool,
}

/// Cookies are asked for this much longer than it takes: requests that were sent without one, and their repetitions, are
/// not accepted beside those that already bring it.
const COOKIES_STAY: Duration = Duration::from_secs(10);

impl Engine {
    pub(super) fn handle_init(&mut self, path: Path, outer: &Outer, bytes: &[u8], now: Instant) {
        let header = outer.header;
        let well_formed = header.flags.initiator
            && header.message_id == 0
            && header.responder_spi == IkeSpi::ZERO
            && header.initiator_spi != IkeSpi::ZERO
            && outer.protected.is_none();
        // Whoever comes while all ends is not answered: it will ask again, and finds the next run or nobody.
        if !well_formed || self.closing {
            self.core.counters.count(Counter::Unexpected);
            return;
        }
        let key = (path.remote.ip(), header.initiator_spi.0);
        if let Some(ike) = self.inits.get(&key).copied() {
            return self.repeated_init(ike, path, bytes, now);
        }
        let body = Body(&outer.payloads);
        let (Some(ni), Some(_), Some(_)) = (body.nonce(), body.sa(), body.ke()) else {
            self.core.counters.count(Counter::BadBody);
            return self.answer_outside(path, &header, bare(NotifyType::INVALID_SYNTAX), now);
        };
        if self.lets_in(path, outer, body, ni, now) {
            self.answer_init(path, outer, body, ni, bytes, now);
        }
    }

    /// RFC 7296 section 2.1: a repeated request gets the same answer, also where another cookie is all that is new; one
    /// that only looks like it gets none.
    fn repeated_init(&mut self, ike: crate::event::IkeId, path: Path, bytes: &[u8], now: Instant) {
        self.with(ike, now, |sa, ctx| {
            let same = match &mut sa.state {
                State::HalfOpen(state) => state.request.admit(bytes),
                State::Answering(state) => state.request.admit(bytes),
                State::Initiating(_)
                | State::Authenticating(_)
                | State::Farewell(_)
                | State::Up(_)
                | State::Lingering(_)
                | State::Closed => false,
            };
            if !same {
                ctx.count(Counter::Unexpected);
            } else if matches!(sa.state, State::HalfOpen(_)) {
                sa.shell.repeat_answer(path, ctx);
            }
        });
    }

    /// RFC 7296 section 2.6: cookies once many are half-open; and bounds that hold whatever anybody echoes.
    fn lets_in(&mut self, path: Path, outer: &Outer, body: Body<'_>, ni: &[u8], now: Instant) -> bool {
        let half_open = self.half_open();
        let limits = self.core.limits;
        let spi = outer.header.initiator_spi;
        let until = (half_open >= limits.cookie_from).then(|| now + COOKIES_STAY).max(self.flood.cookies);
        let begun = self.flood.cookies.is_none();
        self.flood.cookies = until.filter(|until| *until > now);
        if self.flood.cookies.is_some() {
            if self.cookies.is_stale(now) {
                let secret = self.core.secret();
                self.cookies.rotate(secret, now);
            }
            if begun {
                self.core.note_stranger(Note::CookiesOn, now);
            }
            let got = body.notify(NotifyType::COOKIE);
            if !got.is_some_and(|got| self.cookies.check(&got.data, ni, path.remote, spi)) {
                if got.is_some() {
                    self.core.counters.count(Counter::CookieWrong);
                }
                self.core.counters.count(Counter::CookieSent);
                let cookie = Notify::new(NotifyType::COOKIE, self.cookies.make(ni, path.remote, spi));
                self.answer_outside(path, &outer.header, Payload::Notify(cookie), now);
                return false;
            }
        }
        let from_here = self.half_open_from(path.remote.ip());
        if half_open >= limits.half_open || from_here >= limits.half_open_per_address {
            self.core.counters.count(Counter::HalfOpenRefused);
            if !std::mem::replace(&mut self.flood.full, true) {
                self.core.note_stranger(Note::HalfOpenFull, now);
            }
            return false;
        }
        self.flood.full = false;
        true
    }

    fn half_open_from(&self, address: IpAddr) -> usize {
        self.sas.values().filter(|sa| sa.is_half_open() && sa.shell.path.remote.ip() == address).count()
    }

    fn answer_init(
        &mut self,
        path: Path,
        outer: &Outer,
        body: Body<'_>,
        ni: &[u8],
        bytes: &[u8],
        now: Instant,
    ) {
        let header = outer.header;
        let candidates = self.candidates(path);
        let (Some(sa), Some(ke)) = (body.sa(), body.ke()) else { return };
        if candidates.is_empty() {
            self.core.counters.count(Counter::UnknownPeer);
            self.core.note_stranger(Note::UnknownPeer { remote: path.remote, local: path.local }, now);
            return self.answer_outside(path, &header, bare(NotifyType::NO_PROPOSAL_CHOSEN), now);
        }
        let ours: Vec<IkeProposal> = candidates
            .iter()
            .filter_map(|conn| self.connections.get(conn))
            .flat_map(|config| config.ike_proposals.clone())
            .collect();
        let Some(choice) = choose_ike(sa, &ours, Group::from_iana(ke.group.0), &[]) else {
            let ours = ours.iter().map(ToString::to_string).collect();
            let lists =
                NoProposal { exchange: Exchange::IkeSaInit, by_peer: false, ours, theirs: describe(sa) };
            self.no_proposal(path, &candidates, lists, now);
            return self.answer_outside(path, &header, bare(NotifyType::NO_PROPOSAL_CHOSEN), now);
        };
        let group = choice.suite.group;
        if ke.group.0 != group.iana() {
            // RFC 7296 section 1.2: the group we chose from the offer; nothing is kept.
            let notify = Notify::new(NotifyType::INVALID_KE_PAYLOAD, group.iana().to_be_bytes().to_vec());
            return self.answer_outside(path, &header, Payload::Notify(notify), now);
        }
        let first = candidates.first().and_then(|conn| self.connections.get(conn));
        let encapsulation = first.map_or(Encapsulation::Auto, |config| config.encapsulation);
        let (raw, public) = (bytes, ke.data.as_slice());
        let accepted = Accepted { header, body, raw, path, candidates, encapsulation, choice, ni, public };
        let mut ctx = Ctx { core: &mut self.core, connections: &self.connections, now };
        let sa = Answering::start(accepted, &mut ctx);
        self.inits.insert((path.remote.ip(), header.initiator_spi.0), sa.id());
        self.insert(sa);
    }

    /// Connections the addresses fit, those that name the peer's address first.
    fn candidates(&self, path: Path) -> Vec<ConnId> {
        let (local, remote) = (path.local.ip(), path.remote.ip());
        let fits = self.connections.iter().filter(|(_, config)| config.admits(local, remote));
        let mut fits: Vec<_> = fits.map(|(conn, config)| (config.remote == Remote::Any, *conn)).collect();
        fits.sort_unstable();
        fits.into_iter().map(|(_, conn)| conn).collect()
    }

    fn no_proposal(&mut self, path: Path, candidates: &[ConnId], lists: NoProposal, now: Instant) {
        self.core.counters.count(Counter::NoProposal);
        let failure = Failure::NoProposal(Box::new(lists));
        self.core.note_stranger(
            Note::Refused { remote: path.remote, claimed: None, failure: failure.clone() },
            now,
        );
        if let [only] = candidates {
            self.core.event_from_stranger(Event::Failed { conn: *only, failure }, now);
        }
    }
}
