//! What is answered to browsers.
use crate::{Chat, Visit, client::Client, entrance::Timed, news::Mail};
use sotong_http::{
    App, Fields, Method, Name, Next, Reply, Request, Status,
    ws::{Origins, ServerOptions, WebSocket, asks_upgrade},
};
use sotong_session::{End, Stream, Way};
use std::{borrow::Cow, sync::Arc};

/// One plain document, which says how to join; whether the server is well; and WebSocket, for those who ask for it at any path.
pub(crate) struct Page {
    chat: Arc<Chat>,
    came: Came,
}

/// How a browser has come.
#[derive(Debug, Default)]
struct Came {
    listener: u16,
    is_tls: bool,
    is_proxied: bool,
    /// Our own address, and its port.
    at: Option<(Box<str>, u16)>,
}

/// What proxies put into a request (RFC 7239, RFC 9110 §7.6.3, and what came before these).
const PROXIES: [&str; 4] = ["forwarded", "x-forwarded-for", "x-forwarded-proto", "via"];

impl Page {
    pub(crate) fn new(chat: &Arc<Chat>) -> Self {
        Self { chat: Arc::clone(chat), came: Came::default() }
    }
    /// How to join, for whoever asks from where he has come.
    fn ways(&self, request: &Request<'_>) -> String {
        let Came { listener, is_tls, is_proxied, at } = &self.came;
        let usual = if *is_tls { 443 } else { 80 };
        let (host, port) = match (request.host().and_then(place), at) {
            (Some((host, port)), _) => (Cow::Borrowed(host), port.unwrap_or(usual)),
            (None, Some((ip, port))) => (Cow::Borrowed(&**ip), *port),
            (None, None) => (Cow::Borrowed("localhost"), usual),
        };
        let is_proxied = *is_proxied || PROXIES.iter().any(|name| request.all(name).next().is_some());
        let mut text = self.chat.options().ways.tell(&Visit { listener: *listener, host: &host, port, is_proxied });
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text
    }
}

/// An IRC client over WebSocket: each line is a message, without its end.
pub(crate) fn web_socket(chat: &Arc<Chat>) -> Box<dyn Stream<Mail = Mail>> {
    let allowed = &chat.options().allowed_origins;
    let origins = match allowed.iter().any(|origin| **origin == *"*") {
        true => Origins::Any,
        false if allowed.is_empty() => Origins::Own,
        false => Origins::Listed(allowed.as_slice().into()),
    };
    let options = chat.options();
    let (limits, deflate) = (options.limits.websocket, options.limits.websocket_deflate);
    let options = ServerOptions { origins, deflate, limits, ..ServerOptions::irc() };
    Box::new(Timed::new(
        "websocket_handshake_time",
        WebSocket::server(Client::new(Arc::clone(chat)), Arc::new(options)),
    ))
}

impl App for Page {
    type Mail = Mail;
    fn open(&mut self, way: &Way) {
        let at = match &way.local {
            End::Net(address) => Some((address.ip().to_canonical().to_string().into(), address.port())),
            End::Unix { .. } | End::Pipe | End::Simulated(_) => None,
        };
        let (is_tls, is_proxied) = (way.tls.is_some(), way.through.is_some());
        self.came = Came { listener: way.listener, is_tls, is_proxied, at };
    }
    fn request(&mut self, request: &Request<'_>, reply: &mut Reply<'_, '_, Mail>) -> Next {
        if asks_upgrade(request) {
            return Next::Upgrade;
        }
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
            Some(b"/") => reply.whole(Status::OK, &[&plain], self.ways(request).as_bytes()),
            Some(b"/healthz") => reply.whole(Status::OK, &[&plain], b"ok\n"),
            _ => reply.whole(Status::NOT_FOUND, &[&plain], b"There is nothing here. GET / says how to join.\n"),
        }
    }
    fn upgrade(&mut self) -> Option<Box<dyn Stream<Mail = Mail>>> {
        Some(web_socket(&self.chat))
    }
    fn body_end(&mut self, _: &mut Reply<'_, '_, Mail>) -> Next {
        Next::Break
    }
}

/// Host and port that a browser came to, where they are no more than that: they are shown in commands to be copied.
fn place(host: &[u8]) -> Option<(&str, Option<u16>)> {
    let text = std::str::from_utf8(host).ok()?;
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(digits) => Some(digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))?),
        None if port.is_empty() => None,
        None => return None,
    };
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':');
    let fits = !host.is_empty() && host.bytes().all(is_host) && !host.starts_with('-');
    fits.then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_browser_came_to() {
        assert_eq!(place(b"127.0.0.1:8888"), Some(("127.0.0.1", Some(8888))));
        assert_eq!(place(b"[::1]:8888"), Some(("::1", Some(8888))));
        assert_eq!(place(b"[::1]"), Some(("::1", None)));
        assert_eq!(place(b"localhost"), Some(("localhost", None)));
        for bad in [
            &b"a b:1"[..],
            b"x;rm:1",
            b"x:70000",
            b"x:+1",
            b"x:",
            b"",
            b":1",
            b"::1",
            b"[::1",
            b"[::1]1",
            b"-oX:1",
            b"$(x)",
        ] {
            assert_eq!(place(bad), None, "{}", String::from_utf8_lossy(bad));
        }
    }
}
