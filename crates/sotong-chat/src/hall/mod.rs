//! Who is here, under which name, in which rooms: the one owner of all of it.
//!
//! A command takes effect and is told while the hall is locked. So the order of commands, the order in which everybody is
//! told of them, and each room's order are one.
mod accepting;
mod accounts;
mod after;
mod audit;
mod bans;
mod counts;
mod ends;
pub(crate) mod entry;
mod filter;
mod hosts;
mod metadata;
mod moding;
mod owned;
mod personal;
mod power;
mod presence;
mod rank;
mod room;
mod rooms;
mod speaking_for;
pub(crate) mod times;
mod user;
mod watch;

pub(crate) use accepting::NotAccepted;
pub(crate) use accounts::{Again, Entered};
pub(crate) use after::Plan;
pub(crate) use bans::{Ban, Origin, Target, network};
pub(crate) use counts::Tally;
pub(crate) use metadata::{Denied, Keys, Owner, PAIR_BYTES_MAX, key};
pub(crate) use moding::{By, Moded, SLOW_SECONDS_MAX};
pub(crate) use owned::CHANSERV;
pub(crate) use personal::PersonModes;
pub(crate) use rank::Rank;
pub(crate) use room::{Flag, List, Room, Seat};
use rooms::publish;
pub(crate) use rooms::{Left, Refusal, Words, ranked};
pub(crate) use times::{duration, for_people};
use user::Link;
pub(crate) use user::{Attention, Past, User};

use crate::{
    AccountOptions, ChatLimits, ChatOptions, MetadataOptions,
    books::{Books, strike},
    client::services,
    log::Log,
    news::{Mail, News, What},
    opers::Privilege,
};
use sotong_irc::names;
use sotong_session::{Address, Host, Map, Moment, Topic, Wall};
use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

/// Everybody and everything of a chat.
#[derive(Debug)]
pub(crate) struct Hall {
    pub(crate) limits: ChatLimits,
    pub(crate) accounts: AccountOptions,
    pub(crate) metadata: MetadataOptions,
    /// Accounts, and what else outlasts a restart.
    pub(crate) books: Books,
    /// What the server calls itself.
    pub(crate) server: Arc<str>,
    /// When the command came that is being carried out, where that makes a difference to it: how long others have been
    /// silent, and how soon somebody speaks again.
    pub(crate) now: Moment,
    users: Map<Who, User>,
    /// Whose each connection is that has registered.
    clients: Map<Address, Who>,
    /// Who keeps nick and seats without a client, by the folded name of his account.
    kept: Map<String, Who>,
    /// Those of them of whom something has changed that the books do not know.
    unsaved: BTreeSet<String>,
    /// Rooms where somebody keeps his seat, of which the same is so; by their folded names.
    unsaved_rooms: BTreeSet<String>,
    /// Changes that are in the books, and are done and told once they are on disk.
    under_way: after::UnderWay,
    /// Gives places in the order of everything, keeps what was said for those who come back, and knows whose each nick is,
    /// by [`names::fold`].
    log: Log<Who>,
    /// Who has a nick that looks so ([`names::looks`]).
    looks: Map<String, BTreeSet<Who>>,
    rooms: Map<Topic, Room>,
    room_names: Map<String, Topic>,
    /// Rooms by how their names look.
    room_looks: Map<String, BTreeSet<Topic>>,
    /// Who watches a nick, by its fold.
    watchers: Map<String, BTreeSet<Who>>,
    /// Where connections are really from.
    origins: Map<Address, Origin>,
    /// Who is kept out of the server.
    pub(crate) bans: bans::Bans,
    /// What ends by itself.
    ends: ends::Ends,
    /// What STATS tells.
    pub(crate) counts: counts::Counts,
    tally: counts::Tally,
    past: VecDeque<Past>,
    /// Connections that have not registered.
    pub(crate) newcomers: BTreeSet<Address>,
    pub(crate) users_most: usize,
    next_who: u64,
    next_room: u64,
    next_stay: u64,
    /// Makes the names of messages differ from those of an earlier run.
    salt: Option<u64>,
}

/// A person of the hall, however many connections are his. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Who(u64);

impl Who {
    /// Whoever has not registered.
    pub(crate) const NOBODY: Self = Self(0);
}

/// What telling needs: who does something, by which connection, when, and the way to the others.
pub(crate) struct Teller<'a> {
    pub(crate) me: Who,
    pub(crate) from: Address,
    pub(crate) at: Wall,
    pub(crate) host: &'a mut dyn Host<Mail>,
}

/// What somebody's own words begin with who goes, and what is told where there are none.
pub(crate) const SAID: &str = "Quit: ";
pub(crate) const GONE: &str = "Client quit";

/// No connection.
const NOWHERE: Address = Address { shard: u16::MAX, slot: u32::MAX, turn: u32::MAX };

impl Teller<'_> {
    /// As if it were done by somebody else, and by none of his connections: all of them are told, and none waits for it.
    pub(crate) fn on_behalf_of(&mut self, who: Who) -> Teller<'_> {
        Teller { me: who, from: NOWHERE, at: self.at, host: &mut *self.host }
    }
}

/// Somebody else has the nick, or one that looks the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken;

impl Hall {
    pub(crate) fn new(options: &ChatOptions) -> Self {
        Self {
            limits: options.limits,
            accounts: options.accounts,
            metadata: options.metadata,
            server: options.name.as_str().into(),
            books: Books::default(),
            now: Moment::START,
            users: Map::new(),
            clients: Map::new(),
            kept: Map::new(),
            unsaved: BTreeSet::new(),
            unsaved_rooms: BTreeSet::new(),
            under_way: after::UnderWay::default(),
            log: Log::new(),
            looks: Map::new(),
            rooms: Map::new(),
            room_names: Map::new(),
            room_looks: Map::new(),
            watchers: Map::new(),
            origins: Map::new(),
            bans: bans::Bans::default(),
            ends: ends::Ends::default(),
            counts: counts::Counts::default(),
            tally: counts::Tally::default(),
            past: VecDeque::new(),
            newcomers: BTreeSet::new(),
            users_most: 0,
            next_who: 1,
            next_room: 1,
            next_stay: 1,
            salt: None,
        }
    }

    // Looking.

    pub(crate) fn user(&self, who: Who) -> Option<&User> {
        self.users.get(&who)
    }
    pub(crate) fn user_mut(&mut self, who: Who) -> Option<&mut User> {
        self.users.get_mut(&who)
    }
    pub(crate) fn users(&self) -> impl Iterator<Item = (Who, &User)> {
        self.users.iter().map(|(who, user)| (*who, user))
    }
    /// Those whose nicks come behind `after`, in their order.
    pub(crate) fn users_after(&self, after: &str) -> impl Iterator<Item = (&str, &User)> {
        self.log.owners_after(after).filter_map(|(key, who)| Some((key, self.users.get(&who)?)))
    }
    /// Who is in a room behind `after`. Both are in the order of people, so where most people are in the room they are walked
    /// side by side, and nobody is looked up.
    pub(crate) fn seated<'h>(
        &'h self,
        room: &'h Room,
        after: Option<Who>,
    ) -> impl Iterator<Item = (Who, &'h Seat, &'h User)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let behind = |who: Option<Who>| (who.map_or(Unbounded, Excluded), Unbounded);
        let mut users = self.users.range(behind(after));
        room.seats.range(behind(after)).filter_map(move |(who, seat)| match users.next() {
            Some((next, user)) if next == who => Some((*who, seat, user)),
            _ => {
                users = self.users.range(behind(Some(*who)));
                Some((*who, seat, self.users.get(who)?))
            }
        })
    }
    /// All connections, whether or not they have registered.
    pub(crate) fn connections(&self) -> impl Iterator<Item = Address> {
        self.clients.keys().chain(&self.newcomers).copied()
    }
    pub(crate) fn users_len(&self) -> usize {
        self.users.len()
    }
    /// Who has this nick.
    pub(crate) fn find(&self, nick: &str) -> Option<(Who, &User)> {
        let who = self.log.owner(&names::fold(nick))?;
        Some((who, self.users.get(&who)?))
    }
    pub(crate) fn room(&self, name: &str) -> Option<&Room> {
        self.rooms.get(self.room_names.get(&names::fold(name))?)
    }
    /// Whether there is, or is registered, another room than `own` whose name cannot be told from this one.
    pub(crate) fn is_room_alike(&self, name: &str, own: Option<&Room>) -> bool {
        let is_own = |other: &str| own.is_some_and(|own| names::fold(&own.name) == names::fold(other));
        let alike = self.room_looks.get(&names::looks(name)).into_iter().flatten();
        let mut alike = alike.filter_map(|id| self.rooms.get(id)).filter(|room| !is_own(&room.name));
        // Names of ASCII alone are told apart by everybody.
        alike.any(|room| !(name.is_ascii() && room.name.is_ascii()))
            || self.books.rooms_like(name).any(|room| !is_own(&room.name))
    }
    pub(crate) fn room_by(&self, id: Topic) -> Option<&Room> {
        self.rooms.get(&id)
    }
    /// Rooms whose names come behind `after`, in their order.
    pub(crate) fn rooms_after(&self, after: &str) -> impl Iterator<Item = (&str, &Room)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let behind = self.room_names.range::<str, _>((Excluded(after), Unbounded));
        behind.filter_map(|(key, id)| Some((key.as_str(), self.rooms.get(id)?)))
    }
    pub(crate) fn rooms_len(&self) -> usize {
        self.rooms.len()
    }
    /// Whether `who` may know that `room` is there.
    pub(crate) fn sees_room(&self, who: Who, room: &Room) -> bool {
        !room.has(Flag::Secret) || room.seats.contains_key(&who) || self.may(who, Privilege::See)
    }
    /// The room of this name, if `who` may know that it is there.
    pub(crate) fn room_for(&self, who: Who, name: &str) -> Option<&Room> {
        self.room(name).filter(|room| self.sees_room(who, room))
    }
    /// Whether two are in a room together.
    pub(crate) fn share_a_room(&self, one: Who, other: Who) -> bool {
        let Some(user) = self.users.get(&one) else { return false };
        user.rooms.iter().filter_map(|id| self.rooms.get(id)).any(|room| room.seats.contains_key(&other))
    }
    /// Those who had this nick before, the latest first.
    pub(crate) fn past(&self, nick: &str) -> impl Iterator<Item = &Past> {
        let key = names::fold(nick);
        self.past.iter().rev().filter(move |past| names::fold(&past.nick) == key)
    }

    // Coming, being called, going.

    /// Whether `who` could have this nick now.
    pub(crate) fn is_free(&self, who: Who, account: Option<&str>, nick: &str) -> bool {
        if services::is_reserved(nick) || self.is_reserved(account, nick) {
            return false;
        }
        if self.log.owner(&names::fold(nick)).is_some_and(|owner| owner != who) {
            return false;
        }
        let alike = self.looks.get(&names::looks(nick)).into_iter().flatten().filter(|other| **other != who);
        let mut alike = alike.filter_map(|other| self.users.get(other));
        // Names of ASCII alone are told apart by everybody.
        alike.all(|other| nick.is_ascii() && other.nick.is_ascii())
    }
    /// Somebody has registered: with the connection that did it, he is a new person.
    pub(crate) fn enter(&mut self, mut user: User, attention: Attention, tell: &mut Teller<'_>) -> Result<Who, Taken> {
        if !self.is_free(Who::NOBODY, user.account.as_deref(), &user.nick) {
            return Err(Taken);
        }
        // From the first one on, news have names.
        self.salt(tell.host);
        if let Some(host) = self.host_of_account(user.account.as_deref()) {
            user.host = (*host).into();
        }
        user.name();
        user.keys = self.keys_of_account(user.account.as_deref());
        user.clients = vec![Link { at: tell.from, attention }];
        user.away = user.away_now();
        tell.me = Who(self.next_who);
        self.next_who += 1;
        self.newcomers.remove(&tell.from);
        self.clients.insert(tell.from, tell.me);
        self.claim(tell.me, &user.nick);
        let (nick, source) = (Arc::clone(&user.nick), Arc::clone(&user.source));
        self.admit(tell.me, user);
        self.tell_watchers(&nick, Some(&source), tell);
        self.settle(tell);
        self.call_keeper(tell.host);
        self.hand_over(tell);
        Ok(tell.me)
    }
    /// The room that keeps somebody from taking another nick: he is banned there, and another nick could undo that.
    pub(crate) fn keeps_nick(&self, who: Who, nick: &str, at: Wall) -> Option<&Room> {
        let user = self.users.get(&who).filter(|user| names::fold(&user.nick) != names::fold(nick))?;
        user.rooms.iter().filter_map(|id| self.rooms.get(id)).find(|room| room.silences(who, user, at))
    }
    /// Somebody takes another nick. Told to all who are in a room with him, and to himself.
    pub(crate) fn rename(&mut self, nick: &str, tell: &mut Teller<'_>) -> Result<(), Taken> {
        let Some(user) = self.users.get(&tell.me) else { return Ok(()) };
        if !self.is_free(tell.me, user.account.as_deref(), nick) {
            return Err(Taken);
        }
        let (before, source) = (Arc::clone(&user.nick), Arc::clone(&user.source));
        let is_other = names::fold(&before) != names::fold(nick);
        self.remember(tell.me, tell.at);
        self.disclaim(tell.me, &before);
        self.claim(tell.me, nick);
        let nick: Arc<str> = nick.into();
        if let Some(user) = self.users.get_mut(&tell.me) {
            user.nick = Arc::clone(&nick);
            user.name();
        }
        let news = self.news(source, What::Renamed { to: Arc::clone(&nick) }, tell);
        self.publish_to_rooms(&news, tell);
        self.post(tell.me, &news, tell);
        if is_other {
            self.tell_watchers(&before, None, tell);
            let source = self.users.get(&tell.me).map(|user| Arc::clone(&user.source));
            self.tell_watchers(&nick, source.as_ref(), tell);
        }
        Ok(())
    }
    /// A connection has gone, whether or not it said so; and with his last one, somebody who does not keep his seat. The place
    /// in the order behind which nothing is for that connection.
    pub(crate) fn quit(&mut self, reason: &str, tell: &mut Teller<'_>) -> u64 {
        self.origins.remove(&tell.from);
        let place = self.log.place();
        let Some(who) = self.clients.remove(&tell.from) else { return place };
        self.keeper_gone(tell.from, tell.host);
        let Some(user) = self.users.get_mut(&who) else { return place };
        tell.me = who;
        user.clients.retain(|link| link.at != tell.from);
        if !user.clients.is_empty() || user.is_kept {
            self.detached(tell);
        } else {
            self.remove(reason, tell);
        }
        self.save(tell);
        self.hand_over(tell);
        place
    }
    /// Somebody is no more, whatever connections he has.
    pub(crate) fn remove(&mut self, reason: &str, tell: &mut Teller<'_>) {
        let Some(user) = self.users.get(&tell.me) else { return };
        let (nick, source) = (Arc::clone(&user.nick), Arc::clone(&user.source));
        self.tell_of_going(&source, reason, tell);
        self.remember(tell.me, tell.at);
        self.disclaim(tell.me, &nick);
        self.unwatch_all(tell.me);
        self.forget_kept(tell.me);
        let Some(user) = self.let_out(tell.me) else { return };
        for link in user.clients {
            self.clients.remove(&link.at);
            self.origins.remove(&link.at);
            self.keeper_gone(link.at, tell.host);
        }
        for id in user.rooms {
            self.unseat(id, tell.me);
        }
        self.tell_watchers(&nick, None, tell);
    }
    /// Tells those in his rooms why somebody goes: his own words not where a ban keeps him silent. Both have one place in the
    /// order, so that nobody who shares several rooms with him is told twice; they who may hear the words are told first.
    fn tell_of_going(&mut self, source: &Arc<str>, reason: &str, tell: &mut Teller<'_>) {
        let news = self.news(Arc::clone(source), What::Quit { reason: reason.into() }, tell);
        let Some(user) = self.users.get(&tell.me) else { return };
        let is_silent = |id: &Topic| self.rooms.get(id).is_some_and(|room| room.silences(tell.me, user, tell.at));
        let (silent, open): (Vec<Topic>, Vec<Topic>) = user.rooms.iter().copied().partition(is_silent);
        for id in open {
            self.tell_of_member(id, tell.me, Some(tell.from), &news, tell);
        }
        let bare = if reason.starts_with(SAID) { GONE } else { reason };
        let bare = Arc::new(news.with(What::Quit { reason: bare.into() }));
        for id in silent {
            self.tell_of_member(id, tell.me, Some(tell.from), &bare, tell);
        }
    }
    /// Somebody says at a connection of his whether he is there.
    pub(crate) fn set_attention(&mut self, attention: Attention, tell: &mut Teller<'_>) {
        let Some(user) = self.users.get_mut(&tell.me) else { return };
        user.clients.retain(|link| link.at != tell.from);
        user.clients.push(Link { at: tell.from, attention });
        let away = user.away_now();
        self.set_away(away, tell);
    }
    fn set_away(&mut self, text: Option<Arc<str>>, tell: &mut Teller<'_>) {
        let Some(user) = self.users.get_mut(&tell.me) else { return };
        if user.away == text {
            return;
        }
        user.away.clone_from(&text);
        let source = Arc::clone(&user.source);
        let news = self.news(source, What::Away { text }, tell);
        self.publish_to_rooms(&news, tell);
        self.post_to_watchers(&news, tell);
    }
    /// Another real name. Told to all who are in a room with him, and to himself.
    pub(crate) fn set_real(&mut self, text: &str, tell: &mut Teller<'_>) {
        let text: Arc<str> = text.into();
        let Some(user) = self.users.get_mut(&tell.me) else { return };
        user.real = Arc::clone(&text);
        let source = Arc::clone(&user.source);
        let news = self.news(source, What::Real { text }, tell);
        self.publish_to_rooms(&news, tell);
        self.post_to_watchers(&news, tell);
        self.post(tell.me, &news, tell);
    }

    fn claim(&mut self, who: Who, nick: &str) {
        let is_new = self.log.claim(names::fold(nick), who);
        debug_assert!(is_new, "it was free");
        self.looks.entry(names::looks(nick)).or_default().insert(who);
    }
    fn disclaim(&mut self, who: Who, nick: &str) {
        self.log.release(&names::fold(nick));
        strike(&mut self.looks, nick, &who);
    }
    fn remember(&mut self, who: Who, at: Wall) {
        let Some(user) = self.users.get(&who) else { return };
        if self.limits.whowas_max == 0 {
            return;
        }
        while self.past.len() >= self.limits.whowas_max {
            self.past.pop_front();
        }
        self.past.push_back(Past::of(user, at));
    }

    // Telling.

    /// A new place in the order, and what is told there.
    fn news(&mut self, source: Arc<str>, what: What, tell: &Teller<'_>) -> Arc<News> {
        let mut news = News::new(self.log.next(), Some((tell.me, tell.from)), source, tell.at, what);
        if let Some(user) = self.users.get(&tell.me) {
            news.account.clone_from(&user.account);
            news.is_bot = user.modes.has(PersonModes::BOT);
        }
        news.msgid = self.salt.map(|salt| format!("{salt:016x}-{}", news.place).into());
        self.touch(tell.me);
        Arc::new(news)
    }
    /// What makes the names of messages differ from those of an earlier run.
    fn salt(&mut self, host: &mut dyn Host<Mail>) -> u64 {
        *self.salt.get_or_insert_with(|| {
            let mut bytes = [0; 8];
            host.random(&mut bytes);
            u64::from_le_bytes(bytes)
        })
    }
    /// Tells everybody who is in a room with `tell.me`, but the connection that did it: once each, though they may share
    /// several rooms, for a session knows the place of what it has been told last.
    fn publish_to_rooms(&self, news: &Arc<News>, tell: &mut Teller<'_>) {
        let Some(user) = self.users.get(&tell.me) else { return };
        for id in &user.rooms {
            self.tell_of_member(*id, tell.me, Some(tell.from), news, tell);
        }
    }
    /// Tells one person, by each of his connections.
    fn post(&self, to: Who, news: &Arc<News>, tell: &mut Teller<'_>) {
        for link in self.users.get(&to).map_or(&[][..], |user| &user.clients) {
            tell.host.post(link.at, Mail::told(None, Arc::clone(news)));
        }
    }
    /// Tells somebody what he has done himself: the connection that did it if it `hears` that, all others always.
    fn post_own(&self, hears: bool, news: &Arc<News>, tell: &mut Teller<'_>) {
        for link in self.users.get(&tell.me).map_or(&[][..], |user| &user.clients) {
            if hears || link.at != tell.from {
                tell.host.post(link.at, Mail::told(None, Arc::clone(news)));
            }
        }
    }
}

#[cfg(test)]
mod tests;
