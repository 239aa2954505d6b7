//! The checks of the world bite: each is shown what it must not let pass.

use std::net::SocketAddr;

use gateway::Hop;

use crate::sim::net::{Clothes, Datagram};
use crate::sim::{Weather, World};

use super::pair::{A, B, OUTER_A, OUTER_B, established, link_a, link_b, milliseconds, seconds};

fn world() -> World {
    let mut world = established(1, Weather::CALM, link_a(), link_b());
    world.run_for(seconds(2));
    world
}

#[test]
#[should_panic(expected = "left in clear")]
fn a_packet_in_clear_is_seen() {
    let mut world = world();
    world.flow(A, B, milliseconds(10));
    assert!(world.sites[A].kernel.drop_silently("10.2.0.0/24".parse().unwrap()));
    world.run_for(seconds(1));
}

#[test]
#[should_panic(expected = "would leave in clear")]
fn a_route_that_would_let_packets_out_is_seen_without_any_packet() {
    let mut world = world();
    assert!(world.sites[A].kernel.drop_silently("10.2.0.0/24".parse().unwrap()));
    world.news(A);
    world.run_for(milliseconds(105));
}

#[test]
#[should_panic(expected = "the path to 45.20.0.1")]
fn a_path_to_the_peer_through_the_tunnel_is_seen() {
    let mut world = world();
    let tunnel = world.sites[A].tunnel_named("t").unwrap();
    let ifindex = world.sites[A].kernel.tun_of(tunnel).unwrap();
    let hop = Hop::Device { ifindex, gateway: None, source: None };
    world.sites[A].kernel.put_foreign(format!("{OUTER_B}/32").parse().unwrap(), 1, hop);
    // An IKE request would name its uplink; ESP asks the kernel's routes.
    world.flow(A, B, milliseconds(10));
    world.run_for(seconds(1));
}

#[test]
#[should_panic(expected = "twice")]
fn a_sequence_number_sent_twice_is_seen() {
    let mut world = world();
    let at = |address: &str| SocketAddr::new(address.parse().unwrap(), 0);
    let datagram = Datagram {
        from: at(OUTER_A),
        to: at(OUTER_B),
        clothes: Clothes::Esp,
        dont_fragment: false,
        tos: 0,
        bytes: [[0, 0, 1, 0], [0, 0, 0, 7]].concat(),
    };
    world.send(A, datagram.clone(), 0);
    world.send(A, datagram, 0);
}
