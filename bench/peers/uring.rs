//! Plain echo over io_uring: one ring, multishot accept and receive into an incremental ring of buffers, one batched
//! submit a turn, nothing of Sotong. Needs Linux 6.12.
#![allow(unsafe_code, reason = "what the kernel reads and writes must stay where it is")]
use std::{
    io, mem,
    os::fd::{AsRawFd, RawFd},
};

use bench::peer::{self, Wire};
use io_uring::{IoUring, cqueue, opcode, squeue, types::Fd};

mod buffers;
use buffers::Buffers;

const ENTRIES: u32 = 4096;
const COMPLETIONS: u32 = 32 << 10;
const BUFFERS: u16 = 32;
const BUFFER_BYTES: usize = 64 << 10;
/// IOU_PBUF_RING_INC: one buffer takes many receives.
const INCREMENTAL: u16 = 2;

const ACCEPT: u64 = 0;
const RECEIVE: u64 = 1;
const SEND: u64 = 2;
const CANCEL: u64 = 3;

/// What is on its way to a peer: never more than one send, or a short one would be overtaken.
#[derive(Default)]
enum Sending {
    #[default]
    Nothing,
    /// Straight from a shared buffer: which, from where, how much.
    Shared(u16, usize, usize),
    Own(Vec<u8>),
}

#[derive(Default)]
struct Conn {
    receiving: bool,
    ended: bool,
    /// Its window is full: nothing is received meanwhile.
    slow: bool,
    sending: Sending,
    /// What waits behind the send.
    rest: Vec<u8>,
}

/// How far a shared buffer is filled, who still sends from it, and whether the kernel is done with it.
#[derive(Clone, Copy, Default)]
struct Use {
    filled: usize,
    sends: u32,
    done: bool,
}

struct Server {
    ring: IoUring,
    buffers: Buffers,
    uses: [Use; BUFFERS as usize],
    conns: Vec<Option<Conn>>,
}

fn main() -> io::Result<()> {
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_defer_taskrun().setup_cqsize(COMPLETIONS);
    let ring: IoUring = builder.build(ENTRIES).unwrap_or_else(|fault| peer::impossible("io_uring", &fault));
    let buffers = Buffers::register(&ring.submitter(), BUFFERS, BUFFER_BYTES, INCREMENTAL)
        .unwrap_or_else(|fault| peer::impossible("an incremental ring of buffers", &fault));
    let listener = peer::open("plain-uring", Wire::Tcp)?;
    let uses = [Use::default(); BUFFERS as usize];
    let mut server = Server { ring, buffers, uses, conns: Vec::new() };
    server.push(opcode::AcceptMulti::new(Fd(listener.as_raw_fd())).build(), ACCEPT, listener.as_raw_fd())?;
    let mut turn = Vec::new();
    loop {
        server.ring.submit_and_wait(1)?;
        turn.extend(server.ring.completion().map(|entry| (entry.user_data(), entry.result(), entry.flags())));
        for (data, result, flags) in turn.drain(..) {
            let fd = RawFd::try_from(data >> 8).map_err(io::Error::other)?;
            match data & 0xff {
                ACCEPT => server.accepted(fd, result, flags)?,
                RECEIVE => server.received(fd, result, flags)?,
                SEND => server.sent(fd, result)?,
                _ => {}
            }
        }
    }
}

impl Server {
    fn push(&mut self, entry: squeue::Entry, what: u64, fd: RawFd) -> io::Result<()> {
        let entry = entry.user_data(u64::from(fd.cast_unsigned()) << 8 | what);
        // SAFETY: what an entry points to is a shared buffer in use, or owned by the connection, until it completes.
        while unsafe { self.ring.submission().push(&entry) }.is_err() {
            self.ring.submit()?;
        }
        Ok(())
    }

    fn accepted(&mut self, listener: RawFd, result: i32, flags: u32) -> io::Result<()> {
        if !cqueue::more(flags) {
            self.push(opcode::AcceptMulti::new(Fd(listener)).build(), ACCEPT, listener)?;
        }
        let Ok(at) = usize::try_from(result) else { return Ok(()) };
        if self.conns.len() <= at {
            self.conns.resize_with(at + 1, || None);
        }
        self.conns[at] = Some(Conn::default());
        self.receive(result)
    }

    fn receive(&mut self, fd: RawFd) -> io::Result<()> {
        match self.conns[fd as usize].as_mut() {
            Some(conn) if !(conn.receiving || conn.ended || conn.slow) => conn.receiving = true,
            _ => return Ok(()),
        }
        self.push(opcode::RecvMulti::new(Fd(fd), Buffers::GROUP).build(), RECEIVE, fd)
    }

    fn received(&mut self, fd: RawFd, result: i32, flags: u32) -> io::Result<()> {
        let Some(conn) = self.conns[fd as usize].as_mut() else { return Ok(()) };
        conn.receiving = cqueue::more(flags);
        if let (Some(id), Ok(count @ 1..)) = (cqueue::buffer_select(flags), usize::try_from(result)) {
            let buffer = &mut self.uses[usize::from(id)];
            let offset = buffer.filled;
            buffer.filled += count;
            buffer.done = !cqueue::buffer_more(flags);
            if matches!(conn.sending, Sending::Nothing) {
                buffer.sends += 1;
                conn.sending = Sending::Shared(id, offset, count);
                self.send(fd, self.buffers.at(id, offset), count, libc::MSG_DONTWAIT)?;
            } else {
                conn.rest.extend_from_slice(self.buffers.bytes(id, offset, count));
            }
            self.give_back(id);
        } else if ![-libc::ENOBUFS, -libc::ECANCELED].contains(&result) {
            conn.ended = true;
        }
        // A receive that found no buffer is tried anew with the next submit: sends that do not wait hold none for long.
        self.go_on(fd)
    }

    fn send(&mut self, fd: RawFd, bytes: *const u8, count: usize, wait: i32) -> io::Result<()> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.push(opcode::Send::new(Fd(fd), bytes, count).flags(libc::MSG_NOSIGNAL | wait).build(), SEND, fd)
    }

    fn sent(&mut self, fd: RawFd, result: i32) -> io::Result<()> {
        let Some(conn) = self.conns[fd as usize].as_mut() else { return Ok(()) };
        let sent = usize::try_from(result).unwrap_or(0);
        let mut shared = None;
        let mut left = match mem::take(&mut conn.sending) {
            Sending::Nothing => Vec::new(),
            Sending::Shared(id, offset, count) => {
                shared = Some(id);
                self.uses[usize::from(id)].sends -= 1;
                self.buffers.bytes(id, offset + sent, count - sent).to_vec()
            }
            Sending::Own(mut bytes) => bytes.split_off(sent),
        };
        conn.ended |= result < 0 && result != -libc::EAGAIN;
        conn.slow = !left.is_empty() && !conn.ended;
        let stop = conn.slow && conn.receiving;
        left.append(&mut conn.rest);
        if !left.is_empty() && (result >= 0 || result == -libc::EAGAIN) {
            // The heap's bytes stay where they are while the connection moves.
            let (bytes, count) = (left.as_ptr(), left.len());
            conn.sending = Sending::Own(left);
            self.send(fd, bytes, count, 0)?;
        }
        if stop {
            let received = u64::from(fd.cast_unsigned()) << 8 | RECEIVE;
            self.push(opcode::AsyncCancel::new(received).build(), CANCEL, fd)?;
        }
        shared.into_iter().for_each(|id| self.give_back(id));
        self.go_on(fd)
    }

    fn give_back(&mut self, id: u16) {
        let buffer = &mut self.uses[usize::from(id)];
        if buffer.done && buffer.sends == 0 {
            *buffer = Use::default();
            self.buffers.give(id);
        }
    }

    fn go_on(&mut self, fd: RawFd) -> io::Result<()> {
        let over = |conn: &mut Conn| conn.ended && !conn.receiving && matches!(conn.sending, Sending::Nothing);
        if self.conns[fd as usize].take_if(over).is_some() {
            // SAFETY: the connection's own descriptor, which no operation uses any more.
            unsafe { libc::close(fd) };
            return Ok(());
        }
        self.receive(fd)
    }
}
