//! Reading and writing both ends of a bridge.
use super::{Parcel, Passing, Run, State};
use crate::{bridge::passing::HEARD_BYTES_HIGH, conn::close_of};
use bytes::Bytes;
use rustix::event::PollFlags;
use sotong_net::pump::{Act, Came, Fault, FlowEnd, Went};
use sotong_session::{Close, Stream};
use sotong_shard::{Reads, Step};
use std::{
    io::{self, ErrorKind, IoSlice},
    time::Instant,
};

/// Bytes read of the near end at once: four full records of TLS.
const READ_BYTES: usize = 64 << 10;
/// Slices of one send.
const SLICES_MAX: usize = 16;

impl<S, L> Run<'_, S, L>
where
    S: Stream<Mail = Parcel> + 'static,
    L: FnOnce(Passing) -> Result<S, Close> + Send + 'static,
{
    // The near end.

    pub(super) fn may_read_near(&mut self) -> bool {
        self.forth.state == State::Runs
            && !self.far.sink_reset
            && self.news(|news| news.opened && news.gone.is_none())
            && self.shard.output(self.slot).is_some_and(|(out, _)| !out.is_full())
    }

    pub(super) fn read_near(&mut self) {
        if !self.may_read_near() {
            return;
        }
        let Some(reader) = self.reader.as_mut() else { return };
        let mut bytes = self.home.take();
        match reader.read(&mut bytes, READ_BYTES) {
            Came::Bytes(count) => {
                self.moved = Instant::now();
                self.forth.bytes += count as u64;
                let parcel = match self.forth.filter.pass(&bytes) {
                    Err(fault) => return self.forth_failed(fault),
                    Ok(passed) if passed.len() != count => Bytes::copy_from_slice(passed),
                    Ok(_) => self.home.lend(bytes),
                };
                self.post(Parcel::Bytes(parcel));
            }
            Came::Nothing => self.home.put(bytes),
            Came::End => self.end_forth(FlowEnd::EndOfInput),
            Came::Reset => {
                let kind = ErrorKind::ConnectionReset;
                self.forth_failed(Fault { act: Act::Read, kind, code: None });
            }
            Came::Failed(fault) => self.forth_failed(fault),
        }
    }

    /// Whether there is something for the near end.
    pub(super) fn has_words(&self) -> bool {
        self.writer.is_some() && (self.written < self.writing.len() || self.news(|news| !news.bytes.is_empty()))
    }

    /// Writes what was heard for as long as the near end takes it.
    pub(super) fn write_near(&mut self) {
        while !self.near_blocked && self.has_words() {
            if self.written == self.writing.len() && !self.take_heard() {
                return;
            }
            let Some(writer) = &self.writer else { return };
            match writer.write(&self.writing[self.written..]) {
                Went::Bytes(count) => {
                    // One that may wait has to be asked before each write.
                    self.near_blocked = count == 0 || !writer.never_waits();
                    self.written += count;
                    self.back.bytes += count as u64;
                    if count > 0 {
                        self.moved = Instant::now();
                    }
                }
                Went::Broken => self.back_broke(FlowEnd::BrokenPipe),
                Went::Failed(fault) => self.back_broke(FlowEnd::Failed(fault)),
            }
        }
    }

    /// Takes what was heard to be written. False if it cannot be shown as it must be.
    fn take_heard(&mut self) -> bool {
        self.writing.clear();
        self.written = 0;
        std::mem::swap(&mut self.heard.lock().bytes, &mut self.writing);
        let was_enough = self.writing.len() >= HEARD_BYTES_HIGH;
        if let Err(fault) = self.back.filter.pass_on(&mut self.writing) {
            self.back_broke(FlowEnd::Failed(fault));
            return false;
        }
        if was_enough {
            self.post(Parcel::Go);
        }
        true
    }

    // The connection.

    pub(super) fn far_told(&mut self, told: PollFlags) {
        let down = PollFlags::HUP | PollFlags::ERR;
        if told.intersects(PollFlags::OUT | down) && !self.far.sink_reset {
            self.shard.writable(self.slot);
        }
        if !told.intersects(PollFlags::IN | down) {
            return;
        }
        match self.shard.reads(self.slot) {
            Reads::Show => self.receive(),
            Reads::Discard(most) => self.discard(most),
            Reads::No | Reads::Later => self.look_at_far(told),
        }
    }

    fn receive(&mut self) {
        let Some(socket) = self.shard.io(self.slot) else { return };
        match socket.recv_now(&mut self.buffer) {
            Ok(0) => {
                self.far.ended = true;
                if self.far.sink_reset {
                    self.shard.fail(self.slot, Close::Reset);
                } else {
                    self.shard.end(self.slot);
                }
            }
            Ok(count) => {
                self.moved = Instant::now();
                self.shard.input(self.slot, &mut self.buffer[..count]);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => self.far_failed(Act::Read, &error),
        }
    }

    fn discard(&mut self, most: usize) {
        let Some(socket) = self.shard.io(self.slot) else { return };
        let most = most.min(self.buffer.len());
        match socket.recv_now(&mut self.buffer[..most]) {
            Ok(0) => self.shard.end(self.slot),
            Ok(count) => self.shard.discarded(self.slot, count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => self.shard.fail(self.slot, close_of(&error)),
        }
    }

    /// There is news of a connection that is not read now.
    fn look_at_far(&mut self, told: PollFlags) {
        self.far.hung_up |= told.contains(PollFlags::HUP);
        let error = self.shard.io(self.slot).and_then(|socket| socket.take_error().err());
        match error {
            Some(error) => self.send_failed(&error),
            // Both directions are closed, and nobody will take what is still to be said.
            None if self.far.ended && told.contains(PollFlags::HUP) => self.shard.fail(self.slot, Close::Reset),
            None => {}
        }
    }

    fn far_failed(&mut self, act: Act, error: &io::Error) {
        let close = close_of(error);
        if close != Close::Reset {
            self.fault = Some(Fault { act, kind: error.kind(), code: error.raw_os_error() });
        }
        self.shard.fail(self.slot, close);
    }

    /// A reset that shows while sending leaves what was received before it to be read, and its end.
    fn send_failed(&mut self, error: &io::Error) {
        let is_reset = close_of(error) == Close::Reset;
        let may_read = !self.far.ended && self.news(|news| !news.ended && news.gone.is_none());
        if is_reset && may_read {
            self.far.sink_reset = true;
            self.shard.blocked(self.slot);
        } else {
            self.far_failed(Act::Write, error);
        }
    }

    /// Does what the shard asks for until there is nothing more to do now.
    pub(super) fn flush(&mut self) {
        while let Some(slot) = self.shard.touched() {
            loop {
                match self.shard.next(slot) {
                    Step::Wait => break,
                    Step::Send => self.send(),
                    Step::HalfClose => {
                        if let Some(socket) = self.shard.io(slot) {
                            // It fails only where the connection is gone, which the next read tells.
                            let _ = socket.shutdown_write();
                        }
                        self.shard.half_closed(slot);
                    }
                    Step::Close => drop(self.shard.remove(slot)),
                    Step::SendFile | Step::SendRecord => {
                        self.shard.fail(slot, Close::Fault("a bridge carries plain bytes"));
                    }
                }
            }
        }
    }

    fn send(&mut self) {
        let Some((out, socket)) = self.shard.output(self.slot) else { return };
        let sent = match out.front() {
            Some(bytes) => socket.send(bytes, true),
            None => {
                let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(SLICES_MAX);
                out.gather(&mut slices, SLICES_MAX);
                socket.send_vectored(&slices, true)
            }
        };
        match sent {
            Ok(count) => {
                self.moved = Instant::now();
                self.shard.sent(self.slot, count);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.shard.blocked(self.slot),
            Err(error) => self.send_failed(&error),
        }
    }
}
