//! Peers that speak something else, break TLS, or take their time.
mod common;

use common::{Order, Pair, Probe, client, client_config, distrustful_client_config, probe, server, server_config};
use proptest::prelude::*;
use sotong_session::Close;
use sotong_tls::{Tls, TlsLimits, rustls};
use std::{sync::Arc, time::Duration};

const SECOND: Duration = Duration::from_secs(1);

fn lone_server() -> common::Side {
    let mut server = server(Probe::ear(), server_config(rustls::ALL_VERSIONS));
    server.open();
    server
}
fn protocol(side: &common::Side) -> String {
    let Some(Close::Protocol(text)) = side.close() else { panic!("{:?}", side.close()) };
    text.clone().into_owned()
}

#[test]
fn plain_http_is_answered_in_http() {
    for size in [1, 100] {
        let mut server = lone_server();
        for piece in b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".chunks(size) {
            server.input(piece);
        }
        let answer = String::from_utf8(server.sent()).expect("text");
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        assert!(answer.contains("plain HTTP"), "{answer}");
        assert_eq!(protocol(&server), "a plain HTTP request on a TLS port");
        server.gone(Close::Done);
        assert!(probe(&server).seen.is_empty(), "nobody was inside");
    }
    let mut server = lone_server();
    server.input(b"HEAD / HTTP/1.1\r\n\r\n");
    assert!(server.sent().ends_with(b"\r\n\r\n"));
}

#[test]
fn plain_text_gets_an_alert_and_a_reason() {
    let mut server = lone_server();
    server.input(b"hello\r\n");
    assert_eq!(server.sent(), [0x15, 3, 1, 0, 2, 2, 10]);
    assert_eq!(protocol(&server), "the client does not speak TLS; it said \"hello\\r\\n\"");
    let mut server = lone_server();
    server.input(b"GE");
    assert_eq!(server.close(), None, "it may become HTTP");
    server.end();
    assert_eq!(protocol(&server), "the client does not speak TLS; it said \"GE\"");
    // A hello of SSL 2.
    let mut server = lone_server();
    server.input(b"\x80\x2e\x01\x00\x02\x00\x15");
    assert_eq!(server.sent(), [0x15, 3, 1, 0, 2, 2, 70]);
}

#[test]
fn a_server_that_speaks_something_else() {
    for said in [&b"220 mail.test ESMTP\r\n"[..], b"HTTP/1.1 400 Bad Request\r\n", b"\0\0\0\x09"] {
        let mut client = client(Probe::ear(), client_config(rustls::ALL_VERSIONS));
        client.open();
        client.input(said);
        let why = protocol(&client);
        assert!(why.starts_with("the server does not speak TLS; it said"), "{why}");
        assert!(why.contains(&said.escape_ascii().to_string()), "{why}");
        client.gone(Close::Done);
        assert!(probe(&client).seen.is_empty());
    }
}

#[test]
fn an_end_within_the_handshake() {
    let mut client = client(Probe::ear(), client_config(rustls::ALL_VERSIONS));
    client.open();
    client.end();
    assert_eq!(protocol(&client), "the peer ended the connection within the TLS handshake");
    let mut server = lone_server();
    server.end();
    assert_eq!(protocol(&server), "the peer ended the connection within the TLS handshake");
}

#[test]
fn a_handshake_has_ten_seconds_whatever_trickles_in() {
    let mut client = client(Probe::ear(), client_config(rustls::ALL_VERSIONS));
    client.open();
    let hello = client.sent();
    let mut server = lone_server();
    for piece in hello.chunks(1).take(9) {
        server.input(piece);
        server.advance(SECOND);
    }
    assert_eq!(server.close(), None);
    server.advance(SECOND);
    assert_eq!(server.close(), Some(&Close::Idle));
    client.advance(10 * SECOND);
    assert_eq!(client.close(), Some(&Close::Idle));
}

#[test]
fn a_certificate_that_is_not_trusted_is_refused_with_an_alert() {
    let theirs = server(Probe::ear(), server_config(rustls::ALL_VERSIONS));
    let pair = Pair::new(client(Probe::ear(), distrustful_client_config()), theirs).open();
    let why = protocol(&pair.client);
    assert!(why.starts_with("the peer's certificate is not to be trusted: "), "{why}");
    assert_eq!(protocol(&pair.server), "the peer gave up with the TLS alert \"unknown ca\"");
    assert!(probe(&pair.client).seen.is_empty() && probe(&pair.server).seen.is_empty());
}

#[test]
fn a_damaged_record_is_an_alert_and_what_came_before_is_heard() {
    // The minor version of a record is none of them: it must be ignored (RFC 8446 §5.1).
    for at in [0, 1, 3, 4, 5, 20, 40] {
        let mut pair = Pair::usual(Probe::echo()).open();
        pair.client.mail(&Order::Say(b"good".to_vec()));
        let mut bytes = pair.client.sent();
        let good = bytes.len();
        pair.client.mail(&Order::Say(b"what will be damaged".to_vec()));
        bytes.extend(pair.client.sent());
        bytes[good + at] ^= 0x40;
        // A record that seems longer than it is comes to its end.
        bytes.extend([0; 20_000]);
        pair.server.input(&bytes);
        assert_eq!(probe(&pair.server).heard, b"good", "byte {at}");
        let why = protocol(&pair.server);
        assert!(why.contains("TLS"), "byte {at}: {why}");
        let answer = pair.server.sent();
        assert!(!answer.is_empty(), "byte {at}: an alert");
        pair.client.input(&answer);
        assert!(protocol(&pair.client).starts_with("the peer gave up with the TLS alert"), "byte {at}");
        pair.server.gone(Close::Done);
        assert!(!probe(&pair.server).seen.contains(&"End"));
    }
}

#[test]
fn what_follows_a_close_notify_is_ignored() {
    let mut pair = Pair::usual(Probe { finishes: false, ..Probe::ear() }).open();
    pair.client.mail(&Order::Say(b"last".to_vec()));
    pair.client.mail(&Order::Finish);
    let mut bytes = pair.client.sent();
    bytes.extend(b"rubbish");
    pair.server.input(&bytes);
    pair.server.input(b"more of it");
    assert_eq!((pair.server.close(), pair.server.untaken()), (None, 0));
    assert_eq!(probe(&pair.server).heard, b"last");
    assert_eq!(probe(&pair.server).seen.last(), Some(&"End"));
}

#[test]
fn bytes_left_untaken_have_a_limit() {
    let limits = TlsLimits { untaken_bytes_max: 1000, ..TlsLimits::default() };
    let inner = sotong_session::Checked::new(Probe { unit: 5000, ..Probe::ear() });
    let tls = Tls::server(inner, Arc::new(server_config(rustls::ALL_VERSIONS)), limits).expect("a server");
    let side = sotong_session::rig::Rig::stream(sotong_session::Checked::new(tls).with_end_mark());
    let mut pair = Pair::new(client(Probe::ear(), client_config(rustls::ALL_VERSIONS)), side).open();
    pair.say(&[b'x'; 1000]);
    assert_eq!(pair.server.close(), None);
    pair.say(b"x");
    assert_eq!(pair.server.close(), Some(&Close::Limit("untaken_bytes_max")));
}

#[test]
fn early_data_is_never_taken() {
    let mut config = server_config(rustls::ALL_VERSIONS);
    config.max_early_data_size = 1000;
    let refused = Tls::server(Probe::ear(), Arc::new(config), TlsLimits::default());
    assert!(matches!(refused.err(), Some(Close::Fault(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    /// Bytes that were changed, lost, doubled or made up, in the handshake or behind it: a reason or nothing, and no panic.
    #[test]
    fn no_bytes_break_anything_else(
        bug in 0..4,
        at in 0usize..4_000,
        made_up in proptest::collection::vec(any::<u8>(), 1..40),
        to_client: bool,
        size in 1usize..600,
        old: bool,
    ) {
        let versions: &[&rustls::SupportedProtocolVersion] = if old { &[&rustls::version::TLS12] } else { rustls::ALL_VERSIONS };
        let mut pair = Pair::of(Probe::ear(), Probe::echo(), versions);
        pair.server.open();
        pair.client.open();
        let mut count = 0;
        for round in 0..8 {
            pair.client.mail(&Order::Say(vec![b'a' + round; 300]));
            for is_to_client in [false, true] {
                let (from, to) = match is_to_client {
                    true => (&mut pair.server, &mut pair.client),
                    false => (&mut pair.client, &mut pair.server),
                };
                let mut bytes = from.sent();
                if is_to_client == to_client {
                    let here = at.wrapping_sub(count);
                    count += bytes.len();
                    if here < bytes.len() {
                        let len = made_up.len().min(bytes.len() - here);
                        match bug {
                            0 => bytes[here..here + len].copy_from_slice(&made_up[..len]),
                            1 => drop(bytes.drain(here..here + len)),
                            2 => drop(bytes.splice(here..here, made_up.iter().copied())),
                            _ => bytes[here] ^= 1 << (made_up[0] % 8),
                        }
                    }
                }
                for piece in bytes.chunks(size) {
                    to.input(piece);
                }
            }
        }
        for side in [&mut pair.client, &mut pair.server] {
            side.advance(30 * SECOND);
            side.end();
            side.gone(Close::Done);
            let close = side.close().cloned();
            prop_assert!(
                matches!(close, Some(Close::Protocol(_) | Close::Idle | Close::Truncated)),
                "{:?}", close,
            );
            // Nothing that was not said is heard; what was said within the handshake is not.
            let heard = &probe(side).heard;
            let said: Vec<u8> = (0..8).flat_map(|round| vec![b'a' + round; 300]).collect();
            let is_part = heard.is_empty() || said.windows(heard.len()).any(|part| part == heard);
            prop_assert!(is_part, "{:?}", heard);
        }
    }
}

#[test]
fn a_panic_inside_passes_through() {
    let mut pair = Pair::usual(Probe::ear()).open();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pair.say(b"!panic")));
    assert!(caught.is_err());
}
