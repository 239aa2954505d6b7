//! Routes of a peer that restarts and goes on forwarding: kept, and when they go (RFC 4724 section 4.2).
//!
//! A tunnel that goes down takes them along, as does every NOTIFICATION and every word of the operator: only a TCP
//! connection that is lost while the way to the peer stands is taken for a restart.

use std::time::Instant;

use bgp_rib::NeighborId;
use bgp_wire::{Families, Family};
use inet::Prefix;

use super::Speaker;
use crate::event::Event;
use crate::timer::STALE_TIME;

impl Speaker {
    /// The peer is back. What it went on forwarding waits for its End-of-RIB; of all else "the Receiving Speaker MUST
    /// immediately remove all the stale routes".
    pub(super) fn take_back(&mut self, id: NeighborId, forwarding: Families, now: Instant) {
        let Some(neighbor) = self.neighbors.get_mut(&id) else { return };
        let Some(session) = &mut neighbor.session else { return };
        let kept = forwarding.intersect(session.context.families);
        session.restarting = kept;
        session.stale.extend(kept.iter().map(|family| (family, now + STALE_TIME)));
        let mut lost = Vec::new();
        for family in Family::ALL.into_iter().filter(|family| !kept.contains(*family)) {
            lost.extend(neighbor.adj_in.sweep_stale(family));
        }
        self.give_up(id, lost);
    }

    /// Nothing of an earlier session counts any more.
    pub(super) fn drop_retained(&mut self, id: NeighborId) {
        let Some(neighbor) = self.neighbors.get_mut(&id) else { return };
        if neighbor.retained.take().is_some() {
            let lost = neighbor.adj_in.clear();
            self.give_up(id, lost);
        }
    }

    /// The peer did not come back in the time it asked for.
    pub(super) fn expire_retained(&mut self, id: NeighborId, now: Instant) {
        let retained = self.neighbors.get(&id).and_then(|neighbor| neighbor.retained);
        if retained.is_some_and(|retained| retained.until <= now) {
            self.drop_retained(id);
        }
    }

    fn give_up(&mut self, id: NeighborId, lost: Vec<Prefix>) {
        if lost.is_empty() {
            return;
        }
        let changes = self.loc.withdraw_all(id, &lost);
        self.propagate(changes);
        self.event(Event::Lost { neighbor: id, lost });
    }
}
