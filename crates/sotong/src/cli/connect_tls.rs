//! The flags of `connect` for TLS.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};
use sotong_certs::{Fingerprint, HostName, IdentityFiles, Trust, Versions};
use sotong_layers::Upgrade;

use super::serve_tls::Version;
use crate::units::{BadValue, fingerprint, host_name};

#[derive(Debug, Args)]
#[command(next_help_heading = "tls")]
pub(crate) struct ConnectTls {
    #[arg(long, value_name = "FILE", conflicts_with_all = ["insecure", "pin"], value_hint = ValueHint::FilePath)]
    ca: Vec<PathBuf>,
    #[arg(long, value_name = "SHA256", conflicts_with = "insecure", value_parser = fingerprint)]
    pin: Vec<Fingerprint>,
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
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    cert: Option<PathBuf>,
    #[arg(long, value_name = "FILE", requires = "cert", value_hint = ValueHint::FilePath)]
    key: Option<PathBuf>,
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) alpn: Vec<String>,
    #[arg(long, value_enum, value_name = "VERSION", hide_short_help = true)]
    tls_min: Option<Version>,
    #[arg(long, value_enum, value_name = "VERSION", hide_short_help = true)]
    tls_max: Option<Version>,
    // Without a file it is the one that SSLKEYLOGFILE names.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, hide_short_help = true, value_hint = ValueHint::FilePath)]
    #[expect(clippy::option_option, reason = "not given, given, given with a file")]
    keylog: Option<Option<PathBuf>>,
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

impl ConnectTls {
    /// A flag that was given and means nothing without TLS; `--starttls` brings it.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let given = [
            (!self.ca.is_empty(), "--ca"),
            (!self.pin.is_empty(), "--pin"),
            (self.insecure, "--insecure"),
            (self.servername.is_some(), "--servername"),
            (self.show_cert, "--show-cert"),
            (self.cert.is_some(), "--cert"),
            (!self.alpn.is_empty(), "--alpn"),
            (self.tls_min.is_some(), "--tls-min"),
            (self.tls_max.is_some(), "--tls-max"),
            (self.keylog.is_some(), "--keylog"),
        ];
        given.into_iter().find(|(given, _)| *given).map(|(_, flag)| flag)
    }

    /// Whom to trust.
    pub(crate) fn trust(&self) -> Trust {
        if self.insecure {
            Trust::Anybody
        } else if !self.pin.is_empty() {
            Trust::Pins(self.pin.clone())
        } else if !self.ca.is_empty() {
            Trust::Files(self.ca.clone())
        } else {
            Trust::System
        }
    }

    pub(crate) fn identity(&self) -> Option<IdentityFiles> {
        self.cert.as_ref().map(|cert| IdentityFiles { cert: cert.clone(), key: self.key.clone() })
    }

    pub(crate) fn versions(&self) -> Versions {
        Version::range(self.tls_min, self.tls_max)
    }

    /// The file for the secrets of sessions, if they are asked for.
    ///
    /// # Errors
    /// They are asked for without a file, and the environment names none.
    pub(crate) fn keylog(&self) -> Result<Option<PathBuf>, BadValue> {
        match &self.keylog {
            Some(None) => {
                let named = std::env::var_os("SSLKEYLOGFILE").filter(|file| !file.is_empty());
                named.map(|file| Some(file.into())).ok_or(BadValue::KeyLog)
            }
            file => Ok(file.clone().flatten()),
        }
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
