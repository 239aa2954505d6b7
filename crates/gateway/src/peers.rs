//! The outer addresses of every tunnel and what was made of them: a change of one tunnel concerns its own addresses, and
//! the tunnels that share one with it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ::tunnel::{OuterAddresses, TunnelId};
use config::Local;

use crate::effect::Effect;
use crate::fib::{Key, Origin};
use crate::gateway::Gateway;
use crate::tunnels::Tunnel;
use crate::uplinks::{PeerRoutes, Sources};

/// Of one tunnel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outer {
    /// Those that may be ours.
    pub(crate) local: BTreeSet<IpAddr>,
    /// Those that may be the peer's.
    pub(crate) remote: BTreeSet<IpAddr>,
}

/// What one address of a peer brought about.
#[derive(Debug, Default)]
struct Made {
    tunnels: BTreeSet<TunnelId>,
    routes: BTreeSet<Key>,
    sources: Sources,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    of_tunnel: BTreeMap<TunnelId, Outer>,
    at: BTreeMap<IpAddr, Made>,
    /// Peers' addresses that need rules by source: few, if any.
    with_sources: BTreeSet<IpAddr>,
}

impl Peers {
    /// A tunnel's addresses are these now, `None` for one that is gone: peers' addresses that it concerns, before or now,
    /// and whether anything changed.
    pub(crate) fn set(&mut self, id: TunnelId, outer: Option<Outer>) -> (BTreeSet<IpAddr>, bool) {
        let old = self.of_tunnel.remove(&id);
        let changed = old != outer;
        let mut concerned = BTreeSet::new();
        for remote in old.into_iter().flat_map(|old| old.remote) {
            if let Some(made) = self.at.get_mut(&remote) {
                made.tunnels.remove(&id);
            }
            concerned.insert(remote);
        }
        if let Some(outer) = outer {
            for remote in &outer.remote {
                self.at.entry(*remote).or_default().tunnels.insert(id);
                concerned.insert(*remote);
            }
            self.of_tunnel.insert(id, outer);
        }
        (concerned, changed)
    }

    /// The tunnels noted here.
    pub(crate) fn tunnels(&self) -> impl Iterator<Item = TunnelId> {
        self.of_tunnel.keys().copied()
    }

    /// The tunnels with a peer that may be at this address, in order.
    pub(crate) fn tunnels_at(&self, remote: IpAddr) -> impl Iterator<Item = TunnelId> {
        self.at.get(&remote).into_iter().flat_map(|made| made.tunnels.iter().copied())
    }

    /// What a peer's address brings about from now on; the routes that are of the past come back.
    pub(crate) fn make(&mut self, remote: IpAddr, routes: BTreeSet<Key>, sources: Sources) -> Vec<Key> {
        let Some(made) = self.at.get_mut(&remote) else { return Vec::new() };
        let gone = made.routes.difference(&routes).copied().collect();
        if sources.is_empty() {
            self.with_sources.remove(&remote);
        } else {
            self.with_sources.insert(remote);
        }
        (made.routes, made.sources) = (routes, sources);
        if made.tunnels.is_empty() {
            self.at.remove(&remote);
        }
        gone
    }

    /// Every local address whose packets look into a table of their uplink first.
    pub(crate) fn sources(&self) -> Sources {
        let made = self.with_sources.iter().filter_map(|remote| self.at.get(remote));
        made.flat_map(|made| made.sources.iter().map(|(local, table)| (*local, *table))).collect()
    }

    /// The addresses of all tunnels.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Outer> {
        self.of_tunnel.values()
    }
}

impl Gateway {
    /// The host route to each peer's outer address through the underlay, wherever learned routes go: strict
    /// reverse-path filters look them up without a mark; and the rules of those that need a source. While the underlay has
    /// no path to it there is none at all: a learned route that covers the address must not take the outer packets.
    ///
    /// This looks every tunnel up, as after a change of the underlay; a change of one has
    /// [its own](Self::want_peer_routes_of).
    pub(crate) fn want_peer_routes(&mut self) {
        let noted: BTreeSet<TunnelId> = self.peers.tunnels().chain(self.tunnels.keys().copied()).collect();
        let mut concerned = BTreeSet::new();
        for id in noted {
            concerned.extend(self.note_outer(id).0);
        }
        self.place_peers(concerned);
        self.name_outer();
    }

    /// The same after a change of one tunnel: its peer's addresses and ours.
    pub(crate) fn want_peer_routes_of(&mut self, id: TunnelId) {
        let (concerned, changed) = self.note_outer(id);
        self.place_peers(concerned);
        if changed {
            self.name_outer();
        }
    }

    /// Notes where a tunnel's ends are now, as far as it is told, and all that follows.
    pub(crate) fn meet(&mut self, id: TunnelId, local: Option<IpAddr>, peer: Option<IpAddr>) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else { return };
        self.guard_stale |= tunnel.set_ends(local, peer, &self.guarded);
        self.want_peer_routes_of(id);
    }

    /// Notes a tunnel's outer addresses: the peers' that it concerns, before or now, and whether any changed.
    fn note_outer(&mut self, id: TunnelId) -> (BTreeSet<IpAddr>, bool) {
        let outer = self.tunnels.get(&id).map(|tunnel| self.outer_of(tunnel));
        self.peers.set(id, outer)
    }

    fn outer_of(&self, tunnel: &Tunnel) -> Outer {
        let mut local: BTreeSet<IpAddr> = tunnel.local.into_iter().collect();
        match &tunnel.plan.local {
            Local::Ends(_) => local.extend(self.locals(&tunnel.plan.local)),
            Local::Any => {
                let inner = |ifindex: &u32| self.devices.contains(ifindex);
                let own = self.underlay.addresses.iter().filter(|held| !inner(&held.ifindex));
                local.extend(own.map(|held| held.address));
            }
        }
        Outer { local, remote: tunnel.known_remotes().chain(tunnel.peer).collect() }
    }

    fn place_peers(&mut self, concerned: BTreeSet<IpAddr>) {
        let tunnels = self.tunnel_ifindexes();
        for remote in concerned {
            let PeerRoutes { wishes, sources } = self.peer_routes(remote, &tunnels);
            let keys = wishes.iter().map(|(key, _)| *key).collect();
            for gone in self.peers.make(remote, keys, sources) {
                self.fib.forget(gone, Origin::Peer);
            }
            for (key, wish) in wishes {
                self.fib.want(key, Origin::Peer, wish);
            }
        }
        let sources = self.peers.sources();
        if sources != self.sources {
            self.sources = sources;
            self.effects.push_back(Effect::Sources(self.sources.clone()));
        }
    }

    /// Tells the datapath which packets are outer ones: they enter no tunnel, whatever the kernel's routes say.
    fn name_outer(&mut self) {
        let local = self.peers.all().flat_map(|outer| outer.local.iter().copied());
        let remote = self.peers.all().flat_map(|outer| outer.remote.iter().copied());
        let outer = OuterAddresses::new(local, remote);
        if *self.outer != outer {
            self.outer = Arc::new(outer);
            self.table_dirty = true;
        }
    }
}
