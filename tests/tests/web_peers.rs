//! Clients of others talk to `sotong web`, as their users do; and what the kernel is asked to do for them.
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use tests::{
    conn::Folder,
    process::{self, noise},
    runs::runs,
    server::Server,
    tls::CERT,
    tool::{Tool, tool},
};

struct Site {
    folder: Folder,
    large: Vec<u8>,
}

impl Site {
    fn new() -> Self {
        let site = Self { folder: Folder::new(), large: noise(2 * 1024 * 1024 + 3, 9) };
        fs::create_dir(site.root()).unwrap();
        fs::write(site.root().join("large.bin"), &site.large).unwrap();
        fs::write(site.root().join("한글.txt"), "안녕하세요\n").unwrap();
        fs::write(site.root().join("page.html"), "<!DOCTYPE html><title>plain</title>").unwrap();
        site
    }
    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }
    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
    fn server(&self, line: &[String]) -> Server {
        Server::start(line)
    }
    fn words<'a>(root: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        [&[root, "127.0.0.1:0"], more].concat()
    }
}

#[track_caller]
fn output(tool: Tool, words: &[&str]) -> Vec<u8> {
    let done = tool.run(words, b"");
    assert_eq!(done.code(), Some(0), "{words:?}: {}", done.stderr);
    done.stdout
}

fn utf8(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

#[test]
fn curl_under_every_model() {
    let Some(curl) = tool("curl") else { return };
    let site = Site::new();
    let root = site.root();
    for run in runs() {
        let more = ["tls://127.0.0.1:0", "--cert", CERT];
        let server = site.server(&run.line("web", &Site::words(utf8(&root), &more)));
        let port = |at: usize| server.addresses()[at].rsplit_once(':').unwrap().1.to_owned();
        for base in [
            format!("http://127.0.0.1:{}", port(0)),
            format!("https://127.0.0.1:{}", port(0)),
            format!("https://127.0.0.1:{}", port(1)),
        ] {
            let large = format!("{base}/large.bin");
            let get = |words: &[&str]| output(curl, &[&["-sS", "-m", "60", "--cacert", CERT], words].concat());
            assert!(get(&[&large]) == site.large, "{run}: {base}");
            assert!(get(&["--tlsv1.2", "--tls-max", "1.2", &large]) == site.large, "{run}: {base} TLS 1.2");
            assert!(get(&["-r", "1000-1999999", &large]) == site.large[1000..2_000_000], "{run}: {base} -r");
            let text = format!("{base}/한글.txt");
            assert_eq!(get(&[&text]), "안녕하세요\n".as_bytes(), "{run}: {base} as it is typed");
            let head = String::from_utf8(get(&["-I", &large])).unwrap();
            assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("Content-Length: 2097155\r\n"), "{head}");
            let half = site.at("half.bin");
            fs::write(&half, &site.large[..1_000_000]).unwrap();
            get(&["-C", "-", "-o", utf8(&half), &large]);
            assert!(fs::read(&half).unwrap() == site.large, "{run}: {base} -C -");
            let code = get(&["-o", "/dev/null", "-w", "%{http_code}", "--path-as-is", &format!("{base}/../x")]);
            assert_eq!(code, b"400", "{run}");
        }
        let wrong = curl.run(["-sS", "-m", "60", &format!("http://127.0.0.1:{}/", port(1))], b"");
        assert!(String::from_utf8_lossy(&wrong.stdout).contains("https://"), "{run}: told to ask by HTTPS");
        server.stop();
    }
}

#[test]
fn curl_takes_what_was_compressed_and_sends_files() {
    let Some(curl) = tool("curl") else { return };
    let site = Site::new();
    let root = site.root();
    if let Some(gzip) = tool("gzip") {
        output(gzip, &["-k", utf8(&root.join("page.html"))]);
    }
    let words = Site::words(utf8(&root), &["--upload"]);
    let server = Server::start([&["web"], &words[..]].concat());
    let base = format!("http://127.0.0.1:{}", server.port());
    let get = |words: &[&str]| output(curl, &[&["-sS", "-m", "60"], words].concat());
    let page = get(&["--compressed", "-D", utf8(&site.at("head")), &format!("{base}/page.html")]);
    assert_eq!(page, b"<!DOCTYPE html><title>plain</title>");
    assert!(fs::read_to_string(site.at("head")).unwrap().contains("Content-Encoding: gzip\r\n"));
    let from = site.root().join("large.bin");
    get(&["-T", utf8(&from), &format!("{base}/put.bin")]);
    get(&["-F", &format!("file=@{};filename=form.bin", utf8(&from)), &format!("{base}/")]);
    for name in ["put.bin", "form.bin"] {
        assert!(fs::read(root.join(name)).unwrap() == site.large, "{name}");
    }
    server.stop();
}

const PYTHON: &str = r#"
import http.client, sys, urllib.parse

conn = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=60)
for _ in range(3):
    conn.request("GET", "/" + urllib.parse.quote("한글.txt"))
    answer = conn.getresponse()
    assert (answer.status, answer.read().decode()) == (200, "안녕하세요\n")
    conn.request("HEAD", "/large.bin")
    answer = conn.getresponse()
    assert int(answer.headers["content-length"]) == 2097155 and answer.read() == b""
    conn.request("GET", "/large.bin", headers={"Range": "bytes=-3"})
    answer = conn.getresponse()
    assert answer.status == 206 and len(answer.read()) == 3
    conn.request("GET", "/large.bin")
    answer = conn.getresponse()
    assert len(answer.read()) == 2097155
    etag = answer.headers["etag"]
    conn.request("GET", "/large.bin", headers={"If-None-Match": etag})
    answer = conn.getresponse()
    assert answer.status == 304 and answer.read() == b""
print("done")
"#;

#[test]
fn python_keeps_one_connection() {
    let Some(python) = tool("python3") else { return };
    let site = Site::new();
    let root = site.root();
    for run in runs() {
        let server = site.server(&run.line("web", &Site::words(utf8(&root), &[])));
        assert_eq!(output(python, &["-c", PYTHON, server.port()]), b"done\n", "{run}");
        server.stop();
    }
}

#[test]
fn nc_sends_requests_ahead() {
    let Some(nc) = tool("nc") else { return };
    let site = Site::new();
    let root = site.root();
    let server = Server::start([&["web"], &Site::words(utf8(&root), &[])[..]].concat());
    let one = "GET /page.html HTTP/1.1\r\nHost: x\r\n\r\n";
    let last = "GET /page.html HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let done = nc.run(["127.0.0.1", server.port()], format!("{}{last}", one.repeat(9)).as_bytes());
    let heard = String::from_utf8(done.stdout).unwrap();
    assert_eq!(heard.matches("HTTP/1.1 200 OK\r\n").count(), 10, "{heard}");
    assert_eq!(heard.matches("<title>plain</title>").count(), 10, "{heard}");
    server.stop();
}

#[test]
fn chromium_shows_pages_and_follows_links() {
    let Some(chromium) = tool("chromium") else { return };
    let site = Site::new();
    let root = site.root();
    fs::create_dir(root.join("사진")).unwrap();
    fs::write(root.join("사진/<하늘>.txt"), "파란 하늘").unwrap();
    let script = "<script>(async () => {\
        const told = [];\
        for (const path of ['/', '/%EC%82%AC%EC%A7%84/', '/large.bin']) {\
            const answer = await fetch(path);\
            told.push(answer.status, (await answer.arrayBuffer()).byteLength > 0);\
        }\
        const page = new DOMParser().parseFromString(await (await fetch('/%EC%82%AC%EC%A7%84/')).text(), 'text/html');\
        const link = [...page.querySelectorAll('td a')].at(-1);\
        const file = await fetch(new URL(link.getAttribute('href'), location.origin + '/%EC%82%AC%EC%A7%84/'));\
        document.body.textContent = 'told ' + told + ' ' + link.textContent + ' ' + await file.text();\
    })()</script>";
    fs::write(root.join("ask.html"), format!("<!DOCTYPE html><html><body>{script}</body></html>")).unwrap();
    // Browsers take no Ed25519; the certificate that is made is ECDSA.
    let more = ["tls://127.0.0.1:0", "--https"];
    let mut command = process::command([&["web"], &Site::words(utf8(&root), &more)[..]].concat());
    command.env("XDG_DATA_HOME", site.at("data"));
    let server = Server::start_by(command);
    let port = |at: usize| server.addresses()[at].rsplit_once(':').unwrap().1.to_owned();
    for url in [
        format!("http://127.0.0.1:{}/ask.html", port(0)),
        format!("https://127.0.0.1:{}/ask.html", port(0)),
        format!("https://127.0.0.1:{}/ask.html", port(1)),
    ] {
        let folder = format!("--user-data-dir={}", utf8(&site.at("browser")));
        let page = output(
            chromium,
            &[
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--ignore-certificate-errors",
                "--timeout=30000",
                "--virtual-time-budget=20000",
                &folder,
                "--dump-dom",
                &url,
            ],
        );
        let page = String::from_utf8(page).unwrap();
        assert!(page.contains("told 200,true,200,true,200,true &lt;하늘&gt;.txt 파란 하늘"), "{url}: {page}");
    }
    server.stop();
}

/// What of the kernel's calls a server makes while `ask` runs.
fn calls(server: &Server, strace: Tool, to: &Path, ask: impl FnOnce()) -> Option<String> {
    let mut tracer: Command =
        strace.command(["-f", "-q", "-e", "trace=sendfile,pread64,read,sendto,sendmsg", "-o", utf8(to)]);
    let mut tracer = tracer.args(["-p", &server.pid().to_string()]).spawn().expect("it starts");
    let until = std::time::Instant::now() + process::HANG;
    let is_traced = || {
        fs::read_to_string(format!("/proc/{}/status", server.pid())).is_ok_and(|text| !text.contains("TracerPid:\t0"))
    };
    while !is_traced() {
        if tracer.try_wait().expect("it can be waited for").is_some() {
            eprintln!("strace may not look at other processes here: what needs it is left out");
            return None;
        }
        assert!(std::time::Instant::now() < until, "strace does nothing");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    ask();
    rustix::process::kill_process(rustix::process::Pid::from_child(&tracer), rustix::process::Signal::INT).unwrap();
    process::wait(&mut tracer);
    Some(fs::read_to_string(to).unwrap())
}

#[test]
fn files_leave_by_the_kernel_where_nothing_is_between() {
    let (Some(strace), Some(curl)) = (tool("strace"), tool("curl")) else { return };
    let site = Site::new();
    let root = site.root();
    let more = ["tls://127.0.0.1:0", "--cert", CERT, "--model", "epoll"];
    let server = Server::start([&["web"], &Site::words(utf8(&root), &more)[..]].concat());
    let port = |at: usize| server.addresses()[at].rsplit_once(':').unwrap().1.to_owned();
    let ask = |base: &str| assert!(output(curl, &["-sS", "--cacert", CERT, base]) == site.large);
    let plain = format!("http://127.0.0.1:{}/large.bin", port(0));
    let Some(trace) = calls(&server, strace, &site.at("plain.strace"), || ask(&plain)) else { return };
    let sent: u64 = trace
        .lines()
        .filter(|line| line.contains("sendfile("))
        .filter_map(|line| line.rsplit("= ").next()?.parse::<u64>().ok())
        .sum();
    assert_eq!(sent, site.large.len() as u64, "{trace}");
    assert!(!trace.contains("pread64("), "no byte of it comes by: {trace}");
    let secret = format!("https://127.0.0.1:{}/large.bin", port(1));
    let Some(trace) = calls(&server, strace, &site.at("tls.strace"), || ask(&secret)) else { return };
    assert!(!trace.contains("sendfile(") && trace.contains("pread64("), "TLS has to see it: {trace}");
    server.stop();
}
