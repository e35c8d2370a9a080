//! Bytes of a near end as messages: by lines, or block by block.
use bytes::Bytes;
use sotong_session::Output;
use std::time::Duration;

/// How bytes become messages, and messages bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Messages {
    /// Where one ends.
    pub form: Form,
    /// After the end of the input, the end is told to the peer when it has been silent for this long: an answer that is on
    /// its way is still heard.
    pub quiet: Duration,
}

/// Where a message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// With its line, whose LF or CRLF is no part of it; each message that is heard gets an LF behind it. A line of any
    /// length is one message: what was read of it goes as a fragment.
    Lines,
    /// With what was read at once, at most 64 KiB; what is heard stays as it is.
    Blocks,
}

/// Cuts bytes into messages.
#[derive(Debug)]
pub(super) struct Cutter {
    messages: Messages,
    /// Some of a line has been said, and not its end.
    midway: bool,
    /// A CR that may belong to a line's end.
    cr: bool,
}

impl Cutter {
    pub(super) fn new(messages: Messages) -> Self {
        Self { messages, midway: false, cr: false }
    }
    pub(super) fn quiet(&self) -> Duration {
        self.messages.quiet
    }
    pub(super) fn ends_lines(&self) -> bool {
        self.messages.form == Form::Lines
    }
    pub(super) fn say(&mut self, bytes: &Bytes, out: &mut Output) {
        match self.messages.form {
            Form::Blocks => {
                out.share(bytes.clone());
                out.cut();
            }
            Form::Lines => self.say_lines(bytes, out),
        }
    }
    /// The last line may have no end.
    pub(super) fn end(&mut self, out: &mut Output) {
        self.put_cr(out);
        if std::mem::take(&mut self.midway) {
            out.cut();
        }
    }
    fn say_lines(&mut self, bytes: &Bytes, out: &mut Output) {
        let mut rest = &bytes[..];
        while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
            let line = &rest[..at];
            rest = &rest[at + 1..];
            if line.is_empty() {
                self.cr = false;
            } else {
                self.put_cr(out);
                out.put(line.strip_suffix(b"\r").unwrap_or(line));
            }
            out.cut();
            self.midway = false;
        }
        if rest.is_empty() {
            return;
        }
        self.put_cr(out);
        self.midway = true;
        self.cr = rest.ends_with(b"\r");
        let rest = rest.strip_suffix(b"\r").unwrap_or(rest);
        out.share(bytes.slice_ref(rest));
    }
    fn put_cr(&mut self, out: &mut Output) {
        if std::mem::take(&mut self.cr) {
            out.put(b"\r");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sotong_session::{Kind, Marks, Piece};

    fn said(form: Form, pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut out = Output::new(Kind::Records, Marks::default());
        let mut cutter = Cutter::new(Messages { form, quiet: Duration::ZERO });
        for piece in pieces {
            cutter.say(&Bytes::copy_from_slice(piece), &mut out);
        }
        cutter.end(&mut out);
        let (mut all, mut record) = (Vec::new(), Vec::new());
        while let Some(piece) = out.pop() {
            match piece {
                Piece::Bytes(bytes) => record.extend_from_slice(bytes),
                Piece::Shared(bytes) => record.extend_from_slice(&bytes),
                Piece::Cut => all.push(std::mem::take(&mut record)),
                Piece::File(_) => unreachable!("none was put"),
            }
        }
        assert!(record.is_empty(), "every message has its end");
        all
    }

    #[test]
    fn each_line_is_a_message_however_it_is_read() {
        let text = b"one\r\n\nth\rree\r\r\n\r\nlast\r";
        let expect: Vec<Vec<u8>> = [&b"one"[..], b"", b"th\rree\r", b"", b"last\r"].map(<[u8]>::to_vec).to_vec();
        for size in 1..=text.len() {
            let pieces: Vec<&[u8]> = text.chunks(size).collect();
            assert_eq!(said(Form::Lines, &pieces), expect, "by {size}");
        }
        let long = [vec![b'x'; 100_000], b"\n".to_vec()].concat();
        let pieces: Vec<&[u8]> = long.chunks(700).collect();
        assert_eq!(said(Form::Lines, &pieces), [&long[..100_000]]);
        assert!(said(Form::Lines, &[b""]).is_empty());
    }

    #[test]
    fn each_block_is_a_message() {
        assert_eq!(said(Form::Blocks, &[b"a\nb", b"c"]), [&b"a\nb"[..], b"c"]);
    }
}
