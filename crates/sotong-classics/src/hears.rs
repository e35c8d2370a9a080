//! How a peer is heard, and whether it may be answered.
use sotong_session::{End, Output, Way, Wire};

/// How a session hears its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hears {
    /// Bytes in order.
    Stream,
    /// Datagrams (or other records), each answered.
    Records,
    /// Datagrams from a port whose service answers everything itself: never answered.
    Loop,
}

/// Echo, daytime, quote of the day, chargen and time (RFC 862, 867, 865, 864, 868).
const ANSWERING_PORTS: [u16; 5] = [7, 13, 17, 19, 37];

impl Hears {
    pub(crate) fn of(way: &Way) -> Self {
        match (way.wire, &way.remote) {
            (Wire::Stream, _) => Self::Stream,
            (Wire::Records, End::Net(from)) if ANSWERING_PORTS.contains(&from.port()) => Self::Loop,
            (Wire::Records, _) => Self::Records,
        }
    }
}

/// What a cut may weigh against the marks.
const CUT_BYTES: usize = 64;

/// Whether a record of `count` bytes fits into an output that is not full. One that does not is lost, as datagrams may be.
pub(crate) fn fits(out: &Output, count: usize) -> bool {
    let marks = out.marks();
    count + CUT_BYTES <= marks.hard.saturating_sub(marks.high)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::net::SocketAddr;

    pub(crate) fn datagrams_from(port: u16) -> Way {
        let end = |port| End::Net(SocketAddr::from(([127, 0, 0, 1], port)));
        Way::new(end(7), end(port), Wire::Records)
    }

    #[test]
    fn only_datagrams_loop() {
        for port in ANSWERING_PORTS {
            let mut way = datagrams_from(port);
            assert_eq!(Hears::of(&way), Hears::Loop);
            way.wire = Wire::Stream;
            assert_eq!(Hears::of(&way), Hears::Stream);
        }
        assert_eq!(Hears::of(&datagrams_from(50_000)), Hears::Records);
        let unix = Way::new(End::Pipe, End::Unix { path: None, uid: None }, Wire::Records);
        assert_eq!(Hears::of(&unix), Hears::Records);
    }
}
