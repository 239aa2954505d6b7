//! The host's own network as last read: links, addresses, and the main table without what we put there.
//!
//! The path to a peer's outer address is looked up here and nowhere else, so it can never lead into a
//! tunnel: our own routes and everything that leaves by a tunnel interface are not in this picture.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use inet::Prefix;

/// What the shell read from the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Underlay {
    /// Every link, by index.
    pub links: BTreeMap<u32, Link>,
    /// Every address on them.
    pub addresses: Vec<Address>,
    /// Unicast routes of the table `main`, ours excepted.
    pub routes: Vec<UnderlayRoute>,
    /// Prefixes of unicast routes in `main` that lead somewhere, but not to one next hop on one link.
    pub unread: Vec<Prefix>,
}

/// A network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Its MTU, octets.
    pub mtu: u32,
    /// Administratively up, and with a carrier.
    pub up: bool,
}

/// An address of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The link it is on.
    pub ifindex: u32,
    /// The address.
    pub address: IpAddr,
    /// The prefix it makes directly reachable.
    pub prefix: Prefix,
}

/// A route of someone else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnderlayRoute {
    /// The destination.
    pub prefix: Prefix,
    /// The gateway; `None` for a destination on the link.
    pub gateway: Option<IpAddr>,
    /// The link it leaves by.
    pub ifindex: u32,
    /// The preferred source.
    pub source: Option<IpAddr>,
    /// The metric; lower wins among equal prefixes.
    pub metric: u32,
    /// Who installed it (`rtm_protocol`).
    pub protocol: u8,
    /// Its own MTU, where one is set.
    pub mtu: Option<u32>,
}

/// The way to an outer address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OuterPath {
    /// The gateway; `None` when the address is on the link.
    pub gateway: Option<IpAddr>,
    /// The link.
    pub ifindex: u32,
    /// The address packets leave from.
    pub source: Option<IpAddr>,
    /// The largest packet the first hop takes, octets.
    pub mtu: u32,
}

impl Underlay {
    /// The way to `address`, as the kernel would choose it if no tunnel existed.
    #[must_use]
    pub fn path_to(&self, address: IpAddr, tunnels: &BTreeSet<u32>) -> Option<OuterPath> {
        self.best(address, |ifindex| !tunnels.contains(&ifindex))
    }

    /// The way to `address` for packets from `local`: by the link that holds it, where one does and leads there. An
    /// address whose link leads elsewhere alone (a loopback's, the inner network's) goes as the kernel would choose. None
    /// while its link is down, though others lead there: they carry nothing in its name.
    #[must_use]
    pub fn path_from(&self, local: IpAddr, address: IpAddr, tunnels: &BTreeSet<u32>) -> Option<OuterPath> {
        let own = self.path_by_link_of(local, address, tunnels);
        if own.is_some() {
            return own;
        }
        let elsewhere = self.link_of(local, tunnels).is_none()
            || self.holders(local, tunnels).any(|ifindex| self.is_up(ifindex));
        if elsewhere { self.path_to(address, tunnels) } else { None }
    }

    /// The way to `address` by the link that holds `local`, and by no other.
    #[must_use]
    pub fn path_by_link_of(
        &self,
        local: IpAddr,
        address: IpAddr,
        tunnels: &BTreeSet<u32>,
    ) -> Option<OuterPath> {
        let holders: Vec<u32> = self.holders(local, tunnels).collect();
        let own = self.best(address, |ifindex| holders.contains(&ifindex));
        own.map(|path| OuterPath { source: Some(local), ..path })
    }

    /// The link that holds one of our addresses, up or not.
    #[must_use]
    pub fn link_of(&self, local: IpAddr, tunnels: &BTreeSet<u32>) -> Option<u32> {
        self.holders(local, tunnels).next()
    }

    fn holders(&self, local: IpAddr, tunnels: &BTreeSet<u32>) -> impl Iterator<Item = u32> {
        self.addresses
            .iter()
            .filter(move |held| held.address == local && !tunnels.contains(&held.ifindex))
            .map(|held| held.ifindex)
    }

    /// The best of the routes to `address` by links that are up and that `by` takes.
    fn best(&self, address: IpAddr, by: impl Fn(u32) -> bool) -> Option<OuterPath> {
        let usable = |route: &&UnderlayRoute| {
            route.prefix.contains(address) && by(route.ifindex) && self.is_up(route.ifindex)
        };
        let best = self
            .routes
            .iter()
            .filter(usable)
            .min_by_key(|route| (std::cmp::Reverse(route.prefix.len()), route.metric))?;
        let link = self.links.get(&best.ifindex)?;
        Some(OuterPath {
            gateway: best.gateway,
            ifindex: best.ifindex,
            source: best.source.or_else(|| self.source_on(best.ifindex, address, best.gateway)),
            mtu: best.mtu.map_or(link.mtu, |mtu| mtu.min(link.mtu)),
        })
    }

    /// Prefixes that a route by a link that is up leads to, tunnels excepted: an address in none of them has no
    /// [path](Self::path_to).
    pub fn reached<'a>(&'a self, tunnels: &'a BTreeSet<u32>) -> impl Iterator<Item = Prefix> + 'a {
        let by_it = |ifindex: u32| !tunnels.contains(&ifindex) && self.is_up(ifindex);
        self.routes.iter().filter(move |route| by_it(route.ifindex)).map(|route| route.prefix)
    }

    /// Is there such a link, and does it carry?
    fn is_up(&self, ifindex: u32) -> bool {
        self.links.get(&ifindex).is_some_and(|link| link.up)
    }

    /// Can `address` be reached through this very link?
    #[must_use]
    pub fn leads(&self, address: IpAddr, ifindex: u32) -> bool {
        self.is_up(ifindex)
            && self.routes.iter().any(|route| route.ifindex == ifindex && route.prefix.contains(address))
    }

    /// Is the way to `address` surely none at all, when [`path_to`](Self::path_to) finds none? Not so where a route is
    /// not understood here, nor where this host has no such addresses and sends nothing from them.
    #[must_use]
    pub fn is_complete_for(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|held| held.address.is_ipv4() == address.is_ipv4())
            && !self.unread.iter().any(|prefix| prefix.contains(address))
    }

    /// Is all the same but for what these links are like and the routes by them?
    #[must_use]
    pub fn same_outside(&self, other: &Self, tunnels: &BTreeSet<u32>) -> bool {
        let links = |of: &Self| -> Vec<(u32, Link)> {
            let outside = of.links.iter().filter(|(ifindex, _)| !tunnels.contains(ifindex));
            outside.map(|(ifindex, link)| (*ifindex, link.clone())).collect()
        };
        let routes = |of: &Self| -> Vec<UnderlayRoute> {
            of.routes.iter().filter(|route| !tunnels.contains(&route.ifindex)).copied().collect()
        };
        self.addresses == other.addresses
            && self.unread == other.unread
            && links(self) == links(other)
            && routes(self) == routes(other)
    }

    /// Is it an address of this host?
    #[must_use]
    pub fn is_local(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|a| a.address == address)
    }

    /// The first address of a link, for `local = "eth0"`.
    #[must_use]
    pub fn address_of(&self, name: &str, ipv4: bool) -> Option<IpAddr> {
        let (index, _) = self.links.iter().find(|(_, link)| link.name == name)?;
        self.addresses
            .iter()
            .find(|a| a.ifindex == *index && a.address.is_ipv4() == ipv4 && !is_link_local(a.address))
            .map(|a| a.address)
    }

    /// Prefixes on our own links, tunnels excepted: what a peer must never draw away.
    pub fn connected(&self, tunnels: &BTreeSet<u32>) -> impl Iterator<Item = Prefix> {
        self.addresses.iter().filter(move |a| !tunnels.contains(&a.ifindex)).map(|a| a.prefix)
    }

    /// The address on that link nearest to the next hop: one that shares its subnet, else the first.
    fn source_on(&self, ifindex: u32, to: IpAddr, gateway: Option<IpAddr>) -> Option<IpAddr> {
        let hop = gateway.unwrap_or(to);
        let on_link =
            || self.addresses.iter().filter(|a| a.ifindex == ifindex && a.address.is_ipv4() == to.is_ipv4());
        on_link().find(|a| a.prefix.contains(hop)).or_else(|| on_link().next()).map(|a| a.address)
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAN: u32 = 2;
    const TUN: u32 = 9;

    fn route(prefix: &str, gateway: Option<&str>, ifindex: u32, metric: u32) -> UnderlayRoute {
        UnderlayRoute {
            prefix: prefix.parse().unwrap(),
            gateway: gateway.map(|g| g.parse().unwrap()),
            ifindex,
            source: None,
            metric,
            protocol: 4,
            mtu: None,
        }
    }

    fn underlay(routes: Vec<UnderlayRoute>) -> Underlay {
        let link = |name: &str, mtu| Link { name: name.into(), mtu, up: true };
        Underlay {
            links: [(WAN, link("eth0", 1500)), (TUN, link("vti0", 1400))].into(),
            addresses: vec![Address {
                ifindex: WAN,
                address: "203.0.113.1".parse().unwrap(),
                prefix: "203.0.113.0/24".parse().unwrap(),
            }],
            routes,
            unread: Vec::new(),
        }
    }

    #[test]
    fn a_path_never_leads_into_a_tunnel_however_specific_its_route() {
        let underlay = underlay(vec![
            route("0.0.0.0/0", Some("203.0.113.254"), WAN, 0),
            route("192.0.2.0/24", None, TUN, 0),
        ]);
        let path = underlay.path_to("192.0.2.1".parse().unwrap(), &[TUN].into()).unwrap();
        assert_eq!((path.ifindex, path.mtu), (WAN, 1500));
        assert_eq!(path.source, Some("203.0.113.1".parse().unwrap()));
    }

    #[test]
    fn longer_prefixes_win_then_lower_metrics() {
        let underlay = underlay(vec![
            route("0.0.0.0/0", Some("203.0.113.254"), WAN, 0),
            route("192.0.2.0/24", Some("203.0.113.9"), WAN, 100),
            route("192.0.2.0/24", Some("203.0.113.8"), WAN, 10),
        ]);
        let path = underlay.path_to("192.0.2.1".parse().unwrap(), &BTreeSet::new()).unwrap();
        assert_eq!(path.gateway, Some("203.0.113.8".parse().unwrap()));
    }

    #[test]
    fn an_address_leaves_by_the_link_that_holds_it_whatever_other_routes_are_better() {
        const SECOND: u32 = 3;
        let peer = "192.0.2.1".parse().unwrap();
        let held = "203.0.113.1".parse().unwrap();
        let none = BTreeSet::new();
        let mut underlay = underlay(vec![
            route("0.0.0.0/0", Some("203.0.113.254"), WAN, 200),
            route("192.0.2.0/24", Some("198.51.100.254"), SECOND, 100),
        ]);
        underlay.links.insert(SECOND, Link { name: "eth1".into(), mtu: 1400, up: true });
        assert_eq!(underlay.path_to(peer, &none).unwrap().ifindex, SECOND);
        let path = underlay.path_from(held, peer, &none).unwrap();
        assert_eq!((path.ifindex, path.source, path.mtu), (WAN, Some(held), 1500));
        // An address nobody holds, and one on a link that leads elsewhere, go as everything goes.
        assert_eq!(underlay.path_from("203.0.113.9".parse().unwrap(), peer, &none).unwrap().ifindex, SECOND);
        let default = underlay.routes.remove(0);
        assert_eq!(underlay.path_from(held, peer, &none).unwrap().ifindex, SECOND);
        // Down, it carries nothing, and nobody else does in its name.
        underlay.routes.push(default);
        underlay.links.get_mut(&WAN).unwrap().up = false;
        assert_eq!(underlay.path_from(held, peer, &none), None);
        assert_eq!(underlay.link_of(held, &none), Some(WAN));
    }

    #[test]
    fn an_interface_leads_where_one_of_its_routes_does_while_it_is_up() {
        let mut underlay = underlay(vec![
            route("0.0.0.0/0", Some("203.0.113.254"), WAN, 0),
            route("10.0.0.0/8", None, TUN, 0),
        ]);
        let outside = "192.0.2.1".parse().unwrap();
        assert!(underlay.leads(outside, WAN));
        assert!(!underlay.leads(outside, TUN));
        underlay.links.get_mut(&WAN).unwrap().up = false;
        assert!(!underlay.leads(outside, WAN));
    }

    #[test]
    fn where_a_route_is_not_understood_nothing_is_said_of_there_being_no_path() {
        let mut underlay = underlay(Vec::new());
        let peer = "192.0.2.1".parse().unwrap();
        assert!(underlay.is_complete_for(peer));
        underlay.unread.push("192.0.0.0/16".parse().unwrap());
        assert!(!underlay.is_complete_for(peer));
        assert!(!underlay.is_complete_for("2001:db8::1".parse().unwrap()), "no address of that family");
    }

    #[test]
    fn what_is_reached_is_what_has_a_path() {
        let mut underlay = underlay(vec![
            route("10.0.0.0/8", Some("203.0.113.254"), WAN, 0),
            route("172.16.0.0/12", None, TUN, 0),
        ]);
        let reached = |underlay: &Underlay| underlay.reached(&[TUN].into()).collect::<Vec<_>>();
        assert_eq!(reached(&underlay), ["10.0.0.0/8".parse().unwrap()], "not what only a tunnel leads to");
        underlay.links.get_mut(&WAN).unwrap().up = false;
        assert_eq!(reached(&underlay), []);
    }

    #[test]
    fn what_changes_of_a_tunnel_alone_leaves_the_outside_the_same() {
        let route = |ifindex| route("10.0.0.0/8", None, ifindex, 0);
        let (tunnels, before) = ([TUN].into(), underlay(vec![route(WAN), route(TUN)]));
        let mut after = before.clone();
        after.links.get_mut(&TUN).unwrap().mtu = 1300;
        after.routes.pop();
        assert!(before != after && before.same_outside(&after, &tunnels));
        assert!(!before.same_outside(&after, &BTreeSet::new()), "it may be no tunnel of ours");
        after.addresses.push(Address { ifindex: TUN, ..after.addresses[0] });
        assert!(!before.same_outside(&after, &tunnels), "an address is the host's, wherever it is");
        after.addresses.pop();
        after.links.get_mut(&WAN).unwrap().up = false;
        assert!(!before.same_outside(&after, &tunnels));
    }

    #[test]
    fn a_link_without_carrier_carries_no_path() {
        let mut underlay = underlay(vec![route("0.0.0.0/0", Some("203.0.113.254"), WAN, 0)]);
        underlay.links.get_mut(&WAN).unwrap().up = false;
        assert!(underlay.path_to("192.0.2.1".parse().unwrap(), &BTreeSet::new()).is_none());
    }
}
