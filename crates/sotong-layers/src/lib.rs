//! Layers around any session: lines, idle limit, rate, first-bytes sniffing and handing over, the words before TLS.
//!
//! A layer is a session that holds another, and keeps rules L1–L8 of the contract in [`sotong_session`] between the two. A
//! layer that changes nothing of what is said ([`IdleLimit`]) is right wherever its inner session is; one that makes
//! records of a stream ([`Lines`]) is a [`Stream`](sotong_session::Stream) around
//! [`Records`](sotong_session::Records).
//!
//! # Example
//!
//! A session that knows only records, spoken to in lines, with a limit on silence:
//!
//! ```
//! use sotong_layers::{IdleLimit, IdleLimits, LineOptions, Lines};
//! use sotong_session::{Close, Cx, Event, Records, Session, Wants, rig::Rig};
//! use std::time::Duration;
//!
//! /// Says how long each record is.
//! struct Count;
//!
//! impl Session for Count {
//!     type Mail = std::convert::Infallible;
//!     fn handle(&mut self, event: Event<'_, Self::Mail>, cx: &mut Cx<'_, Self::Mail>) -> Result<(), Close> {
//!         match event {
//!             Event::Input(mut input) => {
//!                 cx.out.put(input.bytes().len().to_string().as_bytes());
//!                 cx.out.cut();
//!                 input.take_all();
//!             }
//!             Event::End => cx.out.finish(),
//!             Event::Stop => return Err(Close::Stop),
//!             Event::Open(_) | Event::Again | Event::Mail(_) | Event::Deadline | Event::Drained | Event::Gone(_) => {}
//!         }
//!         Ok(())
//!     }
//!     fn wants(&self) -> Wants {
//!         Wants::INPUT
//!     }
//! }
//! impl Records for Count {}
//!
//! let limits = IdleLimits { silence: Some(Duration::from_secs(60)), ..IdleLimits::default() };
//! let mut rig = Rig::stream(IdleLimit::new(Lines::new(Count, LineOptions::default()), limits));
//! rig.open();
//! rig.input(b"one\r\nth");
//! rig.input(b"ree\n");
//! assert_eq!(rig.sent(), b"3\n5\n");
//! rig.advance(Duration::from_secs(60));
//! assert_eq!(rig.close(), Some(&Close::Idle));
//! ```
#![forbid(unsafe_code)]
#![deny(clippy::wildcard_enum_match_arm, reason = "a layer decides about every event by name (rule L1)")]

mod handover;
mod idle;
mod lines;
pub mod proxy;
mod rate;
mod sniff;
mod starttls;
#[cfg(test)]
mod testing;

pub use handover::{First, Handover, Successor};
pub use idle::{IdleLimit, IdleLimits};
pub use lines::{Ending, LineOptions, Lines};
pub use rate::{Rate, RateLimits};
pub use sniff::{Choice, Chooser, Sniff, SniffLimits};
pub use starttls::{StartTls, StartTlsLimits, Upgrade};
