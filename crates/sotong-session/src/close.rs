//! Why a connection ended.
use std::{borrow::Cow, fmt, io};

/// Why a connection ended. Not an error type: [`Close::Done`] and [`Close::Stop`] are fine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Close {
    /// Both sides said all they had to say.
    Done,
    /// The server is leaving.
    Stop,
    /// A time limit passed.
    Idle,
    /// The peer does not read what it is sent: the output passed its hard mark, or made no progress in time.
    Slow,
    /// The peer reset the connection.
    Reset,
    /// The peer's stream ended without the end mark its protocol has.
    Truncated,
    /// The peer went over a limit, which is named as in [`crate::Limits`] or the service's own.
    Limit(&'static str),
    /// The peer broke the protocol; the text says how, for the log.
    Protocol(Cow<'static, str>),
    /// The operating system failed the connection.
    Io(io::ErrorKind),
    /// A fault of this program, never of the peer: a panic, or a broken rule of the contract, which is named.
    Fault(&'static str),
}

impl Close {
    /// Whether what is queued is thrown away: there is nobody, or no use, to send it to.
    pub fn drops_output(&self) -> bool {
        match self {
            Self::Slow | Self::Reset | Self::Io(_) | Self::Fault(_) => true,
            Self::Done | Self::Stop | Self::Idle | Self::Truncated | Self::Limit(_) | Self::Protocol(_) => false,
        }
    }
    /// Every [`Self::word`].
    pub const WORDS: [&'static str; 10] =
        ["done", "stop", "idle", "slow", "reset", "truncated", "limit", "protocol", "io", "fault"];
    /// One stable word for logs and counters.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Stop => "stop",
            Self::Idle => "idle",
            Self::Slow => "slow",
            Self::Reset => "reset",
            Self::Truncated => "truncated",
            Self::Limit(_) => "limit",
            Self::Protocol(_) => "protocol",
            Self::Io(_) => "io",
            Self::Fault(_) => "fault",
        }
    }
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit(name) => write!(f, "limit: {name}"),
            Self::Protocol(how) => write!(f, "protocol: {how}"),
            Self::Io(kind) => write!(f, "io: {kind}"),
            Self::Fault(what) => write!(f, "fault: {what}"),
            Self::Done | Self::Stop | Self::Idle | Self::Slow | Self::Reset | Self::Truncated => {
                f.write_str(self.word())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_listed() {
        use Close::{Done, Fault, Idle, Io, Limit, Protocol, Reset, Slow, Stop, Truncated};
        let (io, protocol) = (Io(io::ErrorKind::Other), Protocol("".into()));
        let all = [Done, Stop, Idle, Slow, Reset, Truncated, Limit(""), protocol, io, Fault("")];
        assert_eq!(all.map(|close| close.word()), Close::WORDS);
    }
}
