//! What a bridge waits for, and for how long.
use super::{Parcel, Passing, Run, State, Told};
use crate::blocking::poll_for;
use rustix::event::{PollFd, PollFlags};
use sotong_net::pump::{FlowEnd, Reader};
use sotong_session::{Close, Stream};
use sotong_shard::Reads;
use std::{
    io,
    os::fd::AsFd,
    time::{Duration, Instant},
};

impl<S, L> Run<'_, S, L>
where
    S: Stream<Mail = Parcel> + 'static,
    L: FnOnce(Passing) -> Result<S, Close> + Send + 'static,
{
    /// Sleeps until there is something to do.
    pub(super) fn wait(&mut self) -> io::Result<Told> {
        let reads_near = self.may_read_near();
        // Bytes that are there from the start need no waiting.
        let given = reads_near && self.reader.as_ref().is_some_and(|reader| reader.fd().is_none());
        let time = if given || !self.shard.may_sleep() { Some(Duration::ZERO) } else { self.time_left() };
        let far_asks = self.far_asks();
        let has_words = self.has_words();
        let Self { reader, writer, shard, stop, slot, .. } = self;
        let source = reader.as_ref().filter(|_| reads_near).and_then(Reader::fd);
        let sink = writer.as_ref().filter(|writer| has_words || writer.tells_when_broken());
        let far = shard.io(*slot).map(|socket| &*socket).zip(far_asks);
        let near_asks = if has_words { PollFlags::OUT } else { PollFlags::empty() };
        let wanted = [
            source.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)),
            sink.map(|writer| PollFd::from_borrowed_fd(writer.fd(), near_asks)),
            far.map(|(socket, asks)| PollFd::from_borrowed_fd(socket.as_fd(), asks)),
            stop.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)),
        ];
        let is_there = [0, 1, 2, 3].map(|at: usize| wanted[at].is_some());
        let mut fds: Vec<PollFd<'_>> = wanted.into_iter().flatten().collect();
        poll_for(&mut fds, time)?;
        let mut came = fds.iter().map(PollFd::revents);
        let [near_in, near, far, stop] =
            is_there.map(|is_there| if is_there { came.next() } else { None }.unwrap_or(PollFlags::empty()));
        Ok(Told {
            near_in: given || !near_in.is_empty(),
            near_out: has_words && !near.is_empty(),
            near_broken: !has_words && sink.is_some_and(|writer| writer.is_broken_by(near)),
            far,
            stop: !stop.is_empty(),
        })
    }

    /// What the connection is asked; `None` if nothing is to be learned of it.
    fn far_asks(&mut self) -> Option<PollFlags> {
        if !self.shard.is_open(self.slot) {
            return None;
        }
        let mut asks = PollFlags::empty();
        asks.set(PollFlags::IN, matches!(self.shard.reads(self.slot), Reads::Show | Reads::Discard(_)));
        asks.set(PollFlags::OUT, self.shard.is_blocked(self.slot) && !self.far.sink_reset);
        // A hang-up is told again and again.
        (!asks.is_empty() || !self.far.hung_up).then_some(asks)
    }

    fn time_left(&self) -> Option<Duration> {
        let limits = self.deadlines().into_iter().flatten().map(|(at, _)| at);
        let until = limits.chain(self.far_until).chain(self.near_until.filter(|_| self.writer.is_some())).min();
        let left = until.map(|at| at.saturating_duration_since(Instant::now()));
        let timer = self.shard.next_deadline().map(|at| self.clock.until(at));
        left.into_iter().chain(timer).min()
    }

    /// When which limit ends the bridge; none once both directions are over.
    fn deadlines(&self) -> [Option<(Instant, FlowEnd)>; 2] {
        let over = |state| matches!(state, State::Over(_));
        if over(self.forth.state) && over(self.back.state) {
            return [None; 2];
        }
        let (idle, total) = (self.limits.idle, self.limits.total);
        [total.map(|total| (self.start + total, FlowEnd::TimeUp)), idle.map(|idle| (self.moved + idle, FlowEnd::Idle))]
    }

    /// Ends what has taken too long.
    pub(super) fn keep_limits(&mut self) {
        let now = Instant::now();
        if let Some((_, why)) = self.deadlines().into_iter().flatten().find(|(at, _)| *at <= now) {
            self.cut(why);
            self.flush();
        }
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if is_due(self.near_until)
            && let State::Drains(why) = self.back.state
        {
            self.end_back(why);
        }
        if is_due(self.far_until) && self.shard.is_open(self.slot) {
            drop(self.shard.remove(self.slot));
        }
        // Whatever that has ended.
        if self.is_cut() {
            self.look_around();
        }
    }

    fn is_cut(&self) -> bool {
        self.far_until.is_some() || self.near_until.is_some()
    }
}
