//! The checks of certificates, for both sides, around those of rustls.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use crate::error::{CertError, Holds};
use crate::facts::{CertFacts, describe, describe_chain};
use crate::fingerprint::Fingerprint;
use crate::provider;
use crate::verdict::{Refusal, Verdict, Why};

/// The authorities of a file.
pub(crate) fn roots(known: &[CertificateDer<'static>], file: &Path) -> Result<RootCertStore, CertError> {
    let mut roots = RootCertStore::empty();
    // One of version 1, say, is no anchor for rustls; it counts where a peer shows that very one.
    let (added, _) = roots.add_parsable_certificates(known.iter().cloned());
    if added == 0 {
        return Err(CertError::NoCertificate { file: file.to_owned(), holds: Holds::Nothing });
    }
    Ok(roots)
}

/// The authorities of the system.
pub(crate) fn system_roots() -> Result<RootCertStore, CertError> {
    let mut roots = RootCertStore::empty();
    // Single files that cannot be read are no reason to trust nobody.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(CertError::NoSystemRoots) } else { Ok(roots) }
}

/// How a client decides about servers.
#[derive(Debug)]
pub(crate) struct Verifier {
    trust: Trusted,
    verdict: Verdict,
}

#[derive(Debug)]
enum Trusted {
    /// Whom the anchors vouch for, and the certificates that are known themselves.
    Authorities {
        known: Vec<CertificateDer<'static>>,
        anchors: Arc<WebPkiServerVerifier>,
    },
    Pins(Vec<Fingerprint>),
    /// Everybody; what the anchors would have said is remembered.
    Anybody(Option<Arc<WebPkiServerVerifier>>),
}

impl Verifier {
    pub(crate) fn authorities(
        known: Vec<CertificateDer<'static>>,
        anchors: Arc<WebPkiServerVerifier>,
        verdict: Verdict,
    ) -> Self {
        Self { trust: Trusted::Authorities { known, anchors }, verdict }
    }

    pub(crate) fn pins(pins: Vec<Fingerprint>, verdict: Verdict) -> Self {
        Self { trust: Trusted::Pins(pins), verdict }
    }

    pub(crate) fn anybody(anchors: Option<Arc<WebPkiServerVerifier>>, verdict: Verdict) -> Self {
        Self { trust: Trusted::Anybody(anchors), verdict }
    }

    fn is_anybody_trusted(&self) -> bool {
        matches!(self.trust, Trusted::Anybody(_))
    }

    /// The server's proof that it holds the key of its certificate.
    fn proof(
        &self,
        result: Result<HandshakeSignatureValid, Error>,
        cert: &CertificateDer<'_>,
    ) -> Result<HandshakeSignatureValid, Error> {
        let Err(error) = result else { return result };
        if let Error::InvalidCertificate(fault) = &error {
            let chain = vec![cert.clone().into_owned()];
            let why = why(fault, &chain);
            // The certificate's own fault, if one is known, says more than that its key could not be used.
            if self.verdict.refusal().is_none_or(|known| known.chain.first() != chain.first()) {
                self.verdict.set(Refusal { name: String::new(), why, chain });
            }
        }
        if self.is_anybody_trusted() { Ok(HandshakeSignatureValid::assertion()) } else { Err(error) }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let by_anchors = |anchors: &WebPkiServerVerifier| {
            anchors.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now).map(drop)
        };
        let result = match &self.trust {
            Trusted::Pins(pins) => {
                let seen = Fingerprint::of(end_entity);
                if pins.contains(&seen) { Ok(()) } else { Err(None) }
            }
            Trusted::Authorities { known, .. } if known.contains(end_entity) => {
                itself(end_entity, Some(server_name), now).map_err(Some)
            }
            Trusted::Authorities { anchors, .. } | Trusted::Anybody(Some(anchors)) => by_anchors(anchors).map_err(Some),
            Trusted::Anybody(None) => Err(Some(CertificateError::UnknownIssuer.into())),
        };
        let Err(error) = result else { return Ok(ServerCertVerified::assertion()) };
        let chain: Vec<_> =
            std::iter::once(end_entity).chain(intermediates).map(|der| der.clone().into_owned()).collect();
        let why = match &error {
            None => Why::PinMismatch { seen: Fingerprint::of(end_entity) },
            Some(Error::InvalidCertificate(fault)) => why(fault, &chain),
            Some(other) => Why::Unusable { detail: other.to_string() },
        };
        self.verdict.set(Refusal { name: server_name.to_str().into_owned(), why, chain });
        if self.is_anybody_trusted() {
            return Ok(ServerCertVerified::assertion());
        }
        Err(error.unwrap_or_else(|| CertificateError::ApplicationVerificationFailure.into()))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        self.proof(verify_tls12_signature(message, cert, dss, &algorithms), cert)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        self.proof(verify_tls13_signature(message, cert, dss, &algorithms), cert)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// The checks that are left for a certificate that is trusted itself: its dates, and its names.
///
/// `openssl req -x509` makes certificates that are server and authority in one, which rustls refuses as a server's
/// however they are trusted.
fn itself(cert: &CertificateDer<'_>, name: Option<&ServerName<'_>>, now: UnixTime) -> Result<(), Error> {
    let facts = describe(cert).ok_or(CertificateError::BadEncoding)?;
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if seconds > facts.not_after {
        let not_after = UnixTime::since_unix_epoch(std::time::Duration::from_secs(facts.not_after.unsigned_abs()));
        return Err(CertificateError::ExpiredContext { time: now, not_after }.into());
    }
    if seconds < facts.not_before {
        let not_before = UnixTime::since_unix_epoch(std::time::Duration::from_secs(facts.not_before.unsigned_abs()));
        return Err(CertificateError::NotValidYetContext { time: now, not_before }.into());
    }
    let Some(name) = name else { return Ok(()) };
    if !facts.for_servers {
        return Err(CertificateError::InvalidPurpose.into());
    }
    verify_server_name(&ParsedCertificate::try_from(cert)?, name)
}

/// The check that failed, from what rustls says and what the certificates say.
fn why(fault: &CertificateError, chain: &[CertificateDer<'_>]) -> Why {
    let Some(leaf) = chain.first().and_then(describe) else { return Why::BadEncoding };
    let seconds = |time: &UnixTime| i64::try_from(time.as_secs()).ok();
    match fault {
        CertificateError::Expired => Why::Expired { not_after: Some(leaf.not_after) },
        CertificateError::ExpiredContext { not_after, .. } => Why::Expired { not_after: seconds(not_after) },
        CertificateError::NotValidYet => Why::NotYetValid { not_before: Some(leaf.not_before) },
        CertificateError::NotValidYetContext { not_before, .. } => Why::NotYetValid { not_before: seconds(not_before) },
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Why::NameMismatch { names: leaf.names }
        }
        CertificateError::Revoked => Why::Revoked,
        CertificateError::BadSignature => Why::BadSignature,
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => Why::NotForServers,
        CertificateError::UnknownIssuer => unknown(&leaf, chain),
        other if leaf.version < 3 => old_or(other, &leaf),
        _ if leaf.is_self_issued => Why::SelfSigned,
        _ if leaf.is_ca => Why::Authority,
        CertificateError::BadEncoding => Why::BadEncoding,
        other => Why::Unusable { detail: other.to_string() },
    }
}

fn old_or(fault: &CertificateError, leaf: &CertFacts) -> Why {
    match fault {
        CertificateError::BadEncoding | CertificateError::Other(_) => Why::OldVersion { version: leaf.version },
        other => Why::Unusable { detail: other.to_string() },
    }
}

/// Nobody trusted: the server vouches for itself, or somebody does who is not known.
fn unknown(leaf: &CertFacts, chain: &[CertificateDer<'_>]) -> Why {
    if leaf.is_self_issued {
        return Why::SelfSigned;
    }
    let rest = describe_chain(chain);
    let mut issuer = &leaf.issuer;
    // No more steps than certificates: a stranger made the chain, and may have made it a circle.
    for _ in &rest {
        let Some(next) = rest.iter().find(|next| next.subject == *issuer && !next.is_self_issued) else { break };
        issuer = &next.issuer;
    }
    Why::UnknownIssuer { issuer: issuer.clone() }
}

/// How a server decides about clients: by authorities, and by certificates that are known themselves.
#[derive(Debug)]
pub(crate) struct KnownClients {
    known: Vec<CertificateDer<'static>>,
    anchors: Arc<dyn ClientCertVerifier>,
}

impl KnownClients {
    pub(crate) fn new(known: Vec<CertificateDer<'static>>, anchors: Arc<dyn ClientCertVerifier>) -> Self {
        Self { known, anchors }
    }
}

impl ClientCertVerifier for KnownClients {
    fn offer_client_auth(&self) -> bool {
        self.anchors.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.anchors.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.anchors.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if self.known.contains(end_entity) {
            return itself(end_entity, None, now).map(|()| ClientCertVerified::assertion());
        }
        self.anchors.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.anchors.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.anchors.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.anchors.supported_verify_schemes()
    }
}

/// How a server decides that does not care who vouches for clients: whoever holds the key of a certificate is known by its
/// fingerprint.
#[derive(Debug)]
pub(crate) struct AnyClient;

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
