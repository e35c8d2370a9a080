//! Dates as HTTP writes them (RFC 9110 §5.6.7): seconds since 1970-01-01 UTC, and `Sun, 06 Nov 1994 08:49:37 GMT`.

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY: i64 = 86_400;
/// The last second of the year 9999: there are four digits.
const LAST: i64 = 253_402_300_799;

/// A moment in the parts that people read, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// The year, 1970 to 9999.
    pub year: u32,
    /// The month, 1 to 12.
    pub month: u32,
    /// The day of the month, 1 to 31.
    pub day: u32,
    /// The hour, 0 to 23.
    pub hour: u32,
    /// The minute, 0 to 59.
    pub minute: u32,
    /// The second, 0 to 59.
    pub second: u32,
    weekday: usize,
}

impl Civil {
    /// From seconds since 1970; what is before, or after the year 9999, becomes the nearest that can be written.
    pub fn new(seconds: i64) -> Self {
        let seconds = seconds.clamp(0, LAST);
        let (days, rest) = (seconds / DAY, (seconds % DAY) as u32);
        // Years from March on, in cycles of 400 years (146,097 days): the leap day comes last.
        let shifted = days + 719_468;
        let (cycle, in_cycle) = (shifted / 146_097, shifted % 146_097);
        let year_in = (in_cycle - in_cycle / 1_460 + in_cycle / 36_524 - in_cycle / 146_096) / 365;
        let day_in = in_cycle - (365 * year_in + year_in / 4 - year_in / 100);
        let month_in = (5 * day_in + 2) / 153;
        let month = if month_in < 10 { month_in + 3 } else { month_in - 9 };
        Self {
            year: (cycle * 400 + year_in + i64::from(month <= 2)) as u32,
            month: month as u32,
            day: (day_in - (153 * month_in + 2) / 5 + 1) as u32,
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
            weekday: (days % 7) as usize,
        }
    }
    fn seconds(year: i64, month: i64, day: i64, time: i64) -> i64 {
        let year = if month <= 2 { year - 1 } else { year };
        let (cycle, year_in) = (year.div_euclid(400), year.rem_euclid(400));
        let month_in = if month > 2 { month - 3 } else { month + 9 };
        let day_in = (153 * month_in + 2) / 5 + day - 1;
        let in_cycle = 365 * year_in + year_in / 4 - year_in / 100 + day_in;
        (cycle * 146_097 + in_cycle - 719_468) * DAY + time
    }
}

/// Appends `seconds` as an IMF-fixdate.
pub fn write(seconds: i64, to: &mut Vec<u8>) {
    let Civil { year, month, day, hour, minute, second, weekday } = Civil::new(seconds);
    to.extend_from_slice(DAYS[weekday].as_bytes());
    to.extend_from_slice(b", ");
    two(day, to);
    to.push(b' ');
    to.extend_from_slice(MONTHS[month as usize - 1].as_bytes());
    to.push(b' ');
    two(year / 100, to);
    two(year % 100, to);
    for (before, part) in [(b' ', hour), (b':', minute), (b':', second)] {
        to.push(before);
        two(part, to);
    }
    to.extend_from_slice(b" GMT");
}

fn two(number: u32, to: &mut Vec<u8>) {
    to.extend_from_slice(&[b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8]);
}

/// Reads an IMF-fixdate; the two obsolete forms are not read, which only costs their senders a `304`.
pub fn parse(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let (weekday, rest) = text.split_once(", ")?;
    let weekday = DAYS.iter().position(|name| *name == weekday)?;
    let mut parts = rest.split(' ');
    let mut next = || parts.next();
    let (day, month, year, time, zone) = (next()?, next()?, next()?, next()?, next()?);
    if next().is_some() || zone != "GMT" || (day.len(), year.len(), time.len()) != (2, 4, 8) {
        return None;
    }
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<i64>().ok())?;
    let month = MONTHS.iter().position(|name| *name == month)? as i64 + 1;
    let mut clock = time.split(':').map(number);
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let (day, year) = (number(day)?, number(year)?);
    if clock.next().is_some() || year < 1970 || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = Civil::seconds(year, month, day, hour * 3600 + minute * 60 + second);
    let read = Civil::new(seconds);
    (read.day == day as u32 && read.weekday == weekday).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(seconds: i64) -> String {
        let mut to = Vec::new();
        write(seconds, &mut to);
        String::from_utf8(to).unwrap()
    }

    #[test]
    fn dates_are_written_and_read() {
        for (seconds, expect) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (LAST, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(text(seconds), expect);
            assert_eq!(parse(expect.as_bytes()), Some(seconds));
        }
        for seconds in (0..LAST).step_by(86_400 * 97 + 3_601) {
            assert_eq!(parse(text(seconds).as_bytes()), Some(seconds));
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "now",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 GMT ",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov -994 08:49:37 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
