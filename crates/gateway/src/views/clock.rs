//! Times of day on pages: the shell's clock when the page is drawn, less the age of what is shown.

use std::time::Instant;

use control::utc;
use control::view::BgpMoment;

use crate::gateway::Gateway;

impl Gateway {
    /// When `at` was, in seconds since 1970; `None` if the shell told no time of day.
    pub(super) fn epoch(&self, at: Instant, now: Instant) -> Option<u64> {
        let age = now.saturating_duration_since(at);
        self.facts.wall.map(|wall| wall.saturating_sub(age).as_secs())
    }

    /// The same with its words.
    pub(super) fn moment(&self, at: Instant, now: Instant) -> Option<BgpMoment> {
        self.epoch(at, now).map(|epoch| BgpMoment { epoch, string: utc(epoch) })
    }
}
