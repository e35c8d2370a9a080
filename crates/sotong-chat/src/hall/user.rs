//! A person.
use super::{Keys, entry::Subject, personal::PersonModes};
use crate::opers::Oper;
use sotong_irc::names;
use sotong_session::{Address, Moment, Topic, Wall};
use std::{collections::BTreeSet, sync::Arc};

/// Somebody who has registered.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) nick: Arc<str>,
    pub(crate) user: Arc<str>,
    /// Where he is from, as others are shown it.
    pub(crate) host: Arc<str>,
    /// What is made of his address, which is his host where he has been given no other.
    pub(crate) cloak: Arc<str>,
    pub(crate) real: Arc<str>,
    /// `nick!user@host`, and the same folded.
    pub(crate) source: Arc<str>,
    pub(crate) folded: Arc<str>,
    /// The same by the cloak, where he is shown otherwise: no ban is escaped by that.
    pub(crate) behind: Option<Arc<str>>,
    /// The name of the account he is logged in to.
    pub(crate) account: Option<Arc<str>>,
    /// His connections, that which said last whether somebody is at it behind the others.
    pub(crate) clients: Vec<Link>,
    /// Whether he keeps nick and seats while he has no client.
    pub(crate) is_kept: bool,
    /// The place of what was told last when his last client left.
    pub(crate) left: Option<u64>,
    pub(crate) rooms: Vec<Topic>,
    pub(crate) away: Option<Arc<str>>,
    /// What he says of himself by keys.
    pub(crate) keys: Keys,
    pub(crate) modes: PersonModes,
    /// Which operator he is.
    pub(crate) oper: Option<Arc<Oper>>,
    /// Who may speak to him privately though he hears only those who are logged in: folded nicks.
    pub(crate) accepts: BTreeSet<String>,
    /// Whether his connection is encrypted.
    pub(crate) is_secure: bool,
    /// Rooms he has been asked into.
    pub(crate) invites: BTreeSet<Topic>,
    /// Folded nicks he watches, and as he wrote them.
    pub(crate) watches: std::collections::BTreeMap<String, Box<str>>,
    pub(crate) signed_on: Wall,
    /// When he last said something.
    pub(crate) spoke: Moment,
}

impl User {
    pub(crate) fn new(nick: &str, user: &str, host: &str, real: &str, (now, wall): (Moment, Wall)) -> Self {
        let mut new = Self {
            nick: nick.into(),
            user: user.into(),
            host: host.into(),
            cloak: host.into(),
            real: real.into(),
            source: "".into(),
            folded: "".into(),
            behind: None,
            clients: Vec::new(),
            is_kept: false,
            left: None,
            rooms: Vec::new(),
            away: None,
            account: None,
            keys: Keys::default(),
            modes: PersonModes::default(),
            oper: None,
            accepts: BTreeSet::new(),
            is_secure: false,
            invites: BTreeSet::new(),
            watches: std::collections::BTreeMap::new(),
            signed_on: wall,
            spoke: now,
        };
        new.name();
        new
    }
    pub(crate) fn is_invisible(&self) -> bool {
        self.modes.has(PersonModes::INVISIBLE)
    }
    /// As lists of masks see him.
    pub(crate) fn subject(&self) -> Subject<'_> {
        Subject { source: &self.folded, behind: self.behind.as_deref(), account: self.account.as_deref() }
    }
    /// How long he has said nothing.
    pub(crate) fn idle_seconds(&self, now: Moment) -> u64 {
        now.since(self.spoke).as_secs()
    }
    /// Why he is away, from what was said at his connections: he is here if somebody is at one of them.
    pub(super) fn away_now(&self) -> Option<Arc<str>> {
        if self.clients.iter().any(|link| matches!(link.attention, Attention::Here)) {
            return None;
        }
        let said = self.clients.iter().rev().find_map(|link| match &link.attention {
            Attention::Away(text) => Some(Arc::clone(text)),
            Attention::Here | Attention::Unattended => None,
        });
        // Who has gone stays away for the reason that he gave.
        let before = self.away.clone().filter(|_| self.clients.is_empty());
        Some(said.or(before).unwrap_or_else(|| NOT_THERE.into()))
    }
    /// Makes the source anew, after a part of it has changed.
    pub(super) fn name(&mut self) {
        self.source = format!("{}!{}@{}", self.nick, self.user, self.host).into();
        self.folded = names::fold(&self.source).into();
        let is_hidden = self.host != self.cloak;
        self.behind = is_hidden.then(|| names::fold(&format!("{}!{}@{}", self.nick, self.user, self.cloak)).into());
    }
}

/// A connection of somebody's.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) at: Address,
    pub(crate) attention: Attention,
}

/// Whether somebody is at a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Attention {
    Here,
    Away(Arc<str>),
    /// Nobody is there, and no reason was given: `AWAY *` of IRCv3's pre-away.
    Unattended,
}

/// Why somebody is away who has not said it.
const NOT_THERE: &str = "No client is attended";

/// Somebody who was here, or had another nick.
#[derive(Debug)]
pub(crate) struct Past {
    pub(crate) nick: Arc<str>,
    pub(crate) user: Arc<str>,
    pub(crate) host: Arc<str>,
    pub(crate) real: Arc<str>,
    pub(crate) until: Wall,
}

impl Past {
    pub(super) fn of(user: &User, until: Wall) -> Self {
        let User { nick, user, host, real, .. } = user;
        Self { nick: nick.clone(), user: user.clone(), host: host.clone(), real: real.clone(), until }
    }
}
