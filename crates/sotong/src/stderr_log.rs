//! Standard error as a log: a reader who is slow, or does not read at all, costs log lines and never a connection.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing_subscriber::fmt::MakeWriter;

/// Bytes that a pipe which says that there is room takes without waiting (PIPE_BUF, pipe(7)).
const PIECE_BYTES_MAX: usize = 4096;
/// How long the rest of a line that is longer than that is waited for, milliseconds.
const REST_TIME_MAX: i64 = 100;

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
}

impl<W> Clone for MeekLog<W> {
    fn clone(&self) -> Self {
        Self { state: Arc::clone(&self.state), told: Arc::clone(&self.told) }
    }
}

impl<W> MeekLog<W> {
    pub(crate) fn new(out: W, told: impl Fn(u64) -> String + Send + Sync + 'static) -> Self {
        Self { state: Arc::new(Mutex::new(State { out, left_out: 0, torn: false })), told: Arc::new(told) }
    }
    /// One writer at a time: two that both find room for one line would wait for each other's.
    fn state(&self) -> MutexGuard<'_, State<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        if !has_room(&state.out, 0) {
            state.left_out += 1;
            return Ok(line.len());
        }
        if std::mem::take(&mut state.torn) {
            state.out.write_all(b"\n")?;
        }
        if state.left_out > 0 {
            let count = std::mem::take(&mut state.left_out);
            state.out.write_all((self.told)(count).as_bytes())?;
            if !has_room(&state.out, 0) {
                state.left_out = 1;
                return Ok(line.len());
            }
        }
        for (at, piece) in line.chunks(PIECE_BYTES_MAX).enumerate() {
            if at > 0 && !has_room(&state.out, REST_TIME_MAX) {
                (state.torn, state.left_out) = (true, state.left_out + 1);
                break;
            }
            state.out.write_all(piece)?;
        }
        Ok(line.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        self.state().out.flush()
    }
}

/// Whether `out` takes a piece within `millis`. An error counts as room: the write tells it.
fn has_room(out: &impl AsFd, millis: i64) -> bool {
    let time = Timespec { tv_sec: millis / 1000, tv_nsec: millis % 1000 * 1_000_000 };
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
