//! What must hold after every step, whatever happens.
//!
//! Beside these: no (receiver, SPI, sequence) is sent twice (`net`), and a timer that was served is no longer due
//! (`world`).

use std::net::{IpAddr, Ipv4Addr};

use control::{Answer, Request};
use gateway::{Gateway, Hop};
use inet::Prefix;
use tunnel::Table;

use super::kernel::{WAN, into};
use super::net::Datagram;
use super::world::World;

/// What may wait at once: more would be a queue without a bound.
const WORKS: usize = 256;
const HOST_COMMANDS: usize = 64;
const CONNECTIONS: usize = 64;

/// After a gateway has come to rest.
pub(crate) fn after_turn(world: &World, site: usize) {
    let here = &world.sites[site];
    assert!(here.works <= WORKS, "{}: {} key exchanges at once", here.name, here.works);
    assert!(here.host_queue <= HOST_COMMANDS, "{}: {} host commands wait", here.name, here.host_queue);
    assert!(here.batches <= 1, "{}: {} batches of routes at once", here.name, here.batches);
    assert!(here.tcp.len() <= CONNECTIONS, "{}: {} TCP connections", here.name, here.tcp.len());
}

/// A tunnel sends on one SA, or on as many as its file wants, and every SA leads where its IKE SA does.
pub(crate) fn table(table: &Table, gateway: Option<&Gateway>) {
    let Some(gateway) = gateway else { return };
    for (tunnel, name) in gateway.interfaces() {
        let sending = table.tunnel(tunnel).map_or(0, |row| row.outbound.len());
        // The name of a device may be another than its tunnel's.
        let named = gateway.plan().tunnels.values().find(|plan| plan.interface.name == name);
        let wanted = named.map_or(1, |plan| usize::from(plan.esp.resource_sas.get()));
        assert!(sending <= wanted, "{name} sends on {sending} SAs, wanted {wanted}");
    }
}

/// The path to a peer never leads into a tunnel, nor into nowhere while there is a way out. Is there one?
pub(crate) fn outer_path(world: &World, site: usize, datagram: &Datagram, ifindex: u32) -> bool {
    let here = &world.sites[site];
    let found = here.kernel.lookup_by(datagram.to.ip(), true, ifindex);
    let hop = found.and_then(|(_, hop)| into(hop));
    let nowhere = here.tampered || !here.kernel.has_way_out(datagram.to.ip());
    let good = hop.map_or(nowhere, |hop| hop == WAN);
    assert!(good, "{}: the path to {} is {found:?}", here.name, datagram.to);
    hop.is_some()
}

/// No prefix that ever led into a tunnel leads out of the WAN link. Asked after every change of the kernel.
pub(crate) fn nothing_in_clear(world: &World, site: usize) {
    let here = &world.sites[site];
    if here.tampered {
        return;
    }
    for prefix in &here.kernel.learned {
        let to = sample(prefix);
        let found = here.kernel.lookup(to, false);
        let clear = matches!(found, Some((_, Hop::Device { ifindex: WAN, .. })) | None);
        let foreign = found.is_some_and(|(best, _)| prefix.covers(&best) && best != *prefix);
        assert!(!clear || foreign, "{}: {to} of {prefix} would leave in clear: {found:?}", here.name);
    }
}

/// A packet left by the WAN link.
pub(crate) fn left_in_clear(world: &World, site: usize, to: Ipv4Addr) {
    let here = &world.sites[site];
    let learned = here.kernel.learned.iter().find(|prefix| prefix.contains(to.into()));
    assert!(
        here.tampered || learned.is_none(),
        "{}: a packet to {to} of {learned:?} left in clear",
        here.name
    );
}

/// An address that stands for a prefix, and is nobody's.
fn sample(prefix: &Prefix) -> IpAddr {
    match prefix.addr() {
        IpAddr::V4(first) if prefix.len() <= 24 => (u32::from(first) + 77).to_be_bytes().into(),
        address => address,
    }
}

/// Every route of ours in the kernel is wished for, and the other way round. For quiet moments.
pub(crate) fn routes_agree(world: &mut World, site: usize) {
    let Answer::Routes(view) = world.ask(site, Request::Routes) else { panic!("no routes") };
    let here = &world.sites[site];
    let mut wished: Vec<(u32, String)> =
        view.routes.iter().map(|row| (row.table, row.prefix.clone())).collect();
    wished.sort();
    let mut held: Vec<(u32, String)> =
        here.kernel.ours().map(|(identity, _)| (identity.table, identity.prefix.to_string())).collect();
    held.sort();
    assert_eq!(wished, held, "{}: wished for, and held by the kernel", here.name);
    for row in &view.routes {
        assert_eq!(row.state, "installed", "{}: {row:?}", here.name);
    }
}

/// Every route of ours in the kernel is wished for, or a batch is under way.
pub(crate) fn routes_are_wished(world: &mut World, site: usize) {
    let here = &world.sites[site];
    if here.gateway.is_none() || here.batches > 0 || here.moves {
        return;
    }
    let held: Vec<_> = here.kernel.ours().map(|(identity, _)| *identity).collect();
    let Answer::Routes(view) = world.ask(site, Request::Routes) else { panic!("no routes") };
    if world.sites[site].batches > 0 {
        return;
    }
    for identity in held {
        let prefix = identity.prefix.to_string();
        let wished = view.routes.iter().any(|row| row.table == identity.table && row.prefix == prefix);
        assert!(wished, "{}: nobody wishes for {prefix}", world.sites[site].name);
    }
}
