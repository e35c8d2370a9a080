//! Why a server was refused, kept for those who have to say it in words.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::CertificateDer;

use crate::facts::{CertFacts, describe_chain};
use crate::fingerprint::Fingerprint;

/// What a client's configuration remembers of the last server that it refused (or would have, trusting anybody).
///
/// One configuration has one: a program that reaches several servers at once takes a configuration for each.
#[derive(Clone, Debug, Default)]
pub struct Verdict(Arc<Mutex<Option<Refusal>>>);

impl Verdict {
    /// The last refusal; `None` if nobody was refused.
    pub fn refusal(&self) -> Option<Refusal> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, refusal: Refusal) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
    }
}

/// Who was refused, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The name or address that was meant to be reached; empty if only the proof of the key failed.
    pub name: String,
    /// The check that failed.
    pub why: Why,
    /// The certificates that the server showed, its own first.
    pub chain: Vec<CertificateDer<'static>>,
}

impl Refusal {
    /// What the certificates say.
    pub fn facts(&self) -> Vec<CertFacts> {
        describe_chain(&self.chain)
    }
}

/// The check that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Why {
    /// It is over.
    #[error("the certificate has expired")]
    Expired {
        /// When it ended, in seconds since 1970; `None` if the certificate that did is not known.
        not_after: Option<i64>,
    },
    /// It has not begun.
    #[error("the certificate is not valid yet")]
    NotYetValid {
        /// When it begins, in seconds since 1970; `None` if the certificate that does is not known.
        not_before: Option<i64>,
    },
    /// Nobody who is trusted has issued it.
    #[error("{issuer} is not trusted")]
    UnknownIssuer {
        /// Who issued the last certificate of the chain.
        issuer: String,
    },
    /// The server vouches for itself, and is not known.
    #[error("the certificate is self-signed")]
    SelfSigned,
    /// It is for other names.
    #[error("the certificate is not for this name")]
    NameMismatch {
        /// The names it is for.
        names: Vec<String>,
    },
    /// Its issuer has taken it back.
    #[error("the certificate has been revoked")]
    Revoked,
    /// A signature in the chain, or the server's proof that it holds the key, is false.
    #[error("a signature is false")]
    BadSignature,
    /// It cannot be parsed.
    #[error("the certificate cannot be read")]
    BadEncoding,
    /// It is for something else than servers.
    #[error("the certificate is not for servers")]
    NotForServers,
    /// An authority's certificate is shown as if it were a server's.
    #[error("the certificate is one of an authority")]
    Authority,
    /// It is of an X.509 version before 3, which has no names.
    #[error("the certificate is of version {version}")]
    OldVersion {
        /// The version.
        version: u32,
    },
    /// It is none of the pinned ones.
    #[error("the certificate has the fingerprint {seen}")]
    PinMismatch {
        /// The fingerprint that was shown.
        seen: Fingerprint,
    },
    /// Another rule of certificates is broken.
    #[error("{detail}")]
    Unusable {
        /// Which, in the words of the library.
        detail: String,
    },
}
