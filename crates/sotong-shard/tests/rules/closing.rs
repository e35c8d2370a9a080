//! The one close routine, panics, stop and cut: D1, D8, D10.
use crate::common::{World, echo, small};
use sotong_session::{Close, Event, Topic};
use sotong_shard::Reads;
use std::time::Duration;

fn says_bye(world_limits: sotong_session::Limits) -> World {
    World::one(world_limits, |event, cx, _| match event {
        Event::Input(_) => {
            cx.out.put(b"bye");
            Err(Close::Protocol("no".into()))
        }
        _ => echo(event, cx),
    })
}

#[test]
fn what_is_queued_goes_first_then_half_close_then_leftovers_are_thrown_away() {
    let mut world = says_bye(small());
    let slot = world.open(0);
    world.set_space(slot, 1);
    world.input(slot, b"?");
    world.flush();
    assert_eq!(world.shards[0].reads(slot), Reads::No, "first what is queued");
    assert_eq!(world.log.take(), ["0.0 Input ?", "0.0 Gone protocol"]);
    world.set_space(slot, 9);
    world.flush();
    assert_eq!(world.sent(slot), "bye");
    assert_eq!(world.log.take(), ["0.0 half-close"]);
    let Reads::Discard(most) = world.shards[0].reads(slot) else { panic!("leftovers are read") };
    world.shards[0].discarded(slot, most - 1);
    world.flush();
    assert_eq!(world.shards[0].reads(slot), Reads::Discard(1));
    world.shards[0].end(slot);
    world.flush();
    assert_eq!(world.log.take(), ["0.0 closed protocol: no"]);
    assert!(world.shards[0].is_empty());
}

#[test]
fn leftovers_are_bounded_in_bytes_and_time() {
    let mut world = says_bye(small());
    let slot = world.open(0);
    world.input(slot, b"?");
    world.flush();
    world.shards[0].discarded(slot, small().linger_bytes_max);
    world.flush();
    assert_eq!(world.log.take().last().expect("events"), "0.0 closed protocol: no");
    let slot = world.open(0);
    world.input(slot, b"?");
    world.flush();
    world.pass(small().linger - Duration::from_nanos(1));
    assert!(world.shards[0].is_open(slot));
    world.pass(Duration::from_nanos(1));
    assert_eq!(world.log.take().last().expect("events"), "0.0 closed protocol: no", "its own reason is kept");
}

#[test]
fn a_farewell_that_nobody_reads_is_given_up() {
    let mut world = says_bye(small());
    let slot = world.open(0);
    world.set_space(slot, 1);
    world.input(slot, b"?");
    world.turn();
    world.pass(small().stall);
    assert_eq!(world.log.take(), ["0.0 Input ?", "0.0 Gone protocol", "0.0 closed slow"]);
}

#[test]
fn a_reset_drops_at_once() {
    let mut world = World::one(small(), |event, cx, _| echo(event, cx));
    let slot = world.open(0);
    world.set_space(slot, 0);
    world.input(slot, b"abc");
    world.flush();
    world.shards[0].fail(slot, Close::Reset);
    world.flush();
    assert_eq!(world.log.take(), ["0.0 Input abc", "0.0 Gone reset", "0.0 closed reset"]);
}

#[test]
fn a_reset_while_lingering_keeps_the_reason() {
    let mut world = says_bye(small());
    let slot = world.open(0);
    world.input(slot, b"?");
    world.flush();
    world.shards[0].fail(slot, Close::Reset);
    world.flush();
    assert_eq!(world.log.take().last().expect("events"), "0.0 closed protocol: no");
}

#[test]
fn a_driver_that_gives_up_still_owes_gone() {
    let mut world = World::one(small(), |event, cx, _| echo(event, cx));
    let slot = world.open(0);
    assert!(world.shards[0].remove(slot).is_some());
    assert!(world.shards[0].remove(slot).is_none());
    assert_eq!(world.log.take(), ["0.0 Gone stop", "0.0 closed stop"]);
}

#[test]
fn a_panic_costs_one_session_its_topics_and_nothing_else() {
    let mut world = World::one(small(), |event, cx, _| {
        match event {
            Event::Open(_) => cx.host.join(Topic(1), cx.me),
            // Without the hook, which would write to the test's output.
            Event::Mail(7) if cx.me.slot == 0 => std::panic::resume_unwind(Box::new("seven")),
            _ => {}
        }
        Ok(())
    });
    let (first, second) = (world.open(0), world.open(0));
    let who = world.address(0, first);
    world.exchange.post(who, 7);
    world.exchange.post(who, 8);
    world.turn();
    assert_eq!(world.log.take(), ["0.0 Mail 7", "0.0 panicked: seven", "0.0 lost", "0.0 closed fault: panic"]);
    assert_eq!(world.shards[0].counters().panics, 1);
    assert_eq!(world.shards[0].counters().mail_dropped, 1);
    assert_eq!(world.exchange.topics(), 1, "the other is still a member");
    world.shards[0].remove(second);
    assert_eq!(world.exchange.topics(), 0);
}

#[test]
fn a_panic_in_the_last_event_is_lost_too() {
    let mut world = World::one(small(), |event, _, _| match event {
        Event::Gone(_) => std::panic::resume_unwind(Box::new("late")),
        _ => Ok(()),
    });
    let slot = world.open(0);
    world.shards[0].fail(slot, Close::Reset);
    world.flush();
    assert_eq!(world.log.take(), ["0.0 Gone reset", "0.0 panicked: late", "0.0 lost", "0.0 closed fault: panic"]);
}

#[test]
fn stop_tells_everybody_and_cut_ends_what_is_left() {
    let mut world = World::one(small(), |event, cx, _| match event {
        Event::Stop if cx.me.slot == 1 => Ok(()),
        Event::Stop => {
            cx.out.put(b"leaving");
            Err(Close::Stop)
        }
        _ => echo(event, cx),
    });
    let (first, second) = (world.open(0), world.open(0));
    world.shards[0].stop();
    world.shards[0].stop();
    world.flush();
    assert_eq!(world.log.take(), ["0.0 Stop", "0.0 Gone stop", "0.1 Stop", "0.0 half-close"]);
    assert_eq!(world.sent(first), "leaving");
    world.shards[0].cut();
    world.flush();
    assert_eq!(world.log.take(), ["0.1 Gone stop", "0.0 closed stop", "0.1 closed stop"]);
    assert!(!world.shards[0].is_open(second) && world.shards[0].is_empty());
    for _ in 0..2 {
        world.open(0);
    }
    world.flush();
    assert_eq!(world.log.take(), ["0.0 half-close"], "who comes later is told at once, and this one leaves");
}

#[test]
fn a_peer_refused_at_the_door_has_no_slot() {
    let mut world = World::one(small(), |event, cx, _| echo(event, cx));
    let way = sotong_session::Way::new(
        sotong_session::End::Simulated(0),
        sotong_session::End::Simulated(404),
        sotong_session::Wire::Stream,
    );
    let refused = world.shards[0].open(&way, crate::common::Conn::default(), sotong_session::Kind::Socket);
    assert!(matches!(refused, Err((Close::Limit("door"), _))));
    assert_eq!((world.shards[0].len(), world.shards[0].counters().refused), (0, 1));
    assert!(world.log.take().is_empty());
}
