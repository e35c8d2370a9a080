//! `sotong web` on real sockets: what there is comes whole under every model, and nothing of what lies beside it ever does.
use rustix::process::{Signal, kill_process};
use std::{
    fs,
    io::Read,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::{Duration, SystemTime},
};
use tests::{
    conn::{Conn, Folder},
    http::{ask, read},
    process::{self, noise},
    runs::{Run, runs},
    server::Server,
    tls::{CERT, wrap},
};

const SECRET: &str = "nobody shall read this";

/// A folder to be served, and beside it what must not be.
struct Site {
    folder: Folder,
    large: Vec<u8>,
}

impl Site {
    fn new() -> Self {
        let site = Self { folder: Folder::new(), large: noise(3 * 1024 * 1024 + 7, 5) };
        let root = site.root();
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::create_dir_all(root.join("목록")).unwrap();
        fs::create_dir_all(site.folder.path().join("beside")).unwrap();
        fs::write(site.folder.path().join("beside/secret.txt"), SECRET).unwrap();
        for (name, content) in [
            ("a.txt", &b"0123456789"[..]),
            ("empty", b""),
            ("large.bin", &site.large),
            ("sub/index.html", b"<p>sub"),
            (".hidden", SECRET.as_bytes()),
            ("목록/한글 <파일>.txt", "안녕".as_bytes()),
        ] {
            fs::write(root.join(name), content).unwrap();
        }
        site
    }
    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }
    fn serve(&self, run: &Run, more: &[&str]) -> Server {
        let root = self.root();
        let mut words = vec![root.to_str().unwrap(), "127.0.0.1:0"];
        words.extend(more);
        Server::start(run.line("web", &words))
    }
    fn serve_plainly(&self, more: &[&str]) -> Server {
        let root = self.root();
        let mut words = vec!["web", root.to_str().unwrap(), "127.0.0.1:0"];
        words.extend(more);
        Server::start(words)
    }
}

#[test]
fn what_there_is_comes_whole_under_every_model() {
    let site = Site::new();
    for (number, run) in runs().iter().enumerate() {
        let unix = site.folder.unix(&number.to_string());
        let tls = ["tls://127.0.0.1:0", &unix, "--cert", CERT];
        let server = site.serve(run, &tls);
        for address in server.addresses() {
            check_site(&mut Conn::dial(address), &site, &format!("{run}, {address}"));
        }
        // The plain port takes both.
        let mut secret = Conn::Unix(wrap(server.dial()).unwrap());
        check_site(&mut secret, &site, &format!("{run}, TLS at the plain port"));
        server.stop();
    }
}

fn check_site(conn: &mut Conn, site: &Site, how: &str) {
    for _ in 0..3 {
        assert_eq!(ask(conn, "GET /a.txt", "").body, b"0123456789", "{how}");
        assert!(ask(conn, "GET /large.bin", "").body == site.large, "{how}: a large file");
    }
    assert_eq!(ask(conn, "GET /empty", "").body, b"", "{how}");
    let part = ask(conn, "GET /large.bin", "Range: bytes=1000000-2999999\r\n");
    assert!(part.status == 206 && part.body == site.large[1_000_000..3_000_000], "{how}: a part");
    let parts = ask(conn, "GET /large.bin", "Range: bytes=0-99999,-100000\r\n");
    let has = |bytes: &[u8]| parts.body.windows(bytes.len()).any(|window| window == bytes);
    assert!(has(&site.large[..100_000]) && has(&site.large[site.large.len() - 100_000..]), "{how}: two parts");
    let head = ask(conn, "HEAD /large.bin", "");
    assert_eq!(head.field("content-length"), Some(&*site.large.len().to_string()), "{how}");
    let etag = head.field("etag").unwrap().to_owned();
    assert_eq!(ask(conn, "GET /large.bin", &format!("If-None-Match: {etag}\r\n")).status, 304, "{how}");
    assert_eq!(ask(conn, "GET /sub", "").field("location"), Some("/sub/"), "{how}");
    let page = ask(conn, "GET /%EB%AA%A9%EB%A1%9D/", "Accept-Language: ko\r\n");
    let page = String::from_utf8(page.body).unwrap();
    assert!(page.contains("<html lang=\"ko\">") && page.contains(">한글 &lt;파일&gt;.txt</a>"), "{how}: {page}");
    assert_eq!(ask(conn, "GET /nothing", "").status, 404, "{how}");
    conn.end();
    assert_eq!(conn.rest(), b"", "{how}");
}

#[test]
fn requests_sent_ahead_are_answered_in_order() {
    let site = Site::new();
    for run in runs() {
        let server = site.serve(&run, &[]);
        let mut conn = server.dial();
        let mut ahead = String::new();
        for number in 0..40 {
            let path = ["/a.txt", "/large.bin", "/nothing", "/"][number % 4];
            ahead.push_str(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        }
        conn.send(&ahead);
        conn.end();
        for number in 0..40 {
            let answer = read(&mut conn, true);
            match number % 4 {
                0 => assert_eq!(answer.body, b"0123456789", "{run}: {number}"),
                1 => assert!(answer.body == site.large, "{run}: {number}"),
                2 => assert_eq!(answer.status, 404, "{run}: {number}"),
                _ => assert_eq!(answer.field("content-type"), Some("text/html; charset=utf-8"), "{run}: {number}"),
            }
        }
        assert_eq!(conn.rest(), b"", "{run}");
        server.stop();
    }
}

#[test]
fn nothing_beside_the_folder_is_served() {
    let site = Site::new();
    let (root, beside) = (site.root(), site.folder.path().join("beside"));
    symlink(beside.join("secret.txt"), root.join("absolute")).unwrap();
    symlink("../beside/secret.txt", root.join("relative")).unwrap();
    symlink(&beside, root.join("folder")).unwrap();
    symlink("a.txt", root.join("within")).unwrap();
    symlink("/proc/self", root.join("magic")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, root.join("pipe"), rustix::fs::Mode::from_raw_mode(0o644)).unwrap();
    std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    let server = site.serve_plainly(&[]);
    for (path, status) in [
        ("/absolute", 404),
        ("/relative", 404),
        ("/folder", 404),
        ("/folder/", 404),
        ("/folder/secret.txt", 404),
        ("/within", 404),
        ("/magic/environ", 404),
        ("/pipe", 404),
        ("/socket", 404),
        ("/.hidden", 404),
        ("/%2ehidden", 404),
        ("/sub/../.hidden", 400),
        ("/../beside/secret.txt", 400),
        ("/sub/../../beside/secret.txt", 400),
        ("/%2e%2e/beside/secret.txt", 400),
        ("/.%2e/beside/secret.txt", 400),
        ("/%2E%2E%2Fbeside%2Fsecret.txt", 400),
        ("/..%2fbeside/secret.txt", 400),
        ("/%252e%252e%252fbeside/secret.txt", 404),
        ("/..%c0%afbeside/secret.txt", 404),
        ("/..\\beside\\secret.txt", 404),
        ("/..%5cbeside%5csecret.txt", 404),
        ("/a.txt%00", 400),
        ("/a.txt%0a", 400),
        ("/a.txt/../a.txt", 400),
        ("//../beside/secret.txt", 400),
        ("/a.txt/x", 404),
        ("/a.txt/", 404),
        ("/proc/self/environ", 404),
        ("file:///etc/passwd", 400),
        ("http://x/../beside/secret.txt", 400),
        ("beside/secret.txt", 400),
        ("*", 400),
    ] {
        let mut conn = server.dial();
        let answer = ask(&mut conn, &format!("GET {path}"), "");
        assert_eq!(answer.status, status, "{path}");
        assert!(!String::from_utf8_lossy(&answer.body).contains(SECRET), "{path}");
        assert_eq!(ask(&mut conn, "GET /a.txt", "").status, 200, "nothing else is harmed by {path}");
    }
    let mut conn = server.dial();
    let page = String::from_utf8(ask(&mut conn, "GET /", "").body).unwrap();
    for name in ["absolute", "relative", "folder", "within", "magic", "pipe", "socket", "hidden"] {
        assert!(!page.contains(name), "{name} cannot be opened, so it is not shown: {page}");
    }
    server.stop();
}

#[test]
fn a_folder_that_becomes_a_link_while_it_is_asked_for_leads_nowhere() {
    let site = Site::new();
    let root = site.root();
    let server = site.serve_plainly(&[]);
    let mut conn = server.dial();
    let swapping = root;
    let swapper = thread::spawn(move || {
        for _ in 0..300 {
            fs::rename(swapping.join("sub"), swapping.join("sub2")).unwrap();
            symlink("../beside", swapping.join("sub")).unwrap();
            fs::remove_file(swapping.join("sub")).unwrap();
            fs::rename(swapping.join("sub2"), swapping.join("sub")).unwrap();
        }
    });
    for number in 0.. {
        let answer = ask(&mut conn, &format!("GET /sub/secret.txt?{number}"), "");
        assert_eq!(answer.status, 404);
        if swapper.is_finished() {
            break;
        }
    }
    swapper.join().unwrap();
    server.stop();
}

#[test]
fn bad_requests_cost_one_connection() {
    let site = Site::new();
    let server = site.serve_plainly(&[]);
    for (input, status) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], 400),
        (b"GET / HTTP/1.1\nHost: x\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400),
        (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", 505),
        (b"\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\x03\x03", 400),
        (b"\x00\x01\x02\x03", 400),
    ] {
        let mut conn = server.dial();
        conn.send([input, b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n"].concat());
        let answer = read(&mut conn, true);
        assert_eq!((answer.status, answer.field("connection")), (status, Some("close")), "{input:?}");
        assert_eq!(conn.rest(), b"", "{input:?}: what follows is no request");
    }
    let mut tls = server.dial();
    tls.send(b"\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\x03\x03");
    let told = String::from_utf8(read(&mut tls, true).body).unwrap();
    assert!(told.contains("use http:// instead of https://"), "{told}");
    let mut conn = server.dial();
    conn.send(format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(20_000)));
    assert_eq!(read(&mut conn, true).status, 431);
    assert_eq!(ask(&mut server.dial(), "GET /a.txt", "").status, 200);
    server.stop();
}

#[test]
fn who_drips_a_head_is_cut_off_while_others_are_served() {
    let site = Site::new();
    let server = site.serve_plainly(&["--model", "epoll"]);
    let mut slow: Vec<_> = (0..50).map(|_| server.dial()).collect();
    let mut dripping = slow.iter().map(Conn::twin).collect::<Vec<_>>();
    let dripper = thread::spawn(move || {
        // More than 10 seconds of bytes: who is cut off hears no more of them.
        for byte in b"GET /a.txt HTTP/1.1\r\nHost: x\r\nX: aaaaaaaaaaaa".iter().cycle().take(60) {
            for conn in &mut dripping {
                let _ = std::io::Write::write_all(conn, &[*byte]);
            }
            thread::sleep(Duration::from_millis(250));
        }
    });
    let mut others = 0;
    while !dripper.is_finished() {
        assert_eq!(ask(&mut server.dial(), "GET /a.txt", "").status, 200);
        others += 1;
        thread::sleep(Duration::from_millis(100));
    }
    dripper.join().unwrap();
    assert!(others > 10);
    for conn in &mut slow {
        let mut told = Vec::new();
        // A byte that came behind the end may have made it a reset, behind what was told.
        let _ = conn.read_to_end(&mut told);
        assert!(told.starts_with(b"HTTP/1.1 408 "), "{:?}", String::from_utf8_lossy(&told));
    }
    server.stop();
}

#[test]
fn a_changed_file_is_seen_and_a_cut_one_is_no_whole_answer() {
    let site = Site::new();
    let server = site.serve_plainly(&[]);
    let mut conn = server.dial();
    assert_eq!(ask(&mut conn, "GET /a.txt", "").body, b"0123456789");
    fs::write(site.root().join("a.txt"), "changed").unwrap();
    let until = std::time::Instant::now() + process::HANG;
    while ask(&mut conn, "GET /a.txt", "").body != b"changed" {
        assert!(std::time::Instant::now() < until, "the change is never seen");
        thread::sleep(Duration::from_millis(50));
    }
    // More than all buffers on the way hold.
    let path = site.root().join("cut.bin");
    fs::write(&path, noise(64 << 20, 3)).unwrap();
    conn.send("GET /cut.bin HTTP/1.1\r\nHost: x\r\n\r\n");
    conn.get(100_000);
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(100_000).unwrap();
    let mut rest = Vec::new();
    let _ = conn.read_to_end(&mut rest);
    assert!(rest.len() < 60 << 20, "the length that was promised is not made up");
    // Who asks within the second gets what was promised before it; then it is what it is.
    thread::sleep(Duration::from_secs(1));
    assert_eq!(ask(&mut server.dial(), "GET /cut.bin", "").body.len(), 100_000);
    server.stop();
}

#[test]
fn what_was_compressed_beforehand_is_sent_unless_it_is_older() {
    let site = Site::new();
    let root = site.root();
    fs::write(root.join("app.js"), "plain").unwrap();
    fs::write(root.join("app.js.gz"), "zipped").unwrap();
    let server = site.serve_plainly(&[]);
    let mut conn = server.dial();
    let answer = ask(&mut conn, "GET /app.js", "Accept-Encoding: gzip\r\n");
    assert_eq!((answer.field("content-encoding"), &answer.body[..]), (Some("gzip"), &b"zipped"[..]));
    assert_eq!(ask(&mut conn, "GET /app.js", "").body, b"plain");
    fs::write(root.join("old.js"), "new").unwrap();
    fs::write(root.join("old.js.gz"), "old").unwrap();
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    fs::File::options().write(true).open(root.join("old.js.gz")).unwrap().set_modified(hour_ago).unwrap();
    assert_eq!(ask(&mut conn, "GET /old.js", "Accept-Encoding: gzip\r\n").body, b"new");
    server.stop();
}

/// The lines that `sotong web --hash-password` makes a password file of.
fn people(site: &Site) -> PathBuf {
    let done = process::run(["web", "--hash-password"], "비:밀\n".as_bytes());
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    let path = site.folder.path().join("people");
    fs::write(&path, format!("# who may\nmina:{}", String::from_utf8(done.stdout).unwrap())).unwrap();
    path
}

#[test]
fn names_and_passwords_are_asked_for() {
    let site = Site::new();
    let people = people(&site);
    let right = "Authorization: Basic bWluYTrruYQ667CA\r\n";
    for run in runs() {
        let server = site.serve(&run, &["--passwords", people.to_str().unwrap()]);
        let mut conn = server.dial();
        assert_eq!(ask(&mut conn, "GET /a.txt", "").status, 401, "{run}");
        assert_eq!(ask(&mut conn, "GET /a.txt", "Authorization: Basic bWluYTp4\r\n").status, 401, "{run}");
        assert_eq!(ask(&mut conn, "GET /a.txt", right).body, b"0123456789", "{run}");
        assert_eq!(ask(&mut conn, "GET /a.txt", right).body, b"0123456789", "{run}");
        drop(conn);
        server.stop();
    }
    fs::write(&people, "mina:secret\n").unwrap();
    let root = site.root();
    let done = process::run(["web", root.to_str().unwrap(), ":0", "--passwords", people.to_str().unwrap()], b"");
    assert_eq!(done.code(), Some(78));
    assert!(done.stderr.contains("line 1"), "{}", done.stderr);
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn files_are_taken_whole_or_not_at_all() {
    let site = Site::new();
    let inbox = site.root().join("inbox");
    for run in runs() {
        let _ = fs::remove_dir_all(&inbox);
        fs::create_dir(&inbox).unwrap();
        let server = site.serve(&run, &["--upload", "--upload-max", "4MiB"]);
        let mut conn = server.dial();
        let put = |path: &str, length: usize| {
            format!("PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n")
        };
        conn.send([put("/inbox/new.bin", site.large.len()).as_bytes(), &site.large].concat());
        assert_eq!(read(&mut conn, true).status, 201, "{run}");
        assert!(fs::read(inbox.join("new.bin")).unwrap() == site.large, "{run}");
        let page = ask(&mut conn, "GET /inbox/", "");
        assert!(String::from_utf8_lossy(&page.body).contains("new.bin"), "{run}: it is there as soon as it is said");
        conn.send([put("/inbox/new.bin", 3).as_bytes(), b"abc"].concat());
        assert_eq!(read(&mut conn, true).status, 409, "{run}");
        let form =
            "--X\r\nContent-Disposition: form-data; name=\"file\"; filename=\"../한글.txt\"\r\n\r\n안녕\r\n--X--\r\n";
        conn.send(format!(
            "POST /inbox/ HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n\
             Content-Type: multipart/form-data; boundary=X\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        ));
        assert_eq!(read(&mut conn, true).field("location"), Some("/inbox/"), "{run}");
        assert_eq!(fs::read_to_string(inbox.join("한글.txt")).unwrap(), "안녕", "{run}");
        conn.send(put("/inbox/long.bin", (4 << 20) + 1));
        assert_eq!(read(&mut conn, true).status, 413, "{run}");
        drop(conn);
        let mut breaks = server.dial();
        breaks.send([put("/inbox/half.bin", 1_000_000).as_bytes(), &site.large[..500_000]].concat());
        drop(breaks);
        let until = std::time::Instant::now() + process::HANG;
        while names(&inbox) != ["new.bin", "한글.txt"] {
            assert!(std::time::Instant::now() < until, "{run}: {:?}", names(&inbox));
            thread::sleep(Duration::from_millis(20));
        }
        server.stop();
    }
    let server = site.serve_plainly(&["--upload", "--overwrite"]);
    let mut conn = server.dial();
    conn.send("PUT /inbox/new.bin HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nnew");
    assert_eq!(read(&mut conn, true).status, 204);
    assert_eq!(ask(&mut conn, "GET /inbox/new.bin", "").body, b"new");
    fs::set_permissions(&inbox, fs::Permissions::from_mode(0o755)).unwrap();
    server.stop();
    let server = site.serve_plainly(&[]);
    let mut conn = server.dial();
    assert_eq!(ask(&mut conn, "PUT /inbox/x", "").status, 405, "off unless it is asked for");
    server.stop();
}

#[test]
fn requests_are_logged_to_a_file_and_a_log_that_nobody_reads_holds_up_nobody() {
    let site = Site::new();
    let log = site.folder.path().join("access.log");
    for run in runs() {
        let _ = fs::remove_file(&log);
        let server = site.serve(&run, &["--access-log", log.to_str().unwrap(), "--access-format", "json"]);
        let mut conn = server.dial();
        ask(&mut conn, "GET /a.txt", "User-Agent: \"x\\\r\n");
        ask(&mut conn, "GET /nothing?%0a", "");
        let until = std::time::Instant::now() + process::HANG;
        let lines = loop {
            let text = fs::read_to_string(&log).unwrap_or_default();
            if text.lines().count() == 2 {
                break text;
            }
            assert!(std::time::Instant::now() < until, "{run}: {text}");
            thread::sleep(Duration::from_millis(10));
        };
        let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((lines[0]["status"].as_u64(), lines[0]["bytes"].as_u64()), (Some(200), Some(10)), "{run}");
        assert_eq!(lines[0]["agent"], "\"x\\", "{run}");
        assert_eq!((lines[1]["target"].as_str(), lines[1]["status"].as_u64()), (Some("/nothing?%0a"), Some(404)));
        drop(conn);
        server.stop();
    }
    let root = site.root();
    let mut command = process::command(["web", root.to_str().unwrap(), "127.0.0.1:0", "--access-log", "-"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let mut told = String::new();
    while !told.contains("try: ") {
        let mut bytes = [0; 256];
        let count = stderr.read(&mut bytes).unwrap();
        assert!(count > 0, "it ended: {told}");
        told.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    let address = told.split_whitespace().find(|word| word.starts_with("tcp://")).unwrap().to_owned();
    let mut conn = Conn::dial(&address);
    let long = format!("GET /{}", "x".repeat(4000));
    // Far more than the pipe and what waits for it hold.
    for _ in 0..1000 {
        assert_eq!(ask(&mut conn, &long, "").status, 404);
    }
    drop(conn);
    kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(process::wait(&mut child).code(), Some(0));
}

#[test]
fn a_server_without_a_folder_sends_back() {
    for run in runs() {
        let server = Server::start(run.line("web", &["127.0.0.1:0"]));
        let mut conn = server.dial();
        let page = String::from_utf8(ask(&mut conn, "GET /", "").body).unwrap();
        assert!(page.contains("Sotong is running"), "{run}: {page}");
        conn.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nc\r\nHellO world1\r\n0\r\n\r\n");
        assert_eq!(read(&mut conn, true).body, b"HellO world1", "{run}");
        drop(conn);
        server.stop();
    }
}
