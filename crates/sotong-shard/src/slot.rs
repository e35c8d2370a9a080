//! One connection's place in a shard.
use crate::peers::PeerKey;
use sotong_session::{Carry, Close, End, Limits, Moment, Output, Wants, Wire};

/// A connection, from its first byte to the end of the close routine.
pub(crate) struct Slot<S, W> {
    /// Distinguishes the sessions that have had this place; see [`sotong_session::Address`].
    pub(crate) turn: u32,
    /// `None` once it is over for the session.
    pub(crate) session: Option<S>,
    /// What it waits for, as it said right after its last event.
    pub(crate) wants: Wants,
    pub(crate) out: Output,
    pub(crate) carry: Carry,
    pub(crate) phase: Phase,
    /// What the driver keeps for this connection.
    pub(crate) io: W,
    pub(crate) peer: End,
    pub(crate) wire: Wire,
    pub(crate) flags: Flags,
    /// The soonest timer entry that is still meant.
    pub(crate) timer: Option<Moment>,
    /// When output last moved, or began to wait.
    pub(crate) moved: Moment,
    /// When the peer was last heard; for datagrams.
    pub(crate) heard: Moment,
    pub(crate) opened: Moment,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// Bytes that were waiting here when it was last looked at, as the process counts them.
    pub(crate) weighed: usize,
    /// Bytes sent in the turn whose number is beside it (rule D9).
    pub(crate) spent: (u32, u32),
    /// What tells this peer from others of its socket; for datagrams.
    pub(crate) key: Option<Box<PeerKey>>,
}

/// Where a connection is on its way from open to closed.
#[derive(Debug)]
pub(crate) enum Phase {
    /// The session lives.
    Open,
    /// It is over for the session; what is queued is still written, for as long as bytes move.
    Flushing(Close),
    /// Half-closed; what the peer still sends is thrown away until it ends, too much came, or time is up.
    Lingering { close: Close, until: Moment, left: usize },
    /// To be closed now.
    Over(Close),
}

#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own; all combinations occur")]
pub(crate) struct Flags {
    /// The session took input right after its last event.
    pub(crate) took: bool,
    /// The output was full right after some event (rule D11).
    pub(crate) full: bool,
    /// There are untaken bytes that have not been shown since input was last taken.
    pub(crate) unshown: bool,
    /// The peer has ended its direction.
    pub(crate) peer_ended: bool,
    /// The session knows.
    pub(crate) end_shown: bool,
    /// Our direction is shut down.
    pub(crate) half_closed: bool,
    /// The kernel takes no more output for now.
    pub(crate) blocked: bool,
    /// It took nothing since output last moved.
    pub(crate) stuck: bool,
    /// In the list of slots to be looked at.
    pub(crate) touched: bool,
}

impl<S, W> Slot<S, W> {
    /// Bytes that wait in memory: for the kernel, and for the session.
    pub(crate) fn weight(&self) -> usize {
        self.out.weight() + self.carry.len()
    }
    /// Whether the session takes input now, the shard's own reasons aside.
    pub(crate) fn takes(&self) -> bool {
        self.session.is_some() && self.wants.takes(&self.out)
    }
    /// The soonest moment at which something must happen.
    pub(crate) fn deadline(&self, limits: &Limits) -> Option<Moment> {
        let sooner = |a: Option<Moment>, b: Option<Moment>| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let stall = self.stalls(limits);
        match &self.phase {
            Phase::Open => {
                let idle = (self.wire == Wire::Records).then(|| self.heard + limits.udp_idle);
                sooner(sooner(self.wants.deadline, stall), idle)
            }
            Phase::Flushing(_) => stall,
            Phase::Lingering { until, .. } => Some(*until),
            Phase::Over(_) => None,
        }
    }
    /// When waiting output has waited too long.
    pub(crate) fn stalls(&self, limits: &Limits) -> Option<Moment> {
        (self.flags.blocked && !self.out.is_empty()).then(|| self.moved + limits.stall)
    }
}
