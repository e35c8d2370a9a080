//! The memory that all connections of a ring receive into: a ring of buffers that the kernel takes from.
//!
//! With incremental buffers (Linux 6.12) one buffer takes many receives, one behind the other, so 32 large ones serve small
//! and large messages alike. Without, each receive costs a buffer, and there are more and smaller ones.
//!
//! Buffers go back as soon as their bytes have been shown or moved, in the same turn: no connection can keep one.
//!
//! The kernel takes buffers in turn, so all that it is offered become resident, and push each other out of the processor's
//! caches. So it is offered few, more when a turn has used them up, and fewer again when turns have long used little.
use io_uring::{Submitter, types::BufRingEntry};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use std::{
    io,
    ptr::NonNull,
    sync::atomic::{AtomicU16, Ordering},
};

/// The number of the one pool of a ring.
pub(super) const POOL: u16 = 0;

/// `IOU_PBUF_RING_INC`.
const INCREMENTAL: u16 = 2;

/// How many buffers of which size; both powers of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    count: u16,
    bytes: u32,
    flags: u16,
}

/// The shapes to be tried, for kernels that limit what one receive brings.
const SHAPES: [Shape; 2] =
    [Shape { count: 32, bytes: 64 << 10, flags: INCREMENTAL }, Shape { count: 256, bytes: 8 << 10, flags: 0 }];
/// Without a limit one connection can bring all of it at once, to be kept for it: 512 KiB, half of an output's hard mark.
const SMALL_SHAPES: [Shape; 2] =
    [Shape { count: 8, bytes: 64 << 10, flags: INCREMENTAL }, Shape { count: 64, bytes: 8 << 10, flags: 0 }];

/// A ring of buffers, registered with the kernel.
pub(super) struct Pool {
    shape: Shape,
    entries: Memory,
    bytes: Memory,
    /// How far each buffer is filled.
    filled: Box<[u32]>,
    /// Buffers that the kernel is not offered, the one used last on top.
    spare: Vec<u16>,
    offer: Offer,
    /// Buffers given so far, also those the kernel has not been told of.
    tail: u16,
}

/// How many buffers the kernel is offered at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Offer {
    least: u16,
    most: u16,
    /// So many from the next turn on.
    count: u16,
    /// The kernel has so many now.
    out: u16,
    /// Buffers that were used up in this turn.
    used: u16,
    /// A receive found none.
    starved: bool,
    /// Turns in a row that used little.
    quiet_turns: u32,
}

/// Bytes of the buffers that are offered at least.
const OFFER_BYTES_MIN: u32 = 128 << 10;
/// After so many turns that used less than a quarter of what was offered, half of it is offered.
const QUIET_TURNS: u32 = 1024;

impl Offer {
    fn new(shape: Shape) -> Self {
        let least = u16::try_from(OFFER_BYTES_MIN / shape.bytes).unwrap_or(u16::MAX).clamp(1, shape.count);
        Self { least, most: shape.count, count: least, out: 0, used: 0, starved: false, quiet_turns: 0 }
    }
    /// A turn is over: how much is offered in the next.
    fn end_turn(&mut self) {
        if self.starved || self.used >= self.count {
            self.count = self.count.saturating_mul(2).min(self.most);
            self.quiet_turns = 0;
        } else if self.count > self.least && self.used < self.count / 4 {
            self.quiet_turns += 1;
            if self.quiet_turns >= QUIET_TURNS {
                self.count = (self.count / 2).max(self.least);
                self.quiet_turns = 0;
            }
        } else {
            self.quiet_turns = 0;
        }
        (self.used, self.starved) = (0, false);
    }
}

/// Bytes that a completion has filled, for as long as it takes to handle them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Filled {
    buffer: u16,
    from: u32,
    len: u32,
    /// The kernel is done with the buffer.
    is_last: bool,
}

impl Pool {
    /// Makes the buffers and tells the kernel of them.
    ///
    /// # Errors
    /// The kernel has no buffer rings.
    pub(super) fn new(submitter: &Submitter<'_>, are_receives_limited: bool) -> io::Result<Self> {
        let mut result = Err(io::ErrorKind::Unsupported.into());
        for shape in if are_receives_limited { SHAPES } else { SMALL_SHAPES } {
            result = Self::shaped(submitter, shape);
            if result.is_ok() {
                break;
            }
        }
        result
    }
    fn shaped(submitter: &Submitter<'_>, shape: Shape) -> io::Result<Self> {
        let entries = Memory::new(usize::from(shape.count) * size_of::<BufRingEntry>())?;
        let bytes = Memory::new(usize::from(shape.count) * shape.bytes as usize)?;
        // SAFETY: the memory holds `count` entries, zeroed, at the beginning of a page. It outlives the
        // registration: `Ring` gives a pool back only when nothing of it is in use any more.
        unsafe {
            submitter.register_buf_ring_with_flags(entries.start.as_ptr() as u64, shape.count, POOL, shape.flags)?;
        }
        let filled = vec![0; usize::from(shape.count)].into();
        let spare = (0..shape.count).rev().collect();
        let mut pool = Self { shape, entries, bytes, filled, spare, offer: Offer::new(shape), tail: 0 };
        pool.publish();
        Ok(pool)
    }
    /// Notes that a completion has put `len` bytes into `buffer`, behind those before. `more`: and the kernel goes on with
    /// that buffer.
    pub(super) fn fill(&mut self, buffer: u16, len: u32, more: bool) -> Option<Filled> {
        let filled = self.filled.get_mut(usize::from(buffer))?;
        let from = *filled;
        // The kernel never fills more than there is; bytes outside would be no memory of ours.
        *filled = from.checked_add(len).filter(|to| *to <= self.shape.bytes)?;
        Some(Filled { buffer, from, len, is_last: !more })
    }
    /// The bytes that were filled.
    pub(super) fn bytes(&mut self, filled: Filled) -> &mut [u8] {
        let at = usize::from(filled.buffer) * self.shape.bytes as usize + filled.from as usize;
        // SAFETY: `fill` has checked that the range lies within its buffer, whose number is less than `count`. The kernel
        // has written these bytes before it posted their completion, and fills only what comes behind them until the buffer
        // is given back. The exclusive borrow of the pool keeps others away meanwhile.
        unsafe { std::slice::from_raw_parts_mut(self.bytes.start.as_ptr().add(at), filled.len as usize) }
    }
    /// The bytes are not needed any more.
    pub(super) fn release(&mut self, filled: Filled) {
        if filled.is_last {
            self.spare.push(filled.buffer);
            self.offer.out -= 1;
            self.offer.used += 1;
        }
    }
    /// A receive has found no buffer.
    pub(super) fn starved(&mut self) {
        self.offer.starved = true;
    }
    fn give(&mut self, buffer: u16) {
        self.filled[usize::from(buffer)] = 0;
        let at = usize::from(self.tail & (self.shape.count - 1));
        let address = self.bytes.start.as_ptr() as usize + usize::from(buffer) * self.shape.bytes as usize;
        // SAFETY: `at` is less than the number of entries. The kernel reads an entry only after `publish` has told it, and
        // there are never more buffers out than entries, so it is done with this one.
        let entry = unsafe { &mut *self.entries.start.as_ptr().cast::<BufRingEntry>().add(at) };
        entry.set_addr(address as u64);
        entry.set_len(self.shape.bytes);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
    }
    /// Offers the kernel buffers for the next turn: once a turn.
    pub(super) fn publish(&mut self) {
        self.offer.end_turn();
        while self.offer.out < self.offer.count
            && let Some(buffer) = self.spare.pop()
        {
            self.offer.out += 1;
            self.give(buffer);
        }
        // SAFETY: the memory begins with an entry, which is initialized (zeroes are a value of it). The tail is a field of it
        // that both sides access atomically, aligned as a u16.
        unsafe {
            let tail = BufRingEntry::tail(self.entries.start.as_ptr().cast::<BufRingEntry>());
            AtomicU16::from_ptr(tail.cast_mut()).store(self.tail, Ordering::Release);
        }
    }
}

/// Zeroed pages, which become resident when they are first used. They are the system's own, not the allocator's: a large
/// piece that is given back there makes it keep all pieces up to that size.
struct Memory {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: it is memory of its own, which no other thread knows.
unsafe impl Send for Memory {}

impl Memory {
    fn new(bytes: usize) -> io::Result<Self> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: new pages at an address that the kernel picks; nobody has a reference to them.
        let start = unsafe { mmap_anonymous(std::ptr::null_mut(), bytes, protection, MapFlags::PRIVATE)? };
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, bytes })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: these pages were mapped with this length, nobody has a reference to them any more, and they are given back
        // once. A failure only leaves them mapped.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(offer: &mut Offer, used: u16, starved: bool) -> u16 {
        (offer.used, offer.starved) = (used, starved);
        offer.end_turn();
        offer.count
    }

    #[test]
    fn what_is_offered_follows_what_is_used() {
        let mut offer = Offer::new(SHAPES[0]);
        assert_eq!((offer.count, offer.most), (2, 32));
        assert_eq!(turn(&mut offer, 1, false), 2, "one is left: that was enough");
        assert_eq!(turn(&mut offer, 2, false), 4);
        assert_eq!(turn(&mut offer, 0, true), 8, "one large receive may find too little behind the last");
        for _ in 0..10 {
            turn(&mut offer, 32, true);
        }
        assert_eq!(offer.count, 32, "never more than there are");
        for _ in 1..QUIET_TURNS {
            assert_eq!(turn(&mut offer, 7, false), 32);
        }
        assert_eq!(turn(&mut offer, 7, false), 16);
        for _ in 0..10 * QUIET_TURNS {
            turn(&mut offer, 0, false);
        }
        assert_eq!(offer.count, 2, "never less than the least");
    }
}
