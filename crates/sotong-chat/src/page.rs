//! What is answered to browsers.
use crate::{Chat, client::Client, entrance::Timed, news::Mail};
use sotong_http::{
    App, Fields, Method, Name, Next, Reply, Request, Status,
    ws::{Origins, ServerOptions, WebSocket, asks_upgrade},
};
use sotong_session::Stream;
use std::sync::Arc;

/// One plain document, which says how to join; whether the server is well; and WebSocket, for those who ask for it at any path.
pub(crate) struct Page {
    chat: Arc<Chat>,
}

impl Page {
    pub(crate) fn new(chat: &Arc<Chat>) -> Self {
        Self { chat: Arc::clone(chat) }
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
    fn upgrade(&mut self) -> Option<Box<dyn Stream<Mail = Mail>>> {
        Some(web_socket(&self.chat))
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
}
