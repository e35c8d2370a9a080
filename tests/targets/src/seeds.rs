//! Inputs to begin with: of the transcripts, and of what the protocols' documents show.
use crate::{chat::SPEAKERS, sockets::client_frame};
use sotong_http::ws::Opcode;
use std::{collections::BTreeMap, fs, path::PathBuf};

/// Inputs for the target of this name, each a good one.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        "chat" => transcripts().iter().map(|text| script(text)).collect(),
        "irc_message" => transcripts().iter().map(|text| lines(text)).collect(),
        "http_head" => HEADS.iter().map(|head| head.as_bytes().to_vec()).collect(),
        "proxy" => proxied(),
        "ws_frames" | "ws_server" | "ws_client" => frames(),
        other => panic!("there is no target {other}"),
    }
}

fn transcripts() -> Vec<String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../transcripts/chat");
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the transcripts are there")
        .map(|file| file.expect("it can be read").path())
        .collect();
    files.sort();
    files.iter().map(|file| fs::read_to_string(file).expect("it is text")).collect()
}

/// A transcript as a script of [`crate::chat()`]: what is said in it, by the first who come.
fn script(text: &str) -> Vec<u8> {
    let mut script = b"0".to_vec();
    let mut people: BTreeMap<&str, u8> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let first = rest.split(' ').next().unwrap_or("");
        match word {
            "+" | "t" | "c" => {
                let number = b'0' + (people.len() % SPEAKERS) as u8;
                people.insert(first, number);
                if word == "+" {
                    let caps = rest.split_once(' ').map_or("", |(_, caps)| caps);
                    let number = char::from(number);
                    script.extend(format!("{number}CAP REQ :{caps}\n{number}NICK {first}\n").bytes());
                    script.extend(format!("{number}USER {first} 0 * :x\n{number}CAP END\n").bytes());
                }
            }
            "~" => script.extend([b't', first.parse::<f64>().map_or(1, |seconds| seconds as u8), b'\n']),
            "-" | "!" => {
                let number = people.get(first).copied().unwrap_or(b'0');
                script.extend([if word == "-" { b'e' } else { b'r' }, number, b'\n']);
            }
            said => {
                let Some(number) = said.strip_suffix('>').and_then(|name| people.get(name)) else { continue };
                script.push(*number);
                script.extend(rest.replace("\\0", "\0").replace("\\1", "\u{1}").bytes());
                script.push(b'\n');
            }
        }
    }
    script
}

/// All that is said and heard in a transcript.
fn lines(text: &str) -> Vec<u8> {
    let words = text.lines().filter_map(|line| line.split_once(' ')).map(|(_, words)| words);
    words.collect::<Vec<_>>().join("\r\n").into_bytes()
}

const HEADS: [&str; 6] = [
    "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
    "POST /a?b=c HTTP/1.1\r\nHost: x:1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
    "HEAD http://example.org/a HTTP/1.0\r\nHost: example.org\r\nConnection: keep-alive\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "GET /chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nOrigin: http://x\r\n\r\n",
    "\r\nGET /%41 HTTP/1.1\r\nhost: [::1]:80\r\nx: \r\ny:\tz \r\n\r\n",
];

fn proxied() -> Vec<Vec<u8>> {
    let mut second = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    second.extend([192, 0, 2, 1, 198, 51, 100, 2, 0x30, 0x39, 0, 80]);
    let mut local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\x07".to_vec();
    local.extend([1, 0, 4, 9, 9, 9, 9]);
    let mut sixth = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24".to_vec();
    sixth.extend([0x20; 36]);
    let first = ["PROXY TCP4 192.0.2.1 198.51.100.2 12345 80\r\n", "PROXY TCP6 2001:db8::1 ::1 1 65535\r\nNICK a\r\n"];
    let unknown = "PROXY UNKNOWN ffff::1 whatever\r\n";
    let texts = first.into_iter().chain([unknown]).map(|text| text.as_bytes().to_vec());
    texts.chain([second, local, sixth]).collect()
}

fn frames() -> Vec<Vec<u8>> {
    let text = client_frame(true, Opcode::Text, "안녕하세요".as_bytes());
    let long = client_frame(true, Opcode::Binary, &[7; 300]);
    let pieces = [
        client_frame(false, Opcode::Text, b"one "),
        client_frame(true, Opcode::Ping, b"?"),
        client_frame(false, Opcode::Continuation, "둘 ".as_bytes()),
        client_frame(true, Opcode::Continuation, b"three"),
    ]
    .concat();
    let close = client_frame(true, Opcode::Close, b"\x03\xe8bye");
    // As a server says it, and compressed (RFC 7692 §7.2.3.1).
    let plain = [&[0x81, 5][..], b"Hello", &[0x89, 0], &[0x88, 2, 3, 0xe8]].concat();
    let compressed = [0xc1, 0x07, 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00].to_vec();
    let parts = [text, long, pieces, close, plain, compressed];
    let all = parts.concat();
    let request = crate::seeds("http_head")[4].clone();
    let bodies: Vec<Vec<u8>> = parts.into_iter().chain([all]).collect();
    // The first byte chooses the side and the size of pieces.
    let with = |first: u8, body: &[u8]| [&[first], body].concat();
    let all = bodies.iter().flat_map(|body| [0, 1, 0x15, 0xfc, 0xfd].map(|first| with(first, body)));
    all.chain([with(2, &request)]).collect()
}

/// Words that turn up in inputs, to be put in anywhere.
const WORDS: [&str; 24] = [
    "\r\n",
    "\n",
    "\0",
    "\u{1}",
    " :",
    ",",
    ",#r,",
    "#r",
    "witness",
    "+b *!*@* ",
    "+ovklbeI-",
    "@label=1;+a=b ",
    "\u{202e}",
    "가",
    "PRIVMSG ",
    "JOIN ",
    "MODE #r ",
    "AUTHENTICATE ",
    "BATCH +1 draft/multiline #r",
    "REGISTER * * ",
    "NS ",
    "CS ",
    "\x7f",
    "99999999999999999999",
];

/// One of `seeds`, changed in some places.
pub fn mutated(seeds: &[Vec<u8>], dice: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = seeds[dice.usize(..seeds.len())].clone();
    for _ in 0..dice.usize(1..12) {
        let at = dice.usize(..=bytes.len());
        match dice.u8(..8) {
            0 if at < bytes.len() => bytes[at] = dice.u8(..),
            1 if at < bytes.len() => bytes[at] ^= 1 << dice.u8(..8),
            2 => bytes.insert(at, dice.u8(..)),
            3 => {
                let word = WORDS[dice.usize(..WORDS.len())];
                bytes.splice(at..at, word.bytes());
            }
            4 => {
                let end = (at + dice.usize(..40)).min(bytes.len());
                bytes.drain(at..end);
            }
            5 => {
                // Lines of another.
                let other = &seeds[dice.usize(..seeds.len())];
                let from = dice.usize(..=other.len());
                let piece = other[from..].split_inclusive(|byte| *byte == b'\n').take(dice.usize(1..5));
                bytes.splice(at..at, piece.flatten().copied().collect::<Vec<u8>>());
            }
            6 => {
                let end = (at + dice.usize(..60)).min(bytes.len());
                let again = bytes[at..end].repeat(dice.usize(1..6));
                bytes.splice(at..at, again);
            }
            _ => {
                let to = dice.usize(..=bytes.len());
                let (from, to) = (at.min(to), at.max(to));
                bytes[from..to].reverse();
            }
        }
        bytes.truncate(16 << 10);
    }
    bytes
}
