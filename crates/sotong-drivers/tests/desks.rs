//! Desks under every model: each piece of work that was taken has exactly one answer, also where a desk panics, and those who
//! waited without asking get it too.
use sotong_drivers::{DeskWork, Model, Options, Plan, Report, desk, serve_streams};
use sotong_net::{
    endpoint::Endpoint,
    listen::{Bound, ListenOptions, listen},
    signals::Stop,
};
use sotong_session::{
    Address, CheckedService, Close, Cx, Desk, Event, Host, Limits, Pace, Service, Session, Stream, Wants, Way,
};
use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

const HANG: Duration = Duration::from_secs(30);

/// Asks the desk for each line, and says what it answers; `wait` waits for the answer to another's question.
#[derive(Clone, Default)]
struct Questions {
    waiting: Arc<Mutex<Vec<Address>>>,
}

#[derive(Clone, Debug)]
enum Mail {
    Ask(String),
    Answer(String),
}

struct Asker {
    waiting: Arc<Mutex<Vec<Address>>>,
    waits: bool,
}

impl Service for Questions {
    type Session = Asker;
    const TALKS: bool = false;
    fn open(&self, _: &Way) -> Result<Asker, Close> {
        Ok(Asker { waiting: Arc::clone(&self.waiting), waits: false })
    }
    fn lost(&self, _: Address, _: &mut dyn Host<Mail>) {}
}

impl Session for Asker {
    type Mail = Mail;
    fn handle(&mut self, event: Event<'_, Mail>, cx: &mut Cx<'_, Mail>) -> Result<(), Close> {
        match event {
            Event::Input(mut input) => {
                let Some(end) = input.bytes().iter().position(|byte| *byte == b'\n') else { return Ok(()) };
                let line = String::from_utf8_lossy(&input.bytes()[..end]).into_owned();
                input.take(end + 1);
                if line == "wait" {
                    self.waiting.lock().unwrap().push(cx.me);
                    self.waits = true;
                } else if cx.host.ask(Desk(0), Mail::Ask(line)).is_ok() {
                    self.waits = true;
                } else {
                    cx.out.put(b"busy\n");
                }
            }
            Event::Mail(Mail::Answer(answer)) => {
                assert!(self.waits, "an answer to no question: {answer}");
                self.waits = false;
                cx.out.put(answer.as_bytes());
                cx.out.put(b"\n");
            }
            Event::Mail(Mail::Ask(asked)) => panic!("nobody asks a session: {asked}"),
            Event::End => cx.out.finish(),
            Event::Stop => return Err(Close::Stop),
            Event::Open(_) | Event::Again | Event::Deadline | Event::Drained | Event::Gone(_) => {}
        }
        Ok(())
    }
    fn wants(&self) -> Wants {
        Wants { input: if self.waits { Pace::Hold } else { Pace::WhileRoom }, deadline: None }
    }
}
impl Stream for Asker {}

/// Makes lines loud. `panic` is beyond it, `hold` waits until it may go on, `tell` is told to all who wait.
struct Loud {
    waiting: Arc<Mutex<Vec<Address>>>,
    others: Vec<Address>,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
    held: AtomicUsize,
    passed: AtomicUsize,
}

impl DeskWork<Mail> for Loud {
    fn work(&mut self, asked: &Mail) -> Mail {
        let Mail::Ask(line) = asked else { panic!("an answer to a desk") };
        match &**line {
            "panic" => panic!("as it was asked to"),
            "hold" => self.gate.pass(),
            "tell" => self.others = std::mem::take(&mut *self.waiting.lock().unwrap()),
            _ => {}
        }
        Mail::Answer(line.to_uppercase())
    }
    fn failed(&mut self, _: &Mail) -> Mail {
        Mail::Answer("failed".to_owned())
    }
    fn others(&mut self) -> Vec<Address> {
        std::mem::take(&mut self.others)
    }
}

/// Takes several lines at once. `hold` waits until it may go on, `panic` is beyond it.
struct Together {
    gate: Arc<Gate>,
    counts: Arc<Mutex<Vec<usize>>>,
}

impl DeskWork<Mail> for Together {
    fn work(&mut self, asked: &Mail) -> Mail {
        self.work_all(std::slice::from_ref(asked)).remove(0)
    }
    fn failed(&mut self, asked: &Mail) -> Mail {
        let Mail::Ask(line) = asked else { panic!("an answer to a desk") };
        Mail::Answer(format!("failed {line}"))
    }
    fn batch_max(&self) -> usize {
        3
    }
    fn work_all(&mut self, asked: &[Mail]) -> Vec<Mail> {
        self.counts.lock().unwrap().push(asked.len());
        let line =
            |asked: &Mail| if let Mail::Ask(line) = asked { line.clone() } else { panic!("an answer to a desk") };
        let lines: Vec<String> = asked.iter().map(line).collect();
        if lines.iter().any(|line| line == "hold") {
            self.gate.pass();
        }
        assert!(!lines.iter().any(|line| line == "panic"), "as it was asked to");
        lines.into_iter().map(|line| Mail::Answer(line.to_uppercase())).collect()
    }
}

impl Gate {
    /// Waits until it is open.
    fn pass(&self) {
        self.held.fetch_add(1, Ordering::SeqCst);
        let is_open = self.is_open.lock().unwrap();
        let (is_open, _) = self.opened.wait_timeout_while(is_open, HANG, |is_open| !*is_open).unwrap();
        self.passed.fetch_add(1, Ordering::SeqCst);
        assert!(*is_open);
    }
}

struct Running {
    stop: Stop,
    at: SocketAddr,
    waiting: Arc<Mutex<Vec<Address>>>,
    gate: Arc<Gate>,
    thread: Option<JoinHandle<Report>>,
}

impl Running {
    fn start(model: Model, queue_max: usize, threads: usize) -> Self {
        Self::start_with(model, queue_max, threads, |waiting, gate| {
            let (waiting, gate) = (Arc::clone(waiting), Arc::clone(gate));
            Box::new(Loud { waiting, others: Vec::new(), gate })
        })
    }
    fn start_with(
        model: Model,
        queue_max: usize,
        threads: usize,
        worker: impl Fn(&Arc<Mutex<Vec<Address>>>, &Arc<Gate>) -> Box<dyn DeskWork<Mail>>,
    ) -> Self {
        Self::start_planned(model, |waiting, gate| {
            desk(queue_max, (0..threads).map(|_| worker(waiting, gate)).collect())
        })
    }
    fn start_planned(model: Model, plan: impl FnOnce(&Arc<Mutex<Vec<Address>>>, &Arc<Gate>) -> Plan<Mail>) -> Self {
        let endpoint: Endpoint = "tcp://127.0.0.1:0".parse().unwrap();
        let bound = listen(&[endpoint], &ListenOptions::default()).unwrap();
        let at = bound[0].endpoint().to_string().rsplit_once("//").unwrap().1.parse().unwrap();
        let stream = |bound| if let Bound::Stream(listener) = bound { Some(listener) } else { None };
        let listeners = bound.into_iter().filter_map(stream).collect();
        let (stop, service, gate) = (Stop::new().unwrap(), Questions::default(), Arc::<Gate>::default());
        let waiting = Arc::clone(&service.waiting);
        let desks = vec![plan(&waiting, &gate)];
        let thread = {
            let limits = Limits { drain: HANG, ..Limits::default() };
            let (stop, options) = (stop.clone(), Options { workers: 2, limits, ..Options::default() });
            let service = CheckedService(service);
            std::thread::spawn(move || serve_streams(model, service, listeners, desks, &options, &stop).unwrap())
        };
        Self { stop, at, waiting, gate, thread: Some(thread) }
    }
    fn dial(&self) -> BufReader<TcpStream> {
        let peer = TcpStream::connect(self.at).unwrap();
        peer.set_read_timeout(Some(HANG)).unwrap();
        BufReader::new(peer)
    }
    fn open_gate(&self) {
        *self.gate.is_open.lock().unwrap() = true;
        self.gate.opened.notify_all();
    }
    fn finish(mut self) {
        self.stop.drain();
        let report = self.thread.take().unwrap().join().unwrap();
        assert_eq!((report.counters.broken, report.counters.panics), (0, 0));
    }
}

fn say(peer: &mut BufReader<TcpStream>, line: &str) {
    peer.get_mut().write_all(format!("{line}\n").as_bytes()).unwrap();
}
fn hear(peer: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    peer.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

fn each(test: impl Fn(Model)) {
    // Workers of `processes` would run these tests again; their loop is that of `epoll`.
    for model in Model::ALL.into_iter().filter(|model| *model != Model::Processes) {
        eprintln!("model {model}");
        test(model);
    }
}

#[test]
fn each_question_has_one_answer_also_where_the_desk_panics() {
    each(|model| {
        let server = Running::start(model, 16, 2);
        let mut peer = server.dial();
        for round in 0..50 {
            say(&mut peer, &format!("line {round}"));
            assert_eq!(hear(&mut peer), format!("LINE {round}"), "{model}");
        }
        say(&mut peer, "panic\nafter");
        assert_eq!((hear(&mut peer), hear(&mut peer)), ("failed".to_owned(), "AFTER".to_owned()), "{model}");
        drop(peer);
        server.finish();
    });
}

#[test]
fn a_desk_that_is_full_says_so() {
    each(|model| {
        if model == Model::Sequential {
            // One client asks one question at a time.
            return;
        }
        let server = Running::start(model, 1, 1);
        let mut first = server.dial();
        say(&mut first, "hold");
        while server.gate.held.load(Ordering::SeqCst) == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        // One is being worked on, one waits, and then there is no room.
        let mut others: Vec<_> = (0..3).map(|_| server.dial()).collect();
        for peer in &mut others {
            say(peer, "more");
        }
        let mut busy = 0;
        let threads: Vec<_> = others.into_iter().map(|mut peer| std::thread::spawn(move || hear(&mut peer))).collect();
        while threads.iter().filter(|thread| thread.is_finished()).count() < 2 {
            std::thread::sleep(Duration::from_millis(1));
        }
        server.open_gate();
        assert_eq!(hear(&mut first), "HOLD", "{model}");
        for thread in threads {
            match &*thread.join().unwrap() {
                "busy" => busy += 1,
                answer => assert_eq!(answer, "MORE", "{model}"),
            }
        }
        assert_eq!(busy, 2, "{model}");
        drop(first);
        server.finish();
    });
}

#[test]
fn who_waited_for_the_answer_to_another_gets_it() {
    each(|model| {
        if model == Model::Sequential {
            return;
        }
        let server = Running::start(model, 16, 2);
        let mut waiters: Vec<_> = (0..10).map(|_| server.dial()).collect();
        for peer in &mut waiters {
            say(peer, "wait");
        }
        while server.waiting.lock().unwrap().len() < 10 {
            std::thread::sleep(Duration::from_millis(1));
        }
        // One of them is gone by then.
        drop(waiters.pop());
        let mut asker = server.dial();
        say(&mut asker, "tell");
        assert_eq!(hear(&mut asker), "TELL", "{model}");
        for peer in &mut waiters {
            assert_eq!(hear(peer), "TELL", "{model}");
        }
        drop((asker, waiters));
        server.finish();
    });
}

#[test]
fn mail_comes_from_outside_to_who_has_asked_for_nothing() {
    each(|model| {
        let (give, outside) = std::sync::mpsc::sync_channel(1);
        let server = Running::start_planned(model, |_, _| {
            desk(1, Vec::new()).when_begun(move |outside| give.send(outside).unwrap())
        });
        let outside = outside.recv_timeout(HANG).unwrap();
        let mut peer = server.dial();
        say(&mut peer, "wait");
        while server.waiting.lock().unwrap().is_empty() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let who = server.waiting.lock().unwrap()[0];
        assert!(outside.post(who, Mail::Answer("news".to_owned())), "{model}");
        assert_eq!(hear(&mut peer), "news", "{model}");
        drop(peer);
        server.finish();
        assert!(!outside.post(who, Mail::Answer("nobody".to_owned())), "{model}: the server has ended");
    });
}

#[test]
fn nobody_waits_for_a_desk_that_is_left_at_the_end() {
    each(|model| {
        let server = Running::start_planned(model, |waiting, gate| {
            let (waiting, gate) = (Arc::clone(waiting), Arc::clone(gate));
            desk(1, vec![Box::new(Loud { waiting, others: Vec::new(), gate }) as Box<dyn DeskWork<Mail>>]).left_at_end()
        });
        let mut peer = server.dial();
        say(&mut peer, "hold");
        while server.gate.held.load(Ordering::SeqCst) == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(peer);
        let gate = Arc::clone(&server.gate);
        server.finish();
        assert_eq!(gate.passed.load(Ordering::SeqCst), 0, "{model}: it is still at work");
        *gate.is_open.lock().unwrap() = true;
        gate.opened.notify_all();
    });
}

#[test]
fn a_desk_that_takes_several_at_once_answers_each_in_its_order() {
    each(|model| {
        if model == Model::Sequential {
            return;
        }
        let counts = Arc::<Mutex<Vec<usize>>>::default();
        let server = Running::start_with(model, 16, 1, |_, gate| {
            Box::new(Together { gate: Arc::clone(gate), counts: Arc::clone(&counts) })
        });
        let mut first = server.dial();
        say(&mut first, "hold");
        while server.gate.held.load(Ordering::SeqCst) == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut others: Vec<_> = (0..7).map(|_| server.dial()).collect();
        for (number, peer) in others.iter_mut().enumerate() {
            say(peer, &if number == 5 { "panic".to_owned() } else { format!("line {number}") });
        }
        let mut last: Vec<_> = (0..9).map(|_| server.dial()).collect();
        for peer in &mut last {
            say(peer, "more");
        }
        std::thread::sleep(Duration::from_millis(50));
        server.open_gate();
        assert_eq!(hear(&mut first), "HOLD", "{model}");
        let mut failed = 0;
        for (number, peer) in others.iter_mut().enumerate() {
            let heard = hear(peer);
            // Whoever was taken with the one at which the desk panicked hears of that.
            failed += usize::from(heard.starts_with("failed "));
            let own = if number == 5 { "failed panic".to_owned() } else { format!("LINE {number}") };
            assert!(heard == own || heard == format!("failed line {number}"), "{model}: {heard}");
        }
        assert!((1..=3).contains(&failed), "{model}: {failed}");
        for peer in &mut last {
            assert!(["MORE", "failed more"].contains(&&*hear(peer)), "{model}");
        }
        let counts = counts.lock().unwrap().clone();
        assert!(counts.contains(&3) && counts.iter().all(|count| *count <= 3), "{model}: {counts:?}");
        drop((first, others, last));
        server.finish();
    });
}
