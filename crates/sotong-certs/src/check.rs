//! Whether a certificate is fit to be served: dates, chain, key.

use std::path::Path;

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::error::CertError;
use crate::facts::{CertFacts, DAY, describe, describe_chain, unix_now};
use crate::identity::{self, IdentityFiles, issued};
use crate::read;

/// What a file holds, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The certificates of the file, the one to be served first; never empty.
    pub chain: Vec<CertFacts>,
    /// What is wrong; nothing if it is fit.
    pub findings: Vec<Finding>,
}

/// Something wrong with a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// It is over.
    Expired {
        /// Whose certificate.
        subject: String,
        /// When it ended, in seconds since 1970.
        not_after: i64,
    },
    /// It will be over within the days that were asked for.
    Expiring {
        /// Whose certificate.
        subject: String,
        /// When it ends, in seconds since 1970.
        not_after: i64,
    },
    /// It has not begun.
    NotYetValid {
        /// Whose certificate.
        subject: String,
        /// When it begins, in seconds since 1970.
        not_before: i64,
    },
    /// The certificate of its issuer is neither in the file nor known to this system.
    Incomplete {
        /// Who is missing.
        issuer: String,
    },
    /// A certificate of the file did not issue the one before it.
    Disorder {
        /// Whose certificate stands in the wrong place.
        subject: String,
    },
    /// It is of an X.509 version before 3, which most clients refuse.
    OldVersion {
        /// Whose certificate.
        subject: String,
        /// The version.
        version: u32,
    },
    /// It names no host, mail address or URI but in its subject, where clients do not look.
    NoNames {
        /// Whose certificate.
        subject: String,
    },
}

/// Checks the certificate of a file (`-` is standard input), with its chain, and its key if one is given.
///
/// A chain is whole if it ends with a self-signed certificate, or below one that the system or `also_known` (PEM or DER
/// files' certificates) has.
///
/// # Errors
/// What is wrong with a file, by its name; [`CertError::KeyMismatch`] if the key is another one's.
pub fn check(
    file: &Path,
    key: Option<&Path>,
    days: u32,
    also_known: &[CertificateDer<'static>],
) -> Result<Checked, CertError> {
    let chain = read::read_chain(file)?;
    if let Some(key) = key {
        let files = IdentityFiles { cert: file.to_owned(), key: Some(key.to_owned()) };
        identity::key_that_fits(&read::whole(key)?, &files, &chain)?;
    }
    let facts = describe_chain(&chain);
    let leaf = facts.first().ok_or_else(|| CertError::Damaged { file: file.to_owned() })?;
    let mut findings = Vec::new();
    let now = unix_now();
    for facts in &facts {
        findings.extend(date(facts, now, i64::from(days) * DAY));
    }
    let subject = leaf.subject.clone();
    if leaf.version < 3 {
        findings.push(Finding::OldVersion { subject, version: leaf.version });
    } else if leaf.names.is_empty() && leaf.for_servers && !leaf.is_ca {
        findings.push(Finding::NoNames { subject });
    }
    let whole = chain.windows(2).position(|pair| !issued(&pair[1], &pair[0]));
    match whole {
        Some(at) => findings.push(Finding::Disorder { subject: facts[at + 1].subject.clone() }),
        None => findings.extend(missing_issuer(&chain, also_known).map(|issuer| Finding::Incomplete { issuer })),
    }
    Ok(Checked { chain: facts, findings })
}

fn date(facts: &CertFacts, now: i64, ahead: i64) -> Option<Finding> {
    let subject = facts.subject.clone();
    let (not_before, not_after) = (facts.not_before, facts.not_after);
    if now > not_after {
        Some(Finding::Expired { subject, not_after })
    } else if now < not_before {
        Some(Finding::NotYetValid { subject, not_before })
    } else if now + ahead > not_after {
        Some(Finding::Expiring { subject, not_after })
    } else {
        None
    }
}

/// Who issued the last certificate of a chain, if that one's certificate is nowhere to be found.
fn missing_issuer(chain: &[CertificateDer<'static>], also_known: &[CertificateDer<'static>]) -> Option<String> {
    let last = chain.last()?;
    let facts = describe(last)?;
    if facts.is_self_issued || also_known.iter().any(|known| issued(known, last)) {
        return None;
    }
    let (_, parsed) = X509Certificate::from_der(last).ok()?;
    let is_named = |known: &CertificateDer<'_>| {
        X509Certificate::from_der(known).is_ok_and(|(_, known)| known.subject().as_raw() == parsed.issuer().as_raw())
    };
    let system = rustls_native_certs::load_native_certs().certs;
    (!system.iter().any(|known| is_named(known) && issued(known, last))).then_some(facts.issuer)
}
