//! The guard no policy can lift: own prefixes echoed back, the tunnels' own addresses, and prefixes
//! that never belong in a routing table.
//!
//! AS-path loop detection does not catch an echo: a head-end that holds our address as a static route
//! of its own announces it with its AS alone in the path.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::LazyLock;

use inet::{Prefix, PrefixMap};

/// How a prefix came to be ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Own {
    /// We announce it (`networks`, `redistribute`).
    Originated,
    /// It lies on one of our interfaces.
    Connected,
}

/// Why the guard keeps a route out of the decision. Closed: the counter, the log line and `show` share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Excluded {
    /// Equal to, or inside, a prefix we originate or are connected to.
    OwnPrefix {
        /// Our prefix.
        own: Prefix,
        /// How it is ours.
        how: Own,
    },
    /// The host route of a tunnel's outer address, ours or a peer's: it would pull the tunnel into a tunnel.
    OuterEndpoint(IpAddr),
    /// The host route of an address a BGP session uses, ours or a peer's.
    SessionAddress(IpAddr),
    /// Inside a block that is never routed (RFC 6890).
    Martian(Prefix),
}

impl fmt::Display for Excluded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnPrefix { own, how: Own::Originated } => {
                write!(f, "own prefix: inside {own}, which we originate")
            }
            Self::OwnPrefix { own, how: Own::Connected } => {
                write!(f, "own prefix: inside {own}, which is connected here")
            }
            Self::OuterEndpoint(address) => write!(f, "outer address of a tunnel: {address}"),
            Self::SessionAddress(address) => write!(f, "address of a BGP session: {address}"),
            Self::Martian(block) => write!(f, "martian: inside {block}"),
        }
    }
}

/// What must never be learned, whatever a policy permits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    own: BTreeMap<Prefix, Own>,
    outer: BTreeSet<IpAddr>,
    sessions: BTreeSet<IpAddr>,
}

impl Guard {
    /// Only the martians.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a prefix of ours. Equal and longer prefixes are kept out; of a default route of ours only
    /// the equal one, since everything is longer than that.
    pub fn add_own(&mut self, prefix: Prefix, how: Own) {
        self.own.entry(prefix).and_modify(|old| *old = (*old).min(how)).or_insert(how);
    }

    /// Adds an outer address of a tunnel, ours or the peer's.
    pub fn add_outer(&mut self, address: IpAddr) {
        self.outer.insert(address);
    }

    /// Adds an address of a BGP session, ours or the peer's, or an address of a tunnel interface.
    pub fn add_session(&mut self, address: IpAddr) {
        self.sessions.insert(address);
    }

    /// Why `prefix` must be kept out; `None` when it may go on to the policy.
    ///
    /// The most telling reason first: an outer address inside our own LAN is named as outer address.
    #[must_use]
    pub fn check(&self, prefix: &Prefix) -> Option<Excluded> {
        self.check_endpoint(prefix)
            .or_else(|| self.check_own(prefix))
            .or_else(|| martian(prefix).map(Excluded::Martian))
    }

    /// What must not be announced either: host routes of outer and session addresses. A peer that
    /// learned one would send the tunnel's own packets into a tunnel.
    #[must_use]
    pub fn check_endpoint(&self, prefix: &Prefix) -> Option<Excluded> {
        if !prefix.is_host() {
            return None;
        }
        let address = prefix.addr();
        if self.outer.contains(&address) {
            return Some(Excluded::OuterEndpoint(address));
        }
        self.sessions.contains(&address).then_some(Excluded::SessionAddress(address))
    }

    fn check_own(&self, prefix: &Prefix) -> Option<Excluded> {
        (0..=prefix.len()).rev().find_map(|length| {
            let own = prefix.supernet(length)?;
            let how = *self.own.get(&own)?;
            (length > 0 || prefix.is_empty()).then_some(Excluded::OwnPrefix { own, how })
        })
    }
}

/// The block of RFC 6890 that holds `prefix`, if any. The default route is none, and private space is wanted.
#[must_use]
pub fn martian(prefix: &Prefix) -> Option<Prefix> {
    // RFC 6052 section 2.1: the NAT64 prefix lies in ::/8 and is routed inside a site.
    let (found, routed) = MARTIANS.longest_match(prefix.addr())?;
    (!*routed && found.covers(prefix)).then_some(found)
}

static MARTIANS: LazyLock<PrefixMap<bool>> = LazyLock::new(|| {
    const BLOCKS: &[(&str, bool)] = &[
        ("0.0.0.0/8", false),
        ("127.0.0.0/8", false),
        ("169.254.0.0/16", false),
        ("224.0.0.0/4", false),
        ("240.0.0.0/4", false),
        ("::/8", false),
        ("64:ff9b::/96", true),
        ("fe80::/10", false),
        ("ff00::/8", false),
    ];
    BLOCKS.iter().filter_map(|(text, routed)| Some((text.parse().ok()?, *routed))).collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    fn site() -> Guard {
        let mut guard = Guard::new();
        guard.add_own(prefix("192.168.1.0/24"), Own::Originated);
        guard.add_own(prefix("10.9.0.0/16"), Own::Connected);
        guard.add_outer("203.0.113.1".parse().unwrap());
        guard.add_outer("192.0.2.1".parse().unwrap());
        guard.add_session("192.168.1.1".parse().unwrap());
        guard.add_session("172.16.0.254".parse().unwrap());
        guard
    }

    #[test]
    fn an_own_prefix_echoed_is_kept_out_equal_or_longer_but_not_shorter() {
        let own = prefix("192.168.1.0/24");
        let excluded = Some(Excluded::OwnPrefix { own, how: Own::Originated });
        assert_eq!(site().check(&own), excluded);
        assert_eq!(site().check(&prefix("192.168.1.128/25")), excluded);
        assert_eq!(site().check(&prefix("192.168.0.0/16")), None);
        assert_eq!(
            site().check(&prefix("10.9.1.0/24")).unwrap().to_string(),
            "own prefix: inside 10.9.0.0/16, which is connected here"
        );
    }

    #[test]
    fn host_routes_of_outer_and_session_addresses_are_kept_out_and_wider_ones_pass() {
        for address in ["203.0.113.1", "192.0.2.1"] {
            let reason = site().check(&prefix(address)).unwrap();
            assert_eq!(reason, Excluded::OuterEndpoint(address.parse().unwrap()));
        }
        for address in ["192.168.1.1", "172.16.0.254"] {
            assert_eq!(
                site().check(&prefix(address)),
                Some(Excluded::SessionAddress(address.parse().unwrap()))
            );
        }
        for wide in ["192.0.2.0/24", "172.16.0.0/22", "0.0.0.0/0"] {
            assert_eq!(site().check(&prefix(wide)), None, "{wide}");
        }
    }

    #[test]
    fn a_default_route_of_ours_keeps_out_only_itself() {
        let mut guard = Guard::new();
        guard.add_own(Prefix::default_v4(), Own::Originated);
        assert!(guard.check(&Prefix::default_v4()).is_some());
        assert_eq!(guard.check(&prefix("172.16.0.0/12")), None);
        assert_eq!(guard.check(&Prefix::default_v6()), None);
    }

    #[test]
    fn martians_are_kept_out_and_private_space_is_not() {
        for bad in [
            "0.1.0.0/16",
            "127.0.0.1/32",
            "169.254.10.0/30",
            "224.0.0.5/32",
            "255.255.255.255/32",
            "fe80::/64",
            "ff02::1/128",
            "::1/128",
        ] {
            assert!(matches!(Guard::new().check(&prefix(bad)), Some(Excluded::Martian(_))), "{bad}");
        }
        for good in [
            "0.0.0.0/0",
            "0.0.0.0/1",
            "128.0.0.0/1",
            "10.0.0.0/8",
            "::/0",
            "fd00::/8",
            "64:ff9b::/96",
            "2000::/3",
        ] {
            assert_eq!(Guard::new().check(&prefix(good)), None, "{good}");
        }
    }
}
