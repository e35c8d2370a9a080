//! Services, models and layers on real sockets, one file a behaviour.
//!
//! What the tests share stands here: the command as a process, its start-up lines read, its end guaranteed; connections to
//! it; the ways to run it; programs of others that talk to it; people in a room.
//!
//! | environment | what |
//! |---|---|
//! | `SOTONG_BIN` | the command to be tested, instead of one built here |
//! | `SOTONG_TOOLS=required` | a foreign peer that is not installed is a failure, instead of a printed line |
pub mod chat_desk;
pub mod conn;
pub mod http;
pub mod irc;
pub mod person;
pub mod process;
pub mod runs;
pub mod server;
pub mod tls;
pub mod tool;
