//! Standard input for many conversations: what is typed goes to everybody who is there.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, read, write};
use rustix::pipe::{PipeFlags, pipe_with};
use sotong_net::pump::Source;

/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;
/// How long one conversation that takes nothing may hold up the others, before it gets no more input.
const HOLD_TIME_MAX: Duration = Duration::from_secs(10);

/// Standard input, read only while somebody is there: what is typed before waits.
pub(super) struct Typed {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    seats: Vec<(u64, Arc<OwnedFd>)>,
    taken: u64,
    input: Input,
}

#[derive(Default, PartialEq, Eq)]
enum Input {
    #[default]
    Untouched,
    Read,
    Ended,
}

/// A conversation's place among those who hear what is typed; given up when dropped.
pub(super) struct Seat {
    typed: Arc<Typed>,
    number: u64,
    source: Option<Source>,
}

impl Typed {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), changed: Condvar::new() })
    }

    /// A place for one more conversation, which hears what is typed from then on; the end at once if that has come.
    pub(super) fn join(self: &Arc<Self>) -> io::Result<Seat> {
        let mut state = self.lock();
        state.taken += 1;
        let number = state.taken;
        let source = if state.input == Input::Ended {
            Source::bytes(Vec::new())
        } else {
            let (outlet, inlet) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
            state.seats.push((number, Arc::new(inlet)));
            Source::owned(outlet)?
        };
        let seat = Seat { typed: self.clone(), number, source: Some(source) };
        let first = state.input == Input::Untouched;
        if first {
            state.input = Input::Read;
        }
        // A seat that is given up takes the lock.
        drop(state);
        if first {
            let typed = self.clone();
            let started = thread::Builder::new().name("typed".to_owned()).spawn(move || typed.pass_on());
            if let Err(fault) = started {
                self.lock().input = Input::Untouched;
                return Err(fault);
            }
        }
        self.changed.notify_all();
        Ok(seat)
    }

    /// Reads to the end, and writes to everybody.
    fn pass_on(&self) {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            drop(self.somebody());
            let count = match read(rustix::stdio::stdin(), &mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => {
                    let _ = poll(&mut [PollFd::from_borrowed_fd(rustix::stdio::stdin(), PollFlags::IN)], None);
                    continue;
                }
                Err(errno) => {
                    tracing::error!(%errno, "standard input cannot be read");
                    break;
                }
            };
            // Everybody may have left meanwhile: then it is for whoever comes next.
            let seats = self.somebody().seats.clone();
            for (number, inlet) in seats {
                if !put(&inlet, &buffer[..count]) {
                    self.leave(number);
                }
            }
        }
        let mut state = self.lock();
        state.input = Input::Ended;
        state.seats.clear();
    }

    fn somebody(&self) -> MutexGuard<'_, State> {
        let nobody = |state: &mut State| state.seats.is_empty();
        self.changed.wait_while(self.lock(), nobody).unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, number: u64) {
        self.lock().seats.retain(|(seat, _)| *seat != number);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// What is typed, as a pump takes it; nothing the second time.
    pub(super) fn source(&mut self) -> Source {
        self.source.take().unwrap_or_else(|| Source::bytes(Vec::new()))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.typed.leave(self.number);
    }
}

/// Writes all of `bytes`. `false` if the conversation is over, or takes nothing for too long.
fn put(inlet: &OwnedFd, mut bytes: &[u8]) -> bool {
    let mut until = Instant::now() + HOLD_TIME_MAX;
    while !bytes.is_empty() {
        match write(inlet, bytes) {
            Ok(count) => {
                bytes = &bytes[count..];
                until = Instant::now() + HOLD_TIME_MAX;
            }
            Err(Errno::AGAIN) => {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    tracing::warn!("a connection that takes nothing gets no more input");
                    return false;
                }
                let limit = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
                let _ = poll(&mut [PollFd::new(inlet, PollFlags::OUT)], Some(&limit));
            }
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{Catalogue, Lang};
    use crate::units::Span;

    #[test]
    fn help_tells_how_long_one_may_hold_up_the_others() {
        for lang in [Lang::En, Lang::Ko] {
            let help = Catalogue::new(lang).find("arg-keep-open").expect("there");
            assert!(help.contains(&Span(HOLD_TIME_MAX).to_string()), "{help}");
        }
    }
}
