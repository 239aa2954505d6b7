//! Between which outer addresses ESP packets travel, and in which clothes.

use std::net::{IpAddr, SocketAddr};

/// The outer path of an SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OuterPath {
    /// ESP in UDP (RFC 3948), from and to these addresses and ports.
    Udp {
        /// Our address; its port is the socket's, normally 4500.
        local: SocketAddr,
        /// The peer's address and port, as a NAT shows it.
        remote: SocketAddr,
    },
    /// ESP as IP protocol 50.
    Esp {
        /// Our address.
        local: IpAddr,
        /// The peer's address.
        remote: IpAddr,
    },
}

impl OuterPath {
    /// Our outer address.
    #[must_use]
    pub fn local(&self) -> IpAddr {
        match self {
            Self::Udp { local, .. } => local.ip(),
            Self::Esp { local, .. } => *local,
        }
    }

    /// The peer's outer address.
    #[must_use]
    pub fn remote(&self) -> IpAddr {
        match self {
            Self::Udp { remote, .. } => remote.ip(),
            Self::Esp { remote, .. } => *remote,
        }
    }

    /// Is ESP carried in UDP?
    #[must_use]
    pub fn is_udp(&self) -> bool {
        matches!(self, Self::Udp { .. })
    }

    /// Does a packet that came on `self` show that the peer of `known` is elsewhere now?
    ///
    /// Only UDP mappings move (RFC 3948, RFC 7296 section 2.23). A packet in the other clothes from the
    /// same peer is accepted and tells nothing.
    #[must_use]
    pub fn moved_from(&self, known: &Self) -> bool {
        match (self, known) {
            (Self::Udp { remote, .. }, Self::Udp { remote: before, .. }) => remote != before,
            (Self::Udp { .. }, Self::Esp { .. })
            | (Self::Esp { .. }, Self::Udp { .. })
            | (Self::Esp { .. }, Self::Esp { .. }) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_udp_mapping_can_move() {
        let udp = |remote: &str| OuterPath::Udp {
            local: "192.0.2.1:4500".parse().unwrap(),
            remote: remote.parse().unwrap(),
        };
        let esp =
            OuterPath::Esp { local: "192.0.2.1".parse().unwrap(), remote: "192.0.2.9".parse().unwrap() };
        assert!(udp("192.0.2.2:4501").moved_from(&udp("192.0.2.2:4500")));
        assert!(!udp("192.0.2.2:4500").moved_from(&udp("192.0.2.2:4500")));
        assert!(!udp("192.0.2.2:4500").moved_from(&esp));
        assert!(!esp.moved_from(&udp("192.0.2.2:4500")));
    }
}
