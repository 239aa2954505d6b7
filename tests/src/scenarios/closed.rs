//! What the kernel drops or does not take is refused, and comes back when the kernel takes it again.

use gateway::Hop;

use crate::sim::check::routes_agree;
use crate::sim::kernel::{LAN, into};
use crate::sim::seeds::pick;
use crate::sim::{Weather, over_seeds};

use super::pair::{A, B, LAN_A, established, link_a, link_b, milliseconds, seconds, up};

#[test]
fn learned_prefixes_are_refused_while_their_source_or_their_device_is_gone() {
    over_seeds(|seed| {
        let mut a = link_a();
        a.routes = vec!["10.99.0.0/16".to_owned()];
        let mut world = established(seed, Weather::BREEZE, a, link_b());
        world.run_until("the route is there", seconds(5), |world| {
            world.sites[A].kernel.our_hop("10.2.0.0/24").and_then(into).is_some()
        });
        let wait = pick(&mut world.rng, (1_000, 65_000));
        world.run_for(milliseconds(wait));
        let tunnel = world.sites[A].tunnel_named("t").unwrap();
        let device = world.sites[A].kernel.tun_of(tunnel).unwrap();
        // What the kernel drops by itself leaves in clear until it is heard.
        world.sites[A].tampered = true;
        let by_address = seed.is_multiple_of(2);
        if by_address {
            world.sites[A].kernel.lose_address(LAN_A.parse().unwrap());
        } else {
            world.sites[A].kernel.set_up(device, false);
        }
        world.news(A);
        for prefix in ["10.2.0.0/24", "10.99.0.0/16"] {
            world.run_until(&format!("{prefix} is refused"), seconds(1), |world| {
                world.sites[A].kernel.our_hop(prefix) == Some(Hop::Unreachable)
            });
        }
        world.sites[A].tampered = false;
        let control::Answer::Routes(view) = world.ask(A, control::Request::Routes) else { panic!("no page") };
        let row = view.routes.iter().find(|row| row.prefix == "10.2.0.0/24").unwrap();
        assert_eq!((row.state.as_str(), row.why.is_some()), ("failed", true), "{row:?}");
        let flow = world.flow(A, B, milliseconds(100));
        world.run_for(seconds(12));
        let flow_now = &world.flows[flow];
        assert_eq!((flow_now.in_clear, flow_now.arrived()), (0, 0));
        assert!(flow_now.refused > 100, "senders are told");
        if by_address {
            world.sites[A].kernel.gain_address(LAN, LAN_A.parse().unwrap());
        } else {
            world.sites[A].kernel.set_up(device, true);
        }
        world.news(A);
        world.run_until("it leads into the tunnel again", seconds(1), |world| {
            world.sites[A].kernel.our_hop("10.2.0.0/24").and_then(into) == Some(device)
        });
        up(&mut world, seconds(60));
        world.finish_flow(flow);
        assert_eq!(world.flows[flow].in_clear, 0);
        routes_agree(&mut world, A);
    });
}

#[test]
fn what_a_neighbour_taught_that_the_file_no_longer_has_is_swept_at_the_next_start() {
    over_seeds(|seed| {
        let mut world = established(seed, Weather::BREEZE, link_a(), link_b());
        world.run_until("the route is there", seconds(5), |world| {
            world.sites[A].kernel.our_hop("10.2.0.0/24").is_some()
        });
        world.kill(A);
        let text = world.sites[A].file.clone();
        world.sites[A].file = text[..text.find("[bgp.neighbor.").unwrap()].to_owned();
        // Nobody is left who could teach it.
        world.sites[A].kernel.learned.clear();
        world.start(A);
        world.run_until("the tunnel is up", seconds(60), |world| world.is_up(A, "t"));
        world.run_for(seconds(2));
        assert_eq!(world.sites[A].kernel.our_hop("10.2.0.0/24"), None);
        routes_agree(&mut world, A);
    });
}
