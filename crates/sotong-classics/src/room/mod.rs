//! A line chat for people with `nc`: names asked for, join and leave told, each line relayed to all others.
//!
//! Over TCP and Unix sockets a line is a line; over UDP a datagram is one (or several). What the server says begins with
//! `* `, what a member says with its name:
//!
//! ```text
//! What is your name?
//! 민수
//! * Welcome, 민수. /help lists the commands.
//! * Here: 영희
//! 영희: 안녕하세요!
//! * 철수 has joined
//! ```
//!
//! The names and who is here have one owner, the [`Hall`]. Joining, renaming and leaving are published while it is locked,
//! so that its order and the order in which everybody is told are one. A line is rendered once and shared.
//!
//! # What is relayed
//!
//! UTF-8 only, unchanged: a line with invalid bytes is refused, and only its sender told. Control characters but the tab are
//! taken out, so that nobody paints on another's terminal. Blank lines are ignored. Lines that begin with `/` are commands:
//! `/who`, `/nick NEW`, `/help`, `/quit`.
//!
//! # Over UDP
//!
//! A peer's first datagram is its name: the server cannot ask before. Each line is sent as a datagram, with its LF. A peer leaves by `/quit`, or when the driver forgets
//! it after a time of silence.
//!
//! # Example
//!
//! ```
//! use sotong_classics::room::{RoomLimits, RoomService};
//! use sotong_session::{Close, End, Service, Way, Wire, rig::Rig};
//!
//! let room = RoomService::new(RoomLimits::default());
//! let way = Way::new(End::Simulated(1), End::Simulated(2), Wire::Stream);
//! let mut nc = Rig::stream(room.open(&way)?);
//! nc.open_as(&way);
//! assert_eq!(nc.sent(), b"What is your name?\n");
//! nc.input("민수\n안녕하세요!\n".as_bytes());
//! assert_eq!(nc.sent(), "* Welcome, 민수. /help lists the commands.\n* Nobody else is here yet.\n".as_bytes());
//! // What goes to the others:
//! let said: Vec<String> = nc.host().published.iter().map(|(_, _, line)| line.to_string()).collect();
//! assert_eq!(said, ["* 민수 has joined", "민수: 안녕하세요!"]);
//! # Ok::<(), Close>(())
//! ```
mod hall;
mod member;
mod name;
#[cfg(test)]
mod tests;

pub use hall::{Command, Effect, Hall, Refusal, Roll};
pub use member::{Line, Member};
pub use name::{NAME_CHARS_MAX, Name, NameError};

use crate::hears::Hears;
use sotong_layers::{LineOptions, Lines};
use sotong_session::{Address, Close, Cx, Event, Host, Records, Service, Session, Stream, Topic, Wants, Way};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What a room allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomLimits {
    /// Members at once: 4,096, each of whom gets every line. Who comes later is told that the room is full.
    pub members_max: usize,
    /// Bytes of a line without its end: 8,192, a long paste. Over a stream a longer line ends the session, since it may have
    /// no end; a longer datagram is refused.
    pub line_bytes_max: usize,
    /// Bad or taken names a newcomer may try: 5.
    pub name_tries_max: u32,
    /// A newcomer gives a name within 60 s.
    pub name_time: Duration,
}

impl Default for RoomLimits {
    fn default() -> Self {
        Self { members_max: 4096, line_bytes_max: 8192, name_tries_max: 5, name_time: Duration::from_secs(60) }
    }
}

/// One room. Clones are doors to the same room.
///
/// Needs a model whose shards share memory: under one process for each connection everybody would be alone.
#[derive(Clone, Debug)]
pub struct RoomService {
    room: Arc<Room>,
}

/// What all sessions of a room share.
#[derive(Debug)]
struct Room {
    hall: Mutex<Hall>,
    limits: RoomLimits,
}

/// Everybody who has a name.
const TOPIC: Topic = Topic(0);

impl Room {
    /// The hall, for one command and the telling of it. Never held while waiting for anything else but the topic's lock.
    fn hall(&self) -> MutexGuard<'_, Hall> {
        // No command of the hall leaves it half done, so a panic elsewhere under the lock has broken nothing in it.
        self.hall.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Takes a member out and tells the others, if it was one.
    fn leave(&self, who: Address, host: &mut dyn Host<Line>) {
        let mut hall = self.hall();
        if let Ok(Effect::Left { name }) = hall.apply(who, Command::Leave) {
            host.publish(TOPIC, Some(who), Line::notice(format_args!("{name} has left")));
        }
    }
}

impl RoomService {
    /// An empty room.
    pub fn new(limits: RoomLimits) -> Self {
        Self { room: Arc::new(Room { hall: Mutex::new(Hall::new(limits.members_max)), limits }) }
    }
    /// The names of those who are here, in alphabetical order, at most 100 of them.
    pub fn who(&self) -> Roll {
        self.room.hall().roll(None)
    }
}

impl Default for RoomService {
    fn default() -> Self {
        Self::new(RoomLimits::default())
    }
}

impl Service for RoomService {
    type Session = RoomPeer;

    fn open(&self, way: &Way) -> Result<RoomPeer, Close> {
        let member = Member::new(Arc::clone(&self.room), way.wire);
        match Hears::of(way) {
            Hears::Stream => {
                let options = LineOptions {
                    line_bytes_max: self.room.limits.line_bytes_max,
                    too_long: Some("* That line is too long. Goodbye."),
                    ..LineOptions::default()
                };
                Ok(RoomPeer::Stream(Lines::new(member, options)))
            }
            Hears::Records => Ok(RoomPeer::Datagrams(member)),
            Hears::Loop => Err(Close::Protocol("a datagram from a port that answers everything".into())),
        }
    }
    fn lost(&self, who: Address, host: &mut dyn Host<Line>) {
        self.room.leave(who, host);
    }
}

/// A peer of the room, over a stream or over datagrams.
#[derive(Debug)]
pub enum RoomPeer {
    /// Lines of a stream.
    Stream(Lines<Member>),
    /// Datagrams.
    Datagrams(Member),
}

impl Session for RoomPeer {
    type Mail = Line;
    fn handle(&mut self, event: Event<'_, Line>, cx: &mut Cx<'_, Line>) -> Result<(), Close> {
        match self {
            Self::Stream(session) => session.handle(event, cx),
            Self::Datagrams(session) => session.handle(event, cx),
        }
    }
    fn wants(&self) -> Wants {
        match self {
            Self::Stream(session) => session.wants(),
            Self::Datagrams(session) => session.wants(),
        }
    }
}
impl Stream for RoomPeer {}
impl Records for RoomPeer {}
