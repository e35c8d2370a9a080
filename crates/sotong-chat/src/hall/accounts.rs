//! Who is logged in to which account; several connections of one person; and who keeps his seat without any.
use super::{Attention, Hall, Keys, Link, Taken, Teller, User, Who};
use crate::{
    log::Shelf,
    news::{News, What},
};
use sotong_irc::names;
use sotong_session::Topic;
use std::sync::Arc;

/// How somebody has come in.
#[derive(Debug)]
pub(crate) enum Entered {
    /// He was not here.
    New(Who),
    /// This is another connection of somebody who was.
    Again(Again),
}

/// What somebody is told who has come back.
#[derive(Debug)]
pub(crate) struct Again {
    pub(crate) who: Who,
    /// The rooms he is in, and his stays there.
    pub(crate) stays: Vec<(Topic, u64)>,
    /// Where he has missed something, and behind which place.
    pub(crate) missed: Vec<(Shelf<Who>, u64)>,
    /// The last place that this client will not hear by itself.
    pub(crate) until: u64,
    /// Behind which place nobody of his was there.
    pub(crate) left: Option<u64>,
}

/// Connections of one person.
pub(super) const LINKS_MAX: usize = 32;

impl Hall {
    // Coming in.

    /// A connection has registered: it is a new person's, or another of one who is logged in to the same account.
    pub(crate) fn come_in(
        &mut self,
        user: User,
        attention: Attention,
        tell: &mut Teller<'_>,
    ) -> Result<Entered, Taken> {
        let known = user.account.as_deref().and_then(|account| self.shared(account, &user.nick));
        match known {
            Some(who) => Ok(Entered::Again(self.attach(who, attention, tell))),
            None => self.enter(user, attention, tell).map(Entered::New),
        }
    }
    /// The person of this account whom another connection joins that wants this nick. Who keeps his seat is the one whatever
    /// nick is asked for.
    fn shared(&self, account: &str, nick: &str) -> Option<Who> {
        let key = names::fold(account);
        let fits = |who: &Who| {
            let Some(user) = self.users.get(who) else { return false };
            let is_same = user.account.as_deref().is_some_and(|other| names::fold(other) == key);
            let may_share = user.clients.is_empty() || self.shares_nick(account);
            is_same && may_share && user.clients.len() < LINKS_MAX
        };
        let kept = self.kept.get(&key).copied().filter(fits);
        kept.or_else(|| self.log.owner(&names::fold(nick)).filter(fits))
    }
    /// Another connection of somebody's: it hears his rooms from now on.
    fn attach(&mut self, who: Who, attention: Attention, tell: &mut Teller<'_>) -> Again {
        let until = self.log.place();
        let mut again = Again { who, stays: Vec::new(), missed: Vec::new(), until, left: None };
        let Some(user) = self.users.get_mut(&who) else { return again };
        let left = user.left.take();
        again.left = left;
        let account = user.account.clone();
        tell.me = who;
        user.clients.push(Link { at: tell.from, attention });
        let away = user.away_now();
        self.newcomers.remove(&tell.from);
        self.clients.insert(tell.from, who);
        self.call_keeper(tell.host);
        let rooms = self.users.get(&who).into_iter().flat_map(|user| &user.rooms);
        let stays = rooms.filter_map(|id| Some((*id, self.rooms.get(id)?.seats.get(&who)?.stay)));
        again.stays = stays.collect();
        for (id, _) in &again.stays {
            tell.host.join(*id, tell.from);
        }
        let account = account.and_then(|account| self.books.account(&account));
        let lines = account.and_then(|account| account.settings.autoreplay_lines).unwrap_or(0);
        let shelves = again.stays.iter().map(|(id, _)| Shelf::Room(*id)).chain([Shelf::Person(who)]);
        again.missed = shelves
            .filter_map(|shelf| match left {
                Some(left) => Some((shelf, left)),
                // Others of his have heard it; this one hears as much as he has asked for.
                None => {
                    (lines > 0).then(|| (shelf, self.log.before_last(shelf, lines as usize, |news| news.was_for(who))))
                }
            })
            .collect();
        self.set_away(away, tell);
        self.hand_over(tell);
        again
    }
    /// What was said behind a place.
    pub(crate) fn tail(&self, shelf: Shelf<Who>, from: u64) -> impl Iterator<Item = &Arc<News>> {
        self.log.tail(shelf, from)
    }
    /// The last client of somebody has gone before it had read what he missed behind this place: he has missed it still.
    pub(crate) fn has_not_read(&mut self, who: Who, behind: u64) {
        if let Some(user) = self.users.get_mut(&who).filter(|user| user.clients.is_empty()) {
            user.left = user.left.map(|left| left.min(behind));
        }
    }
    /// A connection of somebody's has gone, who stays.
    pub(super) fn detached(&mut self, tell: &mut Teller<'_>) {
        let Some(user) = self.users.get_mut(&tell.me) else { return };
        if user.clients.is_empty() {
            user.left = Some(self.log.place());
            let account = user.account.as_deref().and_then(|account| self.books.account(account));
            let goes = account.and_then(|account| account.settings.auto_away).unwrap_or(true);
            // Each client says anew whom it watches, and that it is an operator's: an account alone makes nobody one.
            self.unwatch_all(tell.me);
            self.set_oper(None, tell);
            if !goes {
                return;
            }
        }
        let away = self.users.get(&tell.me).and_then(User::away_now);
        self.set_away(away, tell);
    }

    // Accounts.

    /// Whether the account is another's to whom this nick belongs.
    pub(super) fn is_reserved(&self, account: Option<&str>, nick: &str) -> bool {
        if !self.accounts.nick_is_account {
            return false;
        }
        let owner = self.books.account_like(nick);
        owner.is_some_and(|owner| account.is_none_or(|account| names::fold(account) != names::fold(&owner.name)))
    }
    fn shares_nick(&self, account: &str) -> bool {
        let chosen = self.books.account(account).and_then(|account| account.settings.multiclient);
        chosen.unwrap_or(self.accounts.multiclient)
    }
    pub(super) fn keeps_seat(&self, account: &str) -> bool {
        let account = self.books.account(account);
        account.is_some_and(|account| self.accounts.always_on.holds(account.settings.always_on))
    }
    /// Whether this connection could log in to another account than it is in: a person has one, whatever his connections are.
    pub(crate) fn may_log_in(&self, who: Who) -> bool {
        self.users.get(&who).is_none_or(|user| user.account.is_none() || user.clients.len() < 2)
    }
    /// Somebody has proved that an account is his, or has left it. Told to all who are in a room with him, and to himself:
    /// in so many pieces of mail. A nick that is no longer his, he loses.
    pub(crate) fn log_in(&mut self, account: Option<&Arc<str>>, tell: &mut Teller<'_>) -> usize {
        if self.users.get(&tell.me).is_none_or(|user| user.account.as_ref() == account) {
            return 0;
        }
        self.forget_kept(tell.me);
        let Some(user) = self.users.get_mut(&tell.me) else { return 0 };
        // What he has set of himself while he was nobody's is his account's from now on; another account's is not.
        let set = if user.account.is_none() { user.keys.clone() } else { Keys::default() };
        let before = std::mem::replace(&mut user.account, account.cloned());
        let (source, nick) = (Arc::clone(&user.source), Arc::clone(&user.nick));
        let news = self.news(source, What::Account, tell);
        self.publish_to_rooms(&news, tell);
        self.post_to_watchers(&news, tell);
        self.post(tell.me, &news, tell);
        self.settle(tell);
        self.take_ranks(tell);
        self.take_host(before.as_deref(), &mut tell.on_behalf_of(tell.me));
        // Whoever has logged in is told of what he has by that, as others are.
        let me = tell.me;
        self.take_keys(&set, &mut tell.on_behalf_of(me));
        1 + usize::from(self.is_reserved(account.map(|name| &**name), &nick) && self.rename_guest(tell))
    }
    /// An account is no more, nor what it had in rooms by its name: all who are logged in to it are not any longer, but for who
    /// has done it, if he is here.
    pub(crate) fn drop_account(&mut self, account: &str, tell: &mut Teller<'_>) {
        let own = self.clients.get(&tell.from).copied();
        for who in self.all_of(account).into_iter().filter(|who| own != Some(*who)) {
            let tell = &mut tell.on_behalf_of(who);
            self.log_in(None, tell);
            // The account alone kept him here.
            if self.users.get(&who).is_some_and(|user| user.clients.is_empty()) {
                self.remove("No longer always on", tell);
            }
        }
        let rooms: Vec<Topic> = self.rooms.keys().copied().collect();
        for id in rooms {
            self.strike_account(id, &names::fold(account), tell);
        }
    }
    /// All who are logged in to an account.
    pub(crate) fn all_of(&self, account: &str) -> Vec<Who> {
        let key = names::fold(account);
        let is_in = |user: &User| user.account.as_deref().is_some_and(|other| names::fold(other) == key);
        self.users().filter(|(_, user)| is_in(user)).map(|(who, _)| who).collect()
    }
    /// Takes a nick that nobody has.
    fn rename_guest(&mut self, tell: &mut Teller<'_>) -> bool {
        (0..GUEST_TRIES).any(|_| {
            let mut bytes = [0; 4];
            tell.host.random(&mut bytes);
            self.rename(&format!("Guest-{:08x}", u32::from_le_bytes(bytes)), tell).is_ok()
        })
    }
    /// Looks anew whether somebody keeps his seat: he has come, has logged in, or his account has other settings.
    pub(crate) fn settle(&mut self, tell: &mut Teller<'_>) {
        let me = tell.me;
        let Some(account) = self.users.get(&me).and_then(|user| user.account.clone()) else { return };
        let key = names::fold(&account);
        match (self.keeps_seat(&account), self.kept.get(&key).copied()) {
            (true, None) => {
                self.unsaved.insert(key.clone());
                self.kept.insert(key, me);
                let Some(user) = self.users.get_mut(&me) else { return };
                user.is_kept = true;
                for id in &user.rooms {
                    if let Some(room) = self.rooms.get_mut(id) {
                        room.kept += 1;
                        self.unsaved_rooms.insert(names::fold(&room.name));
                    }
                }
            }
            (false, Some(kept)) => {
                self.forget_kept(kept);
                if self.users.get(&kept).is_some_and(|user| user.clients.is_empty()) {
                    self.remove("No longer always on", &mut tell.on_behalf_of(kept));
                }
            }
            // There is one for each account: another person of it leaves with his last client.
            (true, Some(_)) | (false, None) => {}
        }
    }
    pub(super) fn forget_kept(&mut self, who: Who) {
        let Some(user) = self.users.get_mut(&who) else { return };
        if !std::mem::take(&mut user.is_kept) {
            return;
        }
        for id in &user.rooms {
            if let Some(room) = self.rooms.get_mut(id) {
                room.kept -= 1;
                self.unsaved_rooms.insert(names::fold(&room.name));
                if room.kept == 0 {
                    self.log.forget(Shelf::Room(*id));
                }
            }
        }
        self.log.forget(Shelf::Person(who));
        let Some(key) = user.account.as_deref().map(names::fold) else { return };
        self.kept.remove(&key);
        self.unsaved.insert(key);
    }
}

/// Random nicks that are tried.
const GUEST_TRIES: usize = 8;
