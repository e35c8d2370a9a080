//! What every server command does: addresses → sockets → start-up lines → the driver → the drain → an exit code.

mod announce;

use std::io::{self, Write};
use std::sync::Arc;
use std::thread;

use sotong_certs::Fingerprint;
use sotong_drivers::processes::{self, Worker};
use sotong_drivers::{self as drivers, Missing, Options, Plan, Report, ServeError};
use sotong_http::ws::Sockets;
use sotong_layers::{IdleLimit, IdleLimits};
use sotong_net::descriptors::{self, CapBound};
use sotong_net::endpoint::Endpoint;
use sotong_net::listen::{Bound, ListenOptions, listen};
use sotong_net::listener::Listener;
use sotong_net::passed::take_passed;
use sotong_net::signals::{Renew, Stage, Stop, catch_hangup, catch_signals};
use sotong_session::{Address, Close, Host as Driver, Records, Service, Session, Stream, Way};
use sotong_shard::Mail;
use sotong_tls::Front;

use super::serve_tls::{Tls, reload_certificates, when_asked};
use crate::catalogue::{Catalogue, text};
use crate::cli::{Model, Serve};
use crate::console::Console;
use crate::failure::{Failure, Usage};
use crate::reporter::Reporter;
use crate::units::Span;
pub(super) use announce::way_in;

/// Serves until a signal comes.
pub(crate) fn run<S>(name: &'static str, args: &Serve, service: S, console: &Console) -> Result<(), Failure>
where
    S: Service + Sync,
    S::Session: Stream + Records,
{
    let (model, why_not_best) = args.model.choose().map_err(Failure::Serve)?;
    model.check::<S>().map_err(|why| Failure::Model { service: name, why })?;
    let server = Server::open(name, args, FrontDoor::Plain, (model, why_not_best), console)?;
    let limits = IdleLimits { silence: args.idle.map(|Span(silence)| silence), ..IdleLimits::default() };
    match (server.tls.first().cloned(), args.idle) {
        (None, None) if !server.speaks_ws => {
            server.run(|bound, options, stop| sotong_drivers::serve(model, service, bound, options, stop))
        }
        (None, _) if !server.speaks_ws => {
            let service = Idle { service, limits };
            server.run(|bound, options, stop| sotong_drivers::serve(model, service, bound, options, stop))
        }
        // Silence is that of words, and whoever is left for it gets his end mark.
        (None, _) => {
            let service = Sockets::new(Idle { service, limits }, args.ws.options());
            server.run(|bound, options, stop| sotong_drivers::serve(model, service, bound, options, stop))
        }
        (Some(tls), _) => {
            let service = tls.secure(Sockets::new(Idle { service, limits }, args.ws.options()));
            server.run(|bound, options, stop| sotong_drivers::serve(model, service, bound, options, stop))
        }
    }
}

/// The same for a service that is right over streams alone, with desks for its slow work.
pub(crate) fn run_streams<S>(
    name: &'static str,
    args: &Serve,
    front: FrontDoor,
    service: S,
    desks: Vec<Plan<Mail<S>>>,
    console: &Console,
) -> Result<(), Failure>
where
    S: Service + Sync,
    S::Session: Stream,
{
    let (model, server) = open_streams::<S>(name, args, front, console)?;
    let limits = IdleLimits { silence: args.idle.map(|Span(silence)| silence), ..IdleLimits::default() };
    match (server.tls.first().cloned(), args.idle) {
        (None, None) => server.run(|bound, options, stop| {
            sotong_drivers::serve_streams(model, service, streams(bound), desks, options, stop)
        }),
        (None, Some(_)) => {
            let service = Idle { service, limits };
            server.run(|bound, options, stop| {
                sotong_drivers::serve_streams(model, service, streams(bound), desks, options, stop)
            })
        }
        (Some(tls), _) if front == FrontDoor::Both => {
            let service = Front::new(tls.secure(Idle { service, limits }));
            server.run(|bound, options, stop| {
                sotong_drivers::serve_streams(model, service, streams(bound), desks, options, stop)
            })
        }
        (Some(tls), _) => {
            let service = tls.secure(Idle { service, limits });
            server.run(|bound, options, stop| {
                sotong_drivers::serve_streams(model, service, streams(bound), desks, options, stop)
            })
        }
    }
}

/// Where a service listens that speaks TLS itself.
pub(crate) struct Listening {
    /// The addresses; connections are told the number of theirs ([`Way::listener`]).
    pub(crate) at: Vec<Endpoint>,
    /// What is shown to those who speak TLS, at whichever address.
    pub(crate) tls: Vec<Arc<Tls>>,
    /// Reads anew what a server can read anew while it serves, on SIGHUP.
    pub(crate) reload: Reload,
    /// What is said of how to come in.
    pub(crate) ways: Ways,
}

/// Lines that say how to come in at addresses, each with the number of its listener; the fingerprint is that of a certificate
/// that nobody vouches for.
pub(crate) type Ways = Box<dyn Fn(&[(u16, Endpoint)], Option<Fingerprint>) -> Vec<String>>;

/// Reads something anew. What is wrong, in one line for the log.
pub(crate) type Reload = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// The same for a service that speaks TLS itself.
pub(crate) fn run_whole<S>(
    name: &'static str,
    args: &Serve,
    listening: Listening,
    service: S,
    desks: Vec<Plan<Mail<S>>>,
    console: &Console,
) -> Result<(), Failure>
where
    S: Service + Sync,
    S::Session: Stream,
{
    let (model, why_not_best) = args.model.choose().map_err(Failure::Serve)?;
    model.check::<S>().map_err(|why| Failure::Model { service: name, why })?;
    only_streams(name, &listening.at)?;
    let passed = Passed::take()?;
    let server = Server::bind(name, args, (listening.at, listening.tls), passed, (model, why_not_best), console)?;
    only_streams(name, &server.endpoints())?;
    let server = Server { reload: Some(listening.reload), ways: Some(listening.ways), ..server };
    let limits = IdleLimits { silence: args.idle.map(|Span(silence)| silence), ..IdleLimits::default() };
    match args.idle {
        None => server.run(|bound, options, stop| {
            sotong_drivers::serve_streams(model, service, streams(bound), desks, options, stop)
        }),
        Some(_) => {
            let service = Idle { service, limits };
            server.run(|bound, options, stop| {
                sotong_drivers::serve_streams(model, service, streams(bound), desks, options, stop)
            })
        }
    }
}

/// Whether a service of streams can be heard at all of these.
fn only_streams(name: &'static str, at: &[Endpoint]) -> Result<(), Failure> {
    if let Some(at) = at.iter().find(|at| matches!(at, Endpoint::Udp(_))) {
        return Err(Failure::StreamsOnly { service: name, address: at.to_string() });
    }
    match at.iter().find(|at| at.ws_path().is_some()) {
        Some(at) => Err(Failure::NoMessages { command: name, address: at.to_string() }),
        None => Ok(()),
    }
}

/// Listens for a service that is right over streams alone.
fn open_streams<'a, S: Service>(
    name: &'static str,
    args: &'a Serve,
    front: FrontDoor,
    console: &'a Console,
) -> Result<(drivers::Model, Server<'a>), Failure> {
    let (model, why_not_best) = args.model.choose().map_err(Failure::Serve)?;
    model.check::<S>().map_err(|why| Failure::Model { service: name, why })?;
    only_streams(name, &addresses(args)?)?;
    let server = Server::open(name, args, front, (model, why_not_best), console)?;
    // A service manager may have passed anything.
    only_streams(name, &server.endpoints())?;
    Ok((model, server))
}

/// What is spoken at an address that does not ask for TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrontDoor {
    /// No TLS.
    Plain,
    /// What the client speaks.
    Both,
}

fn streams(bound: Vec<Bound>) -> Vec<Listener> {
    let stream = |bound| if let Bound::Stream(listener) = bound { Some(listener) } else { None };
    bound.into_iter().filter_map(stream).collect()
}

/// A service whose sessions end when their peers are silent for too long.
#[derive(Clone)]
struct Idle<S> {
    service: S,
    limits: IdleLimits,
}

impl<S: Service> Service for Idle<S> {
    type Session = IdleLimit<S::Session>;
    const TALKS: bool = S::TALKS;

    fn open(&self, way: &Way) -> Result<Self::Session, Close> {
        self.service.open(way).map(|session| IdleLimit::new(session, self.limits))
    }
    fn lost(&self, who: Address, host: &mut dyn Driver<<S::Session as Session>::Mail>) {
        self.service.lost(who, host);
    }
}

/// A server that listens, and is told about nobody yet.
struct Server<'a> {
    name: &'static str,
    args: &'a Serve,
    model: drivers::Model,
    /// Why the best model was not taken where the choice was ours.
    missing: Option<Missing>,
    console: &'a Console,
    bound: Vec<Bound>,
    options: Options,
    /// What is shown to those who speak TLS.
    tls: Vec<Arc<Tls>>,
    /// What is read anew beside the certificates, if anything is.
    reload: Option<Reload>,
    ways: Option<Ways>,
    speaks_ws: bool,
}

impl<'a> Server<'a> {
    fn open(
        name: &'static str,
        args: &'a Serve,
        front: FrontDoor,
        (model, missing): (drivers::Model, Option<Missing>),
        console: &'a Console,
    ) -> Result<Self, Failure> {
        let passed = Passed::take()?;
        let asked = if passed.is_any { Vec::new() } else { addresses(args)? };
        // Before anything listens: nobody shall be let in whom nothing can be shown to.
        let is_worker = passed.worker.is_some();
        let speaks_tls = front == FrontDoor::Both || speaks_tls(args, &asked, &passed.bound, is_worker);
        let tls = Tls::new(&args.tls, speaks_tls)?.map(Arc::new).into_iter().collect();
        Self::bind(name, args, (asked, tls), passed, (model, missing), console)
    }

    /// Listens at `asked`, unless listeners were passed.
    fn bind(
        name: &'static str,
        args: &'a Serve,
        (asked, tls): (Vec<Endpoint>, Vec<Arc<Tls>>),
        Passed { worker, bound: passed, is_any: is_passed }: Passed,
        (model, missing): (drivers::Model, Option<Missing>),
        console: &'a Console,
    ) -> Result<Self, Failure> {
        let limits = args.limits.limits();
        limits.check().map_err(|why| Failure::Usage(Usage::Limits(why)))?;
        let bound = if is_passed {
            passed.into_iter().zip(0..).map(|(bound, number)| bound.numbered(number)).collect()
        } else {
            let workers = usize::from(args.workers);
            let datagram_sockets = if model.has_workers() { workers } else { 1 };
            let keepalive = Some(args.server_keepalive.0).filter(|after| !after.is_zero());
            let options = ListenOptions { datagram_sockets, keepalive, ..ListenOptions::default() };
            let mut bound = Vec::new();
            for (at, number) in asked.iter().zip(0..) {
                // An address may be several sockets, such as those of both families.
                let more = listen(std::slice::from_ref(at), &options).map_err(Failure::Listen)?;
                bound.extend(more.into_iter().map(|bound| bound.numbered(number)));
            }
            bound
        };
        let speaks_ws = bound.iter().any(|bound| bound.endpoint().ws_path().is_some());
        if let Some(flag) = args.ws.given().filter(|_| !speaks_ws && worker.is_none()) {
            return Err(Failure::Usage(Usage::NeedsWs { flag }));
        }
        let asked = args.limits.max_conns.map(|count| count as usize);
        let renew = Renew::new().map_err(broken)?;
        if worker.is_none() {
            warn_of_cap(args, model, console);
        }
        let options = Options {
            workers: usize::from(args.workers),
            conns_max: asked,
            limits,
            hold: args.hold.limits(),
            worker,
            renew: Some(renew),
            retire: args.retire.0,
            observer: Arc::new(Reporter::new(name)),
            ..Options::default()
        };
        Ok(Self { name, args, model, missing, console, bound, options, tls, reload: None, ways: None, speaks_ws })
    }

    /// Tells where it listens, serves until a signal comes, and drains.
    fn run(self, serve: impl FnOnce(Vec<Bound>, &Options, &Stop) -> Result<Report, ServeError>) -> Result<(), Failure> {
        let stop = Stop::new().map_err(broken)?;
        let _caught = catch_signals(&stop).map_err(broken)?;
        let _renewed = match (&self.options.renew, self.model) {
            // New workers read the certificates anew.
            (Some(renew), drivers::Model::Processes) => Some(catch_hangup(Some(renew)).map_err(broken)?),
            (Some(renew), _) if self.reload.is_some() || !self.tls.is_empty() => {
                self.reload_when_asked(renew);
                Some(catch_hangup(Some(renew)).map_err(broken)?)
            }
            _ => None,
        };
        // Once, by the supervisor: its workers come and go.
        if self.options.worker.is_none() {
            self.announce();
            self.announce_end(&stop);
        }
        let report = serve(self.bound, &self.options, &stop).map_err(Failure::Serve)?;
        let counters = &report.counters;
        tracing::info!(
            service = self.name,
            opened = counters.opened,
            cut = report.cut,
            bytes_in = counters.bytes_in,
            bytes_out = counters.bytes_out,
            panics = counters.panics,
            handshakes_waited = self.tls.iter().map(|tls| tls.handshakes_waited()).sum::<u64>(),
            "stopped",
        );
        match stop.signal() {
            Some(signal) if report.left_at_once => Err(Failure::Signal(signal)),
            _ => Ok(()),
        }
    }

    /// Where it listens.
    fn endpoints(&self) -> Vec<Endpoint> {
        self.bound.iter().map(Bound::endpoint).collect()
    }

    /// Reads anew what can be, whenever `renew` is asked.
    fn reload_when_asked(&self, renew: &Renew) {
        let certificates = self.tls.clone();
        let all = self.reload.clone().unwrap_or_else(|| Arc::new(move || reload_certificates(&certificates)));
        let (what, name) = (if self.reload.is_some() { "configuration" } else { "certificates" }, self.name);
        when_asked(renew, what, move || match all() {
            Ok(()) => tracing::info!(service = name, "{what} reloaded"),
            Err(why) => tracing::warn!(service = name, why, "{what} not reloaded: those before stay"),
        });
    }

    /// When the first signal comes, says that the drain is on. The thread waits for as long as the process lives.
    fn announce_end(&self, stop: &Stop) {
        let drain = Span(self.options.limits.drain).words(&self.console.catalogue);
        let line = text!(self.console.catalogue, "serve-stopping", service = self.name, drain = drain);
        let (stop, name, speaks) = (stop.clone(), self.name, self.console.speaks());
        let waiting = thread::Builder::new().name("sotong-end".to_owned()).spawn(move || {
            if stop.wait_for(Stage::Draining, None) {
                if speaks {
                    // `eprintln` would panic where nobody reads.
                    let _ = writeln!(io::stderr(), "{line}");
                } else {
                    tracing::info!(service = name, "stopping");
                }
            }
        });
        if let Err(fault) = waiting {
            tracing::warn!(%fault, "no thread to tell of the end");
        }
    }
}

/// Listeners that somebody else has bound.
struct Passed {
    worker: Option<Worker>,
    bound: Vec<Bound>,
    /// A worker may have nothing to listen on: where a service manager passed one UDP socket, one has it.
    is_any: bool,
}

impl Passed {
    fn take() -> Result<Self, Failure> {
        let worker = processes::worker().map_err(Failure::Worker)?;
        let bound = match &worker {
            Some(worker) => worker.listeners(),
            None => take_passed().map_err(Failure::Passed)?,
        };
        let is_any = !bound.is_empty() || worker.is_some();
        Ok(Self { worker, bound, is_any })
    }
}

fn broken(fault: io::Error) -> Failure {
    Failure::Serve(ServeError::System { what: "signals", source: fault })
}

/// Says so where descriptors leave room for fewer connections than were asked for.
fn warn_of_cap(args: &Serve, model: drivers::Model, console: &Console) {
    let Some(asked) = args.limits.max_conns.map(|count| count as usize) else { return };
    let processes = if model == drivers::Model::Processes { usize::from(args.workers) } else { 1 };
    let cap = descriptors::cap(Some(asked.div_ceil(processes)), descriptors::raise_limit(), 1);
    if cap.bound == CapBound::Descriptors {
        let count = cap.connections * processes;
        let line = |catalogue: &Catalogue| text!(catalogue, "serve-conns-capped", count = count);
        console.warn("connections capped", line);
    }
}

fn addresses(args: &Serve) -> Result<Vec<Endpoint>, Failure> {
    let parsed =
        args.addresses.iter().map(|text| text.parse().map_err(|why| Failure::Address { text: text.clone(), why }));
    parsed.collect()
}

/// Whether TLS is spoken anywhere. A worker goes by the command line, as its supervisor did: what was passed to that one may
/// not be all its own.
fn speaks_tls(args: &Serve, asked: &[Endpoint], passed: &[Bound], is_worker: bool) -> bool {
    asked.iter().any(Endpoint::is_tls)
        || passed.iter().any(|bound| bound.endpoint().is_tls())
        || is_worker && args.tls.given().is_some()
}

impl Model {
    /// The model that was asked for; the best one where that is left to us, and what the better one lacks.
    fn choose(self) -> Result<(drivers::Model, Option<Missing>), ServeError> {
        let Some(model) = self.driver() else { return Ok(drivers::Model::best()) };
        // Before anything listens; the driver asks again.
        model.availability().map_err(|missing| ServeError::Unavailable { model, missing })?;
        Ok((model, None))
    }
    fn driver(self) -> Option<drivers::Model> {
        Some(match self {
            Self::Auto => return None,
            Self::Sequential => drivers::Model::Sequential,
            Self::Threads => drivers::Model::Threads,
            Self::Processes => drivers::Model::Processes,
            Self::Epoll => drivers::Model::Epoll,
            Self::Async => drivers::Model::Async,
            Self::Uring => drivers::Model::Uring,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_model_of_the_command_line_is_a_driver() {
        use clap::ValueEnum;
        let named = |model: &Model| model.to_possible_value().map(|value| value.get_name().to_owned());
        for model in Model::value_variants() {
            assert_eq!(named(model).as_deref(), Some(model.driver().map_or("auto", drivers::Model::name)));
        }
        assert_eq!(Model::value_variants().len(), 1 + drivers::Model::ALL.len());
    }
}
