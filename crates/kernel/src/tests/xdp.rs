//! Protocol 50 past the stack, over a veth: what goes which way, and that nothing is left behind.

mod trouble;
mod ways;

use std::net::{IpAddr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{A4, A4_SECOND, A6, B4, B6, Pair, readable, switch};
use crate::datagram::{RecvRing, Run, SendArena, SendFailure};
use crate::epoll::{Epoll, Interest};
use crate::netlink::Netlink;
use crate::netns::Namespace;
use crate::raw::{EspOptions, EspSocket, Family};
use crate::xdp::{XdpCounts, XdpDevice, XdpError, XdpFrames, XdpReceiver, XdpScout, XdpSender};

/// One end with everything a worker has.
struct End {
    raw: [EspSocket; 2],
    receiver: XdpReceiver,
    sender: XdpSender,
    scout: XdpScout,
    arena: SendArena,
}

impl End {
    fn new(namespace: &Namespace, device: &str) -> Self {
        namespace
            .run(|| {
                let raw = [Family::V4, Family::V6].map(|f| EspSocket::open(&EspOptions::new(f)).unwrap());
                let device = XdpDevice::attach(&mut Netlink::open().unwrap(), device).unwrap();
                assert!(device.native());
                let (receiver, transmitter) = device.open(0).unwrap();
                let (mut sender, mut scout) = XdpSender::new(None).unwrap();
                sender.add(device, transmitter);
                scout.catch_up();
                Self { raw, receiver, sender, scout, arena: SendArena::new() }
            })
            .unwrap()
    }

    /// Sends in its namespace at a time in milliseconds; how many packets left.
    fn send(&mut self, namespace: &Namespace, runs: &[Run<'_>], now: u64) -> u64 {
        self.send_as(namespace, runs, true, now)
    }

    fn send_as(&mut self, namespace: &Namespace, runs: &[Run<'_>], dont_fragment: bool, now: u64) -> u64 {
        let Self { raw, sender, scout, arena, .. } = self;
        let raw = &raw[usize::from(runs[0].dest.is_ipv6())];
        let sent = namespace.run(|| sender.send_runs(raw, runs, dont_fragment, arena, now)).unwrap();
        scout.catch_up();
        sent.datagrams
    }

    /// What comes past the stack until there are so many packets: payloads in order.
    fn past_the_stack(&mut self, count: usize) -> Vec<Vec<u8>> {
        let mut got = Vec::new();
        while got.len() < count {
            readable(&self.receiver);
            self.receiver.receive();
            got.extend(self.receiver.messages().map(|message| message.bytes.to_vec()));
        }
        got
    }

    /// The same by the raw socket of a family.
    fn by_raw(&self, family: usize, count: usize) -> Vec<Vec<u8>> {
        let (mut ring, mut got) = (RecvRing::new(64, 70_000), Vec::new());
        while got.len() < count {
            readable(&self.raw[family]);
            self.raw[family].recv_batch(&mut ring).unwrap();
            got.extend(ring.messages().map(|message| message.bytes.to_vec()));
        }
        got
    }

    fn nothing_past_the_stack(&mut self) {
        assert_eq!(self.receiver.receive(), 0);
    }
}

fn ends(pair: &Pair) -> (End, End) {
    let (mut a, mut b) = (End::new(&pair.a, "to-b"), End::new(&pair.b, "to-a"));
    // The first packet of a way is the stack's.
    for (to, from) in [(IpAddr::from(B4), IpAddr::from(A4)), (B6.into(), A6.into())] {
        let family = usize::from(to.is_ipv6());
        assert_eq!(b.send(&pair.b, &[Run::single(SocketAddr::new(from, 0), &[1; 40])], 0), 1);
        assert_eq!(a.by_raw_or_past(family), [1; 40]);
        assert_eq!(a.send(&pair.a, &[Run::single(SocketAddr::new(to, 0), &[2; 40])], 0), 1);
        assert_eq!(b.past_the_stack(1), [[2; 40]]);
    }
    (a, b)
}

impl End {
    /// One packet, whichever way it came.
    fn by_raw_or_past(&mut self, family: usize) -> Vec<u8> {
        let epoll = Epoll::new().unwrap();
        epoll.add(&self.receiver, 0, Interest::READ).unwrap();
        epoll.add(&self.raw[family], 1, Interest::READ).unwrap();
        let mut ready = Vec::with_capacity(1);
        epoll.wait(&mut ready, Some(Duration::from_secs(20))).unwrap();
        match ready[0].token {
            0 => self.past_the_stack(1).remove(0),
            _ => self.by_raw(family, 1).remove(0),
        }
    }
}

fn sent(after: XdpCounts, before: XdpCounts) -> (u64, u64, u64, u64) {
    let by_socket = (after.sent - after.injected) - (before.sent - before.injected);
    let slow = |c: XdpCounts| c.no_way + c.too_long + c.no_frame + c.lost;
    (by_socket, after.injected - before.injected, slow(after) - slow(before), after.lost)
}

#[test]
fn packets_of_every_length_go_past_the_stack_both_ways_singly_and_many_at_once() {
    let pair = Pair::new();
    let (mut a, mut b) = ends(&pair);
    for (to, header) in [(IpAddr::from(B4), 20), (B6.into(), 40)] {
        let lengths = (16..=1500 - header).step_by(44).chain([1500 - header]);
        let packets: Vec<Vec<u8>> = lengths.map(|len| (0..len).map(|i| (i % 251) as u8).collect()).collect();
        let runs: Vec<Run<'_>> =
            packets.iter().map(|p| Run { tos: 0xb9, ..Run::single(SocketAddr::new(to, 0), p) }).collect();
        let before = a.sender.counts();
        for run in &runs {
            assert_eq!(a.send(&pair.a, &[*run], 10), 1);
        }
        assert!(b.past_the_stack(runs.len()) == packets, "{to} singly");
        assert_eq!(sent(a.sender.counts(), before), (runs.len() as u64, 0, 0, 0));
        // All at once: as frames of the program.
        assert_eq!(a.send(&pair.a, &runs, 20), runs.len() as u64);
        assert!(b.past_the_stack(runs.len()) == packets, "{to} at once");
        assert_eq!(sent(a.sender.counts(), before), (runs.len() as u64, runs.len() as u64, 0, 0));
    }
    b.receiver.receive();
    assert_eq!(b.receiver.meter().losses().unwrap(), Default::default());
}

#[test]
fn a_received_packet_says_where_it_came_from_and_how_it_was_marked() {
    let pair = Pair::new();
    let (mut a, mut b) = ends(&pair);
    let source = crate::datagram::Source { address: A4_SECOND.into(), ifindex: pair.index_a };
    b.send(&pair.b, &[Run::single(SocketAddr::new(A4_SECOND.into(), 0), &[4; 60])], 0);
    let run =
        Run { tos: 0xb9, source: Some(source), ..Run::single(SocketAddr::new(B4.into(), 4500), &[3; 60]) };
    for now in [0, 1] {
        assert_eq!(a.send(&pair.a, &[run], now), 1);
        readable(&b.receiver);
        b.receiver.receive();
        let message = b.receiver.messages().next().unwrap();
        assert_eq!((message.source, message.destination), (SocketAddr::new(A4_SECOND.into(), 0), B4.into()));
        assert_eq!((message.tos, message.segment, message.bytes.len()), (0xb9, 60, 60));
        assert_ne!(message.ifindex, 0);
    }
    assert_eq!(a.sender.counts().sent, 1, "the first went by the stack");
}

#[test]
fn a_long_run_is_cut_into_its_packets_and_none_is_lost() {
    let pair = Pair::new();
    let (mut a, mut b) = ends(&pair);
    let bytes: Vec<u8> = (0..300 * 200 - 50).map(|i| (i % 253) as u8).collect();
    let run = Run { segment: Some(200), ..Run::single(SocketAddr::new(B4.into(), 0), &bytes) };
    assert_eq!(a.send(&pair.a, &[run], 10), 300);
    assert!(b.past_the_stack(300).concat() == bytes);
}

#[test]
fn what_is_longer_than_the_way_takes_is_the_stacks_to_refuse_or_to_cut() {
    let pair = Pair::new();
    let (mut a, mut b) = ends(&pair);
    let (long, short) = (vec![1; 1481], [2; 100]);
    let to = SocketAddr::new(B4.into(), 0);
    let runs = [Run::single(to, &short), Run::single(to, &long), Run::single(to, &short)];
    assert_eq!(a.send(&pair.a, &runs, 10), 2);
    let failed: Vec<_> = a.arena.failures().iter().map(|f| (f.run, f.failure)).collect();
    assert_eq!(failed, [(1, SendFailure::TooBig { mtu: Some(1500) })]);
    // The one behind it does not overtake it.
    assert_eq!(a.sender.counts().too_long, 2);
    assert_eq!(b.past_the_stack(2), [short, short]);
    // Without the bit the stack makes fragments, which the program passes on to the other's stack.
    a.raw[0].set_dont_fragment(false).unwrap();
    assert_eq!(a.send_as(&pair.a, &[Run::single(to, &long)], false, 20), 1);
    assert_eq!(b.by_raw(0, 1), [long]);
    b.nothing_past_the_stack();
}

#[test]
fn one_packet_a_second_on_each_way_is_the_stacks() {
    let pair = Pair::new();
    let (mut a, mut b) = ends(&pair);
    let run = [Run::single(SocketAddr::new(B4.into(), 0), &[5; 80])];
    let before = a.sender.counts();
    for now in (100..=5100).step_by(100) {
        assert_eq!(a.send(&pair.a, &run, now), 1);
    }
    b.past_the_stack(51);
    let slow = a.sender.counts().no_way - before.no_way;
    assert!((5..=6).contains(&slow), "{slow} of 51 in five seconds");
}

#[test]
fn a_next_hop_with_another_link_address_is_followed() {
    let pair = Pair::new();
    let (mut a, mut b) = ends(&pair);
    let to = [Run::single(SocketAddr::new(B4.into(), 0), &[5; 80])];
    assert_eq!(a.send(&pair.a, &to, 100), 1);
    b.past_the_stack(1);
    // The other end takes another address and says so, as a standby router does.
    ip(&pair.b, &["link", "set", "to-a", "address", "02:00:00:00:77:01"]);
    ip(
        &pair.a,
        &["neigh", "replace", "192.0.2.2", "lladdr", "02:00:00:00:77:01", "dev", "to-b", "nud", "reachable"],
    );
    let before = a.sender.counts();
    assert_eq!(a.send(&pair.a, &to, 200), 1);
    assert_eq!(a.sender.counts().no_way - before.no_way, 1, "the stack's, since netlink said something");
    assert_eq!(a.send(&pair.a, &to, 220), 1);
    assert_eq!(a.sender.counts().sent - before.sent, 1);
    // Its program knows the old address: both come by its stack until it has read the new one.
    assert_eq!(b.by_raw(0, 2), [[5; 80], [5; 80]]);
    b.send(&pair.b, &[Run::single(SocketAddr::new(A4.into(), 0), &[6; 80])], 300);
    assert_eq!(a.send(&pair.a, &to, 240), 1);
    assert_eq!(b.past_the_stack(1), [[5; 80]]);
}

#[test]
fn without_a_neighbour_or_with_the_device_off_the_stack_sends() {
    let pair = Pair::new();
    let (mut a, mut b) = ends(&pair);
    let to = [Run::single(SocketAddr::new(B4.into(), 0), &[5; 80])];
    ip(&pair.a, &["neigh", "flush", "all"]);
    let before = a.sender.counts();
    for now in [100, 101] {
        assert_eq!(a.send(&pair.a, &to, now), 1);
    }
    assert_eq!((a.sender.counts().sent, a.sender.counts().no_way), (before.sent, before.no_way + 2));
    b.past_the_stack(2);
    let mut netlink = pair.a.netlink().unwrap();
    switch(&mut netlink, pair.index_a, false);
    assert_eq!(a.send(&pair.a, &to, 2000), 0);
    assert!(matches!(a.arena.failures()[0].failure, SendFailure::Unreachable(_)));
    switch(&mut netlink, pair.index_a, true);
    ip(&pair.a, &["neigh", "replace", "192.0.2.2", "lladdr", &mac(&pair.b), "dev", "to-b"]);
    // What follows on a device that comes back is announced bit by bit, and until then it is the stack's.
    let back = (0..100).any(|step| {
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(a.send(&pair.a, &to, 4000 + 20 * step), 1, "{:?}", a.arena.failures());
        a.sender.counts().sent > before.sent
    });
    assert!(back);
}

#[test]
fn a_route_that_leads_elsewhere_is_followed_at_once() {
    let pair = Pair::new();
    let (mut a, _b) = ends(&pair);
    let to = [Run::single(SocketAddr::new(B4.into(), 0), &[5; 80])];
    assert_eq!(a.send(&pair.a, &to, 100), 1);
    let before = a.sender.counts();
    ip(&pair.a, &["route", "add", "unreachable", "192.0.2.2/32"]);
    for now in [101, 150] {
        assert_eq!(a.send(&pair.a, &to, now), 0);
    }
    assert_eq!((a.sender.counts().sent, a.sender.counts().no_way), (before.sent, before.no_way + 2));
}

#[test]
fn what_the_program_does_not_know_goes_its_usual_way() {
    let pair = Pair::new();
    let (mut a, mut b) = ends(&pair);
    let ours: [u8; 6] = octets(&mac(&pair.b));
    let good = esp_frame(ours, [192, 0, 2, 2]);
    let mut options = good.clone();
    options[14] = 0x46;
    options.splice(34..34, [1, 1, 1, 0]);
    let fragment = |flags: [u8; 2]| {
        let mut frame = good.clone();
        frame[20..22].copy_from_slice(&flags);
        frame
    };
    let mut tagged = good.clone();
    tagged.splice(12..12, [0x81, 0, 0, 7]);
    let mut stranger = good.clone();
    stranger[29] = 3;
    let mut udp = good.clone();
    udp[23] = 17;
    let others = [
        ("options", options),
        ("first fragment", fragment([0x20, 0])),
        ("last fragment", fragment([0, 9])),
        ("a VLAN's", tagged),
        ("UDP", udp),
        ("another link address", esp_frame([2, 0, 0, 9, 9, 9], [192, 0, 2, 2])),
        ("broadcast", esp_frame([0xff; 6], [192, 0, 2, 2])),
        ("another address", esp_frame(ours, [192, 0, 2, 99])),
        ("another peer's", stranger),
        ("cut", good[..33].to_vec()),
    ];
    for (what, mut frame) in others {
        checksum(&mut frame);
        a.sender.send_frame(&frame);
        // The good one after it comes first, so the other has passed.
        let mut after = good.clone();
        checksum(&mut after);
        a.sender.send_frame(&after);
        assert_eq!(b.past_the_stack(1), [[8; 30]], "{what}");
        b.nothing_past_the_stack();
    }
}

#[test]
fn a_device_has_one_program_of_ours_and_it_goes_with_its_owner() {
    let pair = Pair::new();
    let attach = || pair.a.run(|| XdpDevice::attach(&mut Netlink::open().unwrap(), "to-b")).unwrap();
    let first = attach().unwrap();
    assert!(has_program(&pair.a));
    assert!(matches!(attach(), Err(XdpError::Busy(name)) if name == "to-b"));
    drop(first);
    assert!(!has_program(&pair.a));
    assert!(attach().is_ok());
}

#[test]
fn what_cannot_be_is_said() {
    let pair = Pair::new();
    let attach = |name: &str| pair.a.run(|| XdpDevice::attach(&mut Netlink::open().unwrap(), name)).unwrap();
    assert!(matches!(attach("none"), Err(XdpError::NoDevice(_))));
    assert!(matches!(attach("lo"), Err(XdpError::NotEthernet(_))));
    ip(&pair.b, &["link", "set", "to-a", "mtu", "9000"]);
    ip(&pair.a, &["link", "set", "to-b", "mtu", "9000"]);
    assert!(matches!(attach("to-b"), Err(XdpError::MtuTooLarge { mtu: 9000, .. })));
    ip(&pair.a, &["link", "set", "to-b", "mtu", "1500"]);
    let device = attach("to-b").unwrap();
    let _held = pair.a.run(|| device.open(0).unwrap()).unwrap();
    assert!(pair.a.run(|| device.open(0).is_err()).unwrap(), "a queue has one socket");
    assert!(pair.a.run(|| device.open(15).is_err()).unwrap(), "no such queue");
}

#[test]
fn a_driver_without_xdp_has_the_program_behind_it_and_nothing_goes_by_the_programs_frames() {
    let namespace = Namespace::anonymous().unwrap();
    let mut netlink = namespace.netlink().unwrap();
    netlink.create_bridge("bridge").unwrap();
    let device =
        namespace.run(|| XdpDevice::attach(&mut Netlink::open().unwrap(), "bridge").unwrap()).unwrap();
    assert!(!device.native() && !device.can_inject());
    let (_, transmitter) = namespace.run(|| device.open(0).unwrap()).unwrap();
    let mut sender = namespace.run(|| XdpSender::new(None).unwrap().0).unwrap();
    sender.add(device, transmitter);
    assert_eq!(sender.frames(0).collect::<Vec<_>>(), [XdpFrames::Absent]);
}

#[test]
fn a_device_that_goes_leaves_the_stack_to_send_and_does_not_wake_for_ever() {
    let pair = Pair::new();
    let (mut a, b) = ends(&pair);
    ip(&pair.a, &["link", "del", "to-b"]);
    let to = [Run::single(SocketAddr::new(B4.into(), 0), &[5; 80])];
    for now in [100, 2000] {
        assert_eq!(a.send(&pair.a, &to, now), 0);
    }
    for end in [&a, &b] {
        let epoll = Epoll::new().unwrap();
        epoll.add(&end.receiver, 0, Interest::READ).unwrap();
        let mut ready = Vec::with_capacity(1);
        epoll.wait(&mut ready, Some(Duration::from_millis(50))).unwrap();
        assert!(ready.is_empty(), "{ready:?}");
    }
}

/// Holds a program on a device until it is killed.
#[test]
#[ignore = "started by the test below"]
fn holds_a_program_until_killed() {
    let _held = XdpDevice::attach(&mut Netlink::open().unwrap(), "to-b").unwrap();
    println!("held");
    loop {
        std::thread::park();
    }
}

#[test]
fn a_process_that_is_killed_leaves_no_program() {
    use std::io::{BufRead, BufReader};
    let pair = Pair::new();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "tests::xdp::holds_a_program_until_killed", "--ignored", "--nocapture"]);
    let mut child = pair.a.start_inside(&mut command).unwrap().stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let held = lines.any(|line| line.is_ok_and(|line| line.contains("held")));
    let there = has_program(&pair.a);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(held && there);
    // The kernel takes the last descriptor's work up a moment later.
    let gone = (0..400).any(|_| {
        std::thread::sleep(Duration::from_millis(5));
        !has_program(&pair.a)
    });
    assert!(gone);
}

fn ip(namespace: &Namespace, words: &[&str]) {
    let mut command = Command::new("ip");
    let status = namespace.start_inside(command.args(words)).unwrap().status().unwrap();
    assert!(status.success(), "{words:?}");
}

/// A veth named `several` with so many queues, switched on; its other end, `other`, is not.
fn several(namespace: &Namespace, queues: &str) {
    let queues = ["numrxqueues", queues, "numtxqueues", queues];
    let peer = ["type", "veth", "peer", "name", "other"];
    ip(namespace, &[&["link", "add", "several"], &queues[..], &peer, &queues].concat());
    ip(namespace, &["link", "set", "several", "up"]);
}

fn has_program(namespace: &Namespace) -> bool {
    let mut command = Command::new("ip");
    let output =
        namespace.start_inside(command.args(["-d", "link", "show", "to-b"])).unwrap().output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("to-b"));
    text.contains("xdp")
}

/// The link address of the second namespace's device, as text.
fn mac(namespace: &Namespace) -> String {
    let mut netlink = namespace.netlink().unwrap();
    let index = netlink.link_by_name("to-a").unwrap().unwrap().index;
    let octets = netlink.hardware_address(index).unwrap().unwrap();
    octets.map(|octet| format!("{octet:02x}")).join(":")
}

fn octets(mac: &str) -> [u8; 6] {
    let mut octets = mac.split(':').map(|octet| u8::from_str_radix(octet, 16).unwrap());
    std::array::from_fn(|_| octets.next().unwrap())
}

/// An Ethernet frame with 30 octets of ESP, its checksum still to be made.
fn esp_frame(mac: [u8; 6], to: [u8; 4]) -> Vec<u8> {
    let mut frame = mac.to_vec();
    frame.extend([2, 0, 0, 1, 1, 1, 8, 0, 0x45, 0, 0, 50, 0, 0, 0, 0, 64, 50, 0, 0, 192, 0, 2, 1]);
    frame.extend(to);
    frame.extend([8; 30]);
    frame
}

/// Makes the IPv4 header's checksum, wherever a tag has put it.
fn checksum(frame: &mut [u8]) {
    let at = if frame[12] == 0x81 { 18 } else { 14 };
    let len = usize::from(frame[at] & 15) * 4;
    let Some(header) = frame.get_mut(at..at + len) else { return };
    header[10..12].fill(0);
    let sum: u32 = header.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    header[10..12].copy_from_slice(&(!((folded & 0xffff) + (folded >> 16)) as u16).to_be_bytes());
}
