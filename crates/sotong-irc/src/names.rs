//! Names of people and rooms: UTF-8, composed, nothing invisible, compared without the case of ASCII letters.
use std::borrow::Cow;
use unicode_normalization::{UnicodeNormalization, is_nfc};
use unicode_security::confusable_detection::skeleton;

/// Why a text is no name. The text of each is told to the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is nothing.
    #[error("A name has at least one character")]
    Empty,
    /// It is longer than the limit.
    #[error("That name is too long")]
    TooLong,
    /// It has characters that nobody sees, or blanks.
    #[error("A name has only characters that can be seen")]
    Invisible,
    /// It has characters that mean something in a line or a mask, or begins with one that means something there.
    #[error("That name has a sign in it that names do not have")]
    Sign,
}

/// What tells two names apart: the composed form, with the letters of ASCII in one case.
pub fn fold(name: &str) -> String {
    let mut folded = composed(name).into_owned();
    folded.make_ascii_lowercase();
    folded
}

/// The composed form (NFC), in which names are kept and shown.
pub fn composed(name: &str) -> Cow<'_, str> {
    if is_nfc(name) { name.into() } else { name.nfc().collect::<String>().into() }
}

/// What two names have in common that look the same (UTS #39): Latin, Greek and Cyrillic `a` for example.
///
/// Two names of ASCII alone are never held to look the same: everybody knows `l` and `1`.
pub fn looks(name: &str) -> String {
    skeleton(&fold(name)).collect()
}

/// Makes a person's name of what was written: 1 to `chars_max` characters.
///
/// # Errors
/// See [`NameError`].
pub fn nick(written: &str, chars_max: usize) -> Result<String, NameError> {
    let name = checked(written, chars_max)?;
    let is_sign = |c: char| matches!(c, ',' | '*' | '?' | '!' | '@' | ':' | '.' | '/' | '\\');
    if name.contains(is_sign) || name.starts_with(['#', '&', '~', '%', '+', '$', '=', '-']) {
        return Err(NameError::Sign);
    }
    Ok(name)
}

/// Makes a room's name of what was written: `#` and at least one character more, `chars_max` in all.
///
/// # Errors
/// See [`NameError`].
pub fn room(written: &str, chars_max: usize) -> Result<String, NameError> {
    let name = checked(written, chars_max)?;
    match name.strip_prefix('#') {
        None => Err(NameError::Sign),
        Some("") => Err(NameError::Empty),
        Some(rest) if rest.contains([',', '*', '?', ':']) => Err(NameError::Sign),
        Some(_) => Ok(name),
    }
}

/// Makes the user part of an address of what a client says of itself: signs and what nobody sees are left out, and what is
/// left is cut after `chars_max` characters.
pub fn user(written: &str, chars_max: usize) -> String {
    let kept =
        written.nfc().filter(|c| !is_invisible(*c) && !c.is_whitespace() && !matches!(c, '!' | '@' | '*' | '?' | ':'));
    let user: String = kept.take(chars_max).collect();
    if user.is_empty() { "user".to_owned() } else { user }
}

fn checked(written: &str, chars_max: usize) -> Result<String, NameError> {
    if written.is_empty() {
        return Err(NameError::Empty);
    }
    // One character more is enough to know: a long text is not composed to its end.
    let name: String = written.nfc().take(chars_max + 1).collect();
    if name.chars().any(|c| c.is_whitespace() || is_invisible(c)) {
        return Err(NameError::Invisible);
    }
    if name.chars().count() > chars_max {
        return Err(NameError::TooLong);
    }
    Ok(name)
}

/// Control characters, and those that programs show as nothing: with them two names could look the same, or a name turn the
/// direction of the text behind it. The joiner and the variation selectors that emoji are made with are among them.
pub fn is_invisible(c: char) -> bool {
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
    use proptest::prelude::*;

    #[test]
    fn nicks_as_people_have_them() {
        for name in ["a", "민수", "ㅋㅋ", "[Bob]", "😀", "Zoë", "_", "7", "a-b", "{x}|^`"] {
            assert_eq!(nick(name, 32).as_deref(), Ok(name));
        }
        let decomposed: String = "민수é".nfd().collect();
        assert_eq!(nick(&decomposed, 3).as_deref(), Ok("민수é"));
    }

    #[test]
    fn nicks_that_are_none() {
        for (written, why) in [
            ("", NameError::Empty),
            ("two words", NameError::Invisible),
            ("a\u{3000}b", NameError::Invisible),
            ("a\u{7}b", NameError::Invisible),
            ("민수\u{200b}", NameError::Invisible),
            ("\u{3164}", NameError::Invisible),
            ("\u{202e}abc", NameError::Invisible),
            ("#room", NameError::Sign),
            ("+voice", NameError::Sign),
            ("@op", NameError::Sign),
            ("*", NameError::Sign),
            ("a!b", NameError::Sign),
            ("a,b", NameError::Sign),
            ("a:b", NameError::Sign),
            ("irc.example", NameError::Sign),
            (&"x".repeat(33), NameError::TooLong),
        ] {
            assert_eq!(nick(written, 32), Err(why), "{written:?}");
        }
    }

    #[test]
    fn rooms() {
        for name in ["#a", "#점심", "##", "#a!b", "#😀"] {
            assert_eq!(room(name, 64).as_deref(), Ok(name));
        }
        for (written, why) in [
            ("", NameError::Empty),
            ("#", NameError::Empty),
            ("a", NameError::Sign),
            ("&a", NameError::Sign),
            ("#a,b", NameError::Sign),
            ("#a*", NameError::Sign),
            ("#a b", NameError::Invisible),
            ("#a\u{7}", NameError::Invisible),
            (&format!("#{}", "x".repeat(64)), NameError::TooLong),
        ] {
            assert_eq!(room(written, 64), Err(why), "{written:?}");
        }
    }

    #[test]
    fn what_is_equal_and_what_only_looks_so() {
        assert_eq!(fold("Bob"), fold("bOB"));
        assert_ne!(fold("É"), fold("é"));
        assert_eq!(fold(&"민수".nfd().collect::<String>()), fold("민수"));
        assert_eq!(looks("bob"), looks("bоb"), "a Cyrillic o");
        for (one, other) in [("민수", "영희"), ("철수", "칠수"), ("bob", "rob"), ("ㅋㅋ", "ㅎㅎ")] {
            assert_ne!(looks(one), looks(other));
        }
    }

    #[test]
    fn what_a_client_says_of_itself_is_cleaned() {
        assert_eq!(user("~bob", 16), "~bob");
        assert_eq!(user("b!o@b\u{7} x", 16), "bobx");
        assert_eq!(user("\u{7}", 16), "user");
        assert_eq!(user("가나다라", 2), "가나");
    }

    proptest! {
        #[test]
        fn a_name_is_composed_and_stays_itself(written in ".{0,40}") {
            if let Ok(name) = nick(&written, 32) {
                prop_assert_eq!(nick(&name, 32), Ok(name.clone()));
                let key = fold(&name);
                prop_assert_eq!(fold(&key), key.clone());
                prop_assert!(name.chars().count() <= 32 && !name.contains([' ', '!', '@', ',']));
            }
        }
    }
}
