//! A target's path as the names in a folder: decoded once, and nothing in it that leads elsewhere.
use std::borrow::Cow;

/// Names from the served folder down, joined by `/`, without one at the front. None of them is empty, `.` or `..`, has a
/// slash that was written as `%2F`, a NUL or another control character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SitePath<'a> {
    names: Cow<'a, [u8]>,
    is_folder: bool,
}

/// A path that cannot be served, whatever there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// A `%` without two hexadecimal digits.
    #[error("a percent sign is not followed by two hexadecimal digits")]
    Percent,
    /// A name with a control character, or with a slash that was encoded.
    #[error("a name in the path has a control character or a slash")]
    Character,
    /// `.` or `..`, in whatever encoding: clients resolve them, attackers send them.
    #[error("a name in the path is . or ..")]
    Dots,
    /// It does not begin with a slash.
    #[error("the path does not begin with a slash")]
    Relative,
}

impl<'a> SitePath<'a> {
    /// Reads the path of a target.
    ///
    /// # Errors
    /// One variant of [`BadPath`] for each cause.
    pub fn parse(raw: &'a [u8]) -> Result<Self, BadPath> {
        let rest = raw.strip_prefix(b"/").ok_or(BadPath::Relative)?;
        if rest.iter().all(|byte| is_plain(*byte)) {
            // One plain name: nothing to decode, and the usual case on a small site.
            if matches!(rest, b"." | b"..") {
                return Err(BadPath::Dots);
            }
            return Ok(Self { names: Cow::Borrowed(rest), is_folder: rest.is_empty() });
        }
        let (mut names, mut is_folder) = (Vec::with_capacity(rest.len()), false);
        for name in rest.split(|byte| *byte == b'/') {
            is_folder = name.is_empty();
            if is_folder {
                continue;
            }
            if !names.is_empty() {
                names.push(b'/');
            }
            let from = names.len();
            decode(name, &mut names)?;
            match &names[from..] {
                b"." | b".." => return Err(BadPath::Dots),
                name if name.iter().any(|byte| *byte < b' ' || matches!(byte, b'/' | 0x7f)) => {
                    return Err(BadPath::Character);
                }
                _ => {}
            }
        }
        Ok(Self { is_folder: is_folder || names.is_empty(), names: Cow::Owned(names) })
    }
    /// The names, joined by `/`.
    pub fn names(&self) -> &[u8] {
        &self.names
    }
    /// Whether it ends with a slash: a folder is asked for.
    pub fn is_folder(&self) -> bool {
        self.is_folder
    }
    /// Whether one of the names begins with a dot.
    pub fn is_hidden(&self) -> bool {
        self.names.first() == Some(&b'.') || self.names.windows(2).any(|pair| pair == b"/.")
    }
    /// The last name.
    pub fn last(&self) -> &[u8] {
        self.names.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
    }
}

/// Bytes that mean themselves and end no name.
fn is_plain(byte: u8) -> bool {
    byte > b' ' && !matches!(byte, b'/' | b'%' | 0x7f)
}

fn decode(name: &[u8], to: &mut Vec<u8>) -> Result<(), BadPath> {
    let mut rest = name;
    while let Some((byte, behind)) = rest.split_first() {
        if *byte != b'%' {
            to.push(*byte);
            rest = behind;
            continue;
        }
        let [high, low, behind @ ..] = behind else { return Err(BadPath::Percent) };
        let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(BadPath::Percent);
        to.push((digit(*high)? << 4 | digit(*low)?) as u8);
        rest = behind;
    }
    Ok(())
}

/// Appends `names` so that they can stand in a target or a link: letters, digits and `-._~/` as they are.
pub(super) fn encode(names: &[u8], to: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in names {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(byte) {
            to.push(*byte);
        } else {
            to.extend_from_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_names() {
        for (raw, names, is_folder) in [
            ("/", "", true),
            ("/a", "a", false),
            ("/a/", "a", true),
            ("/a/b.txt", "a/b.txt", false),
            ("//a///b//", "a/b", true),
            ("//evil.example/x", "evil.example/x", false),
            ("/%ED%95%9C%EA%B8%80.txt", "한글.txt", false),
            ("/한글", "한글", false),
            ("/a%20b", "a b", false),
            ("/a+b", "a+b", false),
            ("/%252e%252e/x", "%2e%2e/x", false),
            ("/...", "...", false),
            ("/a\\..\\b", "a\\..\\b", false),
            ("/%5c..%5cb", "\\..\\b", false),
        ] {
            let path = SitePath::parse(raw.as_bytes()).unwrap();
            assert_eq!((path.names(), path.is_folder()), (names.as_bytes(), is_folder), "{raw}");
        }
    }

    #[test]
    fn no_path_leads_out() {
        for (raw, why) in [
            ("/..", BadPath::Dots),
            ("/.", BadPath::Dots),
            ("/../etc/passwd", BadPath::Dots),
            ("/a/../b", BadPath::Dots),
            ("/a/./b", BadPath::Dots),
            ("/%2e%2e/x", BadPath::Dots),
            ("/%2E./x", BadPath::Dots),
            ("/a/.%2e", BadPath::Dots),
            ("/..%2fetc%2fpasswd", BadPath::Character),
            ("/a%2Fb", BadPath::Character),
            ("/a%00b", BadPath::Character),
            ("/a%0d%0aSet-Cookie:x", BadPath::Character),
            ("/a%7f", BadPath::Character),
            ("/%", BadPath::Percent),
            ("/%4", BadPath::Percent),
            ("/%zz", BadPath::Percent),
            ("/%c0%ae%c0%ae%2f", BadPath::Character),
            ("*", BadPath::Relative),
            ("", BadPath::Relative),
        ] {
            assert_eq!(SitePath::parse(raw.as_bytes()), Err(why), "{raw}");
        }
    }

    #[test]
    fn hidden_names_are_seen() {
        for (raw, expect) in
            [("/.git/config", true), ("/a/.b", true), ("/a/%2eb", true), ("/a.b/c", false), ("/", false)]
        {
            assert_eq!(SitePath::parse(raw.as_bytes()).unwrap().is_hidden(), expect, "{raw}");
        }
    }
}
