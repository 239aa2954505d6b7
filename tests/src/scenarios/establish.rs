//! A tunnel comes up, in every weather.

use crate::sim::check::routes_agree;
use crate::sim::seeds::{chance, rng};
use crate::sim::{Weather, over_seeds};

use super::pair::{
    A, B, assert_one_child, established, file_a, file_b, link_a, link_b, milliseconds, seconds, sites, up,
};

#[test]
fn two_sites_come_up_and_exchange_routes_and_packets_in_every_weather() {
    over_seeds(|seed| {
        let loss = u32::try_from(seed % 5 * 5).unwrap();
        let mut world = sites(seed, Weather::storm(loss), &file_a(link_a()), &file_b(link_b()));
        let order = if chance(&mut rng(seed), 50) { [A, B] } else { [B, A] };
        world.start(order[0]);
        world.run_for(milliseconds(seed * 37 % 3000));
        world.start(order[1]);
        up(&mut world, seconds(240));
        world.run_until("routes are there", seconds(60), |world| {
            world.sites[A].kernel.our_hop("10.2.0.0/24").is_some()
                && world.sites[B].kernel.our_hop("10.1.0.0/24").is_some()
        });
        let flows = [world.flow(A, B, milliseconds(20)), world.flow(B, A, milliseconds(20))];
        world.run_for(seconds(10));
        for flow in flows {
            world.finish_flow(flow);
            let flow = &world.flows[flow];
            assert!(flow.arrived() > 0 && flow.refused == 0, "{flow:?}");
            assert_eq!(flow.twice, 0, "the replay window lets nothing in twice");
            // Three times the loss of the weather, and a little.
            assert!(flow.lost() <= flow.sent * (loss * 3 + 2) / 100, "{} of {} lost", flow.lost(), flow.sent);
        }
        assert_eq!(world.children(A).len(), 1);
        routes_agree(&mut world, A);
        routes_agree(&mut world, B);
    });
}

#[test]
fn a_calm_network_loses_no_packet_and_comes_up_within_two_seconds() {
    over_seeds(|seed| {
        let mut world = sites(seed, Weather::CALM, &file_a(link_a()), &file_b(link_b()));
        world.start(B);
        world.start(A);
        assert!(up(&mut world, seconds(10)) < seconds(3));
        world.run_for(seconds(1));
        let flow = world.flow(A, B, milliseconds(5));
        world.run_for(seconds(5));
        world.finish_flow(flow);
        assert_eq!(world.flows[flow].lost(), 0);
        assert!(world.flows[flow].arrived() > 900);
    });
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
    let play = |seed| {
        let mut world = established(seed, Weather::storm(10), link_a(), link_b());
        world.flow(A, B, milliseconds(10));
        world.run_for(seconds(40));
        (world.trace, world.net.esp_packets, world.age())
    };
    assert_eq!(play(11), play(11));
    assert_ne!(play(11).0, play(12).0);
}

#[test]
fn two_sites_that_both_dial_at_once_end_with_one_child() {
    over_seeds(|seed| {
        let mut b = link_b();
        b.start = "initiate";
        let weather = if seed.is_multiple_of(2) { Weather::BREEZE } else { Weather::storm(10) };
        let mut world = sites(seed, weather, &file_a(link_a()), &file_b(b));
        world.start(A);
        world.run_for(milliseconds(seed * 13 % 200));
        world.start(B);
        up(&mut world, seconds(240));
        world.net.weather = Weather::BREEZE;
        world.run_for(seconds(60));
        up(&mut world, seconds(10));
        assert_one_child(&mut world);
        let flows = [world.flow(A, B, milliseconds(20)), world.flow(B, A, milliseconds(20))];
        world.run_for(seconds(2));
        for flow in flows {
            world.finish_flow(flow);
            assert_eq!(world.flows[flow].lost(), 0);
        }
    });
}
