//! The desk that checks passwords against their hashes.
use argon2::{
    Argon2,
    password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString},
};
use blake2::{
    Blake2sMac256,
    digest::{FixedOutput, KeyInit, Update},
};
use rustix::rand::{GetRandomFlags, getrandom};
use sotong_drivers::DeskWork;
use sotong_http::site::mail::{Answer, Ask, Credentials, Mail};
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// What has been checked is known for this long, so that a page of a hundred pictures costs one hash.
const KNOWN_TIME: Duration = Duration::from_secs(300);
/// So many are known.
const KNOWN_MAX: usize = 1024;

/// Names and the hashes of their passwords, as a file has them: `NAME:HASH` a line, `#` before what is no entry.
#[derive(Clone, Debug, Default)]
pub struct PasswordTable {
    hashes: BTreeMap<Vec<u8>, String>,
    /// Verified where a name is not known, so that the time does not tell.
    stand_in: Option<String>,
}

/// Why a password file cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// A line is no `NAME:HASH`, or its hash is none of Argon2.
    #[error("line {0} is not NAME:HASH with a hash that sotong web --hash-password printed")]
    Line(usize),
    /// A name stands twice.
    #[error("line {0} has a name that stood there before")]
    Twice(usize),
    /// There is no entry.
    #[error("it has no names")]
    Empty,
}

impl PasswordTable {
    /// Reads the text of a password file.
    ///
    /// # Errors
    /// The first line that cannot be used.
    pub fn parse(text: &str) -> Result<Self, TableError> {
        let mut table = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, hash) =
                line.split_once(':').filter(|(name, _)| !name.is_empty()).ok_or(TableError::Line(number))?;
            let is_argon2 = PasswordHash::new(hash).is_ok_and(|hash| hash.algorithm.as_str().starts_with("argon2"));
            if !is_argon2 {
                return Err(TableError::Line(number));
            }
            table.stand_in.get_or_insert_with(|| hash.to_owned());
            if table.hashes.insert(name.as_bytes().to_vec(), hash.to_owned()).is_some() {
                return Err(TableError::Twice(number));
            }
        }
        if table.hashes.is_empty() { Err(TableError::Empty) } else { Ok(table) }
    }
    fn is_right(&self, credentials: &Credentials) -> bool {
        let known = self.hashes.get(credentials.name());
        let Some(hash) = known.or(self.stand_in.as_ref()).and_then(|hash| PasswordHash::new(hash).ok()) else {
            return false;
        };
        Argon2::default().verify_password(credentials.password(), &hash).is_ok() && known.is_some()
    }
}

/// The hash of a password, for a password file: Argon2id over 19 MiB, twice.
///
/// # Errors
/// The system has no randomness, or the password is too long to be hashed.
pub fn hash_password(password: &[u8]) -> io::Result<String> {
    let mut salt = [0; 16];
    getrandom(&mut salt, GetRandomFlags::empty())?;
    let salt = SaltString::encode_b64(&salt).map_err(io::Error::other)?;
    Argon2::default().hash_password(password, &salt).map(|hash| hash.to_string()).map_err(io::Error::other)
}

/// Checks passwords, for [`sotong_http::site`]. A hash takes 19 MiB and a core for some time: a desk has two threads.
#[derive(Clone)]
pub struct Passwords {
    table: Arc<PasswordTable>,
    known: Arc<Known>,
}

/// What was right a moment ago, under a key that nobody has.
struct Known {
    key: [u8; 32],
    until: Mutex<BTreeMap<[u8; 32], Instant>>,
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passwords").field("names", &self.table.hashes.len()).finish_non_exhaustive()
    }
}

impl Passwords {
    /// One thread's worth of a desk; a clone is another's.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn new(table: PasswordTable) -> io::Result<Self> {
        let mut key = [0; 32];
        getrandom(&mut key, GetRandomFlags::empty())?;
        Ok(Self { table: Arc::new(table), known: Arc::new(Known { key, until: Mutex::default() }) })
    }
    fn check(&self, credentials: &Credentials) -> bool {
        let tag = self.known.tag(credentials);
        if self.known.has(&tag) {
            return true;
        }
        let is_right = self.table.is_right(credentials);
        if is_right {
            self.known.remember(tag);
        }
        is_right
    }
}

impl Known {
    fn tag(&self, credentials: &Credentials) -> [u8; 32] {
        // The key has the only length there is.
        let Ok(mut mac) = Blake2sMac256::new_from_slice(&self.key) else { return [0; 32] };
        mac.update(credentials.name());
        mac.update(b":");
        mac.update(credentials.password());
        mac.finalize_fixed().into()
    }
    fn has(&self, tag: &[u8; 32]) -> bool {
        let known = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(tag).is_some_and(|until| Instant::now() < *until)
    }
    fn remember(&self, tag: [u8; 32]) {
        let now = Instant::now();
        let mut known = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.retain(|_, until| now < *until);
        }
        if known.len() >= KNOWN_MAX {
            known.pop_first();
        }
        known.insert(tag, now + KNOWN_TIME);
    }
}

impl DeskWork<Mail> for Passwords {
    fn work(&mut self, asked: &Mail) -> Mail {
        let is_right = matches!(asked, Mail::Ask(Ask::Check(credentials)) if self.check(credentials));
        Mail::Answer(Answer::Checked(is_right))
    }
    fn failed(&mut self, _asked: &Mail) -> Mail {
        Mail::Answer(Answer::Checked(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read() {
        let hash = hash_password("비밀".as_bytes()).unwrap();
        let table = PasswordTable::parse(&format!("# people\n\nmina:{hash}\n")).unwrap();
        assert_eq!(table.hashes.len(), 1);
        for (text, expect) in [
            (String::new(), TableError::Empty),
            ("mina:secret".into(), TableError::Line(1)),
            (format!("a:{hash}\n:{hash}"), TableError::Line(2)),
            (format!("a:{hash}\n\na:{hash}"), TableError::Twice(3)),
            ("mina".into(), TableError::Line(1)),
        ] {
            assert_eq!(PasswordTable::parse(&text).err(), Some(expect), "{text}");
        }
    }
}
