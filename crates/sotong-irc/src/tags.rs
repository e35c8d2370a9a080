//! Tags: what a line says about itself (IRCv3 message tags).
use std::borrow::Cow;

/// The tags of a message, as they were written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tags<'a> {
    raw: &'a str,
}

/// One tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag<'a> {
    /// Its name, with a `+` in front where it is a client's own.
    pub key: &'a str,
    /// Its value, still escaped; a tag without one has an empty one.
    pub escaped: &'a str,
}

impl<'a> Tags<'a> {
    /// The tags between `@` and the blank.
    pub(crate) fn new(raw: &'a str) -> Self {
        Self { raw }
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }
    /// Each of them, in their order. Empty ones are none.
    pub fn iter(&self) -> impl Iterator<Item = Tag<'a>> {
        self.raw.split(';').filter(|tag| !tag.is_empty()).map(|tag| {
            let (key, escaped) = tag.split_once('=').unwrap_or((tag, ""));
            Tag { key, escaped }
        })
    }
    /// The value of the last tag of this name: of several the last one counts.
    pub fn get(&self, key: &str) -> Option<String> {
        self.iter().filter(|tag| tag.key == key).last().map(|tag| tag.value())
    }
}

impl Tag<'_> {
    /// Its value. A backslash before any other character, or at the end, is left out.
    pub fn value(&self) -> String {
        let mut value = String::with_capacity(self.escaped.len());
        let mut chars = self.escaped.chars();
        while let Some(c) = chars.next() {
            if c != '\\' {
                value.push(c);
                continue;
            }
            value.extend(chars.next().map(|escaped| match escaped {
                ':' => ';',
                's' => ' ',
                'r' => '\r',
                'n' => '\n',
                other => other,
            }));
        }
        value
    }
}

/// A tag's value as it stands in a line.
pub fn escape(value: &str) -> Cow<'_, str> {
    if !value.contains([';', ' ', '\\', '\r', '\n', '\0']) {
        return value.into();
    }
    let mut escaped = String::with_capacity(value.len() + 8);
    for c in value.chars() {
        match c {
            ';' => escaped.push_str("\\:"),
            ' ' => escaped.push_str("\\s"),
            '\\' => escaped.push_str("\\\\"),
            '\r' => escaped.push_str("\\r"),
            '\n' => escaped.push_str("\\n"),
            '\0' => {}
            other => escaped.push(other),
        }
    }
    escaped.into()
}

/// Whether this can name a tag: `+`, a vendor and `/` may stand in front of letters, digits and hyphens.
pub fn is_tag_key(key: &str) -> bool {
    let key = key.strip_prefix('+').unwrap_or(key);
    let (vendor, name) = key.rsplit_once('/').unwrap_or(("v", key));
    let is_word = |word: &str, more: &[u8]| {
        !word.is_empty()
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || more.contains(&byte))
    };
    is_word(name, b"") && is_word(vendor, b".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tags_are_told_apart_and_the_last_one_counts() {
        let tags = Tags::new("a=1;b;;+c/d=x\\sy;a=2;e=");
        let keys: Vec<_> = tags.iter().map(|tag| tag.key).collect();
        assert_eq!(keys, ["a", "b", "+c/d", "a", "e"]);
        assert_eq!(tags.get("a").as_deref(), Some("2"));
        assert_eq!(tags.get("b").as_deref(), Some(""));
        assert_eq!(tags.get("+c/d").as_deref(), Some("x y"));
        assert_eq!(tags.get("none"), None);
    }

    #[test]
    fn values_are_unescaped() {
        let value = |escaped| Tag { key: "k", escaped }.value();
        assert_eq!(value("\\:\\s\\\\\\r\\n"), "; \\\r\n");
        assert_eq!(value("\\a\\"), "a");
        assert_eq!(escape("plain"), "plain");
        assert_eq!(escape("a;b c\\d\r\n"), "a\\:b\\sc\\\\d\\r\\n");
    }

    #[test]
    fn names_of_tags() {
        for key in ["a", "+a", "draft/react", "+draft/react", "example.com/x-1"] {
            assert!(is_tag_key(key), "{key}");
        }
        for key in ["", "+", "a/", "/a", "a b", "한", "++a", "a_b"] {
            assert!(!is_tag_key(key), "{key}");
        }
    }

    proptest! {
        #[test]
        fn escaping_is_undone(value in "[^\\x00]{0,40}") {
            let escaped = escape(&value);
            prop_assert!(!escaped.contains([';', ' ', '\r', '\n']));
            let tag = Tag { key: "k", escaped: &escaped };
            prop_assert_eq!(tag.value(), value);
        }
    }
}
