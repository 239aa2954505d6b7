//! Which routes are wanted, and why: neighbours, static and learned prefixes, and what stands in their place while a
//! tunnel is down.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use ::tunnel::TunnelId;
use bgp::NeighborId;
use bgp_rib::NextHops;
use bgp_wire::{Families, Family};
use config::{OnDown, Routes};
use inet::Prefix;

use crate::fib::{Hop, Key, Origin, Place, Wish};
use crate::gateway::Gateway;
use crate::looks;
use crate::neighbors::Neighbor;
use crate::tunnels::Tunnel;

impl Gateway {
    /// A tunnel's static routes and the host routes of its neighbours; they stay while it is down.
    pub(crate) fn want_static_routes(&mut self, id: TunnelId) {
        let Some(tunnel) = self.tunnels.get(&id) else { return };
        let Some(ifindex) = tunnel.device.ifindex() else { return };
        let from = tunnel.plan.name.to_string();
        for prefix in &tunnel.plan.interface.routes {
            let hop = into(tunnel, ifindex, prefix.is_ipv4());
            // Static routes are the operator's: they stand where every process looks.
            let key = Key { table: Routes::MAIN, prefix: *prefix };
            self.fib.want(key, Origin::Static, Wish { hop, from: from.clone(), closed: closed(tunnel) });
        }
        self.want_neighbor_routes(id);
    }

    /// The host routes of a tunnel's neighbours.
    fn want_neighbor_routes(&mut self, id: TunnelId) {
        let addresses: BTreeSet<IpAddr> =
            self.neighbors.of(id).map(|(_, neighbor)| neighbor.address()).collect();
        for address in addresses {
            self.want_neighbor_route(address);
        }
    }

    /// The host route of tunnel neighbours with this address. Where it stands behind several tunnels there can be but
    /// one: into the tunnel that has it, while that carries, else into the first that does.
    pub(crate) fn want_neighbor_route(&mut self, address: IpAddr) {
        let prefix = Prefix::host(address);
        let held = self.fib.wish(&Key { table: Routes::MAIN, prefix }, Origin::Neighbor);
        let held = held.map(|wish| wish.from.as_str());
        let ranked = self.neighbors.at(address).filter_map(|(_, neighbor)| {
            looks::count();
            let tunnel = neighbor.tunnel.and_then(|id| self.tunnels.get(&id))?;
            let ifindex = tunnel.device.ifindex()?;
            let elsewhere = held != Some(&*tunnel.plan.name);
            Some(((!tunnel.carries(), elsewhere, tunnel.id), tunnel, ifindex))
        });
        let chosen = ranked.min_by_key(|(rank, _, _)| *rank).map(|(_, tunnel, ifindex)| {
            let hop = into(tunnel, ifindex, prefix.is_ipv4());
            Wish { hop, from: tunnel.plan.name.to_string(), closed: closed(tunnel) }
        });
        for table in BTreeSet::from([Routes::MAIN, self.plan.routes.table]) {
            let key = Key { table, prefix };
            match &chosen {
                Some(wish) => self.fib.want(key, Origin::Neighbor, wish.clone()),
                None => self.fib.forget(key, Origin::Neighbor),
            }
        }
    }

    /// Where an address stands behind several tunnels, which of them carry may decide which has it.
    pub(crate) fn choose_neighbor_route(&mut self, id: NeighborId) {
        let Some(address) = self.neighbors.get(&id).map(Neighbor::address) else { return };
        if self.neighbors.at(address).nth(1).is_some() {
            self.want_neighbor_route(address);
        }
    }

    /// The learned routes into a tunnel whose preferred source the file changed.
    pub(crate) fn want_learned_routes(&mut self, id: TunnelId) {
        let Some(tunnel) = self.tunnels.get(&id) else { return };
        let Some(device) = tunnel.device.ifindex() else { return };
        let leads_there = |hop: Hop| matches!(hop, Hop::Device { ifindex, .. } if ifindex == device);
        let wish = |key: &Key, wish: &Wish| Wish {
            hop: into(tunnel, device, key.prefix.is_ipv4()),
            closed: closed(tunnel),
            ..wish.clone()
        };
        let learned = self.fib.wishes(Origin::Bgp).filter(|(_, held)| leads_there(held.hop));
        let wanted: Vec<(Key, Wish)> = learned.map(|(key, held)| (*key, wish(key, held))).collect();
        for (key, wish) in wanted {
            self.fib.want(key, Origin::Bgp, wish);
        }
    }

    /// The tunnel has no device: packets for its static routes are refused until it has one again.
    pub(crate) fn refuse_static_routes(&mut self, id: TunnelId) {
        let Some(tunnel) = self.tunnels.get(&id) else { return };
        let from = tunnel.plan.name.to_string();
        for prefix in &tunnel.plan.interface.routes {
            let key = Key { table: Routes::MAIN, prefix: *prefix };
            if closed(tunnel) {
                self.fib.want(key, Origin::Static, Wish::new(Hop::Unreachable, from.clone()));
            } else {
                self.fib.forget(key, Origin::Static);
            }
        }
        self.want_neighbor_routes(id);
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
        self.outside.remove(&key.prefix);
        let neighbor = delta.best.as_ref().and_then(|best| self.neighbors.get(&best.neighbor));
        let (Some(neighbor), Some(best)) = (neighbor, &delta.best) else {
            self.fib.forget(key, Origin::Bgp);
            return;
        };
        let from = neighbor.plan.session.name.to_string();
        let wish = match neighbor.tunnel.and_then(|id| self.tunnels.get(&id)) {
            Some(tunnel) => learned_through(tunnel, key.prefix, from),
            None => {
                self.outside.insert(key.prefix, (best.neighbor, best.next_hop));
                self.hop_towards(best.next_hop).map(|hop| Wish::new(hop, from))
            }
        };
        self.want_learned(key, wish);
    }

    /// Without a wish the best path leads nowhere: an earlier one, through somebody else, is as good as withdrawn.
    fn want_learned(&mut self, key: Key, wish: Option<Wish>) {
        match wish {
            Some(wish) => {
                self.fib.want(key, Origin::Bgp, wish);
                self.fib.forget(key, Origin::Stale);
            }
            None => self.fib.forget(key, Origin::Bgp),
        }
    }

    /// A next hop that a neighbour without tunnel named: it is on the underlay (RFC 4271 section 5.1.3).
    fn hop_towards(&self, next_hop: IpAddr) -> Option<Hop> {
        let path = self.underlay.path_to(next_hop, &self.tunnel_ifindexes())?;
        let gateway = Some(path.gateway.unwrap_or(next_hop));
        Some(Hop::Device { ifindex: path.ifindex, gateway, source: None })
    }

    /// Tells the speaker which next hops this host has a way to: of neighbours without tunnel it is asked.
    pub(crate) fn tell_next_hops(&mut self, now: Instant) {
        // Before the first reading nobody knows.
        if self.underlay.links.is_empty() || self.neighbors.values().all(|neighbor| neighbor.tunnel.is_some())
        {
            return;
        }
        let tunnels = self.tunnel_ifindexes();
        self.speaker.set_next_hops(NextHops::reached_by(self.underlay.reached(&tunnels)), now);
    }

    /// The underlay changed: where next hops on it are is looked up anew.
    pub(crate) fn resolve_next_hops(&mut self) {
        let mut found: BTreeMap<IpAddr, Option<Hop>> = BTreeMap::new();
        let table = self.plan.routes.table;
        for (prefix, (id, next_hop)) in self.outside.clone() {
            let Some(neighbor) = self.neighbors.get(&id) else { continue };
            let from = neighbor.plan.session.name.to_string();
            let hop = *found.entry(next_hop).or_insert_with(|| self.hop_towards(next_hop));
            self.want_learned(Key { table, prefix }, hop.map(|hop| Wish::new(hop, from)));
        }
    }

    /// A session ended, and with it what it taught. Until its peer has spoken again these prefixes are refused where
    /// nobody else teaches them, even if others did meanwhile and took theirs back.
    pub(crate) fn session_lost(&mut self, name: &str, lost: Vec<Prefix>) {
        if !self.fails_closed(name) {
            return;
        }
        for prefix in &lost {
            let wish = Wish::new(Hop::Unreachable, name.to_owned());
            self.fib.want(Key { table: self.plan.routes.table, prefix: *prefix }, Origin::Unreachable, wish);
        }
        self.lost.entry(name.to_owned()).or_default().extend(lost);
    }

    /// The peer has told all it knows of a family: what an earlier session taught counts no more.
    pub(crate) fn converged(&mut self, id: NeighborId, family: Family) {
        let negotiated = self.speaker.neighbor(id).and_then(|view| view.negotiated);
        let negotiated = negotiated.map_or(Families::BOTH, |negotiated| negotiated.context.families);
        let Some(neighbor) = self.neighbors.get_mut(id) else { return };
        neighbor.spoken.insert(family);
        // Of a family that is not spoken of there is nothing to wait for.
        for silent in Families::BOTH.iter().filter(|family| !negotiated.contains(*family)) {
            neighbor.spoken.insert(silent);
        }
        let name = neighbor.plan.session.name.to_string();
        self.forget_lost(&name, |prefix| family_of(prefix) == family);
        self.sweep_stale();
    }

    /// What an earlier run left refused is refused until every neighbour that may have taught it has spoken: those of
    /// its tunnel, or where nobody knows whose it was, those of every tunnel.
    pub(crate) fn sweep_stale(&mut self) {
        let waits = |key: &Key, wish: &Wish| {
            self.neighbors.values().any(|neighbor| {
                let tunnel = neighbor.plan.session.tunnel.as_deref();
                tunnel.is_some_and(|name| wish.from.is_empty() || *name == *wish.from)
                    && !neighbor.spoken.contains(family_of(&key.prefix))
            })
        };
        let stale = self.fib.wishes(Origin::Stale);
        let done: Vec<Key> = stale.filter(|(key, wish)| !waits(key, wish)).map(|(key, _)| *key).collect();
        for key in done {
            self.fib.forget(key, Origin::Stale);
        }
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

    /// The file wants what a tunnel taught to be refused no longer while it is down: what is refused now is let go.
    pub(crate) fn refuse_no_more(&mut self, id: TunnelId) {
        let names: Vec<String> =
            self.neighbors.of(id).map(|(_, neighbor)| neighbor.plan.session.name.to_string()).collect();
        for name in names {
            self.forget_lost(&name, |_| true);
        }
        let Some(tunnel) = self.tunnels.get(&id) else { return };
        self.fib.forget_where(Origin::Stale, |_, wish| wish.from == *tunnel.plan.name);
    }

    /// Routes an earlier run left: those that led into a tunnel are refused until its neighbours have spoken, for
    /// taking them away would let inner packets out in clear. The rest is swept.
    pub(crate) fn adopt_routes(&mut self, ours: &[(Place, Hop)]) {
        if self.kernel_known {
            return;
        }
        for (Place { key, .. }, hop) in ours {
            let owner = match hop {
                Hop::Unreachable => Some(String::new()),
                Hop::Prohibit => None,
                Hop::Device { ifindex, .. } => self
                    .tunnel_on(*ifindex)
                    .and_then(|id| self.tunnels.get(&id))
                    .filter(|tunnel| tunnel.plan.on_down == OnDown::Unreachable)
                    .map(|tunnel| tunnel.plan.name.to_string()),
            };
            // A neighbour's own host route is wanted again anyway, and first in the order of origins.
            let learned = key.table == self.plan.routes.table;
            if let (Some(from), true, true) = (owner, learned, self.any_fails_closed()) {
                self.fib.want(*key, Origin::Stale, Wish::new(Hop::Unreachable, from));
            }
        }
        self.sweep_stale();
    }

    /// Everything a removed tunnel wanted.
    pub(crate) fn forget_routes_of(&mut self, id: TunnelId) {
        let live = self.tunnel_ifindexes();
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
                Hop::Unreachable | Hop::Prohibit => !names.contains(&wish.from),
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
        if !self.devices.contains(&ifindex) {
            return None;
        }
        self.tunnels.values().find(|tunnel| tunnel.device.ifindex() == Some(ifindex)).map(|tunnel| tunnel.id)
    }
}

fn family_of(prefix: &Prefix) -> Family {
    if prefix.is_ipv4() { Family::Ipv4Unicast } else { Family::Ipv6Unicast }
}

/// Are packets for its prefixes refused rather than left to the routes of others?
fn closed(tunnel: &Tunnel) -> bool {
    tunnel.plan.on_down == OnDown::Unreachable
}

/// What was learned through a tunnel; without a device it leads nowhere.
fn learned_through(tunnel: &Tunnel, prefix: Prefix, from: String) -> Option<Wish> {
    match tunnel.device.ifindex() {
        Some(ifindex) => {
            Some(Wish { hop: into(tunnel, ifindex, prefix.is_ipv4()), from, closed: closed(tunnel) })
        }
        None => closed(tunnel).then(|| Wish::new(Hop::Unreachable, from)),
    }
}

fn into(tunnel: &Tunnel, ifindex: u32, ipv4: bool) -> Hop {
    Hop::Device { ifindex, gateway: None, source: tunnel.source_for(ipv4) }
}
