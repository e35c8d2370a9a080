//! One module for each I/O model, all keeping one contract.
//!
//! A driver moves bytes between sockets and [`sotong_session::Session`]s. Everything that is not a system call stands in
//! [`sotong_shard`]; what drivers share of the rest (accepting and spreading, the steps of a connection, stopping, desks)
//! stands beside the models here:
//!
//! | module | what |
//! |---|---|
//! | `server` | binds a service, listeners and a model together; limits; the report at the end |
//! | `door` | accepting: the connection cap, running out of descriptors |
//! | `conn` | reading and writing one connection as its shard asks |
//! | `control` | stopping: telling every loop once, the drain's end |
//! | `desk` | slow work on threads of its own |
//! | `workers` | worker threads: their share of the sockets, connections handed over, their ends |
//! | `readiness` | the loop of the models that are told when a socket can be used |
//! | `blocking` | a shard on a thread that waits in the kernel: what `sequential` and `threads` share |
//! | `bridge` | joins two ends where a layer stands in between: `connect` and `listen` over TLS |
//! | `board` | how many connections each process of a server has |
//! | `sequential`, `threads`, `processes`, `epoll`, `asynchronous`, `uring` | the models |
//!
//! # Example
//!
//! ```no_run
//! use sotong_drivers::{Model, Options, ServeError, serve};
//! use sotong_net::{listen::listen, signals::Stop};
//! use sotong_session::{Records, Service, Stream};
//!
//! fn run<S>(service: S, stop: &Stop) -> Result<(), Box<dyn std::error::Error>>
//! where
//!     S: Service,
//!     S::Session: Stream + Records,
//! {
//!     let bound = listen(&["127.0.0.1:0".parse()?], &Default::default())?;
//!     println!("listening on {}", bound[0].endpoint());
//!     let report = serve(Model::Epoll, service, bound, &Options::default(), stop)?;
//!     println!("{} connections", report.counters.opened);
//!     Ok(())
//! }
//! ```
#![deny(unsafe_code)]

mod asynchronous;
mod blocking;
mod board;
pub mod bridge;
mod conn;
mod control;
mod desk;
mod door;
mod epoll;
mod model;
pub mod processes;
mod readiness;
mod sequential;
mod server;
mod threads;
mod uring;
mod workers;

pub use asynchronous::{serve_async, serve_streams_async};
pub use desk::{DeskWork, Outside, Plan, desk};
pub use model::{Model, ModelError, Obstacle, UnknownModel};
pub use server::{HoldLimits, Options, Report, ServeError, reach, serve, serve_streams, serve_with_desks};
pub use uring::{Missing, probe as probe_uring};
