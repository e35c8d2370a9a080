//! `sequential`: one client at a time, the others in the backlog, and nobody keeps the place for ever.
use rustix::process::Signal;
use std::{
    io::{ErrorKind, Read},
    thread,
    time::Duration,
};
use tests::{
    conn::{Conn, Folder, datagram, udp},
    process,
    server::Server,
};

const HELLO: &str = "안녕하세요, 서버!";

fn start(service: &str, more: &[&str]) -> Server {
    Server::start([&[service, "--model", "sequential", "-v"], more].concat())
}

/// Nothing has come so far.
#[track_caller]
fn check_waits(peer: &Conn) {
    let Conn::Tcp(stream) = peer else { panic!("TCP") };
    stream.set_nonblocking(true).expect("an option");
    let came = (&*stream).read(&mut [0; 9]).map_err(|error| error.kind());
    stream.set_nonblocking(false).expect("an option");
    assert_eq!(came, Err(ErrorKind::WouldBlock), "it waits");
}

#[test]
fn who_comes_later_waits_and_is_served_in_order() {
    let mut server = start("echo", &["127.0.0.1:0"]);
    let mut peers: Vec<_> = (0..20).map(|_| server.dial()).collect();
    for peer in &mut peers {
        peer.send(HELLO);
    }
    let mut waiting = peers.into_iter();
    for _ in 0..20 {
        let mut peer = waiting.next().expect("one more");
        assert_eq!(peer.get(HELLO.len()), HELLO.as_bytes());
        waiting.as_slice().iter().for_each(check_waits);
        peer.end();
        assert_eq!(peer.rest(), b"");
        server.line(&["closed", "reason=done"]);
    }
    assert_eq!(server.count(&["all places are taken"]), 0, "waiting is how this model works");
    server.stop();
}

#[test]
fn an_idle_client_is_cut_for_the_next() {
    let mut server = start("echo", &["127.0.0.1:0", "--hold-idle", "300ms"]);
    let (mut idle, mut next) = (server.dial(), server.dial());
    next.send(HELLO);
    assert_eq!(next.get(HELLO.len()), HELLO.as_bytes());
    server.line(&["closed", "reason=idle"]);
    assert_eq!(idle.rest(), b"", "an end in order");
    server.stop();
}

#[test]
fn who_talks_on_and_on_is_cut_for_the_next() {
    let mut server = start("echo", &["127.0.0.1:0", "--hold-idle", "1m", "--hold-time", "500ms"]);
    let mut talker = server.dial();
    assert_eq!(talker.echoed("x"), b"x");
    let mut next = server.dial();
    next.send(HELLO);
    thread::scope(|scope| {
        scope.spawn(|| {
            use std::io::Write;
            // Little by little, so that it is never idle.
            while talker.write_all(b"x").is_ok() && talker.read(&mut [0; 9]).is_ok_and(|count| count > 0) {
                thread::sleep(Duration::from_millis(10));
            }
        });
        assert_eq!(next.get(HELLO.len()), HELLO.as_bytes());
    });
    server.line(&["closed", "reason=limit", "hold_time"]);
    server.stop();
}

#[test]
fn a_hog_is_cut_for_the_next_whether_it_reads_or_not() {
    for reads in [true, false] {
        // The hard mark is far away: it is the place that is fought for.
        let mut server = start("chargen", &["127.0.0.1:0", "--hold-time", "500ms", "--stall", "1s"]);
        let mut hog = server.dial();
        hog.get(74);
        let mut next = server.dial();
        thread::scope(|scope| {
            if reads {
                scope.spawn(|| while hog.read(&mut [0; 65_536]).is_ok_and(|count| count > 0) {});
            }
            let line: Vec<u8> = (0..72).map(|place| b' ' + place).chain(*b"\r\n").collect();
            assert_eq!(next.get(74), line);
            server.line(&["closed"]);
            drop(next);
        });
        server.stop();
    }
}

#[test]
fn who_is_alone_may_stay() {
    let server = start("echo", &["127.0.0.1:0", "--hold-idle", "100ms", "--hold-time", "200ms"]);
    let mut peer = server.dial();
    for _ in 0..5 {
        assert_eq!(peer.echoed(HELLO), HELLO.as_bytes());
        thread::sleep(Duration::from_millis(150));
    }
    assert_eq!(server.count(&["closed"]), 0);
    let mut next = server.dial();
    assert_eq!(next.echoed(HELLO), HELLO.as_bytes(), "now it has to go");
    assert_eq!(peer.rest(), b"");
    server.stop();
}

#[test]
fn waiting_for_a_client_or_on_one_costs_nothing() {
    let server = start("echo", &["127.0.0.1:0", "udp://127.0.0.1:0", "--hold-time", "100ms"]);
    let rests = |what: &str| {
        let before = server.cpu();
        thread::sleep(Duration::from_secs(1));
        assert!(server.cpu() - before < Duration::from_millis(500), "{what}");
    };
    rests("nobody is there");
    let mut peer = server.dial();
    peer.echoed("x");
    rests("somebody is, and its time is over");
    server.stop();
}

#[test]
fn datagrams_wait_for_no_connection() {
    let server = start("echo", &["127.0.0.1:0", "udp://127.0.0.1:0"]);
    let mut peer = server.dial();
    peer.echoed(HELLO);
    let record = udp(&server.addresses()[1]);
    for _ in 0..3 {
        record.send(HELLO.as_bytes()).expect("sent");
        assert_eq!(datagram(&record), HELLO.as_bytes());
        assert_eq!(peer.echoed(HELLO), HELLO.as_bytes());
    }
    drop(peer);
    record.send(HELLO.as_bytes()).expect("sent");
    assert_eq!(datagram(&record), HELLO.as_bytes());
    server.stop();
}

#[test]
fn a_busy_listener_shuts_out_no_other() {
    let folder = Folder::new();
    let path = folder.unix("socket");
    let server = start("echo", &["127.0.0.1:0", "127.0.0.1:0", &path]);
    let crowd: Vec<_> = (0..50).map(|_| server.dial()).collect();
    // All of the crowd has left by the time that its turn comes; until then it is many before the others.
    let mut others: Vec<_> = server.addresses()[1..].iter().map(|at| Conn::dial(at)).collect();
    for peer in &mut others {
        peer.send(HELLO);
        peer.end();
    }
    let before = |server: &Server| server.count(&["opened"]);
    let mut crowd = crowd.into_iter();
    let first = crowd.next();
    drop(first);
    for peer in &mut others {
        let next = crowd.next();
        drop(next);
        assert_eq!(peer.rest(), HELLO.as_bytes());
    }
    assert!(before(&server) < 40, "they did not wait for the whole crowd: {}", before(&server));
    drop(crowd);
    server.stop();
}

#[test]
fn a_signal_ends_who_is_served_and_who_waits() {
    for signal in [Signal::TERM, Signal::INT] {
        let folder = Folder::new();
        let path = folder.unix("socket");
        let server = start("echo", &["127.0.0.1:0", &path, "udp://127.0.0.1:0"]);
        let mut served = server.dial();
        served.echoed("here");
        let (waiting, path_waiting) = (server.dial(), Conn::dial(&path));
        server.signal(signal);
        assert_eq!(served.rest(), b"", "an end in order");
        let done = server.end();
        assert_eq!(done.code(), Some(0), "{}", done.stderr);
        assert!(!folder.path().join("socket").exists(), "the socket's file is gone");
        drop((waiting, path_waiting));
    }
}

#[test]
fn a_room_is_refused_by_the_library_too() {
    use sotong::{
        classics::room::{RoomLimits, RoomService},
        drivers::{Model, ModelError, Options, ServeError, serve},
        net::signals::Stop,
    };
    let room = RoomService::new(RoomLimits::default());
    let stop = Stop::new().expect("descriptors");
    let refused = serve(Model::Sequential, room, Vec::new(), &Options::default(), &stop);
    let Err(ServeError::Model(why)) = refused else { panic!("{refused:?}") };
    let able = ModelError::able();
    assert!(able.contains(&Model::Threads) && !able.contains(&Model::Sequential), "{able:?}");
    let able: Vec<_> = able.into_iter().map(Model::name).collect();
    let expect =
        "the model sequential cannot run a service whose sessions send each other mail: it serves one connection";
    assert_eq!(why.to_string(), format!("{expect} at a time; {} can", able.join(", ")));
    assert_eq!(process::run(["room", "--model", "sequential"], b"").code(), Some(78));
}
