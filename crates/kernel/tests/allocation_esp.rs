//! Batches of protocol 50 are sent and received by raw sockets without an allocation once the memory is there.
//!
//! One test in one binary, as the counter counts the whole process. As root, in a network namespace of its own.
#![allow(clippy::unwrap_used, reason = "a test fails by saying so")]

use std::alloc::System;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use kernel::datagram::{MESSAGES, RecvRing, Run, SLOT, SendArena, Source};
use kernel::netns::Namespace;
use kernel::raw::{EspOptions, EspSocket, Family};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const PACKETS: u64 = 30 + MESSAGES as u64 - 1;

/// A socket that sends to itself, and the memory for both.
struct End {
    here: IpAddr,
    socket: EspSocket,
    arena: SendArena,
    ring: RecvRing,
}

impl End {
    fn new(family: Family) -> Self {
        let here: IpAddr = match family {
            Family::V4 => Ipv4Addr::LOCALHOST.into(),
            Family::V6 => Ipv6Addr::LOCALHOST.into(),
        };
        let socket = EspSocket::open(&EspOptions::new(family)).unwrap();
        Self { here, socket, arena: SendArena::new(), ring: RecvRing::new(MESSAGES, SLOT) }
    }

    /// A run of 30 packets and single ones, there and back: how many came.
    fn round(&mut self, payload: &[u8]) -> u64 {
        let source = Some(Source { address: self.here, ifindex: 0 });
        let run =
            Run { source, tos: 0xb8, segment: Some(1400), ..Run::single((self.here, 0).into(), payload) };
        let mut runs = [Run { segment: None, bytes: &payload[..100], ..run }; MESSAGES];
        runs[0] = run;
        assert_eq!(self.socket.send_runs(&runs, &mut self.arena).datagrams, PACKETS);
        let (mut received, mut tries) = (0, 0);
        while received < PACKETS && tries < 20_000 {
            tries += 1;
            self.socket.recv_batch(&mut self.ring).unwrap();
            received += self.ring.messages().len() as u64;
        }
        received
    }
}

#[test]
fn batches_of_protocol_50_are_sent_and_received_without_an_allocation() {
    let namespace = Namespace::anonymous().unwrap();
    namespace.loopback_up().unwrap();
    let [mut v4, mut v6] = namespace.run(|| [Family::V4, Family::V6].map(End::new)).unwrap();
    let payload = vec![7; 30 * 1400];
    for _ in 0..4 {
        v4.round(&payload);
        v6.round(&payload);
    }
    // The test harness has a thread of its own, which may allocate meanwhile: an allocation of a batch would be in
    // every window.
    let least = (0..20).map(|_| {
        let region = Region::new(ALLOCATOR);
        for _ in 0..5 {
            assert_eq!((v4.round(&payload), v6.round(&payload)), (PACKETS, PACKETS));
        }
        let change = region.change();
        change.allocations + change.reallocations
    });
    assert_eq!(least.min(), Some(0));
}
