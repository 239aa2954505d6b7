//! What happens on the host itself: routes that vanish, routes of others, underlays that move, path MTUs.

use gateway::Hop;

use crate::sim::check::routes_agree;
use crate::sim::kernel::{WAN, into};
use crate::sim::seeds::pick;
use crate::sim::{Weather, World, over_seeds};

use super::pair::{
    A, B, OUTER_A, OUTER_B, established, file_a, file_b, link_a, link_b, milliseconds, seconds, sites, up,
};

#[test]
fn a_route_the_kernel_dropped_silently_is_back_after_the_audit() {
    over_seeds(|seed| {
        let mut world = established(seed, Weather::BREEZE, link_a(), link_b());
        let wait = pick(&mut world.rng, (2_000, 70_000));
        world.run_for(milliseconds(wait));
        let all: Vec<_> = world.sites[A].kernel.ours().map(|(identity, _)| identity.prefix).collect();
        let which = usize::try_from(pick(&mut world.rng, (0, all.len() as u64 - 1))).unwrap();
        world.sites[A].tampered = true;
        assert!(world.sites[A].kernel.drop_silently(all[which]));
        world.run_until("it is back", seconds(61), |world| {
            world.sites[A].kernel.ours().any(|(identity, _)| identity.prefix == all[which])
        });
        world.sites[A].tampered = false;
        world.run_for(seconds(1));
        routes_agree(&mut world, A);
    });
}

#[test]
fn a_route_of_someone_else_is_never_touched_and_ours_takes_its_place_when_it_goes() {
    over_seeds(|seed| {
        let mut world = sites(seed, Weather::BREEZE, &file_a(link_a()), &file_b(link_b()));
        let hop = Hop::Device { ifindex: 3, gateway: Some("10.1.0.9".parse().unwrap()), source: None };
        let prefix = "10.2.0.0/24".parse().unwrap();
        world.sites[A].kernel.put_foreign(prefix, 20, hop);
        world.start(B);
        world.start(A);
        up(&mut world, seconds(30));
        world.run_for(seconds(20));
        let (_, found) = world.sites[A].kernel.lookup("10.2.0.77".parse().unwrap(), false).unwrap();
        assert_eq!(found, hop);
        let control::Answer::Routes(view) = world.ask(A, control::Request::Routes) else { panic!() };
        let row = view.routes.iter().find(|row| row.prefix == "10.2.0.0/24").unwrap();
        assert_eq!(row.state, "failed");
        world.sites[A].kernel.routes.retain(|identity, held| identity.prefix != prefix || held.hop != hop);
        world.news(A);
        world.run_until("ours is there", seconds(10), |world| {
            world.sites[A].kernel.our_hop("10.2.0.0/24").is_some()
        });
        world.run_for(seconds(1));
        routes_agree(&mut world, A);
    });
}

#[test]
fn the_pin_to_the_peer_follows_the_underlay() {
    over_seeds(|seed| {
        let mut world = established(seed, Weather::BREEZE, link_a(), link_b());
        world.run_for(seconds(2));
        let via = Hop::Device { ifindex: WAN, gateway: Some("45.10.0.9".parse().unwrap()), source: None };
        world.sites[A].kernel.put_foreign("45.20.0.0/16".parse().unwrap(), 5, via);
        world.news(A);
        world.run_until("the pin moved", seconds(2), |world| {
            world.sites[A].kernel.our_hop("45.20.0.1/32") == Some(via)
        });
        assert!(world.is_up(A, "t"));
        routes_agree(&mut world, A);
    });
}

#[test]
fn without_a_wan_it_says_so_and_comes_up_when_there_is_one() {
    over_seeds(|seed| {
        let mut world = sites(seed, Weather::BREEZE, &file_a(link_a()), &file_b(link_b()));
        world.sites[A].kernel.ports.get_mut(&WAN).unwrap().link.up = false;
        world.start(B);
        world.start(A);
        world.run_for(seconds(30));
        assert_eq!(world.tunnel(A, "t").why.unwrap().code, "no-path");
        // Until it is heard that there is a path again there is none.
        world.sites[A].tampered = true;
        world.sites[A].kernel.ports.get_mut(&WAN).unwrap().link.up = true;
        world.news(A);
        up(&mut world, seconds(10));
    });
}

#[test]
fn a_path_that_shrinks_is_told_to_senders_within_two_seconds() {
    over_seeds(|seed| {
        let mut world = established(seed, Weather::BREEZE, link_a(), link_b());
        world.run_for(seconds(2));
        let flow = world.flow(A, B, milliseconds(50));
        world.flows[flow].size = 1400;
        world.run_for(seconds(2));
        assert_eq!(world.flows[flow].too_big, 0);
        world.net.mtu = 1300;
        world.run_until("senders are told", seconds(2), |world| world.flows[flow].too_big > 0);
        world.finish_flow(flow);
        let told = world.flows[flow].told_mtu.unwrap();
        assert!((1200..1300).contains(&told) || told == 1280, "{told}");
        // The largest packet IPv4 may have now goes through.
        let flow = world.flow(A, B, milliseconds(50));
        world.flows[flow].size = inner_mtu(&mut world);
        world.run_for(seconds(2));
        world.finish_flow(flow);
        assert_eq!((world.flows[flow].lost(), world.flows[flow].too_big), (0, 0));
        // After ten minutes a path that grew is used again.
        world.net.mtu = 1500;
        world.run_for(seconds(700));
        assert!(inner_mtu(&mut world) > 1400);
    });
}

/// What the datapath lets into the tunnel now.
fn inner_mtu(world: &mut World) -> usize {
    let tunnel = world.sites[A].tunnel_named("t").unwrap();
    world.sites[A].datapath.table.tunnel(tunnel).unwrap().mtu.into()
}

#[test]
fn a_peer_given_by_name_is_looked_up_again_when_it_moves() {
    over_seeds(|seed| {
        let mut a = link_a();
        a.remote = "\"b.example.org\"".to_owned();
        let a = a.ids(OUTER_A, OUTER_B);
        let mut world = sites(seed, Weather::BREEZE, &file_a(a), &file_b(link_b().ids(OUTER_B, OUTER_A)));
        world.sites[B].wan.push("45.20.0.2".parse().unwrap());
        world.start(B);
        world.start(A);
        world.run_for(seconds(10));
        assert_eq!(world.tunnel(A, "t").why.unwrap().code, "name-unknown");
        world.sites[A].names.insert("b.example.org".to_owned(), vec![OUTER_B.parse().unwrap()]);
        up(&mut world, seconds(65));
        let pin = world.sites[A].kernel.our_hop("45.20.0.1/32");
        assert_eq!(pin.and_then(into), Some(WAN));
    });
}

#[test]
fn an_interface_someone_removed_is_made_anew_and_all_that_led_into_it_comes_back() {
    over_seeds(|seed| {
        let mut a = link_a();
        a.routes = vec!["10.99.0.0/16".to_owned()];
        let mut world = established(seed, Weather::BREEZE, a, link_b());
        world.run_for(seconds(5));
        let hop = world.sites[A].kernel.our_hop("10.99.0.0/16").unwrap();
        let before = into(hop).unwrap();
        // Until the news is there, what the kernel does is the remover's doing.
        world.sites[A].tampered = true;
        world.sites[A].kernel.remove_port(before);
        world.news(A);
        world.run_until("it is there again", seconds(2), |world| {
            let hop = world.sites[A].kernel.our_hop("10.99.0.0/16").and_then(into);
            hop.is_some_and(|index| index != before)
        });
        world.sites[A].tampered = false;
        up(&mut world, seconds(30));
        world.run_for(seconds(3));
        let flow = world.flow(A, B, milliseconds(50));
        world.run_for(seconds(2));
        world.finish_flow(flow);
        assert_eq!(world.flows[flow].lost(), 0);
        assert!(world.flows[flow].arrived() > 0);
        routes_agree(&mut world, A);
    });
}
