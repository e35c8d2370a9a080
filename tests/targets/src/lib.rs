//! What is fuzzed: one function of bytes for each parser and for the whole chat, which panics where something is wrong.
//!
//! `fuzz/` hands them to cargo-fuzz, which searches for as long as one likes; `tests/tests/fuzz_smoke.rs` hands them some
//! thousand inputs that are the same in every run. Both begin with [`seeds`].
#![forbid(unsafe_code)]

pub mod chat;
pub mod desk;
mod parsers;
mod seeds;
mod sockets;

pub use chat::chat;
pub use parsers::{http_head, irc_message, proxy};
pub use seeds::{mutated, seeds};
pub use sockets::{ws_client, ws_frames, ws_server};

/// A function that is fuzzed.
pub type Target = fn(&[u8]);

/// All of them, by their names.
pub const TARGETS: [(&str, Target); 7] = [
    ("chat", chat),
    ("http_head", http_head),
    ("irc_message", irc_message),
    ("proxy", proxy),
    ("ws_client", ws_client),
    ("ws_frames", ws_frames),
    ("ws_server", ws_server),
];
