//! The demo's network: five hosts in namespaces of their own, joined by virtual cables.
//!
//! ```text
//! lan ──────────── site ─────────────── internet ─────────────── headend ──────────── cloud
//! 192.168.1.10   .1 | 203.0.113.1     .254 | 192.0.2.254      .1 | 172.16.1.1         .10
//! ```

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;

use inet::Prefix;
use kernel::netlink::{Address, LinkChange, Netlink, Route, RouteChange, Target};
use kernel::netns::Namespace;

use super::Failure;

/// What a named host is called by `ip netns`.
pub(super) const PREFIX: &str = "causeway-demo-";
/// The hosts, from left to right.
pub(super) const HOSTS: [&str; 5] = ["lan", "site", "internet", "headend", "cloud"];
/// The host behind the site's gateway.
pub(super) const LAN_HOST: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);
/// The host behind the head-end.
pub(super) const CLOUD_HOST: Ipv4Addr = Ipv4Addr::new(172, 16, 1, 10);

/// A routing protocol number for the demo's own routes: neither the kernel's nor the gateways'.
const PROTOCOL: u8 = 250;

/// One end of a cable: host, interface, address.
type End = (usize, &'static str, [u8; 4]);

const CABLES: [(End, End); 4] = [
    ((0, "eth0", [192, 168, 1, 10]), (1, "lan", [192, 168, 1, 1])),
    ((1, "wan", [203, 0, 113, 1]), (2, "site", [203, 0, 113, 254])),
    ((3, "wan", [192, 0, 2, 1]), (2, "headend", [192, 0, 2, 254])),
    ((4, "eth0", [172, 16, 1, 10]), (3, "cloud", [172, 16, 1, 1])),
];

/// Default routes: host, gateway.
const DEFAULTS: [(usize, [u8; 4]); 4] =
    [(0, [192, 168, 1, 1]), (1, [203, 0, 113, 254]), (3, [192, 0, 2, 254]), (4, [172, 16, 1, 1])];

/// Hosts that forward.
const ROUTERS: [usize; 3] = [1, 2, 3];

/// All five.
pub(super) struct Net {
    hosts: Vec<Namespace>,
}

impl Net {
    /// Makes it; with names when it shall be kept. It goes when the value does.
    pub(super) fn make(named: bool) -> Result<Self, Failure> {
        let mut hosts = Vec::new();
        for name in HOSTS {
            let host = if named {
                Namespace::named(&format!("{PREFIX}{name}"))
            } else {
                // Gone with this process, however that ends.
                Namespace::anonymous()
            };
            hosts.push(host.map_err(|error| format!("network namespace {PREFIX}{name}: {error}"))?);
        }
        let net = Self { hosts };
        net.cable().map_err(|error| format!("setting up the demo's network: {error}"))?;
        Ok(net)
    }

    /// Lets the named hosts stay.
    pub(super) fn keep(mut self) {
        self.hosts.iter_mut().for_each(Namespace::keep);
    }

    /// A host by its name in [`HOSTS`].
    pub(super) fn host(&self, name: &str) -> Result<&Namespace, Failure> {
        let index = HOSTS.iter().position(|known| *known == name);
        index.and_then(|index| self.hosts.get(index)).ok_or_else(|| format!("no host {name}").into())
    }

    fn at(&self, index: usize) -> Result<&Namespace, Failure> {
        self.hosts.get(index).ok_or_else(|| "no such host".into())
    }

    fn cable(&self) -> Result<(), Failure> {
        for ((here, name, address), (there, other, other_address)) in CABLES {
            let (near, far) = (self.at(here)?, self.at(there)?);
            near.netlink()?.create_veth(name, other, Some(far.as_fd()))?;
            configure(&mut near.netlink()?, name, address)?;
            configure(&mut far.netlink()?, other, other_address)?;
        }
        for host in &self.hosts {
            host.loopback_up()?;
        }
        for (host, gateway) in DEFAULTS {
            default_route(&mut self.at(host)?.netlink()?, gateway.into())?;
        }
        for router in ROUTERS {
            self.at(router)?.run(|| fs::write("/proc/sys/net/ipv4/ip_forward", "1"))??;
        }
        Ok(())
    }
}

fn configure(netlink: &mut Netlink, name: &str, address: [u8; 4]) -> Result<(), Failure> {
    let link = netlink.link_by_name(name)?.ok_or_else(|| format!("no interface {name}"))?;
    netlink.add_address(&Address::new(link.index, address.into(), 24))?;
    let change = LinkChange { up: Some(true), no_link_local: true, ..LinkChange::default() };
    Ok(netlink.set_link(link.index, &change)?)
}

fn default_route(netlink: &mut Netlink, gateway: IpAddr) -> Result<(), Failure> {
    let target = Target::Gateway { via: gateway, device: None, onlink: false };
    let route = Route::new(Prefix::new(Ipv4Addr::UNSPECIFIED.into(), 0)?, PROTOCOL, target);
    netlink.apply(&[RouteChange::Add(route)]).into_iter().collect::<Result<(), _>>()?;
    Ok(())
}
