//! What outlives a chat: its accounts and registered rooms, and the key that hides addresses.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::rand::{GetRandomFlags, getrandom};
use sotong_certs::data_folder;
use sotong_chat::books::{Answer, Ask, PASSWORDS_QUEUE_MAX, Records, STORE_QUEUE_MAX, StoreFault, Ticket};
use sotong_chat::lookups::LOOKUPS_QUEUE_MAX;
use sotong_chat::{HashCost, Mail};
use sotong_desks::{ChatPasswords, DataFolder, IDENT_PORT, IDENT_TIME_MAX, Idents, Names, Store, StoreError};
use sotong_drivers::{DeskWork, Plan, desk};
use sotong_net::endpoint::Endpoint;

use crate::catalogue::text;
use crate::console::Console;
use crate::failure::{Failure, ReadProblem};

/// Threads that hash passwords: 19 MiB and a core each.
const PASSWORD_THREADS: usize = 2;

/// Threads that look up names, and as many that ask for users: each waits for somebody else.
const LOOKUP_THREADS: usize = 4;

/// The desks that find out who comes, behind those that keep.
pub(super) fn lookups() -> [Plan<Mail>; 2] {
    let names = || -> Box<dyn DeskWork<Mail>> { Box::new(Names) };
    let idents = || -> Box<dyn DeskWork<Mail>> { Box::new(Idents::new(IDENT_PORT, IDENT_TIME_MAX)) };
    let names = std::iter::repeat_with(names).take(LOOKUP_THREADS).collect();
    let idents = std::iter::repeat_with(idents).take(LOOKUP_THREADS).collect();
    [names, idents].map(|workers| desk(LOOKUPS_QUEUE_MAX, workers).left_at_end())
}

/// Where it is kept.
pub(super) enum Keeping {
    /// In a folder that was named.
    In(PathBuf),
    /// In the usual folder, if no other server has it.
    Usual(PathBuf),
    /// Nowhere.
    Nowhere,
}

/// What was kept, and the desks that keep on.
pub(super) struct Kept {
    pub(super) records: Records,
    /// By their numbers: the store, and passwords.
    pub(super) desks: Vec<Plan<Mail>>,
    /// Addresses are hidden by it.
    pub(super) cloak_key: [u8; 32],
    /// Where it is kept, as it is said at the start.
    pub(super) said: String,
}

impl Keeping {
    /// Where nothing was said. A server whose port the system picks is somebody's for a moment.
    pub(super) fn usual(at: &[Endpoint]) -> Self {
        let picks_port = |at: &Endpoint| at.to_string().ends_with(":0");
        match data_folder() {
            Ok(folder) if !at.iter().any(picks_port) => Self::Usual(folder.join("chat")),
            _ => Self::Nowhere,
        }
    }

    /// Reads what was kept.
    pub(super) fn open(self, cost: HashCost, console: &Console) -> Result<Kept, Failure> {
        let passwords = ChatPasswords::new(cost).map_err(|fault| random(&fault))?;
        let worker = |passwords| -> Box<dyn DeskWork<Mail>> { Box::new(passwords) };
        let passwords = std::iter::repeat_n(passwords, PASSWORD_THREADS).map(worker).collect();
        let passwords = desk(PASSWORDS_QUEUE_MAX, passwords);
        let opened = match &self {
            Self::Nowhere => None,
            Self::In(path) => Some(open(path).map_err(Failure::Store)?),
            Self::Usual(path) => match open(path) {
                Ok(opened) => Some(opened),
                Err(StoreError::InUse { path }) => {
                    let folder = path.display().to_string();
                    console.warn("data folder in use", |catalogue| {
                        text!(catalogue, "chat-folder-in-use", folder = folder.clone())
                    });
                    None
                }
                Err(why) => return Err(Failure::Store(why)),
            },
        };
        match (opened, self) {
            (Some((store, records)), Self::In(path) | Self::Usual(path)) => {
                let said = text!(console.catalogue, "chat-kept", folder = path.display().to_string());
                let cloak_key = key(&path.join("cloak.key"))?;
                let desks = vec![desk(STORE_QUEUE_MAX, vec![Box::new(store) as Box<dyn DeskWork<Mail>>]), passwords];
                Ok(Kept { records, desks, cloak_key, said })
            }
            _ => {
                let said = text!(console.catalogue, "chat-forgets");
                let store = desk(STORE_QUEUE_MAX, vec![Box::new(Memory) as Box<dyn DeskWork<Mail>>]);
                let (records, cloak_key) = (Records::default(), random_key()?);
                Ok(Kept { records, desks: vec![store, passwords], cloak_key, said })
            }
        }
    }
}

fn open(path: &Path) -> Result<(Store, Records), StoreError> {
    Store::open(DataFolder::take(path)?)
}

/// The store of a server that keeps nothing: the books in memory are all there is.
struct Memory;

impl DeskWork<Mail> for Memory {
    fn work(&mut self, asked: &Mail) -> Mail {
        match asked.asked() {
            Some(Ask::Store(ticket, _)) => Mail::answer(Answer::Stored(*ticket, Ok(()))),
            _ => self.failed(asked),
        }
    }
    fn failed(&mut self, asked: &Mail) -> Mail {
        let ticket = asked.asked().map_or(Ticket(0), Ask::ticket);
        Mail::answer(Answer::Stored(
            ticket,
            Err(StoreFault { why: "that is not done at this desk".into(), since: ticket }),
        ))
    }
}

/// What keeps addresses from being guessed by trying all of them: bans of hidden addresses hold for as long as it is kept.
fn key(path: &Path) -> Result<[u8; 32], Failure> {
    let failed = |why| Failure::Read { path: path.display().to_string(), why: ReadProblem::Io(why) };
    match fs::read(path) {
        Ok(bytes) => bytes.try_into().map_err(|_| failed(io::ErrorKind::InvalidData)),
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => {
            let key = random_key()?;
            write_key(path, &key).map_err(|fault| failed(fault.kind()))?;
            Ok(key)
        }
        Err(fault) => Err(failed(fault.kind())),
    }
}

/// Writes it whole or not at all; the folder is this server's alone.
fn write_key(path: &Path, key: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
    file.write_all(key)?;
    file.sync_all()?;
    fs::rename(&new, path)
}

/// One that nobody has had.
fn random_key() -> Result<[u8; 32], Failure> {
    let mut key = [0; 32];
    getrandom(&mut key[..], GetRandomFlags::empty()).map_err(|why| random(&why.into()))?;
    Ok(key)
}

fn random(fault: &io::Error) -> Failure {
    Failure::Read { path: "getrandom".to_owned(), why: ReadProblem::Io(fault.kind()) }
}
