//! What a shard tells those who log.
use sotong_session::{Address, Close, End, Way};
use std::time::Duration;

/// Hears of connections. Called on the shard's thread: it must not block.
pub trait Observer: Send + Sync {
    /// A connection was opened, or a UDP peer first heard.
    fn opened(&self, who: Address, way: &Way);
    /// A connection is over.
    fn closed(&self, closed: &Closed<'_>);
    /// Whether [`Self::received`] and [`Self::sent`] are wanted; asked once, when the shard is made.
    fn wants_payload(&self) -> bool {
        false
    }
    /// Bytes came from a peer.
    fn received(&self, _who: Address, _peer: &End, _bytes: &[u8]) {}
    /// Bytes went to a peer.
    fn sent(&self, _who: Address, _peer: &End, _bytes: &[u8]) {}
    /// A session panicked: a fault of the program, to be told loudly.
    fn panicked(&self, _who: Address, _peer: &End, _what: &str) {}
}

/// How a connection went.
#[derive(Debug)]
pub struct Closed<'a> {
    /// Its session's address.
    pub who: Address,
    /// The other end.
    pub peer: &'a End,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// How long it was open.
    pub duration: Duration,
    /// Why it ended.
    pub reason: &'a Close,
}

/// Logs nothing.
#[derive(Debug)]
pub struct Silent;
impl Observer for Silent {
    fn opened(&self, _: Address, _: &Way) {}
    fn closed(&self, _: &Closed<'_>) {}
}
