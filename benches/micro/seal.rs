//! Sealing and opening ESP packets of 1400 octets inside, 45 at a time as one super-packet gives them, by suite;
//! then AES-256-CBC beside AES-256-GCM by the number of packets, timed in turn.
#![expect(clippy::unwrap_used, reason = "a bench fails by saying so")]

use causeway_benches::harness::Bench;
use crypto::{Encr, Frame, Integ, KeyBits, Opener, Sealer, Suite};
use esp::Geometry;

const INNER: usize = 1400;
const PACKETS: usize = 45;
const HEADER: usize = 8;

fn main() {
    let bench = Bench::from_env();
    for suite in Suite::all() {
        run(&bench, suite, PACKETS);
    }
    let gcm = Suite::new(Encr::AesGcm16(KeyBits::B256), None).unwrap();
    for packets in [1, 4, 16, 32, 45, 64] {
        for integ in Integ::ALL {
            let cbc = Suite::new(Encr::AesCbc(KeyBits::B256), Some(integ)).unwrap();
            let (Some(base), Some(own)) = (run(&bench, gcm, packets), run(&bench, cbc, packets)) else {
                continue;
            };
            let times = [(base.0, own.0), (base.1, own.1)].map(|(base, own)| format!("{:.2}", base / own));
            println!("  {cbc} of GCM, {packets} packets: seal {}, open {}", times[0], times[1]);
        }
    }
}

fn frames(buffer: &mut [u8], each: usize) -> Vec<Frame<'_>> {
    buffer.chunks_exact_mut(each).map(|bytes| Frame { bytes, header: HEADER, esn_hi: None }).collect()
}

/// Seconds to seal and to open one packet.
fn run(bench: &Bench, suite: Suite, packets: usize) -> Option<(f64, f64)> {
    let (key, mac) = (vec![7; suite.encr_key_len()], vec![9; suite.integ_key_len()]);
    let sealer = Sealer::new(suite, &key, &mac, [3; 16]).unwrap();
    let opener = Opener::new(suite, &key, &mac).unwrap();
    let each = Geometry::new(suite).sealed_len(INNER);
    let mut buffer = vec![0x5a; each * packets];
    let of = if packets == PACKETS { String::new() } else { format!(", {packets} packets") };
    let seal = bench.case(&format!("seal {suite}{of}"), packets as u64, INNER as u64, || {
        sealer.seal_batch(&mut frames(&mut buffer, each), 1).unwrap();
    });
    // Opening is in place, so each round opens a fresh copy; the copy is in the figure.
    sealer.seal_batch(&mut frames(&mut buffer, each), 1).unwrap();
    let sealed = buffer.clone();
    let open = bench.case(&format!("copy and open {suite}{of}"), packets as u64, INNER as u64, || {
        buffer.copy_from_slice(&sealed);
        opener.open_batch(&mut frames(&mut buffer, each), |_, outcome| assert!(outcome.is_ok()));
    });
    Some((seal?, open?))
}
