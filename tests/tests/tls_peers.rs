//! `connect tls://` and `listen tls://` with foreign peers: OpenSSL's own tools, Python, socat, ncat.
use std::{
    fs::{self, File},
    io::{Read, Write},
    net::TcpListener,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};
use tests::{
    conn::Folder,
    process::{command, noise, run, start, start_with, wait},
    tls::CERT,
    tool::tool,
};

const MIB: usize = 1 << 20;

/// A foreign server, killed at the end of its test.
struct Foreign(Child);

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a server that must be told its port, by `command`, and gives the port once it listens there. The kernel picks the
/// port; where somebody else takes it in between, the server ends, and gets another.
fn started(mut command: impl FnMut(u16) -> Command) -> (Foreign, u16) {
    loop {
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let mut server = Foreign(command(port).spawn().unwrap());
        while server.0.try_wait().unwrap().is_none() {
            if is_listened_at(port) {
                return (server, port);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Whether somebody listens at a port, without a connection that would count.
fn is_listened_at(port: u16) -> bool {
    const LISTEN: &str = "0A";
    let port = format!(":{port:04X}");
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().any(|table| {
        let text = fs::read_to_string(table).unwrap_or_default();
        text.lines().any(|line| {
            let words: Vec<_> = line.split_ascii_whitespace().collect();
            matches!(words[..], [_, local, _, LISTEN, ..] if local.ends_with(&port))
        })
    })
}

/// A client that trusts the certificate of tests; it waits for a server that is starting.
fn connect(port: u16, more: &[&str]) -> Vec<String> {
    let address = format!("tls://127.0.0.1:{port}");
    let args = ["connect", "--retry", "8", "--ca", CERT, &address];
    args.iter().chain(more).map(|&word| word.to_owned()).collect()
}

/// Runs a client with `text` for its input, from a file, so that nothing but the connection holds it up.
fn through(command: &mut Command, text: &[u8]) -> (Option<i32>, Vec<u8>, String) {
    let folder = Folder::new();
    let path = folder.path().join("input");
    fs::write(&path, text).unwrap();
    let done = start_with(command.stdin(File::open(&path).unwrap()).stdout(Stdio::piped())).wait();
    (done.code(), done.stdout, done.stderr)
}

/// Session tickets are what it sends first, and what a client that closes early leaves unread.
#[test]
fn what_is_sent_to_a_server_of_openssl_arrives_whole() {
    let Some(openssl) = tool("openssl") else { return };
    for version in ["-tls1_3", "-tls1_2"] {
        for _ in 0..2 {
            let (read, write) = std::io::pipe().unwrap();
            let (mut server, port) = started(|port| {
                let mut server = openssl.command(["s_server", "-quiet", "-naccept", "1", "-num_tickets", "8", version]);
                server.args(["-accept", &port.to_string(), "-cert", CERT, "-key", CERT]);
                server.stdin(Stdio::piped()).stdout(write.try_clone().unwrap()).stderr(Stdio::null());
                server
            });
            // Only the server holds the pipe's other end.
            drop(write);
            let reading = thread::spawn(move || {
                let (mut read, mut got) = (read, Vec::new());
                read.read_to_end(&mut got).unwrap();
                got
            });
            let text = noise(8 * MIB, 41);
            let (code, _, said) = through(&mut command(connect(port, &[])), &text);
            assert_eq!((code, said.as_str()), (Some(0), ""), "{version}");
            wait(&mut server.0);
            let got = reading.join().unwrap();
            assert!(got == text, "{version}: {} of {} bytes", got.len(), text.len());
        }
    }
}

#[test]
fn a_page_of_a_server_of_openssl_is_read_to_its_end() {
    let Some(openssl) = tool("openssl") else { return };
    let folder = Folder::new();
    let text = noise(3 * MIB, 42);
    fs::write(folder.path().join("page"), &text).unwrap();
    let (_server, port) = started(|port| {
        let accept = port.to_string();
        let line = ["s_server", "-quiet", "-WWW", "-accept", &accept, "-cert", CERT, "-key", CERT];
        let mut server = openssl.command(line);
        server.current_dir(folder.path()).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        server
    });
    let done = run(connect(port, &[]), b"GET /page HTTP/1.0\r\n\r\n");
    assert_eq!((done.code(), done.stderr.as_str()), (Some(0), ""));
    assert!(done.stdout.ends_with(&text), "{} bytes", done.stdout.len());
}

/// Half-closes by close_notify, and answers late.
#[test]
fn a_late_answer_of_a_server_in_python() {
    let Some(python) = tool("python3") else { return };
    let script = "import socket, ssl, sys, time\n\
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n\
        context.load_cert_chain(sys.argv[1])\n\
        listener = socket.create_server(('127.0.0.1', 0))\n\
        print(listener.getsockname()[1], flush=True)\n\
        plain, _ = listener.accept()\n\
        tls = context.wrap_socket(plain, server_side=True, suppress_ragged_eofs=False)\n\
        heard = b''\n\
        while piece := tls.recv(65536):\n    heard += piece\n\
        time.sleep(1)\n\
        tls.sendall(heard[::-1])\n\
        tls.unwrap()\n";
    let mut server = python.command(["-c", script, CERT]).stdout(Stdio::piped()).spawn().unwrap();
    let mut port = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(server.stdout.take().unwrap()), &mut port).unwrap();
    let mut server = Foreign(server);
    let done = run(connect(port.trim().parse().unwrap(), &[]), "안녕, tac".as_bytes());
    let back: Vec<u8> = "안녕, tac".bytes().rev().collect();
    assert_eq!((done.code(), done.stdout, done.stderr.as_str()), (Some(0), back, ""));
    assert_eq!(wait(&mut server.0).code(), Some(0), "it has heard our close_notify");
}

/// Makes the arguments of a client for a port.
type Args = fn(&str) -> Vec<String>;

#[test]
fn foreign_clients_are_heard_to_the_last_byte() {
    // To s_client some capital letters are commands.
    let text: Vec<u8> = noise(8 * MIB, 43).iter().map(|byte| b'a' + byte % 8).collect();
    let clients: [(&str, Args); 3] = [
        ("openssl", |port| {
            words(&[
                "s_client",
                "-quiet",
                "-no_ign_eof",
                "-CAfile",
                CERT,
                "-verify_return_error",
                "-connect",
                &format!("127.0.0.1:{port}"),
            ])
        }),
        ("socat", |port| {
            words(&["-u", "-b65536", "-", &format!("OPENSSL:127.0.0.1:{port},cafile={CERT},commonname=localhost")])
        }),
        ("ncat", |port| words(&["--ssl", "--send-only", "127.0.0.1", port])),
    ];
    for (name, args) in clients {
        let Some(client) = tool(name) else { continue };
        let mut listening = start(["listen", "--cert", CERT, "tls://127.0.0.1:0"]);
        let address = listening.address();
        let port = address.rsplit_once(':').expect("a port").1;
        let (code, said) = thread::scope(|scope| {
            let client = scope.spawn(|| through(&mut client.command(args(port)), &text));
            // Some wait for our end once they have said theirs; some leave when it comes.
            while !client.is_finished() && listening.printed().len() < text.len() {
                thread::sleep(Duration::from_millis(20));
            }
            listening.end_input();
            let (code, _, said) = client.join().unwrap();
            (code, said)
        });
        let done = listening.wait();
        assert!(done.stdout == text, "{name} ({code:?}, {said}): {} bytes: {}", done.stdout.len(), done.stderr);
        // Who leaves without the end mark of TLS must not be called whole, though all has come.
        let left = ["end mark of TLS", "broke the connection off"];
        let expect = if left.iter().any(|how| done.stderr.contains(how)) { Some(76) } else { Some(0) };
        assert_eq!(done.code(), expect, "{name}: {}", done.stderr);
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[test]
fn a_program_answers_foreign_clients() {
    let listening = start(["listen", "-k", "--cert", CERT, "tls://127.0.0.1:0", "--exec", "tr a-z A-Z"]);
    let port = listening.address().rsplit_once(':').expect("a port").1.to_owned();
    if let Some(python) = tool("python3") {
        let script = "import socket, ssl, sys\n\
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):\n    \
                context = ssl.create_default_context(cafile=sys.argv[1])\n    \
                context.minimum_version = context.maximum_version = version\n    \
                inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()\n    \
                tls = context.wrap_bio(inward, outward, server_hostname='localhost')\n    \
                net = socket.create_connection(('127.0.0.1', int(sys.argv[2])))\n    \
                def until(step):\n        \
                    while True:\n            \
                        try:\n                return step()\n            \
                        except ssl.SSLWantReadError:\n                pass\n            \
                        finally:\n                net.sendall(outward.read())\n            \
                        piece = net.recv(65536)\n            \
                        inward.write(piece) if piece else inward.write_eof()\n    \
                until(tls.do_handshake)\n    \
                tls.write(b'hello')\n    \
                try:\n        tls.unwrap()\n    \
                except ssl.SSLWantReadError:\n        pass\n    \
                net.sendall(outward.read())\n    \
                raw = b''\n    \
                while piece := net.recv(65536):\n        raw += piece\n    \
                inward.write(raw)\n    \
                assert tls.version().replace('.', '_') == version.name, tls.version()\n    \
                print(tls.read(100).decode())\n";
        let done = python.run(["-c", script, CERT, &port], b"");
        assert_eq!((done.code(), done.stdout), (Some(0), b"HELLO\nHELLO\n".to_vec()), "{}", done.stderr);
    }
    if let Some(curl) = tool("curl") {
        let web = start([
            "listen",
            "-k",
            "--cert",
            CERT,
            "--alpn",
            "http/1.1",
            "tls://127.0.0.1:0",
            "--exec",
            "sh",
            "--",
            "-c",
            "read line; printf 'HTTP/1.1 200 OK\\r\\nContent-Length: 6\\r\\n\\r\\nhello\\n'",
        ]);
        let page = web.address().replace("tls://", "https://");
        for version in ["--tlsv1.3", "--tls-max=1.2"] {
            let version = version.split('=').collect::<Vec<_>>();
            let done = curl.run([&["-sS", "--cacert", CERT, page.as_str()], &version[..]].concat(), b"");
            assert_eq!((done.code(), done.stdout), (Some(0), b"hello\n".to_vec()), "{}", done.stderr);
        }
    }
}

/// Neither side waits for the other: each sends everything before it would have to read anything.
#[test]
fn sixty_four_mebibytes_each_way_between_connect_and_listen() {
    const TOTAL: usize = 64 * MIB;
    let (there, back) = (noise(TOTAL, 44), noise(TOTAL, 45));
    let mut listening = start(["listen", "--cert", CERT, "tls://127.0.0.1:0"]);
    let mut connecting = start(["connect", "--ca", CERT, &listening.address()]);
    thread::scope(|scope| {
        let (mut to_connect, mut to_listen) = (connecting.take_stdin(), listening.take_stdin());
        let (there, back) = (&there, &back);
        scope.spawn(move || to_connect.write_all(there).unwrap());
        scope.spawn(move || to_listen.write_all(back).unwrap());
    });
    let (connected, listened) = (connecting.wait(), listening.wait());
    assert_eq!((connected.code(), listened.code()), (Some(0), Some(0)), "{} {}", connected.stderr, listened.stderr);
    assert!(connected.stdout == back && listened.stdout == there);
}

/// The same through an echo, where what is sent depends on what is received.
#[test]
fn sixteen_mebibytes_there_and_back_through_a_program() {
    let text = noise(16 * MIB, 46);
    let listening = start(["listen", "--cert", CERT, "tls+unix:@sotong-tls-peers", "--exec", "cat"]);
    let address = listening.address();
    let (code, back, said) = through(&mut command(["connect", "--ca", CERT, &address]), &text);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert!(back == text);
    assert_eq!(listening.wait().code(), Some(0));
}

/// A peer that stops reading for a while loses nothing, and holds up nothing but itself.
#[test]
fn a_slow_reader_gets_all_of_it() {
    let text = noise(16 * MIB, 47);
    let (mut slow, output) = std::io::pipe().unwrap();
    let mut listening = command(["listen", "--cert", CERT, "tls://127.0.0.1:0"]);
    let listening = start_with(listening.stdin(Stdio::null()).stdout(output));
    let address = listening.address();
    let (copy, sender) =
        (text.clone(), thread::spawn(move || through(&mut command(["connect", "--ca", CERT, &address]), &text)));
    thread::sleep(Duration::from_millis(700));
    assert!(!sender.is_finished(), "it waits for its reader");
    let mut got = vec![0; copy.len()];
    slow.read_exact(&mut got).unwrap();
    assert!(got == copy);
    let (code, _, said) = sender.join().unwrap();
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert_eq!(listening.wait().code(), Some(0));
}
