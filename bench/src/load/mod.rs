//! The load: peers in a closed loop over one epoll, on one thread, without an allocation a message.
mod churn;
mod datagrams;
mod dial;
mod meter;
mod play;

use std::{io, os::fd::OwnedFd, time::Duration};

use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
    io::Errno,
};

pub use churn::churn;
pub use datagrams::datagrams;
use dial::number;
pub use dial::{dial, raise_descriptors};
pub use meter::{Meter, Tally};
pub use play::{Hog, Shape, play};

/// How long a server may say nothing before the run is given up.
pub const SILENCE_MAX: Duration = Duration::from_secs(10);
/// How often the load looks up when nothing happens.
const LOOK_UP: Duration = Duration::from_millis(100);
pub(crate) const EVENTS_MAX: usize = 1024;
pub(crate) const BUFFER_BYTES: usize = 64 << 10;

/// Why a cell has no figure.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Bytes came back that were not sent.
    #[error("peer {peer} got wrong bytes in message {number}")]
    Wrong {
        /// Which peer of the load.
        peer: u32,
        /// Which of its messages, counted from 0.
        number: u64,
    },
    /// A connection ended that should not.
    #[error("the server ended the connection of peer {peer}")]
    Closed {
        /// Which peer of the load.
        peer: u32,
    },
    /// A server said goodbye to a client that wanted to stay.
    #[error("the server sends a client away: {said}")]
    Refused {
        /// What it said.
        said: String,
    },
    /// [`SILENCE_MAX`] passed without a message.
    #[error("the server was silent for {SILENCE_MAX:?}")]
    Silent,
    /// Somebody pressed Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// The system refused.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Says what was tried when the system refuses.
pub(crate) trait Trying<T> {
    fn trying(self, what: &'static str) -> Result<T, LoadError>;
}

impl<T, E: Into<io::Error>> Trying<T> for Result<T, E> {
    fn trying(self, what: &'static str) -> Result<T, LoadError> {
        self.map_err(|source| LoadError::System { what, source: source.into() })
    }
}

/// What has happened, or nothing after [`LOOK_UP`].
pub(crate) fn wait(poll: &OwnedFd, events: &mut Vec<epoll::Event>) -> Result<(), LoadError> {
    const TIMEOUT: Timespec = Timespec { tv_sec: 0, tv_nsec: LOOK_UP.subsec_nanos() as i64 };
    events.clear();
    match epoll::wait(poll, spare_capacity(events), Some(&TIMEOUT)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno).trying("wait"),
    }
}
