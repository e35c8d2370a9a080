//! io_uring: one ring a worker, and one system call a turn that hands over everything and waits for the next.
//!
//! - **Receives** are multishot: armed once, they complete with each piece that comes, in buffers that belong to the ring.
//!   Nothing stays in those beyond the turn. What a session does not take at once moves to memory of its connection, and the
//!   receive is cancelled until all of that has been shown: so TCP holds the peer back, and no peer can take the buffers from
//!   others.
//! - **Sends** never wait in the kernel: each is over when the call that hands it over returns, and what did not go waits for
//!   its socket by a poll. So there is one send of a connection at a time, its bytes stay in the session's output, and those
//!   move again only between two calls.
//! - **Order** (rule D12): all sends of a turn go with the call at its end, after its mail is in the inboxes; and an inbox is
//!   emptied between a completion and the showing of its bytes.
//! - **Accepting** is multishot too while there is ample room: the kernel takes all who wait, so near the cap, where it could
//!   take more than there are places for, listeners are polled and the loop accepts one by one. Either way connections come
//!   in by the door that all models share, with its cap, its pauses and what it does when descriptors run out.
//! - **The rest is polled**: wakers and datagram sockets tell that something is there, and the code that all models share
//!   takes it.
#![allow(unsafe_code, reason = "memory that the kernel reads and writes")]

mod conns;
mod pool;
mod probe;
mod ring;
mod token;

pub use probe::{Missing, probe};

use crate::{
    Options, ServeError,
    conn::{Io, Link, Udp},
    control::Order,
    door::Door,
    server::Context,
    workers::{self, Arrival, Mailbox, Share},
};
use conns::Port;
use io_uring::cqueue::Entry;
use ring::{Completion, Ring, Wait};
use rustix::{event::PollFlags, io::Errno};
use sotong_net::{datagrams::Datagrams, listener::Listener, signals::Stop, wake::Waker};
use sotong_session::{Kind as OutputKind, Moment, Service};
use sotong_shard::{Counters, Shard};
use std::{
    collections::VecDeque,
    os::fd::{AsRawFd, RawFd},
    sync::Arc,
};
use token::{Kind, Token};

/// Runs the workers, and returns when all are done.
pub(crate) fn run<S: Service>(
    context: &Arc<Context<S>>,
    listeners: Vec<Listener>,
    sockets: Vec<Vec<Datagrams>>,
    door: &Waker,
    stop: &Stop,
) -> Result<(Counters, usize), ServeError> {
    let (mailboxes, shares) =
        workers::share_out(context, listeners, sockets, door).map_err(ServeError::system("eventfd"))?;
    let mut parts = Vec::with_capacity(shares.len());
    for (share, mailbox) in shares.into_iter().zip(&mailboxes[..]) {
        context.exchange.enter(context.shard(share.number), Arc::new(mailbox.waker.clone()));
        // Made before the threads: so that what the system refuses is told before anything is served.
        let ring = Ring::new(context.options.limits.turn_bytes_max).map_err(ServeError::system("io_uring"))?;
        parts.push((share, ring));
    }
    workers::run(context, "uring", parts, stop, |(share, ring)| Loop::new(context, &mailboxes, share, ring).run())
}

/// What the ring does at a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listening {
    Off,
    /// It tells that somebody waits.
    Polling,
    /// It accepts.
    Accepting,
    /// To be cancelled, for the other of the two.
    Ending,
}

const READABLE: i16 = PollFlags::IN.bits() as i16;
const WRITABLE: i16 = PollFlags::OUT.bits() as i16;

struct Loop<'a, S: Service> {
    context: &'a Context<S>,
    number: usize,
    mailboxes: &'a [Mailbox],
    ring: Ring,
    waker: RawFd,
    door: Option<Door>,
    /// What the ring does at each listener of the door.
    listening: Vec<Listening>,
    udp: Vec<Udp>,
    /// Which datagram sockets are polled for room.
    udp_polled: Vec<bool>,
    shard: Shard<S, Io>,
    /// What the ring does for each slot.
    ports: Vec<Port>,
    /// Connections with received bytes that wait to be shown.
    ready: VecDeque<u32>,
    /// Connections that are over, whose descriptors the kernel has yet to see in what was pushed.
    closing: Vec<Io>,
    turn: u32,
    told: bool,
}

impl<'a, S: Service> Loop<'a, S> {
    fn new(context: &'a Context<S>, mailboxes: &'a [Mailbox], share: Share, ring: Ring) -> Self {
        let Options { limits, observer, .. } = &context.options;
        let Share { number, door, udp } = share;
        let id = context.shard(number);
        let exchange = Arc::clone(&context.exchange);
        let shard = Shard::new(id, context.service(), exchange, *limits, Arc::clone(observer), context.seed(id));
        let mut new = Self {
            context,
            number,
            mailboxes,
            ring,
            waker: mailboxes[number].waker.as_raw_fd(),
            listening: vec![Listening::Off; door.iter().flat_map(Door::listeners).count()],
            door,
            udp_polled: vec![false; udp.len()],
            udp: udp.into_iter().map(Udp::new).collect(),
            shard,
            ports: Vec::new(),
            ready: VecDeque::new(),
            closing: Vec::new(),
            turn: 0,
            told: false,
        };
        new.begin_turn();
        for (number, udp) in new.udp.iter().enumerate() {
            udp.greet(number, &mut new.shard, &context.places);
        }
        new
    }

    /// Serves until told to stop. What it did, and how many connections were cut off.
    fn run(mut self) -> (Counters, usize) {
        if let Err(error) = self.serve() {
            tracing::error!(%error, "io_uring failed");
        }
        self.finish()
    }
    /// Ends every session. What was done, and how many connections were cut off.
    fn finish(&mut self) -> (Counters, usize) {
        let cut = self.shard.counters().cut_at_drain as usize + self.shard.len();
        for slot in self.shard.all_slots() {
            self.shard.remove(slot);
        }
        (self.shard.counters().clone(), cut)
    }
    fn serve(&mut self) -> std::io::Result<()> {
        self.ring.start()?;
        self.watch();
        // From here on, whenever a turn begins, nothing that was pushed is unseen by the kernel.
        self.ring.submit()?;
        loop {
            self.begin_turn();
            let drain_until = match self.context.control.order() {
                Order::Serve => None,
                Order::Drain(until) => {
                    self.drain(until);
                    Some(until)
                }
                Order::Leave => return Ok(()),
            };
            self.complete();
            self.accept();
            self.take_arrivals();
            self.shard.expire();
            self.shard.deliver();
            self.show_what_waits();
            self.read_datagrams();
            // From here on no output is touched but by its own connection's sends, until the kernel has seen them.
            self.flush();
            if self.told && self.shard.is_empty() && !self.has_arrivals() {
                return Ok(());
            }
            self.enter(drain_until)?;
        }
    }
    fn begin_turn(&mut self) {
        let clock = &self.context.control.clock;
        self.shard.begin_turn(clock.now(), clock.wall());
        self.turn = self.turn.wrapping_add(1);
    }
    /// Tells the sessions once, and cuts off at `until` what is left.
    fn drain(&mut self, until: Moment) {
        if !std::mem::replace(&mut self.told, true) {
            if let Some(mut door) = self.door.take() {
                for number in 0..door.listeners().count() {
                    self.ring.cancel(Token::fixed(Kind::Listener, number));
                    self.ring.cancel(Token::fixed(Kind::Accept, number));
                }
                door.close();
            }
            self.take_arrivals();
            self.shard.stop();
        }
        if self.shard.now() >= until && !self.shard.is_empty() {
            self.shard.cut();
        }
    }

    // What the ring tells of beside connections.

    /// Polls everything that is there from the start.
    fn watch(&mut self) {
        self.watch_waker();
        self.watch_listeners();
        for number in 0..self.udp.len() {
            self.watch_datagrams(number);
        }
    }
    /// Each ring of the waker is told, so it need not be hushed.
    fn watch_waker(&mut self) {
        self.ring.poll_each(self.waker, READABLE, Token::fixed(Kind::Waker, 0));
    }
    /// Has the ring do at each listener what fits the room there is.
    fn watch_listeners(&mut self) {
        let Some(door) = &mut self.door else { return };
        for (number, listening) in self.listening.iter_mut().enumerate() {
            let lets = door.has_ample_room(*listening == Listening::Accepting);
            match *listening {
                Listening::Off => {
                    let Some((_, listener)) = door.waited_for().find(|(at, _)| *at == number) else { continue };
                    let fd = listener.as_raw_fd();
                    *listening = if lets {
                        self.ring.accept_each(fd, Token::fixed(Kind::Accept, number));
                        Listening::Accepting
                    } else {
                        self.ring.poll_each(fd, READABLE, Token::fixed(Kind::Listener, number));
                        Listening::Polling
                    };
                    door.let_kernel_accept(number, lets);
                }
                Listening::Accepting if !lets => {
                    self.ring.cancel(Token::fixed(Kind::Accept, number));
                    *listening = Listening::Ending;
                }
                Listening::Polling if lets => {
                    self.ring.cancel(Token::fixed(Kind::Listener, number));
                    *listening = Listening::Ending;
                }
                Listening::Accepting | Listening::Polling | Listening::Ending => {}
            }
        }
    }
    /// The ring has accepted at a listener, or cannot.
    fn accepted(&mut self, number: usize, result: Result<u32, i32>, more: bool) {
        let accepted = result.map_or_else(|errno| -errno, u32::cast_signed);
        // SAFETY: it is the result of this completion, which is looked at only here.
        let accepted = unsafe { ring::accepted(accepted) };
        if !more {
            self.listening[number] = Listening::Off;
        }
        // Who comes when the door is closed is turned away by dropping the connection.
        let Some(door) = &mut self.door else { return };
        match accepted {
            Err(libc::ECANCELED) => {}
            accepted => door.accepted(number, accepted.map_err(Errno::from_raw_os_error)),
        }
    }
    fn watch_datagrams(&mut self, number: usize) {
        let fd = self.udp[number].socket.as_raw_fd();
        self.ring.poll_each(fd, READABLE, Token::fixed(Kind::Datagrams, number));
    }
    /// Handles everything that has completed, in the order in which it did.
    fn complete(&mut self) {
        let entries = self.ring.completed();
        for entry in &entries {
            self.note(entry);
        }
        // Every buffer is free again: what a receive brought has been shown or moved.
        self.ring.handled(entries);
    }
    fn note(&mut self, entry: &Entry) {
        let Some(completion) = self.ring.read(entry) else { return };
        let Completion { token, more, .. } = completion;
        let number = token.index as usize;
        match token.kind {
            Kind::Receive => self.received(completion),
            Kind::Send => self.sent(completion),
            Kind::Writable | Kind::Watch => self.polled(completion),
            Kind::Waker => {
                if !more {
                    self.watch_waker();
                }
            }
            Kind::Listener => {
                if !more {
                    self.listening[number] = Listening::Off;
                }
                if let Some(door) = &mut self.door {
                    door.ready(number);
                }
            }
            Kind::Accept => self.accepted(number, completion.result, more),
            Kind::Datagrams => {
                self.udp[number].readable = true;
                if !more {
                    self.watch_datagrams(number);
                }
            }
            Kind::DatagramsOut => {
                self.udp_polled[number] = false;
                self.udp[number].writable(&mut self.shard);
            }
            Kind::Cancel => {}
        }
    }

    fn accept(&mut self) {
        let Some(door) = &mut self.door else { return };
        let now = self.shard.now();
        if door.is_busy(now) {
            // Sockets that wait: the ring polls by itself only for those, and everything else asks not to wait.
            for arrival in workers::accept(door, false, now, self.number, self.mailboxes) {
                self.welcome(arrival);
            }
        }
        // Where descriptors have run out, the kernel shall not try again before the pause is over.
        if self.door.as_ref().is_some_and(|door| door.accepts(now)) {
            self.watch_listeners();
        }
    }
    fn take_arrivals(&mut self) {
        if self.has_arrivals() {
            for arrival in self.mailboxes[self.number].take() {
                self.welcome(arrival);
            }
        }
    }
    fn has_arrivals(&self) -> bool {
        workers::has_arrivals(self.number, self.mailboxes)
    }
    fn welcome(&mut self, (socket, way, ticket): Arrival) {
        let link = Link::new(socket, Some(ticket));
        // A refused peer is closed by dropping its socket. What is to be received or sent, its first flush finds out.
        let _ = self.shard.open(&way, Io::Stream(link), OutputKind::Socket);
    }
    fn read_datagrams(&mut self) {
        for (number, udp) in self.udp.iter_mut().enumerate() {
            if udp.readable && !self.shard.is_held() {
                udp.read(number, &mut self.shard);
            }
        }
    }

    /// The end of a turn: hands over what it brought, and waits if there is nothing more to do.
    fn enter(&mut self, drain_until: Option<Moment>) -> std::io::Result<()> {
        for (number, udp) in self.udp.iter().enumerate() {
            if udp.is_blocked() && !std::mem::replace(&mut self.udp_polled[number], true) {
                self.ring.poll_once(udp.socket.as_raw_fd(), WRITABLE, Token::fixed(Kind::DatagramsOut, number));
            }
        }
        if !self.closing.is_empty() {
            self.ring.submit()?;
            // No submission names these descriptors any more: they may be used again.
            self.closing.clear();
        }
        let wait = self.wait(drain_until);
        self.ring.enter(wait)
    }
    /// Whether to wait for the kernel: not at all if there is something to do.
    fn wait(&mut self, drain_until: Option<Moment>) -> Wait {
        let now = self.shard.now();
        let can_show = !self.ready.is_empty() || self.udp.iter().any(|udp| udp.readable);
        let busy = self.ring.has_completed()
            || can_show && !self.shard.is_held()
            || self.door.as_ref().is_some_and(|door| door.is_busy(now))
            || self.has_arrivals()
            || !self.told && self.context.control.order() != Order::Serve
            || self.context.control.order() == Order::Leave
            || !self.shard.may_sleep();
        if busy {
            return Wait::No;
        }
        let pause = self.door.as_ref().and_then(Door::pause).filter(|until| *until > now);
        let soonest = [self.shard.next_deadline(), drain_until, pause].into_iter().flatten().min();
        soonest.map_or(Wait::Ever, |at| Wait::AtMost(self.context.control.clock.until(at)))
    }
}

impl<S: Service> Drop for Loop<'_, S> {
    /// However a loop ends, each of its sessions hears that it is over.
    fn drop(&mut self) {
        self.finish();
    }
}
