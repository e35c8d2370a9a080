//! A bare relay of lines over epoll: what a chat server costs before it is one. One thread, one write a receiver a turn, no
//! nicks to look up, no modes, no checks; nothing of Sotong.
//!
//! It knows just as much of IRC as the load needs: NICK and USER are answered with a welcome, JOIN puts a connection into its
//! only room, PRIVMSG goes with the sender's name in front to all others there, PING is answered, QUIT ends.
use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use bench::peer::{self, Wire};
use rustix::{
    buffer::spare_capacity,
    event::epoll,
    io::Errno,
    net::{SendFlags, SocketFlags, accept_with, send},
};

mod relay_lines;

const BUFFER_BYTES: usize = 64 << 10;
const EVENTS_MAX: usize = 1024;
const LISTENING: u64 = u64::MAX;
/// Bytes that may wait for a receiver; one that is slower is cut off.
const OUT_BYTES_MAX: usize = 16 << 20;

struct Conn {
    socket: OwnedFd,
    nick: Vec<u8>,
    /// `:nick!u@h `, which goes in front of what it says.
    source: Vec<u8>,
    room: Option<usize>,
    /// The beginning of a line whose end has not come.
    partial: Vec<u8>,
    /// What goes with the write of this turn.
    out: Vec<u8>,
    is_touched: bool,
    /// The kernel takes no more for now.
    is_blocked: bool,
    /// Room in its socket is waited for.
    is_watched: bool,
    is_over: bool,
}

struct Relay {
    poll: OwnedFd,
    /// By descriptor.
    conns: Vec<Option<Conn>>,
    rooms: Vec<Vec<usize>>,
    names: BTreeMap<Vec<u8>, usize>,
    /// Connections with something to write.
    touched: Vec<usize>,
    /// The line that is being relayed, as all get it.
    said: Vec<u8>,
}

fn main() -> io::Result<()> {
    let listener = OwnedFd::from(peer::open("plain-relay", Wire::Tcp)?);
    rustix::io::ioctl_fionbio(&listener, true)?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&poll, &listener, epoll::EventData::new_u64(LISTENING), epoll::EventFlags::IN)?;
    let (rooms, names, touched) = (Vec::new(), BTreeMap::new(), Vec::new());
    let mut relay = Relay { poll, conns: Vec::new(), rooms, names, touched, said: Vec::new() };
    let mut events = Vec::with_capacity(EVENTS_MAX);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        events.clear();
        epoll::wait(&relay.poll, spare_capacity(&mut events), None)?;
        for event in &events {
            if event.data.u64() == LISTENING {
                relay.accept_all(&listener)?;
                continue;
            }
            let flags = event.flags;
            let at = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
            if flags.contains(epoll::EventFlags::OUT)
                && let Some(conn) = &mut relay.conns[at]
            {
                conn.is_blocked = false;
                relay.touch(at);
            }
            if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
                relay.read(at, &mut buffer);
            }
        }
        relay.write_all();
    }
}

impl Relay {
    fn accept_all(&mut self, listener: &OwnedFd) -> io::Result<()> {
        loop {
            let socket = match accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::CONNABORTED) => continue,
                Err(errno) => return Err(errno.into()),
            };
            let at = usize::try_from(socket.as_raw_fd()).map_err(io::Error::other)?;
            epoll::add(&self.poll, socket.as_fd(), epoll::EventData::new_u64(at as u64), epoll::EventFlags::IN)?;
            if self.conns.len() <= at {
                self.conns.resize_with(at + 1, || None);
            }
            self.conns[at] = Some(Conn {
                socket,
                nick: Vec::new(),
                source: Vec::new(),
                room: None,
                partial: Vec::new(),
                out: Vec::new(),
                is_touched: false,
                is_blocked: false,
                is_watched: false,
                is_over: false,
            });
        }
    }

    fn touch(&mut self, at: usize) {
        if let Some(conn) = &mut self.conns[at]
            && !std::mem::replace(&mut conn.is_touched, true)
        {
            self.touched.push(at);
        }
    }

    /// One write for each connection that has something to say.
    fn write_all(&mut self) {
        let mut touched = std::mem::take(&mut self.touched);
        for at in touched.drain(..) {
            let Some(conn) = &mut self.conns[at] else { continue };
            conn.is_touched = false;
            if conn.is_blocked || conn.out.is_empty() {
                continue;
            }
            match send(&conn.socket, &conn.out, SendFlags::NOSIGNAL) {
                Ok(count) if count == conn.out.len() => {
                    conn.out.clear();
                    if conn.is_over {
                        self.close(at);
                    } else if std::mem::take(&mut conn.is_watched) {
                        self.watch(at, epoll::EventFlags::IN);
                    }
                }
                Ok(count) => {
                    conn.out.drain(..count);
                    self.wait_for_room(at);
                }
                Err(Errno::AGAIN) => self.wait_for_room(at),
                Err(_) => self.close(at),
            }
        }
        self.touched = touched;
    }

    fn wait_for_room(&mut self, at: usize) {
        let Some(conn) = &mut self.conns[at] else { return };
        (conn.is_blocked, conn.is_watched) = (true, true);
        if conn.out.len() > OUT_BYTES_MAX {
            return self.close(at);
        }
        self.watch(at, epoll::EventFlags::IN | epoll::EventFlags::OUT);
    }

    fn watch(&mut self, at: usize, flags: epoll::EventFlags) {
        let Some(conn) = &self.conns[at] else { return };
        if epoll::modify(&self.poll, &conn.socket, epoll::EventData::new_u64(at as u64), flags).is_err() {
            self.close(at);
        }
    }

    fn close(&mut self, at: usize) {
        let Some(conn) = self.conns[at].take() else { return };
        if let Some(room) = conn.room {
            self.rooms[room].retain(|member| *member != at);
        }
    }
}
