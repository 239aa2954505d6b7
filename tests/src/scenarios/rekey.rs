//! Rekeys: by hand, by lifetime, from one side, from both at once.

use crate::sim::seeds::{over_share, pick};
use crate::sim::{Weather, World, over_seeds};

use super::pair::{A, B, assert_one_child, established, link_a, link_b, milliseconds, seconds};

const BOTH: [usize; 2] = [A, B];

/// Both sides ask within so many milliseconds of one another.
fn rekey_both(world: &mut World, ike: bool, child: bool, within: u64) {
    let first = usize::from(pick(&mut world.rng, (0, 1)) == 1);
    world.rekey(BOTH[first], "t", ike, child);
    let gap = pick(&mut world.rng, (0, within));
    world.run_for(milliseconds(gap));
    world.rekey(BOTH[1 - first], "t", ike, child);
}

#[test]
fn rekeys_from_both_sides_at_once_lose_no_packet_on_a_lossless_network() {
    over_seeds(|seed| {
        let mut world = established(seed, Weather::BREEZE, link_a(), link_b());
        world.run_for(seconds(2));
        let before = world.children(A)[0].inbound.spi.clone();
        let flows = [world.flow(A, B, milliseconds(17)), world.flow(B, A, milliseconds(17))];
        for (ike, child) in [(false, true), (true, false), (true, true), (false, true)] {
            rekey_both(&mut world, ike, child, seed % 3 * 25);
            world.run_for(seconds(4));
        }
        // Longer than an old SA is opened after its end.
        world.run_for(seconds(4));
        for flow in flows {
            world.finish_flow(flow);
            assert_eq!(world.flows[flow].lost(), 0, "of {}", world.flows[flow].sent);
        }
        world.run_for(seconds(60));
        assert_one_child(&mut world);
        assert_ne!(world.children(A)[0].inbound.spi, before);
        assert_eq!(world.tunnel(A, "t").state, "up");
    });
}

#[test]
fn under_loss_exactly_one_child_remains_whoever_rekeys() {
    over_seeds(|seed| {
        let mut world = established(seed, Weather::BREEZE, link_a(), link_b());
        world.net.weather = Weather::storm(20);
        for round in 0..4 {
            rekey_both(&mut world, round % 2 == 1, round % 2 == 0 || seed.is_multiple_of(2), 60);
            let pause = pick(&mut world.rng, (10, 8_000));
            world.run_for(milliseconds(pause));
        }
        world.net.weather = Weather::BREEZE;
        world.run_for(seconds(90));
        world.run_until("it is up", seconds(120), |world| world.is_up(A, "t") && world.is_up(B, "t"));
        world.run_for(seconds(30));
        assert_one_child(&mut world);
        let flow = world.flow(A, B, milliseconds(20));
        world.run_for(seconds(2));
        world.finish_flow(flow);
        assert_eq!(world.flows[flow].lost(), 0);
    });
}

#[test]
fn short_lifetimes_at_both_ends_lose_no_packet_over_many_rekeys() {
    over_share(5, |seed| {
        let (mut a, mut b) = (link_a(), link_b());
        (a.esp_lifetime, a.ike_lifetime) = ("20s", "45s");
        (b.esp_lifetime, b.ike_lifetime) = ("20s", "45s");
        let mut world = established(seed, Weather::BREEZE, a, b);
        world.run_for(seconds(2));
        let flows = [world.flow(A, B, milliseconds(50)), world.flow(B, A, milliseconds(50))];
        world.run_for(seconds(200));
        for flow in flows {
            world.finish_flow(flow);
            assert_eq!(world.flows[flow].lost(), 0, "of {}", world.flows[flow].sent);
        }
        assert_eq!(world.tunnel(A, "t").state, "up");
        let since = world.tunnel(A, "t").bgp[0].since;
        assert!(since > 190, "the session never went down: {since} s");
    });
}

#[test]
fn a_limit_in_packets_makes_a_successor_in_time() {
    over_share(5, |seed| {
        let mut a = link_a();
        a.esp = "lifetime_packets = 500\n";
        let mut world = established(seed, Weather::BREEZE, a, link_b());
        world.run_for(seconds(2));
        let flow = world.flow(A, B, milliseconds(10));
        world.run_for(seconds(20));
        world.finish_flow(flow);
        assert_eq!(world.flows[flow].lost(), 0, "of {}", world.flows[flow].sent);
    });
}
