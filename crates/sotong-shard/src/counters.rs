//! What a shard has done, in numbers.
use sotong_session::{Close, Map};

/// Counts of one shard; added up by the driver when it stops.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections and UDP peers that were opened.
    pub opened: u64,
    /// Peers the service refused at the door.
    pub refused: u64,
    /// Connections that ended, by [`Close::word`].
    pub closed: Map<&'static str, u64>,
    /// Sessions that panicked.
    pub panics: u64,
    /// Rules of the contract that a session broke; each cost that session.
    pub broken: u64,
    /// Bytes received from peers.
    pub bytes_in: u64,
    /// Bytes sent to peers.
    pub bytes_out: u64,
    /// Sends that the kernel took, in whole or in part.
    pub sends: u64,
    /// Entries this shard pushed into inboxes: one for each shard a publish went to, one for each post.
    pub entries_pushed: u64,
    /// Mail handed to sessions.
    pub mail_delivered: u64,
    /// Mail to addresses that were gone.
    pub mail_dropped: u64,
    /// Datagrams dropped because their session took no input, and records the kernel refused to send.
    pub records_dropped: u64,
    /// UDP peers that were pushed out by newer ones.
    pub peers_evicted: u64,
    /// Times a shard held its input back because another's inbox was above its mark (rule D14).
    pub held: u64,
    /// Connections that were cut off because the drain limit passed.
    pub cut_at_drain: u64,
    /// Connections that were cut off because too much waited in memory ([`sotong_session::Limits::memory_max`]).
    pub cut_for_memory: u64,
}

impl Counters {
    /// Counts a connection's end.
    pub(crate) fn close(&mut self, close: &Close) {
        *self.closed.entry(close.word()).or_default() += 1;
    }
    /// Adds another shard's counts.
    pub fn add(&mut self, other: &Self) {
        let Self { closed, .. } = other;
        for (word, count) in closed {
            *self.closed.entry(word).or_default() += count;
        }
        for (mine, theirs) in self.plain_mut().into_iter().zip(other.clone().plain_mut()) {
            *mine += *theirs;
        }
    }
    /// The counts as one line, for another process; [`Self::decode`] reads it.
    pub fn encode(&self) -> String {
        let plain = self.clone().plain_mut().map(|count| count.to_string()).join(" ");
        self.closed.iter().fold(plain, |line, (word, count)| format!("{line} {word}={count}"))
    }
    /// Counts that [`Self::encode`] wrote; `None` if it is something else.
    pub fn decode(line: &str) -> Option<Self> {
        let mut counters = Self::default();
        let mut words = line.split(' ');
        for place in counters.plain_mut() {
            *place = words.next()?.parse().ok()?;
        }
        for word in words {
            let (word, count) = word.split_once('=')?;
            let word = Close::WORDS.into_iter().find(|known| *known == word)?;
            counters.closed.insert(word, count.parse().ok()?);
        }
        Some(counters)
    }
    fn plain_mut(&mut self) -> [&mut u64; 15] {
        [
            &mut self.opened,
            &mut self.refused,
            &mut self.panics,
            &mut self.broken,
            &mut self.bytes_in,
            &mut self.bytes_out,
            &mut self.sends,
            &mut self.entries_pushed,
            &mut self.mail_delivered,
            &mut self.mail_dropped,
            &mut self.records_dropped,
            &mut self.peers_evicted,
            &mut self.held,
            &mut self.cut_at_drain,
            &mut self.cut_for_memory,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_go_through_a_line_of_text() {
        let mut counters = Counters::default();
        assert_eq!(Counters::decode(&counters.encode()), Some(counters.clone()));
        for (number, place) in (1..).zip(counters.plain_mut()) {
            *place = number;
        }
        counters.close(&Close::Done);
        counters.close(&Close::Fault("x"));
        assert_eq!(Counters::decode(&counters.encode()), Some(counters));
        for other in ["", "1 2 3", &format!("{} x=1", Counters::default().encode()), "x"] {
            assert_eq!(Counters::decode(other), None, "{other}");
        }
    }
}
