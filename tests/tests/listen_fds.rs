//! Listeners passed in by a service manager: the LISTEN_FDS protocol, as systemd and s6 speak it.
use std::{net::TcpListener, process::Command};
use tests::{
    conn::{Conn, Folder, datagram, udp},
    process,
    runs::{Run, runs},
    server::Server,
    tls::CERT,
    tool::{Tool, tool},
};

const HELLO: &str = "안녕하세요, 서버!";

/// Binds what its first argument names, a word each, and becomes the rest of its arguments.
const MANAGER: &str = r#"
import os, socket, sys

def bound(what):
    kind, _, at = what.partition("=")
    if kind == "unix":
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.bind(at.replace("@", "\0"))
    else:
        family = socket.AF_INET6 if ":" in at else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
        sock.bind((at, 0))
    if kind in ("tcp", "unix"):
        sock.listen(100)
    return sock

socks = [bound(what) for what in sys.argv[1].split()]
# Out of the way first, so that none is closed by what takes its number.
copies = [os.dup2(sock.fileno(), 100 + place) for place, sock in enumerate(socks)]
for place, copy in enumerate(copies):
    os.dup2(copy, 3 + place, inheritable=True)
os.environ.update(LISTEN_FDS=str(len(socks)), LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES="a:b")
os.execv(sys.argv[2], sys.argv[2:])
"#;

/// `sotong`, started by a manager that has bound `what`.
fn managed(python: Tool, what: &str, line: &[String]) -> Command {
    let mut command = python.command(["-c", MANAGER, what]);
    command.arg(process::sotong()).args(line);
    command
}

fn check_served(run: &Run, address: &str) {
    if address.starts_with("udp://") {
        for _ in 0..3 {
            let peer = udp(address);
            peer.send(HELLO.as_bytes()).expect("sent");
            assert_eq!(datagram(&peer), HELLO.as_bytes(), "{run}: {address}");
        }
    } else {
        assert_eq!(Conn::dial(address).echoed(HELLO), HELLO.as_bytes(), "{run}: {address}");
    }
}

#[test]
fn passed_listeners_are_served_in_their_order() {
    let Some(python) = tool("python3") else { return };
    for run in runs() {
        let folder = Folder::new();
        let path = folder.path().join("socket");
        let what = format!("tcp=127.0.0.1 unix={} udp=127.0.0.1 tcp=127.0.0.1", path.display());
        let server = Server::start_by(managed(python, &what, &run.line("echo", &[])));
        let schemes: Vec<_> = server.addresses().iter().map(|at| at.split(':').next().expect("a scheme")).collect();
        assert_eq!(schemes, ["tcp", "unix", "udp", "tcp"], "{run}");
        for address in server.addresses() {
            check_served(&run, address);
        }
        server.stop();
        assert!(path.exists(), "{run}: the file belongs to who made it");
    }
}

#[test]
fn passed_listeners_take_the_place_of_the_addresses() {
    let Some(python) = tool("python3") else { return };
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = taken.local_addr().expect("an address").to_string();
    for run in runs() {
        let server = Server::start_by(managed(python, "tcp=127.0.0.1", &run.line("echo", &[&at])));
        assert_eq!(server.addresses().len(), 1, "{run}: {:?}", server.addresses());
        check_served(&run, server.address());
        server.stop();
    }
}

/// systemd calls them so by `FileDescriptorName=tls`.
#[test]
fn tls_is_spoken_where_the_manager_says_so() {
    let Some(python) = tool("python3") else { return };
    for run in runs() {
        let what = "tcp=127.0.0.1 tcp=127.0.0.1";
        let named = MANAGER.replace("\"a:b\"", "\"plain:tls\"");
        let mut command = python.command(["-c", &named, what]);
        command.arg(process::sotong()).args(run.line("echo", &["--cert", CERT]));
        let server = Server::start_by(command);
        let schemes: Vec<_> = server.addresses().iter().map(|at| at.split(':').next().expect("a scheme")).collect();
        assert_eq!(schemes, ["tcp", "tls"], "{run}");
        for address in server.addresses() {
            check_served(&run, address);
        }
        server.stop();
    }
}

#[test]
fn connections_that_came_before_the_server_are_served() {
    let Some(python) = tool("python3") else { return };
    for run in runs() {
        let folder = Folder::new();
        let address = folder.unix("socket");
        // Connects to what it has bound, and keeps that open across its own end.
        let early = MANAGER.replace(
            "# Out of the way",
            "early = socket.socket(socket.AF_UNIX)\nearly.connect(sys.argv[1][5:])\nearly.sendall(b'early')\n\
             early.set_inheritable(True)\n# Out of the way",
        );
        let mut command = python.command(["-c", &early, &format!("unix={}", &address[5..])]);
        command.arg(process::sotong()).args(run.line("echo", &["-vv"]));
        let mut server = Server::start_by(command);
        server.line(&["received", "early"]);
        server.line(&["sent", "early"]);
        check_served(&run, server.address());
        server.stop();
    }
}

#[test]
fn what_is_meant_for_another_process_is_left_alone() {
    for run in runs() {
        let mut command = process::command(run.line("echo", &["127.0.0.1:0"]));
        command.env("LISTEN_FDS", "1").env("LISTEN_PID", "1");
        let server = Server::start_by(command);
        check_served(&run, server.address());
        server.stop();
    }
}

#[test]
fn what_cannot_be_listened_on_is_refused() {
    let Some(python) = tool("python3") else { return };
    for (what, fd) in [("loose=127.0.0.1", 3), ("tcp=127.0.0.1 loose=127.0.0.1", 4)] {
        let line = ["echo".to_owned(), "--lang".to_owned(), "en".to_owned()];
        let done = process::start_with(&mut managed(python, what, &line)).wait();
        let expect = format!(
            "error: the listeners passed by LISTEN_FDS cannot be used: descriptor {fd} is no listening TCP or Unix socket \
             and no UDP socket.\n"
        );
        assert_eq!((done.stderr, done.status.code()), (expect, Some(78)), "{what}");
    }
}
