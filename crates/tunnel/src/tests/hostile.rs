//! Truncated, mutated and random input: counted, never a panic.

use proptest::prelude::*;

use super::support::*;
use super::worker::*;
use crate::inner::Inner;
use crate::*;

#[test]
fn every_truncation_of_a_frame_is_dropped_or_carried() {
    for spec in [
        Spec { payload: payload(100), options: vec![1; 12], ..Spec::default() },
        Spec { ipv6: true, udp: true, size: 20, payload: payload(100), ..Spec::default() },
    ] {
        for frame in [spec.frame(), spec.unfinished_frame()] {
            for cut in 0..frame.len() {
                let mut worker = Worker::gcm(ALL);
                assert_eq!(worker.offer(&frame[..cut]), Handled::Done);
                worker.sent();
                assert_eq!(worker.drops.total(), 1, "the length field lies at cut {cut}");
            }
        }
    }
}

#[test]
fn every_truncation_of_a_datagram_is_refused() {
    let mut worker = Worker::gcm(ALL);
    assert_eq!(
        worker.offer(&Spec { payload: payload(50), ..Spec::default() }.unfinished_frame()),
        Handled::Done
    );
    let whole = worker.sent().remove(0);
    for cut in 0..whole.bytes.len() {
        let mut sent = whole.clone();
        sent.bytes.truncate(cut);
        assert!(worker.receive(vec![sent]).is_empty());
    }
    assert_eq!(worker.receive(vec![whole]).len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn random_octets_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        first in prop_oneof![Just(0x45u8), Just(0x46), Just(0x60), any::<u8>()],
        segment in 0usize..400,
    ) {
        let mut frame = bytes.clone();
        if let Some(octet) = frame.get_mut(10) {
            *octet = first;
        }
        let mut worker = Worker::gcm(ALL);
        worker.change(|row| (row.mtu, row.mss) = (100, MssPolicy::Auto));
        prop_assert_eq!(worker.offer(&frame), Handled::Done);
        worker.sent();
        while worker.egress.poll_reply().is_some() {}
        let mut spi = SPI.to_be_bytes().to_vec();
        spi.extend(&bytes);
        let sent = |bytes: Vec<u8>| Sent { path: path(), tos: 3, dont_fragment: true, segment, bytes };
        prop_assert!(worker.receive(vec![sent(bytes), sent(spi)]).is_empty());
    }

    #[test]
    fn parsed_lengths_lie_within_the_packet(
        mut bytes in prop::collection::vec(any::<u8>(), 1..300),
        first in prop_oneof![Just(0x45u8), Just(0x4f), Just(0x60)],
        next in prop_oneof![Just(0u8), Just(43), Just(44), Just(60), Just(6)],
        length in 0u16..300,
    ) {
        bytes[0] = first;
        let at = if first == 0x60 { 4 } else { 2 };
        if let Some(octets) = bytes.get_mut(at..at + 2) {
            octets.copy_from_slice(&length.to_be_bytes());
        }
        if let Some(octet) = bytes.get_mut(6) {
            *octet = next;
        }
        if let Ok(inner) = Inner::parse(&bytes) {
            prop_assert!(inner.transport <= inner.total && inner.total <= bytes.len());
        }
    }

    /// An authentic peer may still send nonsense inside.
    #[test]
    fn authentic_nonsense_never_panics(
        specs in prop::collection::vec(specs(), 1..4),
        harm in prop::collection::vec((0usize..6, 0usize..90, any::<u8>()), 0..30),
    ) {
        let mut worker = Worker::gcm(ALL);
        worker.change(|row| row.mss = MssPolicy::Fixed(500));
        let row = worker.table.tunnel(TUNNEL).unwrap().outbound[0].clone();
        let mut packets: Vec<_> = specs.iter().flat_map(Spec::plain).collect();
        for (which, at, value) in harm {
            let count = packets.len();
            if let Some(octet) = packets[which % count].get_mut(at) {
                *octet = value;
            }
        }
        let mut received = Vec::new();
        for (number, packet) in (1..).zip(&packets) {
            let mut bytes = vec![0; row.sa.sealed_len(packet.len())];
            bytes[16..16 + packet.len()].copy_from_slice(packet);
            let next_header = if packet[0] >> 4 == 6 { 41 } else { 4 };
            let mut slot = [esp::Slot { bytes: &mut bytes, inner: packet.len(), next_header }];
            row.sa.seal_batch(&mut slot, number).unwrap();
            received.push(Sent { path: path(), tos: 0, dont_fragment: true, segment: bytes.len(), bytes });
        }
        let written = cut_count(&worker.receive(received));
        prop_assert_eq!(written as u64 + worker.drops.total(), packets.len() as u64);
    }
}

/// How many packets frames stand for, by their virtio headers alone.
fn cut_count(frames: &[Vec<u8>]) -> usize {
    frames
        .iter()
        .map(|frame| {
            let (header, packet) = offload::virtio::Header::split(frame).unwrap();
            let headers = usize::from(header.header_len);
            if header.gso_size == 0 {
                1
            } else {
                (packet.len() - headers).div_ceil(usize::from(header.gso_size))
            }
        })
        .sum()
}
