//! The server's side of the opening handshake (RFC 6455 §4.2).
use super::{
    Speech, WsLimits,
    accept::{accept, is_key},
    extension,
};
use crate::{Fault, Fields, Framing, Method, Name, Request, Status, Version, app::write_head, head::trim};
use sotong_session::{Close, Cx, Way, WsFacts};
use std::sync::Arc;

/// How a server takes WebSockets.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The one path at which there is a WebSocket, as it is written in a request; `None` for any. Answer to others: 404.
    pub path: Option<Arc<str>>,
    /// Whose pages may connect.
    pub origins: Origins,
    /// The subprotocols that are spoken, and what their messages are. The client's first that is known is taken; who asks
    /// for none that is known gets none.
    pub protocols: Vec<(Box<str>, Speech)>,
    /// What messages are where no subprotocol was agreed on.
    pub speech: Speech,
    /// Whether the session inside speaks lines: each that it says leaves as a message without its end, and no record needs a
    /// cut. What begins with the first byte of a whole frame is one already ([`FRAMED`](super::FRAMED)): who tells many the
    /// same frames it once. Off.
    pub lines: bool,
    /// Whether messages may be compressed (RFC 7692), each on its own: off. A compressed message costs the processor many
    /// times what a plain one does.
    pub deflate: bool,
    /// What one connection may cost.
    pub limits: WsLimits,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            path: None,
            origins: Origins::default(),
            protocols: Vec::new(),
            speech: Speech::AS_HEARD,
            lines: false,
            deflate: false,
            limits: WsLimits::default(),
        }
    }
}

impl ServerOptions {
    /// The subprotocols of IRC, `text.ircv3.net` and `binary.ircv3.net`; text without one. Messages of the other kind are taken,
    /// too: the line in them is judged all the same. For a session of lines.
    pub fn irc() -> Self {
        let (text, binary) = (Speech { takes: None, ..Speech::TEXT }, Speech { takes: None, ..Speech::BINARY });
        let protocols = vec![("text.ircv3.net".into(), text), ("binary.ircv3.net".into(), binary)];
        Self { protocols, speech: text, lines: true, ..Self::default() }
    }
}

/// Whose pages may connect. A browser says from which page it comes, and sends the cookies of its user with it; programs say
/// nothing and are let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origins {
    /// Those of the host that was asked for.
    #[default]
    Own,
    /// Those too that are listed, each as a browser writes it: `https://example.org`, or `null`.
    Listed(Arc<[Box<str>]>),
    /// All.
    Any,
}

impl Origins {
    /// Whether pages of `origin` may connect to `host`.
    pub fn allow(&self, origin: &[u8], host: Option<&[u8]>) -> bool {
        match self {
            Self::Any => true,
            Self::Own => is_own(origin, host),
            Self::Listed(others) => {
                is_own(origin, host) || others.iter().any(|other| origin.eq_ignore_ascii_case(other.as_bytes()))
            }
        }
    }
}

/// Whether an origin is a page of `host`: the same name and port, where the scheme's port may be left out on either side.
fn is_own(origin: &[u8], host: Option<&[u8]>) -> bool {
    let (Some(host), Ok(origin)) = (host, std::str::from_utf8(origin)) else { return false };
    let Some((scheme, place)) = origin.split_once("://") else { return false };
    let usual: &[u8] = match scheme.to_ascii_lowercase().as_str() {
        "http" => b":80",
        "https" => b":443",
        _ => return false,
    };
    let bare = |place: &[u8]| place.strip_suffix(usual).unwrap_or(place).to_ascii_lowercase();
    !place.is_empty() && bare(place.as_bytes()) == bare(host)
}

/// What both sides have agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Agreed {
    pub(super) speech: Speech,
    pub(super) deflates: bool,
    pub(super) facts: WsFacts,
}

/// Why a request is no opening handshake, or is not granted one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It asks for something else.
    #[error("this is a WebSocket: connect with ws:// or wss://")]
    NoUpgrade,
    /// It is of another version than 13.
    #[error("WebSocket version 13 is spoken here")]
    Version,
    /// It is no GET of HTTP/1.1.
    #[error("a WebSocket begins with GET")]
    Method,
    /// It is HTTP/1.0.
    #[error("a WebSocket begins with HTTP/1.1")]
    Http10,
    /// It has a body.
    #[error("a WebSocket's request has no body")]
    Body,
    /// `Sec-WebSocket-Key` is not 16 bytes in base64, once.
    #[error("Sec-WebSocket-Key is malformed")]
    Key,
    /// `Origin` stands there more than once.
    #[error("there is more than one Origin")]
    OriginTwice,
    /// The page that connects is none of those that may.
    #[error("pages of this origin may not connect")]
    Origin,
    /// There is no WebSocket at this path.
    #[error("there is no WebSocket at this path")]
    Path,
}

impl Refusal {
    fn status(self) -> Status {
        match self {
            Self::NoUpgrade | Self::Version => Status::UPGRADE_REQUIRED,
            Self::Method => Status::METHOD_NOT_ALLOWED,
            Self::Http10 | Self::Body | Self::Key | Self::OriginTwice => Status::BAD_REQUEST,
            Self::Origin => Status::FORBIDDEN,
            Self::Path => Status::NOT_FOUND,
        }
    }
    fn fields(self) -> Fields {
        let fields = Fields::new().with(Name::CONTENT_TYPE, "text/plain; charset=utf-8");
        match self {
            Self::NoUpgrade => fields.with(Name::UPGRADE, "websocket").with(Name::CONNECTION, "Upgrade"),
            Self::Version => fields.with(Name::WEBSOCKET_VERSION, "13"),
            Self::Method => fields.with(Name::ALLOW, "GET"),
            _ => fields,
        }
    }
    /// The reason for which the connection ends: whom the service does not let in is counted by the option's name.
    pub(super) fn close(self) -> Close {
        match self {
            Self::Origin => Close::Limit("allowed_origins"),
            other => Close::Protocol(other.to_string().into()),
        }
    }
    /// Writes the answer, after which the connection ends.
    pub(super) fn write(self, seconds: i64, to: &mut Vec<u8>) {
        write_refusal(self.status(), &self.fields(), &self.to_string(), seconds, to);
    }
}

/// Answers what is no request at all, and ends.
pub(super) fn refuse<M>(fault: Fault, cx: &mut Cx<'_, M>) -> Result<(), Close> {
    let seconds = cx.wall.0.div_euclid(1000);
    let fields = Fields::new().with(Name::CONTENT_TYPE, "text/plain; charset=utf-8");
    cx.out.render(|to| write_refusal(fault.status(), &fields, &fault.to_string(), seconds, to));
    Err(match fault {
        Fault::HeadSlow => Close::Idle,
        Fault::HeadLong => Close::Limit("head_bytes_max"),
        Fault::FieldsMany => Close::Limit("fields_max"),
        Fault::TargetLong => Close::Limit("target_bytes_max"),
        other => Close::Protocol(other.to_string().into()),
    })
}
fn write_refusal(status: Status, fields: &Fields, why: &str, seconds: i64, to: &mut Vec<u8>) {
    let text = format!("{}: {why}\n", status.line());
    write_head(to, status, seconds, text.len() as u64, &[fields], (Version::V11, false));
    to.extend_from_slice(text.as_bytes());
}

/// Whether a request asks for a WebSocket, whatever else is wrong with it: for who has other answers on the same port.
pub fn asks_upgrade(request: &Request<'_>) -> bool {
    has_word(request.all("upgrade"), b"websocket") && has_word(request.all("connection"), b"upgrade")
}

/// Whether a list has a word, in any of its fields.
pub(super) fn has_word<'a>(mut values: impl Iterator<Item = &'a [u8]>, word: &[u8]) -> bool {
    values.any(|value| value.split(|byte| *byte == b',').any(|part| trim(part).eq_ignore_ascii_case(word)))
}

/// Judges a request; what was agreed on is written to `to` as the answer.
pub(super) fn answer(
    request: &Request<'_>,
    options: &ServerOptions,
    seconds: i64,
    to: &mut Vec<u8>,
) -> Result<Agreed, Refusal> {
    let key = judge(request, options)?;
    let mut fields = Fields::new().with(Name::UPGRADE, "websocket").with(Name::CONNECTION, "Upgrade");
    fields.put(Name::WEBSOCKET_ACCEPT, &accept(key));
    let chosen = choose(request, options);
    if let Some((name, _)) = chosen {
        fields.put(Name::WEBSOCKET_PROTOCOL, name);
    }
    let deflates = options.deflate && request.all("sec-websocket-extensions").any(extension::is_acceptable_offer);
    if deflates {
        fields.put(Name::WEBSOCKET_EXTENSIONS, extension::AGREED);
    }
    write_head(to, Status::SWITCHING_PROTOCOLS, seconds, 0, &[&fields], (Version::V11, true));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned().into_boxed_str();
    let facts = WsFacts {
        subprotocol: chosen.map(|(name, _)| name.clone()),
        target: text(request.target()),
        origin: request.one("origin").map(text),
    };
    Ok(Agreed { speech: chosen.map_or(options.speech, |(_, speech)| *speech), deflates, facts })
}

/// RFC 6455 §4.2.1. The client's key.
fn judge<'a>(request: &Request<'a>, options: &ServerOptions) -> Result<&'a [u8], Refusal> {
    let path = request.path_and_query().map(|(path, _)| path);
    if options.path.as_ref().is_some_and(|only| path != Some(only.as_bytes())) {
        return Err(Refusal::Path);
    }
    if !asks_upgrade(request) {
        return Err(Refusal::NoUpgrade);
    }
    if request.method() != Method::Get {
        return Err(Refusal::Method);
    }
    if request.version() != Version::V11 {
        return Err(Refusal::Http10);
    }
    if !matches!(request.framing(), Framing::None | Framing::Length(0)) {
        return Err(Refusal::Body);
    }
    if request.one("sec-websocket-version") != Some(b"13") {
        return Err(Refusal::Version);
    }
    let key = request.one("sec-websocket-key").filter(|key| is_key(key)).ok_or(Refusal::Key)?;
    let mut origins = request.all("origin");
    match (origins.next(), origins.next()) {
        (None, _) => {}
        (Some(origin), None) if options.origins.allow(origin, request.host()) => {}
        (Some(_), None) => return Err(Refusal::Origin),
        (Some(_), Some(_)) => return Err(Refusal::OriginTwice),
    }
    Ok(key)
}

/// The client's first subprotocol that is known.
fn choose<'a>(request: &Request<'_>, options: &'a ServerOptions) -> Option<&'a (Box<str>, Speech)> {
    let offers = request.all("sec-websocket-protocol").flat_map(|value| value.split(|byte| *byte == b','));
    offers.map(trim).find_map(|offer| options.protocols.iter().find(|(name, _)| name.as_bytes() == offer))
}

/// How a server knows by its address that WebSocket is spoken there, and at which path.
pub(super) fn path_of(way: &Way) -> Option<Arc<str>> {
    way.asks_ws.clone().filter(|path| !matches!(&**path, "" | "/"))
}
