//! The end of a body: by its length, or chunk by chunk (RFC 9112 §6, §7).
use crate::{Fault, Framing, head::is_text};

/// Bytes of a chunk's extensions, and of all trailers together: nobody sends any but for mischief.
const EXTRAS_BYTES_MAX: u32 = 1024;

/// Follows a body through the bytes that bring it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoder {
    state: State,
    /// Bytes of content that have come.
    came: u64,
    extras: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So many bytes are left of the whole.
    Length(u64),
    /// In the hexadecimal size of a chunk, of which so many digits have come.
    Size {
        size: u64,
        digits: u8,
    },
    /// Behind a size, before the end of its line.
    Extension {
        size: u64,
    },
    /// Behind the CR of a size's line.
    SizeEnd {
        size: u64,
    },
    /// So many bytes are left of the chunk.
    Data(u64),
    /// Behind a chunk's bytes, before their CR, or LF.
    DataEnd {
        cr: bool,
    },
    /// In the trailer section: at the beginning of a line, or not.
    Trailer {
        fresh: bool,
    },
    /// Behind a CR there: of an empty line, or not.
    TrailerEnd {
        empty: bool,
    },
    Over,
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// So many bytes of framing, which mean nothing to anybody else.
    Frame(usize),
    /// So many bytes of content; not 0.
    Content(usize),
    /// Everything has come, framing included.
    End,
}

impl Decoder {
    /// For a body of this framing.
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Over,
            Framing::Length(left) => State::Length(left),
            Framing::Chunked => State::Size { size: 0, digits: 0 },
        };
        Self { state, came: 0, extras: 0 }
    }
    /// Whether everything has come.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }
    /// Bytes of content that have come.
    pub fn came(&self) -> u64 {
        self.came
    }
    /// Bytes of content that are to come at least, as far as it is known.
    pub fn left(&self) -> u64 {
        match self.state {
            State::Length(left) | State::Data(left) => left,
            State::Extension { size } | State::SizeEnd { size } => size,
            _ => 0,
        }
    }
    /// What the next of `bytes` are; they count as taken. Call again with those behind them, until they are used up or
    /// everything has come.
    ///
    /// # Errors
    /// [`Fault::Chunk`].
    pub fn next(&mut self, bytes: &[u8]) -> Result<Part, Fault> {
        if let State::Length(left) | State::Data(left) = &mut self.state {
            let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
            *left -= count as u64;
            self.came += count as u64;
            match self.state {
                State::Length(0) => self.state = State::Over,
                State::Data(0) => self.state = State::DataEnd { cr: false },
                _ => {}
            }
            return Ok(Part::Content(count));
        }
        for (at, byte) in bytes.iter().enumerate() {
            match self.state {
                State::Over => return Ok(if at == 0 { Part::End } else { Part::Frame(at) }),
                State::Data(_) | State::Length(_) => return Ok(Part::Frame(at)),
                _ => self.state = self.frame(*byte)?,
            }
        }
        Ok(if bytes.is_empty() { Part::End } else { Part::Frame(bytes.len()) })
    }
    fn frame(&mut self, byte: u8) -> Result<State, Fault> {
        Ok(match (self.state, byte) {
            (State::Size { size, digits }, byte) if byte.is_ascii_hexdigit() => {
                // 2^60 bytes are more than any limit, and cannot overflow.
                if digits == 15 {
                    return Err(Fault::Chunk);
                }
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                State::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
            }
            (State::Size { size, digits: 1.. } | State::Extension { size }, b'\r') => State::SizeEnd { size },
            (State::Size { size, digits: 1.. }, b';') => State::Extension { size },
            (State::Extension { size }, byte) if is_text(byte) => {
                self.spend()?;
                State::Extension { size }
            }
            (State::SizeEnd { size: 0 } | State::TrailerEnd { empty: false }, b'\n') => State::Trailer { fresh: true },
            (State::SizeEnd { size }, b'\n') => State::Data(size),
            (State::DataEnd { cr: false }, b'\r') => State::DataEnd { cr: true },
            (State::DataEnd { cr: true }, b'\n') => State::Size { size: 0, digits: 0 },
            (State::Trailer { fresh }, b'\r') => State::TrailerEnd { empty: fresh },
            (State::Trailer { .. }, byte) if is_text(byte) => {
                self.spend()?;
                State::Trailer { fresh: false }
            }
            (State::TrailerEnd { empty: true }, b'\n') => State::Over,
            _ => return Err(Fault::Chunk),
        })
    }
    fn spend(&mut self) -> Result<(), Fault> {
        self.extras += 1;
        if self.extras > EXTRAS_BYTES_MAX { Err(Fault::Chunk) } else { Ok(()) }
    }
}
