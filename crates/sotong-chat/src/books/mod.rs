//! What outlasts a restart: accounts, registered rooms, bans. All of it is in memory, and written by a desk.
//!
//! A change is taken into the books once the desk has taken it into its queue, both under the hall's lock: so the order of
//! changes is the order in which they are written. Who asked for it is told that it is done once it is on disk. If that
//! fails, it is taken back with all that came later, and no other is taken from then on.
mod account;
mod desk;
mod password;
mod room;
mod scram;
mod throttle;

pub use account::{Account, CertPrint, Presence, Settings, Suspension};
pub use desk::{
    Answer, Ask, Change, Hashed, PASSWORDS, PASSWORDS_QUEUE_MAX, Records, STORE, STORE_QUEUE_MAX, Secret, StoreFault,
    Ticket,
};
pub use password::{BadPassword, prepared};
pub(crate) use room::is_admitted;
pub use room::{BanRecord, MaskRecord, OFFERED, RoomKind, RoomRecord, TopicRecord};
pub use scram::{Challenge, First, ROUNDS, SALT_BYTES, ScramError, ScramKeys};
pub use throttle::Throttle;

use crate::{ChatLimits, Mail, Table};
use sotong_irc::names;
use sotong_session::{Host, Map};
use std::{
    borrow::{Borrow, Cow},
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

/// The books of a chat.
#[derive(Debug, Default)]
pub struct Books {
    accounts: Map<String, Arc<Account>>,
    /// Accounts by how their names look ([`names::looks`]), by their folds.
    looks: Map<String, BTreeSet<String>>,
    /// Which account a certificate opens.
    certs: Map<CertPrint, String>,
    rooms: Map<String, Arc<RoomRecord>>,
    /// How many of them are kept for those who are in them.
    occupied: usize,
    /// Rooms by how their names look, by their folds.
    room_looks: Map<String, BTreeSet<String>>,
    bans: Map<Box<str>, Arc<BanRecord>>,
    /// What has changed and waits for a place in the desk's queue.
    dirty: BTreeSet<Key>,
    /// Changes that are perhaps not on disk yet, the oldest first, and what would undo each.
    pending: VecDeque<(Ticket, Vec<Change>)>,
    /// Bytes of all keys of accounts and rooms.
    keys_bytes: usize,
    is_broken: bool,
    last_ticket: u64,
    /// Changes up to this one are on disk.
    stored: Ticket,
    /// How often passwords are tried.
    pub throttle: Throttle,
}

/// Names a record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Account(Box<str>),
    Room(Box<str>),
    Ban(Box<str>),
}

/// Why a change is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The desk has too much to do: try again.
    Busy,
    /// The store has failed: nothing is changed any more.
    Broken,
    /// There are as many as there may be, by this limit.
    Full(&'static str),
}

/// The limit that is each account's own.
const OWN_ROOMS: &str = "rooms_per_account_max";

impl Refused {
    /// What people are told.
    pub fn text(self) -> &'static str {
        match self {
            Self::Busy => "The server has too much to do; try again later",
            Self::Broken => "The server cannot store anything now",
            Self::Full(OWN_ROOMS) => "You have as many as one may have",
            Self::Full(_) => "There are as many as the server keeps",
        }
    }
}

/// Records written by one question, where they had to wait.
const FLUSH_MAX: usize = 64;
/// Changes that may be under way: those that wait at the desk, and those that it is writing. The desk answers in order, so
/// those before have been answered.
pub(crate) const PENDING_MAX: usize = 2 * STORE_QUEUE_MAX;
/// Bytes of the keys of all accounts and rooms, with their names: what one of them may have is bounded beside.
const KEYS_BYTES_MAX: usize = 64 << 20;
/// Rooms that nobody has registered, and that are kept for those who are always on in them.
const OCCUPIED_ROOMS_MAX: usize = 10_000;
/// Bans from the server.
const BANS_MAX: usize = 10_000;

impl Books {
    /// Books with what was stored.
    pub fn new(records: Records) -> Self {
        let mut books = Self::default();
        let accounts = records.accounts.into_iter().map(|account| Change::Account(Arc::new(account)));
        let rooms = records.rooms.into_iter().map(|room| Change::Room(Arc::new(room)));
        let bans = records.bans.into_iter().map(|ban| Change::Ban(Arc::new(ban)));
        for change in accounts.chain(rooms).chain(bans) {
            books.apply(&change);
        }
        books
    }

    // Looking.

    /// The account of this name.
    pub fn account(&self, name: &str) -> Option<&Arc<Account>> {
        self.accounts.get(&names::fold(name))
    }
    /// Whether what opens this account is on disk, as far as is known: it might be undone otherwise.
    pub fn is_stored(&self, account: &Account) -> bool {
        let fold = names::fold(&account.name);
        let opens_otherwise = |change: &Change| match change {
            Change::Account(before) if names::fold(&before.name) == fold => {
                before.password != account.password || before.scram != account.scram || before.certs != account.certs
            }
            Change::NoAccount(before) => **before == *fold,
            _ => false,
        };
        !self.pending.iter().flat_map(|(_, before)| before).any(opens_otherwise)
    }
    /// The account that this certificate opens.
    pub fn account_by_cert(&self, print: &CertPrint) -> Option<&Arc<Account>> {
        self.accounts.get(self.certs.get(print)?)
    }
    /// All accounts, by the order of their folds.
    pub fn accounts(&self) -> impl Iterator<Item = &Arc<Account>> {
        self.accounts.values()
    }
    /// An account whose name is this, or cannot be told from it by those who see it.
    pub fn account_like(&self, name: &str) -> Option<&Arc<Account>> {
        self.account(name).or_else(|| {
            let alike = self.looks.get(&names::looks(name))?;
            // Names of ASCII alone are told apart by everybody.
            let mut alike = alike.iter().filter(|other| !(name.is_ascii() && other.is_ascii()));
            self.accounts.get(alike.next()?)
        })
    }
    /// The registered room of this name.
    pub fn room(&self, name: &str) -> Option<&Arc<RoomRecord>> {
        self.rooms.get(&names::fold(name)).filter(|room| room.kind == RoomKind::Registered)
    }
    /// What is kept of a room that nobody has registered, for those who are in it.
    pub fn occupied_room(&self, name: &str) -> Option<&Arc<RoomRecord>> {
        self.rooms.get(&names::fold(name)).filter(|room| room.kind == RoomKind::Occupied)
    }
    /// All of these.
    pub fn occupied_rooms(&self) -> impl Iterator<Item = &Arc<RoomRecord>> {
        self.rooms.values().filter(|room| room.kind == RoomKind::Occupied)
    }
    /// Registered rooms whose names are not this, and cannot be told from it by those who see them.
    pub fn rooms_like(&self, name: &str) -> impl Iterator<Item = &Arc<RoomRecord>> {
        let (fold, is_ascii) = (names::fold(name), name.is_ascii());
        let alike = self.room_looks.get(&names::looks(name)).into_iter().flatten();
        // As with accounts.
        let alike = alike.filter(move |other| **other != fold && !(is_ascii && other.is_ascii()));
        alike.filter_map(|other| self.rooms.get(other)).filter(|room| room.kind == RoomKind::Registered)
    }
    /// All registered rooms, by the order of their folds.
    pub fn rooms(&self) -> impl Iterator<Item = &Arc<RoomRecord>> {
        self.rooms.values().filter(|room| room.kind == RoomKind::Registered)
    }
    /// The rooms that an account has registered.
    pub fn rooms_of(&self, account: &str) -> impl Iterator<Item = &Arc<RoomRecord>> {
        let account = names::fold(account);
        self.rooms().filter(move |room| names::fold(&room.founder) == account)
    }
    /// All bans from the server, those that have run out among them.
    pub fn bans(&self) -> impl Iterator<Item = &Arc<BanRecord>> {
        self.bans.values()
    }
    /// How long each table is, and how long it may be.
    pub(crate) fn tables(&self, limits: &ChatLimits) -> [Table; 9] {
        let keys = limits.accounts_max + limits.registered_rooms_max + OCCUPIED_ROOMS_MAX + BANS_MAX;
        let alike = self.looks.values().map(BTreeSet::len).sum();
        let certs = self.accounts.len().saturating_mul(limits.certs_per_account_max);
        [
            Table { name: "accounts", len: self.accounts.len(), max: limits.accounts_max },
            Table { name: "account_looks", len: alike, max: self.accounts.len() },
            Table { name: "certs", len: self.certs.len(), max: certs },
            Table { name: "occupied_rooms", len: self.occupied, max: OCCUPIED_ROOMS_MAX },
            Table { name: "registered_rooms", len: self.rooms.len() - self.occupied, max: limits.registered_rooms_max },
            Table { name: "keys_bytes", len: self.keys_bytes, max: KEYS_BYTES_MAX },
            Table { name: "unwritten", len: self.dirty.len(), max: keys },
            Table { name: "pending", len: self.pending.len(), max: PENDING_MAX },
            Table { name: "throttle", len: self.throttle.len(), max: throttle::KEPT_MAX },
        ]
    }
    /// Whether the change with this ticket is on disk, as far as the desk has told.
    pub fn is_on_disk(&self, ticket: Ticket) -> bool {
        ticket <= self.stored
    }
    /// Whether the store has failed.
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    // Changing.

    /// A name for a question.
    pub fn ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        Ticket(self.last_ticket)
    }
    /// Changes records, all or none. Who asked is told that it is done when the answer to the ticket says so.
    ///
    /// # Errors
    /// See [`Refused`]; then nothing has changed.
    pub fn change(
        &mut self,
        changes: &[Change],
        limits: &ChatLimits,
        host: &mut dyn Host<Mail>,
    ) -> Result<Ticket, Refused> {
        if self.is_broken {
            return Err(Refused::Broken);
        }
        let changes = &*self.with_traces(changes);
        if let Some(limit) = self.limit_in_the_way(changes, limits) {
            return Err(Refused::Full(limit));
        }
        // What had to wait is older.
        self.flush(host);
        if !self.dirty.is_empty() {
            return Err(Refused::Busy);
        }
        let ticket = self.ticket();
        host.ask(STORE, Mail::ask(Ask::Store(ticket, changes.to_vec()))).map_err(|_| Refused::Busy)?;
        let before = changes.iter().rev().map(|change| self.current(&key(change))).collect();
        if self.pending.len() >= PENDING_MAX {
            self.pending.pop_front();
        }
        self.pending.push_back((ticket, before));
        for change in changes {
            self.apply(change);
        }
        Ok(ticket)
    }
    /// With an account goes what it has in rooms, lest who takes its name next has that: no more records than there may be
    /// rooms.
    fn with_traces<'c>(&self, changes: &'c [Change]) -> Cow<'c, [Change]> {
        let gone = changes.iter().filter_map(|change| match change {
            Change::NoAccount(fold) => Some(&**fold),
            _ => None,
        });
        let gone: Vec<&str> = gone.collect();
        if gone.is_empty() {
            return changes.into();
        }
        let mentioned: BTreeSet<Key> = changes.iter().map(key).collect();
        let others = self.rooms.iter().filter(|(fold, _)| !mentioned.contains(&Key::Room(fold.as_str().into())));
        let without = |room: &RoomRecord| {
            gone.iter()
                .fold(None, |left: Option<RoomRecord>, account| left.as_ref().unwrap_or(room).without(account).or(left))
        };
        let changed = others.filter_map(|(_, room)| without(room).map(|room| Change::Room(Arc::new(room))));
        changed.chain(changes.iter().cloned()).collect::<Vec<_>>().into()
    }
    /// Changes records of which nobody waits to hear that they are stored, such as the topic of a room. They are written as
    /// soon as the desk takes them.
    pub fn note(&mut self, changes: &[Change], host: &mut dyn Host<Mail>) {
        if self.is_broken {
            return;
        }
        for change in changes {
            self.apply(change);
            self.dirty.insert(key(change));
        }
        self.flush(host);
    }
    /// Gives the desk what has had to wait.
    pub fn flush(&mut self, host: &mut dyn Host<Mail>) {
        while !self.dirty.is_empty() {
            let keys: Vec<Key> = self.dirty.iter().take(FLUSH_MAX).cloned().collect();
            let changes = keys.iter().map(|key| self.current(key)).collect();
            let ticket = self.ticket();
            if host.ask(STORE, Mail::ask(Ask::Store(ticket, changes))).is_err() {
                return;
            }
            for key in &keys {
                self.dirty.remove(key);
            }
        }
    }
    /// The desk has answered: what it has stored stays; once it has failed, all that it has not stored is taken back.
    pub fn answered(&mut self, answer: &Answer) {
        let Answer::Stored(ticket, done) = answer else { return };
        // The answers to those who have gone were not heard, but the desk answers in order.
        let stored = match done {
            Ok(()) => *ticket,
            Err(fault) => Ticket(fault.since.0.saturating_sub(1)),
        };
        self.stored = self.stored.max(stored);
        while self.pending.front().is_some_and(|(pending, _)| *pending <= stored) {
            self.pending.pop_front();
        }
        if done.is_ok() {
            return;
        }
        self.is_broken = true;
        self.dirty.clear();
        while let Some((_, before)) = self.pending.pop_back() {
            for change in &before {
                self.apply(change);
            }
        }
    }

    /// The limit that is reached already, if there is one.
    pub(crate) fn limit_in_the_way(&self, changes: &[Change], limits: &ChatLimits) -> Option<&'static str> {
        if !self.have_room_for_keys(changes) {
            return Some("keys_bytes_max");
        }
        changes.iter().find_map(|change| match change {
            Change::Account(account) => {
                let is_known = self.account(&account.name).is_some();
                (!is_known && self.accounts.len() >= limits.accounts_max).then_some("accounts_max")
            }
            Change::Room(room) if room.kind == RoomKind::Occupied => {
                let is_known = self.occupied_room(&room.name).is_some();
                (!is_known && self.occupied >= OCCUPIED_ROOMS_MAX).then_some("occupied_rooms")
            }
            Change::Room(room) if self.room(&room.name).is_some_and(|known| known.founder == room.founder) => None,
            Change::Room(room) if self.rooms_of(&room.founder).count() >= limits.rooms_per_account_max => {
                Some(OWN_ROOMS)
            }
            Change::Room(_) => {
                (self.rooms.len() - self.occupied >= limits.registered_rooms_max).then_some("registered_rooms_max")
            }
            Change::Ban(ban) => {
                (!self.bans.contains_key(&ban.mask) && self.bans.len() >= BANS_MAX).then_some("bans_max")
            }
            Change::NoAccount(_) | Change::NoRoom(_) | Change::NoBan(_) => None,
        })
    }
    /// Whether there is room for the keys of all these records; for no more than there were there always is.
    pub(crate) fn have_room_for_keys(&self, changes: &[Change]) -> bool {
        let before: usize = changes.iter().map(|change| keys_bytes(&self.current(&key(change)))).sum();
        let after: usize = changes.iter().map(keys_bytes).sum();
        after <= before || self.keys_bytes.saturating_sub(before) + after <= KEYS_BYTES_MAX
    }
    fn apply(&mut self, change: &Change) {
        self.keys_bytes -= keys_bytes(&self.current(&key(change)));
        self.keys_bytes += keys_bytes(change);
        self.occupied -= usize::from(is_occupied(&self.current(&key(change))));
        self.occupied += usize::from(is_occupied(change));
        match change {
            Change::Account(account) => {
                let fold = names::fold(&account.name);
                self.strike_account(&fold);
                self.looks.entry(names::looks(&account.name)).or_default().insert(fold.clone());
                for print in &account.certs {
                    self.certs.insert(*print, fold.clone());
                }
                self.accounts.insert(fold, Arc::clone(account));
            }
            Change::NoAccount(fold) => self.strike_account(fold),
            Change::Room(room) => {
                let fold = names::fold(&room.name);
                // One fold always looks the same.
                if self.rooms.insert(fold.clone(), Arc::clone(room)).is_none() {
                    self.room_looks.entry(names::looks(&fold)).or_default().insert(fold);
                }
            }
            Change::NoRoom(fold) => {
                if self.rooms.remove(&**fold).is_some() {
                    strike(&mut self.room_looks, fold, &**fold);
                }
            }
            Change::Ban(ban) => {
                self.bans.insert(ban.mask.clone(), Arc::clone(ban));
            }
            Change::NoBan(mask) => {
                self.bans.remove(mask);
            }
        }
    }
    fn strike_account(&mut self, fold: &str) {
        let Some(account) = self.accounts.remove(fold) else { return };
        strike(&mut self.looks, &account.name, fold);
        self.certs.retain(|_, whose| whose != fold);
    }
    /// A record as it is, as a change to that.
    fn current(&self, key: &Key) -> Change {
        match key {
            Key::Account(fold) => {
                let known = self.accounts.get(&**fold);
                known.map_or_else(|| Change::NoAccount(fold.clone()), |known| Change::Account(Arc::clone(known)))
            }
            Key::Room(fold) => {
                let known = self.rooms.get(&**fold);
                known.map_or_else(|| Change::NoRoom(fold.clone()), |known| Change::Room(Arc::clone(known)))
            }
            Key::Ban(mask) => {
                let known = self.bans.get(mask);
                known.map_or_else(|| Change::NoBan(mask.clone()), |known| Change::Ban(Arc::clone(known)))
            }
        }
    }
}

/// Takes one out of those who look like `name`.
pub(crate) fn strike<T: Ord + Borrow<Q>, Q: Ord + ?Sized>(looks: &mut Map<String, BTreeSet<T>>, name: &str, which: &Q) {
    let key = names::looks(name);
    if let Some(alike) = looks.get_mut(&key) {
        alike.remove(which);
        if alike.is_empty() {
            looks.remove(&key);
        }
    }
}

fn key(change: &Change) -> Key {
    match change {
        Change::Account(account) => Key::Account(names::fold(&account.name).into()),
        Change::NoAccount(fold) => Key::Account(fold.clone()),
        Change::Room(room) => Key::Room(names::fold(&room.name).into()),
        Change::NoRoom(fold) => Key::Room(fold.clone()),
        Change::Ban(ban) => Key::Ban(ban.mask.clone()),
        Change::NoBan(mask) => Key::Ban(mask.clone()),
    }
}

fn is_occupied(change: &Change) -> bool {
    matches!(change, Change::Room(room) if room.kind == RoomKind::Occupied)
}

/// Bytes of the keys that a record has.
fn keys_bytes(change: &Change) -> usize {
    let keys = match change {
        Change::Account(account) => &account.keys,
        Change::Room(room) => &room.keys,
        Change::Ban(_) | Change::NoAccount(_) | Change::NoRoom(_) | Change::NoBan(_) => return 0,
    };
    keys.iter().map(|(key, value)| key.len() + value.len()).sum()
}

#[cfg(test)]
mod tests;
