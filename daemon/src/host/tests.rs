//! Against the running kernel, as root, each test in a namespace of its own.

use std::collections::BTreeSet;
use std::io::Read;

use gateway::{Applied, Change, Hop, KernelView, Key, Op, PROTOCOL, Rules, Sources};
use kernel::epoll::{Epoll, Interest};
use kernel::netlink::{
    Address, Event, Interest as Groups, LinkChange, Monitor, Netlink, Route, RouteChange, Target,
};
use kernel::netns::Namespace;
use kernel::tun::{self, Tun, TunOptions};

use super::{device, read, routes, rules};

const GATEWAY: [u8; 4] = [192, 0, 2, 254];

/// A namespace with a bridge `wan` that has an address and a default route; its index.
pub(crate) fn inside(test: impl FnOnce(&mut Netlink, u32) + Send) {
    let namespace = Namespace::anonymous().unwrap();
    namespace
        .run(|| {
            let mut netlink = Netlink::open().unwrap();
            netlink.create_bridge("wan").unwrap();
            let index = netlink.link_by_name("wan").unwrap().unwrap().index;
            netlink.set_link(index, &LinkChange { up: Some(true), ..LinkChange::default() }).unwrap();
            netlink.add_address(&Address::new(index, [192, 0, 2, 1].into(), 24)).unwrap();
            test(&mut netlink, index);
        })
        .unwrap();
}

fn key(prefix: &str) -> Key {
    Key { table: 254, prefix: prefix.parse().unwrap() }
}

fn change(prefix: &str, op: Op) -> Change {
    Change { key: key(prefix), metric: 20, op }
}

fn device(ifindex: u32) -> Hop {
    Hop::Device { ifindex, gateway: None, source: None }
}

fn ours(view: &KernelView) -> Vec<(Key, Hop)> {
    assert!(view.ours.iter().all(|(place, _)| place.metric == 20), "{:?}", view.ours);
    let mut ours: Vec<(Key, Hop)> = view.ours.iter().map(|(place, hop)| (place.key, *hop)).collect();
    ours.sort_by_key(|(key, _)| *key);
    ours
}

#[test]
fn routes_are_added_replaced_and_deleted_in_both_families_and_read_back() {
    inside(|netlink, wan| {
        let via =
            Hop::Device { ifindex: wan, gateway: Some(GATEWAY.into()), source: Some([192, 0, 2, 1].into()) };
        let batch = [
            change("10.0.0.0/8", Op::Add(device(wan))),
            change("2001:db8::/32", Op::Add(device(wan))),
            change("198.51.100.1/32", Op::Add(via)),
        ];
        assert_eq!(routes::apply(netlink, &batch), [Applied::Done, Applied::Done, Applied::Done]);
        // Again: they are there as wanted.
        assert_eq!(routes::apply(netlink, &batch), [Applied::Done, Applied::Done, Applied::Done]);
        let found = ours(&read::read(netlink).unwrap());
        assert_eq!(
            found,
            [
                (key("10.0.0.0/8"), device(wan)),
                (key("198.51.100.1/32"), via),
                (key("2001:db8::/32"), device(wan)),
            ]
        );
        let replace = |prefix| change(prefix, Op::Replace { old: device(wan), new: Hop::Unreachable });
        let batch = [replace("10.0.0.0/8"), replace("2001:db8::/32")];
        assert_eq!(routes::apply(netlink, &batch), [Applied::Done, Applied::Done]);
        let back = |prefix| change(prefix, Op::Replace { old: Hop::Unreachable, new: device(wan) });
        let found = ours(&read::read(netlink).unwrap());
        assert_eq!((found[0].1, found[2].1), (Hop::Unreachable, Hop::Unreachable));
        assert_eq!(
            routes::apply(netlink, &[back("10.0.0.0/8"), back("2001:db8::/32")]),
            [Applied::Done, Applied::Done]
        );
        let delete = |prefix| change(prefix, Op::Delete(device(wan)));
        let batch =
            [delete("10.0.0.0/8"), delete("2001:db8::/32"), delete("198.51.100.1/32"), delete("10.0.0.0/8")];
        assert!(routes::apply(netlink, &batch).iter().all(|applied| *applied == Applied::Done));
        assert_eq!(ours(&read::read(netlink).unwrap()), []);
    });
}

#[test]
fn a_route_of_someone_else_is_left_alone_and_seen() {
    inside(|netlink, wan| {
        let foreign =
            Route { metric: 20, ..Route::new("10.0.0.0/8".parse().unwrap(), 186, Target::Device(wan)) };
        assert_eq!(netlink.apply(&[RouteChange::Add(foreign)]), [Ok(())]);
        let outcome = routes::apply(
            netlink,
            &[
                change("10.0.0.0/8", Op::Add(Hop::Unreachable)),
                change("10.0.0.0/8", Op::Replace { old: device(wan), new: Hop::Unreachable }),
                change("10.0.0.0/8", Op::Delete(device(wan))),
            ],
        );
        assert_eq!(outcome, [Applied::Foreign, Applied::Foreign, Applied::Done]);
        let view = read::read(netlink).unwrap();
        assert!(view.ours.is_empty());
        let seen = view.underlay.routes.iter().find(|route| route.protocol == 186).unwrap();
        assert_eq!((seen.ifindex, seen.metric, seen.prefix), (wan, 20, key("10.0.0.0/8").prefix));
        assert!(view.underlay.is_local([192, 0, 2, 1].into()));
        assert_eq!(view.underlay.links[&wan].name, "wan");
    });
}

#[test]
fn a_route_of_ours_that_differs_is_put_right() {
    inside(|netlink, wan| {
        let stale = change("10.0.0.0/8", Op::Add(Hop::Unreachable));
        assert_eq!(routes::apply(netlink, &[stale]), [Applied::Done]);
        assert_eq!(routes::apply(netlink, &[change("10.0.0.0/8", Op::Add(device(wan)))]), [Applied::Done]);
        assert_eq!(ours(&read::read(netlink).unwrap()), [(key("10.0.0.0/8"), device(wan))]);
    });
}

#[test]
fn rules_come_once_follow_the_table_and_go() {
    inside(|netlink, _| {
        let ours = |netlink: &mut Netlink| {
            let all = netlink.rules().unwrap();
            all.into_iter().filter(|rule| rule.protocol == PROTOCOL).collect::<Vec<_>>()
        };
        for table in [1000, 1000, 7] {
            rules::apply(netlink, Some(Rules::Install { table, mark: 0xc0de }), &Sources::new()).unwrap();
            let found = ours(netlink);
            assert_eq!(found.len(), 6);
            assert_eq!(found.iter().filter(|rule| rule.table == table).count(), 2);
            assert!(found.iter().any(|rule| rule.mark == Some((0xc0de, u32::MAX)) && rule.table == 254));
        }
        let sources: Sources = [([192, 0, 2, 1].into(), 1_790_000_002)].into();
        rules::apply(netlink, Some(Rules::Install { table: 7, mark: 0xc0de }), &sources).unwrap();
        let found = ours(netlink);
        assert_eq!(found.len(), 7);
        let uplink = found.iter().min_by_key(|rule| rule.priority).unwrap();
        assert_eq!((uplink.table, uplink.source), (1_790_000_002, Some("192.0.2.1/32".parse().unwrap())));
        rules::apply(netlink, Some(Rules::Remove { table: 7 }), &sources).unwrap();
        assert_eq!(ours(netlink), std::slice::from_ref(uplink));
        rules::apply(netlink, None, &Sources::new()).unwrap();
        assert_eq!(ours(netlink), []);
    });
}

#[test]
fn the_sweep_takes_what_nobody_has_open_and_nobody_wants() {
    inside(|netlink, _| {
        for name in ["kept0", "left0"] {
            drop(Tun::open(netlink, &TunOptions::new(name)).unwrap());
        }
        let held = Tun::open(netlink, &TunOptions::new("held0")).unwrap();
        device::sweep(netlink, &BTreeSet::from(["kept0".to_owned()]));
        let mut names: Vec<String> = tun::ours(netlink).unwrap().into_iter().map(|link| link.name).collect();
        names.sort();
        assert_eq!(names, ["held0", "kept0"]);
        drop(held);
    });
}

#[test]
fn an_interface_has_exactly_its_addresses_also_after_its_mtu_was_too_small_for_ipv6() {
    inside(|netlink, _| {
        let workers = one_worker();
        let (devices, mut open, tunnel) =
            (workers.devices(), device::OpenDevices::new(), tunnel::TunnelId(1));
        let mut change = |netlink: &mut Netlink, change| {
            device::carry_out(netlink, &devices, &mut open, &super::load_control(), tunnel, change)
        };
        let wanted = [("10.9.0.1", 24), ("2001:db8:9::1", 64)].map(|(a, len)| (a.parse().unwrap(), len));
        let opened = |addresses: &[(std::net::IpAddr, u8)]| gateway::Device::Open {
            name: "vti0".to_owned(),
            addresses: addresses.to_vec(),
            mtu: 1400,
            queues: 1,
        };
        // The second finds the first still attached for a moment, and one address too many.
        for addresses in [&wanted[..], &wanted[1..], &wanted[..]] {
            let done = change(netlink, opened(addresses));
            assert!(matches!(done, Some(super::Done::Device { outcome: Ok(_), .. })), "{done:?}");
            let index = netlink.link_by_name("vti0").unwrap().unwrap().index;
            assert_eq!(held(netlink, index), addresses);
        }
        let index = netlink.link_by_name("vti0").unwrap().unwrap().index;
        change(netlink, gateway::Device::Mtu(1200));
        assert_eq!(held(netlink, index), wanted[..1]);
        change(netlink, gateway::Device::Mtu(1400));
        assert_eq!(held(netlink, index), wanted);
        change(netlink, gateway::Device::Close);
        assert_eq!(netlink.link_by_name("vti0").unwrap(), None);
        workers.stop();
    });
}

fn held(netlink: &mut Netlink, index: u32) -> Vec<(std::net::IpAddr, u8)> {
    let found = netlink.addresses(Some(index)).unwrap();
    let mut found: Vec<_> = found.into_iter().map(|held| (held.address, held.prefix_len)).collect();
    found.sort();
    found
}

#[test]
fn a_route_the_kernel_does_not_take_leaves_what_stands_there() {
    inside(|netlink, wan| {
        let nobodys: std::net::IpAddr = [203, 0, 113, 77].into();
        let bad = Hop::Device { ifindex: wan, gateway: None, source: Some(nobodys) };
        assert_eq!(
            routes::apply(netlink, &[change("10.0.0.0/8", Op::Add(Hop::Unreachable))]),
            [Applied::Done]
        );
        for op in [Op::Replace { old: Hop::Unreachable, new: bad }, Op::Add(bad)] {
            let outcome = routes::apply(netlink, &[change("10.0.0.0/8", op)]);
            assert!(matches!(outcome[..], [Applied::Failed(_)]), "{outcome:?}");
            assert_eq!(ours(&read::read(netlink).unwrap()), [(key("10.0.0.0/8"), Hop::Unreachable)]);
        }
        netlink.add_address(&Address::new(wan, nobodys, 32)).unwrap();
        let replace = change("10.0.0.0/8", Op::Replace { old: Hop::Unreachable, new: bad });
        assert_eq!(routes::apply(netlink, &[replace]), [Applied::Done]);
        assert_eq!(ours(&read::read(netlink).unwrap()), [(key("10.0.0.0/8"), bad)]);
    });
}

#[test]
fn a_path_that_is_none_is_told_from_a_prefix_that_is_refused() {
    inside(|netlink, _| {
        for prefix in ["192.0.2.77/32", "2001:db8::77/128"] {
            assert_eq!(routes::apply(netlink, &[change(prefix, Op::Add(Hop::Prohibit))]), [Applied::Done]);
        }
        let found = ours(&read::read(netlink).unwrap());
        assert_eq!(found, [(key("192.0.2.77/32"), Hop::Prohibit), (key("2001:db8::77/128"), Hop::Prohibit)]);
    });
}

/// A worker in the namespace of the caller.
pub(super) fn one_worker() -> workers::Workers {
    let publisher = tunnel::publish::Publisher::default();
    #[expect(clippy::disallowed_methods, reason = "ticks need an origin")]
    let origin = std::time::Instant::now();
    let sockets = crate::sockets::open(std::num::NonZeroU32::MIN, None).unwrap();
    workers::Workers::start(sockets.workers, &publisher.reader(), origin).unwrap().0
}

/// A host thread in the namespace of the caller, with the workers it needs.
fn host_thread() -> (super::Host, tokio::sync::mpsc::Receiver<super::Done>, workers::Workers) {
    let workers = one_worker();
    let (host, done) = super::Host::start(BTreeSet::new(), workers.devices(), super::load_control()).unwrap();
    (host, done, workers)
}

#[test]
fn a_rule_of_ours_that_somebody_removed_is_put_back_unasked() {
    inside(|netlink, _| {
        let (host, mut done, workers) = host_thread();
        host.command(super::Command::Rules(Rules::Install { table: 1000, mark: 0xc0de })).unwrap();
        while !matches!(done.blocking_recv().unwrap(), super::Done::Rules(Ok(()))) {}
        let ours = |netlink: &mut Netlink| -> Vec<_> {
            netlink.rules().unwrap().into_iter().filter(|rule| rule.protocol == PROTOCOL).collect()
        };
        let before = ours(netlink);
        assert_eq!(before.len(), 6);
        let groups = Groups { links: false, addresses: false, routes: false, rules: true };
        let mut monitor = Monitor::open(groups).unwrap();
        let epoll = Epoll::new().unwrap();
        epoll.add(&monitor, 0, Interest::READ).unwrap();
        let mut gone = 0;
        for rule in &before {
            netlink.delete_rule(rule).unwrap();
        }
        let mut ready = Vec::new();
        while ours(netlink).len() < before.len() || gone < before.len() {
            // Whoever waits in vain fails.
            epoll.wait(&mut ready, Some(std::time::Duration::from_secs(10))).unwrap();
            assert!(!ready.is_empty(), "{:?}", ours(netlink));
            while let Some(event) = monitor.next_event().unwrap() {
                gone += usize::from(matches!(event, Event::RuleRemoved(_)));
            }
        }
        assert_eq!(ours(netlink).len(), before.len());
        host.command(super::Command::Rules(Rules::Remove { table: 1000 })).unwrap();
        while !matches!(done.blocking_recv().unwrap(), super::Done::Rules(Ok(()))) {}
        assert_eq!(ours(netlink), []);
        drop(done);
        host.stop();
        assert_eq!(ours(netlink), [], "what we took away stays away");
        workers.stop();
    });
}

#[test]
fn a_device_that_someone_deletes_is_let_go_and_news_for_the_gateway() {
    inside(|netlink, _| {
        let (host, mut done, workers) = host_thread();
        let open =
            gateway::Device::Open { name: "vti0".to_owned(), addresses: Vec::new(), mtu: 1400, queues: 1 };
        host.command(super::Command::Device(tunnel::TunnelId(1), open)).unwrap();
        let index = loop {
            if let super::Done::Device { outcome, .. } = done.blocking_recv().unwrap() {
                break outcome.unwrap().index;
            }
        };
        netlink.delete_link(index).unwrap();
        loop {
            match done.blocking_recv() {
                Some(super::Done::Kernel(view)) if !view.underlay.links.contains_key(&index) => break,
                Some(_) => {}
                None => panic!("the host thread is gone"),
            }
        }
        drop(done);
        host.stop();
        workers.stop();
    });
}

#[test]
fn devices_that_go_together_are_gone_before_what_was_asked_after_them() {
    inside(|netlink, _| {
        let (host, mut done, workers) = host_thread();
        let tunnel = |number: u32| tunnel::TunnelId(number);
        let open = |number: u32| {
            let (name, addresses) = (format!("vti{number}"), Vec::new());
            super::Command::Device(
                tunnel(number),
                gateway::Device::Open { name, addresses, mtu: 1400, queues: 1 },
            )
        };
        let opened = |done: &mut tokio::sync::mpsc::Receiver<super::Done>| loop {
            if let super::Done::Device { outcome, .. } = done.blocking_recv().unwrap() {
                break outcome.unwrap().index;
            }
        };
        (0..5).for_each(|number| host.command(open(number)).unwrap());
        let first: Vec<u32> = (0..5).map(|_| opened(&mut done)).collect();
        (1..5).for_each(|number| {
            host.command(super::Command::Device(tunnel(number), gateway::Device::Close)).unwrap();
        });
        host.command(open(3)).unwrap();
        let again = opened(&mut done);
        assert!(!first.contains(&again));
        let left: Vec<u32> = tun::ours(netlink).unwrap().iter().map(|link| link.index).collect();
        assert_eq!(left, [first[0], again]);
        drop(done);
        host.stop();
        workers.stop();
    });
}

/// What is logged meanwhile, one line each.
fn logged(meanwhile: impl FnOnce()) -> String {
    let (mut lines, writer) = std::io::pipe().unwrap();
    let subscriber =
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.try_clone().unwrap());
    tracing::subscriber::with_default(subscriber.finish(), meanwhile);
    let mut text = String::new();
    lines.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn of_devices_that_go_together_one_that_is_anothers_by_now_is_left_and_told_of() {
    inside(|netlink, _| {
        let workers = one_worker();
        let (devices, mut open) = (workers.devices(), device::OpenDevices::new());
        let tunnels = [1, 2, 3].map(tunnel::TunnelId);
        for tunnel in tunnels {
            let (name, addresses) = (format!("vti{}", tunnel.0), Vec::new());
            let change = gateway::Device::Open { name, addresses, mtu: 1400, queues: 1 };
            let done =
                device::carry_out(netlink, &devices, &mut open, &super::load_control(), tunnel, change);
            assert!(matches!(done, Some(super::Done::Device { outcome: Ok(_), .. })), "{done:?}");
        }
        assert!(tun::remove(netlink, "vti2").unwrap());
        netlink.create_bridge("vti2").unwrap();
        let said = logged(|| device::close(netlink, &devices, &mut open, &tunnels));
        assert_eq!(tun::ours(netlink).unwrap(), []);
        assert_eq!(netlink.link_by_name("vti2").unwrap().unwrap().kind, "bridge");
        let lines: Vec<&str> = said.lines().collect();
        let [line] = lines[..] else { panic!("{said}") };
        assert!(line.contains("ERROR") && line.contains("interface=vti2"), "{line}");
        assert!(line.contains("exists and is not causeway's (kind 'bridge'"), "{line}");
        workers.stop();
    });
}
