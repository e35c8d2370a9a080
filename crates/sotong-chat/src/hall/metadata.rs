//! What people and rooms say of themselves by keys (IRCv3 draft/metadata): `display-name`, `avatar`, `url` …
use super::{Flag, Hall, Rank, Teller, Who};
use crate::{
    books::{Account, Change, RoomRecord},
    news::{Mail, What},
};
use sotong_session::{Map, Topic};
use std::sync::Arc;

/// Keys and their values. Without any it is a null pointer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys(Option<Box<Map<Box<str>, Box<str>>>>);

/// Bytes of a key and its value: with source, nick and target they fit into one line.
pub(crate) const PAIR_BYTES_MAX: usize = 350;
/// Bytes of all keys and values of one person or room, whatever their number may be.
const KEYS_BYTES_MAX: usize = 64 << 10;

/// A key's name in the one form it is kept in, if it can be one: letters, digits and `_.:/-`, no colon in front.
pub(crate) fn key(written: &str) -> Option<String> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'/' | b'-');
    let is_key = (1..=100).contains(&written.len()) && !written.starts_with(':') && written.bytes().all(is_part);
    is_key.then(|| written.to_ascii_lowercase())
}

impl Keys {
    /// Those that the books have.
    pub(crate) fn new(kept: &Map<Box<str>, Box<str>>) -> Self {
        Self((!kept.is_empty()).then(|| Box::new(kept.clone())))
    }
    /// As the books have them.
    pub(crate) fn kept(&self) -> Map<Box<str>, Box<str>> {
        self.0.as_deref().cloned().unwrap_or_default()
    }
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.as_ref()?.get(key).map(|value| &**value)
    }
    /// Each of them, in the order of their names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|keys| keys.iter().map(|(key, value)| (&**key, &**value)))
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }
    fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |keys| keys.len())
    }
    fn bytes(&self) -> usize {
        self.iter().map(|(key, value)| key.len() + value.len()).sum()
    }
    /// Sets a key. Nothing is changed where there would be more than `most`, or too many bytes.
    ///
    /// # Errors
    /// [`Denied::Full`]
    pub(crate) fn set(&mut self, key: &str, value: &str, most: usize) -> Result<(), Denied> {
        let before = self.get(key);
        let is_one_more = before.is_none() && most > 0 && self.len() >= most;
        let freed = before.map_or(0, |value| key.len() + value.len());
        if is_one_more || self.bytes() - freed + key.len() + value.len() > KEYS_BYTES_MAX {
            return Err(Denied::Full);
        }
        self.put(key, value);
        Ok(())
    }
    /// Sets a key, where it has been seen that there is room.
    fn put(&mut self, key: &str, value: &str) {
        self.0.get_or_insert_default().insert(key.into(), value.into());
    }
    /// Takes a key away. Whether it was there.
    pub(crate) fn unset(&mut self, key: &str) -> bool {
        let Some(keys) = &mut self.0 else { return false };
        let was_there = keys.remove(key).is_some();
        if keys.is_empty() {
            self.0 = None;
        }
        was_there
    }
}

/// Whose keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    User(Who),
    Room(Topic),
}

/// Why nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    NoTarget,
    NoPermission,
    Full,
    NotSet,
}

impl Hall {
    /// Whose keys `target` means, and its name as it is shown.
    pub(crate) fn owner(&self, me: Who, target: &str) -> Result<(Owner, Arc<str>), Denied> {
        if target.starts_with('#') {
            let room = self.room_for(me, target).ok_or(Denied::NoTarget)?;
            return Ok((Owner::Room(room.id), Arc::clone(&room.name)));
        }
        let found = if target == "*" { self.user(me).map(|user| (me, user)) } else { self.find(target) };
        let (who, user) = found.ok_or(Denied::NoTarget)?;
        Ok((Owner::User(who), Arc::clone(&user.nick)))
    }
    pub(crate) fn keys(&self, owner: &Owner) -> Option<&Keys> {
        match owner {
            Owner::User(who) => self.user(*who).map(|user| &user.keys),
            Owner::Room(room) => self.room_by(*room).map(|room| &room.keys),
        }
    }
    /// People's keys are for all; those of a room that keeps people out only for who is in it.
    pub(crate) fn may_see(&self, me: Who, owner: &Owner) -> bool {
        let Owner::Room(room) = owner else { return true };
        let Some(room) = self.room_by(*room) else { return false };
        let is_open = !room.has(Flag::Secret) && !room.has(Flag::InviteOnly) && room.key.is_none();
        is_open || room.seats.contains_key(&me)
    }
    /// Everybody may change his own, and a room's operators the room's.
    pub(crate) fn may_set(&self, me: Who, owner: &Owner) -> bool {
        match owner {
            Owner::User(who) => *who == me,
            Owner::Room(room) => {
                let rank = self.room_by(*room).and_then(|room| room.rank(me));
                rank.is_some_and(|rank| rank.is_at_least(Rank::OP))
            }
        }
    }
    /// What the books have to be told before keys are changed; nothing where the owner is not in them. With no value a key is
    /// taken away.
    pub(crate) fn keys_changed(
        &self,
        me: Who,
        owner: &Owner,
        changes: &[(String, Option<String>)],
    ) -> Result<Option<Change>, Denied> {
        if !self.may_set(me, owner) {
            return Err(Denied::NoPermission);
        }
        let (account, room) = (self.account_of(owner), self.record_of_owner(owner));
        let mut keys = match (account, room) {
            (Some(account), _) => Keys::new(&account.keys),
            (_, Some(room)) => Keys::new(&room.keys),
            (None, None) => self.keys(owner).cloned().ok_or(Denied::NoTarget)?,
        };
        for (key, value) in changes {
            match value {
                Some(value) => keys.set(key, value, self.metadata.max_keys)?,
                None if keys.unset(key) => {}
                None => return Err(Denied::NotSet),
            }
        }
        let account = account.map(|account| {
            let account = Account { keys: keys.kept(), ..Account::clone(account) };
            Change::Account(Arc::new(account))
        });
        Ok(account
            .or_else(|| Some(Change::Room(Arc::new(RoomRecord { keys: keys.kept(), ..RoomRecord::clone(room?) })))))
    }
    /// The account of a person who is logged in.
    fn account_of(&self, owner: &Owner) -> Option<&Arc<Account>> {
        let Owner::User(who) = owner else { return None };
        self.books.account(self.user(*who)?.account.as_deref()?)
    }
    /// What is kept of a registered room.
    fn record_of_owner(&self, owner: &Owner) -> Option<&Arc<RoomRecord>> {
        let Owner::Room(room) = owner else { return None };
        self.record(&self.room_by(*room)?.name)
    }
    /// The name of the account whose keys the owner has.
    pub(crate) fn keys_account(&self, owner: &Owner) -> Option<Box<str>> {
        self.account_of(owner).map(|account| account.name.clone())
    }
    /// All whose keys are the same: those who are logged in to an account, or the owner alone.
    pub(crate) fn owners(&self, owner: &Owner, account: Option<&str>) -> Vec<Owner> {
        match account {
            Some(account) => self.all_of(account).into_iter().map(Owner::User).collect(),
            None => vec![owner.clone()],
        }
    }
    /// The keys of an account, for somebody who is logged in to it.
    pub(super) fn keys_of_account(&self, account: Option<&str>) -> Keys {
        account
            .and_then(|account| self.books.account(account))
            .map(|account| Keys::new(&account.keys))
            .unwrap_or_default()
    }
    /// Sets a key, or takes it away, where that is allowed and in the books. Told to all who are in the room, or in a room with
    /// him, or watch him, but the connection that does it.
    pub(crate) fn set_key(&mut self, owner: &Owner, (key, value): (&str, Option<&str>), tell: &mut Teller<'_>) {
        let (keys, target) = match owner {
            Owner::User(who) => {
                let Some(user) = self.user_mut(*who) else { return };
                (&mut user.keys, Arc::clone(&user.nick))
            }
            Owner::Room(room) => {
                let Some(room) = self.rooms.get_mut(room) else { return };
                (&mut room.keys, Arc::clone(&room.name))
            }
        };
        match value {
            Some(value) => keys.put(key, value),
            None => _ = keys.unset(key),
        }
        let what = What::Key { target, key: key.into(), value: value.map(Into::into) };
        let server = Arc::clone(&self.server);
        match owner {
            Owner::Room(room) => {
                let news = self.news(server, what, tell);
                self.touch_room(*room);
                tell.host.publish(*room, Some(tell.from), Mail::told(Some(*room), news));
            }
            Owner::User(who) if *who == tell.me => self.tell_key(what, tell),
            Owner::User(who) => self.tell_key(what, &mut tell.on_behalf_of(*who)),
        }
    }
    fn tell_key(&mut self, what: What, tell: &mut Teller<'_>) {
        let news = self.news(Arc::clone(&self.server), what, tell);
        self.publish_to_rooms(&news, tell);
        self.post_own(false, &news, tell);
        self.post_to_watchers(&news, tell);
    }
    /// Somebody has come with these keys, which he has set before, or has logged in: his account has them from now on, as far
    /// as there is room, and he has all that his account has. Without an account he has these alone.
    pub(crate) fn take_keys(&mut self, set: &Keys, tell: &mut Teller<'_>) {
        let me = Owner::User(tell.me);
        let mut after = self.keys_of_account(self.user(tell.me).and_then(|user| user.account.as_deref()));
        for (key, value) in set.iter() {
            // He is told of all that he has, and so of what there was no room for.
            let _ = after.set(key, value, self.metadata.max_keys);
        }
        if let Some(account) = self.account_of(&me)
            && account.keys != after.kept()
        {
            let account = Account { keys: after.kept(), ..Account::clone(account) };
            let change = Change::Account(Arc::new(account));
            if self.books.have_room_for_keys(std::slice::from_ref(&change)) {
                self.books.note(&[change], tell.host);
            }
        }
        let account = self.keys_account(&me).filter(|_| !set.is_empty());
        for owner in self.owners(&me, account.as_deref()) {
            let before = self.keys(&owner).cloned().unwrap_or_default();
            let gone = before.iter().filter(|(key, _)| after.get(key).is_none()).map(|(key, _)| (key, None));
            let come = after.iter().filter(|(key, value)| before.get(key) != Some(value));
            for (key, value) in gone.chain(come.map(|(key, value)| (key, Some(value)))) {
                self.set_key(&owner, (key, value), tell);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_keys() {
        assert_eq!(key("Display-Name").as_deref(), Some("display-name"));
        for written in ["a", "im.xmpp", "a:b", "v/x_1"] {
            assert_eq!(key(written).as_deref(), Some(written));
        }
        for written in ["", ":a", "a b", "$url$", "한", &"x".repeat(101)] {
            assert_eq!(key(written), None, "{written}");
        }
    }

    #[test]
    fn keys_are_bounded_in_number_and_bytes() {
        let mut keys = Keys::default();
        assert!(keys.0.is_none() && !keys.unset("a"));
        assert_eq!(keys.set("a", "1", 2), Ok(()));
        assert_eq!(keys.set("b", "2", 2), Ok(()));
        assert_eq!(keys.set("c", "3", 2), Err(Denied::Full));
        assert_eq!(keys.set("b", "4", 2), Ok(()), "one that is there may be changed");
        assert_eq!(keys.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "4")]);
        assert!(keys.unset("a") && keys.unset("b") && keys.0.is_none());
        let value = "x".repeat(PAIR_BYTES_MAX - 4);
        let set = (0..1000).take_while(|number| keys.set(&format!("{number:04}"), &value, 0).is_ok()).count();
        assert_eq!(set, KEYS_BYTES_MAX / PAIR_BYTES_MAX);
    }
}
