//! Clients that are told to come by TLS alone (IRCv3 sts): only where that works.
use rustix::process::Signal;
use std::{fs, net::TcpListener, path::Path};
use tests::{conn::Folder, irc::Client, process, server::Server, tls};

/// A port that nobody listens at, for a moment.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port()
}

/// A certificate that an authority vouches for, and its key.
fn certificate(folder: &Folder) {
    let mut command = process::command(["cert", "new", "127.0.0.1", "localhost", "--out"]);
    command.arg(folder.path()).env("XDG_DATA_HOME", folder.path());
    let done = command.output().expect("it runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

fn write(path: &Path, sections: &str, port: u16, sts: &str) {
    let text = format!("[[listen]]\naddress = '127.0.0.1:0'\n{sections}[sts]\nenabled = true\nport = {port}\n{sts}");
    fs::write(path, text).expect("written");
}

#[test]
fn only_a_port_with_a_certificate_that_somebody_vouches_for() {
    let folder = Folder::new();
    certificate(&folder);
    let path = folder.path().join("chat.toml");
    let file = path.to_str().expect("UTF-8");
    let listen = |more: &str| format!("[[listen]]\naddress = '127.0.0.1:6697'\n{more}");
    let given = format!("tls_cert = '{}'\n", tls::CERT);
    let signed = "tls_cert = '127.0.0.1.pem'\ntls_key = '127.0.0.1-key.pem'\n";
    for (section, told) in [
        (String::new(), "no [[listen]] section has the port 6697"),
        (listen("kind = 'web'\ntls_cert = '127.0.0.1.pem'\n"), "no [[listen]] section has the port 6697"),
        (listen("tls = true\n"), "names no tls_cert"),
        (listen(""), "names no tls_cert"),
        (listen(&given), "is self-signed"),
        (listen(signed), ""),
    ] {
        write(&path, &section, 6697, "");
        let done = process::run(["chat", "--check-config", "--config", file], b"");
        let is_well = told.is_empty();
        assert_eq!(done.code(), Some(if is_well { 0 } else { 78 }), "{section}: {}", done.stderr);
        assert!(done.stderr.contains(told), "{section}: {}", done.stderr);
        assert_eq!(done.stderr.contains("port = 6697\n"), !is_well, "the line is shown: {}", done.stderr);
    }
    // The command line says where else it listens: there it must be, too.
    let done = process::run(["chat", "--config", file, "127.0.0.1:0"], b"");
    assert_eq!(done.code(), Some(78), "{}", done.stderr);
    assert!(done.stderr.contains("[sts] cannot be used: no [[listen]] section"), "{}", done.stderr);
}

#[test]
fn where_tls_is_and_for_how_long_and_what_a_reload_changes() {
    let folder = Folder::new();
    certificate(&folder);
    let (path, port) = (folder.path().join("chat.toml"), free_port());
    let secure = format!("[[listen]]\naddress = '127.0.0.1:{port}'\ntls_cert = 'c.pem'\n");
    let signed = ["127.0.0.1.pem", "127.0.0.1-key.pem"].map(|name| fs::read_to_string(folder.path().join(name)));
    let signed: String = signed.into_iter().map(|part| part.expect("made")).collect();
    fs::write(folder.path().join("c.pem"), &signed).expect("written");
    write(&path, &secure, port, "duration = '2h'\n");
    let mut server = Server::start(["chat", "--config", path.to_str().expect("UTF-8"), "-v"]);
    let mut plain = Client::dial(server.address());
    plain.say("CAP LS 302");
    assert!(plain.wait_for(" sts=").contains(&format!(" sts=port={port} ")));
    let asks = || {
        let to = format!("tls://127.0.0.1:{port}");
        let heard = process::run(["connect", "--insecure", &to], b"CAP LS 302\r\nQUIT\r\n");
        String::from_utf8(heard.stdout).expect("UTF-8")
    };
    let heard = asks();
    assert!(heard.contains(" sts=duration=7200 "), "{heard}");
    // It is not told any more, and not taken back: who has heard it keeps to it.
    write(&path, &secure, port, "enabled = false\n");
    fs::write(&path, fs::read_to_string(&path).expect("there").replacen("enabled = true\n", "", 1)).expect("written");
    server.signal(Signal::HUP);
    server.line(&["configuration reloaded"]);
    assert!(!asks().contains("sts="));
    write(&path, &secure, port, "duration = 0\n");
    server.signal(Signal::HUP);
    server.line(&["configuration reloaded"]);
    assert_eq!(plain.hear(), format!(":sotong.local CAP * NEW :sts=port={port}"));
    assert!(asks().contains(" sts=duration=0 "));
    // A certificate that has become its own authority, and a port where nothing was opened at the start.
    fs::copy(tls::CERT, folder.path().join("c.pem")).expect("copied");
    server.signal(Signal::HUP);
    assert!(server.line(&["configuration not reloaded"]).contains("is self-signed"));
    fs::write(folder.path().join("c.pem"), &signed).expect("written");
    let other = free_port();
    write(&path, &secure.replace(&port.to_string(), &other.to_string()), other, "");
    server.signal(Signal::HUP);
    assert!(server.line(&["configuration not reloaded"]).contains("[sts] cannot be used"));
    assert!(asks().contains(" sts=duration=0 "), "all is as it was");
    server.stop();
}
