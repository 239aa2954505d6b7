//! The steady state allocates nothing: neither for a packet nor for a batch.
//!
//! One test in one binary, as the counter counts the whole process.
#![allow(clippy::unwrap_used, reason = "a test fails by saying so")]

use std::alloc::System;
use std::sync::Arc;

use crypto::{Encr, Integ, Suite};
use esp::Tick;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tunnel::offload::coalesce::Joining;
use tunnel::publish::Publisher;
use tunnel::{Drops, Egress, Handled, Ingress, Received, Reports, SendBatch};

mod pair;

use pair::{TUNNEL, table};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn single() -> Vec<u8> {
    let mut frame = pair::frame(48, 1340);
    frame.truncate(10 + 40 + 64);
    frame[..10].fill(0);
    frame[12..14].copy_from_slice(&104u16.to_be_bytes());
    frame
}

#[test]
fn the_steady_state_allocates_nothing() {
    let frame = || pair::frame(48, 1340);
    let frames = [frame(), single(), single(), frame(), single()];
    for (encr, integ) in [
        ("aes256gcm16", None),
        ("aes192gcm8", None),
        ("aes256", Some("sha1")),
        ("aes256", Some("sha256")),
        ("aes128", Some("sha384")),
        ("aes256", Some("sha512")),
    ] {
        let integ = integ.map(|name| Integ::from_keyword(name).unwrap());
        let suite = Suite::new(Encr::from_keyword(encr).unwrap(), integ).unwrap();
        let publisher = Publisher::new(table(suite, 1400));
        let mut reader = publisher.reader();
        let drops = Arc::new(Drops::default());
        let mut egress = Egress::new(Arc::clone(&drops));
        let mut ingress = Ingress::new(Arc::clone(&drops), Joining { tcp: true, udp: true });
        let (mut batch, mut reports) = (SendBatch::default(), Reports::new(16));
        let mut buffers = vec![vec![0u8; 65_536]; 16];
        let mut round = |now| {
            let table = reader.current();
            for frame in &frames {
                let handled = egress.handle_frame(table, TUNNEL, frame, &mut batch, &mut reports, Tick(now));
                assert_eq!(handled, Handled::Done);
            }
            egress.seal(&mut batch);
            let (mut packets, mut writes) = (0, 0);
            for run in batch.runs() {
                packets += run.count();
                let buffer = buffers.first_mut().unwrap();
                let bytes = &mut buffer[..run.bytes.len()];
                bytes.copy_from_slice(run.bytes);
                let mut messages =
                    [Received { bytes, segment: run.segment, path: run.path, ifindex: 0, tos: run.tos }];
                ingress.handle_batch(table, &mut messages, &mut reports, Tick(now));
                ingress.for_each_write(&messages, |_, _| writes += 1);
                ingress.clear();
            }
            batch.clear();
            (packets, writes)
        };
        for now in 0..3 {
            round(now);
        }
        let region = Region::new(ALLOCATOR);
        let mut packets = 0;
        for now in 3..103 {
            let (sent, writes) = round(now);
            packets += sent;
            assert!(writes < 12, "{writes}");
        }
        let change = region.change();
        assert_eq!(packets, 100 * 99);
        assert_eq!((change.allocations, change.reallocations), (0, 0), "{suite}");
        assert_eq!(drops.total(), 0);
    }
}
