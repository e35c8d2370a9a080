//! Run, reach and measure socket servers: the command and the library's front door.
//!
//! A protocol is a [`session::Session`]: it is handed events and answers with bytes, and knows no socket, clock or thread.
//! A driver runs it, one for each I/O model ([`drivers::Model`]), on any address ([`net::endpoint::Endpoint`]): TCP, UDP,
//! Unix. Whatever runs under one runs under all, and in the simulator, where a fault comes back from its seed.
//!
//! | module | what |
//! |---|---|
//! | [`session`] | the contract: sessions, events, bounded output, close reasons, limits |
//! | [`layers`] | sessions around sessions: lines, idle limit, rate, first bytes |
//! | [`tls`] | TLS around any stream session, both sides; certificates come as configurations of rustls |
//! | `certs` | certificates: PEM files made into configurations, a local authority (feature `certs`, on by default) |
//! | [`http`] | HTTP/1.1: requests and answers, a site of files |
//! | [`desks`] | slow work for them: files beneath a folder, passwords |
//! | [`chat`] | IRC clients and people with a terminal in the same rooms; its grammar is [`irc`] |
//! | [`classics`] | echo, discard, chargen, daytime, time, a room of lines |
//! | [`net`] | addresses, listening, dialling, the pump, signals |
//! | [`drivers`] | the I/O models; [`drivers::serve_async`] serves inside a Tokio program |
//! | [`shard`] | for those who write a driver: everything of it that is no system call |
//!
//! The command `sotong` is the feature `cli`, on by default; a program that uses only the library turns it off
//! (`default-features = false`) and builds none of its crates.
//!
//! # A service of one's own
//!
//! ```
//! use sotong::session::{Address, Close, Cx, Event, Host, Service, Session, Stream, Wants, Way};
//!
//! /// Says what it hears, louder.
//! #[derive(Clone)]
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
//!             _ => {}
//!         }
//!         Ok(())
//!     }
//!     fn wants(&self) -> Wants {
//!         Wants::INPUT
//!     }
//! }
//! impl Stream for Shout {}
//!
//! impl Service for Shout {
//!     type Session = Self;
//!     fn open(&self, _: &Way) -> Result<Self, Close> {
//!         Ok(Self)
//!     }
//!     fn lost(&self, _: Address, _: &mut dyn Host<std::convert::Infallible>) {}
//! }
//!
//! use sotong::{drivers::{self, Model, Options}, net::{listen::{Bound, listen}, signals::Stop}};
//! use std::{io::{Read, Write}, net::{Shutdown, TcpStream}};
//!
//! // The same service under two models.
//! for model in [Model::Threads, Model::Epoll] {
//!     let mut bound = listen(&["127.0.0.1:0".parse()?], &Default::default())?;
//!     let address = bound[0].endpoint().to_string();
//!     let Some(Bound::Stream(listener)) = bound.pop() else { unreachable!("TCP is a stream") };
//!     let stop = Stop::new()?;
//!     let server = std::thread::spawn({
//!         let stop = stop.clone();
//!         move || drivers::serve_streams(model, Shout, vec![listener], vec![], &Options::default(), &stop)
//!     });
//!
//!     let mut peer = TcpStream::connect(address.trim_start_matches("tcp://"))?;
//!     peer.write_all(b"hello")?;
//!     peer.shutdown(Shutdown::Write)?;
//!     let mut answer = String::new();
//!     peer.read_to_string(&mut answer)?;
//!     assert_eq!(answer, "HELLO");
//!
//!     stop.drain();
//!     let report = server.join().expect("no panic")?;
//!     assert_eq!(report.counters.opened, 1);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

#[cfg(feature = "certs")]
pub use sotong_certs as certs;
pub use sotong_chat as chat;
pub use sotong_classics as classics;
pub use sotong_desks as desks;
pub use sotong_drivers as drivers;
pub use sotong_http as http;
pub use sotong_irc as irc;
pub use sotong_layers as layers;
pub use sotong_net as net;
pub use sotong_session as session;
pub use sotong_shard as shard;
pub use sotong_tls as tls;
