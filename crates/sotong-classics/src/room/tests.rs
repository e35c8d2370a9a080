//! Several people in one room: script in, transcripts out.
use super::*;
use proptest::prelude::*;
use sotong_session::Wire;
use sotong_session::{End, Marks, rig::Rig};

/// People around one room; mail is delivered after every step, in the topic's order.
struct Party {
    room: RoomService,
    peers: Vec<Rig<RoomPeer>>,
    /// Everything published, with whom it was not for.
    log: Vec<(Option<Address>, String)>,
}

fn address(slot: usize) -> Address {
    Address { shard: 0, slot: u32::try_from(slot).expect("few"), turn: 0 }
}
fn way(wire: Wire) -> Way {
    Way::new(End::Simulated(0), End::Simulated(1), wire)
}

impl Party {
    fn new(limits: RoomLimits) -> Self {
        Self { room: RoomService::new(limits), peers: Vec::new(), log: Vec::new() }
    }
    /// Somebody connects, and is not asked yet.
    fn comes(&mut self, wire: Wire) -> usize {
        let (way, slot) = (way(wire), self.peers.len());
        let session = self.room.open(&way).expect("not refused");
        let rig = match wire {
            Wire::Stream => Rig::stream(session),
            Wire::Records => Rig::records(session),
        };
        self.peers.push(rig.at(address(slot)));
        self.peers[slot].open_as(&way);
        slot
    }
    /// Somebody connects and gives a name; what it is told on the way is read.
    fn joins(&mut self, name: &str) -> usize {
        let slot = self.comes(Wire::Stream);
        self.says(slot, &format!("{name}\n"));
        assert!(self.hears(slot).contains(&format!("* Welcome, {name}.")), "{name} is welcome");
        slot
    }
    fn says(&mut self, slot: usize, text: &str) {
        self.input(slot, text.as_bytes());
    }
    fn input(&mut self, slot: usize, bytes: &[u8]) {
        self.peers[slot].input(bytes);
        self.deliver();
    }
    fn gone(&mut self, slot: usize, why: Close) {
        self.peers[slot].gone(why);
        self.deliver();
    }
    fn hears(&mut self, slot: usize) -> String {
        String::from_utf8(self.peers[slot].sent()).expect("UTF-8 only")
    }
    fn close(&self, slot: usize) -> Option<&Close> {
        self.peers[slot].close()
    }
    fn deliver(&mut self) {
        for from in 0..self.peers.len() {
            let published = std::mem::take(&mut self.peers[from].host().published);
            for (topic, except, line) in published {
                self.log.push((except, line.to_string()));
                for to in 0..self.peers.len() {
                    let is_member = self.peers[to].host().members.contains(&(topic, address(to)));
                    if is_member && except != Some(address(to)) {
                        self.peers[to].mail(&line);
                    }
                }
            }
        }
    }
}

impl Default for Party {
    fn default() -> Self {
        Self::new(RoomLimits::default())
    }
}

/// A packet of short lines says thousands of things at once: what waits elsewhere is bounded all the same (rule D14).
#[test]
fn who_says_very_much_at_once_waits_until_it_has_been_taken() {
    const HIGH: usize = 8;
    let mut party = Party::new(RoomLimits::default());
    let (talker, _) = (party.joins("talker"), party.joins("listener"));
    let rig = &mut party.peers[talker];
    rig.mail_taken();
    rig.host().mail_high = HIGH;
    rig.input(&b"a\n".repeat(1000));
    rig.end();
    let mut lines = 0;
    while !rig.host().published.is_empty() {
        let said = rig.host().published.len();
        assert!(said <= HIGH + 1, "{said} lines at once");
        lines += said;
        rig.mail_taken();
    }
    assert_eq!(lines, 1001, "and that it has left");
    rig.sent();
    assert_eq!(rig.close(), Some(&Close::Done), "its end waited as well");

    let datagrams = party.comes(Wire::Records);
    party.says(datagrams, "third\n");
    let rig = &mut party.peers[datagrams];
    rig.mail_taken();
    rig.host().mail_high = HIGH;
    rig.input(&b"a\n".repeat(1000));
    assert!(rig.host().published.len() <= HIGH + 1, "a record is taken whole, and said only in part");
    assert!(String::from_utf8(rig.sent()).expect("UTF-8").ends_with("too much at once; the rest was not sent.\n"));
}

#[test]
fn a_conversation() {
    let mut party = Party::default();
    let minsu = party.comes(Wire::Stream);
    assert_eq!(party.hears(minsu), "What is your name?\n");
    party.says(minsu, "민수\n");
    assert_eq!(party.hears(minsu), "* Welcome, 민수. /help lists the commands.\n* Nobody else is here yet.\n");
    let bob = party.comes(Wire::Stream);
    party.says(bob, "Bob\r\nhello, 민수\r\n");
    let welcome = "What is your name?\n* Welcome, Bob. /help lists the commands.\n* Here: 민수\n";
    assert_eq!(party.hears(bob), welcome);
    assert_eq!(party.hears(minsu), "* Bob has joined\nBob: hello, 민수\n");
    party.says(minsu, "안녕하세요!\n\n  \t\n  ㅋㅋ\tok\n");
    assert_eq!(party.hears(bob), "민수: 안녕하세요!\n민수:   ㅋㅋ\tok\n");
    assert_eq!(party.hears(minsu), "", "nobody gets back what they said");
    party.says(bob, "/quit\n");
    assert_eq!(party.hears(bob), "* Goodbye.\n");
    assert_eq!(party.close(bob), Some(&Close::Done));
    assert_eq!(party.hears(minsu), "* Bob has left\n");
    assert_eq!(party.peers[bob].host().members, [], "while it closes, nothing more is queued for it");
    party.gone(bob, Close::Done);
    assert_eq!(party.hears(minsu), "", "told once");
}

#[test]
fn byte_by_byte_hangul_stays_whole() {
    let mut party = Party::default();
    let (a, b) = (party.joins("a"), party.joins("b"));
    party.hears(a);
    for byte in "다람쥐 헌 쳇바퀴에 타고파\n".as_bytes() {
        party.input(b, &[*byte]);
    }
    assert_eq!(party.hears(a), "b: 다람쥐 헌 쳇바퀴에 타고파\n");
}

#[test]
fn bad_and_taken_names_are_asked_for_again_at_most_five_times() {
    let mut party = Party::default();
    party.joins("Bob");
    let slot = party.comes(Wire::Stream);
    party.hears(slot);
    for (typed, why) in [
        ("bob", "* That name is taken."),
        ("", "* A name has at least one character."),
        ("two words", "* A name has no blanks in it."),
        ("a\u{1b}[1m", "* A name has only characters that can be seen."),
    ] {
        party.says(slot, &format!("{typed}\n"));
        assert_eq!(party.hears(slot), format!("{why}\nWhat is your name?\n"));
    }
    party.input(slot, b"\xff\xfe\n");
    assert_eq!(party.hears(slot), "* That line was not sent: it is not UTF-8.\n");
    party.says(slot, "BOB\n");
    assert_eq!(party.hears(slot), "* That name is taken. Too many tries. Goodbye.\n");
    assert_eq!(party.close(slot), Some(&Close::Limit("name_tries_max")));
    party.gone(slot, Close::Done);
    assert_eq!(party.room.who().count, 1);
}

#[test]
fn help_and_quit_before_a_name() {
    let mut party = Party::default();
    let slot = party.comes(Wire::Stream);
    party.says(slot, "/help\n");
    let text = party.hears(slot);
    assert!(text.contains("/nick NEW") && text.ends_with("\nWhat is your name?\n"), "{text}");
    party.says(slot, "/quit\n");
    assert_eq!(party.hears(slot), "* Goodbye.\n");
    assert_eq!(party.close(slot), Some(&Close::Done));
    assert_eq!(party.log, []);
}

#[test]
fn a_name_is_given_in_time() {
    let mut party = Party::default();
    let slot = party.comes(Wire::Stream);
    party.peers[slot].advance(Duration::from_secs(59));
    assert_eq!(party.close(slot), None);
    party.peers[slot].advance(Duration::from_secs(1));
    assert_eq!(party.hears(slot), "What is your name?\n* No name within 60 s. Goodbye.\n");
    assert_eq!(party.close(slot), Some(&Close::Idle));
    let slot = party.joins("a");
    party.peers[slot].advance(Duration::from_secs(100_000));
    assert_eq!(party.close(slot), None, "a member may be silent");
}

#[test]
fn commands() {
    let mut party = Party::default();
    let (a, b) = (party.joins("a"), party.joins("b"));
    party.hears(a);
    party.says(a, "/who\n");
    assert_eq!(party.hears(a), "* Here: a, b\n");
    party.says(a, "/nick 철수\n");
    assert_eq!(party.hears(a), "* You are called 철수 from now on.\n");
    assert_eq!(party.hears(b), "* a is called 철수 from now on\n");
    party.says(a, "hi\n");
    assert_eq!(party.hears(b), "철수: hi\n");
    for (typed, answer) in [
        ("/nick B", "* That name is taken.\n"),
        ("/nick 철수", "* That is your name already.\n"),
        ("/nick", "* A name has at least one character.\n"),
        ("/nick a b", "* A name has no blanks in it.\n"),
        ("/dance now", "* There is no command /dance. /help lists those there are.\n"),
        ("/", "* There is no command /. /help lists those there are.\n"),
    ] {
        party.says(a, &format!("{typed}\n"));
        assert_eq!(party.hears(a), answer, "{typed}");
    }
    assert_eq!(party.hears(b), "");
    party.says(a, "/help\n");
    assert_eq!(party.hears(a).lines().count(), 4);
    assert!(party.peers.iter().all(|rig| rig.close().is_none()));
}

#[test]
fn nothing_harmful_is_relayed() {
    let mut party = Party::default();
    let (a, b) = (party.joins("a"), party.joins("b"));
    party.hears(a);
    party.input(a, b"caf\xe9\n");
    assert_eq!(party.hears(a), "* That line was not sent: it is not UTF-8.\n");
    assert_eq!(party.hears(b), "", "nothing of it is relayed");
    party.says(a, "\u{1b}[2Jwiped\u{7}\u{85}\u{0}\tend\n\u{1b}\n");
    assert_eq!(party.hears(b), "a: [2Jwiped\tend\n");
    party.says(a, "\u{7}/quit\n");
    assert_eq!(party.close(a), Some(&Close::Done), "a command is one as it would be seen");
}

#[test]
fn a_line_without_end_costs_only_its_sender() {
    let mut party = Party::default();
    let (a, b) = (party.joins("a"), party.joins("b"));
    party.hears(a);
    party.says(a, &format!("{}\n", "x".repeat(8192)));
    assert_eq!(party.hears(b).len(), "a: \n".len() + 8192);
    party.input(a, &[b'x'; 10_000]);
    assert_eq!(party.hears(a), "* That line is too long. Goodbye.\n");
    assert_eq!(party.close(a), Some(&Close::Limit("line_bytes_max")));
    party.gone(a, Close::Done);
    assert_eq!(party.hears(b), "* a has left\n");
}

#[test]
fn whoever_goes_is_told_whatever_the_reason() {
    let mut party = Party::default();
    let watcher = party.joins("watcher");
    for why in [Close::Reset, Close::Slow, Close::Io(std::io::ErrorKind::TimedOut), Close::Done] {
        let slot = party.joins("guest");
        party.gone(slot, why);
        assert_eq!(party.hears(watcher), "* guest has joined\n* guest has left\n");
    }
    let slot = party.joins("guest");
    party.says(slot, "last words");
    party.peers[slot].end();
    party.deliver();
    assert_eq!(party.hears(watcher), "* guest has joined\nguest: last words\n* guest has left\n");
    assert_eq!(party.close(slot), Some(&Close::Done));
    party.gone(slot, Close::Done);
    assert_eq!(party.hears(watcher), "");

    let slot = party.joins("guest");
    party.hears(watcher);
    // A panic: the driver has taken it out of its topics, and it gets no Gone.
    party.peers[slot].host().members.clear();
    let service = party.room.clone();
    service.lost(address(slot), party.peers[slot].host());
    party.deliver();
    assert_eq!(party.hears(watcher), "* guest has left\n");
    assert_eq!(party.room.who().count, 1);
    party.joins("guest");
}

#[test]
fn a_panic_under_the_lock_leaves_a_hall_that_works() {
    let mut party = Party::default();
    party.joins("a");
    let room = Arc::clone(&party.room.room);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _hall = room.hall();
        std::panic::resume_unwind(Box::new("on purpose"));
    }));
    assert!(panicked.is_err() && room.hall.is_poisoned());
    party.joins("b");
    assert_eq!(party.room.who().count, 2);
}

#[test]
fn when_the_server_leaves() {
    let mut party = Party::default();
    let (a, b) = (party.joins("a"), party.joins("b"));
    party.hears(a);
    party.peers[a].stop();
    party.deliver();
    assert_eq!(party.hears(a), "* The server is leaving. Goodbye.\n");
    assert_eq!(party.close(a), Some(&Close::Stop));
    party.gone(a, Close::Stop);
    assert_eq!(party.hears(b), "* a has left\n", "if b stays, it is told");
    let nameless = party.comes(Wire::Stream);
    party.peers[nameless].stop();
    assert_eq!(party.hears(nameless), "What is your name?\n* The server is leaving. Goodbye.\n");
}

#[test]
fn a_full_room_says_so() {
    let mut party = Party::new(RoomLimits { members_max: 2, ..RoomLimits::default() });
    party.joins("a");
    let early = party.comes(Wire::Stream);
    party.hears(early);
    let b = party.joins("b");
    let text = "* The room is full: 2 people are here. Please come again later.\n";
    let late = party.comes(Wire::Stream);
    assert_eq!(party.hears(late), text);
    assert_eq!(party.close(late), Some(&Close::Limit("members_max")));
    party.says(early, "early\n");
    assert_eq!(party.hears(early), text, "who came before it was full, and gave its name after");
    assert_eq!(party.close(early), Some(&Close::Limit("members_max")));
    party.gone(b, Close::Done);
    party.joins("c");
}

#[test]
fn datagrams_and_streams_meet() {
    let mut party = Party::default();
    let nc = party.joins("nc");
    let udp = party.comes(Wire::Records);
    assert_eq!(party.peers[udp].queued(), 0, "the first datagram is the answer: no question");
    party.says(udp, "유디피\n");
    let records = |party: &mut Party| {
        let records = party.peers[udp].sent_records();
        records.into_iter().map(|record| String::from_utf8(record).expect("UTF-8")).collect::<Vec<_>>()
    };
    assert_eq!(records(&mut party), ["* Welcome, 유디피. /help lists the commands.\n", "* Here: nc\n"]);
    party.says(udp, "hello\n");
    party.says(udp, "two\r\nlines");
    party.says(udp, "");
    assert_eq!(party.hears(nc), "* 유디피 has joined\n유디피: hello\n유디피: two\n유디피: lines\n");
    party.says(nc, "hi\n");
    assert_eq!(records(&mut party), ["nc: hi\n"]);
    party.says(udp, &"x".repeat(8193));
    assert_eq!(records(&mut party), ["* That line was not sent: it is too long.\n"]);
    party.says(udp, "/quit\n");
    assert_eq!(records(&mut party), ["* Goodbye.\n"]);
    assert_eq!(party.hears(nc), "* 유디피 has left\n");
    let from = crate::hears::tests::datagrams_from(19);
    assert!(matches!(party.room.open(&from), Err(Close::Protocol(_))), "no loops");
}

#[test]
fn a_datagram_of_many_commands_is_not_answered_without_end() {
    let mut party = Party::default();
    let udp = party.comes(Wire::Records);
    party.says(udp, "a");
    party.says(udp, &"/help\n".repeat(10_000));
    assert_eq!(party.close(udp), None);
    let records = party.peers[udp].sent_records();
    assert_eq!(records.last().map(Vec::as_slice), Some(&b"* That was too much at once; the rest was not sent.\n"[..]));
    assert!(records.iter().map(Vec::len).sum::<usize>() < 70_000);
}

#[test]
fn a_long_list_of_names_is_wrapped_and_cut() {
    let mut party = Party::default();
    for number in 0..150 {
        party.joins(&format!("{}{number:03}", "가".repeat(20)));
    }
    let late = party.comes(Wire::Stream);
    party.says(late, "late\n");
    let text = party.hears(late);
    let lines: Vec<&str> = text.lines().skip(2).collect();
    assert!(lines.iter().all(|line| line.starts_with("* ") && line.len() < 1200), "{text}");
    assert!(lines[0].starts_with("* Here: 가"));
    assert_eq!(text.matches("가가").count(), 100 * 10);
    assert!(text.ends_with("and 50 more\n"), "{text}");
}

#[test]
fn who_does_not_read_is_cut_off_and_holds_up_nobody() {
    let mut party = Party::default();
    let (talker, reader) = (party.joins("talker"), party.joins("reader"));
    let slow = party.comes(Wire::Stream);
    let rig = party.peers.remove(slow).with_marks(Marks { low: 100, high: 400, hard: 2000 });
    party.peers.insert(slow, rig);
    party.says(slow, "slow\n");
    party.hears(talker);
    party.hears(reader);
    for number in 0..100 {
        party.says(talker, &format!("line {number} {}\n", "x".repeat(100)));
    }
    assert_eq!(party.close(slow), Some(&Close::Slow));
    assert_eq!(party.hears(reader).lines().count(), 100);
    party.gone(slow, Close::Slow);
    assert_eq!(party.hears(reader), "* slow has left\n");
}

#[test]
fn a_line_is_rendered_once() {
    let mut party = Party::default();
    let (a, _) = (party.joins("a"), party.joins("b"));
    party.peers[a].input(format!("{}\n", "x".repeat(2000)).as_bytes());
    let lines: Vec<Line> = party.peers[a].host().published.iter().map(|(_, _, line)| line.clone()).collect();
    assert_eq!(lines.len(), 1);
}

#[derive(Clone, Debug)]
enum Act {
    Comes,
    Says(usize, String),
    Ends(usize),
    Resets(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let text = prop_oneof![
        4 => "[abAB]\n",
        4 => "(안녕|말|ㅋ|x){1,3}\n",
        1 => "/nick [abcd]\n",
        1 => Just("/quit\n".to_owned()),
        1 => "[a가]{1,2}",
    ];
    let act = prop_oneof![
        2 => Just(Act::Comes),
        8 => (0usize..8, text).prop_map(|(who, text)| Act::Says(who, text)),
        1 => (0usize..8).prop_map(Act::Ends),
        1 => (0usize..8).prop_map(Act::Resets),
    ];
    proptest::collection::vec(act, 0..120)
}

proptest! {
    /// What a member hears is the room's one order, from its joining to its going, without its own words: no gap, no
    /// double. And who follows what is told knows who is here.
    #[test]
    fn everybody_hears_one_order(acts in acts()) {
        let mut party = Party::default();
        // Where in the log each has joined and left.
        let mut spans: Vec<(Option<usize>, Option<usize>)> = Vec::new();
        let mut ended = [false; 8];
        for act in acts {
            match act {
                Act::Comes if party.peers.len() < 8 => {
                    party.comes(if party.peers.len() % 3 == 2 { Wire::Records } else { Wire::Stream });
                    spans.push((None, None));
                }
                Act::Says(who, text) if who < spans.len() && !ended[who] => party.says(who, &text),
                Act::Ends(who) if who < spans.len() => {
                    ended[who] = true;
                    party.peers[who].end();
                    party.deliver();
                }
                Act::Resets(who) if who < spans.len() && party.close(who).is_none() => party.gone(who, Close::Reset),
                Act::Comes | Act::Says(..) | Act::Ends(_) | Act::Resets(_) => {}
            }
            for (slot, (joined, left)) in spans.iter_mut().enumerate() {
                let of_it = |(except, line): &(Option<Address>, String), what: &str| {
                    *except == Some(address(slot)) && line.starts_with("* ") && line.ends_with(what)
                };
                *joined = party.log.iter().position(|entry| of_it(entry, " has joined"));
                *left = party.log.iter().position(|entry| of_it(entry, " has left"));
            }
        }
        for (slot, (joined, left)) in spans.iter().enumerate() {
            let Some(joined) = *joined else {
                prop_assert!(left.is_none(), "left without having joined");
                continue;
            };
            let until = left.unwrap_or(party.log.len());
            let theirs = party.log[joined..until].iter().filter(|(except, _)| *except != Some(address(slot)));
            let expect: Vec<String> = theirs.map(|(_, line)| line.clone()).collect();
            let sent = match slot % 3 {
                2 => party.peers[slot].sent_records().concat(),
                _ => party.peers[slot].sent(),
            };
            let heard: Vec<String> = String::from_utf8_lossy(&sent).lines().map(str::to_owned).collect();
            // What is for it alone is left out.
            let alone = ["* Welcome", "* Nobody", "* Here", "What is", "* A name", "* That", "* You", "* Goodbye", "* There"];
            let heard: Vec<String> = heard.into_iter().filter(|line| !alone.iter().any(|a| line.starts_with(a))).collect();
            prop_assert_eq!(heard, expect, "what {} heard", slot);
        }
        let count = |what: &str| party.log.iter().filter(|(_, line)| line.starts_with("* ") && line.ends_with(what)).count();
        prop_assert_eq!(count(" has joined") - count(" has left"), party.room.who().count);
    }
}
