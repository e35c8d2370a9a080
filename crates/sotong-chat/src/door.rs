//! The front door: who speaks what, told by the first bytes.
use crate::{
    ListenerKind,
    entrance::{Entry, Refusal, Tls, refused},
    news::Mail,
};
use sotong_layers::{Choice, Chooser, proxy::is_proxy_line};
use sotong_session::{Close, Cx, Event, Session, Stream, Wants, Way};

/// Chooses between IRC, HTTP, TLS and a person with a terminal, as far as the listener takes them.
pub(crate) struct Door {
    entry: Entry,
    /// Who comes, where he may begin by saying whom he brings.
    proxy: Option<Box<Way>>,
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
    pub(crate) fn new(entry: Entry, proxy: Option<&Way>) -> Self {
        Self { entry, proxy: proxy.cloned().map(Box::new) }
    }
    /// Somebody who brings nobody is counted himself.
    fn let_in(&self, session: Box<dyn Stream<Mail = Mail>>, refusal: Refusal) -> Box<dyn Stream<Mail = Mail>> {
        match &self.proxy {
            Some(way) => Box::new(self.entry.count(way, session, refusal)),
            None => session,
        }
    }
    fn secured(&self) -> Box<dyn Stream<Mail = Mail>> {
        match self.entry.tls() {
            Tls::Nobody => Box::new(Last::new(&NO_TLS, Close::Protocol("TLS where none is spoken".into()))),
            Tls::Some(secure) | Tls::All(secure) => self.entry.secured(secure).unwrap_or_else(refused),
        }
    }
    fn choose_among_plain(&self, speaks: Speaks) -> Choice<Mail> {
        let (session, refusal): (Box<dyn Stream<Mail = Mail>>, _) = match (self.entry.kind(), speaks) {
            (ListenerKind::Web | ListenerKind::WebSocket, _) | (ListenerKind::Auto, Speaks::Http) => {
                (self.entry.web(), Refusal::Http)
            }
            (_, Speaks::Unknown) => return Choice::NeedMore,
            // A page can make a browser send a form to any port: nothing of it is taken for a command.
            (ListenerKind::Irc | ListenerKind::Text, Speaks::Http) => {
                let why = Close::Protocol("HTTP where none is spoken".into());
                (Box::new(Last::new(NO_HTTP.as_bytes(), why)), Refusal::Http)
            }
            (ListenerKind::Irc, _) | (ListenerKind::Auto, Speaks::Irc) => (self.entry.client(), Refusal::Irc),
            (ListenerKind::Text | ListenerKind::Auto, _) => (Box::new(self.entry.person()), Refusal::Irc),
        };
        Choice::Chosen(self.let_in(session, refusal))
    }
}

impl Chooser for Door {
    type Mail = Mail;
    fn choose(&self, first: &[u8]) -> Choice<Mail> {
        if self.proxy.is_some() {
            match is_proxy_line(first) {
                None => return Choice::NeedMore,
                Some(true) => return Choice::Chosen(self.entry.clone().proxied()),
                Some(false) => {}
            }
        }
        match (self.entry.tls(), speaks(first)) {
            // Whoever does not speak it is told so by its layer.
            (Tls::All(_), _) | (Tls::Some(_), Speaks::Tls) => {
                Choice::Chosen(self.let_in(self.secured(), Refusal::Silent))
            }
            (Tls::Nobody, Speaks::Tls) => Choice::Chosen(self.let_in(self.secured(), Refusal::Silent)),
            (_, speaks) => self.choose_among_plain(speaks),
        }
    }
    fn silent(&self) -> Box<dyn Stream<Mail = Mail>> {
        let (session, refusal): (Box<dyn Stream<Mail = Mail>>, _) = match (self.entry.tls(), self.entry.kind()) {
            (Tls::All(_), _) => (self.secured(), Refusal::Silent),
            (_, ListenerKind::Auto | ListenerKind::Text) => (Box::new(self.entry.person()), Refusal::Irc),
            (_, ListenerKind::Irc) => (self.entry.client(), Refusal::Irc),
            (_, ListenerKind::Web | ListenerKind::WebSocket) => (self.entry.web(), Refusal::Http),
        };
        self.let_in(session, refusal)
    }
}

const NO_HTTP: &str = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 30\r\n\
     Connection: close\r\n\r\nNo HTTP is spoken at this port";

/// Says one last thing and ends.
pub(crate) struct Last {
    says: &'static [u8],
    why: Close,
}

impl Last {
    pub(crate) fn new(says: &'static [u8], why: Close) -> Self {
        Self { says, why }
    }
}

impl Session for Last {
    type Mail = Mail;
    fn handle(&mut self, event: Event<'_, Mail>, cx: &mut Cx<'_, Mail>) -> Result<(), Close> {
        match event {
            Event::Open(_) => {
                cx.out.put(self.says);
                Err(self.why.clone())
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
impl Stream for Last {}

#[cfg(test)]
mod tests {
    use super::*;

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
