//! What an IKE SA wants to do, one thing after the other: a window of one request (RFC 7296 section 2.3).

use std::time::Duration;

use super::{Shell, Task, Up, Want};
use crate::core::Ctx;
use crate::exchange::child::RETRY_SOON;
use crate::timer::Timer;

impl Up {
    /// Something to do; at once if the window is free.
    pub(crate) fn want(&mut self, want: Want, shell: &mut Shell, ctx: &mut Ctx<'_>) {
        if !self.wants.contains(&want) {
            match want {
                Want::DeleteIke | Want::DeleteChild(_) => self.wants.push_front(want),
                Want::CreateChild
                | Want::AddChild
                | Want::RekeyChild(_)
                | Want::RekeyIke
                | Want::Liveness => self.wants.push_back(want),
            }
        }
        self.proceed(shell, ctx);
    }

    /// Something to do after `delay` and up to as much again at random.
    pub(crate) fn later(&mut self, want: Want, delay: Duration, shell: &mut Shell, ctx: &mut Ctx<'_>) {
        if !self.put_off.contains(&want) {
            self.put_off.push(want);
        }
        let at = ctx.now + delay + ctx.core.jitter(delay);
        let at = shell.timers.at(Timer::Retry).map_or(at, |earlier| earlier.min(at));
        shell.timers.set(Timer::Retry, at);
    }

    /// Somebody else has done it.
    pub(crate) fn want_no_more(&mut self, want: Want) {
        self.wants.retain(|one| *one != want);
        self.put_off.retain(|one| *one != want);
    }

    /// Begins the next thing wanted, if nothing is under way. Exchanges that make SAs also wait for the peer's to end.
    pub(crate) fn proceed(&mut self, shell: &mut Shell, ctx: &mut Ctx<'_>) {
        self.tend_resources(shell, ctx);
        while self.task.is_none() && shell.window.is_free() {
            let serving = self.serving_child.is_some() || self.serving_ike.is_some();
            let ready = |want: &Want| match want {
                Want::DeleteIke | Want::DeleteChild(_) | Want::Liveness => true,
                Want::CreateChild | Want::AddChild | Want::RekeyChild(_) | Want::RekeyIke => !serving,
            };
            let Some(index) = self.wants.iter().position(ready) else { return };
            let Some(want) = self.wants.remove(index) else { return };
            self.start(want, shell, ctx);
        }
    }

    fn start(&mut self, want: Want, shell: &mut Shell, ctx: &mut Ctx<'_>) {
        let current = self.owns_children();
        // Nothing new is made on one in whose place another is.
        let makes = self.is_current();
        match want {
            Want::DeleteIke => self.start_delete_ike(shell, ctx),
            Want::DeleteChild(child) if current => self.start_delete_child(child, shell, ctx),
            Want::CreateChild if makes && !self.has_child() => self.start_child(None, shell, ctx),
            Want::AddChild if makes && self.has_child() => self.start_further(shell, ctx),
            // The peer may not even have our answer that made it, and would not find it.
            Want::RekeyChild(child) if makes && self.is_unconfirmed(child) => {
                self.later(want, RETRY_SOON, shell, ctx);
            }
            Want::RekeyChild(child) if makes && self.can_rekey(child) => {
                self.start_child(Some(child), shell, ctx);
            }
            Want::RekeyIke if makes => self.start_ike(shell, ctx),
            Want::Liveness if current => self.start_liveness(shell, ctx),
            // Overtaken by events.
            Want::DeleteChild(_)
            | Want::CreateChild
            | Want::AddChild
            | Want::RekeyChild(_)
            | Want::RekeyIke
            | Want::Liveness => {}
        }
    }

    /// Loses interest in what is under way: its answer, if one is to come, is only waited for.
    pub(crate) fn drop_task(&mut self, shell: &Shell, ctx: &mut Ctx<'_>) {
        match self.task.take() {
            Some(Task::Child(task)) => ctx.core.free_esp_spi(task.offer.spi_in),
            Some(Task::Ike(_) | Task::DeleteChild(_) | Task::Liveness) | None => {}
            Some(Task::DeleteIke) => self.task = Some(Task::DeleteIke),
        }
        if self.task.is_none() && !shell.window.is_free() {
            self.task = Some(Task::Liveness);
        }
    }
}
