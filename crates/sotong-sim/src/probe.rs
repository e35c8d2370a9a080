//! A service and peers that probe a driver: talk in one topic, pings, slow work, long answers, and every way to leave.
//!
//! [`scene`] puts them together as a seed says; [`pipes`] is another, of traffic both ways at once. A driver that breaks a rule of the contract is found out by it within a few
//! seeds.
use crate::{DeskPlan, Dice, Peer, PeerCx, Reading, Setup, Sim};
use sotong_session::{
    Address, Close, Cx, Desk, Event, Host, Moment, Pace, Rule, Service, Session, Stream, Topic, Wants, Way,
};
use std::{
    cell::RefCell,
    collections::VecDeque,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

mod pipe;
pub use pipe::{Pipe, PipeEnd, pipes};

/// A room of numbers, spoken in lines. Each command has one answer, in order:
///
/// | command | answer |
/// |---|---|
/// | `say N` | `ok N`, and `heard N` for every member |
/// | `cry N` | `ok N`, and N times `y` for every member |
/// | `ping N` | `pong N` |
/// | `big N` | N times `x` |
/// | `ask N` | `desk N`, `failed N` or `busy N`, when the desk has answered |
/// | `bye` | `bye`, and the end |
#[derive(Clone, Debug)]
pub struct Hub {
    spread: Spread,
    owner: Arc<Mutex<Option<Address>>>,
}

/// How what is said reaches the members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// The speaker's session publishes it.
    Direct,
    /// The first session that came does, for all; the speaker is answered when that is done.
    Owner,
    /// As before, and the speaker is answered at once: which breaks rule D12d.
    OwnerAnsweredEarly,
}

/// One member.
#[derive(Debug)]
pub struct Member {
    hub: Hub,
    pace: Pace,
    idle_at: Option<Moment>,
}

/// What members and desks send each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HubMail {
    /// To all: this was said.
    Said(u64),
    /// To all: so many letters were cried.
    Cried(u64),
    /// To the owner: publish this, and tell the speaker.
    Say(Address, u64),
    /// From the owner: it is published.
    Done(u64),
    /// To the desk.
    Asked(u64),
    /// From the desk.
    Answered(u64),
    /// From the desk: it could not.
    Failed(u64),
}

const TALK: Topic = Topic(1);
const WORK: Desk = Desk(0);
/// A member that is silent for so long is told goodbye.
const IDLE: Duration = Duration::from_secs(30);
const LINE_BYTES_MAX: usize = 64;

impl Hub {
    /// A room where what is said spreads so.
    pub fn new(spread: Spread) -> Self {
        Self { spread, owner: Arc::default() }
    }
    fn owner(&self) -> std::sync::MutexGuard<'_, Option<Address>> {
        self.owner.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn left(&self, who: Address, host: &mut dyn Host<HubMail>) {
        let mut owner = self.owner();
        if *owner == Some(who) {
            *owner = None;
        }
        drop(owner);
        host.publish(TALK, None, HubMail::Said(0));
    }
}

impl Service for Hub {
    type Session = Member;
    fn open(&self, _: &Way) -> Result<Member, Close> {
        Ok(Member { hub: self.clone(), pace: Pace::WhileRoom, idle_at: None })
    }
    fn lost(&self, who: Address, host: &mut dyn Host<HubMail>) {
        self.left(who, host);
    }
}

impl Stream for Member {}
impl Session for Member {
    type Mail = HubMail;
    fn handle(&mut self, event: Event<'_, HubMail>, cx: &mut Cx<'_, HubMail>) -> Result<(), Close> {
        match event {
            Event::Open(_) => {
                self.hub.owner().get_or_insert(cx.me);
                cx.host.join(TALK, cx.me);
                cx.out.put(b"hello\n");
                self.idle_at = Some(cx.now + IDLE);
            }
            Event::Input(mut input) => {
                self.idle_at = Some(cx.now + IDLE);
                while cx.takes(self.wants()) {
                    let Some(end) = input.bytes().iter().position(|byte| *byte == b'\n') else {
                        if input.bytes().len() > LINE_BYTES_MAX {
                            cx.out.put(b"too long\n");
                            return Err(Close::Limit("line_bytes_max"));
                        }
                        break;
                    };
                    let line = String::from_utf8_lossy(&input.bytes()[..end]).into_owned();
                    input.take(end + 1);
                    self.command(&line, cx)?;
                }
            }
            Event::Mail(mail) => self.mail(*mail, cx),
            Event::End => cx.out.finish(),
            Event::Deadline => {
                cx.out.put(b"idle\n");
                return Err(Close::Idle);
            }
            Event::Stop => {
                cx.out.put(b"leaving\n");
                return Err(Close::Stop);
            }
            Event::Gone(_) => self.hub.left(cx.me, cx.host),
            Event::Again | Event::Drained => {}
        }
        Ok(())
    }
    fn wants(&self) -> Wants {
        Wants { input: self.pace, deadline: self.idle_at }
    }
}

impl Member {
    fn command(&mut self, line: &str, cx: &mut Cx<'_, HubMail>) -> Result<(), Close> {
        let (word, number) = line.split_once(' ').unwrap_or((line, "0"));
        let Ok(number) = number.parse::<u64>() else { return Err(Close::Protocol("no number".into())) };
        let mut say = |what: &str| cx.out.put(format!("{what} {number}\n").as_bytes());
        match word {
            "ping" => say("pong"),
            "cry" => {
                cx.host.publish(TALK, None, HubMail::Cried(number));
                say("ok");
            }
            "big" => cx.out.put(&letters(b'x', number)),
            "ask" if cx.host.ask(WORK, HubMail::Asked(number)).is_ok() => self.pace = Pace::Hold,
            "ask" => say("busy"),
            "bye" => {
                cx.out.put(b"bye\n");
                return Err(Close::Done);
            }
            "say" => {
                let owner = self.hub.owner().filter(|owner| self.hub.spread != Spread::Direct && *owner != cx.me);
                match owner {
                    None => {
                        cx.host.publish(TALK, None, HubMail::Said(number));
                        say("ok");
                    }
                    Some(owner) => {
                        cx.host.post(owner, HubMail::Say(cx.me, number));
                        if self.hub.spread == Spread::OwnerAnsweredEarly {
                            say("ok");
                        } else {
                            // Later answers wait until this one has taken effect (rule D12d).
                            self.pace = Pace::Hold;
                        }
                    }
                }
            }
            _ => return Err(Close::Protocol("unknown command".into())),
        }
        Ok(())
    }
    fn mail(&mut self, mail: HubMail, cx: &mut Cx<'_, HubMail>) {
        let mut answer = |what: &str, number: u64| {
            self.pace = Pace::WhileRoom;
            cx.out.put(format!("{what} {number}\n").as_bytes());
        };
        match mail {
            HubMail::Cried(number) => cx.out.put(&letters(b'y', number)),
            HubMail::Said(number) => cx.out.put(format!("heard {number}\n").as_bytes()),
            HubMail::Say(from, number) => {
                cx.host.publish(TALK, None, HubMail::Said(number));
                if self.hub.spread == Spread::Owner {
                    cx.host.post(from, HubMail::Done(number));
                }
            }
            HubMail::Done(number) => answer("ok", number),
            HubMail::Answered(number) => answer("desk", number),
            HubMail::Failed(number) => answer("failed", number),
            HubMail::Asked(_) => {}
        }
    }
}

/// A line of one letter.
fn letters(letter: u8, count: u64) -> Vec<u8> {
    let mut line = vec![letter; count.min(1_000) as usize];
    line.push(b'\n');
    line
}

/// Lines out of pieces.
#[derive(Debug, Default)]
pub struct Lines(Vec<u8>);
impl Lines {
    /// Adds what came.
    pub fn feed(&mut self, fresh: Option<&[u8]>) {
        self.0.extend_from_slice(fresh.unwrap_or_default());
    }
    /// The next whole line, without its end.
    pub fn take(&mut self) -> Option<String> {
        let end = self.0.iter().position(|byte| *byte == b'\n')?;
        let line = self.0.drain(..=end).collect::<Vec<u8>>();
        Some(String::from_utf8_lossy(&line[..end]).into_owned())
    }
}

/// Somebody who says all kinds of things, checks each answer, and leaves in one of many ways.
#[derive(Debug)]
pub struct Chatter {
    commands: VecDeque<String>,
    /// Answers that must come, in order; any of those separated by `|`.
    expected: VecDeque<String>,
    /// Waits for each answer before it goes on.
    is_polite: bool,
    reading: Reading,
    leaving: Leaving,
    lines: Lines,
    has_begun: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    Bye,
    Fin,
    Reset,
    Vanish,
    Stay,
    Garbage,
}

impl Chatter {
    /// Draws one; its numbers begin at `base`.
    pub fn new(dice: &mut Dice, base: u64) -> Self {
        let count = dice.between(0, 25);
        // Few cry, and they cry much: more than those who read slowly may be kept.
        let cries = dice.chance(20);
        let commands = (0..count).map(|number| {
            let number = base + number;
            match dice.pick(20) {
                _ if cries => "cry 300".to_owned(),
                0..=10 => format!("say {number}"),
                11..=13 => format!("ping {number}"),
                14 | 15 => format!("big {}", dice.between(0, 300)),
                _ => format!("ask {number}"),
            }
        });
        let commands = commands.collect();
        let slow = Reading::Slow { bytes: dice.size(64), every: Duration::from_micros(dice.between(1, 20_000)) };
        use Leaving::{Bye, Fin, Garbage, Reset, Stay, Vanish};
        Self {
            commands,
            expected: VecDeque::from(["hello".to_owned()]),
            is_polite: dice.chance(500),
            reading: dice.one_of(&[Reading::Fast, Reading::Fast, Reading::Fast, slow, slow, Reading::Never]),
            leaving: dice.one_of(&[Bye, Bye, Fin, Fin, Fin, Reset, Vanish, Stay, Garbage]),
            lines: Lines::default(),
            has_begun: false,
        }
    }
    fn say(&mut self, command: &str, cx: &mut PeerCx<'_>) {
        let (word, number) = command.split_once(' ').unwrap_or((command, ""));
        self.expected.push_back(match word {
            "say" | "cry" => format!("ok {number}"),
            "ping" => format!("pong {number}"),
            "big" => "x".repeat(number.parse().unwrap_or(0)),
            "ask" => format!("desk {number}|failed {number}|busy {number}"),
            _ => "bye".to_owned(),
        });
        cx.send(format!("{command}\n").as_bytes());
    }
    fn hear(&mut self, line: &str, cx: &mut PeerCx<'_>) {
        if line.starts_with("heard ") || line.starts_with('y') || ["leaving", "idle", "too long"].contains(&line) {
            return;
        }
        match self.expected.pop_front() {
            Some(expected) if expected.split('|').any(|one| one == line) => {}
            expected => cx.claim(None, format!("{:?} was answered {line:?} where {expected:?} is right", cx.me)),
        }
    }
}

impl Peer for Chatter {
    fn poll(&mut self, cx: &mut PeerCx<'_>) {
        if !std::mem::replace(&mut self.has_begun, true) {
            cx.read(self.reading);
        }
        self.lines.feed(cx.fresh);
        while let Some(line) = self.lines.take() {
            self.hear(&line, cx);
        }
        if cx.ended.is_some() {
            return cx.fin();
        }
        while !self.is_polite || self.expected.is_empty() || self.reading == Reading::Never {
            let Some(command) = self.commands.pop_front() else { break };
            self.say(&command, cx);
        }
        if !self.commands.is_empty() || self.is_polite && !self.expected.is_empty() && self.reading != Reading::Never {
            return;
        }
        match std::mem::replace(&mut self.leaving, Leaving::Stay) {
            Leaving::Bye => self.say("bye", cx),
            Leaving::Fin => cx.fin(),
            Leaving::Reset => cx.reset(),
            Leaving::Vanish => cx.vanish(),
            Leaving::Garbage => cx.send(&[b'?'; LINE_BYTES_MAX * 2]),
            Leaving::Stay => {}
        }
    }
}

/// What the two of a pair know of each other, outside the network.
#[derive(Debug, Default)]
struct Between {
    listens: bool,
    acked: u64,
    ponged: u64,
    is_over: bool,
}

/// Speaks, and once it is answered has its listener ping: by then the listener must have heard it (rule D12).
#[derive(Debug)]
pub struct Speaker {
    between: Rc<RefCell<Between>>,
    listener: crate::Link,
    next: u64,
    last: u64,
    is_welcome: bool,
    waits: bool,
    lines: Lines,
}

/// The other of the two.
#[derive(Debug)]
pub struct Listener {
    between: Rc<RefCell<Between>>,
    speaker: Option<crate::Link>,
    asked: u64,
    heard: Vec<u64>,
    lines: Lines,
}

/// Connects a pair that probes the order between shards for so many rounds. Its numbers begin at `base`, which is not 0.
pub fn pair<S: Service>(sim: &mut Sim<S>, at: Duration, base: u64, rounds: u64) {
    let between: Rc<RefCell<Between>> = Rc::default();
    let lines = Lines::default;
    let listens = Listener { between: Rc::clone(&between), speaker: None, asked: 0, heard: Vec::new(), lines: lines() };
    let listener = sim.connect(at, listens);
    let last = base + rounds;
    sim.connect(at, Speaker { between, listener, next: base, last, is_welcome: false, waits: false, lines: lines() });
}

impl Peer for Speaker {
    fn poll(&mut self, cx: &mut PeerCx<'_>) {
        self.lines.feed(cx.fresh);
        while let Some(line) = self.lines.take() {
            if line == "hello" {
                self.is_welcome = true;
            } else if line == format!("ok {}", self.next) {
                self.between.borrow_mut().acked = self.next;
                cx.poke(self.listener);
            }
        }
        let mut between = self.between.borrow_mut();
        if cx.ended.is_some() || between.is_over {
            return self.leave(&mut between, cx);
        }
        if self.waits && between.ponged == self.next {
            self.waits = false;
            self.next += 1;
        }
        if !self.waits && self.next == self.last {
            return self.leave(&mut between, cx);
        }
        if self.is_welcome && between.listens && !self.waits {
            self.waits = true;
            cx.send(format!("say {}\n", self.next).as_bytes());
        }
    }
}

impl Speaker {
    fn leave(&self, between: &mut Between, cx: &mut PeerCx<'_>) {
        if !std::mem::replace(&mut between.is_over, true) {
            cx.poke(self.listener);
        }
        cx.fin();
    }
}

impl Peer for Listener {
    fn poll(&mut self, cx: &mut PeerCx<'_>) {
        self.lines.feed(cx.fresh);
        // The speaker is the one connected right after.
        let speaker = *self.speaker.get_or_insert(crate::Link(cx.me.0 + 1));
        while let Some(line) = self.lines.take() {
            let (word, number) = line.split_once(' ').unwrap_or((&line, "0"));
            let number = number.parse().unwrap_or(0);
            match word {
                "hello" => {
                    self.between.borrow_mut().listens = true;
                    cx.poke(speaker);
                }
                "heard" => self.heard.push(number),
                "pong" if self.heard.contains(&number) => {
                    self.between.borrow_mut().ponged = number;
                    cx.poke(speaker);
                }
                "pong" => {
                    cx.claim(Some(Rule::D12), format!("pong {number} came before what had been said before the ping"));
                }
                _ => {}
            }
        }
        let mut between = self.between.borrow_mut();
        if cx.ended.is_some() || between.is_over {
            if !std::mem::replace(&mut between.is_over, true) {
                cx.poke(speaker);
            }
            return cx.fin();
        }
        let acked = between.acked;
        if acked > self.asked {
            self.asked = acked;
            cx.send(format!("ping {acked}\n").as_bytes());
        }
    }
}

/// A room with all kinds of people in it, as the setup's seed says.
pub fn scene(setup: Setup, spread: Spread) -> Sim<Hub> {
    let mut sim = Sim::new(setup, Hub::new(spread));
    sim.desk(DeskPlan {
        any_order: false,
        queue_max: 3,
        refusals: 100,
        time_max: Duration::from_millis(20),
        work: Box::new(|mail, dice| match mail {
            HubMail::Asked(number) if dice.chance(200) => HubMail::Failed(number),
            HubMail::Asked(number) => HubMail::Answered(number),
            other => other,
        }),
        others: Box::new(Vec::new),
    });
    let people = sim.dice().between(1, 6);
    for person in 0..people {
        let at = Duration::from_micros(sim.dice().between(0, 30_000));
        let chatter = Chatter::new(sim.dice(), 1_000 * (person + 1));
        sim.connect(at, chatter);
    }
    let pairs = sim.dice().between(0, 2);
    for number in 0..pairs {
        let at = Duration::from_micros(sim.dice().between(0, 30_000));
        pair(&mut sim, at, 100_000 * (number + 1), 6);
    }
    sim
}
