//! The CHILD SAs of an authenticated IKE SA: put into use, replaced, closed, told of.

use std::time::{Duration, Instant};

use super::{Shell, Task, Up, Want};
use crate::child::{Agreed, Child, ChildAnswer, ChildPhase, too_narrow};
use crate::core::Ctx;
use crate::event::{ChildId, ChildUp, DownReason, Event};
use crate::failure::Failure;
use crate::resource::Resource;

impl Up {
    pub(super) fn can_rekey(&self, child: ChildId) -> bool {
        self.children.get(&child).is_some_and(|child| child.phase == ChildPhase::Installed)
    }

    /// Made by the peer to replace another, which it has not deleted yet.
    pub(super) fn is_unconfirmed(&self, child: ChildId) -> bool {
        let old = self.children.get(&child).and_then(|child| child.replaces);
        old.and_then(|old| self.children.get(&old))
            .is_some_and(|old| !matches!(old.phase, ChildPhase::Closing(_)))
    }

    /// A CHILD SA in use that carries whatever the tunnel has; those for one resource alone do not count.
    pub(crate) fn has_child(&self) -> bool {
        self.fallback().is_some()
    }

    pub(crate) fn installed_children(&self) -> Vec<ChildId> {
        self.children.values().filter(|child| child.is_installed()).map(|child| child.id).collect()
    }

    /// Puts a new CHILD SA into use and tells.
    pub(crate) fn install(&mut self, agreed: Agreed, shell: &Shell, ctx: &mut Ctx<'_>) -> ChildId {
        self.put(agreed, false, shell, ctx)
    }

    /// One that the peer holds and we have no keys of: the peer is to drop it, and nobody else hears of it.
    pub(crate) fn close_unkeyed(
        &mut self,
        spi_in: u32,
        answer: ChildAnswer,
        resource: Resource,
        shell: &mut Shell,
        ctx: &mut Ctx<'_>,
    ) {
        let child = Child { told: true, ..self.describe(spi_in, &answer, (None, resource), ctx) };
        let id = child.id;
        self.children.insert(id, child);
        self.close_child(id, DownReason::Overloaded, shell, ctx);
    }

    /// A CHILD SA of ours that lost against one the peer made at the same time: receive on it, and delete it.
    pub(crate) fn install_loser(&mut self, agreed: Agreed, shell: &mut Shell, ctx: &mut Ctx<'_>) {
        let child = self.put(agreed, true, shell, ctx);
        self.close_child(child, DownReason::Redundant, shell, ctx);
    }

    fn put(&mut self, agreed: Agreed, inbound_only: bool, shell: &Shell, ctx: &mut Ctx<'_>) -> ChildId {
        let Agreed { spi_in, answer, keys, role, replaces, resource } = agreed;
        // Also one whose predecessor the peer deleted in the meantime; but not the first of a new IKE SA, which takes the
        // place of one that belongs to another.
        let rekeyed = replaces.is_some_and(|old| self.pool.is_some() || self.children.contains_key(&old));
        if resource.is_any() && !rekeyed && !inbound_only {
            self.settle_resources(answer.peer_resource.is_some(), role, ctx.now);
        }
        let narrow = too_narrow(&self.config, &answer);
        let child = self.describe(spi_in, &answer, (replaces, resource), ctx);
        let id = child.id;
        ctx.event(Event::ChildUp(Box::new(ChildUp {
            conn: self.conn,
            child: id,
            ike: shell.id,
            spi_in,
            spi_out: answer.spi_out,
            suite: answer.suite.suite,
            esn: answer.suite.esn,
            keys,
            local_ts: answer.local_ts,
            remote_ts: answer.remote_ts,
            path: shell.path,
            encap: child.encap,
            resource,
            replaces,
            role,
            inbound_only,
            pfs: answer.suite.group,
            too_narrow: narrow.clone(),
            replay_window: self.config.replay_window,
            bytes: self.config.child_bytes,
            packets: self.config.child_packets,
        })));
        self.children.insert(id, child);
        if let Some(narrow) = narrow.filter(|_| replaces.is_none() && resource.is_any()) {
            ctx.failed(self.conn, Failure::SelectorsTooNarrow(narrow));
        }
        id
    }

    /// As it begins.
    fn describe(
        &self,
        spi_in: u32,
        answer: &ChildAnswer,
        (replaces, resource): (Option<ChildId>, Resource),
        ctx: &mut Ctx<'_>,
    ) -> Child {
        let life = self.config.child_lifetime;
        Child {
            id: ctx.core.child_id(),
            spi_in,
            spi_out: answer.spi_out,
            suite: answer.suite,
            encap: self.encapsulates(),
            local_ts: answer.local_ts.clone(),
            remote_ts: answer.remote_ts.clone(),
            since: ctx.now,
            soft: Some(ctx.now + life.soft_after(ctx.core.random_u32())),
            hard: ctx.now + life.hard,
            linger: self.config.linger,
            phase: ChildPhase::Installed,
            told: false,
            replaces,
            resource,
            peer_resource: answer.peer_resource.clone().unwrap_or_default(),
        }
    }

    /// The peer's successor of this one is in place; its DELETE is the peer's to send.
    pub(crate) fn replaced_by_peer(&mut self, old: ChildId, ctx: &Ctx<'_>) {
        let ours_under_way = matches!(&self.task, Some(Task::Child(task)) if task.old == Some(old));
        let patience = self.owed_delete();
        if let Some(child) = self.children.get_mut(&old)
            && !ours_under_way
        {
            child.phase = ChildPhase::Replaced;
            child.hard = child.hard.min(ctx.now + patience);
        }
        self.want_no_more(Want::RekeyChild(old));
    }

    /// Ends a CHILD SA; the peer is told. One that was rekeyed is told of once the peer has confirmed, so that what
    /// is still under way on it comes in.
    pub(crate) fn close_child(
        &mut self,
        id: ChildId,
        reason: DownReason,
        shell: &mut Shell,
        ctx: &mut Ctx<'_>,
    ) {
        let Some(child) = self.children.get_mut(&id) else { return };
        child.phase = ChildPhase::Closing(reason);
        match reason {
            DownReason::Rekeyed | DownReason::Redundant => {}
            DownReason::PeerDeleted
            | DownReason::PeerSilent
            | DownReason::Lifetime
            | DownReason::Commanded
            | DownReason::Reconfigured
            | DownReason::Orphaned
            | DownReason::Replaced
            | DownReason::PeerRestarted
            | DownReason::PeerLost
            | DownReason::Misbehaved
            | DownReason::Overloaded => {
                let linger = child.linger;
                self.tell_child_down(id, reason, linger, ctx);
            }
        }
        self.want(Want::DeleteChild(id), shell, ctx);
    }

    fn tell_child_down(&mut self, id: ChildId, reason: DownReason, linger: Duration, ctx: &mut Ctx<'_>) {
        let Some(child) = self.children.get_mut(&id).filter(|child| !child.told) else { return };
        child.told = true;
        let (spi_in, further) = (child.spi_in, !child.resource.is_any());
        if further && !matches!(reason, DownReason::Rekeyed | DownReason::Redundant) {
            self.resource_lost(ctx.now);
        }
        ctx.event(Event::ChildDown { conn: self.conn, child: id, spi_in, reason, linger });
    }

    /// It is gone on both sides.
    pub(crate) fn remove_child(
        &mut self,
        id: ChildId,
        reason: DownReason,
        linger: Duration,
        ctx: &mut Ctx<'_>,
    ) {
        self.tell_child_down(id, reason, linger, ctx);
        if let Some(child) = self.children.remove(&id) {
            ctx.core.free_esp_spi(child.spi_in);
        }
    }

    pub(crate) fn next_child_timeout(&self) -> Option<Instant> {
        // Before they are adopted and after they moved there are none.
        self.children.values().filter_map(Child::next_timeout).min()
    }

    pub(crate) fn handle_child_timers(&mut self, shell: &mut Shell, ctx: &mut Ctx<'_>) {
        let due = self.children.values().filter(|child| child.next_timeout().is_some_and(|at| at <= ctx.now));
        let due: Vec<(ChildId, bool, ChildPhase)> =
            due.map(|child| (child.id, child.hard <= ctx.now, child.phase)).collect();
        for (id, hard, phase) in due {
            if hard {
                let reason =
                    if phase == ChildPhase::Replaced { DownReason::Rekeyed } else { DownReason::Lifetime };
                self.close_child(id, reason, shell, ctx);
                continue;
            }
            if let Some(child) = self.children.get_mut(&id) {
                child.soft = None;
            }
            self.want(Want::RekeyChild(id), shell, ctx);
        }
    }
}
