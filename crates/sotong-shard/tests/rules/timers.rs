//! Deadlines: D6.
use crate::common::{World, small};
use sotong_session::{Event, Limits, Moment, Wall};
use std::time::Duration;

#[test]
fn a_deadline_moves_later_for_free_and_never_comes_early() {
    let mut world = World::one(small(), |event, cx, wants| {
        match event {
            Event::Open(_) => wants.deadline = Some(cx.now + Duration::from_secs(10)),
            Event::Input(input) => {
                input.take_all();
                wants.deadline = Some(cx.now + Duration::from_secs(10));
            }
            Event::Deadline => wants.deadline = None,
            _ => {}
        }
        Ok(())
    });
    let slot = world.open(0);
    world.turn();
    assert_eq!(world.shards[0].next_deadline(), Some(Moment::START + Duration::from_secs(10)));
    for _ in 0..9 {
        world.pass(Duration::from_secs(1));
        world.input(slot, b".");
        world.flush();
    }
    assert_eq!(world.shards[0].next_deadline(), Some(Moment::START + Duration::from_secs(10)));
    world.log.take();
    world.pass(Duration::from_secs(1));
    assert!(world.log.take().is_empty(), "the old entry fires, finds nothing due, and is set anew");
    assert_eq!(world.shards[0].next_deadline(), Some(Moment::START + Duration::from_secs(19)));
    world.pass(Duration::from_secs(9));
    assert_eq!(world.log.take(), ["0.0 Deadline"]);
    world.pass(Duration::from_secs(1000));
    assert!(world.log.take().is_empty());
    assert_eq!(world.shards[0].next_deadline(), None);
}

#[test]
fn a_deadline_brought_forward_comes_then() {
    let mut world = World::one(small(), |event, cx, wants| {
        match event {
            Event::Open(_) | Event::Deadline => wants.deadline = Some(cx.now + Duration::from_secs(10)),
            Event::Input(input) => {
                input.take_all();
                wants.deadline = Some(cx.now + Duration::from_secs(1));
            }
            _ => {}
        }
        Ok(())
    });
    let slot = world.open(0);
    world.turn();
    world.input(slot, b".");
    world.flush();
    world.log.take();
    world.pass(Duration::from_secs(1));
    assert_eq!(world.log.take(), ["0.0 Deadline"]);
    world.pass(Duration::from_secs(9));
    assert!(world.log.take().is_empty(), "the entry of the first deadline is stale");
    world.pass(Duration::from_secs(1));
    assert_eq!(world.log.take(), ["0.0 Deadline"]);
}

/// Who always has more to say than a turn takes, from the beginning, has a deadline like all others.
#[test]
fn a_deadline_comes_to_whoever_never_rests() {
    let limits = Limits { turn_bytes_max: 64, ..small() };
    let mut world = World::one(limits, |event, cx, wants| {
        match event {
            Event::Open(_) => wants.deadline = Some(cx.now + Duration::from_secs(10)),
            Event::Deadline => wants.deadline = None,
            Event::Input(_) | Event::Drained => cx.out.put(&[b'x'; 16]),
            _ => {}
        }
        if let Event::Input(input) = event {
            input.take_all();
        }
        Ok(())
    });
    let slot = world.open(0);
    world.input(slot, b"go");
    world.flush();
    world.pass(Duration::from_secs(9));
    assert!(!world.log.take().contains(&"0.0 Deadline".to_owned()));
    assert!(!world.shards[0].may_sleep(), "there is always more to do");
    world.pass(Duration::from_secs(1));
    assert!(world.log.take().contains(&"0.0 Deadline".to_owned()));
}

#[test]
fn the_clock_may_jump_forward_and_is_never_turned_back() {
    let mut world = World::one(small(), |event, _, wants| {
        if let Event::Deadline = event {
            wants.deadline = None;
        }
        Ok(())
    });
    world.open(0);
    world.pass(Duration::from_secs(1_000_000));
    world.shards[0].begin_turn(Moment::START, Wall(-5));
    assert_eq!(world.shards[0].now(), Moment::START + Duration::from_secs(1_000_000));
}
