//! Desks of a run: slow, busy, and failing, and still exactly one answer to each ask.
use crate::{Dice, guard::Tagged};
use sotong_session::Address;
use sotong_shard::DeskQueue;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What a desk of a run is like.
pub struct DeskPlan<M> {
    /// Work that may wait. More is refused.
    pub queue_max: usize,
    /// Asks in a thousand that are refused although there is room.
    pub refusals: u32,
    /// The longest that one piece of work takes.
    pub time_max: Duration,
    /// Whether several work side by side, so that answers come in any order; else in that of the asks.
    pub any_order: bool,
    /// Does the work. What fails is an answer too.
    pub work: Work<M>,
    /// Who else gets the answer of the work just done, having waited for it without asking.
    pub others: Others,
}

/// What a desk does with a piece of mail: its answer.
pub type Work<M> = Box<dyn FnMut(M, &mut Dice) -> M>;

/// Who else gets an answer; asked once after each piece of work.
pub type Others = Box<dyn FnMut() -> Vec<Address>>;

/// The side of a desk that shards see.
pub(crate) struct Queue<M> {
    inner: Mutex<Inner<M>>,
    queue_max: usize,
    refusals: u32,
}

struct Inner<M> {
    waiting: VecDeque<(Address, M)>,
    /// Came since the simulation last looked.
    fresh: usize,
    dice: Dice,
}

impl<M> Queue<M> {
    pub(crate) fn new(queue_max: usize, refusals: u32, dice: Dice) -> Arc<Self> {
        Arc::new(Self { inner: Mutex::new(Inner { waiting: VecDeque::new(), fresh: 0, dice }), queue_max, refusals })
    }
    fn lock(&self) -> MutexGuard<'_, Inner<M>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// How much came since the last look.
    pub(crate) fn fresh(&self) -> usize {
        std::mem::take(&mut self.lock().fresh)
    }
    /// The next that is done: the first, or any.
    pub(crate) fn take(&self, any: bool) -> Option<(Address, M)> {
        let mut inner = self.lock();
        let at = if any {
            let count = inner.waiting.len();
            inner.dice.pick(count)
        } else {
            0
        };
        inner.waiting.remove(at)
    }
}

impl<M: Send + Sync + 'static> DeskQueue<Tagged<M>> for Queue<M> {
    fn ask(&self, from: Address, tagged: Tagged<M>) -> Result<(), Tagged<M>> {
        let mut inner = self.lock();
        if inner.waiting.len() >= self.queue_max || inner.dice.chance(self.refusals) {
            return Err(tagged);
        }
        inner.waiting.push_back((from, tagged.mail));
        inner.fresh += 1;
        Ok(())
    }
}
