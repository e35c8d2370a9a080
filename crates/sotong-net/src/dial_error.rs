//! Why there is no connection.
use crate::{
    endpoint::{Endpoint, EndpointError},
    resolve::{Family, ResolveError},
};
use rustix::io::Errno;
use sotong_session::End;
use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
};

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The address is one that only can be listened on.
    #[error(transparent)]
    BadTarget(#[from] EndpointError),
    /// There is no address to connect to.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The source address is of another family than the one that is wanted.
    #[error("the source address {from} is no {family} address")]
    SourceFamily {
        /// The source address.
        from: IpAddr,
        /// What is wanted.
        family: Family,
    },
    /// No address could be connected to.
    #[error("cannot connect to {to}: {}", Attempts(.attempts))]
    Failed {
        /// What was asked for.
        to: Endpoint,
        /// Each address that was tried and what became of it, at least one, in the order in which they failed.
        attempts: Vec<Attempt>,
    },
    /// [`crate::dial::DialOptions::stop`] ended it.
    #[error("stopped before there was a connection")]
    Stopped,
    /// The system refused something that is no matter of the address.
    #[error("{}", io::Error::from_raw_os_error(*.errno))]
    System {
        /// Its error number.
        errno: i32,
    },
}

/// One address that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The address.
    pub to: End,
    /// What became of it.
    pub cause: Cause,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// Nobody listens there.
    #[error("refused")]
    Refused,
    /// There is no way there: no route, or a router says so.
    #[error("unreachable")]
    Unreachable,
    /// No answer within the time limit.
    #[error("no answer in time")]
    NoAnswer,
    /// The system or a firewall on this machine forbids it; for a Unix socket, its file's permissions.
    #[error("no permission")]
    NoPermission,
    /// There is no such Unix socket.
    #[error("no such socket")]
    NoSuchSocket,
    /// There is a socket or a file of another kind.
    #[error("not a stream socket")]
    WrongKind,
    /// A link-local IPv6 address without the interface it is behind: write `[fe80::1%INTERFACE]`.
    #[error("a link-local address needs its interface: [ADDRESS%INTERFACE]")]
    NeedsZone,
    /// The source address is none of this machine's.
    #[error("{} is no address of this machine", .from.ip())]
    SourceNotAvailable {
        /// The source address.
        from: SocketAddr,
    },
    /// The source port is in use.
    #[error("the source port {} is in use", .from.port())]
    SourceInUse {
        /// The source address.
        from: SocketAddr,
    },
    /// The source port is one that only privileged programs may use.
    #[error("no permission for the source port {}", .from.port())]
    SourceNoPermission {
        /// The source address.
        from: SocketAddr,
    },
    /// Every local port towards that address is in use.
    #[error("no local port is left")]
    NoLocalPort,
    /// Something else that the system reports.
    #[error("{call}: {}", io::Error::from_raw_os_error(*.errno))]
    System {
        /// The system call.
        call: &'static str,
        /// Its error number.
        errno: i32,
    },
}

/// What a [`DialError`] comes down to, for exit codes and messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DialClass {
    /// The address cannot be dialled.
    BadTarget,
    /// The name does not resolve, or to no address of the family that is wanted.
    Unresolved,
    /// At least one address gave no answer in time, or the resolver did not.
    NoAnswer,
    /// Refused, and nothing better: somebody is there, but not that service.
    Refused,
    /// Unreachable, or no such Unix socket, and nothing better.
    Unreachable,
    /// Forbidden.
    NoPermission,
    /// The source address is the cause.
    Source,
    /// Stopped from outside.
    Stopped,
    /// Something on this machine.
    System,
}

impl DialError {
    /// What it comes down to. Of several causes the most promising counts: no answer, refused, unreachable, forbidden.
    pub fn class(&self) -> DialClass {
        match self {
            Self::BadTarget(_) => DialClass::BadTarget,
            Self::Resolve(ResolveError::TimedOut { .. }) => DialClass::NoAnswer,
            Self::Resolve(ResolveError::Busy | ResolveError::NoThread(_)) | Self::System { .. } => DialClass::System,
            Self::Resolve(_) => DialClass::Unresolved,
            Self::SourceFamily { .. } => DialClass::Source,
            Self::Stopped => DialClass::Stopped,
            Self::Failed { attempts, .. } => {
                let classes: Vec<_> = attempts.iter().map(|attempt| attempt.cause.class()).collect();
                let best = [DialClass::NoAnswer, DialClass::Refused, DialClass::Unreachable, DialClass::NoPermission];
                let best = best.into_iter().chain([DialClass::Source]).find(|class| classes.contains(class));
                best.unwrap_or(DialClass::System)
            }
        }
    }
    /// Whether the next attempt may fare better: a server that is starting, a network that is coming up.
    pub fn may_pass(&self) -> bool {
        match self.class() {
            DialClass::Unresolved => matches!(self, Self::Resolve(ResolveError::NotFound { .. })),
            DialClass::NoAnswer | DialClass::Refused | DialClass::Unreachable => true,
            DialClass::System => !matches!(self, Self::System { .. }),
            DialClass::BadTarget | DialClass::NoPermission | DialClass::Source | DialClass::Stopped => false,
        }
    }
}

impl Cause {
    pub(crate) fn of(errno: Errno, call: &'static str, to: SocketAddr) -> Self {
        match errno {
            // A reset while connecting is a refusal of another kind of machine.
            Errno::CONNREFUSED | Errno::CONNRESET => Self::Refused,
            Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::NETDOWN | Errno::HOSTDOWN | Errno::AFNOSUPPORT => {
                Self::Unreachable
            }
            Errno::TIMEDOUT => Self::NoAnswer,
            Errno::ACCESS | Errno::PERM => Self::NoPermission,
            // A machine whose IPv6 is switched off has no ::1 to connect from.
            Errno::ADDRNOTAVAIL if to.is_ipv6() && to.ip().is_loopback() => Self::Unreachable,
            Errno::ADDRNOTAVAIL | Errno::ADDRINUSE => Self::NoLocalPort,
            Errno::INVAL if needs_zone(to) => Self::NeedsZone,
            errno => Self::System { call, errno: errno.raw_os_error() },
        }
    }
    pub(crate) fn of_source(errno: Errno, source: SocketAddr) -> Self {
        match errno {
            Errno::ADDRNOTAVAIL | Errno::NODEV => Self::SourceNotAvailable { from: source },
            Errno::ADDRINUSE => Self::SourceInUse { from: source },
            Errno::ACCESS | Errno::PERM => Self::SourceNoPermission { from: source },
            Errno::INVAL if needs_zone(source) => Self::NeedsZone,
            errno => Self::System { call: "bind", errno: errno.raw_os_error() },
        }
    }
    pub(crate) fn of_unix(errno: Errno) -> Self {
        match errno {
            Errno::CONNREFUSED => Self::Refused,
            Errno::NOENT | Errno::NOTDIR => Self::NoSuchSocket,
            Errno::ACCESS | Errno::PERM => Self::NoPermission,
            Errno::PROTOTYPE => Self::WrongKind,
            errno => Self::System { call: "connect", errno: errno.raw_os_error() },
        }
    }
    /// What it comes down to.
    pub fn class(self) -> DialClass {
        match self {
            Self::Refused => DialClass::Refused,
            Self::Unreachable | Self::NoSuchSocket | Self::WrongKind | Self::NeedsZone => DialClass::Unreachable,
            Self::NoAnswer => DialClass::NoAnswer,
            Self::NoPermission => DialClass::NoPermission,
            Self::SourceNotAvailable { .. } | Self::SourceInUse { .. } | Self::SourceNoPermission { .. } => {
                DialClass::Source
            }
            Self::NoLocalPort | Self::System { .. } => DialClass::System,
        }
    }
}

fn needs_zone(address: SocketAddr) -> bool {
    matches!(address, SocketAddr::V6(v6) if v6.scope_id() == 0 && v6.ip().is_unicast_link_local())
}

/// Attempts in one line; of one alone only the cause, for the address has been named.
struct Attempts<'a>(&'a [Attempt]);

impl fmt::Display for Attempts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [one] = self.0 {
            return write!(f, "{}", one.cause);
        }
        for (index, attempt) in self.0.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{} {}", attempt.to, attempt.cause)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(causes: &[Cause]) -> DialError {
        let attempts =
            causes.iter().map(|&cause| Attempt { to: End::Net("127.0.0.1:7".parse().unwrap()), cause }).collect();
        DialError::Failed { to: "h:7".parse().unwrap(), attempts }
    }

    #[test]
    fn the_most_promising_cause_counts() {
        let source = Cause::SourceNotAvailable { from: "1.2.3.4:0".parse().unwrap() };
        for (causes, class, may_pass) in [
            (&[Cause::Refused][..], DialClass::Refused, true),
            (&[Cause::Unreachable, Cause::Refused], DialClass::Refused, true),
            (&[Cause::Refused, Cause::NoAnswer], DialClass::NoAnswer, true),
            (&[Cause::NoSuchSocket], DialClass::Unreachable, true),
            (&[Cause::NoPermission], DialClass::NoPermission, false),
            (&[source, source], DialClass::Source, false),
            (&[Cause::NoLocalPort], DialClass::System, true),
        ] {
            let error = failed(causes);
            assert_eq!((error.class(), error.may_pass()), (class, may_pass), "{error}");
        }
    }

    #[test]
    fn one_line_tells_all_addresses() {
        assert_eq!(failed(&[Cause::Refused]).to_string(), "cannot connect to tcp://h:7: refused");
        assert_eq!(
            failed(&[Cause::Refused, Cause::NoAnswer]).to_string(),
            "cannot connect to tcp://h:7: 127.0.0.1:7 refused, 127.0.0.1:7 no answer in time"
        );
    }

    #[test]
    fn errors_that_mean_something_else_are_told_apart() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(Cause::of(Errno::INVAL, "connect", at("[fe80::1]:7")), Cause::NeedsZone);
        assert_eq!(Cause::of(Errno::ADDRNOTAVAIL, "connect", at("[::1]:7")), Cause::Unreachable);
        assert_eq!(Cause::of(Errno::ADDRNOTAVAIL, "connect", at("127.0.0.1:7")), Cause::NoLocalPort);
    }
}
