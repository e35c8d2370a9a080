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
pub(crate) enum Engine {
    Client(UnbufferedClientConnection, ServerName<'static>),
    Server(UnbufferedServerConnection),
}

/// How far [`Engine::work`] has come.
pub(crate) struct Worked {
    /// Bytes used up, from the front.
    pub(crate) used: usize,
    /// Where it stopped.
    pub(crate) stop: Result<Stop, Error>,
}

/// Why [`Engine::work`] stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It needs more bytes.
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
        made.map(|made| Self::Client(made, name)).map_err(|error| reason(&error))
    }
    pub(crate) fn server(config: Arc<ServerConfig>) -> Result<Self, Close> {
        if config.max_early_data_size > 0 {
            return Err(Close::Fault("TLS early data is not taken: it can be replayed"));
        }
        UnbufferedServerConnection::new(config).map(Self::Server).map_err(|error| reason(&error))
    }
    pub(crate) fn is_handshaking(&self) -> bool {
        match self {
            Self::Client(side, _) => side.is_handshaking(),
            Self::Server(side) => side.is_handshaking(),
        }
    }

    /// Works through `bytes`: what it decrypts goes to `plain`, what it has to say itself to `out`.
    ///
    /// What was not used must be handed in again, as this left it, in front of what comes next. An alert that belongs to an
    /// error waits for [`Self::flush`].
    pub(crate) fn work(&mut self, bytes: &mut [u8], plain: &mut Carry, out: &mut Output) -> Worked {
        let mut used = 0;
        loop {
            let (discard, step) = self.step(&mut bytes[used..], plain, out, &Job::Nothing);
            used += discard;
            match step {
                Ok(Step::More) => {}
                Ok(Step::Stop(stop)) => return Worked { used, stop: Ok(stop) },
                Ok(Step::Exhausted) => unreachable!("nothing is encrypted here"),
                Err(error) => return Worked { used, stop: Err(error) },
            }
        }
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
    /// Sends what the library has queued: the alert of an error.
    pub(crate) fn flush(&mut self, out: &mut Output) {
        let mut nothing = Carry::default();
        while let (_, Ok(Step::More)) = self.step(&mut [], &mut nothing, out, &Job::Nothing) {}
    }
    fn write(&mut self, job: &Job<'_>, out: &mut Output) -> Result<(), Close> {
        let mut nothing = Carry::default();
        loop {
            match self.step(&mut [], &mut nothing, out, job).1 {
                Ok(Step::More) => {}
                Ok(Step::Stop(_)) => return Ok(()),
                Ok(Step::Exhausted) => return Err(Close::Protocol("the keys are used up".into())),
                Err(error) => return Err(reason(&error)),
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

    /// What the handshake showed; `asked` is the name a client asked us for.
    pub(crate) fn facts(&self, asked: Option<Box<str>>) -> TlsFacts {
        let (common, server_name): (&rustls::CommonState, _) = match self {
            Self::Client(side, ServerName::DnsName(name)) => (side, Some(name.as_ref().into())),
            Self::Client(side, _) => (side, None),
            Self::Server(side) => (side, asked),
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

/// `HandshakeFailure` as `handshake failure`.
fn words(name: &str) -> String {
    let mut words = String::with_capacity(name.len() + 4);
    for (at, letter) in name.char_indices() {
        if letter.is_ascii_uppercase() && at > 0 {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}
