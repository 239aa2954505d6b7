//! In: what is sorted out, judged and told upward.

use esp::{InboundParams, InboundSa, Limits};

use super::support::*;
use super::worker::*;
use crate::octets::put8;
use crate::*;

fn one(worker: &mut Worker, spec: &Spec) -> Sent {
    assert_eq!(worker.offer(&spec.unfinished_frame()), Handled::Done);
    worker.sent().remove(0)
}

fn from(sent: Sent, remote: &str) -> Sent {
    Sent { path: OuterPath::Udp { local: socket("192.0.2.1:4500"), remote: socket(remote) }, ..sent }
}

#[test]
fn the_first_packet_of_an_sa_is_told_once() {
    let mut worker = Worker::gcm(ALL);
    for round in 0..3 {
        let sent = one(&mut worker, &Spec::default());
        assert_eq!(worker.receive(vec![sent]).len(), 1);
        let expected =
            if round == 0 { vec![Report::FirstPacket { tunnel: TUNNEL, spi: SPI }] } else { vec![] };
        assert_eq!(worker.reported(), expected);
    }
}

#[test]
fn the_tail_of_a_coalesced_message_may_be_ike_or_a_keepalive() {
    let mut worker = Worker::gcm(ALL);
    let spec = Spec { payload: payload(5000), ..Spec::default() };
    assert_eq!(worker.offer(&spec.frame()), Handled::Done);
    let whole = worker.sent().remove(0);
    let full = 4 * whole.segment;
    let with_tail = |tail: &[u8]| {
        let mut message = whole.clone();
        message.bytes.truncate(full);
        message.bytes.extend_from_slice(tail);
        message
    };
    let local = socket("192.0.2.1:4500");
    worker.receive(vec![with_tail(&[0, 0, 0, 0, 9, 8, 7])]);
    let remote = socket("203.0.113.1:4500");
    let ike = Report::Ike { local, remote, ifindex: 4, bytes: vec![9, 8, 7] };
    assert!(worker.reported().contains(&ike));
    worker.receive(vec![with_tail(&[0xff])]);
    assert!(worker.reported().is_empty());
    assert_eq!(worker.drops.get(Drop::InboundRefused), 4, "the ESP packets were replays");
    worker.receive(vec![with_tail(&[0xfe])]);
    assert_eq!(worker.drops.get(Drop::Runt), 1);
}

#[test]
fn ike_messages_beyond_the_queue_are_counted() {
    let mut worker = Worker::gcm(ALL);
    worker.reports = Reports::new(2);
    let ike = Sent { path: path(), tos: 0, dont_fragment: true, segment: 8, bytes: vec![0; 8 * 50] };
    worker.receive(vec![ike]);
    assert_eq!(worker.reported().len(), 2);
    assert_eq!(worker.reports.overflow(), 48);
    assert_eq!(worker.drops.get(Drop::IkeOverflow), 48);
}

#[test]
fn native_esp_is_taken_and_knows_no_marker() {
    let mut worker = Worker::gcm(ALL);
    let mut sent = one(&mut worker, &Spec::default());
    sent.path = OuterPath::Esp { local: address("192.0.2.1"), remote: address("203.0.113.1") };
    let marker = Sent { bytes: vec![0; 20], segment: 20, ..sent.clone() };
    assert_eq!(worker.receive(vec![sent, marker]).len(), 1);
    assert_eq!(worker.drops.get(Drop::Runt), 1);
}

#[test]
fn an_unknown_spi_is_told_now_and_then() {
    let mut worker = Worker::gcm(ALL);
    let unknown = Sent { path: path(), tos: 0, dont_fragment: true, segment: 100, bytes: vec![7; 1000] };
    worker.receive(vec![unknown.clone()]);
    let report = Report::UnknownSpi { spi: 0x0707_0707, path: path() };
    assert_eq!(worker.reported(), vec![report.clone()]);
    assert_eq!(worker.drops.get(Drop::UnknownSpi), 10);
    worker.receive(vec![unknown.clone()]);
    assert!(worker.reported().is_empty());
    worker.now = Tick(1000);
    worker.receive(vec![unknown]);
    assert_eq!(worker.reported(), [report]);
}

#[test]
fn a_flood_of_unknown_spis_is_counted_and_told_at_a_rate() {
    let mut worker = Worker::gcm(ALL);
    let flood = |worker: &mut Worker, first: u32| {
        for spi in first..first + 1000 {
            let mut bytes = vec![7; 100];
            bytes[..4].copy_from_slice(&(spi + 256).to_be_bytes());
            worker.receive(vec![Sent { path: path(), tos: 0, dont_fragment: true, segment: 100, bytes }]);
        }
        worker.reported().len()
    };
    assert_eq!(flood(&mut worker, 0), 8);
    worker.now = Tick(1000);
    assert_eq!(flood(&mut worker, 1000), 1);
    assert_eq!(worker.drops.get(Drop::UnknownSpi), 2000);
}

#[test]
fn a_used_up_inbound_sa_says_so_now_and_then() {
    let mut worker = Worker::gcm(ALL);
    let params = InboundParams {
        spi: SPI,
        suite: suite("aes256gcm16"),
        encr_key: &[0x11; 36],
        integ_key: &[],
        esn: true,
        replay_window: esp::replay::DEFAULT,
        limits: Limits { hard_packets: Some(1), ..Limits::default() },
    };
    let limited = std::sync::Arc::new(InboundSa::new(params).unwrap());
    worker.change_inbound(|row| row.sa = limited);
    let mut exhausted = |at| {
        worker.now = Tick(at);
        let sent = one(&mut worker, &Spec::default());
        worker.receive(vec![sent]);
        worker.reported().contains(&Report::Exhausted { tunnel: TUNNEL, spi: SPI, outbound: false })
    };
    assert_eq!([0, 1, 500, 1001].map(&mut exhausted), [false, true, false, true]);
    assert_eq!(worker.drops.get(Drop::InboundRefused), 3);
}

#[test]
fn two_sas_in_one_message_are_told_apart() {
    let mut worker = Worker::gcm(ALL);
    let (out, inbound) = sa_pair(suite("aes256gcm16"), 0x2222, Limits::default());
    let second = TunnelId(9);
    let mut row = worker.table.tunnel(TUNNEL).unwrap().clone();
    row.id = second;
    row.outbound[0].sa = out;
    let mut next = worker.table.edit();
    let other = InboundRow { tunnel: second, sa: inbound, ..worker.table.inbound(SPI).unwrap().clone() };
    next.set_tunnel(row).set_inbound(other);
    worker.table = next.build();
    let frame = Spec::default().unfinished_frame();
    for tunnel in [TUNNEL, second, second, TUNNEL] {
        let Worker { egress, table, batch, reports, .. } = &mut worker;
        assert_eq!(egress.handle_frame(table, tunnel, &frame, batch, reports, Tick(0)), Handled::Done);
    }
    // They leave in runs of their own, and the receiving kernel puts together what has one path and one size.
    let sent = worker.sent();
    assert_eq!(sent.iter().map(|run| run.packets().count()).collect::<Vec<_>>(), [1, 2, 1]);
    let (segment, mut bytes) =
        (sent[0].segment, sent.iter().flat_map(|run| run.bytes.clone()).collect::<Vec<u8>>());
    let mut messages = [Received { bytes: &mut bytes, segment, path: path(), ifindex: 0, tos: 0 }];
    worker.ingress.handle_batch(&worker.table, &mut messages, &mut worker.reports, Tick(0));
    let mut tunnels = Vec::new();
    worker.ingress.for_each_write(&messages, |tunnel, _| tunnels.push(tunnel));
    assert_eq!(tunnels, [TUNNEL, second, second, TUNNEL]);
}

#[test]
fn a_moved_mapping_is_told_only_by_the_newest_authentic_packet() {
    let mut worker = Worker::gcm(ALL);
    let sent: Vec<_> = (0..4).map(|_| one(&mut worker, &Spec::default())).collect();
    let moved = |worker: &mut Worker| {
        let reports = worker.reported();
        reports.into_iter().filter(|report| matches!(report, Report::PathMoved { .. })).collect::<Vec<_>>()
    };
    worker.receive(vec![sent[2].clone()]);
    assert!(moved(&mut worker).is_empty());
    // Older than the newest: a replay held back by somebody, perhaps.
    worker.receive(vec![from(sent[1].clone(), "198.51.100.9:1024")]);
    assert!(moved(&mut worker).is_empty());
    let mut forged = from(sent[3].clone(), "198.51.100.9:1024");
    forged.bytes[20] ^= 1;
    worker.receive(vec![forged]);
    assert!(moved(&mut worker).is_empty());
    worker.receive(vec![from(sent[3].clone(), "198.51.100.9:1024")]);
    let path = from(sent[3].clone(), "198.51.100.9:1024").path;
    assert_eq!(moved(&mut worker), [Report::PathMoved { tunnel: TUNNEL, spi: SPI, path }]);
    let next = one(&mut worker, &Spec::default());
    worker.receive(vec![from(next, "198.51.100.9:1024")]);
    assert!(moved(&mut worker).is_empty(), "said a moment ago");
}

#[test]
fn packets_outside_the_selectors_are_dropped() {
    let mut worker = Worker::gcm(ALL);
    let only = |text: &str| std::sync::Arc::new(Selectors::new(&[text.parse().unwrap()]));
    let sent: Vec<_> = (0..3).map(|_| one(&mut worker, &Spec::default())).collect();
    worker.change_inbound(|row| row.remote = only("10.0.0.0/8"));
    assert!(worker.receive(vec![sent[0].clone()]).is_empty());
    worker.change_inbound(|row| (row.remote, row.local) = (any_selectors(), only("172.16.0.9/32[udp]")));
    assert!(worker.receive(vec![sent[1].clone()]).is_empty());
    worker.change_inbound(|row| row.local = only("172.16.0.9/32[tcp/443]"));
    assert_eq!(worker.receive(vec![sent[2].clone()]).len(), 1);
    assert_eq!(worker.drops.get(Drop::InboundSelector), 2);
}

#[test]
fn congestion_marked_outside_is_marked_inside_or_dropped() {
    // Inner ECN, outer ECN, inner ECN after; or dropped.
    for (inner, outer, after) in
        [(2, 3, Some(3)), (1, 3, Some(3)), (2, 1, Some(1)), (0, 3, None), (0, 1, Some(0))]
    {
        for ipv6 in [false, true] {
            let mut worker = Worker::gcm(ALL);
            let spec = Spec { ipv6, tos: 0xb8 | inner, payload: payload(40), ..Spec::default() };
            let mut sent = one(&mut worker, &spec);
            assert_eq!(sent.tos, 0xb8 | inner, "DSCP and ECN are copied out");
            sent.tos = outer;
            let expected: Vec<_> = after
                .map(|ecn| Spec { tos: 0xb8 | ecn, ..spec.clone() }.packet(&spec.payload))
                .into_iter()
                .collect();
            assert_eq!(packets_of(&worker.receive(vec![sent])), expected);
            assert_eq!(worker.drops.get(Drop::EcnIllegal), u64::from(after.is_none()));
        }
    }
}

#[test]
fn a_syn_is_clamped_on_its_way_in() {
    let mut worker = Worker::gcm(ALL);
    let syn = Spec { flags: SYN, options: vec![2, 4, 5, 0xb4], ..Spec::default() };
    let sent = one(&mut worker, &syn);
    worker.change(|row| row.mss = MssPolicy::Fixed(1000));
    let clamped = Spec { options: vec![2, 4, 3, 0xe8], ..syn };
    assert_eq!(packets_of(&worker.receive(vec![sent])), [clamped.packet(&[])]);
}

#[test]
fn padding_for_traffic_flow_confidentiality_is_cut_off() {
    // A packet whose own length is shorter than what was sealed.
    let packet = Spec::default().packet(&payload(60));
    let mut padded = packet.clone();
    padded.extend([0xaa; 100]);
    let mut worker = Worker::gcm(ALL);
    let row = worker.table.tunnel(TUNNEL).unwrap().outbound[0].clone();
    let mut bytes = vec![0; row.sa.sealed_len(padded.len())];
    bytes[16..16 + padded.len()].copy_from_slice(&padded);
    row.sa
        .seal_batch(&mut [esp::Slot { bytes: &mut bytes, inner: padded.len(), next_header: 4 }], 1)
        .unwrap();
    let sent = Sent { path: path(), tos: 0, dont_fragment: true, segment: bytes.len(), bytes };
    assert_eq!(packets_of(&worker.receive(vec![sent])), [packet]);
}

#[test]
fn what_is_inside_must_be_what_the_trailer_says() {
    let mut worker = Worker::gcm(ALL);
    let row = worker.table.tunnel(TUNNEL).unwrap().outbound[0].clone();
    let good = Spec::default().packet(&[1, 2, 3]);
    let mut long = good.clone();
    put8(&mut long, 3, 200);
    for (number, (packet, next_header)) in
        (1..).zip([(good.clone(), 41), (long, 4), (vec![], 4), (good[..19].to_vec(), 4)])
    {
        let mut bytes = vec![0; row.sa.sealed_len(packet.len())];
        bytes[16..16 + packet.len()].copy_from_slice(&packet);
        let mut slot = [esp::Slot { bytes: &mut bytes, inner: packet.len(), next_header }];
        row.sa.seal_batch(&mut slot, number).unwrap();
        let sent = Sent { path: path(), tos: 0, dont_fragment: true, segment: bytes.len(), bytes };
        assert!(worker.receive(vec![sent]).is_empty());
        assert_eq!(worker.drops.get(Drop::MalformedOpened), number);
    }
}
