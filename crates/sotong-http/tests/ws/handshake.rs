//! The opening handshake, granted and refused, on both sides.
use crate::common::{ACCEPT, Probe, REQUEST, SECOND, client, options, probe, server};
use sotong_http::ws::{ClientOptions, NotARequest, Origins, ServerOptions};
use sotong_session::{Close, WsFacts};

fn answer(options: ServerOptions, request: &str, size: usize) -> (String, Option<Close>) {
    let mut end = server(Probe::ear(), options);
    end.open();
    for piece in request.as_bytes().chunks(size) {
        end.input(piece);
    }
    (String::from_utf8(end.sent()).expect("heads are ASCII"), end.close().cloned())
}
fn default(request: &str) -> (String, Option<Close>) {
    let whole = answer(ServerOptions::default(), request, usize::MAX);
    assert_eq!(answer(ServerOptions::default(), request, 1), whole, "{request}");
    whole
}

#[test]
fn the_example_of_the_rfc_is_granted() {
    let (text, close) = default(REQUEST);
    assert_eq!(close, None);
    for line in ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"] {
        assert!(text.contains(&format!("{line}\r\n")), "{text}");
    }
    assert!(text.contains(&format!("Sec-WebSocket-Accept: {ACCEPT}\r\n")) && text.ends_with("\r\n\r\n"), "{text}");
    assert!(!text.contains("Content-Length") && !text.contains("Sec-WebSocket-Protocol"), "{text}");
}

#[test]
fn lists_and_cases_are_read_as_http_has_them() {
    for request in [
        REQUEST.replace("Connection: Upgrade", "connection: keep-alive, uPGRADE"),
        REQUEST.replace("Upgrade: websocket", "UPGRADE: h2c , WebSocket"),
        REQUEST.replace("Connection: Upgrade", "Connection: keep-alive\r\nConnection: Upgrade"),
        REQUEST.replace("Host:", "Content-Length: 0\r\nHost:"),
        REQUEST.replace("/chat", "/chat?room=%EB%B0%A9"),
    ] {
        assert!(default(&request).0.starts_with("HTTP/1.1 101 "), "{request}");
    }
}

#[test]
fn what_is_no_handshake_is_told_so() {
    let with = |from: &str, to: &str| {
        assert!(REQUEST.contains(from));
        REQUEST.replace(from, to)
    };
    for (request, status, has) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "426 Upgrade Required", "\r\nUpgrade: websocket\r\n"),
        (with("Upgrade: websocket", "Upgrade: h2c"), "426 Upgrade Required", "\r\nConnection: Upgrade\r\n"),
        (with("Connection: Upgrade", "Connection: close"), "426 Upgrade Required", "\r\nUpgrade: websocket\r\n"),
        (with("Version: 13", "Version: 8"), "426 Upgrade Required", "\r\nSec-WebSocket-Version: 13\r\n"),
        (with("Sec-WebSocket-Version: 13\r\n", ""), "426 Upgrade Required", "\r\nSec-WebSocket-Version: 13\r\n"),
        (with("GET", "POST"), "405 Method Not Allowed", "\r\nAllow: GET\r\n"),
        (with("HTTP/1.1", "HTTP/1.0"), "400 Bad Request", ""),
        (with("Host: sotong.test", "Content-Length: 3\r\nHost: sotong.test"), "400 Bad Request", ""),
        (with("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZTE="), "400 Bad Request", "Sec-WebSocket-Key"),
        (with("dGhlIHNhbXBsZSBub25jZQ==", ""), "400 Bad Request", "Sec-WebSocket-Key"),
        (with("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), "400 Bad Request", "Sec-WebSocket-Key"),
        (
            with("Sec-WebSocket-V", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-V"),
            "400 Bad Request",
            "",
        ),
        (with("Host: sotong.test\r\n", ""), "400 Bad Request", "Host"),
        (with("\r\nUpgrade", "\nUpgrade"), "400 Bad Request", ""),
        ("\x16\x03\x01".to_owned(), "400 Bad Request", "TLS"),
        (with("/chat", &format!("/{}", "a".repeat(9000))), "414 URI Too Long", ""),
        (with("Host:", &format!("{}Host:", "A: b\r\n".repeat(100))), "431 Request Header Fields Too Large", ""),
    ] {
        let (text, close) = default(&request);
        assert!(text.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}: {text}");
        assert!(text.contains(has) && text.contains("\r\nConnection: close\r\n"), "{request}: {text}");
        assert!(matches!(close, Some(Close::Protocol(_) | Close::Limit(_))), "{close:?}");
    }
}

#[test]
fn pages_of_other_hosts_are_refused() {
    let ask = |origins: &Origins, origin: &str, host: &str| {
        let request = REQUEST.replace("Host: sotong.test", &format!("Origin: {origin}\r\nHost: {host}"));
        let (text, _) = answer(ServerOptions { origins: origins.clone(), ..ServerOptions::default() }, &request, 100);
        match &text[..13] {
            "HTTP/1.1 101 " => true,
            "HTTP/1.1 403 " => false,
            _ => panic!("{text}"),
        }
    };
    for (origin, host) in [
        ("https://sotong.test", "sotong.test"),
        ("http://sotong.test", "sotong.test:80"),
        ("https://sotong.test:443", "SOTONG.test"),
        ("http://localhost:8888", "localhost:8888"),
        ("http://[::1]:8888", "[::1]:8888"),
    ] {
        assert!(ask(&Origins::Own, origin, host), "{origin} {host}");
    }
    let listed = Origins::Listed(["https://example.org".into(), "null".into()].into());
    for (origin, host) in [
        ("https://example.org", "sotong.test"),
        ("https://sotong.test.example.org", "sotong.test"),
        ("https://sotong.test:444", "sotong.test"),
        ("http://sotong.test", "sotong.test:443"),
        ("file://", ""),
        ("null", "null"),
        ("sotong.test", "sotong.test"),
        ("https://", ""),
    ] {
        assert!(!ask(&Origins::Own, origin, host), "{origin} {host}");
        assert!(ask(&Origins::Any, origin, host));
        assert_eq!(ask(&listed, origin, host), matches!(origin, "https://example.org" | "null"), "{origin}");
    }
    let twice = REQUEST.replace("Host", "Origin: https://sotong.test\r\nOrigin: https://evil.test\r\nHost");
    assert!(default(&twice).0.starts_with("HTTP/1.1 400 "));
}

#[test]
fn the_path_of_the_address_is_the_only_one() {
    let only = || ServerOptions { path: Some("/chat".into()), ..ServerOptions::default() };
    for (path, status) in
        [("/chat", "101"), ("/chat?a", "101"), ("http://sotong.test/chat", "101"), ("/", "404"), ("/chat/", "404")]
    {
        let (text, _) = answer(only(), &REQUEST.replace("/chat", path), 100);
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {text}");
    }
}

#[test]
fn subprotocols_are_the_clients_first_that_is_known() {
    for (offer, chosen) in [
        ("", None),
        ("Sec-WebSocket-Protocol: text.ircv3.net\r\n", Some("text.ircv3.net")),
        ("Sec-WebSocket-Protocol: mqtt, binary.ircv3.net , text.ircv3.net\r\n", Some("binary.ircv3.net")),
        ("Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Protocol: text.ircv3.net\r\n", Some("text.ircv3.net")),
        ("Sec-WebSocket-Protocol: mqtt\r\n", None),
    ] {
        let mut end = server(Probe { greeting: Some(b"hi"), ..Probe::ear() }, ServerOptions::irc());
        end.open();
        end.input(REQUEST.replace("Host", &format!("{offer}Origin: https://sotong.test\r\nHost")).as_bytes());
        let sent = String::from_utf8_lossy(&end.sent()).into_owned();
        assert_eq!(sent.contains("Sec-WebSocket-Protocol"), chosen.is_some(), "{sent}");
        assert!(sent.ends_with("\u{fffd}\u{2}hi"), "{sent:?}");
        let origin = Some("https://sotong.test".into());
        let facts = WsFacts { subprotocol: chosen.map(Into::into), target: "/chat".into(), origin };
        assert_eq!(probe(&end).facts, Some(facts));
    }
}

#[test]
fn a_request_has_its_time_in_all() {
    let mut end = server(Probe::ear(), ServerOptions::default());
    end.open();
    for piece in REQUEST.as_bytes().chunks(30).take(5) {
        end.input(piece);
        end.advance(3 * SECOND);
    }
    assert_eq!(end.close(), Some(&Close::Idle));
    assert!(end.sent().starts_with(b"HTTP/1.1 408 "));
    assert!(probe(&end).seen.is_empty(), "nobody was inside");
    let mut silent = server(Probe::ear(), ServerOptions::default());
    silent.open();
    silent.advance(10 * SECOND);
    assert_eq!(silent.close(), Some(&Close::Idle));
    assert_eq!(silent.sent(), b"");
    for side in [server(Probe::ear(), ServerOptions::default()), client(Probe::ear(), options())] {
        let mut end = side;
        end.open();
        end.input(b"G");
        end.stop();
        assert!(end.close().is_some());
    }
}

fn hear(answer: &str, size: usize) -> (Option<Close>, bool) {
    let mut ours = options();
    ours.offer("text.ircv3.net").unwrap();
    let mut end = client(Probe::ear(), ours);
    end.open();
    let request = String::from_utf8(end.sent()).unwrap();
    let key = request.split("Sec-WebSocket-Key: ").nth(1).and_then(|rest| rest.split("\r\n").next()).expect("a key");
    let answer = answer.replace("ACCEPT", &sotong_http::ws::accept(key.as_bytes()));
    for piece in answer.as_bytes().chunks(size) {
        end.input(piece);
    }
    (end.close().cloned(), probe(&end).facts.is_some())
}

const GRANTED: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\n\
     Sec-WebSocket-Accept: ACCEPT\r\n\r\n";

#[test]
fn a_client_checks_what_it_is_answered() {
    for size in [1, 7, 1000] {
        assert_eq!(hear(GRANTED, size), (None, true));
        let chosen = GRANTED.replace("upgrade:", "Sec-WebSocket-Protocol: text.ircv3.net\r\nupgrade:");
        assert_eq!(hear(&chosen, size), (None, true));
        for (from, to, why) in [
            ("101 Switching Protocols", "404 Not Found", "the server answered 404 Not Found"),
            ("101 Switching Protocols", "200", "the server answered 200"),
            ("HTTP/1.1", "HTTP/1.0", "the server does not speak HTTP/1.1"),
            ("HTTP/1.1 101", "HTTP/1.1 1x1", "the server's answer is malformed"),
            ("HTTP/1.1", "SSH-2.0", "the server does not speak HTTP"),
            ("WebSocket\r\n", "h2c\r\n", "the server switched to something other than WebSocket"),
            ("keep-alive, upgrade", "close", "the server switched to something other than WebSocket"),
            ("ACCEPT", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "Sec-WebSocket-Accept does not answer our key"),
            ("Sec-WebSocket-Accept: ACCEPT\r\n", "", "Sec-WebSocket-Accept does not answer our key"),
            (
                "upgrade:",
                "Sec-WebSocket-Protocol: mqtt\r\nupgrade:",
                "the server chose a subprotocol that was not offered",
            ),
            (
                "upgrade:",
                "Sec-WebSocket-Extensions: permessage-deflate\r\nupgrade:",
                "the server chose an extension that was not offered",
            ),
            ("upgrade:", "bad field\r\nupgrade:", "the server's answer is malformed"),
            ("\r\nupgrade:", "\nupgrade:", "the server's answer is malformed"),
        ] {
            assert!(GRANTED.contains(from), "{from}");
            assert_eq!(
                hear(&GRANTED.replacen(from, to, 1), size),
                (Some(Close::Protocol(format!("WebSocket: {why}").into())), false),
                "{to}"
            );
        }
        let long = GRANTED.replace("upgrade:", &format!("A: {}\r\nupgrade:", "b".repeat(20_000)));
        assert_eq!(hear(&long, size.max(7)), (Some(Close::Limit("head_bytes_max")), false));
    }
}

#[test]
fn no_request_is_split_by_what_is_put_into_it() {
    for host in ["", "a b", "a\r\nb", "a/b", "a@b", "a#b"] {
        assert_eq!(ClientOptions::new(host, "/").err(), Some(NotARequest::Host), "{host:?}");
    }
    for target in ["", "x", "/a b", "/a\r\nX: y", "/a#b"] {
        assert_eq!(ClientOptions::new("h", target).err(), Some(NotARequest::Target), "{target:?}");
    }
    let mut ours = options();
    for (name, value) in
        [("X", "a\r\nb"), ("X y", "a"), ("", "a"), ("Host", "evil"), ("Sec-WebSocket-Key", "a"), ("upgrade", "h2c")]
    {
        assert_eq!(ours.field(name, value), Err(NotARequest::Field), "{name}");
    }
    for protocol in ["", "a b", "a,b"] {
        assert_eq!(ours.offer(protocol), Err(NotARequest::Protocol));
    }
    ours.field("Authorization", "Bearer x").unwrap();
    ours.offer("one").unwrap();
    ours.offer("two").unwrap();
    assert_eq!(ours.offer("two"), Err(NotARequest::Protocol));
    let mut end = client(Probe::ear(), ours);
    end.open();
    let sent = String::from_utf8(end.sent()).unwrap();
    assert!(sent.starts_with("GET /chat HTTP/1.1\r\nHost: sotong.test\r\n") && sent.ends_with("\r\n\r\n"), "{sent}");
    assert!(sent.contains("\r\nAuthorization: Bearer x\r\n") && sent.contains("Protocol: one, two\r\n"), "{sent}");
}
