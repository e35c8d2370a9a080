//! The client's side of the opening handshake (RFC 6455 §4.1).
use super::{
    Speech, WsLimits,
    accept::{accept, base64},
    extension,
    server::{Agreed, has_word},
};
use crate::head::{is_text, is_token, trim};
use memchr::memmem;
use sotong_session::{Close, WsFacts};

/// How a client asks for a WebSocket.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The server's name and port, as the request's `Host` has them.
    host: Box<str>,
    /// Path and query.
    target: Box<str>,
    /// More header lines of the request, each with its end.
    extra: String,
    /// Subprotocols that are offered, the best first.
    protocols: Vec<Box<str>>,
    /// What messages are.
    pub speech: Speech,
    /// Whether compression is offered (RFC 7692): off.
    pub deflate: bool,
    /// What the connection may cost.
    pub limits: WsLimits,
}

/// A text that cannot stand in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotARequest {
    /// A host with characters that none has.
    #[error("the host has a character that no host has")]
    Host,
    /// A target that does not begin with `/`, or has spaces, control characters or a fragment.
    #[error("the path has a character that no path has")]
    Target,
    /// A header field that is none, or one that is the handshake's own.
    #[error("that is no header field that can be sent")]
    Field,
    /// A subprotocol that is no token.
    #[error("that is no subprotocol")]
    Protocol,
}

impl ClientOptions {
    /// A request for `target` at `host`.
    ///
    /// # Errors
    /// [`NotARequest::Host`] and [`NotARequest::Target`].
    pub fn new(host: &str, target: &str) -> Result<Self, NotARequest> {
        let is_visible = |byte: u8| byte > b' ' && byte != 0x7f;
        if host.is_empty() || !host.bytes().all(|byte| is_visible(byte) && !b"/?#@".contains(&byte)) {
            return Err(NotARequest::Host);
        }
        if !target.starts_with('/') || !target.bytes().all(|byte| is_visible(byte) && byte != b'#') {
            return Err(NotARequest::Target);
        }
        Ok(Self {
            host: host.into(),
            target: target.into(),
            extra: String::new(),
            protocols: Vec::new(),
            speech: Speech::AS_HEARD,
            deflate: false,
            limits: WsLimits::default(),
        })
    }
    /// Adds a header field, as `Origin` or `Authorization`.
    ///
    /// # Errors
    /// [`NotARequest::Field`].
    pub fn field(&mut self, name: &str, value: &str) -> Result<(), NotARequest> {
        let own = ["host", "upgrade", "connection", "content-length", "transfer-encoding"];
        let lower = name.to_ascii_lowercase();
        let is_own = own.contains(&lower.as_str()) || lower.starts_with("sec-websocket-");
        let is_name = !name.is_empty() && name.bytes().all(is_token);
        if is_own || !is_name || !value.bytes().all(is_text) {
            return Err(NotARequest::Field);
        }
        self.extra.extend([name, ": ", value.trim(), "\r\n"]);
        Ok(())
    }
    /// Offers a subprotocol, after those before it.
    ///
    /// # Errors
    /// [`NotARequest::Protocol`].
    pub fn offer(&mut self, protocol: &str) -> Result<(), NotARequest> {
        if protocol.is_empty() || !protocol.bytes().all(is_token) || self.protocols.iter().any(|has| **has == *protocol)
        {
            return Err(NotARequest::Protocol);
        }
        self.protocols.push(protocol.into());
        Ok(())
    }

    /// Writes the request with a nonce as its key, and says how the answer must accept it.
    pub(super) fn write(&self, nonce: [u8; 16], to: &mut Vec<u8>) -> String {
        let key = base64(&nonce);
        let Self { host, target, extra, .. } = self;
        let mut text = format!(
            "GET {target} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{extra}"
        );
        if !self.protocols.is_empty() {
            text.extend(["Sec-WebSocket-Protocol: ", &self.protocols.join(", "), "\r\n"]);
        }
        if self.deflate {
            text.extend(["Sec-WebSocket-Extensions: ", extension::OFFER, "\r\n"]);
        }
        text.push_str("\r\n");
        to.extend_from_slice(text.as_bytes());
        accept(key.as_bytes())
    }
    /// Judges the answer at the front of `bytes`: what was agreed on and the length of its head; `None` while it is not all
    /// there. `seen` bytes have been looked at before.
    pub(super) fn judge(&self, bytes: &[u8], seen: usize, accepts: &str) -> Result<Option<(Agreed, usize)>, Close> {
        let start = bytes.len().min(5);
        if bytes[..start] != b"HTTP/"[..start] {
            return Err(broken("the server does not speak HTTP"));
        }
        let from = seen.saturating_sub(3);
        let most = self.limits.head.head_bytes_max;
        let Some(end) = memmem::find(&bytes[from..], b"\r\n\r\n").map(|at| from + at + 4).filter(|end| *end <= most)
        else {
            return if bytes.len() >= most { Err(Close::Limit("head_bytes_max")) } else { Ok(None) };
        };
        let answer = Answer::parse(&bytes[..end - 2])?;
        answer.check(self, accepts).map(|agreed| Some((agreed, end)))
    }
}

fn broken(how: &'static str) -> Close {
    Close::Protocol(format!("WebSocket: {how}").into())
}

/// The head of an answer.
struct Answer<'a> {
    status: &'a [u8],
    fields: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Answer<'a> {
    /// Reads a head, whose lines all end by CRLF.
    fn parse(head: &'a [u8]) -> Result<Self, Close> {
        let mut lines = head.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let malformed = || broken("the server's answer is malformed");
        let mut line = || match lines.next() {
            Some(line) => line.strip_suffix(b"\r").ok_or_else(malformed).map(Some),
            None => Ok(None),
        };
        let first = line()?.ok_or_else(malformed)?;
        let status = first.strip_prefix(b"HTTP/1.1 ").ok_or_else(|| broken("the server does not speak HTTP/1.1"))?;
        let is_status = status.len() >= 3 && status[..3].iter().all(u8::is_ascii_digit);
        if !is_status || !matches!(status.get(3), None | Some(b' ')) || !status.iter().all(|byte| is_text(*byte)) {
            return Err(malformed());
        }
        let mut fields = Vec::new();
        while let Some(line) = line()? {
            let colon = line.iter().position(|byte| !is_token(*byte)).ok_or_else(malformed)?;
            let value = trim(&line[colon + 1..]);
            if colon == 0 || line[colon] != b':' || !value.iter().all(|byte| is_text(*byte)) {
                return Err(malformed());
            }
            fields.push((&line[..colon], value));
        }
        Ok(Self { status, fields })
    }
    fn all<'r>(&'r self, name: &'r str) -> impl Iterator<Item = &'a [u8]> + 'r {
        self.fields.iter().filter(|(is, _)| is.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| *value)
    }
    /// The only field of a name; `Err` where it stands twice.
    fn one(&self, name: &str) -> Result<Option<&'a [u8]>, ()> {
        let mut all = self.all(name);
        let first = all.next();
        if all.next().is_some() { Err(()) } else { Ok(first) }
    }
    /// RFC 6455 §4.1, the client's list of what an answer must have.
    fn check(&self, options: &ClientOptions, accepts: &str) -> Result<Agreed, Close> {
        if &self.status[..3] != b"101" {
            let status = String::from_utf8_lossy(&self.status[..self.status.len().min(80)]);
            return Err(Close::Protocol(format!("WebSocket: the server answered {}", status.trim_end()).into()));
        }
        if !has_word(self.all("upgrade"), b"websocket") || !has_word(self.all("connection"), b"upgrade") {
            return Err(broken("the server switched to something other than WebSocket"));
        }
        if self.one("sec-websocket-accept") != Ok(Some(accepts.as_bytes())) {
            return Err(broken("Sec-WebSocket-Accept does not answer our key"));
        }
        let chosen = match self.one("sec-websocket-protocol") {
            Ok(None) => None,
            Ok(Some(name)) => match options.protocols.iter().find(|offer| offer.as_bytes() == name) {
                Some(offer) => Some(offer.clone()),
                None => return Err(broken("the server chose a subprotocol that was not offered")),
            },
            Err(()) => return Err(broken("the server chose more than one subprotocol")),
        };
        let deflates = match self.one("sec-websocket-extensions") {
            Ok(None) => false,
            Ok(Some(answer)) if options.deflate && extension::is_acceptable_answer(answer) => true,
            _ => return Err(broken("the server chose an extension that was not offered")),
        };
        let facts = WsFacts { subprotocol: chosen, target: options.target.clone(), origin: None };
        Ok(Agreed { speech: options.speech, deflates, facts })
    }
}
