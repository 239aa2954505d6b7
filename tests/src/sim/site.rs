//! One site: a gateway's process and the host it runs on. The host outlives the process.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use control::{Answer, Request};
use gateway::{Applied, Departure, Gateway, KernelView, Path, RequestId, TunnelId};
use ike::{WorkId, WorkOutcome};
use inet::Prefix;
use tunnel::{Report, Tick};

use super::datapath::Datapath;
use super::kernel::FakeKernel;
use super::tcp::{Tcp, TcpEvent};

/// An input that waits for its gateway.
pub(crate) enum Heard {
    Ike { path: Path, bytes: Vec<u8> },
    Report(Report),
    Work(WorkId, WorkOutcome),
    Resolved { tunnel: TunnelId, outcome: Result<Vec<IpAddr>, String> },
    Kernel(KernelView),
    Applied(Vec<Applied>),
    Device { tunnel: TunnelId, outcome: Result<u32, String> },
    PathMtu { remote: IpAddr, mtu: u32 },
    Tcp(TcpEvent),
    Request(RequestId, Request),
    Reload(Option<RequestId>),
    Rules,
    Stop(Departure),
    Time,
}

/// What a site is made of.
pub(crate) struct Site {
    pub(crate) name: String,
    /// Outer addresses of its host; behind a NAT box, inside ones.
    pub(crate) wan: Vec<IpAddr>,
    /// The host's address on its LAN, a /24.
    pub(crate) lan: Ipv4Addr,
    /// The configuration file's text, as it is on disk now.
    pub(crate) file: String,
    pub(crate) kernel: FakeKernel,
    pub(crate) tcp: Tcp,
    pub(crate) datapath: Datapath,
    /// The process, if it runs.
    pub(crate) gateway: Option<Gateway>,
    /// Counts processes: what was begun for an earlier one comes back to nobody.
    pub(crate) incarnation: u32,
    /// When the process began.
    pub(crate) origin: Instant,
    pub(crate) inbox: VecDeque<Heard>,
    /// The host thread does one thing after the other; it is free then.
    pub(crate) host_free: Instant,
    /// Batches of routes, and readings, under way.
    pub(crate) batches: usize,
    pub(crate) host_queue: usize,
    /// Key exchanges under way.
    pub(crate) works: usize,
    pub(crate) answers: BTreeMap<RequestId, Answer>,
    pub(crate) next_request: u64,
    pub(crate) stopped: bool,
    /// What the resolver knows.
    pub(crate) names: BTreeMap<String, Vec<IpAddr>>,
    /// Datagrams that came when no process ran.
    pub(crate) unheard: u64,
    /// A fault was put into the kernel: what is routed wrongly now is not the gateway's doing.
    pub(crate) tampered: bool,
    /// The file moves the routes: for a while the old ones stand beside the new.
    pub(crate) moves: bool,
    /// What outer packets carry, once a reload changed it.
    pub(crate) mark: Option<u32>,
    /// How the log is written, once a reload changed it.
    pub(crate) log: Option<config::Log>,
}

impl Site {
    pub(crate) fn new(name: &str, wan: &[&str], lan: &str, now: Instant) -> Self {
        let wan: Vec<IpAddr> = wan.iter().map(|address| address.parse().unwrap()).collect();
        let lan: Ipv4Addr = lan.parse().unwrap();
        Self {
            name: name.to_owned(),
            kernel: FakeKernel::new(&wan, lan.into()),
            wan,
            lan,
            file: String::new(),
            tcp: Tcp::default(),
            datapath: Datapath::new(),
            gateway: None,
            incarnation: 0,
            origin: now,
            inbox: VecDeque::new(),
            host_free: now,
            batches: 0,
            host_queue: 0,
            works: 0,
            answers: BTreeMap::new(),
            next_request: 0,
            stopped: false,
            names: BTreeMap::new(),
            unheard: 0,
            tampered: false,
            moves: false,
            mark: None,
            log: None,
        }
    }

    /// Coarse time as the datapath counts it.
    pub(crate) fn tick(&self, now: Instant) -> Tick {
        Tick(u64::try_from(now.saturating_duration_since(self.origin).as_millis()).unwrap())
    }

    /// The prefix of its LAN.
    pub(crate) fn lan_prefix(&self) -> Prefix {
        Prefix::new(self.lan.into(), 24).unwrap()
    }

    /// The tunnel that reads the device of this name.
    pub(crate) fn tunnel_named(&self, interface: &str) -> Option<TunnelId> {
        let gateway = self.gateway.as_ref()?;
        gateway.interfaces().find(|(_, name)| *name == interface).map(|(id, _)| id)
    }
}
