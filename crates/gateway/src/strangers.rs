//! Connections to our BGP listeners from nobody we know: counted, and told at a bounded rate.

use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Between two log lines about connections from no neighbour: whoever has a way to a listener may make as many as he likes.
const STRANGERS_PAUSE: Duration = Duration::from_secs(60);

/// Connections from addresses that are no neighbour's where they came in.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    count: u64,
    /// So many had been counted at the last line, and when that was.
    said: Option<(u64, Instant)>,
}

impl Strangers {
    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// One more; the line that is due, with how many were silent before.
    pub(crate) fn note(&mut self, remote: IpAddr, now: Instant) -> Option<String> {
        self.count += 1;
        if self.said.is_some_and(|(_, at)| at + STRANGERS_PAUSE > now) {
            return None;
        }
        let before = self.count - 1 - self.said.map_or(0, |(count, _)| count);
        self.said = Some((self.count, now));
        let more =
            if before > 0 { format!(" ({before} more since the last such line)") } else { String::new() };
        Some(format!("BGP connection from {remote}, which is no neighbour there, closed{more}"))
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test's clock must begin somewhere")]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_counted_each_and_named_once_a_minute() {
        let (mut strangers, start) = (Strangers::default(), Instant::now());
        let from = "172.16.0.9".parse().unwrap();
        let said: Vec<String> =
            (0..1200).filter_map(|n| strangers.note(from, start + Duration::from_millis(100 * n))).collect();
        assert_eq!((said.len(), strangers.count()), (2, 1200));
        assert!(said[1].ends_with("closed (599 more since the last such line)"), "{}", said[1]);
    }
}
