//! Line ends as protocols want them.

/// Turns LF into CR LF, and leaves a CR LF as it is, also where a read ends between the two.
#[derive(Debug, Default)]
pub(super) struct Crlf {
    after_cr: bool,
}

impl Crlf {
    /// Gives `bytes` back where nothing is to be changed, else their translation in `scratch`.
    pub(super) fn translate<'a>(&mut self, bytes: &'a [u8], scratch: &'a mut Vec<u8>) -> &'a [u8] {
        let Some(last) = bytes.last() else { return bytes };
        let mut before = if self.after_cr { b'\r' } else { 0 };
        self.after_cr = *last == b'\r';
        if !bytes.contains(&b'\n') {
            return bytes;
        }
        scratch.clear();
        for &byte in bytes {
            if byte == b'\n' && before != b'\r' {
                scratch.push(b'\r');
            }
            scratch.push(byte);
            before = byte;
        }
        scratch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn translated(parts: &[&[u8]]) -> Vec<u8> {
        let (mut crlf, mut scratch, mut all) = (Crlf::default(), Vec::new(), Vec::new());
        for part in parts {
            all.extend_from_slice(crlf.translate(part, &mut scratch));
        }
        all
    }

    #[test]
    fn line_ends_become_crlf_once() {
        for (given, expect) in [
            ("", ""),
            ("a", "a"),
            ("\n", "\r\n"),
            ("a\nb\n", "a\r\nb\r\n"),
            ("a\r\nb\r\n", "a\r\nb\r\n"),
            ("\n\n", "\r\n\r\n"),
            ("\r", "\r"),
            ("\r\r\n", "\r\r\n"),
            ("\n\r", "\r\n\r"),
            ("안녕\n", "안녕\r\n"),
        ] {
            assert_eq!(translated(&[given.as_bytes()]), expect.as_bytes(), "{given:?}");
        }
    }

    #[test]
    fn a_pair_cut_in_two_is_not_doubled() {
        assert_eq!(translated(&[b"a\r", b"\nb"]), b"a\r\nb");
        assert_eq!(translated(&[b"a\r", b"", b"\nb"]), b"a\r\nb");
        assert_eq!(translated(&[b"a\r", b"b", b"\n"]), b"a\rb\r\n");
    }

    proptest! {
        #[test]
        fn cuts_change_nothing(text in "[a\r\n]{0,40}", cut in 0usize..40) {
            let bytes = text.as_bytes();
            let cut = cut.min(bytes.len());
            prop_assert_eq!(translated(&[bytes]), translated(&[&bytes[..cut], &bytes[cut..]]));
        }
    }
}
