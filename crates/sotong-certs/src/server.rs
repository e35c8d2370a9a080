//! A server's configuration: certificates chosen by name, client certificates, reload.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, crypto::ring::Ticketer};

use crate::error::{CertError, Warning};
use crate::identity::{Identity, IdentityFiles};
use crate::key_log::KeyLogTo;
use crate::verifier::{AnyClient, KnownClients, roots};
use crate::versions::Versions;
use crate::{provider, read};

/// Sessions that are kept for clients of TLS 1.2 that take no tickets: some hundred bytes each.
const SESSIONS_MAX: usize = 4_096;

/// What a server needs for TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerTls {
    /// Its certificates, chosen by the name that a client asks for; the first one is shown where none fits.
    pub identities: Vec<IdentityFiles>,
    /// Whether clients show certificates.
    pub client_auth: ClientAuth,
    /// The protocols it speaks (RFC 7301), best first; none turns ALPN off.
    pub alpn: Vec<Vec<u8>>,
    /// The versions it speaks.
    pub versions: Versions,
    /// A file that gets the secrets of every session, for those who decrypt captures; `None` by default.
    pub key_log: Option<PathBuf>,
}

/// Whether clients show certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked.
    #[default]
    None,
    /// They are asked; one that shows none is served, one that shows a bad one is not.
    Ask {
        /// PEM file of the authorities that may have issued it.
        ca: PathBuf,
    },
    /// They are asked, and any certificate is taken: whoever holds its key is known by its fingerprint, whoever vouches for
    /// it.
    Any,
    /// They must.
    Demand {
        /// PEM file of the authorities that may have issued it.
        ca: PathBuf,
    },
}

impl ClientAuth {
    fn ca(&self) -> Option<&PathBuf> {
        match self {
            Self::None | Self::Any => None,
            Self::Ask { ca } | Self::Demand { ca } => Some(ca),
        }
    }
}

/// The configuration of a server, read from its files once.
///
/// # Errors
/// What [`Reloadable::new`] fails with.
pub fn server_config(identity: &ServerTls) -> Result<Arc<ServerConfig>, CertError> {
    Reloadable::new(identity.clone()).map(|config| config.current())
}

/// The configuration of a server whose files may be read anew while it serves.
#[derive(Debug)]
pub struct Reloadable {
    from: ServerTls,
    loaded: RwLock<Loaded>,
}

#[derive(Clone, Debug)]
struct Loaded {
    config: Arc<ServerConfig>,
    warnings: Vec<Warning>,
    /// The text of the file of client authorities.
    ca: Option<Vec<u8>>,
}

impl Reloadable {
    /// Reads the files.
    ///
    /// # Errors
    /// [`CertError::NoIdentity`] without a certificate, [`CertError::Versions`], or what is wrong with a file, by its
    /// name.
    pub fn new(from: ServerTls) -> Result<Self, CertError> {
        let loaded = RwLock::new(load(&from, None)?);
        Ok(Self { from, loaded })
    }

    /// The configuration for a connection that begins.
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.loaded.read().unwrap_or_else(PoisonError::into_inner).config)
    }

    /// What was found in the files that works and should be known.
    pub fn warnings(&self) -> Vec<Warning> {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).warnings.clone()
    }

    /// Reads the files anew. Connections that exist keep what they have; with any fault everything stays as it was.
    ///
    /// Sessions can be resumed across it, unless the authorities of clients have changed.
    ///
    /// # Errors
    /// As for [`Reloadable::new`].
    pub fn reload(&self) -> Result<(), CertError> {
        let old = self.loaded.read().unwrap_or_else(PoisonError::into_inner).clone();
        let new = load(&self.from, Some(&old))?;
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }
}

fn load(from: &ServerTls, old: Option<&Loaded>) -> Result<Loaded, CertError> {
    let identities: Vec<_> = from.identities.iter().map(Identity::load).collect::<Result<_, _>>()?;
    if identities.is_empty() {
        return Err(CertError::NoIdentity);
    }
    let warnings = identities.iter().flat_map(|identity| identity.warnings.clone()).collect();
    let ca = from.client_auth.ca().map(|file| read::whole(file)).transpose()?;
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(from.versions.of_rustls()?);
    let builder = builder.map_err(|_| CertError::Library { what: "a server's configuration" })?;
    let builder = match (&from.client_auth, &ca) {
        (ClientAuth::Ask { ca: file } | ClientAuth::Demand { ca: file }, Some(text)) => {
            let known = read::chain(text, file)?;
            let roots = Arc::new(roots(&known, file)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
            let verifier = match from.client_auth {
                ClientAuth::Ask { .. } => verifier.allow_unauthenticated(),
                _ => verifier,
            };
            let verifier = verifier.build().map_err(|_| CertError::Library { what: "the check of clients" })?;
            builder.with_client_cert_verifier(Arc::new(KnownClients::new(known, verifier)))
        }
        (ClientAuth::Any, _) => builder.with_client_cert_verifier(Arc::new(AnyClient)),
        _ => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(ByName(identities)));
    config.alpn_protocols.clone_from(&from.alpn);
    if let Some(file) = &from.key_log {
        config.key_log = Arc::new(KeyLogTo::open(file)?);
    }
    // A session stands for a client that was checked, so it lives no longer than those who vouched for it.
    match old.filter(|old| old.ca == ca) {
        Some(old) => {
            config.ticketer = Arc::clone(&old.config.ticketer);
            config.session_storage = Arc::clone(&old.config.session_storage);
        }
        None => {
            config.ticketer = Ticketer::new().map_err(|_| CertError::Library { what: "keys for tickets" })?;
            config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
        }
    }
    Ok(Loaded { config: Arc::new(config), warnings, ca })
}

/// The certificates of a server, the first one for whom no name fits.
#[derive(Debug)]
struct ByName(Vec<Identity>);

impl ByName {
    fn usable<'a>(&'a self, name: Option<&'a str>, hello: &'a ClientHello<'_>) -> Option<&'a Identity> {
        let named = |identity: &&Identity| name.is_none_or(|name| identity.facts.is_for(name));
        let signs = |identity: &&Identity| identity.key.key.choose_scheme(hello.signature_schemes()).is_some();
        self.0.iter().filter(named).find(signs)
    }
}

impl ResolvesServerCert for ByName {
    /// The first one that has the name and a key the client can check; else the first with such a key.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| self.usable(Some(name), &hello));
        named.or_else(|| self.usable(None, &hello)).map(|identity| Arc::clone(&identity.key))
    }
}
