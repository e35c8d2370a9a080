//! Parts of a file (RFC 9110 §14).
use crate::head::trim;
use std::ops::Range;

/// Parts that one request may ask for.
pub const RANGES_MAX: usize = 16;

/// What a `Range` field comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ranges {
    /// Nothing that is understood, or parts that overlap so that together they are longer than the whole: the whole is sent.
    Whole,
    /// None of it is there, or there are more than [`RANGES_MAX`].
    Unsatisfiable,
    /// These, in their order; at least one, none empty.
    Parts(Vec<Range<u64>>),
}

impl Ranges {
    /// Reads the field for something of `length` bytes.
    pub fn parse(value: &[u8], length: u64) -> Self {
        let Some((unit, list)) = value.split_at_checked(6) else { return Self::Whole };
        if !unit.eq_ignore_ascii_case(b"bytes=") {
            return Self::Whole;
        }
        let (mut parts, mut count) = (Vec::new(), 0);
        for spec in list.split(|byte| *byte == b',').map(trim).filter(|spec| !spec.is_empty()) {
            count += 1;
            if count > RANGES_MAX {
                return Self::Unsatisfiable;
            }
            match Spec::parse(spec).map(|spec| spec.of(length)) {
                None => return Self::Whole,
                Some(None) => {}
                Some(Some(part)) => parts.push(part),
            }
        }
        match parts.iter().map(|part| part.end - part.start).sum::<u64>() {
            _ if count == 0 => Self::Whole,
            0 => Self::Unsatisfiable,
            sum if parts.len() > 1 && sum > length => Self::Whole,
            _ => Self::Parts(parts),
        }
    }
}

/// One part as it is asked for.
enum Spec {
    From { first: u64, last: Option<u64> },
    Last(u64),
}

impl Spec {
    fn parse(spec: &[u8]) -> Option<Self> {
        let dash = spec.iter().position(|byte| *byte == b'-')?;
        let (first, last) = (&spec[..dash], &spec[dash + 1..]);
        match (first.is_empty(), last.is_empty()) {
            (true, true) => None,
            (true, false) => Some(Self::Last(number(last)?)),
            (false, true) => Some(Self::From { first: number(first)?, last: None }),
            (false, false) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::From { first, last: Some(last) })
            }
        }
    }
    /// The bytes that are meant; `None` if there are none.
    fn of(self, length: u64) -> Option<Range<u64>> {
        match self {
            Self::From { first, .. } if first >= length => None,
            Self::From { first, last } => Some(first..last.map_or(length, |last| length.min(last.saturating_add(1)))),
            Self::Last(0) => None,
            Self::Last(count) => (length > 0).then(|| length.saturating_sub(count)..length),
        }
    }
}

/// A whole number; one that is too large is as good as the largest.
fn number(text: &[u8]) -> Option<u64> {
    let digits = text.iter().map(|byte| byte.is_ascii_digit().then(|| u64::from(byte - b'0')));
    digits.into_iter().try_fold(0_u64, |sum, digit| Some(sum.saturating_mul(10).saturating_add(digit?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::single_range_in_vec_init, reason = "a part is a range")]
    fn ranges_are_read() {
        let parts = |parts: &[Range<u64>]| Ranges::Parts(parts.to_vec());
        for (value, expect) in [
            ("bytes=0-0", parts(&[0..1])),
            ("bytes=0-", parts(&[0..100])),
            ("bytes=50-149", parts(&[50..100])),
            ("bytes=-10", parts(&[90..100])),
            ("bytes=-1000", parts(&[0..100])),
            ("Bytes=1-2", parts(&[1..3])),
            ("bytes=0-4, 10-14 ,,90-", parts(&[0..5, 10..15, 90..100])),
            ("bytes=200-,0-0", parts(&[0..1])),
            ("bytes=99999999999999999999999-", Ranges::Unsatisfiable),
            ("bytes=0-99999999999999999999999", parts(&[0..100])),
            ("bytes=100-", Ranges::Unsatisfiable),
            ("bytes=-0", Ranges::Unsatisfiable),
            ("bytes=0-,0-", Ranges::Whole),
            ("bytes=5-4", Ranges::Whole),
            ("bytes=", Ranges::Whole),
            ("bytes=-", Ranges::Whole),
            ("bytes=a-b", Ranges::Whole),
            ("bytes=1", Ranges::Whole),
            ("bytes=+1-2", Ranges::Whole),
            ("bytes 1-2", Ranges::Whole),
            ("lines=1-2", Ranges::Whole),
            ("", Ranges::Whole),
        ] {
            assert_eq!(Ranges::parse(value.as_bytes(), 100), expect, "{value}");
        }
        assert_eq!(Ranges::parse(b"bytes=0-", 0), Ranges::Unsatisfiable);
        assert_eq!(Ranges::parse(b"bytes=-1", 0), Ranges::Unsatisfiable);
        let many = |count: usize| format!("bytes={}", vec!["0-0"; count].join(","));
        assert_eq!(Ranges::parse(many(17).as_bytes(), 100), Ranges::Unsatisfiable);
        assert!(matches!(Ranges::parse(many(16).as_bytes(), 100), Ranges::Parts(parts) if parts.len() == 16));
    }
}
