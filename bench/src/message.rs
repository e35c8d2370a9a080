//! What the load sends, so that a byte that comes back wrong, doubled or from somebody else is seen.
use crate::load::LoadError;

/// Bytes at the head of each message that say whose it is and which.
const STAMP_BYTES: usize = 8;
/// Prime, so that it fits no buffer's size.
const PERIOD: u64 = 251;

/// The messages of one size: each has a stamp of its own, then a piece of the pattern that depends on it.
#[derive(Debug)]
pub struct Messages {
    bytes: usize,
    pattern: Vec<u8>,
}

impl Messages {
    /// Messages of `bytes` each, at least 8.
    pub fn new(bytes: usize) -> Self {
        let length = (bytes.max(STAMP_BYTES) + 251) as u64;
        let pattern = (0..length).map(|at| u8::try_from(at * (at + 7) % PERIOD).unwrap_or(0)).collect();
        Self { bytes: bytes.max(STAMP_BYTES), pattern }
    }

    /// Bytes of each.
    pub fn size(&self) -> usize {
        self.bytes
    }

    /// Appends what is left of message `number` of peer `peer` behind its first `from` bytes.
    pub fn write(&self, peer: u32, number: u64, from: usize, to: &mut Vec<u8>) {
        let (stamp, body) = self.parts(peer, number);
        to.extend_from_slice(&stamp[from.min(STAMP_BYTES)..]);
        to.extend_from_slice(&body[from.saturating_sub(STAMP_BYTES)..]);
    }

    /// Compares `bytes` with what stands at `from` in that message; they do not reach beyond it.
    ///
    /// # Errors
    /// [`LoadError::Wrong`] if they differ.
    pub fn check(&self, peer: u32, number: u64, from: usize, bytes: &[u8]) -> Result<(), LoadError> {
        let (stamp, body) = self.parts(peer, number);
        let (head, tail) = bytes.split_at(STAMP_BYTES.saturating_sub(from).min(bytes.len()));
        let tail_from = (from + head.len()).saturating_sub(STAMP_BYTES);
        let right = head == &stamp[from.min(STAMP_BYTES)..][..head.len()]
            && Some(tail) == body.get(tail_from..tail_from + tail.len());
        if right { Ok(()) } else { Err(LoadError::Wrong { peer, number }) }
    }

    /// The number that a message's stamp carries.
    pub fn number(bytes: &[u8]) -> Option<u64> {
        let stamp = bytes.first_chunk::<STAMP_BYTES>()?;
        Some(u64::from_le_bytes(*stamp) & 0xff_ffff_ffff)
    }

    fn parts(&self, peer: u32, number: u64) -> ([u8; STAMP_BYTES], &[u8]) {
        let stamp = (u64::from(peer) << 40 | number & 0xff_ffff_ffff).to_le_bytes();
        let start = usize::try_from((u64::from(peer) * 31 + number * 7) % PERIOD).unwrap_or(0);
        (stamp, &self.pattern[start..start + self.bytes - STAMP_BYTES])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_a_message_are_recognised_wherever_it_is_cut() {
        let messages = Messages::new(64);
        let mut whole = Vec::new();
        messages.write(7, 300, 0, &mut whole);
        assert_eq!((whole.len(), Messages::number(&whole)), (64, Some(300)));
        for cut in 0..=64 {
            let mut rest = Vec::new();
            messages.write(7, 300, cut, &mut rest);
            assert_eq!(rest, whole[cut..]);
            messages.check(7, 300, 0, &whole[..cut]).unwrap();
            messages.check(7, 300, cut, &whole[cut..]).unwrap();
        }
    }

    #[test]
    fn any_other_byte_peer_or_number_is_wrong() {
        let messages = Messages::new(64);
        let mut whole = Vec::new();
        messages.write(7, 300, 0, &mut whole);
        for at in 0..64 {
            let mut bad = whole.clone();
            bad[at] ^= 1;
            assert!(messages.check(7, 300, 0, &bad).is_err(), "byte {at}");
        }
        assert!(messages.check(8, 300, 0, &whole).is_err());
        assert!(messages.check(7, 301, 0, &whole).is_err());
        assert!(messages.check(7, 301, 20, &whole[20..]).is_err(), "the body tells messages apart too");
    }
}
