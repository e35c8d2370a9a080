//! What may not be said in a room: words, and links; and how fast people may speak.
use sotong_irc::{mask, names};
use sotong_session::Moment;
use std::time::Duration;

/// What a filter's entry begins with that is about links.
const LINK: &str = "link:";

/// An entry as it is kept, made of what was written: folded. `link:host` is about links (`link:*` about all of them),
/// anything else about words.
pub(crate) fn whole(written: &str) -> String {
    let entry = folded(written);
    if entry == LINK { format!("{LINK}*") } else { entry }
}

/// Which entry does not let this through.
///
/// Words are compared whole, and by the masks of IRC: `bad` does not hold `badge` up, `bad*` does. Formatting and the case
/// of letters make no difference.
pub(crate) fn stops<'e>(entries: impl IntoIterator<Item = &'e str>, text: &str) -> Option<&'e str> {
    let text = folded(&plain(text));
    let mut entries = entries.into_iter();
    entries.find(|entry| match entry.strip_prefix(LINK) {
        Some(host) => links(&text).any(|link| mask::covers(host, link)),
        None => words(&text, entry).any(|word| mask::covers(entry, word)),
    })
}

/// Lower case, for every script that has it: a filter is no name.
fn folded(text: &str) -> String {
    names::fold(&text.to_lowercase())
}
/// Words between blanks, and the words that signs part these into; with signs where the entry has them.
fn words<'t>(text: &'t str, entry: &str) -> impl Iterator<Item = &'t str> {
    let has_signs = entry.contains(|c: char| !c.is_alphanumeric() && !matches!(c, '*' | '?'));
    let whole = text.split_whitespace().filter(move |_| has_signs);
    let parts = text.split(|c: char| !c.is_alphanumeric()).filter(move |part| !has_signs && !part.is_empty());
    whole.chain(parts)
}
/// Hosts of the links in a text: what follows `://`, and words that begin with `www.`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace().filter_map(|word| {
        let word = word.trim_start_matches(|c: char| !c.is_alphanumeric());
        let rest = match word.split_once("://") {
            Some((scheme, rest)) if scheme.chars().all(|c| c.is_ascii_alphanumeric() || c == '+') => rest,
            _ if word.starts_with("www.") => word,
            _ => return None,
        };
        let place = rest.split(['/', '?', '#']).next()?;
        let host = place.rsplit('@').next()?;
        let host = host.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map_or(host, |(host, _)| host);
        Some(host.trim_end_matches(|c: char| !c.is_alphanumeric() && c != ']')).filter(|host| !host.is_empty())
    })
}
/// The text without what makes it bold or coloured in clients: words are not hidden that way.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{3}' => {
                // Up to two digits, and behind a comma two more.
                let mut digits = 0;
                while digits < 2 && chars.next_if(char::is_ascii_digit).is_some() {
                    digits += 1;
                }
                let mut ahead = chars.clone();
                if digits > 0 && ahead.next() == Some(',') && ahead.next().is_some_and(|c| c.is_ascii_digit()) {
                    chars.next();
                    chars.next();
                    chars.next_if(char::is_ascii_digit);
                }
            }
            // What nobody sees parts no word.
            c if c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{ad}') => {}
            c => plain.push(c),
        }
    }
    plain
}

/// When somebody may speak in a room of so slow a pace; now, if that is nothing.
pub(crate) fn wait(gap: Option<Duration>, spoke: Option<Moment>, now: Moment) -> Option<Duration> {
    let (gap, spoke) = (gap?, spoke?);
    gap.checked_sub(now.since(spoke)).filter(|wait| !wait.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_compared_whole() {
        for (entry, text, is_stopped) in [
            ("bad", "that is BAD.", true),
            ("bad", "badge", false),
            ("bad*", "badge", true),
            ("*bad*", "embadded", true),
            ("b?d", "a bid", true),
            ("나쁜*", "나쁜말은 그만", true),
            ("나쁜", "나쁜말은 그만", false),
            ("bad", "b\u{2}a\u{2}d", true),
            ("bad", "b\u{200b}ad", true),
            ("bad", "\u{3}04,12bad\u{3} word", true),
            ("bad", "\u{3}4,bad", true),
            ("c++", "I like c++", true),
            ("c++", "I like c", false),
            ("été", "ÉTÉ", true),
            ("bad", "", false),
        ] {
            assert_eq!(stops([whole(entry).as_str()], text).is_some(), is_stopped, "{entry} {text:?}");
        }
    }

    #[test]
    fn links_are_known_by_their_hosts() {
        for (entry, text, is_stopped) in [
            ("link:*", "see https://example.org/x", true),
            ("link:", "see https://example.org/x", true),
            ("link:*", "(www.example.org)", true),
            ("link:*", "irc://example.org", true),
            ("link:*", "no link: here", false),
            ("link:*", "a://", false),
            ("link:*.example.org", "http://user@a.example.org:8080/x", true),
            ("link:*.example.org", "http://example.net/?a.example.org", false),
            ("link:example.org", "HTTPS://EXAMPLE.ORG", true),
            ("link:example.org", "<https://example.org>", true),
        ] {
            assert_eq!(stops([whole(entry).as_str()], text).is_some(), is_stopped, "{entry} {text:?}");
        }
    }

    #[test]
    fn the_entry_that_stops_is_told() {
        assert_eq!(stops(["good", "bad"], "very bad"), Some("bad"));
        assert_eq!(stops([], "very bad"), None);
    }

    #[test]
    fn slow_rooms() {
        let at = |seconds| Moment::START + Duration::from_secs(seconds);
        let gap = Some(Duration::from_secs(10));
        assert_eq!(wait(gap, Some(at(100)), at(103)), Some(Duration::from_secs(7)));
        assert_eq!(wait(gap, Some(at(100)), at(110)), None);
        assert_eq!(wait(gap, None, at(100)), None);
        assert_eq!(wait(None, Some(at(100)), at(100)), None);
    }
}
