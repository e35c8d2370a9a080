//! The chat: people with IRC clients and people with `nc` in the same rooms, on one port.
//!
//! Nicks, rooms, modes and who is where have one owner, the hall: a state machine behind one short lock. A session parses a
//! line, asks the hall while it is locked, and renders what it is told. What happens in a room is published through the
//! room's topic under that same lock, so all hear a room in one order, which is the hall's. A line is rendered once for each
//! set of capabilities that changes it, whoever many hear it, and one entry goes to each shard.
//!
//! What somebody does in a room comes back to him by the same way, at its place in that order; later answers, PONG included,
//! wait for it. So whatever A has done is with B before the answer to anything B says later.
//!
//! The first bytes of a connection tell what is spoken: IRC, HTTP (answered with one plain document), or neither: then a
//! person is asked for a name. So is one who says nothing for a second.
//!
//! # Example
//!
//! ```
//! use sotong_chat::{ChatOptions, ChatService};
//! use sotong_session::{Close, End, Service, Way, Wire, rig::Rig};
//!
//! let chat = ChatService::new(ChatOptions::default());
//! let way = Way::new(End::Simulated(1), End::Simulated(2), Wire::Stream);
//! let mut client = Rig::stream(chat.open(&way)?);
//! client.open_as(&way);
//! client.input("NICK 민수\r\nUSER m 0 * :Minsu\r\n".as_bytes());
//! let welcome = String::from_utf8(client.sent()).expect("UTF-8");
//! assert!(welcome.starts_with(":sotong.local 001 민수 :Welcome to the Sotong network, 민수!~m@"));
//! # Ok::<(), Close>(())
//! ```
#![forbid(unsafe_code)]

pub mod books;
mod caps;
mod client;
mod door;
mod flood;
mod hall;
mod listener;
mod news;
mod options;
mod seats;
mod text;

pub use listener::{ListenerKind, Rehash};
pub use news::Mail;
pub use options::{AccountOptions, AlwaysOn, ChatLimits, ChatOptions, HashCost};

use arc_swap::{ArcSwap, Guard};
use blake2::{Blake2s256, Digest};
use books::{Books, Records};
use client::Client;
use door::Door;
use flood::Doors;
use hall::{Hall, Teller, Who};
use sotong_layers::{Handover, Sniff, SniffLimits};
use sotong_session::{Address, Close, Cx, End, Event, Host, Service, Session, Stream, Wall, Wants, Way};
use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};
use text::Person;

/// What all sessions share.
pub(crate) struct Chat {
    options: ArcSwap<ChatOptions>,
    /// What the server calls itself, for as long as it runs.
    pub(crate) name: Arc<str>,
    hall: Mutex<Hall>,
    doors: Mutex<Doors>,
    rehash: OnceLock<Rehash>,
}

impl Chat {
    /// The options as they are now. They change when they are read anew: nobody keeps what he has read of them.
    pub(crate) fn options(&self) -> Guard<Arc<ChatOptions>> {
        self.options.load()
    }
    /// The hall, for one command and the telling of it.
    pub(crate) fn hall(&self) -> MutexGuard<'_, Hall> {
        // A panic under the lock costs the session that had it; what it left is still a hall.
        self.hall.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn doors(&self) -> MutexGuard<'_, Doors> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Where somebody is from, as others are shown it: the same for the same address, and no way back to it.
    pub(crate) fn cloak(&self, way: &Way) -> String {
        match way.peer() {
            End::Net(address) if address.ip().to_canonical().is_loopback() => "localhost".to_owned(),
            End::Net(address) => {
                let ip = address.ip().to_canonical();
                let mut hash = Blake2s256::new();
                hash.update(self.options().cloak_key);
                match ip {
                    IpAddr::V4(ip) => hash.update(ip.octets()),
                    // A network, which is what one household has.
                    IpAddr::V6(ip) => hash.update(&ip.octets()[..8]),
                }
                let hash = hash.finalize();
                hash[..8].iter().map(|byte| format!("{byte:02x}")).collect::<String>() + ".cloak"
            }
            End::Unix { .. } => "unix".to_owned(),
            End::Pipe => "pipe".to_owned(),
            End::Simulated(number) => format!("sim-{number}"),
        }
    }
}

/// A chat. Clones are doors to the same one.
///
/// Needs a model whose shards share memory.
#[derive(Clone)]
pub struct ChatService {
    chat: Arc<Chat>,
    /// What is spoken by whoever comes in by this door.
    kind: ListenerKind,
    /// A proxy stands before this door, and says whom it brings.
    is_proxied: bool,
}

impl fmt::Debug for ChatService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatService").finish_non_exhaustive()
    }
}

impl ChatService {
    /// A chat where nobody is yet.
    pub fn new(options: ChatOptions) -> Self {
        let hall = Mutex::new(Hall::new(&options));
        let (name, options) = (options.name.as_str().into(), ArcSwap::from_pointee(options));
        let chat = Chat { options, name, hall, doors: Mutex::default(), rehash: OnceLock::new() };
        Self { chat: Arc::new(chat), kind: ListenerKind::Auto, is_proxied: false }
    }
    /// Takes in what was stored by an earlier run, before anybody comes.
    pub fn restore(&self, records: Records) {
        let mut hall = self.chat.hall();
        hall.books = Books::new(records);
        hall.wake(self.chat.options().created);
    }
    /// Other options, from now on and for those who are here, too. What cannot change while it runs stays: the server's name,
    /// when it began, and the key of the addresses.
    pub fn reload(&self, options: ChatOptions) {
        let mut hall = self.chat.hall();
        let before = self.chat.options();
        let ChatOptions { name, created, cloak_key, .. } = &**before;
        let (name, created, cloak_key) = (name.clone(), *created, *cloak_key);
        hall.limits = options.limits;
        hall.accounts = options.accounts;
        self.chat.options.store(Arc::new(ChatOptions { name, created, cloak_key, ..options }));
    }
    /// A door to the same chat for those who have been silent already: they are greeted at once.
    #[must_use]
    pub fn for_the_silent(&self) -> Self {
        Self { kind: ListenerKind::Text, ..self.clone() }
    }
    /// A door to the same chat for those who come in by a listener of this kind. Where a proxy names who comes
    /// ([`Way::through`]), addresses of this machine are counted like all others.
    #[must_use]
    pub fn for_listener(&self, kind: ListenerKind, is_proxied: bool) -> Self {
        Self { chat: Arc::clone(&self.chat), kind, is_proxied }
    }
    /// What REHASH does, for all doors of the chat; said once, before anybody comes.
    pub fn on_rehash(&self, rehash: Rehash) {
        let is_first = self.chat.rehash.set(rehash).is_ok();
        debug_assert!(is_first, "said once");
    }
    /// People who have registered, rooms, and connections that have not registered.
    pub fn count(&self) -> (usize, usize, usize) {
        let hall = self.chat.hall();
        (hall.users_len(), hall.rooms_len(), hall.newcomers.len())
    }
}

impl Service for ChatService {
    type Session = Guest;

    fn open(&self, way: &Way) -> Result<Guest, Close> {
        let limits = SniffLimits { silence: self.chat.options().silence, ..SniffLimits::default() };
        let door = Door { chat: Arc::clone(&self.chat) };
        let session = match self.kind {
            ListenerKind::Auto => Voice::Unknown(Box::new(Handover::new(Sniff::new(door, limits)))),
            ListenerKind::Text => Voice::Person(Box::new(text::person(Arc::clone(&self.chat)))),
            ListenerKind::Irc => Voice::Client(Box::new(Client::new(Arc::clone(&self.chat)))),
            ListenerKind::Web | ListenerKind::WebSocket => Voice::Web(door.web()),
        };
        let ip = match way.peer() {
            End::Net(address) => Some(address.ip().to_canonical()).filter(|ip| self.is_proxied || !ip.is_loopback()),
            End::Unix { .. } | End::Pipe | End::Simulated(_) => None,
        };
        let counts = self.chat.options().limits.flood_control;
        let place = Place { chat: Arc::clone(&self.chat), ip: ip.filter(|_| counts), is_counted: false };
        Ok(Guest { session, place })
    }
    fn lost(&self, who: Address, host: &mut dyn Host<Mail>) {
        // Civil time is the driver's; what is told of a fault bears the beginning of the server.
        let at: Wall = self.chat.options().created;
        let mut hall = self.chat.hall();
        hall.newcomers.remove(&who);
        hall.quit("Server fault", &mut Teller { me: Who::NOBODY, from: who, at, host });
    }
}

/// A connection of the chat, whatever it speaks.
pub struct Guest {
    session: Voice,
    place: Place,
}

/// What is spoken: told by the first bytes, or known.
enum Voice {
    Unknown(Box<Handover<Sniff<Door>>>),
    Person(Box<Handover<Person>>),
    Client(Box<Client>),
    Web(Box<dyn Stream<Mail = Mail>>),
}

/// A connection's place among those of its address, which is free again when this is dropped.
struct Place {
    chat: Arc<Chat>,
    ip: Option<IpAddr>,
    is_counted: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(ip) = self.ip.filter(|_| self.is_counted) {
            self.chat.doors().leave(ip);
        }
    }
}

impl Session for Guest {
    type Mail = Mail;
    fn handle(&mut self, event: Event<'_, Mail>, cx: &mut Cx<'_, Mail>) -> Result<(), Close> {
        if let (Event::Open(_), Some(ip)) = (&event, self.place.ip) {
            self.place.is_counted = true;
            let entered = self.place.chat.doors().enter(ip, cx.now, &self.place.chat.options().limits);
            if let Err(limit) = entered {
                cx.out.put(b"ERROR :Closing link: too many connections from your address\r\n");
                return Err(Close::Limit(limit));
            }
        }
        match &mut self.session {
            Voice::Unknown(session) => session.handle(event, cx),
            Voice::Person(session) => session.handle(event, cx),
            Voice::Client(session) => session.handle(event, cx),
            Voice::Web(session) => session.handle(event, cx),
        }
    }
    fn wants(&self) -> Wants {
        match &self.session {
            Voice::Unknown(session) => session.wants(),
            Voice::Person(session) => session.wants(),
            Voice::Client(session) => session.wants(),
            Voice::Web(session) => session.wants(),
        }
    }
}
impl Stream for Guest {}
