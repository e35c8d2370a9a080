//! When which slot wants to be looked at.
use sotong_session::Moment;
use std::{cmp::Reverse, collections::BinaryHeap};

/// Moments at which slots are to be looked at, soonest first.
///
/// A slot's deadline may move later for free: its entry fires early, finds nothing due, and is set anew. So an idle limit
/// that each message pushes back costs nothing a message.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(Moment, u32, u32)>>,
}

impl Timers {
    /// Looks at (`slot`, `turn`) again at `at`.
    pub(crate) fn set(&mut self, at: Moment, slot: u32, turn: u32) {
        self.heap.push(Reverse((at, slot, turn)));
    }
    /// The soonest entry.
    pub(crate) fn next(&self) -> Option<Moment> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }
    /// Takes an entry that is due.
    pub(crate) fn pop_due(&mut self, now: Moment) -> Option<(Moment, u32, u32)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }
    /// Entries, stale ones included.
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }
    /// Keeps what `is_current` says is still meant.
    pub(crate) fn retain(&mut self, is_current: impl Fn(Moment, u32, u32) -> bool) {
        self.heap.retain(|Reverse((at, slot, turn))| is_current(*at, *slot, *turn));
    }
}
