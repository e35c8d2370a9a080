//! Addresses, listening, dialling, the pump, signals: what drivers and clients share.
//!
//! Everything that touches a socket, a descriptor or a clock and is needed by more than one driver or command is here, once.
//! An address is read from text ([`endpoint`]), bound ([`listen`](mod@listen)) or connected to ([`dial`](mod@dial)), and
//! becomes a [`listener::Listener`], a [`socket::Socket`] or a set of [`datagrams::Datagrams`]. Errors are enums that carry
//! the cause as data; what people read is written elsewhere.
//!
//! ```
//! use sotong_net::{dial, endpoint::Endpoint, listen};
//! use std::{io::IoSlice, time::Duration};
//!
//! let at: Endpoint = "127.0.0.1:0".parse()?;
//! let bound = listen::listen(&[at], &listen::ListenOptions::default())?;
//! let client = dial::dial(&bound[0].endpoint(), &dial::DialOptions::default())?;
//! let listen::Bound::Stream(listener) = &bound[0] else { unreachable!("TCP") };
//! assert!(listener.wait(Duration::from_secs(5)));
//! let (server, way) = listener.accept(false)?;
//! assert_eq!(way.remote, client.local()?);
//!
//! client.send_vectored(&[IoSlice::new("안녕하세요".as_bytes())], false)?;
//! let mut buffer = [0; 64];
//! let count = server.recv(&mut buffer)?;
//! assert_eq!(&buffer[..count], "안녕하세요".as_bytes());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
mod address;
pub mod child;
pub mod clock;
pub mod datagrams;
pub mod descriptors;
pub mod dial;
pub mod dial_error;
pub mod endpoint;
pub mod link;
pub mod listen;
pub mod listener;
pub mod own;
pub mod passed;
pub mod probe;
pub mod pump;
pub mod resolve;
pub mod shared;
pub mod signals;
pub mod socket;
mod unix_file;
pub mod wake;
pub mod watched;

/// A descriptor for requests about the machine's interfaces.
pub(crate) fn unix_datagram() -> Result<std::os::fd::OwnedFd, rustix::io::Errno> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
}
