//! The load of chats: what is right passes, what a server does wrong is seen, and the command goes from end to end.
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::{Arc, Mutex, atomic::AtomicBool},
    thread,
    time::Duration,
};

use bench::{
    chat::{Lists, Run, Shape, joins, talk, visit},
    load::LoadError,
    proc::Tree,
};
use sotong::{
    chat::{ChatLimits, ChatOptions, ChatService},
    drivers::{Model, Options, serve_streams},
    net::{
        listen::{Bound, listen},
        signals::Stop,
    },
};

const LENGTH: Duration = Duration::from_millis(50);
static RUN_ON: AtomicBool = AtomicBool::new(false);
const SHAPES: [Shape; 3] = [
    Shape { clients: 12, rooms: 1, all: false, ahead: 64 },
    Shape { clients: 12, rooms: 1, all: false, ahead: 1 },
    Shape { clients: 20, rooms: 2, all: true, ahead: 1 },
];

fn own() -> Tree {
    Tree::new(std::process::id())
}

/// Lets the server leave, also where a test has failed.
struct Leaves<'a>(&'a Stop);
impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// Sotong's chat in this process, while `play` runs.
fn with_chat(model: Model, play: impl FnOnce(SocketAddr)) {
    let bound = listen(&["127.0.0.1:0".parse().unwrap()], &Default::default()).unwrap();
    let Some(Bound::Stream(listener)) = bound.into_iter().next() else { panic!("a listener of a stream") };
    let address = listener.endpoint().to_string().trim_start_matches("tcp://").parse().unwrap();
    let stop = Stop::new().unwrap();
    let limits = ChatLimits { flood_control: false, ..ChatLimits::default() };
    let service = ChatService::new(ChatOptions { limits, ..ChatOptions::default() });
    let options = Options { workers: 2, ..Options::default() };
    thread::scope(|scope| {
        let server = scope.spawn(|| serve_streams(model, service, vec![listener], Vec::new(), &options, &stop));
        let leaves = Leaves(&stop);
        play(address);
        drop(leaves);
        server.join().unwrap().unwrap();
    });
}

#[test]
fn the_chat_loses_doubles_and_swaps_nothing() {
    // A chat for each: those who played before may not be gone yet, and their nicks are taken.
    for shape in SHAPES {
        with_chat(Model::Epoll, |address| {
            let tally = talk((address, own()), shape, LENGTH, &RUN_ON).unwrap_or_else(|why| panic!("{shape:?}: {why}"));
            assert!(tally.messages > 0, "{shape:?}");
        });
    }
    with_chat(Model::Epoll, |address| {
        assert_eq!(joins((address, own()), 20, Lists::Names, &RUN_ON).unwrap().messages, 20);
        assert!(visit((address, own()), 4, LENGTH, &RUN_ON).unwrap().messages > 0);
    });
}

/// A relay that knows one room and loses, doubles or swaps what `spoil` says of each message to each receiver.
fn spoiled(spoil: impl Fn(&str) -> Vec<String> + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let room: Arc<Mutex<Vec<(usize, TcpStream)>>> = Arc::default();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
            let (room, spoil) = (Arc::clone(&room), spoil.clone());
            thread::spawn(move || {
                let mut out = stream.try_clone().unwrap();
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let answer = match line.split(' ').next() {
                        Some("USER") => ":s 422 b :No MOTD\r\n",
                        Some("PING") => ":s PONG s :settle\r\n",
                        Some("JOIN") => {
                            room.lock().unwrap().push((number, out.try_clone().unwrap()));
                            ":s 366 b #r0 :End of NAMES list\r\n"
                        }
                        Some("PRIVMSG") => {
                            for (_, other) in room.lock().unwrap().iter().filter(|(other, _)| *other != number) {
                                for line in spoil(&line) {
                                    // The load may have left already.
                                    let _ = write!(&*other, ":b{number}!u@h {line}\r\n");
                                }
                            }
                            continue;
                        }
                        _ => continue,
                    };
                    let _ = out.write_all(answer.as_bytes());
                }
            });
        }
    });
    address
}

#[test]
fn what_is_lost_doubled_or_changed_is_seen() {
    let shape = Shape { clients: 3, rooms: 1, all: false, ahead: 4 };
    let played = |address| talk((address, own()), shape, LENGTH, &RUN_ON);
    assert!(played(spoiled(|line| vec![line.to_owned()])).unwrap().messages > 0, "a relay that is right");
    let third = |line: &str| line.contains("0000000003");
    let faults: [fn(&str) -> Vec<String>; 3] = [
        |line| vec![line.to_owned(); 2],
        |line| vec![line.replace("....", "...,")],
        |line| if line.contains("0000000002") { vec![] } else { vec![line.to_owned()] },
    ];
    for fault in faults {
        let spoil = move |line: &str| {
            if third(line) || line.contains("0000000002") { fault(line) } else { vec![line.to_owned()] }
        };
        let found = played(spoiled(spoil));
        assert!(matches!(found, Err(LoadError::Wrong { number: 2..=3, .. })), "{found:?}");
    }
}

#[test]
fn the_command_measures_the_bare_relay() {
    let folder = std::env::temp_dir().join(format!("sotong-bench-chat-test-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("chat.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.args(["chat", "--smoke", "--no-build", "--servers", "relay", "--json"]).arg(&path);
    let output = command.output().unwrap();
    let run = Run::read(&path);
    fs::remove_dir_all(&folder).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(run.unwrap().cells.len(), 6, "a figure for each workload");
}
