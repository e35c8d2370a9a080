//! Connect, one message and its answer, close: again and again, several at once.
use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    os::fd::OwnedFd,
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

use rustix::{
    event::epoll::{self, EventData, EventFlags},
    io::Errno,
    net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with},
};

use super::{BUFFER_BYTES, EVENTS_MAX, LoadError, Meter, Tally, Trying, number, wait};
use crate::{message::Messages, proc::Tree};

const MESSAGE_BYTES: usize = 64;
/// The own addresses taken in turn are 127.0.1.1 to 127.0.1.250: a port is not free again for a minute.
const SOURCES: u64 = 250;

enum State {
    /// The message has not left yet.
    Connecting,
    Answer {
        got: usize,
    },
}

struct Peer {
    socket: OwnedFd,
    id: u32,
    turn: u64,
    state: State,
    began: Instant,
}

/// `connections` peers at once connect, play one message and close, for one window. A connection counts as one message,
/// its latency from connecting to the whole answer.
///
/// # Errors
/// If anything but the right bytes comes back.
pub fn churn(
    (server, tree): (SocketAddr, Tree),
    connections: usize,
    length: Duration,
    interrupted: &AtomicBool,
) -> Result<Tally, LoadError> {
    let messages = Messages::new(MESSAGE_BYTES);
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).trying("make an epoll")?;
    let mut meter = Meter::new(tree, length, interrupted)?;
    let mut opened = 0;
    let mut open = |id: u32, turn: u64| {
        opened += 1;
        Peer::open(server, id, turn, opened, &poll)
    };
    let mut peers = (0..connections).map(|at| open(number(at), 0)).collect::<Result<Vec<_>, _>>()?;
    let mut events = Vec::with_capacity(EVENTS_MAX);
    let (mut out, mut back) = (Vec::with_capacity(MESSAGE_BYTES), vec![0; BUFFER_BYTES]);
    loop {
        if let Some(tally) = meter.tick(Instant::now())? {
            return Ok(tally);
        }
        wait(&poll, &mut events)?;
        for event in &events {
            let at = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
            let peer = &mut peers[at];
            if peer.step(&messages, &mut out, &mut back, &poll)? {
                meter.hit(peer.began, Instant::now());
                // Closes the old one first.
                peers[at] = open(peer.id, peer.turn + 1)?;
            }
        }
    }
}

impl Peer {
    fn open(server: SocketAddr, id: u32, turn: u64, opened: u64, poll: &OwnedFd) -> Result<Self, LoadError> {
        let began = Instant::now();
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).trying("make a socket")?;
        let last = u8::try_from(1 + opened % SOURCES).unwrap_or(1);
        let source = SocketAddrV4::new(Ipv4Addr::new(127, 0, 1, last), 0);
        net::bind(&socket, &source).trying("take an own address")?;
        match net::connect(&socket, &server) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(errno) => return Err(errno).trying("connect"),
        }
        epoll::add(poll, &socket, EventData::new_u64(u64::from(id)), EventFlags::OUT).trying("watch a socket")?;
        Ok(Self { socket, id, turn, state: State::Connecting, began })
    }

    /// Goes on as far as it can; whether its answer is whole.
    fn step(
        &mut self,
        messages: &Messages,
        out: &mut Vec<u8>,
        back: &mut [u8],
        poll: &OwnedFd,
    ) -> Result<bool, LoadError> {
        match &mut self.state {
            State::Connecting => {
                out.clear();
                messages.write(self.id, self.turn, 0, out);
                match send(&self.socket, out, SendFlags::NOSIGNAL) {
                    Ok(count) if count == out.len() => {}
                    Ok(_) | Err(Errno::AGAIN) => return Err(Errno::AGAIN).trying("send into a new connection"),
                    Err(errno) => return Err(errno).trying("connect or send"),
                }
                self.state = State::Answer { got: 0 };
                let data = EventData::new_u64(u64::from(self.id));
                epoll::modify(poll, &self.socket, data, EventFlags::IN).trying("watch a socket")?;
                Ok(false)
            }
            State::Answer { got } => {
                let count = match recv(&self.socket, &mut *back, RecvFlags::empty()) {
                    Ok((0, _)) => return Err(LoadError::Closed { peer: self.id }),
                    Ok((count, _)) => count,
                    Err(Errno::AGAIN) => return Ok(false),
                    Err(errno) => return Err(errno).trying("receive"),
                };
                messages.check(self.id, self.turn, *got, &back[..count])?;
                *got += count;
                Ok(*got == messages.size())
            }
        }
    }
}
