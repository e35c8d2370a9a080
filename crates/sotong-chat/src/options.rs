//! What a chat allows and what it says of itself.
use sotong_irc::names;
use sotong_session::Wall;
use std::time::Duration;

/// What a server says of itself, and whom it lets in.
#[derive(Clone, Debug)]
pub struct ChatOptions {
    /// What the server calls itself on the wire; a word with a dot in it.
    pub name: String,
    /// The network's name; a word.
    pub network: String,
    /// Its version, as `sotong-0.1.0`.
    pub version: String,
    /// What everybody must give by PASS; nothing: anybody may come.
    pub password: Option<String>,
    /// The message of the day, by lines; none: there is none.
    pub motd: Vec<String>,
    /// How to join, as it is answered to a browser: lines of plain text.
    pub ways: Vec<String>,
    /// The room that people with a terminal come into.
    pub room: String,
    /// When the server began.
    pub created: Wall,
    /// Addresses are shown as what this key makes of them.
    pub cloak_key: [u8; 32],
    /// How long a newcomer may be silent before it is taken for a person with a terminal, and greeted: 1 s.
    pub silence: Duration,
    /// Its limits.
    pub limits: ChatLimits,
}

impl Default for ChatOptions {
    fn default() -> Self {
        Self {
            name: "sotong.local".to_owned(),
            network: "Sotong".to_owned(),
            version: concat!("sotong-", env!("CARGO_PKG_VERSION")).to_owned(),
            password: None,
            motd: Vec::new(),
            ways: Vec::new(),
            room: "#lobby".to_owned(),
            created: Wall(0),
            cloak_key: [0; 32],
            silence: Duration::from_secs(1),
            limits: ChatLimits::default(),
        }
    }
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
    /// A room's name as it is shown, if it can be one.
    pub fn room_name(text: &str) -> Option<String> {
        names::room(text, ChatLimits::default().room_chars_max).ok()
    }
}

/// The limits of a chat. What goes beyond one is told by its numeric, or ends the connection as the limit's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChatLimits {
    /// Whether commands of one connection are slowed down, and connections of one address limited: true. Only load tests go
    /// without.
    pub flood_control: bool,
    /// Commands at once: 5. Then the connection is not read before the next is due.
    pub burst: u32,
    /// Time that a command costs beyond these: 500 ms.
    pub command_time: Duration,
    /// Connections of one address at once: 16. Loopback is exempt.
    pub connections_per_address: usize,
    /// New connections of one address in 10 minutes: 32. Loopback is exempt.
    pub new_connections_per_address: usize,
    /// A newcomer registers within 20 s.
    pub registration: Duration,
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
    /// Rooms somebody is in at once: 100.
    pub rooms_max: usize,
    /// Nicks somebody watches: 100.
    pub monitor_max: usize,
    /// Nicks remembered for WHOWAS: 100.
    pub whowas_max: usize,
    /// Commands whose answers wait for something that is under way: 64. Then no more is read.
    pub held_answers_max: usize,
    /// A person with a terminal gives a name within 60 s.
    pub name_time: Duration,
    /// Bad or taken names a person with a terminal may try: 5.
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
            registration: Duration::from_secs(20),
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
            rooms_max: 100,
            monitor_max: 100,
            whowas_max: 100,
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
