//! Examples of RFC 6455, every breach, and any cut.
use super::*;
use proptest::prelude::*;

/// Something read, copied out.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Read {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>, String),
    Broken(Breach),
}

struct Bench {
    reader: Reader,
    read: Vec<Read>,
}

impl Bench {
    fn new(side: Side) -> Self {
        Self::with(side, &WsLimits::default(), false)
    }
    fn with(side: Side, limits: &WsLimits, deflates: bool) -> Self {
        Self { reader: Reader::new(side, limits, deflates), read: Vec::new() }
    }
    fn feed(&mut self, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        let mut taken = 0;
        let mut input = Input::new(&mut bytes, &mut taken);
        while !input.bytes().is_empty() && !matches!(self.read.last(), Some(Read::Broken(_))) {
            let message = |kind, bytes: &[u8]| match kind {
                Kind::Text => Read::Text(std::str::from_utf8(bytes).expect("text is UTF-8").to_owned()),
                Kind::Binary => Read::Binary(bytes.to_vec()),
            };
            let read = match self.reader.read(&mut input) {
                Ok(None) => break,
                Ok(Some(Item::Here(kind, len))) => {
                    let read = message(kind, &input.bytes()[..len]);
                    input.take(len);
                    read
                }
                Ok(Some(Item::Held(kind))) => {
                    let body = self.reader.lend();
                    let read = message(kind, &body);
                    self.reader.give_back(body);
                    read
                }
                Ok(Some(Item::Ping(control))) => Read::Ping(control.bytes().to_vec()),
                Ok(Some(Item::Pong)) => Read::Pong,
                Ok(Some(Item::Close(code, reason))) => Read::Close(code.map(Code::number), reason.into()),
                Err(breach) => Read::Broken(breach),
            };
            self.read.push(read);
        }
    }
}

fn read(side: Side, bytes: &[u8], size: usize) -> Vec<Read> {
    let mut bench = Bench::new(side);
    for piece in bytes.chunks(size) {
        bench.feed(piece);
    }
    bench.read
}

fn frame(first: u8, key: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let mut to = Vec::new();
    let header = Header { fin: true, compressed: false, opcode: Opcode::Text, key, len: payload.len() as u64 };
    header.write(&mut to);
    to[0] = first;
    let at = to.len();
    to.extend_from_slice(payload);
    if let Some(key) = key {
        mask(&mut to[at..], key, 0);
    }
    to
}
const KEY: Option<[u8; 4]> = Some([0x37, 0xfa, 0x21, 0x3d]);
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    frame(first, KEY, payload)
}

/// RFC 6455 §5.7.
#[test]
fn the_examples_of_the_rfc() {
    let hello = || Read::Text("Hello".into());
    let client = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    let pong = [0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    for size in [1, 2, 3, 5, 100] {
        assert_eq!(read(Side::Server, &client, size), [hello()], "by {size}");
        assert_eq!(read(Side::Server, &pong, size), [Read::Pong]);
        let server = [&[0x81, 5][..], b"Hello", &[1, 3], b"Hel", &[0x80, 2], b"lo", &[0x89, 5], b"Hello"].concat();
        assert_eq!(read(Side::Client, &server, size), [hello(), hello(), Read::Ping(b"Hello".to_vec())]);
        for len in [256, 65_536] {
            let head = if len == 256 { vec![0x82, 126, 1, 0] } else { vec![0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0] };
            let bytes = [head, vec![7; len]].concat();
            assert_eq!(read(Side::Client, &bytes, size), [Read::Binary(vec![7; len])]);
        }
    }
}

#[test]
fn every_breach_is_told_as_what_it_is() {
    let close = |payload: &[u8]| masked(0x88, payload);
    let long = |length: &[u8]| [&[0x82], length, &[0; 4]].concat();
    for (bytes, breach) in [
        (masked(0xc1, b"a"), Breach::ReservedBit),
        (masked(0xa1, b"a"), Breach::ReservedBit),
        (masked(0x91, b"a"), Breach::ReservedBit),
        (masked(0x83, b"a"), Breach::Opcode),
        (masked(0x8b, b"a"), Breach::Opcode),
        (masked(0x09, b"a"), Breach::ControlFragment),
        (masked(0x89, &[0; 126]), Breach::ControlLong),
        (masked(0x88, &[0; 126]), Breach::ControlLong),
        (long(&[0xfe, 0, 125]), Breach::Length),
        (long(&[0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]), Breach::Length),
        (long(&[0xff, 0x80, 0, 0, 0, 0, 1, 0, 0]), Breach::Length),
        (frame(0x81, None, b"a"), Breach::Unmasked),
        (masked(0x80, b"a"), Breach::Continuation),
        (masked(0x00, b"a"), Breach::Continuation),
        ([masked(0x01, b"a"), masked(0x81, b"b")].concat(), Breach::Interleaved),
        (close(&[3]), Breach::CloseHalf),
        (close(&1005_u16.to_be_bytes()), Breach::CloseCode),
        (close(&999_u16.to_be_bytes()), Breach::CloseCode),
        (close(&5000_u16.to_be_bytes()), Breach::CloseCode),
        (close(&[3, 0xe8, 0xff]), Breach::CloseText),
        (masked(0x81, &[0xff]), Breach::Utf8),
        (masked(0x81, &[0xea, 0xb0]), Breach::Utf8),
        ([masked(0x01, &[0xea]), masked(0x80, b"a")].concat(), Breach::Utf8),
        (long(&[0xff, 0, 0, 0, 0, 0, 1, 0, 1]), Breach::TooLong),
        ([masked(0x02, &[0; 40_000]), masked(0x80, &[0; 40_000])].concat(), Breach::TooLong),
        (
            [masked(0x02, b"")].into_iter().chain((0..128).map(|_| masked(0x00, b""))).flatten().collect(),
            Breach::Fragments,
        ),
    ] {
        for size in [1, 7, usize::MAX] {
            let shown = &bytes[..bytes.len().min(20)];
            assert_eq!(read(Side::Server, &bytes, size).last(), Some(&Read::Broken(breach)), "{shown:x?} by {size}");
        }
    }
    assert_eq!(read(Side::Client, &masked(0x81, b"a"), 1), [Read::Broken(Breach::Masked)]);
}

#[test]
fn a_breach_shows_before_the_frame_is_whole() {
    for (bytes, breach) in [
        (&[0xc1][..], Breach::ReservedBit),
        (&[0x83], Breach::Opcode),
        (&[0x81, 5], Breach::Unmasked),
        (&[0x89, 0xff], Breach::ControlLong),
        // Text: the first byte that can be no text ends it, whatever is to come.
        (&[0x81, 0xfe, 0x10, 0, 0, 0, 0, 0, b'a', 0xff], Breach::Utf8),
        (&[0x82, 0xff, 0, 0, 0, 0, 0x7f, 0, 0, 0, 0, 0, 0, 0], Breach::TooLong),
    ] {
        assert_eq!(read(Side::Server, bytes, 1), [Read::Broken(breach)], "{bytes:x?}");
    }
}

#[test]
fn closes_say_why() {
    for (payload, code, reason) in
        [(&b""[..], None, ""), (b"\x03\xe8", Some(1000), ""), ("\x0f\u{4}안녕".as_bytes(), Some(3844), "안녕")]
    {
        assert_eq!(read(Side::Server, &masked(0x88, payload), 3), [Read::Close(code, reason.into())]);
    }
}

#[test]
fn control_frames_come_between_fragments() {
    let bytes =
        [masked(0x01, "소".as_bytes()), masked(0x89, b"?"), masked(0x00, b""), masked(0x80, "통".as_bytes())].concat();
    for size in [1, 4, 100] {
        assert_eq!(read(Side::Server, &bytes, size), [Read::Ping(b"?".to_vec()), Read::Text("소통".into())]);
    }
}

#[test]
fn compressed_messages_are_inflated_and_bombs_refused() {
    let deflated = |bytes: &[u8]| super::super::deflate::deflate(bytes).expect("it becomes smaller");
    let (small, bomb) = (deflated("소통 소통 소통".as_bytes()), deflated(&vec![b'x'; 70_000]));
    let (first, second) = small.split_at(4);
    let split = [masked(0x41, first), masked(0x89, b""), masked(0x80, second)].concat();
    for (bytes, expect) in [
        (masked(0xc1, &small), vec![Read::Text("소통 소통 소통".into())]),
        (split, vec![Read::Ping(Vec::new()), Read::Text("소통 소통 소통".into())]),
        (masked(0xc2, &bomb), vec![Read::Broken(Breach::TooLong)]),
        (masked(0xc1, &[0xff; 9]), vec![Read::Broken(Breach::Deflate)]),
        (masked(0xc9, b""), vec![Read::Broken(Breach::ReservedBit)]),
        ([masked(0x01, b"a"), masked(0xc0, b"b")].concat(), vec![Read::Broken(Breach::ReservedBit)]),
    ] {
        for size in [1, 100_000] {
            let mut bench = Bench::with(Side::Server, &WsLimits::default(), true);
            bytes.chunks(size).for_each(|piece| bench.feed(piece));
            assert_eq!(bench.read, expect, "by {size}");
        }
    }
}

#[test]
fn an_idle_reader_has_no_memory() {
    let mut bench = Bench::new(Side::Server);
    for piece in masked(0x82, &[1; 60_000]).chunks(1000) {
        bench.feed(piece);
    }
    assert_eq!(bench.read, [Read::Binary(vec![1; 60_000])]);
    assert!(bench.reader.buffered() <= KEEP_BYTES_MAX);
}

/// Frames as a peer may send them, and what they mean.
fn script() -> impl Strategy<Value = (Vec<u8>, Vec<Read>)> {
    let key = any::<[u8; 4]>();
    let message = (any::<bool>(), "[a-z가-힣😀]{0,60}", proptest::collection::vec(0usize..200, 0..4), any::<bool>());
    proptest::collection::vec((key, message), 0..8).prop_map(|parts| {
        let (mut bytes, mut reads) = (Vec::new(), Vec::new());
        for (key, (is_text, text, cuts, pings)) in parts {
            let (mut rest, mut first) = (text.as_bytes(), if is_text { 1 } else { 2 });
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                bytes.extend(frame(first, Some(key), piece));
                if pings {
                    bytes.extend(frame(0x89, Some(key), piece.get(..100).unwrap_or(piece)));
                    reads.push(Read::Ping(piece.get(..100).unwrap_or(piece).to_vec()));
                }
                (rest, first) = (after, 0);
            }
            bytes.extend(frame(first | 0x80, Some(key), rest));
            reads.push(if is_text { Read::Text(text) } else { Read::Binary(text.into_bytes()) });
        }
        (bytes, reads)
    })
}

proptest! {
    #[test]
    fn any_cut_reads_the_same((bytes, reads) in script(), cuts in proptest::collection::vec(1usize..50, 1..30)) {
        let mut bench = Bench::new(Side::Server);
        let (mut rest, mut cuts) = (bytes.as_slice(), cuts.iter().cycle());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            bench.feed(piece);
            rest = after;
        }
        prop_assert_eq!(bench.read, reads);
    }
    #[test]
    fn any_bytes_read_the_same_whole_and_in_pieces(
        bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(0x81), Just(0x80), Just(0x01)], 0..200),
        size in 1usize..20,
        deflates: bool,
    ) {
        let run = |size| {
            let mut bench = Bench::with(Side::Server, &WsLimits::smallest(), deflates);
            bytes.chunks(size).for_each(|piece| bench.feed(piece));
            bench.read
        };
        prop_assert_eq!(run(size), run(usize::MAX));
    }
    #[test]
    fn headers_are_read_as_they_were_written(len: u32, fin: bool, key: [u8; 4], number in 0usize..3) {
        let opcode = [Opcode::Text, Opcode::Binary, Opcode::Continuation][number];
        let header = Header { fin, compressed: false, opcode, key: Some(key), len: u64::from(len) };
        let mut bytes = Vec::new();
        header.write(&mut bytes);
        prop_assert_eq!(Header::read(&bytes, Side::Server, false), Ok(Some((header, bytes.len()))));
        prop_assert_eq!(Header::read(&bytes[..bytes.len() - 1], Side::Server, false), Ok(None));
    }
    #[test]
    fn masks_are_their_own_inverse(text in proptest::collection::vec(any::<u8>(), 0..100), key: [u8; 4], cut in 0usize..100) {
        let mut bytes = text.clone();
        let cut = cut.min(bytes.len());
        mask(&mut bytes[..cut], key, 0);
        mask(&mut bytes[cut..], key, cut);
        for (at, byte) in bytes.iter().enumerate() {
            prop_assert_eq!(*byte, text[at] ^ key[at % 4]);
        }
    }
}
