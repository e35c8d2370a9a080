//! Changing what a room allows.
use super::{
    Hall, Plan, Rank, Refusal, Room, Teller, Who, entry, filter,
    room::{Flag, List, Masked},
};
use crate::{
    ChatLimits,
    books::{Change as BookChange, RoomRecord},
    news::What,
    options::cut,
};
use sotong_irc::{
    modes::{self, Change},
    names,
};
use sotong_session::{Topic, Wall};
use std::{sync::Arc, time::Duration};

/// Bytes of a line of modes, so that with source and room it fits into one.
const MODE_BYTES_MAX: usize = 280;

/// Seconds between two messages of one person in a slow room.
pub(crate) const SLOW_SECONDS_MAX: u64 = 21_600;

/// What became of a change of modes.
#[derive(Debug, Default)]
pub(crate) struct Moded {
    /// Lines that tell of it.
    pub(crate) lines: usize,
    pub(crate) refused: Vec<(char, String, Refusal)>,
    /// What was done.
    pub(crate) done: Vec<(bool, char, Option<String>)>,
}

impl Moded {
    fn refuse(&mut self, change: &Change<'_>, why: Refusal) {
        self.refused.push((change.letter, change.param.unwrap_or("").to_owned(), why));
    }
}

/// On whose behalf modes are changed.
#[derive(Clone, Debug)]
pub(crate) enum By {
    /// As far as the rank of the one who asks goes.
    Rank,
    /// An operator of the server, or a service, with the source that is told.
    Power(Arc<str>),
}

/// Who changes modes: his rank, what is told as the source, and whether he stands above ranks.
struct Doer<'d> {
    rank: Rank,
    source: &'d Arc<str>,
    is_power: bool,
}

impl Hall {
    /// Changes a room's modes by steps, as far as he may; what was changed is told in as few lines as it fits into. What was
    /// refused comes back, with how many lines tell of the change. What of it the books keep of a registered room is seen by
    /// nobody before it is on disk, and the rest of the same line comes with it.
    pub(crate) fn change_modes(
        &mut self,
        name: &str,
        changes: &[Change<'_>],
        by: &By,
        tell: &mut Teller<'_>,
    ) -> Result<Plan<Moded>, Refusal> {
        // What has ended is told as what has ended, and is no more when the steps are taken.
        if let Some(id) = self.room(name).map(|room| room.id) {
            self.end_entries(id, tell);
        }
        let (room, rank, source) = match by {
            By::Rank => {
                let room = self.room_for(tell.me, name).ok_or(Refusal::NoSuchRoom)?;
                let source = self.user(tell.me).map(|user| Arc::clone(&user.source)).ok_or(Refusal::NoSuchNick)?;
                (room, room.rank(tell.me).unwrap_or_default(), source)
            }
            By::Power(source) => (self.room(name).ok_or(Refusal::NoSuchRoom)?, Rank::FOUNDER, Arc::clone(source)),
        };
        let doer = Doer { rank, source: &source, is_power: matches!(by, By::Power(_)) };
        let id = room.id;
        let known = self.record(&room.name).cloned();
        let is_kept = |change: &Change<'_>| Rank::of(change.letter).is_none();
        let Some(record) = known.filter(|_| changes.iter().any(is_kept)) else {
            // Nothing of it is in the books: step by step, at once.
            let mut moded = Moded::default();
            for change in changes {
                match self.change_mode(id, &doer, change, tell) {
                    Ok(Some(param)) => moded.done.push((change.sets, change.letter, param)),
                    Ok(None) => {}
                    Err(why) => moded.refuse(change, why),
                }
            }
            return Ok(Plan::new(Vec::new(), move |hall, tell| hall.tell_moded(id, &source, moded, tell)));
        };
        let (mut moded, steps, record) = self.plan_modes(id, &doer, &record, changes, tell);
        let at = tell.at;
        Ok(Plan::new(record.into_iter().collect(), move |hall, tell| {
            for step in steps {
                let done = hall.take_step(id, step, (&source, at));
                moded.done.extend(done);
            }
            hall.tell_moded(id, &source, moded, tell)
        }))
    }
    /// Tells what was done, and counts the lines that tell of it to who did it: whoever is not in the room is not told.
    fn tell_moded(&mut self, id: Topic, source: &Arc<str>, mut moded: Moded, tell: &mut Teller<'_>) -> Moded {
        let lines = self.tell_modes(id, &moded.done, source, tell);
        let is_in = self.room_by(id).is_some_and(|room| room.seats.contains_key(&tell.me));
        moded.lines = if is_in { lines } else { 0 };
        if !moded.done.is_empty() {
            self.touch_room(id);
            self.note_ends(id);
            self.call_keeper(tell.host);
        }
        moded
    }
    /// What becomes of changes of a registered room: what is refused, the steps to be taken, and what the books are to keep, if
    /// that is something new. Judged by what they keep already, with all that is under way.
    fn plan_modes(
        &self,
        id: Topic,
        doer: &Doer<'_>,
        record: &Arc<RoomRecord>,
        changes: &[Change<'_>],
        tell: &Teller<'_>,
    ) -> (Moded, Vec<Owned>, Option<BookChange>) {
        let mut room = Room::new(id, (*record.name).into(), tell.at);
        room.read(record, tell.at);
        let (mut moded, mut steps, mut is_new) = (Moded::default(), Vec::new(), false);
        for change in changes {
            let judged = match Rank::of(change.letter) {
                Some(rank) => self.may_rank(id, doer, rank, change, tell).map(|whom| Some(Step::Rank(whom, rank))),
                None => {
                    let changed = self
                        .may_change(id, doer, change, tell)
                        .and_then(|()| change_kept(&mut room, change, (doer.source, tell.at), (&self.limits).into()));
                    changed.map(|changed| changed.map(|_| Step::Kept(change.param.map(Into::into))))
                }
            };
            match judged {
                Ok(Some(step)) => {
                    is_new |= matches!(step, Step::Kept(_));
                    steps.push(Owned { sets: change.sets, letter: change.letter, step });
                }
                Ok(None) => {}
                Err(why) => moded.refuse(change, why),
            }
        }
        let record = is_new.then(|| BookChange::Room(Arc::new(self.record_of(&room, record, tell.at))));
        (moded, steps, record)
    }
    /// Does what has been judged before: what of it is told, if it is still a change.
    fn take_step(
        &mut self,
        id: Topic,
        Owned { sets, letter, step }: Owned,
        by: (&Arc<str>, Wall),
    ) -> Option<(bool, char, Option<String>)> {
        match step {
            Step::Rank(whom, rank) => {
                let nick = self.user(whom)?.nick.to_string();
                self.set_rank(id, whom, rank, sets).then_some((sets, letter, Some(nick)))
            }
            Step::Kept(param) => {
                // How many there may be has been judged.
                let most = Most { entries: usize::MAX, ..Most::from(&self.limits) };
                let room = self.rooms.get_mut(&id)?;
                let change = Change { sets, letter, param: param.as_deref() };
                let param = change_kept(room, &change, by, most).ok().flatten()?;
                Some((sets, letter, param))
            }
        }
    }
    /// Tells a room which of its modes have been changed; in how many lines.
    pub(super) fn tell_modes(
        &mut self,
        id: Topic,
        done: &[(bool, char, Option<String>)],
        source: &Arc<str>,
        tell: &mut Teller<'_>,
    ) -> usize {
        let Some(target) = self.room_by(id).map(|room| Arc::clone(&room.name)) else { return 0 };
        let (mut rest, mut lines) = (done, 0);
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = rest.iter().take_while(|(_, _, param)| {
                bytes += 3 + param.as_ref().map_or(0, String::len);
                bytes <= MODE_BYTES_MAX
            });
            let (now, later) = rest.split_at(fits.count().max(1));
            let steps = now.iter().map(|(sets, letter, param)| Change {
                sets: *sets,
                letter: *letter,
                param: param.as_deref(),
            });
            let changes = modes::write(steps);
            let what = What::Moded { target: Arc::clone(&target), changes };
            let news = self.news(Arc::clone(source), what, tell);
            super::publish(id, None, news, tell);
            lines += 1;
            rest = later;
        }
        lines
    }
    /// One change: its parameter as it is told; nothing if it was so already.
    fn change_mode(
        &mut self,
        id: Topic,
        doer: &Doer<'_>,
        change: &Change<'_>,
        tell: &Teller<'_>,
    ) -> Result<Option<Option<String>>, Refusal> {
        if let Some(rank) = Rank::of(change.letter) {
            let whom = self.may_rank(id, doer, rank, change, tell)?;
            let nick = self.user(whom).map(|user| user.nick.to_string());
            return Ok(self.set_rank(id, whom, rank, change.sets).then_some(nick));
        }
        self.may_change(id, doer, change, tell)?;
        let most = Most::from(&self.limits);
        let room = self.rooms.get_mut(&id).ok_or(Refusal::NoSuchRoom)?;
        change_kept(room, change, (doer.source, tell.at), most)
    }
    fn may_change(&self, id: Topic, doer: &Doer<'_>, change: &Change<'_>, tell: &Teller<'_>) -> Result<(), Refusal> {
        if !doer.rank.is_at_least(Rank::HALF) {
            return Err(Refusal::NeedsOp);
        }
        if change.letter == 'f' && change.sets {
            self.may_forward(id, change.param.unwrap_or(""), doer, tell)?;
        }
        Ok(())
    }
    /// Whether people may be sent on to a room: it is there, and who says so has a say in it.
    fn may_forward(&self, from: Topic, to: &str, doer: &Doer<'_>, tell: &Teller<'_>) -> Result<(), Refusal> {
        let room = self.room_for(tell.me, to).ok_or(Refusal::BadParam("There is no such channel"))?;
        if room.id == from {
            return Err(Refusal::BadParam("A channel cannot forward to itself"));
        }
        let rank = room.rank(tell.me).unwrap_or_default();
        if rank.is_at_least(Rank::OP) || doer.is_power { Ok(()) } else { Err(Refusal::NeedsOp) }
    }
    /// Whose rank is changed, if that may be.
    fn may_rank(
        &self,
        id: Topic,
        doer: &Doer<'_>,
        rank: Rank,
        change: &Change<'_>,
        tell: &Teller<'_>,
    ) -> Result<Who, Refusal> {
        let (whom, _) = self.find(change.param.unwrap_or("")).ok_or(Refusal::NoSuchNick)?;
        let room = self.rooms.get(&id).ok_or(Refusal::NoSuchRoom)?;
        let theirs = room.rank(whom).ok_or(Refusal::TheyNotIn)?;
        // Everybody may give up what he has.
        let gives_up = whom == tell.me && !change.sets;
        if doer.rank.grants(rank, change.sets, theirs) || gives_up { Ok(whom) } else { Err(Refusal::NeedsOp) }
    }
    /// True if that was a change.
    fn set_rank(&mut self, id: Topic, whom: Who, rank: Rank, sets: bool) -> bool {
        let Some(seat) = self.rooms.get_mut(&id).and_then(|room| room.seats.get_mut(&whom)) else { return false };
        let before = seat.rank;
        seat.rank.set(rank, sets);
        let is_changed = seat.rank != before;
        self.touch(whom);
        is_changed
    }
}

/// How much of something there may be.
#[derive(Clone, Copy, Debug)]
struct Most {
    entries: usize,
    key_bytes: usize,
}

impl From<&ChatLimits> for Most {
    fn from(limits: &ChatLimits) -> Self {
        Self { entries: limits.list_modes_max, key_bytes: limits.key_bytes_max }
    }
}

/// A change that has been judged, and waits to be made.
struct Owned {
    sets: bool,
    letter: char,
    step: Step,
}

enum Step {
    /// Somebody's rank.
    Rank(Who, Rank),
    /// What the books keep, with its parameter as it was written.
    Kept(Option<Box<str>>),
}

/// A change of what the books keep of a registered room: its parameter as it is told; nothing if it was so already.
fn change_kept(
    room: &mut Room,
    change: &Change<'_>,
    by: (&Arc<str>, Wall),
    most: Most,
) -> Result<Option<Option<String>>, Refusal> {
    if let Some(list) = List::of(change.letter) {
        return change_list(room, list, change, by, most.entries);
    }
    if let Some(flag) = Flag::of(change.letter) {
        return Ok(room.set(flag, change.sets).then_some(None));
    }
    Ok(change_value(room, change, most.key_bytes))
}

/// A change of a list: an entry more or less.
fn change_list(
    room: &mut Room,
    list: List,
    change: &Change<'_>,
    (by, at): (&Arc<str>, Wall),
    list_max: usize,
) -> Result<Option<Option<String>>, Refusal> {
    let written = change.param.unwrap_or("");
    let mask = if list == List::Filter { filter::whole(written) } else { entry::whole(written) };
    let entries = room.list_mut(list);
    let is_same = |entry: &Masked| {
        if list == List::Filter { *entry.mask == mask } else { entry::is_same(&entry.mask, &mask) }
    };
    let known = entries.iter().position(is_same);
    let until = entry::seconds(&mask).filter(|_| list != List::Filter);
    let until = until.map(|seconds| Wall(at.0.saturating_add_unsigned(seconds.saturating_mul(1000))));
    match (change.sets, known) {
        (true, None) if entries.len() >= list_max => return Err(Refusal::ListFull),
        (true, None) => entries.push(Masked { mask: mask.clone().into(), by: Arc::clone(by), at, until }),
        // A ban that ends takes the place of one that does not, and the other way round.
        (true, Some(known)) if entries[known].mask[..] != mask[..] => {
            entries[known] = Masked { mask: mask.clone().into(), by: Arc::clone(by), at, until };
        }
        (false, Some(known)) => return Ok(Some(Some(entries.remove(known).mask.into()))),
        (true, Some(_)) | (false, None) => return Ok(None),
    }
    Ok(Some(Some(mask)))
}

/// A change of a mode with a value of its own: its parameter as it is told; nothing if it was so already.
fn change_value(room: &mut Room, change: &Change<'_>, key_max: usize) -> Option<Option<String>> {
    let param = change.param.unwrap_or("");
    match (change.letter, change.sets) {
        ('k', true) => {
            let key = cut(param, key_max);
            room.key = Some(key.into());
            Some(Some(key.to_owned()))
        }
        // A key may be taken away without being known, and is not told.
        ('k', false) => room.key.take().map(|_| Some("*".to_owned())),
        ('l', true) => {
            let limit = param.parse::<u32>().ok().filter(|limit| *limit > 0)?;
            room.limit = Some(limit as usize);
            Some(Some(limit.to_string()))
        }
        ('l', false) => room.limit.take().map(|_| None),
        ('f', true) => {
            let is_new = room.forward.as_deref().is_none_or(|forward| names::fold(forward) != names::fold(param));
            room.forward = Some(param.into());
            is_new.then(|| Some(param.to_owned()))
        }
        ('f', false) => room.forward.take().map(|_| None),
        ('W', true) => {
            let seconds = param.parse::<u64>().ok().filter(|seconds| (1..=SLOW_SECONDS_MAX).contains(seconds))?;
            let slow = Some(Duration::from_secs(seconds));
            (std::mem::replace(&mut room.slow, slow) != slow).then(|| Some(seconds.to_string()))
        }
        ('W', false) => room.slow.take().map(|_| None),
        _ => None,
    }
}
