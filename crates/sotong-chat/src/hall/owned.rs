//! Registered rooms: what of them outlasts those who are in them, and who is what there by his account.
use super::{
    By, Hall, Keys, List, Rank, Refusal, Room, Teller, Who,
    room::{Flag, Masked, Said},
};
use crate::{
    books::{Change, MaskRecord, RoomRecord, TopicRecord, is_admitted},
    news::What,
    options::cut,
};
use sotong_irc::names;
use sotong_session::{Topic, Wall};
use std::{sync::Arc, time::Duration};

/// As what the service of rooms is told of.
pub(crate) const CHANSERV: &str = "ChanServ!ChanServ@localhost";

impl Hall {
    /// What is kept of a room, if it is registered.
    pub(crate) fn record(&self, room: &str) -> Option<&Arc<RoomRecord>> {
        let known = self.books.room(room);
        // While it is under way that a room is called otherwise, the books have it by its next name.
        known.or_else(|| self.books.room(self.room(room)?.moves_to.as_deref()?))
    }
    /// What an account is in a registered room.
    pub(crate) fn rank_by_account(&self, room: &str, account: Option<&str>) -> Rank {
        let (Some(record), Some(account)) = (self.record(room), account) else { return Rank::NONE };
        let key = names::fold(account);
        if names::fold(&record.founder) == key {
            return Rank::FOUNDER;
        }
        record.ranks.get(&*key).copied().and_then(Rank::of).unwrap_or_default()
    }
    /// What somebody is in a registered room by the account he is logged in to.
    pub(crate) fn rank_by_right(&self, room: &str, who: Who) -> Rank {
        self.rank_by_account(room, self.user(who).and_then(|user| user.account.as_deref()))
    }
    /// What a room that is there is like, onto what is known of it; its keys are changed in the books first.
    pub(crate) fn record_of(&self, room: &Room, record: &RoomRecord, at: Wall) -> RoomRecord {
        let topic = room.topic.as_ref().map(Said::kept);
        let mut lists = Vec::new();
        for (list, letter) in List::ALL {
            lists.extend(room.list(list, at).map(|entry| MaskRecord {
                list: letter,
                mask: entry.mask.clone(),
                by: (*entry.by).into(),
                at: entry.at.0,
                until: entry.until.map(|until| until.0),
            }));
        }
        let name = (*room.name).into();
        RoomRecord { name, created: room.created.0, topic, modes: room.kept_modes(), lists, ..record.clone() }
    }
    /// What the books keep of a registered room that is registered no longer: nothing, if nobody is always on there.
    pub(crate) fn unregistered(&self, record: &RoomRecord) -> Change {
        let change = Change::Room(Arc::new(record.unregistered()));
        let is_occupied = self.room(&record.name).is_some_and(|room| room.kept > 0);
        if is_occupied && self.books.limit_in_the_way(std::slice::from_ref(&change), &self.limits).is_none() {
            return change;
        }
        Change::NoRoom(names::fold(&record.name).into())
    }
    /// An account that is no more is let into a room by its name no longer.
    pub(super) fn strike_account(&mut self, id: Topic, account: &str, tell: &mut Teller<'_>) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let mut done = Vec::new();
        for (list, letter) in List::ALL {
            room.list_mut(list).retain(|entry| {
                let is_theirs = is_admitted(letter, &entry.mask, account);
                if is_theirs {
                    done.push((false, letter, Some(entry.mask.to_string())));
                }
                !is_theirs
            });
        }
        if !done.is_empty() {
            self.tell_modes(id, &done, &CHANSERV.into(), &mut tell.on_behalf_of(Who::NOBODY));
            self.note_ends(id);
            self.touch_room(id);
        }
    }
    /// What has ended in a room is taken out of what is kept of it. Nobody waits for that: what has ended never comes back.
    pub(super) fn note_ended(&mut self, id: Topic, tell: &mut Teller<'_>) {
        let Some(room) = self.rooms.get(&id) else { return };
        let Some(record) = self.record(&room.name) else { return };
        let mut record = RoomRecord::clone(record);
        record.lists.retain(|entry| entry.until.is_none_or(|until| tell.at.0 < until));
        self.books.note(&[Change::Room(Arc::new(record))], tell.host);
    }
    /// A room is there again, as it was.
    pub(super) fn restore_room(&mut self, id: Topic, at: Wall) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        if let Some(record) = self.books.room(&room.name) {
            room.read(record, at);
        }
        self.note_ends(id);
    }
    /// Gives somebody who is in a room a rank, by the service of rooms; in how many lines that is told.
    pub(crate) fn grant(&mut self, room: &str, whom: Who, rank: Rank, tell: &mut Teller<'_>) -> usize {
        let (Some(letter), Some(nick)) = (rank.letter(), self.user(whom).map(|user| user.nick.to_string())) else {
            return 0;
        };
        let change = sotong_irc::modes::Change { sets: true, letter, param: Some(&nick) };
        let by = By::Power(CHANSERV.into());
        let Ok(plan) = self.change_modes(room, &[change], &by, tell) else { return 0 };
        debug_assert!(plan.changes.is_empty(), "the books keep no rank that is not an account's");
        (plan.effect)(self, tell).lines
    }
    /// An account has got a rank in a room, or lost it: so have those who are there by it. In how many lines that is told to
    /// who does it.
    pub(crate) fn grant_account(
        &mut self,
        room: &str,
        account: &str,
        (sets, letter): (bool, char),
        tell: &mut Teller<'_>,
    ) -> usize {
        let Some(seats) = self.room(room).map(|room| &room.seats) else { return 0 };
        let key = names::fold(account);
        let nick = |who: &Who| {
            let user = self.user(*who)?;
            let is_theirs = user.account.as_deref().is_some_and(|account| names::fold(account) == key);
            is_theirs.then(|| user.nick.to_string())
        };
        let nicks: Vec<String> = seats.keys().filter_map(nick).collect();
        let change = |nick| sotong_irc::modes::Change { sets, letter, param: Some(nick) };
        let changes: Vec<_> = nicks.iter().map(|nick| change(nick.as_str())).collect();
        let Ok(plan) = self.change_modes(room, &changes, &By::Power(CHANSERV.into()), tell) else { return 0 };
        debug_assert!(plan.changes.is_empty(), "the books keep no rank that is not an account's");
        (plan.effect)(self, tell).lines
    }
    /// Somebody who has logged in gets the ranks that his account has in the rooms he is in.
    pub(super) fn take_ranks(&mut self, tell: &mut Teller<'_>) {
        let Some(user) = self.user(tell.me) else { return };
        let (rooms, nick) = (user.rooms.clone(), user.nick.to_string());
        for id in rooms {
            let Some(name) = self.room_by(id).map(|room| Arc::clone(&room.name)) else { continue };
            let rank = self.rank_by_right(&name, tell.me);
            let seat = self.rooms.get_mut(&id).and_then(|room| room.seats.get_mut(&tell.me));
            let (Some(letter), Some(seat)) = (rank.letter(), seat) else { continue };
            if !seat.rank.has(rank) {
                seat.rank.set(rank, true);
                let done = [(true, letter, Some(nick.clone()))];
                self.tell_modes(id, &done, &CHANSERV.into(), &mut tell.on_behalf_of(tell.me));
            }
        }
    }
    /// Puts somebody out of a room, by a service.
    pub(crate) fn put_out(
        &mut self,
        room: &str,
        whom: Who,
        reason: &str,
        tell: &mut Teller<'_>,
    ) -> Result<(), Refusal> {
        let room = self.room(room).ok_or(Refusal::NoSuchRoom)?;
        let (id, shown) = (room.id, Arc::clone(&room.name));
        let stay = room.seats.get(&whom).ok_or(Refusal::TheyNotIn)?.stay;
        let nick = self.user(whom).map(|user| Arc::clone(&user.nick)).ok_or(Refusal::NoSuchNick)?;
        let reason = cut(reason, self.limits.reason_bytes_max).into();
        let what = What::Kicked { room: shown, whom, nick, reason, stay };
        let news = self.news(CHANSERV.into(), what, tell);
        self.tell_of_member(id, whom, None, &news, tell);
        if let Some(user) = self.user_mut(whom) {
            user.rooms.retain(|room| *room != id);
        }
        self.unseat(id, whom);
        self.touch(whom);
        Ok(())
    }
    /// Somebody is asked into a room by a service.
    pub(crate) fn ask_in(&mut self, room: &str, whom: Who, tell: &mut Teller<'_>) -> Result<(), Refusal> {
        let room = self.room(room).ok_or(Refusal::NoSuchRoom)?;
        if room.seats.contains_key(&whom) {
            return Err(Refusal::TheyAreIn);
        }
        let (id, shown) = (room.id, Arc::clone(&room.name));
        self.note_invite(whom, id);
        let nick = self.user(whom).map(|user| Arc::clone(&user.nick)).ok_or(Refusal::NoSuchNick)?;
        let news = self.news(CHANSERV.into(), What::Invited { whom: nick, room: shown }, tell);
        self.post(whom, &news, tell);
        Ok(())
    }
}

impl Said {
    fn read(topic: &TopicRecord) -> Self {
        Self { text: topic.text.clone(), by: (*topic.by).into(), at: Wall(topic.at) }
    }
    /// As the books keep it.
    pub(super) fn kept(&self) -> TopicRecord {
        TopicRecord { text: self.text.clone(), by: (*self.by).into(), at: self.at.0 }
    }
}

impl Room {
    /// What is kept of its modes but the lists.
    fn kept_modes(&self) -> sotong_session::Map<char, Option<Box<str>>> {
        let mut modes = sotong_session::Map::new();
        for flag in Flag::ALL.into_iter().filter(|flag| self.has(*flag)) {
            modes.insert(flag.letter(), None);
        }
        let values = [
            ('k', self.key.clone()),
            ('l', self.limit.map(|limit| limit.to_string().into())),
            ('f', self.forward.clone()),
            ('W', self.slow.map(|slow| slow.as_secs().to_string().into())),
        ];
        for (letter, value) in values {
            if value.is_some() {
                modes.insert(letter, value);
            }
        }
        modes
    }
    /// What is kept of it.
    pub(super) fn read(&mut self, record: &RoomRecord, at: Wall) {
        self.name = (*record.name).into();
        self.created = Wall(record.created);
        self.topic = record.topic.as_ref().map(Said::read);
        self.restore(&record.modes);
        self.keys = Keys::new(&record.keys);
        // Nobody was there who could have been told of those that have ended.
        for entry in record.lists.iter().filter(|entry| entry.until.is_none_or(|until| at.0 < until)) {
            let Some(list) = List::of(entry.list) else { continue };
            self.list_mut(list).push(Masked {
                mask: entry.mask.clone(),
                by: (*entry.by).into(),
                at: Wall(entry.at),
                until: entry.until.map(Wall),
            });
        }
    }
    fn restore(&mut self, modes: &sotong_session::Map<char, Option<Box<str>>>) {
        for flag in Flag::ALL {
            self.set(flag, modes.contains_key(&flag.letter()));
        }
        let value = |letter: char| modes.get(&letter).and_then(Clone::clone);
        self.key = value('k');
        self.limit = value('l').and_then(|limit| limit.parse().ok());
        self.forward = value('f');
        self.slow = value('W').and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
    }
}
