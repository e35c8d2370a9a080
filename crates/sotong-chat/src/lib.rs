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
mod counters;
mod door;
mod entrance;
mod flood;
mod hall;
mod line;
mod listener;
mod log;
pub mod lookups;
mod news;
mod opers;
mod options;
mod page;
mod seats;
mod text;

pub use entrance::{Entrance, TlsEntrance};
pub use listener::{Herald, ListenerKind, Rehash, Visit, Ways};
pub use news::Mail;
pub use opers::{Oper, OperClass};
pub use options::{AccountOptions, AlwaysOn, ChatLimits, ChatOptions, Gateway, HashCost, MetadataOptions, Sts};

use arc_swap::{ArcSwap, Guard};
use blake2::{Blake2s256, Digest};
use books::{Books, Records};
use counters::{Counters, Gauges};
use entrance::{Counted, Entry};
use flood::Doors;
use hall::{Hall, Teller, Who};
use news::Reloaded;
use sotong_session::{Address, Close, Cx, End, Event, Host, Service, Session, Stream, Wall, Wants, Way};
use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

/// What all sessions share.
pub(crate) struct Chat {
    options: ArcSwap<ChatOptions>,
    /// What the server calls itself, for as long as it runs.
    pub(crate) name: Arc<str>,
    hall: Mutex<Hall>,
    doors: Mutex<Doors>,
    rehash: OnceLock<Rehash>,
    herald: OnceLock<Herald>,
    pub(crate) counters: Counters,
    pub(crate) gauges: Gauges,
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
    /// What REHASH does, if there is a configuration.
    pub(crate) fn rehash(&self) -> Option<&Rehash> {
        self.rehash.get()
    }
    fn doors(&self) -> MutexGuard<'_, Doors> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Where somebody is from, as others are shown it before he has been looked up.
    pub(crate) fn shown(&self, way: &Way) -> String {
        match way.peer() {
            End::Net(address) => self.shown_ip(address.ip(), way.through.is_some()),
            End::Unix { .. } => "unix".to_owned(),
            End::Pipe => "pipe".to_owned(),
            End::Simulated(number) => format!("sim-{number}"),
        }
    }
    /// An address as it is shown: hidden, the same for the same address, and no way back to it; or as it is, where nothing is
    /// hidden. Who `is_brought` by somebody else is never from this machine.
    pub(crate) fn shown_ip(&self, ip: IpAddr, is_brought: bool) -> String {
        let ip = ip.to_canonical();
        let options = self.options();
        if !options.cloak_addresses {
            let text = ip.to_string();
            // What begins with a colon would be the rest of a line.
            return if text.starts_with(':') { format!("0{text}") } else { text };
        }
        if ip.is_loopback() && !is_brought {
            return "localhost".to_owned();
        }
        let mut hash = Blake2s256::new();
        hash.update(options.cloak_key);
        match ip {
            IpAddr::V4(ip) => hash.update(ip.octets()),
            // A network, which is what one household has.
            IpAddr::V6(ip) => hash.update(&ip.octets()[..8]),
        }
        let hash = hash.finalize();
        hash[..8].iter().map(|byte| format!("{byte:02x}")).collect::<String>() + ".cloak"
    }
}

/// The address somebody is from, if that is one of a network: behind a proxy, the one that it tells.
pub(crate) fn ip_of(way: &Way) -> Option<IpAddr> {
    match way.peer() {
        End::Net(address) => Some(address.ip().to_canonical()),
        End::Unix { .. } | End::Pipe | End::Simulated(_) => None,
    }
}

/// One of a chat's tables: how long it is, and how long it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// What it is called.
    pub name: &'static str,
    /// Entries that it has now; or bytes, where the name says so.
    pub len: usize,
    /// Entries that it may have, of who is here and by the limits.
    pub max: usize,
}

/// A chat. Clones are the same one.
///
/// It has the whole way in: the PROXY header, TLS, and telling what is spoken, each as its [`Entrance`] says.
///
/// Needs a model whose shards share memory.
#[derive(Clone)]
pub struct ChatService {
    chat: Arc<Chat>,
    entrances: Arc<[Entrance]>,
}

impl fmt::Debug for ChatService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatService").finish_non_exhaustive()
    }
}

impl ChatService {
    /// A chat where nobody is yet, with one entrance for everything but TLS.
    pub fn new(options: ChatOptions) -> Self {
        let hall = Mutex::new(Hall::new(&options));
        let (name, options) = (options.name.as_str().into(), ArcSwap::from_pointee(options));
        let (rehash, herald) = (OnceLock::new(), OnceLock::new());
        let (doors, counters, gauges) = (Mutex::default(), Counters::default(), Gauges::default());
        let chat = Arc::new(Chat { options, name, hall, doors, rehash, herald, counters, gauges });
        Self { chat, entrances: Arc::new([Entrance::default()]) }
    }
    /// Takes in what was stored by an earlier run, before anybody comes.
    pub fn restore(&self, records: Records) {
        let mut hall = self.chat.hall();
        hall.books = Books::new(records);
        hall.read_bans();
        hall.wake(self.chat.options().created);
    }
    /// Other options, from now on and for those who are here, too. What cannot change while it runs stays: the server's name,
    /// when it began, and the key of the addresses. Operators whose entry is gone, or says something else, are none any more.
    /// Clients are told what is not as they have been told before, where there is
    /// somebody to bring it to them ([`Self::told_by`]): a piece of mail for each connection.
    pub fn reload(&self, options: ChatOptions) {
        let mut hall = self.chat.hall();
        let before = Arc::clone(&self.chat.options());
        let ChatOptions { name, created, cloak_key, .. } = &*before;
        let (name, created, cloak_key) = (name.clone(), *created, *cloak_key);
        hall.limits = options.limits;
        hall.accounts = options.accounts;
        hall.metadata = options.metadata;
        let demoted = hall.demote(&options.opers);
        let now = Arc::new(ChatOptions { name, created, cloak_key, ..options });
        self.chat.options.store(Arc::clone(&now));
        let Some(herald) = self.chat.herald.get() else { return };
        let reloaded = Arc::new(Reloaded { before, now, demoted });
        // Who comes from now on, is told what is so now.
        for to in hall.connections() {
            herald.bring(to, Mail::reloaded(Arc::clone(&reloaded)));
        }
    }
    /// Who brings mail to those who are here when the options are read anew; said once, before anybody comes.
    pub fn told_by(&self, herald: Herald) {
        let is_first = self.chat.herald.set(herald).is_ok();
        debug_assert!(is_first, "said once");
    }
    /// The same chat with other entrances: each listener's by its number ([`Way::listener`]), the last for those beyond.
    #[must_use]
    pub fn with_entrances(&self, entrances: Vec<Entrance>) -> Self {
        Self { chat: Arc::clone(&self.chat), entrances: entrances.into() }
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
    /// All that grows with people and what they say. For tests: it takes the hall's lock.
    pub fn tables(&self) -> Vec<Table> {
        let mut tables = self.chat.hall().tables();
        tables.extend(self.chat.gauges.tables());
        tables
    }
    /// Looks whether these tables are within their bounds, and fit each other: nobody is in one and not in another where he
    /// belongs. For tests: it looks at everything.
    ///
    /// # Errors
    /// What does not fit, in words.
    pub fn audit(&self) -> Result<(), String> {
        self.chat.hall().audit()
    }
    /// The limits that have been reached, by name, and how often.
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        self.chat.counters.all()
    }
}

impl Service for ChatService {
    type Session = Guest;

    fn open(&self, way: &Way) -> Result<Guest, Close> {
        let session = Entry::new(&self.chat, &self.entrances, way).open(way)?;
        Ok(Guest { session, chat: Arc::clone(&self.chat) })
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
    session: Counted,
    chat: Arc<Chat>,
}

impl Session for Guest {
    type Mail = Mail;
    fn handle(&mut self, event: Event<'_, Mail>, cx: &mut Cx<'_, Mail>) -> Result<(), Close> {
        match &event {
            Event::Gone(Close::Limit(limit)) => self.chat.counters.hit(limit),
            Event::Gone(Close::Slow) => self.chat.counters.hit("output_hard"),
            // Whoever waits in a session says for what; these are the driver's times, for the last bytes and the end.
            Event::Gone(Close::Idle) => self.chat.counters.hit("idle"),
            _ => {}
        }
        self.session.handle(event, cx)
    }
    fn wants(&self) -> Wants {
        self.session.wants()
    }
}
impl Stream for Guest {}
