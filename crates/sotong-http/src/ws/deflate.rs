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

/// `bytes` compressed, without the tail (RFC 7692 §7.2.1); `None` if they do not become smaller.
pub(super) fn deflate(bytes: &[u8]) -> Option<Vec<u8>> {
    COMPRESS.with_borrow_mut(|compress| {
        compress.reset();
        // With room for the worst case one call does it all. Where a block has to wait for room, the call that finds some
        // ends with that block, and nothing tells whether the flush is complete.
        let mut to = Vec::with_capacity(bytes.len() + bytes.len() / 8 + 1024);
        let status = compress.compress_vec(bytes, &mut to, FlushCompress::Sync);
        let is_whole = status.is_ok() && compress.total_in() == bytes.len() as u64 && to.ends_with(&TAIL);
        to.truncate(to.len().saturating_sub(TAIL.len()));
        (is_whole && to.len() < bytes.len()).then_some(to)
    })
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
        let bomb = deflate(&vec![0; 64 << 20]).expect("nothing becomes smaller");
        assert!(bomb.len() < 128 << 10, "{}", bomb.len());
        assert_eq!(inflate(&bomb, 64 << 10), Err(Breach::TooLong));
        for rubbish in [&[0xff; 20][..], &[0x07, 0x00], b"Hello"] {
            assert_eq!(inflate(rubbish, 1000), Err(Breach::Deflate), "{rubbish:x?}");
        }
    }

    /// Text that is neither trivial nor noise: many blocks, of sizes that compressors see.
    fn prose(len: usize, seed: u64) -> Vec<u8> {
        let words = ["소통", "the ", "{\"id\":", "\"name\": ", "0123", "\n", "WebSocket ", "frame", "é", ", "];
        let (mut state, mut text) = (seed | 1, Vec::new());
        while text.len() < len {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.extend_from_slice(words[(state >> 60) as usize % 10].as_bytes());
            text.extend_from_slice(((state >> 33) % 100_000).to_string().as_bytes());
        }
        text.truncate(len);
        text
    }

    #[test]
    fn prose_of_every_size_comes_back() {
        for len in (0..40).chain((0..300).map(|step| step * 997)) {
            let text = prose(len, len as u64);
            let Some(small) = deflate(&text) else {
                assert!(len < 100, "prose becomes smaller: {len}");
                continue;
            };
            assert!(inflate(&small, len).as_deref() == Ok(&text), "{len} bytes");
        }
    }

    proptest! {
        #[test]
        fn what_is_deflated_comes_back(
            text in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..2000),
                proptest::collection::vec(0u8..3, 0..70_000),
                proptest::collection::vec(0u8..120, 30_000..200_000),
                (0usize..200_000, any::<u64>()).prop_map(|(len, seed)| prose(len, seed)),
            ]
        ) {
            if let Some(bytes) = deflate(&text) {
                let back = inflate(&bytes, text.len());
                prop_assert!(back.as_deref() == Ok(text.as_slice()));
                prop_assert_eq!(inflate(&bytes, text.len() - 1), Err(Breach::TooLong));
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
