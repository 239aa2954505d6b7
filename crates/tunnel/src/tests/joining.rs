//! Joining packets again.

use std::collections::BTreeMap;
use std::io::IoSlice;

use proptest::prelude::*;

use super::support::*;
use super::twin::*;
use super::worker::*;
use crate::TunnelId;
use crate::offload::coalesce::Joining;
use crate::offload::recut::{self, Recut};
use crate::offload::split::Unsplittable;
use crate::offload::virtio::{self, Gso};

/// IPv4 identifications of packets that may not be fragmented mean nothing (RFC 6864 section 4.1), and
/// joining does not keep them.
fn without_meaningless_id(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if packet[0] >> 4 == 4 && packet[6] & 0x40 != 0 {
        packet[4..6].fill(0);
        packet[10..12].fill(0);
    }
    packet
}

fn normal(packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    packets.iter().map(|packet| without_meaningless_id(packet)).collect()
}

/// Packets by flow, each flow in order. A later fragment, which shows no ports, may be of any flow between its addresses:
/// so what was before it is kept apart from what comes after.
pub(super) fn by_flow(packets: &[Vec<u8>]) -> BTreeMap<(Name, usize), Vec<Vec<u8>>> {
    let mut flows: BTreeMap<_, Vec<Vec<u8>>> = BTreeMap::new();
    let mut later: BTreeMap<_, usize> = BTreeMap::new();
    for packet in packets {
        let name = Name { at: 0, whole: true, ..name(packet) };
        let before = later.entry((name.addresses.clone(), name.protocol)).or_default();
        *before += usize::from(name.ports.is_none());
        flows.entry((name, *before)).or_default().push(without_meaningless_id(packet));
    }
    flows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn joined_packets_cut_again_are_the_packets(spec in specs()) {
        let plain = spec.plain();
        let frames: Vec<_> = plain.iter().map(|packet| single_frame(packet)).collect();
        let joined = Worker::gcm(ALL).carry(&frames);
        prop_assert_eq!(normal(&cut_slowly(&joined)), normal(&plain));
        if let Some(frames) = frames_of(&spec) {
            prop_assert_eq!(joined.len(), frames);
        }
    }

    #[test]
    fn flows_mixed_reordered_and_corrupted_keep_their_order_and_every_packet(
        specs in prop::collection::vec((specs(), 0u16..3), 1..5),
        broken in prop::collection::vec((0usize..200, 3usize..40), 0..3),
        swaps in prop::collection::vec((0usize..200, 0usize..200), 0..12),
        harm in prop::collection::vec((0usize..200, 4usize..60, 1u8..), 0..4),
        deal in prop::collection::vec(0usize..5, 0..200),
    ) {
        let mut queues: Vec<std::collections::VecDeque<Vec<u8>>> = specs
            .into_iter()
            .map(|(mut spec, port)| {
                spec.ports.0 = 5000 + port;
                spec.payload.truncate(spec.size * 25);
                spec.plain().into()
            })
            .collect();
        let mut packets = Vec::new();
        let mut deal = deal.into_iter();
        while queues.iter().any(|queue| !queue.is_empty()) {
            let which = deal.next().unwrap_or(0) % queues.len();
            let full = (0..queues.len()).map(|step| (which + step) % queues.len());
            let which = full.into_iter().find(|index| !queues[*index].is_empty()).unwrap();
            packets.extend(queues[which].pop_front());
        }
        for (which, blocks) in broken {
            let which = which % packets.len();
            if name(&packets[which]).whole {
                packets.splice(which..=which, fragments(&packets[which].clone(), blocks));
            }
        }
        for (a, b) in swaps {
            let count = packets.len();
            packets.swap(a % count, b % count);
        }
        for (which, at, flip) in harm {
            let count = packets.len();
            let packet = &mut packets[which % count];
            // Beyond the network header and the ports, which decide what flow it is.
            let at = name(packet).at + at;
            if let Some(octet) = packet.get_mut(at) {
                *octet ^= flip;
            }
        }
        let frames: Vec<_> = packets.iter().map(|packet| single_frame(packet)).collect();
        let joined = Worker::gcm(ALL).carry(&frames);
        let back = cut_slowly(&joined);
        prop_assert_eq!(by_flow(&back), by_flow(&packets));
    }
}

#[test]
fn a_bulk_transfer_comes_out_as_it_went_in() {
    for (ipv6, udp) in [(false, false), (true, false), (false, true), (true, true)] {
        let flags = ACK | PSH;
        let mut spec = Spec { ipv6, udp, flags, size: 1200, ..Spec::default() };
        spec.payload = payload(1200 * 50 + 77);
        assert_eq!(Worker::gcm(ALL).carry(&[spec.frame()]), [spec.frame()], "ipv6 {ipv6} udp {udp}");
    }
}

fn joined(packets: &[Vec<u8>]) -> usize {
    let frames: Vec<_> = packets.iter().map(|packet| single_frame(packet)).collect();
    let joined = Worker::gcm(ALL).carry(&frames);
    assert_eq!(normal(&cut_slowly(&joined)), normal(packets));
    joined.len()
}

#[test]
fn only_what_a_cut_would_give_back_is_joined() {
    let mut spec = Spec { size: 500, ..Spec::default() };
    spec.payload = payload(1500);
    let good = spec.plain();
    assert_eq!(joined(&good), 1);
    // What differs in the second of three packets; the third then starts afresh or joins the second.
    let apart = |change: &dyn Fn(&mut Spec)| {
        let mut middle = spec.clone();
        middle.sequence += 500;
        middle.id += 1;
        change(&mut middle);
        let middle = middle.packet(&spec.payload[500..1000]);
        joined(&[good[0].clone(), middle, good[2].clone()])
    };
    assert_eq!(apart(&|_| {}), 1);
    assert_eq!(apart(&|middle| middle.tos = 1), 3, "ECN");
    assert_eq!(apart(&|middle| middle.ttl = 9), 3);
    assert_eq!(apart(&|middle| middle.flags |= CWR), 3);
    assert_eq!(apart(&|middle| middle.flags |= FIN), 3);
    assert_eq!(apart(&|middle| middle.flags |= URG), 3);
    assert_eq!(apart(&|middle| middle.urgent = 9), 3);
    assert_eq!(apart(&|middle| middle.flags |= PSH), 2, "pushed: nothing follows");
    assert_eq!(apart(&|middle| middle.sequence += 1), 3);
    assert_eq!(apart(&|middle| middle.acknowledged += 1), 3);
    assert_eq!(apart(&|middle| middle.window += 1), 3);
    assert_eq!(apart(&|middle| middle.dont_fragment = false), 3);
    assert_eq!(apart(&|middle| middle.options = vec![1; 4]), 3);
    assert_eq!(apart(&|middle| middle.id += 9), 1, "DF is set");
}

#[test]
fn so_many_packets_are_joined_as_a_kernel_cuts() {
    for (packets, frames) in [(2, 1), (64, 1), (65, 2), (128, 2), (129, 3)] {
        let spec = Spec { size: 100, payload: payload(packets * 100), ..Spec::default() };
        assert_eq!((joined(&spec.plain()), frames_of(&spec)), (frames, Some(frames)));
    }
}

#[test]
fn first_fragments_pass_alone_even_where_their_checksums_are_right_as_they_stand() {
    let mut spec = Spec { size: 500, dont_fragment: false, ..Spec::default() };
    spec.payload = payload(1500);
    let mut packets = spec.plain();
    for packet in &mut packets {
        packet[6] |= 0x20;
        packet[10..12].fill(0);
        let sum = !slow_sum(&[&packet[..20]]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    assert_eq!(joined(&packets), 3);
}

#[test]
fn pure_acknowledgements_and_broken_checksums_pass_alone() {
    let ack = Spec::default().packet(&[]);
    assert_eq!(joined(&[ack.clone(), ack]), 2);
    let mut spec = Spec { size: 500, ..Spec::default() };
    spec.payload = payload(1500);
    let mut packets = spec.plain();
    packets[1][100] ^= 1;
    assert_eq!(joined(&packets), 3);
}

#[test]
fn datagrams_without_a_checksum_pass_alone() {
    let mut spec = Spec { udp: true, size: 500, ..Spec::default() };
    spec.payload = payload(1500);
    let mut packets = spec.plain();
    for packet in &mut packets {
        packet[26..28].fill(0);
    }
    assert_eq!(joined(&packets), 3);
}

#[test]
fn identifications_that_do_not_count_on_are_kept_apart_without_df() {
    let mut spec = Spec { dont_fragment: false, size: 500, ..Spec::default() };
    spec.payload = payload(1500);
    assert_eq!(joined(&spec.plain()), 1);
    let random = |id, start: usize| {
        let mut one = spec.clone();
        (one.id, one.sequence) = (id, spec.sequence + start as u32);
        one.packet(&spec.payload[start..start + 500])
    };
    assert_eq!(joined(&[random(7, 0), random(9, 500), random(40, 1000)]), 3);
}

#[test]
fn a_fragment_ends_the_flows_it_might_belong_to() {
    let mut spec = Spec { udp: true, size: 500, ..Spec::default() };
    spec.payload = payload(1000);
    let mut packets = spec.plain();
    let mut fragment = packets[0].clone();
    // A later fragment: no ports, offset 8.
    fragment[6..8].copy_from_slice(&[0, 1]);
    packets.insert(1, fragment);
    assert_eq!(joined(&packets), 3);
}

#[test]
fn what_is_joined_can_change_for_all_devices_and_for_one() {
    let mut spec = Spec { size: 500, ..Spec::default() };
    spec.payload = payload(1500);
    let frame = spec.frame();
    let mut worker = Worker::gcm(ALL);
    worker.ingress.join_less(TunnelId(TUNNEL.0 + 1), NONE);
    assert_eq!(worker.carry(std::slice::from_ref(&frame)).len(), 1, "another's");
    worker.ingress.join_less(TUNNEL, Joining { tcp: true, udp: false });
    assert_eq!(worker.carry(std::slice::from_ref(&frame)).len(), 1, "UDP alone");
    worker.ingress.join_less(TUNNEL, NONE);
    assert_eq!(worker.carry(std::slice::from_ref(&frame)).len(), 3);
    worker.ingress.set_joining(ALL);
    assert_eq!(worker.carry(std::slice::from_ref(&frame)).len(), 1);
    worker.ingress.set_joining(NONE);
    assert_eq!(worker.carry(&[frame]).len(), 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// A kernel that refuses what was joined: nothing is lost, and each packet passes by itself.
    #[test]
    fn what_was_joined_is_cut_again_into_the_packets(spec in specs()) {
        let plain = spec.plain();
        let frames: Vec<_> = plain.iter().map(|packet| single_frame(packet)).collect();
        let mut singles = Vec::new();
        for frame in Worker::gcm(ALL).carry(&frames) {
            let slices = [IoSlice::new(&frame[..20]), IoSlice::new(&frame[20..])];
            match recut::gso(&slices) {
                Gso::None => singles.push(frame.clone()),
                _ => Recut::default().cut(&slices, |one| singles.push(one.to_vec())).unwrap(),
            }
        }
        prop_assert!(singles.iter().all(|frame| frame[..virtio::LEN] == [0; virtio::LEN]));
        let back: Vec<_> = singles.iter().map(|frame| frame[virtio::LEN..].to_vec()).collect();
        prop_assert_eq!(normal(&back), normal(&plain));
    }
}

#[test]
fn what_is_no_super_packet_is_not_cut_and_nothing_is_written() {
    let single = single_frame(&Spec::default().packet(&payload(100)));
    let mut cut = single.clone();
    cut[1] = 5;
    for frame in [&single[..], &single[..4], &cut[..], &[]] {
        let mut written = 0;
        let outcome = Recut::default().cut(&[IoSlice::new(frame)], |_| written += 1);
        assert_eq!((outcome, written), (Err(Unsplittable), 0));
    }
    assert_eq!(recut::gso(&[]), Gso::None);
}

#[test]
fn more_flows_than_are_tracked_lose_nothing() {
    let mut packets = Vec::new();
    for round in 0..3u32 {
        for port in 0..100 {
            let mut spec = Spec { ports: (port, 1), ..Spec::default() };
            spec.sequence += round * 100;
            packets.push(spec.packet(&payload(100)));
        }
    }
    let frames: Vec<_> = packets.iter().map(|packet| single_frame(packet)).collect();
    let back = cut_slowly(&Worker::gcm(ALL).carry(&frames));
    assert_eq!(by_flow(&back), by_flow(&packets));
}
