//! What goes out on a connection: one bounded write at a time, made when the last one is done.

use std::time::Instant;

use bgp_rib::NeighborId;
use bgp_wire::MessageType;

use super::Speaker;
use crate::event::{ConnId, Effect};

impl Speaker {
    /// Begins a write on every connection that is free and has something to say. Routes are made into
    /// messages only here, from the latest state, so a slow peer costs no memory and hears no history;
    /// a KEEPALIVE that is due goes first.
    pub(super) fn pump(&mut self, id: NeighborId, now: Instant) {
        let Some(neighbor) = self.neighbors.get_mut(&id) else { return };
        for (conn, connection) in &mut neighbor.connections {
            if !connection.output.is_free() {
                continue;
            }
            let (mut bytes, keepalive) = connection.output.take_control();
            if keepalive {
                neighbor.counters.sent.count(MessageType::KEEPALIVE);
            }
            if let Some(session) = neighbor.session.as_mut().filter(|session| session.conn == *conn) {
                session.fill(&mut bytes, &mut neighbor.counters);
            }
            if bytes.is_empty() {
                continue;
            }
            let negotiated = connection.opened().map(|opened| opened.negotiated.clone());
            connection.output.begin(bytes.len(), negotiated.as_ref(), &mut self.jitter, now);
            self.effects.push_back(Effect::Write { conn: *conn, bytes });
        }
    }

    pub(super) fn written(&mut self, id: NeighborId, conn: ConnId, octets: usize, now: Instant) {
        let Some(neighbor) = self.neighbors.get_mut(&id) else { return };
        let Some(connection) = neighbor.connections.get_mut(&conn) else { return };
        let send_hold = connection.negotiated().and_then(|negotiated| negotiated.send_hold);
        connection.last_write = now;
        connection.output.progress(octets, send_hold, now);
        self.touched.insert(id);
    }
}
