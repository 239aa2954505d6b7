//! Small makers for the tests of this crate.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use bgp_wire::{AsPath, NextHop, PathAttributes, PeerKind};
use inet::Prefix;

use crate::route::{NeighborId, Path, Peer, Source};

pub(crate) fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

pub(crate) fn learned(path: &[u32]) -> PathAttributes {
    PathAttributes {
        as_path: AsPath::sequence(path.iter().copied()),
        ..PathAttributes::originated(NextHop::V4(Ipv4Addr::new(172, 16, 0, 254)))
    }
}

pub(crate) fn peer(id: u32) -> Peer {
    Peer {
        id: NeighborId(id),
        kind: PeerKind::External,
        asn: 65515,
        router_id: Ipv4Addr::from_bits(0x0a00_0000 + id),
        address: IpAddr::from(Ipv4Addr::from_bits(0xac10_0000 + id)),
        weight: 0,
    }
}

pub(crate) fn path(id: u32, attributes: PathAttributes, arrival: u64) -> Path {
    Path { source: Source::Neighbor(peer(id)), attributes: Arc::new(attributes), since: now(), arrival }
}

/// Some moment; the tables only carry it.
#[expect(clippy::disallowed_methods, reason = "a test may read the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
