//! Reading and writing one connection as its shard asks.
use crate::door::{Places, Ticket};
use sotong_net::{
    clock::Clock,
    datagrams::{BATCH_DATAGRAMS_MAX, Batch, Datagrams, UdpPeer},
    socket::Socket,
};
use sotong_session::{Close, FileRange, Service};
use sotong_shard::{Reads, Shard, Step};
use std::{
    collections::BTreeSet,
    io::{self, ErrorKind, IoSlice},
    sync::Arc,
};

/// What a driver keeps for a connection.
#[derive(Debug)]
pub(crate) enum Io<K = Socket> {
    /// A socket of its own.
    Stream(Link<K>),
    /// A peer of a datagram socket, by the socket's number on its shard.
    Peer {
        socket: usize,
        peer: UdpPeer,
        /// Its next record waits in the socket's outbox.
        posted: bool,
        /// The place of a conversation that we began; peers that come by themselves take none.
        _ticket: Option<Ticket>,
    },
}

/// A stream socket, with what the model has around it, and what is known of it.
#[derive(Debug)]
pub(crate) struct Link<K = Socket> {
    pub(crate) socket: K,
    /// There may be something to read.
    pub(crate) readable: bool,
    /// Read until nothing is there: a short read proves nothing, because the peer's end or an urgent byte, in front of which
    /// every read stops, has been announced.
    pub(crate) read_on: bool,
    /// In the loop's list of those to read.
    pub(crate) queued: bool,
    /// `None` where something that outlives the connection holds its place.
    _ticket: Option<Ticket>,
}

impl<K> Link<K> {
    pub(crate) fn new(socket: K, ticket: Option<Ticket>) -> Self {
        Self { socket, readable: false, read_on: false, queued: false, _ticket: ticket }
    }
}

/// A datagram socket of a shard.
pub(crate) struct Udp {
    pub(crate) socket: Datagrams,
    /// There may be datagrams to be shown.
    pub(crate) readable: bool,
    /// What was received last, and how much of it has been shown.
    batch: Batch,
    shown: usize,
    /// Peers whose records wait for room in the socket.
    blocked: BTreeSet<u32>,
    /// Peers whose next record goes with the next call.
    outbox: Vec<u32>,
}

impl Udp {
    pub(crate) fn new(socket: Datagrams) -> Self {
        Self {
            socket,
            readable: false,
            batch: Batch::new(DATAGRAMS_A_TURN),
            shown: 0,
            blocked: BTreeSet::new(),
            outbox: Vec::new(),
        }
    }
    /// Opens the session of a socket that has been connected, before anything comes: it may speak first.
    pub(crate) fn greet<S: Service, K>(&self, number: usize, shard: &mut Shard<S, Io<K>>, places: &Arc<Places>) {
        let Some(peer) = self.socket.connected() else { return };
        let io = Io::Peer { socket: number, peer, posted: false, _ticket: places.begin() };
        // A refusal is counted by the shard; dropping the place tells that this conversation is over.
        let _ = shard.open_peer(number_of(number), &peer.way(), io);
    }
    pub(crate) fn is_blocked(&self) -> bool {
        !self.blocked.is_empty()
    }
    /// There is room again: every peer that waited is looked at.
    pub(crate) fn writable<S: Service, K>(&mut self, shard: &mut Shard<S, Io<K>>) {
        for slot in std::mem::take(&mut self.blocked) {
            shard.writable(slot);
        }
    }
    /// Shows what one turn may take, of what was received before or of a batch received now; whether there may be more.
    ///
    /// Answers are sent behind the turn. So a turn ends before datagrams have brought more than it may bring: whoever answers
    /// a burst of large ones in kind has room for the answers, and loses none of them for want of it.
    pub(crate) fn read<S: Service, K>(&mut self, number: usize, shard: &mut Shard<S, Io<K>>) -> bool {
        let is_fresh = !self.has_received();
        if is_fresh {
            self.receive(number, shard);
        }
        let turn_bytes_max = shard.limits().turn_bytes_max;
        let mut bytes = 0;
        while let Some(datagram) = self.batch.get(self.shown) {
            bytes += datagram.bytes.len();
            if bytes > turn_bytes_max && bytes > datagram.bytes.len() || shard.is_held() {
                return true;
            }
            self.shown += 1;
            let peer = datagram.peer;
            let io = || Io::Peer { socket: number, peer, posted: false, _ticket: None };
            shard.record(number_of(number), &peer.way(), datagram.bytes, io);
        }
        // More may have come, and been announced, since a batch was received that took several turns to show.
        self.readable = !is_fresh || self.batch.len() == DATAGRAMS_A_TURN;
        self.readable
    }
    /// Whether some of what was received has not been shown.
    pub(crate) fn has_received(&self) -> bool {
        self.shown < self.batch.len()
    }
    fn receive<S: Service, K>(&mut self, number: usize, shard: &mut Shard<S, Io<K>>) {
        self.shown = 0;
        let Err(error) = self.socket.receive(&mut self.batch) else { return };
        if error.kind() != ErrorKind::WouldBlock {
            tracing::debug!(%error, "receiving datagrams");
            // Of a socket with one peer the error is that peer's: nobody is there (ICMP port unreachable).
            if let Some(peer) = self.socket.connected() {
                shard.fail_peer(number_of(number), &peer.way(), close_of(&error));
            }
        }
    }
}

/// A socket's number as the shard has it: there are few, one a UDP address.
fn number_of(socket: usize) -> u32 {
    u32::try_from(socket).unwrap_or(u32::MAX)
}

/// Datagrams received from one socket in one turn (rule D9).
pub(crate) const DATAGRAMS_A_TURN: usize = 32;
/// Slices of one send.
const SLICES_MAX: usize = 64;

/// Does what the shard asks for a connection until there is nothing more to do now. Gives back the driver's part of a
/// connection that is over. Records wait for [`send_records`].
pub(crate) fn flush<S: Service, K: AsRef<Socket>>(
    shard: &mut Shard<S, Io<K>>,
    slot: u32,
    udp: &mut [Udp],
) -> Option<Io<K>> {
    loop {
        match shard.next(slot) {
            Step::Wait => return None,
            Step::Close => return shard.remove(slot),
            Step::SendRecord => {
                post_record(shard, slot, udp);
                return None;
            }
            step => act(shard, slot, step),
        }
    }
}

/// Does one thing that the shard asks for and that is done by one call.
pub(crate) fn act<S: Service, K: AsRef<Socket>>(shard: &mut Shard<S, Io<K>>, slot: u32, step: Step) {
    match step {
        Step::Wait | Step::Close | Step::SendRecord => {}
        Step::Send => send(shard, slot),
        Step::SendFile => send_file(shard, slot),
        Step::HalfClose => {
            if let Some(Io::Stream(link)) = shard.io(slot) {
                // It fails only where the connection is gone, which the next read or the close tells.
                let _ = link.socket.as_ref().shutdown_write();
            }
            shard.half_closed(slot);
        }
    }
}

fn send<S: Service, K: AsRef<Socket>>(shard: &mut Shard<S, Io<K>>, slot: u32) {
    let Some((out, Io::Stream(link))) = shard.output(slot) else { return };
    let sent = match out.front() {
        Some(bytes) => link.socket.as_ref().send(bytes, true),
        None => {
            let mut slices = Vec::with_capacity(SLICES_MAX);
            out.gather(&mut slices, SLICES_MAX);
            link.socket.as_ref().send_vectored(&slices, true)
        }
    };
    match sent {
        Ok(count) => shard.sent(slot, count),
        Err(error) => failed(shard, slot, &error),
    }
}

fn send_file<S: Service, K: AsRef<Socket>>(shard: &mut Shard<S, Io<K>>, slot: u32) {
    let most = shard.limits().turn_bytes_max as u64;
    let Some((out, Io::Stream(link))) = shard.output(slot) else { return };
    let Some(range) = out.front_file() else { return };
    // Its share of a turn, however fast the peer reads (rule D9).
    let end = range.range.end.min(range.range.start.saturating_add(most));
    let part = FileRange { file: Arc::clone(&range.file), range: range.range.start..end };
    match link.socket.as_ref().send_file(&part) {
        Ok(count) => shard.sent_file(slot, count as u64),
        Err(error) => failed(shard, slot, &error),
    }
}

/// The record at the front goes with the next call of [`send_records`].
pub(crate) fn post_record<S: Service, K>(shard: &mut Shard<S, Io<K>>, slot: u32, udp: &mut [Udp]) {
    if let Some(Io::Peer { socket, posted, .. }) = shard.io(slot)
        && let Some(udp) = udp.get_mut(*socket)
        && !std::mem::replace(posted, true)
    {
        udp.outbox.push(slot);
    }
}

/// Sends the records that the last flush has left, those of several peers by one call; who was sent one is touched, for there
/// may be more. Whether there was anything.
pub(crate) fn send_records<S: Service, K>(shard: &mut Shard<S, Io<K>>, udp: &mut [Udp]) -> bool {
    let mut any = false;
    for udp in udp.iter_mut().filter(|udp| !udp.outbox.is_empty()) {
        any = true;
        let outbox = std::mem::take(&mut udp.outbox);
        let mut left = &outbox[..];
        while !left.is_empty() {
            let done = send_some(shard, left, udp);
            for slot in &left[..done] {
                if let Some(Io::Peer { posted, .. }) = shard.io(*slot) {
                    *posted = false;
                }
                shard.touch(*slot);
            }
            left = &left[done..];
        }
        udp.outbox = outbox;
        udp.outbox.clear();
    }
    any
}

/// Sends the records at the front of some of `slots`, from the first on, and notes what came of each. How many these were: at
/// least one.
fn send_some<S: Service, K>(shard: &mut Shard<S, Io<K>>, slots: &[u32], udp: &mut Udp) -> usize {
    let mut records = Vec::with_capacity(slots.len().min(BATCH_DATAGRAMS_MAX));
    for slot in &slots[..slots.len().min(BATCH_DATAGRAMS_MAX)] {
        let Some((out, Io::Peer { peer, .. })) = shard.peek(*slot) else { break };
        // One in pieces goes by itself.
        let Some(bytes) = out.front_record() else { break };
        records.push((*peer, IoSlice::new(bytes)));
    }
    let first = slots[0];
    let result = match &records[..] {
        [] => send_in_pieces(shard, first, udp),
        [(peer, slice)] => udp.socket.send(peer, &[*slice]).map(|()| 1),
        several => udp.socket.send_batch(several),
    };
    match result {
        Ok(count) => {
            for slot in &slots[..count] {
                shard.sent_record(*slot, true);
            }
            count
        }
        Err(error) => {
            not_sent(shard, first, udp, &error);
            1
        }
    }
}

fn send_in_pieces<S: Service, K>(shard: &Shard<S, Io<K>>, slot: u32, udp: &Udp) -> io::Result<usize> {
    // A slot that is gone has nothing to say: that counts as said.
    let Some((out, Io::Peer { peer, .. })) = shard.peek(slot) else { return Ok(1) };
    let mut slices = Vec::with_capacity(SLICES_MAX);
    out.gather(&mut slices, SLICES_MAX);
    udp.socket.send(peer, &slices).map(|()| 1)
}

fn not_sent<S: Service, K>(shard: &mut Shard<S, Io<K>>, slot: u32, udp: &mut Udp, error: &io::Error) {
    if error.kind() == ErrorKind::WouldBlock {
        udp.blocked.insert(slot);
        return shard.blocked(slot);
    }
    let peer = match shard.peek(slot) {
        Some((_, Io::Peer { peer, .. })) => peer.remote.to_string(),
        _ => String::new(),
    };
    tracing::debug!(%error, peer, "a datagram was not sent");
    if udp.socket.connected().is_some() {
        shard.fail(slot, close_of(error));
    } else {
        shard.sent_record(slot, false);
    }
}

fn failed<S: Service, K>(shard: &mut Shard<S, Io<K>>, slot: u32, error: &io::Error) {
    match error.kind() {
        ErrorKind::WouldBlock => shard.blocked(slot),
        _ => shard.fail(slot, close_of(error)),
    }
}

/// Why a connection with this error is over.
pub(crate) fn close_of(error: &io::Error) -> Close {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => Close::Reset,
        kind => Close::Io(kind),
    }
}

/// Whether a read may wait for bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wait {
    No,
    /// Until the socket's time limit: for a thread that has nothing else to do. The clock tells how late it is by then.
    Yes(Clock),
}

/// Receives once, and hands what came to the shard. Whether there may be more.
pub(crate) fn read<S: Service, K: AsRef<Socket>>(
    shard: &mut Shard<S, Io<K>>,
    slot: u32,
    buffer: &mut [u8],
    wait: Wait,
) -> bool {
    let reads = shard.reads(slot);
    let Some(Io::Stream(link)) = shard.io(slot) else { return false };
    let space = match reads {
        Reads::No | Reads::Later => return link.readable,
        Reads::Show => buffer,
        Reads::Discard(left) => {
            let most = left.min(buffer.len());
            &mut buffer[..most]
        }
    };
    let came = match wait {
        Wait::No => link.socket.as_ref().recv_now(space),
        Wait::Yes(_) => link.socket.as_ref().recv(space),
    };
    if let Wait::Yes(clock) = wait {
        shard.set_time(clock.now(), clock.wall());
    }
    let Some(Io::Stream(link)) = shard.io(slot) else { return false };
    match came {
        Ok(0) => {
            link.readable = false;
            shard.end(slot);
            false
        }
        Ok(count) => {
            // Less than there was room for: nothing is left, and more will be announced.
            link.readable = count == space.len() || link.read_on;
            let more = link.readable;
            match reads {
                Reads::Discard(_) => shard.discarded(slot, count),
                Reads::Show | Reads::Later | Reads::No => shard.input(slot, &mut space[..count]),
            }
            more
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            (link.readable, link.read_on) = (false, false);
            false
        }
        Err(error) => {
            shard.fail(slot, close_of(&error));
            false
        }
    }
}

/// The kernel reports an error on a socket: if there is one, the connection is over.
///
/// One that is read anyway finds the error by that, behind the last words that came before it.
pub(crate) fn check<S: Service, K: AsRef<Socket>>(shard: &mut Shard<S, Io<K>>, slot: u32) {
    if shard.reads(slot) != Reads::No {
        return;
    }
    let Some(Io::Stream(link)) = shard.io(slot) else { return };
    if let Err(error) = link.socket.as_ref().take_error() {
        shard.fail(slot, close_of(&error));
    }
}
