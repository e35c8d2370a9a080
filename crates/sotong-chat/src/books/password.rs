//! Passwords as they are compared.
use unicode_normalization::UnicodeNormalization;

/// Why a text is no password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPassword {
    /// There is nothing.
    Empty,
    /// It is longer than the limit.
    TooLong,
    /// It has control characters in it.
    Control,
}

impl BadPassword {
    /// What people are told.
    pub fn text(self) -> &'static str {
        match self {
            Self::Empty => "A password has at least one character",
            Self::TooLong => "That password is too long",
            Self::Control => "A password has no control characters in it",
        }
    }
}

/// A password in the form in which it is hashed, which is the same however a keyboard has put its characters together: what
/// SASLprep (RFC 4013) makes of it, as RFC 5802 and RFC 4616 ask. So a password of Hangul fits from every system.
///
/// # Errors
/// See [`BadPassword`].
pub fn prepared(written: &str, bytes_max: usize) -> Result<String, BadPassword> {
    if written.len() > bytes_max {
        return Err(BadPassword::TooLong);
    }
    // RFC 3454, tables B.1 and C.1.2.
    let kept = written.chars().filter(|c| {
        !matches!(c, '\u{AD}' | '\u{34F}' | '\u{1806}' | '\u{180B}'..='\u{180D}' | '\u{200B}'..='\u{200D}' | '\u{2060}'
            | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}')
    });
    let spaced = kept.map(|c| {
        let is_space =
            matches!(c, '\u{A0}' | '\u{1680}' | '\u{2000}'..='\u{200A}' | '\u{202F}' | '\u{205F}' | '\u{3000}');
        if is_space { ' ' } else { c }
    });
    let prepared: String = spaced.nfkc().collect();
    if prepared.is_empty() {
        return Err(BadPassword::Empty);
    }
    if prepared.chars().any(char::is_control) {
        return Err(BadPassword::Control);
    }
    // A ligature may become many characters.
    if prepared.len() > bytes_max.saturating_mul(4) { Err(BadPassword::TooLong) } else { Ok(prepared) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_it_was_typed() {
        let apart: String = "비밀".nfd().collect();
        assert_ne!(apart, "비밀");
        assert_eq!(prepared(&apart, 99), prepared("비밀", 99));
        // RFC 4013 §3.
        assert_eq!(prepared("I\u{AD}X", 99).as_deref(), Ok("IX"));
        assert_eq!(prepared("user", 99).as_deref(), Ok("user"));
        assert_eq!(prepared("USER", 99).as_deref(), Ok("USER"));
        assert_eq!(prepared("\u{AA}", 99).as_deref(), Ok("a"));
        assert_eq!(prepared("\u{2168}", 99).as_deref(), Ok("IX"));
        assert_eq!(prepared("\u{7}", 99), Err(BadPassword::Control));
        assert_eq!(prepared("a\u{A0}b c", 99).as_deref(), Ok("a b c"));
    }

    #[test]
    fn what_is_none() {
        assert_eq!(prepared("", 99), Err(BadPassword::Empty));
        assert_eq!(prepared("\u{200B}", 99), Err(BadPassword::Empty));
        assert_eq!(prepared("abc", 2), Err(BadPassword::TooLong));
        assert_eq!(prepared("a\0b", 99), Err(BadPassword::Control));
        assert_eq!(prepared(&"\u{FDFA}".repeat(100), 300), Err(BadPassword::TooLong));
    }
}
