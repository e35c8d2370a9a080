//! Drives one session in a test: script in, transcript out.
//!
//! [`Rig`] is the smallest driver that keeps the contract. It has no sockets and no clock; the output fills until the test
//! takes it with [`Rig::sent`], so that backpressure can be tested byte by byte. Every session in it is [`Checked`].
use crate::{
    Address, Carry, Checked, Close, Cx, Desk, End, Event, Host, Kind, Marks, Moment, Output, Records, Session, Stream,
    Topic, Wall, Way, Wire,
};
use std::{collections::VecDeque, time::Duration};

/// One session with a world around it that does only what the test says.
pub struct Rig<S: Session> {
    session: Checked<S>,
    wire: Wire,
    out: Output,
    carry: Carry,
    /// Records that came while the session took none.
    records: VecDeque<Vec<u8>>,
    now: Moment,
    wall: Wall,
    host: Recorder<S::Mail>,
    me: Address,
    end: bool,
    ended: bool,
    took: bool,
    full: bool,
    close: Option<Close>,
}

/// What a session asked of its host.
#[derive(Debug)]
pub struct Recorder<M> {
    /// Mail to single sessions.
    pub posts: Vec<(Address, M)>,
    /// Mail to topics, with the one it is not for.
    pub published: Vec<(Topic, Option<Address>, M)>,
    /// Memberships as they are.
    pub members: Vec<(Topic, Address)>,
    /// Work sent to desks.
    pub asked: Vec<(Desk, M)>,
    /// Whether desks are full.
    pub busy: bool,
    /// The session is held once more mail than this waits in `posts` and `published` (rule D14).
    pub mail_high: usize,
    seed: u64,
}

impl<M> Host<M> for Recorder<M> {
    fn post(&mut self, to: Address, mail: M) {
        self.posts.push((to, mail));
    }
    fn publish(&mut self, topic: Topic, except: Option<Address>, mail: M) {
        self.published.push((topic, except, mail));
    }
    fn join(&mut self, topic: Topic, who: Address) {
        if !self.members.contains(&(topic, who)) {
            self.members.push((topic, who));
        }
    }
    fn leave(&mut self, topic: Topic, who: Address) {
        self.members.retain(|member| *member != (topic, who));
    }
    fn ask(&mut self, desk: Desk, mail: M) -> Result<(), M> {
        if self.busy {
            return Err(mail);
        }
        self.asked.push((desk, mail));
        Ok(())
    }
    fn is_held(&self) -> bool {
        self.posts.len() + self.published.len() > self.mail_high
    }
    fn random(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            // Knuth's MMIX generator: the test only needs numbers that are the same in every run.
            self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.seed >> 56) as u8;
        }
    }
}

impl<S: Stream> Rig<S> {
    /// Drives `session` as a byte stream.
    pub fn stream(session: S) -> Self {
        Self::new(session, Wire::Stream, Kind::Socket)
    }
}
impl<S: Records> Rig<S> {
    /// Drives `session` record by record.
    pub fn records(session: S) -> Self {
        Self::new(session, Wire::Records, Kind::Records)
    }
}

impl<S: Session> Rig<S> {
    fn new(session: S, wire: Wire, kind: Kind) -> Self {
        Self {
            session: Checked::new(session),
            wire,
            out: Output::new(kind, Marks::default()),
            carry: Carry::default(),
            records: VecDeque::new(),
            now: Moment::START,
            wall: Wall(0),
            host: Recorder {
                posts: Vec::new(),
                published: Vec::new(),
                members: Vec::new(),
                asked: Vec::new(),
                busy: false,
                mail_high: usize::MAX,
                seed: 1,
            },
            me: Address { shard: 0, slot: 0, turn: 0 },
            end: false,
            ended: false,
            took: false,
            full: false,
            close: None,
        }
    }
    /// Shrinks (or widens) the output's marks.
    #[must_use]
    pub fn with_marks(mut self, marks: Marks) -> Self {
        self.out.set_marks(marks);
        self
    }
    /// Gives the session another address, where several rigs stand side by side.
    #[must_use]
    pub fn at(mut self, me: Address) -> Self {
        self.me = me;
        self
    }

    /// Sets the civil time, which else is the beginning of 1970.
    #[must_use]
    pub fn with_wall(mut self, wall: Wall) -> Self {
        self.wall = wall;
        self
    }

    /// `Open`, from an IPv4 peer.
    pub fn open(&mut self) {
        let end = |port| End::Net(std::net::SocketAddr::from(([127, 0, 0, 1], port)));
        self.open_as(&Way::new(end(7), end(50_000), self.wire));
    }
    /// `Open`, from a peer of the test's choice.
    pub fn open_as(&mut self, way: &Way) {
        self.handle(Event::Open(way));
        self.took = self.takes();
        self.settle();
    }
    /// Bytes (or one record) from the peer. What the session does not take now is shown again when the contract says so.
    pub fn input(&mut self, bytes: &[u8]) {
        if self.close.is_some() {
            return;
        }
        match self.wire {
            Wire::Records => {
                self.records.push_back(bytes.to_vec());
                self.show_records();
            }
            Wire::Stream if self.takes() && !bytes.is_empty() => self.show(bytes.to_vec()),
            Wire::Stream => self.carry.keep(bytes),
        }
        self.settle();
    }
    /// The peer's end of stream.
    pub fn end(&mut self) {
        self.end = true;
        self.settle();
    }
    /// Mail from another session.
    pub fn mail(&mut self, mail: &S::Mail) {
        self.handle(Event::Mail(mail));
        self.settle();
    }
    /// Everything the session has posted and published is taken: what a held session is owed comes now.
    pub fn mail_taken(&mut self) {
        self.host.posts.clear();
        self.host.published.clear();
        self.settle();
    }
    /// Lets time pass; deadlines come when they are due.
    pub fn advance(&mut self, by: Duration) {
        let until = self.now + by;
        while self.close.is_none() {
            let Some(at) = self.session.wants().deadline.filter(|at| *at <= until) else { break };
            self.now = self.now.max(at);
            self.handle(Event::Deadline);
            self.settle();
        }
        self.now = until;
    }
    /// The server leaves.
    pub fn stop(&mut self) {
        self.handle(Event::Stop);
        self.settle();
    }
    /// The connection is over: `Gone`, with the session's own reason if it had one.
    pub fn gone(&mut self, why: Close) {
        let close = self.close.get_or_insert(why).clone();
        let mut cx = Cx { now: self.now, wall: self.wall, me: self.me, out: &mut self.out, host: &mut self.host };
        let _ = self.session.handle(Event::Gone(&close), &mut cx);
    }

    /// Takes all output away, as a peer that reads.
    pub fn sent(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let before = all.len();
            while let Some(piece) = self.out.pop() {
                match piece {
                    crate::Piece::Bytes(bytes) => all.extend_from_slice(bytes),
                    crate::Piece::Shared(bytes) => all.extend_from_slice(&bytes),
                    crate::Piece::File(_) | crate::Piece::Cut => {}
                }
            }
            self.settle();
            if all.len() == before {
                return all;
            }
        }
    }
    /// Takes all output away, record by record.
    pub fn sent_records(&mut self) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while self.out.has_record() {
            let mut slices = Vec::new();
            self.out.gather(&mut slices, usize::MAX);
            all.push(joined(&slices));
            self.out.advance_record();
            self.settle();
        }
        all
    }
    /// Takes at most `count` bytes away, as a slow peer; for streams of copied bytes.
    pub fn sent_some(&mut self, count: usize) -> Vec<u8> {
        let mut slices = Vec::new();
        self.out.gather(&mut slices, usize::MAX);
        let mut some = joined(&slices);
        some.truncate(count);
        self.out.advance(some.len());
        self.settle();
        some
    }
    /// Bytes queued.
    pub fn queued(&self) -> usize {
        self.out.len()
    }
    /// Bytes shown or waiting, and not taken.
    pub fn untaken(&self) -> usize {
        self.carry.len()
    }
    /// Whether the session has half-closed.
    pub fn is_finished(&self) -> bool {
        self.out.is_finished()
    }
    /// Why the session ended, if it did.
    pub fn close(&self) -> Option<&Close> {
        self.close.as_ref()
    }
    /// What the session asked of its host.
    pub fn host(&mut self) -> &mut Recorder<S::Mail> {
        &mut self.host
    }
    /// The session.
    pub fn session(&self) -> &S {
        self.session.inner()
    }
    /// The time.
    pub fn now(&self) -> Moment {
        self.now
    }
    /// Whether the session takes input now.
    pub fn takes(&self) -> bool {
        self.close.is_none() && self.session.wants().takes(&self.out) && !self.host.is_held()
    }

    fn handle(&mut self, event: Event<'_, S::Mail>) {
        if self.close.is_some() {
            return;
        }
        let mut cx = Cx { now: self.now, wall: self.wall, me: self.me, out: &mut self.out, host: &mut self.host };
        let result = self.session.handle(event, &mut cx);
        self.note(result);
    }
    fn show(&mut self, mut fresh: Vec<u8>) {
        let Self { session, out, host, carry, .. } = self;
        let (now, wall, me) = (self.now, self.wall, self.me);
        let result =
            carry.feed(&mut fresh, |input| session.handle(Event::Input(input), &mut Cx { now, wall, me, out, host }));
        self.note(result);
    }
    fn show_records(&mut self) {
        while self.takes() {
            let Some(mut record) = self.records.pop_front() else { break };
            let mut taken = 0;
            self.handle(Event::Input(crate::Input::new(&mut record, &mut taken)));
        }
    }
    fn note(&mut self, result: Result<(), Close>) {
        self.full |= self.out.is_full();
        self.took &= self.session.wants().takes(&self.out) && !self.host.is_held();
        if let Err(close) = result {
            self.close = Some(close);
        } else if self.out.has_overflowed() {
            self.close = Some(Close::Slow);
        } else if self.ended && self.out.is_finished() && self.out.is_empty() {
            self.close = Some(Close::Done);
        }
    }
    /// Everything the contract owes the session in its state.
    fn settle(&mut self) {
        while self.close.is_none() {
            if self.full && self.out.is_low() {
                self.full = false;
                self.handle(Event::Drained);
                continue;
            }
            if !self.takes() {
                break;
            }
            if !self.took {
                self.took = true;
                self.handle(Event::Again);
                if self.takes() && !self.carry.is_empty() {
                    self.show(Vec::new());
                }
                continue;
            }
            if !self.records.is_empty() {
                self.show_records();
                continue;
            }
            if self.end && !self.ended {
                self.ended = true;
                self.handle(Event::End);
                continue;
            }
            break;
        }
        if self.close.is_none() && self.ended && self.out.is_finished() && self.out.is_empty() {
            self.close = Some(Close::Done);
        }
    }
}

fn joined(slices: &[std::io::IoSlice<'_>]) -> Vec<u8> {
    slices.iter().flat_map(|slice| slice.iter().copied()).collect()
}
