//! TLS for `connect` and `listen`: the flags made into a layer around a bridge's session, and what became of it into words.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sotong_certs::{ClientTls, ClientTlsConfig, HostName, Refusal, ServerName, Verdict, client_config};
use sotong_drivers::bridge::{Crossed, Parcel, Passing};
use sotong_layers::{StartTls, StartTlsLimits, Upgrade};
use sotong_net::endpoint::{Endpoint, Host};
use sotong_net::pump::Report;
use sotong_session::{Close, Cx, Event, Session, Stream, Wants};
use sotong_tls::rustls::client::ResolvesClientCert;
use sotong_tls::rustls::{ClientConfig, SignatureScheme, sign::CertifiedKey};
use sotong_tls::{Configs, Tls, TlsLimits};

use super::joining::log_closed;
use super::serve_tls;
use crate::cli::{ConnectTls, alpn};
use crate::failure::{Failure, JoinFailure, Usage};

/// The session at a bridge's far end, with everything around it.
pub(super) type Layers = Box<dyn Stream<Mail = Parcel>>;

/// The client's side of TLS.
pub(super) struct Client {
    config: Arc<ClientConfig>,
    verdict: Verdict,
    trusts_anybody: bool,
    name: ServerName<'static>,
    /// The same for people.
    shown: String,
    starttls: Option<Upgrade>,
    asked: Arc<Asked>,
    has_identity: bool,
    handshake: Duration,
    /// Whether it leaves when the handshake is done.
    looks_only: bool,
}

impl Client {
    /// What the flags ask for; `None` where TLS is not spoken.
    pub(super) fn new(flags: &ConnectTls, to: &Endpoint, timeout: Option<Duration>) -> Result<Option<Self>, Failure> {
        let starttls = match (flags.starttls, to) {
            (None, _) => None,
            (Some(protocol), Endpoint::Tcp(_) | Endpoint::Unix(_)) => Some(protocol.upgrade()),
            (Some(_), _) => return Err(Failure::Usage(Usage::StartTls { address: to.to_string() })),
        };
        if !to.is_tls() && starttls.is_none() {
            return flags.given().map_or(Ok(None), |flag| Err(Failure::Usage(Usage::NeedsTls { flag })));
        }
        let name = match &flags.servername {
            Some(name) => name.clone(),
            None => name_of(to).map_err(|text| Failure::Usage(Usage::BadServerName { text }))?,
        };
        let shown = name.to_string();
        let name = match name {
            HostName::Ip(ip) => ServerName::IpAddress(ip.into()),
            HostName::Dns(name) => {
                ServerName::try_from(name).map_err(|_| Failure::Usage(Usage::BadServerName { text: shown.clone() }))?
            }
        };
        let (config, verdict, asked) = configured(flags)?;
        Ok(Some(Self {
            config,
            verdict,
            trusts_anybody: flags.insecure,
            name,
            shown,
            starttls,
            asked,
            has_identity: flags.identity().is_some(),
            // Mail servers let strangers wait before they say a word.
            handshake: timeout.unwrap_or(match starttls {
                Some(_) => StartTlsLimits::default().time,
                None => TlsLimits::default().handshake,
            }),
            looks_only: flags.show_cert,
        }))
    }

    /// What is put around what `within` makes of the passing session.
    pub(super) fn layers(
        &self,
        within: impl FnOnce(Passing) -> Layers + Send + 'static,
    ) -> impl FnOnce(Passing) -> Result<Layers, Close> + Send + 'static {
        // Only a person's patience, or `-w`, ends the wait for what the server still has to say.
        let limits = TlsLimits { handshake: self.handshake, after_end: None, ..TlsLimits::default() };
        let (config, name, domain) = (Arc::clone(&self.config), self.name.clone(), self.shown.clone());
        let (starttls, looks_only) = (self.starttls, self.looks_only);
        let dialog = StartTlsLimits { time: self.handshake, ..StartTlsLimits::default() };
        move |passing| {
            let tls = Tls::client(Look { inner: within(passing), leaves: looks_only }, config, name, limits)?;
            Ok(match starttls {
                Some(upgrade) => Box::new(StartTls::new(tls, upgrade, &domain, dialog)),
                None => Box::new(tls),
            })
        }
    }

    /// The name that the server must prove to have.
    pub(super) fn name(&self) -> &str {
        &self.shown
    }

    /// Why the server was refused, or would have been by somebody who checks.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.verdict.refusal()
    }

    /// Whether the server asked for a certificate that it was not given.
    pub(super) fn was_asked(&self) -> bool {
        self.asked.asked.load(Ordering::Relaxed)
    }

    /// What has failed, if the session did.
    pub(super) fn failure(&self, crossed: &Crossed, peer: &str) -> Option<JoinFailure> {
        let close = crossed.close.as_ref()?;
        let peer = peer.to_owned();
        if let Some(refusal) = self.refusal().filter(|_| !self.trusts_anybody && crossed.tls.is_none()) {
            return Some(JoinFailure::Untrusted { peer, refusal: Box::new(refusal) });
        }
        match alert(close) {
            Some(_) if self.was_asked() => return Some(JoinFailure::ClientCert { peer }),
            Some(alert) if self.has_identity && ALERTS_OF_CERTIFICATES.contains(&alert) => {
                return Some(JoinFailure::ClientCertRefused { peer, why: alert.to_owned() });
            }
            _ => {}
        }
        Some(failure(close, peer, self.handshake))
    }
}

/// What a server that refuses a client's certificate says (RFC 8446, section 6.2).
const ALERTS_OF_CERTIFICATES: [&str; 8] = [
    "bad certificate",
    "unsupported certificate",
    "certificate revoked",
    "certificate expired",
    "certificate unknown",
    "unknown c a",
    "access denied",
    "decrypt error",
];

/// The alert by which the peer gave up.
fn alert(close: &Close) -> Option<&str> {
    let Close::Protocol(text) = close else { return None };
    text.split_once("TLS alert \"")?.1.strip_suffix('"')
}

/// The server's side of TLS.
pub(super) struct Server {
    configs: Arc<dyn Configs>,
    handshake: Duration,
}

impl Server {
    pub(super) fn new(tls: &serve_tls::Tls) -> Self {
        Self { configs: tls.configs(), handshake: tls.limits.handshake }
    }

    /// What is put around the passing session.
    pub(super) fn layers(&self) -> impl FnOnce(Passing) -> Result<Layers, Close> + Send + 'static {
        let limits = TlsLimits { handshake: self.handshake, after_end: None, ..TlsLimits::default() };
        let mut config = self.configs.current();
        // Hardly anybody comes back to a listener, and one that only sends leaves tickets unread: its close is then a reset,
        // which eats the last words on their way to us.
        Arc::make_mut(&mut config).send_tls13_tickets = 0;
        move |passing| Ok(Box::new(Tls::server(passing, config, limits)?))
    }

    /// What has failed, if the session did.
    pub(super) fn failure(&self, crossed: &Crossed, peer: &str) -> Option<JoinFailure> {
        let close = crossed.close.as_ref()?;
        Some(failure(close, peer.to_owned(), self.handshake))
    }
}

/// A bridge's report as a pump's, logged; A is the near end.
pub(super) fn report(crossed: &Crossed, peer: &str) -> Report {
    let Crossed { forth, back, time, tls, .. } = crossed;
    if let Some(tls) = tls {
        let alpn = tls.alpn.as_deref().map(|name| String::from_utf8_lossy(name).into_owned()).unwrap_or_default();
        tracing::debug!(peer, version = tls.version, cipher = tls.cipher_suite, alpn, resumed = tls.resumed, "tls");
    }
    log_closed(peer, forth, back, *time);
    Report { forth: *forth, back: *back, time: *time }
}

/// Why a session of TLS ended, in words.
pub(super) fn failure(close: &Close, peer: String, handshake: Duration) -> JoinFailure {
    match close {
        Close::Truncated => JoinFailure::Truncated { peer },
        Close::Idle => JoinFailure::Handshake { peer, time_max: handshake },
        Close::Protocol(text) => match text.split_once("does not speak TLS; it said ") {
            Some((_, said)) => JoinFailure::NotTls { peer, said: said.to_owned() },
            None => JoinFailure::Tls { peer, why: text.to_string() },
        },
        other => JoinFailure::Tls { peer, why: other.to_string() },
    }
}

/// The name that a server at an address must prove to have.
fn name_of(to: &Endpoint) -> Result<HostName, String> {
    match to.host_port().map(|to| &to.host) {
        Some(Host::V4(ip)) => Ok(HostName::Ip((*ip).into())),
        Some(Host::V6(ip, _)) => Ok(HostName::Ip((*ip).into())),
        Some(Host::Name(name)) => name.parse().map_err(|_| name.to_string()),
        // A Unix socket is on this machine, too.
        Some(Host::Localhost | Host::All) | None => Ok(HostName::Dns("localhost".to_owned())),
    }
}

fn configured(flags: &ConnectTls) -> Result<(Arc<ClientConfig>, Verdict, Arc<Asked>), Failure> {
    let key_log = flags.keylog().map_err(|why| {
        let flag = "--keylog".to_owned();
        Failure::Usage(Usage::BadValue { flag, value: String::new(), why })
    })?;
    let wanted = ClientTls {
        trust: flags.trust(),
        identity: flags.identity(),
        alpn: alpn(&flags.alpn).map_err(Failure::Usage)?,
        versions: flags.versions(),
        key_log,
    };
    let ClientTlsConfig { mut config, verdict } = client_config(&wanted)?;
    let asked = Arc::new(Asked::default());
    if wanted.identity.is_none() {
        Arc::make_mut(&mut config).client_auth_cert_resolver = Arc::<Asked>::clone(&asked);
    }
    Ok((config, verdict, asked))
}

/// Has no certificate to show, and remembers that it was asked for one.
#[derive(Debug, Default)]
struct Asked {
    asked: AtomicBool,
}

impl ResolvesClientCert for Asked {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        None
    }
    fn has_certs(&self) -> bool {
        false
    }
}

/// Leaves once the way is usable, if it was only to be looked at.
struct Look {
    inner: Layers,
    leaves: bool,
}

impl Session for Look {
    type Mail = Parcel;
    fn handle(&mut self, event: Event<'_, Parcel>, cx: &mut Cx<'_, Parcel>) -> Result<(), Close> {
        let leaves = self.leaves && matches!(event, Event::Open(_));
        self.inner.handle(event, cx)?;
        if leaves { Err(Close::Done) } else { Ok(()) }
    }
    fn wants(&self) -> Wants {
        self.inner.wants()
    }
}
impl Stream for Look {}
