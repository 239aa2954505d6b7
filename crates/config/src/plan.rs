//! What the file means: names resolved, defaults filled in, secrets read. The engines' own types where they
//! have one; nothing optional by accident.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU8;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bgp::{NeighborConfig, SpeakerConfig};
use bgp_rib::{Guard, Own, PrefixList};
use crypto::Secret;
use ike::{Connection, Dpd, Encapsulation, EspProposal, Identity, IkeProposal, Lifetime};
use inet::{Prefix, Selector};
use tunnel::{DfPolicy, MssPolicy};

use crate::profile::Profile;

/// The whole plan.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// `[routes]`: where learned and static routes go.
    pub routes: Routes,
    /// `[control]`: where the daemon is asked.
    pub control: Control,
    /// `[log]`: how it speaks.
    pub log: Log,
    /// `[esp]`: how ESP gets in and out of this host.
    pub esp: Outer,
    /// `[tunnel.NAME]`, by name.
    pub tunnels: BTreeMap<Arc<str>, Tunnel>,
    /// `[router]` and `[bgp]`; `None` when the file has no `[bgp]`.
    pub bgp: Option<Bgp>,
    /// `[prefix_list]`, by name; policies hold the lists they use.
    pub prefix_lists: BTreeMap<Arc<str>, Arc<PrefixList>>,
}

impl Gateway {
    /// What no neighbour may teach us, as far as the file knows it: the networks we announce, the outer addresses that
    /// were written, and every address of a session or a tunnel's interface. Whoever runs the plan adds what only the
    /// host knows: connected subnets, redistributed routes, and the addresses DNS gave.
    #[must_use]
    pub fn guard(&self) -> Guard {
        let mut guard = Guard::new();
        for tunnel in self.tunnels.values() {
            tunnel
                .local
                .addresses()
                .chain(tunnel.remote.addresses())
                .for_each(|address| guard.add_outer(address));
            tunnel.interface.addresses.iter().for_each(|own| guard.add_session(own.address));
        }
        if let Some(bgp) = &self.bgp {
            bgp.networks.iter().for_each(|network| guard.add_own(*network, Own::Originated));
            for neighbor in bgp.neighbors.values() {
                guard.add_session(neighbor.session.address);
                neighbor.session.source.into_iter().for_each(|source| guard.add_session(source));
            }
        }
        guard
    }
}

/// Where routes go in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Routes {
    /// The kernel's table number; 254 is `main`. Outer packets are kept out of the tunnels by host routes in `main`,
    /// by a mark and rules in any other.
    pub table: u32,
    /// The one constant metric of every learned and static route: 1 to 4294967295.
    pub metric: u32,
}

impl Routes {
    /// The number of `main`.
    pub const MAIN: u32 = 254;
}

/// Where the daemon is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// The UNIX socket.
    pub socket: PathBuf,
}

/// How ESP gets in and out of this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outer {
    /// Names of the devices on which protocol 50 goes past the kernel's stack, each once, 8 at most; none: nowhere.
    pub af_xdp: Vec<String>,
}

/// How the daemon speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// Where and in what form.
    pub format: LogFormat,
    /// The least important line that is written.
    pub level: LogLevel,
}

/// Where log lines go and what they look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// The journal when a unit of systemd runs us, lines of JSON otherwise.
    #[default]
    Auto,
    /// The journal, with fields.
    Journal,
    /// A line of JSON each, on standard error.
    Json,
    /// For people, on standard error.
    Text,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogLevel {
    /// What went wrong for good.
    Error,
    /// What is worth a night call.
    Warn,
    /// What a user would notice.
    #[default]
    Info,
    /// Deviations of peers too.
    Debug,
    /// Every packet.
    Trace,
}

/// One tunnel: one peer, one CHILD SA, one interface.
#[derive(Clone, Debug)]
pub struct Tunnel {
    /// Its name: 1 to 64 of `A-Z a-z 0-9 _ - .`.
    pub name: Arc<str>,
    /// Whose defaults it took.
    pub profile: Profile,
    /// Our outer end.
    pub local: Local,
    /// The peer's outer end.
    pub remote: Remote,
    /// Who begins.
    pub start: Start,
    /// What becomes of learned prefixes with no other path while the tunnel is down.
    pub on_down: OnDown,
    /// The secret that proves us.
    pub psk_local: Arc<Secret>,
    /// The secret that proves the peer; mostly the same.
    pub psk_remote: Arc<Secret>,
    /// Who we say we are; `None`: the address used.
    pub local_id: Option<Identity>,
    /// Who the peer must prove to be; `None`: the address it is reached at. Never `None` with [`Remote::Any`].
    pub remote_id: Option<Identity>,
    /// `[tunnel.NAME.ike]`.
    pub ike: Ike,
    /// `[tunnel.NAME.esp]`.
    pub esp: Esp,
    /// `[tunnel.NAME.interface]`.
    pub interface: Interface,
    /// Pairs (ours, theirs) of BGP session addresses the agreed selectors must carry.
    pub must_cover: Vec<(IpAddr, IpAddr)>,
}

impl Tunnel {
    /// What the IKE engine is told, once names are addresses: `local` our addresses requests may arrive on (empty:
    /// any), `remote` where the peer is now (ignored with [`Remote::Any`]).
    #[must_use]
    pub fn connection(&self, local: Vec<IpAddr>, remote: Vec<IpAddr>) -> Connection {
        let remote = match self.remote {
            Remote::Any => ike::Remote::Any,
            Remote::Ends(_) => ike::Remote::Addresses(remote),
        };
        Connection {
            name: Arc::clone(&self.name),
            local,
            remote,
            local_id: self.local_id.clone(),
            remote_id: self.remote_id.clone(),
            psk_local: Arc::clone(&self.psk_local),
            psk_remote: Arc::clone(&self.psk_remote),
            ike_proposals: self.ike.proposals.clone(),
            esp_proposals: self.esp.proposals.clone(),
            local_ts: self.esp.local_ts.clone(),
            remote_ts: self.esp.remote_ts.clone(),
            must_cover: self.must_cover.clone(),
            encapsulation: self.esp.encapsulation,
            ike_lifetime: self.ike.lifetime,
            child_lifetime: self.esp.lifetime,
            child_bytes: self.esp.lifetime_bytes,
            child_packets: self.esp.lifetime_packets,
            dpd: self.ike.dpd,
            replay_window: self.esp.replay_window,
            accept_rekey_without_pfs: self.esp.accept_rekey_without_pfs,
            resource_sas: self.esp.resource_sas,
            keepalive: NAT_KEEPALIVE,
            linger: LINGER,
        }
    }
}

/// RFC 3948 section 4 gives 20 s as the default; NAT mappings of UDP live 30 s and more.
const NAT_KEEPALIVE: Duration = Duration::from_secs(20);
/// Longer than any packet is under way, shorter than anyone would notice the memory.
const LINGER: Duration = Duration::from_secs(5);

/// Our outer end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Local {
    /// Whatever address the route to the peer uses; requests are answered on every address.
    Any,
    /// Tried in this order. Never empty.
    Ends(Vec<LocalEnd>),
}

/// One of our outer ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalEnd {
    /// An address of this host.
    Address(IpAddr),
    /// The addresses of an interface, as they are when needed.
    Interface(String),
}

/// The peer's outer end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remote {
    /// Anywhere: we only answer, and its identity is all we know of it.
    Any,
    /// Tried in this order. Never empty.
    Ends(Vec<RemoteEnd>),
}

/// One of the peer's outer ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteEnd {
    /// An address.
    Address(IpAddr),
    /// A DNS name, looked up again on each dial.
    Name(String),
}

impl Local {
    /// The addresses that were written.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let ends = match self {
            Self::Any => &[][..],
            Self::Ends(ends) => ends,
        };
        ends.iter().filter_map(|end| match end {
            LocalEnd::Address(address) => Some(*address),
            LocalEnd::Interface(_) => None,
        })
    }
}

impl Remote {
    /// The addresses that were written.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let ends = match self {
            Self::Any => &[][..],
            Self::Ends(ends) => ends,
        };
        ends.iter().filter_map(|end| match end {
            RemoteEnd::Address(address) => Some(*address),
            RemoteEnd::Name(_) => None,
        })
    }
}

/// Who begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Start {
    /// We dial at once, and again for ever.
    #[default]
    Initiate,
    /// We dial when a packet wants through.
    OnDemand,
    /// We wait to be called.
    Respond,
}

/// What becomes of learned prefixes with no other path while the tunnel is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnDown {
    /// An unreachable route stands in their place: nothing leaves in clear.
    #[default]
    Unreachable,
    /// They go; packets follow whatever other route there is.
    Withdraw,
}

/// The IKE SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ike {
    /// Suites, the dearest first. Never empty.
    pub proposals: Vec<IkeProposal>,
    /// Its life; the soft time is random between 80 and 90 % unless `rekey` says otherwise.
    pub lifetime: Lifetime,
    /// Liveness and patience.
    pub dpd: Dpd,
}

/// The CHILD SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Esp {
    /// Suites, the dearest first, ESN included. Never empty.
    pub proposals: Vec<EspProposal>,
    /// Its life in time.
    pub lifetime: Lifetime,
    /// Its hard limit in bytes each way.
    pub lifetime_bytes: Option<u64>,
    /// Its hard limit in packets each way.
    pub lifetime_packets: Option<u64>,
    /// Anti-replay window in packets: 64 to 8192.
    pub replay_window: u32,
    /// The outer DF bit.
    pub df: DfPolicy,
    /// When ESP travels in UDP.
    pub encapsulation: Encapsulation,
    /// Our side's traffic. Never empty.
    pub local_ts: Vec<Selector>,
    /// The peer's side's traffic. Never empty.
    pub remote_ts: Vec<Selector>,
    /// A rekey without key exchange is accepted although our proposals name a group.
    pub accept_rekey_without_pfs: bool,
    /// How many CHILD SAs with the same selectors are kept with a peer that agrees (RFC 9611): 1 to 16.
    pub resource_sas: NonZeroU8,
}

/// The tunnel's device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name: 1 to 15 octets.
    pub name: String,
    /// Its addresses, host bits kept.
    pub addresses: Vec<InterfaceAddress>,
    /// Preferred source of every IPv4 route into the tunnel.
    pub source_v4: Option<Ipv4Addr>,
    /// Preferred source of every IPv6 route into the tunnel.
    pub source_v6: Option<Ipv6Addr>,
    /// Its MTU.
    pub mtu: Mtu,
    /// The ceiling on TCP's MSS.
    pub mss: MssPolicy,
    /// Queues of the device, each read by another worker: 1 to 16.
    pub queues: usize,
    /// Static routes into it.
    pub routes: Vec<Prefix>,
}

/// An address with the length of its subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceAddress {
    /// The address.
    pub address: IpAddr,
    /// 0 to 32 or 128.
    pub length: u8,
}

impl InterfaceAddress {
    /// The connected subnet.
    #[must_use]
    pub fn subnet(&self) -> Prefix {
        Prefix::new(self.address, self.length).unwrap_or_else(|_| Prefix::host(self.address))
    }
}

impl fmt::Display for InterfaceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// The device's MTU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mtu {
    /// The outer MTU less what this SA's ESP costs.
    #[default]
    Auto,
    /// This many octets: 576 to 65535, from 1280 with IPv6 inside.
    Fixed(u16),
}

/// The BGP speaker.
#[derive(Clone, Debug)]
pub struct Bgp {
    /// `[router]`.
    pub speaker: SpeakerConfig,
    /// Prefixes announced as ours.
    pub networks: Vec<Prefix>,
    /// Which of the host's routes are announced too.
    pub redistribute: Redistribute,
    /// `[bgp.neighbor.NAME]`, by name.
    pub neighbors: BTreeMap<Arc<str>, Neighbor>,
}

/// Which of the host's routes are announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Redistribute {
    /// Subnets of its interfaces, tunnels excepted.
    pub connected: bool,
    /// The tunnels' static routes.
    pub static_routes: bool,
    /// Routes someone else put into the table.
    pub kernel: bool,
}

/// One BGP neighbour. Its identity is its address together with its tunnel: the same address may stand behind two.
#[derive(Clone, Debug)]
pub struct Neighbor {
    /// What the speaker is told. With a tunnel its `source` is always there.
    pub session: NeighborConfig,
    /// TCP-MD5 (RFC 2385); for the sockets.
    pub password: Option<Arc<Secret>>,
}
