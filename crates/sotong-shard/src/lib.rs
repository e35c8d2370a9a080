//! The driver's half of the contract, without its sockets.
//!
//! A [`Shard`] is what one loop of a driver runs: slots with a session each, their outputs, timers, mail and topic members,
//! the order of events that the contract promises, and the one close routine. It does no I/O: a driver tells it what came
//! ([`Shard::input`], [`Shard::end`], [`Shard::sent`]) and asks what to do ([`Shard::next`]). So every driver, and the
//! simulator, runs the same code for everything that is not a system call.
//!
//! Shards meet in an [`Exchange`]: one inbox each, and the topics' locks.
//!
//! # A turn of a driver's loop
//!
//! 1. [`Shard::begin_turn`] with the time; [`Shard::expire`] for timers; [`Shard::deliver`] for mail.
//! 2. For each readable connection with [`Shard::reads`]: receive, then [`Shard::input`] or [`Shard::end`]. `input` empties
//!    the inbox before it shows the bytes (rule D12b).
//! 3. While [`Shard::touched`] gives a slot: act on [`Shard::next`] until it says [`Step::Wait`]. All sending happens here,
//!    after the mail of the turn is in the inboxes (rule D12a); in a turn without input also within [`Shard::deliver_each`].
//! 4. If [`Shard::may_sleep`]: wait until [`Shard::next_deadline`].
#![forbid(unsafe_code)]

mod buffers;
mod counters;
mod exchange;
mod observer;
mod office;
mod peers;
mod shard;
mod slot;
mod timers;

pub use counters::Counters;
pub use exchange::{DeskQueue, Exchange, Wake};
pub use observer::{Closed, Observer, Silent};
pub use shard::{Mail, Reads, Shard, Step};
