//! Plain echo over epoll: one thread, edge-triggered, one hot buffer, nothing of Sotong.
use std::{io, os::fd::AsFd};

use bench::peer::{self, Wire};
use rustix::{
    buffer::spare_capacity,
    event::epoll,
    fd::{AsRawFd, OwnedFd},
    io::Errno,
    net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, recvfrom, send, sendto},
};

const BUFFER_BYTES: usize = 64 << 10;
const EVENTS_MAX: usize = 1024;

struct Conn {
    socket: OwnedFd,
    /// What the peer's window had no room for; nothing is read meanwhile.
    rest: Vec<u8>,
}

enum Next {
    Wait,
    Close,
}

fn main() -> io::Result<()> {
    let wire = peer::wire()?;
    let socket = OwnedFd::from(peer::open("plain-epoll", wire)?);
    rustix::io::ioctl_fionbio(&socket, true)?;
    match wire {
        Wire::Tcp => tcp(&socket),
        Wire::Udp => udp(&socket),
    }
}

fn tcp(listener: &OwnedFd) -> io::Result<()> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let listening = u64::MAX;
    epoll::add(&poll, listener, epoll::EventData::new_u64(listening), epoll::EventFlags::IN)?;
    let mut conns: Vec<Option<Conn>> = Vec::new();
    let mut events = Vec::with_capacity(EVENTS_MAX);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        events.clear();
        epoll::wait(&poll, spare_capacity(&mut events), None)?;
        for event in &events {
            let at = event.data.u64();
            if at == listening {
                accept_all(listener, &poll, &mut conns)?;
                continue;
            }
            let slot = &mut conns[usize::try_from(at).unwrap_or(usize::MAX)];
            if let Some(conn) = slot
                && matches!(turn(conn, &mut buffer), Next::Close)
            {
                *slot = None;
            }
        }
    }
}

fn accept_all(listener: &OwnedFd, poll: &OwnedFd, conns: &mut Vec<Option<Conn>>) -> io::Result<()> {
    loop {
        let socket = match accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            Ok(socket) => socket,
            Err(Errno::AGAIN) => return Ok(()),
            Err(Errno::CONNABORTED) => continue,
            Err(errno) => return Err(errno.into()),
        };
        let at = usize::try_from(socket.as_raw_fd()).map_err(io::Error::other)?;
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        epoll::add(poll, socket.as_fd(), epoll::EventData::new_u64(at as u64), flags)?;
        if conns.len() <= at {
            conns.resize_with(at + 1, || None);
        }
        conns[at] = Some(Conn { socket, rest: Vec::new() });
    }
}

fn turn(conn: &mut Conn, buffer: &mut [u8]) -> Next {
    loop {
        // Until the edge: only then does epoll tell when there is room again.
        while !conn.rest.is_empty() {
            match send(&conn.socket, &conn.rest, SendFlags::NOSIGNAL) {
                Ok(count) => drop(conn.rest.drain(..count)),
                Err(Errno::AGAIN) => return Next::Wait,
                Err(_) => return Next::Close,
            }
        }
        let count = match recv(&conn.socket, &mut *buffer, RecvFlags::empty()) {
            Ok((0, _)) => return Next::Close,
            Ok((count, _)) => count,
            Err(Errno::AGAIN) => return Next::Wait,
            Err(_) => return Next::Close,
        };
        let sent = match send(&conn.socket, &buffer[..count], SendFlags::NOSIGNAL) {
            Ok(sent) => sent,
            Err(Errno::AGAIN) => 0,
            Err(_) => return Next::Close,
        };
        conn.rest = buffer[sent..count].to_vec();
        // A short read proves that nothing is left: what comes later is an edge of its own.
        if conn.rest.is_empty() && count < buffer.len() {
            return Next::Wait;
        }
    }
}

fn udp(socket: &OwnedFd) -> io::Result<()> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&poll, socket, epoll::EventData::new_u64(0), epoll::EventFlags::IN | epoll::EventFlags::ET)?;
    let mut events = Vec::with_capacity(EVENTS_MAX);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        events.clear();
        epoll::wait(&poll, spare_capacity(&mut events), None)?;
        loop {
            let (count, from) = match recvfrom(socket, &mut buffer, RecvFlags::empty()) {
                Ok((count, _, from)) => (count, from),
                Err(Errno::AGAIN) => break,
                // An earlier answer was refused.
                Err(_) => continue,
            };
            if let Some(from) = from {
                // A datagram that cannot leave is lost, as datagrams may be.
                let _ = sendto(socket, &buffer[..count], SendFlags::NOSIGNAL, &from);
            }
        }
    }
}
