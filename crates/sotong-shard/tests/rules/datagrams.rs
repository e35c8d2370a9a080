//! A session for each peer of a datagram socket.
use crate::common::{Conn, World, echo, small};
use sotong_session::{End, Event, Limits, Marks, Pace, Way, Wire};
use std::time::Duration;

impl World {
    /// A datagram from `peer` to the first shard's socket 0.
    fn datagram(&mut self, peer: u32, bytes: &[u8]) -> Option<u32> {
        let way = Way::new(End::Simulated(0), End::Simulated(peer), Wire::Records);
        let conn = || Conn { space: usize::MAX, ..Conn::default() };
        self.shards[0].record(0, &way, &mut bytes.to_vec(), conn)
    }
}

fn record_echo() -> World {
    // The end of a record weighs more than all marks of the stream tests.
    let marks = Marks { low: 64, high: 128, hard: 512 };
    World::one(Limits { marks, ..small() }, |event, cx, wants| {
        if let Event::Mail(0) = event {
            wants.input = Pace::Hold;
        }
        let is_input = matches!(event, Event::Input(_));
        echo(event, cx)?;
        if is_input {
            cx.out.cut();
        }
        Ok(())
    })
}

#[test]
fn each_peer_has_a_session_and_each_datagram_is_a_record_also_an_empty_one() {
    let mut world = record_echo();
    let first = world.datagram(1, b"one").expect("accepted");
    let second = world.datagram(2, b"two").expect("accepted");
    assert_eq!(world.datagram(1, b""), Some(first));
    let expect = ["0.0 Open", "0.0 Input one", "0.1 Open", "0.1 Input two", "0.0 Input "];
    assert_eq!(world.log.take(), expect);
    world.turn();
    world.turn();
    assert_eq!(world.sent(first), "one||");
    assert_eq!(world.sent(second), "two|");
}

#[test]
fn a_peer_that_comes_when_there_are_too_many_pushes_out_the_longest_silent() {
    let mut world = record_echo();
    world.datagram(1, b"a");
    world.datagram(2, b"b");
    world.datagram(1, b"c");
    world.log.take();
    world.datagram(404, b"refused at the door");
    assert!(world.log.take().is_empty(), "who is not let in pushes nobody out");
    world.datagram(3, b"d");
    assert_eq!(world.log.take(), ["0.2 Open", "0.1 Gone limit", "0.1 closed limit: udp_peers_max", "0.2 Input d"]);
    assert_eq!(world.shards[0].counters().peers_evicted, 1);
    assert_eq!(world.shards[0].len(), 2);
}

#[test]
fn a_silent_peer_is_forgotten_and_is_a_new_one_when_it_comes_back() {
    let mut world = record_echo();
    world.datagram(1, b"a");
    world.turn();
    world.pass(small().udp_idle - Duration::from_nanos(1));
    world.log.take();
    world.datagram(1, b"b");
    world.turn();
    world.pass(small().udp_idle - Duration::from_nanos(1));
    assert_eq!(world.log.take(), ["0.0 Input b"]);
    world.pass(Duration::from_nanos(1));
    assert_eq!(world.log.take(), ["0.0 Gone idle", "0.0 closed idle"]);
    world.datagram(1, b"c");
    assert_eq!(world.log.take(), ["0.0 Open", "0.0 Input c"]);
}

#[test]
fn a_datagram_for_a_session_that_takes_none_is_dropped_and_counted() {
    let mut world = record_echo();
    let slot = world.datagram(1, b"a").expect("accepted");
    world.exchange.post(world.address(0, slot), 0);
    world.datagram(1, b"b");
    assert_eq!(world.log.take(), ["0.0 Open", "0.0 Input a", "0.0 Mail 0"]);
    assert_eq!(world.shards[0].counters().records_dropped, 1);
}

#[test]
fn a_record_that_is_lost_costs_the_record_only() {
    let mut world = record_echo();
    let slot = world.datagram(1, b"abc").expect("accepted");
    world.datagram(1, b"def");
    world.shards[0].sent_record(slot, false);
    world.turn();
    assert_eq!(world.sent(slot), "def|");
    assert_eq!(world.shards[0].counters().records_dropped, 1);
    assert!(world.shards[0].is_open(slot));
}

/// Without the assertions of a test build, a session that leaves part of a record is closed and counted.
#[test]
fn a_record_is_taken_whole_or_the_session_ends() {
    use sotong_session::{Close, Cx, Host, Moment, Service, Session, Wall, Wants};
    use sotong_shard::{Exchange, Shard, Silent, Wake};
    #[derive(Clone)]
    struct Picky;
    impl Service for Picky {
        type Session = Self;
        fn open(&self, _: &Way) -> Result<Self, Close> {
            Ok(Self)
        }
        fn lost(&self, _: sotong_session::Address, _: &mut dyn Host<u32>) {}
    }
    impl Session for Picky {
        type Mail = u32;
        fn handle(&mut self, event: Event<'_, u32>, _: &mut Cx<'_, u32>) -> Result<(), Close> {
            if let Event::Input(mut input) = event {
                input.take(1);
            }
            Ok(())
        }
        fn wants(&self) -> Wants {
            Wants::INPUT
        }
    }
    struct Deaf;
    impl Wake for Deaf {
        fn wake(&self) {}
    }
    let exchange = Exchange::new(1);
    exchange.enter(0, std::sync::Arc::new(Deaf));
    let mut shard = Shard::<_, ()>::new(0, Picky, exchange, Limits::default(), std::sync::Arc::new(Silent), 1);
    shard.begin_turn(Moment::START, Wall(0));
    let way = Way::new(End::Simulated(0), End::Simulated(1), Wire::Records);
    let slot = shard.record(0, &way, &mut [1], || ()).expect("accepted");
    assert_eq!(shard.counters().broken, 0);
    shard.record(0, &way, &mut [1, 2], || ());
    assert_eq!(shard.counters().broken, 1);
    assert_eq!(shard.next(slot), sotong_shard::Step::Close);
}
