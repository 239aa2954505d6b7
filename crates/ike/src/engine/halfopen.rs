//! IKE_SA_INIT at the door: repeats, cookies, bounds, and which connections it may be for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crypto::Group;
use ike_wire::{Header, IkeSpi, Notify, NotifyType, Outer, Payload, encode};

use super::rooms::Place;
use super::{Door, Engine};
use crate::config::{ConnId, Path};
use crate::cookie::Forms;
use crate::core::Ctx;
use crate::counters::Counter;
use crate::event::{Event, Note};
use crate::exchange::body::{Body, bare};
use crate::exchange::init_answer::{Accepted, Answering};
use crate::failure::{Exchange, Failure, NoProposal};
use crate::negotiate::{choose_ike, describe};
use crate::sa::State;

/// What is under way against floods; each beginning is told once.
#[derive(Default)]
pub(super) struct Flood {
    /// Cookies are asked of everybody until then.
    cookies: Option<Instant>,
    /// Someone was refused for want of room, was told of, and it is one flood until then.
    full: Option<Instant>,
}

/// Cookies are asked for this much longer than it takes: requests that were sent without one, and their repetitions, are
/// not accepted beside those that already bring it. And so long without a refusal a flood is over.
const STAY: Duration = Duration::from_secs(10);

/// A first message that is let in.
struct Init<'a> {
    path: Path,
    outer: &'a Outer,
    body: Body<'a>,
    ni: &'a [u8],
    bytes: &'a [u8],
    door: Arc<Door>,
    place: Place,
}

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
        if let Some(ike) = self.index.answering(key) {
            return self.repeated_init(ike, path, bytes, now);
        }
        let body = Body(&outer.payloads);
        let (Some(ni), Some(_), Some(_)) = (body.nonce(), body.sa(), body.ke()) else {
            self.core.counters.count(Counter::BadBody);
            return self.answer_outside(path, &header, bare(NotifyType::INVALID_SYNTAX), now);
        };
        let door = self.connections.door(path);
        if let Some(place) = self.lets_in(path, outer, body, &door, now) {
            self.answer_init(Init { path, outer, body, ni, bytes, door, place }, now);
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

    /// RFC 7296 section 2.6: cookies once many are half-open, or many of one address; and bounds that hold whatever anybody
    /// echoes. Gives the place it may have.
    fn lets_in(
        &mut self,
        path: Path,
        outer: &Outer,
        body: Body<'_>,
        door: &Door,
        now: Instant,
    ) -> Option<Place> {
        let (from, spi) = (path.remote.ip(), outer.header.initiator_spi);
        let asks = self.asks_for_cookies(now) || self.rooms.must_prove(from, &self.core.limits);
        let (brought, ni) = (body.notify(NotifyType::COOKIE), body.nonce()?);
        let proven = brought.is_some_and(|got| self.cookies.check(&got.data, ni, path.remote, spi, now));
        if asks && !proven {
            if brought.is_some() {
                self.core.counters.count(Counter::CookieWrong);
            }
            self.demand_cookie(path, &outer.header, ni, door, now);
            return None;
        }
        let (_, _, anywhere) = self.connections.sizes();
        let place = self.rooms.place(from, proven, door, anywhere, &self.core.limits);
        if place.is_none() {
            self.core.counters.count(Counter::HalfOpenRefused);
            self.tell_full(now);
        }
        place
    }

    fn asks_for_cookies(&mut self, now: Instant) -> bool {
        let many = self.rooms.len() >= self.core.limits.cookie_from;
        let before = self.flood.cookies.filter(|until| *until > now);
        self.flood.cookies = many.then(|| now + STAY).max(before);
        if before.is_none() && many {
            self.core.note_stranger(Note::CookiesOn, now);
        }
        self.flood.cookies.is_some()
    }

    /// Nothing is kept of who is asked.
    fn demand_cookie(&mut self, path: Path, request: &Header, ni: &[u8], door: &Door, now: Instant) {
        if self.cookies.is_stale(now) {
            let secret = self.core.secret();
            self.cookies.rotate(secret, now);
        }
        let cookie = self.cookies.make(ni, path.remote, request.initiator_spi);
        let notify = Payload::Notify(Notify::new(NotifyType::COOKIE, cookie));
        if let Ok(bytes) = encode(&request.response(), &[notify]) {
            self.core.demand_cookie(path, bytes, door.named > 0, now);
        }
    }

    fn tell_full(&mut self, now: Instant) {
        let goes_on = self.flood.full.is_some_and(|until| until > now);
        if goes_on || self.core.note_stranger(Note::HalfOpenFull, now) {
            self.flood.full = Some(now + STAY);
        }
    }

    fn answer_init(&mut self, init: Init<'_>, now: Instant) {
        let Init { path, outer, body, ni, bytes, door, place } = init;
        let header = outer.header;
        let (Some(sa), Some(ke)) = (body.sa(), body.ke()) else { return };
        if door.candidates.is_empty() {
            self.core.counters.count(Counter::UnknownPeer);
            self.core.note_stranger(Note::UnknownPeer { remote: path.remote, local: path.local }, now);
            return self.answer_outside(path, &header, bare(NotifyType::NO_PROPOSAL_CHOSEN), now);
        }
        let Some(choice) = choose_ike(sa, &door.proposals, Group::from_iana(ke.group.0), &[]) else {
            let ours = door.proposals.iter().map(ToString::to_string).collect();
            let lists =
                NoProposal { exchange: Exchange::IkeSaInit, by_peer: false, ours, theirs: describe(sa) };
            self.no_proposal(path, &door.candidates, lists, now);
            return self.answer_outside(path, &header, bare(NotifyType::NO_PROPOSAL_CHOSEN), now);
        };
        let group = choice.suite.group;
        if ke.group.0 != group.iana() {
            // RFC 7296 section 1.2: the group we chose from the offer; nothing is kept.
            let notify = Notify::new(NotifyType::INVALID_KE_PAYLOAD, group.iana().to_be_bytes().to_vec());
            return self.answer_outside(path, &header, Payload::Notify(notify), now);
        }
        let forms = self.forms_of(path, &header, ni, bytes, now);
        let accepted = Accepted { header, body, path, door, forms, choice, ni, public: ke.data.as_slice() };
        let mut ctx = Ctx { core: &mut self.core, connections: &self.connections, index: &self.index, now };
        let sa = Answering::start(accepted, &mut ctx);
        self.rooms.take(sa.id(), path.remote.ip(), place);
        self.index.note_init(sa.id(), (path.remote.ip(), header.initiator_spi.0));
        self.insert(sa, now);
    }

    /// The request as it came; and, if it was asked for a cookie lately, as it would be with that. Its sender may have sent
    /// that too by now, and signs what it sent last, also where that is lost and this one, which was under way still, is
    /// accepted because cookies are not asked for any more.
    fn forms_of(&self, path: Path, header: &Header, ni: &[u8], bytes: &[u8], now: Instant) -> Forms {
        let mut forms = Forms::new(bytes.to_vec());
        for cookie in self.cookies.given(ni, path.remote, header.initiator_spi, now) {
            forms.may_bring(&cookie);
        }
        forms
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
