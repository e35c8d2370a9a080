//! Stopping: by signal or by code, noticed by flag or by descriptor.
//!
//! The first SIGTERM or SIGINT asks to drain, the second to leave at once; a third one ends the process by itself, should
//! whoever has to leave be stuck. One act may deliver a signal twice (`timeout`, signals its
//! command and then its group, which the command is in): the same signal within [`SAME_SIGNAL_TIME_MAX`] of the first is
//! the first. The first signal after code has begun a drain is that drain's, too. SIGPIPE stays ignored, as Rust starts every program: a broken pipe is an error of the call
//! that finds it.
use crate::wake::{event, hush, ring, wait_readable};
use signal_hook::{
    SigId,
    consts::{SIGHUP, SIGINT, SIGTERM},
    low_level,
};
use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicI32, AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// How long after the first signal the same one is taken for it: no person presses Ctrl-C twice in this time.
pub const SAME_SIGNAL_TIME_MAX: Duration = Duration::from_millis(50);

/// How far stopping has come. It only goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Nobody asked to stop.
    Running,
    /// Accept no more, tell the sessions, send what is queued, then leave.
    Draining,
    /// Leave at once.
    Leaving,
}

/// Asks a server to stop, and tells it so. Clones are the same; it may be waited for by any number of threads.
///
/// Without [`catch_signals`] it is moved by code alone, as in tests and in programs that embed a server.
#[derive(Clone, Debug)]
pub struct Stop {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    stage: AtomicU8,
    signal: AtomicI32,
    /// Milliseconds from `made` to the first signal.
    signalled_after: AtomicU64,
    made: Instant,
    draining: OwnedFd,
    leaving: OwnedFd,
}

impl Stop {
    /// Makes one that is [`Stage::Running`]. It holds two descriptors.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new() -> io::Result<Self> {
        let shared = Shared {
            stage: AtomicU8::new(Stage::Running as u8),
            signal: AtomicI32::new(0),
            signalled_after: AtomicU64::new(0),
            made: Instant::now(),
            draining: event()?,
            leaving: event()?,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Asks to drain; nothing if that was asked before.
    pub fn drain(&self) {
        self.advance(Stage::Draining);
    }
    /// Asks to leave at once.
    pub fn leave(&self) {
        self.advance(Stage::Leaving);
    }
    /// How far it has come. One atomic load.
    pub fn stage(&self) -> Stage {
        match self.shared.stage.load(Ordering::Acquire) {
            0 => Stage::Running,
            1 => Stage::Draining,
            _ => Stage::Leaving,
        }
    }
    /// Whether anybody asked to stop.
    pub fn is_stopping(&self) -> bool {
        self.stage() > Stage::Running
    }
    /// Becomes readable with [`Stage::Draining`], and stays so: poll it only until then. Nothing is to be read from it.
    pub fn draining_fd(&self) -> BorrowedFd<'_> {
        self.shared.draining.as_fd()
    }
    /// Becomes readable with [`Stage::Leaving`], and stays so. Nothing is to be read from it.
    pub fn leaving_fd(&self) -> BorrowedFd<'_> {
        self.shared.leaving.as_fd()
    }
    /// Waits for `stage`, at most `time_max` (`None`: as long as it takes). Whether it has come.
    pub fn wait_for(&self, stage: Stage, time_max: Option<Duration>) -> bool {
        match stage {
            Stage::Running => true,
            Stage::Draining => wait_readable(self.draining_fd(), time_max),
            Stage::Leaving => wait_readable(self.leaving_fd(), time_max),
        }
    }
    /// The last signal that moved it; `None` if it was moved by code.
    pub fn signal(&self) -> Option<i32> {
        Some(self.shared.signal.load(Ordering::Acquire)).filter(|&signal| signal != 0)
    }
    /// Ends this process as the signal that moved it would have without [`catch_signals`], so that whoever waits for it sees
    /// which (a shell: 130 or 143). Returns if it was moved by code.
    pub fn die_by_signal(&self) {
        if let Some(signal) = self.signal() {
            let _ = low_level::emulate_default_handler(signal);
        }
    }

    /// Called by a signal handler: only atomics, clock_gettime(2) and write(2).
    fn signalled(&self, signal: i32) {
        self.signalled_at(signal, self.shared.made.elapsed());
    }
    /// `at` is counted from when it was made.
    fn signalled_at(&self, signal: i32, at: Duration) {
        let at = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        let before = self.shared.signal.swap(signal, Ordering::AcqRel);
        let first = self.shared.signalled_after.load(Ordering::Acquire);
        let is_same = before == signal && Duration::from_millis(at.saturating_sub(first)) < SAME_SIGNAL_TIME_MAX;
        match self.stage() {
            Stage::Running => {
                self.shared.signalled_after.store(at, Ordering::Release);
                self.drain();
            }
            Stage::Draining if is_same => {}
            // It drains already, told by code: this signal says the same. A process that is told of a signal by another may
            // get that signal itself a moment later, where both are in one group.
            Stage::Draining if before == 0 => self.shared.signalled_after.store(at, Ordering::Release),
            Stage::Draining => self.leave(),
            Stage::Leaving => self.die_by_signal(),
        }
    }
    fn advance(&self, to: Stage) {
        let before = self.shared.stage.fetch_max(to as u8, Ordering::AcqRel);
        if before < Stage::Draining as u8 {
            ring(&self.shared.draining);
        }
        if to == Stage::Leaving {
            ring(&self.shared.leaving);
        }
    }
}

/// Signals do what they were caught for until this is dropped.
#[derive(Debug)]
#[must_use = "dropping it lets go of the signals"]
pub struct CaughtSignals {
    ids: Vec<SigId>,
}

/// Lets SIGTERM and SIGINT move `stop`, also where the parent had them ignored (a shell's background jobs).
///
/// # Errors
/// As the system reports them.
#[allow(unsafe_code, reason = "a signal handler must do only what is safe in one")]
pub fn catch_signals(stop: &Stop) -> io::Result<CaughtSignals> {
    let mut caught = CaughtSignals { ids: Vec::new() };
    for signal in [SIGTERM, SIGINT] {
        let stop = stop.clone();
        // SAFETY: the handler uses atomics, clock_gettime(2), write(2), and emulate_default_handler, which is made for use in handlers; it
        // neither allocates nor locks. It is freed by unregister, outside of handlers.
        caught.ids.push(unsafe { low_level::register(signal, move || stop.signalled(signal)) }?);
    }
    Ok(caught)
}

/// Asks a server to replace its workers by new ones. Clones are the same.
///
/// Without [`catch_hangup`] it is asked by code alone.
#[derive(Clone, Debug)]
pub struct Renew {
    asked: Arc<OwnedFd>,
}

impl Renew {
    /// Makes one that nobody has asked. It holds a descriptor.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new() -> io::Result<Self> {
        Ok(Self { asked: Arc::new(event()?) })
    }
    /// Asks. Asked several times before it is taken, it is asked once.
    pub fn ask(&self) {
        ring(&self.asked);
    }
    /// Whether it was asked since this was called last.
    pub fn take(&self) -> bool {
        hush(&self.asked) > 0
    }
    /// Can be read while it is asked and not taken. Nothing is to be read from it.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.asked.as_fd()
    }
}

/// Lets SIGHUP ask `renew`, until what is returned is dropped. With `None`, SIGHUP does nothing meanwhile.
///
/// # Errors
/// As the system reports them.
#[allow(unsafe_code, reason = "a signal handler must do only what is safe in one")]
pub fn catch_hangup(renew: Option<&Renew>) -> io::Result<CaughtSignals> {
    let renew = renew.cloned();
    let act = move || {
        if let Some(renew) = &renew {
            renew.ask();
        }
    };
    // SAFETY: the handler uses write(2) alone; it is freed by unregister, outside of handlers.
    let id = unsafe { low_level::register(SIGHUP, act) }?;
    Ok(CaughtSignals { ids: vec![id] })
}

impl Drop for CaughtSignals {
    fn drop(&mut self) {
        for id in self.ids.drain(..) {
            low_level::unregister(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    const HANG: Duration = Duration::from_secs(20);

    #[test]
    fn it_only_goes_forward_and_stays_readable() {
        let stop = Stop::new().unwrap();
        assert_eq!((stop.stage(), stop.is_stopping()), (Stage::Running, false));
        assert!(stop.wait_for(Stage::Running, None));
        assert!(!stop.wait_for(Stage::Draining, Some(Duration::ZERO)));
        stop.clone().drain();
        stop.drain();
        assert_eq!(stop.stage(), Stage::Draining);
        assert!(stop.wait_for(Stage::Draining, None) && stop.wait_for(Stage::Draining, None));
        assert!(!stop.wait_for(Stage::Leaving, Some(Duration::from_millis(1))));
        stop.leave();
        stop.drain();
        assert_eq!(stop.stage(), Stage::Leaving);
        assert!(stop.wait_for(Stage::Leaving, None));
        assert_eq!(stop.signal(), None);
        stop.die_by_signal();
    }

    #[test]
    fn leaving_at_once_is_draining_too() {
        let stop = Stop::new().unwrap();
        stop.leave();
        assert!(stop.wait_for(Stage::Draining, Some(Duration::ZERO)));
    }

    #[test]
    fn every_waiting_thread_is_told() {
        let stop = Stop::new().unwrap();
        let waiting: Vec<_> = (0..4)
            .map(|_| {
                let stop = stop.clone();
                thread::spawn(move || stop.wait_for(Stage::Draining, Some(HANG)))
            })
            .collect();
        stop.drain();
        assert!(waiting.into_iter().all(|thread| thread.join().unwrap()));
    }

    #[test]
    fn the_first_signal_drains_and_the_second_leaves() {
        let stop = Stop::new().unwrap();
        let caught = catch_signals(&stop).unwrap();
        low_level::raise(SIGTERM).unwrap();
        assert!(stop.wait_for(Stage::Draining, Some(HANG)));
        assert_eq!((stop.stage(), stop.signal()), (Stage::Draining, Some(SIGTERM)));
        low_level::raise(SIGINT).unwrap();
        assert!(stop.wait_for(Stage::Leaving, Some(HANG)));
        assert_eq!(stop.signal(), Some(SIGINT));
        drop(caught);
    }

    #[test]
    fn a_signal_delivered_twice_by_one_act_is_one() {
        let stop = Stop::new().unwrap();
        let first = Duration::from_secs(3600);
        stop.signalled_at(SIGTERM, first);
        stop.signalled_at(SIGTERM, first + SAME_SIGNAL_TIME_MAX / 2);
        assert_eq!((stop.stage(), stop.signal()), (Stage::Draining, Some(SIGTERM)));
        stop.signalled_at(SIGTERM, first + SAME_SIGNAL_TIME_MAX);
        assert_eq!(stop.stage(), Stage::Leaving);
        let stop = Stop::new().unwrap();
        stop.signalled_at(SIGTERM, first);
        stop.signalled_at(SIGINT, first);
        assert_eq!(stop.stage(), Stage::Leaving, "another signal is another act");
    }

    #[test]
    fn a_signal_behind_a_drain_that_code_began_says_the_same() {
        let stop = Stop::new().unwrap();
        let first = Duration::from_secs(3600);
        stop.drain();
        stop.signalled_at(SIGINT, first);
        stop.signalled_at(SIGINT, first + SAME_SIGNAL_TIME_MAX / 2);
        assert_eq!((stop.stage(), stop.signal()), (Stage::Draining, Some(SIGINT)));
        stop.signalled_at(SIGINT, first + SAME_SIGNAL_TIME_MAX);
        assert_eq!(stop.stage(), Stage::Leaving);
    }

    #[test]
    fn a_hangup_asks_once_or_nothing() {
        let renew = Renew::new().unwrap();
        assert!(!renew.take());
        let nothing = catch_hangup(None).unwrap();
        low_level::raise(SIGHUP).unwrap();
        drop(nothing);
        assert!(!renew.take());
        let caught = catch_hangup(Some(&renew)).unwrap();
        low_level::raise(SIGHUP).unwrap();
        low_level::raise(SIGHUP).unwrap();
        assert!(wait_readable(renew.fd(), Some(HANG)));
        assert!(renew.take() && !renew.take());
        drop(caught);
    }

    /// Runs in a child of [`whoever_dies_by_a_signal_is_seen_to`], and is nothing by itself.
    #[test]
    fn child_that_is_signalled() {
        let Ok(times) = std::env::var("SOTONG_TEST_SIGNALS") else { return };
        let stop = Stop::new().unwrap();
        let _caught = catch_signals(&stop).unwrap();
        for _ in 0..times.parse().unwrap() {
            low_level::raise(SIGTERM).unwrap();
            thread::sleep(SAME_SIGNAL_TIME_MAX * 2);
        }
        if stop.stage() == Stage::Leaving {
            stop.die_by_signal();
        }
    }

    #[test]
    fn whoever_dies_by_a_signal_is_seen_to() {
        use std::os::unix::process::ExitStatusExt as _;
        for (times, signal) in [("1", None), ("2", Some(SIGTERM)), ("3", Some(SIGTERM))] {
            let status = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "signals::tests::child_that_is_signalled"])
                .env("SOTONG_TEST_SIGNALS", times)
                .stdout(std::process::Stdio::null())
                .status()
                .unwrap();
            assert_eq!(status.signal(), signal, "{times}");
        }
    }
}
