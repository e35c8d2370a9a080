//! Who is heard on which datagram socket, and who has been silent for longest.
use sotong_session::{End, Map, Way};
use std::net::SocketAddr;

const NONE: u32 = u32::MAX;

/// What tells a peer from all others: the socket, and both ends. A socket that hears several of our addresses has a
/// conversation for each.
///
/// It is looked up for each datagram, so addresses are kept as numbers, what differs most in front.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PeerKey {
    Net { remote: NetEnd, socket: u32, local: NetEnd },
    Other { remote: End, socket: u32, local: End },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NetEnd {
    port: u16,
    /// The kind of address, and an IPv6 scope.
    kind: u64,
    ip: u128,
}

impl NetEnd {
    fn new(address: &SocketAddr) -> Self {
        match address {
            SocketAddr::V4(v4) => Self { port: v4.port(), kind: 0, ip: v4.ip().to_bits().into() },
            SocketAddr::V6(v6) => {
                Self { port: v6.port(), kind: 1 << 32 | u64::from(v6.scope_id()), ip: v6.ip().to_bits() }
            }
        }
    }
}

impl PeerKey {
    pub(crate) fn new(socket: u32, way: &Way) -> Self {
        match (&way.remote, &way.local) {
            (End::Net(remote), End::Net(local)) => {
                Self::Net { remote: NetEnd::new(remote), socket, local: NetEnd::new(local) }
            }
            (remote, local) => Self::Other { remote: remote.clone(), socket, local: local.clone() },
        }
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
    use sotong_session::Wire;

    fn key(number: u32) -> PeerKey {
        PeerKey::Other { remote: End::Simulated(number), socket: 0, local: End::Pipe }
    }

    #[test]
    fn whatever_differs_is_another_peer() {
        let key = |socket, remote: &str, local: &str| {
            let end = |text: &str| End::Net(text.parse().unwrap());
            PeerKey::new(socket, &Way::new(end(local), end(remote), Wire::Records))
        };
        let all = [
            key(0, "1.2.3.4:5", "9.9.9.9:7"),
            key(1, "1.2.3.4:5", "9.9.9.9:7"),
            key(0, "1.2.3.4:6", "9.9.9.9:7"),
            key(0, "1.2.3.5:5", "9.9.9.9:7"),
            key(0, "1.2.3.4:5", "9.9.9.8:7"),
            key(0, "[::102:304]:5", "9.9.9.9:7"),
            key(0, "[fe80::1%1]:5", "[::1]:7"),
            key(0, "[fe80::1%2]:5", "[::1]:7"),
        ];
        for (at, one) in all.iter().enumerate() {
            assert_eq!(all.iter().position(|other| other == one), Some(at));
        }
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
