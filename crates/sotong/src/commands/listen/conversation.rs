//! One conversation of `listen`: a pump on a thread, between a peer and standard input and output, or a program.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use sotong_net::child::Patience;
use sotong_net::pump::{End, Flow, FlowEnd, Limits, Pump, Report, Rules, Sink, Source, Then};
use sotong_net::signals::Stop;
use sotong_net::wake::Waker;
use sotong_session::{Way, Wire};

use super::program::Program;
use super::typed::Seat;
use crate::commands::joining::{log_closed, own_rules};
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
}

/// What a peer is joined to.
pub(super) enum Kind {
    /// Standard input and output, alone.
    Own,
    /// Standard input and output, with others.
    Shared(Seat),
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
    waker: Waker,
}

impl Endings {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { list: Arc::default(), waker: Waker::new()? })
    }

    pub(super) fn take(&self) -> Vec<Ended> {
        self.waker.hush();
        std::mem::take(&mut *self.list.lock().unwrap_or_else(PoisonError::into_inner))
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
            let report = catch_unwind(AssertUnwindSafe(|| self.run(&stop)));
            let report = report.unwrap_or(Err(JoinFailure::Setup(io::ErrorKind::Other.into())));
            endings.put(Ended { number, peer, wire, report });
        };
        thread::Builder::new().name(format!("conversation {number}")).spawn(run).map(drop)
    }

    fn run(self, stop: &Stop) -> Result<Report, JoinFailure> {
        let Self { socket, way, kind, to, from, limits, .. } = self;
        let remote = End::socket(socket).map_err(setup)?;
        let peer = way.remote.to_string();
        let (report, sent, received) = match kind {
            Kind::Program(program) => {
                let (child, end) = program.spawn(&way)?;
                let limits = Limits { linger_bytes_max: PROGRAM_LINGER_BYTES, ..limits };
                let pump = Pump::new(remote, end).forth(from).back(to).rules(program_rules(way.wire)).limits(limits);
                let report = pump.run(Some(stop.draining_fd())).map_err(setup)?;
                // What it still does without its peer is its own business, until its time is up or this process is to leave.
                let is_over = [report.forth.end, report.back.end].contains(&FlowEnd::Idle);
                let left = if is_over { None } else { child.wait_or(stop.draining_fd()) };
                let status = left.or_else(|| child.stop(Patience::default()));
                program.tidy();
                tracing::debug!(peer, status = status.map(tracing::field::display), "exited");
                (report, report.back, report.forth)
            }
            Kind::Shared(mut seat) => {
                let own = End::new(seat.source(), Sink::stdout_kept().map_err(setup)?);
                // Who types to several has nothing to finish for one that has ended.
                let rules = Rules { after_b_ended: Then::Finish, after_back_broke: Then::Finish };
                let pump = Pump::new(own, remote).forth(to).back(from).rules(rules).limits(limits);
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
}

/// A program that has said all over UDP is done; over a stream, its peer may still have something for it.
fn program_rules(wire: Wire) -> Rules {
    let after_b_ended = if wire == Wire::Records { Then::Finish } else { Then::GoOn };
    Rules { after_b_ended, ..Rules::default() }
}

fn setup(fault: io::Error) -> JoinFailure {
    JoinFailure::Setup(fault)
}
