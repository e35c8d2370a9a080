//! Certificates and keys from PEM files as openssl makes them.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::error::{CertError, Holds};

/// Bytes that a file of certificates or keys may have: 4 MiB, some twenty times the bundle of a whole system.
pub const FILE_BYTES_MAX: u64 = 4 << 20;

/// The whole file, if it is no larger than a file of certificates can be.
pub(crate) fn whole(file: &Path) -> Result<Vec<u8>, CertError> {
    let unreadable = |fault: io::Error| CertError::Unreadable { file: file.to_owned(), why: fault.kind() };
    from(File::open(file).map_err(unreadable)?, file)
}

fn from(source: impl Read, file: &Path) -> Result<Vec<u8>, CertError> {
    let unreadable = |fault: io::Error| CertError::Unreadable { file: file.to_owned(), why: fault.kind() };
    let mut bytes = Vec::new();
    source.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(CertError::TooLarge { file: file.to_owned() });
    }
    Ok(bytes)
}

/// The certificates of a file or, for `-`, of standard input: PEM, one or many, or one as DER.
///
/// # Errors
/// [`CertError::Unreadable`], [`CertError::TooLarge`], [`CertError::Damaged`], or [`CertError::NoCertificate`], which
/// says what the file holds in its place.
pub fn read_chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, CertError> {
    let bytes = if file == Path::new("-") { from(io::stdin().lock(), file)? } else { whole(file)? };
    if X509Certificate::from_der(&bytes).is_ok_and(|(rest, _)| rest.is_empty()) {
        return Ok(vec![CertificateDer::from(bytes)]);
    }
    chain(&bytes, file)
}

/// The certificates of a PEM text, in its order, each of which can be parsed.
pub(crate) fn chain(text: &[u8], file: &Path) -> Result<Vec<CertificateDer<'static>>, CertError> {
    // openssl's `-trustout` puts rules of its own behind the certificate, which nobody else reads.
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let found = found.map_err(|fault| damage(&fault, text, file))?;
    if found.is_empty() {
        return Err(CertError::NoCertificate { file: file.to_owned(), holds: holds(text) });
    }
    let is_whole = |der: &CertificateDer<'_>| X509Certificate::from_der(der).is_ok_and(|(rest, _)| rest.is_empty());
    if found.iter().all(is_whole) { Ok(found) } else { Err(CertError::Damaged { file: file.to_owned() }) }
}

/// The first private key of a PEM text: PKCS#1, PKCS#8 or SEC1.
pub(crate) fn key(text: &[u8], file: &Path) -> Result<PrivateKeyDer<'static>, CertError> {
    if contains(text, b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || contains(text, b"Proc-Type: 4,ENCRYPTED") {
        return Err(CertError::EncryptedKey { file: file.to_owned() });
    }
    PrivateKeyDer::from_pem_slice(text).map_err(|fault| match fault {
        pem::Error::NoItemsFound => CertError::NoKey { file: file.to_owned(), holds: holds(text) },
        fault => damage(&fault, text, file),
    })
}

/// A fault of PEM; binary data may look like one by chance.
fn damage(_: &pem::Error, text: &[u8], file: &Path) -> CertError {
    CertError::Damaged { file: file.to_owned() }.or_binary(text, file)
}

impl CertError {
    fn or_binary(self, text: &[u8], file: &Path) -> Self {
        match holds(text) {
            holds @ Holds::Binary => Self::NoCertificate { file: file.to_owned(), holds },
            _ => self,
        }
    }
}

/// What a text without the wanted item holds.
fn holds(text: &[u8]) -> Holds {
    // A SEQUENCE with a long length: every DER certificate, key and PKCS#12 begins so.
    if text.is_empty() {
        Holds::Empty
    } else if text.starts_with(&[0x30, 0x82]) || text.starts_with(&[0x30, 0x81]) {
        Holds::Binary
    } else if contains(text, b"PRIVATE KEY-----") {
        Holds::Key
    } else if contains(text, b"-----BEGIN CERTIFICATE-----") {
        Holds::Certificate
    } else if contains(text, b"CERTIFICATE REQUEST-----") {
        Holds::Request
    } else if contains(text, b"PUBLIC KEY-----") {
        Holds::PublicKey
    } else {
        Holds::Nothing
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
