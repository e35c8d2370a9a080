//! What waits in memory is bounded for all connections together (`Limits::memory_max`).
use crate::common::{World, small};
use sotong_session::{Event, Limits, Wall};

/// Two shards, whose connections say as many bytes as a mail tells them to, and whose peers read nothing.
fn world(memory_max: usize) -> World {
    World::new(2, Limits { memory_max, ..small() }, |event, cx, _| {
        if let Event::Mail(size) = event {
            cx.out.put(&vec![b'x'; **size as usize]);
        }
        Ok(())
    })
}
fn waits(world: &mut World, shard: usize, bytes: u32) -> u32 {
    let slot = world.open(shard);
    world.set_space_on(shard, slot, 0);
    world.exchange.post(world.address(shard, slot), bytes);
    world.turn_of(shard);
    slot
}

#[test]
fn whoever_has_most_waiting_is_cut_off_first_whichever_shard_has_him() {
    let mut world = world(100);
    waits(&mut world, 0, 10);
    waits(&mut world, 0, 40);
    waits(&mut world, 1, 30);
    assert_eq!(world.exchange.bytes_waiting(), 80);
    world.has_rung(0);
    world.log.take();
    // 92 of 100: the heaviest is on the other shard, which is told.
    waits(&mut world, 1, 12);
    assert!(world.shards[1].may_sleep() && world.has_rung(0));
    assert_eq!(world.log.take(), ["1.1 Mail 12"]);
    world.turn_of(0);
    assert_eq!(world.log.take(), ["0.1 Gone slow", "0.1 closed slow"]);
    assert_eq!(world.exchange.bytes_waiting(), 52);
    assert_eq!(world.shards[0].counters().cut_for_memory, 1);
    // Now it is its own, and one is enough.
    waits(&mut world, 1, 50);
    assert!(!world.shards[1].may_sleep(), "there is something to do");
    world.turn();
    assert_eq!(world.log.take(), ["1.2 Mail 50", "1.2 Gone slow", "1.2 closed slow"]);
    assert_eq!(world.exchange.bytes_waiting(), 52);
    assert_eq!((world.shards[0].len(), world.shards[1].len()), (1, 2));
}

#[test]
fn what_has_been_sent_or_has_gone_waits_no_more() {
    let mut world = world(1000);
    let slot = waits(&mut world, 0, 20);
    world.set_space_on(0, slot, 5);
    world.turn();
    assert_eq!(world.exchange.bytes_waiting(), 15);
    world.set_space_on(0, slot, 15);
    world.turn();
    assert_eq!(world.exchange.bytes_waiting(), 0);
    let slot = waits(&mut world, 0, 30);
    world.shards[0].remove(slot);
    assert_eq!(world.exchange.bytes_waiting(), 0);
}

#[test]
fn input_that_is_left_untaken_counts() {
    let mut world = world(20);
    let slot = world.open(0);
    world.input(slot, b"0123456789");
    world.turn();
    assert_eq!(world.exchange.bytes_waiting(), 10);
    world.log.take();
    world.input(slot, b"0123456789");
    world.flush();
    world.shards[0].begin_turn(world.now, Wall(0));
    world.flush();
    assert_eq!(world.log.take().last().map(String::as_str), Some("0.0 closed slow"));
    assert_eq!(world.exchange.bytes_waiting(), 0);
}

#[test]
fn none_is_no_bound() {
    let mut world = world(0);
    for _ in 0..5 {
        waits(&mut world, 0, 60);
    }
    world.turn();
    assert_eq!(world.exchange.bytes_waiting(), 300);
}
