//! Which versions of TLS are spoken.

use std::fmt;
use std::str::FromStr;

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

use crate::error::CertError;

/// A version of TLS; there are no older ones here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    V12,
    /// TLS 1.3 (RFC 8446).
    V13,
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V12 => "1.2",
            Self::V13 => "1.3",
        })
    }
}

impl FromStr for TlsVersion {
    type Err = ();

    /// `1.2` or `1.3`.
    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::V12, Self::V13].into_iter().find(|version| version.to_string() == text).ok_or(())
    }
}

/// The lowest and the highest version that may be spoken; 1.2 to 1.3 by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The lowest.
    pub min: TlsVersion,
    /// The highest.
    pub max: TlsVersion,
}

impl Default for Versions {
    fn default() -> Self {
        Self { min: TlsVersion::V12, max: TlsVersion::V13 }
    }
}

impl Versions {
    /// As rustls takes them.
    ///
    /// # Errors
    /// [`CertError::Versions`] if the lowest is above the highest.
    pub(crate) fn of_rustls(self) -> Result<&'static [&'static SupportedProtocolVersion], CertError> {
        static BOTH: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];
        match (self.min, self.max) {
            (TlsVersion::V12, TlsVersion::V13) => Ok(&BOTH),
            (TlsVersion::V12, TlsVersion::V12) => Ok(&BOTH[..1]),
            (TlsVersion::V13, TlsVersion::V13) => Ok(&BOTH[1..]),
            (TlsVersion::V13, TlsVersion::V12) => Err(CertError::Versions { min: self.min, max: self.max }),
        }
    }
}
