//! WebSocket: frames, and both sides of a connection. What one of ours says is always right for the other.
use sotong_http::ws::{ClientOptions, Header, Item, Origins, Reader, ServerOptions, Side, WebSocket, WsLimits, accept};
use sotong_session::{Close, Cx, End, Event, Input, Pace, Records, Session, Wants, Way, Wire, rig::Rig};
use std::{convert::Infallible, sync::Arc, time::Duration};

/// Says each message again.
struct Echo;

impl Session for Echo {
    type Mail = Infallible;
    fn handle(&mut self, event: Event<'_, Infallible>, cx: &mut Cx<'_, Infallible>) -> Result<(), Close> {
        match event {
            Event::Input(mut input) => {
                cx.out.put(input.bytes());
                cx.out.cut();
                input.take_all();
            }
            Event::End => cx.out.finish(),
            Event::Stop => return Err(Close::Stop),
            Event::Open(_) | Event::Again | Event::Mail(_) | Event::Deadline | Event::Drained | Event::Gone(_) => {}
        }
        Ok(())
    }
    fn wants(&self) -> Wants {
        Wants { input: Pace::WhileRoom, deadline: None }
    }
}
impl Records for Echo {}

fn way() -> Way {
    Way::new(End::Simulated(0), End::Simulated(1), Wire::Stream)
}

/// Frames sent to a server or a client, plain and compressed: the same messages in any pieces.
pub fn ws_frames(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let side = if first & 1 == 0 { Side::Server } else { Side::Client };
    let deflates = first & 2 != 0;
    let limits = WsLimits { message_bytes_max: 1000, fragments_max: 8, ..WsLimits::default() };
    let read = |piece: usize| {
        let mut reader = Reader::new(side, &limits, deflates);
        let mut items = Vec::new();
        for piece in rest.chunks(piece.max(1)) {
            let mut bytes = piece.to_vec();
            let mut taken = 0;
            let mut input = Input::new(&mut bytes, &mut taken);
            loop {
                let item = match reader.read(&mut input) {
                    Ok(Some(item)) => item,
                    Ok(None) => break,
                    Err(breach) => {
                        items.push(format!("{breach:?}"));
                        return items;
                    }
                };
                items.push(match item {
                    Item::Here(kind, len) => {
                        assert!(len <= limits.message_bytes_max);
                        let message = input.bytes()[..len].to_vec();
                        input.take(len);
                        format!("{kind:?} {message:?}")
                    }
                    Item::Held(kind) => {
                        let message = reader.lend();
                        assert!(message.len() <= limits.message_bytes_max);
                        let told = format!("{kind:?} {message:?}");
                        reader.give_back(message);
                        told
                    }
                    other => format!("{other:?}"),
                });
            }
        }
        items
    };
    let whole = read(usize::MAX);
    // What is wrong in a message may show before its end: then the pieces before it are the same.
    for piece in [1, 7] {
        let pieces = read(piece);
        let count = whole.len().min(pieces.len()).saturating_sub(1);
        assert_eq!(whole[..count], pieces[..count]);
        assert_eq!(whole.len(), pieces.len(), "{whole:?} {pieces:?}");
    }
}

/// What somebody heard after the handshake is frames without a fault.
fn check_frames(heard: &[u8], side: Side, deflates: bool) {
    let limits = WsLimits::default();
    let mut reader = Reader::new(side, &limits, deflates);
    let mut bytes = heard.to_vec();
    let mut taken = 0;
    let mut input = Input::new(&mut bytes, &mut taken);
    loop {
        match reader.read(&mut input) {
            Ok(Some(Item::Here(_, len))) => input.take(len),
            Ok(Some(Item::Held(_))) => {
                let message = reader.lend();
                reader.give_back(message);
            }
            Ok(Some(Item::Close(..))) => {
                assert!(input.bytes().is_empty(), "words behind the close");
                return;
            }
            Ok(Some(Item::Ping(_) | Item::Pong)) => {}
            Ok(None) => return,
            Err(breach) => panic!("{breach:?} in {:?}", heard.escape_ascii().to_string()),
        }
    }
}

fn head_of(heard: &[u8]) -> usize {
    heard.windows(4).position(|end| end == b"\r\n\r\n").map_or(heard.len(), |at| at + 4)
}

/// The bytes of a client, its request too unless the first byte says that there is one already.
pub fn ws_server(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let deflate = first & 1 != 0;
    let options = ServerOptions { deflate, origins: Origins::Any, ..ServerOptions::default() };
    let mut rig = Rig::stream(WebSocket::server(Echo, Arc::new(options)));
    rig.open_as(&way());
    let is_open = first & 2 == 0;
    if is_open {
        let offer = if deflate { "Sec-WebSocket-Extensions: permessage-deflate\r\n" } else { "" };
        let request = format!(
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{offer}\r\n"
        );
        rig.input(request.as_bytes());
    }
    let mut heard = Vec::new();
    for piece in rest.chunks(1 + usize::from(first >> 2)) {
        rig.input(piece);
        heard.extend(rig.sent());
    }
    rig.end();
    heard.extend(rig.sent());
    rig.advance(Duration::from_secs(60));
    heard.extend(rig.sent());
    rig.gone(Close::Reset);
    if heard.starts_with(b"HTTP/1.1 101 ") {
        check_frames(&heard[head_of(&heard)..], Side::Client, deflate);
    } else {
        assert!(heard.is_empty() || heard.starts_with(b"HTTP/1.1 4") || heard.starts_with(b"HTTP/1.1 5"));
    }
}

/// The bytes of a server, its answer to the request too unless the first byte says that there is one already.
pub fn ws_client(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let mut options = ClientOptions::new("x", "/").expect("a request");
    options.deflate = first & 1 != 0;
    let deflate = options.deflate;
    let mut rig = Rig::stream(WebSocket::client(Echo, Arc::new(options)));
    rig.open_as(&way());
    let request = rig.sent();
    if first & 2 == 0 {
        let text = String::from_utf8_lossy(&request);
        let key = text.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
        let agreed = if deflate {
            "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
        } else {
            ""
        };
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n{agreed}\r\n",
            accept(key.as_bytes())
        );
        rig.input(answer.as_bytes());
    }
    let mut heard = Vec::new();
    for piece in rest.chunks(1 + usize::from(first >> 2)) {
        rig.input(piece);
        heard.extend(rig.sent());
    }
    rig.end();
    heard.extend(rig.sent());
    rig.advance(Duration::from_secs(60));
    heard.extend(rig.sent());
    rig.gone(Close::Reset);
    check_frames(&heard, Side::Server, deflate);
}

/// A frame of a client, for [`crate::seeds`].
pub(crate) fn client_frame(fin: bool, opcode: sotong_http::ws::Opcode, bytes: &[u8]) -> Vec<u8> {
    let key = [1, 2, 3, 4];
    let header = Header { fin, compressed: false, opcode, key: Some(key), len: bytes.len() as u64 };
    let mut frame = Vec::new();
    header.write(&mut frame);
    let mut body = bytes.to_vec();
    sotong_http::ws::mask(&mut body, key, 0);
    frame.extend(body);
    frame
}
