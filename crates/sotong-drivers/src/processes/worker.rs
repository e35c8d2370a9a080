//! A process that was started as a worker.
use super::{START_TIME_MAX, VARIABLE, VERSION, say};
use crate::{
    ServeError,
    board::{Board, Share},
    server::Context,
};
use sotong_net::{
    link::Link,
    listen::Bound,
    passed::{adopt, forget_variable},
    signals::{Stage, Stop, catch_hangup},
};
use sotong_session::Service;
use sotong_shard::Counters;
use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// This process has taken what makes it a worker.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// What a worker process has from its supervisor. Clones are the same.
#[derive(Clone, Debug)]
pub struct Worker {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    link: Link,
    index: usize,
    workers: usize,
    share: Share,
    bound: Mutex<Vec<Bound>>,
}

/// Why a process that was started as a worker cannot be one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The supervisor is of another version of this program, one that cannot be followed by this one without a restart.
    #[error("the supervisor is of another version: restart it")]
    Version,
    /// The supervisor says something else than it should.
    #[error("the supervisor cannot be understood")]
    Protocol,
    /// The line to the supervisor, or what came over it, cannot be used.
    #[error("the line to the supervisor: {0}")]
    System(#[from] io::Error),
}

/// Whether this process was started as a worker. Programs that a worker starts have the variable too, but another input.
fn is_promised() -> Option<Result<(), WorkerError>> {
    let version = std::env::var(VARIABLE).ok().filter(|_| Link::is_stdin())?;
    Some(if version == VERSION.to_string() { Ok(()) } else { Err(WorkerError::Version) })
}

/// Whether this process was started as a worker, whether [`worker()`] has been called or not: for logs that say so.
pub fn is_worker() -> bool {
    IS_TAKEN.load(Ordering::SeqCst) || is_promised().is_some()
}

/// Finds out whether this process is a worker of [`crate::Model::Processes`]; `None` if it is not.
///
/// Call it once, first thing in `main`: it takes standard input, which is the line to the supervisor, and it removes the
/// variable `SOTONG_WORKER` from the environment, which is possible only while the process has one thread. What it finds
/// goes into [`crate::Options::worker`]; a worker that serves without is refused.
///
/// # Errors
/// One variant of [`WorkerError`] for each cause; such a process should end, and its supervisor will notice.
pub fn worker() -> Result<Option<Worker>, WorkerError> {
    match is_promised() {
        None => return Ok(None),
        Some(promise) => promise?,
    }
    IS_TAKEN.store(true, Ordering::SeqCst);
    forget_variable(VARIABLE);
    let link = Link::take_stdin()?;
    // The end of the line says so too, but not to a process that is stopped or stuck. The thread that started this process
    // stays until all its workers are gone.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).map_err(io::Error::from)?;
    link.set_receive_timeout(Some(START_TIME_MAX))?;
    let next = |name: &str| {
        let message = link.receive(false)?.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        let rest = message.text.strip_prefix(name).ok_or(WorkerError::Protocol)?;
        let words: Vec<String> = rest.split_whitespace().map(str::to_owned).collect();
        Ok::<_, WorkerError>((words, message.fds))
    };
    let (words, mut fds) = next(say::SETUP)?;
    let numbers: Result<Vec<usize>, _> = words.iter().map(|word| word.parse()).collect();
    let numbers = numbers.map_err(|_| WorkerError::Protocol)?;
    let (&[index, workers, seat, sockets], Some(board)) = (&numbers[..], fds.pop()) else {
        return Err(WorkerError::Protocol);
    };
    if !(1..=1024).contains(&workers) || index >= workers {
        return Err(WorkerError::Protocol);
    }
    let share = Board::map(board)?.share(seat).ok_or(WorkerError::Protocol)?;
    let mut bound = Vec::new();
    while bound.len() < sockets {
        let (words, fds) = next(say::SOCKETS)?;
        if fds.is_empty() {
            return Err(WorkerError::Protocol);
        }
        for (number, fd) in fds.into_iter().enumerate() {
            let socket = adopt(fd)?;
            let mut of_socket = words.iter().filter_map(|word| word.strip_prefix(&format!("{number}=")));
            let spoken = of_socket.next().unwrap_or_default();
            bound.push(socket.with_spoken(spoken).ok_or(WorkerError::Protocol)?);
        }
    }
    link.set_receive_timeout(None)?;
    let inner = Inner { link, index, workers, share, bound: Mutex::new(bound) };
    Ok(Some(Worker { inner: Arc::new(inner) }))
}

impl Worker {
    /// What to listen on: all of the supervisor's TCP and Unix listeners, and its own socket of each UDP address. Once;
    /// nothing is left afterwards.
    pub fn listeners(&self) -> Vec<Bound> {
        std::mem::take(&mut *self.inner.bound.lock().unwrap_or_else(PoisonError::into_inner))
    }
    /// Which of the workers it is, from 0.
    pub fn index(&self) -> usize {
        self.inner.index
    }
    pub(crate) fn sit(&self) -> Seated {
        let Inner { index, workers, share, .. } = &*self.inner;
        Seated { worker: self.clone(), index: *index, workers: *workers, share: share.clone() }
    }
}

/// A worker that is about to serve.
pub(crate) struct Seated {
    worker: Worker,
    pub(crate) index: usize,
    pub(crate) workers: usize,
    pub(crate) share: Share,
}

impl Seated {
    /// Obeys the supervisor from here on, and tells it when all loops run.
    ///
    /// # Errors
    /// The system refused something.
    pub(crate) fn obey<S: Service>(&self, context: &Arc<Context<S>>, stop: &Stop) -> Result<(), ServeError> {
        // It asks the supervisor for new workers, and reaches all where a terminal goes away. As long as the process lives.
        std::mem::forget(catch_hangup(None).map_err(ServeError::system("signals"))?);
        let (worker, stop, its) = (Arc::clone(&self.worker.inner), stop.clone(), Arc::clone(context));
        std::thread::Builder::new()
            .name("line".to_owned())
            .spawn(move || listen(&worker.link, &its, &stop))
            .map_err(ServeError::system("starting a thread"))?;
        let worker = Arc::clone(&self.worker.inner);
        context.when_ready(Box::new(move || tell(&worker.link, say::READY)));
        Ok(())
    }
    /// Reports, and ends the process.
    pub(crate) fn end(&self, counters: &Counters, cut: usize) -> ! {
        tell(&self.worker.inner.link, &format!("{} {cut} {}", say::REPORT, counters.encode()));
        std::process::exit(0)
    }
}

fn tell(link: &Link, what: &str) {
    if let Err(error) = link.send(what, &[]) {
        tracing::warn!(%error, "the supervisor does not listen");
    }
}

/// Obeys what the supervisor says, for as long as there is one.
fn listen<S: Service>(link: &Link, context: &Context<S>, stop: &Stop) {
    loop {
        match link.receive(false) {
            Ok(Some(message)) => match message.text.as_str() {
                say::RETIRE => context.control.retire(),
                say::DRAIN => stop.drain(),
                say::LEAVE => stop.leave(),
                other => tracing::warn!(message = other, "the supervisor says what nobody understands"),
            },
            Ok(None) | Err(_) => {
                // Nobody accounts for this process any more, nor starts another in its place.
                tracing::error!(draining = stop.stage() >= Stage::Draining, "the supervisor is gone");
                std::process::exit(1)
            }
        }
    }
}
