//! Frames around what a session says.
use super::{
    Code, Kind,
    deflate::deflate,
    frame::{CONTROL_BYTES_MAX, Header, Opcode, Side, mask},
    utf8::Utf8,
};
use sotong_session::{Cx, Output, Piece};

/// Which messages the records of a session become, and which messages it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speech {
    /// What its records are sent as. `None`: an answer is of the kind that was heard last, text before anything was; what
    /// is no UTF-8 is binary.
    pub says: Option<Kind>,
    /// The one kind that is taken; `None` for both. Answer to the other: 1003.
    pub takes: Option<Kind>,
}

impl Speech {
    /// Text both ways. That its records are UTF-8 is the session's to see to: a server does not look again for each member
    /// of a room, a client does.
    pub const TEXT: Self = Self { says: Some(Kind::Text), takes: Some(Kind::Text) };
    /// Binary both ways.
    pub const BINARY: Self = Self { says: Some(Kind::Binary), takes: Some(Kind::Binary) };
    /// Either is taken, and answered by its like.
    pub const AS_HEARD: Self = Self { says: None, takes: None };

    /// Whether a message of `kind` is taken.
    pub(super) fn takes(self, kind: Kind) -> bool {
        self.takes.is_none_or(|only| only == kind)
    }
}

/// What a whole text message of a server begins with; no line of UTF-8 does. So a session of lines
/// ([`ServerOptions::lines`](super::ServerOptions::lines)) may say a frame for a line, whether its peer hears text or binary.
pub const FRAMED: u8 = FIN | 1;
const FIN: u8 = 0x80;

/// The length of the frame at the front, if it is one.
fn frame_len(bytes: &[u8]) -> Option<usize> {
    if *bytes.first()? != FRAMED {
        return None;
    }
    let (header, at) = Header::read(bytes, Side::Client, false).ok()??;
    let len = at.checked_add(usize::try_from(header.len).ok()?)?;
    debug_assert!(len <= bytes.len(), "a frame is said whole");
    (len <= bytes.len()).then_some(len)
}

/// What was to be sent as text is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotText;

/// Writes what one side sends.
#[derive(Debug)]
pub(super) struct Writer {
    side: Side,
    pub(super) speech: Speech,
    pub(super) heard: Kind,
    /// From this many bytes on a message is compressed, where that was agreed on.
    pub(super) deflates_from: Option<usize>,
    /// The beginning of a message of this kind has been sent, and not its end.
    midway: Option<Kind>,
    /// A client's own text so far.
    utf8: Utf8,
}

impl Writer {
    pub(super) fn new(side: Side) -> Self {
        Self {
            side,
            speech: Speech::AS_HEARD,
            heard: Kind::Text,
            deflates_from: None,
            midway: None,
            utf8: Utf8::default(),
        }
    }
    /// Sends everything in `scratch`: each record is a message, and a rest without its end a fragment, unless it is the
    /// last. One header goes before what was said, which is copied or shared as it is; only a client's is masked.
    ///
    /// # Errors
    /// A client's text is no UTF-8: nothing of that record is sent.
    pub(super) fn send<M>(&mut self, scratch: &mut Output, cx: &mut Cx<'_, M>, is_last: bool) -> Result<(), NotText> {
        while !scratch.is_empty() {
            let fin = is_last || scratch.has_record();
            let len = scratch.record_len();
            let kind = self.midway.unwrap_or_else(|| self.kind(scratch, fin));
            let opcode = match (self.midway, kind) {
                (Some(_), _) => Opcode::Continuation,
                (None, Kind::Text) => Opcode::Text,
                (None, Kind::Binary) => Opcode::Binary,
            };
            if self.side == Side::Client && kind == Kind::Text && !self.goes_on_as_text(scratch, fin) {
                scratch.clear();
                return Err(NotText);
            }
            let compresses = fin && self.midway.is_none() && self.deflates_from.is_some_and(|least| len >= least);
            self.midway = (!fin).then_some(kind);
            if compresses {
                self.send_compressed(opcode, scratch, cx);
            } else {
                let header = Header { fin, compressed: false, opcode, key: self.key(cx), len: len as u64 };
                send_plain(&header, scratch, cx.out);
            }
        }
        Ok(())
    }
    /// Sends everything in `scratch` as lines, each as a message without its end; frames go as they are, but for their
    /// opcode, which is this connection's. A server's side alone: nothing is masked.
    pub(super) fn send_lines<M>(&mut self, scratch: &mut Output, cx: &mut Cx<'_, M>) {
        let opcode = match self.speech.says.unwrap_or(self.heard) {
            Kind::Text => Opcode::Text,
            Kind::Binary => Opcode::Binary,
        };
        // A line may begin in one piece and end in another.
        let mut begun = Vec::new();
        while let Some(piece) = scratch.pop() {
            match piece {
                Piece::Bytes(bytes) => self.put_lines(opcode, bytes, &mut begun, cx),
                Piece::Shared(bytes) if begun.is_empty() && frame_len(&bytes) == Some(bytes.len()) => {
                    cx.out.put(&[FIN | opcode.number()]);
                    cx.out.share(bytes.slice(1..));
                }
                Piece::Shared(bytes) => self.put_lines(opcode, &bytes, &mut begun, cx),
                Piece::Cut => {}
                Piece::File(_) => debug_assert!(false, "a file range only enters an output that leads to a socket"),
            }
        }
        if !begun.is_empty() {
            self.put_line(opcode, &begun, cx);
        }
    }
    fn put_lines<M>(&self, opcode: Opcode, mut bytes: &[u8], begun: &mut Vec<u8>, cx: &mut Cx<'_, M>) {
        while !bytes.is_empty() {
            if begun.is_empty()
                && let Some(len) = frame_len(bytes)
            {
                cx.out.render(|to| {
                    to.push(FIN | opcode.number());
                    to.extend_from_slice(&bytes[1..len]);
                });
                bytes = &bytes[len..];
                continue;
            }
            let Some(end) = memchr::memchr(b'\n', bytes) else { return begun.extend_from_slice(bytes) };
            if begun.is_empty() {
                self.put_line(opcode, &bytes[..end], cx);
            } else {
                begun.extend_from_slice(&bytes[..end]);
                self.put_line(opcode, begun, cx);
                begun.clear();
            }
            bytes = &bytes[end + 1..];
        }
    }
    /// One line, whose LF has been taken away.
    fn put_line<M>(&self, opcode: Opcode, line: &[u8], cx: &mut Cx<'_, M>) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let small = if self.deflates_from.is_some_and(|least| line.len() >= least) { deflate(line) } else { None };
        let payload = small.as_deref().unwrap_or(line);
        let header =
            Header { fin: true, compressed: small.is_some(), opcode, key: self.key(cx), len: payload.len() as u64 };
        cx.out.render(|to| write(&header, payload, to));
    }
    /// Whether the record at the front is text, or goes on with one.
    fn goes_on_as_text(&mut self, scratch: &Output, fin: bool) -> bool {
        let mut slices = Vec::new();
        scratch.gather(&mut slices, usize::MAX);
        slices.iter().all(|slice| self.utf8.push(slice)) && (!fin || self.utf8.is_whole())
    }
    /// Sends a control frame of at most 125 bytes.
    pub(super) fn control<M>(&self, opcode: Opcode, bytes: &[u8], cx: &mut Cx<'_, M>) {
        let len = bytes.len().min(CONTROL_BYTES_MAX);
        let header = Header { fin: true, compressed: false, opcode, key: self.key(cx), len: len as u64 };
        cx.out.render(|to| write(&header, &bytes[..len], to));
    }
    /// Sends the end, and why.
    pub(super) fn close<M>(&self, code: Option<Code>, reason: &str, cx: &mut Cx<'_, M>) {
        let mut bytes = Vec::new();
        if let Some(code) = code {
            bytes.extend_from_slice(&code.number().to_be_bytes());
            let mut most = reason.len().min(CONTROL_BYTES_MAX - bytes.len());
            while !reason.is_char_boundary(most) {
                most -= 1;
            }
            bytes.extend_from_slice(&reason.as_bytes()[..most]);
        }
        self.control(Opcode::Close, &bytes, cx);
    }

    fn key<M>(&self, cx: &mut Cx<'_, M>) -> Option<[u8; 4]> {
        (self.side == Side::Client).then(|| {
            let mut key = [0; 4];
            cx.host.random(&mut key);
            key
        })
    }
    /// What the record at the front is sent as.
    fn kind(&self, scratch: &Output, fin: bool) -> Kind {
        match (self.speech.says, self.heard) {
            (Some(kind), _) => kind,
            (None, Kind::Text) if fin && is_text(scratch) => Kind::Text,
            (None, _) => Kind::Binary,
        }
    }
    fn send_compressed<M>(&self, opcode: Opcode, scratch: &mut Output, cx: &mut Cx<'_, M>) {
        let mut bytes = Vec::new();
        while let Some(piece) = scratch.pop() {
            match piece {
                Piece::Bytes(more) => bytes.extend_from_slice(more),
                Piece::Shared(more) => bytes.extend_from_slice(&more),
                Piece::Cut => break,
                Piece::File(_) => debug_assert!(false, "a file range only enters an output that leads to a socket"),
            }
        }
        let small = deflate(&bytes);
        let compressed = small.is_some();
        let payload = small.unwrap_or(bytes);
        let header = Header { fin: true, compressed, opcode, key: self.key(cx), len: payload.len() as u64 };
        cx.out.render(|to| write(&header, &payload, to));
    }
}

/// Sends the record at the front, up to its cut.
fn send_plain(header: &Header, scratch: &mut Output, out: &mut Output) {
    // The usual case.
    if let Some(record) = scratch.front_record() {
        out.render(|to| write(header, record, to));
        scratch.advance_record();
        return;
    }
    out.render(|to| header.write(to));
    let mut phase = 0;
    while let Some(piece) = scratch.pop() {
        let bytes: &[u8] = match &piece {
            Piece::Bytes(bytes) => bytes,
            Piece::Shared(bytes) => bytes,
            Piece::Cut => return,
            Piece::File(_) => {
                debug_assert!(false, "a file range only enters an output that leads to a socket");
                continue;
            }
        };
        match (header.key, &piece) {
            (Some(key), _) => {
                out.render(|to| put_masked(bytes, key, phase, to));
                phase += bytes.len();
            }
            (None, Piece::Shared(shared)) => out.share(shared.clone()),
            (None, _) => out.put(bytes),
        }
    }
}

fn write(header: &Header, payload: &[u8], to: &mut Vec<u8>) {
    header.write(to);
    match header.key {
        Some(key) => put_masked(payload, key, 0, to),
        None => to.extend_from_slice(payload),
    }
}
fn put_masked(bytes: &[u8], key: [u8; 4], phase: usize, to: &mut Vec<u8>) {
    let at = to.len();
    to.extend_from_slice(bytes);
    mask(&mut to[at..], key, phase);
}

/// Whether the record at the front is UTF-8.
fn is_text(scratch: &Output) -> bool {
    if let Some(record) = scratch.front_record() {
        return std::str::from_utf8(record).is_ok();
    }
    let (mut slices, mut utf8) = (Vec::new(), Utf8::default());
    scratch.gather(&mut slices, usize::MAX);
    slices.iter().all(|slice| utf8.push(slice)) && utf8.is_whole()
}
