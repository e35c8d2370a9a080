//! What somebody is in a room, and whom that puts him above.

/// What somebody is in a room: several at once, the highest counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank(u8);

impl Rank {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const VOICE: Self = Self(1);
    pub(crate) const HALF: Self = Self(2);
    pub(crate) const OP: Self = Self(4);
    pub(crate) const ADMIN: Self = Self(8);
    pub(crate) const FOUNDER: Self = Self(16);
    /// The highest first, with the letter of the mode and the sign in front of a name.
    pub(crate) const ALL: [(Self, char, char); 5] = [
        (Self::FOUNDER, 'q', '~'),
        (Self::ADMIN, 'a', '&'),
        (Self::OP, 'o', '@'),
        (Self::HALF, 'h', '%'),
        (Self::VOICE, 'v', '+'),
    ];

    pub(crate) fn of(letter: char) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, known, _)| *known == letter).map(|(rank, ..)| rank)
    }
    pub(crate) fn of_sign(sign: char) -> Option<Self> {
        Self::ALL.into_iter().find(|(.., known)| *known == sign).map(|(rank, ..)| rank)
    }
    /// The mode's letter, for one rank alone.
    pub(crate) fn letter(self) -> Option<char> {
        Self::ALL.into_iter().find(|(rank, ..)| *rank == self).map(|(_, letter, _)| letter)
    }
    pub(crate) fn has(self, rank: Self) -> bool {
        self.0 & rank.0 != 0
    }
    /// Whether it is `rank` or higher.
    pub(crate) fn is_at_least(self, rank: Self) -> bool {
        self.0 >= rank.0
    }
    pub(crate) fn set(&mut self, rank: Self, on: bool) {
        self.0 = if on { self.0 | rank.0 } else { self.0 & !rank.0 };
    }
    /// The highest of what it is.
    pub(crate) fn highest(self) -> Self {
        Self::ALL.into_iter().map(|(rank, ..)| rank).find(|rank| self.has(*rank)).unwrap_or_default()
    }
    /// The letters of all that it is.
    pub(crate) fn letters(self) -> String {
        Self::ALL.into_iter().filter(|(rank, ..)| self.has(*rank)).map(|(_, letter, _)| letter).collect()
    }
    /// The signs in front of a name: all of them, or the highest.
    pub(crate) fn signs(self, all: bool) -> String {
        let signs = Self::ALL.into_iter().filter(|(rank, ..)| self.has(*rank)).map(|(.., sign)| sign);
        signs.take(if all { Self::ALL.len() } else { 1 }).collect()
    }
    /// Whether somebody with this rank gives `rank`, or takes it from one who is `theirs`.
    ///
    /// Founders do everything; an admin makes ops, an op makes ops, half-ops and voices, a half-op voices. Nobody takes
    /// anything from those above him.
    pub(crate) fn grants(self, rank: Self, gives: bool, theirs: Self) -> bool {
        let needed = match rank {
            Self::FOUNDER | Self::ADMIN => Self::FOUNDER,
            Self::VOICE => Self::HALF,
            _ => Self::OP,
        };
        self.is_at_least(needed) && (gives || self.highest() >= theirs.highest())
    }
    /// Whether somebody with this rank puts out one who is `theirs`: half-ops those without rank and voices, everybody above
    /// them those who are not above himself.
    pub(crate) fn removes(self, theirs: Self) -> bool {
        match self.highest() {
            Self::NONE | Self::VOICE => false,
            Self::HALF => !theirs.is_at_least(Self::HALF),
            mine => mine >= theirs.highest(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_sign_or_all() {
        let mut rank = Rank::NONE;
        rank.set(Rank::VOICE, true);
        rank.set(Rank::FOUNDER, true);
        rank.set(Rank::OP, true);
        assert_eq!((rank.signs(true).as_str(), rank.signs(false).as_str()), ("~@+", "~"));
        assert_eq!(rank.highest(), Rank::FOUNDER);
        rank.set(Rank::FOUNDER, false);
        assert_eq!(rank.highest().letter(), Some('o'));
        assert_eq!(Rank::NONE.signs(true), "");
    }

    #[test]
    fn who_makes_and_unmakes_whom() {
        use Rank as R;
        for (mine, rank, theirs, may) in [
            (R::FOUNDER, R::FOUNDER, R::NONE, true),
            (R::FOUNDER, R::ADMIN, R::FOUNDER, true),
            (R::ADMIN, R::ADMIN, R::NONE, false),
            (R::ADMIN, R::OP, R::OP, true),
            (R::ADMIN, R::OP, R::FOUNDER, false),
            (R::OP, R::OP, R::OP, true),
            (R::OP, R::VOICE, R::ADMIN, false),
            (R::HALF, R::VOICE, R::NONE, true),
            (R::HALF, R::VOICE, R::OP, false),
            (R::HALF, R::HALF, R::NONE, false),
            (R::VOICE, R::VOICE, R::NONE, false),
        ] {
            assert_eq!(mine.grants(rank, false, theirs), may, "{mine:?} {rank:?} {theirs:?}");
        }
        assert!(R::HALF.grants(R::VOICE, true, R::OP) && !R::VOICE.grants(R::VOICE, true, R::NONE));
    }

    #[test]
    fn who_puts_out_whom() {
        use Rank as R;
        for (mine, theirs, may) in [
            (R::OP, R::OP, true),
            (R::OP, R::ADMIN, false),
            (R::ADMIN, R::FOUNDER, false),
            (R::FOUNDER, R::FOUNDER, true),
            (R::HALF, R::VOICE, true),
            (R::HALF, R::HALF, false),
            (R::VOICE, R::NONE, false),
            (R::NONE, R::NONE, false),
        ] {
            assert_eq!(mine.removes(theirs), may, "{mine:?} {theirs:?}");
        }
        // Several ranks at once: the highest counts, whatever else there is.
        let mut mine = Rank::OP;
        mine.set(Rank::VOICE, true);
        assert!(Rank::OP.removes(mine));
    }
}
