//! The world as a session sees it during one call.
use crate::{Marks, Output, Wants};
use std::time::Duration;

/// What a session may use while it handles one event.
pub struct Cx<'a, M> {
    /// The driver's clock, for deadlines. It never goes back.
    pub now: Moment,
    /// Civil time, for people only: it may jump. Never for deadlines.
    pub wall: Wall,
    /// This session's own address, for topics and answers.
    pub me: Address,
    /// Bytes on their way to the peer.
    pub out: &'a mut Output,
    /// The driver.
    pub host: &'a mut dyn Host<M>,
}

impl<M> Cx<'_, M> {
    /// Whether a session that wants `wants` is to be shown more input now: what every loop over input asks before each unit.
    ///
    /// Beyond [`Wants::takes`] it minds that the mail this shard has sent may have to be taken first (rule D14): one event
    /// that says very much stops at the mark like many that say little. What is left untaken is shown again after `Again`.
    pub fn takes(&self, wants: Wants) -> bool {
        wants.takes(self.out) && !self.host.is_held()
    }
    /// Runs an inner session against `scratch`, whose marks become what is left of this output's.
    ///
    /// The layer empties `scratch` afterwards, on `Err` too (rule L2).
    ///
    /// # Panics
    /// In debug builds, if `scratch` still holds something of an earlier call.
    pub fn nest<R>(&mut self, scratch: &mut Output, run: impl FnOnce(&mut Cx<'_, M>) -> R) -> R {
        debug_assert!(scratch.is_empty(), "rule L2: a layer empties its scratch after every nested call");
        scratch.set_marks(self.out.marks_left());
        let result = run(&mut Cx { now: self.now, wall: self.wall, me: self.me, out: scratch, host: self.host });
        if scratch.has_overflowed() {
            self.out.set_overflowed();
        }
        result
    }
}

/// The driver, as a session sees it. Never calls back into a session: mail waits its turn (rule D2).
pub trait Host<M> {
    /// Queues `mail` for one session. Mail to an address that is gone is dropped and counted.
    fn post(&mut self, to: Address, mail: M);
    /// Queues `mail` for all members of `topic` but `except`, in the topic's one order.
    fn publish(&mut self, topic: Topic, except: Option<Address>, mail: M);
    /// Makes `who` a member; holds on return: everything published from then on comes to it.
    fn join(&mut self, topic: Topic, who: Address);
    /// Ends a membership; holds on return: nothing more of `topic` comes.
    fn leave(&mut self, topic: Topic, who: Address);
    /// Sends work to a desk; exactly one answer comes back as mail.
    ///
    /// # Errors
    /// Hands `mail` back if the desk's bounded queue is full, or there is no such desk: say so to the peer.
    fn ask(&mut self, desk: Desk, mail: M) -> Result<(), M>;
    /// Whether mail of this shard waits elsewhere above the mark, so that no more input is shown to its sessions (rule D14).
    /// It may begin during a call and ends between calls. A host without mail is never held.
    fn is_held(&self) -> bool {
        false
    }
    /// Fills `bytes` from the driver's generator; the simulator's is seeded. Not for keys.
    fn random(&mut self, bytes: &mut [u8]);
}

/// Nanoseconds since the driver began. Sessions do not make one up: they add a duration to [`Cx::now`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// When the driver began.
    pub const START: Self = Self(0);

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Self;
    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Milliseconds since 1970-01-01 UTC, read by the driver once a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wall(pub i64);

/// Where one session is reached by mail. Never reused: `turn` differs for each session in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// The shard that runs it.
    pub shard: u16,
    /// Its place there.
    pub slot: u32,
    /// The how-manieth session of that place.
    pub turn: u32,
}

/// Names a set of sessions that get the same mail in one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(pub u64);

/// Names a worker that does slow things (disk, names, passwords) away from the shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Desk(pub u16);

impl Output {
    /// Marks for a nested output: what is left of this one's.
    fn marks_left(&self) -> Marks {
        let left = |mark: usize| mark.saturating_sub(self.len());
        let marks = self.marks();
        Marks { low: 0, high: left(marks.high), hard: left(marks.hard) }
    }
}
