//! A session to put inside layers: it notes every event, echoes, and can hold, fail and set an alarm.
use proptest::prelude::*;
use sotong_session::{Checked, Close, Cx, Event, Moment, Pace, Records, Session, Stream, Wants, Wire, rig::Rig};
use std::{cell::RefCell, rc::Rc, time::Duration};

/// An event as the inner session saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Open(Wire),
    Input(Vec<u8>),
    Again,
    End,
    Mail(u32),
    Deadline,
    Drained,
    Stop,
    Gone(Close),
}

impl Seen {
    pub(crate) fn input(self) -> Option<Vec<u8>> {
        if let Self::Input(bytes) = self { Some(bytes) } else { None }
    }
}

/// Mail that opens a closed gate and is not answered.
pub(crate) const OPEN_GATE: u32 = 7;

/// Echoes records, or a stream in units of some bytes. The inputs `fail`, `alarm`, `long` (records) and the bytes `!`, `@`
/// (streams) make it fail, set an alarm in 5 s, and answer at length.
#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) seen: Vec<Seen>,
    /// A stream's bytes are taken in whole units of this many.
    unit: usize,
    /// Whether every input closes the gate until `OPEN_GATE` comes.
    gated: bool,
    shut: bool,
    pace: Pace,
    wire: Wire,
    alarm: Option<Moment>,
}

impl Probe {
    pub(crate) fn echo() -> Self {
        Self {
            seen: Vec::new(),
            unit: 1,
            gated: false,
            shut: false,
            pace: Pace::WhileRoom,
            wire: Wire::Stream,
            alarm: None,
        }
    }
    pub(crate) fn gate() -> Self {
        Self { gated: true, ..Self::echo() }
    }
    pub(crate) fn units(unit: usize) -> Self {
        Self { unit, ..Self::echo() }
    }
    pub(crate) fn always() -> Self {
        Self { pace: Pace::Always, ..Self::echo() }
    }
    /// Holds from the beginning.
    pub(crate) fn shut() -> Self {
        Self { shut: true, ..Self::gate() }
    }
    /// All input bytes it has taken.
    pub(crate) fn taken(&self) -> Vec<u8> {
        self.seen.clone().into_iter().filter_map(Seen::input).flatten().collect()
    }

    fn take(&mut self, bytes: &[u8], cx: &mut Cx<'_, u32>) -> Result<(), Close> {
        self.seen.push(Seen::Input(bytes.to_vec()));
        self.shut = self.gated;
        let records = self.wire == Wire::Records;
        let says = |word: &[u8], sign: u8| if records { bytes == word } else { bytes.contains(&sign) };
        if says(b"fail", b'!') {
            cx.out.put(b"farewell");
            cx.out.cut();
            return Err(Close::Protocol("fail".into()));
        }
        if says(b"alarm", b'@') {
            self.alarm = Some(cx.now + Duration::from_secs(5));
        }
        cx.out.put(bytes);
        cx.out.cut();
        if records && bytes == b"long" {
            // Longer than what an output copies.
            cx.out.share(vec![b'x'; 4000].into());
            cx.out.cut();
        }
        Ok(())
    }
}

impl Session for Probe {
    type Mail = u32;
    fn handle(&mut self, event: Event<'_, u32>, cx: &mut Cx<'_, u32>) -> Result<(), Close> {
        match event {
            Event::Open(way) => {
                self.wire = way.wire;
                self.seen.push(Seen::Open(way.wire));
            }
            Event::Input(mut input) => {
                let shown = input.bytes().len();
                let count = match self.wire {
                    Wire::Records => shown,
                    Wire::Stream if self.pace == Pace::Always => shown / self.unit * self.unit,
                    Wire::Stream => shown.min(cx.out.room().next_multiple_of(self.unit)) / self.unit * self.unit,
                };
                let bytes = input.bytes()[..count].to_vec();
                input.take(count);
                if count > 0 || self.wire == Wire::Records {
                    return self.take(&bytes, cx);
                }
            }
            Event::Again => self.seen.push(Seen::Again),
            Event::End => {
                self.seen.push(Seen::End);
                cx.out.finish();
            }
            Event::Mail(number) => {
                self.seen.push(Seen::Mail(*number));
                if *number == OPEN_GATE {
                    self.shut = false;
                } else {
                    cx.out.put(format!("mail {number}").as_bytes());
                    cx.out.cut();
                }
            }
            Event::Deadline => {
                self.seen.push(Seen::Deadline);
                self.alarm = None;
                cx.out.put(b"ring");
                cx.out.cut();
            }
            Event::Drained => self.seen.push(Seen::Drained),
            Event::Stop => {
                self.seen.push(Seen::Stop);
                cx.out.put(b"bye");
                cx.out.cut();
                return Err(Close::Stop);
            }
            Event::Gone(close) => self.seen.push(Seen::Gone(close.clone())),
        }
        Ok(())
    }
    fn wants(&self) -> Wants {
        Wants { input: if self.shut { Pace::Hold } else { self.pace }, deadline: self.alarm }
    }
}
impl Stream for Probe {}
impl Records for Probe {}

/// Shows `bytes` in pieces of `size`.
pub(crate) fn feed<S: Session>(rig: &mut Rig<S>, bytes: &[u8], size: usize) {
    for piece in bytes.chunks(size) {
        rig.input(piece);
    }
}

/// Shows `bytes` cut at `cuts`.
pub(crate) fn feed_cut<S: Session>(rig: &mut Rig<S>, bytes: &[u8], cuts: &[usize]) {
    let mut at = 0;
    for end in cuts.iter().copied().filter(|end| *end < bytes.len()).chain([bytes.len()]) {
        rig.input(&bytes[at..end]);
        at = end;
    }
}

/// Rising places below `most` at which to cut.
pub(crate) fn cuts(most: usize) -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::btree_set(1..most, 0..20).prop_map(|set| set.into_iter().collect())
}

/// A checked probe that the test can look at after it was boxed.
#[derive(Clone)]
pub(crate) struct Shared(Rc<RefCell<Checked<Probe>>>);

impl Shared {
    pub(crate) fn new(probe: Probe) -> Self {
        Self(Rc::new(RefCell::new(Checked::new(probe))))
    }
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.0.borrow().inner().seen.clone()
    }
}
impl Session for Shared {
    type Mail = u32;
    fn handle(&mut self, event: Event<'_, u32>, cx: &mut Cx<'_, u32>) -> Result<(), Close> {
        self.0.borrow_mut().handle(event, cx)
    }
    fn wants(&self) -> Wants {
        self.0.borrow().wants()
    }
}
impl Stream for Shared {}
