//! Run, reach and measure socket servers: the command and the library's front door.

pub use sotong_session as session;
