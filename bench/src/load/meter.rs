//! Counts what comes back within a window of time, beside the CPU that the server takes for it.
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use super::{LoadError, SILENCE_MAX, Trying};
use crate::proc::Tree;

/// The longest time from message to answer that is told apart, in ns.
const LATENCY_MAX: u64 = 60_000_000_000;

/// What one window gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tally {
    /// Whole messages that came back.
    pub messages: u64,
    /// How long the window was.
    pub elapsed: Duration,
    /// CPU time of the server within it.
    pub cpu: Duration,
    /// Half of the answers came within this time.
    pub p50: Duration,
    /// 99 of 100 answers came within this time.
    pub p99: Duration,
}

enum Phase {
    WarmUp { until: Instant },
    Measuring { since: Instant, cpu: Duration },
}

/// One window: first a warm-up that counts nothing, then the time that counts.
pub struct Meter<'a> {
    server: Tree,
    interrupted: &'a AtomicBool,
    length: Duration,
    phase: Phase,
    messages: u64,
    latencies: Histogram<u64>,
    last: Instant,
    /// Messages before `last` was looked at, those of the warm-up too.
    seen: u64,
    total: u64,
}

impl<'a> Meter<'a> {
    /// A window of `length`, behind a tenth of it as warm-up.
    ///
    /// # Errors
    /// If there is no memory for the histogram.
    pub fn new(server: Tree, length: Duration, interrupted: &'a AtomicBool) -> Result<Self, LoadError> {
        let now = Instant::now();
        let latencies = Histogram::new_with_bounds(1, LATENCY_MAX, 3).map_err(std::io::Error::other);
        Ok(Self {
            server,
            interrupted,
            length,
            phase: Phase::WarmUp { until: now + length / 10 },
            messages: 0,
            latencies: latencies.trying("make a histogram")?,
            last: now,
            seen: 0,
            total: 0,
        })
    }

    /// A whole message came back that was sent at `sent`.
    pub fn hit(&mut self, sent: Instant, now: Instant) {
        self.total += 1;
        if matches!(self.phase, Phase::Measuring { .. }) {
            self.messages += 1;
            let nanos = u64::try_from((now - sent).as_nanos()).unwrap_or(u64::MAX);
            self.latencies.saturating_record(nanos);
        }
    }

    /// Once a turn of the loop: the tally when the window is over.
    ///
    /// # Errors
    /// If the server is silent or gone, or the run is interrupted.
    pub fn tick(&mut self, now: Instant) -> Result<Option<Tally>, LoadError> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(LoadError::Interrupted);
        }
        if self.total != self.seen {
            (self.seen, self.last) = (self.total, now);
        } else if now - self.last > SILENCE_MAX {
            return Err(LoadError::Silent);
        }
        match self.phase {
            Phase::WarmUp { until } if now >= until => {
                let cpu = self.server.cpu().trying("read the server's CPU time")?;
                self.phase = Phase::Measuring { since: Instant::now(), cpu };
            }
            // A window without a message says nothing; the silence above bounds the wait.
            Phase::Measuring { since, cpu } if now - since >= self.length && self.messages > 0 => {
                let elapsed = since.elapsed();
                let cpu = self.server.cpu().trying("read the server's CPU time")?.saturating_sub(cpu);
                let at = |quantile| Duration::from_nanos(self.latencies.value_at_quantile(quantile));
                return Ok(Some(Tally { messages: self.messages, elapsed, cpu, p50: at(0.5), p99: at(0.99) }));
            }
            Phase::WarmUp { .. } | Phase::Measuring { .. } => {}
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_warm_up_does_not_count_and_the_window_ends() {
        let interrupted = AtomicBool::new(false);
        let own = Tree::new(std::process::id());
        let began = Instant::now();
        let mut meter = Meter::new(own, Duration::from_millis(10), &interrupted).unwrap();
        meter.hit(began, began + Duration::from_secs(5));
        let later = Instant::now() + Duration::from_millis(1);
        assert_eq!(meter.tick(later).unwrap(), None, "only the warm-up is over");
        for _ in 0..3 {
            meter.hit(later, later + Duration::from_micros(100));
        }
        let tally = meter.tick(later + Duration::from_secs(3600)).unwrap().expect("the window is over");
        assert_eq!(tally.messages, 3);
        let micros = tally.p99.as_micros();
        assert!((99..=101).contains(&micros), "three digits of {micros} µs");
    }

    #[test]
    fn silence_and_interruption_end_it() {
        let interrupted = AtomicBool::new(false);
        let mut meter = Meter::new(Tree::new(std::process::id()), Duration::from_secs(3600), &interrupted).unwrap();
        let later = Instant::now() + SILENCE_MAX + Duration::from_secs(1);
        assert!(matches!(meter.tick(later), Err(LoadError::Silent)));
        meter.hit(later, later);
        assert!(meter.tick(later).unwrap().is_none(), "a message ends the silence");
        interrupted.store(true, Ordering::Relaxed);
        assert!(matches!(meter.tick(later), Err(LoadError::Interrupted)));
    }
}
