//! What people do in rooms.
use super::{
    CHANSERV, Flag, Hall, PersonModes, Plan, Rank, Room, Teller, Who,
    room::{Said, Speech, is_ctcp},
};
use crate::{
    books::{Change, RoomRecord, strike},
    log::Shelf,
    news::{Mail, News, Row, Verb, What},
    options::cut,
};
use sotong_irc::names;
use sotong_session::{Address, Moment, Topic, Wall};
use std::{sync::Arc, time::Duration};

/// Why something was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    NoSuchNick,
    NoSuchRoom,
    /// The one who asks is not in the room.
    NotIn,
    /// The one who is meant is not in it.
    TheyNotIn,
    TheyAreIn,
    NeedsOp,
    CannotSpeak,
    Full,
    InviteOnly,
    Banned,
    BadKey,
    /// Only those who are logged in come in.
    NeedsAccount,
    TooManyRooms,
    ListFull,
    /// Only those who are logged in speak.
    AccountToSpeak,
    NoCtcp,
    /// He has a word or a link in it that is not let through.
    Filtered,
    /// The room is slow: he may speak again after this time.
    TooSoon(Duration),
    /// He hears only those who are logged in.
    TheyNeedAccount,
    TheyTakeNoCtcp,
    /// There is a room of that name already.
    NameInUse,
    /// There is a room whose name looks the same.
    LooksTaken,
    /// It is being called otherwise.
    Moves,
    /// A parameter of a mode is none, and why.
    BadParam(&'static str),
}

/// How somebody leaves a room.
pub(crate) enum Left<'a> {
    Parts(Option<&'a str>),
    Kicked { whom: Who, reason: &'a str },
}

impl Hall {
    /// Sits down in a room, which is made if it is not there. The room; none if he was in it already.
    pub(crate) fn join(
        &mut self,
        name: &str,
        key: &str,
        tell: &mut Teller<'_>,
    ) -> Result<Option<(Topic, u64)>, Refusal> {
        let me = tell.me;
        let user = self.users.get(&me).ok_or(Refusal::NoSuchNick)?;
        let folded = names::fold(name);
        let known = self.room_names.get(&folded).copied();
        let is_registered = self.books.room(name).is_some();
        if known.and_then(|id| self.rooms.get(&id)).is_some_and(|room| room.seats.contains_key(&me)) {
            return Ok(None);
        }
        // A registered room keeps people out though nobody is in it, but for those who are something there.
        let by_right = self.rank_by_account(name, user.account.as_deref());
        if (known.is_some() || is_registered) && !by_right.is_at_least(Rank::HALF) {
            let id = self.open_room(name, tell.at);
            let refused = match (self.rooms.get(&id), self.users.get(&me)) {
                (Some(room), Some(user)) => room.lets_in(user, key, tell.at).err(),
                _ => Some(Refusal::NoSuchRoom),
            };
            if let Some(why) = refused {
                self.close_if_empty(id);
                return Err(why);
            }
        }
        self.sit_down(name, tell).map(Some)
    }
    /// Sits down in a room, whatever it allows. The room, and the number of the stay.
    pub(super) fn sit_down(&mut self, name: &str, tell: &mut Teller<'_>) -> Result<(Topic, u64), Refusal> {
        let me = tell.me;
        let user = self.users.get(&me).ok_or(Refusal::NoSuchNick)?;
        if self.room(name).is_some_and(|room| room.seats.contains_key(&me)) {
            return Err(Refusal::TheyAreIn);
        }
        // A room that is there, or is registered, is come into by its own name whatever looks like it.
        let is_new = self.room(name).is_none() && self.record(name).is_none();
        if is_new && self.is_room_alike(name, None) {
            return Err(Refusal::LooksTaken);
        }
        if user.rooms.len() >= self.limits.rooms_max {
            return Err(Refusal::TooManyRooms);
        }
        let (source, real) = (Arc::clone(&user.source), Arc::clone(&user.real));
        let (away, is_kept, nick) = (user.away.clone(), user.is_kept, user.nick.to_string());
        // Whoever comes first into a room is its operator; what people are in a registered one, their accounts tell.
        let by_right = self.record(name).is_some().then(|| self.rank_by_right(name, me));
        let id = self.open_room(name, tell.at);
        let stay = self.next_stay;
        self.next_stay += 1;
        let Some(room) = self.rooms.get_mut(&id) else { return Err(Refusal::NoSuchRoom) };
        let rank = match by_right {
            None if room.seats.is_empty() => Rank::OP,
            None => Rank::NONE,
            Some(rank) => rank,
        };
        room.seat(me, rank, stay);
        room.kept += usize::from(is_kept);
        let shown = Arc::clone(&room.name);
        self.touch_room(id);
        if let Some(user) = self.users.get_mut(&me) {
            user.rooms.push(id);
            user.invites.remove(&id);
        }
        self.hear(id, me, tell);
        self.call_keeper(tell.host);
        let news = self.news(Arc::clone(&source), What::Joined { room: shown, real, stay }, tell);
        self.tell_of_member(id, me, None, &news, tell);
        if away.is_some() {
            let news = self.news(source, What::Away { text: away }, tell);
            self.tell_of_member(id, me, Some(tell.from), &news, tell);
        }
        if let Some(letter) = rank.letter().filter(|_| by_right.is_some()) {
            let done = [(true, letter, Some(nick))];
            self.tell_modes(id, &done, &CHANSERV.into(), &mut tell.on_behalf_of(me));
        }
        Ok((id, stay))
    }
    /// Somebody's connections hear a room from now on.
    fn hear(&self, id: Topic, who: Who, tell: &mut Teller<'_>) {
        for link in self.users.get(&who).map_or(&[][..], |user| &user.clients) {
            tell.host.join(id, link.at);
        }
    }
    /// Leaves a room, or makes somebody leave it. Whoever leaves hears the room to this place in its order: his session
    /// leaves its topic then.
    pub(crate) fn leave(&mut self, name: &str, how: &Left<'_>, tell: &mut Teller<'_>) -> Result<(), Refusal> {
        let room = self.room_for(tell.me, name).ok_or(Refusal::NoSuchRoom)?;
        let (id, shown) = (room.id, Arc::clone(&room.name));
        let mine = room.rank(tell.me).ok_or(Refusal::NotIn)?;
        let source = self.users.get(&tell.me).map(|user| Arc::clone(&user.source)).ok_or(Refusal::NoSuchNick)?;
        let most = self.limits.reason_bytes_max;
        let (whom, what) = match how {
            Left::Parts(reason) => {
                // Who may not speak here does not speak by leaving.
                let is_silent = self.users.get(&tell.me).is_some_and(|user| room.silences(tell.me, user, tell.at));
                let reason = reason.filter(|_| !is_silent);
                let stay = room.seats.get(&tell.me).map_or(0, |seat| seat.stay);
                (tell.me, What::Parted { room: shown, reason: reason.map(|reason| cut(reason, most).into()), stay })
            }
            Left::Kicked { whom, reason } => {
                let seat = room.seats.get(whom).ok_or(Refusal::TheyNotIn)?;
                if !mine.removes(seat.rank) {
                    return Err(Refusal::NeedsOp);
                }
                let nick = self.users.get(whom).map(|user| Arc::clone(&user.nick)).ok_or(Refusal::NoSuchNick)?;
                let reason = cut(reason, most).into();
                (*whom, What::Kicked { room: shown, whom: *whom, nick, reason, stay: seat.stay })
            }
        };
        let news = self.news(source, what, tell);
        self.tell_of_member(id, whom, None, &news, tell);
        if let Some(user) = self.users.get_mut(&whom) {
            user.rooms.retain(|room| *room != id);
        }
        self.unseat(id, whom);
        self.touch(whom);
        Ok(())
    }
    /// Tells a room what one of its members does, or what is done to him, but not the connection `except`: all of it, or in an
    /// auditorium, where he has no rank, those who have one, himself, and who does it.
    pub(super) fn tell_of_member(
        &self,
        id: Topic,
        member: Who,
        except: Option<Address>,
        news: &Arc<News>,
        tell: &mut Teller<'_>,
    ) {
        let Some(room) = self.rooms.get(&id) else { return };
        if !room.hides(member) {
            return publish(id, except, Arc::clone(news), tell);
        }
        for (who, seat) in &room.seats {
            if seat.rank == Rank::NONE && *who != member && *who != tell.me {
                continue;
            }
            let clients = self.users.get(who).map_or(&[][..], |user| &user.clients);
            for link in clients.iter().filter(|link| except != Some(link.at)) {
                tell.host.post(link.at, Mail::told(Some(id), Arc::clone(news)));
            }
        }
    }
    /// Takes a place away; the room goes with its last one.
    pub(super) fn unseat(&mut self, id: Topic, who: Who) {
        self.touch_room(id);
        let Some(room) = self.rooms.get_mut(&id) else { return };
        room.unseat(who, self.now);
        if self.users.get(&who).is_some_and(|user| user.is_kept) {
            room.kept -= 1;
        }
        if room.kept == 0 {
            self.log.forget(Shelf::Room(id));
        }
        self.close_if_empty(id);
    }
    /// A room is there for as long as somebody is in it; what is kept of a registered one is in the books.
    fn close_if_empty(&mut self, id: Topic) {
        let Some(room) = self.rooms.get(&id).filter(|room| room.seats.is_empty()) else { return };
        for name in room.moves_to.iter().chain([&room.name]) {
            self.room_names.remove(&names::fold(name));
            strike(&mut self.room_looks, name, &id);
        }
        self.rooms.remove(&id);
        self.note_ends(id);
    }
    /// Says something in a room; `to` is its name with the sign of a rank in front, where only those are to hear it.
    /// True if the one who says it is told of it as well, by mail.
    pub(crate) fn say_in_room(&mut self, to: &str, words: Words<'_>, tell: &mut Teller<'_>) -> Result<bool, Refusal> {
        let me = tell.me;
        let (least, name) = ranked(to);
        let room = self.room(name).ok_or(Refusal::NoSuchRoom)?;
        let user = self.users.get(&me).ok_or(Refusal::NoSuchNick)?;
        let speech = words.speech(self.now, tell.at);
        if let Err(why) = room.hears(me, user, speech) {
            return Err(if self.sees_room(me, room) { why } else { Refusal::NoSuchRoom });
        }
        // What somebody without rank says goes to those in charge alone, where the room is so.
        let is_for_ops = room.has(Flag::OpModerated) && room.rank(me).unwrap_or_default() == Rank::NONE;
        let least = if is_for_ops { least.max(Rank::HALF) } else { least };
        let (id, is_in) = (room.id, room.seats.contains_key(&me));
        // What was said to some alone is kept for those of them who may come back to it, at its place in the room's order.
        let only = (least != Rank::NONE).then(|| self.kept_of_rank(room, least, me));
        let is_kept = room.kept > 0 && only.as_ref().is_none_or(|only| !only.is_empty());
        let shelf = is_kept.then_some(Shelf::Room(id));
        let sign: String = to.chars().take(1).filter(|_| name.len() < to.len()).collect();
        let to: Arc<str> = if sign.is_empty() { Arc::clone(&room.name) } else { (sign + &room.name).into() };
        let source = Arc::clone(&user.source);
        if speech.is_words() {
            self.has_spoken(id, me);
        }
        let news = self.said_by(source, to, words, Kept { shelf, relayed: None, only }, tell);
        let echo = words.echo;
        if least == Rank::NONE {
            // His own copy comes by the same way as everybody's, so he sees the room's order too.
            let comes_back = echo && is_in;
            publish(id, (!comes_back).then_some(tell.from), Arc::clone(&news), tell);
            if !is_in {
                self.post_own(echo, &news, tell);
            }
        } else if let Some(room) = self.rooms.get(&id) {
            let heard = room.seats.iter().filter(|(who, seat)| seat.rank.is_at_least(least) && **who != me);
            for (who, _) in heard {
                self.post(*who, &news, tell);
            }
            self.post_own(echo, &news, tell);
        }
        Ok(echo)
    }
    /// Those in a room who keep their seats, and hear what is said to this rank there; and who says it.
    fn kept_of_rank(&self, room: &Room, least: Rank, me: Who) -> Box<[Who]> {
        if room.kept == 0 {
            return Box::default();
        }
        let heard = room.seats.iter().filter(|(who, seat)| seat.rank.is_at_least(least) || **who == me);
        let is_kept = |who: &Who| self.users.get(who).is_some_and(|user| user.is_kept);
        heard.map(|(who, _)| *who).filter(is_kept).collect()
    }
    /// Says something to one person. His away text, if he is away; and how many pieces of mail bring it to the one who says it.
    pub(crate) fn say_to(
        &mut self,
        nick: &str,
        words: Words<'_>,
        tell: &mut Teller<'_>,
    ) -> Result<(Option<Arc<str>>, Own), Refusal> {
        let (whom, other) = self.find(nick).ok_or(Refusal::NoSuchNick)?;
        let (to, away) = (Arc::clone(&other.nick), other.away.clone());
        let shelf = other.is_kept.then_some(Shelf::Person(whom));
        let own = self.users.get(&tell.me).ok_or(Refusal::NoSuchNick)?;
        if !self.hears_privately(whom, tell.me) {
            return Err(Refusal::TheyNeedAccount);
        }
        if other.modes.has(PersonModes::NO_CTCP) && is_ctcp(words.text) {
            return Err(Refusal::TheyTakeNoCtcp);
        }
        let source = Arc::clone(&own.source);
        self.accept_answers(tell.me, &to);
        let news = self.said(source, to, words, shelf, tell);
        self.post(whom, &news, tell);
        if whom != tell.me {
            self.post_own(words.echo, &news, tell);
        } else if words.echo {
            // Somebody who talks to himself hears it as he said it, and as he was told it.
            tell.host.post(tell.from, Mail::told(None, news));
        }
        Ok((away, Own { echo: words.echo, heard: whom == tell.me }))
    }
    /// A message: it has its place before anybody is told of it, and is kept where somebody may come back to it.
    fn said(
        &mut self,
        source: Arc<str>,
        to: Arc<str>,
        words: Words<'_>,
        shelf: Option<Shelf<Who>>,
        tell: &mut Teller<'_>,
    ) -> Arc<News> {
        self.said_by(source, to, words, Kept { shelf, ..Kept::default() }, tell)
    }
    /// The same, for some alone, or by somebody who is let speak.
    pub(super) fn said_by(
        &mut self,
        source: Arc<str>,
        to: Arc<str>,
        words: Words<'_>,
        Kept { shelf, relayed, only }: Kept,
        tell: &mut Teller<'_>,
    ) -> Arc<News> {
        let own = self.users.get(&tell.me).filter(|_| relayed.is_none());
        let account = own.and_then(|user| user.account.clone());
        let is_bot = own.is_some_and(|user| user.modes.has(PersonModes::BOT));
        let salt = self.salt(tell.host);
        let limits = (self.limits.log_messages_max, self.limits.log_bytes_max);
        let make = |place| {
            let what = What::Said { verb: words.verb, to, text: words.text.into(), lines: words.lines.into() };
            let mut news = News::new(place, Some((tell.me, tell.from)), source, tell.at, what);
            news.account = account;
            news.is_bot = is_bot;
            news.relayed = relayed;
            news.only = only;
            news.msgid = Some(format!("{salt:016x}-{place}").into());
            news.tags = words.tags.to_vec();
            news
        };
        match shelf {
            Some(shelf) if words.verb != Verb::Tagmsg => self.log.append(shelf, limits, make),
            _ => Arc::new(make(self.log.next())),
        }
    }
    /// Sets a topic, or takes it away: in how many lines that is told to who does it.
    pub(crate) fn set_topic(&self, name: &str, text: &str, tell: &Teller<'_>) -> Result<Plan<usize>, Refusal> {
        let text = cut(text, self.limits.topic_bytes_max);
        let room = self.room_for(tell.me, name).ok_or(Refusal::NoSuchRoom)?;
        let rank = room.rank(tell.me).ok_or(Refusal::NotIn)?;
        if room.has(Flag::TopicByOps) && !rank.is_at_least(Rank::HALF) {
            return Err(Refusal::NeedsOp);
        }
        let id = room.id;
        let user = self.users.get(&tell.me).ok_or(Refusal::NoSuchNick)?;
        if room.silences(tell.me, user, tell.at) {
            return Err(Refusal::CannotSpeak);
        }
        let source = Arc::clone(&user.source);
        let said = Said { text: text.into(), by: Arc::clone(&source), at: tell.at };
        let record = self.record(&room.name).map(|record| {
            let topic = (!text.is_empty()).then(|| said.kept());
            Change::Room(Arc::new(RoomRecord { topic, ..RoomRecord::clone(record) }))
        });
        Ok(Plan::new(record.into_iter().collect(), move |hall, tell| {
            let Some(room) = hall.rooms.get_mut(&id) else { return 0 };
            let (shown, text) = (Arc::clone(&room.name), said.text.clone());
            room.topic = (!text.is_empty()).then_some(said);
            let hears = room.seats.contains_key(&tell.me);
            let news = hall.news(source, What::Topic { room: shown, text }, tell);
            publish(id, None, news, tell);
            hall.touch_room(id);
            usize::from(hears)
        }))
    }
    /// Somebody may come into a room.
    pub(super) fn note_invite(&mut self, whom: Who, id: Topic) {
        let most = self.limits.rooms_max;
        if let Some(user) = self.users.get_mut(&whom) {
            if user.invites.len() >= most && !user.invites.contains(&id) {
                user.invites.pop_first();
            }
            user.invites.insert(id);
        }
    }
    /// Somebody has said something in a room, after which he waits where it is slow.
    pub(super) fn has_spoken(&mut self, id: Topic, who: Who) {
        let now = self.now;
        let room = self.rooms.get_mut(&id).filter(|room| room.slow.is_some());
        if let Some(seat) = room.and_then(|room| room.seats.get_mut(&who)) {
            seat.spoke = Some(now);
        }
    }
    /// Asks somebody in. Told to him, and to those of rank who want to hear of it.
    ///
    /// Only who could open the room to him as well (half-operators and above set keys, limits, `+i`, `+R` and bans) opens it by
    /// asking; what a member without rank says is told, and changes nothing for who is kept out. Modern IRC asks for a rank
    /// with `+i` alone; elsewhere an invitation of anybody's would undo bans.
    pub(crate) fn invite(
        &mut self,
        nick: &str,
        name: &str,
        tell: &mut Teller<'_>,
    ) -> Result<Option<Arc<str>>, Refusal> {
        let room = self.room_for(tell.me, name).ok_or(Refusal::NoSuchRoom)?;
        let rank = room.rank(tell.me).ok_or(Refusal::NotIn)?;
        let (whom, other) = self.find(nick).ok_or(Refusal::NoSuchNick)?;
        if room.seats.contains_key(&whom) {
            return Err(Refusal::TheyAreIn);
        }
        if room.has(Flag::InviteOnly) && !rank.is_at_least(Rank::HALF) {
            return Err(Refusal::NeedsOp);
        }
        let (id, shown) = (room.id, Arc::clone(&room.name));
        let (nick, away) = (Arc::clone(&other.nick), other.away.clone());
        let source = self.users.get(&tell.me).map(|user| Arc::clone(&user.source)).ok_or(Refusal::NoSuchNick)?;
        let heard: Vec<Who> = room
            .seats
            .iter()
            .filter(|(who, seat)| seat.rank.is_at_least(Rank::HALF) && **who != tell.me)
            .map(|(who, _)| *who)
            .collect();
        if rank.is_at_least(Rank::HALF) {
            self.note_invite(whom, id);
        }
        let news = self.news(source, What::Invited { whom: nick, room: shown }, tell);
        for who in heard.into_iter().chain([whom]) {
            self.post(who, &news, tell);
        }
        Ok(away)
    }
}

/// What comes back to somebody of what he says to one person: his own words, and, where that person is he, what is said to him.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Own {
    pub(crate) echo: bool,
    pub(crate) heard: bool,
}

/// What somebody says, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words<'a> {
    pub(crate) verb: Verb,
    pub(crate) text: &'a str,
    /// Its lines, where it has several.
    pub(crate) lines: &'a [Row],
    pub(crate) tags: &'a [(Box<str>, Box<str>)],
    /// Whether he is told of it himself.
    pub(crate) echo: bool,
}

/// Where a message is kept, and for whom.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Where somebody may come back to it.
    pub(super) shelf: Option<Shelf<Who>>,
    /// Who has let it be said, where that is somebody else's.
    pub(super) relayed: Option<Arc<str>>,
    /// For whom alone it is kept; nothing: for all.
    pub(super) only: Option<Box<[Who]>>,
}

impl<'a> Words<'a> {
    pub(super) fn speech(self, now: Moment, at: Wall) -> Speech<'a> {
        Speech { verb: self.verb, text: self.text, tags: self.tags, now, at }
    }
}

/// The rank that a target asks for, and the room behind it.
pub(crate) fn ranked(to: &str) -> (Rank, &str) {
    let mut chars = to.chars();
    match chars.next().and_then(Rank::of_sign) {
        Some(rank) => (rank, chars.as_str()),
        None => (Rank::NONE, to),
    }
}

pub(super) fn publish(id: Topic, except: Option<Address>, news: Arc<News>, tell: &mut Teller<'_>) {
    tell.host.publish(id, except, Mail::told(Some(id), news));
}
