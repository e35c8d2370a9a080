//! What makes sessions, and what they are told about their peers.
use crate::{Address, Close, Host, Session};
use std::{fmt, net::SocketAddr, path::Path, sync::Arc};

/// What a driver serves: makes a session for every peer (a connection, or a UDP address).
///
/// Cloned once for each shard.
pub trait Service: Clone + Send + 'static {
    /// What it makes.
    type Session: Session;

    /// Whether its sessions send each other mail. Where they only ask desks, it is false: then the service runs under every
    /// model, also where there is one session at a time, or processes share no memory.
    const TALKS: bool = true;

    /// Makes the session for a peer that has just come; [`crate::Event::Open`] follows at once.
    ///
    /// # Errors
    /// `Err` refuses the peer: the connection is closed for that reason.
    fn open(&self, way: &Way) -> Result<Self::Session, Close>;

    /// A session panicked: it gets no `Gone` and has left its topics. Undo what others know of it.
    fn lost(&self, who: Address, host: &mut dyn Host<<Self::Session as Session>::Mail>);
}

/// Both ends, as far as they are known; each layer adds what it learns before it sends `Open` inward.
#[derive(Clone, Debug)]
pub struct Way {
    /// Our end.
    pub local: End,
    /// The peer's end of this very socket.
    pub remote: End,
    /// The peer's end behind a proxy: by a PROXY header from a trusted network.
    pub through: Option<End>,
    /// What the TLS handshake showed.
    pub tls: Option<Arc<TlsFacts>>,
    /// Whether the address says that TLS is spoken here (`tls://`): whoever makes the session wraps it so.
    pub asks_tls: bool,
    /// What the opening handshake of a WebSocket agreed on.
    pub ws: Option<Arc<WsFacts>>,
    /// Whether the address says that WebSocket is spoken here (`ws://`), and at which path: `/` for any. Whoever makes the
    /// session wraps it so, within TLS if that is asked for too.
    pub asks_ws: Option<Arc<str>>,
    /// Whether the peer is heard as a stream or as records, for a service that speaks both.
    pub wire: Wire,
    /// Which of the server's listeners it came in by, as whoever bound them has numbered them; 0 where nobody has.
    pub listener: u16,
}

impl Way {
    /// A way between two ends with nothing known beyond them.
    pub fn new(local: End, remote: End, wire: Wire) -> Self {
        Self { local, remote, through: None, tls: None, asks_tls: false, ws: None, asks_ws: None, wire, listener: 0 }
    }
    /// Who the peer is: behind a proxy if one was named, else the other end of the socket.
    pub fn peer(&self) -> &End {
        self.through.as_ref().unwrap_or(&self.remote)
    }
}

/// What a wire carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Bytes in order: TCP, Unix stream sockets.
    Stream,
    /// Whole records: datagrams.
    Records,
}

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum End {
    /// An IP address and port.
    Net(SocketAddr),
    /// A Unix socket.
    Unix {
        /// Its path; `None` for an unnamed socket. An abstract name begins with `@`.
        path: Option<Arc<Path>>,
        /// The user at the other end, as the kernel tells it (`SO_PEERCRED`).
        uid: Option<u32>,
    },
    /// A pipe, a terminal or a file.
    Pipe,
    /// An end in the simulator.
    Simulated(u32),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(address) => write!(f, "{address}"),
            Self::Unix { path: Some(path), .. } => write!(f, "unix:{}", path.display()),
            Self::Unix { path: None, uid: Some(uid) } => write!(f, "unix:(uid {uid})"),
            Self::Unix { path: None, uid: None } => f.write_str("unix:(unnamed)"),
            Self::Pipe => f.write_str("pipe"),
            Self::Simulated(number) => write!(f, "sim:{number}"),
        }
    }
}

/// What a TLS handshake showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// The name the client asked for (RFC 6066 §3); `None` for an address, or if it named none.
    pub server_name: Option<Box<str>>,
    /// The protocol agreed on (RFC 7301).
    pub alpn: Option<Box<[u8]>>,
    /// The peer's certificate chain, leaf first, each in DER. It has been verified as the configuration asks.
    pub peer_chain: Vec<Box<[u8]>>,
    /// The protocol's version: `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite by its registered name, as `TLS_AES_128_GCM_SHA256`.
    pub cipher_suite: &'static str,
    /// The group of the key exchange, as `X25519`; empty where a resumed session had none.
    pub group: &'static str,
    /// Whether the session was resumed, without certificates sent anew.
    pub resumed: bool,
}

/// What the opening handshake of a WebSocket agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WsFacts {
    /// The subprotocol, if one was chosen.
    pub subprotocol: Option<Box<str>>,
    /// What the client asked for: a path, and a query behind `?`.
    pub target: Box<str>,
    /// The origin of the page that connected, as its browser says.
    pub origin: Option<Box<str>>,
}
