//! Routes as rtnetlink messages, there and back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use inet::Prefix;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteNextHop,
    RouteProtocol, RouteScope, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::NetlinkError;
use super::route::{Reach, Route, RouteAnswer, RouteFilter, RouteKey, RouteQuery, Target};

fn header(prefix: &Prefix, table: u32, protocol: u8) -> RouteHeader {
    RouteHeader {
        address_family: family_of(prefix.addr()),
        destination_prefix_length: prefix.len(),
        table: u8::try_from(table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC),
        protocol: protocol.into(),
        ..Default::default()
    }
}

pub(super) fn build_key(key: &RouteKey) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header = header(&key.prefix, key.table, key.protocol);
    // Any scope, any type: the protocol and metric say which.
    message.header.scope = RouteScope::NoWhere;
    message.header.kind = RouteType::Unspec;
    message.attributes.push(RouteAttribute::Table(key.table));
    message.attributes.push(RouteAttribute::Destination(key.prefix.addr().into()));
    if key.metric != 0 {
        message.attributes.push(RouteAttribute::Priority(key.metric));
    }
    message
}

pub(super) fn build(route: &Route) -> Result<RouteMessage, NetlinkError> {
    let mut message = RouteMessage::default();
    message.header = header(&route.prefix, route.table, route.protocol);
    message.attributes.push(RouteAttribute::Table(route.table));
    message.attributes.push(RouteAttribute::Destination(route.prefix.addr().into()));
    if route.metric != 0 {
        message.attributes.push(RouteAttribute::Priority(route.metric));
    }
    let kind = match &route.target {
        Target::Device(index) => {
            message.header.scope = RouteScope::Link;
            message.attributes.push(RouteAttribute::Oif(*index));
            RouteType::Unicast
        }
        Target::Gateway { via, device, onlink } => {
            message.attributes.push(next_hop(&route.prefix, *via));
            message.attributes.extend(device.map(RouteAttribute::Oif));
            message.header.flags.set(RouteFlags::Onlink, *onlink);
            RouteType::Unicast
        }
        Target::Unreachable => RouteType::Unreachable,
        Target::Blackhole => RouteType::BlackHole,
        Target::Prohibit => RouteType::Prohibit,
        Target::Other => return Err(NetlinkError::Malformed),
    };
    message.header.kind = kind;
    message.attributes.extend(route.source.map(|a| RouteAttribute::PrefSource(a.into())));
    message.attributes.extend(route.mtu.map(|mtu| RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)])));
    Ok(message)
}

/// RTA_GATEWAY within one family, RTA_VIA across.
fn next_hop(prefix: &Prefix, via: IpAddr) -> RouteAttribute {
    match via {
        IpAddr::V6(address) if prefix.is_ipv4() => RouteAttribute::Via(RouteVia::Inet6(address)),
        _ => RouteAttribute::Gateway(via.into()),
    }
}

pub(super) fn dump_request(family: AddressFamily, filter: RouteFilter) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family;
    message.header.protocol = filter.protocol.map_or(RouteProtocol::Unspec, Into::into);
    message.attributes.extend(filter.table.map(RouteAttribute::Table));
    RouteNetlinkMessage::GetRoute(message)
}

pub(super) fn look_up(query: &RouteQuery) -> RouteMessage {
    let mut message = RouteMessage::default();
    let bits = |address: IpAddr| if address.is_ipv4() { 32 } else { 128 };
    message.header.address_family = family_of(query.destination);
    message.header.destination_prefix_length = bits(query.destination);
    // Else the answer names the main table whichever answered; IPv6 tells the truth unasked, and refuses
    // the flag.
    message.header.flags.set(RouteFlags::LookupTable, query.destination.is_ipv4());
    message.attributes.push(RouteAttribute::Destination(query.destination.into()));
    if let Some(source) = query.source {
        message.header.source_prefix_length = bits(source);
        message.attributes.push(RouteAttribute::Source(source.into()));
    }
    message.attributes.extend(query.mark.map(RouteAttribute::Mark));
    message.attributes.extend(query.device.map(RouteAttribute::Oif));
    message
}

pub(super) fn read_new(message: &RouteNetlinkMessage) -> Option<Route> {
    match message {
        RouteNetlinkMessage::NewRoute(message) => read(message),
        _ => None,
    }
}

/// A route as the kernel tells it; `None` for clones in its cache and for families that are not IP.
pub(super) fn read(message: &RouteMessage) -> Option<Route> {
    let header = &message.header;
    if header.flags.contains(RouteFlags::Cloned) {
        return None;
    }
    let any: IpAddr = match header.address_family {
        AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    let parts = Parts::of(message);
    let prefix = Prefix::new(parts.destination.unwrap_or(any), header.destination_prefix_length).ok()?;
    let target = match (header.kind, parts.gateway, parts.device) {
        (RouteType::Unicast, Some(via), device) => {
            Target::Gateway { via, device, onlink: header.flags.contains(RouteFlags::Onlink) }
        }
        (RouteType::Unicast, None, Some(device)) => Target::Device(device),
        (RouteType::Unreachable, ..) => Target::Unreachable,
        (RouteType::BlackHole, ..) => Target::Blackhole,
        (RouteType::Prohibit, ..) => Target::Prohibit,
        _ => Target::Other,
    };
    Some(Route {
        prefix,
        table: parts.table.unwrap_or(header.table.into()),
        protocol: header.protocol.into(),
        metric: parts.metric,
        target,
        source: parts.source,
        mtu: parts.mtu,
        dead: header.flags.intersects(RouteFlags::Dead | RouteFlags::Linkdown),
    })
}

pub(super) fn read_answer(message: &RouteMessage) -> RouteAnswer {
    let parts = Parts::of(message);
    let reach = match message.header.kind {
        RouteType::Unicast => Reach::Unicast,
        RouteType::Local => Reach::Local,
        RouteType::Unreachable | RouteType::BlackHole | RouteType::Prohibit | RouteType::Throw => {
            Reach::Nothing
        }
        _ => Reach::Group,
    };
    RouteAnswer {
        reach,
        device: parts.device.unwrap_or(0),
        gateway: parts.gateway,
        source: parts.source,
        table: parts.table.unwrap_or(message.header.table.into()),
        mtu: parts.mtu,
    }
}

/// The attributes this crate cares for.
#[derive(Default)]
struct Parts {
    destination: Option<IpAddr>,
    gateway: Option<IpAddr>,
    source: Option<IpAddr>,
    device: Option<u32>,
    table: Option<u32>,
    metric: u32,
    mtu: Option<u32>,
}

impl Parts {
    fn of(message: &RouteMessage) -> Self {
        let mut parts = Self::default();
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(address) => parts.destination = ip(address),
                RouteAttribute::Gateway(address) => parts.gateway = ip(address),
                RouteAttribute::Via(RouteVia::Inet6(address)) => parts.gateway = Some((*address).into()),
                RouteAttribute::PrefSource(address) => parts.source = ip(address),
                RouteAttribute::Oif(index) => parts.device = Some(*index),
                RouteAttribute::MultiPath(legs) => parts.first_leg(legs),
                RouteAttribute::Table(table) => parts.table = Some(*table),
                RouteAttribute::Priority(metric) => parts.metric = *metric,
                RouteAttribute::Metrics(metrics) => {
                    parts.mtu = metrics.iter().find_map(|metric| match metric {
                        RouteMetric::Mtu(mtu) => Some(*mtu),
                        _ => None,
                    });
                }
                _ => {}
            }
        }
        parts
    }

    /// A route with several legs counts as its first: one of the ways packets go.
    fn first_leg(&mut self, legs: &[RouteNextHop]) {
        let Some(leg) = legs.first() else { return };
        self.device = Some(leg.interface_index);
        self.gateway = leg.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Gateway(address) => ip(address),
            RouteAttribute::Via(RouteVia::Inet6(address)) => Some((*address).into()),
            _ => None,
        });
    }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some((*v4).into()),
        RouteAddress::Inet6(v6) => Some((*v6).into()),
        _ => None,
    }
}

pub(super) fn family_of(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}
