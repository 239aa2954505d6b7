//! A bad peer, and bad strangers, cannot hurt.

use std::time::Duration;

use rand_core::RngCore;

use crate::sim::net::Clothes;
use crate::sim::seeds::{over_share, pick};
use crate::sim::{Nat, Weather, World, over_seeds};

use super::pair::{A, B, LAN_A, OUTER_A, OUTER_B, established, link_a, link_b, milliseconds, seconds};

/// So much rubbish a second.
const STORM: u64 = 250;

fn rubbish(world: &mut World) -> Vec<u8> {
    let length = usize::try_from(pick(&mut world.rng, (0, 300))).unwrap();
    let mut bytes = vec![0; length];
    world.rng.fill_bytes(&mut bytes);
    match pick(&mut world.rng, (0, 3)) {
        // The shape of an IKE_SA_INIT: version 2.0, exchange 34, and its own length.
        0 if length >= 28 => {
            bytes[8..16].fill(0);
            bytes[16..24].copy_from_slice(&[33, 0x20, 34, 0x08, 0, 0, 0, 0]);
            bytes[24..28].copy_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
        }
        // Behind a marker.
        1 if length >= 4 => bytes[..4].fill(0),
        _ => {}
    }
    bytes
}

#[test]
fn a_storm_of_rubbish_stops_neither_traffic_nor_keepalives_nor_a_rekey() {
    over_share(2, |seed| {
        let mut world = established(seed, Weather::BREEZE, link_a(), link_b());
        world.run_for(seconds(2));
        let flows = [world.flow(A, B, milliseconds(20)), world.flow(B, A, milliseconds(20))];
        for round in 0..3 * STORM {
            let bytes = rubbish(&mut world);
            let stranger = format!("66.0.{}.{}:{}", round % 200, round % 251, 500 + round % 7 * 1000);
            let from = if round % 3 == 0 { format!("{OUTER_B}:4500") } else { stranger };
            let port = if round % 2 == 0 { 500 } else { 4500 };
            let clothes = if round % 5 == 0 { Clothes::Esp } else { Clothes::Udp };
            world.inject(&from, &format!("{OUTER_A}:{port}"), clothes, bytes);
            world.run_for(Duration::from_micros(1_000_000 / STORM));
            if round == STORM {
                world.rekey(A, "t", true, true);
            }
        }
        world.run_for(seconds(30));
        for flow in flows {
            world.finish_flow(flow);
            assert_eq!(world.flows[flow].lost(), 0);
        }
        assert!(world.is_up(A, "t") && world.tunnel(A, "t").bgp[0].since > 30);
    });
}

#[test]
fn rubbish_at_a_nat_port_does_not_move_the_peer_nor_stop_keepalives() {
    over_seeds(|seed| {
        let mut a = link_a();
        a.local = "\"192.168.7.2\"".to_owned();
        let a = a.ids("fqdn:a", "fqdn:b");
        let mut b = link_b().ids("fqdn:b", "fqdn:a");
        b.remote = "\"any\"".to_owned();
        let mut world = World::new(seed, Weather::CALM);
        world.add("a", &["192.168.7.2"], LAN_A, super::pair::file_a(a).text());
        world.add("b", &[OUTER_B], super::pair::LAN_B, super::pair::file_b(b).text());
        world.net.nats.insert(A, Nat::new("45.30.0.1", seconds(35)));
        world.start(B);
        world.start(A);
        super::pair::up(&mut world, seconds(60));
        let before = world.net.keepalives;
        for _ in 0..60 {
            for _ in 0..4 {
                let bytes = rubbish(&mut world);
                world.inject("66.1.1.1:4500", &format!("{OUTER_B}:4500"), Clothes::Udp, bytes);
            }
            world.run_for(seconds(2));
        }
        assert!(world.net.keepalives > before + 3, "{} keepalives", world.net.keepalives - before);
        assert!(world.children(B)[0].remote.contains("45.30.0.1"));
        assert!(world.is_up(B, "t"));
    });
}

#[test]
fn everything_ever_sent_played_again_changes_nothing() {
    over_seeds(|seed| {
        let mut weather = Weather::BREEZE;
        // Most packets come again, many of them late.
        (weather.duplicates, weather.stragglers) = (80, 40);
        let mut world = established(seed, weather, link_a(), link_b());
        let flows = [world.flow(A, B, milliseconds(25)), world.flow(B, A, milliseconds(25))];
        for _ in 0..3 {
            world.rekey(A, "t", true, true);
            world.run_for(seconds(3));
        }
        for flow in flows {
            world.finish_flow(flow);
            assert_eq!((world.flows[flow].twice, world.flows[flow].lost()), (0, 0));
        }
        world.run_for(seconds(60));
        assert_eq!((world.children(A).len(), world.ike_sas(A).len()), (1, 1));
    });
}
