//! WebSocket: both sides of the layer, one against the other and against bytes written by hand.
mod common;
mod handshake;
mod pair;
