//! What one HTTP connection may cost.
use std::time::Duration;

/// The limits of an HTTP session. Each has an answer: a status, or a closed connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// Bytes of a request's head: 16 KiB, at most 64 KiB. Answer: 431.
    pub head_bytes_max: usize,
    /// Header fields of a request: 100, at most 100. Answer: 431.
    pub fields_max: usize,
    /// Bytes of a request's target: 8 KiB. Answer: 414.
    pub target_bytes_max: usize,
    /// A request's head has this long in all from its first byte on, however steadily it drips: 10 s. Answer: 408.
    pub head_time: Duration,
    /// An application has this long, without a word of its answer, for each thing that it waits for: 30 s. Answer: 503.
    pub answer_time: Duration,
    /// A body has this long without being measured: 10 s.
    pub body_time: Duration,
    /// From then on it must have come at this rate on average, bytes a second: 1 KiB. Answer: 408.
    pub body_rate_min: u64,
    /// Bytes of an unwanted body that are read away so that the connection can be kept: 64 KiB. Else it is closed.
    pub unwanted_bytes_max: u64,
    /// A connection without a request is closed after this long: 30 s.
    pub idle: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            head_bytes_max: 16 << 10,
            fields_max: 100,
            target_bytes_max: 8 << 10,
            head_time: Duration::from_secs(10),
            answer_time: Duration::from_secs(30),
            body_time: Duration::from_secs(10),
            body_rate_min: 1 << 10,
            unwanted_bytes_max: 64 << 10,
            idle: Duration::from_secs(30),
        }
    }
}

impl HttpLimits {
    /// The smallest limits that are legal: what tests like best.
    pub fn smallest() -> Self {
        Self { head_bytes_max: 512, fields_max: 8, target_bytes_max: 64, unwanted_bytes_max: 64, ..Self::default() }
    }
}
