//! A line, rendered and framed once for all who hear it.
use bytes::Bytes;
use sotong_http::ws;
use sotong_session::Output;

/// A line, ready for both kinds of clients: a frame of WebSocket is a header, and the line without its end.
#[derive(Debug)]
pub(crate) struct Line {
    /// Room for the longest header, and the line.
    bytes: Bytes,
    /// Where the frame begins.
    begins: u8,
    /// One line, that is: several have no frame in common.
    is_one: bool,
}

/// The header of a server's frame of up to 64 KiB (RFC 6455 §5.2): type, length, and the length again where it is long.
pub(crate) const HEADER_BYTES: usize = 4;

/// The line with its end.
impl std::ops::Deref for Line {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.line()
    }
}

impl Line {
    pub(crate) fn new(render: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&[0; HEADER_BYTES]);
        render(&mut bytes);
        let line = &bytes[HEADER_BYTES..];
        let payload = line.len().saturating_sub(b"\r\n".len());
        let is_one = line.ends_with(b"\r\n") && memchr::memchr(b'\n', line) == Some(payload + 1);
        let begins = match (u8::try_from(payload), u16::try_from(payload)) {
            (Ok(short @ 0..=125), _) => {
                bytes[2..HEADER_BYTES].copy_from_slice(&[ws::FRAMED, short]);
                2
            }
            (_, Ok(long)) => {
                let [high, low] = long.to_be_bytes();
                bytes[..HEADER_BYTES].copy_from_slice(&[ws::FRAMED, 126, high, low]);
                0
            }
            _ => 0,
        };
        Self { bytes: bytes.into(), begins, is_one: is_one && payload <= usize::from(u16::MAX) }
    }
    /// The line with its end.
    pub(crate) fn line(&self) -> &[u8] {
        &self.bytes[HEADER_BYTES..]
    }
    /// Puts it out, for a client by WebSocket or another. Counting a reference that all shards share costs more than copying a
    /// short line.
    pub(crate) fn put(&self, is_framed: bool, out: &mut Output) {
        let part = if is_framed { self.frame() } else { self.line() };
        if part.len() <= COPY_BYTES_MAX { out.put(part) } else { out.share(self.bytes.slice_ref(part)) }
    }
    /// The frame; where there is none, lines, which are framed on their way out.
    fn frame(&self) -> &[u8] {
        match self.is_one {
            true => &self.bytes[usize::from(self.begins)..self.bytes.len() - b"\r\n".len()],
            false => self.line(),
        }
    }
}

/// As an output does it.
const COPY_BYTES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_all_lengths() {
        for payload in [1usize, 125, 126, 1000, 65_535, 65_536] {
            let form = Line::new(|line| {
                line.resize(line.len() + payload, b'x');
                line.extend_from_slice(b"\r\n");
            });
            assert_eq!(form.line().len(), payload + 2);
            let Ok(Some((header, at))) = ws::Header::read(form.frame(), ws::Side::Client, false) else {
                assert_eq!((payload, form.frame()), (65_536, form.line()), "it has no frame");
                continue;
            };
            assert_eq!((header.len, at), (payload as u64, form.frame().len() - payload));
        }
        let two = Line::new(|lines| lines.extend_from_slice(b"one\r\ntwo\r\n"));
        assert_eq!((two.frame(), two.line()), (&b"one\r\ntwo\r\n"[..], &b"one\r\ntwo\r\n"[..]));
    }
}
