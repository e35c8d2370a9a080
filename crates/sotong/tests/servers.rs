//! The server commands on real sockets: what they say, what they log, and how they end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sotong::net::signals::SAME_SIGNAL_TIME_MAX;

/// Far longer than anything here takes: a hang fails, a slow machine does not.
const HANG: Duration = Duration::from_secs(30);

/// A server that runs, and the lines it writes to standard error.
struct Server {
    child: Child,
    lines: Receiver<String>,
}

impl Server {
    fn start(line: &[&str]) -> Self {
        let mut child = command(line).spawn().expect("sotong runs");
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let (sender, lines) = mpsc::sync_channel(10_000);
        thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(HANG).expect("a line in time")
    }

    /// The next line that holds all of `parts`.
    #[track_caller]
    fn line_with(&self, parts: &[&str]) -> String {
        let mut seen = Vec::new();
        loop {
            let Ok(line) = self.lines.recv_timeout(HANG) else { panic!("no line with {parts:?} among {seen:#?}") };
            if parts.iter().all(|part| line.contains(part)) {
                return line;
            }
            seen.push(line);
        }
    }

    /// The next address it tells, as a script finds it.
    fn address(&self) -> String {
        loop {
            let line = self.line();
            let mut words = line.split(' ');
            if let Some(address) =
                words.find(|word| ["tcp://", "udp://", "unix:"].iter().any(|scheme| word.starts_with(scheme)))
            {
                return address.to_owned();
            }
        }
    }

    fn connect(&self) -> TcpStream {
        connect(&self.address())
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("it runs");
    }

    fn end(&mut self) -> ExitStatus {
        let until = Instant::now() + HANG;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("it does not end");
    }

    /// Ends it by a signal: its exit code.
    fn stop(&mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.end().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(line: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sotong"));
    for name in ["LC_ALL", "LC_MESSAGES", "LANG", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
        command.env_remove(name);
    }
    command.args(line).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn connect(address: &str) -> TcpStream {
    let peer = TcpStream::connect(address.strip_prefix("tcp://").expect("TCP")).expect("somebody listens");
    peer.set_read_timeout(Some(HANG)).expect("a timeout");
    peer
}

/// As many bytes as `text` has, sent and read back.
fn echoed(mut peer: impl Read + Write, text: &str) -> String {
    peer.write_all(text.as_bytes()).expect("sent");
    let mut answer = vec![0; text.len()];
    peer.read_exact(&mut answer).expect("answered");
    String::from_utf8(answer).expect("UTF-8")
}

/// A path for a socket that no other test has.
fn socket_path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("sotong-{name}-{}.sock", std::process::id()))
}

const HELLO: &str = "안녕하세요, 서버!";

#[test]
fn each_wire_is_heard_under_each_model() {
    for model in ["threads", "epoll"] {
        let path = socket_path(model);
        let unix = format!("unix:{}", path.display());
        let mut server = Server::start(&["echo", "127.0.0.1:0", "udp://127.0.0.1:0", &unix, "--model", model]);
        assert_eq!(echoed(server.connect(), HELLO), HELLO);

        let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
        udp.set_read_timeout(Some(HANG)).expect("a timeout");
        udp.connect(server.address().strip_prefix("udp://").expect("UDP")).expect("an address");
        udp.send(HELLO.as_bytes()).expect("sent");
        let mut answer = [0; 100];
        let count = udp.recv(&mut answer).expect("answered");
        assert_eq!(&answer[..count], HELLO.as_bytes());

        assert_eq!(server.address(), unix);
        assert_eq!(echoed(UnixStream::connect(&path).expect("somebody listens"), HELLO), HELLO);
        assert_eq!(server.stop(), Some(0), "{model}");
        assert!(!path.exists(), "its socket file goes with it");
    }
}

#[test]
fn start_up_says_where_and_how_in_both_languages() {
    let mut server = Server::start(&["echo", "127.0.0.1:0", "--model", "epoll", "--workers", "2"]);
    let line = server.line();
    assert!(line.starts_with("sotong echo: listening on tcp://127.0.0.1:"), "{line}");
    assert!(line.ends_with(" (epoll, 2 workers)"), "{line}");
    let line = server.line();
    assert!(line.starts_with("try: sotong connect 127.0.0.1:"), "{line}");
    assert_eq!(server.stop(), Some(0));

    let mut server = Server::start(&["room", "127.0.0.1:0", "--model", "threads", "--lang", "ko"]);
    let line = server.line();
    assert!(line.starts_with("sotong room: 수신 대기 중 tcp://127.0.0.1:"), "{line}");
    assert!(line.ends_with(" (threads)"), "{line}");
    let line = server.line();
    assert!(line.starts_with("접속해 보기: nc 127.0.0.1 "), "{line}");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_program_reads_the_address_from_an_event() {
    let mut server =
        Server::start(&["echo", "127.0.0.1:0", "--model", "epoll", "-v", "--log-format", "json", "--lang", "ko"]);
    let event = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("every line is JSON");
    let listening = event(&server.line());
    assert_eq!((&listening["event"], &listening["service"]), (&"listening".into(), &"echo".into()));
    assert_eq!((&listening["model"], &listening["workers"]), (&"epoll".into(), &1.into()));
    let address = listening["address"].as_str().expect("an address").to_owned();
    assert_eq!(echoed(connect(&address), HELLO), HELLO);
    let opened = event(&server.line_with(&["\"opened\""]));
    let closed = event(&server.line_with(&["\"closed\""]));
    assert_eq!(opened["peer"], closed["peer"]);
    assert_eq!((&closed["bytes_in"], &closed["bytes_out"]), (&HELLO.len().into(), &HELLO.len().into()));
    assert!(closed["seconds"].is_f64() && closed["reason"].is_string());
    assert_eq!(server.stop(), Some(0));
    let stopped = event(&server.line_with(&["\"stopped\""]));
    assert_eq!(stopped["opened"], 1);
}

#[test]
fn payloads_are_text_or_hex_and_never_raw() {
    let mut server = Server::start(&["discard", "127.0.0.1:0", "-vv"]);
    let mut peer = server.connect();
    peer.write_all("안녕 \u{1b}[31mred\u{1b}[0m, and a line\r\n".as_bytes()).expect("sent");
    let line = server.line_with(&["received", "text="]);
    assert!(line.contains(r#"text="안녕 \u{1b}[31mred\u{1b}[0m, and a line\r\n""#), "{line}");
    peer.write_all(&[0xff, 0x00, 0x16]).expect("sent");
    let line = server.line_with(&["received", "hex="]);
    assert!(line.contains(r#"bytes=3 hex="ff 00 16""#), "{line}");
    drop(peer);
    server.line_with(&["closed", "reason=", "bytes_out=0"]);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn without_v_connections_make_no_lines() {
    let mut server = Server::start(&["echo", "127.0.0.1:0", "--model", "epoll"]);
    assert_eq!(echoed(server.connect(), HELLO), HELLO);
    assert_eq!(server.stop(), Some(0));
    let rest: Vec<_> = server.lines.iter().collect();
    assert!(rest.iter().all(|line| line.starts_with("try: ") || line.contains("stopping")), "{rest:?}");
}

#[test]
fn a_log_without_a_reader_costs_no_connection() {
    let mut server = Server::start(&["echo", "127.0.0.1:0", "-vv"]);
    let address = server.address();
    let (unread, lines) = mpsc::sync_channel(1);
    drop(std::mem::replace(&mut server.lines, lines));
    drop(unread);
    // The reading thread leaves, and closes the pipe, with the first line that nobody takes.
    for _ in 0..10 {
        assert_eq!(echoed(connect(&address), HELLO), HELLO);
    }
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn quiet_says_nothing_at_all() {
    let path = socket_path("quiet");
    let mut server = Server::start(&["echo", &format!("unix:{}", path.display()), "-q"]);
    let until = Instant::now() + HANG;
    while !path.exists() && Instant::now() < until {
        thread::sleep(Duration::from_millis(5));
    }
    // The file is there before the signals are caught; an answer comes after.
    assert_eq!(echoed(UnixStream::connect(&path).expect("somebody listens"), HELLO), HELLO);
    assert_eq!(server.stop(), Some(0));
    assert_eq!(server.lines.iter().count(), 0);
}

#[test]
fn people_in_a_room_hear_each_other() {
    for model in ["threads", "epoll"] {
        let mut server = Server::start(&["room", "127.0.0.1:0", "--model", model, "--workers", "2"]);
        let address = server.address();
        let enter = |name: &str| {
            let mut peer = connect(&address);
            writeln!(peer, "{name}").expect("sent");
            let mut lines =
                BufReader::new(peer.try_clone().expect("a handle")).lines().map(|line| line.expect("a line"));
            assert!(lines.any(|line| line.starts_with("* Welcome")), "{name} is welcomed");
            (peer, lines)
        };
        let (mut minsu, _) = enter("민수");
        let (_younghee, mut heard) = enter("영희");
        writeln!(minsu, "안녕하세요!").expect("sent");
        assert!(heard.any(|line| line == "민수: 안녕하세요!"), "{model}");
        assert_eq!(server.stop(), Some(0), "{model}");
    }
}

#[test]
fn a_silent_peer_is_let_go_when_that_is_asked_for() {
    let mut server = Server::start(&["echo", "127.0.0.1:0", "--idle", "50ms", "-v"]);
    let mut peer = server.connect();
    assert_eq!(peer.read(&mut [0]).expect("an end"), 0);
    server.line_with(&["closed", "reason=idle"]);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_second_signal_does_not_wait() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let mut server = Server::start(&["chargen", "127.0.0.1:0", "--drain", "10m", "--stall", "10m"]);
        // A peer that never reads: its output stays queued, so the drain cannot end.
        let mut peer = server.connect();
        peer.read_exact(&mut [0; 1]).expect("a first character");
        thread::sleep(Duration::from_millis(200));
        server.signal(signal);
        server.line_with(&["stopping"]);
        assert!(server.child.try_wait().expect("a child").is_none(), "it drains");
        thread::sleep(SAME_SIGNAL_TIME_MAX * 2);
        server.signal(signal);
        assert_eq!(server.end().code(), Some(code));
    }
}

/// What a server that cannot start says, and its exit code.
#[track_caller]
fn check_refusal(line: &[&str], code: i32, expect: &str) {
    let output = command(line).output().expect("sotong runs");
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!((stderr.lines().next(), output.status.code()), (Some(expect), Some(code)), "{line:?}");
}

#[test]
fn an_address_in_use_is_named_and_nothing_is_left_half_started() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let path = socket_path("half");
    let unix = format!("unix:{}", path.display());
    check_refusal(
        &["echo", &unix, &address],
        1,
        &format!(
            "error: cannot listen on tcp://{address}: somebody listens there already; stop it, or choose another port \
             (port 0 picks a free one)."
        ),
    );
    assert!(!path.exists(), "what was bound before is let go");
    check_refusal(
        &["echo", &address, "--lang", "ko"],
        1,
        &format!(
            "오류: tcp://{address}에서 수신 대기할 수 없습니다: 이미 사용 중인 주소입니다. 사용 중인 프로그램을 종료하거나 \
             다른 포트를 고르십시오 (포트 0은 빈 포트를 고릅니다)."
        ),
    );
}

#[test]
fn a_bad_address_is_a_mistake_of_the_command_line() {
    check_refusal(
        &["echo", "127.0.0.1:99999"],
        2,
        "error: '127.0.0.1:99999' is no address: '99999' is no port; a port is a number from 1 to 65535, or 0 to listen \
         on a free one.",
    );
    check_refusal(
        &["echo", "gopher://a:1", "--lang", "ko"],
        2,
        "오류: 'gopher://a:1'은 주소가 아닙니다: gopher:// 스킴은 없습니다. tcp://, udp://, unix:, tls://, tls+unix:, ws://, wss://를 쓸 수 있습니다.",
    );
    check_refusal(
        &["echo", "unix:/no/such/folder/socket"],
        1,
        "error: cannot listen on unix:/no/such/folder/socket: there is no folder /no/such/folder; make it, or \
         choose another path.",
    );
    check_refusal(
        &["echo", "192.0.2.1:0"],
        1,
        "error: cannot listen on tcp://192.0.2.1:0: 192.0.2.1 is no address of this machine; choose one of its own, \
         or * for all of them.",
    );
}

#[test]
fn limits_that_cannot_work_together_are_refused_before_anything_listens() {
    check_refusal(
        &["echo", "127.0.0.1:0", "--output-high", "1KiB"],
        2,
        "error: the output limits must rise: --output-low 16384 < --output-high 1024 < --output-hard 1048576.",
    );
}

#[test]
fn a_half_told_listen_fds_is_a_matter_of_configuration() {
    // A shell that becomes the command keeps its process id, which the protocol asks for.
    let line = format!("LISTEN_PID=$$ LISTEN_FDS=1 exec '{}' echo --lang en 3</dev/null", env!("CARGO_BIN_EXE_sotong"));
    let output = Command::new("sh").args(["-c", &line]).output().expect("sh runs");
    assert_eq!(output.status.code(), Some(78));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr).lines().next(),
        Some(
            "error: the listeners passed by LISTEN_FDS cannot be used: descriptor 3 is no listening TCP or Unix socket \
             and no UDP socket."
        )
    );
}
