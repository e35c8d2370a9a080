//! A service, its listeners and a model, run until they are stopped.
use crate::{
    Model, ModelError, asynchronous,
    control::Control,
    desk::{Desks, Plan},
    door::{Conversations, Places},
    epoll,
    processes::{Seated, Worker, supervise},
    sequential, threads,
    uring::{self, Missing},
};
use sotong_net::{
    clock::Clock,
    datagrams::Datagrams,
    descriptors,
    listen::Bound,
    listener::Listener,
    signals::{Renew, Stage, Stop},
    socket::Socket,
    wake::Waker,
};
use sotong_session::{Limits, LimitsError, Records, Service, Stream, Way, Wire};
use sotong_shard::{Counters, Exchange, Mail, Observer, Silent};
use std::{
    any::TypeId,
    collections::VecDeque,
    convert::Infallible,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// How a server is run.
#[derive(Clone)]
pub struct Options {
    /// Event loops or processes, under models that have them, 1 to 1,024: by default one for each core.
    pub workers: usize,
    /// Connections at once, at most what descriptors allow (their limit less 256): 16,384 where nothing is asked for. Under
    /// [`Model::Sequential`] it is always one. Under [`Model::Processes`] it is divided among the workers; where nothing is
    /// asked for, each has 16,384, for each has descriptors of its own.
    pub conns_max: Option<usize>,
    /// What one connection may cost.
    pub limits: Limits,
    /// Who hears of connections: by default nobody.
    pub observer: Arc<dyn Observer>,
    /// Feeds [`sotong_session::Host::random`]: by default the time.
    pub seed: u64,
    /// How long one client may keep the others waiting under [`Model::Sequential`].
    pub hold: HoldLimits,
    /// What this process is, under [`Model::Processes`]: what [`crate::processes::worker`] said; `None` is the supervisor.
    pub worker: Option<Worker>,
    /// Who asks for new workers, under [`Model::Processes`]: by default nobody. SIGHUP does after
    /// [`sotong_net::signals::catch_hangup`].
    pub renew: Option<Renew>,
    /// How long a worker that has been replaced serves its connections on before they are told that it leaves, under
    /// [`Model::Processes`]: 60 s. Long enough for what is under way, and an end to old workers whose clients never leave.
    pub retire: Duration,
}

/// How long one client may hold the only place, under [`Model::Sequential`]. Both count only while others wait: who is
/// alone with the server may stay.
///
/// At its limit a client gets what is queued for it, for as long as [`Limits::stall`] at most, and then the next is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldLimits {
    /// Without a byte in either direction: 10 s. A person between two lines takes less; a client that has forgotten its
    /// connection shall not be waited for.
    pub idle: Duration,
    /// In all: 60 s. Bytes without end, or one now and then, would otherwise keep the place for ever.
    pub time: Duration,
}

impl Default for HoldLimits {
    fn default() -> Self {
        Self { idle: Duration::from_secs(10), time: Duration::from_secs(60) }
    }
}

impl Default for Options {
    fn default() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self {
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            conns_max: None,
            limits: Limits::default(),
            observer: Arc::new(Silent),
            seed: since.as_nanos() as u64 ^ u64::from(std::process::id()),
            hold: HoldLimits::default(),
            worker: None,
            renew: None,
            retire: Duration::from_secs(60),
        }
    }
}

/// How it went.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What all shards did.
    pub counters: Counters,
    /// Connections that were still open when the server left: at the end of the drain, or at a second stop.
    pub cut: usize,
    /// A second stop came: the server left without waiting for anybody.
    pub left_at_once: bool,
}

/// Why a server did not run, or broke.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The limits cannot work together.
    #[error(transparent)]
    Limits(#[from] LimitsError),
    /// The model cannot do this job.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The system refused something every server needs.
    #[error("{what}: {source}")]
    System {
        /// What was to be done.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// This process was started as a worker, and serves as if it were none: see [`crate::processes::worker`].
    #[error("this process is a worker: its listeners must be taken by processes::worker and given in the options")]
    IsWorker,
    /// The system cannot run the model.
    #[error("{model} cannot run here: {missing}")]
    Unavailable {
        /// Which model.
        model: Model,
        /// What it lacks.
        missing: Missing,
    },
    /// A loop ended by a fault of this program.
    #[error("a loop of the server panicked")]
    Panicked,
}

impl ServeError {
    pub(crate) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}

/// What all loops of a server share.
pub(crate) struct Context<S: Service> {
    service: Mutex<S>,
    pub(crate) exchange: Arc<Exchange<Mail<S>>>,
    pub(crate) control: Arc<Control>,
    pub(crate) places: Arc<Places>,
    pub(crate) options: Options,
    /// The number of the first loop's shard: each process of a server has another, so that logs tell them apart.
    first_shard: usize,
    /// To be called once all loops run.
    ready: Mutex<Option<Ready>>,
}

/// What is done once all loops run.
pub(crate) type Ready = Box<dyn FnOnce() + Send>;

impl<S: Service> Context<S> {
    fn new(
        service: S,
        (first_shard, shards): (usize, usize),
        (control, places): (Arc<Control>, Arc<Places>),
        options: Options,
    ) -> Arc<Self> {
        let (service, exchange) = (Mutex::new(service), Exchange::new(shards));
        places.bound_memory(exchange.bytes_counter(), options.limits.memory_full());
        Arc::new(Self { service, exchange, control, places, options, first_shard, ready: Mutex::default() })
    }
    /// The shard of a loop.
    pub(crate) fn shard(&self, worker: usize) -> u16 {
        u16::try_from(self.first_shard + worker).expect("there are at most 1,024 workers")
    }
    /// All loops run.
    pub(crate) fn tell_ready(&self) {
        if let Some(ready) = self.ready.lock().unwrap_or_else(PoisonError::into_inner).take() {
            ready();
        }
    }
    pub(crate) fn when_ready(&self, ready: Ready) {
        *self.ready.lock().unwrap_or_else(PoisonError::into_inner) = Some(ready);
    }
    /// What a server of one loop needs; a place that becomes free rings `door`.
    ///
    /// # Errors
    /// The limits.
    pub(crate) fn alone(service: S, options: Options, door: &Waker) -> Result<Arc<Self>, ServeError> {
        options.limits.check()?;
        let conns_max = descriptors::cap(options.conns_max, descriptors::raise_limit(), 1).connections;
        let options = Options { workers: 1, ..options };
        let control = Arc::new(Control::new(Clock::start()));
        let places = Arc::new(Places::new(conns_max, 1, door.clone(), None));
        Ok(Self::new(service, (0, 1), (control, places), options))
    }
    /// The service, for one shard.
    pub(crate) fn service(&self) -> S {
        self.service.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    /// A seed for each shard.
    pub(crate) fn seed(&self, shard: u16) -> u64 {
        self.options.seed.wrapping_add(u64::from(shard).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
    /// Whether sessions can be sent anything: a service without mail needs nobody to wake its loops for it.
    pub(crate) fn has_mail() -> bool {
        has_mail::<S>()
    }
}

/// Whether sessions of this service can be sent anything.
pub(crate) fn has_mail<S: Service>() -> bool {
    TypeId::of::<Mail<S>>() != TypeId::of::<Infallible>()
}

/// Serves streams and datagrams until `stop`, and until the drain is over.
///
/// Blocks the calling thread. The loops run on threads of their own.
///
/// # Errors
/// The limits, or what the system refused. Connections never fail a server.
pub fn serve<S>(
    model: Model,
    service: S,
    bound: Vec<Bound>,
    options: &Options,
    stop: &Stop,
) -> Result<Report, ServeError>
where
    S: Service,
    S::Session: Stream + Records,
{
    serve_with_desks(model, service, bound, Vec::new(), options, stop)
}

/// [`serve`], with desks for slow work: number 0 is the first of `desks`.
///
/// # Errors
/// As [`serve`].
pub fn serve_with_desks<S>(
    model: Model,
    service: S,
    bound: Vec<Bound>,
    desks: Vec<Plan<Mail<S>>>,
    options: &Options,
    stop: &Stop,
) -> Result<Report, ServeError>
where
    S: Service,
    S::Session: Stream + Records,
{
    let (listeners, sockets) = split(bound);
    run(model, service, Ends { listeners, sockets, made: None }, desks, options, stop)
}

/// Serves streams only: for services that are not right over records.
///
/// # Errors
/// As [`serve`].
pub fn serve_streams<S>(
    model: Model,
    service: S,
    listeners: Vec<Listener>,
    desks: Vec<Plan<Mail<S>>>,
    options: &Options,
    stop: &Stop,
) -> Result<Report, ServeError>
where
    S: Service,
    S::Session: Stream,
{
    run(model, service, Ends { listeners, ..Ends::default() }, desks, options, stop)
}

/// Runs a session at this end of each connection that has been made, as [`sotong_net::dial`] makes them, and returns when
/// all are over, or at `stop` and the end of the drain: a client, or many.
///
/// Sessions open at once, those over datagrams too: a client speaks first. [`Options::conns_max`] says how many converse at
/// once; the others wait. Under [`Model::Sequential`] it is one connection, and whoever holds it may; under
/// [`Model::Processes`] the loops run in this process, whose connections they are.
///
/// # Errors
/// As [`serve`]; [`ServeError::System`] also if one of `sockets` is not connected any more: then no session has begun.
pub fn reach<S>(
    model: Model,
    service: S,
    sockets: Vec<Socket>,
    options: &Options,
    stop: &Stop,
) -> Result<Report, ServeError>
where
    S: Service,
    S::Session: Stream + Records,
{
    if sockets.is_empty() {
        return Ok(Report::default());
    }
    let mut ends = Ends { made: Some(VecDeque::new()), ..Ends::default() };
    let unusable = || ServeError::system("a connection that was made");
    for socket in sockets {
        match (socket.wire(), &mut ends.made) {
            (Wire::Stream, Some(made)) => {
                let way = socket.way().map_err(unusable())?;
                made.push_back((socket, way));
            }
            _ => ends.sockets.push(vec![Datagrams::of_connected(socket).map_err(unusable())?]),
        }
    }
    run(model, service, ends, Vec::new(), options, stop)
}

/// What a run has to do with.
#[derive(Default)]
struct Ends {
    listeners: Vec<Listener>,
    sockets: Vec<Vec<Datagrams>>,
    /// Streams that have been made beforehand; `None` for a server.
    made: Option<VecDeque<(Socket, Way)>>,
}

/// Listeners, and the sockets of each datagram address.
pub(crate) fn split(bound: Vec<Bound>) -> (Vec<Listener>, Vec<Vec<Datagrams>>) {
    let (mut listeners, mut sockets) = (Vec::new(), Vec::new());
    for bound in bound {
        match bound {
            Bound::Stream(listener) => listeners.push(listener),
            Bound::Datagrams(group) => sockets.push(group),
        }
    }
    (listeners, sockets)
}

fn run<S: Service>(
    model: Model,
    service: S,
    ends: Ends,
    desks: Vec<Plan<Mail<S>>>,
    options: &Options,
    stop: &Stop,
) -> Result<Report, ServeError> {
    options.limits.check()?;
    model.check::<S>()?;
    let Ends { listeners, sockets, made } = ends;
    let model = match (model, &made) {
        // A connection that this process has made is this process's: its loops run it.
        (Model::Processes, Some(_)) => Model::Epoll,
        (model, _) => model,
    };
    let seated = match (model, &options.worker) {
        (Model::Processes, None) => return supervise(listeners, sockets, options, stop),
        (Model::Processes, Some(worker)) => Some(worker.sit()),
        _ => None,
    };
    let fds_a_conn = if model == Model::Threads && has_mail::<S>() { 2 } else { 1 };
    let conns_max = conns_max(options, seated.as_ref(), fds_a_conn);
    let workers = if seated.is_some() { 1 } else { options.workers.clamp(1, 1024) };
    let first_shard = seated.as_ref().map_or(0, |seated| seated.index);
    let datagram_sockets = sockets.iter().map(Vec::len).sum::<usize>();
    model.availability().map_err(|missing| ServeError::Unavailable { model, missing })?;
    let (shards, places) = match model {
        // Conversations over datagrams that we began are held beside the one connection.
        Model::Sequential => (1, if made.is_some() { 1 + datagram_sockets } else { 1 }),
        // Each connection and each datagram socket is a shard, of which there are at most 65,536.
        Model::Threads => {
            let places = conns_max.min((1 << 16) - datagram_sockets.min(1 << 15));
            (places + datagram_sockets, places)
        }
        Model::Processes | Model::Epoll | Model::Async | Model::Uring => (first_shard + workers, conns_max),
    };
    let door = Waker::new().map_err(ServeError::system("eventfd"))?;
    let control = Arc::new(Control::new(Clock::start()));
    let conversations = made.map(|streams| {
        let (control, drain) = (Arc::clone(&control), options.limits.drain);
        Conversations::new(streams, datagram_sockets, control, drain)
    });
    let loops = if model.has_workers() { workers } else { 1 };
    let places = Places::new(places, loops, door.clone(), conversations);
    let places = Arc::new(places.shared(seated.as_ref().map(|seated| seated.share.clone())));
    let context =
        Context::new(service, (first_shard, shards), (control, places), Options { workers, ..options.clone() });
    let desks = Desks::start(desks, &context.exchange).map_err(ServeError::system("starting a desk"))?;
    if let Some(seated) = &seated {
        seated.obey(&context, stop)?;
    }
    let result = match model {
        Model::Sequential => sequential::run(&context, listeners, sockets, &door, stop),
        Model::Threads => threads::run(&context, listeners, sockets, &door, stop),
        Model::Processes | Model::Epoll => epoll::run(&context, listeners, sockets, &door, stop),
        Model::Async => asynchronous::run(&context, listeners, sockets, &door, stop),
        Model::Uring => uring::run(&context, listeners, sockets, &door, stop),
    };
    let left_at_once = stop.stage() == Stage::Leaving;
    desks.stop(if left_at_once { Duration::ZERO } else { options.limits.drain });
    let (counters, cut) = result?;
    match seated {
        Some(seated) => seated.end(&counters, cut),
        None => Ok(Report { counters, cut, left_at_once }),
    }
}

/// How many connections this process may have.
fn conns_max(options: &Options, seated: Option<&Seated>, fds_a_conn: usize) -> usize {
    let cap = |asked| descriptors::cap(asked, descriptors::raise_limit(), fds_a_conn).connections;
    match (options.conns_max, seated) {
        // What remains of the division goes to the first ones; where there are more workers than connections, some get none.
        (Some(all), Some(seated)) => match all / seated.workers + usize::from(seated.index < all % seated.workers) {
            0 => 0,
            part => cap(Some(part)),
        },
        (asked, _) => cap(asked),
    }
}

/// Passes on to the loops what `stop` says, and returns it. To be called by the thread that waits for it, before it waits.
pub(crate) fn obey<S: Service>(context: &Context<S>, stop: &Stop) -> Stage {
    let stage = stop.stage();
    match stage {
        Stage::Running => {}
        Stage::Draining => context.control.drain(context.options.limits.drain),
        Stage::Leaving => context.control.leave(),
    }
    stage
}
