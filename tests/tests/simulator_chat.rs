//! Whole chats under the simulated driver: clients and people with terminals who come in mid-traffic, read slowly, part and come
//! back, change their nicks, are reset; every seed another network, other limits, other faults.
//!
//! `SOTONG_SEEDS=10000` runs ten thousand seeds, and `SOTONG_SEED=123` runs that one alone and prints what happened.
use sotong_chat::{ChatLimits, ChatOptions, ChatService};
use sotong_session::Close;
use sotong_sim::{Act, Dice, Failure, Link, Outcome, Peer, PeerCx, Reading, Setup, Sim, probe::Lines};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
    time::Duration,
};

/// Seeds, if nothing else is said.
const SEEDS: u64 = 200;

fn each_seed(test: &str, scene: impl Fn(u64) -> Result<Outcome, Failure>) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let replay = |seed| {
        format!("replay: SOTONG_SEED={seed} cargo test -p tests --test simulator_chat {test} -- --exact --nocapture")
    };
    if let Some(seed) = number("SOTONG_SEED") {
        match scene(seed) {
            Ok(outcome) => print!("{}", outcome.trace),
            Err(failure) => panic!("{}{failure}\n{}", failure.trace, replay(seed)),
        }
        return;
    }
    let count = number("SOTONG_SEEDS").unwrap_or(SEEDS);
    for seed in 0..count {
        // A claim that fails below panics without knowing its seed.
        let told = Told(replay(seed));
        if let Err(failure) = scene(seed) {
            panic!("{failure}");
        }
        std::mem::forget(told);
    }
}

/// Says how to replay, unless all is well.
struct Told(String);
impl Drop for Told {
    fn drop(&mut self) {
        println!("{}", self.0);
    }
}

/// What is known outside of the network.
#[derive(Default)]
struct Known {
    /// Who has heard that he is in the room, and for the how-manieth time.
    here: BTreeSet<Seat>,
    /// What has been said and answered for, and who was in the room before it was said: they hear it before the answer to
    /// anything they say from now on.
    done: Vec<Done>,
}

/// Somebody, and the how-manieth time he is in the room.
type Seat = (u64, u64);
/// What has been said, and to whom.
type Done = (String, BTreeSet<Seat>);

/// How somebody speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Client { echo: bool },
    Person,
}

/// Somebody in the room.
struct Member {
    id: u64,
    kind: Kind,
    reading: Reading,
    plan: VecDeque<Step>,
    leaving: Act,
    known: Rc<RefCell<Known>>,
    lines: Lines,
    has_begun: bool,
    is_in: bool,
    heard: BTreeSet<String>,
    /// By their tokens: what is answered for by then, and what must have been heard.
    pings: BTreeMap<u64, (Option<Done>, Vec<String>)>,
    tokens: u64,
    names: u64,
    /// The how-manieth time he is in the room.
    time: u64,
    until: Option<Duration>,
}

#[derive(Clone, Debug)]
enum Step {
    Say(String),
    Ping,
    Again,
    Nick,
    Wait(Duration),
}

impl Member {
    fn new(id: u64, known: &Rc<RefCell<Known>>, dice: &mut Dice) -> Self {
        let slow = Reading::Slow { bytes: dice.size(400), every: Duration::from_micros(dice.between(1, 5_000)) };
        let mut plan = VecDeque::new();
        for line in 0..dice.between(0, 12) {
            plan.push_back(Step::Say(format!("{id}-{line} 안녕{}", "!".repeat(dice.size(20)))));
            let more = match dice.pick(8) {
                0 => Step::Again,
                1 => Step::Nick,
                2 | 3 => Step::Ping,
                _ => Step::Wait(Duration::from_micros(dice.between(0, 3_000))),
            };
            plan.push_back(more);
        }
        let kind =
            [Kind::Client { echo: true }, Kind::Client { echo: true }, Kind::Client { echo: false }, Kind::Person];
        Self {
            id,
            kind: kind[dice.pick(4)],
            reading: dice.one_of(&[Reading::Fast, Reading::Fast, Reading::Fast, slow, slow, Reading::Never]),
            plan,
            leaving: [Act::Say(Vec::new()), Act::Fin, Act::Reset, Act::Vanish, Act::HearEnd, Act::HearEnd]
                [dice.pick(6)]
            .clone(),
            known: Rc::clone(known),
            lines: Lines::default(),
            has_begun: false,
            is_in: false,
            heard: BTreeSet::new(),
            pings: BTreeMap::new(),
            tokens: 0,
            names: 0,
            time: 0,
            until: None,
        }
    }
    fn begin(&mut self, cx: &mut PeerCx<'_>) {
        cx.read(self.reading);
        let id = self.id;
        match self.kind {
            Kind::Person => cx.send(format!("이름{id}\n").as_bytes()),
            Kind::Client { echo } => {
                let caps = if echo { "echo-message message-tags" } else { "server-time" };
                cx.send(
                    format!("CAP REQ :{caps}\r\nNICK 이름{id}\r\nUSER u{id} 0 * :{id}\r\nCAP END\r\nJOIN #lobby\r\n")
                        .as_bytes(),
                );
            }
        }
        // Who never reads does not wait to be told.
        self.is_in = self.reading == Reading::Never;
    }
    fn hear(&mut self, line: &str, cx: &mut PeerCx<'_>) {
        let line = line.trim_end_matches('\r');
        let is_begun = match self.kind {
            Kind::Person => line.starts_with("* In #lobby") || line.starts_with("* Nobody else"),
            Kind::Client { .. } => line.contains(" 366 "),
        };
        if is_begun {
            self.is_in = true;
            self.known.borrow_mut().here.insert((self.id, self.time));
        }
        if let Some(words) = said(line, self.kind) {
            self.heard.insert(words);
        }
        let token = line.split_once(" PONG ").and_then(|(_, rest)| rest.split_once(":t")?.1.parse::<u64>().ok());
        let Some((done, must)) = token.and_then(|token| self.pings.remove(&token)) else { return };
        if let Some(lacks) = must.iter().find(|words| !self.heard.contains(*words)) {
            cx.claim(None, format!("{} has an answer, and not {lacks:?}, which was done before it asked", self.id));
        }
        self.known.borrow_mut().done.extend(done);
    }
    /// Asks for an answer, by which what was said is done, and what was done before must have been heard.
    fn ping(&mut self, said: Option<Done>, cx: &mut PeerCx<'_>) {
        self.tokens += 1;
        let known = self.known.borrow();
        let must =
            known.done.iter().filter(|(_, to)| to.contains(&(self.id, self.time))).map(|(words, _)| words.clone());
        self.pings.insert(self.tokens, (said, must.collect()));
        drop(known);
        cx.send(format!("PING t{}\r\n", self.tokens).as_bytes());
    }
    fn step(&mut self, step: Step, cx: &mut PeerCx<'_>) {
        let is_person = self.kind == Kind::Person;
        match step {
            Step::Say(words) if is_person => cx.send(format!("{words}\n").as_bytes()),
            Step::Say(words) => {
                let mut to = self.known.borrow().here.clone();
                to.remove(&(self.id, self.time));
                cx.send(format!("PRIVMSG #lobby :{words}\r\n").as_bytes());
                self.ping(Some((words, to)), cx);
            }
            Step::Ping if !is_person => self.ping(None, cx),
            Step::Again if !is_person => {
                // Whoever comes back need not have heard what was said between.
                self.known.borrow_mut().here.remove(&(self.id, self.time));
                self.time += 1;
                self.is_in = self.reading == Reading::Never;
                cx.send(b"PART #lobby\r\nJOIN #lobby\r\n");
            }
            Step::Nick => {
                self.names += 1;
                let (id, name) = (self.id, self.names);
                cx.send(
                    if is_person {
                        format!("/nick 이름{id}-{name}\n")
                    } else {
                        format!("NICK 이름{id}-{name}\r\n")
                    }
                    .as_bytes(),
                );
            }
            Step::Ping | Step::Again => {}
            Step::Wait(time) => self.until = Some(cx.now + time),
        }
    }
}

impl Peer for Member {
    fn poll(&mut self, cx: &mut PeerCx<'_>) {
        if !std::mem::replace(&mut self.has_begun, true) {
            self.begin(cx);
        }
        self.lines.feed(cx.fresh);
        while let Some(line) = self.lines.take() {
            self.hear(&line, cx);
        }
        if cx.ended.is_some() {
            return cx.fin();
        }
        while self.is_in {
            if let Some(until) = self.until {
                if cx.now < until {
                    return cx.wake_in(until - cx.now);
                }
                self.until = None;
            }
            let Some(step) = self.plan.pop_front() else { break };
            self.step(step, cx);
        }
        if !self.is_in {
            return;
        }
        match &self.leaving {
            Act::Say(_) if self.kind == Kind::Person => cx.send(b"/quit\n"),
            Act::Say(_) => cx.send(b"QUIT :bye\r\n"),
            Act::Fin => cx.fin(),
            Act::Reset => cx.reset(),
            Act::Vanish => cx.vanish(),
            Act::Hear(_) | Act::HearEnd | Act::Wait(_) | Act::Read(_) => {}
        }
        self.leaving = Act::HearEnd;
    }
}

/// What was said in the room, if this line tells that.
fn said(line: &str, kind: Kind) -> Option<String> {
    let words = match kind {
        Kind::Person => line.strip_prefix("이름")?.split_once(": ")?.1,
        Kind::Client { .. } => line.split_once(" PRIVMSG #lobby :")?.1,
    };
    Some(words.to_owned())
}

/// What somebody heard in each of his stays in the room.
fn stays(heard: &[u8], id: u64, kind: Kind) -> Vec<Vec<String>> {
    // Who was cut off in the middle of a line did not hear that line.
    let whole = heard.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let text = std::str::from_utf8(&heard[..whole]).expect("what is relayed is UTF-8");
    let mut stays = vec![Vec::new()];
    let mut is_in = kind == Kind::Person;
    for line in text.lines() {
        let is_own = line.contains(&format!("!~u{id}@"));
        if is_own && (line.ends_with(" JOIN #lobby") || line.ends_with(" PART #lobby")) {
            stays.push(Vec::new());
            is_in = line.ends_with(" JOIN #lobby");
        }
        let said = said(line, kind);
        assert!(is_in || said.is_none(), "{id} heard {line:?} while he was out");
        stays.last_mut().expect("there is one").extend(said);
    }
    stays
}

/// What two heard both, each in the order in which he heard it.
fn common(one: &[String], two: &[String]) -> (Vec<String>, Vec<String>) {
    let shared = |of: &[String], other: &[String]| of.iter().filter(|words| other.contains(words)).cloned().collect();
    (shared(one, two), shared(two, one))
}

fn check(outcome: &Outcome, members: &[(Link, u64, Kind, bool)], is_calm: bool) {
    let mut all = Vec::new();
    for (link, id, kind, _) in members {
        let stays = stays(&outcome.of(*link).heard, *id, *kind);
        let heard: Vec<String> = stays.concat();
        let distinct: BTreeSet<_> = heard.iter().collect();
        assert_eq!(distinct.len(), heard.len(), "{id} heard something twice");
        for stay in stays {
            for (_, by, ..) in members {
                let number =
                    |words: &String| words.split_once(' ')?.0.strip_prefix(&format!("{by}-"))?.parse::<u64>().ok();
                let numbers: Vec<u64> = stay.iter().filter_map(number).collect();
                let from = numbers.first().copied().unwrap_or(0);
                let expect: Vec<u64> = (from..).take(numbers.len()).collect();
                assert_eq!(numbers, expect, "{id} heard of {by} all that was said while he was there, in its order");
            }
        }
        all.push((id, heard));
    }
    for (at, (one, first)) in all.iter().enumerate() {
        for (two, second) in &all[..at] {
            let (first, second) = common(first, second);
            assert_eq!(first, second, "{one} and {two} heard the room in one order");
        }
    }
    if is_calm {
        for (link, id, _, stays) in members {
            assert!(!stays || outcome.of(*link).close == Some(Close::Stop), "{id} was there to the end");
        }
    }
}

#[test]
fn chats() {
    each_seed("chats", |seed| {
        let is_calm = seed.is_multiple_of(2);
        let mut setup = Setup::new(seed);
        if is_calm {
            setup = setup.without_faults();
        }
        // A welcome must fit into what a shrunken output still holds.
        setup.limits.marks.hard = setup.limits.marks.hard.max(64 << 10);
        // Before anybody is asked whether he is there.
        setup.stop_after = Some(Duration::from_secs(60));
        let flood_control = seed.is_multiple_of(5);
        let limits = ChatLimits { flood_control, ..ChatLimits::default() };
        let chat = ChatService::new(ChatOptions { limits, ..ChatOptions::default() });
        let count = chat.clone();
        let mut sim = Sim::new(setup, chat);
        let known = Rc::new(RefCell::new(Known::default()));
        let mut members = Vec::new();
        for id in 0..sim.dice().between(2, 7) {
            let at = Duration::from_micros(sim.dice().between(0, 40_000));
            let member = Member::new(id, &known, sim.dice());
            let stays = member.reading != Reading::Never && matches!(member.leaving, Act::HearEnd);
            let kind = member.kind;
            members.push((sim.connect(at, member), id, kind, stays));
        }
        let outcome = sim.run()?;
        check(&outcome, &members, is_calm);
        assert_eq!(count.count(), (0, 0, 0), "nobody is left in the hall when all have gone");
        Ok(outcome)
    });
}
