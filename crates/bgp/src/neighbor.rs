//! A neighbour: what it was told to be, what it is at, and what lasts longer than its sessions.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bgp_rib::{AdjRibIn, Peer};

use crate::config::NeighborConfig;
use crate::connection::{Connection, Direction, Stage};
use crate::counters::NeighborCounters;
use crate::event::{ConnId, ResetCause};
use crate::session::Session;
use crate::timer::{IDLE_HOLD_FORGET, IDLE_HOLD_MAX, IDLE_HOLD_MIN, Jitter, RETRY_MAX, RETRY_MIN, doubled};

/// The state of the session machine (RFC 4271 section 8.2.2), seen over all connections of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Nothing is tried and nothing accepted.
    Idle,
    /// A dial is under way.
    Connect,
    /// Waiting to dial again, or for the peer's connection.
    Active,
    /// Our OPEN went out.
    OpenSent,
    /// Both OPENs are in order.
    OpenConfirm,
    /// Routes are exchanged.
    Established,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "Idle",
            Self::Connect => "Connect",
            Self::Active => "Active",
            Self::OpenSent => "OpenSent",
            Self::OpenConfirm => "OpenConfirm",
            Self::Established => "Established",
        })
    }
}

/// Is the way to the neighbour there?
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    Up,
    Down(Arc<str>),
}

/// Why a neighbour waits in Idle although its transport is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// After an error.
    BackOff(Instant),
    /// After too many prefixes; `None` until cleared by hand.
    PrefixLimit(Option<Instant>),
}

impl Hold {
    pub(crate) fn until(self) -> Option<Instant> {
        match self {
            Self::BackOff(at) => Some(at),
            Self::PrefixLimit(at) => at,
        }
    }
}

/// The last end of a session or an attempt.
#[derive(Clone, Debug)]
pub(crate) struct LastReset {
    pub(crate) at: Instant,
    pub(crate) cause: ResetCause,
}

/// Routes of a session that is lost, kept while their peer restarts (RFC 4724 section 4.2).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retained {
    /// Whose they are.
    pub(crate) peer: Peer,
    /// Our end of that session.
    pub(crate) local: IpAddr,
    /// The restart time the peer asked for is over then.
    pub(crate) until: Instant,
}

/// Everything of one neighbour.
#[derive(Debug)]
pub(crate) struct Neighbor {
    pub(crate) config: NeighborConfig,
    pub(crate) gate: Gate,
    pub(crate) hold: Option<Hold>,
    pub(crate) dialling: Option<(ConnId, Instant)>,
    pub(crate) retry_at: Option<Instant>,
    /// Dials in a row that failed.
    pub(crate) failed_dials: u32,
    /// Sessions in a row that ended in error before they were long established.
    pub(crate) errors: u32,
    /// The peer refused a capability: the next OPEN goes without any (RFC 5492 section 3).
    pub(crate) bare: bool,
    pub(crate) connections: BTreeMap<ConnId, Connection>,
    pub(crate) session: Option<Session>,
    pub(crate) adj_in: AdjRibIn,
    /// While there is no session: what stands in `adj_in` is of the one before.
    pub(crate) retained: Option<Retained>,
    pub(crate) counters: NeighborCounters,
    pub(crate) last_reset: Option<LastReset>,
    pub(crate) last_malformed: Option<(Instant, Vec<u8>)>,
    pub(crate) shown: State,
    pub(crate) since: Instant,
}

impl Neighbor {
    pub(crate) fn new(config: NeighborConfig, now: Instant) -> Self {
        let gate = match &config.tunnel {
            Some(tunnel) => Gate::Down(format!("tunnel {tunnel} is not up yet").into()),
            None => Gate::Up,
        };
        Self {
            config,
            gate,
            hold: None,
            dialling: None,
            retry_at: None,
            failed_dials: 0,
            errors: 0,
            bare: false,
            connections: BTreeMap::new(),
            session: None,
            adj_in: AdjRibIn::new(),
            retained: None,
            counters: NeighborCounters::default(),
            last_reset: None,
            last_malformed: None,
            shown: State::Idle,
            since: now,
        }
    }

    /// May a session be at all?
    pub(crate) fn is_wanted(&self) -> bool {
        self.gate == Gate::Up && self.config.shutdown.is_none() && self.hold.is_none()
    }

    /// The furthest any connection has come.
    pub(crate) fn state(&self) -> State {
        let of_connection = self.connections.values().map(|connection| match connection.stage {
            Stage::OpenSent | Stage::Held { .. } => State::OpenSent,
            Stage::OpenConfirm(_) => State::OpenConfirm,
            Stage::Established(_) => State::Established,
        });
        match of_connection.max() {
            Some(state) => state,
            None if !self.is_wanted() => State::Idle,
            None if self.dialling.is_some() => State::Connect,
            None => State::Active,
        }
    }

    /// The connections of one direction.
    pub(crate) fn of_direction(&self, direction: Direction) -> impl Iterator<Item = (ConnId, &Connection)> {
        self.connections
            .iter()
            .filter(move |(_, connection)| connection.direction == direction)
            .map(|(conn, connection)| (*conn, connection))
    }

    /// The earliest of all deadlines.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let of_connections = self.connections.values().filter_map(Connection::deadline);
        let of_session = self
            .session
            .iter()
            .flat_map(|session| session.stale.iter().map(|(_, at)| *at).chain(session.end_of_rib_by));
        let dialled = self.dialling.map(|(_, at)| at);
        let restarted = self.retained.map(|retained| retained.until);
        let own = [self.retry_at, dialled, self.hold.and_then(Hold::until), restarted];
        own.into_iter().flatten().chain(of_connections).chain(of_session).min()
    }

    /// Keeps the cause for the operator. A peer that answers a NOTIFICATION by closing the next attempts
    /// without a word waits out its own back-off: that must not hide what was said.
    pub(crate) fn note_reset(&mut self, cause: ResetCause, established: bool, now: Instant) {
        let spoken = |last: &LastReset| matches!(last.cause, ResetCause::Sent(_) | ResetCause::Received(_));
        let wordless = cause == ResetCause::Closed && !established;
        if !(wordless && self.last_reset.as_ref().is_some_and(spoken)) {
            self.last_reset = Some(LastReset { at: now, cause });
        }
    }

    /// A new tunnel is a new beginning: what went wrong through the old one says nothing of it.
    pub(crate) fn fresh_start(&mut self) {
        self.failed_dials = 0;
        self.errors = 0;
        self.bare = false;
        self.retry_at = None;
        self.hold = self.hold.filter(|hold| matches!(hold, Hold::PrefixLimit(_)));
    }

    /// A dial failed: the next one later.
    pub(crate) fn schedule_retry(&mut self, jitter: &mut Jitter, now: Instant) {
        let wait = doubled(RETRY_MIN, self.failed_dials, RETRY_MAX);
        self.failed_dials = self.failed_dials.saturating_add(1);
        self.retry_at = Some(now + jitter.shorten(wait));
    }

    /// A session or an OPEN ended in error: wait in Idle, longer each time. Only a session that stayed
    /// established for long makes the count begin anew.
    pub(crate) fn back_off(
        &mut self,
        established_for: Option<std::time::Duration>,
        jitter: &mut Jitter,
        now: Instant,
    ) {
        if established_for.is_some_and(|age| age >= IDLE_HOLD_FORGET) {
            self.errors = 0;
        }
        let wait = doubled(IDLE_HOLD_MIN, self.errors, IDLE_HOLD_MAX);
        self.errors = self.errors.saturating_add(1);
        self.hold = Some(Hold::BackOff(now + jitter.shorten(wait)));
    }
}
