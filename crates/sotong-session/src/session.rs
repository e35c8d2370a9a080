//! The trait, its events, and what a session waits for.
use crate::{Close, Cx, Moment, Output, Way};

/// One connection's protocol as a state machine: an event in, bytes and wishes out.
///
/// A layer (TLS, WebSocket, lines) is a session that holds another.
pub trait Session {
    /// What other sessions may send to this one; [`std::convert::Infallible`] for nothing.
    type Mail: Clone + Send + Sync + 'static;

    /// Takes one event and answers through `cx`.
    ///
    /// # Errors
    /// `Err` ends the session: what is queued in the output is still sent, then the connection is closed for that reason.
    fn handle(&mut self, event: Event<'_, Self::Mail>, cx: &mut Cx<'_, Self::Mail>) -> Result<(), Close>;

    /// What this session waits for. Pure; the driver reads it after every `handle`.
    fn wants(&self) -> Wants;
}

/// A session that is right over a byte stream: TCP, Unix, TLS.
pub trait Stream: Session {}
/// A session that is right over whole records: datagrams, lines, WebSocket messages.
pub trait Records: Session {}

impl<M: Clone + Send + Sync + 'static> Session for Box<dyn Stream<Mail = M>> {
    type Mail = M;
    fn handle(&mut self, event: Event<'_, M>, cx: &mut Cx<'_, M>) -> Result<(), Close> {
        (**self).handle(event, cx)
    }
    fn wants(&self) -> Wants {
        (**self).wants()
    }
}
impl<M: Clone + Send + Sync + 'static> Stream for Box<dyn Stream<Mail = M>> {}

/// What happens to a session. Not `non_exhaustive`: a layer must decide about every one (rule L1).
#[derive(Debug)]
pub enum Event<'a, M> {
    /// The way to the peer is usable, and who it is. First, and once. A client speaks here.
    Open(&'a Way),
    /// Stream: the bytes not taken yet, all of them, in one piece, never empty. Records: exactly one record, which may be
    /// empty (RFC 868 over UDP), shown once and taken whole.
    Input(Input<'a>),
    /// Room or wish for input has come back. A layer that holds bytes shows them inward; anyone else does nothing.
    Again,
    /// The peer will send no more (FIN, close_notify, WebSocket close).
    End,
    /// From another session, or from a desk. Comes even while the output is full.
    Mail(&'a M),
    /// [`Wants::deadline`] has come.
    Deadline,
    /// The output was full and has fallen to its low mark.
    Drained,
    /// The server is leaving: say goodbye and close.
    Stop,
    /// It is over, whatever the reason. Last, and once, exactly if there was an `Open`; not after a panic
    /// (see [`crate::Service::lost`]). Output has no way left to go.
    Gone(&'a Close),
}

impl<M> Event<'_, M> {
    /// The event's name, for traces and for the messages of [`crate::Checked`].
    pub fn name(&self) -> &'static str {
        match self {
            Self::Open(_) => "Open",
            Self::Input(_) => "Input",
            Self::Again => "Again",
            Self::End => "End",
            Self::Mail(_) => "Mail",
            Self::Deadline => "Deadline",
            Self::Drained => "Drained",
            Self::Stop => "Stop",
            Self::Gone(_) => "Gone",
        }
    }
}

/// Input bytes, mutable so that a layer can decrypt or unmask them in place (rule L8: only what it takes).
#[derive(Debug)]
pub struct Input<'a> {
    bytes: &'a mut [u8],
    taken: &'a mut usize,
}

impl<'a> Input<'a> {
    /// Shows `bytes` from `*taken` on; what is taken is added to `*taken`.
    pub fn new(bytes: &'a mut [u8], taken: &'a mut usize) -> Self {
        Self { bytes, taken }
    }
    /// The bytes not taken yet.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[*self.taken..]
    }
    /// The bytes not taken yet, to be changed in place.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[*self.taken..]
    }
    /// Takes everything.
    pub fn take_all(&mut self) {
        *self.taken = self.bytes.len();
    }
    /// Takes `count` bytes; the rest is shown again later.
    ///
    /// # Panics
    /// If `count` is more than there is.
    pub fn take(&mut self, count: usize) {
        assert!(count <= self.bytes.len() - *self.taken, "took more than was shown");
        *self.taken += count;
    }
    /// The same input for an inner session, which takes from it as its own.
    pub fn reborrow(&mut self) -> Input<'_> {
        Input { bytes: self.bytes, taken: self.taken }
    }
}

/// What a session waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wants {
    /// Whether bytes may be read and shown.
    pub input: Pace,
    /// When [`Event::Deadline`] is due; `None` for never.
    pub deadline: Option<Moment>,
}

/// Whether bytes may be read and shown now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Not now.
    Hold,
    /// While the output is not full: services, whose input becomes their output.
    WhileRoom,
    /// Whatever the output holds: the two directions are independent (connect, exec, relay, receiving a file).
    Always,
}

impl Wants {
    /// Input while there is room for the answers, and no deadline: what most services want.
    pub const INPUT: Self = Self { input: Pace::WhileRoom, deadline: None };

    /// The one gate, for drivers and layers alike: whether input may be shown to a session whose output is `out`.
    pub fn takes(&self, out: &Output) -> bool {
        match self.input {
            Pace::Hold => false,
            Pace::WhileRoom => !out.is_full(),
            Pace::Always => true,
        }
    }
    /// Whether the deadline has come at `now`.
    pub fn is_due(&self, now: Moment) -> bool {
        self.deadline.is_some_and(|at| at <= now)
    }
    /// Brings the deadline forward to `at` if that is sooner: how layers join their timers.
    #[must_use]
    pub fn by(self, at: Option<Moment>) -> Self {
        let deadline = match (self.deadline, at) {
            (Some(mine), Some(other)) => Some(mine.min(other)),
            (mine, other) => mine.or(other),
        };
        Self { deadline, ..self }
    }
}
