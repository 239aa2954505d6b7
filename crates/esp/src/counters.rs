//! What an SA has carried.

use std::sync::atomic::{AtomicU64, Ordering};

/// Coarse time: milliseconds since an origin the shell chose once for its whole process.
///
/// Last-use stamps and rate limits need no more, and a stamp fits an atomic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(pub u64);

impl Tick {
    /// Milliseconds from `earlier` to this; 0 when it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A reading of an SA's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Packets sealed, or opened and accepted.
    pub packets: u64,
    /// Octets of the inner packets of these.
    pub bytes: u64,
    /// When the last batch passed; `None` before the first.
    pub last_use: Option<Tick>,
}

/// The counters themselves; written by the datapath, read by anyone.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    packets: AtomicU64,
    bytes: AtomicU64,
    /// Tick + 1; 0 is "never".
    last_use: AtomicU64,
}

impl Counters {
    /// Counts a batch; gives the totals before it.
    pub(crate) fn add(&self, packets: u64, bytes: u64, now: Tick) -> (u64, u64) {
        self.last_use.store(now.0.saturating_add(1), Ordering::Relaxed);
        (self.packets.fetch_add(packets, Ordering::Relaxed), self.bytes.fetch_add(bytes, Ordering::Relaxed))
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn packets(&self) -> u64 {
        self.packets.load(Ordering::Relaxed)
    }

    pub(crate) fn read(&self) -> Usage {
        Usage {
            packets: self.packets(),
            bytes: self.bytes(),
            last_use: self.last_use.load(Ordering::Relaxed).checked_sub(1).map(Tick),
        }
    }
}
