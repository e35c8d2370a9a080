//! A stream as lines: each line is one record of the session inside.
use memchr::memchr;
use sotong_session::{Close, Cx, Event, Input, Kind, Marks, Output, Piece, Records, Session, Stream, Wants, Way, Wire};

/// Makes records of a stream's lines, and lines of the inner session's records.
///
/// A line ends at LF; one CR before the LF belongs to the end. What follows the last LF when the peer ends its stream is a
/// line too, as people's `nc` sends it. A record of the inner session gets its [`Ending`] at its cut; an LF inside a record
/// would make two lines of it, and is the inner session's to avoid.
///
/// A line is shown as a slice of the driver's buffer; only one that arrives in pieces is copied. Lines the inner session
/// does not take stay untaken with the driver. Memory: at most [`LineOptions::line_bytes_max`] for an unfinished line, and
/// at most 1 KiB for each of two buffers between events.
#[derive(Debug)]
pub struct Lines<S> {
    inner: S,
    options: LineOptions,
    /// The beginning of a line whose end has not come: held here since at `End` the driver shows nothing more.
    partial: Vec<u8>,
    scratch: Output,
    /// Whether the inner session has taken input since it was last shown `Again` (rule D3 towards it).
    took: bool,
    end: PeerEnd,
}

/// What [`Lines`] holds a line to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineOptions {
    /// Bytes of a line without its end: 8,192, as IRC allows with tags; a person's longest paste of one line fits. A longer
    /// line ends the session as [`Close::Limit`]. The driver's `untaken_bytes_max` does not bound a line, this does.
    pub line_bytes_max: usize,
    /// What ends a line that is sent: LF.
    pub ending: Ending,
    /// The last line sent to a peer whose line was too long; `None` for silence.
    pub too_long: Option<&'static str>,
}

/// What ends a line that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// `\n`: Unix tools.
    Lf,
    /// `\r\n`: most Internet protocols.
    CrLf,
}

impl Ending {
    fn bytes(self) -> &'static [u8] {
        match self {
            Self::Lf => b"\n",
            Self::CrLf => b"\r\n",
        }
    }
}

impl Default for LineOptions {
    fn default() -> Self {
        Self { line_bytes_max: 8192, ending: Ending::Lf, too_long: None }
    }
}

/// How far the peer's end of stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PeerEnd {
    NotYet,
    /// The driver has told it; the inner session must take what is left first (rule D5).
    Owed,
    Told,
}

/// Between events a buffer keeps at most this much memory: idle connections cost nothing beyond it.
const KEEP_BYTES_MAX: usize = 1 << 10;

impl<S: Records> Lines<S> {
    /// Speaks lines for `inner`.
    pub fn new(inner: S, options: LineOptions) -> Self {
        let scratch = Output::new(Kind::Records, Marks::default());
        Self { inner, options, partial: Vec::new(), scratch, took: true, end: PeerEnd::NotYet }
    }
    /// The session inside.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Shows whole lines inward while they are taken, and holds the beginning of the next.
    fn show(&mut self, input: &mut Input<'_>, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        while !input.bytes().is_empty() && self.is_ready(cx)? {
            let bytes = input.bytes_mut();
            let Some(end) = memchr(b'\n', bytes) else {
                self.hold(bytes, cx)?;
                input.take_all();
                break;
            };
            if self.partial.is_empty() {
                let line = without_cr(&mut bytes[..end]);
                if line.len() > self.options.line_bytes_max {
                    return self.refuse(cx);
                }
                let result = self.inward(Event::Input(Input::new(line, &mut 0)), cx);
                input.take(end + 1);
                result?;
            } else {
                self.hold(&bytes[..end], cx)?;
                input.take(end + 1);
                self.show_partial(cx)?;
            }
        }
        Ok(())
    }
    /// Adds to the unfinished line.
    fn hold(&mut self, more: &[u8], cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        let most = self.options.line_bytes_max;
        // One byte more may be the CR of a line's end.
        let whole = self.partial.len() + more.len();
        let ends_in_cr = more.last().or(self.partial.last()) == Some(&b'\r');
        if whole > most + usize::from(ends_in_cr) {
            return self.refuse(cx);
        }
        self.partial.extend_from_slice(more);
        Ok(())
    }
    fn show_partial(&mut self, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        let mut partial = std::mem::take(&mut self.partial);
        let result = self.inward(Event::Input(Input::new(without_cr(&mut partial), &mut 0)), cx);
        if partial.capacity() <= KEEP_BYTES_MAX {
            partial.clear();
            self.partial = partial;
        }
        result
    }
    /// Says farewell to a peer whose line is too long.
    fn refuse(&self, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        if let Some(text) = self.options.too_long {
            cx.out.put(text.as_bytes());
            cx.out.put(self.options.ending.bytes());
        }
        Err(Close::Limit("line_bytes_max"))
    }
    /// The last line, then the end, once the inner session takes them.
    fn show_end(&mut self, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        if self.end != PeerEnd::Owed || !self.is_ready(cx)? {
            return Ok(());
        }
        if !self.partial.is_empty() {
            self.show_partial(cx)?;
        }
        if self.is_ready(cx)? {
            self.end = PeerEnd::Told;
            self.inward(Event::End, cx)?;
        }
        Ok(())
    }

    /// Whether the inner session takes input; it has then been shown `Again` if it had stopped.
    fn is_ready(&mut self, cx: &mut Cx<'_, S::Mail>) -> Result<bool, Close> {
        while !cx.out.has_overflowed() && cx.takes(self.inner.wants()) {
            if self.took {
                return Ok(true);
            }
            self.took = true;
            self.inward(Event::Again, cx)?;
        }
        self.took = false;
        Ok(false)
    }
    /// One event for the inner session, whose records leave as lines, on `Err` too.
    fn inward(&mut self, event: Event<'_, S::Mail>, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        let Self { inner, scratch, .. } = self;
        let result = cx.nest(scratch, |cx| inner.handle(event, cx));
        let wants = inner.wants();
        // Its own output is smaller than ours: it may have seen itself stop where we would go on.
        self.took &= wants.takes(scratch);
        while let Some(piece) = scratch.pop() {
            match piece {
                Piece::Bytes(bytes) => cx.out.put(bytes),
                Piece::Shared(bytes) => cx.out.share(bytes),
                Piece::Cut => cx.out.put(self.options.ending.bytes()),
                Piece::File(_) => debug_assert!(false, "a file range only enters an output that leads to a socket"),
            }
        }
        if scratch.is_finished() {
            cx.out.finish();
        }
        self.took &= cx.takes(wants);
        result
    }
    /// Gives back the memory of a large answer.
    fn tidy(&mut self) {
        if let Some(buffer) = self.scratch.release()
            && buffer.capacity() <= KEEP_BYTES_MAX
        {
            self.scratch.adopt(buffer);
        }
    }
}

fn without_cr(line: &mut [u8]) -> &mut [u8] {
    let len = line.len() - usize::from(line.last() == Some(&b'\r'));
    &mut line[..len]
}

impl<S: Records> Session for Lines<S> {
    type Mail = S::Mail;
    fn handle(&mut self, event: Event<'_, S::Mail>, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        let result = match event {
            Event::Open(way) => self.inward(Event::Open(&Way { wire: Wire::Records, ..way.clone() }), cx),
            Event::Input(mut input) => self.show(&mut input, cx),
            Event::Again => {
                self.took = false;
                self.is_ready(cx).and_then(|_| self.show_end(cx))
            }
            Event::End => {
                self.end = PeerEnd::Owed;
                self.show_end(cx)
            }
            Event::Mail(mail) => self.inward(Event::Mail(mail), cx),
            Event::Deadline => self.inward(Event::Deadline, cx),
            Event::Drained => self.inward(Event::Drained, cx),
            Event::Stop => self.inward(Event::Stop, cx),
            Event::Gone(close) => self.inward(Event::Gone(close), cx),
        };
        self.tidy();
        result
    }
    fn wants(&self) -> Wants {
        self.inner.wants()
    }
}
impl<S: Records> Stream for Lines<S> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{OPEN_GATE, Probe, Seen, cuts, feed, feed_cut};
    use proptest::prelude::*;
    use sotong_session::{Checked, rig::Rig};

    fn lines(probe: Probe, options: LineOptions) -> Rig<Lines<Checked<Probe>>> {
        Rig::stream(Lines::new(Checked::new(probe), options))
    }
    fn default() -> Rig<Lines<Checked<Probe>>> {
        lines(Probe::echo(), LineOptions::default())
    }
    fn seen(rig: &Rig<Lines<Checked<Probe>>>) -> Vec<Seen> {
        rig.session().inner().inner().seen.clone()
    }
    fn records(rig: &Rig<Lines<Checked<Probe>>>) -> Vec<Vec<u8>> {
        seen(rig).into_iter().filter_map(Seen::input).collect()
    }

    #[test]
    fn lines_whole_and_byte_by_byte() {
        let text = "one\r\n\n둘\nth\rree\n\r\r\n마지막".as_bytes();
        for size in [1, 2, 3, 5, text.len()] {
            let mut rig = default();
            rig.open();
            for piece in text.chunks(size) {
                rig.input(piece);
            }
            assert_eq!(rig.untaken(), 0, "the unfinished line is the layer's");
            rig.end();
            assert_eq!(rig.sent(), "one\n\n둘\nth\rree\n\r\n마지막\n".as_bytes());
            assert_eq!(seen(&rig).last(), Some(&Seen::End));
            assert!(rig.is_finished());
            assert_eq!(rig.close(), Some(&Close::Done));
        }
    }

    #[test]
    fn the_inner_session_hears_records() {
        let mut rig = default();
        rig.open();
        assert_eq!(seen(&rig), [Seen::Open(Wire::Records)]);
        rig.gone(Close::Reset);
        assert_eq!(seen(&rig), [Seen::Open(Wire::Records), Seen::Gone(Close::Reset)]);
    }

    #[test]
    fn crlf_is_an_option() {
        let mut rig = lines(Probe::echo(), LineOptions { ending: Ending::CrLf, ..LineOptions::default() });
        rig.open();
        rig.input(b"a\nb\r\n");
        assert_eq!(rig.sent(), b"a\r\nb\r\n");
    }

    #[test]
    fn a_line_of_the_greatest_length_passes_and_one_byte_more_does_not() {
        let options = LineOptions { line_bytes_max: 4, too_long: Some("line too long"), ..LineOptions::default() };
        for text in [&b"1234\n"[..], b"1234\r\n", b"1234", b"1234\r"] {
            for size in [1, text.len()] {
                let mut rig = lines(Probe::echo(), options);
                rig.open();
                feed(&mut rig, text, size);
                rig.end();
                assert_eq!(rig.sent(), b"1234\n", "{text:?} by {size}");
            }
        }
        for text in [&b"12345\n"[..], b"12345", b"1234\r5", b"1234\r\r\n", b"12345\r\n"] {
            for size in [1, text.len()] {
                let mut rig = lines(Probe::echo(), options);
                rig.open();
                rig.input(b"ok\n");
                feed(&mut rig, text, size);
                assert_eq!(rig.close(), Some(&Close::Limit("line_bytes_max")), "{text:?} by {size}");
                assert_eq!(rig.sent(), b"ok\nline too long\n");
                assert_eq!(records(&rig), [b"ok"], "the inner session is not asked");
                rig.gone(Close::Done);
                assert_eq!(seen(&rig).last(), Some(&Seen::Gone(Close::Limit("line_bytes_max"))));
            }
        }
    }

    #[test]
    fn no_line_is_shown_while_the_output_is_full() {
        let marks = Marks { low: 2, high: 8, hard: 1000 };
        let mut rig = default().with_marks(marks);
        rig.open();
        let text: Vec<u8> = (0..50).flat_map(|i| format!("line {i}\n").into_bytes()).collect();
        rig.input(&text);
        rig.end();
        assert!(rig.queued() < 8 + 9, "one line past the mark at most");
        assert!(rig.untaken() > 300);
        assert!(!rig.is_finished());
        let mut sent = Vec::new();
        while rig.queued() > 0 {
            sent.extend(rig.sent_some(3));
        }
        assert_eq!(sent, text);
        assert_eq!(rig.close(), Some(&Close::Done));
    }

    #[test]
    fn end_waits_until_the_last_line_is_taken() {
        let mut rig = lines(Probe::gate(), LineOptions::default());
        rig.open();
        rig.input(b"one\ntwo\nlast");
        rig.end();
        assert_eq!(records(&rig), [b"one"]);
        rig.mail(&OPEN_GATE);
        assert_eq!(records(&rig), [b"one", b"two"]);
        rig.mail(&OPEN_GATE);
        assert_eq!(records(&rig), [&b"one"[..], b"two", b"last"]);
        assert_ne!(seen(&rig).last(), Some(&Seen::End));
        rig.mail(&OPEN_GATE);
        assert_eq!(seen(&rig).last(), Some(&Seen::End));
        assert_eq!(rig.close(), None);
        assert_eq!(rig.sent(), b"one\ntwo\nlast\n");
        assert_eq!(rig.close(), Some(&Close::Done));
    }

    #[test]
    fn again_goes_inward_also_when_another_layer_was_what_held() {
        use std::{num::NonZeroU64, time::Duration};
        let one = NonZeroU64::MIN;
        let limits = crate::RateLimits { input_bytes_per_second: one, burst_bytes: one };
        let inner = Lines::new(Checked::new(Probe::echo()), LineOptions::default());
        let mut rig = Rig::stream(crate::Rate::new(inner, limits));
        rig.open();
        rig.input(b"a\n");
        rig.advance(Duration::from_secs(1));
        assert_eq!(rig.sent(), b"a\n");
        assert_eq!(rig.session().inner().inner().inner().seen[1], Seen::Again);
    }

    #[test]
    fn an_error_inside_keeps_the_farewell_and_stops_the_lines() {
        let mut rig = default();
        rig.open();
        rig.input(b"a\nfail\nb\n");
        assert_eq!(rig.close(), Some(&Close::Protocol("fail".into())));
        assert_eq!(rig.sent(), b"a\nfarewell\n");
        assert_eq!(records(&rig), [&b"a"[..], b"fail"]);
        rig.gone(Close::Done);
        assert_eq!(seen(&rig).last(), Some(&Seen::Gone(Close::Protocol("fail".into()))));
    }

    #[test]
    fn an_error_in_a_line_that_came_in_pieces_and_in_the_last() {
        for (script, end) in [(&b"a\nfail\nb\n"[..], false), (b"a\nfail", true)] {
            let mut rig = default();
            rig.open();
            feed(&mut rig, script, 1);
            if end {
                rig.end();
            }
            assert_eq!(rig.close(), Some(&Close::Protocol("fail".into())));
            assert_eq!(rig.sent(), b"a\nfarewell\n");
        }
    }

    #[test]
    fn mail_and_deadlines_go_through_even_while_full() {
        let mut rig = default().with_marks(Marks { low: 0, high: 4, hard: 1000 });
        rig.open();
        rig.input(b"12345\n6789\n");
        rig.mail(&42);
        assert_eq!(rig.queued(), b"12345\nmail 42\n".len());
        assert_eq!(rig.sent(), b"12345\nmail 42\n6789\n");

        let mut rig = default();
        rig.open();
        rig.input(b"alarm\n");
        rig.advance(std::time::Duration::from_secs(5));
        assert_eq!(rig.sent(), b"alarm\nring\n");
        rig.stop();
        assert_eq!(rig.sent(), b"bye\n");
        assert_eq!(rig.close(), Some(&Close::Stop));
    }

    #[test]
    fn long_records_go_by_reference_and_overflow_is_seen() {
        let mut rig = default();
        rig.open();
        rig.input(b"long\n");
        assert_eq!(rig.sent(), [&b"long\n"[..], &[b'x'; 4000], b"\n"].concat());
        let mut rig = default().with_marks(Marks { low: 1, high: 50, hard: 100 });
        rig.open();
        for number in 0..20 {
            rig.mail(&number);
        }
        assert_eq!(rig.close(), Some(&Close::Slow), "mail past the hard mark");
    }

    #[test]
    fn little_memory_stays_between_events() {
        let mut rig = default();
        rig.open();
        rig.input(b"short\n");
        assert!(rig.session().scratch.has_memory(), "what is small is kept: no allocation a line");
        feed(&mut rig, &[b'x'; 4000], 200);
        rig.input(b"\n");
        assert_eq!(rig.sent().len(), b"short\n".len() + 4001);
        assert!(rig.session().partial.capacity() <= KEEP_BYTES_MAX);
        assert!(!rig.session().scratch.has_memory());
    }

    /// What an independent, slower reading of the same bytes makes of them.
    fn model(text: &[u8]) -> Vec<Vec<u8>> {
        let mut lines: Vec<Vec<u8>> = text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        if lines.last().is_some_and(Vec::is_empty) {
            lines.pop();
        }
        for line in &mut lines {
            if line.last() == Some(&b'\r') {
                line.pop();
            }
        }
        lines
    }

    proptest! {
        #[test]
        fn bytes_in_are_records_out(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'a'), Just(0xEA)], 0..200),
            cut in cuts(200),
            high in 1usize..60,
            steps in proptest::collection::vec(1usize..40, 1..20),
            gate: bool,
        ) {
            let probe = if gate { Probe::gate() } else { Probe::echo() };
            let mut rig = lines(probe, LineOptions::default()).with_marks(Marks { low: high / 4, high, hard: 1 << 20 });
            rig.open();
            feed_cut(&mut rig, &text, &cut);
            rig.end();
            let mut sent = Vec::new();
            for step in steps.iter().cycle() {
                let some = rig.sent_some(*step);
                let before = records(&rig).len();
                if gate && rig.close().is_none() {
                    rig.mail(&OPEN_GATE);
                }
                if some.is_empty() && rig.queued() == 0 && records(&rig).len() == before {
                    break;
                }
                sent.extend(some);
            }
            let expect = model(&text);
            // An empty last piece after CR alone is a line of its own only if the CR was not part of an end.
            prop_assert_eq!(records(&rig), expect.clone());
            let lines: Vec<u8> = expect.iter().flat_map(|line| [line.as_slice(), b"\n"].concat()).collect();
            prop_assert_eq!(sent, lines);
            prop_assert_eq!(rig.close(), Some(&Close::Done));
        }
    }
}
