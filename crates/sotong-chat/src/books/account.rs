//! Accounts.
use super::ScramKeys;
use sotong_session::Map;
use std::fmt;

/// The SHA-256 of a certificate.
pub type CertPrint = [u8; 32];

/// An account: what is kept of somebody for good.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name, as it was given.
    pub name: Box<str>,
    /// When it was registered: milliseconds since 1970-01-01 UTC, as all times here.
    pub registered: i64,
    /// The argon2 hash of its password, as PHC strings have it; none where only a certificate opens it.
    pub password: Option<Box<str>>,
    /// The same password, for SCRAM-SHA-256.
    pub scram: Option<ScramKeys>,
    /// Certificates that open it.
    pub certs: Vec<CertPrint>,
    /// Where its owner can be written to.
    pub email: Option<Box<str>>,
    /// What is shown as the host of whoever is logged in to it, where operators have said so.
    pub vhost: Option<Box<str>>,
    /// Why nobody may log in to it, if that is so.
    pub suspended: Option<Suspension>,
    /// What its owner has chosen.
    pub settings: Settings,
    /// Where an always-on owner sits.
    pub presence: Option<Presence>,
    /// What its owner says of himself by keys (IRCv3 draft/metadata), by their names.
    pub keys: Map<Box<str>, Box<str>>,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No hash gets into a log.
        f.debug_struct("Account").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Nobody may log in to an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspension {
    /// Who says so.
    pub by: Box<str>,
    /// Why.
    pub reason: Box<str>,
    /// Since when.
    pub at: i64,
    /// Until when; none: for good.
    pub until: Option<i64>,
}

impl Suspension {
    /// Whether it holds at this time.
    pub fn holds(&self, now: i64) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// What the owner of an account has chosen; nothing: as the server does it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whether several clients share the nick.
    pub multiclient: Option<bool>,
    /// Whether nick and seats stay while no client is there.
    pub always_on: Option<bool>,
    /// How much of what was missed a client is told that cannot ask for it.
    pub autoreplay_lines: Option<u32>,
    /// Whether he counts as away while no client is there.
    pub auto_away: Option<bool>,
}

/// Where an always-on owner sits, for the time when the server starts anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// The nick, as shown.
    pub nick: Box<str>,
    /// The user part of the address.
    pub user: Box<str>,
    /// Where he was from, as others are shown it who have been given no other host.
    pub host: Box<str>,
    /// The real name.
    pub real: Box<str>,
    /// The letters of his modes.
    pub modes: Box<str>,
    /// Why he is away, if he is.
    pub away: Option<Box<str>>,
    /// The rooms, and the letters of the ranks he has there.
    pub rooms: Vec<(Box<str>, Box<str>)>,
    /// When a client of his was last there.
    pub seen: i64,
}

impl Account {
    /// An account that nothing opens yet.
    pub fn new(name: &str, registered: i64) -> Self {
        Self {
            name: name.into(),
            registered,
            password: None,
            scram: None,
            certs: Vec::new(),
            email: None,
            vhost: None,
            suspended: None,
            settings: Settings::default(),
            presence: None,
            keys: Map::new(),
        }
    }
}
