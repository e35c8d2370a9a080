//! Whole chats under the simulated driver: clients with all kinds of capabilities and people with terminals who come in
//! mid-traffic, read slowly, part and come back, put each other out, change their nicks, are reset and connect again; every
//! seed another network, other limits, other faults.
//!
//! One is in every room before the others come, and hears all of it: what each of the others has heard is held against that,
//! without a gap, a double or another order, and without a word from where he was not. What is noticed at once is noticed by
//! the members themselves: words that nobody has said, a room nobody may know of, an answer that comes before what was done
//! before the question.
//!
//! `SOTONG_SEEDS=10000` runs ten thousand seeds, and `SOTONG_SEED=123` runs that one alone and prints what happened.
mod accounts;
mod broken;
mod keeper;
mod ledger;
mod member;
mod order;
mod scram;
mod store;
mod weighed;
mod wire;

use broken::{Broken, How};
use member::{ACCOUNTS, Ears, Kind, Known, Member, PASSWORD, Seated};
use order::{Ear, Event, Line, What};
use sotong_chat::{AccountOptions, ChatLimits, ChatOptions, ChatService, books::Records};
use sotong_session::{Close, Service};
use sotong_sim::{Ended, Failure, Outcome, Setup, Sim};
use std::{
    cell::RefCell,
    collections::BTreeSet,
    rc::Rc,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use store::{Moods, Store, account, desks};
use weighed::{Weighed, left_over};
use wire::plain;

/// Seeds, if nothing else is said.
const SEEDS: u64 = 200;
/// When members begin to come: the observer is there by then.
const BEGIN: Duration = Duration::from_secs(3);

/// Runs the seeds, some at once.
fn each_seed(test: &str, scene: impl Fn(u64) -> Result<Outcome, Failure> + Sync) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let replay = |seed| {
        format!("replay: SOTONG_SEED={seed} cargo test -p tests --test simulator_chat {test} -- --exact --nocapture")
    };
    if let Some(seed) = number("SOTONG_SEED") {
        match scene(seed) {
            Ok(outcome) => print!("{}", outcome.trace),
            Err(failure) => panic!("{}{failure}\n{}", failure.trace, replay(seed)),
        }
        return;
    }
    let (next, count) = (AtomicU64::new(0), number("SOTONG_SEEDS").unwrap_or(SEEDS));
    let run = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= count {
            return;
        }
        // A claim that fails after the run panics without knowing its seed.
        let told = Told(replay(seed));
        if let Err(failure) = scene(seed) {
            next.store(count, Ordering::Relaxed);
            panic!("{failure}");
        }
        std::mem::forget(told);
    };
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get().min(4));
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
        run();
        for other in others {
            if let Err(panic) = other.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}

/// Says how to replay, unless all is well.
struct Told(String);
impl Drop for Told {
    fn drop(&mut self) {
        println!("{}", self.0);
    }
}

/// Everybody of a run.
struct Cast {
    known: Rc<RefCell<Known>>,
    eye: Seated,
    members: Vec<Seated>,
}

/// Who comes when, from the run's seed.
fn cast<S: Service>(sim: &mut Sim<S>) -> Cast {
    let known = Rc::new(RefCell::new(Known::default()));
    let eye = Member::eye(&known, sim.dice());
    let ears = eye.ears(0);
    let eye = (sim.connect(Duration::ZERO, eye), ears);
    let mut members = Vec::new();
    let mut link = 0;
    for person in 1..=sim.dice().between(2, 7) {
        // Some come again, it may be before the server knows that they were gone.
        let mut at = BEGIN + Duration::from_micros(sim.dice().between(0, 40_000));
        // Or have several clients at once, of one account and nick.
        let account = sim.dice().chance(250).then(|| ACCOUNTS[sim.dice().pick(ACCOUNTS.len())]);
        let name = account.map_or_else(|| format!("이름{person}"), str::to_owned);
        for _ in 0..[1, 1, 1, 2, 3][sim.dice().pick(5)] {
            link += 1;
            let mut member = Member::new(link as u64, name.clone(), &known, sim.dice());
            if let Some(account) = account {
                member = member.sharing(account);
            }
            let ears = member.ears(link);
            members.push((sim.connect(at, member), ears));
            at += Duration::from_micros(sim.dice().between(1_000, 300_000));
        }
    }
    Cast { known, eye, members }
}

/// What somebody read of whole lines: who was cut off in the middle of one did not hear that.
fn whole_lines(heard: &[u8]) -> &str {
    let whole = heard.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    std::str::from_utf8(&heard[..whole]).expect("what is relayed is UTF-8")
}

/// What was wrong with what somebody heard.
fn wrong(outcome: &Outcome, cast: &Cast, is_calm: bool, stop: Duration) -> Option<String> {
    let eye = whole_lines(&outcome.of(cast.eye.0).heard);
    let all: Vec<Event> = eye.lines().filter_map(|line| Line::read(line.trim_end()).event()).collect();
    // While the observer is there, the room is, and it is secret.
    let leak = cast.known.borrow().leaks.iter().find(|(at, _)| *at < stop).map(|(_, what)| what.clone());
    if leak.is_some() && outcome.of(cast.eye.0).close == Some(Close::Stop) {
        return leak;
    }
    amiss_all(outcome, &all, &cast.members, is_calm)
}

/// What was wrong with what one of them has heard of `all`.
fn amiss_all(outcome: &Outcome, all: &[Event], members: &[Seated], is_calm: bool) -> Option<String> {
    let is_leaving = |event: &Event| matches!(&event.what, What::Quit { reason } if reason == "Server is leaving");
    // Once the server leaves, members go in any order.
    let until = all.iter().position(is_leaving).unwrap_or(all.len());
    members.iter().find_map(|(link, ears)| {
        let heard = plain(ears.wire, &outcome.of(*link).heard);
        let told = outcome.of(*link);
        // Who is reset has not read all of it.
        let is_stopped = told.close == Some(Close::Stop) && told.ended == Some(Ended::Fin);
        let told = Heard { text: whole_lines(&heard), is_stopped };
        amiss(all, until, ears, &told, is_calm)
    })
}

/// What somebody has heard, and whether he has heard the end of it as the server left.
struct Heard<'a> {
    text: &'a str,
    is_stopped: bool,
}

/// What was wrong with what one has heard of `all`, which is sure up to `until`.
fn amiss(all: &[Event], until: usize, ears: &Ears, told: &Heard<'_>, is_calm: bool) -> Option<String> {
    let is_person = ears.kind == Kind::Person;
    // The welcome tells whose client it is: another's of his, where that is from elsewhere.
    let welcome = told.text.lines().map(Line::read_end).find(|line| line.command() == "001");
    let host = welcome.and_then(|line| Some(line.words.last()?.rsplit_once('@')?.1)).unwrap_or(&ears.host);
    let ear = Ear { id: ears.id, host, is_person, echo: ears.echo, tags: ears.tags };
    let (expected, has_quit) = order::expected(all, &ear);
    let heard = order::heard(&told.text.replace('\r', ""), &ear);
    let who = format!("{} at {}", ears.id, ears.host);
    let (least, _) = order::expected(&all[..until], &ear);
    let must = is_calm && ears.stays && told.is_stopped;
    if host != ears.host {
        let is_own_join = |event: &String| event.contains(&format!("@{host} Joined "));
        let Some((joins, begin)) = order::part_of(&expected, &heard, is_own_join) else {
            return Some(format!("{who}, a client of {host}, heard {heard:#?}, which is no part of {expected:#?}"));
        };
        if let Some(what) = missed_wrong(told.text, &expected, &heard[joins..]) {
            return Some(format!("{who}, a client of {host}: {what}"));
        }
        let end = (begin + heard.len() - joins).min(expected.len());
        let lacks = must && heard.len() > joins && end < least.len();
        return lacks.then(|| format!("{who}, a client of {host}, was there, and did not hear {:?}", &least[end..]));
    }
    if let Some(at) = heard.iter().zip(&expected).position(|(heard, expected)| heard != expected) {
        let before = &expected[at.saturating_sub(5)..at];
        return Some(format!("{who} heard {}, where {} is next behind {before:#?}", heard[at], expected[at]));
    }
    if has_quit && heard.len() > expected.len() {
        return Some(format!("{who} has heard {:?} after he had gone", &heard[expected.len()..]));
    }
    (must && heard.len() < least.len())
        .then(|| format!("{who} was there, and did not hear {:?}", &least[heard.len()..]))
}

/// What is wrong with what somebody is told who has come back: in each room it is what was said before that which he hears
/// himself, without a gap and a double.
fn missed_wrong(text: &str, expected: &[String], heard: &[String]) -> Option<String> {
    let missed = order::missed(text);
    let rooms: BTreeSet<&String> = missed.iter().map(|(room, _)| room).collect();
    rooms.into_iter().find_map(|room| {
        let words = missed.iter().filter(|(other, _)| other == room).map(|(_, words)| words.clone());
        let words: Vec<String> = words.chain(order::said_in(room, heard)).collect();
        let all = order::said_in(room, expected);
        let fits = all.windows(words.len()).any(|part| part == words)
            || (0..all.len()).any(|begin| {
                words.starts_with(&all[begin..]) && words[all.len() - begin..].iter().all(|words| !all.contains(words))
            });
        (!fits).then(|| format!("in {room} {words:#?} is missed and heard, which is no part of {all:#?}"))
    })
}

fn setup(seed: u64) -> Setup {
    let mut setup = Setup::new(seed);
    if seed.is_multiple_of(2) {
        setup = setup.without_faults();
    }
    setup.faults.jumps_after = BEGIN - Duration::from_millis(500);
    // The observer sees all of it.
    setup.faults.spares = 1;
    // Who hears a byte at a time from far away never gets as far as to speak.
    setup.wires.receive_buffer = setup.wires.receive_buffer.max(50);
    setup.wires.send_buffer = setup.wires.send_buffer.max(50);
    setup.wires.piece_max = setup.wires.piece_max.max(7);
    setup.limits.turn_bytes_max = setup.limits.turn_bytes_max.max(20);
    setup.steps_max = 2_000_000;
    // A welcome must fit into what a shrunken output still holds.
    setup.limits.marks.hard = setup.limits.marks.hard.max(64 << 10);
    // In mid-traffic, and all have the time to hear what was said before.
    if seed % 10 == 4 {
        setup.limits.drain = Duration::from_secs(600);
        setup.stop_after = Some(Duration::from_micros(setup.seed.wrapping_mul(7_919) % 200_000));
    }
    // In the middle of it; before anybody is asked whether he is there; after some are gone because they did not answer that.
    setup.stop_after = Some(match setup.stop_after {
        Some(early) => BEGIN + early,
        None if seed % 7 == 1 => Duration::from_secs(300),
        None => Duration::from_secs(60),
    });
    setup
}

fn chat(seed: u64) -> ChatService {
    let limits = ChatLimits { flood_control: seed.is_multiple_of(5), ..ChatLimits::default() };
    let accounts = AccountOptions { login_attempts: 0, ..AccountOptions::default() };
    let chat = ChatService::new(ChatOptions { limits, accounts, ..ChatOptions::default() });
    let accounts = ACCOUNTS.iter().map(|name| account(name, PASSWORD)).collect();
    chat.restore(Records { accounts, ..Records::default() });
    chat
}

#[test]
fn chats() {
    each_seed("chats", |seed| {
        let chat = chat(seed);
        let setup = setup(seed);
        let stop = setup.stop_after.unwrap_or_default();
        let mut sim = Sim::new(setup, Weighed::new(chat.clone()));
        desks(&Rc::new(RefCell::new(Store::default())), Moods::GOOD).into_iter().for_each(|desk| sim.desk(desk));
        let cast = cast(&mut sim);
        let outcome = sim.run()?;
        let wrong = wrong(&outcome, &cast, seed.is_multiple_of(2), stop);
        if wrong.is_some() && std::env::var_os("SOTONG_SEED").is_some() {
            print!("{}", outcome.trace);
            for (link, ears) in std::iter::once(&cast.eye).chain(&cast.members) {
                println!("== {ears:?} heard:\n{}", String::from_utf8_lossy(&outcome.of(*link).heard));
            }
        }
        assert_eq!(wrong, None);
        assert_eq!(left_over(&chat, true), None);
        Ok(outcome)
    });
}

/// The watcher is awake: a chat whose mail is lost, comes twice, late or in another order does not pass.
#[test]
fn a_broken_chat_is_noticed() {
    for how in [How::Drop, How::Double, How::Swap, How::Late] {
        let is_noticed = |seed: u64| {
            let mut setup = setup(2 * seed);
            setup.shards = setup.shards.max(2);
            let stop = setup.stop_after.unwrap_or_default();
            let mut sim = Sim::new(setup, Broken { chat: chat(1), how });
            desks(&Rc::new(RefCell::new(Store::default())), Moods::GOOD).into_iter().for_each(|desk| sim.desk(desk));
            let cast = cast(&mut sim);
            sim.run().map_or(true, |outcome| wrong(&outcome, &cast, true, stop).is_some())
        };
        assert!((0..100).any(is_noticed), "{how:?} is not noticed");
    }
}
