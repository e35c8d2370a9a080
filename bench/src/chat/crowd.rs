//! Clients of a chat server over one epoll: they register, say and hear lines.
use std::{
    net::{SocketAddr, TcpStream},
    os::fd::OwnedFd,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use rustix::{
    event::epoll::{self, EventData, EventFlags},
    io::Errno,
    net::{RecvFlags, SendFlags, recv, send},
};

use crate::load::{BUFFER_BYTES, EVENTS_MAX, LoadError, SILENCE_MAX, Trying, wait};

/// Connections made at once, so that no backlog overflows.
const BATCH: usize = 64;

/// Clients that have registered, by their numbers.
pub(super) struct Crowd<'a> {
    poll: OwnedFd,
    clients: Vec<Client>,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
    interrupted: &'a AtomicBool,
    /// When something came last.
    heard: Instant,
}

struct Client {
    socket: OwnedFd,
    /// The beginning of a line whose end has not come.
    partial: Vec<u8>,
    /// What the socket had no room for.
    rest: Vec<u8>,
}

/// A line as it came: who said it, its command, and what stands behind that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) source: &'a [u8],
    pub(super) command: &'a [u8],
    pub(super) params: &'a [u8],
}

impl<'a> Line<'a> {
    pub(super) fn read(line: &'a [u8]) -> Self {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let cut = |text: &'a [u8]| text.split_at(memchr::memchr(b' ', text).unwrap_or(text.len()));
        let (source, rest) = match line.strip_prefix(b":") {
            Some(line) => {
                let (source, rest) = cut(line);
                (source, rest.trim_ascii_start())
            }
            None => (&b""[..], line),
        };
        let (command, params) = cut(rest);
        Self { source, command, params: params.trim_ascii_start() }
    }
    /// The parameter that may have blanks in it.
    pub(super) fn text(&self) -> &'a [u8] {
        match memchr::memmem::find(self.params, b" :") {
            Some(at) => &self.params[at + 2..],
            None => self.params.strip_prefix(b":").unwrap_or(self.params),
        }
    }
    /// Whether it ends a registration.
    pub(super) fn is_welcome(&self) -> bool {
        // End of the message of the day, or none.
        matches!(self.command, b"376" | b"422")
    }
}

impl<'a> Crowd<'a> {
    /// Connects `count` clients to `server` and registers them as `b0`, `b1` and so on.
    pub(super) fn register(server: SocketAddr, count: usize, interrupted: &'a AtomicBool) -> Result<Self, LoadError> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC).trying("make an epoll")?;
        let (events, buffer) = (Vec::with_capacity(EVENTS_MAX), vec![0; BUFFER_BYTES]);
        let mut crowd = Self { poll, clients: Vec::new(), events, buffer, interrupted, heard: Instant::now() };
        crowd.enlarge(server, count)?;
        Ok(crowd)
    }
    /// Adds clients until there are `count`.
    pub(super) fn enlarge(&mut self, server: SocketAddr, count: usize) -> Result<(), LoadError> {
        while self.clients.len() < count {
            let (from, to) = (self.clients.len(), count.min(self.clients.len() + BATCH));
            for at in from..to {
                let stream = TcpStream::connect_timeout(&server, SILENCE_MAX).trying("connect")?;
                stream.set_nodelay(true).trying("set TCP_NODELAY")?;
                stream.set_nonblocking(true).trying("make a socket non-blocking")?;
                let socket = OwnedFd::from(stream);
                epoll::add(&self.poll, &socket, EventData::new_u64(at as u64), EventFlags::IN)
                    .trying("watch a socket")?;
                self.clients.push(Client { socket, partial: Vec::new(), rest: Vec::new() });
                self.say(at, format!("NICK b{at}\r\nUSER b 0 * :b\r\n").as_bytes())?;
            }
            let mut missing = to - from;
            while missing > 0 {
                self.turn(|_, line| {
                    missing -= usize::from(line.is_welcome());
                    Ok(())
                })?;
            }
        }
        Ok(())
    }
    pub(super) fn len(&self) -> usize {
        self.clients.len()
    }
    /// Everybody in `room_of` his number, told so, and all that was under way heard.
    pub(super) fn join(&mut self, room_of: impl Fn(usize) -> usize) -> Result<(), LoadError> {
        let count = self.len();
        for from in (0..count).step_by(BATCH) {
            let to = count.min(from + BATCH);
            for at in from..to {
                self.say(at, format!("JOIN #r{}\r\n", room_of(at)).as_bytes())?;
            }
            let mut missing = to - from;
            while missing > 0 {
                self.turn(|_, line| {
                    missing -= usize::from(line.command == b"366");
                    Ok(())
                })?;
            }
        }
        self.settle()
    }
    /// Waits until everybody has heard what was said before.
    pub(super) fn settle(&mut self) -> Result<(), LoadError> {
        let mut missing = self.len();
        for at in 0..missing {
            self.say(at, b"PING :settle\r\n")?;
        }
        while missing > 0 {
            self.turn(|_, line| {
                missing -= usize::from(line.command == b"PONG");
                Ok(())
            })?;
        }
        Ok(())
    }
    /// Sends bytes of client `at`; what the socket does not take goes later, before all others.
    pub(super) fn say(&mut self, at: usize, bytes: &[u8]) -> Result<(), LoadError> {
        let client = &mut self.clients[at];
        if !client.rest.is_empty() {
            client.rest.extend_from_slice(bytes);
            return Ok(());
        }
        let count = match send(&client.socket, bytes, SendFlags::NOSIGNAL) {
            Ok(count) => count,
            Err(Errno::AGAIN) => 0,
            Err(errno) => return Err(errno).trying("send"),
        };
        if count < bytes.len() {
            client.rest.extend_from_slice(&bytes[count..]);
            self.watch(at, EventFlags::IN | EventFlags::OUT)?;
        }
        Ok(())
    }
    fn watch(&self, at: usize, flags: EventFlags) -> Result<(), LoadError> {
        let data = EventData::new_u64(at as u64);
        epoll::modify(&self.poll, &self.clients[at].socket, data, flags).trying("watch a socket")
    }
    fn say_rest(&mut self, at: usize) -> Result<(), LoadError> {
        let rest = std::mem::take(&mut self.clients[at].rest);
        self.watch(at, EventFlags::IN)?;
        self.say(at, &rest)
    }

    /// One turn: waits, and reads everybody who was spoken to, once. PING is answered here.
    pub(super) fn turn(
        &mut self,
        mut heard: impl FnMut(usize, &Line<'_>) -> Result<(), LoadError>,
    ) -> Result<(), LoadError> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(LoadError::Interrupted);
        }
        let mut events = std::mem::take(&mut self.events);
        wait(&self.poll, &mut events)?;
        if !events.is_empty() {
            self.heard = Instant::now();
        } else if self.heard.elapsed() > SILENCE_MAX {
            return Err(LoadError::Silent);
        }
        for event in &events {
            let at = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
            let flags = event.flags;
            if flags.contains(EventFlags::OUT) {
                self.say_rest(at)?;
            }
            self.read(at, &mut heard)?;
        }
        self.events = events;
        Ok(())
    }
    fn read(
        &mut self,
        at: usize,
        heard: &mut impl FnMut(usize, &Line<'_>) -> Result<(), LoadError>,
    ) -> Result<(), LoadError> {
        let Client { socket, partial, .. } = &mut self.clients[at];
        let peer = u32::try_from(at).unwrap_or(u32::MAX);
        let count = match recv(&*socket, &mut self.buffer[..], RecvFlags::empty()) {
            Ok((0, _)) => return Err(LoadError::Closed { peer }),
            Ok((count, _)) => count,
            Err(Errno::AGAIN) => return Ok(()),
            Err(errno) => return Err(errno).trying("receive"),
        };
        let mut came = &self.buffer[..count];
        let mut pongs = Vec::new();
        let mut hear = |line: &[u8]| {
            let line = Line::read(line);
            match line.command {
                b"PING" => pongs.extend([b"PONG ", line.params, b"\r\n"].concat()),
                b"ERROR" => return Err(refused(&line)),
                _ => {}
            }
            heard(at, &line)
        };
        while let Some(end) = memchr::memchr(b'\n', came) {
            if partial.is_empty() {
                hear(&came[..end])?;
            } else {
                partial.extend_from_slice(&came[..end]);
                hear(partial)?;
                partial.clear();
            }
            came = &came[end + 1..];
        }
        partial.extend_from_slice(came);
        if pongs.is_empty() { Ok(()) } else { self.say(at, &pongs) }
    }
}

/// The server has said goodbye.
pub(super) fn refused(line: &Line<'_>) -> LoadError {
    LoadError::Refused { said: String::from_utf8_lossy(line.text()).into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_as_servers_write_them() {
        let line = Line::read(b":b1!u@h PRIVMSG #r0 :a :b c\r");
        assert_eq!((line.source, line.command, line.params), (&b"b1!u@h"[..], &b"PRIVMSG"[..], &b"#r0 :a :b c"[..]));
        assert_eq!(line.text(), b"a :b c");
        assert_eq!(Line::read(b":b1!u@h JOIN :#r").text(), b"#r");
        let line = Line::read(b"PING :x");
        assert_eq!((line.source, line.command, line.text()), (&b""[..], &b"PING"[..], &b"x"[..]));
        assert!(Line::read(b":s 422 b1 :No MOTD").is_welcome() && !Line::read(b":s 001 b1 :Hi").is_welcome());
    }
}
