//! A limit on how fast a peer is heard.
use sotong_session::{Close, Cx, Event, Input, Moment, Pace, Session, Stream, Wants};
use std::{num::NonZeroU64, time::Duration};

/// Paces a stream's input by a token bucket: never drops, only shows later, so that TCP holds the peer back.
///
/// Output is not limited. The inner session sees a slower network and nothing else. Memory: none beyond itself; bytes that
/// must wait stay untaken with the driver, which reads no more meanwhile.
#[derive(Debug)]
pub struct Rate<S> {
    inner: S,
    limits: RateLimits,
    /// What may be shown, in billionths of a byte: refilled by the nanosecond without rounding.
    credit: u128,
    refilled: Moment,
    gate: Gate,
    /// Untaken bytes that have been shown, and are not paid for again.
    paid: usize,
}

/// How fast a peer is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimits {
    /// Input bytes a second in the long run: 1 MiB/s, more than any person types or pastes.
    pub input_bytes_per_second: NonZeroU64,
    /// Input bytes at once after a pause: 64 KiB, what a driver reads in one turn.
    pub burst_bytes: NonZeroU64,
}

impl Default for RateLimits {
    fn default() -> Self {
        let bytes = |count| NonZeroU64::new(count).expect("not 0");
        Self { input_bytes_per_second: bytes(1 << 20), burst_bytes: bytes(64 << 10) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Open,
    /// The bucket is empty, and worth showing from again at this time.
    HeldUntil(Moment),
}

/// Credit for one byte.
const BYTE: u128 = 1_000_000_000;
/// An empty bucket is refilled for 1/50 s before anything is shown: waking for every byte would cost more than it limits.
const WAKES_PER_SECOND: u64 = 50;

impl<S: Stream> Rate<S> {
    /// Paces the input of `inner`.
    pub fn new(inner: S, limits: RateLimits) -> Self {
        let credit = u128::from(limits.burst_bytes.get()) * BYTE;
        Self { inner, limits, credit, refilled: Moment::START, gate: Gate::Open, paid: 0 }
    }
    /// The session inside.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn refill(&mut self, now: Moment) {
        let earned = now.since(self.refilled).as_nanos() * u128::from(self.limits.input_bytes_per_second.get());
        let most = u128::from(self.limits.burst_bytes.get()) * BYTE;
        self.credit = self.credit.saturating_add(earned).min(most);
        self.refilled = now;
    }
    /// Shows what is paid for and what can be paid now; the rest stays untaken.
    fn show(&mut self, mut input: Input<'_>, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        self.refill(cx.now);
        let whole = input.bytes().len();
        let affordable = usize::try_from(self.credit / BYTE).unwrap_or(usize::MAX);
        let shown = whole.min(self.paid.saturating_add(affordable));
        self.credit -= (shown - self.paid.min(shown)) as u128 * BYTE;
        let mut taken = 0;
        let result = self.inner.handle(Event::Input(Input::new(&mut input.bytes_mut()[..shown], &mut taken)), cx);
        input.take(taken);
        self.paid = shown - taken;
        if self.credit < BYTE {
            self.gate = Gate::HeldUntil(cx.now + self.until_worth());
        }
        result
    }
    /// How long the bucket takes to hold enough again.
    fn until_worth(&self) -> Duration {
        let rate = self.limits.input_bytes_per_second.get();
        let worth = (rate / WAKES_PER_SECOND).clamp(1, self.limits.burst_bytes.get());
        let nanos = (u128::from(worth) * BYTE - self.credit).div_ceil(u128::from(rate));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
    fn deadline(&mut self, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        if let Gate::HeldUntil(at) = self.gate
            && at <= cx.now
        {
            self.gate = Gate::Open;
        }
        if self.inner.wants().is_due(cx.now) { self.inner.handle(Event::Deadline, cx) } else { Ok(()) }
    }
}

impl<S: Stream> Session for Rate<S> {
    type Mail = S::Mail;
    fn handle(&mut self, event: Event<'_, S::Mail>, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        match event {
            Event::Open(way) => {
                self.refilled = cx.now;
                self.inner.handle(Event::Open(way), cx)
            }
            Event::Input(input) => self.show(input, cx),
            Event::Again => self.inner.handle(Event::Again, cx),
            Event::End => self.inner.handle(Event::End, cx),
            Event::Mail(mail) => self.inner.handle(Event::Mail(mail), cx),
            Event::Deadline => self.deadline(cx),
            Event::Drained => self.inner.handle(Event::Drained, cx),
            Event::Stop => self.inner.handle(Event::Stop, cx),
            Event::Gone(close) => self.inner.handle(Event::Gone(close), cx),
        }
    }
    fn wants(&self) -> Wants {
        let inner = self.inner.wants();
        match self.gate {
            Gate::Open => inner,
            Gate::HeldUntil(at) => Wants { input: Pace::Hold, ..inner }.by(Some(at)),
        }
    }
}
impl<S: Stream> Stream for Rate<S> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{OPEN_GATE, Probe, Seen, cuts, feed_cut};
    use proptest::prelude::*;
    use sotong_session::{Checked, Marks, rig::Rig};

    fn limits(rate: u64, burst: u64) -> RateLimits {
        let bytes = |count| NonZeroU64::new(count).expect("not 0");
        RateLimits { input_bytes_per_second: bytes(rate), burst_bytes: bytes(burst) }
    }
    fn paced(probe: Probe, rate: u64, burst: u64) -> Rig<Rate<Checked<Probe>>> {
        let mut rig = Rig::stream(Rate::new(Checked::new(probe), limits(rate, burst)));
        rig.advance(Duration::from_secs(100));
        rig.open();
        rig
    }
    fn taken(rig: &Rig<Rate<Checked<Probe>>>) -> usize {
        rig.session().inner().inner().taken().len()
    }

    #[test]
    fn a_burst_then_the_rate_and_nothing_is_lost() {
        let mut rig = paced(Probe::echo(), 1000, 100);
        let text: Vec<u8> = (0..2100u32).map(|i| b'a' + (i % 26) as u8).collect();
        rig.input(&text);
        rig.end();
        assert_eq!(taken(&rig), 100);
        rig.advance(Duration::from_millis(500));
        assert_eq!(taken(&rig), 600);
        rig.advance(Duration::from_millis(1500));
        assert_eq!(rig.sent(), text);
        assert!(!rig.is_finished(), "End waits as well: the bucket is empty");
        rig.advance(Duration::from_millis(20));
        assert_eq!(rig.close(), Some(&Close::Done));
    }

    #[test]
    fn a_pause_earns_at_most_a_burst() {
        let mut rig = paced(Probe::echo(), 10, 30);
        rig.input(&[b'x'; 30]);
        rig.advance(Duration::from_secs(1000));
        rig.input(&[b'x'; 1000]);
        assert_eq!(taken(&rig), 60);
    }

    #[test]
    fn a_slow_rate_is_exact() {
        let mut rig = paced(Probe::echo(), 3, 1);
        rig.input(&[b'x'; 1000]);
        rig.advance(Duration::from_secs(200));
        let count = taken(&rig);
        assert!((600..=601).contains(&count), "{count}");
    }

    #[test]
    fn bytes_left_by_the_inner_session_are_paid_once() {
        let mut rig = paced(Probe::units(8), 100, 10);
        rig.input(b"1234567890abcdef");
        assert_eq!(taken(&rig), 8);
        rig.advance(Duration::from_millis(59));
        assert_eq!(taken(&rig), 8);
        rig.advance(Duration::from_millis(1));
        assert_eq!(taken(&rig), 16);
    }

    #[test]
    fn a_held_inner_session_is_shown_its_bytes_again() {
        let mut rig = paced(Probe::gate(), 100, 4);
        rig.input(b"12345678");
        assert_eq!(taken(&rig), 4);
        rig.mail(&OPEN_GATE);
        assert_eq!(taken(&rig), 4, "the bucket is still empty");
        rig.advance(Duration::from_millis(40));
        assert_eq!(taken(&rig), 6);
        rig.advance(Duration::from_millis(100));
        assert_eq!(taken(&rig), 6, "the gate is shut");
        rig.mail(&OPEN_GATE);
        assert_eq!(taken(&rig), 8);
    }

    #[test]
    fn errors_and_the_inner_deadline() {
        let mut rig = paced(Probe::echo(), 1, 1);
        rig.input(b"@xx");
        rig.advance(Duration::from_secs(5));
        assert_eq!(rig.sent(), b"@xxring");
        rig.input(b"!");
        assert_eq!(rig.sent(), b"farewell");
        assert_eq!(rig.close(), Some(&Close::Protocol("fail".into())));
        rig.gone(Close::Done);
        let last = rig.session().inner().inner().seen.last();
        assert_eq!(last, Some(&Seen::Gone(Close::Protocol("fail".into()))));

        let mut rig = paced(Probe::echo(), 1, 1);
        rig.input(b"xx");
        rig.stop();
        assert_eq!(rig.sent(), b"xbye", "Stop does not wait for the bucket");
    }

    proptest! {
        #[test]
        fn everything_arrives_in_time_and_never_sooner(
            text in proptest::collection::vec(b'a'..=b'z', 0..300),
            cut in cuts(300),
            unit in 1usize..5,
            high in 5usize..60,
            rate in 1u64..200,
            burst in 1u64..50,
        ) {
            let mut rig = paced(Probe::units(unit), rate, burst)
                .with_marks(Marks { low: high / 4, high, hard: 1 << 20 });
            feed_cut(&mut rig, &text, &cut);
            rig.end();
            let mut sent = rig.sent();
            let start = rig.now();
            for _ in 0..1000 {
                if rig.close().is_some() {
                    break;
                }
                rig.advance(Duration::from_millis(600));
                let most = u128::from(burst) + rig.now().since(start).as_nanos() * u128::from(rate) / BYTE;
                prop_assert!(taken(&rig) as u128 <= most);
                sent.extend(rig.sent());
            }
            prop_assert_eq!(sent, &text[..text.len() / unit * unit]);
            prop_assert_eq!(rig.close(), Some(&Close::Done));
        }
    }
}
