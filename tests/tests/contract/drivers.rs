//! Drivers that break a rule on one session, which wears `Checked`.
use crate::hand::{ALARM, Does, FINISH, GO, HOLD, Hand, LEAVE, LONG, MARKS, NOTHING, Probe, TELL, caught};
use sotong_session::{Address, Close, Desk, Event, Host, Kind, Output, Rule, Topic, Wire};
use std::time::Duration;

// D1: the beginning and the end.

pub(crate) fn event_before_open(does: Does) -> Option<Rule> {
    caught(|| {
        let mut hand = Hand::new(Probe::new(), Wire::Stream);
        if does.it_break() {
            hand.mail(NOTHING);
        }
        hand.open();
        hand.mail(NOTHING);
    })
}
pub(crate) fn open_twice(does: Does) -> Option<Rule> {
    caught(|| {
        let mut hand = Hand::stream();
        if does.it_break() {
            hand.open();
        }
        hand.tell(Event::Gone(&Close::Reset));
    })
}
pub(crate) fn event_after_gone(does: Does) -> Option<Rule> {
    caught(|| {
        let mut hand = Hand::stream();
        hand.tell(Event::Gone(&Close::Reset));
        if does.it_break() {
            hand.mail(NOTHING);
        }
    })
}
pub(crate) fn gone_twice(does: Does) -> Option<Rule> {
    caught(|| {
        let mut hand = Hand::stream();
        hand.tell(Event::Gone(&Close::Reset));
        if does.it_break() {
            hand.tell(Event::Gone(&Close::Reset));
        }
    })
}
pub(crate) fn event_after_err(does: Does) -> Option<Rule> {
    caught(|| {
        let mut hand = Hand::stream();
        hand.mail(LEAVE);
        if does.it_break() {
            hand.mail(NOTHING);
        }
        hand.tell(Event::Gone(&Close::Done));
    })
}

// D2: one call at a time.

/// A host that may deliver mail within the call that sends it.
struct Impatient<'a> {
    other: &'a mut Hand<Probe>,
    queue: Vec<u32>,
    does: Does,
}
impl Host<u32> for Impatient<'_> {
    fn post(&mut self, _: Address, mail: u32) {
        match self.does {
            Does::Break => self.other.mail(mail),
            Does::Keep => self.queue.push(mail),
        }
    }
    fn publish(&mut self, _: Topic, _: Option<Address>, _: u32) {}
    fn join(&mut self, _: Topic, _: Address) {}
    fn leave(&mut self, _: Topic, _: Address) {}
    fn ask(&mut self, _: Desk, mail: u32) -> Result<(), u32> {
        Err(mail)
    }
    fn random(&mut self, _: &mut [u8]) {}
}
pub(crate) fn mail_inside_a_call(does: Does) -> Option<Rule> {
    caught(|| {
        let (mut one, mut other) = (Hand::stream(), Hand::new(Probe::new(), Wire::Stream));
        other.me.slot = 1;
        other.open();
        let mut host = Impatient { other: &mut other, queue: Vec::new(), does };
        let _ = one.call_with(Event::Mail(&TELL), &mut host);
        for mail in std::mem::take(&mut host.queue) {
            host.other.mail(mail);
        }
    })
}

// D3: what input looks like.

pub(crate) fn empty_input(does: Does) -> Option<Rule> {
    caught(|| {
        let mut hand = Hand::stream();
        hand.show(if does.it_break() { b"" } else { b"x" });
    })
}
/// A session with 8 bytes of room that was shown 10, and has room again.
fn two_untaken() -> Hand<Probe> {
    let mut hand = Hand::stream();
    assert_eq!(hand.show(b"0123456789"), 2);
    hand.read(8);
    hand.tell(Event::Drained);
    hand
}
pub(crate) fn untaken_bytes_lost(does: Does) -> Option<Rule> {
    caught(|| {
        let mut hand = two_untaken();
        hand.tell(Event::Again);
        hand.show(if does.it_break() { b"abc" } else { b"89abc" });
    })
}
pub(crate) fn untaken_bytes_apart(does: Does) -> Option<Rule> {
    caught(|| {
        let mut hand = two_untaken();
        hand.tell(Event::Again);
        hand.show(if does.it_break() { b"8" } else { b"89" });
    })
}
pub(crate) fn same_bytes_again(does: Does) -> Option<Rule> {
    caught(|| {
        // Over records of 4 bytes in a stream, two bytes are left until more come.
        let mut hand = Hand::new(Fours, Wire::Stream);
        hand.open();
        assert_eq!(hand.show(b"123456"), 2);
        hand.show(if does.it_break() { b"56" } else { b"567" });
    })
}
pub(crate) fn input_without_again(does: Does) -> Option<Rule> {
    caught(|| {
        let mut hand = two_untaken();
        if !does.it_break() {
            hand.tell(Event::Again);
        }
        hand.show(b"89");
    })
}
pub(crate) fn no_again_after_hold(does: Does) -> Option<Rule> {
    caught(|| {
        let mut hand = Hand::stream();
        hand.mail(HOLD);
        hand.mail(GO);
        if !does.it_break() {
            hand.tell(Event::Again);
        }
        hand.show(b"x");
    })
}

/// Takes four bytes at a time.
struct Fours;
impl sotong_session::Session for Fours {
    type Mail = u32;
    fn handle(&mut self, event: Event<'_, u32>, _: &mut sotong_session::Cx<'_, u32>) -> Result<(), Close> {
        if let Event::Input(mut input) = event {
            let count = input.bytes().len() / 4 * 4;
            input.take(count);
        }
        Ok(())
    }
    fn wants(&self) -> sotong_session::Wants {
        sotong_session::Wants::INPUT
    }
}

pub(crate) fn again_while_held(does: Does) -> Option<Rule> {
    caught(|| {
        let mut hand = Hand::stream();
        hand.mail(HOLD);
        if !does.it_break() {
            hand.mail(GO);
        }
        hand.tell(Event::Again);
    })
}

// D4: the pace.

pub(crate) fn input_while_full(does: Does) -> Option<Rule> {
    caught(|| {
        let mut hand = Hand::stream();
        hand.show(b"01234567");
        if !does.it_break() {
            hand.read(8);
            hand.tell(Event::Drained);
            hand.tell(Event::Again);
        }
        hand.show(b"8");
    })
}
pub(crate) fn input_while_held(does: Does) -> Option<Rule> {
    caught(|| {
        let mut hand = Hand::stream();
        hand.mail(HOLD);
        if !does.it_break() {
            hand.mail(GO);
            hand.tell(Event::Again);
        }
        hand.show(b"x");
    })
}

// D5: the end of input.

pub(crate) fn end_while_held(does: Does) -> Option<Rule> {
    caught(|| {
        let mut hand = Hand::stream();
        hand.mail(HOLD);
        if !does.it_break() {
            hand.mail(GO);
            hand.tell(Event::Again);
        }
        hand.tell(Event::End);
    })
}
pub(crate) fn end_before_the_rest(does: Does) -> Option<Rule> {
    caught(|| {
        let mut hand = two_untaken();
        hand.tell(Event::Again);
        if !does.it_break() {
            hand.show(b"89");
        }
        hand.tell(Event::End);
    })
}
pub(crate) fn end_twice(does: Does) -> Option<Rule> {
    caught(|| {
        let mut hand = Hand::stream();
        hand.tell(Event::End);
        if does.it_break() {
            hand.tell(Event::End);
        }
    })
}
pub(crate) fn input_after_end(does: Does) -> Option<Rule> {
    caught(|| {
        let mut hand = Hand::stream();
        if does.it_break() {
            hand.tell(Event::End);
        }
        hand.show(b"x");
    })
}

// D6: the time.

pub(crate) fn deadline_too_early(does: Does) -> Option<Rule> {
    caught(|| {
        let mut hand = Hand::stream();
        hand.mail(ALARM);
        hand.now = hand.now + Duration::from_secs(if does.it_break() { 4 } else { 5 });
        hand.tell(Event::Deadline);
    })
}
pub(crate) fn deadline_nobody_set(does: Does) -> Option<Rule> {
    caught(|| {
        let mut hand = Hand::stream();
        hand.mail(ALARM);
        hand.now = hand.now + Duration::from_secs(5);
        hand.tell(Event::Deadline);
        if does.it_break() {
            hand.tell(Event::Deadline);
        }
    })
}
/// Does not put its alarm off.
struct Stubborn(Does, Option<sotong_session::Moment>);
impl sotong_session::Session for Stubborn {
    type Mail = u32;
    fn handle(&mut self, event: Event<'_, u32>, cx: &mut sotong_session::Cx<'_, u32>) -> Result<(), Close> {
        match event {
            Event::Open(_) => self.1 = Some(cx.now),
            Event::Deadline if self.0 == Does::Keep => self.1 = None,
            _ => {}
        }
        Ok(())
    }
    fn wants(&self) -> sotong_session::Wants {
        sotong_session::Wants::INPUT.by(self.1)
    }
}
pub(crate) fn deadline_still_due(does: Does) -> Option<Rule> {
    caught(|| {
        let mut hand = Hand::new(Stubborn(does, None), Wire::Stream);
        hand.open();
        hand.tell(Event::Deadline);
    })
}

// D7: the hard mark.

pub(crate) fn event_past_the_hard_mark(does: Does) -> Option<Rule> {
    caught(|| {
        let mut hand = Hand::stream();
        hand.mail(LONG);
        assert!(hand.out.has_overflowed());
        if does.it_break() {
            hand.mail(NOTHING);
        }
        hand.tell(Event::Gone(&Close::Slow));
    })
}

// D11: Drained.

/// A session whose output was full when it was called, and is sent before anybody looks.
pub(crate) fn fullness_noted_after_the_flush(does: Does) -> Option<Rule> {
    caught(|| {
        let mut hand = Hand::stream();
        hand.show(b"01234567");
        let was_full = hand.out.is_full();
        hand.read(8);
        let notes = if does.it_break() { hand.out.is_full() } else { was_full };
        if notes {
            hand.tell(Event::Drained);
        }
        hand.mail(NOTHING);
    })
}
pub(crate) fn drained_above_the_low_mark(does: Does) -> Option<Rule> {
    caught(|| {
        let mut hand = Hand::stream();
        hand.show(b"01234567");
        hand.read(if does.it_break() { 5 } else { 6 });
        hand.tell(Event::Drained);
    })
}
pub(crate) fn drained_though_never_full(does: Does) -> Option<Rule> {
    caught(|| {
        let mut hand = Hand::stream();
        hand.show(if does.it_break() { b"0123456" } else { b"01234567" });
        hand.read(hand.out.len());
        hand.tell(Event::Drained);
    })
}

// D13: after the half-close.

pub(crate) fn half_closed_output_opened_again(does: Does) -> Option<Rule> {
    caught(|| {
        let mut hand = Hand::stream();
        hand.mail(FINISH);
        // What a session says behind its half-close is dropped, and the connection goes on.
        hand.mail(LONG);
        assert!(!hand.out.has_overflowed() && hand.out.is_empty());
        if does.it_break() {
            hand.out = Output::new(Kind::Stream, MARKS);
        }
        hand.mail(NOTHING);
    })
}
