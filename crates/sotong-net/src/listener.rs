//! Accepting connections.
use crate::{
    address::{canonical, end_of, peer_uid},
    endpoint::{Endpoint, UnixName},
    socket::Socket,
    unix_file::SocketFile,
    wake::wait_readable,
};
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketAddrAny, SocketFlags},
};
use sotong_session::{End, Moment, Way, Wire};
use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// The first pause after descriptors have run out; it doubles with each failure.
pub const ACCEPT_WAIT: Duration = Duration::from_millis(10);
/// The longest pause after descriptors have run out.
pub const ACCEPT_WAIT_MAX: Duration = Duration::from_secs(1);
/// Broken connections in a row that are taken for what they are. More than that are a system that refuses to accept, with
/// the connection still in the queue: without a pause the caller would spin.
const BROKEN_IN_A_ROW_MAX: u32 = 64;
/// The shortest time between two log lines about running out.
const SAY_EVERY: Duration = Duration::from_secs(1);

/// Accepts TCP or Unix connections. It does not wait, and may be shared by threads and inherited by processes.
///
/// Dropping the one that made a Unix socket's file removes it, if it is still the same file.
#[derive(Debug)]
pub struct Listener {
    // Goes before the socket: nobody shall find the file and be refused.
    _file: Option<SocketFile>,
    fd: OwnedFd,
    endpoint: Endpoint,
    /// Where WebSocket is spoken, for every connection.
    ws_path: Option<std::sync::Arc<str>>,
    /// Our end of every connection; `None` if each has its own, because the socket hears all addresses.
    local: Option<End>,
    /// What its connections are told of it: [`Way::listener`].
    number: u16,
    /// How many accepts in a row were [`AcceptError::Broken`].
    broken: AtomicU32,
}

/// Why nothing was accepted, and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AcceptError {
    /// Nobody is waiting: poll.
    #[error("nobody is waiting")]
    NotNow,
    /// That connection broke before it was accepted: go on with the next.
    #[error("the connection broke before it was accepted: {0}")]
    Broken(io::ErrorKind),
    /// Nothing can be accepted now, mostly because descriptors or memory have run out: pause by [`AcceptBackoff`], the
    /// connections wait meanwhile.
    #[error("cannot accept now: {}", io::Error::from_raw_os_error(*.0))]
    Exhausted(i32),
    /// The listener itself is broken.
    #[error("the listener is broken: {}", io::Error::from_raw_os_error(*.0))]
    Fatal(i32),
}

impl Listener {
    pub(crate) fn tcp(fd: OwnedFd, endpoint: Endpoint, local: SocketAddr) -> Self {
        let local = (!local.ip().is_unspecified()).then(|| End::Net(canonical(local)));
        Self { _file: None, fd, endpoint, ws_path: None, local, number: 0, broken: AtomicU32::new(0) }
    }
    pub(crate) fn unix(fd: OwnedFd, name: UnixName, file: Option<SocketFile>) -> Self {
        let path: Box<Path> = match &name {
            UnixName::Path(path) => path.as_path().into(),
            UnixName::Abstract(name) => Path::new(&format!("@{name}")).into(),
        };
        let local = Some(End::Unix { path: Some(path.into()), uid: None });
        Self {
            _file: file,
            fd,
            endpoint: Endpoint::Unix(name),
            ws_path: None,
            local,
            number: 0,
            broken: AtomicU32::new(0),
        }
    }
    /// The same, told as `endpoint`, which is the same place.
    pub(crate) fn heard_at(self, endpoint: Endpoint) -> Self {
        let ws_path = endpoint.ws_path().map(|path| path.as_str().into());
        Self { endpoint, ws_path, ..self }
    }
    /// The same, whose connections are told that they came in by the listener of this number ([`Way::listener`]).
    #[must_use]
    pub fn numbered(self, number: u16) -> Self {
        Self { number, ..self }
    }

    /// What [`Self::numbered`] has said; 0 where nothing was.
    pub fn number(&self) -> u16 {
        self.number
    }
    /// The address with the port that was picked; `*` if it hears all addresses because it was asked to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
    /// Waits for a connection, at most `time_max`: for callers that wait for nothing else. Whether there is one to accept;
    /// another thread or process may be quicker.
    pub fn wait(&self, time_max: Duration) -> bool {
        wait_readable(self.as_fd(), Some(time_max))
    }
    /// The next connection and who both its ends are. It is closed on exec, and waits unless `nonblocking`.
    ///
    /// # Errors
    /// Never fails for good because of a peer: see [`AcceptError`].
    pub fn accept(&self, nonblocking: bool) -> Result<(Socket, Way), AcceptError> {
        let wait = if nonblocking { SocketFlags::NONBLOCK } else { SocketFlags::empty() };
        loop {
            match rustix::net::acceptfrom_with(&self.fd, SocketFlags::CLOEXEC | wait) {
                Ok((fd, remote)) => {
                    self.broken.store(0, Ordering::Relaxed);
                    return self.welcome(fd, remote.as_ref());
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.judge(errno)),
            }
        }
    }
    /// What an error of accept asks for, seen with those before it.
    pub fn judge(&self, errno: Errno) -> AcceptError {
        let error = AcceptError::of(errno);
        let AcceptError::Broken(_) = error else {
            self.broken.store(0, Ordering::Relaxed);
            return error;
        };
        match self.broken.fetch_add(1, Ordering::Relaxed) {
            before if before < BROKEN_IN_A_ROW_MAX => error,
            _ => AcceptError::Exhausted(errno.raw_os_error()),
        }
    }
    /// Takes a connection that was accepted on this listener by other means, such as io_uring.
    ///
    /// # Errors
    /// [`AcceptError::Broken`] if the peer is gone already.
    pub fn adopt(&self, fd: OwnedFd) -> Result<(Socket, Way), AcceptError> {
        let remote = rustix::net::getpeername(&fd).map_err(AcceptError::of)?;
        self.broken.store(0, Ordering::Relaxed);
        self.welcome(fd, remote.as_ref())
    }
    fn welcome(&self, fd: OwnedFd, remote: Option<&SocketAddrAny>) -> Result<(Socket, Way), AcceptError> {
        let unknown = AcceptError::Broken(io::ErrorKind::Unsupported);
        let remote = match remote {
            Some(address) if address.address_family() != AddressFamily::UNIX => end_of(address, None),
            Some(address) => end_of(address, peer_uid(fd.as_fd())),
            None => Some(End::Unix { path: None, uid: peer_uid(fd.as_fd()) }),
        };
        let local = match &self.local {
            Some(local) => Some(local.clone()),
            None => end_of(&rustix::net::getsockname(&fd).map_err(AcceptError::of)?, None),
        };
        let way = Way::new(local.ok_or(unknown)?, remote.ok_or(unknown)?, Wire::Stream);
        Ok((
            Socket::new(fd, Wire::Stream),
            Way { asks_tls: self.endpoint.is_tls(), asks_ws: self.ws_path.clone(), listener: self.number, ..way },
        ))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl AcceptError {
    /// What an error of accept(2) asks for.
    ///
    /// Linux hands errors that wait on the new connection to accept; the manual page names those that are to be taken as
    /// "try again".
    pub fn of_errno(errno: i32) -> Self {
        Self::of(Errno::from_raw_os_error(errno))
    }
    fn of(errno: Errno) -> Self {
        match errno {
            Errno::AGAIN => Self::NotNow,
            Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM => Self::Exhausted(errno.raw_os_error()),
            Errno::BADF | Errno::NOTSOCK | Errno::INVAL | Errno::FAULT => Self::Fatal(errno.raw_os_error()),
            // ECONNABORTED, EPROTO, ENETDOWN, ENOPROTOOPT, EHOSTDOWN, ENONET, EHOSTUNREACH, EOPNOTSUPP, ENETUNREACH, and EPERM
            // of a firewall: whatever else there is, it is about that one connection.
            errno => Self::Broken(errno.kind()),
        }
    }
}

/// Pauses between attempts while descriptors are exhausted: [`ACCEPT_WAIT`], doubled to [`ACCEPT_WAIT_MAX`].
#[derive(Clone, Debug, Default)]
pub struct AcceptBackoff {
    state: Backoff,
    said: Option<Moment>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Backoff {
    #[default]
    Well,
    Pausing {
        until: Moment,
        wait: Duration,
        is_said: bool,
    },
}

/// What to do after [`AcceptError::Exhausted`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptPause {
    /// Accept nothing before.
    pub until: Moment,
    /// Write the log line: it is the first in this shortage, and none was written within a second.
    pub say: bool,
}

impl AcceptBackoff {
    /// Descriptors have run out once more.
    pub fn failed(&mut self, now: Moment) -> AcceptPause {
        let (wait, is_said) = match self.state {
            Backoff::Well => (ACCEPT_WAIT, false),
            Backoff::Pausing { wait, is_said, .. } => ((wait * 2).min(ACCEPT_WAIT_MAX), is_said),
        };
        let say = !is_said && self.said.is_none_or(|at| now.since(at) >= SAY_EVERY);
        if say {
            self.said = Some(now);
        }
        let until = now + wait;
        self.state = Backoff::Pausing { until, wait, is_said: is_said || say };
        AcceptPause { until, say }
    }
    /// A connection was accepted. Whether a shortage that was told about has ended by it.
    pub fn succeeded(&mut self) -> bool {
        matches!(std::mem::take(&mut self.state), Backoff::Pausing { is_said: true, .. })
    }
    /// When to accept again; `None`: no pause is on.
    pub fn until(&self) -> Option<Moment> {
        match self.state {
            Backoff::Well => None,
            Backoff::Pausing { until, .. } => Some(until),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::START + Duration::from_millis(millis)
    }

    #[test]
    fn errors_of_accept_are_told_apart() {
        for errno in [libc::EAGAIN, libc::EWOULDBLOCK] {
            assert_eq!(AcceptError::of_errno(errno), AcceptError::NotNow);
        }
        for errno in
            [libc::ECONNABORTED, libc::EPROTO, libc::ENETDOWN, libc::ENOPROTOOPT, libc::EHOSTDOWN].into_iter().chain([
                libc::ENONET,
                libc::EHOSTUNREACH,
                libc::ENETUNREACH,
                libc::EPERM,
                libc::ETIMEDOUT,
                libc::EOPNOTSUPP,
            ])
        {
            assert!(matches!(AcceptError::of_errno(errno), AcceptError::Broken(_)), "{errno}");
        }
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM] {
            assert_eq!(AcceptError::of_errno(errno), AcceptError::Exhausted(errno));
        }
        for errno in [libc::EBADF, libc::ENOTSOCK, libc::EINVAL] {
            assert_eq!(AcceptError::of_errno(errno), AcceptError::Fatal(errno));
        }
    }

    #[test]
    fn a_system_that_refuses_for_ever_makes_the_caller_pause() {
        let (fd, _) = rustix::pipe::pipe().unwrap();
        let listener = Listener::unix(fd, UnixName::Abstract("x".into()), None);
        let judged = |errno| listener.judge(errno);
        for _ in 0..3 {
            for _ in 0..BROKEN_IN_A_ROW_MAX {
                assert!(matches!(judged(Errno::PERM), AcceptError::Broken(_)));
            }
            assert_eq!(judged(Errno::PERM), AcceptError::Exhausted(libc::EPERM));
            assert_eq!(judged(Errno::PERM), AcceptError::Exhausted(libc::EPERM));
            assert_eq!(judged(Errno::AGAIN), AcceptError::NotNow);
        }
    }

    #[test]
    fn pauses_double_up_to_a_second_and_start_again_after_success() {
        let mut backoff = AcceptBackoff::default();
        assert_eq!(backoff.until(), None);
        let mut now = 0;
        for wait in [10, 20, 40, 80, 160, 320, 640, 1000, 1000] {
            let pause = backoff.failed(at(now));
            assert_eq!(pause, AcceptPause { until: at(now + wait), say: now == 0 });
            assert_eq!(backoff.until(), Some(pause.until));
            now += wait;
        }
        assert!(backoff.succeeded());
        assert!(!backoff.succeeded());
        assert_eq!(backoff.failed(at(now)).until, at(now + 10));
    }

    #[test]
    fn a_shortage_that_comes_and_goes_is_told_once_a_second() {
        let mut backoff = AcceptBackoff::default();
        let mut lines = 0;
        let mut ends = 0;
        for now in (0..3000).step_by(100) {
            lines += u32::from(backoff.failed(at(now)).say);
            ends += u32::from(backoff.succeeded());
        }
        assert_eq!((lines, ends), (3, 3));
    }

    #[test]
    fn a_long_shortage_that_began_in_silence_is_told_later() {
        let mut backoff = AcceptBackoff::default();
        assert!(backoff.failed(at(0)).say);
        backoff.succeeded();
        assert!(!backoff.failed(at(500)).say);
        assert!(backoff.failed(at(1000)).say);
        assert!(!backoff.failed(at(3000)).say);
    }
}
