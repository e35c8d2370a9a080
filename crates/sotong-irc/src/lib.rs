//! The grammar of IRC: messages, tags, numerics, names, masks and modes. It parses and renders, and knows no chat.
//!
//! Lines come from the peer as bytes and go out by one writer, the [`Encoder`]. What it writes passes a sieve that lets no
//! CR, LF or NUL through, so nothing that anybody says can begin a line of its own; a line that would be too long is cut
//! between two characters, never within one.
//!
//! All text is UTF-8. Names are compared by [`names::fold`]: composed (NFC), with the letters of ASCII in one case. Hangul
//! has no case, so nothing more is folded.
//!
//! # Example
//!
//! ```
//! use sotong_irc::{Encoder, Message};
//!
//! let message = Message::parse("@label=1 PRIVMSG #방 :안녕하세요".as_bytes())?;
//! assert_eq!((message.command, message.params()), ("PRIVMSG", &["#방", "안녕하세요"][..]));
//!
//! let mut line = Vec::new();
//! Encoder::new(&mut line).source("민수!m@host").word(message.command).word("#방").text("두 줄\r\nQUIT").end();
//! assert_eq!(String::from_utf8(line).as_deref(), Ok(":민수!m@host PRIVMSG #방 :두 줄QUIT\r\n"));
//! # Ok::<(), sotong_irc::ParseError>(())
//! ```
#![forbid(unsafe_code)]

mod encoder;
pub mod mask;
mod message;
pub mod modes;
pub mod names;
mod reply;
mod tags;

pub use encoder::Encoder;
pub use message::{Message, ParseError};
pub use reply::{Numeric, numeric};
pub use tags::{Tag, Tags, escape, is_tag_key};

/// Bytes of a line without its tags, CR LF included (RFC 1459, section 2.3).
pub const LINE_BYTES_MAX: usize = 512;
/// Bytes of the tags in a line from a client, `@` and the blank behind them included (IRCv3 message tags).
pub const CLIENT_TAG_BYTES_MAX: usize = 4096;
/// Bytes of the tags in a line to a client.
pub const TAG_BYTES_MAX: usize = 8191;
/// Parameters of a message; the last one takes the rest of the line.
pub const PARAMS_MAX: usize = 15;
