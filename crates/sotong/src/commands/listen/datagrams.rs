//! UDP peers of `listen`: one socket hears them all, and each has a pair of local sockets to its own conversation.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;

use sotong_net::datagrams::{BATCH_DATAGRAMS_MAX, Batch, DATAGRAM_BYTES_MAX, Datagrams, UdpPeer};
use sotong_net::pump::Limits;
use sotong_session::{Limits as Served, Way};

use crate::commands::joining::Joining;
use crate::failure::Failure;

/// Datagrams to one peer before the others have their turn.
const TURN_DATAGRAMS_MAX: usize = 64;

/// A UDP socket and its peers.
pub(super) struct Relay {
    socket: Datagrams,
    batch: Batch,
    peers: Vec<Peer>,
    buffer: Vec<u8>,
    /// Datagrams from peers there was no room for, or that came faster than they were taken.
    dropped: u64,
}

struct Peer {
    number: u64,
    at: UdpPeer,
    conversation: UnixDatagram,
}

/// Limits of a conversation over UDP, which nothing but silence ends: of many, each is forgotten in time.
pub(super) fn limits(joining: &Joining<'_>, shared: bool) -> Limits {
    let limits = joining.limits();
    if shared {
        Limits { idle: Some(limits.idle.unwrap_or(Served::default().udp_idle)), ..limits }
    } else {
        Limits { quiet: limits.idle, ..limits }
    }
}

impl Relay {
    pub(super) fn new(socket: Datagrams) -> Self {
        let batch = Batch::new(BATCH_DATAGRAMS_MAX);
        Self { socket, batch, peers: Vec::new(), buffer: vec![0; DATAGRAM_BYTES_MAX], dropped: 0 }
    }

    /// What is to be polled for reading.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let conversations = self.peers.iter().map(|peer| peer.conversation.as_fd());
        std::iter::once(self.socket.as_fd()).chain(conversations)
    }

    /// Passes on what has come; `meet` begins a conversation with a new peer, or turns it away.
    pub(super) fn receive(
        &mut self,
        mut meet: impl FnMut(&Way) -> Result<Option<(u64, UnixDatagram)>, Failure>,
    ) -> Result<(), Failure> {
        let Ok(count) = self.socket.receive(&mut self.batch) else { return Ok(()) };
        for index in 0..count {
            let Some(datagram) = self.batch.get(index) else { break };
            let known = self.peers.iter().position(|peer| peer.at == datagram.peer);
            let known = match known {
                Some(known) => known,
                None => match meet(&datagram.peer.way())? {
                    Some((number, conversation)) => {
                        self.peers.push(Peer { number, at: datagram.peer, conversation });
                        self.peers.len() - 1
                    }
                    None => {
                        self.dropped += 1;
                        continue;
                    }
                },
            };
            if self.peers[known].conversation.send(datagram.bytes).is_err() {
                self.dropped += 1;
            }
        }
        Ok(())
    }

    /// Sends what the conversations have to say.
    pub(super) fn send(&mut self) {
        let Self { socket, peers, buffer, dropped, .. } = self;
        for peer in peers {
            *dropped += flush(socket, peer, buffer);
        }
    }

    /// Sends the last words of a conversation that is over, and forgets its peer.
    pub(super) fn forget(&mut self, number: u64) {
        let Some(index) = self.peers.iter().position(|peer| peer.number == number) else { return };
        let peer = self.peers.swap_remove(index);
        self.dropped += flush(&self.socket, &peer, &mut self.buffer);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if self.dropped > 0 {
            tracing::info!(datagrams = self.dropped, "dropped");
        }
    }
}

/// Sends what one conversation has to say, and counts what could not be sent: an error loses a datagram, never the socket.
fn flush(socket: &Datagrams, peer: &Peer, buffer: &mut [u8]) -> u64 {
    let mut lost = 0;
    for _ in 0..TURN_DATAGRAMS_MAX {
        let count = match peer.conversation.recv(buffer) {
            Ok(count) => count,
            Err(fault) if fault.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        if socket.send(&peer.at, &[IoSlice::new(&buffer[..count])]).is_err() {
            lost += 1;
        }
    }
    lost
}
