//! What the tests share: an application that sends back what it gets, and answers read the way a strict client does.
#![allow(dead_code, reason = "each test is a program of its own and uses a part")]
use sotong_http::{App, Fields, Http, HttpLimits, Name, Next, Reply, Request, Status};
use sotong_session::{Close, Session, Stream, rig::Rig};
use std::convert::Infallible;

/// Sends back what it gets, by any method.
#[derive(Debug, Default)]
pub(crate) struct Echo {
    body: Vec<u8>,
}

impl App for Echo {
    type Mail = Infallible;

    fn request(&mut self, _: &Request<'_>, _: &mut Reply<'_, '_, Infallible>) -> Next {
        self.body.clear();
        Next::Take(1 << 10)
    }
    fn body(&mut self, bytes: &[u8], _: &mut Reply<'_, '_, Infallible>) -> Next {
        self.body.extend_from_slice(bytes);
        Next::Body
    }
    fn body_end(&mut self, reply: &mut Reply<'_, '_, Infallible>) -> Next {
        let fields = Fields::new().with(Name::CONTENT_TYPE, "text/plain");
        reply.whole(Status::OK, &[&fields], &self.body)
    }
}

pub(crate) fn echo() -> Rig<Http<Echo>> {
    let mut rig = Rig::stream(Http::new(Echo::default(), HttpLimits::default()));
    rig.open();
    rig
}

/// An answer as a client reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (is, value) = line.split_once(": ")?;
            is.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// Reads answers one after the other; `bodiless` are those without a body in spite of a length, as to HEAD.
///
/// # Panics
/// They are not answers, whole, each as long as it says.
pub(crate) fn answers(mut bytes: &[u8], bodiless: &[usize]) -> Vec<Answer> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let end = bytes.windows(4).position(|part| part == b"\r\n\r\n").expect("a whole head") + 4;
        let head = String::from_utf8(bytes[..end].to_vec()).expect("a head is text");
        assert!(!head.replace("\r\n", "").contains(['\r', '\n', '\0']), "lines end once: {head:?}");
        let status = head.strip_prefix("HTTP/1.1 ").expect("a status line")[..3].parse().expect("a status");
        let mut answer = Answer { status, head, body: Vec::new() };
        bytes = &bytes[end..];
        let length: usize = answer.field("content-length").map_or(0, |length| length.parse().expect("a length"));
        let has_body = status != 304 && !bodiless.contains(&all.len());
        if has_body {
            assert!(bytes.len() >= length, "a whole body: {answer:?}");
            answer.body = bytes[..length].to_vec();
            bytes = &bytes[length..];
        }
        all.push(answer);
    }
    all
}

/// Everything that comes of `input`, however it is cut.
pub(crate) fn play<S: Session + Stream>(
    mut rig: Rig<S>,
    input: &[u8],
    cut: impl FnMut() -> usize,
) -> (Vec<u8>, Option<Close>) {
    let (mut rest, mut cut, mut sent) = (input, cut, Vec::new());
    while !rest.is_empty() {
        let (now, later) = rest.split_at(cut().clamp(1, rest.len()));
        rig.input(now);
        sent.extend_from_slice(&rig.sent());
        rest = later;
    }
    sent.extend_from_slice(&rig.sent());
    (sent, rig.close().cloned())
}

/// The same cuts in every run.
pub(crate) fn cuts(seed: u64, most: usize) -> impl FnMut() -> usize {
    let mut state = seed | 1;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        1 + (state >> 33) as usize % most
    }
}
