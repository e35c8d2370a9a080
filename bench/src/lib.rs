//! Measures Sotong's I/O models beside plain servers written for the purpose: `cargo run --release -p bench`.
//!
//! Each *cell* is one [`server::Server`] under one [`workload::Workload`] in one round: the server is started on a core of
//! its own, the [`load`] plays with it from another and compares every byte that comes back, and the server is ended. What
//! counts is messages for each second of the server's CPU time, as a ratio to another server within the same round:
//! machines change their speed from minute to minute, ratios within a round hardly do.
pub mod cell;
pub mod chat;
pub mod load;
pub mod message;
pub mod peer;
pub mod proc;
pub mod report;
pub mod run;
pub mod server;
pub mod stats;
pub mod target;
pub mod workload;
