//! The steady state allocates nothing: neither for a packet nor for a batch, of either family, of streams and datagrams,
//! cut and joined, fragmented, answered or refused.
//!
//! One test in one binary, as the counter counts the whole process.
#![allow(clippy::unwrap_used, reason = "a test fails by saying so")]

use std::alloc::System;
use std::sync::Arc;

use crypto::{Encr, Integ, Suite};
use esp::Tick;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tunnel::offload::coalesce::Joining;
use tunnel::offload::virtio::{Gso, Header};
use tunnel::publish::{Publisher, Reader};
use tunnel::{Drop, Drops, Egress, Handled, Ingress, Received, Reports, SendBatch};

mod pair;

use pair::{SPI, TUNNEL, table};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Rounds before the counting and while it goes on.
const ROUNDS: std::ops::Range<u64> = 3..103;
/// Segments of one super-packet.
const SEGMENTS: usize = 24;

/// A packet as a TUN gives it, its checksum unfinished: TCP or UDP of either family, with a port of its own; of `size`
/// octets a segment if it is a super-packet.
fn frame(ipv6: bool, udp: bool, port: u8, payload: usize, size: Option<usize>) -> Vec<u8> {
    let (network, transport) = (if ipv6 { 40 } else { 20 }, if udp { 8 } else { 20 });
    let gso = match (size, udp, ipv6) {
        (None, _, _) => Gso::None,
        (Some(_), true, _) => Gso::Udp,
        (Some(_), false, false) => Gso::Tcp4,
        (Some(_), false, true) => Gso::Tcp6,
    };
    let header = Header {
        needs_checksum: true,
        gso,
        header_len: network + transport,
        gso_size: size.unwrap_or(0) as u16,
        checksum_start: network,
        checksum_offset: if udp { 6 } else { 16 },
    };
    let mut frame = header.to_bytes().to_vec();
    let length = transport + payload as u16;
    let (protocol, address) =
        (if udp { 17 } else { 6 }, |last| [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    if ipv6 {
        frame.extend([0x60, 0, 0, 0]);
        frame.extend(length.to_be_bytes());
        frame.extend([protocol, 63]);
        frame.extend([address(1), address(2)].concat());
    } else {
        frame.extend([0x45, 0]);
        frame.extend((20 + length).to_be_bytes());
        frame.extend([0, 0, 0x40, 0, 63, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 1, 1]);
    }
    frame.extend([0, 80, 1, port]);
    if udp {
        frame.extend(length.to_be_bytes());
        frame.extend([0, 0]);
    } else {
        frame.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
    }
    // What is left in the field is the pseudo-header's sum.
    let (from, to) = if ipv6 { (10 + 8, 10 + 40) } else { (10 + 12, 10 + 20) };
    let words = frame[from..to].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum = words.sum::<u32>() + u32::from(protocol) + u32::from(length);
    let sum = (sum & 0xffff) + (sum >> 16);
    let field = 10 + usize::from(network + header.checksum_offset);
    frame[field..field + 2].copy_from_slice(&((sum + (sum >> 16)) as u16).to_be_bytes());
    frame.resize(10 + usize::from(network + length), 0x5a);
    frame
}

/// A worker whose packets come back to it.
struct Loop {
    reader: Reader,
    drops: Arc<Drops>,
    egress: Egress,
    ingress: Ingress,
    batch: SendBatch,
    reports: Reports,
    buffer: Vec<u8>,
}

/// What a round was: packets sealed, frames written, answers to what was too big.
type Round = (usize, usize, usize);

impl Loop {
    fn new(suite: Suite) -> Self {
        let drops = Arc::new(Drops::default());
        Self {
            reader: Publisher::new(table(suite, 1400)).reader(),
            egress: Egress::new(Arc::clone(&drops)),
            ingress: Ingress::new(Arc::clone(&drops), Joining { tcp: true, udp: true }),
            drops,
            batch: SendBatch::default(),
            reports: Reports::new(16),
            buffer: vec![0; 65_536],
        }
    }

    /// One batch there and back; `harm` has every run before it is opened, and says how often it comes.
    fn round(
        &mut self,
        frames: &[Vec<u8>],
        now: Tick,
        mut harm: impl FnMut(usize, &mut [u8]) -> usize,
    ) -> Round {
        let Self { reader, egress, ingress, batch, reports, buffer, .. } = self;
        let table = reader.current();
        for frame in frames {
            assert_eq!(egress.handle_frame(table, TUNNEL, frame, batch, reports, now), Handled::Done);
        }
        egress.seal(batch);
        let (mut packets, mut writes, mut answers) = (0, 0, 0);
        for (number, run) in batch.runs().enumerate() {
            packets += run.count();
            let bytes = &mut buffer[..run.bytes.len()];
            let mut times = 1;
            while times > 0 {
                bytes.copy_from_slice(run.bytes);
                times = harm(number, bytes);
                let mut messages =
                    [Received { bytes, segment: run.segment, path: run.path, ifindex: 0, tos: run.tos }];
                ingress.handle_batch(table, &mut messages, reports, now);
                ingress.for_each_write(&messages, |_, _| writes += 1);
                ingress.clear();
            }
        }
        batch.clear();
        while egress.poll_reply().is_some() {
            answers += 1;
        }
        while reports.poll().is_some() {}
        (packets, writes, answers)
    }

    /// Rounds that give what `expected` says, after a few in which memory is taken.
    fn steady(
        &mut self,
        what: &str,
        frames: &[Vec<u8>],
        expected: Round,
        harm: impl Fn(usize, &mut [u8]) -> usize,
    ) {
        for now in 0..ROUNDS.start {
            self.round(frames, Tick(now * 1000), &harm);
        }
        let region = Region::new(ALLOCATOR);
        for now in ROUNDS {
            let round = self.round(frames, Tick(now * 1000), &harm);
            assert_eq!(round, expected, "{what}");
        }
        let change = region.change();
        assert_eq!((change.allocations, change.reallocations), (0, 0), "{what}");
    }
}

fn suites() -> impl Iterator<Item = Suite> {
    let names = [
        ("aes256gcm16", None),
        ("aes192gcm8", None),
        ("chacha20poly1305", None),
        ("aes256", Some("sha1")),
        ("aes256", Some("sha256")),
        ("aes128", Some("sha384")),
        ("aes256", Some("sha512")),
    ];
    names.into_iter().map(|(encr, integ)| {
        let integ = integ.map(|name| Integ::from_keyword(name).unwrap());
        Suite::new(Encr::from_keyword(encr).unwrap(), integ).unwrap()
    })
}

/// Super-packets and single packets of both families and transports.
fn mixed() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for (ipv6, udp) in [(false, false), (false, true), (true, false), (true, true)] {
        frames.push(frame(ipv6, udp, 1, SEGMENTS * 1300 - 7, Some(1300)));
        frames.push(frame(ipv6, udp, 2, 64, None));
        frames.push(frame(ipv6, udp, 3, 1, None));
    }
    frames
}

/// What must be fragmented, as a packet and as a super-packet's datagrams, and what is too long.
fn long() -> Vec<Vec<u8>> {
    let mut whole = frame(false, true, 1, 1500, None);
    let mut datagrams = frame(false, true, 2, 4 * 1390, Some(1390));
    for fragmentable in [&mut whole, &mut datagrams] {
        fragmentable[16] = 0;
    }
    vec![whole, datagrams, frame(false, false, 3, 1500, None), frame(true, true, 4, 1500, None)]
}

#[test]
fn the_steady_state_allocates_nothing() {
    let (mixed, long) = (mixed(), long());
    for suite in suites() {
        let mut worker = Loop::new(suite);
        let name = suite.to_string();
        worker.steady(&name, &mixed, (4 * SEGMENTS + 8, 12, 0), |_, _| 0);
        let large = [pair::frame(48, 1340), pair::frame(48, 1340)];
        worker.steady(&format!("{name}, large"), &large, (96, 4, 0), |_, _| 0);
        assert_eq!(worker.drops.total(), 0, "{name}");
        worker.steady(&format!("{name}, too long"), &long, (2 + 4 * 2, 2 + 4 * 2, 2), |_, _| 0);
        let told = 2 * ROUNDS.end;
        assert_eq!((worker.drops.get(Drop::TooBig), worker.drops.total()), (told, told), "{name}");

        // Each run comes as it is, then as a replay, then with its first packet forged, then with that of an SPI nobody has.
        let turn = std::cell::Cell::new(0);
        let harm = |_: usize, bytes: &mut [u8]| {
            let times = turn.replace((turn.get() + 1) % 4);
            match times {
                2 => bytes[40] ^= 1,
                3 => bytes[..4].copy_from_slice(&(SPI + 1).to_be_bytes()),
                _ => {}
            }
            3 - times
        };
        worker.steady(&format!("{name}, harmed"), &mixed, (4 * SEGMENTS + 8, 12, 0), harm);
        let each = ROUNDS.end * (4 * SEGMENTS as u64 + 8);
        let (refused, unknown) = (worker.drops.get(Drop::InboundRefused), worker.drops.get(Drop::UnknownSpi));
        assert!(refused > 2 * each && unknown > 0, "{name}");
        assert_eq!(refused + unknown, 3 * each, "{name}");
    }
}
