//! A made-up kernel: devices, addresses, and routes whose identity is table, prefix and metric.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use gateway::{
    Address, Applied, Change, Device, Hop, KernelView, Key, Link, Op, PROTOCOL, Place, Rules, TunnelId,
    Underlay, UnderlayRoute,
};
use inet::Prefix;

/// The link to the outside.
pub(crate) const WAN: u32 = 2;
/// The link to the site's hosts.
pub(crate) const LAN: u32 = 3;
/// The table every process looks in.
pub(crate) const MAIN: u32 = 254;
/// `rtm_protocol` of a route the administrator made.
pub(crate) const STATIC: u8 = 4;
/// `rtm_protocol` of a route that came with an address.
const KERNEL: u8 = 2;
const FIRST_TUN: u32 = 10;
/// What DHCP clients give the default route; a learned default of a lower metric wins over it.
const DEFAULT_METRIC: u32 = 100;

/// What tells one route from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    pub(crate) table: u32,
    pub(crate) prefix: Prefix,
    pub(crate) metric: u32,
}

/// A route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) protocol: u8,
    pub(crate) hop: Hop,
}

/// A network device.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    pub(crate) link: Link,
    pub(crate) is_tun: bool,
    /// The running process that holds its queue.
    pub(crate) reader: Option<TunnelId>,
}

/// The kernel of one host. It outlives the gateway's process.
#[derive(Debug)]
pub(crate) struct FakeKernel {
    pub(crate) ports: BTreeMap<u32, Port>,
    pub(crate) addresses: Vec<Address>,
    pub(crate) routes: BTreeMap<Identity, Held>,
    /// The table of our own and its mark, when the rules for it are up.
    rules: Option<(u32, u32)>,
    next_index: u32,
    /// Prefixes a route of ours has led into a tunnel.
    pub(crate) learned: BTreeSet<Prefix>,
    /// The peers withdraw prefixes while they live: what goes may go.
    pub(crate) withdrawals: bool,
    /// Something of it changed since this was last cleared.
    pub(crate) touched: bool,
}

impl FakeKernel {
    /// A host with outer addresses on one /24 each, a LAN, and a default route.
    pub(crate) fn new(wan: &[IpAddr], lan: IpAddr) -> Self {
        let port = |name: &str| Port {
            link: Link { name: name.to_owned(), mtu: 1500, up: true },
            is_tun: false,
            reader: None,
        };
        let mut kernel = Self {
            ports: [(WAN, port("wan0")), (LAN, port("lan0"))].into(),
            addresses: Vec::new(),
            routes: BTreeMap::new(),
            rules: None,
            next_index: FIRST_TUN,
            learned: BTreeSet::new(),
            withdrawals: false,
            touched: false,
        };
        for address in wan {
            kernel.add_address(WAN, *address, 24);
        }
        kernel.add_address(LAN, lan, 24);
        let gateway = match wan[0] {
            IpAddr::V4(address) => {
                let [a, b, c, _] = address.octets();
                IpAddr::from([a, b, c, 254])
            }
            IpAddr::V6(_) => panic!("the simulated underlay is IPv4 alone"),
        };
        let hop = Hop::Device { ifindex: WAN, gateway: Some(gateway), source: None };
        let default = Identity { table: MAIN, prefix: Prefix::default_v4(), metric: DEFAULT_METRIC };
        kernel.routes.insert(default, Held { protocol: STATIC, hop });
        kernel
    }

    fn add_address(&mut self, ifindex: u32, address: IpAddr, length: u8) {
        let prefix = Prefix::new(address, length).unwrap();
        self.addresses.push(Address { ifindex, address, prefix });
        if !prefix.is_host() {
            let hop = Hop::Device { ifindex, gateway: None, source: Some(address) };
            self.routes.insert(Identity { table: MAIN, prefix, metric: 0 }, Held { protocol: KERNEL, hop });
        }
    }

    /// A process ended, in whatever way: nobody reads its devices any more.
    pub(crate) fn lose_readers(&mut self) {
        for port in self.ports.values_mut() {
            port.reader = None;
        }
    }

    /// Devices of an earlier run that the file no longer has.
    pub(crate) fn sweep(&mut self, kept: &BTreeSet<String>) {
        let gone: Vec<u32> = self
            .ports
            .iter()
            .filter(|(_, port)| port.is_tun && !kept.contains(&port.link.name))
            .map(|(index, _)| *index)
            .collect();
        for index in gone {
            self.remove_port(index);
        }
    }

    /// Carries out what is asked of a device; an answer when there is one.
    pub(crate) fn device(&mut self, tunnel: TunnelId, change: Device) -> Option<Result<u32, String>> {
        self.touched = true;
        match change {
            Device::Open { name, addresses, mtu, .. } => Some(Ok(self.open(tunnel, &name, &addresses, mtu))),
            Device::Mtu(mtu) => {
                let port = self.ports.values_mut().find(|port| port.reader == Some(tunnel))?;
                port.link.mtu = mtu;
                None
            }
            Device::Close => {
                let index = self.tun_of(tunnel)?;
                self.remove_port(index);
                None
            }
        }
    }

    fn open(&mut self, tunnel: TunnelId, name: &str, addresses: &[(IpAddr, u8)], mtu: u32) -> u32 {
        let known = self.ports.iter().find(|(_, port)| port.link.name == name).map(|(index, _)| *index);
        let index = known.unwrap_or(self.next_index);
        if known.is_none() {
            self.next_index += 1;
        }
        let link = Link { name: name.to_owned(), mtu, up: true };
        self.ports.insert(index, Port { link, is_tun: true, reader: Some(tunnel) });
        self.addresses.retain(|held| held.ifindex != index);
        self.routes.retain(|_, held| held.protocol != KERNEL || into(held.hop) != Some(index));
        for (address, length) in addresses {
            self.add_address(index, *address, *length);
        }
        index
    }

    pub(crate) fn remove_port(&mut self, index: u32) {
        self.touched = true;
        self.ports.remove(&index);
        self.addresses.retain(|held| held.ifindex != index);
        self.routes.retain(|_, held| into(held.hop) != Some(index));
    }

    /// The device a tunnel of the running process reads.
    pub(crate) fn tun_of(&self, tunnel: TunnelId) -> Option<u32> {
        self.ports.iter().find(|(_, port)| port.reader == Some(tunnel)).map(|(index, _)| *index)
    }

    pub(crate) fn is_tun(&self, ifindex: u32) -> bool {
        self.ports.get(&ifindex).is_some_and(|port| port.is_tun)
    }

    pub(crate) fn rules(&mut self, rules: Rules) {
        self.touched = true;
        self.rules = match rules {
            Rules::Install { table, mark } => Some((table, mark)),
            Rules::Remove { .. } => None,
        };
    }

    /// One change, as netlink would answer it.
    pub(crate) fn apply(&mut self, change: &Change) -> Applied {
        self.touched = true;
        let Key { table, prefix } = change.key;
        let identity = Identity { table, prefix, metric: change.metric };
        let held = self.routes.get(&identity).copied();
        let foreign = held.is_some_and(|held| held.protocol != PROTOCOL);
        match change.op {
            Op::Add(hop) if held.is_none_or(|held| !foreign && held.hop == hop) => self.put(identity, hop),
            // The shell finds ours there, but different, and renews it.
            Op::Add(hop) | Op::Replace { new: hop, .. } if !foreign => self.put(identity, hop),
            Op::Add(_) | Op::Replace { .. } => Applied::Foreign,
            Op::Delete(_) if foreign => Applied::Done,
            Op::Delete(_) => {
                self.routes.remove(&identity);
                if self.withdrawals {
                    self.learned.remove(&prefix);
                }
                Applied::Done
            }
        }
    }

    fn put(&mut self, identity: Identity, hop: Hop) -> Applied {
        if let Hop::Device { ifindex, .. } = hop {
            let Some(port) = self.ports.get(&ifindex) else {
                return Applied::Failed("No such device (os error 19)".to_owned());
            };
            if !port.link.up {
                return Applied::Failed("Network is down (os error 100)".to_owned());
            }
            if source_of(hop).is_some_and(|source| !self.is_local(source)) {
                return Applied::Failed("Invalid argument (os error 22)".to_owned());
            }
            if self.is_tun(ifindex) {
                self.learned.insert(identity.prefix);
            }
        }
        self.routes.insert(identity, Held { protocol: PROTOCOL, hop });
        Applied::Done
    }

    /// A route of someone else.
    pub(crate) fn put_foreign(&mut self, prefix: Prefix, metric: u32, hop: Hop) {
        self.touched = true;
        self.routes.insert(Identity { table: MAIN, prefix, metric }, Held { protocol: STATIC, hop });
    }

    /// An address goes, and without a word every route that has it for its source.
    pub(crate) fn lose_address(&mut self, address: IpAddr) {
        self.touched = true;
        self.addresses.retain(|held| held.address != address);
        self.routes.retain(|_, held| source_of(held.hop) != Some(address));
    }

    /// It comes back, a /24.
    pub(crate) fn gain_address(&mut self, ifindex: u32, address: IpAddr) {
        self.touched = true;
        self.add_address(ifindex, address, 24);
    }

    /// A link is taken down, and without a word every route out of it goes; or it comes up, without them.
    pub(crate) fn set_up(&mut self, ifindex: u32, up: bool) {
        self.touched = true;
        self.ports.get_mut(&ifindex).unwrap().link.up = up;
        if !up {
            self.routes.retain(|_, held| into(held.hop) != Some(ifindex));
        }
    }

    /// Somebody takes a route of his own away.
    pub(crate) fn take_foreign(&mut self, prefix: &str) -> Option<(u32, Hop)> {
        self.touched = true;
        let prefix: Prefix = prefix.parse().unwrap();
        let of_others =
            |(identity, held): &(&Identity, &Held)| identity.prefix == prefix && held.protocol != PROTOCOL;
        let found = self.routes.iter().find(of_others).map(|(identity, held)| (*identity, held.hop))?;
        self.routes.remove(&found.0);
        Some((found.0.metric, found.1))
    }

    /// Takes a route out without a word.
    pub(crate) fn drop_silently(&mut self, prefix: Prefix) -> bool {
        let before = self.routes.len();
        self.routes.retain(|identity, held| identity.prefix != prefix || held.protocol != PROTOCOL);
        self.routes.len() != before
    }

    /// Where a packet goes. `marked` packets are ours, outer ones, where we have a table of our own.
    pub(crate) fn lookup(&self, to: IpAddr, marked: bool) -> Option<(Prefix, Hop)> {
        self.lookup_by(to, marked, 0)
    }

    /// The same for a packet whose sender chose the interface; 0: it did not.
    pub(crate) fn lookup_by(&self, to: IpAddr, marked: bool, ifindex: u32) -> Option<(Prefix, Hop)> {
        match self.rules {
            Some((table, _)) if !marked => self
                .best(MAIN, to, ifindex)
                .filter(|(prefix, _)| !prefix.is_empty())
                .or_else(|| self.best(table, to, ifindex))
                .or_else(|| self.best(MAIN, to, ifindex)),
            Some(_) | None => self.best(MAIN, to, ifindex),
        }
    }

    /// Does a route of someone else lead there, out of the WAN link?
    pub(crate) fn has_way_out(&self, to: IpAddr) -> bool {
        self.ports[&WAN].link.up
            && self.routes.iter().any(|(identity, held)| {
                held.protocol != PROTOCOL && identity.prefix.contains(to) && into(held.hop) == Some(WAN)
            })
    }

    fn best(&self, table: u32, to: IpAddr, ifindex: u32) -> Option<(Prefix, Hop)> {
        let up =
            |hop: Hop| into(hop).is_none_or(|index| self.ports.get(&index).is_some_and(|port| port.link.up));
        self.routes
            .iter()
            .filter(|(identity, held)| {
                identity.table == table
                    && identity.prefix.contains(to)
                    && up(held.hop)
                    // A route that refuses does so whatever interface was chosen.
                    && (ifindex == 0 || into(held.hop).is_none_or(|by| by == ifindex))
            })
            .min_by_key(|(identity, _)| (std::cmp::Reverse(identity.prefix.len()), identity.metric))
            .map(|(identity, held)| (identity.prefix, held.hop))
    }

    pub(crate) fn is_local(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|held| held.address == address)
    }

    /// Our routes.
    pub(crate) fn ours(&self) -> impl Iterator<Item = (&Identity, Hop)> {
        self.routes
            .iter()
            .filter(|(_, held)| held.protocol == PROTOCOL)
            .map(|(identity, held)| (identity, held.hop))
    }

    /// What a route of ours for this prefix says.
    pub(crate) fn our_hop(&self, prefix: &str) -> Option<Hop> {
        let prefix: Prefix = prefix.parse().unwrap();
        self.ours().find(|(identity, _)| identity.prefix == prefix).map(|(_, hop)| hop)
    }

    /// Everything, as the shell reads it.
    pub(crate) fn view(&self) -> KernelView {
        let foreign =
            self.routes.iter().filter(|(identity, held)| identity.table == MAIN && held.protocol != PROTOCOL);
        let routes = foreign.filter_map(|(identity, held)| {
            let Hop::Device { ifindex, gateway, source } = held.hop else { return None };
            let Identity { prefix, metric, .. } = *identity;
            Some(UnderlayRoute {
                prefix,
                gateway,
                ifindex,
                source,
                metric,
                protocol: held.protocol,
                mtu: None,
            })
        });
        KernelView {
            underlay: Underlay {
                links: self.ports.iter().map(|(index, port)| (*index, port.link.clone())).collect(),
                addresses: self.addresses.clone(),
                routes: routes.collect(),
                unread: Vec::new(),
            },
            ours: self
                .ours()
                .map(|(identity, hop)| {
                    let Identity { table, prefix, metric } = *identity;
                    (Place { key: Key { table, prefix }, metric }, hop)
                })
                .collect(),
        }
    }
}

/// The preferred source of a route.
fn source_of(hop: Hop) -> Option<IpAddr> {
    match hop {
        Hop::Device { source, .. } => source,
        Hop::Unreachable | Hop::Prohibit => None,
    }
}

/// The device a route leaves by.
pub(crate) fn into(hop: Hop) -> Option<u32> {
    match hop {
        Hop::Device { ifindex, .. } => Some(ifindex),
        Hop::Unreachable | Hop::Prohibit => None,
    }
}
