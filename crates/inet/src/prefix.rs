//! An IPv4 or IPv6 prefix whose host bits are always zero.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;

/// A network prefix. Host bits beyond the length are zero by construction, so two spellings of one
/// prefix are equal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix(IpNet);

/// Why a text or a pair of address and length is no prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// The length exceeds 32 (IPv4) or 128 (IPv6).
    #[error("prefix length {0} is too long for {1}")]
    Length(u8, IpAddr),
    /// Not of the form ADDRESS/LENGTH or ADDRESS.
    #[error("'{0}' is not a prefix (want ADDRESS/LENGTH, as 192.0.2.0/24)")]
    Syntax(String),
    /// The text has bits set beyond its length.
    #[error("'{text}' has host bits set; the prefix is {prefix}")]
    HostBits {
        /// What was written.
        text: String,
        /// The prefix that was probably meant.
        prefix: Prefix,
    },
}

impl Prefix {
    /// The prefix of `length` bits that holds `address`; bits beyond the length are dropped.
    pub fn new(address: IpAddr, length: u8) -> Result<Self, PrefixError> {
        IpNet::new(address, length)
            .map(|net| Self(net.trunc()))
            .map_err(|_| PrefixError::Length(length, address))
    }

    /// The /32 or /128 of one address.
    #[must_use]
    pub fn host(address: IpAddr) -> Self {
        Self(IpNet::from(address))
    }

    /// 0.0.0.0/0.
    #[must_use]
    pub fn default_v4() -> Self {
        Self(ipnet::Ipv4Net::default().into())
    }

    /// ::/0.
    #[must_use]
    pub fn default_v6() -> Self {
        Self(ipnet::Ipv6Net::default().into())
    }

    /// The network address: the first of the prefix.
    #[must_use]
    pub fn addr(&self) -> IpAddr {
        self.0.addr()
    }

    /// The last address of the prefix.
    #[must_use]
    pub fn last(&self) -> IpAddr {
        self.0.broadcast()
    }

    /// The length in bits: 0-32 or 0-128.
    #[must_use]
    pub fn len(&self) -> u8 {
        self.0.prefix_len()
    }

    /// The default route of its family has no bits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Is it an IPv4 prefix?
    #[must_use]
    pub fn is_ipv4(&self) -> bool {
        matches!(self.0, IpNet::V4(_))
    }

    /// Does it stand for exactly one address?
    #[must_use]
    pub fn is_host(&self) -> bool {
        self.0.prefix_len() == self.0.max_prefix_len()
    }

    /// Does it hold this address?
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }

    /// Is `other` equal to or inside this prefix?
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.0.contains(&other.0)
    }

    /// The enclosing prefix of `length` bits; `None` when that is longer than this one.
    #[must_use]
    pub fn supernet(&self, length: u8) -> Option<Self> {
        if length > self.len() {
            return None;
        }
        Self::new(self.addr(), length).ok()
    }

    /// From text, but refusing host bits instead of dropping them: for places where a person wrote the text.
    pub fn parse_strict(text: &str) -> Result<Self, PrefixError> {
        let net = parse_net(text)?;
        if net.addr() != net.trunc().addr() {
            return Err(PrefixError::HostBits { text: text.to_owned(), prefix: Self(net.trunc()) });
        }
        Ok(Self(net))
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    /// ADDRESS/LENGTH, or a bare address for its host prefix. Host bits are dropped.
    fn from_str(text: &str) -> Result<Self, PrefixError> {
        parse_net(text).map(|net| Self(net.trunc()))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl From<IpAddr> for Prefix {
    fn from(address: IpAddr) -> Self {
        Self::host(address)
    }
}

impl From<Ipv4Addr> for Prefix {
    fn from(address: Ipv4Addr) -> Self {
        Self::host(address.into())
    }
}

impl From<Ipv6Addr> for Prefix {
    fn from(address: Ipv6Addr) -> Self {
        Self::host(address.into())
    }
}

fn parse_net(text: &str) -> Result<IpNet, PrefixError> {
    let bad = || PrefixError::Syntax(text.to_owned());
    let Some((address, length)) = text.split_once('/') else {
        return text.parse::<IpAddr>().map(IpNet::from).map_err(|_| bad());
    };
    let address: IpAddr = address.parse().map_err(|_| bad())?;
    let length: u8 = length.parse().map_err(|_| bad())?;
    IpNet::new(address, length).map_err(|_| PrefixError::Length(length, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_bits_are_dropped_when_parsed_and_refused_when_strict() {
        let prefix: Prefix = "192.168.1.77/24".parse().unwrap();
        assert_eq!(prefix.to_string(), "192.168.1.0/24");
        assert!(matches!(Prefix::parse_strict("192.168.1.77/24"), Err(PrefixError::HostBits { .. })));
    }

    #[test]
    fn a_bare_address_is_its_host_prefix() {
        assert_eq!("2001:db8::1".parse::<Prefix>().unwrap().to_string(), "2001:db8::1/128");
        assert!("10.0.0.1".parse::<Prefix>().unwrap().is_host());
    }

    #[test]
    fn covering_needs_the_same_family() {
        let all4 = Prefix::default_v4();
        assert!(all4.covers(&"10.0.0.0/8".parse().unwrap()));
        assert!(!all4.covers(&"2001:db8::/32".parse().unwrap()));
        assert!(!"10.0.0.0/8".parse::<Prefix>().unwrap().covers(&all4));
    }

    #[test]
    fn nonsense_is_refused_with_its_reason() {
        assert!(matches!("10.0.0.0/33".parse::<Prefix>(), Err(PrefixError::Length(33, _))));
        for bad in ["", "/", "10.0.0/8", "10.0.0.0/", "10.0.0.0/8/8", "10.0.0.0/-1", "::/129x"] {
            assert!(bad.parse::<Prefix>().is_err(), "{bad}");
        }
    }
}
