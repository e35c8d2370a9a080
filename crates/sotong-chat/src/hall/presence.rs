//! What of those who keep their seats is kept in the books, so that they sit there after a restart, too.
use super::{Hall, Keys, PersonModes, Rank, Room, Teller, User, Who};
use crate::books::{Account, Change, Presence, RoomRecord};
use sotong_irc::names;
use sotong_session::{Moment, Topic, Wall};
use std::sync::Arc;

impl Hall {
    /// Something of somebody has changed that outlasts a restart, if he keeps his seat.
    pub(super) fn touch(&mut self, who: Who) {
        let account = self.users.get(&who).filter(|user| user.is_kept).and_then(|user| user.account.as_deref());
        if let Some(account) = account {
            self.unsaved.insert(names::fold(account));
        }
    }
    /// Something of a room has changed that outlasts a restart, if somebody keeps his seat there.
    pub(super) fn touch_room(&mut self, id: Topic) {
        if let Some(room) = self.rooms.get(&id).filter(|room| room.kept > 0) {
            self.unsaved_rooms.insert(names::fold(&room.name));
        }
    }
    /// Whether something is to be saved.
    pub(crate) fn has_unsaved(&self) -> bool {
        !self.unsaved.is_empty() || !self.unsaved_rooms.is_empty()
    }
    /// Writes down what has changed of those who keep their seats, and of the rooms where they do, at once: who sits there again
    /// finds the room as it was.
    pub(crate) fn save(&mut self, tell: &mut Teller<'_>) {
        let rooms = std::mem::take(&mut self.unsaved_rooms);
        let mut changes: Vec<Change> = rooms.iter().filter_map(|key| self.room_changed(key, tell.at)).collect();
        for key in std::mem::take(&mut self.unsaved) {
            let Some(account) = self.books.account(&key).cloned() else { continue };
            let user = self.kept.get(&key).and_then(|who| Some((*who, self.users.get(who)?)));
            let presence = user.map(|(who, user)| self.presence(who, user, tell.at));
            if account.presence != presence {
                let account = Account { presence, ..Account::clone(&account) };
                changes.push(Change::Account(Arc::new(account)));
            }
        }
        if !changes.is_empty() {
            self.books.note(&changes, tell.host);
        }
    }
    /// What the books are to keep of a room that nobody has registered, if that is something new. Where there is no place for
    /// it, it is not kept: who sits there does not sit there after a restart.
    fn room_changed(&mut self, key: &str, at: Wall) -> Option<Change> {
        if self.books.room(key).is_some() {
            return None;
        }
        let known = self.books.occupied_room(key);
        let Some(room) = self.room(key).filter(|room| room.kept > 0) else {
            return known.map(|_| Change::NoRoom(key.into()));
        };
        let record = self.record_of(room, &RoomRecord::occupied(&room.name), at);
        let record = RoomRecord { keys: room.keys.kept(), ..record };
        if known.is_some_and(|known| **known == record) {
            return None;
        }
        let change = Change::Room(Arc::new(record));
        if self.books.limit_in_the_way(std::slice::from_ref(&change), &self.limits).is_some() {
            self.counts.not_kept += 1;
            return known.map(|_| Change::NoRoom(key.into()));
        }
        Some(change)
    }
    fn presence(&self, who: Who, user: &User, at: Wall) -> Presence {
        let rooms = user.rooms.iter().filter_map(|id| self.rooms.get(id));
        let seat = |room: &Room| (Box::from(&*room.name), room.rank(who).unwrap_or_default().letters().into());
        Presence {
            nick: (*user.nick).into(),
            user: (*user.user).into(),
            host: (*user.cloak).into(),
            real: (*user.real).into(),
            modes: user.modes.letters().into(),
            away: user.away.as_deref().map(Into::into),
            rooms: rooms.map(seat).collect(),
            seen: at.0,
        }
    }
    /// Those who keep their seats take them again, before anybody comes.
    pub(crate) fn wake(&mut self, at: Wall) {
        let accounts: Vec<Arc<Account>> = self.books.accounts().cloned().collect();
        for account in accounts {
            let Some(presence) = account.presence.as_ref().filter(|_| self.keeps_seat(&account.name)) else { continue };
            self.seat_again(&account, presence, at);
        }
        // Those where nobody sits any more are forgotten with the next that is saved.
        self.unsaved_rooms.extend(self.books.occupied_rooms().map(|room| names::fold(&room.name)));
    }
    /// The room where somebody sits again, as it was; none, if it is not known how it was: others might come in who may not.
    fn room_again(&mut self, name: &str, at: Wall) -> Option<Topic> {
        if self.room(name).is_some() || self.books.room(name).is_some() {
            return Some(self.open_room(name, at));
        }
        let record = self.books.occupied_room(name).cloned()?;
        let id = self.open_room(name, at);
        self.rooms.get_mut(&id)?.read(&record, at);
        self.note_ends(id);
        Some(id)
    }
    fn seat_again(&mut self, account: &Account, presence: &Presence, at: Wall) {
        if !self.is_free(Who::NOBODY, Some(&account.name), &presence.nick) {
            return;
        }
        let Presence { nick, user, host, real, .. } = presence;
        let mut user = User::new(nick, user, host, real, (Moment::START, Wall(presence.seen)));
        user.account = Some((*account.name).into());
        user.keys = Keys::new(&account.keys);
        if let Some(host) = &account.vhost {
            user.host = (**host).into();
            user.name();
        }
        user.is_kept = true;
        user.left = Some(self.log.place());
        user.modes = PersonModes::read(&presence.modes);
        user.away = presence.away.as_deref().map(Into::into);
        if account.settings.auto_away.unwrap_or(true) {
            user.away = user.away_now();
        }
        let who = Who(self.next_who);
        self.next_who += 1;
        self.kept.insert(names::fold(&account.name), who);
        self.claim(who, nick);
        for (name, letters) in presence.rooms.iter().take(self.limits.rooms_max) {
            let Some(id) = self.room_again(name, at) else { continue };
            let rank = letters.chars().filter_map(Rank::of).fold(Rank::NONE, |mut ranks, rank| {
                ranks.set(rank, true);
                ranks
            });
            let stay = self.next_stay;
            self.next_stay += 1;
            if let Some(room) = self.rooms.get_mut(&id) {
                room.seat(who, rank, stay);
                room.kept += 1;
                user.rooms.push(id);
            }
        }
        self.admit(who, user);
    }
    /// The room of this name, which is made if it is not there.
    pub(super) fn open_room(&mut self, name: &str, at: Wall) -> Topic {
        let folded = names::fold(name);
        if let Some(id) = self.room_names.get(&folded) {
            return *id;
        }
        let id = Topic(self.next_room);
        self.next_room += 1;
        self.room_names.insert(folded, id);
        self.room_looks.entry(names::looks(name)).or_default().insert(id);
        self.rooms.insert(id, Room::new(id, name.into(), at));
        self.restore_room(id, at);
        id
    }
}
