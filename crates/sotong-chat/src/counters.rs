//! How often each limit has been reached.
use crate::Table;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Counts by the names of limits: those in [`ChatLimits`](crate::ChatLimits), and those of the layers around a client.
///
/// A limit is reached seldom beside everything else that happens, so one short lock is all it takes.
#[derive(Debug, Default)]
pub(crate) struct Counters(Mutex<BTreeMap<&'static str, u64>>);

impl Counters {
    /// A limit has been reached once more.
    pub(crate) fn hit(&self, limit: &'static str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(limit).or_default();
        *count = count.saturating_add(1);
    }
    /// Those that have been reached at all, by name, and how often.
    pub(crate) fn all(&self) -> Vec<(&'static str, u64)> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|(name, count)| (*name, *count)).collect()
    }
}

/// What connections have open, each at most one.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    /// Questions that desks have been asked.
    pub(crate) waits: Gauge,
    /// Batches of lines.
    pub(crate) batches: Gauge,
}

impl Gauges {
    pub(crate) fn tables(&self) -> [Table; 2] {
        let table = |name, gauge: &Gauge| Table { name, len: gauge.0.load(Ordering::Relaxed), max: usize::MAX };
        [table("waits", &self.waits), table("batches", &self.batches)]
    }
}

/// Counts what is open.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gauge(Arc<AtomicUsize>);

impl Gauge {
    /// One more, until it is dropped.
    pub(crate) fn open(&self) -> Opened {
        self.0.fetch_add(1, Ordering::Relaxed);
        Opened(self.clone())
    }
}

/// Something that is open.
#[derive(Debug)]
pub(crate) struct Opened(Gauge);

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
