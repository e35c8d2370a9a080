//! Somebody in the hall: what he says and does there, and what he notices when he is told something he should not be.
use crate::{
    order::{Line, What},
    wire::{Ends, Wire},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sotong_sim::{Act, Dice, Link, Peer, PeerCx, Reading};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
    time::Duration,
};

/// A room that is secret, and has a key that only some know.
pub(crate) const HIDDEN: &str = "#hidden";
pub(crate) const ROOMS: [&str; 3] = ["#lobby", "#b", HIDDEN];
/// Who is in all rooms before anybody else comes, and stays.
pub(crate) const EYE: &str = "눈";

/// Accounts that there are from the beginning, and the password of all of them.
pub(crate) const ACCOUNTS: [&str; 3] = ["계정0", "계정1", "계정2"];
pub(crate) const PASSWORD: &str = "비밀";

/// What is known outside of the network.
#[derive(Default)]
pub(crate) struct Known {
    /// The observer is in all rooms.
    pub(crate) is_open: bool,
    /// Who has heard that he is in which room, and for the how-manieth time.
    here: BTreeSet<Seat>,
    /// Nicks that somebody has tried to put out.
    shaken: BTreeSet<String>,
    /// What has been said, where and to whom.
    sent: BTreeMap<String, To>,
    /// What has been said and answered for, and who was in the room before it was said: they hear it before the answer to
    /// anything they say from now on.
    done: Vec<Done>,
    /// Nicks that somebody asked for at some time, and who.
    nicks: BTreeMap<String, BTreeSet<u64>>,
    /// When somebody outside was told of the hidden room.
    pub(crate) leaks: Vec<(Duration, String)>,
}

impl Known {
    /// Somebody is about to say something in a room.
    pub(crate) fn says(&mut self, room: &'static str, words: &str) {
        self.sent.insert(words.to_owned(), To::Room(room));
    }
    fn called(&mut self, nick: &str, id: u64) {
        self.nicks.entry(nick.to_owned()).or_default().insert(id);
    }
    /// Whether somebody may have been put out.
    fn is_shaken(&self, id: u64) -> bool {
        self.shaken.iter().any(|nick| self.nicks.get(nick).is_some_and(|had| had.contains(&id)))
    }
}

/// Somebody, a room, and the how-manieth time he is in it.
type Seat = (u64, &'static str, u64);
type Done = (String, BTreeSet<Seat>);
#[derive(Clone, Debug, PartialEq, Eq)]
enum To {
    Room(&'static str),
    Nick(String),
}

/// How somebody speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Client,
    Person,
}

#[derive(Clone, Debug)]
enum Step {
    Say(&'static str),
    Tag(&'static str),
    Direct,
    Ping,
    Again(&'static str),
    Nick,
    Kick(&'static str),
    Op(&'static str),
    Topic(&'static str),
    Away,
    Ask(u8),
    Wait(Duration),
}

/// Somebody in the hall.
pub(crate) struct Member {
    pub(crate) id: u64,
    pub(crate) kind: Kind,
    pub(crate) caps: String,
    pub(crate) reading: Reading,
    pub(crate) leaving: Act,
    rooms: Vec<&'static str>,
    nick: String,
    plan: VecDeque<Step>,
    known: Rc<RefCell<Known>>,
    ends: Ends,
    /// The account that it logs in to before it registers, which others of its owner may have done, too.
    account: Option<&'static str>,
    has_begun: bool,
    /// In which rooms he is, and for the how-manieth time.
    times: BTreeMap<&'static str, u64>,
    /// How often he has asked to come into a room, less how often he was told that he has.
    awaits: BTreeMap<String, i64>,
    is_in: BTreeSet<&'static str>,
    is_done: bool,
    heard: BTreeSet<String>,
    /// By their tokens: what is answered for by then, and what must have been heard.
    pings: BTreeMap<u64, (Vec<Done>, Vec<String>)>,
    tokens: u64,
    answered: u64,
    names: u64,
    words: u64,
    until: Option<Duration>,
}

const CAPS: [&str; 13] = [
    "away-notify",
    "batch",
    "cap-notify",
    "echo-message",
    "extended-join",
    "invite-notify",
    "labeled-response",
    "message-tags",
    "multi-prefix",
    "server-time",
    "setname",
    "standard-replies",
    "userhost-in-names",
];

fn random_plan(dice: &mut Dice, rooms: &[&'static str], kind: Kind) -> VecDeque<Step> {
    let mut plan = VecDeque::new();
    for _ in 0..dice.between(0, 12) {
        let room = rooms[dice.pick(rooms.len())];
        plan.push_back(if dice.chance(80) { Step::Direct } else { Step::Say(room) });
        plan.push_back(match dice.pick(18) {
            0 => Step::Again(room),
            1 => Step::Nick,
            2 | 3 => Step::Ping,
            4 => Step::Kick(room),
            5 => Step::Op(room),
            6 => Step::Topic(room),
            7 => Step::Away,
            8 | 9 => Step::Ask(dice.pick(8) as u8),
            10 => Step::Tag(room),
            _ => Step::Wait(Duration::from_micros(dice.between(0, 3_000))),
        });
    }
    if kind == Kind::Client {
        plan.push_back(Step::Ping);
    }
    plan
}

impl Member {
    /// Draws one, as `nick` if that is free; of those who know the key of the hidden room, if `is_inside`.
    pub(crate) fn new(id: u64, nick: String, known: &Rc<RefCell<Known>>, dice: &mut Dice) -> Self {
        let slow = Reading::Slow { bytes: dice.size(400), every: Duration::from_micros(dice.between(1, 5_000)) };
        let kind = [Kind::Client, Kind::Client, Kind::Client, Kind::Person][dice.pick(4)];
        let mut rooms = vec![ROOMS[0]];
        if kind == Kind::Client {
            rooms.extend(ROOMS[1..].iter().filter(|_| dice.chance(500)));
        }
        let wire = match kind {
            Kind::Client => dice.one_of(&[Wire::Plain, Wire::Plain, Wire::Text, Wire::Binary]),
            Kind::Person => Wire::Plain,
        };
        let caps = CAPS.iter().filter(|_| dice.chance(500)).copied().collect::<Vec<_>>().join(" ");
        let leaving = [Act::Say(Vec::new()), Act::Fin, Act::Reset, Act::Vanish, Act::HearEnd, Act::HearEnd];
        Self {
            id,
            kind,
            caps: if kind == Kind::Client { caps } else { String::new() },
            reading: dice.one_of(&[Reading::Fast, Reading::Fast, Reading::Fast, slow, slow, Reading::Never]),
            leaving: leaving[dice.pick(6)].clone(),
            plan: random_plan(dice, &rooms, kind),
            rooms,
            nick,
            known: Rc::clone(known),
            ends: Ends::new(wire),
            account: None,
            has_begun: false,
            times: BTreeMap::new(),
            awaits: BTreeMap::new(),
            is_in: BTreeSet::new(),
            is_done: false,
            heard: BTreeSet::new(),
            pings: BTreeMap::new(),
            tokens: 0,
            answered: 0,
            names: 0,
            words: 0,
            until: None,
        }
    }
    /// One of several clients of somebody, who log in to his account and share his nick. None of them leaves a room by itself:
    /// the others would have to know.
    pub(crate) fn sharing(mut self, account: &'static str) -> Self {
        if self.kind == Kind::Client {
            self.account = Some(account);
            self.plan.retain(|step| !matches!(step, Step::Again(_)));
        }
        self
    }
    /// The one who is everywhere.
    pub(crate) fn eye(known: &Rc<RefCell<Known>>, dice: &mut Dice) -> Self {
        Self {
            kind: Kind::Client,
            caps: CAPS.join(" "),
            reading: Reading::Fast,
            leaving: Act::HearEnd,
            rooms: ROOMS.to_vec(),
            plan: VecDeque::new(),
            ends: Ends::new(Wire::Plain),
            ..Self::new(0, EYE.to_owned(), known, dice)
        }
    }
    /// In these rooms, too, where he makes everybody an operator.
    pub(crate) fn also_in(mut self, rooms: &[&'static str]) -> Self {
        self.rooms.extend(rooms);
        self
    }
    pub(crate) fn has(&self, cap: &str) -> bool {
        self.caps.split(' ').any(|had| had == cap)
    }
    pub(crate) fn is_inside(&self) -> bool {
        // Whoever has several clients may be where another of them has gone.
        self.rooms.contains(&HIDDEN) || self.account.is_some()
    }
    /// Stays until the server leaves, and reads all of it.
    pub(crate) fn stays(&self) -> bool {
        self.reading != Reading::Never && matches!(self.leaving, Act::HearEnd)
    }
    fn is_eye(&self) -> bool {
        self.nick == EYE
    }

    fn begin(&mut self, cx: &mut PeerCx<'_>) {
        cx.read(self.reading);
        let Self { id, nick, caps, .. } = &*self;
        match self.kind {
            Kind::Person => self.ends.send(&format!("{nick}\n"), cx),
            Kind::Client => {
                let caps = if caps.is_empty() { String::new() } else { format!("CAP REQ :{caps}\r\n") };
                self.ends.begin(cx);
                let login = self.account.map(login).unwrap_or_default();
                self.ends.send(&format!("{caps}{login}NICK {nick}\r\nUSER u{id} 0 * :{id}\r\nCAP END\r\n"), cx);
                if self.reading == Reading::Never {
                    // Who never reads does not wait to be told.
                    self.enter(cx);
                }
            }
        }
        self.known.borrow_mut().called(&self.nick, self.id);
        if self.reading == Reading::Never {
            self.is_in = self.rooms.iter().copied().collect();
        }
    }
    /// Goes into its rooms.
    fn enter(&mut self, cx: &mut PeerCx<'_>) {
        for room in &self.rooms {
            *self.awaits.entry((*room).to_owned()).or_default() += 1;
            self.ends.send(&format!("JOIN {room} {}\r\n", if *room == HIDDEN { "열쇠" } else { "" }), cx);
        }
        if self.is_eye() {
            self.ends.send(&format!("MODE {HIDDEN} +sk 열쇠\r\nPING open\r\n"), cx);
        }
    }
    fn hear(&mut self, line: &str, cx: &mut PeerCx<'_>) {
        if self.kind == Kind::Person {
            return self.hear_text(line, cx);
        }
        // Who is slow to begin is taken for a person at first.
        if line == "What is your name?" || line == "* The server is leaving. Goodbye." {
            return;
        }
        let Some(line) = line.strip_suffix('\r') else {
            return cx.claim(None, format!("{} heard a line without its end: {line:?}", self.id));
        };
        let read = Line::read(line);
        if line.len() - read.tags.len() > 512 || read.tags.len() > 8191 {
            cx.claim(None, format!("{} heard a line that is too long: {line:?}", self.id));
        }
        if !self.is_inside() && line.contains("hidden") {
            self.known.borrow_mut().leaks.push((cx.now, format!("{} heard {line:?}", self.id)));
        }
        match read.command() {
            "001" => self.enter(cx),
            "433" if read.param(0) == "*" => {
                self.nick = format!("{}_{}", self.nick, self.id);
                self.known.borrow_mut().called(&self.nick, self.id);
                self.ends.send(&format!("NICK {}\r\n", self.nick), cx);
            }
            "PING" => self.ends.send(&format!("PONG :{}\r\n", read.param(0)), cx),
            "PONG" if read.param(1) == "open" => self.known.borrow_mut().is_open = true,
            "PONG" => self.hear_pong(read.param(1), cx),
            _ => {}
        }
        let own = read.source.split('!').next() == Some(&self.nick);
        if read.command() == "PRIVMSG" {
            let (target, is_room) = (read.param(0), read.param(0).starts_with('#'));
            self.hear_words(read.param(1), is_room, Some(target), cx);
            if !is_room && !own && target != self.nick {
                cx.claim(None, format!("{}, called {}, hears what is said to {target}", self.id, self.nick));
            }
        }
        match read.event().map(|event| event.what) {
            Some(What::Renamed { to }) if own => self.nick = to,
            Some(What::Joined { room }) if own => {
                let awaits = self.awaits.entry(room.clone()).or_default();
                *awaits -= 1;
                if *awaits == 0 || self.account.is_some() {
                    self.sits_down(&room);
                }
            }
            Some(What::Kicked { room, whom }) if whom == self.nick => self.put_out(&room, cx),
            Some(What::Joined { room })
                if !own && self.is_eye() && (!ROOMS.contains(&&*room) || cx.dice.chance(300)) =>
            {
                let nick = read.source.split('!').next().unwrap_or("");
                self.ends.send(&format!("MODE {room} +o {nick}\r\n"), cx);
            }
            _ => {}
        }
    }
    fn hear_text(&mut self, line: &str, cx: &mut PeerCx<'_>) {
        if !self.is_inside() && line.contains("hidden") {
            self.known.borrow_mut().leaks.push((cx.now, format!("{} heard {line:?}", self.id)));
        }
        if line == "* That name is taken." && self.is_in.is_empty() {
            self.nick = format!("{}_{}", self.nick, self.id);
            self.ends.send(&format!("{}\n", self.nick), cx);
        }
        if line.starts_with("* In #") || line.starts_with("* Nobody else is in #") {
            let room = line.split(['#', ':']).nth(1).unwrap_or("").trim_end_matches('.');
            self.sits_down(&format!("#{room}"));
        }
        if line.ends_with("/join #ROOM goes to one.") && line.contains("no room now") && cx.dice.chance(700) {
            self.ends.send("/join #lobby\n", cx);
        }
        let Some((nick, words)) = line.split_once(": ").filter(|(nick, _)| !nick.starts_with("* ")) else { return };
        self.hear_words(words, !nick.ends_with(" (to you)"), None, cx);
    }
    /// Has heard that he is in a room.
    fn sits_down(&mut self, room: &str) {
        let Some(room) = ROOMS.into_iter().find(|known| *known == room) else { return };
        // Whoever has several clients is moved by any of them: what he must have heard by when is not known here.
        if self.is_in.insert(room) && self.account.is_none() {
            let time = self.times.get(room).copied().unwrap_or(0);
            self.known.borrow_mut().here.insert((self.id, room, time));
        }
    }
    /// Whoever is out need not hear what is said between.
    fn stands_up(&mut self, room: &'static str) {
        let time = self.times.entry(room).or_insert(0);
        self.known.borrow_mut().here.remove(&(self.id, room, *time));
        *time += 1;
        self.is_in.remove(room);
    }
    fn put_out(&mut self, room: &str, cx: &mut PeerCx<'_>) {
        let Some(room) = ROOMS.into_iter().find(|known| *known == room) else { return };
        self.stands_up(room);
        if cx.dice.chance(700) {
            *self.awaits.entry(room.to_owned()).or_default() += 1;
            self.ends.send(&format!("JOIN {room} 열쇠\r\n"), cx);
        }
    }
    /// Words are heard that were said in a room or to somebody; where, if that is told.
    fn hear_words(&mut self, words: &str, in_room: bool, target: Option<&str>, cx: &mut PeerCx<'_>) {
        let id = self.id;
        let known = self.known.borrow();
        let Some(to) = known.sent.get(words) else {
            return cx.claim(None, format!("{id} heard {words:?}, which nobody has said"));
        };
        let is_right = match to {
            To::Room(room) => in_room && target.is_none_or(|target| target == *room),
            To::Nick(nick) => !in_room && target.is_none_or(|target| target == nick),
        };
        if !is_right {
            cx.claim(None, format!("{id} heard {words:?} at {target:?}, which was said to {to:?}"));
        }
        // Who talks to himself hears it twice.
        if !self.heard.insert(words.to_owned()) && in_room {
            cx.claim(None, format!("{id} heard {words:?} twice"));
        }
    }
    fn hear_pong(&mut self, token: &str, cx: &mut PeerCx<'_>) {
        let Some(token) = token.strip_prefix('t').and_then(|token| token.parse::<u64>().ok()) else { return };
        if token != self.answered + 1 {
            cx.claim(None, format!("{} hears answer {token} where {} is next", self.id, self.answered + 1));
        }
        self.answered = token;
        let Some((done, must)) = self.pings.remove(&token) else { return };
        let mut known = self.known.borrow_mut();
        let lacks = must.iter().find(|words| !self.heard.contains(*words));
        if let Some(lacks) = lacks.filter(|_| !known.is_shaken(self.id)) {
            cx.claim(None, format!("{} has an answer, and not {lacks:?}, which was done before it asked", self.id));
        }
        // Who was put out meanwhile may have been refused.
        if !known.is_shaken(self.id) {
            known.done.extend(done);
        }
    }
    /// Asks for an answer, by which what was said is done, and what was done before must have been heard.
    fn ping(&mut self, said: Vec<Done>, cx: &mut PeerCx<'_>) {
        self.tokens += 1;
        let known = self.known.borrow();
        let is_here = |(id, room, time): &Seat| {
            *id == self.id && self.is_in.contains(room) && self.times.get(room).copied().unwrap_or(0) == *time
        };
        let must = known.done.iter().filter(|(_, to)| to.iter().any(is_here)).map(|(words, _)| words.clone());
        self.pings.insert(self.tokens, (said, must.collect()));
        drop(known);
        self.ends.send(&format!("PING t{}\r\n", self.tokens), cx);
    }
    fn new_words(&mut self, to: To, dice: &mut Dice) -> String {
        self.words += 1;
        let words = format!("{}-{} 안녕{}", self.id, self.words, "!".repeat(dice.size(20)));
        self.known.borrow_mut().sent.insert(words.clone(), to);
        words
    }
    /// Somebody's nick, of now or before; never the observer's.
    fn some_nick(&self, dice: &mut Dice) -> String {
        let known = self.known.borrow();
        let all: Vec<_> = known.nicks.keys().filter(|nick| *nick != EYE).collect();
        all.get(dice.pick(all.len())).map_or_else(|| self.nick.clone(), |nick| (*nick).clone())
    }
    fn step(&mut self, step: Step, cx: &mut PeerCx<'_>) {
        match step {
            Step::Wait(time) => self.until = Some(cx.now + time),
            step if self.kind == Kind::Person => self.type_line(&step, cx),
            step => self.command(&step, cx),
        }
    }
    fn type_line(&mut self, step: &Step, cx: &mut PeerCx<'_>) {
        let line = match step {
            Step::Say(room) => self.new_words(To::Room(room), cx.dice),
            Step::Direct => {
                let nick = self.some_nick(cx.dice);
                format!("/msg {nick} {}", self.new_words(To::Nick(nick.clone()), cx.dice))
            }
            Step::Nick => format!("/nick {}", self.new_name()),
            Step::Ask(_) => "/who".to_owned(),
            _ => return,
        };
        self.ends.send(&format!("{line}\n"), cx);
    }
    fn new_name(&mut self) -> String {
        self.names += 1;
        let name = format!("이름{}-{}", self.id, self.names);
        self.known.borrow_mut().called(&name, self.id);
        if self.kind == Kind::Person {
            self.nick.clone_from(&name);
        }
        name
    }
    fn command(&mut self, step: &Step, cx: &mut PeerCx<'_>) {
        let line = match *step {
            Step::Say(room) => {
                let mut to = self.known.borrow().here.clone();
                to.retain(|(id, at, _)| *at == room && *id != self.id);
                let words = self.new_words(To::Room(room), cx.dice);
                let label = if cx.dice.chance(300) && self.has("message-tags") { "@label=x " } else { "" };
                self.ends.send(&format!("{label}PRIVMSG {room} :{words}\r\n"), cx);
                // Who is not in the room now is not heard by anybody.
                return self.ping(if self.is_in.contains(room) { vec![(words, to)] } else { Vec::new() }, cx);
            }
            Step::Direct => {
                let nick = self.some_nick(cx.dice);
                format!("PRIVMSG {nick} :{}", self.new_words(To::Nick(nick.clone()), cx.dice))
            }
            Step::Tag(room) if self.has("message-tags") => format!("@+typing=active;+by={} TAGMSG {room}", self.id),
            Step::Again(room) => {
                self.stands_up(room);
                *self.awaits.entry(room.to_owned()).or_default() += 1;
                if self.reading == Reading::Never {
                    self.is_in.insert(room);
                }
                format!("PART {room}\r\nJOIN {room} 열쇠")
            }
            Step::Nick => format!("NICK {}", self.new_name()),
            Step::Kick(room) => {
                let nick = self.some_nick(cx.dice);
                self.known.borrow_mut().shaken.insert(nick.clone());
                format!("KICK {room} {nick} :가세요")
            }
            Step::Op(room) => format!("MODE {room} +v-v+v {0} {0} {0}", self.some_nick(cx.dice)),
            Step::Topic(room) => format!("TOPIC {room} :주제 {}", self.id),
            Step::Away if cx.dice.chance(500) => "AWAY".to_owned(),
            Step::Away => format!("AWAY :{} 없음", self.id),
            Step::Ask(what) => {
                let nick = self.some_nick(cx.dice);
                let room = self.rooms[0];
                [
                    "LIST".to_owned(),
                    "NAMES".to_owned(),
                    format!("NAMES {room}"),
                    format!("WHO {nick}"),
                    format!("WHO {room} %tcuihsnfdlaor,7"),
                    format!("WHOIS {nick}"),
                    format!("MONITOR + {nick}"),
                    format!("WHOWAS {nick}"),
                ][usize::from(what) % 8]
                    .clone()
            }
            Step::Ping => return self.ping(Vec::new(), cx),
            Step::Tag(_) | Step::Wait(_) => return,
        };
        self.ends.send(&format!("{line}\r\n"), cx);
    }
    fn leave(&mut self, cx: &mut PeerCx<'_>) {
        match &self.leaving {
            Act::Say(_) if self.kind == Kind::Person => self.ends.send("/quit\n", cx),
            Act::Say(_) => self.ends.send("QUIT :bye\r\n", cx),
            Act::Fin => cx.fin(),
            Act::Reset => cx.reset(),
            Act::Vanish => cx.vanish(),
            Act::Hear(_) | Act::HearEnd | Act::Wait(_) | Act::Read(_) => {}
        }
        self.is_done = true;
    }
}

impl Peer for Member {
    fn poll(&mut self, cx: &mut PeerCx<'_>) {
        if !self.has_begun {
            if !self.is_eye() && !self.known.borrow().is_open {
                if cx.ended.is_some() {
                    return cx.fin();
                }
                return cx.wake_in(Duration::from_millis(5));
            }
            self.has_begun = true;
            self.begin(cx);
        }
        self.ends.feed(cx);
        while let Some(line) = self.ends.take() {
            self.hear(&line, cx);
        }
        if cx.ended.is_some() {
            return cx.fin();
        }
        // The observer waits for others to do something.
        if self.is_eye() || self.is_done || !self.rooms.iter().any(|room| self.is_in.contains(room)) {
            return;
        }
        loop {
            if let Some(until) = self.until {
                if cx.now < until {
                    return cx.wake_in(until - cx.now);
                }
                self.until = None;
            }
            let Some(step) = self.plan.pop_front() else { break };
            self.step(step, cx);
        }
        self.leave(cx);
    }
}

/// Logs in by SASL.
fn login(account: &str) -> String {
    let message = STANDARD.encode(format!("\0{account}\0{PASSWORD}"));
    format!("AUTHENTICATE PLAIN\r\nAUTHENTICATE {message}\r\n")
}
/// Where a connection is from, as the chat shows it.
pub(crate) fn host(link: usize) -> String {
    format!("sim-{}", link + 1)
}
/// By what a connection is known to the run.
pub(crate) type Seated = (Link, Ears);
/// What is needed of a member when the run is over.
#[derive(Clone, Debug)]
pub(crate) struct Ears {
    pub(crate) id: u64,
    pub(crate) kind: Kind,
    pub(crate) echo: bool,
    pub(crate) tags: bool,
    pub(crate) stays: bool,
    pub(crate) host: String,
    pub(crate) wire: Wire,
}

impl Member {
    pub(crate) fn ears(&self, link: usize) -> Ears {
        Ears {
            id: self.id,
            kind: self.kind,
            echo: self.has("echo-message"),
            tags: self.has("message-tags"),
            stays: self.stays(),
            host: host(link),
            wire: self.ends.wire,
        }
    }
}
