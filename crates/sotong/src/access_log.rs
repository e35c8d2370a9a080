//! The access log of `sotong web`: lines to a file or to standard error, written by a thread of its own.
//!
//! Who logs only adds to a buffer. Where the file takes nothing, lines are lost and counted; a server never waits for it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use sotong_http::site::{AccessLog, Visit};

use crate::cli::AccessFormat;

/// Bytes that wait to be written: beyond them, lines are lost.
const WAITING_BYTES_MAX: usize = 1 << 20;
/// How long the end waits for what has been logged to be written.
const END_TIME_MAX: Duration = Duration::from_secs(1);

/// Logs requests.
#[derive(Debug)]
pub(crate) struct Logger {
    shared: Arc<Shared>,
    format: AccessFormat,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: String,
    lost: u64,
    /// The thread has taken lines that are not written yet.
    is_writing: bool,
    is_over: bool,
}

impl Logger {
    /// Appends to the file at `path`; `-` is standard error.
    ///
    /// # Errors
    /// The file cannot be opened, or there is no thread for it.
    pub(crate) fn open(path: &Path, format: AccessFormat) -> io::Result<Self> {
        let to = match path.to_str() {
            // A descriptor of its own: whoever else writes to standard error does not wait for this thread.
            Some("-") => File::from(io::stderr().as_fd().try_clone_to_owned()?),
            _ => OpenOptions::new().append(true).create(true).open(path)?,
        };
        let shared = Arc::<Shared>::default();
        let its = Arc::clone(&shared);
        thread::Builder::new().name("access-log".to_owned()).spawn(move || its.write(to))?;
        Ok(Self { shared, format })
    }
    /// Writes what waits, if that takes no longer than a second.
    pub(crate) fn finish(&self) {
        let mut state = self.shared.lock();
        state.is_over = true;
        self.shared.news.notify_all();
        let until = Instant::now() + END_TIME_MAX;
        while !state.waiting.is_empty() || state.is_writing {
            let Some(left) = until.checked_duration_since(Instant::now()) else { return };
            state = self.shared.news.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl AccessLog for Logger {
    fn log(&self, visit: &Visit<'_>) {
        let mut state = self.shared.lock();
        if state.waiting.len() > WAITING_BYTES_MAX {
            state.lost += 1;
            return;
        }
        match self.format {
            AccessFormat::Common => visit.write_common(&mut state.waiting),
            AccessFormat::Json => visit.write_json(&mut state.waiting),
        }
        let must_ring = !state.is_writing;
        drop(state);
        if must_ring {
            self.shared.news.notify_all();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Writes what waits, until the end.
    fn write(&self, mut to: File) {
        let mut lines = String::new();
        loop {
            let mut state = self.lock();
            state.is_writing = false;
            self.news.notify_all();
            while state.waiting.is_empty() {
                if state.is_over {
                    return;
                }
                state = self.news.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.is_writing = true;
            lines.clear();
            std::mem::swap(&mut state.waiting, &mut lines);
            let lost = std::mem::take(&mut state.lost);
            drop(state);
            if lost > 0 {
                tracing::warn!(lost, "access log lines lost: nobody takes them");
            }
            if let Err(error) = to.write_all(lines.as_bytes()) {
                tracing::warn!(%error, "the access log cannot be written");
            }
        }
    }
}
