//! One frame's header, and its mask (RFC 6455 §5.2, §5.3).
use super::Breach;

/// Which end of a WebSocket: it decides whose frames are masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Masks what it sends.
    Client,
    /// Takes masked frames only, and masks none.
    Server,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// More of the message under way.
    Continuation,
    /// The beginning of a text.
    Text,
    /// The beginning of a binary message.
    Binary,
    /// The end.
    Close,
    /// To be answered by a Pong with the same bytes.
    Ping,
    /// The answer to a Ping, or a sign of life.
    Pong,
}

impl Opcode {
    fn read(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }
    /// Whether it is about the connection and not about a message.
    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whether it ends its message.
    pub fin: bool,
    /// The first reserved bit: the message is compressed, where that was agreed on (RFC 7692 §6).
    pub compressed: bool,
    /// What it is.
    pub opcode: Opcode,
    /// The mask's key, if there is one.
    pub key: Option<[u8; 4]>,
    /// Bytes of payload.
    pub len: u64,
}

/// A control frame's payload (RFC 6455 §5.5).
pub const CONTROL_BYTES_MAX: usize = 125;
/// The longest header: two bytes, eight of length, four of mask.
pub const HEADER_BYTES_MAX: usize = 14;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RESERVED: u8 = 0x70;
const MASK: u8 = 0x80;

impl Header {
    /// Reads the header at the front of `bytes`, sent to `side`: the header and its length, or `None` while some of it is
    /// missing. What cannot become one is told as early as it shows.
    ///
    /// # Errors
    /// What makes it no header.
    pub fn read(bytes: &[u8], side: Side, deflates: bool) -> Result<Option<(Self, usize)>, Breach> {
        let Some(first) = bytes.first() else { return Ok(None) };
        let opcode = Opcode::read(first & 0x0f);
        let (fin, compressed) = (first & FIN != 0, first & RSV1 != 0);
        let may_be_compressed = deflates && matches!(opcode, Some(Opcode::Text | Opcode::Binary));
        if first & RESERVED & !(if may_be_compressed { RSV1 } else { 0 }) != 0 {
            return Err(Breach::ReservedBit);
        }
        let opcode = opcode.ok_or(Breach::Opcode)?;
        if opcode.is_control() && !fin {
            return Err(Breach::ControlFragment);
        }
        let Some(second) = bytes.get(1) else { return Ok(None) };
        match (side, second & MASK != 0) {
            (Side::Server, false) => return Err(Breach::Unmasked),
            (Side::Client, true) => return Err(Breach::Masked),
            (Side::Server, true) | (Side::Client, false) => {}
        }
        let short = second & !MASK;
        if opcode.is_control() && usize::from(short) > CONTROL_BYTES_MAX {
            return Err(Breach::ControlLong);
        }
        let (len, at) = match short {
            126 => {
                let Some(long) = bytes.get(2..4) else { return Ok(None) };
                (u64::from(u16::from_be_bytes([long[0], long[1]])), 4)
            }
            127 => {
                let Some(long) = bytes[2..].first_chunk() else { return Ok(None) };
                (u64::from_be_bytes(*long), 10)
            }
            short => (u64::from(short), 2),
        };
        let is_shortest = match short {
            126 => len >= 126,
            127 => len > u64::from(u16::MAX) && len >> 63 == 0,
            _ => true,
        };
        if !is_shortest {
            return Err(Breach::Length);
        }
        let (key, at) = match side {
            Side::Client => (None, at),
            Side::Server => match bytes[at..].first_chunk() {
                Some(key) => (Some(*key), at + 4),
                None => return Ok(None),
            },
        };
        Ok(Some((Self { fin, compressed, opcode, key, len }, at)))
    }
    /// Writes it, in as few bytes as it fits into.
    pub fn write(&self, to: &mut Vec<u8>) {
        let first = self.opcode.number() | if self.fin { FIN } else { 0 } | if self.compressed { RSV1 } else { 0 };
        let mask = if self.key.is_some() { MASK } else { 0 };
        match (u8::try_from(self.len), u16::try_from(self.len)) {
            (Ok(len @ 0..=125), _) => to.extend_from_slice(&[first, len | mask]),
            (_, Ok(len)) => {
                let [high, low] = len.to_be_bytes();
                to.extend_from_slice(&[first, 126 | mask, high, low]);
            }
            _ => {
                to.extend_from_slice(&[first, 127 | mask]);
                to.extend_from_slice(&self.len.to_be_bytes());
            }
        }
        if let Some(key) = self.key {
            to.extend_from_slice(&key);
        }
    }
}

/// Masks or unmasks `bytes`, which begin `phase` bytes into their frame (RFC 6455 §5.3).
pub fn mask(bytes: &mut [u8], key: [u8; 4], phase: usize) {
    let mut turned = key;
    turned.rotate_left(phase % 4);
    // Eight at a time: the compiler makes wide operations of it.
    let [a, b, c, d] = turned;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = bytes.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(turned.iter().cycle()) {
        *byte ^= key;
    }
}
