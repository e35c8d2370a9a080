//! One server under one workload in one round, and its figure.
use std::{path::Path, sync::atomic::AtomicBool, time::Duration};

use serde_json::{Value, json};

use crate::{
    load::{Hog, LoadError, Tally, churn, datagrams, dial, play},
    message::Messages,
    peer::Wire,
    proc::Memory,
    server::{Cores, Running, Server, StartError},
    workload::{Scale, Task, Workload},
};

/// How long memory may take to come to rest.
const REST_MAX: Duration = Duration::from_secs(2);

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Figure {
    /// Messages within a window, the CPU time they took, and how long they took.
    Rate(Tally),
    /// Bytes of memory for each idle connection: PSS and RSS of the server's processes, after less before.
    EachIdle {
        /// Bytes of PSS.
        proportional: f64,
        /// Bytes of RSS.
        resident: f64,
    },
    /// What 50 peers play beside a hog.
    Hog {
        /// Their messages a second as a ratio to those without it.
        kept: f64,
        /// The most memory that the server had.
        most: Memory,
    },
}

/// A figure with where it belongs.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// Counted from 0.
    pub round: usize,
    /// The kind of load.
    pub workload: Workload,
    /// The server's name.
    pub server: String,
    /// What was measured.
    pub figure: Figure,
}

/// Why a cell has no figure.
#[derive(Debug, thiserror::Error)]
pub enum CellError {
    /// The server did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The load failed.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// What all cells of a run have in common.
#[derive(Clone, Copy, Debug)]
pub struct Bench<'a> {
    /// Where the programs are.
    pub folder: &'a Path,
    /// Where servers and load run.
    pub cores: Cores,
    /// How large the loads are.
    pub scale: Scale,
    /// The length of a window.
    pub length: Duration,
    /// Set by Ctrl-C.
    pub interrupted: &'a AtomicBool,
}

impl Bench<'_> {
    /// Starts a server, measures it, and ends it.
    ///
    /// # Errors
    /// If there is no figure.
    pub fn measure(&self, server: &Server, workload: Workload) -> Result<Figure, CellError> {
        let wire = if workload == Workload::Datagrams { Wire::Udp } else { Wire::Tcp };
        let running = Running::start(server, wire, self.folder, self.cores)?;
        Ok(self.figure(&running, workload)?)
    }

    fn figure(&self, running: &Running, workload: Workload) -> Result<Figure, LoadError> {
        let server = (running.address, running.tree());
        let (length, interrupted) = (self.length, self.interrupted);
        Ok(match workload.task(self.scale) {
            Task::Play(shape) => Figure::Rate(play(server, shape, Hog::Absent, length, interrupted)?.0),
            Task::Churn(connections) => Figure::Rate(churn(server, connections, length, interrupted)?),
            Task::Datagrams(peers) => Figure::Rate(datagrams(server, peers, length, interrupted)?),
            Task::Hold(connections) => self.hold(running, connections)?,
            Task::Hog(shape) => {
                let (without, _) = play(server, shape, Hog::Absent, length, interrupted)?;
                let (with, most) = play(server, shape, Hog::Present, length, interrupted)?;
                Figure::Hog { kept: a_second(&with) / a_second(&without), most }
            }
        })
    }

    fn hold(&self, running: &Running, connections: usize) -> Result<Figure, LoadError> {
        let messages = Messages::new(64);
        let memory = || {
            let memory = running.tree().memory_at_rest(REST_MAX);
            memory.map_err(|source| LoadError::System { what: "read the server's memory", source })
        };
        // What the first connection brings is no connection's own.
        let _first = dial(running.address, 1, &messages, self.interrupted)?;
        let before = memory()?;
        let _held = dial(running.address, connections, &messages, self.interrupted)?;
        let after = memory()?;
        let each = |after: u64, before: u64| after.saturating_sub(before) as f64 / connections as f64;
        Ok(Figure::EachIdle {
            proportional: each(after.proportional, before.proportional),
            resident: each(after.resident, before.resident),
        })
    }
}

fn a_second(tally: &Tally) -> f64 {
    tally.messages as f64 / tally.elapsed.as_secs_f64()
}

impl Figure {
    /// Messages for each second of server CPU; none where the time was too short to have been counted.
    pub fn for_each_cpu_second(&self) -> Option<f64> {
        match self {
            Self::Rate(tally) if !tally.cpu.is_zero() => Some(tally.messages as f64 / tally.cpu.as_secs_f64()),
            _ => None,
        }
    }

    /// Whether it says anything at all.
    pub fn is_there(&self) -> bool {
        match self {
            Self::Rate(tally) => tally.messages > 0,
            Self::EachIdle { .. } => true,
            Self::Hog { kept, most } => kept.is_finite() && *kept > 0.0 && most.proportional > 0,
        }
    }

    fn to_json(self) -> Value {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        match self {
            Self::Rate(Tally { messages, elapsed, cpu, p50, p99 }) => json!({
                "messages": messages, "elapsed_us": micros(elapsed), "server_cpu_us": micros(cpu),
                "p50_ns": u64::try_from(p50.as_nanos()).unwrap_or(u64::MAX),
                "p99_ns": u64::try_from(p99.as_nanos()).unwrap_or(u64::MAX),
            }),
            Self::EachIdle { proportional, resident } => json!({
                "idle_pss_bytes_each": proportional, "idle_rss_bytes_each": resident,
            }),
            Self::Hog { kept, most } => json!({
                "kept": kept, "most_pss_bytes": most.proportional, "most_rss_bytes": most.resident,
            }),
        }
    }

    fn from_json(value: &Value) -> Option<Self> {
        let number = |name: &str| value.get(name).and_then(Value::as_f64);
        let whole = |name: &str| value.get(name).and_then(Value::as_u64);
        if let Some(messages) = whole("messages") {
            return Some(Self::Rate(Tally {
                messages,
                elapsed: Duration::from_micros(whole("elapsed_us")?),
                cpu: Duration::from_micros(whole("server_cpu_us")?),
                p50: Duration::from_nanos(whole("p50_ns")?),
                p99: Duration::from_nanos(whole("p99_ns")?),
            }));
        }
        if let Some(proportional) = number("idle_pss_bytes_each") {
            return Some(Self::EachIdle { proportional, resident: number("idle_rss_bytes_each")? });
        }
        let most = Memory { proportional: whole("most_pss_bytes")?, resident: whole("most_rss_bytes")? };
        Some(Self::Hog { kept: number("kept")?, most })
    }
}

impl Cell {
    /// As an object of JSON, units in the names.
    pub fn to_json(&self) -> Value {
        let mut value = self.figure.to_json();
        value["round"] = self.round.into();
        value["workload"] = self.workload.name().into();
        value["server"] = self.server.as_str().into();
        value
    }

    /// What [`Self::to_json`] wrote.
    pub fn from_json(value: &Value) -> Option<Self> {
        Some(Self {
            round: usize::try_from(value.get("round")?.as_u64()?).ok()?,
            workload: value.get("workload")?.as_str()?.parse().ok()?,
            server: value.get("server")?.as_str()?.to_owned(),
            figure: Figure::from_json(value)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_figure_survives_json() {
        let micros = Duration::from_micros;
        let tally = Tally { messages: 9, elapsed: micros(8), cpu: micros(7), p50: micros(6), p99: micros(5) };
        let most = Memory { proportional: 4, resident: 3 };
        for figure in [
            Figure::Rate(tally),
            Figure::EachIdle { proportional: 2.5, resident: 1.5 },
            Figure::Hog { kept: 0.5, most },
        ] {
            let cell = Cell { round: 2, workload: Workload::Hog, server: "epoll".to_owned(), figure };
            assert_eq!(Cell::from_json(&cell.to_json()), Some(cell));
        }
    }

    #[test]
    fn a_rate_needs_time_that_was_counted() {
        let second = Duration::from_secs(1);
        let tally = Tally { messages: 9, elapsed: second, cpu: second / 2, p50: second, p99: second };
        assert_eq!(Figure::Rate(tally).for_each_cpu_second(), Some(18.0));
        let none = Figure::Rate(Tally { cpu: Duration::ZERO, ..tally });
        assert_eq!((none.for_each_cpu_second(), none.is_there()), (None, true));
        assert!(!Figure::Rate(Tally { messages: 0, ..tally }).is_there());
    }
}
