//! Binding addresses, all of them or none.
use crate::{
    address::unix_address,
    datagrams::Datagrams,
    endpoint::{Endpoint, Host, HostPort, UnixName},
    listener::Listener,
    resolve::{Family, RESOLVE_TIME_MAX, ResolveError, resolve},
    socket::set_keepalive,
    unix_file::{self, SocketFile},
};
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt},
};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd as _, OwnedFd},
    path::PathBuf,
    time::{Duration, Instant},
};

/// Connections that may wait to be accepted. The system cuts it to `net.core.somaxconn`.
pub const BACKLOG: i32 = 4096;
/// UDP sockets of one address.
pub const DATAGRAM_SOCKETS_MAX: usize = 1024;
/// How often another free port is picked when the one picked for the first address is taken on the second.
const PORT_PICKS_MAX: usize = 16;

/// How to listen.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// Which addresses of `*`, `localhost` and names are bound; both families by default.
    pub family: Family,
    /// TCP keep-alive of the connections, see [`crate::socket::Socket::set_keepalive`]; off by default.
    pub keepalive: Option<Duration>,
    /// The permission bits of a Unix socket's file; by default what the umask leaves.
    pub unix_mode: Option<u32>,
    /// Sockets of one UDP address, one for each worker: 1 by default, at most [`DATAGRAM_SOCKETS_MAX`]. The kernel spreads
    /// the peers over them.
    pub datagram_sockets: usize,
    /// How long a name may take to resolve; [`RESOLVE_TIME_MAX`] by default.
    pub resolve_time_max: Duration,
}

/// An address that is listened on.
#[derive(Debug)]
pub enum Bound {
    /// TCP or Unix: connections come.
    Stream(Listener),
    /// UDP: datagrams come, to [`ListenOptions::datagram_sockets`] sockets of one port.
    Datagrams(Vec<Datagrams>),
}

/// Why an address cannot be listened on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot listen on {at}: {why}")]
pub struct ListenError {
    /// The address as it was asked for.
    pub at: Endpoint,
    /// The cause.
    pub why: ListenProblem,
}

/// The cause of a [`ListenError`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListenProblem {
    /// Somebody listens there already.
    #[error("the address is in use: stop who uses it, or pick another (port 0 picks a free one)")]
    InUse,
    /// The port is one that only privileged programs may bind.
    #[error("no permission for port {port}: pick a port from 1024 up, or grant CAP_NET_BIND_SERVICE")]
    LowPort {
        /// The port.
        port: u16,
    },
    /// The system forbids it.
    #[error("no permission")]
    NoPermission,
    /// The address is none of this machine's.
    #[error("{ip} is no address of this machine")]
    NotAvailable {
        /// The address.
        ip: IpAddr,
    },
    /// The machine has no such address family: IPv6 is switched off.
    #[error("this machine has no {family}")]
    NoFamily {
        /// The family.
        family: Family,
    },
    /// The host has no address to bind.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The directory of a Unix socket does not exist, or is none.
    #[error("the directory {} does not exist", .directory.display())]
    NoDirectory {
        /// The directory.
        directory: PathBuf,
    },
    /// The path of a Unix socket is taken by something that is no socket; it is left alone.
    #[error("{} exists and is no socket: remove it, or pick another path", .path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The file system cannot be written.
    #[error("the file system is read-only")]
    ReadOnly,
    /// No descriptor or memory is left.
    #[error("no descriptor or memory is left: raise the limit (ulimit -n)")]
    Exhausted,
    /// Something else that the system reports.
    #[error("{call}: {}", io::Error::from_raw_os_error(*.errno))]
    System {
        /// The system call.
        call: &'static str,
        /// Its error number.
        errno: i32,
    },
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            family: Family::Any,
            keepalive: None,
            unix_mode: None,
            datagram_sockets: 1,
            resolve_time_max: RESOLVE_TIME_MAX,
        }
    }
}

impl Bound {
    /// The address with the port that was picked.
    pub fn endpoint(&self) -> Endpoint {
        match self {
            Self::Stream(listener) => listener.endpoint().clone(),
            Self::Datagrams(sockets) => Endpoint::Udp(sockets[0].host_port().clone()),
        }
    }
    /// The same with TLS spoken there, for sockets that somebody else has bound; datagrams stay as they are.
    #[must_use]
    pub fn with_tls(self) -> Self {
        match self {
            Self::Stream(listener) => {
                let endpoint = listener.endpoint().clone().with_tls();
                Self::Stream(listener.heard_at(endpoint))
            }
            Self::Datagrams(sockets) => Self::Datagrams(sockets),
        }
    }
    /// The same, whose connections are told that they came in by the listener of this number ([`sotong_session::Way::listener`]);
    /// datagrams are told nothing.
    #[must_use]
    pub fn numbered(self, number: u16) -> Self {
        match self {
            Self::Stream(listener) => Self::Stream(listener.numbered(number)),
            Self::Datagrams(sockets) => Self::Datagrams(sockets),
        }
    }
    /// What [`Self::numbered`] has said; 0 where nothing was.
    pub fn number(&self) -> u16 {
        match self {
            Self::Stream(listener) => listener.number(),
            Self::Datagrams(_) => 0,
        }
    }
    /// The same with what [`Endpoint::spoken`] says spoken there; `None` where that cannot be.
    pub fn with_spoken(self, word: &str) -> Option<Self> {
        match self {
            Self::Stream(listener) => {
                let endpoint = listener.endpoint().clone().with_spoken(word)?;
                Some(Self::Stream(listener.heard_at(endpoint)))
            }
            Self::Datagrams(sockets) => word.is_empty().then_some(Self::Datagrams(sockets)),
        }
    }
}

/// Listens on every one of `endpoints`, or on none: what was bound before a failure is let go.
///
/// `*` and `[::]` are one socket for both families, or IPv4 alone on a machine without IPv6. `localhost` is one socket a
/// family, with one port; a family that the machine lacks is left out. A name binds each of its addresses. Sockets do not
/// wait, are closed on exec, and send without delay (TCP_NODELAY, which connections inherit).
///
/// The result has at least one entry for each endpoint, in their order.
///
/// # Errors
/// The first endpoint that failed, and why.
pub fn listen(endpoints: &[Endpoint], options: &ListenOptions) -> Result<Vec<Bound>, ListenError> {
    let mut bound = Vec::with_capacity(endpoints.len());
    for at in endpoints {
        let more = listen_patiently(at, options).map_err(|why| ListenError { at: at.clone(), why })?;
        bound.extend(more);
    }
    Ok(bound)
}

/// How long an address may be in use before that is told: a server that was killed lets its sockets go a moment after it is
/// gone, when the kernel has taken its io_uring apart.
const IN_USE_TIME_MAX: Duration = Duration::from_millis(500);
/// How long to wait before an address in use is tried again.
const IN_USE_PAUSE: Duration = Duration::from_millis(20);

fn listen_patiently(endpoint: &Endpoint, options: &ListenOptions) -> Result<Vec<Bound>, ListenProblem> {
    let until = Instant::now() + IN_USE_TIME_MAX;
    loop {
        match listen_one(endpoint, options) {
            Err(ListenProblem::InUse) if Instant::now() < until => std::thread::sleep(IN_USE_PAUSE),
            result => return result,
        }
    }
}

fn listen_one(endpoint: &Endpoint, options: &ListenOptions) -> Result<Vec<Bound>, ListenProblem> {
    match endpoint {
        Endpoint::Tcp(to) | Endpoint::Tls(to) | Endpoint::Ws(to, _) | Endpoint::Wss(to, _) => {
            listen_net(to, options, |place| {
                let fd = bind_tcp(place, options)?;
                let local = local_address(&fd)?;
                let name = place.written(local);
                let listener = Listener::tcp(fd, Endpoint::Tcp(name.clone()), local);
                let heard_at = match endpoint {
                    Endpoint::Tls(_) => Endpoint::Tls(name),
                    Endpoint::Ws(_, path) => Endpoint::Ws(name, path.clone()),
                    Endpoint::Wss(_, path) => Endpoint::Wss(name, path.clone()),
                    Endpoint::Tcp(_) | Endpoint::Udp(_) | Endpoint::Unix(_) | Endpoint::TlsUnix(_) => {
                        Endpoint::Tcp(name)
                    }
                };
                Ok((Bound::Stream(listener.heard_at(heard_at)), local.port()))
            })
        }
        Endpoint::Udp(to) => listen_net(to, options, |place| {
            let sockets = bind_udp_group(place, options.datagram_sockets)?;
            let port = sockets[0].local().port();
            Ok((Bound::Datagrams(sockets), port))
        }),
        Endpoint::Unix(name) | Endpoint::TlsUnix(name) => {
            Ok(vec![Bound::Stream(bind_unix(name, options)?.heard_at(endpoint.clone()))])
        }
    }
}

/// One address to bind.
struct Place {
    address: SocketAddr,
    /// Only IPv6, where the address is `::`.
    v6_only: bool,
    /// It stands for all addresses, and is shown so.
    is_all: bool,
}

impl Place {
    fn family(&self) -> AddressFamily {
        if self.address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 }
    }
    /// How `local`, the address that it became, is written.
    fn written(&self, local: SocketAddr) -> HostPort {
        if self.is_all { HostPort { host: Host::All, port: local.port() } } else { HostPort::of(local) }
    }
}

/// Binds what `to` stands for, with one port.
fn listen_net(
    to: &HostPort,
    options: &ListenOptions,
    bind: impl Fn(&Place) -> Result<(Bound, u16), ListenProblem>,
) -> Result<Vec<Bound>, ListenProblem> {
    let v6_only = options.family == Family::V6;
    // `*` is both families: of one alone, the address of that one tells what is open.
    let is_all = to.host == Host::All && options.family == Family::Any;
    let place = |address| Place { address, v6_only, is_all };
    let is_both = matches!(to.host, Host::All) || to.host.ip() == Some(Ipv6Addr::UNSPECIFIED.into());
    if is_both && options.family == Family::Any {
        let v6 = bind(&place(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), to.port)));
        let v4 = || bind(&place(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), to.port)));
        let (bound, _) = if v6.as_ref().is_err_and(ListenProblem::is_missing) { v4() } else { v6 }?;
        return Ok(vec![bound]);
    }
    let addresses = resolve(to, options.family, options.resolve_time_max)?;
    let places: Vec<_> = addresses.into_iter().map(place).collect();
    let may_lack = to.host == Host::Localhost;
    let picks = if to.port == 0 && places.len() > 1 { PORT_PICKS_MAX } else { 1 };
    let mut result = Err(ListenProblem::InUse);
    for _ in 0..picks {
        result = bind_each(&places, may_lack, &bind);
        if !matches!(result, Err(ListenProblem::InUse)) {
            break;
        }
    }
    result
}

/// Binds all places; a port that the first one picks is the port of the others.
fn bind_each(
    places: &[Place],
    may_lack: bool,
    bind: impl Fn(&Place) -> Result<(Bound, u16), ListenProblem>,
) -> Result<Vec<Bound>, ListenProblem> {
    let mut bound = Vec::with_capacity(places.len());
    let mut picked = None;
    let mut missing = None;
    for place in places {
        let mut address = place.address;
        address.set_port(picked.unwrap_or(address.port()));
        match bind(&Place { address, ..*place }) {
            Ok((one, port)) => {
                picked = Some(port);
                bound.push(one);
            }
            Err(why) if may_lack && why.is_missing() => missing = Some(why),
            Err(why) => return Err(why),
        }
    }
    match missing {
        Some(why) if bound.is_empty() => Err(why),
        _ => Ok(bound),
    }
}

fn bind_tcp(place: &Place, options: &ListenOptions) -> Result<OwnedFd, ListenProblem> {
    let fail = |call| move |errno| ListenProblem::of(errno, call, place.address);
    let fd = net_socket(place, SocketType::STREAM)?;
    // Connections of a server that has just left, in TIME_WAIT, do not hold the port; a listener does all the same.
    sockopt::set_socket_reuseaddr(&fd, true).map_err(fail("setsockopt"))?;
    sockopt::set_tcp_nodelay(&fd, true).map_err(fail("setsockopt"))?;
    if let Some(idle) = options.keepalive {
        set_keepalive(fd.as_fd(), idle)
            .map_err(|error| fail("setsockopt")(Errno::from_io_error(&error).unwrap_or(Errno::INVAL)))?;
    }
    rustix::net::bind(&fd, &place.address).map_err(fail("bind"))?;
    rustix::net::listen(&fd, BACKLOG).map_err(fail("listen"))?;
    Ok(fd)
}

/// `count` sockets of one UDP address.
///
/// The first is bound alone, so that an address in use is noticed; only then it lets the others join (SO_REUSEPORT). With
/// the option set from the start, two servers of one user would share a port and each get half of the peers.
fn bind_udp_group(place: &Place, count: usize) -> Result<Vec<Datagrams>, ListenProblem> {
    let count = count.clamp(1, DATAGRAM_SOCKETS_MAX);
    let mut sockets = Vec::with_capacity(count);
    let mut address = place.address;
    for index in 0..count {
        let at = address;
        let fail = |call| move |errno| ListenProblem::of(errno, call, at);
        let fd = net_socket(place, SocketType::DGRAM)?;
        if index > 0 {
            sockopt::set_socket_reuseport(&fd, true).map_err(fail("setsockopt"))?;
        }
        rustix::net::bind(&fd, &address).map_err(fail("bind"))?;
        if index == 0 && count > 1 {
            sockopt::set_socket_reuseport(&fd, true).map_err(fail("setsockopt"))?;
        }
        let local = local_address(&fd)?;
        address.set_port(local.port());
        let socket = Datagrams::new(fd, local, place.written(local));
        sockets.push(socket.map_err(|error| fail("setsockopt")(Errno::from_io_error(&error).unwrap_or(Errno::INVAL)))?);
    }
    Ok(sockets)
}

fn net_socket(place: &Place, kind: SocketType) -> Result<OwnedFd, ListenProblem> {
    let fail = |call| move |errno| ListenProblem::of(errno, call, place.address);
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = socket_with(place.family(), kind, flags, None).map_err(fail("socket"))?;
    if place.address.is_ipv6() {
        sockopt::set_ipv6_v6only(&fd, place.v6_only).map_err(fail("setsockopt"))?;
    }
    Ok(fd)
}

fn local_address(fd: &OwnedFd) -> Result<SocketAddr, ListenProblem> {
    let system = |errno: Errno| ListenProblem::System { call: "getsockname", errno: errno.raw_os_error() };
    SocketAddr::try_from(rustix::net::getsockname(fd).map_err(system)?).map_err(system)
}

fn bind_unix(name: &UnixName, options: &ListenOptions) -> Result<Listener, ListenProblem> {
    let fail = |call| move |errno| ListenProblem::of_unix(errno, call, name);
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(fail("socket"))?;
    let address = unix_address(name).map_err(fail("bind"))?;
    let mut bound = rustix::net::bind(&fd, &address);
    if bound == Err(Errno::ADDRINUSE)
        && let UnixName::Path(path) = name
    {
        unix_file::remove_stale(path)?;
        bound = rustix::net::bind(&fd, &address);
    }
    bound.map_err(fail("bind"))?;
    let file = match name {
        UnixName::Path(path) => Some(SocketFile::of(path).map_err(fail("stat"))?),
        UnixName::Abstract(_) => None,
    };
    // Before listening, so that nobody comes in while the file has other permissions.
    if let (UnixName::Path(path), Some(mode)) = (name, options.unix_mode) {
        rustix::fs::chmod(path, rustix::fs::Mode::from_raw_mode(mode)).map_err(fail("chmod"))?;
    }
    rustix::net::listen(&fd, BACKLOG).map_err(fail("listen"))?;
    Ok(Listener::unix(fd, name.clone(), file))
}

impl ListenProblem {
    /// The machine lacks the address or its family.
    fn is_missing(&self) -> bool {
        matches!(self, Self::NotAvailable { .. } | Self::NoFamily { .. })
    }
    fn of(errno: Errno, call: &'static str, address: SocketAddr) -> Self {
        match errno {
            Errno::ACCESS | Errno::PERM if (1..1024).contains(&address.port()) => {
                Self::LowPort { port: address.port() }
            }
            Errno::ADDRNOTAVAIL => Self::NotAvailable { ip: address.ip() },
            Errno::AFNOSUPPORT if address.is_ipv6() => Self::NoFamily { family: Family::V6 },
            Errno::AFNOSUPPORT => Self::NoFamily { family: Family::V4 },
            errno => Self::common(errno, call),
        }
    }
    fn of_unix(errno: Errno, call: &'static str, name: &UnixName) -> Self {
        match (errno, name.as_path()) {
            (Errno::NOENT | Errno::NOTDIR, Some(path)) => {
                let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                Self::NoDirectory { directory: directory.map_or_else(|| ".".into(), Into::into) }
            }
            _ => Self::common(errno, call),
        }
    }
    pub(crate) fn common(errno: Errno, call: &'static str) -> Self {
        match errno {
            Errno::ADDRINUSE => Self::InUse,
            Errno::ACCESS | Errno::PERM => Self::NoPermission,
            Errno::ROFS => Self::ReadOnly,
            Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM => Self::Exhausted,
            errno => Self::System { call, errno: errno.raw_os_error() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_apart() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        for (errno, address, problem) in [
            (Errno::ACCESS, "127.0.0.1:80", ListenProblem::LowPort { port: 80 }),
            (Errno::ACCESS, "127.0.0.1:1024", ListenProblem::NoPermission),
            (Errno::PERM, "127.0.0.1:0", ListenProblem::NoPermission),
            (Errno::ADDRINUSE, "127.0.0.1:80", ListenProblem::InUse),
            (Errno::AFNOSUPPORT, "[::]:80", ListenProblem::NoFamily { family: Family::V6 }),
            (Errno::MFILE, "[::]:80", ListenProblem::Exhausted),
            (Errno::INVAL, "[::]:80", ListenProblem::System { call: "bind", errno: libc::EINVAL }),
        ] {
            assert_eq!(ListenProblem::of(errno, "bind", at(address)), problem);
        }
        let relative = UnixName::Path("s".into());
        let directory = ".".into();
        assert_eq!(ListenProblem::of_unix(Errno::NOENT, "bind", &relative), ListenProblem::NoDirectory { directory });
        assert_eq!(ListenProblem::of_unix(Errno::ROFS, "bind", &relative), ListenProblem::ReadOnly);
    }

    /// Binding as a machine would that lacks IPv6, or where a port is taken on the second address.
    fn pretend(
        to: &str,
        answer: impl Fn(SocketAddr) -> Result<(), ListenProblem>,
    ) -> Result<Vec<String>, ListenProblem> {
        let to: Endpoint = to.parse().unwrap();
        let bound = listen_net(to.host_port().unwrap(), &ListenOptions::default(), |place| {
            answer(place.address)?;
            let fd = bind_tcp(place, &ListenOptions::default())?;
            let local = local_address(&fd)?;
            Ok((Bound::Stream(Listener::tcp(fd, Endpoint::Tcp(HostPort::of(local)), local)), local.port()))
        })?;
        Ok(bound.iter().map(|bound| bound.endpoint().host_port().unwrap().host.to_string()).collect())
    }

    #[test]
    fn a_machine_without_ipv6_listens_on_ipv4() {
        for missing in [
            ListenProblem::NoFamily { family: Family::V6 },
            ListenProblem::NotAvailable { ip: Ipv6Addr::UNSPECIFIED.into() },
        ] {
            let without_v6 = |at: SocketAddr| if at.is_ipv6() { Err(missing.clone()) } else { Ok(()) };
            assert_eq!(pretend("*:0", without_v6).unwrap(), ["0.0.0.0"]);
            assert_eq!(pretend(":0", without_v6).unwrap(), ["127.0.0.1"]);
            assert_eq!(pretend("[::1]:0", without_v6), Err(missing.clone()));
            assert_eq!(pretend(":0", |_| Err(missing.clone())), Err(missing.clone()));
        }
    }

    #[test]
    fn another_port_is_picked_when_the_second_address_has_it_taken() {
        let tries = std::cell::Cell::new(0);
        let taken_twice = |at: SocketAddr| {
            tries.set(tries.get() + usize::from(at.port() != 0));
            if at.port() != 0 && tries.get() <= 2 { Err(ListenProblem::InUse) } else { Ok(()) }
        };
        let without_v6 = std::net::TcpListener::bind("[::1]:0").is_err();
        if !without_v6 {
            assert_eq!(pretend(":0", taken_twice).unwrap(), ["[::1]", "127.0.0.1"]);
            assert_eq!(tries.get(), 3);
            tries.set(0);
            let always = |at: SocketAddr| {
                tries.set(tries.get() + 1);
                if at.port() == 0 { Ok(()) } else { Err(ListenProblem::InUse) }
            };
            assert_eq!(pretend(":0", always), Err(ListenProblem::InUse));
            assert_eq!(tries.get(), 2 * PORT_PICKS_MAX);
        }
    }
}
