//! Where words for people go: standard output for what was asked for, standard error for the rest.

use std::io::{self, Write};

use anstream::{AutoStream, ColorChoice};
use clap::builder::styling::{AnsiColor, Style};

use crate::catalogue::{Catalogue, text};
use crate::cli::{Color, LogFormat};
use crate::failure::Failure;

/// The people's end of the program: a language, and how lines are written.
pub(crate) struct Console {
    pub(crate) catalogue: Catalogue,
    pub(crate) color: Color,
    pub(crate) quiet: bool,
    pub(crate) log_format: LogFormat,
}

impl Console {
    pub(crate) fn new(catalogue: Catalogue, color: Color, log_format: LogFormat) -> Self {
        Self { catalogue, color, quiet: false, log_format }
    }

    /// Writes to standard output, which is for data only.
    ///
    /// # Errors
    /// When it cannot be written, except by a reader who has left (`sotong --help | head -1`): that one has what it
    /// wanted.
    pub(crate) fn out(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = AutoStream::new(io::stdout().lock(), self.choice());
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Err(fault) if fault.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::Write { what: "stdout".to_owned(), why: fault.kind() })
            }
            _ => Ok(()),
        }
    }

    /// A line for people on standard error: start-up, what goes on. Not under `--quiet`, and not where a log is read by
    /// a program.
    pub(crate) fn say(&self, line: &str) {
        if self.speaks() {
            self.err(&format!("{line}\n"));
        }
    }

    /// Whether there is anybody to say something to.
    pub(crate) fn speaks(&self) -> bool {
        !self.quiet && self.log_format == LogFormat::Text
    }

    /// A failure: one line, for people or as a log event.
    pub(crate) fn fail(&self, failure: &Failure) {
        match self.log_format {
            LogFormat::Json => {
                let english = failure.message(&Catalogue::new(crate::catalogue::Lang::En));
                tracing::error!(exit_code = failure.code(), reason = english, "failed");
            }
            LogFormat::Text => {
                let style = AnsiColor::Red.on_default().bold();
                self.err(&self.headed(
                    style,
                    &text!(self.catalogue, "error-heading"),
                    &failure.message(&self.catalogue),
                ));
            }
        }
    }

    /// Something a person should know although it works; a program reads `event`, and the same words in English.
    pub(crate) fn warn(&self, event: &'static str, line: impl Fn(&Catalogue) -> String) {
        match self.log_format {
            LogFormat::Json => {
                tracing::warn!(detail = line(&Catalogue::new(crate::catalogue::Lang::En)), "{event}");
            }
            LogFormat::Text if self.quiet => {}
            LogFormat::Text => {
                let style = AnsiColor::Yellow.on_default().bold();
                let line = line(&self.catalogue);
                self.err(&self.headed(style, &text!(self.catalogue, "warning-heading"), &line));
            }
        }
    }

    /// Writes to standard error; that nobody reads it is no reason to stop.
    pub(crate) fn err(&self, text: &str) {
        let mut stderr = AutoStream::new(io::stderr().lock(), self.choice());
        let _ = stderr.write_all(text.as_bytes());
    }

    fn headed(&self, style: Style, heading: &str, line: &str) -> String {
        format!("{style}{heading}{style:#} {line}\n")
    }

    /// `auto` honours NO_COLOR, CLICOLOR, CLICOLOR_FORCE and TERM=dumb, and asks whether the stream is a terminal.
    fn choice(&self) -> ColorChoice {
        match self.color {
            Color::Auto => ColorChoice::Auto,
            Color::Always => ColorChoice::Always,
            Color::Never => ColorChoice::Never,
        }
    }
}
