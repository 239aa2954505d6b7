//! The routes we want in the kernel, reconciled with those that are there.
//!
//! Everyone states wishes; what differs from the kernel becomes one batch at a time, whose outcome comes back. The
//! kernel's identity of a route is table, prefix and metric; with one constant metric a (table, prefix) holds at most one
//! route of ours, but while the metric changes.
//!
//! | file | subject |
//! | --- | --- |
//! | [`mod@self`] | the words: places, hops, changes, wishes |
//! | `wishes` | who wants what |
//! | `table` | the table: wishes, what the kernel holds, the difference |

mod table;
mod wishes;

use std::net::IpAddr;

use inet::Prefix;

pub(crate) use table::Fib;

/// `rtm_protocol` of every route of ours: free in the registries in use, and easy to remember.
pub const PROTOCOL: u8 = 179;

/// Where a route stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The kernel's table.
    pub table: u32,
    /// The destination.
    pub prefix: Prefix,
}

/// What tells one route of ours from another in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Table and destination.
    pub key: Key,
    /// The metric.
    pub metric: u32,
}

/// Why a route is wanted. Where two want the same key, the first in this order has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Origin {
    /// The path to a peer's outer address through the underlay.
    Peer,
    /// A tunnel neighbour's address.
    Neighbor,
    /// From the file.
    Static,
    /// Learned.
    Bgp,
    /// A learned prefix whose tunnel is down.
    Unreachable,
    /// Left by an earlier run; stands as unreachable until its tunnel has spoken again.
    Stale,
}

impl Origin {
    /// All of them, in their order.
    pub(crate) const ALL: [Self; 6] =
        [Self::Peer, Self::Neighbor, Self::Static, Self::Bgp, Self::Unreachable, Self::Stale];

    /// As `show routes` prints it.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Neighbor => "neighbor",
            Self::Static => "static",
            Self::Bgp => "bgp",
            Self::Unreachable => "unreachable",
            Self::Stale => "stale",
        }
    }
}

/// Where packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hop {
    /// Out of a device, to a gateway on it or directly.
    Device {
        /// The device.
        ifindex: u32,
        /// The gateway.
        gateway: Option<IpAddr>,
        /// The preferred source.
        source: Option<IpAddr>,
    },
    /// Nowhere: the sender is told.
    Unreachable,
    /// Nowhere either: the way to a peer's outer address while there is none outside the tunnels. Another kind of
    /// route, so that the next run does not take it for a learned prefix that is refused.
    Prohibit,
}

/// One change for the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which route.
    pub key: Key,
    /// The metric of all our routes.
    pub metric: u32,
    /// What to do.
    pub op: Op,
}

/// What to do with a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Create it; fails if any route has the key.
    Add(Hop),
    /// Put it in the place of ours.
    Replace {
        /// What stands there now.
        old: Hop,
        /// What shall.
        new: Hop,
    },
    /// Remove ours.
    Delete(Hop),
}

/// What came of one change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Done, or it already was.
    Done,
    /// A route of someone else has the key.
    Foreign,
    /// Refused, in the kernel's words.
    Failed(String),
}

/// A wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Where to.
    pub(crate) hop: Hop,
    /// The tunnel or neighbour it comes from.
    pub(crate) from: String,
    /// While the kernel does not take it, packets are refused rather than left to the routes of others.
    pub(crate) closed: bool,
}

impl Wish {
    /// One that fails open, or that refuses anyway.
    pub(crate) fn new(hop: Hop, from: String) -> Self {
        Self { hop, from, closed: false }
    }
}
