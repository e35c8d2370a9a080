//! Where this machine is found in its network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Addresses of documentation (RFC 5737, RFC 3849): nobody is there, and nothing is sent to them.
const ELSEWHERE: [(IpAddr, IpAddr); 2] = [
    (IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))),
    (IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))),
];

/// The address from which this machine reaches others, and at which those of its network reach it: IPv4 where there is one.
/// `None` where it is in no network.
pub fn own_address() -> Option<IpAddr> {
    ELSEWHERE.into_iter().find_map(|(here, there)| {
        // Connecting a datagram socket picks the way, and sends nothing.
        let socket = UdpSocket::bind(SocketAddr::new(here, 0)).ok()?;
        socket.connect(SocketAddr::new(there, 9)).ok()?;
        let ip = socket.local_addr().ok()?.ip();
        (!ip.is_unspecified() && !ip.is_loopback()).then_some(ip)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_an_address_that_others_can_use() {
        if let Some(ip) = own_address() {
            assert!(!ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast(), "{ip}");
            assert!(UdpSocket::bind(SocketAddr::new(ip, 0)).is_ok(), "{ip} is this machine's");
        }
    }
}
