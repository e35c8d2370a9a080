//! Folders and files that are whole or not there: temporary names, fsync, rename, and one writer at a time.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, RenameFlags, flock, renameat_with};
use rustix::io::Errno;

use crate::error::CertError;

/// How long one process waits for another that makes the same files, which takes milliseconds.
const LOCK_TIME_MAX: Duration = Duration::from_secs(10);
/// Between two looks at a lock that somebody else holds.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Where Sotong keeps what it makes: `$XDG_DATA_HOME/sotong`, else `~/.local/share/sotong`.
///
/// # Errors
/// [`CertError::NoDataFolder`] without `XDG_DATA_HOME` and `HOME`; relative paths in them do not count.
pub fn data_folder() -> Result<PathBuf, CertError> {
    let of = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = of("XDG_DATA_HOME").or_else(|| of("HOME").map(|home| home.join(".local/share")));
    data.map(|data| data.join("sotong")).ok_or(CertError::NoDataFolder)
}

/// A folder, made with all above it if need be, so that nobody but its owner may enter what is new. One that exists stays
/// as it is: it is its owner's business, and every key has its own mode.
pub(crate) fn private_folder(folder: &Path) -> Result<(), CertError> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|fault| unwritable(folder, &fault))
}

/// The right to change a folder, until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits at most [`LOCK_TIME_MAX`] for another process to be done.
    pub(crate) fn take(folder: &Path) -> Result<Self, CertError> {
        let path = folder.join("lock");
        let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = opened.map_err(|fault| unwritable(&path, &fault))?;
        let until = Instant::now() + LOCK_TIME_MAX;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self { _file: file }),
                Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < until => thread::sleep(LOCK_PAUSE),
                Err(Errno::WOULDBLOCK | Errno::INTR) => return Err(CertError::Locked { file: path }),
                Err(errno) => return Err(unwritable(&path, &errno.into())),
            }
        }
    }
}

/// Whether a file may take the place of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// It may not.
    Never,
    /// It may.
    Force,
}

/// A file under a temporary name, written and on the disk, that takes its place by one rename or goes away.
#[derive(Debug)]
pub(crate) struct Staged {
    temporary: PathBuf,
    target: PathBuf,
}

impl Staged {
    pub(crate) fn write(target: &Path, text: &[u8], mode: u32) -> Result<Self, CertError> {
        let unwritable = |fault: &io::Error| unwritable(target, fault);
        let name = target.file_name().unwrap_or(OsStr::new("file"));
        let mut temporary = [b".", name.as_bytes()].concat();
        // A name may be as long as the file system permits.
        temporary.truncate(200);
        let random = crate::making::random::<8>()?;
        temporary.extend(format!(".{:016x}", u64::from_ne_bytes(random)).bytes());
        let temporary = target.with_file_name(OsStr::from_bytes(&temporary));
        let staged = Self { temporary, target: target.to_owned() };
        let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(&staged.temporary);
        let mut file = opened.map_err(|fault| unwritable(&fault))?;
        let written = file.write_all(text).and_then(|()| file.sync_all());
        written.map_err(|fault| unwritable(&fault))?;
        Ok(staged)
    }

    /// Puts the file in its place.
    pub(crate) fn place(self, overwrite: Overwrite) -> Result<(), CertError> {
        let result = match overwrite {
            Overwrite::Force => fs::rename(&self.temporary, &self.target),
            Overwrite::Never => rename_to_nothing(&self.temporary, &self.target),
        };
        result.map_err(|fault| match fault.kind() {
            io::ErrorKind::AlreadyExists => CertError::Exists { file: self.target.clone() },
            _ => unwritable(&self.target, &fault),
        })?;
        // What is in its place is on the disk once its folder is.
        let folder = self.target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|fault| unwritable(&self.target, &fault))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Placed files have no temporary name any more.
        let _ = fs::remove_file(&self.temporary);
    }
}

fn rename_to_nothing(from: &Path, to: &Path) -> io::Result<()> {
    let here = rustix::fs::CWD;
    match renameat_with(here, from, here, to, RenameFlags::NOREPLACE) {
        // A file system without it: a second name is made only where there is none, and the first goes.
        Err(Errno::INVAL | Errno::NOSYS) => fs::hard_link(from, to).and_then(|()| fs::remove_file(from)),
        result => Ok(result?),
    }
}

pub(crate) fn unwritable(file: &Path, fault: &io::Error) -> CertError {
    CertError::Unwritable { file: file.to_owned(), why: fault.kind() }
}

/// A certificate and its key, both in place or neither: the key first, so that no certificate is without its key.
pub(crate) fn pair(
    (cert, cert_text): (&Path, &str),
    (key, key_text): (&Path, &str),
    overwrite: Overwrite,
) -> Result<(), CertError> {
    if overwrite == Overwrite::Never {
        for file in [cert, key] {
            if file.symlink_metadata().is_ok() {
                return Err(CertError::Exists { file: file.to_owned() });
            }
        }
    }
    let staged_key = Staged::write(key, key_text.as_bytes(), 0o600)?;
    let staged_cert = Staged::write(cert, cert_text.as_bytes(), 0o644)?;
    staged_key.place(overwrite)?;
    staged_cert.place(overwrite).inspect_err(|_| {
        if overwrite == Overwrite::Never {
            let _ = fs::remove_file(key);
        }
    })
}
