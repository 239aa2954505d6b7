//! One fate, nothing in clear: peers that die, paths that die, processes that are killed.

use crate::sim::check::{routes_agree, routes_are_wished};
use crate::sim::kernel::into;
use crate::sim::seeds::pick;
use crate::sim::site::Heard;
use crate::sim::{Weather, over_seeds};
use gateway::{Departure, Hop};

use super::pair::{
    A, B, LAN_A, LAN_B, OUTER_A, OUTER_B, established, link_a, link_b, milliseconds, seconds, up,
};

#[test]
fn a_killed_peer_is_noticed_refused_and_comes_back_and_nothing_leaves_in_clear() {
    over_seeds(|seed| {
        let loss = u32::try_from(seed % 3 * 5).unwrap();
        let mut world = established(seed, Weather::BREEZE, link_a(), link_b());
        world.net.weather = Weather::storm(loss);
        world.run_for(seconds(5));
        let flows = [world.flow(A, B, milliseconds(250)), world.flow(B, A, milliseconds(250))];
        let killed = usize::try_from(seed % 2).unwrap();
        let other = 1 - killed;
        let lan = if killed == A { "10.1.0.0/24" } else { "10.2.0.0/24" };
        world.kill(killed);
        world.run_until("the other end refuses", seconds(60), |world| {
            world.sites[other].kernel.our_hop(lan) == Some(Hop::Unreachable)
        });
        let wait = pick(&mut world.rng, (0, 90_000));
        world.run_for(milliseconds(wait));
        world.start(killed);
        routes_are_wished(&mut world, other);
        up(&mut world, seconds(240));
        world.run_until("its routes are back", seconds(60), |world| {
            let hop = world.sites[other].kernel.our_hop(lan);
            hop.and_then(into).is_some()
        });
        for flow in flows {
            assert_eq!(world.flows[flow].in_clear, 0);
        }
        let refused = world.flows[flows[other]].refused;
        assert!(refused > 0, "unreachable while it was down");
        world.net.weather = Weather::BREEZE;
        world.run_for(seconds(70));
        routes_agree(&mut world, A);
        routes_agree(&mut world, B);
    });
}

#[test]
fn a_peer_killed_and_restarted_at_once_is_back_long_before_liveness_would_tell() {
    over_seeds(|seed| {
        let mut world = established(seed, Weather::BREEZE, link_a(), link_b());
        world.run_for(seconds(5));
        let flow = world.flow(B, A, milliseconds(100));
        // The initiator: it dials and says INITIAL_CONTACT (RFC 7296 section 2.4).
        world.kill(A);
        world.start(A);
        // Its old state is what the peer believes in until then.
        world.run_for(seconds(3));
        up(&mut world, seconds(15));
        world.run_for(seconds(20));
        assert_eq!(world.children(B).iter().filter(|child| child.state == "INSTALLED").count(), 1);
        world.finish_flow(flow);
        assert_eq!(world.flows[flow].in_clear, 0);
        routes_agree(&mut world, A);
        routes_agree(&mut world, B);
    });
}

#[test]
fn the_session_of_a_peer_that_restarted_is_ended_by_a_round_trip_and_not_by_a_timer() {
    over_seeds(|seed| {
        let mut world = established(seed, Weather::BREEZE, link_a(), link_b());
        let wait = pick(&mut world.rng, (6_000, 40_000));
        world.run_for(milliseconds(wait));
        assert_eq!(world.session(B, "t").connections_dropped, 0);
        let before = world.ike_sas(B);
        world.kill(A);
        world.start(A);
        world.run_until("the peer is let in again", seconds(10), |world| {
            world.ike_sas(B).first().is_some_and(|sa| sa.spi_initiator != before[0].spi_initiator)
        });
        // Its host resets what it does not know, once the first packet through the new SA gets there: looked at ten times a
        // second, with a first packet that may come before the peer has its keys and then waits for TCP.
        let gone = world.run_until("the old session is ended", milliseconds(1_000), |world| {
            world.session(B, "t").connections_dropped == 1
        });
        assert!(gone <= milliseconds(1_000), "{gone:?}");
        up(&mut world, seconds(4));
        assert_eq!(world.session(B, "t").connections_dropped, 1, "and only that one");
        world.run_for(seconds(20));
        routes_agree(&mut world, A);
        routes_agree(&mut world, B);
    });
}

#[test]
fn a_dead_path_is_noticed_within_the_liveness_delay_and_timeout() {
    over_seeds(|seed| {
        let mut world = established(seed, Weather::BREEZE, link_a(), link_b());
        let quiet = pick(&mut world.rng, (1_000, 40_000));
        world.run_for(milliseconds(quiet));
        let flow = world.flow(A, B, milliseconds(500));
        world.run_for(seconds(2));
        world.net.cut(OUTER_A, OUTER_B, true);
        // 10 s of silence, 30 s of retransmission, and a second for each clock's edge.
        for site in [A, B] {
            let name = world.sites[site].name.clone();
            world.run_until(&format!("{name} notices"), seconds(42), |world| !world.is_up(site, "t"));
        }
        let why = world.tunnel(A, "t").why.unwrap();
        assert_eq!(why.code, "peer-silent", "{why:?}");
        world.run_for(seconds(3));
        assert_eq!(world.sites[A].kernel.our_hop("10.2.0.0/24"), Some(Hop::Unreachable));
        assert_eq!(world.sites[B].kernel.our_hop("10.1.0.0/24"), Some(Hop::Unreachable));
        let refused = world.flows[flow].refused;
        world.run_for(seconds(5));
        assert!(world.flows[flow].refused > refused + 8, "senders are told");
        world.net.cut(OUTER_A, OUTER_B, false);
        // The longest wait between two dials is a minute; a request under way is repeated within it.
        up(&mut world, seconds(120));
        world.run_for(seconds(5));
        routes_agree(&mut world, A);
    });
}

#[test]
fn stopped_by_command_it_refuses_and_up_brings_it_back() {
    over_seeds(|seed| {
        let mut world = established(seed, Weather::BREEZE, link_a(), link_b());
        world.run_for(seconds(3));
        let flow = world.flow(A, B, milliseconds(50));
        world.command(A, control::Request::Down { tunnel: "t".to_owned() });
        world.run_for(seconds(2));
        assert_eq!(world.tunnel(A, "t").state, "stopped");
        assert_eq!(world.sites[A].kernel.our_hop("10.2.0.0/24"), Some(Hop::Unreachable));
        world.run_until("the peer heard the DELETE", seconds(2), |world| !world.is_up(B, "t"));
        assert_eq!(world.tunnel(B, "t").why.unwrap().code, "peer-deleted");
        let wait = pick(&mut world.rng, (0, 20_000));
        world.run_for(milliseconds(wait));
        world.command(A, control::Request::Up { tunnel: "t".to_owned() });
        up(&mut world, seconds(10));
        world.finish_flow(flow);
        assert_eq!(world.flows[flow].in_clear, 0);
        routes_agree(&mut world, A);
        routes_agree(&mut world, B);
    });
}

#[test]
fn a_stop_leaves_nothing_of_ours_in_the_kernel() {
    over_seeds(|seed| {
        let cut = seed.is_multiple_of(2);
        let mut a = link_a();
        a.routes = vec!["10.99.0.0/16".to_owned()];
        let mut world = established(seed, Weather::storm(5), a, link_b());
        world.run_for(milliseconds(seed * 331 % 5_000));
        if cut {
            world.net.cut(OUTER_A, OUTER_B, true);
        }
        world.sites[A].kernel.learned.clear();
        let before: Vec<_> = world.sites[A].kernel.routes.keys().copied().collect();
        world.tell(A, Heard::Stop(Departure::Stop));
        world.run_until("it stops", seconds(4), |world| world.sites[A].gateway.is_none());
        let kernel = &world.sites[A].kernel;
        assert_eq!(kernel.ours().count(), 0, "{:?}", kernel.routes);
        assert!(kernel.ports.values().all(|port| !port.is_tun), "{:?}", kernel.ports);
        // What others made is as it was.
        assert_eq!(kernel.routes.len(), 3, "{before:?}");
        if !cut {
            // A DELETE that was lost is not waited for: then liveness tells.
            world.run_until("the peer was told", seconds(45), |world| !world.is_up(B, "t"));
        }
        world.start(A);
        world.net.cut(OUTER_A, OUTER_B, false);
        up(&mut world, seconds(240));
    });
}

#[test]
fn the_first_packet_dials_an_on_demand_tunnel() {
    over_seeds(|seed| {
        let mut a = link_a();
        a.start = "on-demand";
        a.routes = vec!["10.2.0.0/24".to_owned()];
        let (a, b) = (super::pair::file_a(a), super::pair::file_b(link_b()));
        let mut world = super::pair::sites(seed, Weather::BREEZE, &a, &b);
        world.start(A);
        world.start(B);
        world.run_for(seconds(20));
        assert_eq!(world.tunnel(A, "t").why.unwrap().code, "waiting-for-traffic");
        let flow = world.flow(A, B, milliseconds(200));
        up(&mut world, seconds(10));
        world.run_for(seconds(1));
        assert!(world.flows[flow].arrived() > 0);
        assert_ne!(LAN_A, LAN_B);
    });
}
