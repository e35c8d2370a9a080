//! What `connect` and `listen` can fail with beyond what every command can.

use std::io;
use std::time::Duration;

use sotong_certs::Refusal;
use sotong_net::child::WordsError;
use sotong_net::dial_error::{Attempt, Cause, DialClass, DialError};
use sotong_net::pump::Fault;
use sotong_session::cidr::CidrError;

use super::{WsFailure, address, code, io_words, is_exhausted, trust};
use crate::catalogue::{Catalogue, text};
use crate::units::Span;

/// Why two ends could not be joined, or came apart.
#[derive(Debug)]
pub(crate) enum JoinFailure {
    /// There is no connection; the time limit is for the message.
    Dial { why: DialError, time_max: Duration },
    /// The peer reset the connection: what came of it may be cut off.
    Reset { peer: String },
    /// Nothing went by for the time that `-w` gives.
    Idle { peer: String, time_max: Duration },
    /// `-w` passed before anybody connected.
    NobodyCame { time_max: Duration },
    /// The connection failed.
    Connection { peer: String, why: Fault },
    /// Standard input, or a program's output, cannot be read.
    Input(Fault),
    /// Standard output, or a program's input, cannot be written.
    Output(Fault),
    /// The file of `--log` cannot be written.
    Log(Fault),
    /// `--exec` names what is no program.
    Program { program: String, why: io::ErrorKind },
    /// The line of `--exec` cannot be split into words.
    Words { line: String, why: WordsError },
    /// `--allow` or `--deny` names no network.
    Network { text: String, why: CidrError },
    /// `-z` is asked for a range of ports that is none, or too long.
    Ports { text: String, most: usize },
    /// The peer ended its stream without the end mark of TLS: what came may be cut off.
    Truncated { peer: String },
    /// The server's certificate is refused.
    Untrusted { peer: String, refusal: Box<Refusal> },
    /// The server turned us away after it had asked for a certificate that it was not shown.
    ClientCert { peer: String },
    /// The server refused the certificate that it was shown: its alert.
    ClientCertRefused { peer: String, why: String },
    /// It speaks something else than TLS: its first words.
    NotTls { peer: String, said: String },
    /// TLS failed otherwise.
    Tls { peer: String, why: String },
    /// The handshake took too long.
    Handshake { peer: String, time_max: Duration },
    /// WebSocket failed.
    Ws { peer: String, why: WsFailure },
    /// The system has no descriptors or threads left.
    Setup(io::Error),
}

impl JoinFailure {
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Dial { why, .. } => dial_code(why),
            Self::Reset { .. } | Self::Truncated { .. } | Self::NotTls { .. } | Self::Tls { .. } => code::PROTOCOL,
            Self::Ws { why, .. } => why.code(),
            Self::Untrusted { .. } | Self::ClientCert { .. } | Self::ClientCertRefused { .. } => code::CERTIFICATE,
            Self::Idle { .. } | Self::NobodyCame { .. } | Self::Handshake { .. } => code::NO_ANSWER,
            Self::Connection { why, .. } => match why.kind {
                io::ErrorKind::TimedOut => code::NO_ANSWER,
                io::ErrorKind::ConnectionRefused
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::NetworkDown => code::UNAVAILABLE,
                _ => code::FAILED,
            },
            Self::Words { .. } | Self::Network { .. } | Self::Ports { .. } => code::USAGE,
            Self::Input(_) | Self::Output(_) | Self::Log(_) | Self::Program { .. } | Self::Setup(_) => code::FAILED,
        }
    }

    pub(super) fn message(&self, catalogue: &Catalogue) -> String {
        let fault = |why: &Fault| match why.kind {
            io::ErrorKind::StorageFull | io::ErrorKind::PermissionDenied => io_words(catalogue, why.kind),
            _ => why.error().to_string(),
        };
        match self {
            Self::Dial { why, time_max } => dialling(catalogue, why, *time_max),
            Self::Reset { peer } => text!(catalogue, "join-reset", peer = peer.clone()),
            Self::Idle { peer, time_max } => {
                text!(catalogue, "join-idle", peer = peer.clone(), time = Span(*time_max).words(catalogue))
            }
            Self::NobodyCame { time_max } => {
                text!(catalogue, "join-nobody-came", time = Span(*time_max).words(catalogue))
            }
            Self::Connection { peer, why } if why.kind == io::ErrorKind::ConnectionRefused => {
                text!(catalogue, "join-refused", peer = peer.clone())
            }
            Self::Connection { peer, why } => {
                text!(catalogue, "join-connection", peer = peer.clone(), why = fault(why))
            }
            Self::Input(why) => text!(catalogue, "join-input", why = fault(why)),
            Self::Output(why) => text!(catalogue, "join-output", why = fault(why)),
            Self::Log(why) => text!(catalogue, "join-log", why = fault(why)),
            Self::Program { program, why } => {
                text!(catalogue, "join-program", program = program.clone(), why = io_words(catalogue, *why))
            }
            Self::Words { line, why } => {
                let why = match why {
                    WordsError::Empty => text!(catalogue, "words-empty"),
                    WordsError::OpenQuote => text!(catalogue, "words-open-quote"),
                    WordsError::OpenEscape => text!(catalogue, "words-open-escape"),
                };
                text!(catalogue, "join-words", line = line.clone(), why = why)
            }
            Self::Network { text, why } => {
                let why = network(catalogue, why);
                text!(catalogue, "join-network", text = text.clone(), why = why)
            }
            Self::Ports { text, most } => text!(catalogue, "join-ports", text = text.clone(), most = *most),
            Self::Truncated { peer } => text!(catalogue, "join-truncated", peer = peer.clone()),
            Self::Untrusted { peer, refusal } => trust::refusal(catalogue, peer, refusal),
            Self::ClientCert { peer } => text!(catalogue, "join-client-cert", peer = peer.clone()),
            Self::ClientCertRefused { peer, why } => {
                text!(catalogue, "join-client-cert-refused", peer = peer.clone(), why = why.clone())
            }
            Self::NotTls { peer, said } => text!(catalogue, "join-not-tls", peer = peer.clone(), said = said.clone()),
            Self::Tls { peer, why } => text!(catalogue, "join-tls", peer = peer.clone(), why = why.clone()),
            Self::Handshake { peer, time_max } => {
                text!(catalogue, "join-handshake", peer = peer.clone(), time = Span(*time_max).words(catalogue))
            }
            Self::Ws { peer, why } => why.message(catalogue, peer),
            Self::Setup(why) if is_exhausted(why) => {
                text!(catalogue, "join-setup", why = text!(catalogue, "listen-exhausted"))
            }
            Self::Setup(why) => text!(catalogue, "join-setup", why = io_words(catalogue, why.kind())),
        }
    }
}

fn dial_code(why: &DialError) -> u8 {
    match why.class() {
        DialClass::BadTarget => code::USAGE,
        DialClass::Source if matches!(why, DialError::SourceFamily { .. }) => code::USAGE,
        DialClass::Unresolved | DialClass::Refused | DialClass::Unreachable => code::UNAVAILABLE,
        DialClass::NoAnswer => code::NO_ANSWER,
        DialClass::NoPermission | DialClass::Source | DialClass::Stopped | DialClass::System => code::FAILED,
    }
}

fn dialling(catalogue: &Catalogue, why: &DialError, time_max: Duration) -> String {
    match why {
        DialError::BadTarget(why) => {
            text!(catalogue, "error-dial-target", why = address::endpoint(catalogue, why))
        }
        DialError::Resolve(why) => {
            text!(catalogue, "error-dial-target", why = address::resolving(catalogue, why))
        }
        DialError::SourceFamily { from, family } => {
            text!(catalogue, "error-dial-source", from = from.to_string(), family = family.to_string())
        }
        DialError::Failed { to, attempts } => {
            let is_unix = to.is_unix();
            let why = match attempts.as_slice() {
                [Attempt { cause: Cause::Refused, .. }] if is_unix => text!(catalogue, "dial-refused-unix"),
                attempts => attempted(catalogue, attempts, time_max),
            };
            text!(catalogue, "error-dial", to = to.to_string(), why = why)
        }
        other => text!(catalogue, "error-dial-target", why = other.to_string()),
    }
}

/// The cause once where it is the same for every address; else each address with its own.
fn attempted(catalogue: &Catalogue, attempts: &[Attempt], time_max: Duration) -> String {
    let words = |attempt: &Attempt| cause(catalogue, attempt.cause, time_max);
    match attempts {
        [first, rest @ ..] if rest.iter().all(|other| other.cause == first.cause) => words(first),
        _ => attempts.iter().map(|one| format!("{}: {}", one.to, words(one))).collect::<Vec<_>>().join("; "),
    }
}

fn cause(catalogue: &Catalogue, why: Cause, time_max: Duration) -> String {
    match why {
        Cause::Refused => text!(catalogue, "dial-refused"),
        Cause::Unreachable => text!(catalogue, "dial-unreachable"),
        Cause::NoAnswer => text!(catalogue, "dial-no-answer", time = Span(time_max).words(catalogue)),
        Cause::NoPermission => text!(catalogue, "dial-no-permission"),
        Cause::NoSuchSocket => text!(catalogue, "dial-no-such-socket"),
        Cause::WrongKind => text!(catalogue, "dial-wrong-kind"),
        Cause::NeedsZone => text!(catalogue, "dial-needs-zone"),
        Cause::SourceNotAvailable { from } => {
            text!(catalogue, "dial-source-not-available", from = from.ip().to_string())
        }
        Cause::SourceInUse { from } => text!(catalogue, "dial-source-in-use", port = from.port().to_string()),
        Cause::SourceNoPermission { from } => {
            text!(catalogue, "dial-source-no-permission", port = from.port().to_string())
        }
        Cause::NoLocalPort => text!(catalogue, "dial-no-local-port"),
        Cause::System { errno, .. } if is_exhausted(&io::Error::from_raw_os_error(errno)) => {
            text!(catalogue, "listen-exhausted")
        }
        Cause::System { call, errno } => {
            text!(catalogue, "system-says", call = call, why = io::Error::from_raw_os_error(errno).to_string())
        }
        other => other.to_string(),
    }
}
/// Why a text is no network.
pub(crate) fn network(catalogue: &Catalogue, why: &CidrError) -> String {
    match why {
        CidrError::BadBits { text, max } => text!(catalogue, "cidr-bad-bits", bits = text.clone(), most = *max),
        CidrError::HostBits { meant, .. } => text!(catalogue, "cidr-host-bits", meant = meant.to_string()),
        _ => text!(catalogue, "cidr-bad-address"),
    }
}
