//! The one writer of lines.
use crate::{LINE_BYTES_MAX, tags::escape};
use std::fmt::{self, Display, Write as _};

/// Writes one line: tags, source, words, and a text at its end, in this order.
///
/// Whatever is written passes a sieve: no CR, LF or NUL gets into a line, no blank into a word, and no word begins with a
/// colon or is empty (`*` stands for it). [`Self::end`] cuts what is too long between two characters.
#[must_use = "a line is not whole before its end"]
#[derive(Debug)]
pub struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    /// Where the tags begin.
    start: usize,
    /// Where the line begins behind them.
    body: usize,
}

impl<'a> Encoder<'a> {
    /// Begins a line at the end of `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        let start = out.len();
        Self { out, start, body: start }
    }
    /// Adds a tag; `key` is taken as it is where it can be one, and else left out.
    pub fn tag(mut self, key: &str, value: &str) -> Self {
        if crate::is_tag_key(key) {
            self.out.push(if self.out.len() == self.start { b'@' } else { b';' });
            self.out.extend_from_slice(key.as_bytes());
            if !value.is_empty() {
                self.out.push(b'=');
                self.out.extend_from_slice(escape(value).as_bytes());
            }
            self.body = self.out.len();
        }
        self
    }
    /// Says whom the line is from.
    pub fn source(mut self, source: impl Display) -> Self {
        self.gap();
        self.out.push(b':');
        self.sieved(&source, false);
        self
    }
    /// Adds a word: the command, or a parameter without blanks.
    pub fn word(mut self, word: impl Display) -> Self {
        self.gap();
        let before = self.out.len();
        self.sieved(&word, false);
        match self.out.get(before) {
            None => self.out.push(b'*'),
            Some(b':') => self.out[before] = b'_',
            Some(_) => {}
        }
        self
    }
    /// Adds the last parameter, which may have blanks and may be empty.
    pub fn text(mut self, text: impl Display) -> Self {
        self.gap();
        self.out.push(b':');
        self.sieved(&text, true);
        self
    }
    /// Bytes that still fit into the line.
    pub fn left(&self) -> usize {
        (LINE_BYTES_MAX - 2).saturating_sub(self.len())
    }
    /// Ends the line. What does not fit into 512 bytes is left out, up to the beginning of a character.
    pub fn end(self) {
        if self.len() > LINE_BYTES_MAX - 2 {
            let mut end = self.first_byte() + LINE_BYTES_MAX - 2;
            while self.out.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
                end -= 1;
            }
            self.out.truncate(end);
        }
        self.out.extend_from_slice(b"\r\n");
    }

    /// Where the line begins that the limit of 512 bytes is about: behind the tags and their blank.
    fn first_byte(&self) -> usize {
        if self.body > self.start { self.body + 1 } else { self.start }
    }
    fn len(&self) -> usize {
        self.out.len().saturating_sub(self.first_byte())
    }
    /// A blank before everything but the first.
    fn gap(&mut self) {
        if self.out.len() > self.start {
            self.out.push(b' ');
        }
    }
    fn sieved(&mut self, value: &dyn Display, with_blanks: bool) {
        // A sieve takes everything.
        let _ = write!(Sieve { out: self.out, with_blanks }, "{value}");
    }
}

/// Lets no CR, LF or NUL through, and blanks only where they belong.
struct Sieve<'a> {
    out: &'a mut Vec<u8>,
    with_blanks: bool,
}

impl fmt::Write for Sieve<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut bytes = text.as_bytes();
        while let Some(at) = next_bad(bytes, self.with_blanks) {
            self.out.extend_from_slice(&bytes[..at]);
            bytes = &bytes[at + 1..];
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }
}

fn next_bad(bytes: &[u8], with_blanks: bool) -> Option<usize> {
    let control = memchr::memchr3(b'\r', b'\n', b'\0', bytes);
    if with_blanks {
        return control;
    }
    let blank = memchr::memchr(b' ', &bytes[..control.unwrap_or(bytes.len())]);
    blank.or(control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(write: impl FnOnce(Encoder<'_>)) -> String {
        let mut out = b"before\r\n".to_vec();
        write(Encoder::new(&mut out));
        let text = String::from_utf8(out).expect("UTF-8");
        text.strip_prefix("before\r\n").expect("an encoder only appends").to_owned()
    }

    #[test]
    fn lines_as_they_go_out() {
        assert_eq!(line(|e| e.word("PING").end()), "PING\r\n");
        assert_eq!(line(|e| e.source("a").word("001").word("").text("").end()), ":a 001 * :\r\n");
        assert_eq!(line(|e| e.tag("time", "1").tag("b", "").word("X").end()), "@time=1;b X\r\n");
        assert_eq!(line(|e| e.tag("not a key", "1").word("X").end()), "X\r\n");
    }

    #[test]
    fn nobody_smuggles_a_line() {
        assert_eq!(line(|e| e.word("a\r\nQUIT b").word(":c").text("d\r\n\0e f").end()), "aQUITb _c :de f\r\n");
        assert_eq!(line(|e| e.source("x y\n").tag("k", "a\r\nb").word("C").end()).matches('\n').count(), 1);
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        for lead in 0..4 {
            let text = format!("{}{}", "a".repeat(lead), "한".repeat(300));
            let line = line(|e| e.tag("time", "2026").word("PRIVMSG").text(text).end());
            let body = line.strip_prefix("@time=2026 ").expect("the tags are whole");
            assert!((510..=512).contains(&body.len()) && body.ends_with("한\r\n"), "{}", body.len());
        }
    }

    proptest! {
        #[test]
        fn every_line_is_one_line(words in proptest::collection::vec(any::<String>(), 1..5), text: String, key in "[a-z+/]{0,3}", value: String) {
            let line = line(|mut e| {
                e = e.tag(&key, &value);
                for word in &words {
                    e = e.word(word);
                }
                e.text(&text).end();
            });
            let inside = line.strip_suffix("\r\n").expect("it ends");
            prop_assert!(!inside.contains(['\r', '\n', '\0']));
            let body = inside.split_once(' ').filter(|_| inside.starts_with('@')).map_or(inside, |(_, body)| body);
            prop_assert!(body.len() <= 510);
        }
    }
}
