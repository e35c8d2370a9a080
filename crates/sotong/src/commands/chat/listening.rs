//! Where a chat listens: what the file says, or the command line.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sotong_certs::{ClientAuth, Fingerprint, IdentityFiles, ServerTls, Versions};
use sotong_chat::{Entrance, ListenerKind, TlsEntrance};
use sotong_net::endpoint::Endpoint;
use sotong_tls::Handshakes;

use crate::cli::{CHAT_ADDRESS, ChatFlags, Serve};
use crate::commands::serve_tls::Tls;
use crate::config::sts::Heard;
use crate::config::{Config, Listen, sts};
use crate::failure::{Failure, Usage};

/// Every way in, in the order of the listeners' numbers.
pub(super) struct Entrances {
    /// Where each listens.
    pub(super) at: Vec<Endpoint>,
    /// What is spoken there.
    pub(super) entrances: Vec<Entrance>,
    /// The certificates that are shown at any of them.
    pub(super) tls: Vec<Arc<Tls>>,
    /// Where a certificate is shown that nobody vouches for, its fingerprint.
    pub(super) pins: Vec<Option<Fingerprint>>,
    /// The same, for those who are told to come by TLS.
    pub(super) heard: Vec<Heard>,
}

/// Flags of TLS are about addresses of the command line: those of a file have their certificates there.
pub(super) fn check_flags(flags: &ChatFlags, serve: &Serve) -> Result<(), Failure> {
    let given = if flags.tls { Some("--tls") } else { serve.tls.given() };
    match given.filter(|_| serve.addresses.is_empty()) {
        Some(flag) => Err(Failure::Usage(Usage::Needs { flag, other: "ADDR" })),
        None => Ok(()),
    }
}

/// WebSocket is spoken at every address: none asks for it alone, and its settings are the file's.
fn check_ws(serve: &Serve, given: &[Endpoint]) -> Result<(), Failure> {
    if let Some(flag) = serve.ws.given() {
        return Err(Failure::Usage(Usage::WsInFile { flag }));
    }
    let instead = |at: &Endpoint| match at {
        Endpoint::Ws(at, _) => Some(Endpoint::Tcp(at.clone())),
        Endpoint::Wss(at, _) => Some(Endpoint::Tls(at.clone())),
        Endpoint::Tcp(_) | Endpoint::Tls(_) | Endpoint::Udp(_) | Endpoint::Unix(_) | Endpoint::TlsUnix(_) => None,
    };
    match given.iter().find_map(|at| Some((at, instead(at)?))) {
        Some((at, instead)) => Err(Failure::SpeaksWs { address: at.to_string(), instead: instead.to_string() }),
        None => Ok(()),
    }
}

impl Entrances {
    /// Reads the certificates; nothing listens yet.
    pub(super) fn new(config: &Config, flags: &ChatFlags, serve: &Serve) -> Result<Self, Failure> {
        let all = Self::read(config, flags, serve)?;
        check_sts(config, &all.heard)?;
        Ok(all)
    }

    fn read(config: &Config, flags: &ChatFlags, serve: &Serve) -> Result<Self, Failure> {
        let text = |text: &String| text.parse().map_err(|why| Failure::Address { text: text.clone(), why });
        let given: Vec<Endpoint> = serve.addresses.iter().map(text).collect::<Result<_, _>>()?;
        check_ws(serve, &given)?;
        if !given.is_empty() {
            return Self::of_command_line(given, flags, serve);
        }
        if config.listen.is_empty() {
            let usual = CHAT_ADDRESS.to_owned();
            return Self::of_command_line(vec![text(&usual)?], flags, serve);
        }
        let mut all =
            Self { at: Vec::new(), entrances: Vec::new(), tls: Vec::new(), pins: Vec::new(), heard: Vec::new() };
        let time = Some(config.limits.tls_handshake_time.0);
        let (handshakes, mut known) = (Handshakes::default(), Vec::new());
        for listen in &config.listen {
            let Some(at) = &listen.address.0 else { continue };
            let mut pin = None;
            let tls = match Shown::of(listen, at) {
                None => None,
                Some(shown) => {
                    let number = known.iter().position(|before| *before == shown);
                    let number = match number {
                        Some(number) => number,
                        None => {
                            all.tls.push(Arc::new(Tls::of(shown.server(), time, &handshakes)?));
                            known.push(shown);
                            known.len() - 1
                        }
                    };
                    pin = all.tls[number].pin();
                    // At a port of one kind nobody expects two.
                    let required = at.is_tls() || listen.kind.0 != ListenerKind::Auto;
                    Some(TlsEntrance { secure: all.tls[number].secure(()), required })
                }
            };
            let cert = listen.tls_cert.given().map(Path::to_path_buf);
            all.heard.push(Heard::new(at, listen.kind.0, cert.into_iter().collect()));
            all.at.push(at.clone());
            all.pins.push(pin);
            all.entrances.push(Entrance { kind: listen.kind.0, proxy: listen.proxy, tls });
        }
        Ok(all)
    }

    /// Every address speaks whatever the client does, and TLS by the flags.
    fn of_command_line(at: Vec<Endpoint>, flags: &ChatFlags, serve: &Serve) -> Result<Self, Failure> {
        let speaks_tls = flags.tls || serve.tls.has_certificate() || at.iter().any(Endpoint::is_tls);
        let tls: Vec<_> = Tls::for_chat(&serve.tls, speaks_tls)?.map(Arc::new).into_iter().collect();
        let secure = tls.first().map(|tls| tls.secure(()));
        let of = |at: &Endpoint| {
            let is_spoken = at.is_tls() || flags.tls || serve.tls.has_certificate();
            let tls = secure.clone().filter(|_| is_spoken);
            Entrance { tls: tls.map(|secure| TlsEntrance { secure, required: at.is_tls() }), ..Entrance::default() }
        };
        let identities = if speaks_tls { serve.tls.server().map_err(Failure::Usage)?.identities } else { Vec::new() };
        let certs: Vec<_> = identities.into_iter().map(|files| files.cert).collect();
        let heard = at.iter().map(|at| Heard::new(at, ListenerKind::Auto, certs.clone())).collect();
        let pin = tls.first().and_then(|tls| tls.pin());
        let entrances: Vec<_> = at.iter().map(of).collect();
        let pins = entrances.iter().map(|entrance| pin.filter(|_| entrance.tls.is_some())).collect();
        Ok(Self { entrances, at, tls, pins, heard })
    }
}

/// Whether clients can be told to come by TLS to where it is said that they can.
///
/// # Errors
/// They cannot.
pub(super) fn check_sts(config: &Config, heard: &[Heard]) -> Result<(), Failure> {
    config.sts_port().map_or(Ok(()), |port| sts::check(port, heard)).map_err(Failure::Sts)
}

/// What a listener of the file shows to those who speak TLS.
#[derive(PartialEq, Eq)]
struct Shown {
    /// The certificate and its key; one of our own making where there is none.
    identity: Option<(PathBuf, Option<PathBuf>)>,
    /// Whether clients are asked for theirs, which log them in. Browsers would ask their people.
    asks: bool,
}

impl Shown {
    fn of(listen: &Listen, at: &Endpoint) -> Option<Self> {
        let owned = |path: &Path| path.to_path_buf();
        let identity = listen.tls_cert.given().map(|cert| (owned(cert), listen.tls_key.given().map(owned)));
        let asks = !matches!(listen.kind.0, ListenerKind::Web | ListenerKind::WebSocket);
        (identity.is_some() || listen.tls || at.is_tls()).then_some(Self { identity, asks })
    }
    fn server(&self) -> ServerTls {
        let identity = self.identity.clone().map(|(cert, key)| IdentityFiles { cert, key });
        ServerTls {
            identities: identity.into_iter().collect(),
            client_auth: if self.asks { ClientAuth::Any } else { ClientAuth::None },
            versions: Versions::default(),
            ..ServerTls::default()
        }
    }
}
