//! Stopping: every loop is told once, and has the drain limit to say goodbye.
use crate::ServeError;
use rustix::event::{PollFd, PollFlags, poll};
use sotong_net::{
    clock::Clock,
    signals::{Stage, Stop},
    wake::Waker,
};
use sotong_session::Moment;
use std::{
    os::fd::AsFd,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

/// What the loops of one server are told.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) clock: Clock,
    stage: AtomicU8,
    /// When the drain ends, in nanoseconds of the clock; meant from stage `DRAINING` on.
    drain_until: AtomicU64,
    retired: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
}

const SERVING: u8 = 0;
const DRAINING: u8 = 1;
const LEAVING: u8 = 2;

/// What a loop is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Serve.
    Serve,
    /// Accept nothing, tell the sessions, and end when all are gone or at this moment.
    Drain(Moment),
    /// End at once.
    Leave,
}

impl Control {
    pub(crate) fn new(clock: Clock) -> Self {
        let (stage, drain_until) = (AtomicU8::new(SERVING), AtomicU64::new(0));
        Self { clock, stage, drain_until, retired: AtomicBool::new(false), wakers: Mutex::new(Vec::new()) }
    }
    /// A loop's waker is rung at every change of stage from here on.
    pub(crate) fn listen(&self, waker: &Waker) {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner).push(waker.clone());
    }
    pub(crate) fn order(&self) -> Order {
        match self.stage.load(Ordering::SeqCst) {
            SERVING => Order::Serve,
            DRAINING => Order::Drain(Moment::START + Duration::from_nanos(self.drain_until.load(Ordering::SeqCst))),
            _ => Order::Leave,
        }
    }
    /// Somebody else takes what comes from here on: serve those who are there as if nothing were, and be done when they are.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
        self.ring();
    }
    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::SeqCst)
    }
    /// Stop accepting, tell the sessions, and be done within `drain`.
    pub(crate) fn drain(&self, drain: Duration) {
        // Asked again, the limit still counts from the first time.
        if self.stage.load(Ordering::SeqCst) != SERVING {
            return;
        }
        let until = (self.clock.now() + drain).since(Moment::START);
        self.drain_until.store(u64::try_from(until.as_nanos()).unwrap_or(u64::MAX), Ordering::SeqCst);
        let _ = self.stage.compare_exchange(SERVING, DRAINING, Ordering::SeqCst, Ordering::SeqCst);
        self.ring();
    }
    /// Be gone.
    pub(crate) fn leave(&self) {
        self.stage.store(LEAVING, Ordering::SeqCst);
        self.ring();
    }
    fn ring(&self) {
        for waker in self.wakers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            waker.wake();
        }
    }
}

/// Waits until `stop` goes beyond `obeyed`, or until `bell` rings.
///
/// `obeyed` is what the caller has acted on: where `stop` is by now could be further already, and would be waited past.
/// The waker's sleep is announced by the caller.
pub(crate) fn wait(stop: &Stop, obeyed: Stage, bell: &Waker) -> Result<(), ServeError> {
    let bell = PollFd::from_borrowed_fd(bell.as_fd(), PollFlags::IN);
    let result = match obeyed {
        Stage::Running => poll(&mut [bell, PollFd::from_borrowed_fd(stop.draining_fd(), PollFlags::IN)], None),
        Stage::Draining => poll(&mut [bell, PollFd::from_borrowed_fd(stop.leaving_fd(), PollFlags::IN)], None),
        Stage::Leaving => poll(&mut [bell], None),
    };
    match result {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(errno) => Err(ServeError::System { what: "poll", source: errno.into() }),
    }
}
