//! Everything the gateway can ask for. The shell carries it out, decides nothing, and reports back.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bgp::ConnId;
use control::Answer;
use crypto::Secret;
use ike::{Transmit, Work, WorkId};
use tunnel::{Table, TunnelId};

use crate::fib::Change;
use crate::input::RequestId;
use crate::uplinks::Sources;

/// One effect.
pub enum Effect {
    /// Send an IKE message.
    SendIke {
        /// Where to, and what.
        message: Transmit,
        /// By this interface; 0 leaves it to the routes.
        ifindex: u32,
    },
    /// Compute a key exchange; comes back as `Input::Work`.
    Work(WorkId, Work),
    /// Look a name up; comes back as `Input::Resolved`.
    Resolve {
        /// For which tunnel.
        tunnel: TunnelId,
        /// The name.
        name: String,
    },
    /// From now on the datapath works by this table.
    Publish(Arc<Table>),
    /// About a tunnel's interface.
    Device(TunnelId, Device),
    /// Change routes; comes back as `Input::RoutesApplied`.
    Routes(Vec<Change>),
    /// Put up or take down the policy rules that keep outer packets out of our own table; comes back as
    /// `Input::RulesApplied`.
    Rules(Rules),
    /// Put up the policy rules that send packets from these addresses to the table of their uplink first; those of
    /// addresses not named go.
    Sources(Sources),
    /// From now on outer packets carry this mark, those of open sockets too; `None`: none.
    Mark(Option<u32>),
    /// From now on the log is written so.
    Logging(config::Log),
    /// Read the kernel; comes back as `Input::Kernel`.
    ReadKernel,
    /// About a BGP connection.
    Stream(StreamOp),
    /// The answer to a request.
    Answer(RequestId, Answer),
    /// Copy a tunnel's inner packets to whoever asked.
    Capture {
        /// Who.
        request: RequestId,
        /// Which tunnel.
        tunnel: TunnelId,
        /// Its device's name.
        interface: String,
    },
    /// Read the configuration file again; comes back as `Input::Reload`.
    ReadConfig(Option<RequestId>),
    /// A line for the log.
    Log(Line),
    /// All is ended: the process may go.
    Stopped,
}

/// About an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// Make it, or adopt the one an earlier run left; comes back as `Input::DeviceReady`.
    Open {
        /// The device's name.
        name: String,
        /// Addresses it shall have; others of it go.
        addresses: Vec<(IpAddr, u8)>,
        /// Its first MTU, octets.
        mtu: u32,
        /// How many queues it has.
        queues: usize,
    },
    /// Its MTU changed.
    Mtu(u32),
    /// Remove it.
    Close,
}

/// Policy rules for a table of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// Put them up: marked packets look in `main` alone; others in `main` without its default route, then in `table`.
    Install {
        /// Our table.
        table: u32,
        /// The mark of outer packets.
        mark: u32,
    },
    /// Take ours down.
    Remove {
        /// Our table.
        table: u32,
    },
}

/// About a BGP connection.
#[derive(Debug)]
pub enum StreamOp {
    /// Listen on port 179 of an address, through a tunnel's interface or not.
    Listen(Listener),
    /// No longer.
    Unlisten(Listener),
    /// Demand TCP-MD5 (RFC 2385) with this key of one who comes to a listener; `None` ends the demand.
    Password {
        /// At which listener.
        listener: Listener,
        /// Of whom.
        peer: IpAddr,
        /// With what.
        key: Option<Arc<Secret>>,
    },
    /// Connect; comes back as `Connected` or `ConnectFailed`.
    Connect {
        /// Which.
        conn: ConnId,
        /// From where, to where, and how.
        target: Target,
    },
    /// Write; comes back as `Written`, in as many pieces as it takes.
    Write {
        /// Where.
        conn: ConnId,
        /// What.
        bytes: Vec<u8>,
    },
    /// Close it, after what is under way if `drain`.
    Close {
        /// Which.
        conn: ConnId,
        /// Let a NOTIFICATION out first.
        drain: bool,
    },
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Listener {
    /// The tunnel and its interface, if bound to one.
    pub device: Option<(TunnelId, String)>,
    /// The address; unspecified for a neighbour without tunnel and source.
    pub address: IpAddr,
    /// The TTL of its answers: the largest its neighbours need.
    pub ttl: u8,
}

impl Listener {
    /// The port neighbours come to (RFC 4271 section 8.2.1.2).
    pub const PORT: u16 = 179;
}

/// How to reach a neighbour.
#[derive(Clone, Debug)]
pub struct Target {
    /// The neighbour.
    pub remote: SocketAddr,
    /// From this address.
    pub source: Option<IpAddr>,
    /// Through this device alone.
    pub device: Option<String>,
    /// Hops allowed: the TTL.
    pub ttl: u8,
    /// The largest TCP segment, octets; `None` leaves it to the route.
    pub mss: Option<u16>,
    /// The key of TCP-MD5 (RFC 2385), if the two agreed on one.
    pub password: Option<Arc<Secret>>,
}

/// A line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// How loud.
    pub level: Level,
    /// The tunnel it is about.
    pub tunnel: Option<Arc<str>>,
    /// The SA it is about.
    pub spi: Option<Spi>,
    /// The words.
    pub text: String,
}

/// What names an SA on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spi {
    /// An IKE SA.
    Ike {
        /// Of its initiator.
        initiator: u64,
        /// Of its responder; 0 while unknown.
        responder: u64,
    },
    /// A CHILD SA: of its inbound half.
    Esp(u32),
}

impl std::fmt::Display for Spi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ike { initiator, responder } => write!(f, "{initiator:016x}_i {responder:016x}_r"),
            Self::Esp(spi) => write!(f, "{spi:08x}"),
        }
    }
}

/// How loud a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Worth a night call.
    Warn,
    /// A change a user sees.
    Info,
    /// A deviation.
    Debug,
}
