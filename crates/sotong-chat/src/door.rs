//! The front door: who speaks what, told by the first bytes.
use crate::{Chat, client::Client, news::Mail, text::person};
use sotong_http::{App, Fields, Http, HttpLimits, Method, Name, Next, Reply, Request, Status};
use sotong_layers::{Choice, Chooser};
use sotong_session::{Close, Cx, Event, Session, Stream, Wants};
use std::sync::Arc;

/// Chooses between IRC, HTTP and a person with a terminal.
pub(crate) struct Door {
    pub(crate) chat: Arc<Chat>,
}

/// What an IRC client begins with; a tag or a source as well.
const IRC: [&str; 8] = ["CAP", "NICK", "USER", "PASS", "WEBIRC", "AUTHENTICATE", "PING", "QUIT"];
const HTTP: [&str; 9] = ["GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE", "PATCH", "CONNECT", "TRACE"];
/// The content type of a TLS handshake record, and the alert that answers it where there is no TLS.
const HANDSHAKE: u8 = 0x16;
const NO_TLS: [u8; 7] = [0x15, 3, 1, 0, 2, 2, 40];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    Irc,
    Http,
    Text,
    Tls,
    Unknown,
}

fn speaks(first: &[u8]) -> Speaks {
    match first[0] {
        b'@' | b':' => return Speaks::Irc,
        HANDSHAKE => return Speaks::Tls,
        _ => {}
    }
    let end = first.iter().position(|byte| matches!(byte, b' ' | b'\r' | b'\n'));
    let word = &first[..end.unwrap_or(first.len())];
    let among = |words: &[&str], ignores_case: bool| {
        let fits = |known: &&str| {
            let known = known.as_bytes();
            let known = if end.is_some() { known } else { known.get(..word.len()).unwrap_or(b"") };
            if ignores_case { known.eq_ignore_ascii_case(word) } else { known == word }
        };
        words.iter().any(fits)
    };
    match (among(&IRC, true), among(&HTTP, false), end) {
        (false, false, _) => Speaks::Text,
        (_, _, None) => Speaks::Unknown,
        // Methods are written in capitals, with a target behind them: whoever types `get` is a person.
        (_, true, Some(end)) if first[end] == b' ' => Speaks::Http,
        (true, _, Some(_)) => Speaks::Irc,
        (false, true, Some(_)) => Speaks::Text,
    }
}

impl Door {
    /// For those who speak HTTP.
    pub(crate) fn web(&self) -> Box<dyn Stream<Mail = Mail>> {
        let page = Page { chat: Arc::clone(&self.chat) };
        Box::new(Http::new(page, HttpLimits::default()))
    }
}

impl Chooser for Door {
    type Mail = Mail;
    fn choose(&self, first: &[u8]) -> Choice<Mail> {
        match speaks(first) {
            Speaks::Irc => Choice::Chosen(Box::new(Client::new(Arc::clone(&self.chat)))),
            Speaks::Http => Choice::Chosen(self.web()),
            Speaks::Text => Choice::Chosen(self.silent()),
            Speaks::Tls => Choice::Chosen(Box::new(NoTls)),
            Speaks::Unknown => Choice::NeedMore,
        }
    }
    fn silent(&self) -> Box<dyn Stream<Mail = Mail>> {
        Box::new(person(Arc::clone(&self.chat)))
    }
}

/// Tells a TLS client that there is no TLS here.
struct NoTls;

impl Session for NoTls {
    type Mail = Mail;
    fn handle(&mut self, event: Event<'_, Mail>, cx: &mut Cx<'_, Mail>) -> Result<(), Close> {
        match event {
            Event::Open(_) => {
                cx.out.put(&NO_TLS);
                Err(Close::Protocol("TLS where none is spoken".into()))
            }
            Event::Stop => Err(Close::Stop),
            Event::Input(_)
            | Event::Again
            | Event::End
            | Event::Mail(_)
            | Event::Deadline
            | Event::Drained
            | Event::Gone(_) => Ok(()),
        }
    }
    fn wants(&self) -> Wants {
        Wants::INPUT
    }
}
impl Stream for NoTls {}

/// One plain document, which says how to join, and whether the server is well.
struct Page {
    chat: Arc<Chat>,
}

impl App for Page {
    type Mail = Mail;
    fn request(&mut self, request: &Request<'_>, reply: &mut Reply<'_, '_, Mail>) -> Next {
        let plain = Fields::new().with(Name::CONTENT_TYPE, "text/plain; charset=utf-8");
        let plain = plain.with(Name::CONTENT_TYPE_OPTIONS, "nosniff");
        if !matches!(request.method(), Method::Get | Method::Head) {
            let allow = Fields::new().with(Name::ALLOW, "GET, HEAD");
            reply.close_after();
            return reply.whole(
                Status::METHOD_NOT_ALLOWED,
                &[&plain, &allow],
                b"This is a chat. GET / says how to join.\n",
            );
        }
        match request.path_and_query().map(|(path, _)| path) {
            Some(b"/") => {
                let (host, port) = request.host().and_then(place).unwrap_or(("HOST", "PORT"));
                let mut text = self.chat.options().ways.join("\n").replace("{host}", host).replace("{port}", port);
                text.push('\n');
                reply.whole(Status::OK, &[&plain], text.as_bytes())
            }
            Some(b"/healthz") => reply.whole(Status::OK, &[&plain], b"ok\n"),
            _ => reply.whole(Status::NOT_FOUND, &[&plain], b"There is nothing here. GET / says how to join.\n"),
        }
    }
    fn body_end(&mut self, _: &mut Reply<'_, '_, Mail>) -> Next {
        Next::Break
    }
}

/// Host and port that a browser came to, where they are no more than that.
fn place(host: &[u8]) -> Option<(&str, &str)> {
    let (host, port) = std::str::from_utf8(host).ok()?.rsplit_once(':')?;
    let host = host.trim_matches(['[', ']']);
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':');
    let fits = !host.is_empty() && host.bytes().all(is_host) && port.bytes().all(|byte| byte.is_ascii_digit());
    fits.then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_browser_came_to() {
        assert_eq!(place(b"127.0.0.1:8888"), Some(("127.0.0.1", "8888")));
        assert_eq!(place(b"[::1]:8888"), Some(("::1", "8888")));
        assert_eq!(place(b"localhost"), None);
        assert_eq!(place(b"a b:1"), None);
        assert_eq!(place(b"x;rm:1"), None);
    }

    #[test]
    fn told_by_the_first_bytes() {
        for (first, expect) in [
            ("NICK bob\r\n", Speaks::Irc),
            ("cap ls", Speaks::Irc),
            ("@a=b NICK x", Speaks::Irc),
            (":me NICK x", Speaks::Irc),
            ("PING\n", Speaks::Irc),
            ("GET / HTTP/1.1", Speaks::Http),
            ("POST / HTTP/1.1", Speaks::Http),
            ("민수\n", Speaks::Text),
            ("get / HTTP", Speaks::Text),
            ("GET\n", Speaks::Text),
            ("\n", Speaks::Text),
            ("/quit\n", Speaks::Text),
            ("N", Speaks::Unknown),
            ("P", Speaks::Unknown),
            ("NICK", Speaks::Unknown),
            ("NICKY", Speaks::Text),
            ("\u{16}\u{3}", Speaks::Tls),
        ] {
            assert_eq!(speaks(first.as_bytes()), expect, "{first:?}");
        }
    }
}
