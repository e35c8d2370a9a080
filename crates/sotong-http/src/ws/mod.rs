//! WebSocket (RFC 6455), both sides: a codec of frames, and the layer that makes records of messages.
mod code;
mod deflate;
mod frame;
mod limits;
mod reader;
mod utf8;

pub use code::{Breach, Code};
pub use frame::{CONTROL_BYTES_MAX, HEADER_BYTES_MAX, Header, Opcode, Side, mask};
pub use limits::WsLimits;
pub use reader::{Control, Item, Kind, Reader};
