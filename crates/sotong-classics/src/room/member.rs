//! One person in the room: parses lines, renders lines.
use super::{Command, Effect, Name, Refusal, Roll, Room, TOPIC};
use bytes::Bytes;
use sotong_session::{Close, Cx, Event, Moment, Output, Records, Session, Wants, Wire};
use std::{borrow::Cow, fmt, sync::Arc};

/// A line as everybody gets it, rendered once: UTF-8 without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line(Bytes);

impl Line {
    /// What the server says: `* text`.
    pub(super) fn notice(text: fmt::Arguments<'_>) -> Self {
        Self(format!("* {text}").into())
    }
    fn said(name: &Name, words: &str) -> Self {
        Self([name.as_str(), ": ", words].concat().into())
    }
    fn send(&self, out: &mut Output, wire: Wire) {
        // Cloning counts a reference that all shards share: for a short line, copying is cheaper.
        if self.0.len() <= COPY_BYTES_MAX {
            out.put(&self.0);
        } else {
            out.share(self.0.clone());
        }
        end(out, wire);
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(&self.0).fmt(f)
    }
}

/// As an output does it.
const COPY_BYTES_MAX: usize = 512;
/// A list of names is wrapped into lines of about this length: each fits into one datagram anywhere.
const ROLL_LINE_BYTES: usize = 1000;
/// How much of an unknown command is said back.
const SAID_BACK_CHARS: usize = 32;

const QUESTION: &str = "What is your name?";
const HELP: [&str; 4] =
    ["/who lists who is here", "/nick NEW changes your name", "/quit leaves", "everything else is said to all others"];

/// One person in the room, in records: one line each, over a stream without its end.
#[derive(Debug)]
pub struct Member {
    room: Arc<Room>,
    /// What the person's own wire carries, whatever layers are between.
    wire: Wire,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Awaits `Open`.
    New,
    /// Awaits a name.
    Asked { tries_left: u32, until: Moment },
    /// A member.
    Here { name: Name },
    /// Has left, or never came in.
    Gone,
}

impl Member {
    pub(super) fn new(room: Arc<Room>, wire: Wire) -> Self {
        Self { room, wire, state: State::New }
    }

    fn open(&mut self, cx: &mut Cx<'_, Line>) -> Result<(), Close> {
        if self.room.hall().is_full() {
            return self.refuse_full(cx);
        }
        let limits = &self.room.limits;
        self.state = State::Asked { tries_left: limits.name_tries_max, until: cx.now + limits.name_time };
        // A datagram has come already, and is the answer.
        if self.wire == Wire::Stream {
            tell(cx.out, self.wire, QUESTION);
        }
        Ok(())
    }
    fn refuse_full(&mut self, cx: &mut Cx<'_, Line>) -> Result<(), Close> {
        self.state = State::Gone;
        let count = self.room.limits.members_max;
        notice(cx.out, self.wire, format_args!("The room is full: {count} people are here. Please come again later."));
        Err(Close::Limit("members_max"))
    }

    fn record(&mut self, bytes: &[u8], cx: &mut Cx<'_, Line>) -> Result<(), Close> {
        if self.wire == Wire::Stream {
            return self.line(bytes, cx);
        }
        // What nc sends ends in LF, also as a datagram.
        let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        for line in text.split(|byte| *byte == b'\n') {
            if !cx.takes(Wants::INPUT) {
                notice(cx.out, self.wire, format_args!("That was too much at once; the rest was not sent."));
                break;
            }
            self.line(line.strip_suffix(b"\r").unwrap_or(line), cx)?;
        }
        Ok(())
    }
    fn line(&mut self, bytes: &[u8], cx: &mut Cx<'_, Line>) -> Result<(), Close> {
        if bytes.len() > self.room.limits.line_bytes_max {
            notice(cx.out, self.wire, format_args!("That line was not sent: it is too long."));
            return Ok(());
        }
        let Ok(text) = std::str::from_utf8(bytes) else {
            notice(cx.out, self.wire, format_args!("That line was not sent: it is not UTF-8."));
            return Ok(());
        };
        let name = match &self.state {
            State::Here { name } => name,
            State::Asked { .. } => return self.answer(text, cx),
            State::New | State::Gone => return Ok(()),
        };
        let text = without_controls(text);
        if let Some(command) = text.strip_prefix('/') {
            return self.command(command, cx);
        }
        if !text.trim().is_empty() {
            cx.host.publish(TOPIC, Some(cx.me), Line::said(name, &text));
        }
        Ok(())
    }

    /// The answer to the question for a name.
    fn answer(&mut self, text: &str, cx: &mut Cx<'_, Line>) -> Result<(), Close> {
        match text.trim() {
            "/quit" => return self.quit(cx),
            "/help" => {
                help(cx.out, self.wire);
                tell(cx.out, self.wire, QUESTION);
                return Ok(());
            }
            _ => {}
        }
        let name = match Name::new(text) {
            Ok(name) => name,
            Err(why) => return self.ask_again(format_args!("{why}."), cx),
        };
        match self.join(name, cx) {
            Ok(()) => Ok(()),
            Err(Refusal::Full) => self.refuse_full(cx),
            Err(why @ (Refusal::Taken | Refusal::Same | Refusal::Here | Refusal::NotHere)) => {
                self.ask_again(format_args!("{why}."), cx)
            }
        }
    }
    fn ask_again(&mut self, why: fmt::Arguments<'_>, cx: &mut Cx<'_, Line>) -> Result<(), Close> {
        let State::Asked { tries_left, .. } = &mut self.state else { return Ok(()) };
        *tries_left = tries_left.saturating_sub(1);
        if *tries_left == 0 {
            notice(cx.out, self.wire, format_args!("{why} Too many tries. Goodbye."));
            self.state = State::Gone;
            return Err(Close::Limit("name_tries_max"));
        }
        notice(cx.out, self.wire, why);
        tell(cx.out, self.wire, QUESTION);
        Ok(())
    }
    /// Comes in: into the hall, into the topic and into everybody's sight in one moment.
    fn join(&mut self, name: Name, cx: &mut Cx<'_, Line>) -> Result<(), Refusal> {
        let mut hall = self.room.hall();
        let effect = hall.apply(cx.me, Command::Join(name))?;
        if let Effect::Joined { name, others } = effect {
            cx.host.join(TOPIC, cx.me);
            cx.host.publish(TOPIC, Some(cx.me), Line::notice(format_args!("{name} has joined")));
            drop(hall);
            notice(cx.out, self.wire, format_args!("Welcome, {name}. /help lists the commands."));
            if others.count == 0 {
                notice(cx.out, self.wire, format_args!("Nobody else is here yet."));
            } else {
                tell_roll(cx.out, self.wire, &others);
            }
            self.state = State::Here { name };
        }
        Ok(())
    }

    fn command(&mut self, command: &str, cx: &mut Cx<'_, Line>) -> Result<(), Close> {
        let (word, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        match word {
            "who" => {
                let roll = self.room.hall().roll(None);
                tell_roll(cx.out, self.wire, &roll);
            }
            "nick" => self.rename(rest, cx),
            "help" => help(cx.out, self.wire),
            "quit" => return self.quit(cx),
            unknown => {
                let word: String = unknown.chars().take(SAID_BACK_CHARS).collect();
                notice(cx.out, self.wire, format_args!("There is no command /{word}. /help lists those there are."));
            }
        }
        Ok(())
    }
    fn rename(&mut self, typed: &str, cx: &mut Cx<'_, Line>) {
        let new = match Name::new(typed) {
            Ok(new) => new,
            Err(why) => return notice(cx.out, self.wire, format_args!("{why}.")),
        };
        let mut hall = self.room.hall();
        match hall.apply(cx.me, Command::Rename(new)) {
            Ok(Effect::Renamed { from, to }) => {
                let line = Line::notice(format_args!("{from} is called {to} from now on"));
                cx.host.publish(TOPIC, Some(cx.me), line);
                drop(hall);
                notice(cx.out, self.wire, format_args!("You are called {to} from now on."));
                self.state = State::Here { name: to };
            }
            Ok(Effect::Joined { .. } | Effect::Left { .. }) => {}
            Err(why) => notice(cx.out, self.wire, format_args!("{why}.")),
        }
    }
    fn quit(&mut self, cx: &mut Cx<'_, Line>) -> Result<(), Close> {
        self.leave(cx);
        notice(cx.out, self.wire, format_args!("Goodbye."));
        Err(Close::Done)
    }
    /// Out of the topic and the hall at once: a connection that is still closing holds no name.
    fn leave(&mut self, cx: &mut Cx<'_, Line>) {
        if matches!(std::mem::replace(&mut self.state, State::Gone), State::Here { .. }) {
            cx.host.leave(TOPIC, cx.me);
            self.room.leave(cx.me, cx.host);
        }
    }
}

impl Session for Member {
    type Mail = Line;
    fn handle(&mut self, event: Event<'_, Line>, cx: &mut Cx<'_, Line>) -> Result<(), Close> {
        match event {
            Event::Open(_) => return self.open(cx),
            Event::Input(mut input) => {
                let result = self.record(input.bytes(), cx);
                input.take_all();
                return result;
            }
            Event::End => {
                self.leave(cx);
                cx.out.finish();
            }
            Event::Mail(line) => line.send(cx.out, self.wire),
            Event::Deadline => {
                self.state = State::Gone;
                let seconds = self.room.limits.name_time.as_secs_f64();
                notice(cx.out, self.wire, format_args!("No name within {seconds} s. Goodbye."));
                return Err(Close::Idle);
            }
            Event::Stop => {
                // The others are leaving as well, most likely: whoever stays is told when this one has gone.
                cx.host.leave(TOPIC, cx.me);
                notice(cx.out, self.wire, format_args!("The server is leaving. Goodbye."));
                return Err(Close::Stop);
            }
            Event::Gone(_) => self.leave(cx),
            Event::Again | Event::Drained => {}
        }
        Ok(())
    }
    fn wants(&self) -> Wants {
        match self.state {
            State::Asked { until, .. } => Wants::INPUT.by(Some(until)),
            State::New | State::Here { .. } | State::Gone => Wants::INPUT,
        }
    }
}
impl Records for Member {}

/// Ends a line. A datagram carries its LF too: `nc -u` prints one behind the other. On a stream a layer sends it.
fn end(out: &mut Output, wire: Wire) {
    if wire == Wire::Records {
        out.put(b"\n");
    }
    out.cut();
}
fn tell(out: &mut Output, wire: Wire, text: &str) {
    out.put(text.as_bytes());
    end(out, wire);
}
fn notice(out: &mut Output, wire: Wire, text: fmt::Arguments<'_>) {
    Line::notice(text).send(out, wire);
}
fn help(out: &mut Output, wire: Wire) {
    for text in HELP {
        notice(out, wire, format_args!("{text}"));
    }
}
/// Wraps the names into lines.
fn tell_roll(out: &mut Output, wire: Wire, roll: &Roll) {
    let mut text = String::from("Here: ");
    for (place, name) in roll.names.iter().enumerate() {
        text.push_str(name.as_str());
        if place + 1 < roll.names.len() {
            text.push_str(", ");
        }
        if text.len() > ROLL_LINE_BYTES {
            notice(out, wire, format_args!("{}", text.trim_end()));
            text.clear();
        }
    }
    let more = roll.count.saturating_sub(roll.names.len());
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    if !text.is_empty() {
        notice(out, wire, format_args!("{}", text.trim()));
    }
}
/// Control characters but the tab are taken out: an escape sequence shows as harmless text.
fn without_controls(text: &str) -> Cow<'_, str> {
    let is_bad = |c: char| c.is_control() && c != '\t';
    if text.contains(is_bad) { text.replace(is_bad, "").into() } else { text.into() }
}
