//! What the plain servers share: they bind a free port of 127.0.0.1 and say which, as `sotong echo` does.
use std::{
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
};

use socket2::{Domain, Socket, Type};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// The exit code of what is impossible on this system.
pub const IMPOSSIBLE: i32 = 78;

/// What a plain server serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Connections of a stream.
    Tcp,
    /// Datagrams.
    Udp,
}

/// The wire that the last argument of this process names: `tcp`, also when there is none, or `udp`.
///
/// # Errors
/// If it names something else.
pub fn wire() -> io::Result<Wire> {
    match std::env::args().skip(1).last().as_deref() {
        None | Some("tcp") => Ok(Wire::Tcp),
        Some("udp") => Ok(Wire::Udp),
        Some(other) => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{other:?} is neither tcp nor udp"))),
    }
}

/// Ends this process as `sotong` does where the system lacks what a model needs: a line, and exit code 78.
pub fn impossible(what: &str, fault: &io::Error) -> ! {
    eprintln!("{what} cannot be used here: {fault}");
    std::process::exit(IMPOSSIBLE)
}

/// A socket on a free port of 127.0.0.1, announced on stderr. TCP listens, with `TCP_NODELAY`, which its connections inherit.
///
/// The process ends with whoever started it.
///
/// # Errors
/// If the system refuses.
pub fn open(name: &str, wire: Wire) -> io::Result<Socket> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))?;
    let any = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));
    let (kind, scheme) = match wire {
        Wire::Tcp => (Type::STREAM, "tcp"),
        Wire::Udp => (Type::DGRAM, "udp"),
    };
    let socket = Socket::new(Domain::IPV4, kind, None)?;
    socket.bind(&any.into())?;
    if wire == Wire::Tcp {
        socket.set_tcp_nodelay(true)?;
        socket.listen(BACKLOG)?;
    }
    let address = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
    eprintln!("{name}: listening on {scheme}://{address}");
    Ok(socket)
}
