//! Messages come in: each state's answer to each (RFC 4271 section 8.2.2, RFC 6608).

use std::time::Instant;

use bgp_rib::NeighborId;
use bgp_wire::{
    Family, Frame, Message, MessageType, Notification, NotificationCode, Open, RefreshKind, RouteRefresh,
    Update,
};

use super::Speaker;
use crate::connection::{Opened, Stage};
use crate::event::{Alarm, ConnId, Event, ResetCause};
use crate::open::negotiate;
use crate::timer::{ALARM_INTERVAL, DECISION_TIME, STALE_TIME};

impl Speaker {
    pub(super) fn receive(&mut self, id: NeighborId, conn: ConnId, bytes: &[u8], now: Instant) {
        let Some(connection) = self.connection_mut(id, conn) else { return };
        connection.cutter.push(bytes);
        connection.last_read = now;
        connection.prove_by = None;
        self.touched.insert(id);
        // Each message may end the connection, and with it the loop.
        while let Some(connection) = self.connection_mut(id, conn) {
            let context = connection.context;
            let step = match connection.cutter.next_frame(&context) {
                Ok(None) => return,
                Ok(Some(frame)) => self.frame(id, conn, &frame, now),
                Err(notification) => Err(notification),
            };
            if let Err(notification) = step {
                return self.end(id, conn, ResetCause::Sent(notification), now);
            }
        }
    }

    fn connection_mut(&mut self, id: NeighborId, conn: ConnId) -> Option<&mut crate::connection::Connection> {
        self.neighbors.get_mut(&id)?.connections.get_mut(&conn)
    }

    fn frame(
        &mut self,
        id: NeighborId,
        conn: ConnId,
        frame: &Frame,
        now: Instant,
    ) -> Result<(), Notification> {
        let Some(neighbor) = self.neighbors.get_mut(&id) else { return Ok(()) };
        neighbor.counters.received.count(frame.kind());
        let Some(connection) = neighbor.connections.get_mut(&conn) else { return Ok(()) };
        // Judged before it is parsed: a message in the wrong state is an error whatever it holds.
        expected(&connection.stage, frame.kind())?;
        match Message::decode(frame, &connection.context)? {
            Message::Open(open) => self.on_open(id, conn, open, now),
            Message::Keepalive => {
                self.on_keepalive(id, conn, now);
                Ok(())
            }
            Message::Update(update) => self.on_update(id, conn, update, frame, now),
            Message::RouteRefresh(refresh) => {
                self.on_refresh(id, conn, refresh, now);
                Ok(())
            }
            Message::Notification(notification) => {
                self.end(id, conn, ResetCause::Received(notification), now);
                Ok(())
            }
        }
    }

    fn on_open(
        &mut self,
        id: NeighborId,
        conn: ConnId,
        open: Open,
        now: Instant,
    ) -> Result<(), Notification> {
        let Some(neighbor) = self.neighbors.get_mut(&id) else { return Ok(()) };
        let negotiated = negotiate(&self.config, &neighbor.config, neighbor.bare, &open)?;
        let Some(connection) = neighbor.connections.get_mut(&conn) else { return Ok(()) };
        connection.context = negotiated.context;
        connection.stage = Stage::Held {
            opened: Box::new(Opened { open, negotiated }),
            since: now,
            decide_at: now + DECISION_TIME,
            confirmed: false,
        };
        self.arbitrate(id, now);
        Ok(())
    }

    fn on_keepalive(&mut self, id: NeighborId, conn: ConnId, now: Instant) {
        let Some(connection) = self.connection_mut(id, conn) else { return };
        match &mut connection.stage {
            Stage::OpenSent => {}
            Stage::Held { confirmed, .. } => *confirmed = true,
            Stage::OpenConfirm(_) => self.establish(id, conn, now),
            Stage::Established(_) => connection.rearm_hold(now),
        }
    }

    fn on_update(
        &mut self,
        id: NeighborId,
        conn: ConnId,
        update: Update,
        frame: &Frame,
        now: Instant,
    ) -> Result<(), Notification> {
        if let Some(connection) = self.connection_mut(id, conn) {
            connection.rearm_hold(now);
            connection.last_update = Some(now);
        }
        if !update.faults.is_empty() {
            self.note_faults(id, &update, frame, now);
        }
        if let Some(family) = update.end_of_rib {
            self.on_end_of_rib(id, family);
            return Ok(());
        }
        self.import(id, &update, now);
        self.check_prefix_limit(id)
    }

    /// RFC 7606 section 8: counted, and the message kept for the operator.
    fn note_faults(&mut self, id: NeighborId, update: &Update, frame: &Frame, now: Instant) {
        let Some(neighbor) = self.neighbors.get_mut(&id) else { return };
        neighbor.counters.attributes_discarded += u64::try_from(update.discarded()).unwrap_or(u64::MAX);
        neighbor.counters.treated_as_withdraw += u64::from(update.treated_as_withdraw());
        let recent = neighbor.last_malformed.as_ref().is_some_and(|(at, _)| *at + ALARM_INTERVAL > now);
        if recent {
            return;
        }
        neighbor.last_malformed = Some((now, frame.bytes().to_vec()));
        let alarm = Alarm::Malformed { faults: update.faults.clone(), message: frame.bytes().to_vec() };
        self.event(Event::Alarm { neighbor: id, alarm });
    }

    fn on_end_of_rib(&mut self, id: NeighborId, family: Family) {
        let Some(neighbor) = self.neighbors.get_mut(&id) else { return };
        let Some(session) = &mut neighbor.session else { return };
        let restarted = session.restarting.contains(family);
        session.restarting.remove(family);
        session.end_of_rib_received.insert(family);
        if restarted {
            self.sweep(id, family);
        }
        self.event(Event::EndOfRib { neighbor: id, family });
    }

    /// RFC 2918 section 4, RFC 7313 section 4.
    fn on_refresh(&mut self, id: NeighborId, conn: ConnId, refresh: RouteRefresh, now: Instant) {
        let Some(neighbor) = self.neighbors.get_mut(&id) else { return };
        let Some(session) = neighbor.session.as_mut().filter(|session| session.conn == conn) else { return };
        let Some(family) = refresh.family().filter(|family| session.context.families.contains(*family))
        else {
            return;
        };
        match refresh.kind {
            RefreshKind::Request => session.refresh(family),
            // A second beginning while one runs changes nothing.
            RefreshKind::Begin if session.stale.iter().any(|(running, _)| *running == family) => {}
            RefreshKind::Begin if session.enhanced => {
                session.stale.push((family, now + STALE_TIME));
                neighbor.adj_in.mark_stale(family);
            }
            RefreshKind::End => self.sweep(id, family),
            RefreshKind::Begin | RefreshKind::Unknown(_) => {}
        }
    }
}

/// Which messages a state takes; any other is an error with a subcode of that state (RFC 6608).
fn expected(stage: &Stage, kind: MessageType) -> Result<(), Notification> {
    if kind == MessageType::NOTIFICATION {
        return Ok(());
    }
    let (takes, otherwise) = match stage {
        Stage::OpenSent => (kind == MessageType::OPEN, NotificationCode::UNEXPECTED_IN_OPEN_SENT),
        Stage::Held { .. } | Stage::OpenConfirm(_) => {
            (kind == MessageType::KEEPALIVE, NotificationCode::UNEXPECTED_IN_OPEN_CONFIRM)
        }
        Stage::Established(_) => (kind != MessageType::OPEN, NotificationCode::UNEXPECTED_IN_ESTABLISHED),
    };
    if takes { Ok(()) } else { Err(otherwise.into()) }
}
