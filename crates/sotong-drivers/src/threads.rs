//! One thread a connection.
//!
//! Each connection is a shard of its own. Where sessions get no mail, its thread sits in a blocking read, as a server
//! written by hand would; its clock then ticks once a second, which is how late it may notice a stop. Where they do, or
//! while output waits, it polls the socket and its waker.
//!
//! A UDP socket has one thread for all its peers.
use crate::{
    ServeError,
    blocking::{Post, STACK_BYTES, poll_for},
    control::{Order, wait},
    door::{Door, Ticket},
    server::{Context, obey},
};
use rustix::event::{PollFd, PollFlags};
use sotong_net::{datagrams::Datagrams, listener::Listener, signals::Stop, socket::Socket, wake::Waker};
use sotong_session::{Service, Way};
use sotong_shard::Counters;
use std::{
    io,
    ops::ControlFlow,
    os::fd::AsFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What the threads of a server share beside their context.
struct Crew<S: Service> {
    context: Arc<Context<S>>,
    state: Mutex<State>,
    /// Rung when the last thread ends, and when nobody accepts any more.
    done: Waker,
}

struct State {
    /// Shard numbers nobody has now, each with its waker where mail can come.
    free: Vec<(u16, Option<Waker>)>,
    /// How many numbers have been given out; all above are free too.
    used: usize,
    running: usize,
    /// Nobody accepts any more.
    closed: bool,
    counters: Counters,
    cut: usize,
}

impl<S: Service> Crew<S> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn enlist(&self) -> io::Result<(u16, Option<Waker>)> {
        let mut state = self.state();
        let seat = match state.free.pop() {
            Some(seat) => seat,
            None => {
                let id = u16::try_from(state.used).map_err(|_| io::ErrorKind::OutOfMemory)?;
                let waker = if Context::<S>::has_mail() { Some(Waker::new()?) } else { None };
                state.used += 1;
                (id, waker)
            }
        };
        state.running += 1;
        Ok(seat)
    }
    fn discharge(&self, id: u16, waker: Option<Waker>) {
        let mut state = self.state();
        state.free.push((id, waker));
        state.running -= 1;
        // Before the door is closed nobody waits for that.
        let is_last = state.closed && state.running == 0;
        drop(state);
        if is_last {
            self.done.wake();
        }
    }
    /// Wakes every thread that can be woken.
    fn ring_all(&self) {
        let used = self.state().used;
        for id in 0..used {
            self.context.exchange.wake(u16::try_from(id).unwrap_or(u16::MAX));
        }
    }
}

/// Accepts on the calling thread's behalf, serves, and returns when all threads are done.
pub(crate) fn run<S: Service>(
    context: &Arc<Context<S>>,
    listeners: Vec<Listener>,
    sockets: Vec<Vec<Datagrams>>,
    door_waker: &Waker,
    stop: &Stop,
) -> Result<(Counters, usize), ServeError> {
    let state = State { free: Vec::new(), used: 0, running: 0, closed: false, counters: Counters::default(), cut: 0 };
    let crew = Arc::new(Crew {
        context: Arc::clone(context),
        state: Mutex::new(state),
        done: Waker::new().map_err(ServeError::system("eventfd"))?,
    });
    context.control.listen(door_waker);
    for socket in sockets.into_iter().flatten() {
        serve_datagrams(&crew, socket).map_err(ServeError::system("starting a thread"))?;
    }
    let door = Door::new(listeners, Arc::clone(&context.places));
    {
        let (crew, waker) = (Arc::clone(&crew), door_waker.clone());
        std::thread::Builder::new()
            .name("accept".to_owned())
            .spawn(move || keep_door(&crew, door, &waker))
            .map_err(ServeError::system("starting a thread"))?;
    }
    loop {
        let obeyed = obey(context, stop);
        let order = context.control.order();
        if order != Order::Serve {
            crew.ring_all();
        }
        let (closed, running) = {
            let state = crew.state();
            (state.closed, state.running)
        };
        if closed && running == 0 || order == Order::Leave {
            break;
        }
        // The porter only leaves when told to; if it broke, the connections shall not go on for ever without it.
        if closed && order == Order::Serve {
            context.control.drain(context.options.limits.drain);
            crew.ring_all();
        }
        wait(stop, obeyed, &crew.done)?;
        crew.done.hush();
    }
    let state = crew.state();
    Ok((state.counters.clone(), state.cut + state.running))
}

/// Accepts until told to stop.
fn keep_door<S: Service>(crew: &Arc<Crew<S>>, door: Door, waker: &Waker) {
    /// Tells that the porter has left, however it did: a thread that rings is not finished yet.
    struct Leave<'a, S: Service>(&'a Crew<S>);
    impl<S: Service> Drop for Leave<'_, S> {
        fn drop(&mut self) {
            self.0.state().closed = true;
            self.0.done.wake();
        }
    }
    let _leave = Leave(crew.as_ref());
    // Dropped before that: whoever hears that nobody accepts any more finds the listeners closed, and their files gone.
    let mut door = door;
    let clock = &crew.context.control.clock;
    let mut waiting: Option<Arrival> = None;
    while crew.context.control.order() == Order::Serve {
        let now = clock.now();
        let mut failed = None;
        if !door.is_paused(now)
            && let Some(arrival) = waiting.take()
        {
            failed = serve_conn(crew, arrival).err();
        }
        if failed.is_none() && waiting.is_none() {
            door.accept(now, false, |socket, way, ticket| match serve_conn(crew, (socket, way, ticket)) {
                Ok(()) => ControlFlow::Continue(()),
                Err(back) => {
                    failed = Some(back);
                    ControlFlow::Break(())
                }
            });
        }
        if let Some(back) = failed {
            let (error, arrival) = *back;
            door.exhausted(now, &error);
            waiting = Some(arrival);
        }
        if crew.context.control.order() != Order::Serve {
            break;
        }
        let accepts = door.accepts(now);
        let mut fds = vec![PollFd::from_borrowed_fd(waker.as_fd(), PollFlags::IN)];
        if accepts {
            fds.extend(door.waited_for().map(|(_, at)| PollFd::from_borrowed_fd(at.as_fd(), PollFlags::IN)));
        }
        let time = if door.is_busy(now) {
            Some(Duration::ZERO)
        } else {
            door.pause().filter(|until| *until > now).map(|at| clock.until(at))
        };
        let polled = poll_for(&mut fds, time);
        let ready: Vec<usize> = door
            .waited_for()
            .zip(fds.iter().skip(1))
            .filter(|(_, fd)| !fd.revents().is_empty())
            .map(|((n, _), _)| n)
            .collect();
        drop(fds);
        waker.hush();
        if let Err(error) = polled {
            tracing::error!(%error, "cannot wait for connections");
            break;
        }
        for listener in ready {
            door.ready(listener);
        }
    }
}

/// A shard number, held by a thread; given back when it is dropped.
struct Seat<S: Service> {
    crew: Arc<Crew<S>>,
    id: u16,
    /// `None` where no mail can come.
    waker: Option<Waker>,
    /// Given back after the shard's number, so that there are never more numbers in use than places.
    ticket: Option<Ticket>,
}

impl<S: Service> Seat<S> {
    fn new(crew: &Arc<Crew<S>>) -> io::Result<Self> {
        let (id, waker) = crew.enlist()?;
        Ok(Self { crew: Arc::clone(crew), id, waker, ticket: None })
    }
    /// Does `work` at this seat, and reports what came of it. The post is gone before the number is given back.
    fn work(&self, sockets: Vec<Datagrams>, work: impl FnOnce(&mut Post<S>)) {
        let mut post = Post::new(&self.crew.context, self.id, self.waker.clone(), sockets);
        work(&mut post);
        let (counters, cut) = post.finish();
        let mut state = self.crew.state();
        state.cut += cut;
        state.counters.add(&counters);
    }
}

impl<S: Service> Drop for Seat<S> {
    fn drop(&mut self) {
        self.crew.discharge(self.id, self.waker.take());
    }
}

/// A connection that has been accepted.
type Arrival = (Socket, Way, Ticket);

/// Starts a connection's thread.
///
/// # Errors
/// There is no thread or descriptor for it; the connection is given back, to be tried again.
fn serve_conn<S: Service>(crew: &Arc<Crew<S>>, arrival: Arrival) -> Result<(), Box<(io::Error, Arrival)>> {
    let seat = match Seat::new(crew) {
        Ok(seat) => seat,
        Err(error) => return Err(Box::new((error, arrival))),
    };
    // A thread that cannot be started drops what it was to get: so it gets it from here.
    let handed = Arc::new(Mutex::new(Some((seat, arrival))));
    let taken = Arc::clone(&handed);
    let take = |from: &Mutex<Option<(Seat<S>, Arrival)>>| from.lock().unwrap_or_else(PoisonError::into_inner).take();
    let work = move || {
        let Some((mut seat, (socket, way, ticket))) = take(&taken) else { return };
        seat.ticket = Some(ticket);
        seat.work(Vec::new(), |post| {
            post.welcome(socket, &way, None);
            while post.turn() && post.slot().is_some() {
                if let Err(error) = post.wait(&[], None) {
                    tracing::error!(%error, "cannot wait for a connection");
                    return;
                }
            }
        });
    };
    let started = std::thread::Builder::new().name("conn".to_owned()).stack_size(STACK_BYTES).spawn(work);
    match (started, take) {
        (Ok(_), _) => Ok(()),
        (Err(error), take) => match take(&handed) {
            Some((_, arrival)) => Err(Box::new((error, arrival))),
            None => Ok(()),
        },
    }
}

/// Starts a datagram socket's thread.
fn serve_datagrams<S: Service>(crew: &Arc<Crew<S>>, socket: Datagrams) -> io::Result<()> {
    let seat = Seat::new(crew)?;
    let work = move || {
        seat.work(vec![socket], |post| {
            while post.turn() && !post.is_over() {
                if let Err(error) = post.wait(&[], None) {
                    tracing::error!(%error, "cannot wait for datagrams");
                    return;
                }
            }
        });
    };
    std::thread::Builder::new().name("udp".to_owned()).stack_size(STACK_BYTES).spawn(work)?;
    Ok(())
}
