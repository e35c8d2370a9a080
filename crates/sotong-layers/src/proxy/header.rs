//! The header itself (The PROXY protocol, versions 1 and 2; sections by the text of 2020-03-05).
use sotong_session::End;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Who is behind the proxy; `None` where it speaks for itself, or does not know.
    pub source: Option<End>,
    /// Bytes of the header.
    pub len: usize,
}

/// What a proxy has sent is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotProxied {
    /// It begins like none.
    #[error("no PROXY header")]
    None,
    /// A line of version 1 without its end within 107 bytes (§2.1).
    #[error("a PROXY line of more than 107 bytes")]
    Long,
    /// A line of version 1 with other words than the five there are, or malformed ones.
    #[error("a malformed PROXY line")]
    Line,
    /// A version or a command of version 2 that nobody has defined (§2.2).
    #[error("an unknown version or command of a PROXY header")]
    Version,
    /// An address family that is none of a stream's.
    #[error("a PROXY header for something other than a stream")]
    Family,
    /// A length that is too short for the addresses, or longer than is taken.
    #[error("a PROXY header of a wrong length")]
    Length,
    /// What follows the addresses is no sequence of types, lengths and values (§2.2).
    #[error("a malformed value in a PROXY header")]
    Value,
}

/// What version 1 begins with.
const WORD: &[u8] = b"PROXY ";
/// The longest line of version 1, with its end (§2.1).
const LINE_BYTES_MAX: usize = 107;
/// What version 2 begins with (§2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const FIXED_BYTES: usize = 16;
/// The longest header of version 2 that is taken, with everything that a proxy tells of a client's certificate.
pub const PROXY_BYTES_MAX: usize = 4096;

/// Reads the header at the front of `bytes`; `None` while some of it is missing. What can become none is told as early as it
/// shows.
///
/// # Errors
/// What makes it no header.
pub fn read_proxy_header(bytes: &[u8]) -> Result<Option<ProxyHeader>, NotProxied> {
    let begins = |with: &[u8]| bytes.iter().zip(with).all(|(is, should)| is == should);
    match bytes.first() {
        None => Ok(None),
        Some(b'P') if begins(WORD) => line(bytes),
        Some(b'\r') if begins(SIGNATURE) => binary(bytes),
        Some(_) => Err(NotProxied::None),
    }
}

/// Whether a line of version 1 begins so, or may: `None` while it cannot be told.
pub fn is_proxy_line(bytes: &[u8]) -> Option<bool> {
    let begins = bytes.iter().zip(WORD).all(|(is, should)| is == should);
    if begins && bytes.len() < WORD.len() { None } else { Some(begins) }
}

/// Version 1: `PROXY TCP4 source destination port port`.
fn line(bytes: &[u8]) -> Result<Option<ProxyHeader>, NotProxied> {
    let within = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = within.windows(2).position(|two| two == b"\r\n") else {
        return if bytes.len() >= LINE_BYTES_MAX { Err(NotProxied::Long) } else { Ok(None) };
    };
    let text = std::str::from_utf8(&bytes[..end]).map_err(|_| NotProxied::Line)?;
    let words: Vec<&str> = text.split(' ').collect();
    let source = match words[..] {
        // "The receiver must ignore anything presented before the CRLF" (§2.1).
        ["PROXY", "UNKNOWN", ..] => None,
        ["PROXY", "TCP4", from, to, from_port, to_port] => {
            Some(pair::<Ipv4Addr>((from, to), (from_port, to_port)).ok_or(NotProxied::Line)?)
        }
        ["PROXY", "TCP6", from, to, from_port, to_port] => {
            Some(pair::<Ipv6Addr>((from, to), (from_port, to_port)).ok_or(NotProxied::Line)?)
        }
        _ => return Err(NotProxied::Line),
    };
    Ok(Some(ProxyHeader { source: source.map(End::Net), len: end + 2 }))
}

/// The source of two ends, where both are well-formed.
fn pair<I>((from, to): (&str, &str), (from_port, to_port): (&str, &str)) -> Option<SocketAddr>
where
    I: std::str::FromStr + Into<IpAddr>,
{
    let (from, _) = (from.parse::<I>().ok()?, to.parse::<I>().ok()?);
    let (from_port, _) = (port(from_port)?, port(to_port)?);
    Some(SocketAddr::new(from.into().to_canonical(), from_port))
}

/// A decimal number without needless zeros or a sign.
fn port(text: &str) -> Option<u16> {
    let is_plain = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| is_plain)
}

/// Version 2.
fn binary(bytes: &[u8]) -> Result<Option<ProxyHeader>, NotProxied> {
    let (Some(verb), Some(family)) = (bytes.get(12), bytes.get(13)) else {
        let is_unknown = bytes.get(12).is_some_and(|verb| !matches!(verb, 0x20 | 0x21));
        return if is_unknown { Err(NotProxied::Version) } else { Ok(None) };
    };
    let is_local = match verb {
        0x20 => true,
        0x21 => false,
        _ => return Err(NotProxied::Version),
    };
    let (known, least) = match family {
        // A receiver takes LOCAL whatever its family, and skips the rest (§2.2).
        _ if is_local => (false, 0),
        0x00 => (false, 0),
        0x11 => (true, 12),
        0x21 => (true, 36),
        0x31 => (true, 216),
        _ => return Err(NotProxied::Family),
    };
    let Some(length) = bytes.get(14..16) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
    if length < least || FIXED_BYTES + length > PROXY_BYTES_MAX {
        return Err(NotProxied::Length);
    }
    let Some(rest) = bytes.get(FIXED_BYTES..FIXED_BYTES + length) else { return Ok(None) };
    let source = match (known, family) {
        (true, 0x11) => {
            let ip: [u8; 4] = [rest[0], rest[1], rest[2], rest[3]];
            Some(End::Net(SocketAddr::new(ip.into(), u16::from_be_bytes([rest[8], rest[9]]))))
        }
        (true, 0x21) => {
            let mut ip = [0; 16];
            ip.copy_from_slice(&rest[..16]);
            let ip = IpAddr::from(ip).to_canonical();
            Some(End::Net(SocketAddr::new(ip, u16::from_be_bytes([rest[32], rest[33]]))))
        }
        (true, _) => Some(End::Unix { path: None, uid: None }),
        (false, _) => None,
    };
    if known {
        check_values(&rest[least..])?;
    }
    Ok(Some(ProxyHeader { source, len: FIXED_BYTES + length }))
}

/// What may follow the addresses: a type, a length and as many bytes, over and over. None of them is needed here.
fn check_values(mut bytes: &[u8]) -> Result<(), NotProxied> {
    while let [_, high, low, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        bytes = rest.get(length..).ok_or(NotProxied::Value)?;
    }
    if bytes.is_empty() { Ok(()) } else { Err(NotProxied::Value) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn net(text: &str) -> Option<End> {
        Some(End::Net(text.parse().expect("an address")))
    }
    fn v2(verb: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
        [&SIGNATURE[..], &[verb, family], &length, rest].concat()
    }
    fn v4() -> Vec<u8> {
        [&[192, 0, 2, 7, 127, 0, 0, 1][..], &56324u16.to_be_bytes(), &443u16.to_be_bytes()].concat()
    }

    #[test]
    fn lines() {
        for (line, source) in [
            ("PROXY TCP4 192.0.2.7 127.0.0.1 56324 443\r\n", net("192.0.2.7:56324")),
            ("PROXY TCP6 2001:db8::7 ::1 1 65535\r\n", net("[2001:db8::7]:1")),
            ("PROXY TCP6 ::ffff:192.0.2.7 ::1 1 0\r\n", net("192.0.2.7:1")),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN ffff::1 what ever\r\n", None),
        ] {
            let read = read_proxy_header(format!("{line}NICK x\r\n").as_bytes());
            assert_eq!(read, Ok(Some(ProxyHeader { source, len: line.len() })), "{line:?}");
        }
        for line in [
            "PROXY TCP4 192.0.2.7 127.0.0.1 56324\r\n",
            "PROXY TCP4 192.0.2.7  127.0.0.1 56324 443\r\n",
            "PROXY TCP4 192.0.2.7 127.0.0.1 56324 443 \r\n",
            "PROXY TCP4 192.0.2.07 127.0.0.1 56324 443\r\n",
            "PROXY TCP4 192.0.2.7 127.0.0.1 056324 443\r\n",
            "PROXY TCP4 192.0.2.7 127.0.0.1 +56324 443\r\n",
            "PROXY TCP4 192.0.2.7 127.0.0.1 65536 443\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP6 192.0.2.7 127.0.0.1 1 2\r\n",
            "PROXY TCP6 fe80::1%1 ::1 1 2\r\n",
            "PROXY UDP4 192.0.2.7 127.0.0.1 1 2\r\n",
            "PROXY tcp4 192.0.2.7 127.0.0.1 1 2\r\n",
            "PROXY TCP4 192.0.2.7 127.0.0.1 1 2\n\r\n",
            "PROXY \r\n",
        ] {
            assert_eq!(read_proxy_header(line.as_bytes()), Err(NotProxied::Line), "{line:?}");
        }
        assert_eq!(read_proxy_header(b"PROXY TCP4 192.0.2.7 127.0.0.1 1 2\n"), Ok(None));
        assert_eq!(read_proxy_header(&[WORD, &[b'x'; 101]].concat()), Err(NotProxied::Long));
        assert_eq!(read_proxy_header(b"PROXIES"), Err(NotProxied::None));
        assert_eq!(read_proxy_header(b"proxy TCP4"), Err(NotProxied::None));
        assert_eq!(read_proxy_header(b"NICK a\r\n"), Err(NotProxied::None));
    }

    #[test]
    fn binary_headers() {
        let v6 = [&[0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[7], &[0; 16], &[0, 5, 0, 6]].concat();
        let values = [4, 0, 2, 0, 0, 0x20, 0, 0];
        for (bytes, source) in [
            (v2(0x21, 0x11, &v4()), net("192.0.2.7:56324")),
            (v2(0x21, 0x11, &[&v4()[..], &values].concat()), net("192.0.2.7:56324")),
            (v2(0x21, 0x21, &v6), net("[2001:db8::7]:5")),
            (v2(0x21, 0x31, &[b'/'; 216]), Some(End::Unix { path: None, uid: None })),
            (v2(0x21, 0x00, b"what"), None),
            (v2(0x20, 0x00, b""), None),
            (v2(0x20, 0x77, b"ever"), None),
        ] {
            let len = bytes.len();
            for end in 0..len {
                assert_eq!(read_proxy_header(&bytes[..end]), Ok(None), "{bytes:x?} up to {end}");
            }
            assert_eq!(read_proxy_header(&bytes), Ok(Some(ProxyHeader { source, len })), "{bytes:x?}");
        }
        for (bytes, why) in [
            (v2(0x11, 0x11, &v4()), NotProxied::Version),
            (v2(0x22, 0x11, &v4()), NotProxied::Version),
            (v2(0x21, 0x12, &v4()), NotProxied::Family),
            (v2(0x21, 0x41, &v4()), NotProxied::Family),
            (v2(0x21, 0x11, &v4()[1..]), NotProxied::Length),
            (v2(0x21, 0x21, &v4()), NotProxied::Length),
            (v2(0x21, 0x11, &[0; 4081]), NotProxied::Length),
            (v2(0x21, 0x11, &[&v4()[..], &[4, 0]].concat()), NotProxied::Value),
            (v2(0x21, 0x11, &[&v4()[..], &[4, 0, 3, 1, 2]].concat()), NotProxied::Value),
        ] {
            assert_eq!(read_proxy_header(&bytes), Err(why), "{bytes:x?}");
        }
        assert_eq!(read_proxy_header(b"\r\n\r\nNICK"), Err(NotProxied::None));
    }

    proptest! {
        /// Nothing panics, and what is said of a beginning is said of all that goes on with it.
        #[test]
        fn whatever_comes(
            bytes in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..300),
                "PROXY (TCP4|TCP6|UNKNOWN)( [0-9a-f.:]{0,9}){0,5}(\r\n)?.{0,3}".prop_map(String::into_bytes),
                (any::<u8>(), any::<u8>(), proptest::collection::vec(any::<u8>(), 0..60)).prop_map(|(a, b, c)| v2(a & 0x31, b & 0x33, &c)),
            ],
            cut in 0usize..300,
        ) {
            let whole = read_proxy_header(&bytes);
            match read_proxy_header(&bytes[..cut.min(bytes.len())]) {
                Ok(None) => {}
                told => prop_assert_eq!(told, whole.clone()),
            }
            if let Ok(Some(header)) = whole {
                prop_assert!(header.len <= bytes.len() && header.len <= PROXY_BYTES_MAX);
            }
        }
    }
}
