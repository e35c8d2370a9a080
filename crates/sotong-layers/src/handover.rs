//! One session first, another then.
use sotong_session::{Carry, Close, Cx, End, Event, Input, Session, Stream, Wants, Way};

/// A session that may give its connection to another: it looks at the first bytes, or agrees on an upgrade.
pub trait First: Stream {
    /// The session that comes next, once it is known; asked after every event that went well.
    ///
    /// Bytes of the peer that this session leaves untaken in the very [`Event::Input`] that decides go to the successor, and
    /// so do those it was not shown or did not take because it held ([`Wants::takes`]). Bytes it has seen and waited on
    /// before it decides in another event it must have taken: it hands them over in [`Successor::early`].
    fn successor(&mut self) -> Option<Successor<Self::Mail>>;
}

/// Who gets the connection next.
pub struct Successor<M> {
    /// The session that gets it.
    pub session: Box<dyn Stream<Mail = M>>,
    /// Bytes of the peer that were taken and are the successor's, before all others.
    pub early: Vec<u8>,
    /// Who the peer is, where it has turned out that the other end of the socket is a proxy ([`Way::through`]).
    pub through: Option<End>,
}

/// Hands the connection over, once: the first session becomes the second.
///
/// The successor gets `Open` with the same [`Way`], but for who is behind a proxy, then the bytes not yet taken, and from then on everything. The first
/// gets `Gone(Done)` before; its output goes out before the successor's. Early bytes are shown to the successor in one piece
/// with what follows until it has taken them; if more than 1 MiB gathers so, the session ends as
/// [`Close::Limit`]`("untaken_bytes_max")`. After that the layer costs one indirect call and no memory.
pub struct Handover<F: First> {
    stage: Stage<F>,
    /// The driver has told the peer's end of stream, and the successor has not heard it.
    end_owed: bool,
}

enum Stage<F: First> {
    First { session: F, way: Option<Way> },
    Then(Then<F::Mail>),
}

struct Then<M> {
    session: Box<dyn Stream<Mail = M>>,
    early: Carry,
    /// Whether the output was full after one of its own events: else `Drained` is not its own.
    full: bool,
}

/// The default of [`sotong_session::Limits::untaken_bytes_max`]: the driver cannot count what is kept here.
const UNTAKEN_BYTES_MAX: usize = 1 << 20;

impl<F: First> Handover<F> {
    /// Begins with `first`.
    pub fn new(first: F) -> Self {
        Self { stage: Stage::First { session: first, way: None }, end_owed: false }
    }
    /// Whether the connection has been handed over.
    pub fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Then(_))
    }

    /// Makes the change if the first session has named a successor; `input` is what it left of the bytes just shown.
    fn change(&mut self, input: Option<Input<'_>>, cx: &mut Cx<'_, F::Mail>) -> Result<(), Close> {
        let Stage::First { session, way } = &mut self.stage else { return Ok(()) };
        let Some(next) = session.successor() else { return Ok(()) };
        let mut way = way.take().expect("rule D1: Open comes first");
        if next.through.is_some() {
            way.through = next.through;
        }
        // Whatever it answers to its end, the connection goes on.
        let _ = session.handle(Event::Gone(&Close::Done), cx);
        let mut then = Then { session: next.session, early: Carry::default(), full: false };
        then.early.keep(&next.early);
        self.stage = Stage::Then(then);
        let Stage::Then(then) = &mut self.stage else { return Ok(()) };
        then.pass(Event::Open(&way), cx)?;
        then.show(input, cx)?;
        then.show_end(&mut self.end_owed, cx)
    }
}

impl<M: Clone + Send + Sync + 'static> Then<M> {
    fn pass(&mut self, event: Event<'_, M>, cx: &mut Cx<'_, M>) -> Result<(), Close> {
        let result = self.session.handle(event, cx);
        self.full |= cx.out.is_full();
        result
    }
    fn takes(&self, cx: &Cx<'_, M>) -> bool {
        !cx.out.has_overflowed() && cx.takes(self.session.wants())
    }
    /// Shows early bytes and `input` in one piece, if there are any and the session takes them.
    fn show(&mut self, input: Option<Input<'_>>, cx: &mut Cx<'_, M>) -> Result<(), Close> {
        if !self.takes(cx) {
            return Ok(());
        }
        match input {
            Some(input) if self.early.is_empty() => {
                if input.bytes().is_empty() {
                    return Ok(());
                }
                self.pass(Event::Input(input), cx)
            }
            Some(mut input) => {
                let result = self.show_early(input.bytes_mut(), cx);
                input.take_all();
                result
            }
            None if self.early.is_empty() => Ok(()),
            None => self.show_early(&mut [], cx),
        }
    }
    fn show_early(&mut self, fresh: &mut [u8], cx: &mut Cx<'_, M>) -> Result<(), Close> {
        let Self { session, early, full } = self;
        let result = early.feed(fresh, |input| session.handle(Event::Input(input), cx));
        *full |= cx.out.is_full();
        result?;
        if early.len() > UNTAKEN_BYTES_MAX { Err(Close::Limit("untaken_bytes_max")) } else { Ok(()) }
    }
    fn show_end(&mut self, owed: &mut bool, cx: &mut Cx<'_, M>) -> Result<(), Close> {
        if *owed && self.takes(cx) {
            *owed = false;
            return self.pass(Event::End, cx);
        }
        Ok(())
    }
    fn handle(&mut self, event: Event<'_, M>, end_owed: &mut bool, cx: &mut Cx<'_, M>) -> Result<(), Close> {
        match event {
            Event::Open(way) => self.pass(Event::Open(way), cx),
            Event::Input(input) => self.show(Some(input), cx),
            Event::Again => {
                self.pass(Event::Again, cx)?;
                self.show(None, cx)?;
                self.show_end(end_owed, cx)
            }
            Event::End => {
                *end_owed = true;
                self.show_end(end_owed, cx)
            }
            Event::Mail(mail) => self.pass(Event::Mail(mail), cx),
            Event::Deadline => self.pass(Event::Deadline, cx),
            Event::Drained if std::mem::take(&mut self.full) => self.pass(Event::Drained, cx),
            Event::Drained => Ok(()),
            Event::Stop => self.pass(Event::Stop, cx),
            Event::Gone(close) => self.pass(Event::Gone(close), cx),
        }
    }
}

impl<F: First> Session for Handover<F> {
    type Mail = F::Mail;
    fn handle(&mut self, event: Event<'_, F::Mail>, cx: &mut Cx<'_, F::Mail>) -> Result<(), Close> {
        let (session, way) = match &mut self.stage {
            Stage::First { session, way } => (session, way),
            Stage::Then(then) => return then.handle(event, &mut self.end_owed, cx),
        };
        match event {
            Event::Open(the) => {
                *way = Some(the.clone());
                session.handle(Event::Open(the), cx)?;
            }
            Event::Input(mut input) => {
                session.handle(Event::Input(input.reborrow()), cx)?;
                return self.change(Some(input), cx);
            }
            Event::Again => session.handle(Event::Again, cx)?,
            Event::End => {
                self.end_owed = true;
                session.handle(Event::End, cx)?;
            }
            Event::Mail(mail) => session.handle(Event::Mail(mail), cx)?,
            Event::Deadline => session.handle(Event::Deadline, cx)?,
            Event::Drained => session.handle(Event::Drained, cx)?,
            Event::Stop => session.handle(Event::Stop, cx)?,
            Event::Gone(close) => return session.handle(Event::Gone(close), cx),
        }
        self.change(None, cx)
    }
    fn wants(&self) -> Wants {
        match &self.stage {
            Stage::First { session, .. } => session.wants(),
            Stage::Then(then) => then.session.wants(),
        }
    }
}
impl<F: First> Stream for Handover<F> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{OPEN_GATE, Probe, Seen, Shared, cuts, feed_cut};
    use proptest::prelude::*;
    use sotong_session::{Marks, Pace, rig::Rig};

    /// Takes a first line, says `go` and hands over: at once, or when mail allows it.
    struct Upgrade {
        next: Option<Box<dyn Stream<Mail = u32>>>,
        waits: bool,
        stage: Line,
        gone: bool,
    }
    #[derive(PartialEq)]
    enum Line {
        Awaited,
        Held,
        Done,
    }
    impl Upgrade {
        fn new(next: Shared, waits: bool) -> Self {
            Self { next: Some(Box::new(next)), waits, stage: Line::Awaited, gone: false }
        }
    }
    impl Session for Upgrade {
        type Mail = u32;
        fn handle(&mut self, event: Event<'_, u32>, cx: &mut Cx<'_, u32>) -> Result<(), Close> {
            match event {
                Event::Input(mut input) => {
                    if let Some(at) = input.bytes().iter().position(|byte| *byte == b'\n') {
                        input.take(at + 1);
                        self.stage = if self.waits { Line::Held } else { Line::Done };
                        cx.out.put(b"go\n");
                    }
                }
                Event::Mail(_) => self.stage = Line::Done,
                Event::End | Event::Stop => return Err(Close::Truncated),
                Event::Gone(_) => self.gone = true,
                Event::Open(_) | Event::Again | Event::Deadline | Event::Drained => {}
            }
            Ok(())
        }
        fn wants(&self) -> Wants {
            let input = if self.stage == Line::Held { Pace::Hold } else { Pace::WhileRoom };
            Wants { input, deadline: None }
        }
    }
    impl Stream for Upgrade {}
    impl First for Upgrade {
        fn successor(&mut self) -> Option<Successor<u32>> {
            let session = self.next.take_if(|_| self.stage == Line::Done)?;
            Some(Successor { session, early: Vec::new(), through: None })
        }
    }

    #[test]
    fn what_is_left_goes_to_the_successor() {
        let probe = Shared::new(Probe::echo());
        let mut rig = Rig::stream(Handover::new(Upgrade::new(probe.clone(), false)));
        rig.open();
        rig.input(b"upgr");
        assert!(!rig.session().is_over());
        rig.input(b"ade\nhello");
        assert!(rig.session().is_over());
        rig.input(b" there");
        rig.mail(&9);
        rig.end();
        assert_eq!(rig.sent(), b"go\nhello theremail 9");
        assert_eq!(rig.close(), Some(&Close::Done));
        rig.gone(Close::Done);
        assert_eq!(probe.seen().last(), Some(&Seen::Gone(Close::Done)));
    }

    #[test]
    fn handed_over_by_mail_while_the_first_held() {
        for next in [Probe::echo(), Probe::shut()] {
            let probe = Shared::new(next);
            let mut rig = Rig::stream(Handover::new(Upgrade::new(probe.clone(), true)));
            rig.open();
            rig.input(b"upgrade\nhello");
            rig.input(b" there");
            rig.end();
            assert!(!rig.session().is_over());
            rig.mail(&1);
            assert!(rig.session().is_over());
            rig.mail(&OPEN_GATE);
            rig.mail(&OPEN_GATE);
            assert_eq!(rig.sent(), b"go\nhello there");
            assert_eq!(rig.close(), Some(&Close::Done));
        }
    }

    #[test]
    fn drained_is_for_whom_the_output_was_full() {
        let probe = Shared::new(Probe::echo());
        let mut rig = Rig::stream(Handover::new(Upgrade::new(probe.clone(), true)));
        rig = rig.with_marks(Marks { low: 1, high: 3, hard: 100 });
        rig.open();
        rig.input(b"up\n");
        rig.sent_some(1);
        rig.mail(&1);
        rig.sent();
        assert!(!probe.seen().contains(&Seen::Drained), "the output was full before its time");
        rig.input(b"abc");
        rig.sent();
        assert!(probe.seen().contains(&Seen::Drained));
    }

    #[test]
    fn errors_of_either_end_the_session() {
        let mut rig = Rig::stream(Handover::new(Upgrade::new(Shared::new(Probe::echo()), false)));
        rig.open();
        rig.end();
        assert_eq!(rig.close(), Some(&Close::Truncated));
        let mut rig = Rig::stream(Handover::new(Upgrade::new(Shared::new(Probe::echo()), false)));
        rig.open();
        rig.input(b"up\n!");
        assert_eq!(rig.sent(), b"go\nfarewell");
        assert_eq!(rig.close(), Some(&Close::Protocol("fail".into())));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_at_any_cut(
            text in proptest::collection::vec(b'a'..=b'z', 0..100),
            cut in cuts(100),
            unit in 1usize..5,
            high in 5usize..60,
        ) {
            let probe = Shared::new(Probe::units(unit));
            let mut rig = Rig::stream(Handover::new(Upgrade::new(probe.clone(), false)))
                .with_marks(Marks { low: high / 4, high, hard: 1 << 20 });
            rig.open();
            feed_cut(&mut rig, &[b"up\n", text.as_slice()].concat(), &cut);
            rig.end();
            prop_assert_eq!(rig.sent(), [b"go\n", &text[..text.len() / unit * unit]].concat());
            prop_assert_eq!(rig.close(), Some(&Close::Done));
        }
    }
}
