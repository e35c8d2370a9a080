//! The names that a certificate can be for.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use idna::AsciiDenyList;

use crate::error::CertError;

/// Bytes of a DNS name (RFC 1035, section 2.3.4, without the closing dot).
const NAME_BYTES_MAX: usize = 253;
/// Bytes of one label of it.
const LABEL_BYTES_MAX: usize = 63;
/// Characters of a common name (RFC 5280, appendix A.1).
pub(crate) const COMMON_NAME_CHARS_MAX: usize = 64;

/// A DNS name in ASCII and lower case, with a star for its leftmost label or without, or an IP address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostName {
    /// A DNS name; what is not ASCII has become A-labels (RFC 5890).
    Dns(String),
    /// An IP address.
    Ip(IpAddr),
}

/// Why a text is no name for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameProblem {
    /// It is empty, or a part of it between dots is.
    Empty,
    /// It, or a part of it between dots, is too long.
    TooLong,
    /// This character cannot be part of a name.
    Character(char),
    /// A part begins or ends with a hyphen.
    Hyphen,
    /// A star that is not the whole of the leftmost part, or stands for the whole name.
    Star,
    /// It ends with a number, as IP addresses do, and is none.
    Numeric,
    /// Its letters make no internationalized name (UTS 46).
    Idna,
}

impl fmt::Display for NameProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it, or a part of it, is empty"),
            Self::TooLong => f.write_str("it, or a part of it, is too long"),
            Self::Character(c) => write!(f, "{c:?} cannot be part of it"),
            Self::Hyphen => f.write_str("a part begins or ends with a hyphen"),
            Self::Star => f.write_str("a star stands for the leftmost part of several"),
            Self::Numeric => f.write_str("it ends with a number and is no IP address"),
            Self::Idna => f.write_str("its letters make no name"),
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(ip) => ip.fmt(f),
        }
    }
}

impl FromStr for HostName {
    type Err = CertError;

    /// An IPv6 address may stand in brackets, and a closing dot is dropped.
    fn from_str(text: &str) -> Result<Self, CertError> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if let Ok(ip) = bare.parse() {
            return Ok(Self::Ip(ip));
        }
        dns(text).map(Self::Dns).map_err(|why| CertError::BadName { text: text.to_owned(), why })
    }
}

fn dns(text: &str) -> Result<String, NameProblem> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let (star, rest) = match text.strip_prefix("*.") {
        Some(rest) => ("*.", rest),
        None => ("", text),
    };
    if text == "*" || rest.contains('*') {
        return Err(NameProblem::Star);
    }
    // What UTS 46 would take away, or make something else of, is refused as it stands.
    if let Some(bad) =
        rest.chars().find(|c| c.is_ascii() && !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.'))
    {
        return Err(NameProblem::Character(bad));
    }
    let ascii = if rest.is_ascii() {
        rest.to_ascii_lowercase()
    } else {
        let mapped = idna::domain_to_ascii_cow(rest.as_bytes(), AsciiDenyList::URL).map_err(|_| NameProblem::Idna)?;
        mapped.into_owned()
    };
    for label in ascii.split('.') {
        if label.is_empty() {
            return Err(NameProblem::Empty);
        }
        if label.len() > LABEL_BYTES_MAX {
            return Err(NameProblem::TooLong);
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(NameProblem::Hyphen);
        }
    }
    // What an A-label stands for must be a name, too.
    idna::domain_to_ascii_cow(ascii.as_bytes(), AsciiDenyList::EMPTY).map_err(|_| NameProblem::Idna)?;
    if ascii.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(NameProblem::Numeric);
    }
    let name = format!("{star}{ascii}");
    if name.len() > NAME_BYTES_MAX { Err(NameProblem::TooLong) } else { Ok(name) }
}

/// The name of a client, as it stands in its certificate: 1 to 64 characters that can be shown.
pub(crate) fn client(text: &str) -> Result<&str, CertError> {
    let why = match text.chars().find(|c| c.is_control()) {
        Some(bad) => NameProblem::Character(bad),
        None if text.trim().is_empty() => NameProblem::Empty,
        None if text.chars().count() > COMMON_NAME_CHARS_MAX => NameProblem::TooLong,
        None => return Ok(text),
    };
    Err(CertError::BadName { text: text.to_owned(), why })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_brought_to_one_form() {
        for (text, shown) in [
            ("localhost", "localhost"),
            ("LocalHost.", "localhost"),
            ("*.Example.com", "*.example.com"),
            ("a_b.example", "a_b.example"),
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "::1"),
            ("[0:0::1]", "::1"),
            ("한글.한국", "xn--bj0bj06e.xn--3e0b707e"),
            ("*.소통.example", "*.xn--9l4bo90a.example"),
            ("Bücher.example", "xn--bcher-kva.example"),
            ("xn--bj0bj06e.example", "xn--bj0bj06e.example"),
        ] {
            assert_eq!(text.parse::<HostName>().map(|name| name.to_string()).as_deref(), Ok(shown), "{text}");
        }
    }

    #[test]
    fn what_is_no_name_is_told_by_cause() {
        let long = format!("{}.example", "a".repeat(64));
        let longer = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(63)].join(".");
        for (text, why) in [
            ("", NameProblem::Empty),
            (".", NameProblem::Empty),
            ("a..b", NameProblem::Empty),
            (".example", NameProblem::Empty),
            ("*", NameProblem::Star),
            ("*.", NameProblem::Star),
            ("a.*.example", NameProblem::Star),
            ("a*.example", NameProblem::Star),
            ("*.*.example", NameProblem::Star),
            ("a b.example", NameProblem::Character(' ')),
            ("localhost:443", NameProblem::Character(':')),
            ("https://a.example", NameProblem::Character(':')),
            ("a/b", NameProblem::Character('/')),
            ("a\0b", NameProblem::Character('\0')),
            ("-a.example", NameProblem::Hyphen),
            ("a-.example", NameProblem::Hyphen),
            ("1.2.3", NameProblem::Numeric),
            ("256.1.1.1", NameProblem::Numeric),
            ("xn--a.example", NameProblem::Idna),
            ("\u{200b}", NameProblem::Empty),
            (&long, NameProblem::TooLong),
            (&longer, NameProblem::TooLong),
        ] {
            assert_eq!(text.parse::<HostName>(), Err(CertError::BadName { text: text.to_owned(), why }), "{text:?}");
        }
    }

    #[test]
    fn a_clients_name_can_be_shown() {
        assert!(client("alice").is_ok() && client("김 영희").is_ok() && client(&"가".repeat(64)).is_ok());
        for text in ["", " ", "a\nb", &"가".repeat(65)] {
            assert!(client(text).is_err(), "{text:?}");
        }
    }
}
