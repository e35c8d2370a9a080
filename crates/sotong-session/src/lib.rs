//! What a protocol is, and what a driver owes it. No I/O, no clock, no threads.
//!
//! A protocol is a [`Session`]: a state machine that is handed an [`Event`] and answers with bytes in its [`Output`] and with
//! what it [`Wants`]. It never touches a socket, a clock, a thread or a file. A *driver* moves bytes between sockets and
//! sessions; there is one for each I/O model, and one without sockets that is driven by a seed. A *layer* is a session that
//! holds another (lines, TLS, WebSocket).
//!
//! # The contract
//!
//! Both sides keep the rules below. [`Checked`] asserts those that can be seen around one session and names them when they
//! break; tests and the simulator always wear it. A layer is the driver of the session inside it: worn on both sides,
//! [`Checked`] asserts the layer's rules too.
//!
//! | rule | the driver … |
//! |---|---|
//! | D1 | sends [`Event::Open`] first and once, [`Event::Gone`] last and once; after `Err` nothing but `Gone` |
//! | D2 | makes one call at a time: [`Host`]'s methods only queue |
//! | D3 | shows every untaken byte of a stream in one piece, never empty; a record once and whole. When room or the wish for input returns: first [`Event::Again`], then [`Event::Input`] if bytes are left |
//! | D4 | reads and shows input exactly while [`Wants::takes`] |
//! | D5 | sends [`Event::End`] only in a moment when the session takes input and has been shown, in that state, all that is left |
//! | D6 | sends [`Event::Deadline`] once `now` has reached [`Wants::deadline`], never before |
//! | D7 | delivers [`Event::Mail`] past the high mark; past the hard mark the session ends as [`Close::Slow`] |
//! | D8 | ends every connection by one close routine |
//! | D9 | spends a bounded number of bytes and events on a session in one turn |
//! | D10 | lets a panic cost one session: it leaves its topics, and [`Service::lost`] is told |
//! | D11 | notes that an output was full right after `handle`, before it sends, so that no [`Event::Drained`] is lost |
//! | D12 | keeps the order between shards: whatever A did is with B before the answer to anything B sends later |
//! | D13 | drops output after [`Output::finish`]; that is no overflow |
//! | D14 | shows no input to a shard's sessions while its mail to another shard is above a mark; delivery never pauses |
//!
//! | rule | a session … |
//! |---|---|
//! | S1 | takes a record whole |
//! | S2 | stops taking when its output is full, unless its pace is [`Pace::Always`], and when the shard is held: a loop over input asks [`Cx::takes`] |
//! | S3 | does no I/O, reads no clock, and depends on no order that differs from run to run |
//! | S4 | puts its farewell into the output before it returns `Err` |
//!
//! | rule | a layer … |
//! |---|---|
//! | L1 | matches every event by name |
//! | L2 | empties its scratch output after every nested call, on `Err` too |
//! | L3 | joins the inner's wants with its own; asks [`Cx::takes`] in its loops; passes a deadline inward only if it is the inner's; passes mail on untouched |
//! | L4 | sends `Open` inward once it is usable, with what it learned |
//! | L5 | keeps D3 and D5 towards its inner session |
//! | L6 | adds its own farewell behind the inner's; the driver never does |
//! | L7 | turns `finish` into its own end mark and leaves the socket open; a bare end of stream from the peer is then [`Close::Truncated`] |
//! | L8 | transforms input in place only on whole units that it takes |
//!
//! # Example
//!
//! ```
//! use sotong_session::{Close, Cx, Event, Records, Session, Stream, Wants};
//!
//! /// Says what it hears, louder.
//! struct Shout;
//!
//! impl Session for Shout {
//!     type Mail = std::convert::Infallible;
//!     fn handle(&mut self, event: Event<'_, Self::Mail>, cx: &mut Cx<'_, Self::Mail>) -> Result<(), Close> {
//!         match event {
//!             Event::Input(mut input) => {
//!                 let count = input.bytes().len().min(cx.out.room());
//!                 input.bytes_mut()[..count].make_ascii_uppercase();
//!                 cx.out.put(&input.bytes()[..count]);
//!                 input.take(count);
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
//! impl Stream for Shout {}
//!
//! let mut rig = sotong_session::rig::Rig::stream(Shout);
//! rig.open();
//! rig.input(b"hello");
//! assert_eq!(rig.sent(), b"HELLO");
//! ```
#![forbid(unsafe_code)]

mod carry;
mod checked;
pub mod cidr;
mod close;
mod context;
mod limits;
mod output;
pub mod rig;
mod rule;
mod service;
mod session;

pub use carry::Carry;
pub use checked::{Checked, CheckedService};
pub use close::Close;
pub use context::{Address, Cx, Desk, Host, Moment, Topic, Wall};
pub use limits::{Limits, LimitsError};
pub use output::{FileRange, Kind, Marks, Output, Piece, Source};
pub use rule::{Broken, Rule};
pub use service::{End, Service, TlsFacts, Way, Wire, WsFacts};
pub use session::{Event, Input, Pace, Records, Session, Stream, Wants};

/// A map with one iteration order in every run, as rule S3 asks.
pub type Map<K, V> = std::collections::BTreeMap<K, V>;
