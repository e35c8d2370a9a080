//! Accepting: how many connections there may be, which loop gets the next, and what happens when descriptors run out.
//!
//! Connections that we have made ourselves come in by the same door.
use crate::control::Control;
use sotong_net::{
    listener::{AcceptBackoff, AcceptError, Listener},
    socket::Socket,
    wake::Waker,
};
use sotong_session::{Moment, Way};
use std::{
    collections::VecDeque,
    ops::ControlFlow,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// The places for connections, and how many each loop has taken.
#[derive(Debug)]
pub(crate) struct Places {
    /// Where connections have been made beforehand; `None` for a server.
    conversations: Option<Conversations>,
    taken: AtomicUsize,
    max: usize,
    loads: Box<[AtomicUsize]>,
    /// Rung when a place becomes free after there was none.
    door: Waker,
}

/// Connections that we have made, and that only wait for their sessions. When the last is over, so is the run.
#[derive(Debug)]
pub(crate) struct Conversations {
    streams: Mutex<VecDeque<(Socket, Way)>>,
    /// Those that have no session so far, over datagrams too.
    to_come: AtomicUsize,
    control: Arc<Control>,
    drain: Duration,
}

impl Conversations {
    /// `datagrams` of them are begun by [`Places::begin`], the others as if they were accepted.
    pub(crate) fn new(
        streams: VecDeque<(Socket, Way)>,
        datagrams: usize,
        control: Arc<Control>,
        drain: Duration,
    ) -> Self {
        let to_come = AtomicUsize::new(streams.len() + datagrams);
        Self { streams: Mutex::new(streams), to_come, control, drain }
    }
    fn streams(&self) -> MutexGuard<'_, VecDeque<(Socket, Way)>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place; dropped with the connection.
#[derive(Debug)]
pub(crate) struct Ticket {
    places: Arc<Places>,
    /// The loop that serves it: the one that had fewest.
    pub(crate) worker: usize,
}

impl Places {
    pub(crate) fn new(max: usize, workers: usize, door: Waker, conversations: Option<Conversations>) -> Arc<Self> {
        let loads = (0..workers).map(|_| AtomicUsize::new(0)).collect();
        Arc::new(Self { conversations, taken: AtomicUsize::new(0), max, loads, door })
    }
    /// A place for a conversation that we begin over datagrams.
    pub(crate) fn begin(self: &Arc<Self>) -> Option<Ticket> {
        let ticket = self.take()?;
        self.conversations.as_ref()?.to_come.fetch_sub(1, Ordering::SeqCst);
        Some(ticket)
    }
    /// The next connection that has been made and waits for its session, with its place.
    fn next(self: &Arc<Self>) -> Option<(Socket, Way, Ticket)> {
        let conversations = self.conversations.as_ref()?;
        let ticket = self.take()?;
        let (socket, way) = conversations.streams().pop_front()?;
        conversations.to_come.fetch_sub(1, Ordering::SeqCst);
        Some((socket, way, ticket))
    }
    fn has_next(&self) -> bool {
        self.conversations.as_ref().is_some_and(|conversations| !conversations.streams().is_empty())
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
        let before = self.places.taken.fetch_sub(1, Ordering::SeqCst);
        if before == self.places.max {
            self.places.door.wake();
        }
        // The count of those to come falls after the place is taken, so both are 0 only at the end.
        if before == 1
            && let Some(Conversations { to_come, control, drain, .. }) = &self.places.conversations
            && to_come.load(Ordering::SeqCst) == 0
        {
            control.drain(*drain);
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
    /// It is broken for good: a poll would only say so again and again.
    broken: bool,
}

/// Connections accepted in one turn of a loop: enough to empty a burst quickly, few enough to serve the others meanwhile.
const ACCEPTS_A_TURN: usize = 64;

impl Door {
    pub(crate) fn new(listeners: Vec<Listener>, places: Arc<Places>) -> Self {
        let entrances =
            listeners.into_iter().map(|listener| Entrance { listener, ready: false, broken: false }).collect();
        Self { entrances, places, backoff: AcceptBackoff::default(), pause: None, said_full: false }
    }
    pub(crate) fn listeners(&self) -> impl Iterator<Item = &Listener> {
        self.entrances.iter().map(|entrance| &entrance.listener)
    }
    /// Those that can be waited for, with their numbers.
    pub(crate) fn waited_for(&self) -> impl Iterator<Item = (usize, &Listener)> {
        let entrances = self.entrances.iter().enumerate();
        entrances.filter(|(_, entrance)| !entrance.broken).map(|(number, entrance)| (number, &entrance.listener))
    }
    /// Somebody waits at a listener.
    pub(crate) fn ready(&mut self, listener: usize) {
        if let Some(entrance) = self.entrances.get_mut(listener) {
            entrance.ready = !entrance.broken;
        }
    }
    /// Closes all listeners, and the connections that still wait for their sessions.
    pub(crate) fn close(&mut self) {
        self.entrances.clear();
        if let Some(conversations) = &self.places.conversations {
            conversations.streams().clear();
        }
    }
    /// Whether there is somebody to accept now.
    pub(crate) fn is_busy(&self, now: Moment) -> bool {
        self.accepts(now) && (self.entrances.iter().any(|entrance| entrance.ready) || self.places.has_next())
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
        while left > 0
            && let Some((socket, way, ticket)) = self.places.next()
        {
            left -= 1;
            if let Err(error) = socket.set_nonblocking(nonblocking) {
                tracing::error!(%error, "a connection is of no use");
                continue;
            }
            if welcome(socket, way, ticket).is_break() {
                return;
            }
        }
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
                        (entrance.ready, entrance.broken) = (false, true);
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

#[cfg(test)]
mod tests {
    use super::*;
    use sotong_net::{
        endpoint::Endpoint,
        listen::{Bound, ListenOptions, listen},
    };

    fn listener() -> Listener {
        let endpoint: Endpoint = "tcp://127.0.0.1:0".parse().unwrap();
        match listen(&[endpoint], &ListenOptions::default()).unwrap().remove(0) {
            Bound::Stream(listener) => listener,
            Bound::Datagrams(_) => unreachable!("TCP"),
        }
    }

    /// A listener that somebody else shuts down, who holds it too, reports for ever that there is something to accept.
    #[test]
    fn a_broken_listener_is_waited_for_no_more() {
        let places = Places::new(10, 1, Waker::new().unwrap(), None);
        let mut door = Door::new(vec![listener(), listener()], places);
        let broken = door.listeners().next().unwrap();
        rustix::net::shutdown(broken, rustix::net::Shutdown::Both).unwrap();
        let mut fds = [rustix::event::PollFd::new(broken, rustix::event::PollFlags::IN)];
        assert_eq!(rustix::event::poll(&mut fds, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(1));
        for _ in 0..2 {
            door.ready(0);
            door.accept(Moment::START, true, |_, _, _| unreachable!("nobody comes"));
            assert!(!door.is_busy(Moment::START));
            assert_eq!(door.waited_for().map(|(number, _)| number).collect::<Vec<_>>(), [1]);
        }
        assert_eq!(door.places.taken(), 0);
    }
}
