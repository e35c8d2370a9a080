//! `connect` and `listen` with the tools that people have: nc, ncat, socat, python3.
use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, Command, Stdio},
    thread,
};
use tests::process::{has, noise, run, start, wait};

/// A foreign process, killed when dropped.
struct Foreign(Child);

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a foreign server and reads its port behind `mark` in what it says to stderr.
fn serve(command: &mut Command, mark: &str) -> (Foreign, u16) {
    let mut child = Foreign(command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let mut said = BufReader::new(child.0.stderr.take().unwrap());
    let mut line = String::new();
    loop {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "it says where it listens");
        if let Some((_, rest)) = line.split_once(mark) {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            // Whatever else it says must not fill the pipe.
            thread::spawn(move || said.read_to_end(&mut Vec::new()));
            return (child, digits.parse().unwrap());
        }
    }
}

/// What a foreign client gets back for `text`.
fn ask(command: &mut Command, text: &[u8]) -> Vec<u8> {
    let mut child = Foreign(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
    let (mut input, mut output) = (child.0.stdin.take().unwrap(), child.0.stdout.take().unwrap());
    let got = thread::scope(|scope| {
        scope.spawn(move || {
            let _ = input.write_all(text);
        });
        let mut got = Vec::new();
        output.read_to_end(&mut got).unwrap();
        got
    });
    wait(&mut child.0);
    got
}

#[test]
fn what_foreign_clients_send_through_a_program_comes_back() {
    let listening = start(["listen", "-k", "127.0.0.1:0", "--exec", "cat"]);
    let place = listening.place();
    let (host, port) = place.rsplit_once(':').unwrap();
    let text = noise(8 << 20, 41);
    let clients: [(&str, Vec<String>); 3] = [
        ("nc", vec!["-N".into(), host.into(), port.into()]),
        ("ncat", vec![host.into(), port.into()]),
        ("socat", vec!["-t30".into(), "-".into(), format!("TCP:{place}")]),
    ];
    for (tool, args) in clients {
        if has(tool) {
            assert!(ask(Command::new(tool).args(args), &text) == text, "{tool}");
        }
    }
}

#[test]
fn a_client_as_tutorials_write_it() {
    if !has("python3") {
        return;
    }
    let listening = start(["listen", "127.0.0.1:0", "--exec", "cat"]);
    let port = listening.place().rsplit_once(':').unwrap().1.to_owned();
    let script = format!(
        "import socket\n\
         s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)\n\
         s.connect(('127.0.0.1', {port}))\n\
         s.sendall('안녕하세요, 서버!'.encode())\n\
         print(s.recv(1024).decode())\n\
         s.close()\n"
    );
    let got = ask(Command::new("python3").env("PYTHONIOENCODING", "utf-8").args(["-c", &script]), b"");
    assert_eq!(String::from_utf8(got).unwrap(), "안녕하세요, 서버!\n");
    // Closed with nothing unread: no reset.
    assert_eq!(listening.wait().code(), Some(0));
}

/// The reply comes a second after the end of the input, which makes socat itself leave without it.
#[test]
fn a_late_reply_of_a_socat_server() {
    if !has("socat") {
        return;
    }
    let mut command = Command::new("socat");
    // After the input's end it waits for its program.
    command.args(["-d", "-d", "-t30", "TCP-LISTEN:0,bind=127.0.0.1", "SYSTEM:cat >/dev/null; sleep 1; echo late"]);
    let (_server, port) = serve(&mut command, "127.0.0.1:");
    let done = run(["connect", &format!("127.0.0.1:{port}")], b"question");
    assert_eq!((done.code(), done.stdout), (Some(0), b"late\n".to_vec()), "{}", done.stderr);
}

#[test]
fn a_web_server_is_asked_by_hand() {
    if !has("python3") {
        return;
    }
    let script = "import http.server, sys\n\
                  class H(http.server.BaseHTTPRequestHandler):\n\
                  \x20   def do_GET(self):\n\
                  \x20       self.send_response(200); self.end_headers(); self.wfile.write(b'found ' + self.path.encode())\n\
                  \x20   def log_message(self, *a): pass\n\
                  s = http.server.HTTPServer(('127.0.0.1', 0), H)\n\
                  print('port', s.server_port, file=sys.stderr, flush=True)\n\
                  s.serve_forever()\n";
    let (_server, port) = serve(Command::new("python3").args(["-c", script]), "port ");
    let done = run(["connect", "-C", &format!("localhost:{port}")], b"GET /here HTTP/1.0\n\n");
    let text = String::from_utf8_lossy(&done.stdout);
    assert!(text.starts_with("HTTP/1.0 200 OK\r\n") && text.ends_with("found /here"), "{text}");
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
}

#[test]
fn a_udp_client_of_nc() {
    if !has("nc") {
        return;
    }
    let listening = start(["listen", "-k", "udp://127.0.0.1:0", "--exec", "cat"]);
    let place = listening.place();
    let (host, port) = place.rsplit_once(':').unwrap();
    let got = ask(Command::new("nc").args(["-u", "-w", "1", host, port]), "한글\n".as_bytes());
    assert_eq!(String::from_utf8(got).unwrap(), "한글\n");
}
