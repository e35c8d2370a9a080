//! What cannot work is refused in one line that names the cause and the way out; a peer that misbehaves harms itself only.
use rustix::process::geteuid;
use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{TcpListener, UdpSocket},
    os::unix::{fs::PermissionsExt, net::UnixListener},
    process::{Command, Stdio},
};
use tests::{
    conn::{Conn, Folder, abstract_unix, datagram, udp},
    person::Person,
    process::{self, noise},
    runs::{Run, concurrent_runs, runs, shared_runs},
    server::Server,
    tool::tool,
};

const HELLO: &str = "안녕하세요, 서버!";

/// What a line has to tell in one language: what it begins with, the cause, the way out.
type Words<'a> = (&'a str, &'a str, &'a str);

/// What `command` says when it does not start: one line, and nothing on standard output.
#[track_caller]
fn refused(command: &mut Command) -> (String, Option<i32>) {
    let done = process::start_with(command.stdin(Stdio::null()).stdout(Stdio::piped())).wait();
    assert_eq!(done.stdout, b"", "standard output is for data");
    let line = done.stderr.strip_suffix('\n').unwrap_or_else(|| panic!("no line: {:?}", done.stderr));
    assert!(!line.contains('\n'), "more than one line: {:?}", done.stderr);
    (line.to_owned(), done.status.code())
}

#[track_caller]
fn check_words(line: &str, (begin, cause, way_out): Words<'_>) {
    assert!(line.starts_with(begin), "{line:?} begins with {begin:?}");
    let at = line.find(cause).unwrap_or_else(|| panic!("{line:?} names the cause: {cause:?}"));
    assert!(line[at + cause.len()..].contains(way_out), "{line:?} names the way out behind it: {way_out:?}");
}

/// Refused under every model, in both languages; the way out is told behind the cause. What listened before is let go.
#[track_caller]
fn check_refused(address: &str, code: i32, english: Words<'_>, korean: Words<'_>) {
    for run in runs() {
        let folder = Folder::new();
        let (path, name) = (folder.unix("before"), abstract_unix());
        for (lang, words) in [("en", english), ("ko", korean)] {
            let line = run.line("echo", &["127.0.0.1:0", &path, &name, address, "--lang", lang]);
            let (line, got) = refused(&mut process::command(line));
            check_words(&line, words);
            assert_eq!(got, Some(code), "{run}: {line}");
            assert!(!folder.path().join("before").exists(), "{run}: nothing is left half-started");
        }
    }
}

#[test]
fn what_is_no_address() {
    for (address, english, korean) in [
        ("gopher://localhost:70", ("no scheme gopher://", "there are tcp://"), ("gopher://", "쓸 수 있습니다")),
        ("tpc://localhost:70", ("no scheme tpc://", "tcp"), ("tpc://", "tcp")),
        ("localhost:65536", ("'65536' is no port", "1 to 65535"), ("'65536'은 포트가 아닙니다", "1에서 65535")),
        ("localhost:http", ("'http' is no port", "1 to 65535"), ("'http'", "1에서 65535")),
        ("localhost:-1", ("'-1' is no port", "1 to 65535"), ("'-1'", "1에서 65535")),
        ("localhost", ("the port is missing", "localhost:PORT"), ("포트가 없습니다", "localhost:PORT")),
        ("12345", ("the host is missing", ":12345"), ("호스트가 없습니다", ":12345")),
        ("::1:7", ("into brackets", "[::1:7]:PORT"), ("대괄호로", "[::1:7]:PORT")),
        ("256.0.0.1:7", ("no IPv4 address", "0 to 255"), ("IPv4 주소가 아닙니다", "0에서 255")),
        ("/run/socket", ("", "write unix:/run/socket"), ("", "unix:/run/socket")),
        ("unix:", ("no name", "unix:PATH"), ("이름이 없습니다", "unix:경로")),
        ("", ("it is empty", "HOST:PORT"), ("비어 있습니다", "HOST:PORT")),
    ] {
        let begin = |heading| format!("{heading}: '{address}'");
        let (en, ko) = (begin("error"), begin("오류"));
        check_refused(address, 2, (&en, english.0, english.1), (&ko, korean.0, korean.1));
    }
}

#[test]
fn the_path_of_a_unix_socket_that_is_too_long() {
    for address in [format!("unix:/tmp/{}", "가".repeat(35)), format!("unix:@{}", "x".repeat(108))] {
        check_refused(
            &address,
            2,
            (&format!("error: '{address}' is no address"), "at most 107", "shorter"),
            (&format!("오류: '{address}'"), "최대 107바이트", "더 짧은 경로"),
        );
    }
}

#[test]
fn a_name_that_does_not_resolve() {
    // No part of a name has more than 63 bytes (RFC 1035, section 2.3.4): nobody need be asked.
    let name = format!("{}.invalid", "x".repeat(64));
    for scheme in ["tcp", "udp"] {
        let address = format!("{scheme}://{name}:7");
        check_refused(
            &address,
            69,
            (&format!("error: cannot listen on {address}:"), "does not resolve", "check the name"),
            (&format!("오류: {address}"), "찾을 수 없습니다", "이름을 확인하거나"),
        );
    }
}

#[test]
fn an_address_in_use() {
    let stream = TcpListener::bind("127.0.0.1:0").expect("a port");
    let record = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let tcp = format!("tcp://{}", stream.local_addr().expect("an address"));
    let udp = format!("udp://{}", record.local_addr().expect("an address"));
    for address in [tcp, udp] {
        check_refused(
            &address,
            1,
            (&format!("error: cannot listen on {address}:"), "somebody listens there already", "choose another port"),
            (&format!("오류: {address}에서"), "이미 사용 중", "다른 포트를"),
        );
    }
}

#[test]
fn an_address_of_another_machine() {
    check_refused(
        "192.0.2.1:0",
        1,
        ("error: cannot listen on tcp://192.0.2.1:0:", "192.0.2.1 is no address of this machine", "choose"),
        ("오류: tcp://192.0.2.1:0에서", "이 컴퓨터의 주소가 아닙니다", "고르"),
    );
}

#[test]
fn a_folder_that_is_not_there() {
    check_refused(
        "unix:/no/such/folder/socket",
        1,
        ("error: cannot listen on unix:/no/such/folder/socket:", "there is no folder /no/such/folder", "make it"),
        ("오류: unix:/no/such/folder/socket에서", "/no/such/folder 디렉터리가 없습니다", "만들거나"),
    );
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let folder = Folder::new();
    let path = folder.path().join("diary");
    fs::write(&path, "precious").expect("written");
    check_refused(
        &folder.unix("diary"),
        1,
        ("error: cannot listen on unix:", "diary exists and is no socket", "choose another path"),
        ("오류: unix:", "소켓이 아닙니다", "다른 경로를"),
    );
    assert_eq!(fs::read_to_string(&path).expect("still there"), "precious");
}

/// `sotong` as a user without privileges; `None` if that cannot be.
fn unprivileged(line: Vec<String>) -> Option<Command> {
    if !geteuid().is_root() {
        return Some(process::command(line));
    }
    // The built command may lie where only root can reach it.
    let mut command = tool("setpriv")?.command(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command.arg(process::sotong()).args(line);
    Some(command)
}

#[test]
fn what_is_not_permitted() {
    let folder = Folder::new();
    let locked = folder.path().join("locked");
    fs::create_dir(&locked).expect("a folder");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o500)).expect("permissions");
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    let has_low_ports = first.trim().parse::<u16>().is_ok_and(|port| port > 80);
    for run in runs() {
        for (lang, path_words, port_words) in [
            (
                "en",
                ("error: cannot listen on unix:", "does not permit", "a user who may"),
                ("error: cannot listen on tcp://127.0.0.1:80:", "needs a privilege", "from 1024 up"),
            ),
            (
                "ko",
                ("오류: unix:", "허용하지 않습니다", "권한이 있는 사용자"),
                ("오류: tcp://127.0.0.1:80에서", "권한이 필요합니다", "1024 이상"),
            ),
        ] {
            let unix = format!("unix:{}", locked.join("socket").display());
            for (address, words, is_here) in
                [(unix.as_str(), path_words, true), ("127.0.0.1:80", port_words, has_low_ports)]
            {
                let line = run.line("echo", &[address, "--lang", lang]);
                let Some(mut command) = unprivileged(line).filter(|_| is_here) else { continue };
                let (line, code) = refused(&mut command);
                check_words(&line, words);
                assert_eq!(code, Some(1), "{run}: {line}");
            }
        }
    }
}

#[test]
fn a_socket_file_that_a_dead_server_left_is_taken_over() {
    for run in runs() {
        let folder = Folder::new();
        // Dropping the standard library's listener leaves its file.
        drop(UnixListener::bind(folder.path().join("socket")).expect("bound"));
        let server = Server::start(run.line("echo", &[&folder.unix("socket")]));
        assert_eq!(server.dial().echoed(HELLO), HELLO.as_bytes(), "{run}");
        server.stop();
        assert!(!folder.path().join("socket").exists(), "{run}");
    }
}

#[test]
fn a_server_that_was_killed_stands_in_nobodys_way() {
    for run in runs() {
        let folder = Folder::new();
        let first = Server::start(run.line("echo", &[&folder.unix("socket")]));
        first.signal(rustix::process::Signal::KILL);
        assert_eq!(first.end().code(), None);
        assert!(folder.path().join("socket").exists(), "{run}: its file is still there");
        let second = Server::start(run.line("echo", &[&folder.unix("socket")]));
        assert_eq!(second.dial().echoed(HELLO), HELLO.as_bytes(), "{run}");
        second.stop();
    }
}

#[test]
fn a_socket_file_of_a_live_server_is_left_alone() {
    let folder = Folder::new();
    for address in [folder.unix("socket"), abstract_unix()] {
        let first = Server::start(["echo", &address]);
        check_refused(
            &address,
            1,
            (&format!("error: cannot listen on {address}:"), "somebody listens there already", "another path"),
            (&format!("오류: {address}에서"), "이미 사용 중", "다른 경로"),
        );
        assert_eq!(first.dial().echoed(HELLO), HELLO.as_bytes(), "it serves on");
        first.stop();
    }
}

#[test]
fn a_room_where_people_cannot_hear_each_other() {
    let able: Vec<_> = shared_runs().iter().map(|run| format!("--model {}", run.model)).collect();
    let unable: Vec<_> = runs().into_iter().filter(|run| !shared_runs().contains(run)).collect();
    assert!(!unable.is_empty());
    for run in unable {
        let folder = Folder::new();
        let model = run.model.name();
        for (lang, begin, cause) in [
            ("en", format!("error: room cannot run under {model}, "), "talk to each other"),
            ("ko", "오류: room".to_owned(), "서로 메시지를 주고받지만"),
        ] {
            let line = run.line("room", &[&folder.unix("socket"), "--lang", lang]);
            let (line, code) = refused(&mut process::command(line));
            assert_eq!(code, Some(78), "{run}: {line}");
            for way_out in &able {
                check_words(&line, (&begin, cause, way_out));
            }
            assert!(line.contains(model), "{run}: {line}");
            assert!(!folder.path().join("socket").exists(), "{run}: before anything listens");
        }
    }
}

#[test]
fn a_command_line_that_cannot_be() {
    for (line, words) in [
        (&["echo", "--model", "magic"][..], ("error: ", "'magic'", "epoll")),
        (&["echo", "--workers", "0"], ("error: ", "'0'", "from 1 to")),
        (&["echo", "--idle", "soon"], ("error: ", "'soon'", "a time is")),
        (&["echo", "--outptu-high", "1KiB"], ("error: ", "'--outptu-high'", "--output-high")),
        (&["ehco"], ("error: ", "'ehco'", "echo")),
        (&["echo", "--output-low", "2KiB", "--output-high", "1KiB"], ("error: ", "must rise", "--output-low 2048")),
        (&["echo", "-q", "-v"], ("error: ", "cannot be used with", "")),
    ] {
        let done = process::run(line, b"");
        assert_eq!((done.code(), done.stdout.len()), (Some(2), 0), "{line:?}: {}", done.stderr);
        let lines: Vec<_> = done.stderr.lines().collect();
        check_words(lines[0], words);
        assert!(lines.len() == 2 && lines[1].starts_with("See: sotong"), "and where to read more: {lines:?}");
    }
}

/// The server serves somebody else as if nothing had been.
#[track_caller]
fn check_serves(run: &Run, server: &Server) {
    assert_eq!(server.dial().echoed(HELLO), HELLO.as_bytes(), "{run}");
}

/// Lines of bytes that are no UTF-8: none of them could be a name.
fn garbage(count: usize, seed: u64) -> Vec<u8> {
    noise(count, seed).iter().map(|byte| if *byte < 8 { b'\n' } else { 0x80 | byte & 0x3F }).collect()
}

#[test]
fn garbage_harms_nobody_else() {
    for run in shared_runs() {
        let server = Server::start(run.line("room", &["127.0.0.1:0", "udp://127.0.0.1:0"]));
        let mut alice = Person::enter(server.address(), "Alice");
        let mut bob = Person::enter(server.address(), "Bob");
        for seed in 0..20 {
            let mut peer = server.dial();
            // It may be let go before all is sent.
            let _ = peer.write_all(&garbage(20_000, seed));
            let record = udp(&server.addresses()[1]);
            record.send(&garbage(1_000, seed)).expect("sent");
        }
        alice.hear_until("* Bob has joined");
        bob.say("still here");
        assert_eq!(alice.hear_until("Bob: still here"), [""; 0], "{run}: nobody else is heard");
        server.stop();
    }
}

#[test]
fn a_line_without_end_is_not_kept() {
    for run in shared_runs() {
        let mut server = Server::start(run.line("room", &["127.0.0.1:0", "-v"]));
        let mut alice = Person::enter(server.address(), "Alice");
        let before = server.status("VmHWM");
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..20 {
            let mut peer = Person::knock(server.address());
            let mut sent = 0;
            // Far more than a line may have: it is let go on the way.
            while sent < 64 << 20 && peer.conn().write_all(&piece).is_ok() {
                sent += piece.len();
            }
            assert!(sent < 64 << 20, "{run}: it could send on and on");
            server.line(&["closed", "reason=limit", "line_bytes_max"]);
        }
        let grown = server.status("VmHWM") - before;
        assert!(grown < 8 << 10, "{run}: {grown} KiB more for lines of at most 8 KiB");
        alice.say("/who");
        assert_eq!(alice.hear(), "* Here: Alice", "{run}");
        server.stop();
    }
}

#[test]
fn who_says_a_byte_and_then_nothing_holds_up_nobody() {
    for run in shared_runs() {
        let server = Server::start(run.line("room", &["127.0.0.1:0"]));
        let silent: Vec<_> = (0..50)
            .map(|_| {
                let mut peer = Person::knock(server.address());
                peer.conn().send([0xEB]);
                peer
            })
            .collect();
        let (mut alice, mut bob) = (Person::enter(server.address(), "Alice"), Person::enter(server.address(), "Bob"));
        alice.hear();
        for turn in 0..100 {
            bob.say(&format!("{turn}"));
            assert_eq!(alice.hear(), format!("Bob: {turn}"), "{run}");
        }
        // They are let go by the time limit for a name, and may still give one before.
        let mut late = silent.into_iter().next().expect("one of them");
        late.conn().send([0xAF, 0xBC, b'\n']);
        assert_eq!(late.hear(), "* Welcome, 민. /help lists the commands.", "{run}");
        server.stop();
    }
}

#[test]
fn who_is_silent_is_let_go_where_that_is_asked_for() {
    for run in runs() {
        let server = Server::start(run.line("echo", &["127.0.0.1:0", "udp://127.0.0.1:0", "--idle", "300ms"]));
        let mut silent: Vec<_> = (0..20).map(|_| server.dial()).collect();
        for peer in &mut silent {
            peer.send("x");
        }
        for peer in &mut silent {
            assert_eq!(peer.rest(), b"x", "{run}: an end in order");
        }
        let record = udp(&server.addresses()[1]);
        for _ in 0..2 {
            record.send(b"x").expect("sent");
            assert_eq!(datagram(&record), b"x", "{run}: who comes again is served again");
            std::thread::sleep(std::time::Duration::from_millis(400));
        }
        server.stop();
    }
}

#[test]
fn resets_harm_nobody_else() {
    for run in concurrent_runs() {
        let mut server = Server::start(run.line("echo", &["127.0.0.1:0", "-v"]));
        let mut steady = server.dial();
        for turn in 0..100 {
            let mut peer = server.dial();
            // Before anything, with bytes on their way in, and with an answer unread.
            if turn % 3 > 0 {
                peer.send(noise(10_000, turn));
            }
            if turn % 3 > 1 {
                peer.get(1);
            }
            peer.reset();
            assert_eq!(steady.echoed(HELLO), HELLO.as_bytes(), "{run}");
        }
        drop(steady);
        server.wait_until("all are closed", |server| {
            server.count(&["DEBUG closed"]) == server.count(&["DEBUG opened"]) && server.count(&["DEBUG closed"]) > 1
        });
        assert_eq!(server.count(&["panicked"]), 0, "{run}");
        check_serves(&run, &server);
        server.stop();
    }
}

#[test]
fn who_never_reads_is_read_no_more_and_harms_nobody_else() {
    for run in concurrent_runs() {
        let server = Server::start(run.line("echo", &["127.0.0.1:0"]));
        let mut greedy = server.dial();
        let Conn::Tcp(stream) = &greedy else { panic!("TCP") };
        stream.set_nonblocking(true).expect("an option");
        let piece = noise(64 << 10, 9);
        let (mut sent, mut refusals) = (0, 0);
        // What it is not read for any more stays with it: the kernels' buffers end somewhere.
        while refusals < 20 && sent < 1 << 30 {
            match greedy.write(&piece[sent % piece.len()..]) {
                Ok(count) => (sent, refusals) = (sent + count, 0),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    refusals += 1;
                    check_serves(&run, &server);
                }
                Err(error) => panic!("{run}: {error}"),
            }
        }
        assert!(sent < 1 << 30, "{run}: the server took a gibibyte and could say none of it");
        // It was only held back: when it reads, it gets everything.
        let Conn::Tcp(stream) = &greedy else { panic!("TCP") };
        stream.set_nonblocking(false).expect("an option");
        greedy.end();
        let mut back = Vec::with_capacity(sent);
        greedy.read_to_end(&mut back).expect("an end in order");
        assert_eq!(back.len(), sent, "{run}");
        assert!(back.chunks(piece.len()).all(|chunk| piece.starts_with(chunk)), "{run}: the bytes differ");
        server.stop();
    }
}
