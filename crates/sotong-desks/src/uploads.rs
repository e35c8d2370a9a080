//! The desk that takes files: under a temporary name, and under their own when they are whole and on the disk.
use crate::beneath::Beneath;
use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, Mode, OFlags, RenameFlags, fsync, linkat, openat, renameat, renameat_with, unlinkat},
    io::Errno,
    rand::{GetRandomFlags, getrandom},
};
use sotong_drivers::DeskWork;
use sotong_http::site::mail::{Answer, Ask, Mail, Refusal, Upload};
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

/// What the names of files begin with that are not whole yet. They are hidden, and nobody may send a file of such a name.
const PREFIX: &str = ".sotong-upload-";

/// Takes files beneath a folder, for [`sotong_http::site`].
#[derive(Debug)]
pub struct Uploads {
    root: Arc<Beneath>,
    overwrites: bool,
}

/// A file that is not whole yet. It is removed when it is dropped before that.
#[derive(Debug)]
struct Partial {
    file: OwnedFd,
    folder: OwnedFd,
    temporary: String,
    name: Vec<u8>,
    is_gone: AtomicBool,
    /// Where the next bytes belong.
    length: Mutex<u64>,
}

impl Uploads {
    /// One thread's worth of a desk. `overwrites` lets a file take the place of one of the same name.
    pub fn new(root: Arc<Beneath>, overwrites: bool) -> Self {
        Self { root, overwrites }
    }
    fn begin(&self, names: &[u8]) -> Result<Upload, Refusal> {
        let (folder, name) = match names.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (&names[..at], &names[at + 1..]),
            None => (&b""[..], names),
        };
        if name.starts_with(PREFIX.as_bytes()) {
            return Err(Refusal::Forbidden);
        }
        // Told early: nobody likes to hear it after 64 MiB. What happens meanwhile is found when it is renamed.
        if !self.overwrites && self.root.open_at(names, OFlags::PATH | OFlags::NOFOLLOW).is_ok() {
            return Err(Refusal::Exists);
        }
        let folder = self.root.open_at(folder, OFlags::RDONLY | OFlags::DIRECTORY).map_err(refusal)?;
        let mut random = [0; 16];
        getrandom(&mut random, GetRandomFlags::empty()).map_err(refusal)?;
        let temporary = random.iter().fold(PREFIX.to_owned(), |name, byte| format!("{name}{byte:02x}"));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&folder, &temporary, flags, Mode::from_raw_mode(0o644)).map_err(refusal)?;
        let (is_gone, length, name) = (AtomicBool::new(false), Mutex::new(0), name.to_vec());
        Ok(Upload(Arc::new(Partial { file, folder, temporary, name, is_gone, length })))
    }
}

fn partial(upload: &Upload) -> Result<&Partial, Refusal> {
    upload.0.downcast_ref().ok_or(Refusal::Failed)
}

impl Partial {
    fn write(&self, mut bytes: &[u8]) -> Result<(), Refusal> {
        let mut length = self.length.lock().unwrap_or_else(PoisonError::into_inner);
        while !bytes.is_empty() {
            match rustix::io::pwrite(&self.file, bytes, *length) {
                Ok(count) => {
                    *length += count as u64;
                    bytes = &bytes[count..];
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(refusal(errno)),
            }
        }
        Ok(())
    }
    /// Makes it last: first its bytes, then its name, then that the folder has it. Whether it took another's place.
    fn finish(&self, overwrites: bool) -> Result<bool, Refusal> {
        fsync(&self.file).map_err(refusal)?;
        let was_there = if overwrites {
            let was_there = openat(&self.folder, &self.name, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty()).is_ok();
            renameat(&self.folder, &self.temporary, &self.folder, &self.name).map_err(refusal)?;
            was_there
        } else {
            self.rename_beside().map_err(refusal)?;
            false
        };
        self.is_gone.store(true, Ordering::Relaxed);
        fsync(&self.folder).map_err(refusal)?;
        Ok(was_there)
    }
    /// Gives it its name if nobody has that.
    fn rename_beside(&self) -> Result<(), Errno> {
        let renamed = renameat_with(&self.folder, &self.temporary, &self.folder, &self.name, RenameFlags::NOREPLACE);
        match renamed {
            // Some file systems do not know how; a second name never takes another's place.
            Err(Errno::INVAL | Errno::NOSYS) => {
                linkat(&self.folder, &self.temporary, &self.folder, &self.name, AtFlags::empty())?;
                unlinkat(&self.folder, &self.temporary, AtFlags::empty())
            }
            renamed => renamed,
        }
    }
    fn remove(&self) {
        if !self.is_gone.swap(true, Ordering::Relaxed)
            && let Err(error) = unlinkat(&self.folder, &self.temporary, AtFlags::empty())
        {
            tracing::warn!(%error, name = self.temporary, "an unfinished upload cannot be removed");
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        self.remove();
    }
}

fn refusal(errno: Errno) -> Refusal {
    match errno {
        Errno::EXIST | Errno::ISDIR | Errno::NOTEMPTY => Refusal::Exists,
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV => Refusal::NoFolder,
        Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::NAMETOOLONG | Errno::INVAL => Refusal::Forbidden,
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => Refusal::Full,
        errno => {
            tracing::warn!(error = %errno, "a file cannot be taken");
            Refusal::Failed
        }
    }
}

impl DeskWork<Mail> for Uploads {
    fn work(&mut self, asked: &Mail) -> Mail {
        Mail::Answer(match asked {
            Mail::Ask(Ask::Begin { names }) => Answer::Begun(self.begin(names)),
            Mail::Ask(Ask::Write { upload, bytes }) => {
                Answer::Written(partial(upload).and_then(|partial| partial.write(bytes)))
            }
            Mail::Ask(Ask::Finish { upload }) => {
                Answer::Stored(partial(upload).and_then(|partial| partial.finish(self.overwrites)))
            }
            Mail::Ask(Ask::Abandon { upload }) => {
                if let Ok(partial) = partial(upload) {
                    partial.remove();
                }
                Answer::Written(Err(Refusal::Failed))
            }
            _ => Answer::Written(Err(Refusal::Failed)),
        })
    }
    fn failed(&mut self, _asked: &Mail) -> Mail {
        Mail::Answer(Answer::Written(Err(Refusal::Failed)))
    }
}
