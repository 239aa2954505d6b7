//! The inner packet: its headers read in place, and the few fields a tunnel may touch.
//!
//! The inner TTL or hop limit is never touched: whoever routed the packet into the tunnel decremented it
//! (RFC 4301 section 5.1.2.1, note 3).

pub mod ecn;
pub mod mss;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::octets::{get8, get16};

/// ICMP for IPv4.
pub const ICMP: u8 = 1;
/// TCP.
pub const TCP: u8 = 6;
/// UDP.
pub const UDP: u8 = 17;
/// ICMP for IPv6.
pub const ICMPV6: u8 = 58;

const DCCP: u8 = 33;
const SCTP: u8 = 132;
const UDP_LITE: u8 = 136;

pub(crate) const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
pub(crate) const DESTINATION_OPTIONS: u8 = 60;

/// More extension headers than this are not walked: no honest packet has them.
const MAX_EXTENSIONS: usize = 8;

/// Which part of a datagram a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragment {
    /// All of it.
    Whole,
    /// The first fragment: the transport header is here.
    First,
    /// A later fragment.
    Later,
}

/// What was read off an inner packet's headers. Lengths and offsets were checked against the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inner {
    /// Where it comes from.
    pub source: IpAddr,
    /// Where it goes.
    pub destination: IpAddr,
    /// The transport protocol; behind extension headers, the first that is none.
    pub protocol: u8,
    /// Octets of the IP header with options or extension headers: where the transport header starts.
    pub transport: usize,
    /// Octets of the whole packet as its header says; never more than there are.
    pub total: usize,
    /// Whole or fragment.
    pub fragment: Fragment,
    /// The IPv4 don't-fragment bit; true for IPv6, whose routers never fragment.
    pub dont_fragment: bool,
    /// IPv4 TOS or IPv6 traffic class: DSCP and ECN.
    pub tos: u8,
    /// An IPv6 extension header stands before the transport header.
    pub extended: bool,
    ports: Option<(u16, u16)>,
}

/// Not an IP packet, or one that contradicts itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed IP packet")]
pub struct Malformed;

impl Inner {
    /// Reads the headers of a packet.
    pub fn parse(packet: &[u8]) -> Result<Self, Malformed> {
        let inner = match packet.first().map(|first| first >> 4) {
            Some(4) => Self::parse_v4(packet),
            Some(6) => Self::parse_v6(packet),
            Some(_) | None => None,
        };
        inner.ok_or(Malformed)
    }

    /// Is it IPv6?
    #[must_use]
    pub fn is_ipv6(&self) -> bool {
        self.source.is_ipv6()
    }

    /// What a selector calls the source port: a port, or type and code of an ICMP message as one number
    /// (RFC 7296 section 3.13.1). `None` where the packet has none to show.
    #[must_use]
    pub fn source_port(&self) -> Option<u16> {
        self.ports.map(|(source, _)| source)
    }

    /// The same for the destination.
    #[must_use]
    pub fn destination_port(&self) -> Option<u16> {
        self.ports.map(|(_, destination)| destination)
    }

    fn parse_v4(packet: &[u8]) -> Option<Self> {
        let header: &[u8; 20] = packet.first_chunk()?;
        let [first, tos, _, _, _, _, flags, offset, _, protocol, ..] = *header;
        let transport = usize::from(first & 0x0f) * 4;
        let total = usize::from(get16(packet, 2)?);
        if transport < 20 || total < transport || total > packet.len() {
            return None;
        }
        let fragment = match (u16::from_be_bytes([flags & 0x1f, offset]), flags & 0x20 != 0) {
            (0, false) => Fragment::Whole,
            (0, true) => Fragment::First,
            (_, _) => Fragment::Later,
        };
        let [.., s0, s1, s2, s3, d0, d1, d2, d3] = *header;
        Some(Self {
            source: Ipv4Addr::new(s0, s1, s2, s3).into(),
            destination: Ipv4Addr::new(d0, d1, d2, d3).into(),
            protocol,
            transport,
            total,
            fragment,
            dont_fragment: flags & 0x40 != 0,
            tos,
            extended: false,
            ports: ports(packet.get(transport..total)?, protocol, fragment),
        })
    }

    fn parse_v6(packet: &[u8]) -> Option<Self> {
        let header: &[u8; 40] = packet.first_chunk()?;
        let total = 40 + usize::from(get16(packet, 4)?);
        let packet = packet.get(..total)?;
        let walk = Walk::new(packet, header[6])?;
        let source: [u8; 16] = *packet.get(8..)?.first_chunk()?;
        let destination: [u8; 16] = *packet.get(24..)?.first_chunk()?;
        Some(Self {
            source: Ipv6Addr::from(source).into(),
            destination: Ipv6Addr::from(destination).into(),
            protocol: walk.protocol,
            transport: walk.at,
            total,
            fragment: walk.fragment,
            dont_fragment: true,
            tos: (get16(packet, 0)? >> 4) as u8,
            extended: walk.at != 40,
            ports: ports(packet.get(walk.at..)?, walk.protocol, walk.fragment),
        })
    }
}

/// A walk over IPv6 extension headers (RFC 8200 section 4).
struct Walk {
    protocol: u8,
    at: usize,
    fragment: Fragment,
}

impl Walk {
    fn new(packet: &[u8], next_header: u8) -> Option<Self> {
        let mut walk = Self { protocol: next_header, at: 40, fragment: Fragment::Whole };
        for _ in 0..MAX_EXTENSIONS {
            if !walk.step(packet)? {
                return Some(walk);
            }
        }
        None
    }

    /// Goes one header on; `false` at the transport header.
    fn step(&mut self, packet: &[u8]) -> Option<bool> {
        let length = match self.protocol {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS if self.fragment != Fragment::Later => {
                (usize::from(get8(packet, self.at + 1)?) + 1) * 8
            }
            FRAGMENT if self.fragment == Fragment::Whole => {
                let field = get16(packet, self.at + 2)?;
                self.fragment = match (field & 0xfff8, field & 1 != 0) {
                    // An atomic fragment (RFC 6946) is a whole packet.
                    (0, false) => Fragment::Whole,
                    (0, true) => Fragment::First,
                    (_, _) => Fragment::Later,
                };
                8
            }
            _ => return Some(false),
        };
        self.protocol = get8(packet, self.at)?;
        self.at += length;
        (self.at <= packet.len()).then_some(true)
    }
}

fn ports(transport: &[u8], protocol: u8, fragment: Fragment) -> Option<(u16, u16)> {
    if fragment == Fragment::Later {
        return None;
    }
    match protocol {
        TCP | UDP | DCCP | SCTP | UDP_LITE => Some((get16(transport, 0)?, get16(transport, 2)?)),
        ICMP | ICMPV6 => get16(transport, 0).map(|kind| (kind, kind)),
        _ => None,
    }
}
