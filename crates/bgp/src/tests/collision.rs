//! Both sides dial, and the network decides who is early.

use std::time::Duration;

use bgp_rib::Policy;

use super::net::{Net, configs};
use crate::State;

fn settles(mut net: Net, latency: Duration, what: &str) {
    net.latency = latency;
    net.run(Duration::from_secs(120));
    assert_eq!(net.states(), [State::Established; 2], "{what}");
    assert_eq!((net.whole(), net.open()), (1, 1), "{what}: exactly one connection on both sides");
}

#[test]
fn every_interleaving_of_a_collision_leaves_exactly_one_connection_on_both_sides() {
    for seed in 0..1500 {
        for latency in [5, 700, 3000] {
            settles(
                Net::new(configs(), seed),
                Duration::from_millis(latency),
                &format!("seed {seed}, {latency} ms"),
            );
        }
    }
}

#[test]
fn equal_identifiers_are_settled_by_the_larger_as() {
    for seed in 0..500 {
        let net = Net::with_ids(configs(), seed, [[10, 0, 0, 1]; 2]);
        settles(net, Duration::from_millis(900), &format!("seed {seed}"));
    }
}

#[test]
fn internal_peers_collide_as_external_ones_do() {
    for seed in 0..300 {
        let both = configs().map(|mut config| {
            (config.asn, config.local_asn, config.import) = (65510, 65510, Policy::Unset);
            config
        });
        settles(Net::new(both, seed), Duration::from_millis(900), &format!("seed {seed}"));
    }
}

#[test]
fn a_passive_side_waits_and_the_other_dials() {
    for side in [0, 1] {
        let mut both = configs();
        both[side].passive = true;
        settles(Net::new(both, 7), Duration::from_millis(50), &format!("side {side} passive"));
    }
}

#[test]
fn a_peer_that_rebooted_replaces_its_dead_session_long_before_the_hold_timer() {
    for seed in [1, 2] {
        for silent in [0, 1] {
            let mut net = Net::new(configs(), seed);
            net.run(Duration::from_secs(60));
            // The host comes back with its speaker anew and no memory of the old connection.
            net.forget(silent);
            let reborn = Net::new(configs(), seed).speakers;
            let [a, b] = reborn;
            net.speakers[silent] = if silent == 0 { a } else { b };
            net.run(Duration::from_secs(15));
            assert_eq!(net.states(), [State::Established; 2], "seed {seed}, side {silent} rebooted");
            assert_eq!(net.whole(), 1);
        }
    }
}
