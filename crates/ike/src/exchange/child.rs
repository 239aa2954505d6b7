//! CREATE_CHILD_SA for a CHILD SA as initiator: new or as successor of another (RFC 7296 sections 1.3.1, 1.3.3, 2.8).

use std::time::Duration;

use crypto::{Group, Secret};
use ike_wire::{ExchangeType, KeGroup, KeyExchange, Notify, NotifyType, Payload, ProtocolId};

use super::body::Body;
use crate::child::{Agreed, ChildAnswer, ChildOffer, ChildPhase};
use crate::config::Connection;
use crate::core::Ctx;
use crate::event::{ChildId, DownReason, Role};
use crate::failure::{Exchange, Failure, Misbehaviour};
use crate::negotiate::Pfs;
use crate::proposal::{EspProposal, EspSuite};
use crate::resource::Resource;
use crate::sa::{Shell, Stage, Task, Up};
use crate::work::{Work, WorkOutcome};

/// Our CREATE_CHILD_SA for a CHILD SA.
pub(crate) struct ChildTask {
    /// The one it shall replace.
    pub(crate) old: Option<ChildId>,
    /// Which of those with the same selectors it will be.
    pub(crate) resource: Resource,
    pub(crate) offer: ChildOffer,
    pub(super) group: Option<Group>,
    pub(crate) ni: Vec<u8>,
    pub(super) rung: Rung,
    /// The peer asked for another group; it may do so once.
    pub(super) regrouped: bool,
    pub(crate) stage: Stage,
    /// What the answer settled, while the shared secret is being made.
    pub(super) reply: Option<(ChildAnswer, Vec<u8>)>,
    /// What came of the shared secret, kept until it shows what comes of the peer's exchange for the same.
    held: Option<WorkOutcome>,
    /// The peer began the same at the same time.
    pub(crate) collision: Option<Collision>,
    /// SPIs the peer deleted meanwhile and we do not know: one may be of what it made for this very request.
    pub(super) gone: Vec<u32>,
}

/// The peer's exchange for the same purpose, accepted while ours was under way.
pub(crate) struct Collision {
    /// Our inbound SPI of what it makes.
    pub(crate) spi_in: u32,
    /// The lower of its two nonces.
    pub(crate) low: Vec<u8>,
    /// The CHILD SA it made, once made.
    pub(crate) child: Option<ChildId>,
}

/// What is offered, from the likeliest to be accepted on. Microsoft's stack refuses long lists, and lists with groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rung {
    /// Only the suite in use.
    InUse,
    /// All the connection allows.
    All,
    /// The same without any group.
    WithoutPfs,
}

impl Rung {
    pub(super) fn next(self, config: &Connection) -> Option<Self> {
        let has_groups = config.esp_proposals.iter().any(|one| !one.groups.is_empty());
        match self {
            Self::InUse => Some(Self::All),
            Self::All if has_groups && config.accept_rekey_without_pfs => Some(Self::WithoutPfs),
            Self::All | Self::WithoutPfs => None,
        }
    }
}

/// A failed rekeying is tried again after this and up to as much at random.
pub(super) const RETRY: Duration = Duration::from_secs(10);
/// How an IKE SA ends whose peer answered what no answer can be.
pub(super) const BROKEN: DownReason = DownReason::Misbehaved;
/// After a temporary failure likewise.
pub(crate) const RETRY_SOON: Duration = Duration::from_secs(2);

impl Up {
    /// Begins; the window is free and nothing else under way.
    pub(crate) fn start_child(&mut self, old: Option<ChildId>, shell: &mut Shell, ctx: &mut Ctx<'_>) {
        let rung = if old.is_some() { Rung::InUse } else { Rung::All };
        let resource =
            old.and_then(|id| self.children.get(&id)).map_or(Resource::ANY, |child| child.resource);
        self.start_child_at((old, resource), rung, shell, ctx);
    }

    /// The same for the next resource that has none.
    pub(crate) fn start_further(&mut self, shell: &mut Shell, ctx: &mut Ctx<'_>) {
        let Some(resource) = self.missing_resource() else { return };
        if self.pool.as_ref().is_some_and(|pool| pool.not_before > ctx.now) {
            return self.add_resource(shell, ctx);
        }
        if self.fallback().is_none_or(|first| same_again(&self.config, first.suite).is_none()) {
            return self.no_more_resources();
        }
        self.start_child_at((None, resource), Rung::InUse, shell, ctx);
    }

    pub(super) fn start_child_at(
        &mut self,
        (old, resource): (Option<ChildId>, Resource),
        rung: Rung,
        shell: &mut Shell,
        ctx: &mut Ctx<'_>,
    ) {
        // What it is to be like: the one it replaces, or the first.
        let like = match old {
            Some(old) => self.children.get(&old),
            None => self.fallback().filter(|_| !resource.is_any()),
        };
        let (in_use, like) = (like.map(|child| child.suite), like.map(|child| child.id));
        let (rung, proposals) = match rung {
            Rung::InUse => match in_use.and_then(|suite| same_again(&self.config, suite)) {
                Some(only) => (Rung::InUse, vec![only]),
                None => (Rung::All, self.config.esp_proposals.clone()),
            },
            Rung::All => (Rung::All, self.config.esp_proposals.clone()),
            Rung::WithoutPfs => {
                let bare = |one: &EspProposal| EspProposal { groups: Vec::new(), ..one.clone() };
                let only = in_use.filter(|_| old.is_none()).and_then(|suite| same_again(&self.config, suite));
                let list = only.map_or_else(|| self.config.esp_proposals.clone(), |only| vec![only]);
                (Rung::WithoutPfs, list.iter().map(bare).collect())
            }
        };
        let mut offer = ChildOffer { proposals, ..ChildOffer::first(self.conn, &self.config, resource, ctx) };
        if let Some(child) = like.and_then(|id| self.children.get(&id)) {
            // Narrower than the configuration where the peer narrowed: it would refuse more again.
            offer.local_ts.clone_from(&child.local_ts);
            offer.remote_ts.clone_from(&child.remote_ts);
        }
        if let Some(child) = old.and_then(|id| self.children.get_mut(&id)) {
            child.phase = ChildPhase::Rekeying;
            child.soft = None;
        }
        let group = offer.proposals.iter().flat_map(|one| one.groups.iter().copied()).next();
        let ni = ctx.core.nonce();
        let stage = Stage::Sent(None);
        let mut task = ChildTask {
            old,
            resource,
            offer,
            group,
            ni,
            rung,
            regrouped: false,
            stage,
            reply: None,
            held: None,
            collision: None,
            gone: Vec::new(),
        };
        self.begin_child_task(&mut task, shell, ctx);
        self.task = Some(Task::Child(Box::new(task)));
    }

    /// With a group the key pair is made first.
    pub(super) fn begin_child_task(&mut self, task: &mut ChildTask, shell: &mut Shell, ctx: &mut Ctx<'_>) {
        match task.group {
            Some(group) => {
                let seed = ctx.core.secret_seed();
                task.stage = Stage::Generating(ctx.core.work(shell.id, Work::Generate { group, seed }));
            }
            None => {
                task.stage = Stage::Sent(None);
                self.send_child(task, shell, ctx);
            }
        }
    }

    fn send_child(&mut self, task: &ChildTask, shell: &mut Shell, ctx: &mut Ctx<'_>) {
        let mut payloads = Vec::new();
        let old = task.old.and_then(|id| self.children.get(&id));
        if let Some(old) = old {
            // RFC 7296 section 1.3.3: REKEY_SA names the SPI "the exchange initiator would expect in inbound packets".
            payloads.push(Payload::Notify(Notify::about(ProtocolId::ESP, old.spi_in, NotifyType::REKEY_SA)));
        }
        payloads.push(task.offer.sa(true));
        payloads.push(Payload::Nonce(task.ni.clone()));
        if let (Some(group), Stage::Sent(Some(pair))) = (task.group, &task.stage) {
            let ke = KeyExchange { group: KeGroup(group.iana()), data: pair.public().to_vec() };
            payloads.push(Payload::KeyExchange(ke));
        }
        payloads.extend(task.offer.ts());
        payloads.extend(self.announce_resource(task.old.is_none(), task.resource));
        let exchange = (ExchangeType::CREATE_CHILD_SA, task.exchange());
        let patience = self.config.dpd.timeout;
        shell.request(&mut self.channel, exchange, &payloads, patience, ctx);
    }

    /// A computation for it is done.
    pub(crate) fn child_work(
        &mut self,
        mut task: Box<ChildTask>,
        outcome: WorkOutcome,
        shell: &mut Shell,
        ctx: &mut Ctx<'_>,
    ) {
        match (&task.stage, outcome) {
            (Stage::Generating(_), WorkOutcome::Pair(pair)) => {
                // The one to replace may be gone by now.
                let gone =
                    |old: ChildId| !self.children.get(&old).is_some_and(crate::child::Child::is_installed);
                let alone = task.is_further() && !self.has_child();
                if task.old.is_some_and(gone) || alone {
                    self.abandon_child(*task, ctx);
                    return;
                }
                task.stage = Stage::Sent(Some(pair));
                self.send_child(&task, shell, ctx);
                self.task = Some(Task::Child(task));
            }
            (Stage::Agreeing(_), held @ (WorkOutcome::Shared(_) | WorkOutcome::Refused))
                if task.hangs_on_peer() =>
            {
                task.held = Some(held);
                self.task = Some(Task::Child(task));
            }
            (Stage::Agreeing(_), WorkOutcome::Shared(shared)) => match task.reply.take() {
                Some((answer, nr)) => self.complete_child(*task, answer, &nr, Some(&shared), shell, ctx),
                None => self.abandon_child(*task, ctx),
            },
            (Stage::Agreeing(_), WorkOutcome::BadPublicValue) => {
                let failure = task.group.map_or(Failure::Abandoned, Failure::BadPublicValue);
                self.child_failed(*task, failure, RETRY, shell, ctx);
            }
            (Stage::Generating(_), WorkOutcome::Refused) => {
                self.child_failed(*task, Failure::Overloaded, RETRY, shell, ctx);
            }
            (Stage::Agreeing(_), WorkOutcome::Refused) => {
                self.child_without_keys(*task, shell, ctx);
            }
            (Stage::Generating(_) | Stage::Agreeing(_) | Stage::Sent(_), _) => {
                self.task = Some(Task::Child(task))
            }
        }
    }

    /// The peer's exchange is made, or came to nothing: ours can be finished.
    pub(super) fn resume_child(&mut self, shell: &mut Shell, ctx: &mut Ctx<'_>) {
        match self.task.take() {
            Some(Task::Child(mut task)) => match task.held.take() {
                Some(outcome) => self.child_work(task, outcome, shell, ctx),
                None => self.task = Some(Task::Child(task)),
            },
            other => self.task = other,
        }
    }

    /// The answer.
    pub(crate) fn child_answered(
        &mut self,
        mut task: Box<ChildTask>,
        body: Body<'_>,
        shell: &mut Shell,
        ctx: &mut Ctx<'_>,
    ) {
        if let Some(notify) = body.error().filter(|_| body.sa().is_none()) {
            self.child_refused(*task, notify, body, shell, ctx);
            return;
        }
        let pfs = Pfs::Create { ke: task.group, none_accepted: self.config.accept_rekey_without_pfs };
        let answer = match task.offer.conclude(body, pfs, task.exchange()) {
            Ok(answer) => answer,
            Err(failure) => return self.child_broken(*task, failure, BROKEN, shell, ctx),
        };
        let Some(nr) = body.nonce().cloned() else {
            let failure = Failure::Misbehaved(Misbehaviour::MissingPayload);
            return self.child_broken(*task, failure, BROKEN, shell, ctx);
        };
        let stage = std::mem::replace(&mut task.stage, Stage::Sent(None));
        match (answer.suite.group, stage, body.ke()) {
            (None, _, _) => self.complete_child(*task, answer, &nr, None, shell, ctx),
            (Some(group), Stage::Sent(Some(pair)), Some(ke))
                if Some(group) == task.group && ke.group.0 == group.iana() =>
            {
                let work = ctx.core.work(shell.id, Work::Agree { pair, peer: ke.data.clone() });
                task.stage = Stage::Agreeing(work);
                task.reply = Some((answer, nr));
                self.task = Some(Task::Child(task));
            }
            (Some(_), _, _) => {
                let failure = Failure::Misbehaved(Misbehaviour::SuiteNotOffered);
                self.child_broken(*task, failure, BROKEN, shell, ctx);
            }
        }
    }

    fn complete_child(
        &mut self,
        task: ChildTask,
        answer: ChildAnswer,
        nr: &[u8],
        shared: Option<&Secret>,
        shell: &mut Shell,
        ctx: &mut Ctx<'_>,
    ) {
        if task.gone.contains(&answer.spi_out) {
            return self.child_failed(task, Failure::Abandoned, RETRY_SOON, shell, ctx);
        }
        let keys = self.derive.child(answer.suite, shared, (&task.ni, nr), Role::Initiator);
        let Some(keys) = keys else { return self.child_failed(task, Failure::Abandoned, RETRY, shell, ctx) };
        let old = task.old.filter(|old| self.children.contains_key(old));
        let spi_in = task.offer.spi_in;
        let (role, resource) = (Role::Initiator, task.resource);
        let agreed = Agreed { spi_in, answer, keys, role, replaces: old, resource };
        if task.yields_by(nr) {
            self.install_loser(agreed, shell, ctx);
            if let Some(old) = old {
                self.replaced_by_peer(old, ctx);
            }
        } else {
            self.install(agreed, shell, ctx);
            if let Some(old) = old {
                self.close_child(old, DownReason::Rekeyed, shell, ctx);
            }
        }
    }
}

impl ChildTask {
    /// One beside the first, with the same selectors.
    pub(crate) fn is_further(&self) -> bool {
        self.old.is_none() && !self.resource.is_any()
    }

    /// The nonces have it that the peer's exchange for the same makes the one to stay.
    pub(super) fn yields(&self) -> bool {
        self.reply.as_ref().is_some_and(|(_, nr)| self.yields_by(nr))
    }

    /// The same, by the nonce of the answer. RFC 7296 section 2.8.1: the SA "created with the lowest of the four nonces SHOULD
    /// be closed by the endpoint that created it". Octet by octet, a prefix being the lower one: the order of slices.
    fn yields_by(&self, nr: &[u8]) -> bool {
        self.collision.as_ref().is_some_and(|peers| self.ni.as_slice().min(nr) < peers.low.as_slice())
    }

    /// It is to go for one whose shared secret is still being made. Should that come to nothing, this one stays.
    fn hangs_on_peer(&self) -> bool {
        self.yields() && self.collision.as_ref().is_some_and(|collision| collision.child.is_none())
    }

    /// What to offer after this was refused. One for a further resource is like the first, or is not made.
    pub(super) fn next_rung(&self, config: &Connection) -> Option<Rung> {
        let next = self.rung.next(config)?;
        if self.is_further() && next == Rung::All { next.next(config) } else { Some(next) }
    }

    pub(crate) fn exchange(&self) -> Exchange {
        if self.old.is_some() { Exchange::RekeyChild } else { Exchange::CreateChild }
    }
}

/// The suite in use as the only one offered, with the group the connection wants; `None` when the connection has come
/// to exclude it.
fn same_again(config: &Connection, suite: EspSuite) -> Option<EspProposal> {
    let fits = |one: &&EspProposal| {
        one.encr.contains(&suite.suite.encr)
            && suite.suite.integ.is_none_or(|integ| one.integ.contains(&integ))
            && one.esn.contains(&suite.esn)
    };
    let one = config.esp_proposals.iter().find(fits)?;
    let group =
        suite.group.filter(|group| one.groups.contains(group)).or_else(|| one.groups.first().copied());
    Some(EspProposal::only(&EspSuite { group, ..suite }))
}
