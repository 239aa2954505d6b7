//! Which of several addresses is dialled, and from which.

use control::Request;

use crate::sim::{File, Weather, World, over_seeds};

use super::pair::{A, B, LAN_A, LAN_B, OUTER_A, OUTER_B, file_a, file_b, link_a, link_b, seconds, sites, up};

const V6: &str = "2001:db8::1";
/// Nobody is there.
const NOBODY: &str = "45.20.0.99";
const NAME: &str = "b.example.org";

fn ends(remote: &str) -> (File, File) {
    let mut a = link_a();
    a.remote = remote.to_owned();
    (file_a(a.ids(OUTER_A, OUTER_B)), file_b(link_b().ids(OUTER_B, OUTER_A)))
}

fn dialled(seed: u64, remote: &str, answer: &[&str]) -> World {
    let (a, b) = ends(remote);
    let mut world = sites(seed, Weather::BREEZE, &a, &b);
    know(&mut world, answer);
    world.start(B);
    world.start(A);
    world
}

fn know(world: &mut World, answer: &[&str]) {
    let addresses = answer.iter().map(|address| address.parse().unwrap()).collect();
    world.sites[A].names.insert(NAME.to_owned(), addresses);
}

#[test]
fn an_address_that_none_of_ours_can_reach_is_passed_over_at_once() {
    over_seeds(|seed| {
        let mut world = dialled(seed, &format!("[\"{V6}\", \"{OUTER_B}\"]"), &[]);
        up(&mut world, seconds(10));
    });
}

#[test]
fn so_is_one_that_a_name_gives() {
    over_seeds(|seed| {
        let mut world = dialled(seed, &format!("\"{NAME}\""), &[V6, OUTER_B]);
        up(&mut world, seconds(10));
    });
}

#[test]
fn the_addresses_of_a_list_are_tried_in_turn() {
    over_seeds(|seed| {
        let mut world = dialled(seed, &format!("[\"{NOBODY}\", \"{OUTER_B}\"]"), &[]);
        // The first is given up after dpd's 30 s.
        up(&mut world, seconds(45));
        let mut world = dialled(seed, &format!("\"{NAME}\""), &[NOBODY, OUTER_B]);
        up(&mut world, seconds(45));
        let mut world = dialled(seed, &format!("[\"unknown.example\", \"{NAME}\"]"), &[NOBODY, OUTER_B]);
        up(&mut world, seconds(60));
    });
}

#[test]
fn without_any_address_of_that_family_it_says_so() {
    over_seeds(|seed| {
        let mut world = dialled(seed, &format!("\"{NAME}\""), &[V6]);
        let route = gateway::Hop::Device {
            ifindex: crate::sim::kernel::WAN,
            gateway: Some("fe80::1".parse().unwrap()),
            source: None,
        };
        world.sites[A].kernel.put_foreign("::/0".parse().unwrap(), 5, route);
        world.news(A);
        world.run_for(seconds(20));
        let why = world.tunnel(A, "t").why.unwrap();
        assert_eq!(why.code, "no-path", "{why:?}");
        assert!(why.text.contains("IPv6 address"), "{why:?}");
        // The name leads elsewhere now: it is asked again.
        know(&mut world, &[OUTER_B]);
        up(&mut world, seconds(20));
    });
}

#[test]
fn what_a_name_led_to_before_is_forgotten() {
    over_seeds(|seed| {
        let mut world = dialled(seed, &format!("\"{NAME}\""), &[NOBODY, "45.20.0.98"]);
        world.run_until("the first answer is pinned", seconds(5), |world| {
            world.sites[A].kernel.our_hop(&format!("{NOBODY}/32")).is_some()
        });
        know(&mut world, &[OUTER_B]);
        up(&mut world, seconds(90));
        world.run_for(seconds(2));
        for past in [NOBODY, "45.20.0.98"] {
            assert_eq!(world.sites[A].kernel.our_hop(&format!("{past}/32")), None);
        }
        assert!(world.sites[A].kernel.our_hop(&format!("{OUTER_B}/32")).is_some());
    });
}

#[test]
fn a_peer_known_by_name_is_let_in_after_a_reload_too() {
    over_seeds(|seed| {
        let mut world = dialled(seed, &format!("\"{NAME}\""), &[OUTER_B]);
        up(&mut world, seconds(10));
        world.run_for(seconds(2));
        let (mut a, mut b) = ends(&format!("\"{NAME}\""));
        a.links[0].dpd = ("25s", "60s");
        world.sites[A].file = a.text();
        world.command(A, Request::Reload);
        world.run_for(seconds(1));
        // The peer comes back and dials long before liveness would make us look the name up again.
        b.links[0].start = "initiate";
        world.kill(B);
        world.sites[B].file = b.text();
        world.start(B);
        up(&mut world, seconds(10));
    });
}

#[test]
fn the_second_of_our_own_addresses_is_tried_when_nothing_comes_back_to_the_first() {
    over_seeds(|seed| {
        const SECOND: &str = "45.11.0.1";
        let (mut a, mut b) = (link_a(), link_b());
        a.local = format!("[\"{OUTER_A}\", \"{SECOND}\"]");
        b.remote = format!("[\"{OUTER_A}\", \"{SECOND}\"]");
        let (a, b) = (a.ids(OUTER_A, OUTER_B), b.ids(OUTER_B, OUTER_A));
        let mut world = World::new(seed, Weather::BREEZE);
        world.add("a", &[OUTER_A, SECOND], LAN_A, file_a(a).text());
        world.add("b", &[OUTER_B], LAN_B, file_b(b).text());
        world.net.cut(OUTER_A, OUTER_B, true);
        world.start(B);
        world.start(A);
        up(&mut world, seconds(45));
        assert_eq!(world.tunnel(A, "t").local, SECOND);
    });
}
