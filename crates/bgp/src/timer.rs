//! Every duration of the session machine, and the jitter on them.

use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

/// The hold timer until the peer's OPEN says better: "a HoldTimer value of 4 minutes is suggested"
/// (RFC 4271 section 8.2.2). It runs in OpenSent, so a peer that accepts and stays mute is dropped.
pub const LARGE_HOLD: Duration = Duration::from_secs(240);
/// A dial without an answer is given up after this.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// The first dial follows a transport that came up within this, at random.
pub(crate) const FIRST_DIAL: Duration = Duration::from_secs(1);
/// The wait after the first dial that failed; it doubles with each.
pub const RETRY_MIN: Duration = Duration::from_secs(5);
/// The longest wait between dials.
pub const RETRY_MAX: Duration = Duration::from_secs(30);
/// The wait in Idle after the first session that ended in error; it doubles with each.
pub(crate) const IDLE_HOLD_MIN: Duration = Duration::from_secs(2);
/// The longest wait in Idle.
pub const IDLE_HOLD_MAX: Duration = Duration::from_secs(120);
/// A session that stayed established this long is forgiven all that went before. Reaching Established
/// alone forgives nothing: a peer that sends one bad UPDATE a session would flap it at will.
pub const IDLE_HOLD_FORGET: Duration = Duration::from_secs(300);
/// How long an incoming connection waits for ours to be answered before ours is given up.
pub(crate) const DECISION_TIME: Duration = Duration::from_secs(10);
/// How long an established session may stay silent when its peer has opened a new connection.
pub const PROBE_TIME: Duration = Duration::from_secs(3);
/// How long an established session has to show life once its peer's gateway has come again without memory.
pub const CHALLENGE_TIME: Duration = Duration::from_secs(2);
/// An established session younger than this wins a collision outright: the other connection is its twin.
pub(crate) const TWIN_TIME: Duration = Duration::from_secs(5);
/// "the greater of: 8 minutes, 2 times the negotiated HoldTime" (RFC 9687 section 6).
pub const SEND_HOLD_MIN: Duration = Duration::from_secs(480);
/// How long routes stay stale in an enhanced refresh whose end never comes.
pub(crate) const STALE_TIME: Duration = Duration::from_secs(360);
/// How long the end of a peer's first table is waited for: some say End-of-RIB only to those who asked for graceful
/// restart.
pub(crate) const END_OF_RIB_TIME: Duration = Duration::from_secs(360);
/// Between two alarms about malformed messages of one neighbour.
pub(crate) const ALARM_INTERVAL: Duration = Duration::from_secs(60);

/// Randomness from a seed.
#[derive(Clone, Debug)]
pub(crate) struct Jitter(ChaCha20Rng);

impl Jitter {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self(ChaCha20Rng::from_seed(seed))
    }

    /// Between nothing and all of `span`.
    pub(crate) fn up_to(&mut self, span: Duration) -> Duration {
        span.mul_f64(f64::from(self.0.next_u32()) / f64::from(u32::MAX))
    }

    /// "Jitter [...] a random value between 0.75 and 1.0" (RFC 4271 section 10).
    pub(crate) fn shorten(&mut self, span: Duration) -> Duration {
        span.mul_f64(0.75) + self.up_to(span.mul_f64(0.25))
    }
}

/// `min` doubled `times` times, at most `max`.
pub(crate) fn doubled(min: Duration, times: u32, max: Duration) -> Duration {
    min.saturating_mul(1_u32.checked_shl(times.min(16)).unwrap_or(u32::MAX)).min(max)
}
