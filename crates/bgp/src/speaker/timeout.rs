//! Time passes.

use std::time::Instant;

use bgp_rib::NeighborId;
use bgp_wire::{Family, Notification, NotificationCode};

use super::Speaker;
use crate::event::{ConnId, ConnectError, Effect, Event, ResetCause};
use crate::neighbor::{Hold, Neighbor};

impl Speaker {
    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let due: Vec<NeighborId> = self
            .neighbors
            .iter()
            .filter(|(_, neighbor)| neighbor.deadline().is_some_and(|at| at <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.touched.insert(id);
            self.end_hold(id, now);
            self.end_dial(id, now);
            self.expire_connections(id, now);
            self.send_keepalives(id, now);
            self.expire_stale(id, now);
            self.expire_retained(id, now);
            self.assume_end_of_rib(id, now);
        }
        self.settle(now);
    }

    /// The wait in Idle is over: dial at once.
    fn end_hold(&mut self, id: NeighborId, now: Instant) {
        let Some(neighbor) = self.neighbors.get_mut(&id) else { return };
        if neighbor.hold.and_then(Hold::until).is_some_and(|at| at <= now) {
            neighbor.hold = None;
            neighbor.retry_at = Some(now);
        }
    }

    fn end_dial(&mut self, id: NeighborId, now: Instant) {
        let dialling = self.neighbors.get(&id).and_then(|neighbor| neighbor.dialling);
        if let Some((conn, _)) = dialling.filter(|(_, at)| *at <= now) {
            self.effects.push_back(Effect::Close { conn, drain: false });
            self.dial_failed(id, conn, ResetCause::ConnectFailed(ConnectError::TimedOut), now);
        }
    }

    /// Hold timers (RFC 4271 section 6.5), send hold timers (RFC 9687), and challenges nobody answered.
    fn expire_connections(&mut self, id: NeighborId, now: Instant) {
        let Some(neighbor) = self.neighbors.get(&id) else { return };
        for (conn, cause) in expired(neighbor, now) {
            self.end(id, conn, cause, now);
        }
    }

    /// The message itself goes out at the next message boundary.
    fn send_keepalives(&mut self, id: NeighborId, now: Instant) {
        let Some(neighbor) = self.neighbors.get_mut(&id) else { return };
        for connection in neighbor.connections.values_mut() {
            if connection.output.keepalive_at.is_some_and(|at| at <= now) {
                let negotiated = connection.negotiated().cloned();
                connection.output.keepalive_due = true;
                connection.output.rearm_keepalive(negotiated.as_ref(), &mut self.jitter, now);
            }
        }
    }

    /// A first table whose end was never told has been told long ago.
    fn assume_end_of_rib(&mut self, id: NeighborId, now: Instant) {
        let Some(session) = self.neighbors.get_mut(&id).and_then(|neighbor| neighbor.session.as_mut()) else {
            return;
        };
        if session.end_of_rib_by.take_if(|at| *at <= now).is_none() {
            return;
        }
        let told = session.end_of_rib_received;
        let families = session.context.families.iter().filter(|family| !told.contains(*family));
        for family in families.collect::<Vec<_>>() {
            self.event(Event::EndOfRib { neighbor: id, family });
        }
    }

    /// A refresh whose end never came is taken as ended.
    fn expire_stale(&mut self, id: NeighborId, now: Instant) {
        let session = self.neighbors.get(&id).and_then(|neighbor| neighbor.session.as_ref());
        let overdue: Vec<Family> = session
            .into_iter()
            .flat_map(|session| session.stale.iter().filter(|(_, at)| *at <= now).map(|(family, _)| *family))
            .collect();
        overdue.into_iter().for_each(|family| self.sweep(id, family));
    }
}

fn expired(neighbor: &Neighbor, now: Instant) -> Vec<(ConnId, ResetCause)> {
    let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
    neighbor
        .connections
        .iter()
        .filter_map(|(conn, connection)| {
            let code = if due(connection.prove_by) {
                return Some((*conn, ResetCause::PeerRestarted));
            } else if due(connection.hold_at) {
                NotificationCode::HOLD_TIMER_EXPIRED
            } else if due(connection.output.send_hold_at) {
                NotificationCode::SEND_HOLD_TIMER_EXPIRED
            } else {
                return None;
            };
            Some((*conn, ResetCause::Sent(Notification::from(code))))
        })
        .collect()
}
