//! What waits in memory, for all shards together, and who is cut off where it becomes too much.
use super::Shard;
use sotong_session::{Close, Service};

impl<S: Service, W> Shard<S, W> {
    /// Notes what waits in a slot.
    pub(super) fn set_weight(&mut self, slot: u32, weight: usize) {
        let Some(entry) = self.slot_mut(slot) else { return };
        let before = std::mem::replace(&mut entry.weighed, weight);
        if before == weight {
            return;
        }
        self.waiting.remove(&(before, slot));
        if weight > 0 {
            self.waiting.insert((weight, slot));
        }
        let most = self.waiting.last().map_or(0, |(weight, _)| *weight);
        self.office.exchange.weigh(self.office.shard, (before, weight), most);
    }
    /// Whether too much waits in memory and this shard has to do something about it. Where another has whoever has most, that one
    /// is woken.
    pub(super) fn must_relieve(&self) -> bool {
        let exchange = &self.office.exchange;
        if exchange.bytes_waiting() <= self.limits.memory_high() {
            return false;
        }
        match exchange.heaviest() {
            Some(shard) if shard == self.office.shard => !self.waiting.is_empty(),
            Some(shard) => {
                exchange.wake(shard);
                false
            }
            None => false,
        }
    }
    /// Cuts off whoever has most waiting, until that is enough or another shard has him.
    pub(super) fn relieve(&mut self) {
        while self.must_relieve() {
            let Some((_, slot)) = self.waiting.last().copied() else { return };
            self.office.counters.cut_for_memory += 1;
            self.fail(slot, Close::Slow);
            // Its memory goes with it, in this turn.
            self.set_weight(slot, 0);
        }
    }
}
