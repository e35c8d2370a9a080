//! `sotong listen tls://…`: one client or many, programs, certificates, and clients that do not get through the handshake.
use rustix::process::Signal;
use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
    thread,
    time::Duration,
};
use tests::{
    conn::{Conn, Folder},
    process::{Running, command, has, noise, run, start, start_with},
    tls::{CERT, TRUNCATED},
};

fn listen(more: &[&str]) -> Running {
    start([&["listen", "--cert", CERT], more].concat())
}

/// All that is said to the end, which must be one.
fn hear(conn: &mut Conn) -> Vec<u8> {
    let all = conn.rest();
    assert!(!all.ends_with(TRUNCATED), "the stream ends by a close_notify: {}", String::from_utf8_lossy(&all));
    all
}

#[test]
fn one_client_is_served_both_ways_and_the_port_is_free_again() {
    for address in ["tls://127.0.0.1:0", "tls+unix:@sotong-listen-tls"] {
        let mut listening = listen(&[address]);
        let mut conn = Conn::dial(&listening.address());
        conn.send(b"from the client");
        listening.wait_for("from the client");
        listening.say(b"to the client");
        listening.end_input();
        assert_eq!(hear(&mut conn), b"to the client");
        // It has said all it had to say, and still hears.
        thread::sleep(Duration::from_millis(300));
        conn.send(b", late");
        conn.end();
        let done = listening.wait();
        assert_eq!((done.code(), done.stdout), (Some(0), b"from the client, late".to_vec()), "{}", done.stderr);
    }
}

/// A probe, somebody with plain HTTP, a client that does not trust us: the one who is meant comes later.
#[test]
fn who_does_not_get_through_the_handshake_has_not_come() {
    let mut listening = listen(&["tls://127.0.0.1:0"]);
    let place = listening.place();
    drop(TcpStream::connect(&place).unwrap());
    listening.wait_for_word("ended the connection within the TLS handshake");
    let mut plain = TcpStream::connect(&place).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    plain.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("https://"), "{answer}");
    listening.wait_for_word("a plain HTTP request on a TLS port");
    let refused = run(["connect", "--servername", "example.org", "--ca", CERT, &listening.address()], b"");
    assert_eq!(refused.code(), Some(77), "{}", refused.stderr);
    let mut conn = Conn::dial(&listening.address());
    listening.say(b"welcome");
    listening.end_input();
    assert_eq!(hear(&mut conn), b"welcome");
    conn.end();
    assert_eq!(listening.wait().code(), Some(0));
}

#[test]
fn input_is_for_whoever_gets_through_the_handshake() {
    let mut listening = listen(&["-k", "tls://127.0.0.1:0"]);
    let _silent = TcpStream::connect(listening.place()).unwrap();
    thread::sleep(Duration::from_millis(200));
    let text = noise(3 << 20, 31);
    let (mut input, typed) = (listening.take_stdin(), text.clone());
    let writer = thread::spawn(move || {
        input.write_all(&typed).unwrap();
        drop(input);
    });
    thread::sleep(Duration::from_millis(200));
    assert!(hear(&mut Conn::dial(&listening.address())) == text);
    writer.join().unwrap();
}

#[test]
fn everybody_hears_what_is_typed_and_everybody_is_heard() {
    let mut listening = listen(&["-k", "tls://127.0.0.1:0", "127.0.0.1:0"]);
    let addresses = listening.addresses(2);
    let client = |address: &str, name: &str| {
        let mut conn = Conn::dial(address);
        conn.send(name);
        listening.wait_for(name);
        conn
    };
    let mut first = client(&addresses[0], "<first>");
    let mut second = client(&addresses[0], "<second>");
    let mut plain = client(&addresses[1], "<plain>");
    listening.say("모두에게\n".as_bytes());
    for conn in [&mut first, &mut second, &mut plain] {
        assert_eq!(conn.get(13), "모두에게\n".as_bytes());
    }
    first.end();
    assert_eq!(hear(&mut first), b"", "who has said all is let go");
    listening.end_input();
    assert_eq!(hear(&mut second), b"", "the end of the input is everybody's");
    second.send(b"<late>");
    listening.wait_for("<late>");
    listening.signal(Signal::TERM);
    assert_eq!(listening.wait().code(), Some(0));
}

#[test]
fn code_76_when_the_client_breaks_off_and_75_when_it_is_silent() {
    let mut listening = listen(&["tls://127.0.0.1:0"]);
    let mut connect = start(["connect", "--ca", CERT, &listening.address()]);
    connect.say(b"half a sent");
    listening.wait_for("half a sent");
    drop(connect);
    let done = listening.wait();
    assert_eq!((done.code(), done.stdout), (Some(76), b"half a sent".to_vec()));
    assert!(done.stderr.contains("without the end mark of TLS"), "{}", done.stderr);
    let quiet = listen(&["-w", "0.4", "tls://127.0.0.1:0"]);
    let mut conn = Conn::dial(&quiet.address());
    assert_eq!(hear(&mut conn), b"");
    assert_eq!(quiet.wait().code(), Some(75));
    listening = listen(&["-w", "0.4", "tls://127.0.0.1:0"]);
    assert_eq!(listening.wait().code(), Some(75), "nobody came");
}

#[test]
fn a_program_for_each_client_whole_there_and_back() {
    let listening = listen(&["-k", "tls://127.0.0.1:0", "--exec", "cat"]);
    let address = listening.address();
    let text = noise(8 << 20, 33);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let done = run(["connect", "--ca", CERT, address.as_str()], &text);
                assert!(done.code() == Some(0) && done.stdout == text, "{}", done.stderr);
            });
        }
    });
    listening.signal(Signal::TERM);
    assert_eq!(listening.wait().code(), Some(0));
}

#[test]
fn what_a_program_says_before_it_leaves_arrives_with_its_end() {
    let listening = listen(&["-k", "tls://127.0.0.1:0", "--exec", "head -c 5"]);
    let mut conn = Conn::dial(&listening.address());
    conn.send(b"hello, and much more");
    assert_eq!(hear(&mut conn), b"hello");
    // It runs for nobody who does not get through the handshake.
    let folder = Folder::new();
    let ran = folder.path().join("ran");
    let line = format!("touch {}", ran.display());
    let touching = listen(&["-k", "tls://127.0.0.1:0", "--exec", &line]);
    let mut plain = TcpStream::connect(touching.place()).unwrap();
    plain.write_all(b"hello?\r\n").unwrap();
    plain.shutdown(Shutdown::Write).unwrap();
    let mut alert = Vec::new();
    plain.read_to_end(&mut alert).unwrap();
    assert_eq!(alert, [0x15, 3, 1, 0, 2, 2, 10], "unexpected_message");
    touching.wait_for_word("does not speak TLS; it said");
    assert!(!ran.exists());
    assert_eq!(hear(&mut Conn::dial(&touching.address())), b"");
    assert!(ran.exists());
}

/// An authority, and certificates of it for a server and a client, as openssl makes them.
fn authority(folder: &Folder) {
    let script = "set -e\n\
        new() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \"$@\" 2>/dev/null; }\n\
        new -x509 -days 2 -subj /CN=authority -keyout ca.key -out ca.pem\n\
        new -subj /CN=alice -keyout alice.key -out alice.csr\n\
        echo subjectAltName=email:alice@example.org > alice.ext\n\
        openssl x509 -req -in alice.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile alice.ext \\\n\
        -out alice.pem 2>/dev/null\n\
        new -x509 -days 2 -subj /CN=mallory -keyout mallory.key -out mallory.pem\n";
    let done = Command::new("sh").args(["-c", script]).current_dir(folder.path()).status();
    assert!(done.unwrap().success());
}

#[test]
fn clients_show_certificates_and_programs_know_who_they_are() {
    if !has("openssl") {
        return;
    }
    let folder = Folder::new();
    authority(&folder);
    let file = |name: &str| folder.path().join(name).to_str().expect("a path").to_owned();
    let print = "echo \"$SOTONG_TLS_CLIENT|${SOTONG_TLS_CLIENT_SHA256:+known}|$SOTONG_TLS_NAME|${SOTONG_PEER%:*}\"";
    let program = format!("sh -c '{}'", print.replace('\'', ""));
    for (auth, nobody) in [("demand", Err(())), ("ask", Ok("||localhost|tls://127.0.0.1\n"))] {
        let mut listening = command(["listen", "-k", "--cert", CERT, "--client-ca", &file("ca.pem")]);
        listening.args(["--client-auth", auth, "tls://127.0.0.1:0", "--exec", &program]);
        // What somebody else has left in the environment must not be believed.
        listening.env("SOTONG_TLS_CLIENT", "CN=root");
        let listening = start_with(listening.stdin(Stdio::null()).stdout(Stdio::piped()));
        let address = listening.address();
        let ask = |more: &[&str]| {
            let args = ["connect", "--ca", CERT, "--servername", "localhost", address.as_str()];
            run([&args, more].concat(), b"")
        };
        let alice = ask(&["--cert", &file("alice.pem"), "--key", &file("alice.key")]);
        let said = String::from_utf8_lossy(&alice.stdout).into_owned();
        assert_eq!(
            (alice.code(), said.as_str()),
            (Some(0), "CN=alice|known|localhost|tls://127.0.0.1\n"),
            "{}",
            alice.stderr
        );
        let done = ask(&[]);
        match nobody {
            Ok(said) => assert_eq!((done.code(), done.stdout), (Some(0), said.into())),
            Err(()) => {
                assert_eq!(done.code(), Some(77), "{}", done.stderr);
                assert!(done.stderr.contains("wants a certificate of us"), "{}", done.stderr);
            }
        }
        let shown = ask(&["--show-cert"]);
        let text = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(text.contains("a client certificate was asked for, and none given"), "{text}");
        let mallory = ask(&["--cert", &file("mallory.pem"), "--key", &file("mallory.key")]);
        assert_eq!((mallory.code(), mallory.stdout.len()), (Some(77), 0), "{}", mallory.stderr);
        assert!(mallory.stderr.contains("refused the certificate of --cert"), "{}", mallory.stderr);
    }
}

#[test]
fn without_a_certificate_one_is_made_that_lasts_and_can_be_pinned() {
    let folder = Folder::new();
    let mut lines = Vec::new();
    for _ in 0..2 {
        let mut listening = command(["listen", "tls://127.0.0.1:0"]);
        listening.env("XDG_DATA_HOME", folder.path());
        let mut listening = start_with(listening.stdin(Stdio::piped()).stdout(Stdio::piped()));
        listening.wait_for_word("try: ");
        let written = listening.written();
        let command = written.lines().find_map(|line| line.strip_prefix("try: sotong ")).expect("a command").to_owned();
        listening.say(b"hello");
        listening.end_input();
        let done = run(command.split(' '), b"");
        assert_eq!((done.code(), done.stdout, done.stderr.as_str()), (Some(0), b"hello".to_vec(), ""));
        assert_eq!(listening.wait().code(), Some(0));
        lines.push(command.split(' ').find(|word| word.len() == 64).expect("a fingerprint").to_owned());
    }
    assert_eq!(lines[0], lines[1], "it lasts over restarts");
    let mode = fs::metadata(folder.path().join("sotong/self-signed.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn certificates_are_reloaded_and_connections_stay() {
    if !has("openssl") {
        return;
    }
    let folder = Folder::new();
    authority(&folder);
    let live = folder.path().join("live.pem");
    fs::copy(CERT, &live).unwrap();
    fs::set_permissions(&live, fs::Permissions::from_mode(0o600)).unwrap();
    let listening = start(["listen", "-k", "-v", "--cert", live.to_str().unwrap(), "tls://127.0.0.1:0"]);
    let mut conn = Conn::dial(&listening.address());
    conn.send(b"<before>");
    listening.wait_for("<before>");
    let pair = ["mallory.pem", "mallory.key"].map(|name| fs::read(folder.path().join(name)).unwrap()).concat();
    fs::write(&live, pair).unwrap();
    listening.signal(Signal::HUP);
    listening.wait_for_word("certificates reloaded");
    conn.send(b"<still>");
    listening.wait_for("<still>");
    let shown = run(["connect", "--show-cert", "--ca", CERT, &listening.address()], b"");
    assert!(String::from_utf8_lossy(&shown.stdout).contains("CN=mallory"), "{}", shown.stderr);
}

#[test]
fn code_2_and_78_before_anything_listens() {
    for (args, code, words) in [
        (&["127.0.0.1:0", "--cert", CERT][..], 2, "'--cert' is for TLS"),
        (&["127.0.0.1:0", "--client-ca", CERT], 2, "'--client-ca' is for TLS"),
        (&["tls://127.0.0.1:0", "--cert", "/no/such/file"], 78, "/no/such/file"),
        (&["tls://127.0.0.1:0", "--cert", CERT, "--key", "/dev/null"], 78, "/dev/null"),
    ] {
        let done = run([&["listen"], args].concat(), b"");
        assert_eq!(done.code(), Some(code), "{args:?}: {}", done.stderr);
        assert!(done.stderr.contains(words) && !done.stderr.contains("listening"), "{args:?}: {}", done.stderr);
    }
}
