//! The clock of a driver: the only place where time enters.
use sotong_session::{Moment, Wall};
use std::time::Duration;

/// Turns the machine's clocks into the moments that sessions count in.
///
/// A copy keeps the same start, so all shards of one driver share one count. Loops read it once or twice a turn, so it counts
/// in whole nanoseconds, which std's types would be converted from and to.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Nanoseconds of the machine's monotonic clock.
    start: u64,
}

impl Clock {
    /// A clock that starts with this call, at [`Moment::START`].
    pub fn start() -> Self {
        Self { start: monotonic() }
    }
    /// The moment it is. Never goes back; stands still while the machine is suspended.
    pub fn now(&self) -> Moment {
        Moment::START + Duration::from_nanos(monotonic() - self.start)
    }
    /// Civil time; it may jump. A machine whose clock stands before 1970 is in 1970.
    pub fn wall(&self) -> Wall {
        let libc::timespec { tv_sec, tv_nsec } = read(libc::CLOCK_REALTIME);
        Wall(tv_sec.max(0).saturating_mul(1000).saturating_add(tv_nsec / 1_000_000))
    }
    /// How long from now until `at`; zero if it has come.
    pub fn until(&self, at: Moment) -> Duration {
        at.since(self.now())
    }
}

/// Nanoseconds since some moment before this program began: they fit for 584 years.
fn monotonic() -> u64 {
    let libc::timespec { tv_sec, tv_nsec } = read(libc::CLOCK_MONOTONIC);
    tv_sec.cast_unsigned() * 1_000_000_000 + tv_nsec.cast_unsigned()
}

#[allow(unsafe_code, reason = "std's clocks give no numbers")]
fn read(clock: libc::clockid_t) -> libc::timespec {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a value that lives through the call.
    let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
    // Every kernel has both clocks.
    debug_assert_eq!(result, 0);
    time
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
