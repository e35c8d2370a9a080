//! Clients that people have, and nc, in one room: each sees what the others say, in one order, in Korean.
use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};
use tests::{
    conn::Folder,
    process::{self, HANG, Running},
    server::Server,
    tool::tool,
};

/// How many lines each says.
const LINES: usize = 5;

/// A client: what it says goes into its input or a file, what it has heard is read from its output or a file.
struct Peer {
    name: &'static str,
    running: Running,
    says: Says,
    hears: Option<PathBuf>,
}

enum Says {
    /// Its standard input, with this end of line.
    Input(&'static str),
    /// A pipe in the file system, with this before the words.
    Pipe(PathBuf, &'static str),
}

impl Peer {
    fn say(&mut self, words: &str) {
        match &self.says {
            Says::Input(end) => self.running.say(format!("{words}{end}").as_bytes()),
            Says::Pipe(path, before) => {
                let mut pipe = fs::OpenOptions::new().append(true).open(path).expect("the client reads its pipe");
                pipe.write_all(format!("{before}{words}\n").as_bytes()).expect("it takes a line");
            }
        }
    }
    fn heard(&self) -> String {
        match &self.hears {
            Some(path) => String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned(),
            None => String::from_utf8_lossy(&self.running.printed()).into_owned(),
        }
    }
    #[track_caller]
    fn wait_for(&self, words: &str) {
        let until = Instant::now() + HANG;
        while !self.heard().contains(words) {
            assert!(Instant::now() < until, "{} never heard {words:?}; heard: {}", self.name, self.heard());
            thread::sleep(Duration::from_millis(20));
        }
    }
    /// What the others have said, in the order in which it was heard.
    fn order(&self, words: &[String]) -> Vec<String> {
        let heard = self.heard();
        let mut found: Vec<(usize, &String)> = words
            .iter()
            .filter(|words| !words.starts_with(self.name))
            .map(|words| {
                assert_eq!(heard.matches(words.as_str()).count(), 1, "{} hears {words:?} once", self.name);
                (heard.find(words.as_str()).expect("it is there"), words)
            })
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, words)| words.clone()).collect()
    }
}

#[track_caller]
fn wait_for_file(path: &Path) {
    let until = Instant::now() + HANG;
    while !path.exists() {
        assert!(Instant::now() < until, "{} never comes", path.display());
        thread::sleep(Duration::from_millis(20));
    }
}

fn nc(server: &Server) -> Option<Peer> {
    let mut running = tool("nc")?.start(["127.0.0.1", server.port()]);
    running.wait_for("What is your name?\n");
    running.say("넷캣\n".as_bytes());
    running.wait_for("* Welcome, 넷캣.");
    Some(Peer { name: "넷캣", running, says: Says::Input("\n"), hears: None })
}

fn ii(server: &Server, folder: &Path) -> Option<Peer> {
    let args = ["-s", "127.0.0.1", "-p", server.port(), "-n", "아이아이", "-i", folder.to_str().expect("UTF-8")];
    let running = tool("ii")?.start(args);
    let base = folder.join("127.0.0.1");
    wait_for_file(&base.join("in"));
    let mut peer =
        Peer { name: "아이아이", running, says: Says::Pipe(base.join("in"), ""), hears: Some(base.join("out")) };
    peer.wait_for("sotong.local");
    peer.say("/j #lobby");
    let room = base.join("#lobby");
    wait_for_file(&room.join("in"));
    (peer.says, peer.hears) = (Says::Pipe(room.join("in"), ""), Some(room.join("out")));
    Some(peer)
}

fn weechat(server: &Server, folder: &Path, wire: Wire) -> Option<Peer> {
    let home = folder.to_str().expect("UTF-8");
    let add = format!("/server add s 127.0.0.1/{} -nicks=위챗 -autojoin=#lobby", server.port());
    let mut args = vec!["-d", home];
    for command in [
        if wire == Wire::Tls { "/set irc.server_default.ssl on" } else { "/set irc.server_default.ssl off" },
        "/set irc.server_default.ssl_verify off",
        "/set irc.server_default.anti_flood_prio_high 0",
        "/set logger.file.flush_delay 0",
        "/set fifo.file.path \"${weechat_config_dir}/pipe\"",
        &add,
        "/connect s",
    ] {
        args.extend(["-r", command]);
    }
    let running = tool("weechat-headless")?.start(args);
    let (pipe, log) = (folder.join("pipe"), folder.join("logs/irc.s.#lobby.weechatlog"));
    wait_for_file(&pipe);
    wait_for_file(&log);
    Some(Peer { name: "위챗", running, says: Says::Pipe(pipe, "irc.s.#lobby *"), hears: Some(log) })
}

fn irssi(server: &Server, folder: &Path, wire: Wire) -> Option<Peer> {
    let home = folder.display();
    let log = folder.join("log");
    let config = format!(
        "settings = {{ core = {{ nick = \"이르시\"; real_name = \"x\"; user_name = \"x\"; }};\n\
         \"fe-common/core\" = {{ autolog = \"yes\"; autolog_path = \"{}\"; term_charset = \"UTF-8\"; }};\n\
         \"fe-text\" = {{ paste_verify_line_count = \"0\"; }}; }};\n",
        log.display()
    );
    fs::write(folder.join("config"), config).expect("written");
    tool("irssi")?;
    // Over TLS it is told what the server says to type.
    let typed = match wire {
        Wire::Plain => format!("/connect 127.0.0.1 {}", server.port()),
        Wire::Tls | Wire::WebSocket => {
            let lines = server.lines();
            let said = lines.iter().find_map(|line| line.strip_prefix("in irssi: "));
            said.expect("how to join with irssi").to_owned()
        }
    };
    let line = format!("irssi --home {home}");
    // It wants a terminal.
    let mut command = tool("script")?.command(["-qfc", &line, "/dev/null"]);
    let running = process::start_with(command.env("TERM", "xterm").stdin(Stdio::piped()).stdout(Stdio::piped()));
    let mut peer = Peer { name: "이르시", running, says: Says::Input("\r"), hears: None };
    peer.wait_for("Irssi");
    thread::sleep(Duration::from_millis(300));
    peer.say(&typed);
    peer.wait_for("sotong.local");
    thread::sleep(Duration::from_millis(300));
    peer.say("/join #lobby");
    wait_for_file(&log);
    peer.hears = Some(log);
    Some(peer)
}

/// Clients of Python's `irc` and `pydle`, and of Node's irc-framework: each says what it is told to, and prints what it hears.
const PYTHON_IRC: &str = include_str!("chat_peers/irc.py");
const PYDLE: &str = include_str!("chat_peers/pydle.py");
const IRC_FRAMEWORK: &str = include_str!("chat_peers/irc_framework.js");

/// A client written upon a library of a language, where that is installed.
fn library(
    server: &Server,
    name: &'static str,
    program: &str,
    probe: &str,
    args: [&str; 2],
    wire: Wire,
) -> Option<Peer> {
    let [eval, script] = args;
    let has = std::process::Command::new(program).args([eval, probe]).stderr(Stdio::null()).status();
    if !has.is_ok_and(|status| status.success()) {
        println!("left out: {program} cannot do {probe}");
        return None;
    }
    let mut command = std::process::Command::new(program);
    command.args([eval, script, server.port(), wire.word(), name]).env("PYTHONIOENCODING", "utf-8");
    let running = process::start_with(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()));
    running.wait_for("in the room");
    Some(Peer { name, running, says: Says::Input("\n"), hears: None })
}

fn python(server: &Server, name: &'static str, probe: &str, script: &str, wire: Wire) -> Option<Peer> {
    // A Python with the libraries, where the system's has none.
    let program = std::env::var("SOTONG_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    library(server, name, &program, probe, ["-c", script], wire)
}

fn node(server: &Server, name: &'static str, probe: &str, wire: Wire) -> Option<Peer> {
    library(server, name, "node", probe, ["-e", IRC_FRAMEWORK], wire)
}

/// What a client comes over, where it can.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wire {
    Plain,
    Tls,
    WebSocket,
}

impl Wire {
    fn word(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Tls => "tls",
            Self::WebSocket => "ws",
        }
    }
}

#[test]
fn clients_that_people_have_in_one_room() {
    talk(&["chat", "127.0.0.1:0", "--workers", "2", "--no-flood-control"], Wire::Plain);
}

/// Those who can, over TLS and WebSocket; the others on the same port without.
#[test]
fn over_tls_and_websocket() {
    talk(&["chat", "127.0.0.1:0", "--workers", "2", "--no-flood-control", "--tls"], Wire::Tls);
}

fn talk(args: &[&str], wire: Wire) {
    let server = Server::start(args);
    let folder = Folder::new();
    let own = |name: &str| {
        let path = folder.path().join(name);
        fs::create_dir(&path).expect("made");
        path
    };
    let mut peers: Vec<Peer> = [
        nc(&server),
        ii(&server, &own("ii")),
        weechat(&server, &own("weechat"), wire),
        irssi(&server, &own("irssi"), wire),
        python(&server, "파이썬", "import irc.client", PYTHON_IRC, wire),
        python(&server, "파이들", "import pydle", PYDLE, wire),
        node(&server, "노드", "require('irc-framework')", wire),
        node(&server, "웹소켓", "require('irc-framework'); require('ws')", Wire::WebSocket),
    ]
    .into_iter()
    .flatten()
    .collect();
    let mut words = Vec::new();
    for line in 0..LINES {
        for peer in &mut peers {
            let said = format!("{} {line}번째 점심 먹자", peer.name);
            peer.say(&said);
            words.push(said);
        }
    }
    for peer in &peers {
        for words in words.iter().filter(|words| !words.starts_with(peer.name)) {
            peer.wait_for(words);
        }
    }
    let orders: Vec<_> = peers.iter().map(|peer| (peer.name, peer.order(&words))).collect();
    for (one, first) in &orders {
        for (two, second) in &orders {
            let common = |order: &[String]| -> Vec<String> {
                order.iter().filter(|words| !words.starts_with(one) && !words.starts_with(two)).cloned().collect()
            };
            assert_eq!(common(first), common(second), "{one} and {two}");
        }
    }
    println!("{} in one room", orders.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "));
    drop(peers);
    server.stop();
}
