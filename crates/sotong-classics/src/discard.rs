//! Discard, RFC 863.
use sotong_session::{Close, Cx, Event, Records, Session, Stream, Wants, Way};
use std::convert::Infallible;

crate::stateless_service! {
    /// Throws away what it hears, and says nothing (RFC 863).
    DiscardService makes Discard
}

/// Throws away what one peer says.
#[derive(Debug)]
pub struct Discard;

impl Discard {
    /// For any peer.
    pub fn new(_way: &Way) -> Self {
        Self
    }
}

impl Session for Discard {
    type Mail = Infallible;
    fn handle(&mut self, event: Event<'_, Infallible>, cx: &mut Cx<'_, Infallible>) -> Result<(), Close> {
        match event {
            Event::Input(mut input) => input.take_all(),
            Event::End => cx.out.finish(),
            Event::Stop => return Err(Close::Stop),
            Event::Mail(never) => match *never {},
            Event::Open(_) | Event::Again | Event::Deadline | Event::Drained | Event::Gone(_) => {}
        }
        Ok(())
    }
    fn wants(&self) -> Wants {
        Wants::INPUT
    }
}
impl Stream for Discard {}
impl Records for Discard {}

#[cfg(test)]
mod tests {
    use super::*;
    use sotong_session::rig::Rig;

    #[test]
    fn takes_all_and_says_nothing() {
        let mut rig = Rig::stream(Discard);
        rig.open();
        rig.input(&[b'x'; 100_000]);
        assert_eq!(rig.untaken(), 0);
        rig.end();
        assert_eq!(rig.sent(), b"");
        assert_eq!(rig.close(), Some(&Close::Done));

        let mut rig = Rig::records(Discard);
        rig.open();
        rig.input(b"");
        rig.input(b"record");
        assert_eq!(rig.sent_records(), Vec::<Vec<u8>>::new());
        rig.stop();
        assert_eq!(rig.close(), Some(&Close::Stop));
    }
}
