//! What one WebSocket may cost.
use crate::HttpLimits;
use std::time::Duration;

/// The limits of one [`WebSocket`](super::WebSocket). Each has an answer: a status, a close code, a closed connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WsLimits {
    /// Bytes of a message in all its fragments, and of what comes of it when it is inflated: 64 KiB, more than any line or
    /// paste of a person. It is the memory that one peer can fill. Answer: 1009.
    pub message_bytes_max: usize,
    /// Fragments of a message: 128, for a message of the greatest length in pieces of 512 bytes. Empty ones cost time and
    /// bring nothing. Answer: 1008.
    pub fragments_max: usize,
    /// From `Open` to the end of the opening handshake: 10 s, as for TLS. Absolute: a byte now and then puts nothing off.
    /// Answer: 408.
    pub upgrade: Duration,
    /// From the first Close frame, whoever sent it, to the end: 10 s. What our side has queued may take longer, for as long
    /// as the peer goes on reading it. `None` for clients whose user decides how long to wait.
    pub close: Option<Duration>,
    /// The head of the request, or of the answer to ours. Answers: 431, 414.
    pub head: HttpLimits,
}

impl Default for WsLimits {
    fn default() -> Self {
        Self {
            message_bytes_max: 64 << 10,
            fragments_max: 128,
            upgrade: Duration::from_secs(10),
            close: Some(Duration::from_secs(10)),
            head: HttpLimits::default(),
        }
    }
}

impl WsLimits {
    /// The smallest limits that are legal: what tests like best.
    pub fn smallest() -> Self {
        Self { message_bytes_max: 125, fragments_max: 2, head: HttpLimits::smallest(), ..Self::default() }
    }
}
