//! A client of HTTP that takes nothing for granted: what it reads is whole, and as long as it says.
use crate::conn::Conn;
use std::io::Read;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Status line and fields.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (is, value) = line.split_once(": ")?;
            is.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// Reads the next answer; `has_body` is false for one to HEAD.
///
/// # Panics
/// None comes, or it is none.
#[track_caller]
pub fn read(conn: &mut impl Read, has_body: bool) -> Answer {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        let count = conn.read(&mut byte).expect("a head comes");
        assert_eq!(count, 1, "it ends within {:?}", String::from_utf8_lossy(&head));
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("a head is text");
    let status = head.strip_prefix("HTTP/1.1 ").expect("a status line")[..3].parse().expect("a status");
    let mut answer = Answer { status, head, body: Vec::new() };
    let length = answer.field("content-length").map_or(0, |length| length.parse().expect("a length"));
    if has_body && status != 304 {
        answer.body = vec![0; length];
        conn.read_exact(&mut answer.body).expect("a body as long as it says");
    }
    answer
}

/// Asks for `line`, such as `GET /`, with further header lines.
#[track_caller]
pub fn ask(conn: &mut Conn, line: &str, fields: &str) -> Answer {
    conn.send(format!("{line} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"));
    read(conn, !line.starts_with("HEAD"))
}
