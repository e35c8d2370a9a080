//! Numbers that processes share: a small piece of memory that each of them maps.
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, ftruncate, memfd_create};
use std::{
    io,
    mem::size_of,
    ops::Deref,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
    ptr::{NonNull, null_mut},
    sync::atomic::AtomicU64,
};

/// Numbers of one piece of memory.
pub const SHARED_NUMBERS_MAX: usize = 1 << 16;
/// The memory must never become shorter: who reads behind its end is killed.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// Atomic numbers, 0 at first, that every process sees which maps the same descriptor.
#[derive(Debug)]
pub struct Shared {
    at: NonNull<AtomicU64>,
    count: usize,
    fd: OwnedFd,
}

// SAFETY: it is a slice of atomics, which may be shared and sent, and the mapping belongs to the process, not to a thread.
#[allow(unsafe_code, reason = "a pointer is neither by itself")]
unsafe impl Send for Shared {}
// SAFETY: as above.
#[allow(unsafe_code, reason = "a pointer is neither by itself")]
unsafe impl Sync for Shared {}

impl Shared {
    /// Makes `count` numbers, 1 to [`SHARED_NUMBERS_MAX`] (clamped).
    ///
    /// # Errors
    /// No descriptor or memory is left.
    pub fn new(count: usize) -> io::Result<Self> {
        let fd = memfd_create("sotong", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&fd, (count.clamp(1, SHARED_NUMBERS_MAX) * size_of::<AtomicU64>()) as u64)?;
        fcntl_add_seals(&fd, SEALS)?;
        Self::map(fd)
    }
    /// Maps what another process made by [`Self::new`].
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] if it is something else; or no memory is left.
    #[allow(unsafe_code, reason = "no safe binding of mmap")]
    pub fn map(fd: OwnedFd) -> io::Result<Self> {
        let sealed = fcntl_get_seals(&fd)?.contains(SEALS);
        let bytes = usize::try_from(rustix::fs::fstat(&fd)?.st_size).unwrap_or(0);
        let count = bytes / size_of::<AtomicU64>();
        if !sealed || !(1..=SHARED_NUMBERS_MAX).contains(&count) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: a new mapping at a place that the kernel picks touches no other memory. The file has these bytes, and the
        // seals keep them there.
        let at = unsafe {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(null_mut(), bytes, access, libc::MAP_SHARED, fd.as_raw_fd(), 0)
        };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let at = NonNull::new(at.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { at, count, fd })
    }
}

impl Deref for Shared {
    type Target = [AtomicU64];
    #[allow(unsafe_code, reason = "the mapping is a pointer and a length")]
    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is page-aligned, has `count` numbers, and lives as long as this; every process touches it by
        // atomics only, and every bit pattern is a number.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.count) }
    }
}

impl AsFd for Shared {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Shared {
    #[allow(unsafe_code, reason = "no safe binding of munmap")]
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and nobody borrows from it any more.
        unsafe { libc::munmap(self.at.as_ptr().cast(), self.count * size_of::<AtomicU64>()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering::SeqCst;

    #[test]
    fn who_maps_the_same_descriptor_sees_the_same_numbers() {
        let ours = Shared::new(3).unwrap();
        let theirs = Shared::map(ours.as_fd().try_clone_to_owned().unwrap()).unwrap();
        assert_eq!((ours.len(), theirs.len()), (3, 3));
        assert!(theirs.iter().all(|number| number.load(SeqCst) == 0));
        ours[2].store(7, SeqCst);
        assert_eq!(theirs[2].fetch_add(1, SeqCst), 7);
        drop(theirs);
        assert_eq!(ours[2].load(SeqCst), 8);
    }

    #[test]
    fn memory_that_could_become_shorter_is_not_mapped() {
        let loose = memfd_create("loose", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&loose, 64).unwrap();
        assert_eq!(Shared::map(loose).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        let (pipe, _) = rustix::pipe::pipe().unwrap();
        assert!(Shared::map(pipe).is_err());
        let sealed = Shared::new(1).unwrap();
        assert!(ftruncate(&sealed, 0).is_err());
    }
}
