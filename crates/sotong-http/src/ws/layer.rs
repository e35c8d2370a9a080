//! The layer.
#![deny(clippy::wildcard_enum_match_arm, reason = "a layer decides about every event by name (rule L1)")]
use super::{
    Breach, ClientOptions, Code, Control, Item, Kind, Opcode, Reader, ServerOptions, Side, WsLimits,
    server::{self, Agreed},
    writer::Writer,
};
use crate::{Fault, Request, Scanner};
use sotong_session::{
    Close, Cx, Event, Input, Kind as Leads, Marks, Moment, Output, Pace, Records, Session, Stream, Wants, Way, Wire,
};
use std::{sync::Arc, time::Duration};

/// Speaks WebSocket (RFC 6455) for the session inside: each message that comes is a record of it, and each of its records
/// leaves as a message. A rest without its cut leaves as a fragment, and its message goes on with what is said next.
///
/// The inner session is opened when the opening handshake is done, with what that agreed on
/// ([`WsFacts`](sotong_session::WsFacts)); mail that comes before is dropped, for it has told nobody yet where it is.
/// Messages are read only while it takes some. A message that arrives in one frame is unmasked where it is and copied
/// nowhere. Pings are answered; of those that come while the output is full, the last.
///
/// The peer's Close frame is the session's `End`, and its `finish` is ours. What ends the session is told by a code
/// ([`Code::of`]); a peer that ends its stream without a Close frame is [`Close::Truncated`]. A peer that closed for any
/// other reason than 1000, 1001 or none is [`Close::Protocol`], which says the code and the reason.
///
/// Memory between events: what has come of a message, at most [`WsLimits::message_bytes_max`]; of an idle connection, none
/// beyond 1 KiB.
pub struct WebSocket<S> {
    inner: S,
    role: Role,
    stage: Stage,
    reader: Reader,
    writer: Writer,
    scratch: Output,
    /// Whether the inner session has taken input since it was last shown `Again` (rule D3 towards it).
    took: bool,
    /// Whether the inner session has seen its output full: it is owed `Drained` (rule D11 towards it).
    full: bool,
    ours: OurEnd,
    theirs: PeerEnd,
    /// When the closing handshake has taken too long.
    close_until: Option<Moment>,
    /// A Ping that came while the output was full.
    unanswered: Option<Box<Control>>,
}

#[derive(Clone, Debug)]
enum Role {
    Server(Arc<ServerOptions>),
    Client(Arc<ClientOptions>),
}

impl Role {
    fn side(&self) -> Side {
        match self {
            Self::Server(_) => Side::Server,
            Self::Client(_) => Side::Client,
        }
    }
    fn speaks_lines(&self) -> bool {
        match self {
            Self::Server(options) => options.lines,
            Self::Client(_) => false,
        }
    }
    fn limits(&self) -> &WsLimits {
        match self {
            Self::Server(options) => &options.limits,
            Self::Client(options) => &options.limits,
        }
    }
}

#[derive(Debug)]
enum Stage {
    /// Not opened by the driver yet.
    New,
    /// A server whose client has not said its whole request.
    Request { until: Moment, way: Box<Way>, scanner: Scanner },
    /// A client whose server has not answered; how the answer must accept the key, and how much of it has been looked at.
    Answer { until: Moment, way: Box<Way>, accepts: Box<str>, seen: usize },
    /// The inner session is open.
    Open,
}

/// How far our end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OurEnd {
    Open,
    /// Our Close frame is queued: nothing may follow it (RFC 6455 §5.5.1).
    Closed,
}

/// How far the peer's end has come.
#[derive(Clone, Debug, PartialEq, Eq)]
enum PeerEnd {
    NotYet,
    /// Its Close frame has come; the inner session must take what is left first (rule D5).
    Owed(Said),
    Told(Said),
}

/// What the peer's Close frame said.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    code: Option<Code>,
    reason: Box<str>,
}

impl<S: Records> WebSocket<S> {
    /// The server's side.
    pub fn server(inner: S, options: Arc<ServerOptions>) -> Self {
        Self::new(inner, Role::Server(options))
    }
    /// The client's side.
    pub fn client(inner: S, options: Arc<ClientOptions>) -> Self {
        Self::new(inner, Role::Client(options))
    }
    fn new(inner: S, role: Role) -> Self {
        Self {
            inner,
            stage: Stage::New,
            reader: Reader::new(role.side(), role.limits(), false),
            writer: Writer::new(role.side()),
            scratch: Output::new(if role.speaks_lines() { Leads::Stream } else { Leads::Records }, Marks::default()),
            took: false,
            full: false,
            ours: OurEnd::Open,
            theirs: PeerEnd::NotYet,
            close_until: None,
            unanswered: None,
            role,
        }
    }
    /// The session inside.
    pub fn inner(&self) -> &S {
        &self.inner
    }
    /// Bytes of memory held in buffers.
    pub fn buffered(&self) -> usize {
        self.reader.buffered()
    }

    // The opening handshake.

    fn open(&mut self, way: &Way, cx: &mut Cx<'_, S::Mail>) {
        let (until, way) = (cx.now + self.role.limits().upgrade, Box::new(way.clone()));
        self.stage = match &self.role {
            Role::Server(_) => Stage::Request { until, way, scanner: Scanner::default() },
            Role::Client(options) => {
                let mut nonce = [0; 16];
                cx.host.random(&mut nonce);
                let accepts = cx.out.render(|to| options.write(nonce, to)).into_boxed_str();
                Stage::Answer { until, way, accepts, seen: 0 }
            }
        };
    }
    /// What has come of the handshake; it stays with the driver until it is whole.
    fn shake_hands(&mut self, input: &mut Input<'_>, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        let (end, agreed) = match (&mut self.stage, &self.role) {
            (Stage::Request { scanner, .. }, Role::Server(options)) => {
                let end = match scanner.scan(input.bytes(), &options.limits.head) {
                    Ok(Some(end)) => end,
                    Ok(None) => return Ok(()),
                    Err(fault) => return server::refuse(fault, cx),
                };
                let request = match Request::parse(&input.bytes()[..end], &options.limits.head) {
                    Ok(request) => request,
                    Err(fault) => return server::refuse(fault, cx),
                };
                let seconds = cx.wall.0.div_euclid(1000);
                match cx.out.render(|to| server::answer(&request, options, seconds, to)) {
                    Ok(agreed) => (end, agreed),
                    Err(refusal) => {
                        cx.out.render(|to| refusal.write(seconds, to));
                        return Err(refusal.close());
                    }
                }
            }
            (Stage::Answer { accepts, seen, .. }, Role::Client(options)) => {
                let Some((agreed, end)) = options.judge(input.bytes(), *seen, accepts)? else {
                    *seen = input.bytes().len();
                    return Ok(());
                };
                (end, agreed)
            }
            _ => return Ok(()),
        };
        input.take(end);
        self.become_open(agreed, cx)
    }
    /// The handshake is done: the inner session hears of it.
    fn become_open(&mut self, agreed: Agreed, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        let Agreed { speech, deflates, facts } = agreed;
        let (Stage::Request { way, .. } | Stage::Answer { way, .. }) = std::mem::replace(&mut self.stage, Stage::Open)
        else {
            return Ok(());
        };
        self.writer.speech = speech;
        if deflates {
            self.reader = Reader::new(self.role.side(), self.role.limits(), true);
            self.writer.deflates_from = Some(DEFLATE_BYTES_MIN);
        }
        self.took = true;
        self.inward(Event::Open(&Way { wire: Wire::Records, ws: Some(Arc::new(facts)), ..*way }), cx)
    }

    // Frames come.

    fn input(&mut self, input: &mut Input<'_>, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        if !matches!(self.stage, Stage::Open) {
            self.shake_hands(input, cx)?;
        }
        while matches!(self.stage, Stage::Open) && self.theirs == PeerEnd::NotYet && self.offer(cx)? {
            match self.reader.read(input) {
                Ok(None) => break,
                Ok(Some(item)) => self.item(item, input, cx)?,
                Err(breach) => {
                    input.take_all();
                    return self.fail(breach, cx);
                }
            }
        }
        if self.theirs != PeerEnd::NotYet {
            // What follows a Close frame is nothing (RFC 6455 §5.5.1).
            input.take_all();
            self.offer(cx)?;
        }
        Ok(())
    }
    fn item(&mut self, item: Item, input: &mut Input<'_>, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        match item {
            Item::Here(kind, len) => {
                let result = self.show(kind, &mut input.bytes_mut()[..len], cx);
                input.take(len);
                result
            }
            Item::Held(kind) => {
                let mut body = self.reader.lend();
                let result = self.show(kind, &mut body, cx);
                self.reader.give_back(body);
                result
            }
            Item::Ping(control) => {
                self.unanswered = Some(Box::new(control));
                self.answer_ping(cx);
                Ok(())
            }
            Item::Pong => Ok(()),
            Item::Close(code, reason) => {
                self.theirs = PeerEnd::Owed(Said { code, reason });
                self.begin_close(cx.now);
                Ok(())
            }
        }
    }
    fn show(&mut self, kind: Kind, message: &mut [u8], cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        if !self.writer.speech.takes(kind) {
            return self.fail(Breach::Kind, cx);
        }
        self.writer.heard = kind;
        self.inward(Event::Input(Input::new(message, &mut 0)), cx)
    }
    /// Answers the last Ping, once there is room: the answers to a flood of them are no queue.
    fn answer_ping(&mut self, cx: &mut Cx<'_, S::Mail>) {
        if self.ours == OurEnd::Open
            && !cx.out.is_full()
            && let Some(control) = self.unanswered.take()
        {
            self.writer.control(Opcode::Pong, control.bytes(), cx);
        }
    }
    fn fail(&mut self, breach: Breach, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        self.say_close(Some(breach.code()), &breach.to_string(), cx);
        Err(breach.close())
    }

    // The inner session.

    /// Everything the contract owes the inner session while it takes input. Whether it takes more.
    fn offer(&mut self, cx: &mut Cx<'_, S::Mail>) -> Result<bool, Close> {
        loop {
            if cx.out.has_overflowed() || !cx.takes(self.inner.wants()) {
                self.took = false;
                return Ok(false);
            }
            if !self.took {
                self.took = true;
                self.inward(Event::Again, cx)?;
            } else if let PeerEnd::Owed(said) = &self.theirs {
                self.theirs = PeerEnd::Told(said.clone());
                self.inward(Event::End, cx)?;
            } else {
                return Ok(true);
            }
        }
    }
    /// Tells an inner session whose output was full that it is not: cuts and references are heavier there than frames are
    /// here, so ours need not have been full.
    fn refill(&mut self, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        while self.full && self.ours == OurEnd::Open && !cx.out.is_full() && !cx.out.has_overflowed() {
            self.full = false;
            self.inward(Event::Drained, cx)?;
        }
        Ok(())
    }
    /// One event for the inner session, whose records leave as messages, on `Err` too.
    fn inward(&mut self, event: Event<'_, S::Mail>, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        let Self { inner, scratch, .. } = self;
        let result = cx.nest(scratch, |cx| inner.handle(event, cx));
        let wants = inner.wants();
        // Its own output is smaller than ours: it may have seen itself stop where we would go on.
        self.took &= wants.takes(&self.scratch);
        self.full |= self.scratch.is_full();
        let is_last = result.is_err() || self.scratch.is_finished();
        if self.ours == OurEnd::Closed {
            self.scratch.clear();
        } else if self.role.speaks_lines() {
            self.writer.send_lines(&mut self.scratch, cx);
        } else if self.writer.send(&mut self.scratch, cx, is_last).is_err() {
            self.say_close(Some(Code::GOING_AWAY), "", cx);
            return result.and(Err(Close::Protocol(NOT_TEXT.into())));
        }
        self.tidy();
        match &result {
            Ok(()) if !self.scratch.is_finished() => {}
            Ok(()) => self.say_done(cx),
            Err(close) if close.drops_output() => {}
            Err(close) => {
                let (code, reason) = Code::of(close);
                self.say_close(Some(code), &reason, cx);
            }
        }
        self.took &= cx.takes(wants);
        match result {
            // What the peer complained of is not lost because our side had said all.
            Err(Close::Done) => Err(self.complaint().unwrap_or(Close::Done)),
            result => result,
        }
    }
    /// Gives back the memory of a large answer.
    fn tidy(&mut self) {
        if let Some(buffer) = self.scratch.release()
            && buffer.capacity() <= KEEP_BYTES_MAX
        {
            self.scratch.adopt(buffer);
        }
    }

    // Ends and time.

    /// Our end, where nothing went wrong: the peer's code goes back to it (RFC 6455 §5.5.1).
    fn say_done(&mut self, cx: &mut Cx<'_, S::Mail>) {
        let code = match &self.theirs {
            PeerEnd::NotYet => Some(Code::NORMAL),
            PeerEnd::Owed(said) | PeerEnd::Told(said) => said.code,
        };
        self.say_close(code, "", cx);
    }
    fn say_close(&mut self, code: Option<Code>, reason: &str, cx: &mut Cx<'_, S::Mail>) {
        if self.ours == OurEnd::Open && !cx.out.has_overflowed() {
            self.ours = OurEnd::Closed;
            self.writer.close(code, reason, cx);
            self.begin_close(cx.now);
        }
    }
    fn begin_close(&mut self, now: Moment) {
        if self.close_until.is_none() {
            self.close_until = self.role.limits().close.map(|limit| now + limit);
        }
    }
    fn deadline(&mut self, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        match &self.stage {
            Stage::Request { until, scanner, .. } if *until <= cx.now => {
                return if scanner.is_fresh() { Err(Close::Idle) } else { server::refuse(Fault::HeadSlow, cx) };
            }
            Stage::Answer { until, .. } if *until <= cx.now => return Err(Close::Idle),
            Stage::New | Stage::Request { .. } | Stage::Answer { .. } => return Ok(()),
            Stage::Open => {}
        }
        if self.close_until.is_some_and(|until| until <= cx.now) {
            if let Some(close) = self.outcome() {
                return Err(close);
            }
            if cx.out.is_empty() || self.ours == OurEnd::Open {
                self.say_done(cx);
                return Err(Close::Idle);
            }
            // It has not read all yet, our Close frame last: the driver minds that it goes on reading.
            self.close_until = self.role.limits().close.map(|limit| cx.now + limit);
        }
        if self.inner.wants().is_due(cx.now) { self.inward(Event::Deadline, cx) } else { Ok(()) }
    }
    /// The peer's socket has ended.
    fn bare_end(&self) -> Result<(), Close> {
        match (&self.stage, &self.theirs) {
            (Stage::Open, PeerEnd::NotYet) => Err(Close::Truncated),
            (Stage::Open, PeerEnd::Owed(_) | PeerEnd::Told(_)) => self.outcome().map_or(Ok(()), Err),
            (Stage::Request { scanner, .. }, _) if scanner.is_fresh() => Err(Close::Done),
            (Stage::New | Stage::Request { .. } | Stage::Answer { .. }, _) => {
                Err(Close::Protocol("WebSocket: the peer ended the connection within the opening handshake".into()))
            }
        }
    }
    /// What the peer's Close frame complained of.
    fn complaint(&self) -> Option<Close> {
        let (PeerEnd::Owed(said) | PeerEnd::Told(said)) = &self.theirs else { return None };
        let code = said.code.filter(|code| code.is_complaint())?;
        let reason = if said.reason.is_empty() { String::new() } else { format!(": {:?}", said.reason) };
        Some(Close::Protocol(format!("WebSocket: the peer closed with {code}{reason}").into()))
    }
    /// How it ends once both sides have said that they are done.
    fn outcome(&self) -> Option<Close> {
        let is_over = matches!((self.ours, &self.theirs), (OurEnd::Closed, PeerEnd::Told(_)));
        is_over.then(|| self.complaint().unwrap_or(Close::Done))
    }
    /// Both sides have said that they are done: the server ends the connection, and the client waits for that (RFC 6455
    /// §7.1.1), so that never both have something left to say and nobody who hears it.
    fn settle(&mut self, now: Moment) -> Result<(), Close> {
        match (self.outcome(), self.role.side()) {
            (None, _) => Ok(()),
            (Some(close), Side::Server) => Err(close),
            (Some(_), Side::Client) => {
                self.close_until.get_or_insert(now + SERVER_END_TIME_MAX);
                Ok(())
            }
        }
    }
}

/// How a client ends as [`Close::Protocol`] whose session said as text what is none.
pub const NOT_TEXT: &str = "WebSocket: what was to be sent as text is not UTF-8";
/// How long a client without a limit of its own waits for the server to end a connection that both have closed.
const SERVER_END_TIME_MAX: Duration = Duration::from_secs(10);
/// Between events a buffer keeps at most this much memory.
const KEEP_BYTES_MAX: usize = 1 << 10;
/// Messages from this many bytes on are compressed where that was agreed on: shorter ones gain less than a packet's header.
const DEFLATE_BYTES_MIN: usize = 64;

impl<S: Records> Session for WebSocket<S> {
    type Mail = S::Mail;
    fn handle(&mut self, event: Event<'_, S::Mail>, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        let is_open = matches!(self.stage, Stage::Open);
        match event {
            Event::Open(way) => self.open(way, cx),
            Event::Input(mut input) => self.input(&mut input, cx)?,
            Event::Again if is_open => {
                self.took = false;
                self.offer(cx)?;
            }
            Event::End => self.bare_end()?,
            Event::Mail(mail) if is_open => self.inward(Event::Mail(mail), cx)?,
            Event::Deadline => self.deadline(cx)?,
            Event::Drained if is_open => {
                self.full = false;
                self.inward(Event::Drained, cx)?;
            }
            Event::Stop if is_open => self.inward(Event::Stop, cx)?,
            Event::Stop => return Err(Close::Stop),
            Event::Gone(close) if is_open => return self.inward(Event::Gone(close), cx),
            // Nobody is inside yet.
            Event::Again | Event::Mail(_) | Event::Drained | Event::Gone(_) => {}
        }
        self.answer_ping(cx);
        self.refill(cx)?;
        self.settle(cx.now)
    }
    fn wants(&self) -> Wants {
        match &self.stage {
            Stage::New => Wants { input: Pace::Hold, deadline: None },
            Stage::Request { until, .. } | Stage::Answer { until, .. } => {
                Wants { input: Pace::Always, deadline: Some(*until) }
            }
            // Nothing but the end is left to be heard, whether the inner session takes anything or not.
            Stage::Open if matches!((self.ours, &self.theirs), (OurEnd::Closed, PeerEnd::Told(_))) => {
                Wants { input: Pace::Always, ..self.inner.wants() }.by(self.close_until)
            }
            Stage::Open => self.inner.wants().by(self.close_until),
        }
    }
}
impl<S: Records> Stream for WebSocket<S> {}
