//! How often each limit has been reached.
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
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
