//! The bridge: joins two ends where a layer stands in between, on one loop in the calling thread.
//!
//! It is for one pair of ends what `sotong_net::pump` is where there is no layer: the end of one side is passed on as a
//! half-close, each direction goes on for as long as it has something to say, and queued output is never cut for being slow:
//! only limits and rules end it. The far end is a connection with a session of a shard; the near end (standard input and
//! output, a program's pipes) is read and written by the loop itself, because it may be in blocking mode, or a file. Bytes go
//! to the session by mail, and stop while 64 KiB wait on the other side.
mod messages;
mod passing;
mod run;

pub use self::{
    messages::{Form, Messages},
    passing::Passing,
};
use bytes::Bytes;
use passing::Outermost;
use run::Run;
use sotong_net::{
    pump::{End, Flow, Limits, Passed, Rules},
    socket::Socket,
};
use sotong_session::{Address, Close, Host, Service, Stream, TlsFacts, Way};
use std::{
    fmt, io,
    os::fd::BorrowedFd,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// What the loop of a bridge tells its session.
#[derive(Clone, Debug)]
pub enum Parcel {
    /// Bytes for the peer.
    Bytes(Bytes),
    /// No more bytes come.
    End,
    /// What was heard has been taken.
    Go,
    /// What is heard from now on interests nobody.
    Forget,
    /// It is over, for this reason.
    Leave(Close),
}

/// Two ends to be joined: a near one, and a connection.
pub struct Bridge<'a> {
    near: Near<'a>,
    socket: Socket,
    way: Way,
    forth: Flow,
    back: Flow,
    rules: Rules,
    limits: Limits,
}

/// What a bridge has done.
#[derive(Clone, Debug)]
pub struct Crossed {
    /// To the connection, as its session was given it.
    pub forth: Passed,
    /// From the connection.
    pub back: Passed,
    /// From start to end, the closing included.
    pub time: Duration,
    /// Why the session ended, where that was neither a bridge's doing nor the common end of both sides.
    pub close: Option<Close>,
    /// What the TLS handshake showed, if there was one and it succeeded.
    pub tls: Option<Arc<TlsFacts>>,
}

/// Makes the near end once the way to the peer is usable, by what TLS has shown of it.
type Near<'a> = Box<dyn FnOnce(Option<&TlsFacts>) -> io::Result<End> + 'a>;

impl<'a> Bridge<'a> {
    /// Joins `near` and `socket`.
    pub fn new(near: End, socket: Socket, way: Way) -> Self {
        Self::when_open(|_| Ok(near), socket, way)
    }
    /// Joins `socket` and an end that is made once the way is usable: for a program that is run for nobody whose handshake
    /// fails. If it cannot be made, both directions end with that.
    pub fn when_open(near: impl FnOnce(Option<&TlsFacts>) -> io::Result<End> + 'a, socket: Socket, way: Way) -> Self {
        let (forth, back) = (Flow::default(), Flow::default());
        Self { near: Box::new(near), socket, way, forth, back, rules: Rules::default(), limits: Limits::default() }
    }
    /// What is done to the bytes to the connection, and to those from it.
    #[must_use]
    pub fn flows(self, forth: Flow, back: Flow) -> Self {
        Self { forth, back, ..self }
    }
    /// What happens to one direction when the other is over; B is the connection.
    #[must_use]
    pub fn rules(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }
    /// How long it may take. `quiet` has no meaning here: a connection has an end of its own.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }
    /// Moves bytes until both directions are over, then closes. Both stop once `stop` is readable.
    ///
    /// `layer` puts around the passing session what is to stand in between. The bytes of the near end are read once the way
    /// is usable: what was typed before a handshake has succeeded stays where it is.
    ///
    /// Uses at most 512 KiB of buffers (for messages, that and what many short ones weigh until they are framed, 4 MiB; and
    /// the largest that is heard), no thread and no descriptor beside those of the ends.
    ///
    /// # Errors
    /// The system cannot wait for the ends. What fails of them is in the report.
    pub fn run<S, L>(self, layer: L, stop: Option<BorrowedFd<'a>>) -> io::Result<Crossed>
    where
        S: Stream<Mail = Parcel> + 'static,
        L: FnOnce(Passing) -> Result<S, Close> + Send + 'static,
    {
        Run::new(self, layer, stop).run()
    }
}

impl fmt::Debug for Bridge<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bridge").field("socket", &self.socket).field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// The service of one session.
struct Once<L> {
    layer: Arc<Mutex<Option<L>>>,
    heard: Arc<passing::Heard>,
}

impl<L> Once<L> {
    fn new(layer: L, heard: &Arc<passing::Heard>) -> Self {
        Self { layer: Arc::new(Mutex::new(Some(layer))), heard: Arc::clone(heard) }
    }
}

impl<L> Clone for Once<L> {
    fn clone(&self) -> Self {
        Self { layer: Arc::clone(&self.layer), heard: Arc::clone(&self.heard) }
    }
}

impl<S, L> Service for Once<L>
where
    S: Stream<Mail = Parcel> + 'static,
    L: FnOnce(Passing) -> Result<S, Close> + Send + 'static,
{
    type Session = Outermost<S>;
    fn open(&self, _: &Way) -> Result<Self::Session, Close> {
        let layer = self.layer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let layer = layer.ok_or(Close::Fault("a bridge has one session"))?;
        layer(Passing::new(&self.heard)).map(|session| Outermost::new(session, &self.heard))
    }
    fn lost(&self, _: Address, _: &mut dyn Host<Parcel>) {
        self.heard.lock().gone = Some(Close::Fault("panic"));
    }
}

impl<L> fmt::Debug for Once<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").finish_non_exhaustive()
    }
}
