//! A run: shards, wires, peers and desks, one event after the other.
use crate::{
    Broken, DeskPlan, Dice, Ended, Link, Peer, PeerCx, Reading, Setup, Trace,
    agenda::{Agenda, Happening, nanos},
    desk::Queue,
    guard::{Guarded, Tagged},
    net::{Change, Net, Notice, Read},
    peer::Acts,
    runner::{Bell, Order, Owner, Runner, World, fly},
    watch::{PLANNED, Shared, Watcher, lock},
};
use sotong_session::{Address, Close, End, Rule, Service, Way};
use sotong_shard::{Closed, Counters, Exchange, Mail, Observer, Shard};
use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

/// A run of a service: k shards on one thread, over a network and with a clock that come from one seed.
///
/// Every session wears [`sotong_session::Checked`], and a watcher asserts what one session cannot see. Nothing in a run
/// depends on anything but its [`Setup`], the service, and what is connected to it.
pub struct Sim<S: Service> {
    world: World,
    exchange: Arc<Exchange<Tagged<Mail<S>>>>,
    runners: Vec<Runner<S>>,
    /// By [`Link`].
    peers: Vec<Seat>,
    desks: Vec<Desk<Mail<S>>>,
}

struct Desk<M> {
    plan: DeskPlan<M>,
    queue: Arc<Queue<M>>,
    dice: Dice,
}

/// A peer, and its end.
struct Seat {
    /// Taken out while it is called; `None` for good where the other end is a session too.
    peer: Option<Box<dyn Peer>>,
    way: SeatWay,
    backlog: VecDeque<u8>,
    heard: Vec<u8>,
    datagrams: Vec<Vec<u8>>,
    reading: Reading,
    next_read: u64,
    ended: Option<Ended>,
    told: bool,
    wants_fin: bool,
    has_fin: bool,
    has_gone: bool,
    /// When it will be called for what it can read.
    planned: Option<u64>,
}

#[derive(Clone, Copy)]
enum SeatWay {
    Wire(usize),
    Datagram { shard: u16 },
}

/// How a run went.
#[derive(Debug)]
pub struct Outcome {
    /// What happened.
    pub trace: Trace,
    /// What the shards counted.
    pub counters: Counters,
    /// Things that happened, steps of shards and pieces on wires included.
    pub steps: u64,
    links: Vec<Told>,
}

/// What a peer knows at the end.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// What it sent, as far as the kernel took it.
    pub sent: Vec<u8>,
    /// What it read.
    pub heard: Vec<u8>,
    /// The datagrams it got.
    pub datagrams: Vec<Vec<u8>>,
    /// How the other end's direction ended for it.
    pub ended: Option<Ended>,
    /// Why the server's connection ended.
    pub close: Option<Close>,
    /// Everything the session at the other end had to say.
    pub said: Vec<u8>,
}

impl Outcome {
    /// What this peer knows.
    pub fn of(&self, link: Link) -> &Told {
        &self.links[link.0]
    }
}

/// A run in which a rule was broken, and what is needed to see it again.
#[derive(Clone)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What was broken.
    pub broken: Broken,
    /// What happened up to there.
    pub trace: Trace,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, broken, trace } = self;
        write!(f, "seed {seed}: {broken}\nthe last that happened:\n{}", trace.tail(60))
    }
}
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl std::error::Error for Failure {}

/// Tells the watcher what shards tell those who log.
struct Ears(Shared);
impl Observer for Ears {
    fn opened(&self, _: Address, _: &Way) {}
    fn closed(&self, closed: &Closed<'_>) {
        let mut watch = lock(&self.0);
        watch.note(closed.who, "closed", b"", closed.reason.to_string());
        if let Some(end) = watch.ends.iter_mut().find(|end| end.who == Some(closed.who)) {
            end.close = Some(closed.reason.clone());
        }
    }
    fn panicked(&self, who: Address, _: &End, what: &str) {
        if what != PLANNED {
            lock(&self.0).fail(Rule::named_in(what), format!("{who:?} panicked: {what}"));
        }
    }
}

impl<S: Service> Sim<S> {
    /// A run of `service`, with nobody connected yet.
    ///
    /// # Panics
    /// If the limits are not legal.
    pub fn new(setup: Setup, service: S) -> Self {
        setup.limits.check().expect("the limits of a run are legal");
        let mut dice = Dice::new(setup.seed.wrapping_add(0x5070_6e67));
        let watcher = Watcher::new(setup.limits, dice.fork(), setup.faults, setup.inbox_slack);
        let watch: Shared = Arc::new(Mutex::new(watcher));
        let exchange = Exchange::new(usize::from(setup.shards));
        let service = Guarded {
            service,
            watch: Arc::clone(&watch),
            exchange: Arc::clone(&exchange),
            shards: setup.shards,
            sabotage: setup.sabotage,
        };
        let runners = (0..setup.shards).map(|id| {
            let bell = Arc::new(Bell::default());
            exchange.enter(id, Arc::<Bell>::clone(&bell));
            let ears = Arc::new(Ears(Arc::clone(&watch)));
            let seed = dice.between(0, u64::MAX);
            let shard = Shard::new(id, service.clone(), Arc::clone(&exchange), setup.driver_limits(), ears, seed);
            Runner::new(id, shard, bell)
        });
        let runners = runners.collect();
        let net = Net::new(setup.wires);
        let agenda = Agenda::new(dice);
        let world = World { agenda, net, watch, owners: Vec::new(), skew: 0, wall: 1_700_000_000_000, setup };
        let mut sim = Self { world, exchange, runners, peers: Vec::new(), desks: Vec::new() };
        sim.plan_faults();
        sim
    }
    fn plan_faults(&mut self) {
        let World { setup, agenda, .. } = &mut self.world;
        let begin = nanos(setup.faults.jumps_after);
        for _ in 0..setup.faults.wall_jumps {
            let by = agenda.dice.between(0, 200_000_000_000) as i64 - 100_000_000_000;
            let at = begin + agenda.dice.between(0, 1_000_000_000);
            agenda.at(at, Happening::WallJump(by));
        }
        for _ in 0..setup.faults.clock_jumps {
            let by = agenda.dice.one_of(&[1_000_000, 3_000_000_000, 3_600_000_000_000]);
            let at = begin + agenda.dice.between(0, 1_000_000_000);
            agenda.at(at, Happening::ClockJump(by));
        }
        if let Some(time) = setup.stop_after {
            agenda.at(nanos(time), Happening::Stop);
        }
    }
    /// Choices for the test's own use, from the run's seed.
    pub fn dice(&mut self) -> &mut Dice {
        &mut self.world.agenda.dice
    }
    /// Somebody who will connect at this time.
    pub fn connect(&mut self, at: Duration, peer: impl Peer) -> Link {
        self.add_wire(at, Some(Box::new(peer)))
    }
    /// A connection between two sessions, which will be made at this time. The service sees which side it is at by its
    /// own end: `End::Simulated(0)` for the one connected to.
    pub fn connect_session(&mut self, at: Duration) -> Link {
        self.add_wire(at, None)
    }
    fn add_wire(&mut self, at: Duration, peer: Option<Box<dyn Peer>>) -> Link {
        let World { agenda, net, watch, owners, .. } = &mut self.world;
        let wire = net.add(agenda);
        owners.extend([Owner::Nobody, Owner::Nobody]);
        lock(watch).ends.resize_with(owners.len(), Default::default);
        let seat = self.peers.len();
        agenda.at(nanos(at), Happening::Connect(seat));
        self.sit(SeatWay::Wire(wire), peer)
    }
    /// Somebody who sends and gets datagrams, from this time on.
    pub fn datagrams(&mut self, at: Duration, peer: impl Peer) -> Link {
        let seat = self.peers.len();
        self.world.agenda.at(nanos(at), Happening::Peer(seat));
        let shard = self.world.agenda.dice.pick(self.runners.len()) as u16;
        self.sit(SeatWay::Datagram { shard }, Some(Box::new(peer)))
    }
    fn sit(&mut self, way: SeatWay, peer: Option<Box<dyn Peer>>) -> Link {
        self.peers.push(Seat {
            peer,
            way,
            backlog: VecDeque::new(),
            heard: Vec::new(),
            datagrams: Vec::new(),
            reading: Reading::Fast,
            next_read: 0,
            ended: None,
            told: false,
            wants_fin: false,
            has_fin: false,
            has_gone: false,
            planned: None,
        });
        Link(self.peers.len() - 1)
    }
    /// Adds a desk, numbered from 0.
    pub fn desk(&mut self, plan: DeskPlan<Mail<S>>) {
        let dice = self.world.agenda.dice.fork();
        let queue = Queue::new(plan.queue_max, plan.refusals, self.world.agenda.dice.fork());
        self.desks.push(Desk { plan, queue, dice });
    }

    /// Runs until nothing is left: everybody has come and gone, the server was told to leave, and has left.
    ///
    /// # Errors
    /// The first rule that was broken.
    pub fn run(mut self) -> Result<Outcome, Failure> {
        let queues = self.desks.iter().map(|desk| Arc::<Queue<Mail<S>>>::clone(&desk.queue) as _).collect();
        self.exchange.set_desks(queues);
        let mut steps = 0;
        let horizon = nanos(self.world.setup.horizon);
        loop {
            let next = match self.world.agenda.next() {
                Some(Happening::Timer { .. }) if self.is_over() => continue,
                Some(happening) if self.world.agenda.now > horizon && !self.is_stopping() => {
                    self.stop();
                    happening
                }
                Some(happening) => happening,
                None if !self.is_stopping() => {
                    self.look_for_sleepers();
                    Happening::Stop
                }
                None => break,
            };
            steps += 1;
            {
                let mut watch = lock(&self.world.watch);
                watch.step = steps;
                watch.now = self.world.agenda.now;
            }
            self.happen(next);
            self.spread();
            let is_endless = steps > self.world.setup.steps_max;
            let mut watch = lock(&self.world.watch);
            watch.release(|shard| self.exchange.waiting(shard));
            if is_endless {
                watch.fail(None, "the run does not end");
            }
            if let Some(broken) = watch.broken.take() {
                let trace = std::mem::take(&mut watch.trace);
                drop(watch);
                return Err(Failure { seed: self.world.setup.seed, broken, trace });
            }
        }
        self.finish(steps)
    }
    /// Nothing is left to happen: then nothing may be left to do. A lost wake-up shows here, before the stop hides it.
    fn look_for_sleepers(&mut self) {
        for runner in &mut self.runners {
            runner.look_for_sleepers(&mut self.world);
        }
    }
    fn is_stopping(&self) -> bool {
        self.runners[0].order != Order::Serve
    }
    fn is_over(&self) -> bool {
        self.is_stopping() && self.runners.iter().all(Runner::is_done)
    }
    fn stop(&mut self) {
        if self.is_stopping() {
            return;
        }
        let drain = nanos(self.world.setup.limits.drain);
        // Time that jumps does not shorten what was promised to others.
        self.world.agenda.after(drain, Happening::Cut);
        self.order(Order::Stop);
    }
    fn order(&mut self, order: Order) {
        for runner in &mut self.runners {
            runner.order = order;
            runner.rouse(&mut self.world);
        }
    }

    fn happen(&mut self, happening: Happening) {
        let Self { world, runners, .. } = self;
        match happening {
            Happening::Step(shard) => runners[usize::from(shard)].step(world),
            Happening::Timer { shard, sleep } => runners[usize::from(shard)].timer(sleep, world),
            Happening::Connect(seat) => self.come(seat),
            Happening::Peer(seat) => self.poll(seat, None),
            Happening::Depart { wire, side } => world.net.depart(&mut world.agenda, wire, side),
            Happening::Arrive { wire, side, bytes } => world.net.arrive(&mut world.agenda, wire, side, &bytes),
            Happening::ArriveFin { wire, side } => world.net.arrive_fin(wire, side),
            Happening::ArriveReset { wire, side } => world.net.arrive_reset(wire, side),
            Happening::ToShard { peer, bytes } => {
                if let SeatWay::Datagram { shard } = self.peers[peer].way {
                    runners[usize::from(shard)].datagram(peer, bytes, world);
                }
            }
            Happening::ToPeer { peer, bytes } => {
                self.peers[peer].datagrams.push(bytes.clone());
                self.poll(peer, Some(bytes));
            }
            Happening::DatagramRoom { shard, slot, turn } => {
                let runner = &mut runners[usize::from(shard)];
                if runner.shard.is_open(slot) && runner.shard.address(slot).turn == turn {
                    runner.writable(slot, world);
                }
            }
            Happening::Desk(desk) => self.answer(desk),
            Happening::WallJump(by) => world.wall += by,
            Happening::ClockJump(by) => {
                world.skew += by;
                for runner in runners {
                    runner.rouse(world);
                }
            }
            Happening::Stop => self.stop(),
            Happening::Cut => {
                lock(&world.watch).cut = true;
                self.order(Order::Cut);
            }
        }
    }
    /// Tells everybody what has changed for them.
    fn spread(&mut self) {
        while let Some(Notice { wire, side, kind }) = self.world.net.notices.pop() {
            match self.world.owners[2 * wire + side] {
                Owner::Nobody => {}
                Owner::Peer { seat } => self.call_soon(seat),
                Owner::Slot { shard, slot } => {
                    let runner = &mut self.runners[usize::from(shard)];
                    match kind {
                        Change::Readable => runner.readable(slot, &mut self.world),
                        Change::Writable => runner.writable(slot, &mut self.world),
                        Change::Reset => runner.reset(slot, &mut self.world),
                    }
                }
            }
        }
        for (number, desk) in self.desks.iter_mut().enumerate() {
            for _ in 0..desk.queue.fresh() {
                let time = self.world.agenda.dice.between(0, nanos(desk.plan.time_max));
                self.world.agenda.after(time, Happening::Desk(number));
            }
        }
        for runner in &mut self.runners {
            runner.listen(&mut self.world);
            if runner.is_asleep() && self.exchange.waiting(runner.id) > 0 {
                lock(&self.world.watch).fail(Some(Rule::D7), format!("shard {} sleeps while mail waits", runner.id));
            }
        }
    }
    fn answer(&mut self, number: usize) {
        let desk = &mut self.desks[number];
        let Some((to, mail)) = desk.queue.take(desk.plan.any_order) else { return };
        let mail = (desk.plan.work)(mail, &mut desk.dice);
        let clerk = Address { shard: u16::MAX, slot: u32::try_from(number).unwrap_or(0), turn: 0 };
        let others = (desk.plan.others)();
        for to in others.into_iter().chain([to]) {
            let number = lock(&self.world.watch).posted(clerk, to);
            self.exchange.post(to, Tagged { number, mail: mail.clone() });
            let waiting = self.exchange.waiting(to.shard);
            lock(&self.world.watch).pushed(number, clerk, &[(to.shard, waiting)]);
        }
    }

    /// A connection reaches the server.
    fn come(&mut self, seat: usize) {
        let SeatWay::Wire(wire) = self.peers[seat].way else { return };
        let mut ends = vec![2 * wire];
        match self.peers[seat].peer {
            Some(_) => {
                self.world.owners[2 * wire + 1] = Owner::Peer { seat };
                self.call_soon(seat);
            }
            None => ends.push(2 * wire + 1),
        }
        for end in ends {
            if self.is_stopping() {
                // Nobody accepts any more.
                self.world.net.reset(&mut self.world.agenda, end / 2, end % 2);
                continue;
            }
            let shard = self.world.agenda.dice.pick(self.runners.len());
            self.runners[shard].arrivals.push_back(end);
            self.runners[shard].rouse(&mut self.world);
        }
    }
    fn call_soon(&mut self, seat: usize) {
        let it = &mut self.peers[seat];
        let at = match it.reading {
            Reading::Slow { .. } => it.next_read.max(self.world.agenda.now),
            Reading::Fast | Reading::Never => self.world.agenda.now,
        };
        if it.planned.is_none_or(|planned| at < planned) {
            it.planned = Some(at);
            self.world.agenda.at(at, Happening::Peer(seat));
        }
    }
    /// Calls a peer with what there is to read.
    fn poll(&mut self, number: usize, datagram: Option<Vec<u8>>) {
        let seat = &mut self.peers[number];
        seat.planned = seat.planned.filter(|planned| *planned > self.world.agenda.now);
        if seat.has_gone {
            return;
        }
        let fresh = match seat.way {
            SeatWay::Wire(wire) => self.read(number, wire),
            SeatWay::Datagram { .. } => datagram,
        };
        let seat = &mut self.peers[number];
        if let (SeatWay::Wire(_), Some(bytes)) = (seat.way, &fresh) {
            seat.heard.extend_from_slice(bytes);
        }
        let Some(mut peer) = seat.peer.take() else { return };
        let mut acts = Acts::default();
        let agenda = &mut self.world.agenda;
        peer.poll(&mut PeerCx {
            now: Duration::from_nanos(agenda.now),
            fresh: fresh.as_deref(),
            ended: seat.ended,
            dice: &mut agenda.dice,
            me: Link(number),
            acts: &mut acts,
        });
        self.peers[number].peer = Some(peer);
        self.act(number, acts);
    }
    fn read(&mut self, number: usize, wire: usize) -> Option<Vec<u8>> {
        let World { net, agenda, .. } = &mut self.world;
        let seat = &mut self.peers[number];
        let most = match seat.reading {
            Reading::Fast => agenda.dice.size(4096),
            Reading::Slow { bytes, every } => {
                if agenda.now < seat.next_read {
                    self.call_soon(number);
                    return None;
                }
                seat.next_read = agenda.now + nanos(every);
                bytes.max(1)
            }
            Reading::Never => return None,
        };
        match net.read(agenda, wire, 1, most) {
            Read::Bytes(bytes) => {
                self.call_soon(number);
                Some(bytes)
            }
            Read::Nothing => None,
            Read::End => {
                seat.ended.get_or_insert(Ended::Fin);
                None
            }
            Read::Reset => {
                seat.ended.get_or_insert(Ended::Reset);
                None
            }
        }
    }
    /// Does what a peer said.
    fn act(&mut self, number: usize, acts: Acts) {
        let Acts { send, fin, reset, vanish, wake, reading, pokes, claim } = acts;
        if let Some((rule, what)) = claim {
            lock(&self.world.watch).fail(rule, what);
        }
        let seat = &mut self.peers[number];
        if let Some(reading) = reading {
            seat.reading = reading;
        }
        seat.wants_fin |= fin;
        let way = seat.way;
        for bytes in send {
            match way {
                SeatWay::Wire(_) => self.peers[number].backlog.extend(bytes),
                SeatWay::Datagram { .. } => {
                    fly(&mut self.world, |bytes| Happening::ToShard { peer: number, bytes }, &bytes);
                }
            }
        }
        if let SeatWay::Wire(wire) = way {
            self.push(number, wire);
            let World { net, agenda, .. } = &mut self.world;
            if vanish {
                net.vanish(wire, 1);
            } else if reset {
                net.reset(agenda, wire, 1);
            }
            self.peers[number].has_gone |= vanish || reset;
            if reading.is_some() && self.world.net.is_readable(wire, 1) {
                self.call_soon(number);
            }
            let seat = &mut self.peers[number];
            if seat.ended.is_some() && !std::mem::replace(&mut seat.told, true) {
                self.call_soon(number);
            }
        }
        if let Some(time) = wake {
            self.world.agenda.after(nanos(time).max(1), Happening::Peer(number));
        }
        for link in pokes {
            self.world.agenda.after(1, Happening::Peer(link.0));
        }
    }
    /// Hands what a peer has to say to the kernel, as far as it takes it.
    fn push(&mut self, number: usize, wire: usize) {
        let World { net, agenda, .. } = &mut self.world;
        let seat = &mut self.peers[number];
        if seat.has_fin {
            return;
        }
        while let Some(count) = net.send(agenda, wire, 1, seat.backlog.make_contiguous()).filter(|count| *count > 0) {
            seat.backlog.drain(..count);
        }
        if seat.wants_fin && seat.backlog.is_empty() {
            seat.has_fin = true;
            net.shut(agenda, wire, 1);
        }
    }

    /// The last look: what must hold when everybody has gone.
    fn finish(self, steps: u64) -> Result<Outcome, Failure> {
        let Self { world, exchange, runners, peers, .. } = self;
        let mut counters = Counters::default();
        let mut watch = lock(&world.watch);
        for runner in &runners {
            counters.add(runner.shard.counters());
            if !runner.is_done() {
                watch.fail(Some(Rule::D8), format!("shard {} still has connections", runner.id));
            }
        }
        watch.at_end(exchange.topics());
        let mut links = Vec::new();
        for (number, seat) in peers.into_iter().enumerate() {
            let mut told = Told { heard: seat.heard, datagrams: seat.datagrams, ended: seat.ended, ..Told::default() };
            if let SeatWay::Wire(wire) = seat.way {
                let server = watch.ends[2 * wire].clone();
                told.sent = world.net.log(wire, 1).to_vec();
                told.close = server.close;
                told.said = server.said;
                let reads = seat.reading != Reading::Never && !seat.has_gone;
                if seat.peer.is_some() {
                    check_told(&mut watch, number, &told, reads);
                }
            }
            links.push(told);
        }
        let trace = std::mem::take(&mut watch.trace);
        match watch.broken.take() {
            Some(broken) => Err(Failure { seed: world.setup.seed, broken, trace }),
            None => Ok(Outcome { trace, counters, steps, links }),
        }
    }
}

/// What a peer heard must be what was said to it, and all of it if the end came cleanly (rule D8).
fn check_told(watch: &mut Watcher, number: usize, told: &Told, reads: bool) {
    let Told { heard, said, ended, close, .. } = told;
    if !said.starts_with(heard) {
        return watch.fail(Some(Rule::D8), format!("peer {number} heard what was not said to it"));
    }
    let is_clean = close.as_ref().is_some_and(|close| !close.drops_output()) && !watch.cut;
    if reads && is_clean && *ended == Some(Ended::Fin) && heard != said {
        let what = format!("peer {number} heard {} of {} bytes and then a clean end", heard.len(), said.len());
        return watch.fail(Some(Rule::D8), what);
    }
    if reads && ended.is_none() && close.is_some() {
        watch.fail(Some(Rule::D8), format!("peer {number} was never told that it is over"));
    }
}
