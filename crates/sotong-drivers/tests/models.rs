//! The rules of the contract that only a driver with sockets can break, under every model.
use sotong_drivers::{Model, Options, Report, serve};
use sotong_net::{
    endpoint::Endpoint,
    listen::{ListenOptions, listen},
    signals::Stop,
};
use sotong_session::{
    Address, CheckedService, Close, Cx, Event, Host, Limits, Records, Service, Session, Stream, Topic, Wants, Way,
};
use sotong_shard::{Closed, Observer};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

const HANG: Duration = Duration::from_secs(30);

/// A server on a thread of its own, stopped when dropped.
struct Running {
    stop: Stop,
    at: SocketAddr,
    thread: Option<JoinHandle<Report>>,
}

impl Running {
    fn start<S>(model: Model, scheme: &str, service: S, options: Options) -> Self
    where
        S: Service + Sync,
        S::Session: Stream + Records,
    {
        let endpoint: Endpoint = format!("{scheme}://127.0.0.1:0").parse().unwrap();
        let how = ListenOptions { datagram_sockets: options.workers, ..ListenOptions::default() };
        let bound = listen(&[endpoint], &how).unwrap();
        let shown = bound[0].endpoint().to_string();
        let at = shown.rsplit_once("//").unwrap().1.parse().unwrap();
        let stop = Stop::new().unwrap();
        let thread = {
            let stop = stop.clone();
            std::thread::spawn(move || serve(model, CheckedService(service), bound, &options, &stop).unwrap())
        };
        Self { stop, at, thread: Some(thread) }
    }
    fn connect(&self) -> TcpStream {
        let peer = TcpStream::connect(self.at).unwrap();
        peer.set_read_timeout(Some(HANG)).unwrap();
        peer
    }
    fn finish(mut self) -> Report {
        self.stop.drain();
        let report = self.thread.take().unwrap().join().unwrap();
        assert_eq!(report.counters.broken, 0);
        report
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.leave();
    }
}

fn options(workers: usize) -> Options {
    Options { workers, ..Options::default() }
}

/// Echo without mail: what the blocking path of `threads` is for.
#[derive(Clone)]
struct Echo;
impl Service for Echo {
    type Session = Self;
    fn open(&self, _: &Way) -> Result<Self, Close> {
        Ok(Self)
    }
    fn lost(&self, _: Address, _: &mut dyn Host<std::convert::Infallible>) {}
}
impl Session for Echo {
    type Mail = std::convert::Infallible;
    fn handle(&mut self, event: Event<'_, Self::Mail>, cx: &mut Cx<'_, Self::Mail>) -> Result<(), Close> {
        match event {
            Event::Input(mut input) => {
                let records = cx.out.kind() == sotong_session::Kind::Records;
                let count = if records { input.bytes().len() } else { input.bytes().len().min(cx.out.room()) };
                assert!(!input.bytes().starts_with(b"panic"), "asked to");
                cx.out.put(&input.bytes()[..count]);
                cx.out.cut();
                input.take(count);
            }
            Event::End => cx.out.finish(),
            Event::Stop => {
                cx.out.put(b"bye\n");
                return Err(Close::Stop);
            }
            _ => {}
        }
        Ok(())
    }
    fn wants(&self) -> Wants {
        Wants::INPUT
    }
}
impl Stream for Echo {}
impl Records for Echo {}

/// Everything said is published to one topic, and answered to the sender by a post to itself.
#[derive(Clone, Default)]
struct Hub {
    lost: Arc<AtomicUsize>,
}
struct Member;
impl Service for Hub {
    type Session = Member;
    fn open(&self, _: &Way) -> Result<Member, Close> {
        Ok(Member)
    }
    fn lost(&self, _: Address, _: &mut dyn Host<Arc<[u8]>>) {
        self.lost.fetch_add(1, Ordering::SeqCst);
    }
}
const ALL: Topic = Topic(1);
impl Session for Member {
    type Mail = Arc<[u8]>;
    fn handle(&mut self, event: Event<'_, Self::Mail>, cx: &mut Cx<'_, Self::Mail>) -> Result<(), Close> {
        match event {
            Event::Open(_) => {
                cx.host.join(ALL, cx.me);
                cx.out.put(b"in\n");
            }
            Event::Input(mut input) => {
                while let Some(end) = input.bytes().iter().position(|byte| *byte == b'\n') {
                    let line: Arc<[u8]> = input.bytes()[..=end].into();
                    assert!(!line.starts_with(b"panic"), "asked to");
                    if line.starts_with(b"PING") {
                        cx.out.put(b"PONG\n");
                    } else {
                        cx.host.publish(ALL, Some(cx.me), line);
                    }
                    input.take(end + 1);
                }
            }
            Event::Mail(line) => cx.out.put(line),
            Event::End => cx.out.finish(),
            Event::Stop => return Err(Close::Stop),
            _ => {}
        }
        Ok(())
    }
    fn wants(&self) -> Wants {
        Wants::INPUT
    }
}
impl Stream for Member {}
impl Records for Member {}

fn read_line(peer: &mut TcpStream) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.last() != Some(&b'\n') {
        assert_eq!(peer.read(&mut byte).unwrap(), 1, "ended after {:?}", String::from_utf8_lossy(&line));
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

fn each(test: impl Fn(Model)) {
    each_of(|_| true, test);
}

/// Every model that serves several connections at once. `sequential` has its own tests, in tests/sequential.rs.
fn each_concurrent(test: impl Fn(Model)) {
    each_of(|model| model != Model::Sequential, test);
}

/// Every model under which sessions can send each other mail.
fn each_shared(test: impl Fn(Model)) {
    each_of(|model| model.check::<Hub>().is_ok(), test);
}

fn each_of(includes: impl Fn(Model) -> bool, test: impl Fn(Model)) {
    // Not `processes`, whose workers run their program's `main` again, and that of these tests would test on: it has a
    // program of its own, in tests/processes.rs.
    let models = Model::ALL.into_iter().filter(|model| *model != Model::Processes);
    for model in models.filter(|model| includes(*model)) {
        eprintln!("model {model}");
        test(model);
    }
}

#[test]
fn echoes_and_half_closes() {
    each(|model| {
        let server = Running::start(model, "tcp", Echo, options(2));
        let mut peer = server.connect();
        peer.write_all("안녕하세요, 서버!".as_bytes()).unwrap();
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        let mut all = String::new();
        peer.read_to_string(&mut all).unwrap();
        assert_eq!(all, "안녕하세요, 서버!");
        let report = server.finish();
        assert_eq!(report.counters.closed.get("done"), Some(&1));
        assert_eq!((report.counters.bytes_in, report.counters.bytes_out), (24, 24));
    });
}

#[test]
fn carries_much_both_ways_at_once() {
    each(|model| {
        let server = Running::start(model, "tcp", Echo, options(1));
        let mut peer = server.connect();
        let mut reader = peer.try_clone().unwrap();
        const BYTES: usize = 64 << 20;
        let writer = std::thread::spawn(move || {
            let chunk: Vec<u8> = (0..=255).cycle().take(64 << 10).collect();
            for _ in 0..BYTES / chunk.len() {
                peer.write_all(&chunk).unwrap();
            }
            peer.shutdown(std::net::Shutdown::Write).unwrap();
        });
        let (mut got, mut chunk) = (0usize, vec![0; 100_000]);
        loop {
            let count = reader.read(&mut chunk).unwrap();
            if count == 0 {
                break;
            }
            assert!(chunk[..count].iter().enumerate().all(|(at, byte)| *byte == (got + at) as u8));
            got += count;
        }
        writer.join().unwrap();
        assert_eq!(got, BYTES);
        server.finish();
    });
}

#[test]
fn says_goodbye_on_stop() {
    each_concurrent(|model| {
        for workers in [1, 3] {
            let server = Running::start(model, "tcp", Echo, options(workers));
            let mut peers: Vec<_> = (0..20).map(|_| server.connect()).collect();
            for peer in &mut peers {
                peer.write_all(b"x").unwrap();
                assert_eq!(peer.read(&mut [0]).unwrap(), 1);
            }
            server.stop.drain();
            for peer in &mut peers {
                let mut rest = String::new();
                peer.read_to_string(&mut rest).unwrap();
                assert_eq!(rest, "bye\n");
            }
            let report = server.finish();
            assert_eq!((report.cut, report.counters.closed.get("stop")), (0, Some(&20)));
        }
    });
}

#[test]
fn a_second_stop_leaves_at_once() {
    each(|model| {
        // Never reads: the drain alone would take its whole time.
        let limits = Limits { drain: Duration::from_secs(3600), stall: Duration::from_secs(3600), ..Limits::default() };
        let server = Running::start(model, "tcp", Echo, Options { limits, ..options(1) });
        let mut peer = server.connect();
        peer.set_nonblocking(true).unwrap();
        // Full for good: a server that had no time meanwhile would still make room.
        let mut full = 0;
        while full < 300 {
            full = if peer.write(&[0; 65536]).is_ok() { 0 } else { full + 1 };
            std::thread::sleep(Duration::from_millis(1));
        }
        server.stop.drain();
        server.stop.leave();
        let report = server.finish();
        assert!(report.left_at_once);
        assert_eq!(report.cut, 1);
    });
}

#[test]
fn a_peer_that_never_reads_is_cut_and_harms_nobody() {
    each_concurrent(|model| {
        let limits = Limits { stall: Duration::from_millis(300), ..Limits::default() };
        let server = Running::start(model, "tcp", Echo, Options { limits, ..options(1) });
        let hog = server.connect();
        hog.set_nonblocking(true).unwrap();
        let mut other = server.connect();
        let mut sent = 0;
        let start = std::time::Instant::now();
        loop {
            match (&hog).write(&[0; 65536]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(_) => break,
            }
            other.write_all(b"x").unwrap();
            assert_eq!(other.read(&mut [0]).unwrap(), 1);
            assert!(start.elapsed() < HANG, "the hog was not cut after {sent} bytes");
        }
        assert!(sent < 32 << 20, "{sent} bytes were taken from a peer that never reads");
        drop(other);
        let report = server.finish();
        assert_eq!(report.counters.closed.get("slow"), Some(&1), "{report:?}");
    });
}

#[test]
fn a_panic_costs_one_connection_also_without_mail() {
    each(|model| {
        let server = Running::start(model, "tcp", Echo, options(2));
        for round in 0..3 {
            let mut bad = server.connect();
            bad.write_all(b"panic").unwrap();
            // Its connection is closed or reset; nothing is said.
            let mut rest = Vec::new();
            let _ = bad.read_to_end(&mut rest);
            assert_eq!(rest, b"");
            let mut good = server.connect();
            good.write_all(b"x").unwrap();
            assert_eq!(good.read(&mut [0]).unwrap(), 1, "{model}: round {round}");
        }
        let report = server.finish();
        assert_eq!((report.counters.panics, report.counters.closed.get("fault")), (3, Some(&3)));
    });
}

#[test]
fn a_panic_costs_one_session() {
    each_shared(|model| {
        let hub = Hub::default();
        let server = Running::start(model, "tcp", hub.clone(), options(2));
        let (mut bad, mut good, mut other) = (server.connect(), server.connect(), server.connect());
        for peer in [&mut bad, &mut good, &mut other] {
            assert_eq!(read_line(peer), "in\n");
        }
        bad.write_all(b"panic\n").unwrap();
        let mut rest = Vec::new();
        let _ = bad.read_to_end(&mut rest);
        good.write_all(b"still here\n").unwrap();
        assert_eq!(read_line(&mut other), "still here\n");
        let report = server.finish();
        assert_eq!((report.counters.panics, hub.lost.load(Ordering::SeqCst)), (1, 1));
    });
}

#[test]
fn an_effect_comes_before_the_answer_to_what_is_said_later() {
    each_shared(|model| {
        for workers in [1, 2] {
            let server = Running::start(model, "tcp", Hub::default(), options(workers));
            let (mut alice, mut bob) = (server.connect(), server.connect());
            for peer in [&mut alice, &mut bob] {
                peer.set_nodelay(true).unwrap();
                assert_eq!(read_line(peer), "in\n");
            }
            for round in 0..2000 {
                // Alice's pong says that her line was taken: it must be on Bob's socket before the pong to his ping.
                alice.write_all(format!("line {round}\nPING\n").as_bytes()).unwrap();
                assert_eq!(read_line(&mut alice), "PONG\n");
                bob.write_all(b"PING\n").unwrap();
                assert_eq!(read_line(&mut bob), format!("line {round}\n"), "{model} with {workers} workers");
                assert_eq!(read_line(&mut bob), "PONG\n");
            }
            server.finish();
        }
    });
}

#[test]
fn many_speak_in_one_order() {
    each_shared(|model| {
        let server = Running::start(model, "tcp", Hub::default(), options(3));
        let mut listeners: Vec<_> = (0..4).map(|_| server.connect()).collect();
        let mut speakers: Vec<_> = (0..5).map(|_| server.connect()).collect();
        for peer in listeners.iter_mut().chain(&mut speakers) {
            assert_eq!(read_line(peer), "in\n");
        }
        const LINES: usize = 400;
        let threads: Vec<_> = speakers
            .into_iter()
            .enumerate()
            .map(|(who, mut peer)| {
                std::thread::spawn(move || {
                    for line in 0..LINES {
                        peer.write_all(format!("{who} {line}\n").as_bytes()).unwrap();
                    }
                    peer.shutdown(std::net::Shutdown::Write).unwrap();
                    let mut rest = String::new();
                    peer.read_to_string(&mut rest).unwrap();
                })
            })
            .collect();
        let heard: Vec<Vec<String>> =
            listeners.iter_mut().map(|peer| (0..5 * LINES).map(|_| read_line(peer)).collect()).collect();
        for thread in threads {
            thread.join().unwrap();
        }
        for other in &heard[1..] {
            assert!(heard[0] == *other, "two members heard different orders under {model}");
        }
        for who in 0..5 {
            let his: Vec<_> = heard[0].iter().filter(|line| line.starts_with(&format!("{who} "))).collect();
            assert_eq!(
                his,
                (0..LINES).map(|line| format!("{who} {line}\n")).collect::<Vec<_>>().iter().collect::<Vec<_>>()
            );
        }
        server.finish();
    });
}

#[test]
fn datagrams_have_a_session_for_each_peer() {
    each(|model| {
        let server = Running::start(model, "udp", Echo, options(2));
        let peers: Vec<_> = (0..50).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        for peer in &peers {
            peer.set_read_timeout(Some(HANG)).unwrap();
            peer.connect(server.at).unwrap();
        }
        for round in 0..3u8 {
            for (number, peer) in (0u8..).zip(&peers) {
                peer.send(&[round, number]).unwrap();
            }
            for (number, peer) in (0u8..).zip(&peers) {
                let mut buffer = [0; 16];
                assert_eq!(peer.recv(&mut buffer).unwrap(), 2);
                assert_eq!(buffer[..2], [round, number]);
            }
        }
        peers[0].send(b"").unwrap();
        assert_eq!(peers[0].recv(&mut [0; 16]).unwrap(), 0, "an empty datagram is a record too");
        let report = server.finish();
        assert_eq!(report.counters.opened, 50);
    });
}

#[test]
fn places_are_limited_and_given_on() {
    each_concurrent(|model| {
        let server = Running::start(model, "tcp", Echo, Options { conns_max: Some(2), ..options(1) });
        let (mut first, mut second) = (server.connect(), server.connect());
        for peer in [&mut first, &mut second] {
            peer.write_all(b"x").unwrap();
            assert_eq!(peer.read(&mut [0]).unwrap(), 1);
        }
        let mut third = server.connect();
        third.write_all(b"y").unwrap();
        third.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        assert!(third.read(&mut [0]).is_err(), "there are two places");
        drop(first);
        third.set_read_timeout(Some(HANG)).unwrap();
        assert_eq!(third.read(&mut [0]).unwrap(), 1);
        drop((second, third));
        server.finish();
    });
}

/// With so many places the way in which some models accept changes as they fill, and back as they become free: nobody may be
/// lost at either change, and the limit holds.
#[test]
fn nobody_is_lost_while_places_fill_and_become_free() {
    const PLACES: usize = 5200;
    each_concurrent(|model| {
        // A thread for each would say nothing more.
        if model == Model::Threads {
            return;
        }
        let server = Running::start(model, "tcp", Echo, Options { conns_max: Some(PLACES), ..options(2) });
        let mut peers = std::collections::VecDeque::new();
        for round in 0..3 {
            for _ in 0..700 {
                peers.push_back(server.connect());
            }
            for peer in &mut peers {
                peer.write_all(b"x").unwrap();
            }
            for peer in &mut peers {
                assert_eq!(peer.read(&mut [0]).unwrap(), 1, "{model}, round {round}");
            }
            if round == 1 {
                peers.drain(..1300);
            }
        }
        drop(peers);
        assert_eq!(server.finish().counters.opened, 2100);
    });
}

/// How many connections are over.
#[derive(Default)]
struct CountClosed(AtomicUsize);
impl Observer for CountClosed {
    fn opened(&self, _: Address, _: &Way) {}
    fn closed(&self, _: &Closed<'_>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_reset_is_told() {
    each(|model| {
        let closed = Arc::new(CountClosed::default());
        let options = Options { observer: Arc::<CountClosed>::clone(&closed), ..options(1) };
        let server = Running::start(model, "tcp", Echo, options);
        let mut peer = server.connect();
        peer.write_all(b"x").unwrap();
        // Closing with unread input resets.
        assert_eq!(peer.peek(&mut [0]).unwrap(), 1);
        drop(peer);
        let mut other = server.connect();
        other.write_all(b"y").unwrap();
        assert_eq!(other.read(&mut [0]).unwrap(), 1);
        drop(other);
        let began = std::time::Instant::now();
        while closed.0.load(Ordering::SeqCst) < 2 {
            assert!(began.elapsed() < HANG, "{model}: both are over");
            std::thread::sleep(Duration::from_millis(1));
        }
        let report = server.finish();
        assert_eq!(report.counters.closed.get("reset"), Some(&1), "{report:?}");
    });
}
