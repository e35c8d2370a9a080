//! Payloads for people: text as text, everything else as hex, and nothing a peer sent reaches the terminal raw.

use std::fmt::{self, Write};

/// Bytes of a payload that one log line shows.
pub(crate) const SHOWN_BYTES_MAX: usize = 256;

/// A payload as one line: quoted text with control characters escaped, or hex; cut after [`SHOWN_BYTES_MAX`] bytes.
pub(crate) struct Payload<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Payload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match readable(self.0) {
            Some(text) => {
                f.write_char('"')?;
                escape(f, text)?;
                f.write_char('"')?;
                more(f, self.0.len() - text.len())
            }
            None => {
                let shown = &self.0[..self.0.len().min(SHOWN_BYTES_MAX / 2)];
                f.write_str("hex")?;
                for byte in shown {
                    write!(f, " {byte:02x}")?;
                }
                more(f, self.0.len() - shown.len())
            }
        }
    }
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

fn more(f: &mut fmt::Formatter<'_>, bytes: usize) -> fmt::Result {
    if bytes == 0 { Ok(()) } else { write!(f, " (+{bytes} B)") }
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
    fn check(bytes: impl AsRef<[u8]>, expect: &str) {
        assert_eq!(Payload(bytes.as_ref()).to_string(), expect);
    }

    #[test]
    fn text_stays_readable() {
        check("안녕하세요, 서버!", r#""안녕하세요, 서버!""#);
        check("PING a\r\nPING b\r\n", r#""PING a\r\nPING b\r\n""#);
        check("", r#""""#);
        check("say \"hi\\\"", r#""say \"hi\\\"""#);
    }

    #[test]
    fn nothing_moves_the_cursor() {
        check("this is \x1b[31mred\x1b[0m, and only that", r#""this is \u{1b}[31mred\u{1b}[0m, and only that""#);
        check("one\u{2028}line \u{202e}turned", r#""one\u{2028}line \u{202e}turned""#);
        check("a c1 control: \u{9b}2J", r#""a c1 control: \u{9b}2J""#);
    }

    #[test]
    fn binary_is_hex() {
        check([0xff, 0x00, 0x16], "hex ff 00 16");
        check([0x16, 0x03, 0x01, 0x02], "hex 16 03 01 02");
        check([0xea, 0xb0], "hex ea b0");
    }

    #[test]
    fn a_character_cut_by_the_end_of_a_read_is_no_binary() {
        check(&"가나".as_bytes()[..5], "\"가\" (+2 B)");
    }

    #[test]
    fn long_ones_are_cut() {
        let long = "a".repeat(SHOWN_BYTES_MAX + 10);
        check(&long, &format!("\"{}\" (+10 B)", "a".repeat(SHOWN_BYTES_MAX)));
        let hangul = "가".repeat(100);
        check(&hangul, &format!("\"{}\" (+45 B)", "가".repeat(85)));
        assert!(Payload(&[0xff; 5_000]).to_string().ends_with(" ff (+4872 B)"));
    }
}
