//! Address and port ranges as traffic selectors use them (RFC 7296 section 3.13.1).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::Prefix;

/// Addresses from `first` to `last`, both included, of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

impl AddressRange {
    /// `None` when the families differ or `first` is above `last`.
    #[must_use]
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        (first.is_ipv4() == last.is_ipv4() && first <= last).then_some(Self { first, last })
    }

    /// The lowest address.
    #[must_use]
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// The highest address.
    #[must_use]
    pub fn last(&self) -> IpAddr {
        self.last
    }

    /// Is it a range of IPv4 addresses?
    #[must_use]
    pub fn is_ipv4(&self) -> bool {
        self.first.is_ipv4()
    }

    /// Does it hold this address? Never for the other family.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.is_ipv4() && self.first <= address && address <= self.last
    }

    /// Is all of `other` inside?
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.contains(other.first) && self.contains(other.last)
    }

    /// The addresses both have.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        if self.is_ipv4() != other.is_ipv4() {
            return None;
        }
        Self::new(self.first.max(other.first), self.last.min(other.last))
    }

    /// The prefix that is exactly this range, where there is one.
    #[must_use]
    pub fn as_prefix(&self) -> Option<Prefix> {
        let length = match (self.first, self.last) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return None,
        };
        let prefix = Prefix::new(self.first, u8::try_from(length).ok()?).ok()?;
        (prefix.addr() == self.first && prefix.last() == self.last).then_some(prefix)
    }

    /// Every IPv4 address.
    #[must_use]
    pub fn all_v4() -> Self {
        Self { first: Ipv4Addr::UNSPECIFIED.into(), last: Ipv4Addr::BROADCAST.into() }
    }

    /// Every IPv6 address.
    #[must_use]
    pub fn all_v6() -> Self {
        Self { first: Ipv6Addr::UNSPECIFIED.into(), last: Ipv6Addr::from_bits(u128::MAX).into() }
    }
}

impl From<Prefix> for AddressRange {
    fn from(prefix: Prefix) -> Self {
        Self { first: prefix.addr(), last: prefix.last() }
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_prefix() {
            Some(prefix) => prefix.fmt(f),
            None => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

/// Ports (or ICMP type and code, packed as RFC 7296 section 3.13.1 has it) from `first` to `last`.
///
/// `first` above `last` is legal on the wire in one form, 65535 to 0, and means OPAQUE: the port is
/// not available to the filter, as in later fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortRange {
    /// The lowest port.
    pub first: u16,
    /// The highest port.
    pub last: u16,
}

impl PortRange {
    /// 0 to 65535.
    pub const ALL: Self = Self { first: 0, last: u16::MAX };

    /// One port.
    #[must_use]
    pub fn one(port: u16) -> Self {
        Self { first: port, last: port }
    }

    /// Does it hold this port?
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    /// Is all of `other` inside?
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// The ports both have.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        let (first, last) = (self.first.max(other.first), self.last.min(other.last));
        (first <= last).then_some(Self { first, last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: &str, last: &str) -> Option<AddressRange> {
        AddressRange::new(first.parse().unwrap(), last.parse().unwrap())
    }

    #[test]
    fn a_range_prints_as_a_prefix_only_when_it_is_one() {
        assert_eq!(range("10.0.0.0", "10.0.0.255").unwrap().to_string(), "10.0.0.0/24");
        assert_eq!(range("10.0.0.1", "10.0.0.254").unwrap().to_string(), "10.0.0.1-10.0.0.254");
        assert_eq!(AddressRange::all_v4().to_string(), "0.0.0.0/0");
        assert_eq!(AddressRange::all_v6().to_string(), "::/0");
    }

    #[test]
    fn families_never_mix() {
        assert!(range("10.0.0.0", "::1").is_none());
        assert!(AddressRange::all_v4().intersect(&AddressRange::all_v6()).is_none());
        assert!(!AddressRange::all_v6().contains("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn an_upside_down_range_is_none() {
        assert!(range("10.0.0.2", "10.0.0.1").is_none());
    }
}
