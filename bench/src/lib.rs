//! Measures Sotong's I/O models beside plain servers written for the purpose: `cargo run --release -p bench`.
pub mod cell;
pub mod load;
pub mod message;
pub mod peer;
pub mod proc;
pub mod server;
pub mod workload;
