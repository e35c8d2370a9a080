//! UTF-8 that comes in pieces.

/// Checks text as it comes, cut wherever the wire likes: what can become no text is told at the first byte that shows it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Utf8 {
    /// The beginning of a character.
    begun: [u8; 4],
    len: u8,
}

impl Utf8 {
    /// Whether what came until here may be, or become, text.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> bool {
        while self.len > 0 {
            let Some((first, rest)) = bytes.split_first() else { return true };
            bytes = rest;
            self.begun[usize::from(self.len)] = *first;
            self.len += 1;
            match std::str::from_utf8(&self.begun[..usize::from(self.len)]) {
                Ok(_) => self.len = 0,
                Err(error) if error.error_len().is_some() => return false,
                Err(_) => {}
            }
        }
        match std::str::from_utf8(bytes) {
            Ok(_) => true,
            Err(error) if error.error_len().is_some() => false,
            Err(error) => {
                let begun = &bytes[error.valid_up_to()..];
                self.begun[..begun.len()].copy_from_slice(begun);
                self.len = begun.len() as u8;
                true
            }
        }
    }
    /// Whether no character is left begun.
    pub(super) fn is_whole(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_can_become_no_text_is_told_at_once() {
        for (bytes, at) in [
            (&[0xed, 0xa0, 0x80][..], 1),
            (&[0xf4, 0x90, 0x80, 0x80], 1),
            (&[0xc0, 0xaf], 0),
            (&[b'a', 0x80], 1),
            (&[0xe0, 0x80], 1),
            (&[0xea, 0xb0, b'a'], 2),
            (&[0xff], 0),
        ] {
            let mut utf8 = Utf8::default();
            for (index, byte) in bytes.iter().enumerate() {
                assert_eq!(utf8.push(&[*byte]), index < at, "{bytes:x?} at {index}");
                if index == at {
                    break;
                }
            }
        }
    }

    proptest! {
        #[test]
        fn pieces_are_judged_as_the_whole(
            bytes in prop_oneof![
                any::<String>().prop_map(String::into_bytes),
                proptest::collection::vec(any::<u8>(), 0..12),
                "[ê-힣]{0,6}".prop_map(|text| { let mut b = text.into_bytes(); b.pop(); b }),
            ],
            cuts in proptest::collection::vec(0usize..12, 0..5),
        ) {
            let (mut utf8, mut rest, mut holds) = (Utf8::default(), bytes.as_slice(), true);
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                holds = holds && utf8.push(piece);
                rest = after;
            }
            prop_assert_eq!(holds && utf8.is_whole(), std::str::from_utf8(&bytes).is_ok());
        }
    }
}
