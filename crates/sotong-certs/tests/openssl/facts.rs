//! What is read out of certificates is what openssl reads.

use sotong_certs::{CertFacts, KeyFacts, describe, read_chain, utc};

use crate::common::{Pki, pki};

fn facts(pki: &Pki, name: &str) -> CertFacts {
    describe(&read_chain(&pki.path(name)).expect("a chain")[0]).expect("a certificate")
}

#[test]
fn names_dates_serial_and_fingerprint_are_those_of_openssl() {
    let Some(pki) = pki() else { return };
    for name in ["rsa-pkcs1.pem", "ec-sec1.pem", "ed25519.pem", "root.pem", "self.pem", "old.pem"] {
        let facts = facts(pki, name);
        let said =
            pki.openssl(&format!("x509 -in {name} -noout -serial -fingerprint -sha256 -dates -dateopt iso_8601"));
        let mut said = said.lines().filter_map(|line| Some(line.split_once('=')?.1.to_owned()));
        let serial = said.next().expect("a serial").to_lowercase();
        assert_eq!(facts.serial.trim_start_matches('0'), serial.trim_start_matches('0'), "{name}");
        assert_eq!(facts.fingerprint.with_colons(), said.next().expect("a fingerprint"), "{name}");
        for (mine, theirs) in [facts.not_before, facts.not_after].map(utc).iter().zip(said) {
            assert_eq!(mine.replace(" UTC", "Z"), theirs, "{name}");
        }
    }
}

#[test]
fn keys_and_signatures_have_names() {
    let Some(pki) = pki() else { return };
    let ec = |curve: &str| KeyFacts::Ec { curve: curve.to_owned() };
    for (name, key) in [
        ("rsa-pkcs1.pem", KeyFacts::Rsa { bits: 2048 }),
        ("ec-sec1.pem", ec("P-256")),
        ("p384.pem", ec("P-384")),
        ("ed25519.pem", KeyFacts::Ed25519),
    ] {
        let facts = facts(pki, name);
        assert_eq!((facts.key, facts.signature.as_str()), (key, "ECDSA with SHA-256"), "{name}");
    }
    pki.openssl("req -x509 -key ed25519.key -days 3 -subj /CN=e -out ed25519-self.pem");
    pki.openssl("req -x509 -key rsa-pkcs8.key -sha384 -days 3 -subj /CN=r -out rsa-self.pem");
    assert_eq!(facts(pki, "ed25519-self.pem").signature, "Ed25519");
    assert_eq!(facts(pki, "rsa-self.pem").signature, "RSA with SHA-384");
}

#[test]
fn who_it_is_and_what_it_is_for() {
    let Some(pki) = pki() else { return };
    let leaf = facts(pki, "ec-pkcs8.pem");
    assert_eq!((leaf.subject.as_str(), leaf.issuer.as_str()), ("CN=ec-pkcs8", "CN=mid"));
    assert_eq!(leaf.names, ["localhost", "*.test.example", "127.0.0.1", "::1"]);
    assert!(leaf.for_servers && leaf.for_clients && !leaf.is_ca && !leaf.is_self_issued);
    let client = facts(pki, "client.pem");
    assert_eq!(
        (client.for_servers, client.for_clients, &client.names[..]),
        (false, true, &["email:a@test.example".into()][..])
    );
    let root = facts(pki, "root.pem");
    assert_eq!((root.is_ca, root.is_self_issued, root.subject.as_str()), (true, true, "CN=Root, O=Test"));
    assert_eq!(facts(pki, "old.pem").version, 1);
    assert!(facts(pki, "old.pem").is_for("localhost"), "by its common name, having no other");
    assert_eq!(leaf.days_left(leaf.not_after), 0);
    assert_eq!(leaf.days_left(leaf.not_after + 1), -1);
    assert_eq!(leaf.days_left(leaf.not_after - 86_400), 1);
}

#[test]
fn a_certificate_with_any_bit_wrong_is_read_or_refused_and_nothing_else() {
    let Some(pki) = pki() else { return };
    let good = read_chain(&pki.path("ec-pkcs8.pem")).expect("a chain").remove(0);
    let mut read = 0;
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.to_vec();
            bad[at] ^= 1 << bit;
            if let Some(facts) = describe(&bad.into()) {
                assert_ne!(facts.fingerprint, describe(&good).expect("good").fingerprint);
                read += 1;
            }
        }
        assert_eq!(describe(&good[..at].to_vec().into()), None, "cut short at {at}");
    }
    assert!(read > 0, "a signature may be anything");
}
