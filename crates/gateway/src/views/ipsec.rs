//! `show ike`, `show ipsec`, `show interfaces`, `show routes`.

use std::time::Instant;

use control::view::{ChildSa, Direction, Ike, IkeSa, Interface, Interfaces, NamedCount, Nat, Route, Routes};
use esp::{Refusals, Tick, Usage};
use ike::{ChildState, ChildStatus, IkeStatus, Resources, Role};

use super::ago;
use super::status::ike_state_name;
use crate::facts::DeviceFacts;
use crate::fib::{Hop, PROTOCOL};
use crate::gateway::{Gateway, limits};
use crate::tunnels::Tunnel;
use crate::tunnels::children::Child;

impl Gateway {
    pub(super) fn ike_view(&self, now: Instant) -> Ike {
        let one = |tunnel: &Tunnel| -> Vec<IkeSa> {
            let children = self.ike.child_status(tunnel.conn());
            self.ike.ike_status(tunnel.conn()).iter().map(|sa| ike_sa(tunnel, sa, &children, now)).collect()
        };
        let (limits, counted) = (limits(), self.ike.counters().iter());
        Ike {
            sas: self.tunnels.values().flat_map(one).collect(),
            half_open: self.ike.half_open(),
            cookie_from: limits.cookie_from,
            half_open_max: self.ike.half_open_bound(),
            half_open_per_address: limits.half_open_per_address,
            counters: counted
                .map(|(what, count)| NamedCount { name: what.name().to_owned(), count })
                .collect(),
        }
    }

    pub(super) fn ipsec_view(&self, now: Instant) -> Vec<ChildSa> {
        let tick = self.tick(now);
        let mut all = Vec::new();
        for tunnel in self.tunnels.values() {
            let status = self.ike.child_status(tunnel.conn());
            let sas = self.ike.ike_status(tunnel.conn());
            for (id, child) in tunnel.children.iter() {
                let known = status.iter().find(|status| status.child == *id);
                let sa = sas.iter().find(|sa| sa.ike == child.ike);
                let nat = sa.map(|sa| Nat { local: sa.nat.local, remote: sa.nat.remote });
                let first = known.is_some() && child.resource.is_any();
                let have = status.iter().filter(|one| one.ike == child.ike && in_use(one.state)).count();
                let resources = sa.filter(|_| first).and_then(|sa| resources(sa.resources, have));
                all.push(ChildSa { nat, resources, ..child_sa(tunnel, child, known, now, tick) });
            }
        }
        all
    }

    pub(super) fn interfaces_view(&self) -> Interfaces {
        Interfaces {
            interfaces: self.tunnels.values().map(|tunnel| self.interface(tunnel)).collect(),
            sockets: self.facts.sockets.clone(),
            drops: self.facts.drops.clone(),
        }
    }

    fn interface(&self, tunnel: &Tunnel) -> Interface {
        let carried = tunnel.children.carried();
        let mtu = u16::try_from(tunnel.mtu).unwrap_or(u16::MAX);
        let DeviceFacts { offloads, counts } =
            self.facts.interfaces.get(&tunnel.id).cloned().unwrap_or_default();
        Interface {
            tunnel: tunnel.plan.name.to_string(),
            name: tunnel.plan.interface.name.clone(),
            index: tunnel.device.ifindex().unwrap_or(0),
            mtu: tunnel.mtu,
            mtu_from: mtu_from(tunnel),
            mss: tunnel.plan.interface.mss.limit(mtu, false),
            addresses: tunnel.plan.interface.addresses.iter().map(ToString::to_string).collect(),
            packets_out: carried.packets_out,
            bytes_out: carried.bytes_out,
            packets_in: carried.packets_in,
            bytes_in: carried.bytes_in,
            offloads,
            counts,
            drops: carried
                .refused
                .iter()
                .map(|(name, count)| NamedCount { name: (*name).to_owned(), count: *count })
                .collect(),
        }
    }

    pub(super) fn routes_view(&self) -> Routes {
        Routes {
            table: self.plan.routes.table,
            protocol: PROTOCOL,
            routes: self
                .fib
                .rows()
                .map(|row| {
                    let (ifindex, gateway, source) = match row.wish.hop {
                        Hop::Device { ifindex, gateway, source } => (Some(ifindex), gateway, source),
                        Hop::Unreachable | Hop::Prohibit => (None, None, None),
                    };
                    Route {
                        prefix: row.key.prefix.to_string(),
                        origin: row.origin.name().to_owned(),
                        from: row.wish.from.clone(),
                        interface: ifindex.map(|index| self.link_name(index)),
                        gateway: gateway.map(|g| g.to_string()),
                        source: source.map(|s| s.to_string()),
                        metric: self.plan.routes.metric,
                        table: row.key.table,
                        state: row.state.to_owned(),
                        why: row.why.map(str::to_owned),
                    }
                })
                .collect(),
        }
    }

    fn link_name(&self, index: u32) -> String {
        match (self.tunnel_on(index), self.underlay.links.get(&index)) {
            (Some(tunnel), _) => self.interface_name(tunnel).to_owned(),
            (None, Some(link)) => link.name.clone(),
            (None, None) => format!("if{index}"),
        }
    }
}

fn ike_sa(tunnel: &Tunnel, sa: &IkeStatus, children: &[ChildStatus], now: Instant) -> IkeSa {
    let until = |at: Option<Instant>| at.map(|at| at.saturating_duration_since(now).as_secs());
    let id = |id: &Option<ike::Identity>| id.as_ref().map(ToString::to_string).unwrap_or_default();
    IkeSa {
        tunnel: tunnel.plan.name.to_string(),
        state: ike_state_name(sa.state).to_owned(),
        initiator: sa.role == Role::Initiator,
        spi_initiator: format!("{:016x}", sa.spi_i),
        spi_responder: format!("{:016x}", sa.spi_r),
        local: sa.path.local.to_string(),
        remote: sa.path.remote.to_string(),
        local_id: id(&sa.local_id),
        remote_id: id(&sa.remote_id),
        suite: sa.suite.as_ref().map(ToString::to_string).unwrap_or_default(),
        nat_local: sa.nat.local,
        nat_remote: sa.nat.remote,
        age: ago(sa.since, now),
        rekey_in: until(sa.rekey_at),
        expires_in: until(sa.expires_at),
        last_heard: sa.last_heard.map(|at| ago(at, now)),
        children: children.iter().filter(|child| child.ike == sa.ike).count(),
    }
}

fn child_sa(
    tunnel: &Tunnel,
    child: &Child,
    status: Option<&ChildStatus>,
    now: Instant,
    tick: Tick,
) -> ChildSa {
    let until = |at: Instant| at.saturating_duration_since(now).as_secs();
    let words = |list: &[inet::Selector]| list.iter().map(ToString::to_string).collect();
    ChildSa {
        tunnel: tunnel.plan.name.to_string(),
        state: status.map_or("LINGERING", |status| child_state_name(status.state)).to_owned(),
        suite: child.outbound.suite().to_string(),
        pfs: child.pfs.map(|group| group.keyword().to_string()),
        esn: child.outbound.esn(),
        nat: None,
        encapsulation: if child.encap { "UDP" } else { "ESP" }.to_owned(),
        local: child.path.local.to_string(),
        remote: child.path.remote.to_string(),
        local_ts: words(&child.local_ts),
        remote_ts: words(&child.remote_ts),
        age: ago(child.since, now),
        rekey_in: status.and_then(|status| status.rekey_at).map(until),
        expires_in: status.map(|status| until(status.expires_at)),
        replay_window: child.replay_window,
        resource: child.resource.0,
        peer_resource: status.map(|status| hex(&status.peer_resource)).filter(|name| !name.is_empty()),
        resources: None,
        inbound: direction(
            child.inbound.spi(),
            child.inbound.usage(),
            child.inbound.highest_sequence(),
            child.inbound.refusals(),
            tick,
        ),
        outbound: direction(
            child.outbound.spi(),
            child.outbound.usage(),
            child.outbound.sequence(),
            child.outbound.refusals(),
            tick,
        ),
    }
}

/// Why there are as many CHILD SAs with the same selectors as there are; nothing where one is wanted.
fn resources(settled: Resources, have: usize) -> Option<String> {
    match settled {
        Resources::One => None,
        Resources::PeerSilent { wanted } => Some(format!(
            "1 of {wanted} wanted: the peer did not say that it knows of several with the same selectors (RFC 9611)"
        )),
        Resources::Agreed { wanted, enough: Some(enough) } if enough < wanted => {
            Some(format!("{have} of {wanted} wanted: the peer takes no more than {enough} (TS_MAX_QUEUE)"))
        }
        Resources::Agreed { wanted, .. } => {
            Some(format!("{have} of {wanted} wanted, as agreed with the peer"))
        }
    }
}

fn in_use(state: ChildState) -> bool {
    matches!(state, ChildState::Installed | ChildState::Rekeying)
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn direction(spi: u32, usage: Usage, sequence: u64, refusals: &Refusals, tick: Tick) -> Direction {
    Direction {
        spi: format!("{spi:08x}"),
        packets: usage.packets,
        bytes: usage.bytes,
        sequence,
        last_use: usage.last_use.map(|at| tick.since(at) / 1000),
        refused: refusals
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(r, count)| (r.name().to_owned(), count))
            .collect(),
    }
}

fn child_state_name(state: ChildState) -> &'static str {
    match state {
        ChildState::Installed => "INSTALLED",
        ChildState::Rekeying => "REKEYING",
        ChildState::Rekeyed => "REKEYED",
        ChildState::Deleting => "DELETING",
    }
}

fn mtu_from(tunnel: &Tunnel) -> String {
    match (tunnel.plan.interface.mtu, tunnel.children.sending(), tunnel.path_mtu) {
        (config::Mtu::Fixed(_), _, _) => "the file".to_owned(),
        (config::Mtu::Auto, None, _) => "before an SA is up".to_owned(),
        (config::Mtu::Auto, Some(_), Some((mtu, _))) => format!("path MTU {mtu} less ESP"),
        (config::Mtu::Auto, Some(_), None) => "outer MTU less ESP".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_counter_of_the_ike_engine_stands_on_the_page_that_explains_them() {
        let page = include_str!("../../../../docs/show-ike.md");
        for counter in ike::Counter::ALL {
            assert!(
                page.contains(&format!("| `{}` |", counter.name())),
                "{} is not explained",
                counter.name()
            );
        }
    }
}
