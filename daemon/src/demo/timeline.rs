//! What happened when: lines with the seconds since the demo began.

use std::io::{self, Write};
use std::time::{Instant, SystemTime};

use super::gateways::{Gateway, Logged};
use super::now;

const DAY: f64 = 86_400.0;
/// Characters of a logged text.
const WIDTH: usize = 100;

/// The clock and the printer.
pub(super) struct Timeline {
    origin: Instant,
    /// The origin in seconds of the day, UTC.
    origin_of_day: f64,
}

impl Timeline {
    pub(super) fn start() -> Self {
        let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        Self { origin: now(), origin_of_day: since.as_secs_f64().rem_euclid(DAY) }
    }

    pub(super) fn seconds(&self) -> f64 {
        self.origin.elapsed().as_secs_f64()
    }

    /// Something the demo saw itself.
    pub(super) fn now(&self, who: &str, text: &str) {
        line(self.seconds(), who, text);
    }

    /// What the gateways logged meanwhile, in the order of its times.
    pub(super) fn logged(&self, gateways: &mut [Gateway]) {
        let mut lines: Vec<(f64, &'static str, Logged)> = Vec::new();
        for gateway in gateways {
            let name = gateway.name;
            lines.extend(gateway.logged().into_iter().map(|logged| (self.when(&logged), name, logged)));
        }
        lines.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (seconds, name, logged) in lines {
            let level = if logged.level == "INFO" { String::new() } else { format!("{} ", logged.level) };
            line(seconds, name, &shorten(level + &logged.text));
        }
    }

    fn when(&self, logged: &Logged) -> f64 {
        match logged.at {
            // Past midnight, too.
            Some(at) => (at - self.origin_of_day).rem_euclid(DAY),
            None => self.seconds(),
        }
    }
}

/// A line of the timeline is one line; the gateways' log files have the whole of it.
fn shorten(text: String) -> String {
    match text.char_indices().nth(WIDTH) {
        Some((cut, _)) => text.get(..cut).unwrap_or_default().to_owned() + "…",
        None => text,
    }
}

fn line(seconds: f64, who: &str, text: &str) {
    say(&format!("  {seconds:7.3} s  {who:<8} {text}"));
}

/// Prints one line; a reader that has left is no reason to stop before the end, where all is cleaned up.
pub(super) fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_the_day_becomes_seconds_since_the_start_also_over_midnight() {
        let timeline = Timeline { origin: now(), origin_of_day: DAY - 1.0 };
        let logged = |at| Logged { at: Some(at), level: "INFO".to_owned(), text: String::new() };
        assert!((timeline.when(&logged(DAY - 0.5)) - 0.5).abs() < 1e-9);
        assert!((timeline.when(&logged(2.0)) - 3.0).abs() < 1e-9);
    }
}
