//! Certificates for both sides of TLS: files as openssl makes them, rustls configurations, a local authority.
//!
//! | what | where |
//! |---|---|
//! | a server's configuration, several certificates by name, reload | [`server_config`], [`Reloadable`] |
//! | a client's configuration, and why it refused a peer | [`client_config`], [`Verdict`] |
//! | what a certificate says | [`describe`], [`describe_chain`] |
//! | whether a file is fit to serve with | [`check`] |
//! | a local authority and what it issues | [`Authority`] |
//! | a self-signed certificate that lasts over restarts | [`identity_that_lasts`] |
//!
//! Errors name the file and the cause, and are comparable; the words that people read are the command's.
//!
//! ```
//! use sotong_certs::{ClientTls, Trust, client_config};
//!
//! let pin = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".parse()?;
//! let client = client_config(&ClientTls { trust: Trust::Pins(vec![pin]), ..ClientTls::default() })?;
//! assert!(client.verdict.refusal().is_none(), "nobody was refused yet");
//! # Ok::<(), sotong_certs::CertError>(())
//! ```
#![forbid(unsafe_code)]

mod authority;
mod check;
mod client;
mod error;
mod facts;
mod fingerprint;
mod identity;
mod key_log;
mod lasting;
mod making;
mod names;
mod read;
mod server;
mod store;
mod verdict;
mod verifier;
mod versions;

use std::sync::{Arc, OnceLock};

use rustls::crypto::CryptoProvider;

pub use authority::{
    Authority, DAYS_DEFAULT, DAYS_MAX, Holder, Issued, Order, Record, authority_file, authority_folder, records,
};
pub use check::{Checked, Finding, check};
pub use client::{ClientTls, ClientTlsConfig, Trust, client_config};
pub use error::{CertError, Holds, Warning};
pub use facts::{CertFacts, KeyFacts, describe, describe_chain, unix_now, utc};
pub use fingerprint::Fingerprint;
pub use identity::{EXPIRES_SOON_DAYS, IdentityFiles};
pub use lasting::{LastingIdentity, identity_that_lasts};
pub use making::{KeyType, names_of_this_machine};
pub use names::{HostName, NameProblem};
pub use read::{FILE_BYTES_MAX, read_chain};
pub use rustls::pki_types::{CertificateDer, ServerName};
pub use server::{ClientAuth, Reloadable, ServerTls, server_config};
pub use store::{Overwrite, data_folder};
pub use verdict::{Refusal, Verdict, Why};
pub use versions::{TlsVersion, Versions};

/// The cryptography that every configuration is built with: ring, made once.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())))
}
