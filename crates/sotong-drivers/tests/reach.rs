//! Clients: sessions at our end of connections that we have made, under every model.
use sotong_drivers::{Model, Options, Report, ServeError, reach, serve};
use sotong_net::{
    dial::{DialOptions, dial},
    endpoint::Endpoint,
    listen::{ListenOptions, listen},
    signals::Stop,
    socket::Socket,
};
use sotong_session::{
    Address, CheckedService, Close, Cx, Event, Host, Kind, Limits, Records, Service, Session, Stream, Wants, Way,
};
use std::{
    convert::Infallible,
    io::{Read, Write},
    net::{Shutdown, TcpListener, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// What every client says: far more than the marks of an output, so that it goes out and comes back in many turns.
const BYTES: usize = 300_000;

fn letters(seed: usize) -> impl Iterator<Item = u8> {
    (0..).map(move |at: usize| (at.wrapping_mul(31) ^ (at >> 8) ^ seed) as u8)
}

/// Says its letters while there is room, ends, and compares what comes back until the server's end.
#[derive(Clone, Default)]
struct Asker {
    seen: Arc<Mutex<Vec<(usize, Close)>>>,
    born: Arc<AtomicUsize>,
    /// At once, and the most so far.
    talking: Arc<(AtomicUsize, AtomicUsize)>,
}

struct Talk {
    of: Asker,
    seed: usize,
    said: usize,
    heard: usize,
}

impl Service for Asker {
    type Session = Talk;
    fn open(&self, _: &Way) -> Result<Talk, Close> {
        let seed = self.born.fetch_add(1, Ordering::SeqCst);
        Ok(Talk { of: self.clone(), seed, said: 0, heard: 0 })
    }
    fn lost(&self, _: Address, _: &mut dyn Host<Infallible>) {}
}

impl Talk {
    fn speak(&mut self, cx: &mut Cx<'_, Infallible>) {
        if cx.out.kind() == Kind::Records {
            if self.said == 0 {
                self.said = 1000;
                cx.out.put(&letters(self.seed).take(1000).collect::<Vec<_>>());
                cx.out.cut();
            }
            return;
        }
        let count = cx.out.room().min(BYTES - self.said);
        let bytes: Vec<u8> = letters(self.seed).skip(self.said).take(count).collect();
        cx.out.put(&bytes);
        self.said += count;
        if self.said == BYTES {
            cx.out.finish();
        }
    }
}

impl Session for Talk {
    type Mail = Infallible;
    fn handle(&mut self, event: Event<'_, Infallible>, cx: &mut Cx<'_, Infallible>) -> Result<(), Close> {
        match event {
            Event::Open(_) => {
                let (now, most) = &*self.of.talking;
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                self.speak(cx);
            }
            Event::Input(mut input) => {
                let expected = letters(self.seed).skip(self.heard);
                assert!(input.bytes().iter().copied().eq(expected.take(input.bytes().len())), "other bytes came back");
                self.heard += input.bytes().len();
                input.take_all();
                if cx.out.kind() == Kind::Records {
                    assert_eq!(self.heard, 1000);
                    return Err(Close::Done);
                }
            }
            Event::Drained | Event::Again => self.speak(cx),
            Event::End if self.heard < BYTES => return Err(Close::Truncated),
            Event::Stop => return Err(Close::Stop),
            Event::Gone(why) => {
                self.of.talking.0.fetch_sub(1, Ordering::SeqCst);
                self.of.seen.lock().unwrap().push((self.heard, why.clone()));
            }
            Event::End | Event::Mail(_) | Event::Deadline => {}
        }
        Ok(())
    }
    fn wants(&self) -> Wants {
        Wants { input: sotong_session::Pace::Always, deadline: None }
    }
}
impl Stream for Talk {}
impl Records for Talk {}

/// Says back what it hears.
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
                let all = input.bytes().len();
                let count = if cx.out.kind() == Kind::Records { all } else { all.min(cx.out.room()) };
                cx.out.put(&input.bytes()[..count]);
                cx.out.cut();
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

fn made(address: &str, count: usize) -> Vec<Socket> {
    let to: Endpoint = address.parse().unwrap();
    (0..count).map(|_| dial(&to, &DialOptions::default()).unwrap()).collect()
}

fn options(workers: usize) -> Options {
    Options { workers, ..Options::default() }
}

/// Runs clients under every model that can, each against a server under `epoll`.
fn each(addresses: &[&str], test: impl Fn(Model, &[String])) {
    for model in Model::ALL {
        eprintln!("model {model}");
        let endpoints: Vec<Endpoint> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let bound = listen(&endpoints, &ListenOptions::default()).unwrap();
        let at: Vec<String> = bound.iter().map(|bound| bound.endpoint().to_string()).collect();
        let stop = Stop::new().unwrap();
        let server = {
            let stop = stop.clone();
            thread::spawn(move || serve(Model::Epoll, CheckedService(Echo), bound, &options(1), &stop).unwrap())
        };
        test(model, &at);
        stop.drain();
        server.join().unwrap();
    }
}

fn ask(model: Model, asker: &Asker, sockets: Vec<Socket>, options: &Options) -> Result<Report, ServeError> {
    reach(model, CheckedService(asker.clone()), sockets, options, &Stop::new().unwrap())
}

#[test]
fn many_clients_say_and_hear_everything() {
    each(&["tcp://127.0.0.1:0"], |model, at| {
        for workers in [1, 3] {
            let asker = Asker::default();
            let report = ask(model, &asker, made(&at[0], 20), &options(workers)).unwrap();
            assert_eq!((report.counters.opened, report.cut, report.counters.panics), (20, 0, 0));
            assert_eq!(asker.seen.lock().unwrap().as_slice(), vec![(BYTES, Close::Done); 20]);
        }
    });
}

#[test]
fn datagrams_are_begun_by_the_client() {
    each(&["udp://127.0.0.1:0", "tcp://127.0.0.1:0"], |model, at| {
        let asker = Asker::default();
        let mut sockets = made(&at[0], 5);
        sockets.extend(made(&at[1], 5));
        let report = ask(model, &asker, sockets, &options(2)).unwrap();
        assert_eq!((report.counters.opened, report.counters.panics), (10, 0));
        let mut seen = asker.seen.lock().unwrap().clone();
        seen.sort_by_key(|(heard, _)| *heard);
        assert_eq!(seen, [vec![(1000, Close::Done); 5], vec![(BYTES, Close::Done); 5]].concat());
    });
}

#[test]
fn a_port_where_nobody_hears_ends_the_conversation() {
    for model in Model::ALL {
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let asker = Asker::default();
        let report = ask(model, &asker, made(&format!("udp://{port}"), 1), &options(1)).unwrap();
        assert_eq!(report.counters.opened, 1);
        let refused = Close::Io(std::io::ErrorKind::ConnectionRefused);
        assert_eq!(asker.seen.lock().unwrap().as_slice(), [(0, refused)], "{model}");
    }
}

#[test]
fn places_bound_how_many_converse_at_once() {
    each(&["tcp://127.0.0.1:0"], |model, at| {
        let asker = Asker::default();
        let options = Options { conns_max: Some(2), ..options(2) };
        ask(model, &asker, made(&at[0], 9), &options).unwrap();
        assert_eq!(asker.seen.lock().unwrap().len(), 9);
        let most = asker.talking.1.load(Ordering::SeqCst);
        assert!((1..=2).contains(&most), "{model}: {most} at once");
    });
}

#[test]
fn nobody_to_reach_is_no_work() {
    for model in Model::ALL {
        let report = ask(model, &Asker::default(), Vec::new(), &options(2)).unwrap();
        assert_eq!(report.counters.opened, 0);
    }
}

#[test]
fn a_stop_ends_clients_whose_peer_is_silent() {
    for model in Model::ALL {
        eprintln!("model {model}");
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap().to_string();
        // More than there are places: some never get a session, and are closed all the same.
        let limits = Limits { drain: Duration::from_millis(500), ..Limits::default() };
        let options = Options { conns_max: Some(1), limits, ..options(1) };
        let (asker, sockets, stop) = (Asker::default(), made(&address, 3), Stop::new().unwrap());
        let mut peers: Vec<_> = (0..3).map(|_| silent.accept().unwrap().0).collect();
        let client = {
            let (stop, asker) = (stop.clone(), asker.clone());
            thread::spawn(move || reach(model, CheckedService(asker), sockets, &options, &stop).unwrap())
        };
        let mut first = [0; 1];
        peers[0].read_exact(&mut first).unwrap();
        stop.drain();
        let report = client.join().unwrap();
        assert_eq!(report.counters.opened, 1, "{model}");
        for peer in &mut peers[1..] {
            assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0, "{model}: closed without a word");
        }
        let seen = asker.seen.lock().unwrap();
        assert_eq!(seen.len(), 1, "{model}");
    }
}

#[test]
fn what_came_before_the_session_is_heard() {
    for model in Model::ALL {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = made(&server.local_addr().unwrap().to_string(), 1);
        let mut peer = server.accept().unwrap().0;
        peer.write_all(&letters(0).take(10).collect::<Vec<_>>()).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        let asker = Asker::default();
        ask(model, &asker, socket, &options(1)).unwrap();
        assert_eq!(asker.seen.lock().unwrap().as_slice(), [(10, Close::Truncated)], "{model}");
    }
}
