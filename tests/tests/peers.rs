//! Programs of others talk to the server, each as its users do.
use tests::{
    conn::{Folder, abstract_unix},
    person::Person,
    process::Running,
    runs::{Run, concurrent_runs, runs, shared_runs},
    server::Server,
    tool::tool,
};

const HELLO: &str = "안녕하세요, 서버!";

/// An echo server on every wire, under every model.
fn each_echo(check: impl Fn(&Run, &Ways)) {
    let folder = Folder::new();
    for (number, run) in runs().iter().enumerate() {
        let (path, name) = (folder.unix(&number.to_string()), abstract_unix());
        let server = Server::start(run.line("echo", &["127.0.0.1:0", "udp://127.0.0.1:0", &path, &name]));
        let port = |at: usize| server.addresses()[at].rsplit_once(':').expect("a port").1.to_owned();
        let bare = |address: &str| address.strip_prefix("unix:").expect("a Unix socket").to_owned();
        check(run, &Ways { tcp: port(0), udp: port(1), path: bare(&path), name: bare(&name)[1..].to_owned() });
        server.stop();
    }
}

/// How to reach a server: its ports, its path and its abstract name.
struct Ways {
    tcp: String,
    udp: String,
    path: String,
    name: String,
}

/// A tool for datagrams says something and hears it; when it would leave is its own matter.
fn check_talk(run: &Run, mut running: Running, what: &str) {
    running.say(HELLO.as_bytes());
    running.wait_for(HELLO);
    assert_eq!(String::from_utf8_lossy(&running.printed()), HELLO, "{run}: {what}");
}

/// As a tutorial writes it: blocking, one receive, no half-close.
const TUTORIAL: &str = r#"
import socket, sys

sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
sock.connect(("127.0.0.1", int(sys.argv[1])))
sock.sendall("안녕하세요, 서버!".encode())
data = sock.recv(1024)
print(data.decode())
sock.close()
"#;

const ASYNCIO: &str = r#"
import asyncio, sys

async def talk(number):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(sys.argv[1]))
    for line in range(20):
        text = f"{number}번의 {line}째 줄\n".encode()
        writer.write(text)
        await writer.drain()
        assert await reader.readline() == text
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()

async def main():
    await asyncio.gather(*(talk(number) for number in range(50)))
    print("done")

asyncio.run(main())
"#;

const DATAGRAMS: &str = r#"
import socket, sys

sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(30)
for text in ("안녕하세요, 서버!", "", "둘째"):
    sock.sendto(text.encode(), ("127.0.0.1", int(sys.argv[1])))
    data, address = sock.recvfrom(1024)
    print(data.decode())
"#;

const UNIX: &str = r#"
import socket, sys

for path in (sys.argv[1], "\0" + sys.argv[2]):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.connect(path)
        sock.sendall("안녕하세요, 서버!".encode())
        sock.shutdown(socket.SHUT_WR)
        print(sock.makefile().read())
"#;

#[test]
fn python_as_a_tutorial_writes_it() {
    let Some(python) = tool("python3") else { return };
    each_echo(|run, to| {
        let done = python.run(["-c", TUTORIAL, &to.tcp], b"");
        assert_eq!(
            (String::from_utf8_lossy(&done.stdout).trim_end(), done.code()),
            (HELLO, Some(0)),
            "{run}: {done:?}"
        );
    });
}

#[test]
fn python_with_asyncio_datagrams_and_unix_sockets() {
    let Some(python) = tool("python3") else { return };
    each_echo(|run, to| {
        // Its fifty connections say nothing before all of them are made: one after the other is not enough.
        let asyncio = concurrent_runs().contains(run).then(|| (ASYNCIO, vec![&to.tcp], "done\n".to_owned()));
        let others = [
            (DATAGRAMS, vec![&to.udp], format!("{HELLO}\n\n둘째\n")),
            (UNIX, vec![&to.path, &to.name], format!("{HELLO}\n{HELLO}\n")),
        ];
        for (script, args, expect) in asyncio.into_iter().chain(others) {
            let done = python.run(["-c", script].into_iter().chain(args.into_iter().map(String::as_str)), b"");
            assert_eq!(
                (String::from_utf8_lossy(&done.stdout), done.code()),
                (expect.into(), Some(0)),
                "{run}: {done:?}"
            );
        }
    });
}

#[test]
fn netcat_of_openbsd() {
    let Some(nc) = tool("nc") else { return };
    each_echo(|run, to| {
        for args in [vec!["-N", "127.0.0.1", &to.tcp], vec!["-N", "localhost", &to.tcp], vec!["-N", "-U", &to.path]] {
            let done = nc.run(&args, HELLO.as_bytes());
            assert_eq!(
                (String::from_utf8_lossy(&done.stdout), done.code()),
                (HELLO.into(), Some(0)),
                "{run}: {args:?}"
            );
        }
        check_talk(run, nc.start(["-u", "127.0.0.1", &to.udp]), "nc -u");
        // Without -N it waits for the server's end, which a person ends by Ctrl-C: the answer is there before.
        check_talk(run, nc.start(["127.0.0.1", &to.tcp]), "nc");
        assert_eq!(nc.run(["-z", "127.0.0.1", &to.tcp], b"").code(), Some(0), "{run}: nc -z");
    });
}

#[test]
fn ncat_of_nmap() {
    let Some(ncat) = tool("ncat") else { return };
    each_echo(|run, to| {
        for args in [vec!["127.0.0.1", &to.tcp], vec!["-U", &to.path]] {
            let done = ncat.run(&args, HELLO.as_bytes());
            assert_eq!(
                (String::from_utf8_lossy(&done.stdout), done.code()),
                (HELLO.into(), Some(0)),
                "{run}: {args:?}"
            );
        }
        check_talk(run, ncat.start(["-u", "127.0.0.1", &to.udp]), "ncat -u");
    });
}

#[test]
fn socat_on_every_wire() {
    let Some(socat) = tool("socat") else { return };
    each_echo(|run, to| {
        for address in [
            format!("TCP:127.0.0.1:{}", to.tcp),
            format!("UNIX-CONNECT:{}", to.path),
            format!("ABSTRACT-CONNECT:{}", to.name),
        ] {
            let done = socat.run(["-t30", "-", &address], HELLO.as_bytes());
            assert_eq!(
                (String::from_utf8_lossy(&done.stdout), done.code()),
                (HELLO.into(), Some(0)),
                "{run}: {address}"
            );
        }
        check_talk(run, socat.start(["-", &format!("UDP:127.0.0.1:{}", to.udp)]), "socat UDP");
    });
}

#[test]
fn a_megabyte_through_each_of_them() {
    let bytes = tests::process::noise(1 << 20, 3);
    for (name, flags) in [("nc", &["-N"][..]), ("ncat", &[]), ("socat", &["-t30", "-"])] {
        let Some(tool) = tool(name) else { continue };
        each_echo(|run, to| {
            let mut args: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
            match name {
                "socat" => args.push(format!("TCP:127.0.0.1:{}", to.tcp)),
                _ => args.extend(["127.0.0.1".to_owned(), to.tcp.clone()]),
            }
            let done = tool.run(&args, &bytes);
            assert_eq!(done.code(), Some(0), "{run}: {name}: {}", done.stderr);
            assert!(done.stdout == bytes, "{run}: {name}: {} bytes came back", done.stdout.len());
        });
    }
}

#[test]
fn people_with_different_tools_are_in_one_room() {
    let (Some(nc), Some(ncat), Some(socat)) = (tool("nc"), tool("ncat"), tool("socat")) else { return };
    let folder = Folder::new();
    for (number, run) in shared_runs().iter().enumerate() {
        let path = folder.unix(&number.to_string());
        let server = Server::start(run.line("room", &["127.0.0.1:0", "udp://127.0.0.1:0", &path]));
        let udp = server.addresses()[1].rsplit_once(':').expect("a port").1;
        let mut watcher = Person::enter(server.address(), "보는이");
        let mut people = vec![
            ("민수", nc.start(["127.0.0.1", server.port()])),
            ("영희", ncat.start(["127.0.0.1", server.port()])),
            ("철수", socat.start(["-", &format!("UNIX-CONNECT:{}", &path["unix:".len()..])])),
            ("수진", nc.start(["-u", "127.0.0.1", udp])),
            ("telnet", socat.start(["-", &format!("TCP:127.0.0.1:{},crnl", server.port())])),
        ];
        for (name, person) in &mut people {
            person.say(format!("{name}\n").as_bytes());
            person.wait_for(&format!("* Welcome, {name}. "));
            assert_eq!(watcher.hear(), format!("* {name} has joined"), "{run}");
        }
        for speaker in 0..people.len() {
            let (name, person) = &mut people[speaker];
            let line = format!("{name}: {name}의 말, 안녕!");
            person.say(format!("{name}의 말, 안녕!\n").as_bytes());
            assert_eq!(watcher.hear(), line, "{run}");
            for (_, person) in people.iter().enumerate().filter(|(other, _)| *other != speaker).map(|(_, entry)| entry)
            {
                person.wait_for(&format!("{line}\n"));
            }
        }
        drop(people);
        server.stop();
    }
}

#[test]
fn lines_that_end_as_telnet_sends_them() {
    for run in shared_runs() {
        let server = Server::start(run.line("room", &["127.0.0.1:0"]));
        let mut watcher = Person::enter(server.address(), "watcher");
        let mut telnet = Person::knock(server.address());
        telnet.conn().send("텔넷\r\n");
        assert_eq!(telnet.hear(), "* Welcome, 텔넷. /help lists the commands.");
        assert_eq!(telnet.hear(), "* Here: watcher");
        assert_eq!(watcher.hear(), "* 텔넷 has joined");
        telnet.conn().send("CR LF\r\nLF\nboth\r\n\r\n\n");
        // Split between CR and LF: two writes, which may be one or two reads.
        telnet.conn().send("cut\r");
        telnet.conn().send("\n/who\r\n");
        for line in ["CR LF", "LF", "both", "cut"] {
            assert_eq!(watcher.hear(), format!("텔넷: {line}"), "{run}");
        }
        assert_eq!(telnet.hear(), "* Here: watcher, 텔넷", "a command is one with CR LF too");
        server.stop();
    }
}

#[test]
fn a_peer_that_speaks_tls_to_a_plain_port_harms_nobody() {
    let Some(openssl) = tool("openssl") else { return };
    for run in runs() {
        let mut server = Server::start(run.line("echo", &["127.0.0.1:0", "-vv"]));
        let to = format!("127.0.0.1:{}", server.port());
        // It hears its own greeting, which is no server's.
        assert_ne!(openssl.run(["s_client", "-connect", &to], b"").code(), Some(0), "{run}");
        server.line(&["received", "hex=\"16 03 01"]);
        assert_eq!(server.dial().echoed(HELLO), HELLO.as_bytes(), "{run}");
        server.stop();
    }
}
