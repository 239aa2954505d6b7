//! Joining packets again.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::support::*;
use super::worker::*;

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

/// Packets by flow, each flow in order.
fn by_flow(packets: &[Vec<u8>]) -> BTreeMap<Vec<u8>, Vec<Vec<u8>>> {
    let mut flows: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
    for packet in packets {
        let key = if packet[0] >> 4 == 4 { &packet[9..24] } else { &packet[6..44] };
        // The header checksum is no part of a flow's name.
        let mut key = key.to_vec();
        if packet[0] >> 4 == 4 {
            key[1..3].fill(0);
        } else {
            key[1] = 0;
        }
        flows.entry(key).or_default().push(without_meaningless_id(packet));
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
    }

    #[test]
    fn flows_mixed_reordered_and_corrupted_keep_their_order_and_every_packet(
        specs in prop::collection::vec((specs(), 0u16..3), 1..5),
        swaps in prop::collection::vec((0usize..200, 0usize..200), 0..12),
        harm in prop::collection::vec((0usize..200, 20usize..80, 1u8..), 0..4),
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
        for (a, b) in swaps {
            let count = packets.len();
            packets.swap(a % count, b % count);
        }
        for (which, at, flip) in harm {
            let count = packets.len();
            let packet = &mut packets[which % count];
            // Beyond the network header and the ports, which decide what flow it is.
            let at = if packet[0] >> 4 == 4 { at + 4 } else { at + 24 };
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
fn a_refused_offload_is_given_up_at_run_time() {
    let mut spec = Spec { size: 500, ..Spec::default() };
    spec.payload = payload(1500);
    let mut worker = Worker::gcm(ALL);
    worker.ingress.set_joining(NONE);
    assert_eq!(worker.carry(&[spec.frame()]).len(), 3);
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
