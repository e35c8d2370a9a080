//! Masks: `*` is any text, `?` any one character.
use crate::names::fold;

/// Whether `mask` covers all of `text`. Both are folded before ([`crate::names::fold`]).
///
/// Takes time in proportion to the product of their lengths at most, whatever the mask is.
pub fn covers(mask: &str, text: &str) -> bool {
    let (mut mask, mut text) = (mask.chars(), text.chars());
    // Where to go on if what follows the last star does not fit here.
    let mut star: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let here = text.clone();
        match (mask.next(), text.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                text = here;
                star = Some((mask.clone(), text.clone()));
                continue;
            }
            (Some('?'), Some(_)) => continue,
            (Some(sign), Some(c)) if sign == c => continue,
            _ => {}
        }
        let Some((after, from)) = &mut star else { return false };
        if from.next().is_none() {
            return false;
        }
        (mask, text) = (after.clone(), from.clone());
    }
}

/// Whether this is a mask and no plain name.
pub fn is_mask(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// The whole mask that somebody meant: `nick!user@host`, with a star for what is left out; runs of stars are one, and it is
/// folded. A text with `@` and no `!` is a host, one with neither a nick, or a host if it has a dot or a colon.
pub fn whole(written: &str) -> String {
    let (nick, rest) = match written.split_once('!') {
        Some((nick, rest)) => (nick, rest),
        None if written.contains('@') => ("*", written),
        None if written.contains(['.', ':']) => return one_star(&format!("*!*@{written}")),
        None => (written, ""),
    };
    let (user, host) = rest.split_once('@').unwrap_or((rest, ""));
    let part = |part: &str| if part.is_empty() { "*".to_owned() } else { part.to_owned() };
    one_star(&format!("{}!{}@{}", part(nick), part(user), part(host)))
}

fn one_star(mask: &str) -> String {
    let mut whole = String::with_capacity(mask.len());
    for c in fold(mask).chars() {
        if c != '*' || !whole.ends_with('*') {
            whole.push(c);
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stars_and_question_marks() {
        for (mask, text) in [
            ("*", ""),
            ("*", "anything"),
            ("a*c", "ac"),
            ("a*c", "abbcbc"),
            ("?수", "민수"),
            ("*!*@*.kr", "bob!b@host.kr"),
            ("a*b*c", "a__b__b_c"),
            ("**a", "a"),
        ] {
            assert!(covers(mask, text), "{mask} {text}");
        }
        for (mask, text) in
            [("", "a"), ("a", ""), ("a?", "a"), ("?", "민수"), ("a*c", "acb"), ("*a*b", "ba"), ("*?", "")]
        {
            assert!(!covers(mask, text), "{mask} {text}");
        }
    }

    #[test]
    fn what_is_left_out_is_a_star() {
        for (written, mask) in [
            ("Bob", "bob!*@*"),
            ("bob!x", "bob!x@*"),
            ("x@host", "*!x@host"),
            ("@host", "*!*@host"),
            ("*.example", "*!*@*.example"),
            ("a**b!***@h", "a*b!*@h"),
            ("!", "*!*@*"),
            ("민수", "민수!*@*"),
        ] {
            assert_eq!(whole(written), mask, "{written}");
        }
    }

    #[test]
    fn a_mask_of_stars_takes_no_long_time() {
        assert!(!covers(&format!("{}b", "*a".repeat(100)), &"a".repeat(10_000)));
    }

    /// The same rule, written in the plainest way.
    fn slowly(mask: &[char], text: &[char]) -> bool {
        match (mask, text) {
            ([], []) => true,
            (['*', rest @ ..], _) => slowly(rest, text) || !text.is_empty() && slowly(mask, &text[1..]),
            (['?', mask @ ..], [_, text @ ..]) => slowly(mask, text),
            ([m, mask @ ..], [t, text @ ..]) => m == t && slowly(mask, text),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn as_the_plain_rule_says(mask in "[ab한*?]{0,7}", text in "[ab한]{0,9}") {
            let (m, t): (Vec<char>, Vec<char>) = (mask.chars().collect(), text.chars().collect());
            prop_assert_eq!(covers(&mask, &text), slowly(&m, &t));
        }
        #[test]
        fn a_whole_mask_stays_itself(written in "[a-zA-Z*?!@.한]{0,12}") {
            let mask = whole(&written);
            prop_assert!(mask.contains('!') && mask.contains('@'));
            prop_assert!(!mask.contains("**"));
        }
    }
}
