//! Connections and the orders about them.

use std::sync::Arc;
use std::time::Instant;

use super::Engine;
use crate::child::Child;
use crate::config::{ConnId, Connection, Path};
use crate::core::Ctx;
use crate::event::{ChildId, DownReason, IkeId};
use crate::exchange::init::Initiating;
use crate::sa::{IkeSa, Phase};

impl Engine {
    pub(super) fn reconfigure(&mut self, conn: ConnId, connection: &Arc<Connection>, now: Instant) {
        for ike in self.of(conn) {
            self.with(ike, now, |sa, _| sa.reconfigure(connection));
        }
    }

    /// Dials where nothing is up or under way, in its turn among those to the same address, and makes a CHILD SA where one
    /// is missing.
    pub(super) fn initiate(&mut self, conn: ConnId, path: Path, now: Instant) {
        let Some(config) = self.connections.get(&conn).cloned().filter(|_| !self.closing) else { return };
        if let Some(ike) =
            self.of(conn).into_iter().find(|ike| self.sas.get(ike).is_some_and(IkeSa::is_current))
        {
            self.with(ike, now, IkeSa::want_child);
            return;
        }
        let busy = |ike: &IkeId| {
            self.sas.get(ike).is_some_and(|sa| {
                sa.is_dialling()
                    || sa.up().is_some_and(|up| up.inherits_from.is_some() && up.phase == Phase::Current)
            })
        };
        if self.of(conn).iter().any(busy) {
            return;
        }
        let mut ctx = Ctx { core: &mut self.core, connections: &self.connections, index: &self.index, now };
        if let Some(sa) = Initiating::start(conn, config, path, &mut ctx) {
            self.insert(sa, now);
        }
    }

    pub(super) fn terminate(&mut self, conn: ConnId, reason: DownReason, now: Instant) {
        for ike in self.of(conn) {
            self.with(ike, now, |sa, ctx| sa.terminate(reason, ctx));
        }
        self.settle(now);
    }

    pub(super) fn terminate_child(&mut self, child: ChildId, now: Instant) {
        let Some(ike) = self.owner_of_child(|one| one.id == child) else { return };
        self.with(ike, now, |sa, ctx| sa.terminate_child(child, ctx));
    }

    /// Does something to the connection's IKE SA in use.
    pub(super) fn each_current(
        &mut self,
        conn: ConnId,
        now: Instant,
        step: impl Fn(&mut IkeSa, &mut Ctx<'_>),
    ) {
        for ike in self.of(conn) {
            if self.sas.get(&ike).is_some_and(IkeSa::is_current) {
                self.with(ike, now, &step);
            }
        }
    }

    pub(super) fn owner_of_child(&self, is: impl Fn(&Child) -> bool) -> Option<IkeId> {
        let owner = self.sas.values().find(|sa| sa.up().is_some_and(|up| up.children.values().any(&is)))?;
        Some(owner.id())
    }

    /// The connection's IKE SAs, oldest first.
    pub(super) fn of(&self, conn: ConnId) -> Vec<IkeId> {
        self.index.of(conn).collect()
    }
}
