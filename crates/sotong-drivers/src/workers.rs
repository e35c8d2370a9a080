//! Worker threads that each run one loop: what they share, and their ends.
use crate::{
    ServeError,
    control::wait,
    door::{Door, Ticket},
    server::{Context, obey},
};
use sotong_net::{datagrams::Datagrams, listener::Listener, signals::Stop, socket::Socket, wake::Waker};
use sotong_session::{Moment, Service, Way};
use sotong_shard::Counters;
use std::{
    collections::VecDeque,
    io,
    ops::ControlFlow,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// A connection on its way to the loop that will serve it.
pub(crate) type Arrival = (Socket, Way, Ticket);

/// Where other loops leave connections for this one.
pub(crate) struct Mailbox {
    arrivals: Mutex<VecDeque<Arrival>>,
    pub(crate) waker: Waker,
}

impl Mailbox {
    fn arrivals(&self) -> MutexGuard<'_, VecDeque<Arrival>> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }
    pub(crate) fn leave(&self, arrival: Arrival) {
        self.arrivals().push_back(arrival);
        self.waker.wake();
    }
    pub(crate) fn take(&self) -> VecDeque<Arrival> {
        std::mem::take(&mut *self.arrivals())
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.arrivals().is_empty()
    }
}

/// Accepts some of those who wait, and leaves each with the worker that has fewest. Those that worker `number` keeps.
pub(crate) fn accept(
    door: &mut Door,
    nonblocking: bool,
    now: Moment,
    number: usize,
    mailboxes: &[Mailbox],
) -> Vec<Arrival> {
    let mut mine = Vec::new();
    door.accept(now, nonblocking, |socket, way, ticket| {
        if ticket.worker == number {
            mine.push((socket, way, ticket));
        } else {
            mailboxes[ticket.worker].leave((socket, way, ticket));
        }
        ControlFlow::Continue(())
    });
    mine
}
/// Whether another worker has left something for `number`; one that is alone need not look.
pub(crate) fn has_arrivals(number: usize, mailboxes: &[Mailbox]) -> bool {
    mailboxes.len() > 1 && !mailboxes[number].is_empty()
}

/// What one worker serves from the start.
pub(crate) struct Share {
    pub(crate) number: usize,
    /// The first one's: it also accepts, and hands each connection to the worker with fewest. Listeners are not registered
    /// with every worker: two loops that compete for one listener split connections 998 to 2.
    pub(crate) door: Option<Door>,
    pub(crate) udp: Vec<Datagrams>,
}

/// Makes each worker's mailbox and its share of the sockets.
pub(crate) fn share_out<S: Service>(
    context: &Context<S>,
    listeners: Vec<Listener>,
    sockets: Vec<Vec<Datagrams>>,
    door: &Waker,
) -> io::Result<(Arc<[Mailbox]>, Vec<Share>)> {
    let workers = context.options.workers;
    let mut mailboxes = Vec::with_capacity(workers);
    for number in 0..workers {
        // The first one's waker is the door's: a place that becomes free wakes whoever accepts.
        let waker = if number == 0 { door.clone() } else { Waker::new()? };
        context.control.listen(&waker);
        mailboxes.push(Mailbox { arrivals: Mutex::default(), waker });
    }
    let mut door = Some(Door::new(listeners, Arc::clone(&context.places)));
    let mut shares: Vec<_> = (0..workers).map(|number| Share { number, door: door.take(), udp: Vec::new() }).collect();
    for group in sockets {
        for (number, socket) in group.into_iter().enumerate() {
            shares[number % workers].udp.push(socket);
        }
    }
    Ok((mailboxes.into(), shares))
}

/// Runs `work` on a thread for each of `parts`, passes on to the loops what `stop` says, and returns when all are done:
/// what they did, and how many connections were cut off.
pub(crate) fn run<S: Service, P: Send>(
    context: &Context<S>,
    name: &str,
    parts: Vec<P>,
    stop: &Stop,
    work: impl Fn(P) -> (Counters, usize) + Sync,
) -> Result<(Counters, usize), ServeError> {
    let done = Waker::new().map_err(ServeError::system("eventfd"))?;
    let ended = AtomicUsize::new(0);
    let work = &work;
    std::thread::scope(|scope| {
        let threads: Vec<_> = parts
            .into_iter()
            .enumerate()
            .map(|(number, part)| {
                let tell = Tell { ended: &ended, bell: done.clone() };
                std::thread::Builder::new().name(format!("{name}-{number}")).spawn_scoped(scope, move || {
                    let _tell = tell;
                    work(part)
                })
            })
            .collect();
        let started = threads.iter().filter(|thread| thread.is_ok()).count();
        if started < threads.len() {
            context.control.drain(context.options.limits.drain);
        } else {
            context.tell_ready();
        }
        while ended.load(Ordering::SeqCst) < started {
            let obeyed = obey(context, stop);
            if let Err(error) = wait(stop, obeyed, &done) {
                tracing::error!(%error, "cannot wait for a stop: leaving");
                context.control.leave();
                break;
            }
            done.hush();
            if ended.load(Ordering::SeqCst) > 0 {
                // Loops only end when told to. If one broke, the others must not go on alone.
                context.control.drain(context.options.limits.drain);
            }
        }
        let (mut counters, mut cut) = (Counters::default(), 0);
        for thread in threads {
            let worker = thread.map_err(ServeError::system("starting a thread"))?;
            let (its, left) = worker.join().map_err(|_| ServeError::Panicked)?;
            counters.add(&its);
            cut += left;
        }
        Ok((counters, cut))
    })
}

/// Counts and rings when a loop ends, however it ends: a thread that rings is not finished yet.
struct Tell<'a> {
    ended: &'a AtomicUsize,
    bell: Waker,
}
impl Drop for Tell<'_> {
    fn drop(&mut self) {
        self.ended.fetch_add(1, Ordering::SeqCst);
        self.bell.wake();
    }
}
