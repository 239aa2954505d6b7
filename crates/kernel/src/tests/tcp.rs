//! TCP as BGP wants it.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::num::NonZeroU8;
use std::os::fd::AsFd;
use std::time::Duration;

use super::{A4, A4_SECOND, A6, B4, B6, Pair, readable};
use crate::epoll::{Epoll, Interest};
use crate::netns::Namespace;
use crate::sys::option;
use crate::tcp::{self, Listener, Md5Key, TcpOptions};

fn options(change: impl FnOnce(&mut TcpOptions)) -> TcpOptions {
    let mut options = TcpOptions::default();
    change(&mut options);
    options
}

fn connect(from: &Namespace, to: SocketAddr, options: &TcpOptions) -> TcpStream {
    from.run(|| tcp::connect(to, options).unwrap()).unwrap()
}

/// Wait until a connection attempt ended, and how.
fn settled(stream: &TcpStream) -> Option<std::io::Error> {
    let epoll = Epoll::new().unwrap();
    epoll.add(stream, 0, Interest { readable: false, writable: true }).unwrap();
    let mut ready = Vec::with_capacity(1);
    epoll.wait(&mut ready, Some(Duration::from_secs(20))).unwrap();
    assert!(!ready.is_empty(), "neither connected nor refused");
    stream.take_error().unwrap()
}

#[test]
fn a_session_socket_keeps_to_its_device_source_and_options() {
    let pair = Pair::new();
    let cases: [(IpAddr, IpAddr); 2] = [(A4_SECOND.into(), B4.into()), (A6.into(), B6.into())];
    for (source, to) in cases {
        let to = SocketAddr::new(to, 179);
        let listening = options(|o| o.device = Some("to-a".into()));
        let listener = pair.b.run(|| Listener::bind(to, &listening).unwrap()).unwrap();
        assert!(listener.accept().unwrap().is_none());
        let wanted = options(|o| {
            o.device = Some("to-b".into());
            o.source = Some(source);
            o.ttl = NonZeroU8::new(2);
            o.mss = Some(1000);
            o.user_timeout = Some(Duration::from_secs(60));
            o.keepalive = Some((Duration::from_secs(30), Duration::from_secs(5)));
        });
        let mut stream = connect(&pair.a, to, &wanted);
        assert!(settled(&stream).is_none());
        readable(&listener);
        let mut accepted = listener.accept().unwrap().unwrap();
        assert_eq!((accepted.remote.ip(), accepted.local), (source, to));
        assert_ne!(tcp::bound_device(&accepted.stream).unwrap(), 0);
        tcp::tune_accepted(&accepted.stream, &options(|o| o.ttl = NonZeroU8::new(255))).unwrap();
        let (level, name, class) = match source {
            IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_TTL, libc::IP_TOS),
            IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, libc::IPV6_TCLASS),
        };
        assert_eq!(option::get_int(stream.as_fd(), level, name).unwrap(), 2);
        assert_eq!(option::get_int(accepted.stream.as_fd(), level, name).unwrap(), 255);
        assert_eq!(option::get_int(stream.as_fd(), level, class).unwrap(), 0xc0);
        let mss = option::get_int(accepted.stream.as_fd(), libc::IPPROTO_TCP, libc::TCP_MAXSEG).unwrap();
        assert!(mss <= 1000, "{mss}");
        stream.write_all(b"hello").unwrap();
        readable(&accepted.stream);
        let mut got = [0; 5];
        accepted.stream.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"hello");
        measures(&stream, &accepted.stream);
    }
}

/// Both ends measured the handshake at the least, and send what the dialler asked for, less the time stamps at most.
fn measures(dialled: &TcpStream, accepted: &TcpStream) {
    for end in [dialled, accepted] {
        let found = tcp::measured(end).unwrap();
        assert!((900..=1000).contains(&found.mss), "{found:?}");
        let plausible = Duration::from_micros(1)..Duration::from_secs(5);
        assert!(plausible.contains(&found.rtt), "{found:?}");
    }
}

#[test]
fn md5_lets_the_right_key_in_and_no_other() {
    let pair = Pair::new();
    for (from, to) in [(IpAddr::from(A4), IpAddr::from(B4)), (A6.into(), B6.into())] {
        let to = SocketAddr::new(to, 179);
        let listener = pair.b.run(|| Listener::bind(to, &TcpOptions::default()).unwrap()).unwrap();
        listener.set_md5(from, Md5Key::new(b"the right key").as_ref()).unwrap();
        let wrong = connect(&pair.a, to, &options(|o| o.md5_key = Md5Key::new(b"another key")));
        let none = connect(&pair.a, to, &TcpOptions::default());
        let right = connect(&pair.a, to, &options(|o| o.md5_key = Md5Key::new(b"the right key")));
        assert!(settled(&right).is_none());
        readable(&listener);
        let accepted = listener.accept().unwrap().unwrap();
        assert_eq!(accepted.remote, right.local_addr().unwrap());
        assert!(listener.accept().unwrap().is_none());
        // Their SYNs are dropped without an answer: still connecting.
        assert!(wrong.peer_addr().is_err() && none.peer_addr().is_err());
        listener.set_md5(from, None).unwrap();
        listener.set_md5(from, None).unwrap();
        assert!(Md5Key::new(&[1; 81]).is_none() && Md5Key::new(&[]).is_none());
    }
}

#[test]
fn a_refused_connection_says_so_and_a_source_may_be_bound_before_it_exists() {
    let pair = Pair::new();
    let refused = connect(&pair.a, SocketAddr::new(B4.into(), 179), &TcpOptions::default());
    assert_eq!(settled(&refused).unwrap().kind(), std::io::ErrorKind::ConnectionRefused);
    let absent = SocketAddr::new([198, 51, 100, 9].into(), 179);
    let listener = pair.a.run(|| Listener::bind(absent, &TcpOptions::default()).unwrap()).unwrap();
    assert_eq!(listener.local().unwrap(), absent);
    let nowhere = pair.a.run(|| tcp::connect(absent, &options(|o| o.device = Some("none".into())))).unwrap();
    assert!(nowhere.is_err());
}

#[test]
fn listeners_of_two_devices_share_an_address() {
    let pair = Pair::new();
    pair.a.netlink().unwrap().create_bridge("br0").unwrap();
    let at = SocketAddr::new(A4.into(), 179);
    let on = |device: &str| {
        pair.a.run(|| Listener::bind(at, &options(|o| o.device = Some(device.into())))).unwrap()
    };
    let _first = on("to-b").unwrap();
    let _second = on("br0").unwrap();
    assert!(on("br0").is_err());
}
