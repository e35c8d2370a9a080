//! Memory for pieces of files, used again and again.
use bytes::Bytes;
use rustix::io::Errno;
use sotong_session::Source;
use std::{
    mem,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Buffers that are kept for the next piece: 4 MiB of 64 KiB each.
const SPARE_MAX: usize = 64;

/// Buffers that no piece needs now. A large answer is read piece by piece, and memory that goes back to the system after each
/// would cost more than the reading.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    spare: Mutex<Vec<Vec<u8>>>,
}

/// A piece, which gives its buffer back.
struct Piece {
    bytes: Vec<u8>,
    count: usize,
    home: Arc<Pieces>,
}

impl Pieces {
    fn spare(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Reads all bytes of a range.
    ///
    /// # Errors
    /// `EIO` if the file has fewer; as the system reports them.
    pub(crate) fn read(self: &Arc<Self>, file: &dyn Source, range: Range<u64>) -> Result<Bytes, Errno> {
        let count = usize::try_from(range.end - range.start).map_err(|_| Errno::OVERFLOW)?;
        let mut piece = Piece { bytes: self.spare().pop().unwrap_or_default(), count, home: Arc::clone(self) };
        // What a buffer has been filled with once is written over.
        if piece.bytes.len() < count {
            piece.bytes.resize(count, 0);
        }
        match read_into(file, range.start, &mut piece.bytes[..count])? {
            whole if whole == count => Ok(Bytes::from_owner(piece)),
            _ => Err(Errno::IO),
        }
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.count]
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let mut spare = self.home.spare();
        if spare.len() < SPARE_MAX {
            spare.push(mem::take(&mut self.bytes));
        }
    }
}

/// Fills `bytes` from a file, beginning at `at`. How much there was.
///
/// # Errors
/// As the system reports them.
pub(crate) fn read_into(file: &dyn Source, at: u64, bytes: &mut [u8]) -> Result<usize, Errno> {
    let mut count = 0;
    while count < bytes.len() {
        match rustix::io::pread(file.as_fd(), &mut bytes[count..], at + count as u64) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs::File, os::fd::BorrowedFd};

    struct Open(File);
    impl Source for Open {
        fn as_fd(&self) -> BorrowedFd<'_> {
            std::os::fd::AsFd::as_fd(&self.0)
        }
    }

    #[test]
    fn pieces_are_right_although_their_memory_is_used_again() {
        let text: Vec<u8> = (0..200u8).collect();
        let path = std::env::temp_dir().join(format!("sotong-pieces-{}", std::process::id()));
        std::fs::write(&path, &text).unwrap();
        let file = Open(File::open(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        let pieces = Arc::new(Pieces::default());
        for _ in 0..3 {
            let long = pieces.read(&file, 0..200).unwrap();
            let part = pieces.read(&file, 10..13).unwrap();
            assert_eq!((&long[..], &part[..]), (&text[..], &text[10..13]));
        }
        assert_eq!(pieces.spare().len(), 2, "two at a time were needed");
        assert_eq!(pieces.read(&file, 190..210).unwrap_err(), Errno::IO);
        let many: Vec<_> = (0..2 * SPARE_MAX).map(|_| pieces.read(&file, 0..1).unwrap()).collect();
        drop(many);
        assert_eq!(pieces.spare().len(), SPARE_MAX);
    }
}
