//! What is known of an account by those whose it is: what they asked for, and what came of it; and so what a store may have.
use crate::store::{PLAIN, Store};
use sotong_irc::names;
use std::fmt::Debug;

/// What came of something that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nothing was heard: it may be done, now or later, or never.
    Asked,
    Done,
    Failed,
}

/// A value, and all that was asked of it.
#[derive(Clone, Debug)]
pub(crate) struct Cell<T> {
    first: T,
    tries: Vec<(T, Fate)>,
}

impl<T: Clone + PartialEq + Debug> Cell<T> {
    pub(crate) fn new(first: T) -> Self {
        Self { first, tries: Vec::new() }
    }
    /// It is asked to be this; the number of the try.
    pub(crate) fn ask(&mut self, value: T) -> usize {
        self.tries.push((value, Fate::Asked));
        self.tries.len() - 1
    }
    pub(crate) fn is_told(&mut self, number: usize, fate: Fate) {
        self.tries[number].1 = fate;
    }
    /// What it is as far as is known.
    pub(crate) fn known(&self) -> &T {
        self.tries.iter().rev().find(|(_, fate)| *fate == Fate::Done).map_or(&self.first, |(value, _)| value)
    }
    /// What was asked for last, where nothing was heard of that yet.
    pub(crate) fn last_asked(&self) -> Option<&T> {
        self.tries.last().filter(|(_, fate)| *fate == Fate::Asked).map(|(value, _)| value)
    }
    /// Whether it may be this: what was done last, or what nothing was heard of; never what has failed.
    pub(crate) fn may_be(&self, value: &T) -> bool {
        let is_open = |(asked, fate): &(T, Fate)| *fate == Fate::Asked && asked == value;
        self.known() == value || self.tries.iter().any(is_open)
    }
}

/// An account and its room.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    /// Its name, which is its owner's nick.
    pub(crate) name: String,
    pub(crate) room: &'static str,
    /// The password; none: there is no account.
    pub(crate) password: Cell<Option<String>>,
    pub(crate) always_on: Cell<bool>,
    /// Whether the room is the account's.
    pub(crate) owns: Cell<bool>,
    /// Topics of the room that were asked for.
    pub(crate) topics: Vec<String>,
    passwords: u64,
}

impl Ledger {
    pub(crate) fn new(name: String, room: &'static str) -> Self {
        let (password, always_on, owns) = (Cell::new(None), Cell::new(false), Cell::new(false));
        Self { name, room, password, always_on, owns, topics: Vec::new(), passwords: 0 }
    }
    /// A password that nobody had before.
    pub(crate) fn new_password(&mut self) -> String {
        self.passwords += 1;
        format!("비밀-{}-{}", self.name, self.passwords)
    }
    /// What the store has that it may not have, or has not.
    pub(crate) fn wrong(&self, store: &Store) -> Option<String> {
        let account = store.accounts.get(&names::fold(&self.name));
        let has = account.and_then(|account| account.password.as_deref()).map(|hash| hash.replacen(PLAIN, "", 1));
        if !self.password.may_be(&has) {
            return Some(format!("the store has the password {has:?}: {self:#?}"));
        }
        let always_on = account.map(|account| account.settings.always_on == Some(true));
        if always_on.is_some_and(|always_on| !self.always_on.may_be(&always_on)) {
            return Some(format!("the store has {always_on:?} for always-on: {self:#?}"));
        }
        let room = store.rooms.get(&names::fold(self.room));
        let owns = room.is_some_and(|room| *room.founder == *self.name);
        (!self.owns.may_be(&owns)).then(|| format!("the store has {room:?}: {self:#?}"))
    }
}
