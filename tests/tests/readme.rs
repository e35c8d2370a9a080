//! What the READMEs and the pages under `docs` show is what happens.
//!
//! Each block of ```` ```console ```` is run as it stands, with the command built from this tree, in a network namespace of its
//! own, where the default ports are free: `server` blocks stay until the end of the file, `person` blocks are conversations, in
//! which lines that begin with `>` are typed. The outputs must be equal to the letter; `…` stands for what differs from one
//! machine, or day, to the next.
use sotong::drivers::Model;
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, sync_channel},
    },
    thread,
    time::Duration,
};
use tests::{conn::Folder, tool::tool};

const HANG: Duration = Duration::from_secs(30);
/// How long a conversation may rest before the next person comes in: whoever waits for him has said everything by then.
const REST: Duration = Duration::from_millis(700);
const LINES_MAX: usize = 10_000;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Block {
    kind: String,
    lines: Vec<String>,
}

/// The console blocks of a Markdown text.
fn blocks(text: &str) -> Vec<Block> {
    let mut all = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(kind) = line.strip_prefix("```console") {
            let lines = lines.by_ref().take_while(|line| *line != "```").map(str::to_owned).collect();
            all.push(Block { kind: kind.trim().to_owned(), lines });
        }
    }
    all
}

/// A block's commands, each with the output that it shows. A command goes on over lines that begin with `> `.
fn commands(block: &Block) -> Vec<(String, Vec<String>)> {
    let mut all: Vec<(String, Vec<String>)> = Vec::new();
    for line in &block.lines {
        if let Some(command) = line.strip_prefix("$ ") {
            all.push((command.to_owned(), Vec::new()));
        } else if let Some((command, output)) = all.last_mut() {
            match line.strip_prefix("> ").filter(|_| output.is_empty() && command.contains("-c \"")) {
                Some(more) => *command = format!("{command}\n{more}"),
                None => output.push(line.clone()),
            }
        }
    }
    all
}

/// Ends its process when dropped.
struct Ended(Child);
impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where a document's commands run: a network namespace, and a folder that is home and where they are.
#[derive(Clone)]
struct World {
    namespace: u32,
    home: Arc<Folder>,
}

/// A shell in that world, where `sotong` is the command built from this tree.
fn shell(World { namespace, home }: &World, script: &str) -> Command {
    let binary = tests::process::sotong();
    let path = format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("nsenter");
    command.args(["-t", &namespace.to_string(), "-n", "bash", "-c", script]);
    command.current_dir(home.path()).env("HOME", home.path()).env_remove("XDG_DATA_HOME");
    command.env("PATH", path).env("LANG", "C.UTF-8").env_remove("LC_ALL").env("NO_COLOR", "1");
    command
}

/// Lines of a process, as they come.
fn lines_of(reader: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = sync_channel(LINES_MAX);
    thread::spawn(move || {
        for line in BufReader::new(reader).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// Whether a line may be another one: the READMEs were written on a machine that allows io_uring.
fn may_differ(expected: &str) -> bool {
    expected.contains("uring") && Model::Uring.availability().is_err()
}

/// Whether a line is as it was told, where `…` stands for anything.
fn is_as_told(line: &str, expected: &str) -> bool {
    let mut parts = expected.split('…');
    let Some(mut rest) = parts.next().and_then(|start| line.strip_prefix(start)) else { return false };
    let mut ends = !expected.contains('…');
    for part in parts {
        ends = part.is_empty();
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.is_empty() || ends && expected.contains('…')
}

fn expect_line(lines: &Receiver<String>, expected: &str, of: &str) {
    match lines.recv_timeout(HANG) {
        Ok(_) if may_differ(expected) => {}
        Ok(line) if is_as_told(&line, expected) => {}
        Ok(line) => assert_eq!(line, expected, "output of {of}"),
        Err(RecvTimeoutError::Timeout) => panic!("{of} never said {expected:?}"),
        Err(RecvTimeoutError::Disconnected) => panic!("{of} ended before it said {expected:?}"),
    }
}

fn check(file: &Path) {
    let text = fs::read_to_string(file).unwrap();
    // A process that holds the namespace, with loopback up, until the test ends.
    let mut holder = Command::new("unshare");
    holder.args(["-n", "bash", "-c", "ip link set lo up && echo ready && exec sleep 600"]);
    let holder = holder.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let Ok(mut holder) = holder.map(Ended) else {
        assert_ne!(std::env::var("SOTONG_TOOLS").as_deref(), Ok("required"), "unshare is not installed");
        println!("skipped: {}: there is no unshare", file.display());
        return;
    };
    let ready = lines_of(holder.0.stdout.take().unwrap());
    if ready.recv_timeout(HANG).as_deref() != Ok("ready") {
        println!("skipped: {}: network namespaces are not allowed here", file.display());
        return;
    }
    let world = World { namespace: holder.0.id(), home: Arc::new(Folder::new()) };
    let mut servers = Vec::new();
    let mut people = Vec::new();
    for block in blocks(&text) {
        if block.kind != "person" {
            for person in people.drain(..) {
                thread::JoinHandle::join(person).unwrap();
            }
        }
        match block.kind.as_str() {
            "server" => servers.push(serve(&world, &block)),
            "person" => {
                let world = world.clone();
                people.push(thread::spawn(move || converse(&world, &block)));
                thread::sleep(REST);
            }
            "" => {
                for (command, output) in commands(&block) {
                    if !command.starts_with("cargo ") {
                        run(&world, &command, &output);
                    }
                }
            }
            other => panic!("{}: what is a console block of kind {other:?}?", file.display()),
        }
    }
    for person in people {
        person.join().unwrap();
    }
}

/// A server's start-up lines; it stays.
fn serve(world: &World, block: &Block) -> Ended {
    let [(command, output)] = &commands(block)[..] else { panic!("a server block has one command") };
    let mut server = shell(world, &format!("exec {command} 2>&1"));
    let mut server = Ended(server.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap());
    let lines = lines_of(server.0.stdout.take().unwrap());
    for expected in output {
        expect_line(&lines, expected, command);
    }
    server
}

fn run(world: &World, command: &str, output: &[String]) {
    let done = shell(world, &format!("{{ {command}\n}} 2>&1")).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(done.stdout).unwrap();
    if output.iter().any(|line| may_differ(line)) {
        println!("skipped: the output of {command}: io_uring is not allowed here");
        return;
    }
    let lines: Vec<_> = text.lines().collect();
    if lines.len() != output.len() || !lines.iter().zip(output).all(|(line, told)| is_as_told(line, told)) {
        assert_eq!(lines, output, "output of {command}");
    }
}

/// A conversation: what is typed is sent, everything else must come.
fn converse(world: &World, block: &Block) {
    let command = block.lines[0].strip_prefix("$ ").expect("a conversation begins with its command");
    let mut person = shell(world, &format!("exec {command}"));
    let mut person = Ended(person.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
    let lines = lines_of(person.0.stdout.take().unwrap());
    let mut keys = person.0.stdin.take().unwrap();
    for line in &block.lines[1..] {
        match line.strip_prefix("> ") {
            Some(typed) => writeln!(keys, "{typed}").unwrap(),
            None => expect_line(&lines, line, command),
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

#[test]
fn what_the_english_readme_shows_happens() {
    check(&root().join("README.md"));
}

#[test]
fn what_the_korean_readme_shows_happens() {
    check(&root().join("README.ko.md"));
}

#[test]
fn what_the_pages_about_tls_show_happens() {
    let (Some(_), Some(_)) = (tool("curl"), tool("openssl")) else { return };
    for language in ["en", "ko"] {
        for page in ["tls.md", "connect-tls.md"] {
            check(&root().join("docs").join(language).join(page));
        }
    }
}

#[test]
fn what_the_pages_about_the_web_show_happens() {
    for language in ["en", "ko"] {
        if tool("curl").is_none() {
            return;
        }
        check(&root().join(format!("docs/{language}/web.md")));
    }
}

#[test]
fn what_the_pages_about_web_sockets_show_happens() {
    for language in ["en", "ko"] {
        check(&root().join(format!("docs/{language}/websocket.md")));
    }
}

#[test]
fn what_differs_is_left_open() {
    for (line, told, expect) in [
        ("a b c", "a b c", true),
        ("a b c", "a … c", true),
        ("a b c", "a …", true),
        ("a b c", "… c", true),
        ("a b c", "… b", false),
        ("a b c", "a b", false),
        ("a b c", "a … d", false),
        ("a b c d", "a … c", false),
    ] {
        assert_eq!(is_as_told(line, told), expect, "{line} {told}");
    }
}

#[test]
fn both_readmes_show_the_same() {
    let read = |name: &str| fs::read_to_string(root().join(name)).unwrap();
    let (english, korean) = (read("README.md"), read("README.ko.md"));
    assert_eq!(blocks(&english), blocks(&korean));
    let headings = |text: &str| text.lines().filter(|line| line.starts_with('#')).count();
    assert_eq!(headings(&english), headings(&korean));
    let rows = |text: &str| text.lines().filter(|line| line.starts_with('|')).count();
    assert_eq!(rows(&english), rows(&korean));
}
