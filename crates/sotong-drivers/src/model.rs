//! The I/O models by name.
use std::{fmt, str::FromStr};

/// How a server is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Model {
    /// One thread a connection, blocking reads; one thread for each UDP socket.
    Threads,
    /// Non-blocking sockets and one event loop a worker.
    Epoll,
    /// Tokio, one current-thread runtime a worker.
    Async,
    /// io_uring, one ring a worker.
    Uring,
}

impl Model {
    /// All models, the simplest first.
    pub const ALL: [Self; 4] = [Self::Threads, Self::Epoll, Self::Async, Self::Uring];

    /// The name by which people choose it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Threads => "threads",
            Self::Epoll => "epoll",
            Self::Async => "async",
            Self::Uring => "uring",
        }
    }
    /// Whether the number of workers is the caller's to choose; `threads` has as many as connections.
    pub fn has_workers(self) -> bool {
        match self {
            Self::Threads => false,
            Self::Epoll | Self::Async | Self::Uring => true,
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No model has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no model {0:?}: the models are threads, epoll, async and uring")]
pub struct UnknownModel(pub String);

impl FromStr for Model {
    type Err = UnknownModel;
    fn from_str(name: &str) -> Result<Self, UnknownModel> {
        Self::ALL.into_iter().find(|model| model.name() == name).ok_or_else(|| UnknownModel(name.to_owned()))
    }
}
