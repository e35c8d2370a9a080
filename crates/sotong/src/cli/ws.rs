//! The flags for `ws://` and `wss://` addresses.

use std::time::Duration;

use clap::Args;
use sotong_http::ws::{ClientOptions, Origins, ServerOptions, WsLimits};

use crate::failure::Usage;
use crate::units::{Size, Span, some_time, whole};

#[derive(Debug, Args)]
#[command(next_help_heading = "ws")]
pub(crate) struct ServeWs {
    #[arg(long, value_name = "ORIGIN", value_delimiter = ',')]
    ws_origin: Vec<String>,
    #[arg(long)]
    ws_deflate: bool,
    #[arg(long, value_name = "BYTES", hide_short_help = true)]
    ws_message_bytes_max: Option<Size>,
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1..=1 << 30), hide_short_help = true)]
    ws_fragments_max: Option<usize>,
}

impl ServeWs {
    /// A flag that was given, which means nothing without a `ws://` address.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let given = [
            (!self.ws_origin.is_empty(), "--ws-origin"),
            (self.ws_deflate, "--ws-deflate"),
            (self.ws_message_bytes_max.is_some(), "--ws-message-bytes-max"),
            (self.ws_fragments_max.is_some(), "--ws-fragments-max"),
        ];
        given.into_iter().find(|(given, _)| *given).map(|(_, flag)| flag)
    }

    pub(crate) fn options(&self) -> ServerOptions {
        let origins = match self.ws_origin.as_slice() {
            [] => Origins::Own,
            all if all.iter().any(|origin| origin == "*") => Origins::Any,
            listed => Origins::Listed(listed.iter().map(|origin| origin.trim_end_matches('/').into()).collect()),
        };
        let usual = WsLimits::default();
        let limits = WsLimits {
            message_bytes_max: self.ws_message_bytes_max.map_or(usual.message_bytes_max, |size| size.0),
            fragments_max: self.ws_fragments_max.unwrap_or(usual.fragments_max),
            ..usual
        };
        ServerOptions { origins, deflate: self.ws_deflate, limits, ..ServerOptions::default() }
    }
}

#[derive(Debug, Args)]
#[command(next_help_heading = "ws")]
pub(crate) struct ConnectWs {
    #[arg(short = 'b', long)]
    pub(crate) blocks: bool,
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    ws_protocol: Vec<String>,
    #[arg(short = 'H', long, value_name = "NAME: VALUE")]
    ws_header: Vec<String>,
    #[arg(long)]
    ws_deflate: bool,
    #[arg(long, value_name = "TIME", value_parser = some_time)]
    ws_quiet: Option<Span>,
}

/// A client's messages: what a person's own machine has room for. A server's are smaller, because it has many clients.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// A server that is trusted with 16 MiB may send them in small pieces.
const FRAGMENTS_MAX: usize = 1 << 16;
/// How long a peer may be silent after the end of the input before it has nothing more to say.
pub(crate) const QUIET: Duration = Duration::from_secs(1);

impl ConnectWs {
    /// A flag that was given, which means nothing without a `ws://` address.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let given = [
            (self.blocks, "--blocks"),
            (!self.ws_protocol.is_empty(), "--ws-protocol"),
            (!self.ws_header.is_empty(), "--ws-header"),
            (self.ws_deflate, "--ws-deflate"),
            (self.ws_quiet.is_some(), "--ws-quiet"),
        ];
        given.into_iter().find(|(given, _)| *given).map(|(_, flag)| flag)
    }

    /// How long the peer is listened to after the end of the input.
    pub(crate) fn quiet(&self) -> Duration {
        self.ws_quiet.map_or(QUIET, |span| span.0)
    }

    /// The request for `target` at `host`.
    pub(crate) fn options(&self, host: &str, target: &str) -> Result<ClientOptions, Usage> {
        let bad = |text: &str| Usage::WsRequest { text: text.to_owned() };
        let mut options = ClientOptions::new(host, target).map_err(|_| bad(&format!("{host}{target}")))?;
        for field in &self.ws_header {
            let (name, value) = field.split_once(':').ok_or_else(|| bad(field))?;
            options.field(name.trim(), value.trim()).map_err(|_| bad(field))?;
        }
        for name in &self.ws_protocol {
            options.offer(name).map_err(|_| bad(name))?;
        }
        options.deflate = self.ws_deflate;
        let limits = WsLimits::default();
        options.limits = WsLimits { message_bytes_max: MESSAGE_BYTES_MAX, fragments_max: FRAGMENTS_MAX, ..limits };
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Server {
        #[command(flatten)]
        ws: ServeWs,
    }
    #[derive(Parser)]
    struct Client {
        #[command(flatten)]
        ws: ConnectWs,
    }

    #[test]
    fn origins_are_listed_or_all() {
        let origins = |line: &str| {
            let words = std::iter::once("sotong").chain(line.split_whitespace());
            Server::try_parse_from(words).expect("legal").ws.options().origins
        };
        assert_eq!(origins(""), Origins::Own);
        assert_eq!(origins("--ws-origin *"), Origins::Any);
        let listed = ["https://a.test", "http://b.test:81"].map(Into::into);
        assert_eq!(origins("--ws-origin https://a.test/,http://b.test:81"), Origins::Listed(listed.into()));
    }

    #[test]
    fn a_request_is_whole_or_refused() {
        let options = |words: &[&str]| {
            let words = std::iter::once("sotong").chain(words.iter().copied());
            Client::try_parse_from(words).expect("legal").ws.options("h", "/").map(|_| ())
        };
        assert_eq!(options(&["-H", "Origin: https://a.test", "--ws-protocol", "a,b"]), Ok(()));
        for bad in [["-H", "Origin"], ["-H", "Host: x"], ["-H", "A: b\r\nC: d"], ["--ws-protocol", "a b"]] {
            assert_eq!(options(&bad), Err(Usage::WsRequest { text: bad[1].to_owned() }));
        }
    }
}
