//! One thread a connection.
//!
//! Each connection is a shard of its own. Where sessions get no mail, its thread sits in a blocking read, as a server
//! written by hand would; its clock then ticks once a second, which is how late it may notice a stop. Where they do, or
//! while output waits, it polls the socket and its waker.
//!
//! A UDP socket has one thread for all its peers.
use crate::{
    ServeError,
    conn::{self, Io, Link, Udp, Wait},
    control::{Order, wait},
    door::{Door, Ticket},
    server::{Context, obey},
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sotong_net::{datagrams::Datagrams, listener::Listener, signals::Stop, socket::Socket, wake::Waker};
use sotong_session::{Kind, Service, Way};
use sotong_shard::{Counters, Reads, Shard, Wake};
use std::{
    io,
    ops::ControlFlow,
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How long a thread that nobody can wake waits before it looks around.
const TICK: Duration = Duration::from_secs(1);
/// A connection thread's stack, bytes of address space; pages come as they are used.
const STACK_BYTES: usize = 512 << 10;

/// Wakes nobody: its thread looks around by itself.
struct NoBell;
impl Wake for NoBell {
    fn wake(&self) {}
}

/// What the threads of a server share beside their context.
struct Crew<S: Service> {
    context: Arc<Context<S>>,
    state: Mutex<State>,
    /// Rung when a thread ends.
    done: Waker,
}

struct State {
    /// Shard numbers nobody has now.
    free: Vec<u16>,
    /// How many numbers have been given out; all above are free too.
    used: usize,
    running: usize,
    /// Nobody accepts any more.
    closed: bool,
    counters: Counters,
    cut: usize,
}

impl<S: Service> Crew<S> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn enlist(&self) -> Option<u16> {
        let mut state = self.state();
        let id = match state.free.pop() {
            Some(id) => id,
            None => {
                let id = u16::try_from(state.used).ok()?;
                state.used += 1;
                id
            }
        };
        state.running += 1;
        Some(id)
    }
    fn discharge(&self, id: u16) {
        let mut state = self.state();
        state.free.push(id);
        state.running -= 1;
        drop(state);
        self.done.wake();
    }
    /// Wakes every thread that can be woken.
    fn ring_all(&self) {
        let used = self.state().used;
        for id in 0..used {
            self.context.exchange.wake(u16::try_from(id).unwrap_or(u16::MAX));
        }
    }
}

/// Accepts on the calling thread's behalf, serves, and returns when all threads are done.
pub(crate) fn run<S: Service>(
    context: &Arc<Context<S>>,
    listeners: Vec<Listener>,
    sockets: Vec<Vec<Datagrams>>,
    door_waker: &Waker,
    stop: &Stop,
) -> Result<(Counters, usize), ServeError> {
    let state = State { free: Vec::new(), used: 0, running: 0, closed: false, counters: Counters::default(), cut: 0 };
    let crew = Arc::new(Crew {
        context: Arc::clone(context),
        state: Mutex::new(state),
        done: Waker::new().map_err(ServeError::system("eventfd"))?,
    });
    context.control.listen(door_waker);
    for socket in sockets.into_iter().flatten() {
        serve_datagrams(&crew, socket).map_err(ServeError::system("starting a thread"))?;
    }
    let door = Door::new(listeners, Arc::clone(&context.places));
    {
        let (crew, waker) = (Arc::clone(&crew), door_waker.clone());
        std::thread::Builder::new()
            .name("accept".to_owned())
            .spawn(move || keep_door(&crew, door, &waker))
            .map_err(ServeError::system("starting a thread"))?;
    }
    loop {
        let obeyed = obey(context, stop);
        let order = context.control.order();
        if order != Order::Serve {
            crew.ring_all();
        }
        let (closed, running) = {
            let state = crew.state();
            (state.closed, state.running)
        };
        if closed && running == 0 || order == Order::Leave {
            break;
        }
        // The porter only leaves when told to; if it broke, the connections shall not go on for ever without it.
        if closed && order == Order::Serve {
            context.control.drain(context.options.limits.drain);
            crew.ring_all();
        }
        wait(stop, obeyed, &crew.done)?;
        crew.done.hush();
    }
    let state = crew.state();
    Ok((state.counters.clone(), state.cut + state.running))
}

/// Accepts until told to stop.
fn keep_door<S: Service>(crew: &Arc<Crew<S>>, mut door: Door, waker: &Waker) {
    /// Tells that the porter has left, however it did: a thread that rings is not finished yet.
    struct Leave<'a, S: Service>(&'a Crew<S>);
    impl<S: Service> Drop for Leave<'_, S> {
        fn drop(&mut self) {
            self.0.state().closed = true;
            self.0.done.wake();
        }
    }
    let _leave = Leave(crew.as_ref());
    let clock = &crew.context.control.clock;
    let mut waiting: Option<Arrival> = None;
    while crew.context.control.order() == Order::Serve {
        let now = clock.now();
        let mut failed = None;
        if !door.is_paused(now)
            && let Some(arrival) = waiting.take()
        {
            failed = serve_conn(crew, arrival).err();
        }
        if failed.is_none() && waiting.is_none() {
            door.accept(now, false, |socket, way, ticket| match serve_conn(crew, (socket, way, ticket)) {
                Ok(()) => ControlFlow::Continue(()),
                Err(back) => {
                    failed = Some(back);
                    ControlFlow::Break(())
                }
            });
        }
        if let Some(back) = failed {
            let (error, arrival) = *back;
            door.exhausted(now, &error);
            waiting = Some(arrival);
        }
        if crew.context.control.order() != Order::Serve {
            break;
        }
        let accepts = door.accepts(now);
        let mut fds = vec![PollFd::from_borrowed_fd(waker.as_fd(), PollFlags::IN)];
        if accepts {
            fds.extend(door.waited_for().map(|(_, at)| PollFd::from_borrowed_fd(at.as_fd(), PollFlags::IN)));
        }
        let time = if door.is_busy(now) {
            Some(Duration::ZERO)
        } else {
            door.pause().filter(|until| *until > now).map(|at| clock.until(at))
        };
        let polled = poll_for(&mut fds, time);
        let ready: Vec<usize> = door
            .waited_for()
            .zip(fds.iter().skip(1))
            .filter(|(_, fd)| !fd.revents().is_empty())
            .map(|((n, _), _)| n)
            .collect();
        drop(fds);
        waker.hush();
        if let Err(error) = polled {
            tracing::error!(%error, "cannot wait for connections");
            break;
        }
        for listener in ready {
            door.ready(listener);
        }
    }
}

/// Waits for descriptors; an interrupted wait is one without news.
fn poll_for(fds: &mut [PollFd<'_>], time: Option<Duration>) -> io::Result<()> {
    let time = time.map(|time| Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    });
    match poll(fds, time.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// A shard with a thread of its own; leaves the crew when it is dropped.
struct Seat<S: Service> {
    crew: Arc<Crew<S>>,
    id: u16,
    /// `None` where no mail can come.
    waker: Option<Waker>,
    told: bool,
    /// Given back after the shard's number, so that there are never more numbers in use than places.
    ticket: Option<Ticket>,
}

impl<S: Service> Seat<S> {
    fn new(crew: &Arc<Crew<S>>) -> io::Result<Self> {
        let id = crew.enlist().ok_or(io::ErrorKind::OutOfMemory)?;
        let mut seat = Self { crew: Arc::clone(crew), id, waker: None, told: false, ticket: None };
        if Context::<S>::has_mail() {
            seat.waker = Some(Waker::new()?);
        }
        let wake: Arc<dyn Wake> = match &seat.waker {
            Some(waker) => Arc::new(waker.clone()),
            None => Arc::new(NoBell),
        };
        crew.context.exchange.enter(id, wake);
        Ok(seat)
    }
    fn shard(&self) -> Shard<S, Io> {
        let context = &self.crew.context;
        let options = &context.options;
        let (service, exchange) = (context.service(), Arc::clone(&context.exchange));
        let observer = Arc::clone(&options.observer);
        let mut shard = Shard::new(self.id, service, exchange, options.limits, observer, context.seed(self.id));
        self.begin_turn(&mut shard);
        shard
    }
    fn begin_turn(&self, shard: &mut Shard<S, Io>) {
        let clock = &self.crew.context.control.clock;
        shard.begin_turn(clock.now(), clock.wall());
    }
    /// Timers, mail and orders: the first half of a turn. Whether to go on.
    fn turn(&mut self, shard: &mut Shard<S, Io>) -> bool {
        self.begin_turn(shard);
        match self.crew.context.control.order() {
            Order::Serve => {}
            Order::Drain(until) => {
                if !std::mem::replace(&mut self.told, true) {
                    shard.stop();
                }
                if shard.now() >= until {
                    shard.cut();
                }
            }
            Order::Leave => return false,
        }
        shard.expire();
        shard.deliver();
        true
    }
    /// How long the thread may sleep; `None` if it must not.
    fn sleep_time(&self, shard: &Shard<S, Io>) -> Option<Option<Duration>> {
        let control = &self.crew.context.control;
        let order = control.order();
        if !shard.may_sleep() || order == Order::Leave || !self.told && order != Order::Serve {
            return None;
        }
        let drain = if let Order::Drain(until) = order { Some(until) } else { None };
        let soonest = [shard.next_deadline(), drain].into_iter().flatten().min().map(|at| control.clock.until(at));
        let tick = self.waker.is_none().then_some(TICK);
        Some([soonest, tick].into_iter().flatten().min())
    }
    /// Waits for `socket` and for mail.
    fn sleep(&self, socket: Option<(BorrowedFd<'_>, PollFlags)>, time: Option<Duration>) -> io::Result<PollFlags> {
        let mut fds = Vec::with_capacity(2);
        fds.extend(socket.map(|(fd, events)| PollFd::from_borrowed_fd(fd, events)));
        fds.extend(self.waker.as_ref().map(|waker| PollFd::from_borrowed_fd(waker.as_fd(), PollFlags::IN)));
        poll_for(&mut fds, time)?;
        let events = if socket.is_some() { fds[0].revents() } else { PollFlags::empty() };
        let rung = self.waker.is_some() && fds.last().is_some_and(|fd| !fd.revents().is_empty());
        drop(fds);
        if let Some(waker) = self.waker.as_ref().filter(|_| rung) {
            waker.hush();
        }
        Ok(events)
    }
    fn report(&self, shard: &mut Shard<S, Io>) {
        let left = shard.len();
        for slot in shard.all_slots() {
            shard.remove(slot);
        }
        let mut state = self.crew.state();
        state.cut += left + shard.counters().cut_at_drain as usize;
        state.counters.add(shard.counters());
    }
}

impl<S: Service> Drop for Seat<S> {
    fn drop(&mut self) {
        self.crew.context.exchange.exit(self.id);
        self.crew.discharge(self.id);
    }
}

/// A connection that has been accepted.
type Arrival = (Socket, Way, Ticket);

/// Starts a connection's thread.
///
/// # Errors
/// There is no thread or descriptor for it; the connection is given back, to be tried again.
fn serve_conn<S: Service>(crew: &Arc<Crew<S>>, arrival: Arrival) -> Result<(), Box<(io::Error, Arrival)>> {
    let seat = match Seat::new(crew) {
        Ok(seat) => seat,
        Err(error) => return Err(Box::new((error, arrival))),
    };
    // A thread that cannot be started drops what it was to get: so it gets it from here.
    let handed = Arc::new(Mutex::new(Some((seat, arrival))));
    let taken = Arc::clone(&handed);
    let take = |from: &Mutex<Option<(Seat<S>, Arrival)>>| from.lock().unwrap_or_else(PoisonError::into_inner).take();
    let work = move || {
        let Some((mut seat, (socket, way, ticket))) = take(&taken) else { return };
        seat.ticket = Some(ticket);
        let mut shard = seat.shard();
        let timed = socket.set_recv_timeout(Some(TICK));
        if let Ok(slot) = shard.open(&way, Io::Stream(Link::new(socket, None)), Kind::Socket) {
            if let Err(error) = timed {
                shard.fail(slot, conn::close_of(&error));
            }
            serve_slot(&mut seat, &mut shard, slot);
        }
        seat.report(&mut shard);
    };
    let started = std::thread::Builder::new().name("conn".to_owned()).stack_size(STACK_BYTES).spawn(work);
    match (started, take) {
        (Ok(_), _) => Ok(()),
        (Err(error), take) => match take(&handed) {
            Some((_, arrival)) => Err(Box::new((error, arrival))),
            None => Ok(()),
        },
    }
}

/// One connection, from its first turn to its last.
fn serve_slot<S: Service>(seat: &mut Seat<S>, shard: &mut Shard<S, Io>, slot: u32) {
    let mut buffer = vec![0; seat.crew.context.options.limits.turn_bytes_max];
    let clock = seat.crew.context.control.clock;
    let (mut readable, mut hung_up) = (false, false);
    while seat.turn(shard) {
        if readable && !shard.is_held() {
            conn::read(shard, slot, &mut buffer, Wait::No);
        }
        readable = false;
        while let Some(slot) = shard.touched() {
            if conn::flush(shard, slot, &mut []).is_some() {
                return;
            }
        }
        let Some(time) = seat.sleep_time(shard) else {
            continue;
        };
        let (reads, blocked) = (shard.reads(slot), shard.is_blocked(slot));
        if reads == Reads::Show && !blocked && seat.waker.is_none() && time == Some(TICK) {
            // Nothing but the peer can bring news within the tick: one system call waits and reads.
            conn::read(shard, slot, &mut buffer, Wait::Yes(clock));
            continue;
        }
        let mut events = PollFlags::empty();
        events.set(PollFlags::IN, matches!(reads, Reads::Show | Reads::Discard(_)));
        events.set(PollFlags::OUT, blocked);
        let Some(Io::Stream(link)) = shard.io(slot) else { return };
        // One that is waited for in neither way still tells of a reset. That a peer has hung up is told again and again, so
        // once it is known it is not asked for any more.
        let socket = (!events.is_empty() || !hung_up).then(|| (link.socket.as_fd(), events));
        let came = match seat.sleep(socket, time) {
            Ok(came) => came,
            Err(error) => {
                tracing::error!(%error, "cannot wait for a connection");
                return;
            }
        };
        hung_up |= came.intersects(PollFlags::HUP | PollFlags::ERR);
        if came.intersects(PollFlags::HUP | PollFlags::ERR) {
            conn::check(shard, slot);
        }
        if came.intersects(PollFlags::OUT | PollFlags::HUP | PollFlags::ERR) {
            shard.writable(slot);
        }
        readable = came.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR);
    }
}

/// Starts a datagram socket's thread.
fn serve_datagrams<S: Service>(crew: &Arc<Crew<S>>, socket: Datagrams) -> io::Result<()> {
    let mut seat = Seat::new(crew)?;
    let work = move || {
        let mut shard = seat.shard();
        let mut udp = [Udp::new(socket)];
        udp[0].greet(0, &mut shard, &seat.crew.context.places);
        while seat.turn(&mut shard) {
            if udp[0].readable && !shard.is_held() && !seat.told {
                udp[0].read(0, &mut shard);
            }
            while let Some(slot) = shard.touched() {
                conn::flush(&mut shard, slot, &mut udp);
            }
            if seat.told && shard.is_empty() {
                break;
            }
            let Some(time) = seat.sleep_time(&shard) else {
                continue;
            };
            let reads = !seat.told && !shard.is_held();
            // What has been received already is waited for by nobody else.
            let time = if reads && udp[0].readable { Some(Duration::ZERO) } else { time };
            let mut events = PollFlags::empty();
            events.set(PollFlags::IN, reads);
            events.set(PollFlags::OUT, udp[0].is_blocked());
            let watched = (!events.is_empty()).then(|| (udp[0].socket.as_fd(), events));
            match seat.sleep(watched, time) {
                Ok(came) => {
                    // An error is read too: a connected socket's is its peer's.
                    udp[0].readable |= came.intersects(PollFlags::IN | PollFlags::ERR);
                    if came.contains(PollFlags::OUT) {
                        udp[0].writable(&mut shard);
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "cannot wait for datagrams");
                    break;
                }
            }
        }
        seat.report(&mut shard);
    };
    std::thread::Builder::new().name("udp".to_owned()).stack_size(STACK_BYTES).spawn(work)?;
    Ok(())
}
