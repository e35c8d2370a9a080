//! The watcher: what one session cannot see of the contract.
//!
//! It stands between the shards and their sessions, and between the shards and the wires, and knows both sides of each.
use crate::{Dice, Faults, Trace};
use sotong_session::{Address, Close, Limits, Moment, Output, Pace, Rule, Topic, Wants};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A rule that was broken in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which, if it was one of the contract's; `None` for a claim of a peer's, a session that panicked, a run without end.
    pub rule: Option<Rule>,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(rule) = self.rule {
            write!(f, "rule {rule:?} broken: ")?;
        }
        f.write_str(&self.what)
    }
}

pub(crate) type Shared = Arc<Mutex<Watcher>>;
/// A poisoned lock is recovered: a session that panicked did not hold it.
pub(crate) fn lock(watch: &Shared) -> MutexGuard<'_, Watcher> {
    watch.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a planned panic says, to be told from one that was not planned.
pub(crate) const PLANNED: &str = "planned";

pub(crate) struct Watcher {
    pub(crate) limits: Limits,
    pub(crate) trace: Trace,
    pub(crate) now: u64,
    /// Counts everything that happens: two things in one step happen at once.
    pub(crate) step: u64,
    pub(crate) dice: Dice,
    faults: Faults,
    pub(crate) broken: Option<Broken>,
    /// The drain limit has passed: connections are closed as they are.
    pub(crate) cut: bool,
    /// The datagram the driver is showing just now.
    pub(crate) record: Option<Vec<u8>>,
    /// One for each side of each wire: `2 * wire + side`.
    pub(crate) ends: Vec<Ends>,
    inbox_slack: usize,
    sessions: BTreeMap<Address, Seen>,
    members: BTreeMap<Topic, BTreeMap<Address, Membership>>,
    mail_number: u64,
    /// Mail a session has sent that its driver keeps for later. None, unless the driver is broken.
    unpushed: BTreeMap<u64, u16>,
    /// Shards whose inboxes are above the mark by another one's doing.
    held: BTreeMap<u16, BTreeSet<u16>>,
    /// Each shard's present turn, and when the last one began.
    turns: BTreeMap<u16, Turn>,
}

/// What is known of one end of a wire that has a session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ends {
    pub(crate) who: Option<Address>,
    /// What the session has put into its output.
    pub(crate) said: Vec<u8>,
    /// How much of it the kernel took.
    pub(crate) sent: usize,
    /// What the kernel gave the driver for this session.
    pub(crate) received: Vec<u8>,
    /// How much of it the session has taken.
    taken: usize,
    /// When the driver last received something here.
    received_step: u64,
    pub(crate) half_closed: Option<u64>,
    pub(crate) fin_seen: bool,
    pub(crate) failed: bool,
    pub(crate) discarded: usize,
    /// Why the driver says it is over.
    pub(crate) close: Option<Close>,
    /// The driver let go of the connection.
    pub(crate) removed: bool,
}

#[derive(Debug, Default)]
struct Seen {
    end: Option<usize>,
    stage: Stage,
    /// Mail that was sent to it and has not come.
    expected: VecDeque<Expected>,
    /// The shard's turn, and bytes in and out in it.
    spent: (u64, usize, usize),
    pace: Option<Pace>,
    /// When it wants to be told the time, nanoseconds, and since which step it does.
    deadline: Option<(u64, u64)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    /// In which step the last one began, and in which this one.
    last: u64,
    began: u64,
    /// The driver's clock in it, nanoseconds.
    clock: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Open,
    Panicked,
    Gone,
    Lost,
}

#[derive(Clone, Copy, Debug)]
struct Expected {
    number: u64,
    topic: Option<Topic>,
    /// When it was put into the inbox.
    pushed: Option<u64>,
    /// May not come: memberships of it were changed from two shards at once.
    unsure: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Membership {
    here: bool,
    elsewhere: bool,
    joined: bool,
}

impl Watcher {
    pub(crate) fn new(limits: Limits, dice: Dice, faults: Faults, inbox_slack: usize) -> Self {
        Self {
            limits,
            trace: Trace::default(),
            now: 0,
            step: 0,
            dice,
            faults,
            broken: None,
            cut: false,
            record: None,
            ends: Vec::new(),
            inbox_slack,
            sessions: BTreeMap::new(),
            members: BTreeMap::new(),
            mail_number: 0,
            unpushed: BTreeMap::new(),
            held: BTreeMap::new(),
            turns: BTreeMap::new(),
        }
    }
    /// The first broken rule is the one that is told.
    pub(crate) fn fail(&mut self, rule: Option<Rule>, what: impl Into<String>) {
        let what = what.into();
        self.broken.get_or_insert(Broken { rule, what });
    }
    fn check(&mut self, holds: bool, rule: Rule, what: impl FnOnce() -> String) {
        if !holds {
            self.fail(Some(rule), what());
        }
    }
    pub(crate) fn note(&mut self, who: Address, what: &'static str, bytes: &[u8], note: impl Into<Cow<'static, str>>) {
        self.trace.add(self.now, who, what, bytes, note.into());
    }

    // Sessions.

    pub(crate) fn opened(&mut self, who: Address, end: Option<usize>) {
        self.check(!self.sessions.contains_key(&who), Rule::D1, || format!("{who:?} was used before"));
        if let Some(at) = end {
            self.ends[at].who = Some(who);
        }
        self.sessions.insert(who, Seen { end, ..Seen::default() });
    }
    pub(crate) fn plans_panic(&mut self, who: Address) -> bool {
        let end = self.sessions.get(&who).and_then(|seen| seen.end);
        let is_spared = end.is_some_and(|end| end / 2 < self.faults.spares);
        let happens = self.dice.chance(self.faults.panics) && !is_spared;
        if happens {
            self.note(who, "panic", b"", "");
            if let Some(seen) = self.sessions.get_mut(&who) {
                seen.stage = Stage::Panicked;
                seen.expected.clear();
            }
        }
        happens
    }
    pub(crate) fn gone(&mut self, who: Address, close: &Close) {
        self.note(who, "Gone", b"", close.to_string());
        let Some(seen) = self.sessions.get_mut(&who) else { return self.fail(Some(Rule::D1), "Gone without Open") };
        if std::mem::replace(&mut seen.stage, Stage::Gone) != Stage::Open {
            self.fail(Some(Rule::D1), format!("{who:?} got Gone though it was over"));
        }
        self.forget(who);
    }
    pub(crate) fn lost(&mut self, who: Address) {
        self.note(who, "lost", b"", "");
        let Some(seen) = self.sessions.get_mut(&who) else { return self.fail(Some(Rule::D10), "lost without Open") };
        if std::mem::replace(&mut seen.stage, Stage::Lost) != Stage::Panicked {
            self.fail(Some(Rule::D10), format!("{who:?} is called lost and did not panic, or twice"));
        }
        self.forget(who);
    }
    /// Whether it is over for a session.
    pub(crate) fn is_over(&self, who: Address) -> bool {
        self.sessions.get(&who).is_none_or(|seen| seen.stage != Stage::Open)
    }
    fn forget(&mut self, who: Address) {
        if let Some(seen) = self.sessions.get_mut(&who) {
            seen.expected.clear();
        }
        for members in self.members.values_mut() {
            members.remove(&who);
        }
    }
    fn end_of(&mut self, who: Address) -> Option<&mut Ends> {
        let at = self.sessions.get(&who)?.end?;
        self.ends.get_mut(at)
    }

    // Bytes.

    /// The driver received bytes for a session and is about to show them.
    pub(crate) fn received(&mut self, end: usize, bytes: &[u8], step: u64) {
        let at = &mut self.ends[end];
        at.received.extend_from_slice(bytes);
        at.received_step = step;
        if let Some(who) = at.who {
            self.spend(who, bytes.len(), 0);
        }
    }
    pub(crate) fn input(&mut self, who: Address, bytes: &[u8], wait: impl Fn(u16) -> usize) {
        self.hold(who.shard, wait);
        let is_stream = self.end_of(who).is_some();
        if !is_stream {
            let record = self.record.take();
            self.check(record.as_deref() == Some(bytes), Rule::D3, || {
                format!("{who:?} is shown another record than came")
            });
            return self.late_mail(who, self.step);
        }
        let Some(end) = self.end_of(who) else { return };
        let (is_right, step) = (end.received.get(end.taken..) == Some(bytes), end.received_step);
        self.check(is_right, Rule::D3, || format!("{who:?} is not shown what came and was not taken"));
        let Limits { untaken_bytes_max, turn_bytes_max, .. } = self.limits;
        if bytes.len() > untaken_bytes_max + turn_bytes_max {
            self.fail(None, format!("{} bytes are kept for {who:?}", bytes.len()));
        }
        self.late_mail(who, step);
    }
    /// Bytes received in `step` are shown: all mail that was there before must have come (rule D12b).
    fn late_mail(&mut self, who: Address, step: u64) {
        let Some(seen) = self.sessions.get(&who) else { return };
        let late = seen.expected.iter().find(|mail| !mail.unsure && mail.pushed.is_some_and(|pushed| pushed < step));
        if let Some(mail) = late {
            let what = format!("{who:?} is shown bytes before mail {} that came before them", mail.number);
            self.fail(Some(Rule::D12), what);
        }
    }
    /// A session is told that the server leaves, after which it hears nothing more: all mail that was there must have come.
    pub(crate) fn stops(&mut self, who: Address) {
        let Some(seen) = self.sessions.get(&who) else { return };
        let step = self.step;
        let late = seen.expected.iter().find(|mail| !mail.unsure && mail.pushed.is_some_and(|pushed| pushed < step));
        if let Some(mail) = late {
            let what = format!("{who:?} is told that the server leaves before mail {} that came before", mail.number);
            self.fail(Some(Rule::D12), what);
        }
    }
    /// Rule D14: no input while others must catch up with what this shard sent them.
    pub(crate) fn hold(&mut self, shard: u16, wait: impl Fn(u16) -> usize) {
        self.release(&wait);
        if let Some(other) = self.held.get(&shard).and_then(BTreeSet::first) {
            let what = format!("shard {shard} shows input while {} pieces of mail wait at {other}", wait(*other));
            self.fail(Some(Rule::D14), what);
        }
    }
    /// Whose inbox has fallen holds nobody any more. Looked at whenever a shard may look.
    pub(crate) fn release(&mut self, wait: impl Fn(u16) -> usize) {
        let low = self.limits.inbox_high / 2;
        for held in self.held.values_mut() {
            held.retain(|other| wait(*other) > low);
        }
    }
    pub(crate) fn took(&mut self, who: Address, count: usize) {
        if let Some(end) = self.end_of(who) {
            end.taken += count;
        }
    }
    pub(crate) fn said(&mut self, who: Address, bytes: &[u8]) {
        if let Some(end) = self.end_of(who) {
            end.said.extend_from_slice(bytes);
        }
    }
    pub(crate) fn queued(&mut self, who: Address, count: usize) {
        let hard = self.limits.marks.hard;
        self.check(count <= hard, Rule::D7, || format!("{who:?} has {count} bytes queued, more than {hard}"));
    }
    /// What a session waits for, once it was called.
    pub(crate) fn wants(&mut self, who: Address, wants: Wants) {
        let step = self.step;
        let Some(seen) = self.sessions.get_mut(&who) else { return };
        seen.pace = Some(wants.input);
        let at = wants.deadline.map(|at| nanos(at.since(Moment::START)));
        if seen.deadline.map(|(at, _)| at) != at {
            seen.deadline = at.map(|at| (at, step));
        }
    }
    /// A shard goes to sleep beside input that has come. What the session says of itself counts, whatever its driver made
    /// of it.
    pub(crate) fn unread(&mut self, end: usize, who: Address, out: &Output) {
        if self.ends[end].fin_seen || self.ends[end].failed {
            return;
        }
        let Some(seen) = self.sessions.get(&who).filter(|seen| seen.stage == Stage::Open) else { return };
        let takes = seen.pace.is_some_and(|input| Wants { input, deadline: None }.takes(out));
        self.check(!takes, Rule::D4, || format!("{who:?} takes input that nobody reads"));
    }
    /// Nothing is left to happen: nobody may wait for it.
    pub(crate) fn waits(&mut self, who: Address) {
        let Some(seen) = self.sessions.get(&who).filter(|seen| seen.stage == Stage::Open) else { return };
        let waits = seen.deadline.is_some();
        self.check(!waits, Rule::D6, || format!("{who:?} waits for a deadline that nobody remembers"));
    }
    /// The driver is about to hand output to the kernel.
    pub(crate) fn flush(&mut self, who: Address) {
        let late = self.unpushed.iter().find(|(_, shard)| **shard == who.shard).map(|(number, _)| *number);
        if let Some(number) = late {
            let what = format!("output of {who:?} is sent before mail {number} of its turn is in the inboxes");
            self.fail(Some(Rule::D12), what);
        }
    }
    /// The kernel took these bytes.
    pub(crate) fn sent(&mut self, end: usize, who: Address, bytes: &[u8]) {
        let at = &mut self.ends[end];
        let is_right = at.said.get(at.sent..at.sent + bytes.len()) == Some(bytes);
        at.sent += bytes.len();
        let is_late = at.half_closed.is_some();
        let is_own = at.sent > at.said.len();
        self.check(!is_own, Rule::L6, || format!("the driver adds words of its own to what {who:?} said"));
        self.check(is_right, Rule::D8, || format!("{who:?} did not say what is sent for it"));
        self.check(!is_late, Rule::D8, || format!("{who:?} is said to speak after the half-close"));
        self.spend(who, 0, bytes.len());
    }
    pub(crate) fn spend(&mut self, who: Address, came: usize, went: usize) {
        let most = self.limits.turn_bytes_max;
        let turn = self.turns.get(&who.shard).copied().unwrap_or_default().began;
        let Some(seen) = self.sessions.get_mut(&who) else { return };
        if seen.spent.0 != turn {
            seen.spent = (turn, 0, 0);
        }
        seen.spent.1 += came;
        seen.spent.2 += went;
        let (_, came, went) = seen.spent;
        let is_fair = came <= most && went <= 2 * most.max(64);
        self.check(is_fair, Rule::D9, || format!("{who:?} had {came} bytes in and {went} out in one turn of {most}"));
    }
    /// The driver lets go of a connection.
    pub(crate) fn removed(&mut self, end: usize, clock: u64) {
        let limits = self.limits;
        let cut = self.cut;
        let at = &mut self.ends[end];
        at.removed = true;
        let (who, close) = (at.who, at.close.clone());
        let stage = who.and_then(|who| self.sessions.get(&who)).map(|seen| seen.stage);
        self.check(stage != Some(Stage::Open), Rule::D1, || format!("{who:?} is closed and got no Gone"));
        let at = &mut self.ends[end];
        let Some(close) = close else { return self.fail(Some(Rule::D8), "a connection is closed without a reason") };
        if close.drops_output() || at.failed || cut {
            return;
        }
        let unsent = at.said.len() - at.sent.min(at.said.len());
        let lingered = at.half_closed.is_some_and(|since| clock >= since.saturating_add(nanos(limits.linger)));
        let is_done = at.fin_seen || at.discarded >= limits.linger_bytes_max || lingered;
        // After the peer's end, closing half-closes.
        let half_closed = at.half_closed.is_some() || at.fin_seen;
        self.check(unsent == 0, Rule::D8, || format!("{who:?} is closed as {close} with {unsent} bytes queued"));
        self.check(half_closed, Rule::D8, || format!("{who:?} is closed as {close} without a half-close"));
        self.check(is_done, Rule::D8, || format!("{who:?} is closed as {close} without waiting for the peer's end"));
    }

    // Mail.

    pub(crate) fn joined(&mut self, caller: u16, topic: Topic, who: Address) {
        if self.sessions.get(&who).is_none_or(|seen| seen.stage != Stage::Open) {
            return;
        }
        let member = self.members.entry(topic).or_default().entry(who).or_default();
        member.here |= caller == who.shard;
        member.elsewhere |= caller != who.shard;
        member.joined = true;
    }
    pub(crate) fn left(&mut self, caller: u16, topic: Topic, who: Address) {
        let Some(member) = self.members.entry(topic).or_default().get_mut(&who) else { return };
        member.here |= caller == who.shard;
        member.elsewhere |= caller != who.shard;
        member.joined = false;
        // A session's own shard forgets at once what waits; from elsewhere the news comes behind it.
        let is_sure = !member.elsewhere;
        let Some(seen) = self.sessions.get_mut(&who) else { return };
        if is_sure {
            seen.expected.retain(|mail| mail.topic != Some(topic));
        } else {
            seen.expected.iter_mut().filter(|mail| mail.topic == Some(topic)).for_each(|mail| mail.unsure = true);
        }
    }
    /// A session publishes: its number, and to whom it must come from now on, in this order.
    pub(crate) fn published(&mut self, caller: Address, topic: Topic, except: Option<Address>) -> u64 {
        let number = self.number(caller);
        let members: Vec<(Address, bool)> = self.members.get(&topic).map_or_else(Vec::new, |members| {
            let listed = members.iter().filter(|(who, member)| member.joined && Some(**who) != except);
            listed.map(|(who, member)| (*who, member.here && member.elsewhere)).collect()
        });
        for (who, unsure) in members {
            self.expect(who, Expected { number, topic: Some(topic), pushed: None, unsure });
        }
        number
    }
    pub(crate) fn posted(&mut self, caller: Address, to: Address) -> u64 {
        let number = self.number(caller);
        self.expect(to, Expected { number, topic: None, pushed: None, unsure: false });
        number
    }
    fn number(&mut self, caller: Address) -> u64 {
        self.mail_number += 1;
        self.unpushed.insert(self.mail_number, caller.shard);
        self.mail_number
    }
    fn expect(&mut self, who: Address, mail: Expected) {
        if let Some(seen) = self.sessions.get_mut(&who).filter(|seen| seen.stage == Stage::Open) {
            seen.expected.push_back(mail);
        }
    }
    /// Mail is in the inboxes.
    pub(crate) fn pushed(&mut self, number: u64, by: Address, inboxes: &[(u16, usize)]) {
        self.unpushed.remove(&number);
        let step = self.step;
        for seen in self.sessions.values_mut() {
            if let Some(mail) = seen.expected.iter_mut().rev().find(|mail| mail.number == number) {
                mail.pushed = Some(step);
            }
        }
        let high = self.limits.inbox_high;
        let most = high.saturating_add(self.inbox_slack);
        for (shard, waiting) in inboxes {
            if *waiting > high {
                self.held.entry(by.shard).or_default().insert(*shard);
            }
            self.check(*waiting <= most, Rule::D14, || format!("{waiting} pieces of mail wait at shard {shard}"));
        }
    }
    /// Mail came to a session.
    pub(crate) fn mail(&mut self, who: Address, number: u64) {
        self.note(who, "Mail", b"", format!("{number}"));
        let Some(seen) = self.sessions.get_mut(&who) else { return };
        if matches!(seen.stage, Stage::Panicked | Stage::Lost) {
            return self.fail(Some(Rule::D10), format!("{who:?} panicked and still gets mail {number}"));
        }
        while seen.expected.front().is_some_and(|mail| mail.unsure && mail.number != number) {
            seen.expected.pop_front();
        }
        match seen.expected.pop_front() {
            Some(mail) if mail.number == number => {}
            Some(mail) => {
                let what = format!("{who:?} gets mail {number} where {} is next", mail.number);
                self.fail(Some(Rule::D12), what);
            }
            None => self.fail(Some(Rule::D12), format!("{who:?} gets mail {number} that is not for it, or again")),
        }
    }
    /// A shard begins a turn.
    pub(crate) fn turn_begins(&mut self, shard: u16, clock: u64) {
        let last = self.turns.get(&shard).copied().unwrap_or_default().began;
        self.turns.insert(shard, Turn { last, began: self.step, clock });
    }
    /// A shard has done everything in a turn: what waited when the last one began has come, what was due at its clock too,
    /// and a panic has been told.
    pub(crate) fn turn_ends(&mut self, shard: u16) {
        let mut found = None;
        let Turn { last, began, clock } = self.turns.get(&shard).copied().unwrap_or_default();
        for (who, seen) in self.of_shard(shard) {
            if seen.stage == Stage::Panicked {
                found = Some((Rule::D10, format!("{who:?} panicked and nobody was told")));
            } else if seen.deadline.is_some_and(|(at, since)| at <= clock && since < began) {
                found = Some((Rule::D6, format!("{who:?} is not told that its deadline has come")));
            }
            let is_late = |mail: &&Expected| !mail.unsure && mail.pushed.is_some_and(|pushed| pushed < last);
            if let Some(mail) = seen.expected.iter().find(is_late) {
                found =
                    Some((Rule::D7, format!("{who:?} still waits for mail {}: delivery never pauses", mail.number)));
            }
        }
        if let Some((rule, what)) = found {
            self.fail(Some(rule), what);
        }
    }
    fn of_shard(&self, shard: u16) -> impl Iterator<Item = (Address, &Seen)> {
        let from = Address { shard, slot: 0, turn: 0 };
        let to = Address { shard, slot: u32::MAX, turn: u32::MAX };
        let live = |seen: &Seen| matches!(seen.stage, Stage::Open | Stage::Panicked);
        self.sessions.range(from..=to).map(|(who, seen)| (*who, seen)).filter(move |(_, seen)| live(seen))
    }
    /// The run is over.
    pub(crate) fn at_end(&mut self, topics: usize) {
        let open = self.sessions.iter().find(|(_, seen)| !matches!(seen.stage, Stage::Gone | Stage::Lost));
        let open = open.map(|(who, _)| *who);
        if let Some(who) = open {
            self.fail(Some(Rule::D1), format!("{who:?} was opened and got no Gone"));
        }
        self.check(topics == 0, Rule::D10, || format!("{topics} topics have members, and nobody is left"));
    }
}

fn nanos(duration: std::time::Duration) -> u64 {
    crate::agenda::nanos(duration)
}
