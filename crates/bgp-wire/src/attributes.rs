//! What travels with a route (RFC 4271 section 5 and the RFCs of each later attribute).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{AsPath, AttributeType};

/// ORIGIN (RFC 4271 section 5.1.1); lower is preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// 0, printed `i`.
    Igp,
    /// 1, printed `e`.
    Egp,
    /// 2, printed `?`.
    Incomplete,
}

impl Origin {
    /// From the octet on the wire.
    #[must_use]
    pub fn from_wire(octet: u8) -> Option<Self> {
        match octet {
            0 => Some(Self::Igp),
            1 => Some(Self::Egp),
            2 => Some(Self::Incomplete),
            _ => None,
        }
    }

    /// The octet on the wire.
    #[must_use]
    pub fn wire(self) -> u8 {
        match self {
            Self::Igp => 0,
            Self::Egp => 1,
            Self::Incomplete => 2,
        }
    }

    /// The letter of routing tables: `i`, `e` or `?`.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::Igp => 'i',
            Self::Egp => 'e',
            Self::Incomplete => '?',
        }
    }
}

/// Where the route points: NEXT_HOP, or the next hop field of MP_REACH_NLRI (RFC 4760, RFC 2545).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NextHop {
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address, with the link-local one when both were given (RFC 2545 section 3).
    V6 {
        /// The global address, or the only one given.
        global: Ipv6Addr,
        /// The link-local address beside it.
        link_local: Option<Ipv6Addr>,
    },
}

impl NextHop {
    /// The address to resolve.
    #[must_use]
    pub fn address(self) -> IpAddr {
        match self {
            Self::V4(address) => address.into(),
            Self::V6 { global, .. } => global.into(),
        }
    }
}

impl From<IpAddr> for NextHop {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(global) => Self::V6 { global, link_local: None },
        }
    }
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address().fmt(f)
    }
}

/// AGGREGATOR (RFC 4271 section 5.1.7), after the AS4 merge of RFC 6793.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Aggregator {
    /// The AS that formed the aggregate.
    pub asn: u32,
    /// The speaker that formed it.
    pub address: Ipv4Addr,
}

/// A community (RFC 1997).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Community(pub u32);

impl Community {
    /// 65535:65281: not to leave the AS (RFC 1997).
    pub const NO_EXPORT: Self = Self(0xffff_ff01);
    /// 65535:65282: not to leave this router (RFC 1997).
    pub const NO_ADVERTISE: Self = Self(0xffff_ff02);
    /// 65535:65283: not to leave this sub-AS (RFC 1997).
    pub const NO_EXPORT_SUBCONFED: Self = Self(0xffff_ff03);
    /// 65535:0: the session is about to close (RFC 8326).
    pub const GRACEFUL_SHUTDOWN: Self = Self(0xffff_0000);
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NO_EXPORT => f.write_str("no-export"),
            Self::NO_ADVERTISE => f.write_str("no-advertise"),
            Self::NO_EXPORT_SUBCONFED => f.write_str("local-as"),
            Self::GRACEFUL_SHUTDOWN => f.write_str("graceful-shutdown"),
            Self(value) => write!(f, "{}:{}", value >> 16, value & 0xffff),
        }
    }
}

/// An extended community (RFC 4360), kept as its eight octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExtendedCommunity(pub [u8; 8]);

impl ExtendedCommunity {
    /// May it cross an AS boundary (RFC 4360 section 2, the T bit)?
    #[must_use]
    pub fn is_transitive(self) -> bool {
        self.0[0] & 0x40 == 0
    }
}

impl fmt::Display for ExtendedCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [kind, sub, a, b, c, d, e, g] = self.0;
        let name = match sub {
            2 => "rt:",
            3 => "soo:",
            _ => return write!(f, "0x{:016x}", u64::from_be_bytes(self.0)),
        };
        match kind & 0x3f {
            0 => write!(f, "{name}{}:{}", u16::from_be_bytes([a, b]), u32::from_be_bytes([c, d, e, g])),
            1 => write!(f, "{name}{}:{}", Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([e, g])),
            2 => write!(f, "{name}{}:{}", u32::from_be_bytes([a, b, c, d]), u16::from_be_bytes([e, g])),
            _ => write!(f, "0x{:016x}", u64::from_be_bytes(self.0)),
        }
    }
}

/// A large community (RFC 8092).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LargeCommunity {
    /// The AS that gives the rest its meaning.
    pub global: u32,
    /// The first value.
    pub local1: u32,
    /// The second value.
    pub local2: u32,
}

impl fmt::Display for LargeCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.global, self.local1, self.local2)
    }
}

/// An optional transitive attribute this speaker does not know, passed on as it came
/// (RFC 4271 section 5: with the Partial bit set).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnknownAttribute {
    /// Its type.
    pub kind: AttributeType,
    /// Was the Partial bit set when it came? It is always set when it is passed on.
    pub partial: bool,
    /// Its value.
    pub value: Vec<u8>,
}

/// Everything that travels with a route except its prefix.
///
/// Values are compared by content; two UPDATEs with the same attributes are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathAttributes {
    /// ORIGIN.
    pub origin: Origin,
    /// AS_PATH, after the AS4_PATH merge of RFC 6793.
    pub as_path: AsPath,
    /// NEXT_HOP, or the next hop of MP_REACH_NLRI.
    pub next_hop: NextHop,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// LOCAL_PREF. From an external peer it is always `None` (discarded); import policy may set it.
    pub local_pref: Option<u32>,
    /// ATOMIC_AGGREGATE.
    pub atomic_aggregate: bool,
    /// AGGREGATOR.
    pub aggregator: Option<Aggregator>,
    /// COMMUNITIES, in the order received.
    pub communities: Vec<Community>,
    /// ORIGINATOR_ID (RFC 4456); internal peers only.
    pub originator_id: Option<Ipv4Addr>,
    /// CLUSTER_LIST (RFC 4456); internal peers only.
    pub cluster_list: Vec<Ipv4Addr>,
    /// EXTENDED_COMMUNITIES, in the order received.
    pub extended_communities: Vec<ExtendedCommunity>,
    /// LARGE_COMMUNITY, in the order received.
    pub large_communities: Vec<LargeCommunity>,
    /// OTC (RFC 9234).
    pub only_to_customer: Option<u32>,
    /// Optional transitive attributes not known here, in ascending order of type.
    pub unknown: Vec<UnknownAttribute>,
}

impl PathAttributes {
    /// The attributes of a route originated here: ORIGIN IGP, an empty path and nothing else.
    #[must_use]
    pub fn originated(next_hop: NextHop) -> Self {
        Self {
            origin: Origin::Igp,
            as_path: AsPath::empty(),
            next_hop,
            med: None,
            local_pref: None,
            atomic_aggregate: false,
            aggregator: None,
            communities: Vec::new(),
            originator_id: None,
            cluster_list: Vec::new(),
            extended_communities: Vec::new(),
            large_communities: Vec::new(),
            only_to_customer: None,
            unknown: Vec::new(),
        }
    }
}
