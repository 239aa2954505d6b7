//! Routes: read by table and owner, changed in batches, looked up.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use inet::Prefix;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::route_message::{build, build_key, dump_request, look_up, read_answer, read_new};
use super::{Netlink, NetlinkError};

/// The kernel's main table.
pub const TABLE_MAIN: u32 = 254;
/// The kernel's table of local and broadcast addresses.
pub const TABLE_LOCAL: u32 = 255;
/// Protocol numbers up to this one (static) mean the kernel or an administrator.
const PROTOCOL_STATIC: u8 = 4;
/// IPv6 gives a route without metric this one.
const METRIC_V6_DEFAULT: u32 = 1024;

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// Straight into an interface (a tunnel, or an attached network).
    Device(u32),
    /// By way of a router.
    Gateway {
        /// The router's address; may be IPv6 for an IPv4 route.
        via: IpAddr,
        /// The interface it is on; `None` lets the kernel find it (only when adding).
        device: Option<u32>,
        /// Take the router to be on that link even where no address of ours says so.
        onlink: bool,
    },
    /// Answers "unreachable": the stand-in where a tunnel is down.
    Unreachable,
    /// Drops without a word.
    Blackhole,
    /// Answers "prohibited".
    Prohibit,
    /// Something this crate reads but does not make: local, broadcast and the like.
    Other,
}

/// One route.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// Destination.
    pub prefix: Prefix,
    /// Table number; [`TABLE_MAIN`] is the usual one.
    pub table: u32,
    /// Whose it is: the routing protocol number.
    pub protocol: u8,
    /// Smaller wins. 0 on an IPv6 route means 1024.
    pub metric: u32,
    /// Where it leads.
    pub target: Target,
    /// Source address of what this host sends along it.
    pub source: Option<IpAddr>,
    /// MTU in octets for what takes this route.
    pub mtu: Option<u32>,
    /// Its device has no carrier or it is otherwise not in use (only when read).
    pub dead: bool,
}

impl Route {
    /// A route in the main table with metric 0, no source, no MTU.
    #[must_use]
    pub fn new(prefix: Prefix, protocol: u8, target: Target) -> Self {
        Self { prefix, table: TABLE_MAIN, protocol, metric: 0, target, source: None, mtu: None, dead: false }
    }

    /// What names it.
    #[must_use]
    pub fn key(&self) -> RouteKey {
        RouteKey { prefix: self.prefix, table: self.table, protocol: self.protocol, metric: self.metric }
    }
}

/// What names a route of ours. To the kernel the protocol is no part of the key, but selects on deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteKey {
    /// Destination.
    pub prefix: Prefix,
    /// Table number.
    pub table: u32,
    /// Our routing protocol number.
    pub protocol: u8,
    /// Metric; 0 on deletion matches any.
    pub metric: u32,
}

/// One wanted change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteChange {
    /// Put it there; [`NetlinkError::Exists`] when any route has that key.
    Add(Route),
    /// Put it in the place of our own route of the same key, without a gap; where none is, as `Add`.
    /// [`NetlinkError::Foreign`] when the place is another's.
    Replace(Route),
    /// Take ours away; another's of the same key stays.
    Delete(RouteKey),
}

/// Which routes to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteFilter {
    /// One table, or all.
    pub table: Option<u32>,
    /// One owner, or all.
    pub protocol: Option<u8>,
    /// IPv4 only (`Some(true)`), IPv6 only (`Some(false)`), or both.
    pub ipv4: Option<bool>,
}

/// A question to the kernel's routing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteQuery {
    /// Where to.
    pub destination: IpAddr,
    /// From which local address, when it is fixed.
    pub source: Option<IpAddr>,
    /// With which firewall mark.
    pub mark: Option<u32>,
    /// Bound to which interface.
    pub device: Option<u32>,
}

impl RouteQuery {
    /// The plain question: how would this host reach `destination`?
    #[must_use]
    pub fn to(destination: IpAddr) -> Self {
        Self { destination, source: None, mark: None, device: None }
    }
}

/// What lies at the end of a looked-up route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Another host.
    Unicast,
    /// This host itself.
    Local,
    /// Broadcast, multicast or anycast.
    Group,
    /// Nothing: a route of type unreachable, blackhole or prohibit.
    Nothing,
}

/// How the kernel would send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteAnswer {
    /// Whom it reaches.
    pub reach: Reach,
    /// The interface it leaves by; 0 when none.
    pub device: u32,
    /// The router, unless the destination is attached.
    pub gateway: Option<IpAddr>,
    /// The source address it would take.
    pub source: Option<IpAddr>,
    /// The table that answered.
    pub table: u32,
    /// The path's MTU, when one is set or learned.
    pub mtu: Option<u32>,
}

impl Netlink {
    /// Make many changes, in order; each has its own outcome. A failure stops nothing after it.
    pub fn apply(&mut self, changes: &[RouteChange]) -> Vec<Result<(), NetlinkError>> {
        let mut owners = self.owners(changes);
        let mut refused: Vec<(usize, NetlinkError)> = Vec::new();
        let mut messages = Vec::with_capacity(changes.len());
        for (i, change) in changes.iter().enumerate() {
            match prepare(change, &mut owners) {
                Ok(message) => messages.push(message),
                Err(error) => refused.push((i, error)),
            }
        }
        let mut outcomes = self.socket.batch(messages);
        for (i, error) in refused {
            outcomes.insert(i.min(outcomes.len()), Err(error));
        }
        outcomes
    }

    /// Put "unreachable" in the place of every route of a protocol that leads into a device. One that is gone by then is
    /// no error.
    pub fn refuse_routes_into(&mut self, ifindex: u32, protocol: u8) -> Result<(), NetlinkError> {
        let filter = RouteFilter { table: None, protocol: Some(protocol), ipv4: None };
        let refused: Vec<RouteChange> = self
            .routes(filter)?
            .into_iter()
            .filter(|route| match route.target {
                Target::Device(device) => device == ifindex,
                Target::Gateway { device, .. } => device == Some(ifindex),
                Target::Unreachable | Target::Blackhole | Target::Prohibit | Target::Other => false,
            })
            .map(|route| {
                RouteChange::Replace(Route { target: Target::Unreachable, source: None, mtu: None, ..route })
            })
            .collect();
        self.apply(&refused).into_iter().find(Result::is_err).unwrap_or(Ok(()))
    }

    /// Read routes. Those of the kernel's cache are left out; a table that does not exist is empty.
    pub fn routes(&mut self, filter: RouteFilter) -> Result<Vec<Route>, NetlinkError> {
        let mut found = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let v4 = family == AddressFamily::Inet;
            if filter.ipv4.is_some_and(|only| only != v4) {
                continue;
            }
            let answers = match self.socket.dump(&dump_request(family, filter)) {
                Err(NetlinkError::Missing { .. }) => continue,
                other => other?,
            };
            found.extend(answers.iter().filter_map(read_new).filter(|route| filter.matches(route)));
        }
        Ok(found)
    }

    /// How would a packet go? [`NetlinkError::Unreachable`] when it would not.
    pub fn route_get(&mut self, query: &RouteQuery) -> Result<RouteAnswer, NetlinkError> {
        let answer = self.socket.ask(RouteNetlinkMessage::GetRoute(look_up(query)));
        match answer {
            Ok(RouteNetlinkMessage::NewRoute(message)) => Ok(read_answer(&message)),
            // A look-up that ends at a blackhole or prohibit route is refused in these words.
            Err(NetlinkError::Refused { errno: libc::EINVAL | libc::EACCES, text: None }) => {
                Err(NetlinkError::Unreachable)
            }
            Ok(_) => Err(NetlinkError::Malformed),
            Err(error) => Err(error),
        }
    }

    /// Who holds the places that replacements want: one dump of each table concerned.
    fn owners(&mut self, changes: &[RouteChange]) -> Owners {
        let tables: BTreeSet<(u32, bool)> = changes
            .iter()
            .filter_map(|change| match change {
                RouteChange::Replace(route) => Some((route.table, route.prefix.is_ipv4())),
                RouteChange::Add(_) | RouteChange::Delete(_) => None,
            })
            .collect();
        let mut owners = Owners::default();
        for (table, ipv4) in tables {
            let filter = RouteFilter { table: Some(table), protocol: None, ipv4: Some(ipv4) };
            match self.routes(filter) {
                // The first of equal keys is the one the kernel would replace.
                Ok(routes) => routes.iter().for_each(|route| {
                    owners.known.entry(place(route)).or_insert(route.protocol);
                }),
                Err(error) => owners.failed = Some(error),
            }
        }
        owners
    }
}

/// Table, prefix, metric: what the kernel takes for the key.
type Place = (u32, Prefix, u32);

#[derive(Default)]
struct Owners {
    known: HashMap<Place, u8>,
    failed: Option<NetlinkError>,
}

impl Owners {
    /// What a deletion leaves: metric 0 takes any, and which one the kernel took is not known.
    fn forget(&mut self, key: &RouteKey) {
        let gone = |owner: &u8| *owner == key.protocol;
        if key.metric == 0 {
            self.known.retain(|(table, prefix, _), owner| {
                !(*table == key.table && *prefix == key.prefix && gone(owner))
            });
        } else if self.known.get(&(key.table, key.prefix, key.metric)).is_some_and(gone) {
            self.known.remove(&(key.table, key.prefix, key.metric));
        }
    }
}

fn place(route: &Route) -> Place {
    let metric = match route.metric {
        0 if !route.prefix.is_ipv4() => METRIC_V6_DEFAULT,
        metric => metric,
    };
    (route.table, route.prefix, metric)
}

/// The message of one change, or why it must not be sent. Keeps `owners` true for the changes after it.
fn prepare(change: &RouteChange, owners: &mut Owners) -> Result<(RouteNetlinkMessage, u16), NetlinkError> {
    let protocol = match change {
        RouteChange::Add(route) | RouteChange::Replace(route) => route.protocol,
        RouteChange::Delete(key) => key.protocol,
    };
    if protocol <= PROTOCOL_STATIC {
        return Err(NetlinkError::NotOurProtocol(protocol));
    }
    match change {
        RouteChange::Add(route) => {
            owners.known.entry(place(route)).or_insert(route.protocol);
            Ok((RouteNetlinkMessage::NewRoute(build(route)?), NLM_F_CREATE | NLM_F_EXCL))
        }
        RouteChange::Replace(route) => {
            if let Some(error) = &owners.failed {
                return Err(error.clone());
            }
            let flags = match owners.known.get(&place(route)) {
                Some(owner) if *owner == route.protocol => NLM_F_CREATE | NLM_F_REPLACE,
                Some(owner) => return Err(NetlinkError::Foreign { protocol: *owner }),
                None => NLM_F_CREATE | NLM_F_EXCL,
            };
            owners.known.insert(place(route), route.protocol);
            Ok((RouteNetlinkMessage::NewRoute(build(route)?), flags))
        }
        RouteChange::Delete(key) => {
            owners.forget(key);
            Ok((RouteNetlinkMessage::DelRoute(build_key(key)), 0))
        }
    }
}

impl RouteFilter {
    fn matches(&self, route: &Route) -> bool {
        self.table.is_none_or(|table| table == route.table)
            && self.protocol.is_none_or(|protocol| protocol == route.protocol)
    }
}
