//! Everything the command can fail with: the one place where a failure becomes an exit code and words.

mod address;
pub(crate) mod certs;
mod joining;
mod store;
mod trust;
mod ws;

use std::io;

use rustix::io::Errno;
use sotong_certs::CertError;
use sotong_desks::{RootError, StoreError, TableError};
use sotong_drivers::processes::WorkerError;
use sotong_drivers::{Missing, ModelError, Obstacle, ServeError};
use sotong_net::endpoint::EndpointError;
use sotong_net::listen::{ListenError, ListenProblem};
use sotong_net::passed::PassedError;
use sotong_session::LimitsError;

pub(crate) use self::address::endpoint;
pub(crate) use self::joining::{JoinFailure, network};
pub(crate) use self::trust::reason as refused;
pub(crate) use self::ws::WsFailure;
use crate::catalogue::{Catalogue, text};
use crate::config::fault::Faults;
use crate::config::sts::StsFault;
use crate::units::BadValue;

/// Why the command ends with something else than 0.
#[derive(Debug)]
pub(crate) enum Failure {
    Usage(Usage),
    /// A text that is no address.
    Address {
        text: String,
        why: EndpointError,
    },
    Listen(ListenError),
    /// Listeners that a service manager passed, and that cannot be used.
    Passed(PassedError),
    /// A worker process that cannot understand its supervisor.
    Worker(WorkerError),
    /// A service that the model cannot run.
    Model {
        service: &'static str,
        why: ModelError,
    },
    /// An address of datagrams for a service of streams.
    StreamsOnly {
        service: &'static str,
        address: String,
    },
    /// An address of WebSockets for what has no messages.
    NoMessages {
        command: &'static str,
        address: String,
    },
    /// An address that asks for WebSocket alone, where it is spoken beside the rest; what is written instead.
    SpeaksWs {
        address: String,
        instead: String,
    },
    /// A folder that cannot be served.
    Folder {
        path: String,
        why: RootError,
    },
    /// A file that is to be read at start.
    Read {
        path: String,
        why: ReadProblem,
    },
    /// A configuration file with mistakes.
    Config(Box<Faults>),
    /// Clients of a chat would be told to come where they cannot.
    Sts(StsFault),
    /// What is kept of a chat cannot be read, or not be written.
    Store(StoreError),
    /// A server that listened could not start to serve, or broke down.
    Serve(ServeError),
    /// A second signal: left without waiting.
    Signal(i32),
    /// `connect` or `listen` could not join its ends, or they came apart.
    Join(JoinFailure),
    /// A certificate, a key or a name for one that cannot be used.
    Cert(CertError),
    /// An own output could not be written: a man page, a log file.
    Write {
        what: String,
        why: io::ErrorKind,
    },
}

/// What is wrong with a file.
#[derive(Debug)]
pub(crate) enum ReadProblem {
    Io(io::ErrorKind),
    /// As a password file.
    Passwords(TableError),
}

/// A command line that cannot be read, or asks for what there is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Usage {
    UnknownFlag {
        flag: String,
        like: Option<String>,
    },
    UnexpectedValue {
        value: String,
    },
    UnknownCommand {
        command: String,
        like: Option<String>,
    },
    /// A flag without its value, or an argument that must be there.
    MissingValue {
        flag: String,
    },
    MissingArgument {
        names: String,
    },
    BadChoice {
        flag: String,
        value: String,
        choices: String,
        like: Option<String>,
    },
    BadValue {
        flag: String,
        value: String,
        why: BadValue,
    },
    ValueNotTaken {
        flag: String,
    },
    Twice {
        flag: String,
    },
    Conflict {
        flag: String,
        other: String,
    },
    NotUnicode,
    Limits(LimitsError),
    /// A host that cannot be a name in a certificate.
    BadServerName {
        text: String,
    },
    /// `--starttls` where TLS is spoken from the beginning, or with datagrams.
    StartTls {
        address: String,
    },
    /// A flag of TLS without an address where it is spoken.
    NeedsTls {
        flag: &'static str,
    },
    /// A flag of WebSocket without an address where it is spoken.
    NeedsWs {
        flag: &'static str,
    },
    /// A flag of `ws://` addresses for the chat, which has none of these.
    WsInFile {
        flag: &'static str,
    },
    /// What cannot stand in a request for a WebSocket.
    WsRequest {
        text: String,
    },
    /// A flag that means nothing without another.
    Needs {
        flag: &'static str,
        other: &'static str,
    },
    /// Another number of keys than of certificates.
    Keys {
        certs: usize,
        keys: usize,
    },
    /// A name that no protocol of ALPN can have.
    Alpn {
        name: String,
    },
}

/// Exit codes beside 0 and those of signals (128 + number), after `sysexits.h` where it has one.
pub(crate) mod code {
    pub(crate) const FAILED: u8 = 1;
    pub(crate) const USAGE: u8 = 2;
    pub(crate) const DATA: u8 = 65;
    pub(crate) const UNAVAILABLE: u8 = 69;
    pub(crate) const NO_ANSWER: u8 = 75;
    pub(crate) const PROTOCOL: u8 = 76;
    pub(crate) const CERTIFICATE: u8 = 77;
    pub(crate) const CONFIG: u8 = 78;
}

impl From<CertError> for Failure {
    fn from(why: CertError) -> Self {
        Self::Cert(why)
    }
}

impl Failure {
    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Usage(_)
            | Self::Address { .. }
            | Self::StreamsOnly { .. }
            | Self::NoMessages { .. }
            | Self::SpeaksWs { .. } => code::USAGE,
            Self::Listen(ListenError { why: ListenProblem::Resolve(_), .. }) => code::UNAVAILABLE,
            Self::Serve(ServeError::Unavailable { .. })
            | Self::Passed(_)
            | Self::Model { .. }
            | Self::Folder { .. }
            | Self::Read { .. }
            | Self::Config(_)
            | Self::Sts(_)
            | Self::Worker(_) => code::CONFIG,
            Self::Store(why) => store::code(why),
            Self::Listen(_) | Self::Serve(_) | Self::Write { .. } => code::FAILED,
            Self::Join(why) => why.code(),
            Self::Cert(why) => certs::code(why),
            Self::Signal(number) => u8::try_from(128 + number).unwrap_or(code::FAILED),
        }
    }

    /// One line that names the cause and what to do.
    pub(crate) fn message(&self, catalogue: &Catalogue) -> String {
        match self {
            Self::Usage(usage) => usage.message(catalogue),
            Self::Address { text, why } => {
                let why = address::endpoint(catalogue, why);
                text!(catalogue, "error-address", text = text.clone(), why = why)
            }
            Self::Listen(ListenError { at, why }) => {
                text!(catalogue, "error-listen", at = at.to_string(), why = address::listening(catalogue, at, why))
            }
            Self::Passed(why) => text!(catalogue, "error-passed", why = address::passing(catalogue, why)),
            Self::Worker(why) => text!(catalogue, "error-worker", why = why.to_string()),
            Self::Model { service, why } => model(catalogue, service, *why),
            Self::StreamsOnly { service, address } => {
                text!(catalogue, "error-streams-only", service = *service, address = address.clone())
            }
            Self::NoMessages { command, address } => {
                text!(catalogue, "error-no-messages", command = *command, address = address.clone())
            }
            Self::SpeaksWs { address, instead } => {
                text!(catalogue, "error-speaks-ws", address = address.clone(), instead = instead.clone())
            }
            Self::Read { path, why } => {
                let why = match why {
                    ReadProblem::Io(why) => io_words(catalogue, *why),
                    ReadProblem::Passwords(TableError::Line(line)) => {
                        text!(catalogue, "passwords-line", line = *line)
                    }
                    ReadProblem::Passwords(TableError::Twice(line)) => {
                        text!(catalogue, "passwords-twice", line = *line)
                    }
                    ReadProblem::Passwords(TableError::Empty) => text!(catalogue, "passwords-empty"),
                    ReadProblem::Passwords(why) => why.to_string(),
                };
                text!(catalogue, "error-read", path = path.clone(), why = why)
            }
            Self::Sts(why) => text!(catalogue, "error-sts", why = why.message(catalogue)),
            Self::Store(why) => store::message(catalogue, why),
            Self::Config(faults) => faults.message(catalogue),
            Self::Folder { path, why } => folder(catalogue, path, why),
            Self::Serve(ServeError::Limits(why)) => Usage::Limits(*why).message(catalogue),
            Self::Serve(ServeError::Unavailable { model, missing: why }) => {
                text!(catalogue, "error-model-unavailable", model = model.name(), why = missing(catalogue, *why))
            }
            Self::Serve(why) => text!(catalogue, "error-serve", why = serving(catalogue, why)),
            Self::Signal(number) => text!(catalogue, "error-signal", number = *number),
            Self::Join(why) => why.message(catalogue),
            Self::Cert(why) => certs::message(catalogue, why),
            Self::Write { what, why } => {
                text!(catalogue, "error-write", what = what.clone(), why = io_words(catalogue, *why))
            }
        }
    }
}

impl Usage {
    fn message(&self, catalogue: &Catalogue) -> String {
        match self {
            Self::UnknownFlag { flag, like } => {
                similar(catalogue, text!(catalogue, "usage-unknown-flag", flag = flag.clone()), like.as_ref())
            }
            Self::UnexpectedValue { value } => text!(catalogue, "usage-unexpected-value", value = value.clone()),
            Self::UnknownCommand { command, like } => {
                similar(catalogue, text!(catalogue, "usage-unknown-command", command = command.clone()), like.as_ref())
            }
            Self::MissingValue { flag } => text!(catalogue, "usage-missing-value", flag = flag.clone()),
            Self::MissingArgument { names } => text!(catalogue, "usage-missing-argument", names = names.clone()),
            Self::BadChoice { flag, value, choices, like } => {
                let text = text!(
                    catalogue,
                    "usage-bad-choice",
                    flag = flag.clone(),
                    value = value.clone(),
                    choices = choices.clone(),
                );
                similar(catalogue, text, like.as_ref())
            }
            Self::BadValue { flag, value, why } => {
                let why = value_words(catalogue, *why);
                text!(catalogue, "usage-bad-value", flag = flag.clone(), value = value.clone(), why = why)
            }
            Self::ValueNotTaken { flag } => text!(catalogue, "usage-value-not-taken", flag = flag.clone()),
            Self::Twice { flag } => text!(catalogue, "usage-twice", flag = flag.clone()),
            Self::Conflict { flag, other } => {
                text!(catalogue, "usage-conflict", flag = flag.clone(), other = other.clone())
            }
            Self::NotUnicode => text!(catalogue, "usage-not-unicode"),
            Self::NeedsTls { flag } => text!(catalogue, "usage-needs-tls", flag = *flag),
            Self::NeedsWs { flag } => text!(catalogue, "usage-needs-ws", flag = *flag),
            Self::WsInFile { flag } => text!(catalogue, "usage-ws-in-file", flag = *flag),
            Self::WsRequest { text } => text!(catalogue, "usage-ws-request", text = text.clone()),
            Self::BadServerName { text } => text!(catalogue, "usage-server-name", text = text.clone()),
            Self::StartTls { address } => text!(catalogue, "usage-starttls", address = address.clone()),
            Self::Needs { flag, other } => text!(catalogue, "usage-needs", flag = *flag, other = *other),
            Self::Keys { certs, keys } => text!(catalogue, "usage-keys", certs = *certs, keys = *keys),
            Self::Alpn { name } => text!(catalogue, "usage-alpn", name = name.clone()),
            Self::Limits(LimitsError::Marks { low, high, hard }) => {
                text!(catalogue, "usage-limits-marks", low = *low, high = *high, hard = *hard)
            }
            Self::Limits(LimitsError::Zero(name)) => {
                text!(catalogue, "usage-limits-zero", flag = format!("--{}", name.replace('_', "-")))
            }
        }
    }
}

/// What a value should have been.
pub(crate) fn value_words(catalogue: &Catalogue, why: BadValue) -> String {
    match why {
        BadValue::Size => text!(catalogue, "usage-why-size"),
        BadValue::Time => text!(catalogue, "usage-why-time"),
        BadValue::NoTime => text!(catalogue, "usage-why-no-time"),
        BadValue::Fingerprint => text!(catalogue, "usage-why-fingerprint"),
        BadValue::HostName => text!(catalogue, "usage-why-host-name"),
        BadValue::KeyLog => text!(catalogue, "usage-why-keylog"),
        BadValue::ServerName => text!(catalogue, "usage-why-server-name"),
        BadValue::NetworkName => text!(catalogue, "usage-why-network-name"),
        BadValue::RoomName => text!(catalogue, "usage-why-room-name"),
        BadValue::TooLarge => text!(catalogue, "usage-why-too-large"),
        BadValue::Range { low, high } => text!(catalogue, "usage-why-range", low = low, high = high),
    }
}

pub(crate) fn similar(catalogue: &Catalogue, message: String, like: Option<&String>) -> String {
    match like {
        Some(like) => format!("{message} {}", text!(catalogue, "usage-similar", like = like.clone())),
        None => message,
    }
}

/// Why a folder cannot be served.
fn folder(catalogue: &Catalogue, path: &str, why: &RootError) -> String {
    match why {
        RootError::Unconfined(why) => text!(catalogue, "error-folder-unconfined", why = why.to_string()),
        RootError::Open(why) => {
            text!(catalogue, "error-folder", path = path.to_owned(), why = io_words(catalogue, why.kind()))
        }
        other => text!(catalogue, "error-folder", path = path.to_owned(), why = other.to_string()),
    }
}

/// Why a server broke down.
fn serving(catalogue: &Catalogue, why: &ServeError) -> String {
    match why {
        ServeError::System { source, .. } if is_exhausted(source) => text!(catalogue, "listen-exhausted"),
        other => other.to_string(),
    }
}

/// Whether the limit of descriptors, of the process or of the system, is reached.
fn is_exhausted(fault: &io::Error) -> bool {
    let reached = [Errno::MFILE, Errno::NFILE];
    fault.raw_os_error().is_some_and(|number| reached.iter().any(|errno| errno.raw_os_error() == number))
}

/// Why a service cannot run under a model, and under which it can.
fn model(catalogue: &Catalogue, service: &'static str, why: ModelError) -> String {
    let able: Vec<_> = ModelError::able().into_iter().map(|model| format!("--model {model}")).collect();
    let (model, able) = (why.model.name(), able.join(", "));
    match why.obstacle {
        Obstacle::OneAtATime => {
            text!(catalogue, "error-model-one-at-a-time", service = service, model = model, able = able)
        }
        Obstacle::MemoryApart => {
            text!(catalogue, "error-model-memory-apart", service = service, model = model, able = able)
        }
    }
}

/// What io_uring lacks here.
pub(crate) fn missing(catalogue: &Catalogue, why: Missing) -> String {
    match why {
        Missing::Forbidden => text!(catalogue, "missing-forbidden"),
        Missing::Absent => text!(catalogue, "missing-absent"),
        Missing::Memory => text!(catalogue, "missing-memory"),
        Missing::Lacks(what) => text!(catalogue, "missing-lacks", what = what),
        other => other.to_string(),
    }
}

/// What the system said, in the reader's language where the catalogue has it.
pub(crate) fn io_words(catalogue: &Catalogue, why: io::ErrorKind) -> String {
    match why {
        io::ErrorKind::NotFound => text!(catalogue, "io-not-found"),
        io::ErrorKind::PermissionDenied => text!(catalogue, "io-permission"),
        io::ErrorKind::StorageFull => text!(catalogue, "io-storage-full"),
        io::ErrorKind::IsADirectory => text!(catalogue, "io-is-folder"),
        io::ErrorKind::NotADirectory => text!(catalogue, "io-no-folder"),
        io::ErrorKind::ReadOnlyFilesystem => text!(catalogue, "io-read-only"),
        other => other.to_string(),
    }
}
