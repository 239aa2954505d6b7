//! Routes in batches, and the routes of others.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use inet::Prefix;

use super::{A4, B4, Pair, switch};
use crate::netlink::{
    Netlink, NetlinkError, Reach, Route, RouteChange, RouteFilter, RouteQuery, TABLE_MAIN, Target,
};

const OURS: u8 = 200;
const THEIRS: u8 = 186;

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn inside(test: impl FnOnce(&mut Netlink, u32) + Send) {
    let pair = Pair::new();
    let index = pair.index_a;
    pair.a.run(|| test(&mut Netlink::open().unwrap(), index)).unwrap();
}

fn ours(table: u32) -> RouteFilter {
    RouteFilter { table: Some(table), protocol: Some(OURS), ipv4: None }
}

#[test]
fn five_thousand_routes_of_both_families_are_added_read_back_and_deleted() {
    inside(|netlink, index| {
        let foreign =
            Route { table: 77, metric: 5, ..Route::new(prefix("10.255.0.0/16"), THEIRS, Target::Blackhole) };
        netlink.apply(&[RouteChange::Add(foreign.clone())]).remove(0).unwrap();
        let wanted: Vec<Route> = (0..5000_u16).map(|i| wanted(i, index)).collect();
        let adds: Vec<_> = wanted.iter().cloned().map(RouteChange::Add).collect();
        for (route, outcome) in wanted.iter().zip(netlink.apply(&adds)) {
            outcome.unwrap_or_else(|error| panic!("{route:?}: {error}"));
        }
        let read: HashSet<Route> = netlink.routes(ours(77)).unwrap().into_iter().collect();
        assert!(read == wanted.iter().cloned().collect(), "the table read is not the table written");
        assert!(netlink.apply(&adds).iter().all(|outcome| *outcome == Err(NetlinkError::Exists)));
        let mut deletes: Vec<_> = wanted.iter().map(|route| RouteChange::Delete(route.key())).collect();
        deletes.push(RouteChange::Delete(crate::netlink::RouteKey { protocol: OURS, ..foreign.key() }));
        let outcomes = netlink.apply(&deletes);
        assert!(outcomes[..5000].iter().all(Result::is_ok));
        assert!(outcomes[5000].as_ref().is_err_and(NetlinkError::is_missing), "{:?}", outcomes[5000]);
        assert_eq!(netlink.routes(ours(77)).unwrap(), []);
        let left = netlink.routes(RouteFilter { table: Some(77), ..RouteFilter::default() }).unwrap();
        assert_eq!(left, [foreign]);
    });
}

fn wanted(i: u16, index: u32) -> Route {
    let [high, low] = i.to_be_bytes();
    let target = match i % 3 {
        0 => Target::Device(index),
        1 => Target::Unreachable,
        _ if i.is_multiple_of(2) => Target::Gateway { via: B4.into(), device: Some(index), onlink: true },
        _ => Target::Device(index),
    };
    let via_v4 = matches!(target, Target::Gateway { .. });
    let destination = if i.is_multiple_of(2) || via_v4 {
        Prefix::new(Ipv4Addr::new(10, high, low, 0).into(), 24)
    } else {
        Prefix::new(Ipv6Addr::new(0x2001, 0xdb8, 0x8000 | i, 0, 0, 0, 0, 0).into(), 48)
    };
    let mut route = Route { table: 77, metric: 20, ..Route::new(destination.unwrap(), OURS, target) };
    if route.prefix.is_ipv4() && route.target != Target::Unreachable {
        route.source = Some(A4.into());
        route.mtu = Some(1400);
    }
    route
}

#[test]
fn replacing_swaps_the_target_of_ours_and_spares_the_foreign_one() {
    inside(|netlink, index| {
        for text in ["172.16.0.0/22", "2001:db8:99::/48"] {
            let up = Route { metric: 20, ..Route::new(prefix(text), OURS, Target::Device(index)) };
            let down = Route { target: Target::Unreachable, ..up.clone() };
            let all =
                RouteFilter { table: Some(TABLE_MAIN), protocol: None, ipv4: Some(up.prefix.is_ipv4()) };
            let standing = |netlink: &mut Netlink| {
                let mut found = netlink.routes(all).unwrap();
                found.retain(|route| route.prefix == up.prefix);
                found
            };
            // Where none is, it is as adding; then there and back in one batch.
            let batch = [&up, &down, &up, &down].map(|route| RouteChange::Replace(route.clone()));
            assert_eq!(netlink.apply(&batch), vec![Ok(()); 4], "{text}");
            assert_eq!(standing(netlink), std::slice::from_ref(&down));
            netlink.apply(&[RouteChange::Delete(up.key())]).remove(0).unwrap();
            let foreign = Route { protocol: THEIRS, ..up.clone() };
            netlink.apply(&[RouteChange::Add(foreign.clone())]).remove(0).unwrap();
            let refused = netlink.apply(&[RouteChange::Replace(down.clone())]).remove(0);
            assert_eq!(refused, Err(NetlinkError::Foreign { protocol: THEIRS }));
            assert_eq!(netlink.apply(&[RouteChange::Add(down)]).remove(0), Err(NetlinkError::Exists));
            assert_eq!(standing(netlink), [foreign]);
        }
    });
}

#[test]
fn a_failure_in_the_middle_of_a_batch_stops_nothing_after_it() {
    inside(|netlink, index| {
        let add = |text: &str, target| RouteChange::Add(Route::new(prefix(text), OURS, target));
        let static_route = Route::new(prefix("10.4.0.0/16"), 4, Target::Device(index));
        let outcomes = netlink.apply(&[
            add("10.1.0.0/16", Target::Device(index)),
            RouteChange::Add(static_route),
            add("10.2.0.0/16", Target::Device(99_999)),
            add("10.1.0.0/16", Target::Device(index)),
            add("10.5.0.0/16", Target::Gateway { via: [203, 0, 113, 9].into(), device: None, onlink: false }),
            add("10.3.0.0/16", Target::Unreachable),
        ]);
        assert_eq!(outcomes[0], Ok(()));
        assert_eq!(outcomes[1], Err(NetlinkError::NotOurProtocol(4)));
        assert!(outcomes[2].as_ref().is_err_and(NetlinkError::is_missing), "{:?}", outcomes[2]);
        assert_eq!(outcomes[3], Err(NetlinkError::Exists));
        // The kernel's own words come with it: the gateway is on no network of ours.
        assert!(outcomes[4].is_err(), "{:?}", outcomes[4]);
        assert_eq!(outcomes[5], Ok(()));
        assert_eq!(netlink.routes(ours(TABLE_MAIN)).unwrap().len(), 2);
    });
}

#[test]
fn a_look_up_tells_device_source_table_and_mtu() {
    inside(|netlink, index| {
        let mut ask = |destination: IpAddr| netlink.route_get(&RouteQuery::to(destination));
        let attached = ask(B4.into()).unwrap();
        assert_eq!((attached.reach, attached.device, attached.gateway), (Reach::Unicast, index, None));
        assert_eq!((attached.source, attached.table), (Some(A4.into()), TABLE_MAIN));
        assert_eq!(ask(A4.into()).unwrap().reach, Reach::Local);
        assert_eq!(ask([198, 51, 100, 1].into()), Err(NetlinkError::Unreachable));
        for (text, via) in [("198.51.100.0/24", IpAddr::from(B4)), ("2001:db8:5::/48", super::B6.into())] {
            let target = Target::Gateway { via, device: Some(index), onlink: false };
            let route = Route { mtu: Some(1300), ..Route::new(prefix(text), OURS, target) };
            netlink.apply(&[RouteChange::Add(route)]).remove(0).unwrap();
            let answer = netlink.route_get(&RouteQuery::to(prefix(text).last())).unwrap();
            assert_eq!((answer.gateway, answer.device, answer.mtu), (Some(via), index, Some(1300)));
        }
        let blocked = Route::new(prefix("203.0.113.0/24"), OURS, Target::Unreachable);
        netlink.apply(&[RouteChange::Add(blocked)]).remove(0).unwrap();
        assert_eq!(
            netlink.route_get(&RouteQuery::to([203, 0, 113, 7].into())),
            Err(NetlinkError::Unreachable)
        );
    });
}

#[test]
fn routes_of_a_table_that_does_not_exist_are_none() {
    inside(|netlink, _| assert_eq!(netlink.routes(ours(4711)).unwrap(), []));
}

#[test]
fn ipv4_routes_are_gone_once_their_interface_went_off() {
    inside(|netlink, index| {
        let route = Route::new(prefix("10.1.0.0/16"), OURS, Target::Device(index));
        netlink.apply(&[RouteChange::Add(route)]).remove(0).unwrap();
        switch(netlink, index, false);
        assert_eq!(netlink.routes(ours(TABLE_MAIN)).unwrap(), []);
    });
}
