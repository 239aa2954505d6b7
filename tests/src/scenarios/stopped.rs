//! What a command stops stays stopped, and what a command resets begins anew.

use control::Request;
use gateway::Hop;

use crate::sim::kernel::WAN;
use crate::sim::{Link, Weather, World, over_seeds};

use super::pair::{
    A, B, LAN_A, OUTER_A, OUTER_B, established, file_a, file_b, link_a, link_b, seconds, sites, up,
};

fn down(world: &mut World) {
    world.command(A, Request::Down { tunnel: "t".to_owned() });
}

/// Looks at a stopped tunnel for a while, its peer dialling all the time.
fn assert_stays_stopped(world: &mut World, what: &str) {
    for _ in 0..20 {
        world.run_for(seconds(2));
        let status = world.tunnel(A, "t");
        assert_eq!(status.state, "stopped", "{what}");
        assert_eq!(status.why.unwrap().code, "stopped", "{what}");
        assert!(!status.ike.up && !status.child.up, "{what}");
        assert!(!world.is_up(B, "t"), "{what}");
    }
}

fn reload(world: &mut World, link: Link) {
    world.sites[A].file = file_a(link).text();
    world.command(A, Request::Reload);
}

#[test]
fn a_stopped_tunnel_lets_its_peer_in_by_no_news_of_the_host_and_no_reload() {
    over_seeds(|seed| {
        let mut b = link_b();
        b.start = "initiate";
        let mut world = established(seed, Weather::BREEZE, link_a(), b);
        world.run_for(seconds(2));
        down(&mut world);
        assert_stays_stopped(&mut world, "after the command");
        let via = Hop::Device { ifindex: WAN, gateway: Some("45.10.0.9".parse().unwrap()), source: None };
        world.sites[A].kernel.put_foreign("45.20.0.0/16".parse().unwrap(), 5, via);
        world.news(A);
        assert_stays_stopped(&mut world, "after news of the host");
        let mut a = link_a();
        a.dpd = ("15s", "60s");
        reload(&mut world, a.clone());
        assert_stays_stopped(&mut world, "after a change that is absorbed");
        a.start = "respond";
        reload(&mut world, a.clone());
        a.start = "initiate";
        reload(&mut world, a.clone());
        assert_stays_stopped(&mut world, "after another start");
        a.encapsulation = "always";
        reload(&mut world, a);
        assert_stays_stopped(&mut world, "after a change that restarts it");
        world.command(A, Request::Up { tunnel: "t".to_owned() });
        up(&mut world, seconds(10));
    });
}

#[test]
fn a_stopped_tunnel_is_down_because_it_was_stopped_though_the_peer_is_silent_too() {
    over_seeds(|seed| {
        let mut world = established(seed, Weather::BREEZE, link_a(), link_b());
        world.run_for(seconds(2));
        world.net.cut(OUTER_A, OUTER_B, true);
        down(&mut world);
        // Its DELETE is repeated for 30 s.
        for _ in 0..20 {
            world.run_for(seconds(2));
            assert_eq!(world.tunnel(A, "t").why.unwrap().code, "stopped");
        }
    });
}

/// Both ends wait for the other: somebody has to say `up`.
fn waiting(seed: u64) -> World {
    let a =
        Link::new("t", OUTER_A, OUTER_B).neighbor(super::pair::LAN_B, super::pair::AS_B, LAN_A).responds();
    let mut world = sites(seed, Weather::BREEZE, &file_a(a), &file_b(link_b()));
    world.start(A);
    world.start(B);
    world.run_for(seconds(2));
    world.command(A, Request::Up { tunnel: "t".to_owned() });
    up(&mut world, seconds(20));
    world.run_for(seconds(2));
    world
}

#[test]
fn cleared_child_sas_are_made_again_at_once_though_neither_end_dials() {
    over_seeds(|seed| {
        let mut world = waiting(seed);
        for site in [A, B] {
            let (before, ike) = (world.children(site), world.ike_sas(site)[0].spi_initiator.clone());
            world.command(site, Request::ClearIpsec { tunnel: Some("t".to_owned()) });
            world.run_for(seconds(1));
            up(&mut world, seconds(5));
            let after = world.children(site);
            let fresh = |child: &control::view::ChildSa| {
                child.state == "INSTALLED" && child.inbound.spi != before[0].inbound.spi
            };
            assert!(after.iter().any(fresh), "{after:?}");
            assert_eq!(world.ike_sas(site)[0].spi_initiator, ike, "the IKE SA went on");
            world.run_for(seconds(10));
        }
    });
}

#[test]
fn a_cleared_tunnel_that_waits_for_its_peer_is_not_called_stopped() {
    over_seeds(|seed| {
        let mut world = waiting(seed);
        world.command(B, Request::ClearIke { tunnel: Some("t".to_owned()) });
        world.run_for(seconds(5));
        let status = world.tunnel(B, "t");
        let why = status.why.unwrap();
        assert_eq!((status.state.as_str(), why.code.as_str()), ("down", "cleared"));
        assert!(!why.hint.contains("causeway up"), "{why:?}");
        world.command(A, Request::Up { tunnel: "t".to_owned() });
        up(&mut world, seconds(10));
    });
}
