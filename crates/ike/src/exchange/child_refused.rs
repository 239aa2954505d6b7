//! Our CREATE_CHILD_SA for a CHILD SA where it is refused, comes to nothing, or meets the peer's for the same (RFC 7296
//! sections 2.8.1 and 2.25).

use std::time::Duration;

use crypto::Group;
use ike_wire::{Notify, NotifyType};

use super::body::{Body, refused, wanted_group};
use super::child::{ChildTask, Collision, RETRY, RETRY_SOON};
use crate::child::{Child, ChildPhase};
use crate::core::Ctx;
use crate::event::{ChildId, DownReason};
use crate::failure::Failure;
use crate::negotiate::Pfs;
use crate::resource::Resource;
use crate::sa::{Shell, Stage, Task, Up, Want};

/// SPIs remembered of deletions during one request.
const MAX_GONE: usize = 16;

impl Up {
    pub(super) fn child_refused(
        &mut self,
        mut task: ChildTask,
        notify: &Notify,
        body: Body<'_>,
        shell: &mut Shell,
        ctx: &mut Ctx<'_>,
    ) {
        if notify.kind == NotifyType::INVALID_KE_PAYLOAD {
            let wanted = wanted_group(notify).unwrap_or(0);
            let ours: Vec<Group> = task.offer.proposals.iter().flat_map(|one| one.groups.clone()).collect();
            let group = Group::from_iana(wanted).filter(|group| ours.contains(group) && !task.regrouped);
            let Some(group) = group else {
                return self.child_failed(task, Failure::InvalidKe { wanted, ours }, RETRY, shell, ctx);
            };
            task.group = Some(group);
            task.regrouped = true;
            self.begin_child_task(&mut task, shell, ctx);
            self.task = Some(Task::Child(Box::new(task)));
            return;
        }
        if notify.kind == NotifyType::CHILD_SA_NOT_FOUND && task.collision.is_none() {
            return self.child_not_found(task, shell, ctx);
        }
        // RFC 9611 section 5.2: no more of these. Older peers have but one word for it.
        let enough = [NotifyType::TS_MAX_QUEUE, NotifyType::NO_ADDITIONAL_SAS].contains(&notify.kind);
        if enough && task.is_further() {
            return self.enough_resources(task, ctx);
        }
        if notify.kind == NotifyType::NO_ADDITIONAL_SAS && task.old.is_none() && !self.has_child() {
            // RFC 7296 section 4: an IKE SA on which no CHILD SA can be made is closed, and another one made.
            let failure = refused(notify, task.exchange());
            return self.child_broken(task, failure, DownReason::Lifetime, shell, ctx);
        }
        if notify.kind == NotifyType::NO_PROPOSAL_CHOSEN
            && let Some(rung) = task.next_rung(&self.config)
        {
            let purpose = (task.old, task.resource);
            self.abandon_child(task, ctx);
            self.start_child_at(purpose, rung, shell, ctx);
            return;
        }
        // RFC 7296 section 2.25: to be tried again "at a later time".
        let soon = notify.kind == NotifyType::TEMPORARY_FAILURE;
        match task.offer.conclude(body, Pfs::Auth, task.exchange()) {
            Err(failure) => {
                self.child_failed(task, failure, if soon { RETRY_SOON } else { RETRY }, shell, ctx)
            }
            Ok(_) => self.abandon_child(task, ctx),
        }
    }

    /// RFC 7296 section 2.25: on CHILD_SA_NOT_FOUND "silently delete the Child SA (if it still exists) and send a
    /// request to create a new Child SA from scratch (if the Child SA does not yet exist)".
    fn child_not_found(&mut self, task: ChildTask, shell: &mut Shell, ctx: &mut Ctx<'_>) {
        let old = task.old;
        self.abandon_child(task, ctx);
        if let Some(old) = old {
            self.remove_child(old, DownReason::PeerLost, Duration::ZERO, ctx);
        }
        if !self.has_child() {
            self.want(Want::CreateChild, shell, ctx);
        }
    }

    /// The IKE SA has to end with it: the peer holds a CHILD SA of which we cannot accept what it made, or makes none on this
    /// IKE SA.
    pub(super) fn child_broken(
        &mut self,
        task: ChildTask,
        failure: Failure,
        reason: DownReason,
        shell: &mut Shell,
        ctx: &mut Ctx<'_>,
    ) {
        ctx.failed(self.conn, failure);
        self.abandon_child(task, ctx);
        self.delete_ike(reason, shell, ctx);
    }

    /// Its keys are never computed, and the peer holds it. Where nobody needs it, the peer is told to drop it: one for a
    /// further resource (with the one it was to replace, which the peer may have given up for it), and one that goes anyway
    /// because the peer made the same. Else all ends.
    pub(super) fn child_without_keys(&mut self, mut task: ChildTask, shell: &mut Shell, ctx: &mut Ctx<'_>) {
        let (further, old) = (!task.resource.is_any(), task.old);
        let made = task.collision.as_ref().filter(|_| task.yields()).and_then(|collision| collision.child);
        let lost = made.and_then(|made| self.children.get(&made)).is_some_and(Child::is_installed);
        let Some((answer, _)) = task.reply.take() else { return self.abandon_child(task, ctx) };
        if task.gone.contains(&answer.spi_out) {
            return self.child_failed(task, Failure::Abandoned, RETRY_SOON, shell, ctx);
        }
        if !further && !lost {
            let reason = DownReason::Overloaded;
            return self.child_broken(task, Failure::Overloaded, reason, shell, ctx);
        }
        if !lost {
            ctx.failed(self.conn, Failure::Overloaded);
        }
        let old = old.filter(|old| self.children.contains_key(old));
        if old.is_none() && further {
            self.resource_lost(ctx.now);
        }
        self.close_unkeyed(task.offer.spi_in, answer, task.resource, shell, ctx);
        match old {
            Some(old) if lost => self.replaced_by_peer(old, ctx),
            Some(old) => self.close_child(old, DownReason::Overloaded, shell, ctx),
            None => {}
        }
    }

    /// It came to nothing. With the peer's own exchange for the same purpose accepted meanwhile, that is no failure.
    pub(super) fn child_failed(
        &mut self,
        task: ChildTask,
        failure: Failure,
        again: Duration,
        shell: &mut Shell,
        ctx: &mut Ctx<'_>,
    ) {
        let (old, temporary) = (task.old, again == RETRY_SOON);
        let further = task.is_further();
        let by_peer = task.collision.as_ref().map(|collision| collision.child.is_some());
        self.abandon_child(task, ctx);
        let known = old.filter(|old| self.children.contains_key(old));
        match (by_peer, known) {
            (None, _) => {}
            (Some(true), Some(old)) => return self.replaced_by_peer(old, ctx),
            (Some(true), None) => return,
            (Some(false), _) => return self.unless_peer_makes(old, again, shell, ctx),
        }
        if !temporary {
            ctx.failed(self.conn, failure);
        }
        match known {
            Some(old) => self.later(Want::RekeyChild(old), again, shell, ctx),
            None if further && temporary => self.later(Want::AddChild, again, shell, ctx),
            None if further => self.resource_lost(ctx.now),
            // The owner of the connection dials again after a failure; a temporary one it does not hear of.
            None if temporary && !self.has_child() => self.later(Want::CreateChild, again, shell, ctx),
            None => {}
        }
    }

    /// The peer's exchange for the same is being computed. Should that come to nothing, ours is to be done after all; if
    /// it makes one, this is overtaken.
    fn unless_peer_makes(
        &mut self,
        old: Option<ChildId>,
        again: Duration,
        shell: &mut Shell,
        ctx: &mut Ctx<'_>,
    ) {
        match old {
            Some(old) if self.children.contains_key(&old) => {
                self.later(Want::RekeyChild(old), again, shell, ctx);
            }
            Some(_) => {}
            None => self.later(Want::CreateChild, again, shell, ctx),
        }
    }

    pub(crate) fn abandon_child(&mut self, task: ChildTask, ctx: &mut Ctx<'_>) {
        ctx.core.free_esp_spi(task.offer.spi_in);
        if let Some(child) = task.old.and_then(|old| self.children.get_mut(&old))
            && child.phase == ChildPhase::Rekeying
        {
            child.phase = ChildPhase::Installed;
        }
    }

    /// The peer asks for what we are at. If our request is out, the nonces will decide; if not, the peer's goes first.
    pub(crate) fn note_collision(
        &mut self,
        replaces: Option<ChildId>,
        resource: Resource,
        (ni, nr): (&[u8], &[u8]),
        spi_in: u32,
        shell: &mut Shell,
        ctx: &mut Ctx<'_>,
    ) {
        let low = ni.min(nr).to_vec();
        match self.task.take() {
            Some(Task::Child(mut task)) if task.old == replaces && task.resource == resource => {
                if matches!(task.stage, Stage::Generating(_)) {
                    self.abandon_child(*task, ctx);
                    return self.unless_peer_makes(replaces, RETRY, shell, ctx);
                }
                task.collision = Some(Collision { spi_in, low, child: None });
                self.task = Some(Task::Child(task));
            }
            other => self.task = other,
        }
    }

    /// The peer deleted a CHILD SA that we do not know: perhaps the one we are making.
    pub(crate) fn note_gone(&mut self, spi: u32) {
        if let Some(Task::Child(task)) = &mut self.task
            && task.gone.len() < MAX_GONE
        {
            task.gone.push(spi);
        }
    }

    /// The peer's exchange came to nothing.
    pub(crate) fn forget_collision(&mut self, spi_in: u32) {
        if let Some(Task::Child(task)) = &mut self.task
            && task.collision.as_ref().is_some_and(|collision| collision.spi_in == spi_in)
        {
            task.collision = None;
        }
    }

    /// The peer's exchange made a CHILD SA.
    pub(crate) fn resolve_collision(&mut self, spi_in: u32, made: ChildId) {
        if let Some(Task::Child(task)) = &mut self.task
            && let Some(collision) = task.collision.as_mut().filter(|collision| collision.spi_in == spi_in)
        {
            collision.child = Some(made);
        }
    }
}
