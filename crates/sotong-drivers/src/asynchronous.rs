//! Tokio: one current-thread runtime a worker, or a future in somebody's own runtime.
//!
//! The loop of [`crate::readiness`] is one task, not one a connection: a message costs no switch of tasks and no allocation.
//! Each socket is registered with the runtime and has a waker of its own, its *bell*, which puts it on the list of those that
//! the next turn looks at, and wakes the task if it sleeps.
//!
//! The task lets others run after each turn, and a turn is bounded. Tokio's own measure, which would end a poll in the middle
//! of a turn, is switched off for it.
use crate::{
    Options, Report, ServeError,
    door::Door,
    readiness::{Loop, News, Next, Poller},
    server::{Context, obey, split},
    workers::{self, Share},
};
use sotong_net::{
    clock::Clock,
    datagrams::Datagrams,
    listen::Bound,
    listener::Listener,
    signals::{Stage, Stop},
    socket::Socket,
    wake,
    watched::{Edge, Watched},
};
use sotong_session::{Moment, Records, Service, Stream};
use sotong_shard::Counters;
use std::{
    future::poll_fn,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{self, Poll, Wake, Waker},
};
use tokio::{
    runtime::Builder,
    task::{coop::unconstrained, yield_now},
    time::{Instant, Sleep, sleep_until},
};

/// Runs the workers, and returns when all are done.
pub(crate) fn run<S: Service>(
    context: &Arc<Context<S>>,
    listeners: Vec<Listener>,
    sockets: Vec<Vec<Datagrams>>,
    door: &wake::Waker,
    stop: &Stop,
) -> Result<(Counters, usize), ServeError> {
    let (mailboxes, shares) =
        workers::share_out(context, listeners, sockets, door).map_err(ServeError::system("eventfd"))?;
    let mut parts = Vec::with_capacity(shares.len());
    for (share, mailbox) in shares.into_iter().zip(&mailboxes[..]) {
        // Before any thread, so that what the system refuses is told before anything is served.
        let runtime =
            Builder::new_current_thread().enable_io().enable_time().build().map_err(ServeError::system("runtime"))?;
        let watch = {
            let _inside = runtime.enter();
            Watch::new(&mailbox.waker, &share, None).map_err(ServeError::system("epoll"))?
        };
        context.exchange.enter(context.shard(share.number), Arc::<Bells>::clone(&watch.bells));
        parts.push((runtime, share, watch));
    }
    workers::run(context, "async", parts, stop, |(runtime, share, watch)| {
        let serving = Loop::new(Arc::clone(context), Arc::clone(&mailboxes), share, watch);
        runtime.block_on(unconstrained(serve(Arc::clone(context), serving, None)))
    })
}

/// Serves streams and datagrams inside the caller's own Tokio runtime, of either flavour, until `stop`, and until the drain
/// is over.
///
/// All of it runs in the task that awaits this, as one shard: [`Options::workers`] does not count, and a program with several
/// tasks that serve has several servers, which share nothing. The future is `Send` where the sessions are. After each turn
/// the other tasks run, and no turn serves more than 128 connections; a session that blocks holds up its whole thread, as
/// anywhere in Tokio.
///
/// Dropped before it is done, the future ends every session (with [`sotong_session::Event::Gone`], for
/// [`sotong_session::Close::Stop`]) and closes every socket at once; what was queued is lost. To say goodbye first, ask
/// `stop` to drain, and await.
///
/// # Errors
/// The limits, or what the system refused. Connections never fail a server.
///
/// # Panics
/// Outside a Tokio runtime, or in one without `enable_io` and `enable_time`.
pub async fn serve_async<S>(service: S, bound: Vec<Bound>, options: Options, stop: Stop) -> Result<Report, ServeError>
where
    S: Service,
    S::Session: Stream + Records,
{
    let (listeners, sockets) = split(bound);
    guest(service, listeners, sockets, options, stop).await
}

/// [`serve_async`] for streams only: for services that are not right over records.
///
/// # Errors
/// As [`serve_async`].
///
/// # Panics
/// As [`serve_async`].
pub async fn serve_streams_async<S>(
    service: S,
    listeners: Vec<Listener>,
    options: Options,
    stop: Stop,
) -> Result<Report, ServeError>
where
    S: Service,
    S::Session: Stream,
{
    guest(service, listeners, Vec::new(), options, stop).await
}

/// One shard, in the task that awaits it.
async fn guest<S: Service>(
    service: S,
    listeners: Vec<Listener>,
    sockets: Vec<Vec<Datagrams>>,
    options: Options,
    stop: Stop,
) -> Result<Report, ServeError> {
    let serving = {
        let door = wake::Waker::new().map_err(ServeError::system("eventfd"))?;
        let context = Context::alone(service, options, &door)?;
        let (mailboxes, mut shares) =
            workers::share_out(&context, listeners, sockets, &door).map_err(ServeError::system("eventfd"))?;
        let Some(share) = shares.pop() else { return Ok(Report::default()) };
        let watch = Watch::new(&door, &share, Some(&stop)).map_err(ServeError::system("epoll"))?;
        context.exchange.enter(context.shard(share.number), Arc::<Bells>::clone(&watch.bells));
        let serving = Loop::new(Arc::clone(&context), mailboxes, share, watch);
        serve(context, serving, Some(stop.clone()))
    };
    let (counters, cut) = unconstrained(serving).await;
    Ok(Report { counters, cut, left_at_once: stop.stage() == Stage::Leaving })
}

/// Serves until told to stop: by somebody who watches over the workers, or by `stop` itself.
async fn serve<S: Service>(
    context: Arc<Context<S>>,
    mut serving: Loop<S, Watch>,
    stop: Option<Stop>,
) -> (Counters, usize) {
    let mut alarm = Alarm::new(context.control.clock);
    let mut rung = Vec::new();
    loop {
        if let Some(stop) = &stop {
            obey(&context, stop);
        }
        look(&mut serving, &mut rung);
        match serving.turn() {
            Next::End => return serving.finish(),
            Next::Turn => yield_now().await,
            Next::Wait(until) => {
                if !rest(&serving.poller.bells, &mut alarm, until).await {
                    yield_now().await;
                }
            }
        }
    }
}

/// Sleeps until a bell rings, or until a moment. False if one had rung already: then others have not had their turn yet.
async fn rest(bells: &Bells, alarm: &mut Alarm, until: Option<Moment>) -> bool {
    let mut slept = false;
    alarm.set(until);
    poll_fn(|cx| {
        if alarm.has_come(cx) || !bells.sleep(cx.waker()) {
            return Poll::Ready(slept);
        }
        slept = true;
        Poll::Pending
    })
    .await
}

/// The one timer of a loop.
struct Alarm {
    clock: Clock,
    sleep: Pin<Box<Sleep>>,
    /// When it rings; it may be sooner than needed, for deadlines that move on with each message are not followed.
    at: Option<Moment>,
}

impl Alarm {
    fn new(clock: Clock) -> Self {
        Self { clock, sleep: Box::pin(sleep_until(Instant::now())), at: None }
    }
    /// Rings at `until`, or before.
    fn set(&mut self, until: Option<Moment>) {
        if let Some(until) = until
            && self.at.is_none_or(|at| until < at)
        {
            self.sleep.as_mut().reset(Instant::now() + self.clock.until(until));
            self.at = Some(until);
        }
    }
    fn has_come(&mut self, cx: &mut task::Context<'_>) -> bool {
        let has_come = self.at.is_some() && self.sleep.as_mut().poll(cx).is_ready();
        if has_come {
            self.at = None;
        }
        has_come
    }
}

/// The list of those whose bells have rung, and who is to be woken by the next.
#[derive(Debug, Default)]
struct Bells {
    state: Mutex<Rung>,
}

#[derive(Debug, Default)]
struct Rung {
    /// Tokens: each at most three times, for a bell is hung up anew only when its token is looked at.
    tokens: Vec<u32>,
    /// Mail has come.
    mail: bool,
    /// The task, while it sleeps.
    sleeper: Option<Waker>,
}

impl Bells {
    fn state(&self) -> MutexGuard<'_, Rung> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn ring(&self, token: u32) {
        let sleeper = {
            let mut state = self.state();
            state.tokens.push(token);
            state.sleeper.take()
        };
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
    }
    /// Exchanges the list for an empty one.
    fn take(&self, into: &mut Vec<u32>) {
        let mut state = self.state();
        state.mail = false;
        std::mem::swap(&mut state.tokens, into);
    }
    /// From now on the next ring wakes `task`. False if one has come already.
    fn sleep(&self, task: &Waker) -> bool {
        let mut state = self.state();
        if state.mail || !state.tokens.is_empty() {
            return false;
        }
        state.sleeper = Some(task.clone());
        true
    }
}

impl sotong_shard::Wake for Bells {
    fn wake(&self) {
        let sleeper = {
            let mut state = self.state();
            state.mail = true;
            state.sleeper.take()
        };
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
    }
}

/// The waker of one descriptor.
struct Bell {
    token: u32,
    bells: Arc<Bells>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.bells.ring(self.token);
    }
    fn wake_by_ref(self: &Arc<Self>) {
        self.bells.ring(self.token);
    }
}

/// What a loop watches. Tokens: what is watched from the start, then connections by slot.
struct Watch {
    bells: Arc<Bells>,
    fixed: Vec<Fixed>,
    /// One for each slot that has been used; it serves whoever has the slot.
    slots: Vec<Waker>,
}

/// Something that is watched from the start, by a descriptor of its own.
struct Fixed {
    what: What,
    /// `None` once it is watched no more.
    fd: Option<Watched<OwnedFd>>,
    bell: Waker,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// A waker, or a stop.
    Call,
    Door(usize),
    Udp(usize),
}

impl Watch {
    fn new(waker: &wake::Waker, share: &Share, stop: Option<&Stop>) -> io::Result<Self> {
        let mut watch = Self { bells: Arc::default(), fixed: Vec::new(), slots: Vec::new() };
        watch.fix(What::Call, waker.as_fd())?;
        if let Some(stop) = stop {
            watch.fix(What::Call, stop.draining_fd())?;
            watch.fix(What::Call, stop.leaving_fd())?;
        }
        for (number, listener) in share.door.iter().flat_map(Door::listeners).enumerate() {
            watch.fix(What::Door(number), listener.as_fd())?;
        }
        for (number, socket) in share.udp.iter().enumerate() {
            watch.fix(What::Udp(number), socket.as_fd())?;
            if socket.connected().is_some()
                && let Some(Fixed { fd: Some(fd), bell, .. }) = watch.fixed.last_mut()
            {
                fd.await_errors(bell);
            }
        }
        Ok(watch)
    }
    fn fix(&mut self, what: What, fd: BorrowedFd<'_>) -> io::Result<()> {
        let bell = self.bell(self.fixed.len());
        let fd = Watched::new(fd.try_clone_to_owned()?)?;
        fd.hang_up(&bell);
        self.fixed.push(Fixed { what, fd: Some(fd), bell });
        Ok(())
    }
    fn bell(&self, token: usize) -> Waker {
        let token = u32::try_from(token).expect("connections are limited far below 2^32");
        Arc::new(Bell { token, bells: Arc::clone(&self.bells) }).into()
    }
    /// What is new where a bell has rung, which is hung up again.
    fn hear(&mut self, token: usize) -> Option<News> {
        let Fixed { what, fd: Some(fd), bell } = self.fixed.get_mut(token)? else { return None };
        let Edge { readable, writable, error, .. } = fd.hear(bell);
        Some(match *what {
            What::Call => News::Rung,
            What::Door(number) => News::Door(number),
            // An error is read too: a connected socket's is its peer's.
            What::Udp(number) => News::Udp { number, readable: readable || error, writable },
        })
    }
}

/// Looks at those whose bells have rung.
fn look<S: Service>(serving: &mut Loop<S, Watch>, rung: &mut Vec<u32>) {
    serving.poller.bells.take(rung);
    for token in rung.drain(..) {
        let token = token as usize;
        let news = match token.checked_sub(serving.poller.fixed.len()) {
            None => serving.poller.hear(token),
            Some(place) => {
                let slot = u32::try_from(place).unwrap_or(u32::MAX);
                serving.conn(slot).map(|(poller, socket)| {
                    let edge = socket.hear(&poller.slots[place]);
                    News::Conn { slot, edge }
                })
            }
        };
        if let Some(news) = news {
            serving.note(news);
        }
    }
}

impl Poller for Watch {
    /// As many as the things Tokio lets a task do before others get their turn.
    const CONNS_A_TURN: usize = 128;
    type Socket = Watched<Socket>;

    fn adopt(&mut self, socket: Socket) -> io::Result<Self::Socket> {
        Watched::new(socket)
    }
    fn watch(&mut self, slot: u32, socket: &mut Self::Socket) -> io::Result<()> {
        while self.slots.len() <= slot as usize {
            let bell = self.bell(self.fixed.len() + self.slots.len());
            self.slots.push(bell);
        }
        socket.hang_up(&self.slots[slot as usize]);
        Ok(())
    }
    fn await_room(&mut self, slot: u32, socket: &mut Self::Socket) {
        socket.await_room(&self.slots[slot as usize]);
    }
    fn await_room_udp(&mut self, number: usize) {
        let of_socket = |fixed: &&mut Fixed| fixed.what == What::Udp(number);
        if let Some(Fixed { fd: Some(fd), bell, .. }) = self.fixed.iter_mut().find(of_socket) {
            fd.await_room(bell);
        }
    }
    fn close_door(&mut self) {
        for fixed in self.fixed.iter_mut().filter(|fixed| matches!(fixed.what, What::Door(_))) {
            fixed.fd = None;
        }
    }
}
