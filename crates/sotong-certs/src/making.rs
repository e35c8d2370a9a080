//! Making certificates and their keys.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SanType, SerialNumber,
};
use ring::rand::{SecureRandom, SystemRandom};
use time::OffsetDateTime;

use crate::error::CertError;
use crate::facts::DAY;
use crate::names::{COMMON_NAME_CHARS_MAX, HostName};

/// A certificate begins an hour before it is made: clocks differ.
const BACKDATED_SECONDS: i64 = 3_600;

/// What stands before the 32 secret bytes in a PKCS#8 of version 1 (RFC 8410, section 7). The library makes version 2, with
/// the public key behind the secret one, which OpenSSL 3.0 cannot read.
const ED25519_PKCS8_HEAD: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// The kind of key that is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyType {
    /// ECDSA over P-256, which everybody can check.
    #[default]
    Ecdsa,
    /// Ed25519, which browsers do not take.
    Ed25519,
}

impl KeyType {
    /// A new key.
    pub(crate) fn generate(self) -> Result<KeyPair, CertError> {
        let key = match self {
            Self::Ecdsa => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            Self::Ed25519 => {
                let der = [&ED25519_PKCS8_HEAD[..], &random::<32>()?].concat();
                KeyPair::from_pkcs8_der_and_sign_algo(&der.into(), &PKCS_ED25519)
            }
        };
        key.map_err(|_| CertError::Library { what: "a new key" })
    }
}

/// Bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], CertError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| CertError::Library { what: "random bytes" })?;
    Ok(bytes)
}

/// What is common to all: the name, a random serial number, valid from about `now` for some days.
pub(crate) fn params(common_name: &str, now: i64, days: u32) -> Result<CertificateParams, CertError> {
    let mut name = DistinguishedName::new();
    if common_name.chars().count() <= COMMON_NAME_CHARS_MAX {
        name.push(DnType::CommonName, common_name);
    }
    // A positive number of 16 bytes (RFC 5280, section 4.1.2.2).
    let mut serial = random::<16>()?;
    serial[0] = serial[0] & 0x7f | 0x40;
    let mut params = CertificateParams::default();
    params.distinguished_name = name;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = at(now - BACKDATED_SECONDS)?;
    params.not_after = at(now + i64::from(days) * DAY)?;
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// A time for a certificate, which has whole seconds.
pub(crate) fn at(seconds: i64) -> Result<OffsetDateTime, CertError> {
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| CertError::Library { what: "a date" })
}

/// Makes an authority of it that issues for peers only, not for other authorities.
pub(crate) fn as_authority(params: &mut CertificateParams) {
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = false;
}

/// Makes a server's certificate of it.
pub(crate) fn as_server(params: &mut CertificateParams, names: &[HostName]) -> Result<(), CertError> {
    let name = |name: &HostName| match name {
        HostName::Ip(ip) => Ok(SanType::IpAddress(*ip)),
        HostName::Dns(name) => name.as_str().try_into().map(SanType::DnsName),
    };
    let names: Result<Vec<_>, _> = names.iter().map(name).collect();
    params.subject_alt_names = names.map_err(|_| CertError::Library { what: "a name" })?;
    as_leaf(params, ExtendedKeyUsagePurpose::ServerAuth);
    Ok(())
}

/// Makes a client's certificate of it; a name that is a mail address also stands where programs look for one.
pub(crate) fn as_client(params: &mut CertificateParams, name: &str) {
    let is_mail = name.split_once('@').is_some_and(|(user, host)| !user.is_empty() && host.contains('.'));
    if let Some(mail) = (is_mail && !name.contains(' ')).then(|| name.try_into().ok()).flatten() {
        params.subject_alt_names = vec![SanType::Rfc822Name(mail)];
    }
    as_leaf(params, ExtendedKeyUsagePurpose::ClientAuth);
}

fn as_leaf(params: &mut CertificateParams, usage: ExtendedKeyUsagePurpose) {
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
}

/// What this machine is called, for a certificate of its own: `localhost`, its host name, 127.0.0.1 and ::1.
pub fn names_of_this_machine() -> Vec<HostName> {
    let mut names = vec![HostName::Dns("localhost".to_owned())];
    names.extend(host_name().filter(|name| !names.contains(name)));
    names.extend([IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)].map(HostName::Ip));
    names
}

/// The host name, if it can be one in a certificate.
pub(crate) fn host_name() -> Option<HostName> {
    rustix::system::uname().nodename().to_str().ok()?.parse().ok()
}
