//! A layer with everything a layer can do wrong, worn with `Checked` on both sides.
//!
//! Frames are a length byte and so many bytes, each masked. The peer's first frame is a greeting that names who it is; the
//! layer is usable then. A frame of length 0 is the end mark of its direction.
use crate::hand::{ALARM, Does, FINISH, GO, LEAVE, NOTHING, Probe, STOP_WORD, caught, way};
use sotong_session::{
    Checked, Close, Cx, End, Event, Input, Kind, Marks, Moment, Output, Piece, Rule, Session, Stream, Wants, Way, Wire,
    rig::Rig,
};
use std::{sync::Arc, time::Duration};

/// What the layer does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    LeavesScratch,
    LeavesScratchByHand,
    LeavesScratchOnErr,
    ShowsWhatever,
    AsksIsFull,
    LosesDeadline,
    PassesOwnDeadline,
    CopiesMail,
    MakesUpMail,
    DropsMail,
    PassesMailBeforeOpen,
    MakesUpWay,
    ForgetsTls,
    KeepsWhatItLearned,
    KeepsGone,
    SkipsAgain,
    SwallowsAgain,
    EndsTooEarly,
    ShowsHeldLast,
    MarkBeforeFarewell,
    HalfCloses,
    LeavesNoMark,
    TakesBareEnd,
    UnmasksParts,
}

const MASK: u8 = 0x55;
/// The layer's own timer.
const BEAT: Duration = Duration::from_secs(3);

struct Framed {
    inner: Checked<Probe>,
    bug: Option<Bug>,
    scratch: Output,
    /// Known since `Open`; taken when the layer is usable.
    way: Option<Way>,
    is_open: bool,
    /// One frame that was taken while the inner session took none.
    held: Option<Vec<u8>>,
    took: bool,
    peer_marked: bool,
    has_marked: bool,
    beat: Option<Moment>,
}

impl Framed {
    fn new(bug: Option<Bug>) -> Self {
        Self {
            inner: Checked::new(Probe::new()),
            bug,
            scratch: Output::new(Kind::Records, Marks::default()),
            way: None,
            is_open: false,
            held: None,
            took: true,
            peer_marked: false,
            has_marked: false,
            beat: None,
        }
    }
    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }
    fn is_ready(&mut self, cx: &mut Cx<'_, u32>) -> Result<bool, Close> {
        match self.bug {
            Some(Bug::ShowsWhatever) => return Ok(true),
            Some(Bug::AsksIsFull) => return Ok(!cx.out.is_full()),
            _ => {}
        }
        loop {
            let takes = cx.takes(self.inner.wants());
            if !takes || self.took || self.has(Bug::SkipsAgain) {
                return Ok(takes);
            }
            self.took = true;
            self.inward(Event::Again, cx)?;
        }
    }
    fn show(&mut self, input: &mut Input<'_>, cx: &mut Cx<'_, u32>) -> Result<(), Close> {
        while let Some(len) = input.bytes().first().map(|len| usize::from(*len)) {
            let bytes = input.bytes_mut();
            if bytes.len() <= len {
                if self.has(Bug::UnmasksParts) {
                    mask(&mut bytes[1..]);
                }
                break;
            }
            let frame = &mut bytes[1..=len];
            if !self.is_open {
                mask(frame);
                let through = End::Simulated(u32::from(frame[0]));
                input.take(1 + len);
                self.greeted(through, cx)?;
                continue;
            }
            let is_ready = self.is_ready(cx)?;
            if len == 0 {
                if !self.has(Bug::EndsTooEarly) && (!is_ready || self.held.is_some()) {
                    break;
                }
                input.take(1);
                self.peer_marked = true;
                self.inward(Event::End, cx)?;
            } else if is_ready {
                mask(frame);
                let result = self.inward(Event::Input(Input::new(frame, &mut 0)), cx);
                input.take(1 + len);
                result?;
            } else if self.held.is_none() {
                mask(frame);
                self.held = Some(frame.to_vec());
                input.take(1 + len);
            } else {
                break;
            }
        }
        if self.has(Bug::ShowsHeldLast) { self.show_held(cx) } else { Ok(()) }
    }
    fn greeted(&mut self, through: End, cx: &mut Cx<'_, u32>) -> Result<(), Close> {
        let known = self.way.take().expect("Open comes first");
        let other = End::Simulated(77);
        let way = match self.bug {
            Some(Bug::MakesUpWay) => Way::new(other.clone(), other, Wire::Records),
            Some(Bug::ForgetsTls) => Way { wire: Wire::Records, through: Some(through), tls: None, ..known },
            Some(Bug::KeepsWhatItLearned) => Way { wire: Wire::Records, ..known },
            _ => Way { wire: Wire::Records, through: Some(through), ..known },
        };
        self.is_open = true;
        self.inward(Event::Open(&way), cx)
    }
    fn show_held(&mut self, cx: &mut Cx<'_, u32>) -> Result<(), Close> {
        if !self.is_ready(cx)? {
            return Ok(());
        }
        let Some(mut frame) = self.held.take() else { return Ok(()) };
        self.inward(Event::Input(Input::new(&mut frame, &mut 0)), cx)
    }
    /// One call of the inner session, what it said framed behind it.
    fn inward(&mut self, event: Event<'_, u32>, cx: &mut Cx<'_, u32>) -> Result<(), Close> {
        let Self { inner, scratch, bug, .. } = self;
        let result = if *bug == Some(Bug::LeavesScratchByHand) {
            let Cx { now, wall, me, ref mut host, .. } = *cx;
            inner.handle(event, &mut Cx { now, wall, me, out: scratch, host: &mut **host })
        } else {
            cx.nest(scratch, |cx| inner.handle(event, cx))
        };
        self.took &= self.inner.wants().takes(&self.scratch);
        if result.is_err() && self.has(Bug::MarkBeforeFarewell) {
            self.mark_end(cx);
        }
        let leaves_scratch = match self.bug {
            Some(Bug::LeavesScratch | Bug::LeavesScratchByHand) => true,
            Some(Bug::LeavesScratchOnErr) => result.is_err(),
            _ => false,
        };
        if !leaves_scratch {
            self.frame_scratch(cx);
        }
        if self.scratch.is_finished() || result.is_err() {
            self.mark_end(cx);
        }
        if self.peer_marked && self.has_marked {
            cx.out.finish();
        }
        self.took &= self.inner.wants().takes(cx.out);
        result
    }
    fn frame_scratch(&mut self, cx: &mut Cx<'_, u32>) {
        let mut frame = Vec::new();
        while let Some(piece) = self.scratch.pop() {
            match piece {
                Piece::Bytes(bytes) => frame.extend_from_slice(bytes),
                Piece::Shared(bytes) => frame.extend_from_slice(&bytes),
                Piece::Cut => cx.out.put(&framed(&std::mem::take(&mut frame))),
                Piece::File(_) => unreachable!("an output of records has no files"),
            }
        }
    }
    fn mark_end(&mut self, cx: &mut Cx<'_, u32>) {
        if std::mem::replace(&mut self.has_marked, true) {
            return;
        }
        if self.has(Bug::HalfCloses) {
            cx.out.put(&framed(b""));
            cx.out.finish();
        } else if !self.has(Bug::LeavesNoMark) {
            cx.out.put(&framed(b""));
        }
    }
    fn again(&mut self, cx: &mut Cx<'_, u32>) -> Result<(), Close> {
        if !self.is_open || self.has(Bug::SwallowsAgain) {
            return Ok(());
        }
        self.took = false;
        self.is_ready(cx)?;
        if self.has(Bug::ShowsHeldLast) { Ok(()) } else { self.show_held(cx) }
    }
    fn mail(&mut self, mail: &u32, cx: &mut Cx<'_, u32>) -> Result<(), Close> {
        let copy = *mail;
        match self.bug {
            Some(Bug::CopiesMail) if self.is_open => self.inward(Event::Mail(&copy), cx),
            Some(Bug::DropsMail) => Ok(()),
            Some(Bug::PassesMailBeforeOpen) => self.inward(Event::Mail(mail), cx),
            _ if self.is_open => self.inward(Event::Mail(mail), cx),
            // Nobody knows this session yet.
            _ => Ok(()),
        }
    }
    fn deadline(&mut self, cx: &mut Cx<'_, u32>) -> Result<(), Close> {
        if self.beat.is_some_and(|beat| beat <= cx.now) {
            self.beat = Some(cx.now + BEAT);
            if self.has(Bug::MakesUpMail) {
                self.inward(Event::Mail(&NOTHING), cx)?;
            }
        }
        let is_inner = self.is_open && self.inner.wants().is_due(cx.now);
        if is_inner || self.has(Bug::PassesOwnDeadline) { self.inward(Event::Deadline, cx) } else { Ok(()) }
    }
}

impl Session for Framed {
    type Mail = u32;
    fn handle(&mut self, event: Event<'_, u32>, cx: &mut Cx<'_, u32>) -> Result<(), Close> {
        match event {
            Event::Open(way) => {
                self.way = Some(way.clone());
                self.beat = Some(cx.now + BEAT);
                Ok(())
            }
            Event::Input(mut input) => self.show(&mut input, cx),
            Event::Again => self.again(cx),
            Event::End if self.peer_marked => Ok(()),
            Event::End if self.has(Bug::TakesBareEnd) => self.inward(Event::End, cx),
            Event::End => Err(Close::Truncated),
            Event::Mail(mail) => self.mail(mail, cx),
            Event::Deadline => self.deadline(cx),
            Event::Drained if self.is_open => self.inward(Event::Drained, cx),
            Event::Stop if self.is_open => self.inward(Event::Stop, cx),
            Event::Stop => Err(Close::Stop),
            Event::Gone(close) if self.is_open && !self.has(Bug::KeepsGone) => self.inward(Event::Gone(close), cx),
            Event::Drained | Event::Gone(_) => Ok(()),
        }
    }
    fn wants(&self) -> Wants {
        if !self.is_open {
            return Wants::INPUT.by(self.beat);
        }
        let inner = self.inner.wants();
        if self.has(Bug::LosesDeadline) { Wants { deadline: self.beat, ..inner } } else { inner.by(self.beat) }
    }
}
impl Stream for Framed {}

fn mask(bytes: &mut [u8]) {
    for byte in bytes {
        *byte ^= MASK;
    }
}
fn framed(words: &[u8]) -> Vec<u8> {
    let mut frame = vec![u8::try_from(words.len()).expect("short words")];
    frame.extend_from_slice(words);
    mask(&mut frame[1..]);
    frame
}
/// What a peer makes of frames: the words, and the end mark as nothing. Whether something came behind the mark.
fn unframed(mut bytes: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let mut all = Vec::new();
    while let Some((len, rest)) = bytes.split_first() {
        let (frame, rest) = rest.split_at(usize::from(*len));
        if frame.is_empty() {
            return (all, !rest.is_empty());
        }
        let mut words = frame.to_vec();
        mask(&mut words);
        all.push(words);
        bytes = rest;
    }
    (all, false)
}

type Worn = Rig<Checked<Framed>>;

fn rig(does: Does, bug: Bug) -> Worn {
    let bug = does.it_break().then_some(bug);
    let mut rig = Rig::stream(Checked::new(Framed::new(bug)).with_end_mark());
    rig.open_as(&Way { tls: Some(Arc::default()), ..way(Wire::Stream) });
    rig
}
fn probe(rig: &Worn) -> &Probe {
    rig.session().inner().inner.inner()
}

/// A conversation in which everything happens that a layer must get right; the words its inner session heard.
fn converse(rig: &mut Worn) {
    rig.mail(&NOTHING);
    rig.input(&framed(&[9]));
    rig.input(&[framed(b"one"), framed(b"two")].concat());
    // The inner session holds in the middle of what the layer was shown.
    rig.input(&[framed(STOP_WORD), framed(b"three"), framed(b"four")].concat());
    rig.mail(&GO);
    let last = framed(b"five");
    rig.input(&last[..3]);
    rig.input(&last[3..]);
    rig.mail(&ALARM);
    for _ in 0..4 {
        rig.advance(Duration::from_secs(2));
    }
    // It ends its direction, holds, and gets the end of the other.
    rig.mail(&FINISH);
    rig.input(&[framed(STOP_WORD), framed(b"")].concat());
    rig.mail(&GO);
    rig.end();
    rig.sent();
    rig.gone(Close::Done);
}

/// The rule that `Checked` names on either side of the layer.
pub(crate) fn layer(does: Does, bug: Bug) -> Option<Rule> {
    caught(|| converse(&mut rig(does, bug)))
}
/// The inner session ends, with a farewell.
pub(crate) fn layer_that_ends(does: Does, bug: Bug) -> Option<Rule> {
    caught(|| {
        let mut rig = rig(does, bug);
        rig.input(&framed(&[9]));
        rig.mail(&LEAVE);
        rig.gone(Close::Done);
    })
}
/// The peer's stream ends without its end mark.
pub(crate) fn layer_that_is_cut_off(does: Does, bug: Bug) -> Option<Rule> {
    caught(|| {
        let mut rig = rig(does, bug);
        rig.input(&framed(&[9]));
        rig.end();
        assert_eq!(rig.close(), Some(&Close::Truncated));
        rig.gone(Close::Done);
    })
}

// What `Checked` cannot know, since it does not understand the layer's bytes: what was read is compared with what was said.

/// Held words come inward before new ones.
pub(crate) fn held_words_in_order(does: Does) -> Option<Rule> {
    let mut rig = rig(does, Bug::ShowsHeldLast);
    converse(&mut rig);
    let words: [&[u8]; 7] = [b"one", b"two", STOP_WORD, b"three", b"four", b"five", STOP_WORD];
    (probe(&rig).heard != words).then_some(Rule::L5)
}
/// The inner session learns what the layer did.
pub(crate) fn learned_way(does: Does) -> Option<Rule> {
    let mut rig = rig(does, Bug::KeepsWhatItLearned);
    converse(&mut rig);
    (probe(&rig).through != Some(End::Simulated(9))).then_some(Rule::L4)
}
/// The peer hears the inner session's farewell, and behind it the layer's.
pub(crate) fn farewells_in_order(does: Does) -> Option<Rule> {
    let mut rig = rig(does, Bug::MarkBeforeFarewell);
    rig.input(&framed(&[9]));
    rig.input(&framed(b"hello"));
    rig.mail(&LEAVE);
    rig.gone(Close::Done);
    let (words, goes_on) = unframed(&rig.sent());
    let is_right = words == [&b"hello"[..], b"farewell"] && !goes_on;
    (!is_right).then_some(Rule::L6)
}

/// Shows its inner session one byte at a time.
struct Bytewise {
    inner: Checked<Teller>,
    does: Does,
}

/// Tells somebody of each byte.
struct Teller;
impl Session for Teller {
    type Mail = u32;
    fn handle(&mut self, event: Event<'_, u32>, cx: &mut Cx<'_, u32>) -> Result<(), Close> {
        if let Event::Input(mut input) = event {
            cx.host.post(cx.me, u32::from(input.bytes()[0]));
            input.take_all();
        }
        Ok(())
    }
    fn wants(&self) -> Wants {
        Wants::INPUT
    }
}
impl Stream for Teller {}

impl Session for Bytewise {
    type Mail = u32;
    fn handle(&mut self, event: Event<'_, u32>, cx: &mut Cx<'_, u32>) -> Result<(), Close> {
        let Event::Input(mut input) = event else { return self.inner.handle(event, cx) };
        let may_go_on = |wants: Wants, cx: &Cx<'_, u32>| {
            if self.does.it_break() { wants.takes(cx.out) } else { cx.takes(wants) }
        };
        while !input.bytes().is_empty() && may_go_on(self.inner.wants(), cx) {
            let result = self.inner.handle(Event::Input(Input::new(&mut input.bytes_mut()[..1], &mut 0)), cx);
            input.take(1);
            result?;
        }
        Ok(())
    }
    fn wants(&self) -> Wants {
        self.inner.wants()
    }
}
impl Stream for Bytewise {}

/// A layer that asks only the session inside goes on although the mail of each unit waits elsewhere.
pub(crate) fn goes_on_while_held(does: Does) -> Option<Rule> {
    caught(|| {
        let mut rig = Rig::stream(Bytewise { inner: Checked::new(Teller), does });
        rig.open();
        rig.host().mail_high = 1;
        rig.input(b"abcdef");
        for _ in 0..3 {
            assert_eq!(rig.host().posts.len(), 2);
            rig.mail_taken();
        }
    })
}
