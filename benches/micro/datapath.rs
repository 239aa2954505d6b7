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

/// How long batches take, of a second of them each time: alone, beside a thread that works and touches nothing of theirs, and
/// while tables of 10,000 inbound SAs are made and published as fast as that goes.
fn publishing() {
    let mut publisher = Publisher::new(among(10_000));
    let mut reader = publisher.reader();
    say("alone", &batches(|| Arc::clone(reader.current())));
    let (times, _) = beside(|_| _ = black_box(checksum::sum(&[0x5a; 1400])), || Arc::clone(reader.current()));
    say("beside a thread that works", &times);
    let publish = |number: u32| {
        let mut next = publisher.current().edit();
        next.set_inbound(pair::inbound(gcm(), 0x9000_0000 + number));
        next.remove_inbound(0x9000_0000 + number.saturating_sub(1));
        publisher.publish(Arc::new(next.build()));
    };
    let (times, (tables, longest)) = beside(publish, || Arc::clone(reader.current()));
    say(&format!("{tables} tables published meanwhile"), &times);
    println!("table of 10,000 SAs: making and publishing one, the longest {longest:?}");
}

/// A second of batches beside a thread that does `work` again and again; how often it did, and how long that took at most.
fn beside(mut work: impl FnMut(u32) + Send, table: impl FnMut() -> Arc<Table>) -> (Times, (u32, Duration)) {
    let stop = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        let other = scope.spawn(move || {
            let (mut count, mut longest) = (0u32, Duration::ZERO);
            while !stop.load(Ordering::Relaxed) {
                let began = now();
                work(count);
                (count, longest) = (count.wrapping_add(1), longest.max(began.elapsed()));
            }
            (count, longest)
        });
        let times = batches(table);
        stop.store(true, Ordering::Relaxed);
        (times, other.join().unwrap())
    })
}

fn say(what: &str, times: &Times) {
    println!(
        "table of 10,000 SAs, {what}: {} batches of {SEGMENTS}, the longest {:?}, without the worst 0.01 % {:?}, median {:?}",
        times.count, times.longest, times.nearly, times.median
    );
}

/// How long the batches of a second took.
struct Times {
    count: usize,
    /// The very longest: whatever the scheduler did to this thread is in it.
    longest: Duration,
    /// The longest but for one in ten thousand.
    nearly: Duration,
    median: Duration,
}

/// A second of batches, each with the table of its moment.
fn batches(mut table: impl FnMut() -> Arc<Table>) -> Times {
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
    let from_the_end = |skipped: usize| times.iter().rev().nth(skipped).copied().unwrap_or_default();
    Times {
        count: times.len(),
        longest: from_the_end(0),
        nearly: from_the_end(times.len() / 10_000),
        median: from_the_end(times.len() / 2),
    }
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
