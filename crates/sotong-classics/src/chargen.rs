//! Character generator, RFC 864.
use crate::hears::{Hears, fits};
use bytes::Bytes;
use sotong_session::{Close, Cx, Event, Output, Pace, Records, Session, Stream, Wants, Way};
use std::convert::Infallible;

crate::stateless_service! {
    /// Says the printable characters over and over, as fast as the peer reads (RFC 864).
    ChargenService makes Chargen
}

/// Says the pattern of RFC 864 to one peer: lines of 72 characters and CRLF, each beginning one character later.
///
/// Over a stream it fills the output to its high mark again and again, throws away what the peer says, and goes on after the
/// peer's end of stream until the peer closes (RFC 864: "until the calling user terminates the connection"). A datagram is
/// answered with the next part of the pattern, as many bytes as came and at most 512.
#[derive(Debug)]
pub struct Chargen {
    hears: Hears,
    /// Where in the cycle the peer is.
    at: usize,
}

/// The printable characters of ASCII, from the blank on.
const CHARACTERS: usize = 95;
const LINE_CHARACTERS: usize = 72;
const LINE_BYTES: usize = LINE_CHARACTERS + 2;
/// After one line for each character the pattern begins anew.
const CYCLE: [u8; CHARACTERS * LINE_BYTES] = cycle();
static PATTERN: [u8; CHARACTERS * LINE_BYTES] = CYCLE;
/// RFC 864: a datagram has between 0 and 512 characters.
const DATAGRAM_BYTES_MAX: usize = 512;
/// From here on a piece is queued by reference, with space left for what a reference weighs.
const SHARE_BYTES_MIN: usize = 1024;
const REFERENCE_BYTES: usize = 64;

const fn cycle() -> [u8; CHARACTERS * LINE_BYTES] {
    let mut bytes = [0; CHARACTERS * LINE_BYTES];
    let mut line = 0;
    while line < CHARACTERS {
        let mut place = 0;
        while place < LINE_CHARACTERS {
            bytes[line * LINE_BYTES + place] = b' ' + ((line + place) % CHARACTERS) as u8;
            place += 1;
        }
        bytes[line * LINE_BYTES + place] = b'\r';
        bytes[line * LINE_BYTES + place + 1] = b'\n';
        line += 1;
    }
    bytes
}

impl Chargen {
    /// For the peer at the other end of `way`.
    pub fn new(way: &Way) -> Self {
        Self { hears: Hears::of(way), at: 0 }
    }

    /// Fills the output to its high mark.
    fn fill(&mut self, out: &mut Output) {
        if self.hears != Hears::Stream {
            return;
        }
        while !out.is_full() && !out.is_finished() && !out.has_overflowed() {
            let count = out.room().min(PATTERN.len() - self.at);
            if count < SHARE_BYTES_MIN {
                out.put(&PATTERN[self.at..self.at + count]);
                self.skip(count);
            } else {
                let count = count - REFERENCE_BYTES;
                out.share(Bytes::from_static(&PATTERN[self.at..self.at + count]));
                self.skip(count);
            }
        }
    }
    fn answer(&mut self, came: usize, out: &mut Output) {
        let mut left = came.min(DATAGRAM_BYTES_MAX);
        if !fits(out, left) {
            return;
        }
        while left > 0 {
            let count = left.min(PATTERN.len() - self.at);
            out.put(&PATTERN[self.at..self.at + count]);
            self.skip(count);
            left -= count;
        }
        out.cut();
    }
    fn skip(&mut self, count: usize) {
        self.at = (self.at + count) % PATTERN.len();
    }
}

impl Session for Chargen {
    type Mail = Infallible;
    fn handle(&mut self, event: Event<'_, Infallible>, cx: &mut Cx<'_, Infallible>) -> Result<(), Close> {
        match event {
            Event::Open(way) => {
                self.hears = Hears::of(way);
                self.fill(cx.out);
            }
            Event::Input(mut input) => {
                if self.hears == Hears::Records {
                    self.answer(input.bytes().len(), cx.out);
                }
                input.take_all();
            }
            Event::Drained => self.fill(cx.out),
            Event::Stop => return Err(Close::Stop),
            Event::Mail(never) => match *never {},
            Event::End | Event::Again | Event::Deadline | Event::Gone(_) => {}
        }
        Ok(())
    }
    fn wants(&self) -> Wants {
        let input = match self.hears {
            // What the peer says has nothing to do with what it is told, and its output is always full.
            Hears::Stream => Pace::Always,
            Hears::Records | Hears::Loop => Pace::WhileRoom,
        };
        Wants { input, deadline: None }
    }
}
impl Stream for Chargen {}
impl Records for Chargen {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hears::tests::datagrams_from;
    use sotong_session::{End, Marks, Wire, rig::Rig};

    fn stream(marks: Marks) -> Rig<Chargen> {
        let way = Way::new(End::Pipe, End::Pipe, Wire::Stream);
        let mut rig = Rig::stream(Chargen::new(&way)).with_marks(marks);
        rig.open_as(&way);
        rig
    }
    /// Reads until `count` bytes have come.
    fn read(rig: &mut Rig<Chargen>, count: usize, step: usize) -> Vec<u8> {
        let mut sent = Vec::new();
        while sent.len() < count {
            sent.extend(rig.sent_some(step));
        }
        sent.truncate(count);
        sent
    }

    #[test]
    fn the_pattern_of_the_rfc() {
        let first = r##" !"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\]^_`abcdefg"##;
        let second = r##"!"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\]^_`abcdefgh"##;
        let mut rig = stream(Marks::default());
        let text = String::from_utf8(read(&mut rig, 100 * LINE_BYTES, 5000)).expect("ASCII");
        let lines: Vec<&str> = text.split_terminator("\r\n").collect();
        assert_eq!(lines.len(), 100);
        assert!(lines.iter().all(|line| line.len() == 72));
        assert_eq!((lines[0], lines[1], lines[95]), (first, second, first));
        assert!(lines[94].starts_with("~ !"));
    }

    #[test]
    fn whatever_the_marks_the_pattern_is_the_same_and_the_output_bounded() {
        let expect = read(&mut stream(Marks::default()), 30_000, 999);
        for (high, step) in [(1, 1), (64, 7), (1023, 100), (1024, 2000), (1100, 64), (8000, 8000), (70_000, 3000)] {
            let mut rig = stream(Marks { low: high / 2, high, hard: high + 1 });
            assert_eq!(read(&mut rig, 30_000, step), expect, "high mark {high}");
            assert!(rig.queued() <= high);
            assert_eq!(rig.close(), None);
        }
    }

    #[test]
    fn input_is_thrown_away_and_the_end_ends_nothing() {
        let mut rig = stream(Marks { low: 10, high: 100, hard: 200 });
        rig.input(&[b'x'; 10_000]);
        assert_eq!(rig.untaken(), 0);
        rig.end();
        assert_eq!(read(&mut rig, 10_000, 100).len(), 10_000);
        assert!(!rig.is_finished());
        rig.stop();
        assert_eq!(rig.close(), Some(&Close::Stop));
    }

    #[test]
    fn a_datagram_gets_no_more_than_came() {
        let way = datagrams_from(50_000);
        let mut rig = Rig::records(Chargen::new(&way));
        rig.open_as(&way);
        assert_eq!(rig.queued(), 0, "unasked it says nothing");
        for count in [0, 1, 511, 512, 513, 60_000] {
            rig.input(&vec![b'x'; count]);
        }
        let sizes: Vec<usize> = rig.sent_records().iter().map(Vec::len).collect();
        assert_eq!(sizes, [0, 1, 511, 512, 512, 512]);
        for _ in 0..100 {
            rig.input(&[b'x'; 512]);
            assert!(rig.sent_records()[0].iter().all(|byte| (b' '..=b'~').contains(byte) || b"\r\n".contains(byte)));
        }
        let mut rig = rig.with_marks(Marks { low: 16, high: 64, hard: 500 });
        rig.input(&[b'x'; 512]);
        rig.input(&[b'x'; 100]);
        assert_eq!(rig.sent_records().len(), 1, "what no output holds is lost");
        let way = datagrams_from(19);
        let mut rig = Rig::records(Chargen::new(&way));
        rig.open_as(&way);
        rig.input(b"hello");
        assert_eq!(rig.sent_records(), Vec::<Vec<u8>>::new());
    }
}
