//! By which uplink a tunnel's outer packets leave: the one that holds the address they leave from, where the file
//! names that address; else the one the host's routes choose.
//!
//! The host route in `main` can name one uplink for a peer's address. Where several tunnels go to one address by
//! different uplinks, each of these uplinks has a table with its own host route, and a rule sends what comes from the
//! tunnel's local address there first.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use config::{Local, Routes};
use inet::Prefix;

use crate::fib::{Hop, Key, Wish};
use crate::gateway::Gateway;
use crate::looks;
use crate::tunnels::Tunnel;
use crate::tunnels::dial::Dial;
use crate::underlay::OuterPath;

/// The table of an uplink is this and the index of its link: far from numbers that people and programs choose.
const TABLES: u32 = 1_790_000_000;

/// Local addresses whose packets look into a table of their uplink first.
pub type Sources = BTreeMap<IpAddr, u32>;

/// Where the packets of one tunnel to one peer's address go.
#[derive(Clone, Copy)]
struct Way<'a> {
    /// The tunnel's name.
    from: &'a str,
    /// The address they leave from and its link, where the file names that address.
    uplink: Option<(IpAddr, u32)>,
    /// `None`: the kernel knows better.
    hop: Option<Hop>,
}

/// The host routes to one address of peers, and the rules they need.
#[derive(Default)]
pub(crate) struct PeerRoutes {
    pub(crate) wishes: Vec<(Key, Wish)>,
    pub(crate) sources: Sources,
}

impl Gateway {
    /// The host routes to an address, for every tunnel whose peer may be there.
    pub(crate) fn peer_routes(&self, remote: IpAddr, tunnels: &BTreeSet<u32>) -> PeerRoutes {
        let there = self.peers.tunnels_at(remote).filter_map(|id| self.tunnels.get(&id));
        let mut known: Vec<(&Tunnel, Way<'_>)> = Vec::new();
        let ways: Vec<Way<'_>> = there
            .map(|tunnel| {
                looks::count();
                let like = known.iter().find(|(other, _)| leave_alike(other, tunnel)).map(|(_, way)| *way);
                let way = like.unwrap_or_else(|| self.way(tunnel, remote, tunnels));
                if like.is_none() && known.len() < KINDS {
                    known.push((tunnel, way));
                }
                Way { from: &tunnel.plan.name, ..way }
            })
            .collect();
        let mut found = PeerRoutes::default();
        found.add(remote, &ways);
        found
    }

    fn way<'a>(&self, tunnel: &'a Tunnel, remote: IpAddr, tunnels: &BTreeSet<u32>) -> Way<'a> {
        let local = self.leaves_from(tunnel, remote);
        let path = self.path_of(tunnel, remote, local, tunnels);
        let hop = match path {
            Some(path) => Some(Hop::Device { ifindex: path.ifindex, gateway: path.gateway, source: None }),
            None => self.underlay.is_complete_for(remote).then_some(Hop::Prohibit),
        };
        let named = local.filter(|_| tunnel.plan.local != Local::Any);
        let uplink = named.and_then(|local| {
            let link = path.map(|path| path.ifindex).or_else(|| self.underlay.link_of(local, tunnels))?;
            Some((local, link))
        });
        Way { from: &tunnel.plan.name, uplink, hop }
    }

    /// The way from `local` to a peer's address. One that the file names leaves by its own link or not at all.
    pub(crate) fn path_of(
        &self,
        tunnel: &Tunnel,
        remote: IpAddr,
        local: Option<IpAddr>,
        tunnels: &BTreeSet<u32>,
    ) -> Option<OuterPath> {
        let any = || self.underlay.path_to(remote, tunnels);
        let Some(local) = local else { return any() };
        if tunnel.plan.local == Local::Any {
            return self.underlay.path_from(local, remote, tunnels).or_else(any);
        }
        if self.is_uplink_of(local, tunnels) {
            self.underlay.path_by_link_of(local, remote, tunnels)
        } else {
            self.underlay.path_from(local, remote, tunnels)
        }
    }

    /// Has the link that holds this address led to a peer of its tunnels? Then it is their uplink also while its routes are
    /// not there: one that comes back has its link before its routes, and until then nobody else carries anything in its name.
    fn is_uplink_of(&self, local: IpAddr, tunnels: &BTreeSet<u32>) -> bool {
        self.underlay.link_of(local, tunnels).is_some_and(|link| self.uplinks.contains(&(local, link)))
    }

    /// Notes the link that leads to a peer from an address, if it is that address's own.
    pub(crate) fn note_uplink(&mut self, local: IpAddr, remote: IpAddr) {
        let path = self.underlay.path_by_link_of(local, remote, &self.tunnel_ifindexes());
        self.uplinks.extend(path.map(|path| (local, path.ifindex)));
    }

    /// The same for every tunnel, as the host is now.
    pub(crate) fn note_uplinks(&mut self) {
        let tunnels = self.tunnel_ifindexes();
        for tunnel in self.tunnels.values() {
            for local in self.locals(&tunnel.plan.local) {
                let mut remotes = tunnel.known_remotes().chain(tunnel.peer);
                let path = remotes.find_map(|remote| self.underlay.path_by_link_of(local, remote, &tunnels));
                self.uplinks.extend(path.map(|path| (local, path.ifindex)));
            }
        }
        // What nobody holds any more is forgotten, so that this is never longer than the host's addresses.
        let held: BTreeSet<(IpAddr, u32)> =
            self.underlay.addresses.iter().map(|held| (held.address, held.ifindex)).collect();
        self.uplinks.retain(|known| held.contains(known));
    }

    /// The address a tunnel's packets to `remote` leave from, as far as that is certain: the one in use, the one it is
    /// tried from, or the first of the file that this host has.
    fn leaves_from(&self, tunnel: &Tunnel, remote: IpAddr) -> Option<IpAddr> {
        let in_use = local_in_use(tunnel);
        let fits = |local: &IpAddr| local.is_ipv4() == remote.is_ipv4() && self.underlay.is_local(*local);
        in_use.filter(fits).or_else(|| self.locals(&tunnel.plan.local).into_iter().find(fits))
    }

    /// The link an IKE request leaves by: that of the address it leaves from where the file names it and the link
    /// leads there, so that the first message goes right even before the host route is in the kernel. 0 leaves it to the routes.
    pub(crate) fn uplink_of(&self, local: IpAddr, remote: IpAddr) -> u32 {
        let named = |tunnel: &Tunnel| {
            tunnel.plan.local != Local::Any
                && (tunnel.peer == Some(remote) || tunnel.known_remotes().any(|known| known == remote))
                && self.locals(&tunnel.plan.local).contains(&local)
        };
        let mut there = self.peers.tunnels_at(remote).filter_map(|id| self.tunnels.get(&id));
        if !there.any(named) {
            return 0;
        }
        let tunnels = self.tunnel_ifindexes();
        if self.is_uplink_of(local, &tunnels) {
            return self.underlay.link_of(local, &tunnels).unwrap_or(0);
        }
        // By its own link or by the routes: a host may have rules of its own for what comes from that address.
        let held = self.underlay.path_by_link_of(local, remote, &tunnels);
        held.map_or(0, |path| path.ifindex)
    }
}

/// Kinds of tunnels to one address that are looked up once for all of a kind.
const KINDS: usize = 8;

/// The address of ours that it is up or dialling from.
fn local_in_use(tunnel: &Tunnel) -> Option<IpAddr> {
    tunnel.local.filter(|_| matches!(tunnel.dial, Dial::Up | Dial::Dialing { .. }))
}

/// Do the packets of both go the same way to an address they share?
fn leave_alike(a: &Tunnel, b: &Tunnel) -> bool {
    local_in_use(a) == local_in_use(b) && a.plan.local == b.plan.local
}

impl PeerRoutes {
    /// The ways to one address. In `main` stands the first that leads anywhere, of those that no rule could serve if there
    /// is one.
    fn add(&mut self, remote: IpAddr, ways: &[Way<'_>]) {
        let prefix = Prefix::host(remote);
        let leads = |way: &&Way<'_>| matches!(way.hop, Some(Hop::Device { .. }));
        let unnamed = ways.iter().find(|way| leads(way) && way.uplink.is_none());
        let Some(first) = unnamed.or_else(|| ways.iter().find(leads)).or_else(|| ways.first()) else {
            return;
        };
        let Some(hop) = first.hop else { return };
        let key = Key { table: Routes::MAIN, prefix };
        self.wishes.push((key, Wish::new(hop, first.from.to_owned())));
        if ways.iter().all(|way| way.hop == first.hop) {
            return;
        }
        for way in ways {
            if let (Some((local, link)), Some(hop)) = (way.uplink, way.hop) {
                let table = TABLES.saturating_add(link);
                self.wishes.push((Key { table, prefix }, Wish::new(hop, way.from.to_owned())));
                self.sources.insert(local, table);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "192.0.2.1";
    const FIRST: &str = "203.0.113.1";
    const SECOND: &str = "198.51.100.1";

    fn device(ifindex: u32) -> Hop {
        Hop::Device { ifindex, gateway: None, source: None }
    }

    fn way(local: &str, link: u32, hop: Hop) -> Way<'_> {
        Way { from: local, uplink: local.parse().ok().map(|local| (local, link)), hop: Some(hop) }
    }

    /// (table, hop) of the routes, and the rules.
    fn routes(ways: &[Way<'_>]) -> (Vec<(u32, Hop)>, Sources) {
        let mut found = PeerRoutes { wishes: Vec::new(), sources: Sources::new() };
        found.add(PEER.parse().unwrap(), ways);
        (found.wishes.iter().map(|(key, wish)| (key.table, wish.hop)).collect(), found.sources)
    }

    #[test]
    fn tunnels_that_leave_by_one_uplink_share_one_route_and_need_no_rule() {
        let both = [way(FIRST, 2, device(2)), way(SECOND, 2, device(2))];
        assert_eq!(routes(&both), (vec![(Routes::MAIN, device(2))], Sources::new()));
    }

    #[test]
    fn tunnels_to_one_address_by_two_uplinks_have_a_table_and_a_rule_each() {
        let both = [way(FIRST, 2, device(2)), way(SECOND, 3, device(3))];
        let (found, sources) = routes(&both);
        assert_eq!(found, [(Routes::MAIN, device(2)), (TABLES + 2, device(2)), (TABLES + 3, device(3))]);
        let rules = [(FIRST.parse().unwrap(), TABLES + 2), (SECOND.parse().unwrap(), TABLES + 3)];
        assert_eq!(sources, rules.into());
    }

    #[test]
    fn a_tunnel_whose_address_the_file_does_not_name_has_the_route_in_main() {
        let any = Way { uplink: None, ..way("any", 0, device(3)) };
        let (found, sources) = routes(&[way(FIRST, 2, device(2)), any]);
        assert_eq!(found, [(Routes::MAIN, device(3)), (TABLES + 2, device(2))]);
        assert_eq!(sources, [(FIRST.parse().unwrap(), TABLES + 2)].into());
    }

    #[test]
    fn an_uplink_that_is_down_refuses_in_its_own_table_and_leaves_main_to_the_other() {
        let both = [way(FIRST, 2, Hop::Prohibit), way(SECOND, 3, device(3))];
        let (found, sources) = routes(&both);
        assert_eq!(found, [(Routes::MAIN, device(3)), (TABLES + 2, Hop::Prohibit), (TABLES + 3, device(3))]);
        assert_eq!(sources.len(), 2);
        let alone = [way(FIRST, 2, Hop::Prohibit)];
        assert_eq!(routes(&alone), (vec![(Routes::MAIN, Hop::Prohibit)], Sources::new()));
    }
}
