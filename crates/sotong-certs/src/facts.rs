//! What a certificate says, read for people.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use x509_parser::public_key::PublicKey;

use crate::fingerprint::Fingerprint;

/// Seconds of a day.
pub(crate) const DAY: i64 = 86_400;

/// What a certificate says of itself. Texts have no control characters: they come from strangers and go to terminals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertFacts {
    /// Whose it is, such as `CN=example.com`.
    pub subject: String,
    /// The common name in it, if there is one.
    pub common_name: Option<String>,
    /// Who issued it.
    pub issuer: String,
    /// What it is for: DNS names, IP addresses, and with their kind in front `email:` and `uri:`.
    pub names: Vec<String>,
    /// When it becomes valid, in seconds since 1970.
    pub not_before: i64,
    /// The last second in which it is valid, in seconds since 1970.
    pub not_after: i64,
    /// The kind and size of its key.
    pub key: KeyFacts,
    /// How its issuer signed it, such as `ECDSA with SHA-256`; the OID of what is not known.
    pub signature: String,
    /// Its serial number in hex.
    pub serial: String,
    /// The SHA-256 of its DER.
    pub fingerprint: Fingerprint,
    /// Whether it may issue others.
    pub is_ca: bool,
    /// Whether subject and issuer are the same, so that nobody else vouches for it.
    pub is_self_issued: bool,
    /// Its X.509 version; what is older than 3 is refused by most clients.
    pub version: u32,
    /// Whether a server may show it.
    pub for_servers: bool,
    /// Whether a client may show it.
    pub for_clients: bool,
}

impl CertFacts {
    /// Whole days from `now` (seconds since 1970) to its end; negative once it is over.
    pub fn days_left(&self, now: i64) -> i64 {
        (self.not_after - now).div_euclid(DAY)
    }

    /// Whether it is valid for a host by one of its names, or by its common name if it has no other.
    pub fn is_for(&self, host: &str) -> bool {
        if self.names.is_empty() {
            return self.common_name.as_deref().is_some_and(|name| covers(name, host));
        }
        self.names.iter().any(|name| covers(name, host))
    }
}

/// Whether a name of a certificate covers a host: the same, or a star for the leftmost label (RFC 6125, section 6.4.3).
fn covers(name: &str, host: &str) -> bool {
    if let (Ok(name), Ok(host)) = (name.parse::<IpAddr>(), host.parse::<IpAddr>()) {
        return name == host;
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    if name.eq_ignore_ascii_case(host) {
        return true;
    }
    let (Some(parent), Some((label, rest))) = (name.strip_prefix("*."), host.split_once('.')) else { return false };
    !label.is_empty() && parent.eq_ignore_ascii_case(rest)
}

/// The kind and size of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyFacts {
    /// RSA, with the length of its modulus.
    Rsa {
        /// The length in bits.
        bits: usize,
    },
    /// ECDSA over a named curve.
    Ec {
        /// The name of the curve, or its OID.
        curve: String,
    },
    /// Ed25519.
    Ed25519,
    /// Another kind.
    Other {
        /// Its OID.
        oid: String,
    },
}

impl std::fmt::Display for KeyFacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rsa { bits } => write!(f, "RSA {bits}"),
            Self::Ec { curve } => write!(f, "ECDSA {curve}"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Other { oid } => f.write_str(oid),
        }
    }
}

/// What a certificate says; `None` if it cannot be parsed.
pub fn describe(der: &CertificateDer<'_>) -> Option<CertFacts> {
    let (_, cert) = X509Certificate::from_der(der).ok()?;
    let oid = cert.signature_algorithm.algorithm.to_id_string();
    let usage = cert.extended_key_usage().ok().flatten();
    let (for_servers, for_clients) =
        usage.map_or((true, true), |usage| (usage.value.server_auth, usage.value.client_auth));
    let common_name = cert.subject().iter_common_name().next().and_then(|name| name.as_str().ok()).map(clean);
    let hex = cert.raw_serial().iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    Some(CertFacts {
        subject: clean(&cert.subject().to_string()),
        common_name,
        issuer: clean(&cert.issuer().to_string()),
        names: names(&cert),
        not_before: cert.validity().not_before.timestamp(),
        not_after: cert.validity().not_after.timestamp(),
        key: key(&cert),
        signature: signature(&oid).map_or(oid, str::to_owned),
        serial: hex,
        fingerprint: Fingerprint::of(der),
        is_ca: cert.is_ca(),
        is_self_issued: cert.subject().as_raw() == cert.issuer().as_raw(),
        version: cert.version().0 + 1,
        for_servers,
        for_clients,
    })
}

/// What each certificate of a chain says; those that cannot be parsed are left out.
pub fn describe_chain(chain: &[CertificateDer<'_>]) -> Vec<CertFacts> {
    chain.iter().filter_map(describe).collect()
}

fn names(cert: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = cert.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(clean(name)),
        GeneralName::RFC822Name(name) => Some(format!("email:{}", clean(name))),
        GeneralName::URI(name) => Some(format!("uri:{}", clean(name))),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let ip = v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
            ip.ok().map(|ip| ip.to_string())
        }
        _ => None,
    };
    names.value.general_names.iter().filter_map(name).collect()
}

fn key(cert: &X509Certificate<'_>) -> KeyFacts {
    let key = cert.public_key();
    let oid = key.algorithm.algorithm.to_id_string();
    match oid.as_str() {
        "1.3.101.112" => return KeyFacts::Ed25519,
        "1.2.840.10045.2.1" => {
            let curve = key.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
            let curve = curve.map_or_else(|| oid.clone(), |curve| curve.to_id_string());
            let name = match curve.as_str() {
                "1.2.840.10045.3.1.7" => "P-256",
                "1.3.132.0.34" => "P-384",
                "1.3.132.0.35" => "P-521",
                other => other,
            };
            return KeyFacts::Ec { curve: name.to_owned() };
        }
        _ => {}
    }
    match key.parsed() {
        Ok(PublicKey::RSA(rsa)) => {
            // A zero byte stands in front where the number would read as negative.
            let modulus = rsa.modulus.iter().position(|byte| *byte != 0).map_or(&[][..], |at| &rsa.modulus[at..]);
            let spare = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
            KeyFacts::Rsa { bits: modulus.len() * 8 - spare }
        }
        _ => KeyFacts::Other { oid },
    }
}

fn signature(oid: &str) -> Option<&'static str> {
    Some(match oid {
        "1.2.840.113549.1.1.4" => "RSA with MD5",
        "1.2.840.113549.1.1.5" => "RSA with SHA-1",
        "1.2.840.113549.1.1.11" => "RSA with SHA-256",
        "1.2.840.113549.1.1.12" => "RSA with SHA-384",
        "1.2.840.113549.1.1.13" => "RSA with SHA-512",
        "1.2.840.113549.1.1.10" => "RSA-PSS",
        "1.2.840.10045.4.1" => "ECDSA with SHA-1",
        "1.2.840.10045.4.3.2" => "ECDSA with SHA-256",
        "1.2.840.10045.4.3.3" => "ECDSA with SHA-384",
        "1.2.840.10045.4.3.4" => "ECDSA with SHA-512",
        "1.3.101.112" => "Ed25519",
        _ => return None,
    })
}

/// Without what would steer a terminal.
fn clean(text: &str) -> String {
    let steers = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

/// The time of day, in seconds since 1970.
pub fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// A time in seconds since 1970 as `2026-11-26 03:34:57 UTC`; times outside the years 0 to 9999 as their number.
pub fn utc(seconds: i64) -> String {
    match OffsetDateTime::from_unix_timestamp(seconds) {
        Ok(at) => format!(
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02} UTC",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second()
        ),
        Err(_) => seconds.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_one_label() {
        assert!(covers("*.example.com", "a.example.com"));
        assert!(covers("*.Example.com", "A.example.COM."));
        assert!(covers("example.com", "EXAMPLE.com"));
        assert!(covers("::1", "0:0::1") && covers("127.0.0.1", "127.0.0.1"));
        for (name, host) in [
            ("*.example.com", "example.com"),
            ("*.example.com", "a.b.example.com"),
            ("*.example.com", ".example.com"),
            ("*", "localhost"),
            ("a*.example.com", "ab.example.com"),
            ("example.com", "xexample.com"),
        ] {
            assert!(!covers(name, host), "{name} {host}");
        }
    }

    #[test]
    fn what_would_steer_a_terminal_is_taken_out() {
        assert_eq!(clean("CN=a\u{1b}[31m\r\u{202e}b"), "CN=a\u{fffd}[31m\u{fffd}\u{fffd}b");
        assert_eq!(clean("CN=한글"), "CN=한글");
    }

    #[test]
    fn times_are_told_in_utc() {
        assert_eq!(utc(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(1_795_664_097), "2026-11-26 03:34:57 UTC");
        assert_eq!(utc(i64::MAX), i64::MAX.to_string());
    }
}
