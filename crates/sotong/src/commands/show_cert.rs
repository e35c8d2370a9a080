//! `--show-cert`: what a server shows of itself, for people and for scripts.

use std::fmt::Write as _;

use serde_json::{Value, json};
use sotong_certs::{CertFacts, CertificateDer, describe_chain, unix_now, utc};
use sotong_drivers::bridge::Crossed;

use super::secure::Client;
use crate::catalogue::{Catalogue, text};
use crate::failure;

/// A server that has been looked at.
pub(super) struct Shown<'a> {
    pub(super) crossed: &'a Crossed,
    pub(super) secure: &'a Client,
    pub(super) peer: &'a str,
    pub(super) json: bool,
}

impl Shown<'_> {
    /// What is printed; nothing if the server has shown nothing.
    pub(super) fn text(&self, catalogue: &Catalogue) -> String {
        let chain = self.chain();
        if chain.is_empty() && self.crossed.tls.is_none() {
            return String::new();
        }
        if self.json { format!("{}\n", self.object(&chain)) } else { self.lines(&chain, catalogue) }
    }

    /// The certificates, those of a server that was refused too.
    fn chain(&self) -> Vec<CertFacts> {
        if let Some(tls) = &self.crossed.tls {
            let chain: Vec<_> = tls.peer_chain.iter().map(|der| CertificateDer::from_slice(der)).collect();
            return describe_chain(&chain);
        }
        self.secure.refusal().map(|refusal| refusal.facts()).unwrap_or_default()
    }

    /// The names are a promise to scripts. Times are seconds since 1970.
    fn object(&self, chain: &[CertFacts]) -> Value {
        let english = Catalogue::new(crate::catalogue::Lang::En);
        let tls = self.crossed.tls.as_ref();
        let refusal = self.secure.refusal();
        json!({
            "peer": self.peer,
            "name": self.secure.name(),
            "trusted": refusal.is_none() && tls.is_some(),
            "refused": refusal.map(|refusal| failure::refused(&english, &refusal)),
            "version": tls.map(|tls| tls.version),
            "cipher": tls.map(|tls| tls.cipher_suite),
            "group": tls.map(|tls| tls.group),
            "alpn": tls.and_then(|tls| tls.alpn.as_deref()).map(String::from_utf8_lossy),
            "client_certificate_asked": self.secure.was_asked(),
            "chain": chain.iter().map(certificate).collect::<Vec<_>>(),
        })
    }

    fn lines(&self, chain: &[CertFacts], catalogue: &Catalogue) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let mut line = |text: String| _ = writeln!(out, "{text}");
        if let Some(tls) = &self.crossed.tls {
            let name = self.secure.name().to_string();
            line(text!(catalogue, "shown-peer", peer = self.peer.to_owned(), name = name));
            line(text!(
                catalogue,
                "shown-protocol",
                version = tls.version,
                cipher = tls.cipher_suite,
                group = tls.group
            ));
            if let Some(alpn) = &tls.alpn {
                let alpn = String::from_utf8_lossy(alpn).escape_debug().to_string();
                line(text!(catalogue, "shown-alpn", alpn = alpn));
            }
        }
        match self.secure.refusal() {
            None => line(text!(catalogue, "shown-trusted")),
            Some(refusal) => {
                line(text!(catalogue, "shown-untrusted", why = failure::refused(catalogue, &refusal)));
            }
        }
        if self.secure.was_asked() {
            line(text!(catalogue, "shown-client-asked"));
        }
        let now = unix_now();
        for (number, facts) in (1..).zip(chain) {
            line(String::new());
            line(text!(catalogue, "shown-certificate", number = number, subject = facts.subject.clone()));
            let mut detail = |text: String| line(format!("  {text}"));
            let names = facts.names.join(", ");
            if !names.is_empty() {
                detail(text!(catalogue, "shown-names", names = names));
            }
            if facts.is_self_issued {
                detail(text!(catalogue, "shown-self-signed"));
            } else {
                detail(text!(catalogue, "shown-issuer", issuer = facts.issuer.clone()));
            }
            let (from, until) = (utc(facts.not_before), utc(facts.not_after));
            let days = facts.days_left(now);
            detail(if now < facts.not_before {
                text!(catalogue, "shown-dates-not-yet", from = from, until = until)
            } else if days < 0 {
                text!(catalogue, "shown-dates-over", from = from, until = until)
            } else {
                text!(catalogue, "shown-dates", from = from, until = until, days = days)
            });
            detail(text!(catalogue, "shown-key", key = facts.key.to_string(), signature = facts.signature.clone()));
            detail(text!(catalogue, "shown-serial", serial = facts.serial.clone()));
            detail(text!(catalogue, "shown-fingerprint", fingerprint = facts.fingerprint.to_string()));
        }
        out
    }
}

fn certificate(facts: &CertFacts) -> Value {
    json!({
        "subject": facts.subject,
        "issuer": facts.issuer,
        "names": facts.names,
        "not_before": facts.not_before,
        "not_after": facts.not_after,
        "key": facts.key.to_string(),
        "signature": facts.signature,
        "serial": facts.serial,
        "sha256": facts.fingerprint.to_string(),
        "authority": facts.is_ca,
        "self_signed": facts.is_self_issued,
    })
}
