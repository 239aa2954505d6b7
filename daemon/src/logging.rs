//! Where log lines go: to the journal with fields when systemd listens, else as JSON lines on standard
//! error; the last ones also stay in memory for `show log`.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use config::{Log, LogFormat, LogLevel};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::{Context, Layer, Layered, SubscriberExt};
use tracing_subscriber::{EnvFilter, Registry, reload};

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

/// The output of the log: what a change of the file replaces.
type Output = Box<dyn Layer<Registry> + Send + Sync>;
/// What stands on the registry before the filter.
type Inner = Layered<reload::Layer<Output, Registry>, Registry>;

/// The running log.
pub(crate) struct Logging {
    recent: Recent,
    output: reload::Handle<Output, Registry>,
    filter: reload::Handle<EnvFilter, Inner>,
}

impl Logging {
    /// The last `count` lines, oldest first.
    pub(crate) fn last(&self, count: usize) -> Vec<String> {
        self.recent.last(count)
    }

    /// Writes as the changed file says from here on. `CAUSEWAY_LOG` still overrides the level.
    pub(crate) fn change(&self, log: Log) {
        // They fail only when the subscriber is gone, which lives as long as the process.
        let _ = self.output.reload(output(log.format));
        let _ = self.filter.reload(filter(log.level));
    }
}

/// Starts logging as the file says; `CAUSEWAY_LOG` overrides its level.
pub(crate) fn start(log: Log) -> Logging {
    let (subscriber, logging) = build(log, output(log.format));
    if tracing::subscriber::set_global_default(subscriber).is_err() {
        eprintln!("causeway: logging was already started");
    }
    logging
}

/// A log that nobody hears, for tests.
#[cfg(test)]
pub(crate) fn silent() -> Logging {
    build(Log { format: LogFormat::Json, level: LogLevel::Error }, output(LogFormat::Json)).1
}

fn build(log: Log, to: Output) -> (impl Subscriber + Send + Sync, Logging) {
    let recent = Recent::default();
    let (to, output) = reload::Layer::new(to);
    let (filter, level) = reload::Layer::new(filter(log.level));
    let subscriber = Registry::default().with(to).with(filter).with(Keep(recent.clone()));
    (subscriber, Logging { recent, output, filter: level })
}

fn filter(of: LogLevel) -> EnvFilter {
    EnvFilter::try_from_env("CAUSEWAY_LOG").unwrap_or_else(|_| EnvFilter::new(level(of)))
}

/// To the journal, or as lines on standard error: also where a journal is asked for and none listens.
fn output(format: LogFormat) -> Output {
    let in_unit = std::env::var_os("JOURNAL_STREAM").is_some();
    let journal = match format {
        LogFormat::Journal => true,
        LogFormat::Auto => in_unit,
        LogFormat::Json | LogFormat::Text => false,
    };
    if let Some(journal) = journal.then(tracing_journald::layer).and_then(Result::ok) {
        return journal.with_field_prefix(None).boxed();
    }
    lines(format, std::io::stderr)
}

fn lines<W>(format: LogFormat, writer: W) -> Output
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_target(false).with_writer(writer);
    match format {
        LogFormat::Text => lines.with_ansi(false).boxed(),
        LogFormat::Auto | LogFormat::Journal | LogFormat::Json => {
            lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
        }
    }
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
        let mut text = now();
        let _ = write!(text, " {}", event.metadata().level());
        let mut line = Line { text, fields: String::new() };
        event.record(&mut line);
        let mut text = line.text + &line.fields;
        if text.len() > LINE {
            let cut = (0..=LINE).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.truncate(cut);
        }
        self.0.push(text);
    }
}

/// The time as `2026-01-31T23:59:59.000000Z`; empty if the clock cannot be read.
fn now() -> String {
    let mut text = String::new();
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
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
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Counts the lines that reach it.
    struct Count(Arc<AtomicUsize>);

    /// Octets a test looks at.
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Layer<Registry> for Count {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, Registry>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_changed_file_changes_level_and_output_of_the_running_log() {
        let counted = Arc::new(AtomicUsize::new(0));
        let log = |level| Log { format: LogFormat::Json, level };
        let (subscriber, logging) = build(log(LogLevel::Error), Count(Arc::clone(&counted)).boxed());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("not written");
            assert_eq!(logging.last(10).len(), 0);
            logging.filter.reload(filter(LogLevel::Info)).unwrap();
            tracing::info!("written");
            tracing::debug!("not written");
            let lines = logging.last(10);
            assert!(lines.len() == 1 && lines[0].ends_with(" INFO written"), "{lines:?}");
            assert_eq!(counted.load(Ordering::Relaxed), 1);
            logging.change(log(LogLevel::Debug));
            tracing::debug!("written, and elsewhere");
            assert_eq!((logging.last(10).len(), counted.load(Ordering::Relaxed)), (2, 1));
        });
    }

    #[test]
    fn every_line_has_its_time_its_tunnel_and_its_spi_in_memory_and_as_json() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let writer = Arc::clone(&written);
        let json = lines(LogFormat::Json, move || Shared(Arc::clone(&writer)));
        let log = Log { format: LogFormat::Json, level: LogLevel::Info };
        let (subscriber, logging) = build(log, json);
        tracing::subscriber::with_default(subscriber, || {
            crate::shell::log(&gateway::Line {
                level: gateway::Level::Info,
                tunnel: Some("azure".into()),
                spi: Some(gateway::Spi::Esp(0xc0ff_ee01)),
                text: "CHILD SA up".to_owned(),
            });
            crate::shell::log(&gateway::Line {
                level: gateway::Level::Warn,
                tunnel: Some("azure".into()),
                spi: Some(gateway::Spi::Ike { initiator: 1, responder: 2 }),
                text: "IKE SA down".to_owned(),
            });
        });
        let kept = logging.last(10);
        // 2026-01-31T23:59:59
        let stamped = |line: &String| line.get(..20).is_some_and(|t| t.len() == 20 && t.contains('T'));
        assert!(kept.iter().all(stamped), "{kept:?}");
        assert!(kept[0].contains("INFO CHILD SA up tunnel=azure spi=c0ffee01"), "{kept:?}");
        assert!(kept[1].contains("spi=0000000000000001_i 0000000000000002_r"), "{kept:?}");
        let written = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        let first: serde_json::Value = serde_json::from_str(written.lines().next().unwrap()).unwrap();
        assert_eq!(first["message"], "CHILD SA up");
        assert_eq!((&first["tunnel"], &first["spi"]), (&"azure".into(), &"c0ffee01".into()));
        assert!(first["timestamp"].is_string() && first["level"] == "INFO", "{first}");
    }

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
