//! A changed file touches what changed, and nothing else.

use std::collections::BTreeSet;
use std::time::Duration;

use control::Request;

use crate::sim::check::routes_agree;
use crate::sim::seeds::pick;
use crate::sim::{File, Link, Weather, World, over_seeds};

use super::pair::{
    A, AS_A, B, LAN_A, LAN_B, OUTER_A, OUTER_B, established, file_a, link_a, link_b, milliseconds, seconds,
    up,
};

const C: usize = 2;
const OUTER_C: &str = "45.40.0.1";
const LAN_C: &str = "10.3.0.1";

fn files() -> [File; 3] {
    let center = File::new(OUTER_A, AS_A, "10.1.0.0/24")
        .link(Link::new("b", OUTER_A, OUTER_B).neighbor(LAN_B, 65_020, LAN_A))
        .link(Link::new("c", OUTER_A, OUTER_C).neighbor(LAN_C, 65_030, LAN_A));
    let end = |outer: &str, asn, lan: &str, network: &str| {
        let link = Link::new("a", outer, OUTER_A).neighbor(LAN_A, AS_A, lan).responds();
        File::new(outer, asn, network).link(link)
    };
    [center, end(OUTER_B, 65_020, LAN_B, "10.2.0.0/24"), end(OUTER_C, 65_030, LAN_C, "10.3.0.0/24")]
}

fn star(seed: u64) -> World {
    let [a, b, c] = files();
    let mut world = World::new(seed, Weather::BREEZE);
    world.add("a", &[OUTER_A], LAN_A, a.text());
    world.add("b", &[OUTER_B], LAN_B, b.text());
    world.add("c", &[OUTER_C], LAN_C, c.text());
    for site in [C, B, A] {
        world.start(site);
    }
    all_up(&mut world, seconds(60));
    world.run_for(seconds(3));
    // The center tells one end when the other is gone.
    world.sites[B].kernel.withdrawals = true;
    world.sites[C].kernel.withdrawals = true;
    world
}

fn all_up(world: &mut World, limit: Duration) {
    world.both_up(limit, [(A, "b"), (B, "a")]);
    world.both_up(limit, [(A, "c"), (C, "a")]);
}

fn spis(world: &mut World, tunnel: &str) -> Vec<String> {
    world
        .children(A)
        .iter()
        .filter(|child| child.tunnel == tunnel)
        .map(|child| child.inbound.spi.clone())
        .collect()
}

#[test]
fn a_reload_keeps_absorbs_or_restarts_and_leaves_the_other_tunnel_untouched() {
    over_seeds(|seed| {
        let mut world = star(seed);
        let (before_b, before_c) = (spis(&mut world, "b"), spis(&mut world, "c"));
        let flow = world.flow(A, B, milliseconds(40));
        world.run_for(seconds(1));

        // Nothing changed.
        let said = world.command(A, Request::Reload);
        assert_eq!(said, ["nothing changed"]);

        // Absorbed: the SA goes on.
        let [mut a, ..] = files();
        a.links[1].dpd = ("15s", "60s");
        world.sites[A].file = a.text();
        world.command(A, Request::Reload);
        world.run_for(seconds(2));
        assert_eq!(spis(&mut world, "c"), before_c);

        // Refused: nothing moves.
        world.sites[A].file = a.text() + "nonsense = 1\n";
        let control::Answer::Refused(_) = world.ask(A, Request::Reload) else { panic!("taken") };
        world.run_for(seconds(1));
        assert_eq!(spis(&mut world, "c"), before_c);

        // Restarted: another SA, and only there.
        a.links[1].encapsulation = "always";
        world.sites[A].file = a.text();
        world.command(A, Request::Reload);
        world.run_for(seconds(2));
        all_up(&mut world, seconds(60));
        assert_ne!(spis(&mut world, "c"), before_c);

        // Taken out, and put back.
        let whole = a.clone();
        a.links.pop();
        world.sites[A].kernel.learned.clear();
        world.sites[A].file = a.text();
        world.command(A, Request::Reload);
        world.run_for(seconds(3));
        assert!(world.sites[A].kernel.our_hop("10.3.0.0/24").is_none());
        assert!(world.sites[A].kernel.our_hop("45.40.0.1/32").is_none());
        routes_agree(&mut world, A);
        world.sites[A].file = whole.text();
        world.command(A, Request::Reload);
        all_up(&mut world, seconds(120));

        world.finish_flow(flow);
        assert_eq!(spis(&mut world, "b"), before_b, "the other tunnel's SA is the same");
        assert_eq!(world.flows[flow].lost(), 0);
        assert_eq!(world.flows[flow].refused, 0);
        world.run_for(seconds(5));
        routes_agree(&mut world, A);
    });
}

#[test]
fn each_of_two_tunnels_is_its_own_fate() {
    over_seeds(|seed| {
        let mut world = star(seed);
        let flow = world.flow(A, B, milliseconds(100));
        world.kill(C);
        world.run_until("c is down", seconds(60), |world| !world.is_up(A, "c"));
        world.start(C);
        all_up(&mut world, seconds(120));
        // From B to C through A, once both know of one another.
        world.run_until("routes are passed on", seconds(60), |world| {
            world.sites[B].kernel.our_hop("10.3.0.0/24").is_some()
        });
        world.finish_flow(flow);
        assert_eq!(world.flows[flow].lost(), 0);
    });
}

/// Tables and metrics that routes of ours stand in.
fn places(world: &World, site: usize) -> BTreeSet<(u32, u32)> {
    world.sites[site].kernel.ours().map(|(identity, _)| (identity.table, identity.metric)).collect()
}

#[test]
fn another_table_or_metric_moves_the_routes_without_losing_a_packet() {
    over_seeds(|seed| {
        let mut world = established(seed, Weather::BREEZE, link_a(), link_b());
        world.run_for(seconds(5));
        let flows = [world.flow(A, B, milliseconds(5)), world.flow(B, A, milliseconds(5))];
        let before = spis(&mut world, "t");
        let mut file = file_a(link_a());
        world.sites[A].moves = true;
        let steps = [
            (None, Some(30)),
            (Some(100), Some(30)),
            (Some(200), Some(7)),
            (None, Some(7)),
            (Some(100), None),
        ];
        for (table, metric) in steps {
            (file.table, file.metric) = (table, metric);
            world.sites[A].file = file.text();
            let said = world.command(A, Request::Reload);
            assert_eq!(said, ["routes: absorb"]);
            // Sometimes the next comes before the last is through.
            let wait = pick(&mut world.rng, (0, 40));
            world.run_for(milliseconds(wait));
        }
        world.run_for(seconds(2));
        for flow in flows {
            world.finish_flow(flow);
            let flow = &world.flows[flow];
            assert_eq!((flow.lost(), flow.refused, flow.unread, flow.in_clear), (0, 0, 0, 0));
        }
        assert_eq!(spis(&mut world, "t"), before, "no SA was touched");
        assert_eq!(places(&world, A), [(100, 20), (254, 20)].into());
        assert!(world.sites[A].mark.is_some(), "outer packets are marked where rules look at marks");
        routes_agree(&mut world, A);
        file.table = None;
        world.sites[A].file = file.text();
        world.command(A, Request::Reload);
        world.run_for(seconds(2));
        assert_eq!((places(&world, A), world.sites[A].mark), ([(254, 20)].into(), None));
        world.sites[A].moves = false;
        // Taken over by the next run, whatever it says: what stands with another metric is swept.
        file.metric = Some(99);
        world.kill(A);
        world.sites[A].file = file.text();
        world.start(A);
        up(&mut world, seconds(60));
        world.run_for(seconds(10));
        assert_eq!(places(&world, A), [(254, 99)].into());
        routes_agree(&mut world, A);
    });
}

#[test]
fn another_log_level_is_taken_over_and_another_control_socket_refuses_the_whole_file() {
    let mut world = established(1, Weather::BREEZE, link_a(), link_b());
    let mut file = file_a(link_a());
    file.level = Some("debug");
    world.sites[A].file = file.text();
    assert_eq!(world.command(A, Request::Reload), ["log: absorb"]);
    assert_eq!(world.sites[A].log.map(|log| log.level), Some(config::LogLevel::Debug));
    file.metric = Some(30);
    world.sites[A].file = file.text() + "[control]\nsocket = \"/run/elsewhere.sock\"\n";
    let control::Answer::Refused(why) = world.ask(A, Request::Reload) else { panic!("taken") };
    assert!(why.contains("[control]") && why.contains("restart"), "{why}");
    world.run_for(seconds(2));
    assert_eq!(places(&world, A), [(254, 20)].into(), "nothing of the file was applied");
}

#[test]
fn what_an_earlier_run_left_refused_goes_with_the_tunnel_it_waits_for() {
    over_seeds(|seed| {
        let mut world = star(seed);
        world.kill(C);
        world.kill(A);
        world.start(A);
        world.both_up(seconds(60), [(A, "b"), (B, "a")]);
        world.run_for(seconds(5));
        assert_eq!(world.sites[A].kernel.our_hop("10.3.0.0/24"), Some(gateway::Hop::Unreachable));
        let [mut a, ..] = files();
        a.links.pop();
        world.sites[A].kernel.learned.clear();
        world.sites[A].file = a.text();
        world.command(A, Request::Reload);
        world.run_for(seconds(2));
        assert_eq!(world.sites[A].kernel.our_hop("10.3.0.0/24"), None, "nobody is left to speak for it");
        routes_agree(&mut world, A);
    });
}
