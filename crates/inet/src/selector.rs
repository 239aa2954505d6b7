//! A traffic selector: addresses, protocol, ports (RFC 7296 section 3.13.1, RFC 4301 section 4.4.1.1).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::{AddressRange, PortRange, Prefix};

/// What traffic one side of a CHILD SA carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Selector {
    /// The addresses.
    pub addresses: AddressRange,
    /// IP protocol number; 0 is any.
    pub protocol: u8,
    /// The ports; all of them unless the protocol has ports and some were named.
    pub ports: PortRange,
}

/// Why a text is no selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// The part before the bracket is no prefix.
    #[error(transparent)]
    Prefix(#[from] crate::PrefixError),
    /// The bracket is not closed or has more than PROTO/PORT in it.
    #[error(
        "'{0}' is not a selector (want PREFIX[PROTO[/PORT]], as 198.51.100.1/32[gre] or 10.0.0.0/8[tcp/179])"
    )]
    Syntax(String),
    /// Neither a number below 256 nor a protocol name known here.
    #[error(
        "'{0}' is no IP protocol (a number, or one of icmp, tcp, udp, gre, esp, ah, icmpv6, ospf, sctp, l2tp)"
    )]
    Protocol(String),
    /// Not a port number.
    #[error("'{0}' is no port (0-65535)")]
    Port(String),
}

const PROTOCOLS: &[(&str, u8)] = &[
    ("icmp", 1),
    ("tcp", 6),
    ("udp", 17),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("icmpv6", 58),
    ("ospf", 89),
    ("l2tp", 115),
    ("sctp", 132),
];

impl Selector {
    /// All protocols and ports of a prefix.
    #[must_use]
    pub fn from_prefix(prefix: Prefix) -> Self {
        Self { addresses: prefix.into(), protocol: 0, ports: PortRange::ALL }
    }

    /// 0.0.0.0/0, any protocol.
    #[must_use]
    pub fn any_v4() -> Self {
        Self::from_prefix(Prefix::default_v4())
    }

    /// ::/0, any protocol.
    #[must_use]
    pub fn any_v6() -> Self {
        Self::from_prefix(Prefix::default_v6())
    }

    /// Does a packet's address, protocol and port on this side match?
    ///
    /// `port` is `None` where the packet has none to show (another protocol, or a later fragment);
    /// then only a selector with all ports matches.
    #[must_use]
    pub fn contains(&self, address: IpAddr, protocol: u8, port: Option<u16>) -> bool {
        self.addresses.contains(address)
            && (self.protocol == 0 || self.protocol == protocol)
            && (self.ports == PortRange::ALL || port.is_some_and(|port| self.ports.contains(port)))
    }

    /// Is all of `other` inside this one?
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.addresses.covers(&other.addresses)
            && (self.protocol == 0 || self.protocol == other.protocol)
            && self.ports.covers(&other.ports)
    }

    /// The traffic both name: what narrowing leaves (RFC 7296 section 2.9).
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        let protocol = match (self.protocol, other.protocol) {
            (0, p) | (p, 0) => p,
            (a, b) if a == b => a,
            _ => return None,
        };
        Some(Self {
            addresses: self.addresses.intersect(&other.addresses)?,
            protocol,
            ports: self.ports.intersect(&other.ports)?,
        })
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let syntax = || SelectorError::Syntax(text.to_owned());
        let Some((prefix, rest)) = text.split_once('[') else {
            return Ok(Self::from_prefix(text.parse()?));
        };
        let inside = rest.strip_suffix(']').ok_or_else(syntax)?;
        let (protocol, port) = match inside.split_once('/') {
            Some((protocol, port)) => (protocol, Some(port)),
            None => (inside, None),
        };
        if protocol.is_empty() || protocol.contains('[') {
            return Err(syntax());
        }
        let ports = port.map(parse_port).transpose()?.unwrap_or(PortRange::ALL);
        Ok(Self { ports, protocol: parse_protocol(protocol)?, ..Self::from_prefix(prefix.parse()?) })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.addresses)?;
        if self.protocol == 0 && self.ports == PortRange::ALL {
            return Ok(());
        }
        match PROTOCOLS.iter().find(|(_, number)| *number == self.protocol) {
            Some((name, _)) => write!(f, "[{name}")?,
            None => write!(f, "[{}", self.protocol)?,
        }
        match self.ports {
            PortRange::ALL => f.write_str("]"),
            PortRange { first, last } if first == last => write!(f, "/{first}]"),
            PortRange { first, last } => write!(f, "/{first}-{last}]"),
        }
    }
}

fn parse_protocol(text: &str) -> Result<u8, SelectorError> {
    PROTOCOLS
        .iter()
        .find(|(name, _)| *name == text)
        .map(|(_, number)| *number)
        .or_else(|| text.parse().ok())
        .ok_or_else(|| SelectorError::Protocol(text.to_owned()))
}

fn parse_port(text: &str) -> Result<PortRange, SelectorError> {
    let one = |text: &str| text.parse::<u16>().map_err(|_| SelectorError::Port(text.to_owned()));
    match text.split_once('-') {
        None => Ok(PortRange::one(one(text)?)),
        Some((first, last)) => {
            let (first, last) = (one(first)?, one(last)?);
            if first > last {
                return Err(SelectorError::Port(text.to_owned()));
            }
            Ok(PortRange { first, last })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(text: &str) -> Selector {
        text.parse().unwrap()
    }

    #[test]
    fn every_written_form_comes_back_as_written() {
        for text in [
            "0.0.0.0/0",
            "198.51.100.1/32[gre]",
            "10.0.0.0/8[tcp/179]",
            "::/0[99]",
            "10.0.0.0/8[udp/500-4500]",
        ] {
            assert_eq!(selector(text).to_string(), text);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            "",
            "[gre]",
            "10.0.0.0/8[",
            "10.0.0.0/8[]",
            "10.0.0.0/8[gre",
            "10.0.0.0/8[gre/x]",
            "10.0.0.0/8[nope]",
            "10.0.0.0/8[tcp/9-1]",
        ] {
            assert!(bad.parse::<Selector>().is_err(), "{bad}");
        }
    }

    #[test]
    fn narrowing_keeps_what_both_sides_name() {
        let got = Selector::any_v4().intersect(&selector("10.0.0.0/8[tcp/179]"));
        assert_eq!(got, Some(selector("10.0.0.0/8[tcp/179]")));
        assert_eq!(selector("10.0.0.0/8[tcp]").intersect(&selector("10.0.0.0/8[udp]")), None);
        assert_eq!(selector("10.0.0.0/8").intersect(&selector("11.0.0.0/8")), None);
        assert_eq!(Selector::any_v4().intersect(&Selector::any_v6()), None);
    }

    #[test]
    fn a_packet_without_a_port_matches_only_all_ports() {
        let address = "10.0.0.1".parse().unwrap();
        assert!(Selector::any_v4().contains(address, 17, None));
        assert!(!selector("10.0.0.0/8[udp/53]").contains(address, 17, None));
        assert!(selector("10.0.0.0/8[udp/53]").contains(address, 17, Some(53)));
    }
}
