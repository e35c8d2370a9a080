//! Accepting: how many connections there may be, which loop gets the next, and what happens when descriptors run out.
//!
//! Connections that we have made ourselves come in by the same door.
use crate::{board::Share, control::Control};
use rustix::io::Errno;
use sotong_net::{
    listen::BACKLOG,
    listener::{AcceptBackoff, AcceptError, Listener},
    socket::Socket,
    wake::Waker,
};
use sotong_session::{Moment, Way};
use std::{
    collections::VecDeque,
    ops::ControlFlow,
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
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
    /// What the other processes of the server are told, and tell.
    share: Option<Share>,
    /// Rung when a place becomes free after there was none.
    door: Waker,
    /// Bytes that wait in memory for all connections, and at how many nobody comes in; set once there are shards.
    memory: OnceLock<(Arc<AtomicUsize>, usize)>,
}

/// So many bytes wait in memory as [`sotong_session::Limits::memory_full`] says.
#[derive(Debug, thiserror::Error)]
#[error("too much waits in memory for connections that do not read")]
struct MemoryFull;

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
    pub(crate) fn new(max: usize, workers: usize, door: Waker, conversations: Option<Conversations>) -> Self {
        let loads = (0..workers).map(|_| AtomicUsize::new(0)).collect();
        Self { conversations, taken: AtomicUsize::new(0), max, loads, share: None, door, memory: OnceLock::new() }
    }
    /// Nobody comes in while more than `full` bytes wait in memory. Once.
    pub(crate) fn bound_memory(&self, waiting: Arc<AtomicUsize>, full: usize) {
        let _ = self.memory.set((waiting, full));
    }
    fn is_memory_full(&self) -> bool {
        self.memory.get().is_some_and(|(waiting, full)| waiting.load(Ordering::Relaxed) > *full)
    }
    /// Those of one process of several, each of which accepts for itself.
    pub(crate) fn shared(mut self, share: Option<Share>) -> Self {
        if let Some(share) = &share {
            share.open(self.max);
        }
        self.share = share;
        self
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
        if let Some(share) = &self.share {
            share.add();
        }
        Some(Ticket { places: Arc::clone(self), worker })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.places.loads[self.worker].fetch_sub(1, Ordering::Relaxed);
        if let Some(share) = &self.places.share {
            share.sub();
        }
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
    /// Whose turn it is to be accepted from first, so that a busy listener does not shut the others out.
    first: usize,
    /// Until then those who wait are left to other processes, which have fewer.
    yielding: Option<Moment>,
}

struct Entrance {
    listener: Listener,
    /// The kernel accepts by itself.
    kernel_accepts: bool,
    /// Whom it has accepted, or why it cannot: they wait here for their places.
    accepted: VecDeque<Result<OwnedFd, Errno>>,
    /// Somebody may be waiting.
    ready: bool,
    /// It is broken for good: a poll would only say so again and again.
    broken: bool,
}

impl Entrance {
    fn new(listener: Listener) -> Self {
        Self { listener, kernel_accepts: false, accepted: VecDeque::new(), ready: false, broken: false }
    }
    fn accept(&mut self, nonblocking: bool) -> Result<(Socket, Way), AcceptError> {
        match self.accepted.pop_front() {
            Some(Ok(fd)) => self.listener.adopt(fd),
            Some(Err(errno)) => Err(self.listener.judge(errno)),
            None if self.kernel_accepts => Err(AcceptError::NotNow),
            None => self.listener.accept(nonblocking),
        }
    }
}

/// Places that must be free where the kernel accepts by itself: it takes all who wait, which are at most as many.
const PLACES_AHEAD: usize = BACKLOG as usize;

/// Connections accepted in one turn of a loop: enough to empty a burst quickly, few enough to serve the others meanwhile.
const ACCEPTS_A_TURN: usize = 64;
/// The same where several processes accept: whoever takes many at once leaves the others none.
const ACCEPTS_A_TURN_SHARED: usize = 1;
/// How long a process that has more than its share leaves those who wait to the others. If they are still there then, the
/// others are stuck or busy, and balance counts for less than an answer.
const YIELD: Duration = Duration::from_millis(100);

impl Door {
    pub(crate) fn new(listeners: Vec<Listener>, places: Arc<Places>) -> Self {
        let entrances = listeners.into_iter().map(Entrance::new).collect();
        Self {
            entrances,
            places,
            backoff: AcceptBackoff::default(),
            pause: None,
            said_full: false,
            first: 0,
            yielding: None,
        }
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
    /// Whether there are so many free places that the kernel may accept by itself; somewhat more if it does not yet, so that
    /// it is not told one thing and then the other for each connection.
    pub(crate) fn has_ample_room(&self, kernel_accepts: bool) -> bool {
        let ahead = if kernel_accepts { PLACES_AHEAD } else { PLACES_AHEAD / 4 * 5 };
        self.places.max.saturating_sub(self.places.taken()) >= ahead && !self.places.is_memory_full()
    }
    /// From now on the kernel accepts at a listener by itself, or does not.
    pub(crate) fn let_kernel_accept(&mut self, listener: usize, lets: bool) {
        if let Some(entrance) = self.entrances.get_mut(listener) {
            entrance.kernel_accepts = lets;
        }
    }
    /// The kernel has accepted at a listener, or says why it cannot.
    pub(crate) fn accepted(&mut self, listener: usize, accepted: Result<OwnedFd, Errno>) {
        if let Some(entrance) = self.entrances.get_mut(listener) {
            entrance.accepted.push_back(accepted);
            entrance.ready = !entrance.broken;
        }
    }
    /// Who waits is to be found out anew.
    pub(crate) fn forget(&mut self) {
        for entrance in &mut self.entrances {
            entrance.ready = false;
        }
    }
    /// Closes all listeners, and the connections that still wait for their sessions.
    pub(crate) fn close(&mut self) {
        self.entrances.clear();
        if let Some(conversations) = &self.places.conversations {
            conversations.streams().clear();
        }
        if let Some(share) = &self.places.share {
            share.open(0);
        }
    }
    /// Whether there is somebody to accept now.
    pub(crate) fn is_busy(&self, now: Moment) -> bool {
        self.accepts(now) && (self.entrances.iter().any(|entrance| entrance.ready) || self.places.has_next())
    }
    /// When a pause ends; it may be past.
    pub(crate) fn pause(&self) -> Option<Moment> {
        self.pause.max(self.yielding)
    }
    /// Whether connections are accepted at all at `now`: there is a free place, and no pause.
    pub(crate) fn accepts(&self, now: Moment) -> bool {
        self.places.taken() < self.places.max && !self.is_paused(now) && !self.yields(now)
    }
    /// Whether those who wait are left to other processes.
    fn yields(&self, now: Moment) -> bool {
        self.yielding.is_some_and(|until| until > now) && self.has_more_than_its_share()
    }
    fn has_more_than_its_share(&self) -> bool {
        self.places.share.as_ref().is_some_and(Share::is_above)
    }
    /// Begins to yield where that is due, or ends it. Whether to accept nothing for now.
    fn judge_share(&mut self, now: Moment) -> bool {
        match self.yielding {
            None if self.has_more_than_its_share() => self.yielding = Some(now + YIELD),
            Some(_) if self.yields(now) => {}
            _ => self.yielding = None,
        }
        self.yielding.is_some()
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
        if self.is_paused(now) || self.judge_share(now) {
            return;
        }
        if self.places.is_memory_full() {
            return self.exhausted(now, &MemoryFull);
        }
        self.pause = None;
        let mut left = if self.places.share.is_some() { ACCEPTS_A_TURN_SHARED } else { ACCEPTS_A_TURN };
        if self.begin(&mut left, nonblocking, &mut welcome).is_break() {
            return;
        }
        let count = self.entrances.len();
        let (later, sooner) = self.entrances.split_at_mut(self.first % count.max(1));
        for entrance in sooner.iter_mut().chain(later).filter(|entrance| entrance.ready) {
            if left == 0 {
                self.first = self.first.wrapping_add(1);
                break;
            }
            while left > 0 {
                let Some(ticket) = self.places.take() else {
                    say_full(&mut self.said_full, self.places.max);
                    return;
                };
                left -= 1;
                match entrance.accept(nonblocking) {
                    Ok((socket, way)) => {
                        if self.backoff.succeeded() {
                            tracing::info!("accepting again");
                        }
                        if let Some(share) = &self.places.share {
                            share.open(self.places.max);
                        }
                        if welcome(socket, way, ticket).is_break() {
                            self.first = self.first.wrapping_add(1);
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
                        if let Some(share) = &self.places.share {
                            share.open(0);
                        }
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
        if left == 0 && self.places.taken() >= self.places.max {
            say_full(&mut self.said_full, self.places.max);
        }
        self.said_full &= self.places.taken() * 10 >= self.places.max * 9;
    }
    /// Connections that we have made come in before those that are accepted.
    fn begin(
        &mut self,
        left: &mut usize,
        nonblocking: bool,
        welcome: &mut impl FnMut(Socket, Way, Ticket) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        while *left > 0
            && let Some((socket, way, ticket)) = self.places.next()
        {
            *left -= 1;
            if let Err(error) = socket.set_nonblocking(nonblocking) {
                tracing::error!(%error, "a connection is of no use");
                continue;
            }
            welcome(socket, way, ticket)?;
        }
        ControlFlow::Continue(())
    }
    /// A connection could not be served for want of memory or threads: as when descriptors run out.
    pub(crate) fn exhausted(&mut self, now: Moment, error: &dyn std::fmt::Display) {
        self.pause = Some(exhausted(&mut self.backoff, now, error));
    }
}

fn say_full(said: &mut bool, max: usize) {
    if !std::mem::replace(said, true) {
        tracing::warn!(max, "all places are taken: new connections wait until one is free");
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

    /// Where too much waits in memory, who comes waits too, and comes in when it has become less.
    #[test]
    fn nobody_comes_in_while_memory_is_full() {
        let places = Arc::new(Places::new(10, 1, Waker::new().unwrap(), None));
        let waiting = Arc::new(AtomicUsize::new(96));
        places.bound_memory(Arc::clone(&waiting), 95);
        let mut door = Door::new(vec![listener()], Arc::clone(&places));
        let at = rustix::net::getsockname(door.listeners().next().unwrap()).unwrap();
        let _peer = std::net::TcpStream::connect(std::net::SocketAddr::try_from(at).unwrap()).unwrap();
        let mut come = 0;
        let mut accept = |door: &mut Door, now| {
            door.ready(0);
            door.accept(now, true, |_, _, _| {
                come += 1;
                ControlFlow::Break(())
            });
            come
        };
        assert!(!door.has_ample_room(true));
        assert_eq!(accept(&mut door, Moment::START), 0);
        assert!(door.is_paused(Moment::START) && !door.is_busy(Moment::START));
        let later = door.pause().unwrap();
        assert_eq!(accept(&mut door, later), 0, "it is as full as it was");
        waiting.store(95, Ordering::Relaxed);
        let later = door.pause().unwrap();
        assert!(door.is_busy(later));
        assert_eq!(accept(&mut door, later), 1);
    }

    /// A listener that somebody else shuts down, who holds it too, reports for ever that there is something to accept.
    #[test]
    fn a_broken_listener_is_waited_for_no_more() {
        let places = Places::new(10, 1, Waker::new().unwrap(), None);
        let mut door = Door::new(vec![listener(), listener()], Arc::new(places));
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

    /// What the kernel has accepted waits for places like those who have not been accepted, and its shortages are pauses.
    #[test]
    fn what_the_kernel_accepts_comes_in_by_the_same_rules() {
        let places = Arc::new(Places::new(1, 1, Waker::new().unwrap(), None));
        let mut door = Door::new(vec![listener()], Arc::clone(&places));
        let at = rustix::net::getsockname(door.listeners().next().unwrap()).unwrap();
        let at = std::net::SocketAddr::try_from(at).unwrap();
        let peers: Vec<_> = (0..2).map(|_| std::net::TcpStream::connect(at).unwrap()).collect();
        door.let_kernel_accept(0, true);
        for _ in &peers {
            let fd = rustix::net::accept(door.listeners().next().unwrap()).unwrap();
            door.accepted(0, Ok(fd));
        }
        door.accepted(0, Err(Errno::MFILE));
        let mut come = Vec::new();
        let mut accept = |door: &mut Door, now| {
            let mut count = 0;
            door.accept(now, true, |_, way, ticket| {
                count += 1;
                come.push(way.remote);
                drop(ticket);
                ControlFlow::Break(())
            });
            count
        };
        let now = Moment::START + Duration::from_secs(1);
        let taken = places.take();
        assert_eq!(accept(&mut door, now), 0, "there is no place");
        drop(taken);
        assert!(door.is_busy(now));
        assert_eq!(accept(&mut door, now) + accept(&mut door, now), 2);
        assert_eq!(accept(&mut door, now), 0);
        assert!(door.is_paused(now) && !door.is_busy(now), "descriptors have run out");
        let later = door.pause().unwrap();
        assert_eq!(accept(&mut door, later), 0, "the kernel accepts, so nobody asks it");
        door.let_kernel_accept(0, false);
        let third = std::net::TcpStream::connect(at).unwrap();
        door.ready(0);
        assert_eq!(accept(&mut door, later), 1);
        let all = peers.iter().chain([&third]).map(|peer| sotong_session::End::Net(peer.local_addr().unwrap()));
        assert_eq!(come, all.collect::<Vec<_>>());
    }
}
