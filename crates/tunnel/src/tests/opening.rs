//! Opening many packets at once, and the same one by one.

use std::sync::Arc;

use esp::{InboundParams, InboundSa, Limits, OutboundSa, Slot, replay};
use proptest::prelude::*;

use super::joining::by_flow;
use super::support::*;
use super::worker::*;
use crate::*;

const SUITES: [&str; 6] =
    ["aes256gcm16", "aes256-sha1", "chacha20poly1305", "aes128-sha512", "aes256-sha256", "aes192gcm8"];

/// SAs of one receiver: SPIs in a row, for two tunnels.
const SAS: u32 = 4;

/// What comes over the wire.
#[derive(Clone, Debug)]
enum Event {
    /// Packets of an SA with numbers in a row; a number that came already is a replay.
    Packets { sa: u32, first: u64, count: u64 },
    /// A packet with one octet changed, from the sequence number on.
    Forged { sa: u32, number: u64, at: prop::sample::Index, flip: u8 },
    /// A packet cut short.
    Cut { sa: u32, number: u64, keep: prop::sample::Index },
    /// A packet of an SPI nobody has.
    Unknown { spi: u32, length: usize },
    /// IKE, a keepalive, or what is neither.
    Other(Vec<u8>),
}

fn events() -> impl Strategy<Value = Vec<(Event, u8, u8)>> {
    let numbers = || 2u64..300;
    let event = prop_oneof![
        6 => (0..SAS, numbers(), 1u64..20).prop_map(|(sa, first, count)| Event::Packets { sa, first, count }),
        2 => (0..SAS, numbers(), any::<prop::sample::Index>(), 1u8..)
            .prop_map(|(sa, number, at, flip)| Event::Forged { sa, number, at, flip }),
        1 => (0..SAS, numbers(), any::<prop::sample::Index>())
            .prop_map(|(sa, number, keep)| Event::Cut { sa, number, keep }),
        1 => (0x9000u32..0x9003, 8usize..200).prop_map(|(spi, length)| Event::Unknown { spi, length }),
        1 => prop_oneof![Just(vec![0, 0, 0, 0, 9, 9]), Just(vec![0xff]), Just(vec![1, 2])].prop_map(Event::Other),
    ];
    // From where it comes, mostly the same, and how it is marked.
    let remote = prop_oneof![6 => Just(0u8), 1 => 0u8..3];
    let tos = prop_oneof![6 => Just(2u8), 1 => 0u8..4];
    prop::collection::vec((event, remote, tos), 1..25)
}

fn spi(sa: u32) -> u32 {
    0x1000 + sa
}

/// The senders of the SAs, and a receiver with a window of 64.
fn receiver(suites: &[usize], esn: bool) -> (Vec<Arc<OutboundSa>>, Worker) {
    let mut worker = Worker::gcm(ALL);
    worker.reports = Reports::new(4096);
    let template = worker.table.inbound(SPI).unwrap().clone();
    let mut next = worker.table.edit();
    let mut senders = Vec::new();
    for sa in 0..SAS {
        let suite = suite(SUITES[suites[sa as usize] % SUITES.len()]);
        let (encr_key, integ_key) = (vec![0x11; suite.encr_key_len()], vec![0x22; suite.integ_key_len()]);
        let params = InboundParams {
            spi: spi(sa),
            suite,
            encr_key: &encr_key,
            integ_key: &integ_key,
            esn,
            replay_window: replay::MIN,
            limits: Limits::default(),
        };
        let outbound = esp::OutboundParams {
            spi: spi(sa),
            suite,
            encr_key: &encr_key,
            integ_key: &integ_key,
            iv_seed: [0x33; 16],
            esn,
            limits: Limits::default(),
        };
        senders.push(Arc::new(OutboundSa::new(outbound).unwrap()));
        let tunnel = TunnelId(10 + sa % 2);
        next.set_inbound(InboundRow {
            tunnel,
            sa: InboundSa::new(params).unwrap().into(),
            ..template.clone()
        });
    }
    worker.table = next.build();
    (senders, worker)
}

/// The packet of a number: a segment of a stream, so that neighbours are joined.
fn packet(sa: u32, number: u64, senders: &[Arc<OutboundSa>]) -> Vec<u8> {
    let length = if number.is_multiple_of(9) { 33 } else { 100 };
    let start = (number as u32).wrapping_mul(100);
    let spec = Spec { ports: (sa as u16, 443), ipv6: sa == 3, tos: 2, sequence: start, ..Spec::default() };
    let inner = spec.packet(&payload(length));
    let sa = &senders[sa as usize];
    let mut bytes = vec![0; sa.sealed_len(inner.len())];
    let at = sa.geometry().inner_offset();
    bytes[at..at + inner.len()].copy_from_slice(&inner);
    let next_header = if spec.ipv6 { 41 } else { 4 };
    let mut slot = [Slot { bytes: &mut bytes, inner: inner.len(), next_header }];
    sa.seal_batch(&mut slot, number).unwrap();
    bytes
}

/// The datagrams of an event; numbers count from `base`.
fn datagrams(event: &Event, base: u64, senders: &[Arc<OutboundSa>]) -> Vec<Vec<u8>> {
    match event {
        Event::Packets { sa, first, count } => {
            (*first..first + count).map(|number| packet(*sa, base + number, senders)).collect()
        }
        Event::Forged { sa, number, at, flip } => {
            let mut bytes = packet(*sa, base + number, senders);
            let at = 4 + at.index(bytes.len() - 4);
            bytes[at] ^= flip;
            vec![bytes]
        }
        Event::Cut { sa, number, keep } => {
            let mut bytes = packet(*sa, base + number, senders);
            bytes.truncate(keep.index(bytes.len()).max(4));
            vec![bytes]
        }
        Event::Unknown { spi, length } => {
            let mut bytes = spi.to_be_bytes().to_vec();
            bytes.resize(*length, 7);
            vec![bytes]
        }
        Event::Other(bytes) => vec![bytes.clone()],
    }
}

fn remote(number: u8) -> OuterPath {
    let remote = ["203.0.113.1:4500", "203.0.113.1:1024", "198.51.100.9:4500"][usize::from(number)];
    OuterPath::Udp { local: socket("192.0.2.1:4500"), remote: socket(remote) }
}

/// Puts datagrams together as the kernel does (UDP_GRO): those of one path and mark and one size, the last may be
/// shorter.
fn coalesce(singles: &[Sent]) -> Vec<Sent> {
    let mut messages: Vec<Sent> = Vec::new();
    for single in singles {
        match messages.last_mut() {
            Some(last)
                if (last.path, last.tos) == (single.path, single.tos)
                    && last.bytes.len().is_multiple_of(last.segment)
                    && single.bytes.len() <= last.segment
                    && last.bytes.len() < 64 * last.segment =>
            {
                last.bytes.extend(&single.bytes);
            }
            _ => messages.push(single.clone()),
        }
    }
    messages
}

/// Opens messages together; the frames by tunnel.
fn open(worker: &mut Worker, messages: &[Sent], frames: &mut [Vec<Vec<u8>>; 2]) {
    let mut owned = messages.to_vec();
    let received = owned.iter_mut().map(|one| Received {
        bytes: &mut one.bytes,
        segment: one.segment,
        path: one.path,
        ifindex: 4,
        tos: one.tos,
    });
    let mut received: Vec<_> = received.collect();
    worker.ingress.handle_batch(&worker.table, &mut received, &mut worker.reports, Tick(0));
    worker.ingress.for_each_write(&received, |TunnelId(tunnel), vector| {
        frames[tunnel as usize - 10].push(vector.iter().flat_map(|slice| slice.to_vec()).collect());
    });
    worker.ingress.clear();
}

/// What is left of it all.
#[derive(Debug, PartialEq)]
struct Outcome {
    drops: Vec<(Drop, u64)>,
    /// Of each SA: packets and octets opened, packets refused, and how far its window went.
    sas: Vec<[u64; 4]>,
    /// What was told, whose order is that of batches.
    told: Vec<String>,
}

fn outcome(worker: &mut Worker) -> Outcome {
    let of = |sa| {
        let sa = &worker.table.inbound(spi(sa)).unwrap().sa;
        let refused = sa.refusals().iter().map(|(_, count)| count).sum();
        [sa.usage().packets, sa.usage().bytes, refused, sa.highest_sequence()]
    };
    let sas = (0..SAS).map(of).collect();
    let drops = worker.drops.iter().collect();
    let mut told: Vec<_> = worker.reported().iter().map(|report| format!("{report:?}")).collect();
    told.sort();
    Outcome { drops, sas, told }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_batch_opens_what_its_packets_one_by_one_do(
        events in events(),
        suites in prop::collection::vec(0usize..6, SAS as usize),
        esn: bool,
        batches in prop::collection::vec(1usize..30, 40),
    ) {
        let (senders, mut fast) = receiver(&suites, esn);
        let (_, mut slow) = receiver(&suites, esn);
        // With numbers of 64 bits over the edge of 32.
        let base = if esn { (1u64 << 32) - 150 } else { 0 };
        let mut singles = Vec::new();
        for (event, from, tos) in &events {
            for bytes in datagrams(event, base, &senders) {
                singles.push(Sent { path: remote(*from), tos: *tos, dont_fragment: true, segment: bytes.len(), bytes });
            }
        }
        let (mut by_fast, mut by_slow) = (<[Vec<_>; 2]>::default(), <[Vec<_>; 2]>::default());
        // Both know how far the numbers are: a jump over half of 32 bits is none that a batch could see through.
        for sa in 0..SAS {
            let bytes = packet(sa, base + 1, &senders);
            let first = [Sent { path: remote(0), tos: 2, dont_fragment: true, segment: bytes.len(), bytes }];
            open(&mut fast, &first, &mut by_fast);
            open(&mut slow, &first, &mut by_slow);
        }
        let messages = coalesce(&singles);
        let (mut rest, mut batches) = (messages.as_slice(), batches.into_iter().cycle());
        while !rest.is_empty() {
            let (batch, others) = rest.split_at(batches.next().unwrap_or(1).min(rest.len()));
            open(&mut fast, batch, &mut by_fast);
            rest = others;
        }
        for single in &singles {
            open(&mut slow, std::slice::from_ref(single), &mut by_slow);
        }
        for (fast, slow) in by_fast.iter().zip(&by_slow) {
            prop_assert_eq!(by_flow(&cut_slowly(fast)), by_flow(&cut_slowly(slow)));
        }
        prop_assert_eq!(outcome(&mut fast), outcome(&mut slow));
    }
}
