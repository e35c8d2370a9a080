//! The desk that checks passwords against their hashes.
use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::{Output, ParamsString, PasswordHash, SaltString},
};
use blake2::{
    Blake2sMac256,
    digest::{FixedOutput, KeyInit, Update},
};
use rustix::rand::{GetRandomFlags, getrandom};
use sotong_chat::{
    HashCost, Mail as ChatMail,
    books::{self as chat, Hashed, ROUNDS, SALT_BYTES, ScramKeys, Secret},
};
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
            if !is_password_hash(hash) {
                return Err(TableError::Line(number));
            }
            table.stand_in.get_or_insert_with(|| hash.to_owned());
            if table.hashes.insert(name.as_bytes().to_vec(), hash.to_owned()).is_some() {
                return Err(TableError::Twice(number));
            }
        }
        if table.hashes.is_empty() { Err(TableError::Empty) } else { Ok(table) }
    }
    fn is_right(&self, credentials: &Credentials, hasher: &mut Hasher) -> bool {
        let known = self.hashes.get(credentials.name());
        let Some(hash) = known.or(self.stand_in.as_ref()).and_then(|hash| PasswordHash::new(hash).ok()) else {
            return false;
        };
        hasher.is_right(credentials.password(), &hash) && known.is_some()
    }
}

/// Whether a text is a hash as [`hash_password`] makes them.
pub fn is_password_hash(text: &str) -> bool {
    PasswordHash::new(text).is_ok_and(|hash| hash.algorithm.as_str().starts_with("argon2"))
}

/// The hash of a password, for a password file: Argon2id over 19 MiB, twice.
///
/// # Errors
/// The system has no randomness, or the password is too long to be hashed.
pub fn hash_password(password: &[u8]) -> io::Result<String> {
    Hasher::default().hash(HashCost::Default, password)
}

/// The memory that hashing takes, kept from one hash to the next: an allocator does not give back what is taken anew each time,
/// and a stranger who tries passwords would make the server grow by it.
#[derive(Default)]
struct Hasher {
    memory: Vec<Block>,
}

/// Another thread's has memory of its own.
impl Clone for Hasher {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hasher").field("blocks", &self.memory.len()).finish()
    }
}

impl Hasher {
    fn hash(&mut self, cost: HashCost, password: &[u8]) -> io::Result<String> {
        let params = params(cost)?;
        let (mut salt, mut output) = ([0; 16], [0; Params::DEFAULT_OUTPUT_LEN]);
        getrandom(&mut salt, GetRandomFlags::empty())?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
        self.fill(&argon2, password, &salt, &mut output).map_err(io::Error::other)?;
        written(&params, &salt, &output)
    }
    /// Whether `known` is the hash of `password`.
    fn is_right(&mut self, password: &[u8], known: &PasswordHash<'_>) -> bool {
        let (Some(salt), Some(expected)) = (known.salt, known.hash) else { return false };
        let version = known.version.map_or(Ok(Version::default()), Version::try_from);
        let (Ok(algorithm), Ok(version), Ok(params)) =
            (Algorithm::try_from(known.algorithm), version, Params::try_from(known))
        else {
            return false;
        };
        let (mut salt_bytes, mut output) = ([0; 64], [0; Output::MAX_LENGTH]);
        let Ok(salt) = salt.decode_b64(&mut salt_bytes) else { return false };
        let output = &mut output[..expected.len()];
        let argon2 = Argon2::new(algorithm, version, params);
        self.fill(&argon2, password, salt, output).is_ok()
            // Compares in a time that tells nothing.
            && Output::new(output).is_ok_and(|output| output == expected)
    }
    fn fill(
        &mut self,
        argon2: &Argon2<'_>,
        password: &[u8],
        salt: &[u8],
        output: &mut [u8],
    ) -> Result<(), argon2::Error> {
        let blocks = argon2.params().block_count();
        if self.memory.len() < blocks {
            self.memory.resize(blocks, Block::default());
        }
        let result = argon2.hash_password_into_with_memory(password, salt, output, &mut self.memory[..blocks]);
        if blocks > Params::DEFAULT.block_count() {
            // Somebody's own hash, dearer than ours are.
            self.memory = Vec::new();
        }
        result
    }
}

/// A hash as it is kept, in the PHC string format.
fn written(params: &Params, salt: &[u8], output: &[u8]) -> io::Result<String> {
    let salt = SaltString::encode_b64(salt).map_err(io::Error::other)?;
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(params).map_err(io::Error::other)?,
        salt: Some(salt.as_salt()),
        hash: Some(Output::new(output).map_err(io::Error::other)?),
    };
    Ok(hash.to_string())
}

/// Hashes and checks passwords, for a chat. A desk has two threads.
#[derive(Clone, Debug)]
pub struct ChatPasswords {
    cost: HashCost,
    /// Verified where there is no hash, so that the time does not tell.
    stand_in: Arc<str>,
    hasher: Hasher,
}

impl ChatPasswords {
    /// One thread's worth of a desk; a clone is another's.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn new(cost: HashCost) -> io::Result<Self> {
        Ok(Self { cost, stand_in: nobodys_hash(cost)?.into(), hasher: Hasher::default() })
    }
    fn hashed(&mut self, password: &Secret) -> io::Result<Hashed> {
        let mut salt = [0; SALT_BYTES];
        getrandom(&mut salt, GetRandomFlags::empty())?;
        let scram = ScramKeys::new(password.bytes(), salt, ROUNDS);
        Ok(Hashed { password: self.hasher.hash(self.cost, password.bytes())?.into(), scram })
    }
    fn is_right(&mut self, password: &Secret, hash: Option<&str>) -> bool {
        let Ok(known) = PasswordHash::new(hash.unwrap_or(&self.stand_in)) else { return false };
        self.hasher.is_right(password.bytes(), &known) && hash.is_some()
    }
}

fn params(cost: HashCost) -> io::Result<Params> {
    match cost {
        HashCost::Default => Ok(Params::default()),
        HashCost::Test => Params::new(Params::MIN_M_COST, 1, 1, None).map_err(io::Error::other),
    }
}

/// A hash that no password has, made without the work of one: a server starts at once.
fn nobodys_hash(cost: HashCost) -> io::Result<String> {
    let (mut salt, mut output) = ([0; 16], [0; Params::DEFAULT_OUTPUT_LEN]);
    getrandom(&mut salt, GetRandomFlags::empty())?;
    getrandom(&mut output, GetRandomFlags::empty())?;
    written(&params(cost)?, &salt, &output)
}

impl DeskWork<ChatMail> for ChatPasswords {
    fn work(&mut self, asked: &ChatMail) -> ChatMail {
        match asked.asked() {
            Some(chat::Ask::Hash(ticket, password)) => {
                let hashed = self.hashed(password);
                if let Err(fault) = &hashed {
                    tracing::error!(%fault, "a password could not be hashed");
                }
                ChatMail::answer(chat::Answer::Hashed(*ticket, hashed.ok()))
            }
            Some(chat::Ask::Verify(ticket, password, hash)) => {
                ChatMail::answer(chat::Answer::Verified(*ticket, self.is_right(password, hash.as_deref())))
            }
            Some(chat::Ask::Store(..) | chat::Ask::Look(..)) | None => self.failed(asked),
        }
    }
    fn failed(&mut self, asked: &ChatMail) -> ChatMail {
        ChatMail::answer(match asked.asked() {
            Some(chat::Ask::Hash(ticket, _)) => chat::Answer::Hashed(*ticket, None),
            Some(chat::Ask::Verify(ticket, ..)) => chat::Answer::Verified(*ticket, false),
            Some(chat::Ask::Store(ticket, _)) => {
                let why = "that is not done at this desk".into();
                chat::Answer::Stored(*ticket, Err(chat::StoreFault { why, since: *ticket }))
            }
            Some(chat::Ask::Look(ticket, _)) => chat::Answer::Found(*ticket, None),
            None => chat::Answer::Verified(chat::Ticket(0), false),
        })
    }
}

/// Checks passwords, for [`sotong_http::site`]. A hash takes 19 MiB and a core for some time: a desk has two threads.
#[derive(Clone)]
pub struct Passwords {
    table: Arc<PasswordTable>,
    known: Arc<Known>,
    hasher: Hasher,
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
        Ok(Self {
            table: Arc::new(table),
            known: Arc::new(Known { key, until: Mutex::default() }),
            hasher: Hasher::default(),
        })
    }
    fn check(&mut self, credentials: &Credentials) -> bool {
        let tag = self.known.tag(credentials);
        if self.known.has(&tag) {
            return true;
        }
        let is_right = self.table.is_right(credentials, &mut self.hasher);
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
    fn nobodys_hash_has_the_cost_of_somebodys_and_no_password() {
        for cost in [HashCost::Default, HashCost::Test] {
            let (nobodys, somebodys) = (nobodys_hash(cost).unwrap(), Hasher::default().hash(cost, b"x").unwrap());
            let shape = |hash: &str| {
                let parts: Vec<_> = hash.split('$').map(str::to_owned).collect();
                (parts[1..4].to_vec(), parts[4].len(), parts[5].len())
            };
            assert_eq!(shape(&nobodys), shape(&somebodys));
            let parsed = PasswordHash::new(&nobodys).unwrap();
            assert!(!Hasher::default().is_right(b"", &parsed));
        }
    }

    /// The format and the numbers are those that everybody's Argon2 has.
    #[test]
    fn hashes_are_those_of_the_library_both_ways() {
        use argon2::password_hash::{PasswordHasher, PasswordVerifier};
        let mut hasher = Hasher::default();
        let ours = hasher.hash(HashCost::Test, "비밀".as_bytes()).unwrap();
        let ours = PasswordHash::new(&ours).unwrap();
        assert!(Argon2::default().verify_password("비밀".as_bytes(), &ours).is_ok());
        let salt = SaltString::encode_b64(b"sixteen bytes it").unwrap();
        for algorithm in [Algorithm::Argon2i, Algorithm::Argon2id] {
            let params = Params::new(64, 3, 2, Some(24)).unwrap();
            let theirs = Argon2::new(algorithm, Version::V0x13, params).hash_password(b"word", &salt).unwrap();
            assert!(hasher.is_right(b"word", &theirs) && !hasher.is_right(b"ward", &theirs), "{algorithm}");
        }
        assert!(!hasher.is_right(b"x", &PasswordHash::new("$argon2id$v=19$m=64,t=1,p=1").unwrap()), "no hash in it");
    }

    #[test]
    fn memory_is_taken_once_and_kept_only_where_it_is_as_much_as_ours() {
        let mut hasher = Hasher::default();
        hasher.hash(HashCost::Test, b"a").unwrap();
        let before = (hasher.memory.as_ptr(), hasher.memory.len());
        hasher.hash(HashCost::Test, b"b").unwrap();
        assert_eq!((hasher.memory.as_ptr(), hasher.memory.len()), before);
        let salt = SaltString::encode_b64(b"sixteen bytes it").unwrap();
        let dear = Params::new(Params::DEFAULT_M_COST * 2, 1, 1, None).unwrap();
        let dear = argon2::password_hash::PasswordHasher::hash_password(
            &Argon2::new(Algorithm::Argon2id, Version::V0x13, dear),
            b"word",
            &salt,
        );
        assert!(hasher.is_right(b"word", &dear.unwrap()));
        assert!(hasher.memory.is_empty());
    }

    #[test]
    fn a_password_of_the_chat() {
        let mut desk = ChatPasswords::new(HashCost::Test).unwrap();
        let secret = Secret::new("비밀");
        let hashed = desk.hashed(&secret).unwrap();
        assert!(hashed.password.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{}", hashed.password);
        assert_eq!(hashed.scram, ScramKeys::new("비밀".as_bytes(), hashed.scram.salt, ROUNDS));
        assert_ne!(hashed.scram.salt, desk.hashed(&secret).unwrap().scram.salt);
        let mut is_right = |password: &str, hash: Option<&str>| {
            let ask = chat::Ask::Verify(chat::Ticket(7), Secret::new(password), hash.map(Into::into));
            desk.is_right(&Secret::new(password), hash)
                && format!("{:?}", desk.work(&ChatMail::ask(ask))).contains("true")
        };
        assert!(is_right("비밀", Some(&hashed.password)));
        assert!(!is_right("밀비", Some(&hashed.password)));
        assert!(!is_right("비밀", None));
        assert!(!is_right("비밀", Some("no hash")));
    }

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
