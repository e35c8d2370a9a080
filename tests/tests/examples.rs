//! The examples do what they say.
use rustix::process::Signal;
use std::{
    ffi::OsStr,
    path::PathBuf,
    process::{Command, Stdio},
};
use tests::{
    conn::{Conn, Folder},
    process::{Running, example, start_with},
    tool::{Tool, tool},
};

fn start(name: &str) -> Running {
    start_with(Command::new(example(name)).stdin(Stdio::null()).stdout(Stdio::piped()))
}

/// Where the example says that it listens, once it has named `count` places.
#[track_caller]
fn addresses(example: &Running, count: usize) -> Vec<String> {
    let found = |printed: &str| -> Vec<String> {
        let lines = printed.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        lines.filter_map(|line| Some(line.split_once("listening on ")?.1.to_owned())).collect()
    };
    found(&example.wait_printed("addresses", |printed| found(printed).len() >= count))
}

#[test]
fn shout_is_louder_under_each_of_its_models() {
    let example = start("shout");
    for address in addresses(&example, 2) {
        let mut peer = Conn::dial(&address);
        peer.send("hello");
        peer.end();
        assert_eq!(peer.rest(), b"HELLO", "{address}");
    }
    example.signal(Signal::INT);
    assert_eq!(example.finish().code(), Some(0));
}

/// A certificate for this machine, as openssl makes it, and its key.
fn certificate(openssl: &Tool, folder: &Folder) -> (PathBuf, PathBuf) {
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
    let mut line: Vec<&OsStr> = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"].map(OsStr::new).into();
    line.extend(subject.map(OsStr::new));
    line.extend([OsStr::new("-out"), cert.as_os_str(), OsStr::new("-keyout"), key.as_os_str()]);
    assert_eq!(openssl.run(line, b"").code(), Some(0));
    (cert, key)
}

#[test]
fn hello_https_answers_a_client_that_verifies_it() {
    let (Some(openssl), Some(curl)) = (tool("openssl"), tool("curl")) else { return };
    let folder = Folder::new();
    let (cert, key) = certificate(&openssl, &folder);
    let mut command = Command::new(example("hello_https"));
    command.args([&cert, &key]).arg("0").stdin(Stdio::null()).stdout(Stdio::piped());
    let example = start_with(&mut command);
    let port = addresses(&example, 1)[0].rsplit_once(':').expect("a port").1.to_owned();
    for version in ["--tlsv1.2", "--tlsv1.3"] {
        let url = format!("https://localhost:{port}/");
        let asked = curl.command(["-sSi", "--max-time", "60", version, "--cacert"]).arg(&cert).arg(&url).output();
        let asked = asked.expect("curl runs");
        let said = String::from_utf8_lossy(&asked.stdout).into_owned();
        assert!(said.starts_with("HTTP/1.1 200 OK\r\n"), "{said} {}", String::from_utf8_lossy(&asked.stderr));
        assert!(said.ends_with("\r\n\r\nHello, World!"), "{said}");
    }
    example.signal(Signal::INT);
    assert_eq!(example.finish().code(), Some(0));
}

#[test]
fn one_port_takes_tls_and_http_and_lines() {
    let (Some(openssl), Some(curl)) = (tool("openssl"), tool("curl")) else { return };
    let folder = Folder::new();
    let (cert, key) = certificate(&openssl, &folder);
    let mut command = Command::new(example("one_port"));
    command.args([&cert, &key]).arg("0").stdin(Stdio::null()).stdout(Stdio::piped());
    let example = start_with(&mut command);
    let address = addresses(&example, 1)[0].clone();
    let port = address.rsplit_once(':').expect("a port").1.to_owned();
    let mut peer = Conn::dial(&address);
    assert_eq!(peer.echoed("안녕하세요, 서버!\n"), "안녕하세요, 서버!\n".as_bytes());
    let pem = cert.to_str().expect("a path in UTF-8");
    for scheme in ["http", "https"] {
        let url = format!("{scheme}://localhost:{port}/");
        let asked = curl.run(["-sS", "--max-time", "60", "--cacert", pem, &url], b"");
        assert_eq!(String::from_utf8_lossy(&asked.stdout), "Lines are welcome here, too.\n", "{}", asked.stderr);
    }
    let at = format!("localhost:{port}");
    let line = ["s_client", "-quiet", "-verify_return_error", "-CAfile", pem, "-connect", &at];
    let mut lines = openssl.start(line);
    lines.say(b"within\n");
    lines.wait_printed("the echo", |printed| printed == "within\n");
    lines.signal(Signal::TERM);
    lines.finish();
    example.signal(Signal::INT);
    assert_eq!(example.finish().code(), Some(0));
}

#[test]
fn guest_serves_while_its_host_does_something_else() {
    let example = start("guest");
    let mut peer = Conn::dial(&addresses(&example, 1)[0]);
    for times in 1..=2 {
        assert_eq!(peer.echoed("안녕하세요"), "안녕하세요".as_bytes());
        example.wait_printed("its host", |printed| printed.matches("still here").count() > times);
    }
    example.signal(Signal::INT);
    let done = example.finish();
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    assert!(String::from_utf8_lossy(&done.stdout).ends_with("served 1 connections\n"));
}

/// What Autobahn's server does, with one case.
const CASES: &str = r#"
import asyncio, websockets

async def serve(ws, *rest):
    path = rest[0] if rest else ws.request.path
    if path == "/getCaseCount":
        await ws.send("1")
    elif path.startswith("/runCase?case=1&"):
        for message in ("소통", b"\xff" * 70000):
            await ws.send(message)
            assert await ws.recv() == message
        print("echoed", flush=True)
    elif path.startswith("/updateReports?"):
        print("reported", flush=True)

async def main():
    async with websockets.serve(serve, "127.0.0.1", 0, max_size=None) as server:
        print("listening on ws://127.0.0.1:%d" % server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Future()

asyncio.run(main())
"#;

#[test]
fn ws_client_echoes_what_its_server_says() {
    let Some(python) = tool("python3") else { return };
    if python.run(["-c", "import websockets"], b"").code() != Some(0) {
        println!("skipped: Python has no websockets");
        return;
    }
    let server = python.start(["-u", "-c", CASES]);
    let address = addresses(&server, 1).remove(0);
    let done = start_with(Command::new(example("ws_client")).arg(&address).stdin(Stdio::null()).stdout(Stdio::piped()));
    let done = done.wait();
    assert_eq!(
        (done.code(), String::from_utf8_lossy(&done.stdout).as_ref()),
        (Some(0), "1 cases\n"),
        "{}",
        done.stderr
    );
    server.wait_for("reported");
    server.wait_for("echoed");
}
