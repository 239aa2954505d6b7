//! A tunnel as the gateway sees it: its dial, its CHILD SAs, its interface, its fate.

pub(crate) mod children;
pub(crate) mod dial;
mod events;
mod fate;
mod interface;
pub(crate) mod list;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use ::tunnel::TunnelId;
use config::Start;
use ike::{ConnId, IkeId};

use crate::effect::Spi;
use crate::why::{Code, Why};
use children::Children;
use dial::Dial;

/// One `[tunnel.X]`.
pub(crate) struct Tunnel {
    pub(crate) id: TunnelId,
    pub(crate) plan: config::Tunnel,
    pub(crate) dial: Dial,
    pub(crate) children: Children,
    pub(crate) device: DeviceState,
    /// Addresses of the peer that each of its names gave when last looked up.
    pub(crate) resolved: BTreeMap<String, Vec<IpAddr>>,
    /// The name looked up last.
    pub(crate) looked_up: String,
    /// Where the peer of the established IKE SA is.
    pub(crate) peer: Option<IpAddr>,
    /// Our outer address of it, or the one it is tried from.
    pub(crate) local: Option<IpAddr>,
    /// A smaller MTU the path showed, and when that is forgotten (RFC 1191 section 6.3).
    pub(crate) path_mtu: Option<(u32, Instant)>,
    /// The MTU the interface has now.
    pub(crate) mtu: u32,
    /// Its CHILD SA was cleared by command: another is made at once, whoever dialled for it.
    pub(crate) remake: bool,
    /// SPIs of its established IKE SAs.
    pub(crate) ike_spis: BTreeMap<IkeId, Spi>,
    /// Why it is down; kept until it is up.
    pub(crate) why: Option<Why>,
    /// Since when the whole state is what it is.
    pub(crate) since: Instant,
    /// Was it wholly up when last looked at?
    pub(crate) was_up: bool,
}

/// The interface's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DeviceState {
    /// Asked for.
    Opening,
    /// There, with this index.
    Ready(u32),
    /// Not to be had, in the kernel's words.
    Failed(String),
}

impl DeviceState {
    pub(crate) fn ifindex(&self) -> Option<u32> {
        match self {
            Self::Ready(ifindex) => Some(*ifindex),
            Self::Opening | Self::Failed(_) => None,
        }
    }
}

impl Tunnel {
    pub(crate) fn new(id: TunnelId, plan: config::Tunnel, now: Instant) -> Self {
        let mtu = interface::first_mtu(&plan);
        let why = match plan.start {
            Start::Initiate => None,
            Start::Respond => Some(Why::local(Code::WaitingForPeer, "waiting for the peer to dial", now)),
            Start::OnDemand => Some(Why::local(Code::WaitingForTraffic, "waiting for a packet", now)),
        };
        Self {
            id,
            dial: Dial::Waiting,
            children: Children::default(),
            device: DeviceState::Opening,
            resolved: BTreeMap::new(),
            looked_up: String::new(),
            peer: None,
            local: None,
            path_mtu: None,
            mtu,
            remake: false,
            ike_spis: BTreeMap::new(),
            why,
            since: now,
            was_up: false,
            plan,
        }
    }

    /// Its number in the IKE engine is the same as in the datapath.
    pub(crate) fn conn(&self) -> ConnId {
        ConnId(self.id.0)
    }

    /// Notes where the two ends are now, `None` for what is not known. Does the speaker have to hear of it, to which these
    /// are `guarded`?
    pub(crate) fn set_ends(
        &mut self,
        local: Option<IpAddr>,
        peer: Option<IpAddr>,
        guarded: &BTreeSet<IpAddr>,
    ) -> bool {
        let set = |end: &mut Option<IpAddr>, now: Option<IpAddr>| match now.filter(|now| *end != Some(*now)) {
            Some(now) => end.replace(now).is_some() || !guarded.contains(&now),
            None => false,
        };
        set(&mut self.local, local) | set(&mut self.peer, peer)
    }

    /// Does its CHILD SA carry traffic?
    pub(crate) fn carries(&self) -> bool {
        self.children.sending().is_some()
    }

    /// The preferred source of a route into it.
    pub(crate) fn source_for(&self, ipv4: bool) -> Option<IpAddr> {
        let interface = &self.plan.interface;
        if ipv4 { interface.source_v4.map(IpAddr::V4) } else { interface.source_v6.map(IpAddr::V6) }
    }
}
