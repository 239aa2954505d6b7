//! A case runs until it has been timed several times for long enough; its median is printed, one line a case.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::now;

/// Time one sample should take, so that the clock costs nothing.
const SAMPLE: Duration = Duration::from_millis(20);
/// Samples of a case; the median of them is the result.
const SAMPLES: usize = 15;

/// Cases whose name has one of the words of the command line, or all without any.
#[derive(Debug)]
pub struct Bench {
    words: Vec<String>,
    /// One short sample: does it work at all?
    quick: bool,
}

impl Bench {
    /// As the command line says: words to choose cases by, and `--quick`.
    #[must_use]
    pub fn from_env() -> Self {
        let words: Vec<String> = std::env::args().skip(1).collect();
        let quick = words.iter().any(|word| word == "--quick");
        Self { words: words.into_iter().filter(|word| !word.starts_with("--")).collect(), quick }
    }

    /// Was a case of this name chosen?
    #[must_use]
    pub fn wants(&self, name: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| name.contains(word.as_str()))
    }

    /// Times `work`, which does `items` things of `octets` octets each (0: not said) a call. Gives the
    /// seconds of one thing, if the case was chosen.
    pub fn case<R>(&self, name: &str, items: u64, octets: u64, mut work: impl FnMut() -> R) -> Option<f64> {
        if !self.wants(name) {
            return None;
        }
        let once = timed(1, &mut work);
        let calls =
            if self.quick { 1 } else { (SAMPLE.as_nanos() / once.as_nanos().max(1)).clamp(1, 1 << 24) };
        let samples = if self.quick { 1 } else { SAMPLES };
        let mut times: Vec<f64> = (0..samples)
            .map(|_| timed(calls as u64, &mut work).as_secs_f64() / (calls as f64 * items as f64))
            .collect();
        times.sort_by(f64::total_cmp);
        let each = times.get(times.len() / 2).copied().unwrap_or_default();
        let rate = if octets == 0 {
            format!("{:>12.0} /s", 1.0 / each)
        } else {
            format!("{:>10.3} GB/s", octets as f64 / each / 1e9)
        };
        println!("{name:<52} {:>12.1} ns {rate}", each * 1e9);
        Some(each)
    }
}

fn timed<R>(calls: u64, work: &mut impl FnMut() -> R) -> Duration {
    let began: Instant = now();
    for _ in 0..calls {
        black_box(work());
    }
    began.elapsed()
}
