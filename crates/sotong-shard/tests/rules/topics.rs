//! Topics: one order, nothing from before, nothing after: D12c.
use crate::common::{World, small};
use sotong_session::{Address, Event, Topic};
use std::sync::{Arc, Mutex};

const ROOM: Topic = Topic(5);

/// What a session is told to do for the test, by mail: its number names one of these.
#[derive(Clone, Copy, Debug)]
enum Do {
    Nothing,
    Join(Address),
    Leave(Address),
    LeaveAndJoin,
    Say(u32),
    Close,
}

/// Sessions that do what the numbers in their mail stand for.
struct Told {
    world: World,
    orders: Arc<Mutex<Vec<Do>>>,
}

impl Told {
    fn new(shards: u16) -> Self {
        let orders = Arc::new(Mutex::new(vec![Do::Nothing]));
        let list = Arc::clone(&orders);
        let world = World::new(shards, small(), move |event, cx, _| {
            let Event::Mail(number) = event else { return Ok(()) };
            let order = list.lock().expect("not poisoned").get(**number as usize).copied().unwrap_or(Do::Nothing);
            match order {
                Do::Nothing => {}
                Do::Join(who) => cx.host.join(ROOM, who),
                Do::Leave(who) => cx.host.leave(ROOM, who),
                Do::LeaveAndJoin => {
                    cx.host.leave(ROOM, cx.me);
                    cx.host.join(ROOM, cx.me);
                }
                Do::Say(what) => cx.host.publish(ROOM, None, what),
                Do::Close => return Err(sotong_session::Close::Done),
            }
            Ok(())
        });
        Self { world, orders }
    }
    fn open(&mut self, shard: usize) -> Address {
        let slot = self.world.open(shard);
        self.world.address(shard, slot)
    }
    /// The number that stands for an order.
    fn number(&self, order: Do) -> u32 {
        let mut orders = self.orders.lock().expect("not poisoned");
        orders.push(order);
        u32::try_from(orders.len() - 1).expect("few orders")
    }
    /// Gives an order, which is done when the shard delivers.
    fn queue(&self, to: Address, order: Do) {
        assert!(self.world.exchange.post(to, self.number(order)));
    }
    /// Gives an order, and has it done now. What comes of it waits in the inboxes.
    fn order(&mut self, to: Address, order: Do) {
        self.queue(to, order);
        self.world.shards[usize::from(to.shard)].deliver();
    }
    /// Lets everything arrive. What was said, by whom heard: only numbers from 1,000 on are talk.
    fn heard(&mut self) -> Vec<String> {
        for _ in 0..4 {
            self.world.turn();
        }
        let mut lines = self.world.log.take();
        lines.retain(|line| line.rsplit_once("Mail ").is_some_and(|(_, n)| n.parse::<u32>().is_ok_and(|n| n >= 1000)));
        lines.iter().map(|line| line.replace("Mail ", "")).collect()
    }
}

#[test]
fn a_member_hears_what_is_said_from_its_join_on_and_nothing_before() {
    let mut told = Told::new(1);
    let (a, b) = (told.open(0), told.open(0));
    told.order(a, Do::Join(a));
    told.order(a, Do::Say(1001));
    // 1001 waits in the inbox when B joins.
    told.queue(b, Do::Join(b));
    told.order(a, Do::Say(1002));
    told.order(a, Do::Say(1003));
    told.queue(b, Do::Leave(b));
    assert_eq!(told.heard(), ["0.0 1001", "0.0 1002", "0.1 1002", "0.0 1003", "0.1 1003"].map(str::to_owned));
    assert_eq!(told.world.exchange.topics(), 1);
    told.order(a, Do::Leave(a));
    assert_eq!(told.world.exchange.topics(), 0);
}

/// What was said before it came waits in the inbox when it joins.
#[test]
fn who_joins_hears_nothing_of_what_already_waits() {
    let mut world = World::one(small(), |event, cx, _| {
        match event {
            Event::Open(_) => cx.host.join(ROOM, cx.me),
            Event::Mail(7) => cx.host.publish(ROOM, None, 1001),
            _ => {}
        }
        Ok(())
    });
    let first = world.open(0);
    world.exchange.post(world.address(0, first), 7);
    world.shards[0].deliver();
    let second = world.open(0);
    world.turn();
    assert_eq!(world.log.take(), ["0.0 Mail 1001"]);
    assert!(world.shards[0].is_open(second));
}

#[test]
fn who_leaves_hears_no_more_of_what_already_waits() {
    let mut told = Told::new(1);
    let (a, b) = (told.open(0), told.open(0));
    told.order(a, Do::Join(a));
    told.order(b, Do::Join(b));
    told.queue(a, Do::Say(1001));
    told.queue(b, Do::Leave(b));
    assert_eq!(told.heard(), ["0.0 1001"]);
}

/// Who acts on a member within a delivery has all of its mail: the posts before, and all that the topic brings.
#[test]
fn each_member_of_the_last_topic_is_given_out_when_it_has_all_its_mail() {
    let mut world = World::one(small(), |event, cx, _| {
        if matches!(event, Event::Open(_)) {
            cx.host.join(ROOM, cx.me);
        }
        if let Event::Mail(7) = event {
            cx.host.publish(ROOM, None, 1001);
            cx.host.publish(ROOM, None, 1002);
        }
        Ok(())
    });
    let (a, b) = (world.open(0), world.open(0));
    world.exchange.post(world.address(0, a), 7);
    world.shards[0].deliver();
    let log = world.log.clone();
    let mut given = Vec::new();
    world.shards[0].deliver_each(|_, slot| given.push((slot, log.take())));
    assert_eq!(
        given,
        [
            (a, vec!["0.0 Mail 7".to_owned(), "0.0 Mail 1001".to_owned(), "0.0 Mail 1002".to_owned()]),
            (b, vec!["0.1 Mail 1001".to_owned(), "0.1 Mail 1002".to_owned()])
        ]
    );
}

#[test]
fn joining_twice_is_joining_once() {
    let mut told = Told::new(2);
    let (a, b) = (told.open(0), told.open(1));
    told.order(a, Do::Join(a));
    told.order(a, Do::Join(a));
    told.order(b, Do::Join(a));
    told.order(b, Do::Join(a));
    told.order(b, Do::Say(1001));
    assert_eq!(told.heard(), ["0.0 1001"]);
    told.order(a, Do::Leave(a));
    told.order(b, Do::Say(1002));
    assert!(told.heard().is_empty());
    assert_eq!(told.world.exchange.topics(), 0);
}

/// The walk through the members meets those that it itself made leave, come, or come back.
#[test]
fn members_may_leave_and_come_during_a_walk() {
    let mut told = Told::new(1);
    let (a, b, c, d) = (told.open(0), told.open(0), told.open(0), told.open(0));
    for who in [a, b, c] {
        told.order(who, Do::Join(who));
    }
    // A is first in the walk: what it does in it concerns those behind it.
    let leave = told.number(Do::Leave(b));
    let join = told.number(Do::Join(d));
    told.order(a, Do::Say(leave));
    told.world.turn();
    let of_b = format!("0.1 Mail {leave}");
    assert!(!told.world.log.take().contains(&of_b), "B was a member when it was said, and is none any more");
    told.order(a, Do::Say(1001));
    assert_eq!(told.heard(), ["0.0 1001", "0.2 1001"], "B has left");
    told.order(a, Do::Say(join));
    told.order(a, Do::Say(1002));
    let heard = told.heard();
    assert_eq!(heard.len(), 3, "{heard:?}: D came in the walk and hears what was said later");
    let again = told.number(Do::LeaveAndJoin);
    told.order(a, Do::Say(again));
    told.order(a, Do::Say(1003));
    assert_eq!(told.heard().len(), 3, "all left and came back, each once");
    let close = told.number(Do::Close);
    told.order(a, Do::Say(close));
    assert!(told.heard().is_empty());
    assert_eq!(
        (told.world.shards[0].len(), told.world.exchange.topics()),
        (4, 0),
        "all are over, in the close routine"
    );
}

/// What waits in a row for one topic goes to each member as a whole.
#[test]
fn what_is_said_in_a_row_is_heard_in_its_order() {
    let mut told = Told::new(1);
    let (a, b) = (told.open(0), told.open(0));
    told.order(a, Do::Join(a));
    told.order(b, Do::Join(b));
    let leave_and_join = told.number(Do::LeaveAndJoin);
    for what in [1001, 1002, leave_and_join, 1003] {
        told.queue(a, Do::Say(what));
    }
    let mut heard = told.heard();
    heard.sort();
    assert_eq!(heard, ["0.0 1001", "0.0 1002", "0.1 1001", "0.1 1002"], "1003 was said before they came back");
    for what in [1004, 1005] {
        told.queue(b, Do::Say(what));
    }
    let heard = told.heard();
    let of = |who: &str| heard.iter().filter(|line| line.starts_with(who)).map(|line| &line[4..]).collect::<Vec<_>>();
    assert_eq!((of("0.0"), of("0.1")), (vec!["1004", "1005"], vec!["1004", "1005"]));
}

#[test]
fn another_shards_member_hears_from_the_moment_join_returns() {
    let mut told = Told::new(2);
    let (owner, b) = (told.open(0), told.open(1));
    told.order(owner, Do::Join(b));
    told.order(owner, Do::Say(1001));
    told.order(owner, Do::Leave(b));
    told.order(owner, Do::Say(1002));
    assert_eq!(told.heard(), ["1.0 1001"]);
    assert_eq!(told.world.exchange.topics(), 0);
}

#[test]
fn another_shards_session_that_is_gone_becomes_no_member() {
    let mut told = Told::new(2);
    let (owner, b) = (told.open(0), told.open(1));
    told.order(owner, Do::Join(b));
    told.world.shards[1].remove(b.slot);
    told.world.turn();
    assert_eq!(told.world.exchange.topics(), 0);
}

/// Nobody would ever take such a member out again.
#[test]
fn a_session_of_this_shard_that_is_gone_becomes_no_member() {
    let mut told = Told::new(1);
    let (owner, b) = (told.open(0), told.open(0));
    told.world.shards[0].remove(b.slot);
    told.order(owner, Do::Join(b));
    assert_eq!(told.world.exchange.topics(), 0);
    // The next one in that place has another address.
    told.open(0);
    told.order(owner, Do::Join(b));
    assert_eq!(told.world.exchange.topics(), 0);
}

#[test]
fn two_shards_hear_one_order() {
    let mut told = Told::new(2);
    let (a, b) = (told.open(0), told.open(1));
    told.order(a, Do::Join(a));
    told.order(b, Do::Join(b));
    for number in 0..6 {
        let speaker = if number % 3 == 0 { b } else { a };
        told.order(speaker, Do::Say(1000 + number));
    }
    let heard = told.heard();
    for shard in ["0.0 ", "1.0 "] {
        let one: Vec<&str> = heard.iter().filter_map(|line| line.strip_prefix(shard)).collect();
        assert_eq!(one, ["1000", "1001", "1002", "1003", "1004", "1005"]);
    }
}

#[test]
fn what_is_counted_in_at_a_shard_that_ends_is_counted_out() {
    let mut told = Told::new(2);
    let (owner, b) = (told.open(0), told.open(1));
    told.order(owner, Do::Join(b));
    assert_eq!(told.world.exchange.topics(), 1);
    told.world.exchange.exit(1);
    assert_eq!(told.world.exchange.topics(), 0);
    told.order(owner, Do::Join(b));
    assert_eq!(told.world.exchange.topics(), 0, "nobody would ever enter it");
}
