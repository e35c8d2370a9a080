//! Descriptors that a Tokio runtime watches, told as edges.
//!
//! A runtime keeps a descriptor's readiness until somebody clears it. Here, what is announced is cleared as it is told, and
//! whoever hears it remembers it: so a loop that has stopped reading registers nothing anew. Only ends are final.
use crate::socket::Socket;
use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    task::{Context, Poll, Waker},
};
use tokio::io::{Interest, Ready, unix::AsyncFd};

/// Both directions, and urgent bytes: they are read like others, but reads stop in front of them.
const WATCHED: Interest = Interest::READABLE.add(Interest::WRITABLE).add(Interest::PRIORITY);

/// What has changed for a descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own; all combinations occur")]
pub struct Edge {
    /// There may be something to read.
    pub readable: bool,
    /// There may be room to write.
    pub writable: bool,
    /// The peer has ended its direction, or has sent an urgent byte, in front of which each read stops: what it sent before
    /// and behind may still be there, so that a short read proves nothing.
    pub ending: bool,
    /// An error may wait on the socket.
    pub error: bool,
}

/// Owns one open descriptor, the same for as long as it lives. Only types of this crate are known to.
pub trait Steady: AsRawFd + sealed::Sealed {}
impl Steady for Socket {}
impl Steady for OwnedFd {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Socket {}
    impl Sealed for super::OwnedFd {}
}

/// A descriptor registered with the runtime in which it was made; leaves it, and is closed, when dropped.
#[derive(Debug)]
pub struct Watched<T: Steady> {
    fd: AsyncFd<T>,
    /// A send found no room, and the other side's waker hangs.
    wants_room: bool,
    /// Errors without an end are asked for: they are announced to writers only.
    wants_errors: bool,
    /// The peer's end has been told: that side has nothing more to tell.
    ended: bool,
}

impl<T: Steady> Watched<T> {
    /// Registers `inner` for both directions.
    ///
    /// # Errors
    /// As the system reports them.
    ///
    /// # Panics
    /// Outside a Tokio runtime, or in one without `enable_io`.
    #[allow(unsafe_code, reason = "the runtime must be promised an open descriptor")]
    pub fn new(inner: T) -> io::Result<Self> {
        // SAFETY: a Steady owns one open descriptor, and nobody can exchange it: no `&mut T` is given out.
        let fd = unsafe { AsyncFd::register_with_interest(inner, WATCHED) }?;
        Ok(Self { fd, wants_room: false, wants_errors: false, ended: false })
    }
    /// What is watched.
    pub fn get(&self) -> &T {
        self.fd.get_ref()
    }

    /// Wakes `waker` at the next edge, or at once if there has been one: then [`Self::hear`] it.
    pub fn hang_up(&self, waker: &Waker) {
        if self.fd.poll_read_ready(&mut Context::from_waker(waker)).is_ready() {
            waker.wake_by_ref();
        }
    }
    /// What is new; hangs `waker` up for what comes next.
    pub fn hear(&mut self, waker: &Waker) -> Edge {
        let mut edge = Edge::default();
        if !self.ended
            && let Some(ready) = self.readable(waker)
        {
            self.ended = ready.is_read_closed();
            edge.readable = true;
            edge.ending = self.ended || self.is_urgent();
        }
        // After the peer's end, errors are heard of on the other side only.
        if (self.wants_room || self.wants_errors || self.ended)
            && let Some(ready) = self.writable(waker)
        {
            self.wants_room = false;
            edge.writable = true;
            edge.error = ready.is_write_closed();
        }
        edge
    }
    /// Whether an urgent byte has been announced, which is cleared. No system call.
    fn is_urgent(&self) -> bool {
        let mut is_urgent = false;
        let cleared: io::Result<()> = self.fd.try_io(Interest::PRIORITY, |_| {
            is_urgent = true;
            Err(io::ErrorKind::WouldBlock.into())
        });
        debug_assert!(cleared.is_err(), "nothing is done that could go well");
        is_urgent
    }
    /// Hears of errors too, as of a connected UDP socket whose peer is not there.
    pub fn await_errors(&mut self, waker: &Waker) {
        self.wants_errors = true;
        // The next look tells what has come so far, and hangs the waker up.
        waker.wake_by_ref();
    }
    /// A send has found no room: wakes `waker` when there is some. It may be too soon, where what stands announced is older
    /// than that send: another send tells.
    pub fn await_room(&mut self, waker: &Waker) {
        if !std::mem::replace(&mut self.wants_room, true)
            && self.fd.poll_write_ready(&mut Context::from_waker(waker)).is_ready()
        {
            waker.wake_by_ref();
        }
    }

    /// Takes what is announced to readers, until there is nothing more and the waker hangs, or until the end.
    fn readable(&self, waker: &Waker) -> Option<Ready> {
        let mut seen = None;
        while let Poll::Ready(Ok(mut guard)) = self.fd.poll_read_ready(&mut Context::from_waker(waker)) {
            let ready = guard.ready();
            guard.clear_ready();
            seen = Some(ready);
            if ready.is_read_closed() {
                break;
            }
        }
        seen
    }
    /// The same for writers.
    fn writable(&self, waker: &Waker) -> Option<Ready> {
        let mut seen = None;
        while let Poll::Ready(Ok(mut guard)) = self.fd.poll_write_ready(&mut Context::from_waker(waker)) {
            let ready = guard.ready();
            guard.clear_ready();
            seen = Some(ready);
            if ready.is_write_closed() {
                break;
            }
        }
        seen
    }
}

impl<T: Steady> AsRef<T> for Watched<T> {
    fn as_ref(&self) -> &T {
        self.get()
    }
}
