//! Out: the shape of what is sent, and what is refused.

use esp::{Limits, Soft};
use inet::Selector;

use super::support::*;
use super::worker::*;
use crate::inner::Inner;
use crate::octets::{get16, get32};
use crate::offload::checksum;
use crate::*;

fn bulk(payload_len: usize) -> Spec {
    Spec { size: 1300, payload: payload(payload_len), ..Spec::default() }
}

#[test]
fn a_super_packet_leaves_in_runs_the_kernel_takes() {
    let mut worker = Worker::gcm(ALL);
    let spec = bulk(65_000);
    assert_eq!(worker.offer(&spec.frame()), Handled::Done);
    let sent = worker.sent();
    let plain = spec.plain();
    assert_eq!(sent.iter().map(|run| run.packets().count()).sum::<usize>(), plain.len());
    let geometry = esp::Geometry::new(suite("aes256gcm16"));
    let mut expected = plain.iter().map(|packet| geometry.sealed_len(packet.len()));
    for run in &sent {
        assert!(run.bytes.len() <= 65_507 && run.packets().count() <= 64);
        for packet in run.packets() {
            assert_eq!(Some(packet.len()), expected.next());
            assert_eq!(get32(packet, 0), Some(SPI));
        }
    }
    let numbers: Vec<_> =
        sent.iter().flat_map(Sent::packets).map(|packet| get32(packet, 4).unwrap()).collect();
    assert_eq!(numbers, (1..=plain.len() as u32).collect::<Vec<_>>());
}

#[test]
fn a_run_ends_at_a_larger_packet_after_a_shorter_and_at_another_tos() {
    let mut worker = Worker::gcm(ALL);
    for (size, tos) in [(500, 0), (500, 0), (100, 0), (500, 0), (900, 0), (900, 0xb8), (900, 0xb8)] {
        let spec = Spec { tos, payload: payload(size), ..Spec::default() };
        assert_eq!(worker.offer(&spec.unfinished_frame()), Handled::Done);
    }
    let shape: Vec<_> = worker.sent().iter().map(|run| (run.packets().count(), run.tos)).collect();
    assert_eq!(shape, [(3, 0), (1, 0), (1, 0), (2, 0xb8)]);
}

#[test]
fn a_run_has_at_most_64_packets() {
    let mut worker = Worker::gcm(ALL);
    for _ in 0..150 {
        assert_eq!(worker.offer(&Spec::default().unfinished_frame()), Handled::Done);
    }
    let counts: Vec<_> = worker.sent().iter().map(|run| run.packets().count()).collect();
    assert_eq!(counts, [64, 64, 22]);
}

#[test]
fn a_full_batch_takes_nothing_and_takes_it_again_when_empty() {
    let mut worker = Worker::gcm(ALL);
    worker.batch = SendBatch::new(100_000, 50_000);
    let spec = bulk(60_000);
    assert_eq!(worker.offer(&spec.frame()), Handled::Done);
    assert!(worker.batch.is_full());
    let before = worker.batch.len();
    assert_eq!(worker.offer(&spec.frame()), Handled::Full);
    assert_eq!(worker.batch.len(), before);
    let numbers = worker.sent().iter().flat_map(Sent::packets).count();
    assert_eq!(worker.offer(&spec.frame()), Handled::Done);
    let first = worker.sent()[0].bytes[4..8].to_vec();
    assert_eq!(first, (numbers as u32 + 1).to_be_bytes(), "no number was lost");
    worker.batch = SendBatch::new(1000, 500);
    assert_eq!(worker.offer(&spec.frame()), Handled::Done);
    assert_eq!(worker.drops.get(Drop::Unsplittable), 1);
}

#[test]
fn the_batch_is_what_one_packet_after_another_gives() {
    for suite_name in ["aes256gcm16", "aes256-sha1", "aes128-sha512", "chacha20poly1305", "aes192gcm8"] {
        let specs: Vec<_> = (1..9).map(|n| Spec { ipv6: n % 3 == 0, ..bulk(n * 3777) }).collect();
        let mut fast = Worker::new(suite(suite_name), ALL);
        for spec in &specs {
            assert_eq!(fast.offer(&spec.frame()), Handled::Done);
        }
        let fast: Vec<Vec<u8>> = fast.sent().iter().flat_map(Sent::packets).map(<[u8]>::to_vec).collect();
        let mut slow = Worker::new(suite(suite_name), ALL);
        let mut singles = Vec::new();
        for packet in specs.iter().flat_map(Spec::plain) {
            assert_eq!(slow.offer(&single_frame(&packet)), Handled::Done);
            singles.extend(slow.sent().into_iter().map(|run| run.bytes));
        }
        assert_eq!(fast, singles, "{suite_name}");
    }
}

#[test]
fn a_tunnel_without_an_sa_asks_for_one_now_and_then() {
    let mut worker = Worker::gcm(ALL);
    worker.change(|row| row.outbound.clear());
    for _ in 0..3 {
        assert_eq!(worker.offer(&Spec::default().unfinished_frame()), Handled::Done);
    }
    assert_eq!(worker.reported(), [Report::OnDemand { tunnel: TUNNEL }]);
    worker.now = Tick(1000);
    assert_eq!(worker.offer(&Spec::default().unfinished_frame()), Handled::Done);
    assert_eq!(worker.reported(), [Report::OnDemand { tunnel: TUNNEL }]);
    assert_eq!(worker.drops.get(Drop::NoSa), 4);
}

#[test]
fn the_hosts_chatter_on_its_own_link_asks_for_no_sa() {
    let mut worker = Worker::gcm(ALL);
    worker.change(|row| row.outbound.clear());
    let mut packet = Spec { ipv6: true, udp: true, ..Spec::default() }.packet(&[1]);
    packet[24..40].copy_from_slice(&[0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    assert_eq!(worker.offer(&single_frame(&packet)), Handled::Done);
    assert!(worker.reported().is_empty());
    assert_eq!(worker.drops.get(Drop::NoSa), 1);
}

#[test]
fn the_first_sa_whose_selectors_hold_a_packet_takes_it() {
    let mut worker = Worker::gcm(ALL);
    let (web, _) = sa_pair(suite("aes128gcm16"), 0x1001, Limits::default());
    worker.change(|row| {
        let remote = Selectors::new(&["172.16.0.0/16[tcp/443]".parse::<Selector>().unwrap()]);
        let first = OutboundRow { sa: web, remote: remote.into(), ..row.outbound[0].clone() };
        row.outbound.insert(0, first);
    });
    let spi_of = |worker: &mut Worker, spec: Spec| {
        assert_eq!(worker.offer(&spec.unfinished_frame()), Handled::Done);
        get32(&worker.sent()[0].bytes, 0)
    };
    assert_eq!(spi_of(&mut worker, Spec::default()), Some(0x1001));
    assert_eq!(spi_of(&mut worker, Spec { ports: (1, 80), ..Spec::default() }), Some(SPI));
    assert_eq!(spi_of(&mut worker, Spec { ipv6: true, ..Spec::default() }), Some(SPI));
    worker.change(|row| row.outbound.truncate(1));
    assert_eq!(worker.offer(&Spec { ipv6: true, ..Spec::default() }.unfinished_frame()), Handled::Done);
    assert_eq!(worker.drops.get(Drop::OutboundSelector), 1);
}

#[test]
fn a_used_up_sa_sends_its_last_numbers_and_says_so() {
    let mut worker = Worker::gcm(ALL);
    let limits = Limits { soft_packets: Some(10), hard_packets: Some(12), ..Limits::default() };
    let (sa, _) = sa_pair(suite("aes256gcm16"), SPI, limits);
    worker.change(|row| row.outbound[0].sa = sa);
    assert_eq!(worker.offer(&bulk(13_000 + 1300 * 4).frame()), Handled::Done);
    assert_eq!(worker.sent().iter().flat_map(Sent::packets).count(), 12);
    assert_eq!(worker.drops.get(Drop::OutboundRefused), 2);
    assert_eq!(worker.offer(&bulk(100).frame()), Handled::Done);
    assert!(worker.sent().is_empty());
    let soft = Report::SoftLimit { tunnel: TUNNEL, spi: SPI, outbound: true, limit: Soft::Packets };
    assert_eq!(worker.reported(), [soft, Report::Exhausted { tunnel: TUNNEL, spi: SPI, outbound: true }]);
}

#[test]
fn a_stream_is_cut_smaller_when_the_path_shrinks() {
    let mut worker = Worker::gcm(NONE);
    worker.change(|row| row.mtu = 1238);
    for ipv6 in [false, true] {
        let spec = Spec { ipv6, ..bulk(20_000) };
        let packets = packets_of(&worker.carry(&[spec.frame()]));
        let smaller = Spec { size: 1238 - spec.headers(), ..spec };
        assert_eq!(packets, smaller.plain());
    }
    assert_eq!(worker.egress.poll_reply(), None);
}

#[test]
fn a_sender_that_may_not_be_fragmented_is_told_the_mtu() {
    let mut worker = Worker::gcm(NONE);
    worker.change(|row| row.mtu = 1238);
    let big = Spec { payload: payload(1260), ..Spec::default() };
    assert_eq!(worker.offer(&single_frame(&big.packet(&big.payload))), Handled::Done);
    let (tunnel, frame) = worker.egress.poll_reply().unwrap();
    assert_eq!((tunnel, &frame[..10]), (TUNNEL, &[0; 10][..]));
    let answer = &frame[10..];
    assert_eq!(answer.len(), 576);
    assert_eq!(checksum::sum(&answer[..20]), 0xffff);
    assert_eq!(checksum::sum(&answer[20..]), 0xffff);
    assert_eq!(answer[12..20], [172, 16, 0, 9, 192, 168, 1, 7]);
    assert_eq!((answer[9], answer[20], answer[21]), (1, 3, 4));
    assert_eq!(get16(answer, 26), Some(1238));
    assert_eq!(answer[28..], big.packet(&big.payload)[..548]);
    assert!(worker.sent().is_empty());
    assert_eq!(worker.drops.get(Drop::TooBig), 1);
}

#[test]
fn ipv6_inside_never_falls_below_1280() {
    let mut worker = Worker::gcm(NONE);
    worker.change(|row| row.mtu = 1238);
    let spec = |length| Spec { ipv6: true, udp: true, payload: payload(length), ..Spec::default() };
    // 1280 octets: sealed whole, alone, and fragmented outside.
    let carried = spec(1280 - 48);
    for _ in 0..2 {
        assert_eq!(worker.offer(&single_frame(&carried.packet(&carried.payload))), Handled::Done);
    }
    let sent = worker.sent();
    assert_eq!(sent.len(), 2, "no segmentation offload for what exceeds the path");
    assert!(sent.iter().all(|run| !run.dont_fragment));
    assert_eq!(packets_of(&worker.receive(sent)).len(), 2);
    // 1281: too big, and told 1280.
    let refused = spec(1281 - 48);
    assert_eq!(worker.offer(&single_frame(&refused.packet(&refused.payload))), Handled::Done);
    let (_, frame) = worker.egress.poll_reply().unwrap();
    let answer = &frame[10..];
    assert_eq!(answer.len(), 1280);
    assert_eq!((answer[6], answer[40], answer[41]), (58, 2, 0));
    assert_eq!(get32(answer, 44), Some(1280));
    assert_eq!(offload::split::transport_sum(answer, true, 40, 58), 0xffff);
}

#[test]
fn answers_are_rate_limited_and_errors_are_not_answered() {
    let mut worker = Worker::gcm(NONE);
    worker.change(|row| row.mtu = 1000);
    let big = Spec { payload: payload(1260), ..Spec::default() };
    let frame = single_frame(&big.packet(&big.payload));
    for _ in 0..500 {
        assert_eq!(worker.offer(&frame), Handled::Done);
    }
    let answers = std::iter::from_fn(|| worker.egress.poll_reply().map(|_| ())).count();
    assert_eq!(answers, 50);
    worker.now = Tick(10_000);
    // An ICMP error (destination unreachable), a later fragment, a multicast destination.
    let mut error = big.packet(&big.payload);
    (error[9], error[20]) = (1, 3);
    let mut fragment = big.packet(&big.payload);
    fragment[7] = 9;
    let mut multicast = big.packet(&big.payload);
    multicast[16] = 224;
    for packet in [error, fragment, multicast] {
        assert_eq!(worker.offer(&single_frame(&packet)), Handled::Done);
        assert_eq!(worker.egress.poll_reply(), None);
    }
}

#[test]
fn what_may_be_fragmented_is_fragmented_before_esp() {
    let mut worker = Worker::gcm(NONE);
    worker.change(|row| row.mtu = 1000);
    let big = Spec { udp: true, dont_fragment: false, payload: payload(2500), ..Spec::default() };
    let packets = packets_of(&worker.carry(&[big.unfinished_frame()]));
    assert_eq!(packets.iter().map(Vec::len).collect::<Vec<_>>(), [996, 996, 576]);
    let payload: Vec<u8> = packets.iter().flat_map(|packet| packet[20..].to_vec()).collect();
    assert_eq!(payload, big.packet(&big.payload)[20..], "the checksum was completed before");
    // The same for each datagram of a super-packet.
    let big = Spec { size: 1200, ..big };
    let packets = packets_of(&worker.carry(&[big.frame()]));
    assert_eq!(packets.len(), 5);
    assert_eq!(worker.drops.total(), 0);
}

#[test]
fn the_outer_df_bit_follows_the_policy() {
    let outer = |df, inner| {
        let mut worker = Worker::gcm(NONE);
        worker.change(|row| row.df = df);
        let spec = Spec { dont_fragment: inner, ..Spec::default() };
        assert_eq!(worker.offer(&spec.unfinished_frame()), Handled::Done);
        worker.sent()[0].dont_fragment
    };
    assert_eq!((outer(DfPolicy::Copy, true), outer(DfPolicy::Copy, false)), (true, false));
    assert_eq!((outer(DfPolicy::Set, true), outer(DfPolicy::Set, false)), (true, true));
    assert_eq!((outer(DfPolicy::Clear, true), outer(DfPolicy::Clear, false)), (false, false));
}

#[test]
fn with_df_cleared_outside_a_big_packet_is_carried_whole() {
    let mut worker = Worker::gcm(NONE);
    worker.change(|row| {
        row.mtu = 1000;
        row.df = DfPolicy::Clear;
    });
    let big = Spec { payload: payload(1260), ..Spec::default() };
    let packet = big.packet(&big.payload);
    assert_eq!(packets_of(&worker.carry(&[single_frame(&packet)])), [packet]);
}

#[test]
fn a_syn_is_clamped_finished_or_not_and_other_segments_are_left_alone() {
    // MSS 1460 at an even and at an odd place.
    for options in [vec![2, 4, 5, 0xb4], vec![1, 2, 4, 5, 0xb4, 1, 1, 0], vec![4, 2, 1, 2, 4, 5, 0xb4, 0]] {
        for (ipv6, limit) in [(false, 1350u16), (true, 1340)] {
            let syn = Spec { ipv6, flags: SYN | ACK, options: options.clone(), ..Spec::default() };
            let mut clamped = syn.clone();
            let at = clamped.options.iter().position(|octet| *octet == 5).unwrap();
            clamped.options[at..at + 2].copy_from_slice(&limit.to_be_bytes());
            for frame in [syn.unfinished_frame(), single_frame(&syn.packet(&[]))] {
                let mut worker = Worker::gcm(NONE);
                worker.change(|row| (row.mtu, row.mss) = (1400, MssPolicy::Fixed(1350)));
                assert_eq!(packets_of(&worker.carry(&[frame])), [clamped.packet(&[])]);
            }
        }
    }
    let low = Spec { flags: SYN, options: vec![2, 4, 2, 0], ..Spec::default() };
    let no_syn = Spec { options: vec![2, 4, 5, 0xb4], ..Spec::default() };
    let broken = Spec { flags: SYN, options: vec![9, 0, 2, 4], ..Spec::default() };
    for spec in [low, no_syn, broken] {
        let mut worker = Worker::gcm(NONE);
        worker.change(|row| row.mss = MssPolicy::Fixed(1350));
        assert_eq!(packets_of(&worker.carry(&[spec.unfinished_frame()])), [spec.packet(&[])]);
    }
}

#[test]
fn an_outer_packet_of_ours_never_enters_a_tunnel() {
    let mut worker = Worker::gcm(ALL);
    let packet = Spec { udp: true, payload: payload(100), ..Spec::default() }.packet(&payload(100));
    let inner = Inner::parse(&packet).unwrap();
    let outer = |local, remote| OuterAddresses::new([local], [address("198.51.100.9"), remote]);
    let name = |worker: &mut Worker, outer| {
        let mut table = worker.table.edit();
        table.set_outer(std::sync::Arc::new(outer));
        worker.table = table.build();
        assert_eq!(worker.offer(&single_frame(&packet)), Handled::Done);
        worker.sent().iter().flat_map(Sent::packets).count()
    };
    assert_eq!(name(&mut worker, outer(inner.source, address("198.51.100.8"))), 1, "to someone else");
    assert_eq!(name(&mut worker, outer(address("198.51.100.8"), inner.destination)), 1, "from someone else");
    assert_eq!(worker.drops.get(Drop::OuterLoop), 0);
    assert_eq!(name(&mut worker, outer(inner.source, inner.destination)), 0);
    assert_eq!(worker.drops.get(Drop::OuterLoop), 1);
}

/// A tunnel with as many SAs as `selectors`, which are those of their far sides; the SPI of the first is [`SPI`].
fn with_sas(selectors: &[&str]) -> Worker {
    let mut worker = Worker::gcm(ALL);
    worker.change(|row| {
        let first = row.outbound.remove(0);
        row.outbound = (0..)
            .zip(selectors)
            .map(|(number, remote)| OutboundRow {
                sa: sa_pair(suite("aes256gcm16"), SPI + number, Limits::default()).0,
                remote: std::sync::Arc::new(Selectors::new(&[remote.parse().unwrap()])),
                ..first.clone()
            })
            .collect();
    });
    worker
}

/// The SPI and number of each packet sent for a small frame from each of these queues, and the runs they left in.
fn sent_from(worker: &mut Worker, queues: &[usize]) -> (Vec<(u32, u32)>, usize) {
    for queue in queues {
        worker.egress.serve_queue(*queue);
        assert_eq!(worker.offer(&Spec::default().unfinished_frame()), Handled::Done);
    }
    let sent = worker.sent();
    let named = |packet: &[u8]| (get32(packet, 0).unwrap() - SPI, get32(packet, 4).unwrap());
    (sent.iter().flat_map(Sent::packets).map(named).collect(), sent.len())
}

#[test]
fn of_several_sas_each_carries_other_queues_and_numbers_its_own_packets() {
    let mut worker = with_sas(&["0.0.0.0/0"; 3]);
    let (packets, runs) = sent_from(&mut worker, &[0, 0, 1, 2, 2, 3, 4, 0]);
    assert_eq!(packets, [(0, 1), (0, 2), (1, 1), (2, 1), (2, 2), (0, 3), (1, 2), (0, 4)]);
    assert_eq!(runs, 6, "a run holds packets of one SA, for it is dealt by the first one's SPI");
}

#[test]
fn one_sa_carries_every_queue() {
    let mut worker = with_sas(&["0.0.0.0/0"]);
    let (packets, runs) = sent_from(&mut worker, &[0, 5, usize::MAX]);
    assert_eq!((packets, runs), (vec![(0, 1), (0, 2), (0, 3)], 1));
}

#[test]
fn what_a_queues_own_sa_may_not_carry_the_first_one_does() {
    let mut worker = with_sas(&["0.0.0.0/0", "203.0.113.0/24"]);
    assert_eq!(sent_from(&mut worker, &[0, 1, 3]).0, [(0, 1), (0, 2), (0, 3)]);
    let mut worker = with_sas(&["203.0.113.0/24", "203.0.113.0/24"]);
    worker.egress.serve_queue(1);
    assert_eq!(worker.offer(&Spec::default().unfinished_frame()), Handled::Done);
    assert_eq!((worker.sent().len(), worker.drops.get(Drop::OutboundSelector)), (0, 1));
}
