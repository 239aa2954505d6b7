//! IKE_SA_INIT as responder (RFC 7296 section 1.2), once cookies and bounds let it through.

use std::sync::Arc;

use crypto::Secret;
use ike_wire::{Header, IkeSpi, KeGroup, KeyExchange, NotifyType, Payload, SecurityAssociation, encode};

use super::body::{Body, bare};
use crate::config::Path;
use crate::cookie::Forms;
use crate::core::Ctx;
use crate::counters::Counter;
use crate::engine::Door;
use crate::event::{Nat, Note, Role};
use crate::exchange::auth_answer::HalfOpen;
use crate::failure::Failure;
use crate::keys::{Ingredients, SkeySeed};
use crate::natd;
use crate::negotiate::IkeChoice;
use crate::proposal::IkeSuite;
use crate::sa::{Channel, IkeSa, Shell, State};
use crate::timer::Timer;
use crate::work::{Work, WorkId, WorkOutcome};

/// The shared secret of an accepted IKE_SA_INIT is being made.
pub(crate) struct Answering {
    work: WorkId,
    header: Header,
    pub(crate) door: Arc<Door>,
    suite: IkeSuite,
    answer: SecurityAssociation,
    pub(crate) request: Forms,
    ni: Vec<u8>,
    nat_payloads: Vec<Payload>,
    fragments: bool,
    vendors: Vec<String>,
}

/// An accepted IKE_SA_INIT request.
pub(crate) struct Accepted<'a> {
    pub(crate) header: Header,
    pub(crate) body: Body<'a>,
    pub(crate) path: Path,
    /// What it may be for.
    pub(crate) door: Arc<Door>,
    /// It, and what it would be with cookies that were demanded of its sender.
    pub(crate) forms: Forms,
    pub(crate) choice: IkeChoice,
    pub(crate) ni: &'a [u8],
    pub(crate) public: &'a [u8],
}

impl Answering {
    pub(crate) fn start(accepted: Accepted<'_>, ctx: &mut Ctx<'_>) -> IkeSa {
        let (id, spi_r) = (ctx.core.ike_id(), IkeSpi(ctx.core.ike_spi()));
        let spis = (accepted.header.initiator_spi, spi_r);
        let mut shell = Shell::new(id, Role::Responder, spis, accepted.path, ctx.now);
        shell.timers.set(Timer::GiveUp, ctx.now + ctx.core.limits.half_open_timeout);
        shell.window.accept();
        let (group, peer) = (accepted.choice.suite.group, accepted.public.to_vec());
        let seed = ctx.core.secret_seed();
        let work = ctx.core.work(id, Work::Respond { group, seed, peer });
        let body = accepted.body;
        let is_nat = |payload: &&Payload| match payload {
            Payload::Notify(notify) => {
                [NotifyType::NAT_DETECTION_SOURCE_IP, NotifyType::NAT_DETECTION_DESTINATION_IP]
                    .contains(&notify.kind)
            }
            _ => false,
        };
        let state = Self {
            work,
            header: accepted.header,
            door: accepted.door,
            suite: accepted.choice.suite,
            answer: accepted.choice.answer,
            request: accepted.forms,
            ni: accepted.ni.to_vec(),
            nat_payloads: body.0.iter().filter(is_nat).cloned().collect(),
            fragments: body.has(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED),
            vendors: body.vendors(),
        };
        IkeSa::new(shell, State::Answering(Box::new(state)))
    }

    pub(crate) fn handle_work(
        self: Box<Self>,
        shell: &mut Shell,
        done: WorkId,
        outcome: WorkOutcome,
        ctx: &mut Ctx<'_>,
    ) -> State {
        if done != self.work {
            return State::Answering(self);
        }
        match outcome {
            WorkOutcome::Responded { public, shared } => self.respond(shell, public, &shared, ctx),
            // The peer repeats its request, which is then taken for new.
            WorkOutcome::Refused => State::Closed,
            WorkOutcome::BadPublicValue | WorkOutcome::Pair(_) | WorkOutcome::Shared(_) => {
                ctx.count(Counter::BadBody);
                let failure = Failure::BadPublicValue(self.suite.group);
                ctx.core.note_stranger(
                    Note::Refused { remote: shell.path.remote, claimed: None, failure },
                    ctx.now,
                );
                State::Closed
            }
        }
    }

    fn respond(self, shell: &mut Shell, public: Vec<u8>, shared: &Secret, ctx: &mut Ctx<'_>) -> State {
        let nr = ctx.core.nonce();
        let spis = (shell.spi_i, shell.spi_r);
        let mut payloads = vec![
            Payload::SecurityAssociation(self.answer),
            Payload::KeyExchange(KeyExchange { group: KeGroup(self.suite.group.iana()), data: public }),
            Payload::Nonce(nr.clone()),
        ];
        // RFC 7296 section 2.23: the responder's notifies answer the initiator's.
        let nat = if self.nat_payloads.is_empty() {
            Nat::default()
        } else {
            payloads.extend(natd::notifies(self.door.encapsulation, spis, shell.path, ctx.core.random()));
            // The request was hashed while our SPI was still unknown.
            natd::detect(self.door.encapsulation, (shell.spi_i, IkeSpi::ZERO), shell.path, &self.nat_payloads)
        };
        if self.fragments {
            payloads.push(bare(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED));
        }
        let header = Header { responder_spi: shell.spi_r, ..self.header.response() };
        let Ok(response) = encode(&header, &payloads) else { return State::Closed };
        let with = Ingredients { ni: &self.ni, nr: &nr, spi_i: shell.spi_i, spi_r: shell.spi_r };
        let seed = SkeySeed::first(self.suite, shared, &with);
        let Ok(keys) = seed.expand(Role::Responder, &with, ctx.core.random()) else { return State::Closed };
        let packets = vec![Arc::from(response.as_slice())];
        shell.send(&packets, shell.path, ctx);
        shell.window.answered(packets);
        State::HalfOpen(Box::new(HalfOpen {
            door: self.door,
            suite: self.suite,
            channel: Channel::new(keys.crypt, self.fragments),
            derive: keys.derive,
            pi: keys.pi,
            pr: keys.pr,
            request: self.request,
            response,
            ni: self.ni,
            nr,
            nat,
            vendors: self.vendors,
        }))
    }
}
