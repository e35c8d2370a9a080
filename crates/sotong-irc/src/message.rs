//! A line as it comes from a peer.
use crate::{CLIENT_TAG_BYTES_MAX, LINE_BYTES_MAX, PARAMS_MAX, Tags};

/// One message, borrowed from its line: nothing is copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The tags, each still escaped.
    pub tags: Tags<'a>,
    /// Who it says it is from, without the colon.
    pub source: Option<&'a str>,
    /// The command's word or number, as it was written.
    pub command: &'a str,
    params: [&'a str; PARAMS_MAX],
    count: usize,
}

/// Why a line is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The tags, or the rest of the line, have more bytes than a line may.
    #[error("the line is too long")]
    TooLong,
    /// It is not UTF-8.
    #[error("the line is not UTF-8")]
    NotUtf8,
    /// It has a NUL, a CR or an LF inside.
    #[error("the line has a NUL, a CR or an LF in it")]
    Control,
    /// There is no command in it.
    #[error("the line has no command")]
    NoCommand,
}

impl<'a> Message<'a> {
    /// Reads a line of a client, without its LF; a CR at its end does not count.
    ///
    /// # Errors
    /// See [`ParseError`]. An empty line is [`ParseError::NoCommand`].
    pub fn parse(line: &'a [u8]) -> Result<Self, ParseError> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if has_too_much(line) {
            return Err(ParseError::TooLong);
        }
        if memchr::memchr3(b'\0', b'\r', b'\n', line).is_some() {
            return Err(ParseError::Control);
        }
        let mut rest = std::str::from_utf8(line).map_err(|_| ParseError::NotUtf8)?;
        let mut tags = Tags::default();
        if let Some(tagged) = rest.strip_prefix('@') {
            let (raw, after) = tagged.split_once(' ').ok_or(ParseError::NoCommand)?;
            tags = Tags::new(raw);
            rest = after;
        }
        rest = rest.trim_start_matches(' ');
        let mut source = None;
        if let Some(from) = rest.strip_prefix(':') {
            let (from, after) = from.split_once(' ').ok_or(ParseError::NoCommand)?;
            source = Some(from);
            rest = after.trim_start_matches(' ');
        }
        let (command, mut rest) = rest.split_once(' ').unwrap_or((rest, ""));
        if command.is_empty() {
            return Err(ParseError::NoCommand);
        }
        let (mut params, mut count) = ([""; PARAMS_MAX], 0);
        loop {
            rest = rest.trim_start_matches(' ');
            if rest.is_empty() {
                break;
            }
            let last = rest.strip_prefix(':').or((count + 1 == PARAMS_MAX).then_some(rest));
            if let Some(last) = last {
                params[count] = last;
                count += 1;
                break;
            }
            let (param, after) = rest.split_once(' ').unwrap_or((rest, ""));
            params[count] = param;
            count += 1;
            rest = after;
        }
        Ok(Self { tags, source, command, params, count })
    }
    /// The parameters, at most 15.
    pub fn params(&self) -> &[&'a str] {
        &self.params[..self.count]
    }
    /// The parameter at `at`, if it is there and not empty.
    pub fn param(&self, at: usize) -> Option<&'a str> {
        self.params().get(at).copied().filter(|param| !param.is_empty())
    }
}

/// Whether the tags or the rest are longer than a client may send.
fn has_too_much(line: &[u8]) -> bool {
    let tags = match line.first() {
        Some(b'@') => memchr::memchr(b' ', line).map_or(line.len(), |at| at + 1),
        _ => 0,
    };
    tags > CLIENT_TAG_BYTES_MAX || line.len() - tags > LINE_BYTES_MAX - b"\r\n".len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Encoder;
    use proptest::prelude::*;

    fn parsed(line: &str) -> (Option<&str>, &str, Vec<&str>) {
        let message = Message::parse(line.as_bytes()).expect("a message");
        (message.source, message.command, message.params().to_vec())
    }

    #[test]
    fn as_lines_are_written() {
        assert_eq!(parsed("PING"), (None, "PING", vec![]));
        assert_eq!(parsed("PING \r"), (None, "PING", vec![]));
        assert_eq!(parsed("PING  a   b "), (None, "PING", vec!["a", "b"]));
        assert_eq!(parsed("PING :"), (None, "PING", vec![""]));
        assert_eq!(parsed("PRIVMSG #방 ::)"), (None, "PRIVMSG", vec!["#방", ":)"]));
        assert_eq!(parsed(":me  TOPIC #a : two  words "), (Some("me"), "TOPIC", vec!["#a", " two  words "]));
        assert_eq!(parsed("@a=b;c :me 001 x"), (Some("me"), "001", vec!["x"]));
        assert_eq!(parsed("X 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 :17").2.last(), Some(&"15 16 :17"));
        assert_eq!(parsed("X 1 2 3 4 5 6 7 8 9 10 11 12 13 14 :15 16").2.last(), Some(&"15 16"));
    }

    #[test]
    fn lines_that_are_none() {
        for (line, why) in [
            (&b""[..], ParseError::NoCommand),
            (b"  ", ParseError::NoCommand),
            (b"@a=b", ParseError::NoCommand),
            (b"@a=b  ", ParseError::NoCommand),
            (b":me", ParseError::NoCommand),
            (b":me  ", ParseError::NoCommand),
            (b"PRIVMSG a :\xff", ParseError::NotUtf8),
            (b"PRIVMSG a :b\0c", ParseError::Control),
            (b"PRIVMSG a :b\rQUIT", ParseError::Control),
            (b"PRIVMSG a :b\nQUIT", ParseError::Control),
        ] {
            assert_eq!(Message::parse(line), Err(why), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn tags_and_the_rest_have_limits_of_their_own() {
        let line = |tags: usize, rest: usize| {
            let tags = if tags > 0 { format!("@{} ", "t".repeat(tags - 2)) } else { String::new() };
            format!("{tags}{}\r", "C".repeat(rest))
        };
        for (tags, rest, fits) in
            [(0, 510, true), (0, 511, false), (4096, 510, true), (4096, 511, false), (4097, 1, false), (2, 510, true)]
        {
            let line = line(tags, rest);
            assert_eq!(Message::parse(line.as_bytes()).is_ok(), fits, "{tags} and {rest}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(line in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = Message::parse(&line);
        }
        #[test]
        fn what_is_rendered_is_parsed_again(
            command in "[A-Z]{1,9}",
            words in proptest::collection::vec("[^\\x00\\r\\n :][^\\x00\\r\\n ]{0,8}", 0..14),
            text in proptest::option::of("[^\\x00\\r\\n]{0,40}"),
            key in "[a-z]{1,5}",
            value in "[^\\x00]{0,12}",
        ) {
            let mut line = Vec::new();
            let mut encoder = Encoder::new(&mut line).tag(&key, &value).source("server").word(&command);
            for word in &words {
                encoder = encoder.word(word);
            }
            if let Some(text) = &text {
                encoder = encoder.text(text);
            }
            encoder.end();
            let line = line.strip_suffix(b"\r\n").expect("a line ends so");
            prop_assume!(line.len() < 500);
            let message = Message::parse(line).expect("a message");
            prop_assert_eq!(message.command, &command);
            let mut expect: Vec<&str> = words.iter().map(String::as_str).collect();
            expect.extend(text.as_deref());
            prop_assert_eq!(message.params(), expect);
            let tag = message.tags.iter().next().expect("a tag");
            prop_assert_eq!(tag.key, key);
            prop_assert_eq!(tag.value(), value);
        }
    }
}
