//! A limit on silence, and on a connection's whole life.
use sotong_session::{Close, Cx, Event, Moment, Records, Session, Stream, Wants};
use std::time::Duration;

/// Ends a session whose peer has sent nothing for a time, or that has lasted too long, as [`Close::Idle`].
///
/// Silence counts only while the peer could be heard: not while the inner session takes no input, which is no fault of the
/// peer's (a peer that does not read is cut off by the driver), and not after the peer's end of stream. Lifetime always
/// counts. Nothing else is changed; the inner session's own deadlines pass through.
#[derive(Debug)]
pub struct IdleLimit<S> {
    inner: S,
    limits: IdleLimits,
    /// When the peer was last heard, or last came to be heard again.
    heard: Moment,
    /// When to look whether it has been silent too long. It moves once a period, not with every input: timers stay cheap.
    look: Option<Moment>,
    life_end: Option<Moment>,
}

/// How long a peer may be silent, and stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleLimits {
    /// Without a byte (or record) for this long the session ends: 5 minutes, so that a dead peer does not hold a connection
    /// for ever. `None` for no limit.
    pub silence: Option<Duration>,
    /// The session ends this long after it began, whatever the peer does: none.
    pub lifetime: Option<Duration>,
    /// What is sent last, as it is; `None` for nothing.
    pub farewell: Option<&'static str>,
}

impl Default for IdleLimits {
    fn default() -> Self {
        Self { silence: Some(Duration::from_secs(300)), lifetime: None, farewell: None }
    }
}

impl<S: Session> IdleLimit<S> {
    /// Limits `inner`.
    pub fn new(inner: S, limits: IdleLimits) -> Self {
        Self { inner, limits, heard: Moment::START, look: None, life_end: None }
    }
    /// The session inside.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// The time has come for this layer, the inner session, or both.
    fn deadline(&mut self, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        if self.life_end.is_some_and(|at| at <= cx.now) {
            return self.farewell(cx);
        }
        if let (Some(silence), Some(look)) = (self.limits.silence, self.look)
            && look <= cx.now
        {
            if !cx.takes(self.inner.wants()) {
                self.heard = cx.now;
            }
            if self.heard + silence <= cx.now {
                return self.farewell(cx);
            }
            self.look = Some(self.heard + silence);
        }
        if self.inner.wants().is_due(cx.now) { self.inner.handle(Event::Deadline, cx) } else { Ok(()) }
    }
    fn farewell(&self, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        if let Some(text) = self.limits.farewell {
            cx.out.put(text.as_bytes());
            cx.out.cut();
        }
        Err(Close::Idle)
    }
}

impl<S: Session> Session for IdleLimit<S> {
    type Mail = S::Mail;
    fn handle(&mut self, event: Event<'_, S::Mail>, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        match event {
            Event::Open(way) => {
                self.heard = cx.now;
                self.look = self.limits.silence.map(|silence| cx.now + silence);
                self.life_end = self.limits.lifetime.map(|lifetime| cx.now + lifetime);
                self.inner.handle(Event::Open(way), cx)
            }
            // Old bytes shown again come behind an Again, when the peer's time begins anew as well.
            Event::Input(input) => {
                self.heard = cx.now;
                self.inner.handle(Event::Input(input), cx)
            }
            Event::Again => {
                self.heard = cx.now;
                self.inner.handle(Event::Again, cx)
            }
            Event::End => {
                self.look = None;
                self.inner.handle(Event::End, cx)
            }
            Event::Mail(mail) => self.inner.handle(Event::Mail(mail), cx),
            Event::Deadline => self.deadline(cx),
            Event::Drained => self.inner.handle(Event::Drained, cx),
            Event::Stop => self.inner.handle(Event::Stop, cx),
            Event::Gone(close) => self.inner.handle(Event::Gone(close), cx),
        }
    }
    fn wants(&self) -> Wants {
        self.inner.wants().by(self.look).by(self.life_end)
    }
}
impl<S: Stream> Stream for IdleLimit<S> {}
impl<S: Records> Records for IdleLimit<S> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{OPEN_GATE, Probe, Seen, cuts, feed, feed_cut};
    use proptest::prelude::*;
    use sotong_session::{Checked, Marks, rig::Rig};

    const SECOND: Duration = Duration::from_secs(1);
    const FOUR: IdleLimits = IdleLimits { silence: Some(Duration::from_secs(4)), lifetime: None, farewell: None };

    fn idle(probe: Probe, limits: IdleLimits) -> Rig<IdleLimit<Checked<Probe>>> {
        let mut rig = Rig::stream(IdleLimit::new(Checked::new(probe), limits));
        rig.advance(SECOND);
        rig.open();
        rig
    }

    #[test]
    fn silence_ends_the_session_and_a_byte_puts_it_off() {
        let mut rig = idle(Probe::echo(), FOUR);
        rig.advance(3 * SECOND);
        rig.input(b"x");
        rig.advance(4 * SECOND - Duration::from_nanos(1));
        assert_eq!(rig.close(), None);
        rig.advance(Duration::from_nanos(1));
        assert_eq!(rig.close(), Some(&Close::Idle));
        assert_eq!(rig.sent(), b"x");
        rig.gone(Close::Done);
        assert_eq!(rig.session().inner().inner().seen.last(), Some(&Seen::Gone(Close::Idle)));
    }

    #[test]
    fn mail_is_no_word_of_the_peer_but_an_empty_record_is() {
        let mut rig = idle(Probe::units(4), FOUR);
        rig.input(b"abc");
        rig.advance(3 * SECOND);
        rig.mail(&1);
        rig.advance(SECOND);
        assert_eq!(rig.close(), Some(&Close::Idle));

        let mut rig = Rig::records(IdleLimit::new(Checked::new(Probe::echo()), FOUR));
        rig.open();
        rig.advance(3 * SECOND);
        rig.input(b"");
        rig.advance(3 * SECOND);
        assert_eq!(rig.close(), None);
        rig.advance(SECOND);
        assert_eq!(rig.close(), Some(&Close::Idle));
    }

    #[test]
    fn time_in_which_the_peer_is_not_heard_is_not_its_silence() {
        let mut rig = idle(Probe::gate(), FOUR);
        rig.input(b"work");
        rig.advance(100 * SECOND);
        assert_eq!(rig.close(), None);
        rig.mail(&OPEN_GATE);
        rig.advance(3 * SECOND);
        assert_eq!(rig.close(), None, "the peer has its whole time again");
        rig.advance(SECOND);
        assert_eq!(rig.close(), Some(&Close::Idle));

        let mut rig = Rig::stream(IdleLimit::new(Checked::new(Probe::echo()), FOUR));
        rig = rig.with_marks(Marks { low: 1, high: 4, hard: 100 });
        rig.open();
        rig.input(b"12345678");
        rig.advance(100 * SECOND);
        assert_eq!(rig.close(), None, "who does not read is the driver's to cut off");
    }

    #[test]
    fn a_lifetime_ends_even_the_busy() {
        let limits = IdleLimits { lifetime: Some(10 * SECOND), farewell: Some("time is up\n"), ..FOUR };
        let mut rig = idle(Probe::echo(), limits);
        for _ in 0..9 {
            rig.advance(SECOND);
            rig.input(b".");
        }
        assert_eq!(rig.close(), None);
        rig.advance(SECOND);
        assert_eq!(rig.close(), Some(&Close::Idle));
        assert_eq!(rig.sent(), b".........time is up\n");
        let mut rig = idle(Probe::gate(), limits);
        rig.input(b"work");
        rig.advance(10 * SECOND);
        assert_eq!(rig.close(), Some(&Close::Idle));
    }

    #[test]
    fn after_its_end_the_peer_may_be_silent() {
        let mut rig = idle(Probe::gate(), FOUR);
        rig.input(b"a");
        rig.end();
        rig.advance(60 * SECOND);
        assert_eq!(rig.close(), None);
        rig.mail(&OPEN_GATE);
        assert_eq!(rig.sent(), b"a");
        rig.advance(60 * SECOND);
        assert_eq!(rig.close(), Some(&Close::Done));
    }

    #[test]
    fn inner_deadlines_pass_untouched() {
        let mut rig = idle(Probe::echo(), FOUR);
        rig.input(b"@");
        rig.advance(3 * SECOND);
        rig.input(b"x");
        rig.advance(SECOND);
        assert_eq!(rig.sent(), b"@x", "four seconds: the layer's look, not the inner's alarm");
        rig.advance(SECOND);
        assert_eq!(rig.sent(), b"ring");
        assert_eq!(rig.close(), None);
        rig.input(b"!");
        assert_eq!(rig.sent(), b"farewell");
        assert_eq!(rig.close(), Some(&Close::Protocol("fail".into())));
    }

    #[test]
    fn no_limit_is_no_deadline() {
        let none = IdleLimits { silence: None, lifetime: None, farewell: None };
        let mut rig = idle(Probe::echo(), none);
        assert_eq!(rig.session().wants(), Wants::INPUT);
        rig.advance(1_000_000 * SECOND);
        rig.stop();
        assert_eq!(rig.close(), Some(&Close::Stop));
        assert_eq!(rig.sent(), b"bye");
    }

    proptest! {
        #[test]
        fn nothing_is_changed(
            text in proptest::collection::vec(b'a'..=b'z', 0..200),
            cut in cuts(200),
            unit in 1usize..5,
            high in 5usize..60,
        ) {
            let mut rig = Rig::stream(IdleLimit::new(Checked::new(Probe::units(unit)), FOUR));
            rig = rig.with_marks(Marks { low: high / 4, high, hard: 1 << 20 });
            rig.open();
            feed_cut(&mut rig, &text, &cut);
            rig.end();
            prop_assert_eq!(rig.sent(), &text[..text.len() / unit * unit]);
            prop_assert_eq!(rig.close(), Some(&Close::Done));
        }
    }

    #[test]
    fn byte_by_byte() {
        let mut rig = idle(Probe::always(), FOUR);
        feed(&mut rig, b"hello", 1);
        assert_eq!(rig.sent(), b"hello");
    }
}
