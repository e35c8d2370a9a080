//! Who watches whom (IRCv3 MONITOR).
use super::{Hall, Teller, Who};
use crate::news::{News, What};
use sotong_irc::names;
use std::sync::Arc;

impl Hall {
    /// Begins to watch a nick. False if that would be more than allowed.
    pub(crate) fn watch(&mut self, who: Who, nick: &str) -> bool {
        let most = self.limits.monitor_max;
        let Some(user) = self.users.get_mut(&who) else { return false };
        let key = names::fold(nick);
        if !user.watches.contains_key(&key) {
            if user.watches.len() >= most {
                return false;
            }
            user.watches.insert(key.clone(), nick.into());
            self.watchers.entry(key).or_default().insert(who);
        }
        true
    }
    pub(crate) fn unwatch(&mut self, who: Who, nick: &str) {
        let key = names::fold(nick);
        let Some(user) = self.users.get_mut(&who) else { return };
        if user.watches.remove(&key).is_some() {
            self.forget_watcher(&key, who);
        }
    }
    pub(crate) fn unwatch_all(&mut self, who: Who) {
        let Some(user) = self.users.get_mut(&who) else { return };
        for key in std::mem::take(&mut user.watches).into_keys() {
            self.forget_watcher(&key, who);
        }
    }
    fn forget_watcher(&mut self, key: &str, who: Who) {
        if let Some(watchers) = self.watchers.get_mut(key) {
            watchers.remove(&who);
            if watchers.is_empty() {
                self.watchers.remove(key);
            }
        }
    }
    /// Tells those who watch `tell.me` what he has done (IRCv3 extended-monitor). Whoever is in a room with him has been told of
    /// this place in the order already, and is not told again.
    pub(super) fn post_to_watchers(&self, news: &Arc<News>, tell: &mut Teller<'_>) {
        let Some(user) = self.users.get(&tell.me) else { return };
        let watchers = self.watchers.get(&names::fold(&user.nick)).into_iter().flatten();
        let me = tell.me;
        for watcher in watchers.filter(|watcher| **watcher != me) {
            self.post(*watcher, news, tell);
        }
    }
    /// Tells those who watch a nick that somebody has it now (his source), or nobody.
    pub(super) fn tell_watchers(&mut self, nick: &Arc<str>, source: Option<&Arc<str>>, tell: &mut Teller<'_>) {
        let Some(watchers) = self.watchers.get(&names::fold(nick)) else { return };
        let place = self.log.next();
        for watcher in watchers {
            let Some(by) = self.users.get(watcher).map(|user| Arc::clone(&user.nick)) else { continue };
            let what = What::Watched { here: source.is_some(), who: source.unwrap_or(nick).clone(), by };
            let news = News::new(place, None, Arc::clone(&self.server), tell.at, what);
            self.post(*watcher, &Arc::new(news), tell);
        }
    }
}
