//! `sotong listen`: waits for connections and joins them to a terminal, a pipe, or a program each.
//!
//! One thread waits for everything (listeners, UDP sockets, connections that have ended, the stop); each conversation has a
//! pump of its own on another. Without `-k` the listeners are closed once somebody has come.

mod conversation;
mod datagrams;
mod program;
mod typed;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sotong_net::clock::Clock;
use sotong_net::descriptors::{self, CapBound};
use sotong_net::dial::parse_source;
use sotong_net::endpoint::{Endpoint, HostPort};
use sotong_net::listen::{Bound, ListenOptions, ListenProblem, listen};
use sotong_net::listener::{AcceptBackoff, AcceptError, Listener};
use sotong_net::passed::take_passed;
use sotong_net::pump::{Act, FlowEnd, Limits};
use sotong_net::signals::{Stage, Stop, catch_hangup};
use sotong_net::socket::Socket;
use sotong_session::Way;
use sotong_session::cidr::{AccessList, Cidr};

use self::conversation::{Conversation, Ended, Endings, Kind};
use self::datagrams::Relay;
use self::program::Program;
use self::typed::Typed;
use super::joining::{Joining, Side, catch, signal_code, verdict};
use super::secure;
use super::serve::way_in;
use super::serve_tls::Tls;
use crate::catalogue::{Catalogue, text};
use crate::cli::Listen;
use crate::console::Console;
use crate::failure::{Failure, JoinFailure};

/// Descriptors that one conversation needs at most: its socket, a program's pipes, the pump's own.
const DESCRIPTORS_EACH: usize = 16;

/// Waits for connections and joins them.
pub(crate) fn run(args: &Listen, console: &Console) -> Result<ExitCode, Failure> {
    // Before there is a thread.
    let passed = take_passed().map_err(Failure::Passed)?;
    let joining = Joining::new(&args.way)?;
    let program = args.exec.as_deref().map(|line| Program::find(line, &args.exec_args)).transpose()?.map(Arc::new);
    let access = access(args)?;
    let endpoints = endpoints(args)?;
    let speaks_tls = |bound: &Bound| bound.endpoint().is_tls();
    let tls = Tls::new(&args.tls, endpoints.iter().any(Endpoint::is_tls) || passed.iter().any(speaks_tls))?;
    let runs = program.clone();
    let (stop, _caught) = catch(move || runs.iter().for_each(|program| program.kill()))?;
    let bound = if passed.is_empty() { bind(args, &endpoints, &joining, &stop)? } else { Some(passed) };
    let Some(bound) = bound else { return Ok(ExitCode::from(signal_code(&stop))) };
    // Only who goes on has somebody to show another certificate to.
    let renew = tls.as_ref().filter(|_| args.keep_open).map(|tls| tls.renewed("listen")).transpose().map_err(setup)?;
    let _renewed = renew.as_ref().map(|renew| catch_hangup(Some(renew))).transpose().map_err(setup)?;
    let server = Server {
        args,
        console,
        joining,
        program,
        secure: tls.as_ref().map(|tls| Arc::new(secure::Server::new(tls))),
        tls,
        access,
        stop,
        conns_max: conversations_max(args, console),
        endings: Endings::new().map_err(setup)?,
        typed: Typed::new(),
        begun: 0,
        met: false,
        running: 0,
        backoff: AcceptBackoff::default(),
        clock: Clock::start(),
        failed: None,
    };
    server.announce(&bound);
    server.run(bound)
}

struct Server<'a> {
    args: &'a Listen,
    console: &'a Console,
    joining: Joining<'a>,
    program: Option<Arc<Program>>,
    tls: Option<Tls>,
    secure: Option<Arc<secure::Server>>,
    access: AccessList,
    stop: Stop,
    conns_max: usize,
    endings: Endings,
    typed: Arc<Typed>,
    /// Conversations begun, for their names in the log.
    begun: u64,
    /// Somebody has come, and got through the handshake where there is one.
    met: bool,
    running: usize,
    backoff: AcceptBackoff,
    clock: Clock,
    /// The first failure of our own output, which is everybody's.
    failed: Option<Failure>,
}

impl Server<'_> {
    /// One line an address, in the form of the servers: what begins with a scheme is the address.
    fn announce(&self, bound: &[Bound]) {
        for bound in bound {
            let address = bound.endpoint().to_string();
            if self.console.speaks() {
                self.console.say(&text!(self.console.catalogue, "listen-listening", address = address));
            } else {
                tracing::info!(service = "listen", address, pid = std::process::id(), "listening");
            }
        }
        if let Some(tls) = &self.tls {
            tls.announce(self.console);
            let at = bound.iter().map(Bound::endpoint).find(Endpoint::is_tls);
            if let Some((at, pin)) = at.zip(tls.pin()) {
                let command = way_in(&at, "listen", Some(pin));
                self.console.say(&text!(self.console.catalogue, "serve-try", command = command));
            }
        }
        let exposed = bound.iter().map(Bound::endpoint).find(|at| !at.is_local());
        if let Some(at) = exposed.filter(|_| self.program.is_some() && self.access.is_empty()) {
            let line = |catalogue: &Catalogue| text!(catalogue, "listen-exposed", address = at.to_string());
            self.console.warn("program open to anybody", line);
        }
    }

    fn run(mut self, bound: Vec<Bound>) -> Result<ExitCode, Failure> {
        let (mut listeners, mut relays) = (Vec::new(), Vec::new());
        for bound in bound {
            match bound {
                Bound::Stream(listener) => listeners.push(listener),
                Bound::Datagrams(sockets) => relays.extend(sockets.into_iter().map(Relay::new)),
            }
        }
        let come_by = self.joining.timeout().filter(|_| !self.args.keep_open).map(|time| (Instant::now() + time, time));
        loop {
            let stopping = self.stop.is_stopping();
            if stopping {
                listeners.clear();
            }
            if self.running == 0 && (stopping || self.is_over()) {
                break;
            }
            let nobody_yet = come_by.filter(|_| !self.met && self.running == 0);
            if let Some((at, time_max)) = nobody_yet
                && Instant::now() >= at
            {
                return Err(Failure::Join(JoinFailure::NobodyCame { time_max }));
            }
            let ready = self.wait(&listeners, &relays, nobody_yet.map(|(at, _)| at)).map_err(setup)?;
            for relay in &mut relays {
                relay.receive(|way| self.begin_datagrams(way))?;
                relay.send();
            }
            if let Some(verdict) = self.take_endings(&mut relays) {
                return verdict;
            }
            if ready && !self.stop.is_stopping() {
                self.accept(&listeners)?;
            }
            if self.is_over() {
                listeners.clear();
            }
        }
        match self.failed.take() {
            Some(failure) => Err(failure),
            // A server that has drained has done what it was asked to.
            None if self.args.keep_open => Ok(ExitCode::SUCCESS),
            None => Ok(ExitCode::from(signal_code(&self.stop))),
        }
    }

    /// Whether nobody else is let in: somebody has come, and there is no `-k`.
    fn is_over(&self) -> bool {
        !self.args.keep_open && self.met
    }

    /// Whether somebody is let in now; without `-k` who comes while another one is at the handshake has to wait.
    fn has_room(&self) -> bool {
        let at_once = if self.args.keep_open { self.conns_max } else { 1 };
        self.running < at_once && !self.is_over()
    }

    /// Sleeps until there is something to do. Whether a connection may be accepted.
    fn wait(&mut self, listeners: &[Listener], relays: &[Relay], until: Option<Instant>) -> io::Result<bool> {
        let paused = self.backoff.until().map(|at| self.clock.until(at)).filter(|left| !left.is_zero());
        let accepts = self.has_room() && paused.is_none();
        let mut fds = vec![PollFd::from_borrowed_fd(self.endings.as_fd(), PollFlags::IN)];
        if !self.stop.is_stopping() {
            fds.push(PollFd::from_borrowed_fd(self.stop.draining_fd(), PollFlags::IN));
        }
        for relay in relays {
            fds.extend(relay.fds().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        }
        if accepts {
            fds.extend(listeners.iter().map(|one| PollFd::from_borrowed_fd(one.as_fd(), PollFlags::IN)));
        }
        let left = until.map(|at| at.saturating_duration_since(Instant::now()));
        let left = left.into_iter().chain(paused.filter(|_| self.has_room())).min();
        match poll(&mut fds, left.map(timespec).as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(accepts),
            Err(errno) => Err(errno.into()),
        }
    }

    fn accept(&mut self, listeners: &[Listener]) -> Result<(), Failure> {
        for listener in listeners {
            while self.has_room() {
                match listener.accept(true) {
                    Ok((socket, way)) => {
                        self.backoff.succeeded();
                        if self.admits(&way) {
                            self.begin_stream(socket, &way, listener.endpoint().is_tls())?;
                        }
                    }
                    Err(AcceptError::NotNow) => break,
                    Err(AcceptError::Broken(_)) => {}
                    Err(AcceptError::Exhausted(errno)) => {
                        let pause = self.backoff.failed(self.clock.now());
                        if pause.say {
                            tracing::warn!(errno, "no descriptors left; accepting is paused");
                        }
                        return Ok(());
                    }
                    Err(AcceptError::Fatal(errno)) => {
                        return Err(setup(io::Error::from_raw_os_error(errno)));
                    }
                }
            }
        }
        Ok(())
    }

    fn admits(&self, way: &Way) -> bool {
        let admitted = self.access.admits(&way.remote);
        if !admitted {
            tracing::debug!(peer = %way.remote, "denied");
        }
        admitted
    }

    fn begin_stream(&mut self, socket: Socket, way: &Way, is_tls: bool) -> Result<(), Failure> {
        let secure = self.secure.clone().filter(|_| is_tls);
        let begun = self.begin(socket.into(), way, self.joining.limits(), secure);
        self.told(begun)
    }

    /// Begins a conversation over UDP, if there is room for one more: its number, and our end of its datagrams.
    fn begin_datagrams(&mut self, way: &Way) -> Result<Option<(u64, UnixDatagram)>, Failure> {
        if self.stop.is_stopping() || !self.has_room() || !self.admits(way) {
            return Ok(None);
        }
        let number = self.begun;
        let (ours, theirs) = UnixDatagram::pair().map_err(setup)?;
        ours.set_nonblocking(true).map_err(setup)?;
        let shared = self.args.keep_open || self.program.is_some();
        let begun = self.begin(theirs.into(), way, datagrams::limits(&self.joining, shared), None);
        let is_begun = begun.is_ok();
        self.told(begun)?;
        Ok(is_begun.then_some((number, ours)))
    }

    /// A conversation that cannot begin costs itself only, unless it is the only one.
    fn told(&mut self, begun: Result<(), Failure>) -> Result<(), Failure> {
        match begun {
            Err(failure) if self.args.keep_open => {
                self.console.fail(&failure);
                Ok(())
            }
            begun => begun,
        }
    }

    fn begin(
        &mut self,
        socket: OwnedFd,
        way: &Way,
        limits: Limits,
        secure: Option<Arc<secure::Server>>,
    ) -> Result<(), Failure> {
        let peer = way.remote.to_string();
        let kind = match &self.program {
            Some(program) => Kind::Program(program.clone()),
            None if self.args.keep_open => Kind::Shared(self.typed.clone()),
            None => Kind::Own,
        };
        self.met |= secure.is_none();
        let (to, from) = self.joining.flows(&peer);
        tracing::debug!(peer, local = %way.local, "opened");
        let number = self.begun;
        let conversation = Conversation { number, socket, way: way.clone(), kind, to, from, limits, secure };
        conversation.start(&self.endings, &self.stop).map_err(setup)?;
        self.begun += 1;
        self.running += 1;
        Ok(())
    }

    /// What the ended conversations tell; the exit code if the only one is among them.
    fn take_endings(&mut self, relays: &mut [Relay]) -> Option<Result<ExitCode, Failure>> {
        self.met |= self.endings.has_met();
        for ended in self.endings.take() {
            self.running -= 1;
            relays.iter_mut().for_each(|relay| relay.forget(ended.number));
            // Who did not get through the handshake has not come.
            if !self.args.keep_open && (self.met || self.stop.is_stopping()) {
                return Some(self.only(ended));
            }
            let report = match ended.report {
                Ok(report) => report,
                Err(why) => {
                    self.console.fail(&Failure::Join(why));
                    continue;
                }
            };
            // Programs have outputs of their own; standard output is everybody's.
            match report.back.end {
                _ if self.program.is_some() => {}
                FlowEnd::BrokenPipe => self.stop.drain(),
                FlowEnd::Failed(why) if why.act != Act::Read => {
                    let why = match why.act {
                        Act::Log => JoinFailure::Log(why),
                        Act::Read | Act::Write => JoinFailure::Output(why),
                    };
                    self.failed.get_or_insert(Failure::Join(why));
                    self.stop.drain();
                }
                _ => {}
            }
        }
        None
    }

    fn only(&self, ended: Ended) -> Result<ExitCode, Failure> {
        let report = ended.report.map_err(Failure::Join)?;
        let side = if self.program.is_some() { Side::A } else { Side::B };
        verdict(&report, side, ended.wire, &ended.peer, self.joining.timeout(), &self.stop)
    }
}

/// Where to listen: `--source` stands in for the host.
fn endpoints(args: &Listen) -> Result<Vec<Endpoint>, Failure> {
    let fail = |text: &str| {
        let text = text.to_owned();
        move |why| Failure::Address { text, why }
    };
    let source = args.way.source.as_deref().map(|text| parse_source(text).map_err(fail(text))).transpose()?;
    let parsed = args.addresses.iter().map(|text| {
        let endpoint: Endpoint = text.parse().map_err(fail(text))?;
        if endpoint.ws_path().is_some() {
            return Err(Failure::NoMessages { command: "listen", address: text.clone() });
        }
        let Some(source) = source else { return Ok(endpoint) };
        let place = |at: HostPort| {
            let port = if at.port == 0 { source.port() } else { at.port };
            HostPort::of(SocketAddr::new(source.ip(), port))
        };
        Ok(match endpoint {
            Endpoint::Tcp(at) => Endpoint::Tcp(place(at)),
            Endpoint::Udp(at) => Endpoint::Udp(place(at)),
            Endpoint::Tls(at) => Endpoint::Tls(place(at)),
            Endpoint::Unix(_) | Endpoint::TlsUnix(_) | Endpoint::Ws(..) | Endpoint::Wss(..) => endpoint,
        })
    });
    parsed.collect()
}

fn access(args: &Listen) -> Result<AccessList, Failure> {
    let read = |texts: &[String]| {
        let parsed = texts.iter().map(|text| {
            text.parse::<Cidr>().map_err(|why| Failure::Join(JoinFailure::Network { text: text.to_owned(), why }))
        });
        parsed.collect::<Result<_, _>>()
    };
    Ok(AccessList { allow: read(&args.allow)?, deny: read(&args.deny)? })
}

/// Listens; `None` if it was stopped while it waited to try again.
fn bind(
    args: &Listen,
    endpoints: &[Endpoint],
    joining: &Joining<'_>,
    stop: &Stop,
) -> Result<Option<Vec<Bound>>, Failure> {
    let keepalive = args.way.keepalive.map(|span| span.0);
    let options = ListenOptions { family: joining.family(), keepalive, ..ListenOptions::default() };
    let retry = joining.retry();
    let mut wait = retry.wait;
    for attempt in 1.. {
        match listen(endpoints, &options) {
            Ok(bound) => return Ok(Some(bound)),
            Err(error) if attempt <= retry.times && error.why == ListenProblem::InUse => {
                tracing::debug!(why = %error, attempt, seconds = wait.as_secs_f64(), "retrying");
            }
            Err(error) => return Err(Failure::Listen(error)),
        }
        if stop.wait_for(Stage::Draining, Some(wait)) {
            return Ok(None);
        }
        wait = (wait * 2).min(retry.wait_max);
    }
    unreachable!("the loop ends by returning")
}

/// Conversations at once: what is asked for, or what the descriptors are enough for.
fn conversations_max(args: &Listen, console: &Console) -> usize {
    let cap = descriptors::cap(Some(args.max_conns as usize), descriptors::raise_limit(), DESCRIPTORS_EACH);
    if cap.bound == CapBound::Descriptors {
        let line = |catalogue: &Catalogue| text!(catalogue, "serve-conns-capped", count = cap.connections);
        console.warn("connections capped", line);
    }
    cap.connections
}

fn setup(fault: io::Error) -> Failure {
    Failure::Join(JoinFailure::Setup(fault))
}

fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX), tv_nsec: time.subsec_nanos().into() }
}
