//! It never eats its own tail: peers that advertise what would.

use std::net::IpAddr;

use crate::sim::check::routes_agree;
use crate::sim::kernel::{WAN, into};
use crate::sim::seeds::pick;
use crate::sim::{File, Link, Weather, World, over_seeds};
use gateway::Hop;

use super::pair::{
    A, AS_A, B, LAN_A, OUTER_A, OUTER_B, file_a, file_b, link_a, link_b, milliseconds, seconds, sites, up,
};

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
fn when_the_way_out_goes_outer_packets_go_nowhere_rather_than_into_the_tunnel() {
    over_seeds(|seed| {
        let table = (seed.is_multiple_of(2)).then_some(100);
        let mut world = greedy(seed, table);
        let flow = world.flow(A, B, milliseconds(50));
        world.sites[A].tampered = true;
        let (metric, way) = world.sites[A].kernel.take_foreign("0.0.0.0/0").unwrap();
        world.news(A);
        world.run_until("the peer has no path", seconds(1), |world| {
            world.sites[A].kernel.our_hop("45.20.0.1/32") == Some(Hop::Prohibit)
        });
        // A rekey, liveness, traffic: whatever wants to leave.
        world.rekey(A, "t", true, true);
        let wait = pick(&mut world.rng, (1_000, 25_000));
        world.run_for(milliseconds(wait));
        assert_eq!(path_to_peer(&world), None);
        world.sites[A].kernel.put_foreign("0.0.0.0/0".parse().unwrap(), metric, way);
        world.news(A);
        world.run_until("the path is back", seconds(1), |world| path_to_peer(world) == Some(WAN));
        world.sites[A].tampered = false;
        up(&mut world, seconds(120));
        world.finish_flow(flow);
        assert_eq!(world.flows[flow].in_clear, 0);
        routes_agree(&mut world, A);
    });
}

#[test]
fn an_outer_packet_that_comes_to_a_tunnel_all_the_same_is_dropped_there() {
    let mut world = greedy(1, None);
    let tunnel = world.sites[A].tunnel_named("t").unwrap();
    let end = |address: &str| format!("{address}:4500").parse().unwrap();
    let sent = world.net.esp_packets;
    let packet = |from, to| crate::sim::packet::udp(end(from), end(to), &[0x5a; 64]);
    world.enter_tunnel(A, tunnel, &packet(OUTER_A, OUTER_B));
    assert_eq!(world.net.esp_packets, sent);
    // From elsewhere it is no packet of ours.
    world.enter_tunnel(A, tunnel, &packet("10.1.0.50", OUTER_B));
    assert_eq!(world.net.esp_packets, sent + 1);
}

#[test]
fn a_peer_nobody_knew_is_answered_by_the_way_it_came_whatever_another_peer_advertises() {
    over_seeds(|seed| {
        let (outer_c, lan_c) = ("45.40.0.1", "10.3.0.1");
        let any = Link::new("c", OUTER_A, "any").neighbor(lan_c, 65_030, LAN_A).responds();
        let mut a = file_a(link_a()).link(any.ids(OUTER_A, outer_c));
        a.table = (seed.is_multiple_of(3)).then_some(100);
        let mut b = file_b(link_b());
        b.networks.push("0.0.0.0/0".to_owned());
        let mut world = sites(seed, Weather::BREEZE, &a, &b);
        let link = Link::new("t", outer_c, OUTER_A).neighbor(LAN_A, AS_A, lan_c).ids(outer_c, OUTER_A);
        let c =
            world.add("c", &[outer_c], lan_c, File::new(outer_c, 65_030, "10.3.0.0/24").link(link).text());
        world.start(B);
        world.start(A);
        up(&mut world, seconds(60));
        world.run_until("the default leads into the tunnel", seconds(10), |world| {
            world.sites[A].kernel.our_hop("0.0.0.0/0").is_some()
        });
        world.start(c);
        world.both_up(seconds(60), [(A, "c"), (c, "t")]);
        assert!(world.is_up(A, "t"));
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
