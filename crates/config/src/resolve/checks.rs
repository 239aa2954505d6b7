//! Settings that are right one by one and wrong together.

use std::collections::BTreeMap;
use std::net::IpAddr;

use bgp::NeighborConfig;
use bgp_rib::{Action, Policy, Ruling, martian};
use inet::{AddressRange, Prefix, Selector};

use super::duplicates;
use crate::error::{At, Fault, Faults};
use crate::plan::{Gateway, Local, Mtu, Remote, RemoteEnd, Start, Tunnel};
use crate::raw::{Many, RawEsp, RawInterface, RawNeighbor, RawTunnel, Root, Written};

/// IP protocol number of TCP, which BGP uses.
const TCP: u8 = 6;
/// RFC 8200 section 5: every link carries this many octets.
const IPV6_MIN_MTU: u16 = 1280;

/// Notes every contradiction of a resolved file.
pub(super) fn run(root: &Root, gateway: &Gateway, faults: &mut Faults) {
    let outer = outer_addresses(gateway);
    for (raw, tunnel) in tunnels(root, gateway) {
        check_ends(raw, tunnel, faults);
        check_times(raw, tunnel, faults);
        check_interface(raw, tunnel, &outer, faults);
        check_profile(raw, tunnel, faults);
    }
    duplicates::devices(root, gateway, faults);
    duplicates::peers(root, gateway, faults);
    duplicates::routes(root, gateway, faults);
    check_neighbors(root, gateway, &outer, faults);
    check_networks(root, gateway, &outer, faults);
    check_lists(root, gateway, &outer, faults);
}

/// Each outer address that was written, and whose it is.
type Outer = BTreeMap<IpAddr, String>;

fn outer_addresses(gateway: &Gateway) -> Outer {
    let mut outer = Outer::new();
    for (name, tunnel) in &gateway.tunnels {
        outer.extend(
            tunnel.local.addresses().map(|address| (address, format!("our outer address of tunnel {name}"))),
        );
        outer.extend(
            tunnel
                .remote
                .addresses()
                .map(|address| (address, format!("the outer address of tunnel {name}'s peer"))),
        );
    }
    outer
}

pub(super) fn tunnels<'a>(
    root: &'a Root,
    gateway: &'a Gateway,
) -> impl Iterator<Item = (&'a Written<RawTunnel>, &'a Tunnel)> {
    let written = root.tunnel.iter().flat_map(|named| &named.value.0);
    written.filter_map(|(name, raw)| Some((raw, gateway.tunnels.get(name.as_str())?)))
}

fn neighbors<'a>(
    root: &'a Root,
    gateway: &'a Gateway,
) -> impl Iterator<Item = (&'a Written<RawNeighbor>, &'a NeighborConfig)> {
    let named = root.bgp.iter().filter_map(|bgp| bgp.value.neighbor.as_ref());
    let written = named.flat_map(|named| &named.value.0);
    written
        .filter_map(|(name, raw)| Some((raw, &gateway.bgp.as_ref()?.neighbors.get(name.as_str())?.session)))
}

pub(super) fn interface_of(raw: &Written<RawTunnel>) -> Option<&RawInterface> {
    raw.value.interface.as_ref().map(|written| &written.value)
}

fn esp_of(raw: &Written<RawTunnel>) -> Option<&RawEsp> {
    raw.value.esp.as_ref().map(|written| &written.value)
}

pub(super) fn items<T>(written: Option<&Written<Many<T>>>) -> &[Written<T>] {
    written.map_or(&[], |written| written.value.items.as_slice())
}

/// The place of a key if it was written, else of what holds it.
pub(super) fn place<'a, T>(written: Option<&'a Written<T>>, or: &'a At) -> &'a At {
    written.map_or(or, |written| &written.at)
}

fn check_ends(raw: &Written<RawTunnel>, tunnel: &Tunnel, faults: &mut Faults) {
    let remote_at = place(raw.value.remote.as_ref(), &raw.at);
    if tunnel.remote == Remote::Any {
        if tunnel.start != Start::Respond {
            faults.contradiction(remote_at, "\"any\" leaves nowhere to dial: it needs start = \"respond\"");
        }
        if tunnel.remote_id.is_none() {
            faults.contradiction(
                remote_at,
                "\"any\" needs remote_id: the peer's identity is all that tells it from others",
            );
        }
    }
    let named = matches!(&tunnel.remote, Remote::Ends(ends) if ends.iter().any(|end| matches!(end, RemoteEnd::Name(_))));
    if named && tunnel.start == Start::Respond {
        faults.contradiction(
            remote_at,
            "a name is looked up on each dial, and start = \"respond\" never dials: write its address, or \"any\" with remote_id",
        );
    }
    let (local, remote): (Vec<IpAddr>, Vec<IpAddr>) =
        (tunnel.local.addresses().collect(), tunnel.remote.addresses().collect());
    if let Some(same) = local.iter().find(|address| remote.contains(address)) {
        faults.contradiction(remote_at, format!("{same} is our own outer address (local)"));
    }
    let only =
        |v4: bool, addresses: &[IpAddr]| !addresses.is_empty() && addresses.iter().all(|a| a.is_ipv4() == v4);
    let written_all = matches!(&tunnel.local, Local::Ends(ends) if ends.len() == local.len())
        && matches!(&tunnel.remote, Remote::Ends(ends) if ends.len() == remote.len());
    if written_all
        && (only(true, &local) && only(false, &remote) || only(false, &local) && only(true, &remote))
    {
        faults.contradiction(remote_at, "local and remote have no address family in common");
    }
    if let (Some(ours), Some(theirs)) = (&tunnel.local_id, &tunnel.remote_id)
        && ours.matches(theirs)
    {
        let at = place(raw.value.remote_id.as_ref(), &raw.at);
        faults.contradiction(at, "local_id and remote_id are the same: one of them is the other side's");
    }
}

fn check_times(raw: &Written<RawTunnel>, tunnel: &Tunnel, faults: &mut Faults) {
    if tunnel.esp.lifetime.hard > tunnel.ike.lifetime.hard {
        let at = place(esp_of(raw).and_then(|esp| esp.lifetime.as_ref()), &raw.at);
        faults.doubt(at, "the CHILD SA outlives its IKE SA; the usual order is the other way round");
    }
    let delay = tunnel.ike.dpd.delay;
    if delay.is_zero() {
        let dpd = raw.value.ike.as_ref().and_then(|ike| ike.value.dpd.as_ref());
        let at = place(dpd.and_then(|dpd| dpd.value.delay.as_ref()), &raw.at);
        faults.doubt(at, "liveness is off: a peer that falls silent is noticed only at the next rekey");
    }
}

fn check_interface(raw: &Written<RawTunnel>, tunnel: &Tunnel, outer: &Outer, faults: &mut Faults) {
    let Some(interface) = interface_of(raw) else { return };
    for own in items(interface.addresses.as_ref()) {
        if let Some(whose) = outer.get(&own.value.address) {
            faults.contradiction(&own.at, format!("{} is {whose}", own.value.address));
        }
        let inside = tunnel
            .remote
            .addresses()
            .find(|address| own.value.length > 0 && own.value.subnet().contains(*address));
        if let Some(inside) = inside {
            let words = format!("{} holds {inside}, the peer's outer address", own.value.subnet());
            faults.error(&own.at, Fault::EatsItself(words));
        }
    }
    for route in items(interface.routes.as_ref()) {
        check_route(route, tunnel, outer, faults);
    }
    if let (Some(written), Mtu::Fixed(mtu)) = (&interface.mtu, tunnel.interface.mtu)
        && mtu < IPV6_MIN_MTU
        && carries_ipv6(tunnel)
    {
        let words =
            format!("IPv6 inside needs an MTU of {IPV6_MIN_MTU} or more (RFC 8200 section 5), found {mtu}");
        faults.contradiction(&written.at, words);
    }
}

fn carries_ipv6(tunnel: &Tunnel) -> bool {
    let interface = &tunnel.interface;
    interface.source_v6.is_some()
        || interface.addresses.iter().any(|own| !own.address.is_ipv4())
        || interface.routes.iter().any(|route| !route.is_ipv4())
        || tunnel.esp.local_ts.iter().any(|selector| !selector.addresses.is_ipv4())
}

fn check_route(route: &Written<Prefix>, tunnel: &Tunnel, outer: &Outer, faults: &mut Faults) {
    let prefix = route.value;
    // Wider prefixes are harmless: each outer address has a host route, or a mark, of its own.
    if prefix.is_host()
        && let Some(whose) = outer.get(&prefix.addr())
    {
        faults.error(&route.at, Fault::EatsItself(format!("{prefix} is {whose}")));
        return;
    }
    let range = AddressRange::from(prefix);
    let carried = |selector: &Selector| selector.addresses.intersect(&range);
    if !tunnel.esp.remote_ts.iter().any(|selector| carried(selector).is_some()) {
        let words = format!("esp.remote_ts carries none of {prefix}: its packets would all be dropped");
        faults.contradiction(&route.at, words);
    } else if !tunnel.esp.remote_ts.iter().any(|selector| selector.addresses.covers(&range)) {
        faults.doubt(&route.at, format!("esp.remote_ts carries only part of {prefix}: the rest is dropped"));
    }
}

fn check_profile(raw: &Written<RawTunnel>, tunnel: &Tunnel, faults: &mut Faults) {
    let profile = tunnel.profile;
    if profile.wants_one_selector() {
        let esp = esp_of(raw);
        for (written, count) in [
            (esp.and_then(|esp| esp.local_ts.as_ref()), tunnel.esp.local_ts.len()),
            (esp.and_then(|esp| esp.remote_ts.as_ref()), tunnel.esp.remote_ts.len()),
        ] {
            if let Some(written) = written.filter(|_| count > 1) {
                let why = "it keeps one SA pair a tunnel, and a second selector breaks the first; want [\"0.0.0.0/0\"]";
                faults.error(&written.at, Fault::Profile { profile: profile.name(), why: why.to_owned() });
            }
        }
    }
    if let Some(why) = profile.psk_limit(&tunnel.psk_local) {
        faults.doubt(place(raw.value.psk.as_ref(), &raw.at), why);
    }
}

fn check_neighbors(root: &Root, gateway: &Gateway, outer: &Outer, faults: &mut Faults) {
    let mut seen: BTreeMap<(IpAddr, Option<&str>), String> = BTreeMap::new();
    for (raw, session) in neighbors(root, gateway) {
        let address_at = place(raw.value.address.as_ref(), &raw.at);
        let source_at = place(raw.value.source.as_ref(), &raw.at);
        let identity = (session.address, session.tunnel.as_deref());
        if let Some(first) = seen.insert(identity, raw.at.key.clone()) {
            let what = match &session.tunnel {
                Some(tunnel) => format!("{} behind tunnel {tunnel}", session.address),
                None => format!("{} without a tunnel", session.address),
            };
            faults.error(address_at, Fault::Duplicate { what, other: first });
        }
        if session.source == Some(session.address) {
            faults.contradiction(source_at, "the neighbour's own address cannot be our end of the session");
        }
        let Some(tunnel) = session.tunnel.as_ref().and_then(|name| gateway.tunnels.get(name)) else {
            continue;
        };
        for (at, address) in [(address_at, Some(session.address)), (source_at, session.source)] {
            if let Some((address, whose)) = address.and_then(|address| Some((address, outer.get(&address)?)))
            {
                let words = format!("{address} is {whose}: BGP inside the tunnel needs addresses of its own");
                faults.contradiction(at, words);
            }
        }
        check_session_selectors(raw, session, tunnel, root, faults);
        let profile = tunnel.profile;
        if let Some(why) = profile.peering_limit(session.address) {
            faults.error(address_at, Fault::Profile { profile: profile.name(), why });
        }
        if let Some(why) = profile.asn_limit(session.local_asn) {
            let at = place(raw.value.local_asn.as_ref(), &raw.at);
            faults.error(at, Fault::Profile { profile: profile.name(), why });
        }
    }
}

/// Without this the tunnel comes up, BGP does not, and nothing says why.
fn check_session_selectors(
    raw: &Written<RawNeighbor>,
    session: &NeighborConfig,
    tunnel: &Tunnel,
    root: &Root,
    faults: &mut Faults,
) {
    let Some(source) = session.source else { return };
    let written = root.tunnel.as_ref().and_then(|named| named.value.0.get(&*tunnel.name));
    let esp = written.and_then(esp_of);
    let sides = [
        ("local_ts", source, &tunnel.esp.local_ts, esp.and_then(|esp| esp.local_ts.as_ref())),
        ("remote_ts", session.address, &tunnel.esp.remote_ts, esp.and_then(|esp| esp.remote_ts.as_ref())),
    ];
    for (key, address, selectors, written) in sides {
        if selectors.iter().any(|selector| selector.contains(address, TCP, None)) {
            continue;
        }
        let list = selectors.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let words = format!(
            "{key} ({list}) excludes {address} of BGP neighbour {}: the session could never come up",
            session.name
        );
        let at = written.map_or(&raw.at, |written| &written.at);
        faults.contradiction(at, words);
    }
}

fn check_networks(root: &Root, gateway: &Gateway, outer: &Outer, faults: &mut Faults) {
    let mut seen: BTreeMap<Prefix, String> = BTreeMap::new();
    for network in items(root.bgp.as_ref().and_then(|bgp| bgp.value.networks.as_ref())) {
        let prefix = network.value;
        if let Some(first) = seen.insert(prefix, network.at.key.clone()) {
            faults.error(&network.at, Fault::Duplicate { what: prefix.to_string(), other: first });
        }
        if let Some(block) = martian(&prefix) {
            faults.error(
                &network.at,
                Fault::Value(format!("{prefix} is inside {block}, which is never routed")),
            );
        }
        if prefix.is_host()
            && let Some(whose) = outer.get(&prefix.addr())
        {
            let words = format!(
                "{prefix} is {whose}: a peer that learned it would send the tunnel's own packets into it"
            );
            faults.contradiction(&network.at, words);
        }
        let mut sessions = neighbors(root, gateway).map(|(_, session)| session).peekable();
        let unheard = sessions.peek().is_some()
            && sessions.all(|session| matches!(session.export.evaluate(&prefix), Ruling::Deny(_)));
        if unheard {
            faults.doubt(
                &network.at,
                format!("no neighbour's export policy permits {prefix}: no one hears of it"),
            );
        }
    }
}

fn check_lists(root: &Root, gateway: &Gateway, outer: &Outer, faults: &mut Faults) {
    let sessions =
        || gateway.bgp.iter().flat_map(|bgp| bgp.neighbors.values()).map(|neighbor| &neighbor.session);
    for (name, written) in root.prefix_list.iter().flat_map(|named| &named.value.0) {
        let is = |policy: &Policy| matches!(policy, Policy::List(list) if **list.name() == **name);
        let imports = sessions().any(|session| is(&session.import));
        if !imports && !sessions().any(|session| is(&session.export)) {
            faults.doubt(&written.at, "no neighbour uses this list");
        }
        for rule in &written.value.items {
            let permit = rule.value.action.as_ref().is_some_and(|action| action.value == Action::Permit);
            let Some(prefix) = rule.value.prefix.as_ref().filter(|prefix| permit && prefix.value.is_host())
            else {
                continue;
            };
            if let Some(whose) = outer.get(&prefix.value.addr()) {
                faults.error(
                    &prefix.at,
                    Fault::EatsItself(format!("a permit for {}, which is {whose}", prefix.value)),
                );
            }
        }
        if imports && !written.value.items.is_empty() {
            let list = gateway.prefix_lists.get(name.as_str());
            if list.is_some_and(|list| Policy::List(std::sync::Arc::clone(list)).denies_all()) {
                faults.doubt(&written.at, "it permits nothing: every route is denied");
            }
        }
    }
}
