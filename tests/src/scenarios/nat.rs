//! NAT boxes in the way.

use crate::sim::seeds::pick;
use crate::sim::{File, Link, Nat, Weather, World, over_seeds};

use super::pair::{A, AS_A, AS_B, B, LAN_A, LAN_B, OUTER_B, milliseconds, seconds, up};

const INSIDE: &str = "192.168.7.2";
const PUBLIC: &str = "45.30.0.1";

/// Site A sits behind a NAT box; site B takes whoever proves to be it.
fn behind_nat(seed: u64, weather: Weather) -> World {
    let a = Link::new("t", INSIDE, OUTER_B)
        .neighbor(LAN_B, AS_B, LAN_A)
        .ids("fqdn:a.example.org", "fqdn:b.example.org");
    let mut b = Link::new("t", OUTER_B, "any").neighbor(LAN_A, AS_A, LAN_B).responds();
    b = b.ids("fqdn:b.example.org", "fqdn:a.example.org");
    let mut world = World::new(seed, weather);
    let file = File::new("10.1.0.1", AS_A, "10.1.0.0/24").link(a);
    world.add("a", &[INSIDE], LAN_A, file.text());
    let file = File::new("10.2.0.1", AS_B, "10.2.0.0/24").link(b);
    world.add("b", &[OUTER_B], LAN_B, file.text());
    world.net.nats.insert(A, Nat::new(PUBLIC, seconds(35)));
    world.start(B);
    world.start(A);
    up(&mut world, seconds(120));
    world
}

#[test]
fn a_peer_behind_nat_is_taken_by_a_responder_that_knows_no_address() {
    over_seeds(|seed| {
        let mut world = behind_nat(seed, Weather::storm(5));
        let child = &world.children(B)[0];
        assert!(child.remote.contains(PUBLIC), "{child:?}");
        assert!(world.ike_sas(A)[0].nat_local && world.ike_sas(B)[0].nat_remote);
        world.net.weather = Weather::BREEZE;
        world.run_for(seconds(2));
        let flows = [world.flow(A, B, milliseconds(50)), world.flow(B, A, milliseconds(50))];
        world.run_for(seconds(5));
        for flow in flows {
            world.finish_flow(flow);
            assert_eq!(world.flows[flow].lost(), 0);
        }
        let pin = world.sites[B].kernel.our_hop(&format!("{PUBLIC}/32"));
        assert!(pin.is_some(), "the peer is pinned where it is");
    });
}

#[test]
fn keepalives_hold_the_mapping_of_a_quiet_tunnel() {
    over_seeds(|seed| {
        let mut world = behind_nat(seed, Weather::CALM);
        world.run_for(seconds(600));
        // From outside, after a long silence.
        let flow = world.flow(B, A, milliseconds(50));
        world.run_for(seconds(1));
        world.finish_flow(flow);
        assert_eq!(world.flows[flow].lost(), 0);
        assert!(world.tunnel(A, "t").bgp[0].since > 590);
    });
}

#[test]
fn a_mapping_that_moves_is_followed_with_the_peers_next_packet() {
    over_seeds(|seed| {
        let mut world = behind_nat(seed, Weather::BREEZE);
        let wait = pick(&mut world.rng, (1_000, 20_000));
        world.run_for(milliseconds(wait));
        let sent = world.flow(A, B, milliseconds(100));
        world.run_for(seconds(1));
        let public = if seed.is_multiple_of(2) { PUBLIC } else { "45.30.0.2" };
        world.net.nats.get_mut(&A).unwrap().restart(public);
        world.run_for(seconds(2));
        // One round trip at most was lost, and from then on both directions are whole.
        let flows = [world.flow(A, B, milliseconds(50)), world.flow(B, A, milliseconds(50))];
        world.run_for(seconds(10));
        for flow in flows {
            world.finish_flow(flow);
            assert_eq!(world.flows[flow].lost(), 0, "seed {seed}");
        }
        world.finish_flow(sent);
        assert_eq!(world.flows[sent].lost(), 0, "from inside nothing was lost at all");
        assert!(world.children(B)[0].remote.contains(public), "{:?}", world.children(B)[0]);
        assert!(world.tunnel(A, "t").bgp[0].since > 10, "the session went on");
        // The move holds through a rekey from either side.
        world.rekey(B, "t", true, true);
        world.run_for(seconds(10));
        world.rekey(A, "t", true, true);
        world.run_for(seconds(10));
        assert!(world.is_up(A, "t") && world.is_up(B, "t"));
        let flow = world.flow(B, A, milliseconds(50));
        world.run_for(seconds(1));
        world.finish_flow(flow);
        assert_eq!(world.flows[flow].lost(), 0);
    });
}
