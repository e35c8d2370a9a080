//! One direction: a thread that moves bytes from a source to a sink until one of them ends, or it is told to.
use super::{
    Act, Fault, Filter, Flow, RECORD_BYTES_MAX,
    ends::{From, Handle, Kind, Sink, Source},
};
use crate::wake;
use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{OFlags, fcntl_getfl, sendfile},
    io::{Errno, read, write},
    net::{RecvFlags, SendFlags, recv, send, sockopt::socket_error},
    pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice},
};
use std::{
    cell::Cell,
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Bytes asked of one splice or sendfile, and the size a private pipe is given where the system allows it.
const SPLICE_BYTES_MAX: usize = 1 << 20;
/// Bytes of the buffer of a direction that cannot be spliced: holds any datagram, and stays in the processor's cache (256 KiB
/// cost half as much again, measured).
const BUFFER_BYTES: usize = 64 << 10;
/// Bytes that a pipe which polls writable takes without waiting (PIPE_BUF); a terminal takes less.
const PIPE_WRITE_BYTES: usize = 4096;
const TERMINAL_WRITE_BYTES: usize = 256;
/// Splices in a row that may find nothing to move although both ends are ready, before buffers take over.
const DRY_SPLICES_MAX: u32 = 16;

/// Why a mover left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The source had no more, and all of it was written.
    EndOfInput,
    SourceReset,
    SinkReset,
    /// The sink has no reader.
    BrokenPipe,
    Failed(Fault),
    /// It was told to leave.
    Ordered,
}

/// What the pump tells a mover. Orders only grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Order {
    Run = 0,
    /// Read no more; write what has been read, then leave.
    Drain = 1,
    /// Leave at once.
    Cut = 2,
}

/// As many first bytes as an alert of TLS has.
pub(super) type First = [u8; 7];

/// What a mover and its pump share.
#[derive(Debug)]
pub(super) struct Line {
    start: Instant,
    bytes: AtomicU64,
    /// Nanoseconds since `start` when bytes last came in or went out.
    moved_at: AtomicU64,
    order: AtomicU8,
    /// The source has said all it had to say.
    at_end: AtomicBool,
    wake: OwnedFd,
    state: Mutex<State>,
    /// The first bytes of a connection.
    first: Mutex<First>,
    /// Rings when `state` changes.
    news: Arc<OwnedFd>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct State {
    /// Why and when it ended.
    pub(super) ended: Option<(Ended, Instant)>,
    /// The mover holds nothing any more.
    pub(super) left: bool,
}

impl Line {
    pub(super) fn new(start: Instant, news: Arc<OwnedFd>) -> io::Result<Self> {
        Ok(Self {
            start,
            bytes: AtomicU64::new(0),
            moved_at: AtomicU64::new(0),
            order: AtomicU8::new(Order::Run as u8),
            at_end: AtomicBool::new(false),
            wake: wake::event()?,
            state: Mutex::default(),
            first: Mutex::default(),
            news,
        })
    }
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
    pub(super) fn moved_at(&self) -> Instant {
        self.start + Duration::from_nanos(self.moved_at.load(Ordering::Relaxed))
    }
    pub(super) fn first(&self) -> First {
        *self.first.lock().unwrap_or_else(PoisonError::into_inner)
    }
    pub(super) fn give(&self, order: Order) {
        if self.order.fetch_max(order as u8, Ordering::SeqCst) < order as u8 {
            wake::ring(&self.wake);
        }
    }
    pub(super) fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn tell(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        wake::ring(&self.news);
    }
    fn order(&self) -> Order {
        match self.order.load(Ordering::SeqCst) {
            0 => Order::Run,
            1 => Order::Drain,
            _ => Order::Cut,
        }
    }
    fn touch(&self) {
        let nanos = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.moved_at.store(nanos, Ordering::Relaxed);
    }
    fn moved(&self, count: usize) {
        self.bytes.fetch_add(count as u64, Ordering::Relaxed);
        self.touch();
    }
}

/// Moves the bytes of one direction.
pub(super) struct Mover {
    from: From,
    sink: Sink,
    filter: Filter,
    line: Arc<Line>,
    opposite: Arc<Line>,
    /// Whether the opposite direction had come to its end before the last call that may have met a reset.
    peer_has_ended: Cell<bool>,
}

impl Mover {
    pub(super) fn new(source: Source, sink: Sink, flow: Flow, line: &Arc<Line>, opposite: &Arc<Line>) -> Self {
        Self {
            from: source.from,
            sink,
            filter: Filter::new(flow),
            line: line.clone(),
            opposite: opposite.clone(),
            peer_has_ended: Cell::new(false),
        }
    }

    /// Moves bytes until one side ends or an order comes, passes the end on, and tells the pump.
    pub(super) fn run(mut self) {
        // Whatever unwinds (a tap may), the pump is told that this direction is over.
        let farewell = Farewell(self.line.clone());
        let ended = match self.carry() {
            // It had said all before, so no word of it is lost: to leave ours unread is to be a broken pipe.
            Ended::SinkReset if self.peer_has_ended.get() => Ended::BrokenPipe,
            ended => ended,
        };
        self.line.at_end.store(ended == Ended::EndOfInput, Ordering::SeqCst);
        self.sink.end();
        self.line.tell(|state| state.ended = Some((ended, Instant::now())));
        if let From::Handle(source) = &self.from
            && source.kind == Kind::Stream
            && matches!(ended, Ended::BrokenPipe | Ended::Failed(_))
        {
            // A peer whose words nobody takes must not be held up in its writing, or it may never read ours.
            discard(source, &self.line);
        }
        drop(self);
        drop(farewell);
    }

    fn carry(&mut self) -> Ended {
        if let Err(ended) = self.look() {
            return ended;
        }
        let kernel = match self.route() {
            Route::Buffers => Ok(()),
            Route::Direct => self.splice_direct(),
            Route::Through => self.splice_through(),
            Route::File => self.send_file(),
        };
        match kernel.and_then(|()| self.copy()) {
            Ok(()) => Ended::EndOfInput,
            Err(ended) => ended,
        }
    }

    /// Looks at the first bytes of a connection, and leaves them where they are.
    fn look(&self) -> Result<(), Ended> {
        let From::Handle(source) = &self.from else { return Ok(()) };
        if source.kind != Kind::Stream || !source.nonblocking {
            return Ok(());
        }
        while !self.wait_source(source)? {
            self.heed(Order::Drain)?;
        }
        let mut first = First::default();
        match recv(source, &mut first, RecvFlags::DONTWAIT | RecvFlags::PEEK) {
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
            // It is told once.
            Err(errno) => return Err(from_source(source, errno)),
        }
        *self.line.first.lock().unwrap_or_else(PoisonError::into_inner) = first;
        Ok(())
    }

    fn route(&self) -> Route {
        let From::Handle(source) = &self.from else { return Route::Buffers };
        if !self.filter.is_idle() {
            return Route::Buffers;
        }
        let sink = &self.sink.to;
        // Splicing to or from a socket waits unless the socket itself is non-blocking; for pipes a flag of the call does.
        let spliced = |handle: &Handle| match handle.kind {
            Kind::Pipe | Kind::Device => true,
            Kind::Stream => handle.nonblocking,
            Kind::File => !fcntl_getfl(handle).is_ok_and(|flags| flags.contains(OFlags::APPEND)),
            Kind::Datagrams | Kind::Terminal => false,
        };
        if !spliced(sink) {
            return Route::Buffers;
        }
        match (source.kind, sink.kind) {
            (Kind::File, Kind::Stream | Kind::Pipe) if sink.nonblocking => Route::File,
            (Kind::Pipe, _) => Route::Direct,
            (Kind::Stream, Kind::Pipe) if source.nonblocking => Route::Direct,
            (Kind::Stream, _) if source.nonblocking => Route::Through,
            _ => Route::Buffers,
        }
    }

    /// Kernel to kernel, one side being a pipe. `Ok` where the system refuses: buffers go on from there.
    fn splice_direct(&self) -> Result<(), Ended> {
        let From::Handle(source) = &self.from else { return Ok(()) };
        let sink = &self.sink.to;
        let mut dry = 0;
        while dry < DRY_SPLICES_MAX {
            self.heed(Order::Drain)?;
            match splice(source, None, sink, None, SPLICE_BYTES_MAX, SPLICE_FLAGS) {
                Ok(0) => return Err(Ended::EndOfInput),
                Ok(count) => {
                    dry = 0;
                    self.line.moved(count);
                }
                Err(Errno::AGAIN) => {
                    // It does not say which side waits: ask the source first, then the sink.
                    dry += 1;
                    if dry % 2 == 1 {
                        self.wait_source(source)?;
                    } else {
                        self.wait_sink()?;
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::INVAL) => return Ok(()),
                Err(errno) if source.kind == Kind::Stream && errno != Errno::PIPE => {
                    return Err(from_source(source, errno));
                }
                Err(errno) => return Err(from_sink(errno)),
            }
        }
        Ok(())
    }

    /// Kernel to kernel by a private pipe. `Ok` where the system refuses: buffers go on from there.
    fn splice_through(&self) -> Result<(), Ended> {
        let From::Handle(source) = &self.from else { return Ok(()) };
        let Ok((outlet, inlet)) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK) else { return Ok(()) };
        // Refused beyond the user's share of pipe memory: the default size does, too.
        _ = fcntl_setpipe_size(&inlet, SPLICE_BYTES_MAX);
        let mut dry = 0;
        while dry < DRY_SPLICES_MAX {
            self.heed(Order::Drain)?;
            let mut queued = match splice(source, None, &inlet, None, SPLICE_BYTES_MAX, SPLICE_FLAGS) {
                Ok(0) => return Err(Ended::EndOfInput),
                Ok(count) => count,
                Err(Errno::AGAIN) => {
                    dry += 1;
                    self.wait_source(source)?;
                    continue;
                }
                Err(Errno::INTR) => continue,
                Err(Errno::INVAL) => return Ok(()),
                Err(errno) => return Err(from_source(source, errno)),
            };
            dry = 0;
            self.line.touch();
            while queued > 0 {
                self.heed(Order::Cut)?;
                match splice(&outlet, None, &self.sink.to, None, queued, SPLICE_FLAGS) {
                    Ok(count) if count > 0 => {
                        queued -= count;
                        self.line.moved(count);
                    }
                    Err(Errno::AGAIN) => self.wait_sink()?,
                    Err(Errno::INTR) => {}
                    // Also Ok(0): the sink cannot be spliced to.
                    Ok(_) | Err(Errno::INVAL) => return self.empty(&outlet, queued),
                    Err(errno) => return Err(from_sink(errno)),
                }
            }
        }
        Ok(())
    }

    /// Writes the `queued` bytes of a private pipe from a buffer.
    fn empty(&self, outlet: &OwnedFd, mut queued: usize) -> Result<(), Ended> {
        let mut buffer = vec![0; BUFFER_BYTES.min(queued)];
        while queued > 0 {
            let count = match read(outlet, &mut buffer) {
                Ok(count) => count,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(Ended::Failed(Fault::new(Act::Read, errno))),
            };
            queued -= count.min(queued);
            self.write_all(&buffer[..count])?;
        }
        Ok(())
    }

    /// From the page cache to a connection. `Ok` where the system refuses: buffers go on from there.
    fn send_file(&self) -> Result<(), Ended> {
        let From::Handle(source) = &self.from else { return Ok(()) };
        loop {
            self.heed(Order::Drain)?;
            match sendfile(&self.sink.to, source, None, SPLICE_BYTES_MAX) {
                Ok(0) => return Err(Ended::EndOfInput),
                Ok(count) => self.line.moved(count),
                Err(Errno::AGAIN) => self.wait_sink()?,
                Err(Errno::INTR) => {}
                Err(Errno::INVAL | Errno::NOSYS) => return Ok(()),
                // The disk fails with EIO; anything else is the connection's.
                Err(Errno::IO) => return Err(from_source(source, Errno::IO)),
                Err(errno) => return Err(from_sink(errno)),
            }
        }
    }

    /// By a buffer. `Ok` at the end of the input.
    fn copy(&mut self) -> Result<(), Ended> {
        if let From::Bytes(bytes) = &mut self.from {
            let bytes = std::mem::take(bytes);
            return if bytes.is_empty() { Ok(()) } else { self.pass(&bytes) };
        }
        let records = self.sink.to.kind == Kind::Datagrams;
        let mut buffer = vec![0; if records { RECORD_BYTES_MAX } else { BUFFER_BYTES }];
        while let Some(count) = self.read(&mut buffer)? {
            self.line.touch();
            self.pass(&buffer[..count])?;
        }
        Ok(())
    }

    /// Waits for the next bytes; `None` is the end.
    fn read(&self, buffer: &mut [u8]) -> Result<Option<usize>, Ended> {
        let From::Handle(source) = &self.from else { return Ok(None) };
        let asks_first = !source.nonblocking && !source.is_socket() && source.kind != Kind::File;
        loop {
            self.heed(Order::Drain)?;
            if asks_first && !self.wait_source(source)? {
                continue;
            }
            let got = if source.is_socket() {
                recv(source, &mut *buffer, RecvFlags::DONTWAIT).map(|(count, _)| count)
            } else {
                read(source, &mut *buffer)
            };
            match got {
                Ok(0) if source.kind != Kind::Datagrams => return Ok(None),
                Ok(count) => return Ok(Some(count)),
                Err(Errno::AGAIN) => _ = self.wait_source(source)?,
                Err(Errno::INTR) => {}
                // What a terminal says when its other side is gone.
                Err(Errno::IO) if source.kind == Kind::Terminal => return Ok(None),
                Err(errno) => return Err(from_source(source, errno)),
            }
        }
    }

    /// Translates, shows and writes one read.
    fn pass(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        let mut filter = std::mem::take(&mut self.filter);
        let put = filter.pass(bytes).map_err(Ended::Failed).and_then(|bytes| self.put(bytes));
        self.filter = filter;
        put
    }

    fn put(&self, bytes: &[u8]) -> Result<(), Ended> {
        if self.sink.to.kind != Kind::Datagrams {
            return self.write_all(bytes);
        }
        if bytes.is_empty() {
            return self.write(bytes).map(|_| ());
        }
        bytes.chunks(RECORD_BYTES_MAX).try_for_each(|record| self.write(record).map(|_| ()))
    }

    fn write_all(&self, mut bytes: &[u8]) -> Result<(), Ended> {
        while !bytes.is_empty() {
            let count = self.write(bytes)?;
            bytes = &bytes[count..];
        }
        Ok(())
    }

    /// Waits until some of `bytes` has been written, of a record all.
    fn write(&self, bytes: &[u8]) -> Result<usize, Ended> {
        let sink = &self.sink.to;
        let most = write_bytes_max(sink);
        let part = &bytes[..bytes.len().min(most)];
        loop {
            self.heed(Order::Cut)?;
            if most < usize::MAX && !self.wait_sink_ready()? {
                continue;
            }
            let put = if sink.is_socket() {
                send(sink, part, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
            } else {
                write(sink, part)
            };
            match put {
                Ok(0) if !part.is_empty() => {
                    return Err(Ended::Failed(Fault::of(Act::Write, &io::ErrorKind::WriteZero.into())));
                }
                Ok(count) => {
                    self.line.moved(count);
                    return Ok(count);
                }
                Err(Errno::AGAIN) => self.wait_sink()?,
                // A device's queue is full, which no poll tells of.
                Err(Errno::NOBUFS) if sink.kind == Kind::Datagrams => std::thread::sleep(NO_BUFFERS_PAUSE),
                Err(Errno::INTR) => {}
                Err(Errno::IO) if sink.kind == Kind::Terminal => return Err(Ended::BrokenPipe),
                Err(errno) => return Err(from_sink(errno)),
            }
        }
    }

    /// Leaves if the order is `from` or more.
    fn heed(&self, from: Order) -> Result<(), Ended> {
        self.look_across();
        if self.line.order() >= from { Err(Ended::Ordered) } else { Ok(()) }
    }

    /// A reset is told to whoever asks the socket first, and the other sees a plain end: so the end counts only if it was
    /// seen before the reset can have been taken.
    fn look_across(&self) {
        self.peer_has_ended.set(self.opposite.at_end.load(Ordering::SeqCst));
    }

    /// Waits until the source has something to say, or an order comes: then `false`. A sink that breaks meanwhile ends the
    /// direction, so that nobody waits for input which nobody will read.
    fn wait_source(&self, source: &Handle) -> Result<bool, Ended> {
        let sink = &self.sink.to;
        let mut fds = [
            PollFd::from_borrowed_fd(source.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.line.wake.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(sink.as_fd(), PollFlags::empty()),
        ];
        let watched = if matches!(sink.kind, Kind::Pipe | Kind::Stream) { 3 } else { 2 };
        if !wait(&mut fds[..watched])? {
            return Ok(false);
        }
        let [from, order, to] = fds.map(|fd| fd.revents());
        if !to.is_empty() {
            self.look_across();
            return Err(match sink.kind {
                Kind::Stream => match socket_error(sink) {
                    Ok(Err(errno)) => from_sink(errno),
                    Ok(Ok(())) | Err(_) => Ended::BrokenPipe,
                },
                _ => Ended::BrokenPipe,
            });
        }
        if !order.is_empty() {
            wake::hush(&self.line.wake);
        }
        Ok(!from.is_empty())
    }

    fn wait_sink(&self) -> Result<(), Ended> {
        self.wait_sink_ready().map(|_| ())
    }

    /// Waits until the sink takes something or is broken, or an order comes: then `false`.
    fn wait_sink_ready(&self) -> Result<bool, Ended> {
        let mut fds = [
            PollFd::from_borrowed_fd(self.sink.to.as_fd(), PollFlags::OUT),
            PollFd::from_borrowed_fd(self.line.wake.as_fd(), PollFlags::IN),
        ];
        if !wait(&mut fds)? {
            return Ok(false);
        }
        let [to, order] = fds.map(|fd| fd.revents());
        if !order.is_empty() {
            wake::hush(&self.line.wake);
        }
        Ok(!to.is_empty())
    }
}

enum Route {
    Buffers,
    Direct,
    Through,
    File,
}

const SPLICE_FLAGS: SpliceFlags = SpliceFlags::NONBLOCK.union(SpliceFlags::MOVE);
/// How long a full queue of the network device is left alone.
const NO_BUFFERS_PAUSE: Duration = Duration::from_millis(1);

/// Tells the pump that a mover holds nothing any more.
struct Farewell(Arc<Line>);

impl Drop for Farewell {
    fn drop(&mut self) {
        self.0.tell(|state| {
            let panicked = Ended::Failed(Fault::of(Act::Log, &io::ErrorKind::Other.into()));
            state.ended.get_or_insert_with(|| (panicked, Instant::now()));
            state.left = true;
        });
    }
}

/// Waits for any of `fds`, for as long as it takes: the pump has all deadlines, and wakes by the mover's event.
fn wait(fds: &mut [PollFd<'_>]) -> Result<bool, Ended> {
    match poll(fds, None) {
        Ok(_) => Ok(true),
        Err(Errno::INTR) => Ok(false),
        Err(errno) => Err(Ended::Failed(Fault::new(Act::Read, errno))),
    }
}

/// Bytes that `sink` takes without waiting once it polls writable; no limit where a call on it never waits.
pub(super) fn write_bytes_max(sink: &Handle) -> usize {
    match sink.kind {
        Kind::Pipe if !sink.nonblocking => PIPE_WRITE_BYTES,
        Kind::Terminal if !sink.nonblocking => TERMINAL_WRITE_BYTES,
        _ => usize::MAX,
    }
}

/// Reads and forgets until the peer ends or the pump is over.
fn discard(source: &Handle, line: &Line) {
    let mut buffer = vec![0; BUFFER_BYTES];
    while line.order() < Order::Cut {
        match recv(source, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((0, _)) => return,
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let mut fds = [
                    PollFd::from_borrowed_fd(source.as_fd(), PollFlags::IN),
                    PollFd::from_borrowed_fd(line.wake.as_fd(), PollFlags::IN),
                ];
                if wait(&mut fds).is_err() {
                    return;
                }
                if !fds[1].revents().is_empty() {
                    wake::hush(&line.wake);
                }
            }
            Err(_) => return,
        }
    }
}

fn from_source(source: &Handle, errno: Errno) -> Ended {
    match errno {
        Errno::CONNRESET if source.kind == Kind::Stream => Ended::SourceReset,
        errno => Ended::Failed(Fault::new(Act::Read, errno)),
    }
}

fn from_sink(errno: Errno) -> Ended {
    match errno {
        Errno::PIPE => Ended::BrokenPipe,
        Errno::CONNRESET => Ended::SinkReset,
        errno => Ended::Failed(Fault::new(Act::Write, errno)),
    }
}
