//! Peers that do not speak TLS, told by their first bytes and answered so that a person understands.
use std::fmt::Write;

/// What a peer's first bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum First {
    /// A TLS record, as far as can be seen.
    Tls,
    /// Perhaps an HTTP request; more bytes will tell.
    Unclear,
    /// A plain HTTP request. For a HEAD the answer has no body.
    Http { head: bool },
    /// Something else.
    Other,
}

const METHODS: [&[u8]; 10] =
    [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT ", b"TRACE ", b"PRI "];

/// What a client began with; never empty.
pub(crate) fn of_client(bytes: &[u8]) -> First {
    match bytes {
        // A handshake record of version 3.x (RFC 8446 §5.1), or an alert of one who gives up at once.
        [0x15 | 0x16] | [0x15 | 0x16, 3, ..] => First::Tls,
        _ if METHODS.iter().any(|method| bytes.starts_with(method)) => {
            First::Http { head: bytes.starts_with(b"HEAD ") }
        }
        _ if METHODS.iter().any(|method| method.starts_with(bytes)) => First::Unclear,
        _ => First::Other,
    }
}

/// What a server began with; never empty.
pub(crate) fn of_server(bytes: &[u8]) -> First {
    match bytes {
        [0x15 | 0x16] | [0x15 | 0x16, 3, ..] => First::Tls,
        _ => First::Other,
    }
}

/// What is answered to a plain HTTP request.
pub(crate) fn http_answer(head: bool) -> String {
    const BODY: &str =
        "This port speaks HTTPS, and your request came as plain HTTP. Ask again with https:// in front.\n";
    let mut answer = String::from("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n");
    let _ = write!(answer, "Content-Length: {}\r\nConnection: close\r\n\r\n", BODY.len());
    if !head {
        answer.push_str(BODY);
    }
    answer
}

/// The fatal alert for one who does not speak TLS: unexpected_message, or protocol_version to a hello of SSL 2 (RFC 5246 §E.2).
pub(crate) fn alert(bytes: &[u8]) -> [u8; 7] {
    let description = if matches!(bytes, [first, _, 1, ..] if *first >= 0x80) { 70 } else { 10 };
    [0x15, 3, 1, 0, 2, 2, description]
}

/// The first bytes as a log may show them: escaped, at most 40.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    const SHOWN_BYTES_MAX: usize = 40;
    let more = if bytes.len() > SHOWN_BYTES_MAX { "…" } else { "" };
    format!("\"{}{more}\"", bytes[..bytes.len().min(SHOWN_BYTES_MAX)].escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_by_their_first_bytes() {
        for (bytes, expect) in [
            (&b"\x16"[..], First::Tls),
            (b"\x16\x03\x01", First::Tls),
            (b"\x16\x02", First::Other),
            (b"\x80\x2e\x01\x00\x02", First::Other),
            (b"G", First::Unclear),
            (b"GET", First::Unclear),
            (b"GET /", First::Http { head: false }),
            (b"HEAD / HTTP/1.1\r\n", First::Http { head: true }),
            (b"GEX", First::Other),
            (b"PRI * HTTP/2.0", First::Http { head: false }),
            (b"hello\r\n", First::Other),
            (b"\0", First::Other),
        ] {
            assert_eq!(of_client(bytes), expect, "{bytes:?}");
        }
    }

    #[test]
    fn the_answer_is_whole_and_says_its_length() {
        let answer = http_answer(false);
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head ends");
        assert!(head.contains(&format!("Content-Length: {}", body.len())));
        assert!(http_answer(true).ends_with("\r\n\r\n"));
        assert!(answer.starts_with(&http_answer(true)));
    }

    #[test]
    fn alerts_and_excerpts() {
        assert_eq!(alert(b"\x80\x2e\x01")[6], 70);
        assert_eq!(alert(b"hello")[6], 10);
        assert_eq!(excerpt(b"a\n\x1b"), r#""a\n\x1b""#);
        assert_eq!(excerpt(&[b'x'; 41]), format!("\"{}…\"", "x".repeat(40)));
    }
}
