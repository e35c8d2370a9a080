//! What a chat allows and what it says of itself.
use crate::{Ways, hall::PersonModes, opers::Oper};
use sotong_http::ws::WsLimits;
use sotong_irc::names;
use sotong_layers::proxy::PROXY_TIME_MAX;
use sotong_session::{Wall, cidr::Cidr};
use std::{fmt, time::Duration};

/// What a server says of itself, and whom it lets in.
#[derive(Clone, Debug)]
pub struct ChatOptions {
    /// What the server calls itself on the wire; a word with a dot in it.
    pub name: String,
    /// The network's name; a word.
    pub network: String,
    /// What it says of itself in a few words; nothing: the network's name.
    pub description: String,
    /// Its version, as `sotong-0.1.0`.
    pub version: String,
    /// What everybody must give by PASS, or its argon2 hash; nothing: anybody may come.
    pub password: Option<String>,
    /// The message of the day, by lines; none: there is none.
    pub motd: Vec<String>,
    /// How to join, as it is answered to a browser: in plain text.
    pub ways: Ways,
    /// The room that people with a terminal come into.
    pub room: String,
    /// When the server began.
    pub created: Wall,
    /// Addresses are shown as what this key makes of them.
    pub cloak_key: [u8; 32],
    /// Whether they are: true. Else others see where somebody is from: the name of his address where that is looked up, or
    /// the address.
    pub cloak_addresses: bool,
    /// Whether names of addresses are looked up: false. A name counts only if it has the address itself. It is shown where
    /// addresses are not hidden; operators see it, and the server's bans cover it, in any case.
    pub resolve_hostnames: bool,
    /// Whether the machines that clients come from are asked for their users (ident, RFC 1413): false. Who has been named so
    /// has no `~` before it.
    pub check_ident: bool,
    /// How long a newcomer may be silent before it is taken for a person with a terminal, and greeted: 1 s.
    pub silence: Duration,
    /// Whose pages may connect by WebSocket, beside those of the host that was asked for: each as a browser writes it
    /// (`https://example.org`), or `*` for all.
    pub allowed_origins: Vec<Box<str>>,
    /// From where a connection may say whom it brings (the PROXY protocol): this machine.
    pub proxy_allowed_from: Vec<Cidr>,
    /// Gateways that say whom they bring (WEBIRC): none.
    pub gateways: Vec<Gateway>,
    /// Operators of the server.
    pub opers: Vec<Oper>,
    /// Whether operators of rooms may speak for others (RELAYMSG), as bridges to other networks do: false.
    pub relaymsg: bool,
    /// Whether rooms may be such that people speak for others there (NPC, SCENE; room mode E): false.
    pub roleplay: bool,
    /// Modes that everybody has from the beginning, by their letters.
    pub default_user_modes: String,
    /// Accounts, and who may have one.
    pub accounts: AccountOptions,
    /// Where clients that come by plain text are to come by TLS, and for how long that holds (IRCv3 sts); none: it is not
    /// said. Only for a server whose certificate others accept: a client that has once heard of it comes by nothing else.
    pub sts: Option<Sts>,
    /// Keys that people and rooms have.
    pub metadata: MetadataOptions,
    /// Its limits.
    pub limits: ChatLimits,
}

/// The addresses of this machine.
const LOOPBACK: [&str; 2] = ["127.0.0.1", "::1"];

impl Default for ChatOptions {
    fn default() -> Self {
        Self {
            name: "sotong.local".to_owned(),
            network: "Sotong".to_owned(),
            description: String::new(),
            version: concat!("sotong-", env!("CARGO_PKG_VERSION")).to_owned(),
            password: None,
            motd: Vec::new(),
            ways: Ways::default(),
            room: "#lobby".to_owned(),
            created: Wall(0),
            cloak_key: [0; 32],
            cloak_addresses: true,
            resolve_hostnames: false,
            check_ident: false,
            silence: Duration::from_secs(1),
            allowed_origins: Vec::new(),
            proxy_allowed_from: LOOPBACK.iter().filter_map(|ip| ip.parse().ok()).collect(),
            gateways: Vec::new(),
            opers: Vec::new(),
            relaymsg: false,
            roleplay: false,
            default_user_modes: String::new(),
            accounts: AccountOptions::default(),
            sts: None,
            metadata: MetadataOptions::default(),
            limits: ChatLimits::default(),
        }
    }
}

/// Keys that people and rooms have (IRCv3 draft/metadata).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetadataOptions {
    /// Whether there are any: true.
    pub enabled: bool,
    /// Keys that a client is told of: 100; `usize::MAX`: no limit.
    pub max_subs: usize,
    /// Keys that somebody or a room has: 1000, and 64 KiB of them; `usize::MAX`: no limit but the 64 KiB.
    pub max_keys: usize,
    /// Whether a client may set its own before it has registered: true.
    pub before_connect: bool,
}

impl Default for MetadataOptions {
    fn default() -> Self {
        Self { enabled: true, max_subs: 100, max_keys: 1000, before_connect: true }
    }
}

/// A gateway, such as that of a page, that brings clients and says by WEBIRC where they are from.
#[derive(Clone, PartialEq, Eq)]
pub struct Gateway {
    /// From where it comes.
    pub allowed_from: Vec<Cidr>,
    /// How it proves itself: `$argon2…`, or the password itself, which is for tests; nothing: its certificate alone does it.
    pub password: String,
    /// The SHA-256 fingerprint of its certificate, in hexadecimal; nothing: any or none will do.
    pub certificate: String,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No password gets into a log.
        f.debug_struct("Gateway").field("allowed_from", &self.allowed_from).finish_non_exhaustive()
    }
}

/// How clients are told to come by TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sts {
    /// Where TLS is spoken.
    pub port: u16,
    /// For how long a client that has come by TLS comes by nothing else.
    pub duration: Duration,
    /// Whether lists of servers that are shipped with clients may have this one.
    pub preload: bool,
}

impl ChatOptions {
    /// Whether a server can be called so: letters, digits, hyphens and dots of ASCII, with a dot in it.
    pub fn is_server_name(text: &str) -> bool {
        let is_label =
            |label: &str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        text.len() <= 63 && text.contains('.') && text.split('.').all(is_label)
    }
    /// Whether a network can be called so: a word of letters, digits and hyphens of ASCII.
    pub fn is_network_name(text: &str) -> bool {
        (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    }
    /// What the server says of itself.
    pub fn described(&self) -> &str {
        if self.description.is_empty() { &self.network } else { &self.description }
    }
    /// Whether everybody may have these modes from the beginning: letters, with or without a `+`.
    pub fn are_user_modes(text: &str) -> bool {
        let letters = text.strip_prefix('+').unwrap_or(text);
        letters.chars().all(|letter| PersonModes::read(letter.encode_utf8(&mut [0; 4])) != PersonModes::default())
    }
    /// A room's name as it is shown, if it can be one.
    pub fn room_name(text: &str) -> Option<String> {
        names::room(text, ChatLimits::default().room_chars_max).ok()
    }
}

/// Accounts: who may have one, and what it is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountOptions {
    /// Whether people may make accounts: true.
    pub register: bool,
    /// Whether they may before they have registered their connection: true.
    pub register_before_connect: bool,
    /// Whether an account needs an address of electronic mail: false. It is kept for the operators; nothing is sent to it.
    pub email_required: bool,
    /// Whether a nick that is the name of an account belongs to that account: true.
    pub nick_is_account: bool,
    /// Whether several clients of one account share a nick, where the account does not say: true.
    pub multiclient: bool,
    /// Whether somebody keeps the seat without a client: by choice.
    pub always_on: AlwaysOn,
    /// Passwords tried in a minute, for one account from one address: 3; 0: as many as they like.
    pub login_attempts: u32,
    /// What a password's hash costs. Fixed for as long as the server runs.
    pub password_hash_cost: HashCost,
}

impl Default for AccountOptions {
    fn default() -> Self {
        Self {
            register: true,
            register_before_connect: true,
            email_required: false,
            nick_is_account: true,
            multiclient: true,
            always_on: AlwaysOn::OptIn,
            login_attempts: 3,
            password_hash_cost: HashCost::Default,
        }
    }
}

/// Whether somebody with an account keeps nick and seats while no client is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlwaysOn {
    /// Nobody does.
    Off,
    /// Who asks for it does.
    OptIn,
    /// All do who have not refused.
    OptOut,
    /// All do.
    Mandatory,
}

impl AlwaysOn {
    /// Whether an account is, that has chosen so, or has not chosen.
    pub fn holds(self, chosen: Option<bool>) -> bool {
        match self {
            Self::Off => false,
            Self::OptIn => chosen.unwrap_or(false),
            Self::OptOut => chosen.unwrap_or(true),
            Self::Mandatory => true,
        }
    }
}

/// What a password's hash costs whoever makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashCost {
    /// Argon2id over 19 MiB, twice: what keeps passwords safe if the file is stolen.
    Default,
    /// The cheapest there is: for suites of tests only.
    Test,
}

/// The limits of a chat. What goes beyond one is told by its numeric, or ends the connection as the limit's name. The greatest
/// number is no limit, and then none is told of to clients; so is the greatest time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChatLimits {
    /// Whether commands of one connection are slowed down, and connections of one address limited: true. Only load tests go
    /// without.
    pub flood_control: bool,
    /// Commands at once: 5. Then the connection is not read before the next is due.
    pub burst: u32,
    /// Time that a command costs beyond these: 500 ms.
    pub command_time: Duration,
    /// Connections of one address at once: 16; with IPv6, of one network of 64 bits. Loopback is exempt.
    pub connections_per_address: usize,
    /// New connections of one address, or such a network, in 10 minutes: 32. Loopback is exempt.
    pub new_connections_per_address: usize,
    /// Bytes that may come without the end of a line, of which those beyond a line are thrown away: 10 KiB, and at least a
    /// line with its tags, 4,608 bytes.
    pub receive_queue_bytes_max: usize,
    /// A proxy says whom it brings within 2 s.
    pub proxy_time: Duration,
    /// Of WebSocket; its `head` is that of each request over HTTP, the page's, too.
    pub websocket: WsLimits,
    /// Whether messages of WebSocket may be compressed, each on its own: false.
    pub websocket_deflate: bool,
    /// A newcomer registers within 20 s.
    pub registration: Duration,
    /// How long it waits for what is looked up of it, and then goes on without: 5 s.
    pub lookup: Duration,
    /// Lines before registration: 64.
    pub registration_lines_max: u32,
    /// Somebody silent for so long is asked whether he is there: 90 s.
    pub ping_after: Duration,
    /// Somebody silent for so long is cut off: 150 s.
    pub cut_after: Duration,
    /// Characters of a nick: 32.
    pub nick_chars_max: usize,
    /// Characters of a room's name: 64.
    pub room_chars_max: usize,
    /// Bytes of a topic: 390.
    pub topic_bytes_max: usize,
    /// Bytes of a reason to kick, to part and to quit: 390.
    pub reason_bytes_max: usize,
    /// Bytes of an away text: 200.
    pub away_bytes_max: usize,
    /// Bytes of a real name: 150.
    pub real_bytes_max: usize,
    /// Bytes of a room's key: 32.
    pub key_bytes_max: usize,
    /// Entries of each of a room's lists of masks: 60.
    pub list_modes_max: usize,
    /// Changes of modes in one line: 20.
    pub modes_max: usize,
    /// Targets of one message: 4.
    pub targets_max: usize,
    /// Accounts there may be: 100,000.
    pub accounts_max: usize,
    /// Accounts made from one address in 10 minutes: 30; 0: as many as they like. Loopback is exempt.
    pub new_accounts_per_address: usize,
    /// Rooms that may be registered: 20,000.
    pub registered_rooms_max: usize,
    /// Rooms that one account may have registered: 15.
    pub rooms_per_account_max: usize,
    /// Bytes of a password: 300.
    pub password_bytes_max: usize,
    /// Certificates of one account: 10.
    pub certs_per_account_max: usize,
    /// Rooms somebody is in at once: 100.
    pub rooms_max: usize,
    /// Nicks somebody watches: 100.
    pub monitor_max: usize,
    /// Nicks remembered for WHOWAS: 100.
    pub whowas_max: usize,
    /// Messages kept of a room for those who come back: 10,000. They are kept in memory, and where somebody is always on.
    pub log_messages_max: usize,
    /// Bytes of all that is kept so: 64 MiB. The oldest goes first.
    pub log_bytes_max: usize,
    /// Bytes of a message of several lines: 4096.
    pub multiline_bytes_max: usize,
    /// Lines of such a message: 32.
    pub multiline_lines_max: usize,
    /// Commands whose answers wait for something that is under way: 64. Then no more is read.
    pub held_answers_max: usize,
    /// A person with a terminal gives the server's password, where it has one, and a name within 60 s.
    pub name_time: Duration,
    /// Bad or taken names a person with a terminal may try, and wrong passwords of the server: 5 of each.
    pub name_tries_max: u32,
}

impl Default for ChatLimits {
    fn default() -> Self {
        Self {
            flood_control: true,
            burst: 5,
            command_time: Duration::from_millis(500),
            connections_per_address: 16,
            new_connections_per_address: 32,
            receive_queue_bytes_max: 10 << 10,
            proxy_time: PROXY_TIME_MAX,
            websocket: WsLimits::default(),
            websocket_deflate: false,
            registration: Duration::from_secs(20),
            lookup: Duration::from_secs(5),
            registration_lines_max: 64,
            ping_after: Duration::from_secs(90),
            cut_after: Duration::from_secs(150),
            nick_chars_max: 32,
            room_chars_max: 64,
            topic_bytes_max: 390,
            reason_bytes_max: 390,
            away_bytes_max: 200,
            real_bytes_max: 150,
            key_bytes_max: 32,
            list_modes_max: 60,
            modes_max: 20,
            targets_max: 4,
            accounts_max: 100_000,
            new_accounts_per_address: 30,
            registered_rooms_max: 20_000,
            rooms_per_account_max: 15,
            password_bytes_max: 300,
            certs_per_account_max: 10,
            rooms_max: 100,
            monitor_max: 100,
            whowas_max: 100,
            log_messages_max: 10_000,
            log_bytes_max: 64 << 20,
            multiline_bytes_max: 4096,
            multiline_lines_max: 32,
            held_answers_max: 64,
            name_time: Duration::from_secs(60),
            name_tries_max: 5,
        }
    }
}

/// As much of `text` as fits into `bytes_max`, up to the end of a character.
pub(crate) fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
