//! The unbroken driver passes, a broken one is caught, and a seed replays.
use sotong_session::Close;
use sotong_session::Rule::{self, D1, D3, D4, D6, D7, D8, D9, D10, D12, D14, L6};
use sotong_sim::{
    Sabotage, Setup,
    probe::{Spread, pipes, scene},
};
use std::{ops::Range, time::Duration};

fn spread(seed: u64) -> Spread {
    if seed.is_multiple_of(2) { Spread::Direct } else { Spread::Owner }
}

/// `SOTONG_SEED=7` runs that seed alone and prints its trace; `SOTONG_SEEDS=10000` runs so many.
fn seeds(default: u64) -> Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("SOTONG_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SOTONG_SEEDS").unwrap_or(default),
    }
}

#[test]
fn the_unbroken_driver_passes() {
    let seeds = seeds(200);
    let is_one = seeds.end - seeds.start == 1;
    for seed in seeds {
        match scene(Setup::new(seed), spread(seed)).run() {
            Ok(outcome) if is_one => println!("{}", outcome.trace),
            Ok(_) => {}
            Err(failure) => {
                if is_one {
                    println!("{}", failure.trace);
                }
                panic!(
                    "{failure}\nreplay: SOTONG_SEED={seed} cargo test -p sotong-sim --test rules unbroken -- --nocapture"
                );
            }
        }
    }
}

#[test]
fn traffic_both_ways_ends() {
    for seed in 0..50 {
        let (sim, link) = pipes(Setup::new(seed).without_faults(), 4_000);
        let outcome = sim.run().expect("no rule is broken");
        assert_eq!(outcome.of(link).close, Some(Close::Done), "seed {seed}");
        assert_eq!(outcome.of(link).said.len(), 4_000);
    }
}

#[test]
fn equal_seeds_give_equal_traces() {
    for seed in 0..20 {
        let run = || scene(Setup::new(seed), spread(seed)).run().expect("the unbroken driver passes").trace;
        let (first, second) = (run(), run());
        assert_eq!(first, second);
        assert_eq!(first.digest(), second.digest());
        assert_ne!(first.digest(), scene(Setup::new(seed + 1), spread(seed)).run().expect("passes").trace.digest());
    }
}

/// The rule whose breaking a sabotage is; mail that is lost may be noticed because it never comes, or by the next that does.
fn rules_of(sabotage: Sabotage) -> &'static [Rule] {
    match sabotage {
        Sabotage::ForgetGone => &[D1],
        Sabotage::LoseInput | Sabotage::DoubleInput => &[D3],
        Sabotage::PauseMail | Sabotage::NoHardMark => &[D7],
        Sabotage::StopReadingWhenFull => &[D4],
        Sabotage::ForgetDeadline => &[D6],
        Sabotage::CloseBeforeFlush | Sabotage::CloseWithoutHalfClose | Sabotage::CloseWithoutLinger => &[D8],
        Sabotage::SpeakAfterClose => &[L6],
        Sabotage::NoBudget => &[D9],
        Sabotage::KeepTopicsAfterPanic | Sabotage::ForgetLost => &[D10],
        Sabotage::FlushBeforeMail | Sabotage::ShowBeforeInbox | Sabotage::DoubleMail | Sabotage::SwapMail => &[D12],
        Sabotage::DropMail => &[D7, D12],
        Sabotage::IgnoreHold => &[D14],
    }
}

#[test]
fn every_sabotage_is_caught_within_fifty_seeds() {
    for sabotage in Sabotage::ALL {
        let mut seeds = 0..50;
        let caught = seeds.find_map(|seed| {
            let mut setup = Setup::new(seed).without_faults();
            setup.sabotage = Some(sabotage);
            // A shard that pauses lets its inbox grow.
            setup.faults.pauses = 50;
            if rules_of(sabotage) == [D10] {
                setup.faults.panics = 20;
            }
            match sabotage {
                Sabotage::StopReadingWhenFull => pipes(setup, 4_000).0.run().err(),
                _ => scene(setup, spread(seed)).run().err(),
            }
        });
        let caught = caught.unwrap_or_else(|| panic!("{sabotage:?} is not caught"));
        println!("{sabotage:?}: {:?} {}", caught.seed, caught.broken);
        let rule = caught.broken.rule.unwrap_or_else(|| panic!("{sabotage:?}: {caught}"));
        assert!(rules_of(sabotage).contains(&rule), "{sabotage:?}: {caught}");
    }
}

/// A service that answers a speaker before its words have taken effect breaks the order though every driver keeps it.
#[test]
fn an_answer_before_the_effect_is_caught() {
    let caught = (0..50).find_map(|seed| {
        // An owner's shard that pauses, and peers that are faster than that.
        let mut setup = Setup::new(seed).without_faults();
        setup.shards = 4;
        setup.faults.pauses = 50;
        setup.wires.latency = Duration::from_micros(1);
        setup.wires.byte_time = Duration::ZERO;
        scene(setup, Spread::OwnerAnsweredEarly).run().err()
    });
    assert_eq!(caught.expect("caught").broken.rule, Some(D12));
}
