//! The pump between sockets, pipes and files: bytes, half-closes, and every way to end.
use rustix::{
    fs::{MemfdFlags, OFlags, SeekFrom, fcntl_setfl, memfd_create, seek},
    pipe::{PipeFlags, pipe_with},
};
use sotong_net::pump::{Act, Dump, End, Flow, FlowEnd, Form, Limits, Passed, Pump, Report, Rules, Sink, Source, Then};
use std::{
    fs::File,
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::{UnixDatagram, UnixStream},
    },
    sync::mpsc::{Receiver, sync_channel},
    thread::{self, JoinHandle},
    time::Duration,
};

/// Only a guard against hanging.
const HANG: Duration = Duration::from_secs(60);
const MIB: usize = 1 << 20;

fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let dialled = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    guarded(dialled, listener.accept().unwrap().0)
}

fn guarded(ours: TcpStream, theirs: TcpStream) -> (TcpStream, TcpStream) {
    ours.set_read_timeout(Some(HANG)).unwrap();
    ours.set_write_timeout(Some(HANG)).unwrap();
    (ours, theirs)
}

/// A peer, and the pump's side of its connection.
fn tcp_end() -> (TcpStream, End) {
    let (peer, ours) = tcp();
    (peer, End::socket(ours.into()).unwrap())
}

fn pipe() -> (File, File) {
    let (outlet, inlet) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    (outlet.into(), inlet.into())
}

fn empty() -> Source {
    Source::bytes(Vec::new())
}

fn null() -> Sink {
    Sink::owned(File::options().write(true).open("/dev/null").unwrap().into()).unwrap()
}

fn memory_file(content: &[u8]) -> File {
    let mut file = File::from(memfd_create("pump", MemfdFlags::CLOEXEC).unwrap());
    file.write_all(content).unwrap();
    seek(&file, SeekFrom::Start(0)).unwrap();
    file
}

fn content(mut file: File) -> Vec<u8> {
    seek(&file, SeekFrom::Start(0)).unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Bytes that differ at every place, so that a lost or doubled piece shows.
fn noise(count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(state ^ state >> 29).to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

fn start(pump: Pump) -> Receiver<Report> {
    let (tell, told) = sync_channel(1);
    thread::spawn(move || tell.send(pump.run(None).unwrap()));
    told
}

fn report(told: &Receiver<Report>) -> Report {
    told.recv_timeout(HANG).expect("the pump ends")
}

fn run(pump: Pump) -> Report {
    report(&start(pump))
}

#[track_caller]
fn assert_passed(passed: Passed, bytes: usize, end: FlowEnd) {
    assert_eq!((passed.bytes, passed.end), (bytes as u64, end));
}

/// Writes, half-closes, and meanwhile reads to the end.
fn talk<S>(mut stream: S, text: Vec<u8>, clone: fn(&S) -> S, finish: fn(&S)) -> JoinHandle<Vec<u8>>
where
    S: Read + Write + Send + 'static,
{
    let mut reader = clone(&stream);
    thread::spawn(move || {
        let writer = thread::spawn(move || {
            stream.write_all(&text).unwrap();
            finish(&stream);
        });
        let mut got = Vec::new();
        reader.read_to_end(&mut got).unwrap();
        writer.join().unwrap();
        got
    })
}

fn talk_tcp(stream: TcpStream, text: Vec<u8>) -> JoinHandle<Vec<u8>> {
    talk(stream, text, |s| s.try_clone().unwrap(), |s| s.shutdown(Shutdown::Write).unwrap())
}

fn talk_unix(stream: UnixStream, text: Vec<u8>) -> JoinHandle<Vec<u8>> {
    talk(stream, text, |s| s.try_clone().unwrap(), |s| s.shutdown(Shutdown::Write).unwrap())
}

/// Both ways at once: spliced, and through buffers.
#[test]
fn sixty_four_mebibytes_both_ways_at_once() {
    for tapped in [false, true] {
        let flow = || Flow { tap: tapped.then(|| Dump::new(Form::Raw, io::sink()).tap(">")), ..Flow::default() };
        let (left, a) = tcp_end();
        let (right, theirs) = UnixStream::pair().unwrap();
        let pump = Pump::new(a, End::socket(theirs.into()).unwrap()).forth(flow()).back(flow());
        let told = start(pump);
        let (forth, back) = (noise(64 * MIB, 1), noise(64 * MIB, 2));
        let left = talk_tcp(left, forth.clone());
        let right = talk_unix(right, back.clone());
        assert!(right.join().unwrap() == forth, "tapped: {tapped}");
        assert!(left.join().unwrap() == back, "tapped: {tapped}");
        let report = report(&told);
        assert_passed(report.forth, forth.len(), FlowEnd::EndOfInput);
        assert_passed(report.back, back.len(), FlowEnd::EndOfInput);
    }
}

/// From a pipe to a socket and back to a pipe, whose reader is slow: the other direction does not wait for it.
#[test]
fn a_slow_reader_does_not_hold_up_the_other_direction() {
    let (peer, b) = tcp_end();
    let ((outlet, inlet), (mut slow, to_slow)) = (pipe(), pipe());
    let a = End::new(Source::owned(outlet.into()).unwrap(), Sink::owned(to_slow.into()).unwrap());
    let told = start(Pump::new(a, b));
    let (forth, back) = (noise(16 * MIB, 3), noise(8 * MIB, 4));
    let peer = talk_tcp(peer, back.clone());
    let mut inlet = inlet;
    inlet.write_all(&forth).unwrap();
    drop(inlet);
    // Nothing of `back` has been read: all of `forth` has gone through all the same.
    let mut got = Vec::new();
    slow.read_to_end(&mut got).unwrap();
    assert!(got == back);
    assert!(peer.join().unwrap() == forth);
    let report = report(&told);
    assert_passed(report.forth, forth.len(), FlowEnd::EndOfInput);
    assert_passed(report.back, back.len(), FlowEnd::EndOfInput);
}

#[test]
fn after_a_half_close_a_late_answer_still_comes() {
    let (mut left, a) = tcp_end();
    let (mut right, b) = tcp_end();
    let told = start(Pump::new(a, b));
    left.write_all(b"question").unwrap();
    left.shutdown(Shutdown::Write).unwrap();
    let mut got = Vec::new();
    right.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"question");
    thread::sleep(Duration::from_millis(300));
    right.write_all(b"late answer").unwrap();
    drop(right);
    got.clear();
    left.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"late answer");
    let report = report(&told);
    assert_passed(report.forth, 8, FlowEnd::EndOfInput);
    assert_passed(report.back, 11, FlowEnd::EndOfInput);
}

#[test]
fn a_file_is_sent_from_where_it_stands_and_its_place_moves() {
    let text = noise(3 * MIB + 17, 5);
    let file = memory_file(&text);
    seek(&file, SeekFrom::Start(5)).unwrap();
    let (peer, b) = tcp_end();
    let source = Source::owned(file.try_clone().unwrap().into()).unwrap();
    let peer = talk_tcp(peer, Vec::new());
    let report = run(Pump::new(End::new(source, null()), b));
    assert!(peer.join().unwrap() == text[5..]);
    assert_passed(report.forth, text.len() - 5, FlowEnd::EndOfInput);
    assert_eq!(seek(&file, SeekFrom::Current(0)).unwrap(), text.len() as u64);
}

#[test]
fn what_cannot_be_sent_from_the_page_cache_is_copied() {
    let (peer, b) = tcp_end();
    let source = Source::owned(File::open("/proc/self/limits").unwrap().into()).unwrap();
    let peer = talk_tcp(peer, Vec::new());
    let report = run(Pump::new(End::new(source, null()), b));
    let got = peer.join().unwrap();
    assert!(got.starts_with(b"Limit "), "{}", String::from_utf8_lossy(&got));
    assert_passed(report.forth, got.len(), FlowEnd::EndOfInput);
}

#[test]
fn a_folder_is_no_input() {
    let (_peer, b) = tcp_end();
    let source = Source::owned(File::open("/").unwrap().into()).unwrap();
    let FlowEnd::Failed(fault) = run(Pump::new(End::new(source, null()), b)).forth.end else {
        panic!("a folder was read")
    };
    assert_eq!((fault.act, fault.kind), (Act::Read, io::ErrorKind::IsADirectory));
}

/// A plain file, one that only appends (which refuses splice), and a device.
#[test]
fn a_connection_is_written_to_files() {
    let text = noise(5 * MIB + 3, 6);
    for append in [false, true] {
        let file = memory_file(b"");
        if append {
            fcntl_setfl(&file, OFlags::APPEND).unwrap();
        }
        let (peer, b) = tcp_end();
        let peer = talk_tcp(peer, text.clone());
        let report = run(Pump::new(End::new(empty(), Sink::owned(file.try_clone().unwrap().into()).unwrap()), b));
        assert_passed(report.back, text.len(), FlowEnd::EndOfInput);
        assert!(content(file) == text, "append: {append}");
        assert_eq!(peer.join().unwrap(), b"");
    }
    let (peer, b) = tcp_end();
    let peer = talk_tcp(peer, text.clone());
    assert_passed(run(Pump::new(End::new(empty(), null()), b)).back, text.len(), FlowEnd::EndOfInput);
    peer.join().unwrap();
}

#[test]
fn a_full_disk_is_told_and_the_peer_is_not_reset() {
    let (peer, b) = tcp_end();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let (outlet, _inlet) = pipe();
    let a = End::new(Source::owned(outlet.into()).unwrap(), Sink::owned(full.into()).unwrap());
    let peer = talk_tcp(peer, noise(8 * MIB, 7));
    let report = run(Pump::new(a, b));
    let FlowEnd::Failed(fault) = report.back.end else { panic!("{:?}", report.back) };
    assert_eq!((fault.act, fault.kind), (Act::Write, io::ErrorKind::StorageFull));
    assert_eq!(fault.to_string(), "writing: No space left on device (os error 28)");
    assert_eq!(report.forth.end, FlowEnd::Released);
    drop(peer);
}

#[test]
fn a_reset_ends_both_directions_and_is_told() {
    let (peer, b) = tcp_end();
    let (outlet, _inlet) = pipe();
    let told = start(Pump::new(End::new(Source::owned(outlet.into()).unwrap(), null()), b));
    (&peer).write_all(b"last words").unwrap();
    thread::sleep(Duration::from_millis(100));
    socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    let report = report(&told);
    assert_passed(report.back, 10, FlowEnd::PeerReset);
    assert_passed(report.forth, 0, FlowEnd::PeerReset);
}

/// Whichever direction meets the reset first: the sender here, while the reader waits for a pipe that is full.
#[test]
fn a_reset_seen_by_the_sender_first_is_told_too() {
    let (mut peer, ours) = UnixStream::pair().unwrap();
    let (outlet, mut inlet) = pipe();
    let a = End::new(Source::owned(outlet.into()).unwrap(), null());
    let told = start(Pump::new(a, End::socket(ours.into()).unwrap()));
    inlet.write_all(b"never read").unwrap();
    peer.write_all(b"x").unwrap();
    thread::sleep(Duration::from_millis(100));
    // Unread bytes make a Unix socket's close a reset.
    drop(peer);
    let report = report(&told);
    assert_eq!((report.forth.end, report.back.end), (FlowEnd::PeerReset, FlowEnd::PeerReset));
}

#[test]
fn a_peer_that_has_ended_and_left_is_a_broken_pipe() {
    let (peer, b) = tcp_end();
    let (outlet, mut inlet) = pipe();
    let told = start(Pump::new(End::new(Source::owned(outlet.into()).unwrap(), null()), b));
    drop(peer);
    // The first write asks for the reset, the second meets it.
    while inlet.write_all(b"anybody?").is_ok() {
        thread::sleep(Duration::from_millis(20));
    }
    let report = report(&told);
    assert_eq!((report.forth.end, report.back.end), (FlowEnd::BrokenPipe, FlowEnd::EndOfInput));
}

/// `… | head -1`: nobody reads, and nobody speaks either.
#[test]
fn a_reader_that_leaves_is_noticed_while_nothing_is_said() {
    let (mut peer, b) = tcp_end();
    let ((outlet, inlet), (reader, to_reader)) = (pipe(), pipe());
    let a = End::new(Source::owned(outlet.into()).unwrap(), Sink::owned(to_reader.into()).unwrap());
    let rules = Rules { after_back_broke: Then::Finish, ..Rules::default() };
    let told = start(Pump::new(a, b).rules(rules));
    drop(reader);
    let report = report(&told);
    assert_eq!((report.forth.end, report.back.end), (FlowEnd::Released, FlowEnd::BrokenPipe));
    assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0);
    drop(inlet);
}

/// A program that reads one line and then answers at length, to a peer that says everything before it reads anything.
#[test]
fn what_nobody_reads_is_discarded_while_the_other_direction_goes_on() {
    let (mut peer, a) = tcp_end();
    let ((outlet, mut inlet), (reader, to_reader)) = (pipe(), pipe());
    let b = End::new(Source::owned(outlet.into()).unwrap(), Sink::owned(to_reader.into()).unwrap());
    let told = start(Pump::new(a, b));
    drop(reader);
    peer.write_all(&noise(32 * MIB, 8)).unwrap();
    let answer = noise(4 * MIB, 9);
    let wanted = answer.clone();
    let program = thread::spawn(move || inlet.write_all(&answer).unwrap());
    let mut got = Vec::new();
    peer.read_to_end(&mut got).unwrap();
    assert!(got == wanted);
    program.join().unwrap();
    let report = report(&told);
    assert_passed(report.back, wanted.len(), FlowEnd::EndOfInput);
    assert_eq!(report.forth.end, FlowEnd::BrokenPipe);
}

#[test]
fn when_b_ends_a_terminal_is_let_go_and_what_was_read_is_sent() {
    let (mut peer, b) = tcp_end();
    let (outlet, mut inlet) = pipe();
    let rules = Rules { after_b_ended: Then::Finish, ..Rules::default() };
    let told = start(Pump::new(End::new(Source::owned(outlet.into()).unwrap(), null()), b).rules(rules));
    let text = noise(64 << 10, 10);
    inlet.write_all(&text).unwrap();
    let mut got = vec![0; text.len()];
    peer.read_exact(&mut got).unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    let report = report(&told);
    assert!(got == text);
    assert_passed(report.forth, text.len(), FlowEnd::Released);
    assert_eq!(report.back.end, FlowEnd::EndOfInput);
    assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0);
    drop(inlet);
}

#[test]
fn idle_and_total_time_end_it() {
    let short = Duration::from_millis(150);
    for (limits, end) in [
        (Limits { idle: Some(short), ..Limits::default() }, FlowEnd::Idle),
        (Limits { total: Some(short), ..Limits::default() }, FlowEnd::TimeUp),
    ] {
        let (mut peer, b) = tcp_end();
        let (outlet, _inlet) = pipe();
        let report = run(Pump::new(End::new(Source::owned(outlet.into()).unwrap(), null()), b).limits(limits));
        assert_eq!((report.forth.end, report.back.end), (end, end));
        assert!(report.time >= short);
        assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0);
    }
}

/// A peer that never reads is no peer without a limit: the idle limit counts bytes that move, not bytes that wait.
#[test]
fn a_peer_that_never_reads_is_ended_by_the_idle_limit_alone() {
    let (_peer, b) = tcp_end();
    let limits = Limits { idle: Some(Duration::from_millis(300)), ..Limits::default() };
    let a = End::new(Source::bytes(noise(64 * MIB, 11)), null());
    let report = run(Pump::new(a, b).limits(limits));
    assert_eq!(report.forth.end, FlowEnd::Idle);
    assert!(report.forth.bytes > 0);
}

#[test]
fn traffic_keeps_the_idle_limit_away() {
    let (mut peer, b) = tcp_end();
    let limits = Limits { idle: Some(Duration::from_secs(2)), ..Limits::default() };
    let told = start(Pump::new(End::new(empty(), null()), b).limits(limits));
    for _ in 0..30 {
        peer.write_all(b".").unwrap();
        thread::sleep(Duration::from_millis(100));
    }
    drop(peer);
    assert_passed(report(&told).back, 30, FlowEnd::EndOfInput);
}

#[test]
fn stop_writes_what_was_read_and_closes() {
    let (stop, stopper) = pipe();
    let (mut left, a) = tcp_end();
    let (mut right, b) = tcp_end();
    let (tell, told) = sync_channel(1);
    thread::spawn(move || tell.send(Pump::new(a, b).run(Some(stop.as_fd())).unwrap()));
    left.write_all(b"before").unwrap();
    let mut got = [0; 6];
    right.read_exact(&mut got).unwrap();
    (&stopper).write_all(b"!").unwrap();
    // Both peers see a plain end, and bytes that come too late make no reset.
    assert_eq!(right.read_to_end(&mut Vec::new()).unwrap(), 0);
    right.write_all(b"late").unwrap();
    assert_eq!(left.read_to_end(&mut Vec::new()).unwrap(), 0);
    drop((left, right));
    let report = report(&told);
    assert_passed(report.forth, 6, FlowEnd::Stopped);
    assert_eq!(report.back.end, FlowEnd::Stopped);
}

#[test]
fn a_stop_waits_for_a_stuck_peer_no_longer_than_the_drain_limit() {
    let (stop, stopper) = pipe();
    let (_peer, b) = tcp_end();
    let limits = Limits { drain: Duration::from_millis(200), linger: Duration::from_millis(100), ..Limits::default() };
    let pump = Pump::new(End::new(Source::bytes(noise(64 * MIB, 12)), null()), b).limits(limits);
    let (tell, told) = sync_channel(1);
    thread::spawn(move || tell.send(pump.run(Some(stop.as_fd())).unwrap()));
    thread::sleep(Duration::from_millis(200));
    drop(stopper);
    assert_eq!(report(&told).forth.end, FlowEnd::Stopped);
}

#[test]
fn line_ends_are_translated_on_the_way_and_the_log_sees_what_is_sent() {
    let (peer, b) = tcp_end();
    let log = memory_file(b"");
    let dump = Dump::new(Form::Raw, log.try_clone().unwrap());
    let forth = Flow { crlf: true, tap: Some(dump.tap(">")) };
    let peer = talk_tcp(peer, b"b\nc\n".to_vec());
    let a = End::new(Source::bytes(b"a\nx\r\n".to_vec()), null());
    let report = run(Pump::new(a, b).forth(forth));
    assert_eq!(peer.join().unwrap(), b"a\r\nx\r\n");
    assert_passed(report.forth, 6, FlowEnd::EndOfInput);
    assert_passed(report.back, 4, FlowEnd::EndOfInput);
    assert_eq!(content(log), b"a\r\nx\r\n");
}

#[test]
fn a_log_that_cannot_be_written_ends_the_direction_and_is_told() {
    let (peer, b) = tcp_end();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let back = Flow { tap: Some(Dump::new(Form::Hex, full).tap("<")), ..Flow::default() };
    (&peer).write_all(b"hello").unwrap();
    let (outlet, _inlet) = pipe();
    let report = run(Pump::new(End::new(Source::owned(outlet.into()).unwrap(), null()), b).back(back));
    let FlowEnd::Failed(fault) = report.back.end else { panic!("{:?}", report.back) };
    assert_eq!((fault.act, fault.kind), (Act::Log, io::ErrorKind::StorageFull));
}

#[test]
fn a_tap_that_panics_costs_its_direction_and_hangs_nobody() {
    let (peer, b) = tcp_end();
    (&peer).write_all(b"hello").unwrap();
    let back = Flow { tap: Some(Box::new(|_| panic!("a tap panics on purpose"))), ..Flow::default() };
    let (outlet, _inlet) = pipe();
    let report = run(Pump::new(End::new(Source::owned(outlet.into()).unwrap(), null()), b).back(back));
    assert!(matches!(report.back.end, FlowEnd::Failed(_)), "{:?}", report.back);
}

fn udp() -> (UdpSocket, OwnedFd) {
    let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let ours = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    ours.connect(peer.local_addr().unwrap()).unwrap();
    peer.connect(ours.local_addr().unwrap()).unwrap();
    peer.set_read_timeout(Some(HANG)).unwrap();
    (peer, ours.into())
}

#[test]
fn each_read_is_a_datagram_and_quiet_ends_it_well() {
    let (peer, ours) = udp();
    let (outlet, mut inlet) = pipe();
    let (mut answers, to_answers) = pipe();
    let a = End::new(Source::owned(outlet.into()).unwrap(), Sink::owned(to_answers.into()).unwrap());
    // Once there is nothing more to say, the idle limit is no matter.
    let limits = Limits { idle: Some(HANG), quiet: Some(Duration::from_millis(300)), ..Limits::default() };
    let told = start(Pump::new(a, End::socket(ours).unwrap()).limits(limits));
    let mut buffer = [0; 100];
    for line in ["하나\n", "둘\n"] {
        inlet.write_all(line.as_bytes()).unwrap();
        let count = peer.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], line.as_bytes());
        peer.send(line.as_bytes()).unwrap();
    }
    // An empty datagram is not the end.
    peer.send(b"").unwrap();
    peer.send(b"end").unwrap();
    drop(inlet);
    let mut got = String::new();
    answers.read_to_string(&mut got).unwrap();
    assert_eq!(got, "하나\n둘\nend");
    let report = report(&told);
    assert_eq!((report.forth.end, report.back.end), (FlowEnd::EndOfInput, FlowEnd::Quiet));
}

#[test]
fn datagrams_pass_between_two_sockets_whole_even_empty() {
    let (left, ours) = UnixDatagram::pair().unwrap();
    let (right, theirs) = udp();
    left.set_read_timeout(Some(HANG)).unwrap();
    let limits = Limits { idle: Some(Duration::from_millis(500)), ..Limits::default() };
    let told = start(Pump::new(End::socket(ours.into()).unwrap(), End::socket(theirs).unwrap()).limits(limits));
    let mut buffer = vec![0; 70_000];
    for size in [1, 0, 65_507, 1_400] {
        let text = noise(size, size as u64);
        left.send(&text).unwrap();
        let count = right.recv(&mut buffer).unwrap();
        assert!(buffer[..count] == text, "{size} bytes forth");
        right.send(&text).unwrap();
        let count = left.recv(&mut buffer).unwrap();
        assert!(buffer[..count] == text, "{size} bytes back");
    }
    let report = report(&told);
    assert_eq!((report.forth.end, report.back.end), (FlowEnd::Idle, FlowEnd::Idle));
}

#[test]
fn a_udp_peer_that_is_not_there_is_told() {
    let (peer, ours) = udp();
    drop(peer);
    let (outlet, _inlet) = pipe();
    let source = Source::bytes(b"anybody?".to_vec());
    let report = run(Pump::new(End::new(source, null()), End::socket(ours).unwrap()));
    let FlowEnd::Failed(fault) = report.back.end else { panic!("{:?}", report.back) };
    assert_eq!((fault.act, fault.kind), (Act::Read, io::ErrorKind::ConnectionRefused));
    drop(outlet);
}
