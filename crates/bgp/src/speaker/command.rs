//! What an operator, a configuration or a tunnel says.

use std::collections::btree_map::Entry;
use std::time::Instant;

use bgp_rib::NeighborId;
use bgp_wire::{Notification, NotificationCode};

use super::Speaker;
use crate::config::{Change, Field, NeighborConfig};
use crate::event::{ConnId, ResetCause};
use crate::neighbor::{Gate, Neighbor};
use crate::timer::CHALLENGE_TIME;

/// How a neighbour is to be cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clear {
    /// End the session and begin anew.
    Hard,
    /// Judge what it sent anew, and ask it to send all again if it can.
    SoftIn,
    /// Tell it all again.
    SoftOut,
}

impl Speaker {
    /// Adds a neighbour or changes one; answers what that meant for its session. A neighbour with a tunnel
    /// waits for [`Speaker::transport_up`].
    pub fn upsert_neighbor(&mut self, id: NeighborId, config: NeighborConfig, now: Instant) -> Change {
        let change = self.neighbors.get(&id).map_or(Change::Absorb, |old| old.config.change(&config));
        match change {
            Change::Keep => {}
            Change::Absorb => self.absorb(id, config, now),
            Change::Restart(field) => self.restart(id, config, field, now),
        }
        self.rebuild_guard(now);
        self.settle(now);
        change
    }

    /// Takes a neighbour out; the peer is told (6/3).
    pub fn remove_neighbor(&mut self, id: NeighborId, now: Instant) {
        self.end_all(id, &ResetCause::Sent(NotificationCode::PEER_DECONFIGURED.into()), now);
        self.neighbors.remove(&id);
        self.rebuild_guard(now);
        self.settle(now);
    }

    /// The neighbour's tunnel is up: the first dial follows within a second, whatever went before.
    pub fn transport_up(&mut self, id: NeighborId, now: Instant) {
        let Some(neighbor) = self.neighbors.get_mut(&id) else { return };
        if neighbor.gate != Gate::Up {
            neighbor.gate = Gate::Up;
            neighbor.fresh_start();
            self.touched.insert(id);
        }
        self.settle(now);
    }

    /// The neighbour's tunnel is down: its session and routes go now, with no word to the peer, whom
    /// none would reach. A neighbour without a tunnel is not concerned.
    pub fn transport_down(&mut self, id: NeighborId, reason: &str, now: Instant) {
        let Some(neighbor) = self.neighbors.get_mut(&id) else { return };
        if neighbor.config.tunnel.is_none() {
            return;
        }
        neighbor.gate = Gate::Down(reason.into());
        self.end_all(id, &ResetCause::TransportDown(reason.into()), now);
        self.settle(now);
    }

    /// The gateway behind the neighbour's tunnel came again and remembers nothing, as after a crash; the tunnel is up
    /// anew. Whether the speaker behind it went too nobody says, so an established session is challenged: a KEEPALIVE,
    /// which a host without the connection resets at once, and a ROUTE-REFRESH where the peer takes one, which a speaker
    /// answers. Whatever is read keeps it; it ends with a reset, with the peer's own new connection, or after
    /// [`CHALLENGE_TIME`]. Attempts at a session begin anew.
    pub fn peer_restarted(&mut self, id: NeighborId, now: Instant) {
        let Some(neighbor) = self.neighbors.get_mut(&id) else { return };
        neighbor.fresh_start();
        let attempts: Vec<ConnId> =
            neighbor.connections.iter().filter(|(_, c)| !c.is_established()).map(|(conn, _)| *conn).collect();
        if let Some(session) = &mut neighbor.session
            && let Some(connection) = neighbor.connections.get_mut(&session.conn)
        {
            connection.output.keepalive_due = true;
            connection.prove_by = Some(now + CHALLENGE_TIME);
            if connection.negotiated().is_some_and(|negotiated| negotiated.refresh) {
                session.asking = session.context.families;
            }
        }
        for conn in attempts {
            self.drop_quietly(id, conn);
        }
        self.drop_retained(id);
        self.abort_dial(id);
        self.touched.insert(id);
        self.settle(now);
    }

    /// Clears a neighbour, see [`Clear`]. Also ends any wait in Idle. False for one that is not there.
    pub fn clear(&mut self, id: NeighborId, clear: Clear, now: Instant) -> bool {
        if !self.neighbors.contains_key(&id) {
            return false;
        }
        self.touched.insert(id);
        match clear {
            Clear::Hard => self.clear_hard(id, now),
            Clear::SoftIn => self.clear_in(id, now),
            Clear::SoftOut => self.clear_out(id),
        }
        self.settle(now);
        true
    }

    /// Keeps a neighbour down with a text for the peer (6/2, RFC 9003), until [`Speaker::enable`].
    pub fn shutdown(&mut self, id: NeighborId, text: &str, now: Instant) -> bool {
        let Some(neighbor) = self.neighbors.get_mut(&id) else { return false };
        neighbor.config.shutdown = Some(text.into());
        self.end_all(id, &ResetCause::Sent(shutdown_notice(text)), now);
        self.settle(now);
        true
    }

    /// Lets a neighbour that was shut down come up.
    pub fn enable(&mut self, id: NeighborId, now: Instant) -> bool {
        let Some(neighbor) = self.neighbors.get_mut(&id) else { return false };
        neighbor.config.shutdown = None;
        neighbor.retry_at = None;
        self.touched.insert(id);
        self.settle(now);
        true
    }

    /// Shuts every neighbour down, as when the daemon stops.
    pub fn shutdown_all(&mut self, text: &str, now: Instant) {
        let ids: Vec<NeighborId> = self.neighbors.keys().copied().collect();
        for id in ids {
            self.shutdown(id, text, now);
        }
    }

    fn absorb(&mut self, id: NeighborId, config: NeighborConfig, now: Instant) {
        self.touched.insert(id);
        if config.passive {
            self.abort_dial(id);
        }
        match self.neighbors.entry(id) {
            Entry::Vacant(place) => {
                place.insert(Neighbor::new(config, now));
                return;
            }
            Entry::Occupied(mut place) => place.get_mut().config = config,
        }
        let Some(neighbor) = self.neighbors.get_mut(&id) else { return };
        if let Some(session) = &mut neighbor.session {
            session.out.set_limit(neighbor.config.max_prefix_out);
        }
        self.weigh(id, now);
        self.import_all(id, now);
        self.export_all(id);
        let conn = self.neighbors.get(&id).and_then(|neighbor| neighbor.session.as_ref()).map(|s| s.conn);
        if let (Err(notification), Some(conn)) = (self.check_prefix_limit(id), conn) {
            self.end(id, conn, ResetCause::Sent(notification), now);
        }
    }

    fn restart(&mut self, id: NeighborId, config: NeighborConfig, field: Field, now: Instant) {
        let notice = match &config.shutdown {
            Some(text) if field == Field::Shutdown => shutdown_notice(text),
            Some(_) | None => NotificationCode::CONFIGURATION_CHANGE.into(),
        };
        self.end_all(id, &ResetCause::Sent(notice), now);
        let Some(neighbor) = self.neighbors.get_mut(&id) else { return };
        let fresh = Neighbor::new(config, now);
        if neighbor.config.tunnel != fresh.config.tunnel {
            neighbor.gate = fresh.gate;
        }
        neighbor.config = fresh.config;
        neighbor.hold = None;
        neighbor.retry_at = None;
        neighbor.errors = 0;
        neighbor.failed_dials = 0;
        neighbor.bare = false;
    }

    fn clear_hard(&mut self, id: NeighborId, now: Instant) {
        self.end_all(id, &ResetCause::Sent(NotificationCode::ADMINISTRATIVE_RESET.into()), now);
        let Some(neighbor) = self.neighbors.get_mut(&id) else { return };
        neighbor.hold = None;
        neighbor.retry_at = None;
        neighbor.errors = 0;
        neighbor.failed_dials = 0;
        neighbor.bare = false;
    }

    fn clear_in(&mut self, id: NeighborId, now: Instant) {
        self.import_all(id, now);
        let Some(neighbor) = self.neighbors.get_mut(&id) else { return };
        let Some(session) = &mut neighbor.session else { return };
        let connection = neighbor.connections.get(&session.conn);
        if connection
            .and_then(|connection| connection.negotiated())
            .is_some_and(|negotiated| negotiated.refresh)
        {
            session.asking = session.context.families;
        }
    }

    fn clear_out(&mut self, id: NeighborId) {
        self.export_all(id);
        let Some(session) = self.neighbors.get_mut(&id).and_then(|neighbor| neighbor.session.as_mut()) else {
            return;
        };
        session.context.families.iter().for_each(|family| session.refresh(family));
    }
}

fn shutdown_notice(text: &str) -> Notification {
    Notification::with_text(NotificationCode::ADMINISTRATIVE_SHUTDOWN, text)
}
