//! `sotong cert` as people and scripts meet it, with openssl and curl as judges of what it makes.
//!
//! Where there is no openssl its tests say so and pass, or fail under `SOTONG_TOOLS=required`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder to work in, with a data folder of its own; both go away with it.
struct Desk(PathBuf);

impl Desk {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("sotong-cert-{}-{number}", std::process::id()));
        fs::create_dir(&folder).expect("a new folder");
        Self(folder)
    }

    fn command(&self, program: &str, words: &[&str]) -> Command {
        let mut command = Command::new(program);
        for name in ["LC_ALL", "LC_MESSAGES", "LANG", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "SSL_CERT_DIR"] {
            command.env_remove(name);
        }
        command.env("XDG_DATA_HOME", self.path("data")).current_dir(&self.0).stdin(Stdio::null()).args(words);
        command
    }

    /// Runs `sotong cert` and these words.
    fn cert(&self, line: &str) -> Output {
        let words: Vec<_> = ["cert"].into_iter().chain(line.split_whitespace()).collect();
        self.command(env!("CARGO_BIN_EXE_sotong"), &words).output().expect("sotong runs")
    }

    /// What `sotong cert` prints when it goes well.
    #[track_caller]
    fn good(&self, line: &str) -> String {
        let output = self.cert(line);
        assert_eq!(output.status.code(), Some(0), "{line}: {}", text(&output.stderr));
        text(&output.stdout).to_owned()
    }

    /// The exit code and the first line that says why; nothing is on standard output.
    #[track_caller]
    fn bad(&self, line: &str) -> (Option<i32>, String) {
        let output = self.cert(line);
        assert_eq!(text(&output.stdout), "", "{line}: standard output is for data");
        (output.status.code(), text(&output.stderr).lines().next().unwrap_or_default().to_owned())
    }

    /// What openssl prints when it goes well.
    #[track_caller]
    fn openssl(&self, line: &str) -> String {
        let output =
            self.command("openssl", &line.split_whitespace().collect::<Vec<_>>()).output().expect("openssl runs");
        assert!(output.status.success(), "openssl {line}: {}", text(&output.stderr));
        text(&output.stdout).to_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
    }

    fn mode(&self, name: &str) -> u32 {
        self.path(name).metadata().expect("it is there").permissions().mode() & 0o777
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

/// Whether a program is there; without it a test is left out, unless it is required.
fn has(tool: &str, ask: &str) -> bool {
    let is_there = Command::new(tool).arg(ask).output().is_ok();
    if !is_there {
        assert!(std::env::var("SOTONG_TOOLS").as_deref() != Ok("required"), "{tool} is not installed");
        println!("skipped: a test with {tool}, which is not installed");
    }
    is_there
}

const AUTHORITY: &str = "data/sotong/authority";

#[test]
fn what_is_issued_is_verified_by_openssl() {
    if !has("openssl", "version") {
        return;
    }
    let desk = Desk::new();
    let output = desk.cert("new localhost 127.0.0.1 ::1");
    assert_eq!(text(&output.stdout), "localhost.pem\nlocalhost-key.pem\n");
    let said = text(&output.stderr);
    assert!(said.starts_with("made a local authority: ") && said.contains("localhost, 127.0.0.1, ::1"), "{said}");
    assert_eq!(text(&desk.cert("new other.example").stderr).lines().count(), 1, "the authority is made once");

    desk.write("ca.pem", &desk.good("ca --pem"));
    for check in ["-verify_hostname localhost", "-verify_ip 127.0.0.1", "-verify_ip ::1", "-purpose sslserver"] {
        desk.openssl(&format!("verify -x509_strict -CAfile ca.pem {check} localhost.pem"));
    }
    let shown = desk.openssl("x509 -in localhost.pem -noout -text");
    for part in ["CN = localhost", "DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1", "CA:FALSE"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let public = desk.openssl("x509 -in localhost.pem -noout -pubkey");
    assert_eq!(desk.openssl("pkey -in localhost-key.pem -pubout"), public, "the key fits");
    let modes = ["localhost-key.pem", "localhost.pem"].map(|name| desk.mode(name));
    assert_eq!(modes, [0o600, 0o644]);
    let keys = [AUTHORITY, &format!("{AUTHORITY}/ca-key.pem"), "data/sotong"].map(|name| desk.mode(name));
    assert_eq!(keys, [0o700, 0o600, 0o700]);
}

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_server_with_it_is_trusted_by_those_who_trust_the_authority() {
    if !has("openssl", "version") || !has("curl", "--version") {
        return;
    }
    let desk = Desk::new();
    desk.good("new localhost 127.0.0.1");
    desk.good("new --client alice");
    desk.write("ca.pem", &desk.good("ca --pem"));
    let words = "s_server -accept 127.0.0.1:0 -www -cert localhost.pem -key localhost-key.pem -CAfile ca.pem -Verify 2 \
                 -verify_return_error";
    let mut server = desk.command("openssl", &words.split_whitespace().collect::<Vec<_>>());
    let mut server = Ended(server.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("openssl runs"));
    let mut lines = BufReader::new(server.0.stdout.take().expect("a pipe")).lines();
    let address = lines.find_map(|line| line.ok()?.strip_prefix("ACCEPT ").map(str::to_owned)).expect("it listens");
    std::thread::spawn(move || lines.for_each(drop));
    let port = address.rsplit(':').next().expect("a port");
    let curl = |flags: &str, host: &str| {
        let url = format!("https://{host}:{port}/");
        let words: Vec<_> =
            "-sS -m 30 --noproxy *".split(' ').chain(flags.split_whitespace()).chain([url.as_str()]).collect();
        let output = desk.command("curl", &words).output().expect("curl runs");
        (output.status.code(), text(&output.stderr).to_owned())
    };
    let alice = "--cert alice.pem --key alice-key.pem";
    for host in ["localhost", "127.0.0.1"] {
        let (code, why) = curl(&format!("--cacert ca.pem {alice}"), host);
        assert_eq!(code, Some(0), "{why}");
    }
    assert_eq!(curl(alice, "localhost").0, Some(60), "nobody else trusts it");
    assert_ne!(curl("--cacert ca.pem", "localhost").0, Some(0), "the client is asked who it is");
    let server_as_client = "--cacert ca.pem --cert localhost.pem --key localhost-key.pem";
    assert_ne!(curl(server_as_client, "localhost").0, Some(0), "a server's certificate is no client's");
}

#[test]
fn of_many_who_come_first_one_makes_the_authority() {
    let desk = Desk::new();
    let children: Vec<_> = (0..8)
        .map(|number| {
            let name = format!("host{number}.example");
            let mut command = desk.command(env!("CARGO_BIN_EXE_sotong"), &["cert", "new", &name]);
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("sotong runs")
        })
        .collect();
    let outputs: Vec<_> = children.into_iter().map(|child| child.wait_with_output().expect("it ends")).collect();
    let made = outputs.iter().filter(|output| text(&output.stderr).contains("made a local authority")).count();
    assert_eq!(made, 1);
    for (number, output) in outputs.iter().enumerate() {
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(
            desk.good(&format!("check host{number}.example.pem --key host{number}.example-key.pem")).contains(": fit")
        );
    }
    assert_eq!(desk.good("list").lines().count(), 8);
}

/// What is typed, the exit code, and how the line begins that says why.
const MISTAKES: &[(&str, i32, &str)] = &[
    ("new", 2, "this must be given: <NAME>..."),
    ("new a:443", 2, "'a:443' is no name for a certificate: ':' cannot be part of it."),
    ("new a..b", 2, "'a..b' is no name for a certificate: it, or a part of it, is empty."),
    (
        "new a*.example",
        2,
        "'a*.example' is no name for a certificate: a star can only be the whole first part, as in *.example.com.",
    ),
    ("new 10.0.0.256", 2, "'10.0.0.256' is no name for a certificate: it ends with a number, and is no IP address."),
    ("new -- -a.example", 2, "'-a.example' is no name for a certificate: a part begins or ends with a hyphen."),
    ("new xn--a.example", 2, "'xn--a.example' is no name for a certificate: its letters make no name."),
    ("new a.example b:1 --days 1", 2, "'b:1' is no name for a certificate: ':' cannot be part of it."),
    ("new a.example --days 0", 2, "'0' is no value of '--days': it takes a whole number from 1 to 825"),
    ("new a.example --days 826", 2, "'826' is no value of '--days': it takes a whole number from 1 to 825"),
    ("new a.example --key-type rsa", 2, "'rsa' is no value of '--key-type', which takes one of: ecdsa, ed25519."),
    ("new --client alice bob", 2, "'bob' is one argument too many."),
    ("new localhost", 1, "localhost.pem exists already; --force overwrites it, --out DIR writes into another folder."),
    ("new a.example --out empty.pem", 1, "cannot write empty.pem: "),
    ("new a.example --out empty.pem/x", 1, "cannot write empty.pem/x: a part of the path is no folder."),
    ("show none.pem", 78, "cannot read none.pem: no such file or folder."),
    ("show folder", 78, "cannot read folder: it is a folder."),
    ("show /dev/zero", 78, "/dev/zero has more than 4 MiB, so it is no file of certificates; check the name."),
    ("show empty.pem", 78, "there is no certificate in empty.pem: it is empty."),
    ("show words.pem", 78, "there is no certificate in words.pem: PEM has a line -----BEGIN CERTIFICATE-----."),
    (
        "show localhost-key.pem",
        78,
        "there is no certificate in localhost-key.pem: it holds a private key; name the file of the certificate.",
    ),
    ("show half.pem", 78, "half.pem is damaged, cut short perhaps; copy it again from where it came."),
    ("show -", 78, "there is no certificate in stdin: it is empty."),
    (
        "check localhost.pem --key other.example-key.pem",
        78,
        "the key in other.example-key.pem does not fit the certificate in localhost.pem; name the one that it was made with.",
    ),
    (
        "check localhost.pem --key localhost.pem",
        78,
        "there is no private key in localhost.pem: it holds a certificate; name the file of its key.",
    ),
    (
        "check localhost.pem --key locked.pem",
        78,
        "the key in locked.pem is encrypted, and a server cannot ask for a passphrase; write it without one: openssl pkey -in locked.pem -out FILE.",
    ),
    (
        "check ca-first.pem --key localhost-key.pem",
        78,
        "the certificates in ca-first.pem are out of order; the one that the key fits must be the first.",
    ),
    ("check a.pem b.pem --key a-key.pem", 2, "'b.pem' is one argument too many."),
    ("shw a.pem", 2, "there is no command 'shw'. Did you mean 'show'?"),
];

#[test]
fn mistakes_are_told_with_their_way_out() {
    let desk = Desk::new();
    desk.good("new localhost");
    desk.good("new other.example");
    desk.write("empty.pem", "");
    desk.write("words.pem", "nothing\n");
    let pem = fs::read_to_string(desk.path("localhost.pem")).expect("PEM");
    desk.write("half.pem", &pem[..200]);
    desk.write("locked.pem", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
    desk.write("ca-first.pem", &(desk.good("ca --pem") + &pem));
    fs::create_dir(desk.path("folder")).expect("made");
    for (line, code, expect) in MISTAKES {
        let (found, why) = desk.bad(line);
        assert!(why.starts_with(&format!("error: {expect}")), "{line}: {why}");
        assert_eq!(found, Some(*code), "{line}: {why}");
    }
    assert!(!desk.path("a.example.pem").exists() && !desk.path("b:1.pem").exists());
    assert_eq!(
        desk.bad("new a:443 --lang ko"),
        (Some(2), "오류: 'a:443'은 인증서에 쓸 수 없는 이름입니다: ':' 문자는 쓸 수 없습니다.".to_owned())
    );
    assert_eq!(
        desk.bad("check localhost.pem --key other.example-key.pem --lang ko"),
        (
            Some(78),
            "오류: other.example-key.pem 파일의 키가 localhost.pem 파일의 인증서와 맞지 않습니다. 함께 만든 것을 지정하십시오."
                .to_owned()
        )
    );
}

#[test]
fn a_data_folder_that_cannot_be_used_is_told() {
    let desk = Desk::new();
    let run = |set: &[(&str, &Path)]| {
        let mut command = desk.command(env!("CARGO_BIN_EXE_sotong"), &["cert", "ca", "--pem"]);
        command.env_remove("XDG_DATA_HOME").env_remove("HOME").envs(set.iter().copied());
        let output = command.output().expect("sotong runs");
        (output.status.code(), text(&output.stderr).lines().next().unwrap_or_default().to_owned())
    };
    let none =
        "error: there is no folder to keep the authority in; set XDG_DATA_HOME, or HOME, to one that begins with /.";
    assert_eq!(run(&[]), (Some(78), none.to_owned()));
    assert_eq!(run(&[("XDG_DATA_HOME", Path::new("data")), ("HOME", Path::new(""))]), (Some(78), none.to_owned()));
    desk.write("file", "");
    let (code, why) = run(&[("HOME", &desk.path("file"))]);
    assert_eq!(code, Some(1), "{why}");
    assert!(why.starts_with("error: cannot write ") && why.ends_with(": a part of the path is no folder."), "{why}");
    assert_eq!(run(&[("HOME", &desk.path("home"))]).0, Some(0));
    assert!(desk.path("home/.local/share/sotong/authority/ca.pem").exists());

    desk.good("ca");
    let key = desk.path(&format!("{AUTHORITY}/ca-key.pem"));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("set");
    let warned = desk.cert("new localhost");
    let warned = text(&warned.stderr);
    assert!(warned.starts_with("warning: others may read the key in ") && warned.contains("chmod 600 "), "{warned}");
    fs::remove_file(&key).expect("removed");
    let (code, why) = desk.bad("new other.example");
    assert_eq!(code, Some(78));
    assert!(why.ends_with("ca-key.pem: no such file or folder."), "{why}");
}

#[test]
fn what_was_issued_is_listed_and_shown() {
    let desk = Desk::new();
    assert_eq!(desk.good("list"), "");
    assert!(text(&desk.cert("list --lang ko").stderr).starts_with("아직 발급한 인증서가 없습니다."));
    desk.good("new localhost *.한글.example --days 30 --out here");
    desk.good("new --client a@mail.example --days 60 --key-type ed25519");
    let lines: Vec<serde_json::Value> =
        desk.good("list --json").lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let fields = |name: &str| lines.iter().map(|line| line[name].clone()).collect::<Vec<_>>();
    assert_eq!(fields("common_name"), ["a@mail.example", "localhost"], "the last to end first");
    assert_eq!(fields("key"), ["Ed25519", "ECDSA P-256"]);
    assert_eq!(lines[1]["names"], serde_json::json!(["localhost", "*.xn--bj0bj06e.example"]));
    assert_eq!(fields("for_servers"), [false, true]);
    assert_eq!(fields("there"), [true, true]);
    let place = fs::canonicalize(desk.path("here/localhost.pem")).expect("a path");
    assert_eq!(fs::canonicalize(lines[1]["file"].as_str().expect("a text")).expect("a path"), place);
    fs::remove_file(place).expect("removed");
    assert!(desk.good("list").lines().nth(1).is_some_and(|line| line.ends_with("(no longer there)")));

    let shown = desk.good("show a@mail.example.pem");
    for part in
        ["1. CN=a@mail.example\n", "  names: email:a@mail.example\n", "(for clients)", "\n2. CN=Sotong local authority"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let json = desk.good("show a@mail.example.pem --json");
    let first: serde_json::Value = serde_json::from_str(json.lines().next().expect("a line")).expect("JSON");
    assert_eq!(first["sha256"], lines[0]["sha256"]);
    assert!(shown.contains(first["sha256"].as_str().expect("a text")));
    let file = fs::File::open(desk.path("a@mail.example.pem")).expect("a file");
    let piped =
        desk.command(env!("CARGO_BIN_EXE_sotong"), &["cert", "show", "-"]).stdin(file).output().expect("sotong runs");
    // Days are counted down, and a second may have passed.
    let lasting =
        |shown: &str| shown.lines().filter(|line| !line.contains(" left)")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lasting(text(&piped.stdout)), lasting(&shown));
}

#[test]
fn a_check_tells_by_its_exit_code_what_is_wrong() {
    let desk = Desk::new();
    desk.good("new good.example --days 100");
    desk.good("new short.example --days 10");
    assert_eq!(desk.good("check good.example.pem short.example.pem --days 5").lines().count(), 2);
    let output = desk.cert("check good.example.pem short.example.pem");
    assert_eq!(output.status.code(), Some(77));
    let said = text(&output.stdout);
    assert!(
        said.contains("good.example.pem: fit, ") && said.contains("short.example.pem: CN=short.example expires on "),
        "{said}"
    );
    let output = desk.cert("check none.pem short.example.pem");
    assert_eq!((output.status.code(), text(&output.stdout).lines().count()), (Some(78), 1), "the worst of them counts");

    let output = desk.cert("check short.example.pem none.pem --json");
    let lines: Vec<serde_json::Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(78), ""));
    assert_eq!((&lines[0]["ok"], &lines[0]["findings"][0]["finding"]), (&false.into(), &"expiring".into()));
    assert_eq!((&lines[1]["ok"], &lines[1]["findings"][0]["finding"]), (&false.into(), &"unusable".into()));
    let good = desk.good("check good.example.pem --json");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&good).expect("JSON")["findings"], serde_json::json!([]));

    // The leaf alone: whole where its authority is known, by this system or as the local one.
    let chain = fs::read_to_string(desk.path("good.example.pem")).expect("PEM");
    let end = chain.find("-----END CERTIFICATE-----\n").expect("an end") + 26;
    desk.write("leaf.pem", &chain[..end]);
    desk.write("ca.pem", &desk.good("ca --pem"));
    assert!(desk.good("check leaf.pem").contains(": fit"));
    let elsewhere = |roots: &str| {
        let words = ["cert", "check", "leaf.pem"];
        let mut command = desk.command(env!("CARGO_BIN_EXE_sotong"), &words);
        command.env("XDG_DATA_HOME", desk.path("nowhere")).env("SSL_CERT_FILE", desk.path(roots));
        let output = command.output().expect("sotong runs");
        (output.status.code(), text(&output.stdout).to_owned())
    };
    let (code, said) = elsewhere("leaf.pem");
    assert_eq!(code, Some(77));
    assert!(
        said.starts_with("leaf.pem: the chain is incomplete: the certificate of CN=Sotong local authority"),
        "{said}"
    );
    assert_eq!(elsewhere("ca.pem").0, Some(0), "a system that trusts it");
}

#[test]
fn a_renewed_certificate_takes_the_place_of_the_old_with_its_key() {
    let desk = Desk::new();
    desk.good("new localhost");
    let read = |name: &str| fs::read_to_string(desk.path(name)).expect("PEM");
    let before = [read("localhost.pem"), read("localhost-key.pem")];
    desk.good("new localhost --force");
    let after = [read("localhost.pem"), read("localhost-key.pem")];
    assert!(before[0] != after[0] && before[1] != after[1]);
    desk.good("check localhost.pem --key localhost-key.pem");
    assert_eq!(desk.mode("localhost-key.pem"), 0o600);
    let files: Vec<_> =
        fs::read_dir(&desk.0).expect("a folder").map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(files.len(), 3, "nothing temporary is left: {files:?}");
    assert_eq!(desk.good("list").lines().filter(|line| line.ends_with("(no longer there)")).count(), 1);
}

#[test]
fn the_authority_says_how_to_trust_it() {
    let desk = Desk::new();
    let said = desk.good("ca");
    let file = desk.path(&format!("{AUTHORITY}/ca.pem"));
    for part in ["(issues certificates)", &format!("file: {}", file.display()), "curl --cacert ", "certutil -d sql:"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(desk.good("ca --pem"), fs::read_to_string(file).expect("PEM"));
    let korean = desk.good("ca --lang ko");
    assert!(korean.contains("인증서 발급용") && korean.contains("파일: "), "{korean}");
}

#[test]
fn commands_below_a_command_have_help_pages_and_completions() {
    let desk = Desk::new();
    let run = |words: &[&str]| desk.command(env!("CARGO_BIN_EXE_sotong"), words).output().expect("sotong runs");
    let help = run(&["cert", "new", "--help"]);
    assert_eq!(text(&help.stdout), text(&run(&["help", "cert", "new"]).stdout));
    assert!(text(&help.stdout).contains("[one of: ecdsa, ed25519] [default: ecdsa]"));
    let korean = run(&["cert", "check", "--help", "--lang", "ko"]);
    for english in ["Usage", "Options", "Commands", "Arguments", "default", "possible", "OPTIONS", "Print"] {
        assert!(!text(&korean.stdout).contains(english), "{english}: {}", text(&korean.stdout));
    }
    assert_eq!(run(&["cert"]).status.code(), Some(2));
    let mistake = run(&["cert", "new", "--nope", "a"]);
    assert_eq!(text(&mistake.stderr).lines().nth(1), Some("See: sotong cert new --help"));
    let mistake = run(&["help", "cert", "nobody"]);
    assert_eq!(
        (mistake.status.code(), text(&mistake.stderr).lines().next()),
        (Some(2), Some("error: there is no command 'nobody'."))
    );

    run(&["man", "pages"]);
    let page = fs::read_to_string(desk.path("pages/sotong-cert-new.1")).expect("a page");
    for part in [".TH \"sotong-cert-new\" 1", "\\-\\-key\\-type", "sotong cert new \\-\\-client alice"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(fs::read_to_string(desk.path("pages/sotong-cert.1")).expect("a page").contains("sotong\\-cert\\-check(1)"));
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(text(&run(&["completions", shell]).stdout).contains("key-type"), "{shell}");
    }
}

/// The commands of a page, in the order in which they stand.
fn commands(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).expect("a page");
    let fences = text.split("```sh\n").skip(1).filter_map(|rest| rest.split_once("```"));
    fences.flat_map(|(commands, _)| commands.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn the_page_about_certificates_runs_from_top_to_bottom() {
    if !has("openssl", "version") {
        return;
    }
    let desk = Desk::new();
    let folder = Path::new(env!("CARGO_BIN_EXE_sotong")).parent().expect("a folder");
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/en/certificates.md");
    let commands = commands(&page);
    assert!(commands.len() > 10, "{commands:?}");
    for command in commands {
        let output = desk.command("sh", &["-c", &command]).env("PATH", &path).output().expect("sh runs");
        assert!(output.status.success(), "{command}: {}", text(&output.stderr));
    }
}
