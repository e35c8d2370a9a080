//! Certificates that openssl made, and handshakes with openssl.
//!
//! Where there is no openssl the tests say so and pass, or fail under `SOTONG_TOOLS=required`.

mod common;
mod facts;
mod files;
mod handshakes;
mod making;
mod verdicts;
