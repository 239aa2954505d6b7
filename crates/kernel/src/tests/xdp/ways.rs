//! Who asks which way a packet takes, what is done meanwhile, and what is counted where.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;

use super::{End, ends, ip, several};
use crate::datagram::{Run, SendFailure, Source};
use crate::netlink::{Event, Interest, Monitor, Netlink};
use crate::tests::monitor::until;
use crate::tests::{B4, B6, Pair, configure};
use crate::xdp::{XdpCounts, XdpDevice, XdpError, XdpLosses};

/// Sends one packet to the other end and leaves what that asks unanswered.
fn send_unanswered(a: &mut End, pair: &Pair, now: u64) {
    let run = [Run::single(SocketAddr::new(B4.into(), 0), &[5; 80])];
    let End { raw, sender, arena, .. } = a;
    let report = pair.a.run(|| sender.send_runs(&raw[0], &run, true, arena, now)).unwrap();
    assert_eq!(report.datagrams, 1);
}

#[test]
fn no_packet_waits_for_an_answer_and_an_old_one_does_only_for_a_moment() {
    let pair = Pair::new();
    let (mut a, mut b) = ends(&pair);
    let start = a.sender.counts();
    let past = |a: &End| a.sender.counts().sent - start.sent;
    // Asked at 0 and answered. A second later one batch is the stack's and the question is put again.
    send_unanswered(&mut a, &pair, 999);
    assert_eq!(past(&a), 1);
    send_unanswered(&mut a, &pair, 1000);
    assert_eq!(past(&a), 1);
    // Nobody answers: the old answer does, but for another question now and then.
    for now in [1001, 1005, 1009, 1010, 1011, 1019] {
        send_unanswered(&mut a, &pair, now);
    }
    assert_eq!(past(&a), 1 + 5);
    // And not for ever.
    for now in 2000..2030 {
        send_unanswered(&mut a, &pair, now);
    }
    assert_eq!(past(&a), 1 + 5);
    a.scout.catch_up();
    send_unanswered(&mut a, &pair, 2030);
    assert_eq!(past(&a), 1 + 5 + 1);
    // A change puts it in doubt at once, until it is asked anew and answered.
    ip(&pair.a, &["route", "add", "198.51.100.0/24", "dev", "to-b"]);
    for now in [2031, 2032, 2080] {
        send_unanswered(&mut a, &pair, now);
    }
    assert_eq!(past(&a), 1 + 5 + 1);
    a.scout.catch_up();
    send_unanswered(&mut a, &pair, 2081);
    assert_eq!(past(&a), 1 + 5 + 2);
    b.past_the_stack(1 + 1 + 6 + 30 + 1 + 3 + 1);
}

#[test]
fn more_ways_than_the_scout_holds_questions_for_are_the_stacks_and_none_waits() {
    const WAYS: u64 = 1500;
    let pair = Pair::new();
    let (mut a, _b) = ends(&pair);
    let before = a.sender.counts();
    let to = |way: u64| SocketAddr::new(Ipv4Addr::from(0xc000_0264 + (way % 100) as u32).into(), 0);
    for way in 0..WAYS {
        let source = Source { address: IpAddr::from([127, 0, (way >> 8) as u8, way as u8]), ifindex: 0 };
        let run = [Run { source: Some(source), ..Run::single(to(way), &[5; 80]) }];
        let End { raw, sender, arena, .. } = &mut a;
        pair.a.run(|| sender.send_runs(&raw[0], &run, true, arena, 100)).unwrap();
    }
    assert_eq!(a.sender.counts().no_way - before.no_way, WAYS);
    a.scout.catch_up();
    send_unanswered(&mut a, &pair, 200);
    assert_eq!(a.sender.counts().sent, before.sent + 1);
}

#[test]
fn each_device_counts_its_own_and_what_leads_by_none_is_counted_apart() {
    let pair = Pair::new();
    pair.a.netlink().unwrap().create_veth("too", "two", Some(pair.b.as_fd())).unwrap();
    let (near, far) = (Ipv4Addr::new(198, 51, 100, 1), Ipv4Addr::new(198, 51, 100, 2));
    configure(&pair.a, "too", &[(near.into(), 24)]);
    configure(&pair.b, "two", &[(far.into(), 24)]);
    ip(&pair.a, &["neigh", "replace", "198.51.100.2", "lladdr", "02:00:00:00:77:02", "dev", "too"]);
    let mut a = End::new(&pair.a, "to-b");
    let too = pair.a.run(|| XdpDevice::attach(&mut Netlink::open().unwrap(), "too")).unwrap().unwrap();
    let (_receivers, transmitter) = pair.a.run(|| too.open_all()).unwrap().unwrap();
    a.sender.add(too, transmitter);
    a.scout.catch_up();
    let mut send = |to: Ipv4Addr, now| {
        a.send(&pair.a, &[Run::single(SocketAddr::new(to.into(), 0), &[5; 80])], now);
    };
    send(Ipv4Addr::LOCALHOST, 0);
    for (now, to) in [(10, B4), (11, B4), (12, B4), (13, far), (14, far), (1014, far)] {
        send(to, now);
    }
    let counts: Vec<(&str, XdpCounts)> = a.sender.devices().collect();
    let expected = |sent, no_way| XdpCounts { sent, no_way, ..XdpCounts::default() };
    assert_eq!(counts, [("to-b", expected(2, 0)), ("too", expected(1, 1))]);
    assert_eq!(a.sender.elsewhere(), 3, "one elsewhere, and the first on each way");
}

#[test]
fn a_device_of_several_queues_has_a_socket_on_each_and_sends_by_one() {
    let pair = Pair::new();
    several(&pair.a, "3");
    configure(&pair.a, "other", &[]);
    let device = pair.a.run(|| XdpDevice::attach(&mut Netlink::open().unwrap(), "several")).unwrap().unwrap();
    let (receivers, _transmitter) = pair.a.run(|| device.open_all()).unwrap().unwrap();
    assert_eq!(receivers.len(), 3);
    for receiver in &receivers {
        assert_eq!(receiver.meter().losses().unwrap(), XdpLosses::default());
    }
}

#[test]
fn a_device_that_came_back_is_another_and_has_no_program_of_ours() {
    let pair = Pair::new();
    let attach = || pair.a.run(|| XdpDevice::attach(&mut Netlink::open().unwrap(), "to-b")).unwrap();
    let device = attach().unwrap();
    let watch = device.watch();
    assert!(watch.is_attached());
    ip(&pair.a, &["link", "del", "to-b"]);
    assert!(!watch.is_attached());
    assert!(matches!(attach(), Err(XdpError::NoDevice(_))));
    ip(&pair.a, &["link", "add", "to-b", "type", "veth", "peer", "name", "other"]);
    assert!(!watch.is_attached());
    let another = attach().unwrap();
    let watch = another.watch();
    assert!(watch.is_attached());
    // It holds nothing.
    drop(another);
    assert!(!watch.is_attached());
    assert!(attach().is_ok());
}

#[test]
fn no_packet_overtakes_another_of_its_batch_when_the_stack_gets_its_turn() {
    let pair = Pair::new();
    let (mut a, mut b) = ends(&pair);
    let bytes: Vec<u8> = (0..90).flat_map(|number| [number; 80]).collect();
    let run = |part| Run { segment: Some(80), ..Run::single(SocketAddr::new(B4.into(), 0), part) };
    let runs: Vec<Run<'_>> = bytes.chunks(30 * 80).map(run).collect();
    for (now, past_the_stack) in [(999, 90), (1000, 0), (1001, 90)] {
        let before = a.sender.counts();
        assert_eq!(a.send(&pair.a, &runs, now), 90);
        assert!(b.past_the_stack(90).concat() == bytes, "at {now}");
        let after = a.sender.counts();
        let sent = (after.sent - before.sent, after.no_way - before.no_way);
        assert_eq!(sent, (past_the_stack, 90 - past_the_stack), "at {now}");
    }
}

#[test]
fn nor_where_the_programs_frames_are_too_short_for_one_between_two() {
    let pair = Pair::new();
    ip(&pair.a, &["link", "set", "to-b", "mtu", "3000"]);
    ip(&pair.b, &["link", "set", "to-a", "mtu", "3000"]);
    let (mut a, mut b) = ends(&pair);
    let (short, long, last) = ([1; 40 * 200], [2; 2500], [3; 40 * 200]);
    let run = |bytes| Run::single(SocketAddr::new(B4.into(), 0), bytes);
    let many = |bytes| Run { segment: Some(200), ..run(bytes) };
    let before = a.sender.counts();
    assert_eq!(a.send(&pair.a, &[run(&long), many(&short), run(&long), many(&last)], 10), 82);
    let got = b.past_the_stack(82).concat();
    assert!(got == [&long[..], &short, &long, &last].concat());
    let after = a.sender.counts();
    assert_eq!((after.sent - before.sent, after.injected - before.injected), (82, 80));
}

/// Gives the first namespace an address, and waits until the kernel says so: of IPv6 it does that by and by, on a busy host late.
fn give(pair: &Pair, address: IpAddr) {
    let mut monitor = pair.a.run(|| Monitor::open(Interest::ALL).unwrap()).unwrap();
    ip(&pair.a, &["-6", "addr", "add", &format!("{address}/64"), "dev", "to-b", "nodad"]);
    until(&mut monitor, |event| matches!(event, Event::AddressAdded(added) if added.address == address));
}

/// Sends one packet every 20 ms from `start` on until one goes past the stack; when that was. Whatever else the kernel announces
/// of a new address puts the way in doubt once more.
fn until_past(a: &mut End, pair: &Pair, run: &[Run<'_>], start: u64) -> u64 {
    let past = (0..50).map(|step| start + 20 * step).find(|now| {
        let before = a.sender.counts().sent;
        assert_eq!(a.send(&pair.a, run, *now), 1);
        a.sender.counts().sent > before
    });
    past.expect("while the address is there")
}

#[test]
fn from_an_address_that_the_host_has_no_more_nothing_goes_past_the_stack() {
    const MOVES: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 5);
    let pair = Pair::new();
    let (mut a, _b) = ends(&pair);
    let source = Some(Source { address: MOVES.into(), ifindex: 0 });
    let run = [Run { source, ..Run::single(SocketAddr::new(B6.into(), 0), &[5; 80]) }];
    // Taken away at once after it was read, and within the pause between two readings.
    for (start, later) in [(5000, 180), (7000, 20)] {
        give(&pair, MOVES.into());
        let gone = until_past(&mut a, &pair, &run, start) + later;
        ip(&pair.a, &["-6", "addr", "del", &format!("{MOVES}/64"), "dev", "to-b"]);
        for now in [gone, gone + 20, gone + 60] {
            a.send(&pair.a, &run, now);
        }
        let before = a.sender.counts().sent;
        for now in [gone + 120, gone + 140] {
            assert_eq!(a.send(&pair.a, &run, now), 0);
            assert!(matches!(a.arena.failures()[0].failure, SendFailure::Unreachable(_)));
        }
        assert_eq!(a.sender.counts().sent, before, "{gone}");
    }
}
