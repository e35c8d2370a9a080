//! The SHA-256 of a certificate.

use std::fmt;
use std::str::FromStr;

use ring::digest;

use crate::error::CertError;

/// The SHA-256 of a certificate's DER: what `--pin` takes.
///
/// Shown as 64 hex digits in lower case; read with or without colons, in either case, and behind `sha256:`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The fingerprint of a certificate.
    pub fn of(der: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, der).as_ref());
        Self(bytes)
    }

    /// As openssl shows it: upper case, with colons.
    pub fn with_colons(&self) -> String {
        self.0.map(|byte| format!("{byte:02X}")).join(":")
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = CertError;

    fn from_str(text: &str) -> Result<Self, CertError> {
        let bad = || CertError::BadPin { text: text.to_owned() };
        let rest = match text.get(..7) {
            Some(head) if head.eq_ignore_ascii_case("sha256:") => &text[7..],
            _ => text,
        };
        let digits: Vec<u8> = if rest.contains(':') {
            let bytes: Vec<_> = rest.split(':').collect();
            if bytes.iter().any(|byte| byte.len() != 2) {
                return Err(bad());
            }
            bytes.concat().into_bytes()
        } else {
            rest.bytes().collect()
        };
        let (pairs, []) = digits.as_chunks::<2>() else { return Err(bad()) };
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let bytes: Option<Vec<u8>> = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or_else(bad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_in_every_way_it_is_shown() {
        let print = Fingerprint::of(b"abc");
        assert_eq!(print.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        for text in [
            print.to_string(),
            print.with_colons(),
            print.to_string().to_uppercase(),
            format!("sha256:{print}"),
            format!("SHA256:{}", print.with_colons()),
        ] {
            assert_eq!(text.parse(), Ok(print), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_refused_whole() {
        let good = Fingerprint::of(b"abc").to_string();
        let colons = Fingerprint::of(b"abc").with_colons();
        for text in [
            "",
            "sha256:",
            &good[..63],
            &good[..62],
            &format!("{good}0"),
            &format!("{good}00"),
            &good.replace('b', "g"),
            &good.replacen("ba", "가", 1),
            &colons.replacen(":", "::", 1),
            &colons[..94],
            &format!("sha1:{good}"),
        ] {
            assert_eq!(text.parse::<Fingerprint>(), Err(CertError::BadPin { text: text.to_owned() }));
        }
    }
}
