//! The layer.
#![deny(clippy::wildcard_enum_match_arm, reason = "a layer decides about every event by name (rule L1)")]
use crate::{
    TlsLimits,
    engine::{Engine, Stop, reason},
    first::{self, First},
    hello::{self, Hello},
};
use rustls::{ClientConfig, Error, ServerConfig, pki_types::ServerName};
use sotong_session::{
    Carry, Close, Cx, Event, Input, Kind, Marks, Moment, Output, Pace, Piece, Session, Stream, Wants, Way,
};
use std::sync::Arc;

/// Speaks TLS for the session inside.
///
/// The inner session is opened when the handshake is done. Mail that comes before is dropped: the inner session has told
/// nobody yet where it is. Input is decrypted only while the inner session takes some; ciphertext that has to wait stays
/// with the driver. What the inner session says in answer to one event leaves in as few records as it fits into.
///
/// Memory between events: the TLS library's state (about 3 KiB), an unfinished record of at most 18 KiB, a handshake
/// message of at most 64 KiB while it arrives, and what the inner session has not taken, at most
/// [`TlsLimits::untaken_bytes_max`] and what arrived with it.
pub struct Tls<S> {
    inner: S,
    engine: Box<Engine>,
    stage: Stage,
    limits: TlsLimits,
    /// Ciphertext of a record that is not whole yet, or that came with the end of the handshake.
    held: Vec<u8>,
    /// Decrypted, and not taken.
    plain: Carry,
    scratch: Output,
    /// Whether the inner session has taken input since it was last shown `Again` (rule D3 towards it).
    took: bool,
    /// Whether `plain` has something that was not shown since.
    unshown: bool,
    /// Whether the inner session has seen its output full: it is owed `Drained` (rule D11 towards it).
    full: bool,
    ours: OurEnd,
    theirs: PeerEnd,
}

#[derive(Debug)]
enum Stage {
    /// Not opened by the driver yet.
    New,
    /// A server whose client has not said its whole ClientHello.
    Hello { until: Moment, way: Box<Way> },
    /// The handshake is under way; who asked for which name.
    Handshake { until: Moment, way: Box<Way>, name: Option<Box<str>> },
    /// The inner session is open.
    Open,
}

/// How far our end of the stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OurEnd {
    Open,
    /// Our close_notify is queued; the peer is left if it is silent until then.
    Notified {
        silent: Option<Moment>,
    },
    /// The connection is broken: nothing more can be encrypted.
    Broken,
}

/// How far the peer's end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PeerEnd {
    NotYet,
    /// Its close_notify has come; the inner session must take what is left first (rule D5).
    Owed,
    Told,
}

/// Decrypted at once before the inner session is shown it: what a driver reads in one turn.
const SHOW_BYTES_MAX: usize = 64 << 10;
/// What the inner session says in small pieces is encrypted together up to this many bytes, a record's fill.
const GATHER_BYTES_MAX: usize = 16 << 10;
/// A record's header.
const HEADER_BYTES: usize = 5;
/// A record's greatest length behind its header (RFC 5246 §6.2.3).
const RECORD_BYTES_MAX: usize = (16 << 10) + 2048;

impl<S: Stream> Tls<S> {
    /// The server's side.
    ///
    /// # Errors
    /// [`Close::Fault`] if the configuration takes early data, [`Close::Protocol`] if the library refuses it.
    pub fn server(inner: S, config: Arc<ServerConfig>, limits: TlsLimits) -> Result<Self, Close> {
        Ok(Self::new(inner, Engine::server(config)?, limits))
    }
    /// The client's side, to a server that must prove to be `name`.
    ///
    /// # Errors
    /// [`Close::Protocol`] if the library refuses the configuration or the name.
    pub fn client(
        inner: S,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        limits: TlsLimits,
    ) -> Result<Self, Close> {
        Ok(Self::new(inner, Engine::client(config, name)?, limits))
    }
    fn new(inner: S, engine: Engine, limits: TlsLimits) -> Self {
        Self {
            inner,
            engine: Box::new(engine),
            stage: Stage::New,
            limits,
            held: Vec::new(),
            plain: Carry::default(),
            scratch: Output::new(Kind::Stream, Marks::default()),
            took: false,
            unshown: false,
            full: false,
            ours: OurEnd::Open,
            theirs: PeerEnd::NotYet,
        }
    }
    /// The session inside.
    pub fn inner(&self) -> &S {
        &self.inner
    }
    /// Bytes of memory held in buffers: of an idle connection, none. The TLS library's own state is not counted.
    pub fn buffered(&self) -> usize {
        self.held.capacity() + self.engine.buffered() + self.plain.len()
    }

    fn open(&mut self, way: &Way, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        let (until, way) = (cx.now + self.limits.handshake, Box::new(way.clone()));
        if !self.engine.is_client() {
            self.stage = Stage::Hello { until, way };
            return Ok(());
        }
        self.stage = Stage::Handshake { until, way, name: None };
        match self.engine.work(&mut [], &mut self.plain, cx.out) {
            Ok(_) => Ok(()),
            Err(error) => self.fail(&error, cx),
        }
    }

    // Ciphertext comes.

    fn input(&mut self, input: &mut Input<'_>, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        self.heard(cx.now);
        if !matches!(self.stage, Stage::Open) {
            self.held.extend_from_slice(input.bytes());
            input.take_all();
            self.shake_hands(cx)?;
        }
        self.decrypt(input, cx)
    }
    /// The handshake, with what is held.
    fn shake_hands(&mut self, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        if matches!(self.stage, Stage::Hello { .. }) {
            self.judge_client(cx)?;
            self.hear_hello();
        }
        while let Stage::Handshake { .. } = self.stage {
            self.judge_server()?;
            let Some(len) = whole_record(&self.held) else { break };
            let result = self.engine.work(&mut self.held[..len], &mut self.plain, cx.out);
            self.held.drain(..len);
            match result {
                Ok(stop) => self.note(stop),
                Err(error) => return self.fail(&error, cx),
            }
            if !self.engine.is_handshaking() {
                self.become_open(cx)?;
            }
        }
        Ok(())
    }
    /// Answers a client that does not speak TLS.
    fn judge_client(&self, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        match first::of_client(&self.held) {
            First::Tls | First::Unclear => Ok(()),
            First::Http { head } => {
                cx.out.put(first::http_answer(head).as_bytes());
                Err(Close::Protocol("a plain HTTP request on a TLS port".into()))
            }
            First::Other => self.refuse_client(cx),
        }
    }
    fn refuse_client(&self, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        cx.out.put(&first::alert(&self.held));
        let said = first::excerpt(&self.held);
        Err(Close::Protocol(format!("the client does not speak TLS; it said {said}").into()))
    }
    /// Only a server's first words can be anything else: what comes later is judged by the library.
    fn judge_server(&self) -> Result<(), Close> {
        let is_first = self.engine.is_client() && !self.engine.has_met_peer() && !self.held.is_empty();
        if !is_first || first::of_server(&self.held) == First::Tls {
            return Ok(());
        }
        let said = first::excerpt(&self.held);
        Err(Close::Protocol(format!("the server does not speak TLS; it said {said}").into()))
    }
    /// The handshake begins once the client's whole ClientHello is there: its name is read here.
    fn hear_hello(&mut self) {
        if first::of_client(&self.held) == First::Unclear {
            return;
        }
        let Hello::Whole { name } = hello::find(&self.held) else { return };
        if let Stage::Hello { until, way } = std::mem::replace(&mut self.stage, Stage::New) {
            self.stage = Stage::Handshake { until, way, name };
        }
    }
    /// The handshake is done: the inner session hears of it.
    fn become_open(&mut self, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        let Stage::Handshake { mut way, name, .. } = std::mem::replace(&mut self.stage, Stage::Open) else {
            return Ok(());
        };
        way.tls = Some(Arc::new(self.engine.facts(name)));
        self.took = true;
        self.unshown = !self.plain.is_empty();
        self.inward(Event::Open(&way), cx)
    }
    /// Decrypts record by record while the inner session takes what comes of it.
    fn decrypt(&mut self, input: &mut Input<'_>, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        while matches!(self.stage, Stage::Open) && self.offer(cx)? {
            let before = self.plain.len();
            let result = self.decrypt_some(input, cx.out);
            self.unshown |= self.plain.len() > before;
            if let Err(error) = result {
                return self.fail(&error, cx);
            }
            if !self.unshown && self.theirs != PeerEnd::Owed {
                break;
            }
        }
        // An idle connection keeps no memory.
        if self.held.is_empty() {
            self.held = Vec::new();
        }
        Ok(())
    }
    /// Decrypts what is whole, up to what is shown at once; keeps the beginning of the next record.
    fn decrypt_some(&mut self, input: &mut Input<'_>, out: &mut Output) -> Result<(), Error> {
        let enough = self.plain.len() + SHOW_BYTES_MAX;
        while self.plain.len() < enough && self.theirs == PeerEnd::NotYet {
            let result = if !self.held.is_empty() {
                let Some(len) = self.complete(input) else { return Ok(()) };
                let result = self.engine.work(&mut self.held[..len], &mut self.plain, out);
                self.held.drain(..len);
                result
            } else if let Some(len) = whole_record(input.bytes()) {
                let result = self.engine.work(&mut input.bytes_mut()[..len], &mut self.plain, out);
                input.take(len);
                result
            } else {
                self.held.extend_from_slice(input.bytes());
                input.take_all();
                return Ok(());
            };
            self.note(result?);
        }
        if self.theirs != PeerEnd::NotYet {
            // What follows a close_notify must be ignored (RFC 8446 §6.1).
            input.take_all();
            self.held.clear();
        }
        Ok(())
    }
    /// Takes what the record at the front of `held` lacks. Its length, once all of it is there.
    fn complete(&mut self, input: &mut Input<'_>) -> Option<usize> {
        loop {
            let len = record_len(&self.held);
            let lacks = len.unwrap_or(HEADER_BYTES).saturating_sub(self.held.len());
            if lacks == 0 {
                return len;
            }
            let count = lacks.min(input.bytes().len());
            if count == 0 {
                return None;
            }
            self.held.extend_from_slice(&input.bytes()[..count]);
            input.take(count);
        }
    }
    fn note(&mut self, stop: Stop) {
        if stop == Stop::PeerClosed && self.theirs == PeerEnd::NotYet {
            self.theirs = PeerEnd::Owed;
        }
    }
    /// Shows what was decrypted before the failure, then sends the alert.
    fn fail(&mut self, error: &Error, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        if matches!(self.stage, Stage::Open) {
            self.ours = OurEnd::Broken;
            // Whatever it makes of them, this is how the connection ends.
            let _ = self.offer(cx);
        }
        self.engine.flush(cx.out);
        Err(reason(error))
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
                self.unshown = !self.plain.is_empty();
                self.inward(Event::Again, cx)?;
            } else if self.unshown {
                self.show(cx)?;
            } else if self.theirs == PeerEnd::Owed {
                self.theirs = PeerEnd::Told;
                self.inward(Event::End, cx)?;
            } else {
                return Ok(true);
            }
        }
    }
    fn show(&mut self, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        if !std::mem::take(&mut self.unshown) {
            return Ok(());
        }
        let mut plain = std::mem::take(&mut self.plain);
        let result = plain.feed(&mut [], |input| self.inward(Event::Input(input), cx));
        self.plain = plain;
        result?;
        if self.plain.len() > self.limits.untaken_bytes_max {
            return Err(Close::Limit("untaken_bytes_max"));
        }
        Ok(())
    }
    /// Tells an inner session whose output was full that it is not: what is heavy in its output (references, where they are
    /// many) weighs less once it is encrypted, so ours need not have been full.
    fn refill(&mut self, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        while self.full && self.ours == OurEnd::Open && !cx.out.is_full() && !cx.out.has_overflowed() {
            self.full = false;
            self.inward(Event::Drained, cx)?;
        }
        Ok(())
    }
    /// One event for the inner session, whose answer leaves encrypted, on `Err` too.
    fn inward(&mut self, event: Event<'_, S::Mail>, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        let Self { inner, scratch, .. } = self;
        let result = cx.nest(scratch, |cx| inner.handle(event, cx));
        let wants = inner.wants();
        // Its own output is smaller than ours: it may have seen itself stop where we would go on.
        self.took &= wants.takes(&self.scratch);
        self.full |= self.scratch.is_full();
        let sealed = self.seal(cx.out);
        let has_ended = match &result {
            Ok(()) => self.scratch.is_finished(),
            Err(close) => !close.drops_output(),
        };
        if has_ended && self.ours == OurEnd::Open && !cx.out.has_overflowed() && sealed.is_ok() {
            self.engine.close_notify(cx.out);
            self.ours = OurEnd::Notified { silent: self.limits.after_end.map(|limit| cx.now + limit) };
        }
        self.took &= cx.takes(wants);
        result.and(sealed)
    }
    /// Encrypts what the inner session has said.
    fn seal(&mut self, out: &mut Output) -> Result<(), Close> {
        if self.ours != OurEnd::Open {
            self.scratch.clear();
        }
        // The usual case, which copies nothing.
        if let Some(bytes) = self.scratch.front() {
            let result = self.engine.seal(bytes, out);
            self.scratch.clear();
            drop(self.scratch.release());
            return result;
        }
        let mut gathered = Vec::new();
        let mut result = Ok(());
        while let Some(piece) = self.scratch.pop() {
            let bytes: &[u8] = match &piece {
                Piece::Bytes(bytes) => bytes,
                Piece::Shared(bytes) => bytes,
                Piece::File(_) | Piece::Cut => {
                    debug_assert!(false, "neither file ranges nor cuts enter an output that leads to a stream");
                    continue;
                }
            };
            result = result.and_then(|()| self.engine.gather(&mut gathered, bytes, out));
        }
        if !gathered.is_empty() {
            result = result.and_then(|()| self.engine.seal(&gathered, out));
        }
        // An answer's memory is not kept: an idle connection has none.
        drop(self.scratch.release());
        result
    }

    // Time and ends.

    /// The peer has said something: its time to say its end begins anew.
    fn heard(&mut self, now: Moment) {
        if let OurEnd::Notified { silent } = &mut self.ours {
            *silent = self.limits.after_end.map(|limit| now + limit);
        }
    }
    fn deadline(&mut self, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        match &self.stage {
            Stage::Hello { until, .. } | Stage::Handshake { until, .. } if *until <= cx.now => return Err(Close::Idle),
            Stage::New | Stage::Hello { .. } | Stage::Handshake { .. } => return Ok(()),
            Stage::Open => {}
        }
        if let OurEnd::Notified { silent: Some(silent) } = self.ours
            && silent <= cx.now
        {
            if cx.out.is_empty() {
                return Err(Close::Idle);
            }
            // It has not read all yet, our end mark last: the driver minds that it goes on reading.
            self.heard(cx.now);
        }
        if self.inner.wants().is_due(cx.now) { self.inward(Event::Deadline, cx) } else { Ok(()) }
    }
    /// The peer's socket has ended.
    fn bare_end(&self, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        match &self.stage {
            Stage::Hello { .. } if !self.held.is_empty() && first::of_client(&self.held) == First::Unclear => {
                self.refuse_client(cx)
            }
            Stage::New | Stage::Hello { .. } | Stage::Handshake { .. } => {
                Err(Close::Protocol("the peer ended the connection within the TLS handshake".into()))
            }
            Stage::Open if self.theirs == PeerEnd::NotYet => Err(Close::Truncated),
            Stage::Open => Ok(()),
        }
    }
    fn stop(&mut self, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        if matches!(self.stage, Stage::Open) {
            return self.inward(Event::Stop, cx);
        }
        if matches!(self.stage, Stage::Handshake { .. }) {
            self.engine.close_notify(cx.out);
        }
        Err(Close::Stop)
    }
    /// Both sides have said that they are done: nobody waits for the socket's own end.
    fn settle(&self) -> Result<(), Close> {
        let is_over = matches!(self.ours, OurEnd::Notified { .. }) && self.theirs == PeerEnd::Told;
        if is_over { Err(Close::Done) } else { Ok(()) }
    }
}

/// The length of the record at the front, header included, once its header is there.
fn record_len(bytes: &[u8]) -> Option<usize> {
    let [kind, _, _, high, low, ..] = bytes else { return None };
    let len = usize::from(u16::from_be_bytes([*high, *low]));
    // What cannot be a record is the library's to refuse: it gets everything.
    let is_legal = matches!(kind, 20..=23) && len <= RECORD_BYTES_MAX;
    Some(if is_legal { HEADER_BYTES + len } else { bytes.len() })
}
/// The same if all of it is there.
fn whole_record(bytes: &[u8]) -> Option<usize> {
    record_len(bytes).filter(|len| *len <= bytes.len())
}

impl Engine {
    /// Adds a piece to what is encrypted together, or encrypts it from where it is if it is large or alone.
    fn gather(&mut self, gathered: &mut Vec<u8>, bytes: &[u8], out: &mut Output) -> Result<(), Close> {
        if !gathered.is_empty() && gathered.len() + bytes.len() > GATHER_BYTES_MAX {
            self.seal(gathered, out)?;
            gathered.clear();
        }
        if bytes.len() > GATHER_BYTES_MAX / 2 {
            if !gathered.is_empty() {
                self.seal(gathered, out)?;
                gathered.clear();
            }
            return self.seal(bytes, out);
        }
        gathered.extend_from_slice(bytes);
        Ok(())
    }
}

impl<S: Stream> Session for Tls<S> {
    type Mail = S::Mail;
    fn handle(&mut self, event: Event<'_, S::Mail>, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        let is_open = matches!(self.stage, Stage::Open);
        match event {
            Event::Open(way) => self.open(way, cx)?,
            Event::Input(mut input) => self.input(&mut input, cx)?,
            Event::Again if is_open => {
                self.took = false;
                self.decrypt(&mut Input::new(&mut [], &mut 0), cx)?;
            }
            Event::End => self.bare_end(cx)?,
            Event::Mail(mail) if is_open => self.inward(Event::Mail(mail), cx)?,
            Event::Deadline => self.deadline(cx)?,
            Event::Drained if is_open => {
                self.full = false;
                self.inward(Event::Drained, cx)?;
            }
            Event::Stop => self.stop(cx)?,
            Event::Gone(close) if is_open => return self.inward(Event::Gone(close), cx),
            // Nobody is inside yet.
            Event::Again | Event::Mail(_) | Event::Drained | Event::Gone(_) => {}
        }
        self.refill(cx)?;
        self.settle()
    }
    fn wants(&self) -> Wants {
        match (&self.stage, self.ours) {
            (Stage::New, _) => Wants { input: Pace::Hold, deadline: None },
            // A handshake is short, and both sides may have much to say at once.
            (Stage::Hello { until, .. } | Stage::Handshake { until, .. }, _) => {
                Wants { input: Pace::Always, deadline: Some(*until) }
            }
            (Stage::Open, OurEnd::Notified { silent }) => self.inner.wants().by(silent),
            (Stage::Open, OurEnd::Open | OurEnd::Broken) => self.inner.wants(),
        }
    }
}
impl<S: Stream> Stream for Tls<S> {}
