//! Sending and receiving batches allocates nothing once the memory is there.
//!
//! One test in one binary, as the counter counts the whole process.
#![allow(clippy::unwrap_used, reason = "a test fails by saying so")]

use std::alloc::System;
use std::net::{Ipv4Addr, SocketAddr};

use kernel::datagram::{MESSAGES, RecvRing, Run, SendArena, Source};
use kernel::udp::{UdpOptions, UdpSocket};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn batches_are_sent_and_received_without_an_allocation() {
    let here = (Ipv4Addr::LOCALHOST, 0).into();
    let (from, to) = (UdpSocket::bind(&UdpOptions::new(here)), UdpSocket::bind(&UdpOptions::new(here)));
    let (from, to) = (from.unwrap(), to.unwrap());
    let dest: SocketAddr = to.local();
    let (mut arena, mut ring) = (SendArena::new(), RecvRing::coalescing());
    let payload = vec![7; 45 * 1400];
    let source = Some(Source { address: Ipv4Addr::LOCALHOST.into(), ifindex: 0 });
    let run = Run { source, tos: 0xb8, segment: Some(1400), ..Run::single(dest, &payload) };
    let single = Run { segment: None, bytes: &payload[..100], ..run };
    let mut round = || {
        let mut runs = [single; MESSAGES];
        runs[0] = run;
        let sent = from.send_runs(&runs, &mut arena).datagrams;
        let (mut received, mut wanted) = (0, 20_000);
        while received < sent && wanted > 0 {
            wanted -= 1;
            to.recv_batch(&mut ring).unwrap();
            received += ring.messages().map(|m| m.bytes.len().div_ceil(m.segment) as u64).sum::<u64>();
        }
        (sent, received)
    };
    for _ in 0..4 {
        round();
    }
    // The test harness has a thread of its own, which may allocate meanwhile: an allocation of a batch would be in
    // every window.
    let least = (0..20).map(|_| {
        let region = Region::new(ALLOCATOR);
        for _ in 0..5 {
            assert_eq!(round(), (45 + 63, 45 + 63));
        }
        let change = region.change();
        change.allocations + change.reallocations
    });
    assert_eq!(least.min(), Some(0));
}
