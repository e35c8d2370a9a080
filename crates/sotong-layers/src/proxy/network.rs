//! Networks by their first address and length.
use std::{fmt, net::IpAddr, str::FromStr};

/// A network: `192.0.2.0/24`, `2001:db8::/32`, or one address alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network {
    first: IpAddr,
    bits: u8,
}

/// A text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a network is an IP address, with a slash and a number of bits behind it where it is more than that one")]
pub struct NotANetwork;

impl Network {
    /// The network of the first `bits` bits of `ip`; `None` where it has not so many.
    pub fn new(ip: IpAddr, bits: u8) -> Option<Self> {
        let ip = ip.to_canonical();
        let (mask, most) = match ip {
            IpAddr::V4(ip) => (IpAddr::from((u32::from(ip) & mask_of(32, bits) as u32).to_be_bytes()), 32),
            IpAddr::V6(ip) => (IpAddr::from((u128::from(ip) & mask_of(128, bits)).to_be_bytes()), 128),
        };
        (bits <= most).then_some(Self { first: mask, bits })
    }
    /// Whether `ip` is in it.
    pub fn has(&self, ip: IpAddr) -> bool {
        Self::new(ip, self.bits).is_some_and(|network| network.first == self.first)
    }
}

/// The first `bits` of `width` bits.
fn mask_of(width: u32, bits: u8) -> u128 {
    let low = width.saturating_sub(u32::from(bits));
    let all = u128::MAX >> (128 - width);
    if low >= 128 { 0 } else { all >> low << low }
}

impl FromStr for Network {
    type Err = NotANetwork;
    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (ip, bits) = match text.split_once('/') {
            Some((ip, bits)) => (ip, Some(bits)),
            None => (text, None),
        };
        let ip: IpAddr = ip.parse().map_err(|_| NotANetwork)?;
        let all = if ip.to_canonical().is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => all,
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => bits.parse().map_err(|_| NotANetwork)?,
            Some(_) => return Err(NotANetwork),
        };
        Self::new(ip, bits).ok_or(NotANetwork)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = if self.first.is_ipv4() { 32 } else { 128 };
        if self.bits == all { self.first.fmt(f) } else { write!(f, "{}/{}", self.first, self.bits) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_in_it() {
        for (network, inside, outside) in [
            ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
            ("10.1.0.0/16", "10.1.255.3", "10.2.0.0"),
            ("0.0.0.0/0", "8.8.8.8", "::1"),
            ("::1", "::1", "::2"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"),
            ("::/0", "fe80::1", "10.0.0.1"),
            ("192.0.2.128/25", "::ffff:192.0.2.200", "192.0.2.5"),
        ] {
            let network: Network = network.parse().expect("a network");
            assert!(network.has(inside.parse().expect("an address")), "{network} {inside}");
            assert!(!network.has(outside.parse().expect("an address")), "{network} {outside}");
            assert_eq!(network.to_string().parse(), Ok(network));
        }
        for text in ["", "10.0.0.0/33", "::/129", "10.0.0.0/+8", "10.0.0.0/", "10/8", "localhost", "10.0.0.0/8/8"] {
            assert_eq!(text.parse::<Network>(), Err(NotANetwork), "{text:?}");
        }
    }
}
