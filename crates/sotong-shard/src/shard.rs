//! One loop's sessions.
use crate::{
    Closed, Counters, Exchange, Observer,
    buffers::Buffers,
    exchange::Entry,
    office::Office,
    peers::{PeerKey, Peers},
    slot::{Flags, Phase, Slot},
    timers::Timers,
};
use sotong_session::{
    Address, Carry, Close, Cx, Event, Input, Kind, Limits, Moment, Output, Pace, Service, Session, Wall, Wants, Way,
    Wire,
};
use std::{
    collections::{BTreeSet, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

/// The mail of a service's sessions.
pub type Mail<S> = <<S as Service>::Session as Session>::Mail;

/// The sessions of one loop. `W` is what the driver keeps for each connection: its socket, its state in the poller.
///
/// See the crate's documentation for the order of calls in a turn.
pub struct Shard<S: Service, W> {
    service: S,
    limits: Limits,
    office: Office<Mail<S>>,
    slots: Vec<Option<Slot<S::Session, W>>>,
    free: Vec<u32>,
    peers: Peers,
    timers: Timers,
    /// Slots that something waits in, by how much.
    waiting: BTreeSet<(usize, u32)>,
    /// Slots to be looked at in this turn, and in the next.
    touched: VecDeque<u32>,
    later: Vec<u32>,
    /// Slots whose input waits until the shard is held no more (rule D14).
    held: BTreeSet<u32>,
    /// Whose bytes have come and wait for the mail before them.
    incoming: Option<u32>,
    /// Mail being delivered; empty between calls, kept for its memory.
    arrived: VecDeque<Entry<Mail<S>>>,
    /// Output memory no connection needs now.
    buffers: Buffers,
    observer: Arc<dyn Observer>,
    payload: bool,
    now: Moment,
    wall: Wall,
    turn: u32,
    open: usize,
    stopping: bool,
}

/// What to do for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send what [`Shard::output`] gathers, then tell [`Shard::sent`] or [`Shard::blocked`].
    Send,
    /// Send the file range at the front of the output, then tell [`Shard::sent_file`] or [`Shard::blocked`].
    SendFile,
    /// Send the record at the front of the output (of a datagram socket), then tell [`Shard::sent_record`] or
    /// [`Shard::blocked`].
    SendRecord,
    /// Shut our direction down, then tell [`Shard::half_closed`].
    HalfClose,
    /// Take the connection out with [`Shard::remove`] and close it.
    Close,
    /// Nothing for now.
    Wait,
}

/// What a connection's input is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// Do not read.
    No,
    /// Read, and hand it to [`Shard::input`].
    Show,
    /// Do not read before [`Shard::is_held`] ends, but remember to (rule D14).
    Later,
    /// Read at most this many bytes, throw them away, and tell [`Shard::discarded`].
    Discard(usize),
}

mod mail;
mod memory;
mod sending;

impl<S: Service, W> Shard<S, W> {
    /// A shard without connections. `seed` feeds [`sotong_session::Host::random`].
    ///
    /// The exchange must know the shard already: [`Exchange::enter`].
    pub fn new(
        id: u16,
        service: S,
        exchange: Arc<Exchange<Mail<S>>>,
        limits: Limits,
        observer: Arc<dyn Observer>,
        seed: u64,
    ) -> Self {
        Self {
            service,
            limits,
            office: Office::new(id, exchange, &limits, seed),
            slots: Vec::new(),
            free: Vec::new(),
            peers: Peers::default(),
            timers: Timers::default(),
            waiting: BTreeSet::new(),
            touched: VecDeque::new(),
            later: Vec::new(),
            held: BTreeSet::new(),
            incoming: None,
            arrived: VecDeque::new(),
            buffers: Buffers::default(),
            payload: observer.wants_payload(),
            observer,
            now: Moment::START,
            wall: Wall(0),
            turn: 0,
            open: 0,
            stopping: false,
        }
    }

    // The turn.

    /// Begins a turn at `now`: the shard is awake, and what was put off is looked at again.
    pub fn begin_turn(&mut self, now: Moment, wall: Wall) {
        self.office.exchange.awake(self.office.shard);
        self.turn = self.turn.wrapping_add(1);
        self.now = self.now.max(now);
        self.wall = wall;
        self.relieve();
        for slot in std::mem::take(&mut self.later) {
            self.touch(slot);
        }
        if !self.held.is_empty() && !self.is_held() {
            for slot in std::mem::take(&mut self.held) {
                self.touch(slot);
                self.offer(slot);
            }
        }
    }
    /// Brings the clock forward within a turn: for loops whose turn can wait inside.
    pub fn set_time(&mut self, now: Moment, wall: Wall) {
        self.now = self.now.max(now);
        self.wall = wall;
    }
    /// When the next timer is due.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.timers.next()
    }
    /// Whether the loop may wait for the kernel: nothing is left to do, and no mail came. Announces the sleep, so that from
    /// now on mail wakes the shard.
    pub fn may_sleep(&self) -> bool {
        self.later.is_empty()
            && self.touched.is_empty()
            && !self.must_relieve()
            && self.office.exchange.sleep(self.office.shard)
    }
    /// The next slot whose [`Self::next`] must be asked.
    pub fn touched(&mut self) -> Option<u32> {
        let slot = self.touched.pop_front()?;
        if let Some(entry) = self.slot_mut(slot) {
            entry.flags.touched = false;
        }
        Some(slot)
    }
    /// Connections, those in the close routine included.
    pub fn len(&self) -> usize {
        self.open
    }
    /// Whether there are no connections.
    pub fn is_empty(&self) -> bool {
        self.open == 0
    }
    /// What has been done so far.
    pub fn counters(&self) -> &Counters {
        &self.office.counters
    }
    /// What its connections are held to.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
    /// The shard's clock.
    pub fn now(&self) -> Moment {
        self.now
    }
    /// Civil time as the shard has it.
    pub fn wall(&self) -> Wall {
        self.wall
    }

    // Connections come and go.

    /// A connection has come. Its slot, or what was given back because the service refused it.
    ///
    /// # Errors
    /// Why the service refused, and the driver's part of the connection, to be closed.
    pub fn open(&mut self, way: &Way, io: W, kind: Kind) -> Result<u32, (Close, W)> {
        self.open_on(way, io, kind, None)
    }
    fn open_on(&mut self, way: &Way, io: W, kind: Kind, key: Option<PeerKey>) -> Result<u32, (Close, W)> {
        let made = catch_unwind(AssertUnwindSafe(|| self.service.open(way)));
        let session = match made {
            Ok(Ok(session)) => session,
            Ok(Err(close)) => {
                self.office.counters.refused += 1;
                return Err((close, io));
            }
            Err(_) => {
                self.office.counters.panics += 1;
                return Err((Close::Fault("panic"), io));
            }
        };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("connections are limited far below 2^32")
        });
        let now = self.now;
        self.slots[slot as usize] = Some(Slot {
            turn: self.office.exchange.next_turn(self.office.shard),
            session: Some(session),
            wants: Wants { input: Pace::Hold, deadline: None },
            out: Output::new(kind, self.limits.marks),
            carry: Carry::default(),
            phase: Phase::Open,
            io,
            peer: way.peer().clone(),
            wire: way.wire,
            flags: Flags::default(),
            timer: None,
            moved: now,
            heard: now,
            opened: now,
            bytes_in: 0,
            bytes_out: 0,
            weighed: 0,
            spent: (self.turn, 0),
            key: key.map(Box::new),
        });
        self.open += 1;
        self.office.born(self.address(slot));
        self.office.counters.opened += 1;
        self.observer.opened(self.address(slot), way);
        self.call(slot, Event::Open(way), false);
        // Nothing has stopped the session from taking yet: the first `Again` belongs to its first stop.
        if let Some(entry) = self.slot_mut(slot) {
            entry.flags.took = entry.takes();
        }
        if self.stopping {
            self.call(slot, Event::Stop, false);
        }
        self.offer(slot);
        Ok(slot)
    }
    /// The address of the session in `slot`.
    ///
    /// # Panics
    /// If there is none.
    pub fn address(&self, slot: u32) -> Address {
        let turn = self.slot(slot).expect("the slot is in use").turn;
        Address { shard: self.office.shard, slot, turn }
    }
    /// Whether `slot` is in use.
    pub fn is_open(&self, slot: u32) -> bool {
        self.slot(slot).is_some()
    }
    /// The driver's part of a connection.
    pub fn io(&mut self, slot: u32) -> Option<&mut W> {
        self.slot_mut(slot).map(|entry| &mut entry.io)
    }
    /// The output and the driver's part of a connection, for [`Step::Send`], [`Step::SendFile`] and [`Step::SendRecord`].
    pub fn output(&mut self, slot: u32) -> Option<(&mut Output, &mut W)> {
        self.slot_mut(slot).map(|entry| (&mut entry.out, &mut entry.io))
    }
    /// The same to look at: so records of several peers can be sent together.
    pub fn peek(&self, slot: u32) -> Option<(&Output, &W)> {
        self.slot(slot).map(|entry| (&entry.out, &entry.io))
    }
    /// Takes a connection out: the end of [`Step::Close`].
    pub fn remove(&mut self, slot: u32) -> Option<W> {
        // A driver that gives up early still owes the session its `Gone`.
        self.finish(slot, Close::Stop);
        let who = self.slot(slot).map(|_| self.address(slot))?;
        self.set_weight(slot, 0);
        let mut entry = self.slots[slot as usize].take()?;
        entry.out.clear();
        self.buffers.take_back(&mut entry.out);
        let (Phase::Flushing(reason) | Phase::Lingering { close: reason, .. } | Phase::Over(reason)) = &entry.phase
        else {
            unreachable!("finish has closed the session")
        };
        if let Some(key) = &entry.key {
            self.peers.remove(key, slot);
        }
        self.office.counters.close(reason);
        self.observer.closed(&Closed {
            who,
            peer: &entry.peer,
            bytes_in: entry.bytes_in,
            bytes_out: entry.bytes_out,
            duration: self.now.since(entry.opened),
            reason,
        });
        self.free.push(slot);
        self.open -= 1;
        Some(entry.io)
    }

    // What came.

    /// What a connection's input is for.
    pub fn reads(&mut self, slot: u32) -> Reads {
        let held = self.is_held();
        let Some(entry) = self.slot_mut(slot) else { return Reads::No };
        match entry.phase {
            Phase::Open if entry.flags.peer_ended || !entry.takes() => Reads::No,
            Phase::Open if held => Reads::Later,
            Phase::Open => Reads::Show,
            Phase::Lingering { left, .. } if !entry.flags.peer_ended && left > 0 => Reads::Discard(left),
            Phase::Flushing(_) | Phase::Lingering { .. } | Phase::Over(_) => Reads::No,
        }
    }
    /// Whether other shards must catch up before this one shows input (rule D14). Then ask [`Self::reads`] again later.
    pub fn is_held(&mut self) -> bool {
        self.office.was_held() && self.office.is_held()
    }
    /// Bytes came on a stream. Mail that came before them is delivered first (rule D12b).
    pub fn input(&mut self, slot: u32, fresh: &mut [u8]) {
        // Mail gives a session that is held no longer its older bytes back; those that just came belong behind them, in one
        // piece (rule D3).
        self.incoming = Some(slot);
        self.deliver();
        self.incoming = None;
        self.report_received(slot, fresh);
        let held = self.is_held();
        let Some(entry) = self.slot_mut(slot).filter(|entry| entry.session.is_some()) else { return };
        if !held && entry.flags.took && entry.takes() {
            self.show(slot, fresh);
        } else {
            // Mail that was delivered just now has filled the output, or its own mail has made the shard wait.
            entry.carry.keep(fresh);
            entry.flags.unshown = true;
        }
        self.offer(slot);
    }
    /// The peer has ended its direction.
    pub fn end(&mut self, slot: u32) {
        self.deliver();
        let Some(entry) = self.slot_mut(slot) else { return };
        entry.flags.peer_ended = true;
        self.touch(slot);
        self.offer(slot);
    }
    /// Bytes were read and thrown away, as [`Reads::Discard`] said.
    pub fn discarded(&mut self, slot: u32, count: usize) {
        let Some(entry) = self.slot_mut(slot) else { return };
        if let Phase::Lingering { left, .. } = &mut entry.phase {
            *left = left.saturating_sub(count);
        }
        self.touch(slot);
    }
    /// The connection failed: reset, or an error of the kernel's.
    pub fn fail(&mut self, slot: u32, why: Close) {
        self.finish(slot, why.clone());
        if let Some(entry) = self.slot_mut(slot) {
            entry.phase = match std::mem::replace(&mut entry.phase, Phase::Open) {
                // What was still queued is lost, whatever the session meant to do.
                Phase::Flushing(_) if !entry.out.is_empty() => Phase::Over(why),
                Phase::Flushing(close) | Phase::Lingering { close, .. } | Phase::Over(close) => Phase::Over(close),
                Phase::Open => unreachable!("finish has closed the session"),
            };
        }
        self.touch(slot);
    }
    /// A conversation over datagrams that we begin: the session for `way`'s peer on `socket`, before anything has come.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_peer(&mut self, socket: u32, way: &Way, io: W) -> Result<u32, (Close, W)> {
        let key = PeerKey::new(socket, way);
        let slot = self.open_on(way, io, Kind::Records, Some(key.clone()))?;
        self.make_room_for_peer();
        self.peers.add(key, slot);
        Ok(slot)
    }
    /// The driver ends a connection by a limit of its own. What is queued is still sent, as after a session's own end.
    pub fn close(&mut self, slot: u32, why: Close) {
        self.finish(slot, why);
    }
    /// Bytes that have gone by on a connection, both directions together.
    pub fn traffic(&self, slot: u32) -> u64 {
        self.slot(slot).map_or(0, |entry| entry.bytes_in + entry.bytes_out)
    }
    /// A datagram came on `socket` from `way`'s peer, who gets a session if it has none; the one silent for longest goes if
    /// there are too many. `io` makes the driver's part of a new one. The peer's slot; `None` if it was refused.
    pub fn record(&mut self, socket: u32, way: &Way, bytes: &mut [u8], io: impl FnOnce() -> W) -> Option<u32> {
        self.deliver();
        let key = PeerKey::new(socket, way);
        let known = self.peers.find(&key);
        let slot = match known {
            Some(slot) if self.slot(slot).is_some_and(|entry| entry.session.is_some()) => slot,
            known => {
                if let Some(old) = known {
                    // Its session is over and only its last records are on their way: this datagram begins a new one.
                    self.peers.remove(&key, old);
                    if let Some(entry) = self.slot_mut(old) {
                        entry.key = None;
                    }
                }
                let slot = self.open_on(way, io(), Kind::Records, Some(key.clone())).ok()?;
                // After the service agreed: a peer it refuses pushes nobody out.
                self.make_room_for_peer();
                self.peers.add(key, slot);
                slot
            }
        };
        self.peers.heard(slot);
        self.report_received(slot, bytes);
        let (now, held) = (self.now, self.is_held());
        let entry = self.slot_mut(slot)?;
        entry.heard = now;
        if !held && entry.flags.took && entry.takes() {
            let mut taken = 0;
            self.call(slot, Event::Input(Input::new(bytes, &mut taken)), false);
            if taken < bytes.len() && self.slot(slot).is_some_and(|entry| entry.session.is_some()) {
                self.office.counters.broken += 1;
                self.finish(slot, Close::Fault("S1: a record was not taken whole"));
            }
        } else {
            self.office.counters.records_dropped += 1;
        }
        self.offer(slot);
        Some(slot)
    }
    /// The conversation with `way`'s peer on `socket` failed, if there is one.
    pub fn fail_peer(&mut self, socket: u32, way: &Way, why: Close) {
        if let Some(slot) = self.peers.find(&PeerKey::new(socket, way)) {
            self.fail(slot, why);
        }
    }
    fn make_room_for_peer(&mut self) {
        while self.peers.len() >= self.limits.udp_peers_max {
            let Some(oldest) = self.peers.oldest() else { return };
            self.office.counters.peers_evicted += 1;
            self.finish(oldest, Close::Limit("udp_peers_max"));
            self.remove(oldest);
        }
    }

    fn report_received(&mut self, slot: u32, bytes: &[u8]) {
        let shard = self.office.shard;
        let Some(entry) = self.slots.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        entry.bytes_in += bytes.len() as u64;
        self.office.counters.bytes_in += bytes.len() as u64;
        if self.payload {
            self.observer.received(Address { shard, slot, turn: entry.turn }, &entry.peer, bytes);
        }
    }

    // Time.

    /// Acts on everything that is due.
    pub fn expire(&mut self) {
        while let Some((at, slot, turn)) = self.timers.pop_due(self.now) {
            let Some(entry) = self.slot_mut(slot).filter(|entry| entry.turn == turn && entry.timer == Some(at)) else {
                continue;
            };
            entry.timer = None;
            self.look_at(slot);
            self.settle(slot);
        }
        if self.timers.len() > 64 + 4 * self.open {
            let slots = &self.slots;
            self.timers.retain(|at, slot, turn| {
                slots[slot as usize].as_ref().is_some_and(|entry| entry.turn == turn && entry.timer == Some(at))
            });
        }
    }
    /// A timer of this slot came: does what is due, if anything is.
    fn look_at(&mut self, slot: u32) {
        let (now, limits) = (self.now, self.limits);
        let Some(entry) = self.slot_mut(slot) else { return };
        let stalled = entry.stalls(&limits).is_some_and(|at| at <= now);
        match &entry.phase {
            Phase::Open if stalled => self.finish(slot, Close::Slow),
            Phase::Open => {
                let silent = entry.wire == Wire::Records && entry.heard + limits.udp_idle <= now;
                if entry.wants.is_due(now) {
                    self.call(slot, Event::Deadline, false);
                    if self.slot(slot).is_some_and(|entry| entry.session.is_some() && entry.wants.is_due(now)) {
                        self.office.counters.broken += 1;
                        self.finish(slot, Close::Fault("D6: the deadline is still due"));
                    }
                    self.offer(slot);
                } else if silent {
                    self.finish(slot, Close::Idle);
                }
            }
            Phase::Flushing(_) if stalled => self.fail(slot, Close::Slow),
            Phase::Lingering { until, .. } if *until <= now => self.fail(slot, Close::Idle),
            Phase::Flushing(_) | Phase::Lingering { .. } | Phase::Over(_) => {}
        }
    }
    /// The server is leaving: tells every session, once all mail that came before has been delivered. Sessions opened later are
    /// told at once.
    pub fn stop(&mut self) {
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        // What others were answered for has to be told before the last word (rule D12).
        self.deliver();
        for slot in self.all_slots() {
            self.call(slot, Event::Stop, false);
            self.offer(slot);
        }
    }
    /// The drain limit passed: every connection that is left is closed as it is.
    pub fn cut(&mut self) {
        for slot in self.all_slots() {
            self.office.counters.cut_at_drain += 1;
            self.finish(slot, Close::Stop);
            self.fail(slot, Close::Stop);
        }
    }
    /// All slots in use, in order.
    pub fn all_slots(&self) -> Vec<u32> {
        (0..).zip(&self.slots).filter(|(_, entry)| entry.is_some()).map(|(slot, _)| slot).collect()
    }

    // The session.

    fn slot(&self, slot: u32) -> Option<&Slot<S::Session, W>> {
        self.slots.get(slot as usize)?.as_ref()
    }
    fn slot_mut(&mut self, slot: u32) -> Option<&mut Slot<S::Session, W>> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }
    /// Puts a slot on the list of those to be looked at in this turn.
    pub fn touch(&mut self, slot: u32) {
        if let Some(entry) = self.slot_mut(slot).filter(|entry| !entry.flags.touched) {
            entry.flags.touched = true;
            self.touched.push_back(slot);
        }
    }
    /// One call of a session, and everything that must be noted right after it.
    fn call(&mut self, slot: u32, event: Event<'_, Mail<S>>, by_mail: bool) {
        let Self { slots, office, buffers, now, wall, .. } = self;
        let Some(entry) = slots.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        let Some(session) = &mut entry.session else { return };
        buffers.lend(&mut entry.out);
        let me = Address { shard: office.shard, slot, turn: entry.turn };
        office.calling(me, by_mail);
        let mut cx = Cx { now: *now, wall: *wall, me, out: &mut entry.out, host: office };
        let result = catch_unwind(AssertUnwindSafe(|| {
            let result = session.handle(event, &mut cx);
            (result, session.wants())
        }));
        self.noted(slot, result);
    }
    /// Shows a stream's bytes.
    fn show(&mut self, slot: u32, fresh: &mut [u8]) {
        let Self { slots, office, buffers, now, wall, limits, .. } = self;
        let Some(entry) = slots.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        let Some(session) = &mut entry.session else { return };
        buffers.lend(&mut entry.out);
        entry.flags.unshown = false;
        let me = Address { shard: office.shard, slot, turn: entry.turn };
        office.calling(me, false);
        let mut cx = Cx { now: *now, wall: *wall, me, out: &mut entry.out, host: office };
        let carry = &mut entry.carry;
        let result = catch_unwind(AssertUnwindSafe(|| {
            let result = carry.feed(fresh, |input| session.handle(Event::Input(input), &mut cx));
            (result, session.wants())
        }));
        let too_much = entry.carry.len() > limits.untaken_bytes_max;
        self.noted(slot, result);
        if too_much {
            self.finish(slot, Close::Limit("untaken_bytes_max"));
        }
    }
    /// Notes what holds right after a call: a later flush must not hide it (rule D11).
    fn noted(&mut self, slot: u32, result: std::thread::Result<(Result<(), Close>, Wants)>) {
        let overspent = std::mem::take(&mut self.office.overspent);
        let held = self.office.was_held();
        let Some(entry) = self.slots.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        match result {
            Err(panic) => self.panicked(slot, panic.as_ref()),
            // What did not fit is missing in front of any farewell: that must not look like a clean end (rule D7).
            Ok((Err(_), _)) if entry.out.has_overflowed() => self.finish(slot, Close::Slow),
            Ok((Err(close), _)) => self.finish(slot, close),
            Ok((Ok(()), wants)) => {
                entry.wants = wants;
                entry.flags.full |= entry.out.is_full();
                // A session that looped over input stopped where the shard came to be held.
                entry.flags.took &= wants.takes(&entry.out) && !held;
                if entry.out.has_overflowed() {
                    self.finish(slot, Close::Slow);
                } else if overspent {
                    self.office.counters.broken += 1;
                    self.finish(slot, Close::Fault("D14: mail_per_mail_max"));
                } else {
                    self.touch(slot);
                }
            }
        }
    }
    /// Everything the contract owes a session that takes input, or whose output has drained.
    fn offer(&mut self, slot: u32) {
        if self.incoming == Some(slot) {
            return;
        }
        loop {
            let held = self.is_held();
            let Some(entry) = self.slot_mut(slot).filter(|entry| entry.session.is_some()) else { return };
            if entry.flags.full && entry.out.is_low() {
                entry.flags.full = false;
                self.call(slot, Event::Drained, false);
                continue;
            }
            if !entry.takes() {
                return;
            }
            if held {
                if !entry.flags.took || entry.flags.unshown || entry.flags.peer_ended && !entry.flags.end_shown {
                    self.held.insert(slot);
                }
                return;
            }
            if !entry.flags.took {
                entry.flags.took = true;
                entry.flags.unshown = !entry.carry.is_empty();
                self.call(slot, Event::Again, false);
            } else if entry.flags.unshown && !entry.carry.is_empty() {
                self.show(slot, &mut []);
            } else if entry.flags.peer_ended && !entry.flags.end_shown {
                entry.flags.end_shown = true;
                self.call(slot, Event::End, false);
            } else {
                return;
            }
        }
    }
    /// It is over for the session: it leaves its topics and gets `Gone`; the close routine begins.
    fn finish(&mut self, slot: u32, close: Close) {
        let Some(entry) = self.slot(slot).filter(|entry| entry.session.is_some()) else { return };
        let me = Address { shard: self.office.shard, slot, turn: entry.turn };
        self.office.died(me);
        let Self { slots, office, now, wall, .. } = self;
        let Some(entry) = slots.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        let Some(mut session) = entry.session.take() else { return };
        entry.out.finish();
        entry.carry.clear();
        office.calling(me, false);
        let mut cx = Cx { now: *now, wall: *wall, me, out: &mut entry.out, host: office };
        let result = catch_unwind(AssertUnwindSafe(|| {
            let _ = session.handle(Event::Gone(&close), &mut cx);
            drop(session);
        }));
        let drops = close.drops_output();
        entry.phase = if drops { Phase::Over(close) } else { Phase::Flushing(close) };
        if let Err(panic) = result {
            self.panicked(slot, panic.as_ref());
        }
        self.touch(slot);
    }
    /// A panic costs this session and nothing else (rule D10).
    fn panicked(&mut self, slot: u32, panic: &(dyn std::any::Any + Send)) {
        let Some(entry) = self.slot(slot) else { return };
        let me = Address { shard: self.office.shard, slot, turn: entry.turn };
        let peer = entry.peer.clone();
        let what = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("(no text)");
        self.office.counters.panics += 1;
        self.observer.panicked(me, &peer, what);
        self.office.died(me);
        if let Some(entry) = self.slot_mut(slot) {
            let session = entry.session.take();
            entry.phase = Phase::Over(Close::Fault("panic"));
            entry.carry.clear();
            // What a broken session still owns may be broken too.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(session)));
        }
        self.office.calling(me, false);
        let Self { service, office, .. } = self;
        if catch_unwind(AssertUnwindSafe(|| service.lost(me, office))).is_err() {
            self.office.counters.panics += 1;
        }
        self.touch(slot);
    }

    // Memory and timers.

    /// A connection with nothing to do gives its buffer back and sets its timer.
    fn settle(&mut self, slot: u32) {
        let Self { slots, buffers, .. } = self;
        let Some(entry) = slots.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        buffers.take_back(&mut entry.out);
        self.arm(slot);
    }
    fn arm(&mut self, slot: u32) {
        let limits = self.limits;
        let Some(entry) = self.slot_mut(slot) else { return };
        let weight = entry.weight();
        if weight != entry.weighed {
            self.set_weight(slot, weight);
        }
        let Some(entry) = self.slot_mut(slot) else { return };
        let Some(at) = entry.deadline(&limits) else { return };
        if entry.timer.is_none_or(|set| at < set) {
            entry.timer = Some(at);
            let turn = entry.turn;
            self.timers.set(at, slot, turn);
        }
    }
}
