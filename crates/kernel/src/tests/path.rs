//! A router with a narrow link in the way: what the sender hears of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use inet::Prefix;

use super::configure;
use crate::datagram::{PathError, PathErrorKind, Run, SendArena, SendFailure};
use crate::epoll::{Epoll, Interest};
use crate::netlink::{LinkChange, Route, RouteChange, Target};
use crate::netns::Namespace;
use crate::raw::{EspOptions, EspSocket, Family};
use crate::udp::{UdpOptions, UdpSocket, path_mtu};

const NEAR4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const FAR4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
const NEAR6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
const FAR6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 2);

/// A sender, and behind a router a link of 1300 octets. The far end need not exist beyond its address.
struct Line {
    sender: Namespace,
    _router: Namespace,
    _far: Namespace,
}

impl Line {
    fn new() -> Self {
        let line = Self {
            sender: Namespace::anonymous().unwrap(),
            _router: Namespace::anonymous().unwrap(),
            _far: Namespace::anonymous().unwrap(),
        };
        let mut router = line._router.netlink().unwrap();
        router.create_veth("near", "out", Some(line.sender.as_fd())).unwrap();
        router.create_veth("far", "in", Some(line._far.as_fd())).unwrap();
        let gateway4: IpAddr = Ipv4Addr::new(192, 0, 2, 254).into();
        let gateway6: IpAddr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0xff).into();
        configure(&line._router, "near", &[(gateway4, 24), (gateway6, 64)]);
        let far6 = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 1);
        let far = configure(
            &line._router,
            "far",
            &[(Ipv4Addr::new(198, 51, 100, 1).into(), 24), (far6.into(), 64)],
        );
        configure(&line._far, "in", &[(FAR4.into(), 24), (FAR6.into(), 64)]);
        router.set_link(far, &LinkChange { mtu: Some(1300), ..LinkChange::default() }).unwrap();
        let forward = || {
            std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
            std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
        };
        line._router.run(forward).unwrap();
        let out = configure(&line.sender, "out", &[(NEAR4.into(), 24), (NEAR6.into(), 64)]);
        let through = |prefix, via| {
            RouteChange::Add(Route::new(
                prefix,
                200,
                Target::Gateway { via, device: Some(out), onlink: false },
            ))
        };
        let changes = [through(Prefix::default_v4(), gateway4), through(Prefix::default_v6(), gateway6)];
        assert_eq!(line.sender.netlink().unwrap().apply(&changes), vec![Ok(()); 2]);
        line
    }
}

/// Wait for a report in the error queue.
fn report(fd: impl AsFd, next: impl Fn() -> std::io::Result<Option<PathError>>) -> PathError {
    let epoll = Epoll::new().unwrap();
    epoll.add(fd, 0, Interest { readable: false, writable: false }).unwrap();
    loop {
        if let Some(error) = next().unwrap() {
            return error;
        }
        let mut ready = Vec::with_capacity(1);
        epoll.wait(&mut ready, Some(Duration::from_secs(20))).unwrap();
        assert!(!ready.is_empty(), "no report came");
    }
}

#[test]
fn a_narrow_link_on_the_way_is_reported_with_its_mtu_and_obeyed_from_then_on() {
    let line = Line::new();
    line.sender
        .run(|| {
            let any: [(IpAddr, IpAddr, Family); 2] = [
                (Ipv4Addr::UNSPECIFIED.into(), FAR4.into(), Family::V4),
                (Ipv6Addr::UNSPECIFIED.into(), FAR6.into(), Family::V6),
            ];
            for (any, far, family) in any {
                let to = SocketAddr::new(far, 4500);
                let udp = UdpSocket::bind(&UdpOptions {
                    path_errors: true,
                    ..UdpOptions::new(SocketAddr::new(any, 4500))
                })
                .unwrap();
                assert_eq!(path_mtu(to, None, None).unwrap(), 1500);
                udp.send_one(to, None, 0, &[7; 1400]).unwrap();
                let error = report(&udp, || udp.next_path_error());
                assert_eq!((error.dest, error.kind), (to, PathErrorKind::TooBig { mtu: 1300 }));
                assert!(error.reporter.is_some());
                assert_eq!(path_mtu(to, None, None).unwrap(), 1300);
                let bytes = vec![1; 1400 * 3];
                let runs = [
                    Run { segment: Some(1400), ..Run::single(to, &bytes) },
                    Run { segment: Some(1200), ..Run::single(to, &bytes[..3600]) },
                ];
                let mut arena = SendArena::new();
                let sent = udp.send_runs(&runs, &mut arena);
                assert_eq!((sent.datagrams, sent.failed), (3, 3), "{sent:?} {:?}", arena.failures());
                assert_eq!(arena.failures()[0].failure, SendFailure::TooBig { mtu: Some(1300) });
                // Protocol 50 shares what was learned.
                let esp = EspSocket::open(&EspOptions::new(family)).unwrap();
                let sent = esp.send_runs(&[Run::single(to, &bytes[..1400])], &mut arena);
                assert_eq!((sent.datagrams, sent.failed), (0, 1));
                assert_eq!(arena.failures()[0].failure, SendFailure::TooBig { mtu: Some(1300) });
            }
        })
        .unwrap();
}

#[test]
fn protocol_50_learns_of_the_narrow_link_by_itself() {
    let line = Line::new();
    line.sender
        .run(|| {
            for (far, family) in [(IpAddr::from(FAR4), Family::V4), (FAR6.into(), Family::V6)] {
                let to = SocketAddr::new(far, 0);
                let esp =
                    EspSocket::open(&EspOptions { path_errors: true, ..EspOptions::new(family) }).unwrap();
                let sent = esp.send_runs(&[Run::single(to, &[7; 1400])], &mut SendArena::new());
                assert_eq!(sent.datagrams, 1);
                let error = report(&esp, || esp.next_path_error());
                assert_eq!((error.dest.ip(), error.kind), (far, PathErrorKind::TooBig { mtu: 1300 }));
                assert_eq!(esp.path_mtu(to, None).unwrap(), 1300);
            }
        })
        .unwrap();
}
