//! One packet's way through the datapath without a system call: cut and sealed on the way out; opened, judged
//! and joined on the way in. Times are for one packet of a super-packet of 45.
#![expect(clippy::unwrap_used, reason = "a bench fails by saying so")]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use causeway_benches::harness::Bench;
use causeway_benches::now;
use crypto::{Encr, Integ, Suite};
use esp::Tick;
use tunnel::offload::checksum;
use tunnel::offload::coalesce::Joining;
use tunnel::publish::Publisher;
use tunnel::{Drops, Egress, Ingress, Received, Reports, SendBatch, Table};

#[path = "../../crates/tunnel/tests/pair/mod.rs"]
mod pair;

use pair::TUNNEL;

const SEGMENTS: usize = 45;
const PAYLOAD: usize = 1360;

fn main() {
    let bench = Bench::from_env();
    for (encr, integ) in [
        ("aes256gcm16", None),
        ("chacha20poly1305", None),
        ("aes256", Some("sha1")),
        ("aes256", Some("sha256")),
        ("aes256", Some("sha512")),
    ] {
        let integ = integ.map(|name| Integ::from_keyword(name).unwrap());
        run(&bench, Suite::new(Encr::from_keyword(encr).unwrap(), integ).unwrap());
    }
    let bytes = vec![0x5a; 1400];
    bench.case("checksum of 1400 octets", 1, 1400, || checksum::sum(&bytes));
    for rows in [1, 1000, 10_000] {
        lookups(&bench, rows);
    }
    if bench.wants("table of 10,000 SAs") {
        publishing();
    }
}

fn gcm() -> Suite {
    Suite::new(Encr::from_keyword("aes256gcm16").unwrap(), None).unwrap()
}

/// The usual tunnel among inbound SAs of others, together `rows`.
fn among(rows: u32) -> Table {
    let mut table = pair::table(gcm(), 1438).edit();
    for spi in (pair::SPI..).skip(1).take(rows as usize - 1) {
        table.set_inbound(pair::inbound(gcm(), spi));
    }
    table.build()
}

/// What finding the SA of an SPI costs, SPIs in a random order.
fn lookups(bench: &Bench, rows: u32) {
    let (table, mut state) = (among(rows), 1u64);
    bench.case(&format!("the SA of an SPI among {rows}"), 1, 0, || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        black_box(table.inbound(pair::SPI + (state >> 33) as u32 % rows).map(|row| row.sa.spi()))
    });
}

/// The longest a batch takes, of a second of them, while nobody publishes and while tables of 10,000 inbound SAs are
/// made and published as fast as that goes.
fn publishing() {
    let mut publisher = Publisher::new(among(10_000));
    let mut reader = publisher.reader();
    let stop = AtomicBool::new(false);
    let quiet = worst(|| Arc::clone(reader.current()));
    let (busy, tables, took) = std::thread::scope(|scope| {
        let stop = &stop;
        let publishing = scope.spawn(move || {
            let (mut tables, mut longest) = (0u32, Duration::ZERO);
            while !stop.load(Ordering::Relaxed) {
                let began = now();
                let mut next = publisher.current().edit();
                next.set_inbound(pair::inbound(gcm(), 0x9000_0000 + tables));
                next.remove_inbound(0x9000_0000 + tables.saturating_sub(1));
                publisher.publish(Arc::new(next.build()));
                (tables, longest) = (tables + 1, longest.max(began.elapsed()));
            }
            (tables, longest)
        });
        let busy = worst(|| Arc::clone(reader.current()));
        stop.store(true, Ordering::Relaxed);
        let (tables, longest) = publishing.join().unwrap();
        (busy, tables, longest)
    });
    println!(
        "table of 10,000 SAs: a batch of {SEGMENTS} at its longest {quiet:?}, with {tables} tables published {busy:?}; \
         making and publishing one at its longest {took:?}"
    );
}

/// The longest of a second's batches, each with the table of its moment, less the worst hundredth of a per cent,
/// which is the scheduler's.
fn worst(mut table: impl FnMut() -> Arc<Table>) -> Duration {
    let frame = pair::frame(SEGMENTS, PAYLOAD);
    let mut egress = Egress::new(Arc::default());
    let (mut batch, mut reports) = (SendBatch::default(), Reports::new(16));
    let (began, mut times) = (now(), Vec::new());
    while began.elapsed() < Duration::from_secs(1) {
        let start = now();
        let table = table();
        let _ = egress.handle_frame(&table, TUNNEL, &frame, &mut batch, &mut reports, Tick(0));
        egress.seal(&mut batch);
        batch.clear();
        times.push(start.elapsed());
    }
    times.sort_unstable();
    times.get(times.len() - 1 - times.len() / 10_000).copied().unwrap_or_default()
}

fn run(bench: &Bench, suite: Suite) {
    let table = pair::table(suite, 1438);
    let frame = pair::frame(SEGMENTS, PAYLOAD);
    let drops = Arc::new(Drops::default());
    let mut egress = Egress::new(Arc::clone(&drops));
    let mut ingress = Ingress::new(Arc::clone(&drops), Joining { tcp: true, udp: true });
    let (mut batch, mut reports) = (SendBatch::default(), Reports::new(16));
    let octets = (PAYLOAD + 40) as u64;
    bench.case(&format!("out: cut and seal, {suite}"), SEGMENTS as u64, octets, || {
        batch.clear();
        let _ = egress.handle_frame(&table, TUNNEL, &frame, &mut batch, &mut reports, Tick(0));
        egress.seal(&mut batch);
        assert_eq!(batch.len(), SEGMENTS);
    });
    // Every round needs fresh numbers, as the replay window refuses old ones: sealing is in this figure too.
    let mut buffer = vec![0; 65_536];
    bench.case(&format!("out and in: and open, judge, join, {suite}"), SEGMENTS as u64, octets, || {
        batch.clear();
        let _ = egress.handle_frame(&table, TUNNEL, &frame, &mut batch, &mut reports, Tick(0));
        egress.seal(&mut batch);
        let mut writes = 0;
        for run in batch.runs() {
            let bytes = &mut buffer[..run.bytes.len()];
            bytes.copy_from_slice(run.bytes);
            let mut messages =
                [Received { bytes, segment: run.segment, path: run.path, ifindex: 0, tos: run.tos }];
            ingress.handle_batch(&table, &mut messages, &mut reports, Tick(0));
            ingress.for_each_write(&messages, |_, slices| writes += slices.len());
            ingress.clear();
        }
        assert!(writes > SEGMENTS && drops.total() == 0);
    });
}
