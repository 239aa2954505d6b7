//! The connections, and which of them a request between two addresses may be for.
//!
//! A thousand of them may have their peer at one address (behind a translator, at a hub), told apart by identity alone.
//! What a first message needs to know of them is gathered once, and again when one of them changes, not for each message.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use crate::config::{ConnId, Connection, Encapsulation, Path, Remote};
use crate::proposal::IkeProposal;

/// All connections; read as the map of their numbers.
#[derive(Default)]
pub(super) struct Register {
    all: BTreeMap<ConnId, Arc<Connection>>,
    /// Those that name an address of their peer, by that address.
    named: BTreeMap<IpAddr, BTreeSet<ConnId>>,
    /// Those whose peer may be anywhere.
    anywhere: BTreeSet<ConnId>,
    /// How many there are in all of `named`.
    places: usize,
    /// Looked up since the connections last changed: by our address, and the peer's if any of them names it.
    doors: BTreeMap<(IpAddr, Option<IpAddr>), Arc<Door>>,
}

/// Doors kept: as many as there are pairs of an address of this host and one of a peer, unless somebody plays with ours.
const DOORS: usize = 4096;

/// What a request between two addresses may be for.
#[derive(Debug, Default)]
pub(crate) struct Door {
    /// The connections the addresses fit, those that name the peer's first.
    pub(crate) candidates: Vec<ConnId>,
    /// Their suites, each once, in the same order.
    pub(crate) proposals: Vec<IkeProposal>,
    /// The likeliest one's.
    pub(crate) encapsulation: Encapsulation,
    /// How many of them name the peer's address.
    pub(crate) named: usize,
}

impl Door {
    /// How many of them take a peer from anywhere.
    pub(crate) fn anywhere(&self) -> usize {
        self.candidates.len() - self.named
    }
}

impl Deref for Register {
    type Target = BTreeMap<ConnId, Arc<Connection>>;

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

impl Register {
    pub(super) fn insert(&mut self, conn: ConnId, connection: Arc<Connection>) {
        self.remove(conn);
        match &connection.remote {
            // Without an identity to ask for it never answers.
            Remote::Any if connection.remote_id.is_none() => {}
            Remote::Any => _ = self.anywhere.insert(conn),
            Remote::Addresses(list) => {
                for address in list {
                    let new = self.named.entry(*address).or_default().insert(conn);
                    self.places += usize::from(new);
                }
            }
        }
        self.all.insert(conn, connection);
    }

    pub(super) fn remove(&mut self, conn: ConnId) {
        self.doors.clear();
        let Some(old) = self.all.remove(&conn) else { return };
        self.anywhere.remove(&conn);
        let Remote::Addresses(list) = &old.remote else { return };
        for address in list {
            let Some(there) = self.named.get_mut(address) else { continue };
            self.places -= usize::from(there.remove(&conn));
            if there.is_empty() {
                self.named.remove(address);
            }
        }
    }

    /// How many addresses the connections name, how many connections that is in all, and how many have their peer
    /// anywhere.
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        (self.named.len(), self.places, self.anywhere.len())
    }

    /// What a request on this path may be for; identities decide later.
    pub(super) fn door(&mut self, path: Path) -> Arc<Door> {
        let (local, remote) = (path.local.ip(), path.remote.ip());
        // All addresses that no connection names are alike, so that strangers' leave nothing here.
        let key = (local, Some(remote).filter(|remote| self.named.contains_key(remote)));
        if let Some(door) = self.doors.get(&key) {
            return Arc::clone(door);
        }
        if self.doors.len() >= DOORS {
            self.doors.clear();
        }
        let door = Arc::new(self.look(local, remote));
        self.doors.insert(key, Arc::clone(&door));
        door
    }

    fn look(&self, local: IpAddr, remote: IpAddr) -> Door {
        let fits = |conn: &&ConnId| self.all.get(*conn).is_some_and(|config| config.admits(local, remote));
        let named: Vec<ConnId> =
            self.named.get(&remote).into_iter().flatten().filter(fits).copied().collect();
        let mut door = Door { named: named.len(), candidates: named, ..Door::default() };
        door.candidates.extend(self.anywhere.iter().filter(fits));
        for config in door.candidates.iter().filter_map(|conn| self.all.get(conn)) {
            for proposal in &config.ike_proposals {
                if !door.proposals.contains(proposal) {
                    door.proposals.push(proposal.clone());
                }
            }
        }
        let first = door.candidates.first().and_then(|conn| self.all.get(conn));
        door.encapsulation = first.map(|config| config.encapsulation).unwrap_or_default();
        door
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crypto::Secret;

    fn connection(remote: Remote, suite: &str) -> Arc<Connection> {
        let mut connection = Connection::new("x", remote, Secret::from("of some length"));
        connection.remote_id = Some("fqdn:x.example".parse().unwrap());
        connection.ike_proposals = vec![IkeProposal::parse(suite).unwrap()];
        Arc::new(connection)
    }

    fn path(remote: &str) -> Path {
        Path::ike("192.0.2.1".parse().unwrap(), remote.parse().unwrap())
    }

    #[test]
    fn those_that_name_the_address_come_first_and_like_suites_stand_once() {
        let mut register = Register::default();
        let at = |address: &str| Remote::Addresses(vec![address.parse().unwrap()]);
        register.insert(ConnId(1), connection(Remote::Any, "aes128-sha256-curve25519"));
        for conn in 2..1000 {
            register.insert(ConnId(conn), connection(at("198.51.100.1"), "aes128gcm16-prfsha256-curve25519"));
        }
        register.insert(ConnId(1000), connection(at("198.51.100.2"), "aes256-sha256-curve25519"));
        let door = register.door(path("198.51.100.1"));
        assert_eq!((door.candidates.len(), door.named, door.anywhere()), (999, 998, 1));
        assert_eq!((door.candidates[0], door.candidates[998]), (ConnId(2), ConnId(1)));
        assert_eq!(door.proposals.len(), 2);
        assert_eq!(register.sizes(), (2, 999, 1));
        // Whoever else comes finds the one for all.
        let strangers = register.door(path("203.0.113.9"));
        assert_eq!((&strangers.candidates[..], strangers.named), (&[ConnId(1)][..], 0));
        assert!(Arc::ptr_eq(&strangers, &register.door(path("203.0.113.10"))));
    }

    #[test]
    fn a_change_of_a_connection_is_seen_at_once_and_nothing_of_it_stays() {
        let mut register = Register::default();
        let at = Remote::Addresses(vec!["198.51.100.1".parse().unwrap(), "198.51.100.2".parse().unwrap()]);
        register.insert(ConnId(1), connection(at, "aes128-sha256-curve25519"));
        assert_eq!(register.door(path("198.51.100.2")).named, 1);
        register.insert(ConnId(1), connection(Remote::Any, "aes128-sha256-curve25519"));
        let door = register.door(path("198.51.100.2"));
        assert_eq!((door.named, door.anywhere(), register.sizes()), (0, 1, (0, 0, 1)));
        register.remove(ConnId(1));
        assert!(register.door(path("198.51.100.2")).candidates.is_empty());
        assert_eq!(register.sizes(), (0, 0, 0));
    }
}
