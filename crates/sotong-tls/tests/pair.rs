//! Both sides of the layer, one against the other.
mod common;

use common::{Order, Pair, Probe, client, client_config, known_client_config, name, probe, server, server_config};
use proptest::prelude::*;
use sotong_classics::ChargenService;
use sotong_session::{Checked, Close, End, Marks, Service, TlsFacts, Way, Wire, rig::Rig};
use sotong_tls::{
    Handshakes, Tls, TlsLimits,
    rustls::{
        self,
        version::{TLS12, TLS13},
    },
};
use std::{sync::Arc, time::Duration};

const SECOND: Duration = Duration::from_secs(1);
const DONE: (Option<Close>, Option<Close>) = (Some(Close::Done), Some(Close::Done));

#[test]
fn an_echo_whole_and_byte_by_byte_in_both_versions() {
    for version in [&TLS12, &TLS13] {
        for size in [1, 2, 3, 7, 100, usize::MAX] {
            let mut pair = Pair::of(Probe::ear(), Probe::echo(), &[version]).cut(move || size).open();
            for text in [&b"one"[..], b"two", &[b'x'; 20_000]] {
                pair.say(text);
            }
            pair.client.mail(&Order::Finish);
            pair.flow();
            assert_eq!(probe(&pair.server).heard, [&b"onetwo"[..], &[b'x'; 20_000]].concat());
            assert_eq!(probe(&pair.client).heard, probe(&pair.server).heard, "pieces of {size}");
            assert_eq!(pair.closes(), DONE);
        }
    }
}

#[test]
fn what_the_handshake_showed() {
    for (version, text) in [(&TLS12, "TLSv1.2"), (&TLS13, "TLSv1.3")] {
        let (mut ours, mut theirs) = (client_config(&[version]), server_config(&[version]));
        ours.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        theirs.alpn_protocols = vec![b"http/1.1".to_vec()];
        let pair = Pair::new(client(Probe::ear(), ours), server(Probe::ear(), theirs)).open();
        let (at_client, at_server) = (probe(&pair.client).facts.clone(), probe(&pair.server).facts.clone());
        let at_server = at_server.expect("the server's session is open");
        assert_eq!(at_server.server_name.as_deref(), Some("sotong.test"));
        assert_eq!(at_server.alpn.as_deref(), Some(&b"http/1.1"[..]));
        assert_eq!((at_server.version, at_server.resumed), (text, false));
        assert!(at_server.cipher_suite.starts_with("TLS_"), "{}", at_server.cipher_suite);
        assert_eq!(at_server.group, "X25519");
        assert!(at_server.peer_chain.is_empty());
        let at_client = at_client.expect("the client's session is open");
        assert_eq!(at_client.peer_chain, [Box::from(&*common::certificate())]);
        assert_eq!(TlsFacts { peer_chain: Vec::new(), ..at_client }, at_server);
    }
}

#[test]
fn a_client_shows_who_it_is() {
    let theirs = server(Probe::ear(), common::demanding_server_config());
    let pair = Pair::new(client(Probe::ear(), known_client_config()), theirs).open();
    let facts = probe(&pair.server).facts.clone().expect("the server's session is open");
    assert_eq!(facts.peer_chain, [Box::from(&*common::certificate())]);
    // One without is told so.
    let theirs = server(Probe::ear(), common::demanding_server_config());
    let pair = Pair::new(client(Probe::ear(), client_config(rustls::ALL_VERSIONS)), theirs).open();
    assert_eq!(pair.server.close(), Some(&Close::Protocol("the peer showed no certificate".into())));
    let told = "the peer gave up with the TLS alert \"certificate required\"";
    assert_eq!(pair.client.close(), Some(&Close::Protocol(told.into())));
}

#[test]
fn a_session_is_resumed() {
    for version in [&TLS12, &TLS13] {
        let (ours, theirs) = (Arc::new(client_config(&[version])), Arc::new(server_config(&[version])));
        let mut resumed = Vec::new();
        for _ in 0..2 {
            let limits = TlsLimits::default();
            let ours = Tls::client(Checked::new(Probe::ear()), ours.clone(), name("sotong.test"), limits);
            let theirs = Tls::server(Checked::new(Probe::echo()), theirs.clone(), limits);
            let ours = Rig::stream(Checked::new(ours.expect("a client")).with_end_mark());
            let theirs = Rig::stream(Checked::new(theirs.expect("a server")).with_end_mark());
            let mut pair = Pair::new(ours.at(sotong_session::Address { shard: 0, slot: 1, turn: 0 }), theirs).open();
            pair.say(b"hello");
            assert_eq!(probe(&pair.client).heard, b"hello");
            resumed.push(probe(&pair.server).facts.clone().expect("open").resumed);
        }
        assert_eq!(resumed, [false, true]);
    }
}

#[test]
fn a_half_close_leaves_the_other_direction_open() {
    let mut pair = Pair::usual(Probe { finishes: false, ..Probe::ear() }).open();
    pair.say(b"question");
    pair.client.mail(&Order::Finish);
    pair.flow();
    assert_eq!(probe(&pair.server).seen.last(), Some(&"End"));
    assert!(!pair.client.is_finished(), "close_notify is no FIN");
    pair.client.advance(9 * SECOND);
    for part in [&b"slow "[..], b"answer"] {
        pair.server.mail(&Order::Say(part.to_vec()));
        pair.flow();
        // Each word gives it its time anew.
        pair.client.advance(9 * SECOND);
    }
    assert_eq!(probe(&pair.client).heard, b"slow answer");
    assert_eq!(pair.closes(), (None, None));
    pair.server.mail(&Order::Finish);
    pair.flow();
    assert_eq!(pair.closes(), DONE);
    pair.client.gone(Close::Done);
    assert_eq!(probe(&pair.client).seen[..2], ["Open", "Mail"]);
    assert_eq!(probe(&pair.client).seen[probe(&pair.client).seen.len() - 2..], ["End", "Gone"]);
}

#[test]
fn a_peer_that_never_says_its_end_is_left() {
    let mut pair = Pair::usual(Probe { finishes: false, ..Probe::ear() }).open();
    pair.client.mail(&Order::Finish);
    pair.client.advance(20 * SECOND);
    assert_eq!(pair.client.close(), None, "our end mark has not been read yet: the driver minds that");
    pair.flow();
    pair.client.advance(10 * SECOND);
    assert_eq!(pair.client.close(), Some(&Close::Idle));
}

#[test]
fn a_stream_that_just_ends_is_truncated() {
    let mut pair = Pair::usual(Probe::echo()).open();
    pair.say(b"half a wo");
    pair.server.end();
    assert_eq!(pair.server.close(), Some(&Close::Truncated));
    assert_eq!(pair.server.sent(), b"", "nothing says that all was said");
    pair.server.gone(Close::Done);
    assert_eq!(probe(&pair.server).gone, Some(Close::Truncated));
    assert!(!probe(&pair.server).seen.contains(&"End"));
    // Behind the close_notify it is the usual end.
    let mut pair = Pair::usual(Probe { finishes: false, ..Probe::ear() }).open();
    pair.client.mail(&Order::Finish);
    pair.flow();
    pair.server.end();
    assert_eq!(pair.server.close(), None);
    pair.server.mail(&Order::Say(b"late".to_vec()));
    pair.flow();
    assert_eq!(probe(&pair.client).heard, b"late");
}

#[test]
fn who_takes_nothing_has_nothing_decrypted() {
    for size in [1, 1000, usize::MAX] {
        let mut pair = Pair::usual(Probe { gated: true, ..Probe::ear() }).cut(move || size).open();
        pair.say(&[b'a'; 40_000]);
        pair.say(b"the rest");
        pair.client.mail(&Order::Finish);
        pair.flow();
        assert!(pair.server.untaken() > 40_000, "the driver keeps it");
        assert_eq!(probe(&pair.server).shown, 0);
        pair.server.mail(&Order::OpenGate);
        assert_eq!(probe(&pair.server).heard, [&[b'a'; 40_000][..], b"the rest"].concat());
        pair.flow();
        assert_eq!(pair.closes(), DONE);
    }
}

#[test]
fn a_full_output_stops_the_decryption() {
    let marks = Marks { low: 100, high: 1000, hard: 1 << 20 };
    let mut pair = Pair::usual(Probe::echo()).open();
    pair.server = pair.server.with_marks(marks);
    let text: Vec<u8> = (0..100_000u32).map(|at| (at % 251) as u8).collect();
    pair.client.mail(&Order::Say(text.clone()));
    while pair.carry(false) {}
    assert!(pair.server.queued() < 70_000, "{}", pair.server.queued());
    assert!(pair.server.untaken() > 0, "what waits is ciphertext");
    pair.client.mail(&Order::Finish);
    pair.flow();
    assert_eq!(probe(&pair.client).heard, text);
    assert_eq!(pair.closes(), DONE);
}

#[test]
fn units_that_are_not_whole_are_shown_again_with_more() {
    for size in [1, 5, usize::MAX] {
        let mut pair = Pair::usual(Probe { unit: 10, ..Probe::echo() }).cut(move || size).open();
        for word in [&b"0123"[..], b"456789abc", b"defghij0123"] {
            pair.say(word);
        }
        assert_eq!(probe(&pair.client).heard, b"0123456789abcdefghij");
        pair.client.mail(&Order::Finish);
        pair.flow();
        assert_eq!(pair.closes(), DONE);
    }
}

#[test]
fn small_words_of_one_turn_travel_together() {
    let mut pair = Pair::usual(Probe::echo()).open();
    let words: Vec<u8> = (0..500).flat_map(|_| *b"x").collect();
    for word in words.chunks(1) {
        pair.client.mail(&Order::Say(word.to_vec()));
    }
    let bytes = pair.client.sent();
    assert_eq!(bytes.len(), 500 * (1 + 22), "a record each: each was its own event");
    pair.server.input(&bytes);
    assert_eq!(probe(&pair.server).shown, 1, "the records of one receive are shown in one piece");
    assert_eq!(pair.server.sent().len(), 500 + 22, "and answered in one record");
}

#[test]
fn large_records_are_full() {
    let mut pair = Pair::usual(Probe::ear()).open();
    pair.client.mail(&Order::Say(vec![b'x'; 64 << 10]));
    assert_eq!(pair.client.queued(), (64 << 10) + 4 * 22);
}

#[test]
fn tickets_in_many_small_records() {
    for size in [1, 50, usize::MAX] {
        let mut theirs = server_config(&[&TLS13]);
        theirs.max_fragment_size = Some(40);
        let pair = Pair::new(client(Probe::ear(), client_config(&[&TLS13])), server(Probe::echo(), theirs));
        let mut pair = pair.cut(move || size).open();
        pair.say(b"a word that does not fit into one record of forty bytes");
        assert_eq!(probe(&pair.client).heard, b"a word that does not fit into one record of forty bytes");
        pair.client.mail(&Order::Finish);
        pair.flow();
        assert_eq!(pair.closes(), DONE);
    }
}

#[test]
fn a_farewell_and_the_server_leaving() {
    let mut pair = Pair::usual(Probe::ear()).open();
    pair.say(b"!fail");
    assert_eq!(pair.server.close(), Some(&Close::Protocol("fail".into())));
    assert_eq!(probe(&pair.client).heard, b"farewell");
    assert_eq!(pair.client.close(), Some(&Close::Done), "with the end mark behind it");

    let mut pair = Pair::usual(Probe::ear()).open();
    pair.server.stop();
    pair.flow();
    assert_eq!((pair.server.close(), &*probe(&pair.client).heard), (Some(&Close::Stop), &b"bye"[..]));
    assert_eq!(pair.client.close(), Some(&Close::Done));

    // Within the handshake nobody is inside who could say anything.
    let mut pair = Pair::usual(Probe::ear());
    pair.server.open();
    pair.client.open();
    pair.carry(false);
    pair.server.stop();
    pair.server.gone(Close::Stop);
    assert_eq!(pair.server.close(), Some(&Close::Stop));
    assert!(probe(&pair.server).seen.is_empty());
}

#[test]
fn an_output_past_its_hard_mark_is_no_clean_end() {
    let marks = Marks { low: 10, high: 100, hard: 10_000 };
    let mut pair = Pair::usual(Probe::ear()).open();
    pair.server = pair.server.with_marks(marks);
    pair.server.mail(&Order::Say(vec![b'x'; 9_000]));
    pair.server.mail(&Order::Say(vec![b'y'; 9_000]));
    assert_eq!(pair.server.close(), Some(&Close::Slow));
    pair.flow();
    assert_eq!(probe(&pair.client).heard, [b'x'; 9_000]);
    assert_eq!(pair.client.close(), Some(&Close::Truncated));
}

#[test]
fn mail_and_deadlines_are_the_inner_sessions() {
    let mut pair = Pair::usual(Probe::ear());
    pair.server.open();
    pair.client.open();
    pair.client.mail(&Order::Say(b"too early".to_vec()));
    pair.flow();
    assert!(!probe(&pair.client).seen.contains(&"Mail"), "nobody is inside yet");
    pair.server.mail(&Order::Alarm(5));
    pair.server.advance(4 * SECOND);
    assert!(!probe(&pair.server).seen.contains(&"Deadline"));
    pair.server.advance(20 * SECOND);
    pair.flow();
    assert_eq!(probe(&pair.client).heard, b"ring");
    assert_eq!(pair.closes(), (None, None), "a handshake's time limit is over with it");
}

#[test]
fn a_greeting_and_independent_directions() {
    let mut pair = Pair::usual(Probe { greeting: b"hello", ..Probe::ear() });
    pair.client = pair.client.with_marks(Marks { low: 1, high: 10, hard: 1 << 20 });
    let mut pair = pair.open();
    assert_eq!(probe(&pair.client).heard, b"hello");
    // Its own output is full, and it hears all the same.
    pair.client.mail(&Order::Say(vec![b'x'; 1000]));
    pair.server.mail(&Order::Say(vec![b'y'; 50_000]));
    while pair.carry(true) {}
    assert_eq!(probe(&pair.client).heard.len(), 50_005);
}

/// Its output is full by the weight of references, which TLS makes bytes of.
#[test]
fn an_output_that_was_full_is_filled_again() {
    let way = Way::new(End::Pipe, End::Pipe, Wire::Stream);
    for (low, high) in [(16, 64), (100, 1000), (16 << 10, 64 << 10)] {
        let inner = Checked::new(ChargenService.open(&way).expect("a session"));
        let tls = Tls::server(inner, Arc::new(server_config(&[&TLS13])), TlsLimits::default()).expect("a server");
        let mut chargen = Rig::stream(Checked::new(tls).with_end_mark()).with_marks(Marks { low, high, hard: 1 << 20 });
        let mut ear = client(Probe::ear(), client_config(&[&TLS13]));
        chargen.open();
        ear.open();
        while probe(&ear).heard.len() < 4 * high {
            chargen.input(&ear.sent());
            let more = chargen.sent_some(usize::MAX);
            assert!(!more.is_empty() || probe(&ear).heard.is_empty(), "nobody fills it again");
            ear.input(&more);
        }
        let heard = &probe(&ear).heard;
        assert_eq!(heard[..10], *b" !\"#$%&'()");
    }
}

#[test]
fn an_idle_connection_keeps_no_buffers() {
    let mut pair = Pair::usual(Probe::echo()).open();
    pair.say(&[b'x'; 100_000]);
    assert_eq!(probe(&pair.client).heard.len(), 100_000);
    for side in [&pair.client, &pair.server] {
        assert_eq!(side.session().inner().buffered(), 0);
    }
    // An unfinished record is kept, and nothing else.
    pair.client.mail(&Order::Say(vec![b'x'; 100]));
    let bytes = pair.client.sent();
    pair.server.input(&bytes[..50]);
    assert!((50..=128).contains(&pair.server.session().inner().buffered()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_byte_comes_back_once_in_order(
        words in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..3_000), 0..12),
        pieces in proptest::collection::vec(1usize..2_000, 1..20),
        unit in 1usize..5,
        high in 20usize..2_000,
        old: bool,
    ) {
        let versions = if old { [&TLS12] } else { [&TLS13] };
        let mut at = 0;
        let marks = Marks { low: high / 4, high, hard: 1 << 20 };
        let mut pair = Pair::of(Probe::ear(), Probe { unit, ..Probe::echo() }, &versions);
        pair.client = pair.client.with_marks(marks);
        pair.server = pair.server.with_marks(marks);
        let mut pair = pair.cut(move || { at += 1; pieces[at % pieces.len()] }).open();
        let mut all = words.concat();
        all.truncate(all.len() / unit * unit);
        for (number, word) in words.iter().enumerate() {
            pair.client.mail(&Order::Say(word.clone()));
            if number % 3 == 0 {
                pair.flow();
            }
        }
        pair.client.mail(&Order::Finish);
        pair.flow();
        prop_assert_eq!(&probe(&pair.client).heard, &all);
        prop_assert_eq!(pair.closes(), DONE);
    }
}

/// A server whose handshakes are counted.
fn counted(handshakes: &Handshakes) -> common::Side {
    let config = Arc::new(server_config(&[&TLS13]));
    let tls =
        Tls::server(Checked::new(Probe::echo()), config, TlsLimits::default()).expect("a configuration that works");
    Rig::stream(Checked::new(tls.counted_by(handshakes)).with_end_mark())
}

#[test]
fn who_finds_no_place_among_the_handshakes_waits_for_one() {
    let handshakes = Handshakes::new(1);
    let ours = || client(Probe::ear(), client_config(&[&TLS13]));
    let mut first = Pair::new(ours(), counted(&handshakes));
    let mut second = Pair::new(ours(), counted(&handshakes));
    for pair in [&mut first, &mut second] {
        pair.server.open();
        pair.client.open();
    }
    first.carry(false);
    assert_eq!((handshakes.under_way(), handshakes.waited()), (1, 0));
    second.carry(false);
    assert!(second.server.sent().is_empty() && !second.server.takes(), "it waits, and is not read meanwhile");
    for _ in 0..3 {
        second.server.advance(Duration::from_millis(100));
    }
    assert!(second.server.sent().is_empty());
    assert_eq!((handshakes.under_way(), handshakes.waited()), (1, 1), "one that waits is counted once");
    first.flow();
    first.say(b"one");
    assert_eq!((probe(&first.client).heard.as_slice(), handshakes.under_way()), (&b"one"[..], 0));
    second.server.advance(Duration::from_millis(100));
    second.flow();
    second.say(b"two");
    assert_eq!(probe(&second.client).heard, b"two");
    assert_eq!(handshakes.under_way(), 0);
}

#[test]
fn a_place_among_the_handshakes_is_free_again_however_one_ends() {
    let handshakes = Handshakes::new(1);
    let mut first = Pair::new(client(Probe::ear(), client_config(&[&TLS13])), counted(&handshakes));
    first.server.open();
    first.client.open();
    first.carry(false);
    let mut late = Pair::new(client(Probe::ear(), client_config(&[&TLS13])), counted(&handshakes));
    late.server.open();
    late.client.open();
    late.carry(false);
    late.server.advance(10 * SECOND);
    assert_eq!(late.server.close(), Some(&Close::Idle), "its time is up, waiting or not");
    assert_eq!(handshakes.under_way(), 1);
    drop(first);
    assert_eq!(handshakes.under_way(), 0);
}
