//! A layer that asserts the contract.
use crate::{Address, Close, Cx, Event, Host, Input, Kind, Pace, Records, Service, Session, Stream, Wants, Way};
use std::{cell::RefCell, fmt};

/// Asserts every rule of the contract that can be seen around one session, in both directions.
///
/// Put outside a stack it checks the driver and the whole stack; put around an inner session it checks the layer that holds
/// it. Costs a copy of the untaken bytes; for tests and the simulator.
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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    New,
    Open,
    Closed,
    Gone,
}

/// A rule of the contract; see the crate's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the crate's documentation has the table")]
#[rustfmt::skip]
pub enum Rule { D1, D2, D3, D4, D5, D6, D7, D8, D9, D10, D11, D12, D13, D14, S1, S2, S3, S4, L1, L2, L3, L4, L5, L6, L7, L8 }

/// A rule that was broken, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which rule.
    pub rule: Rule,
    /// What was seen.
    pub what: &'static str,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {:?} broken: {}", self.rule, self.what)
    }
}

#[track_caller]
fn check(holds: bool, rule: Rule, what: &'static str) {
    assert!(holds, "{}", Broken { rule, what });
}

thread_local! {
    /// Which sessions are inside `handle` on this thread. A layer and its inner session share one address.
    static INSIDE: RefCell<Vec<Address>> = const { RefCell::new(Vec::new()) };
}

/// Leaves the list of those inside, also when the session panics.
struct Inside;
impl Inside {
    fn enter(me: Address) -> Self {
        INSIDE.with_borrow_mut(|inside| {
            let alone = inside.last().is_none_or(|other| *other == me);
            if !alone {
                inside.clear();
            }
            check(alone, Rule::D2, "a session runs inside another's call");
            inside.push(me);
        });
        Self
    }
}
impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.with_borrow_mut(|inside| {
            inside.pop();
        });
    }
}

impl<S: Session> Checked<S> {
    /// Checks `inner` and whoever drives it.
    pub fn new(inner: S) -> Self {
        let (kept, stage) = (Vec::new(), Stage::New);
        Self { inner, stage, kept, shown: true, took: false, owed: false, ended: false, finished: false }
    }
    /// The session inside.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// What must hold when `event` comes.
    fn before(&mut self, event: &Event<'_, S::Mail>, cx: &Cx<'_, S::Mail>) {
        use Stage::{Closed, Gone, New, Open};
        let first = matches!(event, Event::Open(_));
        let last = matches!(event, Event::Gone(_));
        match (self.stage, first, last) {
            (New, true, _) => {
                self.stage = Open;
                self.took = true;
            }
            (New, false, _) => check(false, Rule::D1, "an event before Open"),
            (Open, true, _) => check(false, Rule::D1, "Open twice"),
            (Closed, _, false) => check(false, Rule::D1, "after Err, something other than Gone"),
            (Gone, ..) => check(false, Rule::D1, "an event after Gone"),
            (Open | Closed, false, true) => self.stage = Gone,
            (Open, false, false) => {}
            (Closed, true, true) => unreachable!("no event is both"),
        }
        check(!self.finished || cx.out.is_finished(), Rule::D13, "a half-closed output was opened again");
        if last {
            return;
        }
        check(!cx.out.has_overflowed(), Rule::D7, "an event after the output passed its hard mark");
        // A nested output's low mark is 0: its layer, not it, knows when the whole has drained.
        let drained = matches!(event, Event::Drained);
        if cx.out.marks().low > 0 {
            check(!drained || self.owed, Rule::D11, "Drained, but the output was not full");
            check(!drained || cx.out.is_low(), Rule::D11, "Drained above the low mark");
            check(drained || !(self.owed && cx.out.is_low()), Rule::D11, "the output drained and Drained was lost");
        }
        self.owed &= !drained;
        let wants = self.inner.wants();
        match event {
            Event::Input(input) => self.before_input(input, wants, cx),
            Event::Again => {
                check(wants.takes(cx.out), Rule::D3, "Again to a session that takes no input");
                self.took = true;
                self.shown = self.kept.is_empty();
            }
            Event::End => {
                check(!self.ended, Rule::D5, "End twice");
                check(wants.takes(cx.out) && self.took, Rule::D5, "End while the session takes no input");
                check(self.shown, Rule::D5, "End before what is left was shown");
                self.ended = true;
            }
            Event::Deadline => check(wants.is_due(cx.now), Rule::D6, "Deadline before it is due"),
            Event::Open(_) | Event::Mail(_) | Event::Drained | Event::Stop | Event::Gone(_) => {}
        }
    }

    fn before_input(&mut self, input: &Input<'_>, wants: Wants, cx: &Cx<'_, S::Mail>) {
        check(!self.ended, Rule::D5, "Input after End");
        check(wants.takes(cx.out), Rule::D4, "Input to a session that takes none");
        check(self.took, Rule::D3, "Input before Again, though the session had stopped taking");
        check(input.bytes().starts_with(&self.kept), Rule::D3, "bytes that were not taken are missing or changed");
        // A record may be empty, and is always new.
        let fresh = cx.out.kind() == Kind::Records || input.bytes().len() > self.kept.len();
        check(fresh || !self.shown, Rule::D3, "the same bytes shown again with nothing new");
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
}

impl<S: Session> Session for Checked<S> {
    type Mail = S::Mail;
    fn handle(&mut self, event: Event<'_, S::Mail>, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        let _inside = Inside::enter(cx.me);
        self.before(&event, cx);
        let records = cx.out.kind() == Kind::Records;
        let (was_gone, queued) = (self.stage == Stage::Gone, cx.out.len());
        let result = match event {
            Event::Input(mut input) => {
                let shown = input.bytes().to_vec();
                if !records {
                    check(!shown.is_empty(), Rule::D3, "an empty Input on a stream");
                }
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
    fn open(&self, way: &Way) -> Result<Self::Session, Close> {
        self.0.open(way).map(Checked::new)
    }
    fn lost(&self, who: Address, host: &mut dyn Host<<S::Session as Session>::Mail>) {
        self.0.lost(who, host);
    }
}
