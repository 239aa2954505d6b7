//! The anti-replay window (RFC 4303 section 3.4.3, appendix A): which of the newest sequence numbers were
//! received already.

use crate::Refusal;

/// The smallest window, in packets (RFC 4303 section 3.4.3: 64 is preferred and the default).
pub const MIN: u32 = 64;
/// The largest window, in packets.
pub const MAX: u32 = 8192;
/// The window used unless another is asked for: sealers on several cores and paths that reorder whole
/// batches overrun 64 at a few gigabits a second.
pub const DEFAULT: u32 = 1024;

/// A bit for each of the last `size` sequence numbers, in a ring of words (after RFC 6479): moving the
/// window clears whole words and shifts nothing.
#[derive(Clone, Debug)]
pub struct Window {
    size: u32,
    top: u64,
    ring: Box<[u64]>,
}

impl Window {
    /// A window of `size` packets; `None` outside [`MIN`]..=[`MAX`].
    #[must_use]
    pub fn new(size: u32) -> Option<Self> {
        if !(MIN..=MAX).contains(&size) {
            return None;
        }
        // One word more than the window spans, as its ends seldom fall on word boundaries; a power of two
        // so that a position is a mask away.
        let words = (size.div_ceil(64) as usize + 1).next_power_of_two();
        Some(Self { size, top: 0, ring: vec![0; words].into_boxed_slice() })
    }

    /// How many packets it spans.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.size
    }

    /// The highest sequence number received; 0 before the first.
    #[must_use]
    pub fn top(&self) -> u64 {
        self.top
    }

    /// Would `seq` be accepted? Asked before the integrity check, and changes nothing.
    pub fn check(&self, seq: u64) -> Result<(), Refusal> {
        if seq == 0 {
            // The first packet of an SA has the number 1 (RFC 4303 section 3.3.3), so 0 was never sent.
            return Err(Refusal::TooOld);
        }
        if seq > self.top {
            return Ok(());
        }
        if self.top - seq >= u64::from(self.size) {
            return Err(Refusal::TooOld);
        }
        let (word, bit) = self.place(seq);
        match self.ring.get(word) {
            Some(bits) if bits & bit == 0 => Ok(()),
            Some(_) | None => Err(Refusal::Replayed),
        }
    }

    /// Takes an authenticated `seq` in; answers whether it is the highest so far. Checks again, since two
    /// packets of one batch may carry the same number.
    pub fn update(&mut self, seq: u64) -> Result<bool, Refusal> {
        self.check(seq)?;
        let newest = seq > self.top;
        if newest {
            self.clear_between(seq);
            self.top = seq;
        }
        let (word, bit) = self.place(seq);
        if let Some(bits) = self.ring.get_mut(word) {
            *bits |= bit;
        }
        Ok(newest)
    }

    /// Clears the words the window newly enters when its top moves to `seq`.
    fn clear_between(&mut self, seq: u64) {
        let (from, to) = (self.top / 64, seq / 64);
        let entered = (to - from).min(self.ring.len() as u64);
        for word in 0..entered {
            let index = self.index(to - word);
            if let Some(bits) = self.ring.get_mut(index) {
                *bits = 0;
            }
        }
    }

    fn place(&self, seq: u64) -> (usize, u64) {
        (self.index(seq / 64), 1 << (seq % 64))
    }

    /// The ring's length is a power of two, so the mask keeps every index inside.
    fn index(&self, word: u64) -> usize {
        (word & (self.ring.len() as u64 - 1)) as usize
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// The plain second model: every number ever received.
    struct Model {
        size: u64,
        seen: BTreeSet<u64>,
    }

    impl Model {
        fn update(&mut self, seq: u64) -> Result<bool, Refusal> {
            let top = self.seen.last().copied().unwrap_or(0);
            if seq == 0 || seq + self.size <= top {
                return Err(Refusal::TooOld);
            }
            if !self.seen.insert(seq) {
                return Err(Refusal::Replayed);
            }
            Ok(seq > top)
        }
    }

    #[test]
    fn sizes_out_of_bounds_are_refused() {
        for (size, good) in [(0, false), (63, false), (64, true), (100, true), (8192, true), (8193, false)] {
            assert_eq!(Window::new(size).is_some(), good, "{size}");
        }
    }

    #[test]
    fn a_number_is_taken_once_and_the_left_edge_is_exact() {
        let mut window = Window::new(64).unwrap();
        assert_eq!(window.update(0), Err(Refusal::TooOld));
        assert_eq!(window.update(100), Ok(true));
        assert_eq!(window.update(100), Err(Refusal::Replayed));
        assert_eq!(window.update(37), Ok(false));
        assert_eq!(window.update(36), Err(Refusal::TooOld));
        assert_eq!(window.update(u64::MAX - 1), Ok(true));
        assert_eq!(window.update(100), Err(Refusal::TooOld));
    }

    fn steps() -> impl Strategy<Value = Vec<(bool, u64)>> {
        prop::collection::vec((any::<bool>(), prop_oneof![0u64..40, 0u64..3000, 0u64..40000]), 1..600)
    }

    proptest! {
        #[test]
        fn the_window_decides_as_a_set_of_all_numbers_would(
            size in prop_oneof![Just(64u32), Just(100), Just(128), Just(1000), Just(1024), Just(8192), 64u32..8193],
            start in prop_oneof![Just(0u64), Just(u64::from(u32::MAX) - 500), any::<u64>().prop_map(|s| s / 2)],
            steps in steps(),
        ) {
            let mut window = Window::new(size).unwrap();
            let mut model = Model { size: u64::from(size), seen: BTreeSet::new() };
            for (forward, distance) in steps {
                let top = window.top().max(start);
                let seq = if forward { top + distance } else { top.saturating_sub(distance) };
                let expected = model.update(seq);
                prop_assert_eq!(window.check(seq).is_ok(), expected.is_ok());
                prop_assert_eq!(window.update(seq), expected);
            }
        }
    }
}
