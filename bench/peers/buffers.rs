//! A ring of buffers that the kernel picks from, as both plain servers over io_uring use it.
#![allow(unsafe_code, reason = "the kernel shares this memory")]
use std::{
    io, slice,
    sync::atomic::{AtomicU16, Ordering},
};

use io_uring::{Submitter, types::BufRingEntry};

#[repr(C, align(4096))]
struct Page([u8; 4096]);

/// At most 256 buffers of equal size. Lives as long as the process.
pub(crate) struct Buffers {
    ring: *mut BufRingEntry,
    memory: *mut u8,
    size: usize,
    count: u16,
    tail: u16,
}

impl Buffers {
    pub(crate) const GROUP: u16 = 0;

    /// `flags` are those of IORING_REGISTER_PBUF_RING.
    pub(crate) fn register(submitter: &Submitter<'_>, count: u16, size: usize, flags: u16) -> io::Result<Self> {
        let ring = (&raw mut *Box::leak(Box::new(Page([0; 4096])))).cast::<BufRingEntry>();
        let memory = Box::leak(vec![0; usize::from(count) * size].into_boxed_slice()).as_mut_ptr();
        // SAFETY: one page, aligned, zeroed and never freed, holds 256 entries.
        unsafe { submitter.register_buf_ring_with_flags(ring as u64, count, Self::GROUP, flags)? };
        let mut buffers = Self { ring, memory, size, count, tail: 0 };
        for id in 0..count {
            buffers.give(id);
        }
        Ok(buffers)
    }

    /// Hands buffer `id` to the kernel, whole; nothing of it is in use.
    pub(crate) fn give(&mut self, id: u16) {
        let at = usize::from(self.tail % self.count);
        // SAFETY: `at` is within the ring; the kernel does not read the entry before the tail passes it.
        let entry = unsafe { &mut *self.ring.add(at) };
        entry.set_addr(self.at(id, 0) as u64);
        entry.set_len(u32::try_from(self.size).unwrap_or(u32::MAX));
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail lies in the ring's first entry, aligned for 16 bits, and only this thread writes it.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.ring).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    /// Where byte `offset` of buffer `id` lies.
    pub(crate) fn at(&self, id: u16, offset: usize) -> *mut u8 {
        assert!(id < self.count && offset <= self.size, "the kernel names buffers that it was given");
        // SAFETY: within the memory, by the line above.
        unsafe { self.memory.add(usize::from(id) * self.size + offset) }
    }

    /// Bytes that the kernel has filled.
    pub(crate) fn bytes(&self, id: u16, offset: usize, count: usize) -> &[u8] {
        assert!(offset + count <= self.size, "the kernel fills no more than it was given");
        // SAFETY: within the memory, which was zeroed; the kernel has filled it and writes it no more until it is given.
        unsafe { slice::from_raw_parts(self.at(id, offset), count) }
    }
}
