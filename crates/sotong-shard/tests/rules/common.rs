//! A shard, sessions that do what the test says, and a list of what happened to them.
use sotong_session::{
    Address, CheckedService, Close, Cx, End, Event, Host, Kind, Limits, Marks, Moment, Output, Pace, Service, Session,
    Wall, Wants, Way, Wire,
};
use sotong_shard::{Closed, Exchange, Observer, Reads, Shard, Step, Wake};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

/// What a test's session does with an event; `Wants` is what it will want afterwards.
type Behaviour = dyn Fn(&mut Event<'_, u32>, &mut Cx<'_, u32>, &mut Wants) -> Result<(), Close> + Send + Sync + 'static;

/// What happened, a line each: `shard.slot event`.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);
impl Log {
    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    pub(crate) fn note(&self, who: Address, what: &str) {
        self.lines().push(format!("{}.{} {what}", who.shard, who.slot));
    }
    /// What happened since the last look.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines())
    }
}

#[derive(Clone)]
pub(crate) struct Actors {
    behaviour: Arc<Behaviour>,
    log: Log,
}
pub(crate) struct Actor {
    behaviour: Arc<Behaviour>,
    log: Log,
    wants: Wants,
}
impl Service for Actors {
    type Session = Actor;
    fn open(&self, way: &Way) -> Result<Actor, Close> {
        if way.remote == End::Simulated(404) {
            return Err(Close::Limit("door"));
        }
        Ok(Actor { behaviour: Arc::clone(&self.behaviour), log: self.log.clone(), wants: Wants::INPUT })
    }
    fn lost(&self, who: Address, _: &mut dyn Host<u32>) {
        self.log.note(who, "lost");
    }
}
impl Session for Actor {
    type Mail = u32;
    fn handle(&mut self, mut event: Event<'_, u32>, cx: &mut Cx<'_, u32>) -> Result<(), Close> {
        let what = match &event {
            Event::Input(input) => format!("Input {}", String::from_utf8_lossy(input.bytes())),
            Event::Mail(mail) => format!("Mail {mail}"),
            Event::Gone(close) => format!("Gone {}", close.word()),
            Event::Open(_) | Event::Again | Event::End | Event::Deadline | Event::Drained | Event::Stop => {
                event.name().to_owned()
            }
        };
        self.log.note(cx.me, &what);
        (self.behaviour)(&mut event, cx, &mut self.wants)
    }
    fn wants(&self) -> Wants {
        self.wants
    }
}

/// Takes all input and echoes it; says goodbye by `finish` at the end.
pub(crate) fn echo(event: &mut Event<'_, u32>, cx: &mut Cx<'_, u32>) -> Result<(), Close> {
    match event {
        Event::Input(input) => {
            let count = input.bytes().len().min(cx.out.room());
            cx.out.put(&input.bytes()[..count]);
            input.take(count);
        }
        Event::End => cx.out.finish(),
        Event::Stop => return Err(Close::Stop),
        Event::Open(_) | Event::Again | Event::Mail(_) | Event::Deadline | Event::Drained | Event::Gone(_) => {}
    }
    Ok(())
}

/// How often a shard was woken.
#[derive(Default)]
pub(crate) struct Bell(AtomicU32);
impl Wake for Bell {
    fn wake(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
impl Bell {
    pub(crate) fn rings(&self) -> u32 {
        self.0.swap(0, Ordering::SeqCst)
    }
}

struct Notes(Log);
impl Observer for Notes {
    fn opened(&self, _: Address, _: &Way) {}
    fn closed(&self, closed: &Closed<'_>) {
        self.0.note(closed.who, &format!("closed {}", closed.reason));
    }
    fn panicked(&self, who: Address, _: &End, what: &str) {
        self.0.note(who, &format!("panicked: {what}"));
    }
}

/// A connection of the test: what went out, and how the driver shut it.
#[derive(Debug, Default)]
pub(crate) struct Conn {
    pub(crate) sent: Vec<u8>,
    /// Bytes the kernel still takes.
    pub(crate) space: usize,
    pub(crate) is_shut: bool,
}

/// Shards side by side, run by hand.
pub(crate) struct World {
    pub(crate) exchange: Arc<Exchange<u32>>,
    pub(crate) shards: Vec<Shard<CheckedService<Actors>, Conn>>,
    pub(crate) bells: Vec<Arc<Bell>>,
    pub(crate) log: Log,
    pub(crate) now: Moment,
}

/// Limits in which every number is small and different.
pub(crate) fn small() -> Limits {
    Limits {
        marks: Marks { low: 4, high: 16, hard: 64 },
        untaken_bytes_max: 32,
        turn_bytes_max: 4096,
        inbox_high: 4,
        mail_per_mail_max: 3,
        udp_peers_max: 2,
        ..Limits::default()
    }
}

impl World {
    pub(crate) fn new(
        shards: u16,
        limits: Limits,
        behaviour: impl Fn(&mut Event<'_, u32>, &mut Cx<'_, u32>, &mut Wants) -> Result<(), Close> + Send + Sync + 'static,
    ) -> Self {
        let exchange = Exchange::new(usize::from(shards));
        let log = Log::default();
        let service = CheckedService(Actors { behaviour: Arc::new(behaviour), log: log.clone() });
        let bells: Vec<Arc<Bell>> = (0..shards).map(|_| Arc::default()).collect();
        let shards = (0..shards).zip(&bells).map(|(id, bell)| {
            exchange.enter(id, Arc::<Bell>::clone(bell));
            Shard::new(id, service.clone(), Arc::clone(&exchange), limits, Arc::new(Notes(log.clone())), 1)
        });
        let shards = shards.collect();
        Self { exchange, shards, bells, log, now: Moment::START }
    }
    pub(crate) fn one(
        limits: Limits,
        behaviour: impl Fn(&mut Event<'_, u32>, &mut Cx<'_, u32>, &mut Wants) -> Result<(), Close> + Send + Sync + 'static,
    ) -> Self {
        Self::new(1, limits, behaviour)
    }
    /// A connection with an endless kernel buffer; its `Open` is not in the log.
    pub(crate) fn open(&mut self, shard: usize) -> u32 {
        let way = Way::new(End::Simulated(0), End::Simulated(1), Wire::Stream);
        let conn = Conn { space: usize::MAX, ..Conn::default() };
        let slot = self.shards[shard].open(&way, conn, Kind::Socket).map_err(|(close, _)| close).expect("accepted");
        self.log.take();
        slot
    }
    pub(crate) fn address(&self, shard: usize, slot: u32) -> Address {
        self.shards[shard].address(slot)
    }
    /// What a connection's kernel takes from now on, on any shard.
    pub(crate) fn set_space_on(&mut self, shard: usize, slot: u32, space: usize) {
        self.shards[shard].io(slot).expect("the slot is in use").space = space;
        self.shards[shard].writable(slot);
    }
    /// Whether somebody has rung for a shard since the last look.
    pub(crate) fn has_rung(&self, shard: usize) -> bool {
        self.bells[shard].rings() > 0
    }
    /// Bytes come, if the shard reads.
    pub(crate) fn input(&mut self, slot: u32, bytes: &[u8]) {
        assert_eq!(self.shards[0].reads(slot), Reads::Show);
        self.shards[0].input(slot, &mut bytes.to_vec());
    }
    /// How much the kernel takes from now on.
    pub(crate) fn set_space(&mut self, slot: u32, space: usize) {
        self.shards[0].io(slot).expect("the slot is in use").space = space;
        self.shards[0].writable(slot);
    }
    pub(crate) fn sent(&mut self, slot: u32) -> String {
        let conn = self.shards[0].io(slot).expect("the slot is in use");
        String::from_utf8(std::mem::take(&mut conn.sent)).expect("tests send text")
    }
    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.turn();
    }
    /// A turn of each shard in which nothing comes from peers.
    pub(crate) fn turn(&mut self) {
        for shard in 0..self.shards.len() {
            self.turn_of(shard);
        }
    }
    pub(crate) fn turn_of(&mut self, shard: usize) {
        let now = self.now;
        let at = &mut self.shards[shard];
        at.begin_turn(now, Wall(0));
        at.expire();
        at.deliver();
        self.flush_of(shard);
    }
    pub(crate) fn flush(&mut self) {
        self.flush_of(0);
    }
    fn flush_of(&mut self, shard: usize) {
        let log = self.log.clone();
        let shard = &mut self.shards[shard];
        while let Some(slot) = shard.touched() {
            loop {
                match shard.next(slot) {
                    Step::Send => {
                        let (out, conn) = shard.output(slot).expect("it has output");
                        let bytes = front(out, conn.space);
                        assert!(!conn.is_shut, "sent after the half-close");
                        conn.space -= bytes.len();
                        conn.sent.extend_from_slice(&bytes);
                        match bytes.len() {
                            0 => shard.blocked(slot),
                            count => shard.sent(slot, count),
                        }
                    }
                    Step::SendRecord => {
                        let (out, conn) = shard.output(slot).expect("it has output");
                        if conn.space == 0 {
                            shard.blocked(slot);
                            continue;
                        }
                        conn.sent.extend_from_slice(&front(out, usize::MAX));
                        conn.sent.push(b'|');
                        shard.sent_record(slot, true);
                    }
                    Step::SendFile => unreachable!("no session here sends files"),
                    Step::HalfClose => {
                        log.note(shard.address(slot), "half-close");
                        shard.io(slot).expect("it is open").is_shut = true;
                        shard.half_closed(slot);
                    }
                    Step::Close => {
                        shard.remove(slot);
                        break;
                    }
                    Step::Wait => break,
                }
            }
        }
    }
}

fn front(out: &Output, most: usize) -> Vec<u8> {
    let mut slices = Vec::new();
    out.gather(&mut slices, 64);
    let mut bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
    bytes.truncate(most);
    bytes
}

/// `Wants` with another pace.
pub(crate) fn pace(wants: &mut Wants, pace: Pace) {
    wants.input = pace;
}
