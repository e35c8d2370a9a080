//! Every choice of a run, from one seed.

/// A seeded generator with the questions a simulation asks.
#[derive(Clone, Debug)]
pub struct Dice(fastrand::Rng);

impl Dice {
    /// The same seed gives the same answers.
    pub fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }
    /// A generator of its own for one part of a run: what it is asked changes nothing for the others.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self(self.0.fork())
    }
    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0.u64(low..=high.max(low))
    }
    /// The index of one of `count` things.
    pub fn pick(&mut self, count: usize) -> usize {
        self.0.usize(..count.max(1))
    }
    /// One of these.
    pub fn one_of<T: Copy>(&mut self, things: &[T]) -> T {
        things[self.0.usize(..things.len())]
    }
    /// Happens `per_mille` times in a thousand.
    pub fn chance(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.0.u32(..1000) < per_mille
    }
    /// A size from 1 to `max`: one, all, and anything between are about as frequent as each other.
    pub fn size(&mut self, max: usize) -> usize {
        match self.0.u8(..4) {
            0 => 1,
            1 => max.max(1),
            _ => self.0.usize(1..=max.max(1)),
        }
    }
    /// Puts `things` into any order.
    pub fn shuffle<T>(&mut self, things: &mut [T]) {
        self.0.shuffle(things);
    }
}
