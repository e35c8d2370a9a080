//! The clock of a driver: the only place where time enters.
use sotong_session::{Moment, Wall};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Turns the machine's clocks into the moments that sessions count in.
///
/// A copy keeps the same start, so all shards of one driver share one count.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts with this call, at [`Moment::START`].
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }
    /// The moment it is. Never goes back; stands still while the machine is suspended.
    pub fn now(&self) -> Moment {
        Moment::START + self.start.elapsed()
    }
    /// Civil time; it may jump. A machine whose clock stands before 1970 is in 1970.
    pub fn wall(&self) -> Wall {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Wall(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
    /// How long from now until `at`; zero if it has come.
    pub fn until(&self, at: Moment) -> Duration {
        at.since(self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_share_one_count_that_only_grows() {
        let clock = Clock::start();
        let copy = clock;
        let first = clock.now();
        let second = copy.now();
        assert!(second >= first);
        assert_eq!(clock.until(first), Duration::ZERO);
        let ahead = clock.until(second + Duration::from_secs(3600));
        assert!(ahead > Duration::from_secs(1800) && ahead <= Duration::from_secs(3600));
        assert!(clock.wall() > Wall(1_600_000_000_000));
    }
}
