//! WebSocket at servers and in `connect`, with programs of others as peers: Python's websockets, Node's ws, curl.
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};
use tests::{
    process::{self, HANG},
    runs::runs,
    server::Server,
    tls::CERT,
    tool::{Tool, tool},
};

const HELLO: &str = "안녕하세요, 서버!";

/// Where an address of any scheme is dialled.
fn place(address: &str) -> String {
    let rest = address.split_once("://").expect("a scheme").1;
    rest.split('/').next().expect("a host and a port").to_owned()
}

/// What is said to a server as it is, byte for byte, and all that it says until it ends.
fn talk(address: &str, words: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(place(address)).expect("it listens");
    socket.set_read_timeout(Some(HANG)).expect("a time limit");
    socket.write_all(words).expect("it takes words");
    let mut heard = Vec::new();
    let _ = socket.read_to_end(&mut heard);
    heard
}

const REQUEST: &str = "GET /chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
/// A text `hi`, a Ping and a Close with 1000, under a mask of zeros.
const FRAMES: &[u8] = b"\x81\x82\0\0\0\0hi\x89\x80\0\0\0\0\x88\x82\0\0\0\0\x03\xe8";

#[test]
fn messages_come_back_under_every_model_plain_and_over_tls() {
    for run in runs() {
        let line = ["ws://127.0.0.1:0/chat", "wss://127.0.0.1:0", "127.0.0.1:0", "--cert", CERT];
        let server = Server::start(run.line("echo", &line));
        let [ws, wss, tcp] = server.addresses() else { panic!("{run}: {:?}", server.addresses()) };
        assert!(ws.ends_with("/chat") && ws.starts_with("ws://") && wss.starts_with("wss://"), "{run}: {ws} {wss}");
        let heard = talk(ws, &[REQUEST.as_bytes(), FRAMES].concat());
        assert!(heard.starts_with(b"HTTP/1.1 101 "), "{run}: {}", heard.escape_ascii());
        assert!(heard.ends_with(b"\r\n\r\n\x81\x02hi\x8a\0\x88\x02\x03\xe8"), "{run}: {}", heard.escape_ascii());
        let words = format!("{HELLO}\n\n{}\nlast", "x".repeat(65_536));
        for (address, more) in [(ws, &[][..]), (wss, &["--ca", CERT]), (tcp, &[])] {
            let quiet: &[&str] = if address.starts_with("ws") { &["--ws-quiet", "300ms"] } else { &[] };
            let done = process::run([&["connect", address.as_str()], more, quiet].concat(), words.as_bytes());
            let end = if address.starts_with("ws") { "\n" } else { "" };
            assert_eq!(done.code(), Some(0), "{run} {address}: {}", done.stderr);
            assert!(done.stdout == format!("{words}{end}").as_bytes(), "{run} {address}: {} bytes", done.stdout.len());
        }
        server.stop();
    }
}

#[test]
fn what_is_no_web_socket_is_told_by_http() {
    let Some(curl) = tool("curl") else { return };
    let server = Server::start(["echo", "ws://127.0.0.1:0/chat"]);
    let url = format!("http://{}", place(server.address()));
    let ask = |path: &str, more: &[&str]| {
        let at = format!("{url}{path}");
        let done = curl.run([&["-s", "-i", "--max-time", "60", at.as_str()], more].concat(), b"");
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    let upgrade = ["-H", "Connection: Upgrade", "-H", "Upgrade: websocket"];
    let keyed = [&upgrade[..], &["-H", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]].concat();
    let whole = [&keyed[..], &["-H", "Sec-WebSocket-Version: 13"]].concat();
    for (path, more, status, has) in [
        ("/", vec![], "404", ""),
        ("/chat", vec![], "426", "Upgrade: websocket"),
        ("/chat", keyed, "426", "Sec-WebSocket-Version: 13"),
        ("/chat", [&upgrade[..], &["-H", "Sec-WebSocket-Version: 13"]].concat(), "400", "Sec-WebSocket-Key"),
        ("/chat", [&whole[..], &["-H", "Origin: https://evil.test"]].concat(), "403", "origin"),
        ("/chat", [&whole[..], &["-X", "POST"]].concat(), "405", "Allow: GET"),
    ] {
        let heard = ask(path, &more);
        assert!(heard.starts_with(&format!("HTTP/1.1 {status} ")) && heard.contains(has), "{path} {more:?}: {heard}");
    }
    server.stop();
}

#[test]
fn connect_tells_why_there_is_no_web_socket() {
    let server = Server::start(["echo", "ws://127.0.0.1:0/chat"]);
    let at = place(server.address());
    let run = |path: &str, more: &[&str], input: &[u8]| {
        let address = format!("ws://{at}{path}");
        let line = [&["connect", address.as_str(), "--ws-quiet", "300ms"], more].concat();
        let done = process::run(line, input);
        (done.code(), done.stderr.clone(), done.stdout.clone())
    };
    let (code, said, _) = run("/other", &[], b"");
    assert!(code == Some(69) && said.contains("404 Not Found"), "{code:?} {said}");
    let (code, said, _) = run("/chat", &["-H", "Origin: https://evil.test"], b"");
    assert!(code == Some(77) && said.contains("403 Forbidden"), "{code:?} {said}");
    let own = format!("Origin: http://{at}");
    assert_eq!(run("/chat", &["-H", &own, "--ws-deflate"], b"hi\n").2, b"hi\n", "not agreed on, and not needed");
    let (code, said, _) = run("/chat", &[], b"ok\n\xff\xfe\n");
    assert!(code == Some(65) && said.contains("--blocks"), "{code:?} {said}");
    assert_eq!(run("/chat", &["-b"], b"ok\n\xff\xfe\n"), (Some(0), String::new(), b"ok\n\xff\xfe\n".to_vec()));
    let (code, said, _) = run("/chat", &["--crlf"], b"");
    assert!(code == Some(2) && said.contains("--crlf"), "{code:?} {said}");
    let done = process::run(["connect", &format!("tcp://{at}"), "--blocks"], b"");
    assert_eq!(done.code(), Some(2), "{}", done.stderr);
    // A message longer than the server takes is told by its code.
    let long = vec![b'x'; 70_000];
    let (code, said, _) = run("/chat", &[], &long);
    assert!(code == Some(76) && said.contains("1009"), "{code:?} {said}");
    server.stop();
}

/// Python, if it has the library; a printed line if not.
fn python() -> Option<Tool> {
    let python = tool("python3")?;
    let has = python.run(["-c", "import websockets"], b"").code() == Some(0);
    if !has {
        println!("skipped: Python has no websockets");
    }
    has.then_some(python)
}

const PYTHON: &str = r#"
import asyncio, sys, websockets

async def main(uri, compression):
    async with websockets.connect(uri, compression=compression, max_size=None) as ws:
        messages = ["하나", "", b"\xff\x00" * 100, "x" * 65536, b"y" * 65536, "소통 " * 5000]
        for message in messages:
            await ws.send(message)
        for message in messages:
            heard = await asyncio.wait_for(ws.recv(), 60)
            assert heard == message and type(heard) == type(message), (heard[:20], message[:20])
        await ws.send(iter(["조", "각", "들"]))
        assert await asyncio.wait_for(ws.recv(), 60) == "조각들"
        await asyncio.wait_for(await ws.ping(), 60)
    # 10 and later have this beside older names.
    assert ws.close_code == 1000, ws.close_code
    ws = await websockets.connect(uri, compression=compression)
    await ws.send("z" * 70000)
    try:
        await asyncio.wait_for(ws.recv(), 60)
        raise SystemExit("a message of 70,000 bytes was taken")
    except websockets.ConnectionClosed:
        assert ws.close_code == 1009, ws.close_code

asyncio.run(main(sys.argv[1], None if sys.argv[2] == "plain" else "deflate"))
print("done")
"#;

#[test]
fn python_is_a_client_under_every_model() {
    let Some(python) = python() else { return };
    for run in runs() {
        let server = Server::start(run.line("echo", &["ws://127.0.0.1:0", "--ws-deflate"]));
        for form in ["plain", "compressed"] {
            let done = python.run(["-c", PYTHON, server.address(), form], b"");
            assert_eq!(String::from_utf8_lossy(&done.stdout), "done\n", "{run} {form}: {}", done.stderr);
        }
        server.stop();
    }
}

const SERVER: &str = r#"
import asyncio, websockets

async def serve(ws, *rest):
    async for message in ws:
        if message == "leave":
            await ws.close(4004, "no such room")
            return
        if message == "break":
            ws.transport.abort()
            return
        if message == "long":
            await ws.send("l" * 1000000)
            continue
        if message == "parts":
            await ws.send(iter(["a", "b"]))
            continue
        await asyncio.sleep(0.5)
        await ws.send(message if isinstance(message, str) else b"<" + message + b">")

async def main():
    async with websockets.serve(serve, "127.0.0.1", 0, subprotocols=["two"], compression="deflate", max_size=None) as server:
        print("tcp://127.0.0.1:%d" % server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Future()

asyncio.run(main())
"#;

#[test]
fn python_is_a_server() {
    let Some(python) = python() else { return };
    let server = python.start(["-u", "-c", SERVER]);
    let text = server.wait_printed("its port", |text| text.contains('\n'));
    let address = text.trim().replace("tcp://", "ws://");
    let run = |more: &[&str], input: &[u8]| {
        process::run([&["connect", "--ws-protocol", "one,two", address.as_str()], more].concat(), input)
    };
    for more in [&[][..], &["--ws-deflate"]] {
        let done = run(more, format!("{HELLO}\nlong\nparts\n").as_bytes());
        let expect = format!("{HELLO}\n{}\nab\n", "l".repeat(1_000_000));
        assert!(done.stdout == expect.as_bytes(), "{more:?}: {} bytes, {}", done.stdout.len(), done.stderr);
        assert_eq!(done.code(), Some(0), "{more:?}: {}", done.stderr);
    }
    // A line longer than any buffer is one message.
    let long = "가".repeat(300_000);
    assert!(run(&[], format!("{long}\n").as_bytes()).stdout == format!("{long}\n").as_bytes(), "it was split");
    assert_eq!(run(&["-m", HELLO], b"").stdout, format!("{HELLO}\n").as_bytes());
    assert_eq!(run(&["--blocks"], b"a\nb").stdout, b"<a\nb>");
    let done = run(&[], b"leave\n");
    assert!(
        done.code() == Some(76) && done.stderr.contains("4004") && done.stderr.contains("no such room"),
        "{}",
        done.stderr
    );
    let done = run(&[], b"break\n");
    assert!(done.code() == Some(76), "{:?} {}", done.code(), done.stderr);
}

const NODE: &str = r#"
const { WebSocket } = require("ws");
const ws = new WebSocket(process.argv[1], { perMessageDeflate: process.argv[2] !== "plain" });
const messages = [["하나", false], ["", false], [Buffer.alloc(300, 255), true], ["x".repeat(65536), false]];
let heard = 0;
ws.on("open", () => messages.forEach(([data]) => ws.send(data)));
ws.on("message", (data, isBinary) => {
  const [expect, binary] = messages[heard++];
  if (isBinary !== binary || !Buffer.from(expect).equals(data)) throw new Error("message " + heard);
  if (heard === messages.length) { ws.ping("?"); }
});
ws.on("pong", (data) => { if (String(data) !== "?") throw new Error("pong"); ws.close(1000); });
ws.on("close", (code) => console.log(code));
ws.on("error", (error) => { console.error(error); process.exit(1); });
"#;

#[test]
fn node_is_a_client() {
    let has = std::process::Command::new("node").args(["-e", "require('ws')"]).output();
    let Some(node) = has.is_ok_and(|done| done.status.success()).then(|| tool("node")).flatten() else {
        println!("skipped: Node has no ws");
        return;
    };
    let server = Server::start(["echo", "ws://127.0.0.1:0", "--ws-deflate"]);
    for form in ["plain", "compressed"] {
        let done = node.run(["-e", NODE, server.address(), form], b"");
        assert_eq!(String::from_utf8_lossy(&done.stdout), "1000\n", "{form}: {}", done.stderr);
    }
    server.stop();
}

#[test]
fn a_room_has_people_with_web_sockets_beside_those_with_nc() {
    let server = Server::start(["room", "127.0.0.1:0", "ws://127.0.0.1:0"]);
    let [tcp, ws] = server.addresses() else { panic!("{:?}", server.addresses()) };
    let start = |address: &str, name: &str| {
        let mut person = process::start(["connect", address]);
        person.say(format!("{name}\n").as_bytes());
        person
    };
    let mut one = start(tcp, "one");
    one.wait_for("one");
    let mut two = start(ws, "two");
    one.wait_for("two");
    two.say("소켓에서\n".as_bytes());
    one.wait_for("소켓에서");
    one.say("줄에서\n".as_bytes());
    two.wait_for("줄에서");
    assert_eq!(two.finish().code(), Some(0));
    assert_eq!(one.finish().code(), Some(0));
    server.stop();
}
