//! Why an SA would not be made, and why a packet is refused: a closed list, counted.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::replay;

/// Why an SA cannot be made from what was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// A key does not have the suite's length.
    #[error("the keys do not fit the suite")]
    Keys,
    /// SPI 0 is for local use and 1-255 are reserved (RFC 4303 section 2.1).
    #[error("SPI {0:#010x} is reserved")]
    ReservedSpi(u32),
    /// The replay window is outside its bounds.
    #[error("a replay window of {0} packets is outside {min}-{max}", min = replay::MIN, max = replay::MAX)]
    Window(u32),
}

/// A batch was not sealed, since a buffer does not have the length its packet needs: a mistake of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the buffer does not have the sealed packet's length")]
pub struct Unsealed;

/// Why an SA refuses a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[repr(usize)]
pub enum Refusal {
    /// Too short, or of a length this suite's packets cannot have.
    #[error("impossible length")]
    Length,
    /// The sequence number was already received (RFC 4303 section 3.4.3).
    #[error("replayed")]
    Replayed,
    /// The sequence number is left of the replay window.
    #[error("older than the replay window")]
    TooOld,
    /// The integrity check value is wrong.
    #[error("forged")]
    Forged,
    /// The padding is not 1, 2, 3 … or longer than the packet.
    #[error("bad padding")]
    Padding,
    /// Next header 59: a dummy packet (RFC 4303 section 2.6). Not an error, but nothing to deliver.
    #[error("dummy packet")]
    Dummy,
    /// Authentic, but neither IPv4 nor IPv6 inside.
    #[error("unknown next header")]
    NextHeader,
    /// The sequence space is used up (RFC 4303 section 3.3.3).
    #[error("sequence numbers exhausted")]
    Exhausted,
    /// The hard lifetime in bytes is reached.
    #[error("byte lifetime reached")]
    HardBytes,
    /// The hard lifetime in packets is reached.
    #[error("packet lifetime reached")]
    HardPackets,
}

impl Refusal {
    /// Every reason, in the order of the counters.
    pub const ALL: [Self; 10] = [
        Self::Length,
        Self::Replayed,
        Self::TooOld,
        Self::Forged,
        Self::Padding,
        Self::Dummy,
        Self::NextHeader,
        Self::Exhausted,
        Self::HardBytes,
        Self::HardPackets,
    ];

    /// A short name for counters and log fields.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::Replayed => "replayed",
            Self::TooOld => "too-old",
            Self::Forged => "forged",
            Self::Padding => "padding",
            Self::Dummy => "dummy",
            Self::NextHeader => "next-header",
            Self::Exhausted => "exhausted",
            Self::HardBytes => "hard-bytes",
            Self::HardPackets => "hard-packets",
        }
    }
}

/// A counter for each [`Refusal`].
#[derive(Debug, Default)]
pub struct Refusals([AtomicU64; Refusal::ALL.len()]);

impl Refusals {
    /// Counts `packets` refused for `reason`.
    pub fn count(&self, reason: Refusal, packets: u64) {
        // The discriminant indexes an array of the same length by construction.
        if let Some(counter) = self.0.get(reason as usize) {
            counter.fetch_add(packets, Ordering::Relaxed);
        }
    }

    /// How many packets were refused for `reason`.
    #[must_use]
    pub fn get(&self, reason: Refusal) -> u64 {
        self.0.get(reason as usize).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    /// Every reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (Refusal, u64)> + '_ {
        Refusal::ALL.into_iter().map(|reason| (reason, self.get(reason)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_counter_of_its_own() {
        let refusals = Refusals::default();
        for (index, reason) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
            refusals.count(reason, index as u64 + 1);
        }
        assert!(refusals.iter().zip(1..).all(|((_, count), want)| count == want));
    }
}
