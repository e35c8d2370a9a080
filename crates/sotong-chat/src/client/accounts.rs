//! What logging in does to a client.
use super::{Stage, Talk, pages::Page};
use crate::{
    hall::Again,
    log::Shelf,
    news::{News, What},
};
use sotong_session::Topic;
use std::sync::Arc;

impl Talk<'_, '_> {
    /// Tells a client of the rooms that its owner is in already, and what he has missed there.
    pub(super) fn come_back(&mut self, again: &Again) {
        // All of it before the first list, which may have to wait for room: what is said in a room comes behind its JOIN.
        for (room, stay) in &again.stays {
            self.take_part(*room, *stay);
        }
        for (room, _) in &again.stays {
            self.show_room(*room);
        }
        for (shelf, from) in &again.missed {
            let room = if let Shelf::Room(id) = shelf { self.hall.room_by(*id) } else { None };
            let page = Page::missed(*shelf, room.map(|room| &*room.name), (*from, again.until), self.nick());
            self.client.answers.page(page);
        }
        if !again.missed.is_empty() {
            self.client.answers.live();
            self.client.unread = again.left;
        }
    }
    /// Tells a client of a room that its owner is in already, as if it had joined it now.
    fn take_part(&mut self, id: Topic, stay: u64) {
        let (Some(room), Some(user)) = (self.hall.room_by(id), self.hall.user(self.client.who)) else { return };
        let what = What::Joined { room: Arc::clone(&room.name), real: Arc::clone(&user.real), stay };
        let mut news = News::new(0, None, Arc::clone(&user.source), self.cx.wall, what);
        news.account.clone_from(&user.account);
        self.client.seats.take_part(id, stay);
        let line = news.line(self.client.caps);
        self.client.answers.write(self.cx.out, |out| out.extend_from_slice(line));
    }
    /// Whether the client may log in, or in to another account: a person has one account, whatever his connections are.
    pub(super) fn may_log_in(&self) -> bool {
        self.hall.may_log_in(self.client.who)
    }
    /// The client has proved that this account is its owner's; with none it has left it. Whoever is not here yet takes it in
    /// with him. The news of it come to the client, too, after what has been answered until now.
    pub(super) fn log_in(&mut self, account: Option<&Arc<str>>) {
        if let Stage::New(newcomer) = &mut self.client.stage {
            newcomer.account = account.cloned();
            let known = account.and_then(|account| self.hall.books.account(account));
            newcomer.account_since = known.map(|account| account.registered);
            return;
        }
        let (hall, mut tell) = self.teller();
        let lines = hall.log_in(account, &mut tell);
        self.client.answers.wait(lines);
    }
}
