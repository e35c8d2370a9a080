//! A body on its way: from memory, from files by the kernel, or from files piece by piece where a layer must see the bytes.
use super::{
    found::{Content, Variant},
    mail::{Ask, FILES, Mail},
};
use crate::{Fields, Name, Next, Reply};
use bytes::Bytes;
use sotong_session::{FileRange, Source};
use std::{collections::VecDeque, ops::Range, sync::Arc};

/// Bytes that the desk is asked for at once.
const PIECE_BYTES_MAX: u64 = 64 << 10;
/// Bytes up to this many are copied behind the head, so that both leave in one plain send.
const COPY_BYTES_MAX: usize = 4 << 10;

/// What is still to be sent. At most twice [`super::RANGES_MAX`] segments and one.
#[derive(Debug, Default)]
pub(crate) struct Sending {
    segments: VecDeque<Segment>,
    /// The desk is reading for us.
    is_reading: bool,
}

enum Segment {
    Bytes(Bytes),
    File { file: Arc<dyn Source>, range: Range<u64> },
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::File { range, .. } => write!(f, "File({range:?})"),
        }
    }
}

impl Sending {
    /// One part of something, or all of it.
    pub(crate) fn part(content: &Content, range: Range<u64>) -> Self {
        let mut sending = Self::default();
        sending.add(content, range);
        sending
    }
    /// Several parts, each under a head of its own (RFC 9110 §14.6), the length of all together, and the type that says so.
    pub(crate) fn parts(variant: &Variant, parts: &[Range<u64>], random: [u8; 12]) -> (Self, u64, String) {
        let boundary: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut sending = Self::default();
        let mut length = 0;
        for part in parts {
            let mut head = format!("\r\n--{boundary}\r\n").into_bytes();
            let mut fields = Fields::new();
            let range = format!("bytes {}-{}/{}", part.start, part.end - 1, variant.length);
            // A type that was sent before, and numbers.
            let added =
                fields.add(Name::CONTENT_TYPE, &variant.content_type).and(fields.add(Name::CONTENT_RANGE, range));
            debug_assert_eq!(added, Ok(()));
            head.extend_from_slice(fields.lines());
            head.extend_from_slice(b"\r\n");
            length += head.len() as u64 + part.end - part.start;
            sending.segments.push_back(Segment::Bytes(head.into()));
            sending.add(&variant.content, part.clone());
        }
        let end = format!("\r\n--{boundary}--\r\n");
        length += end.len() as u64;
        sending.segments.push_back(Segment::Bytes(end.into()));
        (sending, length, format!("multipart/byteranges; boundary={boundary}"))
    }
    fn add(&mut self, content: &Content, range: Range<u64>) {
        self.segments.push_back(match content {
            // Contents in memory are short.
            Content::Bytes(bytes) => Segment::Bytes(bytes.slice(range.start as usize..range.end as usize)),
            Content::File(file) => Segment::File { file: Arc::clone(file), range },
        });
    }
    /// Sends what there is room for.
    pub(crate) fn go_on(&mut self, reply: &mut Reply<'_, '_, Mail>) -> Next {
        if self.is_reading {
            return Next::Wait;
        }
        while let Some(segment) = self.segments.pop_front() {
            match segment {
                Segment::Bytes(mut bytes) => {
                    let room = reply.cx.out.room();
                    if bytes.len() > room {
                        let now = bytes.split_to(room);
                        send(reply, now);
                        self.segments.push_front(Segment::Bytes(bytes));
                        return Next::Wait;
                    }
                    send(reply, bytes);
                }
                Segment::File { file, range } => match reply.file(FileRange { file, range }) {
                    Ok(()) => {}
                    Err(FileRange { file, range }) => return self.read(file, range, reply),
                },
            }
        }
        Next::Done
    }
    fn read(&mut self, file: Arc<dyn Source>, range: Range<u64>, reply: &mut Reply<'_, '_, Mail>) -> Next {
        if reply.cx.out.is_full() {
            self.segments.push_front(Segment::File { file, range });
            return Next::Wait;
        }
        let end = range.end.min(range.start + PIECE_BYTES_MAX);
        let ask = Ask::Read { file: Arc::clone(&file), range: range.start..end };
        if reply.cx.host.ask(FILES, Mail::Ask(ask)).is_err() {
            return Next::Break;
        }
        if end < range.end {
            self.segments.push_front(Segment::File { file, range: end..range.end });
        }
        self.is_reading = true;
        Next::Wait
    }
    /// What the desk has read.
    pub(crate) fn piece(&mut self, piece: Option<&Bytes>, reply: &mut Reply<'_, '_, Mail>) -> Next {
        let (true, Some(piece)) = (self.is_reading, piece) else { return Next::Break };
        self.is_reading = false;
        self.segments.push_front(Segment::Bytes(piece.clone()));
        self.go_on(reply)
    }
}

fn send(reply: &mut Reply<'_, '_, Mail>, bytes: Bytes) {
    if bytes.len() <= COPY_BYTES_MAX { reply.put(&bytes) } else { reply.share(bytes) }
}
