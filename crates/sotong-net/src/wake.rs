//! Waking a shard that sleeps in the kernel.
//!
//! Whether it sleeps is known to [`sotong_shard::Exchange`]: a shard that works sees its inbox at its next turn, so only one
//! that has announced its sleep is woken, and only once for each sleep. The driver's part:
//!
//! 1. Announce the sleep, by the shard's own call for it. If that says that something has come meanwhile, work on.
//! 2. Poll, with the waker's descriptor among what is polled.
//! 3. If the descriptor was readable, call [`Waker::hush`]; **then** empty the inbox. The other way round, a wake between the
//!    two would be thrown away with its mail unseen. (A descriptor polled edge-triggered needs no hushing: each wake is an
//!    edge.)
use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    io::{Errno, read, write},
};
use sotong_shard::Wake;
use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    sync::Arc,
    time::{Duration, Instant},
};

/// Wakes one shard. Clones wake the same one; there is one descriptor for all of them.
#[derive(Clone, Debug)]
pub struct Waker {
    event: Arc<OwnedFd>,
}

impl Waker {
    /// Makes the waker of one shard.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new() -> io::Result<Self> {
        Ok(Self { event: Arc::new(event()?) })
    }
    /// Makes the descriptor readable, until it is hushed. One system call.
    pub fn wake(&self) {
        ring(&self.event);
    }
    /// Makes the descriptor silent. Whether it was readable.
    pub fn hush(&self) -> bool {
        hush(&self.event) > 0
    }
    /// Sleeps until woken, at most `time_max`: for threads that wait for nothing else. Whether it was woken; it stays
    /// readable until hushed.
    pub fn sleep(&self, time_max: Duration) -> bool {
        wait_readable(self.as_fd(), Some(time_max))
    }
}

impl Wake for Waker {
    fn wake(&self) {
        ring(&self.event);
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

impl AsRawFd for Waker {
    fn as_raw_fd(&self) -> RawFd {
        self.event.as_raw_fd()
    }
}

/// A descriptor that becomes readable by [`ring`] and silent by [`hush`].
pub(crate) fn event() -> io::Result<OwnedFd> {
    Ok(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)
}

/// Makes an [`event`] readable. Nothing but a system call: fit for a signal handler.
pub(crate) fn ring(event: &OwnedFd) {
    // EAGAIN means that it is readable already; nothing else can go wrong with an event of our own.
    while write(event, &1u64.to_ne_bytes()) == Err(Errno::INTR) {}
}

/// Makes an [`event`] silent; how often it was rung.
pub(crate) fn hush(event: &OwnedFd) -> u64 {
    let mut count = [0; 8];
    while read(event, &mut count) == Err(Errno::INTR) {}
    u64::from_ne_bytes(count)
}

/// Waits until `fd` can be read, at most `time_max` (`None`: as long as it takes). Whether it can.
pub(crate) fn wait_readable(fd: BorrowedFd<'_>, time_max: Option<Duration>) -> bool {
    let until = time_max.map(|time| Instant::now() + time);
    loop {
        let left = until.map(|at| at.saturating_duration_since(Instant::now()));
        let left = left.map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        });
        match poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], left.as_ref()) {
            Err(Errno::INTR) => {}
            Ok(count) => return count > 0,
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::atomic::{AtomicU32, Ordering},
        thread,
    };

    const HANG: Duration = Duration::from_secs(20);

    #[test]
    fn many_wakes_are_one_and_last_until_hushed() {
        let waker = Waker::new().unwrap();
        assert!(!waker.sleep(Duration::ZERO));
        assert!(!waker.hush());
        waker.clone().wake();
        Wake::wake(&waker);
        assert!(waker.sleep(Duration::ZERO) && waker.sleep(Duration::ZERO));
        assert!(waker.hush());
        assert!(!waker.sleep(Duration::from_millis(1)));
    }

    #[test]
    fn no_wake_is_lost_between_two_threads() {
        const ROUNDS: u32 = 5_000;
        let waker = Waker::new().unwrap();
        let (sent, seen) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let sender = {
            let (waker, sent, seen) = (waker.clone(), sent.clone(), seen.clone());
            thread::spawn(move || {
                for round in 1..=ROUNDS {
                    sent.store(round, Ordering::Release);
                    waker.wake();
                    let start = Instant::now();
                    while seen.load(Ordering::Acquire) < round {
                        assert!(start.elapsed() < HANG, "a wake was lost in round {round}");
                        thread::yield_now();
                    }
                }
            })
        };
        while seen.load(Ordering::Relaxed) < ROUNDS {
            assert!(waker.sleep(HANG), "a wake was lost");
            waker.hush();
            seen.store(sent.load(Ordering::Acquire), Ordering::Release);
        }
        sender.join().unwrap();
    }
}
