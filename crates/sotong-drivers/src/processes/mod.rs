//! A supervisor and worker processes, each with an event loop of its own.
//!
//! The supervisor holds the listeners and serves nobody. A worker is the same program, started anew from its executable's
//! file (not forked), with the same arguments and environment: its `main` runs again, finds by [`worker()`] that it is one,
//! and takes the listeners from there instead of binding any. [`crate::serve()`] does the rest, and does not return in a
//! worker: the process ends there, and what follows runs in the supervisor alone.
//!
//! ```no_run
//! use sotong_drivers::{Model, Options, processes, serve};
//! use sotong_net::{listen::listen, signals::{Stop, catch_signals}};
//! # use sotong_session::{Records, Service, Stream};
//! # fn main_of<S>(service: S) -> Result<(), Box<dyn std::error::Error>> where S: Service, S::Session: Stream + Records {
//! let worker = processes::worker()?; // First thing in main.
//! let bound = match &worker {
//!     Some(worker) => worker.listeners(),
//!     None => listen(&["127.0.0.1:0".parse()?], &Default::default())?,
//! };
//! let stop = Stop::new()?;
//! let _caught = catch_signals(&stop)?;
//! let report = serve(Model::Processes, service, bound, &Options { worker, ..Options::default() }, &stop)?;
//! println!("{} connections", report.counters.opened);
//! # Ok(())
//! # }
//! ```
//!
//! **Listeners.** TCP and Unix listeners are one socket for all, so that a worker that goes takes nobody with it who has not
//! been accepted. A worker accepts one connection a turn, and none while it has more than 1.25 times the mean. UDP has a
//! socket a worker, which the supervisor made and keeps: what comes while a worker is replaced waits there.
//!
//! **Ends.** A worker that ends by itself is started again, first after 100 ms, then after twice as long up to 5 s, and after
//! 10 s of health from the beginning again; its connections are lost, the others' are not. [`crate::Options::renew`] replaces
//! the workers one by one: the new one is started from the file that is there by then, and when it is ready the old one
//! accepts no more, serves on who it has for [`crate::Options::retire`], and drains. Meanwhile there are more connections
//! than [`crate::Options::conns_max`], at most twice as many. If the new one does not come up, the old one stays. A worker
//! whose supervisor is gone ends at once.
//!
//! **Signals** are the supervisor's business. Ctrl-C reaches the workers, too, which is as good as being told.
mod supervisor;
mod worker;

pub(crate) use supervisor::supervise;
pub(crate) use worker::Seated;
pub use worker::{Worker, WorkerError, is_worker, worker};

/// The environment variable that makes a process a worker: the version of what is spoken on the line to the supervisor,
/// which is its standard input.
const VARIABLE: &str = "SOTONG_WORKER";
/// Old and new program may differ where one replaces the other.
const VERSION: u32 = 2;
/// How long a worker may take from its start until it is ready.
const START_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(10);

/// What the supervisor and a worker tell each other. A message is its name, then what belongs to it.
mod say {
    /// To the worker: its index, how many workers there are, its seat, the number of sockets. With the board.
    pub(super) const SETUP: &str = "setup";
    /// To the worker: sockets to listen on, and for those among them where more than plain bytes is spoken: the number, from
    /// 0, an equals sign and what it is.
    pub(super) const SOCKETS: &str = "sockets";
    /// To the worker: somebody else accepts from here on.
    pub(super) const RETIRE: &str = "retire";
    /// To the worker: tell the sessions, and end.
    pub(super) const DRAIN: &str = "drain";
    /// To the worker: end at once.
    pub(super) const LEAVE: &str = "leave";
    /// From the worker: it serves.
    pub(super) const READY: &str = "ready";
    /// From the worker, last: how many connections it cut off, and its counters.
    pub(super) const REPORT: &str = "report";
}
