//! Names that people can tell apart.
use std::{fmt, sync::Arc};
use unicode_normalization::UnicodeNormalization;

/// A member's name: 1 to 32 characters in NFC, nothing invisible. Two names are equal if they differ only in ASCII case.
#[derive(Clone, Debug)]
pub struct Name(Arc<str>);

/// Characters in a name: 32, as chat servers have it; after normalization, so that every syllable of Hangul is one.
pub const NAME_CHARS_MAX: usize = 32;

/// Why a text is no name. The text of each is told to the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There was nothing, or only blanks.
    #[error("A name has at least one character")]
    Empty,
    /// It is longer than [`NAME_CHARS_MAX`].
    #[error("A name has at most 32 characters")]
    TooLong,
    /// It has a blank inside.
    #[error("A name has no blanks in it")]
    Blank,
    /// It has characters that nobody sees, or that change what others see.
    #[error("A name has only characters that can be seen")]
    Invisible,
    /// It could be taken for a command, for the server, or for somebody else speaking.
    #[error("A name does not begin with / or *, and has no : in it")]
    Sign,
}

impl Name {
    /// Makes a name of what somebody typed; blanks around it do not count.
    ///
    /// # Errors
    /// See [`NameError`].
    pub fn new(typed: &str) -> Result<Self, NameError> {
        let typed = typed.trim();
        if typed.is_empty() {
            return Err(NameError::Empty);
        }
        // One character more is enough to know: a long text is not normalized to its end.
        let name: String = typed.nfc().take(NAME_CHARS_MAX + 1).collect();
        if name.chars().any(char::is_whitespace) {
            return Err(NameError::Blank);
        }
        if name.chars().any(is_invisible) {
            return Err(NameError::Invisible);
        }
        if name.starts_with(['/', '*']) || name.contains(':') {
            return Err(NameError::Sign);
        }
        if name.chars().count() > NAME_CHARS_MAX {
            return Err(NameError::TooLong);
        }
        Ok(Self(name.into()))
    }
    /// As its owner wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// What must differ between two members. Hangul has no case, and Unicode's folding would make names equal that people
    /// tell apart.
    pub fn key(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}
impl Eq for Name {}

/// Control characters, and those that Unicode lets programs show as nothing (Default_Ignorable_Code_Point, and the blank of
/// Braille): with them two names could look the same, or a name turn the direction of the text behind it.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
            | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
            | '\u{2800}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}'
            | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_people_have_them() {
        for name in [
            "a",
            "민수",
            "ㅋㅋ",
            "O'Neil-7",
            "😀",
            "Zoë",
            "_",
            "#1",
            "가나다라마바사아자차카타파하가나다라마바사아자차카타파하가나다라",
        ] {
            assert_eq!(Name::new(name).as_ref().map(Name::as_str), Ok(name));
        }
        assert_eq!(Name::new(" \t민수 \r").as_ref().map(Name::as_str), Ok("민수"));
    }

    #[test]
    fn composed_and_decomposed_are_one() {
        let (composed, decomposed) = ("민수é", "민수é".nfd().collect::<String>());
        assert_ne!(composed, decomposed);
        assert_eq!(Name::new(&decomposed).as_ref().map(Name::as_str), Ok(composed));
        // 32 syllables are 96 letters when decomposed.
        assert!(Name::new(&"한".repeat(32).nfd().collect::<String>()).is_ok());
        assert_eq!(Name::new(&"한".repeat(33).nfd().collect::<String>()), Err(NameError::TooLong));
    }

    #[test]
    fn names_that_are_none() {
        for (typed, why) in [
            ("", NameError::Empty),
            (" \t ", NameError::Empty),
            ("two words", NameError::Blank),
            ("a\u{3000}b", NameError::Blank),
            ("a\u{7}b", NameError::Invisible),
            ("a\u{1b}[31m", NameError::Invisible),
            ("민수\u{200b}", NameError::Invisible),
            ("\u{3164}", NameError::Invisible),
            ("\u{202e}abc", NameError::Invisible),
            ("/quit", NameError::Sign),
            ("*", NameError::Sign),
            ("a:", NameError::Sign),
            (&"x".repeat(33), NameError::TooLong),
            (&"x".repeat(1 << 20), NameError::TooLong),
        ] {
            assert_eq!(Name::new(typed), Err(why), "{typed:.40?}");
        }
    }

    #[test]
    fn ascii_case_does_not_tell_names_apart() {
        let name = |typed| Name::new(typed).expect("a name");
        assert_eq!(name("Bob"), name("bOB"));
        assert_eq!(name("Bob").key(), name("bOB").key());
        assert_ne!(name("Bob"), name("Rob"));
        assert_ne!(name("É").key(), name("é").key());
        assert_eq!(name("Bob").to_string(), "Bob");
    }
}
