//! What is measured.
use std::{fmt, str::FromStr};

use crate::load::Shape;

/// One kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Workload {
    /// 64-byte ping-pong on one connection.
    One,
    /// 64-byte ping-pong on 50 connections.
    Fifty,
    /// 64-byte ping-pong on 1,000 connections.
    Thousand,
    /// 64-byte ping-pong on 8,000 connections.
    EightThousand,
    /// 64-byte messages on 50 connections, 32 of each on the way.
    Pipelined,
    /// 16-KiB messages on 50 connections.
    Large,
    /// Connect, one message, close; 50 at once.
    Churn,
    /// 64-byte datagrams of 50 peers.
    Datagrams,
    /// 5,000 connections that say nothing: the memory of each.
    Idle,
    /// One peer sends and never reads while 50 others play.
    Hog,
}

/// What to do for a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Play messages over connections.
    Play(Shape),
    /// Connect, play one message, close; so many at once.
    Churn(usize),
    /// Play datagrams; so many peers.
    Datagrams(usize),
    /// Hold so many connections.
    Hold(usize),
    /// Play messages without and with a hog.
    Hog(Shape),
}

/// How large the loads are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// As named.
    Full,
    /// At most 100 connections: whether it works, not how fast.
    Smoke,
}

const SMOKE_CONNECTIONS_MAX: usize = 100;

impl Workload {
    /// All of them, in the order of the tables.
    pub const ALL: [Self; 10] = [
        Self::One,
        Self::Fifty,
        Self::Thousand,
        Self::EightThousand,
        Self::Pipelined,
        Self::Large,
        Self::Churn,
        Self::Datagrams,
        Self::Idle,
        Self::Hog,
    ];

    /// Those whose figure is messages for each second of server CPU.
    pub fn rates() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|workload| !matches!(workload, Self::Idle | Self::Hog))
    }

    /// The name for `--only`, in JSON and in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::One => "1",
            Self::Fifty => "50",
            Self::Thousand => "1000",
            Self::EightThousand => "8000",
            Self::Pipelined => "pipelined",
            Self::Large => "16KiB",
            Self::Churn => "connect-close",
            Self::Datagrams => "udp",
            Self::Idle => "idle",
            Self::Hog => "hog",
        }
    }

    /// What to do.
    pub fn task(self, scale: Scale) -> Task {
        let count = |connections: usize| match scale {
            Scale::Full => connections,
            Scale::Smoke => connections.min(SMOKE_CONNECTIONS_MAX),
        };
        let play = |connections, depth, message_bytes| Shape { connections: count(connections), depth, message_bytes };
        match self {
            Self::One => Task::Play(play(1, 1, 64)),
            Self::Fifty => Task::Play(play(50, 1, 64)),
            Self::Thousand => Task::Play(play(1000, 1, 64)),
            Self::EightThousand => Task::Play(play(8000, 1, 64)),
            Self::Pipelined => Task::Play(play(50, 32, 64)),
            Self::Large => Task::Play(play(50, 1, 16 << 10)),
            Self::Churn => Task::Churn(count(50)),
            Self::Datagrams => Task::Datagrams(count(50)),
            Self::Idle => Task::Hold(count(5000)),
            Self::Hog => Task::Hog(play(50, 1, 64)),
        }
    }

    /// Whether it needs many connections that are served at the same time, which `sequential` does not do.
    pub fn is_concurrent(self) -> bool {
        !matches!(self, Self::One | Self::Churn | Self::Datagrams)
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Workload {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|workload| workload.name() == name);
        found.ok_or_else(|| format!("there is no workload {name:?}: there are {}", names()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_workload_is_found_by_its_name() {
        for workload in Workload::ALL {
            assert_eq!(workload.name().parse(), Ok(workload));
        }
        assert!("9000".parse::<Workload>().unwrap_err().contains("8000, pipelined"));
    }

    #[test]
    fn smoke_is_small_and_full_is_as_named() {
        assert_eq!(Workload::Idle.task(Scale::Full), Task::Hold(5000));
        assert_eq!(Workload::Idle.task(Scale::Smoke), Task::Hold(100));
        let Task::Play(shape) = Workload::EightThousand.task(Scale::Full) else { panic!("a play") };
        assert_eq!(shape, Shape { connections: 8000, depth: 1, message_bytes: 64 });
    }
}
