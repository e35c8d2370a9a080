//! What one connection may cost.
use crate::Marks;
use std::time::Duration;

/// The limits a driver holds every connection to. Each has a name, a unit, a default and a reason.
///
/// A service's own limits (a line's length, a room's members) are the service's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Output at which a session stops being shown input, resumes, and is cut off: 64 KiB, 16 KiB, 1 MiB.
    pub marks: Marks,
    /// Bytes a session may leave untaken before it is closed: 1 MiB. A stream's unfinished unit must fit; services close
    /// earlier by their own limits.
    pub untaken_bytes_max: usize,
    /// Bytes read from one connection in one turn: 64 KiB. One hot connection cannot starve the others.
    pub turn_bytes_max: usize,
    /// Queued output that makes no progress for this long ends the connection: 10 s.
    pub stall: Duration,
    /// How long a closing connection's leftover input is awaited and thrown away: 1 s. Closing with unread input turns
    /// into a reset that eats the last words sent.
    pub linger: Duration,
    /// Leftover input thrown away while closing: 64 KiB.
    pub linger_bytes_max: usize,
    /// At shutdown, all connections together have this long to say goodbye: 10 s.
    pub drain: Duration,
    /// Peers remembered for one UDP socket: 16,384. The one idle for longest goes first.
    pub udp_peers_max: usize,
    /// A UDP peer is forgotten after this long without a datagram: 60 s.
    pub udp_idle: Duration,
    /// Pieces of mail waiting for one shard above which those who send to it are shown no input: 8,192.
    pub inbox_high: usize,
    /// Mail one session may send while it handles one piece of mail of another's: 64. Keeps mail from breeding. A desk's answer is
    /// the rest of an input, which has no such bound.
    pub mail_per_mail_max: usize,
    /// Bytes that may wait in memory for all connections of the process together, as output that the kernel does not take and
    /// as input that sessions leave untaken: 512 MiB; 0 is no bound. At 90 % whoever has most waiting is cut off ([`crate::Close::Slow`]),
    /// one after the other; at 95 % nobody is accepted.
    pub memory_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            marks: Marks::default(),
            untaken_bytes_max: 1 << 20,
            turn_bytes_max: 64 << 10,
            stall: Duration::from_secs(10),
            linger: Duration::from_secs(1),
            linger_bytes_max: 64 << 10,
            drain: Duration::from_secs(10),
            udp_peers_max: 16_384,
            udp_idle: Duration::from_secs(60),
            inbox_high: 8_192,
            mail_per_mail_max: 64,
            memory_max: 512 << 20,
        }
    }
}

impl Limits {
    /// The smallest limits that are legal: what the simulator likes best, since every queue is then nearly always full.
    pub fn smallest() -> Self {
        Self {
            marks: Marks { low: 16, high: 64, hard: 4096 },
            untaken_bytes_max: 2048,
            turn_bytes_max: 64,
            stall: Duration::from_secs(10),
            linger: Duration::from_millis(100),
            linger_bytes_max: 64,
            drain: Duration::from_secs(10),
            udp_peers_max: 2,
            udp_idle: Duration::from_secs(5),
            inbox_high: 4,
            mail_per_mail_max: 8,
            memory_max: 512 << 20,
        }
    }
    /// Bytes waiting above which whoever has most is cut off: 90 % of [`Self::memory_max`].
    pub fn memory_high(&self) -> usize {
        part_of(self.memory_max, 90)
    }
    /// Bytes waiting above which nobody is accepted: 95 % of [`Self::memory_max`].
    pub fn memory_full(&self) -> usize {
        part_of(self.memory_max, 95)
    }

    /// Whether the limits can work together.
    ///
    /// # Errors
    /// Names the first that cannot.
    pub fn check(&self) -> Result<(), LimitsError> {
        let Marks { low, high, hard } = self.marks;
        if !(low < high && high < hard) {
            return Err(LimitsError::Marks { low, high, hard });
        }
        for (name, value) in [
            ("untaken_bytes_max", self.untaken_bytes_max),
            ("turn_bytes_max", self.turn_bytes_max),
            ("udp_peers_max", self.udp_peers_max),
            ("inbox_high", self.inbox_high),
            ("mail_per_mail_max", self.mail_per_mail_max),
        ] {
            if value == 0 {
                return Err(LimitsError::Zero(name));
            }
        }
        Ok(())
    }
}

/// So many percent of a bound; of none, none.
fn part_of(max: usize, percent: usize) -> usize {
    if max == 0 { usize::MAX } else { max / 100 * percent + max % 100 * percent / 100 }
}

/// Limits that cannot work together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitsError {
    /// The output marks must rise: low < high < hard.
    Marks {
        /// The low mark, bytes.
        low: usize,
        /// The high mark, bytes.
        high: usize,
        /// The hard mark, bytes.
        hard: usize,
    },
    /// The named limit must not be 0.
    Zero(&'static str),
}

impl std::fmt::Display for LimitsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Marks { low, high, hard } => {
                write!(f, "output marks must rise: low {low} < high {high} < hard {hard} bytes")
            }
            Self::Zero(name) => write!(f, "{name} must be at least 1"),
        }
    }
}
impl std::error::Error for LimitsError {}
