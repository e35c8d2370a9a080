//! A session to put inside, and a wire between two sides.
use bytes::Bytes;
use sotong_http::ws::{ClientOptions, Header, Opcode, ServerOptions, WebSocket, mask};
use sotong_session::{
    Address, Checked, Close, Cx, Event, Moment, Pace, Records, Session, Stream, Wants, Wire, WsFacts, rig::Rig,
};
use std::{sync::Arc, time::Duration};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Mail that has a [`Probe`] do something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Say(Vec<u8>),
    /// By reference, where it is long.
    Share(Bytes),
    /// The beginning of a record.
    Begin(Vec<u8>),
    OpenGate,
    Finish,
    Leave(Close),
    Alarm(u64),
}

/// Hears records, says some; notes everything.
#[derive(Debug, Default)]
pub(crate) struct Probe {
    pub(crate) heard: Vec<Vec<u8>>,
    pub(crate) seen: Vec<&'static str>,
    pub(crate) gone: Option<Close>,
    pub(crate) facts: Option<WsFacts>,
    pub(crate) echoes: bool,
    pub(crate) gated: bool,
    pub(crate) always: bool,
    /// Half-closes when the peer has.
    pub(crate) finishes: bool,
    /// Says so many records of 100 bytes, as fast as they go.
    pub(crate) chatter: usize,
    pub(crate) greeting: Option<&'static [u8]>,
    pub(crate) alarm: Option<Moment>,
}

impl Probe {
    pub(crate) fn ear() -> Self {
        Self { finishes: true, always: true, ..Self::default() }
    }
    pub(crate) fn echo() -> Self {
        Self { echoes: true, always: false, ..Self::ear() }
    }
    fn chat(&mut self, cx: &mut Cx<'_, Order>) {
        while self.chatter > 0 && !cx.out.is_full() {
            self.chatter -= 1;
            say(&[b'c'; 100], cx);
        }
    }
}

fn say(text: &[u8], cx: &mut Cx<'_, Order>) {
    cx.out.put(text);
    cx.out.cut();
}

impl Session for Probe {
    type Mail = Order;
    fn handle(&mut self, event: Event<'_, Order>, cx: &mut Cx<'_, Order>) -> Result<(), Close> {
        self.seen.push(event.name());
        match event {
            Event::Open(way) => {
                assert_eq!(way.wire, Wire::Records);
                self.facts = way.ws.as_deref().cloned();
                if let Some(greeting) = self.greeting {
                    say(greeting, cx);
                }
                self.chat(cx);
            }
            Event::Input(mut input) => {
                let record = input.bytes().to_vec();
                input.take_all();
                if record == b"!fail" {
                    say(b"farewell", cx);
                    return Err(Close::Protocol("asked to".into()));
                }
                if self.echoes {
                    say(&record, cx);
                }
                self.heard.push(record);
            }
            Event::End if self.finishes => cx.out.finish(),
            Event::Mail(Order::Say(text)) => say(text, cx),
            Event::Mail(Order::Share(text)) => {
                cx.out.share(text.clone());
                cx.out.cut();
            }
            Event::Mail(Order::Begin(text)) => cx.out.put(text),
            Event::Mail(Order::OpenGate) => self.gated = false,
            Event::Mail(Order::Finish) => cx.out.finish(),
            Event::Mail(Order::Leave(close)) => return Err(close.clone()),
            Event::Mail(Order::Alarm(seconds)) => self.alarm = Some(cx.now + Duration::from_secs(*seconds)),
            Event::Deadline => {
                self.alarm = None;
                say(b"ring", cx);
            }
            Event::Stop => {
                say(b"bye", cx);
                return Err(Close::Stop);
            }
            Event::Drained => self.chat(cx),
            Event::Gone(close) => self.gone = Some(close.clone()),
            Event::Again | Event::End => {}
        }
        Ok(())
    }
    fn wants(&self) -> Wants {
        let pace = if self.always { Pace::Always } else { Pace::WhileRoom };
        Wants { input: if self.gated { Pace::Hold } else { pace }, deadline: self.alarm }
    }
}
impl Stream for Probe {}
impl Records for Probe {}

pub(crate) type End = Rig<Checked<WebSocket<Checked<Probe>>>>;

pub(crate) fn probe(end: &End) -> &Probe {
    end.session().inner().inner().inner()
}
pub(crate) fn server(probe: Probe, options: ServerOptions) -> End {
    Rig::stream(Checked::new(WebSocket::server(Checked::new(probe), Arc::new(options))).with_end_mark())
}
pub(crate) fn client(probe: Probe, options: ClientOptions) -> End {
    let layer = WebSocket::client(Checked::new(probe), Arc::new(options));
    Rig::stream(Checked::new(layer).with_end_mark()).at(Address { shard: 0, slot: 1, turn: 0 })
}
pub(crate) fn options() -> ClientOptions {
    ClientOptions::new("sotong.test", "/chat").expect("a request")
}

/// Both sides and the wire between.
pub(crate) struct Pair {
    pub(crate) client: End,
    pub(crate) server: End,
    /// Into pieces of what size the wire cuts.
    cut: Box<dyn FnMut() -> usize>,
    ends: [bool; 2],
}

impl Pair {
    pub(crate) fn new(client: End, server: End) -> Self {
        Self { client, server, cut: Box::new(|| usize::MAX), ends: [false; 2] }
    }
    pub(crate) fn usual(ours: Probe, theirs: Probe) -> Self {
        Self::new(client(ours, options()), server(theirs, ServerOptions::default()))
    }
    pub(crate) fn cut(mut self, cut: impl FnMut() -> usize + 'static) -> Self {
        self.cut = Box::new(cut);
        self
    }
    pub(crate) fn open(mut self) -> Self {
        self.server.open();
        self.client.open();
        self.flow();
        self
    }
    pub(crate) fn say(&mut self, text: &[u8]) {
        self.client.mail(&Order::Say(text.to_vec()));
        self.flow();
    }
    /// Moves bytes and ends until nothing moves.
    pub(crate) fn flow(&mut self) {
        while self.carry(false) | self.carry(true) {}
    }
    /// One direction, once. Whether anything moved.
    pub(crate) fn carry(&mut self, to_client: bool) -> bool {
        let (from, to) = match to_client {
            true => (&mut self.server, &mut self.client),
            false => (&mut self.client, &mut self.server),
        };
        let bytes = from.sent();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((self.cut)().clamp(1, rest.len()));
            to.input(piece);
            rest = after;
        }
        let is_over = from.is_finished() || from.close().is_some();
        let ended = &mut self.ends[usize::from(to_client)];
        let ends_now = is_over && !*ended;
        if ends_now {
            *ended = true;
            to.end();
        }
        !bytes.is_empty() || ends_now
    }
    pub(crate) fn closes(&self) -> (Option<Close>, Option<Close>) {
        (self.client.close().cloned(), self.server.close().cloned())
    }
}

/// A frame as a client of somebody else sends it.
pub(crate) fn frame(opcode: Opcode, fin: bool, payload: &[u8]) -> Vec<u8> {
    let key = [1, 2, 3, 4];
    let mut bytes = Vec::new();
    Header { fin, compressed: false, opcode, key: Some(key), len: payload.len() as u64 }.write(&mut bytes);
    let at = bytes.len();
    bytes.extend_from_slice(payload);
    mask(&mut bytes[at..], key, 0);
    bytes
}
pub(crate) fn text(payload: &[u8]) -> Vec<u8> {
    frame(Opcode::Text, true, payload)
}
/// A Close frame as a server sends it.
pub(crate) fn closing(code: u16, reason: &str) -> Vec<u8> {
    [&[0x88, 2 + reason.len() as u8], &code.to_be_bytes()[..], reason.as_bytes()].concat()
}

pub(crate) const REQUEST: &str = "GET /chat HTTP/1.1\r\nHost: sotong.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A server that has been asked by somebody else's client; its answer has been read.
pub(crate) fn asked(probe: Probe) -> End {
    let mut end = server(probe, ServerOptions::default());
    end.open();
    end.input(REQUEST.as_bytes());
    let answer = end.sent();
    assert!(answer.starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"), "{}", answer.escape_ascii());
    end
}
