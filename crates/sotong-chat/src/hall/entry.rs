//! Entries of a room's lists: masks, and extended bans.
//!
//! `nick!user@host` with stars covers people by their address; `a:account` (or `account:account`, IRCv3 account-extban)
//! those who are logged in so; `m:` in front of either makes a ban of it that leaves people in and keeps them silent, and
//! `t:10:` in front of it all lets it end after so many minutes.
use super::times::duration;
use sotong_irc::{mask, names};

/// What an entry covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whom<'e> {
    /// Those whose address fits.
    Mask(&'e str),
    /// Those who are logged in to an account that fits.
    Account(&'e str),
}

/// What an entry is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Coming in.
    Join,
    /// Saying something.
    Speak,
}

/// Somebody, as lists see him.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'s> {
    /// `nick!user@host`, folded.
    pub(crate) source: &'s str,
    /// The same with the host that he would have if he had been given no other.
    pub(crate) behind: Option<&'s str>,
    /// The account he is logged in to.
    pub(crate) account: Option<&'s str>,
}

/// The letters of the extended bans there are, as EXTBAN in 005 has them.
pub(crate) const LETTERS: &str = "amt";
/// What an account's ban may begin with, as ACCOUNTEXTBAN in 005 has it.
pub(crate) const ACCOUNT_NAMES: &str = "a,account";
const ACCOUNT: &str = "a:";
const MUTE: &str = "m:";
const TIMED: &str = "t:";

/// An entry as it is kept and shown, made of what was written: folded, and whole.
pub(crate) fn whole(written: &str) -> String {
    // Other servers put a `$` or a `~` in front of their extended bans.
    let plain = written.strip_prefix(['$', '~']).filter(|rest| rest.contains(':')).unwrap_or(written);
    if let Some((time, rest)) = prefixed(plain, "t").and_then(|rest| rest.split_once(':'))
        && let time = time.to_ascii_lowercase()
        && duration(&time).is_some()
    {
        let entry = whole(rest);
        return format!("{TIMED}{time}:{}", untimed(&entry));
    }
    if let Some(rest) = prefixed(plain, "m") {
        let entry = whole(rest);
        let entry = untimed(&entry);
        return if entry.starts_with(MUTE) { entry.to_owned() } else { format!("{MUTE}{entry}") };
    }
    for name in ACCOUNT_NAMES.split(',') {
        if let Some(account) = prefixed(plain, name) {
            let account = names::fold(account);
            // The name that was written is kept: whoever looks for his entry finds it so.
            return format!("{name}:{}", if account.is_empty() { "*" } else { &account });
        }
    }
    mask::whole(written)
}

/// For how many seconds a stored entry holds; nothing: for good.
pub(crate) fn seconds(entry: &str) -> Option<u64> {
    duration(entry.strip_prefix(TIMED)?.split_once(':')?.0)
}
/// A stored entry without its time.
fn untimed(entry: &str) -> &str {
    entry.strip_prefix(TIMED).and_then(|rest| rest.split_once(':')).map_or(entry, |(_, rest)| rest)
}
/// A stored entry without its time, and whether it is for silence alone.
fn parts(entry: &str) -> (bool, &str) {
    let entry = untimed(entry);
    entry.strip_prefix(MUTE).map_or((false, entry), |rest| (true, rest))
}

/// Whether a stored entry covers somebody who does this.
pub(crate) fn covers(entry: &str, who: Subject<'_>, act: Act) -> bool {
    let (is_mute, entry) = parts(entry);
    if is_mute && act != Act::Speak {
        return false;
    }
    match whom(entry) {
        Whom::Mask(mask) => {
            mask::covers(mask, who.source) || who.behind.is_some_and(|source| mask::covers(mask, source))
        }
        Whom::Account(mask) => who.account.is_some_and(|account| mask::covers(mask, &names::fold(account))),
    }
}

/// Whether two entries cover the same, though they are written otherwise, or hold for another time.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    let ((one_mute, one), (other_mute, other)) = (parts(one), parts(other));
    one_mute == other_mute && whom(one) == whom(other)
}

/// Whether a stored entry is for this account alone, by its fold.
pub(crate) fn is_account(entry: &str, account: &str) -> bool {
    whom(parts(entry).1) == Whom::Account(account)
}

fn whom(entry: &str) -> Whom<'_> {
    let account = entry.strip_prefix(ACCOUNT).or_else(|| entry.strip_prefix("account:"));
    account.map_or(Whom::Mask(entry), Whom::Account)
}
/// What follows `name:`, whatever the case of the name.
fn prefixed<'w>(written: &'w str, name: &str) -> Option<&'w str> {
    let (before, rest) = written.split_once(':')?;
    before.eq_ignore_ascii_case(name).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOB: Subject<'_> = Subject { source: "bob!~b@host.example", behind: None, account: Some("Robert") };
    const GUEST: Subject<'_> = Subject { source: "robert!~r@host.example", behind: None, account: None };

    #[test]
    fn as_they_are_kept() {
        for (written, kept) in [
            ("Bob", "bob!*@*"),
            ("*.Example", "*!*@*.example"),
            ("m:Bob!*@*", "m:bob!*@*"),
            ("m:bob", "m:bob!*@*"),
            ("a:Robert", "a:robert"),
            ("$a:Robert", "a:robert"),
            ("~a:Robert", "a:robert"),
            ("account:Robert", "account:robert"),
            ("A:robert", "a:robert"),
            ("a:", "a:*"),
            ("m:a:robert", "m:a:robert"),
            ("m:M:m:bob", "m:bob!*@*"),
            ("~t:10:Bob", "t:10:bob!*@*"),
            ("T:1H:m:a:Bob", "t:1h:m:a:bob"),
            ("m:t:10:bob", "m:bob!*@*"),
            ("t:x:bob", "*!*@t:x:bob"),
            ("$x", "$x!*@*"),
            ("민수", "민수!*@*"),
        ] {
            assert_eq!(whole(written), kept, "{written}");
        }
    }

    #[test]
    fn accounts_and_mutes() {
        for (entry, who, join, speak) in [
            ("bob!*@*", BOB, true, true),
            ("m:bob!*@*", BOB, false, true),
            ("a:robert", BOB, true, true),
            ("account:rob*", BOB, true, true),
            ("m:a:robert", BOB, false, true),
            // An account, and no nick.
            ("a:robert", GUEST, false, false),
            ("a:*", GUEST, false, false),
            ("a:*", BOB, true, true),
            ("*!*@*", GUEST, true, true),
        ] {
            assert_eq!(
                (covers(entry, who, Act::Join), covers(entry, who, Act::Speak)),
                (join, speak),
                "{entry} {who:?}"
            );
        }
    }

    #[test]
    fn entries_that_end() {
        assert_eq!(seconds("t:10:bob!*@*"), Some(600));
        assert_eq!(seconds("t:1h:m:bob!*@*"), Some(3600));
        assert_eq!(seconds("m:bob!*@*"), None);
        assert!(covers("t:10:m:bob!*@*", BOB, Act::Speak) && !covers("t:10:m:bob!*@*", BOB, Act::Join));
    }

    #[test]
    fn two_ways_to_write_one_ban() {
        assert!(is_same("a:bob", "account:bob"));
        assert!(is_same("m:a:bob", "m:account:bob"));
        assert!(is_same("t:10:bob!*@*", "bob!*@*"));
        assert!(!is_same("a:bob", "m:a:bob"));
        assert!(!is_same("a:bob", "bob!*@*"));
    }

    proptest! {
        #[test]
        fn a_whole_entry_stays_itself(written in "[$~]?[amAM:]{0,4}[a-zA-Z*?!@.:한]{0,12}") {
            let entry = whole(&written);
            prop_assert_eq!(whole(&entry), entry);
        }
    }
}
