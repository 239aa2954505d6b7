//! One IKE SA: what holds in every state, and the states.

mod agenda;
mod children;
mod receive;
mod resources;
mod shell;
mod succession;
mod up;
mod views;
mod wants;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ike_wire::IkeSpi;

use crate::config::{ConnId, Connection};
use crate::core::Ctx;
use crate::counters::Counter;
use crate::engine::Report;
use crate::event::{ChildId, DownReason, Event, IkeId, Note, Role};
use crate::exchange::auth::Authenticating;
use crate::exchange::auth_answer::HalfOpen;
use crate::exchange::init::Initiating;
use crate::exchange::init_answer::Answering;
use crate::failure::Failure;
use crate::timer::Timer;
use crate::window::Tick;
use crate::work::{WorkId, WorkOutcome};

pub(crate) use receive::Opened;
pub(crate) use shell::{Channel, Shell};
pub(crate) use succession::{Estate, PeerRekey};
pub(crate) use up::{Phase, Up, UpParts};
pub(crate) use wants::{Stage, Task, Want};

/// How long the peer may take to delete an IKE SA that goes: of two that crossed the one that it made, or the one it had
/// before it authenticated anew. strongSwan waits as long before it deletes one of the latter itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// An IKE SA, in whatever state.
pub(crate) struct IkeSa {
    pub(crate) shell: Shell,
    pub(crate) state: State,
}

/// The states of RFC 7296's exchanges; each owns exactly what is true in it.
pub(crate) enum State {
    /// Initiator: IKE_SA_INIT.
    Initiating(Box<Initiating>),
    /// Responder: the answer to IKE_SA_INIT is being computed.
    Answering(Box<Answering>),
    /// Responder: waiting for IKE_AUTH.
    HalfOpen(Box<HalfOpen>),
    /// Initiator: IKE_AUTH.
    Authenticating(Box<Authenticating>),
    /// Authenticated.
    Up(Box<Up>),
    /// Over for us; the peer is being told that its proof did not hold.
    Farewell(Box<Channel>),
    /// Over, and kept a while to repeat the last answer should it have been lost.
    Lingering(Box<Channel>),
    /// Over.
    Closed,
}

impl IkeSa {
    pub(crate) fn new(shell: Shell, state: State) -> Self {
        Self { shell, state }
    }

    pub(crate) fn id(&self) -> IkeId {
        self.shell.id
    }

    pub(crate) fn our_spi(&self) -> IkeSpi {
        self.shell.our_spi()
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Answered and not authenticated. One that only lingers after a failure counts too: it was as cheap to make.
    pub(crate) fn is_half_open(&self) -> bool {
        match &self.state {
            State::Answering(_) | State::HalfOpen(_) => true,
            State::Lingering(_) => self.shell.established.is_none(),
            State::Initiating(_)
            | State::Authenticating(_)
            | State::Farewell(_)
            | State::Up(_)
            | State::Closed => false,
        }
    }

    /// The connection it belongs to, once that is certain.
    pub(crate) fn conn(&self) -> Option<ConnId> {
        match &self.state {
            State::Initiating(state) => Some(state.conn),
            // One that was given up is nobody's any more.
            State::Authenticating(state) => state.leaving.is_none().then_some(state.conn),
            State::Up(up) => Some(up.conn),
            State::Answering(_)
            | State::HalfOpen(_)
            | State::Farewell(_)
            | State::Lingering(_)
            | State::Closed => None,
        }
    }

    /// A dial of ours is under way, and the peer cannot have accepted it yet.
    pub(crate) fn is_initiating(&self) -> bool {
        matches!(self.state, State::Initiating(_))
    }

    /// A dial of ours is under way.
    pub(crate) fn is_dialling(&self) -> bool {
        matches!(self.state, State::Initiating(_) | State::Authenticating(_))
    }

    pub(crate) fn up(&self) -> Option<&Up> {
        match &self.state {
            State::Up(up) => Some(up),
            _ => None,
        }
    }

    /// Up, and neither replaced nor being deleted.
    pub(crate) fn is_current(&self) -> bool {
        self.up().is_some_and(Up::is_current)
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let children = self.up().and_then(Up::next_child_timeout);
        [self.shell.timers.next(), self.shell.window.next_timeout(), children].into_iter().flatten().min()
    }

    /// Second half: the exchange.
    pub(crate) fn handle(&mut self, message: Opened, ctx: &mut Ctx<'_>) {
        let shell = &mut self.shell;
        let state = std::mem::replace(&mut self.state, State::Closed);
        self.state = match state {
            State::Initiating(state) => state.handle(shell, message, ctx),
            State::HalfOpen(state) => state.handle(shell, message, ctx),
            State::Authenticating(state) => state.handle(shell, message, ctx),
            State::Up(up) => up.handle(shell, message, ctx),
            State::Farewell(_) if message.header.flags.response => State::Closed,
            state @ (State::Farewell(_) | State::Answering(_) | State::Lingering(_) | State::Closed) => {
                ctx.count(Counter::Unexpected);
                state
            }
        };
    }

    pub(crate) fn handle_work(&mut self, work: WorkId, outcome: WorkOutcome, ctx: &mut Ctx<'_>) {
        let shell = &mut self.shell;
        let state = std::mem::replace(&mut self.state, State::Closed);
        self.state = match state {
            State::Initiating(state) => state.handle_work(shell, work, outcome, ctx),
            State::Answering(state) => state.handle_work(shell, work, outcome, ctx),
            State::Up(up) => up.handle_work(shell, work, outcome, ctx),
            state @ (State::HalfOpen(_)
            | State::Authenticating(_)
            | State::Farewell(_)
            | State::Lingering(_)
            | State::Closed) => {
                ctx.count(Counter::StaleWork);
                state
            }
        };
    }

    pub(crate) fn handle_timeout(&mut self, ctx: &mut Ctx<'_>) {
        let random = ctx.core.random_u32();
        match self.shell.window.tick(random, ctx.now) {
            Tick::Wait => {}
            Tick::Repeat { sent } => {
                self.shell.repeat_request(ctx);
                if let (3, Some(conn)) = (sent, self.conn()) {
                    ctx.note(Note::NoAnswer { conn, remote: self.shell.path.remote, sent });
                }
            }
            Tick::Dead { sent, exchange } => {
                let failure = Failure::PeerSilent { remote: self.shell.path.remote, exchange, sent };
                self.peer_silent(failure, ctx);
                return;
            }
        }
        while let Some(timer) = self.shell.timers.pop_expired(ctx.now) {
            self.expire(timer, ctx);
        }
        if let State::Up(up) = &mut self.state {
            up.handle_child_timers(&mut self.shell, ctx);
        }
    }

    fn peer_silent(&mut self, failure: Failure, ctx: &mut Ctx<'_>) {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Initiating(state) => self.state = state.give_up(failure, &mut self.shell, ctx),
            State::Authenticating(state) => {
                state.fail(failure, ctx);
            }
            State::Up(mut up) => up.close(&mut self.shell, DownReason::PeerSilent, ctx),
            State::Answering(_)
            | State::HalfOpen(_)
            | State::Farewell(_)
            | State::Lingering(_)
            | State::Closed => {}
        }
    }

    fn expire(&mut self, timer: Timer, ctx: &mut Ctx<'_>) {
        match (&mut self.state, timer) {
            (State::Up(up), timer) => {
                if !up.expire(timer, &mut self.shell, ctx) {
                    self.state = State::Closed;
                }
            }
            (State::Answering(_) | State::HalfOpen(_), Timer::GiveUp) => {
                ctx.count(Counter::HalfOpenExpired);
                self.state = State::Closed;
            }
            (State::Lingering(_), Timer::GiveUp) => self.state = State::Closed,
            // No other timer runs in these states.
            (
                State::Initiating(_)
                | State::Answering(_)
                | State::HalfOpen(_)
                | State::Authenticating(_)
                | State::Farewell(_)
                | State::Lingering(_)
                | State::Closed,
                _,
            ) => {}
        }
    }

    pub(crate) fn handle_report(&mut self, report: Report, ctx: &mut Ctx<'_>) {
        if let State::Up(up) = &mut self.state {
            up.handle_report(report, &mut self.shell, ctx);
        }
    }

    /// Ends it. Up: the peer is told, and events tell the owner at once. A dial is given up; the peer is told where it
    /// may be up there already.
    pub(crate) fn terminate(&mut self, reason: DownReason, ctx: &mut Ctx<'_>) {
        match &mut self.state {
            State::Up(up) => up.delete_ike(reason, &mut self.shell, ctx),
            State::Authenticating(state) => state.give_up(reason, &mut self.shell, ctx),
            State::Initiating(_) => self.state = State::Closed,
            State::Answering(_)
            | State::HalfOpen(_)
            | State::Farewell(_)
            | State::Lingering(_)
            | State::Closed => {}
        }
    }

    /// Another takes its place, and the peer may delete it; if it does not within [`PATIENCE`], we do.
    pub(crate) fn supersede(&mut self, reason: DownReason, ctx: &Ctx<'_>) {
        if let State::Up(up) = &mut self.state {
            up.superseded = Some(reason);
            self.shell.timers.set(Timer::GiveUp, ctx.now + PATIENCE);
        }
    }

    /// Ends it because all ends: what a peer began is dropped, and what still has to be said is repeated each `step`.
    pub(crate) fn wind_up(&mut self, step: Duration, ctx: &mut Ctx<'_>) {
        if matches!(self.state, State::Answering(_) | State::HalfOpen(_)) {
            self.state = State::Closed;
            return;
        }
        self.terminate(DownReason::Commanded, ctx);
        self.shell.window.hurry(step, ctx.now);
    }

    /// Does a request of ours still wait for its answer?
    pub(crate) fn awaits(&self) -> bool {
        !self.shell.window.is_free() || matches!(&self.state, State::Up(up) if !up.wants.is_empty())
    }

    /// Ends it without a word to the peer, which is known to have forgotten it.
    pub(crate) fn drop_silently(&mut self, reason: DownReason, ctx: &mut Ctx<'_>) {
        if let State::Up(mut up) = std::mem::replace(&mut self.state, State::Closed) {
            up.close(&mut self.shell, reason, ctx);
        }
    }

    /// A dial's turn has come.
    pub(crate) fn begin(&mut self, ctx: &mut Ctx<'_>) {
        if let State::Initiating(state) = &mut self.state {
            state.begin(&mut self.shell, ctx);
        }
    }

    pub(crate) fn reconfigure(&mut self, connection: &Arc<Connection>) {
        if let State::Up(up) = &mut self.state {
            up.config = Arc::clone(connection);
        }
    }

    pub(crate) fn want_rekey_ike(&mut self, ctx: &mut Ctx<'_>) {
        self.want(Want::RekeyIke, ctx);
    }

    pub(crate) fn want_liveness(&mut self, ctx: &mut Ctx<'_>) {
        self.want(Want::Liveness, ctx);
    }

    pub(crate) fn want_child(&mut self, ctx: &mut Ctx<'_>) {
        if self.up().is_some_and(|up| !up.has_child()) {
            self.want(Want::CreateChild, ctx);
        }
    }

    pub(crate) fn want_rekey_children(&mut self, ctx: &mut Ctx<'_>) {
        let installed = self.up().map(Up::installed_children).unwrap_or_default();
        for child in installed {
            self.want(Want::RekeyChild(child), ctx);
        }
    }

    pub(crate) fn want(&mut self, want: Want, ctx: &mut Ctx<'_>) {
        if let State::Up(up) = &mut self.state {
            up.want(want, &mut self.shell, ctx);
        }
    }

    /// The CHILD SAs, and what else a successor takes over; `None` when there is nothing to hand on.
    pub(crate) fn bequeath(&mut self) -> Option<Estate> {
        match &mut self.state {
            State::Up(up) => Some(up.bequeath()),
            _ => None,
        }
    }

    /// The peer speaks on the successor it made: that one it is, although our own attempt is unanswered.
    pub(crate) fn adopt_peers(&mut self, new: IkeId, ctx: &mut Ctx<'_>) {
        if let State::Up(up) = &mut self.state
            && up.peer_rekey.take_if(|rekey| rekey.new == new).is_some()
        {
            up.adopt(new, Role::Responder, &mut self.shell, ctx);
        }
    }

    /// It is over, and was told of; only its last answer may be wanted again.
    pub(crate) fn linger(&mut self, ctx: &mut Ctx<'_>) {
        self.state = match std::mem::replace(&mut self.state, State::Closed) {
            State::Up(up) => {
                self.shell.linger(ctx);
                State::Lingering(Box::new(up.channel))
            }
            other => other,
        };
    }

    pub(crate) fn terminate_child(&mut self, child: ChildId, ctx: &mut Ctx<'_>) {
        if let State::Up(up) = &mut self.state {
            up.close_child(child, DownReason::Commanded, &mut self.shell, ctx);
        }
    }

    /// Its successor, told of already, is gone too.
    pub(crate) fn end_without_heir(&mut self, new: IkeId, ctx: &mut Ctx<'_>) {
        if let State::Up(up) = &mut self.state {
            up.tell_down(DownReason::PeerDeleted, ctx);
            ctx.event(Event::IkeDown {
                conn: up.conn,
                ike: new,
                reason: DownReason::PeerDeleted,
                replaced: false,
            });
        }
    }

    pub(crate) fn inherit(&mut self, estate: Estate, ctx: &mut Ctx<'_>) {
        if let State::Up(up) = &mut self.state {
            up.inherit(estate, &mut self.shell, ctx);
        }
    }
}
