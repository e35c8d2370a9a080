//! A client's configuration: whom it trusts, and what it shows of itself.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::WebPkiServerVerifier;

use crate::error::CertError;
use crate::fingerprint::Fingerprint;
use crate::identity::{Identity, IdentityFiles};
use crate::key_log::KeyLogTo;
use crate::verdict::Verdict;
use crate::verifier::{Verifier, roots, system_roots};
use crate::versions::Versions;
use crate::{provider, read};

/// What a client needs for TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// Whom it trusts.
    pub trust: Trust,
    /// The certificate that it shows where it is asked for one.
    pub identity: Option<IdentityFiles>,
    /// The protocols it offers (RFC 7301), best first; none turns ALPN off.
    pub alpn: Vec<Vec<u8>>,
    /// The versions it speaks.
    pub versions: Versions,
    /// A file that gets the secrets of every session, for those who decrypt captures; `None` by default.
    pub key_log: Option<PathBuf>,
}

/// Whom a client trusts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// The authorities that the system trusts (or `SSL_CERT_FILE` and `SSL_CERT_DIR` name).
    #[default]
    System,
    /// The authorities of these PEM files and nobody else. A server's own certificate in them is trusted, too.
    Files(Vec<PathBuf>),
    /// Whoever shows a certificate with one of these fingerprints, and holds its key. Names and dates do not count: the
    /// certificate itself is known.
    Pins(Vec<Fingerprint>),
    /// Everybody. What would have been refused is remembered in the [`Verdict`].
    Anybody,
}

/// The configuration of a client.
#[derive(Clone, Debug)]
pub struct ClientTlsConfig {
    /// For rustls.
    pub config: Arc<ClientConfig>,
    /// Why a server was refused by it, or would have been.
    pub verdict: Verdict,
}

/// The configuration of a client, read from its files once.
///
/// # Errors
/// [`CertError::NoSystemRoots`] if those are asked for and there are none, [`CertError::Versions`], or what is wrong with a
/// file, by its name.
pub fn client_config(trust: &ClientTls) -> Result<ClientTlsConfig, CertError> {
    let verdict = Verdict::default();
    let verifier = match &trust.trust {
        Trust::System => Verifier::authorities(vec![], by_roots(system_roots()?)?, verdict.clone()),
        Trust::Files(files) => {
            let mut known = Vec::new();
            for file in files {
                known.extend(read::chain(&read::whole(file)?, file)?);
            }
            let roots = roots(&known, files.first().ok_or(CertError::NoSystemRoots)?)?;
            Verifier::authorities(known, by_roots(roots)?, verdict.clone())
        }
        Trust::Pins(pins) => Verifier::pins(pins.clone(), verdict.clone()),
        // Without the system's authorities everybody is refused, and so everybody is remembered.
        Trust::Anybody => {
            let check = system_roots().ok().and_then(|roots| by_roots(roots).ok());
            Verifier::anybody(check, verdict.clone())
        }
    };
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(trust.versions.of_rustls()?);
    let builder = builder.map_err(|_| CertError::Library { what: "a client's configuration" })?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match &trust.identity {
        None => builder.with_no_client_auth(),
        Some(files) => {
            let key = Identity::load(files)?.key;
            builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(key)))
        }
    };
    config.alpn_protocols.clone_from(&trust.alpn);
    if let Some(file) = &trust.key_log {
        config.key_log = Arc::new(KeyLogTo::open(file)?);
    }
    Ok(ClientTlsConfig { config: Arc::new(config), verdict })
}

fn by_roots(roots: rustls::RootCertStore) -> Result<Arc<WebPkiServerVerifier>, CertError> {
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
    verifier.map_err(|_| CertError::Library { what: "the check of servers" })
}
