//! The file of a Unix socket: when a left-over one may go, and when our own.
use crate::{address::unix_address, endpoint::UnixName, listen::ListenProblem};
use rustix::{
    fs::{FileType, Stat, lstat, unlink},
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, socket_with},
};
use std::{
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// A server that has bound and is about to listen refuses like a dead one; it needs no longer than this.
const SETTLE: Duration = Duration::from_millis(50);

/// The file that a listener made. Removed when dropped, if it is still that one.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    /// Takes charge of the socket that has just been bound at `path`.
    pub(crate) fn of(path: &Path) -> Result<Self, Errno> {
        let stat = lstat(path)?;
        // A relative path leads elsewhere once the working directory changes.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
        Ok(Self { path, identity: identity(&stat) })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if lstat(&self.path).is_ok_and(|stat| identity(&stat) == self.identity) {
            // If it cannot be removed, the next server finds it stale.
            let _ = unlink(&self.path);
        }
    }
}

/// Removes the socket at `path` if nobody listens on it.
///
/// Only a refused connection proves that: a busy server, one of another user, or one of another socket type does not
/// refuse. It must refuse twice, because a server that is just starting does so once.
pub(crate) fn remove_stale(path: &Path) -> Result<(), ListenProblem> {
    let stat = match lstat(path) {
        Ok(stat) => stat,
        // Its owner has removed it meanwhile.
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(ListenProblem::common(errno, "stat")),
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        return Err(ListenProblem::NotASocket { path: path.into() });
    }
    for round in 0..2 {
        if round > 0 {
            thread::sleep(SETTLE);
        }
        match knock(path) {
            Err(Errno::CONNREFUSED) => {}
            Err(Errno::NOENT) => return Ok(()),
            Err(Errno::ACCESS | Errno::PERM) => return Err(ListenProblem::NoPermission),
            Ok(()) | Err(_) => return Err(ListenProblem::InUse),
        }
    }
    match lstat(path) {
        Ok(now) if identity(&now) == identity(&stat) => match unlink(path) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(ListenProblem::common(errno, "unlink")),
        },
        // Somebody else has cleared it away, and may have put a server there: binding tells.
        _ => Ok(()),
    }
}

fn knock(path: &Path) -> Result<(), Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&fd, &unix_address(&UnixName::Path(path.into()))?)
}

#[allow(clippy::unnecessary_cast, reason = "the fields' types differ between machines")]
fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev as u64, stat.st_ino as u64)
}
