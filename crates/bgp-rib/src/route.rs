//! A path to a prefix and where it came from.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use bgp_wire::{PathAttributes, PeerKind};

/// A neighbour, by the number its owner gave it. The address alone would not do: the same address may
/// stand behind two tunnels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NeighborId(pub u32);

impl fmt::Display for NeighborId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the decision and the export must know of an established neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Which neighbour.
    pub id: NeighborId,
    /// Of another AS or of our own.
    pub kind: PeerKind,
    /// Its AS.
    pub asn: u32,
    /// Its BGP identifier.
    pub router_id: Ipv4Addr,
    /// Its session address.
    pub address: IpAddr,
    /// What its paths weigh here, before anything they say of themselves; 0 unless the operator says so.
    pub weight: u16,
}

/// Where a path came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Originated here (`networks`, `redistribute`).
    Local,
    /// Learned from this neighbour.
    Neighbor(Peer),
}

impl Path {
    /// The weight of routes of our own.
    pub const OWN_WEIGHT: u16 = 32_768;

    /// What it weighs: never told to anybody, and compared before all else.
    #[must_use]
    pub fn weight(&self) -> u16 {
        match &self.source {
            Source::Local => Self::OWN_WEIGHT,
            Source::Neighbor(peer) => peer.weight,
        }
    }
}

impl Source {
    /// The neighbour; `None` for what is ours.
    #[must_use]
    pub fn neighbor(&self) -> Option<NeighborId> {
        match self {
            Self::Local => None,
            Self::Neighbor(peer) => Some(peer.id),
        }
    }
}

/// A usable path to a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// Where it came from.
    pub source: Source,
    /// What came with it.
    pub attributes: Arc<PathAttributes>,
    /// Since when it stands as it is.
    pub since: Instant,
    /// Its place in the order of arrival; unique, lower is older.
    pub arrival: u64,
}
