//! The driver without sockets: a seeded network, clock and faults, with a trace that replays.
//!
//! A [`Sim`] runs the shards of [`sotong_shard`] on one thread, in steps that other shards' steps come between, over wires
//! that are slow, cut bytes anywhere, reset and fall silent. Everything a run does comes from the seed of its [`Setup`]:
//! the same seed gives the same [`Trace`], so a run that failed can be looked at as often as it takes.
//!
//! # Who checks what
//!
//! Every session wears [`sotong_session::Checked`], which asserts the rules that can be seen around one session. A watcher
//! between shards, sessions and wires asserts the rest:
//!
//! | rule | what the watcher sees |
//! |---|---|
//! | D1 | an address that was used before; an `Open` without `Gone`; a connection closed before its session heard |
//! | D3 | input that is not exactly what came and was not taken |
//! | D4 | a shard that sleeps beside input its session takes |
//! | D6 | a deadline that has come and is not told by the end of the turn, or that nobody remembers |
//! | D7 | output over the hard mark; mail that waits although a whole turn has passed |
//! | D8 | words closed over, changed, or sent after the half-close; a close without half-close or linger; a peer that reads and was not told everything |
//! | D9 | more bytes for one connection in one turn than its share |
//! | D10 | a panic nobody is told of, or twice; mail to who panicked; members when all have gone |
//! | D11 | output that nobody sends, when nothing else is left to happen |
//! | D12 | output before the mail of its turn; bytes before mail that came before them; mail out of order, twice, or missing |
//! | D14 | input at a shard that must wait; an inbox without bound |
//! | L6 | words that no session said |
//!
//! That the watcher is awake is tested too: each [`Sabotage`] has the simulated driver break one rule.
//!
//! # Example
//!
//! ```
//! use sotong_sim::{Act, Ended, Faults, Script, Setup, Sim};
//! # use sotong_session::{Address, Close, Cx, Event, Host, Service, Session, Wants, Way};
//! # #[derive(Clone)]
//! # struct Echo;
//! # impl Service for Echo {
//! #     type Session = Echo;
//! #     fn open(&self, _: &Way) -> Result<Echo, Close> { Ok(Echo) }
//! #     fn lost(&self, _: Address, _: &mut dyn Host<std::convert::Infallible>) {}
//! # }
//! # impl Session for Echo {
//! #     type Mail = std::convert::Infallible;
//! #     fn handle(&mut self, event: Event<'_, Self::Mail>, cx: &mut Cx<'_, Self::Mail>) -> Result<(), Close> {
//! #         match event {
//! #             Event::Input(mut input) => {
//! #                 let count = input.bytes().len().min(cx.out.room());
//! #                 cx.out.put(&input.bytes()[..count]);
//! #                 input.take(count);
//! #             }
//! #             Event::End => cx.out.finish(),
//! #             Event::Stop => return Err(Close::Stop),
//! #             Event::Open(_) | Event::Again | Event::Mail(_) | Event::Deadline | Event::Drained | Event::Gone(_) => {}
//! #         }
//! #         Ok(())
//! #     }
//! #     fn wants(&self) -> Wants { Wants::INPUT }
//! # }
//!
//! // Whatever the wires are like: what was said comes back, and then the end.
//! for seed in 0..20 {
//!     let mut sim = Sim::new(Setup::new(seed).without_faults(), Echo);
//!     let words = vec![b'x'; 500];
//!     let peer = sim.connect(Default::default(), Script::new([Act::Say(words.clone()), Act::Fin]));
//!     let outcome = sim.run().expect("no rule is broken");
//!     assert_eq!(outcome.of(peer).heard, words);
//!     assert_eq!(outcome.of(peer).ended, Some(Ended::Fin));
//! }
//! ```
#![forbid(unsafe_code)]

mod agenda;
mod desk;
mod dice;
mod guard;
mod net;
mod peer;
pub mod probe;
mod runner;
mod setup;
mod sim;
mod trace;
mod watch;

pub use desk::{DeskPlan, Others, Work};
pub use dice::Dice;
pub use peer::{Act, Ended, Link, Peer, PeerCx, Reading, Script};
pub use setup::{Faults, Sabotage, Setup, Wires};
pub use sim::{Failure, Outcome, Sim, Told};
pub use trace::{Line, Trace};
pub use watch::Broken;
