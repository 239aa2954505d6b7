//! Connections and sessions end, and what follows.

use std::time::{Duration, Instant};

use bgp_rib::NeighborId;
use bgp_wire::{MessageType, Notification, NotificationCode};
use inet::Prefix;

use super::Speaker;
use crate::connection::Connection;
use crate::event::{ConnId, Effect, Event, ResetCause};
use crate::neighbor::{Hold, Retained};
use crate::open::survives;

impl Speaker {
    /// Ends a connection: tells the peer if it is we who end it, takes its routes out, and decides what the
    /// neighbour does next.
    pub(super) fn end(&mut self, id: NeighborId, conn: ConnId, cause: ResetCause, now: Instant) {
        let Some(mut connection) = self.take_connection(id, conn) else { return };
        // A host that knows nothing of the connection resets it: no error of a session.
        let unproven = connection.prove_by.is_some();
        let cause = if cause == ResetCause::Closed && unproven { ResetCause::PeerRestarted } else { cause };
        self.say_goodbye(id, conn, &mut connection, &cause);
        let ended = self.end_session(id, conn, &connection, &cause, now);
        let (established_for, lost) = ended.map_or((None, Vec::new()), |(span, lost)| (Some(span), lost));
        let Some(neighbor) = self.neighbors.get_mut(&id) else { return };
        let collision = is_collision(&cause);
        neighbor.counters.collisions += u64::from(collision);
        if !neighbor.connections.is_empty() && established_for.is_none() {
            // Another connection carries on; the loss of this one is no news.
            return;
        }
        neighbor.note_reset(cause.clone(), established_for.is_some(), now);
        if neighbor.connections.is_empty() {
            self.plan_return(id, &cause, established_for, now);
        }
        self.event(Event::Reset { neighbor: id, established: established_for.is_some(), cause, lost });
    }

    /// Ends all connections and any dial, and what is kept of a session before.
    pub(super) fn end_all(&mut self, id: NeighborId, cause: &ResetCause, now: Instant) {
        self.abort_dial(id);
        self.drop_retained(id);
        self.touched.insert(id);
        let Some(neighbor) = self.neighbors.get(&id) else { return };
        // An established one last: its end is the one to be shown.
        let mut all: Vec<(bool, ConnId)> = neighbor
            .connections
            .iter()
            .map(|(conn, connection)| (connection.is_established(), *conn))
            .collect();
        all.sort_unstable();
        for (_, conn) in all {
            self.end(id, conn, cause.clone(), now);
        }
    }

    /// Closes a connection the peer gave up itself.
    pub(super) fn drop_quietly(&mut self, id: NeighborId, conn: ConnId) {
        if self.take_connection(id, conn).is_some() {
            self.effects.push_back(Effect::Close { conn, drain: false });
        }
    }

    fn take_connection(&mut self, id: NeighborId, conn: ConnId) -> Option<Connection> {
        self.owners.remove(&conn);
        self.touched.insert(id);
        self.neighbors.get_mut(&id)?.connections.remove(&conn)
    }

    /// Our NOTIFICATION, behind whatever was never handed out, and the close.
    fn say_goodbye(&mut self, id: NeighborId, conn: ConnId, connection: &mut Connection, cause: &ResetCause) {
        match cause {
            ResetCause::Sent(notification) => {
                if let Some(neighbor) = self.neighbors.get_mut(&id) {
                    neighbor.counters.sent.count(MessageType::NOTIFICATION);
                }
                let (mut bytes, _) = connection.output.take_control();
                bytes.extend(notification.encode());
                self.effects.push_back(Effect::Write { conn, bytes });
                self.effects.push_back(Effect::Close { conn, drain: true });
            }
            ResetCause::Received(_)
            | ResetCause::TransportDown(_)
            | ResetCause::Replaced
            | ResetCause::PeerRestarted => {
                self.effects.push_back(Effect::Close { conn, drain: false });
            }
            ResetCause::Closed | ResetCause::ConnectFailed(_) => {}
        }
    }

    /// If the connection carried the session: its routes go now, but for those of a peer that said it would go on forwarding.
    /// Answers how long it was established, and which routes went.
    fn end_session(
        &mut self,
        id: NeighborId,
        conn: ConnId,
        connection: &Connection,
        cause: &ResetCause,
        now: Instant,
    ) -> Option<(Duration, Vec<Prefix>)> {
        let neighbor = self.neighbors.get_mut(&id)?;
        let session = neighbor.session.take_if(|session| session.conn == conn)?;
        neighbor.counters.dropped += 1;
        // Only "termination of the TCP session" without a NOTIFICATION is a restart (RFC 4724 section 4.2).
        let restarts = matches!(cause, ResetCause::Closed | ResetCause::Replaced);
        let offered = connection.opened().filter(|_| restarts && !neighbor.bare);
        let gone = match offered.and_then(|opened| survives(&opened.open, session.context.families)) {
            Some((families, time)) => {
                let (peer, local) = (session.peer, connection.local.ip());
                let gone = neighbor.adj_in.keep_stale(families);
                let kept = !neighbor.adj_in.is_empty();
                neighbor.retained = kept.then_some(Retained { peer, local, until: now + time });
                gone
            }
            None => neighbor.adj_in.clear(),
        };
        let changes = self.loc.withdraw_all(id, &gone);
        self.propagate(changes);
        Some((now.saturating_duration_since(session.since), gone))
    }

    /// No connection is left: when to try again.
    fn plan_return(
        &mut self,
        id: NeighborId,
        cause: &ResetCause,
        established_for: Option<Duration>,
        now: Instant,
    ) {
        let Some(neighbor) = self.neighbors.get_mut(&id) else { return };
        let jitter = &mut self.jitter;
        match cause {
            ResetCause::TransportDown(_) | ResetCause::Replaced | ResetCause::PeerRestarted => {}
            ResetCause::Sent(sent) if is_by_operator(sent) => {}
            ResetCause::Sent(sent) if sent.code == NotificationCode::MAX_PREFIXES => {
                neighbor.hold =
                    Some(Hold::PrefixLimit(neighbor.config.max_prefix_restart.map(|span| now + span)));
            }
            ResetCause::Received(received) if refuses_capabilities(received) && !neighbor.bare => {
                neighbor.bare = true;
            }
            // The peer was there and closed without a word, or kept another connection: no error of a session. Nor is a
            // restart that was announced.
            ResetCause::Closed | ResetCause::ConnectFailed(_)
                if established_for.is_none() || neighbor.retained.is_some() =>
            {
                neighbor.schedule_retry(jitter, now);
            }
            ResetCause::Sent(_) | ResetCause::Received(_) if is_collision(cause) => {
                neighbor.schedule_retry(jitter, now);
            }
            ResetCause::Sent(_)
            | ResetCause::Received(_)
            | ResetCause::Closed
            | ResetCause::ConnectFailed(_) => {
                neighbor.bare = false;
                neighbor.back_off(established_for, jitter, now);
            }
        }
    }
}

fn is_collision(cause: &ResetCause) -> bool {
    match cause {
        ResetCause::Sent(notification) | ResetCause::Received(notification) => {
            notification.code == NotificationCode::COLLISION
        }
        ResetCause::Closed
        | ResetCause::ConnectFailed(_)
        | ResetCause::TransportDown(_)
        | ResetCause::Replaced
        | ResetCause::PeerRestarted => false,
    }
}

/// Ends that someone asked for need no back-off; what follows is that person's to say.
fn is_by_operator(notification: &Notification) -> bool {
    matches!(
        notification.code,
        NotificationCode::ADMINISTRATIVE_RESET
            | NotificationCode::ADMINISTRATIVE_SHUTDOWN
            | NotificationCode::CONFIGURATION_CHANGE
            | NotificationCode::PEER_DECONFIGURED
    )
}

/// "[...] the speaker [...] may attempt to re-establish a BGP connection with the peer without sending to the
/// peer the Capabilities Optional Parameter" (RFC 5492 section 3).
fn refuses_capabilities(notification: &Notification) -> bool {
    matches!(
        notification.code,
        NotificationCode::UNSUPPORTED_CAPABILITY | NotificationCode::UNSUPPORTED_PARAMETER
    )
}
