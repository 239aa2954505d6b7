//! Two tunnels to one site.

use control::Request;

use crate::sim::kernel::into;
use crate::sim::{File, Link, Weather, World, over_seeds};

use super::pair::{A, AS_A, AS_B, B, LAN_A, LAN_B, OUTER_A, OUTER_B, milliseconds, seconds};

const SECOND_B: &str = "45.20.0.2";

fn twins(seed: u64) -> World {
    let mut world = World::new(seed, Weather::BREEZE);
    let a = |name: &str, remote: &str| Link::new(name, OUTER_A, remote).neighbor(LAN_B, AS_B, LAN_A);
    let b = |name: &str, local: &str| Link::new(name, local, OUTER_A).neighbor(LAN_A, AS_A, LAN_B).responds();
    let file = File::new(OUTER_A, AS_A, "10.1.0.0/24").link(a("one", OUTER_B)).link(a("two", SECOND_B));
    world.add("a", &[OUTER_A], LAN_A, file.text());
    let file = File::new(OUTER_B, AS_B, "10.2.0.0/24").link(b("one", OUTER_B)).link(b("two", SECOND_B));
    world.add("b", &[OUTER_B, SECOND_B], LAN_B, file.text());
    world.start(B);
    world.start(A);
    both(&mut world);
    world.run_for(seconds(5));
    world
}

fn both(world: &mut World) {
    for name in ["one", "two"] {
        world.both_up(seconds(180), [(A, name), (B, name)]);
    }
}

/// The tunnel A sends B's prefix into.
fn taken(world: &World) -> &'static str {
    let hop = world.sites[A].kernel.our_hop("10.2.0.0/24").and_then(into);
    let of = |name: &str| {
        world.sites[A].tunnel_named(name).and_then(|tunnel| world.sites[A].kernel.tun_of(tunnel))
    };
    if hop == of("one") {
        "one"
    } else if hop == of("two") {
        "two"
    } else {
        "none"
    }
}

#[test]
fn when_one_of_two_tunnels_dies_the_other_takes_over_and_nothing_is_refused() {
    over_seeds(|seed| {
        let mut world = twins(seed);
        let first = taken(&world);
        let outer = if first == "one" { OUTER_B } else { SECOND_B };
        let other = if first == "one" { "two" } else { "one" };
        let flow = world.flow(A, B, milliseconds(50));
        world.run_for(seconds(2));
        world.net.cut(OUTER_A, outer, true);
        world.run_until("the other carries", seconds(45), |world| taken(world) == other);
        assert_eq!(world.flows[flow].refused, 0, "there was another path all the time");
        let flow_after = world.flow(A, B, milliseconds(50));
        world.run_for(seconds(5));
        world.finish_flow(flow_after);
        assert_eq!(world.flows[flow_after].lost(), 0);
        world.net.cut(OUTER_A, outer, false);
        both(&mut world);
        world.finish_flow(flow);
        assert_eq!((world.flows[flow].refused, world.flows[flow].in_clear), (0, 0));
    });
}

#[test]
fn taking_one_of_two_tunnels_down_by_command_refuses_nothing() {
    over_seeds(|seed| {
        let mut world = twins(seed);
        let first = taken(&world);
        let flow = world.flow(A, B, milliseconds(20));
        world.run_for(seconds(2));
        world.command(A, Request::Down { tunnel: first.to_owned() });
        world.run_for(seconds(3));
        assert_ne!(taken(&world), first);
        world.command(A, Request::Up { tunnel: first.to_owned() });
        both(&mut world);
        world.finish_flow(flow);
        let flow = &world.flows[flow];
        assert_eq!((flow.refused, flow.in_clear), (0, 0));
        // What was written into the dying tunnel until its route was replaced: some milliseconds of it.
        assert!(flow.lost() <= 2, "{} lost", flow.lost());
    });
}

#[test]
fn an_address_behind_two_tunnels_has_its_host_route_in_one_that_carries() {
    over_seeds(|seed| {
        let mut world = twins(seed);
        let first = held(&world);
        let (outer, other) = if first == "one" { (OUTER_B, "two") } else { (SECOND_B, "one") };
        world.net.cut(OUTER_A, outer, true);
        world.run_until("the host route moved", seconds(45), |world| held(world) == other);
        world.net.cut(OUTER_A, outer, false);
        both(&mut world);
        world.run_for(seconds(2));
        assert_eq!(held(&world), other, "it moves only when it must");
        // The neighbour in the tunnel that has it is taken out of the file: the other's needs it still.
        let text = world.sites[A].file.clone();
        let (head, tail) = text.split_once(&format!("[bgp.neighbor.{other}]")).unwrap();
        let rest = tail.find("[bgp.neighbor.").map_or("", |at| &tail[at..]);
        world.sites[A].file = format!("{head}{rest}");
        world.command(A, Request::Reload);
        world.run_for(seconds(2));
        assert_eq!(held(&world), first);
    });
}

/// The tunnel the address of both neighbours is in.
fn held(world: &World) -> &'static str {
    let hop = world.sites[A].kernel.our_hop("10.2.0.1/32").and_then(into);
    let of = |name: &str| {
        world.sites[A].tunnel_named(name).and_then(|tunnel| world.sites[A].kernel.tun_of(tunnel))
    };
    ["one", "two"].into_iter().find(|name| hop.is_some() && hop == of(name)).unwrap_or("none")
}

#[test]
fn withdrawn_by_the_living_while_the_other_is_dead_it_is_refused() {
    over_seeds(|seed| {
        let mut world = twins(seed);
        let first = taken(&world);
        let (outer, other) = if first == "one" { (OUTER_B, "two") } else { (SECOND_B, "one") };
        world.net.cut(OUTER_A, outer, true);
        world.run_until("the other carries", seconds(45), |world| taken(world) == other);
        let text = world.sites[B].file.clone();
        let at = text.find(&format!("[bgp.neighbor.{other}]")).unwrap();
        world.sites[B].file =
            format!("{}{}", &text[..at], text[at..].replacen("export = \"any\"", "export = \"none\"", 1));
        world.command(B, Request::Reload);
        world.run_for(seconds(5));
        assert_eq!(world.sites[A].kernel.our_hop("10.2.0.0/24"), Some(gateway::Hop::Unreachable));
    });
}
