//! A driver by hand: it does what a test says, right or wrong, and nothing else.
use sotong_session::{
    Address, Checked, Close, Cx, Desk, End, Event, Host, Input, Kind, Marks, Moment, Output, Pace, Records, Rule,
    Session, Stream, Topic, Wall, Wants, Way, Wire,
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    time::Duration,
};

/// Whether the one who could break a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    Keep,
    Break,
}

impl Does {
    pub(crate) fn it_break(self) -> bool {
        self == Self::Break
    }
}

/// Which rule [`Checked`] names while `play` runs. Any other panic is passed on: it is a fault of the test.
pub(crate) fn caught(play: impl FnOnce()) -> Option<Rule> {
    let panic = catch_unwind(AssertUnwindSafe(play)).err()?;
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    let rule = text.filter(|text| text.starts_with("rule ")).and_then(Rule::named_in);
    if rule.is_none() {
        resume_unwind(panic);
    }
    rule
}

/// What a [`Probe`] does when it gets this mail.
pub(crate) const HOLD: u32 = 0;
pub(crate) const GO: u32 = 1;
/// Sets an alarm in 5 s.
pub(crate) const ALARM: u32 = 2;
pub(crate) const FINISH: u32 = 3;
/// Says `farewell` and ends.
pub(crate) const LEAVE: u32 = 4;
/// Says 1,000 bytes.
pub(crate) const LONG: u32 = 5;
/// Tells somebody else.
pub(crate) const TELL: u32 = 6;
/// Does nothing: for a look at what the session is owed.
pub(crate) const NOTHING: u32 = 7;

/// Input after which a [`Probe`] holds, until it is told to go on.
pub(crate) const STOP_WORD: &[u8] = b"hold!";

/// An echo that does as its mail says, and keeps every rule.
#[derive(Debug)]
pub(crate) struct Probe {
    wants: Wants,
    pub(crate) heard: Vec<Vec<u8>>,
    /// What it was told of a peer behind a proxy.
    pub(crate) through: Option<End>,
}

impl Probe {
    pub(crate) fn new() -> Self {
        Self { wants: Wants::INPUT, heard: Vec::new(), through: None }
    }
    fn mail(&mut self, mail: u32, cx: &mut Cx<'_, u32>) -> Result<(), Close> {
        match mail {
            HOLD => self.wants.input = Pace::Hold,
            GO => self.wants.input = Pace::WhileRoom,
            ALARM => self.wants.deadline = Some(cx.now + Duration::from_secs(5)),
            FINISH => cx.out.finish(),
            LONG => cx.out.put(&[b'x'; 1000]),
            TELL => cx.host.post(cx.me, NOTHING),
            LEAVE => {
                cx.out.put(b"farewell");
                cx.out.cut();
                return Err(Close::Done);
            }
            _ => {}
        }
        Ok(())
    }
}

impl Session for Probe {
    type Mail = u32;
    fn handle(&mut self, event: Event<'_, u32>, cx: &mut Cx<'_, u32>) -> Result<(), Close> {
        match event {
            Event::Input(mut input) => {
                let records = cx.out.kind() == Kind::Records;
                let count = if records { input.bytes().len() } else { input.bytes().len().min(cx.out.room()) };
                if input.bytes() == STOP_WORD {
                    self.wants.input = Pace::Hold;
                }
                self.heard.push(input.bytes()[..count].to_vec());
                cx.out.put(&input.bytes()[..count]);
                cx.out.cut();
                input.take(count);
            }
            Event::Mail(mail) => return self.mail(*mail, cx),
            Event::Deadline => self.wants.deadline = None,
            Event::End => cx.out.finish(),
            Event::Stop => return Err(Close::Stop),
            Event::Open(way) => self.through = way.through.clone(),
            Event::Again | Event::Drained | Event::Gone(_) => {}
        }
        Ok(())
    }
    fn wants(&self) -> Wants {
        self.wants
    }
}
impl Stream for Probe {}
impl Records for Probe {}

/// Hears and forgets.
pub(crate) struct Deaf;
impl Host<u32> for Deaf {
    fn post(&mut self, _: Address, _: u32) {}
    fn publish(&mut self, _: Topic, _: Option<Address>, _: u32) {}
    fn join(&mut self, _: Topic, _: Address) {}
    fn leave(&mut self, _: Topic, _: Address) {}
    fn ask(&mut self, _: Desk, mail: u32) -> Result<(), u32> {
        Err(mail)
    }
    fn random(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

/// One checked session and its output, 8 bytes of which are room.
pub(crate) struct Hand<S> {
    session: Checked<S>,
    pub(crate) out: Output,
    pub(crate) now: Moment,
    pub(crate) me: Address,
    wire: Wire,
}

pub(crate) const MARKS: Marks = Marks { low: 2, high: 8, hard: 64 };

impl<S: Session<Mail = u32>> Hand<S> {
    pub(crate) fn new(session: S, wire: Wire) -> Self {
        let kind = if wire == Wire::Stream { Kind::Stream } else { Kind::Records };
        let me = Address { shard: 0, slot: 0, turn: 0 };
        Self { session: Checked::new(session), out: Output::new(kind, MARKS), now: Moment::START, me, wire }
    }
    pub(crate) fn call(&mut self, event: Event<'_, u32>) -> Result<(), Close> {
        self.call_with(event, &mut Deaf)
    }
    pub(crate) fn call_with(&mut self, event: Event<'_, u32>, host: &mut dyn Host<u32>) -> Result<(), Close> {
        let mut cx = Cx { now: self.now, wall: Wall(0), me: self.me, out: &mut self.out, host };
        self.session.handle(event, &mut cx)
    }
    /// `Open`, as the first event is.
    pub(crate) fn open(&mut self) {
        self.call(Event::Open(&way(self.wire))).expect("nobody refuses Open here");
    }
    /// Shows `bytes`. How many of them were not taken.
    pub(crate) fn show(&mut self, bytes: &[u8]) -> usize {
        let (mut bytes, mut taken) = (bytes.to_vec(), 0);
        let _ = self.call(Event::Input(Input::new(&mut bytes, &mut taken)));
        bytes.len() - taken
    }
    pub(crate) fn tell(&mut self, event: Event<'_, u32>) {
        self.call(event).expect("nobody ends by this event here");
    }
    pub(crate) fn mail(&mut self, mail: u32) {
        let _ = self.call(Event::Mail(&mail));
    }
    /// The peer reads so many bytes.
    pub(crate) fn read(&mut self, count: usize) {
        self.out.advance(count);
    }
}

impl Hand<Probe> {
    /// A probe over a stream, opened.
    pub(crate) fn stream() -> Self {
        let mut hand = Self::new(Probe::new(), Wire::Stream);
        hand.open();
        hand
    }
}

pub(crate) fn way(wire: Wire) -> Way {
    let end = |port| End::Net(std::net::SocketAddr::from(([127, 0, 0, 1], port)));
    Way::new(end(7), end(50_000), wire)
}
