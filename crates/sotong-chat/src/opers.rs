//! Operators of the server: who they are, and what they may do.
use std::fmt;

/// An operator, as the configuration names him.
#[derive(Clone, PartialEq, Eq)]
pub struct Oper {
    /// What he calls himself to OPER.
    pub name: String,
    /// How he proves it: `$argon2…`, or the password itself, which is for tests; nothing: his certificate alone does it.
    pub password: String,
    /// The SHA-256 fingerprint of his certificate, in hexadecimal; nothing: any or none will do.
    pub certificate: String,
    /// What he may do.
    pub class: OperClass,
    /// The host others are shown for him; nothing: what he had.
    pub vhost: String,
}

impl fmt::Debug for Oper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No password gets into a log.
        f.debug_struct("Oper").field("name", &self.name).field("class", &self.class).finish_non_exhaustive()
    }
}

/// What an operator may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OperClass {
    /// Everything.
    #[default]
    Admin,
    /// Keeps order: KILL, bans, WALLOPS, STATS.
    Moderator,
    /// Looks: STATS, and where people are from.
    Helper,
}

impl OperClass {
    /// The classes by their names.
    pub const ALL: [(&'static str, Self); 3] =
        [("admin", Self::Admin), ("moderator", Self::Moderator), ("helper", Self::Helper)];

    /// The class of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, class)| *class)
    }
    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, class)| *class == self).map_or("", |(name, _)| name)
    }
    /// Whether it may do this.
    pub(crate) fn may(self, what: Privilege) -> bool {
        use Privilege as P;
        match self {
            Self::Admin => true,
            Self::Moderator => {
                matches!(what, P::Kill | P::Ban | P::Wallops | P::Stats | P::See | P::Notices)
            }
            Self::Helper => matches!(what, P::Stats | P::See | P::Notices),
        }
    }
}

/// Something that only operators do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Privilege {
    /// KILL.
    Kill,
    /// KLINE, DLINE, UNKLINE, UNDLINE.
    Ban,
    /// REHASH.
    Rehash,
    /// WALLOPS.
    Wallops,
    /// STATS that are not for everybody.
    Stats,
    /// Real addresses, and who is invisible.
    See,
    /// Server notices (user mode s).
    Notices,
    /// SAJOIN, SAPART, SAMODE, SANICK.
    Force,
    /// CHGHOST and hosts of accounts.
    Vhost,
    /// Other people's registered rooms.
    Rooms,
    /// Speaking for others where he is no operator of the room.
    Relay,
    /// Other people's accounts.
    Accounts,
}

/// What a password in the options begins with where it is a hash.
pub(crate) const HASHED: &str = "$argon2";

/// Whether two texts are the same, in a time that does not tell where they differ.
pub(crate) fn is_same_secret(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let length = one.len().max(other.len());
    let byte = |text: &[u8], at: usize| text.get(at).copied().unwrap_or(0);
    let differ =
        (0..length).fold(one.len() ^ other.len(), |differ, at| differ | usize::from(byte(one, at) ^ byte(other, at)));
    std::hint::black_box(differ) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_by_name() {
        for (name, class) in OperClass::ALL {
            assert_eq!((OperClass::named(name), class.name()), (Some(class), name));
        }
        assert_eq!(OperClass::named("god"), None);
    }

    #[test]
    fn what_each_may() {
        use Privilege as P;
        for (what, moderator, helper) in [
            (P::Kill, true, false),
            (P::Ban, true, false),
            (P::Rehash, false, false),
            (P::Wallops, true, false),
            (P::Stats, true, true),
            (P::See, true, true),
            (P::Notices, true, true),
            (P::Force, false, false),
            (P::Vhost, false, false),
            (P::Rooms, false, false),
            (P::Relay, false, false),
            (P::Accounts, false, false),
        ] {
            let may = |class: OperClass| class.may(what);
            assert_eq!(
                (may(OperClass::Admin), may(OperClass::Moderator), may(OperClass::Helper)),
                (true, moderator, helper),
                "{what:?}"
            );
        }
    }

    #[test]
    fn secrets() {
        assert!(is_same_secret("sesame", "sesame"));
        assert!(!is_same_secret("sesame", "sesam"));
        assert!(!is_same_secret("sesame", "Sesame"));
        assert!(!is_same_secret("", "a"));
        assert!(is_same_secret("", ""));
        assert!(!is_same_secret("a", "a\0"));
    }
}
