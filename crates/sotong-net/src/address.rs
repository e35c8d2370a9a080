//! From the kernel's addresses to ours and back.
use crate::endpoint::UnixName;
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketAddrAny, SocketAddrUnix},
};
use sotong_session::End;
use std::{
    ffi::OsStr,
    net::{SocketAddr, SocketAddrV6},
    os::{fd::BorrowedFd, unix::ffi::OsStrExt as _},
    path::Path,
};

/// An IPv4 peer of a dual-stack socket is shown as what it is: `::ffff:127.0.0.1` becomes `127.0.0.1`.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_some() => SocketAddr::new(v6.ip().to_canonical(), v6.port()),
        SocketAddr::V6(v6) => SocketAddrV6::new(*v6.ip(), v6.port(), 0, v6.scope_id()).into(),
        SocketAddr::V4(_) => address,
    }
}

/// One end of a socket, from what the kernel calls it. `None`: an address of a family that is not ours.
pub(crate) fn end_of(address: &SocketAddrAny, uid: Option<u32>) -> Option<End> {
    if address.address_family() == AddressFamily::UNIX {
        let unix = SocketAddrUnix::try_from(address.clone()).ok()?;
        return Some(End::Unix { path: unix_path(&unix).map(Into::into), uid });
    }
    SocketAddr::try_from(address.clone()).ok().map(|address| End::Net(canonical(address)))
}

/// The address of a Unix socket for bind and connect.
pub(crate) fn unix_address(name: &UnixName) -> Result<SocketAddrUnix, Errno> {
    match name {
        UnixName::Path(path) => SocketAddrUnix::new(path.as_path()),
        UnixName::Abstract(name) => SocketAddrUnix::new_abstract_name(name.as_bytes()),
    }
}

/// The user at the other end of a Unix socket.
pub(crate) fn peer_uid(fd: BorrowedFd<'_>) -> Option<u32> {
    rustix::net::sockopt::socket_peercred(fd).ok().map(|peer| peer.uid.as_raw())
}

fn unix_path(unix: &SocketAddrUnix) -> Option<Box<Path>> {
    if let Some(path) = unix.path_bytes() {
        return Some(Path::new(OsStr::from_bytes(path)).into());
    }
    let name = unix.abstract_name().filter(|name| !name.is_empty())?;
    Some(Path::new(OsStr::from_bytes(&[b"@", name].concat())).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_addresses_are_shown_as_ipv4_and_others_keep_their_scope() {
        let canonical = |text: &str| canonical(text.parse().unwrap()).to_string();
        assert_eq!(canonical("[::ffff:127.0.0.1]:7"), "127.0.0.1:7");
        assert_eq!(canonical("[::1]:7"), "[::1]:7");
        assert_eq!(canonical("[fe80::1%3]:7"), "[fe80::1%3]:7");
        assert_eq!(canonical("1.2.3.4:7"), "1.2.3.4:7");
    }

    #[test]
    fn unix_names_survive_the_kernels_form() {
        for text in ["/run/x", "rel", "소켓"] {
            let address = unix_address(&UnixName::Path(text.into())).unwrap();
            assert_eq!(unix_path(&address).as_deref(), Some(Path::new(text)));
        }
        let address = unix_address(&UnixName::Abstract("이름".into())).unwrap();
        assert_eq!(unix_path(&address).as_deref(), Some(Path::new("@이름")));
        let longest = UnixName::Path("a".repeat(crate::endpoint::UNIX_NAME_BYTES_MAX).into());
        assert!(unix_address(&longest).is_ok());
    }
}
