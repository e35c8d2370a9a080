//! Messages in rooms: every receiver hears each of them, once, in the order in which it was said.
use std::{
    net::SocketAddr,
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

use super::crowd::{Crowd, Line};
use crate::{
    load::{LoadError, Meter, Tally},
    proc::Tree,
};

/// Bytes of a message's text.
const TEXT_BYTES: usize = 64;
/// Of these, the sender's number and the message's.
const SENDER_BYTES: usize = 5;
const NUMBER_BYTES: usize = 10;

/// Who talks, and how far ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Clients, spread evenly over the rooms.
    pub clients: usize,
    /// Rooms.
    pub rooms: usize,
    /// Whether everybody talks, or in each room one alone.
    pub all: bool,
    /// Messages of a sender that have not come to everybody in its room.
    pub ahead: usize,
}

impl Shape {
    /// The room of a client, and its place there.
    fn seat(self, client: usize) -> (usize, usize) {
        (client % self.rooms, client / self.rooms)
    }
    fn members(self) -> usize {
        self.clients / self.rooms
    }
    fn talks(self, client: usize) -> bool {
        self.all || self.seat(client).1 == 0
    }
}

/// A sender: the numbers of what it has said and of what all have heard, and for each message between how many have not,
/// and when it was said.
#[derive(Debug)]
struct Sender {
    said: u64,
    done: u64,
    missing: Box<[usize]>,
    times: Box<[Instant]>,
}

/// Lets the clients talk for one window. A delivery counts as one message, its latency from being said to being heard.
///
/// # Errors
/// If a message is lost, doubled, changed or out of order.
pub fn talk(
    (server, tree): (SocketAddr, Tree),
    shape: Shape,
    length: Duration,
    interrupted: &AtomicBool,
) -> Result<Tally, LoadError> {
    let mut crowd = Crowd::register(server, shape.clients, interrupted)?;
    crowd.join(|client| shape.seat(client).0)?;
    let mut hall = Hall::new(shape);
    let mut meter = Meter::new(tree, length, interrupted)?;
    let mut out = Vec::new();
    // Who may say something now.
    let mut free: Vec<usize> = (0..shape.clients).filter(|client| shape.talks(*client)).collect();
    loop {
        for client in free.drain(..) {
            out.clear();
            hall.say(client, &mut out);
            crowd.say(client, &out)?;
        }
        let now = Instant::now();
        if let Some(tally) = meter.tick(now)? {
            return Ok(tally);
        }
        let mut now = None;
        crowd.turn(|client, line| {
            if line.command == b"PRIVMSG" {
                let now = *now.get_or_insert_with(Instant::now);
                let sender = hall.heard(client, line, |said| meter.hit(said, now))?;
                free.extend(sender);
            }
            Ok(())
        })?;
        free.sort_unstable();
        free.dedup();
    }
}

/// What was said and heard.
struct Hall {
    shape: Shape,
    senders: Vec<Sender>,
    /// For each client, the number of the next message of each member of its room.
    next: Vec<Box<[u64]>>,
}

impl Hall {
    fn new(shape: Shape) -> Self {
        let now = Instant::now();
        let sender =
            |_| Sender { said: 0, done: 0, missing: vec![0; shape.ahead].into(), times: vec![now; shape.ahead].into() };
        let talkers = if shape.all { shape.members() } else { 1 };
        let next = (0..shape.clients).map(|_| vec![0; talkers].into()).collect();
        Self { shape, senders: (0..shape.clients).map(sender).collect(), next }
    }
    /// All that `client` may say now.
    fn say(&mut self, client: usize, out: &mut Vec<u8>) {
        let (room, others) = (self.shape.seat(client).0, self.shape.members() - 1);
        let sender = &mut self.senders[client];
        let now = Instant::now();
        while sender.said < sender.done + self.shape.ahead as u64 {
            out.extend(format!("PRIVMSG #r{room} :").as_bytes());
            out.extend(text(client, sender.said));
            out.extend(b"\r\n");
            let at = slot(sender.said, self.shape.ahead);
            (sender.missing[at], sender.times[at]) = (others, now);
            sender.said += 1;
        }
    }
    /// `client` has heard a message. Its sender, if that was the last who had not.
    fn heard(
        &mut self,
        client: usize,
        line: &Line<'_>,
        mut hit: impl FnMut(Instant),
    ) -> Result<Option<usize>, LoadError> {
        let text_heard = line.text();
        let number = |from: usize, bytes: usize| {
            let digits = text_heard.get(from..from + bytes)?;
            std::str::from_utf8(digits).ok()?.parse::<u64>().ok()
        };
        let sender = number(0, SENDER_BYTES).and_then(|sender| usize::try_from(sender).ok());
        let (sender, number) = (sender, number(SENDER_BYTES + 1, NUMBER_BYTES));
        let wrong = |number| LoadError::Wrong { peer: u32::try_from(client).unwrap_or(u32::MAX), number };
        let (Some(sender), Some(number)) = (sender, number) else { return Err(wrong(0)) };
        let (own_room, (room, place)) = (self.shape.seat(client).0, self.shape.seat(sender));
        let is_known = sender < self.senders.len() && sender != client && room == own_room;
        let next = self.next[client].get_mut(place).filter(|next| is_known && **next == number);
        let Some(next) = next else { return Err(wrong(number)) };
        let from = &mut self.senders[sender];
        if number >= from.said || text_heard != text(sender, number) {
            return Err(wrong(number));
        }
        *next += 1;
        let at = slot(number, self.shape.ahead);
        hit(from.times[at]);
        from.missing[at] -= 1;
        if from.missing[at] > 0 {
            return Ok(None);
        }
        from.done += 1;
        Ok(Some(sender))
    }
}

fn slot(number: u64, ahead: usize) -> usize {
    usize::try_from(number % ahead as u64).unwrap_or(0)
}

/// What `sender` says as its message `number`.
fn text(sender: usize, number: u64) -> [u8; TEXT_BYTES] {
    let mut text = [b'.'; TEXT_BYTES];
    digits(&mut text[..SENDER_BYTES], sender as u64);
    text[SENDER_BYTES] = b' ';
    digits(&mut text[SENDER_BYTES + 1..][..NUMBER_BYTES], number);
    text[SENDER_BYTES + 1 + NUMBER_BYTES] = b' ';
    text
}

fn digits(into: &mut [u8], mut number: u64) {
    for digit in into.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { clients: 4, rooms: 2, all: true, ahead: 2 };

    fn hear(hall: &mut Hall, client: usize, text: &[u8]) -> Option<Option<usize>> {
        let line = [b":x PRIVMSG #r0 :", text].concat();
        hall.heard(client, &Line::read(&line), |_| {}).ok()
    }

    #[test]
    fn each_message_once_in_order_and_whole() {
        let mut hall = Hall::new(SHAPE);
        let mut out = Vec::new();
        hall.say(0, &mut out);
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 2, "two ahead");
        assert!(
            out.starts_with(b"PRIVMSG #r0 :00000 0000000000 ....")
                && text(12345, 67).starts_with(b"12345 0000000067 .")
        );
        assert_eq!(hear(&mut hall, 2, &text(0, 1)), None, "the first is missing");
        assert_eq!(hear(&mut hall, 1, &text(0, 0)), None, "another room");
        assert_eq!(hear(&mut hall, 2, &text(2, 0)), None, "its own");
        assert_eq!(hear(&mut hall, 2, &[&text(0, 0)[..63], b"!"].concat()), None, "changed");
        assert_eq!(hear(&mut hall, 2, &text(0, 0)), Some(Some(0)));
        assert_eq!(hear(&mut hall, 2, &text(0, 0)), None, "doubled");
        assert_eq!(hear(&mut hall, 2, &text(0, 1)), Some(Some(0)));
        assert_eq!(hear(&mut hall, 2, &text(0, 2)), None, "never said");
    }
}
