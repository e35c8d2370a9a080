//! One connection: requests in, answers out, one at a time.
use crate::{
    Answered, App, Decoder, Fault, Fields, Framing, HttpLimits, Method, Name, Next, Part, Reply, Request, Scanner,
    Version,
    app::{Answer, LAST, Progress},
};
use sotong_layers::{First, Successor};
use sotong_session::{Close, Cx, Event, Input, Moment, Pace, Session, Stream, Wants, Way};

/// HTTP/1.1 over a byte stream, answered by an [`App`].
///
/// One request is under way at a time. While it is, no input is taken: what a client has sent ahead waits in its socket, so
/// that pipelined requests cost no memory and are answered in order.
///
/// In a [`Handover`](sotong_layers::Handover) it gives the connection away where the application says so ([`Next::Upgrade`]).
pub struct Http<A: App> {
    app: A,
    limits: HttpLimits,
    state: State,
    scanner: Scanner,
    body: Body,
    answer: Answer,
    /// When the head of the request that is under way was whole.
    began: Moment,
    /// The server leaves when this answer is complete.
    stopping: bool,
    /// Who gets the connection.
    next: Option<Successor<A::Mail>>,
}

/// What the session is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before `Open`.
    New,
    /// Between two requests. No deadline while the output is full: whoever reads a long answer is not idle.
    Idle { until: Option<Moment> },
    /// Some of a head has come.
    Head { until: Moment },
    /// The application is shown the body.
    Body,
    /// The application waits for mail or room. The deadline is for mail; who does not read is cut by the driver.
    Answering { until: Option<Moment> },
    /// The answer is complete, and the rest of a body that nobody wanted is read away.
    Unwanted,
    /// Another session has the connection.
    Upgraded,
    /// Everything has been said.
    Over,
}

/// The body of the request that is under way.
#[derive(Clone, Copy, Debug)]
struct Body {
    decoder: Decoder,
    /// Bytes that are taken in all.
    bytes_max: u64,
    /// From when on its pace is measured; time in which it was not read does not count.
    since: Moment,
    held: Option<Moment>,
    /// The client waits to be told to send it.
    expects: bool,
}

impl Body {
    fn new(framing: Framing, expects: bool, now: Moment) -> Self {
        Self { decoder: Decoder::new(framing), bytes_max: 0, since: now, held: None, expects }
    }
    /// When it will have been too slow, unless more comes.
    fn until(&self, limits: &HttpLimits) -> Moment {
        let millis = self.decoder.came().saturating_mul(1000) / limits.body_rate_min.max(1);
        self.since + limits.body_time + std::time::Duration::from_millis(millis)
    }
    fn hold(&mut self, now: Moment) {
        self.held.get_or_insert(now);
    }
    fn resume(&mut self, now: Moment) {
        if let Some(held) = self.held.take() {
            self.since = self.since + now.since(held);
        }
    }
    /// Whether more is to come than is taken.
    fn is_long(&self) -> bool {
        self.decoder.came().saturating_add(self.decoder.left()) > self.bytes_max
    }
}

impl<A: App> Http<A> {
    /// A session that `app` answers.
    pub fn new(app: A, limits: HttpLimits) -> Self {
        Self {
            app,
            limits,
            state: State::New,
            scanner: Scanner::default(),
            body: Body::new(Framing::None, false, Moment::START),
            answer: Answer {
                version: Version::V11,
                method: Method::Get,
                keeps: true,
                unasked: false,
                progress: Progress::Nothing,
            },
            began: Moment::START,
            stopping: false,
            next: None,
        }
    }
    /// Who answers.
    pub fn app(&self) -> &A {
        &self.app
    }

    fn open(&mut self, way: &Way, cx: &Cx<'_, A::Mail>) {
        self.app.open(way);
        self.state = State::Idle { until: Some(cx.now + self.limits.idle) };
    }
    fn read(&mut self, input: &mut Input<'_>, cx: &mut Cx<'_, A::Mail>) -> Result<(), Close> {
        while !input.bytes().is_empty() && cx.takes(self.wants()) {
            match self.state {
                State::New | State::Answering { .. } | State::Upgraded => return Ok(()),
                State::Over => input.take_all(),
                State::Idle { .. } | State::Head { .. } => match self.scanner.scan(input.bytes(), &self.limits) {
                    Err(fault) => return self.refuse(fault, cx),
                    Ok(None) => {
                        if !matches!(self.state, State::Head { .. }) {
                            self.state = State::Head { until: cx.now + self.limits.head_time };
                        }
                        return Ok(());
                    }
                    Ok(Some(end)) => {
                        self.scanner.reset();
                        let result = self.request(&input.bytes()[..end], cx);
                        input.take(end);
                        result?;
                    }
                },
                State::Body | State::Unwanted => self.read_body(input, cx)?,
            }
        }
        Ok(())
    }
    fn request(&mut self, head: &[u8], cx: &mut Cx<'_, A::Mail>) -> Result<(), Close> {
        let request = match Request::parse(head, &self.limits) {
            Ok(request) => request,
            Err(fault) => return self.refuse(fault, cx),
        };
        let expects = request.expects_continue();
        self.began = cx.now;
        self.body = Body::new(request.framing(), expects, cx.now);
        self.answer = Answer {
            version: request.version(),
            method: request.method(),
            keeps: request.keeps_alive() && !self.stopping,
            unasked: expects,
            progress: Progress::Nothing,
        };
        self.state = State::Answering { until: None };
        let next = self.app.request(&request, &mut Reply { cx, answer: &mut self.answer });
        self.go_on(next, cx)?;
        if let Some(next) = &mut self.next {
            next.early = head.to_vec();
        }
        Ok(())
    }
    fn read_body(&mut self, input: &mut Input<'_>, cx: &mut Cx<'_, A::Mail>) -> Result<(), Close> {
        let part = match self.body.decoder.next(input.bytes()) {
            Ok(part) => part,
            Err(fault) => return self.refuse(fault, cx),
        };
        if self.body.is_long() {
            return self.refuse(Fault::BodyLong, cx);
        }
        let mut next = Next::Body;
        match part {
            Part::Frame(count) => input.take(count),
            Part::Content(count) => {
                if self.state == State::Body {
                    let mut reply = Reply { cx, answer: &mut self.answer };
                    next = self.app.body(&input.bytes()[..count], &mut reply);
                }
                input.take(count);
            }
            Part::End => {}
        }
        match self.state {
            State::Unwanted if self.body.decoder.is_over() => self.rest(cx),
            State::Unwanted => Ok(()),
            _ => self.go_on(next, cx),
        }
    }
    /// Does what the application wants next.
    fn go_on(&mut self, mut next: Next, cx: &mut Cx<'_, A::Mail>) -> Result<(), Close> {
        loop {
            match next {
                Next::Done => return self.done(cx),
                Next::Wait => {
                    self.body.hold(cx.now);
                    let is_silent = self.answer.progress == Progress::Nothing;
                    self.state = State::Answering { until: is_silent.then(|| cx.now + self.limits.answer_time) };
                    return Ok(());
                }
                Next::Upgrade => {
                    let Some(session) = self.app.upgrade() else { return self.refuse(Fault::Broken, cx) };
                    self.next = Some(Successor { session, early: Vec::new(), through: None });
                    self.state = State::Upgraded;
                    return Ok(());
                }
                Next::Break => {
                    return self.refuse(Fault::Broken, cx);
                }
                Next::Take(bytes_max) => {
                    self.body.bytes_max = bytes_max;
                    if self.body.is_long() {
                        return self.refuse(Fault::BodyLong, cx);
                    }
                    if std::mem::take(&mut self.body.expects) {
                        self.answer.unasked = false;
                        cx.out.put(b"HTTP/1.1 100 Continue\r\n\r\n");
                    }
                    next = Next::Body;
                }
                Next::Body => {
                    self.body.resume(cx.now);
                    self.state = State::Body;
                    if !self.body.decoder.is_over() {
                        return Ok(());
                    }
                    self.state = State::Answering { until: None };
                    next = self.app.body_end(&mut Reply { cx, answer: &mut self.answer });
                }
            }
        }
    }
    /// The answer is complete.
    fn done(&mut self, cx: &mut Cx<'_, A::Mail>) -> Result<(), Close> {
        let Progress::Head { status, left: 0, length } = self.answer.progress else {
            // What was promised cannot be sent any more, and the client must not take the next answer for it.
            return Err(Close::Fault("an answer is shorter than its head says"));
        };
        let time = cx.now.since(self.began);
        self.app.answered(&Answered { status, bytes: length, time, wall: cx.wall.0 });
        if self.stopping {
            return Err(Close::Stop);
        }
        if !self.answer.keeps {
            return Err(LAST);
        }
        if self.body.decoder.is_over() {
            return self.rest(cx);
        }
        self.body.bytes_max = self.body.decoder.came().saturating_add(self.limits.unwanted_bytes_max);
        if self.body.is_long() {
            return Err(LAST);
        }
        self.body.resume(cx.now);
        self.state = State::Unwanted;
        Ok(())
    }
    /// The connection is ready for the next request.
    fn rest(&mut self, cx: &mut Cx<'_, A::Mail>) -> Result<(), Close> {
        let until = (!cx.out.is_full()).then(|| cx.now + self.limits.idle);
        self.state = State::Idle { until };
        Ok(())
    }
    /// Answers what is no request, or not to be waited for, and ends: the bytes behind it mean nothing.
    fn refuse(&mut self, fault: Fault, cx: &mut Cx<'_, A::Mail>) -> Result<(), Close> {
        let is_under_way = self.is_under_way();
        if is_under_way {
            self.app.broken(cx.host);
        } else {
            self.answer =
                Answer { method: Method::Get, version: Version::V11, progress: Progress::Nothing, ..self.answer };
        }
        let has_begun = self.answer.progress != Progress::Nothing;
        if !has_begun && self.state != State::Unwanted {
            self.answer.keeps = false;
            let fields = Fields::new().with(Name::CONTENT_TYPE, "text/plain; charset=utf-8");
            let text = format!("{}: {fault}\n", fault.status().line());
            let mut reply = Reply { cx, answer: &mut self.answer };
            reply.whole(fault.status(), &[&fields], text.as_bytes());
            let answered = Answered {
                status: fault.status(),
                bytes: text.len() as u64,
                time: std::time::Duration::ZERO,
                wall: cx.wall.0,
            };
            self.app.refused(&answered, is_under_way);
        }
        self.state = State::Over;
        Err(match fault {
            Fault::HeadSlow | Fault::BodySlow => Close::Idle,
            Fault::AnswerSlow => Close::Limit("answer_time"),
            Fault::Broken if has_begun => Close::Fault("no answer"),
            Fault::Broken => LAST,
            Fault::HeadLong => Close::Limit("head_bytes_max"),
            Fault::FieldsMany => Close::Limit("fields_max"),
            Fault::TargetLong => Close::Limit("target_bytes_max"),
            Fault::BodyLong => Close::Limit("body_bytes_max"),
            other => Close::Protocol(other.to_string().into()),
        })
    }
    fn is_under_way(&self) -> bool {
        matches!(self.state, State::Answering { .. } | State::Body)
    }
    fn expire(&mut self, cx: &mut Cx<'_, A::Mail>) -> Result<(), Close> {
        if !self.wants().is_due(cx.now) {
            return Ok(());
        }
        match self.state {
            State::Idle { .. } => Err(Close::Idle),
            State::Head { .. } => self.refuse(Fault::HeadSlow, cx),
            State::Body | State::Unwanted => self.refuse(Fault::BodySlow, cx),
            State::Answering { .. } => self.refuse(Fault::AnswerSlow, cx),
            State::New | State::Upgraded | State::Over => Ok(()),
        }
    }
    /// The peer says no more.
    fn end(&mut self, cx: &mut Cx<'_, A::Mail>) -> Result<(), Close> {
        match self.state {
            // A client may half-close behind its last request; it gets all of the answer.
            State::New | State::Idle { .. } | State::Upgraded | State::Over => {
                self.state = State::Over;
                cx.out.finish();
                Ok(())
            }
            State::Head { .. } | State::Body | State::Unwanted => {
                if self.is_under_way() {
                    self.app.broken(cx.host);
                }
                self.state = State::Over;
                Err(Close::Truncated)
            }
            // No input is taken in this state, so no end comes (rule D5).
            State::Answering { .. } => Ok(()),
        }
    }
    fn stop(&mut self) -> Result<(), Close> {
        match self.state {
            State::New | State::Idle { .. } | State::Head { .. } | State::Unwanted | State::Upgraded | State::Over => {
                Err(Close::Stop)
            }
            State::Body | State::Answering { .. } => {
                self.stopping = true;
                self.answer.keeps = false;
                Ok(())
            }
        }
    }
    fn mail(&mut self, mail: &A::Mail, cx: &mut Cx<'_, A::Mail>) -> Result<(), Close> {
        let next = self.app.mail(mail, &mut Reply { cx, answer: &mut self.answer });
        if matches!(self.state, State::Answering { .. }) { self.go_on(next, cx) } else { Ok(()) }
    }
    fn drained(&mut self, cx: &mut Cx<'_, A::Mail>) -> Result<(), Close> {
        match &mut self.state {
            State::Idle { until } => {
                *until = Some(cx.now + self.limits.idle);
                Ok(())
            }
            State::Answering { .. } => {
                let next = self.app.drained(&mut Reply { cx, answer: &mut self.answer });
                self.go_on(next, cx)
            }
            State::New | State::Head { .. } | State::Body | State::Unwanted | State::Upgraded | State::Over => Ok(()),
        }
    }
}

impl<A: App> Session for Http<A> {
    type Mail = A::Mail;

    fn handle(&mut self, event: Event<'_, A::Mail>, cx: &mut Cx<'_, A::Mail>) -> Result<(), Close> {
        match event {
            Event::Open(way) => {
                self.open(way, cx);
                Ok(())
            }
            Event::Input(mut input) => self.read(&mut input, cx),
            Event::Again => Ok(()),
            Event::End => self.end(cx),
            Event::Mail(mail) => self.mail(mail, cx),
            Event::Deadline => self.expire(cx),
            Event::Drained => self.drained(cx),
            Event::Stop => self.stop(),
            Event::Gone(_) => {
                if self.is_under_way() {
                    self.app.broken(cx.host);
                }
                Ok(())
            }
        }
    }

    fn wants(&self) -> Wants {
        let (input, deadline) = match self.state {
            State::New | State::Upgraded => (Pace::Hold, None),
            State::Answering { until } => (Pace::Hold, until),
            State::Idle { until } => (Pace::WhileRoom, until),
            State::Head { until } => (Pace::WhileRoom, Some(until)),
            State::Body | State::Unwanted => (Pace::WhileRoom, Some(self.body.until(&self.limits))),
            State::Over => (Pace::WhileRoom, None),
        };
        Wants { input, deadline }
    }
}

impl<A: App> Stream for Http<A> {}
impl<A: App> First for Http<A> {
    fn successor(&mut self) -> Option<Successor<A::Mail>> {
        self.next.take()
    }
}
