//! Connections of the load, made in small batches so that no backlog overflows.
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{LoadError, SILENCE_MAX, Trying};
use crate::message::Messages;

const BATCH: usize = 128;

/// Connects `count` peers and plays one message with each, so that the server knows them all: message 0 of each is spent.
/// The sockets block, with a time limit.
///
/// # Errors
/// If a connection fails, ends, or gives back wrong bytes; or the run is interrupted.
pub fn dial(
    server: SocketAddr,
    count: usize,
    messages: &Messages,
    interrupted: &AtomicBool,
) -> Result<Vec<TcpStream>, LoadError> {
    let mut streams = Vec::with_capacity(count);
    let (mut out, mut back) = (Vec::new(), vec![0; messages.size()]);
    while streams.len() < count {
        if interrupted.load(Ordering::Relaxed) {
            return Err(LoadError::Interrupted);
        }
        let from = streams.len();
        for peer in from..count.min(from + BATCH) {
            let mut stream = TcpStream::connect_timeout(&server, SILENCE_MAX).trying("connect")?;
            stream.set_nodelay(true).trying("set TCP_NODELAY")?;
            stream.set_read_timeout(Some(SILENCE_MAX)).trying("set a time limit")?;
            stream.set_write_timeout(Some(SILENCE_MAX)).trying("set a time limit")?;
            out.clear();
            messages.write(number(peer), 0, 0, &mut out);
            stream.write_all(&out).trying("send the first message")?;
            streams.push(stream);
        }
        for (peer, stream) in streams.iter_mut().enumerate().skip(from) {
            stream.read_exact(&mut back).trying("receive the first answer")?;
            messages.check(number(peer), 0, 0, &back)?;
        }
    }
    Ok(streams)
}

/// A peer's number as messages carry it.
pub(super) fn number(peer: usize) -> u32 {
    u32::try_from(peer).unwrap_or(u32::MAX)
}

/// Raises the limit of descriptors of this process, and of those that it starts, to what is allowed, and says how many.
///
/// # Errors
/// If the system refuses.
pub fn raise_descriptors() -> Result<u64, LoadError> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).trying("raise the limit of descriptors")?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}
