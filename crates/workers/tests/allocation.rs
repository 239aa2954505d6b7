//! Workers under a full stream allocate nothing: neither for a packet or batch nor for a look at who reads which queue.
//!
//! One test in one binary, as the counter counts the whole process. As root, in network namespaces of its own.
#![allow(clippy::unwrap_used, reason = "a test fails by saying so")]

mod stand;

use std::alloc::System;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use kernel::netlink::Netlink;
use kernel::netns::Namespace;
use kernel::tun::{self, TunOptions};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tunnel::publish::Publisher;
use workers::{Uplink, Workers};

use crate::stand::{DEVICE, Ends, TUNNEL, device_as, now, table, wire};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Long enough for each worker to look at the loads of all at least once.
const WINDOW: Duration = Duration::from_millis(500);

const LEFT: Ends = Ends { outer: [192, 0, 2, 1], inner: [10, 0, 0, 1], spi: 0x1000 };
/// Of two workers the second has what comes to it.
const RIGHT: Ends = Ends { outer: [192, 0, 2, 2], inner: [10, 0, 0, 2], spi: 0x2001 };

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
            let tun = device_as(&mut Netlink::open().unwrap(), own, peer, &TunOptions::new(DEVICE)).unwrap();
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

/// Two datapaths in namespaces of their own with a veth between.
fn pair(workers: u32, udp: bool) -> (Side, Side) {
    let (left, right) = wire(LEFT, RIGHT);
    (Side::start(left, LEFT, RIGHT, workers, udp), Side::start(right, RIGHT, LEFT, workers, udp))
}

/// Allocations of the whole process in the best of some windows, while a stream goes through the tunnel.
fn least_allocations(left: &Side, right: &Side) -> usize {
    let received = Arc::new(AtomicU64::new(0));
    let listener =
        right.namespace.run(|| TcpListener::bind((Ipv4Addr::from(RIGHT.inner), 5001)).unwrap()).unwrap();
    let count = Arc::clone(&received);
    let sink = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = vec![0; 1 << 18];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            count.fetch_add(length as u64, Ordering::Relaxed);
        }
    });
    let mut stream =
        left.namespace.run(|| TcpStream::connect((Ipv4Addr::from(RIGHT.inner), 5001)).unwrap()).unwrap();
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
