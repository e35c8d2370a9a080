//! What a run is like: all of it drawn from the seed, all of it open to change before the run.
use crate::Dice;
use sotong_session::{Limits, Marks};
use std::time::Duration;

/// What a run is like. [`Self::new`] draws everything from the seed; a test changes what it is about.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Where every choice of the run comes from.
    pub seed: u64,
    /// How many shards run side by side: 1 to 4.
    pub shards: u16,
    /// What the driver holds connections to: half of the seeds run with [`Limits::smallest`].
    pub limits: Limits,
    /// What the wires are like.
    pub wires: Wires,
    /// What goes wrong.
    pub faults: Faults,
    /// A rule the driver breaks on purpose, to see that it is noticed.
    pub sabotage: Option<Sabotage>,
    /// When the server is told to leave; it is as soon as nothing is left to happen, or at the horizon.
    pub stop_after: Option<Duration>,
    /// When a run ends at the latest: 10 minutes of virtual time.
    pub horizon: Duration,
    /// Things that may happen in a run before it is called endless: 400,000.
    pub steps_max: u64,
    /// Mail that may wait in one inbox beyond [`Limits::inbox_high`]: 1,024. What one event may send comes on top of the mark.
    pub inbox_slack: usize,
}

/// What the wires of a run are like. Slow by default: on a fast wire nothing ever waits.
#[derive(Clone, Copy, Debug)]
pub struct Wires {
    /// From one end to the other, at most.
    pub latency: Duration,
    /// What one byte takes: the inverse of the bandwidth.
    pub byte_time: Duration,
    /// The largest piece in which bytes travel; they are cut anywhere.
    pub piece_max: usize,
    /// Bytes the kernel takes from a sender before it says "not now".
    pub send_buffer: usize,
    /// Bytes the kernel keeps for a receiver before the sender must wait.
    pub receive_buffer: usize,
    /// Datagrams that are lost, come twice, and are overtaken, in a thousand.
    pub datagram_faults: u32,
}

/// What goes wrong in a run.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// Events in a thousand in which the session panics.
    pub panics: u32,
    /// Steps in a thousand after which a shard is not run for a while, up to 5 ms.
    pub pauses: u32,
    /// How often the civil clock jumps, in either direction.
    pub wall_jumps: u32,
    /// How often the monotonic clock jumps forward, as after a machine was suspended.
    pub clock_jumps: u32,
    /// When clocks begin to jump; within a second from then on they do.
    pub jumps_after: Duration,
    /// The first so many connections never panic: those of a test that must see the whole run.
    pub spares: usize,
}

impl Faults {
    /// Nothing goes wrong.
    pub const NONE: Self =
        Self { panics: 0, pauses: 0, wall_jumps: 0, clock_jumps: 0, jumps_after: Duration::ZERO, spares: 0 };
}

/// A rule of the contract that the simulated driver breaks on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sabotage {
    /// D1: sessions never hear that it is over.
    ForgetGone,
    /// D3: a byte of the input is lost, of a stream or of a record.
    LoseInput,
    /// D3: a piece of the input is shown twice, or a record.
    DoubleInput,
    /// D4: a session whose directions are independent is not read while its output is full.
    StopReadingWhenFull,
    /// D6: sessions never hear that their deadline has come.
    ForgetDeadline,
    /// D7: mail waits while the output is full.
    PauseMail,
    /// D7: the hard mark is far higher than it should be.
    NoHardMark,
    /// D8: a connection is closed while output is still queued.
    CloseBeforeFlush,
    /// D8: a connection is closed without shutting its direction down first.
    CloseWithoutHalfClose,
    /// D8: a connection is closed with input unread, which resets it.
    CloseWithoutLinger,
    /// L6: the driver adds words of its own after the session's last.
    SpeakAfterClose,
    /// D9: one connection may use the shard for as long as it likes.
    NoBudget,
    /// D10: a session that panicked stays a member of its topics, though the service is told.
    KeepTopicsAfterPanic,
    /// D10: the service is not told that a session panicked.
    ForgetLost,
    /// D12a: output goes to the kernel before the mail of the turn is in the inboxes.
    FlushBeforeMail,
    /// D12b: bytes are shown before mail that came before them.
    ShowBeforeInbox,
    /// D12c: mail is lost.
    DropMail,
    /// D12c: mail comes twice.
    DoubleMail,
    /// D12c: two pieces of mail change places.
    SwapMail,
    /// D14: input is shown although another shard's inbox is above its mark.
    IgnoreHold,
}

impl Sabotage {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::ForgetGone,
        Self::LoseInput,
        Self::DoubleInput,
        Self::StopReadingWhenFull,
        Self::ForgetDeadline,
        Self::PauseMail,
        Self::NoHardMark,
        Self::CloseBeforeFlush,
        Self::CloseWithoutHalfClose,
        Self::CloseWithoutLinger,
        Self::SpeakAfterClose,
        Self::NoBudget,
        Self::KeepTopicsAfterPanic,
        Self::ForgetLost,
        Self::FlushBeforeMail,
        Self::ShowBeforeInbox,
        Self::DropMail,
        Self::DoubleMail,
        Self::SwapMail,
        Self::IgnoreHold,
    ];
}

impl Setup {
    /// Draws a run from `seed`.
    pub fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let micros = |range: &[u64], dice: &mut Dice| Duration::from_micros(dice.one_of(range));
        Self {
            seed,
            shards: dice.one_of(&[1, 2, 2, 3, 3, 4]),
            limits: if dice.chance(500) { Limits::smallest() } else { random_limits(&mut dice) },
            wires: Wires {
                latency: micros(&[0, 1, 5, 50, 1_000, 40_000], &mut dice),
                byte_time: Duration::from_nanos(dice.one_of(&[0, 10, 1_000, 100_000])),
                piece_max: dice.one_of(&[1, 7, 64, 1_460]),
                send_buffer: dice.one_of(&[1, 50, 300, 4_096]),
                receive_buffer: dice.one_of(&[1, 50, 300, 4_096]),
                datagram_faults: dice.one_of(&[0, 50, 300]),
            },
            faults: Faults {
                panics: dice.one_of(&[0, 0, 5, 20]),
                pauses: dice.one_of(&[0, 10, 50]),
                wall_jumps: dice.one_of(&[0, 3]),
                clock_jumps: dice.one_of(&[0, 0, 0, 2]),
                ..Faults::NONE
            },
            sabotage: None,
            stop_after: dice.chance(200).then(|| Duration::from_micros(dice.between(1, 200_000))),
            horizon: Duration::from_secs(600),
            steps_max: 400_000,
            inbox_slack: 1024,
        }
    }
    /// The same run without faults.
    #[must_use]
    pub fn without_faults(mut self) -> Self {
        self.faults = Faults::NONE;
        self.stop_after = None;
        self
    }
    /// The limits the driver is given: other ones than it should have, if that is the sabotage.
    pub(crate) fn driver_limits(&self) -> Limits {
        let mut limits = self.limits;
        match self.sabotage {
            Some(Sabotage::NoHardMark) => limits.marks.hard = usize::MAX >> 1,
            Some(Sabotage::NoBudget) => limits.turn_bytes_max = usize::MAX >> 1,
            Some(Sabotage::IgnoreHold) => limits.inbox_high = usize::MAX,
            _ => {}
        }
        limits
    }
}

/// Legal limits, small enough to be met.
fn random_limits(dice: &mut Dice) -> Limits {
    let low = dice.between(0, 200) as usize;
    let high = low + dice.between(1, 500) as usize;
    // A service's longest answer must fit above the high mark.
    let hard = high + dice.between(4_000, 20_000) as usize;
    Limits {
        marks: Marks { low, high, hard },
        untaken_bytes_max: dice.between(2_048, 10_000) as usize,
        turn_bytes_max: dice.between(1, 2_000) as usize,
        linger: Duration::from_millis(dice.between(0, 2_000)),
        linger_bytes_max: dice.between(0, 2_000) as usize,
        drain: Duration::from_millis(dice.between(0, 20_000)),
        udp_peers_max: dice.between(1, 8) as usize,
        udp_idle: Duration::from_millis(dice.between(1, 60_000)),
        inbox_high: dice.between(1, 50) as usize,
        mail_per_mail_max: dice.between(8, 64) as usize,
        memory_max: match dice.between(0, 3) {
            0 => dice.between(hard as u64, 8 * hard as u64) as usize,
            _ => Limits::default().memory_max,
        },
        ..Limits::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_draws_legal_limits() {
        for seed in 0..1000 {
            Setup::new(seed).limits.check().expect("the limits of a run are legal");
        }
    }
}
