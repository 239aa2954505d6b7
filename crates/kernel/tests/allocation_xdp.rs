//! Batches of protocol 50 are sent and received past the stack without an allocation once the memory is there, also where
//! the raw socket has to send some of them.
//!
//! One test in one binary, as the counter counts the whole process. As root, in network namespaces of its own.
#![allow(clippy::unwrap_used, reason = "a test fails by saying so")]

use std::alloc::System;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use kernel::datagram::{MESSAGES, RecvRing, Run, SLOT, SendArena};
use kernel::epoll::{Epoll, Interest};
use kernel::netlink::{Address, LinkChange, Netlink};
use kernel::netns::Namespace;
use kernel::raw::{EspOptions, EspSocket, Family};
use kernel::xdp::{XdpDevice, XdpReceiver, XdpSender};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const A: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const B: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// One end with everything a worker has.
struct End {
    raw: EspSocket,
    ring: RecvRing,
    receiver: XdpReceiver,
    sender: XdpSender,
    arena: SendArena,
    /// Ends with the sender.
    scout: JoinHandle<()>,
}

impl End {
    /// In the namespace of the calling thread.
    fn new(device: &str) -> Self {
        let raw = EspSocket::open(&EspOptions::new(Family::V4)).unwrap();
        let device = XdpDevice::attach(&mut Netlink::open().unwrap(), device).unwrap();
        let (receiver, transmitter) = device.open(0).unwrap();
        let (mut sender, scout) = XdpSender::new(None).unwrap();
        sender.add(device, transmitter);
        let scout = thread::spawn(|| scout.serve());
        let ring = RecvRing::new(MESSAGES, SLOT);
        Self { raw, ring, receiver, sender, arena: SendArena::new(), scout }
    }

    fn send(&mut self, runs: &[Run<'_>], now: u64) -> u64 {
        let Self { raw, sender, arena, .. } = self;
        sender.send_runs(raw, runs, true, arena, now).datagrams
    }

    /// Packets sent past the stack, by frames of the program, and left to the raw socket on other devices' ways.
    fn counts(&self) -> [u64; 3] {
        let (_, counts) = self.sender.devices().next().unwrap();
        [counts.sent, counts.injected, self.sender.elsewhere()]
    }

    /// Packets received past the stack, and by the raw socket.
    fn receive(&mut self) -> [u64; 2] {
        let past = self.receiver.receive();
        assert_eq!(self.receiver.messages().len(), past);
        self.raw.recv_batch(&mut self.ring).unwrap();
        [past as u64, self.ring.messages().len() as u64]
    }

    fn stop(self) {
        drop((self.sender, self.receiver));
        self.scout.join().unwrap();
    }
}

/// Two namespaces joined by a veth.
fn pair() -> (Namespace, Namespace) {
    let (a, b) = (Namespace::anonymous().unwrap(), Namespace::anonymous().unwrap());
    a.netlink().unwrap().create_veth("to-b", "to-a", Some(b.as_fd())).unwrap();
    for (namespace, name, address) in [(&a, "to-b", A), (&b, "to-a", B)] {
        namespace.loopback_up().unwrap();
        let mut netlink = namespace.netlink().unwrap();
        let index = netlink.link_by_name(name).unwrap().unwrap().index;
        netlink.add_address(&Address::new(index, address.into(), 24)).unwrap();
        let change = LinkChange { up: Some(true), no_link_local: true, ..LinkChange::default() };
        netlink.set_link(index, &change).unwrap();
    }
    (a, b)
}

/// Sends to and fro until packets go past the stack; the time it is then.
fn meet(a: &mut End, b: &mut End, inside_b: &Namespace) -> u64 {
    let single = |to: Ipv4Addr| [Run::single((IpAddr::from(to), 0).into(), &[1; 40])];
    let epoll = Epoll::new().unwrap();
    epoll.add(&b.receiver, 0, Interest::READ).unwrap();
    let mut ready = Vec::with_capacity(1);
    for now in (20..20_000).step_by(20) {
        a.send(&single(B), now);
        a.send(&single(Ipv4Addr::LOCALHOST), now);
        inside_b.run(|| b.send(&single(A), now)).unwrap();
        epoll.wait(&mut ready, Some(Duration::from_millis(5))).unwrap();
        if b.receive()[0] > 0 && a.counts()[0] > 0 {
            return now;
        }
    }
    panic!("nothing went past the stack");
}

/// What a round sends, and how much of it goes where.
struct Round {
    runs: [Run<'static>; MESSAGES],
    /// Past the stack.
    past: u64,
    /// By the raw socket.
    left: u64,
}

/// One round there, and what came of it: to the other end past the stack, and back here by the raw socket.
fn round(a: &mut End, b: &mut End, Round { runs, past, left }: &Round, now: u64) {
    assert_eq!(a.send(runs, now), past + left);
    let (mut received, mut tries) = ([0, 0], 0);
    while received != [*past, *left] && tries < 20_000 {
        tries += 1;
        received = [received[0] + b.receive()[0], received[1] + a.receive()[1]];
    }
    assert_eq!(received, [*past, *left]);
}

/// Runs of which one in eight goes by the loopback device, which is none of ours.
fn rounds() -> [Round; 2] {
    static PAYLOAD: [u8; 4 * 1400] = [7; 4 * 1400];
    let run = Run { segment: Some(1400), ..Run::single((IpAddr::from(B), 0).into(), &PAYLOAD) };
    let elsewhere = Run { dest: (Ipv4Addr::LOCALHOST, 0).into(), segment: None, ..run };
    let mut many = [Run { segment: None, bytes: &PAYLOAD[..100], ..run }; MESSAGES];
    many[0] = run;
    many.iter_mut().skip(1).step_by(8).for_each(|one| *one = elsewhere);
    let left = many.iter().filter(|run| run.dest == elsewhere.dest).count() as u64;
    // Few packets are no work for the program's frames.
    let mut few = [elsewhere; MESSAGES];
    few[..4].fill(Run { segment: None, bytes: &PAYLOAD[..100], ..run });
    let past = MESSAGES as u64 - left + 3;
    [Round { runs: many, past, left }, Round { runs: few, past: 4, left: MESSAGES as u64 - 4 }]
}

#[test]
fn batches_are_sent_and_received_past_the_stack_without_an_allocation() {
    let (inside_a, inside_b) = pair();
    let mut b = inside_b.run(|| End::new("to-a")).unwrap();
    inside_a
        .run(|| {
            let mut a = End::new("to-b");
            let now = meet(&mut a, &mut b, &inside_b);
            // What waits of the meeting.
            while a.receive() != [0, 0] || b.receive() != [0, 0] {}
            let rounds = rounds();
            let before = a.counts();
            for _ in 0..4 {
                rounds.iter().for_each(|one| round(&mut a, &mut b, one, now));
            }
            let after = a.counts();
            assert!(after.iter().zip(before).all(|(after, before)| *after > before), "{before:?} {after:?}");
            // The test harness has a thread of its own, and so has each scout, which may allocate meanwhile: an allocation
            // of a batch would be in every window.
            let least = (0..20).map(|_| {
                let region = Region::new(ALLOCATOR);
                for _ in 0..5 {
                    rounds.iter().for_each(|one| round(&mut a, &mut b, one, now));
                }
                let change = region.change();
                change.allocations + change.reallocations
            });
            assert_eq!(least.min(), Some(0));
            a.stop();
        })
        .unwrap();
    b.stop();
}
