//! What can be wrong with certificates, keys and the places where they lie.

use std::io;
use std::path::PathBuf;

use crate::authority::DAYS_MAX;
use crate::facts::utc;
use crate::names::NameProblem;
use crate::read::FILE_BYTES_MAX;
use crate::versions::TlsVersion;

/// Why there is no configuration, no certificate, or no place for one. Each names what it is about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertError {
    /// A file cannot be opened or read.
    #[error("{} cannot be read: {why}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        why: io::ErrorKind,
    },
    /// A file is larger than [`FILE_BYTES_MAX`].
    #[error("{} is larger than {FILE_BYTES_MAX} bytes, which no certificate file is", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
    },
    /// A file without a certificate in it.
    #[error("{} holds no certificate, but {holds}", file.display())]
    NoCertificate {
        /// The file.
        file: PathBuf,
        /// What it holds.
        holds: Holds,
    },
    /// A file without a private key in it.
    #[error("{} holds no private key, but {holds}", file.display())]
    NoKey {
        /// The file.
        file: PathBuf,
        /// What it holds.
        holds: Holds,
    },
    /// A file whose PEM or DER is broken.
    #[error("{} is damaged", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
    },
    /// A private key under a passphrase.
    #[error("the key in {} is encrypted", file.display())]
    EncryptedKey {
        /// The file.
        file: PathBuf,
    },
    /// A private key of a kind or size that cannot be used: RSA from 2048 bits, P-256, P-384 and Ed25519 can.
    #[error("the key in {} is of a kind that cannot be used", file.display())]
    UnsupportedKey {
        /// The file.
        file: PathBuf,
    },
    /// A key that belongs to another certificate.
    #[error("the key in {} does not fit the certificate in {}", key.display(), cert.display())]
    KeyMismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The key fits a certificate of the file, but not the first one.
    #[error("{} has its certificates in the wrong order: the first must be the one of the key", file.display())]
    LeafNotFirst {
        /// The certificate's file.
        file: PathBuf,
    },
    /// A certificate that is no longer valid.
    #[error("the certificate in {} expired on {}", file.display(), utc(*not_after))]
    Expired {
        /// The file.
        file: PathBuf,
        /// When it expired, in seconds since 1970.
        not_after: i64,
    },
    /// A certificate that is not valid yet.
    #[error("the certificate in {} is not valid before {}", file.display(), utc(*not_before))]
    NotYetValid {
        /// The file.
        file: PathBuf,
        /// When it becomes valid, in seconds since 1970.
        not_before: i64,
    },
    /// A server without a certificate.
    #[error("a server needs a certificate")]
    NoIdentity,
    /// The system has no certificates of authorities.
    #[error("this system has no certificates of authorities")]
    NoSystemRoots,
    /// A lowest version above the highest.
    #[error("no version of TLS is at least {min} and at most {max}")]
    Versions {
        /// The lowest.
        min: TlsVersion,
        /// The highest.
        max: TlsVersion,
    },
    /// A text that is no SHA-256 fingerprint.
    #[error("'{text}' is no SHA-256 fingerprint of 64 hex digits")]
    BadPin {
        /// The text.
        text: String,
    },
    /// The key log cannot be written.
    #[error("the key log {} cannot be written: {why}", file.display())]
    KeyLog {
        /// The file.
        file: PathBuf,
        /// What the system said.
        why: io::ErrorKind,
    },
    /// A text that is no name for a certificate.
    #[error("'{text}' is no name for a certificate: {why}")]
    BadName {
        /// The text.
        text: String,
        /// Why.
        why: NameProblem,
    },
    /// A server's certificate without a name.
    #[error("a certificate needs a name")]
    NoName,
    /// A certificate that would last for no day, or for too many.
    #[error("a certificate lasts from 1 to {DAYS_MAX} days, not {days}")]
    BadDays {
        /// The days.
        days: u32,
    },
    /// The authority is over, and with it whatever it has issued.
    #[error("the authority {} expired on {}", file.display(), utc(*not_after))]
    AuthorityExpired {
        /// The file of its certificate.
        file: PathBuf,
        /// When it expired, in seconds since 1970.
        not_after: i64,
    },
    /// The environment names no folder to keep anything in.
    #[error("neither XDG_DATA_HOME nor HOME names a folder")]
    NoDataFolder,
    /// A file or folder cannot be made or written.
    #[error("{} cannot be written: {why}", file.display())]
    Unwritable {
        /// The file or folder.
        file: PathBuf,
        /// What the system said.
        why: io::ErrorKind,
    },
    /// A file that would be overwritten.
    #[error("{} exists", file.display())]
    Exists {
        /// The file.
        file: PathBuf,
    },
    /// Another process has held a lock for too long.
    #[error("another process holds {}", file.display())]
    Locked {
        /// The lock.
        file: PathBuf,
    },
    /// The cryptographic library refused, which a working system does not make it do.
    #[error("the cryptographic library failed: {what}")]
    Library {
        /// What was tried.
        what: &'static str,
    },
}

/// What a file holds that was taken for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holds {
    /// Nothing that is known.
    Nothing,
    /// Not a byte.
    Empty,
    /// A certificate.
    Certificate,
    /// A private key.
    Key,
    /// A public key.
    PublicKey,
    /// A request for a certificate.
    Request,
    /// Binary DER (or PKCS#12) where PEM text is asked for.
    Binary,
}

impl std::fmt::Display for Holds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing of the kind",
            Self::Empty => "not a byte",
            Self::Certificate => "a certificate",
            Self::Key => "a private key",
            Self::PublicKey => "a public key",
            Self::Request => "a request for a certificate",
            Self::Binary => "binary data where PEM text is asked for",
        })
    }
}

/// Something that works and should be known all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// A private key that others than its owner may read.
    KeyReadable {
        /// The file.
        file: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A certificate that expires within [`crate::EXPIRES_SOON_DAYS`].
    ExpiresSoon {
        /// The file.
        file: PathBuf,
        /// When, in seconds since 1970.
        not_after: i64,
    },
    /// A certificate of the file that did not issue the one before it: many clients refuse such a chain.
    ChainDisorder {
        /// The file.
        file: PathBuf,
    },
}
