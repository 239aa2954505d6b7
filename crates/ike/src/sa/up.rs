//! An authenticated IKE SA: its CHILD SAs, its timers, and the order of its exchanges.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ike_wire::{ExchangeType, Notify, NotifyType, Payload};

use super::{Channel, Opened, PeerRekey, Shell, Stage, State, Task, Want};
use crate::auth::Authenticated;
use crate::child::Child;
use crate::config::{ConnId, Connection, Encapsulation, Path};
use crate::core::{Cross, Ctx};
use crate::counters::Counter;
use crate::engine::Report;
use crate::event::{ChildId, DownReason, Event, IkeId, IkeUp, Nat};
use crate::exchange::body::Body;
use crate::exchange::child_answer::ServingChild;
use crate::exchange::rekey_ike_answer::ServingIke;
use crate::identity::Identity;
use crate::keys::DeriveKey;
use crate::proposal::IkeSuite;
use crate::resource::Pool;
use crate::timer::Timer;
use crate::work::{WorkId, WorkOutcome};

/// What authentication settled.
pub(crate) struct UpParts {
    pub(crate) conn: ConnId,
    pub(crate) config: Arc<Connection>,
    pub(crate) channel: Channel,
    pub(crate) derive: DeriveKey,
    pub(crate) suite: IkeSuite,
    pub(crate) nat: Nat,
    pub(crate) local_id: Identity,
    pub(crate) remote_id: Identity,
    pub(crate) vendors: Vec<String>,
}

/// An authenticated IKE SA.
pub(crate) struct Up {
    pub(crate) conn: ConnId,
    pub(crate) config: Arc<Connection>,
    pub(crate) channel: Channel,
    pub(crate) derive: DeriveKey,
    pub(crate) suite: IkeSuite,
    pub(crate) nat: Nat,
    pub(crate) local_id: Identity,
    pub(crate) remote_id: Identity,
    pub(crate) vendors: Vec<String>,
    pub(crate) phase: Phase,
    pub(crate) last_heard: Instant,
    pub(crate) children: BTreeMap<ChildId, Child>,
    pub(crate) wants: VecDeque<Want>,
    /// What both ends said about CHILD SAs for further resources; `None` while there is no first one, or only one wanted.
    pub(crate) pool: Option<Pool>,
    /// Put off until the retry timer.
    pub(crate) put_off: Vec<Want>,
    pub(crate) task: Option<Task>,
    pub(crate) serving_child: Option<Box<ServingChild>>,
    pub(crate) serving_ike: Option<Box<ServingIke>>,
    /// The peer made a successor while our own rekeying is under way.
    pub(crate) peer_rekey: Option<PeerRekey>,
    /// Made by rekeying the IKE SA named, whose CHILD SAs have not moved here yet.
    pub(crate) inherits_from: Option<IkeId>,
    /// Another of the connection has taken its place, which the peer made or both did; it ends for this reason.
    pub(crate) superseded: Option<DownReason>,
    /// Its `IkeDown`, or the `IkeRekeyed` that ended it, was told; or it never was announced.
    pub(crate) told: bool,
}

/// Where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// In use.
    Current,
    /// Its CHILD SAs moved to a successor; its DELETE is to come.
    Rekeyed,
    /// We delete it.
    Deleting,
}

/// A replaced SA whose DELETE the peer owes us is deleted by ourselves after at least this.
const OWED_DELETE: Duration = Duration::from_secs(60);

impl Up {
    /// Neither replaced by rekeying nor being deleted, and the CHILD SAs are its own.
    pub(crate) fn owns_children(&self) -> bool {
        self.phase == Phase::Current && self.inherits_from.is_none()
    }

    /// The same, and no other has taken its place.
    pub(crate) fn is_current(&self) -> bool {
        self.owns_children() && self.superseded.is_none()
    }

    /// Only an authenticated peer has one of these: the proof is asked for and not needed further.
    pub(crate) fn new(parts: UpParts, _proof: &Authenticated, shell: &mut Shell, ctx: &mut Ctx<'_>) -> Self {
        Self::assemble(parts, None, shell, ctx)
    }

    pub(super) fn assemble(
        parts: UpParts,
        inherits_from: Option<IkeId>,
        shell: &mut Shell,
        ctx: &mut Ctx<'_>,
    ) -> Self {
        let UpParts { conn, config, channel, derive, suite, nat, local_id, remote_id, vendors } = parts;
        let up = Self {
            conn,
            config,
            channel,
            derive,
            suite,
            nat,
            local_id,
            remote_id,
            vendors,
            phase: Phase::Current,
            last_heard: ctx.now,
            children: BTreeMap::new(),
            wants: VecDeque::new(),
            pool: None,
            put_off: Vec::new(),
            task: None,
            serving_child: None,
            serving_ike: None,
            peer_rekey: None,
            inherits_from,
            superseded: None,
            told: false,
        };
        let life = up.config.ike_lifetime;
        shell.established = Some(ctx.now);
        shell.timers.stop_all();
        shell.timers.set(Timer::Rekey, ctx.now + life.soft_after(ctx.core.random_u32()));
        shell.timers.set(Timer::Expire, ctx.now + life.hard);
        up.arm_liveness(shell, ctx.now);
        if up.nat.local && !up.config.keepalive.is_zero() {
            shell.timers.set(Timer::Keepalive, ctx.now + up.config.keepalive);
        }
        up
    }

    /// Tells that it is up.
    pub(crate) fn announce(&mut self, shell: &Shell, ctx: &mut Ctx<'_>) {
        ctx.event(Event::IkeUp(IkeUp {
            conn: self.conn,
            ike: shell.id,
            path: shell.path,
            role: shell.role,
            local_id: self.local_id.clone(),
            remote_id: self.remote_id.clone(),
            nat: self.nat,
        }));
    }

    /// How long we wait for a DELETE the peer owes us: longer than it may still be waiting for our answer.
    pub(crate) fn owed_delete(&self) -> Duration {
        OWED_DELETE + self.config.dpd.timeout
    }

    fn arm_liveness(&self, shell: &mut Shell, from: Instant) {
        if !self.config.dpd.delay.is_zero() {
            shell.timers.set(Timer::Liveness, from + self.config.dpd.delay);
        }
    }

    /// ESP goes in UDP: NAT detection says so, or the connection does; the port never.
    pub(crate) fn encapsulates(&self) -> bool {
        match self.config.encapsulation {
            Encapsulation::Auto | Encapsulation::Always => self.nat.found(),
            Encapsulation::Never => false,
        }
    }

    /// A message of the peer's.
    pub(crate) fn handle(
        mut self: Box<Self>,
        shell: &mut Shell,
        message: Opened,
        ctx: &mut Ctx<'_>,
    ) -> State {
        self.last_heard = ctx.now;
        self.arm_liveness(shell, ctx.now);
        self.follow(message.path, shell, ctx);
        if message.header.flags.response {
            return self.handle_answer(shell, &message, ctx);
        }
        shell.window.accept();
        let (header, path) = (message.header, message.path);
        let payloads = match &message.payloads {
            Ok(payloads) => payloads,
            Err(error) => {
                ctx.count(Counter::BadBody);
                shell.answer(&mut self.channel, &header, path, &[Payload::Notify(error.notify())], ctx);
                return State::Up(self);
            }
        };
        let body = Body(payloads);
        match header.exchange {
            ExchangeType::INFORMATIONAL => return self.answer_inform(body, header, path, shell, ctx),
            ExchangeType::CREATE_CHILD_SA => self.serve(body, header, path, shell, ctx),
            _ => {
                ctx.count(Counter::Unexpected);
                let notify = Notify::new(NotifyType::INVALID_SYNTAX, Vec::new());
                shell.answer(&mut self.channel, &header, path, &[Payload::Notify(notify)], ctx);
            }
        }
        self.proceed(shell, ctx);
        State::Up(self)
    }

    fn handle_answer(mut self: Box<Self>, shell: &mut Shell, message: &Opened, ctx: &mut Ctx<'_>) -> State {
        shell.window.finish();
        let empty = Vec::new();
        let payloads = message.payloads.as_ref().unwrap_or_else(|_| {
            ctx.count(Counter::BadBody);
            &empty
        });
        let body = Body(payloads);
        match self.task.take() {
            Some(Task::Child(task)) => self.child_answered(task, body, shell, ctx),
            Some(Task::Ike(task)) => self.ike_answered(task, body, shell, ctx),
            Some(Task::DeleteChild(child)) => self.child_deleted(child, ctx),
            Some(Task::DeleteIke) => {
                ctx.core.crosses.push_back(Cross::Orphan { old: shell.id });
                return State::Closed;
            }
            Some(Task::Liveness) | None => {}
        }
        self.proceed(shell, ctx);
        State::Up(self)
    }

    pub(crate) fn handle_work(
        mut self: Box<Self>,
        shell: &mut Shell,
        done: WorkId,
        outcome: WorkOutcome,
        ctx: &mut Ctx<'_>,
    ) -> State {
        if let Some(serving) = self.serving_child.take_if(|serving| serving.work == done) {
            self.served_child(*serving, outcome, shell, ctx);
        } else if let Some(serving) = self.serving_ike.take_if(|serving| serving.work == done) {
            self.served_ike(*serving, outcome, shell, ctx);
        } else {
            let awaited =
                |stage: &Stage| matches!(stage, Stage::Generating(id) | Stage::Agreeing(id) if *id == done);
            match self.task.take() {
                Some(Task::Child(task)) if awaited(&task.stage) => self.child_work(task, outcome, shell, ctx),
                Some(Task::Ike(task)) if awaited(&task.stage) => self.ike_work(task, outcome, shell, ctx),
                other => {
                    self.task = other;
                    ctx.count(Counter::StaleWork);
                }
            }
        }
        self.proceed(shell, ctx);
        State::Up(self)
    }

    /// RFC 7296 section 2.23: a host that is not behind a translator itself follows a peer that is, as far as the
    /// messages are authenticated and new. (Behind one, we keep to the peer's address and let it follow us.)
    fn follow(&mut self, path: Path, shell: &mut Shell, ctx: &mut Ctx<'_>) {
        if path == shell.path || !self.nat.remote || path.local.port() != shell.path.local.port() {
            return;
        }
        shell.path = path;
        ctx.event(Event::PathChanged { conn: self.conn, ike: shell.id, path });
    }

    /// Tells that it and all under it are down. Nothing is told twice.
    pub(crate) fn tell_down(&mut self, reason: DownReason, ctx: &mut Ctx<'_>) {
        let children: Vec<ChildId> = self.children.keys().copied().collect();
        let linger = match reason {
            DownReason::PeerDeleted
            | DownReason::Replaced
            | DownReason::PeerRestarted
            | DownReason::Orphaned
            | DownReason::Redundant => self.config.linger,
            DownReason::PeerSilent
            | DownReason::Lifetime
            | DownReason::Commanded
            | DownReason::Reconfigured
            | DownReason::Rekeyed
            | DownReason::PeerLost
            | DownReason::Misbehaved
            | DownReason::Overloaded => Duration::ZERO,
        };
        for child in children {
            self.remove_child(child, reason, linger, ctx);
        }
    }

    /// Tells, and leaves nothing behind.
    pub(crate) fn close(&mut self, shell: &mut Shell, reason: DownReason, ctx: &mut Ctx<'_>) {
        self.tell_down(reason, ctx);
        self.tell_ike_down(shell.id, reason, ctx);
        if let Some(Task::Child(task)) = self.task.take() {
            ctx.core.free_esp_spi(task.offer.spi_in);
        }
        self.forget_served(ctx);
        shell.timers.stop_all();
    }

    pub(crate) fn tell_ike_down(&mut self, ike: IkeId, reason: DownReason, ctx: &mut Ctx<'_>) {
        if self.told || self.inherits_from.is_some() {
            return;
        }
        self.told = true;
        let replaced = self.superseded.is_some()
            || matches!(reason, DownReason::Replaced | DownReason::PeerRestarted | DownReason::Redundant);
        ctx.event(Event::IkeDown { conn: self.conn, ike, reason, replaced });
    }

    /// A timer of the IKE SA. `false`: it is over.
    pub(crate) fn expire(&mut self, timer: Timer, shell: &mut Shell, ctx: &mut Ctx<'_>) -> bool {
        match timer {
            Timer::Liveness => {
                self.arm_liveness(shell, ctx.now);
                self.want(Want::Liveness, shell, ctx);
            }
            Timer::Rekey => self.want(Want::RekeyIke, shell, ctx),
            Timer::Expire => self.delete_ike(DownReason::Lifetime, shell, ctx),
            Timer::Keepalive => {
                ctx.core.keepalive(shell.path);
                shell.timers.set(Timer::Keepalive, ctx.now + self.config.keepalive);
            }
            Timer::Retry => {
                for want in std::mem::take(&mut self.put_off) {
                    self.want(want, shell, ctx);
                }
            }
            // Made by the peer, never taken into use, and not deleted by it: nobody misses it.
            Timer::GiveUp if self.inherits_from.is_some() => return false,
            // The peer owes us a DELETE: of one it rekeyed, or of one of two that crossed.
            Timer::GiveUp if self.told => self.delete_ike(DownReason::Rekeyed, shell, ctx),
            Timer::GiveUp => {
                let reason = self.superseded.unwrap_or(DownReason::Redundant);
                self.delete_ike(reason, shell, ctx);
            }
        }
        true
    }

    pub(crate) fn handle_report(&mut self, report: Report, shell: &mut Shell, ctx: &mut Ctx<'_>) {
        let by_spi =
            |spi: u32| self.children.values().find(|child| child.spi_in == spi).map(|child| child.id);
        match report {
            Report::Inbound { .. } => {
                self.last_heard = ctx.now;
                self.arm_liveness(shell, ctx.now);
            }
            Report::SoftLimit { spi_in } => {
                if let Some(child) = by_spi(spi_in) {
                    self.want(Want::RekeyChild(child), shell, ctx);
                }
            }
            Report::HardLimit { spi_in } => {
                if let Some(child) = by_spi(spi_in) {
                    self.close_child(child, DownReason::Lifetime, shell, ctx);
                }
            }
            Report::PathMoved { remote, .. } => {
                let path = Path { local: shell.path.local, remote };
                self.follow(path, shell, ctx);
            }
        }
    }
}
