//! A self-signed certificate that outlives the server it was made for.

use std::path::Path;

use crate::error::CertError;
use crate::facts::{CertFacts, DAY, describe, unix_now};
use crate::identity::{Identity, IdentityFiles};
use crate::making::{self, KeyType};
use crate::names::HostName;
use crate::store::{self, Lock, Overwrite};

/// How long it lasts. Whoever trusts it does so by its fingerprint, which changes with each new one.
const LASTING_DAYS: u32 = 3_650;
/// It is made anew when fewer days are left.
const RENEWED_DAYS: i64 = 30;

/// A server's own certificate, trusted by its fingerprint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastingIdentity {
    /// Where it is, its key in the same file.
    pub files: IdentityFiles,
    /// What it says; its fingerprint is what a client pins.
    pub facts: CertFacts,
    /// Whether it was made just now.
    pub is_new: bool,
}

/// The self-signed certificate of a folder, with its key in one file `self-signed.pem` (mode 0600): made where there is none, or where
/// it ends within 30 days; otherwise as it is, whatever the names (those count when it is made, and clients pin it).
///
/// # Errors
/// What is wrong with the folder or with a file in it, by its name.
pub fn identity_that_lasts(folder: &Path, names: &[HostName]) -> Result<LastingIdentity, CertError> {
    // One file, so that certificate and key are replaced by one rename.
    let files = IdentityFiles { cert: folder.join("self-signed.pem"), key: None };
    if let Some(facts) = usable(&files)? {
        return Ok(LastingIdentity { files, facts, is_new: false });
    }
    store::private_folder(folder)?;
    let _lock = Lock::take(folder)?;
    if let Some(facts) = usable(&files)? {
        return Ok(LastingIdentity { files, facts, is_new: false });
    }
    let first = names.first().ok_or(CertError::NoName)?.to_string();
    let mut params = making::params(&first, unix_now(), LASTING_DAYS)?;
    making::as_server(&mut params, names)?;
    let key = KeyType::Ecdsa.generate()?;
    let made = params.self_signed(&key).map_err(|_| CertError::Library { what: "a certificate" })?;
    let facts = describe(made.der()).ok_or(CertError::Library { what: "a certificate" })?;
    let text = made.pem() + &key.serialize_pem();
    store::Staged::write(&files.cert, text.as_bytes(), 0o600)?.place(Overwrite::Force)?;
    Ok(LastingIdentity { files, facts, is_new: true })
}

/// What the certificate says if it is there and lasts for a while. One that is broken is told, and not thrown away: it may
/// be pinned somewhere, and its owner decides.
fn usable(files: &IdentityFiles) -> Result<Option<CertFacts>, CertError> {
    if !files.cert.exists() {
        return Ok(None);
    }
    match Identity::load(files) {
        Ok(identity) => {
            let is_lasting = identity.facts.not_after - unix_now() >= RENEWED_DAYS * DAY;
            Ok(is_lasting.then_some(identity.facts))
        }
        Err(CertError::Expired { .. }) => Ok(None),
        Err(fault) => Err(fault),
    }
}
