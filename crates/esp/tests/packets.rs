//! Packets that others made (see vectors/generate.py), and packets that were harmed on the way.
#![allow(clippy::unwrap_used, reason = "a test fails by saying so")]

use std::sync::atomic::{AtomicU64, Ordering};

use crypto::{Encr, Integ, Suite};
use esp::{
    InboundParams, InboundSa, Limits, OutboundParams, OutboundSa, Refusal, Segment, Slot, Soft, Tick,
    next_header, replay,
};

/// A line of vectors/scapy.txt.
struct Vector {
    suite: Suite,
    esn: bool,
    spi: u32,
    number: u64,
    key: Vec<u8>,
    mac_key: Vec<u8>,
    iv_seed: [u8; 16],
    inner: Vec<u8>,
    sealed: Vec<u8>,
}

fn hex(text: &str) -> Vec<u8> {
    let text: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    if text == b"-" {
        return Vec::new();
    }
    text.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn suite(text: &str) -> Suite {
    let (encr, integ) = match text.split_once('-') {
        Some((encr, integ)) => (encr, Some(Integ::from_keyword(integ).unwrap())),
        None => (text, None),
    };
    Suite::new(Encr::from_keyword(encr).unwrap(), integ).unwrap()
}

fn vectors() -> Vec<Vector> {
    include_str!("vectors/scapy.txt")
        .lines()
        .map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            let [name, esn, spi, number, key, mac_key, seed, inner, sealed] = fields[..] else {
                panic!("{line}");
            };
            Vector {
                suite: suite(name),
                esn: esn == "esn",
                spi: u32::from_str_radix(spi, 16).unwrap(),
                number: u64::from_str_radix(number, 16).unwrap(),
                key: hex(key),
                mac_key: hex(mac_key),
                iv_seed: hex(seed).try_into().unwrap_or_default(),
                inner: hex(inner),
                sealed: hex(sealed),
            }
        })
        .collect()
}

impl Vector {
    fn inbound(&self, limits: Limits) -> InboundSa {
        InboundSa::new(InboundParams {
            spi: self.spi,
            suite: self.suite,
            encr_key: &self.key,
            integ_key: &self.mac_key,
            esn: self.esn,
            replay_window: replay::DEFAULT,
            limits,
        })
        .unwrap()
    }

    fn outbound(&self, limits: Limits) -> OutboundSa {
        OutboundSa::new(OutboundParams {
            spi: self.spi,
            suite: self.suite,
            encr_key: &self.key,
            integ_key: &self.mac_key,
            iv_seed: self.iv_seed,
            esn: self.esn,
            limits,
        })
        .unwrap()
    }

    fn next_header(&self) -> u8 {
        if self.inner[0] >> 4 == 4 { next_header::IPV4 } else { next_header::IPV6 }
    }
}

/// The first vector of each suite, without extended sequence numbers.
fn one_of_each() -> Vec<Vector> {
    let mut all = vectors();
    all.retain(|vector| vector.number == 1 && !vector.esn);
    assert_eq!(all.len(), Suite::all().count(), "every suite is in the file");
    all
}

fn open(sa: &InboundSa, packet: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut bytes = packet.to_vec();
    let mut segments = [Segment::new(&mut bytes)];
    sa.open_batch(&mut segments, Tick(7));
    let [segment] = segments;
    segment.outcome.map(|opened| segment.bytes[opened.inner].to_vec())
}

fn seal(sa: &OutboundSa, inner: &[u8], next_header: u8, number: u64) -> Vec<u8> {
    let mut bytes = vec![0xaa; sa.sealed_len(inner.len())];
    let start = sa.geometry().inner_offset();
    bytes[start..start + inner.len()].copy_from_slice(inner);
    sa.seal_batch(&mut [Slot { bytes: &mut bytes, inner: inner.len(), next_header }], number).unwrap();
    bytes
}

#[test]
fn what_scapy_sealed_opens_here() {
    let mut sa: Option<InboundSa> = None;
    for vector in vectors() {
        // The packets of one SA stand together, in order.
        let fresh = sa.as_ref().is_none_or(|sa| (sa.spi(), sa.esn()) != (vector.spi, vector.esn));
        if fresh {
            sa = Some(vector.inbound(Limits::default()));
        }
        let opened = open(sa.as_ref().unwrap(), &vector.sealed);
        assert_eq!(opened.as_deref(), Ok(&vector.inner[..]), "{} {:#x}", vector.suite, vector.number);
        assert_eq!(sa.as_ref().unwrap().highest_sequence(), vector.number);
    }
}

#[test]
fn what_is_sealed_here_is_octet_for_octet_what_scapy_seals() {
    for vector in vectors() {
        let sealed =
            seal(&vector.outbound(Limits::default()), &vector.inner, vector.next_header(), vector.number);
        assert_eq!(sealed, vector.sealed, "{} {:#x} esn {}", vector.suite, vector.number, vector.esn);
    }
}

/// RFC 7634 appendix A.
#[test]
fn the_example_of_rfc_7634_opens() {
    let key: Vec<u8> = (0x80..=0x9f).chain(0xa0..=0xa3).collect();
    let sa = InboundSa::new(InboundParams {
        spi: 0x0102_0304,
        suite: suite("chacha20poly1305"),
        encr_key: &key,
        integ_key: &[],
        esn: false,
        replay_window: 64,
        limits: Limits::default(),
    })
    .unwrap();
    let packet = hex("01020304 00000005 1011121314151617
        24039428 b97f417e 3c13753a 4f05087b 67c352e6 a7fab1b9 82d466ef 407ae5c6
        14ee8099 d52844eb 61aa95df ab4c02f7 2aa71e7c 4c4f64c9 befe2fac c638e8f3
        cbec163f ac469b50 2773f6fb 94e664da 9165b828 29f641e0
        76aaa826 6b7fb0f7 b11b3699 07e1ad43");
    let inner = hex("45000054 a6f20000 4001e778 c6336405 c0000205 08005b7a 3a080000 553bec10
        00073627 08090a0b 0c0d0e0f 10111213 14151617 18191a1b 1c1d1e1f 20212223
        24252627 28292a2b 2c2d2e2f 30313233 34353637");
    assert_eq!(open(&sa, &packet), Ok(inner));
}

#[test]
fn no_truncation_opens_and_none_panics() {
    for vector in one_of_each() {
        let sa = vector.inbound(Limits::default());
        for cut in 0..vector.sealed.len() {
            assert!(open(&sa, &vector.sealed[..cut]).is_err(), "{} {cut}", vector.suite);
        }
        assert!(open(&sa, &vector.sealed).is_ok(), "and none spoilt the window");
    }
}

#[test]
fn no_mutation_opens_and_none_moves_the_window() {
    for vector in one_of_each() {
        let sa = vector.inbound(Limits::default());
        // The SPI chose the SA; from the sequence number on everything is authenticated.
        for at in 4..vector.sealed.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut harmed = vector.sealed.clone();
                harmed[at] ^= flip;
                let refused = open(&sa, &harmed).unwrap_err();
                assert!(matches!(refused, Refusal::Forged | Refusal::TooOld), "{} {at}", vector.suite);
            }
        }
        assert_eq!(sa.highest_sequence(), 0);
        assert_eq!(sa.usage().packets, 0);
        assert!(sa.refusals().get(Refusal::Forged) > 0);
        assert!(open(&sa, &vector.sealed).is_ok());
    }
}

#[test]
fn a_replayed_packet_is_refused_and_counted_also_within_one_run() {
    for vector in one_of_each() {
        let sa = vector.inbound(Limits::default());
        let (mut first, mut second) = (vector.sealed.clone(), vector.sealed.clone());
        let mut run = [Segment::new(&mut first), Segment::new(&mut second)];
        let report = sa.open_batch(&mut run, Tick(9));
        assert!(report.first_packet);
        assert!(run[0].outcome.is_ok());
        assert_eq!(run[1].outcome, Err(Refusal::Replayed));
        assert_eq!(open(&sa, &vector.sealed), Err(Refusal::Replayed));
        assert_eq!(sa.refusals().get(Refusal::Replayed), 2);
        let usage = sa.usage();
        assert_eq!((usage.packets, usage.bytes), (1, vector.inner.len() as u64));
        assert_eq!(usage.last_use, Some(Tick(9)));
    }
}

#[test]
fn one_bad_packet_does_not_end_a_run() {
    for vector in one_of_each() {
        let (out, sa) = (vector.outbound(Limits::default()), vector.inbound(Limits::default()));
        let mut packets: Vec<Vec<u8>> =
            (1..=150).map(|number| seal(&out, &vector.inner, vector.next_header(), number)).collect();
        packets[3].truncate(5);
        packets[40][30] ^= 1;
        packets[99][6] ^= 0x40;
        let mut run: Vec<Segment<'_>> = packets.iter_mut().map(|bytes| Segment::new(bytes)).collect();
        assert!(sa.open_batch(&mut run, Tick(0)).first_packet);
        for (index, segment) in run.iter().enumerate() {
            let expected = match index {
                3 => Some(Refusal::Length),
                40 | 99 => Some(Refusal::Forged),
                _ => None,
            };
            assert_eq!(segment.outcome.as_ref().err(), expected.as_ref(), "{} {index}", vector.suite);
        }
        assert_eq!(sa.usage().packets, 147);
    }
}

#[test]
fn dummies_unknown_next_headers_and_bad_padding_are_told_apart() {
    let vector = &one_of_each()[0];
    let (out, sa) = (vector.outbound(Limits::default()), vector.inbound(Limits::default()));
    assert_eq!(open(&sa, &seal(&out, &[1, 2, 3], next_header::NONE, 1)), Err(Refusal::Dummy));
    assert_eq!(open(&sa, &seal(&out, &[1, 2, 3], 17, 2)), Err(Refusal::NextHeader));
    // Padding of our own making: two octets of it that are not 1, 2.
    assert_eq!(open(&sa, &seal(&out, &[9, 9, 9, 9, 7, 7, 2, 4], 4, 3)), Ok(vec![9, 9, 9, 9, 7, 7, 2, 4]));
    for (reason, count) in sa.refusals().iter() {
        let expected = u64::from(matches!(reason, Refusal::Dummy | Refusal::NextHeader));
        assert_eq!(count, expected, "{reason}");
    }
}

#[test]
fn a_batch_is_its_packets_sealed_one_by_one() {
    for vector in one_of_each() {
        let sa = vector.outbound(Limits::default());
        let sizes: Vec<usize> = (0..130).map(|index| 20 + index * 37 % 1400).collect();
        let singles: Vec<Vec<u8>> =
            sizes.iter().zip(5..).map(|(size, number)| seal(&sa, &vec![0x45; *size], 4, number)).collect();
        let mut buffers: Vec<Vec<u8>> = sizes.iter().map(|size| vec![0x45; sa.sealed_len(*size)]).collect();
        let mut slots: Vec<Slot<'_>> = buffers
            .iter_mut()
            .zip(&sizes)
            .map(|(bytes, inner)| Slot { bytes, inner: *inner, next_header: 4 })
            .collect();
        sa.seal_batch(&mut slots, 5).unwrap();
        assert_eq!(buffers, singles, "{}", vector.suite);
    }
}

#[test]
fn a_slot_of_the_wrong_length_seals_nothing() {
    let vector = &one_of_each()[0];
    let sa = vector.outbound(Limits::default());
    let mut bytes = vec![0; sa.sealed_len(100) + 1];
    assert!(sa.seal_batch(&mut [Slot { bytes: &mut bytes, inner: 100, next_header: 4 }], 1).is_err());
    assert!(bytes.iter().all(|byte| *byte == 0));
}

#[test]
fn limits_by_volume_are_soft_once_and_then_hard() {
    let vector = &one_of_each()[0];
    let limits = Limits { soft_packets: Some(5), hard_packets: Some(8), ..Limits::default() };
    let sa = vector.outbound(limits);
    assert_eq!(sa.reserve(4, 400, Tick(0)).map(|r| (r.first, r.count, r.soft)), Ok((1, 4, None)));
    assert_eq!(
        sa.reserve(2, 200, Tick(0)).map(|r| (r.first, r.count, r.soft)),
        Ok((5, 2, Some(Soft::Packets)))
    );
    assert_eq!(sa.reserve(9, 900, Tick(3)).map(|r| (r.first, r.count, r.soft)), Ok((7, 2, None)));
    assert_eq!(sa.reserve(1, 100, Tick(0)), Err(Refusal::HardPackets));
    assert_eq!((sa.usage().packets, sa.usage().bytes, sa.sequence()), (8, 800, 8));
    let limits = Limits { soft_bytes: Some(500), hard_bytes: Some(1000), ..Limits::default() };
    let sa = vector.outbound(limits);
    assert_eq!(sa.reserve(1, 600, Tick(0)).map(|r| r.soft), Ok(Some(Soft::Bytes)));
    assert_eq!(sa.reserve(1, 401, Tick(0)), Err(Refusal::HardBytes));
    assert_eq!(sa.reserve(1, 400, Tick(0)).map(|r| r.soft), Ok(None));
    let limits = Limits { soft_packets: Some(1), hard_packets: Some(1), ..Limits::default() };
    let (out, sa) = (vector.outbound(Limits::default()), vector.inbound(limits));
    let mut packet = seal(&out, &vector.inner, 4, 1);
    let report = sa.open_batch(&mut [Segment::new(&mut packet)], Tick(0));
    assert_eq!(report.soft, Some(Soft::Packets));
    assert_eq!(open(&sa, &seal(&out, &vector.inner, 4, 2)), Err(Refusal::HardPackets));
}

#[test]
fn a_received_byte_limit_counts_inner_octets_and_says_when_it_is_used_up() {
    let vector = &one_of_each()[0];
    let inner = vector.inner.len() as u64;
    // Two packets, the second of which reaches the limit: ESP's own octets do not count.
    let limits = Limits { hard_bytes: Some(2 * inner), ..Limits::default() };
    let (out, sa) = (vector.outbound(Limits::default()), vector.inbound(limits));
    for number in 1..=2 {
        let mut packet = seal(&out, &vector.inner, 4, number);
        let mut run = [Segment::new(&mut packet)];
        let report = sa.open_batch(&mut run, Tick(0));
        assert_eq!((report.exhausted, run[0].outcome.is_ok()), (false, true), "{number}");
    }
    let mut packet = seal(&out, &vector.inner, 4, 3);
    let mut run = [Segment::new(&mut packet)];
    assert!(sa.open_batch(&mut run, Tick(0)).exhausted);
    assert_eq!(run[0].outcome, Err(Refusal::HardBytes));
    assert_eq!(sa.usage().bytes, 2 * inner);
}

#[test]
fn a_forged_packet_never_uses_a_lifetime_up() {
    let vector = &one_of_each()[0];
    let limits = Limits { hard_bytes: Some(1), hard_packets: Some(1), ..Limits::default() };
    let (out, sa) = (vector.outbound(Limits::default()), vector.inbound(limits));
    let mut packet = seal(&out, &vector.inner, 4, 1);
    *packet.last_mut().unwrap() ^= 1;
    assert!(!sa.open_batch(&mut [Segment::new(&mut packet)], Tick(0)).exhausted);
    assert!(open(&sa, &seal(&out, &vector.inner, 4, 2)).is_ok());
}

#[test]
fn bad_parameters_make_no_sa() {
    let vector = &one_of_each()[0];
    let params = InboundParams {
        spi: 0x1000,
        suite: vector.suite,
        encr_key: &vector.key,
        integ_key: &vector.mac_key,
        esn: false,
        replay_window: 1024,
        limits: Limits::default(),
    };
    assert!(InboundSa::new(params).is_ok());
    assert!(InboundSa::new(InboundParams { spi: 255, ..params }).is_err());
    assert!(InboundSa::new(InboundParams { replay_window: 32, ..params }).is_err());
    assert!(InboundSa::new(InboundParams { encr_key: &[0; 3], ..params }).is_err());
}

#[test]
fn threads_never_share_a_sequence_number() {
    let vector = &one_of_each()[0];
    let total = 200_000;
    let sa = vector.outbound(Limits { hard_packets: Some(total), ..Limits::default() });
    let seen: Vec<AtomicU64> = (0..=total).map(|_| AtomicU64::new(0)).collect();
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let (sa, seen) = (&sa, &seen);
            scope.spawn(move || {
                while let Ok(got) = sa.reserve(1 + thread * 20, 0, Tick(0)) {
                    for number in got.first..got.first + got.count {
                        seen[number as usize].fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(seen[0].load(Ordering::Relaxed), 0);
    assert!(seen[1..].iter().all(|count| count.load(Ordering::Relaxed) == 1));
}
