//! The way into a chat: PROXY headers, counting by address, what each kind of listener takes, and WebSocket byte by byte.
use sotong_chat::{ChatLimits, ChatOptions, ChatService, Entrance, Guest, ListenerKind, TlsEntrance, Ways};
use sotong_http::{HttpLimits, ws::WsLimits};
use sotong_session::{Address, Close, End, Service as _, Way, Wire, rig::Rig};
use sotong_tls::{Secure, TlsLimits};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tests::tls;

fn from(ip: [u8; 4]) -> Way {
    let end = |ip: [u8; 4], port| End::Net(SocketAddr::from((ip, port)));
    Way::new(end([192, 0, 2, 1], 8888), end(ip, 50_000), Wire::Stream)
}
const HERE: [u8; 4] = [127, 0, 0, 1];
const ELSEWHERE: [u8; 4] = [198, 51, 100, 7];

fn come(chat: &ChatService, way: &Way) -> Rig<Guest> {
    let mut rig = Rig::stream(chat.open(way).expect("it is let in"));
    rig.open_as(way);
    rig
}
fn chat() -> ChatService {
    let ways = Ways::new(|visit| format!("{visit:?}"));
    ChatService::new(ChatOptions { ways, ..ChatOptions::default() })
}
fn at(chat: &ChatService, kind: ListenerKind, proxy: bool) -> ChatService {
    chat.with_entrances(vec![Entrance { kind, proxy, ..Entrance::default() }])
}
fn text(rig: &mut Rig<Guest>) -> String {
    String::from_utf8(rig.sent()).expect("the server speaks UTF-8")
}
fn count(chat: &ChatService, name: &str) -> u64 {
    chat.counters().into_iter().find(|(limit, _)| *limit == name).map_or(0, |(_, count)| count)
}

const LINE: &str = "PROXY TCP4 203.0.113.9 192.0.2.1 5555 8888\r\n";
const REGISTER: &str = "NICK a\r\nUSER a 0 * :a\r\n";
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\xc0\0\x02\x01\x15\xb3\x22\xb8";

/// The host that somebody is shown as.
fn host(welcome: &str) -> &str {
    let line = welcome.lines().next().expect("a line");
    assert!(line.contains(" 001 "), "{welcome}");
    line.rsplit_once('@').expect("a host").1
}

#[test]
fn whom_a_proxy_brings() {
    let chat = chat();
    let mut direct = come(&chat, &from([203, 0, 113, 9]));
    direct.input(REGISTER.as_bytes());
    let expect = host(&text(&mut direct)).to_owned();
    assert!(expect.ends_with(".cloak"));
    direct.gone(Close::Done);
    drop(direct);
    let behind = at(&chat, ListenerKind::Auto, true);
    for (service, header) in [(&chat, LINE.as_bytes()), (&behind, LINE.as_bytes()), (&behind, BINARY)] {
        for size in [1, 7, 1000] {
            let mut rig = come(service, &from(HERE));
            for piece in [header, REGISTER.as_bytes()].concat().chunks(size) {
                rig.input(piece);
            }
            assert_eq!(host(&text(&mut rig)), expect);
            rig.gone(Close::Done);
        }
    }
    // Nobody else may, and later than first it is a word like any.
    let mut stranger = come(&chat, &from(ELSEWHERE));
    stranger.input(LINE.as_bytes());
    assert!(text(&mut stranger).starts_with("What is your name?\n"), "a person who says odd things");
    let mut late = come(&chat, &from(HERE));
    late.input(format!("NICK a\r\n{LINE}USER a 0 * :a\r\n").as_bytes());
    let heard = text(&mut late);
    assert!(heard.contains(" 001 a :") && heard.contains("@localhost\r\n"), "{heard}");
    // It is for proxies alone where they are expected.
    let refused = behind.open(&from(ELSEWHERE)).err();
    assert_eq!(refused, Some(Close::Protocol("a connection from somewhere else than a proxy".into())));
    assert_eq!(count(&chat, "proxy_allowed_from"), 1);
}

#[test]
fn a_proxy_that_says_nothing_or_something_else() {
    let chat = at(&chat(), ListenerKind::Auto, true);
    let mut silent = come(&chat, &from(HERE));
    silent.advance(Duration::from_secs(2));
    assert_eq!(silent.sent(), b"");
    assert_eq!(silent.close(), Some(&Close::Limit("proxy_time_max")));
    silent.gone(Close::Limit("proxy_time_max"));
    assert_eq!(count(&chat, "proxy_time_max"), 1);
    for words in ["NICK a\r\n", "GET / HTTP/1.1\r\n", "PROXY TCP4 x\r\n", "\r\n\r\nx"] {
        let mut rig = come(&chat, &from(HERE));
        rig.input(words.as_bytes());
        assert!(matches!(rig.close(), Some(Close::Protocol(_))), "{words:?}");
        assert_eq!(rig.sent(), b"");
    }
    // A check of the proxy's own is no client.
    let mut check = come(&chat, &from(HERE));
    check.input(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
    check.end();
    assert_eq!(check.close(), None);
    check.input(b"");
}

#[test]
fn whom_a_proxy_brings_is_counted() {
    for header in [LINE, "PROXY TCP4 127.0.0.1 127.0.0.1 5555 8888\r\n"] {
        let chat = at(&chat(), ListenerKind::Irc, true);
        let enter = || {
            let mut rig = come(&chat, &from(HERE));
            rig.input(header.as_bytes());
            rig
        };
        let here: Vec<_> = (0..16).map(|_| enter()).collect();
        assert!(here.iter().all(|rig| rig.close().is_none()), "{header}");
        let mut refused = enter();
        assert_eq!(refused.sent(), b"ERROR :Closing link: too many connections from your address\r\n");
        let close = Close::Limit("connections_per_address");
        assert_eq!(refused.close(), Some(&close));
        refused.gone(close);
        assert_eq!(count(&chat, "connections_per_address"), 1, "once, whatever layers there are");
        // What the proxy says of itself, or of others, is another matter.
        let mut other = come(&chat, &from(HERE));
        other.input(b"PROXY UNKNOWN\r\n");
        assert_eq!(other.close(), None);
    }
}

#[test]
fn too_many_are_told_in_what_they_speak() {
    let server = tls::server();
    let secure = || Secure::new((), Arc::new(Arc::clone(&server)), TlsLimits::default());
    let entrance = |kind, required| {
        let tls = Some(TlsEntrance { secure: secure(), required });
        Entrance { kind, tls, ..Entrance::default() }
    };
    let options = ChatOptions {
        limits: ChatLimits { connections_per_address: 1, ..ChatLimits::default() },
        ..ChatOptions::default()
    };
    let chat = ChatService::new(options);
    let all = chat.with_entrances(vec![
        entrance(ListenerKind::Auto, false),
        entrance(ListenerKind::Auto, true),
        Entrance { kind: ListenerKind::Web, ..Entrance::default() },
        Entrance { kind: ListenerKind::WebSocket, ..Entrance::default() },
        Entrance { kind: ListenerKind::Irc, ..Entrance::default() },
    ]);
    let _first = come(&all, &from(ELSEWHERE));
    for (listener, says) in [
        (0, "ERROR :Closing link: too many connections from your address\r\n"),
        (1, ""),
        (2, "HTTP/1.1 429 "),
        (3, "HTTP/1.1 429 "),
        (4, "ERROR :"),
        (99, "ERROR :"),
    ] {
        let way = Way { listener, ..from(ELSEWHERE) };
        let mut rig = come(&all, &way);
        let heard = text(&mut rig);
        assert!(heard.starts_with(says) && heard.is_empty() == says.is_empty(), "{listener}: {heard}");
        assert_eq!(rig.close(), Some(&Close::Limit("connections_per_address")));
        if let Some((head, body)) = heard.split_once("\r\n\r\n") {
            assert!(head.contains(&format!("Content-Length: {}", body.len())), "{heard}");
        }
    }
    // An address that asks for TLS has nothing else, whatever the listener says.
    let way = Way { asks_tls: true, ..from(ELSEWHERE) };
    assert_eq!(come(&all, &way).sent(), b"");
}

#[test]
fn what_each_kind_of_listener_takes() {
    let chat = chat();
    let request = "GET / HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n";
    let post = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 26\r\n\r\nNICK p\r\nUSER p 0 * :p\r\nQ\r\n";
    for (kind, words, says) in [
        (ListenerKind::Auto, request, "HTTP/1.1 200 "),
        (ListenerKind::Auto, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 "),
        (ListenerKind::Auto, post, "HTTP/1.1 405 "),
        (ListenerKind::Auto, REGISTER, ":sotong.local 001 a "),
        (ListenerKind::Auto, "민수\n", "What is your name?\n* Welcome"),
        (ListenerKind::Irc, REGISTER, ":sotong.local 001 a "),
        (ListenerKind::Irc, "민수\n", ":sotong.local 451 "),
        (ListenerKind::Irc, request, "HTTP/1.1 400 "),
        (ListenerKind::Irc, post, "HTTP/1.1 400 "),
        (ListenerKind::Text, "민수\n", "What is your name?\n* Welcome"),
        (ListenerKind::Web, request, "HTTP/1.1 200 "),
        (ListenerKind::Web, post, "HTTP/1.1 405 "),
        (ListenerKind::Web, REGISTER, "HTTP/1.1 400 "),
        (ListenerKind::WebSocket, request, "HTTP/1.1 426 "),
        (ListenerKind::WebSocket, post, "HTTP/1.1 426 "),
        (ListenerKind::WebSocket, REGISTER, "HTTP/1.1 400 "),
    ] {
        let service = at(&chat, kind, false);
        let mut rig = come(&service, &from(HERE));
        rig.input(words.as_bytes());
        let heard = text(&mut rig);
        assert!(heard.starts_with(says), "{kind:?} {words:?}: {heard}");
        if let Some((head, body)) = heard.split_once("\r\n\r\n").filter(|_| says.starts_with("HTTP")) {
            assert!(head.contains(&format!("Content-Length: {}", body.len())), "{heard}");
        }
        if words == post {
            assert!(rig.close().is_some(), "{kind:?}: closed");
        }
        rig.gone(Close::Done);
        assert_eq!(chat.count(), (0, 0, 0), "{kind:?} {words:?}");
    }
    let mut silent = come(&at(&chat, ListenerKind::Irc, false), &from(HERE));
    silent.advance(Duration::from_secs(15));
    assert_eq!(silent.sent(), b"", "nobody is taken for a person");
    silent.advance(Duration::from_secs(10));
    assert!(text(&mut silent).starts_with("ERROR :Closing link: localhost (Registration timed out)"));
}

// WebSocket.

fn upgrade(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: chat.example:8888\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
    )
}
/// A client's frame under a mask of zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = match payload.len() {
        short @ 0..=125 => vec![0x80 | short as u8],
        long @ 126..=65_535 => [&[0xfe][..], &(long as u16).to_be_bytes()].concat(),
        huge => [&[0xff][..], &(huge as u64).to_be_bytes()].concat(),
    };
    [&[first][..], &length, &[0; 4], payload].concat()
}
fn line(text: &str) -> Vec<u8> {
    frame(0x81, text.as_bytes())
}
/// The server's frames: first bytes and payloads.
fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut all = Vec::new();
    while let [first, short, rest @ ..] = bytes {
        let (length, rest) = match short {
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            127 => panic!("no line is so long"),
            short => (usize::from(*short), rest),
        };
        all.push((*first, rest[..length].to_vec()));
        bytes = &rest[length..];
    }
    assert!(bytes.is_empty(), "half a frame: {bytes:x?}");
    all
}
fn lines(bytes: &[u8]) -> Vec<String> {
    let text = |(first, payload): (u8, Vec<u8>)| {
        assert_eq!(first, 0x81, "text");
        let text = String::from_utf8(payload).expect("text is UTF-8");
        assert!(!text.contains(['\r', '\n']), "{text:?}");
        text
    };
    frames(bytes).into_iter().map(text).collect()
}
/// A client by WebSocket that has registered.
fn web(chat: &ChatService, more: &str) -> Rig<Guest> {
    web_as(chat, more, "웹", 1)
}
fn web_as(chat: &ChatService, more: &str, nick: &str, slot: u32) -> Rig<Guest> {
    let way = from(HERE);
    let mut rig = Rig::stream(chat.open(&way).expect("it is let in")).at(Address { shard: 0, slot, turn: 0 });
    rig.open_as(&way);
    rig.input(upgrade("/", more).as_bytes());
    let answer = text(&mut rig);
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    rig.input(&[line(&format!("NICK {nick}")), line("USER w 0 * :w\r\n")].concat());
    let welcome = frames(&rig.sent());
    let first = String::from_utf8_lossy(&welcome[0].1);
    assert!(first.starts_with(&format!(":sotong.local 001 {nick} :")), "{welcome:?}");
    rig
}

#[test]
fn a_request_for_a_web_socket_at_any_cut() {
    let chat = chat();
    for (path, more, protocol) in [
        ("/", "", None),
        ("/webirc?x=1", "Sec-WebSocket-Protocol: text.ircv3.net\r\n", Some("text.ircv3.net")),
        ("/ws", "Sec-WebSocket-Protocol: what, binary.ircv3.net, text.ircv3.net\r\n", Some("binary.ircv3.net")),
        ("/", "Sec-WebSocket-Protocol: none.such\r\n", None),
    ] {
        for size in [1, 16, 4096] {
            let mut rig = come(&chat, &from(HERE));
            let words = [upgrade(path, more).into_bytes(), line("PING x")].concat();
            for piece in words.chunks(size) {
                rig.input(piece);
            }
            let heard = rig.sent();
            let end = heard.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
            let head = String::from_utf8_lossy(&heard[..end]);
            assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
            assert!(head.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
            let told = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Protocol: "));
            assert_eq!(told, protocol, "{head}");
            let binary = protocol == Some("binary.ircv3.net");
            let expect = b":sotong.local PONG sotong.local :x".to_vec();
            assert_eq!(frames(&heard[end..]), [(if binary { 0x82 } else { 0x81 }, expect)]);
            rig.gone(Close::Done);
        }
    }
    // Behind another request on the same connection, too.
    let mut rig = come(&chat, &from(HERE));
    rig.input(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(text(&mut rig).ends_with("\r\n\r\nok\n"));
    rig.input(upgrade("/", "").as_bytes());
    assert!(text(&mut rig).starts_with("HTTP/1.1 101 "));
}

#[test]
fn pages_of_others_do_not_connect() {
    let open = chat();
    let listed = ["https://web.example", "null"].map(Box::from).to_vec();
    let listed = ChatService::new(ChatOptions { allowed_origins: listed, ..ChatOptions::default() });
    let any = ChatService::new(ChatOptions { allowed_origins: vec!["*".into()], ..ChatOptions::default() });
    for (chat, origin, status) in [
        (&open, "", 101),
        (&open, "Origin: http://chat.example:8888\r\n", 101),
        (&open, "Origin: https://CHAT.example:8888\r\n", 101),
        (&open, "Origin: http://chat.example\r\n", 403),
        (&open, "Origin: https://web.example\r\n", 403),
        (&open, "Origin: http://chat.example:8888.evil.example\r\n", 403),
        (&open, "Origin: null\r\n", 403),
        (&open, "Origin: http://chat.example:8888\r\nOrigin: http://evil.example\r\n", 400),
        (&listed, "Origin: https://web.example\r\n", 101),
        (&listed, "Origin: null\r\n", 101),
        (&listed, "Origin: http://web.example\r\n", 403),
        (&any, "Origin: https://evil.example\r\n", 101),
    ] {
        let mut rig = come(chat, &from(HERE));
        rig.input(&[upgrade("/", origin).into_bytes(), line("NICK x"), line("USER x 0 * :x")].concat());
        let heard = String::from_utf8_lossy(&rig.sent()).into_owned();
        assert!(heard.starts_with(&format!("HTTP/1.1 {status} ")), "{origin:?}: {heard}");
        assert_eq!(rig.close().is_none(), status == 101, "{origin:?}");
        assert_eq!(heard.contains(" 001 x "), status == 101, "{origin:?}");
        rig.gone(Close::Done);
        assert_eq!(chat.count(), (0, 0, 0));
    }
}

#[test]
fn a_message_is_one_line() {
    let chat = chat();
    let mut rig = web(&chat, "");
    for (message, answer) in [
        ("PING a", ":sotong.local PONG sotong.local :a"),
        ("PING a\r\n", ":sotong.local PONG sotong.local :a"),
        ("PING a\n", ":sotong.local PONG sotong.local :a"),
        ("PING a\r\nPING b", ":sotong.local 400 웹 * :There is a NUL, a CR or an LF in that line"),
        ("PING a\nPING b\n", ":sotong.local 400 웹 * :There is a NUL, a CR or an LF in that line"),
        ("PING a\0b", ":sotong.local 400 웹 * :There is a NUL, a CR or an LF in that line"),
    ] {
        rig.advance(Duration::from_secs(5));
        rig.input(&line(message));
        assert_eq!(lines(&rig.sent()), [answer], "{message:?}");
    }
    rig.advance(Duration::from_secs(5));
    rig.input(&[line(""), line("\r\n"), line(&format!("PING {}", "x".repeat(600)))].concat());
    assert_eq!(lines(&rig.sent()), [":sotong.local 417 웹 :Input line was too long"]);
    // In fragments it is one line, too.
    rig.advance(Duration::from_secs(5));
    rig.input(&[frame(0x01, b"PI"), frame(0x89, b"alive"), frame(0x80, b"NG c")].concat());
    let heard = frames(&rig.sent());
    assert_eq!(heard[0], (0x8a, b"alive".to_vec()));
    assert_eq!(heard[1], (0x81, b":sotong.local PONG sotong.local :c".to_vec()));
    // The end is told in both languages.
    rig.advance(Duration::from_secs(5));
    rig.input(&line("QUIT :안녕"));
    let heard = frames(&rig.sent());
    assert_eq!(String::from_utf8_lossy(&heard[heard.len() - 2].1), "ERROR :Closing link: localhost (Quit: 안녕)");
    assert_eq!(heard[heard.len() - 1], (0x88, vec![0x03, 0xe8]));
    assert_eq!(chat.count(), (0, 0, 0));
}

#[test]
fn frames_that_no_client_should_send() {
    let parts = |count: usize| {
        let mut all = frame(0x01, b"P");
        (1..count).for_each(|_| all.extend(frame(0x00, b"x")));
        all
    };
    for (name, bytes, code) in [
        ("not masked", b"\x81\x02hi".to_vec(), 1002),
        ("not UTF-8", frame(0x81, b"PRIVMSG a :\xff"), 1007),
        ("a surrogate", frame(0x81, b"\xed\xa0\x80"), 1007),
        ("a long control frame", frame(0x89, &[0; 126]), 1002),
        ("64 KiB and one more", frame(0x81, &[b'x'; 65_537]), 1009),
        ("129 fragments", parts(129), 1008),
        ("a fragment of nothing", frame(0x80, b"x"), 1002),
        ("a reserved bit", frame(0xc1, b"PING a"), 1002),
        ("a length of 2^63", b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0".to_vec(), 1002),
    ] {
        let chat = chat();
        let mut bystander = web_as(&chat, "", "행인", 7);
        let mut rig = web(&chat, "");
        rig.input(&bytes);
        let heard = frames(&rig.sent());
        let (first, payload) = heard.last().expect("a farewell");
        assert_eq!((*first, &payload[..2]), (0x88, &u16::to_be_bytes(code)[..]), "{name}: {heard:?}");
        let close = rig.close().cloned().expect("it ends");
        rig.gone(close);
        assert_eq!(chat.count(), (1, 0, 0), "{name}: nobody else notices");
        bystander.advance(Duration::from_secs(5));
        bystander.input(&line("PING x"));
        assert_eq!(lines(&bystander.sent()), [":sotong.local PONG sotong.local :x"], "{name}");
    }
    // As many as may be are taken.
    let mut rig = web(&chat(), "");
    rig.input(&[parts(127), frame(0x80, b"!")].concat());
    assert!(lines(&rig.sent())[0].contains(" 421 "), "an unknown command");
    let mut slow = come(&chat(), &from(HERE));
    slow.input(b"GET / HTTP/1.1\r\nHost: x\r\n");
    slow.advance(Duration::from_secs(10));
    assert!(text(&mut slow).starts_with("HTTP/1.1 408 "));
}

#[test]
fn who_is_greeted_and_turns_out_to_be_a_machine() {
    let chat = chat();
    for words in [&b"POST /x HTTP/1.1\r\nHost: x\r\n\r\n\r\nname\r\nwords\r\n"[..], b"\x16\x03\x01\x02\0\x01"] {
        let mut rig = come(&chat, &from(HERE));
        rig.advance(Duration::from_secs(1));
        assert_eq!(rig.sent(), b"What is your name?\n");
        rig.input(words);
        assert_eq!(rig.close(), Some(&Close::Protocol("TLS or HTTP after the greeting".into())));
        assert_eq!((rig.sent(), chat.count().0), (Vec::new(), 0));
        rig.gone(Close::Done);
    }
}

#[test]
fn limits_are_counted_by_name() {
    let limits =
        ChatLimits { targets_max: 2, rooms_max: 1, monitor_max: 1, list_modes_max: 1, ..ChatLimits::default() };
    let chat = ChatService::new(ChatOptions { limits, ..ChatOptions::default() });
    let mut rig = come(&chat, &from(HERE));
    rig.input(REGISTER.as_bytes());
    for line in ["PRIVMSG b,c,d :x", "JOIN #a", "JOIN #b", "MODE #a +b x!*@*", "MODE #a +b y!*@*", "MONITOR + x,y"] {
        rig.input(format!("{line}\r\n").as_bytes());
        rig.advance(Duration::from_secs(10));
    }
    rig.input(&[b'x'; 513]);
    rig.input(b"\r\n");
    for number in 0..6 {
        rig.input(format!("PING {number}\r\n").as_bytes());
    }
    rig.advance(Duration::from_secs(200));
    rig.gone(Close::Limit("cut_after"));
    let expect = [
        ("burst", 1),
        ("cut_after", 1),
        ("line_bytes_max", 1),
        ("list_modes_max", 1),
        ("monitor_max", 1),
        ("rooms_max", 1),
        ("targets_max", 1),
    ];
    let counted = chat.counters();
    let names = |pairs: &[(&'static str, u64)]| pairs.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    assert_eq!(names(&counted), names(&expect));
    assert!(counted.iter().all(|(name, count)| *count == 1 || *name == "burst"), "{counted:?}");
}

/// Ends a connection as a driver does that is told why.
fn over(rig: &mut Rig<Guest>) {
    let why = rig.close().cloned().expect("it has ended");
    rig.gone(why);
}

#[test]
fn times_that_pass_are_told_apart() {
    let chat = ChatService::new(ChatOptions::default());
    let secure = Secure::new((), Arc::new(tls::server()), TlsLimits::default());
    let tls = Some(TlsEntrance { secure, required: false });
    let chat = chat.with_entrances(vec![Entrance { tls, ..Entrance::default() }]);
    let socket = upgrade("/", "");
    for (said, limit) in [
        ("NICK a\r\n".as_bytes(), "registration"),
        (REGISTER.as_bytes(), "cut_after"),
        (b"\r\n", "name_time"),
        (b"NICK", "first_bytes_time"),
        (b"GET / HTTP/1.1\r\n", "http_head_time"),
        (b"\x16\x03\x01\x02\0\x01", "tls_handshake_time"),
        (socket.as_bytes(), "registration"),
    ] {
        let before = count(&chat, limit);
        let mut rig = come(&chat, &from(HERE));
        rig.input(said);
        for _ in 0..40 {
            rig.advance(Duration::from_secs(5));
        }
        over(&mut rig);
        assert_eq!(count(&chat, limit), before + 1, "{limit}: {:?}", chat.counters());
    }
    assert_eq!(count(&chat, "idle"), 0);
}

#[test]
fn what_is_too_long_or_too_many_is_counted() {
    let chat = ChatService::new(ChatOptions { limits: ChatLimits::default(), ..ChatOptions::default() });
    let mut foreign = come(&chat, &from(HERE));
    foreign.input(upgrade("/", "Origin: https://elsewhere.example\r\n").as_bytes());
    assert!(text(&mut foreign).starts_with("HTTP/1.1 403 "));
    over(&mut foreign);
    let mut long = web(&chat, "");
    long.input(&frame(0x89, &[b'x'; 126]));
    over(&mut long);
    let mut rig = come(&chat, &from(HERE));
    rig.input(b"CAP REQ :batch draft/multiline draft/metadata-2\r\n");
    rig.input(format!("{REGISTER}CAP END\r\n").as_bytes());
    let lines: String = (0..40).map(|_| "@batch=1 PRIVMSG a :x\r\n").collect();
    for said in [
        format!("BATCH +1 draft/multiline a\r\n{lines}BATCH -1\r\n"),
        format!("AUTHENTICATE PLAIN\r\nAUTHENTICATE {}\r\n", "A".repeat(401)),
        format!("NS IDENTIFY {}\r\n", "x".repeat(310)),
        format!("METADATA * SET key :{}\r\n", "x".repeat(400)),
        format!("NICK {}\r\n", "x".repeat(33)),
        format!("JOIN #{}\r\n", "x".repeat(70)),
        "NOTICE a,b,c,d,e :x\r\n".to_owned(),
        format!("JOIN #x\r\nMODE #x +{}\r\nMODE #x +k {}\r\n", "i-i+".repeat(11), "k".repeat(33)),
    ] {
        rig.input(said.as_bytes());
        rig.advance(Duration::from_secs(10));
    }
    let heard = text(&mut rig);
    for limit in [
        "allowed_origins",
        "control_bytes_max",
        "key_bytes_max",
        "metadata_value_bytes_max",
        "modes_max",
        "multiline_lines_max",
        "nick_chars_max",
        "password_bytes_max",
        "room_chars_max",
        "sasl_bytes_max",
        "targets_max",
    ] {
        assert_eq!(count(&chat, limit), 1, "{limit}: {:?} {heard}", chat.counters());
    }
}

#[test]
fn lines_that_are_not_utf8_reach_nobody() {
    let chat = chat();
    let mut binary = web(&chat, "Sec-WebSocket-Protocol: binary.ircv3.net\r\n");
    binary.input(&frame(0x82, b"PRIVMSG a :\xff"));
    let heard = frames(&binary.sent());
    let said = String::from_utf8_lossy(&heard[0].1);
    assert!(said.starts_with(":sotong.local FAIL ") && said.contains(" INVALID_UTF8 "), "{said}");
    assert_eq!((heard.len(), heard[0].0, binary.close()), (1, 0x82, None));
}

/// What is known of where a browser has come, told to whoever knows how to join.
#[test]
fn how_a_browser_has_come() {
    let chat = chat();
    let told = |way: &Way, request: &str| {
        let mut rig = come(&chat, way);
        rig.input(request.as_bytes());
        let answer = text(&mut rig);
        rig.gone(Close::Done);
        answer.rsplit("\r\n\r\n").next().expect("a body").to_owned()
    };
    let visit = |listener: u16, host: &str, port: u16, is_proxied: bool| {
        format!("Visit {{ listener: {listener}, host: {host:?}, port: {port}, is_proxied: {is_proxied} }}\n")
    };
    let get = |more: &str| format!("GET / HTTP/1.1\r\n{more}\r\n");
    let at = |listener: u16| Way { listener, ..from(ELSEWHERE) };
    assert_eq!(told(&at(3), &get("Host: chat.example:8888\r\n")), visit(3, "chat.example", 8888, false));
    assert_eq!(told(&at(0), &get("Host: chat.example\r\n")), visit(0, "chat.example", 80, false));
    assert_eq!(told(&at(0), &get("Host: [2001:db8::1]\r\n")), visit(0, "2001:db8::1", 80, false));
    // No host, or one that nobody should copy: our own address.
    assert_eq!(told(&at(0), "GET / HTTP/1.0\r\n\r\n"), visit(0, "192.0.2.1", 8888, false));
    assert_eq!(told(&at(0), &get("Host: -oProxyCommand\r\n")), visit(0, "192.0.2.1", 8888, false));
    // A proxy says so by its header, or by a field.
    assert_eq!(told(&from(HERE), &format!("{LINE}{}", get("Host: x\r\n"))), visit(0, "x", 80, true));
    for field in ["Forwarded: for=192.0.2.60", "X-Forwarded-For: 192.0.2.60", "X-Forwarded-Proto: https", "Via: 1.1 p"]
    {
        assert_eq!(told(&at(0), &get(&format!("Host: x\r\n{field}\r\n"))), visit(0, "x", 80, true), "{field}");
    }
}

/// Each limit of HTTP, WebSocket and the PROXY header that the options have other than by default, and those of a reload.
#[test]
fn limits_are_those_of_the_options() {
    let usual = ChatLimits::default();
    let head = HttpLimits {
        head_bytes_max: 1100,
        target_bytes_max: 1000,
        fields_max: 8,
        head_time: Duration::from_secs(3),
        idle: Duration::from_secs(4),
        ..usual.websocket.head
    };
    let websocket = WsLimits { message_bytes_max: 4608, fragments_max: 3, head, ..usual.websocket };
    let websocket = WsLimits { upgrade: Duration::from_secs(5), ..websocket };
    let proxy_time = Duration::from_millis(700);
    let limits = ChatLimits { websocket, websocket_deflate: true, proxy_time, receive_queue_bytes_max: 6000, ..usual };
    let options = ChatOptions { limits, ..ChatOptions::default() };
    let chat = ChatService::new(options.clone());
    let asked = |chat: &ChatService, request: &str| {
        let mut rig = come(chat, &from(HERE));
        rig.input(request.as_bytes());
        text(&mut rig).split_whitespace().nth(1).unwrap_or_default().to_owned()
    };
    let fields = |count: usize| format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(count - 1));
    assert_eq!((asked(&chat, &fields(8)), asked(&chat, &fields(9))), ("200".into(), "431".into()));
    let target = |bytes: usize| format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(bytes - 1));
    assert_eq!((asked(&chat, &target(1000)), asked(&chat, &target(1001))), ("404".into(), "414".into()));
    let long = format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "b".repeat(1100));
    assert_eq!(asked(&chat, &long), "431");
    // Times.
    let ended = |service: &ChatService, words: &str, millis: u64| {
        let mut rig = come(service, &from(HERE));
        rig.input(words.as_bytes());
        rig.advance(Duration::from_millis(millis - 1));
        let before = rig.close().is_some();
        rig.advance(Duration::from_millis(1));
        (before, rig.close().is_some())
    };
    assert_eq!(ended(&chat, "GET / HTTP/1.1\r\n", 3000), (false, true));
    assert_eq!(ended(&chat, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 4000), (false, true));
    assert_eq!(ended(&at(&chat, ListenerKind::WebSocket, false), "GET", 5000), (false, true));
    assert_eq!(ended(&at(&chat, ListenerKind::Irc, true), "PROXY ", 700), (false, true));
    // WebSocket.
    let code = |bytes: &[u8]| {
        let mut rig = web(&chat, "");
        rig.input(bytes);
        let (first, payload) = frames(&rig.sent()).pop().expect("an answer");
        rig.gone(Close::Done);
        if first == 0x88 { u16::from_be_bytes([payload[0], payload[1]]) } else { 0 }
    };
    let message = |bytes: usize| frame(0x81, &vec![b'x'; bytes]);
    assert_eq!((code(&message(4608)), code(&message(4609))), (0, 1009));
    let parts = |count: usize| {
        let middle = frame(0x00, b"x").repeat(count - 2);
        [frame(0x01, b"P"), middle, frame(0x80, b"x")].concat()
    };
    assert_eq!((code(&parts(3)), code(&parts(4))), (0, 1008));
    let mut deflates = come(&chat, &from(HERE));
    deflates.input(upgrade("/", "Sec-WebSocket-Extensions: permessage-deflate\r\n").as_bytes());
    assert!(text(&mut deflates).contains("Sec-WebSocket-Extensions: permessage-deflate"));
    // A line without an end.
    let mut endless = come(&chat, &from(HERE));
    endless.input(REGISTER.as_bytes());
    endless.input(&[b'x'; 6000]);
    assert_eq!(endless.close(), None);
    endless.input(b"x");
    assert_eq!(endless.close(), Some(&Close::Limit("receive_queue_bytes_max")));
    // From a reload on, for those who come.
    chat.reload(ChatOptions { limits: usual, ..options });
    assert_eq!(asked(&chat, &fields(9)), "200");
}

/// Whatever can be turned off by a time without an end: nobody is hurried, asked or cut off in ten years.
#[test]
fn times_that_are_turned_off() {
    let (usual, none) = (ChatLimits::default(), Duration::MAX);
    let head = HttpLimits { head_time: none, idle: none, ..usual.websocket.head };
    let websocket = WsLimits { upgrade: none, head, ..usual.websocket };
    let limits = ChatLimits { registration: none, name_time: none, proxy_time: none, websocket, ..usual };
    let limits = ChatLimits { ping_after: none, cut_after: none, ..limits };
    let limits = ChatLimits { burst: u32::MAX, registration_lines_max: u32::MAX, name_tries_max: u32::MAX, ..limits };
    let chat = ChatService::new(ChatOptions { limits, ..ChatOptions::default() });
    let (irc, web) = (at(&chat, ListenerKind::Irc, false), at(&chat, ListenerKind::WebSocket, false));
    let text_only = at(&chat, ListenerKind::Text, false);
    let behind = at(&chat, ListenerKind::Auto, true);
    for (service, words) in [
        (&irc, "NICK x\r\n".to_owned()),
        (&irc, REGISTER.to_owned()),
        (&irc, "CAP LS 302\r\n".repeat(100)),
        (&text_only, "no name\n".repeat(100)),
        (&web, "GET / HT".to_owned()),
        (&chat, "GET / HTTP/1.1\r\nHost".to_owned()),
        (&chat, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".to_owned()),
        (&behind, "PROXY ".to_owned()),
    ] {
        let mut rig = come(service, &from(HERE));
        rig.input(words.as_bytes());
        rig.sent();
        rig.advance(Duration::from_secs(10 * 365 * 86_400));
        assert_eq!((rig.sent(), rig.close()), (Vec::new(), None), "{words:.40}");
        rig.gone(Close::Done);
    }
    let mut fast = come(&irc, &from(HERE));
    fast.input(REGISTER.as_bytes());
    fast.sent();
    fast.input("PING x\r\n".repeat(1000).as_bytes());
    assert_eq!(text(&mut fast).matches(" PONG ").count(), 1000, "all at once");
}
