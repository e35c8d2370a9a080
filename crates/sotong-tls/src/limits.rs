//! What a peer may cost before and beside the session inside.
use std::time::Duration;

/// The limits of one [`Tls`](crate::Tls) layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsLimits {
    /// From `Open` to the end of the handshake: 10 s, enough for a slow network, short for one who holds a place without
    /// saying who it is. Absolute: a byte now and then puts nothing off. Then the session ends as
    /// [`Close::Idle`](sotong_session::Close::Idle).
    pub handshake: Duration,
    /// After our close_notify has been sent, a peer that says nothing for this long is left, as
    /// [`Close::Idle`](sotong_session::Close::Idle): 10 s. `None` for clients whose user decides how long to wait.
    pub after_end: Option<Duration>,
    /// Decrypted bytes the inner session may leave untaken before it is closed as
    /// [`Close::Limit`](sotong_session::Close::Limit)`("untaken_bytes_max")`: 1 MiB, as for drivers. Services close earlier
    /// by their own limits.
    pub untaken_bytes_max: usize,
}

impl Default for TlsLimits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            after_end: Some(Duration::from_secs(10)),
            untaken_bytes_max: 1 << 20,
        }
    }
}
