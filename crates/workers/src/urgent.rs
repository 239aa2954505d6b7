//! The queues of control packets that one worker reads: a set of its own, looked at before a few steps of others are done.

use std::io;
use std::mem;
use std::time::Duration;

use kernel::epoll::{Epoll, Interest, Ready};

/// Steps of others, each of one batch at most, after which the set is looked at again. A look is a system call: a turn of no more
/// steps than these has none but the worker's own wait, which tells of this set as well.
const STEPS: usize = 4;
/// Queues one look tells of.
const READY: usize = 64;

/// The set.
pub(super) struct Urgent {
    pub(super) epoll: Epoll,
    ready: Vec<Ready>,
    /// Something may wait in it.
    due: bool,
    /// Steps of others since the last look.
    steps: usize,
}

impl Urgent {
    /// An empty set, told of under `token` in the worker's own.
    pub(super) fn inside(whole: &Epoll, token: u64) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        whole.add(&epoll, token, Interest::READ)?;
        Ok(Self { epoll, ready: Vec::with_capacity(READY), due: false, steps: 0 })
    }

    /// A wait of the worker's own ended: did it, or may it, tell of this set?
    pub(super) fn begin(&mut self, told: bool) {
        (self.due, self.steps) = (told, 0);
    }

    /// Another step of others is to be done: is it due again before that?
    pub(super) fn is_due_before_step(&mut self) -> bool {
        let many = self.steps >= STEPS;
        self.steps += 1;
        many
    }

    /// Shall it be looked at before all others?
    pub(super) fn is_due(&self) -> bool {
        self.due
    }

    /// What is ready now. It is due again where there was something. [`give_back`](Self::give_back) what was served.
    pub(super) fn look(&mut self) -> Vec<Ready> {
        let mut ready = mem::take(&mut self.ready);
        if self.epoll.wait(&mut ready, Some(Duration::ZERO)).is_err() {
            ready.clear();
        }
        (self.due, self.steps) = (!ready.is_empty(), 0);
        ready
    }

    /// Its memory is used for the next look.
    pub(super) fn give_back(&mut self, served: Vec<Ready>) {
        self.ready = served;
    }
}
