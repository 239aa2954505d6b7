//! When a worker has more than one core's work, another that idles reads one of its queues; and gives it back.
//!
//! Both directions of a tunnel in one thread cost least: what one direction left in the caches the other uses, and
//! nobody wakes anybody. It is right until that thread's core is full. So the workers watch their own processor time,
//! a window at a time, and move the reading of a queue (never a packet) to another worker while that helps.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tunnel::Tick;

/// The least length of a window, milliseconds.
const WINDOW: u64 = 200;
/// Per mille of a core: from here on a worker is full.
const FULL: u64 = 900;
/// Up to here a worker has room for another's queue.
const IDLE: u64 = 300;
/// Two workers whose loads together stay below this do with one.
const ENOUGH_FOR_ONE: u64 = 700;

/// A worker's load in its last window, for all to see: the window's end in milliseconds, and per mille of a core.
#[derive(Debug, Default)]
pub(super) struct Load(AtomicU64);

impl Load {
    fn set(&self, now: Tick, load: u64) {
        self.0.store(now.0 << 16 | load.min(0xffff), Ordering::Relaxed);
    }

    /// One that told nothing for two windows sleeps.
    fn get(&self, now: Tick) -> u64 {
        let told = self.0.load(Ordering::Relaxed);
        if now.0.saturating_sub(told >> 16) > 2 * WINDOW { 0 } else { told & 0xffff }
    }
}

/// A queue this worker reads, and what it brought in the window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading<T> {
    /// Which.
    pub(super) queue: T,
    /// Octets in the window.
    pub(super) octets: u64,
    /// The worker it belongs to.
    pub(super) home: usize,
}

/// The windows of one worker.
#[derive(Debug, Default)]
pub(super) struct Balance {
    since: Tick,
    used: Duration,
    /// Octets received from sockets in the window.
    pub(super) received: u64,
}

impl Balance {
    /// Is a window over?
    pub(super) fn is_due(&self, now: Tick) -> bool {
        now.since(self.since) >= WINDOW
    }

    /// Ends a window at `now`, with `used` the thread's processor time since it began, and tells the load to all.
    /// Answers which queue shall be read by which worker from now on.
    pub(super) fn close<T: Copy>(
        &mut self,
        me: usize,
        loads: &[Load],
        now: Tick,
        used: Duration,
        readings: &[Reading<T>],
    ) -> Option<(T, usize)> {
        let length = now.since(self.since).max(1);
        // A window that an idle time stretched says little about now; it counts all the same, as idle.
        let load = u64::try_from(used.saturating_sub(self.used).as_millis()).unwrap_or(0) * 1000 / length;
        let received = std::mem::take(&mut self.received);
        (self.since, self.used) = (now, used);
        let of = |worker: usize| loads.get(worker).map_or(0, |load| load.get(now));
        if let Some(own) = loads.get(me) {
            own.set(now, load);
        }
        let back =
            readings.iter().find(|reading| reading.home != me && load + of(reading.home) < ENOUGH_FOR_ONE);
        if let Some(reading) = back {
            return Some((reading.queue, reading.home));
        }
        if load < FULL {
            return None;
        }
        let (idle, _) = (0..loads.len())
            .filter(|worker| *worker != me)
            .map(|worker| (worker, of(worker)))
            .min_by_key(|(_, load)| *load)
            .filter(|(_, load)| *load <= IDLE)?;
        most_of(received, readings).map(|queue| (queue, idle))
    }
}

/// The queue to give away: the busiest that leaves a quarter of all octets here, and is itself worth an eighth.
fn most_of<T: Copy>(received: u64, readings: &[Reading<T>]) -> Option<T> {
    let all = received + readings.iter().map(|reading| reading.octets).sum::<u64>();
    readings
        .iter()
        .filter(|reading| reading.octets <= all / 4 * 3 && reading.octets > all / 8)
        .max_by_key(|reading| reading.octets)
        .map(|reading| reading.queue)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: usize = 0;

    fn loads(at: u64, others: &[u64]) -> Vec<Load> {
        let all: Vec<Load> = (0..=others.len()).map(|_| Load::default()).collect();
        for (load, told) in all[1..].iter().zip(others) {
            load.set(Tick(at), *told);
        }
        all
    }

    fn reading(queue: u32, octets: u64, home: usize) -> Reading<u32> {
        Reading { queue, octets, home }
    }

    /// One window of 200 ms, with so much of it used and received.
    fn window(used: u64, received: u64, others: &[u64], readings: &[Reading<u32>]) -> Option<(u32, usize)> {
        let mut balance = Balance { since: Tick(1000), used: Duration::from_secs(5), received };
        assert!(!balance.is_due(Tick(1199)) && balance.is_due(Tick(1200)));
        let used = Duration::from_secs(5) + Duration::from_millis(used);
        balance.close(HERE, &loads(1100, others), Tick(1200), used, readings)
    }

    #[test]
    fn a_full_worker_gives_a_direction_to_the_idlest() {
        let both = [reading(7, 50, HERE)];
        assert_eq!(window(190, 50, &[200, 100, 150], &both), Some((7, 2)));
        assert_eq!(window(170, 50, &[200, 100, 150], &both), None, "it is not full");
        assert_eq!(window(190, 50, &[400, 350, 310], &both), None, "nobody idles");
        assert_eq!(window(190, 50, &[], &both), None, "there is nobody else");
    }

    #[test]
    fn what_would_not_help_is_not_moved() {
        assert_eq!(window(200, 2, &[0], &[reading(7, 98, HERE)]), None, "all of the work is that queue's");
        assert_eq!(window(200, 98, &[0], &[reading(7, 2, HERE)]), None, "none of it is");
        assert_eq!(window(200, 0, &[0], &[]), None);
        let several = [reading(1, 10, HERE), reading(2, 60, HERE), reading(3, 30, HERE)];
        assert_eq!(window(200, 0, &[0], &several), Some((2, 1)), "the busiest that leaves enough");
    }

    #[test]
    fn a_guest_goes_home_when_one_core_does_for_both() {
        let guest = [reading(7, 50, 1)];
        assert_eq!(window(60, 0, &[390], &guest), Some((7, 1)));
        assert_eq!(window(60, 0, &[410], &guest), None);
        // Its home sleeps: it told its load long ago.
        let mut balance = Balance { since: Tick(9800), ..Balance::default() };
        let used = Duration::from_millis(100);
        assert_eq!(balance.close(HERE, &loads(1000, &[999]), Tick(10_000), used, &guest), Some((7, 1)));
    }

    #[test]
    fn a_window_that_sleep_stretched_counts_as_idle() {
        let mut balance = Balance::default();
        let all = loads(60_000, &[0]);
        let used = Duration::from_millis(190);
        assert_eq!(balance.close(HERE, &all, Tick(60_000), used, &[reading(7, 1, HERE)]), None);
        assert_eq!(all[HERE].get(Tick(60_000)), 3);
        assert_eq!(all[HERE].get(Tick(60_401)), 0);
    }
}
