//! The way in: PROXY header, count by address, TLS, and then whatever is spoken.
use crate::{
    Chat, ListenerKind,
    client::Client,
    door::{Door, Last},
    ip_of,
    news::Mail,
    page::{self, Page},
    text::{self, Person},
};
use sotong_http::Http;
use sotong_layers::{
    First, Handover, Sniff, SniffLimits, Successor,
    proxy::{Onward, Proxied},
};
use sotong_session::{Close, Cx, End, Event, Session, Stream, Wants, Way};
use sotong_tls::Secure;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

/// What is spoken by those who come in by one listener, and what stands before it.
#[derive(Clone, Default)]
pub struct Entrance {
    /// What is spoken.
    pub kind: ListenerKind,
    /// A proxy stands before it, and begins each connection by saying whom it brings (the PROXY protocol, versions 1 and 2):
    /// within 2 s, or the connection ends. Whoever is not among
    /// [`ChatOptions::proxy_allowed_from`](crate::ChatOptions::proxy_allowed_from) is refused. Elsewhere those may begin by a
    /// line of version 1.
    pub proxy: bool,
    /// How TLS is spoken, if it is.
    pub tls: Option<TlsEntrance>,
}

/// TLS at an entrance.
#[derive(Clone)]
pub struct TlsEntrance {
    /// How.
    pub secure: Secure<()>,
    /// Whether everybody speaks it. Else the first byte tells; an address that asks for TLS ([`Way::asks_tls`]) has only it.
    pub required: bool,
}

/// An entrance to a chat.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) chat: Arc<Chat>,
    entrances: Arc<[Entrance]>,
    number: usize,
    /// The address of the listener asks for TLS.
    asks_tls: bool,
}

/// Who speaks TLS.
pub(crate) enum Tls<'a> {
    Nobody,
    Some(&'a Secure<()>),
    All(&'a Secure<()>),
}

impl Entry {
    pub(crate) fn new(chat: &Arc<Chat>, entrances: &Arc<[Entrance]>, way: &Way) -> Self {
        let number = usize::from(way.listener).min(entrances.len().saturating_sub(1));
        Self { chat: Arc::clone(chat), entrances: Arc::clone(entrances), number, asks_tls: way.asks_tls }
    }
    fn entrance(&self) -> Option<&Entrance> {
        self.entrances.get(self.number)
    }
    pub(crate) fn kind(&self) -> ListenerKind {
        self.entrance().map_or(ListenerKind::Auto, |entrance| entrance.kind)
    }
    pub(crate) fn tls(&self) -> Tls<'_> {
        match self.entrance().and_then(|entrance| entrance.tls.as_ref()) {
            None => Tls::Nobody,
            Some(TlsEntrance { secure, required }) if *required || self.asks_tls => Tls::All(secure),
            Some(TlsEntrance { secure, .. }) => Tls::Some(secure),
        }
    }

    /// The session for a connection that has just been accepted.
    pub(crate) fn open(self, way: &Way) -> Result<Counted, Close> {
        let is_proxy = self.is_proxy(&way.remote);
        if self.entrance().is_some_and(|entrance| entrance.proxy) {
            if !is_proxy {
                self.chat.counters.hit("proxy_allowed_from");
                return Err(Close::Protocol("a connection from somewhere else than a proxy".into()));
            }
            return Ok(Counted::not_yet(Voice::Any(self.proxied())));
        }
        // Where everybody is greeted at once, nobody is waited for.
        if is_proxy && self.kind() != ListenerKind::Text {
            return Ok(Counted::not_yet(self.sniffed(Some(way))));
        }
        self.counted(way)
    }
    /// Whoever is brought by a proxy, which says so first.
    pub(crate) fn proxied(self) -> Box<dyn Stream<Mail = Mail>> {
        let time_max = self.chat.options().limits.proxy_time;
        Box::new(Handover::new(Proxied::new(self, time_max)))
    }
    /// The session for somebody who is known by now, counted among those of his address.
    fn counted(&self, way: &Way) -> Result<Counted, Close> {
        let refusal = match (self.tls(), self.kind()) {
            (Tls::All(_), _) => Refusal::Silent,
            (_, ListenerKind::Web | ListenerKind::WebSocket) => Refusal::Http,
            (_, ListenerKind::Auto | ListenerKind::Irc | ListenerKind::Text) => Refusal::Irc,
        };
        let voice = match (self.tls(), self.kind()) {
            (Tls::All(secure), _) => Voice::Any(self.secured(secure)?),
            (Tls::Some(_), _) | (Tls::Nobody, ListenerKind::Auto | ListenerKind::Irc) => self.sniffed(None),
            (Tls::Nobody, ListenerKind::Text) => Voice::Person(Box::new(self.person())),
            (Tls::Nobody, ListenerKind::Web | ListenerKind::WebSocket) => Voice::Any(self.web()),
        };
        Ok(Counted::new(self, way, voice, refusal))
    }
    /// Whether somebody may say whom he brings. Whoever comes by a Unix socket is on this machine.
    fn is_proxy(&self, remote: &End) -> bool {
        let trusted = |ip: IpAddr| self.chat.options().proxy_allowed_from.iter().any(|network| network.contains(ip));
        match remote {
            End::Net(address) => trusted(address.ip()),
            End::Unix { .. } => trusted(Ipv4Addr::LOCALHOST.into()) || trusted(Ipv6Addr::LOCALHOST.into()),
            End::Pipe | End::Simulated(_) => false,
        }
    }
    /// Told by the first bytes; `way` where a PROXY line may be the first of them.
    fn sniffed(&self, way: Option<&Way>) -> Voice {
        Voice::Unknown(Box::new(Handover::new(Sniff::new(Door::new(self.clone(), way), self.sniff_limits()))))
    }
    fn sniff_limits(&self) -> SniffLimits {
        SniffLimits { silence: self.chat.options().silence, ..SniffLimits::default() }
    }
    /// Within TLS the same question again.
    pub(crate) fn secured(&self, secure: &Secure<()>) -> Result<Box<dyn Stream<Mail = Mail>>, Close> {
        let plain = Entrance { kind: self.kind(), ..Entrance::default() };
        let within = Self { entrances: Arc::new([plain]), number: 0, asks_tls: false, chat: Arc::clone(&self.chat) };
        let inner: Box<dyn Stream<Mail = Mail>> = match self.kind() {
            ListenerKind::Auto | ListenerKind::Irc => {
                let limits = self.sniff_limits();
                Box::new(Timed::new(FIRST_BYTES, Handover::new(Sniff::new(Door::new(within, None), limits))))
            }
            ListenerKind::Text => Box::new(self.person()),
            ListenerKind::Web | ListenerKind::WebSocket => self.web(),
        };
        Ok(Box::new(Timed::new("tls_handshake_time", secure.protect(inner)?)))
    }
    pub(crate) fn person(&self) -> Handover<Person> {
        text::person(Arc::clone(&self.chat))
    }
    pub(crate) fn client(&self) -> Box<dyn Stream<Mail = Mail>> {
        Box::new(Client::new(Arc::clone(&self.chat)))
    }
    /// For those who speak HTTP.
    pub(crate) fn web(&self) -> Box<dyn Stream<Mail = Mail>> {
        match self.kind() {
            ListenerKind::WebSocket => page::web_socket(&self.chat),
            _ => {
                let limits = self.chat.options().limits.websocket.head;
                Box::new(Handover::new(Timed::new("http_head_time", Http::new(Page::new(&self.chat), limits))))
            }
        }
    }
    /// Wraps the session of somebody whose first bytes have told that he speaks for himself.
    pub(crate) fn count(&self, way: &Way, voice: Box<dyn Stream<Mail = Mail>>, refusal: Refusal) -> Counted {
        Counted::new(self, way, Voice::Any(voice), refusal)
    }
}

impl Onward for Entry {
    type Mail = Mail;
    fn onward(&mut self, way: &Way) -> Result<Box<dyn Stream<Mail = Mail>>, Close> {
        Ok(Box::new(self.counted(way)?))
    }
}

/// How somebody is told that there are too many from his address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// In no words: only a handshake would bring them over.
    Silent,
    Irc,
    Http,
}

/// RFC 6585 §4.
const TOO_MANY: &str = "HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 41\r\n\
     Connection: close\r\n\r\nToo many connections from your address.\r\n";

/// A connection that is counted among those of its address.
pub(crate) struct Counted {
    voice: Voice,
    /// None while it is not known who comes: then what is inside counts.
    place: Option<Place>,
}

/// What is spoken: told by the first bytes, or known.
pub(crate) enum Voice {
    Unknown(Box<Handover<Sniff<Door>>>),
    Person(Box<Handover<Person>>),
    Any(Box<dyn Stream<Mail = Mail>>),
}

/// A connection's place among those of its address, which is free again when this is dropped.
struct Place {
    chat: Arc<Chat>,
    ip: IpAddr,
    is_taken: bool,
    refusal: Refusal,
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_taken {
            self.chat.doors().leave(self.ip);
        }
    }
}

/// The address among whose connections one counts.
pub(crate) fn counted_ip(way: &Way) -> Option<IpAddr> {
    // What a proxy brings is never from this machine, whatever it says.
    ip_of(way).filter(|ip| way.through.is_some() || !ip.is_loopback())
}

impl Counted {
    fn not_yet(voice: Voice) -> Self {
        Self { voice, place: None }
    }
    fn new(entry: &Entry, way: &Way, voice: Voice, refusal: Refusal) -> Self {
        let ip = counted_ip(way);
        let counts = entry.chat.options().limits.flood_control;
        let chat = || Arc::clone(&entry.chat);
        let place = ip.filter(|_| counts).map(|ip| Place { chat: chat(), ip, is_taken: false, refusal });
        Self { voice, place }
    }
}

impl Session for Counted {
    type Mail = Mail;
    fn handle(&mut self, event: Event<'_, Mail>, cx: &mut Cx<'_, Mail>) -> Result<(), Close> {
        if let (Event::Open(_), Some(place)) = (&event, &mut self.place) {
            place.is_taken = true;
            let entered = place.chat.doors().enter(place.ip, cx.now, &place.chat.options().limits);
            if let Err(limit) = entered {
                match place.refusal {
                    Refusal::Silent => {}
                    Refusal::Irc => {
                        cx.out.put(b"ERROR :Closing link: too many connections from your address\r\n");
                    }
                    Refusal::Http => cx.out.put(TOO_MANY.as_bytes()),
                }
                return Err(Close::Limit(limit));
            }
        }
        match &mut self.voice {
            Voice::Unknown(session) => session.handle(event, cx).map_err(|why| named(why, FIRST_BYTES)),
            Voice::Person(session) => session.handle(event, cx),
            Voice::Any(session) => session.handle(event, cx),
        }
    }
    fn wants(&self) -> Wants {
        match &self.voice {
            Voice::Unknown(session) => session.wants(),
            Voice::Person(session) => session.wants(),
            Voice::Any(session) => session.wants(),
        }
    }
}
impl Stream for Counted {}

/// The time in which the first bytes tell what is spoken, as it is counted.
const FIRST_BYTES: &str = "first_bytes_time";

/// A session whose limit of time has a name, by which it is counted: what is spoken within has named its own already.
pub(crate) struct Timed<S> {
    limit: &'static str,
    session: S,
}

impl<S> Timed<S> {
    pub(crate) fn new(limit: &'static str, session: S) -> Self {
        Self { limit, session }
    }
}

impl<S: Session> Session for Timed<S> {
    type Mail = S::Mail;
    fn handle(&mut self, event: Event<'_, S::Mail>, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        self.session.handle(event, cx).map_err(|why| named(why, self.limit))
    }
    fn wants(&self) -> Wants {
        self.session.wants()
    }
}
impl<S: Stream> Stream for Timed<S> {}
impl<S: First> First for Timed<S> {
    fn successor(&mut self) -> Option<Successor<S::Mail>> {
        self.session.successor()
    }
}

fn named(why: Close, limit: &'static str) -> Close {
    if why == Close::Idle { Close::Limit(limit) } else { why }
}

/// Ends as soon as it begins.
pub(crate) fn refused(why: Close) -> Box<dyn Stream<Mail = Mail>> {
    Box::new(Last::new(b"", why))
}
