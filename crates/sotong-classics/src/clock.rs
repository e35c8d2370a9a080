//! Daytime, RFC 867, and time, RFC 868.
use crate::hears::{Hears, fits};
use sotong_session::{Close, Cx, Event, Output, Records, Session, Stream, Wall, Wants, Way};
use std::convert::Infallible;

crate::stateless_service! {
    /// Says the date and time in UTC, for people (RFC 867): `2026-11-22T11:22:33Z`.
    DaytimeService makes Daytime
}
crate::stateless_service! {
    /// Says the seconds since 1900-01-01 00:00 UTC in 32 bits, most significant byte first (RFC 868).
    TimeService makes Time
}

/// Says the date and time to one peer: over a stream at once, and closes; over datagrams once for each that comes.
#[derive(Debug)]
pub struct Daytime {
    hears: Hears,
}

/// Says the seconds since 1900 to one peer: over a stream at once, and closes; over datagrams once for each that comes, be
/// it empty.
///
/// The 32 bits begin anew in 2036, and every 136 years: which round is meant is for the reader to know.
#[derive(Debug)]
pub struct Time {
    hears: Hears,
}

impl Daytime {
    /// For the peer at the other end of `way`.
    pub fn new(way: &Way) -> Self {
        Self { hears: Hears::of(way) }
    }
}
impl Time {
    /// For the peer at the other end of `way`.
    pub fn new(way: &Way) -> Self {
        Self { hears: Hears::of(way) }
    }
}

/// Says `words` when the peer is to hear them: both protocols differ only in these.
fn tell(
    hears: &mut Hears,
    event: Event<'_, Infallible>,
    cx: &mut Cx<'_, Infallible>,
    words: fn(Wall, &mut Output),
) -> Result<(), Close> {
    match event {
        Event::Open(way) => {
            *hears = Hears::of(way);
            if *hears == Hears::Stream {
                words(cx.wall, cx.out);
                return Err(Close::Done);
            }
        }
        Event::Input(mut input) => {
            input.take_all();
            if *hears == Hears::Records && fits(cx.out, WORDS_BYTES_MAX) {
                words(cx.wall, cx.out);
                cx.out.cut();
            }
        }
        Event::End => cx.out.finish(),
        Event::Stop => return Err(Close::Stop),
        Event::Mail(never) => match *never {},
        Event::Again | Event::Deadline | Event::Drained | Event::Gone(_) => {}
    }
    Ok(())
}

/// More than either protocol says at once.
const WORDS_BYTES_MAX: usize = 64;

fn daytime(wall: Wall, out: &mut Output) {
    let (seconds, days) = (wall.0.div_euclid(1000), wall.0.div_euclid(86_400_000));
    let (year, month, day) = civil(days);
    let of_day = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    out.put(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z\r\n").as_bytes());
}

fn seconds_since_1900(wall: Wall, out: &mut Output) {
    /// From 1900-01-01 to 1970-01-01 (RFC 868).
    const BEFORE_1970: i64 = 2_208_988_800;
    let seconds = wall.0.div_euclid(1000).wrapping_add(BEFORE_1970);
    out.put(&(seconds as u32).to_be_bytes());
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar.
///
/// Counted from the 1st of March of the year 0, so that a leap day ends its year, in eras of 400 years.
fn civil(days: i64) -> (i64, i64, i64) {
    const ERA_DAYS: i64 = 146_097;
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

impl Session for Daytime {
    type Mail = Infallible;
    fn handle(&mut self, event: Event<'_, Infallible>, cx: &mut Cx<'_, Infallible>) -> Result<(), Close> {
        tell(&mut self.hears, event, cx, daytime)
    }
    fn wants(&self) -> Wants {
        Wants::INPUT
    }
}
impl Stream for Daytime {}
impl Records for Daytime {}

impl Session for Time {
    type Mail = Infallible;
    fn handle(&mut self, event: Event<'_, Infallible>, cx: &mut Cx<'_, Infallible>) -> Result<(), Close> {
        tell(&mut self.hears, event, cx, seconds_since_1900)
    }
    fn wants(&self) -> Wants {
        Wants::INPUT
    }
}
impl Stream for Time {}
impl Records for Time {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hears::tests::datagrams_from;
    use sotong_session::rig::Rig;

    #[test]
    fn daytime_over_a_stream_closes_behind_its_words() {
        for (wall, expect) in [
            (0, "1970-01-01T00:00:00Z\r\n"),
            (-1, "1969-12-31T23:59:59Z\r\n"),
            (951_827_696_789, "2000-02-29T12:34:56Z\r\n"),
            (1_709_251_199_000, "2024-02-29T23:59:59Z\r\n"),
            (1_709_251_200_000, "2024-03-01T00:00:00Z\r\n"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z\r\n"),
        ] {
            let mut rig = Rig::stream(Daytime { hears: Hears::Stream }).with_wall(Wall(wall));
            rig.open();
            assert_eq!(String::from_utf8_lossy(&rig.sent()), expect);
            assert_eq!(rig.close(), Some(&Close::Done));
        }
    }

    #[test]
    fn every_day_of_four_centuries_follows_the_last() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..146_097 {
            assert_eq!(civil(days), (year, month, day));
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let last = match month {
                2 => 28 + i64::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > last {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
    }

    #[test]
    fn time_in_the_examples_of_the_rfc() {
        for (wall, expect) in [
            // RFC 868, "For example".
            (0, 2_208_988_800),
            (189_302_400_000, 2_398_291_200),
            (315_532_800_000, 2_524_521_600),
            (420_595_200_000, 2_629_584_000),
            (-3_506_716_800_000, (-1_297_728_000i32).cast_unsigned()),
            // 2036-02-07 06:28:16: the 32 bits begin anew.
            (2_085_978_496_000, 0),
        ] {
            let mut rig = Rig::stream(Time { hears: Hears::Stream }).with_wall(Wall(wall));
            rig.open();
            assert_eq!(rig.sent(), expect.to_be_bytes());
            assert_eq!(rig.close(), Some(&Close::Done));
        }
    }

    #[test]
    fn datagrams_ask() {
        let way = datagrams_from(50_000);
        let mut rig = Rig::records(Time::new(&way));
        rig.open_as(&way);
        assert_eq!(rig.queued(), 0);
        rig.input(b"");
        rig.input(b"whatever");
        assert_eq!(rig.sent_records(), [2_208_988_800u32.to_be_bytes(); 2]);
        let mut rig = Rig::records(Daytime::new(&way));
        rig.open_as(&way);
        rig.input(b"");
        assert_eq!(rig.sent_records(), [b"1970-01-01T00:00:00Z\r\n"]);
        rig.stop();
        assert_eq!(rig.close(), Some(&Close::Stop));
        let way = datagrams_from(37);
        let mut rig = Rig::records(Time::new(&way));
        rig.open_as(&way);
        rig.input(b"");
        let mut other = Rig::records(Daytime::new(&way));
        other.open_as(&way);
        other.input(b"");
        assert_eq!((rig.queued(), other.queued()), (0, 0));
    }
}
