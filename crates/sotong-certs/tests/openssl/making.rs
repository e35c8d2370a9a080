//! What is made here, read by openssl.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Barrier};
use std::thread;

use sotong_certs::{
    Authority, CertError, ClientTls, DAYS_MAX, Finding, Holder, HostName, Issued, KeyFacts, KeyType, Order, Overwrite,
    Trust, Warning, authority_file, check, client_config, identity_that_lasts, names_of_this_machine, read_chain,
    records, server_config,
};

use crate::common::{Pki, ask, openssl, output, pki, serve};

/// An empty folder.
fn folder(pki: &Pki, name: &str) -> PathBuf {
    let folder = pki.path(name);
    fs::create_dir(&folder).expect("made");
    folder
}

fn names(names: &[&str]) -> Vec<HostName> {
    names.iter().map(|name| name.parse().expect("a name")).collect()
}

fn server(of: &[&str], key: KeyType) -> Order {
    Order { holder: Holder::Server(names(of)), days: 30, key }
}

fn mode(file: &Path) -> u32 {
    file.metadata().expect("a file").permissions().mode() & 0o777
}

fn issue(authority: &Authority, order: &Order, folder: &Path) -> Result<Issued, CertError> {
    authority.issue(order, folder, Overwrite::Never)
}

#[test]
fn an_authority_is_made_once_for_its_owner_alone() {
    let Some(pki) = pki() else { return };
    let folder = pki.path("once/sotong/authority");
    let first = Authority::open(&folder).expect("made");
    let second = Authority::open(&folder).expect("found");
    assert_eq!((first.is_new(), second.is_new()), (true, false));
    assert_eq!((first.facts(), first.pem()), (second.facts(), second.pem()));
    assert_eq!((mode(&folder), mode(&folder.join("ca-key.pem")), mode(&first.file())), (0o700, 0o600, 0o644));
    assert!(first.facts().is_ca && first.facts().is_self_issued);
    let text = openssl(&folder, "x509 -in ca.pem -noout -text");
    for part in ["CA:TRUE, pathlen:0", "Certificate Sign, CRL Sign", "critical"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(first.warning(), None);
    let key = folder.join("ca-key.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("set");
    assert_eq!(first.warning(), Some(Warning::KeyReadable { file: key, mode: 0o644 }));
}

#[test]
fn of_many_who_come_first_one_makes_the_authority() {
    let Some(pki) = pki() else { return };
    let folder = pki.path("race/authority");
    let start = Arc::new(Barrier::new(8));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (folder, start) = (folder.clone(), Arc::clone(&start));
            thread::spawn(move || {
                start.wait();
                Authority::open(&folder).map(|authority| (authority.is_new(), authority.facts().fingerprint))
            })
        })
        .collect();
    let found: Vec<_> =
        threads.into_iter().map(|thread| thread.join().expect("no panic").expect("an authority")).collect();
    assert_eq!(found.iter().filter(|(is_new, _)| *is_new).count(), 1);
    assert!(found.iter().all(|(_, print)| *print == found[0].1), "all have the same");
}

#[test]
fn what_is_issued_is_verified_by_openssl_and_by_us() {
    let Some(pki) = pki() else { return };
    let data = folder(pki, "issued");
    let authority = Authority::open(&data).expect("made");
    for (key, expect) in
        [(KeyType::Ecdsa, KeyFacts::Ec { curve: "P-256".to_owned() }), (KeyType::Ed25519, KeyFacts::Ed25519)]
    {
        let out = data.join(format!("{key:?}"));
        let of = ["localhost", "*.한글.example", "127.0.0.1", "::1"];
        let issued = issue(&authority, &server(&of, key), &out).expect("issued");
        assert_eq!((&issued.cert, &issued.key), (&out.join("localhost.pem"), &out.join("localhost-key.pem")));
        assert_eq!((mode(&issued.cert), mode(&issued.key)), (0o644, 0o600));
        assert_eq!(issued.facts.names, ["localhost", "*.xn--bj0bj06e.example", "127.0.0.1", "::1"]);
        assert_eq!((issued.facts.days_left(issued.facts.not_before + 3_600), &issued.facts.key), (30, &expect));
        assert_eq!(read_chain(&issued.cert).expect("a chain").len(), 2, "the authority's is behind it");
        for purpose in [
            "-purpose sslserver -verify_hostname localhost",
            "-verify_ip ::1",
            "-verify_hostname a.xn--bj0bj06e.example",
        ] {
            openssl(&out, &format!("verify -x509_strict -CAfile ../ca.pem {purpose} localhost.pem"));
        }
        openssl(&out, "pkey -in localhost-key.pem -check -noout");
        let text = openssl(&out, "x509 -in localhost.pem -noout -text");
        for part in ["CA:FALSE", "Digital Signature", "TLS Web Server Authentication", "Authority Key Identifier"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(check(&issued.cert, Some(&issued.key), 7, &[]).expect("read").findings, []);

        let files = sotong_certs::IdentityFiles { cert: issued.cert, key: Some(issued.key) };
        let config = server_config(&sotong_certs::ServerTls { identities: vec![files], ..Default::default() });
        let config = config.expect("a server");
        let (address, served) = serve(1, move || Arc::clone(&config));
        let trust = Trust::Files(vec![authority.file()]);
        let client = client_config(&ClientTls { trust, ..ClientTls::default() }).expect("a client");
        assert_eq!(ask(&client.config, &address, "::1").expect("verified").0, "heard hello\n");
        drop(served.join().expect("no panic"));
    }
}

#[test]
fn a_clients_certificate_names_the_client() {
    let Some(pki) = pki() else { return };
    let data = folder(pki, "clients");
    let authority = Authority::open(&data).expect("made");
    for (name, file, expect) in [
        ("alice", "alice", &[][..]),
        ("bob@mail.example", "bob@mail.example", &["email:bob@mail.example"]),
        ("김 영희", "김_영희", &[]),
    ] {
        let order = Order { holder: Holder::Client(name.to_owned()), days: 1, key: KeyType::Ecdsa };
        let issued = issue(&authority, &order, &data).expect("issued");
        assert_eq!(issued.cert, data.join(format!("{file}.pem")));
        assert_eq!(
            (issued.facts.common_name.as_deref(), &issued.facts.names[..]),
            (Some(name), &expect.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()[..])
        );
        assert!(issued.facts.for_clients && !issued.facts.for_servers);
        openssl(&data, &format!("verify -x509_strict -purpose sslclient -CAfile ca.pem {file}.pem"));
        assert_ne!(
            output(&data, &format!("verify -purpose sslserver -CAfile ca.pem {file}.pem")).status.code(),
            Some(0)
        );
    }
}

#[test]
fn nothing_is_overwritten_without_force_and_nothing_is_left_behind() {
    let Some(pki) = pki() else { return };
    let data = folder(pki, "overwrite");
    let authority = Authority::open(&data).expect("made");
    let out = folder(pki, "overwrite/out");
    let order = server(&["a.example"], KeyType::Ecdsa);
    let cert = out.join("a.example.pem");
    fs::write(&cert, "mine").expect("written");
    assert_eq!(issue(&authority, &order, &out), Err(CertError::Exists { file: cert.clone() }));
    fs::rename(&cert, out.join("a.example-key.pem")).expect("renamed");
    assert_eq!(issue(&authority, &order, &out), Err(CertError::Exists { file: out.join("a.example-key.pem") }));
    assert_eq!(fs::read_dir(&out).expect("a folder").count(), 1, "neither half a pair nor temporary files");
    assert_eq!(records(&data), Ok(vec![]), "what was not issued is not remembered");
    let issued = authority.issue(&order, &out, Overwrite::Force).expect("issued");
    assert!(fs::read_to_string(&issued.key).expect("a key").starts_with("-----BEGIN PRIVATE KEY-----"));
    assert_eq!((fs::read_dir(&out).expect("a folder").count(), mode(&issued.key)), (2, 0o600));
    assert_eq!(issue(&authority, &order, &out), Err(CertError::Exists { file: cert }));
}

#[test]
fn what_was_issued_is_remembered_with_its_place() {
    let Some(pki) = pki() else { return };
    let data = folder(pki, "records");
    let authority = Authority::open(&data).expect("made");
    assert_eq!(records(&data), Ok(vec![]));
    let issued: Vec<_> = [10, 30, 20]
        .map(|days| Order { days, ..server(&[&format!("d{days}.example")], KeyType::Ecdsa) })
        .iter()
        .map(|order| issue(&authority, order, &data.join("out")).expect("issued"))
        .collect();
    let found = records(&data).expect("read");
    let expect: Vec<_> = [1, 2, 0].map(|at: usize| (issued[at].cert.clone(), issued[at].facts.clone())).into();
    assert_eq!(found.into_iter().map(|record| (record.file, record.facts)).collect::<Vec<_>>(), expect);
    let is_there = || records(&data).expect("read").iter().map(sotong_certs::Record::is_there).collect::<Vec<_>>();
    assert_eq!(is_there(), [true; 3]);
    fs::remove_file(&issued[2].cert).expect("removed");
    fs::copy(&issued[1].cert, &issued[0].cert).expect("copied");
    assert_eq!(is_there(), [true, false, false], "the first one's file holds another");
    fs::write(data.join("issued/no-record.pem"), "something else").expect("written");
    assert_eq!(records(&data).map(|found| found.len()), Ok(3));
}

#[test]
fn an_order_that_cannot_be_filled_is_told() {
    let Some(pki) = pki() else { return };
    let data = folder(pki, "orders");
    let authority = Authority::open(&data).expect("made");
    for days in [0, DAYS_MAX + 1] {
        let order = Order { days, ..server(&["a.example"], KeyType::Ecdsa) };
        assert_eq!(issue(&authority, &order, &data), Err(CertError::BadDays { days }));
    }
    assert_eq!(issue(&authority, &server(&[], KeyType::Ecdsa), &data), Err(CertError::NoName));
    let nobody = Order { holder: Holder::Client(String::new()), days: 1, key: KeyType::Ecdsa };
    assert!(matches!(issue(&authority, &nobody, &data), Err(CertError::BadName { .. })));
    let file = data.join("ca.pem");
    assert_eq!(
        issue(&authority, &server(&["a.example"], KeyType::Ecdsa), &file)
            .map_err(|why| matches!(why, CertError::Unwritable { .. })),
        Err(true),
        "a file is no folder"
    );
}

#[test]
fn an_authority_that_cannot_be_used_is_told_and_kept() {
    let Some(pki) = pki() else { return };
    let data = folder(pki, "broken");
    let opened = || Authority::open(&data).map(drop);
    let (cert, key) = (authority_file(&data), data.join("ca-key.pem"));
    fs::copy(pki.path("expired.pem"), &cert).expect("copied");
    fs::copy(pki.path("expired.key"), &key).expect("copied");
    assert_eq!(opened(), Err(CertError::AuthorityExpired { file: cert.clone(), not_after: 1_609_459_200 }));
    fs::copy(pki.path("root.pem"), &cert).expect("copied");
    assert_eq!(opened(), Err(CertError::KeyMismatch { cert: cert.clone(), key: key.clone() }));
    fs::remove_file(&key).expect("removed");
    assert_eq!(opened(), Err(CertError::Unreadable { file: key, why: std::io::ErrorKind::NotFound }));
    fs::write(&cert, "-----BEGIN CERTIFICATE-----\n").expect("written");
    assert_eq!(opened(), Err(CertError::Damaged { file: cert.clone() }));
    fs::remove_file(&cert).expect("removed");
    assert_eq!(opened(), Ok(()), "a folder without a certificate gets one");
}

#[test]
fn a_servers_own_certificate_lasts_and_is_renewed_before_its_end() {
    let Some(pki) = pki() else { return };
    let data = pki.path("lasting/server");
    let first = identity_that_lasts(&data, &names_of_this_machine()).expect("made");
    assert_eq!((first.is_new, mode(&first.files.cert), mode(&data)), (true, 0o600, 0o700));
    for name in ["localhost", "127.0.0.1", "::1"] {
        assert!(first.facts.is_for(name), "{name}");
    }
    let again = identity_that_lasts(&data, &names(&["other.example"])).expect("found");
    assert_eq!((again.is_new, again.facts.fingerprint), (false, first.facts.fingerprint), "it is pinned somewhere");

    let config = sotong_certs::ServerTls { identities: vec![first.files.clone()], ..Default::default() };
    let config = server_config(&config).expect("a server");
    let (address, served) = serve(2, move || Arc::clone(&config));
    let pinned = Trust::Pins(vec![first.facts.fingerprint]);
    for trust in [pinned, Trust::Files(vec![first.files.cert.clone()])] {
        let client = client_config(&ClientTls { trust, ..ClientTls::default() }).expect("a client");
        assert_eq!(ask(&client.config, &address, "127.0.0.1").expect("trusted").0, "heard hello\n");
    }
    drop(served.join().expect("no panic"));
    openssl(&data, "verify -CAfile self-signed.pem -verify_hostname localhost self-signed.pem");

    for days in [29, 31] {
        pki.openssl(&format!("req -x509 -key self.key -days {days} -subj /CN=old -out {days}.pem"));
        fs::write(&first.files.cert, pki.read(&format!("{days}.pem")) + &pki.read("self.key")).expect("written");
        let found = identity_that_lasts(&data, &names(&["localhost"])).expect("usable");
        assert_eq!(found.is_new, days == 29, "{days}");
    }
    fs::write(&first.files.cert, pki.read("expired.pem") + &pki.read("expired.key")).expect("written");
    assert!(identity_that_lasts(&data, &names(&["localhost"])).expect("made").is_new);
    fs::write(&first.files.cert, "nonsense").expect("written");
    assert!(matches!(identity_that_lasts(&data, &names(&["localhost"])), Err(CertError::NoCertificate { .. })));
    assert_eq!(fs::read_to_string(&first.files.cert).expect("kept"), "nonsense");
}

#[test]
fn a_check_finds_what_clients_would_refuse() {
    let Some(pki) = pki() else { return };
    let findings = |name: &str, days| check(&pki.path(name), None, days, &[]).expect("read").findings;
    let subject = || "CN=ec-pkcs8".to_owned();
    let root = read_chain(&pki.path("root.pem")).expect("a chain");
    pki.write("whole.pem", ["ec-pkcs8", "mid", "root"].map(|name| pki.read(&format!("{name}.pem"))).concat());
    pki.write("swapped.pem", ["ec-pkcs8", "root", "mid"].map(|name| pki.read(&format!("{name}.pem"))).concat());
    assert_eq!(findings("whole.pem", 30), []);
    assert_eq!(findings("self.pem", 7), [], "self-signed is whole");
    assert_eq!(findings("ec-pkcs8.chain.pem", 30), [Finding::Incomplete { issuer: "CN=Root, O=Test".to_owned() }]);
    assert_eq!(check(&pki.path("ec-pkcs8.chain.pem"), None, 30, &root).expect("read").findings, []);
    assert_eq!(findings("ec-pkcs8.pem", 30), [Finding::Incomplete { issuer: "CN=mid".to_owned() }]);
    assert_eq!(findings("swapped.pem", 30), [Finding::Disorder { subject: "CN=Root, O=Test".to_owned() }]);
    let ends = 2_493_072_000;
    assert_eq!(findings("whole.pem", 36_500)[0], Finding::Expiring { subject: subject(), not_after: ends });
    let of = |name: &str| check(&pki.path(name), None, 30, &root).expect("read").findings;
    let expired = Finding::Expired { subject: "CN=expired".to_owned(), not_after: 1_609_459_200 };
    assert_eq!(of("expired.chain.pem"), [expired]);
    let future = Finding::NotYetValid { subject: "CN=future".to_owned(), not_before: 2_461_449_600 };
    assert_eq!(of("future.chain.pem"), [future]);
    assert_eq!(of("nameless.chain.pem"), [Finding::NoNames { subject: "CN=nameless".to_owned() }]);
    let old = Finding::OldVersion { subject: "CN=localhost".to_owned(), version: 1 };
    assert_eq!(check(&pki.path("old.pem"), None, 7, &root).expect("read").findings, [old]);
    let (cert, key) = (pki.path("whole.pem"), pki.path("self.key"));
    assert_eq!(check(&cert, Some(&key), 30, &[]), Err(CertError::KeyMismatch { cert, key }));
}
