//! `[sts]`: clients are told to come by TLS alone, and remember it (IRCv3 sts). So it must work where they are sent.

use std::path::{Path, PathBuf};

use sotong_certs::{describe, read_chain};
use sotong_chat::ListenerKind;
use sotong_net::endpoint::Endpoint;

use super::fault::Why;
use super::section::{Table, place};
use super::setting::Reader;
use super::{Config, Listen};
use crate::catalogue::{Catalogue, text};
use toml::de::DeValue;

/// Why clients cannot be told to come by TLS alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StsFault {
    /// Nothing listens at that port where IRC is spoken.
    NoListener { port: u16 },
    /// No certificate was given there: none, or one that nobody vouches for, is shown.
    NoCertificate { port: u16 },
    /// The certificate that was given vouches for itself.
    SelfSigned { file: String },
}

impl StsFault {
    pub(crate) fn message(&self, catalogue: &Catalogue) -> String {
        match self {
            Self::NoListener { port } => text!(catalogue, "config-sts-no-listener", port = u64::from(*port)),
            Self::NoCertificate { port } => text!(catalogue, "config-sts-no-certificate", port = u64::from(*port)),
            Self::SelfSigned { file } => text!(catalogue, "config-sts-self-signed", file = file.clone()),
        }
    }
}

/// A way in, as far as it matters to those who are sent to it.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    /// Its port, where it has one that is known.
    port: Option<u16>,
    /// Whether clients of IRC are heard there.
    is_irc: bool,
    /// The certificates that were given for it.
    certs: Vec<PathBuf>,
}

impl Heard {
    pub(crate) fn new(at: &Endpoint, kind: ListenerKind, certs: Vec<PathBuf>) -> Self {
        let is_irc = matches!(kind, ListenerKind::Auto | ListenerKind::Irc);
        Self { port: at.host_port().map(|at| at.port), is_irc, certs }
    }
    fn of(listen: &Listen) -> Option<Self> {
        let cert = listen.tls_cert.given().map(Path::to_path_buf);
        Some(Self::new(listen.address.0.as_ref()?, listen.kind.0, cert.into_iter().collect()))
    }
}

/// Whether clients can be sent to this port. Of a certificate that cannot be read others tell.
pub(crate) fn check(port: u16, heard: &[Heard]) -> Result<(), StsFault> {
    let there = || heard.iter().filter(|heard| heard.port == Some(port) && heard.is_irc);
    if there().next().is_none() {
        return Err(StsFault::NoListener { port });
    }
    if there().any(|heard| heard.certs.is_empty()) {
        return Err(StsFault::NoCertificate { port });
    }
    let is_self_signed = |file: &&PathBuf| {
        let chain = read_chain(file).unwrap_or_default();
        chain.first().and_then(describe).is_some_and(|facts| facts.is_self_issued)
    };
    match there().flat_map(|heard| &heard.certs).find(is_self_signed) {
        Some(file) => Err(StsFault::SelfSigned { file: file.display().to_string() }),
        None => Ok(()),
    }
}

impl Config {
    /// The port that clients are told of, if they are.
    pub(crate) fn sts_port(&self) -> Option<u16> {
        u16::try_from(self.sts.port.0).ok().filter(|_| self.sts.enabled)
    }

    /// What the file says of it alone; where it says nothing of listeners, the command line may.
    pub(super) fn check_sts(&self, document: &Table<'_>, reader: &mut Reader<'_>) {
        let Some(port) = self.sts_port().filter(|_| !self.listen.is_empty()) else { return };
        let heard: Vec<_> = self.listen.iter().filter_map(Heard::of).collect();
        let Err(why) = check(port, &heard) else { return };
        let section = document.iter().find(|(key, _)| key.get_ref() == "sts").map(|(_, value)| value.get_ref());
        let Some(DeValue::Table(table)) = section else { return };
        let at = place(table, "port").or_else(|| place(table, "enabled")).unwrap_or(0..0);
        reader.fault(at, Why::Sts(why));
    }
}
