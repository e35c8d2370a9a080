//! A shard on a thread of its own that waits in the kernel: what `threads` and `sequential` share.
use crate::{
    conn::{self, Io, Link, Udp, Wait},
    control::Order,
    door::Ticket,
    server::Context,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sotong_net::{datagrams::Datagrams, socket::Socket, wake::Waker};
use sotong_session::{Kind, Moment, Service, Way};
use sotong_shard::{Counters, Reads, Shard, Wake};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
    time::Duration,
};

/// How long a thread that nobody can wake waits before it looks around.
const TICK: Duration = Duration::from_secs(1);
/// Bytes of a connection's first buffer. One that fills it shows that it is busy, and gets one for a whole turn.
const BUFFER_BYTES: usize = 4 << 10;
/// A thread's stack, bytes of address space; pages come as they are used.
pub(crate) const STACK_BYTES: usize = 512 << 10;

/// Wakes nobody: its thread looks around by itself.
pub(crate) struct NoBell;
impl Wake for NoBell {
    fn wake(&self) {}
}

/// A shard's thread: at most one connection, and datagram sockets.
///
/// Where sessions get no mail and there is nothing but the connection, the thread sits in a blocking read with a tick of a
/// second; else it polls.
pub(crate) struct Post<S: Service> {
    context: Arc<Context<S>>,
    id: u16,
    /// `None` where no mail can come.
    waker: Option<Waker>,
    shard: Shard<S, Io>,
    /// The connection.
    slot: Option<u32>,
    readable: bool,
    /// The shard's clock has been read behind the last wait.
    is_timely: bool,
    /// Its peer has hung up, which is told once.
    hung_up: bool,
    udp: Vec<Udp>,
    /// Made with the first connection.
    buffer: Vec<u8>,
    told: bool,
}

impl<S: Service> Post<S> {
    /// Enters the exchange as shard `id`, woken by `waker` if mail can come.
    pub(crate) fn new(context: &Arc<Context<S>>, id: u16, waker: Option<Waker>, sockets: Vec<Datagrams>) -> Self {
        let wake: Arc<dyn Wake> = match &waker {
            Some(waker) => Arc::new(waker.clone()),
            None => Arc::new(NoBell),
        };
        context.exchange.enter(id, wake);
        let options = &context.options;
        let (service, exchange) = (context.service(), Arc::clone(&context.exchange));
        let observer = Arc::clone(&options.observer);
        let shard = Shard::new(id, service, exchange, options.limits, observer, context.seed(id));
        let mut post = Self {
            context: Arc::clone(context),
            id,
            waker,
            shard,
            slot: None,
            readable: false,
            is_timely: false,
            hung_up: false,
            udp: sockets.into_iter().map(Udp::new).collect(),
            buffer: Vec::new(),
            told: false,
        };
        post.begin_turn();
        for (number, udp) in post.udp.iter().enumerate() {
            udp.greet(number, &mut post.shard, &context.places);
        }
        post
    }
    fn begin_turn(&mut self) {
        let clock = &self.context.control.clock;
        self.shard.begin_turn(clock.now(), clock.wall());
    }
    /// As [`Self::begin_turn`], but by the clock as a blocking read has just left it.
    fn go_on(&mut self) {
        if std::mem::take(&mut self.is_timely) {
            self.shard.begin_turn(self.shard.now(), self.shard.wall());
        } else {
            self.begin_turn();
        }
    }
    pub(crate) fn shard(&mut self) -> &mut Shard<S, Io> {
        &mut self.shard
    }
    /// The connection that is served.
    pub(crate) fn slot(&self) -> Option<u32> {
        self.slot
    }
    /// Begins to serve a connection; there must be none. One that the service refuses is closed.
    pub(crate) fn welcome(&mut self, socket: Socket, way: &Way, ticket: Option<Ticket>) {
        if self.buffer.is_empty() {
            self.buffer = vec![0; BUFFER_BYTES.min(self.context.options.limits.turn_bytes_max)];
        }
        self.begin_turn();
        let timed = socket.set_recv_timeout(Some(TICK));
        let Ok(slot) = self.shard.open(way, Io::Stream(Link::new(socket, ticket)), Kind::Socket) else { return };
        if let Err(error) = timed {
            self.shard.fail(slot, conn::close_of(&error));
        }
        self.slot = Some(slot);
        // Where it is polled, one try before the first poll: the peer has mostly spoken by the time its thread runs.
        (self.readable, self.hung_up) = (self.waker.is_some(), false);
    }
    /// Reads once.
    fn read(&mut self, slot: u32, wait: Wait) {
        let is_full = conn::read(&mut self.shard, slot, &mut self.buffer, wait);
        if is_full && self.buffer.len() < self.context.options.limits.turn_bytes_max {
            self.buffer = vec![0; self.context.options.limits.turn_bytes_max];
        }
    }

    /// One turn: orders, timers, mail, what can be read, and what is to be sent. Whether to go on.
    pub(crate) fn turn(&mut self) -> bool {
        self.go_on();
        match self.context.control.order() {
            Order::Serve => {}
            Order::Drain(until) => {
                if !std::mem::replace(&mut self.told, true) {
                    self.shard.stop();
                }
                if self.shard.now() >= until {
                    self.shard.cut();
                }
            }
            Order::Leave => return false,
        }
        self.shard.expire();
        self.shard.deliver();
        let readable = std::mem::take(&mut self.readable);
        if let Some(slot) = self.slot.filter(|_| readable && !self.shard.is_held()) {
            self.read(slot, Wait::No);
        }
        for (number, udp) in self.udp.iter_mut().enumerate() {
            if udp.readable && !self.told && !self.shard.is_held() {
                udp.read(number, &mut self.shard);
            }
        }
        self.flush();
        while conn::send_records(&mut self.shard, &mut self.udp) {
            self.flush();
        }
        true
    }
    fn flush(&mut self) {
        while let Some(slot) = self.shard.touched() {
            if conn::flush(&mut self.shard, slot, &mut self.udp).is_some() && self.slot == Some(slot) {
                self.slot = None;
            }
        }
    }
    /// Whether the sessions have been told to stop, and all are gone.
    pub(crate) fn is_over(&self) -> bool {
        self.told && self.shard.is_empty()
    }

    /// How long the thread may sleep; `None` if it must not.
    fn sleep_time(&mut self) -> Option<Option<Duration>> {
        let control = &self.context.control;
        let order = control.order();
        let told = self.told || order == Order::Serve;
        if !self.shard.may_sleep() || order == Order::Leave || !told || self.is_over() {
            return None;
        }
        // What has been received already is waited for by nobody else.
        if !self.told && self.udp.iter().any(|udp| udp.readable) && !self.shard.is_held() {
            return None;
        }
        let drain = if let Order::Drain(until) = order { Some(until) } else { None };
        let soonest = [self.shard.next_deadline(), drain].into_iter().flatten().min().map(|at| control.clock.until(at));
        let tick = self.waker.is_none().then_some(TICK);
        Some([soonest, tick].into_iter().flatten().min())
    }
    /// Waits until there is something for the next turn, or one of `others` can be read, or until `until`. Which of
    /// `others` can be read, by their places.
    ///
    /// # Errors
    /// The kernel cannot wait.
    pub(crate) fn wait(&mut self, others: &[BorrowedFd<'_>], until: Option<Moment>) -> io::Result<Vec<usize>> {
        let time = match self.sleep_time() {
            Some(time) => {
                let until = until.map(|at| self.context.control.clock.until(at));
                [time, until].into_iter().flatten().min()
            }
            None if others.is_empty() => return Ok(Vec::new()),
            None => Some(Duration::ZERO),
        };
        let mut stream = PollFlags::empty();
        if let Some(slot) = self.slot {
            let (reads, blocked) = (self.shard.reads(slot), self.shard.is_blocked(slot));
            let alone = self.waker.is_none() && self.udp.is_empty() && others.is_empty();
            if alone && reads == Reads::Show && !blocked && time == Some(TICK) {
                // Nothing but the peer can bring news within the tick: one system call waits and reads.
                let clock = self.context.control.clock;
                self.read(slot, Wait::Yes(clock));
                self.is_timely = true;
                return Ok(Vec::new());
            }
            stream.set(PollFlags::IN, matches!(reads, Reads::Show | Reads::Discard(_)));
            stream.set(PollFlags::OUT, blocked);
        }
        self.poll(stream, others, time)
    }
    /// Waits for the connection and the waker only: what happens for each message, so without allocating.
    fn poll_both(&mut self, slot: u32, stream: PollFlags, time: Option<Duration>) -> io::Result<()> {
        let Self { shard, waker, .. } = self;
        let (Some(Io::Stream(link)), Some(waker)) = (shard.io(slot), waker) else { return Ok(()) };
        let mut fds = [PollFd::new(&link.socket, stream), PollFd::new(waker, PollFlags::IN)];
        poll_for(&mut fds, time)?;
        let [came, rung] = fds.map(|fd| fd.revents());
        if !rung.is_empty() {
            waker.hush();
        }
        self.note(slot, came);
        Ok(())
    }
    /// What the kernel says of the connection.
    fn note(&mut self, slot: u32, came: PollFlags) {
        self.hung_up |= came.intersects(PollFlags::HUP | PollFlags::ERR);
        if came.intersects(PollFlags::HUP | PollFlags::ERR) {
            conn::check(&mut self.shard, slot);
        }
        if came.intersects(PollFlags::OUT | PollFlags::HUP | PollFlags::ERR) {
            self.shard.writable(slot);
        }
        self.readable = came.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR);
    }
    fn poll(&mut self, stream: PollFlags, others: &[BorrowedFd<'_>], time: Option<Duration>) -> io::Result<Vec<usize>> {
        if let Some(slot) = self.slot
            && self.waker.is_some()
            && self.udp.is_empty()
            && others.is_empty()
            && (!stream.is_empty() || !self.hung_up)
        {
            self.poll_both(slot, stream, time)?;
            return Ok(Vec::new());
        }
        let Self { shard, slot, udp, waker, told, hung_up, .. } = self;
        let slot = *slot;
        let held = shard.is_held();
        let mut fds = Vec::with_capacity(2 + udp.len() + others.len());
        // One that is waited for in neither way still tells of a reset. That a peer has hung up is told again and again, so
        // once it is known it is not asked for any more.
        let asked = slot.filter(|_| !stream.is_empty() || !*hung_up);
        if let Some(Io::Stream(link)) = asked.and_then(|slot| shard.io(slot)) {
            fds.push(PollFd::from_borrowed_fd(link.socket.as_fd(), stream));
        }
        let first_udp = fds.len();
        for udp in udp.iter() {
            let mut events = PollFlags::empty();
            events.set(PollFlags::IN, !*told && !held);
            events.set(PollFlags::OUT, udp.is_blocked());
            fds.push(PollFd::from_borrowed_fd(udp.socket.as_fd(), events));
        }
        let first_other = fds.len();
        fds.extend(others.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)));
        let first_waker = fds.len();
        fds.extend(waker.as_ref().map(|waker| PollFd::from_borrowed_fd(waker.as_fd(), PollFlags::IN)));
        poll_for(&mut fds, time)?;
        let came: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        drop(fds);
        if let Some(waker) = waker.as_ref().filter(|_| !came[first_waker].is_empty()) {
            waker.hush();
        }
        for (udp, came) in udp.iter_mut().zip(&came[first_udp..first_other]) {
            // An error is read too: a connected socket's is its peer's.
            udp.readable |= came.intersects(PollFlags::IN | PollFlags::ERR);
            if came.contains(PollFlags::OUT) {
                udp.writable(shard);
            }
        }
        if let Some(slot) = slot.filter(|_| first_udp > 0) {
            self.note(slot, came[0]);
        }
        Ok((0..).zip(&came[first_other..first_waker]).filter(|(_, came)| !came.is_empty()).map(|(n, _)| n).collect())
    }

    /// Leaves the exchange: what the shard did, and how many connections were cut off.
    pub(crate) fn finish(&mut self) -> (Counters, usize) {
        let left = self.shard.len();
        for slot in self.shard.all_slots() {
            self.shard.remove(slot);
        }
        self.slot = None;
        let cut = left + self.shard.counters().cut_at_drain as usize;
        (self.shard.counters().clone(), cut)
    }
}

impl<S: Service> Drop for Post<S> {
    fn drop(&mut self) {
        self.context.exchange.exit(self.id);
    }
}

/// Waits for descriptors; an interrupted wait is one without news.
pub(crate) fn poll_for(fds: &mut [PollFd<'_>], time: Option<Duration>) -> io::Result<()> {
    let time = time.map(|time| Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    });
    match poll(fds, time.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
