//! Input, output and the order of events: D3, D4, D5, D7, D9, D11, D13.
use crate::common::{World, echo, pace, small};
use sotong_session::{Close, Event, Limits, Pace};
use sotong_shard::{Reads, Step};
use std::time::Duration;

#[test]
fn a_full_output_stops_input_and_drained_comes_before_again() {
    let mut world = World::one(small(), |event, cx, _| echo(event, cx));
    let slot = world.open(0);
    world.set_space(slot, 0);
    world.input(slot, b"0123456789abcdefXYZ");
    world.flush();
    assert_eq!(world.shards[0].reads(slot), Reads::No);
    world.log.take();
    world.set_space(slot, 5);
    world.flush();
    // 11 bytes are left: room, but not low.
    assert_eq!(world.log.take(), ["0.0 Again", "0.0 Input XYZ"]);
    world.set_space(slot, 11);
    world.flush();
    assert_eq!(world.log.take(), ["0.0 Drained"]);
    assert_eq!(world.sent(slot), "0123456789abcdefXYZ"[..16]);
    assert_eq!(world.shards[0].reads(slot), Reads::Show);
}

#[test]
fn a_returning_wish_is_told_by_again_even_if_nothing_is_held() {
    let mut world = World::one(small(), |event, cx, wants| {
        match event {
            Event::Mail(0) => pace(wants, Pace::Hold),
            Event::Mail(_) => pace(wants, Pace::WhileRoom),
            _ => echo(event, cx)?,
        }
        Ok(())
    });
    let slot = world.open(0);
    let who = world.address(0, slot);
    world.exchange.post(who, 0);
    world.turn();
    assert_eq!(world.shards[0].reads(slot), Reads::No);
    world.exchange.post(who, 1);
    world.turn();
    assert_eq!(world.log.take(), ["0.0 Mail 0", "0.0 Mail 1", "0.0 Again"]);
}

#[test]
fn the_end_waits_until_all_that_is_left_was_shown_to_a_session_that_takes() {
    let mut world = World::one(small(), |event, cx, wants| {
        match event {
            Event::Input(input) => {
                input.take(1);
                pace(wants, Pace::Hold);
            }
            Event::Mail(_) => pace(wants, Pace::WhileRoom),
            _ => echo(event, cx)?,
        }
        Ok(())
    });
    let slot = world.open(0);
    let who = world.address(0, slot);
    world.input(slot, b"ab");
    world.shards[0].end(slot);
    world.turn();
    assert_eq!(world.log.take(), ["0.0 Input ab"]);
    world.exchange.post(who, 1);
    world.turn();
    assert_eq!(world.log.take(), ["0.0 Mail 1", "0.0 Again", "0.0 Input b"]);
    world.exchange.post(who, 1);
    world.turn();
    let expect = ["0.0 Mail 1", "0.0 Again", "0.0 End", "0.0 Gone done", "0.0 closed done"];
    assert_eq!(world.log.take(), expect);
}

#[test]
fn bytes_that_were_not_taken_are_shown_with_the_next_ones_and_end_comes_once() {
    let mut world = World::one(small(), |event, cx, _| match event {
        Event::Input(input) if input.bytes().len() < 4 => Ok(()),
        _ => echo(event, cx),
    });
    let slot = world.open(0);
    world.input(slot, b"ab");
    world.turn();
    world.input(slot, b"c");
    world.input(slot, b"d");
    world.shards[0].end(slot);
    world.shards[0].end(slot);
    world.flush();
    let expect = ["0.0 Input ab", "0.0 Input abc", "0.0 Input abcd", "0.0 End", "0.0 Gone done", "0.0 closed done"];
    assert_eq!(world.log.take(), expect);
}

#[test]
fn more_untaken_bytes_than_allowed_close_the_session() {
    let mut world = World::one(small(), |_, _, _| Ok(()));
    let slot = world.open(0);
    world.input(slot, &[b'x'; 32]);
    assert!(world.shards[0].reads(slot) == Reads::Show);
    world.input(slot, b"y");
    world.flush();
    assert_eq!(world.log.take().last().expect("events"), "0.0 half-close");
    assert_eq!(world.shards[0].reads(slot), Reads::Discard(64 << 10));
}

#[test]
fn what_passes_the_hard_mark_ends_the_session_without_a_farewell() {
    let mut world = World::one(small(), |event, cx, _| {
        if let Event::Mail(size) = event {
            cx.out.put(&vec![b'x'; **size as usize]);
        }
        Ok(())
    });
    let slot = world.open(0);
    let who = world.address(0, slot);
    for size in [60, 4, 1] {
        world.exchange.post(who, size);
    }
    world.shards[0].begin_turn(world.now, sotong_session::Wall(0));
    world.shards[0].deliver();
    assert_eq!(world.log.take(), ["0.0 Mail 60", "0.0 Mail 4", "0.0 Mail 1", "0.0 Gone slow"]);
    assert_eq!(world.shards[0].next(slot), Step::Close);
}

/// A session that overflowed and closed in one call has lost the end of what it said: a clean close would hide that.
#[test]
fn a_close_in_the_call_that_overflowed_is_slow() {
    let mut world = World::one(small(), |event, cx, _| match event {
        Event::Input(input) => {
            input.take_all();
            cx.out.put(&[b'x'; 65]);
            Err(Close::Done)
        }
        _ => Ok(()),
    });
    let slot = world.open(0);
    world.input(slot, b"go");
    world.flush();
    assert_eq!(world.log.take(), ["0.0 Input go", "0.0 Gone slow", "0.0 closed slow"]);
}

#[test]
fn a_share_of_a_turn_is_bounded_and_goes_on_in_the_next() {
    let limits = Limits { turn_bytes_max: 64, ..small() };
    let mut world = World::one(limits, |event, cx, _| {
        if matches!(event, Event::Input(_) | Event::Drained) {
            // Never says less than it may: a hog.
            cx.out.put(&[b'x'; 16]);
        }
        if let Event::Input(input) = event {
            input.take_all();
        }
        Ok(())
    });
    let slot = world.open(0);
    world.input(slot, b"go");
    world.flush();
    // Each send counts at least 64 bytes.
    assert_eq!(world.sent(slot).len(), 16);
    assert!(!world.shards[0].may_sleep(), "there is more to do");
    for _ in 0..3 {
        world.turn();
        assert_eq!(world.sent(slot).len(), 16);
    }
}

#[test]
fn output_that_makes_no_progress_in_time_ends_the_session() {
    let mut world = World::one(small(), |event, cx, _| echo(event, cx));
    let slot = world.open(0);
    world.set_space(slot, 2);
    world.input(slot, b"abcd");
    world.turn();
    world.pass(Duration::from_secs(9));
    world.set_space(slot, 1);
    world.pass(Duration::ZERO);
    world.pass(Duration::from_secs(9));
    assert_eq!(world.log.take(), ["0.0 Input abcd"], "a byte has moved in time");
    // Told that it may write, and not able to: that is no progress.
    world.set_space(slot, 0);
    world.turn();
    world.pass(Duration::from_secs(1));
    assert_eq!(world.log.take(), ["0.0 Gone slow", "0.0 closed slow"]);
}

/// A peer that was slow once is not slow for ever: each wait for the kernel has the whole time.
#[test]
fn the_time_without_progress_begins_when_output_begins_to_wait() {
    let mut world = World::one(small(), |event, cx, _| echo(event, cx));
    let slot = world.open(0);
    world.set_space(slot, 0);
    world.input(slot, b"ab");
    world.turn();
    world.set_space(slot, 2);
    world.turn();
    world.pass(Duration::from_secs(20));
    world.input(slot, b"cd");
    world.turn();
    world.pass(Duration::from_secs(9));
    assert!(world.shards[0].is_open(slot));
    world.pass(Duration::from_secs(1));
    assert_eq!(world.log.take().last().expect("events"), "0.0 closed slow");
}

#[test]
fn output_after_finish_is_dropped_and_is_no_overflow() {
    let mut world = World::one(small(), |event, cx, _| {
        match event {
            Event::Mail(0) => cx.out.finish(),
            Event::Mail(_) => cx.out.put(&[b'x'; 999]),
            _ => {}
        }
        Ok(())
    });
    let slot = world.open(0);
    let who = world.address(0, slot);
    world.exchange.post(who, 0);
    world.exchange.post(who, 1);
    world.turn();
    assert_eq!(world.log.take(), ["0.0 Mail 0", "0.0 Mail 1", "0.0 half-close"]);
    assert!(world.shards[0].is_open(slot));
    assert_eq!(world.shards[0].reads(slot), Reads::Show, "the peer may still speak");
}
