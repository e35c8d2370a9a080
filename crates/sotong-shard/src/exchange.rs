//! Where shards meet: inboxes, topics and desks.
use sotong_session::{Address, Desk, Map, Topic};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
};

/// Ends a shard's sleep. Called only when the shard has said that it sleeps.
pub trait Wake: Send + Sync {
    /// Makes the shard's wait return, now or the next time it is entered.
    fn wake(&self);
}

/// The bounded queue of a desk: slow work, done away from the shards.
pub trait DeskQueue<M>: Send + Sync {
    /// Takes work whose one answer goes to `from` by [`Exchange::post`].
    ///
    /// # Errors
    /// Hands the work back if the queue is full.
    fn ask(&self, from: Address, mail: M) -> Result<(), M>;
}

/// Shared by the shards of one driver: an inbox for each, the topics and the desks.
///
/// A publish takes its topic's lock, pushes one entry into the inbox of each shard that has members, and lets go: that order
/// of pushes is the topic's one order (rule D12c).
pub struct Exchange<M> {
    inboxes: Box<[OnceLock<Inbox<M>>]>,
    stripes: Box<[Mutex<Stripe>]>,
    /// Bytes that wait in memory for the connections of all shards.
    bytes: Arc<AtomicUsize>,
    desks: OnceLock<Vec<Arc<dyn DeskQueue<M>>>>,
}

struct Inbox<M> {
    /// Entries waiting; read without the lock by rule D12b's check and by senders that are held.
    len: AtomicUsize,
    /// The shard is about to wait, or waits: the next push wakes it.
    asleep: AtomicBool,
    /// What waits in memory for that connection of this shard which has most, bytes.
    most: AtomicUsize,
    /// Numbers the sessions of this shard, so that an address is never used twice.
    turns: AtomicU32,
    queue: Mutex<Queue<M>>,
    waker: Mutex<Option<Arc<dyn Wake>>>,
}

struct Queue<M> {
    entries: VecDeque<Entry<M>>,
    /// Whether the shard runs. Nobody empties the inbox of one that does not: nothing may be put there.
    entered: bool,
    /// Shards that are held until this inbox falls (rule D14).
    waiting: Vec<u16>,
}

/// One thing in an inbox.
#[derive(Debug)]
pub(crate) enum Entry<M> {
    /// For one session; by a session, or from outside (a desk's answer).
    Post {
        to: Address,
        mail: M,
        from_outside: bool,
    },
    Publish {
        topic: Topic,
        place: u64,
        except: Option<Address>,
        mail: M,
    },
    Join {
        topic: Topic,
        who: Address,
        since: u64,
    },
    Leave {
        topic: Topic,
        who: Address,
    },
}

/// Topics that share a lock.
#[derive(Default)]
struct Stripe {
    /// Counts publishes of all topics here. It outlives a topic that empties, so that a later member of the same name never
    /// sees what was published before it.
    place: u64,
    /// For each topic, how many members each shard has; shards without members are not listed.
    topics: Map<Topic, Vec<(u16, u32)>>,
}

impl Stripe {
    fn leave(&mut self, topic: Topic, shard: u16) {
        let Some(shards) = self.topics.get_mut(&topic) else { return };
        if let Some(at) = shards.iter().position(|(s, _)| *s == shard) {
            shards[at].1 -= 1;
            if shards[at].1 == 0 {
                shards.swap_remove(at);
            }
        }
        if shards.is_empty() {
            self.topics.remove(&topic);
        }
    }
}

const STRIPES: usize = 64;
/// Entries an empty queue keeps memory for: those of a burst are given back, for under some models each connection has two
/// queues.
const KEEP_ENTRIES_MAX: usize = 256;

/// An empty queue with the memory of `entries`, unless that is much.
pub(crate) fn without_excess<M>(mut entries: VecDeque<Entry<M>>) -> VecDeque<Entry<M>> {
    entries.clear();
    if entries.capacity() > KEEP_ENTRIES_MAX { VecDeque::new() } else { entries }
}

/// A poisoned lock is recovered: every critical section here leaves its data whole at each step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<M: Clone> Exchange<M> {
    /// Room for `shards_max` shards, at most 65,536.
    pub fn new(shards_max: usize) -> Arc<Self> {
        let inboxes = (0..shards_max.min(1 << 16)).map(|_| OnceLock::new()).collect();
        let stripes = (0..STRIPES).map(|_| Mutex::default()).collect();
        Arc::new(Self { inboxes, stripes, bytes: Arc::default(), desks: OnceLock::new() })
    }
    /// Gives the desks, numbered from 0. Once, before any shard runs; later calls change nothing.
    pub fn set_desks(&self, desks: Vec<Arc<dyn DeskQueue<M>>>) {
        let _ = self.desks.set(desks);
    }
    /// A shard begins: its inbox is empty, and `waker` ends its sleep.
    ///
    /// # Panics
    /// If `shard` is not below the number given to [`Self::new`].
    pub fn enter(&self, shard: u16, waker: Arc<dyn Wake>) {
        let inbox = self.inboxes[usize::from(shard)].get_or_init(|| Inbox {
            len: AtomicUsize::new(0),
            asleep: AtomicBool::new(false),
            most: AtomicUsize::new(0),
            turns: AtomicU32::new(0),
            queue: Mutex::new(Queue { entries: VecDeque::new(), entered: false, waiting: Vec::new() }),
            waker: Mutex::new(None),
        });
        // Whoever had this number before may not have left properly.
        self.exit(shard);
        *lock(&inbox.waker) = Some(waker);
        lock(&inbox.queue).entered = true;
    }
    /// A shard ends: what is still sent to it is dropped. Those it held are let go.
    pub fn exit(&self, shard: u16) {
        let Some(inbox) = self.inbox(shard) else { return };
        *lock(&inbox.waker) = None;
        let (entries, waiting) = {
            let mut queue = lock(&inbox.queue);
            queue.entered = false;
            inbox.len.store(0, Ordering::SeqCst);
            (std::mem::take(&mut queue.entries), std::mem::take(&mut queue.waiting))
        };
        for entry in entries {
            // A member that was counted in and will never be entered.
            if let Entry::Join { topic, .. } = entry {
                self.leave(topic, shard);
            }
        }
        for shard in waiting {
            self.wake(shard);
        }
    }
    /// Queues `mail` for one session; for desks and drivers. False if there is no such shard, or it has ended.
    ///
    /// What a session sends while it handles this is bounded as what it sends while it handles input: a desk's answer is the rest
    /// of an input that asked.
    pub fn post(&self, to: Address, mail: M) -> bool {
        self.push(to.shard, Entry::Post { to, mail, from_outside: true }).is_some()
    }
    /// Wakes a shard whether or not it sleeps: for stopping, and for connections handed over.
    pub fn wake(&self, shard: u16) {
        if let Some(inbox) = self.inbox(shard) {
            inbox.asleep.store(false, Ordering::SeqCst);
            let waker = lock(&inbox.waker).clone();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Bytes that wait in memory for all connections together: output that the kernel does not take, and input that sessions have
    /// left untaken. As of the last look of each shard at its connections; what a turn adds is counted at its end.
    pub fn bytes_waiting(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
    /// Where [`Self::bytes_waiting`] is counted: for a door that lets nobody in while it is too much.
    pub fn bytes_counter(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.bytes)
    }
    /// A connection of `shard` has `after` bytes waiting, where it had `before`; `most` is what any there has.
    pub(crate) fn weigh(&self, shard: u16, (before, after): (usize, usize), most: usize) {
        if after >= before {
            self.bytes.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.bytes.fetch_sub(before - after, Ordering::Relaxed);
        }
        if let Some(inbox) = self.inbox(shard) {
            inbox.most.store(most, Ordering::Relaxed);
        }
    }
    /// The shard that has the connection with most bytes waiting, if any has.
    pub(crate) fn heaviest(&self) -> Option<u16> {
        let most = |inbox: &OnceLock<Inbox<M>>| inbox.get().map_or(0, |inbox| inbox.most.load(Ordering::Relaxed));
        let (shard, most) = (0..).zip(self.inboxes.iter().map(most)).max_by_key(|(_, most)| *most)?;
        (most > 0).then_some(shard)
    }

    fn inbox(&self, shard: u16) -> Option<&Inbox<M>> {
        self.inboxes.get(usize::from(shard))?.get()
    }
    /// A number no session of this shard has had.
    pub(crate) fn next_turn(&self, shard: u16) -> u32 {
        self.inbox(shard).map_or(0, |inbox| inbox.turns.fetch_add(1, Ordering::Relaxed))
    }
    /// Topics that have members.
    pub fn topics(&self) -> usize {
        self.stripes.iter().map(|stripe| lock(stripe).topics.len()).sum()
    }
    /// Entries waiting in a shard's inbox.
    pub fn waiting(&self, shard: u16) -> usize {
        self.inbox(shard).map_or(0, |inbox| inbox.len.load(Ordering::SeqCst))
    }
    /// Announces sleep. False if something came: then do not sleep.
    pub(crate) fn sleep(&self, shard: u16) -> bool {
        let Some(inbox) = self.inbox(shard) else { return true };
        inbox.asleep.store(true, Ordering::SeqCst);
        // A push that did not see `asleep` has raised `len` before: one of the two sides always notices the other.
        if inbox.len.load(Ordering::SeqCst) > 0 {
            inbox.asleep.store(false, Ordering::SeqCst);
            return false;
        }
        true
    }
    /// The shard is awake: pushes need not wake it.
    pub(crate) fn awake(&self, shard: u16) {
        if let Some(inbox) = self.inbox(shard) {
            inbox.asleep.store(false, Ordering::SeqCst);
        }
    }
    /// Pushes one entry and wakes the shard if it sleeps. How many wait there now; `None` if there is no such shard, or it
    /// has ended: then the entry is dropped.
    pub(crate) fn push(&self, shard: u16, entry: Entry<M>) -> Option<usize> {
        let inbox = self.inbox(shard)?;
        let len = {
            let mut queue = lock(&inbox.queue);
            if !queue.entered {
                return None;
            }
            queue.entries.push_back(entry);
            let len = queue.entries.len();
            inbox.len.store(len, Ordering::SeqCst);
            len
        };
        if inbox.asleep.load(Ordering::SeqCst) && inbox.asleep.swap(false, Ordering::SeqCst) {
            let waker = lock(&inbox.waker).clone();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
        Some(len)
    }
    /// Takes all entries, into an empty queue whose memory is reused.
    pub(crate) fn take(&self, shard: u16, into: &mut VecDeque<Entry<M>>) {
        let Some(inbox) = self.inbox(shard) else { return };
        let waiting = {
            let mut queue = lock(&inbox.queue);
            std::mem::swap(&mut queue.entries, into);
            inbox.len.store(0, Ordering::SeqCst);
            std::mem::take(&mut queue.waiting)
        };
        for shard in waiting {
            self.wake(shard);
        }
    }
    /// Asks that `waiter` be woken when `shard`'s inbox is emptied. False if it is empty already.
    pub(crate) fn wait_for(&self, shard: u16, waiter: u16) -> bool {
        let Some(inbox) = self.inbox(shard) else { return false };
        let mut queue = lock(&inbox.queue);
        if queue.entries.is_empty() {
            return false;
        }
        if !queue.waiting.contains(&waiter) {
            queue.waiting.push(waiter);
        }
        true
    }

    fn stripe(&self, topic: Topic) -> MutexGuard<'_, Stripe> {
        // Fibonacci hashing: neighbouring topics share no lock.
        let at = topic.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58;
        lock(&self.stripes[at as usize])
    }
    /// Pushes one entry to each shard with members of `topic`. `pushed` hears of each shard and how many wait there.
    pub(crate) fn publish(&self, topic: Topic, except: Option<Address>, mail: M, mut pushed: impl FnMut(u16, usize)) {
        let mut stripe = self.stripe(topic);
        stripe.place += 1;
        let place = stripe.place;
        let Some((last, others)) = stripe.topics.get(&topic).and_then(|shards| shards.split_last()) else { return };
        for (shard, _) in others {
            let entry = Entry::Publish { topic, place, except, mail: mail.clone() };
            pushed(*shard, self.push(*shard, entry).unwrap_or(0));
        }
        pushed(last.0, self.push(last.0, Entry::Publish { topic, place, except, mail }).unwrap_or(0));
    }
    /// Counts a member in; what is published from here on has a higher place than the one returned. A member of another
    /// shard than `here` is told to its shard under the same lock, before anything published later.
    pub(crate) fn join(&self, here: u16, topic: Topic, who: Address) -> u64 {
        let mut stripe = self.stripe(topic);
        let since = stripe.place;
        let shards = stripe.topics.entry(topic).or_default();
        match shards.iter_mut().find(|(shard, _)| *shard == who.shard) {
            Some((_, count)) => *count += 1,
            None => shards.push((who.shard, 1)),
        }
        let is_lost = who.shard != here && self.push(who.shard, Entry::Join { topic, who, since }).is_none();
        if is_lost {
            stripe.leave(topic, who.shard);
        }
        since
    }
    /// Counts a member out, as its own shard must: it alone knows whether there was such a member.
    pub(crate) fn leave(&self, topic: Topic, shard: u16) {
        self.stripe(topic).leave(topic, shard);
    }
    pub(crate) fn ask(&self, desk: Desk, from: Address, mail: M) -> Result<(), M> {
        match self.desks.get().and_then(|desks| desks.get(usize::from(desk.0))) {
            Some(desk) => desk.ask(from, mail),
            None => Err(mail),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;
    impl Wake for Nobody {
        fn wake(&self) {}
    }

    #[test]
    fn the_memory_of_a_burst_is_given_back() {
        let exchange = Exchange::new(1);
        exchange.enter(0, Arc::new(Nobody));
        let who = Address { shard: 0, slot: 0, turn: 0 };
        let mut arrived = VecDeque::new();
        for burst in [10_000, 1, 1] {
            for mail in 0..burst {
                exchange.post(who, mail);
            }
            exchange.take(0, &mut arrived);
            assert_eq!(arrived.len(), burst);
            arrived = without_excess(arrived);
            assert!(arrived.is_empty() && arrived.capacity() <= KEEP_ENTRIES_MAX);
        }
        assert!(lock(&exchange.inbox(0).unwrap().queue).entries.capacity() <= KEEP_ENTRIES_MAX);
    }
}
