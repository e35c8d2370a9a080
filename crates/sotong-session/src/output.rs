//! Bytes on their way out: bounded, in order, never blocking.
use bytes::{Buf, Bytes};
use std::{collections::VecDeque, fmt, io, ops::Range, os::fd::BorrowedFd, sync::Arc};

/// Bytes on their way out, in order: one vector of copied bytes, and a side list of what is not copied.
///
/// Never blocks and never fails: past [`Marks::hard`] it only remembers that it overflowed, and the driver ends the session
/// as [`crate::Close::Slow`]. Memory is bounded by the hard mark.
#[derive(Debug)]
pub struct Output {
    bytes: Vec<u8>,
    read: usize,
    specials: VecDeque<(usize, Special)>,
    len: usize,
    /// Bytes of the file ranges.
    files: u64,
    marks: Marks,
    finished: bool,
    overflowed: bool,
    kind: Kind,
}

#[derive(Debug)]
enum Special {
    Shared(Bytes),
    File(FileRange),
    Cut,
}

/// What an output leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A socket: bytes, references and file ranges; cuts mean nothing.
    Socket,
    /// A layer that must see every byte of a stream (TLS): no file ranges; cuts mean nothing.
    Stream,
    /// Records (datagrams, or a layer that frames them): cuts count; no file ranges.
    Records,
}

/// Limits of one output, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// A full output that has fallen this far is told to its session as [`crate::Event::Drained`].
    pub low: usize,
    /// From here on the output is full: no input is shown at [`crate::Pace::WhileRoom`].
    pub high: usize,
    /// What does not fit under this is lost, and the session with it.
    pub hard: usize,
}

impl Default for Marks {
    fn default() -> Self {
        Self { low: 16 << 10, high: 64 << 10, hard: 1 << 20 }
    }
}

/// A part of an output, as [`Output::pop`] shows it.
#[derive(Debug)]
pub enum Piece<'a> {
    /// Copied bytes.
    Bytes(&'a [u8]),
    /// Bytes by reference.
    Shared(Bytes),
    /// A file range for the kernel to send.
    File(FileRange),
    /// The end of a record.
    Cut,
}

/// References up to this many bytes are copied: cheaper than a reference count and an iovec entry.
const COPY_BYTES_MAX: usize = 512;
/// An empty output keeps at most this much memory: what has become full at the default marks, grown by doubling, with room
/// for what a cipher adds.
const KEEP_BYTES_MAX: usize = 136 << 10;
/// What a reference, a file range or a cut weighs against the marks, so that empty records are bounded too.
const SPECIAL_BYTES: usize = 32;

impl Output {
    /// An empty output.
    pub fn new(kind: Kind, marks: Marks) -> Self {
        let (bytes, specials) = (Vec::new(), VecDeque::new());
        Self { bytes, read: 0, specials, len: 0, files: 0, marks, finished: false, overflowed: false, kind }
    }

    // For sessions.

    /// Copies `bytes`.
    pub fn put(&mut self, bytes: &[u8]) {
        if self.admit(bytes.len(), 0) {
            self.bytes.extend_from_slice(bytes);
        }
    }
    /// Lets an encoder or a cipher append in place.
    pub fn render<R>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let before = self.bytes.len();
        let result = write(&mut self.bytes);
        let grown = self.bytes.len().checked_sub(before).expect("an encoder only appends");
        if !self.admit(grown, 0) {
            self.bytes.truncate(before);
        }
        result
    }
    /// Queues `bytes` by reference; copies them if they are short.
    pub fn share(&mut self, bytes: Bytes) {
        if bytes.len() <= COPY_BYTES_MAX {
            self.put(&bytes);
        } else if self.admit(bytes.len(), 1) {
            self.specials.push_back((self.bytes.len(), Special::Shared(bytes)));
        }
    }
    /// Queues a file range for the kernel to send. It fills the output as its bytes would, but never past the hard mark.
    ///
    /// # Errors
    /// Hands the range back where a layer must see the bytes: then ask the file desk, a piece at a time.
    pub fn file(&mut self, range: FileRange) -> Result<(), FileRange> {
        if self.kind != Kind::Socket {
            return Err(range);
        }
        if range.range.start < range.range.end && self.admit(0, 1) {
            self.files += range.range.end - range.range.start;
            self.specials.push_back((self.bytes.len(), Special::File(range)));
        }
        Ok(())
    }
    /// Ends a record. Nothing on a stream.
    pub fn cut(&mut self) {
        if self.kind == Kind::Records && self.admit(0, 1) {
            self.specials.push_back((self.bytes.len(), Special::Cut));
        }
    }
    /// Half-closes: what is put after this is dropped (rule D13).
    pub fn finish(&mut self) {
        self.finished = true;
    }
    /// Whether to stop taking input for now.
    pub fn is_full(&self) -> bool {
        self.fill() >= self.marks.high
    }
    /// How many bytes still fit before the output is full.
    pub fn room(&self) -> usize {
        self.marks.high.saturating_sub(self.fill())
    }
    /// Bytes queued, file ranges not counted.
    pub fn len(&self) -> usize {
        self.len
    }
    /// Whether nothing at all is queued.
    pub fn is_empty(&self) -> bool {
        self.read == self.bytes.len() && self.specials.is_empty()
    }
    /// Whether the session has half-closed.
    pub fn is_finished(&self) -> bool {
        self.finished
    }
    /// Whether something was lost past the hard mark. Sticky: a smaller piece behind a lost one would tear a hole.
    pub fn has_overflowed(&self) -> bool {
        self.overflowed
    }
    /// What it leads to.
    pub fn kind(&self) -> Kind {
        self.kind
    }
    /// Its limits.
    pub fn marks(&self) -> Marks {
        self.marks
    }

    // For layers.

    /// Takes the next piece. The memory is reused once all is taken.
    pub fn pop(&mut self) -> Option<Piece<'_>> {
        self.compact();
        let end = self.specials.front().map_or(self.bytes.len(), |(at, _)| *at);
        if self.read < end {
            let from = std::mem::replace(&mut self.read, end);
            self.len -= end - from;
            return Some(Piece::Bytes(&self.bytes[from..end]));
        }
        match self.specials.pop_front() {
            Some((_, Special::Shared(bytes))) => {
                self.len -= bytes.len();
                Some(Piece::Shared(bytes))
            }
            Some((_, Special::File(range))) => {
                self.files -= range.range.end - range.range.start;
                Some(Piece::File(range))
            }
            Some((_, Special::Cut)) => Some(Piece::Cut),
            None => {
                self.bytes.clear();
                self.read = 0;
                None
            }
        }
    }
    /// Moves everything to the end of `to`, which leads to a stream or a socket; what ends a record there is lost.
    /// `finish` is not passed on: a layer decides about it (rule L7).
    pub fn move_to(&mut self, to: &mut Self) {
        while let Some(piece) = self.pop() {
            match piece {
                Piece::Bytes(bytes) => to.put(bytes),
                Piece::Shared(bytes) => to.share(bytes),
                Piece::Cut => to.cut(),
                Piece::File(range) => {
                    let handed_back = to.file(range).is_err();
                    debug_assert!(!handed_back, "a file range only enters an output that leads to a socket");
                }
            }
        }
    }
    /// Throws everything away.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.specials.clear();
        (self.read, self.len, self.files) = (0, 0, 0);
    }
    /// Bytes up to the next cut, for layers that write a length first.
    pub fn record_len(&self) -> usize {
        let (mut count, mut at) = (0, self.read);
        for (to, special) in &self.specials {
            count += to - at;
            at = *to;
            match special {
                Special::Cut => return count,
                Special::Shared(bytes) => count += bytes.len(),
                Special::File(_) => {}
            }
        }
        count + self.bytes.len() - at
    }

    // For drivers.

    /// Whether the output has fallen to its low mark.
    pub fn is_low(&self) -> bool {
        self.fill() <= self.marks.low
    }
    /// The bytes at the front as slices, at most `most` of them, up to a cut or a file range. Still queued, still counted.
    pub fn gather<'a>(&'a self, into: &mut Vec<io::IoSlice<'a>>, most: usize) {
        let mut at = self.read;
        for (to, special) in &self.specials {
            if into.len() + 2 > most {
                return;
            }
            if *to > at {
                into.push(io::IoSlice::new(&self.bytes[at..*to]));
                at = *to;
            }
            match special {
                Special::Shared(bytes) => into.push(io::IoSlice::new(bytes)),
                Special::File(_) | Special::Cut => return,
            }
        }
        if at < self.bytes.len() && into.len() < most {
            into.push(io::IoSlice::new(&self.bytes[at..]));
        }
    }
    /// The bytes at the front if they are one plain slice: the usual case, which needs no gathering.
    pub fn front(&self) -> Option<&[u8]> {
        (self.specials.is_empty() && self.read < self.bytes.len()).then(|| &self.bytes[self.read..])
    }
    /// The record at the front if it is one plain slice, as nearly all are.
    pub fn front_record(&self) -> Option<&[u8]> {
        match self.specials.front() {
            Some((end, Special::Cut)) => Some(&self.bytes[self.read..*end]),
            _ => None,
        }
    }
    /// The file range at the front, if that is what comes next.
    pub fn front_file(&self) -> Option<&FileRange> {
        match self.specials.front() {
            Some((at, Special::File(range))) if *at == self.read => Some(range),
            _ => None,
        }
    }
    /// `count` bytes of the file range at the front have been sent.
    pub fn advance_file(&mut self, count: u64) {
        if let Some((_, Special::File(range))) = self.specials.front_mut() {
            let start = range.range.start.saturating_add(count).min(range.range.end);
            self.files -= start - range.range.start;
            range.range.start = start;
            if range.range.is_empty() {
                self.specials.pop_front();
            }
        }
        self.compact();
    }
    /// `count` gathered bytes have been sent.
    ///
    /// # Panics
    /// If they were not gathered.
    pub fn advance(&mut self, mut count: usize) {
        self.len = self.len.checked_sub(count).expect("advanced past what was gathered");
        while count > 0 {
            let end = self.specials.front().map_or(self.bytes.len(), |(at, _)| *at);
            if self.read < end {
                let step = count.min(end - self.read);
                self.read += step;
                count -= step;
                continue;
            }
            let Some((_, Special::Shared(bytes))) = self.specials.front_mut() else {
                panic!("advanced past what was gathered")
            };
            if count < bytes.len() {
                bytes.advance(count);
                count = 0;
            } else {
                count -= bytes.len();
                self.specials.pop_front();
            }
        }
        self.compact();
    }
    /// Whether a whole record is queued, which may be empty.
    pub fn has_record(&self) -> bool {
        self.specials.iter().any(|(_, special)| matches!(special, Special::Cut))
    }
    /// Takes the record at the front away, sent or lost.
    pub fn advance_record(&mut self) {
        while let Some(piece) = self.pop() {
            if matches!(piece, Piece::Cut) {
                break;
            }
        }
        self.compact();
    }
    /// Whether the output has memory for copied bytes.
    pub fn has_memory(&self) -> bool {
        self.bytes.capacity() > 0
    }
    /// Lends memory to an output that has none: buffers belong to the loop, not to idle connections.
    pub fn adopt(&mut self, mut buffer: Vec<u8>) {
        if !self.has_memory() {
            buffer.clear();
            self.bytes = buffer;
        }
    }
    /// Takes the memory of an empty output away.
    pub fn release(&mut self) -> Option<Vec<u8>> {
        (self.is_empty() && self.bytes.capacity() > 0).then(|| {
            self.read = 0;
            let mut buffer = std::mem::take(&mut self.bytes);
            buffer.clear();
            buffer
        })
    }
    /// Sets the limits, from now on.
    pub fn set_marks(&mut self, marks: Marks) {
        self.marks = marks;
    }
    /// Remembers that something nested in this output was lost; what is lost after [`Self::finish`] is missed by nobody
    /// (rule D13).
    pub fn set_overflowed(&mut self) {
        self.overflowed |= !self.finished;
    }

    /// What it weighs against the hard mark: its bytes, and 32 more for each reference, file range and cut.
    pub fn weight(&self) -> usize {
        self.len + SPECIAL_BYTES * self.specials.len()
    }
    /// What counts towards full and low: files, too, whose bytes are on their way like all others. They cost no memory, so
    /// they are no overflow.
    fn fill(&self) -> usize {
        self.weight().saturating_add(usize::try_from(self.files).unwrap_or(usize::MAX))
    }
    /// Sent bytes are given back, also where the queue never runs empty.
    fn compact(&mut self) {
        if self.is_empty() {
            self.bytes.clear();
            self.read = 0;
            if self.bytes.capacity() > KEEP_BYTES_MAX {
                self.bytes = Vec::new();
            }
            if self.specials.capacity() > KEEP_BYTES_MAX / SPECIAL_BYTES {
                self.specials = VecDeque::new();
            }
        } else if self.read >= 4096 && self.read * 2 >= self.bytes.len() {
            self.bytes.drain(..self.read);
            for (at, _) in &mut self.specials {
                *at -= self.read;
            }
            self.read = 0;
        }
    }
    fn admit(&mut self, count: usize, specials: usize) -> bool {
        if self.finished {
            return false;
        }
        self.overflowed |= self.weight() + count + specials * SPECIAL_BYTES > self.marks.hard;
        if !self.overflowed {
            self.len += count;
        }
        !self.overflowed
    }
}

/// A part of a file, sent by the kernel.
#[derive(Clone)]
pub struct FileRange {
    /// The file.
    pub file: Arc<dyn Source>,
    /// First byte, and the one after the last.
    pub range: Range<u64>,
}

impl fmt::Debug for FileRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileRange").field("range", &self.range).finish_non_exhaustive()
    }
}

/// Something whose bytes the kernel can send.
pub trait Source: Send + Sync {
    /// The open file; for drivers.
    fn as_fd(&self) -> BorrowedFd<'_>;
}

impl Source for std::os::fd::OwnedFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(out: &Output) -> Vec<u8> {
        let mut slices = Vec::new();
        out.gather(&mut slices, usize::MAX);
        slices.iter().flat_map(|s| s.iter().copied()).collect()
    }

    #[test]
    fn keeps_order_over_copies_and_references() {
        let mut out = Output::new(Kind::Socket, Marks::default());
        out.put(b"one ");
        out.share(Bytes::from(vec![b'x'; 600]));
        out.put(b" two");
        let expect: Vec<u8> = [&b"one "[..], &[b'x'; 600], b" two"].concat();
        assert_eq!(all(&out), expect);
        for step in [3, 500, 105] {
            let before = all(&out);
            out.advance(step);
            assert_eq!(all(&out), before[step..]);
        }
        assert!(out.is_empty());
        assert_eq!(out.len(), 0);
    }

    #[test]
    fn overflow_is_sticky_and_late_output_is_none() {
        let mut out = Output::new(Kind::Stream, Marks { low: 1, high: 4, hard: 8 });
        out.put(b"123456789");
        assert!(out.has_overflowed());
        out.put(b"1");
        assert!(out.is_empty());
        let mut out = Output::new(Kind::Stream, Marks { low: 1, high: 4, hard: 8 });
        out.put(b"bye");
        out.finish();
        out.put(b"123456789");
        out.set_overflowed();
        assert!(!out.has_overflowed());
        assert_eq!(all(&out), b"bye");
    }

    #[test]
    fn a_file_fills_the_output_until_it_has_gone() {
        let file: Arc<dyn Source> = Arc::new(std::os::fd::OwnedFd::from(std::io::pipe().unwrap().0));
        let mut out = Output::new(Kind::Socket, Marks { low: 10, high: 100, hard: 200 });
        out.file(FileRange { file, range: 5..1005 }).unwrap();
        assert!(
            out.is_full() && out.room() == 0 && !out.has_overflowed() && out.is_empty() == out.front_file().is_none()
        );
        out.advance_file(950);
        assert!(!out.is_full() && !out.is_low());
        out.advance_file(50);
        assert!(out.is_low() && out.is_empty());
    }

    #[test]
    fn empty_records_weigh_something() {
        let mut out = Output::new(Kind::Records, Marks { low: 0, high: 64, hard: 128 });
        out.cut();
        assert!(!out.is_full() && out.has_record() && out.record_len() == 0);
        out.cut();
        assert!(out.is_full());
        out.advance_record();
        assert!(out.has_record());
        out.advance_record();
        assert!(!out.has_record() && out.is_empty());
    }

    #[test]
    fn gathers_up_to_a_cut() {
        let mut out = Output::new(Kind::Records, Marks::default());
        out.put(b"first");
        out.cut();
        out.put(b"second");
        out.cut();
        assert_eq!(all(&out), b"first");
        assert_eq!(out.front_record(), Some(&b"first"[..]));
        out.advance_record();
        assert_eq!(all(&out), b"second");
    }

    #[test]
    fn memory_is_lent_and_taken_back() {
        let mut out = Output::new(Kind::Socket, Marks::default());
        out.adopt(Vec::with_capacity(100));
        out.put(b"abc");
        assert!(out.release().is_none());
        out.advance(3);
        assert!(out.release().is_some_and(|b| b.capacity() >= 100));
    }
}
