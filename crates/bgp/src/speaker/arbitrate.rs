//! Two connections with one peer: which stays. The rules and their reason are in [`crate::collision`].

use std::time::Instant;

use bgp_rib::{AdjRibOut, NeighborId, Peer};
use bgp_wire::{MessageType, NotificationCode, keepalive};

use super::Speaker;
use crate::collision::Identities;
use crate::connection::{Connection, Direction, Stage};
use crate::event::{Alarm, ConnId, Event, ResetCause, Way};
use crate::neighbor::Neighbor;
use crate::open::{Negotiated, kept_forwarding};
use crate::session::Session;
use crate::timer::{LARGE_HOLD, PROBE_TIME, TWIN_TIME};

/// What becomes of a connection whose OPEN is in order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ruling {
    /// Confirm it, and close these.
    Keep(Vec<ConnId>),
    /// Close it.
    Lose,
    /// The established session must show that it lives, by then.
    Probe(ConnId),
    /// Not yet.
    Wait,
}

impl Speaker {
    /// Decides about every connection that waits for a decision, as far as one can be made.
    pub(super) fn arbitrate(&mut self, id: NeighborId, now: Instant) {
        loop {
            let Some(neighbor) = self.neighbors.get(&id) else { return };
            let held = neighbor.connections.iter().filter(|(_, c)| matches!(c.stage, Stage::Held { .. }));
            let rulings: Vec<(ConnId, Ruling)> =
                held.map(|(conn, held)| (*conn, self.rule(neighbor, *conn, held, now))).collect();
            let Some((conn, ruling)) = rulings.into_iter().find(|(_, ruling)| *ruling != Ruling::Wait) else {
                return;
            };
            match ruling {
                Ruling::Keep(losers) => {
                    self.abort_dial(id);
                    losers.into_iter().for_each(|loser| self.lose(id, loser, now));
                    self.confirm(id, conn, now);
                }
                Ruling::Lose => self.lose(id, conn, now),
                Ruling::Probe(old) => self.probe(id, conn, old, now),
                Ruling::Wait => {}
            }
        }
    }

    fn rule(&self, neighbor: &Neighbor, conn: ConnId, held: &Connection, now: Instant) -> Ruling {
        let Stage::Held { opened, since, decide_at, .. } = &held.stage else { return Ruling::Wait };
        let we_decide = Identities {
            local_id: self.config.router_id,
            remote_id: opened.negotiated.router_id,
            local_asn: neighbor.config.local_asn,
            remote_asn: opened.negotiated.asn,
        }
        .we_decide();
        let overdue = now >= *decide_at;
        if let Some(session) = neighbor.session.as_ref().filter(|session| session.conn != conn) {
            let twin = session.since + TWIN_TIME > *since;
            let old = neighbor.connections.get(&session.conn);
            let heard = old.is_some_and(|old| old.last_read > *since);
            // Its gateway came again without memory, and now so does its speaker: nothing is left to ask.
            let forgotten = old.is_some_and(|old| old.prove_by.is_some());
            return match (held.direction, we_decide) {
                (Direction::Outgoing, _) => Ruling::Lose,
                // Our side does not decide: the peer's KEEPALIVE, or its close, will.
                (Direction::Incoming, false) => Ruling::Keep(Vec::new()),
                (Direction::Incoming, true) if forgotten => Ruling::Keep(vec![session.conn]),
                (Direction::Incoming, true) if twin || heard => Ruling::Lose,
                (Direction::Incoming, true) if overdue => Ruling::Keep(vec![session.conn]),
                (Direction::Incoming, true) if *decide_at > *since + PROBE_TIME => {
                    Ruling::Probe(session.conn)
                }
                (Direction::Incoming, true) => Ruling::Wait,
            };
        }
        if !we_decide {
            return Ruling::Keep(Vec::new());
        }
        match held.direction {
            Direction::Outgoing => Ruling::Keep(ids(neighbor, Direction::Incoming)),
            Direction::Incoming => rule_incoming(neighbor, overdue),
        }
    }

    /// The loser is told (RFC 4271 section 6.8); an established one that fell silent is just dropped.
    fn lose(&mut self, id: NeighborId, conn: ConnId, now: Instant) {
        let established = self
            .neighbors
            .get(&id)
            .and_then(|n| n.connections.get(&conn))
            .is_some_and(Connection::is_established);
        let cause = if established {
            ResetCause::Replaced
        } else {
            ResetCause::Sent(NotificationCode::COLLISION.into())
        };
        self.end(id, conn, cause, now);
    }

    /// The peer came back while its old session stands: a dead one stays silent, a live one answers or
    /// at least keeps its keepalives coming; the KEEPALIVE makes a restarted host reset the old connection.
    fn probe(&mut self, id: NeighborId, conn: ConnId, old: ConnId, _now: Instant) {
        let Some(neighbor) = self.neighbors.get_mut(&id) else { return };
        if let Some(connection) = neighbor.connections.get_mut(&old) {
            connection.output.keepalive_due = true;
        }
        if let Some(connection) = neighbor.connections.get_mut(&conn)
            && let Stage::Held { since, decide_at, .. } = &mut connection.stage
        {
            *decide_at = *since + PROBE_TIME;
        }
    }

    /// Our KEEPALIVE goes out; with theirs there already the session is up.
    fn confirm(&mut self, id: NeighborId, conn: ConnId, now: Instant) {
        let Some(neighbor) = self.neighbors.get_mut(&id) else { return };
        let Some(connection) = neighbor.connections.get_mut(&conn) else { return };
        let Stage::Held { opened, confirmed, .. } = std::mem::replace(&mut connection.stage, Stage::OpenSent)
        else {
            return;
        };
        connection.hold_at = Some(now + opened.negotiated.hold.unwrap_or(LARGE_HOLD));
        connection.output.control.extend(keepalive());
        connection.output.start_keepalives(&opened.negotiated, &mut self.jitter, now);
        connection.stage = Stage::OpenConfirm(opened);
        neighbor.counters.sent.count(MessageType::KEEPALIVE);
        self.touched.insert(id);
        if confirmed {
            self.establish(id, conn, now);
        }
    }

    /// Their KEEPALIVE came in OpenConfirm (RFC 4271 section 8.2.2, event 26).
    pub(super) fn establish(&mut self, id: NeighborId, conn: ConnId, now: Instant) {
        for loser in self.losers_to(id, conn) {
            self.lose(id, loser, now);
        }
        let Some(neighbor) = self.neighbors.get_mut(&id) else { return };
        let address = neighbor.config.address;
        let (kind, weight) = (neighbor.config.kind(), neighbor.config.weight);
        let Some(connection) = neighbor.connections.get_mut(&conn) else { return };
        let Stage::OpenConfirm(opened) = std::mem::replace(&mut connection.stage, Stage::OpenSent) else {
            return;
        };
        let Negotiated { router_id, asn, context, enhanced_refresh, hold, .. } = opened.negotiated;
        let forwarding = kept_forwarding(&opened.open);
        connection.stage = Stage::Established(opened);
        connection.hold_at = hold.map(|hold| now + hold);
        let peer = Peer { id, kind, asn, router_id, address, weight };
        let out = AdjRibOut::new(neighbor.config.max_prefix_out);
        neighbor.session = Some(Session::new(conn, peer, context, enhanced_refresh, out, now));
        let kept = neighbor.retained.take().map(|_| forwarding);
        neighbor.counters.established += 1;
        neighbor.failed_dials = 0;
        neighbor.retry_at = None;
        self.touched.insert(id);
        if let Some(kept) = kept {
            self.take_back(id, kept, now);
        }
        self.rebuild_guard(now);
        self.export_all(id);
        self.say_denied(id);
    }

    /// What must make way when `conn` is established.
    fn losers_to(&self, id: NeighborId, conn: ConnId) -> Vec<ConnId> {
        let Some(neighbor) = self.neighbors.get(&id) else { return Vec::new() };
        let Some(winner) = neighbor.connections.get(&conn) else { return Vec::new() };
        let we_decide = winner.negotiated().is_some_and(|negotiated| {
            let identities = Identities {
                local_id: self.config.router_id,
                remote_id: negotiated.router_id,
                local_asn: neighbor.config.local_asn,
                remote_asn: negotiated.asn,
            };
            identities.we_decide()
        });
        // A connection of ours that the peer confirmed may still lose to one of the peer's, if it decides;
        // that one then stays until the peer has spoken.
        let spared = |other: &Connection| {
            !we_decide
                && winner.direction == Direction::Outgoing
                && other.direction == Direction::Incoming
                && !other.is_established()
        };
        let others = neighbor.connections.iter().filter(|(other, _)| **other != conn);
        others.filter(|(_, other)| !spared(other)).map(|(other, _)| *other).collect()
    }

    /// Up, and nothing can pass: said aloud, with the direction (RFC 8212).
    fn say_denied(&mut self, id: NeighborId) {
        let Some(neighbor) = self.neighbors.get(&id) else { return };
        let config = &neighbor.config;
        let import = config.effective(&config.import).denies_all();
        let export = config.effective(&config.export).denies_all();
        for (way, denied) in [(Way::Import, import), (Way::Export, export)] {
            if denied {
                self.event(Event::Alarm { neighbor: id, alarm: Alarm::PolicyDeniesAll(way) });
            }
        }
    }
}

fn ids(neighbor: &Neighbor, direction: Direction) -> Vec<ConnId> {
    neighbor.of_direction(direction).map(|(conn, _)| conn).collect()
}

/// We decide, and this connection is the peer's: it stays unless ours lives.
fn rule_incoming(neighbor: &Neighbor, overdue: bool) -> Ruling {
    let mut ours = neighbor.of_direction(Direction::Outgoing).peekable();
    if ours.peek().is_none() {
        return Ruling::Keep(Vec::new());
    }
    // Ours has its OPEN: it wins, here or in its own ruling.
    if ours.any(|(_, connection)| connection.opened().is_some()) {
        return Ruling::Lose;
    }
    if overdue { Ruling::Keep(ids(neighbor, Direction::Outgoing)) } else { Ruling::Wait }
}
