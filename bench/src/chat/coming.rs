//! Coming and going: connections that register, join and quit over and over, and a thousand joins to one room.
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

use super::crowd::{Crowd, Line, refused};
use crate::{
    load::{BUFFER_BYTES, EVENTS_MAX, LoadError, Meter, Tally, Trying, wait},
    proc::Tree,
};

/// The own addresses taken in turn are 127.0.1.1 to 127.0.1.250: a port is not free again for a minute.
const SOURCES: u64 = 250;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    Registers,
    Joins,
    Quits,
}

/// One who comes and goes.
struct Visitor {
    socket: OwnedFd,
    at: usize,
    turn: u64,
    stage: Stage,
    partial: Vec<u8>,
    began: Instant,
}

/// `lanes` clients at once connect, register, join a room of their own, quit, and wait for the server to close, for one window.
/// A visit counts as one message.
///
/// # Errors
/// If a visit goes otherwise.
pub fn visit(
    (server, tree): (SocketAddr, Tree),
    lanes: usize,
    length: Duration,
    interrupted: &AtomicBool,
) -> Result<Tally, LoadError> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).trying("make an epoll")?;
    let mut meter = Meter::new(tree, length, interrupted)?;
    let mut opened = 0;
    let mut open = |at: usize, turn: u64| {
        opened += 1;
        Visitor::open(server, at, turn, opened, &poll)
    };
    let mut visitors = (0..lanes).map(|at| open(at, 0)).collect::<Result<Vec<_>, _>>()?;
    let mut events = Vec::with_capacity(EVENTS_MAX);
    let mut back = vec![0; BUFFER_BYTES];
    loop {
        if let Some(tally) = meter.tick(Instant::now())? {
            return Ok(tally);
        }
        wait(&poll, &mut events)?;
        for event in &events {
            let at = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
            let visitor = &mut visitors[at];
            if visitor.step(&mut back, &poll)? {
                meter.hit(visitor.began, Instant::now());
                visitors[at] = open(at, visitor.turn + 1)?;
            }
        }
    }
}

impl Visitor {
    fn open(server: SocketAddr, at: usize, turn: u64, opened: u64, poll: &OwnedFd) -> Result<Self, LoadError> {
        let began = Instant::now();
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).trying("make a socket")?;
        let last = u8::try_from(1 + opened % SOURCES).unwrap_or(1);
        net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::new(127, 0, 1, last), 0)).trying("take an own address")?;
        match net::connect(&socket, &server) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(errno) => return Err(errno).trying("connect"),
        }
        epoll::add(poll, &socket, EventData::new_u64(at as u64), EventFlags::OUT).trying("watch a socket")?;
        Ok(Self { socket, at, turn, stage: Stage::Connecting, partial: Vec::new(), began })
    }
    /// Goes on as far as it can; whether its visit is over.
    fn step(&mut self, back: &mut [u8], poll: &OwnedFd) -> Result<bool, LoadError> {
        let peer = u32::try_from(self.at).unwrap_or(u32::MAX);
        if self.stage == Stage::Connecting {
            self.stage = Stage::Registers;
            self.say(&format!("NICK v{}x{}\r\nUSER v 0 * :v\r\n", self.at, self.turn))?;
            let data = EventData::new_u64(self.at as u64);
            epoll::modify(poll, &self.socket, data, EventFlags::IN).trying("watch a socket")?;
            return Ok(false);
        }
        let count = match recv(&self.socket, &mut *back, RecvFlags::empty()) {
            Ok((0, _)) if self.stage == Stage::Quits => return Ok(true),
            Ok((0, _)) => return Err(LoadError::Closed { peer }),
            Ok((count, _)) => count,
            Err(Errno::AGAIN) => return Ok(false),
            Err(errno) => return Err(errno).trying("receive"),
        };
        self.partial.extend_from_slice(&back[..count]);
        let mut read = 0;
        while let Some(end) = memchr::memchr(b'\n', &self.partial[read..]) {
            let line = Line::read(&self.partial[read..read + end]);
            read += end + 1;
            match (self.stage, line.command) {
                (Stage::Registers, _) if line.is_welcome() => {
                    self.stage = Stage::Joins;
                    self.say(&format!("JOIN #v{}\r\n", self.at))?;
                }
                (Stage::Joins, b"366") => {
                    self.stage = Stage::Quits;
                    self.say("QUIT :bye\r\n")?;
                }
                (Stage::Registers | Stage::Joins, b"ERROR") => return Err(refused(&line)),
                _ => {}
            }
        }
        self.partial.drain(..read);
        Ok(false)
    }
    fn say(&self, text: &str) -> Result<(), LoadError> {
        match send(&self.socket, text.as_bytes(), SendFlags::NOSIGNAL) {
            Ok(count) if count == text.len() => Ok(()),
            Ok(_) => Err(Errno::AGAIN).trying("send a short line"),
            Err(errno) => Err(errno).trying("connect or send"),
        }
    }
}

/// Whether a server lists who is in a room to one who joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lists {
    /// All names, his own included.
    Names,
    /// It knows no names.
    Nothing,
}

/// `clients` join one room, one after the other: the next when the one before has been told so. Everybody hears of each who
/// comes after him, once and in order; that is waited for. A join counts as one message, its latency until that one is told.
///
/// # Errors
/// If somebody hears otherwise.
pub fn joins(
    (server, tree): (SocketAddr, Tree),
    clients: usize,
    lists: Lists,
    interrupted: &AtomicBool,
) -> Result<Tally, LoadError> {
    let mut crowd = Crowd::register(server, clients, interrupted)?;
    crowd.settle()?;
    // No warm-up: the window is over with the last join.
    let mut meter = Meter::new(tree, Duration::ZERO, interrupted)?;
    meter.tick(Instant::now())?;
    // For each client, who comes next.
    let mut next: Vec<usize> = (0..clients).collect();
    let mut missing = clients * (clients + 1) / 2;
    for joins in 0..clients {
        let began = Instant::now();
        crowd.say(joins, b"JOIN #room\r\n")?;
        let (mut is_told, mut names) = (false, 0);
        while !is_told || joins + 1 == clients && missing > 0 {
            crowd.turn(|client, line| {
                match line.command {
                    b"JOIN" => {
                        let wrong = LoadError::Wrong {
                            peer: u32::try_from(client).unwrap_or(u32::MAX),
                            number: next[client] as u64,
                        };
                        if who(line) != Some(next[client]) || next[client] > joins {
                            return Err(wrong);
                        }
                        next[client] += 1;
                        missing -= 1;
                    }
                    b"353" => names += line.text().split(|byte| *byte == b' ').filter(|name| !name.is_empty()).count(),
                    b"366" => is_told = true,
                    _ => {}
                }
                Ok(())
            })?;
        }
        if lists == Lists::Names && names != joins + 1 {
            return Err(LoadError::Wrong { peer: u32::try_from(joins).unwrap_or(u32::MAX), number: names as u64 });
        }
        meter.hit(began, Instant::now());
    }
    meter.tick(Instant::now())?.ok_or(LoadError::Silent)
}

/// The number of the client that a line comes from.
fn who(line: &Line<'_>) -> Option<usize> {
    let nick = line.source.split(|byte| *byte == b'!').next()?;
    std::str::from_utf8(nick.strip_prefix(b"b")?).ok()?.parse().ok()
}
