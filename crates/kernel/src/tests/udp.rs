//! UDP: runs, joins, packet info, errors.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;

use inet::Prefix;

use super::{A4, A4_SECOND, A6, B4, B6, Pair, readable};
use crate::datagram::{PathErrorKind, RecvRing, Run, Segmentation, SendArena, SendFailure, Source};
use crate::netlink::{LinkChange, Route, RouteChange, Rule, Target};
use crate::netns::Namespace;
use crate::raw::{EspOptions, EspSocket, Family};
use crate::udp::{UdpOptions, UdpSocket, path_mtu, source_for};

const ANY4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 4500);
const ANY6: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 4500);

fn bind(namespace: &Namespace, options: &UdpOptions) -> UdpSocket {
    namespace.run(|| UdpSocket::bind(options).unwrap()).unwrap()
}

/// Datagrams of `size` octets, each begun with its number, the last shorter by `cut`.
fn payload(count: usize, size: usize, cut: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for i in 0..count {
        bytes.extend_from_slice(&(i as u32).to_be_bytes());
        bytes.resize((i + 1) * size, i as u8);
    }
    bytes.truncate(count * size - cut);
    bytes
}

/// Receive until `octets` came: the bytes in order, the number of messages, and of segments.
fn gather(socket: &UdpSocket, octets: usize) -> (Vec<u8>, usize, usize) {
    let mut ring = RecvRing::coalescing();
    let (mut bytes, mut messages, mut segments) = (Vec::new(), 0, 0);
    while bytes.len() < octets {
        readable(socket);
        messages += socket.recv_batch(&mut ring).unwrap();
        for message in ring.messages() {
            segments += message.bytes.chunks(message.segment).count();
            bytes.extend_from_slice(message.bytes);
        }
    }
    (bytes, messages, segments)
}

#[test]
fn a_run_is_sent_whole_and_arrives_joined_in_both_families() {
    let pair = Pair::new();
    for (any, to) in [(ANY4, SocketAddr::new(B4.into(), 4500)), (ANY6, SocketAddr::new(B6.into(), 4500))] {
        let (from, at) = (bind(&pair.a, &UdpOptions::new(any)), bind(&pair.b, &UdpOptions::new(any)));
        assert!(from.segmentation() == Segmentation::On && at.uses_gro());
        let bytes = payload(100, 1400, 300);
        let run = Run { segment: Some(1400), ..Run::single(to, &bytes) };
        let mut arena = SendArena::new();
        let report = from.send_runs(&[run, run], &mut arena);
        assert_eq!((report.datagrams, report.bytes), (200, 2 * bytes.len() as u64), "{report:?}");
        assert_eq!((report.calls, arena.failures()), (1, &[][..]));
        let (got, messages, segments) = gather(&at, 2 * bytes.len());
        assert!(got[..bytes.len()] == bytes && got[bytes.len()..] == bytes);
        assert_eq!(segments, 200);
        assert!(messages < 20, "{messages} messages for 200 datagrams");
    }
}

#[test]
fn sockets_that_share_a_port_are_dealt_what_their_rest_says() {
    let pair = Pair::new();
    for (any, to) in [(ANY4, SocketAddr::new(B4.into(), 4500)), (ANY6, SocketAddr::new(B6.into(), 4500))] {
        let shared = UdpOptions { reuse_port: true, ..UdpOptions::new(any) };
        let at: Vec<_> = (0..3).map(|_| bind(&pair.b, &shared)).collect();
        at[0].deal_by_first_word(3.try_into().unwrap()).unwrap();
        let from = bind(&pair.a, &UdpOptions::new(any));
        // The marker of IKE is among them, and numbers that are negative to a program that knows signs.
        for word in [0_u32, 1, 2, 0xffff_fffe, 0xffff_ffff, 0x8000_0001] {
            from.send_one(to, None, 0, &word.to_be_bytes()).unwrap();
            let expected = &at[word as usize % 3];
            let mut ring = RecvRing::coalescing();
            readable(expected);
            assert_eq!(expected.recv_batch(&mut ring).unwrap(), 1, "{word:#x}");
            assert_eq!(*ring.messages().next().unwrap().bytes, word.to_be_bytes());
        }
        from.send_one(to, None, 0, &[0xff]).unwrap();
        readable(&at[0]);
        assert_eq!(at[0].recv_batch(&mut RecvRing::coalescing()).unwrap(), 1);
    }
}

#[test]
fn where_the_kernel_refuses_every_segmented_send_nothing_is_lost_and_it_is_refused_once() {
    let pair = Pair::new();
    let (from, at) = (bind(&pair.a, &UdpOptions::new(ANY4)), bind(&pair.b, &UdpOptions::new(ANY4)));
    // The kernel cuts nothing for a socket that sends without checksums: EINVAL, of whatever size.
    crate::sys::option::set_int(from.as_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
    let bytes = payload(30, 1000, 1);
    let source = Some(Source { address: A4_SECOND.into(), ifindex: 0 });
    let to = SocketAddr::new(B4.into(), 4500);
    let run = Run { segment: Some(1000), source, tos: 0xb9, ..Run::single(to, &bytes) };
    let mut arena = SendArena::new();
    let report = pair.a.run(|| from.send_runs(&[run, run], &mut arena)).unwrap();
    assert_eq!((report.datagrams, arena.failures()), (60, &[][..]), "{report:?}");
    assert_eq!((report.given_up, from.segmentation()), (Some(Segmentation::Refused), Segmentation::Refused));
    let (mut ring, mut got) = (RecvRing::coalescing(), Vec::new());
    while got.len() < 2 * bytes.len() {
        readable(&at);
        at.recv_batch(&mut ring).unwrap();
        for message in ring.messages() {
            got.extend_from_slice(message.bytes);
            assert_eq!(
                (message.source.ip(), message.tos),
                (A4_SECOND.into(), 0xb9),
                "as the send it stands for"
            );
        }
    }
    assert!(got == [&bytes[..], &bytes].concat());
    let report = from.send_runs(&[run], &mut arena);
    assert_eq!((report.datagrams, report.calls, report.given_up), (30, 1, None), "not tried again");
}

#[test]
fn without_offload_the_same_runs_go_as_single_datagrams() {
    let pair = Pair::new();
    let plain = UdpOptions { offload: false, ..UdpOptions::new(ANY4) };
    let (from, at) = (bind(&pair.a, &plain), bind(&pair.b, &plain));
    let bytes = payload(150, 1000, 1);
    let run = Run { segment: Some(1000), ..Run::single(SocketAddr::new(B4.into(), 4500), &bytes) };
    let report = from.send_runs(&[run], &mut SendArena::new());
    assert_eq!((report.datagrams, report.calls), (150, 3));
    let (got, messages, _) = gather(&at, bytes.len());
    assert!(got == bytes);
    assert_eq!(messages, 150);
}

#[test]
fn an_answer_leaves_by_the_address_and_interface_the_question_came_to() {
    let pair = Pair::new();
    let (server, client) = (bind(&pair.a, &UdpOptions::new(ANY4)), bind(&pair.b, &UdpOptions::new(ANY4)));
    let mut ring = RecvRing::new(4, 2048);
    client.send_one(SocketAddr::new(A4_SECOND.into(), 4500), None, 0xb9, b"question").unwrap();
    readable(&server);
    assert_eq!(server.recv_batch(&mut ring).unwrap(), 1);
    let question = ring.messages().next().unwrap();
    assert_eq!((&*question.bytes, question.segment, question.tos), (&b"question"[..], 8, 0xb9));
    assert_eq!(question.source, SocketAddr::new(B4.into(), 4500));
    assert_eq!((question.destination, question.ifindex), (A4_SECOND.into(), pair.index_a));
    let source = Source { address: question.destination, ifindex: question.ifindex };
    server.send_one(question.source, Some(source), 0, b"answer").unwrap();
    readable(&client);
    assert_eq!(client.recv_batch(&mut ring).unwrap(), 1);
    assert_eq!(ring.messages().next().unwrap().source.ip(), A4_SECOND);
    assert_eq!(client.recv_batch(&mut ring).unwrap(), 0);
    assert!(ring.is_empty());
}

#[test]
fn a_source_address_that_is_not_ours_is_no_way_to_anywhere() {
    let pair = Pair::new();
    for (any, to, source) in [
        (ANY4, IpAddr::from(B4), IpAddr::from([203, 0, 113, 5])),
        (ANY6, B6.into(), Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 9).into()),
    ] {
        let source = Some(Source { address: source, ifindex: 0 });
        let outcome = bind(&pair.a, &UdpOptions::new(any)).send_one(SocketAddr::new(to, 9), source, 0, b"x");
        assert!(matches!(outcome, Err(SendFailure::Unreachable(_))), "{outcome:?}");
    }
}

#[test]
fn packet_info_and_traffic_class_hold_for_ipv6_too() {
    let pair = Pair::new();
    let (from, at) = (bind(&pair.b, &UdpOptions::new(ANY6)), bind(&pair.a, &UdpOptions::new(ANY6)));
    from.send_one(SocketAddr::new(A6.into(), 4500), None, 0x2e, b"six").unwrap();
    let mut ring = RecvRing::new(4, 2048);
    readable(&at);
    at.recv_batch(&mut ring).unwrap();
    let message = ring.messages().next().unwrap();
    assert_eq!((message.destination, message.ifindex, message.tos), (A6.into(), pair.index_a, 0x2e));
}

#[test]
fn one_bad_run_does_not_stop_the_others() {
    let pair = Pair::new();
    let (from, at) = (bind(&pair.a, &UdpOptions::new(ANY4)), bind(&pair.b, &UdpOptions::new(ANY4)));
    let to = SocketAddr::new(B4.into(), 4500);
    let nowhere = SocketAddr::new(Ipv4Addr::new(198, 51, 100, 1).into(), 4500);
    let (good, big) = (payload(3, 100, 0), payload(4, 2000, 0));
    let runs = [
        Run { segment: Some(100), ..Run::single(to, &good) },
        Run { segment: Some(2000), ..Run::single(to, &big) },
        Run::single(nowhere, b"lost"),
        Run { segment: Some(100), ..Run::single(to, &good) },
    ];
    let mut arena = SendArena::new();
    let report = pair.a.run(|| from.send_runs(&runs, &mut arena)).unwrap();
    assert_eq!((report.datagrams, report.failed, report.full), (6, 5, 0), "{report:?}");
    let failures: Vec<_> = arena.failures().iter().map(|f| (f.run, f.failure)).collect();
    let expected =
        [(1, SendFailure::TooBig { mtu: Some(1500) }), (2, SendFailure::Unreachable(libc::ENETUNREACH))];
    assert_eq!(failures, expected);
    assert_eq!(from.segmentation(), Segmentation::On, "a datagram too big is no reason to give GSO up");
    assert_eq!(gather(&at, 600).0.len(), 600);
}

#[test]
fn a_full_socket_buffer_is_counted_or_waited_for() {
    let pair = Pair::new();
    let small = UdpOptions { buffer: 4096, ..UdpOptions::new(ANY4) };
    let from = bind(&pair.a, &small);
    // Nobody answers for this address, so that datagrams stay queued behind its resolution.
    let to = SocketAddr::new(Ipv4Addr::new(192, 0, 2, 200).into(), 4500);
    let bytes = payload(200, 1000, 0);
    let run = Run { segment: Some(1000), ..Run::single(to, &bytes) };
    let mut arena = SendArena::new();
    let report = from.send_runs(&[run, run], &mut arena);
    assert!(report.full > 0, "{report:?}");
    assert_eq!(report.datagrams + report.full + report.failed, 400, "{report:?}");
    assert!(arena.failures().iter().all(|f| f.failure == SendFailure::Full));
}

#[test]
fn the_error_queue_tells_who_refused_and_of_what() {
    let pair = Pair::new();
    let hearing = UdpOptions { path_errors: true, ..UdpOptions::new(ANY4) };
    let from = bind(&pair.a, &hearing);
    let to = SocketAddr::new(B4.into(), 4500);
    from.send_one(to, None, 0, b"anyone?").unwrap();
    readable_error(&from);
    let error = from.next_path_error().unwrap().unwrap();
    assert_eq!((error.dest, error.kind), (to, PathErrorKind::Refused));
    assert_eq!((error.reporter, &error.payload[..]), (Some(B4.into()), &b"anyone?"[..]));
    assert_eq!(from.next_path_error().unwrap(), None);
    // The error that waits on the socket must cost neither a send nor a receive.
    let at = bind(&pair.b, &UdpOptions::new(ANY4));
    from.send_one(to, None, 0, b"again").unwrap();
    assert_eq!(gather(&at, 5).0, b"again");
    assert_eq!(from.recv_batch(&mut RecvRing::new(1, 100)).unwrap(), 0);
}

fn readable_error(socket: &UdpSocket) {
    let epoll = crate::epoll::Epoll::new().unwrap();
    epoll.add(socket, 0, crate::epoll::Interest { readable: false, writable: false }).unwrap();
    let mut ready = Vec::with_capacity(1);
    epoll.wait(&mut ready, Some(std::time::Duration::from_secs(20))).unwrap();
    assert!(ready.iter().any(|r| r.error));
}

#[test]
fn the_path_mtu_follows_the_route_and_the_device() {
    let pair = Pair::new();
    let to = SocketAddr::new(B4.into(), 4500);
    let socket = bind(&pair.a, &UdpOptions::new(ANY4));
    let (wide, narrow) = pair
        .a
        .run(|| {
            let wide = socket.path_mtu(to, None).unwrap();
            let mut netlink = crate::netlink::Netlink::open().unwrap();
            let host = Prefix::host(B4.into());
            let route = Route { mtu: Some(1300), ..Route::new(host, 200, Target::Device(pair.index_a)) };
            netlink.apply(&[RouteChange::Add(route)]).remove(0).unwrap();
            (wide, path_mtu(to, None, None).unwrap())
        })
        .unwrap();
    assert_eq!((wide, narrow), (1500, 1300));
    let bytes = payload(4, 1400, 0);
    let run = Run { segment: Some(1400), ..Run::single(to, &bytes) };
    let mut arena = SendArena::new();
    // The socket asks in the calling thread's namespace, as a worker's thread lives in one.
    pair.a.run(|| socket.send_runs(&[run], &mut arena)).unwrap();
    assert_eq!(arena.failures()[0].failure, SendFailure::TooBig { mtu: Some(1300) });
    let mut netlink = pair.a.netlink().unwrap();
    netlink.set_link(pair.index_a, &LinkChange { mtu: Some(1280), ..LinkChange::default() }).unwrap();
    assert_eq!(pair.a.run(|| path_mtu(SocketAddr::new(B6.into(), 1), None, None).unwrap()).unwrap(), 1280);
    assert_eq!(pair.a.run(|| source_for(B4.into(), None).unwrap()).unwrap(), A4);
}

#[test]
fn a_message_larger_than_its_slot_comes_empty_and_a_second_socket_is_refused() {
    let pair = Pair::new();
    let (from, at) = (bind(&pair.a, &UdpOptions::new(ANY4)), bind(&pair.b, &UdpOptions::new(ANY4)));
    let mut ring = RecvRing::new(2, 100);
    from.send_one(SocketAddr::new(B4.into(), 4500), None, 0, &[1; 101]).unwrap();
    readable(&at);
    assert_eq!(at.recv_batch(&mut ring).unwrap(), 1);
    assert_eq!(ring.messages().next().unwrap().bytes.len(), 0);
    let second = pair.b.run(|| UdpSocket::bind(&UdpOptions::new(ANY4))).unwrap();
    assert_eq!(second.unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    let shared = UdpOptions { reuse_port: true, ..UdpOptions::new(ANY6) };
    let _both = (bind(&pair.b, &shared), bind(&pair.b, &shared));
    let held = pair.b.run(|| crate::procnet::udp_holders(&[4500]).unwrap()).unwrap();
    assert_eq!(held.len(), 3, "{held:?}");
    let me = format!("({})", std::process::id());
    assert!(held.iter().all(|h| h.processes.iter().any(|p| p.ends_with(&me))), "{held:?}");
}

#[test]
fn the_path_mtu_is_that_of_the_mark_a_socket_has_now() {
    const TABLE: u32 = 100;
    const MARK: u32 = 7;
    let pair = Pair::new();
    let to = SocketAddr::new(B4.into(), 4500);
    pair.a
        .run(|| {
            let mut netlink = crate::netlink::Netlink::open().unwrap();
            let narrow = Route {
                mtu: Some(1300),
                table: TABLE,
                ..Route::new(Prefix::host(B4.into()), 200, Target::Device(pair.index_a))
            };
            assert_eq!(netlink.apply(&[RouteChange::Add(narrow)]), [Ok(())]);
            netlink
                .add_rule(&Rule { mark: Some((MARK, u32::MAX)), ..Rule::new(true, 200, TABLE, 200) })
                .unwrap();
            let udp = UdpSocket::bind(&UdpOptions::new(ANY4)).unwrap();
            let esp = EspSocket::open(&EspOptions::new(Family::V4)).unwrap();
            for (mark, mtu) in [(0, 1500), (MARK, 1300), (0, 1500)] {
                socket2::SockRef::from(&udp).set_mark(mark).unwrap();
                socket2::SockRef::from(&esp).set_mark(mark).unwrap();
                assert_eq!((udp.path_mtu(to, None).unwrap(), esp.path_mtu(to, None).unwrap()), (mtu, mtu));
            }
        })
        .unwrap();
}
