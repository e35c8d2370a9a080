//! Every kind of file that openssl makes, and each way in which one can be wrong.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use sotong_certs::{
    CertError, ClientAuth, Holds, IdentityFiles, Reloadable, ServerTls, TlsVersion, Versions, Warning, read_chain,
    server_config,
};

use crate::common::{KEYS, Pki, pki};

fn load(cert: PathBuf, key: Option<PathBuf>) -> Result<Vec<Warning>, CertError> {
    let identities = vec![IdentityFiles { cert, key }];
    Reloadable::new(ServerTls { identities, ..ServerTls::default() }).map(|loaded| loaded.warnings())
}

/// What a server with the certificate and the key of these files says.
fn pair(pki: &Pki, cert: &str, key: &str) -> Result<Vec<Warning>, CertError> {
    load(pki.path(cert), Some(pki.path(key)))
}

#[test]
fn every_kind_of_key_is_read() {
    let Some(pki) = pki() else { return };
    for (name, _) in KEYS {
        let first = pki.read(&format!("{name}.key"));
        let first = first.lines().next().expect("a line");
        let expect = match name {
            "rsa-pkcs1" => "-----BEGIN RSA PRIVATE KEY-----",
            "ec-sec1" => "-----BEGIN EC PARAMETERS-----",
            "ec-sec1-bare" => "-----BEGIN EC PRIVATE KEY-----",
            _ => "-----BEGIN PRIVATE KEY-----",
        };
        assert_eq!(first, expect, "{name} is what it is meant to be");
        assert_eq!(pair(pki, &format!("{name}.chain.pem"), &format!("{name}.key")), Ok(vec![]), "{name}");
    }
}

#[test]
fn certificate_and_key_may_share_a_file_in_either_order_with_text_between() {
    let Some(pki) = pki() else { return };
    let text = pki.openssl("x509 -in ec-pkcs8.pem -text");
    let (key, chain) = (pki.read("ec-pkcs8.key"), pki.read("mid.pem"));
    for (name, parts) in [("one.pem", [&text, &chain, &key]), ("two.pem", [&key, &text, &chain])] {
        let file = pki.write(name, parts.map(String::as_str).concat().replace('\n', "\r\n"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("set");
        assert_eq!(load(file, None), Ok(vec![]), "{name}");
    }
}

#[test]
fn a_file_that_cannot_be_used_is_told_by_name_and_cause() {
    let Some(pki) = pki() else { return };
    let key = || pki.path("ec-pkcs8.key");
    let cert = || pki.path("ec-pkcs8.chain.pem");
    let none = pki.path("none.pem");
    assert_eq!(
        load(none.clone(), Some(key())),
        Err(CertError::Unreadable { file: none.clone(), why: io::ErrorKind::NotFound })
    );
    assert_eq!(
        load(cert(), Some(none.clone())),
        Err(CertError::Unreadable { file: none, why: io::ErrorKind::NotFound })
    );
    let zero = PathBuf::from("/dev/zero");
    assert_eq!(load(zero.clone(), Some(key())), Err(CertError::TooLarge { file: zero }));

    pki.openssl("x509 -in ec-pkcs8.pem -outform DER -out cert.der");
    pki.openssl("pkcs12 -export -in ec-pkcs8.pem -inkey ec-pkcs8.key -passout pass:x -out both.p12");
    pki.openssl("pkey -in ec-pkcs8.key -pubout -out public.pem");
    pki.write("empty.pem", "");
    pki.write("words.pem", "not a certificate\n");
    for (name, holds) in [
        ("ec-pkcs8.key", Holds::Key),
        ("ec-pkcs8.csr", Holds::Request),
        ("public.pem", Holds::PublicKey),
        ("cert.der", Holds::Binary),
        ("both.p12", Holds::Binary),
        ("empty.pem", Holds::Empty),
        ("words.pem", Holds::Nothing),
    ] {
        let file = pki.path(name);
        assert_eq!(load(file.clone(), Some(key())), Err(CertError::NoCertificate { file, holds }), "{name}");
    }
    for (name, holds) in [
        ("ec-pkcs8.pem", Holds::Certificate),
        ("public.pem", Holds::PublicKey),
        ("cert.der", Holds::Binary),
        ("empty.pem", Holds::Empty),
    ] {
        let file = pki.path(name);
        assert_eq!(load(cert(), Some(file.clone())), Err(CertError::NoKey { file, holds }), "{name}");
    }
    assert_eq!(load(cert(), None), Err(CertError::NoKey { file: cert(), holds: Holds::Certificate }));
}

#[test]
fn damage_is_told_wherever_it_is() {
    let Some(pki) = pki() else { return };
    let (good, key) = (pki.read("ec-pkcs8.pem"), pki.read("ec-pkcs8.key"));
    let body = good.lines().nth(3).expect("a line");
    let cases = [
        ("cut short", good[..good.len() / 2].to_owned()),
        ("without its end", good.replace("-----END CERTIFICATE-----\n", "")),
        ("not base64", good.replace(body, &body.replace(&body[..4], "!!!!"))),
        ("a line lost", good.replace(&format!("{body}\n"), "")),
        ("the second one cut short", format!("{good}{}", &good[..good.len() / 2])),
        ("no certificate inside", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned()),
    ];
    for (what, text) in cases {
        let file = pki.write("damaged.pem", text);
        assert_eq!(load(file.clone(), Some(pki.path("ec-pkcs8.key"))), Err(CertError::Damaged { file }), "{what}");
    }
    let file = pki.write("damaged.key", &key[..key.len() / 2]);
    assert_eq!(load(pki.path("ec-pkcs8.pem"), Some(file.clone())), Err(CertError::Damaged { file }));
    let file = pki.write("hollow.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    assert_eq!(load(pki.path("ec-pkcs8.pem"), Some(file.clone())), Err(CertError::UnsupportedKey { file }));
}

#[test]
fn keys_that_cannot_be_used_are_told_apart() {
    let Some(pki) = pki() else { return };
    pki.openssl("pkey -in ec-pkcs8.key -aes256 -passout pass:x -out locked-pkcs8.key");
    pki.openssl("rsa -in rsa-pkcs1.key -traditional -aes256 -passout pass:x -out locked-pkcs1.key");
    for (cert, name) in [("ec-pkcs8.pem", "locked-pkcs8.key"), ("rsa-pkcs1.pem", "locked-pkcs1.key")] {
        assert_eq!(pair(pki, cert, name), Err(CertError::EncryptedKey { file: pki.path(name) }));
    }
    pki.openssl("genrsa -out small.key 1024");
    pki.openssl("genpkey -algorithm ED448 -out ed448.key");
    for name in ["small.key", "ed448.key"] {
        assert_eq!(pair(pki, "ec-pkcs8.pem", name), Err(CertError::UnsupportedKey { file: pki.path(name) }), "{name}");
    }
    let (cert, key) = (pki.path("ec-pkcs8.chain.pem"), pki.path("ec-sec1.key"));
    assert_eq!(load(cert.clone(), Some(key.clone())), Err(CertError::KeyMismatch { cert: cert.clone(), key }));
    let key = pki.path("rsa-pkcs8.key");
    assert_eq!(load(cert.clone(), Some(key.clone())), Err(CertError::KeyMismatch { cert, key }));
    let file = pki.write("backwards.pem", pki.read("mid.pem") + &pki.read("ec-pkcs8.pem"));
    assert_eq!(load(file.clone(), Some(pki.path("ec-pkcs8.key"))), Err(CertError::LeafNotFirst { file }));
}

#[test]
fn a_certificate_out_of_its_time_is_not_served() {
    let Some(pki) = pki() else { return };
    let file = pki.path("expired.chain.pem");
    assert_eq!(
        pair(pki, "expired.chain.pem", "expired.key"),
        Err(CertError::Expired { file, not_after: 1_609_459_200 })
    );
    let file = pki.path("future.chain.pem");
    assert_eq!(
        pair(pki, "future.chain.pem", "future.key"),
        Err(CertError::NotYetValid { file, not_before: 2_461_449_600 })
    );
}

#[test]
fn what_works_and_should_be_known_is_warned_of() {
    let Some(pki) = pki() else { return };
    let open = pki.write("open.key", pki.read("ec-pkcs8.key"));
    for (mode, is_told) in [(0o600, false), (0o400, false), (0o640, true), (0o644, true), (0o604, true), (0o620, false)]
    {
        fs::set_permissions(&open, fs::Permissions::from_mode(mode)).expect("set");
        let expect = if is_told { vec![Warning::KeyReadable { file: open.clone(), mode }] } else { vec![] };
        assert_eq!(load(pki.path("ec-pkcs8.chain.pem"), Some(open.clone())), Ok(expect), "{mode:o}");
    }
    pki.openssl("req -x509 -key self.key -days 3 -subj /CN=soon -out soon.pem");
    let Ok(warnings) = pair(pki, "soon.pem", "self.key") else { panic!("it works") };
    assert!(
        matches!(&warnings[..], [Warning::ExpiresSoon { file, .. }] if *file == pki.path("soon.pem")),
        "{warnings:?}"
    );
    let file = pki.write("disorder.pem", pki.read("ec-pkcs8.pem") + &pki.read("stranger.pem"));
    assert_eq!(load(file.clone(), Some(pki.path("ec-pkcs8.key"))), Ok(vec![Warning::ChainDisorder { file }]));
}

#[test]
fn a_server_is_refused_what_it_cannot_do() {
    let Some(pki) = pki() else { return };
    let none = server_config(&ServerTls::default()).map(drop);
    assert_eq!(none, Err(CertError::NoIdentity));
    let versions = Versions { min: TlsVersion::V13, max: TlsVersion::V12 };
    let impossible = server_config(&ServerTls { versions, ..pki.server(&["ec-pkcs8"]) }).map(drop);
    assert_eq!(impossible, Err(CertError::Versions { min: TlsVersion::V13, max: TlsVersion::V12 }));
    let ca = pki.path("ec-pkcs8.key");
    let client_auth = ClientAuth::Demand { ca: ca.clone() };
    let no_ca = server_config(&ServerTls { client_auth, ..pki.server(&["ec-pkcs8"]) }).map(drop);
    assert_eq!(no_ca, Err(CertError::NoCertificate { file: ca, holds: Holds::Key }));
}

#[test]
fn a_chain_is_read_from_pem_and_from_der() {
    let Some(pki) = pki() else { return };
    pki.openssl("x509 -in p384.pem -outform DER -out p384.der");
    let pem = read_chain(&pki.path("p384.chain.pem")).expect("a chain");
    let der = read_chain(&pki.path("p384.der")).expect("a chain");
    assert_eq!((pem.len(), &der[..]), (2, &pem[..1]));
}
