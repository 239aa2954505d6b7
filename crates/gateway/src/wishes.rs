//! Which routes are wanted, and why: paths to peers, neighbours, static and learned prefixes, and what
//! stands in their place while a tunnel is down.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ::tunnel::TunnelId;
use bgp::NeighborId;
use config::{OnDown, Routes};
use inet::Prefix;

use crate::fib::{Hop, Key, Origin, Wish};
use crate::gateway::Gateway;
use crate::tunnels::Tunnel;

impl Gateway {
    /// The host route to each peer's outer address through the underlay, wherever learned routes go: strict
    /// reverse-path filters look them up without a mark.
    pub(crate) fn want_peer_routes(&mut self) {
        let tunnels = self.tunnel_ifindexes();
        let mut wanted = BTreeSet::new();
        for tunnel in self.tunnels.values() {
            let remotes: BTreeSet<IpAddr> = tunnel.known_remotes().chain(tunnel.peer).collect();
            for remote in remotes {
                let key = Key { table: Routes::MAIN, prefix: Prefix::host(remote) };
                let Some(path) = self.underlay.path_to(remote, &tunnels) else { continue };
                let hop = Hop::Device { ifindex: path.ifindex, gateway: path.gateway, source: None };
                self.fib.want(key, Origin::Peer, Wish { hop, from: tunnel.plan.name.to_string() });
                wanted.insert(key);
            }
        }
        self.fib.forget_where(Origin::Peer, |key, _| !wanted.contains(key));
    }

    /// A tunnel's static routes and the host routes of its neighbours; they stay while it is down.
    pub(crate) fn want_static_routes(&mut self, id: TunnelId) {
        let Some(tunnel) = self.tunnels.get(&id) else { return };
        let Some(ifindex) = tunnel.device.ifindex() else { return };
        let from = tunnel.plan.name.to_string();
        let wish =
            |prefix: &Prefix| Wish { hop: into(tunnel, ifindex, prefix.is_ipv4()), from: from.clone() };
        let table = self.plan.routes.table;
        let mut wanted: Vec<(Key, Origin, Wish)> = Vec::new();
        for prefix in &tunnel.plan.interface.routes {
            // Static routes are the operator's: they stand where every process looks.
            wanted.push((Key { table: Routes::MAIN, prefix: *prefix }, Origin::Static, wish(prefix)));
        }
        for neighbor in self.neighbors.values().filter(|neighbor| neighbor.tunnel == Some(id)) {
            let prefix = Prefix::host(neighbor.address());
            for table in BTreeSet::from([Routes::MAIN, table]) {
                wanted.push((Key { table, prefix }, Origin::Neighbor, wish(&prefix)));
            }
        }
        for (key, origin, wish) in wanted {
            self.fib.want(key, origin, wish);
        }
    }

    /// Static routes the file no longer has.
    pub(crate) fn forget_static_routes(&mut self, id: TunnelId, before: &[Prefix]) {
        let Some(tunnel) = self.tunnels.get(&id) else { return };
        let now: Vec<Prefix> = tunnel.plan.interface.routes.clone();
        for prefix in before.iter().filter(|prefix| !now.contains(prefix)) {
            self.fib.forget(Key { table: Routes::MAIN, prefix: *prefix }, Origin::Static);
        }
    }

    /// The speaker's choice for one prefix changed.
    pub(crate) fn best_route(&mut self, delta: bgp::RouteDelta) {
        self.table_version += 1;
        let key = Key { table: self.plan.routes.table, prefix: delta.prefix };
        let Some(best) = delta.best else {
            self.fib.forget(key, Origin::Bgp);
            return;
        };
        let Some(neighbor) = self.neighbors.get(&best.neighbor) else { return };
        let from = neighbor.plan.session.name.to_string();
        let hop = match neighbor.tunnel.and_then(|id| self.tunnels.get(&id)) {
            Some(tunnel) => match tunnel.device.ifindex() {
                Some(ifindex) => into(tunnel, ifindex, delta.prefix.is_ipv4()),
                None => return,
            },
            // A neighbour without tunnel: its next hop is on the underlay.
            None => match self.underlay.path_to(best.next_hop, &self.tunnel_ifindexes()) {
                Some(path) => Hop::Device {
                    ifindex: path.ifindex,
                    gateway: Some(path.gateway.unwrap_or(best.next_hop)),
                    source: None,
                },
                None => return,
            },
        };
        self.fib.want(key, Origin::Bgp, Wish { hop, from });
        self.fib.forget(key, Origin::Stale);
    }

    /// A session ended, and with it what it taught. Until its peer has spoken again these prefixes are refused where
    /// nobody else teaches them, even if others did meanwhile and took theirs back.
    pub(crate) fn session_lost(&mut self, name: &str, lost: Vec<Prefix>) {
        if !self.fails_closed(name) {
            return;
        }
        for prefix in &lost {
            let wish = Wish { hop: Hop::Unreachable, from: name.to_owned() };
            self.fib.want(Key { table: self.plan.routes.table, prefix: *prefix }, Origin::Unreachable, wish);
        }
        self.lost.entry(name.to_owned()).or_default().extend(lost);
    }

    /// The peer has told all it knows of a family: what an earlier session taught counts no more. What an earlier run
    /// left refused, nobody knows for whom, waits until every tunnel's neighbours have spoken.
    pub(crate) fn converged(&mut self, id: NeighborId, ipv4: bool) {
        let Some(neighbor) = self.neighbors.get_mut(&id) else { return };
        neighbor.converged = true;
        let name = neighbor.plan.session.name.to_string();
        let tunnel = neighbor.plan.session.tunnel.as_ref().map(ToString::to_string);
        let all = self.neighbors.values().all(|n| n.converged || n.tunnel.is_none());
        self.forget_lost(&name, |prefix| prefix.is_ipv4() == ipv4);
        let learned: BTreeSet<Key> = self.fib.wishes(Origin::Bgp).map(|(key, _)| *key).collect();
        self.fib.forget_where(Origin::Stale, |key, wish| {
            let spoken = Some(&wish.from) == tunnel.as_ref() || (wish.from.is_empty() && all);
            spoken && key.prefix.is_ipv4() == ipv4 && !learned.contains(key)
        });
    }

    /// Lost prefixes that count no more: they are refused no longer unless another's loss still counts.
    pub(crate) fn forget_lost(&mut self, name: &str, which: impl Fn(&Prefix) -> bool) {
        let Some(lost) = self.lost.get_mut(name) else { return };
        let done: Vec<Prefix> = lost.iter().copied().filter(|prefix| which(prefix)).collect();
        lost.retain(|prefix| !which(prefix));
        for prefix in done {
            if !self.lost.values().any(|others| others.contains(&prefix)) {
                self.fib.forget(Key { table: self.plan.routes.table, prefix }, Origin::Unreachable);
            }
        }
    }

    /// Routes an earlier run left: those that led into a tunnel are refused until its neighbours have spoken, for
    /// taking them away would let inner packets out in clear. The rest is swept.
    pub(crate) fn adopt_routes(&mut self, ours: &[(Key, Hop)]) {
        if self.kernel_known {
            return;
        }
        for (key, hop) in ours {
            let owner = match hop {
                Hop::Unreachable => Some(String::new()),
                Hop::Device { ifindex, .. } => self
                    .tunnel_on(*ifindex)
                    .and_then(|id| self.tunnels.get(&id))
                    .filter(|tunnel| tunnel.plan.on_down == OnDown::Unreachable)
                    .map(|tunnel| tunnel.plan.name.to_string()),
            };
            // A neighbour's own host route is wanted again anyway, and first in the order of origins.
            let learned = key.table == self.plan.routes.table;
            if let (Some(from), true, true) = (owner, learned, self.any_fails_closed()) {
                self.fib.want(*key, Origin::Stale, Wish { hop: Hop::Unreachable, from });
            }
        }
    }

    /// Everything a removed tunnel wanted.
    pub(crate) fn forget_routes_of(&mut self, id: TunnelId) {
        let live: BTreeSet<u32> = self.tunnel_ifindexes();
        let names: BTreeSet<String> = self
            .tunnels
            .values()
            .map(|tunnel| tunnel.plan.name.to_string())
            .chain(
                self.neighbors
                    .values()
                    .filter(|n| n.tunnel != Some(id))
                    .map(|n| n.plan.session.name.to_string()),
            )
            .collect();
        for origin in [Origin::Static, Origin::Neighbor, Origin::Bgp] {
            self.fib.forget_where(origin, |_, wish| match wish.hop {
                Hop::Device { ifindex, .. } => !live.contains(&ifindex) && !names.contains(&wish.from),
                Hop::Unreachable => !names.contains(&wish.from),
            });
        }
        self.want_peer_routes();
    }

    /// A clean stop leaves nothing.
    pub(crate) fn forget_all_routes(&mut self) {
        let all =
            [Origin::Peer, Origin::Neighbor, Origin::Static, Origin::Bgp, Origin::Unreachable, Origin::Stale];
        for origin in all {
            self.fib.forget_where(origin, |_, _| true);
        }
    }

    fn fails_closed(&self, neighbor: &str) -> bool {
        self.neighbors
            .values()
            .find(|n| &*n.plan.session.name == neighbor)
            .and_then(|n| n.tunnel)
            .and_then(|id| self.tunnels.get(&id))
            .is_some_and(|tunnel| tunnel.plan.on_down == OnDown::Unreachable)
    }

    fn any_fails_closed(&self) -> bool {
        self.tunnels.values().any(|tunnel| tunnel.plan.on_down == OnDown::Unreachable)
    }

    pub(crate) fn tunnel_on(&self, ifindex: u32) -> Option<TunnelId> {
        self.tunnels.values().find(|tunnel| tunnel.device.ifindex() == Some(ifindex)).map(|tunnel| tunnel.id)
    }
}

fn into(tunnel: &Tunnel, ifindex: u32, ipv4: bool) -> Hop {
    Hop::Device { ifindex, gateway: None, source: tunnel.source_for(ipv4) }
}
