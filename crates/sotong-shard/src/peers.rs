//! Who is heard on which datagram socket, and who has been silent for longest.
use sotong_session::{End, Map, Way};

const NONE: u32 = u32::MAX;

/// What tells a peer from all others: the socket, and both ends. A socket that hears several of our addresses has a
/// conversation for each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PeerKey {
    pub(crate) socket: u32,
    pub(crate) remote: End,
    pub(crate) local: End,
}

impl PeerKey {
    pub(crate) fn new(socket: u32, way: &Way) -> Self {
        Self { socket, remote: way.remote.clone(), local: way.local.clone() }
    }
}

/// The peers of all datagram sockets of a shard, each with its slot, in the order in which they were last heard.
#[derive(Debug)]
pub(crate) struct Peers {
    slots: Map<PeerKey, u32>,
    /// A doubly linked list through the slots: the longest silent first.
    links: Vec<Link>,
    oldest: u32,
    newest: u32,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    before: u32,
    after: u32,
}

impl Default for Peers {
    fn default() -> Self {
        Self { slots: Map::new(), links: Vec::new(), oldest: NONE, newest: NONE }
    }
}

impl Peers {
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }
    pub(crate) fn find(&self, key: &PeerKey) -> Option<u32> {
        self.slots.get(key).copied()
    }
    pub(crate) fn add(&mut self, key: PeerKey, slot: u32) {
        let needed = slot as usize + 1;
        if self.links.len() < needed {
            self.links.resize(needed, Link { before: NONE, after: NONE });
        }
        self.slots.insert(key, slot);
        self.append(slot);
    }
    pub(crate) fn remove(&mut self, key: &PeerKey, slot: u32) {
        if self.slots.remove(key).is_some() {
            self.unlink(slot);
        }
    }
    /// `slot` was heard just now.
    pub(crate) fn heard(&mut self, slot: u32) {
        if self.newest != slot {
            self.unlink(slot);
            self.append(slot);
        }
    }
    /// The slot that has been silent for longest.
    pub(crate) fn oldest(&self) -> Option<u32> {
        (self.oldest != NONE).then_some(self.oldest)
    }

    fn append(&mut self, slot: u32) {
        self.links[slot as usize] = Link { before: self.newest, after: NONE };
        match self.newest {
            NONE => self.oldest = slot,
            newest => self.links[newest as usize].after = slot,
        }
        self.newest = slot;
    }
    fn unlink(&mut self, slot: u32) {
        let Link { before, after } = self.links[slot as usize];
        match before {
            NONE => self.oldest = after,
            before => self.links[before as usize].after = after,
        }
        match after {
            NONE => self.newest = before,
            after => self.links[after as usize].before = before,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> PeerKey {
        PeerKey { socket: 0, remote: End::Simulated(number), local: End::Pipe }
    }

    #[test]
    fn the_longest_silent_goes_first() {
        let mut peers = Peers::default();
        for slot in 0..4 {
            peers.add(key(slot), slot);
        }
        peers.heard(0);
        peers.heard(2);
        let mut order = Vec::new();
        while let Some(slot) = peers.oldest() {
            order.push(slot);
            peers.remove(&key(slot), slot);
        }
        assert_eq!(order, [1, 3, 0, 2]);
        assert_eq!(peers.len(), 0);
    }
}
