//! What is fuzzed, with inputs that are the same in every run: the seeds, and some thousand that were made of them.
//!
//! `SOTONG_INPUTS=100000` makes as many. `fuzz/` searches for others.
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Inputs of each target, if nothing else is said.
const INPUTS: u64 = 1000;

fn smoke(name: &str) {
    let target = targets::TARGETS.iter().find(|(known, _)| *known == name).expect("a target").1;
    let seeds = targets::seeds(name);
    let count = std::env::var("SOTONG_INPUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(INPUTS);
    let run = |input: &[u8], what: String| {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
            println!("{name}, {what}: {}", input.escape_ascii());
            std::panic::resume_unwind(panic);
        }
    };
    for (number, seed) in seeds.iter().enumerate() {
        run(seed, format!("seed {number}"));
    }
    for number in 0..count {
        let mut dice = fastrand::Rng::with_seed(number);
        run(&targets::mutated(&seeds, &mut dice), format!("input {number}"));
    }
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                smoke(stringify!($name));
            }
        )*
        #[test]
        fn all_targets_are_here() {
            let all: Vec<_> = targets::TARGETS.iter().map(|(name, _)| *name).collect();
            assert_eq!(all, [$(stringify!($name)),*]);
        }
    };
}

targets! { chat http_head irc_message proxy ws_client ws_frames ws_server }
