//! Rooms that outlast a restart, and bans from the server.
use crate::hall::entry;
use sotong_session::Map;

/// Why a room is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RoomKind {
    /// Somebody has registered it: it is kept though nobody is in it.
    #[default]
    Registered,
    /// Somebody who is always on is in it: it is kept as long as that is so.
    Occupied,
}

/// The setting that an offered room bears until it is accepted: the account that it is offered to, by its fold.
pub const OFFERED: &str = "transfer";

/// What is kept of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomRecord {
    /// Its name, as it was given.
    pub name: Box<str>,
    /// Why it is kept.
    pub kind: RoomKind,
    /// Whose it is: the name of an account; nobody's, where nobody has registered it.
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
            kind: RoomKind::Registered,
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
    /// A room that is kept for those who are always on in it, and that nobody has registered.
    pub fn occupied(name: &str) -> Self {
        Self { kind: RoomKind::Occupied, ..Self::new(name, "", 0) }
    }
    /// The same room, once it is not registered any more.
    #[must_use]
    pub fn unregistered(&self) -> Self {
        let Self { created, topic, modes, lists, keys, .. } = self.clone();
        Self { created, topic, modes, lists, keys, ..Self::occupied(&self.name) }
    }
    /// The same without what an account has there, if it has something: a rank, an offer, entries of the lists that let it in
    /// by its name. What keeps it out stays.
    pub(super) fn without(&self, account: &str) -> Option<Self> {
        let is_theirs = |entry: &MaskRecord| is_admitted(entry.list, &entry.mask, account);
        let is_offered = self.settings.get(OFFERED).is_some_and(|to| **to == *account);
        if !is_offered && !self.ranks.contains_key(account) && !self.lists.iter().any(is_theirs) {
            return None;
        }
        let mut room = self.clone();
        room.ranks.remove(account);
        room.lists.retain(|entry| !is_theirs(entry));
        if is_offered {
            room.settings.remove(OFFERED);
        }
        Some(room)
    }
}

/// Whether an entry of this list lets an account in by its name, and nobody else.
pub(crate) fn is_admitted(list: char, mask: &str, account: &str) -> bool {
    matches!(list, 'e' | 'I') && entry::is_account(mask, account)
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
