//! The other end of a wire, when it is not a session: somebody who sends and reads as a test says.
use crate::Dice;
use sotong_session::Rule;
use std::{collections::VecDeque, time::Duration};

/// Names a connection, or a datagram peer, of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link(pub(crate) usize);

/// Somebody at the other end. Pure, like a session: it is called, and says what it does.
pub trait Peer: 'static {
    /// Called when it is connected, has read something, is told of an end, was poked, or has slept as long as it wished.
    fn poll(&mut self, cx: &mut PeerCx<'_>);
}

/// The world as a peer sees it during one call, and what it does there.
#[derive(Debug)]
pub struct PeerCx<'a> {
    /// Time since the run began.
    pub now: Duration,
    /// What was read just now: some bytes of a stream, or one datagram, which may be empty.
    pub fresh: Option<&'a [u8]>,
    /// How the other end's direction ended, if it has.
    pub ended: Option<Ended>,
    /// Choices, from the run's seed.
    pub dice: &'a mut Dice,
    /// Its own name, for others to poke it.
    pub me: Link,
    pub(crate) acts: &'a mut Acts,
}

/// How a direction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The other end said all it had to say.
    Fin,
    /// The connection was reset.
    Reset,
}

/// How a peer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Whatever comes, at once.
    Fast,
    /// At most so many bytes, so often.
    Slow {
        /// Bytes at a time.
        bytes: usize,
        /// Time between two reads.
        every: Duration,
    },
    /// Nothing: what is sent to it fills buffers.
    Never,
}

#[derive(Debug, Default)]
pub(crate) struct Acts {
    pub(crate) send: Vec<Vec<u8>>,
    pub(crate) fin: bool,
    pub(crate) reset: bool,
    pub(crate) vanish: bool,
    pub(crate) wake: Option<Duration>,
    pub(crate) reading: Option<Reading>,
    pub(crate) pokes: Vec<Link>,
    pub(crate) claim: Option<(Option<Rule>, String)>,
}

impl PeerCx<'_> {
    /// Sends bytes as soon as the kernel takes them; a datagram at once.
    pub fn send(&mut self, bytes: &[u8]) {
        self.acts.send.push(bytes.to_vec());
    }
    /// Ends its direction behind what it sends.
    pub fn fin(&mut self) {
        self.acts.fin = true;
    }
    /// Resets the connection now.
    pub fn reset(&mut self) {
        self.acts.reset = true;
    }
    /// Is unplugged: nothing arrives any more, in either direction, and nobody is told.
    pub fn vanish(&mut self) {
        self.acts.vanish = true;
    }
    /// Reads so from now on.
    pub fn read(&mut self, reading: Reading) {
        self.acts.reading = Some(reading);
    }
    /// Wishes to be called after this time.
    pub fn wake_in(&mut self, time: Duration) {
        self.acts.wake = Some(self.acts.wake.map_or(time, |wake| wake.min(time)));
    }
    /// Has another peer called, at once: a word outside the network.
    pub fn poke(&mut self, other: Link) {
        self.acts.pokes.push(other);
    }
    /// Says that the other end broke its word; the run fails.
    pub fn claim(&mut self, rule: Option<Rule>, what: impl Into<String>) {
        self.acts.claim.get_or_insert((rule, what.into()));
    }
}

/// A peer that follows a script.
#[derive(Clone, Debug, Default)]
pub struct Script {
    acts: VecDeque<Act>,
    heard: usize,
    /// When the present wait is over.
    until: Option<Duration>,
}

/// One thing a scripted peer does.
#[derive(Clone, Debug)]
pub enum Act {
    /// Sends bytes, or one datagram.
    Say(Vec<u8>),
    /// Does nothing for a while.
    Wait(Duration),
    /// Goes on when so many bytes have been read in all, or the other end has ended.
    Hear(usize),
    /// Goes on when the other end has ended.
    HearEnd,
    /// Reads so from now on.
    Read(Reading),
    /// Ends its direction.
    Fin,
    /// Resets the connection.
    Reset,
    /// Is unplugged.
    Vanish,
}

impl Script {
    /// These acts, in order.
    pub fn new(acts: impl IntoIterator<Item = Act>) -> Self {
        Self { acts: acts.into_iter().collect(), ..Self::default() }
    }
}

impl Peer for Script {
    fn poll(&mut self, cx: &mut PeerCx<'_>) {
        self.heard += cx.fresh.map_or(0, <[u8]>::len);
        while let Some(act) = self.acts.front() {
            match act {
                Act::Say(bytes) => cx.send(bytes),
                Act::Wait(time) => {
                    let until = *self.until.get_or_insert(cx.now + *time);
                    if cx.now < until {
                        return cx.wake_in(until - cx.now);
                    }
                    self.until = None;
                }
                Act::Hear(count) if self.heard < *count && cx.ended.is_none() => return,
                Act::HearEnd if cx.ended.is_none() => return,
                Act::Hear(_) | Act::HearEnd => {}
                Act::Read(reading) => cx.read(*reading),
                Act::Fin => cx.fin(),
                Act::Reset => cx.reset(),
                Act::Vanish => cx.vanish(),
            }
            self.acts.pop_front();
        }
    }
}
