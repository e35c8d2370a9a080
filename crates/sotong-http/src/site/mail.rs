//! What a site asks its desks, and what they answer.
use super::Found;
use bytes::Bytes;
use sotong_session::{Desk, Source};
use std::{any::Any, fmt, ops::Range, sync::Arc};

/// The desk that looks files up and reads them.
pub const FILES: Desk = Desk(0);
/// The desk that takes files.
pub const UPLOADS: Desk = Desk(1);
/// The desk that checks passwords.
pub const PASSWORDS: Desk = Desk(2);

/// Mail between a site's sessions and its desks.
#[derive(Clone, Debug)]
pub enum Mail {
    /// To a desk.
    Ask(Ask),
    /// From a desk.
    Answer(Answer),
}

/// What a desk is asked.
#[derive(Clone)]
pub enum Ask {
    /// What is there? [`FILES`] puts it on the shelf under `key` and answers [`Answer::Found`].
    Look {
        /// Under which key the answer is kept.
        key: Arc<[u8]>,
        /// Names from the served folder down, joined by `/`.
        names: Arc<[u8]>,
        /// Whether a slash stood behind them.
        is_folder: bool,
        /// In which of the site's languages a page is made.
        language: usize,
    },
    /// Read these bytes, at most 64 KiB. [`FILES`] answers [`Answer::Piece`].
    Read {
        /// The file.
        file: Arc<dyn Source>,
        /// Which bytes.
        range: Range<u64>,
    },
    /// Begin to take a file. [`UPLOADS`] answers [`Answer::Begun`].
    Begin {
        /// Where it is to be in the end.
        names: Arc<[u8]>,
    },
    /// More of it. [`UPLOADS`] answers [`Answer::Written`].
    Write {
        /// Which file.
        upload: Upload,
        /// The bytes.
        bytes: Bytes,
    },
    /// It is whole. [`UPLOADS`] answers [`Answer::Stored`].
    Finish {
        /// Which file.
        upload: Upload,
    },
    /// It will not become whole. The answer is of no interest.
    Abandon {
        /// Which file.
        upload: Upload,
    },
    /// Is this somebody's name and password? [`PASSWORDS`] answers [`Answer::Checked`].
    Check(Credentials),
}

/// What a desk answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// What there is.
    Found {
        /// What was asked for.
        key: Arc<[u8]>,
        /// What is there.
        found: Found,
    },
    /// Bytes of a file, all that were asked for; `None` if they cannot be read.
    Piece(Option<Bytes>),
    /// A file can be taken, or not.
    Begun(Result<Upload, Refusal>),
    /// Some of it has been written, or not.
    Written(Result<(), Refusal>),
    /// It is there, and whether it took another's place; or it is not.
    Stored(Result<bool, Refusal>),
    /// Whether name and password are somebody's.
    Checked(bool),
}

/// Why a file cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is one of that name, and it is not to be overwritten; or a folder.
    Exists,
    /// There is no such folder to put it in.
    NoFolder,
    /// This process may not write there, or the name cannot be one.
    Forbidden,
    /// The disk is full.
    Full,
    /// The system failed.
    Failed,
}

/// A file that is being taken, as its desk knows it. It is thrown away if it is dropped before it is whole.
#[derive(Clone)]
pub struct Upload(pub Arc<dyn Any + Send + Sync>);

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upload")
    }
}

/// A name and a password, as they came. They are never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `name:password`.
    pub(crate) pair: Arc<[u8]>,
}

impl Credentials {
    /// The name; no colon can be in it.
    pub fn name(&self) -> &[u8] {
        self.pair.split(|byte| *byte == b':').next().unwrap_or_default()
    }
    /// The password.
    pub fn password(&self) -> &[u8] {
        self.pair.get(self.name().len() + 1..).unwrap_or_default()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Look { names, is_folder, .. } => {
                write!(f, "Look({:?}, {is_folder})", String::from_utf8_lossy(names))
            }
            Self::Read { range, .. } => write!(f, "Read({range:?})"),
            Self::Begin { names } => write!(f, "Begin({:?})", String::from_utf8_lossy(names)),
            Self::Write { bytes, .. } => write!(f, "Write({})", bytes.len()),
            Self::Finish { .. } => f.write_str("Finish"),
            Self::Abandon { .. } => f.write_str("Abandon"),
            Self::Check(_) => f.write_str("Check"),
        }
    }
}
