//! Fragments: made where a packet is too long for the tunnel, and carried like any other packet.

use proptest::prelude::*;

use super::support::*;
use super::twin::*;
use super::worker::*;
use crate::{Drop, Handled};

/// A packet, unfinished as a TUN gives it, that may be fragmented.
fn fragmentable() -> impl Strategy<Value = Spec> {
    (specs(), 0usize..4000).prop_map(|(spec, length)| Spec {
        ipv6: false,
        dont_fragment: false,
        payload: payload(length),
        ..spec
    })
}

/// What one frame becomes over a tunnel of so many octets.
fn over(mtu: u16, frame: Vec<u8>) -> (Vec<Vec<u8>>, Worker) {
    let mut worker = Worker::gcm(NONE);
    worker.change(|row| row.mtu = mtu);
    let packets = packets_of(&worker.carry(&[frame]));
    (packets, worker)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_packet_too_long_is_fragmented_as_rfc_791_says(spec in fragmentable(), mtu in 68u16..1500, twice in 60u16..400) {
        let whole = spec.packet(&spec.payload);
        let (fragments, worker) = over(mtu, spec.unfinished_frame());
        assert_fragments(&whole, &fragments, mtu.into());
        prop_assert_eq!(fragments.len() == 1, whole.len() <= usize::from(mtu));
        prop_assert_eq!(worker.drops.total(), 0);
        // Where the next tunnel is narrower still, what is a fragment already is cut again.
        let middle = &fragments[fragments.len() / 2];
        let narrower = twice.max(68);
        let (again, _) = over(narrower, single_frame(middle));
        if middle.len() <= usize::from(narrower) {
            prop_assert_eq!(&again, std::slice::from_ref(middle));
        } else {
            assert_fragments(middle, &again, narrower.into());
        }
    }

    /// Streams are cut smaller, datagrams fragmented where they may be, else answered.
    #[test]
    fn a_super_packet_over_a_narrow_tunnel_leaves_in_packets_that_fit(spec in specs(), mtu in 200u16..1450) {
        let limit = usize::from(if spec.ipv6 { mtu.max(1280) } else { mtu });
        let (packets, mut worker) = over(mtu, spec.frame());
        if !spec.udp {
            let size = spec.size.min(usize::from(mtu) - spec.headers());
            prop_assert_eq!(packets, Spec { size, ..spec }.plain());
            return Ok(());
        }
        let (mut packets, mut refused) = (packets.as_slice(), 0);
        for datagram in spec.plain() {
            if datagram.len() <= limit {
                prop_assert_eq!(&packets[0], &datagram);
                packets = &packets[1..];
            } else if spec.ipv6 || spec.dont_fragment {
                refused += 1;
            } else {
                let rest = packets.iter().position(|packet| packet[6] & 0x20 == 0).unwrap() + 1;
                assert_fragments(&datagram, &packets[..rest], mtu.into());
                packets = &packets[rest..];
            }
        }
        prop_assert!(packets.is_empty());
        prop_assert_eq!(worker.drops.get(Drop::TooBig), refused);
        prop_assert_eq!(worker.egress.poll_reply().is_some(), refused > 0);
    }

    /// The transport header is in the first fragment alone, so nothing of it may be read, joined or repaired.
    #[test]
    fn fragments_of_both_families_pass_as_they_are(spec in specs(), blocks in 1usize..60, routed: bool) {
        let mut spec = spec;
        spec.payload.truncate(1300);
        if routed {
            spec.extensions.insert(spec.extensions.len().min(1), Extension::home([0xfd; 16]));
        }
        let whole = spec.packet(&spec.payload);
        let pieces = fragments(&whole, blocks);
        let frames: Vec<_> = pieces.iter().map(|packet| single_frame(packet)).collect();
        prop_assert_eq!(packets_of(&Worker::gcm(ALL).carry(&frames)), pieces);
    }

    #[test]
    fn no_fragment_is_a_super_packet(spec in specs(), later: bool) {
        let mut frame = spec.frame();
        if spec.ipv6 {
            // The first extension header, or the transport header, behind a fragment header.
            let next = std::mem::replace(&mut frame[10 + 6], FRAGMENT);
            let offset = if later { 0x80 } else { 0x01 };
            frame.splice(50..50, [next, 0, 0, offset, 0, 0, 0, 1]);
            let length = (frame.len() - 50) as u16;
            frame[14..16].copy_from_slice(&length.to_be_bytes());
        } else {
            frame[16] |= if later { 0x01 } else { 0x20 };
        }
        let mut worker = Worker::gcm(ALL);
        prop_assert_eq!(worker.offer(&frame), Handled::Done);
        prop_assert!(worker.sent().is_empty());
        prop_assert_eq!(worker.drops.get(Drop::Unsplittable), 1);
    }
}
