//! One recorded script of bytes and times under every driver: equal bytes, an equal order of what sessions are told, and
//! equal reasons to close.
use sotong::drivers::{Model, ModelError, Options, serve_streams};
use sotong::net::{
    listen::{Bound, listen},
    signals::Stop,
};
use sotong_session::{
    Address, CheckedService, Close, Cx, Event, Host, Input, Map, Moment, Pace, Service, Session, Stream, Topic, Wants,
    Way,
};
use sotong_sim::{Peer, PeerCx, Setup, Sim};
use std::{
    cell::RefCell,
    convert::Infallible,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    rc::Rc,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};
use tests::process::HANG;

// The script.

/// One thing that somebody does.
#[derive(Clone, Debug)]
enum Act {
    Say(Vec<u8>),
    Hear(Vec<u8>),
    HearEnd,
    End,
    Reset,
}

#[derive(Clone, Debug)]
struct Line {
    who: String,
    wait: Duration,
    act: Act,
}

fn script(text: &str) -> Vec<Line> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parse = |line: &str| {
        let (who, rest) = line.split_once(' ')?;
        let (wait, act) = rest.trim_start().split_once("  ")?;
        let (verb, what) = act.split_once(' ').unwrap_or((act, ""));
        let bytes = what.replace("\\n", "\n").into_bytes();
        let act = match verb {
            "say" => Act::Say(bytes),
            "hear" => Act::Hear(bytes),
            "hear-end" => Act::HearEnd,
            "end" => Act::End,
            "reset" => Act::Reset,
            _ => return None,
        };
        Some(Line { who: who.to_owned(), wait: Duration::from_millis(wait.parse().ok()?), act })
    };
    lines.map(|line| parse(line).unwrap_or_else(|| panic!("no line of a script: {line:?}"))).collect()
}

/// The lines of each person.
fn by_person(lines: &[Line]) -> Map<String, Vec<Line>> {
    let mut people = Map::<String, Vec<Line>>::new();
    for line in lines {
        people.entry(line.who.clone()).or_default().push(line.clone());
    }
    people
}

// The service.

/// What a session was told, in order. Input that follows on input is one.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Open,
    Input(String),
    End,
    Mail(String),
    Gone(Close),
}

/// What each person's session was told, by name, and what each has heard.
type Transcript = (Map<String, Vec<Told>>, Map<String, Vec<u8>>);

/// Mail, for services with it and without.
trait Word: Clone + Send + Sync + 'static {
    fn of(text: &str) -> Self;
    fn text(&self) -> &str;
}
impl Word for Arc<str> {
    fn of(text: &str) -> Self {
        text.into()
    }
    fn text(&self) -> &str {
        self
    }
}
impl Word for Infallible {
    fn of(text: &str) -> Self {
        panic!("a service without mail was asked for {text:?}")
    }
    fn text(&self) -> &str {
        match *self {}
    }
}

/// Makes sessions that do as each line says, and write down what they are told.
#[derive(Clone)]
struct Recorder<M> {
    told: Arc<Mutex<Map<String, Vec<Told>>>>,
    mail: std::marker::PhantomData<fn() -> M>,
}

impl<M> Default for Recorder<M> {
    fn default() -> Self {
        Self { told: Arc::default(), mail: std::marker::PhantomData }
    }
}

struct Recording<M> {
    of: Recorder<M>,
    told: Vec<Told>,
    /// The first line.
    name: Option<String>,
    /// Bytes still to be said of `much`.
    much: usize,
    /// Input is held until then: a line asked for slow work.
    until: Option<Moment>,
    /// The connection ends then.
    limit: Option<Moment>,
}

impl<M: Word> Service for Recorder<M> {
    type Session = Recording<M>;
    fn open(&self, _: &Way) -> Result<Recording<M>, Close> {
        let (of, told) = (self.clone(), Vec::new());
        Ok(Recording { of, told, name: None, much: 0, until: None, limit: None })
    }
    fn lost(&self, who: Address, _: &mut dyn Host<M>) {
        panic!("{who:?} was lost");
    }
}

const PLACE: Topic = Topic(7);

impl<M: Word> Recording<M> {
    fn take(&mut self, input: &mut Input<'_>, count: usize) {
        let text = std::str::from_utf8(&input.bytes()[..count]).expect("whole lines are text");
        match self.told.last_mut() {
            Some(Told::Input(before)) => before.push_str(text),
            _ => self.told.push(Told::Input(text.to_owned())),
        }
        input.take(count);
    }
    fn input(&mut self, mut input: Input<'_>, cx: &mut Cx<'_, M>) -> Result<(), Close> {
        while self.wants().takes(cx.out)
            && let Some(end) = input.bytes().iter().position(|byte| *byte == b'\n')
        {
            let line = String::from_utf8(input.bytes()[..end].to_vec()).expect("whole lines are text");
            self.take(&mut input, end + 1);
            self.line(&line, cx)?;
        }
        Ok(())
    }
    fn line(&mut self, line: &str, cx: &mut Cx<'_, M>) -> Result<(), Close> {
        if self.name.is_none() {
            self.name = Some(line.to_owned());
            return Ok(());
        }
        let (verb, what) = line.split_once(' ').unwrap_or((line, ""));
        let time = || Duration::from_millis(what.parse().expect("a number"));
        match verb {
            "echo" => cx.out.put(format!("{what}\n").as_bytes()),
            "much" => {
                self.much = what.parse().expect("a number");
                self.say_much(cx);
            }
            "later" => self.until = Some(cx.now + time()),
            "limit" => self.limit = Some(cx.now + time()),
            "join" => {
                cx.host.join(PLACE, cx.me);
                cx.out.put(b"in\n");
            }
            "leave" => cx.host.leave(PLACE, cx.me),
            "tell" => cx.host.publish(PLACE, Some(cx.me), M::of(what)),
            "post" => cx.host.post(cx.me, M::of(what)),
            "end" => cx.out.finish(),
            "bye" => {
                cx.out.put(b"good bye\n");
                return Err(Close::Done);
            }
            _ => {
                cx.out.put(b"what?\n");
                return Err(Close::Protocol(format!("{verb} is no verb").into()));
            }
        }
        Ok(())
    }
    fn say_much(&mut self, cx: &mut Cx<'_, M>) {
        let count = self.much.min(cx.out.room());
        cx.out.put(&vec![b'm'; count]);
        self.much -= count;
    }
}

impl<M: Word> Session for Recording<M> {
    type Mail = M;
    fn handle(&mut self, event: Event<'_, M>, cx: &mut Cx<'_, M>) -> Result<(), Close> {
        match event {
            Event::Open(_) => self.told.push(Told::Open),
            Event::Input(input) => return self.input(input, cx),
            Event::End => {
                self.told.push(Told::End);
                cx.out.finish();
            }
            Event::Mail(word) => {
                self.told.push(Told::Mail(word.text().to_owned()));
                cx.out.put(format!("mail: {}\n", word.text()).as_bytes());
            }
            Event::Deadline => {
                self.until = self.until.filter(|until| *until > cx.now);
                if self.limit.is_some_and(|limit| limit <= cx.now) {
                    return Err(Close::Idle);
                }
            }
            Event::Drained => self.say_much(cx),
            Event::Stop => return Err(Close::Stop),
            Event::Gone(close) => {
                self.told.push(Told::Gone(close.clone()));
                let name = self.name.take().expect("everybody has said a name");
                self.of.told.lock().unwrap().insert(name, std::mem::take(&mut self.told));
            }
            Event::Again => {}
        }
        Ok(())
    }
    fn wants(&self) -> Wants {
        let input = if self.until.is_some() || self.much > 0 { Pace::Hold } else { Pace::WhileRoom };
        Wants { input, deadline: self.until }.by(self.limit)
    }
}
impl<M: Word> Stream for Recording<M> {}

// Replaying it on sockets.

/// Somebody at a socket.
struct Person {
    stream: Option<TcpStream>,
    heard: Vec<u8>,
}

impl Person {
    fn connect(at: &str) -> Self {
        let stream = TcpStream::connect(at).expect("connected");
        stream.set_read_timeout(Some(HANG)).expect("an option");
        stream.set_nodelay(true).expect("an option");
        Self { stream: Some(stream), heard: Vec::new() }
    }
    fn act(&mut self, line: &Line) {
        thread::sleep(line.wait);
        let Some(mut stream) = self.stream.as_ref() else { panic!("{line:?}: nothing comes behind a reset") };
        match &line.act {
            Act::Say(bytes) => stream.write_all(bytes).expect("said"),
            Act::End => stream.shutdown(Shutdown::Write).expect("ended"),
            Act::Hear(text) => while !self.heard.ends_with(text) && self.read(line) {},
            Act::HearEnd => while self.read(line) {},
            Act::Reset => {
                let socket = self.stream.take().map(socket2::Socket::from).expect("it is open");
                socket.set_linger(Some(Duration::ZERO)).expect("an option");
            }
        }
    }
    /// Reads once; false at the end.
    fn read(&mut self, line: &Line) -> bool {
        let mut buffer = [0; 4096];
        match self.stream.as_ref().expect("open").read(&mut buffer) {
            Ok(count) => {
                self.heard.extend_from_slice(&buffer[..count]);
                count > 0
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!(
                "{line:?} waits in vain; heard so far: {:?}",
                String::from_utf8_lossy(&self.heard[self.heard.len().saturating_sub(200)..])
            ),
            Err(error) => panic!("{line:?}: {error}"),
        }
    }
}

/// Who waits for whom.
#[derive(Clone, Copy)]
enum Order {
    /// Each does his own lines.
    Each,
    /// One line after the other.
    All,
}

fn act_on_sockets(at: &str, lines: &[Line], order: Order) -> Map<String, Vec<u8>> {
    match order {
        Order::Each => thread::scope(|scope| {
            let people = by_person(lines).into_iter().map(|(who, lines)| {
                let done = scope.spawn(move || {
                    let mut person = Person::connect(at);
                    lines.iter().for_each(|line| person.act(line));
                    person.heard
                });
                (who, done)
            });
            let people: Vec<_> = people.collect();
            people.into_iter().map(|(who, done)| (who, done.join().expect("no panic"))).collect()
        }),
        Order::All => {
            let mut people = Map::<String, Person>::new();
            for line in lines {
                people.entry(line.who.clone()).or_insert_with(|| Person::connect(at)).act(line);
            }
            people.into_iter().map(|(who, person)| (who, person.heard)).collect()
        }
    }
}

fn under_model<M: Word>(model: Model, workers: usize, lines: &[Line], order: Order) -> Transcript {
    let recorder = Recorder::<M>::default();
    let mut bound = listen(&["127.0.0.1:0".parse().unwrap()], &Default::default()).expect("a port");
    let address = bound[0].endpoint().to_string();
    let Some(Bound::Stream(listener)) = bound.pop() else { panic!("TCP is a stream") };
    let stop = Stop::new().expect("a stop");
    let service = CheckedService(recorder.clone());
    let server = thread::spawn({
        let stop = stop.clone();
        let options = Options { workers, ..Options::default() };
        move || serve_streams(model, service, vec![listener], Vec::new(), &options, &stop)
    });
    let heard = act_on_sockets(address.trim_start_matches("tcp://"), lines, order);
    // A stop that came before the last end would be what that session is told.
    let began = Instant::now();
    while recorder.told.lock().unwrap().len() < heard.len() {
        assert!(began.elapsed() < HANG, "{model}: not all sessions end");
        thread::sleep(Duration::from_millis(1));
    }
    stop.drain();
    let report = server.join().expect("no panic").expect("served");
    assert_eq!((report.counters.panics, report.counters.broken, report.cut), (0, 0, 0), "{model}: {report:?}");
    let told = recorder.told.lock().unwrap().clone();
    (told, heard)
}

// Replaying it in the simulator.

/// What all simulated people know: whose line is next, where lines wait for each other, and what each has heard.
#[derive(Default)]
struct Stage {
    lines: Vec<Line>,
    next: usize,
    heard: Map<String, Vec<u8>>,
    links: Map<String, sotong_sim::Link>,
}

struct Actor {
    who: String,
    stage: Rc<RefCell<Stage>>,
    /// When the present line's wait is over.
    until: Option<Duration>,
}

impl Peer for Actor {
    fn poll(&mut self, cx: &mut PeerCx<'_>) {
        let mut stage = self.stage.borrow_mut();
        let heard = stage.heard.entry(self.who.clone()).or_default();
        heard.extend_from_slice(cx.fresh.unwrap_or_default());
        let heard = heard.clone();
        let mut advanced = false;
        while let Some(line) = stage.lines.get(stage.next).cloned() {
            if line.who != self.who {
                if let Some(next) = stage.links.get(&line.who).filter(|_| advanced) {
                    cx.poke(*next);
                }
                return;
            }
            let until = *self.until.get_or_insert(cx.now + line.wait);
            if cx.now < until {
                return cx.wake_in(until - cx.now);
            }
            match &line.act {
                Act::Say(bytes) => cx.send(bytes),
                Act::Hear(text) if !heard.ends_with(text) => {
                    assert_eq!(cx.ended, None, "{line:?} waits in vain");
                    return;
                }
                Act::HearEnd if cx.ended.is_none() => return,
                Act::Hear(_) | Act::HearEnd => {}
                Act::End => cx.fin(),
                Act::Reset => cx.reset(),
            }
            self.until = None;
            stage.next += 1;
            advanced = true;
        }
    }
}

fn simulated<M: Word>(seed: u64, lines: &[Line], order: Order) -> Transcript {
    let recorder = Recorder::<M>::default();
    let mut setup = Setup::new(seed).without_faults();
    // What a script asks for fits.
    setup.limits = sotong_session::Limits::default();
    // Wires as slow and as small as they may be with so much to say.
    let wires = &mut setup.wires;
    wires.latency = wires.latency.min(Duration::from_millis(1));
    wires.byte_time = wires.byte_time.min(Duration::from_nanos(100));
    wires.piece_max = wires.piece_max.max(64);
    wires.send_buffer = wires.send_buffer.max(300);
    wires.receive_buffer = wires.receive_buffer.max(300);
    setup.steps_max *= 20;
    let mut sim = Sim::new(setup, recorder.clone());
    let people = by_person(lines);
    let stages: Vec<_> = match order {
        Order::Each => people.values().cloned().map(|lines| Stage { lines, ..Stage::default() }).collect(),
        Order::All => vec![Stage { lines: lines.to_vec(), ..Stage::default() }],
    };
    let stages: Vec<_> = stages.into_iter().map(|stage| Rc::new(RefCell::new(stage))).collect();
    for (number, who) in people.keys().enumerate() {
        let stage = Rc::clone(&stages[number.min(stages.len() - 1)]);
        let actor = Actor { who: who.clone(), stage: Rc::clone(&stage), until: None };
        let link = sim.connect(Duration::ZERO, actor);
        stage.borrow_mut().links.insert(who.clone(), link);
    }
    let outcome = sim.run().unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
    let mut heard = Map::new();
    for stage in stages {
        let stage = stage.borrow();
        assert_eq!(stage.next, stage.lines.len(), "seed {seed}: the script was not played to its end");
        heard.extend(stage.heard.clone());
    }
    assert!(outcome.steps > 0);
    let told = recorder.told.lock().unwrap().clone();
    (told, heard)
}

// Comparing.

#[track_caller]
fn check_equal(expected: &Transcript, got: &Transcript, what: &str) {
    for (who, told) in &expected.0 {
        assert_eq!(got.0.get(who), Some(told), "{what}: what {who}'s session was told");
    }
    for (who, heard) in &expected.1 {
        let other = &got.1[who];
        let same = heard.iter().zip(other).take_while(|(one, two)| one == two).count();
        assert!(heard == other, "{what}: {who} heard {} bytes, not {}; equal are {same}", other.len(), heard.len());
    }
    assert_eq!((expected.0.len(), expected.1.len()), (got.0.len(), got.1.len()), "{what}");
}

fn check_script<M: Word>(text: &str, order: Order, models: &[Model]) -> Transcript {
    let lines = script(text);
    let first = simulated::<M>(0, &lines, order);
    for seed in 1..20 {
        check_equal(&first, &simulated::<M>(seed, &lines, order), &format!("simulated, seed {seed}"));
    }
    for model in models {
        let workers: &[usize] = if model.has_workers() { &[1, 2] } else { &[1] };
        for workers in workers {
            let got = under_model::<M>(*model, *workers, &lines, order);
            check_equal(&first, &got, &format!("{model} with {workers}"));
        }
    }
    first
}

/// The models that run in this process.
fn models() -> Vec<Model> {
    // Workers of `processes` would run the tests again: their loop is that of `epoll`, whose turn comes here.
    Model::ALL.into_iter().filter(|model| *model != Model::Processes).collect()
}

#[test]
fn each_for_himself() {
    let (told, heard) = check_script::<Infallible>(include_str!("replay/alone.script"), Order::Each, &models());
    // What all agree about is also what should be.
    let input = |text: &str| Told::Input(text.to_owned());
    assert_eq!(
        told["ann"],
        [
            Told::Open,
            input("ann\necho 안녕하세요, 서버!\necho two\necho three\nlater 40\necho after it\n"),
            Told::End,
            Told::Gone(Close::Done)
        ]
    );
    assert_eq!(heard["ann"], "안녕하세요, 서버!\ntwo\nthree\nafter it\n".as_bytes());
    assert_eq!(heard["ben"].len(), 100_000 + "behind it\ngood bye\n".len());
    assert_eq!(told["ben"].last(), Some(&Told::Gone(Close::Done)));
    assert_eq!(heard["cho"], b"what?\n");
    assert_eq!(told["cho"].last(), Some(&Told::Gone(Close::Protocol("fault is no verb".into()))));
    assert_eq!(told["dan"].last(), Some(&Told::Gone(Close::Reset)));
    assert_eq!(told["eun"][2..], [Told::End, Told::Gone(Close::Done)]);
    assert_eq!(told["fin"].last(), Some(&Told::Gone(Close::Idle)));
}

#[test]
fn together() {
    let (told, heard) =
        check_script::<Arc<str>>(include_str!("replay/together.script"), Order::All, &ModelError::able());
    let words: Vec<_> = told["ann"].iter().filter(|told| matches!(told, Told::Mail(_))).cloned().collect();
    let said = ["to myself", "one", "둘", "three", "four", "five"];
    assert_eq!(words, said.map(|word| Told::Mail(word.to_owned())));
    assert_eq!(heard["ben"], "in\nsaid\nmail: four\nmail: five\nout\nnothing came between\n".as_bytes());
    assert_eq!(told["cho"].last(), Some(&Told::Gone(Close::Reset)));
}

#[test]
fn a_script_is_read_as_it_is_written() {
    let lines = script("# a remark\nann  12  say a  b\\n\nann   0  end\n");
    assert_eq!((lines[0].who.as_str(), lines[0].wait), ("ann", Duration::from_millis(12)));
    assert!(matches!(&lines[0].act, Act::Say(bytes) if bytes == b"a  b\n"));
    assert!(matches!(lines[1].act, Act::End));
}
