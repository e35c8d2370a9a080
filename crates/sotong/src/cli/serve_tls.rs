//! The flags of servers for their `tls://` addresses.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};
use sotong_certs::{ClientAuth, IdentityFiles, ServerTls, TlsVersion, Versions};

use crate::failure::Usage;
use crate::units::{Span, some_time};

#[derive(Debug, Args)]
#[command(next_help_heading = "tls")]
pub(crate) struct ServeTls {
    // The first certificate is for whoever asks for no name of any.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    cert: Vec<PathBuf>,
    #[arg(long, value_name = "FILE", requires = "cert", value_hint = ValueHint::FilePath)]
    key: Vec<PathBuf>,
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    client_ca: Option<PathBuf>,
    #[arg(long, value_enum, value_name = "WHEN")]
    client_auth: Option<Asks>,
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    alpn: Vec<String>,
    #[arg(long, value_enum, value_name = "VERSION", hide_short_help = true)]
    tls_min: Option<Version>,
    #[arg(long, value_enum, value_name = "VERSION", hide_short_help = true)]
    tls_max: Option<Version>,
    #[arg(long, value_name = "TIME", value_parser = some_time, hide_short_help = true)]
    tls_time: Option<Span>,
}

/// Whether clients show certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Asks {
    None,
    Ask,
    Demand,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Version {
    #[value(name = "1.2")]
    V12,
    #[value(name = "1.3")]
    V13,
}

impl ServeTls {
    /// A flag that was given, which means nothing without a `tls://` address.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let given = [
            (!self.cert.is_empty(), "--cert"),
            (self.client_ca.is_some(), "--client-ca"),
            (self.client_auth.is_some(), "--client-auth"),
            (!self.alpn.is_empty(), "--alpn"),
            (self.tls_min.is_some(), "--tls-min"),
            (self.tls_max.is_some(), "--tls-max"),
            (self.tls_time.is_some(), "--tls-time"),
        ];
        given.into_iter().find(|(given, _)| *given).map(|(_, flag)| flag)
    }

    /// Whether a certificate was given.
    pub(crate) fn has_certificate(&self) -> bool {
        !self.cert.is_empty()
    }

    /// Whether it was said that clients are not asked for certificates.
    pub(crate) fn asks_nobody(&self) -> bool {
        self.client_auth == Some(Asks::None)
    }

    /// Speaks `protocol` where the flags name none (ALPN).
    pub(crate) fn speak(&mut self, protocol: &str) {
        if self.alpn.is_empty() {
            self.alpn.push(protocol.to_owned());
        }
    }

    /// How long a handshake may take.
    pub(crate) fn time(&self) -> Option<std::time::Duration> {
        self.tls_time.map(|time| time.0)
    }

    /// What is asked for; without a certificate there are no identities.
    pub(crate) fn server(&self) -> Result<ServerTls, Usage> {
        // Each certificate has the key at its place, or all have their keys in their own files.
        if !self.key.is_empty() && self.key.len() != self.cert.len() {
            return Err(Usage::Keys { certs: self.cert.len(), keys: self.key.len() });
        }
        let keys = self.key.iter().cloned().map(Some).chain(std::iter::repeat(None));
        let identities = self.cert.iter().cloned().zip(keys).map(|(cert, key)| IdentityFiles { cert, key }).collect();
        let client_auth = match (self.client_auth, &self.client_ca) {
            (None | Some(Asks::None), None) => ClientAuth::None,
            (None | Some(Asks::Demand), Some(ca)) => ClientAuth::Demand { ca: ca.clone() },
            (Some(Asks::Ask), Some(ca)) => ClientAuth::Ask { ca: ca.clone() },
            (Some(Asks::None), Some(_)) => {
                return Err(Usage::Conflict { flag: "--client-ca".to_owned(), other: "--client-auth none".to_owned() });
            }
            (Some(Asks::Ask | Asks::Demand), None) => {
                return Err(Usage::Needs { flag: "--client-auth", other: "--client-ca" });
            }
        };
        let (alpn, versions) = (alpn(&self.alpn)?, Version::range(self.tls_min, self.tls_max));
        Ok(ServerTls { identities, client_auth, alpn, versions, key_log: None })
    }
}

impl Version {
    /// Those from the lowest to the highest, each by default what there is.
    pub(super) fn range(min: Option<Self>, max: Option<Self>) -> Versions {
        let of = |version: Option<Self>, default| match version {
            None => default,
            Some(Self::V12) => TlsVersion::V12,
            Some(Self::V13) => TlsVersion::V13,
        };
        let Versions { min: lowest, max: highest } = Versions::default();
        Versions { min: of(min, lowest), max: of(max, highest) }
    }
}

/// The names of application protocols (RFC 7301, section 3.1).
pub(crate) fn alpn(names: &[String]) -> Result<Vec<Vec<u8>>, Usage> {
    match names.iter().find(|name| name.is_empty() || name.len() > 255) {
        Some(name) => Err(Usage::Alpn { name: name.clone() }),
        None => Ok(names.iter().map(|name| name.clone().into_bytes()).collect()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        tls: ServeTls,
    }

    fn parsed(line: &str) -> Result<ServerTls, Usage> {
        let words = std::iter::once("sotong").chain(line.split_whitespace());
        Only::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}")).tls.server()
    }

    #[test]
    fn certificates_have_the_keys_at_their_places() {
        let of = |cert: &str, key: Option<&str>| IdentityFiles { cert: cert.into(), key: key.map(Into::into) };
        let two = parsed("--cert a --key b --cert c --key d").expect("two pairs");
        assert_eq!(two.identities, [of("a", Some("b")), of("c", Some("d"))]);
        assert_eq!(parsed("--cert a --cert c").expect("keys inside").identities, [of("a", None), of("c", None)]);
        assert_eq!(parsed("--cert a --cert c --key d"), Err(Usage::Keys { certs: 2, keys: 1 }));
        assert_eq!(parsed("--cert a --key b --key d"), Err(Usage::Keys { certs: 1, keys: 2 }));
    }

    #[test]
    fn an_authority_of_clients_means_that_they_must() {
        let ca = || "ca".into();
        for (line, expect) in [
            ("", ClientAuth::None),
            ("--client-auth none", ClientAuth::None),
            ("--client-ca ca", ClientAuth::Demand { ca: ca() }),
            ("--client-ca ca --client-auth demand", ClientAuth::Demand { ca: ca() }),
            ("--client-ca ca --client-auth ask", ClientAuth::Ask { ca: ca() }),
        ] {
            assert_eq!(parsed(line).map(|tls| tls.client_auth), Ok(expect), "{line}");
        }
        assert!(matches!(parsed("--client-auth ask"), Err(Usage::Needs { .. })));
        assert!(matches!(parsed("--client-ca ca --client-auth none"), Err(Usage::Conflict { .. })));
    }

    #[test]
    fn protocols_and_versions() {
        let tls = parsed("--alpn h2,http/1.1 --alpn x --tls-min 1.3").expect("legal");
        assert_eq!(tls.alpn, [b"h2".to_vec(), b"http/1.1".to_vec(), b"x".to_vec()]);
        assert_eq!(tls.versions, Versions { min: TlsVersion::V13, max: TlsVersion::V13 });
        assert!(matches!(parsed("--alpn h2,,x"), Err(Usage::Alpn { .. })));
    }
}
