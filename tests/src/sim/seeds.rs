//! Which seeds are played, and how one is played again.
//!
//! `SIM_SEEDS=n` plays n seeds of each scenario (default 50; slow scenarios take a share of them).
//! `SIM_SEED=n` plays that seed alone. `SIM_LOG=1` prints what every gateway logged.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

const DEFAULT_SEEDS: u64 = 50;

/// Plays a scenario with every seed; the first that fails says how to play it again.
pub(crate) fn over_seeds(play: impl Fn(u64)) {
    over_share(1, play);
}

/// The same for a slow scenario, with one in `share` of the seeds.
pub(crate) fn over_share(share: u64, play: impl Fn(u64)) {
    if let Some(seed) = number("SIM_SEED") {
        play(seed);
        return;
    }
    let count = number("SIM_SEEDS").unwrap_or(DEFAULT_SEEDS).div_ceil(share);
    for seed in 1..=count {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| play(seed))) {
            let thread = std::thread::current();
            let test = thread.name().unwrap_or_default().to_owned();
            eprintln!("seed {seed} fails; again with: SIM_SEED={seed} cargo test -p causeway-tests {test}");
            resume_unwind(panic);
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// The randomness of a seed.
pub(crate) fn rng(seed: u64) -> ChaCha20Rng {
    let mut octets = [0; 32];
    octets[..8].copy_from_slice(&seed.to_le_bytes());
    ChaCha20Rng::from_seed(octets)
}

/// True in so many of a hundred cases.
pub(crate) fn chance(rng: &mut ChaCha20Rng, percent: u32) -> bool {
    percent > 0 && rng.next_u32() % 100 < percent
}

/// A number from and to these.
pub(crate) fn pick(rng: &mut ChaCha20Rng, (from, to): (u64, u64)) -> u64 {
    from + rng.next_u64() % (to - from + 1)
}
