//! What a shard sends: what to do next for a connection, what the kernel took, and the close routine.
use super::{Shard, Step};
use crate::slot::Phase;
use sotong_session::{Close, Limits, Service, Wire};

/// So many bytes of a file cost as much of a turn as one that is copied: the kernel sends its pages as they are, and a file in
/// small pieces costs half as much again. (Its head goes by itself before it: pages that share packets with a head have to be
/// cut, which costs more than the packet.)
const FILE_BYTES_A_BYTE: u64 = 16;

impl<S: Service, W> Shard<S, W> {
    /// Bytes of a file that one connection may send in one turn (rule D9).
    pub fn turn_file_bytes_max(&self) -> u64 {
        (self.limits.turn_bytes_max as u64).saturating_mul(FILE_BYTES_A_BYTE)
    }
    /// What to do for a connection; ask until it says [`Step::Wait`].
    pub fn next(&mut self, slot: u32) -> Step {
        loop {
            let (now, turn) = (self.now, self.turn);
            let Limits { linger, linger_bytes_max, turn_bytes_max, .. } = self.limits;
            let Some(entry) = self.slot_mut(slot) else { return Step::Wait };
            let records = entry.wire == Wire::Records;
            if matches!(entry.phase, Phase::Over(_)) {
                return Step::Close;
            }
            if !entry.out.is_empty() && (!records || entry.out.has_record()) {
                if entry.flags.blocked {
                    self.arm(slot);
                    return Step::Wait;
                }
                if entry.spent.0 == turn && entry.spent.1 as usize >= turn_bytes_max {
                    // Its share of this turn is spent (rule D9). Its deadline counts all the same: it may never come to rest.
                    self.arm(slot);
                    self.later.push(slot);
                    return Step::Wait;
                }
                return match (records, entry.out.front_file().is_some()) {
                    (true, _) => Step::SendRecord,
                    (false, true) => Step::SendFile,
                    (false, false) => Step::Send,
                };
            }
            let finished = entry.out.is_finished() && !records;
            match &mut entry.phase {
                Phase::Open if finished && entry.flags.end_shown => self.finish(slot, Close::Done),
                Phase::Open if finished && !entry.flags.half_closed => return Step::HalfClose,
                Phase::Open => {
                    self.settle(slot);
                    return Step::Wait;
                }
                // Where the peer has ended too, closing says the same, and nothing can come that would be left unread.
                Phase::Flushing(_) if !records && !entry.flags.half_closed && !entry.flags.peer_ended => {
                    return Step::HalfClose;
                }
                Phase::Flushing(close) => {
                    let close = std::mem::replace(close, Close::Done);
                    entry.phase = if records || entry.flags.peer_ended {
                        Phase::Over(close)
                    } else {
                        Phase::Lingering { close, until: now + linger, left: linger_bytes_max }
                    };
                }
                Phase::Lingering { close, until, left } => {
                    if *left > 0 && *until > now && !entry.flags.peer_ended {
                        self.settle(slot);
                        return Step::Wait;
                    }
                    let close = std::mem::replace(close, Close::Done);
                    entry.phase = Phase::Over(close);
                }
                Phase::Over(_) => return Step::Close,
            }
        }
    }
    /// The kernel took `count` bytes of what was gathered.
    pub fn sent(&mut self, slot: u32, count: usize) {
        self.report_sent(slot, count);
        let Some(entry) = self.slot_mut(slot) else { return };
        entry.out.advance(count);
        self.progress(slot, count as u64, count);
    }
    /// The kernel took `count` bytes of the file range at the front.
    pub fn sent_file(&mut self, slot: u32, count: u64) {
        let Some(entry) = self.slot_mut(slot) else { return };
        entry.out.advance_file(count);
        self.progress(slot, count, (count / FILE_BYTES_A_BYTE) as usize);
    }
    /// The record at the front went, or was lost: a failed send costs the record, never the socket.
    pub fn sent_record(&mut self, slot: u32, delivered: bool) {
        let Some(entry) = self.slot_mut(slot) else { return };
        let count = entry.out.record_len();
        if delivered {
            self.report_sent(slot, count);
        } else {
            self.office.counters.records_dropped += 1;
        }
        let Some(entry) = self.slot_mut(slot) else { return };
        entry.out.advance_record();
        let count = if delivered { count } else { 0 };
        self.progress(slot, count as u64, count);
    }
    /// The kernel takes nothing for now: [`Self::writable`] ends that.
    pub fn blocked(&mut self, slot: u32) {
        let now = self.now;
        let Some(entry) = self.slot_mut(slot) else { return };
        entry.flags.blocked = true;
        // Being told "writable" and finding it is not true is no progress.
        if !std::mem::replace(&mut entry.flags.stuck, true) {
            entry.moved = now;
        }
        self.arm(slot);
    }
    /// The kernel takes output again.
    pub fn writable(&mut self, slot: u32) {
        let Some(entry) = self.slot_mut(slot) else { return };
        if std::mem::take(&mut entry.flags.blocked) {
            self.touch(slot);
        }
    }
    /// Whether output waits for the kernel.
    pub fn is_blocked(&self, slot: u32) -> bool {
        self.slot(slot).is_some_and(|entry| entry.flags.blocked)
    }
    /// Our direction is shut down, as [`Step::HalfClose`] asked.
    pub fn half_closed(&mut self, slot: u32) {
        if let Some(entry) = self.slot_mut(slot) {
            entry.flags.half_closed = true;
        }
    }
    fn report_sent(&mut self, slot: u32, count: usize) {
        if !self.payload {
            return;
        }
        if let Some(entry) = self.slot(slot) {
            let mut slices = Vec::new();
            entry.out.gather(&mut slices, 64);
            let mut bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            bytes.truncate(count);
            self.observer.sent(self.address(slot), &entry.peer, &bytes);
        }
    }
    fn progress(&mut self, slot: u32, count: u64, cost: usize) {
        let (now, turn) = (self.now, self.turn);
        self.office.counters.bytes_out += count;
        self.office.counters.sends += 1;
        let Some(entry) = self.slot_mut(slot) else { return };
        entry.moved = now;
        entry.flags.stuck = false;
        entry.bytes_out += count;
        // A record costs something even if it is empty.
        let cost = u32::try_from(cost).unwrap_or(u32::MAX).max(64);
        entry.spent = if entry.spent.0 == turn { (turn, entry.spent.1.saturating_add(cost)) } else { (turn, cost) };
        self.offer(slot);
    }
}
