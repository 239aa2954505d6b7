//! The timers of one IKE SA: a closed list over a table.

use std::time::Instant;

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// The whole of a half-open or lingering IKE SA's patience.
    GiveUp,
    /// The peer has been silent for long: ask for a sign of life.
    Liveness,
    /// The soft lifetime.
    Rekey,
    /// The hard lifetime.
    Expire,
    /// Remind the NAT in front of us.
    Keepalive,
    /// Try again what was put off.
    Retry,
}

impl Timer {
    const ALL: [Self; 6] =
        [Self::GiveUp, Self::Liveness, Self::Rekey, Self::Expire, Self::Keepalive, Self::Retry];
}

/// When each is due, if it runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timers([Option<Instant>; Timer::ALL.len()]);

impl Timers {
    pub(crate) fn set(&mut self, timer: Timer, at: Instant) {
        if let Some(slot) = self.0.get_mut(timer as usize) {
            *slot = Some(at);
        }
    }

    pub(crate) fn stop(&mut self, timer: Timer) {
        if let Some(slot) = self.0.get_mut(timer as usize) {
            *slot = None;
        }
    }

    pub(crate) fn stop_all(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn at(&self, timer: Timer) -> Option<Instant> {
        self.0.get(timer as usize).copied().flatten()
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.iter().copied().flatten().min()
    }

    /// The earliest that is due, taken off the table.
    pub(crate) fn pop_expired(&mut self, now: Instant) -> Option<Timer> {
        let (_, timer) = Timer::ALL
            .into_iter()
            .filter_map(|timer| Some((self.at(timer)?, timer)))
            .min_by_key(|(at, _)| *at)?;
        let due = self.at(timer).is_some_and(|at| at <= now);
        due.then(|| {
            self.stop(timer);
            timer
        })
    }
}
