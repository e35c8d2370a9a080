//! A program beside a connection: its standard input and output are pipes, joined to the peer by a pump.
use crate::{
    pump::{End, Sink, Source},
    wake::{event, ring},
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    pipe::{PipeFlags, fcntl_setpipe_size, pipe_with},
    process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid},
};
use std::{
    ffi::{OsStr, OsString},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{
            ffi::{OsStrExt, OsStringExt},
            process::CommandExt,
        },
    },
    process::{Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// Bytes that each pipe of a program is given where the system allows it: fewer switches between the two processes.
const PIPE_BYTES: usize = 256 << 10;
/// Bytes of the stack of the thread that waits for a program to exit.
const STACK_BYTES: usize = 64 << 10;
/// How long a program may take to be gone once it was killed; one in a system call that cannot be interrupted takes longer.
const KILLED_TIME_MAX: Duration = Duration::from_secs(1);

/// A running program, in a process group of its own. It is always waited for, also when this is dropped.
///
/// Clones are the same program. Dropping all of them leaves it running: it reads the end of its input once the pump is over.
#[derive(Clone, Debug)]
pub struct Child {
    process: Arc<Process>,
}

/// How long a program has to leave by itself.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// After its pipes have been closed, before SIGTERM. Default 1 s.
    pub closed: Duration,
    /// After SIGTERM, before SIGKILL. Default 4 s.
    pub told: Duration,
}

/// Why a line is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordsError {
    /// It has no words.
    #[error("no program is named")]
    Empty,
    /// A quotation has no end.
    #[error("a quotation mark is not closed")]
    OpenQuote,
    /// Nothing follows a backslash.
    #[error("a backslash is the last character")]
    OpenEscape,
}

#[derive(Debug)]
struct Process {
    group: Pid,
    status: Mutex<Option<ExitStatus>>,
    exited: Condvar,
    /// Readable once it has exited.
    gone: OwnedFd,
}

impl Child {
    /// Runs `program` with `args`, and `vars` set in the environment, or taken out of it if they have no value. The end is for
    /// a [`crate::pump::Pump`].
    ///
    /// Standard error is this process's. No other descriptor is inherited; signals are as a shell leaves them.
    ///
    /// # Errors
    /// The program cannot be run, or no descriptor or thread is left.
    pub fn spawn(program: &OsStr, args: &[OsString], vars: &[(&str, Option<String>)]) -> io::Result<(Self, End)> {
        let (theirs_in, ours_out) = pipe()?;
        let (ours_in, theirs_out) = pipe()?;
        let end = End::new(Source::owned(ours_in)?, Sink::owned(ours_out)?);
        let gone = event()?;
        let mut command = Command::new(program);
        for (name, value) in vars {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let mut child = command
            .args(args)
            .stdin(Stdio::from(theirs_in))
            .stdout(Stdio::from(theirs_out))
            .process_group(0)
            .spawn()?;
        let group = Pid::from_child(&child);
        let process = Arc::new(Process { group, status: Mutex::default(), exited: Condvar::new(), gone });
        let waiter = process.clone();
        let reap = move || {
            // The number stays taken until the status is fetched, under the lock that `signal` holds: no stranger is hit.
            let exited = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while matches!(waitid(WaitId::Pid(waiter.group), exited), Err(Errno::INTR)) {}
            let mut status = waiter.status();
            *status = Some(child.wait().unwrap_or_default());
            drop(status);
            waiter.exited.notify_all();
            ring(&waiter.gone);
        };
        if let Err(error) = thread::Builder::new().name("child".into()).stack_size(STACK_BYTES).spawn(reap) {
            _ = kill_process_group(process.group, Signal::KILL);
            _ = waitid(WaitId::Pid(process.group), WaitIdOptions::EXITED);
            return Err(error);
        }
        Ok((Self { process }, end))
    }
    /// Waits until the program has exited, at most `time_max` (`None`: as long as it takes).
    pub fn wait(&self, time_max: Option<Duration>) -> Option<ExitStatus> {
        let runs = |status: &mut Option<ExitStatus>| status.is_none();
        let (status, exited) = (self.process.status(), &self.process.exited);
        match time_max {
            None => *exited.wait_while(status, runs).unwrap_or_else(PoisonError::into_inner),
            Some(time) => *exited.wait_timeout_while(status, time, runs).unwrap_or_else(PoisonError::into_inner).0,
        }
    }
    /// Waits until the program has exited, or `stop` is readable.
    pub fn wait_or(&self, stop: BorrowedFd<'_>) -> Option<ExitStatus> {
        let mut fds = [self.process.gone.as_fd(), stop].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        while poll(&mut fds, None) == Err(Errno::INTR) {}
        *self.process.status()
    }
    /// Kills the program and its whole process group, and waits for nothing.
    pub fn kill(&self) {
        self.process.signal(Signal::KILL);
    }
    /// Whether it has exited.
    pub fn has_exited(&self) -> bool {
        self.process.status().is_some()
    }
    /// Ends the program, whose pipes have been closed: waits, sends SIGTERM, waits, sends SIGKILL. Both signals go to its
    /// whole process group.
    ///
    /// `None` is a program that the system cannot end in time; it is waited for in the background.
    pub fn stop(&self, patience: Patience) -> Option<ExitStatus> {
        let steps = [(patience.closed, Signal::TERM), (patience.told, Signal::KILL)];
        for (time, signal) in steps {
            if let Some(status) = self.wait(Some(time)) {
                return Some(status);
            }
            self.process.signal(signal);
        }
        self.wait(Some(KILLED_TIME_MAX))
    }
}

impl Process {
    fn status(&self) -> MutexGuard<'_, Option<ExitStatus>> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn signal(&self, signal: Signal) {
        let status = self.status();
        if status.is_none() {
            _ = kill_process_group(self.group, signal);
        }
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self { closed: Duration::from_secs(1), told: Duration::from_secs(4) }
    }
}

/// A pipe's reading and writing end, not inherited.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (outlet, inlet) = pipe_with(PipeFlags::CLOEXEC)?;
    // Refused beyond the user's share of pipe memory: the default size does, too.
    _ = fcntl_setpipe_size(&inlet, PIPE_BYTES);
    Ok((outlet, inlet))
}

/// Splits a command into words as a shell does: at blanks, with `'…'`, `"…"` and `\`, and nothing else of a shell.
///
/// # Errors
/// There are no words, or the last one is unfinished.
pub fn words(line: &OsStr) -> Result<Vec<OsString>, WordsError> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut bytes = line.as_bytes().iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b' ' | b'\t' | b'\n' => words.extend(word.take()),
            b'\\' => match bytes.next() {
                Some(b'\n') => {}
                Some(escaped) => word.get_or_insert_default().push(escaped),
                None => return Err(WordsError::OpenEscape),
            },
            b'\'' => quoted(&mut bytes, word.get_or_insert_default(), b'\'')?,
            b'"' => quoted(&mut bytes, word.get_or_insert_default(), b'"')?,
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    if words.is_empty() { Err(WordsError::Empty) } else { Ok(words.into_iter().map(OsString::from_vec).collect()) }
}

fn quoted(bytes: &mut impl Iterator<Item = u8>, word: &mut Vec<u8>, mark: u8) -> Result<(), WordsError> {
    while let Some(byte) = bytes.next() {
        match byte {
            _ if byte == mark => return Ok(()),
            b'\\' if mark == b'"' => match bytes.next() {
                Some(b'\n') => {}
                Some(escaped @ (b'"' | b'\\' | b'$' | b'`')) => word.push(escaped),
                Some(other) => word.extend([b'\\', other]),
                None => return Err(WordsError::OpenQuote),
            },
            _ => word.push(byte),
        }
    }
    Err(WordsError::OpenQuote)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_as_a_shell_splits_them() {
        let cases: [(&str, &[&str]); 9] = [
            ("cat", &["cat"]),
            ("  cat\t-n  ", &["cat", "-n"]),
            ("sh -c 'echo \"a b\" | rev'", &["sh", "-c", "echo \"a b\" | rev"]),
            (r#"printf "%s\n" "a\"b" "c\\d""#, &["printf", r"%s\n", "a\"b", r"c\d"]),
            (r"my\ prog x\'y", &["my prog", "x'y"]),
            ("a'b'\"c\"d", &["abcd"]),
            ("p '' \"\"", &["p", "", ""]),
            ("안녕 '서 버'", &["안녕", "서 버"]),
            ("$HOME/* ~ #x", &["$HOME/*", "~", "#x"]),
        ];
        for (line, expect) in cases {
            let expect = expect.iter().map(OsString::from).collect();
            assert_eq!(words(line.as_ref()), Ok(expect), "{line}");
        }
    }

    #[test]
    fn unfinished_lines_are_refused() {
        for (line, error) in [
            ("", WordsError::Empty),
            (" \t", WordsError::Empty),
            ("a 'b", WordsError::OpenQuote),
            ("a \"b", WordsError::OpenQuote),
            ("a \"b\\", WordsError::OpenQuote),
            ("a\\", WordsError::OpenEscape),
        ] {
            assert_eq!(words(line.as_ref()), Err(error), "{line:?}");
        }
    }
}
