//! `bench chat`: Sotong's chat beside a bare relay of lines, InspIRCd and ngIRCd.
mod coming;
mod crowd;
mod report;
mod server;
mod talk;
mod workload;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use serde_json::{Value, json};

pub use coming::{Lists, joins, visit};
pub use report::{markdown, targets_met};
pub use server::Server;
pub use talk::{Shape, talk};
pub use workload::{Target, Task, Workload};

use crate::{
    load::{LoadError, Tally},
    report::Machine,
    server::{Cores, Running, StartError},
    stats::median,
    workload::Scale,
};

/// How long memory may take to come to rest.
const REST_MAX: Duration = Duration::from_secs(2);

/// One server under one workload in one round.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// Counted from 0.
    pub round: usize,
    /// The kind of load.
    pub workload: Workload,
    /// Who was measured.
    pub server: Server,
    /// Seconds of the server's CPU for each delivery, visit or join; for idle clients bytes of PSS for each.
    pub each: f64,
    /// How many these were.
    pub count: u64,
}

/// A run.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Where.
    pub machine: Machine,
    /// Seconds of one window.
    pub seconds: f64,
    /// What was measured.
    pub cells: Vec<Cell>,
    /// Who was left out, and why.
    pub skips: Vec<(Server, String)>,
}

/// What a run covers, and how.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// Where our programs are.
    pub folder: &'a Path,
    /// Where servers and load run.
    pub cores: Cores,
    /// How large the loads are.
    pub scale: Scale,
    /// The length of a window.
    pub length: Duration,
    /// How often everything is measured.
    pub rounds: usize,
    /// Who is measured.
    pub servers: Vec<Server>,
    /// Under which loads.
    pub workloads: Vec<Workload>,
    /// Set by Ctrl-C.
    pub interrupted: &'a AtomicBool,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was measured.
    pub run: Run,
    /// Cells without a figure, and why.
    pub failures: Vec<String>,
}

/// Measures, server after server within a workload, round after round. `tell` hears how it goes.
///
/// # Errors
/// If the machine does not tell what it is, or there is no room for files.
pub fn run(plan: &Plan<'_>, mut tell: impl FnMut(&str)) -> io::Result<Outcome> {
    let run = Run { machine: Machine::this()?, seconds: plan.length.as_secs_f64(), cells: vec![], skips: vec![] };
    let mut outcome = Outcome { run, failures: Vec::new() };
    let scratch = std::env::temp_dir().join(format!("sotong-bench-chat-{}", std::process::id()));
    fs::create_dir_all(&scratch)?;
    for round in 0..plan.rounds {
        for &workload in &plan.workloads {
            for &server in &plan.servers {
                let is_out = outcome.run.skips.iter().any(|(skipped, _)| *skipped == server);
                if is_out || plan.interrupted.load(Ordering::Relaxed) {
                    continue;
                }
                let place = format!("round {} of {}: {}: {}", round + 1, plan.rounds, workload.name(), server.name());
                match measure(plan, &scratch, server, workload) {
                    Ok((each, count)) => {
                        tell(&format!("{place}: {}", report::brief(workload, each)));
                        outcome.run.cells.push(Cell { round, workload, server, each, count });
                    }
                    Err(Fault::Start(StartError::Impossible(why))) => {
                        tell(&format!("left out: {}: {why}", server.name()));
                        outcome.run.skips.push((server, why));
                    }
                    Err(Fault::Load(LoadError::Interrupted)) => {}
                    Err(fault) => {
                        tell(&format!("{place}: no figure: {fault}"));
                        outcome.failures.push(format!("{place}: {fault}"));
                    }
                }
            }
        }
    }
    fs::remove_dir_all(&scratch)?;
    Ok(outcome)
}

#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Load(#[from] LoadError),
}

fn measure(plan: &Plan<'_>, scratch: &Path, server: Server, workload: Workload) -> Result<(f64, u64), Fault> {
    let running = server.start(plan.folder, scratch, plan.cores)?;
    let (at, interrupted) = ((running.address, running.tree()), plan.interrupted);
    let each = |tally: Tally| (tally.cpu.as_secs_f64() / tally.messages as f64, tally.messages);
    Ok(match workload.task(plan.scale) {
        Task::Talk(shape) => each(talk(at, shape, plan.length, interrupted)?),
        Task::Visit(lanes) => each(visit(at, lanes, plan.length, interrupted)?),
        Task::Join(clients) => each(joins(at, clients, server.lists(), interrupted)?),
        Task::Hold(clients) => hold(&running, clients, interrupted)?,
    })
}

/// Bytes of PSS for each of `clients` that have registered and say nothing.
fn hold(running: &Running, clients: usize, interrupted: &AtomicBool) -> Result<(f64, u64), LoadError> {
    let memory = || {
        let memory = running.tree().memory_at_rest(REST_MAX);
        memory.map_err(|source| LoadError::System { what: "read the server's memory", source })
    };
    // What the first one brings is nobody's own.
    let mut crowd = crowd::Crowd::register(running.address, 1, interrupted)?;
    let before = memory()?;
    crowd.enlarge(running.address, 1 + clients)?;
    crowd.settle()?;
    let grown = memory()?.proportional.saturating_sub(before.proportional);
    Ok((grown as f64 / clients as f64, clients as u64))
}

impl Run {
    /// The median of a server's figures.
    pub fn median(&self, workload: Workload, server: Server) -> Option<f64> {
        median(self.rounds(workload, server).map(|(_, each)| each).collect())
    }
    /// The median of the ratios to `other`, each within one round; a round that lacks one of the two does not count.
    pub fn ratio(&self, workload: Workload, server: Server, other: Server) -> Option<f64> {
        let others: Vec<_> = self.rounds(workload, other).collect();
        let ratios = self.rounds(workload, server).filter_map(|(round, each)| {
            let (_, other) = others.iter().find(|(at, other)| *at == round && *other > 0.0)?;
            Some(each / other)
        });
        median(ratios.collect())
    }
    fn rounds(&self, workload: Workload, server: Server) -> impl Iterator<Item = (usize, f64)> + '_ {
        let own = self.cells.iter().filter(move |cell| (cell.workload, cell.server) == (workload, server));
        own.map(|cell| (cell.round, cell.each))
    }
    /// How many rounds there were.
    pub fn rounds_count(&self) -> usize {
        self.cells.iter().map(|cell| cell.round + 1).max().unwrap_or(0)
    }

    /// All rounds as JSON.
    pub fn to_json(&self) -> Value {
        let cell = |cell: &Cell| {
            json!({ "round": cell.round, "workload": cell.workload.name(), "server": cell.server.name(),
                "each": cell.each, "count": cell.count })
        };
        json!({
            "linux": self.machine.linux, "cores": self.machine.cores, "window_seconds": self.seconds,
            "unit": "seconds of the server's CPU for each; for idle clients bytes of PSS",
            "cells": self.cells.iter().map(cell).collect::<Vec<_>>(),
            "left_out": self.skips.iter().map(|(server, why)| json!({ "server": server.name(), "why": why })).collect::<Vec<_>>(),
        })
    }
    /// What [`Self::to_json`] wrote; none if it is something else.
    pub fn from_json(value: &Value) -> Option<Self> {
        let cell = |value: &Value| {
            Some(Cell {
                round: usize::try_from(value.get("round")?.as_u64()?).ok()?,
                workload: value.get("workload")?.as_str()?.parse().ok()?,
                server: Server::named(value.get("server")?.as_str()?)?,
                each: value.get("each")?.as_f64()?,
                count: value.get("count")?.as_u64()?,
            })
        };
        let skip = |value: &Value| {
            Some((Server::named(value.get("server")?.as_str()?)?, value.get("why")?.as_str()?.to_owned()))
        };
        let cores = usize::try_from(value.get("cores")?.as_u64()?).ok()?;
        Some(Self {
            machine: Machine { linux: value.get("linux")?.as_str()?.to_owned(), cores },
            seconds: value.get("window_seconds")?.as_f64()?,
            cells: value.get("cells")?.as_array()?.iter().map(cell).collect::<Option<_>>()?,
            skips: value.get("left_out")?.as_array()?.iter().map(skip).collect::<Option<_>>()?,
        })
    }
    /// Reads a file of such JSON.
    ///
    /// # Errors
    /// If it cannot be read or is something else.
    pub fn read(path: &PathBuf) -> io::Result<Self> {
        let value = serde_json::from_str(&fs::read_to_string(path)?)?;
        Self::from_json(&value)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "this is no run of the bench of chats"))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn run_of(cells: &[(usize, Workload, Server, f64)]) -> Run {
        let cell = |(round, workload, server, each): &(usize, Workload, Server, f64)| Cell {
            round: *round,
            workload: *workload,
            server: *server,
            each: *each,
            count: 7,
        };
        Run {
            machine: Machine { linux: "6.1".to_owned(), cores: 2 },
            seconds: 0.5,
            cells: cells.iter().map(cell).collect(),
            skips: vec![(Server::Ngircd, "not here".to_owned())],
        }
    }

    #[test]
    fn ratios_are_taken_within_a_round_before_the_median() {
        use {Server::*, Workload::Fan};
        let run = run_of(&[
            (0, Fan, Relay, 1.0),
            (0, Fan, Epoll, 2.0),
            (1, Fan, Relay, 4.0),
            (1, Fan, Epoll, 4.0),
            (2, Fan, Epoll, 9.0),
        ]);
        assert_eq!(run.ratio(Fan, Epoll, Relay), Some(1.5));
        assert_eq!((run.median(Fan, Epoll), run.median(Fan, Uring), run.rounds_count()), (Some(4.0), None, 3));
    }

    #[test]
    fn a_run_survives_json() {
        let run = run_of(&[(1, Workload::Idle, Server::Inspircd, 2048.5)]);
        assert_eq!(Run::from_json(&run.to_json()), Some(run));
        assert_eq!(Run::from_json(&json!({ "cells": [] })), None);
    }
}
