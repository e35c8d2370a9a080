//! `sotong connect tls://…`: when it leaves, what it says of a peer that breaks off or cannot be trusted, and what it looks at.
use rustix::process::Signal;
use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::Duration,
};
use tests::{
    conn::Folder,
    process::{self, Done, Running, command, has, listener, noise, run, sotong, start, start_with, wait},
    tls::{CERT, TRUNCATED, accept},
    tool::tool,
};

/// A listener of a test's own, and how to reach it by a client that trusts it.
fn server() -> (TcpListener, [String; 4]) {
    let (listener, address) = listener();
    (listener, ["connect".into(), "--ca".into(), CERT.into(), format!("tls://{address}")])
}

fn with(args: &[String; 4], more: &[&str]) -> Vec<String> {
    [args.as_slice(), &more.iter().map(|&word| word.to_owned()).collect::<Vec<_>>()].concat()
}

/// All that is said to the end, which must be one.
fn hear(stream: &mut UnixStream) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    assert!(!all.ends_with(TRUNCATED), "the client's stream ends by a close_notify");
    all
}

#[track_caller]
fn assert_fails(done: &Done, code: i32, words: &str) {
    assert_eq!(done.code(), Some(code), "{}", done.stderr);
    assert!(done.stderr.starts_with("error: ") && done.stderr.lines().count() == 1, "one line: {}", done.stderr);
    assert!(done.stderr.contains(words), "{}", done.stderr);
}

#[test]
fn after_the_end_of_the_input_the_peer_says_all_it_has_however_late() {
    let (listener, args) = server();
    let mut running = start(&args);
    running.say(b"question");
    running.end_input();
    let (mut stream, _) = accept(&listener);
    assert_eq!(hear(&mut stream), b"question");
    thread::sleep(Duration::from_millis(1500));
    assert!(running.runs());
    stream.write_all(b"late ").unwrap();
    thread::sleep(Duration::from_millis(300));
    stream.write_all(b"answer").unwrap();
    drop(stream);
    let done = running.wait();
    assert_eq!((done.code(), done.stdout, done.stderr.as_str()), (Some(0), b"late answer".to_vec(), ""));
}

#[test]
fn after_the_peer_has_ended_a_pipe_is_read_and_sent_to_its_end() {
    let (listener, args) = server();
    let mut running = start(&args);
    running.say(b"first ");
    let (mut stream, _) = accept(&listener);
    stream.write_all(b"goodbye").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    running.wait_for("goodbye");
    thread::sleep(Duration::from_millis(300));
    assert!(running.runs(), "the input has not ended");
    let rest = noise(8 << 20, 1);
    let reading = thread::spawn(move || hear(&mut stream));
    running.say(&rest);
    let done = running.finish();
    assert_eq!((done.code(), done.stderr.as_str()), (Some(0), ""));
    let got = reading.join().unwrap();
    assert!(got.starts_with(b"first ") && got[6..] == rest);
}

#[test]
fn after_the_peer_has_left_a_broken_pipe_is_the_end() {
    let (listener, args) = server();
    let mut running = start(&args);
    let (stream, socket) = accept(&listener);
    stream.shutdown(Shutdown::Write).unwrap();
    let mut input = running.take_stdin();
    let writer = thread::spawn(move || {
        while input.write_all(b"anybody?\n").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    // Its close_notify is on its way before the socket goes.
    thread::sleep(Duration::from_millis(300));
    drop((stream, socket));
    let done = running.wait();
    assert_eq!((done.code(), done.stderr.as_str()), (Some(0), ""));
    writer.join().unwrap();
}

#[test]
fn a_time_limit_bounds_the_handshake_silence_and_the_wait_for_the_input() {
    let (listener, args) = server();
    let waiting = start(with(&args, &["-w", "0.4"]));
    let _silent = process::accept(&listener);
    assert_fails(&waiting.wait(), 75, "did not finish the TLS handshake within 400ms");
    let quiet = start(with(&args, &["-w", "0.4"]));
    let (mut stream, _) = accept(&listener);
    let done = quiet.wait();
    assert_fails(&done, 75, "nothing went by for 400ms");
    assert_eq!(hear(&mut stream), b"", "it has said that it leaves");
    let left = start(with(&args, &["-w", "0.4"]));
    let (stream, _) = accept(&listener);
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(left.wait().code(), Some(75));
}

/// At a terminal, which is what `socat` makes for it, nobody wants to press Ctrl-D once the peer has gone.
#[test]
fn after_the_peer_has_ended_a_terminal_is_left_at_once() {
    if !has("socat") {
        return;
    }
    let (listener, args) = server();
    let folder = Folder::new();
    let (script, code) = (folder.path().join("script"), folder.path().join("code"));
    fs::write(&script, format!("{} {}; echo $? > {}", sotong().display(), args.join(" "), code.display())).unwrap();
    let mut socat = Command::new("socat");
    socat.arg("-").arg(format!("EXEC:sh {},pty,ctty,setsid,rawer", script.display()));
    let mut socat = socat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut keys = socat.stdin.take().unwrap();
    let (mut stream, _) = accept(&listener);
    keys.write_all(b"typed\n").unwrap();
    let mut line = [0; 6];
    stream.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"typed\n");
    stream.write_all(b"seen").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(hear(&mut stream), b"");
    wait(&mut socat);
    drop(keys);
    let mut seen = String::new();
    socat.stdout.take().unwrap().read_to_string(&mut seen).unwrap();
    assert!(seen.ends_with("seen"), "{seen:?}");
    assert_eq!(fs::read_to_string(&code).unwrap(), "0\n");
}

/// `sotong connect … | head -1`: nobody reads any more, and the input never ends.
#[test]
fn a_reader_who_leaves_ends_it_quietly() {
    for speaks in [true, false] {
        let (listener, args) = server();
        let mut child = command(&args);
        let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut stream, _) = accept(&listener);
        stream.write_all(b"one\n").unwrap();
        let mut line = [0; 4];
        child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
        drop(child.stdout.take());
        if speaks {
            let _ = stream.write_all(&vec![0; 1 << 20]);
        }
        assert_eq!(wait(&mut child).code(), Some(0));
        let mut errors = String::new();
        child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        assert_eq!(errors, "");
    }
}

#[test]
fn a_message_is_sent_with_a_line_end_and_the_input_is_left_alone() {
    for (more, sent) in [(&["-m", "안녕하세요"][..], "안녕하세요\n"), (&["-C", "-m", "HELO x"], "HELO x\r\n")]
    {
        let (listener, args) = server();
        let running = start(with(&args, more));
        let (mut stream, _) = accept(&listener);
        assert_eq!(hear(&mut stream), sent.as_bytes());
        stream.write_all(b"answer\n").unwrap();
        drop(stream);
        let done = running.wait();
        assert_eq!((done.code(), done.stdout), (Some(0), b"answer\n".to_vec()));
    }
}

#[test]
fn nothing_is_said_and_nothing_heard() {
    let (listener, args) = server();
    let serving = thread::spawn(move || hear(&mut accept(&listener).0));
    let done = run(&args, b"");
    assert_eq!((done.code(), done.stdout.len(), serving.join().unwrap().len()), (Some(0), 0, 0));
}

/// The end of the socket without the end mark of TLS: somebody on the way, or a peer that died.
#[test]
fn code_76_a_stream_that_is_cut_off_is_told_and_what_came_is_printed() {
    for reset in [false, true] {
        let (listener, args) = server();
        let running = start(&args);
        let (mut stream, socket) = accept(&listener);
        stream.write_all(b"half a sent").unwrap();
        running.wait_for("half a sent");
        if reset {
            socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
        }
        socket.shutdown(Shutdown::Both).unwrap();
        let done = running.wait();
        assert_eq!(done.stdout, b"half a sent");
        assert_fails(&done, 76, if reset { "" } else { "without the end mark of TLS (close_notify)" });
    }
}

#[test]
fn an_answer_before_a_reset_is_printed() {
    let (listener, args) = server();
    let mut running = start(&args);
    let (mut stream, socket) = accept(&listener);
    running.say(b"a request");
    let mut request = [0; 9];
    stream.read_exact(&mut request).unwrap();
    stream.write_all(b"413 too large").unwrap();
    thread::sleep(Duration::from_millis(300));
    socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
    socket.shutdown(Shutdown::Both).unwrap();
    let done = running.finish();
    assert_eq!((done.code(), done.stdout), (Some(76), b"413 too large".to_vec()), "{}", done.stderr);
}

#[test]
fn code_130_and_143_by_signal_also_within_the_handshake() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let (listener, args) = server();
        let shaking = start(&args);
        let _silent = process::accept(&listener);
        thread::sleep(Duration::from_millis(100));
        shaking.signal(signal);
        assert_eq!(shaking.wait().code(), Some(code));
        let mut talking = start(&args);
        let (mut stream, _) = accept(&listener);
        talking.say(b"before");
        let mut before = [0; 6];
        stream.read_exact(&mut before).unwrap();
        talking.signal(signal);
        assert_eq!(talking.wait().code(), Some(code));
        assert_eq!(hear(&mut stream), b"", "it has said that it leaves");
    }
}

/// A peer that does not read keeps what was read from being sent: the first signal waits for it, the second does not.
#[test]
fn a_second_signal_does_not_wait() {
    let (listener, args) = server();
    let mut running = start(&args);
    let net = process::accept(&listener);
    running.say(b"x");
    hear_one_byte(&net);
    let mut input = running.take_stdin();
    let writer = thread::spawn(move || while input.write_all(&[b'x'; 65_536]).is_ok() {});
    thread::sleep(Duration::from_millis(500));
    running.signal(Signal::INT);
    thread::sleep(Duration::from_millis(300));
    assert!(running.runs(), "what was read is still to be sent");
    running.signal(Signal::INT);
    assert_eq!(running.wait().code(), Some(130));
    writer.join().unwrap();
    drop(net);
}

/// A server that finishes its handshake, hears one byte, and reads no more.
fn hear_one_byte(mut net: &TcpStream) {
    let mut tls = rustls::ServerConnection::new(tests::tls::server()).unwrap();
    let mut byte = [0];
    while tls.reader().read(&mut byte).is_err() {
        tls.complete_io(&mut net).unwrap();
    }
    assert_eq!(&byte, b"x");
}

#[test]
fn who_does_not_speak_tls_is_told_in_one_line() {
    for (says, words) in [
        (
            &b"220 mail.example.org ready\r\n"[..],
            r#"does not speak TLS; it said "220 mail.example.org ready\r\n". Try tcp://"#,
        ),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", r#"it said "HTTP/1.1 400 Bad Request"#),
        (b"", "ended the connection within the TLS handshake"),
        (b"\x16\x03\x03\x60\x00", "a malformed TLS message"),
        (b"\x15\x03\x01\x00\x02\x02\x28", r#"the TLS alert "handshake failure""#),
    ] {
        let (listener, args) = server();
        let running = start(&args);
        let mut stream = process::accept(&listener);
        stream.write_all(says).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let done = running.wait();
        assert_fails(&done, 76, words);
        assert!(done.stdout.is_empty());
    }
}

#[test]
fn who_speaks_plain_text_to_a_server_of_tls_is_told_in_one_line() {
    let listening = start(["listen", "--cert", CERT, "tls://127.0.0.1:0"]);
    let done = run(["connect", &listening.place()], b"hello?\r\n");
    assert_eq!((done.code(), done.stdout.as_slice()), (Some(0), &[0x15, 3, 1, 0, 2, 2, 10][..]));
    assert!(done.stderr.contains("seems to speak; try tls://") && done.stderr.lines().count() == 1, "{}", done.stderr);
    let (listener, address) = listener();
    let connecting = start(["connect", &address]);
    process::accept(&listener).write_all(&[0x15, 3, 1, 0, 2, 2, 11, 0]).unwrap();
    assert_eq!(connecting.finish().stderr, "", "more than an alert is none");
}

/// The environment of the tester trusts whomever it trusts; these trust nobody.
fn trusting_nobody(args: &[&str]) -> Done {
    let folder = Folder::new();
    let (_, other) = identity(&folder, "other");
    let mut command = command(args);
    command.env("SSL_CERT_FILE", other).env("SSL_CERT_DIR", folder.path());
    start_with(command.stdin(Stdio::piped()).stdout(Stdio::piped())).finish()
}

/// A key and a self-signed certificate for `localhost` as openssl makes them.
fn identity(folder: &Folder, name: &str) -> (PathBuf, PathBuf) {
    let (key, cert) = (folder.path().join(format!("{name}.key")), folder.path().join(format!("{name}.pem")));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", &format!("/CN={name}"), "-addext", "subjectAltName=DNS:localhost", "-keyout"])
        .args([&key, &PathBuf::from("-out"), &cert])
        .stderr(Stdio::null())
        .status();
    assert!(made.unwrap().success());
    (key, cert)
}

/// Connections are answered one after the other until it is dropped.
fn serve_many(listener: TcpListener, count: usize) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for _ in 0..count {
            let (mut stream, _) = accept(&listener);
            let mut heard = Vec::new();
            let _ = stream.read_to_end(&mut heard).and_then(|_| stream.write_all(b"served"));
        }
    })
}

#[test]
fn code_77_whom_nobody_vouches_for_and_how_to_trust_it_on_purpose() {
    if !has("openssl") {
        return;
    }
    let (listener, args) = server();
    let address = &args[3];
    let serving = serve_many(listener, 7);
    let refused = trusting_nobody(&["connect", address]);
    assert_fails(&refused, 77, "is not trusted: its certificate");
    let pin = refused.stderr.trim_end().rsplit_once("--pin ").expect("how to trust it").1.to_owned();
    let pinned = run(["connect", address.as_str(), "--pin", &pin], b"");
    assert_eq!((pinned.code(), pinned.stdout, pinned.stderr.as_str()), (Some(0), b"served".to_vec(), ""));
    let wrong = format!("{}{}", if pin.starts_with('0') { "1" } else { "0" }, &pin[1..]);
    let mismatch = run(["connect", address.as_str(), "--pin", &wrong], b"");
    assert_fails(&mismatch, 77, &format!("another fingerprint than the pinned one: {pin}"));
    let named = run(with(&args, &["--servername", "example.org"]), b"");
    assert_fails(&named, 77, "its certificate is not for example.org, but for localhost");
    let korean = run(with(&args, &["--servername", "example.org", "--lang", "ko"]), b"");
    assert!(korean.stderr.starts_with("오류: ") && korean.stderr.contains("신뢰할 수 없습니다"), "{}", korean.stderr);
    let known = run(with(&args, &["--servername", "LOCALHOST"]), b"");
    assert_eq!((known.code(), known.stdout), (Some(0), b"served".to_vec()), "{}", known.stderr);
    let anybody = trusting_nobody(&["connect", address, "--insecure"]);
    assert_eq!((anybody.code(), anybody.stdout), (Some(0), b"served".to_vec()));
    assert!(anybody.stderr.starts_with("warning: the server's certificate is not checked"), "{}", anybody.stderr);
    serving.join().unwrap();
}

#[test]
fn code_2_and_78_before_anything_is_connected() {
    for (args, code, words) in [
        (&["127.0.0.1:1", "--insecure"][..], 2, "'--insecure' is for TLS"),
        (&["127.0.0.1:1", "--cert", CERT], 2, "'--cert' is for TLS"),
        (&["udp://127.0.0.1:1", "--starttls", "smtp"], 2, "--starttls begins in plain text"),
        (&["tls://127.0.0.1:1", "--starttls", "smtp"], 2, "--starttls begins in plain text"),
        (&["tls://127.0.0.1:1", "--pin", "12"], 2, "64 hex digits"),
        (&["tls://127.0.0.1:1", "--servername", "a b"], 2, "a host name or an IP address"),
        (&["tls://127.0.0.1:1", "--alpn", "h2,,x"], 2, "is no name of a protocol"),
        (&["tls://127.0.0.1:1", "--tls-min", "1.3", "--tls-max", "1.2"], 2, "no version of TLS"),
        (&["tls://127.0.0.1:1", "--insecure", "--ca", CERT], 2, "cannot be used with"),
        (&["tls://127.0.0.1:1", "--keylog"], 2, "SSLKEYLOGFILE"),
        (&["tls://x-.example:1"], 2, "cannot be a name in a certificate"),
        (&["tls://127.0.0.1:1", "--ca", "/no/such/file"], 78, "/no/such/file"),
        (&["tls://127.0.0.1:1", "--ca", "/dev/null"], 78, "/dev/null"),
        (&["tls://127.0.0.1:1", "--cert", CERT, "--key", "/dev/null"], 78, "/dev/null"),
        (&["tls://127.0.0.1:1"], 69, "nobody listens there"),
    ] {
        let mut command = command([&["connect"], args].concat());
        command.env_remove("SSLKEYLOGFILE");
        let done = start_with(command.stdin(Stdio::null()).stdout(Stdio::piped())).wait();
        assert_eq!(done.code(), Some(code), "{args:?}: {}", done.stderr);
        assert!(done.stderr.contains(words), "{args:?}: {}", done.stderr);
    }
}

#[test]
fn show_cert_prints_what_the_server_shows_and_leaves() {
    let (listener, args) = server();
    let serving = serve_many(listener, 4);
    let shown = start(with(&args, &["--show-cert"])).wait();
    let text = String::from_utf8(shown.stdout.clone()).unwrap();
    assert_eq!((shown.code(), shown.stderr.as_str()), (Some(0), ""), "{text}");
    for part in ["TLSv1.3, TLS_", "\ntrusted\n", "localhost", "127.0.0.1", "valid: ", " to ", "SHA-256: ", "key: "] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    let object = start(with(&args, &["--show-cert", "--json", "--tls-max", "1.2"])).wait();
    let object: serde_json::Value = serde_json::from_slice(&object.stdout).unwrap();
    assert_eq!((&object["version"], &object["trusted"]), (&"TLSv1.2".into(), &true.into()), "{object}");
    assert_eq!(object["chain"].as_array().map(Vec::len), Some(1));
    let pin = object["chain"][0]["sha256"].as_str().expect("a fingerprint").to_owned();
    assert!(text.contains(&pin));
    // One that is refused is shown all the same: that is when people look.
    let refused = start(with(&args, &["--show-cert", "--servername", "example.org"])).wait();
    let text = String::from_utf8(refused.stdout.clone()).unwrap();
    assert!(text.starts_with("NOT trusted: ") && text.contains(&pin), "{text}");
    assert_fails(&refused, 77, "example.org");
    let refused = start(with(&args, &["--show-cert", "--json", "--servername", "example.org"])).wait();
    let object: serde_json::Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!((&object["trusted"], &object["chain"][0]["sha256"]), (&false.into(), &pin.into()), "{object}");
    assert!(object["refused"].as_str().is_some_and(|why| why.contains("example.org")), "{object}");
    serving.join().unwrap();
}

#[test]
fn secrets_are_logged_only_where_asked_for() {
    let (listener, args) = server();
    let serving = serve_many(listener, 3);
    let folder = Folder::new();
    let file = folder.path().join("keys");
    let keylog = |more: &[&str]| {
        let mut command = command(with(&args, more));
        command.env("SSLKEYLOGFILE", &file);
        assert_eq!(start_with(command.stdin(Stdio::null()).stdout(Stdio::piped())).wait().code(), Some(0));
        fs::read_to_string(&file).ok()
    };
    assert_eq!(keylog(&[]), None, "the environment alone asks for nothing");
    let named = folder.path().join("named");
    assert_eq!(keylog(&[&format!("--keylog={}", named.display())]), None);
    for text in [fs::read_to_string(named).ok(), keylog(&["--keylog"])] {
        let text = text.expect("a log");
        assert!(text.lines().any(|line| line.starts_with("CLIENT_TRAFFIC_SECRET_0 ")), "{text}");
    }
    serving.join().unwrap();
}

/// Descriptors that others share: their flags stay as they are, and what waits is asked first.
#[test]
fn the_flags_of_inherited_descriptors_stay() {
    let Some(python) = tool("python3") else { return };
    let (listener, args) = server();
    let serving = serve_many(listener, 1);
    let script = "import fcntl, os, subprocess, sys\n\
        before = [fcntl.fcntl(fd, fcntl.F_GETFL) for fd in (0, 1, 2)]\n\
        child = subprocess.Popen(sys.argv[1:])\n\
        seen = set()\n\
        while child.poll() is None:\n    seen.add(tuple(fcntl.fcntl(fd, fcntl.F_GETFL) for fd in (0, 1, 2)))\n\
        sys.exit(child.returncode if seen <= {tuple(before)} else 99)\n";
    let mut command = python.command(["-c", script]);
    command.arg(sotong()).args(&args);
    let mut running: Running = start_with(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
    running.say(b"hello");
    let done = running.finish();
    assert_eq!((done.code(), done.stdout), (Some(0), b"served".to_vec()), "{}", done.stderr);
    serving.join().unwrap();
}

#[test]
fn files_devices_and_full_disks_at_our_own_end() {
    let (listener, args) = server();
    let folder = Folder::new();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    let text = noise(3 << 20, 5);
    fs::write(&from, &text).unwrap();
    fs::write(&to, "before ").unwrap();
    let output = fs::File::options().append(true).open(&to).unwrap();
    let running = start_with(command(&args).stdin(fs::File::open(&from).unwrap()).stdout(output));
    let (mut stream, _) = accept(&listener);
    assert!(hear(&mut stream) == text);
    stream.write_all(b"after").unwrap();
    drop(stream);
    assert_eq!(running.wait().code(), Some(0));
    assert_eq!(fs::read_to_string(&to).unwrap(), "before after");

    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let running = start_with(command(&args).stdin(Stdio::null()).stdout(full));
    let (mut stream, _) = accept(&listener);
    stream.write_all(b"too much").unwrap();
    assert_fails(&running.wait(), 1, "the output cannot be written: the disk is full");

    // What is missing of an input that cannot be read must not look like its end.
    let running = start_with(command(&args).stdin(fs::File::open("/").unwrap()).stdout(Stdio::piped()));
    let (mut stream, _) = accept(&listener);
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).unwrap();
    assert_eq!(heard, TRUNCATED);
    assert_fails(&running.wait(), 1, "the input cannot be read");
}

#[test]
fn logs_hold_what_was_said_and_not_how_it_was_wrapped() {
    let (listener, args) = server();
    let folder = Folder::new();
    let log = folder.path().join("log");
    let mut running = start(with(&args, &["-C", "-x", "-v", "-o", log.to_str().unwrap()]));
    let (mut stream, _) = accept(&listener);
    running.say(b"ping\n");
    let mut ping = [0; 6];
    stream.read_exact(&mut ping).unwrap();
    assert_eq!(&ping, b"ping\r\n");
    stream.write_all(b"pong\n").unwrap();
    running.wait_for("pong");
    stream.shutdown(Shutdown::Write).unwrap();
    let done = running.finish();
    assert_eq!((done.code(), done.stdout), (Some(0), b"pong\n".to_vec()), "{}", done.stderr);
    assert_eq!(fs::read(&log).unwrap(), b"ping\r\npong\n");
    for part in ["> 00000000  70 69 6e 67", "< 00000000  70 6f 6e 67", "version=TLSv1.3", "sent=\"end of input\""] {
        assert!(done.stderr.contains(part), "{part:?} in {}", done.stderr);
    }
}
