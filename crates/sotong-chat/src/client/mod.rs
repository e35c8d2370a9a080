//! A connection that speaks IRC.
mod accounts;
mod answers;
mod ask;
mod bans;
mod chanserv;
mod enrol;
mod hosts;
mod joining;
mod keepers;
mod looked_up;
mod meanwhile;
mod metadata;
mod modes;
mod monitor;
mod multiline;
mod nickserv;
mod opers;
mod pages;
mod register;
mod reloaded;
mod sasl;
mod server;
pub(crate) mod services;
mod speaking_for;
mod talk;
mod waits;
mod webirc;
mod who;

use crate::{
    Chat,
    books::CertPrint,
    caps::Caps,
    entrance,
    flood::Bucket,
    hall::{Hall, Teller, Who},
    ip_of,
    lookups::Source,
    news::{Letter, Mail, Told, What},
    options::cut,
    seats::Seats,
};
pub(crate) use answers::Answers;
use meanwhile::Meanwhile;
use multiline::{Batch, Part};
use register::Newcomer;
pub(crate) use sasl::MECHANISMS as SASL_MECHANISMS;
use sasl::Sasl;
use sha2::{Digest, Sha256};
use sotong_irc::{CLIENT_TAG_BYTES_MAX, Encoder, LINE_BYTES_MAX, Message, Numeric, ParseError, numeric};
use sotong_session::{Close, Cx, End, Event, Input, Moment, Pace, Records, Session, Stream, Topic, Wants, Way, Wire};
use std::{
    collections::BTreeSet,
    fmt::Display,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};
use waits::Waiting;

/// One client: parses lines, asks the hall, renders what is told.
///
/// Memory: what it has said of itself, the rooms it hears, and the answers that wait, which are bounded in number and bytes.
pub(crate) struct Client {
    chat: Arc<Chat>,
    stage: Stage,
    /// Whose it is, once it has registered.
    who: Who,
    caps: Caps,
    /// Understands values of capabilities, and that they come and go.
    cap_version: u32,
    seats: Seats,
    answers: Answers,
    /// What it will be told when it has read what it has missed.
    meanwhile: Meanwhile,
    /// Behind which place that is, where nobody else has read it.
    unread: Option<u64>,
    bucket: Bucket,
    /// When the next command may be taken, where there were too many.
    resume: Option<Moment>,
    /// Where it is from, as others are shown it.
    host: Box<str>,
    is_secure: bool,
    /// It comes by WebSocket: each message is a line.
    is_framed: bool,
    /// When it has been silent for too long: to be asked whether it is there, or, where that has been done, to be cut off.
    due: Moment,
    is_asked: bool,
    /// Bytes thrown away of a line that is too long, as its rest will be; none: there is no such line.
    skipped: usize,
    /// The batch of lines that it sends.
    batch: Option<Batch>,
    /// Keys it is told of. Most are told of none, and so have a null pointer.
    #[allow(clippy::box_collection)]
    subs: Option<Box<BTreeSet<Box<str>>>>,
    /// What is left to do when all answers are out.
    leaving: Option<Leaving>,
    /// The configuration is to be read again, once the hall is free.
    rehashes: bool,
    /// When it looks at what has ended in rooms, if it does so for all.
    looks_at: Option<Moment>,
    /// What a desk has been asked.
    waiting: Option<Waiting>,
    /// A log-in by SASL that is under way.
    sasl: Option<Box<Sasl>>,
    /// The address that it comes from, if that is one of a network.
    ip: Option<IpAddr>,
    /// The certificate that it has shown.
    cert: Option<Box<CertPrint>>,
    /// A gateway has brought it: it counts among those of its own address.
    brought: Option<Box<webirc::Brought>>,
}

#[derive(Debug)]
enum Stage {
    /// Registers, until this moment.
    New(Box<Newcomer>),
    Here,
    Over,
}

#[derive(Debug)]
enum Leaving {
    /// It said QUIT.
    Quit(Box<str>),
    /// It has ended its direction.
    End,
}

/// Bytes of answers that may wait, beyond which no more commands are taken: the output's high mark.
const HELD_BYTES_MAX: usize = 64 << 10;
/// Bytes of an unfinished line.
const UNFINISHED_BYTES_MAX: usize = CLIENT_TAG_BYTES_MAX + LINE_BYTES_MAX;

impl Client {
    pub(crate) fn new(chat: Arc<Chat>) -> Self {
        let answers = Answers::new(&chat.name);
        Self {
            chat,
            stage: Stage::Over,
            who: Who::NOBODY,
            caps: Caps::default(),
            cap_version: 0,
            seats: Seats::default(),
            answers,
            meanwhile: Meanwhile::default(),
            unread: None,
            bucket: Bucket::default(),
            resume: None,
            host: "".into(),
            is_secure: false,
            is_framed: false,
            due: Moment::START,
            is_asked: false,
            skipped: 0,
            batch: None,
            subs: None,
            leaving: None,
            rehashes: false,
            looks_at: None,
            waiting: None,
            sasl: None,
            ip: None,
            cert: None,
            brought: None,
        }
    }

    fn open(&mut self, way: &Way, cx: &Cx<'_, Mail>) {
        self.host = self.chat.shown(way).into();
        self.is_secure = way.tls.is_some();
        self.is_framed = way.wire == Wire::Records;
        self.ip = ip_of(way);
        let shown = way.tls.as_ref().and_then(|tls| tls.peer_chain.first());
        self.cert = shown.map(|der| Box::new(Sha256::digest(der).into()));
        self.chat.hall().newcomers.insert(cx.me);
        let until = cx.now + self.chat.options().limits.registration;
        let mut newcomer = Box::new(Newcomer::new(until, Source::of(way)));
        newcomer.gateway = match way.peer() {
            // Whoever comes by a Unix socket is on this machine.
            End::Unix { .. } => Some(Ipv4Addr::LOCALHOST.into()),
            End::Net(_) | End::Pipe | End::Simulated(_) => self.ip,
        };
        newcomer.counted = entrance::counted_ip(way);
        self.stage = Stage::New(newcomer);
    }

    // Input.

    fn input(&mut self, input: &mut Input<'_>, cx: &mut Cx<'_, Mail>) -> Result<(), Close> {
        if self.is_framed {
            let result = self.record(input.bytes(), cx);
            input.take_all();
            return result;
        }
        while cx.takes(self.wants()) {
            let Some(end) = memchr::memchr(b'\n', input.bytes()) else {
                let length = input.bytes().len();
                if self.skipped == 0 && length <= UNFINISHED_BYTES_MAX {
                    return Ok(());
                }
                if self.skipped == 0 {
                    self.complain(input.bytes(), ParseError::TooLong, cx);
                }
                input.take_all();
                self.skipped += length;
                if self.is_too_much(self.skipped) {
                    return Err(self.farewell("Receive queue exceeded", Close::Limit("receive_queue_bytes_max"), cx));
                }
                return Ok(());
            };
            if self.is_too_much(self.skipped + end) {
                input.take_all();
                return Err(self.farewell("Receive queue exceeded", Close::Limit("receive_queue_bytes_max"), cx));
            }
            if std::mem::take(&mut self.skipped) > 0 {
                input.take(end + 1);
                continue;
            }
            let result = self.line(&input.bytes()[..end], cx);
            input.take(end + 1);
            result?;
        }
        Ok(())
    }
    /// Whether so many bytes without the end of a line are no mistake any more.
    fn is_too_much(&self, bytes: usize) -> bool {
        bytes > UNFINISHED_BYTES_MAX && bytes > self.chat.options().limits.receive_queue_bytes_max
    }
    /// A message of WebSocket: one line, which needs no end.
    fn record(&mut self, record: &[u8], cx: &mut Cx<'_, Mail>) -> Result<(), Close> {
        let line = record.strip_suffix(b"\n").unwrap_or(record);
        self.line(line, cx)
    }
    fn line(&mut self, line: &[u8], cx: &mut Cx<'_, Mail>) -> Result<(), Close> {
        let options = self.chat.options();
        let limits = &options.limits;
        self.due = cx.now + limits.ping_after.min(limits.cut_after);
        self.is_asked = false;
        if matches!(line, b"" | b"\r") {
            return Ok(());
        }
        let message = Message::parse(line);
        // The lines of a batch have limits of their own, and are paid for when they are said; what comes between them is not.
        let is_paid_later = self.is_in_batch()
            && message.as_ref().is_ok_and(|message| message.tags.iter().any(|tag| tag.key == "batch"));
        // Registration has a limit of its own, too.
        if limits.flood_control && matches!(self.stage, Stage::Here) && !is_paid_later {
            self.resume = self.bucket.take(cx.now, limits);
            if self.resume.is_some() {
                self.chat.counters.hit("burst");
            }
        }
        if let Stage::New(newcomer) = &mut self.stage {
            newcomer.lines += 1;
            if newcomer.lines > limits.registration_lines_max {
                return Err(self.farewell(
                    "Too many lines before registration",
                    Close::Limit("registration_lines_max"),
                    cx,
                ));
            }
        }
        match message {
            Ok(message) => {
                self.look_up(&message, cx);
                self.command(&message, cx)
            }
            Err(why) => {
                self.complain(line, why, cx);
                Ok(())
            }
        }
    }
    /// A line that is no message.
    fn complain(&mut self, line: &[u8], why: ParseError, cx: &mut Cx<'_, Mail>) {
        // What is readable of it may be, and is answered as it asks to be.
        let readable = match why {
            ParseError::NotUtf8 => readable(line),
            ParseError::TooLong | ParseError::Control => labelled(line),
            ParseError::NoCommand => String::new(),
        };
        let message = Message::parse(readable.as_bytes()).ok();
        let label = message.as_ref().and_then(|message| self.label(message));
        self.answers.begin(label);
        let chat = Arc::clone(&self.chat);
        let mut hall = chat.hall();
        let mut talk = Talk { client: self, hall: &mut hall, cx };
        match why {
            ParseError::TooLong => talk.reply(numeric::ERR_INPUTTOOLONG, &[], "Input line was too long"),
            ParseError::NotUtf8 => {
                let command = message.as_ref().map_or("*", |message| message.command);
                let is_word = command.len() <= 20 && command.bytes().all(|byte| byte.is_ascii_alphabetic());
                let command = if is_word { command.to_ascii_uppercase() } else { "*".to_owned() };
                talk.fail(&command, "INVALID_UTF8", "Your line was not taken: it is not UTF-8");
            }
            ParseError::Control => {
                talk.reply(numeric::ERR_UNKNOWNERROR, &[&"*"], "There is a NUL, a CR or an LF in that line");
            }
            ParseError::NoCommand => {}
        }
        drop(hall);
        self.answers.end(cx.out);
    }
    fn command(&mut self, message: &Message<'_>, cx: &mut Cx<'_, Mail>) -> Result<(), Close> {
        let chat = Arc::clone(&self.chat);
        let part = self.batched(message, &chat.options().limits);
        if !matches!(part, Part::None) {
            return self.batch_part(&part, cx);
        }
        self.answers.begin(self.label(message));
        // The whole command is carried out, and told, before anybody else's.
        let mut hall = chat.hall();
        let mut talk = Talk { client: self, hall: &mut hall, cx };
        let done = talk.run(message);
        talk.save();
        drop(hall);
        if std::mem::take(&mut self.rehashes) {
            self.rehash(cx);
        }
        self.answers.end(cx.out);
        self.turn_pages(cx);
        done?;
        self.leave_if_done(cx)
    }
    /// The label that a command asks to be answered with.
    fn label(&self, message: &Message<'_>) -> Option<String> {
        let has_labels = self.caps.has(Caps::LABELED_RESPONSE) && self.caps.has(Caps::BATCH);
        message.tags.get("label").filter(|label| has_labels && !label.is_empty() && label.len() <= 64)
    }
    /// A line that belongs to a batch.
    fn batch_part(&mut self, part: &Part, cx: &mut Cx<'_, Mail>) -> Result<(), Close> {
        let label = match part {
            Part::None | Part::Taken => return Ok(()),
            Part::Whole(lines) => lines.label(),
            Part::Wrong(label, _) => label.clone(),
        };
        self.answers.begin(label);
        let chat = Arc::clone(&self.chat);
        let mut hall = chat.hall();
        let mut talk = Talk { client: self, hall: &mut hall, cx };
        match part {
            Part::Whole(lines) => talk.speak_lines(lines),
            Part::Wrong(_, why) => talk.refuse_batch(why),
            Part::None | Part::Taken => {}
        }
        drop(hall);
        if let Part::Whole(lines) = part {
            let limits = self.chat.options().limits;
            for _ in 0..lines.cost() {
                self.resume = self.bucket.take(cx.now, &limits).filter(|_| limits.flood_control);
            }
        }
        self.answers.end(cx.out);
        self.leave_if_done(cx)
    }
    /// Writes lists for as long as there is room.
    fn turn_pages(&mut self, cx: &mut Cx<'_, Mail>) {
        if self.answers.open_page().is_none() || cx.out.is_full() {
            return;
        }
        let chat = Arc::clone(&self.chat);
        let hall = chat.hall();
        let mut lines = Vec::new();
        while !cx.out.is_full() {
            let Some(page) = self.answers.open_page() else { return };
            lines.clear();
            let is_last = page.next(&hall, self.who, self.caps, &mut lines);
            self.answers.turn_page(&lines, is_last, cx.out);
        }
    }

    // Mail.

    fn mail(&mut self, mail: &Told, cx: &mut Cx<'_, Mail>) -> Result<(), Close> {
        if let What::Expelled { why } = &mail.news.what {
            return Err(self.farewell(why, Close::Protocol("put out".into()), cx));
        }
        if self.answers.reads_back() {
            self.keep_mail(mail, cx);
            return Ok(());
        }
        self.told(mail, cx)
    }
    /// Tells what has happened.
    fn told(&mut self, mail: &Told, cx: &mut Cx<'_, Mail>) -> Result<(), Close> {
        let is_shown = self.seats.hears(mail, self.who, &self.chat, cx);
        if is_shown && matches!(mail.news.what, What::Retitled { .. }) && !self.caps.has(Caps::CHANNEL_RENAME) {
            return self.moved(mail, cx);
        }
        let own = mail.news.by == Some(self.who);
        let is_told = is_shown && mail.news.is_for(self.caps, own) && self.cares(mail, own);
        if mail.news.from == Some(cx.me) {
            let line: &[u8] = if is_told { mail.news.line(self.caps).line() } else { b"" };
            self.answers.came(line, mail.news.is_batch(self.caps), cx.out);
            self.turn_pages(cx);
            return self.leave_if_done(cx);
        }
        if is_told {
            mail.news.line(self.caps).put(self.is_framed, cx.out);
            if let (What::Joined { .. }, Some(room)) = (&mail.news.what, mail.room)
                && mail.news.by == Some(self.who)
            {
                self.enter(&[room], cx);
            }
        }
        Ok(())
    }

    /// Whether it asked for more than the capability that the news needs: keys by their names, and what those do whom it only
    /// watches (IRCv3 extended-monitor).
    fn cares(&self, mail: &Told, own: bool) -> bool {
        match &mail.news.what {
            What::Key { key, .. } => self.subs.as_ref().is_some_and(|subs| subs.contains(key)),
            What::Away { .. } | What::Real { .. } | What::Account | What::Host { .. } => {
                own || mail.room.is_some() || self.caps.has(Caps::EXTENDED_MONITOR)
            }
            _ => true,
        }
    }
    /// Tells of rooms that it is in by another connection's doing, as the answer to JOIN would.
    fn enter(&mut self, rooms: &[Topic], cx: &mut Cx<'_, Mail>) {
        self.answers.begin(None);
        let chat = Arc::clone(&self.chat);
        let mut hall = chat.hall();
        let mut talk = Talk { client: self, hall: &mut hall, cx };
        for room in rooms {
            talk.show_room(*room);
        }
        drop(hall);
        self.answers.end(cx.out);
        self.turn_pages(cx);
    }

    // Leaving.

    /// Says goodbye.
    fn farewell(&mut self, why: &str, close: Close, cx: &mut Cx<'_, Mail>) -> Close {
        self.go(why, cx);
        let host = &self.host;
        cx.out.render(|line| Encoder::new(line).word("ERROR").text(format_args!("Closing link: {host} ({why})")).end());
        close
    }
    /// Out of the hall, once.
    fn go(&mut self, why: &str, cx: &mut Cx<'_, Mail>) {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::New(_) => {
                self.chat.hall().newcomers.remove(&cx.me);
            }
            Stage::Here => {
                let why = cut(why, self.chat.options().limits.reason_bytes_max);
                let tell = &mut Teller { me: self.who, from: cx.me, at: cx.wall, host: cx.host };
                let mut hall = self.chat.hall();
                let place = hall.quit(why, tell);
                if let Some(behind) = self.unread {
                    hall.has_not_read(self.who, behind);
                }
                drop(hall);
                self.seats.close(place);
            }
            Stage::Over => {}
        }
    }
    fn leave_if_done(&mut self, cx: &mut Cx<'_, Mail>) -> Result<(), Close> {
        if !self.answers.is_empty() || !self.meanwhile.is_empty() {
            return Ok(());
        }
        match self.leaving.take() {
            None => Ok(()),
            Some(Leaving::Quit(why)) => Err(self.farewell(&why, Close::Done, cx)),
            Some(Leaving::End) => {
                cx.out.finish();
                Ok(())
            }
        }
    }

    // Time.

    /// Takes out what has ended in rooms, for all.
    fn keep_time(&mut self, cx: &mut Cx<'_, Mail>) {
        let tell = &mut Teller { me: self.who, from: cx.me, at: cx.wall, host: cx.host };
        let again = self.chat.hall().keep_time(tell).filter(|_| matches!(self.stage, Stage::Here));
        self.looks_at = again.map(|time| cx.now + time);
    }
    fn deadline(&mut self, cx: &mut Cx<'_, Mail>) -> Result<(), Close> {
        if self.resume.is_some_and(|at| at <= cx.now) {
            self.resume = None;
        }
        if self.looks_at.is_some_and(|at| at <= cx.now) {
            self.keep_time(cx);
        }
        self.go_without(cx)?;
        let limits = self.chat.options().limits;
        match &self.stage {
            Stage::New(newcomer) if newcomer.until <= cx.now => {
                return Err(self.farewell("Registration timed out", Close::Limit("registration"), cx));
            }
            Stage::Here if self.due <= cx.now && (self.is_asked || limits.cut_after <= limits.ping_after) => {
                let why = format!("Ping timeout: {} seconds", limits.cut_after.as_secs());
                return Err(self.farewell(&why, Close::Limit("cut_after"), cx));
            }
            Stage::Here if self.due <= cx.now => {
                self.is_asked = true;
                self.due = cx.now + limits.cut_after.saturating_sub(limits.ping_after);
                let name = &self.chat.name;
                cx.out.render(|line| Encoder::new(line).word("PING").text(name).end());
            }
            Stage::New(_) | Stage::Here | Stage::Over => {}
        }
        Ok(())
    }
}

impl Session for Client {
    type Mail = Mail;
    fn handle(&mut self, event: Event<'_, Mail>, cx: &mut Cx<'_, Mail>) -> Result<(), Close> {
        self.event(event, cx)?;
        self.catch_up(cx)
    }
    fn wants(&self) -> Wants {
        self.wanted()
    }
}
impl Stream for Client {}
impl Records for Client {}

impl Client {
    fn event(&mut self, event: Event<'_, Mail>, cx: &mut Cx<'_, Mail>) -> Result<(), Close> {
        match event {
            Event::Open(way) => self.open(way, cx),
            Event::Input(mut input) => return self.input(&mut input, cx),
            Event::Mail(Mail(Letter::Told(mail))) => return self.mail(mail, cx),
            Event::Mail(Mail(Letter::Time)) => self.keep_time(cx),
            Event::Mail(Mail(Letter::Answer(answer))) => return self.answered(answer, cx),
            Event::Mail(Mail(Letter::Heed)) => self.chat.hall().heed(cx.host),
            Event::Mail(Mail(Letter::Reloaded(reloaded))) => self.reloaded(reloaded, cx),
            Event::Deadline => return self.deadline(cx),
            Event::Drained => {
                self.turn_pages(cx);
                return self.leave_if_done(cx);
            }
            Event::End => {
                self.go("Connection closed", cx);
                self.leaving = Some(Leaving::End);
                return self.leave_if_done(cx);
            }
            Event::Stop => return Err(self.farewell("Server is leaving", Close::Stop, cx)),
            Event::Gone(why) => self.go(reason(why), cx),
            // Nobody asks a session.
            Event::Mail(Mail(Letter::Ask(_))) | Event::Again => {}
        }
        Ok(())
    }
    fn wanted(&self) -> Wants {
        let waits = self.resume.is_some()
            || self.leaving.is_some()
            || self.waiting.is_some()
            || matches!(&self.stage, Stage::New(newcomer) if newcomer.waits_for_lookups())
            || !self.answers.is_empty() && self.answers.len() >= self.chat.options().limits.held_answers_max
            || self.answers.held_bytes() > HELD_BYTES_MAX;
        let deadline = match &self.stage {
            Stage::New(newcomer) => Some(newcomer.deadline()),
            Stage::Here => Some(self.due),
            Stage::Over => None,
        };
        // Who has gone has handed that over.
        let looks_at = self.looks_at.filter(|_| matches!(self.stage, Stage::Here));
        Wants { input: if waits { Pace::Hold } else { Pace::WhileRoom }, deadline }.by(self.resume).by(looks_at)
    }
}

/// A line with `?` for each byte that is not UTF-8, and so no longer than it was.
fn readable(line: &[u8]) -> String {
    let chunks = line.utf8_chunks();
    chunks.flat_map(|chunk| [chunk.valid().to_owned(), "?".repeat(chunk.invalid().len())]).collect()
}

/// The tags of a line with a command in place of what cannot be taken; nothing where they are not whole.
fn labelled(line: &[u8]) -> String {
    let tags = line.iter().position(|byte| *byte == b' ').filter(|_| line.starts_with(b"@")).map(|end| &line[..end]);
    let tags = tags.and_then(|tags| std::str::from_utf8(tags).ok());
    tags.map(|tags| format!("{tags} X")).unwrap_or_default()
}

/// The limit that an answer tells of.
fn limit_of(number: Numeric) -> Option<&'static str> {
    Some(match number {
        numeric::ERR_TOOMANYCHANNELS => "rooms_max",
        numeric::ERR_TOOMANYTARGETS => "targets_max",
        numeric::ERR_INPUTTOOLONG => "line_bytes_max",
        numeric::ERR_BANLISTFULL => "list_modes_max",
        numeric::ERR_MONLISTFULL => "monitor_max",
        numeric::ERR_SASLTOOLONG => "sasl_bytes_max",
        _ => return None,
    })
}

/// What others are told of somebody who went without a word.
pub(crate) fn reason(why: &Close) -> &'static str {
    match why {
        Close::Slow => "Send queue exceeded",
        Close::Idle => "Timed out",
        Close::Reset | Close::Io(_) => "Connection reset",
        Close::Stop => "Server is leaving",
        Close::Limit(_) | Close::Protocol(_) => "Protocol error",
        Close::Fault(_) => "Server fault",
        _ => "Connection closed",
    }
}

/// One command being carried out: the client, the locked hall, the world.
pub(crate) struct Talk<'t, 'c> {
    pub(crate) client: &'t mut Client,
    pub(crate) hall: &'t mut Hall,
    pub(crate) cx: &'t mut Cx<'c, Mail>,
}

impl Talk<'_, '_> {
    /// A limit has been reached, whose answer is not one of the numbers that tell of one.
    pub(crate) fn hit(&self, limit: &'static str) {
        self.client.chat.counters.hit(limit);
    }
    pub(crate) fn me(&self) -> Who {
        self.client.who
    }
    pub(crate) fn teller(&mut self) -> (&mut Hall, Teller<'_>) {
        (&mut *self.hall, Teller { me: self.client.who, from: self.cx.me, at: self.cx.wall, host: &mut *self.cx.host })
    }
    /// Writes down what the command has changed of those who keep their seats.
    pub(crate) fn save(&mut self) {
        if self.hall.has_unsaved() {
            let (hall, mut tell) = self.teller();
            hall.save(&mut tell);
        }
    }
    /// The nick as it is addressed: `*` before there is one.
    fn nick(&self) -> Arc<str> {
        match &self.client.stage {
            Stage::New(newcomer) => newcomer.nick.as_deref().unwrap_or("*").into(),
            Stage::Here | Stage::Over => {
                self.hall.user(self.client.who).map_or_else(|| "*".into(), |user| Arc::clone(&user.nick))
            }
        }
    }
    /// An answer by number, to the client's nick, with words and a text.
    pub(crate) fn reply(&mut self, number: Numeric, words: &[&dyn Display], text: impl Display) {
        if let Some(limit) = limit_of(number) {
            self.client.chat.counters.hit(limit);
        }
        let nick = self.nick();
        let Client { chat, answers, .. } = &mut *self.client;
        answers.write(self.cx.out, |line| {
            let begun = Encoder::new(line).source(&chat.name).word(number).word(nick);
            words.iter().fold(begun, Encoder::word).text(text).end();
        });
    }
    /// The same without a text.
    pub(crate) fn reply_words(&mut self, number: Numeric, words: &[&dyn Display]) {
        let nick = self.nick();
        let Client { chat, answers, .. } = &mut *self.client;
        answers.write(self.cx.out, |line| {
            let begun = Encoder::new(line).source(&chat.name).word(number).word(nick);
            words.iter().fold(begun, Encoder::word).end();
        });
    }
    /// Another line of the server's.
    pub(crate) fn say(&mut self, words: &[&dyn Display], text: Option<&dyn Display>) {
        let Client { chat, answers, .. } = &mut *self.client;
        answers.write(self.cx.out, |line| {
            let begun = Encoder::new(line).source(&chat.name);
            let encoder = words.iter().fold(begun, Encoder::word);
            match text {
                Some(text) => encoder.text(text).end(),
                None => encoder.end(),
            }
        });
    }
    /// A refusal that has no number (IRCv3 standard replies).
    pub(crate) fn fail(&mut self, command: &str, code: &str, text: &str) {
        self.say(&[&"FAIL", &command, &code], Some(&text));
    }
    /// The same, with what it is about.
    pub(crate) fn fail_with(&mut self, command: &str, code: &str, about: &[&dyn Display], text: &str) {
        let words: Vec<&dyn Display> =
            [&"FAIL" as &dyn Display, &command, &code].into_iter().chain(about.iter().copied()).collect();
        self.say(&words, Some(&text));
    }
    pub(crate) fn needs_more(&mut self, command: &str) {
        self.reply(numeric::ERR_NEEDMOREPARAMS, &[&command], "Not enough parameters");
    }
    pub(crate) fn no_such_nick(&mut self, nick: &str) {
        self.reply(numeric::ERR_NOSUCHNICK, &[&nick], "No such nick");
    }
    pub(crate) fn no_such_room(&mut self, room: &str) {
        self.reply(numeric::ERR_NOSUCHCHANNEL, &[&room], "No such channel");
    }
}
