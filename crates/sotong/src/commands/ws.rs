//! WebSocket for `connect`: the flags made into a layer around a bridge's session, and what became of it into words.

use std::sync::Arc;

use sotong_certs::HostName;
use sotong_drivers::bridge::{Crossed, Form, Messages, Passing};
use sotong_http::ws::{ClientOptions, Kind, NOT_TEXT, Speech, WebSocket};
use sotong_net::endpoint::{Endpoint, Host, HostPort};
use sotong_session::Close;

use super::secure::Layers;
use crate::cli::{ConnectWs, Way};
use crate::failure::{Failure, JoinFailure, Usage, WsFailure};

/// The client's side of WebSocket.
pub(super) struct Client {
    options: Arc<ClientOptions>,
    messages: Messages,
}

impl Client {
    /// What the flags ask for; `None` where WebSocket is not spoken.
    pub(super) fn new(flags: &ConnectWs, way: &Way, to: &Endpoint) -> Result<Option<Self>, Failure> {
        let (Some(path), Some(at)) = (to.ws_path(), to.host_port()) else {
            return flags.given().map_or(Ok(None), |flag| Err(Failure::Usage(Usage::NeedsWs { flag })));
        };
        if way.crlf {
            let (flag, other) = ("--crlf".to_owned(), to.to_string());
            return Err(Failure::Usage(Usage::Conflict { flag, other }));
        }
        let usual = if to.is_tls() { 443 } else { 80 };
        let mut options = flags.options(&host(at, usual), path.as_str()).map_err(Failure::Usage)?;
        let timeout = way.timeout.map(|span| span.0);
        options.limits.upgrade = timeout.unwrap_or(options.limits.upgrade);
        let says = if flags.blocks { Kind::Binary } else { Kind::Text };
        options.speech = Speech { says: Some(says), takes: None };
        let form = if flags.blocks { Form::Blocks } else { Form::Lines };
        // A limit of silence that is shorter would end it as one who gives no answer.
        let quiet = timeout.map_or(flags.quiet(), |most| flags.quiet().min(most / 2));
        Ok(Some(Self { options: Arc::new(options), messages: Messages { form, quiet } }))
    }

    /// What is put around the passing session.
    pub(super) fn layers(&self) -> impl FnOnce(Passing) -> Layers + Send + 'static {
        let (options, messages) = (Arc::clone(&self.options), self.messages);
        move |passing| Box::new(WebSocket::client(passing.in_messages(messages), options))
    }

    /// What has failed, if the session did and it was not TLS that failed.
    pub(super) fn failure(&self, crossed: &Crossed, peer: &str) -> Option<JoinFailure> {
        let why = match crossed.close.as_ref()? {
            Close::Truncated => WsFailure::Truncated,
            Close::Idle => WsFailure::Idle(self.options.limits.upgrade),
            Close::Protocol(text) => {
                let why = text.strip_prefix("WebSocket: ")?;
                match why.strip_prefix("the server answered ") {
                    Some(status) => WsFailure::Refused(status.to_owned()),
                    None if text == NOT_TEXT => WsFailure::NotText,
                    None => WsFailure::Broken(why.to_owned()),
                }
            }
            other => WsFailure::Broken(other.to_string()),
        };
        Some(JoinFailure::Ws { peer: peer.to_owned(), why })
    }
}

/// The server as the request's `Host` names it.
fn host(at: &HostPort, usual: u16) -> String {
    let name = match &at.host {
        Host::Name(name) => match name.parse() {
            Ok(HostName::Dns(name)) => name,
            Ok(HostName::Ip(ip)) => ip.to_string(),
            Err(_) => name.to_string(),
        },
        // A zone is this machine's own (RFC 6874).
        Host::V6(ip, _) => format!("[{ip}]"),
        other => other.to_string(),
    };
    if at.port == usual { name } else { format!("{name}:{}", at.port) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_named_as_browsers_do() {
        let named = |text: &str| {
            let to: Endpoint = text.parse().expect("an address");
            host(to.host_port().expect("a host"), if to.is_tls() { 443 } else { 80 })
        };
        for (text, expect) in [
            ("ws://example.org/x", "example.org"),
            ("wss://example.org", "example.org"),
            ("wss://example.org:80", "example.org:80"),
            ("ws://[fe80::1%lo]:81", "[fe80::1]:81"),
            ("ws://:8080", "localhost:8080"),
            ("ws://127.0.0.1:80", "127.0.0.1"),
            ("ws://소통.example", "xn--9l4bo90a.example"),
        ] {
            assert_eq!(named(text), expect, "{text}");
        }
    }
}
