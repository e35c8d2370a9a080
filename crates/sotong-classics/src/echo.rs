//! Echo, RFC 862.
use crate::hears::{Hears, fits};
use sotong_session::{Close, Cx, Event, Records, Session, Stream, Wants, Way};
use std::convert::Infallible;

crate::stateless_service! {
    /// Says back what it hears (RFC 862).
    EchoService makes Echo
}

/// Says back what it hears, to one peer.
///
/// A stream is echoed as fast as the peer reads it: at most the output's high mark is queued, and no more is taken. A
/// datagram comes back whole; one longer than the output could ever hold is lost.
#[derive(Debug)]
pub struct Echo {
    hears: Hears,
}

impl Echo {
    /// For the peer at the other end of `way`.
    pub fn new(way: &Way) -> Self {
        Self { hears: Hears::of(way) }
    }
}

impl Session for Echo {
    type Mail = Infallible;
    fn handle(&mut self, event: Event<'_, Infallible>, cx: &mut Cx<'_, Infallible>) -> Result<(), Close> {
        match event {
            Event::Open(way) => self.hears = Hears::of(way),
            Event::Input(mut input) => match self.hears {
                Hears::Stream => {
                    let count = input.bytes().len().min(cx.out.room());
                    cx.out.put(&input.bytes()[..count]);
                    input.take(count);
                }
                Hears::Records => {
                    if fits(cx.out, input.bytes().len()) {
                        cx.out.put(input.bytes());
                        cx.out.cut();
                    }
                    input.take_all();
                }
                Hears::Loop => input.take_all(),
            },
            Event::End => cx.out.finish(),
            Event::Stop => return Err(Close::Stop),
            Event::Mail(never) => match *never {},
            Event::Again | Event::Deadline | Event::Drained | Event::Gone(_) => {}
        }
        Ok(())
    }
    fn wants(&self) -> Wants {
        Wants::INPUT
    }
}
impl Stream for Echo {}
impl Records for Echo {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hears::tests::datagrams_from;
    use proptest::prelude::*;
    use sotong_session::{End, Marks, Wire, rig::Rig};

    fn stream() -> Rig<Echo> {
        let way = Way::new(End::Pipe, End::Pipe, Wire::Stream);
        let mut rig = Rig::stream(Echo::new(&way));
        rig.open_as(&way);
        rig
    }
    fn datagrams(port: u16) -> Rig<Echo> {
        let way = datagrams_from(port);
        let mut rig = Rig::records(Echo::new(&way));
        rig.open_as(&way);
        rig
    }

    #[test]
    fn records_come_back_whole_and_empty_ones_too() {
        let mut rig = datagrams(50_000);
        for record in [&b"one"[..], b"", "둘".as_bytes(), &[b'x'; 65_507]] {
            rig.input(record);
        }
        assert_eq!(rig.sent_records(), [&b"one"[..], b"", "둘".as_bytes(), &[b'x'; 65_507]]);
    }

    #[test]
    fn a_record_no_output_holds_is_lost_and_the_next_is_not() {
        let mut rig = datagrams(50_000).with_marks(Marks { low: 16, high: 64, hard: 4096 });
        rig.input(&[b'x'; 4096]);
        rig.input(b"next");
        assert_eq!(rig.sent_records(), [b"next"]);
        assert_eq!(rig.close(), None);
    }

    #[test]
    fn services_that_answer_everything_are_not_answered() {
        for port in [7, 13, 17, 19, 37] {
            let mut rig = datagrams(port);
            rig.input(b"ping");
            assert_eq!(rig.sent_records(), Vec::<Vec<u8>>::new());
        }
    }

    #[test]
    fn stop_sends_what_is_queued() {
        let mut rig = stream();
        rig.input(b"last");
        rig.stop();
        assert_eq!(rig.close(), Some(&Close::Stop));
        assert_eq!(rig.sent(), b"last");
    }

    proptest! {
        #[test]
        fn every_byte_comes_back_and_no_more_than_the_mark_is_queued(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..100), 0..20),
            high in 2usize..60,
            step in 1usize..40,
        ) {
            let mut rig = stream().with_marks(Marks { low: high / 2, high, hard: high + 1 });
            for piece in &pieces {
                rig.input(piece);
            }
            rig.end();
            let mut sent = Vec::new();
            while rig.queued() > 0 {
                prop_assert!(rig.queued() <= high);
                sent.extend(rig.sent_some(step));
            }
            prop_assert_eq!(sent, pieces.concat());
            prop_assert_eq!(rig.close(), Some(&Close::Done));
        }
    }
}
