//! One port for a service as it is and within TLS: a client's first byte tells.

use std::sync::Arc;

use sotong_layers::{Choice, Chooser, Handover, Sniff, SniffLimits};
use sotong_session::{Address, Close, Cx, Event, Host, Service, Session, Stream, Wants, Way};
use sotong_tls::{Configs, MaybeTls, Secure, Tls, TlsLimits};

/// Speaks TLS for a service where the address asks for it; at the other addresses, where the client does.
#[derive(Clone)]
pub(crate) struct Front<S> {
    service: S,
    secure: Secure<S>,
    configs: Arc<dyn Configs>,
    limits: TlsLimits,
}

/// The mail of a service's sessions.
type Mail<S> = <<S as Service>::Session as Session>::Mail;

impl<S: Clone> Front<S> {
    pub(crate) fn new(service: S, configs: Arc<dyn Configs>, limits: TlsLimits) -> Self {
        let secure = Secure::new(service.clone(), Arc::clone(&configs), limits);
        Self { service, secure, configs, limits }
    }
}

impl<S> Service for Front<S>
where
    S: Service,
    S::Session: Stream + 'static,
{
    type Session = Fronted<S>;
    const TALKS: bool = S::TALKS;

    fn open(&self, way: &Way) -> Result<Self::Session, Close> {
        if way.asks_tls {
            return self.secure.open(way).map(Fronted::Asked);
        }
        let (service, configs) = (self.service.clone(), Arc::clone(&self.configs));
        let either = Either { service, way: way.clone(), configs, limits: self.limits };
        // Whoever says nothing is no more in a hurry than at a TLS port.
        let limits =
            SniffLimits { silence: self.limits.handshake, choice: self.limits.handshake, ..SniffLimits::default() };
        Ok(Fronted::Told(Box::new(Handover::new(Sniff::new(either, limits)))))
    }
    fn lost(&self, who: Address, host: &mut dyn Host<Mail<S>>) {
        self.service.lost(who, host);
    }
}

/// A session by its address, or by its client's first byte.
pub(crate) enum Fronted<S>
where
    S: Service,
    S::Session: Stream + 'static,
{
    Asked(MaybeTls<S::Session>),
    Told(Box<Handover<Sniff<Either<S>>>>),
}

impl<S> Session for Fronted<S>
where
    S: Service,
    S::Session: Stream + 'static,
{
    type Mail = Mail<S>;
    fn handle(&mut self, event: Event<'_, Mail<S>>, cx: &mut Cx<'_, Mail<S>>) -> Result<(), Close> {
        match self {
            Self::Asked(session) => session.handle(event, cx),
            Self::Told(session) => session.handle(event, cx),
        }
    }
    fn wants(&self) -> Wants {
        match self {
            Self::Asked(session) => session.wants(),
            Self::Told(session) => session.wants(),
        }
    }
}
impl<S> Stream for Fronted<S>
where
    S: Service,
    S::Session: Stream + 'static,
{
}

/// Chooses by the first byte: that of a TLS record, which no request begins with, or any other.
pub(crate) struct Either<S> {
    service: S,
    way: Way,
    configs: Arc<dyn Configs>,
    limits: TlsLimits,
}

/// The content type of a handshake record (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 0x16;

impl<S> Either<S>
where
    S: Service,
    S::Session: Stream + 'static,
{
    fn session(&self, is_tls: bool) -> Result<Box<dyn Stream<Mail = Mail<S>>>, Close> {
        let session = self.service.open(&self.way)?;
        Ok(match is_tls {
            true => Box::new(Tls::server(session, self.configs.current(), self.limits)?),
            false => Box::new(session),
        })
    }
}

impl<S> Chooser for Either<S>
where
    S: Service,
    S::Session: Stream + 'static,
{
    type Mail = Mail<S>;
    fn choose(&self, first: &[u8]) -> Choice<Mail<S>> {
        let session = self.session(first[0] == HANDSHAKE);
        Choice::Chosen(session.unwrap_or_else(|why| Box::new(Refused { why, mail: std::marker::PhantomData })))
    }
    fn silent(&self) -> Box<dyn Stream<Mail = Mail<S>>> {
        self.session(false).unwrap_or_else(|why| Box::new(Refused { why, mail: std::marker::PhantomData }))
    }
}

/// Ends as soon as it begins: the service has refused the client.
struct Refused<M> {
    why: Close,
    mail: std::marker::PhantomData<M>,
}

impl<M: Clone + Send + Sync + 'static> Session for Refused<M> {
    type Mail = M;
    fn handle(&mut self, event: Event<'_, M>, _cx: &mut Cx<'_, M>) -> Result<(), Close> {
        match event {
            Event::Gone(_) => Ok(()),
            _ => Err(self.why.clone()),
        }
    }
    fn wants(&self) -> Wants {
        Wants::INPUT
    }
}
impl<M: Clone + Send + Sync + 'static> Stream for Refused<M> {}
