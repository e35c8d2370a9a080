//! What is wrong with a configuration file: where, why, and what may have been meant.

use std::fmt::Write as _;
use std::ops::Range;

use sotong_net::endpoint::EndpointError;
use sotong_session::cidr::CidrError;

use super::sts::StsFault;
use crate::catalogue::{Catalogue, Lang, text};
use crate::failure::{self, similar, value_words};
use crate::units::BadValue;

/// All that is wrong with a file.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    /// The file's name.
    pub(crate) file: String,
    /// What it holds.
    pub(crate) text: String,
    /// The faults, in the order of their places.
    pub(crate) all: Vec<Fault>,
}

/// One fault.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fault {
    /// Where it stands, in bytes.
    pub(crate) span: Range<usize>,
    pub(crate) why: Why,
}

/// The cause of a fault.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Why {
    /// It is no TOML; the parser's words, which are English.
    Syntax(String),
    UnknownKey {
        section: &'static str,
        key: String,
        like: Option<String>,
    },
    UnknownSection {
        name: String,
        like: Option<String>,
    },
    /// A section that is written as a setting, or once where it may stand several times.
    NoSection {
        written: String,
    },
    /// A value of another type.
    Type(Expected),
    Range {
        low: u64,
        high: u64,
    },
    Choice {
        value: String,
        choices: String,
        like: Option<String>,
    },
    Value(BadValue),
    Address {
        text: String,
        why: EndpointError,
    },
    /// An address of datagrams, or one that says that WebSocket is spoken, which the kind of a listener says.
    Datagrams,
    WsAddress,
    /// A section that stands more often than it may.
    TooMany {
        name: &'static str,
        most: usize,
    },
    /// A text of too many bytes.
    TooLong {
        most: usize,
    },
    Network(CidrError),
    /// A setting without which its section means nothing.
    Missing {
        section: &'static str,
        key: &'static str,
    },
    /// Two settings that exclude each other.
    Conflict {
        other: &'static str,
    },
    /// A setting that means nothing without another.
    Needs {
        other: &'static str,
    },
    /// What may stand once only.
    Twice {
        value: String,
    },
    /// A text with something in it that cannot be said on the wire.
    Control,
    /// A word is expected.
    Word,
    /// What no host is shown as.
    Vhost,
    /// What is no origin of a page.
    Origin,
    /// What begins as a hash of a password, and is none.
    Hash,
    /// A mode that nobody can have from the beginning.
    UserMode {
        mode: char,
    },
    /// A file that is named and cannot be read.
    File {
        path: String,
        why: std::io::ErrorKind,
    },
    /// Clients would be told to come where they cannot.
    Sts(StsFault),
    /// Limits that contradict each other.
    MustBeLess {
        other: &'static str,
    },
    MustBeMore {
        other: &'static str,
    },
    /// A limit that cannot be turned off: of what is held in memory or has to fit into a line; of a time.
    NotOff {
        low: u64,
        high: u64,
    },
    TimeNotOff,
}

/// What a value should have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Text,
    Number,
    Bool,
    Time,
    Size,
    List,
}

/// Faults that are shown; what is behind them is counted.
const SHOWN_MAX: usize = 10;
/// Characters of a line that are shown.
const LINE_CHARS_MAX: usize = 200;

impl Faults {
    /// One fault of a file, in one line, for a log.
    pub(crate) fn line(&self) -> String {
        let catalogue = Catalogue::new(Lang::En);
        let lines = self.all.iter().map(|fault| {
            let (line, column, _) = place(&self.text, fault.span.start);
            format!("{}:{line}:{column}: {}", self.file, fault.why.message(&catalogue))
        });
        let lines: Vec<_> = lines.take(SHOWN_MAX).collect();
        lines.join(" ").replace('\n', " ")
    }

    /// All of them for a person, each with the line where it stands.
    pub(crate) fn message(&self, catalogue: &Catalogue) -> String {
        let mut out = text!(catalogue, "config-faults", file = self.file.clone(), count = self.all.len());
        for fault in self.all.iter().take(SHOWN_MAX) {
            out.push_str("\n\n");
            self.show(fault, catalogue, &mut out);
        }
        if self.all.len() > SHOWN_MAX {
            let _ = write!(out, "\n\n{}", text!(catalogue, "config-more", count = self.all.len() - SHOWN_MAX));
        }
        out
    }

    /// The cause, and below it the line with the place marked.
    fn show(&self, fault: &Fault, catalogue: &Catalogue, out: &mut String) {
        let (number, column, line) = place(&self.text, fault.span.start);
        let gutter = " ".repeat(number.to_string().len());
        let shown: String = line.chars().take(LINE_CHARS_MAX).collect();
        let before: String = shown.chars().take(column - 1).map(blank).collect();
        let end = fault.span.end.min(fault.span.start + line.len()).max(fault.span.start);
        let marked = self.text.get(fault.span.start..end).unwrap_or("").lines().next().unwrap_or("");
        let cells: usize = marked.chars().take(LINE_CHARS_MAX).map(cells).sum();
        let carets = "^".repeat(cells.max(1));
        let _ = writeln!(out, "{}", fault.why.message(catalogue));
        let _ = writeln!(out, "{gutter}--> {}:{number}:{column}", self.file);
        let _ = write!(out, "{gutter} |\n{number} | {shown}\n{gutter} | {before}{carets}");
    }
}

impl Why {
    /// The cause, and what to write instead, as a sentence.
    pub(crate) fn message(&self, catalogue: &Catalogue) -> String {
        match self {
            Self::Syntax(why) => text!(catalogue, "config-syntax", why = why.clone()),
            Self::UnknownKey { section: "", key, like } => {
                similar(catalogue, text!(catalogue, "config-unknown-top", key = key.clone()), like.as_ref())
            }
            Self::UnknownKey { section, key, like } => {
                let message = text!(catalogue, "config-unknown-key", key = key.clone(), section = *section);
                similar(catalogue, message, like.as_ref())
            }
            Self::UnknownSection { name, like } => {
                similar(catalogue, text!(catalogue, "config-unknown-section", name = name.clone()), like.as_ref())
            }
            Self::NoSection { written } => text!(catalogue, "config-no-section", written = written.clone()),
            Self::Type(expected) => expected.message(catalogue),
            Self::Range { low, high } => text!(catalogue, "config-range", low = *low, high = *high),
            Self::Choice { value, choices, like } => {
                let message = text!(catalogue, "config-choice", value = value.clone(), choices = choices.clone());
                similar(catalogue, message, like.as_ref())
            }
            Self::Value(why) => text!(catalogue, "config-value", why = value_words(catalogue, *why)),
            Self::Address { text, why } => {
                let why = failure::endpoint(catalogue, why);
                text!(catalogue, "error-address", text = text.clone(), why = why)
            }
            Self::Datagrams => text!(catalogue, "config-datagrams"),
            Self::WsAddress => text!(catalogue, "config-ws-address"),
            Self::TooMany { name, most } => text!(catalogue, "config-too-many", name = *name, most = *most),
            Self::TooLong { most } => text!(catalogue, "config-too-long", most = *most),
            Self::Network(why) => text!(catalogue, "config-value", why = failure::network(catalogue, why)),
            Self::Missing { section, key } => {
                text!(catalogue, "config-missing", section = *section, key = *key)
            }
            Self::Conflict { other } => text!(catalogue, "config-conflict", other = *other),
            Self::Needs { other } => text!(catalogue, "config-needs", other = *other),
            Self::Twice { value } => text!(catalogue, "config-twice", value = value.clone()),
            Self::Control => text!(catalogue, "config-control"),
            Self::Word => text!(catalogue, "config-word"),
            Self::Vhost => text!(catalogue, "config-vhost"),
            Self::Origin => text!(catalogue, "config-origin"),
            Self::Hash => text!(catalogue, "config-hash"),
            Self::UserMode { mode } => text!(catalogue, "config-user-mode", mode = mode.to_string()),
            Self::File { path, why } => {
                text!(catalogue, "error-read", path = path.clone(), why = failure::io_words(catalogue, *why))
            }
            Self::Sts(why) => why.message(catalogue),
            Self::MustBeLess { other } => text!(catalogue, "config-must-be-less", other = *other),
            Self::MustBeMore { other } => text!(catalogue, "config-must-be-more", other = *other),
            Self::NotOff { low, high } => text!(catalogue, "config-not-off", low = *low, high = *high),
            Self::TimeNotOff => text!(catalogue, "config-time-not-off"),
        }
    }
}

impl Expected {
    fn message(self, catalogue: &Catalogue) -> String {
        match self {
            Self::Text => text!(catalogue, "config-type-text"),
            Self::Number => text!(catalogue, "config-type-number"),
            Self::Bool => text!(catalogue, "config-type-bool"),
            Self::Time => text!(catalogue, "config-type-time"),
            Self::Size => text!(catalogue, "config-type-size"),
            Self::List => text!(catalogue, "config-type-list"),
        }
    }
}

/// The line and column where a byte stands, counted from 1 in characters, and the whole line.
fn place(text: &str, at: usize) -> (usize, usize, &str) {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let begin = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
    let number = text[..begin].matches('\n').count() + 1;
    (number, text[begin..at].chars().count() + 1, text[begin..end].trim_end_matches('\r'))
}

/// As much room as a character takes.
fn blank(character: char) -> &'static str {
    match character {
        '\t' => "\t",
        wide if cells(wide) == 2 => "  ",
        _ => " ",
    }
}

/// How many cells of a terminal a character takes: Hangul, kana, Han and their full-width company take two.
fn cells(character: char) -> usize {
    let is_wide = matches!(u32::from(character), 0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f | 0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1faff | 0x20000..=0x3fffd);
    if is_wide { 2 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_marked_below_the_line() {
        let text = "[server]\r\nname = \"서버\" # 이름\nmotd = 3\n".to_owned();
        let span = text.find("# 이름").expect("there");
        let fault = Fault { span: span..span + "# 이름".len(), why: Why::Control };
        let faults = Faults { file: "a.toml".to_owned(), text, all: vec![fault] };
        let mut shown = String::new();
        faults.show(&faults.all[0], &Catalogue::new(Lang::En), &mut shown);
        let lines: Vec<_> = shown.lines().skip(1).collect();
        assert_eq!(
            lines,
            [" --> a.toml:2:13", "  |", "2 | name = \"서버\" # 이름", "  |               ^^^^^^"],
            "Hangul takes two cells"
        );
    }

    #[test]
    fn places_beyond_the_end_are_the_end() {
        assert_eq!(place("a\nb", 99), (2, 2, "b"));
        assert_eq!(place("", 0), (1, 1, ""));
        assert_eq!(place("가", 1), (1, 1, "가"));
    }
}
