//! What two tunnels must not have in common.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ike::Identity;
use inet::Prefix;

use super::checks::{interface_of, items, place, tunnels};
use crate::error::{Fault, Faults};
use crate::plan::{Gateway, Local, Remote, Tunnel};
use crate::raw::Root;

/// Two interfaces of one name, or with one address.
pub(super) fn devices(root: &Root, gateway: &Gateway, faults: &mut Faults) {
    let mut names: BTreeMap<&str, &str> = BTreeMap::new();
    let mut addresses: BTreeMap<IpAddr, String> = BTreeMap::new();
    for (raw, tunnel) in tunnels(root, gateway) {
        let at = place(interface_of(raw).and_then(|interface| interface.name.as_ref()), &raw.at);
        let name = tunnel.interface.name.as_str();
        if let Some(first) = names.insert(name, &raw.at.key) {
            let fault =
                Fault::Duplicate { what: format!("interface name '{name}'"), other: first.to_owned() };
            faults.error(at, fault);
        }
        for own in items(interface_of(raw).and_then(|interface| interface.addresses.as_ref())) {
            if let Some(first) = addresses.insert(own.value.address, own.at.key.clone()) {
                let fault = Fault::Duplicate { what: format!("address {}", own.value.address), other: first };
                faults.error(&own.at, fault);
            }
        }
    }
}

/// Two tunnels that no message could tell apart.
pub(super) fn peers(root: &Root, gateway: &Gateway, faults: &mut Faults) {
    let all: Vec<_> = tunnels(root, gateway).collect();
    for (index, (raw, tunnel)) in all.iter().enumerate() {
        let twin = all.iter().take(index).find(|(_, other)| is_same_peer(tunnel, other));
        if let Some((first, _)) = twin {
            let fault = Fault::Duplicate {
                what: "the peer, by addresses and identities,".to_owned(),
                other: first.at.key.clone(),
            };
            faults.error(place(raw.value.remote.as_ref(), &raw.at), fault);
        }
    }
}

fn is_same_peer(a: &Tunnel, b: &Tunnel) -> bool {
    let same_remote = match (&a.remote, &b.remote) {
        (Remote::Any, Remote::Any) => true,
        (Remote::Ends(a), Remote::Ends(b)) => a.iter().any(|end| b.contains(end)),
        // One is known by its address first, and by its identity where that is written.
        (Remote::Any, Remote::Ends(_)) | (Remote::Ends(_), Remote::Any) => false,
    };
    let same_local = match (&a.local, &b.local) {
        (Local::Ends(a), Local::Ends(b)) => a.iter().any(|end| b.contains(end)),
        (Local::Any, Local::Any | Local::Ends(_)) | (Local::Ends(_), Local::Any) => true,
    };
    same_remote
        && same_local
        && same_id(a.remote_id.as_ref(), b.remote_id.as_ref())
        && same_id(a.local_id.as_ref(), b.local_id.as_ref())
}

fn same_id(a: Option<&Identity>, b: Option<&Identity>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.matches(b),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// One static route into two tunnels.
pub(super) fn routes(root: &Root, gateway: &Gateway, faults: &mut Faults) {
    let mut seen: BTreeMap<Prefix, String> = BTreeMap::new();
    for (raw, _) in tunnels(root, gateway) {
        for route in items(interface_of(raw).and_then(|interface| interface.routes.as_ref())) {
            if let Some(first) = seen.insert(route.value, route.at.key.clone()) {
                let fault = Fault::Duplicate { what: format!("route {}", route.value), other: first };
                faults.error(&route.at, fault);
            }
        }
    }
}
