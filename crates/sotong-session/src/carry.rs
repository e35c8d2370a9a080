//! Bytes a session has seen and not taken.
use crate::Input;

/// Keeps what a session has not taken, and shows it again in one piece with what came after. For drivers, and for layers
/// that make bytes.
#[derive(Debug, Default)]
pub struct Carry {
    kept: Vec<u8>,
}

impl Carry {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
    /// Bytes waiting.
    pub fn len(&self) -> usize {
        self.kept.len()
    }
    /// Adds bytes that cannot be shown now.
    pub fn keep(&mut self, fresh: &[u8]) {
        self.kept.extend_from_slice(fresh);
    }
    /// Shows what waits and `fresh` in one piece; keeps what `run` leaves.
    ///
    /// `fresh` is shown where it is if nothing waits: the usual case copies nothing.
    pub fn feed<R>(&mut self, fresh: &mut [u8], run: impl FnOnce(Input<'_>) -> R) -> R {
        let mut taken = 0;
        if self.kept.is_empty() {
            let result = run(Input::new(fresh, &mut taken));
            self.kept.extend_from_slice(&fresh[taken..]);
            return result;
        }
        self.kept.extend_from_slice(fresh);
        let result = run(Input::new(&mut self.kept, &mut taken));
        self.kept.drain(..taken);
        if self.kept.is_empty() {
            self.kept = Vec::new();
        }
        result
    }
    /// Forgets everything and gives the memory back.
    pub fn clear(&mut self) {
        self.kept = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_in_one_piece_what_was_left() {
        let mut carry = Carry::default();
        carry.feed(&mut b"abc".to_vec(), |mut input| input.take(1));
        assert_eq!(carry.len(), 2);
        carry.feed(&mut b"de".to_vec(), |mut input| {
            assert_eq!(input.bytes(), b"bcde");
            input.take_all();
        });
        assert!(carry.is_empty());
    }
}
