//! Bytes that no client should send to a chat, and connections that are too many.
use sotong_chat::{ChatLimits, ChatOptions, ChatService};
use sotong_session::{Address, Close, End, Marks, Service as _, Way, Wire, rig::Rig};
use std::net::SocketAddr;
use tests::process::noise;

fn from(ip: [u8; 4], port: u16) -> Way {
    let end = |ip: [u8; 4], port| End::Net(SocketAddr::from((ip, port)));
    Way::new(end([192, 0, 2, 1], 8888), end(ip, port), Wire::Stream)
}

/// Somebody who has registered, and whose welcome has been read.
fn client(chat: &ChatService) -> Rig<sotong_chat::Guest> {
    let way = from([127, 0, 0, 1], 50_000);
    let mut client = Rig::stream(chat.open(&way).expect("it is let in"));
    client.open_as(&way);
    client.input(b"NICK a\r\nUSER a 0 * :a\r\n");
    assert!(client.sent().starts_with(b":sotong.local 001 a :"));
    client
}

fn unhurried() -> ChatService {
    let limits = ChatLimits { flood_control: false, ..ChatLimits::default() };
    ChatService::new(ChatOptions { limits, ..ChatOptions::default() })
}

fn heard(client: &mut Rig<sotong_chat::Guest>, line: &[u8]) -> String {
    client.input(line);
    String::from_utf8(client.sent()).expect("the server speaks UTF-8")
}

#[test]
fn lines_that_are_not_utf8() {
    let mut client = client(&unhurried());
    for line in [&b"PRIVMSG a :\xff\r\n"[..], b"PRIVMSG a :\xed\xa0\x80\n", b"JOIN #\xc0\xaf\r\n", b"\xec\x95\r\n"] {
        let answer = heard(&mut client, line);
        let command = if line.starts_with(b"PRIVMSG") {
            "PRIVMSG"
        } else if line.starts_with(b"JOIN") {
            "JOIN"
        } else {
            "*"
        };
        let expected = format!(":sotong.local FAIL {command} INVALID_UTF8 :");
        assert!(answer.starts_with(&expected), "{}: {answer}", line.escape_ascii());
        assert_eq!(answer.lines().count(), 1);
    }
    assert_eq!(client.close(), None);
}

#[test]
fn a_line_without_end_costs_no_memory() {
    let mut client = client(&unhurried());
    let mut answers = String::new();
    for _ in 0..10 {
        answers += &heard(&mut client, &[b'x'; 1000]);
        assert!(client.untaken() <= 8192);
    }
    assert_eq!(answers, ":sotong.local 417 a :Input line was too long\r\n", "it is told once");
    assert_eq!(heard(&mut client, b"tail\r\nPING x\r\n"), ":sotong.local PONG sotong.local :x\r\n");
    let answers = heard(&mut client, &[b'x'; 16 << 10]);
    assert!(answers.ends_with("ERROR :Closing link: localhost (Receive queue exceeded)\r\n"), "{answers}");
    assert!(matches!(client.close(), Some(sotong_session::Close::Limit("receive_queue_bytes_max"))));
}

#[test]
fn tags_have_a_limit_of_their_own() {
    let mut client = client(&unhurried());
    let line = |tags: usize| format!("@+x={} PING x\r\n", "t".repeat(tags - 5));
    assert!(heard(&mut client, line(4096).as_bytes()).contains(" PONG "));
    assert!(heard(&mut client, line(4097).as_bytes()).contains(" 417 "));
}

#[test]
fn thousands_of_modes_and_rooms_in_a_line() {
    let mut client = client(&unhurried());
    heard(&mut client, b"JOIN #r\r\n");
    let modes = format!("MODE #r {}\r\n", "+b".repeat(200));
    assert!(heard(&mut client, modes.as_bytes()).lines().count() <= 20);
    let rooms = format!("JOIN {}\r\n", ["#a"; 160].join(","));
    assert_eq!(heard(&mut client, rooms.as_bytes()), "", "its own lines come by mail");
    let many: Vec<String> = (0..120).map(|number| format!("#{number}")).collect();
    let answers = heard(&mut client, format!("PART {}\r\n", many.join(",")).as_bytes());
    assert_eq!(answers, "", "answers wait behind what comes by mail");
}

/// Whatever is said, the session keeps its contract ([`Rig`] wears the checker), and what it says is whole lines of UTF-8.
#[test]
fn noise_and_broken_commands() {
    const WORDS: [&str; 24] = [
        "JOIN", "PART", "MODE", "NICK", "PRIVMSG", "NOTICE", "TAGMSG", "KICK", "INVITE", "TOPIC", "NAMES", "LIST",
        "WHO", "WHOIS", "WHOWAS", "CAP", "MONITOR", "AWAY", "SETNAME", "USERHOST", "ISON", "PING", "USER", "HELP",
    ];
    const PARAMS: [&str; 16] = [
        "#r",
        "a",
        "+b",
        "-k",
        "%tcuihsnfdlaor,9",
        "*",
        ":",
        ":two words",
        "#r,#s,,",
        "@#r",
        "C<1",
        "\u{202e}",
        "+o",
        "민수",
        "LS",
        "0",
    ];
    for seed in 0..2000 {
        let dice = noise(64, seed);
        let mut rig = client(&unhurried());
        for round in dice.chunks(8) {
            let mut line = WORDS[usize::from(round[0]) % WORDS.len()].to_owned();
            for byte in &round[1..1 + usize::from(round[7]) % 6] {
                line.push(' ');
                line.push_str(PARAMS[usize::from(*byte) % PARAMS.len()]);
            }
            let mut bytes = line.into_bytes();
            if round[6] < 40 {
                let at = usize::from(round[5]) % bytes.len();
                bytes[at] = round[6];
            }
            bytes.extend_from_slice(b"\r\n");
            rig.input(&bytes);
            let sent = rig.sent();
            let text = std::str::from_utf8(&sent).expect("the server speaks UTF-8");
            assert!(text.is_empty() || text.ends_with("\r\n"), "seed {seed}: {text:?}");
            assert!(!text.replace("\r\n", "").contains(['\r', '\n', '\0']), "seed {seed}: {text:?}");
        }
    }
}

#[test]
fn noise_at_the_front_door() {
    let chat = unhurried();
    for seed in 0..2000 {
        let way = from([127, 0, 0, 1], 50_000);
        let mut rig = Rig::stream(chat.open(&way).expect("it is let in"));
        rig.open_as(&way);
        let bytes = noise(200, seed);
        for piece in bytes.chunks(1 + seed as usize % 50) {
            rig.input(piece);
        }
        rig.end();
        rig.sent();
        rig.gone(Close::Reset);
    }
    assert_eq!(chat.count(), (0, 0, 0), "nobody is left");
}

#[test]
fn a_tls_hello_where_there_is_none_gets_an_alert() {
    let way = from([127, 0, 0, 1], 50_000);
    let mut rig = Rig::stream(unhurried().open(&way).expect("it is let in"));
    rig.open_as(&way);
    rig.input(&[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0]);
    assert_eq!(rig.sent(), [0x15, 3, 1, 0, 2, 2, 40]);
    assert!(matches!(rig.close(), Some(Close::Protocol(_))));
}

#[test]
fn connections_of_one_address() {
    let chat = ChatService::new(ChatOptions::default());
    let come = |ip, port| {
        let way = from(ip, port);
        let mut rig = Rig::stream(chat.open(&way).expect("the limit is told by a line"));
        rig.open_as(&way);
        rig
    };
    let mut here: Vec<_> = (0..16).map(|port| come([198, 51, 100, 7], port)).collect();
    assert!(here.iter().all(|rig| rig.close().is_none()));
    let mut refused = come([198, 51, 100, 7], 99);
    assert_eq!(refused.sent(), b"ERROR :Closing link: too many connections from your address\r\n");
    assert_eq!(refused.close(), Some(&Close::Limit("connections_per_address")));
    drop(refused);
    // Others, and this machine itself, are not concerned.
    assert_eq!(come([198, 51, 100, 8], 1).close(), None);
    let local: Vec<_> = (0..64).map(|port| come([127, 0, 0, 1], port)).collect();
    assert!(local.iter().all(|rig| rig.close().is_none()));
    here.pop();
    here.extend((0..16).filter_map(|port| {
        let rig = come([198, 51, 100, 7], 100 + port);
        rig.close().is_none().then_some(rig)
    }));
    assert_eq!(here.len(), 16, "a place is free again when somebody has gone");
    here.clear();
    // Each goes at once: they are too many all the same.
    let ends: Vec<_> = (0..32).map(|port| come([198, 51, 100, 7], 200 + port).close().cloned()).collect();
    assert_eq!((&ends[0], &ends[31]), (&None, &Some(Close::Limit("new_connections_per_address"))));
}

#[test]
fn who_ends_at_once_hears_the_answers_that_wait() {
    let chat = unhurried();
    let way = from([127, 0, 0, 1], 50_000);
    let mut rig = Rig::stream(chat.open(&way).expect("it is let in"));
    rig.open_as(&way);
    rig.input("민수\n".as_bytes());
    rig.end();
    assert!(!rig.is_finished(), "his own coming is still on its way to him");
    let came = rig.host().published[0].2.clone();
    rig.mail(&came);
    assert!(rig.is_finished());
    let heard = String::from_utf8(rig.sent()).expect("UTF-8");
    assert!(heard.ends_with("* Welcome, 민수. /help lists the commands.\n* Nobody else is in #lobby.\n"), "{heard}");
    rig.gone(Close::Done);
    assert_eq!(chat.count(), (0, 0, 0));
}

/// On several shards somebody can come back before he has heard that he was put out. What was said between is not for him.
#[test]
fn who_comes_back_before_he_heard_that_he_was_put_out() {
    let chat = unhurried();
    let enter = |slot: u32| {
        let way = from([127, 0, 0, 1], 50_000);
        let mut rig = Rig::stream(chat.open(&way).expect("it is let in")).at(Address { shard: 0, slot, turn: 0 });
        rig.open_as(&way);
        rig.input(format!("NICK n{slot}\r\nUSER u 0 * :u\r\nJOIN #r\r\n").as_bytes());
        let came = rig.host().published[0].2.clone();
        rig.mail(&came);
        rig.host().published.clear();
        assert!(String::from_utf8_lossy(&rig.sent()).ends_with(" #r :End of NAMES list\r\n"));
        rig
    };
    let (mut one, mut two) = (enter(1), enter(2));
    one.input(b"KICK #r n2 :out\r\nPRIVMSG #r :between\r\n");
    two.input(b"JOIN #r\r\nPING x\r\n");
    one.input(b"PRIVMSG #r :after\r\n");
    assert_eq!(two.sent(), b"", "the answers wait for his coming");
    let said: Vec<_> = one.host().published.iter().map(|(.., mail)| mail.clone()).collect();
    let came: Vec<_> = two.host().published.iter().map(|(.., mail)| mail.clone()).collect();
    let topic = two.host().published[0].0;
    for mail in [&said[0], &said[1], &came[0], &said[2]] {
        two.mail(mail);
    }
    let heard = String::from_utf8(two.sent()).expect("UTF-8");
    let words: Vec<&str> = heard.lines().map(|line| line.split(' ').nth(1).expect("a command")).collect();
    assert_eq!(words, ["KICK", "JOIN", "353", "366", "PONG", "PRIVMSG"], "{heard}");
    assert!(heard.ends_with(":after\r\n"), "{heard}");
    let me = Address { shard: 0, slot: 2, turn: 0 };
    assert!(two.host().members.contains(&(topic, me)), "he stays in the topic of the room he is in");
    // And whoever does not come back leaves it when he hears.
    one.host().published.clear();
    one.input(b"KICK #r n2 :again\r\n");
    let out = one.host().published[0].2.clone();
    two.mail(&out);
    assert!(!two.host().members.contains(&(topic, me)));
}

/// A list that waits for room in the output holds up answers, and not the room: own words keep their place among those of
/// others.
#[test]
fn own_words_keep_their_place_beside_a_list_that_waits() {
    let chat = unhurried();
    let enter = |slot: u32, marks: Marks| {
        let way = from([127, 0, 0, 1], 50_000);
        let rig = Rig::stream(chat.open(&way).expect("it is let in")).at(Address { shard: 0, slot, turn: 0 });
        let mut rig = rig.with_marks(marks);
        rig.open_as(&way);
        let caps = "echo-message batch labeled-response message-tags";
        rig.input(format!("CAP REQ :{caps}\r\nNICK n{slot}\r\nUSER u 0 * :u\r\nCAP END\r\n").as_bytes());
        rig.sent();
        rig
    };
    let hard = 1 << 20;
    let mut one = enter(1, Marks { low: 0, high: 40, hard });
    let mut two = enter(2, Marks { low: 0, high: 1 << 16, hard });
    one.input(b"JOIN #r\r\nPRIVMSG #r :first\r\n@label=x PRIVMSG #r :second\r\nPING x\r\n");
    two.input(b"JOIN #r\r\nPRIVMSG #r :third\r\n");
    let mut news: Vec<_> = one.host().published.drain(..).collect();
    news.append(&mut two.host().published);
    news.iter().for_each(|(.., mail)| one.mail(mail));
    let mut heard = String::new();
    while let Some(bytes) = Some(one.sent_some(1 << 20)).filter(|bytes| !bytes.is_empty()) {
        heard += std::str::from_utf8(&bytes).expect("UTF-8");
    }
    let at = |part: &str| heard.find(part).unwrap_or_else(|| panic!("{part:?} is not in {heard}"));
    let order = [" JOIN #r\r\n", ":first", "@label=x;", ":second", ":third", " 366 n1 ", " PONG "].map(at);
    assert!(order.is_sorted(), "{heard}");
}
