//! The innermost session of a bridge: what it hears is put where the loop finds it, what the loop posts is said.
use super::Parcel;
use sotong_session::{Close, Cx, Event, Pace, Session, Stream, TlsFacts, Wants};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes heard and not yet taken by the loop from which on no more are shown.
pub(super) const HEARD_BYTES_HIGH: usize = 64 << 10;

/// Passes bytes between its peer and the other end of a bridge, both directions independent of each other.
///
/// It goes innermost: a layer that is to stand between the two ends is put around it.
#[derive(Debug)]
pub struct Passing {
    heard: Arc<Heard>,
    pace: Passes,
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
        Self { heard: Arc::clone(heard), pace: Passes::Keeps }
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
                if self.pace != Passes::Forgets {
                    let mut news = self.heard.lock();
                    news.bytes.extend_from_slice(input.bytes());
                    if news.bytes.len() >= HEARD_BYTES_HIGH {
                        self.pace = Passes::Waits;
                    }
                }
                input.take_all();
            }
            Event::End => self.heard.lock().ended = true,
            Event::Mail(Parcel::Bytes(bytes)) => cx.out.share(bytes.clone()),
            Event::Mail(Parcel::End) => cx.out.finish(),
            Event::Mail(Parcel::Go) if self.pace == Passes::Waits => self.pace = Passes::Keeps,
            Event::Mail(Parcel::Forget) => self.pace = Passes::Forgets,
            Event::Mail(Parcel::Leave(close)) => return Err(close.clone()),
            Event::Stop => return Err(Close::Stop),
            Event::Mail(Parcel::Go) | Event::Again | Event::Deadline | Event::Drained | Event::Gone(_) => {}
        }
        Ok(())
    }

    fn wants(&self) -> Wants {
        let input = if self.pace == Passes::Waits { Pace::Hold } else { Pace::Always };
        Wants { input, deadline: None }
    }
}
impl Stream for Passing {}

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
    use bytes::Bytes;
    use sotong_session::rig::Rig;

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
