//! The address families this speaker carries.

use std::fmt;

use inet::Prefix;

/// An address family with its subsequent identifier; unicast only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// AFI 1, SAFI 1.
    Ipv4Unicast,
    /// AFI 2, SAFI 1.
    Ipv6Unicast,
}

impl Family {
    /// Every family, in AFI order.
    pub const ALL: [Self; 2] = [Self::Ipv4Unicast, Self::Ipv6Unicast];

    /// The family a prefix belongs to.
    #[must_use]
    pub fn of(prefix: &Prefix) -> Self {
        if prefix.is_ipv4() { Self::Ipv4Unicast } else { Self::Ipv6Unicast }
    }

    /// From the numbers on the wire; `None` for what this speaker does not carry.
    #[must_use]
    pub fn from_wire(afi: u16, safi: u8) -> Option<Self> {
        match (afi, safi) {
            (1, 1) => Some(Self::Ipv4Unicast),
            (2, 1) => Some(Self::Ipv6Unicast),
            _ => None,
        }
    }

    /// The address family identifier (IANA).
    #[must_use]
    pub fn afi(self) -> u16 {
        match self {
            Self::Ipv4Unicast => 1,
            Self::Ipv6Unicast => 2,
        }
    }

    /// The subsequent address family identifier (IANA).
    #[must_use]
    pub fn safi(self) -> u8 {
        1
    }

    /// The longest prefix: 32 or 128.
    #[must_use]
    pub fn max_length(self) -> u8 {
        match self {
            Self::Ipv4Unicast => 32,
            Self::Ipv6Unicast => 128,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4Unicast => "ipv4 unicast",
            Self::Ipv6Unicast => "ipv6 unicast",
        })
    }
}

/// A set of families.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Families {
    v4: bool,
    v6: bool,
}

impl Families {
    /// None.
    pub const NONE: Self = Self { v4: false, v6: false };
    /// IPv4 unicast alone.
    pub const IPV4: Self = Self { v4: true, v6: false };
    /// IPv6 unicast alone.
    pub const IPV6: Self = Self { v4: false, v6: true };
    /// Both.
    pub const BOTH: Self = Self { v4: true, v6: true };

    /// Is `family` in it?
    #[must_use]
    pub fn contains(self, family: Family) -> bool {
        match family {
            Family::Ipv4Unicast => self.v4,
            Family::Ipv6Unicast => self.v6,
        }
    }

    /// Puts `family` in.
    pub fn insert(&mut self, family: Family) {
        match family {
            Family::Ipv4Unicast => self.v4 = true,
            Family::Ipv6Unicast => self.v6 = true,
        }
    }

    /// Takes `family` out; was it there?
    pub fn remove(&mut self, family: Family) -> bool {
        let slot = match family {
            Family::Ipv4Unicast => &mut self.v4,
            Family::Ipv6Unicast => &mut self.v6,
        };
        std::mem::take(slot)
    }

    /// What both have.
    #[must_use]
    pub fn intersect(self, other: Self) -> Self {
        Self { v4: self.v4 && other.v4, v6: self.v6 && other.v6 }
    }

    /// Is it the empty set?
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::NONE
    }

    /// The members, in AFI order.
    pub fn iter(self) -> impl Iterator<Item = Family> {
        Family::ALL.into_iter().filter(move |family| self.contains(*family))
    }
}

impl FromIterator<Family> for Families {
    fn from_iter<I: IntoIterator<Item = Family>>(items: I) -> Self {
        let mut set = Self::NONE;
        items.into_iter().for_each(|family| set.insert(family));
        set
    }
}
