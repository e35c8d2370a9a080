//! What the ring does for one connection: receiving into the pool, sending from its output, and ending both.
use super::{
    Loop, WRITABLE,
    ring::Completion,
    token::{Kind, TURN_MASK, Token},
};
use crate::{
    conn::{self, Io},
    readiness::LARGE_BYTES,
    server::Context,
};
use rustix::event::PollFlags;
use sotong_session::Service;
use sotong_shard::{Reads, Step};
use std::{
    io,
    num::NonZeroU32,
    os::fd::{AsRawFd, RawFd},
};

/// What the ring does for the connection of a slot. A slot is empty, or a datagram socket's peer, when nothing is under way.
#[derive(Debug, Default)]
pub(super) struct Port {
    /// Tells the connections of this slot apart.
    turn: u32,
    receive: Receive,
    watch: Watch,
    /// So many bytes have been handed over to be sent, or will be at the end of this turn.
    sending: Option<NonZeroU32>,
    /// Polled for room.
    is_polled: bool,
    /// Its last receive left nothing behind. Others are received from a buffer at a time where receives have no limit.
    is_calm: bool,
    /// In the list of those with bytes to be shown.
    is_ready: bool,
    /// How many bytes were shown in which turn of the loop (rule D9).
    shown: (u32, u32),
    stash: Option<Box<Stash>>,
}

/// A multishot receive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Receive {
    #[default]
    Off,
    On,
    /// To be cancelled: more may have come before it is.
    Ending,
}

/// A poll for failures of a connection that nobody receives on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Watch {
    #[default]
    Off,
    On,
    /// It has told what there is to tell.
    Over,
}

/// Bytes that came and could not be shown: at most what one call brought, for then the receive is cancelled.
#[derive(Debug, Default)]
struct Stash {
    bytes: Vec<u8>,
    /// So many have been shown.
    at: usize,
    tail: Tail,
}

/// What came behind the bytes of a stash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Tail {
    /// More, if there is any.
    #[default]
    Open,
    /// The end of the peer's direction.
    End,
    /// The connection's end, by an error of this number: its last words are heard before.
    Error(i32),
}

const FAILED: u32 = PollFlags::ERR.bits() as u32;

impl<S: Service> Loop<'_, S> {
    fn port(&mut self, slot: u32) -> &mut Port {
        let needed = slot as usize + 1;
        if self.ports.len() < needed {
            self.ports.resize_with(needed, Port::default);
        }
        &mut self.ports[slot as usize]
    }
    /// The slot that a completion is for, if the connection is still the same.
    fn slot_of(&mut self, token: Token) -> Option<u32> {
        let port = self.ports.get(token.index as usize)?;
        (port.turn == token.turn).then_some(token.index)
    }

    // Input.

    /// A receive brought something, or is over.
    pub(super) fn received(&mut self, completion: Completion) {
        let Completion { token, result, more, rest, filled } = completion;
        if let Some(slot) = self.slot_of(token) {
            self.port(slot).is_calm = !rest;
            if !more {
                self.port(slot).receive = Receive::Off;
                // Somebody has to receive on, or to look after it.
                self.shard.touch(slot);
            }
            match (result, filled) {
                (Ok(0), _) => self.ended(slot, Tail::End),
                (Ok(_), Some(filled)) => self.came(slot, filled),
                (Ok(_), None) => tracing::error!("a receive without its bytes"),
                // They are free again at the end of this turn.
                (Err(libc::ENOBUFS), _) => self.ring.starved(),
                // Cancelled by us; nothing there after all.
                (Err(libc::ECANCELED | libc::EAGAIN | libc::EINTR), _) => {}
                (Err(errno), _) => self.ended(slot, Tail::Error(errno)),
            }
        }
        if let Some(filled) = filled {
            self.ring.release(filled);
        }
    }
    fn ended(&mut self, slot: u32, tail: Tail) {
        match (&mut self.port(slot).stash, tail) {
            (Some(stash), _) => stash.tail = tail,
            (None, Tail::Open) => {}
            (None, Tail::End) => self.shard.end(slot),
            (None, Tail::Error(errno)) => self.failed(slot, errno),
        }
    }
    fn failed(&mut self, slot: u32, errno: i32) {
        self.shard.fail(slot, conn::close_of(&io::Error::from_raw_os_error(errno)));
    }
    /// Bytes came: they are shown where they are, or move to the connection's own memory and end the receive.
    fn came(&mut self, slot: u32, filled: super::pool::Filled) {
        let (turn, most) = (self.turn, self.context.options.limits.turn_bytes_max);
        let port = self.port(slot);
        let shown = if port.shown.0 == turn { port.shown.1 } else { 0 };
        let room = if port.stash.is_some() { 0 } else { most.saturating_sub(shown as usize) };
        let reads = self.shard.reads(slot);
        let bytes = self.ring.bytes(filled);
        let (now, later) = match reads {
            Reads::Show | Reads::Discard(_) => bytes.split_at_mut(room.min(bytes.len())),
            Reads::No | Reads::Later => bytes.split_at_mut(0),
        };
        let (count, is_late) = (now.len(), !later.is_empty());
        if is_late {
            self.ports[slot as usize].stash.get_or_insert_default().bytes.extend_from_slice(later);
        }
        if count > 0 {
            self.ports[slot as usize].shown = (turn, shown + count as u32);
            match reads {
                Reads::Discard(_) => self.shard.discarded(slot, count),
                Reads::Show | Reads::No | Reads::Later => self.shard.input(slot, now),
            }
        }
        if is_late {
            self.stop_receiving(slot);
            self.enqueue(slot);
        }
        if !Context::<S>::has_mail() {
            self.send_large(slot);
        }
    }
    /// Sends a large answer by a call of its own, where no mail can be on its way that must go before it (rule D12a): many of
    /// them, kept to the end of the turn, would push each other out of the processor's caches.
    fn send_large(&mut self, slot: u32) {
        let is_large = self.shard.peek(slot).is_some_and(|(out, _)| out.len() >= LARGE_BYTES);
        if is_large && self.port(slot).sending.is_none() && self.shard.next(slot) == Step::Send {
            conn::act(&mut self.shard, slot, Step::Send);
        }
    }
    fn stop_receiving(&mut self, slot: u32) {
        let port = &mut self.ports[slot as usize];
        if port.receive == Receive::On {
            port.receive = Receive::Ending;
            let token = Token::conn(Kind::Receive, slot, port.turn);
            self.ring.cancel(token);
        }
    }
    /// Puts a connection on the list of those with something to be shown, if it wants to see it.
    fn enqueue(&mut self, slot: u32) {
        if self.shard.reads(slot) != Reads::No && !std::mem::replace(&mut self.port(slot).is_ready, true) {
            self.ready.push_back(slot);
        }
    }
    /// Shows what waits in memory of its own, as much of each connection as of a receive (rule D9).
    pub(super) fn show_what_waits(&mut self) {
        if self.shard.is_held() {
            return;
        }
        for _ in 0..self.ready.len() {
            let Some(slot) = self.ready.pop_front() else { break };
            self.port(slot).is_ready = false;
            self.show_stash(slot);
        }
    }
    fn show_stash(&mut self, slot: u32) {
        let (turn, most) = (self.turn, self.context.options.limits.turn_bytes_max);
        let reads = self.shard.reads(slot);
        // Whoever waited for the shard's sake goes on receiving.
        self.shard.touch(slot);
        let port = self.port(slot);
        let Some(mut stash) = port.stash.take() else { return };
        let left = stash.bytes.len() - stash.at;
        let count = if port.shown.0 == turn { 0 } else { left.min(most) };
        let (from, to) = (stash.at, stash.at + count);
        match reads {
            Reads::Show if count > 0 => self.shard.input(slot, &mut stash.bytes[from..to]),
            Reads::Discard(_) if count > 0 => self.shard.discarded(slot, count),
            Reads::Show | Reads::Discard(_) | Reads::No | Reads::Later => {
                self.ports[slot as usize].stash = Some(stash);
                return self.enqueue(slot);
            }
        }
        let port = &mut self.ports[slot as usize];
        port.shown = (turn, count as u32);
        stash.at = to;
        if to < stash.bytes.len() {
            port.stash = Some(stash);
            self.enqueue(slot);
        } else {
            self.ended(slot, stash.tail);
        }
    }

    // Output.

    /// Does what the shard asks for every connection that something happened to.
    pub(super) fn flush(&mut self) {
        loop {
            while let Some(slot) = self.shard.touched() {
                self.flush_slot(slot);
            }
            if !conn::send_records(&mut self.shard, &mut self.udp) {
                return;
            }
        }
    }
    fn flush_slot(&mut self, slot: u32) {
        // What is on its way must not be touched; when it has gone, the slot is looked at again.
        while self.port(slot).sending.is_none() {
            match self.shard.next(slot) {
                Step::Wait => return self.settle(slot),
                Step::Close => return self.close(slot),
                Step::Send => self.send(slot),
                Step::SendFile => {
                    self.set_nonblocking(slot, true);
                    conn::act(&mut self.shard, slot, Step::SendFile);
                    self.set_nonblocking(slot, false);
                }
                Step::SendRecord => return conn::post_record(&mut self.shard, slot, &mut self.udp),
                step => conn::act(&mut self.shard, slot, step),
            }
        }
    }
    /// Hands the front of the output to the ring, or, where it is in pieces, to the kernel at once.
    fn send(&mut self, slot: u32) {
        let token = Token::conn(Kind::Send, slot, self.port(slot).turn);
        let Some((out, Io::Stream(link))) = self.shard.output(slot) else { return };
        let Some(bytes) = out.front() else {
            return conn::act(&mut self.shard, slot, Step::Send);
        };
        // SAFETY: these bytes belong to the slot's output. Nothing touches it before the kernel has seen the send: until the
        // turn ends with `enter`, only `flush` goes on, which looks at a slot that is sending no more, and sessions called
        // for other slots reach this one only by mail, which a later turn delivers.
        unsafe { self.ring.send(link.socket.as_raw_fd(), bytes, token) };
        self.ports[slot as usize].sending = NonZeroU32::new(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    }
    /// A file is sent by a call that waits if its socket does.
    fn set_nonblocking(&mut self, slot: u32, nonblocking: bool) {
        if let Some(Io::Stream(link)) = self.shard.io(slot)
            && let Err(error) = link.socket.set_nonblocking(nonblocking)
        {
            self.shard.fail(slot, conn::close_of(&error));
        }
    }
    /// A send is over, in whole or in part.
    pub(super) fn sent(&mut self, completion: Completion) {
        let Some(slot) = self.slot_of(completion.token) else { return };
        let handed = self.port(slot).sending.take().map_or(0, NonZeroU32::get);
        match completion.result {
            Ok(count) => {
                self.shard.sent(slot, count as usize);
                if count < handed {
                    // The socket is full: the next one would say nothing else.
                    self.shard.blocked(slot);
                }
            }
            Err(libc::EAGAIN) => self.shard.blocked(slot),
            Err(libc::EINTR) => {}
            Err(errno) => self.failed(slot, errno),
        }
        // Mostly that was all, and the connection need not be looked at once more. Sends wait for the end of the turn.
        match self.shard.next(slot) {
            Step::Wait => self.settle(slot),
            _ => self.shard.touch(slot),
        }
    }
    /// A poll has told something.
    pub(super) fn polled(&mut self, completion: Completion) {
        let Some(slot) = self.slot_of(completion.token) else { return };
        let port = self.port(slot);
        if completion.token.kind == Kind::Writable {
            port.is_polled = false;
            self.shard.writable(slot);
        } else {
            port.watch = Watch::Over;
        }
        if completion.result.is_ok_and(|events| events & FAILED != 0) {
            conn::check(&mut self.shard, slot);
        }
    }

    // Between two turns.

    /// Nothing is to be done for a connection: the ring waits for what comes next.
    fn settle(&mut self, slot: u32) {
        let is_blocked = self.shard.is_blocked(slot);
        let port = &self.ports[slot as usize];
        if !is_blocked && port.receive == Receive::On {
            return;
        }
        let Some(fd) = self.fd(slot) else { return };
        let reads = self.shard.reads(slot);
        let port = &mut self.ports[slot as usize];
        let turn = port.turn;
        let token = |kind| Token::conn(kind, slot, turn);
        if is_blocked && !port.is_polled {
            self.ring.poll_once(fd, WRITABLE, token(Kind::Writable));
            port.is_polled = true;
        }
        match reads {
            Reads::No => {
                if let Some(Tail::Error(errno)) = port.stash.as_ref().map(|stash| stash.tail) {
                    // Its last words are taken by nobody: that must not hide its end.
                    return self.failed(slot, errno);
                }
                let is_seen = port.is_polled || port.receive != Receive::Off;
                if !is_seen && port.watch == Watch::Off {
                    self.ring.poll_once(fd, 0, token(Kind::Watch));
                    port.watch = Watch::On;
                }
            }
            _ if port.stash.is_some() || reads == Reads::Later => self.enqueue(slot),
            Reads::Show | Reads::Discard(_) | Reads::Later => {
                if port.receive == Receive::Off {
                    let once = !port.is_calm && !self.ring.limits_receives();
                    self.ring.receive(fd, once, token(Kind::Receive));
                    port.receive = Receive::On;
                }
            }
        }
    }
    fn fd(&mut self, slot: u32) -> Option<RawFd> {
        match self.shard.io(slot) {
            Some(Io::Stream(link)) => Some(link.socket.as_raw_fd()),
            Some(Io::Peer { .. }) | None => None,
        }
    }
    /// Takes a connection out. What is still under way for it is cancelled, and completes for nobody.
    fn close(&mut self, slot: u32) {
        let io = self.shard.remove(slot);
        let port = std::mem::take(&mut self.ports[slot as usize]);
        self.ports[slot as usize].turn = port.turn.wrapping_add(1) & TURN_MASK;
        self.ports[slot as usize].is_ready = port.is_ready;
        let under_way = [
            (port.receive != Receive::Off, Kind::Receive),
            (port.is_polled, Kind::Writable),
            (port.watch == Watch::On, Kind::Watch),
        ];
        let mut is_idle = true;
        for (_, kind) in under_way.into_iter().filter(|(is_on, _)| *is_on) {
            self.ring.cancel(Token::conn(kind, slot, port.turn));
            is_idle = false;
        }
        if !is_idle {
            self.closing.extend(io);
        }
    }
}
