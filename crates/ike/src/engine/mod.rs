//! The machine: all connections, all IKE SAs, and the index from SPIs to them.

mod connections;
mod dispatch;
mod duplicates;
mod halfopen;
mod index;
mod pace;
mod register;
mod rooms;
mod standing;
mod views;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::{ConnId, Connection, Limits, Path};
use crate::cookie::CookieJar;
use crate::core::{Core, Cross, Ctx};
use crate::counters::{Counter, Counters};
use crate::event::{ChildId, Event, IkeId, Transmit};
use crate::sa::IkeSa;
use crate::timer::Timer;
use crate::work::{Work, WorkId, WorkOutcome};

pub(crate) use index::Index;
pub(crate) use register::Door;

use pace::Pace;
use register::Register;
use rooms::Rooms;

/// An order from the owner of the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Bring the connection up: dial where there is no IKE SA, make a CHILD SA where the IKE SA has none, and do
    /// nothing where both are there or under way.
    Initiate {
        /// Which.
        conn: ConnId,
        /// From which of our addresses to which of the peer's.
        path: Path,
    },
    /// End the connection's IKE SAs and all under them; the peer is told.
    Terminate {
        /// Which.
        conn: ConnId,
    },
    /// End one IKE SA and all under it; the peer is told.
    TerminateIke {
        /// Which.
        ike: IkeId,
    },
    /// End one CHILD SA; the peer is told.
    TerminateChild {
        /// Which.
        child: ChildId,
    },
    /// Rekey the connection's IKE SA now.
    RekeyIke {
        /// Which.
        conn: ConnId,
    },
    /// Rekey the connection's CHILD SAs now.
    RekeyChild {
        /// Which.
        conn: ConnId,
    },
    /// Ask the peer for a sign of life now.
    Probe {
        /// Which.
        conn: ConnId,
    },
}

/// What the datapath saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// Authenticated packets came in on this SPI since the last report: the peer lives (RFC 7296 section 2.4).
    Inbound {
        /// SPI of packets to us.
        spi_in: u32,
    },
    /// A CHILD SA nears a hard limit of bytes, packets or sequence numbers: it must be rekeyed at once.
    SoftLimit {
        /// SPI of packets to us of that CHILD SA, whichever direction nears its limit.
        spi_in: u32,
    },
    /// A CHILD SA reached a hard limit: it is deleted.
    HardLimit {
        /// SPI of packets to us.
        spi_in: u32,
    },
    /// An authenticated packet on this SPI came from elsewhere: the peer's NAT mapping moved.
    PathMoved {
        /// SPI of packets to us.
        spi_in: u32,
        /// Where from.
        remote: SocketAddr,
    },
}

/// The IKEv2 engine.
///
/// Feed it with [`upsert_connection`](Self::upsert_connection), [`remove_connection`](Self::remove_connection),
/// [`handle_datagram`](Self::handle_datagram), [`handle_command`](Self::handle_command),
/// [`handle_work`](Self::handle_work), [`handle_datapath`](Self::handle_datapath) and, once the instant of
/// [`poll_timeout`](Self::poll_timeout) has come, [`handle_timeout`](Self::handle_timeout). `now` never goes back.
///
/// After each of these drain, in this order and each until it is `None`: [`poll_event`](Self::poll_event) (so that
/// keys are in place before the peer learns that it may use them), [`poll_transmit`](Self::poll_transmit) and
/// [`poll_work`](Self::poll_work); then arm one timer for `poll_timeout`.
pub struct Engine {
    pub(crate) core: Core,
    connections: Register,
    sas: BTreeMap<IkeId, IkeSa>,
    /// To be told of every change of `sas`, by `track` and `forget`.
    index: Index,
    rooms: Rooms,
    pace: Pace,
    /// Our SPI of each IKE SA.
    spis: BTreeMap<u64, IkeId>,
    cookies: CookieJar,
    /// All ends: nobody is let in.
    closing: bool,
    /// Said once that the bound on half-open IKE SAs was reached, or cookies switched on.
    flood: halfopen::Flood,
}

impl Engine {
    /// An engine without connections. All its randomness (SPIs, nonces, private values, jitter) comes from `seed`,
    /// which must be unpredictable and used once.
    #[must_use]
    pub fn new(seed: [u8; 32], limits: Limits) -> Self {
        let mut core = Core::new(seed, limits);
        let cookies = CookieJar::new(core.secret());
        Self {
            core,
            connections: Register::default(),
            sas: BTreeMap::new(),
            index: Index::default(),
            rooms: Rooms::default(),
            pace: Pace::default(),
            spis: BTreeMap::new(),
            cookies,
            closing: false,
            flood: halfopen::Flood::default(),
        }
    }

    /// From now on SPIs for packets to us tell which of `receivers` shall have them: those of connection N leave the
    /// rest N when divided by it. With one receiver, as at first, an SPI says nothing.
    pub fn deal_spis(&mut self, receivers: NonZeroU32) {
        self.core.receivers = receivers;
    }

    /// Adds or changes a connection.
    ///
    /// Running SAs keep what they were negotiated with; the new values hold from their next negotiation on. The caller
    /// that wants them to hold at once sends [`Command::Terminate`] and dials again.
    pub fn upsert_connection(&mut self, conn: ConnId, connection: Connection, now: Instant) {
        let connection = Arc::new(connection);
        self.connections.insert(conn, Arc::clone(&connection));
        self.reconfigure(conn, &connection, now);
    }

    /// Removes a connection; its SAs end (reason [`Reconfigured`](crate::DownReason::Reconfigured)), the peer is told.
    pub fn remove_connection(&mut self, conn: ConnId, now: Instant) {
        self.terminate(conn, crate::DownReason::Reconfigured, now);
        self.connections.remove(conn);
    }

    /// Everything ends: every IKE SA is deleted, its requests repeated each `step` until they are answered, and nobody
    /// is let in any more. It is over when [`is_wound_up`](Self::is_wound_up) says so; how long that is waited for is
    /// the owner's to say.
    pub fn wind_up(&mut self, step: Duration, now: Instant) {
        self.closing = true;
        let all: Vec<IkeId> = self.sas.keys().copied().collect();
        for ike in all {
            self.with(ike, now, |sa, ctx| sa.wind_up(step, ctx));
        }
        self.settle(now);
    }

    /// Has every peer answered what it was told?
    #[must_use]
    pub fn is_wound_up(&self) -> bool {
        !self.sas.values().any(IkeSa::awaits)
    }

    /// A datagram came in, its non-ESP marker (if it came on local port 4500) already taken off.
    pub fn handle_datagram(&mut self, path: Path, bytes: &[u8], now: Instant) {
        self.core.counters.count(Counter::Received);
        self.dispatch(path, bytes, now);
        self.settle(now);
    }

    /// An order. One about an unknown connection or SA is ignored.
    pub fn handle_command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Initiate { conn, path } => self.initiate(conn, path, now),
            Command::Terminate { conn } => self.terminate(conn, crate::DownReason::Commanded, now),
            Command::TerminateIke { ike } => {
                self.with(ike, now, |sa, ctx| sa.terminate(crate::DownReason::Commanded, ctx));
            }
            Command::TerminateChild { child } => self.terminate_child(child, now),
            Command::RekeyIke { conn } => self.each_current(conn, now, IkeSa::want_rekey_ike),
            Command::RekeyChild { conn } => self.each_current(conn, now, IkeSa::want_rekey_children),
            Command::Probe { conn } => self.each_current(conn, now, IkeSa::want_liveness),
        }
        self.settle(now);
    }

    /// A piece of work is done. One that nobody waits for any more is ignored.
    pub fn handle_work(&mut self, work: WorkId, outcome: WorkOutcome, now: Instant) {
        match self.core.owner_of(work) {
            Some(ike) => {
                if matches!(outcome, WorkOutcome::Refused) {
                    self.core.counters.count(Counter::WorkRefused);
                }
                self.tell_whether_alone(ike);
                self.with(ike, now, |sa, ctx| sa.handle_work(work, outcome, ctx));
            }
            None => self.core.counters.count(Counter::StaleWork),
        }
        self.settle(now);
    }

    /// The datapath saw something. A report about an unknown SPI is ignored: it raced with a deletion.
    pub fn handle_datapath(&mut self, report: Report, now: Instant) {
        let (Report::Inbound { spi_in }
        | Report::SoftLimit { spi_in }
        | Report::HardLimit { spi_in }
        | Report::PathMoved { spi_in, .. }) = report;
        if let Some(ike) = self.index.with_child(spi_in) {
            self.with(ike, now, |sa, ctx| sa.handle_report(report, ctx));
        }
        self.settle(now);
    }

    /// The instant of [`poll_timeout`](Self::poll_timeout) has come. Calling it early does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        for ike in self.index.due(now) {
            self.with(ike, now, IkeSa::handle_timeout);
        }
        self.settle(now);
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.core.transmits.pop_front()
    }

    /// The next piece of work to have performed.
    pub fn poll_work(&mut self) -> Option<(WorkId, Work)> {
        self.core.works.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.core.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is next due. `None`: nothing waits.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.index.next_timeout()
    }

    /// What was dropped, refused and repeated since the start.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.core.counters
    }

    /// Runs one step of one IKE SA and takes it off the tables when that closed it.
    fn with(&mut self, ike: IkeId, now: Instant, step: impl FnOnce(&mut IkeSa, &mut Ctx<'_>)) {
        let Some(sa) = self.sas.get_mut(&ike) else { return };
        let mut ctx = Ctx { core: &mut self.core, connections: &self.connections, index: &self.index, now };
        step(sa, &mut ctx);
        if sa.is_closed() {
            self.forget(ike, now);
        } else {
            self.track(ike, now);
        }
    }

    fn insert(&mut self, sa: IkeSa, now: Instant) {
        let id = sa.id();
        self.spis.insert(sa.our_spi().0, id);
        if sa.is_initiating() {
            self.pace.wait(id, sa.shell.path, now);
        }
        self.sas.insert(id, sa);
        self.track(id, now);
    }

    /// Notes where an IKE SA stands after a step.
    fn track(&mut self, ike: IkeId, now: Instant) {
        let Some(sa) = self.sas.get(&ike) else { return };
        self.index.note(sa);
        if !sa.is_half_open() {
            self.rooms.free(ike);
        }
        self.pace.note(ike, sa.is_dialling().then(|| sa.shell.window.progress()), now);
    }

    fn forget(&mut self, ike: IkeId, now: Instant) {
        if let Some(sa) = self.sas.remove(&ike) {
            self.spis.remove(&sa.our_spi().0);
            self.core.drop_works(ike);
        }
        self.index.forget(ike);
        self.rooms.free(ike);
        self.pace.note(ike, None, now);
    }

    /// What one IKE SA asked to be done to another, and the dials whose turn it is, until nothing is left to do.
    fn settle(&mut self, now: Instant) {
        self.settle_crosses(now);
        while let Some(ike) = self.pace.next(now) {
            if self.sas.contains_key(&ike) {
                self.with(ike, now, IkeSa::begin);
                self.settle_crosses(now);
            } else {
                // Ended while it waited.
                self.pace.note(ike, None, now);
            }
        }
    }

    fn settle_crosses(&mut self, now: Instant) {
        while let Some(cross) = self.core.crosses.pop_front() {
            match cross {
                Cross::Spawn(sa) => self.insert(*sa, now),
                Cross::Adopt { old, new } => self.adopt(old, new, now),
                Cross::Orphan { old } => self.orphan(old, now),
                Cross::Disown { new } => {
                    self.with(new, now, |sa, ctx| sa.terminate(crate::DownReason::Redundant, ctx));
                }
                Cross::Linger { ike } => self.with(ike, now, IkeSa::linger),
                Cross::Established { ike, conn, initial_contact } => {
                    self.end_duplicates(ike, conn, initial_contact, now);
                }
            }
        }
    }

    /// The peer may still be about to delete it: it stays for one more repetition.
    fn orphan(&mut self, old: IkeId, now: Instant) {
        let at = now + ORPHAN;
        let of_old = |sa: &&IkeSa| sa.up().is_some_and(|up| up.inherits_from == Some(old));
        let heirs: Vec<IkeId> = self.sas.values().filter(of_old).map(IkeSa::id).collect();
        for ike in heirs {
            self.with(ike, now, |sa, _| sa.shell.timers.set(Timer::GiveUp, at));
        }
    }

    /// The children of an IKE SA that was rekeyed move to its successor (RFC 7296 section 2.8).
    fn adopt(&mut self, old: IkeId, new: IkeId, now: Instant) {
        if self.sas.get(&new).is_none_or(|sa| sa.up().is_none()) {
            // The peer ended it before it was taken into use: nothing goes on, and that must be known.
            self.with(old, now, |sa, ctx| sa.end_without_heir(new, ctx));
            return;
        }
        let Some(estate) = self.sas.get_mut(&old).and_then(IkeSa::bequeath) else { return };
        self.track(old, now);
        self.with(new, now, |sa, ctx| sa.inherit(estate, ctx));
    }
}

/// Longer than the longest gap between repetitions of a request.
const ORPHAN: Duration = Duration::from_secs(35);

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Engine({} connections, {} IKE SAs)", self.connections.len(), self.sas.len())
    }
}
