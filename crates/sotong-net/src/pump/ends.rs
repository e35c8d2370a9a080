//! Where a pump's bytes come from and where they go.
use rustix::{
    fs::{FileType, Mode, OFlags, fcntl_getfl, fcntl_setfl, fstat, open},
    io::fcntl_dupfd_cloexec,
    net::{Shutdown, SocketType, shutdown, sockopt::socket_type},
    stdio,
    termios::isatty,
};
use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

/// One end of a pump: what it says and what it is told.
#[derive(Debug)]
pub struct End {
    pub(super) source: Source,
    pub(super) sink: Sink,
}

/// Where bytes come from.
#[derive(Debug)]
pub struct Source {
    pub(super) from: From,
}

/// Where bytes go.
#[derive(Debug)]
pub struct Sink {
    pub(super) to: Handle,
    pub(super) at_end: AtEnd,
}

#[derive(Debug)]
pub(super) enum From {
    Handle(Handle),
    Bytes(Vec<u8>),
}

/// A descriptor and what is to be known about it before it is used.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    pub(super) fd: Arc<OwnedFd>,
    pub(super) kind: Kind,
    /// Whether the open file description has O_NONBLOCK, so that no call on it can wait.
    pub(super) nonblocking: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A connection of bytes: TCP, Unix.
    Stream,
    /// A socket of records: UDP, and Unix sockets of datagrams or packets.
    Datagrams,
    Pipe,
    /// A regular file, a folder, a block device: always ready, whatever the disk says.
    File,
    Terminal,
    /// Any other character device, such as /dev/null.
    Device,
}

/// What tells a sink that no more will come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AtEnd {
    /// A half-close of the connection.
    Shutdown,
    /// Letting go of the descriptor.
    Close,
    /// Descriptor 1 of this process becomes /dev/null, so that the reader of a pipe sees its end.
    CloseStdout,
    /// Nothing: others write to it, too.
    Keep,
}

impl End {
    /// Joins any source and any sink.
    pub fn new(source: Source, sink: Sink) -> Self {
        Self { source, sink }
    }
    /// A connected socket, both ways: TCP, Unix, UDP. It is made non-blocking.
    ///
    /// A socket of datagrams is never at its end, and takes each read of the other end, up to [`super::RECORD_BYTES_MAX`]
    /// bytes, as one datagram.
    ///
    /// # Errors
    /// `fd` is no socket.
    pub fn socket(fd: OwnedFd) -> io::Result<Self> {
        let kind = match socket_type(&fd)? {
            SocketType::STREAM => Kind::Stream,
            _ => Kind::Datagrams,
        };
        set_nonblocking(&fd)?;
        let handle = Handle { fd: Arc::new(fd), kind, nonblocking: true };
        let at_end = if kind == Kind::Stream { AtEnd::Shutdown } else { AtEnd::Keep };
        Ok(Self { source: Source { from: From::Handle(handle.clone()) }, sink: Sink { to: handle, at_end } })
    }
    /// Descriptors 0 and 1 of this process. The end of what the other end says closes descriptor 1.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn stdio() -> io::Result<Self> {
        Ok(Self::new(Source::stdin()?, Sink::stdout()?))
    }
    /// What it says, and where it is told.
    pub fn into_parts(self) -> (Source, Sink) {
        (self.source, self.sink)
    }
    /// The socket that takes the close routine, if this is one.
    pub(super) fn connection(&self) -> Option<Handle> {
        (self.sink.at_end == AtEnd::Shutdown).then(|| self.sink.to.clone())
    }
}

impl Source {
    /// Descriptor 0 of this process. Its flags stay as they are.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn stdin() -> io::Result<Self> {
        Ok(Self { from: From::Handle(Handle::shared(fcntl_dupfd_cloexec(stdio::stdin(), 3)?)?) })
    }
    /// A descriptor that nobody else uses: the reading end of a pipe is made non-blocking.
    ///
    /// # Errors
    /// `fd` cannot be asked what it is.
    pub fn owned(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { from: From::Handle(Handle::owned(fd)?) })
    }
    /// These bytes, then the end. None is the end at once.
    pub fn bytes(bytes: Vec<u8>) -> Self {
        Self { from: From::Bytes(bytes) }
    }
    /// Whether a person types here.
    pub fn is_terminal(&self) -> bool {
        matches!(&self.from, From::Handle(handle) if handle.kind == Kind::Terminal)
    }
}

impl Sink {
    /// Descriptor 1 of this process, whose flags stay as they are; closed at the end, so that whoever reads it sees that.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn stdout() -> io::Result<Self> {
        Ok(Self { at_end: AtEnd::CloseStdout, ..Self::stdout_kept()? })
    }
    /// Descriptor 1 of this process, left open at the end: for several pumps that write to it.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn stdout_kept() -> io::Result<Self> {
        let fd = fcntl_dupfd_cloexec(stdio::stdout(), 3)?;
        Ok(Self { to: Handle::shared(fd)?.reopened(), at_end: AtEnd::Keep })
    }
    /// A descriptor that nobody else uses, closed at the end: the writing end of a pipe is made non-blocking.
    ///
    /// # Errors
    /// `fd` cannot be asked what it is.
    pub fn owned(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { to: Handle::owned(fd)?, at_end: AtEnd::Close })
    }
    /// Tells the sink that no more comes; the descriptor itself goes with its last handle.
    pub(super) fn end(&self) {
        match self.at_end {
            // The peer may be gone, and then there is nobody to tell.
            AtEnd::Shutdown => _ = shutdown(&self.to, Shutdown::Write),
            AtEnd::Close | AtEnd::Keep => {}
            AtEnd::CloseStdout => {
                // Without /dev/null the reader sees the end when this process leaves.
                if let Ok(null) = open("/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()) {
                    _ = stdio::dup2_stdout(null);
                }
            }
        }
    }
}

impl Handle {
    fn owned(fd: OwnedFd) -> io::Result<Self> {
        let mut handle = Self::shared(fd)?;
        if matches!(handle.kind, Kind::Pipe | Kind::Stream | Kind::Datagrams) {
            set_nonblocking(&handle.fd)?;
            handle.nonblocking = true;
        }
        Ok(handle)
    }
    /// A descriptor whose description belongs to others, too: O_NONBLOCK would change it under them.
    fn shared(fd: OwnedFd) -> io::Result<Self> {
        let kind = match FileType::from_raw_mode(fstat(&fd)?.st_mode) {
            FileType::Socket if socket_type(&fd)? == SocketType::STREAM => Kind::Stream,
            FileType::Socket => Kind::Datagrams,
            FileType::Fifo => Kind::Pipe,
            FileType::CharacterDevice if isatty(&fd) => Kind::Terminal,
            FileType::CharacterDevice => Kind::Device,
            _ => Kind::File,
        };
        let nonblocking = fcntl_getfl(&fd)?.contains(OFlags::NONBLOCK);
        Ok(Self { fd: Arc::new(fd), kind, nonblocking })
    }
    /// The same pipe or terminal by a description of its own, which may be non-blocking; as it was where that is refused
    /// (another user's terminal, no /proc).
    fn reopened(self) -> Self {
        if !matches!(self.kind, Kind::Pipe | Kind::Terminal) || self.nonblocking {
            return self;
        }
        let path = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        match open(path, flags, Mode::empty()) {
            Ok(fd) => Self { fd: Arc::new(fd), nonblocking: true, ..self },
            Err(_) => self,
        }
    }
    pub(super) fn is_socket(&self) -> bool {
        matches!(self.kind, Kind::Stream | Kind::Datagrams)
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn set_nonblocking(fd: &OwnedFd) -> io::Result<()> {
    let flags = fcntl_getfl(fd)?;
    if !flags.contains(OFlags::NONBLOCK) {
        fcntl_setfl(fd, flags | OFlags::NONBLOCK)?;
    }
    Ok(())
}
