//! TLS 1.2 and 1.3 around any stream session, client and server side.
//!
//! [`Tls`] is a layer: a session that holds another and speaks TLS for it. It keeps rules L1–L8 of the contract in
//! [`sotong_session`]: the inner session hears `Open` once the handshake is done, with what it showed
//! ([`TlsFacts`](sotong_session::TlsFacts)); its half-close becomes a close_notify, behind which the socket stays open for
//! what the peer still says; a stream that ends without the peer's close_notify is
//! [`Close::Truncated`](sotong_session::Close::Truncated).
//!
//! Certificates, keys, roots and versions come in a `rustls` configuration; this crate reads no file and no clock. It
//! renegotiates nothing, compresses nothing, and takes no early data (RFC 8446 §2.3), which can be replayed.
//!
//! [`Secure`] is a service around a service: it wraps the sessions of those who come to a `tls://` address. [`Front`] does so
//! also for those whose first byte is TLS's, at any other address. Handshakes under way are bounded ([`Handshakes`]).
//!
//! An idle connection has no buffers: what is kept between events is an unfinished record, at most 18 KiB, and what the
//! inner session has not taken.
//!
//! # Example
//!
//! ```
//! use rustls::{ClientConfig, RootCertStore, crypto::ring};
//! use sotong_session::{Close, Cx, Event, Session, Stream, Wants, rig::Rig};
//! use sotong_tls::{Tls, TlsLimits};
//! use std::sync::Arc;
//!
//! /// Asks for a page and listens.
//! struct Ask;
//! impl Session for Ask {
//!     type Mail = std::convert::Infallible;
//!     fn handle(&mut self, event: Event<'_, Self::Mail>, cx: &mut Cx<'_, Self::Mail>) -> Result<(), Close> {
//!         match event {
//!             Event::Open(_) => cx.out.put(b"GET / HTTP/1.0\r\n\r\n"),
//!             Event::Input(mut input) => input.take_all(),
//!             Event::End => cx.out.finish(),
//!             Event::Stop => return Err(Close::Stop),
//!             Event::Again | Event::Mail(_) | Event::Deadline | Event::Drained | Event::Gone(_) => {}
//!         }
//!         Ok(())
//!     }
//!     fn wants(&self) -> Wants {
//!         Wants::INPUT
//!     }
//! }
//! impl Stream for Ask {}
//!
//! let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
//!     .with_safe_default_protocol_versions()?
//!     .with_root_certificates(RootCertStore::empty())
//!     .with_no_client_auth();
//! let name = "example.org".try_into()?;
//! let tls = Tls::client(Ask, Arc::new(config), name, TlsLimits::default()).map_err(|close| close.to_string())?;
//! let mut rig = Rig::stream(tls);
//! rig.open();
//! assert_eq!(rig.sent()[..2], [22, 3], "a handshake record: the client speaks first");
//! rig.input(b"220 mail.example.org ready\r\n");
//! assert_eq!(
//!     rig.close().map(ToString::to_string).as_deref(),
//!     Some("protocol: the server does not speak TLS; it said \"220 mail.example.org ready\\r\\n\""),
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod engine;
mod first;
mod front;
mod handshakes;
mod hello;
mod layer;
mod limits;
mod service;

pub use front::{Front, Fronted};
pub use handshakes::{HANDSHAKES_MAX, Handshakes};
pub use layer::Tls;
pub use limits::TlsLimits;
pub use rustls;
pub use service::{Configs, MaybeTls, Secure};
