//! One port for a service as it is and within TLS: a client's first byte tells.
use crate::{MaybeTls, Secure};
use sotong_layers::{Choice, Chooser, Handover, Sniff, SniffLimits};
use sotong_session::{Address, Close, Cx, Event, Host, Service, Session, Stream, Wants, Way};

/// Speaks TLS for a service where the address asks for it; at the other addresses, where the client does: its first byte
/// tells. A client that says nothing for as long as a handshake may take gets the service as it is.
///
/// The service within may tell its own clients apart in the same way ([`Sniff`]), with and without TLS: so requests, lines and
/// both within TLS share a port.
#[derive(Clone)]
pub struct Front<S> {
    secure: Secure<S>,
}

/// The mail of a service's sessions.
type Mail<S> = <<S as Service>::Session as Session>::Mail;

impl<S> Front<S> {
    /// Takes in clients of either kind; `secure` speaks TLS to those who do.
    pub fn new(secure: Secure<S>) -> Self {
        Self { secure }
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
            return self.secure.open(way).map(|session| Fronted(Kind::Asked(session)));
        }
        let either = Either { secure: self.secure.clone(), way: way.clone() };
        // Whoever says nothing is no more in a hurry than at a TLS port.
        let time = self.secure.limits().handshake;
        let limits = SniffLimits { silence: time, choice: time, ..SniffLimits::default() };
        Ok(Fronted(Kind::Told(Box::new(Handover::new(Sniff::new(either, limits))))))
    }
    fn lost(&self, who: Address, host: &mut dyn Host<Mail<S>>) {
        self.secure.lost(who, host);
    }
}

/// A session by its address, or by its client's first byte.
pub struct Fronted<S: Service>(Kind<S>)
where
    S::Session: Stream + 'static;

enum Kind<S>
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
        match &mut self.0 {
            Kind::Asked(session) => session.handle(event, cx),
            Kind::Told(session) => session.handle(event, cx),
        }
    }
    fn wants(&self) -> Wants {
        match &self.0 {
            Kind::Asked(session) => session.wants(),
            Kind::Told(session) => session.wants(),
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
struct Either<S> {
    secure: Secure<S>,
    way: Way,
}

/// The content type of a handshake record (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 0x16;

impl<S> Either<S>
where
    S: Service,
    S::Session: Stream + 'static,
{
    fn session(&self, is_tls: bool) -> Result<Box<dyn Stream<Mail = Mail<S>>>, Close> {
        let session = self.secure.service().open(&self.way)?;
        Ok(if is_tls { Box::new(self.secure.protect(session)?) } else { Box::new(session) })
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
