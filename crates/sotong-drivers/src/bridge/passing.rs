//! The innermost session of a bridge: what it hears is put where the loop finds it, what the loop posts is said.
use super::{
    Parcel,
    messages::{Cutter, Messages},
};
use sotong_session::{Close, Cx, Event, Moment, Pace, Records, Session, Stream, TlsFacts, Wants};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes heard and not yet taken by the loop from which on no more are shown.
pub(super) const HEARD_BYTES_HIGH: usize = 64 << 10;

/// Passes bytes between its peer and the other end of a bridge, both directions independent of each other.
///
/// It goes innermost: a layer that is to stand between the two ends is put around it. Around [`Passing::in_messages`] goes
/// one whose inner session speaks records.
#[derive(Debug)]
pub struct Passing {
    heard: Arc<Heard>,
    pace: Passes,
    messages: Option<Cutter>,
    ours: OurEnd,
}

/// How far what is to be said has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OurEnd {
    Open,
    /// All is said; the end is told once the peer has been silent until then.
    Waits(Moment),
    Told,
}

/// What becomes of what is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passes {
    Keeps,
    /// Enough is kept until the loop has taken it.
    Waits,
    /// Nobody takes it any more.
    Forgets,
}

/// What a passing session has heard, for the loop.
#[derive(Debug, Default)]
pub(super) struct Heard(Mutex<News>);

/// All there is to be known of a session's end of the bridge.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Bytes for the other end; the loop takes them.
    pub(super) bytes: Vec<u8>,
    /// The way is usable.
    pub(super) opened: bool,
    /// The peer has said all.
    pub(super) ended: bool,
    /// It is over, and why.
    pub(super) gone: Option<Close>,
    pub(super) tls: Option<Arc<TlsFacts>>,
}

impl Heard {
    pub(super) fn lock(&self) -> MutexGuard<'_, News> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Passing {
    pub(super) fn new(heard: &Arc<Heard>) -> Self {
        Self { heard: Arc::clone(heard), pace: Passes::Keeps, messages: None, ours: OurEnd::Open }
    }
    /// Cuts what is said into messages, and joins those that are heard.
    #[must_use]
    pub fn in_messages(self, messages: Messages) -> Self {
        Self { messages: Some(Cutter::new(messages)), ..self }
    }

    /// All is said. A protocol of messages has no half-close: its end is told when nothing more is heard.
    fn end(&mut self, cx: &mut Cx<'_, Parcel>) {
        let quiet = self.messages.as_mut().map(|cutter| {
            cutter.end(cx.out);
            cutter.quiet()
        });
        match quiet {
            Some(quiet) if !self.heard.lock().ended => self.ours = OurEnd::Waits(cx.now + quiet),
            _ => self.finish(cx),
        }
    }
    fn finish(&mut self, cx: &mut Cx<'_, Parcel>) {
        self.ours = OurEnd::Told;
        cx.out.finish();
    }
    fn hear(&mut self, bytes: &[u8], cx: &Cx<'_, Parcel>) {
        if let (OurEnd::Waits(until), Some(cutter)) = (&mut self.ours, &self.messages) {
            *until = cx.now + cutter.quiet();
        }
        if self.pace == Passes::Forgets {
            return;
        }
        let mut news = self.heard.lock();
        news.bytes.extend_from_slice(bytes);
        if self.messages.as_ref().is_some_and(Cutter::ends_lines) {
            news.bytes.push(b'\n');
        }
        if news.bytes.len() >= HEARD_BYTES_HIGH {
            self.pace = Passes::Waits;
        }
    }
}

impl Session for Passing {
    type Mail = Parcel;

    fn handle(&mut self, event: Event<'_, Parcel>, cx: &mut Cx<'_, Parcel>) -> Result<(), Close> {
        match event {
            Event::Open(way) => {
                let mut news = self.heard.lock();
                news.opened = true;
                news.tls.clone_from(&way.tls);
            }
            Event::Input(mut input) => {
                self.hear(input.bytes(), cx);
                input.take_all();
            }
            Event::End => {
                self.heard.lock().ended = true;
                if matches!(self.ours, OurEnd::Waits(_)) {
                    self.finish(cx);
                }
            }
            Event::Deadline => self.finish(cx),
            Event::Mail(Parcel::Bytes(bytes)) => match &mut self.messages {
                Some(cutter) => cutter.say(bytes, cx.out),
                None => cx.out.share(bytes.clone()),
            },
            Event::Mail(Parcel::End) => self.end(cx),
            Event::Mail(Parcel::Go) if self.pace == Passes::Waits => self.pace = Passes::Keeps,
            Event::Mail(Parcel::Forget) => self.pace = Passes::Forgets,
            Event::Mail(Parcel::Leave(close)) => return Err(close.clone()),
            Event::Stop => return Err(Close::Stop),
            Event::Mail(Parcel::Go) | Event::Again | Event::Drained | Event::Gone(_) => {}
        }
        Ok(())
    }

    fn wants(&self) -> Wants {
        let input = if self.pace == Passes::Waits { Pace::Hold } else { Pace::Always };
        let deadline = if let OurEnd::Waits(until) = self.ours { Some(until) } else { None };
        Wants { input, deadline }
    }
}
impl Stream for Passing {}
impl Records for Passing {}

/// The outermost session of a bridge: tells the loop when it is over, also where a layer has not got to the passing session.
#[derive(Debug)]
pub(super) struct Outermost<S> {
    inner: S,
    heard: Arc<Heard>,
}

impl<S> Outermost<S> {
    pub(super) fn new(inner: S, heard: &Arc<Heard>) -> Self {
        Self { inner, heard: Arc::clone(heard) }
    }
}

impl<S: Stream<Mail = Parcel>> Session for Outermost<S> {
    type Mail = Parcel;

    fn handle(&mut self, event: Event<'_, Parcel>, cx: &mut Cx<'_, Parcel>) -> Result<(), Close> {
        if let Event::Gone(close) = event {
            self.heard.lock().gone = Some(close.clone());
        }
        self.inner.handle(event, cx)
    }

    fn wants(&self) -> Wants {
        self.inner.wants()
    }
}
impl<S: Stream<Mail = Parcel>> Stream for Outermost<S> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::messages::Form;
    use bytes::Bytes;
    use sotong_session::rig::Rig;
    use std::time::Duration;

    #[test]
    fn it_says_what_is_posted_and_keeps_what_it_hears() {
        let heard = Arc::default();
        let mut rig = Rig::stream(Passing::new(&heard));
        rig.open();
        assert!(heard.lock().opened);
        rig.mail(&Parcel::Bytes(Bytes::from_static(b"question")));
        assert_eq!(rig.sent(), b"question");
        rig.input(b"answer");
        rig.mail(&Parcel::End);
        rig.end();
        assert!(heard.lock().ended);
        assert_eq!(heard.lock().bytes, b"answer");
    }

    fn lines() -> (Arc<Heard>, Rig<Passing>) {
        let heard = Arc::default();
        let messages = Messages { form: Form::Lines, quiet: Duration::from_secs(1) };
        let mut rig = Rig::records(Passing::new(&heard).in_messages(messages));
        rig.open();
        (heard, rig)
    }

    #[test]
    fn messages_end_when_the_peer_has_been_silent() {
        let (heard, mut rig) = lines();
        rig.mail(&Parcel::Bytes(Bytes::from_static(b"one\ntwo")));
        rig.mail(&Parcel::End);
        assert_eq!(rig.sent_records(), [b"one", b"two"]);
        for _ in 0..3 {
            rig.advance(Duration::from_millis(900));
            rig.input(b"answer");
        }
        assert!(!rig.is_finished());
        rig.advance(Duration::from_secs(1));
        assert!(rig.is_finished());
        assert_eq!(heard.lock().bytes, b"answer\nanswer\nanswer\n");
    }

    #[test]
    fn messages_end_at_once_when_the_peer_has() {
        for peer_first in [false, true] {
            let (_, mut rig) = lines();
            if peer_first {
                rig.end();
            }
            rig.mail(&Parcel::End);
            assert_eq!(rig.is_finished(), peer_first);
            rig.end();
            assert!(rig.is_finished());
        }
    }

    #[test]
    fn it_waits_for_the_loop_when_enough_is_kept() {
        let heard = Arc::default();
        let mut rig = Rig::stream(Passing::new(&heard));
        rig.open();
        rig.input(&vec![b'x'; HEARD_BYTES_HIGH]);
        rig.input(b"held back");
        assert_eq!(heard.lock().bytes.len(), HEARD_BYTES_HIGH);
        heard.lock().bytes.clear();
        rig.mail(&Parcel::Go);
        assert_eq!(heard.lock().bytes, b"held back");
        rig.mail(&Parcel::Forget);
        rig.input(&vec![b'x'; 2 * HEARD_BYTES_HIGH]);
        assert_eq!(heard.lock().bytes, b"held back");
    }
}
