//! Accepting: how many connections there may be, which loop gets the next, and what happens when descriptors run out.
use sotong_net::{
    listener::{AcceptBackoff, AcceptError, Listener},
    socket::Socket,
    wake::Waker,
};
use sotong_session::{Moment, Way};
use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// The places for connections, and how many each loop has taken.
#[derive(Debug)]
pub(crate) struct Places {
    taken: AtomicUsize,
    max: usize,
    loads: Box<[AtomicUsize]>,
    /// Rung when a place becomes free after there was none.
    door: Waker,
}

/// A connection's place; dropped with the connection.
#[derive(Debug)]
pub(crate) struct Ticket {
    places: Arc<Places>,
    /// The loop that serves it: the one that had fewest.
    pub(crate) worker: usize,
}

impl Places {
    pub(crate) fn new(max: usize, workers: usize, door: Waker) -> Arc<Self> {
        let loads = (0..workers).map(|_| AtomicUsize::new(0)).collect();
        Arc::new(Self { taken: AtomicUsize::new(0), max, loads, door })
    }
    /// Connections that are open.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }
    fn take(self: &Arc<Self>) -> Option<Ticket> {
        let room = |taken: usize| (taken < self.max).then_some(taken + 1);
        self.taken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, room).ok()?;
        let loads = self.loads.iter().map(|load| load.load(Ordering::Relaxed));
        let (worker, _) = loads.enumerate().min_by_key(|(_, load)| *load)?;
        self.loads[worker].fetch_add(1, Ordering::Relaxed);
        Some(Ticket { places: Arc::clone(self), worker })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.places.loads[self.worker].fetch_sub(1, Ordering::Relaxed);
        if self.places.taken.fetch_sub(1, Ordering::SeqCst) == self.places.max {
            self.places.door.wake();
        }
    }
}

/// The listeners of a server, and when to accept on them.
pub(crate) struct Door {
    entrances: Vec<Entrance>,
    places: Arc<Places>,
    backoff: AcceptBackoff,
    /// Accept nothing before: descriptors have run out.
    pause: Option<Moment>,
    said_full: bool,
}

struct Entrance {
    listener: Listener,
    /// Somebody may be waiting.
    ready: bool,
}

/// Connections accepted in one turn of a loop: enough to empty a burst quickly, few enough to serve the others meanwhile.
const ACCEPTS_A_TURN: usize = 64;

impl Door {
    pub(crate) fn new(listeners: Vec<Listener>, places: Arc<Places>) -> Self {
        let entrances = listeners.into_iter().map(|listener| Entrance { listener, ready: false }).collect();
        Self { entrances, places, backoff: AcceptBackoff::default(), pause: None, said_full: false }
    }
    pub(crate) fn listeners(&self) -> impl Iterator<Item = &Listener> {
        self.entrances.iter().map(|entrance| &entrance.listener)
    }
    /// Somebody waits at a listener.
    pub(crate) fn ready(&mut self, listener: usize) {
        if let Some(entrance) = self.entrances.get_mut(listener) {
            entrance.ready = true;
        }
    }
    /// Closes all listeners.
    pub(crate) fn close(&mut self) {
        self.entrances.clear();
    }
    /// Whether there is somebody to accept now.
    pub(crate) fn is_busy(&self, now: Moment) -> bool {
        self.accepts(now) && self.entrances.iter().any(|entrance| entrance.ready)
    }
    /// When a pause ends; it may be past.
    pub(crate) fn pause(&self) -> Option<Moment> {
        self.pause
    }
    /// Whether connections are accepted at all at `now`: there is a free place, and no pause.
    pub(crate) fn accepts(&self, now: Moment) -> bool {
        self.places.taken() < self.places.max && !self.is_paused(now)
    }
    /// Whether nothing is accepted at `now` because descriptors have run out.
    pub(crate) fn is_paused(&self, now: Moment) -> bool {
        self.pause.is_some_and(|until| until > now)
    }
    /// Accepts some of those who wait; `welcome` gets each with its place, and says whether to go on.
    pub(crate) fn accept(
        &mut self,
        now: Moment,
        nonblocking: bool,
        mut welcome: impl FnMut(Socket, Way, Ticket) -> ControlFlow<()>,
    ) {
        if self.is_paused(now) {
            return;
        }
        self.pause = None;
        let mut left = ACCEPTS_A_TURN;
        for entrance in self.entrances.iter_mut().filter(|entrance| entrance.ready) {
            while left > 0 {
                let Some(ticket) = self.places.take() else {
                    if !std::mem::replace(&mut self.said_full, true) {
                        let max = self.places.max;
                        tracing::warn!(max, "all places are taken: new connections wait until one is free");
                    }
                    return;
                };
                left -= 1;
                match entrance.listener.accept(nonblocking) {
                    Ok((socket, way)) => {
                        if self.backoff.succeeded() {
                            tracing::info!("accepting again");
                        }
                        if welcome(socket, way, ticket).is_break() {
                            return;
                        }
                    }
                    Err(AcceptError::NotNow) => {
                        entrance.ready = false;
                        break;
                    }
                    Err(AcceptError::Broken(kind)) => {
                        tracing::debug!(%kind, "a connection broke before it was accepted");
                    }
                    Err(error @ AcceptError::Exhausted(_)) => {
                        self.pause = Some(exhausted(&mut self.backoff, now, &error));
                        return;
                    }
                    Err(error @ AcceptError::Fatal(_)) => {
                        tracing::error!(%error, address = %entrance.listener.endpoint(), "cannot accept any more");
                        entrance.ready = false;
                        break;
                    }
                }
            }
        }
        self.said_full &= self.places.taken() * 10 >= self.places.max * 9;
    }
    /// A connection could not be served for want of memory or threads: as when descriptors run out.
    pub(crate) fn exhausted(&mut self, now: Moment, error: &dyn std::fmt::Display) {
        self.pause = Some(exhausted(&mut self.backoff, now, error));
    }
}

fn exhausted(backoff: &mut AcceptBackoff, now: Moment, error: &dyn std::fmt::Display) -> Moment {
    let pause = backoff.failed(now);
    if pause.say {
        tracing::warn!(%error, "cannot accept for now: new connections wait, the others are served");
    }
    pause.until
}
