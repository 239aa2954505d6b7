//! Neighbours without a tunnel: their next hops are on the underlay, and follow it.

use gateway::Hop;

use crate::sim::check::routes_agree;
use crate::sim::kernel::WAN;
use crate::sim::{File, Weather, World, over_seeds};

use super::pair::{A, AS_A, B, OUTER_A, file_a, file_b, link_a, link_b, seconds, sites, up};

const C: usize = 2;
const OUTER_C: &str = "45.40.0.1";
const AS_C: u32 = 65_030;

/// A and B with their tunnel, and C, which A speaks with as it is.
fn open(seed: u64) -> World {
    let neighbor = |name: &str, address: &str, asn: u32, source: &str| {
        format!(
            "[bgp.neighbor.{name}]\naddress = \"{address}\"\nasn = {asn}\nsource = \"{source}\"\n\
             multihop = 9\nimport = \"any\"\nexport = \"any\"\n"
        )
    };
    let mut a = file_a(link_a());
    a.lists = neighbor("c", OUTER_C, AS_C, OUTER_A);
    let mut c = File::new(OUTER_C, AS_C, "10.3.0.0/24");
    c.lists = neighbor("a", OUTER_A, AS_A, OUTER_C);
    let mut world = sites(seed, Weather::BREEZE, &a, &file_b(link_b()));
    world.add("c", &[OUTER_C], "10.3.0.1", c.text());
    for site in [C, B, A] {
        world.start(site);
    }
    up(&mut world, seconds(60));
    // A tells B when C is gone.
    world.sites[B].kernel.withdrawals = true;
    world.run_until("C's network is learned", seconds(60), |world| hop(world).is_some());
    world
}

fn hop(world: &World) -> Option<Hop> {
    world.sites[A].kernel.our_hop("10.3.0.0/24")
}

fn via(gateway: &str) -> Option<Hop> {
    Some(Hop::Device { ifindex: WAN, gateway: Some(gateway.parse().unwrap()), source: None })
}

#[test]
fn the_next_hop_of_a_neighbour_without_tunnel_follows_the_underlay() {
    over_seeds(|seed| {
        let mut world = open(seed);
        assert_eq!(hop(&world), via("45.10.0.254"));
        world.run_for(seconds(2));
        routes_agree(&mut world, A);
        let other = Hop::Device { ifindex: WAN, gateway: Some("45.10.0.9".parse().unwrap()), source: None };
        world.sites[A].kernel.put_foreign("45.40.0.0/16".parse().unwrap(), 5, other);
        world.news(A);
        world.run_until("it moved", seconds(1), |world| hop(world) == via("45.10.0.9"));
        // Nothing leads there any more: the route is none, rather than one that was once right.
        world.sites[A].tampered = true;
        world.sites[A].kernel.take_foreign("45.40.0.0/16").unwrap();
        let (metric, way) = world.sites[A].kernel.take_foreign("0.0.0.0/0").unwrap();
        world.news(A);
        world.run_until("it is gone", seconds(1), |world| hop(world).is_none());
        world.sites[A].kernel.put_foreign("0.0.0.0/0".parse().unwrap(), metric, way);
        world.news(A);
        world.run_until("it is back", seconds(1), |world| hop(world) == via("45.10.0.254"));
        world.sites[A].tampered = false;
        up(&mut world, seconds(120));
        world.run_for(seconds(2));
        routes_agree(&mut world, A);
    });
}

#[test]
fn a_dead_neighbour_without_tunnel_leaves_nothing_behind() {
    over_seeds(|seed| {
        let mut world = open(seed);
        world.net.cut(OUTER_A, OUTER_C, true);
        world.run_until("its routes are gone", seconds(200), |world| hop(world).is_none());
        assert!(world.is_up(A, "t"));
        world.net.cut(OUTER_A, OUTER_C, false);
        world.run_until("they are back", seconds(300), |world| hop(world) == via("45.10.0.254"));
    });
}
