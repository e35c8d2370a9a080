//! What is agreed on about compression (RFC 7692 §7.1).
use crate::head::trim;

/// What both sides keep to: each message on its own.
pub(super) const AGREED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
/// What a client offers.
pub(super) const OFFER: &str = AGREED;

/// Whether one of the offers in a field can be taken as [`AGREED`] says: any but those that bound our window, which our
/// compressor cannot make smaller, and those that are malformed.
pub(super) fn is_acceptable_offer(value: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|offer| {
        let mut seen = Vec::new();
        is_deflate(offer, |name, value| {
            if seen.contains(&name.to_vec()) {
                return false;
            }
            seen.push(name.to_vec());
            match name {
                b"server_no_context_takeover" | b"client_no_context_takeover" => value.is_none(),
                b"server_max_window_bits" => value == Some(b"15"),
                b"client_max_window_bits" => value.is_none_or(is_bits),
                _ => false,
            }
        })
    })
}

/// Whether an answer agrees to what [`OFFER`] says, and to nothing else: the server may not keep a window, and may bind us
/// to none.
pub(super) fn is_acceptable_answer(value: &[u8]) -> bool {
    let mut forgets = false;
    let is_fine = is_deflate(value, |name, value| match name {
        b"server_no_context_takeover" => !std::mem::replace(&mut forgets, true) && value.is_none(),
        b"client_no_context_takeover" => value.is_none(),
        b"server_max_window_bits" => value.is_some_and(is_bits),
        b"client_max_window_bits" => value == Some(b"15"),
        _ => false,
    });
    is_fine && forgets
}

/// Whether `offer` is permessage-deflate and each of its parameters pleases.
fn is_deflate(offer: &[u8], mut pleases: impl FnMut(&[u8], Option<&[u8]>) -> bool) -> bool {
    let mut parts = offer.split(|byte| *byte == b';').map(trim);
    parts.next() == Some(b"permessage-deflate")
        && parts.all(|part| {
            let (name, value) = match part.iter().position(|byte| *byte == b'=') {
                Some(at) => (trim(&part[..at]), Some(unquoted(trim(&part[at + 1..])))),
                None => (part, None),
            };
            pleases(name, value)
        })
}
fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}
/// 8 to 15, without a leading zero.
fn is_bits(value: &[u8]) -> bool {
    matches!(value, [b'8' | b'9'] | [b'1', b'0'..=b'5'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_are_taken_that_can_be_kept() {
        for good in [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate;client_max_window_bits=10; server_no_context_takeover",
            "permessage-deflate; server_max_window_bits=10, permessage-deflate",
            "x-webkit-deflate-frame, permessage-deflate; server_max_window_bits=\"15\"",
            OFFER,
        ] {
            assert!(is_acceptable_offer(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            "x-webkit-deflate-frame",
            "permessage-deflate; server_max_window_bits=10",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; client_max_window_bits=16",
            "permessage-deflate; client_max_window_bits=08",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; client_max_window_bits; client_max_window_bits",
            "permessage-deflate; mux",
        ] {
            assert!(!is_acceptable_offer(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn answers_keep_to_the_offer() {
        for good in [
            AGREED,
            "permessage-deflate; server_no_context_takeover",
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=9",
        ] {
            assert!(is_acceptable_answer(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            "permessage-deflate",
            "permessage-deflate; server_no_context_takeover; client_max_window_bits=9",
            "permessage-deflate; server_no_context_takeover, permessage-deflate; server_no_context_takeover",
            "permessage-bzip2; server_no_context_takeover",
        ] {
            assert!(!is_acceptable_answer(bad.as_bytes()), "{bad}");
        }
    }
}
