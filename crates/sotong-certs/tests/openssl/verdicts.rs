//! Why a client refuses a server, in typed form, and whom it trusts.

use std::sync::Arc;

use sotong_certs::{
    CertError, ClientTls, Fingerprint, Holds, Refusal, Trust, Why, client_config, describe, read_chain,
};

use crate::common::{OpensslServer, Pki, ask, pki, serve};

fn pin(pki: &Pki, name: &str) -> Fingerprint {
    Fingerprint::of(&read_chain(&pki.path(name)).expect("a chain")[0])
}

fn server(pki: &Pki, name: &str) -> OpensslServer {
    OpensslServer::start(pki, &format!("-cert {name}.pem -key {name}.key -cert_chain mid.pem"))
}

/// Whether the server was reached, and what is remembered of it.
fn reached(client: &ClientTls, address: &str, name: &str) -> (bool, Option<Refusal>) {
    let client = client_config(client).expect("a client");
    let answer = ask(&client.config, address, name);
    (answer.is_ok_and(|(answer, _)| answer == "olleh\n"), client.verdict.refusal())
}

/// A server that is refused, and why; and what is remembered where anybody is trusted.
#[track_caller]
fn check(pki: &Pki, name: &str, host: &str, expect: &Why) {
    let server = server(pki, name);
    let (is_reached, refusal) = reached(&pki.client("root.pem"), &server.address, host);
    let refusal = refusal.expect("it is remembered");
    assert!(!is_reached, "{name}");
    assert_eq!((&refusal.why, refusal.name.as_str()), (expect, host), "{name}");
    let shown = read_chain(&pki.path(&format!("{name}.pem"))).expect("a chain");
    assert_eq!(refusal.chain.first(), shown.first(), "{name}: the chain is kept");
    assert_eq!(refusal.facts().first(), describe(&shown[0]).as_ref(), "{name}");

    let anybody = ClientTls { trust: Trust::Anybody, ..ClientTls::default() };
    let (is_reached, refusal) = reached(&anybody, &server.address, host);
    assert!(is_reached && refusal.is_some(), "{name}: trusting anybody, and still remembered");
}

#[test]
fn each_check_that_fails_has_its_name() {
    let Some(pki) = pki() else { return };
    let names = ["other.example".to_owned(), "192.0.2.1".to_owned()].to_vec();
    check(pki, "expired", "localhost", &Why::Expired { not_after: Some(1_609_459_200) });
    check(pki, "future", "localhost", &Why::NotYetValid { not_before: Some(2_461_449_600) });
    check(pki, "other", "localhost", &Why::NameMismatch { names: names.clone() });
    check(pki, "other", "127.0.0.1", &Why::NameMismatch { names });
    check(pki, "nameless", "localhost", &Why::NameMismatch { names: vec![] });
    check(pki, "self", "localhost", &Why::SelfSigned);
    check(pki, "client", "localhost", &Why::NotForServers);
    check(pki, "old", "localhost", &Why::OldVersion { version: 1 });
    check(pki, "stranger", "localhost", &Why::SelfSigned);
    check(pki, "mid", "localhost", &Why::Authority);
}

#[test]
fn an_issuer_who_is_not_known_is_named() {
    let Some(pki) = pki() else { return };
    let server_with = |chain: &str| OpensslServer::start(pki, &format!("-cert ec-pkcs8.pem -key ec-pkcs8.key {chain}"));
    let stranger = pki.client("stranger.pem");
    let (is_reached, refusal) = reached(&stranger, &server_with("-cert_chain mid.pem").address, "localhost");
    assert!(!is_reached);
    assert_eq!(refusal.expect("refused").why, Why::UnknownIssuer { issuer: "CN=Root, O=Test".to_owned() });
    // Without the certificate between, nobody can tell who stands behind it.
    let (is_reached, refusal) = reached(&pki.client("root.pem"), &server_with("").address, "localhost");
    assert!(!is_reached);
    assert_eq!(refusal.expect("refused").why, Why::UnknownIssuer { issuer: "CN=mid".to_owned() });
    let (is_reached, refusal) = reached(&pki.client("mid.pem"), &server_with("").address, "localhost");
    assert_eq!((is_reached, refusal), (true, None), "an authority between may be trusted itself");
}

#[test]
fn a_certificate_that_is_known_itself_is_checked_for_the_rest() {
    let Some(pki) = pki() else { return };
    let known = pki.client("self.pem");
    let server = server(pki, "self");
    assert_eq!(reached(&known, &server.address, "localhost"), (true, None), "as `curl --cacert` has it");
    let (is_reached, refusal) = reached(&known, &server.address, "127.0.0.1");
    assert!(!is_reached);
    assert_eq!(refusal.expect("refused").why, Why::NameMismatch { names: vec!["localhost".to_owned()] });
    let (is_reached, refusal) = reached(&pki.client("expired.pem"), &self::server(pki, "expired").address, "localhost");
    assert!(!is_reached);
    assert_eq!(refusal.expect("refused").why, Why::Expired { not_after: Some(1_609_459_200) });
}

#[test]
fn a_pin_is_all_the_trust_there_is() {
    let Some(pki) = pki() else { return };
    for (name, host) in
        [("ec-pkcs8", "localhost"), ("expired", "localhost"), ("self", "192.0.2.7"), ("nameless", "x.example")]
    {
        let server = server(pki, name);
        let pinned = |pins| ClientTls { trust: Trust::Pins(pins), ..ClientTls::default() };
        let seen = pin(pki, &format!("{name}.pem"));
        let other = pin(pki, "p384.pem");
        assert_eq!(reached(&pinned(vec![other, seen]), &server.address, host), (true, None), "{name}");
        let (is_reached, refusal) = reached(&pinned(vec![other]), &server.address, host);
        assert!(!is_reached, "{name}");
        assert_eq!(refusal.expect("refused").why, Why::PinMismatch { seen }, "{name}");
        let (is_reached, refusal) = reached(&pinned(vec![pin(pki, "mid.pem")]), &server.address, host);
        assert!(!is_reached && refusal.is_some(), "only the server's own certificate is pinned");
    }
}

/// A server that shows a certificate whose key it does not have.
#[test]
fn a_pinned_certificate_is_nothing_without_its_key() {
    let Some(pki) = pki() else { return };
    let provider = sotong_certs::provider();
    let key = rustls_key(&pki.read("ec-pkcs8.key"));
    let key = provider.key_provider.load_private_key(key).expect("a key");
    let stolen = read_chain(&pki.path("self.pem")).expect("a chain");
    let stolen = Arc::new(rustls::sign::CertifiedKey::new(stolen, key));
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12, &rustls::version::TLS13])
        .expect("versions")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(stolen)));
    let config = Arc::new(config);
    let (address, served) = serve(1, move || Arc::clone(&config));
    let client = ClientTls { trust: Trust::Pins(vec![pin(pki, "self.pem")]), ..ClientTls::default() };
    let (is_reached, refusal) = reached(&client, &address, "localhost");
    assert!(!is_reached);
    assert_eq!(refusal.expect("refused").why, Why::BadSignature);
    assert!(served.join().expect("no panic")[0].is_err());
}

fn rustls_key(pem: &str) -> rustls::pki_types::PrivateKeyDer<'static> {
    use rustls::pki_types::pem::PemObject;
    rustls::pki_types::PrivateKeyDer::from_pem_slice(pem.as_bytes()).expect("a key")
}

#[test]
fn a_file_of_authorities_without_one_is_told() {
    let Some(pki) = pki() else { return };
    let file = pki.path("root.key");
    let refused = client_config(&pki.client("root.key")).map(drop);
    assert_eq!(refused, Err(CertError::NoCertificate { file, holds: Holds::Key }));
    let both = Trust::Files(vec![pki.path("stranger.pem"), pki.path("root.pem")]);
    let both = ClientTls { trust: both, ..ClientTls::default() };
    assert_eq!(reached(&both, &server(pki, "ec-pkcs8").address, "localhost"), (true, None), "several files");
}

#[test]
fn false_signatures_are_found() {
    let Some(pki) = pki() else { return };
    // A stranger with the name of the authority between.
    pki.openssl("req -x509 -key stranger.key -days 30 -subj /CN=mid -out false-mid.pem");
    let server = OpensslServer::start(pki, "-cert ec-pkcs8.pem -key ec-pkcs8.key -cert_chain mid.pem");
    let (is_reached, refusal) = reached(&pki.client("false-mid.pem"), &server.address, "localhost");
    assert!(!is_reached);
    assert!(matches!(refusal.expect("refused").why, Why::BadSignature | Why::UnknownIssuer { .. }));
    assert!(pki.output("verify -CAfile false-mid.pem ec-pkcs8.pem").status.code() != Some(0), "openssl agrees");
}

/// The client of the test below, in a process of its own: an environment cannot be changed within one.
#[test]
fn child_that_trusts_the_systems_authorities() {
    let Some(address) = std::env::var_os("SOTONG_CERTS_ADDRESS") else { return };
    let expect = std::env::var("SOTONG_CERTS_EXPECT").expect("what to expect");
    let said = match client_config(&ClientTls::default()) {
        Err(why) => format!("{why:?}"),
        Ok(client) => {
            let answer = ask(&client.config, address.to_str().expect("UTF-8"), "localhost").map(|(answer, _)| answer);
            format!("{answer:?} {:?}", client.verdict.refusal().map(|refusal| refusal.why))
        }
    };
    assert!(said.contains(&expect), "{said}");
}

#[test]
fn the_systems_authorities_are_trusted_by_default() {
    let Some(pki) = pki() else { return };
    let server = server(pki, "ec-pkcs8");
    pki.write("no-roots.pem", "");
    for (file, expect) in
        [("root.pem", "Ok(\"olleh\\n\") None"), ("stranger.pem", "UnknownIssuer"), ("no-roots.pem", "NoSystemRoots")]
    {
        let output = std::process::Command::new(std::env::current_exe().expect("a path"))
            .args(["--exact", "verdicts::child_that_trusts_the_systems_authorities"])
            .env("SSL_CERT_FILE", pki.path(file))
            .env_remove("SSL_CERT_DIR")
            .env("SOTONG_CERTS_ADDRESS", &server.address)
            .env("SOTONG_CERTS_EXPECT", expect)
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{file}: {said}");
    }
}
