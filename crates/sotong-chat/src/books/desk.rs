//! What desks are asked: to store what has changed, to hash passwords and to check them.
use super::{Account, BanRecord, RoomRecord, ScramKeys};
use crate::lookups::Question;
use sotong_session::Desk;
use std::{fmt, sync::Arc};

/// The desk that stores. It takes what comes in the order in which it is asked, and has one thread.
pub const STORE: Desk = Desk(0);
/// The desk of passwords. A hash takes 19 MiB and a core for some time: it has two threads.
pub const PASSWORDS: Desk = Desk(1);
/// Questions that wait at the desk that stores. What comes then is told to try again.
pub const STORE_QUEUE_MAX: usize = 1024;
/// Questions that wait at the desk of passwords: some seconds of work.
pub const PASSWORDS_QUEUE_MAX: usize = 64;

/// Names a question, so that its answer is known: never used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What a desk is asked.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Store these changes, all or none.
    Store(Ticket, Vec<Change>),
    /// Hash a password.
    Hash(Ticket, Secret),
    /// Check a password against its hash; against none it takes the same time, and is wrong.
    Verify(Ticket, Secret, Option<Box<str>>),
    /// Look somebody up who comes.
    Look(Ticket, Question),
}

/// What a desk answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The changes are on disk, or never will be.
    Stored(Ticket, Result<(), StoreFault>),
    /// What is kept of a password; nothing where that could not be made.
    Hashed(Ticket, Option<Hashed>),
    /// Whether it is right.
    Verified(Ticket, bool),
    /// What was found; nothing where there is nothing, or nobody wants to know it any more.
    Found(Ticket, Option<Box<str>>),
}

impl Ask {
    /// Which question this is.
    pub fn ticket(&self) -> Ticket {
        match self {
            Self::Store(ticket, _) | Self::Hash(ticket, _) | Self::Verify(ticket, ..) | Self::Look(ticket, _) => {
                *ticket
            }
        }
    }
}

impl Answer {
    /// Which question this answers.
    pub fn ticket(&self) -> Ticket {
        match self {
            Self::Stored(ticket, _) | Self::Hashed(ticket, _) | Self::Verified(ticket, _) | Self::Found(ticket, _) => {
                *ticket
            }
        }
    }
}

/// A password. It is shown in no log.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Keeps it.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }
    /// What it says.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// What is kept of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Hashed {
    /// Its argon2 hash.
    pub password: Box<str>,
    /// For SCRAM-SHA-256.
    pub scram: ScramKeys,
}

impl fmt::Debug for Hashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hashed")
    }
}

/// The store has failed, and takes nothing any more: what a disk has lost once it may lose again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store has failed: {why}")]
pub struct StoreFault {
    /// What has happened.
    pub why: Arc<str>,
    /// The first question that was not stored: all before it are on disk.
    pub since: Ticket,
}

/// One record as it is from now on, or no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An account.
    Account(Arc<Account>),
    /// No account by this name any more, by its fold.
    NoAccount(Box<str>),
    /// A room.
    Room(Arc<RoomRecord>),
    /// No room by this name any more, by its fold.
    NoRoom(Box<str>),
    /// A ban.
    Ban(Arc<BanRecord>),
    /// No ban of this mask any more.
    NoBan(Box<str>),
}

/// All that was stored, as it is loaded before anybody comes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// The accounts.
    pub accounts: Vec<Account>,
    /// The rooms.
    pub rooms: Vec<RoomRecord>,
    /// The bans.
    pub bans: Vec<BanRecord>,
}
