//! Addresses, listening, dialling, the pump, signals: what drivers and clients share.
mod address;
pub mod child;
pub mod cidr;
pub mod clock;
pub mod datagrams;
pub mod descriptors;
pub mod dial;
pub mod dial_error;
pub mod endpoint;
pub mod listen;
pub mod listener;
pub mod passed;
pub mod probe;
pub mod pump;
pub mod resolve;
pub mod signals;
pub mod socket;
mod unix_file;
pub mod wake;

/// A descriptor for requests about the machine's interfaces.
pub(crate) fn unix_datagram() -> Result<std::os::fd::OwnedFd, rustix::io::Errno> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
}
