//! Sequence numbers: reserved once on sending, completed to 64 bits on receipt (RFC 4303 section 2.2 and
//! appendix A).

use std::sync::atomic::{AtomicU64, Ordering};

/// The last sequence number an SA may send.
///
/// RFC 4303 section 3.3.3: "the sender MUST NOT send a packet on an SA if doing so would cause the
/// Sequence Number to cycle".
#[must_use]
pub const fn last(esn: bool) -> u64 {
    // One below the very last: then the counter that holds the next number cannot overflow either.
    if esn { u64::MAX - 1 } else { u32::MAX as u64 }
}

/// The outbound counter. Each number is given out at most once, whatever threads ask.
#[derive(Debug)]
pub(crate) struct Outbound {
    next: AtomicU64,
    last: u64,
}

impl Outbound {
    /// Starts at 1 (RFC 4303 section 2.2); `limit` is the last number allowed, if lower than the space.
    pub(crate) fn new(esn: bool, limit: Option<u64>) -> Self {
        Self { next: AtomicU64::new(1), last: last(esn).min(limit.unwrap_or(u64::MAX)) }
    }

    /// Takes up to `count` numbers in a row: the first, and how many; `None` when none is left.
    pub(crate) fn take(&self, count: u64) -> Option<(u64, u64)> {
        let mut granted = 0;
        let first = self
            .next
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| {
                granted = count.min((self.last + 1).saturating_sub(next));
                (granted > 0).then_some(next + granted)
            })
            .ok()?;
        Some((first, granted))
    }

    /// The last number given out; 0 before the first.
    pub(crate) fn current(&self) -> u64 {
        self.next.load(Ordering::Relaxed) - 1
    }

    #[cfg(test)]
    pub(crate) fn jump(&self, next: u64) {
        self.next.store(next, Ordering::Relaxed);
    }
}

/// The 64-bit sequence number behind the 32 bits on the wire, with `top` the highest received so far and
/// a window of `window` packets (RFC 4303 appendix A2.2). `None` where no such number can exist.
#[must_use]
pub fn infer(low: u32, top: u64, window: u32) -> Option<u64> {
    let (top_low, top_high) = (top as u32, (top >> 32) as u32);
    let bottom = top_low.wrapping_sub(window - 1);
    let high = if top_low >= window - 1 {
        // Case A: the window lies within one subspace.
        if low >= bottom { Some(top_high) } else { top_high.checked_add(1) }
    } else {
        // Case B: the window spans two subspaces.
        if low >= bottom { top_high.checked_sub(1) } else { Some(top_high) }
    }?;
    Some(u64::from(high) << 32 | u64::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_start_at_one_and_end_at_the_limit() {
        let counter = Outbound::new(false, None);
        assert_eq!(counter.take(3), Some((1, 3)));
        counter.jump(u64::from(u32::MAX) - 1);
        assert_eq!(counter.take(5), Some((u64::from(u32::MAX) - 1, 2)));
        assert_eq!(counter.take(1), None);
        assert_eq!(counter.current(), u64::from(u32::MAX));
        let counter = Outbound::new(true, None);
        counter.jump(u64::MAX - 2);
        assert_eq!(counter.take(9), Some((u64::MAX - 2, 2)));
        assert_eq!(counter.take(9), None);
        let counter = Outbound::new(true, Some(10));
        assert_eq!(counter.take(64), Some((1, 10)));
        assert_eq!(counter.take(1), None);
    }

    #[test]
    fn the_high_bits_follow_the_window_over_the_edge_of_a_subspace() {
        const W: u32 = 64;
        let two_32 = 1u64 << 32;
        assert_eq!(infer(1, 0, W), Some(1));
        assert_eq!(infer(u32::MAX, 100, W), Some(u64::from(u32::MAX)));
        assert_eq!(infer(u32::MAX, 10, W), None);
        assert_eq!(infer(3, two_32 - 1, W), Some(two_32 + 3));
        assert_eq!(infer(u32::MAX - 3, two_32 + 3, W), Some(two_32 - 4));
        assert_eq!(infer(50, two_32 + 3, W), Some(two_32 + 50));
        assert_eq!(infer(0, u64::MAX - 5, W), None);
    }
}
