//! One connection at a time; the others wait in the listeners' backlog.
//!
//! One thread serves. With a connection and nothing else it sits in a blocking read, as the first server in every book
//! does; its clock ticks once a second, which is how late it may notice a stop. Between two connections it polls all
//! listeners.
//!
//! Datagrams are no connections and wait for nobody: where there are UDP sockets, the thread polls them beside the
//! connection that it serves, so that a client who holds the place does not let their buffers overflow.
//!
//! Who holds the place is cut when others wait and a limit of [`crate::HoldLimits`] has passed: while a client is alone, the
//! listeners are not even looked at before that.
use crate::{
    HoldLimits, ServeError,
    blocking::{Post, STACK_BYTES},
    control::{Order, wait},
    door::Door,
    server::{Context, obey},
};
use sotong_net::{datagrams::Datagrams, listener::Listener, signals::Stop, wake::Waker};
use sotong_session::{Close, Moment, Service};
use sotong_shard::Counters;
use std::{
    io,
    ops::ControlFlow,
    os::fd::AsFd,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// What the serving thread leaves behind; `None` while it runs, or if it panicked.
type Outcome = Mutex<Option<(Counters, usize)>>;

/// How long a server that leaves at once waits for its thread: more than a tick.
const LEAVE_TIME_MAX: Duration = Duration::from_secs(2);

/// Serves on a thread of its own, and returns when that is done.
pub(crate) fn run<S: Service>(
    context: &Arc<Context<S>>,
    listeners: Vec<Listener>,
    sockets: Vec<Vec<Datagrams>>,
    door_waker: &Waker,
    stop: &Stop,
) -> Result<(Counters, usize), ServeError> {
    context.control.listen(door_waker);
    let done = Waker::new().map_err(ServeError::system("eventfd"))?;
    let outcome: Arc<Outcome> = Arc::default();
    let door = Door::new(listeners, Arc::clone(&context.places));
    let sockets = sockets.into_iter().flatten().collect();
    // Mail comes from desks alone here; where there is none, nobody has to be woken.
    let bell = Context::<S>::has_mail().then(Waker::new).transpose().map_err(ServeError::system("eventfd"))?;
    let thread = {
        let (context, waker, outcome, tell) =
            (Arc::clone(context), door_waker.clone(), Arc::clone(&outcome), Tell(done.clone()));
        std::thread::Builder::new().name("sequential".to_owned()).stack_size(STACK_BYTES).spawn(move || {
            let _tell = tell;
            let mut counter =
                Counter { post: Post::new(&context, 0, bell, sockets), context, door, waker, guest: None };
            counter.serve();
            *outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(counter.post.finish());
        })
    };
    thread.map_err(ServeError::system("starting a thread"))?;
    loop {
        let obeyed = obey(context, stop);
        // Who leaves at once waits only until the thread looks around; it takes the listeners with it.
        let time_max = if context.control.order() == Order::Leave { LEAVE_TIME_MAX } else { Duration::ZERO };
        if done.sleep(time_max) || !time_max.is_zero() {
            break;
        }
        wait(stop, obeyed, &done)?;
    }
    let outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner).take();
    match outcome {
        Some(outcome) => Ok(outcome),
        None if context.control.order() == Order::Leave => Ok((Counters::default(), context.places.taken())),
        None => Err(ServeError::Panicked),
    }
}

/// Rings when the thread ends, however it ends.
struct Tell(Waker);
impl Drop for Tell {
    fn drop(&mut self) {
        self.0.wake();
    }
}

/// The place where clients are served one after the other.
struct Counter<S: Service> {
    context: Arc<Context<S>>,
    post: Post<S>,
    door: Door,
    /// Rung when the server is to stop.
    waker: Waker,
    guest: Option<Guest>,
}

/// Who holds the place.
struct Guest {
    slot: u32,
    came: Moment,
    /// Bytes so far, and when the last of them went by.
    traffic: u64,
    moved: Moment,
    /// What is still queued has until then.
    cut: Option<(Moment, Close)>,
}

impl Guest {
    /// The limit that passes first, and when.
    fn limit(&self, limits: HoldLimits) -> (Moment, Close) {
        let (idle, time) = (self.moved + limits.idle, self.came + limits.time);
        if idle < time { (idle, Close::Idle) } else { (time, Close::Limit("hold_time")) }
    }
}

impl<S: Service> Counter<S> {
    fn serve(&mut self) {
        while self.post.turn() && !self.post.is_over() {
            let order = self.context.control.order();
            if order != Order::Serve {
                self.door.close();
            }
            self.welcome();
            let waited = match self.guest.is_some() {
                true => self.attend(),
                false => self.look_out(),
            };
            if let Err(error) = waited {
                tracing::error!(%error, "cannot wait for connections");
                return;
            }
        }
    }
    /// Serves the next client if the place is free.
    fn welcome(&mut self) {
        let now = self.post.shard().now();
        if self.post.slot().is_none() {
            self.guest = None;
        }
        if self.guest.is_some() || !self.door.is_busy(now) {
            return;
        }
        let post = &mut self.post;
        self.door.accept(now, false, |socket, way, ticket| {
            post.welcome(socket, &way, Some(ticket));
            ControlFlow::Break(())
        });
        // Whoever came meanwhile, at whichever listener, is equal to those who were here before.
        self.door.forget();
        let slot = self.post.slot();
        self.guest = slot.map(|slot| Guest { slot, came: now, traffic: 0, moved: now, cut: None });
    }
    /// Waits for a client.
    fn look_out(&mut self) -> io::Result<()> {
        let now = self.post.shard().now();
        let busy = self.door.is_busy(now).then_some(now);
        let pause = self.door.pause().filter(|until| *until > now);
        let mut fds = vec![self.waker.as_fd()];
        if self.door.accepts(now) {
            fds.extend(self.door.waited_for().map(|(_, listener)| listener.as_fd()));
        }
        let came = self.post.wait(&fds, busy.or(pause))?;
        self.waker.hush();
        let numbers: Vec<_> = self.door.waited_for().map(|(number, _)| number).collect();
        for place in came {
            // Before them is the waker.
            if let Some(number) = place.checked_sub(1).and_then(|place| numbers.get(place)) {
                self.door.ready(*number);
            }
        }
        Ok(())
    }
    /// Waits for the one who is served, and sees to it that the others come in, too.
    fn attend(&mut self) -> io::Result<()> {
        let now = self.post.shard().now();
        let Some(guest) = &mut self.guest else { return Ok(()) };
        let traffic = self.post.shard().traffic(guest.slot);
        if traffic != std::mem::replace(&mut guest.traffic, traffic) {
            guest.moved = now;
        }
        if let Some((until, why)) = &guest.cut {
            let until = *until;
            if now >= until {
                self.post.shard().fail(guest.slot, why.clone());
            }
            return self.post.wait(&[], Some(until)).map(drop);
        }
        let (until, why) = guest.limit(self.context.options.hold);
        if now < until {
            return self.post.wait(&[], Some(until)).map(drop);
        }
        let fds: Vec<_> = self.door.waited_for().map(|(_, listener)| listener.as_fd()).collect();
        if !self.post.wait(&fds, None)?.is_empty() {
            guest.cut = Some((now + self.context.options.limits.stall, why.clone()));
            self.post.shard().close(guest.slot, why);
        }
        Ok(())
    }
}
