//! What the kernel announces.

use inet::Prefix;

use super::{Pair, readable, switch};
use crate::netlink::{
    Address, Event, Interest, Monitor, Netlink, NetlinkError, Route, RouteChange, Rule, TABLE_MAIN, Target,
};

const OURS: u8 = 200;

/// Events until one fits; a test that waits in vain ends in `readable`.
pub(super) fn until(monitor: &mut Monitor, fits: impl Fn(&Event) -> bool) -> Event {
    loop {
        while let Some(event) = monitor.next_event().unwrap() {
            if fits(&event) {
                return event;
            }
        }
        readable(&*monitor);
    }
}

#[test]
fn links_addresses_routes_and_rules_are_announced_with_their_values() {
    let pair = Pair::new();
    let index = pair.index_a;
    pair.a
        .run(|| {
            let mut netlink = Netlink::open().unwrap();
            let mut monitor = Monitor::open(Interest::ALL).unwrap();
            let route = Route {
                metric: 20,
                ..Route::new("10.1.0.0/16".parse().unwrap(), OURS, Target::Device(index))
            };
            netlink.apply(&[RouteChange::Add(route.clone())]).remove(0).unwrap();
            until(&mut monitor, |event| *event == Event::RouteAdded(route.clone()));
            netlink.apply(&[RouteChange::Delete(route.key())]).remove(0).unwrap();
            until(&mut monitor, |event| *event == Event::RouteRemoved(route.clone()));
            let address = Address::new(index, [198, 51, 100, 1].into(), 24);
            netlink.add_address(&address).unwrap();
            assert_eq!(netlink.add_address(&address), Err(NetlinkError::Exists));
            until(&mut monitor, |event| *event == Event::AddressAdded(address.clone()));
            netlink.delete_address(&address).unwrap();
            until(&mut monitor, |event| *event == Event::AddressRemoved(address.clone()));
            let rule = Rule::new(false, 220, TABLE_MAIN, OURS);
            netlink.add_rule(&rule).unwrap();
            until(&mut monitor, |event| *event == Event::RuleAdded(rule.clone()));
            switch(&mut netlink, index, false);
            until(&mut monitor, |event| matches!(event, Event::LinkChanged(l) if l.index == index && !l.up));
            netlink.delete_link(index).unwrap();
            until(&mut monitor, |event| matches!(event, Event::LinkRemoved(l) if l.name == "to-b"));
            assert!(netlink.delete_link(index).is_err_and(|e| e.is_missing()));
        })
        .unwrap();
}

#[test]
fn a_monitor_that_was_overrun_says_resync_and_goes_on() {
    let pair = Pair::new();
    pair.a
        .run(|| {
            let mut netlink = Netlink::open().unwrap();
            let mut monitor =
                Monitor::open(Interest { routes: true, links: false, addresses: false, rules: false })
                    .unwrap();
            monitor.shrink_for_test();
            let many: Vec<_> = (0..3000_u32)
                .map(|i| Prefix::new(std::net::Ipv4Addr::from(0x0a00_0000 + i).into(), 32).unwrap())
                .map(|prefix| RouteChange::Add(Route::new(prefix, OURS, Target::Unreachable)))
                .collect();
            assert!(netlink.apply(&many).iter().all(Result::is_ok));
            until(&mut monitor, |event| *event == Event::Resync);
            while monitor.next_event().unwrap().is_some() {}
            let last = Route::new("10.99.0.0/16".parse().unwrap(), OURS, Target::Unreachable);
            netlink.apply(&[RouteChange::Add(last.clone())]).remove(0).unwrap();
            until(&mut monitor, |event| *event == Event::RouteAdded(last.clone()));
        })
        .unwrap();
}
