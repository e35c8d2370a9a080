//! A layer that asserts the contract.
use crate::{
    Address, Broken, Close, Cx, Event, Host, Input, Kind, Pace, Records, Rule, Service, Session, Stream, Wants, Way,
};
use std::{cell::RefCell, ops::Range, sync::Arc};

/// Asserts every rule of the contract that can be seen around one session, in both directions.
///
/// Put outside a stack it checks the driver and the whole stack; put around an inner session it checks the layer that holds
/// it. A layer worn on both sides is checked for what only the two sides together show: that mail, ends and deadlines pass
/// it as they should. What it owes the inner session is then told as the layer's rule: D1 as L4, D3 and D5 as L5, D4 and
/// D6 as L3. Costs a copy of the untaken bytes; for tests and the simulator.
///
/// # Panics
/// `handle` panics with the [`Broken`] rule's name.
#[derive(Debug)]
pub struct Checked<S> {
    inner: S,
    stage: Stage,
    /// Bytes shown and not taken, as they were shown.
    kept: Vec<u8>,
    /// Whether `kept` has been shown since the session last came to take input.
    shown: bool,
    /// Whether the session has taken input after every call since it was opened, or shown `Again`.
    took: bool,
    /// Whether the output was full right after some call, and no `Drained` has come since.
    owed: bool,
    ended: bool,
    finished: bool,
    /// Whether the session has an end mark of its own (rule L7).
    marks_end: bool,
    /// Whether a layer that is checked too holds this session.
    nested: bool,
    /// What the layer was told of both ends.
    way: Option<Arc<Way>>,
    /// What the checked session inside was like after its last call, if there is one.
    within: Option<Within>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    New,
    Open,
    Closed,
    Gone,
}

/// What a checked session says of itself to one that is checked around it.
#[derive(Clone, Copy, Debug)]
struct Within {
    stage: Stage,
    wants: Wants,
    took: bool,
    ended: bool,
    finished: bool,
}

/// A call under way of a checked session. A layer and its inner session share one address.
struct Call {
    me: Address,
    /// Where its output is: that of a session inside is another where the layer has a scratch of its own.
    out: usize,
    queued: usize,
    way: Option<Arc<Way>>,
    /// Where the mail lies that the call is about.
    mail: Option<Range<usize>>,
    /// Whether this very mail went inward.
    mail_passed: bool,
    within: Option<Within>,
}

thread_local! {
    /// The calls under way on this thread, outermost first.
    static INSIDE: RefCell<Vec<Call>> = const { RefCell::new(Vec::new()) };
}

/// Leaves the list of calls, also when the session panics.
struct Inside;
impl Inside {
    fn enter(call: Call) -> Self {
        INSIDE.with_borrow_mut(|inside| {
            let alone = inside.last().is_none_or(|other| other.me == call.me);
            if !alone {
                inside.clear();
            }
            check(alone, Rule::D2, "a session runs inside another's call");
            inside.push(call);
        });
        Self
    }
    /// Runs `look` over the call of the layer around, if there is one.
    fn around<R>(look: impl FnOnce(&mut Call) -> R) -> Option<R> {
        INSIDE.with_borrow_mut(|inside| {
            let at = inside.len().checked_sub(2)?;
            Some(look(&mut inside[at]))
        })
    }
    /// What has come of this call so far: the session inside, and whether the mail went there.
    fn told() -> (Option<Within>, bool) {
        INSIDE.with_borrow(|inside| inside.last().map_or((None, false), |call| (call.within, call.mail_passed)))
    }
}
impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.with_borrow_mut(|inside| {
            inside.pop();
        });
    }
}

#[track_caller]
fn check(holds: bool, rule: Rule, what: &'static str) {
    assert!(holds, "{}", Broken { rule, what });
}

/// The memory of a value.
fn place<T>(value: &T) -> Range<usize> {
    let from = std::ptr::from_ref(value).addr();
    from..from + size_of::<T>()
}

impl<S: Session> Checked<S> {
    /// Checks `inner` and whoever drives it.
    pub fn new(inner: S) -> Self {
        let (kept, stage) = (Vec::new(), Stage::New);
        Self {
            inner,
            stage,
            kept,
            shown: true,
            took: false,
            owed: false,
            ended: false,
            finished: false,
            marks_end: false,
            nested: false,
            way: None,
            within: None,
        }
    }
    /// For a layer whose protocol has an end mark of its own (close_notify, a Close frame), with a checked session inside:
    /// asserts rule L7 too.
    #[must_use]
    pub fn with_end_mark(mut self) -> Self {
        self.marks_end = true;
        self
    }
    /// The session inside.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Asserts what this session is owed: by its driver, or by the layer that holds it.
    #[track_caller]
    fn check(&self, holds: bool, rule: Rule, what: &'static str) {
        check(holds, if self.nested { rule.of_a_layer() } else { rule }, what);
    }

    /// What must hold when `event` comes.
    fn before(&mut self, event: &Event<'_, S::Mail>, cx: &Cx<'_, S::Mail>) {
        use Stage::{Closed, Gone, New, Open};
        let first = matches!(event, Event::Open(_));
        let last = matches!(event, Event::Gone(_));
        match (self.stage, first, last) {
            (New, true, _) => {
                self.before_open(event);
                self.stage = Open;
                self.took = true;
            }
            (New, false, _) => self.check(false, Rule::D1, "an event before Open"),
            (Open, true, _) => self.check(false, Rule::D1, "Open twice"),
            (Closed, _, false) => self.check(false, Rule::D1, "after Err, something other than Gone"),
            (Gone, ..) => self.check(false, Rule::D1, "an event after Gone"),
            (Open | Closed, false, true) => self.stage = Gone,
            (Open, false, false) => {}
            (Closed, true, true) => unreachable!("no event is both"),
        }
        self.check(!self.finished || cx.out.is_finished(), Rule::D13, "a half-closed output was opened again");
        let here = std::ptr::from_ref(&*cx.out).addr();
        let is_scratch = Inside::around(|layer| layer.out != here).unwrap_or(false);
        check(!is_scratch || cx.out.is_empty(), Rule::L2, "the layer's scratch holds something of an earlier call");
        if last {
            return;
        }
        self.check(!cx.out.has_overflowed(), Rule::D7, "an event after the output passed its hard mark");
        // A nested output's low mark is 0: its layer, not it, knows when the whole has drained.
        let drained = matches!(event, Event::Drained);
        if cx.out.marks().low > 0 {
            self.check(!drained || self.owed, Rule::D11, "Drained, but the output was not full");
            self.check(!drained || cx.out.is_low(), Rule::D11, "Drained above the low mark");
            self.check(
                drained || !(self.owed && cx.out.is_low()),
                Rule::D11,
                "the output drained and Drained was lost",
            );
        }
        self.owed &= !drained;
        let wants = self.inner.wants();
        match event {
            Event::Input(input) => self.before_input(input, wants, cx),
            Event::Again => {
                self.check(wants.takes(cx.out), Rule::D3, "Again to a session that takes no input");
                self.took = true;
                self.shown = self.kept.is_empty();
            }
            Event::End => {
                self.check(!self.ended, Rule::D5, "End twice");
                self.check(wants.takes(cx.out) && self.took, Rule::D5, "End while the session takes no input");
                self.check(self.shown, Rule::D5, "End before what is left was shown");
                self.ended = true;
            }
            Event::Deadline => self.check(wants.is_due(cx.now), Rule::D6, "Deadline before it is due"),
            Event::Mail(mail) => {
                let here = place(*mail);
                let is_same = Inside::around(|layer| {
                    let is_same = layer.mail.as_ref().is_some_and(|all| all.start <= here.start && here.end <= all.end);
                    layer.mail_passed |= is_same;
                    is_same
                });
                check(is_same != Some(false), Rule::L3, "mail that is not what the layer was sent");
            }
            Event::Open(_) | Event::Drained | Event::Stop | Event::Gone(_) => {}
        }
    }

    /// A layer adds to what it was told of both ends, and takes nothing away.
    fn before_open(&mut self, event: &Event<'_, S::Mail>) {
        let Event::Open(way) = event else { return };
        if let Some(Some(known)) = Inside::around(|layer| layer.way.clone()) {
            let is_same = (&known.local, &known.remote) == (&way.local, &way.remote);
            check(is_same, Rule::L4, "Open went inward with other ends");
            let keeps = (known.through.is_none() || way.through.is_some())
                && (known.tls.is_none() || way.tls.is_some())
                && (known.ws.is_none() || way.ws.is_some());
            check(keeps, Rule::L4, "Open went inward without what the layer was told");
        }
        let way: Way = (*way).clone();
        self.way = Some(Arc::new(way));
        let way = self.way.clone();
        INSIDE.with_borrow_mut(|inside| {
            if let Some(call) = inside.last_mut() {
                call.way = way;
            }
        });
    }

    fn before_input(&mut self, input: &Input<'_>, wants: Wants, cx: &Cx<'_, S::Mail>) {
        self.check(!self.ended, Rule::D5, "Input after End");
        self.check(wants.takes(cx.out), Rule::D4, "Input to a session that takes none");
        self.check(!cx.host.is_held(), Rule::D14, "Input while mail of this shard waits elsewhere");
        self.check(self.took, Rule::D3, "Input before Again, though the session had stopped taking");
        self.check(input.bytes().starts_with(&self.kept), Rule::D3, "bytes that were not taken are missing or changed");
        // A record may be empty, and is always new.
        let is_record = cx.out.kind() == Kind::Records;
        self.check(is_record || !input.bytes().is_empty(), Rule::D3, "an empty Input on a stream");
        let fresh = is_record || input.bytes().len() > self.kept.len();
        self.check(fresh || !self.shown, Rule::D3, "the same bytes shown again with nothing new");
        self.shown = true;
    }

    /// What must hold when the session has answered.
    fn after(&mut self, result: &Result<(), Close>, cx: &Cx<'_, S::Mail>) {
        self.finished = cx.out.is_finished();
        if self.stage != Stage::Gone && result.is_err() {
            self.stage = Stage::Closed;
        }
        let wants = self.inner.wants();
        self.took &= wants.takes(cx.out);
        self.owed |= cx.out.is_full();
    }

    /// What a layer must have done for the session inside, seen on both sides of it.
    fn after_inside(&mut self, event: Past, result: &Result<(), Close>, cx: &Cx<'_, S::Mail>) {
        let before = self.within;
        let (within, mail_passed) = Inside::told();
        self.within = within.or(before);
        let Some(within) = self.within else { return };
        let was_open = before.is_some_and(|before| before.stage == Stage::Open);
        if event == Past::Gone {
            check(within.stage == Stage::Gone, Rule::L4, "Gone did not go inward, where Open had");
        }
        if self.marks_end {
            self.check_end_mark(event, before, within, result, cx);
        }
        if result.is_err() || within.stage != Stage::Open {
            return;
        }
        check(event != Past::Mail || !was_open || mail_passed, Rule::L3, "mail did not go inward");
        let wants = self.inner.wants();
        let is_joined = within.wants.deadline.is_none_or(|inner| wants.deadline.is_some_and(|at| at <= inner));
        check(is_joined, Rule::L3, "the deadline of the session inside was not joined");
        let both_take = wants.takes(cx.out) && within.wants.takes(cx.out);
        let is_lost = event == Past::Again && !within.took && both_take;
        check(!is_lost, Rule::L5, "Again did not go inward, to a session that had stopped taking");
    }
    /// Rule L7: `finish` inside becomes an end mark, and the socket stays open for writing until the peer's mark has come.
    fn check_end_mark(
        &self,
        event: Past,
        before: Option<Within>,
        within: Within,
        result: &Result<(), Close>,
        cx: &Cx<'_, S::Mail>,
    ) {
        if event == Past::Gone {
            return;
        }
        let has_finished = within.finished && !before.is_some_and(|before| before.finished);
        let queued = INSIDE.with_borrow(|inside| inside.last().map_or(0, |call| call.queued));
        check(!has_finished || cx.out.len() > queued, Rule::L7, "finish inside left no end mark");
        let is_early = result.is_ok() && cx.out.is_finished() && !within.ended;
        check(!is_early, Rule::L7, "the socket is half-closed before the peer's end mark has come");
        let is_bare = event == Past::End && !before.is_some_and(|before| before.ended);
        let is_told = *result == Err(Close::Truncated);
        check(!is_bare || is_told, Rule::L7, "a bare end of the peer's stream is not told as Truncated");
    }
    /// Tells a layer that is checked too what has become of the session inside.
    fn tell_around(&self) {
        let Self { stage, took, ended, finished, .. } = *self;
        let within = Within { stage, wants: self.inner.wants(), took, ended, finished };
        Inside::around(|layer| layer.within = Some(within));
    }
}

/// Which event it was, once it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Past {
    Again,
    End,
    Mail,
    Gone,
    Other,
}
impl Past {
    fn of<M>(event: &Event<'_, M>) -> Self {
        match event {
            Event::Again => Self::Again,
            Event::End => Self::End,
            Event::Mail(_) => Self::Mail,
            Event::Gone(_) => Self::Gone,
            Event::Open(_) | Event::Input(_) | Event::Deadline | Event::Drained | Event::Stop => Self::Other,
        }
    }
}

impl<S: Session> Session for Checked<S> {
    type Mail = S::Mail;
    fn handle(&mut self, event: Event<'_, S::Mail>, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        let _inside = Inside::enter(Call {
            me: cx.me,
            out: std::ptr::from_ref(&*cx.out).addr(),
            queued: cx.out.len(),
            way: self.way.clone(),
            mail: if let Event::Mail(mail) = &event { Some(place(*mail)) } else { None },
            mail_passed: false,
            within: None,
        });
        self.nested = Inside::around(|_| ()).is_some();
        let past = Past::of(&event);
        self.before(&event, cx);
        let records = cx.out.kind() == Kind::Records;
        let (was_gone, queued) = (self.stage == Stage::Gone, cx.out.len());
        let result = match event {
            Event::Input(mut input) => {
                let shown = input.bytes().to_vec();
                let result = self.inner.handle(Event::Input(input.reborrow()), cx);
                let left = input.bytes();
                check(shown.ends_with(left), Rule::L8, "bytes were changed in place and not taken");
                if result.is_ok() {
                    check(!records || left.is_empty(), Rule::S1, "a record was not taken whole");
                    let pace = self.inner.wants().input;
                    check(pace == Pace::Always || !cx.out.has_overflowed(), Rule::S2, "took input past a full output");
                }
                self.kept = left.to_vec();
                result
            }
            Event::Deadline => {
                let result = self.inner.handle(Event::Deadline, cx);
                let due = self.inner.wants().is_due(cx.now);
                check(result.is_err() || !due, Rule::D6, "the deadline is still due after Deadline");
                result
            }
            other @ (Event::Open(_)
            | Event::Again
            | Event::End
            | Event::Mail(_)
            | Event::Drained
            | Event::Stop
            | Event::Gone(_)) => self.inner.handle(other, cx),
        };
        check(!was_gone || cx.out.len() == queued, Rule::S4, "output in Gone has no way left to go");
        self.after(&result, cx);
        self.after_inside(past, &result, cx);
        self.tell_around();
        result
    }
    fn wants(&self) -> Wants {
        self.inner.wants()
    }
}
impl<S: Stream> Stream for Checked<S> {}
impl<S: Records> Records for Checked<S> {}

/// A service whose sessions are all [`Checked`].
#[derive(Clone, Debug)]
pub struct CheckedService<S>(pub S);

impl<S: Service> Service for CheckedService<S> {
    type Session = Checked<S::Session>;
    const TALKS: bool = S::TALKS;
    fn open(&self, way: &Way) -> Result<Self::Session, Close> {
        self.0.open(way).map(Checked::new)
    }
    fn lost(&self, who: Address, host: &mut dyn Host<<S::Session as Session>::Mail>) {
        self.0.lost(who, host);
    }
}
