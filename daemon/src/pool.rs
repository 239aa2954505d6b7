//! Key exchanges, on as many threads as there are cores.
//!
//! They are arithmetic without a pause, from a fraction of a millisecond to half a second each. A thread for each of a
//! few hundred dials that begin at once would leave the loop, which reads every peer's answer, one share of the
//! processor in hundreds. So few are computed at a time and the others wait here.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::shell::Outcome;

/// More threads than this compute nothing sooner that matters.
const MOST: usize = 8;

/// Pieces of each kind that may wait. Each IKE SA waits for one or two, and those of strangers have rooms of their own: so
/// many mean that most are of SAs that gave up long ago.
const WAITING: usize = 1 << 14;

/// Kinds of work.
const KINDS: usize = 3;

/// What becomes of a piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It is computed.
    Come,
    /// It never is: too many wait.
    Missed,
}

type Task = Box<dyn FnOnce(Turn) -> Outcome + Send>;

/// What a thread does next.
enum Next {
    Compute(Task),
    Tell(Outcome),
}

/// The threads, which end once it is dropped.
pub(crate) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Turns<Task>,
    /// What is told of pieces that were never computed, before anything else is computed: by the threads that compute, so that they
    /// take these first while whoever asks goes on asking.
    missed: VecDeque<Outcome>,
    /// How many there were of those.
    overflows: u64,
    ended: bool,
}

impl Pool {
    /// Starts a thread a core; outcomes go to `outcomes`.
    ///
    /// # Errors
    /// Not a single thread can be started.
    pub(crate) fn start(outcomes: &mpsc::Sender<Outcome>) -> std::io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        for number in 0..cores.min(MOST) {
            let (of_thread, outcomes) = (Arc::clone(&shared), outcomes.clone());
            let thread = std::thread::Builder::new().name(format!("exchange-{number}"));
            match thread.spawn(move || of_thread.work(&outcomes)) {
                Ok(_) => {}
                Err(error) if number == 0 => return Err(error),
                Err(error) => tracing::warn!(%error, "fewer threads for key exchanges than cores"),
            }
        }
        Ok(Self { shared })
    }

    /// Has it computed when the turn of its kind (0, 1 or 2) comes. Each IKE SA waits for one piece of work at a time, or
    /// two; what was asked for one that is gone by then is computed all the same. Where too many of a kind wait, the oldest
    /// is not computed, and counted; its SA hears of that as it would of the outcome.
    pub(crate) fn submit(&self, kind: usize, task: impl FnOnce(Turn) -> Outcome + Send + 'static) {
        let missed = self.shared.lock().waiting.push(kind, Box::new(task));
        self.shared.changed.notify_one();
        let Some(missed) = missed else { return };
        let missed = missed(Turn::Missed);
        let count = {
            let mut state = self.shared.lock();
            state.missed.push_back(missed);
            state.overflows += 1;
            state.overflows
        };
        self.shared.changed.notify_one();
        // With the first, and then ever more rarely.
        if count.is_power_of_two() {
            tracing::warn!(count, "key exchanges that waited for too long are not computed: too many wait");
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    /// Nothing that could panic is done while it is held.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, outcomes: &mpsc::Sender<Outcome>) {
        while let Some(next) = self.next() {
            let outcome = match next {
                Next::Compute(task) => task(Turn::Come),
                Next::Tell(outcome) => outcome,
            };
            if outcomes.blocking_send(outcome).is_err() {
                return;
            }
        }
    }

    fn next(&self) -> Option<Next> {
        let mut state = self.lock();
        loop {
            if state.ended {
                return None;
            }
            let missed = state.missed.pop_front().map(Next::Tell);
            if let Some(next) = missed.or_else(|| state.waiting.pop().map(Next::Compute)) {
                return Some(next);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A queue for each kind of work, taken from in turn: a flood of one kind holds up no other.
struct Turns<T> {
    queues: [VecDeque<T>; KINDS],
    next: usize,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self { queues: std::array::from_fn(|_| VecDeque::new()), next: 0 }
    }
}

impl<T> Turns<T> {
    /// Adds one; the oldest of its kind, where it takes that one's place.
    fn push(&mut self, kind: usize, item: T) -> Option<T> {
        let queue = self.queues.get_mut(kind.min(KINDS - 1))?;
        let lost = if queue.len() >= WAITING { queue.pop_front() } else { None };
        queue.push_back(item);
        lost
    }

    fn pop(&mut self) -> Option<T> {
        let first = self.next;
        for kind in (0..KINDS).map(|step| (first + step) % KINDS) {
            if let Some(item) = self.queues.get_mut(kind).and_then(VecDeque::pop_front) {
                self.next = kind + 1;
                return Some(item);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn each_kind_has_its_turn_however_much_of_another_waits() {
        let mut turns = Turns::default();
        for item in 0..4 {
            assert_eq!(turns.push(2, item), None);
        }
        for (kind, item) in [(0, 10), (1, 20), (1, 21)] {
            assert_eq!(turns.push(kind, item), None);
        }
        let order: Vec<i32> = std::iter::from_fn(|| turns.pop()).collect();
        assert_eq!(order, [10, 20, 0, 21, 1, 2, 3]);
    }

    #[test]
    fn where_too_many_wait_the_oldest_of_the_kind_gives_way_and_is_counted() {
        let mut turns = Turns::default();
        assert_eq!(turns.push(0, usize::MAX), None);
        let lost: Vec<usize> = (0..WAITING + 3).filter_map(|item| turns.push(1, item)).collect();
        assert_eq!(lost, [0, 1, 2]);
        let order: Vec<usize> = std::iter::from_fn(|| turns.pop()).collect();
        assert_eq!((order.len(), order[0], order[1]), (WAITING + 1, usize::MAX, 3));
    }

    /// One whose threads are busy with nothing, as none was started.
    fn idle_pool() -> Pool {
        Pool { shared: Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() }) }
    }

    #[test]
    fn what_is_not_computed_is_told_of_before_anything_else_is_computed() {
        let pool = idle_pool();
        // The outcome says which piece it is of, and what became of it.
        for piece in 0..WAITING + 2 {
            pool.submit(1, move |turn| Err(format!("{piece} {turn:?}")));
        }
        assert_eq!(pool.shared.lock().overflows, 2);
        let (outcomes, mut receiver) = mpsc::channel(WAITING + 2);
        let shared = Arc::clone(&pool.shared);
        let thread = std::thread::spawn(move || shared.work(&outcomes));
        let words = |outcome: Outcome| outcome.err().unwrap();
        let told: Vec<String> = (0..WAITING + 2).map(|_| words(receiver.blocking_recv().unwrap())).collect();
        assert_eq!(told[..3], ["0 Missed", "1 Missed", "2 Come"]);
        assert_eq!(told.last().unwrap(), &format!("{} Come", WAITING + 1));
        drop(pool);
        thread.join().unwrap();
    }

    #[test]
    fn two_hundred_dials_are_computed_by_no_more_threads_than_cores_and_all_are() {
        let (outcomes, mut receiver) = mpsc::channel(256);
        let pool = Pool::start(&outcomes).unwrap();
        let (at_once, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        for number in 0..200 {
            let (at_once, most) = (Arc::clone(&at_once), Arc::clone(&most));
            pool.submit(number % KINDS, move |_| {
                most.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::yield_now();
                at_once.fetch_sub(1, Ordering::SeqCst);
                Ok(Box::new(|| gateway::Input::Time))
            });
        }
        for _ in 0..200 {
            assert!(receiver.blocking_recv().unwrap().is_ok());
        }
        let cores = std::thread::available_parallelism().unwrap().get();
        assert!((1..=cores.min(MOST)).contains(&most.load(Ordering::SeqCst)), "{most:?}");
        drop((pool, outcomes));
        assert!(receiver.blocking_recv().is_none(), "its threads let go of the outcomes");
    }
}
