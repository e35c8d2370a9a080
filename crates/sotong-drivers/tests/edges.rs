//! What the kernel does at the edges: urgent bytes, resets behind last words, files to peers that do not read, waits that
//! make the time old.
use sotong_drivers::{Model, Options, Report, serve};
use sotong_net::{
    endpoint::Endpoint,
    listen::{ListenOptions, listen},
    signals::Stop,
};
use sotong_session::{
    Address, CheckedService, Close, Cx, Event, FileRange, Host, Limits, Moment, Pace, Records, Service, Session,
    Source, Stream, Wants, Way,
};
use std::{
    convert::Infallible,
    io::{Read, Write},
    net::TcpStream,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixStream},
    },
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

const HANG: Duration = Duration::from_secs(30);

/// A server on a thread of its own, stopped when dropped.
struct Running {
    stop: Stop,
    at: std::net::SocketAddr,
    thread: Option<JoinHandle<Report>>,
}

impl Running {
    /// With one worker, so that a session which takes its time holds up all others of a model with loops.
    fn start<S>(model: Model, service: S, limits: Limits) -> Self
    where
        S: Service + Sync,
        S::Session: Stream + Records,
    {
        let endpoint: Endpoint = "tcp://127.0.0.1:0".parse().unwrap();
        let bound = listen(&[endpoint], &ListenOptions::default()).unwrap();
        let at = bound[0].endpoint().to_string().rsplit_once("//").unwrap().1.parse().unwrap();
        let stop = Stop::new().unwrap();
        let thread = {
            let (stop, options) = (stop.clone(), Options { workers: 1, limits, ..Options::default() });
            std::thread::spawn(move || serve(model, CheckedService(service), bound, &options, &stop).unwrap())
        };
        Self { stop, at, thread: Some(thread) }
    }
    /// Connects, and reads the greeting.
    fn connect(&self) -> TcpStream {
        let mut peer = TcpStream::connect(self.at).unwrap();
        peer.set_read_timeout(Some(HANG)).unwrap();
        peer.read_exact(&mut [0; 3]).unwrap();
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

/// The beginning of what a peer says that is kept.
const KEPT_BYTES_MAX: usize = 64;

/// Says `hi`, then echoes, and keeps what each peer said. `slow` takes a while; `time` is answered with the milliseconds
/// since `Open`; `file` with a file of 256 MiB; after
/// `hold` nothing more is taken.
#[derive(Clone, Default)]
struct Desk {
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
}
struct Talk {
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
    mine: Vec<u8>,
    opened: Moment,
    holds: bool,
}
impl Service for Desk {
    type Session = Talk;
    fn open(&self, _: &Way) -> Result<Talk, Close> {
        Ok(Talk { heard: Arc::clone(&self.heard), mine: Vec::new(), opened: Moment::START, holds: false })
    }
    fn lost(&self, _: Address, _: &mut dyn Host<Infallible>) {}
}
impl Session for Talk {
    type Mail = Infallible;
    fn handle(&mut self, event: Event<'_, Infallible>, cx: &mut Cx<'_, Infallible>) -> Result<(), Close> {
        match event {
            Event::Open(_) => {
                self.opened = cx.now;
                cx.out.put(b"hi\n");
            }
            Event::Input(mut input) => {
                let count = input.bytes().len().min(KEPT_BYTES_MAX.saturating_sub(self.mine.len()));
                self.mine.extend_from_slice(&input.bytes()[..count]);
                match input.bytes() {
                    b"hold" => self.holds = true,
                    b"slow" => std::thread::sleep(Duration::from_millis(300)),
                    b"time" => cx.out.put(format!("{:>8}", cx.now.since(self.opened).as_millis()).as_bytes()),
                    b"file" => cx.out.file(large_file()).expect("a socket takes files"),
                    bytes => {
                        let count = bytes.len().min(cx.out.room());
                        cx.out.put(&bytes[..count]);
                        input.take(count);
                        return Ok(());
                    }
                }
                input.take_all();
            }
            Event::End => cx.out.finish(),
            Event::Stop => return Err(Close::Stop),
            Event::Gone(_) => self.heard.lock().unwrap().push(std::mem::take(&mut self.mine)),
            Event::Mail(never) => match *never {},
            Event::Again | Event::Deadline | Event::Drained => {}
        }
        Ok(())
    }
    fn wants(&self) -> Wants {
        if self.holds { Wants { input: Pace::Hold, deadline: None } } else { Wants::INPUT }
    }
}
impl Stream for Talk {}
impl Records for Talk {}

const FILE_BYTES: u64 = 256 << 20;

/// More than all buffers on the way hold, and no block on any disk.
fn large_file() -> FileRange {
    let file = rustix::fs::memfd_create("large", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&file, FILE_BYTES).unwrap();
    let file: Arc<dyn Source> = Arc::new(file);
    FileRange { file, range: 0..FILE_BYTES }
}

fn each(test: impl Fn(Model)) {
    // Workers of `processes` would run these tests again; their loop is that of `epoll`.
    for model in Model::ALL.into_iter().filter(|model| *model != Model::Processes) {
        eprintln!("model {model}");
        test(model);
    }
}

/// Every model that serves several connections at once: `sequential` lets the second one wait.
fn each_concurrent(test: impl Fn(Model)) {
    each(|model| {
        if model != Model::Sequential {
            test(model);
        }
    });
}

/// A read stops in front of an urgent byte, so that it comes back short although more is there.
#[test]
fn bytes_behind_an_urgent_one_are_read() {
    each(|model| {
        let server = Running::start(model, Desk::default(), Limits::default());
        let (mut slow, mut peer) = (server.connect(), server.connect());
        peer.set_nodelay(true).unwrap();
        slow.write_all(b"slow").unwrap();
        std::thread::sleep(Duration::from_millis(50));
        peer.write_all(b"before").unwrap();
        rustix::net::send(&peer, b"!", rustix::net::SendFlags::OOB).unwrap();
        peer.write_all(b"behind").unwrap();
        let mut said = [0; 12];
        peer.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"beforebehind");
        // And once more, after the loop has come to rest.
        peer.write_all(b"again").unwrap();
        peer.read_exact(&mut said[..5]).unwrap();
        assert_eq!(&said[..5], b"again");
        drop((slow, peer));
        server.finish();
    });
}

/// A client that says its piece and leaves without reading resets the connection behind its last words.
#[test]
fn last_words_before_a_reset_are_heard() {
    each_concurrent(|model| {
        let desk = Desk::default();
        let heard = Arc::clone(&desk.heard);
        let server = Running::start(model, desk, Limits::default());
        for _ in 0..5 {
            let (mut slow, mut peer) = (server.connect(), server.connect());
            // The answer stays unread, so that closing resets.
            peer.write_all(b"first").unwrap();
            peer.peek(&mut [0]).unwrap();
            slow.write_all(b"slow").unwrap();
            std::thread::sleep(Duration::from_millis(50));
            peer.write_all(b"-last").unwrap();
            drop(peer);
            for _ in 0..2 {
                slow.write_all(b"ping").unwrap();
                slow.read_exact(&mut [0; 4]).unwrap();
            }
        }
        let report = server.finish();
        assert_eq!(report.counters.closed["reset"], 5);
        let mut heard = heard.lock().unwrap().clone();
        heard.retain(|words| words.starts_with(b"first"));
        assert_eq!(heard, vec![b"first-last".to_vec(); 5]);
    });
}

/// What a session is told was the time is the time when its bytes came, also where the loop waited for them in between.
#[test]
fn the_time_of_input_is_not_that_before_the_wait() {
    each(|model| {
        let server = Running::start(model, Desk::default(), Limits::default());
        let mut peer = server.connect();
        let since = Instant::now();
        std::thread::sleep(Duration::from_millis(700));
        let waited = since.elapsed().as_millis();
        peer.write_all(b"time").unwrap();
        let mut said = [0; 8];
        peer.read_exact(&mut said).unwrap();
        let told: u128 = std::str::from_utf8(&said).unwrap().trim().parse().unwrap();
        assert!(told >= waited, "{model}: {told} ms since Open, but the peer was silent for {waited} ms");
        drop(peer);
        server.finish();
    });
}

#[test]
fn a_peer_that_does_not_read_its_file_is_cut_off() {
    each(|model| {
        let limits = Limits { stall: Duration::from_millis(200), ..Limits::default() };
        let desk = Desk::default();
        let heard = Arc::clone(&desk.heard);
        let server = Running::start(model, desk, limits);
        let mut peer = server.connect();
        peer.write_all(b"file").unwrap();
        let until = Instant::now() + HANG;
        while heard.lock().unwrap().is_empty() {
            assert!(Instant::now() < until, "{model}: it was not cut off");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(server.finish().counters.closed["slow"], 1);
    });
}

#[test]
fn a_file_arrives_whole_while_others_are_served() {
    each_concurrent(|model| {
        let server = Running::start(model, Desk::default(), Limits::default());
        let (mut peer, mut other) = (server.connect(), server.connect());
        peer.write_all(b"file").unwrap();
        let reader = std::thread::spawn(move || {
            let (mut bytes, mut buffer) = (0, vec![0; 1 << 20]);
            while bytes < FILE_BYTES {
                bytes += match peer.read(&mut buffer).unwrap() {
                    0 => panic!("the file ended after {bytes} bytes"),
                    count => count as u64,
                };
            }
        });
        for _ in 0..10 {
            other.write_all(b"ping").unwrap();
            other.read_exact(&mut [0; 4]).unwrap();
        }
        reader.join().unwrap();
        drop(other);
        server.finish();
    });
}

/// Room in a Unix socket is announced all the time, so it is listened to only while output waits for it.
#[test]
fn much_goes_both_ways_over_a_unix_socket_that_is_often_full() {
    const BYTES: usize = 8 << 20;
    each(|model| {
        let name = format!("@sotong-edges-{}-{model}", std::process::id());
        let bound = listen(&[format!("unix:{name}").parse().unwrap()], &ListenOptions::default()).unwrap();
        let stop = Stop::new().unwrap();
        let thread = {
            let (stop, options) = (stop.clone(), Options { workers: 1, ..Options::default() });
            std::thread::spawn(move || serve(model, Desk::default(), bound, &options, &stop).unwrap())
        };
        let address = SocketAddr::from_abstract_name(&name[1..]).unwrap();
        let mut peer = UnixStream::connect_addr(&address).unwrap();
        peer.set_read_timeout(Some(HANG)).unwrap();
        let mut writer = peer.try_clone().unwrap();
        let writing = std::thread::spawn(move || {
            writer.write_all(&vec![b'x'; BYTES]).unwrap();
            writer.shutdown(std::net::Shutdown::Write).unwrap();
        });
        let (mut bytes, mut buffer, mut rounds) = (0, vec![0; 256 << 10], 0);
        loop {
            match peer.read(&mut buffer).unwrap() {
                0 => break,
                count => bytes += count,
            }
            rounds += 1;
            if rounds % 16 == 0 {
                // All buffers between the two are full by then.
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        writing.join().unwrap();
        assert_eq!(bytes, BYTES + 3);
        stop.drain();
        assert_eq!(thread.join().unwrap().counters.closed["done"], 1);
    });
}

/// Nobody reads what a session that holds is sent, and so nobody would find the reset by that.
#[test]
fn a_reset_is_noticed_also_where_the_session_takes_nothing() {
    each(|model| {
        let desk = Desk::default();
        let heard = Arc::clone(&desk.heard);
        let server = Running::start(model, desk, Limits::default());
        let mut peer = server.connect();
        peer.write_all(b"hold").unwrap();
        std::thread::sleep(Duration::from_millis(50));
        // Unread bytes of the peer do not hide it.
        peer.write_all(b"more").unwrap();
        socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
        drop(peer);
        let until = Instant::now() + HANG;
        while heard.lock().unwrap().is_empty() {
            assert!(Instant::now() < until, "{model}: the reset was not noticed");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(server.finish().counters.closed["reset"], 1);
    });
}
