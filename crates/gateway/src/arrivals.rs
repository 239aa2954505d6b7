//! By which interface peers' messages came, so that the answers leave by it.

use std::collections::{BTreeMap, VecDeque};

use ike::{Path, Transmit};

use crate::gateway::Gateway;

/// Paths remembered: an answer follows its request within a key exchange, so the latest are enough.
const PATHS: usize = 4096;

/// The latest arrivals.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    by_path: BTreeMap<Path, u32>,
    /// In the order in which they were first heard of.
    order: VecDeque<Path>,
}

impl Arrivals {
    /// A message came on `path` by this interface; 0 says nothing.
    pub(crate) fn note(&mut self, path: Path, ifindex: u32) {
        if ifindex == 0 {
            return;
        }
        if self.by_path.insert(path, ifindex).is_some() {
            return;
        }
        self.order.push_back(path);
        if self.order.len() > PATHS
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_path.remove(&oldest);
        }
    }

    fn of(&self, path: &Path) -> Option<u32> {
        self.by_path.get(path).copied()
    }
}

impl Gateway {
    /// The interface an IKE message leaves by; 0 leaves it to the routes.
    ///
    /// An answer leaves by the one its request arrived on: a peer that nobody knew has no host route of its own yet, so a
    /// learned route could draw the answer into a tunnel. Where that interface leads nowhere near the peer, it is
    /// the one the underlay would take. What we ask ourselves leaves by the uplink that the file's `local` means, and
    /// goes to peers that have their route.
    pub(crate) fn way_out(&self, message: &Transmit) -> u32 {
        let (path, remote) = (message.path, message.path.remote.ip());
        if self.underlay.is_local(remote) {
            return 0;
        }
        if !message.is_response() {
            return self.uplink_of(path.local.ip(), remote);
        }
        let tunnels = self.tunnel_ifindexes();
        let Some(ifindex) = self.arrivals.of(&path).filter(|ifindex| !tunnels.contains(ifindex)) else {
            return 0;
        };
        if self.underlay.leads(remote, ifindex) {
            return ifindex;
        }
        self.underlay.path_to(remote, &tunnels).map_or(ifindex, |path| path.ifindex)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(port: u16) -> Path {
        Path {
            local: "192.0.2.1:500".parse().unwrap(),
            remote: std::net::SocketAddr::new("198.51.100.1".parse().unwrap(), port),
        }
    }

    #[test]
    fn the_latest_arrival_counts_and_the_oldest_paths_are_forgotten() {
        let mut arrivals = Arrivals::default();
        arrivals.note(path(1), 2);
        arrivals.note(path(1), 3);
        assert_eq!(arrivals.of(&path(1)), Some(3));
        arrivals.note(path(1), 0);
        assert_eq!(arrivals.of(&path(1)), Some(3), "the kernel did not say");
        for port in 2..=u16::try_from(PATHS).unwrap() + 1 {
            arrivals.note(path(port), 2);
        }
        assert_eq!((arrivals.by_path.len(), arrivals.order.len()), (PATHS, PATHS));
        assert_eq!((arrivals.of(&path(1)), arrivals.of(&path(2))), (None, Some(2)));
    }
}
