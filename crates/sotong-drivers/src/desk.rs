//! Slow work on threads of its own.
use sotong_session::Address;
use sotong_shard::{DeskQueue, Exchange};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// What a desk does with what it is asked. It may block: it has a thread of its own.
pub trait DeskWork<M>: Send + 'static {
    /// Does the work. The answer goes to who asked.
    fn work(&mut self, asked: &M) -> M;
    /// The answer where `work` panicked: who asked must hear of it.
    fn failed(&mut self, asked: &M) -> M;
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
}

/// Plans a desk with one thread for each of `workers`. At most `queue_max` pieces of work wait; what comes then is refused,
/// which the asking session tells its peer.
pub fn desk<M>(queue_max: usize, workers: Vec<Box<dyn DeskWork<M>>>) -> Plan<M> {
    Plan { queue_max, workers }
}

type Work<M> = (Address, M);

/// The desks of a server, while it runs.
pub(crate) struct Desks<M> {
    queues: Vec<Arc<Queue<M>>>,
    threads: Vec<JoinHandle<()>>,
}

struct Queue<M> {
    /// `None` once the server has stopped.
    sender: Mutex<Option<SyncSender<Work<M>>>>,
}

impl<M: Send> DeskQueue<M> for Queue<M> {
    fn ask(&self, from: Address, mail: M) -> Result<(), M> {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        match &*sender {
            Some(sender) => sender.try_send((from, mail)).map_err(|error| match error {
                TrySendError::Full((_, mail)) | TrySendError::Disconnected((_, mail)) => mail,
            }),
            None => Err(mail),
        }
    }
}

impl<M: Clone + Send + Sync + 'static> Desks<M> {
    /// Starts the desks' threads; their answers go through `exchange`.
    pub(crate) fn start(plans: Vec<Plan<M>>, exchange: &Arc<Exchange<M>>) -> std::io::Result<Self> {
        let mut desks = Self { queues: Vec::new(), threads: Vec::new() };
        for plan in plans {
            let (sender, receiver) = sync_channel(plan.queue_max);
            let receiver = Arc::new(Mutex::new(receiver));
            desks.queues.push(Arc::new(Queue { sender: Mutex::new(Some(sender)) }));
            for mut worker in plan.workers {
                let (receiver, exchange) = (Arc::clone(&receiver), Arc::clone(exchange));
                let work = move || serve(&receiver, worker.as_mut(), &exchange);
                desks.threads.push(std::thread::Builder::new().name("desk".to_owned()).spawn(work)?);
            }
        }
        exchange.set_desks(desks.queues.iter().map(|queue| Arc::clone(queue) as Arc<dyn DeskQueue<M>>).collect());
        Ok(desks)
    }
    /// Takes no more work, and waits at most `time_max` for what was asked; a desk that takes longer is left behind.
    pub(crate) fn stop(self, time_max: Duration) {
        for queue in &self.queues {
            *queue.sender.lock().unwrap_or_else(PoisonError::into_inner) = None;
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

fn serve<M: Clone + 'static>(
    receiver: &Mutex<Receiver<Work<M>>>,
    worker: &mut dyn DeskWork<M>,
    exchange: &Exchange<M>,
) {
    loop {
        let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((from, asked)) = next else { return };
        let answer = catch_unwind(AssertUnwindSafe(|| worker.work(&asked)))
            .or_else(|_| catch_unwind(AssertUnwindSafe(|| worker.failed(&asked))));
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
}
