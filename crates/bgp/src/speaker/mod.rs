//! The speaker: all neighbours, one Loc-RIB.

mod arbitrate;
mod command;
mod dial;
mod end;
mod graceful;
mod output;
mod receive;
mod routes;
mod timeout;
mod views;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use bgp_rib::{Guard, LocRib, NeighborId, NextHops};
use inet::Prefix;

pub use command::Clear;

use crate::config::SpeakerConfig;
use crate::connection::Direction;
use crate::event::{BestRoute, ConnId, ConnectError, Effect, Event, ResetCause, RouteDelta};
use crate::neighbor::Neighbor;
use crate::timer::Jitter;

/// The BGP speaker.
///
/// Feed: `upsert_neighbor`, `transport_up`, `handle_connected`, `handle_accepted`, `handle_bytes`,
/// `handle_written`, `handle_closed`, `handle_timeout` and the commands, each with the time. Then drain, until each
/// is `None`: `poll_effect` (perform in this order), `poll_route`, `poll_event`. Last, ask `poll_timeout` when to
/// call `handle_timeout`; earlier or repeated calls do no harm. Time must not run backwards.
///
/// An effect that fails is an input: a dial by `handle_connect_failed`, anything else by `handle_closed`.
/// Inputs for a connection whose `Close` was issued are ignored, so the two may cross.
#[derive(Debug)]
pub struct Speaker {
    config: SpeakerConfig,
    neighbors: BTreeMap<NeighborId, Neighbor>,
    owners: BTreeMap<ConnId, NeighborId>,
    next_conn: u64,
    jitter: Jitter,
    given_guard: Guard,
    guard: Guard,
    next_hops: Option<NextHops>,
    originated: BTreeSet<Prefix>,
    loc: LocRib,
    effects: VecDeque<Effect>,
    events: VecDeque<Event>,
    changed: BTreeSet<Prefix>,
    touched: BTreeSet<NeighborId>,
}

impl Speaker {
    /// A speaker without neighbours. The seed feeds the jitter of its timers alone.
    #[must_use]
    pub fn new(config: SpeakerConfig, seed: [u8; 32]) -> Self {
        let loc = LocRib::new(config.decision);
        Self {
            config,
            neighbors: BTreeMap::new(),
            owners: BTreeMap::new(),
            next_conn: ConnId::DIALLED,
            jitter: Jitter::new(seed),
            given_guard: Guard::new(),
            guard: Guard::new(),
            next_hops: None,
            originated: BTreeSet::new(),
            loc,
            effects: VecDeque::new(),
            events: VecDeque::new(),
            changed: BTreeSet::new(),
            touched: BTreeSet::new(),
        }
    }

    /// One to take this one's place, without neighbours too. It counts its connections on from here: what is still to
    /// come of the old ones is not taken for the new ones'. What it knows of the host's routes holds on too.
    #[must_use]
    pub fn successor(&self, config: SpeakerConfig, seed: [u8; 32]) -> Self {
        Self { next_conn: self.next_conn, next_hops: self.next_hops.clone(), ..Self::new(config, seed) }
    }

    /// What it was told to be.
    #[must_use]
    pub fn config(&self) -> &SpeakerConfig {
        &self.config
    }

    /// A dial succeeded.
    pub fn handle_connected(&mut self, conn: ConnId, local: SocketAddr, remote: SocketAddr, now: Instant) {
        let Some(id) = self.owners.get(&conn).copied() else { return };
        let Some(neighbor) = self.neighbors.get_mut(&id) else { return };
        if neighbor.dialling.is_some_and(|(dialled, _)| dialled == conn) {
            neighbor.dialling = None;
            self.open_connection(id, conn, Direction::Outgoing, local, remote, now);
        }
        self.settle(now);
    }

    /// A dial failed.
    pub fn handle_connect_failed(&mut self, conn: ConnId, error: ConnectError, now: Instant) {
        if let Some(id) = self.owners.get(&conn).copied() {
            self.dial_failed(id, conn, ResetCause::ConnectFailed(error), now);
        }
        self.settle(now);
    }

    /// The neighbour connected to us. `conn` is the caller's number, see [`ConnId`]. Where no connection is
    /// wanted the answer is a `Close` at once and without a word: a NOTIFICATION would send the peer
    /// into its own back-off.
    pub fn handle_accepted(
        &mut self,
        id: NeighborId,
        conn: ConnId,
        local: SocketAddr,
        remote: SocketAddr,
        now: Instant,
    ) {
        self.accept(id, conn, local, remote, now);
        self.settle(now);
    }

    /// Bytes came.
    pub fn handle_bytes(&mut self, conn: ConnId, bytes: &[u8], now: Instant) {
        if let Some(id) = self.owners.get(&conn).copied() {
            self.receive(id, conn, bytes, now);
        }
        self.settle(now);
    }

    /// So many octets of what was handed out have been taken by the socket.
    pub fn handle_written(&mut self, conn: ConnId, octets: usize, now: Instant) {
        if let Some(id) = self.owners.get(&conn).copied() {
            self.written(id, conn, octets, now);
        }
        self.settle(now);
    }

    /// The connection is gone: end of file, reset, or an error on it.
    pub fn handle_closed(&mut self, conn: ConnId, now: Instant) {
        if let Some(id) = self.owners.get(&conn).copied() {
            let dialling = self.neighbors.get(&id).and_then(|neighbor| neighbor.dialling);
            if dialling.is_some_and(|(dialled, _)| dialled == conn) {
                self.dial_failed(id, conn, ResetCause::ConnectFailed(ConnectError::Other), now);
            } else {
                self.end(id, conn, ResetCause::Closed, now);
            }
        }
        self.settle(now);
    }

    /// What to do next; `None` when all is handed out.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The next prefix whose wanted forwarding state may have changed, in prefix order.
    pub fn poll_route(&mut self) -> Option<RouteDelta> {
        let prefix = self.changed.pop_first()?;
        let best = self.loc.best(&prefix).and_then(|(path, _)| {
            Some(BestRoute {
                neighbor: path.source.neighbor()?,
                next_hop: path.attributes.next_hop.address(),
                attributes: path.attributes.clone(),
            })
        });
        Some(RouteDelta { prefix, best })
    }

    /// When [`Speaker::handle_timeout`] wants to be called; `None`: nothing runs.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.neighbors.values().filter_map(Neighbor::deadline).min()
    }

    fn event(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// Brings every neighbour that was touched to rest: collisions, dials, output, state.
    fn settle(&mut self, now: Instant) {
        while let Some(id) = self.touched.pop_first() {
            self.arbitrate(id, now);
            self.dial(id, now);
            self.pump(id, now);
            self.check_export_limit(id);
            self.show_state(id, now);
        }
    }

    fn show_state(&mut self, id: NeighborId, now: Instant) {
        let Some(neighbor) = self.neighbors.get_mut(&id) else { return };
        let (from, to) = (neighbor.shown, neighbor.state());
        if from != to {
            neighbor.shown = to;
            neighbor.since = now;
            self.event(Event::State { neighbor: id, from, to });
        }
    }
}
