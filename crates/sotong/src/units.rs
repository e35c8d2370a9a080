//! Values on the command line: sizes in bytes (`64KiB`), lengths of time (`10s`), whole numbers within bounds.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use sotong_certs::{Fingerprint, HostName};
use sotong_chat::ChatOptions;

use crate::catalogue::{Catalogue, text};

const KIB: u64 = 1024;
const SIZES: [(&str, u64); 4] = [("GiB", KIB * KIB * KIB), ("MiB", KIB * KIB), ("KiB", KIB), ("B", 1)];
const TIMES: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A value that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadValue {
    #[error("a size is a number of bytes, or one with B, KiB, MiB or GiB")]
    Size,
    #[error("a time is a number of seconds, or one with ms, s, m, h or d")]
    Time,
    #[error("a time is longer than nothing")]
    NoTime,
    #[error("the value is too large")]
    TooLarge,
    #[error("a whole number from {low} to {high}")]
    Range { low: u64, high: u64 },
    #[error("a SHA-256 fingerprint is 64 hex digits")]
    Fingerprint,
    #[error("a host name or an IP address")]
    HostName,
    #[error("neither a file nor SSLKEYLOGFILE")]
    KeyLog,
    #[error("a server's name is letters, digits, hyphens and dots, with a dot in it")]
    ServerName,
    #[error("a network's name is one word of letters, digits and hyphens")]
    NetworkName,
    #[error("a room's name begins with #, and has no blanks and commas in it")]
    RoomName,
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) usize);

/// A length of time, in whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl FromStr for Size {
    type Err = BadValue;

    /// `K`, `k`, `KB` and `KiB` all mean 1,024 bytes.
    fn from_str(text: &str) -> Result<Self, BadValue> {
        let (number, unit) = split(text).ok_or(BadValue::Size)?;
        let unit = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kb" | "kib" => KIB,
            "m" | "mb" | "mib" => KIB * KIB,
            "g" | "gb" | "gib" => KIB * KIB * KIB,
            _ => return Err(BadValue::Size),
        };
        let bytes = number.checked_mul(unit).and_then(|bytes| usize::try_from(bytes).ok());
        bytes.map(Self).ok_or(BadValue::TooLarge)
    }
}

impl FromStr for Span {
    type Err = BadValue;

    /// A bare number is seconds, and may have a fraction: `0.5`, `1.5s`.
    fn from_str(text: &str) -> Result<Self, BadValue> {
        let (whole, rest) = split(text).ok_or(BadValue::Time)?;
        let (fraction, unit) = match rest.strip_prefix('.') {
            Some(rest) => {
                let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
                (&rest[..end], &rest[end..])
            }
            None => ("", rest),
        };
        let unit = if unit.is_empty() { "s" } else { unit };
        let millis = TIMES.iter().find(|(name, _)| *name == unit).ok_or(BadValue::Time)?.1;
        let whole = whole.checked_mul(millis).ok_or(BadValue::TooLarge)?;
        Ok(Self(Duration::from_millis(whole.checked_add(part(fraction, millis)?).ok_or(BadValue::TooLarge)?)))
    }
}

/// A length of time that is not nothing, for limits that nothing could keep.
pub(crate) fn some_time(text: &str) -> Result<Span, BadValue> {
    let span: Span = text.parse()?;
    if span.0.is_zero() { Err(BadValue::NoTime) } else { Ok(span) }
}

/// A parser of whole numbers within `bounds`; clap's own tells its errors in English only.
pub(crate) fn whole<T>(bounds: RangeInclusive<u64>) -> impl Fn(&str) -> Result<T, BadValue> + Clone + Send + Sync
where
    T: TryFrom<u64>,
{
    move |text| {
        let number = text.parse().ok().filter(|number| bounds.contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        number.ok_or(BadValue::Range { low: *bounds.start(), high: *bounds.end() })
    }
}

/// What a chat server calls itself.
pub(crate) fn server_name(text: &str) -> Result<String, BadValue> {
    if ChatOptions::is_server_name(text) { Ok(text.to_owned()) } else { Err(BadValue::ServerName) }
}

/// What a chat calls its network.
pub(crate) fn network_name(text: &str) -> Result<String, BadValue> {
    if ChatOptions::is_network_name(text) { Ok(text.to_owned()) } else { Err(BadValue::NetworkName) }
}

/// A room of a chat.
pub(crate) fn room_name(text: &str) -> Result<String, BadValue> {
    ChatOptions::room_name(text).ok_or(BadValue::RoomName)
}

/// A certificate's fingerprint.
pub(crate) fn fingerprint(text: &str) -> Result<Fingerprint, BadValue> {
    text.parse().map_err(|_| BadValue::Fingerprint)
}

/// A name that a certificate can be for.
pub(crate) fn host_name(text: &str) -> Result<HostName, BadValue> {
    match text.parse() {
        Ok(HostName::Dns(name)) if name.starts_with('*') => Err(BadValue::HostName),
        Ok(name) => Ok(name),
        Err(_) => Err(BadValue::HostName),
    }
}

/// A leading whole number, and what follows it.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number = text[..end].parse().ok()?;
    Some((number, text[end..].trim_start()))
}

/// The digits after the point, in milliseconds, rounded down.
fn part(fraction: &str, millis: u64) -> Result<u64, BadValue> {
    let digits = &fraction[..fraction.len().min(9)];
    if digits.is_empty() {
        return Ok(0);
    }
    let number: u64 = digits.parse().map_err(|_| BadValue::Time)?;
    Ok(number * millis / 10_u64.pow(u32::try_from(digits.len()).map_err(|_| BadValue::Time)?))
}

impl fmt::Display for Size {
    /// The largest unit that leaves a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0 as u64;
        let (unit, size) =
            SIZES.into_iter().find(|(_, size)| bytes >= *size && bytes.is_multiple_of(*size)).unwrap_or(("B", 1));
        write!(f, "{}{unit}", bytes / size)
    }
}

impl Span {
    /// As part of a sentence, in the reader's language.
    pub(crate) fn words(self, catalogue: &Catalogue) -> String {
        let (count, unit) = self.parts();
        match unit {
            "d" => text!(catalogue, "time-days", count = count),
            "h" => text!(catalogue, "time-hours", count = count),
            "m" => text!(catalogue, "time-minutes", count = count),
            "ms" => text!(catalogue, "time-milliseconds", count = count),
            _ => text!(catalogue, "time-seconds", count = count),
        }
    }

    /// The largest unit that leaves a whole number.
    fn parts(self) -> (u64, &'static str) {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let (unit, size) =
            TIMES.into_iter().find(|(_, size)| millis >= *size && millis.is_multiple_of(*size)).unwrap_or(("s", 1_000));
        (millis / size, unit)
    }
}

impl fmt::Display for Span {
    /// As it is written on the command line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, unit) = self.parts();
        write!(f, "{count}{unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_sentences_have_units_of_the_language() {
        use crate::catalogue::Lang;
        for (millis, en, ko) in
            [(500, "500ms", "500밀리초"), (10_000, "10s", "10초"), (120_000, "2m", "2분"), (3_600_000, "1h", "1시간")]
        {
            let span = Span(Duration::from_millis(millis));
            let words = [Lang::En, Lang::Ko].map(|lang| span.words(&Catalogue::new(lang)));
            assert_eq!(words, [en, ko]);
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("0", 0), ("512", 512), ("64KiB", 65_536), ("64k", 65_536), ("1 MiB", 1_048_576), ("2GB", 2 << 30)]
        {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "KiB", "-1", "1.5KiB", "64kibi", "64KiB ", "١"] {
            assert_eq!(text.parse::<Size>(), Err(BadValue::Size), "{text}");
        }
        assert_eq!("18446744073709551615GiB".parse::<Size>(), Err(BadValue::TooLarge));
    }

    #[test]
    fn times() {
        for (text, millis) in [
            ("10", 10_000),
            ("10s", 10_000),
            ("0.5", 500),
            ("1.25s", 1_250),
            ("250ms", 250),
            ("2m", 120_000),
            ("0", 0),
            ("1.", 1_000),
        ] {
            assert_eq!(text.parse(), Ok(Span(Duration::from_millis(millis))), "{text}");
        }
        for text in ["", "s", "-1s", ".5", "10 sec", "1.5.5s", "1e3"] {
            assert_eq!(text.parse::<Span>(), Err(BadValue::Time), "{text}");
        }
        assert_eq!("9999999999999999999d".parse::<Span>(), Err(BadValue::TooLarge));
    }

    #[test]
    fn whole_numbers_within_bounds() {
        let workers = whole::<u16>(1..=1024);
        assert_eq!((workers("1"), workers("1024")), (Ok(1), Ok(1024)));
        for text in ["0", "1025", "-1", "1.0", "", "x", "99999999999999999999"] {
            assert_eq!(workers(text), Err(BadValue::Range { low: 1, high: 1024 }), "{text}");
        }
    }

    #[test]
    fn what_is_shown_reads_back_the_same() {
        for bytes in [0, 1, 1_000, 16 << 10, 1 << 20, 3 << 30] {
            assert_eq!(Size(bytes).to_string().parse(), Ok(Size(bytes)));
        }
        for millis in [0, 1, 1_500, 10_000, 90_000, 86_400_000] {
            let span = Span(Duration::from_millis(millis));
            assert_eq!(span.to_string().parse(), Ok(span));
        }
        assert_eq!(Size(65_536).to_string(), "64KiB");
        assert_eq!(Span(Duration::from_secs(10)).to_string(), "10s");
    }
}
