//! Basic authentication (RFC 7617), as far as it is text.
use super::mail::Credentials;
use crate::{Request, head::trim};

/// The name and password of a request.
pub(crate) fn credentials(request: &Request<'_>) -> Option<Credentials> {
    let value = request.one("authorization")?;
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let pair = base64(trim(rest))?;
    pair.contains(&b':').then(|| Credentials { pair: pair.into() })
}

/// Base64 with its padding (RFC 4648 §4).
pub(crate) fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let digits = text.strip_suffix(b"==").or(text.strip_suffix(b"=")).unwrap_or(text);
    if !text.len().is_multiple_of(4) || digits.len() % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    for group in digits.chunks(4) {
        let mut bits = 0_u32;
        for digit in group {
            bits = bits << 6 | u32::from(value(*digit)?);
        }
        bits <<= 6 * (4 - group.len());
        let [_, all @ ..] = bits.to_be_bytes();
        bytes.extend_from_slice(&all[..group.len() - 1]);
    }
    Some(bytes)
}

fn value(digit: u8) -> Option<u8> {
    Some(match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_decoded() {
        for (text, expect) in [
            ("", Some(&b""[..])),
            ("Zg==", Some(b"f")),
            ("Zm8=", Some(b"fo")),
            ("Zm9v", Some(b"foo")),
            ("Zm9vYg==", Some(b"foob")),
            ("YTo=", Some(b"a:")),
            ("YTrtlZzquIA=", Some("a:한글".as_bytes())),
            ("Zg", None),
            ("Zg=", None),
            ("Z===", None),
            ("Z!==", None),
            ("Zm9v\n", None),
        ] {
            assert_eq!(base64(text.as_bytes()).as_deref(), expect, "{text}");
        }
    }
}
