//! Why a packet was dropped: a closed list, counted; log fields and views share it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why the datapath dropped a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Drop {
    /// Out: the TUN frame or its IP packet makes no sense.
    MalformedInner,
    /// Out: a super-packet that cannot be cut (unknown offload, extension headers in the way).
    Unsplittable,
    /// Out: an outer packet of ours, from one of our outer addresses to a peer's: sealed again, it would go round and
    /// round.
    OuterLoop,
    /// Out: the table knows no such tunnel.
    NoTunnel,
    /// Out: the tunnel has no SA to send on.
    NoSa,
    /// Out: no SA's selectors carry this packet (RFC 4301 section 5.1).
    OutboundSelector,
    /// Out: larger than the tunnel's MTU and not to be fragmented.
    TooBig,
    /// Out: the SA refused (sequence space or lifetime used up).
    OutboundRefused,
    /// Out: a whole batch that could not be sealed.
    Unsealed,
    /// In: too short to carry an SPI.
    Runt,
    /// In: no SA has this SPI.
    UnknownSpi,
    /// In: the SA refused; its own counters say why.
    InboundRefused,
    /// In: authentic, but what is inside is no IP packet of the announced kind.
    MalformedOpened,
    /// In: outside the SA's selectors (RFC 4301 section 5.2).
    InboundSelector,
    /// In: congestion marked outside, not markable inside (RFC 6040 section 4.2).
    EcnIllegal,
    /// In: an IKE message the upward queue had no room for.
    IkeOverflow,
}

impl Drop {
    /// Every reason, in the order of the counters.
    pub const ALL: [Self; 16] = [
        Self::MalformedInner,
        Self::Unsplittable,
        Self::OuterLoop,
        Self::NoTunnel,
        Self::NoSa,
        Self::OutboundSelector,
        Self::TooBig,
        Self::OutboundRefused,
        Self::Unsealed,
        Self::Runt,
        Self::UnknownSpi,
        Self::InboundRefused,
        Self::MalformedOpened,
        Self::InboundSelector,
        Self::EcnIllegal,
        Self::IkeOverflow,
    ];

    /// A short name for counters and log fields.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MalformedInner => "malformed-inner",
            Self::Unsplittable => "unsplittable",
            Self::OuterLoop => "outer-loop",
            Self::NoTunnel => "no-tunnel",
            Self::NoSa => "no-sa",
            Self::OutboundSelector => "outbound-selector",
            Self::TooBig => "too-big",
            Self::OutboundRefused => "outbound-refused",
            Self::Unsealed => "unsealed",
            Self::Runt => "runt",
            Self::UnknownSpi => "unknown-spi",
            Self::InboundRefused => "inbound-refused",
            Self::MalformedOpened => "malformed-opened",
            Self::InboundSelector => "inbound-selector",
            Self::EcnIllegal => "ecn-illegal",
            Self::IkeOverflow => "ike-overflow",
        }
    }
}

/// A counter for each reason; written by one worker, read by anyone.
#[derive(Debug, Default)]
pub struct Drops([AtomicU64; Drop::ALL.len()]);

impl Drops {
    /// Counts `packets` dropped for `reason`.
    pub fn count(&self, reason: Drop, packets: u64) {
        if let Some(counter) = self.0.get(reason as usize) {
            counter.fetch_add(packets, Ordering::Relaxed);
        }
    }

    /// How many packets were dropped for `reason`.
    #[must_use]
    pub fn get(&self, reason: Drop) -> u64 {
        self.0.get(reason as usize).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    /// Every reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (Drop, u64)> + '_ {
        Drop::ALL.into_iter().map(|reason| (reason, self.get(reason)))
    }

    /// All packets dropped.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.iter().map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_counter_of_its_own() {
        let drops = Drops::default();
        for (index, reason) in Drop::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
            drops.count(reason, index as u64 + 1);
        }
        assert!(drops.iter().zip(1..).all(|((_, count), want)| count == want));
        assert_eq!(drops.total(), (1..=Drop::ALL.len() as u64).sum());
    }
}
