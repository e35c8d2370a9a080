//! Standard error as a log: a reader who is slow, or does not read at all, costs log lines and never a connection.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use tracing_subscriber::fmt::MakeWriter;

/// Bytes that a pipe takes whole or not at all (PIPE_BUF, pipe(7)).
const PIECE_BYTES_MAX: usize = 4096;
/// How long a reader who is only a little behind is waited for at once.
const PATIENCE_MAX: Duration = Duration::from_millis(100);
/// Which part of all time may go to waiting for a slow reader: a tenth.
const PATIENCE_SHARE: u32 = 10;

/// Standard error where it is a pipe, opened anew so that writing to it never waits.
///
/// Other processes may write to the same pipe, so that room that was there can be gone; and the flag that makes writes not
/// wait would be theirs too, were it set on the descriptor that we share with them.
pub(crate) fn own_pipe() -> Option<File> {
    let is_pipe = fstat(io::stderr()).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo);
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    is_pipe.then(|| open("/proc/self/fd/2", flags, Mode::empty()).ok().map(File::from)).flatten()
}

/// Writes whole lines to `out` while it takes them, and leaves out and counts them while it does not.
pub(crate) struct MeekLog<W> {
    state: Arc<Mutex<State<W>>>,
    /// The line that tells how many were left out.
    told: Arc<dyn Fn(u64) -> String + Send + Sync>,
}

#[derive(Debug)]
struct State<W> {
    out: W,
    left_out: u64,
    /// The last line was given up in its middle.
    torn: bool,
    /// How long may be waited at `at`.
    patience: Duration,
    at: Instant,
}

impl<W> Clone for MeekLog<W> {
    fn clone(&self) -> Self {
        Self { state: Arc::clone(&self.state), told: Arc::clone(&self.told) }
    }
}

impl<W> MeekLog<W> {
    pub(crate) fn new(out: W, told: impl Fn(u64) -> String + Send + Sync + 'static) -> Self {
        let state = State { out, left_out: 0, torn: false, patience: PATIENCE_MAX, at: Instant::now() };
        Self { state: Arc::new(Mutex::new(state)), told: Arc::new(told) }
    }
    /// One writer at a time: two that both find room for one line would wait for each other's.
    fn state(&self) -> MutexGuard<'_, State<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W: Write + AsFd> State<W> {
    /// Waits for room as long as patience lasts; not at all for a reader who has been given up.
    fn has_room(&mut self) -> bool {
        if self.left_out > 0 {
            return has_room(&self.out, Duration::ZERO);
        }
        if has_room(&self.out, Duration::ZERO) {
            return true;
        }
        let now = Instant::now();
        self.patience = PATIENCE_MAX.min(self.patience + (now - self.at) / PATIENCE_SHARE);
        let has_room = has_room(&self.out, self.patience);
        self.at = Instant::now();
        self.patience = self.patience.saturating_sub(self.at - now);
        has_room
    }
    /// Writes a piece, whole or not at all. Whether it went.
    fn put(&mut self, piece: &[u8]) -> io::Result<bool> {
        match self.out.write_all(piece) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
    /// Tells what was left out, if anything was. Whether lines can follow.
    fn catch_up(&mut self, told: &dyn Fn(u64) -> String) -> io::Result<bool> {
        if self.torn && !self.put(b"\n")? {
            return Ok(false);
        }
        self.torn = false;
        if self.left_out > 0 {
            if !self.put(told(self.left_out).as_bytes())? {
                return Ok(false);
            }
            self.left_out = 0;
        }
        Ok(true)
    }
}

impl<'a, W: Write + AsFd + 'a> MakeWriter<'a> for MeekLog<W> {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl<W: Write + AsFd> Write for MeekLog<W> {
    /// Takes a whole event, which is formatted before it comes here.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = self.state();
        if !state.has_room() || !state.catch_up(&*self.told)? {
            state.left_out += 1;
            return Ok(line.len());
        }
        for (at, piece) in line.chunks(PIECE_BYTES_MAX).enumerate() {
            // The first has been waited for.
            if at > 0 && !state.has_room() || !state.put(piece)? {
                (state.torn, state.left_out) = (at > 0, state.left_out + 1);
                break;
            }
        }
        Ok(line.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        self.state().out.flush()
    }
}

/// Whether `out` takes something within `time`. An error counts as room: the write tells it.
fn has_room(out: &impl AsFd, time: Duration) -> bool {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let time = Timespec { tv_sec: seconds, tv_nsec: time.subsec_nanos().into() };
    let mut fds = [PollFd::new(out, PollFlags::OUT)];
    !matches!(poll(&mut fds, Some(&time)), Ok(0))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;

    use super::*;

    fn pipe() -> (File, MeekLog<File>) {
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        (reader.into(), MeekLog::new(writer.into(), |count| format!("{count} left out\n")))
    }
    fn rest(mut reader: File, log: MeekLog<File>) -> String {
        drop(log);
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("read");
        text
    }

    #[test]
    fn lines_that_nobody_reads_are_left_out_whole_and_counted() {
        let (mut reader, mut log) = pipe();
        let line = format!("{}\n", "x".repeat(99));
        for _ in 0..2_000 {
            log.write_all(line.as_bytes()).expect("taken");
        }
        let left_out = log.state().left_out;
        assert!((1..2_000).contains(&left_out), "{left_out}");
        // Somebody reads: what comes from then on is told behind how many were lost.
        let mut before = vec![0; (2_000 - left_out as usize) * 100];
        reader.read_exact(&mut before).expect("whole lines");
        assert!(before.chunks(100).all(|chunk| chunk == line.as_bytes()));
        log.write_all(b"after\n").expect("taken");
        assert_eq!(rest(reader, log), format!("{left_out} left out\nafter\n"));
    }

    #[test]
    fn a_long_line_goes_out_whole_where_it_is_read() {
        let (reader, mut log) = pipe();
        let text = format!("{}\n", "y".repeat(50_000));
        log.write_all(text.as_bytes()).expect("taken");
        assert_eq!(rest(reader, log), text);
    }

    #[test]
    fn a_log_whose_reader_has_left_is_an_error_and_no_wait() {
        let (reader, mut log) = pipe();
        drop(reader);
        assert_eq!(log.write(b"x\n").expect_err("nobody reads").kind(), io::ErrorKind::BrokenPipe);
    }
}
