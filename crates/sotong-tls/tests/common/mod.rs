//! Two sides of a connection in two rigs, and sessions to put inside.
#![allow(dead_code, reason = "each test file uses its part")]

use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
    server::WebPkiClientVerifier,
    time_provider::TimeProvider,
};
use sotong_session::{Address, Checked, Close, Cx, Event, Moment, Pace, Session, Stream, TlsFacts, Wants, rig::Rig};
use sotong_tls::{Tls, TlsLimits, rustls};
use std::{sync::Arc, time::Duration};

/// 2026-01-01: within the test certificate's time, in every run.
#[derive(Debug)]
struct NewYear;
impl TimeProvider for NewYear {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(1_767_225_600)))
    }
}

pub(crate) fn certificate() -> CertificateDer<'static> {
    CertificateDer::from(include_bytes!("../../testdata/cert.der").as_slice())
}
fn key() -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(include_bytes!("../../testdata/key.der").as_slice()).into()
}
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
fn roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(certificate()).expect("the test certificate");
    roots
}

/// A server's configuration as most tests need it.
pub(crate) fn server_config(versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
    ServerConfig::builder_with_details(provider(), Arc::new(NewYear))
        .with_protocol_versions(versions)
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate()], key())
        .expect("the test key fits")
}
/// The same, which demands the client's certificate.
pub(crate) fn demanding_server_config() -> ServerConfig {
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots()), provider()).build();
    ServerConfig::builder_with_details(provider(), Arc::new(NewYear))
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .expect("versions")
        .with_client_cert_verifier(verifier.expect("roots"))
        .with_single_cert(vec![certificate()], key())
        .expect("the test key fits")
}
/// A client's configuration that trusts the test certificate.
pub(crate) fn client_config(versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    ClientConfig::builder_with_details(provider(), Arc::new(NewYear))
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots())
        .with_no_client_auth()
}
/// A client that shows the test certificate too.
pub(crate) fn known_client_config() -> ClientConfig {
    ClientConfig::builder_with_details(provider(), Arc::new(NewYear))
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .expect("versions")
        .with_root_certificates(roots())
        .with_client_auth_cert(vec![certificate()], key())
        .expect("the test key fits")
}
/// A client that trusts nobody.
pub(crate) fn distrustful_client_config() -> ClientConfig {
    ClientConfig::builder_with_details(provider(), Arc::new(NewYear))
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .expect("versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth()
}

pub(crate) fn name(name: &str) -> ServerName<'static> {
    ServerName::try_from(name.to_owned()).expect("a name")
}

/// Mail that has a [`Probe`] say its text, take everything again, or half-close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Say(Vec<u8>),
    OpenGate,
    ShutGate,
    Finish,
    /// Sets the alarm in so many seconds.
    Alarm(u64),
}

/// Hears and says; notes everything.
#[derive(Debug, Default)]
pub(crate) struct Probe {
    pub(crate) heard: Vec<u8>,
    /// How many times it was shown input.
    pub(crate) shown: usize,
    pub(crate) seen: Vec<&'static str>,
    pub(crate) gone: Option<Close>,
    pub(crate) facts: Option<TlsFacts>,
    pub(crate) echoes: bool,
    pub(crate) gated: bool,
    pub(crate) always: bool,
    /// Takes only whole units of so many bytes.
    pub(crate) unit: usize,
    pub(crate) greeting: &'static [u8],
    /// Half-closes when the peer has.
    pub(crate) finishes: bool,
    pub(crate) alarm: Option<Moment>,
}
impl Probe {
    pub(crate) fn ear() -> Self {
        Self { unit: 1, finishes: true, always: true, ..Self::default() }
    }
    pub(crate) fn echo() -> Self {
        Self { echoes: true, always: false, ..Self::ear() }
    }
}
impl Session for Probe {
    type Mail = Order;
    fn handle(&mut self, event: Event<'_, Order>, cx: &mut Cx<'_, Order>) -> Result<(), Close> {
        self.seen.push(event.name());
        match event {
            Event::Open(way) => {
                self.facts = way.tls.as_deref().cloned();
                cx.out.put(self.greeting);
            }
            Event::Input(mut input) => {
                self.shown += 1;
                let most = if self.echoes { cx.out.room().next_multiple_of(self.unit) } else { usize::MAX };
                let count = input.bytes().len().min(most) / self.unit * self.unit;
                let bytes = input.bytes()[..count].to_vec();
                input.take(count);
                self.heard.extend_from_slice(&bytes);
                if bytes.ends_with(b"!fail") {
                    cx.out.put(b"farewell");
                    return Err(Close::Protocol("fail".into()));
                }
                assert!(!bytes.ends_with(b"!panic"), "asked to");
                if self.echoes {
                    cx.out.put(&bytes);
                }
            }
            Event::End => {
                if self.finishes {
                    cx.out.finish();
                }
            }
            Event::Mail(Order::Say(text)) => cx.out.put(text),
            Event::Mail(Order::OpenGate) => self.gated = false,
            Event::Mail(Order::ShutGate) => self.gated = true,
            Event::Mail(Order::Finish) => cx.out.finish(),
            Event::Mail(Order::Alarm(seconds)) => self.alarm = Some(cx.now + Duration::from_secs(*seconds)),
            Event::Deadline => {
                self.alarm = None;
                cx.out.put(b"ring");
            }
            Event::Stop => {
                cx.out.put(b"bye");
                return Err(Close::Stop);
            }
            Event::Gone(close) => self.gone = Some(close.clone()),
            Event::Again | Event::Drained => {}
        }
        Ok(())
    }
    fn wants(&self) -> Wants {
        let pace = if self.always { Pace::Always } else { Pace::WhileRoom };
        Wants { input: if self.gated { Pace::Hold } else { pace }, deadline: self.alarm }
    }
}
impl Stream for Probe {}

pub(crate) type Side = Rig<Checked<Tls<Checked<Probe>>>>;

pub(crate) fn probe(side: &Side) -> &Probe {
    side.session().inner().inner().inner()
}
fn side(tls: Result<Tls<Checked<Probe>>, Close>) -> Side {
    Rig::stream(Checked::new(tls.expect("a configuration that works")).with_end_mark())
}
pub(crate) fn server(probe: Probe, config: ServerConfig) -> Side {
    side(Tls::server(Checked::new(probe), Arc::new(config), TlsLimits::default()))
}
pub(crate) fn client(probe: Probe, config: ClientConfig) -> Side {
    let tls = Tls::client(Checked::new(probe), Arc::new(config), name("sotong.test"), TlsLimits::default());
    side(tls).at(Address { shard: 0, slot: 1, turn: 0 })
}

/// Both sides and the wire between.
pub(crate) struct Pair {
    pub(crate) client: Side,
    pub(crate) server: Side,
    /// Into pieces of what size the wire cuts.
    pub(crate) cut: Box<dyn FnMut() -> usize>,
    ends: [bool; 2],
}

impl Pair {
    pub(crate) fn new(client: Side, server: Side) -> Self {
        Self { client, server, cut: Box::new(|| usize::MAX), ends: [false; 2] }
    }
    pub(crate) fn usual(server: Probe) -> Self {
        Self::of(Probe::ear(), server, rustls::ALL_VERSIONS)
    }
    pub(crate) fn of(client: Probe, server: Probe, versions: &[&'static SupportedProtocolVersion]) -> Self {
        Self::new(self::client(client, client_config(versions)), self::server(server, server_config(versions)))
    }
    /// Opens both, and lets everything flow that does.
    pub(crate) fn open(mut self) -> Self {
        self.server.open();
        self.client.open();
        self.flow();
        self
    }
    pub(crate) fn cut(mut self, cut: impl FnMut() -> usize + 'static) -> Self {
        self.cut = Box::new(cut);
        self
    }
    pub(crate) fn say(&mut self, text: &[u8]) {
        self.client.mail(&Order::Say(text.to_vec()));
        self.flow();
    }
    /// Moves bytes and ends until nothing moves.
    pub(crate) fn flow(&mut self) {
        while self.carry(false) | self.carry(true) {}
    }
    /// One direction, once. Whether anything moved.
    pub(crate) fn carry(&mut self, to_client: bool) -> bool {
        let (from, to) = match to_client {
            true => (&mut self.server, &mut self.client),
            false => (&mut self.client, &mut self.server),
        };
        let bytes = from.sent();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((self.cut)().clamp(1, rest.len()));
            to.input(piece);
            rest = after;
        }
        let is_over = from.is_finished() || from.close().is_some();
        let ended = &mut self.ends[usize::from(to_client)];
        let ends_now = is_over && !*ended;
        if ends_now {
            *ended = true;
            to.end();
        }
        !bytes.is_empty() || ends_now
    }
    pub(crate) fn closes(&self) -> (Option<Close>, Option<Close>) {
        (self.client.close().cloned(), self.server.close().cloned())
    }
}
