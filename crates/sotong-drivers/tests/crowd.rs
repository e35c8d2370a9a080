//! Many peers at once, and peers that come, go and hold back as they like, under every model.
use sotong_drivers::{Model, Options, Report, serve};
use sotong_net::{
    listen::{ListenOptions, listen},
    signals::Stop,
};
use sotong_session::{
    Address, CheckedService, Close, Cx, Event, Host, Limits, Pace, Records, Service, Session, Stream, Wants, Way,
};
use std::{
    convert::Infallible,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

const HANG: Duration = Duration::from_secs(60);

/// A server on a thread of its own, stopped when dropped.
struct Running {
    stop: Stop,
    at: SocketAddr,
    thread: Option<JoinHandle<Report>>,
}

impl Running {
    fn start<S>(model: Model, service: S, options: Options) -> Self
    where
        S: Service + Sync,
        S::Session: Stream + Records,
    {
        let bound = listen(&["tcp://127.0.0.1:0".parse().unwrap()], &ListenOptions::default()).unwrap();
        let shown = bound[0].endpoint().to_string();
        let at = shown.rsplit_once("//").unwrap().1.parse().unwrap();
        let stop = Stop::new().unwrap();
        let thread = {
            let stop = stop.clone();
            thread::spawn(move || serve(model, CheckedService(service), bound, &options, &stop).unwrap())
        };
        Self { stop, at, thread: Some(thread) }
    }
    fn connect(&self) -> TcpStream {
        let peer = TcpStream::connect(self.at).unwrap();
        peer.set_read_timeout(Some(HANG)).unwrap();
        peer.set_nodelay(true).unwrap();
        peer
    }
    fn finish(mut self) -> Report {
        self.stop.drain();
        let report = self.thread.take().unwrap().join().unwrap();
        assert_eq!((report.counters.broken, report.counters.panics), (0, 0));
        report
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.leave();
    }
}

/// Every model that serves a crowd at once, which `sequential` does not. Workers of `processes` would run these tests again;
/// their loop is that of `epoll`.
fn each(test: impl Fn(Model)) {
    let left_out = [Model::Sequential, Model::Processes];
    for model in Model::ALL.into_iter().filter(|model| !left_out.contains(model)) {
        eprintln!("model {model}");
        test(model);
    }
}

#[derive(Clone)]
struct Echo;
impl Service for Echo {
    type Session = Self;
    fn open(&self, _: &Way) -> Result<Self, Close> {
        Ok(Self)
    }
    fn lost(&self, _: Address, _: &mut dyn Host<Infallible>) {}
}
impl Session for Echo {
    type Mail = Infallible;
    fn handle(&mut self, event: Event<'_, Infallible>, cx: &mut Cx<'_, Infallible>) -> Result<(), Close> {
        match event {
            Event::Input(mut input) => {
                let count = input.bytes().len().min(cx.out.room());
                cx.out.put(&input.bytes()[..count]);
                input.take(count);
            }
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
impl Stream for Echo {}
impl Records for Echo {}

/// Takes what it is shown, then nothing for a moment; at the end it says how much there was. The bytes must count up.
#[derive(Clone, Default)]
struct Slow {
    count: u64,
    rest_until: Option<sotong_session::Moment>,
}
const REST: Duration = Duration::from_millis(2);
impl Service for Slow {
    type Session = Self;
    fn open(&self, _: &Way) -> Result<Self, Close> {
        Ok(Self::default())
    }
    fn lost(&self, _: Address, _: &mut dyn Host<Infallible>) {}
}
impl Session for Slow {
    type Mail = Infallible;
    fn handle(&mut self, event: Event<'_, Infallible>, cx: &mut Cx<'_, Infallible>) -> Result<(), Close> {
        match event {
            Event::Input(mut input) => {
                for byte in input.bytes() {
                    if *byte != self.count as u8 {
                        return Err(Close::Fault("out of order"));
                    }
                    self.count += 1;
                }
                input.take_all();
                self.rest_until = Some(cx.now + REST);
            }
            Event::Deadline => self.rest_until = None,
            Event::End => {
                cx.out.put(self.count.to_string().as_bytes());
                cx.out.finish();
            }
            Event::Stop => return Err(Close::Stop),
            _ => {}
        }
        Ok(())
    }
    fn wants(&self) -> Wants {
        match self.rest_until {
            Some(at) => Wants { input: Pace::Hold, deadline: Some(at) },
            None => Wants { input: Pace::Always, deadline: None },
        }
    }
}
impl Stream for Slow {}
impl Records for Slow {}

fn check_echo(peer: &mut TcpStream, word: &[u8]) {
    peer.write_all(word).unwrap();
    let mut back = vec![0; word.len()];
    peer.read_exact(&mut back).unwrap();
    assert_eq!(back, word);
}

/// Sends all that the other side takes.
fn stuff(mut peer: &TcpStream) -> usize {
    let mut sent = 0;
    loop {
        match peer.write(&[b'h'; 65536]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return sent,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Memory of this process that is resident, in KiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn more_hogs_than_buffers_leave_the_others_alone() {
    const HOGS: usize = 100;
    each(|model| {
        // Nobody is cut: the hogs stay for as long as the others play.
        let limits = Limits { stall: HANG * 10, ..Limits::default() };
        let server = Running::start(model, Echo, Options { workers: 1, limits, ..Options::default() });
        let mut others: Vec<_> = (0..10).map(|_| server.connect()).collect();
        for other in &mut others {
            check_echo(other, b"before");
        }
        let before = resident();
        let hogs: Vec<_> = (0..HOGS).map(|_| server.connect()).collect();
        for hog in &hogs {
            hog.set_nonblocking(true).unwrap();
        }
        let mut last = 1;
        let mut rounds = 0;
        // Until nothing more is taken from any hog, and a while longer.
        while rounds < 20 {
            rounds = if last == 0 { rounds + 1 } else { 0 };
            last = hogs.iter().map(stuff).sum();
            for other in &mut others {
                check_echo(other, b"meanwhile");
            }
        }
        // For each: the output up to its high mark, what a session left untaken, what one call received, and a stack
        // where there is one.
        let grown = resident().saturating_sub(before);
        assert!(grown < HOGS * 640, "{model}: {HOGS} hogs cost {grown} KiB");
        // They are served as before once they read.
        for hog in &hogs[..3] {
            hog.set_nonblocking(false).unwrap();
            hog.shutdown(Shutdown::Write).unwrap();
            let mut hog = hog;
            let mut rest = Vec::new();
            hog.read_to_end(&mut rest).unwrap();
            assert!(rest.iter().all(|byte| *byte == b'h'));
        }
        drop((hogs, others));
        server.finish();
    });
}

#[test]
fn who_holds_back_gets_all_in_order_and_the_end_behind_it() {
    const BYTES: usize = 3 << 20;
    each(|model| {
        let server = Running::start(model, Slow::default(), Options { workers: 1, ..Options::default() });
        let peers: Vec<_> = (0..3)
            .map(|which: usize| {
                let mut peer = server.connect();
                thread::spawn(move || {
                    let pieces: [usize; 3] = [65_536, 1, 10_000];
                    let mut at = 0;
                    while at < BYTES {
                        let piece = pieces[which].max(if at > 1000 { 4096 } else { 1 }).min(BYTES - at);
                        let bytes: Vec<u8> = (at..at + piece).map(|number| number as u8).collect();
                        peer.write_all(&bytes).unwrap();
                        at += piece;
                    }
                    peer.shutdown(Shutdown::Write).unwrap();
                    let mut said = String::new();
                    peer.read_to_string(&mut said).unwrap();
                    assert_eq!(said, BYTES.to_string());
                })
            })
            .collect();
        for peer in peers {
            peer.join().unwrap();
        }
        let report = server.finish();
        assert_eq!(report.counters.closed.get("done"), Some(&3), "{report:?}");
    });
}

#[test]
fn the_smallest_limits_carry_everything() {
    each(|model| {
        let limits = Limits::smallest();
        let server = Running::start(model, Echo, Options { workers: 2, limits, ..Options::default() });
        let mut peer = server.connect();
        let mut reader = peer.try_clone().unwrap();
        let sent: Vec<u8> = (0..100_000u32).map(|number| (number % 251) as u8).collect();
        let expect = sent.clone();
        let writer = thread::spawn(move || {
            peer.write_all(&sent).unwrap();
            peer.shutdown(Shutdown::Write).unwrap();
        });
        let mut back = Vec::new();
        reader.read_to_end(&mut back).unwrap();
        writer.join().unwrap();
        assert!(back == expect, "{model}: {} of {} bytes", back.len(), expect.len());
        server.finish();
    });
}

#[test]
fn peers_may_come_and_go_in_every_way() {
    const EACH: usize = 300;
    each(|model| {
        let server = Running::start(model, Echo, Options { workers: 2, ..Options::default() });
        let at = server.at;
        let threads: Vec<_> = (0..4)
            .map(|thread: usize| {
                thread::spawn(move || {
                    for round in 0..EACH {
                        let mut peer = TcpStream::connect(at).unwrap();
                        peer.set_read_timeout(Some(HANG)).unwrap();
                        match (thread + round) % 6 {
                            // Gone at once; with unread answers, which resets; with half of an answer.
                            0 => {}
                            1 => drop(peer.write_all(&[b'x'; 40_000])),
                            2 => {
                                peer.write_all(&[b'x'; 100]).unwrap();
                                peer.read_exact(&mut [0; 50]).unwrap();
                            }
                            3 => {
                                // Reset while much is on its way in both directions.
                                socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
                                peer.set_nonblocking(true).unwrap();
                                stuff(&peer);
                            }
                            4 => {
                                peer.shutdown(Shutdown::Write).unwrap();
                                assert_eq!(peer.read(&mut [0]).unwrap(), 0);
                            }
                            _ => {
                                check_echo(&mut peer, b"well");
                                peer.shutdown(Shutdown::Write).unwrap();
                                assert_eq!(peer.read(&mut [0]).unwrap(), 0);
                            }
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        check_echo(&mut server.connect(), b"still here");
        let report = server.finish();
        let closed: u64 = report.counters.closed.values().sum();
        assert_eq!(closed, report.counters.opened, "{model}: each that was opened has been closed");
        // Some of those that were gone at once may have been told apart from nobody.
        assert!(report.counters.opened as usize > 4 * EACH / 2, "{report:?}");
    });
}

#[test]
fn many_are_served_at_once() {
    const PEERS: usize = 600;
    each(|model| {
        let server = Running::start(model, Echo, Options { workers: 2, ..Options::default() });
        let mut peers: Vec<_> = (0..PEERS).map(|_| server.connect()).collect();
        for round in 0..5 {
            for peer in &mut peers {
                peer.write_all(format!("round {round}").as_bytes()).unwrap();
            }
            for peer in &mut peers {
                let mut back = [0; 7];
                peer.read_exact(&mut back).unwrap();
                assert_eq!(back, *format!("round {round}").as_bytes());
            }
            // Places are given on in the middle of it.
            for number in (round..PEERS).step_by(7) {
                peers[number] = server.connect();
            }
        }
        drop(peers);
        server.finish();
    });
}

#[test]
fn a_server_that_leaves_lets_go_of_everybody() {
    each(|model| {
        let server = Running::start(model, Echo, Options { workers: 2, ..Options::default() });
        let mut peers: Vec<_> = (0..50).map(|_| server.connect()).collect();
        for peer in &mut peers {
            check_echo(peer, b"hello");
        }
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let start = Instant::now();
                for peer in &mut peers {
                    // The end or a reset, and not for want of patience.
                    let _ = peer.read(&mut [0]);
                }
                assert!(start.elapsed() < HANG / 2, "{model}: somebody was not let go");
                done.store(true, Ordering::SeqCst);
            });
            server.stop.leave();
        });
        assert!(done.load(Ordering::SeqCst));
        assert!(server.finish().left_at_once);
    });
}
