//! Parsers: what they take means one thing, however it came.
use sotong_http::{HttpLimits, Request, Scanner};
use sotong_irc::{Encoder, Message};
use sotong_layers::proxy::{PROXY_BYTES_MAX, is_proxy_line, read_proxy_header};

/// Each line is a message or not, and a message that is written again reads as the same.
pub fn irc_message(data: &[u8]) {
    for line in data.split(|byte| *byte == b'\n') {
        let Ok(message) = Message::parse(line) else { continue };
        assert!(!message.command.is_empty() && message.params().len() <= 15);
        for part in message.params().iter().copied().chain([message.command]).chain(message.source) {
            assert!(!part.contains(['\r', '\n', '\0']));
        }
        // At the front of a line that would be tags.
        if message.command.starts_with('@') {
            continue;
        }
        let mut again = Vec::new();
        let mut encoder = Encoder::new(&mut again);
        if let Some(source) = message.source {
            encoder = encoder.source(source);
        }
        encoder = encoder.word(message.command);
        if let Some((last, words)) = message.params().split_last() {
            encoder = words.iter().fold(encoder, sotong_irc::Encoder::word).text(last);
        }
        encoder.end();
        assert!(again.len() <= 512 && again.ends_with(b"\r\n"));
        let Ok(read) = Message::parse(again.strip_suffix(b"\n").unwrap_or(&again)) else {
            panic!("{:?} is no message", again.escape_ascii().to_string())
        };
        // A source or a word that cannot stand there was made another; without one the two are equal.
        let is_plain = |word: &&str| !word.is_empty() && !word.starts_with(':');
        let words = message.params().split_last().map_or(&[][..], |(_, words)| words);
        let is_plain = words.iter().all(is_plain) && is_plain(&message.command) && message.source != Some("");
        // A source less fits into the line than a client may send.
        if is_plain && again.len() < 512 {
            assert_eq!((read.source, read.command, read.params()), (message.source, message.command, message.params()));
        }
    }
}

/// A head is found at the same place and read in the same way, however its bytes came.
pub fn http_head(data: &[u8]) {
    let limits = HttpLimits::smallest();
    let whole = Scanner::default().scan(data, &limits);
    let mut by_bytes = Scanner::default();
    let pieces = (1..=data.len()).find_map(|end| match by_bytes.scan(&data[..end], &limits) {
        Ok(None) => None,
        found => Some(found),
    });
    // Of several faults another may show first.
    let pieces = pieces.unwrap_or(Ok(None)).map_err(drop);
    assert_eq!(pieces, whole.map_err(drop), "{:?}", data.escape_ascii().to_string());
    let Ok(Some(end)) = whole else { return };
    assert!(end <= data.len());
    if let Ok(request) = Request::parse(&data[..end], &limits) {
        for (name, value) in request.fields() {
            assert!(!name.is_empty() && !value.contains(&b'\r') && !value.contains(&b'\n') && !value.contains(&0));
        }
        assert!(request.one("host").is_none() || request.all("host").count() == 1);
        let _ = (request.path_and_query(), request.framing(), request.keeps_alive(), request.expects_continue());
    }
}

/// A header is not longer than what came, and what is more than a header changes nothing.
pub fn proxy(data: &[u8]) {
    let _ = is_proxy_line(data);
    match read_proxy_header(data) {
        Ok(Some(header)) => {
            assert!(header.len <= data.len() && header.len <= PROXY_BYTES_MAX);
            let alone = read_proxy_header(&data[..header.len]);
            assert_eq!(alone.map(|header| header.map(|header| header.len)), Ok(Some(header.len)));
            for end in 0..header.len {
                assert!(matches!(read_proxy_header(&data[..end]), Ok(None)), "{end} bytes of it are no header");
            }
        }
        Ok(None) => assert!(data.len() <= PROXY_BYTES_MAX, "that much is no header yet"),
        Err(_) => {}
    }
}
