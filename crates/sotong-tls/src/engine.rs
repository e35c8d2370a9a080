//! The TLS library, reduced to what a layer needs: work through ciphertext, encrypt, say goodbye.
use rustls::{
    ClientConfig, Error, ServerConfig,
    client::UnbufferedClientConnection,
    pki_types::ServerName,
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic},
};
use sotong_session::{Carry, Close, Output, TlsFacts};
use std::sync::Arc;

/// One side of a TLS connection.
pub(crate) struct Engine {
    side: Side,
    /// Records of a handshake message that is not whole yet. The library has decrypted them where they are, and wants to see
    /// them again so.
    joining: Vec<u8>,
}

enum Side {
    Client(UnbufferedClientConnection, ServerName<'static>),
    Server(UnbufferedServerConnection),
}

/// What a record led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// More records must come.
    Starved,
    /// The peer's close_notify has come.
    PeerClosed,
}

/// What is to be done once the library lets us write.
enum Job<'a> {
    Nothing,
    Encrypt(&'a [u8]),
    CloseNotify,
}

/// What one call of the library came to.
enum Step {
    /// Call again.
    More,
    /// The job is done, or nothing is left to do.
    Stop(Stop),
    /// The keys must not encrypt any more.
    Exhausted,
}

/// A record's cost beyond its plaintext, at most: header, explicit nonce, type, tag (RFC 5246 §6.2.3.3, RFC 8446 §5.2).
const RECORD_OVERHEAD: usize = 5 + 8 + 1 + 16;
/// A record's plaintext, at most (RFC 8446 §5.1).
const RECORD_BYTES_MAX: usize = 1 << 14;

impl Engine {
    pub(crate) fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, Close> {
        let made = UnbufferedClientConnection::new(config, name.clone());
        let side = made.map(|made| Side::Client(made, name)).map_err(|error| reason(&error))?;
        Ok(Self { side, joining: Vec::new() })
    }
    pub(crate) fn server(config: Arc<ServerConfig>) -> Result<Self, Close> {
        if config.max_early_data_size > 0 {
            return Err(Close::Fault("TLS early data is not taken: it can be replayed"));
        }
        let side = UnbufferedServerConnection::new(config).map(Side::Server).map_err(|error| reason(&error))?;
        Ok(Self { side, joining: Vec::new() })
    }
    pub(crate) fn is_client(&self) -> bool {
        matches!(self.side, Side::Client(..))
    }
    pub(crate) fn is_handshaking(&self) -> bool {
        self.common().is_handshaking()
    }
    /// Whether the peer has said anything that TLS knows.
    pub(crate) fn has_met_peer(&self) -> bool {
        self.common().protocol_version().is_some()
    }
    /// Memory of its buffer, bytes.
    pub(crate) fn buffered(&self) -> usize {
        self.joining.capacity()
    }

    /// Works on one whole record, or begins a client's handshake with none: what it decrypts goes to `plain`, what it has to
    /// say itself to `out`. An alert that belongs to an error waits for [`Self::flush`].
    pub(crate) fn work(&mut self, record: &mut [u8], plain: &mut Carry, out: &mut Output) -> Result<Stop, Error> {
        if self.joining.is_empty() {
            let (used, result) = self.side.work(record, plain, out);
            if result.is_ok() {
                self.joining.extend_from_slice(&record[used..]);
            }
            return result;
        }
        self.joining.extend_from_slice(record);
        let (used, result) = self.side.work(&mut self.joining, plain, out);
        self.joining.drain(..used);
        if self.joining.is_empty() {
            self.joining = Vec::new();
        }
        result
    }
    /// Encrypts `bytes` straight into `out`.
    pub(crate) fn seal(&mut self, bytes: &[u8], out: &mut Output) -> Result<(), Close> {
        self.write(&Job::Encrypt(bytes), out)
    }
    /// Says that nothing more will come from us, if the handshake has come so far that it can be said.
    pub(crate) fn close_notify(&mut self, out: &mut Output) {
        // It fails where an alert has said more already.
        let _ = self.write(&Job::CloseNotify, out);
    }
    /// Sends the alert of an error.
    pub(crate) fn flush(&mut self, out: &mut Output) {
        // Only while something is queued: with that, the library looks at no input.
        while self.common().wants_write() {
            if self.side.step(&mut [], &mut Carry::default(), out, &Job::Nothing).1.is_err() {
                break;
            }
        }
    }
    fn write(&mut self, job: &Job<'_>, out: &mut Output) -> Result<(), Close> {
        let mut nothing = Carry::default();
        loop {
            let (used, step) = self.side.step(&mut self.joining, &mut nothing, out, job);
            debug_assert!(nothing.is_empty(), "what could be decrypted was");
            self.joining.drain(..used);
            match step {
                Ok(Step::More) => {}
                Ok(Step::Stop(_)) => return Ok(()),
                Ok(Step::Exhausted) => return Err(Close::Protocol("the keys are used up".into())),
                Err(error) => return Err(reason(&error)),
            }
        }
    }
    fn common(&self) -> &rustls::CommonState {
        match &self.side {
            Side::Client(side, _) => side,
            Side::Server(side) => side,
        }
    }

    /// What the handshake showed; `asked` is the name a client asked us for.
    pub(crate) fn facts(&self, asked: Option<Box<str>>) -> TlsFacts {
        let common = self.common();
        let server_name = match &self.side {
            Side::Client(_, ServerName::DnsName(name)) => Some(name.as_ref().into()),
            Side::Client(..) => None,
            Side::Server(_) => asked,
        };
        let suite = common.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or_default();
        TlsFacts {
            server_name,
            alpn: common.alpn_protocol().map(Into::into),
            peer_chain: common.peer_certificates().unwrap_or_default().iter().map(|der| der.as_ref().into()).collect(),
            version: match common.protocol_version() {
                Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
                Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
                _ => "",
            },
            cipher_suite: registered(suite),
            group: common.negotiated_key_exchange_group().and_then(|group| group.name().as_str()).unwrap_or_default(),
            resumed: common.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        }
    }
}

impl Side {
    /// Lets the library work until it needs more. How many bytes it has used up, from the front.
    fn work(&mut self, bytes: &mut [u8], plain: &mut Carry, out: &mut Output) -> (usize, Result<Stop, Error>) {
        let mut used = 0;
        loop {
            let (more, step) = self.step(&mut bytes[used..], plain, out, &Job::Nothing);
            used += more;
            match step {
                Ok(Step::More) => {}
                Ok(Step::Stop(stop)) => return (used, Ok(stop)),
                Ok(Step::Exhausted) => unreachable!("nothing is encrypted here"),
                Err(error) => return (used, Err(error)),
            }
        }
    }
    fn step(
        &mut self,
        bytes: &mut [u8],
        plain: &mut Carry,
        out: &mut Output,
        job: &Job<'_>,
    ) -> (usize, Result<Step, Error>) {
        match self {
            Self::Client(side, _) => step(side.process_tls_records(bytes), plain, out, job),
            Self::Server(side) => step(side.process_tls_records(bytes), plain, out, job),
        }
    }
}

/// A cipher suite's name as IANA has it.
fn registered(suite: &'static str) -> &'static str {
    match suite {
        "TLS13_AES_128_GCM_SHA256" => "TLS_AES_128_GCM_SHA256",
        "TLS13_AES_256_GCM_SHA384" => "TLS_AES_256_GCM_SHA384",
        "TLS13_CHACHA20_POLY1305_SHA256" => "TLS_CHACHA20_POLY1305_SHA256",
        other => other,
    }
}

/// Does what the library's state asks for.
fn step<D>(
    status: UnbufferedStatus<'_, '_, D>,
    plain: &mut Carry,
    out: &mut Output,
    job: &Job<'_>,
) -> (usize, Result<Step, Error>) {
    let mut discard = status.discard;
    let state = match status.state {
        Ok(state) => state,
        Err(error) => return (discard, Err(error)),
    };
    let step = match state {
        ConnectionState::ReadTraffic(mut records) => {
            while let Some(record) = records.next_record() {
                match record {
                    Ok(record) => {
                        plain.keep(record.payload);
                        discard += record.discard;
                    }
                    Err(error) => return (discard, Err(error)),
                }
            }
            Step::More
        }
        ConnectionState::EncodeTlsData(data) => {
            encode(data, out);
            Step::More
        }
        ConnectionState::TransmitTlsData(transmit) => {
            transmit.done();
            Step::More
        }
        ConnectionState::PeerClosed => Step::Stop(Stop::PeerClosed),
        ConnectionState::WriteTraffic(traffic) => write(traffic, out, job),
        // Closed, BlockedHandshake; early data is never offered.
        _ => Step::Stop(Stop::Starved),
    };
    (discard, Ok(step))
}

fn encode<D>(mut data: EncodeTlsData<'_, D>, out: &mut Output) {
    out.render(|bytes| {
        let Err(EncodeError::InsufficientSize(need)) = data.encode(&mut []) else { return };
        let from = bytes.len();
        bytes.resize(from + need.required_size, 0);
        let written = data.encode(&mut bytes[from..]).unwrap_or(0);
        bytes.truncate(from + written);
    });
}

fn write<D>(mut traffic: WriteTraffic<'_, D>, out: &mut Output, job: &Job<'_>) -> Step {
    let guess = match job {
        Job::Nothing => return Step::Stop(Stop::Starved),
        Job::Encrypt(bytes) => bytes.len() + RECORD_OVERHEAD * bytes.len().div_ceil(RECORD_BYTES_MAX),
        Job::CloseNotify => RECORD_OVERHEAD + 2,
    };
    let done = out.render(|bytes| {
        let from = bytes.len();
        let mut room = guess;
        loop {
            bytes.resize(from + room, 0);
            let written = match job {
                Job::Nothing => Ok(0),
                Job::Encrypt(plain) => traffic.encrypt(plain, &mut bytes[from..]),
                Job::CloseNotify => traffic.queue_close_notify(&mut bytes[from..]),
            };
            match written {
                Ok(written) => {
                    bytes.truncate(from + written);
                    return true;
                }
                Err(EncryptError::InsufficientSize(need)) if need.required_size > room => room = need.required_size,
                Err(EncryptError::InsufficientSize(_) | EncryptError::EncryptExhausted) => {
                    bytes.truncate(from);
                    return false;
                }
            }
        }
    });
    if done { Step::Stop(Stop::Starved) } else { Step::Exhausted }
}

/// Why a connection ends that failed so.
pub(crate) fn reason(error: &Error) -> Close {
    let text = match error {
        Error::AlertReceived(alert) => {
            let name = alert.as_str().map_or_else(|| format!("{alert:?}"), words);
            format!("the peer gave up with the TLS alert \"{name}\"")
        }
        Error::InvalidCertificate(why) => format!("the peer's certificate is not to be trusted: {why}"),
        Error::NoCertificatesPresented => "the peer showed no certificate".into(),
        Error::DecryptError => "a TLS record was damaged on its way".into(),
        Error::PeerIncompatible(why) => format!("no TLS both sides can speak: {why:?}"),
        Error::NoApplicationProtocol => "no application protocol (ALPN) in common".into(),
        Error::InvalidMessage(why) => format!("a malformed TLS message: {why:?}"),
        Error::PeerMisbehaved(why) => format!("the peer broke TLS: {why:?}"),
        Error::PeerSentOversizedRecord => "a TLS record over its greatest length".into(),
        other => format!("TLS: {other}"),
    };
    Close::Protocol(text.into())
}

/// `HandshakeFailure` as `handshake failure`, `UnknownCA` as `unknown ca`.
fn words(name: &str) -> String {
    let mut words = String::with_capacity(name.len() + 4);
    let mut was_small = false;
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && was_small {
            words.push(' ');
        }
        was_small = !letter.is_ascii_uppercase();
        words.push(letter.to_ascii_lowercase());
    }
    words
}
