//! Chats with accounts, where desks are slow, busy and fail: what is told as done is in the store and there after a restart,
//! what is told as failed is nowhere, answers come in their order, and nobody else waits for a desk.
use crate::{
    BEGIN, amiss_all, chat, each_seed,
    keeper::{Keeper, World},
    ledger::Ledger,
    member::{Ears, Known, Member, Seated},
    order::{Event, Line, What},
    setup,
    store::{Moods, PLAIN, Store, desks},
    weighed::{Weighed, left_over},
    whole_lines,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sotong_chat::{AccountOptions, ChatLimits, ChatOptions, ChatService};
use sotong_irc::names;
use sotong_session::Close;
use sotong_sim::{Act, Link, Outcome, Peer, PeerCx, Script, Setup, Sim, probe::Lines};
use std::{cell::RefCell, rc::Rc, time::Duration};

/// Rooms that have founders; the observer is in all of them.
pub(crate) const OWNED: [&str; 3] = ["#k0", "#k1", "#k2"];
/// Longer than any wire takes for a word, and shorter than the slowest desk.
const HELD_UP: Duration = Duration::from_secs(20);

/// Somebody who has nothing to do with desks, and is answered whatever they do.
struct Clock {
    known: Rc<RefCell<Known>>,
    lines: Lines,
    has_begun: bool,
    is_calm: bool,
    asked: Option<Duration>,
    next: Option<Duration>,
}

impl Peer for Clock {
    fn poll(&mut self, cx: &mut PeerCx<'_>) {
        if cx.ended.is_some() {
            return cx.fin();
        }
        if !self.known.borrow().is_open {
            return cx.wake_in(Duration::from_millis(200));
        }
        if !std::mem::replace(&mut self.has_begun, true) {
            cx.send("NICK 시계\r\nUSER c 0 * :c\r\n".as_bytes());
        }
        self.lines.feed(cx.fresh);
        while let Some(line) = self.lines.take() {
            let line = line.trim_end().to_owned();
            let read = Line::read(&line);
            match read.command() {
                "001" => self.next = Some(cx.now),
                "PING" => cx.send(format!("PONG :{}\r\n", read.param(0)).as_bytes()),
                "PONG" => {
                    let took = cx.now - self.asked.take().unwrap_or(cx.now);
                    if took > HELD_UP && self.is_calm {
                        cx.claim(None, format!("an answer took {took:?}: a desk holds others up"));
                    }
                    self.next = Some(cx.now + Duration::from_secs(3));
                }
                _ => {}
            }
        }
        if let Some(next) = self.next {
            if cx.now < next {
                return cx.wake_in(next - cx.now);
            }
            self.next = None;
            self.asked = Some(cx.now);
            cx.send(b"PING clock\r\n");
        }
    }
}

struct Cast {
    ledgers: Vec<Rc<RefCell<Ledger>>>,
    eye: Link,
    keepers: Vec<Seated>,
}

fn cast(sim: &mut Sim<Weighed>, store: &Rc<RefCell<Store>>, is_calm: bool) -> Cast {
    let known = Rc::new(RefCell::new(Known::default()));
    let world = World { store: Rc::clone(store), known: Rc::clone(&known) };
    let eye = Member::eye(&known, sim.dice()).also_in(&OWNED);
    let eye = sim.connect(Duration::ZERO, eye);
    let clock =
        Clock { known: Rc::clone(&known), lines: Lines::default(), has_begun: false, is_calm, asked: None, next: None };
    sim.connect(Duration::from_millis(1), clock);
    let (mut ledgers, mut keepers, mut link) = (Vec::new(), Vec::new(), 1);
    let owners = sim.dice().between(1, OWNED.len() as u64) as usize;
    for (number, room) in OWNED.into_iter().enumerate().take(owners) {
        let ledger = Rc::new(RefCell::new(Ledger::new(format!("주인{number}"), room)));
        let mut before: Option<Rc<RefCell<bool>>> = None;
        for _ in 0..sim.dice().between(1, 3) {
            link += 1;
            let keeper = Keeper::new(link as u64, &ledger, &world, Some(before.clone()), sim.dice());
            before = Some(keeper.end_mark());
            let ears = keeper.ears(link);
            let at = BEGIN + Duration::from_micros(sim.dice().between(0, 40_000));
            keepers.push((sim.connect(at, keeper), ears));
        }
        for _ in 0..sim.dice().between(0, 2) {
            link += 1;
            let keeper = Keeper::new(link as u64, &ledger, &world, None, sim.dice());
            let ears = keeper.ears(link);
            let at = BEGIN + Duration::from_micros(sim.dice().between(1_000, 4_000_000));
            keepers.push((sim.connect(at, keeper), ears));
        }
        ledgers.push(ledger);
    }
    Cast { ledgers, eye, keepers }
}

/// What is wrong in the store, when all is over.
fn wrong_in_store(cast: &Cast, store: &Store, all: &[Event], chat: &ChatService) -> Option<String> {
    let wrong = cast.ledgers.iter().find_map(|ledger| ledger.borrow().wrong(store));
    let unwritten = chat.tables().iter().any(|table| table.name == "unwritten" && table.len > 0);
    if wrong.is_some() || store.has_failed() || unwritten {
        return wrong;
    }
    cast.ledgers.iter().find_map(|ledger| {
        let ledger = ledger.borrow();
        let record = store.rooms.get(&names::fold(ledger.room))?;
        let kept = record.topic.as_ref().map(|topic| topic.text.to_string()).unwrap_or_default();
        let heard: Vec<&str> = all
            .iter()
            .filter_map(|event| match &event.what {
                What::Topic { room, text } if *room == ledger.room => Some(&**text),
                _ => None,
            })
            .collect();
        // The observer does not hear what is done when the server leaves.
        let is_last = heard.last().is_none_or(|last| *last == kept);
        let is_unheard = !heard.contains(&&*kept) && ledger.topics.contains(&kept);
        (!is_last && !is_unheard).then(|| format!("{} has the topic {kept:?} in the store: {heard:?}", ledger.room))
    })
}

/// A new server finds what the old one has stored: whose each account is, whose each room, what it is about, and who sits where.
fn restart(seed: u64, store: &Store) -> Option<String> {
    let accounts = AccountOptions { login_attempts: 0, ..AccountOptions::default() };
    let limits = ChatLimits { flood_control: false, ..ChatLimits::default() };
    let chat = ChatService::new(ChatOptions { accounts, limits, ..ChatOptions::default() });
    chat.restore(store.records());
    let mut setup = Setup::new(seed).without_faults();
    setup.limits = sotong_session::Limits::default();
    setup.stop_after = Some(Duration::from_secs(100));
    setup.wires.byte_time = Duration::ZERO;
    let mut sim = Sim::new(setup, Weighed::new(chat.clone()));
    let copy = Store { accounts: store.accounts.clone(), rooms: store.rooms.clone(), ..Store::default() };
    desks(&Rc::new(RefCell::new(copy)), Moods::GOOD).into_iter().for_each(|desk| sim.desk(desk));
    let mut expected: Vec<(Link, Vec<String>)> = Vec::new();
    for account in store.accounts.values() {
        let name = &account.name;
        let password = account.password.as_deref().unwrap_or_default().replacen(PLAIN, "", 1);
        let message = STANDARD.encode(format!("\0{name}\0{password}"));
        let mut lines = format!(
            "CAP REQ sasl\r\nAUTHENTICATE PLAIN\r\nAUTHENTICATE {message}\r\nNICK {name}\r\nUSER u 0 * :u\r\nCAP END\r\n"
        );
        let presence = account.presence.as_ref().filter(|_| account.settings.always_on == Some(true));
        // Who keeps his seat has the nick that he had.
        let nick = presence.map_or(name, |presence| &presence.nick);
        let mut must = vec![" 903 ".to_owned(), format!(" 001 {nick} ")];
        if let Some(presence) = presence {
            must.extend(presence.rooms.iter().map(|(room, _)| format!(" JOIN {room}\r\n")));
        }
        for room in store.rooms.values().filter(|room| room.founder == *name) {
            lines += &format!("CS INFO {0}\r\nJOIN {0}\r\nTOPIC {0}\r\n", room.name);
            must.push(format!(":Founder: {name}\r\n"));
            must.push(match &room.topic {
                Some(topic) => format!(" 332 {nick} {} :{}\r\n", room.name, topic.text),
                None => format!(" 331 {nick} {} :", room.name),
            });
        }
        let script = Script::new([Act::Say(lines.into_bytes()), Act::HearEnd, Act::Fin]);
        expected.push((sim.connect(Duration::ZERO, script), must));
    }
    let kept = store
        .accounts
        .values()
        .filter(|account| account.settings.always_on == Some(true) && account.presence.is_some());
    let kept = kept.count();
    let sit = chat.tables().iter().find(|table| table.name == "kept").map_or(0, |table| table.len);
    if kept != sit {
        return Some(format!("{sit} keep their seats after a restart, and not {kept}"));
    }
    let outcome = match sim.run() {
        Ok(outcome) => outcome,
        Err(failure) => return Some(format!("after a restart: {failure}")),
    };
    expected.iter().find_map(|(link, must)| {
        let heard = String::from_utf8_lossy(&outcome.of(*link).heard);
        let lacks = must.iter().find(|must| !heard.contains(&**must))?;
        Some(format!("after a restart {lacks:?} is not told:\n{heard}"))
    })
}

fn scene(seed: u64) -> Result<Outcome, sotong_sim::Failure> {
    let is_calm = seed.is_multiple_of(2);
    let mut setup = setup(seed);
    // Who is logged in by a desk that takes a minute has to be waited for.
    setup.stop_after = setup.stop_after.map(|stop| if stop > Duration::from_secs(10) { stop * 3 } else { stop });
    let (store, chat) = (Rc::new(RefCell::new(Store::default())), chat(seed));
    let mut sim = Sim::new(setup, Weighed::new(chat.clone()));
    let moods = Moods::draw(sim.dice());
    desks(&store, moods).into_iter().for_each(|desk| sim.desk(desk));
    let cast = cast(&mut sim, &store, is_calm);
    let outcome = sim.run()?;
    let eye = outcome.of(cast.eye);
    let all: Vec<Event> =
        whole_lines(&eye.heard).lines().filter_map(|line| Line::read(line.trim_end()).event()).collect();
    let wrong = amiss_all(&outcome, &all, &cast.keepers, is_calm)
        .filter(|_| eye.close == Some(Close::Stop))
        .or_else(|| wrong_in_store(&cast, &store.borrow(), &all, &chat))
        .or_else(|| left_over(&chat, !store.borrow().has_failed()))
        .or_else(|| restart(seed, &store.borrow()));
    if wrong.is_some() && std::env::var_os("SOTONG_SEED").is_some() {
        print!("{}", outcome.trace);
        println!("{moods:?}");
        let hears = |(link, ears): &(Link, Ears)| {
            let heard = crate::wire::plain(ears.wire, &outcome.of(*link).heard);
            println!("== {ears:?} {:?} heard:\n{}", outcome.of(*link).close, String::from_utf8_lossy(&heard));
        };
        println!("== the observer heard:\n{}", String::from_utf8_lossy(&eye.heard));
        cast.keepers.iter().for_each(hears);
    }
    assert_eq!(wrong, None, "{moods:?}");
    Ok(outcome)
}

#[test]
fn accounts() {
    each_seed("accounts", scene);
}
