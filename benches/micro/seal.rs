//! Sealing and opening ESP packets of 1400 octets inside, 45 at a time as one super-packet gives them, by suite.
#![expect(clippy::unwrap_used, reason = "a bench fails by saying so")]

use causeway_benches::harness::Bench;
use crypto::{Frame, Opener, Sealer, Suite};
use esp::Geometry;

const INNER: usize = 1400;
const PACKETS: usize = 45;
const HEADER: usize = 8;

fn main() {
    let bench = Bench::from_env();
    for suite in Suite::all() {
        run(&bench, suite);
    }
}

fn frames(buffer: &mut [u8], each: usize) -> Vec<Frame<'_>> {
    buffer.chunks_exact_mut(each).map(|bytes| Frame { bytes, header: HEADER, esn_hi: None }).collect()
}

fn run(bench: &Bench, suite: Suite) {
    let (key, mac) = (vec![7; suite.encr_key_len()], vec![9; suite.integ_key_len()]);
    let sealer = Sealer::new(suite, &key, &mac, [3; 16]).unwrap();
    let opener = Opener::new(suite, &key, &mac).unwrap();
    let each = Geometry::new(suite).sealed_len(INNER);
    let mut buffer = vec![0x5a; each * PACKETS];
    bench.case(&format!("seal {suite}"), PACKETS as u64, INNER as u64, || {
        sealer.seal_batch(&mut frames(&mut buffer, each), 1).unwrap();
    });
    // Opening is in place, so each round opens a fresh copy; the copy is in the figure.
    let sealed = buffer.clone();
    bench.case(&format!("copy and open {suite}"), PACKETS as u64, INNER as u64, || {
        buffer.copy_from_slice(&sealed);
        for frame in frames(&mut buffer, each) {
            opener.open(frame).unwrap();
        }
    });
}
