//! One conversation of `listen`: a pump on a thread, between a peer and standard input and output, or a program.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use sotong_drivers::bridge::Bridge;
use sotong_net::child::{Child, Patience};
use sotong_net::pump::{End, Flow, FlowEnd, Limits, Pump, Report, Rules, Sink, Source, Then};
use sotong_net::signals::Stop;
use sotong_net::socket::Socket;
use sotong_net::wake::Waker;
use sotong_session::{TlsFacts, Way, Wire};

use super::program::Program;
use super::typed::Typed;
use crate::commands::joining::{log_closed, own_rules};
use crate::commands::secure;
use crate::failure::JoinFailure;

/// Unread bytes of a peer that are discarded when its program has left, so that the program's last words are not reset
/// away: programs leave early as a matter of course (`head -1`).
const PROGRAM_LINGER_BYTES: usize = 64 << 20;

/// A peer, and what it is joined to.
pub(super) struct Conversation {
    pub(super) number: u64,
    pub(super) socket: OwnedFd,
    pub(super) way: Way,
    pub(super) kind: Kind,
    /// What is done to the bytes to the peer, and to those from it.
    pub(super) to: Flow,
    pub(super) from: Flow,
    pub(super) limits: Limits,
    /// What speaks TLS with the peer.
    pub(super) secure: Option<Arc<secure::Server>>,
}

/// What a peer is joined to.
pub(super) enum Kind {
    /// Standard input and output, alone.
    Own,
    /// Standard input and output, with others.
    Shared(Arc<Typed>),
    /// A program of its own.
    Program(Arc<Program>),
}

/// A conversation that is over.
pub(super) struct Ended {
    pub(super) number: u64,
    pub(super) peer: String,
    pub(super) wire: Wire,
    pub(super) report: Result<Report, JoinFailure>,
}

/// Where the threads leave word of their ends.
#[derive(Clone)]
pub(super) struct Endings {
    list: Arc<Mutex<Vec<Ended>>>,
    /// Somebody has got through the handshake of TLS.
    met: Arc<AtomicBool>,
    waker: Waker,
}

impl Endings {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { list: Arc::default(), met: Arc::default(), waker: Waker::new()? })
    }

    pub(super) fn take(&self) -> Vec<Ended> {
        self.waker.hush();
        std::mem::take(&mut *self.list.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether somebody has got through the handshake of TLS.
    pub(super) fn has_met(&self) -> bool {
        self.met.load(Ordering::SeqCst)
    }

    fn meet(&self) {
        self.met.store(true, Ordering::SeqCst);
        self.waker.wake();
    }

    fn put(&self, ended: Ended) {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).push(ended);
        self.waker.wake();
    }
}

impl AsFd for Endings {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.waker.as_fd()
    }
}

impl Conversation {
    /// Runs it on a thread of its own, to its end.
    pub(super) fn start(self, endings: &Endings, stop: &Stop) -> io::Result<()> {
        let (endings, stop) = (endings.clone(), stop.clone());
        let (number, wire, peer) = (self.number, self.way.wire, self.way.remote.to_string());
        let run = move || {
            // A panic costs this conversation only; its place must be given back.
            let report = catch_unwind(AssertUnwindSafe(|| self.run(&stop, &endings)));
            let report = report.unwrap_or(Err(JoinFailure::Setup(io::ErrorKind::Other.into())));
            endings.put(Ended { number, peer, wire, report });
        };
        thread::Builder::new().name(format!("conversation {number}")).spawn(run).map(drop)
    }

    fn run(self, stop: &Stop, endings: &Endings) -> Result<Report, JoinFailure> {
        match self.secure.clone() {
            Some(secure) => self.cross(&secure, stop, endings),
            None => self.pump(stop),
        }
    }

    fn pump(self, stop: &Stop) -> Result<Report, JoinFailure> {
        let Self { socket, way, kind, to, from, limits, .. } = self;
        let remote = End::socket(socket).map_err(setup)?;
        let peer = way.remote.to_string();
        let (report, sent, received) = match kind {
            Kind::Program(program) => {
                let (child, end) = program.spawn(&way, None)?;
                let limits = Limits { linger_bytes_max: PROGRAM_LINGER_BYTES, ..limits };
                let pump = Pump::new(remote, end).forth(from).back(to).rules(program_rules(way.wire)).limits(limits);
                let report = pump.run(Some(stop.draining_fd())).map_err(setup)?;
                see_out(&program, &child, &report, stop, &peer);
                (report, report.back, report.forth)
            }
            Kind::Shared(typed) => {
                let mut seat = typed.join().map_err(setup)?;
                let own = End::new(seat.source(), Sink::stdout_kept().map_err(setup)?);
                let pump = Pump::new(own, remote).forth(to).back(from).rules(SHARED_RULES).limits(limits);
                let report = pump.run(Some(stop.draining_fd())).map_err(setup)?;
                (report, report.forth, report.back)
            }
            Kind::Own => {
                let source = Source::stdin().map_err(setup)?;
                let rules = own_rules(&source);
                let own = End::new(source, Sink::stdout().map_err(setup)?);
                let pump = Pump::new(own, remote).forth(to).back(from).rules(rules).limits(limits);
                let report = pump.run(Some(stop.draining_fd())).map_err(setup)?;
                (report, report.forth, report.back)
            }
        };
        log_closed(&peer, &sent, &received, report.time);
        Ok(report)
    }

    /// The same with TLS in between: who does not get through the handshake meets no program, and takes no input away.
    fn cross(self, secure: &secure::Server, stop: &Stop, endings: &Endings) -> Result<Report, JoinFailure> {
        let Self { socket, way, kind, to, from, limits, .. } = self;
        let socket = Socket::from_fd(socket).map_err(setup)?;
        let peer = way.remote.to_string();
        let whose = way.clone();
        // What has to live for as long as the bridge, and what could not be made.
        let (mut child, mut seat, mut failed) = (None, None, None);
        let near: Near<'_>;
        let (rules, limits) = match &kind {
            Kind::Program(program) => {
                near = Box::new(|tls| match program.spawn(&whose, tls) {
                    Ok((spawned, end)) => {
                        child = Some(spawned);
                        Ok(end)
                    }
                    Err(why) => {
                        failed = Some(why);
                        Err(io::ErrorKind::Other.into())
                    }
                });
                (Rules::default(), Limits { linger_bytes_max: PROGRAM_LINGER_BYTES, ..limits })
            }
            Kind::Shared(typed) => {
                near = Box::new(|_| {
                    let seat = seat.insert(typed.join()?);
                    Ok(End::new(seat.source(), Sink::stdout_kept()?))
                });
                (SHARED_RULES, limits)
            }
            Kind::Own => {
                let source = Source::stdin().map_err(setup)?;
                let rules = own_rules(&source);
                near = Box::new(move |_| Ok(End::new(source, Sink::stdout()?)));
                (rules, limits)
            }
        };
        let near = |tls: Option<&TlsFacts>| {
            endings.meet();
            near(tls)
        };
        let bridge = Bridge::when_open(near, socket, way).flows(to, from).rules(rules).limits(limits);
        let crossed = bridge.run(secure.layers(), Some(stop.draining_fd())).map_err(setup)?;
        let mut report = secure::report(&crossed, &peer);
        if let (Kind::Program(program), Some(child)) = (&kind, &child) {
            see_out(program, child, &report, stop, &peer);
        }
        drop(seat);
        if matches!(kind, Kind::Program(_)) {
            // The program is the far side there, as with a pump.
            (report.forth, report.back) = (report.back, report.forth);
        }
        let was_stopped = [report.forth.end, report.back.end].contains(&FlowEnd::Stopped);
        match failed.or_else(|| secure.failure(&crossed, &peer).filter(|_| !was_stopped)) {
            Some(why) => Err(why),
            None => Ok(report),
        }
    }
}

/// Makes what a peer is joined to, once its handshake is done.
type Near<'a> = Box<dyn FnOnce(Option<&TlsFacts>) -> io::Result<End> + 'a>;

/// Who types to several has nothing to finish for one that has ended.
const SHARED_RULES: Rules = Rules { after_b_ended: Then::Finish, after_back_broke: Then::Finish };

/// Waits for a program whose pipes have been closed. What it still does without its peer is its own business, until its time
/// is up or this process is to leave.
fn see_out(program: &Program, child: &Child, report: &Report, stop: &Stop, peer: &str) {
    let is_over = [report.forth.end, report.back.end].contains(&FlowEnd::Idle);
    let left = if is_over { None } else { child.wait_or(stop.draining_fd()) };
    let status = left.or_else(|| child.stop(Patience::default()));
    program.tidy();
    tracing::debug!(peer, status = status.map(tracing::field::display), "exited");
}

/// A program that has said all over UDP is done; over a stream, its peer may still have something for it.
fn program_rules(wire: Wire) -> Rules {
    let after_b_ended = if wire == Wire::Records { Then::Finish } else { Then::GoOn };
    Rules { after_b_ended, ..Rules::default() }
}

fn setup(fault: io::Error) -> JoinFailure {
    JoinFailure::Setup(fault)
}
