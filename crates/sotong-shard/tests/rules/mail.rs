//! Mail, what waits for mail, and desks: D7, D12b, D14.
use crate::common::{World, pace, small};
use sotong_session::{Address, Desk, Event, Moment, Pace, Topic, Wall};
use sotong_shard::{DeskQueue, Reads};
use std::sync::{Arc, Mutex};

/// `n` pieces of mail to the other shard's first session for each input `n`.
fn chatty(shards: u16) -> World {
    World::new(shards, small(), |event, cx, _| {
        if let Event::Input(input) = event {
            let count = u32::from(input.bytes()[0] - b'0');
            input.take_all();
            for number in 0..count {
                cx.host.post(Address { shard: 1 - cx.me.shard, slot: 0, turn: 0 }, number);
            }
        }
        Ok(())
    })
}

#[test]
fn mail_that_came_before_the_bytes_is_delivered_before_them() {
    let mut world = World::one(small(), |event, _, _| {
        if let Event::Input(input) = event {
            input.take_all();
        }
        Ok(())
    });
    let slot = world.open(0);
    world.turn();
    world.exchange.post(world.address(0, slot), 1);
    world.input(slot, b"ping");
    assert_eq!(world.log.take(), ["0.0 Mail 1", "0.0 Input ping"]);
}

#[test]
fn a_shard_whose_mail_waits_elsewhere_shows_no_input_until_it_is_taken() {
    let mut world = chatty(2);
    let slot = world.open(0);
    world.open(1);
    world.input(slot, b"4");
    assert_eq!(world.shards[0].reads(slot), Reads::Show);
    world.input(slot, b"1");
    assert_eq!(world.shards[0].reads(slot), Reads::Later);
    assert_eq!(world.shards[0].counters().held, 1);
    world.log.take();
    // What had been received before the hold was noticed waits too, and so does the end.
    world.shards[0].input(slot, b"0 held".to_vec().as_mut_slice());
    world.shards[0].end(slot);
    world.exchange.post(world.address(0, slot), 77);
    world.turn_of(0);
    assert_eq!(world.log.take(), ["0.0 Mail 77"], "mail itself never waits");
    assert!(world.shards[0].may_sleep());
    assert_eq!(world.bells[0].rings(), 0);
    world.turn_of(1);
    assert_eq!(world.bells[0].rings(), 1, "it is woken when the other has caught up");
    world.log.take();
    world.turn_of(0);
    assert_eq!(world.log.take(), ["0.0 Again", "0.0 Input 0 held", "0.0 End"]);
    assert_eq!(world.exchange.waiting(1), 0);
}

/// A shard can hold itself up: its own inbox is an inbox like any other.
#[test]
fn a_shard_is_held_by_its_own_inbox_for_a_turn() {
    let mut world = World::one(small(), |event, cx, _| {
        if let Event::Input(input) = event {
            input.take_all();
            for number in 0..9 {
                cx.host.post(cx.me, number);
            }
        }
        Ok(())
    });
    let slot = world.open(0);
    world.input(slot, b"a");
    assert_eq!(world.shards[0].reads(slot), Reads::Later);
    world.turn();
    assert_eq!(world.log.take().len(), 11, "the input, nine mails, and Again");
    assert_eq!(world.shards[0].reads(slot), Reads::Show);
}

/// Mail delivered on the way to showing bytes can make the shard wait; then the bytes are not shown.
#[test]
fn bytes_are_not_shown_if_mail_before_them_made_the_shard_wait() {
    let mut world = World::new(2, small(), |event, cx, _| {
        match event {
            Event::Mail(1) => (0..3).for_each(|_| cx.host.post(Address { shard: 1, slot: 0, turn: 0 }, 9)),
            Event::Input(input) => input.take_all(),
            _ => {}
        }
        Ok(())
    });
    let (slot, _) = (world.open(0), world.open(1));
    for _ in 0..2 {
        world.exchange.post(world.address(0, slot), 1);
    }
    world.input(slot, b"x");
    assert_eq!(world.log.take(), ["0.0 Mail 1", "0.0 Mail 1"]);
    world.turn_of(1);
    world.log.take();
    world.turn_of(0);
    assert_eq!(world.log.take(), ["0.0 Again", "0.0 Input x"]);
}

/// One event may hold thousands of lines: a session that says one thing for each stops at the mark, wherever that falls.
#[test]
fn one_event_that_says_much_stops_at_the_mark() {
    let mut world = World::new(2, small(), |event, cx, wants| {
        if let Event::Input(input) = event {
            while cx.takes(*wants) && !input.bytes().is_empty() {
                cx.host.post(Address { shard: 1, slot: 0, turn: 0 }, u32::from(input.bytes()[0] - b'a'));
                input.take(1);
            }
        }
        Ok(())
    });
    let slot = world.open(0);
    world.open(1);
    world.input(slot, b"abcdefghijklmnopqrstuvwxyz");
    let mut most = 0;
    for _ in 0..26 {
        most = most.max(world.exchange.waiting(1));
        world.turn_of(1);
        world.turn_of(0);
    }
    assert_eq!(most, small().inbox_high + 1);
    let said: Vec<String> = world.log.take().into_iter().filter(|line| line.starts_with("1.0")).collect();
    assert_eq!(said, (0..26).map(|number| format!("1.0 Mail {number}")).collect::<Vec<_>>());
    assert_eq!(world.shards[0].reads(slot), Reads::Show);
}

#[test]
fn a_shard_that_has_ended_holds_nobody_and_keeps_nothing() {
    let mut world = chatty(2);
    let slot = world.open(0);
    world.open(1);
    world.input(slot, b"9");
    assert_eq!(world.shards[0].reads(slot), Reads::Later);
    world.shards[0].begin_turn(Moment::START, Wall(0));
    assert!(world.shards[0].may_sleep() || !world.shards[0].is_empty());
    world.exchange.exit(1);
    assert_eq!(world.shards[0].reads(slot), Reads::Show);
    world.input(slot, b"9");
    assert_eq!(world.exchange.waiting(1), 0, "an inbox nobody empties takes nothing");
    assert_eq!(world.shards[0].reads(slot), Reads::Show);
    assert_eq!(world.shards[0].counters().mail_dropped, 9);
    assert!(!world.exchange.post(Address { shard: 1, slot: 0, turn: 0 }, 1));
}

#[test]
fn mail_to_an_address_that_was_used_before_is_dropped() {
    let mut world = chatty(1);
    let slot = world.open(0);
    let old = world.address(0, slot);
    world.shards[0].remove(slot);
    assert_eq!(world.open(0), slot);
    world.exchange.post(old, 1);
    world.turn();
    assert!(world.log.take().is_empty());
    assert_eq!(world.shards[0].counters().mail_dropped, 1);
}

#[test]
fn mail_breeds_a_bounded_number() {
    let mut world = World::one(small(), |event, cx, _| {
        if let Event::Mail(number) = event {
            for _ in 0..**number {
                cx.host.post(cx.me, 0);
            }
        }
        if let Event::Input(input) = event {
            cx.host.post(cx.me, u32::from(input.bytes()[0] - b'0'));
            input.take_all();
        }
        Ok(())
    });
    let slot = world.open(0);
    world.input(slot, b"3");
    world.turn();
    world.turn();
    assert_eq!(world.log.take(), ["0.0 Input 3", "0.0 Mail 3", "0.0 Mail 0", "0.0 Mail 0", "0.0 Mail 0"]);
    // A desk's answer is the rest of an input.
    world.exchange.post(world.address(0, slot), 4);
    world.turn();
    world.turn();
    assert_eq!(world.log.take(), ["0.0 Mail 4", "0.0 Mail 0", "0.0 Mail 0", "0.0 Mail 0", "0.0 Mail 0"]);
    world.input(slot, b"4");
    world.turn();
    let closed = ["0.0 Input 4", "0.0 Mail 4", "0.0 Gone fault", "0.0 closed fault: D14: mail_per_mail_max"];
    assert_eq!(world.log.take(), closed);
    assert_eq!(world.shards[0].counters().broken, 1);
}

#[test]
fn no_wake_is_lost_between_looking_and_sleeping() {
    let mut world = chatty(1);
    let slot = world.open(0);
    world.turn();
    world.exchange.post(world.address(0, slot), 1);
    assert_eq!(world.bells[0].rings(), 0, "it is awake");
    assert!(!world.shards[0].may_sleep());
    world.turn();
    assert!(world.shards[0].may_sleep());
    world.exchange.post(world.address(0, slot), 2);
    world.exchange.post(world.address(0, slot), 3);
    assert_eq!(world.bells[0].rings(), 1, "one ring for one sleep");
}

struct Box3(Mutex<Vec<(Address, u32)>>);
impl DeskQueue<u32> for Box3 {
    fn ask(&self, from: Address, mail: u32) -> Result<(), u32> {
        let mut queue = self.0.lock().expect("not poisoned");
        if queue.len() == 1 {
            return Err(mail);
        }
        queue.push((from, mail));
        Ok(())
    }
}

#[test]
fn a_desk_is_asked_until_it_is_full_and_an_unknown_one_never() {
    let mut world = World::one(small(), |event, cx, _| {
        if let Event::Mail(number) = event {
            let desk = Desk(u16::from(**number == 3));
            let line = if cx.host.ask(desk, **number).is_ok() { b"+" } else { b"-" };
            cx.out.put(line);
        }
        Ok(())
    });
    let desk = Arc::new(Box3(Mutex::default()));
    world.exchange.set_desks(vec![Arc::<Box3>::clone(&desk)]);
    let slot = world.open(0);
    for number in [1, 2, 3] {
        world.exchange.post(world.address(0, slot), number);
    }
    world.turn();
    assert_eq!(world.sent(slot), "+--");
    assert_eq!(desk.0.lock().expect("not poisoned").as_slice(), [(world.address(0, slot), 1)]);
}

#[test]
fn mail_to_a_topic_costs_one_entry_a_shard() {
    let mut world = World::new(2, small(), |event, cx, _| {
        match event {
            Event::Open(_) => cx.host.join(Topic(1), cx.me),
            Event::Input(input) => {
                input.take_all();
                cx.host.publish(Topic(1), Some(cx.me), 5);
            }
            _ => {}
        }
        Ok(())
    });
    for shard in [0, 0, 0, 1, 1, 1] {
        world.open(shard);
    }
    world.input(0, b"x");
    assert_eq!(world.shards[0].counters().entries_pushed, 2);
    world.turn();
    let delivered: u64 = world.shards.iter().map(|shard| shard.counters().mail_delivered).sum();
    assert_eq!(delivered, 5, "all but the speaker");
}

/// Mail before the bytes may make a session stop and go on again: old bytes and new ones are one piece all the same.
#[test]
fn bytes_that_wait_for_mail_are_shown_in_one_piece_with_those_before() {
    let mut world = World::one(small(), |event, _, wants| {
        match event {
            Event::Mail(mail) => pace(wants, if **mail == 1 { Pace::Hold } else { Pace::WhileRoom }),
            Event::Input(input) if input.bytes().ends_with(b".") => input.take_all(),
            _ => {}
        }
        Ok(())
    });
    let slot = world.open(0);
    world.input(slot, b"old");
    world.log.take();
    for mail in [1, 2] {
        world.exchange.post(world.address(0, slot), mail);
    }
    world.input(slot, b" new.");
    assert_eq!(world.log.take(), ["0.0 Mail 1", "0.0 Mail 2", "0.0 Again", "0.0 Input old new."]);
}
