//! Speaking for somebody who is not here (RELAYMSG, NPC, SCENE), and calling a room otherwise (RENAME).
use super::{Flag, Hall, Rank, Refusal, Teller, Who, Words, publish, room::Speech};
use crate::{
    books::{Change, RoomRecord, strike},
    log::Shelf,
    news::What,
    options::cut,
};
use sotong_irc::names;
use std::sync::Arc;

impl Hall {
    /// Says something in a room for somebody else, as `source`; all are told, who does it as well, if he is to be: true then.
    /// `relayed` is told to those who want to know who has let it be said.
    pub(crate) fn say_for(
        &mut self,
        room: &str,
        source: Arc<str>,
        words: Words<'_>,
        relayed: Option<Arc<str>>,
        tell: &mut Teller<'_>,
    ) -> Result<bool, Refusal> {
        let me = tell.me;
        let room = self.room_for(me, room).ok_or(Refusal::NoSuchRoom)?;
        let user = self.user(me).ok_or(Refusal::NoSuchNick)?;
        let speech = Speech { verb: words.verb, text: words.text, now: self.now, at: tell.at };
        room.hears(me, user, speech)?;
        let rank = room.rank(me).unwrap_or_default();
        // Who is heard by those in charge alone does not speak for others to all.
        if room.has(Flag::OpModerated) && rank == Rank::NONE {
            return Err(Refusal::CannotSpeak);
        }
        let (id, to, is_in) = (room.id, Arc::clone(&room.name), room.seats.contains_key(&me));
        let shelf = (room.kept > 0).then_some(Shelf::Room(id));
        self.has_spoken(id, me);
        let news = self.said_by(source, to, words, (shelf, relayed), tell);
        let comes_back = words.echo && is_in;
        publish(id, (!comes_back).then_some(tell.from), Arc::clone(&news), tell);
        if !is_in {
            self.post_own(words.echo, &news, tell);
        }
        Ok(words.echo)
    }
    /// Calls a room otherwise. Told to all in it; to those whose clients do not know of it, as if they had gone from the one
    /// into the other.
    pub(crate) fn retitle(&mut self, from: &str, to: &str, reason: &str, tell: &mut Teller<'_>) -> Result<(), Refusal> {
        let room = self.room_for(tell.me, from).ok_or(Refusal::NoSuchRoom)?;
        let rank = room.rank(tell.me).ok_or(Refusal::NotIn)?;
        if !rank.is_at_least(Rank::OP) {
            return Err(Refusal::NeedsOp);
        }
        let (id, before) = (room.id, Arc::clone(&room.name));
        let record = self.record(&before).cloned();
        if record.is_some() && self.rank_by_right(&before, tell.me) != Rank::FOUNDER {
            return Err(Refusal::NeedsOp);
        }
        let (old, new) = (names::fold(&before), names::fold(to));
        if old != new && (self.room_names.contains_key(&new) || self.record(to).is_some()) {
            return Err(Refusal::NameInUse);
        }
        if self.is_room_alike(to, Some(room)) {
            return Err(Refusal::LooksTaken);
        }
        let source = self.user(tell.me).map(|user| Arc::clone(&user.source)).ok_or(Refusal::NoSuchNick)?;
        let to: Arc<str> = to.into();
        self.room_names.remove(&old);
        self.room_names.insert(new, id);
        strike(&mut self.room_looks, &before, &id);
        self.room_looks.entry(names::looks(&to)).or_default().insert(id);
        let Some(room) = self.rooms.get_mut(&id) else { return Err(Refusal::NoSuchRoom) };
        room.name = Arc::clone(&to);
        let here: Vec<Who> = room.seats.keys().copied().collect();
        for who in here {
            self.touch(who);
        }
        if let Some(record) = record {
            let record = RoomRecord { name: (*to).into(), ..RoomRecord::clone(&record) };
            self.books.note(&[Change::NoRoom(old.into()), Change::Room(Arc::new(record))], tell.host);
        }
        let reason = cut(reason, self.limits.reason_bytes_max).into();
        let news = self.news(source, What::Retitled { from: before, to, reason }, tell);
        publish(id, None, news, tell);
        Ok(())
    }
    /// Whether people may speak for others in a room.
    pub(crate) fn is_stage(&self, who: Who, room: &str) -> Option<bool> {
        self.room_for(who, room).map(|room| room.has(Flag::Roleplay))
    }
}
