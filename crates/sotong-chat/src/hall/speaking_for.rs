//! Speaking for somebody who is not here (RELAYMSG, NPC, SCENE), and calling a room otherwise (RENAME).
use super::{Flag, Hall, Plan, Rank, Refusal, Teller, Who, Words, publish, rooms::Kept};
use crate::{
    books::{Change, RoomRecord, strike},
    log::Shelf,
    news::What,
    options::cut,
};
use sotong_irc::names;
use sotong_session::Topic;
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
        room.hears(me, user, words.speech(self.now, tell.at))?;
        let rank = room.rank(me).unwrap_or_default();
        // Who is heard by those in charge alone does not speak for others to all.
        if room.has(Flag::OpModerated) && rank == Rank::NONE {
            return Err(Refusal::CannotSpeak);
        }
        let (id, to, is_in) = (room.id, Arc::clone(&room.name), room.seats.contains_key(&me));
        let shelf = (room.kept > 0).then_some(Shelf::Room(id));
        self.has_spoken(id, me);
        let news = self.said_by(source, to, words, Kept { shelf, relayed, only: None }, tell);
        let comes_back = words.echo && is_in;
        publish(id, (!comes_back).then_some(tell.from), Arc::clone(&news), tell);
        if !is_in {
            self.post_own(words.echo, &news, tell);
        }
        Ok(words.echo)
    }
    /// Calls a room otherwise. Told to all in it; to those whose clients do not know of it, as if they had gone from the one
    /// into the other. In how many lines it is told to who does it. Until then the room has both names: nobody else takes the
    /// new one meanwhile, and who asks for either finds it. See [`Self::stay`].
    pub(crate) fn retitle(
        &mut self,
        from: &str,
        to: &str,
        reason: &str,
        tell: &Teller<'_>,
    ) -> Result<Plan<usize>, Refusal> {
        let room = self.room_for(tell.me, from).ok_or(Refusal::NoSuchRoom)?;
        let rank = room.rank(tell.me).ok_or(Refusal::NotIn)?;
        if !rank.is_at_least(Rank::OP) {
            return Err(Refusal::NeedsOp);
        }
        if room.moves_to.is_some() {
            return Err(Refusal::Moves);
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
        self.room_names.insert(new, id);
        self.room_looks.entry(names::looks(&to)).or_default().insert(id);
        let Some(room) = self.rooms.get_mut(&id) else { return Err(Refusal::NoSuchRoom) };
        room.moves_to = Some(Arc::clone(&to));
        let changes = record.map_or_else(Vec::new, |record| {
            let record = RoomRecord { name: (*to).into(), ..RoomRecord::clone(&record) };
            vec![Change::NoRoom(old.into()), Change::Room(Arc::new(record))]
        });
        let reason = cut(reason, self.limits.reason_bytes_max).into();
        let what = What::Retitled { from: before, to, reason };
        Ok(Plan::new(changes, move |hall, tell| hall.move_room(id, source, what, tell)))
    }
    fn move_room(&mut self, id: Topic, source: Arc<str>, what: What, tell: &mut Teller<'_>) -> usize {
        let Some(room) = self.rooms.get_mut(&id) else { return 0 };
        let Some(to) = room.moves_to.take() else { return 0 };
        let before = std::mem::replace(&mut room.name, Arc::clone(&to));
        let hears = room.seats.contains_key(&tell.me);
        let here: Vec<Who> = room.seats.keys().copied().collect();
        self.drop_name(id, &before, &to);
        self.touch_room(id);
        self.unsaved_rooms.insert(names::fold(&before));
        for who in here {
            self.touch(who);
        }
        let news = self.news(source, what, tell);
        publish(id, None, news, tell);
        usize::from(hears)
    }
    /// A room is not called otherwise after all.
    pub(crate) fn stay(&mut self, name: &str) {
        let Some(id) = self.room(name).map(|room| room.id) else { return };
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let Some(to) = room.moves_to.take() else { return };
        let name = Arc::clone(&room.name);
        self.drop_name(id, &to, &name);
    }
    /// Of its two names a room has the other alone.
    fn drop_name(&mut self, id: Topic, name: &str, other: &str) {
        if names::fold(name) != names::fold(other) {
            self.room_names.remove(&names::fold(name));
        }
        if names::looks(name) != names::looks(other) {
            strike(&mut self.room_looks, name, &id);
        }
    }
    /// Whether people may speak for others in a room.
    pub(crate) fn is_stage(&self, who: Who, room: &str) -> Option<bool> {
        self.room_for(who, room).map(|room| room.has(Flag::Roleplay))
    }
}
