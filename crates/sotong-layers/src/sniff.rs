//! Which protocol a peer speaks, by its first bytes.
use crate::{First, Successor};
use sotong_session::{Close, Cx, Event, Input, Moment, Session, Stream, Wants};
use std::time::Duration;

/// Reads the first bytes of a stream and lets a [`Chooser`] say which session gets it; stands in a
/// [`Handover`](crate::Handover), which gives that session every byte from the first.
///
/// A peer that says nothing for [`SniffLimits::silence`], or ends its stream undecided, gets [`Chooser::silent`]: in many
/// protocols the server speaks first. A peer that began and stays undecided ends as [`Close::Idle`] after
/// [`SniffLimits::choice`], or as [`Close::Limit`]`("sniff_bytes_max")`.
///
/// ```
/// use sotong_layers::{Choice, Chooser, Handover, Sniff, SniffLimits};
/// use sotong_session::{Close, Cx, Event, Session, Stream, Wants, rig::Rig};
///
/// /// Says which session it is, and no more.
/// struct Is(&'static str);
/// impl Session for Is {
///     type Mail = std::convert::Infallible;
///     fn handle(&mut self, event: Event<'_, Self::Mail>, cx: &mut Cx<'_, Self::Mail>) -> Result<(), Close> {
///         match event {
///             Event::Open(_) => cx.out.put(self.0.as_bytes()),
///             Event::Input(mut input) => input.take_all(),
///             Event::End => cx.out.finish(),
///             Event::Stop => return Err(Close::Stop),
///             Event::Again | Event::Mail(_) | Event::Deadline | Event::Drained | Event::Gone(_) => {}
///         }
///         Ok(())
///     }
///     fn wants(&self) -> Wants {
///         Wants::INPUT
///     }
/// }
/// impl Stream for Is {}
///
/// struct HttpOrNot;
/// impl Chooser for HttpOrNot {
///     type Mail = std::convert::Infallible;
///     fn choose(&self, first: &[u8]) -> Choice<Self::Mail> {
///         match (first.starts_with(b"GET "), b"GET ".starts_with(first)) {
///             (true, _) => Choice::Chosen(Box::new(Is("http"))),
///             (false, true) => Choice::NeedMore,
///             (false, false) => Choice::Chosen(self.silent()),
///         }
///     }
///     fn silent(&self) -> Box<dyn Stream<Mail = Self::Mail>> {
///         Box::new(Is("other"))
///     }
/// }
///
/// let mut rig = Rig::stream(Handover::new(Sniff::new(HttpOrNot, SniffLimits::default())));
/// rig.open();
/// rig.input(b"GE");
/// assert_eq!(rig.sent(), b"");
/// rig.input(b"T / HTTP/1.1\r\n");
/// assert_eq!(rig.sent(), b"http");
/// ```
pub struct Sniff<C: Chooser> {
    chooser: C,
    limits: SniffLimits,
    /// What the peer has said while nothing was chosen.
    first: Vec<u8>,
    /// When the peer must be decided about.
    choice_end: Moment,
    deadline: Option<Moment>,
    next: Option<Successor<C::Mail>>,
}

/// Chooses a session by a peer's first bytes.
pub trait Chooser {
    /// The mail of all its sessions.
    type Mail: Clone + Send + Sync + 'static;

    /// Says who gets a peer that began with `first`, which is never empty. What it says of some bytes it must say of every
    /// longer beginning: the network cuts where it likes.
    fn choose(&self, first: &[u8]) -> Choice<Self::Mail>;
    /// Who gets a peer that says nothing, or ends before it can be told.
    fn silent(&self) -> Box<dyn Stream<Mail = Self::Mail>>;
}

impl<C: Chooser + ?Sized> Chooser for std::sync::Arc<C> {
    type Mail = C::Mail;
    fn choose(&self, first: &[u8]) -> Choice<C::Mail> {
        (**self).choose(first)
    }
    fn silent(&self) -> Box<dyn Stream<Mail = C::Mail>> {
        (**self).silent()
    }
}

/// What a [`Chooser`] can tell by some first bytes.
pub enum Choice<M> {
    /// Not enough yet.
    NeedMore,
    /// This session gets the connection.
    Chosen(Box<dyn Stream<Mail = M>>),
}

/// How long and how far a peer is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SniffLimits {
    /// First bytes looked at: 256, more than a PROXY header of version 2 with addresses, or any protocol's first word.
    pub sniff_bytes_max: usize,
    /// A peer that has said nothing for this long gets the session for the silent: 1 s, longer than a slow network takes to
    /// bring the first bytes of one who speaks first, and short for one who waits for a greeting.
    pub silence: Duration,
    /// From `Open`, a peer that has begun must be decided about in this time: 10 s, as for a TLS handshake.
    pub choice: Duration,
}

impl Default for SniffLimits {
    fn default() -> Self {
        Self { sniff_bytes_max: 256, silence: Duration::from_secs(1), choice: Duration::from_secs(10) }
    }
}

impl<C: Chooser> Sniff<C> {
    /// Lets `chooser` choose.
    pub fn new(chooser: C, limits: SniffLimits) -> Self {
        let (first, choice_end) = (Vec::new(), Moment::START);
        Self { chooser, limits, first, choice_end, deadline: None, next: None }
    }

    fn look(&mut self, input: &mut Input<'_>) -> Result<(), Close> {
        let room = self.limits.sniff_bytes_max.saturating_sub(self.first.len());
        let count = input.bytes().len().min(room);
        let fresh = &input.bytes()[..count];
        let choice = if self.first.is_empty() {
            // The usual case: the first packet decides, and nothing is copied.
            self.chooser.choose(fresh)
        } else {
            self.first.extend_from_slice(fresh);
            input.take(count);
            self.chooser.choose(&self.first)
        };
        match choice {
            Choice::Chosen(session) => {
                self.hand_over(session);
                Ok(())
            }
            Choice::NeedMore => {
                if self.first.is_empty() {
                    self.first.extend_from_slice(&input.bytes()[..count]);
                    input.take(count);
                }
                self.deadline = Some(self.choice_end);
                let is_full = self.first.len() >= self.limits.sniff_bytes_max;
                if is_full { Err(Close::Limit("sniff_bytes_max")) } else { Ok(()) }
            }
        }
    }
    fn hand_over(&mut self, session: Box<dyn Stream<Mail = C::Mail>>) {
        self.next = Some(Successor { session, early: std::mem::take(&mut self.first), through: None });
        self.deadline = None;
    }
}

impl<C: Chooser> Session for Sniff<C> {
    type Mail = C::Mail;
    fn handle(&mut self, event: Event<'_, C::Mail>, cx: &mut Cx<'_, C::Mail>) -> Result<(), Close> {
        match event {
            Event::Open(_) => {
                self.choice_end = cx.now + self.limits.choice;
                self.deadline = Some(cx.now + self.limits.silence);
            }
            Event::Input(mut input) => return self.look(&mut input),
            Event::End => {
                let session = self.chooser.silent();
                self.hand_over(session);
            }
            Event::Deadline if self.first.is_empty() => {
                let session = self.chooser.silent();
                self.hand_over(session);
            }
            Event::Deadline => return Err(Close::Idle),
            Event::Stop => return Err(Close::Stop),
            // Nobody knows this session yet, and it says nothing itself.
            Event::Again | Event::Mail(_) | Event::Drained | Event::Gone(_) => {}
        }
        Ok(())
    }
    fn wants(&self) -> Wants {
        Wants::INPUT.by(self.deadline)
    }
}
impl<C: Chooser> Stream for Sniff<C> {}
impl<C: Chooser> First for Sniff<C> {
    fn successor(&mut self) -> Option<Successor<C::Mail>> {
        self.next.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Handover,
        testing::{OPEN_GATE, Probe, Seen, Shared, cuts, feed, feed_cut},
    };
    use proptest::prelude::*;
    use sotong_session::{Marks, Wire, rig::Rig};

    /// `GET ` goes to one, a first `J` to another, everything else needs more; the silent get a third.
    #[derive(Clone)]
    struct Three {
        get: Shared,
        join: Shared,
        silent: Shared,
    }
    impl Three {
        fn new() -> Self {
            let probe = || Shared::new(Probe::units(4));
            Self { get: probe(), join: Shared::new(Probe::shut()), silent: probe() }
        }
    }
    impl Chooser for Three {
        type Mail = u32;
        fn choose(&self, first: &[u8]) -> Choice<u32> {
            assert!(!first.is_empty());
            match first {
                [b'G', b'E', b'T', b' ', ..] => Choice::Chosen(Box::new(self.get.clone())),
                [b'J', ..] => Choice::Chosen(Box::new(self.join.clone())),
                _ => Choice::NeedMore,
            }
        }
        fn silent(&self) -> Box<dyn Stream<Mail = u32>> {
            Box::new(self.silent.clone())
        }
    }
    fn sniff(three: &Three) -> Rig<Handover<Sniff<Three>>> {
        let mut rig = Rig::stream(Handover::new(Sniff::new(three.clone(), SniffLimits::default())));
        rig.open();
        rig
    }

    #[test]
    fn chosen_by_the_first_bytes_at_every_cut() {
        let text = b"GET / HTTP/1.0\r\n";
        for size in 1..=text.len() {
            let three = Three::new();
            let mut rig = sniff(&three);
            feed(&mut rig, text, size);
            rig.end();
            assert_eq!(rig.sent(), text, "by {size}");
            assert_eq!(rig.close(), Some(&Close::Done));
            assert_eq!(three.get.seen()[0], Seen::Open(Wire::Stream));
            assert_eq!(three.silent.seen(), []);
        }
    }

    #[test]
    fn the_silent_get_their_session_and_may_speak_then() {
        let three = Three::new();
        let mut rig = sniff(&three);
        rig.advance(Duration::from_millis(999));
        assert!(!rig.session().is_over());
        rig.advance(Duration::from_millis(1));
        assert!(rig.session().is_over());
        assert_eq!(three.silent.seen(), [Seen::Open(Wire::Stream)]);
        rig.input(b"GET ");
        assert_eq!(rig.sent(), b"GET ");
        rig.advance(Duration::from_secs(100));
        assert_eq!(rig.close(), None);
    }

    #[test]
    fn the_undecided_end() {
        let three = Three::new();
        let mut rig = sniff(&three);
        for _ in 0..9 {
            rig.input(b"G");
            rig.advance(Duration::from_secs(1));
        }
        assert_eq!(rig.close(), None);
        rig.advance(Duration::from_secs(1));
        assert_eq!(rig.close(), Some(&Close::Idle), "a byte a second puts nothing off");
        let mut rig = sniff(&three);
        rig.input(&[b'x'; 255]);
        assert_eq!(rig.close(), None);
        rig.input(b"xx");
        assert_eq!(rig.close(), Some(&Close::Limit("sniff_bytes_max")));
        let mut rig = sniff(&three);
        rig.input(&[b'x'; 1000]);
        assert_eq!(rig.close(), Some(&Close::Limit("sniff_bytes_max")));
        let mut rig = sniff(&three);
        rig.input(b"x");
        rig.stop();
        assert_eq!(rig.close(), Some(&Close::Stop));
    }

    #[test]
    fn an_end_before_the_choice_loses_nothing() {
        for size in [1, 8] {
            let three = Three::new();
            let mut rig = sniff(&three);
            feed(&mut rig, b"anything", size);
            rig.end();
            assert_eq!(rig.sent(), b"anything");
            assert_eq!(three.silent.seen().last(), Some(&Seen::End));
            assert_eq!(rig.close(), Some(&Close::Done));
        }
        let three = Three::new();
        let mut rig = sniff(&three);
        rig.end();
        assert_eq!(three.silent.seen(), [Seen::Open(Wire::Stream), Seen::End]);
        assert_eq!(rig.close(), Some(&Close::Done));
    }

    #[test]
    fn a_chosen_session_that_holds_gets_everything_later() {
        let three = Three::new();
        let mut rig = sniff(&three);
        rig.input(b"Join");
        rig.input(b" us");
        rig.end();
        assert_eq!(rig.sent(), b"");
        rig.mail(&OPEN_GATE);
        assert_eq!(rig.sent(), b"Join us");
        assert_eq!(rig.close(), None);
        rig.mail(&OPEN_GATE);
        assert_eq!(rig.close(), Some(&Close::Done));
        rig.gone(Close::Done);
        assert_eq!(three.join.seen().last(), Some(&Seen::Gone(Close::Done)));
    }

    #[test]
    fn an_error_of_the_chosen_session_and_its_deadline() {
        let three = Three::new();
        let mut rig = sniff(&three);
        rig.input(b"GET @...");
        rig.advance(Duration::from_secs(5));
        assert_eq!(rig.sent(), b"GET @...ring");
        rig.input(b"!!!!");
        assert_eq!(rig.sent(), b"farewell");
        assert_eq!(rig.close(), Some(&Close::Protocol("fail".into())));
    }

    proptest! {
        #[test]
        fn every_byte_reaches_the_chosen_session(
            text in proptest::collection::vec(b'a'..=b'z', 0..200),
            decided: bool,
            cut in cuts(200),
            high in 5usize..60,
        ) {
            let three = Three::new();
            let mut rig = Rig::stream(Handover::new(Sniff::new(three.clone(), SniffLimits::default())))
                .with_marks(Marks { low: high / 4, high, hard: 1 << 20 });
            rig.open();
            let mut text = if decided { [b"GET ", text.as_slice()].concat() } else { text };
            text.truncate(text.len() / 4 * 4);
            feed_cut(&mut rig, &text, &cut);
            rig.end();
            prop_assert_eq!(rig.sent(), text);
            prop_assert_eq!(rig.close(), Some(&Close::Done));
        }
    }
}
