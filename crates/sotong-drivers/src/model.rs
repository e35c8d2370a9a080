//! The I/O models by name.
use crate::{
    server::has_mail,
    uring::{self, Missing},
};
use sotong_session::Service;
use std::{fmt, str::FromStr};

/// How a server is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Model {
    /// One connection at a time, blocking reads; the others wait in the backlog.
    Sequential,
    /// One thread a connection, blocking reads; one thread for each UDP socket.
    Threads,
    /// Worker processes with an event loop each, and a supervisor; see [`crate::processes`].
    Processes,
    /// Non-blocking sockets and one event loop a worker.
    Epoll,
    /// Tokio, one current-thread runtime a worker.
    Async,
    /// io_uring, one ring a worker.
    Uring,
}

impl Model {
    /// All models, the simplest first.
    pub const ALL: [Self; 6] =
        [Self::Sequential, Self::Threads, Self::Processes, Self::Epoll, Self::Async, Self::Uring];

    /// The name by which people choose it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sequential => "sequential",
            Self::Threads => "threads",
            Self::Processes => "processes",
            Self::Epoll => "epoll",
            Self::Async => "async",
            Self::Uring => "uring",
        }
    }
    /// Whether the number of workers is the caller's to choose; `sequential` has one, `threads` as many as connections.
    pub fn has_workers(self) -> bool {
        match self {
            Self::Sequential | Self::Threads => false,
            Self::Processes | Self::Epoll | Self::Async | Self::Uring => true,
        }
    }
    /// Whether this system can run it: only io_uring may be forbidden, or too old. Makes a ring to find out.
    ///
    /// # Errors
    /// The first thing that is missing.
    pub fn availability(self) -> Result<(), Missing> {
        match self {
            Self::Sequential | Self::Threads | Self::Processes | Self::Epoll | Self::Async => Ok(()),
            Self::Uring => uring::probe(),
        }
    }
    /// The model to take where none is asked for: `uring` where the system allows it, else `epoll`, and why not `uring`.
    pub fn best() -> (Self, Option<Missing>) {
        match Self::Uring.availability() {
            Ok(()) => (Self::Uring, None),
            Err(missing) => (Self::Epoll, Some(missing)),
        }
    }
    /// Why sessions cannot send each other mail under it; `None` if they can.
    fn obstacle(self) -> Option<Obstacle> {
        match self {
            Self::Sequential => Some(Obstacle::OneAtATime),
            Self::Processes => Some(Obstacle::MemoryApart),
            Self::Threads | Self::Epoll | Self::Async | Self::Uring => None,
        }
    }
    /// Whether sessions can send each other mail under it, as those of a room do.
    pub fn has_mail(self) -> bool {
        self.obstacle().is_none()
    }
    /// Whether a service can be run under this model: one whose sessions send each other mail (a room) needs them to live
    /// at the same time and in the same memory. To be asked before anything listens; [`crate::serve`] asks too.
    ///
    /// # Errors
    /// Why not, and which models can.
    pub fn check<S: Service>(self) -> Result<(), ModelError> {
        match self.obstacle() {
            Some(obstacle) if has_mail::<S>() && S::TALKS => Err(ModelError { model: self, obstacle }),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A model cannot run a service whose sessions send each other mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the model {model} cannot run a service whose sessions send each other mail: {obstacle}; {able} can", able = names(Self::able()))]
pub struct ModelError {
    /// The model.
    pub model: Model,
    /// What stands in the way.
    pub obstacle: Obstacle,
}

/// Why sessions cannot send each other mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// There is never a second session to send it to.
    OneAtATime,
    /// They live in processes that share no memory.
    MemoryApart,
}

impl ModelError {
    /// The models that can.
    pub fn able() -> Vec<Model> {
        Model::ALL.into_iter().filter(|model| model.obstacle().is_none()).collect()
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OneAtATime => "it serves one connection at a time",
            Self::MemoryApart => "its processes share no memory",
        })
    }
}

/// No model has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no model {0:?}: the models are {list}", list = names(Model::ALL))]
pub struct UnknownModel(pub String);

fn names(models: impl IntoIterator<Item = Model>) -> String {
    let names: Vec<_> = models.into_iter().map(Model::name).collect();
    names.join(", ")
}

impl FromStr for Model {
    type Err = UnknownModel;
    fn from_str(name: &str) -> Result<Self, UnknownModel> {
        Self::ALL.into_iter().find(|model| model.name() == name).ok_or_else(|| UnknownModel(name.to_owned()))
    }
}
