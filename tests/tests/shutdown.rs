//! How a server ends: it stops accepting, tells its sessions, drains, and leaves; a second signal does not wait.
use rustix::process::Signal;
use sotong::net::signals::SAME_SIGNAL_TIME_MAX;
use std::{
    io::{Read, Write},
    thread,
    time::Duration,
};
use tests::{
    conn::{Conn, Folder, abstract_unix, datagram, udp},
    process::noise,
    runs::{concurrent_runs, runs},
    server::Server,
};

/// What the marks hold, small, so that a peer that never reads fills its connection at once.
const SMALL_MARKS: [&str; 6] = ["--output-low", "1KiB", "--output-high", "4KiB", "--output-hard", "64KiB"];
/// A drain that does not end by itself.
const LONG_DRAIN: [&str; 4] = ["--drain", "10m", "--stall", "10m"];

/// A chargen server and a peer that has read a little and then reads no more: its output cannot drain.
fn stuck(line: Vec<String>) -> (Server, Conn) {
    let mut server = Server::start(line);
    let mut peer = server.dial();
    peer.get(74);
    // Until both kernels' buffers are full, some output still moves.
    let (mut before, mut same) = (Duration::ZERO, 0);
    server.wait_until("its output is stuck", |server| {
        thread::sleep(Duration::from_millis(100));
        let now = server.cpu();
        same = if std::mem::replace(&mut before, now) == now { same + 1 } else { 0 };
        same == 3
    });
    (server, peer)
}

#[test]
fn the_first_signal_ends_idle_connections_and_the_server() {
    for run in concurrent_runs() {
        for signal in [Signal::TERM, Signal::INT] {
            let folder = Folder::new();
            let (path, name) = (folder.unix("socket"), abstract_unix());
            let server = Server::start(run.line("echo", &["127.0.0.1:0", &path, &name, "udp://127.0.0.1:0"]));
            let mut peers: Vec<_> =
                server.addresses()[..3].iter().flat_map(|at| [at, at]).map(|at| Conn::dial(at)).collect();
            for peer in &mut peers {
                peer.echoed("here");
            }
            let record = udp(&server.addresses()[3]);
            record.send(b"here").expect("sent");
            datagram(&record);
            server.signal(signal);
            for peer in &mut peers {
                assert_eq!(peer.rest(), b"", "{run}: an end in order");
            }
            let at = server.address().to_owned();
            let done = server.end();
            assert_eq!(done.code(), Some(0), "{run}: {}", done.stderr);
            assert!(
                done.stderr.contains("sotong echo: stopping; connections have 10s to end"),
                "{run}: {}",
                done.stderr
            );
            assert!(Conn::try_dial(&at).is_err() && Conn::try_dial(&name).is_err(), "{run}: nobody listens");
            assert!(!folder.path().join("socket").exists(), "{run}: the socket's file is gone");
        }
    }
}

#[test]
fn while_it_drains_nobody_new_comes_in() {
    for run in runs() {
        let folder = Folder::new();
        let path = folder.unix("socket");
        let (mut server, mut peer) = stuck(run.line("chargen", &[&["127.0.0.1:0", &path][..], &LONG_DRAIN].concat()));
        server.signal(Signal::TERM);
        server.line(&["stopping"]);
        server.wait_until("it does not listen any more", |server| {
            Conn::try_dial(server.address()).is_err() && Conn::try_dial(&path).is_err()
        });
        assert!(!folder.path().join("socket").exists(), "{run}: the socket's file goes with the listener");
        assert!(server.runs(), "{run}: it drains");
        // The peer reads again: everything queued comes, in order, and then the end.
        let rest = peer.rest();
        let line = |number: usize| (0..72).map(move |place| b' ' + ((number + place) % 95) as u8).chain(*b"\r\n");
        assert!((1..).flat_map(line).zip(&rest).all(|(expect, byte)| expect == *byte), "{run}: another pattern");
        assert!(rest.len() > 4096, "{run}: {} bytes were queued", rest.len());
        assert_eq!(server.end().code(), Some(0), "{run}");
    }
}

#[test]
fn answers_under_way_arrive_before_the_end() {
    // No more than a closing connection reads and throws away: beyond that it may be reset.
    let noise = noise(60 << 10, 5);
    for run in runs() {
        let server = Server::start(run.line("echo", &["127.0.0.1:0"]));
        let mut peer = server.dial();
        let mut sender = peer.twin();
        thread::scope(|scope| {
            scope.spawn(|| sender.send(&noise));
            peer.get(1);
        });
        server.signal(Signal::TERM);
        let rest = peer.rest();
        assert!(noise[1..].starts_with(&rest), "{run}: what comes back is what was sent");
        assert_eq!(server.end().code(), Some(0), "{run}");
    }
}

#[test]
fn a_peer_that_never_reads_is_cut_at_the_limit_of_the_drain() {
    for run in runs() {
        let line =
            [&["127.0.0.1:0", "--log-format", "json", "--drain", "500ms", "--stall", "10m"][..], &SMALL_MARKS].concat();
        let (server, peer) = stuck(run.line("chargen", &line));
        server.signal(Signal::TERM);
        let done = server.end();
        assert_eq!(done.code(), Some(0), "{run}: {}", done.stderr);
        let stopped = done.stderr.lines().find(|line| line.contains(r#""event":"stopped""#)).expect("the last event");
        let stopped: serde_json::Value = serde_json::from_str(stopped).expect("JSON");
        assert_eq!((&stopped["cut"], &stopped["opened"]), (&1.into(), &1.into()), "{run}: {stopped}");
        drop(peer);
    }
}

#[test]
fn output_that_makes_no_progress_is_cut_before_the_limit_of_the_drain() {
    for run in runs() {
        let line = [&["127.0.0.1:0", "-v", "--drain", "10m", "--stall", "500ms"][..], &SMALL_MARKS].concat();
        let mut server = Server::start(run.line("chargen", &line));
        let mut peer = server.dial();
        peer.get(74);
        server.line(&["closed", "reason=slow"]);
        server.stop();
    }
}

#[test]
fn the_second_signal_does_not_wait() {
    for run in runs() {
        for (first, second, code) in
            [(Signal::TERM, Signal::TERM, 143), (Signal::INT, Signal::INT, 130), (Signal::TERM, Signal::INT, 130)]
        {
            let folder = Folder::new();
            let path = folder.unix("socket");
            let (mut server, _peer) = stuck(run.line("chargen", &[&["127.0.0.1:0", &path][..], &LONG_DRAIN].concat()));
            server.signal(first);
            server.line(&["stopping"]);
            assert!(server.runs(), "{run}: it drains");
            thread::sleep(SAME_SIGNAL_TIME_MAX * 2);
            server.signal(second);
            let done = server.end();
            assert_eq!(done.code(), Some(code), "{run}: {}", done.stderr);
            assert!(!folder.path().join("socket").exists(), "{run}: the socket's file is gone");
            let last = done.stderr.lines().last().expect("a line");
            assert_eq!(
                last,
                format!("error: ended by signal {} before the connections had ended.", code - 128),
                "{run}"
            );
        }
    }
}

#[test]
fn it_leaves_in_the_middle_of_everything() {
    for run in runs() {
        let server = Server::start(run.line("echo", &["127.0.0.1:0"]));
        let at = server.address().to_owned();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    // Until the server is gone: connecting, talking, leaving, resetting.
                    for turn in 0.. {
                        let Ok(mut peer) = Conn::try_dial(&at) else { return };
                        let _ = peer.write_all(b"hello").and_then(|()| peer.read_exact(&mut [0; 5]));
                        if turn % 2 == 0 {
                            peer.reset();
                        }
                    }
                });
            }
            thread::sleep(Duration::from_millis(200));
            server.stop();
        });
    }
}

#[test]
fn signals_are_heard_from_the_first_line_on() {
    for run in runs() {
        for _ in 0..10 {
            Server::start(run.line("echo", &["127.0.0.1:0", "udp://127.0.0.1:0"])).stop();
        }
    }
}
