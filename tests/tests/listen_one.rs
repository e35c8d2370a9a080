//! `sotong listen` without `-k`: one client, then the end; and its exit codes.
use rustix::process::Signal;
use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream, UdpSocket},
    thread,
    time::Duration,
};
use tests::process::{HANG, Running, listener, run, start};

fn join(listening: &Running) -> TcpStream {
    let stream = TcpStream::connect(listening.place()).unwrap();
    stream.set_read_timeout(Some(HANG)).unwrap();
    stream
}

#[test]
fn one_client_is_served_and_the_port_is_free_again() {
    let mut listening = start(["listen", "127.0.0.1:0"]);
    let place = listening.place();
    let mut stream = join(&listening);
    stream.write_all(b"from the client").unwrap();
    listening.wait_for("from the client");
    assert!(TcpStream::connect(&place).is_err(), "nobody else is let in");
    listening.say(b"from the listener");
    listening.end_input();
    let mut got = String::new();
    stream.read_to_string(&mut got).unwrap();
    assert_eq!(got, "from the listener");
    thread::sleep(Duration::from_millis(300));
    stream.write_all(b", late").unwrap();
    drop(stream);
    let done = listening.wait();
    assert_eq!((done.code(), done.stdout), (Some(0), b"from the client, late".to_vec()));
    assert_eq!(done.stderr, format!("sotong listen: listening on tcp://{place}\n"));
    TcpListener::bind(place).unwrap();
}

#[test]
fn localhost_is_both_families_and_several_addresses_are_one_listener() {
    let listening = start(["listen", "localhost:0"]);
    let addresses = listening.addresses(2);
    assert!(addresses.iter().any(|one| one.contains("[::1]")), "{addresses:?}");
    assert!(addresses.iter().any(|one| one.contains("127.0.0.1")), "{addresses:?}");
    drop(listening);
    let path = std::env::temp_dir().join(format!("sotong-one-{}", std::process::id()));
    let unix = format!("unix:{}", path.display());
    let mut listening = start(["listen", "127.0.0.1:0", &unix]);
    assert_eq!(listening.addresses(2)[1], unix);
    listening.end_input();
    let done = run(["connect", &unix], b"by unix");
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    assert_eq!(listening.wait().stdout, b"by unix");
}

#[test]
fn code_1_where_it_cannot_listen() {
    let (_taken, address) = listener();
    let done = run(["listen", &address], b"");
    assert_eq!(done.code(), Some(1));
    assert!(done.stderr.contains("somebody listens there already"), "{}", done.stderr);
    for (address, words) in
        [("192.0.2.1:0", "no address of this machine"), ("unix:/no/such/folder/socket", "no folder")]
    {
        let done = run(["listen", address], b"");
        assert_eq!(done.code(), Some(1), "{}", done.stderr);
        assert!(done.stderr.contains(words), "{}", done.stderr);
    }
}

#[test]
fn code_2_for_what_is_no_address_and_no_network() {
    for args in [
        &["listen"][..],
        &["listen", "nonsense"],
        &["listen", ":0", "--allow", "10.0.0.0/33"],
        &["listen", ":0", "--deny", "10.1.0.0/8"],
        &["listen", ":0", "--max-conns", "0"],
        &["listen", ":0", "--exec", "'unfinished"],
    ] {
        let done = run(args, b"");
        assert_eq!(done.code(), Some(2), "{args:?}: {}", done.stderr);
        assert!(!done.stderr.contains("listening"), "{args:?}: {}", done.stderr);
    }
}

#[test]
fn code_69_for_a_name_that_does_not_resolve() {
    let done = run(["listen", "no-such-host.invalid:0"], b"");
    assert_eq!(done.code(), Some(69), "{}", done.stderr);
}

#[test]
fn code_75_when_nobody_comes_or_nothing_goes_by() {
    let done = start(["listen", "-w", "0.3", "127.0.0.1:0"]).wait();
    assert_eq!(done.code(), Some(75));
    assert!(done.stderr.contains("nobody connected within 300ms"), "{}", done.stderr);
    let listening = start(["listen", "-w", "1", "127.0.0.1:0"]);
    let _stream = join(&listening);
    let done = listening.wait();
    assert_eq!(done.code(), Some(75));
    assert!(done.stderr.contains("nothing went by"), "{}", done.stderr);
}

#[test]
fn code_76_when_the_client_breaks_off() {
    let listening = start(["listen", "127.0.0.1:0"]);
    let mut stream = join(&listening);
    stream.write_all(b"half").unwrap();
    listening.wait_for("half");
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
    let done = listening.wait();
    assert_eq!(done.code(), Some(76), "{}", done.stderr);
}

#[test]
fn code_130_and_143_by_signal_with_and_without_a_client() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let listening = start(["listen", "127.0.0.1:0"]);
        listening.address();
        listening.signal(signal);
        assert_eq!(listening.wait().code(), Some(code));
        let listening = start(["listen", "127.0.0.1:0"]);
        let mut stream = join(&listening);
        stream.write_all(b"here").unwrap();
        listening.wait_for("here");
        listening.signal(signal);
        assert_eq!(listening.wait().code(), Some(code));
        // The client sees an end, not a reset.
        assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap(), 0);
    }
}

#[test]
fn who_is_not_let_in_is_turned_away_and_the_next_one_is_served() {
    for args in [["--allow", "127.0.0.2"], ["--deny", "127.0.0.1/32,192.0.2.0/24"]] {
        let mut listening = start([&["listen", "127.0.0.1:0"], &args[..]].concat());
        listening.end_input();
        let place = listening.place();
        let mut turned_away = join(&listening);
        assert!(matches!(turned_away.read(&mut [0; 8]), Ok(0) | Err(_)), "{args:?}");
        let done = run(["connect", "--source", "127.0.0.2", &place], b"welcome");
        assert_eq!(done.code(), Some(0), "{}", done.stderr);
        assert_eq!(listening.wait().stdout, b"welcome", "{args:?}");
    }
}

#[test]
fn retry_waits_for_a_port_that_becomes_free() {
    let (taken, address) = listener();
    let listening = start(["listen", "-v", "--retry", "20", &address]);
    listening.wait_for_word("retrying");
    drop(taken);
    assert_eq!(listening.place(), address);
}

#[test]
fn the_source_stands_in_for_the_host() {
    let listening = start(["listen", "--source", "127.0.0.7", ":0"]);
    assert!(listening.place().starts_with("127.0.0.7:"), "{}", listening.place());
}

#[test]
fn over_udp_the_first_peer_is_the_only_one() {
    let mut listening = start(["listen", "udp://127.0.0.1:0"]);
    let place = listening.place();
    let [first, second] = [(); 2].map(|()| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(&place).unwrap();
        socket.set_read_timeout(Some(HANG)).unwrap();
        socket
    });
    first.send(b"one ").unwrap();
    listening.wait_for("one ");
    second.send(b"nobody hears this").unwrap();
    first.send(b"").unwrap();
    first.send(b"two").unwrap();
    listening.wait_for("two");
    listening.say(b"answer");
    let mut buffer = [0; 100];
    let count = first.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..count], b"answer");
    listening.signal(Signal::TERM);
    let done = listening.wait();
    assert_eq!((done.code(), done.stdout), (Some(143), b"one two".to_vec()));
}

#[test]
fn over_udp_a_time_limit_ends_it() {
    for (says, code) in [(true, 0), (false, 75)] {
        let mut listening = start(["listen", "udp://127.0.0.1:0", "-w", "0.7"]);
        listening.end_input();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(listening.place()).unwrap();
        if says {
            socket.send(b"logged").unwrap();
        }
        let done = listening.wait();
        assert_eq!(done.code(), Some(code), "{}", done.stderr);
        assert_eq!(done.stdout, if says { &b"logged"[..] } else { b"" });
    }
}

#[test]
fn a_client_that_only_closes_its_side_still_hears_us() {
    let mut listening = start(["listen", "127.0.0.1:0"]);
    let mut stream = join(&listening);
    stream.write_all(b"question").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    listening.wait_for("question");
    thread::sleep(Duration::from_millis(300));
    listening.say(b"answer");
    let done = listening.finish();
    let mut got = String::new();
    stream.read_to_string(&mut got).unwrap();
    assert_eq!((got.as_str(), done.code()), ("answer", Some(0)));
}
