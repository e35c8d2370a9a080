//! What a completion belongs to: the 64 bits that the kernel hands back with it.

/// What an operation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Receiving on a connection.
    Receive,
    /// A send of a connection.
    Send,
    /// A connection takes output again.
    Writable,
    /// A connection nobody receives on has failed or hung up.
    Watch,
    /// Somebody rings for this loop.
    Waker,
    /// Somebody waits at a listener.
    Listener,
    /// Accepting at a listener.
    Accept,
    /// A datagram socket has something.
    Datagrams,
    /// A datagram socket takes records again.
    DatagramsOut,
    /// Another operation was to be cancelled: what became of that is told by itself.
    Cancel,
}

const KINDS: [Kind; 10] = [
    Kind::Receive,
    Kind::Send,
    Kind::Writable,
    Kind::Watch,
    Kind::Waker,
    Kind::Listener,
    Kind::Accept,
    Kind::Datagrams,
    Kind::DatagramsOut,
    Kind::Cancel,
];

/// Whom an operation is for. `turn` tells connections apart that have had the same place: what completes late finds that it
/// is meant for nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// 28 bits; they come round after 268 million connections in one place.
    pub(super) turn: u32,
    /// A slot, or a number in one of the loop's lists.
    pub(super) index: u32,
}

pub(super) const TURN_MASK: u32 = (1 << 28) - 1;

impl Token {
    /// An operation of a connection.
    pub(super) fn conn(kind: Kind, slot: u32, turn: u32) -> Self {
        Self { kind, turn, index: slot }
    }
    /// An operation of something that lives as long as the loop.
    pub(super) fn fixed(kind: Kind, index: usize) -> Self {
        Self { kind, turn: 0, index: u32::try_from(index).unwrap_or(u32::MAX) }
    }
    pub(super) fn to_bits(self) -> u64 {
        (self.kind as u64) << 60 | u64::from(self.turn & TURN_MASK) << 32 | u64::from(self.index)
    }
    /// `None` for bits that no token has.
    pub(super) fn from_bits(bits: u64) -> Option<Self> {
        let kind = *KINDS.get((bits >> 60) as usize)?;
        Some(Self { kind, turn: (bits >> 32) as u32 & TURN_MASK, index: bits as u32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_keep_all_of_it() {
        for kind in KINDS {
            for (turn, index) in [(0, 0), (1, u32::MAX), (TURN_MASK, 7)] {
                let token = Token { kind, turn, index };
                assert_eq!(Token::from_bits(token.to_bits()), Some(token));
            }
        }
        assert_eq!(Token::from_bits(u64::MAX), None);
    }
}
