//! A server as a future in somebody's own Tokio program, under both flavours of runtime.
use sotong_drivers::{Options, Report, ServeError, serve_async, serve_streams_async};
use sotong_net::{
    listen::{Bound, ListenOptions, listen},
    signals::Stop,
};
use sotong_session::{
    Address, CheckedService, Close, Cx, Event, Host, Limits, Records, Service, Session, Stream, Wants, Way,
};
use std::{
    convert::Infallible,
    future::Future,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::sync_channel,
    },
    thread,
    time::{Duration, Instant},
};
use tokio::{
    runtime::{Builder, Runtime},
    task::{LocalSet, yield_now},
    time::{interval, sleep, timeout},
};

const HANG: Duration = Duration::from_secs(30);

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Runs a test under each flavour.
fn each(test: impl Fn(&Runtime)) {
    eprintln!("current-thread");
    test(&current_thread());
    eprintln!("multi-thread");
    test(&Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());
}

/// Echo that notes why its sessions ended.
#[derive(Clone, Default)]
struct Echo {
    gone: Arc<Mutex<Vec<Close>>>,
}
impl Service for Echo {
    type Session = Self;
    fn open(&self, _: &Way) -> Result<Self, Close> {
        Ok(self.clone())
    }
    fn lost(&self, _: Address, _: &mut dyn Host<Infallible>) {}
}
impl Session for Echo {
    type Mail = Infallible;
    fn handle(&mut self, event: Event<'_, Infallible>, cx: &mut Cx<'_, Infallible>) -> Result<(), Close> {
        match event {
            Event::Input(mut input) => {
                let records = cx.out.kind() == sotong_session::Kind::Records;
                let count = if records { input.bytes().len() } else { input.bytes().len().min(cx.out.room()) };
                cx.out.put(&input.bytes()[..count]);
                cx.out.cut();
                input.take(count);
            }
            Event::End => cx.out.finish(),
            Event::Stop => {
                cx.out.put(b"bye\n");
                return Err(Close::Stop);
            }
            Event::Gone(why) => self.gone.lock().unwrap().push(why.clone()),
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

fn bound(scheme: &str) -> (Vec<Bound>, SocketAddr) {
    let endpoint = format!("{scheme}://127.0.0.1:0").parse().unwrap();
    let bound = listen(&[endpoint], &ListenOptions::default()).unwrap();
    let shown = bound[0].endpoint().to_string();
    let at = shown.rsplit_once("//").unwrap().1.parse().unwrap();
    (bound, at)
}

fn connect(at: SocketAddr) -> TcpStream {
    let peer = TcpStream::connect(at).unwrap();
    peer.set_read_timeout(Some(HANG)).unwrap();
    peer
}

/// Says something and hears it back.
fn check_echo(peer: &mut TcpStream) {
    peer.write_all("안녕".as_bytes()).unwrap();
    let mut heard = [0; 6];
    peer.read_exact(&mut heard).unwrap();
    assert_eq!(heard, "안녕".as_bytes());
}

/// A blocking client beside the runtime.
async fn beside<T: Send + 'static>(client: impl FnOnce() -> T + Send + 'static) -> T {
    let done = Arc::new(Mutex::new(None));
    let thread = thread::spawn({
        let done = Arc::clone(&done);
        move || *done.lock().unwrap() = Some(client())
    });
    while !thread.is_finished() {
        sleep(Duration::from_millis(1)).await;
    }
    thread.join().expect("the client is content");
    let mut done = done.lock().unwrap();
    done.take().expect("it has a result")
}

#[test]
fn it_serves_beside_other_tasks_until_it_is_stopped() {
    each(|runtime| {
        runtime.block_on(async {
            let ((tcp, at), (udp, udp_at)) = (bound("tcp"), bound("udp"));
            let (stop, service) = (Stop::new().unwrap(), Echo::default());
            let all = tcp.into_iter().chain(udp).collect();
            let options = Options::default();
            let server = tokio::spawn(serve_async(CheckedService(service.clone()), all, options, stop.clone()));
            let ticks = Arc::new(AtomicUsize::new(0));
            let other = tokio::spawn({
                let ticks = Arc::clone(&ticks);
                async move {
                    let mut every = interval(Duration::from_millis(1));
                    loop {
                        every.tick().await;
                        ticks.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
            let rest = beside(move || {
                let mut peers: Vec<_> = (0..20).map(|_| connect(at)).collect();
                for _ in 0..50 {
                    peers.iter_mut().for_each(check_echo);
                }
                let record = UdpSocket::bind("127.0.0.1:0").unwrap();
                record.set_read_timeout(Some(HANG)).unwrap();
                record.send_to(b"datagram", udp_at).unwrap();
                assert_eq!(record.recv(&mut [0; 16]).unwrap(), 8);
                stop.drain();
                let mut rest = String::new();
                for peer in &mut peers {
                    peer.read_to_string(&mut rest).unwrap();
                }
                rest
            })
            .await;
            assert_eq!(rest, "bye\n".repeat(20));
            let report = timeout(HANG, server).await.expect("it ends").unwrap().unwrap();
            assert_eq!((report.counters.opened, report.cut, report.left_at_once), (21, 0, false), "{report:?}");
            assert_eq!(report.counters.broken, 0);
            assert_eq!(*service.gone.lock().unwrap(), vec![Close::Stop; 21]);
            let before = ticks.load(Ordering::SeqCst);
            assert!(before > 0, "the other task had its turns");
            while ticks.load(Ordering::SeqCst) == before {
                yield_now().await;
            }
            other.abort();
        });
    });
}

#[test]
fn dropped_it_ends_its_sessions_and_closes_its_sockets() {
    each(|runtime| {
        runtime.block_on(async {
            let (tcp, at) = bound("tcp");
            let (stop, service) = (Stop::new().unwrap(), Echo::default());
            let serving = serve_async(CheckedService(service.clone()), tcp, Options::default(), stop);
            let server = tokio::spawn(serving);
            let peers = beside(move || {
                let mut peers: Vec<_> = (0..10).map(|_| connect(at)).collect();
                peers.iter_mut().for_each(check_echo);
                peers
            })
            .await;
            server.abort();
            let ended = timeout(HANG, server).await.expect("it ends");
            assert!(ended.is_err_and(|error| error.is_cancelled()));
            assert_eq!(*service.gone.lock().unwrap(), vec![Close::Stop; 10]);
            beside(move || {
                for mut peer in peers {
                    assert_eq!(peer.read(&mut [0]).unwrap(), 0, "its socket is closed");
                }
                assert_eq!(TcpStream::connect(at).unwrap_err().kind(), ErrorKind::ConnectionRefused);
            })
            .await;
        });
    });
}

#[test]
fn dropped_before_its_first_turn_it_closes_its_listener() {
    each(|runtime| {
        runtime.block_on(async {
            let (tcp, at) = bound("tcp");
            drop(serve_async(Echo::default(), tcp, Options::default(), Stop::new().unwrap()));
            assert_eq!(TcpStream::connect(at).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        });
    });
}

#[test]
fn a_runtime_that_ends_ends_its_server() {
    for flavour in [Builder::new_current_thread, Builder::new_multi_thread] {
        let runtime = flavour().worker_threads(2).enable_all().build().unwrap();
        let (tcp, at) = bound("tcp");
        let service = Echo::default();
        runtime.spawn(serve_async(service.clone(), tcp, Options::default(), Stop::new().unwrap()));
        let mut peer = runtime.block_on(beside(move || {
            let mut peer = connect(at);
            check_echo(&mut peer);
            peer
        }));
        drop(runtime);
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);
        assert_eq!(*service.gone.lock().unwrap(), [Close::Stop]);
    }
}

/// A hundred hogs: each sends as fast as it can, and reads what comes; not for ever, so that a thread that does nothing but
/// serve them is noticed.
fn hogs(at: SocketAddr, stop: &Arc<AtomicBool>) -> Vec<thread::JoinHandle<()>> {
    (0..100)
        .map(|_| {
            let (stop, mut peer) = (Arc::clone(stop), connect(at));
            let mut reader = peer.try_clone().unwrap();
            thread::spawn(move || {
                let reading = thread::spawn(move || {
                    let mut buffer = vec![0; 64 << 10];
                    while reader.read(&mut buffer).is_ok_and(|count| count > 0) {}
                });
                let since = Instant::now();
                while !stop.load(Ordering::SeqCst) && since.elapsed() < HANG && peer.write_all(&[0; 64 << 10]).is_ok() {
                }
                let _ = peer.shutdown(std::net::Shutdown::Both);
                reading.join().unwrap();
            })
        })
        .collect()
}

#[test]
fn peers_that_never_pause_starve_neither_other_tasks_nor_other_peers() {
    // On one thread, so that nobody else can run the other task.
    let runtime = current_thread();
    runtime.block_on(async {
        let (tcp, at) = bound("tcp");
        let stop = Stop::new().unwrap();
        let server = tokio::spawn(serve_async(Echo::default(), tcp, Options::default(), stop.clone()));
        let enough = Arc::new(AtomicBool::new(false));
        let (sender, done) = sync_channel(1);
        let client = thread::spawn({
            let enough = Arc::clone(&enough);
            move || {
                let hogs = hogs(at, &enough);
                let mut peer = connect(at);
                for _ in 0..50 {
                    check_echo(&mut peer);
                }
                sender.send(()).unwrap();
                hogs
            }
        });
        // Its turns: as many as there are polls, timers and wakes.
        let (mut turns, mut every) = (0, interval(Duration::from_millis(1)));
        timeout(HANG, async {
            while turns < 100 || done.try_recv().is_err() {
                every.tick().await;
                yield_now().await;
                turns += 1;
            }
        })
        .await
        .expect("everybody has a turn");
        stop.leave();
        let report = server.await.unwrap().unwrap();
        assert!(report.left_at_once && report.cut > 0, "{report:?}");
        enough.store(true, Ordering::SeqCst);
        for hog in client.join().unwrap() {
            hog.join().unwrap();
        }
    });
}

#[test]
fn timers_come_in_either_flavour() {
    /// Ends after a while of its own.
    #[derive(Clone)]
    struct Brief(Option<sotong_session::Moment>);
    impl Service for Brief {
        type Session = Self;
        fn open(&self, _: &Way) -> Result<Self, Close> {
            Ok(Self(None))
        }
        fn lost(&self, _: Address, _: &mut dyn Host<Infallible>) {}
    }
    impl Session for Brief {
        type Mail = Infallible;
        fn handle(&mut self, event: Event<'_, Infallible>, cx: &mut Cx<'_, Infallible>) -> Result<(), Close> {
            match event {
                Event::Open(_) => self.0 = Some(cx.now + Duration::from_millis(50)),
                Event::Deadline => {
                    cx.out.put(b"late\n");
                    return Err(Close::Idle);
                }
                Event::Input(mut input) => input.take_all(),
                _ => {}
            }
            Ok(())
        }
        fn wants(&self) -> Wants {
            Wants::INPUT.by(self.0)
        }
    }
    impl Stream for Brief {}
    each(|runtime| {
        runtime.block_on(async {
            let (tcp, at) = bound("tcp");
            let listeners = tcp.into_iter().filter_map(|bound| match bound {
                Bound::Stream(listener) => Some(listener),
                Bound::Datagrams(_) => None,
            });
            let stop = Stop::new().unwrap();
            let listeners = listeners.collect();
            let serving = serve_streams_async(CheckedService(Brief(None)), listeners, Options::default(), stop.clone());
            let server = tokio::spawn(serving);
            let heard = beside(move || {
                // The second comes while the first one's time runs.
                let mut peers = [connect(at), connect(at)];
                peers.each_mut().map(|peer| {
                    let mut heard = String::new();
                    peer.read_to_string(&mut heard).unwrap();
                    heard
                })
            })
            .await;
            assert_eq!(heard, ["late\n", "late\n"]);
            stop.drain();
            let report = timeout(HANG, server).await.expect("it ends").unwrap().unwrap();
            assert_eq!(report.counters.closed.get("idle"), Some(&2));
        });
    });
}

#[test]
fn sessions_that_cannot_leave_their_thread_are_served_there() {
    #[derive(Clone)]
    struct Local;
    struct Held(Rc<u8>);
    impl Service for Local {
        type Session = Held;
        fn open(&self, _: &Way) -> Result<Held, Close> {
            Ok(Held(Rc::new(b'!')))
        }
        fn lost(&self, _: Address, _: &mut dyn Host<Infallible>) {}
    }
    impl Session for Held {
        type Mail = Infallible;
        fn handle(&mut self, event: Event<'_, Infallible>, cx: &mut Cx<'_, Infallible>) -> Result<(), Close> {
            match event {
                Event::Open(_) => {
                    cx.out.put(&[*self.0]);
                    cx.out.finish();
                }
                Event::Input(mut input) => input.take_all(),
                _ => {}
            }
            Ok(())
        }
        fn wants(&self) -> Wants {
            Wants::INPUT
        }
    }
    impl Stream for Held {}
    impl Records for Held {}
    let (tcp, at) = bound("tcp");
    let stop = Stop::new().unwrap();
    LocalSet::new().block_on(&current_thread(), async {
        let server = tokio::task::spawn_local(serve_async(Local, tcp, Options::default(), stop.clone()));
        let heard = beside(move || {
            let mut heard = String::new();
            connect(at).read_to_string(&mut heard).unwrap();
            heard
        })
        .await;
        assert_eq!(heard, "!");
        stop.leave();
        assert!(timeout(HANG, server).await.expect("it ends").unwrap().unwrap().left_at_once);
    });
}

#[test]
fn limits_that_cannot_work_are_refused() {
    let limits = Limits { turn_bytes_max: 0, ..Limits::default() };
    let options = Options { limits, ..Options::default() };
    let (tcp, _) = bound("tcp");
    let refused = current_thread().block_on(serve_async(Echo::default(), tcp, options, Stop::new().unwrap()));
    assert!(matches!(refused, Err(ServeError::Limits(_))), "{refused:?}");
}

/// What a multi-thread runtime asks of a future that it is to run.
#[test]
fn the_future_can_be_sent_where_its_sessions_can() {
    fn can_be_sent(_: &(impl Future<Output = Result<Report, ServeError>> + Send + 'static)) {}
    can_be_sent(&serve_async(Echo::default(), Vec::new(), Options::default(), Stop::new().unwrap()));
}
