//! Times as people write and read them.

/// A time as people write it: `1y2mo3w4d5h6m7s`; a number alone is minutes. In seconds.
pub(crate) fn duration(written: &str) -> Option<u64> {
    if written.is_empty() {
        return None;
    }
    if written.bytes().all(|byte| byte.is_ascii_digit()) {
        return written.parse::<u64>().ok()?.checked_mul(60);
    }
    let (mut rest, mut sum) = (written, 0_u64);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|digits| *digits > 0)?;
        let (count, behind) = rest.split_at(digits);
        let unit_end = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit_end);
        let seconds: u64 = match unit {
            "y" => 365 * 86_400,
            "mo" => 30 * 86_400,
            "w" => 7 * 86_400,
            "d" => 86_400,
            "h" => 3600,
            "m" => 60,
            "s" => 1,
            _ => return None,
        };
        sum = sum.checked_add(count.parse::<u64>().ok()?.checked_mul(seconds)?)?;
        rest = behind;
    }
    // No longer than civil time can be counted.
    (sum < 1 << 40).then_some(sum)
}

/// A time for people: its two largest units, as [`duration`] reads it.
pub(crate) fn for_people(seconds: u64) -> String {
    let units = [("y", 365 * 86_400), ("w", 7 * 86_400), ("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];
    let (mut rest, mut text) = (seconds, String::new());
    let mut left = 2;
    for (unit, size) in units {
        if rest >= size && left > 0 {
            text.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
            left -= 1;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_people_write_them() {
        for (written, seconds) in [
            ("90s", Some(90)),
            ("1h30m", Some(5400)),
            ("1y", Some(31_536_000)),
            ("2mo", Some(5_184_000)),
            ("1w1d", Some(691_200)),
            ("60", Some(3600)),
            ("", None),
            ("h", None),
            ("1x", None),
            ("1h30", None),
            ("99999999999999999999y", None),
            ("9999999999y", None),
            ("한", None),
        ] {
            assert_eq!(duration(written), seconds, "{written}");
        }
        for (seconds, text) in [(0, "0s"), (59, "59s"), (3661, "1h1m"), (86_401, "1d1s"), (31_536_000, "1y")] {
            assert_eq!(for_people(seconds), text);
        }
    }
}
