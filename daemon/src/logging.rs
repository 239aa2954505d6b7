//! Where log lines go: to the journal with fields when systemd listens, else as JSON lines on standard
//! error; the last ones also stay in memory for `show log`.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use config::{Log, LogFormat, LogLevel};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::{EnvFilter, Registry};

/// Lines kept for `show log`.
const KEPT: usize = 1000;
/// Octets of one kept line; longer ones are cut.
const LINE: usize = 512;

/// The last lines.
#[derive(Clone, Default)]
pub(crate) struct Recent(Arc<Mutex<VecDeque<String>>>);

impl Recent {
    /// The last `count`, oldest first.
    pub(crate) fn last(&self, count: usize) -> Vec<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().skip(lines.len().saturating_sub(count)).cloned().collect()
    }

    fn push(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

/// Starts logging as the file says; `CAUSEWAY_LOG` overrides its level.
pub(crate) fn start(log: Log) -> Recent {
    let recent = Recent::default();
    let filter = EnvFilter::try_from_env("CAUSEWAY_LOG").unwrap_or_else(|_| EnvFilter::new(level(log.level)));
    let registry = Registry::default().with(filter).with(Keep(recent.clone()));
    let in_unit = std::env::var_os("JOURNAL_STREAM").is_some();
    let format = match (log.format, in_unit) {
        (LogFormat::Auto, true) => LogFormat::Journal,
        (LogFormat::Auto, false) => LogFormat::Json,
        (format, _) => format,
    };
    let journal = if format == LogFormat::Journal { tracing_journald::layer().ok() } else { None };
    let lines = || tracing_subscriber::fmt::layer().with_target(false).with_writer(std::io::stderr);
    let outcome = match (journal, format) {
        (Some(layer), _) => {
            tracing::subscriber::set_global_default(registry.with(layer.with_field_prefix(None)))
        }
        (None, LogFormat::Text) => {
            tracing::subscriber::set_global_default(registry.with(lines().with_ansi(false)))
        }
        (None, LogFormat::Auto | LogFormat::Journal | LogFormat::Json) => {
            let json = lines().json().flatten_event(true).with_current_span(false).with_span_list(false);
            tracing::subscriber::set_global_default(registry.with(json))
        }
    };
    if outcome.is_err() {
        eprintln!("causeway: logging was already started");
    }
    recent
}

fn level(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    }
}

struct Keep(Recent);

impl<S: Subscriber> Layer<S> for Keep {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line { text: event.metadata().level().to_string(), fields: String::new() };
        event.record(&mut line);
        let mut text = line.text + &line.fields;
        if text.len() > LINE {
            let cut = (0..=LINE).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.truncate(cut);
        }
        self.0.push(text);
    }
}

struct Line {
    text: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let into = if field.name() == "message" {
            self.text.push(' ');
            &mut self.text
        } else {
            self.fields.push(' ');
            self.fields.push_str(field.name());
            self.fields.push('=');
            &mut self.fields
        };
        let _ = write!(into, "{value:?}");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_lines_are_kept() {
        let recent = Recent::default();
        for i in 0..KEPT + 10 {
            recent.push(format!("line {i}"));
        }
        assert_eq!(recent.last(2), ["line 1008", "line 1009"]);
        assert_eq!(recent.last(usize::MAX).len(), KEPT);
    }
}
