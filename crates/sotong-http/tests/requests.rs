//! Requests as they should be, as they should not, and as attackers send them: each with the answer it must get, however the
//! bytes are cut.
mod common;

use common::{answers, cuts, echo, play};
use sotong_http::HttpLimits;
use sotong_session::Close;
use std::time::Duration;

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// It is kept.
    Kept,
    /// It is closed behind the last answer: what follows is read by nobody.
    Closed,
}
use Then::{Closed, Kept};

#[track_caller]
fn check(input: &[u8], statuses: &[u16], then: Then) {
    let shown = String::from_utf8_lossy(&input[..input.len().min(300)]).into_owned();
    let mut transcripts = Vec::new();
    for how in 0..10 {
        let (sent, close) = match how {
            0 => play(echo(), input, || usize::MAX),
            1 => play(echo(), input, || 1),
            seed => play(echo(), input, cuts(seed, 40)),
        };
        let got: Vec<_> = answers(&sent, &[]).into_iter().map(|answer| answer.status).collect();
        assert_eq!(got, statuses, "{shown:?}, cut {how}");
        let is = if close.is_some() { Closed } else { Kept };
        assert_eq!(is, then, "{shown:?}, cut {how}: {close:?}");
        transcripts.push(sent);
    }
    transcripts.dedup();
    assert_eq!(transcripts.len(), 1, "{shown:?}: the answers depend on the cuts");
}

/// `GET /` with further lines.
fn get(lines: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: x\r\n{lines}\r\n").into_bytes()
}

#[test]
fn sound_requests_are_answered() {
    for input in [
        get(""),
        get("X: \r\nempty:\r\n"),
        b"GET / HTTP/1.1\r\nhoSt:\texample.com\t \r\n\r\n".to_vec(),
        b"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"GET http://example.com/a?b HTTP/1.1\r\nHost: example.com:8080\r\n\r\n".to_vec(),
        b"OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\n\r\n".to_vec(),
        b"GET / HTTP/1.7\r\nHost:\r\n\r\n".to_vec(),
        b"PROPFIND /x HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        get("X: \u{d55c}\u{ae00}\r\n"),
        get("Expect: 100-continue\r\n"),
        get("Content-Length: 0\r\n"),
        get("Content-Length: 5\r\n\r\nhello")
            .into_iter()
            .take(get("Content-Length: 5\r\n\r\nhello").len() - 2)
            .collect(),
        [get("Transfer-Encoding: Chunked\r\n"), b"5\r\nhello\r\n0\r\n\r\n".to_vec()].concat(),
        [get("Transfer-Encoding: chunked\r\n"), b"00A;x=\"y\"\r\n0123456789\r\n000\r\nT: x\r\n\r\n".to_vec()].concat(),
    ] {
        check(&input, &[200], Kept);
    }
}

#[test]
fn connections_are_kept_or_closed_as_both_sides_say() {
    check(&get("Connection: close\r\n"), &[200], Closed);
    check(&get("Connection: Keep-Alive, CLOSE\r\n"), &[200], Closed);
    check(b"GET / HTTP/1.0\r\n\r\n", &[200], Closed);
    check(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", &[200], Kept);
    check(b"GET / HTTP/1.0\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi", &[200], Closed);
}

#[test]
fn answers_come_in_order() {
    let mut input = Vec::new();
    for number in 0..200 {
        let body = format!("{number}");
        input.extend_from_slice(
            format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes(),
        );
    }
    for most in [1, 7, 1000, 100_000] {
        let (sent, close) = play(echo(), &input, cuts(3, most));
        let bodies: Vec<_> =
            answers(&sent, &[]).into_iter().map(|answer| String::from_utf8(answer.body).unwrap()).collect();
        assert_eq!(bodies, (0..200).map(|number| number.to_string()).collect::<Vec<_>>());
        assert_eq!(close, None);
    }
}

#[test]
fn malformed_heads_are_refused() {
    for (input, status) in [
        (&b"GET / \r\n\r\n"[..], 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1 \r\nHost: x\r\n\r\n", 400),
        (b" GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /a\x00b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /a\x7f HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"G(T / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"Extra lineGET / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", 505),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET / http/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.10\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: x\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\n", 400),
        (b"\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\rSome: y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\rC: d\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-Invalid[]: y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\x07\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\x00\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: a pony\r\n\r\n", 417),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
    ] {
        check(input, &[status], Closed);
    }
}

#[test]
fn nothing_is_smuggled() {
    // Behind each head stands what another reader might take for the next request.
    for (lines, status) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
        ("transfer-encoding: chunked\r\ncontent-LengtH: 5\r\n", 400),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", 400),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", 400),
        ("Content-Length: 5, 5\r\n", 400),
        ("Content-Length: +5\r\n", 400),
        ("Content-Length: -5\r\n", 400),
        ("Content-Length: -123456789123456789123456789\r\n", 400),
        ("Content-Length: 0x5\r\n", 400),
        ("Content-Length: 5 5\r\n", 400),
        ("Content-Length: abc\r\n", 400),
        ("Content-Length:\r\n", 400),
        ("Content-Length: 18446744073709551621\r\n", 400),
        ("Content-Length : 5\r\n", 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", 501),
        ("Transfer-Encoding: chunked, identity\r\n", 501),
        ("Transfer-Encoding: identity, chunked\r\n", 501),
        ("Transfer-Encoding: gzip, chunked\r\n", 501),
        ("Transfer-Encoding: xchunked\r\n", 501),
        ("Transfer-Encoding: \"chunked\"\r\n", 501),
        ("Transfer-Encoding:\r\n", 400),
        ("Transfer-Encoding: \x0bchunked\r\n", 400),
        ("Transfer-Encoding\r\n : chunked\r\n", 400),
        ("Transfer-Encoding:\r\n chunked\r\n", 400),
        ("X: y\r\n\tTransfer-Encoding: chunked\r\n", 400),
        ("X: y\rTransfer-Encoding: chunked\r\n", 400),
        ("X: y\nTransfer-Encoding: chunked\r\n", 400),
    ] {
        let input = [&get(lines)[..], b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"].concat();
        check(&input, &[status], Closed);
    }
    let old = b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n0\r\n\r\nGET / HTTP/1.0\r\n\r\n";
    check(old, &[400], Closed);
}

#[test]
fn malformed_chunks_are_refused() {
    for body in [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhelloworld\r\n0\r\n\r\n",
        "\r\n",
        " 5\r\nhello\r\n",
        "5 \r\nhello\r\n",
        "+5\r\nhello\r\n",
        "-5\r\nhello\r\n",
        "0x5\r\nhello\r\n",
        "5_0\r\nhello\r\n",
        "g\r\n",
        ";x\r\n",
        "10000000000000000\r\n",
        "ffffffffffffffff\r\n",
        "0000000000000005\r\nhello\r\n",
        "5;a\nb\r\nhello\r\n",
        "5;a\x00\r\nhello\r\n",
        "5\r\rhello\r\n",
        "0\r\n\n",
        "0\r\nX: y\n\r\n",
        "0\r\n\rX",
    ] {
        let input = [&get("Transfer-Encoding: chunked\r\n")[..], body.as_bytes()].concat();
        check(&input, &[400], Closed);
    }
    let long = format!("5;{}\r\nhello\r\n", "x".repeat(2000));
    check(&[&get("Transfer-Encoding: chunked\r\n")[..], long.as_bytes()].concat(), &[400], Closed);
    let trailers = format!("0\r\n{}\r\n", "A: b\r\n".repeat(500));
    check(&[&get("Transfer-Encoding: chunked\r\n")[..], trailers.as_bytes()].concat(), &[400], Closed);
}

#[test]
fn what_is_too_long_is_told() {
    let HttpLimits { head_bytes_max, target_bytes_max, .. } = HttpLimits::default();
    let target = |length: usize| format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(length - 1)).into_bytes();
    check(&target(target_bytes_max), &[200], Kept);
    check(&target(target_bytes_max + 1), &[414], Closed);
    check(&vec![b'A'; target_bytes_max + 100], &[414], Closed);
    check(&get(&format!("X: {}\r\n", "a".repeat(head_bytes_max))), &[431], Closed);
    check(&get(&"X: y\r\n".repeat(99)), &[200], Kept);
    check(&get(&"X: y\r\n".repeat(100)), &[431], Closed);
    check(&get("Content-Length: 1025\r\n"), &[413], Closed);
    let chunks = [&get("Transfer-Encoding: chunked\r\n")[..], b"400\r\n", &[b'x'; 1024], b"\r\n1\r\n"].concat();
    check(&chunks, &[413], Closed);
}

#[test]
fn a_client_that_waits_is_told_to_go_on() {
    let mut rig = echo();
    rig.input(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-Continue\r\n\r\n");
    assert_eq!(rig.sent(), b"HTTP/1.1 100 Continue\r\n\r\n");
    rig.input(b"hi");
    let sent = rig.sent();
    assert!(sent.starts_with(b"HTTP/1.1 200 ") && sent.ends_with(b"\r\n\r\nhi"));
    rig.input(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000\r\nExpect: 100-continue\r\n\r\n");
    assert!(rig.sent().starts_with(b"HTTP/1.1 413 "));
    assert_eq!(rig.close(), Some(&Close::Limit("body_bytes_max")));
}

#[test]
fn who_drips_is_cut_off_by_one_clock() {
    let seconds = Duration::from_secs;
    // Before anything has come: 30 seconds, and no answer to nothing.
    let mut rig = echo();
    rig.advance(seconds(29));
    assert_eq!(rig.close(), None);
    rig.advance(seconds(1));
    assert_eq!((rig.sent().len(), rig.close()), (0, Some(&Close::Idle)));
    // A head: 10 seconds from its first byte, however steadily it drips.
    let mut rig = echo();
    for byte in b"GET / HTTP/1.1\r\nX: aaaaaa".chunks(1).take(9) {
        rig.input(byte);
        rig.advance(seconds(1));
    }
    assert_eq!(rig.close(), None);
    rig.advance(seconds(1));
    assert!(rig.sent().starts_with(b"HTTP/1.1 408 "));
    assert_eq!(rig.close(), Some(&Close::Idle));
    // A body: 10 seconds, then 1 KiB a second on average.
    let mut rig = echo();
    rig.input(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n");
    for _ in 0..9 {
        rig.input(b"x");
        rig.advance(seconds(1));
    }
    rig.input(&[b'x'; 500]);
    rig.advance(Duration::from_millis(1400));
    assert_eq!(rig.close(), None, "half a second for 509 bytes");
    rig.advance(Duration::from_millis(100));
    assert!(rig.sent().starts_with(b"HTTP/1.1 408 "));
    // Between requests: 30 seconds from the last answer on.
    let mut rig = echo();
    rig.advance(seconds(20));
    rig.input(&get(""));
    assert!(!rig.sent().is_empty());
    rig.advance(seconds(29));
    assert_eq!(rig.close(), None);
    rig.advance(seconds(1));
    assert_eq!(rig.close(), Some(&Close::Idle));
}

#[test]
fn ends_and_stops_lose_no_answer() {
    let mut rig = echo();
    rig.input(&get(""));
    rig.end();
    assert!(rig.is_finished());
    assert_eq!(answers(&rig.sent(), &[]).len(), 1);
    assert_eq!(rig.close(), Some(&Close::Done));
    for half in [&b"GET / HT"[..], b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nab"] {
        let mut rig = echo();
        rig.input(half);
        rig.end();
        assert_eq!((rig.sent().len(), rig.close()), (0, Some(&Close::Truncated)));
    }
    let mut rig = echo();
    rig.input(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nab");
    rig.stop();
    assert_eq!(rig.close(), None, "what is under way is ended first");
    rig.input(b"c");
    let answer = &answers(&rig.sent(), &[])[0];
    assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
    assert_eq!(rig.close(), Some(&Close::Stop));
    let mut rig = echo();
    rig.stop();
    assert_eq!(rig.close(), Some(&Close::Stop));
}

/// The 33 cases that the public suite h1spec puts to a server which sends back what it gets.
#[test]
fn the_cases_of_h1spec() {
    let whole = "GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for end in [1, 4, 10, 11, 15, 19, 20, 21, 24, 26, 27, 36, 37, 38, 39] {
        check(&whole.as_bytes()[..end], &[], Kept);
    }
    for (input, status, then) in [
        ("GET / \r\n\r\n", 400, Closed),
        ("GET / HTTP/1.1\r\nHost: example.com\r\nExpect: 100-continue\r\n\r\n", 200, Kept),
        ("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", 200, Kept),
        ("GET / HTTP/1.1\r\nhoSt:\texample.com\r\nempty:\r\n\r\n", 200, Kept),
        ("GET / HTTP/1.1\r\nHost: example.com\r\nX-Invalid[]: test\r\n\r\n", 400, Closed),
        ("GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\n", 400, Closed),
        ("GET / HTTP/1.1\r\nHost: example.com\r\nHost: example.org\r\n\r\n", 400, Closed),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -123456789123456789123456789\r\n\r\n", 400, Closed),
        ("GET / HTTP/1.1\r\nHost: example.com\r\nContent-Length: -1234\r\n\r\n", 400, Closed),
        ("GET / HTTP/1.1\r\nHost: example.com\r\nContent-Length: abc\r\n\r\n", 400, Closed),
        ("GET / HTTP/1.1\r\nHost: example.com\r\nX-Empty-Header: \r\n\r\n", 200, Kept),
        ("GET / HTTP/1.1\r\nHost: example.com\r\nX-Bad-Control-Char: test\x07\r\n\r\n", 400, Closed),
        ("GET / HTTP/9.9\r\nHost: example.com\r\n\r\n", 505, Closed),
        ("Extra lineGET / HTTP/1.1\r\nHost: example.com\r\n\r\n", 400, Closed),
        ("GET / HTTP/1.1\r\nHost: example.com\r\n\rSome-Header: Test\r\n\r\n", 400, Closed),
        ("POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 5\r\n\r\nhello", 200, Kept),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nc\r\nHellO world1\r\n0\r\n\r\n", 200, Kept),
        (
            "POST / HTTP/1.1\r\nHost: a\r\ncontent-LengtH: 5\r\nTransFer-Encoding: chunked\r\n\r\nc\r\nHellO world1\r\n0\r\n\r\n",
            400,
            Closed,
        ),
    ] {
        check(input.as_bytes(), &[status], then);
    }
}
