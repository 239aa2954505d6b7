//! IKE's CHILD SAs as the datapath's SAs: which one to send on, and how long the old ones are opened.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crypto::Group;
use esp::{InboundParams, InboundSa, Limits, OutboundParams, OutboundSa, SetupError};
use ike::{ChildId, ChildUp, IkeId, Path, Resource, Role};
use inet::Selector;
use tunnel::mtu::inner_mtu;

/// One CHILD SA.
pub(crate) struct Child {
    pub(crate) ike: IkeId,
    pub(crate) inbound: Arc<InboundSa>,
    pub(crate) outbound: Arc<OutboundSa>,
    pub(crate) local_ts: Vec<Selector>,
    pub(crate) remote_ts: Vec<Selector>,
    pub(crate) path: Path,
    pub(crate) encap: bool,
    pub(crate) pfs: Option<Group>,
    pub(crate) replay_window: u32,
    /// Which of those with the same selectors.
    pub(crate) resource: Resource,
    /// It lost a collision and only hears what is still under way on it.
    inbound_only: bool,
    pub(crate) since: Instant,
    /// Gone for IKE; opened until then for packets still under way.
    pub(crate) linger_until: Option<Instant>,
    /// Packets opened when the IKE engine was last told that the peer lives.
    pub(crate) seen: u64,
}

/// What SAs carried and refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Carried {
    pub(crate) packets_out: u64,
    pub(crate) bytes_out: u64,
    pub(crate) packets_in: u64,
    pub(crate) bytes_in: u64,
    /// By reason.
    pub(crate) refused: BTreeMap<&'static str, u64>,
}

impl Carried {
    fn add(&mut self, child: &Child) {
        let (out, inward) = (child.outbound.usage(), child.inbound.usage());
        self.packets_out += out.packets;
        self.bytes_out += out.bytes;
        self.packets_in += inward.packets;
        self.bytes_in += inward.bytes;
        let refused = child.inbound.refusals().iter().chain(child.outbound.refusals().iter());
        for (reason, count) in refused.filter(|(_, count)| *count > 0) {
            *self.refused.entry(reason.name()).or_default() += count;
        }
    }
}

/// What is sent on for one resource.
#[derive(Clone, Copy, Default)]
struct Lane {
    sending: Option<ChildId>,
    /// Made at the peer's request: sent on once the peer has shown that it holds the keys.
    next: Option<ChildId>,
    /// Sent on from then on even if it has not. A peer need not send on every one of several, and an answer that was
    /// lost has been asked for again long before.
    trusted: Option<Instant>,
}

/// How long a peer may take to show that it holds the keys of a CHILD SA for a further resource.
const TRUST: Duration = Duration::from_secs(10);

/// The CHILD SAs of one tunnel.
#[derive(Default)]
pub(crate) struct Children {
    all: BTreeMap<ChildId, Child>,
    lanes: BTreeMap<Resource, Lane>,
    /// What those that are gone carried.
    past: Carried,
}

impl Children {
    /// Takes a new CHILD SA in. `iv_seed` is fresh randomness for its IVs.
    pub(crate) fn up(&mut self, up: &ChildUp, iv_seed: [u8; 16], now: Instant) -> Result<(), SetupError> {
        let child = Child::new(up, iv_seed, now)?;
        self.all.insert(up.child, child);
        if up.inbound_only {
            return Ok(());
        }
        let lane = self.lanes.entry(up.resource).or_default();
        // One that we do not yet send on may be replaced too: what holds for it holds for its successor.
        let old = up.replaces.filter(|old| lane.sending == Some(*old) || lane.next == Some(*old));
        // The first one for all is sent on at once: there is nothing else. That of a further resource has time.
        let waits = up.role == Role::Responder && (old.is_some() || !up.resource.is_any());
        if waits {
            lane.next = Some(up.child);
            lane.trusted = (!up.resource.is_any() && lane.sending.is_none()).then_some(now + TRUST);
        } else {
            *lane = Lane { sending: Some(up.child), next: None, trusted: None };
        }
        Ok(())
    }

    /// A CHILD SA ended for IKE. Its inbound half is opened a little longer.
    pub(crate) fn down(&mut self, id: ChildId, linger: Duration, now: Instant) {
        let Some(child) = self.all.get_mut(&id) else { return };
        let resource = child.resource;
        if linger.is_zero() {
            self.past.add(child);
            self.all.remove(&id);
        } else {
            child.linger_until = Some(now + linger);
        }
        let newest = self.newest(resource);
        let Some(lane) = self.lanes.get_mut(&resource) else { return };
        if lane.next == Some(id) {
            lane.next = None;
        }
        if lane.sending == Some(id) {
            lane.sending = lane.next.take().or(newest);
        }
        if lane.sending.is_none() && lane.next.is_none() {
            self.lanes.remove(&resource);
        }
    }

    /// The first packet on an SA: the peer holds its keys. True when that changes what we send on.
    pub(crate) fn first_packet(&mut self, spi_in: u32) -> bool {
        let arrived = |id: &ChildId| self.all.get(id).is_some_and(|child| child.inbound.spi() == spi_in);
        let waiting = self.lanes.values_mut().find(|lane| lane.next.as_ref().is_some_and(arrived));
        waiting.is_some_and(Lane::switch)
    }

    /// Drops the SAs whose time of lingering is over, and sends on those that were waited for long enough; true when
    /// there were any.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        let due = self.lanes.values_mut().filter(|lane| lane.trusted.is_some_and(|at| at <= now));
        let switched = due.map(Lane::switch).filter(|switched| *switched).count() > 0;
        let before = self.all.len();
        let past = &mut self.past;
        self.all.retain(|_, child| {
            let stays = child.linger_until.is_none_or(|until| until > now);
            if !stays {
                past.add(child);
            }
            stays
        });
        switched || self.all.len() != before
    }

    /// What all of them carried and refused, those that are gone too.
    pub(crate) fn carried(&self) -> Carried {
        let mut sum = self.past.clone();
        self.all.values().for_each(|child| sum.add(child));
        sum
    }

    /// The next time [`expire`](Self::expire) will find something.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        let trusted = self.lanes.values().filter_map(|lane| lane.trusted);
        self.all.values().filter_map(|child| child.linger_until).chain(trusted).min()
    }

    /// The SA to send on, whatever the resource.
    pub(crate) fn sending(&self) -> Option<(ChildId, &Child)> {
        self.sending_for(Resource::ANY)
    }

    fn sending_for(&self, resource: Resource) -> Option<(ChildId, &Child)> {
        let id = self.lanes.get(&resource)?.sending?;
        self.all.get(&id).map(|child| (id, child))
    }

    /// The SAs to send on, one a resource from the one for all on, which stands in where a resource has none. A peer that
    /// authenticated anew is not sent anything on what its old IKE SA made.
    pub(crate) fn ways(&self) -> Vec<&Child> {
        let Some((_, first)) = self.sending() else { return Vec::new() };
        let of =
            |resource| self.sending_for(resource).map(|(_, child)| child).filter(|one| one.ike == first.ike);
        let last = self.lanes.keys().rev().find(|resource| of(**resource).is_some());
        (0..=last.map_or(0, |last| last.0)).map(|number| of(Resource(number)).unwrap_or(first)).collect()
    }

    /// The longest inner packet, in octets, that each SA we send on can carry under this outer MTU: after a rekey those of
    /// the resources need not have the suite of the one for all. `None` when nothing is sent.
    pub(crate) fn inner_mtu(&self, outer: u16) -> Option<u16> {
        let of = |child: &&Child| {
            inner_mtu(child.outbound.suite(), outer, child.path.remote.is_ipv6(), child.encap)
        };
        self.ways().iter().map(of).min()
    }

    /// All of them, lingering ones too.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ChildId, &Child)> {
        self.all.iter()
    }

    /// The same, to note what was seen.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Child> {
        self.all.values_mut()
    }

    /// The one with this SPI, either way.
    pub(crate) fn by_spi(&self, spi: u32, outbound: bool) -> Option<&Child> {
        self.all
            .values()
            .find(|child| if outbound { child.outbound.spi() == spi } else { child.inbound.spi() == spi })
    }

    /// The peer of an IKE SA is elsewhere now.
    pub(crate) fn moved(&mut self, ike: IkeId, path: Path) {
        for child in self.all.values_mut().filter(|child| child.ike == ike && child.encap) {
            child.path = path.floated();
        }
    }

    /// The children of a rekeyed IKE SA go on under its successor.
    pub(crate) fn inherit(&mut self, old: IkeId, new: IkeId) {
        for child in self.all.values_mut().filter(|child| child.ike == old) {
            child.ike = new;
        }
    }

    fn newest(&self, resource: Resource) -> Option<ChildId> {
        let usable =
            |child: &Child| child.linger_until.is_none() && !child.inbound_only && child.resource == resource;
        self.all.iter().rev().find(|(_, child)| usable(child)).map(|(id, _)| *id)
    }
}

impl Lane {
    /// Sends on what was waited for; true when there was any.
    fn switch(&mut self) -> bool {
        self.trusted = None;
        let Some(next) = self.next.take() else { return false };
        self.sending = Some(next);
        true
    }
}

impl Child {
    fn new(up: &ChildUp, iv_seed: [u8; 16], now: Instant) -> Result<Self, SetupError> {
        let limits = limits(up);
        let inbound = InboundSa::new(InboundParams {
            spi: up.spi_in,
            suite: up.suite,
            encr_key: up.keys.encr_in.as_bytes(),
            integ_key: up.keys.integ_in.as_bytes(),
            esn: up.esn,
            replay_window: up.replay_window,
            limits,
        })?;
        let outbound = OutboundSa::new(OutboundParams {
            spi: up.spi_out,
            suite: up.suite,
            encr_key: up.keys.encr_out.as_bytes(),
            integ_key: up.keys.integ_out.as_bytes(),
            iv_seed,
            esn: up.esn,
            limits,
        })?;
        Ok(Self {
            ike: up.ike,
            inbound: Arc::new(inbound),
            outbound: Arc::new(outbound),
            local_ts: up.local_ts.clone(),
            remote_ts: up.remote_ts.clone(),
            path: if up.encap { up.path.floated() } else { up.path },
            encap: up.encap,
            pfs: up.pfs,
            replay_window: up.replay_window,
            resource: up.resource,
            inbound_only: up.inbound_only,
            since: now,
            linger_until: None,
            seen: 0,
        })
    }

    /// The outer path of the datapath.
    pub(crate) fn outer(&self) -> tunnel::OuterPath {
        let Path { local, remote } = self.path;
        if self.encap {
            tunnel::OuterPath::Udp { local: SocketAddr::new(local.ip(), local.port()), remote }
        } else {
            tunnel::OuterPath::Esp { local: local.ip(), remote: remote.ip() }
        }
    }
}

/// Soft limits at 90 % of the hard ones: the same share the lifetime has by default.
fn limits(up: &ChildUp) -> Limits {
    let soft = |hard: Option<u64>| hard.map(|hard| hard - hard / 10);
    Limits {
        soft_bytes: soft(up.bytes),
        hard_bytes: up.bytes,
        soft_packets: soft(up.packets),
        hard_packets: up.packets,
    }
}

#[cfg(test)]
pub(crate) mod tests;
