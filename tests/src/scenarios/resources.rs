//! Several CHILD SAs with the same selectors (RFC 9611): traffic over all of them, through rekeys, loss and restarts.

use control::Request;
use control::view::ChildSa;

use crate::sim::seeds::{over_share, pick};
use crate::sim::{Link, Weather, World, over_seeds};

use super::pair::{A, B, established, link_a, link_b, milliseconds, seconds};

fn several(mut link: Link, esp: &'static str) -> Link {
    link.esp = esp;
    link
}

fn pair(seed: u64, weather: Weather) -> World {
    established(
        seed,
        weather,
        several(link_a(), "resource_sas = 3\n"),
        several(link_b(), "resource_sas = 3\n"),
    )
}

/// The CHILD SAs in use of a site, one a resource, and what the page says of their number.
fn in_use(world: &mut World, site: usize) -> (Vec<ChildSa>, String) {
    let mut all = world.children(site);
    all.retain(|child| child.state == "INSTALLED");
    all.sort_by_key(|child| child.resource);
    let words = all.iter().find_map(|child| child.resources.clone()).unwrap_or_default();
    (all, words)
}

fn assert_three(world: &mut World) {
    let [(a, words), (b, _)] = [A, B].map(|site| in_use(world, site));
    for one in [&a, &b] {
        let resources: Vec<u8> = one.iter().map(|child| child.resource).collect();
        assert_eq!(resources, [0, 1, 2], "{words}");
    }
    assert_eq!(words, "3 of 3 wanted, as agreed with the peer");
    for child in &a {
        let twin = b.iter().find(|other| other.inbound.spi == child.outbound.spi);
        assert_eq!(
            twin.map(|twin| &twin.outbound.spi),
            Some(&child.inbound.spi),
            "what one sends on the other opens"
        );
    }
    let sas = [A, B].map(|site| world.ike_sas(site).len());
    assert_eq!(sas, [1, 1], "IKE SAs");
}

#[test]
fn all_of_them_carry_traffic_and_rekeying_each_from_both_sides_loses_no_packet() {
    over_seeds(|seed| {
        let mut world = pair(seed, Weather::BREEZE);
        world.run_for(seconds(2));
        let flows = [world.flow(A, B, milliseconds(17)), world.flow(B, A, milliseconds(17))];
        world.run_for(seconds(12));
        for site in [A, B] {
            for child in in_use(&mut world, site).0 {
                assert!(child.inbound.packets > 20 && child.outbound.packets > 20, "{child:?}");
            }
        }
        for (ike, child) in [(false, true), (true, false), (true, true), (false, true)] {
            let first = usize::from(pick(&mut world.rng, (0, 1)) == 1);
            world.rekey([A, B][first], "t", ike, child);
            world.run_for(milliseconds(seed % 3 * 25));
            world.rekey([B, A][first], "t", ike, child);
            world.run_for(seconds(6));
        }
        world.run_for(seconds(6));
        for flow in flows {
            world.finish_flow(flow);
            assert_eq!(world.flows[flow].lost(), 0, "of {}", world.flows[flow].sent);
        }
        world.run_for(seconds(60));
        assert_three(&mut world);
    });
}

#[test]
fn under_loss_as_many_remain_as_agreed_whoever_rekeys() {
    over_seeds(|seed| {
        let mut world = pair(seed, Weather::BREEZE);
        world.net.weather = Weather::storm(20);
        for round in 0..4 {
            world.rekey(A, "t", round % 2 == 1, true);
            world.rekey(B, "t", round % 2 == 0 && seed.is_multiple_of(2), true);
            let pause = pick(&mut world.rng, (10, 8_000));
            world.run_for(milliseconds(pause));
        }
        world.net.weather = Weather::BREEZE;
        world.run_for(seconds(90));
        world.run_until("it is up", seconds(120), |world| world.is_up(A, "t") && world.is_up(B, "t"));
        // Those that were lost meanwhile are asked for again after pauses.
        world.run_for(seconds(240));
        assert_three(&mut world);
        let flow = world.flow(A, B, milliseconds(20));
        world.run_for(seconds(2));
        world.finish_flow(flow);
        assert_eq!(world.flows[flow].lost(), 0);
    });
}

#[test]
fn limits_in_packets_make_a_successor_of_each_in_time() {
    over_share(5, |seed| {
        let a = several(link_a(), "resource_sas = 3\nlifetime_packets = 500\n");
        let mut world = established(seed, Weather::BREEZE, a, several(link_b(), "resource_sas = 3\n"));
        world.run_for(seconds(2));
        let flow = world.flow(A, B, milliseconds(5));
        world.run_for(seconds(30));
        world.finish_flow(flow);
        assert_eq!(world.flows[flow].lost(), 0, "of {}", world.flows[flow].sent);
        world.run_for(seconds(20));
        assert_three(&mut world);
    });
}

#[test]
fn a_peer_that_wants_one_gets_one_and_the_page_says_why() {
    over_share(10, |seed| {
        let mut world = established(seed, Weather::BREEZE, several(link_a(), "resource_sas = 3\n"), link_b());
        world.run_for(seconds(40));
        let (children, words) = in_use(&mut world, A);
        assert_eq!(children.len(), 1);
        assert!(words.starts_with("1 of 3 wanted: the peer did not say"), "{words}");
        let (children, words) = in_use(&mut world, B);
        assert_eq!((children.len(), words.as_str()), (1, ""));
    });
}

#[test]
fn without_the_one_for_all_the_tunnel_begins_anew_and_has_all_of_them_again() {
    over_share(5, |seed| {
        let mut world = pair(seed, Weather::BREEZE);
        world.run_for(seconds(5));
        assert_three(&mut world);
        world.command(B, Request::ClearIpsec { tunnel: Some("t".to_owned()) });
        world.run_until("it is up", seconds(120), |world| world.is_up(A, "t") && world.is_up(B, "t"));
        world.run_for(seconds(30));
        assert_three(&mut world);
    });
}
