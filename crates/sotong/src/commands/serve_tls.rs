//! TLS for servers: the certificate, what is told of it at start, and its reload.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use sotong_certs::{
    CertError, ClientAuth, Fingerprint, LastingIdentity, Reloadable, ServerTls, data_folder, describe,
    identity_that_lasts, names_of_this_machine, read_chain, utc,
};
use sotong_net::signals::Renew;
use sotong_tls::{Configs, Handshakes, Secure, TlsLimits, rustls};

use crate::catalogue::text;
use crate::cli::ServeTls;
use crate::console::Console;
use crate::failure::{self, Failure, Usage};

/// What a server shows at its `tls://` addresses.
pub(crate) struct Tls {
    reloadable: Arc<Reloadable>,
    /// The certificates, and who they are for.
    shown: Vec<Shown>,
    /// The one that was made because none was given.
    own: Option<LastingIdentity>,
    pub(super) limits: TlsLimits,
    /// All that are under way, of every worker.
    handshakes: Handshakes,
}

struct Shown {
    file: String,
    names: String,
    fingerprint: Fingerprint,
    not_after: String,
}

/// The certificates as they are by now, for connections that begin.
struct Current(Arc<Reloadable>);
impl Configs for Current {
    fn current(&self) -> Arc<rustls::ServerConfig> {
        self.0.current()
    }
}

impl Tls {
    /// Reads the certificates; `None` where no address speaks TLS.
    pub(super) fn new(flags: &ServeTls, speaks_tls: bool) -> Result<Option<Self>, Failure> {
        if !speaks_tls {
            return flags.given().map_or(Ok(None), |flag| Err(Failure::Usage(Usage::NeedsTls { flag })));
        }
        Self::of(flags.server().map_err(Failure::Usage)?, flags.time(), &Handshakes::default()).map(Some)
    }

    /// The same for a chat, where a client's certificate may say which account it has.
    pub(crate) fn for_chat(flags: &ServeTls, speaks_tls: bool) -> Result<Option<Self>, Failure> {
        if !speaks_tls {
            return Self::new(flags, speaks_tls);
        }
        let mut server = flags.server().map_err(Failure::Usage)?;
        if server.client_auth == ClientAuth::None && !flags.asks_nobody() {
            server.client_auth = ClientAuth::Any;
        }
        Self::of(server, flags.time(), &Handshakes::default()).map(Some)
    }

    /// Reads the certificates of one place where TLS is spoken; where it names none, one that nobody vouches for is shown.
    pub(crate) fn of(mut server: ServerTls, time: Option<Duration>, handshakes: &Handshakes) -> Result<Self, Failure> {
        let mut own = None;
        if server.identities.is_empty() {
            let made = identity_that_lasts(&data_folder()?, &names_of_this_machine())?;
            server.identities.push(made.files.clone());
            own = Some(made);
        }
        let mut shown = Vec::new();
        for files in &server.identities {
            // A chain that cannot be described is told by what reads it below.
            let chain = read_chain(&files.cert)?;
            if let Some(facts) = chain.first().and_then(describe) {
                shown.push(Shown {
                    file: files.cert.display().to_string(),
                    names: facts.names.join(", "),
                    fingerprint: facts.fingerprint,
                    not_after: utc(facts.not_after),
                });
            }
        }
        let reloadable = Arc::new(Reloadable::new(server)?);
        let defaults = TlsLimits::default();
        let limits = TlsLimits { handshake: time.unwrap_or(defaults.handshake), ..defaults };
        Ok(Self { reloadable, shown, own, limits, handshakes: handshakes.clone() })
    }

    pub(super) fn configs(&self) -> Arc<dyn Configs> {
        Arc::new(Current(Arc::clone(&self.reloadable)))
    }

    /// Speaks TLS for `service`.
    pub(crate) fn secure<S>(&self, service: S) -> Secure<S> {
        Secure::new(service, self.configs(), self.limits).counted_by(self.handshakes.clone())
    }

    /// How many clients had to wait for a place among the handshakes.
    pub(super) fn handshakes_waited(&self) -> u64 {
        self.handshakes.waited()
    }

    /// What a client needs to trust a certificate that nobody vouches for.
    pub(crate) fn pin(&self) -> Option<Fingerprint> {
        self.own.as_ref().map(|own| own.facts.fingerprint)
    }

    /// The certificate that nobody vouches for, as a file that clients can be told to trust.
    pub(super) fn own_file(&self) -> Option<&Path> {
        self.own.as_ref().map(|own| &*own.files.cert)
    }

    /// Tells which certificates are shown, and what should be known about them.
    pub(super) fn announce(&self, console: &Console) {
        for Shown { file, names, fingerprint, not_after } in &self.shown {
            if !console.speaks() {
                let self_signed = self.own.is_some();
                tracing::info!(file, names, sha256 = %fingerprint, not_after, self_signed, "certificate");
                continue;
            }
            let (file, fingerprint) = (file.clone(), fingerprint.to_string());
            console.say(&match &self.own {
                Some(own) if own.is_new => {
                    text!(console.catalogue, "serve-cert-made", file = file, fingerprint = fingerprint)
                }
                Some(_) => text!(console.catalogue, "serve-cert-own", file = file, fingerprint = fingerprint),
                None => {
                    let (names, at) = (names.clone(), not_after.clone());
                    text!(
                        console.catalogue,
                        "serve-cert",
                        file = file,
                        names = names,
                        at = at,
                        fingerprint = fingerprint
                    )
                }
            });
        }
        for warning in self.reloadable.warnings() {
            console.warn("certificate", |catalogue| failure::certs::warning(catalogue, &warning));
        }
    }

    /// What asks that the certificates be read anew.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn renewed(&self, name: &'static str) -> io::Result<Renew> {
        let renew = Renew::new()?;
        self.reload_when_asked(name, &renew);
        Ok(renew)
    }

    /// Reads the certificates anew whenever `renew` is asked.
    pub(super) fn reload_when_asked(&self, name: &'static str, renew: &Renew) {
        let reloadable = Arc::clone(&self.reloadable);
        when_asked(renew, "certificates", move || match reloadable.reload() {
            Ok(()) => tracing::info!(service = name, "certificates reloaded"),
            Err(why) => tracing::warn!(service = name, %why, "certificates not reloaded: those before stay"),
        });
    }

    /// Reads the certificates anew.
    ///
    /// # Errors
    /// What is wrong with them; then those before stay.
    pub(super) fn reload(&self) -> Result<(), CertError> {
        self.reloadable.reload()
    }
}

/// Reads all certificates anew. What is wrong with some does not keep the others back.
pub(crate) fn reload_certificates(all: &[Arc<Tls>]) -> Result<(), String> {
    let faults: Vec<_> = all.iter().filter_map(|tls| tls.reload().err()).map(|why| why.to_string()).collect();
    if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
}

/// Does something whenever `renew` is asked. The thread waits for as long as the process lives.
pub(super) fn when_asked(renew: &Renew, what: &'static str, act: impl Fn() + Send + 'static) {
    let renew = renew.clone();
    let waiting = thread::Builder::new().name("sotong-reload".to_owned()).spawn(move || {
        loop {
            let mut asked = [PollFd::from_borrowed_fd(renew.fd(), PollFlags::IN)];
            match poll(&mut asked, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(fault) => return tracing::error!(%fault, "{what} can be reloaded no more"),
            }
            if renew.take() {
                act();
            }
        }
    });
    if let Err(fault) = waiting {
        tracing::warn!(%fault, "no thread to reload {what}");
    }
}
