//! What the kernel dropped because nobody took it in time.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket as StdSocket};
use std::os::fd::AsFd;

use inet::Prefix;

use super::configure;
use crate::datagram::RecvRing;
use crate::netlink::{Netlink, Route, RouteChange, SendDrops, Target};
use crate::netns::Namespace;
use crate::raw::{EspOptions, EspSocket, Family};
use crate::tun::{READ_BUFFER, Tun, TunOptions};
use crate::udp::{UdpOptions, UdpSocket};

/// Packets of a burst.
const BURST: u32 = 500;
/// The kernel makes some ten packets' room of it.
const TINY: usize = 4096;

/// Takes all that waits: how many.
fn take(receive: impl Fn(&mut RecvRing) -> std::io::Result<usize>) -> u32 {
    let mut ring = RecvRing::new(64, 2048);
    let counts = std::iter::from_fn(|| Some(receive(&mut ring).unwrap()).filter(|count| *count > 0));
    u32::try_from(counts.sum::<usize>()).unwrap()
}

#[test]
fn what_found_a_sockets_buffer_full_is_counted() {
    let namespace = Namespace::anonymous().unwrap();
    namespace.loopback_up().unwrap();
    namespace
        .run(|| {
            let loopback = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4500);
            let options = UdpOptions { buffer: TINY, offload: false, ..UdpOptions::new(loopback) };
            let udp = UdpSocket::bind(&options).unwrap();
            let esp = EspSocket::open(&EspOptions { buffer: TINY, ..EspOptions::new(Family::V4) }).unwrap();
            assert_eq!((udp.receive_drops().unwrap(), esp.receive_drops().unwrap()), (0, 0));
            let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
            let from = UdpSocket::bind(&UdpOptions::new(any)).unwrap();
            let raw = EspSocket::open(&EspOptions::new(Family::V4)).unwrap();
            let runs = [crate::datagram::Run::single(loopback, &[7; 1000])];
            for _ in 0..BURST {
                from.send_one(loopback, None, 0, &[7; 1000]).unwrap();
                assert_eq!(raw.send_runs(&runs, &mut Default::default()).datagrams, 1);
            }
            let (dropped, received) = (udp.receive_drops().unwrap(), take(|ring| udp.recv_batch(ring)));
            assert!(dropped > BURST / 2 && dropped + received == BURST, "{dropped} {received}");
            let (dropped, received) = (esp.receive_drops().unwrap(), take(|ring| esp.recv_batch(ring)));
            assert!(dropped > BURST / 2 && dropped + received == BURST, "{dropped} {received}");
            assert!(crate::sys::option::receive_drops(std::io::stdin().as_fd()).is_err(), "no socket");
        })
        .unwrap();
}

#[test]
fn what_a_device_that_nobody_reads_dropped_is_counted() {
    const ROOM: u32 = 10;
    let namespace = Namespace::anonymous().unwrap();
    namespace
        .run(|| {
            let mut netlink = Netlink::open().unwrap();
            netlink.create_bridge("other").unwrap();
            let options = TunOptions { queue_len: ROOM, ..TunOptions::new("t0") };
            let tun = Tun::open(&mut netlink, &options).unwrap();
            let index = configure(&namespace, "t0", &[(Ipv4Addr::new(10, 0, 0, 1).into(), 32)]);
            let beyond: Prefix = "10.1.0.0/16".parse().unwrap();
            let route = RouteChange::Add(Route::new(beyond, 179, Target::Device(index)));
            assert_eq!(netlink.apply(&[route]), [Ok(())]);
            let before = netlink.tun_drops().unwrap();
            assert_eq!(before, [(index, SendDrops::default())].into());
            let udp = StdSocket::bind("10.0.0.1:0").unwrap();
            let burst = || (0..BURST).for_each(|_| drop(udp.send_to(&[7; 100], "10.1.0.1:9")));
            burst();
            let mut buffer = vec![0; READ_BUFFER];
            let read = || Some(tun.queues()[0].read(&mut buffer).unwrap().is_some()).filter(|some| *some);
            let read = u64::try_from(std::iter::from_fn(read).count()).unwrap();
            let full = netlink.tun_drops().unwrap()[&index];
            assert!(read >= u64::from(ROOM), "{read}");
            assert_eq!(full.device + full.discipline + read, u64::from(BURST), "{full:?}");
            // A discipline that takes nothing, where the kernel has it.
            if netlink.set_root_qdisc(index, "blackhole").is_ok() {
                burst();
                let drops = netlink.tun_drops().unwrap()[&index];
                assert_eq!(drops, SendDrops { discipline: u64::from(BURST), ..full });
            }
            tun.destroy().unwrap();
        })
        .unwrap();
}
