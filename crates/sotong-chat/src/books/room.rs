//! Registered rooms, and bans from the server.
use sotong_session::Map;

/// A room that somebody has registered: what of it is there though nobody is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomRecord {
    /// Its name, as it was given.
    pub name: Box<str>,
    /// Whose it is: the name of an account.
    pub founder: Box<str>,
    /// When it was registered.
    pub registered: i64,
    /// When it came into being.
    pub created: i64,
    /// Its topic.
    pub topic: Option<TopicRecord>,
    /// Its modes but the lists: letters, with what some have with them (key, limit, forward, …).
    pub modes: Map<char, Option<Box<str>>>,
    /// Its lists of masks.
    pub lists: Vec<MaskRecord>,
    /// Which rank an account gets that comes in: accounts by their folds, and letters of ranks.
    pub ranks: Map<Box<str>, char>,
    /// What else is set: slow mode, filters, … by names.
    pub settings: Map<Box<str>, Box<str>>,
    /// What is said of it by keys (IRCv3 draft/metadata), by their names.
    pub keys: Map<Box<str>, Box<str>>,
}

impl RoomRecord {
    /// A room of which nothing is set.
    pub fn new(name: &str, founder: &str, registered: i64) -> Self {
        Self {
            name: name.into(),
            founder: founder.into(),
            registered,
            created: registered,
            topic: None,
            modes: Map::new(),
            lists: Vec::new(),
            ranks: Map::new(),
            settings: Map::new(),
            keys: Map::new(),
        }
    }
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRecord {
    /// What it says.
    pub text: Box<str>,
    /// Who has set it, as it is told.
    pub by: Box<str>,
    /// When.
    pub at: i64,
}

/// An entry of one of a room's lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskRecord {
    /// The letter of the list.
    pub list: char,
    /// Whom it means.
    pub mask: Box<str>,
    /// Who has set it, as it is told.
    pub by: Box<str>,
    /// When.
    pub at: i64,
    /// Until when it holds; none: until it is taken out.
    pub until: Option<i64>,
}

/// Somebody, or some network, that may not come to this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BanRecord {
    /// Whom it means: a mask, or a network, as it was given. There is one record for each.
    pub mask: Box<str>,
    /// Who says so.
    pub by: Box<str>,
    /// Why, as they are told.
    pub reason: Box<str>,
    /// Why, as operators are told.
    pub oper_reason: Option<Box<str>>,
    /// Since when.
    pub at: i64,
    /// Until when; none: for good.
    pub until: Option<i64>,
}
