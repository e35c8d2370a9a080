//! Rounds over all servers and workloads.
use std::{io, path::Path, sync::atomic::Ordering};

use serde_json::{Value, json};

use crate::{
    cell::{Bench, Cell, CellError, Figure},
    load::LoadError,
    peer::Wire,
    report::{Machine, Run, Skip},
    server::{Running, Server, StartError},
    stats::Cells,
    workload::Workload,
};

/// What a run covers.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How often everything is measured.
    pub rounds: usize,
    /// Who is measured.
    pub servers: Vec<Server>,
    /// Under which loads.
    pub workloads: Vec<Workload>,
}

/// A run with what went wrong in it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was measured.
    pub run: Run,
    /// Cells without a figure, and why.
    pub failures: Vec<String>,
    /// Whether it was interrupted.
    pub interrupted: bool,
}

/// Measures everything that this machine can run, server after server within a workload, round after round. `tell` hears
/// how it goes.
///
/// # Errors
/// If the machine does not tell what it is.
pub fn run(bench: &Bench<'_>, plan: &Plan, mut tell: impl FnMut(&str)) -> io::Result<Outcome> {
    let machine = Machine::this()?;
    let run = Run { machine, seconds: bench.length.as_secs_f64(), cells: Cells::default(), skips: Vec::new() };
    let mut outcome = Outcome { run, failures: Vec::new(), interrupted: false };
    let servers = able(bench, &plan.servers, &mut outcome);
    for &workload in &plan.workloads {
        for server in &servers {
            if let Some(why) = server.lacks(workload) {
                let skip = Skip { server: server.name(), workload: Some(workload), why: why.to_owned() };
                outcome.run.skips.push(skip);
            }
        }
    }
    for skip in &outcome.run.skips {
        let of = skip.workload.map(|workload| format!(" under {workload}")).unwrap_or_default();
        tell(&format!("left out: {}{of}: {}", skip.server, skip.why));
    }
    for round in 0..plan.rounds {
        for &workload in &plan.workloads {
            for server in servers.iter().filter(|server| server.lacks(workload).is_none()) {
                if bench.interrupted.load(Ordering::Relaxed) {
                    outcome.interrupted = true;
                    return Ok(outcome);
                }
                let place = format!("round {} of {}: {workload}: {}", round + 1, plan.rounds, server.name());
                match measure(bench, server, workload) {
                    Ok(figure) => {
                        tell(&format!("{place}: {}", brief(&figure)));
                        let server = server.name();
                        outcome.run.cells.0.push(Cell { round, workload, server, figure });
                    }
                    Err(CellError::Load(LoadError::Interrupted)) => {}
                    Err(CellError::Start(StartError::Impossible(why))) => {
                        let skip = Skip { server: server.name(), workload: Some(workload), why };
                        tell(&format!("{place}: left out: {}", skip.why));
                        if !outcome.run.skips.contains(&skip) {
                            outcome.run.skips.push(skip);
                        }
                    }
                    Err(fault) => {
                        tell(&format!("{place}: no figure: {fault}"));
                        outcome.failures.push(format!("{place}: {fault}"));
                    }
                }
            }
        }
    }
    Ok(outcome)
}

/// Those that this machine can run; the others are left out by name.
fn able(bench: &Bench<'_>, servers: &[Server], outcome: &mut Outcome) -> Vec<Server> {
    let mut able = Vec::new();
    for server in servers {
        match Running::start(server, Wire::Tcp, bench.folder, bench.cores) {
            Ok(_) => able.push(server.clone()),
            Err(StartError::Impossible(why)) => {
                outcome.run.skips.push(Skip { server: server.name(), workload: None, why });
            }
            Err(fault) => outcome.failures.push(fault.to_string()),
        }
    }
    able
}

fn measure(bench: &Bench<'_>, server: &Server, workload: Workload) -> Result<Figure, CellError> {
    let figure = bench.measure(server, workload)?;
    let nothing = CellError::Start(StartError::Failed("there is nothing to tell".to_owned()));
    if figure.is_there() { Ok(figure) } else { Err(nothing) }
}

fn brief(figure: &Figure) -> String {
    match figure {
        Figure::Rate(tally) => {
            let rate = figure.for_each_cpu_second().map_or_else(|| "?".to_owned(), |rate| format!("{rate:.0}"));
            format!("{rate} a CPU second, p50 {:.1?}, p99 {:.1?}", tally.p50, tally.p99)
        }
        Figure::EachIdle { proportional, .. } => format!("{proportional:.0} bytes each"),
        Figure::Hog { kept, most } => format!("the others keep {kept:.2}, {} KiB", most.proportional >> 10),
    }
}

impl Machine {
    /// This one.
    ///
    /// # Errors
    /// If it does not tell.
    pub fn this() -> io::Result<Self> {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let linux = release.split('.').take(2).collect::<Vec<_>>().join(".");
        let cores =
            std::fs::read_to_string("/proc/cpuinfo")?.lines().filter(|line| line.starts_with("processor")).count();
        Ok(Self { linux, cores: cores.max(1) })
    }
}

impl Run {
    /// All rounds as JSON, units in the names.
    pub fn to_json(&self) -> Value {
        let skip = |skip: &Skip| json!({ "server": skip.server, "workload": skip.workload.map(Workload::name), "why": skip.why });
        json!({
            "linux": self.machine.linux,
            "cores": self.machine.cores,
            "window_seconds": self.seconds,
            "cells": self.cells.0.iter().map(Cell::to_json).collect::<Vec<_>>(),
            "left_out": self.skips.iter().map(skip).collect::<Vec<_>>(),
        })
    }

    /// What [`Self::to_json`] wrote; none if it is something else.
    pub fn from_json(value: &Value) -> Option<Self> {
        let skip = |value: &Value| {
            let workload = value.get("workload")?.as_str().map(str::parse);
            Some(Skip {
                server: value.get("server")?.as_str()?.to_owned(),
                workload: workload.transpose().ok()?,
                why: value.get("why")?.as_str()?.to_owned(),
            })
        };
        let cores = usize::try_from(value.get("cores")?.as_u64()?).ok()?;
        Some(Self {
            machine: Machine { linux: value.get("linux")?.as_str()?.to_owned(), cores },
            seconds: value.get("window_seconds")?.as_f64()?,
            cells: Cells(value.get("cells")?.as_array()?.iter().map(Cell::from_json).collect::<Option<_>>()?),
            skips: value.get("left_out")?.as_array()?.iter().map(skip).collect::<Option<_>>()?,
        })
    }

    /// Reads a file of such JSON.
    ///
    /// # Errors
    /// If it cannot be read or is something else.
    pub fn read(path: &Path) -> io::Result<Self> {
        let value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
        Self::from_json(&value).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "this is no run of the bench"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::tests::rate;

    #[test]
    fn a_run_survives_json() {
        let skip = |workload| Skip { server: "uring".to_owned(), workload, why: "no".to_owned() };
        let run = Run {
            machine: Machine { linux: "6.1".to_owned(), cores: 2 },
            seconds: 0.5,
            cells: Cells(vec![rate(0, Workload::One, "epoll", 5, 2), rate(1, Workload::Churn, "uring", 6, 3)]),
            skips: vec![skip(None), skip(Some(Workload::Hog))],
        };
        assert_eq!(Run::from_json(&run.to_json()), Some(run));
        assert_eq!(Run::from_json(&json!({ "cells": [] })), None);
    }
}
