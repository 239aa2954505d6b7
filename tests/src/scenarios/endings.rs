//! The end of a process: what the peer hears of it, and what is left on the host.

use gateway::{Departure, Hop};

use crate::sim::check::routes_agree;
use crate::sim::seeds::pick;
use crate::sim::site::Heard;
use crate::sim::{Weather, over_seeds};

use super::pair::{A, B, established, link_a, link_b, milliseconds, seconds, up};

#[test]
fn a_restart_lets_nothing_out_in_clear_between_the_two_runs() {
    over_seeds(|seed| {
        let mut a = link_a();
        a.routes = vec!["10.99.0.0/16".to_owned()];
        let loss = u32::try_from(seed % 3 * 5).unwrap();
        let mut world = established(seed, Weather::BREEZE, a, link_b());
        world.run_for(seconds(5));
        world.net.weather = Weather::storm(loss);
        let flow = world.flow(A, B, milliseconds(20));
        world.run_for(seconds(1));
        let device = world.sites[A].kernel.our_hop("10.99.0.0/16");
        world.tell(A, Heard::Stop(Departure::Restart));
        world.run_until("it stops", seconds(4), |world| world.sites[A].gateway.is_none());
        assert_eq!(world.sites[A].kernel.our_hop("10.2.0.0/24"), Some(Hop::Unreachable));
        assert_eq!(
            world.sites[A].kernel.our_hop("10.99.0.0/16"),
            device,
            "the device and what leads into it stay"
        );
        // Between the two runs, and while the second is not yet up.
        let wait = pick(&mut world.rng, (0, 20_000));
        world.run_for(milliseconds(wait));
        world.start(A);
        up(&mut world, seconds(240));
        world.net.weather = Weather::BREEZE;
        world.run_for(seconds(70));
        world.finish_flow(flow);
        assert_eq!(world.flows[flow].in_clear, 0);
        assert!(world.flows[flow].refused > 0);
        assert_eq!(world.sites[A].kernel.our_hop("10.99.0.0/16"), device, "adopted");
        routes_agree(&mut world, A);
    });
}

#[test]
fn a_stop_after_a_restart_was_meant_leaves_nothing() {
    over_seeds(|seed| {
        let mut world = established(seed, Weather::BREEZE, link_a(), link_b());
        world.run_for(seconds(5));
        // Nobody answers, so that patience is needed to its end.
        world.net.cut(super::pair::OUTER_A, super::pair::OUTER_B, true);
        world.sites[A].kernel.learned.clear();
        world.tell(A, Heard::Stop(Departure::Restart));
        let wait = pick(&mut world.rng, (0, 1_500));
        world.run_for(milliseconds(wait));
        world.tell(A, Heard::Stop(Departure::Stop));
        world.run_until("it stops", seconds(4), |world| world.sites[A].gateway.is_none());
        let kernel = &world.sites[A].kernel;
        assert_eq!(kernel.ours().count(), 0, "{:?}", kernel.routes);
        assert!(kernel.ports.values().all(|port| !port.is_tun), "{:?}", kernel.ports);
    });
}

#[test]
fn a_peer_hears_of_a_stop_within_its_patience_though_a_quarter_is_lost() {
    over_seeds(|seed| {
        let mut world = established(seed, Weather::BREEZE, link_a(), link_b());
        world.run_for(seconds(3));
        world.net.weather = Weather::storm(25);
        let site = usize::try_from(seed % 2).unwrap();
        world.sites[site].kernel.learned.clear();
        world.tell(site, Heard::Stop(Departure::Stop));
        world.run_until("it stops", seconds(3), |world| world.sites[site].gateway.is_none());
        world.run_for(milliseconds(200));
        assert!(!world.is_up(1 - site, "t"), "the peer goes on as if nothing was");
        assert_eq!(world.tunnel(1 - site, "t").why.unwrap().code, "peer-deleted");
    });
}

#[test]
fn a_dial_during_a_stop_is_not_let_in() {
    over_seeds(|seed| {
        let mut world = established(seed, Weather::BREEZE, link_a(), link_b());
        world.run_for(seconds(3));
        // A comes again without memory: it answers no DELETE, and dials while B waits for that.
        world.sites[B].kernel.learned.clear();
        world.kill(A);
        world.tell(B, Heard::Stop(Departure::Stop));
        let wait = pick(&mut world.rng, (0, 1_500));
        world.run_for(milliseconds(wait));
        world.start(A);
        world.run_until("it stops", seconds(3), |world| world.sites[B].gateway.is_none());
        world.run_for(seconds(1));
        let sas = world.ike_sas(A);
        assert!(sas.iter().all(|sa| sa.state != "ESTABLISHED"), "{sas:?}");
        assert!(world.children(A).iter().all(|child| child.state == "LINGERING"));
        assert_eq!(world.sites[B].kernel.ours().count(), 0);
    });
}
