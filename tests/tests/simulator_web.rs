//! A site under the simulated driver: slow wires, random cuts, full outputs, a slow and busy desk, panics and clock jumps.
//!
//! `SOTONG_SEEDS` and `SOTONG_SEED` as in `simulator.rs`.
use bytes::Bytes;
use sotong_http::{
    HttpLimits,
    site::{
        Content, Entry, Facts, Found, Shelf, ShelfLimits, SiteOptions, SiteService, UploadLimits,
        mail::{self, Ask, Mail, Refusal, Upload},
    },
};
use sotong_session::Close;
use sotong_sim::{Act, DeskPlan, Dice, Failure, Outcome, Script, Setup, Sim};
use std::{
    cell::RefCell,
    rc::Rc,
    sync::{Arc, Mutex},
    time::Duration,
};

const SEEDS: u64 = 150;

fn file(name: &str, content: &[u8]) -> Found {
    let facts = Facts { length: content.len() as u64, modified: (784_111_777, 0), inode: 1 };
    let content = Content::Bytes(Bytes::copy_from_slice(content));
    Found::Entry(Arc::new(Entry::file(name.as_bytes(), (content, facts), Vec::new())))
}

fn long() -> Vec<u8> {
    (0..3_000).map(|at| b'a' + (at % 23) as u8).collect()
}

fn found(names: &[u8], dice: &mut Dice) -> Found {
    match names {
        b"short" => file("short", b"0123456789"),
        b"long" => file("long", &long()),
        b"folder" => Found::Folder,
        _ if dice.chance(200) => Found::Busy,
        _ => Found::Missing,
    }
}

/// Looks files up, and takes them.
fn desk(shelf: &Arc<Shelf>) -> DeskPlan<Mail> {
    let others = Rc::new(RefCell::new(Vec::new()));
    let (shelf, waiting) = (Arc::clone(shelf), Rc::clone(&others));
    let work = move |mail: Mail, dice: &mut Dice| {
        let Mail::Ask(ask) = mail else { panic!("an answer to a desk") };
        Mail::Answer(match ask {
            Ask::Look { key, names, .. } => {
                let found = found(&names, dice);
                waiting.borrow_mut().extend(shelf.put(&key, &found));
                mail::Answer::Found { key, found }
            }
            Ask::Begin { .. } => mail::Answer::Begun(match dice.chance(200) {
                true => Err(Refusal::Full),
                false => Ok(Upload(Arc::new(Mutex::new(Vec::<u8>::new())))),
            }),
            Ask::Write { upload, bytes } => {
                let content = upload.0.downcast_ref::<Mutex<Vec<u8>>>().expect("an upload");
                content.lock().unwrap().extend_from_slice(&bytes);
                mail::Answer::Written(Ok(()))
            }
            Ask::Finish { upload } => {
                let content = upload.0.downcast_ref::<Mutex<Vec<u8>>>().expect("an upload");
                assert_eq!(*content.lock().unwrap(), long(), "whole, and in order");
                mail::Answer::Stored(Ok(false))
            }
            Ask::Abandon { .. } => mail::Answer::Written(Err(Refusal::Failed)),
            Ask::Read { .. } | Ask::Check(_) => panic!("nobody asks for this"),
        })
    };
    let others = Box::new(move || std::mem::take(&mut *others.borrow_mut()));
    DeskPlan {
        any_order: false,
        queue_max: 3,
        refusals: 50,
        time_max: Duration::from_millis(30),
        work: Box::new(work),
        others,
    }
}

/// A client's requests, sent ahead, and what may be answered to each: statuses and a body.
type Request = (Vec<u8>, Vec<u16>, Option<Vec<u8>>);

fn requests(dice: &mut Dice) -> Vec<Request> {
    let count = dice.between(1, 6);
    let get = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n{more}\r\n").into_bytes();
    let one = |dice: &mut Dice| -> Request {
        match dice.between(0, 6) {
            0 | 1 => (get("/short", ""), vec![200, 503], Some(b"0123456789".to_vec())),
            2 => (get("/long", ""), vec![200, 503], Some(long())),
            3 => (get("/long", "Range: bytes=100-2099\r\n"), vec![206, 503], Some(long()[100..2100].to_vec())),
            4 => (get("/folder?x", ""), vec![301, 503], None),
            5 => (get("/nothing", ""), vec![404, 503], None),
            _ => {
                let chunks: Vec<u8> = long()
                    .chunks(700)
                    .flat_map(|chunk| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat())
                    .collect();
                let head = b"PUT /new HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
                ([&head[..], &chunks, b"0\r\n\r\n"].concat(), vec![201, 503, 507], None)
            }
        }
    };
    (0..count).map(|_| one(dice)).collect()
}

/// Answers in order, each as long as it says; how many there were, and whether the connection went on behind the last.
fn check(mut heard: &[u8], requests: &[Request], is_calm: bool, how: &str) -> usize {
    for (number, (_, statuses, body)) in requests.iter().enumerate() {
        let Some(end) = heard.windows(4).position(|part| part == b"\r\n\r\n") else { return number };
        let head = std::str::from_utf8(&heard[..end]).expect("a head is text");
        let status: u16 = head.strip_prefix("HTTP/1.1 ").expect("a status line")[..3].parse().expect("a status");
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "))
            .map_or(0, |length| length.parse::<usize>().expect("a length"));
        let rest = &heard[end + 4..];
        let is_whole = rest.len() >= length;
        if status == 408 && !is_calm {
            // The clock has jumped past a deadline.
            return number;
        }
        assert!(statuses.contains(&status), "{how}: {number}: {status} is none of {statuses:?}");
        if let Some(body) = body.as_ref().filter(|_| matches!(status, 200 | 206)) {
            let known = rest.len().min(length);
            assert_eq!(length, body.len(), "{how}: {number}");
            assert_eq!(rest[..known], body[..known], "{how}: {number}");
        }
        if !is_whole {
            return number;
        }
        heard = &rest[length..];
    }
    assert_eq!(heard, b"", "{how}: nothing behind the last answer");
    requests.len()
}

fn scene(seed: u64) -> Result<Outcome, Failure> {
    let is_calm = seed.is_multiple_of(2);
    let setup = if is_calm { Setup::new(seed).without_faults() } else { Setup::new(seed) };
    let shelf = Arc::new(Shelf::new(ShelfLimits::default()));
    // A wire of 60 bytes a second is slower than what is waited for.
    let limits = HttpLimits {
        head_time: Duration::from_secs(300),
        body_time: Duration::from_secs(300),
        idle: Duration::from_secs(300),
        ..HttpLimits::smallest()
    };
    let options = SiteOptions { limits, uploads: Some(UploadLimits::default()), ..SiteOptions::default() };
    let mut sim = Sim::new(setup, SiteService::new(options, Arc::clone(&shelf)));
    sim.desk(desk(&shelf));
    sim.desk(desk(&shelf));
    let mut clients = Vec::new();
    for _ in 0..sim.dice().between(1, 5) {
        let requests = requests(sim.dice());
        let at = Duration::from_micros(sim.dice().between(0, 30_000));
        let said: Vec<u8> = requests.iter().flat_map(|(bytes, ..)| bytes.clone()).collect();
        let link = sim.connect(at, Script::new([Act::Say(said), Act::Fin, Act::HearEnd]));
        clients.push((link, requests));
    }
    let mut strangers = Vec::new();
    for _ in 0..sim.dice().between(0, 2) {
        let dice = sim.dice();
        let at = Duration::from_micros(dice.between(0, 20_000));
        let mut words =
            dice.one_of(&[&b"\x16\x03\x01"[..], b"GET / HTTP/1.1\n", b"\0", b"GET / HTTP/3.0\r\n\r\n"]).to_vec();
        words.extend((0..dice.size(200)).map(|_| dice.between(0, 255) as u8));
        strangers.push(sim.connect(at, Script::new([Act::Say(words), Act::HearEnd, Act::Fin])));
    }
    let outcome = sim.run()?;
    if seeds().1 {
        print!("{}", outcome.trace);
    }
    for (link, requests) in &clients {
        let told = outcome.of(*link);
        let answered = check(&told.heard, requests, is_calm, &format!("seed {seed}"));
        // A file that is refused before its body has come may end the connection.
        let may_end = requests.iter().any(|(bytes, ..)| bytes.starts_with(b"PUT "));
        if is_calm && !may_end {
            assert_eq!(answered, requests.len(), "seed {seed}: {:?}", told.close);
            assert_eq!(told.close, Some(Close::Done), "seed {seed}");
        }
    }
    for stranger in strangers {
        let told = outcome.of(stranger);
        let heard = &told.heard[..told.heard.len().min(9)];
        assert!(b"HTTP/1.1 ".starts_with(heard), "seed {seed}: {heard:?}");
        assert!(!is_calm || matches!(told.close, Some(Close::Protocol(_))), "seed {seed}: {:?}", told.close);
    }
    Ok(outcome)
}

fn seeds() -> (std::ops::Range<u64>, bool) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("SOTONG_SEED") {
        Some(seed) => (seed..seed + 1, true),
        None => (0..number("SOTONG_SEEDS").unwrap_or(SEEDS), false),
    }
}

#[test]
fn a_site_and_its_clients() {
    let (seeds, is_one) = seeds();
    for seed in seeds {
        println!(
            "replay: SOTONG_SEED={seed} cargo test -p tests --test simulator_web a_site_and_its_clients -- --nocapture"
        );
        match scene(seed) {
            Ok(_) => {}
            Err(failure) if is_one => panic!("{}{failure}", failure.trace),
            Err(failure) => panic!("{failure}"),
        }
    }
}

#[test]
fn a_seed_is_one_run() {
    for seed in seeds().0.step_by(20) {
        let [one, two] = [(); 2].map(|()| scene(seed).unwrap_or_else(|failure| panic!("{failure}")).trace.to_string());
        assert_eq!(one, two, "seed {seed}");
    }
}
