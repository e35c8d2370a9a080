//! Slow work on threads of its own.
use sotong_session::Address;
use sotong_shard::{DeskQueue, Exchange};
use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// What a desk does with what it is asked. It may block: it has a thread of its own.
pub trait DeskWork<M>: Send + 'static {
    /// Does the work. The answer goes to who asked.
    fn work(&mut self, asked: &M) -> M;
    /// The answer where `work` panicked: who asked must hear of it.
    fn failed(&mut self, asked: &M) -> M;
    /// How many pieces of work it takes at once, where so many wait: 1. Those who write to a disk take many, for one sync does
    /// for all.
    fn batch_max(&self) -> usize {
        1
    }
    /// Does several pieces of work in their order: an answer to each.
    fn work_all(&mut self, asked: &[M]) -> Vec<M> {
        asked.iter().map(|asked| self.work(asked)).collect()
    }
    /// Who else is to get the answer of the last `work` or `failed`: those who have waited for it without asking. Asked once
    /// after each.
    fn others(&mut self) -> Vec<Address> {
        Vec::new()
    }
}

/// A desk to be: how many threads it gets, how much may wait, and who works there.
pub struct Plan<M> {
    pub(crate) queue_max: usize,
    pub(crate) workers: Vec<Box<dyn DeskWork<M>>>,
    begun: Option<Begun<M>>,
    is_left: bool,
}

/// What is done with the way to sessions, once there is one.
type Begun<M> = Box<dyn FnOnce(Outside<M>) + Send>;

/// The way to the sessions of a server from outside: for what nobody of them has asked for. It leads nowhere once the server
/// has ended.
pub struct Outside<M>(Weak<Exchange<M>>);

impl<M: Clone> Outside<M> {
    /// Queues `mail` for one session. False if it, or its shard, is no more. It is for what comes seldom: nobody is held back
    /// by how much waits.
    pub fn post(&self, to: Address, mail: M) -> bool {
        self.0.upgrade().is_some_and(|exchange| exchange.post(to, mail))
    }
}

impl<M> Plan<M> {
    /// Calls `begun` when the server has what its sessions are reached by, before anybody comes.
    #[must_use]
    pub fn when_begun(mut self, begun: impl FnOnce(Outside<M>) + Send + 'static) -> Self {
        self.begun = Some(Box::new(begun));
        self
    }
    /// Its work is for those alone who are here: when the server ends, nobody waits for it.
    #[must_use]
    pub fn left_at_end(mut self) -> Self {
        self.is_left = true;
        self
    }
}

/// Plans a desk with one thread for each of `workers`. At most `queue_max` pieces of work wait; what comes then is refused,
/// which the asking session tells its peer.
pub fn desk<M>(queue_max: usize, workers: Vec<Box<dyn DeskWork<M>>>) -> Plan<M> {
    Plan { queue_max, workers, begun: None, is_left: false }
}

type Work<M> = (Address, M);

/// The desks of a server, while it runs.
pub(crate) struct Desks<M> {
    queues: Vec<Arc<Queue<M>>>,
    threads: Vec<JoinHandle<()>>,
}

/// What waits for a desk's threads. Each piece wakes one of them, and none that is at work.
struct Queue<M> {
    state: Mutex<State<M>>,
    news: Condvar,
    queue_max: usize,
}

struct State<M> {
    waiting: VecDeque<Work<M>>,
    /// Threads with nothing to do.
    idle: usize,
    /// The server has stopped: no more work is taken.
    is_closed: bool,
}

impl<M> Queue<M> {
    fn new(queue_max: usize) -> Arc<Self> {
        let state = Mutex::new(State { waiting: VecDeque::new(), idle: 0, is_closed: false });
        Arc::new(Self { state, news: Condvar::new(), queue_max })
    }
    fn lock(&self) -> MutexGuard<'_, State<M>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// The next pieces of work, at most so many; none when there will be no more.
    fn next(&self, most: usize) -> Vec<Work<M>> {
        let mut state = self.lock();
        loop {
            if !state.waiting.is_empty() {
                let count = most.clamp(1, state.waiting.len());
                return state.waiting.drain(..count).collect();
            }
            if state.is_closed {
                return Vec::new();
            }
            state.idle += 1;
            state = self.news.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }
    fn close(&self) {
        self.lock().is_closed = true;
        self.news.notify_all();
    }
}

impl<M: Send> DeskQueue<M> for Queue<M> {
    fn ask(&self, from: Address, mail: M) -> Result<(), M> {
        let mut state = self.lock();
        if state.is_closed || state.waiting.len() >= self.queue_max {
            return Err(mail);
        }
        state.waiting.push_back((from, mail));
        let must_wake = state.idle > 0;
        drop(state);
        if must_wake {
            self.news.notify_one();
        }
        Ok(())
    }
}

impl<M: Clone + Send + Sync + 'static> Desks<M> {
    /// Starts the desks' threads; their answers go through `exchange`.
    pub(crate) fn start(plans: Vec<Plan<M>>, exchange: &Arc<Exchange<M>>) -> std::io::Result<Self> {
        let mut desks = Self { queues: Vec::new(), threads: Vec::new() };
        let mut begun = Vec::new();
        for plan in plans {
            begun.extend(plan.begun);
            let queue = Queue::new(plan.queue_max);
            for mut worker in plan.workers {
                let (queue, exchange) = (Arc::clone(&queue), Arc::clone(exchange));
                let work = move || serve(&queue, worker.as_mut(), &exchange);
                let thread = std::thread::Builder::new().name("desk".to_owned()).spawn(work)?;
                if !plan.is_left {
                    desks.threads.push(thread);
                }
            }
            desks.queues.push(queue);
        }
        for begun in begun {
            begun(Outside(Arc::downgrade(exchange)));
        }
        exchange.set_desks(desks.queues.iter().map(|queue| Arc::clone(queue) as Arc<dyn DeskQueue<M>>).collect());
        Ok(desks)
    }
    /// Takes no more work, and waits at most `time_max` for what was asked; a desk that takes longer is left behind.
    pub(crate) fn stop(self, time_max: Duration) {
        for queue in &self.queues {
            queue.close();
        }
        let until = Instant::now() + time_max;
        for thread in self.threads {
            while !thread.is_finished() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(1));
            }
            if !thread.is_finished() {
                tracing::warn!("a desk did not finish its work in time");
            }
        }
    }
}

fn serve<M: Clone + 'static>(queue: &Queue<M>, worker: &mut dyn DeskWork<M>, exchange: &Exchange<M>) {
    loop {
        let (from, asked): (Vec<_>, Vec<_>) = queue.next(worker.batch_max()).into_iter().unzip();
        match (&from[..], &asked[..]) {
            ([], _) | (_, []) => return,
            ([from], [asked]) => {
                serve_one(*from, asked, worker, exchange);
                continue;
            }
            _ => {}
        }
        match catch_unwind(AssertUnwindSafe(|| worker.work_all(&asked))) {
            Ok(answers) if answers.len() == asked.len() => {
                for (from, answer) in from.into_iter().zip(answers) {
                    exchange.post(from, answer);
                }
            }
            // Who asked must hear of it.
            Ok(_) | Err(_) => {
                for (from, asked) in from.into_iter().zip(&asked) {
                    match catch_unwind(AssertUnwindSafe(|| worker.failed(asked))) {
                        Ok(answer) => {
                            exchange.post(from, answer);
                        }
                        Err(_) => tracing::error!("a desk has no answer: its failure handler panicked too"),
                    }
                }
            }
        }
    }
}

fn serve_one<M: Clone + 'static>(from: Address, asked: &M, worker: &mut dyn DeskWork<M>, exchange: &Exchange<M>) {
    let answer = catch_unwind(AssertUnwindSafe(|| worker.work(asked)))
        .or_else(|_| catch_unwind(AssertUnwindSafe(|| worker.failed(asked))));
    match answer {
        Ok(answer) => {
            // A desk that has no answer for others still has one for who asked.
            let others = catch_unwind(AssertUnwindSafe(|| worker.others())).unwrap_or_default();
            for other in others {
                exchange.post(other, answer.clone());
            }
            exchange.post(from, answer);
        }
        Err(_) => tracing::error!("a desk has no answer: its failure handler panicked too"),
    }
}
