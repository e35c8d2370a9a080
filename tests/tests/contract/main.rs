//! The contract's table: for each rule somebody who breaks it on purpose, and the checker that catches him.
//!
//! Each breaker is a small scene that is played twice. Played right, its checker has nothing to say; with one thing done
//! wrong it names exactly this rule. `row` is a match over all rules: a new rule does not compile without a row.
//! What real drivers do is not asked here but in the other files of this folder's crate: D4's 64 MiB both ways at once, for
//! one, in `connect_bulk` and `listen_exec`.
mod drivers;
mod hand;
mod layers;
mod lints;
mod sessions;
mod simulated;

use hand::Does;
use layers::Bug;
use simulated::Outside;
use sotong_session::Rule;
use sotong_sim::Sabotage;

/// Who catches the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Checker {
    /// `sotong_session::Checked`, around one session or on both sides of a layer.
    Checked,
    /// The simulator's watcher, between shards, sessions and wires.
    Watcher,
    /// The shard itself, which ends the session and names the rule.
    Shard,
    /// Two transcripts that must be equal: what was said and what was heard, or two runs of one seed.
    Compared,
    /// `cargo run -p xtask -- tidy`; clippy's own bans are tried in `lints`.
    Lint,
}
use Checker::{Checked, Compared, Lint, Shard, Watcher};

/// A rule, and who breaks it.
struct Row {
    /// The rule as the documentation of `sotong_session` has it.
    says: &'static str,
    breakers: Vec<Breaker>,
}

struct Breaker {
    checker: Checker,
    /// What is done wrong.
    what: &'static str,
    /// Plays the scene. The rule its checker names, if it names one.
    play: fn(Does) -> Option<Rule>,
    /// Another rule under which the same fault may be seen, and why.
    or: Option<(Rule, &'static str)>,
}

fn by(checker: Checker, what: &'static str, play: fn(Does) -> Option<Rule>) -> Breaker {
    Breaker { checker, what, play, or: None }
}
fn row(says: &'static str, breakers: impl Into<Vec<Breaker>>) -> Row {
    Row { says, breakers: breakers.into() }
}

#[rustfmt::skip]
// tidy: the table, which is read from top to bottom.
fn row_of(rule: Rule) -> Row {
    use simulated::{pipe, records, room, room_with_panics};
    match rule {
        Rule::D1 => row("sends Event::Open first and once, Event::Gone last and once; after Err nothing but Gone", [
            by(Checked, "mail comes before Open", drivers::event_before_open),
            by(Checked, "Open comes twice", drivers::open_twice),
            by(Checked, "mail comes after Gone", drivers::event_after_gone),
            by(Checked, "Gone comes twice", drivers::gone_twice),
            by(Checked, "mail comes after the session returned Err", drivers::event_after_err),
            by(Watcher, "Gone never comes", |does| room(does, Sabotage::ForgetGone)),
        ]),
        Rule::D2 => row("makes one call at a time: Host's methods only queue", [
            by(Checked, "post calls the other session at once", drivers::mail_inside_a_call),
        ]),
        Rule::D3 => row("shows every untaken byte of a stream in one piece, never empty; a record once and whole. When room or the wish for input returns: first Event::Again, then Event::Input if bytes are left", [
            by(Checked, "an empty Input on a stream", drivers::empty_input),
            by(Checked, "new bytes without those that were left", drivers::untaken_bytes_lost),
            by(Checked, "what was left in two pieces", drivers::untaken_bytes_apart),
            by(Checked, "the same bytes again, and nothing new", drivers::same_bytes_again),
            by(Checked, "Input before Again when room returns", drivers::input_without_again),
            by(Checked, "Input before Again when the wish returns", drivers::no_again_after_hold),
            by(Checked, "Again to a session that holds", drivers::again_while_held),
            by(Watcher, "a received byte is not shown", |does| room(does, Sabotage::LoseInput)),
            by(Watcher, "received bytes are shown twice", |does| room(does, Sabotage::DoubleInput)),
            by(Watcher, "a record is shown without its last byte", |does| records(does, Sabotage::LoseInput)),
            by(Watcher, "a record is shown twice", |does| records(does, Sabotage::DoubleInput)),
        ]),
        Rule::D4 => row("reads and shows input exactly while Wants::takes", [
            by(Checked, "Input while the output is full, to a service", drivers::input_while_full),
            by(Checked, "Input while the session holds", drivers::input_while_held),
            by(Watcher, "no reading while the output is full, though both directions are independent", |does| pipe(does, Sabotage::StopReadingWhenFull)),
        ]),
        Rule::D5 => row("sends Event::End only in a moment when the session takes input and has been shown, in that state, all that is left", [
            by(Checked, "End while the session holds", drivers::end_while_held),
            by(Checked, "End before what is left was shown", drivers::end_before_the_rest),
            by(Checked, "End twice", drivers::end_twice),
            by(Checked, "Input after End", drivers::input_after_end),
        ]),
        Rule::D6 => row("sends Event::Deadline once now has reached Wants::deadline, never before", [
            by(Checked, "Deadline a second too early", drivers::deadline_too_early),
            by(Checked, "Deadline where there is none", drivers::deadline_nobody_set),
            by(Checked, "the session leaves its deadline due", drivers::deadline_still_due),
            by(Watcher, "Deadline never comes", |does| room(does, Sabotage::ForgetDeadline)),
        ]),
        Rule::D7 => row("delivers Event::Mail past the high mark; past the hard mark the session ends as Close::Slow", [
            by(Checked, "mail to a session whose output passed its hard mark", drivers::event_past_the_hard_mark),
            by(Watcher, "mail waits while the output is full", |does| room(does, Sabotage::PauseMail)),
            by(Watcher, "the hard mark is no mark", |does| room(does, Sabotage::NoHardMark)),
        ]),
        Rule::D8 => row("ends every connection by one close routine", [
            by(Watcher, "closes over words that are queued", |does| room(does, Sabotage::CloseBeforeFlush)),
            by(Watcher, "closes without a half-close", |does| room(does, Sabotage::CloseWithoutHalfClose)),
            by(Watcher, "closes without waiting for the peer's end", |does| room(does, Sabotage::CloseWithoutLinger)),
        ]),
        Rule::D9 => row("spends a bounded number of bytes and events on a session in one turn", [
            by(Watcher, "reads and sends for one as long as there is something", |does| room(does, Sabotage::NoBudget)),
        ]),
        Rule::D10 => row("lets a panic cost one session: it leaves its topics, and Service::lost is told", [
            by(Watcher, "who panicked stays a member", |does| room_with_panics(does, Sabotage::KeepTopicsAfterPanic)),
            by(Watcher, "the service is not told", |does| room_with_panics(does, Sabotage::ForgetLost)),
        ]),
        Rule::D11 => row("notes that an output was full right after handle, before it sends, so that no Event::Drained is lost", [
            by(Checked, "looks after it has sent", drivers::fullness_noted_after_the_flush),
            by(Checked, "Drained above the low mark", drivers::drained_above_the_low_mark),
            by(Checked, "Drained though the output was never full", drivers::drained_though_never_full),
        ]),
        Rule::D12 => row("keeps the order between shards: whatever A did is with B before the answer to anything B sends later", [
            by(Watcher, "sends before the mail of the turn is in the inboxes", |does| room(does, Sabotage::FlushBeforeMail)),
            by(Watcher, "shows bytes before mail that came before them", |does| room(does, Sabotage::ShowBeforeInbox)),
            by(Watcher, "mail comes twice", |does| room(does, Sabotage::DoubleMail)),
            by(Watcher, "two pieces of mail change places", |does| room(does, Sabotage::SwapMail)),
            by(Watcher, "mail is lost", |does| room(does, Sabotage::DropMail))
                .or(Rule::D7, "mail that is lost looks like mail that waits, until the next comes"),
            by(Watcher, "a service answers before what was asked has taken effect", simulated::early_answer),
        ]),
        Rule::D13 => row("drops output after Output::finish; that is no overflow", [
            by(Checked, "a half-closed output is opened again", drivers::half_closed_output_opened_again),
        ]),
        Rule::D14 => row("shows no input to a shard's sessions while its mail to another shard is above a mark; delivery never pauses", [
            by(Watcher, "input goes on while another shard must catch up", |does| room(does, Sabotage::IgnoreHold)),
            by(Shard, "a session answers mail with mail without bound", simulated::mail_without_bound),
        ]),

        Rule::S1 => row("takes a record whole", [
            by(Checked, "leaves the last byte of a record", sessions::part_of_a_record),
        ]),
        Rule::S2 => row("stops taking when its output is full, unless its pace is Pace::Always, and when the shard is held: a loop over input asks Cx::takes", [
            by(Checked, "takes all it is shown, and answers past the hard mark", sessions::takes_though_full),
        ]),
        Rule::S3 => row("does no I/O, reads no clock, and depends on no order that differs from run to run", [
            by(Compared, "says a map's keys in the map's order", |does| simulated::replay(does, Outside::MapOrder)),
            by(Compared, "says what the system's clock says", |does| simulated::replay(does, Outside::Clock)),
            by(Lint, "a pure crate depends on one that does I/O", lints::dependency_that_brings_io),
            by(Lint, "a pure crate does not ban maps without order", lints::crate_without_its_bans),
            by(Lint, "a pure crate lifts a ban for itself", lints::ban_lifted),
        ]),
        Rule::S4 => row("puts its farewell into the output before it returns Err", [
            by(Checked, "says farewell in Gone", sessions::farewell_in_gone),
        ]),

        Rule::L1 => row("matches every event by name", [
            by(Lint, "an arm for the rest", lints::arm_for_the_rest),
            by(Lint, "a named arm for the rest", lints::arm_with_a_name_for_the_rest),
            by(Lint, "an arm for any event beside something else", lints::arm_for_the_rest_beside_something),
        ]),
        Rule::L2 => row("empties its scratch output after every nested call, on Err too", [
            by(Checked, "leaves words in its scratch", |does| layers::layer(does, Bug::LeavesScratch)),
            by(Checked, "leaves words in its scratch, and calls without nest", |does| layers::layer(does, Bug::LeavesScratchByHand)),
            by(Checked, "leaves the farewell in its scratch on Err", |does| layers::layer_that_ends(does, Bug::LeavesScratchOnErr)),
        ]),
        Rule::L3 => row("joins the inner's wants with its own; asks Cx::takes in its loops; passes a deadline inward only if it is the inner's; passes mail on untouched", [
            by(Checked, "shows input to an inner session that holds", |does| layers::layer(does, Bug::ShowsWhatever)),
            by(Checked, "asks is_full in its loop", |does| layers::layer(does, Bug::AsksIsFull)),
            by(Checked, "asks Wants::takes, which knows nothing of the shard", layers::goes_on_while_held),
            by(Checked, "does not join the inner's deadline", |does| layers::layer(does, Bug::LosesDeadline)),
            by(Checked, "passes its own deadline inward", |does| layers::layer(does, Bug::PassesOwnDeadline)),
            by(Checked, "passes a copy of mail inward", |does| layers::layer(does, Bug::CopiesMail)),
            by(Checked, "makes up mail of its own", |does| layers::layer(does, Bug::MakesUpMail)),
            by(Checked, "keeps mail to itself", |does| layers::layer(does, Bug::DropsMail)),
        ]),
        Rule::L4 => row("sends Open inward once it is usable, with what it learned", [
            by(Checked, "passes mail inward before Open", |does| layers::layer(does, Bug::PassesMailBeforeOpen)),
            by(Checked, "makes up who both ends are", |does| layers::layer(does, Bug::MakesUpWay)),
            by(Checked, "forgets what it was told of the peer", |does| layers::layer(does, Bug::ForgetsTls)),
            by(Checked, "does not pass Gone inward, where Open went", |does| layers::layer(does, Bug::KeepsGone)),
            by(Compared, "keeps what it learned to itself", layers::learned_way),
        ]),
        Rule::L5 => row("keeps D3 and D5 towards its inner session", [
            by(Checked, "Input goes inward before Again", |does| layers::layer(does, Bug::SkipsAgain)),
            by(Checked, "Again does not go inward at all", |does| layers::layer(does, Bug::SwallowsAgain)),
            by(Checked, "End goes inward while the inner session holds", |does| layers::layer(does, Bug::EndsTooEarly)),
            by(Compared, "shows what it held back after what is new", layers::held_words_in_order),
        ]),
        Rule::L6 => row("adds its own farewell behind the inner's; the driver never does", [
            by(Compared, "its end mark comes before the inner's farewell", layers::farewells_in_order),
            by(Watcher, "a driver adds words behind the session's last", |does| room(does, Sabotage::SpeakAfterClose)),
        ]),
        Rule::L7 => row("turns finish into its own end mark and leaves the socket open; a bare end of stream from the peer is then Close::Truncated", [
            by(Checked, "half-closes the socket with its end mark", |does| layers::layer(does, Bug::HalfCloses)),
            by(Checked, "leaves no end mark", |does| layers::layer(does, Bug::LeavesNoMark)),
            by(Checked, "takes a bare end of stream for the end mark", |does| layers::layer_that_is_cut_off(does, Bug::TakesBareEnd)),
        ]),
        Rule::L8 => row("transforms input in place only on whole units that it takes", [
            by(Checked, "unmasks a part of a frame, and does not take it", |does| layers::layer(does, Bug::UnmasksParts)),
        ]),
    }
}

impl Breaker {
    fn or(self, rule: Rule, why: &'static str) -> Self {
        Self { or: Some((rule, why)), ..self }
    }
}

#[test]
fn each_rule_is_broken_by_somebody_and_caught_by_its_checker() {
    for rule in Rule::ALL {
        let Row { says, breakers } = row_of(*rule);
        println!("\n{rule:?} {says}");
        assert!(!breakers.is_empty(), "{rule:?}: nobody breaks it");
        for Breaker { checker, what, play, or } in breakers {
            let named = play(Does::Break);
            let is_other = or.is_some_and(|(other, _)| named == Some(other));
            println!(
                "   {checker:?}: {what}{}",
                or.map_or(String::new(), |(rule, why)| format!(" (or {rule:?}: {why})"))
            );
            assert!(named == Some(*rule) || is_other, "{rule:?}, {what}: {checker:?} named {named:?}");
        }
    }
}

#[test]
fn a_checker_says_nothing_while_the_rule_is_kept() {
    for rule in Rule::ALL {
        for Breaker { checker, what, play, .. } in row_of(*rule).breakers {
            assert_eq!(play(Does::Keep), None, "{rule:?}, not broken this time ({what}), and {checker:?} names a rule");
        }
    }
}

/// The rules in the documentation of `sotong_session` are those of this table, in the same words.
#[test]
fn the_documentation_has_the_same_rules() {
    let documentation = include_str!("../../../crates/sotong-session/src/lib.rs");
    let mut rows = documentation.lines().filter_map(|line| {
        let (name, says) = line.strip_prefix("//! | ")?.strip_suffix(" |")?.split_once(" | ")?;
        Rule::named_in(name).map(|rule| (rule, says.replace(['[', ']', '`'], "")))
    });
    for rule in Rule::ALL {
        assert_eq!(rows.next(), Some((*rule, row_of(*rule).says.to_owned())));
    }
    assert_eq!(rows.next(), None);
}
