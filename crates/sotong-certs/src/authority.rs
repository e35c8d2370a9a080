//! The local authority: made once, kept in a folder of its own, and what it issues.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{Issuer, KeyPair};
use rustls::pki_types::CertificateDer;

use crate::error::{CertError, Warning};
use crate::facts::{CertFacts, describe, unix_now};
use crate::fingerprint::Fingerprint;
use crate::making::{self, KeyType};
use crate::names::{self, HostName};
use crate::store::{self, Lock, Overwrite};
use crate::{identity, read};

/// How long the authority lasts.
const AUTHORITY_DAYS: u32 = 3_650;
/// Days that an issued certificate lasts if nothing else is asked for.
pub const DAYS_DEFAULT: u32 = 397;
/// Days that it may last: some systems refuse what is valid for longer.
pub const DAYS_MAX: u32 = 825;
/// Certificates that are remembered as issued. Beyond that, the one that ends first is forgotten (it stays valid).
const RECORDS_MAX: usize = 1_000;

/// The authority, with its key in memory.
pub struct Authority {
    folder: PathBuf,
    pem: String,
    facts: CertFacts,
    issuer: Issuer<'static, KeyPair>,
    is_new: bool,
}

/// What is to be issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// For whom.
    pub holder: Holder,
    /// For how many days, from 1 to [`DAYS_MAX`]; never longer than the authority lasts.
    pub days: u32,
    /// The kind of its key.
    pub key: KeyType,
}

/// For whom a certificate is issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A server with these names, one at least.
    Server(Vec<HostName>),
    /// A client with this name: 1 to 64 characters that can be shown.
    Client(String),
}

/// A certificate that was issued and written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The file of the certificate and, behind it, the authority's.
    pub cert: PathBuf,
    /// The file of its key.
    pub key: PathBuf,
    /// What it says.
    pub facts: CertFacts,
}

/// A certificate that was issued once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it was written; it may have gone since.
    pub file: PathBuf,
    /// What it says.
    pub facts: CertFacts,
}

impl Record {
    /// Whether the file still holds it, and not another one or nothing.
    pub fn is_there(&self) -> bool {
        read::read_chain(&self.file).is_ok_and(|chain| Fingerprint::of(&chain[0]) == self.facts.fingerprint)
    }
}

/// The folder of the authority within the data folder.
pub fn authority_folder(data: &Path) -> PathBuf {
    data.join("authority")
}

/// The file of the authority's certificate, in its folder.
pub fn authority_file(folder: &Path) -> PathBuf {
    folder.join("ca.pem")
}

impl Authority {
    /// The authority of a folder, made if there is none yet. Of several processes that come first, one makes it.
    ///
    /// # Errors
    /// [`CertError::AuthorityExpired`], or what is wrong with a file or the folder, by its name.
    pub fn open(folder: &Path) -> Result<Self, CertError> {
        let cert = authority_file(folder);
        if cert.exists() {
            return Self::load(folder, false);
        }
        store::private_folder(folder)?;
        let _lock = Lock::take(folder)?;
        if cert.exists() {
            return Self::load(folder, false);
        }
        let host = making::host_name().map(|name| format!(" ({name})")).filter(|host| host.len() <= 40);
        let mut params =
            making::params(&format!("Sotong local authority{}", host.unwrap_or_default()), unix_now(), AUTHORITY_DAYS)?;
        making::as_authority(&mut params);
        let key = KeyType::Ecdsa.generate()?;
        let made = params.self_signed(&key).map_err(|_| CertError::Library { what: "the authority" })?;
        // A key without a certificate is what a crash left behind; nothing was issued with it.
        store::pair((&cert, &made.pem()), (&key_file(folder), &key.serialize_pem()), Overwrite::Force)?;
        Self::load(folder, true)
    }

    fn load(folder: &Path, is_new: bool) -> Result<Self, CertError> {
        let (cert_file, key_file) = (authority_file(folder), key_file(folder));
        let text = read::whole(&cert_file)?;
        let chain = read::chain(&text, &cert_file)?;
        let damaged = || CertError::Damaged { file: cert_file.clone() };
        let facts = describe(&chain[0]).ok_or_else(damaged)?;
        let key_text = read::whole(&key_file)?;
        let files = identity::IdentityFiles { cert: cert_file.clone(), key: Some(key_file.clone()) };
        identity::key_that_fits(&key_text, &files, &chain)?;
        if unix_now() > facts.not_after {
            return Err(CertError::AuthorityExpired { file: cert_file, not_after: facts.not_after });
        }
        let key = read::key(&key_text, &key_file)?;
        let key = KeyPair::try_from(&key).map_err(|_| CertError::UnsupportedKey { file: key_file })?;
        let issuer = Issuer::from_ca_cert_der(&chain[0], key).map_err(|_| damaged())?;
        let pem = String::from_utf8(text).map_err(|_| damaged())?;
        Ok(Self { folder: folder.to_owned(), pem, facts, issuer, is_new })
    }

    /// Whether it was made just now.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// The file of its certificate.
    pub fn file(&self) -> PathBuf {
        authority_file(&self.folder)
    }

    /// Its certificate as PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A key that others may read: whoever has it can be anybody to those who trust the authority.
    pub fn warning(&self) -> Option<Warning> {
        let file = key_file(&self.folder);
        identity::others_may_read(&file).map(|mode| Warning::KeyReadable { file, mode })
    }

    /// What its certificate says.
    pub fn facts(&self) -> &CertFacts {
        &self.facts
    }

    /// Issues a certificate and writes NAME.pem (with the authority's behind it, mode 0644) and NAME-key.pem (0600) into a
    /// folder, which is made if need be; NAME is the first name, its star and colons as underlines.
    ///
    /// # Errors
    /// [`CertError::BadName`], [`CertError::BadDays`], [`CertError::Exists`] unless it may overwrite, or what is wrong with
    /// the folder.
    pub fn issue(&self, order: &Order, folder: &Path, overwrite: Overwrite) -> Result<Issued, CertError> {
        if !(1..=DAYS_MAX).contains(&order.days) {
            return Err(CertError::BadDays { days: order.days });
        }
        let now = unix_now();
        let (mut params, stem) = match &order.holder {
            Holder::Server(names) => {
                let first = names.first().ok_or(CertError::NoName)?.to_string();
                let mut params = making::params(&first, now, order.days)?;
                making::as_server(&mut params, names)?;
                (params, stem(&first))
            }
            Holder::Client(name) => {
                let mut params = making::params(names::client(name)?, now, order.days)?;
                making::as_client(&mut params, name);
                (params, stem(name))
            }
        };
        params.not_after = params.not_after.min(making::at(self.facts.not_after)?);
        let key = order.key.generate()?;
        let made = params.signed_by(&key, &self.issuer);
        let made = made.map_err(|_| CertError::Library { what: "a certificate" })?;
        let facts = describe(made.der()).ok_or(CertError::Library { what: "a certificate" })?;

        fs::create_dir_all(folder).map_err(|fault| store::unwritable(folder, &fault))?;
        let (cert_file, key_file) = (folder.join(format!("{stem}.pem")), folder.join(format!("{stem}-key.pem")));
        // Whoever has the file has the whole chain, also to trust it by.
        let chain = made.pem() + &self.pem;
        store::pair((&cert_file, &chain), (&key_file, &key.serialize_pem()), overwrite)?;
        self.remember(&cert_file, &facts, &made.pem())?;
        Ok(Issued { cert: cert_file, key: key_file, facts })
    }

    /// Keeps a copy of a certificate that was issued, with the place where it went above it.
    fn remember(&self, file: &Path, facts: &CertFacts, pem: &str) -> Result<(), CertError> {
        let folder = records_folder(&self.folder);
        store::private_folder(&folder)?;
        let _lock = Lock::take(&self.folder)?;
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        // The place is one line of UTF-8, which the PEM below it cannot be taken for.
        let place = file.to_string_lossy().replace(char::is_control, "\u{fffd}");
        let text = format!("{PLACE}{place}\n{pem}");
        let record = folder.join(format!("{}.pem", facts.serial));
        store::Staged::write(&record, text.as_bytes(), 0o600)?.place(Overwrite::Force)?;
        let mut records = read_records(&folder)?;
        records.sort_by_key(|(_, record)| record.facts.not_after);
        for (old, _) in records.iter().take(records.len().saturating_sub(RECORDS_MAX)) {
            fs::remove_file(old).map_err(|fault| store::unwritable(old, &fault))?;
        }
        Ok(())
    }
}

/// What begins the line of a record that says where the certificate went.
const PLACE: &str = "file: ";

/// What the authority of a folder has issued, the last to end first.
///
/// # Errors
/// [`CertError::Unreadable`] for the folder or a file in it. What is no record is passed by.
pub fn records(folder: &Path) -> Result<Vec<Record>, CertError> {
    let mut records: Vec<_> = read_records(&records_folder(folder))?.into_iter().map(|(_, record)| record).collect();
    records.sort_by(|a, b| (b.facts.not_after, &b.facts.serial).cmp(&(a.facts.not_after, &a.facts.serial)));
    Ok(records)
}

fn read_records(folder: &Path) -> Result<Vec<(PathBuf, Record)>, CertError> {
    let entries = match fs::read_dir(folder) {
        Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(fault) => return Err(CertError::Unreadable { file: folder.to_owned(), why: fault.kind() }),
        Ok(entries) => entries,
    };
    let mut records = Vec::new();
    for entry in
        entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "pem"))
    {
        let text = read::whole(&entry)?;
        let chain: Vec<CertificateDer<'_>> = read::chain(&text, &entry).unwrap_or_default();
        let place =
            String::from_utf8_lossy(&text).lines().next().and_then(|line| Some(line.strip_prefix(PLACE)?.into()));
        if let (Some(file), Some(facts)) = (place, chain.first().and_then(describe)) {
            records.push((entry, Record { file, facts }));
        }
    }
    Ok(records)
}

fn records_folder(folder: &Path) -> PathBuf {
    folder.join("issued")
}

fn key_file(folder: &Path) -> PathBuf {
    folder.join("ca-key.pem")
}

/// The name of a file for a name in a certificate: nothing that a shell or a file system takes for something else.
fn stem(name: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '@') { c } else { '_' };
    let stem: String = name.replacen("*.", "_wildcard.", 1).chars().map(plain).collect();
    // Neither hidden, nor a flag.
    let stem = match stem.strip_prefix(['.', '-']) {
        Some(rest) => format!("_{rest}"),
        None => stem,
    };
    // 255 bytes are the most, and `-key.pem` and a temporary name's end come behind it.
    let ends = stem.char_indices().map(|(at, c)| at + c.len_utf8());
    let end = ends.take_while(|end| *end <= 200).last().unwrap_or_default();
    stem[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_name_is_plain_and_short() {
        for (name, expect) in [
            ("localhost", "localhost"),
            ("*.example.com", "_wildcard.example.com"),
            ("::1", "__1"),
            ("../../etc/passwd", "_._.._etc_passwd"),
            ("-rf", "_rf"),
            ("a@b.example", "a@b.example"),
            ("김 영희", "김_영희"),
        ] {
            assert_eq!(stem(name), expect);
        }
        assert_eq!(stem(&"가".repeat(90)), "가".repeat(66));
    }
}
