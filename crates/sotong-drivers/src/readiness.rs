//! The loop of the models that are told when a socket can be used.
//!
//! Readiness comes as edges: a [`Poller`] says once that a socket can be read, and the loop remembers it until a read comes
//! back short. So nothing is registered anew when a session stops reading: its connection just leaves the list.
use crate::{
    Options,
    conn::{self, Io, Link, Udp, Wait},
    control::Order,
    door::Door,
    server::Context,
    workers::{self, Arrival, Mailbox, Share},
};
use sotong_net::{socket::Socket, watched::Edge};
use sotong_session::{Kind, Moment, Service};
use sotong_shard::{Counters, Reads, Shard};
use std::{collections::VecDeque, io, sync::Arc};

/// Where a loop learns of sockets: the kernel's epoll, or somebody's runtime.
pub(crate) trait Poller {
    /// Connections that are read in one turn.
    const CONNS_A_TURN: usize;
    /// A connection's socket, with what the poller has around it.
    type Socket: AsRef<Socket>;

    /// Takes a socket in that is to be watched.
    fn adopt(&mut self, socket: Socket) -> io::Result<Self::Socket>;
    /// Watches the socket of the connection in `slot` until it is closed: for input and errors at least.
    fn watch(&mut self, slot: u32, socket: &mut Self::Socket) -> io::Result<()>;
    /// Output of `slot` waits for its socket.
    fn await_room(&mut self, slot: u32, socket: &mut Self::Socket);
    /// Records wait for room in the datagram socket of this number.
    fn await_room_udp(&mut self, number: usize);
    /// The listeners are closed.
    fn close_door(&mut self);
}

/// What a poller says of one descriptor.
#[derive(Clone, Copy, Debug)]
pub(crate) enum News {
    /// Somebody rang: there is something to look after, which the next turn does.
    Rung,
    /// Somebody waits at the listener of this number.
    Door(usize),
    /// A datagram socket, by its number.
    Udp { number: usize, readable: bool, writable: bool },
    /// A connection.
    Conn { slot: u32, edge: Edge },
}

/// What comes after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another turn, once the poller has been asked for what is new.
    Turn,
    /// Nothing before this moment, or before there is news.
    Wait(Option<Moment>),
    /// The end: all are gone, or may not be waited for.
    End,
}

/// Bytes of output that are sent at once and not with all others at the end of the turn.
pub(crate) const LARGE_BYTES: usize = 8 << 10;

/// Members of a topic that are told before what they were told is sent: what they and their outputs take fits into a core's
/// second cache.
const TOLD_TOGETHER: usize = 32;

pub(crate) struct Loop<S: Service, P: Poller> {
    pub(crate) poller: P,
    context: Arc<Context<S>>,
    mailboxes: Arc<[Mailbox]>,
    number: usize,
    door: Option<Door>,
    udp: Vec<Udp>,
    shard: Shard<S, Io<P::Socket>>,
    /// Connections that can be read.
    ready: VecDeque<u32>,
    buffer: Vec<u8>,
    told: bool,
    retired: bool,
}

impl<S: Service, P: Poller> Loop<S, P> {
    pub(crate) fn new(context: Arc<Context<S>>, mailboxes: Arc<[Mailbox]>, share: Share, poller: P) -> Self {
        let Options { limits, observer, .. } = &context.options;
        let Share { number, door, udp } = share;
        let id = context.shard(number);
        let exchange = Arc::clone(&context.exchange);
        let shard = Shard::new(id, context.service(), exchange, *limits, Arc::clone(observer), context.seed(id));
        let mut new = Self {
            poller,
            mailboxes,
            number,
            door,
            udp: udp.into_iter().map(Udp::new).collect(),
            shard,
            ready: VecDeque::new(),
            buffer: vec![0; limits.turn_bytes_max],
            told: false,
            retired: false,
            context,
        };
        new.begin_turn();
        for (number, udp) in new.udp.iter().enumerate() {
            udp.greet(number, &mut new.shard, &new.context.places);
        }
        new
    }

    /// One turn, after [`Self::note`] of everything new.
    pub(crate) fn turn(&mut self) -> Next {
        self.begin_turn();
        if self.context.control.is_retired() {
            self.retire();
        }
        let drain_until = match self.context.control.order() {
            Order::Serve => None,
            Order::Drain(until) => {
                if self.drained(until) {
                    return Next::End;
                }
                Some(until)
            }
            Order::Leave => return Next::End,
        };
        self.accept();
        self.take_arrivals();
        self.shard.expire();
        self.deliver();
        self.read();
        self.flush();
        self.next(drain_until)
    }
    /// Ends every session and closes every socket. What was done, and how many connections were cut off.
    pub(crate) fn finish(&mut self) -> (Counters, usize) {
        let cut = self.shard.counters().cut_at_drain as usize + self.shard.len();
        for slot in self.shard.all_slots() {
            self.shard.remove(slot);
        }
        (self.shard.counters().clone(), cut)
    }
    fn begin_turn(&mut self) {
        let clock = &self.context.control.clock;
        self.shard.begin_turn(clock.now(), clock.wall());
    }
    /// Takes nothing new; when the last connection is gone, the peers of datagram sockets need not be waited for.
    fn retire(&mut self) {
        if !std::mem::replace(&mut self.retired, true)
            && let Some(door) = &mut self.door
        {
            door.close();
            self.poller.close_door();
        }
        if self.context.places.taken() == 0 && !self.udp.iter().any(Udp::has_received) {
            self.context.control.drain(self.context.options.limits.drain);
        }
    }
    /// Whether datagrams are for this loop, and not for one that comes after it.
    fn hears_datagrams(&self) -> bool {
        !self.told && !self.retired
    }
    /// Tells the sessions once, and cuts off at `until` what is left. Whether all are gone.
    fn drained(&mut self, until: Moment) -> bool {
        if !std::mem::replace(&mut self.told, true) {
            if let Some(door) = &mut self.door {
                door.close();
                self.poller.close_door();
            }
            self.take_arrivals();
            self.shard.stop();
        }
        if self.shard.now() >= until && !self.shard.is_empty() {
            self.shard.cut();
        }
        self.flush();
        self.shard.is_empty() && !self.has_arrivals()
    }

    /// What keeps a connection, for a poller that keeps its news there.
    pub(crate) fn conn(&mut self, slot: u32) -> Option<(&mut P, &mut P::Socket)> {
        match self.shard.io(slot)? {
            Io::Stream(link) => Some((&mut self.poller, &mut link.socket)),
            Io::Peer { .. } => None,
        }
    }
    /// What the poller says of one descriptor.
    pub(crate) fn note(&mut self, news: News) {
        match news {
            News::Rung => {}
            News::Door(listener) => {
                if let Some(door) = &mut self.door {
                    door.ready(listener);
                }
            }
            News::Udp { number, readable, writable } => {
                let Some(udp) = self.udp.get_mut(number) else { return };
                udp.readable |= readable;
                if writable && udp.is_blocked() {
                    udp.writable(&mut self.shard);
                }
            }
            News::Conn { slot, edge } => self.note_conn(slot, edge),
        }
    }
    fn note_conn(&mut self, slot: u32, edge: Edge) {
        if edge.writable {
            self.shard.writable(slot);
        }
        let Some(Io::Stream(link)) = self.shard.io(slot) else { return };
        // An error is found by reading, behind the last words that came before it.
        link.readable |= edge.readable || edge.error;
        link.read_on |= edge.ending;
        if edge.error {
            conn::check(&mut self.shard, slot);
        }
        self.enqueue(slot);
    }
    fn enqueue(&mut self, slot: u32) {
        enqueue(&mut self.shard, slot, &mut self.ready);
    }

    fn accept(&mut self) {
        let Some(door) = &mut self.door else { return };
        let now = self.shard.now();
        if !door.is_busy(now) {
            return;
        }
        for arrival in workers::accept(door, true, now, self.number, &self.mailboxes) {
            self.welcome(arrival);
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
        workers::has_arrivals(self.number, &self.mailboxes)
    }
    fn welcome(&mut self, (socket, way, ticket): Arrival) {
        let refused = |error: &io::Error| tracing::warn!(%error, "a connection cannot be watched");
        let socket = match self.poller.adopt(socket) {
            Ok(socket) => socket,
            Err(error) => return refused(&error),
        };
        // A refused peer is closed by dropping its socket.
        let link = Link::new(socket, Some(ticket));
        let Ok(slot) = self.shard.open(&way, Io::Stream(link), Kind::Socket) else { return };
        let Some(Io::Stream(link)) = self.shard.io(slot) else { return };
        if let Err(error) = self.poller.watch(slot, &mut link.socket) {
            refused(&error);
            self.shard.fail(slot, conn::close_of(&error));
        }
    }

    /// Delivers the mail. Where nobody can be read, nothing more can come to a member in this turn: what members were told
    /// leaves a few at a time, while their memory is in the caches, and not once all have been told. Not one by one: a peer
    /// that gets pieces slowly sleeps between them, and each time it has to be woken costs us more than the caches do.
    fn deliver(&mut self) {
        if !self.ready.is_empty() || self.udp.iter().any(|udp| udp.readable) {
            self.shard.deliver();
            return;
        }
        let Self { shard, poller, udp, ready, .. } = self;
        let mut told = 0;
        shard.deliver_each(|shard, _| {
            told += 1;
            if told % TOLD_TOGETHER == 0 {
                while let Some(slot) = shard.touched() {
                    flush_one(shard, slot, poller, udp, ready);
                }
            }
        });
    }
    /// Reads each connection of the list once (rule D9); those with more come again in the next turn.
    fn read(&mut self) {
        if self.shard.is_held() {
            return;
        }
        for _ in 0..self.ready.len().min(P::CONNS_A_TURN) {
            let Some(slot) = self.ready.pop_front() else { break };
            if let Some(Io::Stream(link)) = self.shard.io(slot) {
                link.queued = false;
            }
            let later = self.shard.reads(slot) == Reads::Later;
            if later || conn::read(&mut self.shard, slot, &mut self.buffer, Wait::No) {
                self.enqueue(slot);
            }
            // A large answer is sent at once, where no mail can be on its way that must go before it (rule D12a): many of them,
            // kept to the end of the turn, would push each other out of the processor's caches. Small ones wait: whoever is
            // answered early speaks again early, and turns become small.
            let is_large = self.shard.peek(slot).is_some_and(|(out, _)| out.len() >= LARGE_BYTES);
            if is_large && !Context::<S>::has_mail() {
                self.flush_touched();
            }
        }
        let hears = self.hears_datagrams();
        for (number, udp) in self.udp.iter_mut().enumerate() {
            // What has been received already is nobody else's.
            if udp.readable && !self.shard.is_held() && (hears || udp.has_received()) {
                udp.read(number, &mut self.shard);
            }
        }
    }
    /// Does what the shard asks for every connection that something happened to.
    fn flush(&mut self) {
        self.flush_touched();
        while conn::send_records(&mut self.shard, &mut self.udp) {
            self.flush_touched();
        }
    }
    fn flush_touched(&mut self) {
        while let Some(slot) = self.shard.touched() {
            let Self { shard, poller, udp, ready, .. } = self;
            flush_one(shard, slot, poller, udp, ready);
        }
    }
    /// Whether there is something left to do, and if not, until when to wait.
    fn next(&mut self, drain_until: Option<Moment>) -> Next {
        let now = self.shard.now();
        let hears = self.hears_datagrams();
        let can_read =
            !self.ready.is_empty() || self.udp.iter().any(|udp| udp.readable && (hears || udp.has_received()));
        let busy = can_read && !self.shard.is_held()
            || self.door.as_ref().is_some_and(|door| door.is_busy(now))
            || self.has_arrivals()
            || self.told && self.shard.is_empty()
            || self.retired && !self.told && self.context.places.taken() == 0
            || !self.told && self.context.control.order() != Order::Serve
            || self.context.control.order() == Order::Leave
            || !self.shard.may_sleep();
        if busy {
            return Next::Turn;
        }
        let pause = self.door.as_ref().and_then(Door::pause).filter(|until| *until > now);
        Next::Wait([self.shard.next_deadline(), drain_until, pause].into_iter().flatten().min())
    }
}

/// Puts a connection that can be read and wants to be on the list.
fn enqueue<S: Service, K>(shard: &mut Shard<S, Io<K>>, slot: u32, ready: &mut VecDeque<u32>) {
    if shard.reads(slot) == Reads::No {
        return;
    }
    let Some(Io::Stream(link)) = shard.io(slot) else { return };
    if link.readable && !std::mem::replace(&mut link.queued, true) {
        ready.push_back(slot);
    }
}

/// Does what the shard asks for one connection.
fn flush_one<S: Service, P: Poller>(
    shard: &mut Shard<S, Io<P::Socket>>,
    slot: u32,
    poller: &mut P,
    udp: &mut [Udp],
    ready: &mut VecDeque<u32>,
) {
    // A connection that is over closes its socket, which leaves the poller by that.
    if conn::flush(shard, slot, udp).is_some() {
        return;
    }
    if shard.is_blocked(slot) {
        match shard.io(slot) {
            Some(Io::Stream(link)) => poller.await_room(slot, &mut link.socket),
            Some(Io::Peer { socket, .. }) => poller.await_room_udp(*socket),
            None => {}
        }
    }
    enqueue(shard, slot, ready);
}

impl<S: Service, P: Poller> Drop for Loop<S, P> {
    /// However a loop ends, each of its sessions hears that it is over.
    fn drop(&mut self) {
        self.finish();
    }
}
