//! What every server command does: addresses → sockets → start-up lines → the driver → the drain → an exit code.

use std::io::{self, Write};
use std::sync::Arc;
use std::thread;

use sotong_certs::Fingerprint;
use sotong_drivers::{self as drivers, Missing, Options, Plan, Report, ServeError, processes};
use sotong_http::ws::Sockets;
use sotong_layers::{IdleLimit, IdleLimits};
use sotong_net::descriptors::{self, CapBound};
use sotong_net::endpoint::{Endpoint, Host, HostPort, UnixName};
use sotong_net::listen::{Bound, ListenOptions, listen};
use sotong_net::listener::Listener;
use sotong_net::passed::take_passed;
use sotong_net::signals::{Renew, Stage, Stop, catch_hangup, catch_signals};
use sotong_session::{Address, Close, Host as Driver, Records, Service, Session, Stream, Way};
use sotong_shard::Mail;
use sotong_tls::Front;

use super::serve_tls::Tls;
use crate::catalogue::{Catalogue, text};
use crate::cli::{Model, Serve};
use crate::console::Console;
use crate::failure::{self, Failure, Usage};
use crate::reporter::Reporter;
use crate::units::Span;

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
    match (&server.tls, args.idle) {
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
    match (&server.tls, args.idle) {
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

/// The same for a service that speaks TLS itself, where it is told how.
pub(crate) fn run_whole<S>(
    name: &'static str,
    args: &Serve,
    front: FrontDoor,
    service: impl FnOnce(Option<&Tls>) -> S,
    desks: Vec<Plan<Mail<S>>>,
    console: &Console,
) -> Result<(), Failure>
where
    S: Service + Sync,
    S::Session: Stream,
{
    let (model, server) = open_streams::<S>(name, args, front, console)?;
    let limits = IdleLimits { silence: args.idle.map(|Span(silence)| silence), ..IdleLimits::default() };
    let service = service(server.tls.as_ref());
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

/// Listens for a service that is right over streams alone.
fn open_streams<'a, S: Service>(
    name: &'static str,
    args: &'a Serve,
    front: FrontDoor,
    console: &'a Console,
) -> Result<(drivers::Model, Server<'a>), Failure> {
    let (model, why_not_best) = args.model.choose().map_err(Failure::Serve)?;
    model.check::<S>().map_err(|why| Failure::Model { service: name, why })?;
    if let Some(at) = addresses(args)?.iter().find(|at| matches!(at, Endpoint::Udp(_))) {
        return Err(Failure::StreamsOnly { service: name, address: at.to_string() });
    }
    if let Some(at) = addresses(args)?.iter().find(|at| at.ws_path().is_some()) {
        return Err(Failure::NoMessages { command: name, address: at.to_string() });
    }
    let server = Server::open(name, args, front, (model, why_not_best), console)?;
    // A service manager may have passed anything.
    if let Some(at) = server.bound.iter().map(Bound::endpoint).find(|at| at.ws_path().is_some()) {
        return Err(Failure::NoMessages { command: name, address: at.to_string() });
    }
    if let Some(socket) = server.bound.iter().find(|bound| matches!(bound, Bound::Datagrams(_))) {
        let address = socket.endpoint().to_string();
        return Err(Failure::StreamsOnly { service: name, address });
    }
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
    /// What is shown at `tls://` addresses, if there are any.
    tls: Option<Tls>,
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
        let limits = args.limits.limits();
        limits.check().map_err(|why| Failure::Usage(Usage::Limits(why)))?;
        let worker = processes::worker().map_err(Failure::Worker)?;
        let passed = match &worker {
            Some(worker) => worker.listeners(),
            None => take_passed().map_err(Failure::Passed)?,
        };
        // A worker may have nothing to listen on: where a service manager passed one UDP socket, one has it.
        let is_passed = !passed.is_empty() || worker.is_some();
        let asked = if is_passed { Vec::new() } else { addresses(args)? };
        // Before anything listens: nobody shall be let in whom nothing can be shown to.
        let speaks_tls = front == FrontDoor::Both || speaks_tls(args, &asked, &passed, worker.is_some());
        let tls = Tls::new(&args.tls, speaks_tls)?;
        let bound = if !is_passed {
            let workers = usize::from(args.workers);
            let datagram_sockets = if model.has_workers() { workers } else { 1 };
            let keepalive = Some(args.server_keepalive.0).filter(|after| !after.is_zero());
            let options = ListenOptions { datagram_sockets, keepalive, ..ListenOptions::default() };
            listen(&asked, &options).map_err(Failure::Listen)?
        } else {
            passed
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
            observer: Arc::new(Reporter::new()),
            ..Options::default()
        };
        Ok(Self { name, args, model, missing, console, bound, options, tls, speaks_ws })
    }

    /// Tells where it listens, serves until a signal comes, and drains.
    fn run(self, serve: impl FnOnce(Vec<Bound>, &Options, &Stop) -> Result<Report, ServeError>) -> Result<(), Failure> {
        let stop = Stop::new().map_err(broken)?;
        let _caught = catch_signals(&stop).map_err(broken)?;
        let _renewed = match (&self.options.renew, self.model, &self.tls) {
            // New workers read the certificates anew.
            (Some(renew), drivers::Model::Processes, _) => Some(catch_hangup(Some(renew)).map_err(broken)?),
            (Some(renew), _, Some(tls)) => {
                tls.reload_when_asked(self.name, renew);
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
            handshakes_waited = self.tls.as_ref().map_or(0, Tls::handshakes_waited),
            "stopped",
        );
        match stop.signal() {
            Some(signal) if report.left_at_once => Err(Failure::Signal(signal)),
            _ => Ok(()),
        }
    }

    /// One line an address. What stands between spaces and begins with a scheme is the address: scripts may rely on it,
    /// in every language, and on the event `listening` of the JSON log.
    fn announce(&self) {
        let (console, model) = (self.console, self.model);
        let workers = self.args.workers;
        for bound in &self.bound {
            let address = bound.endpoint().to_string();
            if !console.speaks() {
                let pid = std::process::id();
                tracing::info!(service = self.name, address, model = model.name(), workers, pid, "listening");
                continue;
            }
            let (service, name) = (self.name, model.name());
            console.say(&if model.has_workers() {
                text!(
                    console.catalogue,
                    "serve-listening",
                    service = service,
                    address = address,
                    model = name,
                    workers = workers
                )
            } else {
                text!(console.catalogue, "serve-listening-threads", service = service, address = address, model = name)
            });
        }
        if let Some(tls) = &self.tls {
            tls.announce(console);
        }
        if self.args.model == Model::Auto {
            self.announce_choice();
        }
        let is_private = self.bound.iter().all(|bound| is_of_this_machine(&bound.endpoint()));
        if self.name == "chat" && self.tls.is_none() && is_private {
            // One command, to be copied, for those who want others to come.
            console.say(&text!(console.catalogue, "chat-open", command = "sotong chat '*:8888' --tls"));
        }
        // The first address, and the first with TLS, whose certificate a client may have to be told to trust.
        let pin = self.tls.as_ref().and_then(Tls::pin);
        let mut tried = Vec::new();
        let own = self.tls.as_ref().and_then(Tls::own_file).filter(|_| self.name == "web");
        for endpoint in self.bound.iter().map(Bound::endpoint) {
            if !tried.contains(&endpoint.is_tls()) && (tried.is_empty() || endpoint.is_tls()) {
                tried.push(endpoint.is_tls());
                if let Some(client) = way_of_clients(&endpoint).filter(|_| self.name == "chat") {
                    console.say(&text!(console.catalogue, "serve-try", command = client));
                }
                let mut command = way_in(&endpoint, self.name, pin);
                if let Some(own) = own.filter(|_| endpoint.is_tls()) {
                    command = command.replacen("curl ", &format!("curl --cacert {} ", own.display()), 1);
                }
                console.say(&text!(console.catalogue, "serve-try", command = command));
            }
        }
    }

    /// Which model was chosen, and why.
    fn announce_choice(&self) {
        let (console, model) = (self.console, self.model.name());
        if !console.speaks() {
            let missing = self.missing.map(|missing| missing.to_string()).unwrap_or_default();
            tracing::info!(service = self.name, model, missing, "model chosen");
            return;
        }
        console.say(&match self.missing {
            None => text!(console.catalogue, "serve-auto", model = model),
            Some(why) => {
                let why = failure::missing(&console.catalogue, why);
                text!(console.catalogue, "serve-auto-instead", model = model, why = why)
            }
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

/// A command that reaches the server and can be copied.
pub(super) fn way_in(at: &Endpoint, service: &str, pin: Option<Fingerprint>) -> String {
    if service == "web" {
        return way_to_web(at);
    }
    let pin = pin.map(|pin| format!("--pin {pin} ")).unwrap_or_default();
    // Rooms are for people with nc.
    let service = if service == "chat" { "room" } else { service };
    match at {
        Endpoint::Tcp(HostPort { host: Host::All, port }) if service == "room" => format!("nc localhost {port}"),
        Endpoint::Tcp(HostPort { host: Host::V6(ip, None), port }) if service == "room" => format!("nc {ip} {port}"),
        Endpoint::Tcp(HostPort { host, port }) if service == "room" => format!("nc {host} {port}"),
        Endpoint::Unix(UnixName::Path(path)) if service == "room" => format!("nc -U {}", path.display()),
        Endpoint::Tcp(HostPort { host: Host::All, port }) => format!("sotong connect :{port}"),
        Endpoint::Tcp(to) => format!("sotong connect {to}"),
        Endpoint::Udp(HostPort { host: Host::All, port }) => format!("sotong connect udp://:{port}"),
        Endpoint::Tls(HostPort { host: Host::All, port }) => format!("sotong connect {pin}tls://:{port}"),
        Endpoint::Ws(HostPort { host: Host::All, port }, path) => format!("sotong connect ws://:{port}{path}"),
        Endpoint::Wss(HostPort { host: Host::All, port }, path) => format!("sotong connect {pin}wss://:{port}{path}"),
        Endpoint::Tls(_) | Endpoint::TlsUnix(_) | Endpoint::Wss(..) => format!("sotong connect {pin}{at}"),
        Endpoint::Udp(_) | Endpoint::Unix(_) | Endpoint::Ws(..) => format!("sotong connect {at}"),
    }
}

fn is_of_this_machine(at: &Endpoint) -> bool {
    match at {
        Endpoint::Unix(_) | Endpoint::TlsUnix(_) => true,
        Endpoint::Tcp(at) | Endpoint::Tls(at) | Endpoint::Udp(at) | Endpoint::Ws(at, _) | Endpoint::Wss(at, _) => {
            match &at.host {
                Host::Localhost => true,
                Host::V4(ip) => ip.is_loopback(),
                Host::V6(ip, _) => ip.is_loopback(),
                Host::All | Host::Name(_) => false,
            }
        }
    }
}

/// A command that reaches a chat with an IRC client, where the client can come this way.
pub(super) fn way_of_clients(at: &Endpoint) -> Option<String> {
    let host = |host: &Host| match host {
        Host::All => "localhost".to_owned(),
        Host::V6(ip, None) => ip.to_string(),
        host => host.to_string(),
    };
    match at {
        Endpoint::Tcp(at) => Some(format!("irssi -c {} -p {}", host(&at.host), at.port)),
        Endpoint::Tls(at) => Some(format!("irssi --tls -c {} -p {}", host(&at.host), at.port)),
        Endpoint::Unix(_) | Endpoint::TlsUnix(_) | Endpoint::Udp(_) | Endpoint::Ws(..) | Endpoint::Wss(..) => None,
    }
}

fn way_to_web(at: &Endpoint) -> String {
    let host = |at: &HostPort| match at {
        HostPort { host: Host::All, port } => format!("localhost:{port}"),
        at => at.to_string(),
    };
    match at {
        Endpoint::Tcp(at) => format!("curl http://{}/", host(at)),
        Endpoint::Tls(at) => format!("curl https://{}/", host(at)),
        Endpoint::Unix(UnixName::Path(path)) => format!("curl --unix-socket {} http://localhost/", path.display()),
        Endpoint::TlsUnix(UnixName::Path(path)) => format!("curl --unix-socket {} https://localhost/", path.display()),
        Endpoint::Unix(UnixName::Abstract(name)) => format!("curl --abstract-unix-socket {name} http://localhost/"),
        Endpoint::TlsUnix(UnixName::Abstract(name)) => format!("curl --abstract-unix-socket {name} https://localhost/"),
        Endpoint::Udp(_) | Endpoint::Ws(..) | Endpoint::Wss(..) => at.to_string(),
    }
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
    fn the_way_in_can_be_copied() {
        let way = |address: &str, service| way_in(&address.parse().expect("an address"), service, None);
        assert_eq!(way("127.0.0.1:12345", "echo"), "sotong connect 127.0.0.1:12345");
        assert_eq!(way("*:7", "echo"), "sotong connect :7");
        assert_eq!(way("udp://[::1]:7", "time"), "sotong connect udp://[::1]:7");
        assert_eq!(way("unix:/tmp/e", "echo"), "sotong connect unix:/tmp/e");
        assert_eq!(way("127.0.0.1:8888", "room"), "nc 127.0.0.1 8888");
        assert_eq!(way("127.0.0.1:8888", "chat"), "nc 127.0.0.1 8888");
        let client = |address: &str| way_of_clients(&address.parse().expect("an address"));
        assert_eq!(client("127.0.0.1:8888").as_deref(), Some("irssi -c 127.0.0.1 -p 8888"));
        assert_eq!(client("*:8888").as_deref(), Some("irssi -c localhost -p 8888"));
        assert_eq!(client("tls://[::1]:6697").as_deref(), Some("irssi --tls -c ::1 -p 6697"));
        assert_eq!(client("unix:/tmp/c"), None);
        assert_eq!(way("[::1]:8888", "room"), "nc ::1 8888");
        assert_eq!(way("*:8888", "room"), "nc localhost 8888");
        assert_eq!(way("unix:/tmp/r", "room"), "nc -U /tmp/r");
        assert_eq!(way("unix:@room", "room"), "sotong connect unix:@room");
    }

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
