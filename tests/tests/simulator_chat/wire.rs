//! How somebody speaks to the server: lines as they are, or each as a message of WebSocket.
use sotong_http::ws::{Header, Opcode, Side, mask};
use sotong_sim::{PeerCx, probe::Lines};

/// How.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Plain,
    /// By the subprotocol `text.ircv3.net`, or by none.
    Text,
    /// By `binary.ircv3.net`.
    Binary,
}

/// A connection's ends of lines.
pub(crate) struct Ends {
    pub(crate) wire: Wire,
    lines: Lines,
    web: Web,
}

/// What has come by WebSocket.
#[derive(Default)]
struct Web {
    bytes: Vec<u8>,
    has_answer: bool,
    message: Vec<u8>,
    is_closed: bool,
}

impl Ends {
    pub(crate) fn new(wire: Wire) -> Self {
        Self { wire, lines: Lines::default(), web: Web::default() }
    }
    /// What goes before everything else.
    pub(crate) fn begin(&self, cx: &mut PeerCx<'_>) {
        let protocol = match self.wire {
            Wire::Plain => return,
            Wire::Text if cx.dice.chance(300) => "",
            Wire::Text => "Sec-WebSocket-Protocol: text.ircv3.net\r\n",
            Wire::Binary => "Sec-WebSocket-Protocol: binary.ircv3.net\r\n",
        };
        cx.send(
            format!(
                "GET / HTTP/1.1\r\nHost: sotong.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{protocol}\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            .as_bytes(),
        );
    }
    /// Sends lines, each with its end.
    pub(crate) fn send(&self, text: &str, cx: &mut PeerCx<'_>) {
        if self.wire == Wire::Plain {
            return cx.send(text.as_bytes());
        }
        for line in text.split_terminator('\n') {
            let opcode = if self.wire == Wire::Binary { Opcode::Binary } else { Opcode::Text };
            // With an end, as some clients have it, or without; whole, or in two parts.
            let line = line.strip_suffix('\r').filter(|_| cx.dice.chance(900)).unwrap_or(line).as_bytes();
            let (first, second) = line.split_at(if cx.dice.chance(200) { cx.dice.pick(line.len()) } else { 0 });
            if first.is_empty() {
                frame(opcode, true, second, cx);
            } else {
                frame(opcode, false, first, cx);
                frame(Opcode::Continuation, true, second, cx);
            }
        }
    }
    /// Takes what was read.
    pub(crate) fn feed(&mut self, cx: &mut PeerCx<'_>) {
        if self.wire == Wire::Plain {
            return self.lines.feed(cx.fresh);
        }
        self.web.bytes.extend_from_slice(cx.fresh.unwrap_or_default());
        let mut text = Vec::new();
        if let Err(what) = self.web.unwrap(self.wire, &mut text) {
            cx.claim(None, what);
        }
        self.lines.feed(Some(&text));
        if self.web.is_closed {
            self.web.is_closed = false;
            frame(Opcode::Close, true, b"", cx);
        }
    }
    /// The next line, without its LF.
    pub(crate) fn take(&mut self) -> Option<String> {
        self.lines.take()
    }
}

fn frame(opcode: Opcode, fin: bool, payload: &[u8], cx: &mut PeerCx<'_>) {
    let key = (cx.dice.between(0, u64::from(u32::MAX)) as u32).to_be_bytes();
    let mut bytes = Vec::new();
    Header { fin, compressed: false, opcode, key: Some(key), len: payload.len() as u64 }.write(&mut bytes);
    let begin = bytes.len();
    bytes.extend_from_slice(payload);
    mask(&mut bytes[begin..], key, 0);
    cx.send(&bytes);
}

/// The lines that somebody has read, as if they had come plain.
pub(crate) fn plain(wire: Wire, heard: &[u8]) -> Vec<u8> {
    if wire == Wire::Plain {
        return heard.to_vec();
    }
    let (mut web, mut text) = (Web { bytes: heard.to_vec(), ..Web::default() }, Vec::new());
    web.unwrap(wire, &mut text).expect("it was looked at as it came");
    text
}

impl Web {
    /// Appends the lines of whole messages.
    fn unwrap(&mut self, wire: Wire, text: &mut Vec<u8>) -> Result<(), String> {
        if !self.has_answer {
            let Some(end) = self.bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(()) };
            let answer: Vec<u8> = self.bytes.drain(..end + 4).collect();
            // Who was slow to begin is greeted as a person, and sent away.
            if answer.starts_with(b"What is your name?") {
                return Ok(());
            }
            // A clock that jumps ends the time for a request.
            if answer.starts_with(b"HTTP/1.1 408 ") {
                self.bytes.clear();
                return Ok(());
            }
            if !answer.starts_with(b"HTTP/1.1 101 ") {
                return Err(format!("the upgrade is refused: {}", answer.escape_ascii()));
            }
            self.has_answer = true;
        }
        loop {
            let read = Header::read(&self.bytes, Side::Client, false).map_err(|why| format!("a bad frame: {why:?}"))?;
            let Some((header, begin)) = read else { return Ok(()) };
            let end = begin + header.len as usize;
            if self.bytes.len() < end {
                return Ok(());
            }
            let payload = self.bytes[begin..end].to_vec();
            self.bytes.drain(..end);
            match (header.opcode, wire) {
                (Opcode::Close, _) => self.is_closed = true,
                (Opcode::Ping | Opcode::Pong, _) => {}
                (Opcode::Text, Wire::Text) | (Opcode::Binary, Wire::Binary) | (Opcode::Continuation, _) => {
                    self.message.extend_from_slice(&payload);
                    if header.fin {
                        let message = std::mem::take(&mut self.message);
                        if message.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
                            return Err(format!("a message is not one line: {}", message.escape_ascii()));
                        }
                        text.extend_from_slice(&message);
                        text.extend_from_slice(b"\r\n");
                    }
                }
                (opcode, _) => return Err(format!("{opcode:?} comes to {wire:?}")),
            }
        }
    }
}
