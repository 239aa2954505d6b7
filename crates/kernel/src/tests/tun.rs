//! TUN devices: offloads, adoption, owners.

use std::io::{IoSlice, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use super::{configure, switch};
use crate::epoll::{Bell, Epoll, Interest};
use crate::netlink::{LinkChange, Netlink, NetlinkError, Route, RouteChange, RouteFilter, Target};
use crate::netns::Namespace;
use crate::tun::{self, READ_BUFFER, Steering, Tun, TunError, TunOptions, TunQueue};

#[test]
fn a_tcp_transfer_crosses_two_devices_in_super_packets() {
    let (left, right) = (Namespace::anonymous().unwrap(), Namespace::anonymous().unwrap());
    let (addr_left, addr_right) = (Ipv4Addr::new(10, 9, 0, 1), Ipv4Addr::new(10, 9, 0, 2));
    let open = |ns: &Namespace, address: Ipv4Addr| {
        let tun =
            ns.run(|| Tun::open(&mut Netlink::open().unwrap(), &TunOptions::new("t0")).unwrap()).unwrap();
        configure(ns, "t0", &[(address.into(), 24)]);
        tun
    };
    let (one, two) = (open(&left, addr_left), open(&right, addr_right));
    assert!(one.offloads().tcp && two.offloads().tcp && !one.adopted());
    let sent: Vec<u8> = (0..4_000_000_u32).map(|i| (i * 7 + i / 251) as u8).collect();
    let stop = Bell::new().unwrap();
    let listener = right.run(|| TcpListener::bind((addr_right, 5001)).unwrap()).unwrap();
    std::thread::scope(|scope| {
        let shuttle = scope.spawn(|| carry(&one.queues()[0], &two.queues()[0], &stop));
        let server = scope.spawn(|| {
            let mut got = Vec::new();
            listener.accept().unwrap().0.read_to_end(&mut got).unwrap();
            got
        });
        left.run(|| TcpStream::connect((addr_right, 5001)).unwrap().write_all(&sent).unwrap()).unwrap();
        assert!(server.join().unwrap() == sent, "the transfer arrived changed");
        stop.ring();
        let (largest, segmented) = shuttle.join().unwrap();
        assert!(largest > 10_000, "the largest read was {largest}");
        assert!(segmented > 0, "no super-packet among the reads");
    });
    one.destroy().unwrap();
    two.destroy().unwrap();
    assert_eq!(tun::ours(&mut left.netlink().unwrap()).unwrap(), []);
}

/// Move packets between two devices, headers and all, until the bell rings: the largest read, and how many
/// had a GSO type.
fn carry(one: &TunQueue, two: &TunQueue, stop: &Bell) -> (usize, usize) {
    let epoll = Epoll::new().unwrap();
    epoll.add(one, 1, Interest::READ).unwrap();
    epoll.add(two, 2, Interest::READ).unwrap();
    epoll.add(stop, 3, Interest::READ).unwrap();
    let mut ready = Vec::with_capacity(3);
    let mut buffer = vec![0; READ_BUFFER];
    let (mut largest, mut segmented) = (0, 0);
    loop {
        epoll.wait(&mut ready, Some(Duration::from_secs(20))).unwrap();
        if ready.is_empty() || ready.iter().any(|r| r.token == 3) {
            return (largest, segmented);
        }
        for (from, to) in [(one, two), (two, one)] {
            while let Some(len) = from.read(&mut buffer).unwrap() {
                largest = largest.max(len);
                segmented += usize::from(buffer[1] & 0x7f != 0);
                let (head, body) = buffer[..len].split_at(10);
                let (first, second) = body.split_at(body.len() / 2);
                to.writev(&[IoSlice::new(head), IoSlice::new(first), IoSlice::new(second)]).unwrap();
            }
        }
    }
}

#[test]
fn a_device_left_by_a_crash_is_adopted_with_its_number() {
    inside(|netlink| {
        let options = TunOptions { queue_len: 7000, gso_max: Some(32_000), ..TunOptions::new("vti0") };
        let first = Tun::open(netlink, &options).unwrap();
        let index = first.index();
        switch(netlink, index, true);
        assert!(matches!(Tun::open(netlink, &options), Err(TunError::Busy(_))));
        // As after a kill: the descriptors close, and nothing else happens.
        drop(first);
        let link = netlink.link_by_name("vti0").unwrap().unwrap();
        assert_eq!((link.index, link.up, link.running, link.queue_len), (index, true, false, 7000));
        assert_eq!((link.kind.as_str(), link.alias.as_deref()), ("tun", Some("causeway:vti0")));
        assert_eq!(tun::ours(netlink).unwrap().len(), 1);
        let again = Tun::open(netlink, &options).unwrap();
        assert!(again.adopted());
        assert_eq!(again.index(), index);
        again.destroy().unwrap();
        assert_eq!(netlink.link_by_name("vti0").unwrap(), None);
        assert!(!tun::remove(netlink, "vti0").unwrap());
    });
}

#[test]
fn many_are_removed_together_and_nobody_elses_with_them() {
    inside(|netlink| {
        let open = |netlink: &mut Netlink, name: &str| Tun::open(netlink, &TunOptions::new(name)).unwrap();
        let ours: Vec<Tun> = (0..20).map(|number| open(netlink, &format!("vti{number}"))).collect();
        let kept = open(netlink, "kept");
        netlink.create_bridge("foreign").unwrap();
        // It is in the group that would be asked for first, and has a name that is asked for.
        let taken = 0x6361_0000 | std::process::id() & 0xffff;
        let foreign = netlink.link_by_name("foreign").unwrap().unwrap().index;
        let change = LinkChange { group: Some(taken), ..LinkChange::default() };
        netlink.set_link(foreign, &change).unwrap();
        let names = (0..20).map(|number| format!("vti{number}"));
        let names = names.chain(["foreign".to_owned(), "nobody".to_owned()]).collect();
        for _ in 0..2 {
            let removal = tun::remove_all(netlink, &names);
            assert_eq!(removal.apart, None);
            let [(name, TunError::Foreign { kind, .. })] = &removal.left[..] else { panic!("{removal:?}") };
            assert_eq!((name.as_str(), kind.as_str()), ("foreign", "bridge"));
            let left: Vec<u32> = netlink.links().unwrap().iter().map(|link| link.index).collect();
            assert!(ours.iter().all(|tun| !left.contains(&tun.index())));
            assert!(left.contains(&kept.index()) && left.contains(&foreign));
            assert_eq!(netlink.link_by_name("foreign").unwrap().unwrap().group, taken);
        }
    });
}

#[test]
fn those_the_kernel_does_not_remove_together_are_removed_one_by_one() {
    const GROUP: u32 = 7;
    inside(|netlink| {
        let group = LinkChange { group: Some(GROUP), ..LinkChange::default() };
        // Nobody can remove the loopback, nor with it what is in its group.
        let loopback = netlink.link_by_name("lo").unwrap().unwrap().index;
        netlink.set_link(loopback, &group).unwrap();
        for name in ["vti0", "vti1", "kept"] {
            drop(Tun::open(netlink, &TunOptions::new(name)).unwrap());
        }
        netlink.create_bridge("foreign").unwrap();
        let names = ["vti0", "vti1", "foreign", "nobody"].map(str::to_owned).into();
        let removal = tun::remove_all_in(netlink, &names, |_| GROUP);
        assert!(matches!(removal.apart, Some(NetlinkError::Refused { .. })), "{removal:?}");
        assert!(
            matches!(&removal.left[..], [(name, TunError::Foreign { .. })] if name == "foreign"),
            "{removal:?}"
        );
        let mut left: Vec<String> = netlink.links().unwrap().into_iter().map(|link| link.name).collect();
        left.sort();
        assert_eq!(left, ["foreign", "kept", "lo"]);
    });
}

#[test]
fn without_an_answer_of_the_kernel_each_is_left_with_that_reason() {
    let names = ["vti0", "vti1"].map(str::to_owned).into();
    let removal = tun::remove_all(&mut Netlink::broken().unwrap(), &names);
    assert!(removal.apart.is_some(), "{removal:?}");
    let left: Vec<&str> = removal.left.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(left, ["vti0", "vti1"]);
    assert!(removal.left.iter().all(|(_, why)| matches!(why, TunError::Netlink(_))), "{removal:?}");
}

#[test]
fn a_foreign_device_of_that_name_is_refused_and_left_alone() {
    inside(|netlink| {
        netlink.create_bridge("vti0").unwrap();
        let index = netlink.link_by_name("vti0").unwrap().unwrap().index;
        // Not even the alias makes a bridge ours.
        let alias = LinkChange { alias: Some("causeway:vti0".into()), ..LinkChange::default() };
        netlink.set_link(index, &alias).unwrap();
        let refusal = Tun::open(netlink, &TunOptions::new("vti0")).unwrap_err();
        assert!(matches!(&refusal, TunError::Foreign { kind, .. } if kind == "bridge"), "{refusal}");
        assert!(matches!(tun::remove(netlink, "vti0"), Err(TunError::Foreign { .. })));
        assert_eq!(netlink.link_by_name("vti0").unwrap().unwrap().index, index);
    });
}

#[test]
fn a_device_whose_alias_was_changed_is_no_longer_ours() {
    inside(|netlink| {
        let index = Tun::open(netlink, &TunOptions::new("vti0")).unwrap().index();
        let alias = LinkChange { alias: Some("mine now".into()), ..LinkChange::default() };
        netlink.set_link(index, &alias).unwrap();
        assert!(matches!(Tun::open(netlink, &TunOptions::new("vti0")), Err(TunError::Foreign { .. })));
    });
}

#[test]
fn several_queues_open_and_a_change_of_queue_mode_makes_the_device_anew() {
    inside(|netlink| {
        let many = TunOptions { queues: 3, ..TunOptions::new("vti0") };
        let tun = Tun::open(netlink, &many).unwrap();
        assert_eq!(tun.queues().len(), 3);
        let index = tun.index();
        drop(tun.into_queues());
        let single = Tun::open(netlink, &TunOptions::new("vti0")).unwrap();
        assert_eq!((single.queues().len(), single.index()), (1, index), "it does for one");
        single.destroy().unwrap();
        let single = Tun::open(netlink, &TunOptions::new("vti0")).unwrap();
        let index = single.index();
        drop(single);
        let many = Tun::open(netlink, &many).unwrap();
        assert!(
            many.queues().len() == 3 && many.index() != index,
            "of one queue the kernel makes no several"
        );
    });
}

#[test]
fn a_device_made_anew_leaves_our_routes_refusing() {
    const OURS: u8 = 179;
    inside(|netlink| {
        let tun = Tun::open(netlink, &TunOptions::new("vti0")).unwrap();
        let index = tun.index();
        switch(netlink, index, true);
        drop(tun.into_queues());
        let prefixes = ["10.1.0.0/16", "10.2.0.1/32", "2001:db8:1::/48"].map(|text| text.parse().unwrap());
        let other = Tun::open(netlink, &TunOptions::new("vti1")).unwrap().index();
        switch(netlink, other, true);
        for (table, index) in [(254, index), (1000, index), (1001, other)] {
            let routes = prefixes.map(|prefix| {
                let route = Route::new(prefix, OURS, Target::Device(index));
                RouteChange::Add(Route { table, metric: 20, ..route })
            });
            netlink.apply(&routes).into_iter().for_each(Result::unwrap);
        }
        let kept = TunOptions { queues: 2, kept_routes: Some(OURS), ..TunOptions::new("vti0") };
        assert_eq!(Tun::open(netlink, &kept).unwrap().queues().len(), 2);
        let filter = RouteFilter { table: None, protocol: Some(OURS), ipv4: None };
        let left = netlink.routes(filter).unwrap();
        assert_eq!(left.len(), 9, "{left:?}");
        for route in left {
            let expected = if route.table == 1001 { Target::Device(other) } else { Target::Unreachable };
            assert_eq!(route.target, expected, "{route:?}");
        }
    });
}

#[test]
fn a_device_switched_on_gets_no_address_and_says_nothing() {
    inside(|netlink| {
        let tun = Tun::open(netlink, &TunOptions::new("vti0")).unwrap();
        switch(netlink, tun.index(), true);
        assert_eq!(netlink.addresses(Some(tun.index())).unwrap(), []);
        assert_eq!(tun.queues()[0].read(&mut vec![0; READ_BUFFER]).unwrap(), None);
    });
}

#[test]
fn a_name_the_kernel_would_not_take_is_refused() {
    inside(|netlink| {
        for name in ["", "a-name-too-long-", "a/b", "a b", "..", "tun%d", "a:b"] {
            let refused = Tun::open(netlink, &TunOptions::new(name));
            assert!(matches!(refused, Err(TunError::Name(_))), "{name}");
        }
    });
}

#[test]
fn an_error_of_one_write_spares_the_next() {
    inside(|netlink| {
        let tun = Tun::open(netlink, &TunOptions::new("vti0")).unwrap();
        let queue = &tun.queues()[0];
        let packet = [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 59, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
        let slices = [IoSlice::new(&[0; 10]), IoSlice::new(&packet)];
        assert!(queue.writev(&slices).is_err(), "the device is off");
        switch(netlink, tun.index(), true);
        queue.writev(&slices).unwrap();
        assert!(queue.writev(&vec![IoSlice::new(&[0]); tun::MAX_SLICES + 1]).is_err());
    });
}

fn inside(test: impl FnOnce(&mut Netlink) + Send) {
    let namespace = Namespace::anonymous().unwrap();
    namespace.run(|| test(&mut Netlink::open().unwrap())).unwrap();
}

#[test]
fn a_discipline_someone_chose_stays_and_the_kernels_own_gives_way_to_a_fair_one() {
    let namespace = Namespace::anonymous().unwrap();
    namespace
        .run(|| {
            let mut netlink = Netlink::open().unwrap();
            let tun = Tun::open(&mut netlink, &TunOptions::new("t0")).unwrap();
            let has = netlink.set_root_qdisc(tun.index(), "fq_codel").is_ok();
            assert_eq!(tun.fair().is_ok(), has, "{:?}", tun.fair());
            if !has {
                assert_eq!(tun.fair(), Err("this kernel does not have it"));
            }
            netlink.set_root_qdisc(tun.index(), "pfifo").unwrap();
            drop(tun);
            let tun = Tun::open(&mut netlink, &TunOptions::new("t0")).unwrap();
            assert_eq!(tun.fair(), Err("pfifo is there"));
            assert_eq!(netlink.root_qdisc(tun.index()).unwrap(), "pfifo");
            assert!(netlink.set_root_qdisc(tun.index(), "no-such").unwrap_err().is_missing());
            tun.destroy().unwrap();
        })
        .unwrap();
}

/// DSCP CS6, not ECN-capable.
const CS6: u32 = 0xc0;

#[test]
fn a_control_packet_comes_out_of_a_queue_of_its_own_while_the_other_is_full() {
    const ROOM: u32 = 10;
    let steering = Arc::new(Steering::load().unwrap());
    let namespace = Namespace::anonymous().unwrap();
    let open = || {
        let control = Some(Arc::clone(&steering));
        let options = TunOptions { queue_len: ROOM, control, ..TunOptions::new("t0") };
        Tun::open(&mut Netlink::open().unwrap(), &options)
    };
    namespace
        .run(|| {
            let tun = open().unwrap();
            assert!(matches!(open(), Err(TunError::Busy(_))), "several queues, but not of several programs");
            let ours: [IpAddr; 2] = [[10, 0, 0, 1].into(), "2001:db8::1".parse().unwrap()];
            let index = configure(&namespace, "t0", &ours.map(|address| (address, 32)));
            let mut netlink = Netlink::open().unwrap();
            let beyond = ["10.1.0.0/16", "2001:db8:1::/48"].map(|prefix| {
                RouteChange::Add(Route::new(prefix.parse().unwrap(), 179, Target::Device(index)))
            });
            assert_eq!(netlink.apply(&beyond), [Ok(()), Ok(())]);
            let theirs: [IpAddr; 2] = [[10, 1, 0, 1].into(), "2001:db8:1::1".parse().unwrap()];
            let (data, control) = (&tun.queues()[0], tun.control().unwrap());
            for (own, peer) in ours.into_iter().zip(theirs) {
                let socket = UdpSocket::bind((own, 0)).unwrap();
                let mark = |tos| match own {
                    IpAddr::V4(_) => socket2::SockRef::from(&socket).set_tos_v4(tos).unwrap(),
                    IpAddr::V6(_) => socket2::SockRef::from(&socket).set_tclass_v6(tos).unwrap(),
                };
                let send = |what: &[u8]| drop(socket.send_to(what, (peer, 9)));
                // Neighbours of CS6, and none of it.
                for tos in [0, 0xb8, 0xe0] {
                    mark(tos);
                    (0..100).for_each(|_| send(b"data"));
                }
                mark(CS6);
                send(b"keepalive");
                mark(CS6 | 2);
                send(b"keepalive too");
                let taken = |queue: &TunQueue| {
                    let mut buffer = vec![0; READ_BUFFER];
                    let read = || queue.read(&mut buffer).unwrap().map(|length| buffer[..length].to_vec());
                    std::iter::from_fn(read).collect::<Vec<_>>()
                };
                let (control, data) = (taken(control), taken(data));
                assert!(data.len() >= ROOM as usize && data.len() < 100, "{}", data.len());
                assert!(data.iter().all(|frame| frame.ends_with(b"data")));
                let [first, second] = &control[..] else { panic!("{control:?}") };
                assert!(first.ends_with(b"keepalive") && second.ends_with(b"keepalive too"));
            }
            drop(tun);
            let again = open().unwrap();
            assert!(again.adopted() && again.index() == index && again.control().is_ok());
            again.destroy().unwrap();
        })
        .unwrap();
}

#[test]
fn a_device_of_several_queues_has_none_for_control_packets_and_says_why() {
    let steering = Arc::new(Steering::load().unwrap());
    inside(|netlink| {
        let asked = TunOptions { control: Some(steering), ..TunOptions::new("vti0") };
        let several = Tun::open(netlink, &TunOptions { queues: 2, ..asked.clone() }).unwrap();
        let why = several.control().unwrap_err();
        assert_eq!(why, "the device has several queues, among which the kernel deals");
        assert_eq!(several.into_all_queues().1.map(drop), None);
        // The one that was left does for one queue, with and without another for control packets.
        let one = Tun::open(netlink, &asked).unwrap();
        let index = one.index();
        assert!(one.control().is_ok());
        drop(one);
        let plain = Tun::open(netlink, &TunOptions::new("vti0")).unwrap();
        assert_eq!((plain.control().unwrap_err(), plain.index()), ("not asked for", index));
    });
}

#[test]
fn a_device_left_with_one_queue_stays_with_its_routes_and_without_one_for_control_packets() {
    const PROTOCOL: u8 = 179;
    let steering = Arc::new(Steering::load().unwrap());
    inside(|netlink| {
        let left = Tun::open(netlink, &TunOptions::new("vti0")).unwrap();
        let index = left.index();
        switch(netlink, index, true);
        let route = Route::new("10.1.0.0/16".parse().unwrap(), PROTOCOL, Target::Device(index));
        assert_eq!(netlink.apply(&[RouteChange::Add(route)]), [Ok(())]);
        drop(left);
        let asked =
            TunOptions { control: Some(steering), kept_routes: Some(PROTOCOL), ..TunOptions::new("vti0") };
        let tun = Tun::open(netlink, &asked).unwrap();
        assert!(tun.adopted() && tun.index() == index && tun.queues().len() == 1);
        assert!(tun.control().unwrap_err().contains("left with one queue"));
        let filter = RouteFilter { table: None, protocol: Some(PROTOCOL), ipv4: None };
        let routes = netlink.routes(filter).unwrap();
        assert!(matches!(&routes[..], [route] if route.target == Target::Device(index)), "{routes:?}");
        tun.destroy().unwrap();
        assert!(Tun::open(netlink, &asked).unwrap().control().is_ok(), "made anew it has one");
    });
}

#[test]
fn a_device_left_with_a_queue_for_control_packets_deals_flows_among_several_again() {
    let steering = Arc::new(Steering::load().unwrap());
    let namespace = Namespace::anonymous().unwrap();
    namespace
        .run(|| {
            let mut netlink = Netlink::open().unwrap();
            let control = TunOptions { control: Some(steering), ..TunOptions::new("t0") };
            let left = Tun::open(&mut netlink, &control).unwrap().index();
            let tun = Tun::open(&mut netlink, &TunOptions { queues: 2, ..control }).unwrap();
            assert_eq!(tun.index(), left);
            let index = configure(&namespace, "t0", &[(Ipv4Addr::new(10, 0, 0, 1).into(), 32)]);
            let beyond = Route::new("10.1.0.0/16".parse().unwrap(), 179, Target::Device(index));
            assert_eq!(netlink.apply(&[RouteChange::Add(beyond)]), [Ok(())]);
            for _ in 0..64 {
                UdpSocket::bind("10.0.0.1:0").unwrap().send_to(b"data", "10.1.0.1:9").unwrap();
            }
            for queue in tun.queues() {
                assert!(queue.read(&mut vec![0; READ_BUFFER]).unwrap().is_some());
            }
        })
        .unwrap();
}

#[test]
fn a_device_that_may_have_several_queues_has_one_discipline() {
    let steering = Arc::new(Steering::load().unwrap());
    for fair in [true, false] {
        let control = Some(Arc::clone(&steering));
        inside(|netlink| {
            let options = TunOptions { control, fair, ..TunOptions::new("vti0") };
            let tun = Tun::open(netlink, &options).unwrap();
            switch(netlink, tun.index(), true);
            let root = netlink.root_qdisc(tun.index()).unwrap();
            assert_eq!(root, if tun.fair().is_ok() { "fq_codel" } else { "pfifo" });
            assert!(fair || tun.fair() == Err("not asked for"));
            // One that stood for a while with a discipline for each of its queues has one for all as well.
            let index = tun.index();
            drop(tun);
            netlink.set_root_qdisc(index, "mq").unwrap();
            let tun = Tun::open(netlink, &options).unwrap();
            assert_ne!(netlink.root_qdisc(tun.index()).unwrap(), "mq");
        });
    }
}
