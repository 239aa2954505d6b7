//! Cutting super-packets.

use proptest::prelude::*;

use super::support::*;
use super::worker::*;
use crate::inner::{Inner, TCP};
use crate::offload::checksum;
use crate::offload::split::{Plan, transport_sum};
use crate::offload::virtio::Header;
use crate::{Drop, Handled};

/// By the fast code alone, without ESP.
fn cut(frame: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (header, packet) = Header::split(frame)?;
    let plan = Plan::new(packet, &Inner::parse(packet).ok()?, &header).ok()?;
    let packets = (0..plan.count()).map(|index| {
        let mut out = vec![0xee; plan.len(index)];
        plan.write(packet, index, &mut out);
        out
    });
    Some(packets.collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_cut_super_packet_is_what_a_sender_without_offloads_would_have_sent(spec in specs()) {
        prop_assert_eq!(cut(&spec.frame()), Some(spec.plain()));
    }

    #[test]
    fn an_unfinished_checksum_is_completed_whatever_stands_before_it(spec in specs(), elsewhere in elsewhere()) {
        let mut spec = spec;
        spec.payload.truncate(spec.size);
        if !elsewhere.is_empty() {
            spec.extensions = elsewhere;
            spec.payload.truncate(LONGEST - spec.headers());
        }
        let carried = Worker::gcm(NONE).carry(&[spec.unfinished_frame()]);
        prop_assert_eq!(packets_of(&carried), [spec.packet(&spec.payload)]);
    }

    #[test]
    fn a_super_packet_whose_checksum_has_other_addresses_is_not_cut(spec in specs(), elsewhere in elsewhere(), at in 0usize..4) {
        let mut spec = Spec { ipv6: true, ..spec };
        let spare = spec.extensions.len().min(at);
        spec.extensions.splice(spare..spare, elsewhere.clone());
        prop_assert_eq!(cut(&spec.frame()).is_none(), !elsewhere.is_empty());
    }

    #[test]
    fn no_harmed_frame_panics(spec in specs(), harm in prop::collection::vec((0usize..120, any::<u8>()), 1..8), keep in 0usize..400) {
        let mut frame = spec.frame();
        for (at, value) in harm {
            if let Some(octet) = frame.get_mut(at) {
                *octet = value;
            }
        }
        let _ = cut(&frame);
        frame.truncate(keep);
        let _ = cut(&frame);
        let mut worker = Worker::gcm(ALL);
        let _ = worker.offer(&frame);
        worker.sent();
    }
}

#[test]
fn the_largest_super_packet_is_cut_over_the_tunnel() {
    for ipv6 in [false, true] {
        let mut spec = Spec { ipv6, size: 1300, ..Spec::default() };
        spec.payload = payload(65_535 - spec.headers());
        let mut worker = Worker::gcm(NONE);
        assert_eq!(packets_of(&worker.carry(&[spec.frame()])), spec.plain());
    }
}

#[test]
fn an_unfinished_checksum_is_completed() {
    for (ipv6, udp) in [(false, false), (false, true), (true, false), (true, true)] {
        let spec = Spec { ipv6, udp, payload: payload(101), ..Spec::default() };
        let mut worker = Worker::gcm(NONE);
        assert_eq!(packets_of(&worker.carry(&[spec.unfinished_frame()])), [spec.packet(&spec.payload)]);
    }
}

#[test]
fn a_computed_udp_checksum_of_zero_is_sent_as_all_ones() {
    let mut spec = Spec { udp: true, payload: vec![0, 0], ..Spec::default() };
    // Chooses the payload so that the sum comes out as all ones.
    let plain = spec.packet(&spec.payload);
    spec.payload = plain[26..28].to_vec();
    let packet = spec.packet(&spec.payload);
    assert_eq!(packet[26..28], [0xff, 0xff]);
    let mut worker = Worker::gcm(NONE);
    assert_eq!(packets_of(&worker.carry(&[spec.unfinished_frame()])), std::slice::from_ref(&packet));
    assert_eq!(cut(&spec.frame()), Some(vec![packet]));
}

#[test]
fn the_frame_of_a_sender_that_reduced_its_window_says_so_and_is_cut() {
    let spec = Spec { flags: ACK | ECE | CWR, size: 1000, payload: payload(2500), ..Spec::default() };
    for ipv6 in [false, true] {
        let spec = Spec { ipv6, ..spec.clone() };
        let frame = spec.frame();
        assert_eq!(frame[1] & GSO_ECN, GSO_ECN);
        let packets = cut(&frame).unwrap();
        let flags: Vec<_> = packets.iter().map(|packet| packet[spec.network() + 13]).collect();
        assert_eq!(flags, [ACK | ECE | CWR, ACK | ECE, ACK | ECE]);
    }
}

/// None, or extension headers with which an address in the pseudo-header is not the one in the IPv6 header.
fn elsewhere() -> impl Strategy<Value = Vec<Extension>> {
    let home = [0xfd; 16];
    prop_oneof![
        Just(Vec::new()),
        Just(vec![Extension::home(home)]),
        Just(vec![Extension::segments(home)]),
        Just(vec![Extension::away(home)]),
        Just(vec![Extension::home(home), Extension::away([0xfc; 16])]),
    ]
}

#[test]
fn a_super_packet_with_a_routing_header_or_a_home_address_is_dropped_and_counted() {
    let mut worker = Worker::gcm(NONE);
    for extension in
        [Extension::home([0xfd; 16]), Extension::segments([0xfd; 16]), Extension::away([0xfd; 16])]
    {
        let spec =
            Spec { ipv6: true, extensions: vec![extension], payload: payload(3000), ..Spec::default() };
        assert_eq!(worker.offer(&spec.frame()), Handled::Done);
    }
    assert_eq!(worker.drops.get(Drop::Unsplittable), 3);
    assert!(worker.sent().is_empty());
}

#[test]
fn a_super_packet_with_a_header_that_is_no_list_of_options_is_not_cut() {
    // An option that reaches beyond its header, and one without a length.
    for body in [vec![0x1e, 5, 0, 0, 0, 0], vec![1, 3, 0, 0, 0, 0x1e]] {
        let extensions = vec![Extension { kind: DESTINATION_OPTIONS, body }];
        let spec = Spec { ipv6: true, extensions, payload: payload(3000), ..Spec::default() };
        assert_eq!(cut(&spec.frame()), None);
    }
}

#[test]
fn options_of_the_ip_header_count_in_the_checksum_of_every_packet() {
    let spec = Spec { payload: payload(5000), size: 1300, ..Spec::default() };
    let mut frame = spec.frame();
    let options = [7, 7, 4, 1, 2, 3, 4, 1];
    frame.splice(10 + 20..10 + 20, options);
    frame[10] = 0x47;
    let total = (frame.len() - 10) as u16;
    frame[12..14].copy_from_slice(&total.to_be_bytes());
    let packets = cut(&frame).unwrap();
    assert_eq!(packets.len(), 4);
    for packet in packets {
        assert_eq!(packet[20..28], options);
        assert_eq!(checksum::sum(&packet[..28]), 0xffff);
        assert_eq!(transport_sum(&packet, false, 28, TCP), 0xffff);
    }
}

#[test]
fn what_cannot_be_cut_is_dropped_and_counted() {
    let good = Spec { payload: payload(3000), ..Spec::default() };
    let mut worker = Worker::gcm(NONE);
    let mut frames = Vec::new();
    let mut harmed = |harm: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = good.frame();
        harm(&mut frame);
        frames.push(frame);
    };
    harmed(&|frame| frame[1] = 3);
    harmed(&|frame| frame[1] = 4);
    harmed(&|frame| frame[1] = 5);
    harmed(&|frame| (frame[4], frame[5]) = (0, 0));
    harmed(&|frame| frame[10 + 6] |= 0x20);
    harmed(&|frame| frame[10 + 33] |= SYN);
    harmed(&|frame| frame[10 + 32] = 0x40);
    for frame in &frames {
        assert_eq!(worker.offer(frame), Handled::Done);
    }
    assert_eq!(worker.drops.get(Drop::Unsplittable), frames.len() as u64);
    assert!(worker.sent().is_empty());
}
