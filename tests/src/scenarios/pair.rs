//! Two sites and a tunnel between them.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::sim::{File, Link, Weather, World};

pub(super) const A: usize = 0;
pub(super) const B: usize = 1;
pub(super) const OUTER_A: &str = "45.10.0.1";
pub(super) const OUTER_B: &str = "45.20.0.1";
pub(super) const LAN_A: &str = "10.1.0.1";
pub(super) const LAN_B: &str = "10.2.0.1";
pub(super) const AS_A: u32 = 65_010;
pub(super) const AS_B: u32 = 65_020;

pub(super) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub(super) fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// The end of site A: it dials.
pub(super) fn link_a() -> Link {
    Link::new("t", OUTER_A, OUTER_B).neighbor(LAN_B, AS_B, LAN_A)
}

/// The end of site B: it waits.
pub(super) fn link_b() -> Link {
    Link::new("t", OUTER_B, OUTER_A).neighbor(LAN_A, AS_A, LAN_B).responds()
}

pub(super) fn file_a(link: Link) -> File {
    File::new(OUTER_A, AS_A, "10.1.0.0/24").link(link)
}

pub(super) fn file_b(link: Link) -> File {
    File::new(OUTER_B, AS_B, "10.2.0.0/24").link(link)
}

/// Both sites, not started.
pub(super) fn sites(seed: u64, weather: Weather, a: &File, b: &File) -> World {
    let mut world = World::new(seed, weather);
    world.add("a", &[OUTER_A], LAN_A, a.text());
    world.add("b", &[OUTER_B], LAN_B, b.text());
    world
}

/// Both sites with these links, up.
pub(super) fn established(seed: u64, weather: Weather, a: Link, b: Link) -> World {
    let mut world = sites(seed, weather, &file_a(a), &file_b(b));
    world.start(B);
    world.start(A);
    up(&mut world, seconds(60));
    world
}

/// Waits for the tunnel.
pub(super) fn up(world: &mut World, limit: Duration) -> Duration {
    world.both_up(limit, [(A, "t"), (B, "t")])
}

/// One child at each end, one IKE SA, and the SPIs fit crosswise.
pub(super) fn assert_one_child(world: &mut World) {
    assert_children(world, 1);
}

/// The same with so many children of one IKE SA.
pub(super) fn assert_children(world: &mut World, count: usize) {
    let [a, b] = [A, B].map(|site| world.children(site));
    let live = |all: &[control::view::ChildSa]| {
        let live = all.iter().filter(|child| child.state == "INSTALLED");
        live.map(|child| (child.inbound.spi.clone(), child.outbound.spi.clone())).collect::<BTreeSet<_>>()
    };
    let (a, b) = (live(&a), live(&b));
    assert_eq!((a.len(), b.len()), (count, count), "{a:?} {b:?}");
    let crosswise = b.into_iter().map(|(inbound, outbound)| (outbound, inbound)).collect();
    assert_eq!(a, crosswise, "what one sends on the other opens");
    let sas = [A, B].map(|site| world.ike_sas(site).len());
    assert_eq!(sas, [1, 1], "IKE SAs");
}
