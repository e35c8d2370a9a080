//! The conformance table names everything that the chat knows, with a test that shows it: so it cannot drift.
use sotong_chat::{ChatLimits, ChatOptions, ChatService, Sts};
use sotong_irc::numeric;
use sotong_session::{Address, End, Service as _, Way, Wire, rig::Rig};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|fault| panic!("{path}: {fault}"))
}

/// The tables of a page by their number, each with its rows, of which the first two are the heading.
fn tables(lang: &str) -> Vec<Vec<Vec<String>>> {
    let page = read(&format!("docs/{lang}/chat-conformance.md"));
    let mut tables: Vec<Vec<Vec<String>>> = Vec::new();
    let mut is_in = false;
    for line in page.lines() {
        let Some(row) = line.strip_prefix("| ").and_then(|row| row.strip_suffix(" |")) else {
            is_in &= line.starts_with('|');
            continue;
        };
        let row = row.split(" | ").map(str::to_owned).collect();
        match tables.last_mut().filter(|_| is_in) {
            Some(table) => table.push(row),
            None => tables.push(vec![row]),
        }
        is_in = true;
    }
    for table in &mut tables {
        table.remove(0);
    }
    tables
}
/// What is in a table, with the tests that show it.
fn listed(table: usize) -> BTreeMap<String, Vec<String>> {
    let tests = |row: &Vec<String>| row.last().map(|tests| tests.split(", ").map(str::to_owned).collect());
    let rows = tables("en").swap_remove(table);
    let name = |row: &Vec<String>| row[0].trim_matches('`').split('=').next().unwrap_or_default().to_owned();
    rows.iter().map(|row| (name(row), tests(row).expect("tests"))).collect()
}
const SPECS: usize = 0;
const COMMANDS: usize = 1;
const ROOM_MODES: usize = 2;
const MODES: usize = 3;
const CAPS: usize = 4;
const TOKENS: usize = 5;
const NUMBERS: usize = 6;
const UNSENT: usize = 7;

/// Lines of a transcript that somebody says, or else hears.
fn lines(name: &str, said: bool) -> Vec<String> {
    let transcript = read(&format!("tests/transcripts/chat/{name}.txt"));
    let sign = if said { "> " } else { "< " };
    let of = |line: &str| {
        let (who, rest) = line.split_once(sign)?;
        who.bytes().all(|byte| byte.is_ascii_alphanumeric()).then(|| rest.to_owned())
    };
    transcript
        .lines()
        .filter_map(of)
        .flat_map(|line| line.split("\\n").map(str::to_owned).collect::<Vec<_>>())
        .collect()
}
/// The words of a line behind its tags and its source.
fn words(line: &str) -> Vec<&str> {
    let marks = |word: &&str| word.starts_with(['@', ':']);
    line.split(' ').skip_while(marks).collect()
}
/// Whether a test of this name is there; a transcript shows the thing by `shows`, other tests are only looked for.
fn check(what: &str, test: &str, shows: impl Fn(&str) -> bool) {
    if let Some(test) = test.strip_prefix('`') {
        let test = test.trim_end_matches('`');
        let (file, name) = test.split_once("::").unwrap_or_else(|| panic!("{what}: what is {test}?"));
        let places = [
            format!("tests/tests/{file}.rs"),
            format!("crates/sotong-chat/src/{file}.rs"),
            format!("crates/sotong-chat/src/client/{file}.rs"),
        ];
        let text: String = places.iter().filter_map(|path| fs::read_to_string(root().join(path)).ok()).collect();
        assert!(text.contains(&format!("fn {name}(")), "{what}: there is no test {test}");
        return;
    }
    assert!(
        root().join(format!("tests/transcripts/chat/{test}.txt")).exists(),
        "{what}: there is no transcript {test}"
    );
    assert!(shows(test), "{what}: {test} does not show it");
}
fn same(what: &str, known: &BTreeSet<String>, table: &BTreeMap<String, Vec<String>>) {
    let listed: BTreeSet<String> = table.keys().cloned().collect();
    let (missing, more): (Vec<_>, Vec<_>) = (known.difference(&listed).collect(), listed.difference(known).collect());
    assert!(missing.is_empty() && more.is_empty(), "{what}: not listed {missing:?}, listed and not there {more:?}");
}

#[test]
fn both_languages_say_the_same() {
    let (en, ko) = (tables("en"), tables("ko"));
    assert_eq!((en.len(), ko.len()), (8, 8));
    for (number, (en, ko)) in en.iter().zip(&ko).enumerate() {
        let keys = |table: &[Vec<String>]| -> Vec<Vec<String>> {
            // Only the reasons of the last table are words.
            let columns = if number == UNSENT { 2 } else { usize::MAX };
            table.iter().map(|row| row.iter().take(columns).cloned().collect()).collect()
        };
        assert_eq!(keys(en), keys(ko));
        assert!(!en.is_empty());
    }
}

#[test]
fn every_extension_has_its_test() {
    for (name, tests) in listed(SPECS) {
        for test in tests {
            check(&name, &test, |_| true);
        }
    }
}

#[test]
fn every_command_is_listed() {
    let source = read("crates/sotong-chat/src/client/register.rs");
    let from = source.find("fn carry_out").expect("where commands are told apart");
    let body = &source[from..from + source[from..].find("fn ping(").expect("its end")];
    let is_command = |word: &&str| word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_uppercase());
    let mut known: BTreeSet<String> = body.split('"').filter(is_command).map(str::to_owned).collect();
    // Those that are told apart elsewhere.
    known.extend(["BATCH", "NICKSERV", "NS", "CHANSERV", "CS", "HOSTSERV", "HS"].map(str::to_owned));
    assert!(known.len() > 40, "{known:?}");
    let table = listed(COMMANDS);
    same("commands", &known, &table);
    for (command, tests) in table {
        for test in tests {
            let says = |line: &String| words(line).first().is_some_and(|word| word.eq_ignore_ascii_case(&command));
            check(&command, &test, |test| lines(test, true).iter().any(says));
        }
    }
}

#[test]
fn every_number_is_listed() {
    let known: BTreeSet<String> = numeric::ALL.iter().map(|(_, number)| number.to_string()).collect();
    let table = listed(NUMBERS);
    same("numbers", &known, &table);
    let rows = tables("en").swap_remove(NUMBERS);
    for ((name, number), row) in numeric::ALL.iter().zip(&rows) {
        assert_eq!((&row[0], row[1].as_str()), (&number.to_string(), *name), "in their order, by their names");
    }
    for (number, tests) in table {
        for test in tests {
            let hears = |line: &String| words(line).first() == Some(&number.as_str());
            check(&number, &test, |test| lines(test, false).iter().any(hears));
        }
    }
}

/// The numbers of the Modern IRC document.
const MODERN: &[u16] = &[
    1, 2, 3, 4, 5, 10, 221, 251, 252, 253, 254, 255, 256, 257, 258, 259, 263, 265, 266, 276, 301, 302, 303, 305, 306,
    307, 311, 312, 313, 314, 315, 317, 318, 319, 320, 321, 322, 323, 324, 329, 330, 331, 332, 333, 336, 337, 338, 341,
    346, 347, 348, 349, 351, 352, 353, 364, 365, 366, 367, 368, 369, 371, 372, 374, 375, 376, 378, 379, 381, 382, 391,
    400, 401, 402, 403, 404, 405, 406, 407, 409, 411, 412, 417, 421, 422, 431, 432, 433, 436, 441, 442, 443, 451, 461,
    462, 464, 465, 471, 472, 473, 474, 475, 476, 481, 482, 483, 491, 501, 502, 524, 525, 670, 671, 691, 696, 704, 705,
    706, 723, 730, 731, 732, 733, 734, 900, 901, 902, 903, 904, 905, 906, 907, 908,
];

#[test]
fn what_is_not_sent_of_modern_irc_is_said_with_its_reason() {
    let known: BTreeSet<u16> = numeric::ALL.iter().map(|(_, number)| number.0).collect();
    let unsent: BTreeSet<u16> = tables("en")[UNSENT].iter().map(|row| row[0].parse().expect("a number")).collect();
    assert!(known.is_disjoint(&unsent), "{:?}", known.intersection(&unsent));
    let silent: Vec<_> = MODERN.iter().filter(|number| !known.contains(number) && !unsent.contains(number)).collect();
    assert!(silent.is_empty(), "{silent:?}");
}

/// A client that has registered, and what it heard.
fn client(options: ChatOptions, before: &str) -> String {
    let way = Way::new(End::Simulated(0), End::Simulated(1), Wire::Stream);
    let mut client = Rig::stream(ChatService::new(options).open(&way).expect("it is let in"));
    client.open_as(&way);
    client.input(format!("{before}NICK a\r\nUSER a 0 * :A\r\nCAP END\r\n").as_bytes());
    String::from_utf8(client.sent()).expect("the server speaks UTF-8")
}

#[test]
fn every_capability_is_listed() {
    let sts = Some(Sts { port: 6697, duration: Duration::from_secs(60), preload: false });
    let options = ChatOptions { sts, relaymsg: true, ..ChatOptions::default() };
    let heard = client(options, "CAP LS 302\r\n");
    let offers =
        heard.lines().filter(|line| line.contains(" CAP * LS ")).filter_map(|line| Some(line.split_once(" :")?.1));
    let names = offers.flat_map(|offers| offers.split(' ')).map(|cap| cap.split('=').next().unwrap_or(cap).to_owned());
    let known: BTreeSet<String> = names.collect();
    assert!(known.len() > 20, "{known:?}");
    let table = listed(CAPS);
    same("capabilities", &known, &table);
    for (cap, tests) in table {
        let names = |line: &str| line.split([' ', ':', '=']).any(|word| word == cap);
        for test in tests {
            check(&cap, &test, |test| read(&format!("tests/transcripts/chat/{test}.txt")).lines().any(names));
        }
    }
}

#[test]
fn every_mode_and_token_is_listed() {
    let options = ChatOptions { limits: ChatLimits::default(), roleplay: true, ..ChatOptions::default() };
    let heard = client(options, "");
    let myinfo: Vec<&str> = heard.lines().find(|line| line.contains(" 004 ")).expect("004").split(' ').collect();
    for (letters, table) in [(myinfo[5], MODES), (myinfo[6], ROOM_MODES)] {
        let known: BTreeSet<String> = letters.chars().map(String::from).collect();
        let table = listed(table);
        same("modes", &known, &table);
        for (mode, tests) in table {
            let is_of = |word: &&str| word.contains(mode.as_str()) && !word.starts_with('#');
            let sets = |line: &String| {
                let words = words(line);
                words.contains(&"MODE") && words.iter().skip(2).any(is_of) || words.first() == Some(&"OPER")
            };
            for test in tests {
                check(&mode, &test, |test| lines(test, true).iter().any(sets));
            }
        }
    }
    let tokens = heard.lines().filter(|line| line.contains(" 005 ")).flat_map(|line| line.split(' ').skip(3));
    let is_name =
        |name: &String| name.len() > 2 && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    // The client's nick and the numbers of lines are none.
    let is_name = |name: &String| is_name(name) && !name.starts_with(|first: char| first.is_ascii_digit());
    let names = tokens.map(|token| token.split('=').next().unwrap_or(token).to_owned());
    let known: BTreeSet<String> = names.filter(is_name).collect();
    let table = listed(TOKENS);
    same("tokens", &known, &table);
    for (token, tests) in table {
        for test in tests {
            check(&token, &test, |_| true);
        }
    }
}

#[test]
fn where_somebody_is_from_is_shown_to_himself() {
    let end = |ip: [u8; 4], port| End::Net(SocketAddr::from((ip, port)));
    let way = Way::new(end([192, 0, 2, 1], 8888), end([198, 51, 100, 7], 50_000), Wire::Stream);
    let chat = ChatService::new(ChatOptions::default());
    let mut own = Rig::stream(chat.open(&way).expect("it is let in"));
    own.open_as(&way);
    own.input(b"NICK a\r\nUSER a 0 * :A\r\nWHOIS a\r\n");
    let heard = String::from_utf8(own.sent()).expect("the server speaks UTF-8");
    assert!(heard.contains(" 338 a a ~a@") && heard.contains(" 198.51.100.7 :"), "{heard}");
    let way = Way::new(End::Simulated(0), End::Simulated(2), Wire::Stream);
    let mut other = Rig::stream(chat.open(&way).expect("it is let in")).at(Address { shard: 0, slot: 1, turn: 0 });
    other.open_as(&way);
    other.input(b"NICK b\r\nUSER b 0 * :B\r\nWHOIS a\r\n");
    let heard = String::from_utf8(other.sent()).expect("the server speaks UTF-8");
    assert!(heard.contains(" 311 b a ") && !heard.contains("198.51.100.7"), "{heard}");
}

#[test]
fn who_is_accepted_is_bounded() {
    let limits = ChatLimits { flood_control: false, ..ChatLimits::default() };
    let chat = ChatService::new(ChatOptions { limits, ..ChatOptions::default() });
    let way = Way::new(End::Simulated(0), End::Simulated(1), Wire::Stream);
    let mut others = Vec::new();
    for number in 0..101 {
        let me = Address { shard: 0, slot: number + 1, turn: 0 };
        let mut other = Rig::stream(chat.open(&way).expect("it is let in")).at(me);
        other.open_as(&way);
        other.input(format!("NICK n{number}\r\nUSER n 0 * :N\r\n").as_bytes());
        others.push(other);
    }
    let mut own = Rig::stream(chat.open(&way).expect("it is let in"));
    own.open_as(&way);
    own.input(b"NICK a\r\nUSER a 0 * :A\r\n");
    for number in 0..100 {
        own.input(format!("ACCEPT n{number}\r\n").as_bytes());
    }
    own.sent();
    own.input(b"ACCEPT n100\r\n");
    let heard = String::from_utf8(own.sent()).expect("the server speaks UTF-8");
    assert_eq!(heard, ":sotong.local 456 a n100 :The list is full\r\n");
}
