//! `sotong listen -k`: many clients at once on one input and one output.
use rustix::process::Signal;
use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream, UdpSocket},
    process::Stdio,
    thread,
    time::Duration,
};
use tests::process::{HANG, Running, command, noise, start, start_with};

fn join(listening: &Running) -> TcpStream {
    let stream = TcpStream::connect(listening.place()).unwrap();
    stream.set_read_timeout(Some(HANG)).unwrap();
    stream
}

fn hear(stream: &mut TcpStream, count: usize) -> String {
    let mut got = vec![0; count];
    stream.read_exact(&mut got).unwrap();
    String::from_utf8(got).unwrap()
}

/// A client that is known to be served: it was heard.
fn client(listening: &Running, name: &str) -> TcpStream {
    let mut stream = join(listening);
    stream.write_all(name.as_bytes()).unwrap();
    listening.wait_for(name);
    stream
}

#[test]
fn everybody_hears_what_is_typed_and_everybody_is_heard() {
    let mut listening = start(["listen", "-k", "127.0.0.1:0"]);
    let mut first = client(&listening, "<first>");
    let mut second = client(&listening, "<second>");
    listening.say("모두에게\n".as_bytes());
    assert_eq!((hear(&mut first, 13), hear(&mut second, 13)), ("모두에게\n".into(), "모두에게\n".into()));
    drop(first);
    let mut third = client(&listening, "<third>");
    listening.say(b"still here");
    assert_eq!((hear(&mut second, 10), hear(&mut third, 10)), ("still here".into(), "still here".into()));
    listening.end_input();
    let mut rest = String::new();
    second.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "", "the end of the input is everybody's");
    // They can still speak, and so can who comes after.
    second.write_all(b"<late>").unwrap();
    listening.wait_for("<late>");
    let mut fourth = client(&listening, "<fourth>");
    assert_eq!(fourth.read(&mut [0; 8]).unwrap(), 0);
    listening.signal(Signal::TERM);
    let done = listening.wait();
    assert_eq!(done.code(), Some(0), "a server that has drained: {}", done.stderr);
}

/// What is typed before anybody is there waits for the first.
#[test]
fn input_waits_for_somebody_to_hear_it() {
    let mut listening = start(["listen", "-k", "127.0.0.1:0"]);
    let text = noise(3 << 20, 21);
    let (mut input, typed) = (listening.take_stdin(), text.clone());
    let writer = thread::spawn(move || {
        input.write_all(&typed).unwrap();
        drop(input);
    });
    thread::sleep(Duration::from_millis(200));
    let mut got = Vec::new();
    join(&listening).read_to_end(&mut got).unwrap();
    assert!(got == text);
    writer.join().unwrap();
}

#[test]
fn a_client_that_never_reads_costs_the_others_nothing_for_good() {
    let mut listening = start(["listen", "-k", "127.0.0.1:0"]);
    let _silent = client(&listening, "<silent>");
    let mut reading = client(&listening, "<reading>");
    let text = noise(16 << 20, 22);
    let (mut input, typed) = (listening.take_stdin(), text.clone());
    let writer = thread::spawn(move || {
        input.write_all(&typed).unwrap();
        drop(input);
    });
    let mut got = Vec::new();
    reading.read_to_end(&mut got).unwrap();
    assert!(got == text);
    writer.join().unwrap();
    listening.wait_for_word("gets no more input");
}

#[test]
fn one_that_breaks_off_harms_only_itself() {
    let listening = start(["listen", "-k", "127.0.0.1:0"]);
    let broken = client(&listening, "<broken>");
    socket2::SockRef::from(&broken).set_linger(Some(Duration::ZERO)).unwrap();
    drop(broken);
    let _next = client(&listening, "<next>");
    listening.signal(Signal::INT);
    assert_eq!(listening.wait().code(), Some(0));
}

#[test]
fn no_more_than_the_limit_are_served_at_once() {
    let listening = start(["listen", "-k", "--max-conns", "2", "127.0.0.1:0"]);
    let first = client(&listening, "<1>");
    let _second = client(&listening, "<2>");
    let mut waiting = join(&listening);
    waiting.write_all(b"<3>").unwrap();
    thread::sleep(Duration::from_millis(300));
    assert!(!String::from_utf8_lossy(&listening.printed()).contains("<3>"));
    drop(first);
    listening.wait_for("<3>");
}

#[test]
fn a_reader_who_leaves_ends_the_server_quietly() {
    let (reader, output) = std::io::pipe().unwrap();
    let mut command = command(["listen", "-k", "127.0.0.1:0"]);
    let listening = start_with(command.stdin(Stdio::piped()).stdout(output));
    drop(command);
    let _stream = join(&listening);
    let _other = join(&listening);
    drop(reader);
    let mut third = join(&listening);
    let _ = third.write_all(b"is anybody there?");
    let done = listening.wait();
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
}

#[test]
fn a_full_disk_is_told() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let listening = start_with(command(["listen", "-k", "127.0.0.1:0"]).stdin(Stdio::null()).stdout(full));
    join(&listening).write_all(b"too much").unwrap();
    let done = listening.wait();
    assert_eq!(done.code(), Some(1));
    assert!(done.stderr.contains("the disk is full"), "{}", done.stderr);
}

#[test]
fn many_clients_lose_no_byte() {
    const EACH: usize = 4 << 20;
    let (mut reader, output) = std::io::pipe().unwrap();
    let mut command = command(["listen", "-k", "127.0.0.1:0"]);
    let listening = start_with(command.stdin(Stdio::null()).stdout(output));
    drop(command);
    let clients: Vec<_> = (0..8u8)
        .map(|number| {
            let mut stream = join(&listening);
            thread::spawn(move || {
                stream.write_all(&vec![number; EACH]).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
                stream.read_to_end(&mut Vec::new()).unwrap();
            })
        })
        .collect();
    let mut counts = [0; 8];
    let mut buffer = vec![0; 256 << 10];
    while counts.iter().sum::<usize>() < 8 * EACH {
        let count = reader.read(&mut buffer).unwrap();
        buffer[..count].iter().for_each(|&number| counts[usize::from(number)] += 1);
    }
    assert_eq!(counts, [EACH; 8]);
    clients.into_iter().for_each(|client| client.join().unwrap());
}

#[test]
fn udp_peers_are_many_and_hear_what_is_typed() {
    let mut listening = start(["listen", "-k", "udp://127.0.0.1:0"]);
    let peers = ["<a>", "<b>", "<c>"].map(|name| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(HANG)).unwrap();
        socket.connect(listening.place()).unwrap();
        socket.send(name.as_bytes()).unwrap();
        listening.wait_for(name);
        socket
    });
    listening.say(b"to all");
    for peer in peers {
        let mut buffer = [0; 100];
        let count = peer.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"to all");
    }
    listening.signal(Signal::TERM);
    assert_eq!(listening.wait().code(), Some(0));
}
