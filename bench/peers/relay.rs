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
    net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send},
};

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

    /// One read a turn.
    fn read(&mut self, at: usize, buffer: &mut [u8]) {
        let Some(conn) = &mut self.conns[at] else { return };
        let count = match recv(&conn.socket, &mut *buffer, RecvFlags::empty()) {
            Ok((count @ 1.., _)) => count,
            Err(Errno::AGAIN) => return,
            Ok(_) | Err(_) => return self.close(at),
        };
        let mut partial = std::mem::take(&mut conn.partial);
        let mut came = &buffer[..count];
        while let Some(end) = memchr::memchr(b'\n', came) {
            let (line, rest) = came.split_at(end + 1);
            came = rest;
            if partial.is_empty() {
                self.line(at, line);
            } else {
                partial.extend_from_slice(line);
                self.line(at, &partial);
                partial.clear();
            }
        }
        partial.extend_from_slice(came);
        if let Some(conn) = &mut self.conns[at] {
            conn.partial = partial;
        }
    }

    /// One line, with its end.
    fn line(&mut self, at: usize, line: &[u8]) {
        let Self { conns, rooms, touched, said, .. } = self;
        if line.starts_with(b"PRIVMSG ") {
            let Some(sender) = &conns[at] else { return };
            let Some(room) = sender.room else { return };
            said.clear();
            said.extend_from_slice(&sender.source);
            said.extend_from_slice(line);
            for &member in &rooms[room] {
                if member != at
                    && let Some(conn) = &mut conns[member]
                {
                    conn.out.extend_from_slice(said);
                    if !std::mem::replace(&mut conn.is_touched, true) {
                        touched.push(member);
                    }
                }
            }
            return;
        }
        let line = line.trim_ascii_end();
        let (word, rest) = line.split_at(line.iter().position(|byte| *byte == b' ').unwrap_or(line.len()));
        let rest = rest.trim_ascii_start();
        let Some(conn) = &mut conns[at] else { return };
        match word {
            b"NICK" => {
                conn.nick = rest.to_vec();
                conn.source = [b":", rest, b"!u@h "].concat();
            }
            b"USER" => {
                conn.out.extend([b":relay 001 ", &*conn.nick, b" :Welcome\r\n"].concat());
                conn.out.extend([b":relay 422 ", &*conn.nick, b" :There is no MOTD\r\n"].concat());
            }
            b"PING" => conn.out.extend([b":relay PONG relay ", rest, b"\r\n"].concat()),
            b"JOIN" => return self.join(at, rest),
            b"QUIT" => {
                conn.out.extend_from_slice(b"ERROR :Goodbye\r\n");
                conn.is_over = true;
            }
            _ => {}
        }
        self.touch(at);
    }

    fn join(&mut self, at: usize, name: &[u8]) {
        let next = self.rooms.len();
        let room = *self.names.entry(name.to_vec()).or_insert(next);
        if room == next {
            self.rooms.push(Vec::new());
        }
        let Some(conn) = &mut self.conns[at] else { return };
        if conn.room.replace(room).is_some() {
            return;
        }
        let joined = [&*conn.source, b"JOIN ", name, b"\r\n"].concat();
        let end = [b":relay 366 ", &*conn.nick, b" ", name, b" :End of NAMES list\r\n"].concat();
        self.rooms[room].push(at);
        for &member in &self.rooms[room] {
            let Some(conn) = &mut self.conns[member] else { continue };
            conn.out.extend_from_slice(&joined);
            if !std::mem::replace(&mut conn.is_touched, true) {
                self.touched.push(member);
            }
        }
        if let Some(conn) = &mut self.conns[at] {
            conn.out.extend(end);
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
