//! The desk that keeps a chat's books in a file of SQLite.
mod read;
mod write;

use rusqlite::{Connection, OpenFlags, TransactionBehavior, config::DbConfig};
use rustix::fs::{FlockOperation, flock};
use sotong_chat::{
    Mail,
    books::{Answer, Ask, Records, StoreFault, Ticket},
};
use sotong_drivers::DeskWork;
use std::{
    fs::{DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// The tables this program writes.
const VERSION: i64 = 3;
/// What makes the tables of each earlier version, the first at first, those of the next.
const STEPS: [&str; VERSION as usize - 1] = [include_str!("schema_1_to_2.sql"), include_str!("schema_2_to_3.sql")];
/// Questions that are written by one transaction: one sync to the disk does for all that came while it did the one before.
const BATCH_MAX: usize = 256;
/// How long another program may have the file to itself, such as a backup.
const BUSY_MAX: Duration = Duration::from_secs(5);

/// A folder in which one server keeps what outlasts it. Locked for as long as this is there.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    /// The lock goes with it.
    _lock: File,
}

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The folder cannot be made, or nothing in it written.
    #[error("{path}: {fault}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// What came of it.
        fault: io::Error,
    },
    /// Another server has it.
    #[error("{path}: another server keeps its data there")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A later version of this program has written it.
    #[error("{path}: it was written by a later version of this program (its tables are of version {version})")]
    Later {
        /// The file.
        path: PathBuf,
        /// The version of its tables.
        version: i64,
    },
    /// It is no store, or cannot be read.
    #[error("{path}: {fault}")]
    Bad {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        fault: rusqlite::Error,
    },
}

impl DataFolder {
    /// Makes the folder if it is not there, and takes it for this server alone.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn take(path: &Path) -> Result<Self, StoreError> {
        let failed = |fault| StoreError::Folder { path: path.to_owned(), fault };
        // It has hashes of passwords.
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        // That something is there already is no help to who does not know what.
        let is_file = made.is_err() && path.is_file();
        made.map_err(|fault| failed(if is_file { io::ErrorKind::NotADirectory.into() } else { fault }))?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path.join("lock"));
        let lock = lock.map_err(failed)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::InUse { path: path.to_owned() }),
            Err(fault) => Err(failed(fault.into())),
        }
    }
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The store of a chat: one thread's worth of a desk.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
    /// Why nothing is written any more.
    fault: Option<StoreFault>,
    /// Let go of when the last word is written.
    _folder: DataFolder,
}

impl Store {
    /// Opens the store in a folder, made if it is not there, and loads all that is in it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open(folder: DataFolder) -> Result<(Self, Records), StoreError> {
        let path = folder.path().join("chat.db");
        let bad = |fault| StoreError::Bad { path: path.clone(), fault };
        // SQLite would make it readable for everybody.
        let made = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        made.map_err(|fault| StoreError::Folder { path: path.clone(), fault })?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&path, flags).map_err(bad)?;
        connection.busy_timeout(BUSY_MAX).map_err(bad)?;
        // FULL: a commit is on the disk when it returns. With NORMAL a power cut takes the last ones.
        connection.pragma_update(None, "journal_mode", "wal").map_err(bad)?;
        connection.pragma_update(None, "synchronous", "full").map_err(bad)?;
        connection.pragma_update(None, "foreign_keys", true).map_err(bad)?;
        connection.set_prepared_statement_cache_capacity(32);
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(bad)?;
        match version {
            0 => make(&mut connection).map_err(bad)?,
            1..VERSION => step(&mut connection, version).map_err(bad)?,
            VERSION => {}
            version => return Err(StoreError::Later { path, version }),
        }
        let records = read::all(&connection).map_err(bad)?;
        Ok((Self { connection, path, fault: None, _folder: folder }, records))
    }
    /// Writes all of them by one transaction: on disk when it returns.
    fn write(&mut self, asked: &[&Ask]) -> Result<(), StoreFault> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        self.try_write(asked).map_err(|fault| self.fail(&fault.to_string(), first(asked)))
    }
    fn try_write(&mut self, asked: &[&Ask]) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for ask in asked {
            if let Ask::Store(_, changes) = ask {
                for change in changes {
                    write::change(&transaction, change)?;
                }
            }
        }
        transaction.commit()
    }
    /// Nothing is written from now on: after a sync that failed nobody knows what is on the disk, and the next one may
    /// succeed without it.
    fn fail(&mut self, why: &str, since: Ticket) -> StoreFault {
        tracing::error!(file = %self.path.display(), why, "the store has failed: nothing is stored any more");
        // Closing it must not write either.
        let _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        self.fault.get_or_insert(StoreFault { why: Arc::from(why), since }).clone()
    }
}

fn make(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(include_str!("schema.sql"))?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

/// Makes tables of an earlier version into those of this one, all or none.
fn step(connection: &mut Connection, version: i64) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for step in STEPS.iter().skip(version as usize - 1) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    tracing::info!(from = version, to = VERSION, "the store has the tables of this version now");
    Ok(())
}

fn ticket(asked: &Mail) -> Ticket {
    first(&asked.asked().into_iter().collect::<Vec<_>>())
}
/// The first of those that were asked at once.
fn first(asked: &[&Ask]) -> Ticket {
    asked.first().map_or(Ticket(0), |ask| ask.ticket())
}

impl DeskWork<Mail> for Store {
    fn work(&mut self, asked: &Mail) -> Mail {
        let done = self.write(&asked.asked().into_iter().collect::<Vec<_>>());
        Mail::answer(Answer::Stored(ticket(asked), done))
    }
    fn failed(&mut self, asked: &Mail) -> Mail {
        Mail::answer(Answer::Stored(ticket(asked), Err(self.fail("a fault in the program", ticket(asked)))))
    }
    fn batch_max(&self) -> usize {
        BATCH_MAX
    }
    fn work_all(&mut self, asked: &[Mail]) -> Vec<Mail> {
        let done = self.write(&asked.iter().filter_map(Mail::asked).collect::<Vec<_>>());
        asked.iter().map(|asked| Mail::answer(Answer::Stored(ticket(asked), done.clone()))).collect()
    }
}

#[cfg(test)]
mod tests;
