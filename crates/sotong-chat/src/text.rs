//! A person with a terminal: `nc`, and nothing more.
mod why;

use crate::{
    Chat,
    books::{Answer, Ask, PASSWORDS, Secret, Ticket},
    client::{Answers, Client, reason},
    flood::Bucket,
    hall::{Attention, Left, Origin, Refusal, Taken, Teller, User, Who, Words},
    ip_of,
    lookups::{Lookups, Source},
    news::{Letter, Mail, News, Told, Verb, What},
    opers::{HASHED, is_same_secret},
    seats::Seats,
};
use sotong_irc::names::{self, NameError};
use sotong_layers::{First, Handover, Successor};
use sotong_session::{Close, Cx, Event, Input, Moment, Pace, Session, Stream, Wants, Way};
use std::{borrow::Cow, net::IpAddr, sync::Arc};

/// A person with a terminal: asked for a name, in one room at a time; lines are words, and `/` begins a command.
///
/// Somebody who answers the question for a name in IRC is an IRC client that was slow to begin: it gets the connection.
pub(crate) struct Person {
    chat: Arc<Chat>,
    stage: Stage,
    who: Who,
    seats: Seats,
    answers: Answers,
    bucket: Bucket,
    resume: Option<Moment>,
    host: Box<str>,
    is_secure: bool,
    /// The address he comes from, if that is one of a network.
    ip: Option<IpAddr>,
    /// The room he is in; none between two.
    room: Option<Arc<str>>,
    leaving: Option<Leaving>,
    /// The connection speaks IRC after all.
    is_client: bool,
    /// What is looked up of him before he is let in, and the name that he has given meanwhile.
    lookups: Option<Box<Lookups>>,
    named: Option<Box<str>>,
    /// A line that has begun, and may be the last one, without an end.
    begun: Vec<u8>,
    /// When it looks at what has ended in rooms, if it does so for all.
    looks_at: Option<Moment>,
}

#[derive(Debug)]
enum Stage {
    /// For the server's password, where it has one, before anything else; `waits` for the desk that checks it.
    Locked {
        tries_left: u32,
        until: Moment,
        waits: Option<Ticket>,
    },
    /// For a name; `is_open` if he has said the password.
    Asked {
        tries_left: u32,
        until: Moment,
        is_open: bool,
    },
    Here,
    Over,
}

/// What is left to do when all answers are out.
#[derive(Clone, Copy, Debug)]
enum Leaving {
    /// He said so.
    Quit,
    /// He has ended his direction.
    End,
}

const PASSWORD_QUESTION: &str = "What is the password of this server?";
const QUESTION: &str = "What is your name?";
const HELP: [&str; 6] = [
    "/who lists who is here",
    "/join #ROOM goes to another room",
    "/msg NAME WORDS says something to one person alone",
    "/nick NEW changes your name",
    "/quit leaves",
    "everything else is said to all in the room",
];
/// Bytes of a line; what is longer is not sent.
const LINE_BYTES_MAX: usize = 2048;
/// Bytes of a message: a longer line is sent as several, each of which fits into a line of IRC.
const MESSAGE_BYTES_MAX: usize = 350;
/// Names in one list: who asks in a full room is not sent all.
const ROLL_NAMES_MAX: usize = 100;
/// Words that only a client begins with.
const CLIENT_WORDS: [&str; 5] = ["CAP ", "NICK ", "USER ", "PASS ", "WEBIRC "];

impl Person {
    pub(crate) fn new(chat: Arc<Chat>) -> Self {
        let answers = Answers::new(&chat.name);
        Self {
            chat,
            stage: Stage::Over,
            who: Who::NOBODY,
            seats: Seats::default(),
            answers,
            bucket: Bucket::default(),
            resume: None,
            host: "".into(),
            is_secure: false,
            ip: None,
            room: None,
            leaving: None,
            is_client: false,
            lookups: None,
            named: None,
            begun: Vec::new(),
            looks_at: None,
        }
    }
    fn open(&mut self, way: &Way, cx: &mut Cx<'_, Mail>) {
        let limits = &self.chat.options().limits;
        self.host = self.chat.shown(way).into();
        self.is_secure = way.tls.is_some();
        self.ip = ip_of(way);
        let (tries_left, until) = (limits.name_tries_max, cx.now + limits.name_time);
        let mut hall = self.chat.hall();
        hall.newcomers.insert(cx.me);
        // What is looked up of him he is not told: he has asked for nothing. Nobody asks for his user, who is `text`.
        let begun = Source::of(way).and_then(|source| Lookups::begin(&self.chat, source.without_user(), &mut hall, cx));
        drop(hall);
        self.lookups = begun.map(|(lookups, _)| Box::new(lookups));
        if self.chat.options().password.is_some() {
            self.stage = Stage::Locked { tries_left, until, waits: None };
            return self.tell(PASSWORD_QUESTION, cx);
        }
        self.stage = Stage::Asked { tries_left, until, is_open: false };
        self.tell(QUESTION, cx);
    }
    /// A line of the server's to him alone, in its turn among the answers.
    fn tell(&mut self, text: &str, cx: &mut Cx<'_, Mail>) {
        self.answers.write(cx.out, |out| {
            out.extend_from_slice(text.as_bytes());
            out.push(b'\n');
        });
    }

    fn input(&mut self, input: &mut Input<'_>, cx: &mut Cx<'_, Mail>) -> Result<(), Close> {
        // Whoever speaks these was slow to begin, and has been greeted. It has nothing to do with what it is told here, and
        // a form that a page has it send is nobody's name and nobody's words.
        if self.is_new() && is_of_a_machine(input.bytes()) {
            input.take_all();
            return Err(Close::Protocol("TLS or HTTP after the greeting".into()));
        }
        self.begun.clear();
        while cx.takes(self.wants()) {
            let Some(end) = memchr::memchr(b'\n', input.bytes()) else {
                if input.bytes().len() > LINE_BYTES_MAX {
                    self.tell("* That line is too long. Goodbye.", cx);
                    return Err(Close::Limit("line_bytes_max"));
                }
                self.begun.extend_from_slice(input.bytes());
                return Ok(());
            };
            let line = &input.bytes()[..end];
            if self.is_new() && is_of_a_client(line) {
                self.is_client = true;
                return Ok(());
            }
            self.answers.begin(None);
            let result = self.line(line.strip_suffix(b"\r").unwrap_or(line), cx);
            self.answers.end(cx.out);
            input.take(end + 1);
            result?;
            self.leave_if_done(cx)?;
        }
        Ok(())
    }
    /// What was typed behind the last end of a line is said, too: `printf hello | nc` means it. What is of a client, is none.
    fn last_line(&mut self, cx: &mut Cx<'_, Mail>) -> Result<(), Close> {
        let line = std::mem::take(&mut self.begun);
        if line.is_empty() || self.is_new() && is_of_a_client(&line) {
            return Ok(());
        }
        self.answers.begin(None);
        let result = self.line(line.strip_suffix(b"\r").unwrap_or(&line), cx);
        self.answers.end(cx.out);
        result
    }
    /// Whether he has not come in yet.
    fn is_new(&self) -> bool {
        matches!(self.stage, Stage::Locked { .. } | Stage::Asked { .. })
    }
    fn line(&mut self, line: &[u8], cx: &mut Cx<'_, Mail>) -> Result<(), Close> {
        let text = match std::str::from_utf8(line) {
            Ok(text) if line.len() <= LINE_BYTES_MAX => without_controls(text),
            wrong => {
                let why = if wrong.is_ok() { "too long" } else { "not UTF-8" };
                self.tell(&format!("* That line was not sent: it is {why}."), cx);
                return Ok(());
            }
        };
        match self.stage {
            Stage::Locked { .. } => return self.unlock(&text, cx),
            Stage::Asked { .. } => return self.answer(text.trim(), cx),
            Stage::Here | Stage::Over => {}
        }
        let limits = &self.chat.options().limits;
        if limits.flood_control {
            // A long line costs as much as the messages it becomes.
            for _ in 0..=text.len() / MESSAGE_BYTES_MAX {
                self.resume = self.bucket.take(cx.now, limits);
            }
            if self.resume.is_some() {
                self.chat.counters.hit("burst");
            }
        }
        match text.strip_prefix('/') {
            Some(command) => self.command(command, cx),
            None if text.trim().is_empty() => {}
            None => self.say(None, &text, cx),
        }
        Ok(())
    }

    fn teller<'h>(&self, cx: &'h mut Cx<'_, Mail>) -> Teller<'h> {
        Teller { me: self.who, from: cx.me, at: cx.wall, host: &mut *cx.host }
    }

    // The password.

    /// What is typed is compared as it is, as that of a client is (RFC 2812, section 3.1.1).
    fn unlock(&mut self, typed: &str, cx: &mut Cx<'_, Mail>) -> Result<(), Close> {
        if typed == "/quit" {
            self.leaving = Some(Leaving::Quit);
            return Ok(());
        }
        let password = self.chat.options().password.clone();
        let Some(hash) = password.as_deref().filter(|password| password.starts_with(HASHED)) else {
            return self.unlocked(password.is_none_or(|password| is_same_secret(&password, typed)), cx);
        };
        let ticket = self.chat.hall().books.ticket();
        let ask = Ask::Verify(ticket, Secret::new(typed), Some(hash.into()));
        if cx.host.ask(PASSWORDS, Mail::ask(ask)).is_err() {
            self.tell("* The server has too much to do; try again.", cx);
        } else if let Stage::Locked { waits, .. } = &mut self.stage {
            *waits = Some(ticket);
        }
        Ok(())
    }
    /// What he has typed has been compared with the password.
    fn unlocked(&mut self, is_right: bool, cx: &mut Cx<'_, Mail>) -> Result<(), Close> {
        let Stage::Locked { tries_left, until, waits } = &mut self.stage else { return Ok(()) };
        *waits = None;
        if is_right {
            let (tries_left, until) = (self.chat.options().limits.name_tries_max, *until);
            self.stage = Stage::Asked { tries_left, until, is_open: true };
            self.tell(QUESTION, cx);
            return Ok(());
        }
        self.chat.counters.hit("password");
        *tries_left = tries_left.saturating_sub(1);
        if *tries_left == 0 {
            self.tell("* That is not the password. Too many tries. Goodbye.", cx);
            return Err(Close::Limit("name_tries_max"));
        }
        self.tell("* That is not the password.", cx);
        self.tell(PASSWORD_QUESTION, cx);
        Ok(())
    }

    // The name.

    fn answer(&mut self, text: &str, cx: &mut Cx<'_, Mail>) -> Result<(), Close> {
        if let Stage::Asked { tries_left, until, is_open: false } = self.stage
            && self.chat.options().password.is_some()
        {
            // There has been one since he was asked for his name.
            self.stage = Stage::Locked { tries_left, until, waits: None };
            self.tell(PASSWORD_QUESTION, cx);
            return Ok(());
        }
        match text {
            "/quit" => {
                self.leaving = Some(Leaving::Quit);
                return Ok(());
            }
            "/help" => {
                self.help(cx);
                self.tell(QUESTION, cx);
                return Ok(());
            }
            _ => {}
        }
        let name = match names::nick(text, self.chat.options().limits.nick_chars_max) {
            Ok(name) => name,
            Err(why) => return self.ask_again(&say_why(why), cx),
        };
        if self.lookups.as_ref().is_some_and(|lookups| lookups.deadline().is_some()) {
            self.named = Some(text.into());
            return Ok(());
        }
        let origin = self.origin();
        let mut user = User::new(&name, "text", &self.host, &name, (cx.now, cx.wall));
        user.is_secure = self.is_secure;
        let chat = Arc::clone(&self.chat);
        let mut hall = chat.hall();
        let ban = hall.ban_against(&user.source, origin.as_ref(), cx.wall).map(|ban| ban.record.reason.clone());
        if let Some(reason) = ban {
            drop(hall);
            self.chat.counters.hit("bans");
            self.tell(&format!("* You are banned from this server ({reason}). Goodbye."), cx);
            return Err(Close::Protocol("banned".into()));
        }
        let entered = hall.enter(user, Attention::Here, &mut self.teller(cx));
        if entered.is_ok() {
            hall.came_from(cx.me, origin);
        }
        drop(hall);
        match entered {
            Ok(who) => self.who = who,
            Err(Taken) => return self.ask_again("That name is taken.", cx),
        }
        self.stage = Stage::Here;
        self.lookups = None;
        self.tell(&format!("* Welcome, {name}. /help lists the commands."), cx);
        let room = self.chat.options().room.clone();
        self.join(&room, cx);
        Ok(())
    }
    /// Where he is really from.
    fn origin(&self) -> Option<Origin> {
        let name = self.lookups.as_ref().and_then(|lookups| lookups.name());
        Some(Origin { ip: self.ip?, name: name.map(Into::into) })
    }
    /// A desk has looked him up, or has had its time.
    fn looked_up(&mut self, answer: Option<&Answer>, cx: &mut Cx<'_, Mail>) -> Result<(), Close> {
        let Some(lookups) = &mut self.lookups else { return Ok(()) };
        match answer {
            Some(answer) => drop(lookups.answered(answer)),
            None => drop(lookups.expire(&self.chat, cx.now)),
        }
        if lookups.deadline().is_some() {
            return Ok(());
        }
        let named = self.named.take();
        if let Some(name) = lookups.name().filter(|_| !self.chat.options().cloak_addresses) {
            self.host = name.into();
        }
        // He may have gone meanwhile.
        let Some(named) = named.filter(|_| matches!(self.stage, Stage::Asked { .. })) else { return Ok(()) };
        self.answers.begin(None);
        let result = self.answer(&named, cx);
        self.answers.end(cx.out);
        result?;
        self.leave_if_done(cx)
    }
    fn ask_again(&mut self, why: &str, cx: &mut Cx<'_, Mail>) -> Result<(), Close> {
        let Stage::Asked { tries_left, .. } = &mut self.stage else { return Ok(()) };
        *tries_left = tries_left.saturating_sub(1);
        if *tries_left == 0 {
            self.tell(&format!("* {why} Too many tries. Goodbye."), cx);
            return Err(Close::Limit("name_tries_max"));
        }
        self.tell(&format!("* {why}"), cx);
        self.tell(QUESTION, cx);
        Ok(())
    }

    // Commands.

    fn command(&mut self, command: &str, cx: &mut Cx<'_, Mail>) {
        let (word, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        let rest = rest.trim();
        match word {
            "who" => self.who(cx),
            "nick" => self.rename(rest, cx),
            "join" => self.move_to(rest, cx),
            "msg" => match rest.split_once(char::is_whitespace) {
                Some((name, words)) if !words.trim().is_empty() => self.say(Some(name), words.trim(), cx),
                _ => self.tell("* Say it so: /msg NAME WORDS", cx),
            },
            "help" => self.help(cx),
            "quit" => {
                self.go("Quit", cx);
                self.leaving = Some(Leaving::Quit);
            }
            unknown => {
                let word: String = unknown.chars().take(32).collect();
                self.tell(&format!("* There is no command /{word}. /help lists those there are."), cx);
            }
        }
    }
    fn help(&mut self, cx: &mut Cx<'_, Mail>) {
        for text in HELP {
            self.tell(&format!("* {text}"), cx);
        }
    }
    fn who(&mut self, cx: &mut Cx<'_, Mail>) {
        let Some(room) = self.room.clone() else {
            return self.tell("* You are in no room. /join #ROOM goes to one.", cx);
        };
        let text = self.roll(&room);
        self.tell(&text, cx);
    }
    /// Who is in a room, but for himself.
    fn roll(&self, room: &str) -> String {
        let hall = self.chat.hall();
        let Some(room) = hall.room(room) else { return String::new() };
        // In an auditorium those without rank do not see each other.
        let others = room.seats.keys().filter(|who| **who != self.who && room.shows(self.who, **who));
        let mut others = others.filter_map(|who| Some(&*hall.user(*who)?.nick));
        let mut names: Vec<&str> = others.by_ref().take(ROLL_NAMES_MAX).collect();
        let more = others.count();
        names.sort_unstable();
        match (names.is_empty(), more) {
            (true, _) => format!("* Nobody else is in {}.", room.name),
            (false, 0) => format!("* In {}: {}", room.name, names.join(", ")),
            (false, more) => format!("* In {}: {} and {more} more", room.name, names.join(", ")),
        }
    }
    fn rename(&mut self, typed: &str, cx: &mut Cx<'_, Mail>) {
        let name = match names::nick(typed, self.chat.options().limits.nick_chars_max) {
            Ok(name) => name,
            Err(why) => return self.tell(&format!("* {}", say_why(why)), cx),
        };
        let chat = Arc::clone(&self.chat);
        let mut hall = chat.hall();
        if hall.ban_against_nick(self.who, &name, cx.wall).is_some() {
            drop(hall);
            return self.tell("* That name is banned from this server.", cx);
        }
        let kept = hall.keeps_nick(self.who, &name, cx.wall).map(|room| Arc::clone(&room.name));
        if let Some(room) = kept {
            drop(hall);
            return self.tell(&format!("* You cannot change your name while you are silenced in {room}."), cx);
        }
        let renamed = hall.rename(&name, &mut self.teller(cx));
        drop(hall);
        match renamed {
            Ok(()) => {
                self.answers.wait(1);
                self.tell(&format!("* You are called {name} from now on."), cx);
            }
            Err(Taken) => self.tell("* That name is taken.", cx),
        }
    }
    fn move_to(&mut self, typed: &str, cx: &mut Cx<'_, Mail>) {
        let Ok(name) = names::room(typed, self.chat.options().limits.room_chars_max) else {
            return self.tell("* A room's name begins with #, and has no blanks in it.", cx);
        };
        if self.room.as_deref().is_some_and(|room| names::fold(room) == names::fold(&name)) {
            return self.tell(&format!("* You are in {name}."), cx);
        }
        self.join(&name, cx);
    }
    /// Goes into a room, or into the one that it forwards to.
    fn join(&mut self, name: &str, cx: &mut Cx<'_, Mail>) {
        let Err(why) = self.go_into(name, cx) else { return };
        if why == Refusal::TooManyRooms {
            self.chat.counters.hit("rooms_max");
        }
        let other = self.chat.hall().room(name).and_then(|room| room.forward.clone());
        match other.filter(|_| why != Refusal::TooManyRooms) {
            Some(other) => {
                self.tell(&format!("* {name} sends you on to {other}."), cx);
                if let Err(why) = self.go_into(&other, cx) {
                    self.tell(&format!("* You cannot go to {other}: {}.", why::not_let_in(why)), cx);
                }
            }
            None => self.tell(&format!("* You cannot go to {name}: {}.", why::not_let_in(why)), cx),
        }
    }
    /// Goes into a room; out of the one before, once that has worked.
    fn go_into(&mut self, name: &str, cx: &mut Cx<'_, Mail>) -> Result<(), Refusal> {
        let chat = Arc::clone(&self.chat);
        let mut hall = chat.hall();
        let tell = &mut self.teller(cx);
        match hall.join(name, "", tell) {
            Ok(Some((id, stay))) => {
                self.seats.begin(id, stay);
                self.answers.wait(1);
                let shown = hall.room_by(id).map_or_else(|| name.into(), |room| Arc::clone(&room.name));
                if let Some(before) = self.room.replace(Arc::clone(&shown)) {
                    // He was in it: there is nothing to refuse.
                    let left = hall.leave(&before, &Left::Parts(None), tell);
                    self.answers.wait(usize::from(left.is_ok()));
                }
                let topic = hall.room_by(id).and_then(|room| room.topic.clone());
                drop(hall);
                let roll = self.roll(&shown);
                self.tell(&roll, cx);
                if let Some(topic) = topic {
                    self.tell(&format!("* This is about: {}", without_controls(&topic.text)), cx);
                }
            }
            // He has been sent on to where he is.
            Ok(None) => {}
            Err(why) => return Err(why),
        }
        Ok(())
    }
    /// Says something to the room, or to one person.
    fn say(&mut self, to: Option<&str>, text: &str, cx: &mut Cx<'_, Mail>) {
        let Some(target) = to.map(Arc::from).or_else(|| self.room.clone()) else {
            return self.tell("* You are in no room. /join #ROOM goes to one.", cx);
        };
        let chat = Arc::clone(&self.chat);
        let mut hall = chat.hall();
        let (mut failed, mut sent) = (None, 0);
        hall.now = cx.now;
        if let Some(user) = hall.user_mut(self.who) {
            user.spoke = cx.now;
        }
        for text in pieces(text) {
            let tell = &mut self.teller(cx);
            let words = Words { verb: Verb::Privmsg, text, lines: &[], tags: &[], echo: false };
            let done = match to {
                None => hall.say_in_room(&target, words, tell).map(usize::from),
                Some(_) => {
                    hall.say_to(&target, words, tell).map(|(_, own)| usize::from(own.echo) + usize::from(own.heard))
                }
            };
            match done {
                Ok(own) => {
                    sent += 1;
                    self.answers.wait(own);
                }
                Err(why) => {
                    failed = Some(why);
                    break;
                }
            }
        }
        let told = failed.map(|why| why::not_sent(why, &target, hall.room(&target), sent > 0));
        drop(hall);
        if let Some(told) = told {
            self.tell(&told, cx);
        }
    }

    // Mail and the end.

    fn mail(&mut self, mail: &Told, cx: &mut Cx<'_, Mail>) -> Result<(), Close> {
        if let What::Expelled { why } = &mail.news.what {
            self.go(why, cx);
            cx.out.put(mail.news.text());
            return Err(Close::Protocol("put out".into()));
        }
        let is_shown = self.seats.hears(mail, self.who, &self.chat, cx);
        if let What::Retitled { from, to, .. } = &mail.news.what
            && self.room.as_ref() == Some(from)
        {
            self.room = Some(Arc::clone(to));
        }
        if is_shown
            && let What::Kicked { whom, room, .. } = &mail.news.what
            && *whom == self.who
        {
            if self.room.as_ref() == Some(room) {
                self.room = None;
            }
            mail.news.text().put(false, cx.out);
            cx.out.put(b"* You are in no room now. /join #ROOM goes to one.\n");
            return Ok(());
        }
        if mail.news.from != Some(cx.me) {
            if is_shown {
                mail.news.text().put(false, cx.out);
            }
            return Ok(());
        }
        // What he says to himself is heard; what he does is answered.
        let is_heard = is_shown && matches!(mail.news.what, What::Said { .. });
        let line: &[u8] = if is_heard { mail.news.text().line() } else { b"" };
        self.answers.came(line, false, cx.out);
        self.leave_if_done(cx)
    }
    /// Takes out what has ended in rooms, for all.
    fn keep_time(&mut self, cx: &mut Cx<'_, Mail>) {
        let again = self.chat.hall().keep_time(&mut self.teller(cx)).filter(|_| matches!(self.stage, Stage::Here));
        self.looks_at = again.map(|time| cx.now + time);
    }
    fn go(&mut self, why: &str, cx: &mut Cx<'_, Mail>) {
        self.looks_at = None;
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Locked { .. } | Stage::Asked { .. } => {
                self.chat.hall().newcomers.remove(&cx.me);
            }
            Stage::Here => {
                let place = self.chat.hall().quit(why, &mut self.teller(cx));
                self.seats.close(place);
            }
            Stage::Over => {}
        }
    }
    fn leave_if_done(&mut self, cx: &mut Cx<'_, Mail>) -> Result<(), Close> {
        if !self.answers.is_empty() {
            return Ok(());
        }
        match self.leaving.take() {
            None => Ok(()),
            Some(Leaving::Quit) => {
                self.go("Quit", cx);
                cx.out.put(b"* Goodbye.\n");
                Err(Close::Done)
            }
            Some(Leaving::End) => {
                cx.out.finish();
                Ok(())
            }
        }
    }
}

impl Session for Person {
    type Mail = Mail;
    fn handle(&mut self, event: Event<'_, Mail>, cx: &mut Cx<'_, Mail>) -> Result<(), Close> {
        match event {
            Event::Open(way) => self.open(way, cx),
            Event::Input(mut input) => return self.input(&mut input, cx),
            Event::Mail(Mail(Letter::Told(mail))) => return self.mail(mail, cx),
            Event::Mail(Mail(Letter::Answer(answer))) => {
                if let Answer::Found(..) = **answer {
                    return self.looked_up(Some(answer), cx);
                }
                self.chat.hall().answered(answer, cx.wall, cx.host);
                if matches!(self.stage, Stage::Locked { waits: Some(ticket), .. } if ticket == answer.ticket()) {
                    return self.unlocked(matches!(**answer, Answer::Verified(_, true)), cx);
                }
            }
            Event::Mail(Mail(Letter::Time)) => self.keep_time(cx),
            Event::Mail(Mail(Letter::Heed)) => self.chat.hall().heed(cx.host),
            Event::Deadline => {
                if self.looks_at.is_some_and(|at| at <= cx.now) {
                    self.keep_time(cx);
                }
                if self.resume.is_some_and(|at| at <= cx.now) {
                    self.resume = None;
                }
                self.looked_up(None, cx)?;
                let missing = match self.stage {
                    Stage::Locked { until, .. } if until <= cx.now => "password",
                    Stage::Asked { until, .. } if until <= cx.now => "name",
                    _ => return Ok(()),
                };
                let seconds = self.chat.options().limits.name_time.as_secs_f64();
                cx.out.put(format!("* No {missing} within {seconds} s. Goodbye.\n").as_bytes());
                return Err(Close::Limit("name_time"));
            }
            Event::End => {
                self.last_line(cx)?;
                self.go("Connection closed", cx);
                self.leaving.get_or_insert(Leaving::End);
                return self.leave_if_done(cx);
            }
            Event::Stop => {
                self.go("Server is leaving", cx);
                cx.out.put(b"* The server is leaving. Goodbye.\n");
                return Err(Close::Stop);
            }
            Event::Gone(why) => self.go(reason(why), cx),
            // Nobody asks a session, and a person has been told of no capability.
            Event::Mail(Mail(Letter::Ask(_) | Letter::Reloaded(_))) | Event::Again | Event::Drained => {}
        }
        Ok(())
    }
    fn wants(&self) -> Wants {
        let waits = self.resume.is_some()
            || self.leaving.is_some()
            || matches!(self.stage, Stage::Locked { waits: Some(_), .. })
            || self.named.is_some()
            || !self.answers.is_empty() && self.answers.len() >= self.chat.options().limits.held_answers_max;
        let until = match self.stage {
            Stage::Locked { until, .. } | Stage::Asked { until, .. } => Some(until),
            Stage::Here | Stage::Over => None,
        };
        Wants { input: if waits { Pace::Hold } else { Pace::WhileRoom }, deadline: until }
            .by(self.resume)
            .by(self.looks_at)
            .by(self.lookups.as_ref().and_then(|lookups| lookups.deadline()))
    }
}
impl Stream for Person {}
impl First for Person {
    fn successor(&mut self) -> Option<Successor<Mail>> {
        let session = std::mem::take(&mut self.is_client).then(|| Client::new(Arc::clone(&self.chat)))?;
        Some(Successor { session: Box::new(session), early: Vec::new(), through: None })
    }
}

/// A person's session, as the front door hands it out.
pub(crate) fn person(chat: Arc<Chat>) -> Handover<Person> {
    Handover::new(Person::new(chat))
}

/// Whether a TLS handshake begins (RFC 8446 §5.1), or a request line has come (RFC 9112 §3).
fn is_of_a_machine(bytes: &[u8]) -> bool {
    let line = &bytes[..memchr::memchr(b'\n', bytes).unwrap_or(0)];
    let is_request = || line.trim_ascii_end().rsplit(|byte| *byte == b' ').next().is_some_and(is_version);
    bytes.starts_with(&[0x16, 3]) || line.contains(&b' ') && is_request()
}
fn is_version(word: &[u8]) -> bool {
    matches!(word, b"HTTP/1.1" | b"HTTP/1.0" | b"HTTP/2.0")
}
fn is_of_a_client(line: &[u8]) -> bool {
    CLIENT_WORDS
        .iter()
        .any(|word| line.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes())))
}
fn say_why(why: NameError) -> String {
    match why {
        NameError::Invisible => "A name has no blanks in it, and nothing that cannot be seen.".to_owned(),
        why => format!("{why}."),
    }
}
/// A line as messages, cut between characters, and between words where that is near.
fn pieces(mut text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    while text.len() > MESSAGE_BYTES_MAX {
        let piece = crate::options::cut(text, MESSAGE_BYTES_MAX);
        let at = piece.rfind(' ').filter(|at| *at > MESSAGE_BYTES_MAX / 2).map_or(piece.len(), |at| at + 1);
        let (piece, rest) = text.split_at(at);
        pieces.push(piece);
        text = rest;
    }
    pieces.push(text);
    pieces
}
/// Control characters but the tab are taken out: an escape sequence shows as harmless text.
fn without_controls(text: &str) -> Cow<'_, str> {
    let is_bad = |c: char| c.is_control() && c != '\t';
    if text.contains(is_bad) { text.replace(is_bad, "").into() } else { text.into() }
}

/// What a person with a terminal is told of news: a line, or nothing.
pub(crate) fn told(news: &News) -> String {
    let by = news.source.split('!').next().unwrap_or_default();
    let because = |reason: Option<&str>| match reason.map(without_controls) {
        Some(reason) if !reason.is_empty() => format!(" ({reason})"),
        _ => String::new(),
    };
    match &news.what {
        What::Said { verb: Verb::Tagmsg, .. }
        | What::Away { .. }
        | What::Real { .. }
        | What::Account
        | What::Host { .. }
        | What::ShownAs { .. }
        | What::Watched { .. }
        | What::Key { .. } => String::new(),
        What::Said { to, text, lines, .. } => {
            let to = if to.contains('#') { "" } else { " (to you)" };
            if !lines.is_empty() {
                let lines = text.split('\n').filter(|line| !line.is_empty());
                return lines.map(|line| format!("{by}{to}: {}\n", without_controls(line))).collect();
            }
            match text.strip_prefix("\u{1}ACTION ") {
                Some(action) => format!("* {by}{to} {}\n", without_controls(action)),
                None => format!("{by}{to}: {}\n", without_controls(text)),
            }
        }
        What::Joined { .. } => format!("* {by} has joined\n"),
        What::Parted { reason, .. } => format!("* {by} has left{}\n", because(reason.as_deref())),
        What::Kicked { nick, reason, .. } => format!("* {by} has put {nick} out{}\n", because(Some(reason))),
        What::Quit { reason } => format!("* {by} has left{}\n", because(Some(reason))),
        What::Renamed { to } => format!("* {by} is called {to} from now on\n"),
        What::Topic { text, .. } if text.is_empty() => format!("* {by} has taken the topic away\n"),
        What::Topic { text, .. } => format!("* {by} says what this is about: {}\n", without_controls(text)),
        What::Moded { changes, .. } => format!("* {by} has set {changes}\n"),
        What::Retitled { to, .. } => format!("* {by} has renamed this room: it is {to} now\n"),
        What::Wallops { text } => format!("* {by} says to all: {}\n", without_controls(text)),
        What::Expelled { why } => format!("* {} Goodbye.\n", without_controls(why)),
        What::Invited { whom, room } => format!("* {by} asks {whom} into {room}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let text = "가".repeat(500);
        let all = pieces(&text);
        assert!(all.len() == 5 && all.iter().all(|piece| piece.len() <= MESSAGE_BYTES_MAX));
        assert_eq!(all.concat(), text);
        let text = "word ".repeat(200);
        assert!(pieces(&text).iter().all(|piece| piece.ends_with(' ') || piece.ends_with("word")));
        assert_eq!(pieces(&text).concat(), text);
        assert_eq!(pieces("short"), ["short"]);
    }
}
