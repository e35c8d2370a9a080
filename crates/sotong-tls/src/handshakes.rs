//! How many handshakes are under way.
use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

/// Counts the handshakes of a server and bounds how many are under way: a handshake is the dearest thing that a stranger can
/// ask for. Who finds no place waits, unread, until there is one or its own time is up. Copies count together.
#[derive(Clone, Debug)]
pub struct Handshakes(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    max: usize,
    under_way: AtomicUsize,
    waited: AtomicU64,
}

/// A place, for as long as a handshake takes.
#[derive(Debug)]
pub(crate) struct Place(Arc<Counts>);

/// Handshakes under way at once, by default: enough for every burst that one machine gets through in its time, and at most
/// 20 MiB of unfinished messages.
pub const HANDSHAKES_MAX: usize = 256;

impl Handshakes {
    /// At most `max` under way, at least 1.
    pub fn new(max: usize) -> Self {
        Self(Arc::new(Counts { max: max.max(1), under_way: AtomicUsize::new(0), waited: AtomicU64::new(0) }))
    }
    /// Those under way now.
    pub fn under_way(&self) -> usize {
        self.0.under_way.load(Ordering::Relaxed)
    }
    /// How many have had to wait so far.
    pub fn waited(&self) -> u64 {
        self.0.waited.load(Ordering::Relaxed)
    }
    pub(crate) fn begin(&self) -> Option<Place> {
        let room = |under_way: usize| (under_way < self.0.max).then_some(under_way + 1);
        self.0.under_way.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).ok()?;
        Some(Place(Arc::clone(&self.0)))
    }
    pub(crate) fn note_wait(&self) {
        self.0.waited.fetch_add(1, Ordering::Relaxed);
    }
}

impl Default for Handshakes {
    fn default() -> Self {
        Self::new(HANDSHAKES_MAX)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}
