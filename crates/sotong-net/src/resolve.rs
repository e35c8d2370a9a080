//! From hosts to addresses.
use crate::endpoint::{Host, HostPort};
use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, ToSocketAddrs as _},
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc::{RecvTimeoutError, sync_channel},
    },
    thread,
    time::Duration,
};

/// How long a look-up may take unless the caller says otherwise: the system's resolver asks each server for 5 s, twice.
pub const RESOLVE_TIME_MAX: Duration = Duration::from_secs(20);
/// Look-ups at once in this process. One whose time has passed lives on until the system's resolver gives up, so without a
/// bound a caller that retries would pile them up.
pub const RESOLVES_AT_ONCE_MAX: usize = 32;

/// Which addresses are wanted: `-4`, `-6`, or neither.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Family {
    /// Both.
    #[default]
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

/// Why there is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// The resolver knows no such name, or has no answer now.
    #[error("{host} does not resolve: {reason}")]
    NotFound {
        /// The name.
        host: Box<str>,
        /// What the system's resolver says.
        reason: String,
    },
    /// There are addresses, but none of the family that is wanted.
    #[error("{host} has no {family} address")]
    NoneOfFamily {
        /// The host as it was written.
        host: String,
        /// What is wanted.
        family: Family,
    },
    /// The zone of an IPv6 address is no interface of this machine.
    #[error("this machine has no interface {zone}")]
    NoSuchZone {
        /// The zone as it was written.
        zone: Box<str>,
    },
    /// The resolver did not answer in time.
    #[error("{host} was not resolved within {} s", .time_max.as_secs_f32())]
    TimedOut {
        /// The name.
        host: Box<str>,
        /// The limit.
        time_max: Duration,
    },
    /// [`RESOLVES_AT_ONCE_MAX`] look-ups are unanswered.
    #[error("{RESOLVES_AT_ONCE_MAX} look-ups are unanswered: try again later")]
    Busy,
    /// No thread could be started for the look-up.
    #[error("no thread for the look-up: {0}")]
    NoThread(io::ErrorKind),
}

impl Family {
    /// Whether an address is of this family. An IPv4 address mapped into IPv6 is IPv4.
    pub fn takes(self, ip: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::V4 => ip.to_canonical().is_ipv4(),
            Self::V6 => ip.to_canonical().is_ipv6(),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "IP",
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// The addresses of `target`, at least one, in the order in which the system would have them tried, without doubles.
///
/// Only a name asks the resolver, on a thread of its own, so that `time_max` holds. `localhost` is ::1 and 127.0.0.1; `*`
/// is :: and 0.0.0.0.
///
/// # Errors
/// One variant of [`ResolveError`] for each cause.
pub fn resolve(target: &HostPort, family: Family, time_max: Duration) -> Result<Vec<SocketAddr>, ResolveError> {
    let port = target.port;
    let found = match &target.host {
        Host::V4(ip) => vec![SocketAddr::new((*ip).into(), port)],
        Host::V6(ip, zone) => {
            let scope = zone.as_ref().map_or(Ok(0), |zone| scope_of(zone))?;
            vec![SocketAddrV6::new(*ip, port, 0, scope).into()]
        }
        Host::Localhost => both(Ipv6Addr::LOCALHOST, Ipv4Addr::LOCALHOST, port),
        Host::All => both(Ipv6Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED, port),
        Host::Name(name) => look_up(name, port, time_max)?,
    };
    let mut addresses = Vec::with_capacity(found.len());
    for address in found {
        if family.takes(address.ip()) && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(ResolveError::NoneOfFamily { host: target.host.to_string(), family });
    }
    Ok(addresses)
}

fn both(v6: Ipv6Addr, v4: Ipv4Addr, port: u16) -> Vec<SocketAddr> {
    vec![SocketAddr::new(v6.into(), port), SocketAddr::new(v4.into(), port)]
}

/// The number of an interface, by its name or number.
fn scope_of(zone: &str) -> Result<u32, ResolveError> {
    if let Ok(number) = zone.parse() {
        return Ok(number);
    }
    let unknown = || ResolveError::NoSuchZone { zone: zone.into() };
    let any = crate::unix_datagram().map_err(|_| unknown())?;
    rustix::net::netdevice::name_to_index(any, zone).map_err(|_| unknown())
}

fn look_up(name: &str, port: u16, time_max: Duration) -> Result<Vec<SocketAddr>, ResolveError> {
    let place = Place::take().ok_or(ResolveError::Busy)?;
    let (answer, answered) = sync_channel(1);
    let host: Box<str> = name.into();
    thread::Builder::new()
        .name("resolve".into())
        .spawn(move || {
            let _place = place;
            let found = (&*host, port).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
            // Nobody waits any more if the time has passed.
            let _ = answer.send(found);
        })
        .map_err(|error| ResolveError::NoThread(error.kind()))?;
    match answered.recv_timeout(time_max) {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(ResolveError::NotFound { host: name.into(), reason: plain_reason(&error) }),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            Err(ResolveError::TimedOut { host: name.into(), time_max })
        }
    }
}

/// What the resolver says, without what std puts before it.
fn plain_reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("failed to lookup address information: ").map(Into::into).unwrap_or(text)
}

/// One of the [`RESOLVES_AT_ONCE_MAX`], given back when dropped.
struct Place;

static TAKEN: AtomicUsize = AtomicUsize::new(0);

impl Place {
    fn take() -> Option<Self> {
        let more = |taken| (taken < RESOLVES_AT_ONCE_MAX).then_some(taken + 1);
        TAKEN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| Self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        TAKEN.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Endpoint;

    fn addresses(text: &str, family: Family) -> Result<Vec<String>, ResolveError> {
        let endpoint: Endpoint = text.parse().unwrap();
        let found = resolve(endpoint.host_port().unwrap(), family, RESOLVE_TIME_MAX)?;
        Ok(found.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn addresses_and_fixed_names_ask_nobody() {
        for (text, family, found) in [
            (":7", Family::Any, vec!["[::1]:7", "127.0.0.1:7"]),
            (":7", Family::V4, vec!["127.0.0.1:7"]),
            ("localhost:7", Family::V6, vec!["[::1]:7"]),
            ("*:7", Family::Any, vec!["[::]:7", "0.0.0.0:7"]),
            ("[fe80::1%lo]:7", Family::Any, vec!["[fe80::1%1]:7"]),
            ("[fe80::1%9]:7", Family::V6, vec!["[fe80::1%9]:7"]),
            ("[::ffff:1.2.3.4]:7", Family::V4, vec!["[::ffff:1.2.3.4]:7"]),
        ] {
            assert_eq!(addresses(text, family).unwrap(), found, "{text}");
        }
    }

    #[test]
    fn what_does_not_exist_is_named() {
        assert_eq!(
            addresses("127.0.0.1:7", Family::V6),
            Err(ResolveError::NoneOfFamily { host: "127.0.0.1".into(), family: Family::V6 })
        );
        assert_eq!(
            addresses("[fe80::1%nosuch]:7", Family::Any),
            Err(ResolveError::NoSuchZone { zone: "nosuch".into() })
        );
    }

    #[test]
    fn a_name_that_nobody_has_does_not_resolve_or_times_out() {
        // RFC 6761 §6.4: .invalid never resolves. A machine without a network may take its time over it.
        let endpoint: Endpoint = "nobody.invalid:7".parse().unwrap();
        let error = resolve(endpoint.host_port().unwrap(), Family::Any, Duration::from_secs(30)).unwrap_err();
        assert!(matches!(error, ResolveError::NotFound { .. } | ResolveError::TimedOut { .. }), "{error}");
    }

    #[test]
    fn the_machines_own_name_for_loopback_resolves_through_the_system() {
        // `localhost` itself never reaches the resolver; with the root's dot it is a name like any other.
        match addresses("localhost.:7", Family::V4) {
            Ok(found) => assert_eq!(found, ["127.0.0.1:7"]),
            Err(error) => assert!(matches!(error, ResolveError::NotFound { .. }), "{error}"),
        }
    }
}
