//! What comes out of the speaker, and the reasons it gives.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use bgp_rib::NeighborId;
use bgp_wire::{Family, Fault, Notification, PathAttributes};
use inet::Prefix;

use crate::neighbor::State;

/// One TCP connection. The speaker numbers those it dials, with the highest bit set; the caller numbers
/// those it accepts, without that bit, and uses no number twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

impl ConnId {
    pub(crate) const DIALLED: u64 = 1 << 63;

    /// Did the speaker dial it?
    #[must_use]
    pub fn is_dialled(self) -> bool {
        self.0 & Self::DIALLED != 0
    }
}

/// What the caller shall do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Dial this neighbour as its configuration says (source, device, TTL, port); answer with
    /// [`crate::Speaker::handle_connected`] or [`crate::Speaker::handle_connect_failed`].
    Connect {
        /// The number the connection will have.
        conn: ConnId,
        /// Whom to dial.
        neighbor: NeighborId,
    },
    /// Write these octets after all earlier ones, and report progress with [`crate::Speaker::handle_written`].
    /// A connection has one such write outstanding at a time, of bounded size; only a last NOTIFICATION may
    /// come behind one, followed by its close.
    Write {
        /// Where.
        conn: ConnId,
        /// Whole messages.
        bytes: Vec<u8>,
    },
    /// Close it, or stop dialling. It needs no answer; its number is forgotten.
    Close {
        /// Which.
        conn: ConnId,
        /// Let what is written reach the peer first (half-close, wait briefly): a reset could overtake the
        /// NOTIFICATION. Otherwise drop it at once.
        drain: bool,
    },
}

/// Why a dial failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectError {
    /// The peer's host answered and nobody listens, or its filter says no.
    Refused,
    /// No route or an ICMP unreachable.
    Unreachable,
    /// No answer.
    TimedOut,
    /// Anything else the system said.
    Other,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "TCP connection refused",
            Self::Unreachable => "peer unreachable",
            Self::TimedOut => "no answer to TCP connect",
            Self::Other => "TCP connect failed",
        })
    }
}

/// Why a session, or an attempt at one, ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResetCause {
    /// We ended it with this.
    Sent(Notification),
    /// The peer ended it with this.
    Received(Notification),
    /// The TCP connection closed without a word.
    Closed,
    /// The dial failed.
    ConnectFailed(ConnectError),
    /// The transport went down, in its own words.
    TransportDown(Arc<str>),
    /// The peer came back on a new connection while this one was silent.
    Replaced,
    /// The peer's gateway came again without memory, and the session did not outlive that.
    PeerRestarted,
}

impl fmt::Display for ResetCause {
    /// In words, saying who spoke.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sent(notification) => write!(f, "we sent {notification}"),
            Self::Received(notification) => write!(f, "peer sent {notification}"),
            Self::Closed => f.write_str("peer closed the TCP connection"),
            Self::ConnectFailed(error) => error.fmt(f),
            Self::TransportDown(reason) => write!(f, "transport down: {reason}"),
            Self::Replaced => f.write_str("peer came back on a new connection"),
            Self::PeerRestarted => f.write_str("peer restarted, and the session did not outlive it"),
        }
    }
}

/// Import or export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// What a neighbour tells us.
    Import,
    /// What we tell a neighbour.
    Export,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Import => "import",
            Self::Export => "export",
        })
    }
}

/// So many octets of a malformed message stand in its log line.
const SHOWN_OCTETS: usize = 128;

/// What an operator should know of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// The neighbour has sent four fifths of its limit.
    PrefixLimitNear {
        /// Of this family.
        family: Family,
        /// So many.
        count: u32,
        /// Of so many.
        limit: u32,
    },
    /// The neighbour has sent more than its limit; the session ends.
    PrefixLimitExceeded {
        /// Of this family.
        family: Family,
        /// The limit.
        limit: u32,
    },
    /// There is more to tell the neighbour than it is known to bear; the rest is held back.
    ExportLimit {
        /// How many prefixes are held back now.
        held: usize,
        /// The limit of each family.
        limit: u32,
    },
    /// Nothing is held back any more.
    ExportLimitCleared,
    /// The session is up and no route can pass in this direction (RFC 8212 or "none").
    PolicyDeniesAll(Way),
    /// An UPDATE was malformed and survived (RFC 7606); at most one such alarm a minute and neighbour.
    Malformed {
        /// What was wrong.
        faults: Vec<Fault>,
        /// The whole message.
        message: Vec<u8>,
    },
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PrefixLimitNear { family, count, limit } => {
                write!(f, "{count} prefixes of {family} received, limit {limit}")
            }
            Self::PrefixLimitExceeded { family, limit } => {
                write!(f, "more than {limit} prefixes of {family} received")
            }
            Self::ExportLimit { held, limit } => {
                write!(f, "{held} prefixes held back: the neighbour takes {limit}")
            }
            Self::ExportLimitCleared => f.write_str("no prefixes held back any more"),
            Self::PolicyDeniesAll(way) => write!(f, "{way} policy lets no route pass"),
            Self::Malformed { faults, message } => {
                f.write_str("malformed UPDATE")?;
                faults.iter().try_for_each(|fault| write!(f, "; {fault}"))?;
                // Its NLRI and attributes begin here; the neighbour's page has the whole.
                write!(f, "; {} octets: ", message.len())?;
                message.iter().take(SHOWN_OCTETS).try_for_each(|octet| write!(f, "{octet:02x}"))?;
                f.write_str(if message.len() > SHOWN_OCTETS { "..." } else { "" })
            }
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A neighbour's state moved.
    State {
        /// Whose.
        neighbor: NeighborId,
        /// From this.
        from: State,
        /// To this.
        to: State,
    },
    /// An established session or an attempt ended.
    Reset {
        /// Whose.
        neighbor: NeighborId,
        /// Was it established?
        established: bool,
        /// Why.
        cause: ResetCause,
        /// The prefixes it had taught that were in the decision.
        lost: Vec<Prefix>,
    },
    /// A peer that was to restart, and whose routes were kept meanwhile (RFC 4724 section 4.2), has lost them after all.
    Lost {
        /// Whose.
        neighbor: NeighborId,
        /// Those that were in the decision.
        lost: Vec<Prefix>,
    },
    /// The neighbour has sent all it has of a family: it said End-of-RIB, or had six minutes for it.
    EndOfRib {
        /// Whose.
        neighbor: NeighborId,
        /// Which.
        family: Family,
    },
    /// Something to be told.
    Alarm {
        /// About whom.
        neighbor: NeighborId,
        /// What.
        alarm: Alarm,
    },
}

/// A best path learned from a neighbour, as the forwarding table needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BestRoute {
    /// From whom, and so through which tunnel.
    pub neighbor: NeighborId,
    /// Where it points.
    pub next_hop: IpAddr,
    /// All that came with it.
    pub attributes: Arc<PathAttributes>,
}

/// The wanted forwarding state of one prefix. Only the latest state of a prefix is ever told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteDelta {
    /// The prefix.
    pub prefix: Prefix,
    /// Its best path; `None` when there is none, or when the prefix is our own.
    pub best: Option<BestRoute>,
}
