//! Messages and control frames out of bytes that come in any pieces.
use super::{
    Breach, Code, WsLimits,
    deflate::inflate,
    frame::{CONTROL_BYTES_MAX, HEADER_BYTES_MAX, Header, Opcode, Side, mask},
    utf8::Utf8,
};
use sotong_session::Input;

/// What a message is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

/// What has come.
#[derive(Debug, PartialEq, Eq)]
pub enum Item {
    /// A message, which is at the front of the input: so many bytes, unmasked and not taken yet. The usual case, which
    /// copies nothing.
    Here(Kind, usize),
    /// A message that came in pieces, or compressed: [`Reader::lend`] has it.
    Held(Kind),
    /// To be answered by a Pong.
    Ping(Control),
    /// An answer to a Ping, or a sign of life.
    Pong,
    /// The peer says no more; its code if it gave one, and its reason, which is UTF-8.
    Close(Option<Code>, Box<str>),
}

/// The payload of a control frame, at most 125 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Control {
    bytes: [u8; CONTROL_BYTES_MAX],
    len: u8,
}

impl Control {
    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}
impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.bytes().fmt(f)
    }
}

/// Reads frames that were sent to one side of a WebSocket.
///
/// Text is checked as it comes, before its message is whole. Memory between calls: what has come of a message, at most
/// [`WsLimits::message_bytes_max`], a header of at most 14 bytes and a control frame of at most 125.
#[derive(Debug)]
pub struct Reader {
    side: Side,
    message_bytes_max: usize,
    fragments_max: usize,
    deflates: bool,
    state: State,
    message: Option<Message>,
    /// What has come of the message, unmasked.
    body: Vec<u8>,
}

#[derive(Debug)]
enum State {
    /// The beginning of a header.
    Header { bytes: [u8; HEADER_BYTES_MAX], len: u8 },
    /// Within a frame of the message; so many bytes of it have come, so many are missing.
    Data { key: Option<[u8; 4]>, came: usize, left: usize, fin: bool },
    /// Within a control frame.
    Control { opcode: Opcode, key: Option<[u8; 4]>, control: Box<Control>, left: u8 },
}

const FRESH: State = State::Header { bytes: [0; HEADER_BYTES_MAX], len: 0 };

/// A message of which not all has come.
#[derive(Debug)]
struct Message {
    kind: Kind,
    compressed: bool,
    fragments: usize,
    utf8: Utf8,
}

/// Between messages a buffer keeps at most this much memory.
const KEEP_BYTES_MAX: usize = 1 << 10;

impl Reader {
    /// For what is sent to `side`; `deflates` where permessage-deflate was agreed on.
    pub fn new(side: Side, limits: &WsLimits, deflates: bool) -> Self {
        let WsLimits { message_bytes_max, fragments_max, .. } = *limits;
        Self { side, message_bytes_max, fragments_max, deflates, state: FRESH, message: None, body: Vec::new() }
    }
    /// The next thing in `input`, whose bytes are taken as they are used; `None` once all of them are and more is needed.
    ///
    /// # Errors
    /// What the peer did wrong. Nothing after that has a meaning; what is left of the input may have been changed, and is
    /// to be taken.
    pub fn read(&mut self, input: &mut Input<'_>) -> Result<Option<Item>, Breach> {
        while !input.bytes().is_empty() {
            let item = match &mut self.state {
                State::Header { .. } => match self.header(input)? {
                    Some(header) => self.begin(&header, input)?,
                    None => None,
                },
                State::Data { .. } => self.data(input)?,
                State::Control { .. } => self.control(input)?,
            };
            if item.is_some() {
                return Ok(item);
            }
        }
        Ok(None)
    }
    /// The message that is held, to be shown and given back by [`Self::give_back`].
    pub fn lend(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.body)
    }
    /// Takes the memory of a message back.
    pub fn give_back(&mut self, mut body: Vec<u8>) {
        if body.capacity() <= KEEP_BYTES_MAX {
            body.clear();
            self.body = body;
        }
    }
    /// Bytes of memory held.
    pub fn buffered(&self) -> usize {
        self.body.capacity()
    }

    /// A whole header, taken.
    fn header(&mut self, input: &mut Input<'_>) -> Result<Option<Header>, Breach> {
        let (side, deflates) = (self.side, self.deflates);
        let State::Header { bytes, len } = &mut self.state else { return Ok(None) };
        if *len == 0
            && let Some((header, count)) = Header::read(input.bytes(), side, deflates)?
        {
            input.take(count);
            return Ok(Some(header));
        }
        while let Some(byte) = input.bytes().first() {
            bytes[usize::from(*len)] = *byte;
            *len += 1;
            input.take(1);
            if let Some((header, _)) = Header::read(&bytes[..usize::from(*len)], side, deflates)? {
                *len = 0;
                return Ok(Some(header));
            }
        }
        Ok(None)
    }
    /// A frame begins, whose header has been taken.
    fn begin(&mut self, header: &Header, input: &mut Input<'_>) -> Result<Option<Item>, Breach> {
        let Header { fin, compressed, opcode, key, len } = *header;
        if opcode.is_control() {
            let control = Box::new(Control { bytes: [0; CONTROL_BYTES_MAX], len: 0 });
            // At most 125 by its header.
            self.state = State::Control { opcode, key, control, left: len as u8 };
            return self.control(input);
        }
        let left = usize::try_from(len).unwrap_or(usize::MAX);
        if left > self.message_bytes_max.saturating_sub(self.body.len()) {
            return Err(Breach::TooLong);
        }
        match (opcode, &mut self.message) {
            (Opcode::Continuation, Some(message)) if message.fragments >= self.fragments_max => {
                return Err(Breach::Fragments);
            }
            (Opcode::Continuation, Some(message)) => message.fragments += 1,
            (Opcode::Continuation, None) => return Err(Breach::Continuation),
            (_, Some(_)) => return Err(Breach::Interleaved),
            (opcode, None) => {
                let kind = if opcode == Opcode::Text { Kind::Text } else { Kind::Binary };
                if fin && !compressed && input.bytes().len() >= left {
                    return Self::whole(kind, key, left, input).map(Some);
                }
                self.message = Some(Message { kind, compressed, fragments: 1, utf8: Utf8::default() });
            }
        }
        self.state = State::Data { key, came: 0, left, fin };
        self.data(input)
    }
    /// The usual case: a message in one frame that is all there.
    fn whole(kind: Kind, key: Option<[u8; 4]>, len: usize, input: &mut Input<'_>) -> Result<Item, Breach> {
        let bytes = &mut input.bytes_mut()[..len];
        if let Some(key) = key {
            mask(bytes, key, 0);
        }
        if kind == Kind::Text && std::str::from_utf8(bytes).is_err() {
            return Err(Breach::Utf8);
        }
        Ok(Item::Here(kind, len))
    }
    /// More of a message.
    fn data(&mut self, input: &mut Input<'_>) -> Result<Option<Item>, Breach> {
        let (State::Data { key, came, left, fin }, Some(message)) = (&mut self.state, &mut self.message) else {
            return Ok(None);
        };
        let count = (*left).min(input.bytes().len());
        let at = self.body.len();
        self.body.extend_from_slice(&input.bytes()[..count]);
        input.take(count);
        let fresh = &mut self.body[at..];
        if let Some(key) = key {
            mask(fresh, *key, *came);
        }
        *came += count;
        *left -= count;
        let is_checked = message.kind == Kind::Text && !message.compressed;
        if is_checked && !message.utf8.push(fresh) {
            return Err(Breach::Utf8);
        }
        if *left > 0 {
            return Ok(None);
        }
        let ends = *fin;
        self.state = FRESH;
        if ends { self.finish().map(Some) } else { Ok(None) }
    }
    /// A message is whole.
    fn finish(&mut self) -> Result<Item, Breach> {
        let message = self.message.take().ok_or(Breach::Continuation)?;
        if message.compressed {
            self.body = inflate(&self.body, self.message_bytes_max)?;
            if message.kind == Kind::Text && std::str::from_utf8(&self.body).is_err() {
                return Err(Breach::Utf8);
            }
        } else if !message.utf8.is_whole() {
            return Err(Breach::Utf8);
        }
        Ok(Item::Held(message.kind))
    }
    /// More of a control frame.
    fn control(&mut self, input: &mut Input<'_>) -> Result<Option<Item>, Breach> {
        let State::Control { opcode, key, control, left } = &mut self.state else { return Ok(None) };
        let count = usize::from(*left).min(input.bytes().len());
        let at = usize::from(control.len);
        control.bytes[at..at + count].copy_from_slice(&input.bytes()[..count]);
        input.take(count);
        control.len += count as u8;
        *left -= count as u8;
        if *left > 0 {
            return Ok(None);
        }
        if let Some(key) = key {
            let len = usize::from(control.len);
            mask(&mut control.bytes[..len], *key, 0);
        }
        let item = match opcode {
            Opcode::Close => closing(control.bytes())?,
            Opcode::Ping => Item::Ping((**control).clone()),
            _ => Item::Pong,
        };
        self.state = FRESH;
        Ok(Some(item))
    }
}

/// What a Close frame says (RFC 6455 §5.5.1).
fn closing(bytes: &[u8]) -> Result<Item, Breach> {
    match bytes {
        [] => Ok(Item::Close(None, "".into())),
        [_] => Err(Breach::CloseHalf),
        [high, low, reason @ ..] => {
            let code = Code::heard(u16::from_be_bytes([*high, *low])).ok_or(Breach::CloseCode)?;
            let reason = std::str::from_utf8(reason).map_err(|_| Breach::CloseText)?;
            Ok(Item::Close(Some(code), reason.into()))
        }
    }
}

#[cfg(test)]
mod tests;
