//! Virtual time, and what is to happen.
use crate::Dice;
use std::{collections::BTreeMap, time::Duration};

/// What is to happen at some moment.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A shard does its next step.
    Step(u16),
    /// A sleeping shard's deadline has come, if it is still the same sleep.
    Timer { shard: u16, sleep: u64 },
    /// A connection reaches the server.
    Connect(usize),
    /// A peer looks what there is to do.
    Peer(usize),
    /// The next piece of a direction may leave.
    Depart { wire: usize, side: usize },
    /// A piece reaches the other end.
    Arrive { wire: usize, side: usize, bytes: Vec<u8> },
    /// The end of a direction reaches the other end.
    ArriveFin { wire: usize, side: usize },
    /// A reset reaches this side.
    ArriveReset { wire: usize, side: usize },
    /// A datagram reaches a shard's socket.
    ToShard { peer: usize, bytes: Vec<u8> },
    /// A datagram reaches a peer.
    ToPeer { peer: usize, bytes: Vec<u8> },
    /// A shard's datagram socket can be written again.
    DatagramRoom { shard: u16, slot: u32, turn: u32 },
    /// A desk has an answer ready.
    Desk(usize),
    /// The civil clock jumps.
    WallJump(i64),
    /// The monotonic clock jumps forward.
    ClockJump(u64),
    /// The server is told to leave.
    Stop,
    /// The drain limit has passed.
    Cut,
}

/// Virtual time in nanoseconds, and everything that is to happen, in order.
#[derive(Debug)]
pub(crate) struct Agenda {
    pub(crate) now: u64,
    pub(crate) dice: Dice,
    queue: BTreeMap<(u64, u64), Happening>,
    number: u64,
}

impl Agenda {
    pub(crate) fn new(dice: Dice) -> Self {
        Self { now: 0, dice, queue: BTreeMap::new(), number: 0 }
    }
    /// At an absolute moment, or at once if it has passed; behind what is already planned for it.
    pub(crate) fn at(&mut self, at: u64, happening: Happening) {
        self.number += 1;
        self.queue.insert((at.max(self.now), self.number), happening);
    }
    /// After some time.
    pub(crate) fn after(&mut self, nanos: u64, happening: Happening) {
        self.at(self.now.saturating_add(nanos), happening);
    }
    /// The next thing, and the time is then.
    pub(crate) fn next(&mut self) -> Option<Happening> {
        let ((at, _), happening) = self.queue.pop_first()?;
        self.now = at;
        Some(happening)
    }
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
