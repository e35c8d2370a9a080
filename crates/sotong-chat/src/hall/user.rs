//! A person.
use super::entry::Subject;
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
    pub(crate) real: Arc<str>,
    /// `nick!user@host`, and the same folded.
    pub(crate) source: Arc<str>,
    pub(crate) folded: Arc<str>,
    /// The name of the account he is logged in to.
    pub(crate) account: Option<Arc<str>>,
    /// His connections.
    pub(crate) clients: Vec<Address>,
    pub(crate) rooms: Vec<Topic>,
    pub(crate) away: Option<Arc<str>>,
    pub(crate) is_invisible: bool,
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
            real: real.into(),
            source: "".into(),
            folded: "".into(),
            clients: Vec::new(),
            rooms: Vec::new(),
            away: None,
            account: None,
            is_invisible: false,
            is_secure: false,
            invites: BTreeSet::new(),
            watches: std::collections::BTreeMap::new(),
            signed_on: wall,
            spoke: now,
        };
        new.name();
        new
    }
    /// As lists of masks see him.
    pub(crate) fn subject(&self) -> Subject<'_> {
        Subject { source: &self.folded, account: self.account.as_deref() }
    }
    /// How long he has said nothing.
    pub(crate) fn idle_seconds(&self, now: Moment) -> u64 {
        now.since(self.spoke).as_secs()
    }
    /// Makes the source anew, after a part of it has changed.
    pub(super) fn name(&mut self) {
        self.source = format!("{}!{}@{}", self.nick, self.user, self.host).into();
        self.folded = names::fold(&self.source).into();
    }
}

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
