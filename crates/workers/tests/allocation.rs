//! Workers under a full stream allocate nothing: neither for a packet or batch nor for a look at who reads which queue.
//!
//! One test in one binary, as the counter counts the whole process. As root, in network namespaces of its own.
#![allow(clippy::unwrap_used, reason = "a test fails by saying so")]

use std::alloc::System;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU32;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use esp::{InboundParams, InboundSa, Limits, OutboundParams, OutboundSa};
use inet::{Prefix, Selector};
use kernel::netlink::{Address, LinkChange, Netlink, Route, RouteChange, Target};
use kernel::netns::Namespace;
use kernel::tun::{self, Tun, TunOptions};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tunnel::publish::Publisher;
use tunnel::{
    DfPolicy, InboundRow, MssPolicy, OutboundRow, OuterPath, Selectors, Table, TunnelId, TunnelRow,
};
use workers::{Uplink, Workers};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const TUNNEL: TunnelId = TunnelId(3);
const DEVICE: &str = "vti0";
/// Long enough for each worker to look at the loads of all at least once.
const WINDOW: Duration = Duration::from_millis(500);

/// Outer address, inner address, SPI of what comes here.
type Ends = (Ipv4Addr, Ipv4Addr, u32);
const LEFT: Ends = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(10, 0, 0, 1), 0x1000);
const RIGHT: Ends = (Ipv4Addr::new(192, 0, 2, 2), Ipv4Addr::new(10, 0, 0, 2), 0x2001);

#[expect(clippy::disallowed_methods, reason = "ticks need an origin, and windows an end")]
fn now() -> Instant {
    Instant::now()
}

/// One gateway's datapath.
struct Side {
    namespace: Namespace,
    workers: Workers,
    publisher: Publisher,
    _uplink: Uplink,
}

impl Side {
    fn start(namespace: Namespace, own: Ends, peer: Ends, workers: u32, udp: bool) -> Self {
        let mut publisher = Publisher::default();
        let start = || {
            let any = [Ipv4Addr::UNSPECIFIED.into()];
            let shares =
                workers::open(NonZeroU32::new(workers).unwrap(), &any, None, &mut Vec::new()).unwrap();
            let (workers, uplink) = Workers::start(shares, &publisher.reader(), now()).unwrap();
            let tun = device(&mut Netlink::open().unwrap(), own, peer);
            let offloads = tun.offloads();
            workers.devices().attach(TUNNEL, tun.into_queues(), None, offloads);
            (workers, uplink)
        };
        let (workers, uplink) = namespace.run(start).unwrap();
        publisher.publish(Arc::new(table(own, peer, udp)));
        workers.devices().nudge();
        Self { namespace, workers, publisher, _uplink: uplink }
    }

    fn stop(self) {
        self.workers.stop();
        tun::remove(&mut self.namespace.netlink().unwrap(), DEVICE).unwrap();
        drop(self.publisher);
    }
}

/// The tunnel's device, with an address, and a route to the peer's.
fn device(netlink: &mut Netlink, own: Ends, peer: Ends) -> Tun {
    let tun = Tun::open(netlink, &TunOptions::new(DEVICE)).unwrap();
    let change = LinkChange { mtu: Some(1400), up: Some(true), ..LinkChange::default() };
    netlink.set_link(tun.index(), &change).unwrap();
    netlink.add_address(&Address::new(tun.index(), own.1.into(), 32)).unwrap();
    let to_peer = Route::new(Prefix::host(peer.1.into()), 179, Target::Device(tun.index()));
    let route = Route { source: Some(own.1.into()), ..to_peer };
    assert_eq!(netlink.apply(&[RouteChange::Add(route)]), [Ok(())]);
    tun
}

fn table(own: Ends, peer: Ends, udp: bool) -> Table {
    let suite = crypto::Suite::new(crypto::Encr::from_keyword("aes256gcm16").unwrap(), None).unwrap();
    let (encr_key, limits) = ([7; 36], Limits::default());
    let (local, remote) = (IpAddr::from(own.0), IpAddr::from(peer.0));
    let path = if udp {
        OuterPath::Udp {
            local: SocketAddr::new(local, workers::PORT),
            remote: (remote, workers::PORT).into(),
        }
    } else {
        OuterPath::Esp { local, remote }
    };
    let outbound = OutboundParams {
        spi: peer.2,
        suite,
        encr_key: &encr_key,
        integ_key: &[],
        iv_seed: [0; 16],
        esn: false,
        limits,
    };
    let inbound = InboundParams {
        spi: own.2,
        suite,
        encr_key: &encr_key,
        integ_key: &[],
        esn: false,
        replay_window: 1024,
        limits,
    };
    let all = Arc::new(Selectors::new(&[Selector::any_v4()]));
    let (sa, local, remote) =
        (Arc::new(OutboundSa::new(outbound).unwrap()), Arc::clone(&all), Arc::clone(&all));
    let outbound = vec![OutboundRow { sa, path, local, remote }];
    let mut builder = Table::new().edit();
    builder.set_tunnel(TunnelRow {
        id: TUNNEL,
        mtu: 1400,
        mss: MssPolicy::Auto,
        df: DfPolicy::Copy,
        outbound,
    });
    let sa = Arc::new(InboundSa::new(inbound).unwrap());
    builder.set_inbound(InboundRow { tunnel: TUNNEL, sa, path, local: Arc::clone(&all), remote: all });
    builder.build()
}

/// Two datapaths in namespaces of their own with a veth between.
fn pair(workers: u32, udp: bool) -> (Side, Side) {
    let (left, right) = (Namespace::anonymous().unwrap(), Namespace::anonymous().unwrap());
    left.netlink().unwrap().create_veth("wan", "wan", Some(right.as_fd())).unwrap();
    for (namespace, own) in [(&left, LEFT), (&right, RIGHT)] {
        namespace.loopback_up().unwrap();
        let mut netlink = namespace.netlink().unwrap();
        let index = netlink.link_by_name("wan").unwrap().unwrap().index;
        netlink.add_address(&Address::new(index, own.0.into(), 24)).unwrap();
        let change = LinkChange { up: Some(true), no_link_local: true, ..LinkChange::default() };
        netlink.set_link(index, &change).unwrap();
    }
    (Side::start(left, LEFT, RIGHT, workers, udp), Side::start(right, RIGHT, LEFT, workers, udp))
}

/// Allocations of the whole process in the best of some windows, while a stream goes through the tunnel.
fn least_allocations(left: &Side, right: &Side) -> usize {
    let received = Arc::new(AtomicU64::new(0));
    let listener = right.namespace.run(|| TcpListener::bind((RIGHT.1, 5001)).unwrap()).unwrap();
    let count = Arc::clone(&received);
    let sink = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = vec![0; 1 << 18];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            count.fetch_add(length as u64, Ordering::Relaxed);
        }
    });
    let mut stream = left.namespace.run(|| TcpStream::connect((RIGHT.1, 5001)).unwrap()).unwrap();
    let end = stream.try_clone().unwrap();
    let source = thread::spawn(move || {
        let buffer = vec![7; 1 << 18];
        while stream.write_all(&buffer).is_ok() {}
    });
    let window = || {
        let (began, before) = (now(), received.load(Ordering::Relaxed));
        let region = Region::new(ALLOCATOR);
        // A stream that stands still fails the run by never ending.
        while began.elapsed() < WINDOW || received.load(Ordering::Relaxed) < before + (1 << 20) {
            thread::sleep(Duration::from_millis(20));
        }
        let change = region.change();
        change.allocations + change.reallocations
    };
    window();
    let least = (0..4).map(|_| window()).min();
    end.shutdown(Shutdown::Both).unwrap();
    source.join().unwrap();
    sink.join().unwrap();
    least.unwrap()
}

#[test]
fn workers_under_a_full_stream_allocate_nothing() {
    for (workers, udp) in [(1, true), (2, true), (2, false)] {
        let (left, right) = pair(workers, udp);
        // The test harness has a thread of its own, which may allocate meanwhile: what a worker allocates again and again
        // would be in every window.
        assert_eq!(least_allocations(&left, &right), 0, "{workers} workers, in UDP: {udp}");
        left.stop();
        right.stop();
    }
}
