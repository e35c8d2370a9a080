//! What an access log tells of each request, and how it is written.
use crate::{Status, date::Civil};
use sotong_session::End;
use std::{fmt::Write, time::Duration};

/// One request and its answer.
#[derive(Debug)]
pub struct Visit<'a> {
    /// Who asked.
    pub peer: &'a End,
    /// By what name, if a password was asked for.
    pub user: Option<&'a [u8]>,
    /// The request line as it came; empty for what was none.
    pub line: &'a [u8],
    /// `Referer`.
    pub referer: Option<&'a [u8]>,
    /// `User-Agent`.
    pub agent: Option<&'a [u8]>,
    /// The answer.
    pub status: Status,
    /// Bytes of its body.
    pub bytes: u64,
    /// How long it took to answer.
    pub time: Duration,
    /// When it was answered, milliseconds since 1970.
    pub wall: i64,
}

/// Takes what is to be logged. Called on a shard's thread: it must not block.
pub trait AccessLog: Send + Sync + std::fmt::Debug {
    /// A request was answered.
    fn log(&self, visit: &Visit<'_>);
}

impl Visit<'_> {
    /// Appends a line of the Common Log Format, in UTC. What could end the line or a quoted text is escaped.
    pub fn write_common(&self, to: &mut String) {
        const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        match self.peer {
            End::Net(address) => {
                let _ = write!(to, "{}", address.ip());
            }
            other => escaped(to, other.to_string().replace(' ', "").as_bytes()),
        }
        to.push_str(" - ");
        match self.user {
            // A space would be the next field.
            Some(user) => {
                let user: Vec<_> = user.iter().map(|byte| if *byte == b' ' { b'_' } else { *byte }).collect();
                escaped(to, &user);
            }
            None => to.push('-'),
        }
        let Civil { year, month, day, hour, minute, second, .. } = Civil::new(self.wall.div_euclid(1000));
        let month = MONTHS[month as usize - 1];
        // Writing to a string does not fail.
        let _ = write!(to, " [{day:02}/{month}/{year}:{hour:02}:{minute:02}:{second:02} +0000] \"");
        if self.line.is_empty() {
            to.push('-');
        }
        escaped(to, self.line);
        let _ = writeln!(to, "\" {} {}", self.status.code(), self.bytes);
    }
    /// Appends an object and a line's end.
    pub fn write_json(&self, to: &mut String) {
        let Civil { year, month, day, hour, minute, second, .. } = Civil::new(self.wall.div_euclid(1000));
        let millis = self.wall.rem_euclid(1000);
        let _ = write!(
            to,
            "{{\"time\":\"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z\",\"peer\":"
        );
        quoted(to, self.peer.to_string().as_bytes());
        let mut parts = self.line.splitn(3, |byte| *byte == b' ');
        let (method, target) = (parts.next().filter(|method| !method.is_empty()), parts.next());
        for (name, value) in [
            ("user", self.user),
            ("method", method),
            ("target", target),
            ("version", parts.next()),
            ("referer", self.referer),
            ("agent", self.agent),
        ] {
            let _ = write!(to, ",\"{name}\":");
            match value {
                Some(value) => quoted(to, value),
                None => to.push_str("null"),
            }
        }
        let micros = self.time.as_micros();
        let _ = writeln!(to, ",\"status\":{},\"bytes\":{},\"micros\":{micros}}}", self.status.code(), self.bytes);
    }
}

/// Bytes of a quoted text, as servers commonly write them: what is no visible ASCII in hexadecimal.
fn escaped(to: &mut String, bytes: &[u8]) {
    for byte in bytes {
        match byte {
            b'"' => to.push_str("\\\""),
            b'\\' => to.push_str("\\\\"),
            b' '..=b'~' => to.push(char::from(*byte)),
            _ => {
                let _ = write!(to, "\\x{byte:02x}");
            }
        }
    }
}

/// A JSON string (RFC 8259 §7); bytes that are no UTF-8 are replaced.
fn quoted(to: &mut String, bytes: &[u8]) {
    to.push('"');
    for char in String::from_utf8_lossy(bytes).chars() {
        match char {
            '"' => to.push_str("\\\""),
            '\\' => to.push_str("\\\\"),
            char if char.is_control() || matches!(char, '\u{2028}' | '\u{2029}') => {
                let _ = write!(to, "\\u{:04x}", u32::from(char));
            }
            char => to.push(char),
        }
    }
    to.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_a_line_before_its_end() {
        let peer = End::Net(([127, 0, 0, 1], 5).into());
        let visit = Visit {
            peer: &peer,
            user: Some(b"a b\n"),
            line: b"GET /\"\\\x1b\xea HTTP/1.1",
            referer: None,
            agent: Some("소통\u{2028}\r\n".as_bytes()),
            status: Status::OK,
            bytes: 7,
            time: Duration::from_micros(1500),
            wall: 784_111_777_042,
        };
        let mut common = String::new();
        visit.write_common(&mut common);
        let expect = "127.0.0.1 - a_b\\x0a [06/Nov/1994:08:49:37 +0000] \"GET /\\\"\\\\\\x1b\\xea HTTP/1.1\" 200 7\n";
        assert_eq!(common, expect);
        let mut json = String::new();
        visit.write_json(&mut json);
        let expect = "{\"time\":\"1994-11-06T08:49:37.042Z\",\"peer\":\"127.0.0.1:5\",\"user\":\"a b\\u000a\",\
                      \"method\":\"GET\",\"target\":\"/\\\"\\\\\\u001b\u{fffd}\",\"version\":\"HTTP/1.1\",\"referer\":null,\
                      \"agent\":\"소통\\u2028\\u000d\\u000a\",\"status\":200,\"bytes\":7,\"micros\":1500}\n";
        assert_eq!(json, expect);
    }
}
