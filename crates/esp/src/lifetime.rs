//! Lifetimes by volume (RFC 4301 section 4.4.2.1); lifetimes by time are the IKE engine's.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::{Refusal, seq};

/// How much an SA may carry. `None` is no limit beyond the sequence space.
///
/// The inner packets' octets count, in each direction for itself. What is sent never passes a hard limit; what is
/// received is counted once it is known to be authentic, so the run that reaches the limit is still delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Octets after which a new SA should be made.
    pub soft_bytes: Option<u64>,
    /// Octets after which this SA refuses.
    pub hard_bytes: Option<u64>,
    /// Packets after which a new SA should be made.
    pub soft_packets: Option<u64>,
    /// Packets after which this SA refuses.
    pub hard_packets: Option<u64>,
}

/// Which soft limit was crossed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Soft {
    /// `soft_bytes`.
    Bytes,
    /// `soft_packets`.
    Packets,
    /// Fifteen sixteenths of the sequence space are used.
    Sequence,
}

impl Limits {
    /// The first soft limit that `packets` and `bytes` together with the sequence number reached cross.
    pub(crate) fn soft(&self, packets: u64, bytes: u64, sequence: u64, esn: bool) -> Option<Soft> {
        let past = |limit: Option<u64>, value: u64| limit.is_some_and(|limit| value >= limit);
        if past(self.soft_bytes, bytes) {
            Some(Soft::Bytes)
        } else if past(self.soft_packets, packets) {
            Some(Soft::Packets)
        } else if sequence >= seq::last(esn) - seq::last(esn) / 16 {
            // At a million packets a second the last sixteenth of 32 bits lasts 268 seconds: enough to
            // negotiate a successor, late enough not to disturb anyone slower.
            Some(Soft::Sequence)
        } else {
            None
        }
    }

    /// Whether an SA that carried `packets` and `bytes` may carry `more` octets in one packet or batch.
    pub(crate) fn hard(&self, packets: u64, bytes: u64, more: u64) -> Result<(), Refusal> {
        if self.hard_packets.is_some_and(|limit| packets >= limit) {
            return Err(Refusal::HardPackets);
        }
        if self.hard_bytes.is_some_and(|limit| bytes.saturating_add(more) > limit) {
            return Err(Refusal::HardBytes);
        }
        Ok(())
    }
}

impl Limits {
    /// Whether an SA that carried `packets` and `bytes` carries no more.
    pub(crate) fn spent(&self, packets: u64, bytes: u64) -> Result<(), Refusal> {
        if self.hard_packets.is_some_and(|limit| packets >= limit) {
            return Err(Refusal::HardPackets);
        }
        if self.hard_bytes.is_some_and(|limit| bytes >= limit) {
            return Err(Refusal::HardBytes);
        }
        Ok(())
    }
}

/// Remembers that a soft limit was told, so that it is told once.
#[derive(Debug, Default)]
pub(crate) struct Told(AtomicBool);

impl Told {
    /// `crossed`, unless it was told before.
    pub(crate) fn once(&self, crossed: Option<Soft>) -> Option<Soft> {
        let crossed = crossed?;
        (!self.0.load(Ordering::Relaxed) && !self.0.swap(true, Ordering::Relaxed)).then_some(crossed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_soft_limit_is_found_and_told_once() {
        let limits = Limits { soft_bytes: Some(100), soft_packets: Some(10), ..Limits::default() };
        assert_eq!(limits.soft(9, 99, 9, false), None);
        assert_eq!(limits.soft(9, 100, 9, false), Some(Soft::Bytes));
        assert_eq!(limits.soft(10, 99, 9, false), Some(Soft::Packets));
        assert_eq!(limits.soft(0, 0, u64::from(u32::MAX), false), Some(Soft::Sequence));
        assert_eq!(limits.soft(0, 0, u64::from(u32::MAX), true), None);
        let told = Told::default();
        assert_eq!(told.once(None), None);
        assert_eq!(told.once(Some(Soft::Bytes)), Some(Soft::Bytes));
        assert_eq!(told.once(Some(Soft::Packets)), None);
    }

    #[test]
    fn a_hard_limit_refuses_what_would_pass_it() {
        let limits = Limits { hard_bytes: Some(100), hard_packets: Some(10), ..Limits::default() };
        assert_eq!(limits.hard(9, 0, 100), Ok(()));
        assert_eq!(limits.hard(9, 1, 100), Err(Refusal::HardBytes));
        assert_eq!(limits.hard(10, 0, 1), Err(Refusal::HardPackets));
    }
}
