//! Everything at once, in an order the seed decides; then calm, and everything must be well again.

use control::{BgpClear, Request};

use crate::sim::check::routes_agree;
use crate::sim::seeds::pick;
use crate::sim::{File, Weather, World, over_seeds};

use super::pair::{
    A, B, OUTER_A, OUTER_B, assert_children, file_a, file_b, link_a, link_b, milliseconds, seconds, sites, up,
};

/// Things done to the world before it is calm.
const DEEDS: u64 = 14;

/// How many CHILD SAs both ends want.
fn wanted(seed: u64) -> usize {
    1 + usize::try_from(seed % 3).unwrap()
}

/// The files of both ends: learned routes in a table of their own or not, one or both dialling, in UDP or not, one CHILD SA
/// or several.
fn files(seed: u64, in_udp: bool) -> [File; 2] {
    let (mut a, mut b) = (link_a(), link_b());
    if in_udp {
        (a.encapsulation, b.encapsulation) = ("always", "always");
    }
    let several = ["", "resource_sas = 2\n", "resource_sas = 3\n"][wanted(seed) - 1];
    (a.esp, b.esp) = (several, several);
    if seed.is_multiple_of(3) {
        b.start = "initiate";
    }
    let (mut a, mut b) = (file_a(a), file_b(b));
    if seed.is_multiple_of(2) {
        (a.table, b.table) = (Some(100), Some(100));
    }
    [a, b]
}

/// One thing out of many, at one end or on the way.
fn deed(world: &mut World, seed: u64) {
    let site = usize::from(pick(&mut world.rng, (0, 1)) == 1);
    let what = pick(&mut world.rng, (0, 11));
    world.note(site, &format!("deed {what}"));
    if world.sites[site].gateway.is_none() {
        world.start(site);
        return;
    }
    let tunnel = || "t".to_owned();
    // A tunnel that is not up refuses a rekey: that is an answer too.
    let _ = match what {
        0 | 1 => return world.kill(site),
        2 => return world.net.cut(OUTER_A, OUTER_B, true),
        3 | 4 => return world.net.cut(OUTER_A, OUTER_B, false),
        5 => world.ask(site, Request::Rekey { tunnel: tunnel(), ike: true, child: false }),
        6 => world.ask(site, Request::Rekey { tunnel: tunnel(), ike: false, child: true }),
        7 => world.ask(site, Request::ClearIke { tunnel: Some(tunnel()) }),
        8 => world.ask(site, Request::ClearIpsec { tunnel: None }),
        9 => world.ask(site, Request::ClearBgp { neighbor: None, how: BgpClear::Hard }),
        10 => {
            world.ask(site, Request::Down { tunnel: tunnel() });
            let pause = pick(&mut world.rng, (0, 3_000));
            world.run_for(milliseconds(pause));
            world.ask(site, Request::Up { tunnel: tunnel() })
        }
        _ => {
            let in_udp = pick(&mut world.rng, (0, 1)) == 1;
            world.sites[site].file = files(seed, in_udp)[site].text();
            world.ask(site, Request::Reload)
        }
    };
}

#[test]
fn after_any_row_of_faults_and_commands_calm_brings_everything_back() {
    over_seeds(|seed| {
        let [a, b] = files(seed, false);
        let mut world = sites(seed, Weather::BREEZE, &a, &b);
        world.start(B);
        world.start(A);
        up(&mut world, seconds(60));
        // Both have learned of one another: from here on nothing may leave in clear.
        world.run_for(seconds(3));
        let loss = u32::try_from(seed % 4 * 5).unwrap();
        world.net.weather = Weather::storm(loss);
        let flows = [world.flow(A, B, milliseconds(400)), world.flow(B, A, milliseconds(400))];
        for _ in 0..DEEDS {
            deed(&mut world, seed);
            let pause = if pick(&mut world.rng, (0, 3)) == 0 { 45_000 } else { 2_500 };
            let pause = pick(&mut world.rng, (0, pause));
            world.run_for(milliseconds(pause));
        }
        world.net.cut(OUTER_A, OUTER_B, false);
        world.net.weather = Weather::BREEZE;
        for site in [A, B] {
            if world.sites[site].gateway.is_none() {
                world.start(site);
            }
        }
        up(&mut world, seconds(200));
        // Longer than any old SA lingers, any request is repeated, and than the kernel is left unread.
        world.run_for(seconds(100));
        up(&mut world, seconds(60));
        // One that was lost is asked for again after a pause.
        let live = |world: &mut World, site| {
            world.children(site).iter().filter(|child| child.state == "INSTALLED").count()
        };
        world.run_until("as many CHILD SAs as wanted", seconds(200), |world| {
            [A, B].iter().all(|site| live(world, *site) == wanted(seed))
        });
        world.run_for(seconds(10));
        assert_children(&mut world, wanted(seed));
        for flow in flows {
            assert_eq!(world.flows[flow].in_clear, 0);
        }
        let flow = world.flow(A, B, milliseconds(50));
        world.run_for(seconds(2));
        world.finish_flow(flow);
        assert_eq!(world.flows[flow].lost(), 0);
        routes_agree(&mut world, A);
        routes_agree(&mut world, B);
    });
}
