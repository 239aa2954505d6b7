//! What goes wrong for a while, and that it is over when its cause is.

use std::time::Duration;

use super::{End, checksum, ends, esp_frame, ip, mac, octets, several};
use crate::datagram::{Run, Source};
use crate::netlink::Netlink;
use crate::netns::Namespace;
use crate::tests::{Pair, is_readable};
use crate::xdp::{XdpDevice, XdpError, XdpFrames, XdpSender};

#[test]
fn a_burst_of_damaged_headers_that_takes_every_frame_leaves_the_queue_hearing() {
    const FRAMES: u64 = 2048;
    let pair = Pair::new();
    let (mut a, mut b) = ends(&pair);
    let mut good = esp_frame(octets(&mac(&pair.b)), [192, 0, 2, 2]);
    checksum(&mut good);
    let mut bad = good.clone();
    bad[24] ^= 1;
    assert_eq!(b.receiver.receive(), 0);
    let losses = || b.receiver.meter().losses().unwrap();
    for _ in 0..1000 {
        (0..100).for_each(|_| a.sender.send_frame(&bad));
        if losses().full > 0 {
            break;
        }
    }
    assert!(losses().full > 0);
    // A worker that had no time until now.
    while is_readable(&b.receiver, Duration::ZERO) {
        assert_eq!(b.receiver.receive(), 0);
    }
    let heard = (0..100).any(|_| {
        a.sender.send_frame(&good);
        is_readable(&b.receiver, Duration::from_millis(50)) && b.receiver.receive() > 0
    });
    assert!(heard, "deaf: {:?}", b.receiver.meter().losses());
    let losses = b.receiver.meter().losses().unwrap();
    assert!(losses.damaged >= FRAMES && losses.other == 0, "{losses:?}");
}

#[test]
fn whoever_starts_anew_at_once_has_every_queue_again() {
    let pair = Pair::new();
    several(&pair.a, "3");
    for round in 0..12 {
        let opened = pair.a.run(|| {
            let device = XdpDevice::attach(&mut Netlink::open().unwrap(), "several")?;
            let (receivers, transmitter) = device.open_all()?;
            Ok::<_, XdpError>((device, transmitter, receivers.len()))
        });
        let (_, _, count) = opened.unwrap().unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert_eq!(count, 3);
    }
}

#[test]
fn behind_a_driver_without_xdp_whoever_starts_anew_waits_for_the_one_before_too() {
    let namespace = Namespace::anonymous().unwrap();
    namespace.netlink().unwrap().create_bridge("bridge").unwrap();
    let attach = || namespace.run(|| XdpDevice::attach(&mut Netlink::open().unwrap(), "bridge")).unwrap();
    let first = attach().unwrap();
    let outcome = attach().map(drop);
    assert!(matches!(&outcome, Err(XdpError::Busy(name)) if name == "bridge"), "{outcome:?}");
    std::thread::scope(|scope| {
        let (started, starts) = std::sync::mpsc::channel();
        let next = scope.spawn(move || {
            started.send(()).unwrap();
            attach().map(|device| device.native())
        });
        starts.recv().unwrap();
        std::thread::sleep(Duration::from_millis(50));
        drop(first);
        assert!(!next.join().unwrap().unwrap());
    });
}

#[test]
fn addresses_that_could_not_be_read_are_read_with_the_next_question() {
    let pair = Pair::new();
    let (mut a, mut b) = ends(&pair);
    let new = std::net::IpAddr::from([192, 0, 2, 78]);
    ip(&pair.a, &["addr", "add", "192.0.2.78/24", "dev", "to-b"]);
    let source = Some(Source { address: new, ifindex: pair.index_a });
    let run = [Run { source, ..Run::single("192.0.2.2:0".parse().unwrap(), &[5; 80]) }];
    let before = a.sender.counts().sent;
    let mut broken = Netlink::broken().unwrap();
    a.scout.swap_netlink(&mut broken);
    assert_eq!(a.send(&pair.a, &run, 5000), 1);
    a.scout.swap_netlink(&mut broken);
    for now in [6500, 6501] {
        assert_eq!(a.send(&pair.a, &run, now), 1);
    }
    assert_eq!(a.sender.counts().sent, before + 1);
    assert_eq!(b.send(&pair.b, &[Run::single(std::net::SocketAddr::new(new, 0), &[6; 80])], 100), 1);
    assert_eq!(a.past_the_stack(1), [[6; 80]]);
}

#[test]
fn a_queue_that_another_has_is_said_and_not_left_out() {
    let pair = Pair::new();
    several(&pair.a, "2");
    let device = pair.a.run(|| XdpDevice::attach(&mut Netlink::open().unwrap(), "several")).unwrap().unwrap();
    let _held = pair.a.run(|| device.open(1).unwrap()).unwrap();
    let outcome = pair.a.run(|| device.open_all().map(drop)).unwrap();
    assert!(matches!(outcome, Err(XdpError::Queue { queue: 1, .. })), "{outcome:?}");
}

#[test]
fn what_is_longer_than_a_frame_since_the_mtu_grew_goes_its_usual_way() {
    let pair = Pair::new();
    let (mut a, mut b) = ends(&pair);
    ip(&pair.a, &["link", "set", "to-b", "mtu", "3000"]);
    ip(&pair.b, &["link", "set", "to-a", "mtu", "3000"]);
    // What the way is now is asked with the first.
    let one = |octets| vec![7; octets];
    a.send(&pair.a, &[Run::single("192.0.2.2:0".parse().unwrap(), &one(44))], 5000);
    b.past_the_stack(1);
    // A frame has room for 1792 octets, of which Ethernet and IPv4 take 34.
    for (octets, fits) in [(1758, true), (1759, false), (2500, false)] {
        let packet = one(octets);
        assert_eq!(a.send(&pair.a, &[Run::single("192.0.2.2:0".parse().unwrap(), &packet)], 5001), 1);
        let got = if fits { b.past_the_stack(1) } else { b.by_raw(0, 1) };
        assert_eq!(got, [packet], "{octets}");
    }
    assert_eq!(b.receiver.meter().losses().unwrap().other, 0);
}

#[test]
fn what_the_kernel_makes_no_frames_for_goes_by_the_socket_and_a_second_later_it_is_asked_again() {
    let pair = Pair::new();
    let (mut a, mut b) = ends(&pair);
    let packets: Vec<Vec<u8>> = (0..200_u16).map(|number| number.to_be_bytes().repeat(40)).collect();
    let runs: Vec<Run<'_>> =
        packets.iter().map(|packet| Run::single("192.0.2.2:0".parse().unwrap(), packet)).collect();
    let mut no_program = std::fs::File::open("/dev/null").unwrap().into();
    let mut injected = 0;
    for (now, works, by_program) in
        [(1100, false, false), (1900, true, false), (2099, true, false), (2100, true, true)]
    {
        // Once a second one is the stack's.
        a.send(&pair.a, &runs[..1], now / 1000 * 1000);
        b.past_the_stack(1);
        let before = a.sender.counts();
        if !works {
            a.sender.swap_program(&mut no_program);
        }
        // Two batches of frames, fewer than the other end's ring takes.
        assert_eq!(a.send(&pair.a, &runs, now), 200);
        assert!(b.past_the_stack(200) == packets, "at {now}");
        if !works {
            a.sender.swap_program(&mut no_program);
        }
        injected += if by_program { 200 } else { 0 };
        let after = a.sender.counts();
        assert_eq!((after.sent - before.sent, after.injected, after.lost), (200, injected, 0), "at {now}");
        let frames = if by_program { XdpFrames::On } else { XdpFrames::Resting };
        assert_eq!(a.sender.frames(now).collect::<Vec<_>>(), [frames], "at {now}");
    }
}

#[test]
fn a_driver_that_no_longer_takes_frames_is_told_of() {
    let pair = Pair::new();
    let (mut a, b) = ends(&pair);
    let frames = |sender: &XdpSender| sender.frames(5000).collect::<Vec<_>>();
    let send = |a: &mut End, at: [u64; 2]| {
        for now in at {
            a.send(&pair.a, &[Run::single("192.0.2.2:0".parse().unwrap(), &[5; 80])], now);
        }
    };
    assert_eq!(frames(&a.sender), [XdpFrames::Unasked]);
    send(&mut a, [1000, 1001]);
    assert_eq!(frames(&a.sender), [XdpFrames::On]);
    // A veth takes them while there is a program at its other end.
    drop(b);
    send(&mut a, [3000, 3001]);
    assert_eq!(frames(&a.sender), [XdpFrames::NotTaken]);
    assert_eq!(frames(&pair.a.run(|| XdpSender::new(None).unwrap().0).unwrap()), []);
}
