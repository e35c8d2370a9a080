//! Whether a port is open: `-z`.
use crate::{
    dial::{Deadline, DialOptions, Started, addresses_of, dial, start},
    dial_error::{Attempt, Cause, DialClass, DialError},
    endpoint::{Endpoint, HostPort},
};
use rustix::{
    event::{PollFd, PollFlags},
    io::Errno,
    net::{RecvFlags, SendFlags, SocketType},
};
use sotong_session::End;
use std::{net::SocketAddr, os::fd::OwnedFd, time::Duration};

/// How long a UDP port may be silent before it counts as such, unless the caller says otherwise.
pub const PROBE_UDP_TIME_MAX: Duration = Duration::from_secs(3);
/// Datagrams that a silent UDP port gets, spread over the first half of the time: one of them, or the refusal, may be lost.
const DATAGRAMS: u32 = 3;

/// What was found at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Somebody is there: the connection stands, or the datagram was answered.
    Open(End),
    /// Nobody is there: refused, by ICMP port unreachable for UDP.
    Closed,
    /// Neither in time. A filter drops what comes; or, for UDP, the service just does not answer an empty datagram.
    NoAnswer,
}

/// Looks whether anybody is at `to`, within [`DialOptions::time_max`].
///
/// TCP and Unix sockets are connected to and closed. UDP ports are sent empty datagrams, which a service may answer; of a
/// closed one the system there says so. Of several addresses, one that is open is enough, and one that is silent leaves
/// it open whether it is.
///
/// # Errors
/// As [`dial`], where neither of the three was found: no such name, no route, no permission.
pub fn probe(to: &Endpoint, options: &DialOptions) -> Result<Probe, DialError> {
    if let Endpoint::Udp(host_port) = to {
        to.check_dial()?;
        return probe_udp(to, host_port, options);
    }
    match dial(to, options) {
        Ok(socket) => Ok(socket.remote().map_or(Probe::Closed, Probe::Open)),
        Err(error) => match error.class() {
            DialClass::Refused => Ok(Probe::Closed),
            DialClass::NoAnswer if matches!(error, DialError::Failed { .. }) => Ok(Probe::NoAnswer),
            _ => Err(error),
        },
    }
}

/// One address that has said nothing yet.
struct Silent {
    fd: OwnedFd,
    address: SocketAddr,
}

fn probe_udp(to: &Endpoint, host_port: &HostPort, options: &DialOptions) -> Result<Probe, DialError> {
    let deadline = Deadline::new(options);
    let mut silent = Vec::new();
    let mut attempts = Vec::new();
    for address in addresses_of(host_port, options, &deadline)? {
        match start(address, SocketType::DGRAM, options) {
            Ok(Started::Connected(fd) | Started::Connecting(fd)) => silent.push(Silent { fd, address }),
            Err(cause) => attempts.push(Attempt { to: End::Net(address), cause }),
        }
    }
    let time = deadline.left();
    let mut sent = 0;
    while !silent.is_empty() && !deadline.left().is_zero() {
        if sent < DATAGRAMS && time - deadline.left() >= time / 2 * sent / DATAGRAMS {
            sent += 1;
            // An error here is one that an earlier datagram has caused; it is told once, so it must be heard.
            sift(&mut silent, &mut attempts, |one| match rustix::net::send(&one.fd, &[], SendFlags::NOSIGNAL) {
                Ok(_) | Err(Errno::AGAIN | Errno::INTR | Errno::NOBUFS) => Ok(false),
                Err(errno) => Err(errno),
            });
            continue;
        }
        let next = time / 2 * sent / DATAGRAMS;
        let soon = if sent < DATAGRAMS { next.saturating_sub(time - deadline.left()) } else { Duration::MAX };
        let polled = silent.iter().map(|one| PollFd::new(&one.fd, PollFlags::IN)).collect();
        deadline.poll(polled, soon)?;
        let heard = sift(&mut silent, &mut attempts, |one| {
            let mut byte = [0];
            match rustix::net::recv(&one.fd, &mut byte, RecvFlags::DONTWAIT) {
                Ok(_) => Ok(true),
                Err(Errno::AGAIN | Errno::INTR) => Ok(false),
                Err(errno) => Err(errno),
            }
        });
        if let Some(address) = heard {
            return Ok(Probe::Open(End::Net(address)));
        }
    }
    if !silent.is_empty() {
        return Ok(Probe::NoAnswer);
    }
    if attempts.iter().any(|attempt| attempt.cause == Cause::Refused) {
        return Ok(Probe::Closed);
    }
    Err(DialError::Failed { to: to.clone(), attempts })
}

/// Asks each silent one: `Ok(true)` is returned by its address, an error moves it to `attempts`.
fn sift(
    silent: &mut Vec<Silent>,
    attempts: &mut Vec<Attempt>,
    ask: impl Fn(&Silent) -> Result<bool, Errno>,
) -> Option<SocketAddr> {
    let mut heard = None;
    silent.retain(|one| match ask(one) {
        Ok(is_heard) => {
            heard = heard.or(is_heard.then_some(one.address));
            true
        }
        Err(errno) => {
            attempts.push(Attempt { to: End::Net(one.address), cause: Cause::of(errno, "send", one.address) });
            false
        }
    });
    heard
}
