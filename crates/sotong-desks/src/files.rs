//! The desk that looks files up and reads them.
use crate::beneath::{Beneath, Thing};
use bytes::Bytes;
use rustix::{
    buffer::spare_capacity,
    fd::OwnedFd,
    fs::{AtFlags, Dir, FileType, Stat, statat},
    io::Errno,
};
use sotong_drivers::DeskWork;
use sotong_http::site::{
    Content, Entry, Facts, Found, NAMES_MAX, NameKind, PageName, SMALL_BYTES_MAX, Shelf, Words, folder,
    mail::{Answer, Ask, Mail},
};
use sotong_session::{Address, Source};
use std::{
    ops::Range,
    os::fd::BorrowedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How files are looked up.
#[derive(Clone, Debug)]
pub struct FilesOptions {
    /// The file that is shown for its folder: `index.html`.
    pub index: Vec<u8>,
    /// Folders without such a file show their names.
    pub lists: bool,
    /// Names that begin with a dot are among them.
    pub shows_hidden: bool,
    /// Pages have a form that takes files.
    pub takes_files: bool,
    /// The languages of pages; not empty.
    pub words: Vec<Words>,
}

impl Default for FilesOptions {
    fn default() -> Self {
        Self {
            index: b"index.html".to_vec(),
            lists: true,
            shows_hidden: false,
            takes_files: false,
            words: vec![Words::default()],
        }
    }
}

/// Looks up and reads files beneath a folder, for [`sotong_http::site`].
#[derive(Debug)]
pub struct Files {
    root: Arc<Beneath>,
    shelf: Arc<Shelf>,
    options: Arc<FilesOptions>,
    pool: Arc<Pool>,
    others: Vec<Address>,
}

/// Pieces of files that are read for layers which must see the bytes: their memory is used again, for getting it anew from the
/// system costs as much as reading.
#[derive(Debug, Default)]
struct Pool {
    buffers: Mutex<Vec<Vec<u8>>>,
}

/// Buffers that a thread keeps for its next pieces, 64 KiB each.
const POOL_BUFFERS_MAX: usize = 32;

impl Pool {
    fn lock(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A piece of a file; its memory goes back when the last reference to it does.
struct Piece {
    buffer: Vec<u8>,
    pool: Arc<Pool>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let mut buffers = self.pool.lock();
        if buffers.len() < POOL_BUFFERS_MAX {
            buffers.push(std::mem::take(&mut self.buffer));
        }
    }
}

/// An open file.
#[derive(Debug)]
struct Open(OwnedFd);

impl Source for Open {
    fn as_fd(&self) -> BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&self.0)
    }
}

impl Files {
    /// One thread's worth of a desk. All threads, and the site, have the same `shelf`.
    pub fn new(root: Arc<Beneath>, shelf: Arc<Shelf>, options: Arc<FilesOptions>) -> Self {
        Self { root, shelf, options, pool: Arc::default(), others: Vec::new() }
    }
    fn found(&mut self, key: &Arc<[u8]>, found: Found) -> Mail {
        self.others = self.shelf.put(key, &found);
        Mail::Answer(Answer::Found { key: Arc::clone(key), found })
    }
    /// All bytes of a range; fewer are an error.
    fn piece(&self, file: &dyn Source, range: Range<u64>) -> Result<Bytes, Errno> {
        let count = range.end - range.start;
        let mut buffer = self.pool.lock().pop().unwrap_or_default();
        buffer.clear();
        let mut piece = Piece { buffer, pool: Arc::clone(&self.pool) };
        read_up_to(file, range, &mut piece.buffer)?;
        if piece.buffer.len() as u64 == count { Ok(Bytes::from_owner(piece)) } else { Err(Errno::IO) }
    }
    fn look(&self, names: &[u8], is_folder: bool, language: usize) -> Found {
        match self.root.look(names) {
            Ok(Thing::File(fd, stat)) if !is_folder => self.file(names, fd, &stat).unwrap_or_else(failed),
            Ok(Thing::Folder(_)) if !is_folder => Found::Folder,
            Ok(Thing::Folder(fd)) => self.folder(names, &fd, language),
            // A file has nothing below it.
            Ok(Thing::File(..)) => Found::Missing,
            Err(errno) => failed(errno),
        }
    }
    /// A file, and what was compressed beforehand beside it unless the file is newer than that.
    fn file(&self, names: &[u8], fd: OwnedFd, stat: &Stat) -> Result<Found, Errno> {
        let mut compressed = Vec::new();
        for (ending, coding) in [(&b".br"[..], "br"), (b".gz", "gzip")] {
            if let Ok(Thing::File(fd, other)) = self.root.look(&[names, ending].concat())
                && modified(&other) >= modified(stat)
            {
                let (content, facts) = content(fd, &other)?;
                compressed.push((coding, content, facts));
            }
        }
        let name = names.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        Ok(Found::Entry(Arc::new(Entry::file(name, content(fd, stat)?, compressed))))
    }
    fn folder(&self, names: &[u8], fd: &OwnedFd, language: usize) -> Found {
        let index = match names.is_empty() {
            true => self.options.index.clone(),
            false => [names, b"/", &self.options.index].concat(),
        };
        match self.root.look(&index) {
            Ok(Thing::File(fd, stat)) => self.file(&index, fd, &stat).unwrap_or_else(failed),
            Err(Errno::NOENT) | Ok(Thing::Folder(_)) if self.options.lists => {
                self.page(names, fd, language).unwrap_or_else(failed)
            }
            Ok(Thing::Folder(_)) => Found::Missing,
            Err(errno) => failed(errno),
        }
    }
    fn page(&self, path: &[u8], fd: &OwnedFd, language: usize) -> Result<Found, Errno> {
        let (mut names, mut is_cut) = (Vec::new(), false);
        for entry in Dir::read_from(fd)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            let is_hidden = name.starts_with(b".") && (!self.options.shows_hidden || matches!(name, b"." | b".."));
            // A name with a control character cannot be asked for.
            if is_hidden || name.iter().any(|byte| *byte < b' ' || *byte == 0x7f) {
                continue;
            }
            // What has gone meanwhile, and links, are left out: they could not be opened.
            let Ok(stat) = statat(fd, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let kind = match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => NameKind::Folder,
                FileType::RegularFile => NameKind::File,
                _ => continue,
            };
            is_cut = names.len() == NAMES_MAX;
            if is_cut {
                break;
            }
            let size = u64::try_from(stat.st_size).unwrap_or(0);
            names.push(PageName { kind, name: name.to_vec(), size, modified: modified(&stat).0 });
        }
        names.sort();
        let fallback = Words::default();
        let words = self.options.words.get(language).unwrap_or(&fallback);
        let page = folder(words, path, &names, is_cut, self.options.takes_files);
        Ok(Found::Entry(Arc::new(Entry::page(page))))
    }
}

impl DeskWork<Mail> for Files {
    fn work(&mut self, asked: &Mail) -> Mail {
        match asked {
            Mail::Ask(Ask::Look { key, names, is_folder, language }) => {
                let found = self.look(names, *is_folder, *language);
                self.found(key, found)
            }
            Mail::Ask(Ask::Read { file, range }) => {
                let piece = self.piece(&**file, range.clone());
                if let Err(errno) = &piece {
                    tracing::warn!(error = %errno, "a file cannot be read");
                }
                Mail::Answer(Answer::Piece(piece.ok()))
            }
            _ => self.failed(asked),
        }
    }
    fn failed(&mut self, asked: &Mail) -> Mail {
        match asked {
            Mail::Ask(Ask::Look { key, .. }) => self.found(key, Found::Failed),
            _ => Mail::Answer(Answer::Piece(None)),
        }
    }
    fn others(&mut self) -> Vec<Address> {
        std::mem::take(&mut self.others)
    }
}

/// What a failed look says to who asked.
fn failed(errno: Errno) -> Found {
    match errno {
        // A link, a device or a pipe is nothing that is served.
        Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::LOOP | Errno::XDEV | Errno::NXIO | Errno::NODEV => {
            Found::Missing
        }
        Errno::ACCESS | Errno::PERM => Found::Forbidden,
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN => Found::Busy,
        errno => {
            tracing::warn!(error = %errno, "a file cannot be looked up");
            Found::Failed
        }
    }
}

/// When a file was changed.
fn modified(stat: &Stat) -> (i64, u32) {
    (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0))
}

/// A small file whole, a large one open.
fn content(fd: OwnedFd, stat: &Stat) -> Result<(Content, Facts), Errno> {
    let length = u64::try_from(stat.st_size).unwrap_or(0);
    let mut facts = Facts { length, modified: modified(stat), inode: stat.st_ino };
    let open = Open(fd);
    if length > SMALL_BYTES_MAX {
        return Ok((Content::File(Arc::new(open)), facts));
    }
    // It may have become shorter since it was asked how long it is.
    let mut bytes = Vec::new();
    read_up_to(&open, 0..length, &mut bytes)?;
    facts.length = bytes.len() as u64;
    Ok((Content::Bytes(bytes.into()), facts))
}

/// Reads into an empty buffer, which is left as long as what there is.
fn read_up_to(file: &dyn Source, range: Range<u64>, bytes: &mut Vec<u8>) -> Result<(), Errno> {
    let length = usize::try_from(range.end - range.start).map_err(|_| Errno::OVERFLOW)?;
    bytes.reserve_exact(length);
    while bytes.len() < length {
        let at = range.start + bytes.len() as u64;
        match rustix::io::pread(file.as_fd(), spare_capacity(bytes), at) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    // What was allocated may be more than was asked for.
    bytes.truncate(length);
    Ok(())
}
