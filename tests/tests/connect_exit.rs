//! Every exit code of `sotong connect`, one by one.
use rustix::process::Signal;
use std::{
    fs::File,
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::Stdio,
    thread,
    time::Duration,
};
use tests::process::{Done, accept, command, listener, run, start, start_with};

/// A server of one connection.
fn serve(run: impl FnOnce(TcpStream) + Send + 'static) -> String {
    let (listener, address) = listener();
    thread::spawn(move || run(accept(&listener)));
    address
}

/// A port where nobody listens.
fn nobody() -> String {
    listener().1
}

/// A listener whose queue is full: it answers nobody any more. Kept by what is returned beside its address.
fn silent() -> (impl Sized, String) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        waiting.push(stream);
        assert!(waiting.len() < 10, "the queue is short");
    }
    ((socket, waiting), address.to_string())
}

#[track_caller]
fn assert_fails(done: &Done, code: i32, words: &str) {
    assert_eq!(done.code(), Some(code), "{}", done.stderr);
    assert!(done.stderr.contains(words), "{:?} lacks {words:?}", done.stderr);
    assert_eq!(done.stderr.trim_end().lines().count(), 1, "one line: {:?}", done.stderr);
}

#[test]
fn code_0_everything_was_said_and_heard() {
    let address = serve(|mut stream| {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        stream.write_all(text.to_uppercase().as_bytes()).unwrap();
    });
    let done = run(["connect", &address], b"hello");
    assert_eq!((done.code(), done.stdout, done.stderr.as_str()), (Some(0), b"HELLO".to_vec(), ""));
}

#[test]
fn code_1_a_full_disk_under_the_output_or_the_log() {
    for (args, words) in
        [(&[][..], "the output cannot be written: the disk is full"), (&["-o", "/dev/full"], "log file")]
    {
        let address = serve(|mut stream| {
            stream.write_all(b"an answer").unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let mut command = command(["connect", address.as_str()]);
        command.args(args).stdin(Stdio::piped());
        if args.is_empty() {
            command.stdout(File::options().write(true).open("/dev/full").unwrap());
        } else {
            command.stdout(Stdio::null());
        }
        assert_fails(&start_with(&mut command).wait(), 1, words);
    }
}

#[test]
fn code_1_an_input_that_cannot_be_read_and_a_log_that_cannot_be_opened() {
    let address = serve(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    let mut command = command(["connect", address.as_str()]);
    assert_fails(&start_with(command.stdin(File::open("/").unwrap()).stdout(Stdio::null())).wait(), 1, "the input");
    let done = run(["connect", &nobody(), "-o", "/no/such/folder/log"], b"");
    assert_fails(&done, 1, "cannot write /no/such/folder/log");
}

#[test]
fn code_2_what_is_no_address() {
    for (address, words) in [
        ("nonsense", "missing"),
        ("localhost:99999", "no port"),
        ("gopher://x:70", "no scheme"),
        ("localhost:0", "port 0 is for listening"),
        ("*:80", "* is for listening"),
    ] {
        assert_fails(&run(["connect", address], b""), 2, words);
    }
    assert_fails(&run(["connect", "-z", "localhost:9-7"], b""), 2, "no range");
    assert_fails(&run(["connect", "-4", "--source", "::1", "localhost:7"], b""), 2, "no IPv4 address");
}

#[test]
fn code_69_refused_unresolved_or_no_such_socket() {
    assert_fails(&run(["connect", &nobody()], b""), 69, "nobody listens there");
    assert_fails(&run(["connect", "no-such-host.invalid:7"], b""), 69, "does not resolve");
    assert_fails(&run(["connect", "unix:/no/such/socket"], b""), 69, "no such socket");
    let closed = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    assert_fails(&run(["connect", &format!("udp://{closed}")], b"anybody?"), 69, "nobody listens");
}

#[test]
fn code_75_nothing_goes_by_or_nobody_answers() {
    let address = serve(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    assert_fails(&start(["connect", "-w", "0.3", &address]).wait(), 75, "nothing went by for 300ms");
    // Also a peer that takes nothing, with much left to send.
    let (listener, address) = listener();
    let held = thread::spawn(move || (listener.accept().unwrap(), thread::sleep(Duration::from_secs(2))));
    let done = run(["connect", "-w", "0.3", &address], &vec![0; 32 << 20]);
    assert_fails(&done, 75, "nothing went by");
    held.join().unwrap();
    let (_held, address) = silent();
    assert_fails(&run(["connect", "-w", "0.3", &address], b""), 75, "no answer within 300ms");
    let quiet = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = format!("udp://{}", quiet.local_addr().unwrap());
    assert_fails(&run(["connect", "-w", "0.3", &address], b"anybody?"), 75, "nothing went by");
}

#[test]
fn code_76_a_reset_is_told_and_what_came_before_it_is_printed() {
    let address = serve(|mut stream| {
        stream.write_all(b"half an ans").unwrap();
        thread::sleep(Duration::from_millis(200));
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    });
    let done = start(["connect", &address]).wait();
    assert_eq!(done.stdout, b"half an ans");
    assert_fails(&done, 76, "broke the connection off");
}

#[test]
fn code_130_and_143_by_signal_also_while_connecting() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let address = serve(|mut stream| {
            stream.write_all(b"ready").unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let running = start(["connect", &address]);
        running.wait_for("ready");
        running.signal(signal);
        let done = running.wait();
        assert_eq!((done.code(), done.stderr.as_str()), (Some(code), ""));
        let (_held, address) = silent();
        let running = start(["connect", "-v", "--retry", "1000", &address, "-w", "60"]);
        // It catches signals from the moment it begins to connect.
        thread::sleep(Duration::from_millis(300));
        running.signal(signal);
        assert_eq!(running.wait().code(), Some(code));
    }
}

#[test]
fn a_first_signal_sends_what_was_read_and_a_second_one_does_not_wait() {
    let (listener, address) = listener();
    let mut running = start(["connect", &address]);
    let stream = accept(&listener);
    let mut input = running.take_stdin();
    // More than all buffers between the two hold: it is stuck on the peer.
    let writer = thread::spawn(move || input.write_all(&vec![7; 64 << 20]).is_err());
    thread::sleep(Duration::from_millis(300));
    running.signal(Signal::INT);
    thread::sleep(Duration::from_millis(200));
    assert!(running.runs(), "it drains");
    running.signal(Signal::INT);
    assert_eq!(running.wait().code(), Some(130));
    assert!(writer.join().unwrap(), "nobody reads any more");
    drop(stream);
}

#[test]
fn check_tells_open_closed_and_no_answer_apart() {
    let (listening, open) = listener();
    let (_held, silent) = silent();
    for (address, code, words) in
        [(open.as_str(), 0, "open"), (nobody().as_str(), 69, "closed"), (silent.as_str(), 75, "no answer")]
    {
        assert_fails(&run(["connect", "-z", "-w", "0.5", address], b""), code, words);
    }
    let (port, free) = (open.rsplit(':').next().unwrap().parse::<u16>().unwrap(), nobody());
    assert_eq!(run(["connect", "-zq", &free], b"").stderr, "");
    let range = format!("127.0.0.1:{port}-{port}");
    assert_fails(&run(["connect", "-z", &range], b""), 0, &format!("tcp://127.0.0.1:{port}: open"));
    drop(listening);
}

#[test]
fn check_tells_them_apart_over_udp() {
    let echo = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let open = format!("udp://{}", echo.local_addr().unwrap());
    thread::spawn(move || {
        let mut buffer = [0; 100];
        while let Ok((count, from)) = echo.recv_from(&mut buffer) {
            echo.send_to(&buffer[..count], from).unwrap();
        }
    });
    let quiet = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let silent = format!("udp://{}", quiet.local_addr().unwrap());
    let closed = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    for (address, code, words) in
        [(open, 0, "open"), (format!("udp://{closed}"), 69, "closed"), (silent, 75, "no answer")]
    {
        assert_fails(&run(["connect", "-z", "-w", "0.5", &address], b""), code, words);
    }
}

#[test]
fn retry_waits_for_a_server_that_is_starting() {
    let address = nobody();
    let running = start(["connect", "--retry", "20", "-v", &address]);
    running.wait_for_word("retrying");
    let listener = TcpListener::bind(&address).unwrap();
    let mut stream = accept(&listener);
    stream.write_all(b"here").unwrap();
    stream.shutdown(Shutdown::Both).unwrap();
    drop(stream);
    let done = running.finish();
    assert_eq!((done.code(), done.stdout), (Some(0), b"here".to_vec()));
}
