//! A batch of changes to our routes, and what came of each.

use std::collections::{BTreeSet, HashMap};

use gateway::{Applied, Change, Hop, Key, Op, PROTOCOL};
use kernel::netlink::{Netlink, NetlinkError, Route, RouteChange, RouteFilter, RouteKey, Target};

/// Larger than any metric in use.
const HIDDEN: u32 = u32::MAX - 1;

/// Carries the changes out, in order; one outcome each.
pub(super) fn apply(netlink: &mut Netlink, changes: &[Change]) -> Vec<Applied> {
    let wanted: Vec<RouteChange> = changes.iter().map(change).collect();
    let outcomes = netlink.apply(&wanted);
    let occupied = changes
        .iter()
        .zip(&outcomes)
        .filter(|(_, outcome)| matches!(outcome, Err(NetlinkError::Exists)))
        .map(|(change, _)| change.key.table)
        .collect();
    let held = Held::read(netlink, occupied);
    let mut applied: Vec<Applied> = changes
        .iter()
        .zip(outcomes)
        .map(|(change, outcome)| judge(netlink, &held, change, outcome))
        .collect();
    applied.resize(changes.len(), Applied::Failed("the kernel did not answer".to_owned()));
    applied
}

/// Our routes in the tables where a place was taken: read once for a whole batch.
#[derive(Default)]
struct Held {
    ours: HashMap<(Key, u32), Route>,
    error: Option<NetlinkError>,
}

impl Held {
    fn read(netlink: &mut Netlink, tables: BTreeSet<u32>) -> Self {
        let mut held = Self::default();
        for table in tables {
            let filter = RouteFilter { table: Some(table), protocol: Some(PROTOCOL), ipv4: None };
            match netlink.routes(filter) {
                Ok(routes) => held.ours.extend(routes.into_iter().map(|route| {
                    let key = Key { table: route.table, prefix: route.prefix };
                    ((key, route.metric), route)
                })),
                Err(error) => held.error = Some(error),
            }
        }
        held
    }
}

fn change(change: &Change) -> RouteChange {
    match change.op {
        Op::Add(hop) => RouteChange::Add(route(change, hop)),
        Op::Replace { new, .. } => RouteChange::Replace(route(change, new)),
        Op::Delete(_) => RouteChange::Delete(key(change)),
    }
}

fn judge(netlink: &mut Netlink, held: &Held, change: &Change, outcome: Result<(), NetlinkError>) -> Applied {
    match (change.op, outcome) {
        (_, Ok(())) => Applied::Done,
        (Op::Delete(_), Err(NetlinkError::Missing { .. })) => Applied::Done,
        (_, Err(NetlinkError::Foreign { .. })) => Applied::Foreign,
        (Op::Add(hop), Err(NetlinkError::Exists)) => occupied(netlink, held, change, hop),
        // Another route came into the place of ours meanwhile.
        (Op::Replace { new, .. }, Err(NetlinkError::Exists)) => occupied(netlink, held, change, new),
        // The new route is one the kernel does not take, or it does not turn one kind into another in one step.
        (Op::Replace { new, .. }, Err(NetlinkError::Refused { .. })) => renew(netlink, change, new),
        (Op::Add(_) | Op::Replace { .. } | Op::Delete(_), Err(error)) => Applied::Failed(error.to_string()),
    }
}

/// Something has the place: ours as wanted, ours but different, or another's?
fn occupied(netlink: &mut Netlink, held: &Held, change: &Change, hop: Hop) -> Applied {
    let wanted = route(change, hop);
    match (held.ours.get(&(change.key, change.metric)), &held.error) {
        (Some(ours), _) if ours.target == wanted.target && ours.source == wanted.source => Applied::Done,
        (Some(_), _) => renew(netlink, change, hop),
        (None, Some(error)) => Applied::Failed(error.to_string()),
        (None, None) => Applied::Foreign,
    }
}

/// Ours goes, the new one comes. First it comes with a metric that hides it: what the kernel does not take there it
/// takes nowhere, and then the old one stays; and it is what packets find between the two.
fn renew(netlink: &mut Netlink, change: &Change, hop: Hop) -> Applied {
    let hidden = Change { metric: HIDDEN, ..*change };
    match netlink.apply(&[RouteChange::Add(route(&hidden, hop))]).pop() {
        Some(Ok(()) | Err(NetlinkError::Exists)) => {}
        Some(Err(error)) => return Applied::Failed(error.to_string()),
        None => return Applied::Failed("the kernel did not answer".to_owned()),
    }
    let steps = [
        RouteChange::Delete(key(change)),
        RouteChange::Add(route(change, hop)),
        RouteChange::Delete(key(&hidden)),
    ];
    match netlink.apply(&steps).into_iter().nth(1) {
        Some(Ok(())) => Applied::Done,
        Some(Err(NetlinkError::Exists | NetlinkError::Foreign { .. })) => Applied::Foreign,
        Some(Err(error)) => Applied::Failed(error.to_string()),
        None => Applied::Failed("the kernel did not answer".to_owned()),
    }
}

fn key(change: &Change) -> RouteKey {
    let Key { table, prefix } = change.key;
    RouteKey { prefix, table, protocol: PROTOCOL, metric: change.metric }
}

fn route(change: &Change, hop: Hop) -> Route {
    let Key { table, prefix } = change.key;
    let (target, source) = match hop {
        Hop::Device { ifindex, gateway: None, source } => (Target::Device(ifindex), source),
        Hop::Device { ifindex, gateway: Some(via), source } => {
            // A host route through the underlay follows the default route, whose gateway may itself be
            // reached only because its link says so.
            (Target::Gateway { via, device: Some(ifindex), onlink: true }, source)
        }
        Hop::Unreachable => (Target::Unreachable, None),
        Hop::Prohibit => (Target::Prohibit, None),
    };
    Route { table, metric: change.metric, source, ..Route::new(prefix, PROTOCOL, target) }
}
