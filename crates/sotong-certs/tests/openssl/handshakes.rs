//! Our servers with `openssl s_client`, our clients with `openssl s_server`, and both with each other.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::{fs, thread};

use rustls::HandshakeKind;
use sotong_certs::{
    CertError, ClientAuth, ClientTls, Fingerprint, IdentityFiles, Reloadable, ServerTls, TlsVersion, Trust, Versions,
    client_config, read_chain, server_config,
};

use crate::common::{KEYS, OpensslServer, Pki, ask, pki, s_client, serve};

#[test]
fn openssl_verifies_our_server_whatever_its_key() {
    let Some(pki) = pki() else { return };
    for (name, _) in KEYS {
        let config = server_config(&pki.server(&[name])).expect("a server");
        let (address, server) = serve(2, move || Arc::clone(&config));
        for version in ["-tls1_2", "-tls1_3"] {
            let line = format!(
                "{version} -CAfile root.pem -verify_return_error -verify_hostname localhost -servername localhost"
            );
            let said = s_client(pki, &address, &line);
            assert!(
                said.contains("Verify return code: 0 (ok)") && said.contains("heard hello"),
                "{name} {version}: {said}"
            );
        }
        assert!(server.join().expect("no panic").iter().all(Result::is_ok), "{name}");
    }
}

#[test]
fn our_client_verifies_openssl_whatever_its_key() {
    let Some(pki) = pki() else { return };
    let client = client_config(&pki.client("root.pem")).expect("a client");
    for (name, _) in KEYS {
        let server = OpensslServer::start(pki, &format!("-cert {name}.pem -key {name}.key -cert_chain mid.pem"));
        for host in ["localhost", "a.test.example", "127.0.0.1", "::1"] {
            let (answer, _) = ask(&client.config, &server.address, host).unwrap_or_else(|why| panic!("{name}: {why}"));
            assert_eq!(answer, "olleh\n", "{name} {host}");
        }
    }
    assert_eq!(client.verdict.refusal(), None);
}

#[test]
fn a_server_shows_the_certificate_of_the_name_that_is_asked_for() {
    let Some(pki) = pki() else { return };
    let config = server_config(&pki.server(&["other", "ec-pkcs8"])).expect("a server");
    let (address, server) = serve(5, move || Arc::clone(&config));
    for (asked, shown) in [
        ("-servername localhost", "CN = ec-pkcs8"),
        ("-servername A.Test.Example", "CN = ec-pkcs8"),
        ("-servername other.example", "CN = other"),
        ("-servername nobody.example", "CN = other"),
        ("-noservername", "CN = other"),
    ] {
        let said = s_client(pki, &address, asked);
        assert!(said.contains(&format!("subject={shown}\n")), "{asked}: {said}");
    }
    drop(server.join().expect("no panic"));
}

#[test]
fn of_two_certificates_for_a_name_a_client_gets_the_one_it_can_check() {
    let Some(pki) = pki() else { return };
    let config = server_config(&pki.server(&["ed25519", "rsa-pkcs8"])).expect("a server");
    let (address, server) = serve(2, move || Arc::clone(&config));
    for (sigalgs, shown) in [
        ("ed25519:ecdsa_secp256r1_sha256", "CN = ed25519"),
        ("rsa_pss_rsae_sha256:ecdsa_secp256r1_sha256", "CN = rsa-pkcs8"),
    ] {
        let said = s_client(pki, &address, &format!("-servername localhost -sigalgs {sigalgs}"));
        assert!(said.contains(&format!("subject={shown}\n")), "{sigalgs}: {said}");
    }
    drop(server.join().expect("no panic"));
}

/// Whether a client with these flags gets an answer from a server with this wish for certificates.
fn is_served(pki: &Pki, client_auth: ClientAuth, flags: &str) -> bool {
    let config = server_config(&ServerTls { client_auth, ..pki.server(&["ec-pkcs8"]) }).expect("a server");
    let (address, server) = serve(1, move || Arc::clone(&config));
    let said = s_client(pki, &address, flags);
    let ended = server.join().expect("no panic").pop().expect("one client");
    let is_served = said.contains("heard hello");
    assert_eq!(is_served, ended.is_ok(), "{flags}: {said}");
    if flags.contains("-cert") && is_served {
        let shown = ended.expect("it went well");
        assert!(shown.peer_certificates().is_some_and(|chain| !chain.is_empty()), "it is handed on");
    }
    is_served
}

#[test]
fn clients_are_asked_for_certificates_or_must_have_one() {
    let Some(pki) = pki() else { return };
    let ask = || ClientAuth::Ask { ca: pki.path("root.pem") };
    let demand = || ClientAuth::Demand { ca: pki.path("root.pem") };
    let good = "-cert client.pem -key client.key -cert_chain mid.pem";
    let stranger = "-cert self.pem -key self.key";
    for version in ["-tls1_2", "-tls1_3"] {
        let with = |flags: &str| format!("{version} {flags}");
        assert!(is_served(pki, demand(), &with(good)));
        assert!(is_served(pki, ask(), &with(good)));
        assert!(is_served(pki, ask(), version));
        assert!(!is_served(pki, demand(), version));
        assert!(!is_served(pki, demand(), &with(stranger)));
        assert!(!is_served(pki, ask(), &with(stranger)), "a bad one is worse than none");
        assert!(!is_served(pki, demand(), &with("-cert expired.pem -key expired.key -cert_chain mid.pem")));
        let itself = || ClientAuth::Demand { ca: pki.path("self.pem") };
        assert!(is_served(pki, itself(), &with(stranger)), "known itself");
        assert!(!is_served(pki, itself(), &with(good)));
    }
}

#[test]
fn our_client_shows_its_certificate_to_openssl() {
    let Some(pki) = pki() else { return };
    let flags =
        "-cert ec-pkcs8.pem -key ec-pkcs8.key -cert_chain mid.pem -CAfile root.pem -Verify 3 -verify_return_error";
    let server = OpensslServer::start(pki, flags);
    let nobody = client_config(&pki.client("root.pem")).expect("a client");
    assert!(ask(&nobody.config, &server.address, "localhost").is_err());
    let somebody = ClientTls { identity: Some(pki.identity("client")), ..pki.client("root.pem") };
    let somebody = client_config(&somebody).expect("a client");
    assert_eq!(ask(&somebody.config, &server.address, "localhost").expect("served").0, "olleh\n");
    let bad = IdentityFiles { cert: pki.path("client.pem"), key: Some(pki.path("self.key")) };
    let bad = client_config(&ClientTls { identity: Some(bad), ..pki.client("root.pem") }).map(drop);
    assert_eq!(bad, Err(CertError::KeyMismatch { cert: pki.path("client.pem"), key: pki.path("self.key") }));
}

#[test]
fn versions_and_protocols_are_those_that_were_chosen() {
    let Some(pki) = pki() else { return };
    let only = |version| Versions { min: version, max: version };
    for (version, mine, other) in [(TlsVersion::V12, "-tls1_2", "-tls1_3"), (TlsVersion::V13, "-tls1_3", "-tls1_2")] {
        let alpn = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let config = ServerTls { versions: only(version), alpn: alpn.clone(), ..pki.server(&["ec-pkcs8"]) };
        let config = server_config(&config).expect("a server");
        let (address, server) = serve(3, move || Arc::clone(&config));
        let said = s_client(pki, &address, &format!("{mine} -alpn http/1.1,h2"));
        assert!(said.contains("ALPN protocol: h2\n") && said.contains("heard hello"), "the server's order: {said}");
        assert!(!s_client(pki, &address, other).contains("heard hello"), "{other}");
        assert!(!s_client(pki, &address, &format!("{mine} -alpn irc")).contains("heard hello"), "nothing in common");
        drop(server.join().expect("no panic"));

        let server =
            OpensslServer::start(pki, "-cert ec-pkcs8.pem -key ec-pkcs8.key -cert_chain mid.pem -alpn http/1.1");
        let client = ClientTls { versions: only(version), alpn, ..pki.client("root.pem") };
        let client = client_config(&client).expect("a client");
        let (_, connection) = ask(&client.config, &server.address, "localhost").expect("served");
        assert_eq!(connection.alpn_protocol(), Some(&b"http/1.1"[..]));
        let spoken = format!("{:?}", connection.protocol_version().expect("a version"));
        assert_eq!(spoken.replace("TLSv1_", "1."), version.to_string());
    }
}

/// How each of two connections of one client to one server was made.
fn kinds(server: &Arc<Reloadable>, client: &ClientTls, between: impl Fn()) -> [HandshakeKind; 2] {
    let (address, served) = serve(2, {
        let server = Arc::clone(server);
        move || server.current()
    });
    let client = client_config(client).expect("a client");
    let kinds = [(); 2].map(|()| {
        let (_, connection) = ask(&client.config, &address, "localhost").expect("served");
        between();
        connection.handshake_kind().expect("it is over")
    });
    drop(served.join().expect("no panic"));
    kinds
}

#[test]
fn sessions_are_resumed_across_a_reload_unless_the_authorities_of_clients_change() {
    use HandshakeKind::{Full, Resumed};
    let Some(pki) = pki() else { return };
    let only = |version| Versions { min: version, max: version };
    for version in [TlsVersion::V12, TlsVersion::V13] {
        let identity = Some(pki.identity("client"));
        let client = ClientTls { versions: only(version), identity, ..pki.client("root.pem") };
        let plain = Arc::new(Reloadable::new(pki.server(&["ec-pkcs8"])).expect("a server"));
        assert_eq!(kinds(&plain, &client, || ()), [Full, Resumed]);
        assert_eq!(kinds(&plain, &client, || plain.reload().expect("read")), [Full, Resumed]);

        let ca = pki.write(&format!("clients-{version}.pem"), pki.read("root.pem"));
        let client_auth = ClientAuth::Demand { ca: ca.clone() };
        let strict = ServerTls { client_auth, ..pki.server(&["ec-pkcs8"]) };
        let strict = Arc::new(Reloadable::new(strict).expect("a server"));
        assert_eq!(kinds(&strict, &client, || strict.reload().expect("read")), [Full, Resumed]);
        let more = || {
            fs::write(&ca, pki.read("root.pem") + &pki.read("stranger.pem")).expect("written");
            strict.reload().expect("read");
        };
        assert_eq!(kinds(&strict, &client, more), [Full, Full]);
    }
}

#[test]
fn a_reload_shows_the_new_certificate_and_a_bad_one_keeps_the_old() {
    let Some(pki) = pki() else { return };
    let cert = pki.write("live.pem", pki.read("ec-pkcs8.chain.pem"));
    let key = pki.write("live.key", pki.read("ec-pkcs8.key"));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("set");
    let identities = vec![IdentityFiles { cert: cert.clone(), key: Some(key.clone()) }];
    let server = Reloadable::new(ServerTls { identities, ..ServerTls::default() }).expect("a server");
    let shown = || {
        let config = server.current();
        let (address, served) = serve(1, move || Arc::clone(&config));
        let client = client_config(&ClientTls { trust: Trust::Anybody, ..ClientTls::default() }).expect("a client");
        let (_, connection) = ask(&client.config, &address, "localhost").expect("served");
        drop(served.join().expect("no panic"));
        Fingerprint::of(&connection.peer_certificates().expect("a chain")[0])
    };
    let print = |name: &str| Fingerprint::of(&read_chain(&pki.path(name)).expect("a chain")[0]);
    let old = server.current();
    assert_eq!(shown(), print("ec-pkcs8.pem"));

    fs::write(&cert, pki.read("p384.chain.pem")).expect("written");
    assert_eq!(server.reload(), Err(CertError::KeyMismatch { cert: cert.clone(), key: key.clone() }));
    assert_eq!(shown(), print("ec-pkcs8.pem"), "half of a change is none");
    assert!(Arc::ptr_eq(&old, &server.current()));

    fs::write(&key, pki.read("p384.key")).expect("written");
    assert_eq!(server.reload(), Ok(()));
    assert_eq!(shown(), print("p384.pem"));

    fs::write(&cert, "nonsense").expect("written");
    assert!(matches!(server.reload(), Err(CertError::NoCertificate { .. })));
    fs::remove_file(&cert).expect("removed");
    assert!(matches!(server.reload(), Err(CertError::Unreadable { .. })));
    assert_eq!(shown(), print("p384.pem"));
}

#[test]
fn secrets_are_logged_only_where_asked_for_and_for_their_owner_alone() {
    let Some(pki) = pki() else { return };
    let [mine, theirs] = ["client.log", "server.log"].map(|name| pki.path(name));
    let server = ServerTls { key_log: Some(theirs.clone()), ..pki.server(&["ec-pkcs8"]) };
    let server = server_config(&server).expect("a server");
    let (address, served) = serve(2, move || Arc::clone(&server));
    let silent = client_config(&pki.client("root.pem")).expect("a client");
    let logged = ClientTls { key_log: Some(mine.clone()), ..pki.client("root.pem") };
    let logged = client_config(&logged).expect("a client");
    for client in [&silent, &logged] {
        ask(&client.config, &address, "localhost").expect("served");
    }
    drop(served.join().expect("no panic"));
    let lines = |file| {
        let text = fs::read_to_string(file).expect("a log");
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let (mine_lines, their_lines) = (lines(&mine), lines(&theirs));
    assert!(mine_lines.iter().any(|line| line.starts_with("CLIENT_TRAFFIC_SECRET_0 ")), "{mine_lines:?}");
    assert!(mine_lines.iter().all(|line| their_lines.contains(line)), "both ends know the same secrets");
    assert_eq!(their_lines.len(), 2 * mine_lines.len(), "the silent client's are the server's alone");
    for file in [mine, theirs] {
        assert_eq!(file.metadata().expect("a file").permissions().mode() & 0o777, 0o600);
    }
    let nowhere = pki.path("nowhere/log");
    let refused = client_config(&ClientTls {
        key_log: Some(nowhere.clone()),
        ..ClientTls { trust: Trust::Anybody, ..ClientTls::default() }
    });
    assert_eq!(refused.map(drop), Err(CertError::KeyLog { file: nowhere, why: std::io::ErrorKind::NotFound }));
}

#[test]
fn many_threads_may_reload_and_serve_at_once() {
    let Some(pki) = pki() else { return };
    let server = Arc::new(Reloadable::new(pki.server(&["ec-pkcs8"])).expect("a server"));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let server = Arc::clone(&server);
            thread::spawn(move || (0..20).for_each(|_| server.reload().map(|()| drop(server.current())).expect("read")))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    assert_eq!(server.warnings(), []);
}
