//! SCRAM-SHA-256: proofs of a password that never travels (RFC 5802, RFC 7677).
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;

/// Rounds of PBKDF2: what RFC 7677 §4 asks for at least. The password's argon2 hash is what protects a stolen file better.
pub const ROUNDS: u32 = 4096;
/// Bytes of a salt.
pub const SALT_BYTES: usize = 16;
/// Characters of a client's nonce.
const NONCE_BYTES_MAX: usize = 128;

/// What a server keeps of a password for SCRAM-SHA-256: enough to check a proof, and not to make one.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    /// The salt.
    pub salt: [u8; SALT_BYTES],
    /// Rounds of PBKDF2.
    pub rounds: u32,
    /// `StoredKey` of RFC 5802 §3.
    pub stored: [u8; 32],
    /// `ServerKey` of RFC 5802 §3.
    pub server: [u8; 32],
}

impl fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramKeys").field("rounds", &self.rounds).finish_non_exhaustive()
    }
}

impl ScramKeys {
    /// Makes them of a password. It takes some milliseconds: work for a desk.
    pub fn new(password: &[u8], salt: [u8; SALT_BYTES], rounds: u32) -> Self {
        let mut salted = [0; 32];
        pbkdf2::pbkdf2_hmac::<Sha256>(password, &salt, rounds, &mut salted);
        let stored = Sha256::digest(mac(&salted, b"Client Key")).into();
        Self { salt, rounds, stored, server: mac(&salted, b"Server Key") }
    }
    /// Keys that no password fits, for a name that has none: so that asking does not tell which names there are. The same for
    /// the same name and `secret`.
    pub fn stand_in(name: &str, secret: &[u8; 32]) -> Self {
        let made = mac(secret, name.as_bytes());
        let mut salt = [0; SALT_BYTES];
        salt.copy_from_slice(&made[..SALT_BYTES]);
        // What hashes to this is not known to anybody.
        Self { salt, rounds: ROUNDS, stored: mac(&made, b"stored"), server: mac(&made, b"server") }
    }
}

/// Why a message of SCRAM is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScramError {
    /// It is not as RFC 5802 §7 has it.
    Syntax,
    /// It asks for something that is not done here: channel binding, or an extension.
    Unsupported,
    /// The proof does not fit.
    Wrong,
}

/// The client's first message.
#[derive(Debug, PartialEq, Eq)]
pub struct First {
    /// Who the client wants to act as, if it says so.
    pub acts_as: Option<String>,
    /// Whose password it has.
    pub name: String,
    nonce: String,
    /// Both of these are signed.
    header: String,
    bare: String,
}

impl First {
    /// Reads it.
    ///
    /// # Errors
    /// See [`ScramError`].
    pub fn parse(message: &[u8]) -> Result<Self, ScramError> {
        let text = std::str::from_utf8(message).map_err(|_| ScramError::Syntax)?;
        let mut parts = text.splitn(3, ',');
        let (Some(binding), Some(acts_as), Some(bare)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(ScramError::Syntax);
        };
        match binding {
            // `y`: the client could bind to the channel, and has seen that we do not offer it.
            "n" | "y" => {}
            binding if binding.starts_with("p=") => return Err(ScramError::Unsupported),
            _ => return Err(ScramError::Syntax),
        }
        let header = format!("{binding},{acts_as},");
        let acts_as = match acts_as {
            "" => None,
            acts_as => Some(name(acts_as.strip_prefix("a=").ok_or(ScramError::Syntax)?)?),
        };
        let mut fields = bare.split(',');
        let first = fields.next().unwrap_or_default();
        if first.starts_with("m=") {
            return Err(ScramError::Unsupported);
        }
        let name = name(first.strip_prefix("n=").ok_or(ScramError::Syntax)?)?;
        let nonce = fields.next().and_then(|field| field.strip_prefix("r=")).ok_or(ScramError::Syntax)?;
        let is_nonce = (1..=NONCE_BYTES_MAX).contains(&nonce.len()) && nonce.bytes().all(|b| b.is_ascii_graphic());
        if !is_nonce || name.is_empty() {
            return Err(ScramError::Syntax);
        }
        Ok(Self { acts_as, name, nonce: nonce.to_owned(), header, bare: bare.to_owned() })
    }
}

/// A name as it is written in a message: `=2C` is a comma, `=3D` an equals sign (RFC 5802 §5.1).
fn name(written: &str) -> Result<String, ScramError> {
    let mut name = String::new();
    let mut parts = written.split('=');
    name.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (sign, rest) = if let Some(rest) = part.strip_prefix("2C") {
            (',', rest)
        } else if let Some(rest) = part.strip_prefix("3D") {
            ('=', rest)
        } else {
            return Err(ScramError::Syntax);
        };
        name.push(sign);
        name.push_str(rest);
    }
    Ok(name)
}

/// A proof under way: the server has challenged.
#[derive(Debug)]
pub struct Challenge {
    keys: ScramKeys,
    nonce: String,
    header: String,
    /// What both have said so far, as it is signed.
    said: String,
}

impl Challenge {
    /// Answers the first message: the server's first message comes with it. `nonce` is the server's part.
    pub fn new(first: &First, keys: ScramKeys, nonce: &str) -> (Self, String) {
        let nonce = format!("{}{nonce}", first.nonce);
        let message = format!("r={nonce},s={},i={}", STANDARD.encode(keys.salt), keys.rounds);
        let said = format!("{},{message}", first.bare);
        (Self { keys, nonce, header: first.header.clone(), said }, message)
    }
    /// Checks the client's final message: the server's final message, which proves that the server knows the keys.
    ///
    /// # Errors
    /// See [`ScramError`].
    pub fn finish(&self, message: &[u8]) -> Result<String, ScramError> {
        let text = std::str::from_utf8(message).map_err(|_| ScramError::Syntax)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(ScramError::Syntax)?;
        let mut fields = without_proof.split(',');
        let header = fields.next().and_then(|field| field.strip_prefix("c=")).ok_or(ScramError::Syntax)?;
        let nonce = fields.next().and_then(|field| field.strip_prefix("r=")).ok_or(ScramError::Syntax)?;
        let proof: [u8; 32] =
            STANDARD.decode(proof).ok().and_then(|proof| proof.try_into().ok()).ok_or(ScramError::Syntax)?;
        if STANDARD.decode(header).ok().as_deref() != Some(self.header.as_bytes()) || nonce != self.nonce {
            return Err(ScramError::Wrong);
        }
        let signed = format!("{},{without_proof}", self.said);
        let signature = mac(&self.keys.stored, signed.as_bytes());
        let mut key = proof;
        for (byte, other) in key.iter_mut().zip(signature) {
            *byte ^= other;
        }
        let stored: [u8; 32] = Sha256::digest(key).into();
        if !bool::from(stored.ct_eq(&self.keys.stored)) {
            return Err(ScramError::Wrong);
        }
        Ok(format!("v={}", STANDARD.encode(mac(&self.keys.server, signed.as_bytes()))))
    }
}

fn mac(key: &[u8], text: &[u8]) -> [u8; 32] {
    // A key may have any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    mac.update(text);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677 §3.
    fn vector() -> (ScramKeys, First, &'static str) {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64").try_into().expect("16 bytes");
        let first = First::parse(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO").expect("it is right");
        (ScramKeys::new(b"pencil", salt, 4096), first, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
    }
    const FINAL: &str =
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

    #[test]
    fn the_exchange_of_the_standard() {
        let (keys, first, nonce) = vector();
        assert_eq!(first.name, "user");
        let (challenge, message) = Challenge::new(&first, keys, nonce);
        let expect = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        assert_eq!(message, expect);
        let done = challenge.finish(FINAL.as_bytes());
        assert_eq!(done.as_deref(), Ok("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
    }

    #[test]
    fn what_does_not_fit() {
        let (keys, first, nonce) = vector();
        let (challenge, _) = Challenge::new(&first, keys, nonce);
        for (message, expect) in [
            (FINAL.replace("p=dH", "p=dI"), ScramError::Wrong),
            (FINAL.replace("biws", "eSws"), ScramError::Wrong),
            (FINAL.replace("$k0,", "$k1,"), ScramError::Wrong),
            (FINAL.replace(",p=", ",q="), ScramError::Syntax),
            (FINAL.replace("dVQ=", "dVQ"), ScramError::Syntax),
            ("c=biws".to_owned(), ScramError::Syntax),
        ] {
            assert_eq!(challenge.finish(message.as_bytes()), Err(expect), "{message}");
        }
        let (challenge, _) = Challenge::new(&first, ScramKeys::stand_in("user", &[7; 32]), nonce);
        assert_eq!(challenge.finish(FINAL.as_bytes()), Err(ScramError::Wrong));
    }

    #[test]
    fn first_messages() {
        let first = First::parse(b"y,a=other,n=a=2Cb=3Dc,r=x").expect("it is right");
        assert_eq!((first.name.as_str(), first.acts_as.as_deref()), ("a,b=c", Some("other")));
        for (message, expect) in [
            ("p=tls-unique,,n=a,r=x", ScramError::Unsupported),
            ("n,,m=1,n=a,r=x", ScramError::Unsupported),
            ("n,,n=a=,r=x", ScramError::Syntax),
            ("n,,n=,r=x", ScramError::Syntax),
            ("n,,n=a,r=", ScramError::Syntax),
            ("n,,n=a", ScramError::Syntax),
            ("n,b,n=a,r=x", ScramError::Syntax),
            ("n", ScramError::Syntax),
            ("x,,n=a,r=x", ScramError::Syntax),
        ] {
            assert_eq!(First::parse(message.as_bytes()), Err(expect), "{message}");
        }
    }

    #[test]
    fn a_stand_in_is_the_same_for_the_same_name() {
        let of = |name| ScramKeys::stand_in(name, &[1; 32]);
        assert_eq!(of("a"), of("a"));
        assert_ne!(of("a").salt, of("b").salt);
    }
}
