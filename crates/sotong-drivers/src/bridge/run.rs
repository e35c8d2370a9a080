//! The loop of a bridge: what is done in a turn, when it ends, and why.
use super::{
    Bridge, Crossed, Near, Once, Parcel, Passing,
    passing::{Heard, News},
};
use crate::blocking::NoBell;
use rustix::event::PollFlags;
use sotong_net::{
    clock::Clock,
    pump::{Act, Fault, Filter, FlowEnd, Limits, Passed, Reader, Rules, Then, Writer},
    socket::Socket,
};
use sotong_session::{Close, Kind, Limits as Bounds, Marks, Stream, Way};
use sotong_shard::{Exchange, Shard, Silent};
use std::{
    io,
    os::fd::BorrowedFd,
    sync::Arc,
    time::{Duration, Instant},
};

mod ends;
mod home;
mod wait;

/// Bytes received of the connection at once: four full records of TLS, and the one that the last receive cut in two.
const RECEIVE_BYTES: usize = 80 << 10;
/// What may be queued: what is read at once, as messages that are all empty lines and weigh 32 bytes each.
const HARD_BYTES: usize = 4 << 20;
/// How long what is left may take to leave once a limit has ended the bridge.
const CUT_TIME_MAX: Duration = Duration::from_secs(1);

/// How far one direction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Runs,
    /// It reads no more, for this reason; what has been read is on its way.
    Drains(FlowEnd),
    Over(FlowEnd),
}

struct Half {
    state: State,
    filter: Filter,
    bytes: u64,
}

/// What a poll has told.
#[derive(Clone, Copy)]
struct Told {
    near_in: bool,
    near_out: bool,
    near_broken: bool,
    far: PollFlags,
    stop: bool,
}

pub(super) struct Run<'a, S, L>
where
    S: Stream<Mail = Parcel> + 'static,
    L: FnOnce(Passing) -> Result<S, Close> + Send + 'static,
{
    exchange: Arc<Exchange<Parcel>>,
    shard: Shard<Once<L>, Socket>,
    slot: u32,
    heard: Arc<Heard>,
    /// Until the way is usable.
    near: Option<Near<'a>>,
    reader: Option<Reader>,
    writer: Option<Writer>,
    forth: Half,
    back: Half,
    /// Bytes on their way to the near end, and how many of them have gone.
    writing: Vec<u8>,
    written: usize,
    /// The near end takes nothing until a poll says so.
    near_blocked: bool,
    /// Where the memory that the near end is read into comes back to.
    home: home::Home,
    buffer: Vec<u8>,
    rules: Rules,
    limits: Limits,
    clock: Clock,
    start: Instant,
    /// When bytes last came in or went out, on either side.
    moved: Instant,
    /// When the connection is given up, whatever is left, and when the near end is.
    far_until: Option<Instant>,
    near_until: Option<Instant>,
    far: Far,
    /// What failed, as a close reason has no room for it.
    fault: Option<Fault>,
    close: Option<Close>,
    stop: Option<BorrowedFd<'a>>,
}

/// What is known of the connection.
#[derive(Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own; most combinations occur")]
struct Far {
    /// Its stream has ended.
    ended: bool,
    /// Nothing can be sent any more; what came before is still to be read.
    sink_reset: bool,
    hung_up: bool,
    /// The rules have been applied to the end of what the peer says, and to the end of its session.
    heard_end: bool,
    heard_gone: bool,
}

impl<'a, S, L> Run<'a, S, L>
where
    S: Stream<Mail = Parcel> + 'static,
    L: FnOnce(Passing) -> Result<S, Close> + Send + 'static,
{
    /// The connection's session, opened.
    pub(super) fn new(bridge: Bridge<'a>, layer: L, stop: Option<BorrowedFd<'a>>) -> Self {
        let Bridge { near, socket, way, forth, back, rules, limits } = bridge;
        let heard = Arc::default();
        let exchange = Exchange::new(1);
        exchange.enter(0, Arc::new(NoBell));
        // Only a bridge's own limits end what is slow.
        let (linger, linger_bytes_max) = (limits.linger, limits.linger_bytes_max);
        let marks = Marks { hard: HARD_BYTES, ..Marks::default() };
        let bounds = Bounds { marks, stall: Duration::MAX, linger, linger_bytes_max, ..Bounds::default() };
        let service = Once::new(layer, &heard);
        let shard = Shard::new(0, service, Arc::clone(&exchange), bounds, Arc::new(Silent), 0);
        let half = |flow| Half { state: State::Runs, filter: Filter::new(flow), bytes: 0 };
        let start = Instant::now();
        let mut run = Self {
            exchange,
            shard,
            slot: 0,
            heard,
            near: Some(near),
            reader: None,
            writer: None,
            forth: half(forth),
            back: half(back),
            writing: Vec::new(),
            written: 0,
            near_blocked: false,
            home: home::Home::default(),
            buffer: vec![0; RECEIVE_BYTES],
            rules,
            limits,
            clock: Clock::start(),
            start,
            moved: start,
            far_until: None,
            near_until: None,
            far: Far::default(),
            fault: None,
            close: None,
            stop,
        };
        run.open(&way, socket);
        run
    }

    fn open(&mut self, way: &Way, socket: Socket) {
        self.begin_turn();
        match self.shard.open(way, socket, Kind::Socket) {
            Ok(slot) => self.slot = slot,
            // The layer cannot even begin.
            Err((close, _)) => self.heard.lock().gone = Some(close),
        }
    }

    pub(super) fn run(mut self) -> io::Result<Crossed> {
        let mut told = None;
        loop {
            self.begin_turn();
            if let Some(told) = told {
                self.act_on(&told);
            }
            self.shard.deliver();
            self.shard.expire();
            self.flush();
            self.meet();
            self.write_near();
            self.look_around();
            self.flush();
            self.keep_limits();
            if self.is_over() {
                break;
            }
            told = Some(self.wait()?);
        }
        let [forth, back] = [&self.forth, &self.back].map(|half| {
            let (State::Over(end) | State::Drains(end)) = half.state else { unreachable!("both directions are over") };
            Passed { bytes: half.bytes, end, tls_alert: false }
        });
        let tls = self.heard.lock().tls.take();
        Ok(Crossed { forth, back, time: self.start.elapsed(), close: self.close.take(), tls })
    }

    fn act_on(&mut self, told: &Told) {
        if told.stop {
            self.stop = None;
            self.stop_both();
        }
        self.far_told(told.far);
        if told.near_in {
            self.read_near();
        }
        self.near_blocked &= !told.near_out;
        if told.near_broken {
            self.back_broke(FlowEnd::BrokenPipe);
        }
    }

    fn begin_turn(&mut self) {
        self.shard.begin_turn(self.clock.now(), self.clock.wall());
    }

    fn is_over(&self) -> bool {
        let over = |half: &Half| matches!(half.state, State::Over(_));
        self.shard.is_empty() && over(&self.forth) && over(&self.back)
    }

    /// Tells the session, which acts on it at once.
    fn post(&mut self, parcel: Parcel) {
        if self.shard.is_open(self.slot) {
            self.exchange.post(self.shard.address(self.slot), parcel);
            self.shard.deliver();
        }
    }

    fn news<R>(&self, look: impl FnOnce(&mut News) -> R) -> R {
        look(&mut self.heard.lock())
    }

    /// Makes the near end, once the way is usable.
    fn meet(&mut self) {
        let tls = match self.near {
            Some(_) => self.news(|news| news.opened.then(|| news.tls.clone())),
            None => None,
        };
        let Some((near, tls)) = self.near.take_if(|_| tls.is_some()).zip(tls) else { return };
        match near(tls.as_deref()) {
            Ok(end) => {
                let (source, sink) = end.into_parts();
                (self.reader, self.writer) = (Some(Reader::new(source)), Some(Writer::new(sink)));
            }
            Err(error) => {
                let fault = Fault { act: Act::Write, kind: error.kind(), code: error.raw_os_error() };
                self.end_back(FlowEnd::Failed(fault));
                self.forth_failed(fault);
            }
        }
    }

    // The ends of both directions.

    /// Reads no more of the near end; what was read is still sent, and the end behind it.
    fn end_forth(&mut self, why: FlowEnd) {
        if self.forth.state != State::Runs {
            return;
        }
        self.forth.state = State::Drains(why);
        self.reader = None;
        // A peer that is told nothing of an end knows that something is missing, where the layer has an end mark.
        if !matches!(why, FlowEnd::Failed(_)) {
            self.post(Parcel::End);
        }
    }

    fn forth_failed(&mut self, fault: Fault) {
        self.end_forth(FlowEnd::Failed(fault));
        self.drain_back(FlowEnd::Released);
        self.bound(self.limits.drain);
    }

    /// Takes no more from the connection; what was heard is still written.
    fn drain_back(&mut self, why: FlowEnd) {
        if self.back.state == State::Runs {
            self.back.state = State::Drains(why);
            self.post(Parcel::Forget);
        }
    }

    /// Nobody takes what the connection says: it is read and forgotten, so that the peer is not held up in its writing.
    fn back_broke(&mut self, why: FlowEnd) {
        if matches!(self.back.state, State::Over(_)) {
            return;
        }
        self.end_back(why);
        self.post(Parcel::Forget);
        let failed = matches!(why, FlowEnd::Failed(_));
        if failed || self.rules.after_back_broke == Then::Finish {
            self.end_forth(FlowEnd::Released);
            self.bound(self.limits.drain);
        }
    }

    fn end_back(&mut self, why: FlowEnd) {
        self.back.state = State::Over(why);
        (self.writing, self.written) = (Vec::new(), 0);
        self.news(|news| news.bytes = Vec::new());
        if let Some(writer) = self.writer.take() {
            writer.end();
        }
    }

    fn stop_both(&mut self) {
        if self.forth.state == State::Runs {
            self.forth.state = State::Drains(FlowEnd::Stopped);
            self.reader = None;
        }
        if self.back.state == State::Runs {
            self.back.state = State::Drains(FlowEnd::Stopped);
        }
        self.bound(self.limits.drain);
        self.leave(Close::Stop);
    }

    /// A limit has been reached: nothing more is moved.
    fn cut(&mut self, why: FlowEnd) {
        if !matches!(self.forth.state, State::Over(_)) {
            self.forth.state = State::Over(why);
            self.reader = None;
        }
        if !matches!(self.back.state, State::Over(_)) {
            self.end_back(why);
        }
        self.bound(CUT_TIME_MAX);
        self.leave(Close::Idle);
    }

    /// Ends the session: by its own farewell if it is open.
    fn leave(&mut self, close: Close) {
        if self.news(|news| news.opened) {
            self.post(Parcel::Leave(close));
        } else if self.shard.is_open(self.slot) {
            self.shard.close(self.slot, close);
        }
    }

    /// Gives what is left `time` to leave.
    fn bound(&mut self, time: Duration) {
        let until = Instant::now() + time;
        let sooner = |at: Option<Instant>| Some(at.map_or(until, |at| at.min(until)));
        (self.far_until, self.near_until) = (sooner(self.far_until), sooner(self.near_until));
    }

    /// Applies the rules to what has come to its end.
    fn look_around(&mut self) {
        let (ended, gone, nothing_heard) = self.news(|news| (news.ended, news.gone.clone(), news.bytes.is_empty()));
        if ended && !std::mem::replace(&mut self.far.heard_end, true) && self.rules.after_b_ended == Then::Finish {
            self.end_forth(FlowEnd::Released);
        }
        if let Some(close) = gone
            && !std::mem::replace(&mut self.far.heard_gone, true)
        {
            self.session_ended(close, ended);
        }
        if nothing_heard && self.written == self.writing.len() {
            match self.back.state {
                State::Runs if ended => self.end_back(FlowEnd::EndOfInput),
                State::Drains(why) => self.end_back(why),
                State::Runs | State::Over(_) => {}
            }
        }
        if let State::Drains(why) = self.forth.state
            && self.shard.output(self.slot).is_none_or(|(out, _)| out.is_empty())
        {
            self.forth.state = State::Over(why);
        }
        if let (State::Over(forth), State::Over(_)) = (self.forth.state, self.back.state)
            && !self.far.heard_gone
        {
            match forth {
                FlowEnd::Failed(fault) => self.shard.close(self.slot, Close::Io(fault.kind)),
                _ => self.leave(Close::Done),
            }
        }
    }

    /// It is over for the session; what it has heard is still written.
    fn session_ended(&mut self, close: Close, ended: bool) {
        let heard_all = |otherwise| if ended { FlowEnd::EndOfInput } else { otherwise };
        let (forth, back) = match (&close, self.fault.take()) {
            (Close::Done | Close::Stop, _) => (FlowEnd::Released, heard_all(FlowEnd::Released)),
            // It had said all before, so no word of it is lost: to leave ours unread is to be a broken pipe.
            (Close::Reset, _) if ended => (FlowEnd::BrokenPipe, FlowEnd::EndOfInput),
            (Close::Reset, _) => (FlowEnd::PeerReset, FlowEnd::PeerReset),
            (_, Some(fault)) if fault.act == Act::Write => (FlowEnd::Failed(fault), heard_all(FlowEnd::Released)),
            (_, Some(fault)) => (FlowEnd::Released, FlowEnd::Failed(fault)),
            (other, None) => (FlowEnd::Layer(other.word()), FlowEnd::Layer(other.word())),
        };
        self.forth.state = match self.forth.state {
            State::Over(why) => State::Over(why),
            // What is queued has a way left to go, unless the reason says otherwise.
            State::Drains(why) if !close.drops_output() => State::Drains(why),
            State::Runs | State::Drains(_) => State::Over(forth),
        };
        self.reader = None;
        if self.back.state == State::Runs {
            self.back.state = State::Drains(back);
        }
        // Once there is a bound it is this bridge that ends it.
        if self.far_until.is_none() && !matches!(close, Close::Done | Close::Stop | Close::Reset) {
            self.close = Some(close);
        }
        let until = Instant::now() + self.limits.drain;
        self.far_until = Some(self.far_until.map_or(until, |at| at.min(until)));
    }
}
