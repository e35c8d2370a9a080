//! A connected socket: TCP, Unix, or UDP with one peer.
use crate::address::{end_of, peer_uid};
use rustix::{
    io::retry_on_intr,
    net::{
        AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, SocketType,
        sockopt::{self, Timeout},
    },
};
use sotong_session::{End, FileRange, Way, Wire};
use std::{
    io::{self, IoSlice},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    time::Duration,
};

/// Slices that one call takes (`IOV_MAX`); more are left for the next.
const SLICES_MAX: usize = 1024;
/// The longest time without traffic that TCP's keep-alive can be set to, in seconds (Linux, `MAX_TCP_KEEPIDLE`).
const KEEPALIVE_SECONDS_MAX: u64 = 32_767;
/// Probes that a silent peer gets before the connection is given up.
const KEEPALIVE_PROBES: u32 = 3;

/// A connected socket, closed when dropped.
///
/// Every call is repeated when a signal interrupts it, and none raises SIGPIPE. [`io::ErrorKind::WouldBlock`] says that
/// nothing could be done now: the socket or the call does not wait, or its time limit passed.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    wire: Wire,
}

impl Socket {
    /// Takes over a connected socket that somebody else made.
    ///
    /// # Errors
    /// The descriptor is no socket, or one of neither streams nor datagrams.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        let wire = match sockopt::socket_type(&fd)? {
            SocketType::STREAM => Wire::Stream,
            SocketType::DGRAM => Wire::Records,
            _ => return Err(io::ErrorKind::Unsupported.into()),
        };
        Ok(Self { fd, wire })
    }
    pub(crate) fn new(fd: OwnedFd, wire: Wire) -> Self {
        Self { fd, wire }
    }

    /// Whether it carries a stream or records.
    pub fn wire(&self) -> Wire {
        self.wire
    }
    /// Receives into `into`. 0 is the end of a stream, or an empty record.
    ///
    /// # Errors
    /// As the system reports them; [`io::ErrorKind::WouldBlock`] also when [`Socket::set_recv_timeout`] passed.
    pub fn recv(&self, into: &mut [u8]) -> io::Result<usize> {
        self.recv_flags(into, RecvFlags::empty())
    }
    /// Receives what is there, and does not wait even if the socket would.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if there is nothing.
    pub fn recv_now(&self, into: &mut [u8]) -> io::Result<usize> {
        self.recv_flags(into, RecvFlags::DONTWAIT)
    }
    fn recv_flags(&self, into: &mut [u8], flags: RecvFlags) -> io::Result<usize> {
        let (count, _) = retry_on_intr(|| rustix::net::recv(&self.fd, &mut *into, flags))?;
        Ok(count)
    }
    /// Sends what is there to send in one piece, and says how many bytes went; on records, they are one record. Cheaper than
    /// [`Socket::send_vectored`] with one slice.
    ///
    /// With `dont_wait` it does not wait even if the socket would.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if nothing can be sent now; else as the system reports them.
    pub fn send(&self, bytes: &[u8], dont_wait: bool) -> io::Result<usize> {
        let wait = if dont_wait { SendFlags::DONTWAIT } else { SendFlags::empty() };
        Ok(retry_on_intr(|| rustix::net::send(&self.fd, bytes, SendFlags::NOSIGNAL | wait))?)
    }
    /// Sends the slices in order, and says how many of their bytes went; on records, all of them are one record.
    ///
    /// With `dont_wait` it does not wait even if the socket would. At most 1,024 slices of a stream go at once.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if nothing can be sent now; [`io::ErrorKind::InvalidInput`] for a record in more than
    /// 1,024 slices.
    pub fn send_vectored(&self, slices: &[IoSlice<'_>], dont_wait: bool) -> io::Result<usize> {
        let slices = match self.wire {
            Wire::Stream => &slices[..slices.len().min(SLICES_MAX)],
            Wire::Records => slices,
        };
        let wait = if dont_wait { SendFlags::DONTWAIT } else { SendFlags::empty() };
        let mut no_control = SendAncillaryBuffer::default();
        let sent =
            retry_on_intr(|| rustix::net::sendmsg(&self.fd, slices, &mut no_control, SendFlags::NOSIGNAL | wait))?;
        Ok(sent)
    }
    /// Lets the kernel send the bytes of `range`, and says how many went. It never waits for the peer: the call has no flag
    /// for that, so a socket that waits is made one that does not for as long as it takes.
    ///
    /// The process must ignore SIGPIPE, as Rust programs do: this call has no flag for it.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if nothing can be sent now;
    /// [`io::ErrorKind::UnexpectedEof`] if the file has become shorter than the range; else as the system reports them.
    pub fn send_file(&self, range: &FileRange) -> io::Result<usize> {
        // The kernel moves at most 0x7fff_f000 bytes a call.
        let count = usize::try_from(range.range.end.saturating_sub(range.range.start)).unwrap_or(usize::MAX);
        if count == 0 {
            return Ok(0);
        }
        let file = range.file.as_fd();
        let waits = !rustix::fs::fcntl_getfl(&self.fd)?.contains(rustix::fs::OFlags::NONBLOCK);
        if waits {
            self.set_nonblocking(true)?;
        }
        let sent = retry_on_intr(|| {
            let mut from = range.range.start;
            rustix::fs::sendfile(&self.fd, file, Some(&mut from), count.min(0x7fff_f000))
        });
        if waits {
            self.set_nonblocking(false)?;
        }
        let sent = sent?;
        if sent == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(sent) }
    }
    /// Ends our direction: the peer reads the end once it has read what was sent before. The other direction stays open.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotConnected`] if the peer has reset the connection.
    pub fn shutdown_write(&self) -> io::Result<()> {
        Ok(rustix::net::shutdown(&self.fd, Shutdown::Write)?)
    }
    /// The error that waits on the socket, taken off it.
    ///
    /// # Errors
    /// That one.
    pub fn take_error(&self) -> io::Result<()> {
        Ok(sockopt::socket_error(&self.fd)??)
    }

    /// Whether calls wait.
    ///
    /// # Errors
    /// As the system reports them.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        Ok(rustix::io::ioctl_fionbio(&self.fd, nonblocking)?)
    }
    /// How long [`Socket::recv`] waits; `None`: as long as it takes. Less than a microsecond counts as one.
    ///
    /// # Errors
    /// As the system reports them.
    pub fn set_recv_timeout(&self, time_max: Option<Duration>) -> io::Result<()> {
        self.set_timeout(Timeout::Recv, time_max)
    }
    /// How long [`Socket::send_vectored`] waits; `None`: as long as it takes. Less than a microsecond counts as one.
    ///
    /// # Errors
    /// As the system reports them.
    pub fn set_send_timeout(&self, time_max: Option<Duration>) -> io::Result<()> {
        self.set_timeout(Timeout::Send, time_max)
    }
    fn set_timeout(&self, which: Timeout, time_max: Option<Duration>) -> io::Result<()> {
        let time_max = time_max.map(|time| time.max(Duration::from_micros(1)));
        Ok(sockopt::set_socket_timeout(&self.fd, which, time_max)?)
    }
    /// Notices a TCP peer that has vanished: after `idle` without traffic (1 to 32,767 s, clamped) three probes go out,
    /// a third of `idle` apart, so it takes about twice `idle`. Nothing on Unix and UDP sockets.
    ///
    /// # Errors
    /// As the system reports them.
    pub fn set_keepalive(&self, idle: Duration) -> io::Result<()> {
        set_keepalive(self.as_fd(), idle)
    }

    /// Our end.
    ///
    /// # Errors
    /// As the system reports them.
    pub fn local(&self) -> io::Result<End> {
        let address = rustix::net::getsockname(&self.fd)?;
        end_of(&address, None).ok_or_else(|| io::ErrorKind::Unsupported.into())
    }
    /// The peer's end; of a Unix socket also its user.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotConnected`] if the peer is gone.
    pub fn remote(&self) -> io::Result<End> {
        match rustix::net::getpeername(&self.fd)? {
            Some(address) => {
                let is_unix = address.address_family() == AddressFamily::UNIX;
                let uid = if is_unix { peer_uid(self.as_fd()) } else { None };
                end_of(&address, uid).ok_or_else(|| io::ErrorKind::Unsupported.into())
            }
            None => Ok(End::Unix { path: None, uid: peer_uid(self.as_fd()) }),
        }
    }
    /// Both ends.
    ///
    /// # Errors
    /// As [`Socket::remote`].
    pub fn way(&self) -> io::Result<Way> {
        Ok(Way::new(self.local()?, self.remote()?, self.wire))
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// For those who hold a socket with something of their own around it.
impl AsRef<Self> for Socket {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl From<Socket> for OwnedFd {
    fn from(socket: Socket) -> Self {
        socket.fd
    }
}

/// Sets TCP's keep-alive; set on a listener, connections inherit it.
pub(crate) fn set_keepalive(fd: BorrowedFd<'_>, idle: Duration) -> io::Result<()> {
    let is_net = matches!(sockopt::socket_domain(fd)?, AddressFamily::INET | AddressFamily::INET6);
    if !is_net || sockopt::socket_type(fd)? != SocketType::STREAM {
        return Ok(());
    }
    let idle = idle.as_secs().clamp(1, KEEPALIVE_SECONDS_MAX);
    sockopt::set_tcp_keepidle(fd, Duration::from_secs(idle))?;
    sockopt::set_tcp_keepintvl(fd, Duration::from_secs((idle / u64::from(KEEPALIVE_PROBES)).max(1)))?;
    sockopt::set_tcp_keepcnt(fd, KEEPALIVE_PROBES)?;
    Ok(sockopt::set_socket_keepalive(fd, true)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{Read as _, Write as _},
        net::{TcpListener, TcpStream, UdpSocket},
        os::unix::net::UnixStream,
        sync::Arc,
    };

    const HANG: Duration = Duration::from_secs(20);

    fn tcp() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        far.set_read_timeout(Some(HANG)).unwrap();
        let near = Socket::from_fd(near.into()).unwrap();
        near.set_recv_timeout(Some(HANG)).unwrap();
        (near, far)
    }

    #[test]
    fn bytes_go_both_ways_and_a_half_close_leaves_the_other_open() {
        let (near, mut far) = tcp();
        let sent = near.send_vectored(&[IoSlice::new("안녕".as_bytes()), IoSlice::new(b"!")], false).unwrap();
        assert_eq!(sent, 7);
        assert_eq!(near.send(b"\n", false).unwrap(), 1);
        near.shutdown_write().unwrap();
        let mut heard = String::new();
        far.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "안녕!\n");
        far.write_all(b"late").unwrap();
        drop(far);
        let mut buffer = [0; 64];
        assert_eq!(near.recv(&mut buffer).unwrap(), 4);
        assert_eq!(near.recv(&mut buffer).unwrap(), 0);
    }

    #[test]
    fn not_waiting_and_a_passed_time_limit_look_the_same() {
        let (near, far) = tcp();
        let mut buffer = [0; 8];
        assert_eq!(near.recv_now(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        near.set_recv_timeout(Some(Duration::ZERO)).unwrap();
        assert_eq!(near.recv(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let piece = vec![0; 1 << 20];
        let full = loop {
            if let Err(error) = near.send_vectored(&[IoSlice::new(&piece)], true) {
                break error;
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(near.send(&piece, true).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(far);
    }

    #[test]
    fn a_peer_that_is_gone_is_an_error_and_no_signal() {
        let (near, far) = tcp();
        socket2::SockRef::from(&far).set_linger(Some(Duration::ZERO)).unwrap();
        drop(far);
        let mut buffer = [0; 8];
        assert_eq!(near.recv(&mut buffer).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        let error = near.send_vectored(&[IoSlice::new(b"x")], false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_file_goes_by_range_and_a_short_file_is_noticed() {
        let (near, mut far) = tcp();
        let file: OwnedFd = rustix::fs::memfd_create("file", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        rustix::io::write(&file, b"0123456789").unwrap();
        let mut range = FileRange { file: Arc::new(file), range: 3..8 };
        assert_eq!(near.send_file(&range).unwrap(), 5);
        assert!(!rustix::fs::fcntl_getfl(&near).unwrap().contains(rustix::fs::OFlags::NONBLOCK), "it waits as before");
        range.range = 10..12;
        assert_eq!(near.send_file(&range).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        range.range = 4..4;
        assert_eq!(near.send_file(&range).unwrap(), 0);
        near.shutdown_write().unwrap();
        let mut heard = String::new();
        far.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "34567");
    }

    #[test]
    fn records_keep_their_bounds_also_empty_ones() {
        let (a, b) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        a.connect(b.local_addr().unwrap()).unwrap();
        b.connect(a.local_addr().unwrap()).unwrap();
        let (a, b) = (Socket::from_fd(a.into()).unwrap(), Socket::from_fd(b.into()).unwrap());
        assert_eq!(a.wire(), Wire::Records);
        b.set_recv_timeout(Some(HANG)).unwrap();
        a.send_vectored(&[], false).unwrap();
        a.send_vectored(&[IoSlice::new(b"one"), IoSlice::new(b"two")], false).unwrap();
        let mut buffer = [0; 64];
        assert_eq!(b.recv(&mut buffer).unwrap(), 0);
        assert_eq!(b.recv(&mut buffer).unwrap(), 6);
        a.set_keepalive(Duration::from_secs(60)).unwrap();
    }

    #[test]
    fn both_ends_are_known() {
        let (near, far) = tcp();
        let way = near.way().unwrap();
        assert_eq!(way.local, End::Net(far.peer_addr().unwrap()));
        assert_eq!(way.remote, End::Net(far.local_addr().unwrap()));
        let (a, _b) = UnixStream::pair().unwrap();
        let way = Socket::from_fd(a.into()).unwrap().way().unwrap();
        assert_eq!(way.local, End::Unix { path: None, uid: None });
        assert_eq!(way.remote, End::Unix { path: None, uid: Some(rustix::process::getuid().as_raw()) });
        let (pipe, _) = rustix::pipe::pipe().unwrap();
        assert!(Socket::from_fd(pipe).is_err());
    }

    #[test]
    fn keepalive_is_set_and_clamped() {
        let (near, _far) = tcp();
        near.set_keepalive(Duration::from_secs(90)).unwrap();
        assert!(sockopt::socket_keepalive(&near).unwrap());
        assert_eq!(sockopt::tcp_keepidle(&near).unwrap(), Duration::from_secs(90));
        assert_eq!(sockopt::tcp_keepintvl(&near).unwrap(), Duration::from_secs(30));
        near.set_keepalive(Duration::from_secs(1 << 20)).unwrap();
        assert_eq!(sockopt::tcp_keepidle(&near).unwrap(), Duration::from_secs(KEEPALIVE_SECONDS_MAX));
        near.set_keepalive(Duration::ZERO).unwrap();
        assert_eq!(sockopt::tcp_keepidle(&near).unwrap(), Duration::from_secs(1));
    }
}
