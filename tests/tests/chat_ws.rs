//! The chat over WebSocket on real sockets, under every model in which a chat can be: browsers and programs of others in one
//! room with IRC clients and `nc`, plain and over TLS.
use std::{
    fs,
    io::Read as _,
    process::{Command, Stdio},
};
use tests::{
    conn::{Conn, Folder},
    irc::Client,
    process::{self, Running},
    runs::{Run, shared_runs},
    server::Server,
    tls,
    tool::tool,
};

fn chat(run: &Run, more: &[&str]) -> Server {
    let line = ["127.0.0.1:0", "--cert", tls::CERT, "--no-flood-control"];
    Server::start(run.line("chat", &[&line, more].concat()))
}

/// Somebody with an IRC client, in the lobby.
fn client(address: &str, nick: &str) -> Client {
    let mut client = Client::registered(address, nick);
    client.say("JOIN #lobby");
    client.wait_for(&format!(" 366 {nick} #lobby :"));
    client
}

/// Somebody by WebSocket, byte for byte. Masks are of zeros.
struct Web {
    conn: Conn,
    /// The first byte of the frames that it hears.
    kind: u8,
}

impl Web {
    #[track_caller]
    fn enter(address: &str, path: &str, protocol: Option<&str>, nick: &str) -> Self {
        let mut conn = Conn::dial(address);
        let protocol_line = protocol.map(|name| format!("Sec-WebSocket-Protocol: {name}\r\n")).unwrap_or_default();
        let host = address.split_once("://").expect("a scheme").1;
        conn.send(format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{protocol_line}\r\n"
        ));
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(conn.get(1));
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", head.escape_ascii());
        let kind = if protocol == Some("binary.ircv3.net") { 0x82 } else { 0x81 };
        let mut web = Self { conn, kind };
        for line in [format!("NICK {nick}"), "USER w 0 * :w".into(), "JOIN #lobby".into()] {
            web.say(&line);
        }
        web.hear_until(&format!(" 366 {nick} #lobby :"));
        web
    }
    #[track_caller]
    fn say(&mut self, line: &str) {
        let length = match u8::try_from(line.len()) {
            Ok(short @ 0..=125) => vec![0x80 | short],
            _ => [&[0xfe][..], &u16::try_from(line.len()).expect("a short line").to_be_bytes()].concat(),
        };
        self.conn.send([&[self.kind][..], &length, &[0; 4], line.as_bytes()].concat());
    }
    #[track_caller]
    fn frame(&mut self) -> (u8, Vec<u8>) {
        let head = self.conn.get(2);
        let length = match head[1] {
            126 => usize::from(u16::from_be_bytes(self.conn.get(2).try_into().expect("two bytes"))),
            short => usize::from(short),
        };
        (head[0], self.conn.get(length))
    }
    #[track_caller]
    fn hear_until(&mut self, part: &str) -> String {
        loop {
            let (kind, bytes) = self.frame();
            assert_eq!(kind, self.kind, "{}", bytes.escape_ascii());
            let line = String::from_utf8(bytes).expect("UTF-8");
            assert!(!line.contains(['\r', '\n']), "{line:?}");
            if line.contains(part) {
                return line;
            }
        }
    }
}

#[test]
fn all_kinds_of_clients_in_one_room() {
    for run in shared_runs() {
        let server = chat(&run, &[]);
        let (plain, secure) = (server.address().to_owned(), server.address().replace("tcp://", "tls://"));
        let mut client = client(&plain, "client");
        let mut members = vec![
            Web::enter(&plain, "/", None, "none"),
            Web::enter(&plain, "/ws", Some("text.ircv3.net"), "text"),
            Web::enter(&secure, "/webirc", Some("binary.ircv3.net"), "binary"),
            Web::enter(&secure, "/", Some("text.ircv3.net"), "secure"),
        ];
        // Short, of two bytes of length, and with all that may be in a line.
        let long = "가".repeat(110);
        for words in ["점심 먹었어요? 😀", &long, "\u{1}ACTION 웃는다\u{1}"] {
            client.say(&format!("PRIVMSG #lobby :{words}"));
            for member in &mut members {
                let line = member.hear_until("PRIVMSG");
                assert_eq!(line, format!(":client!~u@localhost PRIVMSG #lobby :{words}"), "{run}");
            }
        }
        for speaker in 0..members.len() {
            members[speaker].say(&format!("PRIVMSG #lobby :{speaker}에서 {long}"));
            let words = format!("#lobby :{speaker}에서 {long}");
            assert!(client.wait_for("PRIVMSG").ends_with(&words), "{run}");
            for (other, member) in members.iter_mut().enumerate() {
                if other != speaker {
                    assert!(member.hear_until("PRIVMSG").ends_with(&words), "{run}");
                }
            }
        }
        // Whoever leaves without a word, and with one.
        drop(members.remove(0));
        client.wait_for(":none!~w@localhost QUIT :");
        members[0].say("QUIT :안녕");
        client.wait_for(":text!~w@localhost QUIT :Quit: 안녕");
        members[0].hear_until("ERROR :Closing link: localhost (Quit: 안녕)");
        assert_eq!(members[0].frame(), (0x88, vec![0x03, 0xe8]), "{run}");
        members[0].conn.send(b"\x88\x82\0\0\0\0\x03\xe8");
        assert_eq!(members[0].conn.rest(), b"", "{run}");
        // Text that is none ends him who says it, and nobody else hears of it.
        members[1].conn.send(b"\x81\x95\0\0\0\0PRIVMSG #lobby :\xff\xff\xff\xff\xff");
        client.wait_for(":binary!~w@localhost QUIT :");
        members[2].say("PING x");
        members[2].hear_until("PONG sotong.local :x");
        server.stop();
    }
}

#[test]
fn the_end_of_the_server_is_told_by_web_socket() {
    for run in shared_runs() {
        let server = chat(&run, &[]);
        let mut web = Web::enter(server.address(), "/", None, "web");
        server.signal(rustix::process::Signal::TERM);
        web.hear_until("ERROR :Closing link: localhost (Server is leaving)");
        let (kind, bytes) = web.frame();
        assert_eq!((kind, &bytes[..2]), (0x88, &[0x03, 0xe9][..]), "{run}: 1001, going away");
        web.conn.send(b"\x88\x82\0\0\0\0\x03\xe9");
        assert_eq!(web.conn.rest(), b"", "{run}");
        server.end();
    }
}

// Programs of others.

/// A Python with a module, or a printed line.
fn python(module: &str) -> Option<Command> {
    let program = std::env::var("SOTONG_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut probe = Command::new(&program);
    probe.args(["-c", &format!("import {module}")]).stderr(Stdio::null());
    if !probe.status().is_ok_and(|status| status.success()) {
        println!("left out: Python has no {module} (SOTONG_PYTHON names a Python that has it)");
        return None;
    }
    let mut command = Command::new(program);
    command.env("PYTHONIOENCODING", "utf-8").stdin(Stdio::piped()).stdout(Stdio::piped());
    Some(command)
}

/// Joins, prints what is said in the room, says what it reads.
const PYTHON: &str = r##"
import asyncio, ssl, sys, websockets
async def main(uri, protocol, nick):
    trust = ssl.create_default_context(cafile=sys.argv[4]) if uri.startswith("wss") else None
    async with websockets.connect(uri, subprotocols=[protocol], ssl=trust) as ws:
        assert ws.subprotocol == protocol, ws.subprotocol
        say = lambda line: ws.send(line.encode() if protocol.startswith("binary") else line)
        for line in ["NICK " + nick, "USER p 0 * :p", "JOIN #lobby"]:
            await say(line)
        async def speak():
            while True:
                line = await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
                if not line:
                    return await say("QUIT")
                await say("PRIVMSG #lobby :" + line.strip())
        asyncio.ensure_future(speak())
        try:
            async for message in ws:
                assert isinstance(message, bytes) == protocol.startswith("binary")
                line = message.decode() if isinstance(message, bytes) else message
                if " 366 " in line:
                    print("in the room", flush=True)
                if " PRIVMSG #lobby :" in line:
                    print(line.split(" :", 1)[1], flush=True)
        except websockets.ConnectionClosed:
            pass
    print("closed", ws.close_code, flush=True)
asyncio.run(main(*sys.argv[1:4]))
"##;

const NODE: &str = r##"
const { WebSocket } = require("ws");
const ws = new WebSocket(process.argv[1], "text.ircv3.net", { rejectUnauthorized: false });
ws.on("open", () => ["NICK " + process.argv[2], "USER n 0 * :n", "JOIN #lobby"].forEach((line) => ws.send(line)));
ws.on("message", (data, isBinary) => {
  const line = String(data);
  if (isBinary) throw new Error("binary");
  if (line.includes(" 366 ")) console.log("in the room");
  if (line.includes(" PRIVMSG #lobby :")) console.log(line.split(" :").slice(1).join(" :"));
});
require("readline").createInterface({ input: process.stdin }).on("line", (line) => ws.send("PRIVMSG #lobby :" + line))
  .on("close", () => ws.send("QUIT"));
ws.on("close", (code) => { console.log("closed", code); process.exit(0); });
ws.on("error", (error) => { console.error(error); process.exit(1); });
"##;

fn node(url: &str, nick: &str) -> Option<Running> {
    let has = Command::new("node").args(["-e", "require('ws')"]).output();
    let Some(node) = has.is_ok_and(|done| done.status.success()).then(|| tool("node")).flatten() else {
        println!("left out: Node has no ws");
        return None;
    };
    Some(node.start(["-e", NODE, url, nick]))
}

#[test]
fn programs_of_others_with_irc_clients_and_nc_in_one_room() {
    let Some(nc) = tool("nc") else { return };
    for run in shared_runs() {
        let server = chat(&run, &[]);
        let port = server.port().to_owned();
        let mut client = client(server.address(), "클라이언트");
        let mut person = nc.start(["127.0.0.1", &port]);
        person.say("넷캣\n".as_bytes());
        person.wait_for("* Welcome, 넷캣.");
        let mut peers: Vec<(&str, Running)> = Vec::new();
        for (nick, scheme, protocol) in [
            ("파이썬", "ws", "text.ircv3.net"),
            ("이진", "ws", "binary.ircv3.net"),
            ("비단뱀", "wss", "text.ircv3.net"),
        ] {
            if let Some(mut command) = python("websockets") {
                command.args(["-c", PYTHON, &format!("{scheme}://localhost:{port}/"), protocol, nick, tls::CERT]);
                peers.push((nick, process::start_with(&mut command)));
            }
        }
        for (nick, url) in [("노드", format!("ws://127.0.0.1:{port}")), ("마디", format!("wss://127.0.0.1:{port}/ws"))]
        {
            peers.extend(node(&url, nick).map(|running| (nick, running)));
        }
        for (_, peer) in &peers {
            peer.wait_for("in the room");
        }
        let mut words = Vec::new();
        for line in 0..3 {
            for (nick, peer) in &mut peers {
                let said = format!("{nick} {line}번째 점심 먹자");
                peer.say(format!("{said}\n").as_bytes());
                words.push(said);
            }
            let said = format!("넷캣 {line}번째");
            person.say(format!("{said}\n").as_bytes());
            words.push(said);
            let said = format!("클라이언트 {line}번째");
            client.say(&format!("PRIVMSG #lobby :{said}"));
            words.push(said);
        }
        // Each hears the others, in one order.
        let mut order = Vec::new();
        while order.len() < words.len() - 3 {
            let line = client.wait_for(" PRIVMSG #lobby :");
            order.push(line.trim_end().split_once("#lobby :").expect("words").1.to_owned());
        }
        for (nick, peer) in &peers {
            for words in words.iter().filter(|words| !words.starts_with(nick)) {
                peer.wait_for(words);
            }
            let heard = String::from_utf8(peer.printed()).expect("UTF-8");
            let own = |words: &&str| !words.starts_with(nick) && !words.starts_with("클라이언트");
            let heard: Vec<&str> = heard.lines().filter(|line| line.contains("번째")).filter(own).collect();
            let expect: Vec<&str> = order.iter().map(String::as_str).filter(own).collect();
            assert_eq!(heard, expect, "{run}: {nick}");
        }
        for (nick, peer) in peers {
            let done = peer.finish();
            let printed = String::from_utf8_lossy(&done.stdout).into_owned();
            assert!(printed.ends_with("closed 1000\n"), "{run} {nick}: {printed} {}", done.stderr);
        }
        server.stop();
    }
}

/// Comes into the room of each server, greets, and says again what it hears there; leaves after `end`.
const PAGE: &str = r##"<!DOCTYPE html><html><body><script>
for (const address of ["ADDRESSES"]) {
  const ws = new WebSocket(address, ["text.ircv3.net"]);
  ws.onopen = () => ["NICK 브라우저", "USER b 0 * :b", "JOIN #lobby"].forEach((line) => ws.send(line));
  ws.onmessage = ({ data }) => {
    if (data.includes(" 366 ")) ws.send("PRIVMSG #lobby :안녕, 여기는 브라우저 " + ws.protocol);
    if (data.includes(" PRIVMSG #lobby :")) ws.send("PRIVMSG #lobby :들었어요: " + data.split(" :")[1]);
    if (data.endsWith(":end")) ws.send("QUIT :나갑니다");
  };
}
</script></body></html>"##;

#[test]
fn a_browser_in_the_rooms_of_all_models() {
    let Some(chromium) = tool("chromium") else { return };
    let folder = Folder::new();
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    // The page is of another server: its origin has to be listed.
    let pages = Server::start(["web", &path(""), "127.0.0.1:0"]);
    let origin = pages.address().replace("tcp://", "http://");
    let servers: Vec<(Run, Server)> = shared_runs()
        .into_iter()
        .zip(0..)
        .map(|(run, number)| {
            // Each keeps its accounts for itself.
            let config = path(&format!("chat-{number}.toml"));
            let text = format!(
                "data_dir = \"data-{number}\"\n[server]\nallowed_origins = [\"{origin}\"]\n\
                 [[listen]]\naddress = \"127.0.0.1:0\"\n"
            );
            fs::write(&config, text).expect("written");
            let server = Server::start(run.line("chat", &["--config", &config]));
            (run, server)
        })
        .collect();
    let mut clients: Vec<Client> = servers.iter().map(|(_, server)| client(server.address(), "민수")).collect();
    let addresses: Vec<String> =
        servers.iter().map(|(_, server)| server.address().replace("tcp://", "ws://")).collect();
    fs::write(path("page.html"), PAGE.replace("ADDRESSES", &addresses.join("\", \""))).expect("written");
    let profile = format!("--user-data-dir={}", path("browser"));
    let url = format!("{origin}/page.html");
    let _browser = chromium.start([
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--remote-debugging-port=0",
        &profile,
        &url,
    ]);
    for ((run, _), client) in servers.iter().zip(&mut clients) {
        client.wait_for(" PRIVMSG #lobby :안녕, 여기는 브라우저 text.ircv3.net");
        client.say("PRIVMSG #lobby :반가워요 😀");
        client.wait_for(" PRIVMSG #lobby :들었어요: 반가워요 😀");
        client.say("PRIVMSG #lobby :end");
        let gone = client.wait_for(" QUIT :");
        assert!(gone.starts_with(":브라우저!~b@localhost QUIT :Quit: 나갑니다"), "{run}: {gone}");
    }
    for (_, server) in servers {
        server.stop();
    }
    pages.stop();
}

/// Who is slow to begin on a port where people are greeted: a TLS client, which speaks first, is never greeted.
#[test]
fn whoever_speaks_first_is_not_greeted() {
    for run in shared_runs() {
        let server = chat(&run, &[]);
        let mut half = server.dial();
        half.send(b"\x16");
        let mut request = server.dial();
        request.send(b"GE");
        std::thread::sleep(std::time::Duration::from_millis(1500));
        request.send(b"T /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answer = String::from_utf8(request.rest()).expect("UTF-8");
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nok\n"), "{run}: {answer}");
        half.end();
        let mut said = Vec::new();
        half.read_to_end(&mut said).expect("an end in order");
        assert!(!String::from_utf8_lossy(&said).contains("name"), "{run}: {said:?}");
        server.stop();
    }
}
