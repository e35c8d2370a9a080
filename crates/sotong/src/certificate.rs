//! Certificates as people and programs read them.

use serde_json::{Value, json};
use sotong_certs::{CertFacts, utc};

use crate::catalogue::{Catalogue, text};

/// One certificate in some lines, the first its subject, the others indented. `now` is in seconds since 1970.
pub(crate) fn paragraph(catalogue: &Catalogue, facts: &CertFacts, now: i64) -> String {
    let mut lines = vec![facts.subject.clone()];
    if !facts.names.is_empty() {
        lines.push(text!(catalogue, "certificate-names", names = facts.names.join(", ")));
    }
    let issuer = if facts.is_self_issued {
        text!(catalogue, "certificate-self-signed")
    } else {
        text!(catalogue, "certificate-issuer", issuer = facts.issuer.clone())
    };
    lines.push(issuer);
    let (from, to) = (utc(facts.not_before), utc(facts.not_after));
    lines.push(text!(catalogue, "certificate-valid", from = from, to = to, left = left(catalogue, facts, now)));
    let key = format!("{} ({})", facts.key, uses(catalogue, facts));
    lines.push(text!(catalogue, "certificate-key", key = key));
    lines.push(text!(catalogue, "certificate-signature", signature = facts.signature.clone()));
    lines.push(text!(catalogue, "certificate-serial", serial = facts.serial.clone()));
    lines.push(text!(catalogue, "certificate-fingerprint", fingerprint = facts.fingerprint.to_string()));
    lines.join("\n  ") + "\n"
}

/// A chain, its certificates numbered where there are several.
pub(crate) fn chain(catalogue: &Catalogue, chain: &[CertFacts], now: i64) -> String {
    let numbered = |(at, facts): (usize, &CertFacts)| match chain {
        [_] => paragraph(catalogue, facts, now),
        _ => format!("{}. {}", at + 1, paragraph(catalogue, facts, now)),
    };
    chain.iter().enumerate().map(numbered).collect()
}

/// How long a certificate is still valid, or since when it is not.
pub(crate) fn left(catalogue: &Catalogue, facts: &CertFacts, now: i64) -> String {
    if now < facts.not_before {
        text!(catalogue, "certificate-not-yet")
    } else if now > facts.not_after {
        text!(catalogue, "certificate-expired", days = -facts.days_left(now))
    } else {
        text!(catalogue, "certificate-left", days = facts.days_left(now))
    }
}

fn uses(catalogue: &Catalogue, facts: &CertFacts) -> String {
    if facts.is_ca {
        return text!(catalogue, "certificate-for-issuing");
    }
    let mut uses = Vec::new();
    if facts.for_servers {
        uses.push(text!(catalogue, "certificate-for-servers"));
    }
    if facts.for_clients {
        uses.push(text!(catalogue, "certificate-for-clients"));
    }
    uses.join(", ")
}

/// One certificate as an object; the names are a promise to scripts.
pub(crate) fn object(facts: &CertFacts, now: i64) -> Value {
    let time = |seconds| utc(seconds).replace(" UTC", "Z").replace(' ', "T");
    json!({
        "subject": facts.subject,
        "common_name": facts.common_name,
        "issuer": facts.issuer,
        "names": facts.names,
        "not_before": time(facts.not_before),
        "not_after": time(facts.not_after),
        "days_left": facts.days_left(now),
        "key": facts.key.to_string(),
        "signature": facts.signature,
        "serial": facts.serial,
        "sha256": facts.fingerprint.to_string(),
        "ca": facts.is_ca,
        "self_signed": facts.is_self_issued,
        "version": facts.version,
        "for_servers": facts.for_servers,
        "for_clients": facts.for_clients,
    })
}
