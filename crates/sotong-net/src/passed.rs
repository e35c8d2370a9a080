//! Listeners passed in by a service manager: the `LISTEN_FDS` protocol of sd_listen_fds(3).
use crate::{
    address::end_of,
    datagrams::Datagrams,
    endpoint::{Endpoint, HostPort, UnixName},
    listen::Bound,
    listener::Listener,
};
use rustix::{
    io::{Errno, FdFlags},
    net::{AddressFamily, SocketType, sockopt},
};
use sotong_session::End;
use std::{
    io,
    net::SocketAddr,
    os::fd::{FromRawFd as _, OwnedFd, RawFd},
};

/// The first descriptor that is passed.
const FIRST: RawFd = 3;
/// Descriptors that may be passed.
pub const PASSED_MAX: usize = 253;
/// What the protocol leaves in the environment.
const VARIABLES: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"];

/// Why the passed listeners cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PassedError {
    /// `LISTEN_FDS` is no number from 0 to [`PASSED_MAX`].
    #[error("LISTEN_FDS={value:?} is no number from 0 to {PASSED_MAX}")]
    BadCount {
        /// What it says.
        value: String,
    },
    /// A descriptor that should have been passed is not open.
    #[error("descriptor {fd}, which LISTEN_FDS promises, is not open")]
    Missing {
        /// The descriptor.
        fd: RawFd,
    },
    /// A descriptor is no socket that can be listened on: a stream socket that listens, or a UDP socket.
    #[error("descriptor {fd}, passed by LISTEN_FDS, is no listening TCP or Unix socket and no UDP socket")]
    WrongKind {
        /// The descriptor.
        fd: RawFd,
    },
    /// The system refused to prepare one.
    #[error("descriptor {fd}, passed by LISTEN_FDS: {}", io::Error::from_raw_os_error(*.errno))]
    System {
        /// The descriptor.
        fd: RawFd,
        /// Its error number.
        errno: i32,
    },
}

/// Takes the listeners that were passed to this process, in their order; none if none were. TLS is spoken on those that the
/// service manager calls `tls` (`FileDescriptorName=tls`).
///
/// Call it once, first thing in `main`: it takes descriptors by number, and it removes the protocol's variables from the
/// environment, which is possible only while the process has one thread. (With more they stay, and do no harm: they name
/// this process, and its children are others.) A Unix socket's file is left to who made it.
///
/// # Errors
/// One variant of [`PassedError`] for each cause; nothing of what was passed is used then.
pub fn take_passed() -> Result<Vec<Bound>, PassedError> {
    let variable = |name: &str| std::env::var(name).ok();
    let count = promised(variable("LISTEN_PID").as_deref(), variable("LISTEN_FDS").as_deref(), std::process::id());
    let names = variable("LISTEN_FDNAMES").unwrap_or_default();
    VARIABLES.into_iter().for_each(forget_variable);
    let spoken = |name| if matches!(name, "tls" | "ws" | "wss") { name } else { "" };
    let names = names.split(':').map(spoken).chain(std::iter::repeat(""));
    let taken = |(fd, name)| {
        let bound = take(fd)?;
        // Nothing is spoken in datagrams, and no WebSocket on Unix sockets.
        let can = bound.endpoint().plain().with_spoken(name).is_some();
        if can { bound.with_spoken(name).ok_or(PassedError::WrongKind { fd }) } else { Ok(bound) }
    };
    (FIRST..).zip(names).take(count?).map(taken).collect()
}

/// How many descriptors were passed to the process `me`.
fn promised(pid: Option<&str>, count: Option<&str>, me: u32) -> Result<usize, PassedError> {
    match (pid.map(str::parse), count) {
        (Some(Ok(pid)), Some(count)) if me == pid => match count.parse() {
            Ok(number) if number <= PASSED_MAX => Ok(number),
            _ => Err(PassedError::BadCount { value: count.into() }),
        },
        _ => Ok(0),
    }
}

/// Makes a socket that another program has bound, and handed over, into one as [`crate::listen::listen`] makes them. A Unix
/// socket's file is left to who made it.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] if it is no listening TCP or Unix socket and no UDP socket; else as the system reports
/// them.
pub fn adopt(fd: OwnedFd) -> io::Result<Bound> {
    Ok(prepare(fd)?)
}

/// Removes a variable from the environment, if this process has one thread; else it stays.
#[allow(unsafe_code, reason = "the environment is not safe to change beside other threads")]
pub fn forget_variable(name: &str) {
    let is_alone = || std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1);
    if std::env::var_os(name).is_some() && is_alone() {
        // SAFETY: this is the only thread.
        unsafe { std::env::remove_var(name) };
    }
}

#[allow(unsafe_code, reason = "the protocol hands descriptors over by number")]
fn take(fd: RawFd) -> Result<Bound, PassedError> {
    if fd_is_closed(fd) {
        return Err(PassedError::Missing { fd });
    }
    // SAFETY: it is open, and the protocol says that it is this process's own from here on; take_passed is to be called
    // once, so nobody else owns it.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    prepare(owned).map_err(|errno| match errno {
        Errno::NOTSOCK | Errno::OPNOTSUPP | Errno::INVAL | Errno::AFNOSUPPORT => PassedError::WrongKind { fd },
        errno => PassedError::System { fd, errno: errno.raw_os_error() },
    })
}

#[allow(unsafe_code, reason = "a descriptor that may be closed can be borrowed by nobody")]
fn fd_is_closed(fd: RawFd) -> bool {
    // SAFETY: F_GETFD takes any number, open or not.
    unsafe { libc::fcntl(fd, libc::F_GETFD) == -1 }
}

/// Makes a socket of somebody else's into one as [`crate::listen::listen`] makes them.
fn prepare(fd: OwnedFd) -> Result<Bound, Errno> {
    rustix::io::fcntl_setfd(&fd, FdFlags::CLOEXEC)?;
    let (domain, kind) = (sockopt::socket_domain(&fd)?, sockopt::socket_type(&fd)?);
    let is_listening = sockopt::socket_acceptconn(&fd)?;
    rustix::io::ioctl_fionbio(&fd, true)?;
    let address = rustix::net::getsockname(&fd)?;
    match (domain, kind, is_listening) {
        (AddressFamily::INET | AddressFamily::INET6, SocketType::STREAM, true) => {
            sockopt::set_tcp_nodelay(&fd, true)?;
            let local = SocketAddr::try_from(address)?;
            Ok(Bound::Stream(Listener::tcp(fd, Endpoint::Tcp(HostPort::of(local)), local)))
        }
        (AddressFamily::INET | AddressFamily::INET6, SocketType::DGRAM, _) => {
            let local = SocketAddr::try_from(address)?;
            let socket = Datagrams::new(fd, local, HostPort::of(local));
            let socket = socket.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL))?;
            Ok(Bound::Datagrams(vec![socket]))
        }
        (AddressFamily::UNIX, SocketType::STREAM, true) => {
            let Some(End::Unix { path: Some(path), .. }) = end_of(&address, None) else { return Err(Errno::INVAL) };
            let text = path.to_string_lossy();
            let name = match text.strip_prefix('@') {
                Some(name) => UnixName::Abstract(name.into()),
                None => UnixName::Path(path.to_path_buf()),
            };
            Ok(Bound::Stream(Listener::unix(fd, name, None)))
        }
        _ => Err(Errno::INVAL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        net::{TcpListener, TcpStream, UdpSocket},
        os::{
            linux::net::SocketAddrExt as _,
            unix::net::{UnixListener, UnixStream},
        },
    };

    fn endpoint_of(fd: impl Into<OwnedFd>) -> Result<Endpoint, Errno> {
        prepare(fd.into()).map(|bound| bound.endpoint())
    }

    #[test]
    fn only_the_process_that_is_named_takes_what_was_passed() {
        let bad = |value: &str| Err(PassedError::BadCount { value: value.into() });
        for (pid, count, result) in [
            (None, None, Ok(0)),
            (None, Some("1"), Ok(0)),
            (Some("42"), None, Ok(0)),
            (Some("41"), Some("1"), Ok(0)),
            (Some("x"), Some("1"), Ok(0)),
            (Some("42"), Some("0"), Ok(0)),
            (Some("42"), Some("2"), Ok(2)),
            (Some("42"), Some("253"), Ok(253)),
            (Some("42"), Some("254"), bad("254")),
            (Some("42"), Some("-1"), bad("-1")),
            (Some("42"), Some("two"), bad("two")),
        ] {
            assert_eq!(promised(pid, count, 42), result, "{pid:?} {count:?}");
        }
    }

    #[test]
    fn kinds_are_told_apart_and_made_ready() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let expected = Endpoint::Tcp(HostPort::of(tcp.local_addr().unwrap()));
        assert_eq!(endpoint_of(tcp), Ok(expected));
        let udp = UdpSocket::bind("[::]:0").or_else(|_| UdpSocket::bind("0.0.0.0:0")).unwrap();
        let expected = Endpoint::Udp(HostPort::of(udp.local_addr().unwrap()));
        assert_eq!(endpoint_of(udp), Ok(expected));
        let name = format!("sotong-passed-{}", std::process::id());
        let abstract_name = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let unix = UnixListener::bind_addr(&abstract_name).unwrap();
        assert_eq!(endpoint_of(unix), Ok(Endpoint::Unix(UnixName::Abstract(name.as_str().into()))));

        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let Ok(Bound::Stream(listener)) = prepare(tcp.into()) else { panic!("a TCP listener") };
        assert_eq!(rustix::io::fcntl_getfd(&listener).unwrap(), FdFlags::CLOEXEC);
        assert!(matches!(listener.accept(true), Err(crate::listener::AcceptError::NotNow)));
    }

    #[test]
    fn what_cannot_be_listened_on_is_refused() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let connected = TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
        assert_eq!(endpoint_of(connected), Err(Errno::INVAL));
        let (a, _b) = UnixStream::pair().unwrap();
        assert_eq!(endpoint_of(a), Err(Errno::INVAL));
        let (pipe, _) = rustix::pipe::pipe().unwrap();
        assert_eq!(endpoint_of(pipe), Err(Errno::NOTSOCK));
    }
}
