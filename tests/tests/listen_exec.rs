//! `sotong listen --exec`: a program for each connection, without deadlocks, zombies or leaks.
use rustix::process::Signal;
use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpStream, UdpSocket},
    thread,
    time::{Duration, Instant},
};
use tests::process::{HANG, Running, noise, run, start};

fn join(listening: &Running) -> TcpStream {
    let stream = TcpStream::connect(listening.place()).unwrap();
    stream.set_read_timeout(Some(HANG)).unwrap();
    stream.set_write_timeout(Some(HANG)).unwrap();
    stream
}

/// Sends everything from one thread while another reads everything.
fn through(stream: &TcpStream, text: &[u8]) -> Vec<u8> {
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = stream;
            stream.write_all(text).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
        });
        let mut got = Vec::with_capacity(text.len());
        let mut stream = stream;
        stream.read_to_end(&mut got).unwrap();
        got
    })
}

fn answer(mut stream: TcpStream) -> String {
    stream.shutdown(Shutdown::Write).unwrap();
    let mut got = String::new();
    stream.read_to_string(&mut got).unwrap();
    got
}

/// The processes below this one, with their states.
fn children(pid: u32) -> Vec<char> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let text = fs::read_to_string(entry.ok()?.path().join("stat")).ok()?;
        let (_, rest) = text.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        Some((fields.next()?.chars().next()?, fields.next()?.parse::<u32>().ok()?))
    });
    processes.filter(|(_, parent)| *parent == pid).map(|(state, _)| state).collect()
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + HANG;
    while !holds() {
        assert!(Instant::now() < until, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn eight_mebibytes_through_cat_and_back_twenty_times() {
    let listening = start(["listen", "-k", "127.0.0.1:0", "--exec", "cat"]);
    let text = noise(8 << 20, 31);
    let descriptors = || fs::read_dir(format!("/proc/{}/fd", listening.pid())).unwrap().count();
    let before = descriptors();
    for round in 0..20 {
        assert!(through(&join(&listening), &text) == text, "round {round}");
    }
    wait_until("no child and no descriptor is left", || {
        children(listening.pid()).is_empty() && descriptors() == before
    });
}

#[test]
fn sixty_four_mebibytes_both_ways_at_once_through_connect_and_cat() {
    let listening = start(["listen", "127.0.0.1:0", "--exec", "cat"]);
    let text = noise(64 << 20, 32);
    let done = run_large(&listening.address(), &text);
    assert!(done == text);
    assert_eq!(listening.wait().code(), Some(0));
}

fn run_large(address: &str, text: &[u8]) -> Vec<u8> {
    let mut connect = start(["connect", address]);
    let mut input = connect.take_stdin();
    thread::scope(|scope| scope.spawn(move || input.write_all(text).unwrap()).join().unwrap());
    let done = connect.wait();
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    done.stdout
}

#[test]
fn what_a_program_says_before_it_leaves_arrives() {
    let listening = start(["listen", "-k", "127.0.0.1:0", "--exec", "head -n 1"]);
    for _ in 0..10 {
        let mut stream = join(&listening);
        stream.write_all(b"first\n").unwrap();
        let _ = stream.write_all(&vec![b'x'; 1 << 20]);
        let mut got = String::new();
        stream.read_to_string(&mut got).unwrap();
        assert_eq!(got, "first\n");
    }
}

#[test]
fn arguments_are_split_as_in_a_shell_or_stand_behind_two_dashes() {
    let split = start(["listen", "127.0.0.1:0", "--exec", "printf '%s|' 'a b' c"]);
    assert_eq!(answer(join(&split)), "a b|c|");
    let dashes = start(["listen", "127.0.0.1:0", "--exec", "printf", "--", "%s|", "a b", "-v"]);
    assert_eq!(answer(join(&dashes)), "a b|-v|");
}

#[test]
fn a_program_knows_both_ends() {
    let listening = start(["listen", "127.0.0.1:0", "--exec", "sh -c 'echo $SOTONG_PEER $SOTONG_LOCAL'"]);
    let stream = join(&listening);
    let expect = format!("tcp://{} {}\n", stream.local_addr().unwrap(), listening.address());
    assert_eq!(answer(stream), expect);
}

#[test]
fn a_program_that_cannot_be_run_is_refused_before_anything_listens() {
    for (program, words) in [("no-such-program", "no such file"), ("/etc/passwd", "permission denied")] {
        let done = run(["listen", "127.0.0.1:0", "--exec", program], b"");
        assert_eq!(done.code(), Some(1));
        assert!(done.stderr.contains(words) && !done.stderr.contains("listening"), "{}", done.stderr);
    }
}

#[test]
fn a_loud_line_where_anybody_may_run_it() {
    let line = "anybody who reaches";
    let loud = start(["listen", "*:0", "--exec", "cat"]);
    loud.wait_for_word(line);
    for args in [&["listen", "*:0", "--exec", "cat", "--allow", "127.0.0.0/8"][..], &["listen", ":0", "--exec", "cat"]]
    {
        let quiet = start(args);
        quiet.address();
        quiet.signal(Signal::TERM);
        let done = quiet.wait();
        assert!(!done.stderr.contains(line), "{args:?}: {}", done.stderr);
    }
}

#[test]
fn who_is_not_let_in_runs_nothing() {
    let listening = start(["listen", "-k", "127.0.0.1:0", "--exec", "echo secret", "--allow", "127.0.0.2"]);
    let mut stream = join(&listening);
    let mut got = Vec::new();
    let _ = stream.read_to_end(&mut got);
    assert_eq!(got, b"");
    let done = run(["connect", "--source", "127.0.0.2", &listening.address()], b"");
    assert_eq!(done.stdout, b"secret\n");
}

#[test]
fn programs_at_once_are_bounded() {
    let listening = start(["listen", "-k", "127.0.0.1:0", "--max-conns", "2", "--exec", "cat"]);
    let [first, _second] = [(); 2].map(|()| {
        let mut stream = join(&listening);
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        stream
    });
    let mut third = join(&listening);
    third.write_all(b"x").unwrap();
    thread::sleep(Duration::from_millis(300));
    assert_eq!(children(listening.pid()).len(), 2);
    drop(first);
    third.read_exact(&mut [0]).unwrap();
}

#[test]
fn when_the_client_dies_the_program_reads_its_end() {
    let listening = start(["listen", "-k", "127.0.0.1:0", "--exec", "cat"]);
    let mut stream = join(&listening);
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    assert_eq!(children(listening.pid()).len(), 1);
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
    wait_until("cat is gone", || children(listening.pid()).is_empty());
}

/// `cat` sees the end of its input; what ignores that is told by SIGTERM, and what ignores that is killed.
#[test]
fn a_stop_ends_the_programs_too() {
    for program in ["cat", "sleep 1000"] {
        let listening = start(["listen", "-k", "127.0.0.1:0", "--exec", program]);
        let mut stream = join(&listening);
        wait_until("the program runs", || !children(listening.pid()).is_empty());
        listening.signal(Signal::TERM);
        assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap(), 0);
        assert_eq!(listening.wait().code(), Some(0), "{program}");
    }
}

#[test]
fn a_second_signal_leaves_no_program_behind() {
    let listening =
        start(["listen", "-k", "127.0.0.1:0", "--exec", "sh -c 'trap : TERM; echo $$; while :; do sleep 1; done'"]);
    let mut stream = join(&listening);
    let mut line = [0; 16];
    let count = stream.read(&mut line).unwrap();
    let program: u32 = std::str::from_utf8(&line[..count]).unwrap().trim().parse().unwrap();
    listening.signal(Signal::INT);
    thread::sleep(Duration::from_millis(100));
    listening.signal(Signal::INT);
    assert_eq!(listening.wait().code(), Some(130));
    wait_until("the program is gone", || !fs::exists(format!("/proc/{program}")).unwrap());
}

#[test]
fn a_time_limit_ends_the_program_too() {
    let listening = start(["listen", "127.0.0.1:0", "-w", "0.5", "--exec", "sleep 1000"]);
    let mut stream = join(&listening);
    assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap(), 0);
    let done = listening.wait();
    assert_eq!(done.code(), Some(75), "{}", done.stderr);
}

#[test]
fn a_program_for_each_udp_peer() {
    let listening = start(["listen", "-k", "udp://127.0.0.1:0", "--exec", "cat"]);
    let peers = [(); 3].map(|()| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(HANG)).unwrap();
        socket.connect(listening.place()).unwrap();
        socket
    });
    let mut buffer = [0; 100];
    for text in ["하나", "둘"] {
        for peer in &peers {
            peer.send(text.as_bytes()).unwrap();
            let count = peer.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..count], text.as_bytes());
        }
    }
    assert_eq!(children(listening.pid()).len(), 3);
}

#[test]
fn the_last_words_of_a_program_reach_its_udp_peer() {
    let listening = start(["listen", "-k", "udp://127.0.0.1:0", "--exec", "date +%Y"]);
    for _ in 0..5 {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(HANG)).unwrap();
        socket.connect(listening.place()).unwrap();
        socket.send(b"?").unwrap();
        let mut buffer = [0; 100];
        assert_eq!(socket.recv(&mut buffer).unwrap(), 5);
    }
    wait_until("no child is left", || children(listening.pid()).is_empty());
}
