//! What has been looked up a moment ago: files that are open, small ones whole, pages of folders.
use super::Found;
use sotong_session::{Address, Map, Moment};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Limits of a [`Shelf`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShelfLimits {
    /// What was found is served for this long without looking again: 1 s. So long a change may stay unseen, and so often a
    /// path costs its file's opening.
    pub fresh: Duration,
    /// Paths that are remembered: 1,024.
    pub paths_max: usize,
    /// Files that are held open for it: 64. Connections leave 256 descriptors to everything else.
    pub files_max: usize,
    /// Bytes of contents: 16 MiB.
    pub bytes_max: usize,
}

impl Default for ShelfLimits {
    fn default() -> Self {
        Self { fresh: Duration::from_secs(1), paths_max: 1024, files_max: 64, bytes_max: 16 << 20 }
    }
}

/// What has been looked up, for all sessions of a server: one short lock, and one question at the desk however many ask.
#[derive(Debug)]
pub struct Shelf {
    limits: ShelfLimits,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    places: Map<Arc<[u8]>, Place>,
    files: usize,
    bytes: usize,
}

#[derive(Debug)]
enum Place {
    /// The desk is looking; who waits beside the one that asked, and until when the answer is good.
    Asked {
        waiting: Vec<Address>,
        until: Moment,
    },
    Found {
        found: Found,
        until: Moment,
    },
}

/// What comes of asking a [`Shelf`].
#[derive(Debug)]
pub(crate) enum Looked {
    /// Here it is.
    Here(Found),
    /// The desk will tell by mail.
    Coming,
    /// The desk has too much to do.
    Busy,
}

impl Shelf {
    /// An empty one.
    pub fn new(limits: ShelfLimits) -> Self {
        Self { limits, inner: Mutex::default() }
    }
    /// What is at `key`, or a promise that it will be told to `who`. `ask` asks the desk; it is called under the lock, so
    /// that nobody waits for a question that was not taken.
    pub(crate) fn look(&self, key: &[u8], who: Address, now: Moment, ask: impl FnOnce(Arc<[u8]>) -> bool) -> Looked {
        let mut inner = self.lock();
        match inner.places.get_mut(key) {
            Some(Place::Found { found, until }) if now < *until => return Looked::Here(found.clone()),
            Some(Place::Asked { waiting, .. }) => {
                waiting.push(who);
                return Looked::Coming;
            }
            Some(Place::Found { .. }) | None => {}
        }
        let key: Arc<[u8]> = key.into();
        if !inner.make_room(&self.limits, now) || !ask(Arc::clone(&key)) {
            return Looked::Busy;
        }
        let until = now + self.limits.fresh;
        inner.put(key, Place::Asked { waiting: Vec::new(), until });
        Looked::Coming
    }
    /// The desk's answer. Who waits for it beside the one that asked.
    pub fn put(&self, key: &Arc<[u8]>, found: &Found) -> Vec<Address> {
        let mut inner = self.lock();
        let Some(Place::Asked { waiting, until }) = inner.take(key) else { return Vec::new() };
        let (files, bytes) = found.weight();
        let fits = inner.files + files <= self.limits.files_max && inner.bytes + bytes <= self.limits.bytes_max;
        if fits || inner.drop_oldest(&self.limits, (files, bytes)) {
            inner.put(Arc::clone(key), Place::Found { found: found.clone(), until });
        }
        waiting
    }
    /// Forgets everything that was found: something has been changed by us. What the desk is being asked for now it may
    /// have looked for before that, and is told, but not kept.
    pub(crate) fn clear(&self) {
        let mut inner = self.lock();
        for place in inner.places.values_mut() {
            match place {
                Place::Asked { until, .. } | Place::Found { until, .. } => *until = Moment::START,
            }
        }
    }
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Each critical section leaves the shelf whole at every step.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn put(&mut self, key: Arc<[u8]>, place: Place) {
        self.take(&key);
        if let Place::Found { found, .. } = &place {
            let (files, bytes) = found.weight();
            self.files += files;
            self.bytes += bytes;
        }
        self.places.insert(key, place);
    }
    fn take(&mut self, key: &[u8]) -> Option<Place> {
        let place = self.places.remove(key)?;
        if let Place::Found { found, .. } = &place {
            let (files, bytes) = found.weight();
            self.files -= files;
            self.bytes -= bytes;
        }
        Some(place)
    }
    /// Whether there is room for one more path. Whenever something is looked up anew, what is stale goes.
    fn make_room(&mut self, limits: &ShelfLimits, now: Moment) -> bool {
        let stale = |place: &Place| matches!(place, Place::Found { until, .. } if *until <= now);
        let keys: Vec<_> =
            self.places.iter().filter(|(_, place)| stale(place)).map(|(key, _)| Arc::clone(key)).collect();
        for key in keys {
            self.take(&key);
        }
        self.places.len() < limits.paths_max || self.drop_oldest(limits, (0, 0))
    }
    /// Drops what was found first until a file and so many bytes more fit in. False if they never do.
    fn drop_oldest(&mut self, limits: &ShelfLimits, (files, bytes): (usize, usize)) -> bool {
        if files > limits.files_max || bytes > limits.bytes_max {
            return false;
        }
        loop {
            let found = |(key, place): (&Arc<[u8]>, &Place)| match place {
                Place::Found { until, .. } => Some((*until, Arc::clone(key))),
                Place::Asked { .. } => None,
            };
            let Some((_, key)) = self.places.iter().filter_map(found).min() else { return false };
            self.take(&key);
            if self.files + files <= limits.files_max
                && self.bytes + bytes <= limits.bytes_max
                && self.places.len() < limits.paths_max
            {
                return true;
            }
        }
    }
}
