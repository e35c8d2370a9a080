//! Where people are shown to be from: by what is made of their address, or by a host that an operator has given them, or
//! their account.
use super::{Hall, Teller, Who};
use crate::news::{Mail, News, What};
use std::sync::Arc;

impl Hall {
    /// Shows another host for somebody, or with none where he came from. Told to all who are in a room with him, and to
    /// himself; true if that is a change.
    pub(crate) fn set_host(&mut self, host: Option<&str>, tell: &mut Teller<'_>) -> bool {
        let Some(user) = self.user_mut(tell.me) else { return false };
        let host = host.map_or_else(|| Arc::clone(&user.cloak), Arc::from);
        if user.host == host {
            return false;
        }
        let (source, nick) = (Arc::clone(&user.source), Arc::clone(&user.nick));
        user.host = Arc::clone(&host);
        user.name();
        let what = What::Host { user: Arc::clone(&user.user), host: Arc::clone(&host) };
        let news = self.news(source, what, tell);
        self.publish_to_rooms(&news, tell);
        self.post_to_watchers(&news, tell);
        self.post(tell.me, &news, tell);
        // Clients that know nothing of CHGHOST know the number.
        let what = What::ShownAs { nick, host };
        let news = News::new(self.log.next(), None, Arc::clone(&self.server), tell.at, what);
        let news = Arc::new(news);
        for link in self.user(tell.me).map_or(&[][..], |user| &user.clients) {
            tell.host.post(link.at, Mail::told(None, Arc::clone(&news)));
        }
        true
    }
    /// The host that an account has been given.
    pub(crate) fn host_of_account(&self, account: Option<&str>) -> Option<Box<str>> {
        self.books.account(account?)?.vhost.clone()
    }
    /// Somebody is in another account than `before`, or in none: he is shown by the host of the one, and by that of the other
    /// no longer. What an operator has given him stays, where there is neither.
    pub(super) fn take_host(&mut self, before: Option<&str>, tell: &mut Teller<'_>) {
        let Some(user) = self.user(tell.me) else { return };
        let own = user.oper.as_ref().map(|oper| oper.vhost.clone()).filter(|host| !host.is_empty());
        match (self.host_of_account(user.account.as_deref()), before) {
            (Some(host), _) => _ = self.set_host(Some(&host), tell),
            (None, Some(_)) => _ = self.set_host(own.as_deref(), tell),
            (None, None) => {}
        }
    }
    /// An account has another host: all who are logged in to it are shown so. Whether `tell.me` is one of those.
    pub(crate) fn show_host_of(&mut self, account: &str, tell: &mut Teller<'_>) -> bool {
        let host = self.host_of_account(Some(account));
        let mut is_own = false;
        for who in self.all_of(account) {
            if who == tell.me {
                is_own = self.set_host(host.as_deref(), tell);
            } else {
                self.set_host(host.as_deref(), &mut tell.on_behalf_of(who));
            }
        }
        is_own
    }
    /// Whether somebody is shown by another host than what is made of his address.
    pub(crate) fn is_shown_otherwise(&self, who: Who) -> bool {
        self.user(who).is_some_and(|user| user.host != user.cloak)
    }
}
