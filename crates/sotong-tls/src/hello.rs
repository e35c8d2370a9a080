//! The name a client asks for, read from its ClientHello (RFC 8446 §4.1.2, RFC 6066 §3).
//!
//! The library that does the handshake checks the message; here only the name is looked for, and anything odd is no name.

/// Bytes of a record's header.
const RECORD_HEADER: usize = 5;
/// A longer beginning is not searched: nobody has that much to say first, and who sends it a byte at a time would have it
/// searched anew for each.
const SEARCHED_BYTES_MAX: usize = 16 << 10;

/// The ClientHello at the front of a stream, once it is there as a whole.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Hello {
    /// More bytes must come.
    Partial,
    /// It is there, or what is there will never become one.
    Whole {
        /// The name asked for, in small letters.
        name: Option<Box<str>>,
    },
}

/// Looks for a whole ClientHello, which may be cut into records.
pub(crate) fn find(bytes: &[u8]) -> Hello {
    if bytes.len() > SEARCHED_BYTES_MAX {
        return Hello::Whole { name: None };
    }
    let mut message = Vec::new();
    let mut rest = bytes;
    loop {
        let [kind, _, _, high, low, body @ ..] = rest else { return Hello::Partial };
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        // Not a handshake record, or not a legal one (RFC 8446 §5.1).
        if *kind != 22 || len == 0 || len > 1 << 14 {
            return Hello::Whole { name: None };
        }
        let Some(body) = body.get(..len) else { return Hello::Partial };
        message.extend_from_slice(body);
        if let [kind, a, b, c, hello @ ..] = message.as_slice() {
            let len = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
            if *kind != 1 || len > 1 << 16 {
                return Hello::Whole { name: None };
            }
            if let Some(hello) = hello.get(..len) {
                return Hello::Whole { name: name(hello) };
            }
        }
        rest = &rest[RECORD_HEADER + len..];
    }
}

/// The name in a ClientHello's body.
fn name(hello: &[u8]) -> Option<Box<str>> {
    let mut rest = hello.get(2 + 32..)?;
    vector(&mut rest, 1)?; // legacy_session_id
    vector(&mut rest, 2)?; // cipher_suites
    vector(&mut rest, 1)?; // legacy_compression_methods
    let mut extensions = vector(&mut rest, 2)?;
    while !extensions.is_empty() {
        let kind = number(&mut extensions, 2)?;
        let mut extension = vector(&mut extensions, 2)?;
        if kind != 0 {
            continue;
        }
        let mut names = vector(&mut extension, 2)?;
        while !names.is_empty() {
            let kind = number(&mut names, 1)?;
            let name = vector(&mut names, 2)?;
            if kind == 0 {
                return Some(std::str::from_utf8(name).ok()?.to_ascii_lowercase().into());
            }
        }
    }
    None
}

fn number(rest: &mut &[u8], bytes: usize) -> Option<usize> {
    let (front, back) = rest.split_at_checked(bytes)?;
    *rest = back;
    Some(front.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
}
/// A vector with its length in so many bytes in front of it.
fn vector<'a>(rest: &mut &'a [u8], length_bytes: usize) -> Option<&'a [u8]> {
    let len = number(rest, length_bytes)?;
    let (front, back) = rest.split_at_checked(len)?;
    *rest = back;
    Some(front)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixed(bytes: usize, body: &[u8]) -> Vec<u8> {
        let len = body.len().to_be_bytes();
        [&len[len.len() - bytes..], body].concat()
    }
    fn hello(extensions: &[u8]) -> Vec<u8> {
        let parts = [&[3, 3][..], &[7; 32], &[0], &[0, 2, 0x13, 1], &[1, 0], &prefixed(2, extensions)];
        [&[1][..], &prefixed(3, &parts.concat())].concat()
    }
    fn extension(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[0, kind][..], &prefixed(2, body)].concat()
    }
    fn named(name: &str) -> Vec<u8> {
        let names = [&[0][..], &prefixed(2, name.as_bytes())].concat();
        hello(&[extension(43, &[2, 3, 4]), extension(0, &prefixed(2, &names))].concat())
    }
    fn records(message: &[u8], size: usize) -> Vec<u8> {
        message.chunks(size).flat_map(|piece| [&[22, 3, 1][..], &prefixed(2, piece)].concat()).collect()
    }

    #[test]
    fn the_name_is_found_in_records_of_any_size() {
        let message = named("Mail.Example.org");
        for size in [1, 2, 5, 50, 16_000] {
            let bytes = records(&message, size);
            for len in 0..bytes.len() {
                assert_eq!(find(&bytes[..len]), Hello::Partial, "records of {size}, {len} bytes");
            }
            assert_eq!(find(&bytes), Hello::Whole { name: Some("mail.example.org".into()) });
        }
    }

    #[test]
    fn no_name_and_no_hello() {
        let none = Hello::Whole { name: None };
        assert_eq!(find(&records(&hello(&extension(43, &[2, 3, 4])), 100)), none);
        assert_eq!(find(b"\x17\x03\x03\0\x05hello"), none);
        assert_eq!(find(b"\x16\x03\x01\xff\xff"), none);
        assert_eq!(find(b"\x16\x03\x01\0\x04\x02\0\0\0"), none);
        assert_eq!(find(b"\x16\x03\x01\0\x04\x01\xff\xff\xff"), none);
        // One that says it is long, and comes.
        let long = records(&[&[1, 0, 0xff, 0][..], &[0; 20_000]].concat(), 1000);
        assert_eq!(find(&long[..10_000]), Hello::Partial);
        assert_eq!(find(&long), none);
    }

    #[test]
    fn a_mangled_hello_is_no_name_and_no_panic() {
        let whole = named("example.org");
        for at in 4..whole.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut message = whole.clone();
                message[at] = value;
                assert_ne!(find(&records(&message, 100)), Hello::Partial);
            }
        }
    }
}
