//! Ping-pong: each connection keeps a number of messages on the way and sends the next for each that comes back.
use std::{
    net::{SocketAddr, TcpStream},
    os::fd::OwnedFd,
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

use rustix::{
    event::epoll::{self, EventData, EventFlags},
    io::Errno,
    net::{RecvFlags, SendFlags, recv, send},
};

use super::{BUFFER_BYTES, EVENTS_MAX, LOOK_UP, LoadError, Meter, SILENCE_MAX, Tally, Trying, dial, number, wait};
use crate::{
    message::Messages,
    proc::{Memory, Tree},
};

/// The hog's number among the peers.
const HOG: u64 = u64::MAX;
/// How often a hog that was cut off comes back within one window.
const HOG_RETURNS_MAX: u32 = 100;

/// What is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Connections at once.
    pub connections: usize,
    /// Messages of each that are on the way.
    pub depth: usize,
    /// Bytes of each message.
    pub message_bytes: usize,
}

/// Whether a peer plays along that sends without end and never reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hog {
    /// Nobody does.
    Absent,
    /// One does.
    Present,
}

/// Where in the row of its messages a peer is: the number, and the bytes of that one that are done.
#[derive(Clone, Copy)]
struct Place {
    number: u64,
    bytes: usize,
}

struct Peer {
    socket: OwnedFd,
    id: u32,
    sent: Place,
    seen: Place,
    /// Whether it waits for room to send.
    blocked: bool,
    /// When each message left that is on the way, by its number modulo the depth.
    times: Box<[Instant]>,
}

struct Play<'a> {
    poll: OwnedFd,
    peers: Vec<Peer>,
    messages: Messages,
    out: Vec<u8>,
    back: Vec<u8>,
    meter: Meter<'a>,
}

/// Plays with `server` for one window and gives its tally, and the most memory that the server had beside a hog.
///
/// # Errors
/// If anything but the right bytes comes back.
pub fn play(
    (server, tree): (SocketAddr, Tree),
    shape: Shape,
    hog: Hog,
    length: Duration,
    interrupted: &AtomicBool,
) -> Result<(Tally, Memory), LoadError> {
    let messages = Messages::new(shape.message_bytes);
    let streams = dial(server, shape.connections, &messages, interrupted)?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).trying("make an epoll")?;
    let mut peers = Vec::with_capacity(shape.connections);
    for (at, stream) in streams.into_iter().enumerate() {
        stream.set_nonblocking(true).trying("make a socket non-blocking")?;
        let socket = OwnedFd::from(stream);
        epoll::add(&poll, &socket, EventData::new_u64(at as u64), EventFlags::IN).trying("watch a socket")?;
        let place = Place { number: 1, bytes: 0 };
        let times = vec![Instant::now(); shape.depth].into();
        peers.push(Peer { socket, id: number(at), sent: place, seen: place, blocked: false, times });
    }
    let out = Vec::with_capacity(shape.message_bytes * shape.depth);
    let meter = Meter::new(tree, length, interrupted)?;
    let mut play = Play { poll, peers, messages, out, back: vec![0; BUFFER_BYTES], meter };
    let mut hogging = match hog {
        Hog::Absent => None,
        Hog::Present => Some(Hogging::new(server, &play.poll)?),
    };
    play.run(&mut hogging, tree)
}

impl Play<'_> {
    fn run(&mut self, hog: &mut Option<Hogging>, tree: Tree) -> Result<(Tally, Memory), LoadError> {
        let Self { poll, peers, messages, out, .. } = self;
        for peer in peers {
            peer.send(messages, out, poll)?;
        }
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let mut most = Memory::default();
        let mut looked = Instant::now();
        loop {
            let now = Instant::now();
            let tally = self.meter.tick(now)?;
            if hog.is_some() && (now - looked > LOOK_UP || tally.is_some()) {
                looked = now;
                let memory = tree.memory().trying("read the server's memory")?;
                if memory.proportional > most.proportional {
                    most = memory;
                }
            }
            if let Some(tally) = tally {
                return Ok((tally, most));
            }
            wait(&self.poll, &mut events)?;
            for event in &events {
                match (event.data.u64(), &mut *hog) {
                    (HOG, Some(hog)) => hog.turn(&self.poll)?,
                    (at, _) => self.turn(usize::try_from(at).unwrap_or(usize::MAX), event.flags)?,
                }
            }
        }
    }

    fn turn(&mut self, at: usize, flags: EventFlags) -> Result<(), LoadError> {
        let Self { poll, peers, messages, out, back, meter } = self;
        let peer = &mut peers[at];
        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            let count = match recv(&peer.socket, &mut back[..], RecvFlags::empty()) {
                Ok((0, _)) => return Err(LoadError::Closed { peer: peer.id }),
                Ok((count, _)) => count,
                Err(Errno::AGAIN) => 0,
                Err(errno) => return Err(errno).trying("receive"),
            };
            peer.take(&back[..count], messages, meter)?;
        }
        peer.send(messages, out, poll)
    }
}

impl Peer {
    /// Compares what came with what must come.
    fn take(&mut self, mut came: &[u8], messages: &Messages, meter: &mut Meter<'_>) -> Result<(), LoadError> {
        let now = Instant::now();
        while !came.is_empty() {
            let Place { number, bytes } = self.seen;
            let (piece, rest) = came.split_at(came.len().min(messages.size() - bytes));
            if number > self.sent.number {
                return Err(LoadError::Wrong { peer: self.id, number });
            }
            messages.check(self.id, number, bytes, piece)?;
            self.seen.bytes += piece.len();
            if self.seen.bytes == messages.size() {
                meter.hit(self.times[self.slot(number)], now);
                self.seen = Place { number: number + 1, bytes: 0 };
            }
            came = rest;
        }
        Ok(())
    }

    /// Sends all that may be on the way, in one piece.
    fn send(&mut self, messages: &Messages, out: &mut Vec<u8>, poll: &OwnedFd) -> Result<(), LoadError> {
        let end = self.seen.number + self.times.len() as u64;
        out.clear();
        let now = Instant::now();
        for number in self.sent.number..end {
            let from = if number == self.sent.number { self.sent.bytes } else { 0 };
            messages.write(self.id, number, from, out);
            if from == 0 {
                let slot = self.slot(number);
                self.times[slot] = now;
            }
        }
        if out.is_empty() {
            return Ok(());
        }
        let count = match send(&self.socket, out, SendFlags::NOSIGNAL) {
            Ok(count) => count,
            Err(Errno::AGAIN) => 0,
            Err(errno) => return Err(errno).trying("send"),
        };
        let done = self.sent.bytes + count;
        self.sent.number += (done / messages.size()) as u64;
        self.sent.bytes = done % messages.size();
        let blocked = count < out.len();
        if blocked != self.blocked {
            self.blocked = blocked;
            let flags = if blocked { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
            epoll::modify(poll, &self.socket, EventData::new_u64(u64::from(self.id)), flags)
                .trying("watch a socket")?;
        }
        Ok(())
    }

    fn slot(&self, number: u64) -> usize {
        usize::try_from(number % self.times.len() as u64).unwrap_or(0)
    }
}

/// A peer that sends without end and never reads.
struct Hogging {
    server: SocketAddr,
    socket: OwnedFd,
    returns: u32,
    bytes: Vec<u8>,
}

impl Hogging {
    fn new(server: SocketAddr, poll: &OwnedFd) -> Result<Self, LoadError> {
        let socket = Self::connect(server, poll)?;
        Ok(Self { server, socket, returns: 0, bytes: vec![b'h'; BUFFER_BYTES] })
    }

    fn connect(server: SocketAddr, poll: &OwnedFd) -> Result<OwnedFd, LoadError> {
        let stream = TcpStream::connect_timeout(&server, SILENCE_MAX).trying("connect the hog")?;
        stream.set_nonblocking(true).trying("make a socket non-blocking")?;
        let socket = OwnedFd::from(stream);
        epoll::add(poll, &socket, EventData::new_u64(HOG), EventFlags::OUT).trying("watch a socket")?;
        Ok(socket)
    }

    /// One piece a turn, so that the others have theirs. Whoever is cut off comes back.
    fn turn(&mut self, poll: &OwnedFd) -> Result<(), LoadError> {
        match send(&self.socket, &self.bytes, SendFlags::NOSIGNAL) {
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(_) if self.returns < HOG_RETURNS_MAX => {
                self.returns += 1;
                self.socket = Self::connect(self.server, poll)?;
                Ok(())
            }
            Err(errno) => Err(errno).trying("send more from a hog that is cut off again and again"),
        }
    }
}
