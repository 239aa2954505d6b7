//! Protocol 50 over both families.

use std::net::{IpAddr, SocketAddr};

use super::{A4_SECOND, A6, B4, B6, Pair, readable};
use crate::datagram::{PathErrorKind, RecvRing, Run, SendArena, SendFailure, Source};
use crate::netns::Namespace;
use crate::raw::{EspOptions, EspSocket, Family};

fn open(namespace: &Namespace, family: Family) -> EspSocket {
    namespace.run(|| EspSocket::open(&EspOptions::new(family)).unwrap()).unwrap()
}

#[test]
fn packets_of_a_run_arrive_one_by_one_without_their_ip_header() {
    let pair = Pair::new();
    let cases: [(Family, IpAddr, IpAddr); 2] =
        [(Family::V4, A4_SECOND.into(), B4.into()), (Family::V6, A6.into(), B6.into())];
    for (family, source, to) in cases {
        let (from, at) = (open(&pair.a, family), open(&pair.b, family));
        let bytes: Vec<u8> = (0..70 * 200 - 50).map(|i| (i % 253) as u8).collect();
        let run = Run {
            source: Some(Source { address: source, ifindex: pair.index_a }),
            tos: 0xb9,
            segment: Some(200),
            ..Run::single(SocketAddr::new(to, 4500), &bytes)
        };
        let report = from.send_runs(&[run], &mut SendArena::new());
        assert_eq!((report.datagrams, report.calls), (70, 2), "{report:?}");
        let mut ring = RecvRing::new(64, 2048);
        let mut got = Vec::new();
        let mut count = 0;
        while got.len() < bytes.len() {
            readable(&at);
            count += at.recv_batch(&mut ring).unwrap();
            for message in ring.messages() {
                assert_eq!((message.source, message.destination), (SocketAddr::new(source, 0), to));
                assert_eq!((message.tos, message.segment), (0xb9, message.bytes.len()));
                assert_ne!(message.ifindex, 0);
                got.extend_from_slice(message.bytes);
            }
        }
        assert!(got == bytes, "{family:?}");
        assert_eq!(count, 70);
    }
}

#[test]
fn a_packet_above_the_mtu_is_refused_with_the_paths_mtu() {
    let pair = Pair::new();
    for (family, to) in [(Family::V4, IpAddr::from(B4)), (Family::V6, B6.into())] {
        let from = open(&pair.a, family);
        let mut arena = SendArena::new();
        let packet = vec![1; 1600];
        let runs =
            [Run::single(SocketAddr::new(to, 0), &packet), Run::single(SocketAddr::new(to, 0), b"fits")];
        let report = pair.a.run(|| from.send_runs(&runs, &mut arena)).unwrap();
        assert_eq!((report.datagrams, report.failed), (1, 1));
        assert_eq!(arena.failures()[0].failure, SendFailure::TooBig { mtu: Some(1500) }, "{family:?}");
    }
}

#[test]
fn a_host_without_esp_says_so_through_the_error_queue() {
    let pair = Pair::new();
    let hearing = EspOptions { path_errors: true, ..EspOptions::new(Family::V4) };
    let from = pair.a.run(|| EspSocket::open(&hearing).unwrap()).unwrap();
    let to = SocketAddr::new(B4.into(), 0);
    from.send_runs(&[Run::single(to, &[0, 0, 0x12, 0x34, 0, 0, 0, 1])], &mut SendArena::new());
    let epoll = crate::epoll::Epoll::new().unwrap();
    epoll.add(&from, 0, crate::epoll::Interest::READ).unwrap();
    epoll.wait(&mut Vec::with_capacity(1), Some(std::time::Duration::from_secs(20))).unwrap();
    let error = from.next_path_error().unwrap().unwrap();
    assert_eq!((error.dest.ip(), error.kind), (B4.into(), PathErrorKind::Refused));
    assert!(error.payload.windows(4).any(|w| w == [0, 0, 0x12, 0x34]), "{:?}", error.payload);
}

#[test]
fn a_held_protocol_is_found() {
    let pair = Pair::new();
    let _socket = open(&pair.a, Family::V6);
    let held = pair.a.run(|| crate::procnet::raw_holders(50).unwrap()).unwrap();
    assert_eq!(held.len(), 1, "{held:?}");
    assert_eq!(pair.b.run(|| crate::procnet::raw_holders(50).unwrap()).unwrap(), []);
}
