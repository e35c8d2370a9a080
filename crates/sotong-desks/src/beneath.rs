//! Files beneath one folder, by descriptor: the kernel itself refuses whatever leads out.
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat2},
    io::Errno,
};
use std::{io, path::Path};

/// A folder, and the way to everything in it and nothing else.
///
/// Each name is resolved by `openat2` with `RESOLVE_BENEATH`, `RESOLVE_NO_SYMLINKS` and `RESOLVE_NO_MAGICLINKS`: no `..`, no
/// link and no race with somebody who moves folders leads out of it.
#[derive(Debug)]
pub struct Beneath {
    root: OwnedFd,
}

/// Why a folder cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootError {
    /// It cannot be opened, or is no folder.
    #[error("{0}")]
    Open(io::Error),
    /// The kernel has no `openat2` (Linux 5.6 and later have it), or something forbids it. Nothing else keeps links from
    /// leading out, so nothing is served.
    #[error("the kernel cannot confine names to a folder (openat2): {0}")]
    Unconfined(io::Error),
}

const CONFINED: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

impl Beneath {
    /// The folder at `path`, which may itself be a link.
    ///
    /// # Errors
    /// [`RootError`].
    pub fn open(path: &Path) -> Result<Self, RootError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| RootError::Open(errno.into()))?;
        let beneath = Self { root };
        match beneath.open_at(b"", OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(_) => Ok(beneath),
            Err(errno @ (Errno::NOSYS | Errno::PERM | Errno::INVAL)) => Err(RootError::Unconfined(errno.into())),
            Err(errno) => Err(RootError::Open(errno.into())),
        }
    }
    /// Opens what is at `names`, joined by `/`; empty is the folder itself. Never waits for the other end of a pipe.
    ///
    /// # Errors
    /// The kernel's, `XDEV` or `LOOP` for what leads out.
    pub(crate) fn open_at(&self, names: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        self.make_at(names, flags, Mode::empty())
    }
    pub(crate) fn make_at(&self, names: &[u8], flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let names = if names.is_empty() { b"." } else { names };
        let flags = flags | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        // The kernel says AGAIN where something moved meanwhile and it cannot be sure.
        for _ in 0..8 {
            match openat2(self.root.as_fd(), names, flags, mode, CONFINED) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                opened => return opened,
            }
        }
        Err(Errno::AGAIN)
    }
    /// A regular file, open for reading, and what the system says of it; a folder is told apart.
    ///
    /// # Errors
    /// The kernel's; `NXIO` for what is neither.
    pub(crate) fn look(&self, names: &[u8]) -> Result<Thing, Errno> {
        let fd = self.open_at(names, OFlags::RDONLY)?;
        let stat = fstat(&fd)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(Thing::File(fd, stat)),
            FileType::Directory => Ok(Thing::Folder(fd)),
            _ => Err(Errno::NXIO),
        }
    }
}

/// What is at a name.
#[derive(Debug)]
pub(crate) enum Thing {
    File(OwnedFd, Stat),
    Folder(OwnedFd),
}
