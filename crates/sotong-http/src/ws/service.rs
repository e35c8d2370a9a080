//! A service that speaks WebSocket where the address asks for it.
use super::{ServerOptions, WebSocket, server::path_of};
use sotong_session::{Address, Close, Cx, Event, Host, Records, Service, Session, Stream, Wants, Way};
use std::sync::Arc;

/// Wraps the sessions of a service in [`WebSocket`], server side, for those who come to a `ws://` or `wss://` address
/// ([`Way::asks_ws`]); the others get them as they are. So one server has all kinds of addresses. For `wss://` it goes
/// within what speaks TLS.
#[derive(Clone, Debug)]
pub struct Sockets<S> {
    service: S,
    options: Arc<ServerOptions>,
}

impl<S> Sockets<S> {
    /// Speaks WebSocket for `service`; the path is that of the address, if it has one.
    pub fn new(service: S, options: ServerOptions) -> Self {
        Self { service, options: Arc::new(options) }
    }
    fn options(&self, way: &Way) -> Arc<ServerOptions> {
        match path_of(way) {
            Some(path) => Arc::new(ServerOptions { path: Some(path), ..(*self.options).clone() }),
            None => Arc::clone(&self.options),
        }
    }
}

impl<S: Service<Session: Stream + Records>> Service for Sockets<S> {
    type Session = MaybeWs<S::Session>;
    const TALKS: bool = S::TALKS;

    fn open(&self, way: &Way) -> Result<Self::Session, Close> {
        if way.asks_ws.is_none() {
            return self.service.open(way).map(MaybeWs::Plain);
        }
        let inner = self.service.open(&Way { wire: sotong_session::Wire::Records, ..way.clone() })?;
        Ok(MaybeWs::Ws(Box::new(WebSocket::server(inner, self.options(way)))))
    }
    fn lost(&self, who: Address, host: &mut dyn Host<<S::Session as Session>::Mail>) {
        self.service.lost(who, host);
    }
}

/// A session as it is, or within WebSocket.
pub enum MaybeWs<S> {
    /// As it is.
    Plain(S),
    /// Within WebSocket.
    Ws(Box<WebSocket<S>>),
}

impl<S: Stream + Records> Session for MaybeWs<S> {
    type Mail = S::Mail;
    fn handle(&mut self, event: Event<'_, S::Mail>, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        match self {
            Self::Plain(session) => session.handle(event, cx),
            Self::Ws(session) => session.handle(event, cx),
        }
    }
    fn wants(&self) -> Wants {
        match self {
            Self::Plain(session) => session.wants(),
            Self::Ws(session) => session.wants(),
        }
    }
}
impl<S: Stream + Records> Stream for MaybeWs<S> {}
/// Datagrams never come to a `ws://` address.
impl<S: Stream + Records> Records for MaybeWs<S> {}
