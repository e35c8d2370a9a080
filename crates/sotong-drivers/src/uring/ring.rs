//! One io_uring with its buffers: everything that needs `unsafe`, behind a few methods.
use super::{
    pool::{Filled, POOL, Pool},
    token::{Kind, Token},
};
use io_uring::{
    EnterFlags, IoUring,
    cqueue::{self, buffer_more, buffer_select},
    opcode,
    squeue::{self, Flags},
    types::{CancelBuilder, Fd, SubmitArgs, Timespec},
};
use std::{
    io::{self, Write as _},
    mem::ManuallyDrop,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

/// Submissions that fit at once; when they are full they go to the kernel and the turn goes on.
const SUBMISSIONS: u32 = 1024;
/// Completions that fit at once: two for each of 8,192 connections. More are kept by the kernel, at a price.
const COMPLETIONS: u32 = 16 << 10;
/// How long the kernel may take to cancel what is left when a ring ends.
const CANCEL_TIME_MAX: Duration = Duration::from_secs(1);
/// How long to wait for memory before the kernel is asked again to take what is submitted.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(1);
/// How often, before the ring counts as broken.
const SHORTAGES_MAX: u32 = 1000;

/// How long the trial of a receive may take; it needs no waiting at all.
const TRIAL_TIME_MAX: Duration = Duration::from_secs(5);
/// The place of the trial, which no connection has.
const TRIAL: usize = u32::MAX as usize;

/// A ring of one thread, and the buffers that its connections receive into.
pub(super) struct Ring {
    io: IoUring,
    /// Lives until nothing of it is in use: see `drop`.
    pool: ManuallyDrop<Pool>,
    /// Completions taken from the kernel and not yet handled.
    reaped: Vec<cqueue::Entry>,
    wait_flags: EnterFlags,
    /// After how many bytes a receive ends (Linux 6.17); 0: the kernel knows no such limit, and one connection can bring as
    /// much as the pool holds.
    receive_bytes_max: u32,
    /// Why nothing can be submitted any more.
    broken: Option<io::Error>,
}

/// Whether to wait for a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    No,
    AtMost(Duration),
    Ever,
}

/// So many in one call tell that there may be more: a little less than the kernel's own number.
const CALL_COMPLETIONS: usize = 16;
/// A turn with so many is large enough.
const TURN_COMPLETIONS: usize = 1024;

/// What a completion says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completion {
    pub(super) token: Token,
    /// As the system call would have returned it, or the error.
    pub(super) result: Result<u32, i32>,
    /// The operation goes on.
    pub(super) more: bool,
    /// A receive has left something behind.
    pub(super) rest: bool,
    /// What was received, if that is what it was.
    pub(super) filled: Option<Filled>,
}

impl Ring {
    /// Makes a ring that its thread has to [`Self::start`].
    ///
    /// # Errors
    /// Where io_uring is forbidden or too old; see [`super::probe`].
    pub(super) fn new(receive_bytes_max: usize) -> io::Result<Self> {
        let mut builder = IoUring::builder();
        builder.setup_r_disabled().setup_clamp().setup_submit_all().setup_cqsize(COMPLETIONS);
        let io = builder.clone().setup_single_issuer().setup_defer_taskrun().build(SUBMISSIONS);
        let io = match io {
            // Linux before 6.1.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => builder.setup_coop_taskrun().build(SUBMISSIONS),
            io => io,
        }?;
        let pool = ManuallyDrop::new(Pool::new(&io.submitter(), true)?);
        let mut wait_flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
        // Waiting for peers is no waiting for a disk.
        wait_flags.set(EnterFlags::NO_IOWAIT, io.params().is_feature_no_iowait());
        let receive_bytes_max = u32::try_from(receive_bytes_max).unwrap_or(u32::MAX);
        Ok(Self { io, pool, reaped: Vec::new(), wait_flags, receive_bytes_max, broken: None })
    }
    /// Makes the calling thread the one that uses the ring, and tries how it receives.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] if it receives only once for each submission.
    pub(super) fn start(&mut self) -> io::Result<()> {
        self.io.submitter().register_enable_rings()?;
        let (mut near, far) = UnixStream::pair()?;
        near.write_all(b"x")?;
        loop {
            self.receive(far.as_raw_fd(), false, Token::fixed(Kind::Receive, TRIAL));
            self.enter(Wait::AtMost(TRIAL_TIME_MAX))?;
            let entries = self.completed();
            let first = entries.first().and_then(|entry| self.read(entry));
            self.handled(entries);
            match first {
                Some(first) if first.more && first.filled.is_some() => break,
                // Kernels before 6.17 know no limit for a receive.
                Some(Completion { result: Err(libc::EINVAL), .. }) if self.receive_bytes_max > 0 => {
                    self.receive_bytes_max = 0;
                }
                _ => return Err(io::ErrorKind::Unsupported.into()),
            }
        }
        // It ends by the end of its socket; that it does is told to nobody.
        drop((near, far));
        // The trial's byte lies in front of all that will follow, and copies to odd addresses take twice the time.
        self.io.submitter().unregister_buf_ring(POOL)?;
        let fresh = Pool::new(&self.io.submitter(), self.limits_receives())?;
        // The kernel has forgotten the old buffers, and receives only in calls of this thread.
        drop(ManuallyDrop::into_inner(std::mem::replace(&mut self.pool, ManuallyDrop::new(fresh))));
        Ok(())
    }
    pub(super) fn uring(&self) -> &IoUring {
        &self.io
    }

    // What is submitted with the next `enter`.

    /// Whether a receive ends by itself after so many bytes as one connection may bring in a turn.
    pub(super) fn limits_receives(&self) -> bool {
        self.receive_bytes_max > 0
    }
    /// Receives on a socket, into the pool: again and again (up to the limit), or `once`.
    pub(super) fn receive(&mut self, fd: RawFd, once: bool, token: Token) {
        let entry = if once {
            // As much as a buffer holds.
            let entry = opcode::Recv::new(Fd(fd), std::ptr::null_mut(), 0).buf_group(POOL).build();
            entry.flags(Flags::BUFFER_SELECT)
        } else {
            limited(opcode::RecvMulti::new(Fd(fd), POOL).build(), self.receive_bytes_max)
        };
        self.push(entry, token);
    }
    /// Accepts at a listener, again and again: each completion is a descriptor, which is the caller's.
    pub(super) fn accept_each(&mut self, fd: RawFd, token: Token) {
        self.push(opcode::AcceptMulti::new(Fd(fd)).flags(libc::SOCK_CLOEXEC).build(), token);
    }
    /// Tells once that one of `events` holds, or that there is an error.
    pub(super) fn poll_once(&mut self, fd: RawFd, events: i16, token: Token) {
        self.push(opcode::PollAdd::new(Fd(fd), mask(events)).build(), token);
    }
    /// Tells each time that one of `events` comes.
    pub(super) fn poll_each(&mut self, fd: RawFd, events: i16, token: Token) {
        self.push(opcode::PollAdd::new(Fd(fd), mask(events)).multi(true).build(), token);
    }
    /// Ends an operation that was submitted before; it completes as cancelled.
    pub(super) fn cancel(&mut self, token: Token) {
        let entry = opcode::AsyncCancel::new(token.to_bits()).build().flags(Flags::SKIP_SUCCESS);
        self.push(entry, Token { kind: Kind::Cancel, ..token });
    }
    /// Sends without waiting: it is over, in whole or in part, when [`Self::enter`] returns.
    ///
    /// # Safety
    /// `bytes` stay where they are, unchanged, until the next [`Self::enter`] or [`Self::submit`] returns, or the ring is
    /// gone.
    pub(super) unsafe fn send(&mut self, fd: RawFd, bytes: &[u8], token: Token) {
        // A send takes less than that anyhow.
        let len = u32::try_from(bytes.len()).unwrap_or(i32::MAX as u32);
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        self.push(opcode::Send::new(Fd(fd), bytes.as_ptr(), len).flags(flags).build(), token);
    }
    fn push(&mut self, entry: squeue::Entry, token: Token) {
        let entry = entry.user_data(token.to_bits());
        // SAFETY: all descriptors are numbers, which the kernel checks; the only entries with memory are sends, whose bytes
        // stay by the promise of `send`'s caller.
        while unsafe { self.io.submission().push(&entry) }.is_err() {
            if let Err(error) = self.submit() {
                self.broken = Some(error);
                return;
            }
        }
    }

    // The kernel.

    /// Hands over what was pushed, and does not wait.
    ///
    /// # Errors
    /// The ring is broken.
    pub(super) fn submit(&mut self) -> io::Result<()> {
        while self.unsubmitted() > 0 {
            self.call(EnterFlags::empty(), 0, None)?;
        }
        Ok(())
    }
    /// Hands over what was pushed, and takes what has completed. Nothing that was pushed is left unseen by the kernel.
    ///
    /// # Errors
    /// The ring is broken.
    pub(super) fn enter(&mut self, wait: Wait) -> io::Result<()> {
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        let (want, time) = match wait {
            Wait::No => (0, None),
            Wait::Ever => (1, None),
            Wait::AtMost(time) => (1, Some(Timespec::from(time))),
        };
        loop {
            self.call(self.wait_flags, want, time.as_ref())?;
            if self.unsubmitted() == 0 {
                break;
            }
        }
        self.reap();
        self.take_more()
    }
    /// Takes what else has completed. Since Linux 6.13 one call sees to no more than about 20 operations, however many sockets
    /// have something; turns of so few would write to each receiver of a busy room once for each line.
    fn take_more(&mut self) -> io::Result<()> {
        let mut seen = 0;
        while self.reaped.len() - seen >= CALL_COMPLETIONS && self.reaped.len() < TURN_COMPLETIONS {
            seen = self.reaped.len();
            self.call(self.wait_flags, 0, None)?;
            self.reap();
        }
        Ok(())
    }
    fn unsubmitted(&mut self) -> usize {
        self.io.submission().len()
    }
    /// One system call. What comes of it is in the queues.
    fn call(&mut self, flags: EnterFlags, want: u32, time: Option<&Timespec>) -> io::Result<()> {
        let mut shortages = 0;
        loop {
            let mut args = SubmitArgs::new();
            if let Some(time) = time {
                args = args.timespec(time);
            }
            let args = flags.contains(EnterFlags::EXT_ARG).then_some(&args);
            let count = self.unsubmitted() as u32;
            // SAFETY: with EXT_ARG the argument is what `SubmitArgs` is, transparently, an `io_uring_getevents_arg`, which
            // lives through the call with the time that it points to; without, there is none.
            let result = unsafe { self.io.submitter().enter(count, want, flags.bits(), args) };
            let Err(error) = result else { return Ok(()) };
            match error.raw_os_error() {
                // Time is up, or a signal came: for the caller both are a turn without news.
                Some(libc::ETIME | libc::EINTR) => return Ok(()),
                Some(libc::EBUSY | libc::EAGAIN | libc::ENOMEM) if shortages < SHORTAGES_MAX => {
                    // The kernel has no memory for more: completions that are taken make room.
                    shortages += 1;
                    self.reap();
                    std::thread::sleep(SHORTAGE_PAUSE);
                }
                _ => return Err(error),
            }
        }
    }
    fn reap(&mut self) {
        self.reaped.extend(self.io.completion());
    }
    /// Whether something has completed that nobody has handled.
    pub(super) fn has_completed(&self) -> bool {
        !self.reaped.is_empty()
    }
    /// What has completed, in order. To be given back by [`Self::handled`], for its memory.
    pub(super) fn completed(&mut self) -> Vec<cqueue::Entry> {
        std::mem::take(&mut self.reaped)
    }
    pub(super) fn handled(&mut self, mut entries: Vec<cqueue::Entry>) {
        // More may have been taken meanwhile, to make room for what was pushed.
        if self.reaped.is_empty() {
            entries.clear();
            self.reaped = entries;
        }
        self.pool.publish();
    }
    /// Reads a completion. What it received must be [`Self::release`]d.
    pub(super) fn read(&mut self, entry: &cqueue::Entry) -> Option<Completion> {
        let (result, flags) = (entry.result(), entry.flags());
        let result = u32::try_from(result).map_err(|_| -result);
        let filled =
            buffer_select(flags).and_then(|buffer| self.pool.fill(buffer, result.unwrap_or(0), buffer_more(flags)));
        let token = Token::from_bits(entry.user_data())?;
        let (more, rest) = (cqueue::more(flags), cqueue::sock_nonempty(flags));
        Some(Completion { token, result, more, rest, filled })
    }
    /// What a completion received.
    pub(super) fn bytes(&mut self, filled: Filled) -> &mut [u8] {
        self.pool.bytes(filled)
    }
    /// A receive has found no buffer: from the next turn on there are more, if there can be.
    pub(super) fn starved(&mut self) {
        self.pool.starved();
    }
    /// Gives the memory of a completion back.
    pub(super) fn release(&mut self, filled: Filled) {
        self.pool.release(filled);
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let submitter = self.io.submitter();
        // Sockets are held by what is going on with them, and closed when that has ended.
        let time = Some(Timespec::from(CANCEL_TIME_MAX));
        if let Err(error) = submitter.register_sync_cancel(time, CancelBuilder::any())
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!(%error, "operations of a ring were not cancelled");
        }
        // SAFETY: nothing is submitted and no argument passed: this only lets what was cancelled complete.
        let _ = unsafe { submitter.enter::<libc::sigset_t>(0, 0, EnterFlags::GETEVENTS.bits(), None) };
        let is_unregistered = submitter.unregister_buf_ring(POOL).is_ok();
        self.reap();
        for entry in std::mem::take(&mut self.reaped) {
            // Connections that were accepted and that nobody will serve.
            if Token::from_bits(entry.user_data()).is_some_and(|token| token.kind == Kind::Accept) {
                // SAFETY: nobody else has looked at it, for the ring is at its end.
                drop(unsafe { accepted(entry.result()) });
            }
        }
        if is_unregistered {
            // SAFETY: the pool is not used after this. The kernel has forgotten the buffers, and no receive is under way
            // that has taken one: they are taken only in calls of this thread.
            unsafe { ManuallyDrop::drop(&mut self.pool) };
        }
        // Else the kernel may still write there: better to lose the memory.
    }
}

/// The connection that a completion of [`Ring::accept_each`] brings, or the error.
///
/// # Safety
/// It is the result of such a completion, and each is asked once.
pub(super) unsafe fn accepted(result: i32) -> Result<OwnedFd, i32> {
    // SAFETY: a descriptor that the kernel has just made for us; by the caller's promise nobody else knows it.
    if result >= 0 { Ok(unsafe { OwnedFd::from_raw_fd(result) }) } else { Err(-result) }
}

/// A multishot receive that ends after `bytes_max` bytes; 0: never.
fn limited(mut entry: squeue::Entry, bytes_max: u32) -> squeue::Entry {
    /// Where `io_uring_sqe` has `optlen`, which no builder of this operation sets.
    const OPTLEN: usize = 44;
    const { assert!(size_of::<squeue::Entry>() == 64 && align_of::<squeue::Entry>() >= align_of::<u32>()) };
    // SAFETY: an entry is an `io_uring_sqe`, in the C layout, of which these four bytes are a field that takes any value.
    unsafe { (&raw mut entry).cast::<u8>().add(OPTLEN).cast::<u32>().write(bytes_max) };
    entry
}

fn mask(events: i16) -> u32 {
    u32::from(events as u16)
}
