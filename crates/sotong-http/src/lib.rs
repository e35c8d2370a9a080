//! HTTP/1.1 as a session, and a site of files on it. No I/O: a driver brings bytes, a desk brings files.
//!
//! [`Http`] reads requests, one strict parser for all, and shows them to an [`App`], which answers them; [`site`] is the app
//! that serves a folder.
//!
//! ```
//! use sotong_http::{App, Fields, Http, HttpLimits, Next, Reply, Request, Status};
//! use sotong_session::rig::Rig;
//!
//! struct Hello;
//! impl App for Hello {
//!     type Mail = std::convert::Infallible;
//!     fn request(&mut self, _: &Request<'_>, reply: &mut Reply<'_, '_, Self::Mail>) -> Next {
//!         reply.whole(Status::OK, &[&Fields::new()], b"Hello, World!\n")
//!     }
//!     fn body_end(&mut self, _: &mut Reply<'_, '_, Self::Mail>) -> Next {
//!         Next::Done
//!     }
//! }
//!
//! let mut rig = Rig::stream(Http::new(Hello, HttpLimits::default()));
//! rig.open();
//! rig.input(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
//! assert!(rig.sent().ends_with(b"\r\n\r\nHello, World!\n"));
//! ```
#![forbid(unsafe_code)]

mod app;
mod body;
pub mod date;
mod fault;
mod fields;
mod head;
mod limits;
mod session;
pub mod site;
pub mod ws;

pub use app::{Answered, App, Next, Reply};
pub use body::{Decoder, Part};
pub use fault::Fault;
pub use fields::{Fields, Name, NotAValue, Status};
pub use head::{FIELDS_MAX, Framing, Method, Request, Scanner, Version};
pub use limits::HttpLimits;
pub use session::Http;
