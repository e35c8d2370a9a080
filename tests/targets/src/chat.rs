//! The whole chat on one shard: some who say anything at any time, and a witness who must never be told a line that is none.
use crate::desk;
use sotong_chat::{ChatLimits, ChatOptions, ChatService, Mail};
use sotong_session::{Address, Close, End, Kind, Limits, Moment, Wall, Way, Wire};
use sotong_shard::{Closed, DeskQueue, Exchange, Observer, Shard, Step, Wake};
use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// How many may speak, beside the witness.
pub const SPEAKERS: usize = 4;

struct Nobody;
impl Wake for Nobody {
    fn wake(&self) {}
}

/// A panic costs one session, and here the run.
#[derive(Default)]
struct Loud(Mutex<Option<String>>);
impl Observer for Loud {
    fn opened(&self, _: Address, _: &Way) {}
    fn closed(&self, _: &Closed<'_>) {}
    fn panicked(&self, _: Address, _: &End, what: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| what.to_owned());
    }
}

#[derive(Default)]
struct Queue(Mutex<VecDeque<(Address, Mail)>>);
impl DeskQueue<Mail> for Queue {
    fn ask(&self, from: Address, mail: Mail) -> Result<(), Mail> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= 8 {
            return Err(mail);
        }
        waiting.push_back((from, mail));
        Ok(())
    }
}

/// Somebody, as long as he is there.
#[derive(Default)]
struct Seat {
    slot: Option<u32>,
    /// What he has heard of a line that is not whole.
    heard: Vec<u8>,
    is_irc: bool,
}

struct World {
    chat: ChatService,
    shard: Shard<ChatService, ()>,
    exchange: Arc<Exchange<Mail>>,
    desks: [Arc<Queue>; 2],
    loud: Arc<Loud>,
    seats: Vec<Seat>,
    now: Moment,
    wall: i64,
    /// Desks answer by themselves, and whether they fail.
    desks_work: bool,
    desks_fail: bool,
}

/// The witness's number.
const WITNESS: usize = SPEAKERS;

impl World {
    fn new(flood_control: bool) -> Self {
        let limits = ChatLimits { flood_control, ..ChatLimits::default() };
        let chat = ChatService::new(ChatOptions { limits, ..ChatOptions::default() });
        let exchange = Exchange::new(1);
        exchange.enter(0, Arc::new(Nobody));
        let desks = [Arc::new(Queue::default()), Arc::new(Queue::default())];
        exchange.set_desks(desks.iter().map(|desk| Arc::<Queue>::clone(desk) as _).collect());
        let loud = Arc::new(Loud::default());
        let shard = Shard::new(
            0,
            chat.clone(),
            Arc::clone(&exchange),
            Limits::default(),
            Arc::<Loud>::clone(&loud) as Arc<dyn Observer>,
            1,
        );
        let seats = (0..=SPEAKERS).map(|_| Seat::default()).collect();
        let now = Moment::START + Duration::from_secs(1000);
        Self {
            chat,
            shard,
            exchange,
            desks,
            loud,
            seats,
            now,
            wall: 1_795_651_200_000,
            desks_work: true,
            desks_fail: false,
        }
    }
    fn come(&mut self, who: usize) {
        if self.seats[who].slot.is_some() {
            return;
        }
        self.shard.begin_turn(self.now, Wall(self.wall));
        let end = |ip: [u8; 4], port| End::Net(SocketAddr::from((ip, port)));
        let port = 50_000 + u16::try_from(who).unwrap_or(0);
        let way = Way::new(end([127, 0, 0, 1], 8888), end([127, 0, 0, 1], port), Wire::Stream);
        let Ok(slot) = self.shard.open(&way, (), Kind::Socket) else { return };
        self.seats[who] = Seat { slot: Some(slot), heard: Vec::new(), is_irc: who == WITNESS };
        self.turn();
    }
    fn say(&mut self, who: usize, bytes: &[u8]) {
        self.come(who);
        let Some(slot) = self.seats[who].slot else { return };
        self.shard.input(slot, &mut bytes.to_vec());
        self.turn();
    }
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.shard.next_deadline().filter(|at| *at <= until) {
            self.go_to(at.max(self.now));
        }
        self.go_to(until);
    }
    fn go_to(&mut self, at: Moment) {
        self.wall += at.since(self.now).as_millis() as i64;
        self.now = at;
        self.shard.begin_turn(self.now, Wall(self.wall));
        self.shard.expire();
        self.turn();
    }
    /// Until nothing is left to do.
    fn turn(&mut self) {
        loop {
            let mut moved = self.shard.deliver();
            while let Some(slot) = self.shard.touched() {
                moved |= self.act(slot);
            }
            moved |= self.desks_work && self.answer();
            let panicked = self.loud.0.lock().unwrap_or_else(PoisonError::into_inner).take();
            assert_eq!(panicked, None, "a session panicked");
            if !moved {
                return;
            }
            self.shard.begin_turn(self.now, Wall(self.wall));
        }
    }
    /// Desks answer what they have been asked.
    fn answer(&mut self) -> bool {
        let mut moved = false;
        for desk in &self.desks {
            while let Some((from, mail)) = desk.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front() {
                let ask = mail.asked().expect("a desk is asked");
                self.exchange.post(from, Mail::answer(desk::answer(ask, self.desks_fail)));
                moved = true;
            }
        }
        moved
    }
    fn act(&mut self, slot: u32) -> bool {
        let mut moved = false;
        loop {
            match self.shard.next(slot) {
                Step::Send => {
                    let Some((out, ())) = self.shard.output(slot) else { return moved };
                    let mut slices = Vec::new();
                    out.gather(&mut slices, usize::MAX);
                    let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
                    self.shard.sent(slot, bytes.len());
                    if let Some(seat) = self.seats.iter_mut().find(|seat| seat.slot == Some(slot)) {
                        seat.heard.extend_from_slice(&bytes);
                        check(seat);
                    }
                    moved = true;
                }
                Step::HalfClose => {
                    self.shard.half_closed(slot);
                    moved = true;
                }
                Step::Close => {
                    if let Some(seat) = self.seats.iter_mut().find(|seat| seat.slot == Some(slot)) {
                        assert!(!seat.is_irc || seat.heard.is_empty(), "a line without its end");
                        seat.slot = None;
                    }
                    self.shard.remove(slot);
                    return true;
                }
                Step::SendFile | Step::SendRecord | Step::Wait => return moved,
            }
        }
    }
    /// Everybody goes; nobody is left.
    fn end(mut self) {
        self.desks_work = true;
        self.turn();
        for who in 0..self.seats.len() {
            let Some(slot) = self.seats[who].slot else { continue };
            self.shard.fail(slot, Close::Reset);
            self.turn();
        }
        self.pass(Duration::from_secs(30));
        let (_, _, newcomers) = self.chat.count();
        assert_eq!(newcomers, 0, "everybody has gone");
    }
}

/// Whole lines of UTF-8 without control bytes that end lines, none longer than allowed.
fn check(seat: &mut Seat) {
    let Some(end) = seat.heard.iter().rposition(|byte| *byte == b'\n') else { return };
    let lines: Vec<u8> = seat.heard.drain(..=end).collect();
    if !seat.is_irc {
        return;
    }
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        let shown = line.escape_ascii();
        let whole = line.strip_suffix(b"\r\n").unwrap_or_else(|| panic!("no end: {shown}"));
        assert!(std::str::from_utf8(whole).is_ok(), "not UTF-8: {shown}");
        assert!(!whole.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')), "control bytes: {shown}");
        let tags = match whole.first() {
            Some(b'@') => whole.iter().position(|byte| *byte == b' ').map_or(whole.len(), |at| at + 1),
            _ => 0,
        };
        assert!(tags <= 8191 && line.len() - tags <= 512, "too long: {shown}");
        assert!(whole.len() > tags, "empty: {shown}");
    }
}

/// A script, line by line. A line begins with who it is about:
///
/// - `0` to `3`, then bytes that he says, with their end; `a` to `d`: the same without it;
/// - `t`, then a byte: so many seconds pass; `e`, then `0` to `3`: he ends his direction; `r`: he is reset;
/// - `w`: desks work no more, or again; `f`: they fail, or no more.
pub fn chat(data: &[u8]) {
    let Some((first, script)) = data.split_first() else { return };
    let mut world = World::new(first & 1 != 0);
    world.say(
        WITNESS,
        b"CAP LS 302\r\nCAP REQ :message-tags server-time batch echo-message\r\nNICK witness\r\nUSER w 0 * :w\r\n\
          CAP END\r\nJOIN #r,#lobby\r\n",
    );
    let speaker = |byte: u8, base: u8| usize::from(byte.wrapping_sub(base));
    for line in script.split(|byte| *byte == b'\n').take(200) {
        let Some((about, rest)) = line.split_first() else { continue };
        match about {
            b'0'..=b'3' => world.say(speaker(*about, b'0'), &[rest, b"\r\n"].concat()),
            b'a'..=b'd' => world.say(speaker(*about, b'a'), rest),
            b't' => world.pass(Duration::from_secs(rest.first().copied().unwrap_or(1).into())),
            b'e' | b'r' => {
                let who = rest.first().map_or(0, |byte| speaker(*byte, b'0')).min(SPEAKERS - 1);
                if let Some(slot) = world.seats[who].slot {
                    if *about == b'e' {
                        world.shard.end(slot);
                    } else {
                        world.shard.fail(slot, Close::Reset);
                    }
                    world.turn();
                }
            }
            b'w' => {
                world.desks_work = !world.desks_work;
                world.turn();
            }
            b'f' => world.desks_fail = !world.desks_fail,
            _ => {}
        }
    }
    world.end();
}
