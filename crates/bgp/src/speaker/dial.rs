//! Connections come to be: dialled or accepted (RFC 4271 section 8.2.2, Connect and Active).

use std::net::SocketAddr;
use std::time::Instant;

use bgp_rib::NeighborId;
use bgp_wire::{Cutter, MessageType};

use super::Speaker;
use crate::connection::{Connection, Direction, Output, Stage};
use crate::event::{ConnId, Effect, Event, ResetCause};
use crate::open;
use crate::timer::{CONNECT_TIMEOUT, FIRST_DIAL, LARGE_HOLD};

impl Speaker {
    /// Dials, or says when, if the neighbour has no connection and should have one.
    pub(super) fn dial(&mut self, id: NeighborId, now: Instant) {
        let Some(neighbor) = self.neighbors.get_mut(&id) else { return };
        if !neighbor.is_wanted() || neighbor.config.passive || !neighbor.connections.is_empty() {
            neighbor.retry_at = None;
            return;
        }
        if neighbor.dialling.is_some() {
            // The end of this dial says when the next one is; another time now would be due and never served.
            neighbor.retry_at = None;
            return;
        }
        let jitter = &mut self.jitter;
        let at = *neighbor.retry_at.get_or_insert_with(|| now + jitter.up_to(FIRST_DIAL));
        if at > now {
            return;
        }
        let conn = ConnId(self.next_conn);
        self.next_conn += 1;
        neighbor.retry_at = None;
        neighbor.dialling = Some((conn, now + CONNECT_TIMEOUT));
        self.owners.insert(conn, id);
        self.effects.push_back(Effect::Connect { conn, neighbor: id });
    }

    /// Stops a dial under way.
    pub(super) fn abort_dial(&mut self, id: NeighborId) {
        let dialling = self.neighbors.get_mut(&id).and_then(|neighbor| neighbor.dialling.take());
        if let Some((conn, _)) = dialling {
            self.owners.remove(&conn);
            self.effects.push_back(Effect::Close { conn, drain: false });
        }
    }

    /// A dial came to nothing. While a connection of the peer's is there that is no news.
    pub(super) fn dial_failed(&mut self, id: NeighborId, conn: ConnId, cause: ResetCause, now: Instant) {
        let Some(neighbor) = self.neighbors.get_mut(&id) else { return };
        if neighbor.dialling.is_none_or(|(dialled, _)| dialled != conn) {
            return;
        }
        neighbor.dialling = None;
        self.owners.remove(&conn);
        self.touched.insert(id);
        if neighbor.connections.is_empty() {
            neighbor.schedule_retry(&mut self.jitter, now);
            neighbor.note_reset(cause.clone(), false, now);
            self.event(Event::Reset { neighbor: id, established: false, cause, lost: Vec::new() });
        }
    }

    /// The peer's connection: taken whenever a session is wanted. A second one shows that the peer gave up
    /// the first, unless that is established; then the two are judged when its OPEN is there.
    pub(super) fn accept(
        &mut self,
        id: NeighborId,
        conn: ConnId,
        local: SocketAddr,
        remote: SocketAddr,
        now: Instant,
    ) {
        let refuse = Effect::Close { conn, drain: false };
        let known = self.owners.contains_key(&conn);
        let Some(neighbor) = self.neighbors.get_mut(&id) else {
            return self.effects.push_back(refuse);
        };
        if !neighbor.is_wanted() || known || conn.is_dialled() {
            neighbor.counters.refused += 1;
            return self.effects.push_back(refuse);
        }
        let abandoned: Vec<ConnId> = neighbor
            .of_direction(Direction::Incoming)
            .filter(|(_, connection)| !connection.is_established())
            .map(|(conn, _)| conn)
            .collect();
        for old in abandoned {
            self.drop_quietly(id, old);
        }
        self.open_connection(id, conn, Direction::Incoming, local, remote, now);
    }

    /// TCP is up: our OPEN goes out and the large hold timer runs.
    pub(super) fn open_connection(
        &mut self,
        id: NeighborId,
        conn: ConnId,
        direction: Direction,
        local: SocketAddr,
        remote: SocketAddr,
        now: Instant,
    ) {
        let Some(neighbor) = self.neighbors.get_mut(&id) else { return };
        neighbor.counters.sent.count(MessageType::OPEN);
        let hello = open::ours(&self.config, &neighbor.config, neighbor.bare).encode();
        let connection = Connection {
            direction,
            local,
            remote,
            stage: Stage::OpenSent,
            context: open::initial_context(&neighbor.config),
            cutter: Cutter::new(),
            output: Output { control: hello, ..Output::default() },
            hold_at: Some(now + LARGE_HOLD),
            last_read: now,
            last_write: now,
            last_update: None,
            prove_by: None,
        };
        neighbor.connections.insert(conn, connection);
        self.owners.insert(conn, id);
        self.touched.insert(id);
    }
}
