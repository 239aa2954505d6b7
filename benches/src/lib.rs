//! What the benches share. `benches/run` measures whole tunnels and prints the table of
//! `docs/performance.md`; `cargo bench -p causeway-benches` measures the parts, one line a case.

pub mod args;
pub mod harness;

use std::time::Instant;

/// The clock; benches own one.
#[must_use]
pub fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "a bench measures time")]
    Instant::now()
}
