//! The ends of a pump in the hands of a loop that may not wait: one call at a time.
use super::{
    Act, Fault, RECORD_BYTES_MAX,
    ends::{From, Handle, Kind, Sink, Source},
    flow::write_bytes_max,
};
use rustix::{
    buffer::spare_capacity,
    event::PollFlags,
    io::{Errno, read, write},
    net::{RecvFlags, SendFlags, recv, send, sockopt::socket_error},
};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

/// A source that is read by hand.
#[derive(Debug)]
pub struct Reader {
    from: From,
}

/// A sink that is written by hand; told of the end by [`Self::end`], or when dropped if it is a descriptor of its own.
#[derive(Debug)]
pub struct Writer {
    sink: Sink,
}

/// What reading by hand brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// So many bytes.
    Bytes(usize),
    /// Nothing now.
    Nothing,
    /// The end.
    End,
    /// The peer of a connection has reset it.
    Reset,
    /// A system call failed.
    Failed(Fault),
}

/// What became of writing by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Went {
    /// So many bytes were taken; 0 if none can be now.
    Bytes(usize),
    /// Nobody reads it any more.
    Broken,
    /// A system call failed.
    Failed(Fault),
}

impl From {
    fn handle(&self) -> Option<&Handle> {
        match self {
            Self::Handle(handle) => Some(handle),
            Self::Bytes(_) => None,
        }
    }
}

impl Reader {
    /// Reads `source`.
    pub fn new(source: Source) -> Self {
        Self { from: source.from }
    }
    /// What tells by [`PollFlags::IN`] that there is something; `None` for bytes that are there from the start.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.from.handle().map(AsFd::as_fd)
    }
    /// Whether a read cannot wait although nobody has asked first: a terminal or a pipe of others' may be in blocking mode,
    /// and then only one read after each poll is safe.
    pub fn never_waits(&self) -> bool {
        self.from.handle().is_none_or(|from| from.nonblocking || from.is_socket() || from.kind == Kind::File)
    }
    /// Reads up to `most` bytes to the end of `into`, which is given room for them.
    pub fn read(&mut self, into: &mut Vec<u8>, most: usize) -> Came {
        into.reserve_exact(most);
        let from = match &mut self.from {
            From::Bytes(bytes) => {
                let count = bytes.len().min(most);
                into.extend(bytes.drain(..count));
                return if count == 0 { Came::End } else { Came::Bytes(count) };
            }
            From::Handle(from) => from,
        };
        loop {
            let got = if from.is_socket() {
                recv(&*from, spare_capacity(into), RecvFlags::DONTWAIT).map(|(count, _)| count)
            } else {
                read(&*from, spare_capacity(into))
            };
            return match got {
                Ok(0) if from.kind != Kind::Datagrams => Came::End,
                Ok(count) => Came::Bytes(count),
                Err(Errno::AGAIN) => Came::Nothing,
                Err(Errno::INTR) => continue,
                // What a terminal says when its other side is gone.
                Err(Errno::IO) if from.kind == Kind::Terminal => Came::End,
                Err(Errno::CONNRESET) if from.kind == Kind::Stream => Came::Reset,
                Err(errno) => Came::Failed(Fault::new(Act::Read, errno)),
            };
        }
    }
}

impl Writer {
    /// Writes to `sink`.
    pub fn new(sink: Sink) -> Self {
        Self { sink }
    }
    /// What tells by [`PollFlags::OUT`] that it takes something.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.sink.to.as_fd()
    }
    /// Whether a write cannot wait although nobody has asked first; else only one write after each poll is safe.
    pub fn never_waits(&self) -> bool {
        write_bytes_max(&self.sink.to) == usize::MAX
    }
    /// Whether what a poll told, when it was not asked whether anything can be written, says that nobody reads any more.
    pub fn is_broken_by(&self, told: PollFlags) -> bool {
        if told.is_empty() {
            return false;
        }
        match self.sink.to.kind {
            Kind::Pipe => true,
            Kind::Stream => told.contains(PollFlags::HUP) || matches!(socket_error(&self.sink.to), Ok(Err(_))),
            _ => false,
        }
    }
    /// Whether a poll tells when its reader leaves.
    pub fn tells_when_broken(&self) -> bool {
        matches!(self.sink.to.kind, Kind::Pipe | Kind::Stream)
    }
    /// Writes some of `bytes`, which are not empty.
    pub fn write(&self, bytes: &[u8]) -> Went {
        let to = &self.sink.to;
        let most = if to.kind == Kind::Datagrams { RECORD_BYTES_MAX } else { write_bytes_max(to) };
        let part = &bytes[..bytes.len().min(most)];
        loop {
            let put = if to.is_socket() {
                send(to, part, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
            } else {
                write(to, part)
            };
            return match put {
                Ok(0) => Went::Failed(Fault::of(Act::Write, &io::ErrorKind::WriteZero.into())),
                Ok(count) => Went::Bytes(count),
                Err(Errno::AGAIN) => Went::Bytes(0),
                Err(Errno::NOBUFS) if to.kind == Kind::Datagrams => Went::Bytes(0),
                Err(Errno::INTR) => continue,
                Err(Errno::PIPE | Errno::CONNRESET) => Went::Broken,
                Err(Errno::IO) if to.kind == Kind::Terminal => Went::Broken,
                Err(errno) => Went::Failed(Fault::new(Act::Write, errno)),
            };
        }
    }
    /// Tells the sink that no more comes, and lets it go.
    pub fn end(self) {
        self.sink.end();
    }
}
