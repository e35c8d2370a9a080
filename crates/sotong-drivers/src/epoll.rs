//! Non-blocking sockets, one event loop a worker.
//!
//! Readiness is edge-triggered: the kernel says once that a socket can be read, and the loop remembers it until a read comes
//! back short. So nothing is registered anew when a session stops reading: its connection just leaves the list.
//!
//! The first worker also accepts, and hands each connection to the worker with fewest. Listeners are not registered with
//! every worker: two loops that compete for one listener split connections 998 to 2.
use crate::{
    Options, ServeError,
    conn::{self, DATAGRAMS_A_TURN, Io, Link, Udp, Wait},
    control::{Order, wait},
    door::{Door, Ticket},
    server::{Context, obey},
};
use mio::{Events, Interest, Poll, Token, unix::SourceFd};
use sotong_net::{
    datagrams::{Batch, Datagrams},
    listener::Listener,
    signals::Stop,
    socket::Socket,
    wake::Waker,
};
use sotong_session::{Kind, Moment, Service, Way};
use sotong_shard::{Counters, Reads, Shard};
use std::{
    collections::VecDeque,
    io::{self, ErrorKind},
    ops::ControlFlow,
    os::fd::{AsRawFd, RawFd},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// A connection on its way to the loop that will serve it.
type Arrival = (Socket, Way, Ticket);

/// Where other loops leave connections for this one.
struct Mailbox {
    arrivals: Mutex<VecDeque<Arrival>>,
    waker: Waker,
}

/// Runs the workers, and returns when all are done.
pub(crate) fn run<S: Service>(
    context: &Arc<Context<S>>,
    listeners: Vec<Listener>,
    sockets: Vec<Vec<Datagrams>>,
    door: &Waker,
    stop: &Stop,
) -> Result<(Counters, usize), ServeError> {
    let workers = context.options.workers;
    let mut mailboxes = Vec::with_capacity(workers);
    for worker in 0..workers {
        // The first one's waker is the door's: a place that becomes free wakes whoever accepts.
        let waker = if worker == 0 { door.clone() } else { Waker::new().map_err(ServeError::system("eventfd"))? };
        context.exchange.enter(shard_id(worker), Arc::new(waker.clone()));
        context.control.listen(&waker);
        mailboxes.push(Mailbox { arrivals: Mutex::default(), waker });
    }
    let mut shares: Vec<Vec<Datagrams>> = (0..workers).map(|_| Vec::new()).collect();
    for group in sockets {
        for (number, socket) in group.into_iter().enumerate() {
            shares[number % workers].push(socket);
        }
    }
    let mut door = Some(Door::new(listeners, Arc::clone(&context.places)));
    let mut watches = Vec::with_capacity(workers);
    for (mailbox, udp) in mailboxes.iter().zip(shares) {
        watches.push(Watch::new(&mailbox.waker, door.take(), udp).map_err(ServeError::system("epoll"))?);
    }
    let mailboxes = &mailboxes;
    let done = Waker::new().map_err(ServeError::system("eventfd"))?;
    let ended = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let threads: Vec<_> = watches
            .into_iter()
            .enumerate()
            .map(|(number, watch)| {
                let tell = Tell { ended: &ended, bell: done.clone() };
                let name = format!("epoll-{number}");
                std::thread::Builder::new().name(name).spawn_scoped(scope, move || {
                    let _tell = tell;
                    Loop::new(context, number, watch, mailboxes).run()
                })
            })
            .collect();
        let started = threads.iter().filter(|thread| thread.is_ok()).count();
        if started < threads.len() {
            context.control.drain(context.options.limits.drain);
        }
        while ended.load(Ordering::SeqCst) < started {
            let obeyed = obey(context, stop);
            if let Err(error) = wait(stop, obeyed, &done) {
                tracing::error!(%error, "cannot wait for a stop: leaving");
                context.control.leave();
                break;
            }
            done.hush();
            if ended.load(Ordering::SeqCst) > 0 {
                // Loops only end when told to. If one broke, the others must not go on alone.
                context.control.drain(context.options.limits.drain);
            }
        }
        let (mut counters, mut cut) = (Counters::default(), 0);
        for thread in threads {
            let worker = thread.map_err(ServeError::system("starting a thread"))?;
            let (its, left) = worker.join().map_err(|_| ServeError::Panicked)?;
            counters.add(&its);
            cut += left;
        }
        Ok((counters, cut))
    })
}

/// Counts and rings when a loop ends, however it ends: a thread that rings is not finished yet.
struct Tell<'a> {
    ended: &'a AtomicUsize,
    bell: Waker,
}
impl Drop for Tell<'_> {
    fn drop(&mut self) {
        self.ended.fetch_add(1, Ordering::SeqCst);
        self.bell.wake();
    }
}

fn shard_id(worker: usize) -> u16 {
    u16::try_from(worker).expect("there are at most 1,024 workers")
}

/// Tokens: the waker, then listeners, then datagram sockets, then connections by slot.
const WAKER: usize = 0;
const FIRST: usize = 1;

/// A worker's poller with everything it watches from the start: made before its thread, so that what the system refuses is
/// told before anything is served.
struct Watch {
    poll: Poll,
    door: Option<Door>,
    udp: Vec<Udp>,
    /// The first token of datagram sockets, and of connections.
    first_udp: usize,
    first_slot: usize,
}

impl Watch {
    fn new(waker: &Waker, door: Option<Door>, udp: Vec<Datagrams>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let register = |fd: RawFd, token: usize, interest: Interest| {
            poll.registry().register(&mut SourceFd(&fd), Token(token), interest)
        };
        register(waker.as_raw_fd(), WAKER, Interest::READABLE)?;
        let mut token = FIRST;
        for listener in door.iter().flat_map(Door::listeners) {
            register(listener.as_raw_fd(), token, Interest::READABLE)?;
            token += 1;
        }
        let first_udp = token;
        for socket in &udp {
            register(socket.as_raw_fd(), token, Interest::READABLE | Interest::WRITABLE)?;
            token += 1;
        }
        Ok(Self { poll, door, udp: udp.into_iter().map(Udp::new).collect(), first_udp, first_slot: token })
    }
}

struct Loop<'a, S: Service> {
    context: &'a Context<S>,
    number: usize,
    mailboxes: &'a [Mailbox],
    watch: Watch,
    shard: Shard<S, Io>,
    /// Connections that can be read.
    ready: VecDeque<u32>,
    buffer: Vec<u8>,
    batch: Option<Batch>,
    told: bool,
}

impl<'a, S: Service> Loop<'a, S> {
    fn new(context: &'a Context<S>, number: usize, watch: Watch, mailboxes: &'a [Mailbox]) -> Self {
        let Options { limits, observer, .. } = &context.options;
        let id = shard_id(number);
        let exchange = Arc::clone(&context.exchange);
        let shard = Shard::new(id, context.service(), exchange, *limits, Arc::clone(observer), context.seed(id));
        Self {
            context,
            number,
            mailboxes,
            shard,
            batch: (!watch.udp.is_empty()).then(|| Batch::new(DATAGRAMS_A_TURN)),
            watch,
            ready: VecDeque::new(),
            buffer: vec![0; limits.turn_bytes_max],
            told: false,
        }
    }

    /// Serves until told to stop. What it did, and how many connections were cut off.
    fn run(mut self) -> (Counters, usize) {
        for (number, udp) in self.watch.udp.iter().enumerate() {
            udp.greet(number, &mut self.shard, &self.context.places);
        }
        let mut events = Events::with_capacity(1024);
        loop {
            self.begin_turn();
            let drain_until = match self.context.control.order() {
                Order::Serve => None,
                Order::Drain(until) => {
                    if self.drained(until) {
                        break;
                    }
                    Some(until)
                }
                Order::Leave => break,
            };
            self.accept();
            self.take_arrivals();
            self.shard.expire();
            self.shard.deliver();
            self.read();
            self.flush();
            let time = self.sleep_time(drain_until);
            if let Err(error) = self.watch.poll.poll(&mut events, time)
                && error.kind() != ErrorKind::Interrupted
            {
                tracing::error!(%error, "epoll failed");
                break;
            }
            for event in &events {
                self.note(event);
            }
        }
        let left = self.shard.len();
        for slot in self.shard.all_slots() {
            self.shard.remove(slot);
        }
        let cut = self.shard.counters().cut_at_drain as usize + left;
        (self.shard.counters().clone(), cut)
    }
    fn begin_turn(&mut self) {
        let clock = &self.context.control.clock;
        self.shard.begin_turn(clock.now(), clock.wall());
    }
    /// Tells the sessions once, and cuts off at `until` what is left. Whether all are gone.
    fn drained(&mut self, until: Moment) -> bool {
        if !std::mem::replace(&mut self.told, true) {
            if let Some(door) = &mut self.watch.door {
                door.close();
            }
            self.take_arrivals();
            self.shard.stop();
        }
        if self.shard.now() >= until && !self.shard.is_empty() {
            self.shard.cut();
        }
        self.flush();
        self.shard.is_empty() && self.arrivals().is_empty()
    }

    /// What the kernel said of one descriptor.
    fn note(&mut self, event: &mio::event::Event) {
        let token = event.token().0;
        if token == WAKER {
            // Edge-triggered: each ring is announced, so it need not be hushed.
            return;
        }
        if token < self.watch.first_udp {
            if let Some(door) = &mut self.watch.door {
                door.ready(token - FIRST);
            }
        } else if token < self.watch.first_slot {
            let udp = &mut self.watch.udp[token - self.watch.first_udp];
            // An error is read too: a connected socket's is its peer's.
            udp.readable |= event.is_readable() || event.is_error();
            if event.is_writable() && udp.is_blocked() {
                udp.writable(&mut self.shard);
            }
        } else {
            self.note_conn(u32::try_from(token - self.watch.first_slot).unwrap_or(u32::MAX), event);
        }
    }
    fn note_conn(&mut self, slot: u32, event: &mio::event::Event) {
        if event.is_writable() {
            self.shard.writable(slot);
        }
        let Some(Io::Stream(link)) = self.shard.io(slot) else { return };
        if event.is_readable() || event.is_read_closed() {
            link.readable = true;
            link.ending |= event.is_read_closed();
        }
        if event.is_error() {
            conn::check(&mut self.shard, slot);
        }
        self.enqueue(slot);
    }
    /// Puts a connection that can be read and wants to be on the list.
    fn enqueue(&mut self, slot: u32) {
        if self.shard.reads(slot) == Reads::No {
            return;
        }
        let Some(Io::Stream(link)) = self.shard.io(slot) else { return };
        if link.readable && !std::mem::replace(&mut link.queued, true) {
            self.ready.push_back(slot);
        }
    }

    fn accept(&mut self) {
        let Some(door) = &mut self.watch.door else { return };
        let now = self.shard.now();
        if !door.is_busy(now) {
            return;
        }
        let (mailboxes, number) = (self.mailboxes, self.number);
        let mut mine = Vec::new();
        door.accept(now, true, |socket, way, ticket| {
            if ticket.worker == number {
                mine.push((socket, way, ticket));
            } else {
                let mailbox = &mailboxes[ticket.worker];
                mailbox.arrivals.lock().unwrap_or_else(PoisonError::into_inner).push_back((socket, way, ticket));
                mailbox.waker.wake();
            }
            ControlFlow::Continue(())
        });
        for arrival in mine {
            self.welcome(arrival);
        }
    }
    fn arrivals(&self) -> std::sync::MutexGuard<'a, VecDeque<Arrival>> {
        self.mailboxes[self.number].arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn take_arrivals(&mut self) {
        let arrivals = std::mem::take(&mut *self.arrivals());
        for arrival in arrivals {
            self.welcome(arrival);
        }
    }
    fn welcome(&mut self, (socket, way, ticket): Arrival) {
        let fd = socket.as_raw_fd();
        let link = Link::new(socket, Some(ticket));
        // A refused peer is closed by dropping its socket.
        let Ok(slot) = self.shard.open(&way, Io::Stream(link), Kind::Socket) else { return };
        let token = Token(self.watch.first_slot + slot as usize);
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.watch.poll.registry().register(&mut SourceFd(&fd), token, interest) {
            tracing::warn!(%error, "a connection cannot be watched");
            self.shard.fail(slot, conn::close_of(&error));
        }
    }

    /// Reads each connection of the list once (rule D9); those with more come again in the next turn.
    fn read(&mut self) {
        if self.shard.is_held() {
            return;
        }
        for _ in 0..self.ready.len() {
            let Some(slot) = self.ready.pop_front() else { break };
            if let Some(Io::Stream(link)) = self.shard.io(slot) {
                link.queued = false;
            }
            let later = self.shard.reads(slot) == Reads::Later;
            if later || conn::read(&mut self.shard, slot, &mut self.buffer, Wait::No) {
                self.enqueue(slot);
            }
        }
        if let Some(batch) = &mut self.batch {
            for (number, udp) in self.watch.udp.iter_mut().enumerate() {
                if udp.readable && !self.shard.is_held() {
                    udp.read(number, &mut self.shard, batch);
                }
            }
        }
    }
    /// Does what the shard asks for every connection that something happened to.
    fn flush(&mut self) {
        while let Some(slot) = self.shard.touched() {
            // A connection that is over closes its socket, which leaves the poller by that.
            if conn::flush(&mut self.shard, slot, &mut self.watch.udp).is_none() {
                self.enqueue(slot);
            }
        }
    }
    /// How long to wait for the kernel: not at all if there is something to do.
    fn sleep_time(&mut self, drain_until: Option<Moment>) -> Option<Duration> {
        let now = self.shard.now();
        let can_read = !self.ready.is_empty() || self.watch.udp.iter().any(|udp| udp.readable);
        let busy = can_read && !self.shard.is_held()
            || self.watch.door.as_ref().is_some_and(|door| door.is_busy(now))
            || !self.arrivals().is_empty()
            || self.told && self.shard.is_empty()
            || !self.told && self.context.control.order() != Order::Serve
            || self.context.control.order() == Order::Leave
            || !self.shard.may_sleep();
        if busy {
            return Some(Duration::ZERO);
        }
        let pause = self.watch.door.as_ref().and_then(Door::pause).filter(|until| *until > now);
        let soonest = [self.shard.next_deadline(), drain_until, pause].into_iter().flatten().min();
        soonest.map(|at| self.context.control.clock.until(at))
    }
}
