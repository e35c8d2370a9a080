//! `--show-cert`: what a server shows of itself, for people and for scripts.

use std::fmt::Write as _;

use serde_json::{Value, json};
use sotong_certs::{CertFacts, CertificateDer, describe_chain, unix_now};
use sotong_drivers::bridge::Crossed;

use super::secure::Client;
use crate::catalogue::{Catalogue, text};
use crate::{certificate, failure};

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

    /// The names are a promise to scripts.
    fn object(&self, chain: &[CertFacts]) -> Value {
        let english = Catalogue::new(crate::catalogue::Lang::En);
        let tls = self.crossed.tls.as_ref();
        let (refusal, now) = (self.secure.refusal(), unix_now());
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
            "chain": chain.iter().map(|facts| certificate::object(facts, now)).collect::<Vec<_>>(),
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
        let paragraphs = certificate::chain(catalogue, chain, unix_now());
        if !chain.is_empty() {
            line(String::new());
        }
        out.push_str(&paragraphs);
        out
    }
}
