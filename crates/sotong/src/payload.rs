//! Payloads for people: text as text, everything else as hex, and nothing a peer sent reaches the terminal raw.

use std::fmt::{self, Write};

/// Bytes of a payload that one log line shows.
pub(crate) const SHOWN_BYTES_MAX: usize = 256;

/// A payload as the fields of a log event: `text` or `hex`, and how many bytes of it are left out. The log escapes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Payload<'a> {
    pub(crate) text: Option<&'a str>,
    pub(crate) hex: Option<String>,
    pub(crate) left_out: Option<u64>,
}

impl<'a> Payload<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        let text = readable(bytes);
        let shown = text.map_or(bytes.len().min(SHOWN_BYTES_MAX / 2), str::len);
        let hex = text.is_none().then(|| hex(&bytes[..shown]));
        let left_out = Some((bytes.len() - shown) as u64).filter(|count| *count > 0);
        Self { text, hex, left_out }
    }
}

fn hex(bytes: &[u8]) -> String {
    let words: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    words.join(" ")
}

/// What is shown of a payload that is text; `None` if it is none.
///
/// A payload is what one read brought, so it may begin or end inside a character: only the cut at the end is forgiven,
/// for up to three bytes.
fn readable(bytes: &[u8]) -> Option<&str> {
    let cut = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
    let text = match std::str::from_utf8(cut) {
        Ok(text) => text,
        Err(fault) if fault.error_len().is_none() && fault.valid_up_to() > 0 => {
            std::str::from_utf8(&cut[..fault.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    // A few control characters (ANSI colours, telnet, a stray NUL) do not make a text binary; many do.
    let controls = text.chars().filter(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')).count();
    (controls * 10 <= text.chars().count()).then_some(text)
}

/// Writes `text` so that it stays one line and moves no cursor: control characters, and the marks that turn the
/// direction of writing or hide themselves, as escapes.
pub(crate) fn escape(f: &mut impl Write, text: &str) -> fmt::Result {
    for c in text.chars() {
        match c {
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            c if c.is_control() || is_unseen(c) => write!(f, "\\u{{{:x}}}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    Ok(())
}

/// Characters that change how their neighbours look: bidirectional marks, zero-width ones, line and paragraph separators.
fn is_unseen(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_text(bytes: impl AsRef<[u8]>, expect: &str) {
        let payload = Payload::new(bytes.as_ref());
        let mut escaped = String::new();
        escape(&mut escaped, payload.text.expect("text")).expect("a string takes everything");
        assert_eq!((escaped.as_str(), payload.hex), (expect, None));
    }

    #[track_caller]
    fn check_hex(bytes: impl AsRef<[u8]>, expect: &str) {
        let payload = Payload::new(bytes.as_ref());
        assert_eq!((payload.text, payload.hex.as_deref()), (None, Some(expect)));
    }

    #[test]
    fn text_stays_readable() {
        check_text("안녕하세요, 서버!", "안녕하세요, 서버!");
        check_text("PING a\r\nPING b\r\n", r"PING a\r\nPING b\r\n");
        check_text("", "");
        check_text("say \"hi\\\"", r#"say \"hi\\\""#);
    }

    #[test]
    fn nothing_moves_the_cursor() {
        check_text("this is \x1b[31mred\x1b[0m, and only that", r"this is \u{1b}[31mred\u{1b}[0m, and only that");
        check_text("one\u{2028}line \u{202e}turned", r"one\u{2028}line \u{202e}turned");
        check_text("a c1 control: \u{9b}2J", r"a c1 control: \u{9b}2J");
    }

    #[test]
    fn binary_is_hex() {
        check_hex([0xff, 0x00, 0x16], "ff 00 16");
        check_hex([0x16, 0x03, 0x01, 0x02], "16 03 01 02");
        check_hex([0xea, 0xb0], "ea b0");
    }

    #[test]
    fn a_character_cut_by_the_end_of_a_read_is_no_binary() {
        let cut = &"가나".as_bytes()[..5];
        assert_eq!(Payload::new(cut), Payload { text: Some("가"), hex: None, left_out: Some(2) });
    }

    #[test]
    fn long_ones_are_cut() {
        let long = "a".repeat(SHOWN_BYTES_MAX + 10);
        let payload = Payload::new(long.as_bytes());
        assert_eq!((payload.text.map(str::len), payload.left_out), (Some(SHOWN_BYTES_MAX), Some(10)));
        let hangul = "가".repeat(100);
        let payload = Payload::new(hangul.as_bytes());
        assert_eq!((payload.text.map(str::len), payload.left_out), (Some(255), Some(45)));
        let payload = Payload::new(&[0xff; 5_000]);
        assert_eq!((payload.hex.map(|hex| hex.len()), payload.left_out), (Some(128 * 3 - 1), Some(4_872)));
    }
}
