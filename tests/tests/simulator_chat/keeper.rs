//! Somebody with an account: makes it, logs in, changes it, registers a room, gives it up; asks several things at once, and
//! looks that answers come in order, that what is told as done is in the store, and what is told as failed nowhere.
use crate::{
    ledger::{Fate, Ledger},
    member::{Ears, Kind, Known, host},
    order::{Line, What},
    scram,
    store::Store,
    wire::{Ends, Wire},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sotong_irc::names;
use sotong_sim::{Act, Dice, Peer, PeerCx, Reading};
use std::{cell::RefCell, collections::VecDeque, rc::Rc, time::Duration};

/// What somebody asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Op {
    /// REGISTER of IRCv3.
    Register,
    /// NickServ's.
    NsRegister,
    Plain {
        is_right: bool,
    },
    Scram {
        is_right: bool,
    },
    Identify {
        is_right: bool,
    },
    Passwd,
    AlwaysOn(bool),
    /// Looks whether he is logged in.
    Info,
    Drop,
    CsRegister,
    CsDrop,
    /// Looks whether the room is registered.
    CsInfo,
    Topic,
    Say(&'static str),
    #[default]
    Ping,
    Wait(Duration),
}

/// Something that waits for its answer.
#[derive(Debug, Default)]
struct Pending {
    op: Op,
    token: u64,
    fate: Option<Fate>,
    /// The numbers of its tries in the ledger.
    password: Option<usize>,
    always_on: Option<usize>,
    owns: Option<usize>,
    /// What it logs in with, and how often that was right before.
    login: Option<(String, u64)>,
}

/// Somebody with an account, by one connection.
pub(crate) struct Keeper {
    id: u64,
    /// Changes the account; the others only use it.
    is_owner: bool,
    ledger: Rc<RefCell<Ledger>>,
    store: Rc<RefCell<Store>>,
    known: Rc<RefCell<Known>>,
    /// Before he comes: one connection of the owner's after the other.
    before: Option<Rc<RefCell<bool>>>,
    is_over: Rc<RefCell<bool>>,
    caps: String,
    reading: Reading,
    leaving: Act,
    ends: Ends,
    nick: String,
    first: Option<Op>,
    plan: VecDeque<Op>,
    /// How many may be asked before the first is answered.
    depth: usize,
    pending: VecDeque<Pending>,
    scram: Option<scram::Client>,
    tokens: u64,
    words: u64,
    /// Whether he is logged in, as far as he has been told; and as far as he has asked.
    is_in: bool,
    has_begun: bool,
    is_here: bool,
    is_done: bool,
    until: Option<Duration>,
}

const CAPS: [&str; 5] = ["away-notify", "echo-message", "extended-join", "message-tags", "server-time"];

fn random_op(dice: &mut Dice, room: &'static str, is_owner: bool) -> Op {
    let is_right = dice.chance(800);
    let of_all = |dice: &mut Dice| match dice.pick(8) {
        0 => Op::Identify { is_right },
        1 => Op::Plain { is_right },
        2 => Op::Scram { is_right },
        3 => Op::Ping,
        4 => Op::Wait(Duration::from_micros(dice.between(0, 50_000))),
        5 => Op::Say("#lobby"),
        _ => Op::Say(room),
    };
    if !is_owner {
        return of_all(dice);
    }
    match dice.pick(24) {
        0 | 1 => Op::Register,
        2 | 3 => Op::NsRegister,
        4 => Op::Passwd,
        5 | 6 => Op::AlwaysOn(dice.chance(700)),
        7 | 8 => Op::Info,
        9 => Op::Drop,
        10..=12 => Op::CsRegister,
        13 => Op::CsDrop,
        14 => Op::CsInfo,
        15 | 16 => Op::Topic,
        _ => of_all(dice),
    }
}

/// What all keepers of a run share.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) store: Rc<RefCell<Store>>,
    pub(crate) known: Rc<RefCell<Known>>,
}

impl Keeper {
    /// An owner's connection, behind that `before`; or, without a turn, another one who uses the account.
    pub(crate) fn new(
        id: u64,
        ledger: &Rc<RefCell<Ledger>>,
        world: &World,
        turn: Option<Option<Rc<RefCell<bool>>>>,
        dice: &mut Dice,
    ) -> Self {
        let slow = Reading::Slow { bytes: dice.size(400), every: Duration::from_micros(dice.between(1, 5_000)) };
        let (name, room) = (ledger.borrow().name.clone(), ledger.borrow().room);
        let is_owner = turn.is_some();
        let caps = CAPS.iter().filter(|_| dice.chance(500)).copied().collect::<Vec<_>>().join(" ");
        let leaving = [Act::Say(Vec::new()), Act::Say(Vec::new()), Act::Fin, Act::Reset, Act::Vanish, Act::HearEnd];
        let is_right = dice.chance(900);
        let first = match (dice.pick(4), is_owner) {
            (0, true) => Some(Op::Register),
            (1, _) => Some(Op::Scram { is_right }),
            (3, true) => None,
            _ => Some(Op::Plain { is_right }),
        };
        let plan = (0..dice.between(2, 14)).map(|_| random_op(dice, room, is_owner)).collect();
        Self {
            id,
            is_owner,
            ledger: Rc::clone(ledger),
            store: Rc::clone(&world.store),
            known: Rc::clone(&world.known),
            before: turn.flatten(),
            is_over: Rc::default(),
            // What was missed comes as a batch, by which it is told from what is said now.
            caps: format!("batch sasl {caps}").trim_end().to_owned(),
            reading: dice.one_of(&[Reading::Fast, Reading::Fast, slow]),
            leaving: leaving[dice.pick(leaving.len())].clone(),
            ends: Ends::new(dice.one_of(&[Wire::Plain, Wire::Plain, Wire::Text, Wire::Binary])),
            nick: name,
            first,
            plan,
            depth: dice.one_of(&[1, 1, 2, 4]),
            pending: VecDeque::new(),
            scram: None,
            tokens: 0,
            words: 0,
            is_in: false,
            has_begun: false,
            is_here: false,
            is_done: false,
            until: None,
        }
    }
    /// Becomes true when this connection does nothing more.
    pub(crate) fn end_mark(&self) -> Rc<RefCell<bool>> {
        Rc::clone(&self.is_over)
    }
    pub(crate) fn ears(&self, link: usize) -> Ears {
        let has = |cap| self.caps.split(' ').any(|had| had == cap);
        Ears {
            id: self.id,
            kind: Kind::Client,
            echo: has("echo-message"),
            tags: has("message-tags"),
            stays: matches!(self.leaving, Act::HearEnd),
            host: host(link),
            wire: self.ends.wire,
        }
    }

    // Asking.

    fn begin(&mut self, cx: &mut PeerCx<'_>) {
        cx.read(self.reading);
        self.ends.begin(cx);
        self.ends.send(&format!("CAP REQ :{}\r\n", self.caps), cx);
        match self.first.take() {
            // The rest comes when that is answered.
            Some(op @ Op::Scram { .. }) => return self.ask(&op, cx),
            Some(op) => self.ask(&op, cx),
            None => {}
        }
        self.come_in(cx);
    }
    fn come_in(&mut self, cx: &mut PeerCx<'_>) {
        let Self { id, nick, .. } = &*self;
        self.ends.send(&format!("NICK {nick}\r\nUSER u{id} 0 * :{id}\r\nCAP END\r\n"), cx);
    }
    /// A password to log in with: that which is known, or perhaps one that is asked for just now.
    fn password(&self, is_right: bool, dice: &mut Dice) -> String {
        let ledger = self.ledger.borrow();
        match (ledger.password.known(), ledger.password.last_asked().filter(|_| dice.chance(300))) {
            (_, Some(Some(asked))) if is_right => asked.clone(),
            (Some(known), _) if is_right => known.clone(),
            _ => "아무거나".to_owned(),
        }
    }
    fn ask(&mut self, op: &Op, cx: &mut PeerCx<'_>) {
        if let Op::Wait(time) = op {
            self.until = Some(cx.now + *time);
            return;
        }
        if *op == Op::NsRegister && self.nick != self.ledger.borrow().name {
            return;
        }
        self.tokens += 1;
        let mut pending = Pending { op: op.clone(), token: self.tokens, ..Pending::default() };
        let line = match op {
            Op::Plain { is_right } | Op::Scram { is_right } | Op::Identify { is_right } => {
                self.log_in(op, *is_right, &mut pending, cx.dice)
            }
            Op::Topic | Op::Say(_) | Op::Ping => {
                // Whatever is answered.
                pending.fate = Some(Fate::Done);
                self.talk(op)
            }
            _ => self.change(op, &mut pending, cx.dice),
        };
        self.pending.push_back(pending);
        match op {
            // A dialogue, of which this is the beginning.
            Op::Scram { .. } => self.ends.send(&format!("{line}\r\n"), cx),
            _ => self.ends.send(&format!("{line}\r\nPING k{}\r\n", self.tokens), cx),
        }
    }
    fn log_in(&mut self, op: &Op, is_right: bool, pending: &mut Pending, dice: &mut Dice) -> String {
        let (name, password) = (self.ledger.borrow().name.clone(), self.password(is_right, dice));
        let before = self.store.borrow().right.get(&password).copied().unwrap_or(0);
        pending.login = Some((password.clone(), before));
        match op {
            Op::Plain { .. } => {
                let message = STANDARD.encode(format!("\0{name}\0{password}"));
                format!("AUTHENTICATE PLAIN\r\nAUTHENTICATE {message}")
            }
            Op::Scram { .. } => {
                self.scram = Some(scram::Client::new(&name, &password, self.tokens));
                "AUTHENTICATE SCRAM-SHA-256".to_owned()
            }
            _ => format!("NS IDENTIFY {name} {password}"),
        }
    }
    /// Asks for something that changes account or room, or looks at them.
    fn change(&mut self, op: &Op, pending: &mut Pending, dice: &mut Dice) -> String {
        let old = self.password(true, dice);
        let mut ledger = self.ledger.borrow_mut();
        let store = self.store.borrow();
        let (name, room) = (ledger.name.clone(), ledger.room);
        match op {
            Op::Register | Op::NsRegister => {
                let password = ledger.new_password();
                pending.password = Some(ledger.password.ask(Some(password.clone())));
                pending.always_on = Some(ledger.always_on.ask(false));
                match op {
                    Op::Register => format!("REGISTER {name} * {password}"),
                    _ => format!("NICKSERV REGISTER {password}"),
                }
            }
            Op::Passwd => {
                let new = ledger.new_password();
                pending.password = Some(ledger.password.ask(Some(new.clone())));
                format!("NS PASSWD {old} {new} {new}")
            }
            Op::AlwaysOn(on) => {
                pending.always_on = Some(ledger.always_on.ask(*on));
                format!("NS SET always-on {}", if *on { "on" } else { "off" })
            }
            Op::Drop => {
                pending.password = Some(ledger.password.ask(None));
                pending.owns = Some(ledger.owns.ask(false));
                format!("NS DROP {name} {}", store.code_of_account(&name))
            }
            Op::CsRegister => {
                pending.owns = Some(ledger.owns.ask(true));
                format!("CS REGISTER {room}")
            }
            Op::CsDrop => {
                pending.owns = Some(ledger.owns.ask(false));
                format!("CS DROP {room} {}", store.code_of_room(room))
            }
            Op::CsInfo => format!("CHANSERV INFO {room}"),
            _ => "NS INFO".to_owned(),
        }
    }
    fn talk(&mut self, op: &Op) -> String {
        match op {
            Op::Topic => {
                let text = format!("주제 {}-{}", self.id, self.tokens);
                let mut ledger = self.ledger.borrow_mut();
                ledger.topics.push(text.clone());
                format!("TOPIC {} :{text}", ledger.room)
            }
            Op::Say(room) => {
                self.words += 1;
                let words = format!("{}-{} 안녕", self.id, self.words);
                self.known.borrow_mut().says(room, &words);
                format!("PRIVMSG {room} :{words}")
            }
            _ => "VERSION".to_owned(),
        }
    }

    // Hearing.

    fn hear(&mut self, line: &str, cx: &mut PeerCx<'_>) {
        // Who is slow to begin is taken for a person at first.
        if line == "What is your name?" {
            return;
        }
        let line = line.trim_end_matches('\r');
        let read = Line::read(line);
        match read.command() {
            "001" => {
                if let Some(pending) = self.pending.iter().find(|pending| pending.fate.is_none()) {
                    cx.claim(None, format!("{} is welcome before the answer to {pending:?}", self.id));
                }
                self.is_here = true;
                // Who comes to somebody that is here already is called as he is.
                read.param(0).clone_into(&mut self.nick);
                self.ends.send(&format!("JOIN {},#lobby\r\n", self.ledger.borrow().room), cx);
            }
            "433" if !self.is_here => {
                self.nick = format!("{}_{}", self.nick, self.id);
                self.ends.send(&format!("NICK {}\r\n", self.nick), cx);
            }
            "PING" => self.ends.send(&format!("PONG :{}\r\n", read.param(0)), cx),
            "AUTHENTICATE" => self.hear_challenge(read.param(0), cx),
            "PONG" => self.hear_pong(read.param(1), cx),
            _ => {}
        }
        let own = read.source.split('!').next() == Some(&self.nick);
        if let (true, Some(What::Renamed { to })) = (own, read.event().map(|event| event.what)) {
            self.nick = to;
        }
        // Each has its PONG behind it: what comes before that is about the first.
        let Some(pending) = self.pending.front().filter(|pending| pending.fate.is_none()) else { return };
        let Some(fate) = fate(&pending.op, &read) else { return };
        let token = pending.token;
        self.settle(token, fate, &read, cx);
    }
    /// The answer to something has come.
    fn settle(&mut self, token: u64, fate: Fate, line: &Line<'_>, cx: &mut PeerCx<'_>) {
        let Some(pending) = self.pending.iter_mut().find(|pending| pending.token == token) else { return };
        // Another client of the same person has changed his nick meanwhile: it is another account that has been made.
        let is_another = pending.op == Op::NsRegister && self.nick != self.ledger.borrow().name;
        let fate = if is_another { Fate::Failed } else { fate };
        pending.fate = Some(fate);
        // Another connection may be the owner's by now.
        if self.is_done {
            return;
        }
        let mut ledger = self.ledger.borrow_mut();
        for (number, cell) in [(pending.always_on, 1), (pending.owns, 2), (pending.password, 0)] {
            let Some(number) = number else { continue };
            match cell {
                0 => ledger.password.is_told(number, fate),
                1 => ledger.always_on.is_told(number, fate),
                _ => ledger.owns.is_told(number, fate),
            }
        }
        let store = self.store.borrow();
        if self.is_owner
            && let Some(what) = ledger.wrong(&store)
        {
            cx.claim(None, format!("{} was told {fate:?} of {:?}: {what}", self.id, pending.op));
        }
        if let (Fate::Done, Some((password, before))) = (fate, &pending.login) {
            let is_scram = matches!(pending.op, Op::Scram { .. });
            if !is_scram && store.right.get(password).copied().unwrap_or(0) == *before {
                cx.claim(None, format!("{} is logged in by {password:?}, which was not looked at", self.id));
            }
            if !store.had.contains(&(names::fold(&ledger.name), password.clone())) {
                cx.claim(None, format!("{} is logged in by {password:?}, which was never stored", self.id));
            }
        }
        let text = line.words.last().copied().unwrap_or("");
        match (&pending.op, fate) {
            (Op::Register | Op::NsRegister | Op::Plain { .. } | Op::Scram { .. } | Op::Identify { .. }, Fate::Done) => {
                self.is_in = true;
            }
            (Op::Drop, Fate::Done) => self.is_in = false,
            (Op::Info, _) if self.is_owner => {
                let says = text.starts_with("Account: ");
                // What nothing was heard of by another connection may have thrown him out.
                if says && !self.is_in || !says && self.is_in && !ledger.password.may_be(&None) {
                    cx.claim(None, format!("{}, logged in: {}, is told {text:?}", self.id, self.is_in));
                }
            }
            (Op::CsInfo, _) if self.is_owner => {
                let says = text.ends_with("is registered");
                if !ledger.owns.may_be(&says) {
                    cx.claim(None, format!("{} is told {text:?}: {ledger:#?}", self.id));
                }
            }
            _ => {}
        }
        if matches!(pending.op, Op::Scram { .. }) {
            self.pending.retain(|pending| pending.token != token);
            self.scram = None;
            drop(ledger);
            drop(store);
            if !self.is_here {
                self.come_in(cx);
            }
        }
    }
    fn hear_challenge(&mut self, text: &str, cx: &mut PeerCx<'_>) {
        let Some(scram) = &mut self.scram else { return };
        match scram.answer(text) {
            Ok(answer) => self.ends.send(&format!("AUTHENTICATE {answer}\r\n"), cx),
            Err(what) => cx.claim(None, format!("{} is challenged by {text:?}: {what}", self.id)),
        }
    }
    fn hear_pong(&mut self, token: &str, cx: &mut PeerCx<'_>) {
        let Some(token) = token.strip_prefix('k').and_then(|token| token.parse::<u64>().ok()) else { return };
        match self.pending.pop_front() {
            Some(Pending { token: next, fate: Some(_), .. }) if next == token => {}
            other => cx.claim(None, format!("{} hears answer {token} where {other:?} is next", self.id)),
        }
    }
    fn leave(&mut self, cx: &mut PeerCx<'_>) {
        match &self.leaving {
            Act::Say(_) => self.ends.send("QUIT :bye\r\n", cx),
            Act::Fin => cx.fin(),
            Act::Reset => cx.reset(),
            Act::Vanish => cx.vanish(),
            Act::Hear(_) | Act::HearEnd | Act::Wait(_) | Act::Read(_) => {}
        }
        self.end();
    }
    fn end(&mut self) {
        self.is_done = true;
        *self.is_over.borrow_mut() = true;
    }
}

/// What an answer says of the first thing that waits for one; none: it is about something else.
fn fate(op: &Op, line: &Line<'_>) -> Option<Fate> {
    let text = line.words.last().copied().unwrap_or("");
    let of = |is_done: bool| Some(if is_done { Fate::Done } else { Fate::Failed });
    let by = |servant: &str| line.command() == "NOTICE" && line.source.starts_with(servant);
    match op {
        Op::Register => match (line.command(), line.param(0), line.param(1)) {
            ("REGISTER", "SUCCESS", _) => of(true),
            ("FAIL", "REGISTER", _) => of(false),
            _ => None,
        },
        Op::Plain { .. } | Op::Scram { .. } => match line.command() {
            "903" => of(true),
            "904" | "905" | "906" => of(false),
            _ => None,
        },
        Op::NsRegister if by("NickServ!") => of(text == "Account created"),
        Op::Identify { .. } if by("NickServ!") => of(text.starts_with("You're now logged in as ")),
        Op::Passwd if by("NickServ!") => of(text == "Password changed"),
        Op::AlwaysOn(_) if by("NickServ!") => of(text.starts_with("Successfully changed")),
        Op::Drop if by("NickServ!") => of(text.starts_with("Successfully unregistered")),
        Op::Info if by("NickServ!") => of(text.starts_with("Account: ")),
        Op::CsRegister if by("ChanServ!") => of(text.ends_with("successfully registered")),
        Op::CsDrop if by("ChanServ!") => of(text.ends_with("is now unregistered")),
        Op::CsInfo if by("ChanServ!") => of(text.ends_with("is registered")),
        _ => None,
    }
}

impl Peer for Keeper {
    fn poll(&mut self, cx: &mut PeerCx<'_>) {
        if !self.has_begun {
            let is_next = self.before.as_ref().is_none_or(|before| *before.borrow());
            if !self.known.borrow().is_open || !is_next {
                if cx.ended.is_some() {
                    self.end();
                    return cx.fin();
                }
                return cx.wake_in(Duration::from_millis(200));
            }
            self.has_begun = true;
            self.begin(cx);
        }
        self.ends.feed(cx);
        while let Some(line) = self.ends.take() {
            self.hear(&line, cx);
        }
        if cx.ended.is_some() {
            self.end();
            return cx.fin();
        }
        if self.is_done || !self.is_here {
            return;
        }
        loop {
            if let Some(until) = self.until {
                if cx.now < until {
                    return cx.wake_in(until - cx.now);
                }
                self.until = None;
            }
            if self.pending.len() >= self.depth || self.scram.is_some() {
                return;
            }
            match self.plan.front() {
                // It is a dialogue: what is asked meanwhile would get into it.
                Some(Op::Scram { .. }) if !self.pending.is_empty() => return,
                Some(_) => {}
                None if self.pending.is_empty() || cx.dice.chance(300) => break,
                None => return,
            }
            if let Some(op) = self.plan.pop_front() {
                self.ask(&op, cx);
            }
        }
        self.leave(cx);
    }
}
