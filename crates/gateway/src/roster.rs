//! The neighbours, found by number, by address, and by the tunnel they live in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Deref;

use ::tunnel::TunnelId;
use bgp::NeighborId;

use crate::neighbors::Neighbor;

/// All neighbours; read as the map of their numbers. An address and a tunnel are a neighbour's for life.
#[derive(Default)]
pub(crate) struct Roster {
    all: BTreeMap<NeighborId, Neighbor>,
    by_address: BTreeMap<IpAddr, BTreeSet<NeighborId>>,
    by_tunnel: BTreeMap<TunnelId, BTreeSet<NeighborId>>,
}

impl Deref for Roster {
    type Target = BTreeMap<NeighborId, Neighbor>;

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

impl Roster {
    /// A number is never given twice.
    pub(crate) fn insert(&mut self, id: NeighborId, neighbor: Neighbor) {
        self.by_address.entry(neighbor.address()).or_default().insert(id);
        if let Some(tunnel) = neighbor.tunnel {
            self.by_tunnel.entry(tunnel).or_default().insert(id);
        }
        self.all.insert(id, neighbor);
    }

    pub(crate) fn remove(&mut self, id: NeighborId) -> Option<Neighbor> {
        let neighbor = self.all.remove(&id)?;
        take(&mut self.by_address, &neighbor.address(), id);
        if let Some(tunnel) = &neighbor.tunnel {
            take(&mut self.by_tunnel, tunnel, id);
        }
        Some(neighbor)
    }

    /// To change what is not its address or tunnel: these begin a neighbour anew.
    pub(crate) fn get_mut(&mut self, id: NeighborId) -> Option<&mut Neighbor> {
        self.all.get_mut(&id)
    }

    /// Those with this address: more than one where it stands behind several tunnels.
    pub(crate) fn at(&self, address: IpAddr) -> impl Iterator<Item = (NeighborId, &Neighbor)> {
        self.with(self.by_address.get(&address))
    }

    /// Those that live in this tunnel.
    pub(crate) fn of(&self, tunnel: TunnelId) -> impl Iterator<Item = (NeighborId, &Neighbor)> {
        self.with(self.by_tunnel.get(&tunnel))
    }

    /// The tunnels that any live in.
    pub(crate) fn tunnels(&self) -> impl Iterator<Item = TunnelId> {
        self.by_tunnel.keys().copied()
    }

    fn with<'a>(
        &'a self,
        ids: Option<&'a BTreeSet<NeighborId>>,
    ) -> impl Iterator<Item = (NeighborId, &'a Neighbor)> {
        ids.into_iter().flatten().filter_map(|id| Some((*id, self.all.get(id)?)))
    }
}

fn take<K: Ord>(index: &mut BTreeMap<K, BTreeSet<NeighborId>>, key: &K, id: NeighborId) {
    if let Some(ids) = index.get_mut(key) {
        ids.remove(&id);
        if ids.is_empty() {
            index.remove(key);
        }
    }
}
