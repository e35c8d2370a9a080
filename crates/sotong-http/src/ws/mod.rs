//! WebSocket (RFC 6455), both sides: a codec of frames, and the layer that makes records of messages.
//!
//! [`WebSocket`] is a layer; [`Sockets`] is a service around a service, for those who come to a `ws://` address.
mod accept;
mod client;
mod code;
mod deflate;
mod extension;
mod frame;
mod layer;
mod limits;
mod reader;
mod server;
mod service;
mod utf8;
mod writer;

pub use accept::accept;
pub use client::{ClientOptions, NotARequest};
pub use code::{Breach, Code};
pub use frame::{CONTROL_BYTES_MAX, HEADER_BYTES_MAX, Header, Opcode, Side, mask};
pub use layer::{NOT_TEXT, WebSocket};
pub use limits::WsLimits;
pub use reader::{Control, Item, Kind, Reader};
pub use server::{Origins, Refusal, ServerOptions, asks_upgrade};
pub use service::{MaybeWs, Sockets};
pub use writer::{FRAMED, Speech};
