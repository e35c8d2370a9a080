//! Compressed messages (RFC 7692), without a memory from one to the next: a window for each connection would be 300 KiB.
use super::Breach;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use std::cell::RefCell;

/// What a sender leaves off and a receiver puts back (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// The fastest that saves most of it: messages are short.
const LEVEL: Compression = Compression::new(3);

thread_local! {
    /// One for all connections of a loop: it is made anew for each message, and its memory kept.
    static COMPRESS: RefCell<Compress> = RefCell::new(Compress::new(LEVEL, false));
    static DECOMPRESS: RefCell<Decompress> = RefCell::new(Decompress::new(false));
}

/// What `bytes` and the tail that was left off inflate to, at most `most` bytes.
pub(super) fn inflate(bytes: &[u8], most: usize) -> Result<Vec<u8>, Breach> {
    DECOMPRESS.with_borrow_mut(|inflater| {
        inflater.reset(false);
        let mut to = Vec::new();
        for part in [bytes, &TAIL] {
            let mut rest = part;
            loop {
                // One byte more than may come shows that it is too long.
                let room = (most + 1 - to.len()).min(to.len().max(part.len()).max(256));
                to.reserve(room);
                let (read, made) = (inflater.total_in(), to.len());
                let status =
                    inflater.decompress_vec(rest, &mut to, FlushDecompress::Sync).map_err(|_| Breach::Deflate)?;
                let read = (inflater.total_in() - read) as usize;
                rest = &rest[read..];
                if to.len() > most {
                    return Err(Breach::TooLong);
                }
                match status {
                    // A final block ends the message; its sender may have put an empty one behind (§7.2.3.4).
                    Status::StreamEnd if rest.is_empty() => return Ok(to),
                    Status::StreamEnd => inflater.reset(false),
                    Status::Ok | Status::BufError if read == 0 && to.len() == made => break,
                    Status::Ok | Status::BufError => {}
                }
            }
            if !rest.is_empty() {
                return Err(Breach::Deflate);
            }
        }
        Ok(to)
    })
}

/// Appends `bytes` compressed to `to`, without the tail (RFC 7692 §7.2.1).
pub(super) fn deflate(bytes: &[u8], to: &mut Vec<u8>) {
    COMPRESS.with_borrow_mut(|compress| {
        compress.reset();
        let mut rest = bytes;
        loop {
            to.reserve(rest.len() / 2 + 64);
            let before = compress.total_in();
            let status = compress.compress_vec(rest, to, FlushCompress::Sync);
            rest = &rest[(compress.total_in() - before) as usize..];
            // With room left the flush is complete.
            if rest.is_empty() && to.len() < to.capacity() || status.is_err() {
                break;
            }
        }
    });
    if to.ends_with(&TAIL) {
        to.truncate(to.len() - TAIL.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_examples_of_rfc_7692() {
        // §7.2.3.1 to §7.2.3.5, the shared window left out.
        for bytes in [
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
            &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
            &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
        ] {
            assert_eq!(inflate(bytes, 5).as_deref(), Ok(&b"Hello"[..]), "{bytes:x?}");
            assert_eq!(inflate(bytes, 4), Err(Breach::TooLong));
        }
        assert_eq!(inflate(&[0], 10).as_deref(), Ok(&b""[..]), "an empty message (§7.2.3.6)");
    }

    #[test]
    fn a_bomb_is_cut_short_and_rubbish_is_refused() {
        let mut bomb = Vec::new();
        deflate(&vec![0; 64 << 20], &mut bomb);
        assert!(bomb.len() < 128 << 10, "{}", bomb.len());
        assert_eq!(inflate(&bomb, 64 << 10), Err(Breach::TooLong));
        for rubbish in [&[0xff; 20][..], &[0x07, 0x00], b"Hello"] {
            assert_eq!(inflate(rubbish, 1000), Err(Breach::Deflate), "{rubbish:x?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_deflated_comes_back(
            text in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..2000),
                proptest::collection::vec(0u8..3, 0..70_000),
            ]
        ) {
            let mut bytes = b"before".to_vec();
            deflate(&text, &mut bytes);
            let back = inflate(&bytes[6..], text.len());
            prop_assert_eq!(back.as_deref(), Ok(text.as_slice()));
            if !text.is_empty() {
                prop_assert_eq!(inflate(&bytes[6..], text.len() - 1), Err(Breach::TooLong));
            }
        }
        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(text) = inflate(&bytes, 4096) {
                prop_assert!(text.len() <= 4096);
            }
        }
    }
}
