//! The words for servers whose certificates are refused: which check failed, for which name, and how to trust it on purpose.

use sotong_certs::{Fingerprint, Refusal, Why, utc};

use crate::catalogue::{Catalogue, text};

/// The whole line.
pub(crate) fn refusal(catalogue: &Catalogue, peer: &str, refusal: &Refusal) -> String {
    let (why, how) = (reason(catalogue, refusal), remedy(catalogue, refusal));
    text!(catalogue, "join-untrusted", peer = peer.to_owned(), why = why, how = how)
}

/// The check that failed, and for which name.
pub(crate) fn reason(catalogue: &Catalogue, refusal: &Refusal) -> String {
    let name = || refusal.name.clone();
    let date = |at: &Option<i64>| at.map_or_else(|| "?".to_owned(), utc);
    match &refusal.why {
        Why::Expired { not_after } => text!(catalogue, "untrusted-expired", date = date(not_after)),
        Why::NotYetValid { not_before } => text!(catalogue, "untrusted-not-yet", date = date(not_before)),
        Why::UnknownIssuer { issuer } => text!(catalogue, "untrusted-issuer", issuer = issuer.clone()),
        Why::SelfSigned => text!(catalogue, "untrusted-self-signed"),
        Why::NameMismatch { names } if names.is_empty() => text!(catalogue, "untrusted-no-name", name = name()),
        Why::NameMismatch { names } => {
            text!(catalogue, "untrusted-name", name = name(), names = names.join(", "))
        }
        Why::Revoked => text!(catalogue, "untrusted-revoked"),
        Why::BadSignature => text!(catalogue, "untrusted-signature"),
        Why::BadEncoding => text!(catalogue, "untrusted-encoding"),
        Why::NotForServers => text!(catalogue, "untrusted-purpose"),
        Why::Authority => text!(catalogue, "untrusted-authority"),
        Why::OldVersion { version } => text!(catalogue, "untrusted-version", version = *version),
        Why::PinMismatch { seen } => text!(catalogue, "untrusted-pin", seen = seen.to_string()),
        Why::Unusable { detail } => text!(catalogue, "untrusted-detail", detail = detail.clone()),
        other => text!(catalogue, "untrusted-detail", detail = other.to_string()),
    }
}

/// What to do if it is meant to be trusted all the same.
fn remedy(catalogue: &Catalogue, refusal: &Refusal) -> String {
    let pin = refusal.chain.first().map(|der| Fingerprint::of(der).to_string());
    match (&refusal.why, pin) {
        (Why::BadSignature | Why::BadEncoding, _) | (_, None) => text!(catalogue, "trust-nothing"),
        (Why::PinMismatch { .. }, Some(pin)) => text!(catalogue, "trust-new-pin", pin = pin),
        (Why::UnknownIssuer { .. }, Some(pin)) => text!(catalogue, "trust-ca", pin = pin),
        (Why::NameMismatch { .. }, Some(pin)) => text!(catalogue, "trust-name", pin = pin),
        (_, Some(pin)) => text!(catalogue, "trust-pin", pin = pin),
    }
}
