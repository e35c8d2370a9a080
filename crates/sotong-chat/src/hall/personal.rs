//! What a person is, beside being called something: his modes.

/// A person's modes, but for being an operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PersonModes(u8);

impl PersonModes {
    /// Shown only to those who share a room with him, or know his nick.
    pub(crate) const INVISIBLE: Self = Self(1);
    /// A program (IRCv3 bot mode).
    pub(crate) const BOT: Self = Self(1 << 1);
    /// Hears privately only those who are logged in.
    pub(crate) const ACCOUNTS_ONLY: Self = Self(1 << 2);
    /// Hears what operators are told.
    pub(crate) const NOTICES: Self = Self(1 << 3);
    /// Hears WALLOPS.
    pub(crate) const WALLOPS: Self = Self(1 << 4);

    /// Hears privately no requests of clients to clients (CTCP).
    pub(crate) const NO_CTCP: Self = Self(1 << 5);

    /// With their letters, in the order of these.
    pub(crate) const ALL: [(Self, char); 6] = [
        (Self::BOT, 'B'),
        (Self::ACCOUNTS_ONLY, 'R'),
        (Self::NO_CTCP, 'T'),
        (Self::INVISIBLE, 'i'),
        (Self::NOTICES, 's'),
        (Self::WALLOPS, 'w'),
    ];
    /// The letters of all, with that of operators.
    pub(crate) const LETTERS: &str = "BRTiosw";

    pub(crate) fn of(letter: char) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, known)| *known == letter).map(|(mode, _)| mode)
    }
    /// Those that somebody may have from the beginning: all but what operators are told.
    pub(crate) fn read(letters: &str) -> Self {
        let modes = letters.chars().filter_map(Self::of).filter(|mode| *mode != Self::NOTICES);
        Self(modes.fold(0, |all, mode| all | mode.0))
    }
    pub(crate) fn has(self, mode: Self) -> bool {
        self.0 & mode.0 != 0
    }
    /// True if that was a change.
    pub(crate) fn set(&mut self, mode: Self, on: bool) -> bool {
        let before = self.0;
        self.0 = if on { before | mode.0 } else { before & !mode.0 };
        before != self.0
    }
    pub(crate) fn letters(self) -> String {
        Self::ALL.into_iter().filter(|(mode, _)| self.has(*mode)).map(|(_, letter)| letter).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_and_back() {
        let mut modes = PersonModes::read("+iwsx");
        assert_eq!(modes.letters(), "iw");
        assert!(modes.set(PersonModes::BOT, true) && !modes.set(PersonModes::BOT, true));
        assert_eq!(modes.letters(), "Biw");
        assert!(modes.set(PersonModes::INVISIBLE, false));
        assert_eq!(modes.letters(), "Bw");
        assert!(PersonModes::ALL.iter().all(|(_, letter)| PersonModes::LETTERS.contains(*letter)));
    }
}
