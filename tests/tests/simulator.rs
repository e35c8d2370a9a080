//! The services under the simulated driver: every seed another network, other limits, other faults.
//!
//! `SOTONG_SEEDS=10000` runs ten thousand seeds in all, and `SOTONG_SEED=123` runs that one alone and prints what happened.
use sotong_classics::{ChargenService, DiscardService, EchoService, room::RoomService};
use sotong_layers::{LineOptions, Lines};
use sotong_session::{Address, Close, Cx, End, Event, Host, Pace, Records, Service, Session, Stream, Wants, Way};
use sotong_sim::{
    Act, Dice, Ended, Failure, Link, Outcome, Peer, PeerCx, Reading, Script, Setup, Sim,
    probe::{self, Spread},
};
use std::{collections::BTreeSet, convert::Infallible, time::Duration};

/// Seeds of all tests here together, if nothing else is said.
const SEEDS: u64 = 1_100;

/// Runs a scene for its share of the seeds. `part` is its number in a thousand of them.
fn each_seed(test: &str, part: u64, scene: impl Fn(u64) -> Result<Outcome, Failure>) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let replay =
        |seed| format!("replay: SOTONG_SEED={seed} cargo test -p tests --test simulator {test} -- --exact --nocapture");
    if let Some(seed) = number("SOTONG_SEED") {
        match scene(seed) {
            Ok(outcome) => print!("{}", outcome.trace),
            Err(failure) => panic!("{}{failure}\n{}", failure.trace, replay(seed)),
        }
        return;
    }
    let count = (number("SOTONG_SEEDS").unwrap_or(SEEDS) * part).div_ceil(1000);
    let mut steps = 0;
    for seed in 0..count {
        // A claim that fails below panics without knowing its seed.
        let told = Told(replay(seed));
        match scene(seed) {
            Ok(outcome) => steps += outcome.steps,
            Err(failure) => panic!("{failure}"),
        }
        std::mem::forget(told);
    }
    println!("{count} seeds, {steps} steps");
}

/// Says how to replay, unless all is well.
struct Told(String);
impl Drop for Told {
    fn drop(&mut self) {
        println!("{}", self.0);
    }
}

/// How somebody reads.
fn reading(dice: &mut Dice) -> Reading {
    let slow = Reading::Slow { bytes: dice.size(200), every: Duration::from_micros(dice.between(1, 10_000)) };
    dice.one_of(&[Reading::Fast, Reading::Fast, Reading::Fast, slow, slow, Reading::Never])
}

/// Bytes cut into pieces with pauses, read in some way, and one of several ends. Whether it stays to the end and reads.
fn sender(dice: &mut Dice, bytes: &[u8]) -> (Script, bool) {
    let reading = reading(dice);
    let mut acts = vec![Act::Read(reading)];
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(dice.size(rest.len()));
        acts.push(Act::Say(piece.to_vec()));
        rest = after;
        if dice.chance(300) {
            acts.push(Act::Wait(Duration::from_micros(dice.between(1, 3_000))));
        }
    }
    let end = dice.pick(10);
    acts.extend(match end {
        0 => [Act::Reset, Act::Reset],
        1 => [Act::Vanish, Act::Vanish],
        2 => [Act::HearEnd, Act::Fin],
        _ => [Act::Fin, Act::HearEnd],
    });
    (Script::new(acts), end > 2 && reading != Reading::Never)
}

fn noise(dice: &mut Dice, most: usize) -> Vec<u8> {
    let count = if dice.chance(100) { 0 } else { dice.size(most) };
    (0..count).map(|_| dice.between(0, 255) as u8).collect()
}

fn some_time(dice: &mut Dice) -> Duration {
    Duration::from_micros(dice.between(0, 20_000))
}

/// A setup: every second seed has nothing in it that excuses a peer who stays for not hearing everything.
fn setup(seed: u64) -> (Setup, bool) {
    let setup = Setup::new(seed);
    if seed.is_multiple_of(2) { (setup.without_faults(), true) } else { (setup, false) }
}

#[test]
fn echo() {
    each_seed("echo", 200, |seed| {
        let (setup, is_calm) = setup(seed);
        let mut sim = Sim::new(setup, EchoService);
        let mut peers = Vec::new();
        for _ in 0..sim.dice().between(1, 5) {
            let at = some_time(sim.dice());
            let bytes = noise(sim.dice(), 1_000);
            let (script, stays) = sender(sim.dice(), &bytes);
            peers.push((sim.connect(at, script), bytes, stays));
        }
        let outcome = sim.run()?;
        for (peer, bytes, stays) in peers {
            let told = outcome.of(peer);
            assert!(bytes.starts_with(&told.heard), "an echo says what it heard, in order");
            if is_calm && stays {
                assert_eq!(told.close, Some(Close::Done));
                assert_eq!(told.ended, Some(Ended::Fin));
                assert_eq!(told.heard, bytes);
            }
        }
        Ok(outcome)
    });
}

#[test]
fn discard() {
    each_seed("discard", 100, |seed| {
        let (setup, is_calm) = setup(seed);
        let mut sim = Sim::new(setup, DiscardService);
        let mut peers = Vec::new();
        for _ in 0..sim.dice().between(1, 4) {
            let bytes = noise(sim.dice(), 1_500);
            let at = some_time(sim.dice());
            let (script, stays) = sender(sim.dice(), &bytes);
            peers.push((sim.connect(at, script), bytes, stays));
        }
        let outcome = sim.run()?;
        for (peer, bytes, stays) in peers {
            let told = outcome.of(peer);
            assert!(told.heard.is_empty());
            if is_calm && stays {
                assert_eq!((&told.close, &told.sent), (&Some(Close::Done), &bytes));
            }
        }
        Ok(outcome)
    });
}

/// The pattern of RFC 864: 72 characters a line, each line one character further.
fn pattern() -> impl Iterator<Item = u8> {
    (0usize..).flat_map(|line| (0..72).map(move |place| b' ' + ((line + place) % 95) as u8).chain(*b"\r\n"))
}

#[test]
fn chargen() {
    each_seed("chargen", 100, |seed| {
        let (setup, _) = setup(seed);
        let mut sim = Sim::new(setup, ChargenService);
        let mut peers = Vec::new();
        for _ in 0..sim.dice().between(1, 3) {
            let at = some_time(sim.dice());
            let reading = reading(sim.dice());
            let enough = sim.dice().size(1_500);
            let end = if sim.dice().chance(500) { Act::Reset } else { Act::Vanish };
            let acts = match reading {
                Reading::Never => vec![Act::Read(reading), Act::Wait(Duration::from_secs(1)), end],
                _ => vec![Act::Read(reading), Act::Hear(enough), end],
            };
            peers.push(sim.connect(at, Script::new(acts)));
        }
        let outcome = sim.run()?;
        for peer in peers {
            let heard = &outcome.of(peer).heard;
            assert!(heard.iter().copied().eq(pattern().take(heard.len())), "the pattern, without a gap");
        }
        Ok(outcome)
    });
}

/// Says each line again, with its length before it.
#[derive(Clone, Copy)]
struct Count;

impl Service for Count {
    type Session = Lines<Self>;
    fn open(&self, _: &Way) -> Result<Lines<Self>, Close> {
        Ok(Lines::new(*self, LineOptions { line_bytes_max: 100, ..LineOptions::default() }))
    }
    fn lost(&self, _: Address, _: &mut dyn Host<Infallible>) {}
}
impl Session for Count {
    type Mail = Infallible;
    fn handle(&mut self, event: Event<'_, Infallible>, cx: &mut Cx<'_, Infallible>) -> Result<(), Close> {
        match event {
            Event::Input(mut input) => {
                cx.out.put(format!("{} ", input.bytes().len()).as_bytes());
                cx.out.put(input.bytes());
                cx.out.cut();
                input.take_all();
            }
            Event::End => cx.out.finish(),
            Event::Stop => return Err(Close::Stop),
            Event::Open(_) | Event::Again | Event::Mail(_) | Event::Deadline | Event::Drained | Event::Gone(_) => {}
        }
        Ok(())
    }
    fn wants(&self) -> Wants {
        Wants::INPUT
    }
}
impl Records for Count {}

#[test]
fn lines() {
    each_seed("lines", 200, |seed| {
        let (setup, is_calm) = setup(seed);
        let mut sim = Sim::new(setup, Count);
        let mut peers = Vec::new();
        for _ in 0..sim.dice().between(1, 4) {
            let dice = sim.dice();
            let lines: Vec<String> = (0..dice.between(0, 30)).map(|_| "x".repeat(dice.size(90) - 1)).collect();
            let ending = dice.one_of(&["\n", "\r\n"]);
            let mut text: String = lines.iter().map(|line| format!("{line}{ending}")).collect();
            let mut answer: String = lines.iter().map(|line| format!("{} {line}\n", line.len())).collect();
            if dice.chance(300) {
                // What follows the last end of line is a line, when the peer ends there.
                text.push_str("last");
                answer.push_str("4 last\n");
            }
            let at = some_time(dice);
            let (script, stays) = sender(dice, text.as_bytes());
            peers.push((sim.connect(at, script), answer, stays));
        }
        let outcome = sim.run()?;
        for (peer, answer, stays) in peers {
            let told = outcome.of(peer);
            assert!(answer.as_bytes().starts_with(&told.heard), "each line once, in order");
            if is_calm && stays {
                assert_eq!(told.close, Some(Close::Done));
                assert_eq!(told.heard, answer.as_bytes());
            }
        }
        Ok(outcome)
    });
}

/// Sends datagrams, with pauses.
struct Shouter(Vec<Vec<u8>>);
impl Peer for Shouter {
    fn poll(&mut self, cx: &mut PeerCx<'_>) {
        if cx.fresh.is_none()
            && let Some(datagram) = self.0.pop()
        {
            cx.send(&datagram);
            let time = Duration::from_micros(cx.dice.between(0, 2_000));
            cx.wake_in(time);
        }
    }
}

#[test]
fn datagrams() {
    each_seed("datagrams", 100, |seed| {
        let (setup, _) = setup(seed);
        let mut sim = Sim::new(setup, EchoService);
        let mut peers = Vec::new();
        for _ in 0..sim.dice().between(1, 8) {
            let at = some_time(sim.dice());
            let count = sim.dice().between(0, 12);
            let datagrams: Vec<Vec<u8>> = (0..count).map(|_| noise(sim.dice(), 600)).collect();
            peers.push((sim.datagrams(at, Shouter(datagrams.clone())), datagrams));
        }
        let outcome = sim.run()?;
        for (peer, sent) in peers {
            for heard in &outcome.of(peer).datagrams {
                assert!(sent.contains(heard), "a datagram comes back whole or not at all");
            }
        }
        Ok(outcome)
    });
}

/// Both ends of each connection are sessions: an echo, and one who asks and checks.
#[derive(Clone)]
struct Conversation;

enum Talker {
    Echo(<EchoService as Service>::Session),
    Asker { to_say: Vec<u8>, said: usize, heard: usize },
}

impl Service for Conversation {
    type Session = Talker;
    fn open(&self, way: &Way) -> Result<Talker, Close> {
        match &way.local {
            End::Simulated(0) => EchoService.open(way).map(Talker::Echo),
            End::Simulated(number) => {
                let to_say = (0..number * 97 % 3_000).map(|at| (at % 251) as u8).collect();
                Ok(Talker::Asker { to_say, said: 0, heard: 0 })
            }
            other => unreachable!("{other} is not in a simulation"),
        }
    }
    fn lost(&self, _: Address, _: &mut dyn Host<Infallible>) {}
}

impl Stream for Talker {}
impl Session for Talker {
    type Mail = Infallible;
    fn handle(&mut self, event: Event<'_, Infallible>, cx: &mut Cx<'_, Infallible>) -> Result<(), Close> {
        let (to_say, said, heard) = match self {
            Self::Echo(echo) => return echo.handle(event, cx),
            Self::Asker { to_say, said, heard } => (to_say, said, heard),
        };
        match event {
            Event::Open(_) | Event::Drained => {
                let count = cx.out.room().min(to_say.len() - *said);
                cx.out.put(&to_say[*said..*said + count]);
                *said += count;
                if *said == to_say.len() {
                    cx.out.finish();
                }
            }
            Event::Input(mut input) => {
                let expected = to_say.get(*heard..*heard + input.bytes().len());
                assert_eq!(Some(input.bytes()), expected, "an echo says what it heard, in order");
                *heard += input.bytes().len();
                input.take_all();
            }
            Event::End => {
                if *heard < to_say.len() && *said == to_say.len() {
                    return Err(Close::Truncated);
                }
                cx.out.finish();
            }
            Event::Stop => return Err(Close::Stop),
            Event::Again | Event::Mail(_) | Event::Deadline | Event::Gone(_) => {}
        }
        Ok(())
    }
    fn wants(&self) -> Wants {
        match self {
            Self::Echo(echo) => echo.wants(),
            // Its two directions are independent: it reads whatever it has still to say.
            Self::Asker { .. } => Wants { input: Pace::Always, deadline: None },
        }
    }
}

#[test]
fn sessions_at_both_ends() {
    each_seed("sessions_at_both_ends", 100, |seed| {
        let (setup, is_calm) = setup(seed);
        let mut sim = Sim::new(setup, Conversation);
        let links: Vec<Link> = (0..sim.dice().between(1, 4))
            .map(|_| {
                let at = some_time(sim.dice());
                sim.connect_session(at)
            })
            .collect();
        let outcome = sim.run()?;
        for link in links {
            if is_calm {
                assert_eq!(outcome.of(link).close, Some(Close::Done));
            }
        }
        Ok(outcome)
    });
}

/// One person in the room: gives a name, says lines, and leaves.
struct Person {
    name: String,
    to_say: Vec<String>,
    reading: Reading,
    pause: Duration,
    leaving: Act,
    lines: probe::Lines,
    is_in: bool,
    has_begun: bool,
    may_speak_at: Duration,
}

impl Person {
    fn new(number: u64, dice: &mut Dice) -> Self {
        let name = format!("사람{number}");
        let count = dice.between(0, 9);
        let bye = Act::Say(b"/quit\n".to_vec());
        Self {
            to_say: (0..count).rev().map(|line| format!("{number}-{line} 안녕{}", "!".repeat(dice.size(20)))).collect(),
            name,
            reading: reading(dice),
            pause: Duration::from_micros(dice.between(0, 3_000)),
            leaving: vec![bye, Act::Fin, Act::Fin, Act::Reset, Act::Vanish, Act::HearEnd].swap_remove(dice.pick(6)),
            lines: probe::Lines::default(),
            is_in: false,
            has_begun: false,
            may_speak_at: Duration::ZERO,
        }
    }
}

impl Peer for Person {
    fn poll(&mut self, cx: &mut PeerCx<'_>) {
        if !std::mem::replace(&mut self.has_begun, true) {
            cx.read(self.reading);
            cx.send(format!("{}\n", self.name).as_bytes());
            // Who never reads does not wait to be welcomed.
            self.is_in = self.reading == Reading::Never;
        }
        self.lines.feed(cx.fresh);
        while let Some(line) = self.lines.take() {
            self.is_in |= line.starts_with("* Welcome");
        }
        if cx.ended.is_some() {
            return cx.fin();
        }
        if !self.is_in {
            return;
        }
        if cx.now < self.may_speak_at {
            return cx.wake_in(self.may_speak_at - cx.now);
        }
        if let Some(line) = self.to_say.pop() {
            cx.send(format!("{line}\n").as_bytes());
            self.may_speak_at = cx.now + self.pause;
            return cx.wake_in(self.pause);
        }
        match &self.leaving {
            Act::Say(bye) => cx.send(bye),
            Act::Fin => cx.fin(),
            Act::Reset => cx.reset(),
            Act::Vanish => cx.vanish(),
            Act::Hear(_) | Act::HearEnd | Act::Wait(_) | Act::Read(_) => {}
        }
        self.leaving = Act::HearEnd;
    }
}

/// What a person heard others say: who, and what.
fn talk(heard: &[u8]) -> Vec<(String, String)> {
    // Who was cut off in the middle of a line did not hear that line.
    let whole = heard.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let text = std::str::from_utf8(&heard[..whole]).expect("what is relayed is UTF-8");
    let said = text.lines().filter(|line| line.starts_with("사람"));
    said.map(|line| line.split_once(": ").expect("a name, then words"))
        .map(|(n, w)| (n.to_owned(), w.to_owned()))
        .collect()
}

/// Where both were in the room, both heard the same of everybody else: in one order, without a gap.
fn agree(one: &[(String, String)], two: &[(String, String)]) -> bool {
    let (Some(first), Some(second)) = (one.first(), two.first()) else { return true };
    let from_two = one.iter().position(|said| said == second).map(|at| (&one[at..], two));
    let from_one = two.iter().position(|said| said == first).map(|at| (one, &two[at..]));
    match from_two.or(from_one) {
        Some((one, two)) => one.iter().zip(two).all(|(one, two)| one == two),
        // They were there one after the other.
        None => one.iter().all(|said| !two.contains(said)),
    }
}

#[test]
fn room() {
    each_seed("room", 250, |seed| {
        let (mut setup, is_calm) = setup(seed);
        // The room's longest lines must fit into what a shrunken output still holds.
        setup.limits.marks.hard = setup.limits.marks.hard.max(8_192);
        let mut sim = Sim::new(setup, RoomService::default());
        let mut people = Vec::new();
        for number in 0..sim.dice().between(2, 7) {
            let at = some_time(sim.dice());
            let person = Person::new(number, sim.dice());
            let (name, to_say) = (person.name.clone(), person.to_say.iter().rev().cloned().collect::<Vec<_>>());
            let stays = person.reading != Reading::Never && matches!(person.leaving, Act::HearEnd);
            people.push((sim.connect(at, person), name, to_say, stays));
        }
        let outcome = sim.run()?;
        let talks: Vec<_> = people.iter().map(|(link, ..)| talk(&outcome.of(*link).heard)).collect();
        for ((_, me, ..), talk) in people.iter().zip(&talks) {
            let distinct: BTreeSet<_> = talk.iter().collect();
            assert_eq!(distinct.len(), talk.len(), "{me} heard something twice");
            for (_, name, to_say, _) in &people {
                let heard: Vec<&String> = talk.iter().filter(|(who, _)| who == name).map(|(_, words)| words).collect();
                assert!(heard.is_empty() || name != me, "{me} heard itself");
                let from = heard.first().and_then(|first| to_say.iter().position(|words| words == *first)).unwrap_or(0);
                let said: Vec<&String> = to_say[from..].iter().take(heard.len()).collect();
                assert_eq!(heard, said, "{me} heard of {name} what was said, in its order");
            }
        }
        for (at, (_, one, ..)) in people.iter().enumerate() {
            for (other, (_, two, ..)) in people.iter().enumerate().take(at) {
                let others = |talk: &[(String, String)]| -> Vec<_> {
                    talk.iter().filter(|(who, _)| who != one && who != two).cloned().collect()
                };
                assert!(agree(&others(&talks[at]), &others(&talks[other])), "{one} and {two} heard different talk");
            }
        }
        if is_calm {
            for (link, name, _, stays) in &people {
                assert!(!stays || outcome.of(*link).close == Some(Close::Stop), "{name} was there to the end");
            }
        }
        Ok(outcome)
    });
}

#[test]
fn hub() {
    each_seed("hub", 150, |seed| {
        let spread = if seed.is_multiple_of(2) { Spread::Direct } else { Spread::Owner };
        probe::scene(Setup::new(seed), spread).run()
    });
}
