//! BGP: UPDATE messages decoded, and the decision over two paths to each of many prefixes.
#![expect(clippy::unwrap_used, reason = "a bench fails by saying so")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bgp_rib::{InChange, LocRib, NeighborId, Options, Peer};
use bgp_wire::{AsPath, Context, Families, NextHop, PathAttributes, PeerKind, Update};
use causeway_benches::harness::Bench;
use causeway_benches::now;
use inet::Prefix;

/// Octets of marker, length and type before an UPDATE's body.
const HEADER: usize = 19;
const PREFIXES: u32 = 10_000;

fn main() {
    let bench = Bench::from_env();
    let context = Context {
        as4: true,
        families: Families::BOTH,
        extended_message: false,
        peer: PeerKind::External,
        first_as: None,
        reject_as_sets: true,
    };
    let prefixes: Vec<Prefix> = (0..PREFIXES)
        .map(|n| Prefix::new(Ipv4Addr::from_bits(0x0b00_0000 + (n << 8)).into(), 24).unwrap())
        .collect();
    let attributes = attributes(&[65515, 65001, 65002]);
    let (message, taken) = bgp_wire::encode_announce(&attributes, &prefixes, &context).unwrap();
    let body = &message[HEADER..];
    bench.case(&format!("decode an UPDATE of {taken} prefixes, a prefix"), taken as u64, 0, || {
        Update::decode(body, &context).unwrap()
    });
    let (one, _) = bgp_wire::encode_announce(&attributes, &prefixes[..1], &context).unwrap();
    bench.case("decode an UPDATE of 1 prefix", 1, 0, || Update::decode(&one[HEADER..], &context).unwrap());
    bench.case("two paths to each of 10000 prefixes, a path", 2 * u64::from(PREFIXES), 0, || {
        decide(&prefixes)
    });
}

fn attributes(path: &[u32]) -> PathAttributes {
    PathAttributes {
        as_path: AsPath::sequence(path.iter().copied()),
        ..PathAttributes::originated(NextHop::V4(Ipv4Addr::new(172, 16, 0, 254)))
    }
}

/// The second peer's path is the better one, so that every best path moves once.
fn decide(prefixes: &[Prefix]) -> usize {
    let (mut table, now) = (LocRib::new(Options::default()), now());
    for (number, path) in [(1, &[65515, 65001][..]), (2, &[65515])] {
        let peer = Peer {
            id: NeighborId(number),
            kind: PeerKind::External,
            asn: 65515,
            router_id: Ipv4Addr::from_bits(number),
            address: IpAddr::from(Ipv4Addr::from_bits(0xac10_0000 + number)),
            weight: 0,
        };
        let attributes = Arc::new(attributes(path));
        for prefix in prefixes {
            let change = table.apply(&peer, *prefix, InChange::Usable(Arc::clone(&attributes)), now);
            assert!(change.is_some());
        }
    }
    table.len()
}
