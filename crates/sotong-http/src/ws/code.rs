//! Why a WebSocket closes, as the wire tells it (RFC 6455 §7.4).
use sotong_session::Close;
use std::{borrow::Cow, fmt};

/// A close code that may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Code(u16);

impl Code {
    /// All is said.
    pub const NORMAL: Self = Self(1000);
    /// The server stops, or the page is left.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL: Self = Self(1002);
    /// Data of a kind that is not taken here.
    pub const UNACCEPTABLE: Self = Self(1003);
    /// Text that is not UTF-8, or data that cannot be inflated.
    pub const MALFORMED: Self = Self(1007);
    /// A limit or a rule of the service.
    pub const POLICY: Self = Self(1008);
    /// A message longer than is taken.
    pub const TOO_LONG: Self = Self(1009);
    /// A fault of this program.
    pub const FAULT: Self = Self(1011);

    /// The code, if a peer may send it: neither one of those that only stand for something (1004 to 1006, 1015), nor one
    /// that nobody has defined.
    pub fn heard(number: u16) -> Option<Self> {
        matches!(number, 1000..=1003 | 1007..=1014 | 3000..=4999).then_some(Self(number))
    }
    /// The number.
    pub fn number(self) -> u16 {
        self.0
    }
    /// The one place where the reason of an end becomes a code, and words for the peer.
    pub fn of(close: &Close) -> (Self, Cow<'static, str>) {
        match close {
            Close::Done => (Self::NORMAL, "".into()),
            Close::Stop => (Self::GOING_AWAY, "the server stops".into()),
            Close::Idle => (Self::POLICY, "idle".into()),
            Close::Limit("message_bytes_max") => (Self::TOO_LONG, "message_bytes_max".into()),
            Close::Limit(name) => (Self::POLICY, (*name).into()),
            Close::Protocol(how) => (Self::POLICY, how.clone()),
            Close::Truncated => (Self::PROTOCOL, "truncated".into()),
            _ => (Self::FAULT, "".into()),
        }
    }
    /// Whether it says that something went wrong.
    pub fn is_complaint(self) -> bool {
        self > Self::GOING_AWAY
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a peer did that ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    /// A reserved bit is set that no extension has given a meaning (RFC 6455 §5.2).
    #[error("a reserved bit is set")]
    ReservedBit,
    /// An opcode that nobody has defined.
    #[error("an unknown opcode")]
    Opcode,
    /// A control frame in fragments (§5.5).
    #[error("a control frame in fragments")]
    ControlFragment,
    /// A control frame of more than 125 bytes (§5.5).
    #[error("a control frame of more than 125 bytes")]
    ControlLong,
    /// A length in more bytes than it needs, or beyond 2^63 (§5.2).
    #[error("a length that is not written in the shortest form")]
    Length,
    /// A client's frame without a mask (§5.1).
    #[error("a client's frame is not masked")]
    Unmasked,
    /// A server's frame with a mask (§5.1).
    #[error("a server's frame is masked")]
    Masked,
    /// A continuation of no message (§5.4).
    #[error("a continuation of nothing")]
    Continuation,
    /// A new message in the middle of another (§5.4).
    #[error("a new message within another")]
    Interleaved,
    /// A Close frame of one byte (§5.5.1).
    #[error("half a close code")]
    CloseHalf,
    /// A close code that may not be sent (§7.4).
    #[error("a close code that may not be sent")]
    CloseCode,
    /// A reason that is not UTF-8 (§5.5.1).
    #[error("a close reason that is not UTF-8")]
    CloseText,
    /// A text message that is not UTF-8 (§8.1).
    #[error("text that is not UTF-8")]
    Utf8,
    /// A message that cannot be inflated (RFC 7692 §7.2.2).
    #[error("data that cannot be inflated")]
    Deflate,
    /// A message longer than [`WsLimits::message_bytes_max`](super::WsLimits::message_bytes_max).
    #[error("a message that is too long")]
    TooLong,
    /// More fragments than [`WsLimits::fragments_max`](super::WsLimits::fragments_max).
    #[error("too many fragments")]
    Fragments,
    /// A binary message where only text is taken, or text where only binary is.
    #[error("a kind of message that is not taken here")]
    Kind,
}

impl Breach {
    /// The code that tells it.
    pub fn code(self) -> Code {
        match self {
            Self::Utf8 | Self::CloseText | Self::Deflate => Code::MALFORMED,
            Self::TooLong => Code::TOO_LONG,
            Self::Fragments => Code::POLICY,
            Self::Kind => Code::UNACCEPTABLE,
            Self::ReservedBit
            | Self::Opcode
            | Self::ControlFragment
            | Self::ControlLong
            | Self::Length
            | Self::Unmasked
            | Self::Masked
            | Self::Continuation
            | Self::Interleaved
            | Self::CloseHalf
            | Self::CloseCode => Code::PROTOCOL,
        }
    }
    /// The reason for which the session ends.
    pub fn close(self) -> Close {
        match self {
            Self::TooLong => Close::Limit("message_bytes_max"),
            Self::Fragments => Close::Limit("fragments_max"),
            Self::ControlLong => Close::Limit("control_bytes_max"),
            other => Close::Protocol(format!("WebSocket: {other}").into()),
        }
    }
}
