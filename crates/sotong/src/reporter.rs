//! What a server logs of its connections: `-v` opened and closed, `-vv` payloads, always a panic.
//!
//! A peer decides how often it connects and sends, so the lines it causes are metered: beyond a burst they are counted,
//! and the count is told.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sotong_session::{Address, End, Way};
use sotong_shard::{Closed, Observer};
use tracing::level_filters::LevelFilter;

use crate::payload::Payload;
use crate::secrets::Secrets;

/// Lines that peers may cause at once.
const LINES_BURST_MAX: u32 = 2_000;
/// Lines a second that peers may cause in the long run.
const LINES_PER_SECOND: u32 = 500;

/// Logs connections by `tracing`.
pub(crate) struct Reporter {
    meter: Mutex<Meter>,
    /// What of payloads is hidden, where passwords are among them.
    secrets: Option<Mutex<Secrets>>,
}

impl Reporter {
    /// For a service of this name.
    pub(crate) fn new(service: &str) -> Self {
        let secrets = (service == "chat").then(Mutex::default);
        Self { meter: Mutex::new(Meter::new(Instant::now())), secrets }
    }
    fn secrets(&self) -> Option<MutexGuard<'_, Secrets>> {
        self.secrets.as_ref().map(|secrets| secrets.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether one more line may be written. Tells of the lines left out before it.
    fn admits(&self) -> bool {
        let admitted = self.meter.lock().unwrap_or_else(PoisonError::into_inner).admit(Instant::now());
        if let Some(count) = admitted.filter(|left_out| *left_out > 0) {
            tracing::warn!(lines = count, "log lines left out");
        }
        admitted.is_some()
    }

    fn payload(&self, direction: &'static str, who: Address, peer: &End, bytes: &[u8]) {
        if tracing::enabled!(tracing::Level::TRACE) && self.admits() {
            let Payload { text, hex, left_out } = Payload::new(bytes);
            tracing::trace!(conn = %name(who), peer = %peer, bytes = bytes.len(), text, hex, left_out, "{direction}");
        }
    }
}

impl Observer for Reporter {
    fn opened(&self, who: Address, way: &Way) {
        if tracing::enabled!(tracing::Level::DEBUG) && self.admits() {
            tracing::debug!(conn = %name(who), peer = %way.peer(), local = %way.local, "opened");
        }
    }

    fn closed(&self, closed: &Closed<'_>) {
        if self.wants_payload()
            && let Some(mut secrets) = self.secrets()
        {
            secrets.closed(closed.who);
        }
        if tracing::enabled!(tracing::Level::DEBUG) && self.admits() {
            let word = closed.reason.word();
            let detail = closed.reason.to_string();
            tracing::debug!(
                conn = %name(closed.who),
                peer = %closed.peer,
                bytes_in = closed.bytes_in,
                bytes_out = closed.bytes_out,
                seconds = closed.duration.as_secs_f64(),
                reason = word,
                detail = (detail != word).then_some(detail),
                "closed",
            );
        }
    }

    fn wants_payload(&self) -> bool {
        LevelFilter::current() == LevelFilter::TRACE
    }

    fn received(&self, who: Address, peer: &End, bytes: &[u8]) {
        let shown = self.secrets().map(|mut secrets| secrets.received(who, bytes));
        self.payload("received", who, peer, shown.as_deref().unwrap_or(bytes));
    }

    fn sent(&self, who: Address, peer: &End, bytes: &[u8]) {
        if let Some(mut secrets) = self.secrets() {
            secrets.sent(who, bytes);
        }
        self.payload("sent", who, peer, bytes);
    }

    fn panicked(&self, who: Address, peer: &End, what: &str) {
        if self.admits() {
            tracing::error!(conn = %name(who), peer = %peer, what, "panicked");
        }
    }
}

/// A connection's name in the log: shard, slot and turn, so that none is named twice in a server's life.
fn name(who: Address) -> String {
    format!("{}.{}.{}", who.shard, who.slot, who.turn)
}

/// A token bucket that counts what it turns away.
struct Meter {
    tokens: u32,
    /// Time up to which tokens were given.
    filled: Instant,
    left_out: u64,
}

impl Meter {
    fn new(now: Instant) -> Self {
        Self { tokens: LINES_BURST_MAX, filled: now, left_out: 0 }
    }

    /// `None` if the line is left out; else the number of lines left out before it.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        let each = Duration::from_secs(1) / LINES_PER_SECOND;
        let due = now.saturating_duration_since(self.filled).as_nanos() / each.as_nanos();
        let due = u32::try_from(due).unwrap_or(u32::MAX).min(LINES_BURST_MAX);
        if due > 0 {
            self.tokens = self.tokens.saturating_add(due).min(LINES_BURST_MAX);
            // A full bucket forgets the time it was full.
            self.filled = if due == LINES_BURST_MAX { now } else { self.filled + each * due };
        }
        if self.tokens == 0 {
            self.left_out += 1;
            return None;
        }
        self.tokens -= 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_a_flood_is_counted() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        assert!((0..LINES_BURST_MAX).all(|_| meter.admit(start) == Some(0)));
        assert!((0..1_000).all(|_| meter.admit(start).is_none()));
        let later = start + Duration::from_millis(10);
        assert_eq!(meter.admit(later), Some(1_000), "the next line tells how many were left out");
        let more = (0..100).filter(|_| meter.admit(later).is_some()).count();
        assert_eq!(more, 4, "500 a second are 5 in 10 ms");
    }

    #[test]
    fn quiet_hours_do_not_pile_up_a_larger_burst() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        let later = start + Duration::from_secs(86_400);
        let passed = (0..10_000).filter(|_| meter.admit(later).is_some()).count();
        assert_eq!(passed, LINES_BURST_MAX as usize);
    }
}
