//! Programs of others, as foreign peers.
use crate::process::{self, Done, Running};
use std::{
    ffi::OsStr,
    process::{Command, Stdio},
};

/// A program that is installed.
#[derive(Clone, Copy, Debug)]
pub struct Tool(&'static str);

/// The program, or a printed line that says what was left out without it. With `SOTONG_TOOLS=required` in the environment a
/// missing program is a failure.
///
/// # Panics
/// It is required, and missing.
#[track_caller]
pub fn tool(name: &'static str) -> Option<Tool> {
    process::has(name).then_some(Tool(name))
}

impl Tool {
    /// The program with its arguments, to be started.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(self.0);
        command.args(args).env("LC_ALL", "C.UTF-8");
        command
    }
    /// Starts it with pipes for its input and outputs.
    pub fn start<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Running {
        process::start_with(self.command(args).stdin(Stdio::piped()).stdout(Stdio::piped()))
    }
    /// Runs it to its end with `input`; the input ends behind it.
    ///
    /// # Panics
    /// It does not end.
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>, input: &[u8]) -> Done {
        let mut running = self.start(args);
        running.say(input);
        running.finish()
    }
}
