//! Seeing the bytes that pass: as they are, or as a hex dump.
use std::{
    fmt::Write as _,
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

/// Sees the bytes of one direction before they are written, in pieces as they were read.
pub type Tap = Box<dyn FnMut(&[u8]) -> io::Result<()> + Send>;

/// How passed bytes are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As they are, both directions in one stream.
    Raw,
    /// Sixteen bytes a line: direction, offset, hex, printable ASCII.
    Hex,
}

/// Writes what passes in both directions to one place.
#[derive(Debug)]
pub struct Dump<W> {
    form: Form,
    to: Arc<Mutex<W>>,
}

/// Bytes that one line of a hex dump shows.
const LINE_BYTES: usize = 16;

impl<W: Write + Send + 'static> Dump<W> {
    /// Dumps to `to`, a direction's piece at a time.
    pub fn new(form: Form, to: W) -> Self {
        Self { form, to: Arc::new(Mutex::new(to)) }
    }
    /// The tap of one direction. `mark` stands before each line of a hex dump, such as `>` or `<`; offsets count from the
    /// direction's first byte.
    pub fn tap(&self, mark: &'static str) -> Tap {
        let (form, to) = (self.form, self.to.clone());
        let mut offset = 0;
        Box::new(move |bytes| {
            let text;
            let shown = match form {
                Form::Raw => bytes,
                Form::Hex => {
                    text = hex(mark, offset, bytes);
                    text.as_bytes()
                }
            };
            offset += bytes.len() as u64;
            let mut to = to.lock().unwrap_or_else(PoisonError::into_inner);
            to.write_all(shown)?;
            to.flush()
        })
    }
}

fn hex(mark: &str, mut offset: u64, bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(LINE_BYTES) * 80);
    for line in bytes.chunks(LINE_BYTES) {
        // Writing to a string cannot fail.
        _ = write!(text, "{mark} {offset:08x} ");
        for at in 0..LINE_BYTES {
            let gap = if at == LINE_BYTES / 2 { "  " } else { " " };
            _ = match line.get(at) {
                Some(byte) => write!(text, "{gap}{byte:02x}"),
                None => write!(text, "{gap}  "),
            };
        }
        text.push_str("  ");
        text.extend(line.iter().map(|&byte| if byte == b' ' || byte.is_ascii_graphic() { byte as char } else { '.' }));
        text.push('\n');
        offset += line.len() as u64;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn dumped(form: Form, pieces: &[(usize, &[u8])]) -> String {
        let shared = Shared::default();
        let dump = Dump::new(form, shared.clone());
        let mut taps = [dump.tap(">"), dump.tap("<")];
        for (direction, bytes) in pieces {
            taps[*direction](bytes).unwrap();
        }
        let text = shared.0.lock().unwrap().clone();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn hex_shows_direction_offset_bytes_and_text() {
        let text = dumped(Form::Hex, &[(0, "GET 안\r\n0123456789".as_bytes()), (1, b"ok\n"), (0, b"x")]);
        let expect = "\
> 00000000  47 45 54 20 ec 95 88 0d  0a 30 31 32 33 34 35 36  GET .....0123456
> 00000010  37 38 39                                          789
< 00000000  6f 6b 0a                                          ok.
> 00000013  78                                                x
";
        assert_eq!(text, expect);
    }

    #[test]
    fn raw_is_what_passed_in_the_order_it_passed() {
        assert_eq!(dumped(Form::Raw, &[(0, b"a\n"), (1, b"b\n"), (0, b""), (0, b"c\n")]), "a\nb\nc\n");
    }
}
