//! One shard's loop, taken apart into steps that other shards' steps come between.
use crate::{
    Sabotage, Setup,
    agenda::{Agenda, Happening, nanos},
    guard::Guarded,
    net::{Net, Read},
    watch::{Shared, lock},
};
use sotong_session::{Address, Close, End, Kind, Moment, Output, Rule, Service, Wall, Way, Wire};
use sotong_shard::{Reads, Shard, Step, Wake};
use std::{
    collections::{BTreeSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Everything outside the shards.
pub(crate) struct World {
    pub(crate) setup: Setup,
    pub(crate) agenda: Agenda,
    pub(crate) net: Net,
    pub(crate) watch: Shared,
    /// Who has which end of a wire: `2 * wire + side`.
    pub(crate) owners: Vec<Owner>,
    /// How far the driver's clock has jumped forward.
    pub(crate) skew: u64,
    pub(crate) wall: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Nobody,
    Peer { seat: usize },
    Slot { shard: u16, slot: u32 },
}

impl World {
    /// The driver's clock.
    pub(crate) fn clock(&self) -> u64 {
        self.agenda.now.saturating_add(self.skew)
    }
    fn moment(&self) -> Moment {
        Moment::START + Duration::from_nanos(self.clock())
    }
    /// A time that steps take: mostly next to nothing, sometimes a pause in which all others go on.
    fn step_time(&mut self) -> u64 {
        let dice = &mut self.agenda.dice;
        if dice.chance(self.setup.faults.pauses) { dice.between(0, 5_000_000) } else { dice.between(1, 2_000) }
    }
    fn is(&self, sabotage: Sabotage) -> bool {
        self.setup.sabotage == Some(sabotage)
    }
}

/// What a shard keeps for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Io {
    Stream { end: usize },
    Datagram { peer: usize },
}

/// Wakes a shard, now or the next time it goes to sleep.
#[derive(Debug, Default)]
pub(crate) struct Bell(AtomicBool);
impl Wake for Bell {
    fn wake(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[derive(Debug)]
enum Stage {
    Asleep,
    Begin,
    Read,
    /// Received, and not shown yet.
    Show(VecDeque<(u32, Got)>),
    Flush,
}

#[derive(Debug)]
enum Got {
    Bytes { bytes: Vec<u8>, step: u64 },
    Discarded(usize),
    End,
    Reset,
}

/// What the server is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    #[default]
    Serve,
    Stop,
    Cut,
}

/// One shard, its loop and its poller.
pub(crate) struct Runner<S: Service> {
    pub(crate) id: u16,
    pub(crate) shard: Shard<Guarded<S>, Io>,
    pub(crate) bell: Arc<Bell>,
    /// Connections that have come and are not open yet.
    pub(crate) arrivals: VecDeque<usize>,
    pub(crate) datagrams: VecDeque<(usize, Vec<u8>)>,
    pub(crate) order: Order,
    told: Order,
    stage: Stage,
    planned: bool,
    sleep: u64,
    /// Slots the poller watches for input, those it will when the shard is held no more, and those the kernel has news of.
    interest: BTreeSet<u32>,
    later: BTreeSet<u32>,
    writable: BTreeSet<u32>,
    resets: BTreeSet<u32>,
    ready: Vec<u32>,
}

/// Datagrams a socket keeps for its shard: what comes on top is lost.
const DATAGRAMS_MAX: usize = 32;

impl<S: Service> Runner<S> {
    pub(crate) fn new(id: u16, shard: Shard<Guarded<S>, Io>, bell: Arc<Bell>) -> Self {
        Self {
            id,
            shard,
            bell,
            arrivals: VecDeque::new(),
            datagrams: VecDeque::new(),
            order: Order::Serve,
            told: Order::Serve,
            stage: Stage::Asleep,
            planned: false,
            sleep: 0,
            interest: BTreeSet::new(),
            later: BTreeSet::new(),
            writable: BTreeSet::new(),
            resets: BTreeSet::new(),
            ready: Vec::new(),
        }
    }
    /// Whether nothing is left to do, now or later.
    pub(crate) fn is_done(&self) -> bool {
        self.shard.is_empty() && self.arrivals.is_empty()
    }

    pub(crate) fn is_asleep(&self) -> bool {
        matches!(self.stage, Stage::Asleep)
    }
    /// Whether bytes have come that a session takes, and this shard is about to sleep beside them (rule D4).
    fn look_for_unread(&mut self, world: &World) {
        for slot in self.shard.all_slots() {
            let who = self.shard.address(slot);
            let Some((out, Io::Stream { end })) = self.shard.output(slot) else { continue };
            if world.net.is_readable(*end / 2, *end % 2) {
                lock(&world.watch).unread(*end, who, out);
            }
        }
    }
    /// Whether everything here really waits for somebody else.
    pub(crate) fn look_for_sleepers(&mut self, world: &mut World) {
        for slot in self.shard.all_slots() {
            let (is_blocked, who) = (self.shard.is_blocked(slot), self.shard.address(slot));
            lock(&world.watch).waits(who);
            let Some((out, Io::Stream { .. })) = self.shard.output(slot) else { continue };
            if !out.is_empty() && !is_blocked {
                lock(&world.watch).fail(Some(Rule::D11), format!("{who:?} has output that nobody sends"));
            }
        }
    }

    // The kernel's news.

    pub(crate) fn readable(&mut self, slot: u32, world: &mut World) {
        if self.interest.contains(&slot) {
            self.rouse(world);
        }
    }
    pub(crate) fn writable(&mut self, slot: u32, world: &mut World) {
        if self.shard.is_blocked(slot) {
            self.writable.insert(slot);
            self.rouse(world);
        }
    }
    pub(crate) fn reset(&mut self, slot: u32, world: &mut World) {
        self.resets.insert(slot);
        self.rouse(world);
    }
    pub(crate) fn datagram(&mut self, peer: usize, bytes: Vec<u8>, world: &mut World) {
        if self.datagrams.len() < DATAGRAMS_MAX {
            self.datagrams.push_back((peer, bytes));
        }
        self.rouse(world);
    }
    /// Something came for a shard that may sleep.
    pub(crate) fn rouse(&mut self, world: &mut World) {
        if matches!(self.stage, Stage::Asleep) {
            self.stage = Stage::Begin;
            self.plan(world);
        }
    }
    /// The bell rang while it slept.
    pub(crate) fn listen(&mut self, world: &mut World) {
        if matches!(self.stage, Stage::Asleep) && self.bell.0.swap(false, Ordering::Relaxed) {
            self.rouse(world);
        }
    }
    pub(crate) fn timer(&mut self, sleep: u64, world: &mut World) {
        if self.sleep == sleep {
            self.rouse(world);
        }
    }
    fn plan(&mut self, world: &mut World) {
        if !std::mem::replace(&mut self.planned, true) {
            let time = world.step_time();
            world.agenda.after(time, Happening::Step(self.id));
        }
    }

    // The loop.

    /// The next step of the loop.
    pub(crate) fn step(&mut self, world: &mut World) {
        self.planned = false;
        match std::mem::replace(&mut self.stage, Stage::Begin) {
            Stage::Asleep => {
                self.stage = Stage::Asleep;
                return;
            }
            Stage::Begin => {
                self.begin(world);
                self.stage = Stage::Read;
            }
            Stage::Read => {
                let got = self.receive(world);
                self.stage = match got.is_empty() {
                    false => Stage::Show(got),
                    true if self.take_datagram(world) => Stage::Read,
                    true => Stage::Flush,
                };
            }
            Stage::Show(mut got) => {
                if let Some((slot, what)) = got.pop_front() {
                    self.show(slot, what, world);
                }
                self.stage = if got.is_empty() { Stage::Read } else { Stage::Show(got) };
            }
            Stage::Flush => {
                if let Some(slot) = self.shard.touched() {
                    self.flush(slot, world);
                    self.stage = Stage::Flush;
                } else {
                    lock(&world.watch).turn_ends(self.id);
                    self.stage = self.end(world);
                }
            }
        }
        if !matches!(self.stage, Stage::Asleep) {
            self.plan(world);
        }
    }
    fn begin(&mut self, world: &mut World) {
        lock(&world.watch).turn_begins(self.id, world.clock());
        self.shard.begin_turn(world.moment(), Wall(world.wall));
        if self.order >= Order::Stop && self.told < Order::Stop {
            self.told = Order::Stop;
            self.shard.stop();
        }
        if self.order == Order::Cut && self.told < Order::Cut {
            self.told = Order::Cut;
            self.shard.cut();
        }
        while let Some(end) = self.arrivals.pop_front() {
            self.accept(end, world);
        }
        self.shard.expire();
        self.shard.deliver();
        for slot in std::mem::take(&mut self.resets) {
            self.fail(slot, world);
        }
        for slot in std::mem::take(&mut self.writable) {
            self.shard.writable(slot);
        }
        if !self.shard.is_held() {
            for slot in std::mem::take(&mut self.later) {
                self.look(slot);
            }
        }
        self.ready.clear();
        let net = &world.net;
        for slot in &self.interest {
            if let Some(Io::Stream { end }) = self.shard.io(*slot)
                && net.is_readable(*end / 2, *end % 2)
            {
                self.ready.push(*slot);
            }
        }
        world.agenda.dice.shuffle(&mut self.ready);
    }
    fn accept(&mut self, end: usize, world: &mut World) {
        let number = End::Simulated(u32::try_from(end / 2 + 1).expect("few wires"));
        let server = End::Simulated(0);
        let (local, remote) = if end.is_multiple_of(2) { (server, number) } else { (number, server) };
        let way = Way::new(local, remote, Wire::Stream);
        match self.shard.open(&way, Io::Stream { end }, Kind::Stream) {
            Ok(slot) => {
                world.owners[end] = Owner::Slot { shard: self.id, slot };
                self.look(slot);
            }
            Err(_) => {
                world.owners[end] = Owner::Nobody;
                world.net.close(&mut world.agenda, end / 2, end % 2);
            }
        }
    }
    /// Asks what a connection's input is for, and tells the poller.
    fn look(&mut self, slot: u32) {
        self.interest.remove(&slot);
        self.later.remove(&slot);
        match self.shard.reads(slot) {
            Reads::No => {}
            Reads::Later => _ = self.later.insert(slot),
            Reads::Show | Reads::Discard(_) => _ = self.interest.insert(slot),
        }
    }
    fn fail(&mut self, slot: u32, world: &mut World) {
        if let Some(Io::Stream { end }) = self.shard.io(slot).copied() {
            lock(&world.watch).ends[end].failed = true;
            self.shard.fail(slot, Close::Reset);
        }
    }

    /// Receives from a few connections, without showing anything yet.
    fn receive(&mut self, world: &mut World) -> VecDeque<(u32, Got)> {
        let mut all = VecDeque::new();
        for _ in 0..world.agenda.dice.one_of(&[1, 1, 2, 5]) {
            let Some(slot) = self.ready.pop() else { break };
            let Some(Io::Stream { end }) = self.shard.io(slot).copied() else { continue };
            let got = match self.shard.reads(slot) {
                Reads::No | Reads::Later => {
                    self.look(slot);
                    continue;
                }
                Reads::Show => self.read(end, world),
                Reads::Discard(most) => {
                    let read = world.net.read(&mut world.agenda, end / 2, end % 2, most);
                    let mut watch = lock(&world.watch);
                    match read {
                        Read::Bytes(bytes) => {
                            watch.ends[end].discarded += bytes.len();
                            Some(Got::Discarded(bytes.len()))
                        }
                        Read::Nothing => None,
                        Read::End => Some(Got::End),
                        Read::Reset => Some(Got::Reset),
                    }
                }
            };
            if let Some(got) = got {
                all.push_back((slot, got));
            }
        }
        all
    }
    fn read(&mut self, end: usize, world: &mut World) -> Option<Got> {
        let most = match world.is(Sabotage::NoBudget) {
            true => usize::MAX,
            false => world.agenda.dice.size(world.setup.limits.turn_bytes_max),
        };
        let step = lock(&world.watch).step;
        match world.net.read(&mut world.agenda, end / 2, end % 2, most) {
            Read::Bytes(bytes) => Some(Got::Bytes { bytes, step }),
            Read::Nothing => None,
            Read::End => Some(Got::End),
            Read::Reset => Some(Got::Reset),
        }
    }
    fn show(&mut self, slot: u32, got: Got, world: &mut World) {
        let Some(Io::Stream { end }) = self.shard.io(slot).copied() else { return };
        match got {
            Got::Bytes { mut bytes, step } => {
                lock(&world.watch).received(end, &bytes, step);
                if world.is(Sabotage::LoseInput) && world.agenda.dice.chance(200) {
                    bytes.pop();
                }
                if !bytes.is_empty() {
                    self.shard.input(slot, &mut bytes.clone());
                }
                if world.is(Sabotage::DoubleInput) && world.agenda.dice.chance(200) {
                    self.shard.input(slot, &mut bytes);
                }
            }
            Got::Discarded(count) => self.shard.discarded(slot, count),
            Got::End => {
                lock(&world.watch).ends[end].fin_seen = true;
                self.shard.end(slot);
            }
            Got::Reset => self.fail(slot, world),
        }
        self.look(slot);
    }
    /// Shows one datagram. False if there is none, or none may be shown.
    fn take_datagram(&mut self, world: &mut World) -> bool {
        if self.shard.is_held() {
            return false;
        }
        let Some((peer, mut bytes)) = self.datagrams.pop_front() else { return false };
        let number = End::Simulated(u32::try_from(peer + 1).expect("few peers"));
        let way = Way::new(End::Simulated(0), number, Wire::Records);
        lock(&world.watch).record = Some(bytes.clone());
        if world.is(Sabotage::LoseInput) && world.agenda.dice.chance(200) {
            bytes.pop();
        }
        self.shard.record(0, &way, &mut bytes.clone(), || Io::Datagram { peer });
        if world.is(Sabotage::DoubleInput) && world.agenda.dice.chance(200) {
            self.shard.record(0, &way, &mut bytes, || Io::Datagram { peer });
        }
        lock(&world.watch).record = None;
        true
    }

    /// Does what the shard asks for one connection.
    fn flush(&mut self, slot: u32, world: &mut World) {
        loop {
            match self.shard.next(slot) {
                Step::Send => self.send(slot, world),
                Step::SendRecord => self.send_record(slot, world),
                Step::SendFile => {
                    lock(&world.watch).fail(None, "an output that leads to a stream has a file range");
                    return;
                }
                Step::HalfClose => {
                    if let Some(Io::Stream { end }) = self.shard.io(slot).copied() {
                        self.half_close(slot, end, world);
                    }
                    self.shard.half_closed(slot);
                }
                Step::Close => return self.close(slot, world),
                Step::Wait => break,
            }
            if self.breaks_close(slot, world) {
                return self.close(slot, world);
            }
        }
        self.look(slot);
    }
    fn send(&mut self, slot: u32, world: &mut World) {
        let who = self.shard.address(slot);
        let Some((out, Io::Stream { end })) = self.shard.output(slot) else { return };
        let most = match world.is(Sabotage::NoBudget) {
            true => usize::MAX,
            false => world.agenda.dice.size(world.setup.limits.turn_bytes_max),
        };
        let (bytes, end) = (front(out, most), *end);
        lock(&world.watch).flush(who);
        match world.net.send(&mut world.agenda, end / 2, end % 2, &bytes) {
            Some(0) => self.shard.blocked(slot),
            Some(count) => {
                let mut watch = lock(&world.watch);
                watch.note(who, "send", &bytes[..count], "");
                watch.sent(end, who, &bytes[..count]);
                drop(watch);
                self.shard.sent(slot, count);
            }
            None => self.fail(slot, world),
        }
    }
    fn send_record(&mut self, slot: u32, world: &mut World) {
        let who = self.shard.address(slot);
        let Some((out, Io::Datagram { peer })) = self.shard.output(slot) else { return };
        let (bytes, peer) = (front(out, usize::MAX), *peer);
        lock(&world.watch).flush(who);
        let faults = world.setup.wires.datagram_faults;
        if world.agenda.dice.chance(faults) {
            self.shard.blocked(slot);
            let time = world.agenda.dice.between(1, 1_000_000);
            let Address { shard, slot, turn } = who;
            return world.agenda.after(time, Happening::DatagramRoom { shard, slot, turn });
        }
        let is_taken = !world.agenda.dice.chance(faults);
        if is_taken {
            lock(&world.watch).note(who, "send", &bytes, "record");
            fly(world, |bytes| Happening::ToPeer { peer, bytes }, &bytes);
        }
        self.shard.sent_record(slot, is_taken);
    }
    fn half_close(&mut self, slot: u32, end: usize, world: &mut World) {
        let who = self.shard.address(slot);
        if world.is(Sabotage::CloseWithoutHalfClose) {
            return;
        }
        if world.is(Sabotage::SpeakAfterClose) {
            let sent = world.net.send(&mut world.agenda, end / 2, end % 2, b"bye").unwrap_or(0);
            lock(&world.watch).sent(end, who, &b"bye"[..sent]);
        }
        // By the shard's own clock, which is read once a turn.
        let clock = nanos(self.shard.now().since(Moment::START));
        let mut watch = lock(&world.watch);
        watch.note(who, "half-close", b"", "");
        watch.ends[end].half_closed.get_or_insert(clock);
        drop(watch);
        world.net.shut(&mut world.agenda, end / 2, end % 2);
    }
    /// Whether a broken driver closes the connection here.
    fn breaks_close(&mut self, slot: u32, world: &mut World) -> bool {
        let before_flush = world.is(Sabotage::CloseBeforeFlush);
        if !before_flush && !world.is(Sabotage::CloseWithoutLinger) {
            return false;
        }
        let Some((out, Io::Stream { end })) = self.shard.output(slot) else { return false };
        let (end, is_empty) = (*end, out.is_empty());
        let who = self.shard.address(slot);
        let watch = lock(&world.watch);
        let is_over = watch.is_over(who);
        let half_closed = watch.ends[end].half_closed.is_some();
        is_over && if before_flush { !is_empty } else { half_closed && is_empty }
    }
    fn close(&mut self, slot: u32, world: &mut World) {
        let who = self.shard.address(slot);
        let io = self.shard.remove(slot);
        for set in [&mut self.interest, &mut self.later, &mut self.writable, &mut self.resets] {
            set.remove(&slot);
        }
        let clock = nanos(self.shard.now().since(Moment::START));
        let Some(Io::Stream { end }) = io else { return };
        let mut watch = lock(&world.watch);
        watch.note(who, "close", b"", "");
        watch.removed(end, clock);
        drop(watch);
        world.owners[end] = Owner::Nobody;
        world.net.close(&mut world.agenda, end / 2, end % 2);
    }

    /// The end of a turn: sleeps if nothing is left to do.
    fn end(&mut self, world: &mut World) -> Stage {
        let can_read = self.interest.iter().any(|slot| match self.shard.io(*slot) {
            Some(Io::Stream { end }) => world.net.is_readable(*end / 2, *end % 2),
            _ => false,
        });
        let held = self.shard.is_held();
        let is_busy = can_read
            || !self.arrivals.is_empty()
            || self.order != self.told
            || !self.writable.is_empty()
            || !self.resets.is_empty()
            || !held && (!self.datagrams.is_empty() || !self.later.is_empty())
            || !self.shard.may_sleep()
            || self.bell.0.swap(false, Ordering::Relaxed);
        if is_busy {
            return Stage::Begin;
        }
        if !held {
            self.look_for_unread(world);
        }
        self.sleep += 1;
        if let Some(at) = self.shard.next_deadline() {
            let time = nanos(at.since(Moment::START)).saturating_sub(world.skew);
            world.agenda.at(time, Happening::Timer { shard: self.id, sleep: self.sleep });
        }
        Stage::Asleep
    }
}

/// A datagram on its way: it may be lost, come twice, or be overtaken.
pub(crate) fn fly(world: &mut World, happening: impl Fn(Vec<u8>) -> Happening, bytes: &[u8]) {
    let faults = world.setup.wires.datagram_faults;
    let latency = nanos(world.setup.wires.latency);
    let dice = &mut world.agenda.dice;
    let copies = match (dice.chance(faults), dice.chance(faults)) {
        (true, _) => 0,
        (false, true) => 2,
        (false, false) => 1,
    };
    for _ in 0..copies {
        let is_overtaken = world.agenda.dice.chance(faults);
        let time = latency + if is_overtaken { world.agenda.dice.between(0, 10_000_000) } else { 0 };
        world.agenda.after(time, happening(bytes.to_vec()));
    }
}

fn front(out: &Output, most: usize) -> Vec<u8> {
    let mut slices = Vec::new();
    out.gather(&mut slices, 64);
    let mut bytes = Vec::new();
    for slice in slices {
        let room = most - bytes.len();
        bytes.extend_from_slice(&slice[..slice.len().min(room)]);
    }
    bytes
}
