//! The kernel's state, as the gateway wants it.

use gateway::{Address, Hop, KernelView, Key, Link, PROTOCOL, Place, Underlay, UnderlayRoute};
use kernel::netlink::{self, Netlink, NetlinkError, Route, RouteFilter, TABLE_MAIN, Target};

/// Links, addresses, the main table without our routes, and our routes in every table.
pub(super) fn read(netlink: &mut Netlink) -> Result<KernelView, NetlinkError> {
    let links = netlink.links()?;
    let addresses = netlink.addresses(None)?;
    let main = netlink.routes(RouteFilter { table: Some(TABLE_MAIN), ..RouteFilter::default() })?;
    let ours = netlink.routes(RouteFilter { protocol: Some(PROTOCOL), ..RouteFilter::default() })?;
    Ok(KernelView {
        underlay: Underlay {
            links: links.into_iter().map(link).collect(),
            addresses: addresses.into_iter().filter_map(address).collect(),
            routes: main.iter().filter_map(underlay_route).collect(),
            unread: main.iter().filter(|route| is_unread(route)).map(|route| route.prefix).collect(),
        },
        ours: ours.iter().filter_map(our_route).collect(),
    })
}

fn link(link: netlink::Link) -> (u32, Link) {
    (link.index, Link { name: link.name, mtu: link.mtu, up: link.up && link.running })
}

/// What is not usable yet is announced again when it is.
fn address(address: netlink::Address) -> Option<Address> {
    let prefix = address.network().filter(|_| !address.tentative)?;
    Some(Address { ifindex: address.index, address: address.address, prefix })
}

/// A route of someone else that leads to several next hops, or where only the kernel knows.
fn is_unread(route: &Route) -> bool {
    let nowhere_known = match route.target {
        Target::Other => true,
        Target::Gateway { device, .. } => device.is_none(),
        Target::Device(_) | Target::Unreachable | Target::Blackhole | Target::Prohibit => false,
    };
    nowhere_known && route.protocol != PROTOCOL && !route.dead
}

/// A unicast route of someone else.
fn underlay_route(route: &Route) -> Option<UnderlayRoute> {
    if route.protocol == PROTOCOL || route.dead {
        return None;
    }
    let (gateway, ifindex) = match route.target {
        Target::Device(device) => (None, device),
        Target::Gateway { via, device, .. } => (Some(via), device?),
        Target::Unreachable | Target::Blackhole | Target::Prohibit | Target::Other => return None,
    };
    Some(UnderlayRoute {
        prefix: route.prefix,
        gateway,
        ifindex,
        source: route.source,
        metric: route.metric,
        protocol: route.protocol,
        mtu: route.mtu,
    })
}

/// A route of ours. One that leads where we never lead one is shown as leading nowhere: the gateway then
/// puts the right one in its place.
fn our_route(route: &Route) -> Option<(Place, Hop)> {
    let hop = match route.target {
        Target::Device(ifindex) => Hop::Device { ifindex, gateway: None, source: route.source },
        Target::Gateway { via, device, .. } => {
            Hop::Device { ifindex: device?, gateway: Some(via), source: route.source }
        }
        Target::Prohibit => Hop::Prohibit,
        Target::Unreachable | Target::Blackhole | Target::Other => Hop::Unreachable,
    };
    let key = Key { table: route.table, prefix: route.prefix };
    Some((Place { key, metric: route.metric }, hop))
}
