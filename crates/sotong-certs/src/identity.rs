//! A certificate with its key, from files.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::error::{CertError, Warning};
use crate::facts::{CertFacts, DAY, describe, unix_now};
use crate::{provider, read};

/// A certificate that expires within these days is warned of at start.
pub const EXPIRES_SOON_DAYS: i64 = 14;

/// Where a certificate and its key are: PEM files as openssl makes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityFiles {
    /// The certificate, followed by those that issued it.
    pub cert: PathBuf,
    /// The private key; `None` if it stands in the file of the certificate.
    pub key: Option<PathBuf>,
}

impl IdentityFiles {
    fn key_file(&self) -> &Path {
        self.key.as_deref().unwrap_or(&self.cert)
    }
}

/// A certificate with its key, ready to be shown.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) key: Arc<CertifiedKey>,
    pub(crate) facts: CertFacts,
    pub(crate) warnings: Vec<Warning>,
}

impl Identity {
    /// Reads and checks everything that would otherwise go wrong with the first peer.
    pub(crate) fn load(files: &IdentityFiles) -> Result<Self, CertError> {
        let text = read::whole(&files.cert)?;
        let chain = read::chain(&text, &files.cert)?;
        let key_text = match &files.key {
            Some(file) => read::whole(file)?,
            None => text,
        };
        let key = key_that_fits(&key_text, files, &chain)?;
        let facts = describe(&chain[0]).ok_or_else(|| CertError::Damaged { file: files.cert.clone() })?;
        let now = unix_now();
        let file = files.cert.clone();
        if now > facts.not_after {
            return Err(CertError::Expired { file, not_after: facts.not_after });
        }
        if now < facts.not_before {
            return Err(CertError::NotYetValid { file, not_before: facts.not_before });
        }
        let warnings = warnings(files, &facts, &chain, now);
        Ok(Self { key: Arc::new(CertifiedKey::new(chain, key)), facts, warnings })
    }
}

/// The key of a text, if it is that of the first certificate.
pub(crate) fn key_that_fits(
    text: &[u8],
    files: &IdentityFiles,
    chain: &[CertificateDer<'static>],
) -> Result<Arc<dyn rustls::sign::SigningKey>, CertError> {
    let file = files.key_file();
    let key = read::key(text, file)?;
    let key = provider().key_provider.load_private_key(key);
    let key = key.map_err(|_| CertError::UnsupportedKey { file: file.to_owned() })?;
    let public = key.public_key().ok_or_else(|| CertError::UnsupportedKey { file: file.to_owned() })?;
    let fits = |der: &CertificateDer<'_>| {
        X509Certificate::from_der(der).is_ok_and(|(_, cert)| cert.public_key().raw == public.as_ref())
    };
    if fits(&chain[0]) {
        Ok(key)
    } else if chain.iter().any(fits) {
        Err(CertError::LeafNotFirst { file: files.cert.clone() })
    } else {
        Err(CertError::KeyMismatch { cert: files.cert.clone(), key: file.to_owned() })
    }
}

fn warnings(files: &IdentityFiles, facts: &CertFacts, chain: &[CertificateDer<'_>], now: i64) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if let Some(mode) = others_may_read(files.key_file()) {
        warnings.push(Warning::KeyReadable { file: files.key_file().to_owned(), mode });
    }
    if facts.not_after - now < EXPIRES_SOON_DAYS * DAY {
        warnings.push(Warning::ExpiresSoon { file: files.cert.clone(), not_after: facts.not_after });
    }
    if !chain.windows(2).all(|pair| issued(&pair[1], &pair[0])) {
        warnings.push(Warning::ChainDisorder { file: files.cert.clone() });
    }
    warnings
}

/// The permission bits of a file that its group or everybody may read.
pub(crate) fn others_may_read(file: &Path) -> Option<u32> {
    let mode = file.metadata().ok()?.permissions().mode() & 0o777;
    (mode & 0o044 != 0).then_some(mode)
}

/// Whether one certificate signed the other.
pub(crate) fn issued(issuer: &CertificateDer<'_>, cert: &CertificateDer<'_>) -> bool {
    let (Ok((_, issuer)), Ok((_, cert))) = (X509Certificate::from_der(issuer), X509Certificate::from_der(cert)) else {
        return false;
    };
    issuer.subject().as_raw() == cert.issuer().as_raw() && cert.verify_signature(Some(issuer.public_key())).is_ok()
}
