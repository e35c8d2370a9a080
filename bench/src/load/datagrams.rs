//! Ping-pong of datagrams. One that is lost is sent anew; what comes twice is passed over.
use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    os::fd::OwnedFd,
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

use rustix::{
    event::epoll::{self, EventData, EventFlags},
    io::Errno,
    net::{RecvFlags, SendFlags, recv, send},
};

use super::{BUFFER_BYTES, EVENTS_MAX, LoadError, Meter, Tally, Trying, number, wait};
use crate::{message::Messages, proc::Tree};

const MESSAGE_BYTES: usize = 64;
/// After this long without an answer a datagram is taken for lost.
const LOST: Duration = Duration::from_millis(500);

struct Peer {
    socket: OwnedFd,
    id: u32,
    /// The message that is on the way.
    number: u64,
    sent: Instant,
}

/// `peers` sockets play for one window, each with one datagram on the way.
///
/// # Errors
/// If anything but the right bytes comes back.
pub fn datagrams(
    (server, tree): (SocketAddr, Tree),
    peers: usize,
    length: Duration,
    interrupted: &AtomicBool,
) -> Result<Tally, LoadError> {
    let messages = Messages::new(MESSAGE_BYTES);
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).trying("make an epoll")?;
    let mut out = Vec::with_capacity(MESSAGE_BYTES);
    let mut back = vec![0; BUFFER_BYTES];
    let mut peers =
        (0..peers).map(|at| Peer::open(server, number(at), &poll)).collect::<Result<Vec<_>, LoadError>>()?;
    for peer in &mut peers {
        peer.send(&messages, &mut out)?;
    }
    let mut meter = Meter::new(tree, length, interrupted)?;
    let mut events = Vec::with_capacity(EVENTS_MAX);
    let mut looked = Instant::now();
    loop {
        let now = Instant::now();
        if let Some(tally) = meter.tick(now)? {
            return Ok(tally);
        }
        if now - looked > LOST {
            looked = now;
            for peer in peers.iter_mut().filter(|peer| now - peer.sent > LOST) {
                peer.send(&messages, &mut out)?;
            }
        }
        wait(&poll, &mut events)?;
        for event in &events {
            let peer = &mut peers[usize::try_from(event.data.u64()).unwrap_or(usize::MAX)];
            let sent = peer.sent;
            if peer.take(&messages, &mut back)? {
                meter.hit(sent, Instant::now());
                peer.send(&messages, &mut out)?;
            }
        }
    }
}

impl Peer {
    fn open(server: SocketAddr, id: u32, poll: &OwnedFd) -> Result<Self, LoadError> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).trying("make a socket")?;
        socket.connect(server).trying("connect a socket")?;
        socket.set_nonblocking(true).trying("make a socket non-blocking")?;
        let socket = OwnedFd::from(socket);
        epoll::add(poll, &socket, EventData::new_u64(u64::from(id)), EventFlags::IN).trying("watch a socket")?;
        Ok(Self { socket, id, number: 0, sent: Instant::now() })
    }

    fn send(&mut self, messages: &Messages, out: &mut Vec<u8>) -> Result<(), LoadError> {
        out.clear();
        messages.write(self.id, self.number, 0, out);
        self.sent = Instant::now();
        match send(&self.socket, out, SendFlags::NOSIGNAL) {
            // What finds no room is lost, and sent anew later.
            Ok(_) | Err(Errno::AGAIN | Errno::NOBUFS) => Ok(()),
            Err(errno) => Err(errno).trying("send a datagram"),
        }
    }

    /// Whether the answer came; the next message is its turn then.
    fn take(&mut self, messages: &Messages, back: &mut [u8]) -> Result<bool, LoadError> {
        let count = match recv(&self.socket, &mut *back, RecvFlags::empty()) {
            Ok((count, _)) => count,
            Err(Errno::AGAIN) => return Ok(false),
            Err(errno) => return Err(errno).trying("receive a datagram"),
        };
        let came = &back[..count];
        if Messages::number(came).is_some_and(|number| number < self.number) {
            return Ok(false);
        }
        if count != messages.size() {
            return Err(LoadError::Wrong { peer: self.id, number: self.number });
        }
        messages.check(self.id, self.number, 0, came)?;
        self.number += 1;
        Ok(true)
    }
}
