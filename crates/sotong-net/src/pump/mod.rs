//! The pump: joins two ends and moves bytes both ways until both are done.
//!
//! It is the only way of bytes without a session. Each direction has a thread and a bounded buffer of its own, so that a
//! slow reader on one side never holds up the other direction; where the system can, bytes go from kernel to kernel
//! (`splice`, `sendfile`). The end of one side's input is passed on as a half-close, and the other direction goes on for as
//! long as it has something to say. Queued output is never cut for being slow: only [`Limits`] and [`Rules`] end it.
mod ends;
mod filter;
mod flow;
mod hand;
mod tap;
mod text;

use self::{
    ends::Handle,
    flow::{Ended, Line, Mover, Order},
};
pub use self::{
    ends::{End, Sink, Source},
    filter::Filter,
    hand::{Came, Reader, Went, Writer},
    tap::{Dump, Form, Tap},
};
use crate::wake;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{RecvFlags, Shutdown, recv, shutdown},
};
use std::{
    fmt, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// Bytes of the longest datagram that is made of what was read: what UDP over IPv4 carries (RFC 768, RFC 791: 65,535 less both headers).
pub const RECORD_BYTES_MAX: usize = 65_507;
/// Bytes of a mover's stack: its buffers are on the heap.
const STACK_BYTES: usize = 128 << 10;
/// How long a direction that was told to leave at once may stay in a system call that cannot be interrupted.
const CUT_TIME_MAX: Duration = Duration::from_secs(1);

/// Two ends, joined.
///
/// ```no_run
/// use sotong_net::pump::{End, Pump};
/// # fn connection() -> std::os::fd::OwnedFd { unimplemented!() }
/// let report = Pump::new(End::stdio()?, End::socket(connection())?).run(None)?;
/// eprintln!("sent {} bytes, received {}", report.forth.bytes, report.back.bytes);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Pump {
    a: End,
    b: End,
    forth: Flow,
    back: Flow,
    rules: Rules,
    limits: Limits,
}

/// What is done to one direction's bytes. Anything here makes it use buffers where it could splice.
#[derive(Default)]
pub struct Flow {
    /// Turns LF into CR LF, and leaves CR LF as it is.
    pub crlf: bool,
    /// Sees every byte that is about to be written; an error ends the direction.
    pub tap: Option<Tap>,
}

/// What happens to one direction when the other is over. The default: nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// When B has no more to say (`back` is at its end).
    pub after_b_ended: Then,
    /// When nobody takes what B says any more (`back` broke): B's bytes are read and forgotten meanwhile.
    pub after_back_broke: Then,
}

/// What one direction does when the other is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Then {
    /// Goes on to its own end.
    #[default]
    GoOn,
    /// Reads no more, writes what it has read, and ends.
    Finish,
}

/// How long a pump may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time without a byte moved either way. None by default.
    pub idle: Option<Duration>,
    /// Time in all. None by default.
    pub total: Option<Duration>,
    /// Time without a byte moved after A has no more to say, in place of `idle`; then the pump ends well. For B without an
    /// end of its own (UDP). None by default.
    pub quiet: Option<Duration>,
    /// Time for what is queued once the pump is stopped, or one direction has failed or broken and the other finishes.
    /// Default 10 s.
    pub drain: Duration,
    /// Time that an ended connection is read for, so that unread bytes make no reset of the last words. Default 1 s.
    pub linger: Duration,
    /// Bytes that are read for the same. Default 64 KiB.
    pub linger_bytes_max: usize,
}

/// What a pump has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// From A to B.
    pub forth: Passed,
    /// From B to A.
    pub back: Passed,
    /// From start to end, the closing included.
    pub time: Duration,
}

/// What one direction has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// Bytes written.
    pub bytes: u64,
    /// Why it ended.
    pub end: FlowEnd,
    /// Whether a connection said one alert of TLS (RFC 8446, section 6) and nothing else: a server that was spoken to in plain
    /// text where it speaks TLS.
    pub tls_alert: bool,
}

/// Why a direction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowEnd {
    /// Its source had no more, and all of it was written.
    EndOfInput,
    /// The other direction was over, and by the rules this one had no reason to go on.
    Released,
    /// Nothing moved for [`Limits::quiet`].
    Quiet,
    /// The peer reset the connection.
    PeerReset,
    /// Nobody reads what is written.
    BrokenPipe,
    /// Nothing moved for [`Limits::idle`].
    Idle,
    /// [`Limits::total`] was over.
    TimeUp,
    /// The pump was stopped.
    Stopped,
    /// A layer in between ended it; the word is the reason's, as in logs.
    Layer(&'static str),
    /// A system call failed.
    Failed(Fault),
}

/// A system call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What was being done.
    pub act: Act,
    /// The kind of error.
    pub kind: io::ErrorKind,
    /// The system's number for it, if it has one.
    pub code: Option<i32>,
}

/// What was being done when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Reading the source.
    Read,
    /// Writing to the sink.
    Write,
    /// Showing bytes to the tap.
    Log,
}

impl Pump {
    /// Joins `a` and `b`.
    pub fn new(a: End, b: End) -> Self {
        Self { a, b, forth: Flow::default(), back: Flow::default(), rules: Rules::default(), limits: Limits::default() }
    }
    /// What is done to the bytes from A to B.
    #[must_use]
    pub fn forth(self, forth: Flow) -> Self {
        Self { forth, ..self }
    }
    /// What is done to the bytes from B to A.
    #[must_use]
    pub fn back(self, back: Flow) -> Self {
        Self { back, ..self }
    }
    /// What happens to one direction when the other is over.
    #[must_use]
    pub fn rules(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }
    /// How long it may take.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }
    /// Moves bytes until both directions are over, then closes. Both stop once `stop` is readable.
    ///
    /// Uses two threads and at most 11 descriptors beside those of the ends, and 64 KiB of buffers or 1 MiB of pipe for
    /// each direction.
    ///
    /// # Errors
    /// A thread or a descriptor could not be had; nothing was moved. What fails later is in the report.
    pub fn run(self, stop: Option<BorrowedFd<'_>>) -> io::Result<Report> {
        let Self { a, b, forth, back, rules, limits } = self;
        let start = Instant::now();
        let news = Arc::new(wake::event()?);
        let lines = [Arc::new(Line::new(start, news.clone())?), Arc::new(Line::new(start, news.clone())?)];
        let connections = [a.connection(), b.connection()];
        let movers = [
            Mover::new(a.source, b.sink, forth, &lines[FORTH], &lines[BACK]),
            Mover::new(b.source, a.sink, back, &lines[BACK], &lines[FORTH]),
        ];
        for mover in movers {
            let thread = thread::Builder::new().name("pump".into()).stack_size(STACK_BYTES);
            if let Err(error) = thread.spawn(move || mover.run()) {
                lines.iter().for_each(|line| line.give(Order::Cut));
                return Err(error);
            }
        }
        let mut watch = Watch { lines, causes: [None; 2], drain_until: None, rules, limits, start, news, stop };
        watch.run();
        let ends = watch.ends();
        connections.iter().flatten().for_each(|connection| close(connection, &limits));
        let [forth, back] = [FORTH, BACK].map(|flow| {
            let (bytes, first) = (watch.lines[flow].bytes(), watch.lines[flow].first());
            let tls_alert = bytes == first.len() as u64 && matches!(first, [0x15, 3, _, 0, 2, 1 | 2, _]);
            Passed { bytes, end: ends[flow], tls_alert }
        });
        Ok(Report { forth, back, time: start.elapsed() })
    }
}

/// The two movers, seen by the thread that keeps the deadlines.
struct Watch<'a> {
    lines: [Arc<Line>; 2],
    /// Why each was given an order.
    causes: [Option<FlowEnd>; 2],
    /// When those that drain are cut.
    drain_until: Option<Instant>,
    rules: Rules,
    limits: Limits,
    start: Instant,
    news: Arc<OwnedFd>,
    stop: Option<BorrowedFd<'a>>,
}

const FORTH: usize = 0;
const BACK: usize = 1;

impl Watch<'_> {
    fn run(&mut self) {
        let mut seen = [false; 2];
        while self.lines.iter().any(|line| line.state().ended.is_none()) {
            if self.wait() {
                self.stop = None;
                self.finish(FORTH, FlowEnd::Stopped, self.limits.drain);
                self.finish(BACK, FlowEnd::Stopped, self.limits.drain);
            }
            for flow in [FORTH, BACK] {
                if let Some((ended, _)) = self.lines[flow].state().ended
                    && !std::mem::replace(&mut seen[flow], true)
                {
                    self.react(flow, ended);
                }
            }
            let now = Instant::now();
            if let Some((_, cause)) = self.deadlines().into_iter().flatten().find(|(at, _)| *at <= now) {
                self.cut(cause);
                break;
            }
        }
        self.leave();
    }

    /// Sleeps until there is news, a deadline has come or the stop is readable: then `true`.
    fn wait(&self) -> bool {
        let mut fds = [
            PollFd::from_borrowed_fd(self.news.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.stop.unwrap_or(self.news.as_fd()), PollFlags::IN),
        ];
        let until = self.deadlines().into_iter().flatten().map(|(at, _)| at).min();
        // An interrupted wait is one look more.
        _ = poll(&mut fds, until.map(left).as_ref());
        wake::hush(&self.news);
        self.stop.is_some() && !fds[1].revents().is_empty()
    }

    /// When which limit ends the pump; without a cause where one was named when the order was given.
    fn deadlines(&self) -> [Option<(Instant, Option<FlowEnd>)>; 4] {
        let moved = self.lines.iter().map(|line| line.moved_at()).max().unwrap_or(self.start);
        let quiet = match self.lines[FORTH].state().ended {
            Some((Ended::EndOfInput, at)) => self.limits.quiet.map(|quiet| at.max(moved) + quiet),
            _ => None,
        };
        let idle = self.limits.idle.filter(|_| quiet.is_none());
        [
            self.limits.total.map(|total| (self.start + total, Some(FlowEnd::TimeUp))),
            idle.map(|idle| (moved + idle, Some(FlowEnd::Idle))),
            quiet.map(|at| (at, Some(FlowEnd::Quiet))),
            self.drain_until.map(|at| (at, None)),
        ]
    }

    /// Applies the rules to the direction beside one that is over.
    fn react(&mut self, flow: usize, ended: Ended) {
        let other = 1 - flow;
        match ended {
            Ended::EndOfInput if flow == BACK && self.rules.after_b_ended == Then::Finish => {
                self.order(other, Order::Drain, FlowEnd::Released);
            }
            Ended::BrokenPipe if flow == BACK && self.rules.after_back_broke == Then::Finish => {
                self.finish(other, FlowEnd::Released, self.limits.drain);
            }
            Ended::Failed(_) => self.finish(other, FlowEnd::Released, self.limits.drain),
            // Nothing can be sent to where the reset came from.
            Ended::SourceReset => {
                self.finish(other, FlowEnd::PeerReset, CUT_TIME_MAX);
                self.lines[other].give(Order::Cut);
            }
            // A reset seen by the sender leaves what was received before it, and its end, to the reader.
            Ended::EndOfInput | Ended::BrokenPipe | Ended::SinkReset | Ended::Ordered => {}
        }
    }

    /// Lets a direction write what it has read, within `time`.
    fn finish(&mut self, flow: usize, cause: FlowEnd, time: Duration) {
        self.order(flow, Order::Drain, cause);
        let until = Instant::now() + time;
        self.drain_until = Some(self.drain_until.map_or(until, |at| at.min(until)));
    }

    fn order(&mut self, flow: usize, order: Order, cause: FlowEnd) {
        self.causes[flow].get_or_insert(cause);
        self.lines[flow].give(order);
    }

    fn cut(&mut self, cause: Option<FlowEnd>) {
        for flow in [FORTH, BACK] {
            if self.lines[flow].state().ended.is_none() {
                self.causes[flow] = cause.or(self.causes[flow]);
            }
        }
    }

    /// Ends what still runs, or discards, and waits until nothing is held any more.
    fn leave(&self) {
        self.lines.iter().for_each(|line| line.give(Order::Cut));
        let until = Instant::now() + CUT_TIME_MAX;
        while self.lines.iter().any(|line| !line.state().left) && Instant::now() < until {
            _ = poll(&mut [PollFd::from_borrowed_fd(self.news.as_fd(), PollFlags::IN)], Some(&left(until)));
            wake::hush(&self.news);
        }
    }

    fn ends(&self) -> [FlowEnd; 2] {
        let ended = [FORTH, BACK].map(|flow| self.lines[flow].state().ended);
        [FORTH, BACK].map(|flow| {
            let other = ended[1 - flow].map(|(end, _)| end);
            match ended[flow].map(|(end, _)| end) {
                // One socket serves both directions and tells of the reset once: the other saw what was left to see.
                Some(Ended::EndOfInput) if other == Some(Ended::SinkReset) => FlowEnd::PeerReset,
                Some(Ended::BrokenPipe) if other == Some(Ended::SourceReset) => FlowEnd::PeerReset,
                Some(Ended::EndOfInput) => FlowEnd::EndOfInput,
                Some(Ended::SourceReset | Ended::SinkReset) => FlowEnd::PeerReset,
                Some(Ended::BrokenPipe) => FlowEnd::BrokenPipe,
                Some(Ended::Failed(fault)) => FlowEnd::Failed(fault),
                Some(Ended::Ordered) | None => self.causes[flow].unwrap_or(FlowEnd::Stopped),
            }
        })
    }
}

/// The one close routine, its second half: what was queued has been written. Half-closes, discards what the peer still
/// sends, within the limits, and lets the descriptor go with the last handle.
fn close(connection: &Handle, limits: &Limits) {
    // The peer may be gone, and then there is nobody to tell.
    _ = shutdown(connection, Shutdown::Write);
    let until = Instant::now() + limits.linger;
    let mut buffer = vec![0; limits.linger_bytes_max.min(CLOSE_BUFFER_BYTES)];
    let mut bytes_left = limits.linger_bytes_max;
    while bytes_left > 0 && Instant::now() < until {
        let most = buffer.len().min(bytes_left);
        match recv(connection, &mut buffer[..most], RecvFlags::DONTWAIT) {
            Ok((0, _)) => return,
            Ok((count, _)) => bytes_left -= count,
            Err(Errno::AGAIN) => {
                _ = poll(&mut [PollFd::from_borrowed_fd(connection.as_fd(), PollFlags::IN)], Some(&left(until)));
            }
            Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

const CLOSE_BUFFER_BYTES: usize = 16 << 10;

fn left(until: Instant) -> Timespec {
    let left = until.saturating_duration_since(Instant::now());
    Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            idle: None,
            total: None,
            quiet: None,
            drain: Duration::from_secs(10),
            linger: Duration::from_secs(1),
            linger_bytes_max: 64 << 10,
        }
    }
}

impl Fault {
    fn new(act: Act, errno: Errno) -> Self {
        Self::of(act, &errno.into())
    }
    fn of(act: Act, error: &io::Error) -> Self {
        Self { act, kind: error.kind(), code: error.raw_os_error() }
    }
    /// The error as the system words it.
    pub fn error(&self) -> io::Error {
        self.code.map_or_else(|| self.kind.into(), io::Error::from_raw_os_error)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let act = match self.act {
            Act::Read => "reading",
            Act::Write => "writing",
            Act::Log => "logging",
        };
        write!(f, "{act}: {}", self.error())
    }
}

impl fmt::Display for FlowEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EndOfInput => "end of input",
            Self::Released => "released",
            Self::Quiet => "quiet",
            Self::PeerReset => "peer reset",
            Self::BrokenPipe => "broken pipe",
            Self::Idle => "idle",
            Self::TimeUp => "time up",
            Self::Stopped => "stopped",
            Self::Layer(word) => word,
            Self::Failed(fault) => return fault.fmt(f),
        })
    }
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow").field("crlf", &self.crlf).field("tap", &self.tap.is_some()).finish()
    }
}
