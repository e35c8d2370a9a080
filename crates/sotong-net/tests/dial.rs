//! Connecting on real sockets: what is tried, what is found, and what is told.
use sotong_net::{
    dial::{DialOptions, Retry, dial, dial_retrying},
    dial_error::{Cause, DialClass, DialError},
    endpoint::{Endpoint, EndpointError, HostPort},
    probe::{Probe, probe},
    resolve::Family,
    signals::Stop,
    socket::Socket,
};
use sotong_session::{End, Wire};
use std::{
    io::{IoSlice, Read as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::unix::net::{UnixDatagram, UnixListener},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

const HANG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(300);

fn options() -> DialOptions {
    DialOptions { time_max: HANG, ..DialOptions::default() }
}

fn tcp(address: SocketAddr) -> Endpoint {
    Endpoint::Tcp(HostPort::of(address))
}

fn udp(address: SocketAddr) -> Endpoint {
    Endpoint::Udp(HostPort::of(address))
}

fn parse(text: &str) -> Endpoint {
    text.parse().unwrap()
}

/// An address where nobody listens.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn causes(error: &DialError) -> Vec<Cause> {
    match error {
        DialError::Failed { attempts, .. } => attempts.iter().map(|attempt| attempt.cause).collect(),
        other => panic!("{other}"),
    }
}

/// A listener that answers no more connections: its queue is full. The streams keep it so.
fn deaf(listener: TcpListener) -> (TcpListener, Vec<TcpStream>) {
    rustix::net::listen(&listener, 0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, SHORT) {
        queued.push(stream);
        assert!(queued.len() < 16, "the queue never fills");
    }
    (listener, queued)
}

/// A directory that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sotong-dial-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
    fn endpoint(&self) -> (PathBuf, Endpoint) {
        let path = self.0.join("s");
        let endpoint = parse(&format!("unix:{}", path.display()));
        (path, endpoint)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Says something to the accepted end of `socket`.
fn is_heard(socket: &Socket, listener: &TcpListener) {
    socket.send_vectored(&[IoSlice::new("안녕".as_bytes())], false).unwrap();
    socket.shutdown_write().unwrap();
    let mut heard = String::new();
    listener.accept().unwrap().0.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "안녕");
}

#[test]
fn a_connection_stands_and_waits() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let keepalive = Some(Duration::from_secs(44));
    let socket = dial(&tcp(address), &DialOptions { keepalive, ..options() }).unwrap();
    assert_eq!((socket.wire(), socket.remote().unwrap()), (Wire::Stream, End::Net(address)));
    assert!(!rustix::fs::fcntl_getfl(&socket).unwrap().contains(rustix::fs::OFlags::NONBLOCK));
    assert!(rustix::net::sockopt::tcp_nodelay(&socket).unwrap());
    assert!(rustix::net::sockopt::socket_keepalive(&socket).unwrap());
    is_heard(&socket, &listener);
}

#[test]
fn every_address_of_a_host_is_tried() {
    for at in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(listener) = TcpListener::bind(at) else { continue };
        let port = listener.local_addr().unwrap().port();
        let socket = dial(&parse(&format!("localhost:{port}")), &options()).unwrap();
        assert_eq!(socket.remote().unwrap(), End::Net(listener.local_addr().unwrap()));
        is_heard(&socket, &listener);
    }
}

#[test]
fn a_silent_address_does_not_keep_the_others_waiting() {
    let Ok(v6) = TcpListener::bind("[::1]:0") else { return };
    let port = v6.local_addr().unwrap().port();
    let v4 = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let (_v6, _queued) = deaf(v6);
    let started = Instant::now();
    let socket = dial(&parse(&format!(":{port}")), &options()).unwrap();
    assert_eq!(socket.remote().unwrap(), End::Net(v4.local_addr().unwrap()));
    // The system repeats a lost SYN after a second at the earliest: the first address cannot have answered meanwhile.
    assert!(started.elapsed() >= sotong_net::dial::ATTEMPT_DELAY);
    is_heard(&socket, &v4);
}

#[test]
fn a_refusal_is_told_for_each_address() {
    let port = free().port();
    let error = dial(&parse(&format!(":{port}")), &options()).unwrap_err();
    assert_eq!(error.class(), DialClass::Refused);
    assert_eq!(causes(&error).len(), 2);
    let error = dial(&parse(&format!(":{port}")), &DialOptions { family: Family::V4, ..options() }).unwrap_err();
    assert_eq!(causes(&error), [Cause::Refused]);
}

#[test]
fn silence_ends_with_the_time_limit() {
    let (listener, _queued) = deaf(TcpListener::bind("127.0.0.1:0").unwrap());
    let to = tcp(listener.local_addr().unwrap());
    let started = Instant::now();
    let error = dial(&to, &DialOptions { time_max: SHORT, ..options() }).unwrap_err();
    assert_eq!((causes(&error), error.class()), (vec![Cause::NoAnswer], DialClass::NoAnswer));
    assert!(started.elapsed() >= SHORT);
    assert_eq!(probe(&to, &DialOptions { time_max: SHORT, ..options() }), Ok(Probe::NoAnswer));
}

#[test]
fn a_stop_ends_a_silence_and_a_pause() {
    let (listener, _queued) = deaf(TcpListener::bind("127.0.0.1:0").unwrap());
    for to in [tcp(listener.local_addr().unwrap()), tcp(free())] {
        let stop = Stop::new().unwrap();
        let stopper = {
            let stop = stop.clone();
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(50));
                stop.drain();
            })
        };
        let retry = Retry { times: 1, wait: HANG, wait_max: HANG };
        let options = DialOptions { stop: Some(stop), ..options() };
        assert_eq!(dial_retrying(&to, &options, retry, |_, _, _| {}).unwrap_err(), DialError::Stopped);
        stopper.join().unwrap();
    }
}

#[test]
fn what_cannot_be_dialled_is_said_before_anything_is_tried() {
    assert_eq!(dial(&parse("*:7"), &options()).unwrap_err(), DialError::BadTarget(EndpointError::DialAll));
    let error = probe(&parse("udp://:0"), &options()).unwrap_err();
    assert_eq!((&error, error.class()), (&DialError::BadTarget(EndpointError::DialPortZero), DialClass::BadTarget));
}

#[test]
fn the_source_address_is_used_and_its_faults_are_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = tcp(listener.local_addr().unwrap());
    let from = |text: &str| DialOptions { source: Some(text.parse().unwrap()), ..options() };
    let socket = dial(&to, &from("127.0.0.3:0")).unwrap();
    let End::Net(local) = socket.local().unwrap() else { panic!("TCP") };
    assert_eq!(local.ip().to_string(), "127.0.0.3");
    // RFC 5737: an address of nobody.
    let error = dial(&to, &from("192.0.2.1:0")).unwrap_err();
    assert_eq!(causes(&error), [Cause::SourceNotAvailable { from: "192.0.2.1:0".parse().unwrap() }]);
    assert_eq!(error.class(), DialClass::Source);
    let busy = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
    let error = dial(&tcp(free()), &from(&busy)).unwrap_err();
    assert_eq!(causes(&error), [Cause::SourceInUse { from: busy.parse().unwrap() }]);
    let options = DialOptions { family: Family::V6, ..from("127.0.0.1:0") };
    assert_eq!(dial(&to, &options).unwrap_err().class(), DialClass::Source);
}

#[test]
fn a_source_port_can_be_used_again_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = tcp(listener.local_addr().unwrap());
    let source = free();
    for _ in 0..2 {
        let socket = dial(&to, &DialOptions { source: Some(source), ..options() }).unwrap();
        assert_eq!(socket.local().unwrap(), End::Net(source));
        // The end that closes first is left in TIME_WAIT, so let it be the other one.
        drop(listener.accept().unwrap());
        drop(socket);
    }
}

#[test]
fn a_socket_that_meets_itself_has_met_nobody() {
    let nobody = free();
    let error = dial(&tcp(nobody), &DialOptions { source: Some(nobody), ..options() }).unwrap_err();
    assert_eq!(causes(&error), [Cause::Refused]);
}

#[test]
fn another_attempt_finds_a_server_that_starts_late() {
    let address = free();
    let server = thread::spawn(move || {
        thread::sleep(Duration::from_millis(200));
        let listener = TcpListener::bind(address).unwrap();
        listener.accept().unwrap();
    });
    let retry = Retry { times: 200, wait: Duration::from_millis(20), wait_max: Duration::from_millis(100) };
    let mut told = Vec::new();
    dial_retrying(&tcp(address), &options(), retry, |error, attempt, wait| {
        assert_eq!(error.class(), DialClass::Refused);
        told.push((attempt, wait.as_millis()));
    })
    .unwrap();
    assert_eq!(told[..4], [(1, 20), (2, 40), (3, 80), (4, 100)]);
    server.join().unwrap();
}

#[test]
fn attempts_are_counted_and_useless_ones_are_not_made() {
    let retry = Retry { times: 3, wait: Duration::from_millis(1), wait_max: Duration::from_millis(1) };
    let attempts = |to: &Endpoint, options: &DialOptions| {
        let mut count = 1;
        dial_retrying(to, options, retry, |_, _, _| count += 1).unwrap_err();
        count
    };
    assert_eq!(attempts(&tcp(free()), &options()), 4);
    assert_eq!(attempts(&parse("*:7"), &options()), 1);
    let source = Some("192.0.2.1:0".parse().unwrap());
    assert_eq!(attempts(&tcp(free()), &DialOptions { source, ..options() }), 1);
}

#[test]
fn unix_sockets_are_dialled_and_their_faults_are_named() {
    let folder = Folder::new("unix");
    let (path, to) = folder.endpoint();
    assert_eq!(causes(&dial(&to, &options()).unwrap_err()), [Cause::NoSuchSocket]);
    let listener = UnixListener::bind(&path).unwrap();
    let socket = dial(&to, &options()).unwrap();
    assert_eq!(probe(&to, &options()).map(|found| matches!(found, Probe::Open(_))), Ok(true));
    let (mut near, _) = listener.accept().unwrap();
    drop(socket);
    assert_eq!(near.read(&mut [0; 8]).unwrap(), 0);
    drop(listener);
    assert_eq!(causes(&dial(&to, &options()).unwrap_err()), [Cause::Refused]);
    assert_eq!(probe(&to, &options()), Ok(Probe::Closed));
    std::fs::remove_file(&path).unwrap();
    let _datagram = UnixDatagram::bind(&path).unwrap();
    assert_eq!(causes(&dial(&to, &options()).unwrap_err()), [Cause::WrongKind]);
}

#[test]
fn a_unix_server_with_a_full_queue_is_waited_for() {
    let folder = Folder::new("full");
    let (path, to) = folder.endpoint();
    let listener = UnixListener::bind(&path).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let _first = dial(&to, &options()).unwrap();
    let error = dial(&to, &DialOptions { time_max: SHORT, ..options() }).unwrap_err();
    assert_eq!(causes(&error), [Cause::NoAnswer]);
    let server = thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        (listener.accept().unwrap(), listener)
    });
    dial(&to, &options()).unwrap();
    server.join().unwrap();
}

#[test]
fn a_udp_socket_has_one_peer() {
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(HANG)).unwrap();
    let socket = dial(&udp(peer.local_addr().unwrap()), &options()).unwrap();
    assert_eq!(socket.wire(), Wire::Records);
    socket.send_vectored(&[IoSlice::new(b"ping")], false).unwrap();
    let (count, from) = peer.recv_from(&mut [0; 16]).unwrap();
    assert_eq!((count, End::Net(from)), (4, socket.local().unwrap()));
    let socket = dial(&parse(&format!("udp://:{}", free().port())), &options()).unwrap();
    assert!(matches!(socket.remote().unwrap(), End::Net(at) if at.is_ipv4()));
}

#[test]
fn a_tcp_port_is_open_or_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    assert_eq!(probe(&tcp(address), &options()), Ok(Probe::Open(End::Net(address))));
    assert_eq!(probe(&tcp(free()), &options()), Ok(Probe::Closed));
    let unknown = probe(&parse("nobody.invalid:7"), &options()).unwrap_err();
    assert!(matches!(unknown.class(), DialClass::Unresolved | DialClass::NoAnswer), "{unknown}");
}

#[test]
fn a_udp_port_is_open_closed_or_silent() {
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = peer.local_addr().unwrap();
    let brief = DialOptions { time_max: SHORT, ..options() };
    assert_eq!(probe(&udp(address), &brief), Ok(Probe::NoAnswer));
    let mut asked = 0;
    peer.set_nonblocking(true).unwrap();
    while let Ok((count, _)) = peer.recv_from(&mut [0; 16]) {
        assert_eq!(count, 0);
        asked += 1;
    }
    assert!((1..=3).contains(&asked), "{asked}");
    peer.set_nonblocking(false).unwrap();
    let answering = thread::spawn(move || {
        let (_, from) = peer.recv_from(&mut [0; 16]).unwrap();
        peer.send_to(b"", from).unwrap();
    });
    assert_eq!(probe(&udp(address), &options()), Ok(Probe::Open(End::Net(address))));
    answering.join().unwrap();
    assert_eq!(probe(&udp(address), &options()), Ok(Probe::Closed));
}

#[test]
fn one_open_address_of_a_udp_host_is_enough() {
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = peer.local_addr().unwrap();
    let answering = thread::spawn(move || {
        let (_, from) = peer.recv_from(&mut [0; 16]).unwrap();
        peer.send_to(b"here", from).unwrap();
    });
    let to = parse(&format!("udp://:{}", address.port()));
    assert_eq!(probe(&to, &options()), Ok(Probe::Open(End::Net(address))));
    answering.join().unwrap();
    assert_eq!(probe(&to, &options()), Ok(Probe::Closed));
}
