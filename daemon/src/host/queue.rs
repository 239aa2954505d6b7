//! Commands that wait for the host's thread: bounded, and what a later one makes needless waits no more.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gateway::Device;

use super::Command;

/// Commands that may wait. A tunnel has two or three of them when it comes or goes, and the gateway has one batch of routes
/// under way; so many mean that the kernel has not answered for hours.
pub(super) const MOST: usize = 1 << 16;

/// The queue, for both threads.
#[derive(Default)]
pub(super) struct Queue(Mutex<State>);

#[derive(Default)]
struct State {
    waiting: VecDeque<Command>,
    ended: bool,
}

/// What there is to do.
#[derive(Debug)]
pub(super) enum Next {
    /// This.
    Do(Command),
    /// Nothing now.
    Nothing,
    /// Nothing, ever again.
    Ended,
}

impl Queue {
    /// Adds one; `false` when there is no room, and it is lost.
    #[must_use]
    pub(super) fn push(&self, command: Command) -> bool {
        let mut state = self.lock();
        let replaces =
            matches!(command, Command::Read | Command::Sources(_) | Command::Device(_, Device::Mtu(_)));
        if replaces
            && let Some(place) = state.waiting.iter().rposition(|earlier| is_replaced(earlier, &command))
        {
            state.waiting.remove(place);
        }
        let room = state.waiting.len() < MOST;
        if room {
            state.waiting.push_back(command);
        }
        room
    }

    /// Takes the next.
    pub(super) fn next(&self) -> Next {
        let mut state = self.lock();
        match (state.waiting.pop_front(), state.ended) {
            (Some(command), _) => Next::Do(command),
            (None, true) => Next::Ended,
            (None, false) => Next::Nothing,
        }
    }

    /// No more will be added.
    pub(super) fn end(&self) {
        self.lock().ended = true;
    }

    /// Nobody panics while holding it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Is `earlier` needless when `later` is carried out after all that waits? Of what is answered, only what has one answer
/// for many: the kernel's state.
fn is_replaced(earlier: &Command, later: &Command) -> bool {
    match (earlier, later) {
        (Command::Read, Command::Read) | (Command::Sources(_), Command::Sources(_)) => true,
        // An interface that was to be opened between the two is opened with the MTU of its own, and then has the later one.
        (Command::Device(one, Device::Mtu(_)), Command::Device(other, Device::Mtu(_))) => one == other,
        (_, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use gateway::{RequestId, Sources, TunnelId};

    use super::*;

    fn mtu(tunnel: u32, mtu: u32) -> Command {
        Command::Device(TunnelId(tunnel), Device::Mtu(mtu))
    }

    fn rest(queue: &Queue) -> Vec<String> {
        let next = || match queue.next() {
            Next::Do(command) => Some(format!("{command:?}")),
            Next::Nothing | Next::Ended => None,
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn what_a_later_command_makes_needless_does_not_wait_and_all_else_keeps_its_order() {
        let queue = Queue::default();
        let commands = || {
            let close = Command::Device(TunnelId(1), Device::Close);
            [Command::Read, mtu(1, 1400), mtu(2, 1400), close, Command::Sources(Sources::new())]
        };
        for command in commands().into_iter().chain(commands()) {
            assert!(queue.push(command));
        }
        let close = Command::Device(TunnelId(1), Device::Close);
        let expected: Vec<Command> = std::iter::once(close).chain(commands()).collect();
        let expected: Vec<String> = expected.iter().map(|command| format!("{command:?}")).collect();
        assert_eq!(rest(&queue), expected);
    }

    #[test]
    fn a_thousand_times_the_same_is_once_and_the_bound_is_one() {
        let queue = Queue::default();
        (0..1000).for_each(|_| assert!(queue.push(Command::Read) && queue.push(mtu(7, 1300))));
        assert_eq!(rest(&queue).len(), 2);
        let ask = |number: usize| Command::Drops(RequestId(number as u64));
        (0..MOST).for_each(|number| assert!(queue.push(ask(number))));
        assert!(!queue.push(ask(MOST)));
        assert_eq!(rest(&queue).len(), MOST);
    }

    #[test]
    fn what_waits_is_done_before_the_end() {
        let queue = Queue::default();
        assert!(matches!(queue.next(), Next::Nothing));
        assert!(queue.push(Command::Read));
        queue.end();
        assert!(matches!(queue.next(), Next::Do(Command::Read)));
        assert!(matches!(queue.next(), Next::Ended));
    }
}
