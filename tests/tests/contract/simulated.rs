//! The simulated driver breaks a rule that one session cannot see, and its watcher says which.
use crate::hand::Does;
use sotong_session::{Address, Close, Cx, Event, Host, Limits, Records, Rule, Service, Session, Stream, Wants, Way};
use sotong_sim::{
    Act, Outcome, Sabotage, Script, Setup, Sim,
    probe::{self, Spread},
};
use std::{collections::HashMap, convert::Infallible, time::Duration, time::Instant};

/// Seeds in which a sabotage must be caught. (That the unbroken driver passes a thousand is `simulator`'s to show.)
const SEEDS: u64 = 40;
/// Seeds that an unbroken driver passes here: more than any sabotage needs to be caught.
const SEEDS_KEPT: u64 = 10;

/// The first rule that is broken in any of the seeds.
fn first_broken<S: Service>(does: Does, scene: impl Fn(u64) -> Sim<S>) -> Option<Rule> {
    let seeds = if does.it_break() { SEEDS } else { SEEDS_KEPT };
    (0..seeds).find_map(|seed| {
        let failure = scene(seed).run().err()?;
        let rule = failure.broken.rule;
        Some(rule.unwrap_or_else(|| panic!("not a rule of the contract: {failure}")))
    })
}

fn setup(seed: u64, does: Does, sabotage: Sabotage) -> Setup {
    let mut setup = Setup::new(seed).without_faults();
    // A shard that pauses lets its inbox grow.
    setup.faults.pauses = 50;
    setup.sabotage = does.it_break().then_some(sabotage);
    setup
}

/// A room with all kinds of people in it.
pub(crate) fn room(does: Does, sabotage: Sabotage) -> Option<Rule> {
    first_broken(does, |seed| probe::scene(setup(seed, does, sabotage), spread(seed)))
}
/// The same, and sessions panic.
pub(crate) fn room_with_panics(does: Does, sabotage: Sabotage) -> Option<Rule> {
    first_broken(does, |seed| {
        let mut setup = setup(seed, does, sabotage);
        setup.faults.panics = 20;
        probe::scene(setup, spread(seed))
    })
}
fn spread(seed: u64) -> Spread {
    if seed.is_multiple_of(2) { Spread::Direct } else { Spread::Owner }
}
/// Both ends say 40 times what fits between them.
pub(crate) fn pipe(does: Does, sabotage: Sabotage) -> Option<Rule> {
    first_broken(does, |seed| {
        let mut setup = setup(seed, does, sabotage);
        setup.limits = Limits::smallest();
        setup.wires.send_buffer = 50;
        setup.wires.receive_buffer = 50;
        probe::pipes(setup, 40 * 100).0
    })
}
/// A service that answers a speaker before its words have taken effect.
pub(crate) fn early_answer(does: Does) -> Option<Rule> {
    first_broken(does, |seed| {
        // An owner's shard that pauses, and peers that are faster than that.
        let mut setup = Setup::new(seed).without_faults();
        setup.shards = 4;
        setup.faults.pauses = 50;
        setup.wires.latency = Duration::from_micros(1);
        setup.wires.byte_time = Duration::ZERO;
        probe::scene(setup, if does.it_break() { Spread::OwnerAnsweredEarly } else { Spread::Owner })
    })
}

// Records.

/// Says each record again.
#[derive(Clone)]
struct Again;
impl Service for Again {
    type Session = Self;
    fn open(&self, _: &Way) -> Result<Self, Close> {
        Ok(Self)
    }
    fn lost(&self, _: Address, _: &mut dyn Host<Infallible>) {}
}
impl Records for Again {}
impl Session for Again {
    type Mail = Infallible;
    fn handle(&mut self, event: Event<'_, Infallible>, cx: &mut Cx<'_, Infallible>) -> Result<(), Close> {
        match event {
            Event::Input(mut input) => {
                cx.out.put(input.bytes());
                cx.out.cut();
                input.take_all();
            }
            Event::Stop => return Err(Close::Stop),
            _ => {}
        }
        Ok(())
    }
    fn wants(&self) -> Wants {
        Wants::INPUT
    }
}
/// Peers that send datagrams, an empty one among them.
pub(crate) fn records(does: Does, sabotage: Sabotage) -> Option<Rule> {
    first_broken(does, |seed| {
        let mut sim = Sim::new(setup(seed, does, sabotage), Again);
        let words = (0..10).map(|count| Act::Say(vec![b'x'; count]));
        sim.datagrams(Duration::ZERO, Script::new(words));
        sim
    })
}

// Mail that makes mail.

/// Tells itself something for each thing it is told: much more than one event may, or no more than that.
#[derive(Clone, Copy)]
struct Gossip(usize);
impl Service for Gossip {
    type Session = Self;
    fn open(&self, _: &Way) -> Result<Self, Close> {
        Ok(*self)
    }
    fn lost(&self, _: Address, _: &mut dyn Host<bool>) {}
}
impl Stream for Gossip {}
impl Session for Gossip {
    type Mail = bool;
    fn handle(&mut self, event: Event<'_, bool>, cx: &mut Cx<'_, bool>) -> Result<(), Close> {
        match event {
            Event::Input(mut input) => {
                input.take_all();
                cx.host.post(cx.me, true);
            }
            Event::Mail(true) => (0..self.0).for_each(|_| cx.host.post(cx.me, false)),
            Event::End => cx.out.finish(),
            Event::Stop => return Err(Close::Stop),
            _ => {}
        }
        Ok(())
    }
    fn wants(&self) -> Wants {
        Wants::INPUT
    }
}
/// The shard ends a session that would fill inboxes by answering mail with mail, and names the rule.
pub(crate) fn mail_without_bound(does: Does) -> Option<Rule> {
    let mut setup = Setup::new(1).without_faults();
    setup.limits = Limits::smallest();
    let most = setup.limits.mail_per_mail_max;
    let mut sim = Sim::new(setup, Gossip(if does.it_break() { most + 1 } else { most }));
    let talks = sim.connect(Duration::ZERO, Script::new([Act::Say(b"x".to_vec()), Act::Fin, Act::HearEnd]));
    let outcome = sim.run().expect("the driver keeps every rule");
    match &outcome.of(talks).close {
        Some(Close::Fault(what)) => Rule::named_in(what),
        Some(Close::Done) => None,
        other => panic!("ended by {other:?}"),
    }
}

// S3: two runs of one seed.

/// What a session may be tempted to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outside {
    MapOrder,
    Clock,
}

/// Says something that is the same in every run, or is not.
#[derive(Clone, Copy)]
struct Fickle {
    does: Does,
    outside: Outside,
}
impl Service for Fickle {
    type Session = Self;
    fn open(&self, _: &Way) -> Result<Self, Close> {
        Ok(*self)
    }
    fn lost(&self, _: Address, _: &mut dyn Host<Infallible>) {}
}
impl Fickle {
    fn words(self, cx: &Cx<'_, Infallible>) -> String {
        let looks = self.does.it_break();
        match self.outside {
            Outside::MapOrder => {
                let map: HashMap<u32, u32> = (0..50).map(|number| (number, number)).collect();
                let mut keys: Vec<u32> = map.into_keys().collect();
                if !looks {
                    keys.sort_unstable();
                }
                format!("{keys:?}")
            }
            Outside::Clock if looks => format!("{:?}", Instant::now()),
            Outside::Clock => format!("{:?}", cx.now),
        }
    }
}
impl Stream for Fickle {}
impl Session for Fickle {
    type Mail = Infallible;
    fn handle(&mut self, event: Event<'_, Infallible>, cx: &mut Cx<'_, Infallible>) -> Result<(), Close> {
        match event {
            Event::Open(_) => cx.out.put(self.words(cx).as_bytes()),
            Event::Input(mut input) => input.take_all(),
            Event::End => cx.out.finish(),
            Event::Stop => return Err(Close::Stop),
            _ => {}
        }
        Ok(())
    }
    fn wants(&self) -> Wants {
        Wants::INPUT
    }
}
/// Equal seeds give equal traces, unless a session looks outside.
pub(crate) fn replay(does: Does, outside: Outside) -> Option<Rule> {
    let run = || -> Outcome {
        let mut sim = Sim::new(Setup::new(3).without_faults(), Fickle { does, outside });
        sim.connect(Duration::ZERO, Script::new([Act::Fin, Act::HearEnd]));
        sim.run().expect("the driver keeps every rule")
    };
    let (first, second) = (run().trace, run().trace);
    assert_eq!(first == second, first.digest() == second.digest());
    (first != second).then_some(Rule::S3)
}
