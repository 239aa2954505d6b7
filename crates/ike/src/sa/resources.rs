//! The CHILD SAs of an authenticated IKE SA that have the same selectors, one for each resource (RFC 9611).

use std::time::Instant;

use ike_wire::{NotifyType, Payload};

use super::{Shell, Task, Up, Want};
use crate::child::Child;
use crate::core::Ctx;
use crate::counters::Counter;
use crate::event::{ChildId, DownReason, Note, Role};
use crate::exchange::body::Body;
use crate::exchange::child::ChildTask;
use crate::exchange::serve::Refusal;
use crate::resource::{Pool, Resource, Resources};

impl Up {
    /// The CHILD SA in use that any resource may use; of several the newest.
    pub(crate) fn fallback(&self) -> Option<&Child> {
        self.children.values().rev().find(|child| child.is_installed() && child.resource.is_any())
    }

    /// The first CHILD SA is made, and the peer did or did not speak of resources.
    pub(crate) fn settle_resources(&mut self, peer_spoke: bool, role: Role, now: Instant) {
        let wanted = self.config.resource_sas.get() > 1;
        self.pool = wanted.then(|| Pool::new(peer_spoke, role == Role::Initiator, now));
    }

    /// May there be further ones?
    fn agreed(&self) -> bool {
        self.pool.as_ref().is_some_and(|pool| pool.agreed)
    }

    /// What we say in a request for one. RFC 9611 section 3: in the exchange that makes the first, in those that make the
    /// others, and, if one likes, in those that rekey them.
    pub(crate) fn announce_resource(&self, afresh: bool, resource: Resource) -> Option<Payload> {
        let wanted = self.config.resource_sas.get() > 1;
        (wanted && (self.agreed() || (afresh && resource.is_any()))).then(|| resource.notify())
    }

    /// The lowest number that no CHILD SA in use has, nor one that we are asking for.
    fn free_resource(&self) -> Option<Resource> {
        let taken = |resource: &Resource| {
            self.children.values().any(|child| child.is_installed() && child.resource == *resource)
                || self.asking() == Some(*resource)
        };
        let mut all = (1..self.config.resource_sas.get()).map(Resource);
        all.find(|resource| !taken(resource)).filter(|_| self.agreed())
    }

    /// The one we are asking for.
    fn asking(&self) -> Option<Resource> {
        match &self.task {
            Some(Task::Child(task)) if task.is_further() => Some(task.resource),
            _ => None,
        }
    }

    /// The next one to ask for: as far as the peer is known to grant it.
    pub(crate) fn missing_resource(&self) -> Option<Resource> {
        let enough = self.pool.as_ref()?.enough;
        self.free_resource().filter(|_| enough.is_none_or(|enough| self.further() < usize::from(enough)))
    }

    /// How many there are beside the one for all.
    fn further(&self) -> usize {
        self.children.values().filter(|child| child.is_installed() && !child.resource.is_any()).count()
    }

    /// For which resource the peer asks for a CHILD SA from scratch. RFC 9611 section 5.2: TS_MAX_QUEUE says that there
    /// will be no more of these; NO_ADDITIONAL_SAS would speak of other selectors too. Where both ends ask for the last
    /// one at the same time, both are put off, for times of their own.
    pub(crate) fn asked_resource(&self, body: Body<'_>, ctx: &mut Ctx<'_>) -> Result<Resource, Box<Refusal>> {
        let further = self.agreed() && self.has_child() && body.has(NotifyType::SA_RESOURCE_INFO);
        if !further {
            return Ok(Resource::ANY);
        }
        self.free_resource().ok_or_else(|| {
            if self.asking().is_some() {
                return Refusal::temporary(ctx);
            }
            ctx.count(Counter::ResourceRefused);
            Refusal::bare(NotifyType::TS_MAX_QUEUE, None)
        })
    }

    /// The peer wants no more.
    pub(crate) fn enough_resources(&mut self, task: ChildTask, ctx: &mut Ctx<'_>) {
        ctx.count(Counter::ResourceDenied);
        ctx.note(Note::EnoughResources { conn: self.conn, have: self.further() + 1 });
        self.abandon_child(task, ctx);
        self.no_more_resources();
    }

    /// Those there are, are all that can be had on this IKE SA.
    pub(crate) fn no_more_resources(&mut self) {
        let further = self.further();
        if let Some(pool) = &mut self.pool {
            pool.enough = Some(u8::try_from(further).unwrap_or(u8::MAX));
        }
    }

    /// A further one is gone, or not to be had: it is asked for again after a pause.
    pub(crate) fn resource_lost(&mut self, now: Instant) {
        if let Some(pool) = &mut self.pool {
            pool.lost(now);
        }
    }

    /// Sees that there are as many as agreed, and none without the one for all.
    pub(super) fn tend_resources(&mut self, shell: &mut Shell, ctx: &mut Ctx<'_>) {
        if !self.is_current() {
            return;
        }
        if !self.has_child() {
            let further = |child: &&Child| child.is_installed() && !child.resource.is_any();
            let orphans: Vec<ChildId> =
                self.children.values().filter(further).map(|child| child.id).collect();
            for child in orphans {
                self.close_child(child, DownReason::Orphaned, shell, ctx);
            }
            return;
        }
        if self.missing_resource().is_some() && !self.is_adding() {
            self.add_resource(shell, ctx);
        }
    }

    /// Asks for the next one as soon as that may be.
    pub(crate) fn add_resource(&mut self, shell: &mut Shell, ctx: &mut Ctx<'_>) {
        let Some(not_before) = self.pool.as_ref().map(|pool| pool.not_before) else { return };
        let wait = not_before.saturating_duration_since(ctx.now);
        if wait.is_zero() {
            self.wants.push_back(Want::AddChild);
        } else {
            self.later(Want::AddChild, wait, shell, ctx);
        }
    }

    fn is_adding(&self) -> bool {
        self.wants.contains(&Want::AddChild)
            || self.put_off.contains(&Want::AddChild)
            || self.asking().is_some()
    }

    /// What views may know.
    pub(crate) fn resources(&self) -> Resources {
        let wanted = self.config.resource_sas.get();
        match &self.pool {
            None => Resources::One,
            Some(pool) if !pool.agreed => Resources::PeerSilent { wanted },
            Some(pool) => {
                Resources::Agreed { wanted, enough: pool.enough.map(|further| further.saturating_add(1)) }
            }
        }
    }
}
