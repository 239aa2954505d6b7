//! CREATE_CHILD_SA for the IKE SA itself as initiator (RFC 7296 sections 1.3.2, 2.8, 2.18).

use std::time::Duration;

use crypto::{Group, Secret};
use ike_wire::{ExchangeType, IkeSpi, KeGroup, KeyExchange, Notify, NotifyType, Payload};

use super::body::{Body, refused, wanted_group};
use super::child::RETRY_SOON;
use crate::core::{Cross, Ctx};
use crate::event::{DownReason, IkeId, Role};
use crate::failure::{Exchange, Failure, Misbehaviour, NoProposal};
use crate::keys::{Ingredients, SkeySeed};
use crate::negotiate::{check_ike, offer_ike};
use crate::proposal::{IkeProposal, IkeSuite};
use crate::sa::{Channel, IkeSa, Phase, Shell, Stage, State, Task, Up, UpParts, Want};
use crate::timer::Timer;
use crate::work::{Work, WorkOutcome};

/// Our rekeying of the IKE SA.
pub(crate) struct IkeTask {
    spi: IkeSpi,
    group: Group,
    ni: Vec<u8>,
    offer: Vec<IkeProposal>,
    /// Only the suite in use was offered; all the connection allows comes next.
    in_use_only: bool,
    regrouped: bool,
    pub(crate) stage: Stage,
    reply: Option<Reply>,
    /// What came of the shared secret, kept until the peer's own rekeying, which we are answering, is made or comes to
    /// nothing.
    held: Option<WorkOutcome>,
}

struct Reply {
    suite: IkeSuite,
    spi: IkeSpi,
    nr: Vec<u8>,
}

/// What a successor is made from, whoever asked for it.
pub(crate) struct Successor<'a> {
    pub(crate) id: IkeId,
    pub(crate) role: Role,
    pub(crate) suite: IkeSuite,
    pub(crate) shared: &'a Secret,
    pub(crate) with: Ingredients<'a>,
}

/// A failed rekeying is tried again after this and up to as much at random.
pub(super) const RETRY: Duration = Duration::from_secs(10);

impl Up {
    /// Begins; the window is free and nothing else under way.
    pub(crate) fn start_ike(&mut self, shell: &Shell, ctx: &mut Ctx<'_>) {
        let suite = IkeProposal::only(&self.suite);
        let allowed = self.config.ike_proposals.iter().any(|one| contains(one, &self.suite));
        let offer = if allowed { vec![suite] } else { self.config.ike_proposals.clone() };
        self.start_ike_with(offer, allowed, shell, ctx);
    }

    fn start_ike_with(
        &mut self,
        offer: Vec<IkeProposal>,
        in_use_only: bool,
        shell: &Shell,
        ctx: &mut Ctx<'_>,
    ) {
        let Some(group) = offer.iter().flat_map(|one| one.groups.iter().copied()).next() else { return };
        let seed = ctx.core.secret_seed();
        let stage = Stage::Generating(ctx.core.work(shell.id, Work::Generate { group, seed }));
        let (spi, ni) = (IkeSpi(ctx.core.ike_spi()), ctx.core.nonce());
        let task =
            IkeTask { spi, group, ni, offer, in_use_only, regrouped: false, stage, reply: None, held: None };
        self.task = Some(Task::Ike(Box::new(task)));
    }

    /// A computation for it is done.
    pub(crate) fn ike_work(
        &mut self,
        mut task: Box<IkeTask>,
        outcome: WorkOutcome,
        shell: &mut Shell,
        ctx: &mut Ctx<'_>,
    ) {
        match (&task.stage, outcome) {
            (Stage::Generating(_), WorkOutcome::Pair(pair)) => {
                let data = pair.public().to_vec();
                task.stage = Stage::Sent(Some(pair));
                let payloads = [
                    Payload::SecurityAssociation(offer_ike(&task.offer, &task.spi.to_bytes())),
                    Payload::Nonce(task.ni.clone()),
                    Payload::KeyExchange(KeyExchange { group: KeGroup(task.group.iana()), data }),
                ];
                let exchange = (ExchangeType::CREATE_CHILD_SA, Exchange::RekeyIke);
                let patience = self.config.dpd.timeout;
                shell.request(&mut self.channel, exchange, &payloads, patience, ctx);
                self.task = Some(Task::Ike(task));
            }
            (Stage::Agreeing(_), held @ (WorkOutcome::Shared(_) | WorkOutcome::Refused))
                if self.serving_ike.is_some() =>
            {
                task.held = Some(held);
                self.task = Some(Task::Ike(task));
            }
            (Stage::Agreeing(_), WorkOutcome::Shared(shared)) => {
                self.complete_ike(*task, &shared, shell, ctx)
            }
            (Stage::Agreeing(_), WorkOutcome::BadPublicValue) => {
                self.ike_failed(Failure::BadPublicValue(task.group), RETRY, shell, ctx);
            }
            (Stage::Generating(_), WorkOutcome::Refused) => {
                self.ike_failed(Failure::Overloaded, RETRY, shell, ctx);
            }
            (Stage::Agreeing(_), WorkOutcome::Refused) => self.ike_without_keys(&task, shell, ctx),
            (Stage::Generating(_) | Stage::Agreeing(_) | Stage::Sent(_), _) => {
                self.task = Some(Task::Ike(task))
            }
        }
    }

    /// The answer.
    pub(crate) fn ike_answered(
        &mut self,
        mut task: Box<IkeTask>,
        body: Body<'_>,
        shell: &mut Shell,
        ctx: &mut Ctx<'_>,
    ) {
        if let Some(notify) = body.error().filter(|_| body.sa().is_none()) {
            return self.ike_refused(*task, notify, shell, ctx);
        }
        let (Some(sa), Some(ke), Some(nr)) = (body.sa(), body.ke(), body.nonce()) else {
            return self.ike_failed(Failure::Misbehaved(Misbehaviour::MissingPayload), RETRY, shell, ctx);
        };
        let chosen = check_ike(sa, &task.offer)
            .filter(|(suite, _)| suite.group == task.group && ke.group.0 == task.group.iana())
            .and_then(|(suite, spi)| Some((suite, IkeSpi::from_bytes(&spi).filter(|spi| !spi.is_zero())?)));
        let (Some((suite, spi)), Stage::Sent(Some(pair))) =
            (chosen, std::mem::replace(&mut task.stage, Stage::Sent(None)))
        else {
            return self.ike_failed(Failure::Misbehaved(Misbehaviour::SuiteNotOffered), RETRY, shell, ctx);
        };
        let work = ctx.core.work(shell.id, Work::Agree { pair, peer: ke.data.clone() });
        task.stage = Stage::Agreeing(work);
        task.reply = Some(Reply { suite, spi, nr: nr.clone() });
        self.task = Some(Task::Ike(task));
    }

    /// The peer's own rekeying is made, or came to nothing: ours can be finished.
    pub(crate) fn resume_ike(&mut self, shell: &mut Shell, ctx: &mut Ctx<'_>) {
        match self.task.take() {
            Some(Task::Ike(mut task)) => match task.held.take() {
                Some(outcome) => self.ike_work(task, outcome, shell, ctx),
                None => self.task = Some(Task::Ike(task)),
            },
            other => self.task = other,
        }
    }

    fn complete_ike(&mut self, task: IkeTask, shared: &Secret, shell: &mut Shell, ctx: &mut Ctx<'_>) {
        let Some(reply) = task.reply else { return };
        let with = Ingredients { ni: &task.ni, nr: &reply.nr, spi_i: task.spi, spi_r: reply.spi };
        let (id, suite) = (ctx.core.ike_id(), reply.suite);
        let made =
            self.make_successor(Successor { id, role: Role::Initiator, suite, shared, with }, shell, ctx);
        let Some((mut new_shell, mut new)) = made else {
            return self.ike_failed(Failure::Abandoned, RETRY, shell, ctx);
        };
        let (lost, peer) = (self.yields_ike(&task.ni, &reply.nr), self.peer_rekey.take());
        if lost {
            new.delete_ike(DownReason::Redundant, &mut new_shell, ctx);
        }
        ctx.core.crosses.push_back(Cross::Spawn(Box::new(IkeSa::new(new_shell, State::Up(Box::new(new))))));
        match (lost, peer) {
            (true, Some(peer)) => self.adopt(peer.new, Role::Responder, shell, ctx),
            (true, None) => {}
            (false, _) => {
                self.adopt(id, Role::Initiator, shell, ctx);
                self.want(Want::DeleteIke, shell, ctx);
            }
        }
    }

    /// The IKE SA that replaces this one.
    pub(crate) fn make_successor(
        &self,
        of: Successor<'_>,
        shell: &Shell,
        ctx: &mut Ctx<'_>,
    ) -> Option<(Shell, Self)> {
        let spis = (of.with.spi_i, of.with.spi_r);
        let seed = SkeySeed::rekeyed(&self.derive, of.suite, of.shared, &of.with);
        let keys = seed.expand(of.role, &of.with, ctx.core.random()).ok()?;
        let mut new_shell = Shell::new(of.id, of.role, spis, shell.path, ctx.now);
        let parts = UpParts {
            conn: self.conn,
            config: self.config.clone(),
            channel: Channel::new(keys.crypt, self.channel.fragments),
            derive: keys.derive,
            suite: of.suite,
            nat: self.nat,
            local_id: self.local_id.clone(),
            remote_id: self.remote_id.clone(),
            vendors: self.vendors.clone(),
        };
        let new = Self::successor(self, shell.id, parts, &mut new_shell, ctx);
        new_shell.timers.set(Timer::GiveUp, ctx.now + self.owed_delete());
        Some((new_shell, new))
    }

    fn ike_refused(&mut self, mut task: IkeTask, notify: &Notify, shell: &mut Shell, ctx: &mut Ctx<'_>) {
        match notify.kind {
            NotifyType::INVALID_KE_PAYLOAD => {
                let wanted = wanted_group(notify).unwrap_or(0);
                let ours: Vec<Group> =
                    self.config.ike_proposals.iter().flat_map(|one| one.groups.clone()).collect();
                let group = Group::from_iana(wanted).filter(|group| ours.contains(group) && !task.regrouped);
                let Some(group) = group else {
                    return self.ike_failed(Failure::InvalidKe { wanted, ours }, RETRY, shell, ctx);
                };
                if !task.offer.iter().any(|one| one.groups.contains(&group)) {
                    task.offer.clone_from(&self.config.ike_proposals);
                }
                let seed = ctx.core.secret_seed();
                let work = ctx.core.work(shell.id, Work::Generate { group, seed });
                let task = IkeTask { group, regrouped: true, stage: Stage::Generating(work), ..task };
                self.task = Some(Task::Ike(Box::new(task)));
            }
            NotifyType::NO_PROPOSAL_CHOSEN if task.in_use_only => {
                let all = self.config.ike_proposals.clone();
                self.start_ike_with(all, false, shell, ctx);
            }
            NotifyType::NO_PROPOSAL_CHOSEN => {
                let ours = task.offer.iter().map(ToString::to_string).collect();
                let lists =
                    NoProposal { exchange: Exchange::RekeyIke, by_peer: true, ours, theirs: Vec::new() };
                self.ike_failed(Failure::NoProposal(Box::new(lists)), RETRY, shell, ctx);
            }
            NotifyType::TEMPORARY_FAILURE => {
                self.ike_failed(refused(notify, Exchange::RekeyIke), RETRY_SOON, shell, ctx);
            }
            _ => self.ike_failed(refused(notify, Exchange::RekeyIke), RETRY, shell, ctx),
        }
    }

    /// The successor we make is not the one to stay. RFC 7296 section 2.8.2: as with CHILD SAs, the one made with the lowest
    /// nonce is closed by who made it.
    fn yields_ike(&self, ni: &[u8], nr: &[u8]) -> bool {
        let peers = self.peer_rekey.as_ref();
        self.phase != Phase::Current || peers.is_some_and(|peers| ni.min(nr) < peers.low.as_slice())
    }

    /// The successor's keys are never computed, and the peer holds it. Where the peer's own is the one to stay (section 2.8.2)
    /// there is that; else all ends, and a new dial brings both ends together.
    fn ike_without_keys(&mut self, task: &IkeTask, shell: &mut Shell, ctx: &mut Ctx<'_>) {
        let Some(reply) = &task.reply else { return };
        if self.yields_ike(&task.ni, &reply.nr) {
            return self.ike_failed(Failure::Overloaded, RETRY, shell, ctx);
        }
        ctx.failed(self.conn, Failure::Overloaded);
        if let Some(peer) = self.peer_rekey.take() {
            // The peer's, which is not to stay, would stand in a dial's way.
            ctx.core.crosses.push_back(Cross::Disown { new: peer.new });
        }
        self.delete_ike(DownReason::Overloaded, shell, ctx);
    }

    /// It came to nothing. With the peer's own made meanwhile, that is no failure.
    fn ike_failed(&mut self, failure: Failure, again: Duration, shell: &mut Shell, ctx: &mut Ctx<'_>) {
        if self.phase != Phase::Current {
            return;
        }
        if self.serving_ike.is_some() {
            // Should the peer's come to nothing too; if it does not, the successor does not inherit this.
            return self.later(Want::RekeyIke, again, shell, ctx);
        }
        if let Some(peer) = self.peer_rekey.take() {
            return self.adopt(peer.new, Role::Responder, shell, ctx);
        }
        if again != RETRY_SOON {
            ctx.failed(self.conn, failure);
        }
        self.later(Want::RekeyIke, again, shell, ctx);
    }
}

impl IkeTask {
    /// Its request is out, so that the peer may know of it.
    pub(crate) fn is_sent(&self) -> bool {
        matches!(self.stage, Stage::Sent(_) | Stage::Agreeing(_))
    }
}

fn contains(proposal: &IkeProposal, suite: &IkeSuite) -> bool {
    proposal.encr.contains(&suite.suite.encr)
        && suite.suite.integ.is_none_or(|integ| proposal.integ.contains(&integ))
        && proposal.prf.contains(&suite.prf)
        && proposal.groups.contains(&suite.group)
}
