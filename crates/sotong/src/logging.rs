//! Log lines on standard error, for people (`text`) or for programs (`json`, one object a line).
//!
//! The message of an event is its name (`listening`, `opened`, `closed`); what it tells is in its fields. Both are a
//! promise to scripts and stay English. Values may hold what a peer sent: in text they are escaped, so that it can
//! neither break a line nor colour it; JSON escapes by itself.

use std::fmt;
use std::io;

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use sotong_drivers::processes::is_worker;

use crate::cli::LogFormat;
use crate::payload;
use crate::stderr_log::{MeekLog, own_pipe};

/// Begins to log to standard error.
pub(crate) fn start(verbose: u8, quiet: bool, format: LogFormat) {
    let (level, told) = (level(verbose, quiet, format), move |count| left_out(format, count));
    // Several processes of one server write to one place: a worker's lines say whose they are.
    let pid = is_worker().then(std::process::id);
    // It fails only where a subscriber is set already, and this is the program's only one.
    let _ = match own_pipe() {
        Some(pipe) => tracing::subscriber::set_global_default(subscriber(level, format, pid, MeekLog::new(pipe, told))),
        None => {
            tracing::subscriber::set_global_default(subscriber(level, format, pid, MeekLog::new(io::stderr(), told)))
        }
    };
    // A panic costs one session, which is told as an event of its own; where it was is told here, in the log's form.
    std::panic::set_hook(Box::new(|info| {
        let at = info.location().map(ToString::to_string).unwrap_or_default();
        let payload = info.payload();
        let text = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
        let what = text.unwrap_or_default();
        tracing::error!(at, what, "panic");
    }));
}

/// The line that stands for `count` lines that nobody took.
fn left_out(format: LogFormat, count: u64) -> String {
    let mut time = String::new();
    // Writing to a string cannot fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut time));
    match format {
        LogFormat::Text => format!("{time}  WARN log lines left out lines={count}\n"),
        LogFormat::Json => {
            let (time, event) = (Value::from(time), Value::from("log lines left out"));
            format!("{{\"time\":{time},\"level\":\"warn\",\"event\":{event},\"lines\":{count}}}\n")
        }
    }
}

/// Warnings always; `-v` what opens and closes too; `-vv` payloads too; `-q` only errors.
fn level(verbose: u8, quiet: bool, format: LogFormat) -> LevelFilter {
    match (quiet, verbose) {
        (true, _) => LevelFilter::ERROR,
        // A program gets no start-up lines for people: the event tells it where the server listens.
        (false, 0) if format == LogFormat::Json => LevelFilter::INFO,
        (false, 0) => LevelFilter::WARN,
        (false, 1) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    }
}

fn subscriber<W>(level: LevelFilter, format: LogFormat, pid: Option<u32>, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    tracing_subscriber::fmt()
        // It would be told by `eprintln`, which panics where nobody reads: a log without a reader costs no connection.
        .log_internal_errors(false)
        .with_max_level(level)
        .event_format(Lines { format, pid })
        .with_writer(writer)
        .finish()
}

struct Lines {
    format: LogFormat,
    /// Told with each line.
    pid: Option<u32>,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _cx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut fields = Fields(Vec::new());
        event.record(&mut fields);
        fields.0.extend(self.pid.map(|pid| ("pid", Value::from(pid))));
        let level = event.metadata().level();
        let at = fields.0.iter().position(|(key, _)| *key == "message");
        let name = at.map(|at| fields.0.remove(at).1);
        let name = name.as_ref().and_then(Value::as_str).unwrap_or_default();
        match self.format {
            LogFormat::Json => {
                let level = level.as_str().to_ascii_lowercase();
                let head = [("time", Value::from(time)), ("level", level.into()), ("event", name.into())];
                let pairs = head.into_iter().chain(fields.0);
                for (at, (key, value)) in pairs.enumerate() {
                    let before = if at == 0 { '{' } else { ',' };
                    write!(writer, "{before}{}:{value}", Value::from(key))?;
                }
                writeln!(writer, "}}")
            }
            LogFormat::Text => {
                write!(writer, "{time} {level:>5} ")?;
                payload::escape(&mut writer, name)?;
                for (key, value) in &fields.0 {
                    write!(writer, " {key}=")?;
                    text_value(&mut writer, value)?;
                }
                writeln!(writer)
            }
        }
    }
}

/// A value bare where it is one plain word, else quoted.
fn text_value(writer: &mut Writer<'_>, value: &Value) -> fmt::Result {
    let Value::String(text) = value else { return write!(writer, "{value}") };
    let plain = |c: char| c.is_alphanumeric() || "-_.:/@[]%+,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return writer.write_str(text);
    }
    writer.write_char('"')?;
    payload::escape(writer, text)?;
    writer.write_char('"')
}

/// The fields of an event, in the order in which they are written where it happens.
struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    fn set(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.push((field.name(), value.into()));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, format!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value);
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value);
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value);
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What is logged while `run` runs.
    fn logged(verbose: u8, format: LogFormat, run: impl FnOnce()) -> String {
        logged_by(None, verbose, format, run)
    }
    fn logged_by(pid: Option<u32>, verbose: u8, format: LogFormat, run: impl FnOnce()) -> String {
        #[derive(Clone, Default)]
        struct Kept(Arc<Mutex<Vec<u8>>>);
        impl io::Write for Kept {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().expect("unpoisoned").write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = subscriber(level(verbose, false, format), format, pid, move || writer.clone());
        tracing::subscriber::with_default(subscriber, run);
        let bytes = kept.0.lock().expect("unpoisoned").clone();
        String::from_utf8(bytes).expect("log lines are UTF-8")
    }

    #[test]
    fn text_lines_hold_no_raw_bytes_of_a_peer() {
        let line = logged(1, LogFormat::Text, || {
            tracing::debug!(peer = "127.0.0.1:7", name = "a\x1b[31m\nFAKE", bytes_in = 5_u64, "opened");
        });
        assert!(line.ends_with(" DEBUG opened peer=127.0.0.1:7 name=\"a\\u{1b}[31m\\nFAKE\" bytes_in=5\n"), "{line}");
        assert_eq!(line.matches('\n').count(), 1);
    }

    #[test]
    fn a_worker_says_who_it_is() {
        let say = || tracing::debug!(bytes_in = 5_u64, "opened");
        assert!(logged_by(Some(42), 1, LogFormat::Text, say).ends_with(" DEBUG opened bytes_in=5 pid=42\n"));
        assert!(logged_by(Some(42), 1, LogFormat::Json, say).ends_with("\"bytes_in\":5,\"pid\":42}\n"));
    }

    #[test]
    fn json_is_one_object_a_line_with_stable_names() {
        let line = logged(0, LogFormat::Json, || {
            tracing::info!(address = "tcp://127.0.0.1:7", workers = 2_u64, text = "가\u{1b}\n", "listening");
        });
        assert_eq!(line.matches('\n').count(), 1);
        let value: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(value["event"], "listening");
        assert_eq!(value["level"], "info");
        assert_eq!(value["address"], "tcp://127.0.0.1:7");
        assert_eq!(value["workers"], 2);
        assert_eq!(value["text"], "가\u{1b}\n");
        assert!(value["time"].as_str().is_some_and(|time| time.ends_with('Z')));
    }

    #[test]
    fn flags_choose_what_is_written() {
        let all = || {
            tracing::error!("e");
            tracing::warn!("w");
            tracing::info!("i");
            tracing::debug!("d");
            tracing::trace!("t");
        };
        let names = |verbose, format| {
            logged(verbose, format, all)
                .lines()
                .filter_map(|line| line.chars().rev().find(char::is_ascii_lowercase))
                .collect::<String>()
        };
        assert_eq!(names(0, LogFormat::Text), "ew");
        assert_eq!(names(1, LogFormat::Text), "ewid");
        assert_eq!(names(2, LogFormat::Text), "ewidt");
        assert_eq!(logged(0, LogFormat::Json, all).lines().count(), 3, "a program is told where the server listens");
        assert_eq!(level(2, true, LogFormat::Text), LevelFilter::ERROR);
    }
}
