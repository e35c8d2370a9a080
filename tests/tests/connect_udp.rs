//! `sotong connect udp://…`: datagrams out of reads, answers as they come, and an end that is silence.
use std::{
    net::{Ipv4Addr, UdpSocket},
    thread,
    time::Duration,
};
use tests::process::{HANG, run, start};

fn peer() -> (UdpSocket, String) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(HANG)).unwrap();
    let address = format!("udp://{}", socket.local_addr().unwrap());
    (socket, address)
}

#[test]
fn each_read_is_a_datagram_and_each_answer_is_printed() {
    let (socket, address) = peer();
    let mut running = start(["connect", &address]);
    let mut buffer = [0; 100];
    for line in ["하나\n", "둘\n"] {
        running.say(line.as_bytes());
        let (count, from) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], line.as_bytes());
        socket.send_to(&buffer[..count], from).unwrap();
        running.wait_for(line);
    }
    let done = running.finish();
    assert_eq!((done.code(), done.stdout), (Some(0), "하나\n둘\n".as_bytes().to_vec()));
}

/// An answer that is late, but within the time, is printed; an empty one is not the end.
#[test]
fn answers_are_waited_for_after_the_end_of_the_input() {
    let (socket, address) = peer();
    let serving = thread::spawn(move || {
        let mut buffer = [0; 100];
        let (count, from) = socket.recv_from(&mut buffer).unwrap();
        socket.send_to(b"", from).unwrap();
        thread::sleep(Duration::from_millis(1300));
        socket.send_to(b"late", from).unwrap();
        count
    });
    let done = run(["connect", "-w", "3", &address], b"question");
    assert_eq!((done.code(), done.stdout), (Some(0), b"late".to_vec()), "{}", done.stderr);
    assert_eq!(serving.join().unwrap(), 8);
}

#[test]
fn what_is_only_sent_needs_no_answer() {
    let (socket, address) = peer();
    let done = run(["connect", &address, "-m", "logged"], b"");
    assert_eq!((done.code(), done.stderr.as_str()), (Some(0), ""));
    let mut buffer = [0; 100];
    let count = socket.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..count], b"logged\n");
}

#[test]
fn a_large_input_goes_in_datagrams_that_fit() {
    let (socket, address) = peer();
    socket2::SockRef::from(&socket).set_recv_buffer_size(8 << 20).unwrap();
    let path = std::env::temp_dir().join(format!("sotong-udp-{}", std::process::id()));
    std::fs::write(&path, vec![b'x'; 150_000]).unwrap();
    let mut command = tests::process::command(["connect", address.as_str()]);
    command.stdin(std::fs::File::open(&path).unwrap()).stdout(std::process::Stdio::null());
    assert_eq!(tests::process::start_with(&mut command).wait().code(), Some(0));
    std::fs::remove_file(&path).unwrap();
    let mut buffer = vec![0; 70_000];
    let mut sizes = Vec::new();
    while sizes.iter().sum::<usize>() < 150_000 {
        sizes.push(socket.recv(&mut buffer).unwrap());
    }
    assert_eq!(sizes, [65_507, 65_507, 18_986]);
}

#[test]
fn localhost_is_found_where_only_one_family_listens() {
    let (socket, address) = peer();
    let port = address.rsplit(':').next().unwrap().to_owned();
    let serving = thread::spawn(move || {
        let mut buffer = [0; 100];
        let (_, from) = socket.recv_from(&mut buffer).unwrap();
        socket.send_to(b"here", from).unwrap();
    });
    let done = run(["connect", &format!("udp://localhost:{port}")], b"anybody?");
    assert_eq!((done.code(), done.stdout), (Some(0), b"here".to_vec()), "{}", done.stderr);
    serving.join().unwrap();
}
