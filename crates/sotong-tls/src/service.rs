//! A service that speaks TLS where the address asks for it.
use crate::{Handshakes, Tls, TlsLimits};
use rustls::ServerConfig;
use sotong_session::{Address, Close, Cx, Event, Host, Records, Service, Session, Stream, Wants, Way};
use std::sync::Arc;

/// Wraps the sessions of a service in [`Tls`], server side, for those who come to a `tls://` address
/// ([`Way::asks_tls`]); the others get them as they are. So one server has both kinds of addresses.
///
/// Each connection gets the configuration that `source` has when it comes: certificates can be replaced while the server
/// runs.
#[derive(Clone)]
pub struct Secure<S> {
    service: S,
    source: Arc<dyn Configs>,
    limits: TlsLimits,
    handshakes: Handshakes,
}

/// Where the configuration of new connections comes from.
pub trait Configs: Send + Sync {
    /// The configuration for a connection that begins.
    fn current(&self) -> Arc<ServerConfig>;
}

/// Always the same.
impl Configs for Arc<ServerConfig> {
    fn current(&self) -> Self {
        self.clone()
    }
}

impl<S> Secure<S> {
    /// Speaks TLS for `service`.
    pub fn new(service: S, source: Arc<dyn Configs>, limits: TlsLimits) -> Self {
        Self { service, source, limits, handshakes: Handshakes::default() }
    }
    /// Counts its handshakes among others.
    #[must_use]
    pub fn counted_by(self, handshakes: Handshakes) -> Self {
        Self { handshakes, ..self }
    }
    /// The service within.
    pub fn service(&self) -> &S {
        &self.service
    }
    /// Speaks TLS for one session, with the configuration of now.
    ///
    /// # Errors
    /// As [`Tls::server`].
    pub fn protect<T: Stream>(&self, session: T) -> Result<Tls<T>, Close> {
        Ok(Tls::server(session, self.source.current(), self.limits)?.counted_by(&self.handshakes))
    }
    /// How long a client may take to say who it is.
    pub fn limits(&self) -> TlsLimits {
        self.limits
    }
}

impl<S: Service<Session: Stream>> Service for Secure<S> {
    type Session = MaybeTls<S::Session>;
    const TALKS: bool = S::TALKS;

    fn open(&self, way: &Way) -> Result<Self::Session, Close> {
        let session = self.service.open(way)?;
        if !way.asks_tls {
            return Ok(MaybeTls::Plain(session));
        }
        Ok(MaybeTls::Tls(Box::new(self.protect(session)?)))
    }
    fn lost(&self, who: Address, host: &mut dyn Host<<S::Session as Session>::Mail>) {
        self.service.lost(who, host);
    }
}

/// A session as it is, or within TLS.
pub enum MaybeTls<S> {
    /// As it is.
    Plain(S),
    /// Within TLS.
    Tls(Box<Tls<S>>),
}

impl<S: Stream> Session for MaybeTls<S> {
    type Mail = S::Mail;
    fn handle(&mut self, event: Event<'_, S::Mail>, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        match self {
            Self::Plain(session) => session.handle(event, cx),
            Self::Tls(session) => session.handle(event, cx),
        }
    }
    fn wants(&self) -> Wants {
        match self {
            Self::Plain(session) => session.wants(),
            Self::Tls(session) => session.wants(),
        }
    }
}
impl<S: Stream> Stream for MaybeTls<S> {}
/// Datagrams never come to a `tls://` address.
impl<S: Stream + Records> Records for MaybeTls<S> {}
