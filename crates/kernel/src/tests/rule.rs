//! Rules: marks and suppressed default routes.

use inet::Prefix;

use super::{B4, Pair};
use crate::netlink::{
    Netlink, NetlinkError, Reach, Route, RouteChange, RouteQuery, Rule, TABLE_MAIN, Target,
};

const OURS: u8 = 200;

#[test]
fn rules_are_added_once_read_back_and_deleted_by_their_owner() {
    let pair = Pair::new();
    pair.a
        .run(|| {
            let mut netlink = Netlink::open().unwrap();
            let before = netlink.rules().unwrap();
            for ipv4 in [true, false] {
                let net = if ipv4 { Prefix::default_v4() } else { Prefix::default_v6() };
                let rules = [
                    Rule { mark: Some((0x42, 0xff)), ..Rule::new(ipv4, 200, TABLE_MAIN, OURS) },
                    Rule { suppress_prefix_len: Some(0), ..Rule::new(ipv4, 210, TABLE_MAIN, OURS) },
                    Rule { destination: Some(Prefix::host(net.last())), ..Rule::new(ipv4, 220, 1000, OURS) },
                ];
                for rule in &rules {
                    netlink.add_rule(rule).unwrap();
                    assert_eq!(netlink.add_rule(rule), Err(NetlinkError::Exists));
                    assert!(netlink.rules().unwrap().contains(rule), "{rule:?}");
                    let foreign = Rule { protocol: 99, ..rule.clone() };
                    assert!(netlink.delete_rule(&foreign).is_err_and(|e| e.is_missing()), "{rule:?}");
                }
                for rule in &rules {
                    netlink.delete_rule(rule).unwrap();
                }
            }
            assert_eq!(netlink.rules().unwrap(), before);
        })
        .unwrap();
}

#[test]
fn a_mark_keeps_outer_packets_out_of_the_tunnels_table() {
    let pair = Pair::new();
    pair.a
        .run(|| {
            let mut netlink = Netlink::open().unwrap();
            let eater = Route { table: 1000, ..Route::new(Prefix::default_v4(), OURS, Target::Unreachable) };
            netlink.apply(&[RouteChange::Add(eater)]).remove(0).unwrap();
            netlink
                .add_rule(&Rule { mark: Some((7, u32::MAX)), ..Rule::new(true, 200, TABLE_MAIN, OURS) })
                .unwrap();
            netlink.add_rule(&Rule::new(true, 220, 1000, OURS)).unwrap();
            let plain = RouteQuery::to(B4.into());
            assert_eq!(netlink.route_get(&plain), Err(NetlinkError::Unreachable));
            let marked = netlink.route_get(&RouteQuery { mark: Some(7), ..plain }).unwrap();
            assert_eq!((marked.reach, marked.device), (Reach::Unicast, pair.index_a));
        })
        .unwrap();
}
