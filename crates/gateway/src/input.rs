//! Everything that can happen to the gateway.

use std::net::{IpAddr, SocketAddr};

use bgp::{ConnId, ConnectError};
use ike::{Path, WorkId, WorkOutcome};
use tunnel::{Report, TunnelId};

use crate::fib::{Applied, Hop, Place};
use crate::underlay::Underlay;

/// One input. The caller hands it over with the time, then drains the effects.
pub enum Input<'a> {
    /// An IKE message, its non-ESP marker taken off.
    Ike {
        /// Where it came to and from.
        path: Path,
        /// By which interface; 0 when the kernel did not say.
        ifindex: u32,
        /// From the IKE header on.
        bytes: &'a [u8],
    },
    /// Something the datapath saw.
    Report(Report),
    /// A key exchange is computed.
    Work(WorkId, WorkOutcome),
    /// A name was looked up.
    Resolved {
        /// For which tunnel.
        tunnel: TunnelId,
        /// Its addresses, or the resolver's words.
        outcome: Result<Vec<IpAddr>, String>,
    },
    /// The kernel was read.
    Kernel(KernelView),
    /// A batch of routes was carried out, in its order.
    RoutesApplied(Vec<Applied>),
    /// An interface is there, or why not.
    DeviceReady {
        /// Of which tunnel.
        tunnel: TunnelId,
        /// Its index, or the kernel's words.
        outcome: Result<u32, String>,
    },
    /// The kernel knows a smaller MTU on the way to a peer: a send was too big.
    PathMtu {
        /// The peer's outer address.
        remote: IpAddr,
        /// Octets.
        mtu: u32,
    },
    /// Something about a BGP connection.
    Stream(Stream<'a>),
    /// Someone asks.
    Request(RequestId, control::Request),
    /// The file was read again: the new plan, or every error in it.
    Reload(Option<RequestId>, Result<Box<config::Gateway>, String>),
    /// The policy rules are as asked, or the kernel's words.
    RulesApplied(Result<(), String>),
    /// End everything in order: DELETE and NOTIFICATION go out.
    Stop(Departure),
    /// Nothing but the time.
    Time,
}

/// What is left on the host when the process has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// Nothing: routes, rules and interfaces go.
    Stop,
    /// What fails closed, for the next run to take over: learned prefixes as unreachable, interfaces, static routes, rules.
    Restart,
}

/// Which request an answer is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What was read from the kernel.
#[derive(Clone, Debug, Default)]
pub struct KernelView {
    /// Links, addresses and other people's routes.
    pub underlay: Underlay,
    /// Our routes, in every table and with every metric.
    pub ours: Vec<(Place, Hop)>,
}

/// About a BGP connection.
pub enum Stream<'a> {
    /// Connected as asked.
    Connected {
        /// Which.
        conn: ConnId,
        /// Our end.
        local: SocketAddr,
        /// The neighbour's.
        remote: SocketAddr,
    },
    /// Not connected.
    ConnectFailed {
        /// Which.
        conn: ConnId,
        /// Why.
        error: ConnectError,
    },
    /// A neighbour came to one of our listeners.
    Accepted {
        /// Through which tunnel's interface; `None` for a listener without one.
        tunnel: Option<TunnelId>,
        /// The number the shell gave it, from [`crate::Gateway::next_conn`].
        conn: ConnId,
        /// Our end.
        local: SocketAddr,
        /// The neighbour's.
        remote: SocketAddr,
    },
    /// Octets came.
    Received {
        /// On which.
        conn: ConnId,
        /// The octets.
        bytes: &'a [u8],
    },
    /// The kernel took octets of the write under way.
    Written {
        /// On which.
        conn: ConnId,
        /// How many.
        count: usize,
    },
    /// It is over.
    Closed {
        /// Which.
        conn: ConnId,
    },
}
