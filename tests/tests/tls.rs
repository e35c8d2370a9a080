//! TLS at server commands, with programs of others as peers: openssl, Python, curl.
use rustix::process::Signal;
use sotong::drivers::Model;
use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};
use tests::{
    conn::{Conn, Folder, place},
    person::Person,
    process::{self, HANG, Running, command, start_with},
    runs::{concurrent_runs, runs, shared_runs},
    server::Server,
    tls::{CERT, TRUNCATED},
    tool::{Tool, tool},
};

const HELLO: &str = "안녕하세요, 서버!";

/// Makes certificates for tests.
struct Pki {
    openssl: Tool,
    folder: Folder,
}

impl Pki {
    fn new() -> Option<Self> {
        tool("openssl").map(|openssl| Self { openssl, folder: Folder::new() })
    }
    fn run(&self, line: &str) {
        let done =
            self.openssl.command(line.split(' ')).current_dir(self.folder.path()).output().expect("openssl runs");
        assert!(done.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&done.stderr));
    }
    /// A self-signed certificate `NAME.pem` for `NAME`, and its key `NAME.key`.
    fn make(&self, name: &str) -> (PathBuf, PathBuf) {
        self.run(&format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.pem -days 30 \
             -subj /CN={name} -addext subjectAltName=DNS:{name} -addext basicConstraints=critical,CA:FALSE"
        ));
        (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")))
    }
    /// An authority `ca.pem`, and the certificate `client.pem` with `client.key` that it has issued.
    fn make_client(&self) -> PathBuf {
        self.run(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 30 -subj \
             /CN=Authority",
        );
        self.run(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -CA ca.pem -CAkey ca.key -keyout client.key -out \
             client.pem -days 30 -subj /CN=me -addext basicConstraints=critical,CA:FALSE",
        );
        self.path("ca.pem")
    }
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
    /// `openssl s_client` to a server, with more arguments.
    fn client(&self, address: &str, more: &[&str]) -> Running {
        let to = place(address);
        let line = [&["s_client", "-connect", &to], more, &["-no_ign_eof"]].concat();
        let mut command = self.openssl.command(line);
        start_with(command.current_dir(self.folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped()))
    }
    /// What it prints of a handshake, and whether it went well.
    fn look(&self, address: &str, more: &[&str]) -> (String, bool) {
        let done = self.client(address, more).finish();
        (String::from_utf8_lossy(&done.stdout).into_owned() + &done.stderr, done.code() == Some(0))
    }
}

fn words(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// A Python client that verifies the server: records of one byte, of 16 KiB and more, then a close in order.
const PYTHON: &str = r#"
import socket, ssl, sys

context = ssl.create_default_context(cafile=sys.argv[2])
if sys.argv[3] == "1.2":
    context.maximum_version = ssl.TLSVersion.TLSv1_2
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=60) as plain:
    sock = context.wrap_socket(plain, server_hostname="localhost")
    assert sock.version() == "TLSv" + sys.argv[3], sock.version()
    for byte in b"one byte a record":
        sock.sendall(bytes([byte]))
    heard = b""
    while len(heard) < 17:
        heard += sock.recv(100)
    assert heard == b"one byte a record", heard
    # Its sockets are not to be used by two threads at once: what is asked must fit into buffers on the way.
    for size in (16384, 16385, 65536, 100000):
        data = bytes(range(256)) * 400
        sock.sendall(data[:size])
        heard = bytearray()
        while len(heard) < size:
            piece = sock.recv(65536)
            assert piece, "the stream ended"
            heard += piece
        assert heard == data[:size]
    # unwrap sends close_notify and waits for that of the server.
    rest = sock.unwrap()
    assert rest.recv(10) == b""
print("done")
"#;

#[test]
fn openssl_and_python_under_every_model_and_version() {
    let (Some(pki), Some(python)) = (Pki::new(), tool("python3")) else { return };
    for run in runs() {
        let server = Server::start(run.line("echo", &["tls://127.0.0.1:0", "--cert", CERT]));
        for version in ["1.2", "1.3"] {
            let flag = format!("-tls{}", version.replace('.', "_"));
            let mut client = pki.client(server.address(), &[&flag, "-quiet", "-CAfile", CERT, "-verify_return_error"]);
            client.say(HELLO.as_bytes());
            client.wait_for(HELLO);
            let done = client.finish();
            assert_eq!(done.code(), Some(0), "{run} {version}: {}", done.stderr);
            let done = python.run(["-c", PYTHON, server.port(), CERT, version], b"");
            assert_eq!(String::from_utf8_lossy(&done.stdout), "done\n", "{run} {version}: {}", done.stderr);
        }
        server.stop();
    }
}

#[test]
fn a_certificate_is_chosen_by_the_name_asked_for() {
    let Some(pki) = Pki::new() else { return };
    let [(first, first_key), (second, second_key)] = ["first.test", "second.test"].map(|name| pki.make(name));
    let pairs = [&first, &first_key, &second, &second_key].map(|path| words(path));
    let line = ["--cert", pairs[0], "--key", pairs[1], "--cert", pairs[2], "--key", pairs[3]];
    for run in runs() {
        let server = Server::start(run.line("echo", &[&["tls://127.0.0.1:0"], &line[..]].concat()));
        for (name, expect) in [("first.test", "first"), ("second.test", "second"), ("third.test", "first")] {
            let (said, _) = pki.look(server.address(), &["-servername", name]);
            assert!(said.contains(&format!("subject=CN = {expect}.test")), "{run} {name}: {said}");
        }
        let (said, _) = pki.look(server.address(), &["-noservername"]);
        assert!(said.contains("subject=CN = first.test"), "{run}: {said}");
        server.stop();
    }
}

#[test]
fn clients_are_asked_for_certificates() {
    let Some(pki) = Pki::new() else { return };
    let ca = pki.make_client();
    let known = ["-cert", "client.pem", "-key", "client.key"];
    let stranger = {
        pki.make("stranger.test");
        ["-cert", "stranger.test.pem", "-key", "stranger.test.key"]
    };
    for (auth, without) in [(&["--client-auth", "ask"][..], true), (&[], false)] {
        let line = ["echo", "tls://127.0.0.1:0", "--cert", CERT, "--client-ca", words(&ca), "-v"];
        let server = Server::start([&line[..], auth].concat());
        for (shown, is_let_in) in [(&known[..], true), (&stranger[..], false), (&[][..], without)] {
            // What was refused shows when the first words come back, or do not.
            let mut client = pki.client(server.address(), &[&["-quiet"], shown].concat());
            client.say(b"hello");
            let is_in = if is_let_in {
                client.wait_for("hello");
                true
            } else {
                client.wait().code() == Some(0)
            };
            assert_eq!(is_in, is_let_in, "{auth:?} {shown:?}");
        }
        server.stop();
    }
}

#[test]
fn protocols_versions_and_resumption() {
    let Some(pki) = Pki::new() else { return };
    let line = ["echo", "tls://127.0.0.1:0", "--cert", CERT, "--alpn", "h2,http/1.1"];
    let server = Server::start(line);
    let (said, is_well) = pki.look(server.address(), &["-alpn", "http/1.1,h2"]);
    assert!(is_well && said.contains("ALPN protocol: h2"), "{said}");
    let (said, is_well) = pki.look(server.address(), &["-alpn", "gopher"]);
    assert!(!is_well && said.contains("no application protocol"), "{said}");
    let (said, is_well) = pki.look(server.address(), &[]);
    assert!(is_well && said.contains("No ALPN negotiated"), "{said}");
    for version in ["-tls1_2", "-tls1_3"] {
        let session = pki.path("session");
        // The server's ticket comes with its first words.
        let mut first = pki.client(server.address(), &[version, "-sess_out", words(&session)]);
        first.say(b"hello\n");
        first.wait_for("\nhello");
        first.finish();
        let (said, _) = pki.look(server.address(), &[version, "-sess_in", words(&session)]);
        assert!(said.contains("Reused, TLSv1."), "{version}: {said}");
    }
    server.stop();

    let server = Server::start([&line[..4], &["--tls-min", "1.3"]].concat());
    let (said, is_well) = pki.look(server.address(), &["-tls1_2"]);
    assert!(!is_well && said.contains("protocol version"), "{said}");
    server.stop();
    let server = Server::start([&line[..4], &["--tls-max", "1.2"]].concat());
    let (said, is_well) = pki.look(server.address(), &[]);
    assert!(is_well && said.contains("New, TLSv1.2"), "{said}");
    server.stop();
}

#[test]
fn renegotiation_is_refused_and_compression_is_none() {
    let Some(pki) = Pki::new() else { return };
    let server = Server::start(["echo", "tls://127.0.0.1:0", "--cert", CERT]);
    let mut client = pki.client(server.address(), &["-tls1_2"]);
    client.wait_for("Compression: NONE");
    client.wait_for("Verify return code");
    client.say(b"R\n");
    let done = client.wait();
    assert_ne!(done.code(), Some(0));
    assert!(done.stderr.contains("no renegotiation"), "{}", done.stderr);
    assert_eq!(Conn::dial(server.address()).echoed(HELLO), HELLO.as_bytes(), "the others are served");
    server.stop();
}

#[test]
fn keys_are_renewed_while_bytes_flow() {
    let Some(pki) = Pki::new() else { return };
    let server = Server::start(["echo", "tls://127.0.0.1:0", "--cert", CERT]);
    let mut client = pki.client(server.address(), &["-tls1_3"]);
    client.say(b"first\n");
    client.wait_for("\nfirst\n");
    // A line of K asks the peer for new keys, too.
    client.say(b"K\n");
    client.wait_for_word("KEYUPDATE");
    for word in ["second", "third"] {
        client.say(format!("{word}\n").as_bytes());
        client.wait_for(&format!("\n{word}\n"));
    }
    assert_eq!(client.finish().code(), Some(0));
    server.stop();
}

#[test]
fn ncat_and_socat_under_every_model() {
    let (Some(ncat), Some(socat)) = (tool("ncat"), tool("socat")) else { return };
    for run in runs() {
        let server = Server::start(run.line("echo", &["tls://127.0.0.1:0", "--cert", CERT]));
        let lines = [
            (ncat, vec!["--ssl-verify".to_owned(), "--ssl-trustfile".to_owned(), CERT.to_owned()], true),
            (socat, vec!["-".to_owned(), format!("OPENSSL:localhost:{},cafile={CERT}", server.port())], false),
        ];
        for (tool, mut line, is_ncat) in lines {
            if is_ncat {
                line.extend(["localhost".to_owned(), server.port().to_owned()]);
            }
            let mut client = tool.start(&line);
            client.say(HELLO.as_bytes());
            client.wait_for(HELLO);
            assert_eq!(client.finish().code(), Some(0), "{run}: {line:?}");
        }
        server.stop();
    }
}

/// SIGHUP: who comes later sees the new certificate, who is there stays, and files that cannot be used change nothing.
#[test]
fn certificates_are_read_anew_without_dropping_anybody() {
    let Some(pki) = Pki::new() else { return };
    for run in concurrent_runs() {
        let (old, old_key) = pki.make("old.test");
        let (new, new_key) = pki.make("new.test");
        let line = ["tls://127.0.0.1:0", "--cert", words(&old), "--key", words(&old_key), "--log-format", "json"];
        let mut server = Server::start(run.line("echo", &line));
        let at = server.address().to_owned();
        let subject = || {
            let (said, _) = pki.look(&at, &[]);
            said.lines().find(|line| line.starts_with("subject=")).map(str::to_owned)
        };
        let mut stays = pki.client(server.address(), &["-quiet"]);
        stays.say(b"before ");
        stays.wait_for("before ");
        assert_eq!(subject().as_deref(), Some("subject=CN = old.test"), "{run}");

        fs::copy(&new, &old).expect("copied");
        fs::copy(&new_key, &old_key).expect("copied");
        server.signal(Signal::HUP);
        // Until the signal has been acted on, the old one is shown.
        let until = std::time::Instant::now() + HANG;
        while subject().as_deref() != Some("subject=CN = new.test") {
            assert!(std::time::Instant::now() < until, "{run}: the old certificate stays");
        }
        fs::write(&old, "no certificate").expect("written");
        server.signal(Signal::HUP);
        server.line(&[if run.model == Model::Processes { "did not come up" } else { "certificates not reloaded" }]);
        assert_eq!(subject().as_deref(), Some("subject=CN = new.test"), "{run}");

        stays.say(b"after ");
        stays.wait_for("after ");
        assert_eq!(stays.finish().code(), Some(0), "{run}");
        server.stop();
    }
}

#[test]
fn a_server_without_a_certificate_makes_one_that_lasts() {
    let Some(pki) = Pki::new() else { return };
    let home = Folder::new();
    let start = |model: &str| {
        let mut command = command(["echo", "tls://127.0.0.1:0", "--model", model]);
        command.env("XDG_DATA_HOME", home.path());
        Server::start_by(command)
    };
    let mut seen = Vec::new();
    for (model, words) in [("epoll", "made just now"), ("threads", "kept in"), ("processes", "kept in")] {
        let mut server = start(model);
        let line = server.line(&["certificate: self-signed", words]);
        let fingerprint = line.rsplit(' ').next().expect("a fingerprint").to_owned();
        assert!(fingerprint.len() == 64 && fingerprint.bytes().all(|b| b.is_ascii_hexdigit()), "{line}");
        server.line(&[&format!("try: sotong connect --pin {fingerprint} tls://127.0.0.1:{}", server.port())]);
        // openssl sees the same.
        let (said, _) = pki.look(server.address(), &[]);
        fs::write(pki.path("seen.pem"), said).expect("written");
        let done = pki
            .openssl
            .run(["x509", "-noout", "-fingerprint", "-sha256", "-in", words_of(&pki.path("seen.pem")).as_str()], b"");
        let printed = String::from_utf8_lossy(&done.stdout).replace(':', "").to_lowercase();
        assert!(printed.trim_end().ends_with(&fingerprint), "{printed} {fingerprint}");
        seen.push(fingerprint);
        server.stop();
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:?}");
    let file = home.path().join("sotong/self-signed.pem");
    assert_eq!(fs::metadata(file).expect("it is kept").permissions().mode() & 0o777, 0o600);
}

fn words_of(path: &Path) -> String {
    words(path).to_owned()
}

#[test]
fn files_that_cannot_be_used_are_told_at_start() {
    let Some(pki) = Pki::new() else { return };
    let (cert, _) = pki.make("one.test");
    let (_, other_key) = pki.make("two.test");
    for (line, code, words) in [
        (vec!["--cert", "/no/such/file"], 78, "/no/such/file"),
        (vec!["--cert", words(&cert)], 78, "one.test.pem"),
        (vec!["--cert", words(&cert), "--key", words(&other_key)], 78, "two.test.key"),
        (vec!["--cert", CERT, "--client-ca", "/no/such/ca"], 78, "/no/such/ca"),
        (vec!["--cert", CERT, "--key", "a", "--key", "b"], 2, "--key"),
        (vec!["--client-auth", "demand"], 2, "--client-ca"),
        (vec!["--cert", CERT, "--tls-min", "1.3", "--tls-max", "1.2"], 2, "1.3"),
    ] {
        let done = process::run([&["echo", "tls://127.0.0.1:0"], &line[..]].concat(), b"");
        assert_eq!(done.code(), Some(code), "{line:?}: {}", done.stderr);
        assert!(done.stderr.lines().next().is_some_and(|line| line.contains(words)), "{line:?}: {}", done.stderr);
    }
    let done = process::run(["echo", "127.0.0.1:0", "--cert", CERT], b"");
    assert_eq!(done.code(), Some(2), "{}", done.stderr);
    assert!(done.stderr.contains("--cert") && done.stderr.contains("tls://"), "{}", done.stderr);
}

#[test]
fn what_is_no_tls_is_answered_so_that_it_is_understood() {
    for run in runs() {
        let mut server = Server::start(run.line("echo", &["tls://127.0.0.1:0", "--cert", CERT, "-v"]));
        if let Some(curl) = tool("curl") {
            let done = curl.run(["-sSi", "--max-time", "60", &format!("http://{}/", place(server.address()))], b"");
            let said = String::from_utf8_lossy(&done.stdout).into_owned();
            assert!(said.starts_with("HTTP/1.1 400 Bad Request\r\n") && said.contains("https://"), "{run}: {said}");
            server.line(&["closed", "reason=protocol", "a plain HTTP request on a TLS port"]);
        }
        let mut plain = TcpStream::connect(place(server.address())).expect("connected");
        plain.set_read_timeout(Some(HANG)).expect("an option");
        plain.write_all(b"hello\r\n").expect("sent");
        let mut said = Vec::new();
        plain.read_to_end(&mut said).expect("an end in order");
        assert_eq!(said, [0x15, 3, 1, 0, 2, 2, 10], "{run}");
        server.line(&["closed", "reason=protocol", "does not speak TLS"]);
        assert_eq!(Conn::dial(server.address()).echoed(HELLO), HELLO.as_bytes(), "{run}");
        server.stop();
    }
}

#[test]
fn a_stream_that_just_ends_is_told_as_cut_off() {
    let Some(python) = tool("python3") else { return };
    let script = "
import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[2])
plain = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
sock = context.wrap_socket(plain, server_hostname='localhost')
sock.sendall(b'half a wo')
assert sock.recv(100) == b'half a wo'
# The socket ends, and TLS does not say so.
socket.socket.shutdown(sock, socket.SHUT_WR)
";
    for run in runs() {
        let mut server = Server::start(run.line("echo", &["tls://127.0.0.1:0", "--cert", CERT, "-v"]));
        let done = python.run(["-c", script, server.port(), CERT], b"");
        assert_eq!(done.code(), Some(0), "{run}: {}", done.stderr);
        server.line(&["closed", "reason=truncated"]);
        server.stop();
    }
}

#[test]
fn plain_and_secure_people_are_in_one_room() {
    for run in shared_runs() {
        let line = ["127.0.0.1:0", "tls://127.0.0.1:0", "--cert", CERT];
        let server = Server::start(run.line("room", &line));
        let mut plain = Person::enter(&server.addresses()[0], "민수");
        let mut secure = Person::enter(&server.addresses()[1], "영희");
        assert_eq!(plain.hear(), "* 영희 has joined", "{run}");
        secure.say("안녕하세요!");
        assert_eq!(plain.hear(), "영희: 안녕하세요!", "{run}");
        plain.say("반가워요");
        assert_eq!(secure.hear(), "민수: 반가워요", "{run}");
        server.stop();
    }
}

#[test]
fn who_is_left_for_silence_gets_an_end_mark() {
    for run in runs() {
        let mut server =
            Server::start(run.line("echo", &["tls://127.0.0.1:0", "--cert", CERT, "--idle", "300ms", "-v"]));
        let mut peer = server.dial();
        assert_eq!(peer.echoed(HELLO), HELLO.as_bytes());
        let rest = peer.rest();
        assert!(rest.is_empty() && rest != TRUNCATED, "{run}: {rest:?}");
        server.line(&["closed", "reason=idle"]);
        server.stop();
    }
}

#[test]
fn a_server_that_leaves_says_so_within_tls() {
    for run in runs() {
        let server = Server::start(run.line("echo", &["tls://127.0.0.1:0", "--cert", CERT]));
        let mut peer = server.dial();
        assert_eq!(peer.echoed(HELLO), HELLO.as_bytes());
        server.signal(Signal::TERM);
        assert_eq!(peer.rest(), b"", "{run}");
        server.end();
    }
}
