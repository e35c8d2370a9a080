//! Messages, ends, limits.
use crate::common::{End, Order, Pair, Probe, SECOND, asked, client, closing, frame, options, probe, server, text};
use proptest::prelude::*;
use sotong_http::ws::{Breach, Code, Kind, NOT_TEXT, Opcode, ServerOptions, Speech, WsLimits};
use sotong_session::{Close, Marks};

const DONE: (Option<Close>, Option<Close>) = (Some(Close::Done), Some(Close::Done));

#[test]
fn an_echo_whole_and_byte_by_byte_plain_and_compressed() {
    for deflate in [false, true] {
        for size in [1, 2, 3, 7, 100, usize::MAX] {
            let (mut ours, theirs) = (options(), ServerOptions { deflate, ..ServerOptions::default() });
            ours.deflate = deflate;
            let ends = (client(Probe::ear(), ours), server(Probe::echo(), theirs));
            let mut pair = Pair::new(ends.0, ends.1).cut(move || size).open();
            let messages = [&b"one"[..], b"", "둘".as_bytes(), &[0xff; 300], &[b'x'; 20_000], &[b'y'; 65_536]];
            for message in messages {
                pair.say(message);
            }
            pair.client.mail(&Order::Finish);
            pair.flow();
            assert_eq!(probe(&pair.server).heard, messages);
            assert_eq!(probe(&pair.client).heard, messages, "pieces of {size}");
            assert_eq!(pair.closes(), DONE);
            assert!(pair.client.session().inner().buffered() <= 1024);
        }
    }
}

#[test]
fn an_answer_is_of_the_kind_that_was_heard() {
    let mut end = asked(Probe::echo());
    end.input(&frame(Opcode::Binary, true, b"a"));
    end.input(&text(b"b"));
    end.input(&frame(Opcode::Binary, true, &[0xff]));
    assert_eq!(end.sent(), b"\x82\x01a\x81\x01b\x82\x01\xff");
    end.mail(&Order::Say(b"c".to_vec()));
    end.input(&text(b"d"));
    end.mail(&Order::Say(vec![0xff]));
    end.mail(&Order::Share(vec![b'x'; 600].into()));
    let long = [&[0x81, 126, 2, 88][..], &[b'x'; 600]].concat();
    assert_eq!(end.sent(), [&b"\x82\x01c\x81\x01d\x82\x01\xff"[..], &long].concat());
}

#[test]
fn who_speaks_text_takes_no_other() {
    for (speech, wrong, right, sent) in [
        (Speech::TEXT, Opcode::Binary, Opcode::Text, &b"\x81\x02hi"[..]),
        (Speech::BINARY, Opcode::Text, Opcode::Binary, b"\x82\x02hi"),
    ] {
        let mut end = server(Probe::echo(), ServerOptions { speech, ..ServerOptions::default() });
        end.open();
        end.input(crate::common::REQUEST.as_bytes());
        end.sent();
        end.input(&frame(right, true, b"hi"));
        assert_eq!(end.sent(), sent);
        end.input(&frame(wrong, true, b"hi"));
        assert_eq!(end.sent(), closing(1003, &Breach::Kind.to_string()));
        assert!(matches!(end.close(), Some(Close::Protocol(_))));
    }
}

#[test]
fn a_record_in_parts_is_a_message_in_fragments() {
    let mut end = asked(Probe::ear());
    end.mail(&Order::Begin("소".into()));
    end.input(&frame(Opcode::Ping, true, b"?"));
    end.mail(&Order::Say("통".into()));
    end.mail(&Order::Begin(b"rest".to_vec()));
    end.mail(&Order::Finish);
    let expect =
        [&b"\x02\x03"[..], "소".as_bytes(), b"\x8a\x01?\x80\x03", "통".as_bytes(), b"\x02\x04rest\x88\x02\x03\xe8"];
    assert_eq!(end.sent(), expect.concat());
}

#[test]
fn a_client_sends_no_text_that_is_none() {
    let mut ours = options();
    ours.speech = Speech { says: Some(Kind::Text), takes: None };
    let mut pair = Pair::new(client(Probe::ear(), ours), server(Probe::echo(), ServerOptions::default())).open();
    let (begin, end) = "소통".as_bytes().split_at(4);
    pair.client.mail(&Order::Begin(begin.to_vec()));
    pair.flow();
    pair.say(end);
    assert_eq!(probe(&pair.client).heard, ["소통".as_bytes()]);
    pair.say(&begin[..2]);
    assert_eq!(probe(&pair.server).heard.len(), 1);
    assert_eq!(pair.closes(), (Some(Close::Protocol(NOT_TEXT.into())), Some(Close::Done)));
}

#[test]
fn pings_are_answered_and_a_flood_of_them_is_no_queue() {
    let mut end = asked(Probe::ear()).with_marks(Marks { low: 50, high: 100, hard: 400 });
    end.input(
        &[frame(Opcode::Ping, true, b""), frame(Opcode::Ping, true, &[7; 125]), frame(Opcode::Pong, true, b"x")]
            .concat(),
    );
    assert_eq!(end.sent(), [&[0x8a, 0, 0x8a, 125][..], &[7; 125]].concat());
    for number in 0..100_u8 {
        end.input(&frame(Opcode::Ping, true, &[number; 20]));
    }
    assert_eq!(end.close(), None, "never past the hard mark");
    let sent = end.sent();
    assert!(
        sent.len() < 200 && sent.ends_with(&[&[0x8a, 20][..], &[99; 20]].concat()),
        "the last one counts: {sent:?}"
    );
}

#[test]
fn ends_of_either_side() {
    // Ours first: what the peer still says is heard.
    let mut pair = Pair::usual(Probe::ear(), Probe { finishes: false, ..Probe::ear() }).open();
    pair.client.mail(&Order::Finish);
    pair.flow();
    assert_eq!(probe(&pair.server).seen.last(), Some(&"End"));
    pair.server.mail(&Order::Say(b"late".to_vec()));
    pair.flow();
    assert_eq!(probe(&pair.client).heard, [b"late"]);
    assert_eq!(pair.closes(), (None, None));
    pair.server.mail(&Order::Finish);
    pair.flow();
    assert_eq!(pair.closes(), DONE);
    // The peer's code goes back to it.
    for (code, close) in [
        (None, Close::Done),
        (Some(1000), Close::Done),
        (Some(1001), Close::Done),
        (Some(1008), Close::Protocol("WebSocket: the peer closed with 1008: \"why\"".into())),
        (Some(4321), Close::Protocol("WebSocket: the peer closed with 4321: \"why\"".into())),
    ] {
        let payload = code.map_or(Vec::new(), |code: u16| [&code.to_be_bytes()[..], b"why"].concat());
        let mut end = asked(Probe::echo());
        end.input(&[text(b"last"), frame(Opcode::Close, true, &payload), text(b"after"), vec![0xff; 9]].concat());
        let answer = code.map_or(vec![0x88, 0], |code| closing(code, ""));
        assert_eq!(end.sent(), [b"\x81\x04last", answer.as_slice()].concat());
        assert_eq!(end.close(), Some(&close));
        assert_eq!(probe(&end).heard, [b"last"]);
    }
}

#[test]
fn a_client_waits_until_the_server_ends_the_connection() {
    for is_slow in [false, true] {
        let mut pair = Pair::usual(Probe::ear(), Probe::ear()).open();
        pair.client.mail(&Order::Finish);
        pair.carry(false);
        let answer = pair.server.sent();
        assert_eq!(answer, closing(1000, ""));
        assert_eq!(pair.server.close(), Some(&Close::Done), "the server ends it");
        pair.client.input(&answer);
        assert_eq!(pair.client.close(), None);
        if is_slow {
            pair.client.input(b"rubbish behind the end");
            pair.client.advance(10 * SECOND);
        } else {
            pair.client.end();
        }
        assert_eq!(pair.client.close(), Some(&Close::Done), "or its time is over");
    }
}

#[test]
fn a_complaint_is_not_lost_where_the_session_is_done() {
    let mut end = asked(Probe { finishes: false, ..Probe::ear() });
    end.input(&frame(Opcode::Close, true, b"\x03\xf1"));
    end.mail(&Order::Leave(Close::Done));
    assert_eq!(end.close(), Some(&Close::Protocol("WebSocket: the peer closed with 1009".into())));
}

#[test]
fn a_close_has_its_time() {
    let mut end = asked(Probe::ear());
    end.mail(&Order::Finish);
    end.mail(&Order::Say(b"nothing follows a Close frame".to_vec()));
    end.advance(20 * SECOND);
    assert_eq!(end.close(), None, "our Close frame has not been read: the driver minds that");
    assert_eq!(end.sent(), closing(1000, ""));
    for _ in 0..9 {
        end.input(&text(b"still here"));
        end.advance(SECOND);
    }
    assert_eq!(end.close(), None);
    end.advance(SECOND);
    assert_eq!(end.close(), Some(&Close::Idle), "absolute: words put nothing off");
    // A session that does not come to its end.
    let mut end = asked(Probe { finishes: false, ..Probe::ear() });
    end.input(&frame(Opcode::Close, true, &[3, 0xe9]));
    end.advance(10 * SECOND);
    assert_eq!(end.sent(), closing(1001, ""));
    assert_eq!(end.close(), Some(&Close::Idle));
}

#[test]
fn a_stream_that_just_ends_is_truncated() {
    let mut pair = Pair::usual(Probe::ear(), Probe::echo()).open();
    pair.say(b"hello");
    pair.server.end();
    assert_eq!(pair.server.close(), Some(&Close::Truncated));
    pair.server.gone(Close::Done);
    assert_eq!(probe(&pair.server).gone, Some(Close::Truncated));
    let mut early = client(Probe::ear(), options());
    early.open();
    early.end();
    assert!(matches!(early.close(), Some(Close::Protocol(_))));
}

#[test]
fn every_reason_has_its_code() {
    for (close, code, reason) in [
        (Close::Done, 1000, ""),
        (Close::Stop, 1001, "the server stops"),
        (Close::Idle, 1008, "idle"),
        (Close::Limit("line_bytes_max"), 1008, "line_bytes_max"),
        (Close::Protocol("no such nick".into()), 1008, "no such nick"),
    ] {
        let mut end = asked(Probe::ear());
        end.mail(&Order::Leave(close.clone()));
        assert_eq!(end.sent(), closing(code, reason));
        assert_eq!(end.close(), Some(&close));
    }
    // Of those nothing is sent.
    for close in [Close::Slow, Close::Reset, Close::Fault("x")] {
        let mut end = asked(Probe::ear());
        end.mail(&Order::Leave(close));
        assert_eq!(end.sent(), b"");
    }
    assert_eq!(Code::of(&Close::Fault("x")).0, Code::FAULT);
    let mut long = asked(Probe::ear());
    long.mail(&Order::Leave(Close::Protocol("가".repeat(100).into())));
    assert_eq!(long.sent(), closing(1008, &"가".repeat(41)), "cut between characters");
    let mut end = asked(Probe::ear());
    end.stop();
    assert_eq!(end.sent(), [b"\x81\x03bye", closing(1001, "the server stops").as_slice()].concat());
    let mut end = asked(Probe::echo());
    end.input(&text(b"!fail"));
    assert_eq!(end.sent(), [b"\x81\x08farewell", closing(1008, "asked to").as_slice()].concat());
}

#[test]
fn every_breach_is_told_and_what_came_before_it_is_heard() {
    let long = [&[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 1][..], &[0; 4]].concat();
    let many = [frame(Opcode::Text, false, b"a"), frame(Opcode::Continuation, false, b"").repeat(128)].concat();
    for (bytes, code, breach) in [
        (b"\x81\x01a".to_vec(), 1002, Breach::Unmasked),
        (vec![0xf1], 1002, Breach::ReservedBit),
        (text(&[0xc0]), 1007, Breach::Utf8),
        (long, 1009, Breach::TooLong),
        (many, 1008, Breach::Fragments),
        (frame(Opcode::Close, true, &[3, 0xed]), 1002, Breach::CloseCode),
    ] {
        for size in [1, usize::MAX] {
            let mut end = asked(Probe::echo());
            let bytes = [text(b"before"), bytes.clone(), text(b"after")].concat();
            bytes.chunks(size.min(bytes.len())).for_each(|piece| end.input(piece));
            assert_eq!(end.sent(), [b"\x81\x06before", closing(code, &breach.to_string()).as_slice()].concat());
            assert_eq!(end.close(), Some(&breach.close()));
            assert_eq!(probe(&end).heard, [b"before"]);
        }
    }
}

#[test]
fn who_takes_nothing_is_shown_nothing() {
    for size in [1, 1000, usize::MAX] {
        let mut pair = Pair::usual(Probe::ear(), Probe { gated: true, ..Probe::ear() }).cut(move || size).open();
        pair.say(&[b'a'; 40_000]);
        pair.say(b"the rest");
        pair.client.mail(&Order::Finish);
        pair.flow();
        assert!(pair.server.untaken() > 40_000, "the driver keeps it");
        assert!(probe(&pair.server).heard.is_empty());
        pair.server.mail(&Order::OpenGate);
        pair.flow();
        assert_eq!(probe(&pair.server).heard, [&[b'a'; 40_000][..], b"the rest"]);
        assert_eq!(pair.closes(), DONE);
    }
}

#[test]
fn no_message_is_shown_while_the_output_is_full() {
    let mut end = asked(Probe::echo()).with_marks(Marks { low: 8, high: 32, hard: 1000 });
    let messages: Vec<u8> = (0..40).flat_map(|number| text(format!("message {number}").as_bytes())).collect();
    end.input(&messages);
    end.input(&frame(Opcode::Close, true, b""));
    assert!(end.queued() < 32 + 13 && end.untaken() > 500);
    let mut sent = Vec::new();
    while end.queued() > 0 {
        sent.extend(end.sent_some(5));
    }
    assert_eq!(sent.len(), messages.len() - 40 * 4 + 2, "masks are left out, and a Close is added");
    assert_eq!(end.close(), Some(&Close::Done));
}

#[test]
fn mail_passes_a_full_output_and_who_reads_too_little_is_slow() {
    let mut end = asked(Probe::echo()).with_marks(Marks { low: 4, high: 16, hard: 200 });
    end.input(&text(&[b'x'; 20]));
    end.mail(&Order::Say(b"mail".to_vec()));
    assert_eq!(end.sent(), [&[0x81, 20][..], &[b'x'; 20], b"\x81\x04mail"].concat());
    for _ in 0..30 {
        end.mail(&Order::Say(b"123456".to_vec()));
    }
    assert_eq!(end.close(), Some(&Close::Slow));
}

#[test]
fn who_speaks_without_being_asked_goes_on_when_there_is_room() {
    for high in [200, 1000, 5000] {
        let chatter = Probe { chatter: 50, ..Probe::ear() };
        let mut end =
            server(chatter, ServerOptions::default()).with_marks(Marks { low: high / 4, high, hard: 100_000 });
        end.open();
        end.input(crate::common::REQUEST.as_bytes());
        let mut sent = Vec::new();
        while end.queued() > 0 {
            assert!(end.queued() <= high + 400);
            sent.extend(end.sent_some(70));
        }
        let head = sent.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        assert_eq!(sent[head..], [&[0x81, 100][..], &[b'c'; 100]].concat().repeat(50));
    }
}

#[test]
fn deadlines_are_the_sessions_own() {
    let mut end = asked(Probe::ear());
    end.mail(&Order::Alarm(3));
    end.advance(5 * SECOND);
    assert_eq!(end.sent(), b"\x81\x04ring");
    end.mail(&Order::Alarm(20));
    end.mail(&Order::Finish);
    end.sent();
    end.advance(10 * SECOND);
    assert_eq!(end.close(), Some(&Close::Idle));
    assert_eq!(probe(&end).seen.iter().filter(|name| **name == "Deadline").count(), 1);
}

#[test]
fn a_clients_frames_are_masked_each_by_another_key() {
    let mut pair = Pair::usual(Probe::ear(), Probe::ear()).open();
    for message in [vec![b'a'; 30], vec![b'a'; 30]] {
        pair.client.mail(&Order::Say(message));
    }
    let sent = pair.client.sent();
    let (first, second) = sent.split_at(sent.len() / 2);
    assert_eq!((first[0], first[1]), (0x81, 0x80 | 30));
    assert!(first[2..6] != second[2..6] && first[6..] != [b'a'; 30], "{sent:x?}");
}

#[test]
fn bombs_are_refused_where_compression_is_spoken() {
    let (mut ours, mut theirs) = (options(), ServerOptions { deflate: true, ..ServerOptions::default() });
    ours.deflate = true;
    theirs.limits = WsLimits { message_bytes_max: 1000, ..WsLimits::default() };
    let mut pair = Pair::new(client(Probe::ear(), ours), server(Probe::ear(), theirs)).open();
    pair.client.mail(&Order::Say(vec![b'x'; 1000]));
    assert!(pair.client.queued() < 100, "it is compressed");
    pair.flow();
    pair.say(&[b'x'; 1001]);
    assert_eq!(probe(&pair.server).heard.len(), 1);
    assert_eq!(pair.server.close(), Some(&Close::Limit("message_bytes_max")));
    let told = "WebSocket: the peer closed with 1009: \"a message that is too long\"";
    assert_eq!(pair.client.close(), Some(&Close::Protocol(told.into())));
    // Not where it is not.
    let mut ours = options();
    ours.deflate = true;
    let mut pair = Pair::new(client(Probe::ear(), ours), server(Probe::echo(), ServerOptions::default())).open();
    pair.say(&[b'x'; 1000]);
    assert_eq!(probe(&pair.client).heard, [[b'x'; 1000]]);
}

/// Everything a peer may send, in one connection.
fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let opcodes = [Opcode::Text, Opcode::Binary, Opcode::Continuation, Opcode::Ping, Opcode::Close];
    let piece = (0usize..5, any::<bool>(), proptest::collection::vec(any::<u8>(), 0..40))
        .prop_map(move |(at, fin, bytes)| frame(opcodes[at], fin || at > 2, if at == 4 { &[] } else { &bytes }));
    proptest::collection::vec(prop_oneof![8 => piece, 1 => proptest::collection::vec(any::<u8>(), 0..20)], 0..12)
        .prop_map(|pieces| pieces.concat())
}

fn run(end: &mut End, bytes: &[u8], size: usize) -> Vec<u8> {
    let mut sent = Vec::new();
    for piece in bytes.chunks(size) {
        end.input(piece);
        sent.extend(end.sent());
    }
    end.end();
    sent.extend(end.sent());
    sent
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_are_answered_the_same(bytes in any_bytes(), size in 1usize..30) {
        let (mut whole, mut pieces) = (asked(Probe::echo()), asked(Probe::echo()));
        let sent = run(&mut whole, &bytes, usize::MAX);
        prop_assert_eq!(&run(&mut pieces, &bytes, size), &sent);
        prop_assert!(whole.close().is_some());
        prop_assert_eq!(whole.close(), pieces.close());
        prop_assert_eq!(&probe(&whole).heard, &probe(&pieces).heard);
    }
    #[test]
    fn everything_comes_back_in_order_through_narrow_places(
        messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..20),
        size in 1usize..40,
        high in 8usize..200,
        deflate: bool,
    ) {
        let (mut ours, theirs) = (options(), ServerOptions { deflate, ..ServerOptions::default() });
        ours.deflate = deflate;
        let marks = Marks { low: high / 4, high, hard: 1 << 20 };
        let ends = (client(Probe::ear(), ours).with_marks(marks), server(Probe::echo(), theirs).with_marks(marks));
        let mut pair = Pair::new(ends.0, ends.1).cut(move || size).open();
        for message in &messages {
            pair.client.mail(&Order::Say(message.clone()));
        }
        pair.client.mail(&Order::Finish);
        pair.flow();
        prop_assert_eq!(&probe(&pair.client).heard, &messages);
        prop_assert_eq!(pair.closes(), DONE);
    }
}
