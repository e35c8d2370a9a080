//! Connections over TLS, by peers that are none of ours: the library's own, on a thread of its own.
use crate::{
    conn::Conn,
    process::{self, HANG},
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::{
    ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::{fd::AsFd as _, unix::net::UnixStream},
    sync::Arc,
    thread,
};

/// A certificate and its key in one PEM file, as servers in tests show it: for `localhost`, `127.0.0.1`, `::1`.
pub const CERT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/sotong-tls/testdata/server.pem");

/// What is heard of a server whose stream ends without its end mark.
pub const TRUNCATED: &[u8] = b"\0the stream was cut off\0";

/// The most that waits in either direction.
const WAITING_BYTES_MAX: usize = 256 << 10;

/// A client's configuration that trusts [`CERT`] alone.
///
/// # Panics
/// The file is damaged.
pub fn client() -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(CERT).expect("a certificate")).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Arc::new(builder.expect("versions").with_root_certificates(roots).with_no_client_auth())
}

/// A stream whose other end speaks TLS over `net`. Its end becomes a close_notify; the server's close_notify becomes its end,
/// and a server's stream that ends without one ends with [`TRUNCATED`].
///
/// # Errors
/// No descriptor or thread is left.
pub fn wrap(net: Conn) -> io::Result<UnixStream> {
    let name = "localhost".try_into().expect("a name");
    between(net, ClientConnection::new(client(), name).map_err(io::Error::other)?.into())
}

/// The same by a client that shows a certificate itself, if it `shows` one: [`CERT`], as somebody nobody vouches for.
///
/// # Errors
/// As with [`wrap`].
///
/// # Panics
/// The file is damaged.
pub fn wrap_showing(net: Conn, shows: bool) -> io::Result<UnixStream> {
    let mut config = Arc::unwrap_or_clone(client());
    if shows {
        let chain = vec![CertificateDer::from_pem_file(CERT).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_file(CERT).expect("a key");
        let signing = rustls::crypto::ring::sign::any_supported_type(&key).expect("a key that signs");
        let shown = Arc::new(rustls::sign::CertifiedKey::new(chain, signing));
        config.client_auth_cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(shown));
    }
    let name = "localhost".try_into().expect("a name");
    between(net, ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?.into())
}

/// The next connection, whose client is spoken to in TLS by a server that shows [`CERT`], and its socket, for tests that break
/// it. Ends are as with [`wrap`].
///
/// # Panics
/// Nobody comes.
pub fn accept(listener: &TcpListener) -> (UnixStream, TcpStream) {
    let net = process::accept(listener);
    let socket = net.try_clone().expect("a descriptor");
    let tls = ServerConnection::new(server()).expect("a server");
    (between(Conn::Tcp(net), tls.into()).expect("a thread"), socket)
}

/// A server's configuration that shows [`CERT`].
///
/// # Panics
/// The file is damaged.
pub fn server() -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let chain = vec![CertificateDer::from_pem_file(CERT).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_file(CERT).expect("a key");
    let config = builder.expect("versions").with_no_client_auth().with_single_cert(chain, key);
    Arc::new(config.expect("a key that fits"))
}

fn between(net: Conn, tls: Connection) -> io::Result<UnixStream> {
    let (ours, plain) = UnixStream::pair()?;
    ours.set_read_timeout(Some(HANG))?;
    ours.set_write_timeout(Some(HANG))?;
    plain.set_nonblocking(true)?;
    match &net {
        Conn::Tcp(net) => net.set_nonblocking(true)?,
        Conn::Unix(net) => net.set_nonblocking(true)?,
    }
    let between = Between { net, plain, tls, heard: Vec::new(), said_all: false, heard_all: false, told_end: false };
    thread::Builder::new().name("tls".to_owned()).spawn(move || between.run())?;
    Ok(ours)
}

struct Between {
    net: Conn,
    plain: UnixStream,
    tls: Connection,
    /// Decrypted, and not taken.
    heard: Vec<u8>,
    said_all: bool,
    heard_all: bool,
    told_end: bool,
}

impl Between {
    fn run(mut self) {
        // A broken connection is heard as an end that comes too early.
        if self.pump().is_err() && !self.heard_all {
            self.heard.extend_from_slice(TRUNCATED);
            self.heard_all = true;
            let _ = self.plain.set_nonblocking(false).and_then(|()| self.plain.write_all(&self.heard));
        }
        let _ = self.plain.shutdown(Shutdown::Both);
    }
    fn pump(&mut self) -> io::Result<()> {
        loop {
            let (is_readable, takes_more) = self.wait()?;
            if is_readable {
                self.receive()?;
            }
            if takes_more {
                self.say()?;
            }
            while self.tls.wants_write() {
                match self.tls.write_tls(&mut self.net) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
            self.tell()?;
            if self.told_end && self.said_all && !self.tls.wants_write() {
                return Ok(());
            }
        }
    }
    /// Waits until something can be done. Whether the server has said something, and our side.
    fn wait(&self) -> io::Result<(bool, bool)> {
        let set = |flags: PollFlags, on: bool| if on { flags } else { PollFlags::empty() };
        let reads = !self.heard_all && self.heard.len() < WAITING_BYTES_MAX;
        let net = set(PollFlags::IN, reads) | set(PollFlags::OUT, self.tls.wants_write());
        let asks = !self.said_all && !self.tls.is_handshaking() && !self.tls.wants_write();
        let plain = set(PollFlags::IN, asks) | set(PollFlags::OUT, !self.heard.is_empty());
        let time_max = Timespec { tv_sec: HANG.as_secs().cast_signed(), tv_nsec: 0 };
        // Nothing is asked of a socket whose hang-up would be told again and again.
        let mut fds = Vec::new();
        for (fd, flags) in [(self.net.as_fd(), net), (self.plain.as_fd(), plain)] {
            if !flags.is_empty() {
                fds.push(PollFd::from_borrowed_fd(fd, flags));
            }
        }
        match poll(&mut fds, Some(&time_max)) {
            Ok(0) => Err(ErrorKind::TimedOut.into()),
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok((reads, asks)),
            Err(errno) => Err(errno.into()),
        }
    }
    fn receive(&mut self) -> io::Result<()> {
        match self.tls.read_tls(&mut self.net) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
        let state = self.tls.process_new_packets().map_err(io::Error::other)?;
        let count = state.plaintext_bytes_to_read();
        let from = self.heard.len();
        self.heard.resize(from + count, 0);
        self.tls.reader().read_exact(&mut self.heard[from..])?;
        self.heard_all = state.peer_has_closed();
        Ok(())
    }
    fn say(&mut self) -> io::Result<()> {
        let mut bytes = [0; 16 << 10];
        match self.plain.read(&mut bytes) {
            Ok(0) => {
                self.said_all = true;
                self.tls.send_close_notify();
            }
            Ok(count) => self.tls.writer().write_all(&bytes[..count])?,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
    /// Passes on what was heard.
    fn tell(&mut self) -> io::Result<()> {
        while !self.heard.is_empty() {
            match self.plain.write(&self.heard) {
                Ok(count) => _ = self.heard.drain(..count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        if self.heard_all && !self.told_end {
            self.told_end = true;
            self.plain.shutdown(Shutdown::Write)?;
        }
        Ok(())
    }
}
