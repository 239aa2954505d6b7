//! Two gateways' datapaths back to back, in network namespaces of their own: as root.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::thread;

use kernel::datagram::Source;
use kernel::netlink::{LinkChange, Netlink};
use kernel::netns::Namespace;
use kernel::tun::{self, Steering, Tun, TunError, TunOptions};
use tunnel::demux::NON_ESP_MARKER;
use tunnel::publish::Publisher;
use tunnel::{DfPolicy, Report, TunnelRow};

#[path = "../tests/stand/mod.rs"]
pub(crate) mod stand;

use self::stand::{DEVICE, Ends, TUNNEL, device_as, now, table, wire};
use super::{Joins, Uplink, Upward, Workers};

const LEFT: Ends = Ends { outer: [192, 0, 2, 1], inner: [10, 0, 0, 1], spi: 0x1000 };
const RIGHT: Ends = Ends { outer: [192, 0, 2, 2], inner: [10, 0, 0, 2], spi: 0x2000 };

/// One gateway's datapath.
struct Side {
    namespace: Namespace,
    workers: Workers,
    uplink: Uplink,
    publisher: Publisher,
    /// The first worker's socket of port 4500.
    outer: Arc<kernel::udp::UdpSocket>,
}

impl Side {
    fn start(namespace: Namespace, own: Ends, peer: Ends, workers: u32, queues: usize) -> Self {
        let publisher = Publisher::default();
        let (workers, uplink, outer) = namespace
            .run(|| {
                let (any, mut notes) =
                    ([Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()], Vec::new());
                let shares = super::open(workers.try_into().unwrap(), &any, None, &mut notes).unwrap();
                let outer = Arc::clone(&shares[0].udp[0]);
                let (workers, uplink) = Workers::start(shares, &publisher.reader(), now()).unwrap();
                assert_eq!(notes, [""; 0]);
                let tun = device(&mut Netlink::open().unwrap(), own, peer, queues);
                let offloads = tun.offloads();
                workers.devices().attach(TUNNEL, tun.into_queues(), None, offloads);
                (workers, uplink, outer)
            })
            .unwrap();
        Self { namespace, workers, uplink, publisher, outer }
    }

    fn publish(&mut self, own: Ends, peer: Ends, udp: bool) {
        self.publisher.publish(Arc::new(table(own, peer, udp)));
        self.workers.devices().nudge();
    }

    fn stop(self) {
        self.workers.stop();
        let mut netlink = self.namespace.netlink().unwrap();
        tun::remove(&mut netlink, DEVICE).unwrap();
    }
}

fn device(netlink: &mut Netlink, own: Ends, peer: Ends, queues: usize) -> Tun {
    device_as(netlink, own, peer, &TunOptions { queues, ..TunOptions::new(DEVICE) }).unwrap()
}

fn pair(udp: bool, workers: u32) -> (Side, Side) {
    pair_of_queues(udp, workers, 1)
}

fn pair_of_queues(udp: bool, workers: u32, queues: usize) -> (Side, Side) {
    let (left, right) = wire(LEFT, RIGHT);
    let mut left = Side::start(left, LEFT, RIGHT, workers, queues);
    let mut right = Side::start(right, RIGHT, LEFT, workers, queues);
    left.publish(LEFT, RIGHT, udp);
    right.publish(RIGHT, LEFT, udp);
    (left, right)
}

/// Sends octets over TCP through the tunnel and back, and compares.
fn transfer(left: &Side, right: &Side, octets: usize) {
    let listener =
        right.namespace.run(|| TcpListener::bind((Ipv4Addr::from(RIGHT.inner), 5001)).unwrap()).unwrap();
    let sent: Arc<Vec<u8>> = Arc::new((0..octets).map(|i| (i * 7 + i / 251) as u8).collect());
    let echo = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        stream.write_all(&got).unwrap();
    });
    let mut stream =
        left.namespace.run(|| TcpStream::connect((Ipv4Addr::from(RIGHT.inner), 5001)).unwrap()).unwrap();
    stream.write_all(&sent).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    echo.join().unwrap();
    assert!(back == *sent, "what came back differs");
}

#[test]
fn tcp_crosses_two_datapaths_in_udp() {
    let (left, right) = pair(true, 1);
    transfer(&left, &right, 16 << 20);
    left.stop();
    right.stop();
}

#[test]
fn tcp_crosses_two_datapaths_as_protocol_50() {
    let (left, right) = pair(false, 1);
    transfer(&left, &right, 16 << 20);
    left.stop();
    right.stop();
}

#[test]
fn with_several_workers_whoever_receives_can_write_to_every_device() {
    let (left, right) = pair(true, 3);
    transfer(&left, &right, 4 << 20);
    left.stop();
    right.stop();
}

#[test]
fn flows_spread_over_the_queues_of_one_device_and_each_keeps_its_order() {
    let (left, right) = pair_of_queues(true, 3, 3);
    let to = right.namespace.run(|| UdpSocket::bind((Ipv4Addr::from(RIGHT.inner), 9)).unwrap()).unwrap();
    to.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    let bind = || UdpSocket::bind((Ipv4Addr::from(LEFT.inner), 0)).unwrap();
    let flows: Vec<UdpSocket> = left.namespace.run(|| (0..12).map(|_| bind()).collect()).unwrap();
    let mut next = std::collections::BTreeMap::new();
    let mut before = vec![0; 3];
    for number in 0..200_u32 {
        if number == 100 {
            before = left.workers.devices().octets(TUNNEL);
        }
        for flow in &flows {
            flow.send_to(&number.to_be_bytes(), (Ipv4Addr::from(RIGHT.inner), 9)).unwrap();
        }
        for _ in &flows {
            let mut got = [0; 4];
            let (_, from) = to.recv_from(&mut got).unwrap();
            let expected = next.entry(from.port()).or_insert(0);
            assert_eq!(u32::from_be_bytes(got), *expected);
            *expected += 1;
            // What comes back makes the kernel choose the queue of the flow anew.
            to.send_to(&got, from).unwrap();
        }
        for flow in &flows {
            flow.recv(&mut [0; 4]).unwrap();
        }
    }
    // By then the kernel has placed every flow where its answers were written.
    let octets = left.workers.devices().octets(TUNNEL);
    assert!(octets.iter().zip(&before).all(|(after, before)| after > before), "{before:?} {octets:?}");
    transfer(&left, &right, 4 << 20);
    left.stop();
    right.stop();
}

/// Sends so many datagrams from the left with this type of service, each a flow of its own: those of one would be joined where
/// they arrive, before others that left earlier.
fn send(left: &Side, tos: u32, count: usize, what: &[u8]) {
    let bind = || UdpSocket::bind((Ipv4Addr::from(LEFT.inner), 0)).unwrap();
    for socket in left.namespace.run(|| (0..count).map(|_| bind()).collect::<Vec<_>>()).unwrap() {
        socket2::SockRef::from(&socket).set_tos_v4(tos).unwrap();
        // What finds no room in the device is no error of the socket, or one that says so.
        let _ = socket.send_to(what, (Ipv4Addr::from(RIGHT.inner), 9));
    }
}

#[test]
fn control_packets_leave_before_a_full_queue_and_a_flood_of_them_leaves_the_others_their_turn() {
    const ROOM: u32 = 40;
    const CS6: u32 = 0xc0;
    for workers in [1, 2] {
        let (left, right) = pair(true, workers);
        let to = right.namespace.run(|| UdpSocket::bind((Ipv4Addr::from(RIGHT.inner), 9)).unwrap()).unwrap();
        to.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
        // Both queues are full before anyone reads them. The device of one queue would stay one.
        left.workers.devices().detach(TUNNEL);
        tun::remove(&mut left.namespace.netlink().unwrap(), DEVICE).unwrap();
        let open = || {
            let mut netlink = Netlink::open().unwrap();
            let control = Some(Arc::new(Steering::load().unwrap()));
            let options = TunOptions { queue_len: ROOM, control, ..TunOptions::new(DEVICE) };
            loop {
                match device_as(&mut netlink, LEFT, RIGHT, &options) {
                    // The worker has it still for a moment.
                    Err(TunError::Busy(_)) => thread::yield_now(),
                    tun => return tun.unwrap(),
                }
            }
        };
        let tun = left.namespace.run(open).unwrap();
        send(&left, 0, 200, b"data");
        send(&left, CS6, 200, b"keepalive");
        let offloads = tun.offloads();
        let (queues, control) = tun.into_all_queues();
        left.workers.devices().attach(TUNNEL, queues, control, offloads);
        let mut came = Vec::new();
        while came.len() < 2 * ROOM as usize {
            let mut got = [0; 20];
            let length = to.recv(&mut got).unwrap();
            came.push(got[..length].to_vec());
        }
        let control = came.iter().take_while(|what| *what == b"keepalive").count();
        assert!(
            control > 0 && control < ROOM as usize,
            "{workers} workers: {control} before the first of the others"
        );
        assert_eq!(came.iter().filter(|what| *what == b"data").count(), ROOM as usize);
        // Read together with the first queue, by whoever reads that.
        let (home, other) =
            (TUNNEL.0 as usize % workers as usize, (TUNNEL.0 as usize + 1) % workers as usize);
        left.workers.devices().give(TUNNEL, home, other);
        send(&left, CS6, 1, b"after");
        let mut got = [0; 20];
        let length = to.recv(&mut got).unwrap();
        assert_eq!(&got[..length], b"after");
        transfer(&left, &right, 1 << 20);
        left.stop();
        right.stop();
    }
}

#[test]
fn a_queue_that_changes_its_reader_loses_and_reorders_nothing() {
    const COUNT: u32 = 4000;
    let (left, right) = pair(true, 2);
    let to = right.namespace.run(|| UdpSocket::bind((Ipv4Addr::from(RIGHT.inner), 9)).unwrap()).unwrap();
    to.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    let from = left.namespace.run(|| UdpSocket::bind((Ipv4Addr::from(LEFT.inner), 0)).unwrap()).unwrap();
    let mut next = 0_u32;
    for number in 0..COUNT {
        from.send_to(&number.to_be_bytes(), (Ipv4Addr::from(RIGHT.inner), 9)).unwrap();
        let (home, other) = (TUNNEL.0 as usize % 2, 1 - TUNNEL.0 as usize % 2);
        match number % 40 {
            10 => left.workers.devices().give(TUNNEL, home, other),
            30 => left.workers.devices().give(TUNNEL, other, home),
            // A socket holds a few hundred.
            39 => {
                while next <= number {
                    let mut got = [0; 4];
                    assert_eq!(to.recv(&mut got).unwrap(), 4);
                    assert_eq!(u32::from_be_bytes(got), next);
                    next += 1;
                }
            }
            _ => {}
        }
    }
    assert_eq!(next, COUNT);
    transfer(&left, &right, 1 << 20);
    left.stop();
    right.stop();
}

#[test]
fn joined_packets_that_the_kernel_refuses_arrive_one_by_one_and_joining_stops() {
    for workers in [1, 3] {
        let (left, right) = pair(true, workers);
        let joins = || right.workers.devices().joins(TUNNEL).unwrap();
        transfer(&left, &right, 1 << 20);
        assert_eq!(joins(), [Joins::On; 2]);
        right.workers.devices().refuse_joined(TUNNEL);
        transfer(&left, &right, 4 << 20);
        let [Joins::GivenUp { refused }, Joins::On] = joins() else { panic!("{:?}", joins()) };
        assert!(refused > 0);
        assert_eq!(right.workers.drops(), [], "nothing was lost");
        // Whatever was under way when it was given up is through.
        transfer(&left, &right, 4 << 20);
        let before = joins();
        transfer(&left, &right, 16 << 20);
        assert_eq!(joins(), before, "nothing is joined any more");
        // The other side's device takes them as ever.
        assert_eq!(left.workers.devices().joins(TUNNEL), Some([Joins::On; 2]));
        left.stop();
        right.stop();
    }
}

#[test]
fn an_ike_message_on_port_4500_goes_up_without_its_marker_and_a_first_packet_is_told() {
    let (left, mut right) = pair(true, 1);
    let (from, to) = (SocketAddr::new(LEFT.outer.into(), 4500), SocketAddr::new(RIGHT.outer.into(), 4500));
    let source = Some(Source { address: from.ip(), ifindex: 0 });
    left.outer.send_one(to, source, 0, &[0xff]).unwrap();
    left.outer.send_one(to, source, 0, &[&NON_ESP_MARKER[..], b"an IKE message"].concat()).unwrap();
    let udp = left.namespace.run(|| UdpSocket::bind((Ipv4Addr::from(LEFT.inner), 0)).unwrap()).unwrap();
    udp.send_to(b"hello", (Ipv4Addr::from(RIGHT.inner), 9)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut told = Vec::new();
    for _ in 0..2 {
        told.push(runtime.block_on(right.uplink.recv()));
    }
    let Upward::Report(Report::Ike { local, remote, ifindex, bytes }) = &told[0] else { panic!("{told:?}") };
    assert_eq!((*local, *remote, &bytes[..]), (to, from, &b"an IKE message"[..]));
    assert_ne!(*ifindex, 0, "the kernel says by which interface");
    assert!(
        matches!(&told[1], Upward::Report(Report::FirstPacket { tunnel: TUNNEL, spi }) if *spi == RIGHT.spi),
        "{told:?}"
    );
    left.stop();
    right.stop();
}

#[test]
fn a_capture_sees_both_directions() {
    let (left, right) = pair(true, 1);
    let (sink, mut packets) = tokio::sync::mpsc::channel(64);
    left.workers.devices().capture(TUNNEL, &sink);
    drop(sink);
    transfer(&left, &right, 1000);
    let mut directions = [0; 2];
    while let Ok(body) = packets.try_recv() {
        assert_eq!(body[9] >> 4, 4, "an IPv4 packet follows the nine octets");
        directions[usize::from(body[8])] += 1;
    }
    assert!(directions[0] > 0 && directions[1] > 0, "{directions:?}");
    left.stop();
    right.stop();
}

#[test]
fn a_send_above_the_path_mtu_goes_up_with_what_the_kernel_knows() {
    let (mut left, right) = pair(true, 1);
    let mut netlink = left.namespace.netlink().unwrap();
    let wan = netlink.link_by_name("wan").unwrap().unwrap().index;
    netlink.set_link(wan, &LinkChange { mtu: Some(1300), ..LinkChange::default() }).unwrap();
    let udp = left.namespace.run(|| UdpSocket::bind((Ipv4Addr::from(LEFT.inner), 0)).unwrap()).unwrap();
    udp.send_to(&[0; 1372], (Ipv4Addr::from(RIGHT.inner), 9)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let told = runtime.block_on(left.uplink.recv());
    assert!(
        matches!(told, Upward::PathMtu { mtu: 1300, remote } if remote == IpAddr::from(RIGHT.outer)),
        "{told:?}"
    );
    left.stop();
    right.stop();
}

/// ICMP "fragmentation needed" (RFC 792, RFC 1191) from `router`, as if it had seen a packet of `sender` to `receiver`.
fn too_big(router: &Namespace, sender: Ends, receiver: Ends, mtu: u16) {
    let mut message = vec![3, 4, 0, 0, 0, 0];
    message.extend(mtu.to_be_bytes());
    message.extend([0x45, 0, 5, 0xdc, 0, 1, 0x40, 0, 64, 17, 0, 0]);
    message.extend(sender.outer);
    message.extend(receiver.outer);
    message.extend([4500_u16.to_be_bytes(), 4500_u16.to_be_bytes()].concat());
    message.extend([0; 12]);
    let sum: u32 = message.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    router
        .run(|| {
            let raw = socket2::Socket::new(
                socket2::Domain::IPV4,
                socket2::Type::RAW,
                Some(socket2::Protocol::ICMPV4),
            );
            let to = SocketAddr::new(sender.outer.into(), 0);
            raw.unwrap().send_to(&message, &to.into()).unwrap();
        })
        .unwrap();
}

#[test]
fn a_forged_path_mtu_goes_up_as_what_the_kernel_made_of_it() {
    // RFC 1191 section 3: routers of the old kind say 0; no path takes so little as 68.
    for forged in [0, 68] {
        let (mut left, right) = pair(true, 1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        // The kernel drops an error for a way it has not used yet, so it is said until it is heard.
        let told = runtime.block_on(async {
            loop {
                too_big(&right.namespace, LEFT, RIGHT, forged);
                let pause = std::time::Duration::from_millis(200);
                if let Ok(told) = tokio::time::timeout(pause, left.uplink.recv()).await {
                    break told;
                }
            }
        });
        assert!(
            matches!(told, Upward::PathMtu { mtu, remote } if mtu >= 552 && remote == IpAddr::from(RIGHT.outer)),
            "{forged}: {told:?}"
        );
        left.stop();
        right.stop();
    }
}

#[test]
fn with_df_clear_an_esp_packet_above_the_path_mtu_is_fragmented_outside() {
    for udp in [true, false] {
        let (mut left, right) = pair(udp, 1);
        let mut netlink = left.namespace.netlink().unwrap();
        let wan = netlink.link_by_name("wan").unwrap().unwrap().index;
        netlink.set_link(wan, &LinkChange { mtu: Some(1300), ..LinkChange::default() }).unwrap();
        let table = left.publisher.current();
        let row = TunnelRow { df: DfPolicy::Clear, mtu: 1200, ..table.tunnel(TUNNEL).unwrap().clone() };
        let mut builder = table.edit();
        builder.set_tunnel(row);
        left.publisher.publish(Arc::new(builder.build()));
        let bind = |side: &Side, address: [u8; 4], port| {
            side.namespace.run(|| UdpSocket::bind((Ipv4Addr::from(address), port)).unwrap()).unwrap()
        };
        let (from, to) = (bind(&left, LEFT.inner, 0), bind(&right, RIGHT.inner, 9));
        from.send_to(&[7; 1372], (Ipv4Addr::from(RIGHT.inner), 9)).unwrap();
        let mut got = [0; 2000];
        assert_eq!(to.recv(&mut got).unwrap(), 1372);
        left.stop();
        right.stop();
    }
}
