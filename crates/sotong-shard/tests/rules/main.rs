//! The driver's half of the contract, rule by rule, without any I/O.
mod closing;
mod common;
mod datagrams;
mod flow;
mod mail;
mod memory;
mod timers;
mod topics;
