//! The flags of TLS.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum, ValueHint};
use sotong_certs::{Fingerprint, HostName, IdentityFiles, TlsVersion, Versions};
use sotong_layers::Upgrade;

use crate::units::{BadValue, alpn, fingerprint, host_name};

// What both sides take.
#[derive(Debug, Args)]
#[command(next_help_heading = "tls")]
pub(crate) struct TlsFlags {
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) cert: Option<PathBuf>,
    #[arg(long, value_name = "FILE", requires = "cert", value_hint = ValueHint::FilePath)]
    pub(crate) key: Option<PathBuf>,
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = alpn)]
    pub(crate) alpn: Vec<String>,
    #[arg(long, value_enum, value_name = "VERSION", default_value = "1.2", hide_short_help = true)]
    pub(crate) tls_min: Version,
    #[arg(long, value_enum, value_name = "VERSION", default_value = "1.3", hide_short_help = true)]
    pub(crate) tls_max: Version,
    // Without a file it is the one that SSLKEYLOGFILE names.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "", hide_short_help = true, value_hint = ValueHint::FilePath)]
    pub(crate) keylog: Option<PathBuf>,
}

// What `connect` takes besides.
#[derive(Debug, Args)]
#[command(next_help_heading = "tls")]
pub(crate) struct ConnectTls {
    #[arg(long, value_name = "FILE", conflicts_with_all = ["insecure", "pin"], value_hint = ValueHint::FilePath)]
    pub(crate) ca: Vec<PathBuf>,
    #[arg(long, value_name = "SHA256", conflicts_with = "insecure", value_parser = fingerprint)]
    pub(crate) pin: Vec<Fingerprint>,
    #[arg(long)]
    pub(crate) insecure: bool,
    #[arg(long, value_name = "NAME", value_parser = host_name)]
    pub(crate) servername: Option<HostName>,
    #[arg(long, value_enum, value_name = "PROTOCOL")]
    pub(crate) starttls: Option<StartTls>,
    #[arg(long, conflicts_with_all = ["message", "check", "hex", "log", "crlf"])]
    pub(crate) show_cert: bool,
    #[arg(long, requires = "show_cert")]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) both: TlsFlags,
}

// What `listen` takes besides.
#[derive(Debug, Args)]
#[command(next_help_heading = "tls")]
pub(crate) struct ListenTls {
    #[command(flatten)]
    pub(crate) both: TlsFlags,
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) client_ca: Option<PathBuf>,
    #[arg(long, requires = "client_ca", action = ArgAction::SetTrue)]
    pub(crate) client_optional: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Version {
    #[value(name = "1.2")]
    V12,
    #[value(name = "1.3")]
    V13,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StartTls {
    Smtp,
    Imap,
    Pop3,
    Irc,
    Xmpp,
    Postgres,
    Ldap,
}

impl TlsFlags {
    pub(crate) fn identity(&self) -> Option<IdentityFiles> {
        self.cert.as_ref().map(|cert| IdentityFiles { cert: cert.clone(), key: self.key.clone() })
    }

    pub(crate) fn alpn(&self) -> Vec<Vec<u8>> {
        self.alpn.iter().map(|name| name.clone().into_bytes()).collect()
    }

    pub(crate) fn versions(&self) -> Versions {
        let of = |version| match version {
            Version::V12 => TlsVersion::V12,
            Version::V13 => TlsVersion::V13,
        };
        Versions { min: of(self.tls_min), max: of(self.tls_max) }
    }

    /// The file for the secrets of sessions, if they are asked for.
    ///
    /// # Errors
    /// They are asked for without a file, and the environment names none.
    pub(crate) fn keylog(&self) -> Result<Option<PathBuf>, BadValue> {
        match &self.keylog {
            Some(file) if file.as_os_str().is_empty() => {
                let named = std::env::var_os("SSLKEYLOGFILE").filter(|file| !file.is_empty());
                named.map(|file| Some(file.into())).ok_or(BadValue::KeyLog)
            }
            file => Ok(file.clone()),
        }
    }

    /// A flag that was given and means nothing without TLS.
    fn given(&self) -> Option<&'static str> {
        let given = [
            (self.cert.is_some(), "--cert"),
            (!self.alpn.is_empty(), "--alpn"),
            (self.tls_min != Version::V12, "--tls-min"),
            (self.tls_max != Version::V13, "--tls-max"),
            (self.keylog.is_some(), "--keylog"),
        ];
        given.into_iter().find(|(given, _)| *given).map(|(_, flag)| flag)
    }
}

impl ConnectTls {
    /// A flag that was given and means nothing without TLS; `--starttls` brings it.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let given = [
            (!self.ca.is_empty(), "--ca"),
            (!self.pin.is_empty(), "--pin"),
            (self.insecure, "--insecure"),
            (self.servername.is_some(), "--servername"),
            (self.show_cert, "--show-cert"),
        ];
        given.into_iter().find(|(given, _)| *given).map(|(_, flag)| flag).or_else(|| self.both.given())
    }
}

impl ListenTls {
    /// A flag that was given and means nothing without TLS.
    pub(crate) fn given(&self) -> Option<&'static str> {
        if self.client_ca.is_some() { Some("--client-ca") } else { self.both.given() }
    }
}

impl StartTls {
    pub(crate) fn upgrade(self) -> Upgrade {
        match self {
            Self::Smtp => Upgrade::Smtp,
            Self::Imap => Upgrade::Imap,
            Self::Pop3 => Upgrade::Pop3,
            Self::Irc => Upgrade::Irc,
            Self::Xmpp => Upgrade::Xmpp,
            Self::Postgres => Upgrade::Postgres,
            Self::Ldap => Upgrade::Ldap,
        }
    }
}
