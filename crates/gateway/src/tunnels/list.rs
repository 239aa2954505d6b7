//! All tunnels, and which of them were touched: what follows from a tunnel (its row of the datapath's table, its deadlines,
//! its fate) is looked at anew for those, however many others there are.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::time::Instant;

use ::tunnel::TunnelId;

use super::Tunnel;
use super::dial::Dial;

/// Read as the map of their numbers.
#[derive(Default)]
pub(crate) struct Tunnels {
    all: BTreeMap<TunnelId, Tunnel>,
    /// Since they were last asked for: for their deadlines and fates.
    touched: BTreeSet<TunnelId>,
    /// The same for their rows.
    unpublished: BTreeSet<TunnelId>,
    /// When something of theirs ends by itself: a lingering SA, a path MTU.
    ends: Deadlines,
    /// When they dial again.
    dials: Deadlines,
}

/// One instant each.
#[derive(Default)]
struct Deadlines {
    of: BTreeMap<TunnelId, Instant>,
    order: BTreeSet<(Instant, TunnelId)>,
}

impl Deref for Tunnels {
    type Target = BTreeMap<TunnelId, Tunnel>;

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

impl Tunnels {
    /// A number is never given twice.
    pub(crate) fn insert(&mut self, id: TunnelId, tunnel: Tunnel) {
        self.touch(id);
        self.all.insert(id, tunnel);
    }

    pub(crate) fn remove(&mut self, id: &TunnelId) -> Option<Tunnel> {
        self.touch(*id);
        self.all.remove(id)
    }

    pub(crate) fn get_mut(&mut self, id: &TunnelId) -> Option<&mut Tunnel> {
        let tunnel = self.all.get_mut(id)?;
        self.touched.insert(*id);
        self.unpublished.insert(*id);
        Some(tunnel)
    }

    /// Every one of them counts as touched.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Tunnel> {
        self.touched.extend(self.all.keys());
        self.unpublished.extend(self.all.keys());
        self.all.values_mut()
    }

    /// To note what neither a row nor a deadline nor a fate depends on.
    pub(crate) fn untouched_mut(&mut self) -> impl Iterator<Item = &mut Tunnel> {
        self.all.values_mut()
    }

    /// Those whose rows may have changed since this was last asked, some of them gone.
    pub(crate) fn take_unpublished(&mut self) -> BTreeSet<TunnelId> {
        std::mem::take(&mut self.unpublished)
    }

    /// Those that were touched since this was last asked, some of them gone. Their deadlines are known from here on.
    pub(crate) fn take_touched(&mut self) -> BTreeSet<TunnelId> {
        let touched = std::mem::take(&mut self.touched);
        for id in &touched {
            let tunnel = self.all.get(id);
            self.ends.set(*id, tunnel.and_then(ends));
            self.dials.set(*id, tunnel.and_then(dials));
        }
        touched
    }

    /// The first deadline; of those that wait to dial again only with `dialling`.
    pub(crate) fn next_deadline(&self, dialling: bool) -> Option<Instant> {
        let dial = self.dials.first().filter(|_| dialling);
        self.ends.first().into_iter().chain(dial).min()
    }

    /// Those of which something ends now.
    pub(crate) fn ending(&self, now: Instant) -> Vec<TunnelId> {
        self.ends.due(now)
    }

    /// Those whose wait to dial again is over.
    pub(crate) fn redialling(&self, now: Instant) -> Vec<TunnelId> {
        self.dials.due(now)
    }

    /// Something that follows from it may have changed, though nothing of itself.
    pub(crate) fn touch(&mut self, id: TunnelId) {
        self.touched.insert(id);
        self.unpublished.insert(id);
    }
}

fn ends(tunnel: &Tunnel) -> Option<Instant> {
    let path_mtu = tunnel.path_mtu.map(|(_, until)| until);
    tunnel.children.next_expiry().into_iter().chain(path_mtu).min()
}

fn dials(tunnel: &Tunnel) -> Option<Instant> {
    match tunnel.dial {
        Dial::BackOff { until, .. } => Some(until),
        Dial::Stopped | Dial::Waiting | Dial::Resolving { .. } | Dial::Dialing { .. } | Dial::Up => None,
    }
}

impl Deadlines {
    fn set(&mut self, id: TunnelId, at: Option<Instant>) {
        if let Some(old) = self.of.remove(&id) {
            self.order.remove(&(old, id));
        }
        if let Some(at) = at {
            self.of.insert(id, at);
            self.order.insert((at, id));
        }
    }

    fn first(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// In the order of their numbers.
    fn due(&self, now: Instant) -> Vec<TunnelId> {
        let due = self.order.iter().take_while(|(at, _)| *at <= now);
        due.map(|(_, id)| *id).collect::<BTreeSet<_>>().into_iter().collect()
    }
}
