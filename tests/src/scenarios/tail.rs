//! It never eats its own tail: peers that advertise what would.

use std::net::IpAddr;

use crate::sim::check::routes_agree;
use crate::sim::kernel::{WAN, into};
use crate::sim::{Weather, World, over_seeds};

use super::pair::{A, B, OUTER_A, OUTER_B, file_a, file_b, link_a, link_b, milliseconds, seconds, sites, up};

/// Site B advertises everything it should not.
fn greedy(seed: u64, table: Option<u32>) -> World {
    let (mut a, mut b) = (file_a(link_a()), file_b(link_b()));
    a.table = table;
    b.networks.extend(
        ["0.0.0.0/0", "45.20.0.0/24", "45.10.0.0/24", "45.0.0.0/8", "10.1.0.0/24", "10.1.0.128/25"]
            .map(str::to_owned),
    );
    let mut world = sites(seed, Weather::BREEZE, &a, &b);
    world.start(B);
    world.start(A);
    up(&mut world, seconds(60));
    world.run_for(seconds(10));
    world
}

fn path_to_peer(world: &World) -> Option<u32> {
    let peer: IpAddr = OUTER_B.parse().unwrap();
    world.sites[A].kernel.lookup(peer, true).and_then(|(_, hop)| into(hop))
}

#[test]
fn a_peer_that_advertises_everything_never_draws_its_own_path_into_the_tunnel() {
    over_seeds(|seed| {
        let table = (seed.is_multiple_of(2)).then_some(100);
        let mut world = greedy(seed, table);
        assert_eq!(path_to_peer(&world), Some(WAN));
        // Everything else goes into the tunnel.
        let (_, hop) = world.sites[A].kernel.lookup("8.8.8.8".parse().unwrap(), false).unwrap();
        let tun = world.sites[A].tunnel_named("t").and_then(|tunnel| world.sites[A].kernel.tun_of(tunnel));
        assert_eq!(into(hop), tun);
        let flow = world.flow(A, B, milliseconds(20));
        world.run_for(seconds(3));
        world.rekey(A, "t", true, true);
        world.run_for(seconds(3));
        world.finish_flow(flow);
        assert_eq!(world.flows[flow].lost(), 0);
        // Dead, everything it advertised is refused, and yet it is dialled and comes back.
        let flow = world.flow_to(A, "8.8.8.8", milliseconds(500));
        world.net.cut(OUTER_A, OUTER_B, true);
        world.run_until("it is down", seconds(60), |world| !world.is_up(A, "t"));
        world.run_for(seconds(5));
        assert_eq!(path_to_peer(&world), Some(WAN));
        world.net.cut(OUTER_A, OUTER_B, false);
        up(&mut world, seconds(120));
        assert_eq!(world.flows[flow].in_clear, 0);
        assert!(world.flows[flow].refused > 0);
        world.run_for(seconds(20));
        routes_agree(&mut world, A);
        routes_agree(&mut world, B);
    });
}

#[test]
fn own_prefixes_and_outer_addresses_a_peer_echoes_are_kept_out_and_shown_with_the_reason() {
    over_seeds(|seed| {
        let mut world = greedy(seed, None);
        let received = world.received(A, "t");
        for (prefix, word) in [("10.1.0.0/24", "own"), ("10.1.0.128/25", "own")] {
            let row = received.iter().find(|row| row.prefix == prefix).unwrap_or_else(|| panic!("{prefix}"));
            assert!(!row.accepted && row.verdict.contains(word), "{row:?}");
            assert_eq!(world.sites[A].kernel.our_hop(prefix), None);
        }
        // Our own link is ours too.
        let row = received.iter().find(|row| row.prefix == "45.10.0.0/24").unwrap();
        assert!(!row.accepted, "{row:?}");
    });
}
