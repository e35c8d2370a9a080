//! What answers requests, and how it does.
use crate::{Fields, Method, Request, Status, Version, date};
use bytes::Bytes;
use sotong_session::{Close, Cx, FileRange, Host, Kind, Stream, Way};

/// What answers the requests of one connection, one after the other.
///
/// A request is answered before the next is looked at: answers are in order because there is never more than one under way,
/// and what a client has sent ahead waits in the socket.
pub trait App {
    /// What other sessions and desks may send to it.
    type Mail: Clone + Send + Sync + 'static;

    /// The connection is usable, and who is at its other end.
    fn open(&mut self, _way: &Way) {}
    /// A request has come; its body has not. To be answered now, or after its body, or after mail.
    fn request(&mut self, request: &Request<'_>, reply: &mut Reply<'_, '_, Self::Mail>) -> Next;
    /// Some of the body that was asked for; not empty.
    fn body(&mut self, _bytes: &[u8], _reply: &mut Reply<'_, '_, Self::Mail>) -> Next {
        Next::Body
    }
    /// The body that was asked for has come whole.
    fn body_end(&mut self, reply: &mut Reply<'_, '_, Self::Mail>) -> Next;
    /// Mail, while a request is under way or not.
    fn mail(&mut self, _mail: &Self::Mail, _reply: &mut Reply<'_, '_, Self::Mail>) -> Next {
        Next::Wait
    }
    /// The output was full and is so no more, while an answer is under way.
    fn drained(&mut self, _reply: &mut Reply<'_, '_, Self::Mail>) -> Next {
        Next::Wait
    }
    /// The request that is under way comes to nothing: its body broke off, or its connection did.
    fn broken(&mut self, _host: &mut dyn Host<Self::Mail>) {}
    /// The session that gets the connection after [`Next::Upgrade`].
    fn upgrade(&mut self) -> Option<Box<dyn Stream<Mail = Self::Mail>>> {
        None
    }
    /// A request has been answered.
    fn answered(&mut self, _answered: &Answered) {}
    /// What came was no request, or broke off the one that is `under_way`, and was answered by the session itself.
    fn refused(&mut self, _answered: &Answered, _under_way: bool) {}
}

/// What an application does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The answer is complete.
    Done,
    /// The request's body is to be shown, of which so many bytes are taken in all. Answer to more: 413.
    Take(u64),
    /// More of the body is to be shown.
    Body,
    /// Nothing is to be shown before mail has come, or room.
    Wait,
    /// Another session answers this request and has the connection from now on: [`App::upgrade`] says which. It is shown the
    /// request as it came. Only in answer to [`App::request`], and only where the session stands in a
    /// [`Handover`](sotong_layers::Handover).
    Upgrade,
    /// There is no answer, or no more of it: 500 where none has begun, and the connection ends.
    Break,
}

/// How a request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The status.
    pub status: Status,
    /// Bytes of the answer's body.
    pub bytes: u64,
    /// How long it took from the last byte of the request's head to the last byte of the answer, as far as it was queued.
    pub time: std::time::Duration,
    /// Civil time when it was answered, milliseconds since 1970.
    pub wall: i64,
}

/// What is known of the answer that is under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) version: Version,
    pub(crate) method: Method,
    /// Whether the connection is kept when the answer is complete.
    pub(crate) keeps: bool,
    /// The client waits to be asked for its body, and has not been: whether it sends it is not certain.
    pub(crate) unasked: bool,
    pub(crate) progress: Progress,
}

/// How far an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Nothing,
    /// The head has been sent; so many bytes of the body are still owed, of so many.
    Head {
        status: Status,
        left: u64,
        length: u64,
    },
}

/// The answer to one request: its head, then as many bytes as the head has promised.
pub struct Reply<'r, 'c, M> {
    /// The world: time, mail, desks. The output is better left to the methods here.
    pub cx: &'r mut Cx<'c, M>,
    pub(crate) answer: &'r mut Answer,
}

impl<M> Reply<'_, '_, M> {
    /// Sends the head of an answer whose body has `length` bytes, which are to follow: not for HEAD, nor where the status
    /// has no body.
    pub fn head(&mut self, status: Status, length: u64, fields: &[&Fields]) {
        self.answer.keeps &= !self.answer.unasked;
        let Answer { version, method, keeps, .. } = *self.answer;
        let seconds = self.cx.wall.0.div_euclid(1000);
        self.cx.out.render(|to| write_head(to, status, seconds, length, fields, (version, keeps)));
        let left = if method == Method::Head || status.is_bodiless() { 0 } else { length };
        self.answer.progress = Progress::Head { status, left, length: left };
    }
    /// Sends a whole answer.
    pub fn whole(&mut self, status: Status, fields: &[&Fields], body: &[u8]) -> Next {
        self.head(status, body.len() as u64, fields);
        self.put(body);
        Next::Done
    }
    /// Sends some of the body, copied.
    pub fn put(&mut self, bytes: &[u8]) {
        if self.owe(bytes.len() as u64) {
            self.cx.out.put(bytes);
        }
    }
    /// Sends some of the body by reference.
    pub fn share(&mut self, bytes: Bytes) {
        if self.owe(bytes.len() as u64) {
            self.cx.out.share(bytes);
        }
    }
    /// Sends a part of a file by the kernel.
    ///
    /// # Errors
    /// Hands the range back where a layer must see the bytes: they are to be read at a desk.
    pub fn file(&mut self, range: FileRange) -> Result<(), FileRange> {
        if self.cx.out.kind() != Kind::Socket {
            return Err(range);
        }
        if self.owe(range.range.end - range.range.start) {
            self.cx.out.file(range)?;
        }
        Ok(())
    }
    /// Whether what is answered is a HEAD, or has a status without a body: nothing of a body is sent.
    pub fn is_bodiless(&self) -> bool {
        matches!(self.answer.progress, Progress::Head { left: 0, length: 0, .. })
    }
    /// Ends the connection when the answer is complete.
    pub fn close_after(&mut self) {
        self.answer.keeps = false;
    }
    /// Whether the head has been sent: then no other status can be.
    pub fn has_begun(&self) -> bool {
        self.answer.progress != Progress::Nothing
    }
    /// Counts bytes of the body that are sent. False where nothing is owed, as for HEAD.
    fn owe(&mut self, count: u64) -> bool {
        let Progress::Head { left, .. } = &mut self.answer.progress else { return false };
        debug_assert!(*left == 0 || count <= *left, "an answer is as long as its head says");
        let owed = *left > 0;
        *left = left.saturating_sub(count);
        owed
    }
}

/// The one place where a status line and header fields become bytes.
pub(crate) fn write_head(
    to: &mut Vec<u8>,
    status: Status,
    seconds: i64,
    length: u64,
    fields: &[&Fields],
    (version, keeps): (Version, bool),
) {
    to.extend_from_slice(b"HTTP/1.1 ");
    to.extend_from_slice(status.line().as_bytes());
    to.extend_from_slice(b"\r\nServer: sotong\r\nDate: ");
    date::write(seconds, to);
    to.extend_from_slice(b"\r\n");
    if !status.is_bodiless() {
        to.extend_from_slice(b"Content-Length: ");
        write_number(length, to);
        to.extend_from_slice(b"\r\n");
    }
    for fields in fields {
        to.extend_from_slice(fields.lines());
    }
    match (version, keeps) {
        (Version::V11, true) => {}
        (Version::V10, true) => to.extend_from_slice(b"Connection: keep-alive\r\n"),
        (_, false) => to.extend_from_slice(b"Connection: close\r\n"),
    }
    to.extend_from_slice(b"\r\n");
}

fn write_number(mut number: u64, to: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    to.extend_from_slice(&digits[at..]);
}

/// Why a connection is closed after an answer that was to be its last.
pub(crate) const LAST: Close = Close::Done;
