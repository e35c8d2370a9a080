//! Where something is heard or reached, as people write it.
//!
//! `tcp://host:port`, `udp://host:port`, `unix:/path`, `unix:relative`, `unix:@abstract`; a bare `host:port` is TCP,
//! `:PORT` is localhost, `*:PORT` every address of the machine. `tls://` and `tls+unix:` are the same places with TLS spoken
//! there, `ws://host:port/path` and `wss://` those where WebSocket is; what speaks it is not this crate's. What is parsed is only text: names are looked up later, by [`crate::resolve`].
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
};

/// Bytes that a Unix socket's path or abstract name may have: `sun_path` less the NUL behind a path, or before a name.
pub const UNIX_NAME_BYTES_MAX: usize = 107;
/// Bytes that a host name may have (RFC 1035 §2.3.4, less the root label and length bytes).
pub const HOST_NAME_BYTES_MAX: usize = 253;
/// Bytes that the path and query of a WebSocket's address may have: some of them go with a socket to a worker process.
pub const WS_PATH_BYTES_MAX: usize = 1024;

/// Where something is heard or reached.
///
/// [`fmt::Display`] writes the full form, with its scheme, and parsing that gives the same value back.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    /// A TCP port.
    Tcp(HostPort),
    /// A UDP port.
    Udp(HostPort),
    /// A Unix stream socket.
    Unix(UnixName),
    /// TLS over a TCP port.
    Tls(HostPort),
    /// TLS over a Unix stream socket.
    TlsUnix(UnixName),
    /// WebSocket over a TCP port.
    Ws(HostPort, WsPath),
    /// WebSocket within TLS over a TCP port.
    Wss(HostPort, WsPath),
}

/// What is asked for at a WebSocket's address: a path that begins with `/`, and a query behind `?` if there is one; at most
/// [`WS_PATH_BYTES_MAX`] bytes without spaces, control characters and `#`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WsPath(Box<str>);

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    /// The machine, or one of its addresses.
    pub host: Host,
    /// The port; 0 lets the system pick when listening, and is refused when dialling.
    pub port: u16,
}

/// A machine, as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// `*`: every address of this machine, both families. Only for listening.
    All,
    /// `localhost`, or nothing before the colon: 127.0.0.1 and ::1, without asking a resolver.
    Localhost,
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address and its zone (RFC 4007 §11), a name or a number of an interface.
    V6(Ipv6Addr, Option<Box<str>>),
    /// A name to look up.
    Name(Box<str>),
}

/// The name of a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UnixName {
    /// A file, 1 to [`UNIX_NAME_BYTES_MAX`] bytes.
    Path(PathBuf),
    /// A name in Linux's abstract namespace, 1 to [`UNIX_NAME_BYTES_MAX`] bytes, written with a leading `@`.
    Abstract(Box<str>),
}

/// What stands before `://`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// `tcp://`
    Tcp,
    /// `udp://`
    Udp,
    /// `unix:`
    Unix,
    /// `tls://`
    Tls,
    /// `tls+unix:`
    TlsUnix,
    /// `ws://`
    Ws,
    /// `wss://`
    Wss,
}

/// What is taken where the text leaves it open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// The scheme of a bare `host:port`; [`Scheme::Tcp`] by default.
    pub scheme: Scheme,
    /// The port of a bare `host`; none by default, and then it is an error.
    pub port: Option<u16>,
}

/// Why a text is no address. The values are what was written, so that a message can show them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// Nothing was written.
    #[error("an empty address: write HOST:PORT, :PORT or unix:PATH")]
    Empty,
    /// No such scheme; `like` is one that differs by a slip of the finger.
    #[error("unknown scheme {scheme:?}: known are tcp, udp, unix, tls, tls+unix, ws and wss{}", .like.map(|s| format!("; did you mean {s}?")).unwrap_or_default())]
    UnknownScheme {
        /// What was written.
        scheme: String,
        /// The known scheme that it resembles.
        like: Option<Scheme>,
    },
    /// A known scheme without its `//`, as in `tcp:host:80`.
    #[error("write {scheme}://{rest}")]
    MissingSlashes {
        /// The scheme.
        scheme: Scheme,
        /// What followed its colon.
        rest: String,
    },
    /// No port; one that is 0 or more digits must follow a colon.
    #[error("{host:?} has no port: write {host}:PORT")]
    MissingPort {
        /// The host part.
        host: String,
    },
    /// A number stands alone: it is a port, and the host is missing.
    #[error("{port} alone is no address: write :{port} for this machine, or *:{port} for all its addresses")]
    PortAlone {
        /// The number.
        port: u16,
    },
    /// What stands after the last colon is no number from 0 to 65535.
    #[error("{port:?} is no port: a port is a number from 1 to 65535 (0 picks a free one when listening)")]
    BadPort {
        /// What was written.
        port: String,
    },
    /// There is nothing where the host belongs, as in `tcp://:80/`; use `:80` or `localhost:80`.
    #[error("the brackets hold no address")]
    EmptyHost,
    /// An IPv6 address that is not in brackets: where it ends and the port begins cannot be told.
    #[error("an IPv6 address goes into brackets: [{text}]:PORT")]
    UnbracketedIpv6 {
        /// What was written.
        text: String,
    },
    /// What is in brackets is no IPv6 address, or a bracket is missing.
    #[error("{text:?} is no IPv6 address in brackets: write [ADDRESS]:PORT")]
    BadIpv6 {
        /// What was written.
        text: String,
    },
    /// Digits and dots that are no IPv4 address.
    #[error("{text:?} is no IPv4 address: four numbers from 0 to 255")]
    BadIpv4 {
        /// What was written.
        text: String,
    },
    /// A host name has a character that no name has.
    #[error("{host:?} is no host name: {bad:?} cannot be part of one")]
    BadHost {
        /// What was written.
        host: String,
        /// The first character that does not belong.
        bad: char,
    },
    /// A host name is longer than [`HOST_NAME_BYTES_MAX`].
    #[error("a host name of {bytes} bytes: at most {HOST_NAME_BYTES_MAX}")]
    HostTooLong {
        /// Its bytes.
        bytes: usize,
    },
    /// Something follows the port, as in `tcp://host:80/index`.
    #[error("{text:?} does not belong here: the address ends with the port")]
    AfterPort {
        /// What follows.
        text: String,
    },
    /// A WebSocket's path has a character that no URL has there; a fragment means nothing to a server.
    #[error("{path:?} is no path: {bad:?} cannot be part of one")]
    BadPath {
        /// What was written.
        path: String,
        /// The first character that does not belong.
        bad: char,
    },
    /// A WebSocket's path and query are longer than [`WS_PATH_BYTES_MAX`].
    #[error("a path of {bytes} bytes: at most {WS_PATH_BYTES_MAX}")]
    PathTooLong {
        /// Its bytes.
        bytes: usize,
    },
    /// A path without `unix:`.
    #[error("write unix:{path} for a Unix socket")]
    BarePath {
        /// The path.
        path: String,
    },
    /// `unix:` or `unix:@` with nothing behind it.
    #[error("the Unix socket has no name: write unix:PATH or unix:@NAME")]
    EmptyUnixName,
    /// `unix://name`: a URL's host, where a path belongs.
    #[error("write unix:/{path} for an absolute path, or unix:{path} for a relative one")]
    UnixHost {
        /// What followed the slashes.
        path: String,
    },
    /// A Unix path or abstract name longer than the system takes.
    #[error("a Unix socket name of {bytes} bytes: at most {UNIX_NAME_BYTES_MAX}; use a shorter or a relative path")]
    UnixNameTooLong {
        /// Its bytes.
        bytes: usize,
    },
    /// A NUL byte in a Unix path or name.
    #[error("a Unix socket name cannot contain a NUL byte")]
    NulInUnixName,
    /// Port 0 cannot be dialled.
    #[error("port 0 is for listening, where it picks a free port: name the port to connect to")]
    DialPortZero,
    /// `*` cannot be dialled.
    #[error("* is for listening: name the host to connect to")]
    DialAll,
}

impl Endpoint {
    /// Reads an address, with `defaults` for what the text leaves open.
    ///
    /// # Errors
    /// One variant of [`EndpointError`] for each mistake.
    pub fn parse(text: &str, defaults: Defaults) -> Result<Self, EndpointError> {
        if text.is_empty() {
            return Err(EndpointError::Empty);
        }
        let (scheme, rest) = split_scheme(text)?;
        match scheme.unwrap_or(defaults.scheme) {
            Scheme::Tcp => HostPort::parse(rest, defaults.port).map(Self::Tcp),
            Scheme::Udp => HostPort::parse(rest, defaults.port).map(Self::Udp),
            Scheme::Unix => UnixName::parse(rest).map(Self::Unix),
            Scheme::Tls => HostPort::parse(rest, defaults.port).map(Self::Tls),
            Scheme::TlsUnix => UnixName::parse(rest).map(Self::TlsUnix),
            Scheme::Ws => parse_ws(rest, defaults.port.unwrap_or(80)).map(|(to, path)| Self::Ws(to, path)),
            Scheme::Wss => parse_ws(rest, defaults.port.unwrap_or(443)).map(|(to, path)| Self::Wss(to, path)),
        }
    }
    /// The scheme that it is written with.
    pub fn scheme(&self) -> Scheme {
        match self {
            Self::Tcp(_) => Scheme::Tcp,
            Self::Udp(_) => Scheme::Udp,
            Self::Unix(_) => Scheme::Unix,
            Self::Tls(_) => Scheme::Tls,
            Self::TlsUnix(_) => Scheme::TlsUnix,
            Self::Ws(..) => Scheme::Ws,
            Self::Wss(..) => Scheme::Wss,
        }
    }
    /// Whether TLS is spoken there.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_) | Self::TlsUnix(_) | Self::Wss(..))
    }
    /// Whether it is a Unix socket.
    pub fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_) | Self::TlsUnix(_))
    }
    /// The same place with TLS spoken there; datagrams stay as they are.
    #[must_use]
    pub fn with_tls(self) -> Self {
        match self {
            Self::Tcp(to) => Self::Tls(to),
            Self::Unix(name) => Self::TlsUnix(name),
            Self::Ws(to, path) => Self::Wss(to, path),
            other => other,
        }
    }
    /// The same place, whatever is spoken there.
    #[must_use]
    pub fn without_tls(self) -> Self {
        match self {
            Self::Tls(to) => Self::Tcp(to),
            Self::TlsUnix(name) => Self::Unix(name),
            Self::Wss(to, path) => Self::Ws(to, path),
            other => other,
        }
    }
    /// What is asked for, where WebSocket is spoken.
    pub fn ws_path(&self) -> Option<&WsPath> {
        match self {
            Self::Ws(_, path) | Self::Wss(_, path) => Some(path),
            _ => None,
        }
    }
    /// The same place, without TLS and WebSocket.
    #[must_use]
    pub fn plain(self) -> Self {
        match self.without_tls() {
            Self::Ws(to, _) => Self::Tcp(to),
            other => other,
        }
    }
    /// What is spoken there beyond the plain transport, as a word without spaces that goes with a socket; it may be empty.
    pub fn spoken(&self) -> String {
        match self {
            Self::Tcp(_) | Self::Udp(_) | Self::Unix(_) => String::new(),
            Self::Tls(_) | Self::TlsUnix(_) => "tls".to_owned(),
            Self::Ws(_, path) => format!("ws{path}"),
            Self::Wss(_, path) => format!("wss{path}"),
        }
    }
    /// The same place, with what [`Self::spoken`] says spoken there; `None` where that cannot be.
    pub fn with_spoken(self, word: &str) -> Option<Self> {
        let at = word.find('/').unwrap_or(word.len());
        let (name, path) = word.split_at(at);
        match (name, self) {
            ("", plain) if path.is_empty() => Some(plain),
            ("tls", plain @ (Self::Tcp(_) | Self::Unix(_))) if path.is_empty() => Some(plain.with_tls()),
            ("ws", Self::Tcp(to)) => Some(Self::Ws(to, WsPath::parse(path).ok()?)),
            ("wss", Self::Tcp(to)) => Some(Self::Wss(to, WsPath::parse(path).ok()?)),
            _ => None,
        }
    }
    /// The host and port, unless it is a Unix socket.
    pub fn host_port(&self) -> Option<&HostPort> {
        match self {
            Self::Tcp(to) | Self::Udp(to) | Self::Tls(to) | Self::Ws(to, _) | Self::Wss(to, _) => Some(to),
            Self::Unix(_) | Self::TlsUnix(_) => None,
        }
    }
    /// Whether only this machine can reach it: a Unix socket, localhost or a loopback address.
    ///
    /// A name counts as reachable from elsewhere.
    pub fn is_local(&self) -> bool {
        match self.host_port().map(|to| &to.host) {
            None | Some(Host::Localhost) => true,
            Some(Host::V4(ip)) => ip.is_loopback(),
            Some(Host::V6(ip, _)) => ip.to_canonical().is_loopback(),
            Some(Host::All | Host::Name(_)) => false,
        }
    }
    /// Whether it can be connected to, and not only listened on.
    ///
    /// # Errors
    /// [`EndpointError::DialPortZero`] and [`EndpointError::DialAll`].
    pub fn check_dial(&self) -> Result<(), EndpointError> {
        match self.host_port() {
            Some(HostPort { host: Host::All, .. }) => Err(EndpointError::DialAll),
            Some(HostPort { port: 0, .. }) => Err(EndpointError::DialPortZero),
            _ => Ok(()),
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;
    fn from_str(text: &str) -> Result<Self, EndpointError> {
        Self::parse(text, Defaults::default())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(to) => write!(f, "tcp://{to}"),
            Self::Udp(to) => write!(f, "udp://{to}"),
            Self::Unix(name) => write!(f, "unix:{name}"),
            Self::Tls(to) => write!(f, "tls://{to}"),
            Self::TlsUnix(name) => write!(f, "tls+unix:{name}"),
            Self::Ws(to, path) => write!(f, "ws://{to}{}", path.written()),
            Self::Wss(to, path) => write!(f, "wss://{to}{}", path.written()),
        }
    }
}

impl Default for Defaults {
    fn default() -> Self {
        Self { scheme: Scheme::Tcp, port: None }
    }
}

impl Scheme {
    /// Every scheme, for messages.
    pub const KNOWN: [Self; 7] = [Self::Tcp, Self::Udp, Self::Unix, Self::Tls, Self::TlsUnix, Self::Ws, Self::Wss];

    /// Its name, without the colon.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Unix => "unix",
            Self::Tls => "tls",
            Self::TlsUnix => "tls+unix",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }
    fn known(text: &str) -> Option<Self> {
        Self::KNOWN.into_iter().find(|scheme| scheme.name().eq_ignore_ascii_case(text))
    }
    /// The scheme that `text` is one slip away from, or an older name of.
    fn like(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        if text == "ssl" {
            return Some(Self::Tls);
        }
        Self::KNOWN.into_iter().find(|scheme| is_one_slip_away(text.as_bytes(), scheme.name().as_bytes()))
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl WsPath {
    /// Reads what follows the port; nothing is `/`.
    fn parse(text: &str) -> Result<Self, EndpointError> {
        if let Some(bad) = text.chars().find(|c| c.is_whitespace() || c.is_control() || *c == '#') {
            return Err(EndpointError::BadPath { path: text.into(), bad });
        }
        let slash = if text.starts_with('/') { "" } else { "/" };
        let path = format!("{slash}{text}");
        match path.len() {
            bytes if bytes > WS_PATH_BYTES_MAX => Err(EndpointError::PathTooLong { bytes }),
            _ => Ok(Self(path.into())),
        }
    }
    /// Path and query.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// Without the path of those that have none.
    fn written(&self) -> &str {
        if &*self.0 == "/" { "" } else { &self.0 }
    }
}

impl fmt::Display for WsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A host, a port and a path.
fn parse_ws(text: &str, port: u16) -> Result<(HostPort, WsPath), EndpointError> {
    let (place, path) = text.find(['/', '?', '#']).map_or((text, ""), |at| text.split_at(at));
    // What has a path is a URL, in which a host stands.
    if place.is_empty() {
        return Err(EndpointError::Empty);
    }
    Ok((HostPort::parse(place, Some(port))?, WsPath::parse(path)?))
}

impl HostPort {
    /// The host and port of `address`; a scope becomes a numeric zone.
    pub fn of(address: SocketAddr) -> Self {
        let host = match address {
            SocketAddr::V4(v4) => Host::V4(*v4.ip()),
            SocketAddr::V6(v6) => {
                let zone = (v6.scope_id() != 0).then(|| v6.scope_id().to_string().into_boxed_str());
                Host::V6(*v6.ip(), zone)
            }
        };
        Self { host, port: address.port() }
    }

    fn parse(text: &str, port_default: Option<u16>) -> Result<Self, EndpointError> {
        if text.starts_with(['/', '~']) || text.starts_with("./") || text.starts_with("../") {
            return Err(EndpointError::BarePath { path: text.into() });
        }
        // A URL's empty path is harmless; anything else behind the port would be lost without a word.
        let (text, after) = text.find(['/', '?', '#']).map_or((text, ""), |at| text.split_at(at));
        if !matches!(after, "" | "/") {
            return Err(EndpointError::AfterPort { text: after.into() });
        }
        if let Some(inner) = text.strip_prefix('[') {
            return Self::parse_bracketed(text, inner, port_default);
        }
        if text.bytes().filter(|&b| b == b':').count() > 1 && looks_like_ipv6(text) {
            return Err(EndpointError::UnbracketedIpv6 { text: text.into() });
        }
        let Some((host, port)) = text.split_once(':') else {
            return match (text.bytes().all(|b| b.is_ascii_digit()), text.parse(), port_default) {
                (true, Ok(port), _) => Err(EndpointError::PortAlone { port }),
                (true, Err(_), _) => Err(EndpointError::BadPort { port: text.into() }),
                (_, _, Some(port)) => Ok(Self { host: Host::parse(text)?, port }),
                (_, _, None) => {
                    Host::parse(text)?;
                    Err(EndpointError::MissingPort { host: text.into() })
                }
            };
        };
        let host = Host::parse(host)?;
        if port.is_empty() {
            return Err(EndpointError::MissingPort { host: host.to_string() });
        }
        Ok(Self { host, port: parse_port(port)? })
    }
    fn parse_bracketed(text: &str, inner: &str, port_default: Option<u16>) -> Result<Self, EndpointError> {
        let bad = || EndpointError::BadIpv6 { text: text.into() };
        let (address, after) = inner.split_once(']').ok_or_else(bad)?;
        let host = Host::parse_ipv6(address).ok_or_else(|| match address {
            "" => EndpointError::EmptyHost,
            _ => EndpointError::BadIpv6 { text: address.into() },
        })?;
        let port = match (after.strip_prefix(':'), port_default) {
            (Some(""), _) => return Err(EndpointError::MissingPort { host: host.to_string() }),
            (Some(port), _) => parse_port(port)?,
            (None, _) if !after.is_empty() => return Err(bad()),
            (None, Some(port)) => port,
            (None, None) => return Err(EndpointError::MissingPort { host: host.to_string() }),
        };
        Ok(Self { host, port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Host {
    fn parse(text: &str) -> Result<Self, EndpointError> {
        match text {
            "" => return Ok(Self::Localhost),
            "*" => return Ok(Self::All),
            _ if text.eq_ignore_ascii_case("localhost") => return Ok(Self::Localhost),
            _ => {}
        }
        if let Ok(ip) = text.parse() {
            return Ok(Self::V4(ip));
        }
        // The resolver would take 127.1 for 127.0.0.1 and 8080 for 0.0.31.144.
        if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return Err(EndpointError::BadIpv4 { text: text.into() });
        }
        let belongs = |c: &char| c.is_alphanumeric() || matches!(c, '-' | '.' | '_');
        if let Some(bad) = text.chars().find(|c| !belongs(c)) {
            return Err(EndpointError::BadHost { host: text.into(), bad });
        }
        if text.len() > HOST_NAME_BYTES_MAX {
            return Err(EndpointError::HostTooLong { bytes: text.len() });
        }
        Ok(Self::Name(text.into()))
    }
    fn parse_ipv6(text: &str) -> Option<Self> {
        let (ip, zone) = match text.split_once('%') {
            Some((ip, zone)) => (ip, Some(zone)),
            None => (text, None),
        };
        if zone.is_some_and(|zone| zone.is_empty() || zone.contains(|c: char| c.is_whitespace() || c.is_control())) {
            return None;
        }
        Some(Self::V6(ip.parse().ok()?, zone.map(Into::into)))
    }
    /// The address, if one was written.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::V4(ip) => Some((*ip).into()),
            Self::V6(ip, _) => Some((*ip).into()),
            Self::All | Self::Localhost | Self::Name(_) => None,
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Localhost => f.write_str("localhost"),
            Self::V4(ip) => write!(f, "{ip}"),
            Self::V6(ip, None) => write!(f, "[{ip}]"),
            Self::V6(ip, Some(zone)) => write!(f, "[{ip}%{zone}]"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl UnixName {
    fn parse(text: &str) -> Result<Self, EndpointError> {
        let text = match text.strip_prefix("//") {
            Some(absolute) if absolute.starts_with('/') => absolute,
            Some("") => return Err(EndpointError::EmptyUnixName),
            Some(path) => return Err(EndpointError::UnixHost { path: path.into() }),
            None => text,
        };
        match text.strip_prefix('@') {
            Some(name) => Self::check(name.as_bytes()).map(|()| Self::Abstract(name.into())),
            None => {
                let path = one_leading_slash(text);
                Self::check(path.as_bytes()).map(|()| Self::Path(path.into()))
            }
        }
    }
    /// Takes `path` as it is.
    ///
    /// # Errors
    /// [`EndpointError::EmptyUnixName`], [`EndpointError::UnixNameTooLong`] and [`EndpointError::NulInUnixName`].
    pub fn path(path: impl Into<PathBuf>) -> Result<Self, EndpointError> {
        use std::os::unix::ffi::OsStrExt as _;
        let path = path.into();
        Self::check(path.as_os_str().as_bytes())?;
        Ok(Self::Path(path))
    }
    fn check(name: &[u8]) -> Result<(), EndpointError> {
        match name.len() {
            0 => Err(EndpointError::EmptyUnixName),
            bytes if bytes > UNIX_NAME_BYTES_MAX => Err(EndpointError::UnixNameTooLong { bytes }),
            _ if name.contains(&0) => Err(EndpointError::NulInUnixName),
            _ => Ok(()),
        }
    }
    /// The file, unless the name is abstract.
    pub fn as_path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) => Some(path),
            Self::Abstract(_) => None,
        }
    }
}

impl fmt::Display for UnixName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Abstract(name) => write!(f, "@{name}"),
            Self::Path(path) => {
                let text = path.to_string_lossy();
                // A file whose name begins with @ is no abstract name.
                let dot = if text.starts_with('@') { "./" } else { "" };
                write!(f, "{dot}{}", one_leading_slash(&text))
            }
        }
    }
}

/// The scheme, if there is one, and what follows it.
fn split_scheme(text: &str) -> Result<(Option<Scheme>, &str), EndpointError> {
    let Some((word, rest)) = text.split_once(':') else { return Ok((None, text)) };
    let is_word = word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-'));
    if !is_word {
        return Ok((None, text));
    }
    match Scheme::known(word) {
        Some(scheme @ (Scheme::Unix | Scheme::TlsUnix)) => return Ok((Some(scheme), rest)),
        Some(scheme) => match rest.strip_prefix("//") {
            Some("") => return Err(EndpointError::Empty),
            Some(rest) => return Ok((Some(scheme), rest)),
            // `tcp:80` is port 80 of a host called tcp; `tcp:host:80` can only be a slip.
            None if rest.contains(':') => return Err(EndpointError::MissingSlashes { scheme, rest: rest.into() }),
            None => {}
        },
        None if rest.starts_with(['/', '@', '.']) => {
            return Err(EndpointError::UnknownScheme { scheme: word.into(), like: Scheme::like(word) });
        }
        None => {}
    }
    Ok((None, text))
}

fn parse_port(text: &str) -> Result<u16, EndpointError> {
    let bad = || EndpointError::BadPort { port: text.into() };
    // `parse` alone would take a sign.
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    text.parse().map_err(|_| bad())
}

/// Whether what stands before `%` has nothing in it but what an IPv6 address has.
fn looks_like_ipv6(text: &str) -> bool {
    let address = text.split_once('%').map_or(text, |(address, _)| address);
    address.bytes().filter(|&b| b == b':').count() > 1
        && address.bytes().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'))
}

/// Linux takes many leading slashes for one; with one, every path has one way to be written.
fn one_leading_slash(path: &str) -> &str {
    let slashes = path.bytes().take_while(|&b| b == b'/').count();
    &path[slashes.saturating_sub(1)..]
}

/// Whether one letter more, less, other, or swapped with its neighbour makes `a` into `b`.
fn is_one_slip_away(a: &[u8], b: &[u8]) -> bool {
    let start = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[start..], &b[start..]);
    let end = a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count();
    match (&a[..a.len() - end], &b[..b.len() - end]) {
        ([], [_]) | ([_], [] | [_]) => true,
        ([p, q], [r, s]) => p == s && q == r,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
