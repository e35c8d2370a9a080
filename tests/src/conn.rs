//! Connections to a server by the address that it tells.
use crate::process::HANG;
use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream, UdpSocket},
    os::{
        fd::{AsFd, BorrowedFd},
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixStream},
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

/// A stream to a server. Reading and writing never take longer than [`HANG`].
#[derive(Debug)]
pub enum Conn {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
}

impl Conn {
    /// Connects to `tcp://…` or `unix:…`, or with TLS to `tls://…` or `tls+unix:…`, whose server shows [`crate::tls::CERT`].
    ///
    /// # Panics
    /// Nobody listens there.
    #[track_caller]
    pub fn dial(address: &str) -> Self {
        Self::try_dial(address).unwrap_or_else(|error| panic!("{address}: {error}"))
    }
    /// The same, for an address where nobody may listen.
    ///
    /// # Errors
    /// Those of connecting.
    pub fn try_dial(address: &str) -> io::Result<Self> {
        if let Some(rest) = address.strip_prefix("tls://") {
            return crate::tls::wrap(Self::try_dial(rest)?).map(Self::Unix);
        }
        if let Some(rest) = address.strip_prefix("tls+") {
            return crate::tls::wrap(Self::try_dial(rest)?).map(Self::Unix);
        }
        if let Some(name) = address.strip_prefix("unix:") {
            let stream = match name.strip_prefix('@') {
                Some(name) => UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?)?,
                None => UnixStream::connect(name)?,
            };
            stream.set_read_timeout(Some(HANG))?;
            stream.set_write_timeout(Some(HANG))?;
            return Ok(Self::Unix(stream));
        }
        let stream = TcpStream::connect(place(address))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(HANG))?;
        stream.set_write_timeout(Some(HANG))?;
        Ok(Self::Tcp(stream))
    }
    /// Another handle of the same stream.
    ///
    /// # Panics
    /// No descriptor is left.
    pub fn twin(&self) -> Self {
        match self {
            Self::Tcp(stream) => Self::Tcp(stream.try_clone().expect("a handle")),
            Self::Unix(stream) => Self::Unix(stream.try_clone().expect("a handle")),
        }
    }
    /// Sends all of `bytes`.
    ///
    /// # Panics
    /// They cannot be sent.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.write_all(bytes.as_ref()).expect("sent");
    }
    /// Ends our direction.
    ///
    /// # Panics
    /// The stream is gone.
    #[track_caller]
    pub fn end(&self) {
        let ended = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
        ended.expect("half-closed");
    }
    /// Reads `count` bytes.
    ///
    /// # Panics
    /// They do not come.
    #[track_caller]
    pub fn get(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.read_exact(&mut bytes).expect("answered");
        bytes
    }
    /// Reads to the end of the peer's direction.
    ///
    /// # Panics
    /// It does not end, or not in order.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes).expect("an end in order");
        bytes
    }
    /// Sends `bytes`, and reads as many back.
    #[track_caller]
    pub fn echoed(&mut self, bytes: impl AsRef<[u8]>) -> Vec<u8> {
        self.send(bytes.as_ref());
        self.get(bytes.as_ref().len())
    }
    /// Closes by a reset, so that the server hears no end.
    ///
    /// # Panics
    /// The system refuses.
    pub fn reset(self) {
        if let Self::Tcp(stream) = &self {
            socket2::SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO)).expect("an option");
        }
    }
}

impl Read for Conn {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Conn {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Conn {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

/// A UDP socket whose only peer is the server at `udp://…`.
///
/// # Panics
/// The address is none.
#[track_caller]
pub fn udp(address: &str) -> UdpSocket {
    let to = place(address);
    let from = if to.starts_with('[') { "[::1]:0" } else { "127.0.0.1:0" };
    let socket = UdpSocket::bind(from).expect("a port");
    socket.set_read_timeout(Some(HANG)).expect("a timeout");
    socket.connect(&to).unwrap_or_else(|error| panic!("{address}: {error}"));
    socket
}

/// The next datagram that `socket` gets.
///
/// # Panics
/// None comes.
#[track_caller]
pub fn datagram(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 65_536];
    let count = socket.recv(&mut buffer).expect("answered");
    buffer.truncate(count);
    buffer
}

/// An address as the standard library takes it: without its scheme, and a server for all addresses at one of them.
pub fn place(address: &str) -> String {
    let text = address.split_once("://").map_or(address, |(_, rest)| rest);
    match text.strip_prefix("*:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    }
}

/// A folder of a test's own, removed with everything in it when dropped.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// An empty one, with a path short enough for Unix sockets.
    ///
    /// # Panics
    /// It cannot be made.
    #[expect(clippy::new_without_default, reason = "it makes something")]
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("sotong-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
    /// The address of a Unix socket in it.
    pub fn unix(&self, name: &str) -> String {
        format!("unix:{}", self.0.join(name).display())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A name for an abstract Unix socket that no other test has.
pub fn abstract_unix() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("unix:@sotong-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
