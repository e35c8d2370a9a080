//! Non-blocking sockets, one event loop a worker.
//!
//! Edge-triggered: see [`crate::readiness`], which has the loop. Here is where it sleeps.
use crate::{
    ServeError,
    door::Door,
    readiness::{Loop, News, Next, Poller},
    server::Context,
    workers::{self, Mailbox, Share},
};
use mio::{Events, Interest, Poll, Token, unix::SourceFd};
use sotong_net::{datagrams::Datagrams, listener::Listener, signals::Stop, socket::Socket, wake::Waker, watched::Edge};
use sotong_session::Service;
use sotong_shard::Counters;
use std::{
    io::{self, ErrorKind},
    os::fd::{AsRawFd, RawFd},
    sync::Arc,
    time::Duration,
};

/// Runs the workers, and returns when all are done.
pub(crate) fn run<S: Service>(
    context: &Arc<Context<S>>,
    listeners: Vec<Listener>,
    sockets: Vec<Vec<Datagrams>>,
    door: &Waker,
    stop: &Stop,
) -> Result<(Counters, usize), ServeError> {
    let (mailboxes, shares) =
        workers::share_out(context, listeners, sockets, door).map_err(ServeError::system("eventfd"))?;
    let mut parts = Vec::with_capacity(shares.len());
    for (share, mailbox) in shares.into_iter().zip(&mailboxes[..]) {
        context.exchange.enter(context.shard(share.number), Arc::new(mailbox.waker.clone()));
        let watch = Watch::new(&mailbox.waker, &share).map_err(ServeError::system("epoll"))?;
        parts.push((share, watch));
    }
    workers::run(context, "epoll", parts, stop, |(share, watch)| serve(context, &mailboxes, share, watch))
}

/// One worker: serves until told to stop.
fn serve<S: Service>(
    context: &Arc<Context<S>>,
    mailboxes: &Arc<[Mailbox]>,
    share: Share,
    watch: Watch,
) -> (Counters, usize) {
    let mut events = Events::with_capacity(1024);
    let mut serving = Loop::new(Arc::clone(context), Arc::clone(mailboxes), share, watch);
    loop {
        let time = match serving.turn() {
            Next::Turn => Some(Duration::ZERO),
            Next::Wait(until) => until.map(|at| context.control.clock.until(at)),
            Next::End => break,
        };
        if let Err(error) = serving.poller.poll.poll(&mut events, time)
            && error.kind() != ErrorKind::Interrupted
        {
            tracing::error!(%error, "epoll failed");
            break;
        }
        for event in &events {
            let news = serving.poller.news(event);
            serving.note(news);
        }
    }
    serving.finish()
}

/// Tokens: the waker, then listeners, then datagram sockets, then connections by slot.
const WAKER: usize = 0;
const FIRST: usize = 1;
/// Urgent bytes are read like others; that they have come must be known.
const READING: Interest = Interest::READABLE.add(Interest::PRIORITY);

/// A worker's poller with everything it watches from the start: made before its thread, so that what the system refuses is
/// told before anything is served.
struct Watch {
    poll: Poll,
    /// The first token of datagram sockets, and of connections.
    first_udp: usize,
    first_slot: usize,
    /// Datagram sockets by number, and connections by slot.
    udp: Vec<Watched>,
    conns: Vec<Watched>,
}

/// A socket in the kernel's list.
///
/// Room for output is listened for from the first time on that output has waited for it. The kernel announces room in a TCP
/// socket only then anyway, but in Unix and UDP sockets after nearly each message: the loop would wake twice for each.
#[derive(Clone, Copy, Debug)]
struct Watched {
    fd: RawFd,
    for_room: bool,
}

impl Watch {
    fn new(waker: &Waker, share: &Share) -> io::Result<Self> {
        let poll = Poll::new()?;
        let register = |fd: RawFd, token: usize, interest: Interest| {
            poll.registry().register(&mut SourceFd(&fd), Token(token), interest)
        };
        register(waker.as_raw_fd(), WAKER, Interest::READABLE)?;
        let mut token = FIRST;
        for listener in share.door.iter().flat_map(Door::listeners) {
            register(listener.as_raw_fd(), token, Interest::READABLE)?;
            token += 1;
        }
        let first_udp = token;
        for socket in &share.udp {
            register(socket.as_raw_fd(), token, Interest::READABLE)?;
            token += 1;
        }
        let udp = share.udp.iter().map(|socket| Watched { fd: socket.as_raw_fd(), for_room: false }).collect();
        Ok(Self { poll, first_udp, first_slot: token, udp, conns: Vec::new() })
    }
    /// Listens for room in a socket too, from now on. It is announced at once if it has come meanwhile.
    fn add_room(poll: &Poll, token: usize, watched: Option<&mut Watched>) {
        let Some(watched) = watched.filter(|watched| !watched.for_room) else { return };
        match poll.registry().reregister(&mut SourceFd(&watched.fd), Token(token), READING | Interest::WRITABLE) {
            Ok(()) => watched.for_room = true,
            // Tried again whenever something happens to it; else the stall limit ends it.
            Err(error) => tracing::warn!(%error, "a socket cannot be watched for room"),
        }
    }
    /// What the kernel says of one descriptor.
    fn news(&self, event: &mio::event::Event) -> News {
        let token = event.token().0;
        if token == WAKER {
            // Edge-triggered: each ring is announced, so it need not be hushed.
            News::Rung
        } else if token < self.first_udp {
            News::Door(token - FIRST)
        } else if token < self.first_slot {
            // An error is read too: a connected socket's is its peer's.
            let readable = event.is_readable() || event.is_error();
            News::Udp { number: token - self.first_udp, readable, writable: event.is_writable() }
        } else {
            let slot = u32::try_from(token - self.first_slot).unwrap_or(u32::MAX);
            let ending = event.is_read_closed() || event.is_priority();
            let readable = event.is_readable() || ending;
            News::Conn { slot, edge: Edge { readable, writable: event.is_writable(), ending, error: event.is_error() } }
        }
    }
}

impl Poller for Watch {
    /// All that are ready: nobody else waits for this thread.
    const CONNS_A_TURN: usize = usize::MAX;
    type Socket = Socket;

    fn adopt(&mut self, socket: Socket) -> io::Result<Socket> {
        Ok(socket)
    }
    fn watch(&mut self, slot: u32, socket: &mut Socket) -> io::Result<()> {
        let (at, watched) = (slot as usize, Watched { fd: socket.as_raw_fd(), for_room: false });
        if self.conns.len() <= at {
            self.conns.resize(at + 1, watched);
        }
        self.conns[at] = watched;
        self.poll.registry().register(&mut SourceFd(&watched.fd), Token(self.first_slot + at), READING)
    }
    fn await_room(&mut self, slot: u32, _socket: &mut Socket) {
        let at = slot as usize;
        Self::add_room(&self.poll, self.first_slot + at, self.conns.get_mut(at));
    }
    fn await_room_udp(&mut self, number: usize) {
        Self::add_room(&self.poll, self.first_udp + number, self.udp.get_mut(number));
    }
    fn close_door(&mut self) {}
}
