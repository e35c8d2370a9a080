//! Plain echo of datagrams over io_uring: one multishot receive, each answer sent from the buffer that it came in.
#![allow(unsafe_code, reason = "what the kernel reads and writes must stay where it is")]
use std::{io, mem, os::fd::AsRawFd};

use bench::peer::{self, Wire};
use io_uring::{
    IoUring, cqueue, opcode, squeue,
    types::{Fd, RecvMsgOut},
};

mod buffers;
use buffers::Buffers;

const ENTRIES: u32 = 1024;
const BUFFERS: u16 = 256;
const BUFFER_BYTES: usize = 4 << 10;
const RECEIVE: u64 = u64::MAX;

/// What a send of one buffer points to.
struct Answer {
    message: libc::msghdr,
    payload: libc::iovec,
}

fn main() -> io::Result<()> {
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_defer_taskrun();
    let mut ring: IoUring = builder.build(ENTRIES).unwrap_or_else(|fault| peer::impossible("io_uring", &fault));
    let mut buffers = Buffers::register(&ring.submitter(), BUFFERS, BUFFER_BYTES, 0)
        .unwrap_or_else(|fault| peer::impossible("a ring of buffers", &fault));
    let socket = peer::open("plain-uring", Wire::Udp)?;
    let fd = Fd(socket.as_raw_fd());
    // SAFETY: all zero is a valid msghdr, and a valid iovec.
    let (mut shape, empty) = unsafe { (mem::zeroed::<libc::msghdr>(), mem::zeroed::<libc::iovec>()) };
    shape.msg_namelen = u32::try_from(size_of::<libc::sockaddr_storage>()).map_err(io::Error::other)?;
    let mut answers: Vec<_> = (0..BUFFERS).map(|_| Answer { message: shape, payload: empty }).collect();
    let receive = || opcode::RecvMsgMulti::new(fd, &raw const shape, Buffers::GROUP).build().user_data(RECEIVE);
    push(&mut ring, &receive())?;
    let mut turn = Vec::new();
    loop {
        ring.submit_and_wait(1)?;
        turn.extend(ring.completion().map(|entry| (entry.user_data(), entry.result(), entry.flags())));
        let mut again = false;
        for (data, result, flags) in turn.drain(..) {
            if data != RECEIVE {
                // Sent or lost: the buffer is free.
                buffers.give(u16::try_from(data).map_err(io::Error::other)?);
                continue;
            }
            again |= !cqueue::more(flags);
            let (Some(id), Ok(count)) = (cqueue::buffer_select(flags), usize::try_from(result)) else { continue };
            let Ok(came) = RecvMsgOut::parse(buffers.bytes(id, 0, count), &shape) else {
                buffers.give(id);
                continue;
            };
            let Answer { message, payload } = &mut answers[usize::from(id)];
            payload.iov_base = came.payload_data().as_ptr().cast_mut().cast();
            payload.iov_len = came.payload_data().len();
            message.msg_name = came.name_data().as_ptr().cast_mut().cast();
            message.msg_namelen = u32::try_from(came.name_data().len()).map_err(io::Error::other)?;
            message.msg_iov = &raw mut *payload;
            message.msg_iovlen = 1;
            push(&mut ring, &opcode::SendMsg::new(fd, &raw const *message).build().user_data(u64::from(id)))?;
        }
        if again {
            push(&mut ring, &receive())?;
        }
    }
}

fn push(ring: &mut IoUring, entry: &squeue::Entry) -> io::Result<()> {
    // SAFETY: `shape` and `answers` stay where they are for as long as the process runs, and a buffer until it was sent.
    while unsafe { ring.submission().push(entry) }.is_err() {
        ring.submit()?;
    }
    Ok(())
}
