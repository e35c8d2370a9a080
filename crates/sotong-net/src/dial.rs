//! Connecting: every address of a name is tried, none of them keeps the others waiting.
//!
//! TCP follows RFC 8305 (happy eyeballs): the families take turns, the next address is tried 250 ms after the last one, or at
//! once when one fails, and the first connection that stands wins. All of it, looking up the name included, has one time
//! limit.
use crate::{
    address::unix_address,
    dial_error::{Attempt, Cause, DialError},
    endpoint::{Defaults, Endpoint, EndpointError, Host, HostPort, Scheme, UnixName},
    resolve::{Family, resolve},
    signals::Stop,
    socket::Socket,
    wake::wait_readable,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt},
};
use sotong_session::{End, Wire};
use std::{
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd as _, OwnedFd},
    thread,
    time::{Duration, Instant},
};

/// How long connecting may take unless the caller says otherwise: longer than three lost SYNs (1 + 2 + 4 s, RFC 6298).
pub const DIAL_TIME_MAX: Duration = Duration::from_secs(30);
/// How long one address is tried alone before the next joins (RFC 8305 §5).
pub const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Addresses of one name that are tried at most.
pub const ATTEMPTS_MAX: usize = 32;
/// How long a server of Unix sockets with a full queue is left before it is tried again; the system tells nobody when there
/// is room.
const UNIX_RETRY: Duration = Duration::from_millis(10);

/// How to connect.
#[derive(Clone, Debug)]
pub struct DialOptions {
    /// Which addresses of a name are tried; both families by default.
    pub family: Family,
    /// The local address to connect from, and its port or 0; see [`parse_source`]. Not for Unix sockets.
    pub source: Option<SocketAddr>,
    /// The limit for all of it, [`DIAL_TIME_MAX`] by default.
    pub time_max: Duration,
    /// TCP keep-alive, see [`Socket::set_keepalive`]; off by default.
    pub keepalive: Option<Duration>,
    /// Ends the attempt when it leaves [`crate::signals::Stage::Running`].
    pub stop: Option<Stop>,
}

/// How often and how soon to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Attempts after the first; 0 by default.
    pub times: u32,
    /// The pause before the second attempt, doubled for each one after; 250 ms by default.
    pub wait: Duration,
    /// The longest pause; 10 s by default.
    pub wait_max: Duration,
}

impl Default for DialOptions {
    fn default() -> Self {
        Self { family: Family::Any, source: None, time_max: DIAL_TIME_MAX, keepalive: None, stop: None }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self { times: 0, wait: Duration::from_millis(250), wait_max: Duration::from_secs(10) }
    }
}

/// Connects to `to`. The socket waits (it is in blocking mode) and is closed on exec; TCP sends without delay.
///
/// Where TLS or WebSocket is to be spoken it has still to be begun: the connection alone stands.
///
/// A UDP socket is connected at once, to the first address that there is a route to (of `localhost`, 127.0.0.1): whether anybody is there shows only
/// when something is sent, see [`crate::probe`].
///
/// # Errors
/// Each address and what became of it; [`DialError::class`] sums it up.
pub fn dial(to: &Endpoint, options: &DialOptions) -> Result<Socket, DialError> {
    to.check_dial()?;
    let deadline = Deadline::new(options);
    let (fd, wire) = match to {
        Endpoint::Tcp(host_port)
        | Endpoint::Tls(host_port)
        | Endpoint::Ws(host_port, _)
        | Endpoint::Wss(host_port, _) => {
            let addresses = addresses_of(host_port, options, &deadline)?;
            (race(to, addresses, options, &deadline)?, Wire::Stream)
        }
        Endpoint::Udp(host_port) => {
            let mut addresses = addresses_of(host_port, options, &deadline)?;
            // Nothing tells which of the two a server of this machine has; most have the IPv4 one.
            if host_port.host == Host::Localhost {
                addresses.sort_by_key(SocketAddr::is_ipv6);
            }
            (first_datagram_socket(to, &addresses, options)?, Wire::Records)
        }
        Endpoint::Unix(name) | Endpoint::TlsUnix(name) => (dial_unix(to, name, &deadline)?, Wire::Stream),
    };
    let socket = Socket::new(fd, wire);
    let prepared = socket.set_nonblocking(false).and_then(|()| match options.keepalive {
        Some(idle) => socket.set_keepalive(idle),
        None => Ok(()),
    });
    prepared.map_err(|error| DialError::System { errno: error.raw_os_error().unwrap_or(0) })?;
    Ok(socket)
}

/// Connects as [`dial`] does, and tries again where that may help: see [`DialError::may_pass`].
///
/// `told` hears of each failure that is followed by another attempt, the number of that attempt (from 1), and the pause
/// before it. [`DialOptions::time_max`] holds for each attempt.
///
/// # Errors
/// As [`dial`], of the last attempt.
pub fn dial_retrying(
    to: &Endpoint,
    options: &DialOptions,
    retry: Retry,
    mut told: impl FnMut(&DialError, u32, Duration),
) -> Result<Socket, DialError> {
    let mut wait = retry.wait.min(retry.wait_max);
    for attempt in 1.. {
        let error = match dial(to, options) {
            Ok(socket) => return Ok(socket),
            Err(error) => error,
        };
        if attempt > retry.times || !error.may_pass() {
            return Err(error);
        }
        told(&error, attempt, wait);
        pause(wait, options)?;
        wait = wait.saturating_mul(2).min(retry.wait_max);
    }
    unreachable!("the loop ends by returning")
}

/// Reads what `--source` takes: an address, `address:port` or `[address]:port`.
///
/// # Errors
/// As [`Endpoint::parse`]; a name is [`EndpointError::BadIpv4`].
pub fn parse_source(text: &str) -> Result<SocketAddr, EndpointError> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, 0));
    }
    let none = || EndpointError::BadIpv4 { text: text.into() };
    let defaults = Defaults { scheme: Scheme::Tcp, port: Some(0) };
    let endpoint = Endpoint::parse(text, defaults)?;
    let at = endpoint.host_port().ok_or_else(none)?;
    if matches!(at.host, Host::All | Host::Localhost | Host::Name(_)) {
        return Err(none());
    }
    // An address asks no resolver; only its zone can be wrong.
    let found = resolve(at, Family::Any, Duration::ZERO).map_err(|_| EndpointError::BadIpv6 { text: text.into() })?;
    Ok(found[0])
}

/// The time limit of one attempt, and who may end it earlier.
pub(crate) struct Deadline<'a> {
    at: Instant,
    stop: Option<&'a Stop>,
}

impl<'a> Deadline<'a> {
    pub(crate) fn new(options: &'a DialOptions) -> Self {
        // A limit beyond what a clock can hold is none; a year is as good.
        let time_max = options.time_max.min(Duration::from_secs(366 * 86_400));
        Self { at: Instant::now() + time_max, stop: options.stop.as_ref() }
    }
    pub(crate) fn left(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }
    /// Polls `fds` until one is ready, the deadline, `soon` or a stop.
    ///
    /// # Errors
    /// [`DialError::Stopped`].
    pub(crate) fn poll<'f>(&self, mut fds: Vec<PollFd<'f>>, soon: Duration) -> Result<Vec<PollFlags>, DialError>
    where
        'a: 'f,
    {
        let count = fds.len();
        if let Some(stop) = self.stop {
            fds.push(PollFd::from_borrowed_fd(stop.draining_fd(), PollFlags::IN));
        }
        let wait = self.left().min(soon);
        let limit =
            Timespec { tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX), tv_nsec: wait.subsec_nanos().into() };
        match poll(&mut fds, Some(&limit)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(DialError::System { errno: errno.raw_os_error() }),
        }
        if self.stop.is_some_and(Stop::is_stopping) {
            return Err(DialError::Stopped);
        }
        Ok(fds[..count].iter().map(PollFd::revents).collect())
    }
}

/// The addresses to try, in turn by family, at most [`ATTEMPTS_MAX`].
pub(crate) fn addresses_of(
    to: &HostPort,
    options: &DialOptions,
    deadline: &Deadline<'_>,
) -> Result<Vec<SocketAddr>, DialError> {
    let family = match (options.source.map(|source| source.ip().to_canonical()), options.family) {
        (Some(IpAddr::V4(_)), Family::Any | Family::V4) => Family::V4,
        (Some(IpAddr::V6(_)), Family::Any | Family::V6) => Family::V6,
        (Some(source), family) => return Err(DialError::SourceFamily { from: source, family }),
        (None, family) => family,
    };
    let mut addresses = take_turns(resolve(to, family, deadline.left())?);
    addresses.truncate(ATTEMPTS_MAX);
    Ok(addresses)
}

/// The families take turns, beginning with the one that came first (RFC 8305 §4).
fn take_turns(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let count = addresses.len();
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut turns = Vec::with_capacity(count);
    while turns.len() < count {
        turns.extend(first.next());
        turns.extend(second.next());
    }
    turns
}

/// Tries `addresses` as RFC 8305 §5 says; the first that connects wins, the others are closed.
fn race(
    to: &Endpoint,
    addresses: Vec<SocketAddr>,
    options: &DialOptions,
    deadline: &Deadline<'_>,
) -> Result<OwnedFd, DialError> {
    let mut waiting = addresses.into_iter().peekable();
    let mut running: Vec<(OwnedFd, SocketAddr)> = Vec::new();
    let mut attempts = Vec::new();
    let mut next_at = Instant::now();
    loop {
        let now = Instant::now();
        if waiting.peek().is_some() && (running.is_empty() || now >= next_at) {
            let address = waiting.next().expect("it was peeked at");
            match start(address, SocketType::STREAM, options) {
                Ok(Started::Connected(fd)) => match check(&fd, address) {
                    Ok(()) => return Ok(fd),
                    Err(cause) => attempts.push(Attempt { to: End::Net(address), cause }),
                },
                Ok(Started::Connecting(fd)) => {
                    running.push((fd, address));
                    next_at = now + ATTEMPT_DELAY;
                }
                Err(cause) => attempts.push(Attempt { to: End::Net(address), cause }),
            }
            continue;
        }
        if running.is_empty() {
            return Err(DialError::Failed { to: to.clone(), attempts });
        }
        if deadline.left().is_zero() {
            attempts.extend(running.iter().map(|(_, at)| Attempt { to: End::Net(*at), cause: Cause::NoAnswer }));
            return Err(DialError::Failed { to: to.clone(), attempts });
        }
        let soon = if waiting.peek().is_some() { next_at.saturating_duration_since(now) } else { Duration::MAX };
        let polled = running.iter().map(|(fd, _)| PollFd::new(fd, PollFlags::OUT)).collect();
        let ready = deadline.poll(polled, soon)?;
        for index in (0..ready.len()).rev().filter(|&index| !ready[index].is_empty()) {
            let (fd, address) = running.remove(index);
            let connected = match sockopt::socket_error(&fd) {
                Ok(Ok(())) => check(&fd, address),
                Ok(Err(errno)) | Err(errno) => Err(Cause::of(errno, "connect", address)),
            };
            match connected {
                Ok(()) => return Ok(fd),
                Err(cause) => {
                    attempts.push(Attempt { to: End::Net(address), cause });
                    next_at = Instant::now();
                }
            }
        }
    }
}

/// A socket that has connected, or is about to.
pub(crate) enum Started {
    Connected(OwnedFd),
    Connecting(OwnedFd),
}

/// A socket of one attempt; it does not wait.
pub(crate) fn start(address: SocketAddr, kind: SocketType, options: &DialOptions) -> Result<Started, Cause> {
    let fail = |call| move |errno| Cause::of(errno, call, address);
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = socket_with(family, kind, flags, None).map_err(fail("socket"))?;
    if kind == SocketType::STREAM {
        sockopt::set_tcp_nodelay(&fd, true).map_err(fail("setsockopt"))?;
    }
    if let Some(source) = options.source {
        // A port of one's own may be in TIME_WAIT, or serve two attempts at once. UDP would let others share it.
        if source.port() != 0 && kind == SocketType::STREAM {
            sockopt::set_socket_reuseaddr(&fd, true).map_err(fail("setsockopt"))?;
        }
        rustix::net::bind(&fd, &source).map_err(|errno| Cause::of_source(errno, source))?;
    }
    match rustix::net::connect(&fd, &address) {
        Ok(()) => Ok(Started::Connected(fd)),
        // An interrupted connect goes on by itself (POSIX).
        Err(Errno::INPROGRESS | Errno::INTR) => Ok(Started::Connecting(fd)),
        Err(errno) => Err(match options.source {
            Some(source) if source.port() != 0 && errno == Errno::ADDRNOTAVAIL => Cause::SourceInUse { from: source },
            _ => Cause::of(errno, "connect", address),
        }),
    }
}

/// A socket that has connected to itself has met nobody: where a free port is dialled again and again, the system at last
/// picks that very port to dial from, and the two ends are one (simultaneous open, RFC 9293 §3.5).
fn check(fd: &OwnedFd, address: SocketAddr) -> Result<(), Cause> {
    let local = rustix::net::getsockname(fd).and_then(SocketAddr::try_from);
    match local {
        Ok(local) if local.ip() == address.ip() && local.port() == address.port() => Err(Cause::Refused),
        _ => Ok(()),
    }
}

fn first_datagram_socket(to: &Endpoint, addresses: &[SocketAddr], options: &DialOptions) -> Result<OwnedFd, DialError> {
    let mut attempts = Vec::new();
    for &address in addresses {
        match start(address, SocketType::DGRAM, options) {
            Ok(Started::Connected(fd) | Started::Connecting(fd)) => return Ok(fd),
            Err(cause) => attempts.push(Attempt { to: End::Net(address), cause }),
        }
    }
    Err(DialError::Failed { to: to.clone(), attempts })
}

fn dial_unix(to: &Endpoint, name: &UnixName, deadline: &Deadline<'_>) -> Result<OwnedFd, DialError> {
    let failed = |cause| {
        let path = std::path::PathBuf::from(name.to_string());
        let attempts = vec![Attempt { to: End::Unix { path: Some(path.into()), uid: None }, cause }];
        DialError::Failed { to: to.clone(), attempts }
    };
    let address = unix_address(name).map_err(|errno| failed(Cause::of_unix(errno)))?;
    loop {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .map_err(|errno| failed(Cause::of_unix(errno)))?;
        match rustix::net::connect(&fd, &address) {
            Ok(()) => return Ok(fd),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if deadline.left().is_zero() => return Err(failed(Cause::NoAnswer)),
            Err(Errno::AGAIN) => drop(deadline.poll(Vec::new(), UNIX_RETRY)?),
            Err(errno) => return Err(failed(Cause::of_unix(errno))),
        }
    }
}

fn pause(wait: Duration, options: &DialOptions) -> Result<(), DialError> {
    match &options.stop {
        Some(stop) if wait_readable(stop.draining_fd().as_fd(), Some(wait)) => Err(DialError::Stopped),
        Some(_) => Ok(()),
        None => {
            thread::sleep(wait);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_and_keep_their_order() {
        let turns = |list: &[&str]| {
            let addresses = list.iter().map(|text| text.parse().unwrap()).collect();
            take_turns(addresses).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            turns(&["[::1]:1", "[::2]:1", "[::3]:1", "1.0.0.1:1", "1.0.0.2:1"]),
            ["[::1]:1", "1.0.0.1:1", "[::2]:1", "1.0.0.2:1", "[::3]:1"]
        );
        assert_eq!(turns(&["1.0.0.1:1", "[::1]:1"]), ["1.0.0.1:1", "[::1]:1"]);
        assert_eq!(turns(&["1.0.0.1:1", "1.0.0.2:1"]), ["1.0.0.1:1", "1.0.0.2:1"]);
        assert!(turns(&[]).is_empty());
    }

    #[test]
    fn sources_are_addresses_with_or_without_a_port() {
        for (text, source) in [
            ("127.0.0.2", "127.0.0.2:0"),
            ("127.0.0.2:99", "127.0.0.2:99"),
            ("::1", "[::1]:0"),
            ("[::1]", "[::1]:0"),
            ("[::1]:99", "[::1]:99"),
            ("[fe80::1%lo]:99", "[fe80::1%1]:99"),
        ] {
            assert_eq!(parse_source(text).map(|source| source.to_string()).as_deref(), Ok(source), "{text}");
        }
        for text in ["localhost", "eth0", "*", "127.0.0.256", "[::1%nosuch]", "127.0.0.1:x", "unix:/x", ""] {
            assert!(parse_source(text).is_err(), "{text}");
        }
    }
}
