//! Who may connect, by address: `--allow CIDR` and `--deny CIDR` (RFC 4632).
use crate::End;
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// Addresses that share their first bits, such as `10.0.0.0/8`; a bare address is itself alone.
///
/// An IPv4 block takes an IPv4 peer also where a dual-stack socket shows it as `::ffff:…`; no IPv6 block does, so `::/0` is
/// all of IPv6 and nothing of IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cidr {
    base: IpAddr,
    bits: u8,
}

/// Why a text is no block of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CidrError {
    /// What stands before the slash is no address.
    #[error("{text:?} is no address: write ADDRESS or ADDRESS/BITS, such as 10.0.0.0/8 or 2001:db8::/32")]
    BadAddress {
        /// What was written.
        text: String,
    },
    /// What stands after the slash is no number that fits.
    #[error("/{text} does not fit: from /0 to /{max}")]
    BadBits {
        /// What was written.
        text: String,
        /// The bits of an address of that family.
        max: u8,
    },
    /// The address has bits set behind the prefix, so it is not clear which was meant.
    #[error("the address goes beyond /{bits}: write {meant} for the block, or leave /{bits} out for the one address")]
    HostBits {
        /// The bits that were written.
        bits: u8,
        /// The block that the address is in.
        meant: Cidr,
    },
}

impl Cidr {
    /// The block of `bits` that `ip` is in.
    fn around(ip: IpAddr, bits: u8) -> Self {
        let base = match ip {
            IpAddr::V4(ip) => IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & mask(bits, 32) as u32)),
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask(bits, 128))),
        };
        Self { base, bits }
    }
    /// How many of the first bits are the same: at most 32 for IPv4, 128 for IPv6.
    pub fn bits(&self) -> u8 {
        self.bits
    }
    /// The address, where the block is one alone.
    pub fn only(&self) -> Option<IpAddr> {
        let all = if self.base.is_ipv4() { 32 } else { 128 };
        (self.bits == all).then_some(self.base)
    }
    /// Whether `ip` is in it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_ipv4() == self.base.is_ipv4() && Self::around(ip, self.bits) == *self
    }
}

/// The upper `bits` of a number of `width` bits.
fn mask(bits: u8, width: u8) -> u128 {
    let all = u128::MAX >> (128 - u32::from(width));
    all & !all.checked_shr(bits.into()).unwrap_or(0)
}

impl FromStr for Cidr {
    type Err = CidrError;
    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let bare = address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(address);
        let ip: IpAddr = bare.parse().map_err(|_| CidrError::BadAddress { text: address.into() })?;
        let max = if ip.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => max,
            Some(text) => {
                let number = if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None };
                let fits = number.filter(|&bits: &u8| bits <= max);
                fits.ok_or_else(|| CidrError::BadBits { text: text.into(), max })?
            }
        };
        // ::ffff:10.0.0.0/104 is 10.0.0.0/8: peers are compared in that form.
        let (ip, bits) = match ip.to_canonical() {
            v4 @ IpAddr::V4(_) if ip.is_ipv6() && bits >= 96 => (v4, bits - 96),
            _ => (ip, bits),
        };
        let block = Self::around(ip, bits);
        if block.base == ip { Ok(block) } else { Err(CidrError::HostBits { bits, meant: block }) }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.bits)
    }
}

/// Who may connect. Empty: everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessList {
    /// If there are any, only these.
    pub allow: Vec<Cidr>,
    /// Never these, whatever is allowed.
    pub deny: Vec<Cidr>,
}

impl AccessList {
    /// Whether nobody is kept out.
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }
    /// Whether the peer at `end` may connect.
    ///
    /// Only network peers have an address to judge. Who comes over a Unix socket has passed the permissions of its file, and
    /// is let in.
    pub fn admits(&self, end: &End) -> bool {
        match end {
            End::Net(address) => self.admits_ip(address.ip()),
            End::Unix { .. } | End::Pipe | End::Simulated(_) => true,
        }
    }
    /// Whether a peer of this address may connect.
    pub fn admits_ip(&self, ip: IpAddr) -> bool {
        let is_in = |list: &[Cidr]| list.iter().any(|block| block.contains(ip));
        !is_in(&self.deny) && (self.allow.is_empty() || is_in(&self.allow))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn blocks_are_read_and_written() {
        for (text, full) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.1.2.3", "10.1.2.3/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("[::1]", "::1/128"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:1.2.3.4", "1.2.3.4/32"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
        ] {
            assert_eq!(cidr(text).to_string(), full, "{text}");
        }
    }

    #[test]
    fn mistakes_have_their_own_answers() {
        let parse = str::parse::<Cidr>;
        for text in ["", "ten", "10.0.0/8", "10.0.0.0:80", "/8"] {
            assert!(matches!(parse(text), Err(CidrError::BadAddress { .. })), "{text}");
        }
        for (text, max) in [("10.0.0.0/33", 32), ("10.0.0.0/", 32), ("10.0.0.0/+8", 32), ("::/129", 128), ("::/x", 128)]
        {
            assert!(matches!(parse(text), Err(CidrError::BadBits { max: m, .. }) if m == max), "{text}");
        }
        let error = parse("10.1.2.3/8").unwrap_err();
        assert_eq!(error, CidrError::HostBits { bits: 8, meant: cidr("10.0.0.0/8") });
        assert!(error.to_string().contains("write 10.0.0.0/8 for the block"));
    }

    #[test]
    fn a_block_takes_its_own_and_no_others() {
        for (block, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.0.0.0/8", "::ffff:10.0.0.1", "::ffff:11.0.0.1"),
            ("192.168.1.128/25", "192.168.1.200", "192.168.1.127"),
            ("0.0.0.0/0", "1.2.3.4", "::1"),
            ("::/0", "2001:db8::1", "1.2.3.4"),
            ("::/0", "::1", "::ffff:1.2.3.4"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"),
            ("::1", "::1", "::2"),
        ] {
            assert!(cidr(block).contains(inside.parse().unwrap()), "{block} {inside}");
            assert!(!cidr(block).contains(outside.parse().unwrap()), "{block} {outside}");
        }
    }

    #[test]
    fn deny_wins_and_any_allow_shuts_the_others_out() {
        let list = |allow: &[&str], deny: &[&str]| AccessList {
            allow: allow.iter().map(|text| cidr(text)).collect(),
            deny: deny.iter().map(|text| cidr(text)).collect(),
        };
        let near: IpAddr = "10.0.0.1".parse().unwrap();
        let far: IpAddr = "8.8.8.8".parse().unwrap();
        for (list, near_enters, far_enters) in [
            (list(&[], &[]), true, true),
            (list(&["10.0.0.0/8"], &[]), true, false),
            (list(&[], &["10.0.0.0/8"]), false, true),
            (list(&["10.0.0.0/8"], &["10.0.0.1"]), false, false),
            (list(&["0.0.0.0/0"], &["8.0.0.0/8"]), true, false),
        ] {
            assert_eq!((list.admits_ip(near), list.admits_ip(far)), (near_enters, far_enters), "{list:?}");
        }
        let closed = list(&["10.0.0.0/8"], &["0.0.0.0/0"]);
        assert!(closed.admits(&End::Unix { path: None, uid: Some(1000) }));
        assert!(!closed.admits(&End::Net("10.0.0.1:5".parse().unwrap())));
        assert!(!closed.is_empty() && AccessList::default().is_empty());
    }

    proptest! {
        #[test]
        fn reading_never_panics_and_writing_reads_the_same(text in "[0-9a-f.:/\\[\\]]{0,30}") {
            if let Ok(block) = text.parse::<Cidr>() {
                prop_assert_eq!(block.to_string().parse::<Cidr>(), Ok(block));
            }
        }
        #[test]
        fn an_address_is_in_each_block_around_it(ip in any::<IpAddr>(), bits in 0u8..=128) {
            let ip = ip.to_canonical();
            let bits = bits.min(if ip.is_ipv4() { 32 } else { 128 });
            prop_assert!(Cidr::around(ip, bits).contains(ip));
        }
    }
}
