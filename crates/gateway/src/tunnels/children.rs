//! IKE's CHILD SAs as the datapath's SAs: which one to send on, and how long the old ones are opened.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crypto::Group;
use esp::{InboundParams, InboundSa, Limits, OutboundParams, OutboundSa, SetupError};
use ike::{ChildId, ChildUp, IkeId, Path, Role};
use inet::Selector;

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
    /// It lost a collision and only hears what is still under way on it.
    inbound_only: bool,
    pub(crate) since: Instant,
    /// Gone for IKE; opened until then for packets still under way.
    pub(crate) linger_until: Option<Instant>,
    /// Packets opened when the IKE engine was last told that the peer lives.
    pub(crate) seen: u64,
}

/// The CHILD SAs of one tunnel.
#[derive(Default)]
pub(crate) struct Children {
    all: BTreeMap<ChildId, Child>,
    sending: Option<ChildId>,
    /// Made by the peer's rekey: sent on once the peer has shown that it holds the keys.
    next: Option<ChildId>,
}

impl Children {
    /// Takes a new CHILD SA in. `iv_seed` is fresh randomness for its IVs.
    pub(crate) fn up(&mut self, up: &ChildUp, iv_seed: [u8; 16], now: Instant) -> Result<(), SetupError> {
        let child = Child::new(up, iv_seed, now)?;
        self.all.insert(up.child, child);
        if up.inbound_only {
            return Ok(());
        }
        let old = up.replaces.filter(|old| self.sending == Some(*old));
        match (old, up.role) {
            (Some(_), Role::Responder) => self.next = Some(up.child),
            (Some(_), Role::Initiator) | (None, _) => {
                self.sending = Some(up.child);
                self.next = None;
            }
        }
        Ok(())
    }

    /// A CHILD SA ended for IKE. Its inbound half is opened a little longer.
    pub(crate) fn down(&mut self, id: ChildId, linger: Duration, now: Instant) {
        let Some(child) = self.all.get_mut(&id) else { return };
        if linger.is_zero() {
            self.all.remove(&id);
        } else {
            child.linger_until = Some(now + linger);
        }
        if self.next == Some(id) {
            self.next = None;
        }
        if self.sending == Some(id) {
            self.sending = self.next.take().or_else(|| self.newest());
        }
    }

    /// The first packet on an SA: the peer holds its keys. True when that changes what we send on.
    pub(crate) fn first_packet(&mut self, spi_in: u32) -> bool {
        let arrived = |id: &ChildId| self.all.get(id).is_some_and(|child| child.inbound.spi() == spi_in);
        match self.next.filter(arrived) {
            Some(id) => {
                self.sending = Some(id);
                self.next = None;
                true
            }
            None => false,
        }
    }

    /// Drops the SAs whose time of lingering is over; true when there were any.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        let before = self.all.len();
        self.all.retain(|_, child| child.linger_until.is_none_or(|until| until > now));
        self.all.len() != before
    }

    /// The next time [`expire`](Self::expire) will find something.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.all.values().filter_map(|child| child.linger_until).min()
    }

    /// The SA to send on.
    pub(crate) fn sending(&self) -> Option<(ChildId, &Child)> {
        let id = self.sending?;
        self.all.get(&id).map(|child| (id, child))
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

    fn newest(&self) -> Option<ChildId> {
        self.all
            .iter()
            .rev()
            .find(|(_, child)| child.linger_until.is_none() && !child.inbound_only)
            .map(|(id, _)| *id)
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
