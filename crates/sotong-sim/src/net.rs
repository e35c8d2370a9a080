//! Wires between two ends, each with bounded buffers, as a kernel has them.
use crate::{
    Wires,
    agenda::{Agenda, Happening, nanos},
};
use std::collections::VecDeque;

/// All wires. A side of a wire is 0 (who was connected to) or 1 (who connected).
#[derive(Debug)]
pub(crate) struct Net {
    wires: Vec<Wire>,
    like: Wires,
    /// Which ends something has changed for, until the simulation has told their owners.
    pub(crate) notices: Vec<Notice>,
}

#[derive(Debug)]
struct Wire {
    /// `ways[side]` carries what `side` sends.
    ways: [OneWay; 2],
    sides: [Side; 2],
    latency: u64,
}

/// One direction.
#[derive(Debug, Default)]
struct OneWay {
    /// In the sender's kernel.
    send: VecDeque<u8>,
    /// Left the sender, and not with the receiver yet.
    flying: usize,
    /// In the receiver's kernel.
    received: VecDeque<u8>,
    fin: Fin,
    fin_arrived: bool,
    /// A departure is planned.
    busy: bool,
    /// Pieces never overtake each other.
    last_arrival: u64,
    /// Nothing moves any more.
    dead: bool,
    /// All that was ever accepted from the sender.
    log: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Fin {
    #[default]
    No,
    Queued,
    Gone,
}

#[derive(Clone, Copy, Debug, Default)]
struct Side {
    closed: bool,
    reset: bool,
    vanished: bool,
}

/// Something changed for one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) wire: usize,
    pub(crate) side: usize,
    pub(crate) kind: Change,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Bytes, an end or a reset can be read.
    Readable,
    /// The kernel takes bytes again.
    Writable,
    /// The connection was reset.
    Reset,
}

/// What reading gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    Bytes(Vec<u8>),
    Nothing,
    End,
    Reset,
}

impl Net {
    pub(crate) fn new(like: Wires) -> Self {
        Self { wires: Vec::new(), like, notices: Vec::new() }
    }
    pub(crate) fn add(&mut self, agenda: &mut Agenda) -> usize {
        let latency = agenda.dice.between(0, nanos(self.like.latency));
        self.wires.push(Wire { ways: Default::default(), sides: Default::default(), latency });
        self.wires.len() - 1
    }
    /// Hands bytes to the kernel: how many it took, 0 for "not now". `None` after a reset.
    pub(crate) fn send(&mut self, agenda: &mut Agenda, wire: usize, side: usize, bytes: &[u8]) -> Option<usize> {
        let at = &mut self.wires[wire];
        if at.sides[side].reset || at.sides[side].closed {
            return None;
        }
        let way = &mut at.ways[side];
        let count = bytes.len().min(self.like.send_buffer - way.send.len().min(self.like.send_buffer));
        way.send.extend(&bytes[..count]);
        way.log.extend_from_slice(&bytes[..count]);
        self.kick(agenda, wire, side);
        Some(count)
    }
    /// Takes at most `most` bytes that came to `side`.
    pub(crate) fn read(&mut self, agenda: &mut Agenda, wire: usize, side: usize, most: usize) -> Read {
        let at = &mut self.wires[wire];
        if at.sides[side].reset {
            return Read::Reset;
        }
        let way = &mut at.ways[1 - side];
        if way.received.is_empty() {
            return if way.fin_arrived { Read::End } else { Read::Nothing };
        }
        let count = most.min(way.received.len());
        let bytes = way.received.drain(..count).collect();
        self.kick(agenda, wire, 1 - side);
        Read::Bytes(bytes)
    }
    /// Whether reading would give something.
    pub(crate) fn is_readable(&self, wire: usize, side: usize) -> bool {
        let at = &self.wires[wire];
        let way = &at.ways[1 - side];
        at.sides[side].reset || !way.received.is_empty() || way.fin_arrived
    }
    /// Everything the kernel ever took from `side`.
    pub(crate) fn log(&self, wire: usize, side: usize) -> &[u8] {
        &self.wires[wire].ways[side].log
    }
    /// Ends `side`'s direction once what is queued has gone.
    pub(crate) fn shut(&mut self, agenda: &mut Agenda, wire: usize, side: usize) {
        let way = &mut self.wires[wire].ways[side];
        if way.fin == Fin::No {
            way.fin = Fin::Queued;
        }
        self.kick(agenda, wire, side);
    }
    /// `side` lets go of its socket. With input unread that resets the connection, as kernels do.
    pub(crate) fn close(&mut self, agenda: &mut Agenda, wire: usize, side: usize) {
        if !self.wires[wire].ways[1 - side].received.is_empty() {
            return self.reset(agenda, wire, side);
        }
        self.wires[wire].sides[side].closed = true;
        self.shut(agenda, wire, side);
    }
    /// `side` resets the connection: what it had queued is lost.
    pub(crate) fn reset(&mut self, agenda: &mut Agenda, wire: usize, side: usize) {
        let at = &mut self.wires[wire];
        at.sides[side].closed = true;
        let silent = at.ways[side].dead || at.sides[side].reset;
        at.ways[side].send.clear();
        at.ways[side].dead = true;
        at.ways[1 - side].received.clear();
        if !silent {
            let arrival = agenda.now.saturating_add(at.latency).max(at.ways[side].last_arrival + 1);
            agenda.at(arrival, Happening::ArriveReset { wire, side: 1 - side });
        }
    }
    /// `side` is unplugged: nothing goes in either direction any more, and nobody is told.
    pub(crate) fn vanish(&mut self, wire: usize, side: usize) {
        let at = &mut self.wires[wire];
        at.sides[side].vanished = true;
        for way in &mut at.ways {
            way.dead = true;
        }
    }

    /// Plans the next departure of a direction, if there is something to go and somewhere to go to.
    fn kick(&mut self, agenda: &mut Agenda, wire: usize, side: usize) {
        let window = self.like.receive_buffer;
        let way = &mut self.wires[wire].ways[side];
        let has_bytes = !way.send.is_empty() && way.received.len() + way.flying < window;
        let has_fin = way.send.is_empty() && way.fin == Fin::Queued;
        if !way.busy && !way.dead && (has_bytes || has_fin) {
            way.busy = true;
            agenda.after(0, Happening::Depart { wire, side });
        }
    }
    pub(crate) fn depart(&mut self, agenda: &mut Agenda, wire: usize, side: usize) {
        let at = &mut self.wires[wire];
        let way = &mut at.ways[side];
        way.busy = false;
        if way.dead {
            return;
        }
        let window = self.like.receive_buffer.saturating_sub(way.received.len() + way.flying);
        let jitter = if agenda.dice.chance(100) { agenda.dice.between(0, at.latency) } else { 0 };
        let arrival = agenda.now.saturating_add(at.latency + jitter).max(way.last_arrival + 1);
        let most = self.like.piece_max.min(way.send.len()).min(window);
        if most > 0 {
            let count = agenda.dice.size(most);
            let bytes: Vec<u8> = way.send.drain(..count).collect();
            way.flying += count;
            way.last_arrival = arrival;
            way.busy = true;
            agenda.at(arrival, Happening::Arrive { wire, side, bytes });
            let time = nanos(self.like.byte_time).saturating_mul(count as u64);
            agenda.after(time.max(1), Happening::Depart { wire, side });
            self.notices.push(Notice { wire, side, kind: Change::Writable });
        } else if way.send.is_empty() && way.fin == Fin::Queued {
            way.fin = Fin::Gone;
            way.last_arrival = arrival;
            agenda.at(arrival, Happening::ArriveFin { wire, side });
        }
    }
    pub(crate) fn arrive(&mut self, agenda: &mut Agenda, wire: usize, side: usize, bytes: &[u8]) {
        let at = &mut self.wires[wire];
        let to = 1 - side;
        at.ways[side].flying -= bytes.len();
        if at.sides[to].vanished || at.sides[side].vanished || at.sides[to].reset {
            return;
        }
        if at.sides[to].closed {
            // Nobody is left to read this: the kernel answers with a reset, and forgets what it had still to send.
            return self.reset(agenda, wire, to);
        }
        at.ways[side].received.extend(bytes);
        self.notices.push(Notice { wire, side: to, kind: Change::Readable });
    }
    pub(crate) fn arrive_fin(&mut self, wire: usize, side: usize) {
        let at = &mut self.wires[wire];
        let to = 1 - side;
        if at.sides[to].vanished || at.sides[side].vanished || at.sides[to].reset {
            return;
        }
        at.ways[side].fin_arrived = true;
        self.notices.push(Notice { wire, side: to, kind: Change::Readable });
    }
    pub(crate) fn arrive_reset(&mut self, wire: usize, side: usize) {
        let at = &mut self.wires[wire];
        if at.sides[side].vanished || at.sides[1 - side].vanished {
            return;
        }
        at.sides[side].reset = true;
        // The harshest kernel: what came and was not read is gone.
        at.ways[1 - side].received.clear();
        at.ways[side].send.clear();
        at.ways[side].dead = true;
        self.notices.push(Notice { wire, side, kind: Change::Reset });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dice, Setup};

    fn world() -> (Net, Agenda, usize) {
        let mut setup = Setup::new(1);
        setup.wires.send_buffer = 8;
        setup.wires.receive_buffer = 8;
        let mut agenda = Agenda::new(Dice::new(1));
        let mut net = Net::new(setup.wires);
        let wire = net.add(&mut agenda);
        (net, agenda, wire)
    }
    fn run(net: &mut Net, agenda: &mut Agenda) {
        while let Some(happening) = agenda.next() {
            match happening {
                Happening::Depart { wire, side } => net.depart(agenda, wire, side),
                Happening::Arrive { wire, side, bytes } => net.arrive(agenda, wire, side, &bytes),
                Happening::ArriveFin { wire, side } => net.arrive_fin(wire, side),
                Happening::ArriveReset { wire, side } => net.arrive_reset(wire, side),
                other => unreachable!("nobody plans {other:?}"),
            }
        }
    }

    #[test]
    fn bytes_arrive_in_order_and_no_more_than_the_buffers_hold() {
        let (mut net, mut agenda, wire) = world();
        assert_eq!(net.send(&mut agenda, wire, 1, b"0123456789"), Some(8));
        run(&mut net, &mut agenda);
        assert_eq!(net.send(&mut agenda, wire, 1, b"89abcdefgh"), Some(8));
        run(&mut net, &mut agenda);
        assert_eq!(net.send(&mut agenda, wire, 1, b"ghi"), Some(0));
        net.shut(&mut agenda, wire, 1);
        assert_eq!(net.read(&mut agenda, wire, 0, 99), Read::Bytes(b"01234567".to_vec()));
        run(&mut net, &mut agenda);
        assert_eq!(net.read(&mut agenda, wire, 0, 99), Read::Bytes(b"89abcdef".to_vec()));
        run(&mut net, &mut agenda);
        assert_eq!(net.read(&mut agenda, wire, 0, 99), Read::End);
    }

    #[test]
    fn closing_with_unread_input_destroys_the_last_words() {
        let (mut net, mut agenda, wire) = world();
        net.send(&mut agenda, wire, 1, b"unread");
        run(&mut net, &mut agenda);
        net.send(&mut agenda, wire, 0, b"bye");
        net.close(&mut agenda, wire, 0);
        run(&mut net, &mut agenda);
        assert_eq!(net.read(&mut agenda, wire, 1, 99), Read::Reset);
    }

    #[test]
    fn who_vanished_is_never_heard_of_again() {
        let (mut net, mut agenda, wire) = world();
        net.send(&mut agenda, wire, 1, b"hello");
        net.vanish(wire, 1);
        run(&mut net, &mut agenda);
        assert_eq!(net.read(&mut agenda, wire, 0, 99), Read::Nothing);
        assert_eq!(net.send(&mut agenda, wire, 0, b"0123456789"), Some(8));
        run(&mut net, &mut agenda);
        assert_eq!(net.send(&mut agenda, wire, 0, b"89"), Some(0));
    }
}
