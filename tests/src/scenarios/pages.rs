//! What pages say over time, and what a host may be told by anyone.

use control::view::Interface;
use control::{Answer, Request};
use gateway::Hop;
use tunnel::Report;

use crate::sim::kernel::LAN;
use crate::sim::site::Heard;
use crate::sim::{Weather, World, over_seeds};

use super::pair::{A, B, OUTER_B, established, file_a, link_a, link_b, milliseconds, seconds, up};

fn interface(world: &mut World, site: usize) -> Interface {
    let Answer::Interfaces(page) = world.ask(site, Request::Interfaces) else { panic!("no page") };
    page.interfaces[0].clone()
}

#[test]
fn an_interfaces_counters_never_fall_whatever_becomes_of_its_sas() {
    over_seeds(|seed| {
        let mut world = established(seed, Weather::BREEZE, link_a(), link_b());
        let flow = world.flow(A, B, milliseconds(50));
        let mut last = [A, B].map(|site| interface(&mut world, site));
        for step in 0..60 {
            world.run_for(seconds(1));
            match step {
                5 => world.rekey(A, "t", false, true),
                20 => world.rekey(B, "t", true, true),
                35 => drop(world.command(A, Request::ClearIpsec { tunnel: None })),
                _ => {}
            }
            let now = [A, B].map(|site| interface(&mut world, site));
            for (before, after) in last.iter().zip(&now) {
                let counts = |i: &Interface| [i.packets_out, i.bytes_out, i.packets_in, i.bytes_in];
                let pairs = counts(before).into_iter().zip(counts(after));
                assert!(pairs.clone().all(|(b, a)| b <= a), "step {step}: {before:?} {after:?}");
            }
            last = now;
        }
        world.finish_flow(flow);
        let through = u64::from(world.flows[flow].arrived());
        assert!(interface(&mut world, A).packets_out >= through);
        assert!(interface(&mut world, B).packets_in >= through);
    });
}

#[test]
fn what_its_sas_refused_is_told_by_reason_and_outlives_them() {
    over_seeds(|seed| {
        let mut world = established(seed, Weather::storm(0), link_a(), link_b());
        let flow = world.flow(A, B, milliseconds(20));
        // One packet in twenty comes twice.
        world.run_for(seconds(10));
        world.finish_flow(flow);
        let replayed = |world: &mut World| {
            let drops = interface(world, B).drops;
            drops.iter().find(|drop| drop.name == "replayed").map_or(0, |drop| drop.count)
        };
        let before = replayed(&mut world);
        assert!(before > 0);
        world.rekey(A, "t", false, true);
        world.run_for(seconds(10));
        assert!(replayed(&mut world) >= before);
    });
}

#[test]
fn a_forged_path_mtu_neither_strangles_a_tunnel_nor_moves_it_to_and_fro() {
    over_seeds(|seed| {
        let mut world = established(seed, Weather::BREEZE, link_a(), link_b());
        world.run_for(seconds(2));
        let whole = interface(&mut world, A).mtu;
        let told = |world: &mut World, mtu| {
            world.tell(A, Heard::PathMtu { remote: OUTER_B.parse().unwrap(), mtu });
            interface(world, A).mtu
        };
        let narrow = told(&mut world, 1300);
        assert!(narrow < whole);
        assert_eq!(told(&mut world, 1400), narrow, "an error never makes it larger");
        // What Linux takes for the least, less what ESP costs.
        let least = told(&mut world, 552);
        assert!((450..narrow).contains(&least), "{least}");
        assert_eq!([0, 68, 551].map(|mtu| told(&mut world, mtu)), [least; 3]);
    });
}

#[test]
fn an_inbound_sa_that_is_used_up_makes_room_for_another() {
    over_seeds(|seed| {
        let mut world = established(seed, Weather::BREEZE, link_a(), link_b());
        world.run_for(seconds(2));
        let before = world.children(A)[0].inbound.spi.clone();
        let tunnel = world.sites[A].tunnel_named("t").unwrap();
        let spi = u32::from_str_radix(&before, 16).unwrap();
        world.tell(A, Heard::Report(Report::Exhausted { tunnel, spi, outbound: false }));
        world.run_for(seconds(3));
        up(&mut world, seconds(10));
        let after = world.children(A);
        assert!(
            after.iter().any(|child| child.inbound.spi != before && child.state == "INSTALLED"),
            "{after:?}"
        );
    });
}

#[test]
fn another_preferred_source_reaches_learned_routes_too() {
    over_seeds(|seed| {
        let mut world = established(seed, Weather::BREEZE, link_a(), link_b());
        world.run_for(seconds(3));
        let source = |world: &World| match world.sites[A].kernel.our_hop("10.2.0.0/24") {
            Some(Hop::Device { source, .. }) => source.map(|address| address.to_string()),
            _ => None,
        };
        assert_eq!(source(&world).as_deref(), Some("10.1.0.1"));
        world.sites[A].kernel.gain_address(LAN, "10.1.0.2".parse().unwrap());
        let changed = file_a(link_a()).text().replacen("source = \"10.1.0.1\"", "source = \"10.1.0.2\"", 1);
        world.sites[A].file = changed;
        world.command(A, Request::Reload);
        world.run_for(seconds(1));
        assert_eq!(source(&world).as_deref(), Some("10.1.0.2"));
        assert!(world.is_up(A, "t"), "the session went on");
    });
}

#[test]
fn a_neighbour_without_a_tunnel_says_why_it_is_down() {
    over_seeds(|seed| {
        let mut world = established(seed, Weather::BREEZE, link_a(), link_b());
        let neighbor =
            "[bgp.neighbor.upstream]\naddress = \"10.1.0.77\"\nasn = 65099\nsource = \"10.1.0.1\"\n";
        let text = file_a(link_a()).text();
        world.sites[A].file = text + neighbor;
        world.command(A, Request::Reload);
        world.run_for(seconds(60));
        let Answer::Status(status) = world.ask(A, Request::Status) else { panic!("no page") };
        let upstream = status.neighbors.iter().find(|layer| layer.name == "upstream").unwrap();
        assert_eq!(upstream.why.as_ref().map(|why| why.code.as_str()), Some("tcp-silent"), "{upstream:?}");
        assert!(world.is_up(A, "t"));
    });
}
