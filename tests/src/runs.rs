//! The ways to run a server: the one table that every test over all models goes by.
use sotong::drivers::Model;
use std::fmt;

/// A model, and with how many workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The model.
    pub model: Model,
    /// Its workers; `None` where the model has no such number.
    pub workers: Option<usize>,
}

/// Every model, each that has workers with one and with two.
pub fn runs() -> Vec<Run> {
    let of = |model: Model| {
        let workers: &[Option<usize>] = if model.has_workers() { &[Some(1), Some(2)] } else { &[None] };
        workers.iter().map(move |workers| Run { model, workers: *workers })
    };
    Model::ALL.into_iter().flat_map(of).collect()
}

/// Those whose sessions share memory: where a room can be.
pub fn shared_runs() -> Vec<Run> {
    // By name, so that a new model is decided about here.
    let shares = |run: &Run| match run.model {
        Model::Threads | Model::Epoll | Model::Async | Model::Uring => true,
        // With one connection at a time there is nobody to talk to; and processes share no memory.
        Model::Sequential | Model::Processes => false,
    };
    runs().into_iter().filter(shares).collect()
}

/// Those that serve several connections at once. `sequential`, which serves one after the other, has tests of its own.
pub fn concurrent_runs() -> Vec<Run> {
    let is_concurrent = |run: &Run| match run.model {
        Model::Threads | Model::Processes | Model::Epoll | Model::Async | Model::Uring => true,
        Model::Sequential => false,
    };
    runs().into_iter().filter(is_concurrent).collect()
}

impl Run {
    /// How many processes serve, each with descriptors of its own.
    pub fn processes(&self) -> usize {
        if self.model == Model::Processes { self.workers.unwrap_or(1) } else { 1 }
    }
    /// The command line of `service` under this model.
    pub fn line<'a>(&self, service: &'a str, more: &[&'a str]) -> Vec<String> {
        let mut line = vec![service.to_owned(), "--model".to_owned(), self.model.name().to_owned()];
        if let Some(workers) = self.workers {
            line.extend(["--workers".to_owned(), workers.to_string()]);
        }
        line.extend(more.iter().map(|&word| word.to_owned()));
        line
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.workers {
            Some(workers) => write!(f, "{} with {workers}", self.model),
            None => self.model.fmt(f),
        }
    }
}
